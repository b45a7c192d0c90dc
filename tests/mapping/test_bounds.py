"""What any plan needs: less than every plan does, in whatever form the network is written."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.errors import InputError, MappingError
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.mapping.assembly import assemble
from loihi_deploy.mapping.bounds import lower_bounds
from loihi_deploy.mapping.memory import words
from loihi_deploy.mapping.plan import Slice, Wiring
from tests.mapping.networks import NOTHING, chain, compartments, convolutions, narrow, weights

LIMITS = load_board("loihi").chip.core


def board_of(**limits):
    board = load_board("nahuku32")
    return replace(board, chip=replace(board.chip, core=replace(LIMITS, **limits)))


def layer(transform, pre_shape, post_shape):
    rng = np.random.default_rng(0)
    return Program(
        NOTHING,
        (SpikeSource("in", pre_shape),),
        (compartments(rng, "out", post_shape),),
        (Synapses("in", "out", transform, 7),),
        NOTHING,
    )


def forms(conv):
    """The same layer as a convolution, as a matrix, and as a sparse one, from an image or from a line."""
    matrix = conv.csr().toarray()
    flat = (conv.out_size,)
    out = flat if conv.out_shape[:2] == (1, 1) else conv.out_shape
    return {
        "conv": layer(conv, conv.in_shape, conv.out_shape),
        "dense": layer(Dense(matrix), conv.in_shape, out),
        "dense, flat": layer(Dense(matrix), (conv.in_size,), flat),
        "sparse": layer(conv.csr(), (conv.in_size,), flat),
    }


LANES = Conv2D(weights(np.random.default_rng(0), 2, 1, 1, 12), (1, 1), (0, 0), (5, 1, 2), (4, 1, 12), 2)
"""Cut into lanes of 8 channels, and then anew as a whole, of 12."""


@settings(max_examples=60)
@example(LANES, 32, 20, 8)
@given(convolutions(6, 12), st.integers(5, 60), st.integers(20, 500), st.sampled_from([8, 8, 6, 4, 2]))
def test_no_plan_in_any_form_does_with_fewer_cores(conv, compartments_, memory, bits):
    board = board_of(max_compartments=compartments_, synapse_memory_words=memory)
    made = {
        form: replace(program, synapses=(narrow(program.synapses[0], bits),))
        for form, program in forms(conv).items()
    }
    cores = {}
    for form, program in made.items():
        try:
            cores[form] = map_to_cores(program, board, downgrade=["chips"]).n_cores
        except MappingError:
            continue  # a neuron that a core this small cannot hold in this form
    shared = conv.out_shape[:2] != (1, 1)
    for form, program in made.items():
        needed = -(-max(lower_bounds(program, "out", board.chip.core).values()) // 1000)
        for other, found in cores.items():
            # a matrix is not searched for weights that a convolution shares
            if form == "conv" or other != "conv" or not shared:
                assert needed <= found + 1e-6, (form, other, needed, found)


@pytest.mark.parametrize("channels", [40, 1000])
def test_a_convolution_onto_one_position_is_a_matrix(channels):
    rng = np.random.default_rng(0)
    conv = Conv2D(weights(rng, 4, 4, 64, channels), (1, 1), (0, 0), (4, 4, 64), (1, 1, channels))
    plans = {form: map_to_cores(program, "nahuku32") for form, program in forms(conv).items()}
    assert len({plan.n_cores for plan in plans.values()}) == 1
    assert len({plan.bound for plan in plans.values()}) == 1
    assert plans["conv"].n_cores <= 1.2 * plans["conv"].bound


@pytest.mark.parametrize("bits", [2, 4, 8, 14, 18])
def test_no_run_of_synapses_takes_less_than_the_best_length(bits):
    from loihi_deploy.mapping.bounds import _words_per_synapse

    least = _words_per_synapse(bits, LIMITS)
    lengths = np.arange(1, 1000)
    assert (words(lengths, bits, LIMITS) >= least * lengths - 1e-9).all()
    assert (words(lengths, bits, LIMITS) / lengths).min() == pytest.approx(least)


def test_a_bound_is_what_all_neurons_and_synapses_are_of_a_core():
    program = chain((7,), [("dense", 300)])
    found = lower_bounds(program, "dense1", LIMITS)
    assert found["compartments"] == pytest.approx(1000 * 300 / LIMITS.max_compartments)
    least = 7 * words(300, 8, LIMITS)  # one run for each input, without indices
    assert 0.9 * least <= found["synapse_words"] * LIMITS.synapse_memory_words / 1000 <= least


def test_weights_of_zero_and_taps_beside_the_image_need_nothing():
    kernel = np.ones((3, 3, 2, 4), np.int8)
    once = Conv2D(
        kernel, (1, 1), (1, 1), (1, 1, 2), (1, 1, 4)
    )  # only the tap in the middle lies on the image
    middle = np.zeros_like(kernel)
    middle[1, 1] = 1
    assert lower_bounds(layer(once, (1, 1, 2), (1, 1, 4)), "out", LIMITS) == lower_bounds(
        layer(replace(once, kernel=middle), (1, 1, 2), (1, 1, 4)), "out", LIMITS
    )


def test_bounds_of_populations_that_share_a_core_add_up_to_one():
    program = chain((4,), [("dense", 341), ("dense", 341), ("dense", 342)])
    mapping = map_to_cores(program, board_of(synapse_memory_words=10**6, max_out_axon_slots=10**6))
    assert sum(plan.bounds["compartments"] for plan in mapping.populations) == pytest.approx(1000)
    assert mapping.bound == mapping.n_cores == 1


def test_bounds_are_below_plans_of_several_layers():
    rng = np.random.default_rng(0)
    for _ in range(10):
        size = int(rng.integers(6, 20))
        layers = [
            ("conv", 3, int(rng.integers(1, 3)), int(rng.integers(1, 40))),
            ("dense", int(rng.integers(1, 300))),
        ]
        mapping = map_to_cores(chain((size, size, int(rng.integers(1, 9))), layers), "nahuku32")
        assert mapping.bound <= mapping.n_cores
        assert all(plan.bound <= plan.n_cores for plan in mapping.populations)


def recurrent(n, n_in=100):
    rng = np.random.default_rng(0)
    return Program(
        NOTHING,
        (SpikeSource("in", (n_in,)),),
        (compartments(rng, "neurons", (n,)),),
        (
            Synapses("in", "neurons", Dense(weights(rng, n, n_in)), 6),
            Synapses("neurons", "neurons", Dense(weights(rng, n, n)), 6),
        ),
        NOTHING,
    )


@pytest.mark.parametrize(
    "program",
    [
        lambda: chain((4096,), [("dense", 4096)]),
        lambda: chain((100,), [("dense", 4096), ("dense", 4096)]),
        lambda: recurrent(5000),
    ],
    ids=["dense", "dense behind dense", "recurrent"],
)
def test_large_matrices_come_near_the_bound_within_a_minute(program):
    made = program()
    start = time.process_time()
    mapping = map_to_cores(made, "nahuku32")
    assert time.process_time() - start < 60
    assert mapping.n_cores <= 1.2 * mapping.bound


# Weights of fewer bits


def test_weights_of_half_the_bits_take_little_more_than_half_the_cores():
    program = chain((1500,), [("dense", 1500)])
    cores = {
        bits: map_to_cores(replace(program, synapses=(narrow(program.synapses[0], bits),)), "nahuku32")
        for bits in (8, 6, 4, 2)
    }
    assert cores[8].n_cores == map_to_cores(program, "nahuku32").n_cores
    assert cores[4].n_cores <= 0.65 * cores[8].n_cores
    assert cores[2].n_cores < cores[4].n_cores < cores[6].n_cores < cores[8].n_cores
    for mapping in cores.values():
        assert mapping.bound <= mapping.n_cores


def test_formats_of_different_widths_are_formats_of_their_own():
    program = chain((20,), [("dense", 20), ("dense", 20)])
    shift = program.synapses[0].shift
    alike = replace(program, synapses=tuple(replace(s, shift=shift) for s in program.synapses))
    apart = replace(alike, synapses=(narrow(alike.synapses[0], 4), alike.synapses[1]))
    core = [
        Slice(f"dense{k + 1}", (0, 0, 0), (1, 1, 20), 20 * k, wirings=(Wiring(k, "rows", compressed=True),))
        for k in (0, 1)
    ]
    formats = [assemble(p, board_of(), [core]).cores[0].usage["synapse_formats"] for p in (alike, apart)]
    assert formats == [1, 2]


def test_weights_must_have_the_bits_that_are_said():
    (synapses,) = chain((4,), [("dense", 3)]).synapses
    program = chain((4,), [("dense", 3)])
    with pytest.raises(InputError, match="multiples of 16"):
        replace(
            program,
            synapses=(replace(synapses, transform=Dense(np.full((3, 4), 8, np.int8)), weight_bits=4),),
        )
    for bits in (0, 1, 9, -1):
        with pytest.raises(InputError, match="2 to 8"):
            replace(program, synapses=(replace(synapses, weight_bits=bits),))


@pytest.mark.follows(
    "Store them with … bits, which hold the same weights",
)
def test_widths_that_the_chip_does_not_store_are_refused_with_one_that_it_does():
    program = chain((4,), [("dense", 3)])
    seven = replace(program, synapses=(narrow(program.synapses[0], 7),))
    with pytest.raises(MappingError, match="2 to 6, or 8") as caught:
        map_to_cores(seven, "loihi")
    assert caught.value.problems[0].remedy == "Store them with 8 bits, which hold the same weights"
    map_to_cores(replace(seven, synapses=(replace(seven.synapses[0], weight_bits=8),)), "loihi")
    with pytest.raises(MappingError, match="allowed 8"):
        map_to_cores(seven, board_of(max_narrow_weight_bits=1))

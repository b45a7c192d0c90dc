"""Every remedy that is named is followed, and helps."""

import re
from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.errors import MappingError
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping import RULES, map_to_cores
from loihi_deploy.mapping.assembly import assemble
from loihi_deploy.mapping.explain import with_channels
from loihi_deploy.mapping.packing import arranged
from loihi_deploy.mapping.plan import DISCRETE, POP16, POP32, Slice, Wiring
from loihi_deploy.mapping.rules import SENDER_RULES
from tests.mapping.networks import NOTHING, chain, compartments, sparse, weights
from tests.mapping.test_mapper import SMALL, board_with, problems_of
from tests.remedies import follows


def raised(function, *args, **kwargs):
    with pytest.raises(MappingError) as caught:
        function(*args, **kwargs)
    return caught.value.problems


# Plans by hand that break a rule, and the same plans after its remedy


def slices(name, grid, box, *wirings):
    """A population cut into boxes."""
    starts = [
        (y, x, c)
        for y in range(0, grid[0], box[0])
        for x in range(0, grid[1], box[1])
        for c in range(0, grid[2], box[2])
    ]
    return [
        Slice(
            name,
            start,
            tuple(min(a + n, m) for a, n, m in zip(start, box, grid, strict=True)),
            wirings=wirings,
        )
        for start in starts
    ]


def conv_alone(box, axon=POP16, channels=8, **limits):
    """A convolution on cores of a shape."""
    program = chain((6, 6, 8), [("conv", 3, 1, 4, 1)])
    wiring = Wiring(0, "pixels", axon, channels)
    return program, board_with(**limits), [[piece] for piece in slices("conv1", (6, 6, 4), box, wiring)]


def dense_alone(n, explicit=False, **limits):
    """A matrix on cores of n neurons."""
    program = chain((10,), [("dense", 80)])
    if explicit:
        values = sparse(np.random.default_rng(0), 80, 10)
        program = replace(program, synapses=(replace(program.synapses[0], transform=values),))
    wiring = Wiring(0, "rows", DISCRETE, 1, not explicit)
    return (
        program,
        board_with(**limits),
        [[piece] for piece in slices("dense1", (1, 1, 80), (1, 1, n), wiring)],
    )


def two_layers(n_first, n_second, size=40, **limits):
    """A matrix behind a matrix, on cores of some neurons each."""
    program = chain((4,), [("dense", 40), ("dense", size)])
    first = slices("dense1", (1, 1, 40), (1, 1, n_first), Wiring(0, "rows", compressed=True))
    second = slices("dense2", (1, 1, size), (1, 1, n_second), Wiring(1, "rows", compressed=True))
    return program, board_with(**limits), [[piece] for piece in first + second]


def two_populations(together, n=20, **limits):
    """Populations of different settings, on one core or two."""
    program = chain((4,), [("dense", n), ("dense", n)])
    first, second = program.populations
    different = {
        "threshold": first.threshold + 64,
        "decay_u": (first.decay_u + 1) % 4096,
        "v_min": -(2**10) + 1,
    }
    synapses = (program.synapses[0], replace(program.synapses[1], shift=13 - program.synapses[0].shift))
    program = replace(program, populations=(first, replace(second, **different)), synapses=synapses)
    pieces = [
        Slice(f"dense{k + 1}", (0, 0, 0), (1, 1, n), wirings=(Wiring(k, "rows", compressed=True),))
        for k in (0, 1)
    ]
    cores = [arranged(pieces)] if together else [[piece] for piece in pieces]
    return program, board_with(**limits), cores


def held_back(plan):
    """The same with spikes that arrive three steps late: eight accumulators for each compartment."""
    program, board, cores = plan
    synapses = tuple(replace(each, delays=3) for each in program.synapses)
    return replace(program, synapses=synapses), board, cores


SPLIT = {
    "accumulators": (
        held_back(dense_alone(80, max_accumulators=400)),
        held_back(dense_alone(40, max_accumulators=400)),
    ),
    "compartments": (
        conv_alone((6, 6, 4), max_compartments=100),
        conv_alone((3, 6, 4), max_compartments=100),
    ),
    "in_axons": (conv_alone((6, 6, 4), max_in_axons=30), conv_alone((3, 6, 4), max_in_axons=30)),
    "pop16_in_axons": (
        conv_alone((6, 6, 4), pop16_max_in_axons=30),
        conv_alone((3, 6, 4), pop16_max_in_axons=30),
    ),
    "out_axon_slots": (two_layers(40, 20, max_out_axon_slots=50), two_layers(20, 20, max_out_axon_slots=50)),
    "synapse_words": (dense_alone(80, synapse_memory_words=100), dense_alone(40, synapse_memory_words=100)),
    "words_per_axon": (
        dense_alone(80, max_synapse_words_per_axon=8),
        dense_alone(40, max_synapse_words_per_axon=8),
    ),
    "index_bits": (dense_alone(80, True, max_index_bits=6), dense_alone(40, True, max_index_bits=6)),
}
APART = {
    "compartment_base": {"max_compartment_base": 10},
    "compartment_profiles": {"max_compartment_profiles": 1},
    "threshold_profiles": {"max_threshold_profiles": 1},
    "synapse_formats": {"max_synapse_formats": 1},
    "membrane_profiles": {},
}
FEWER_CHANNELS = {
    "pop16_channels": (POP16, {"pop16_max_channels": 6}),
    "pop32_channels": (POP32, {"pop32_max_channels": 6}),
}


def broken_rule(name, plan):
    """The problem with a plan that breaks one rule."""
    (rule,) = (rule for rule in RULES if rule.name == name)
    (problem,) = (p for p in raised(assemble, *plan) if rule.what in p.what)
    return problem


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.follows(
    "Split the population over more cores",
)
def test_splitting_a_population_helps(name):
    before, after = SPLIT[name]
    assert broken_rule(name, before).remedy == "Split the population over more cores"
    assemble(*after)


@pytest.mark.parametrize("name", APART)
@pytest.mark.follows(
    "Put the populations on cores of their own",
)
def test_cores_of_their_own_help(name):
    assert (
        broken_rule(name, two_populations(True, **APART[name])).remedy
        == "Put the populations on cores of their own"
    )
    assemble(*two_populations(False, **APART[name]))


@pytest.mark.parametrize(
    "name",
    [
        follows("Use fewer channels per axon or pop32", "pop16_channels"),
        follows("Use fewer channels per axon", "pop32_channels"),
    ],
)
def test_fewer_channels_per_axon_help(name):
    axon, limits = FEWER_CHANNELS[name]
    broken_rule(name, conv_alone((6, 6, 4), axon, 8, **limits))
    assemble(*conv_alone((6, 6, 4), axon, 4, **limits))
    if axon == POP16:
        assemble(*conv_alone((6, 6, 4), POP32, 8, **limits))


@pytest.mark.follows(
    "Use fewer neurons in the populations that it sends to",
)
def test_fewer_neurons_behind_a_core_that_sends_to_too_many():
    plan = two_layers(40, 10, max_destination_groups=3)
    (warning,) = (w for w in assemble(*plan).warnings if "sends spikes to" in w)
    assert "Use fewer neurons in the populations that it sends to" in warning
    assert not assemble(*two_layers(40, 10, size=30, max_destination_groups=3)).warnings


@pytest.mark.follows(
    "To stream them, deploy with DeployOptions(max_host_spikes=...), or encode with fewer neurons",
)
def test_input_spikes_that_are_too_many_to_be_streamed():
    rates = {"in": 500.0, "conv1": 10.0, "conv2": 10.0, "dense3": 10.0}
    (warning,) = map_to_cores(SMALL, "nahuku32", rates=rates).warnings
    assert "loaded before the run, as backend 'hardware' loads them, they have no such limit" in warning
    assert "or encode with fewer neurons" in warning
    assert not map_to_cores(SMALL, "nahuku32", rates={**rates, "in": 20.0}).warnings
    fewer = chain((5, 5, 3), [("conv", 3, 1, 16), ("conv", 3, 2, 32), ("dense", 40)])
    assert not map_to_cores(fewer, "nahuku32", rates=rates).warnings


@pytest.mark.follows(
    "Use a larger board or a smaller network",
)
def test_more_chips_than_the_board_has():
    program = chain((64, 64, 3), [("conv", 3, 1, 40, 1)])
    mapping = map_to_cores(program, "loihi", downgrade=["chips"])
    assert any(
        "too many chips" in w and "Use a larger board or a smaller network" in w for w in mapping.warnings
    )
    assert not map_to_cores(program, "kapoho_bay", downgrade=["chips"]).warnings
    assert not map_to_cores(
        chain((64, 64, 3), [("conv", 3, 1, 30, 1)]), "loihi", downgrade=["chips"]
    ).warnings


def test_no_rule_is_left_out_here():
    elsewhere = {"destinations", "host_spikes", "chips"}  # above
    elsewhere |= {*SENDER_RULES}  # in test_senders
    assert {*SPLIT, *APART, *FEWER_CHANNELS, *elsewhere} == {rule.name for rule in RULES}


# What map_to_cores says


@pytest.mark.follows(
    "Leave the shape to be found, or fix a smaller one",
)
def test_a_fixed_shape_that_does_not_fit():
    (problem,) = problems_of(SMALL, fix={"conv1": (10, 10, 16)})
    assert problem.remedy == "Leave the shape to be found, or fix a smaller one"
    map_to_cores(SMALL, "nahuku32")
    map_to_cores(SMALL, "nahuku32", fix={"conv1": (5, 10, 16)})


@pytest.mark.follows(
    "Near it are: …",
)
def test_numbers_of_cores_that_there_are():
    (problem,) = problems_of(SMALL, fix={"conv2": 797})
    numbers = [int(n) for n in re.findall(r"\d+", problem.remedy.split(":")[1])]
    assert len(numbers) == 3
    for n in numbers:
        map_to_cores(SMALL, "nahuku32", fix={"conv2": n}, downgrade=["destinations"])


@pytest.mark.follows(
    "Pool its inputs …x… before it",
)
def test_pooling_where_every_pixel_takes_an_axon():
    program = chain((16, 16, 1), [("dense", 10)])
    board = board_with(max_in_axons=100)
    (problem,) = problems_of(program, board)
    step = int(re.fullmatch(r"Pool its inputs (\d)x\1 before it", problem.remedy)[1])
    pooled = (-(-16 // step), -(-16 // step), 1)
    map_to_cores(chain(pooled, [("dense", 10)]), board)


@pytest.mark.follows(
    "Give its neurons fewer inputs",
)
def test_neurons_with_too_many_inputs_of_a_kind_that_cannot_be_counted():
    rng = np.random.default_rng(0)

    def program(n):
        return Program(
            NOTHING,
            (SpikeSource("in", (n,)),),
            (compartments(rng, "out", (4,)),),
            (Synapses("in", "out", sparse(rng, 4, n, 0.9), 6),),
            NOTHING,
        )

    board = board_with(max_in_axons=50)
    (problem,) = problems_of(program(100), board)
    assert problem.remedy == "Give its neurons fewer inputs"
    map_to_cores(program(40), board)


@pytest.mark.follows(
    "Give '…' … instead of … …",
)
def test_fewer_neurons_where_output_axons_run_out():
    program = chain((8, 8, 2), [("conv", 3, 1, 8), ("dense", 300)])
    board = board_with(max_out_axon_slots=1, synapse_memory_words=3000)
    (problem,) = problems_of(program, board)
    kept = int(re.search(r"Give 'dense2' (\d+) instead of 300 neurons", problem.remedy)[1])
    map_to_cores(with_channels(program, "dense2", kept), board)


@pytest.mark.follows(
    "Leave the shapes of … to be found",
)
def test_shapes_that_are_better_left_free():
    program = chain((8, 8, 2), [("conv", 3, 1, 8), ("conv", 3, 1, 60)])
    board = board_with(max_out_axon_slots=500)
    problems = problems_of(program, board, fix={"conv1": (6, 6, 8), "conv2": (2, 2, 4)})
    assert problems[0].remedy == "Leave the shapes of 'conv1', 'conv2' to be found"
    map_to_cores(program, board)


def test_a_limit_on_cores_that_can_be_lifted():
    (problem,) = problems_of(SMALL, max_cores=1)
    allowed = int(re.search(r"Allow (\d+) cores", problem.remedy)[1])
    assert map_to_cores(SMALL, "nahuku32", max_cores=allowed).n_cores == allowed


@pytest.mark.follows(
    "Use a smaller network",
)
def test_a_network_for_which_no_board_is_large_enough():
    board = replace(
        load_board("loihi"),
        name="tiny",
        chip=board_with("loihi", mesh_columns=1, mesh_rows=1, cores_per_tile=1).chip,
    )
    rng = np.random.default_rng(0)
    program = Program(
        NOTHING,
        (SpikeSource("in", (4,)),),
        tuple(compartments(rng, f"p{k}", (1,), v_min=-(2**k) + 1) for k in range(1, 4)),
        tuple(Synapses("in", f"p{k}", Dense(weights(rng, 1, 4)), 6) for k in range(1, 4)),
        NOTHING,
    )
    (problem,) = problems_of(program, board)
    assert problem.remedy == "Use a smaller network"
    smaller = replace(program, populations=program.populations[:1], synapses=program.synapses[:1])
    assert map_to_cores(smaller, board).n_cores == 1

"""The choice of shapes is the cheapest of all that fit; what would make a network fit is cut from it correctly."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Conv2D, Dense
from loihi_deploy.ir.program import Synapses
from loihi_deploy.mapping.explain import (
    _largest,
    _thinned,
    fewer_inputs,
    fewer_outputs,
    no_such_number,
    too_many_cores,
    with_channels,
)
from loihi_deploy.mapping.planning import cost
from loihi_deploy.mapping.search import Coupling, choose, coupling, fullness, messages, pruned
from loihi_deploy.mapping.shapes import shapes_of
from tests.mapping.networks import chain, sparse, weights
from tests.mapping.test_mapper import board_with

LIMITS = load_board("loihi").chip.core
CHAIN = chain((6,), [("dense", 8), ("dense", 9), ("dense", 7)])


def with_shortcut():
    rng = np.random.default_rng(0)
    more = Synapses("dense1", "dense3", Dense(weights(rng, 7, 8)), 6)
    return replace(CHAIN, synapses=(*CHAIN.synapses, more))


def cheapest(program, options, couplings, costs, extra, bounds):
    """The least cost of any choice that fits, and what each choice needs; by trying all."""
    names = [p.name for p in program.populations]
    least = None
    for chosen in product(*(range(len(options[name])) for name in names)):
        at = dict(zip(names, chosen, strict=True))
        slots, targets = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        for i, table in couplings.items():
            pre, post = program.synapses[i].pre, program.synapses[i].post
            place = at[pre], at[post]
            slots[pre] += table.slots[place] + extra * table.axons[place]
            targets[pre] += table.destinations[place]
        if (
            max(slots.values()) <= bounds["out_axon_slots"]
            and max(targets.values()) <= bounds["destinations"]
        ):
            cost = sum(costs[name][k] for name, k in at.items())
            least = cost if least is None else min(least, cost)
    return least


@pytest.mark.parametrize("interchip", [False, True])
@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_the_cheapest_that_fits(seed, shortcut, interchip):
    rng = np.random.default_rng(seed)
    program = with_shortcut() if shortcut else CHAIN
    options = {p.name: shapes_of(program, p.name, LIMITS)[np.arange(4)] for p in program.populations}
    costs = {name: rng.permutation(4).astype(float) * (1 + k) for k, name in enumerate(options)}
    couplings = {
        i: Coupling(*(rng.integers(0, most, (4, 4)) for most in (3, 12, 6)))
        for i, synapses in enumerate(program.synapses)
        if synapses.pre in options
    }
    extra = LIMITS.extra_slots_interchip if interchip else 0
    found = []
    for slots, destinations in product((4, 8, 12, 25), (2, 5, 9)):
        bounds = {"out_axon_slots": slots, "destinations": destinations}
        chosen = choose(program, options, couplings, costs, LIMITS, interchip=interchip, bounds=bounds)
        wanted = cheapest(program, options, couplings, costs, extra, bounds)
        assert (chosen is None) == (wanted is None)
        if chosen is not None:
            assert sum(costs[name][k] for name, k in chosen.items()) == wanted
            found.append(wanted)
    assert found


def test_the_best_three_of_each_spatial_shape_and_way_are_kept():
    program = chain((10, 8, 3), [("conv", 3, 1, 12)])
    shapes = shapes_of(program, "conv1", LIMITS)
    bounds = {"compartments": 1024, "in_axons": 4096, "synapse_words": 16384}
    kept = pruned(program, shapes, bounds)
    score = shapes.n_slices + 0.1 * fullness(shapes, bounds)
    key = [(*shapes.box[i, :2].tolist(), int(shapes.way[i])) for i in range(len(shapes))]
    spatial = set(key)
    best = [
        np.sort(score[[i for i in range(len(shapes)) if key[i] == one]])[: 3 if one[:2] != (1, 1) else 300]
        for one in spatial
    ]
    wanted = np.sort(np.concatenate(best))[:300]
    np.testing.assert_allclose(np.sort(kept.n_slices + 0.1 * fullness(kept, bounds)), wanted)
    np.testing.assert_array_equal(messages(kept), kept.senders * kept.n_slices)


def test_of_irregular_projections_few_shapes_are_kept():
    program = chain((9,), [("dense", 200), ("dense", 30)])
    rough = replace(program.synapses[1], transform=sparse(np.random.default_rng(0), 30, 200))
    irregular = replace(program, synapses=(program.synapses[0], rough))
    bounds = {"compartments": 1024, "in_axons": 4096, "synapse_words": 16384}
    for made, name, few in (
        (program, "dense1", False),
        (irregular, "dense1", True),
        (irregular, "dense2", True),
    ):
        shapes = shapes_of(made, name, LIMITS)
        assert (len(pruned(made, shapes, bounds)) == min(24, len(shapes))) == few


@pytest.mark.parametrize("fractional", [False, True])
def test_shapes_cost_cores_then_messages_then_room(fractional):
    program = chain((10, 8, 3), [("conv", 3, 1, 12)])
    shapes = shapes_of(program, "conv1", LIMITS)
    bounds = {"compartments": 1024, "in_axons": 4096, "synapse_words": 16384}
    cores = 8 * 6 * 12 / shapes.box.prod(axis=1) if fractional else shapes.n_slices
    ranked = np.lexsort([fullness(shapes, bounds), messages(shapes), np.round(cores, 3)])
    found = np.argsort(cost(shapes, fractional, bounds), kind="stable")
    for one in (np.round(cores, 3), messages(shapes)):
        np.testing.assert_array_equal(one[found], one[ranked])
    share = np.max([shapes.usage[name] / bounds[name] for name in bounds], axis=0)
    np.testing.assert_allclose(fullness(shapes, bounds), share)
    axons = shapes.usage["in_axons"] * shapes.n_slices
    parts = cores + 1e-8 * messages(shapes) + 1e-9 * share + 1e-13 * axons
    np.testing.assert_allclose(cost(shapes, fractional, bounds), parts, rtol=1e-15)


# What would make it fit


@pytest.mark.parametrize("most", range(6))
def test_the_largest_that_fits_is_found(most):
    assert _largest(5, lambda k: k <= most) == min(most, 5)
    assert _largest(0, lambda k: True) == 0


def test_channels_are_cut_from_the_end_on_both_sides():
    rng = np.random.default_rng(0)
    conv = Conv2D(weights(rng, 2, 2, 3, 5), (1, 1), (0, 0), (4, 4, 3), (3, 3, 5))
    inputs, outputs = fewer_inputs(conv, (4, 4, 3), 2), fewer_outputs(conv, (3, 3, 5), 4)
    whole = conv.csr().toarray().reshape(3, 3, 5, 4, 4, 3)
    np.testing.assert_array_equal(inputs.csr().toarray(), whole[..., :2].reshape(45, 32))
    np.testing.assert_array_equal(outputs.csr().toarray(), whole[:, :, :4].reshape(36, 48))
    dense = Dense(conv.csr().toarray())
    assert fewer_inputs(dense, (4, 4, 3), 2) == Dense(inputs.csr().toarray())
    assert fewer_outputs(dense, (3, 3, 5), 4) == Dense(outputs.csr().toarray())
    for cut, grid in ((fewer_inputs, (4, 4, 3)), (fewer_outputs, (3, 3, 5))):
        assert cut(conv, (1, 1, 48), 2) is None
        assert cut(dense.csr(), grid, 2) is None
    grouped = Conv2D(weights(rng, 2, 2, 1, 3), (1, 1), (0, 0), (4, 4, 3), (3, 3, 3), 3)
    assert fewer_inputs(grouped, (4, 4, 3), 2) is fewer_outputs(grouped, (3, 3, 3), 2) is None


def test_a_layer_with_fewer_channels_is_a_network_still():
    program = chain((6, 6, 2), [("conv", 3, 1, 5), ("dense", 9)])
    found = with_channels(program, "conv1", 3)
    assert [p.shape for p in found.populations] == [(4, 4, 3), (9,)]
    before = program.populations[0].bias.reshape(4, 4, 5)
    np.testing.assert_array_equal(found.populations[0].bias, before[..., :3].reshape(-1))
    kept = program.synapses[1].transform.weights.reshape(9, 4, 4, 5)[..., :3]
    np.testing.assert_array_equal(found.synapses[1].transform.weights, kept.reshape(9, -1))
    assert with_channels(program, "dense2", 4).populations[1].shape == (4,)
    rough = replace(program.synapses[1], transform=program.synapses[1].transform.csr())
    assert with_channels(replace(program, synapses=(program.synapses[0], rough)), "conv1", 3) is None


def test_pooled_inputs_are_every_second_pixel_of_each_channel():
    program = chain((5, 4, 3), [("dense", 7)])
    found = _thinned(program, "dense1", 2)
    assert found.sources[0].shape == (3, 2, 3)
    whole = program.synapses[0].transform.weights.reshape(7, 5, 4, 3)
    np.testing.assert_array_equal(found.synapses[0].transform.weights, whole[:, ::2, ::2].reshape(7, -1))
    assert _thinned(chain((5, 4, 3), [("conv", 2, 1, 7)]), "conv1", 2) is None


def test_the_numbers_of_cores_next_to_what_was_asked_for_are_named():
    shapes = shapes_of(chain((6,), [("dense", 30)]), "dense1", LIMITS)
    assert set(shapes.n_slices.tolist()) >= {1, 2, 3, 4, 5, 6, 8, 10, 15, 30}
    problem = no_such_number("dense1", 12, shapes)
    assert (problem.where, problem.value) == ("fix 'dense1'", 12)
    possible = sorted(set(shapes.n_slices.tolist()), key=lambda n: (abs(n - 12), n))[:3]
    assert problem.remedy == f"Near it are: {', '.join(map(str, sorted(possible)))}"


def test_a_larger_board_is_named_where_the_whole_board_is_too_small_and_else_more_cores():
    program = chain((9,), [("dense", 20), ("dense", 10)])
    options = {p.name: shapes_of(program, p.name, LIMITS) for p in program.populations}
    board = load_board("loihi")
    (whole,) = too_many_cores(program, board, options, 200, board.n_cores, lambda made: None)
    assert whole.remedy.startswith("Use the board ")
    name = whole.remedy.removeprefix("Use the board ").partition(" ")[0]
    assert load_board(name).n_cores >= 200
    (few,) = too_many_cores(program, board, options, 3, 2, lambda made: None)
    assert (few.value, few.limit, few.remedy) == (3, 2, "Allow 3 cores")
    assert "'dense1' 1, 'dense2' 1" in few.what

    def count(made):
        return 2 if made.populations[0].size <= 6 else 3

    (fewer,) = too_many_cores(program, board, options, 3, 2, count)
    assert fewer.remedy == "Allow 3 cores, or give 'dense1' 6 instead of 20 neurons"
    odd = board_with("loihi", mesh_columns=1)
    (alone,) = too_many_cores(program, odd, options, 10**6, odd.n_cores, lambda made: None)
    assert alone.remedy == "Use a smaller network"


def test_the_five_populations_with_the_most_cores_are_named_largest_first():
    program = chain((4,), [("dense", 3)] * 7)
    options = {
        p.name: SimpleNamespace(n_slices=np.array([n + 3, n]))
        for p, n in zip(program.populations, (2, 9, 4, 30, 7, 8, 5), strict=True)
    }
    (problem,) = too_many_cores(program, load_board("loihi"), options, 200, 2, lambda made: None)
    assert problem.what.endswith(": 'dense4' 30, 'dense2' 9, 'dense6' 8, 'dense5' 7, 'dense7' 5")


def test_what_shapes_cost_by_hand():
    """Boxes of 4 and of 6 of 10 rows and 3 channels: 9 slices of 4 and 1, and 2 of 6 and 3."""
    shapes = SimpleNamespace(
        grid=(10, 1, 3),
        box=np.array([[4, 1, 1], [6, 1, 3]]),
        n_slices=np.array([9, 2]),
        senders=np.array([7, 50]),
        usage={
            "compartments": np.array([4, 18]),
            "in_axons": np.array([7, 50]),
            "synapse_words": np.array([30, 10]),
        },
    )
    bounds = {"compartments": 36, "in_axons": 100, "synapse_words": 40}
    assert messages(shapes).tolist() == [63.0, 100.0]
    assert fullness(shapes, bounds).tolist() == [0.75, 0.5]
    rest = 1e-8 * np.array([63, 100]) + 1e-9 * np.array([0.75, 0.5]) + 1e-13 * np.array([63, 100])
    np.testing.assert_allclose(cost(shapes, False, bounds) - [9, 2], rest, rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(
        cost(shapes, True, bounds) - np.array([30 / 4, 30 / 18]), rest, rtol=1e-8, atol=1e-15
    )


@pytest.mark.parametrize(("at", "found"), [(399, True), (400, False)])
def test_four_hundred_partial_choices_are_kept(at, found):
    """The second layer is chosen first; only one of its shapes, the dearest so far, lets the first one send."""
    program = chain((6,), [("dense", 8), ("dense", 9)])
    options = {"dense1": range(2), "dense2": range(500)}
    slots = np.full((2, 500), 9)
    slots[1, at] = 5
    table = Coupling(np.zeros_like(slots), slots, np.ones_like(slots))
    costs = {"dense1": np.zeros(2), "dense2": np.arange(500.0)}
    bounds = {"out_axon_slots": 5, "destinations": 1}
    chosen = choose(program, options, {1: table}, costs, LIMITS, interchip=False, bounds=bounds)
    assert chosen == ({"dense1": 1, "dense2": at} if found else None)


def test_only_what_touches_an_irregular_projection_keeps_few_shapes_and_one_without_entries_sends_nothing():
    program = chain((9,), [("dense", 200), ("dense", 100), ("dense", 30)])
    rough = replace(program.synapses[2], transform=sparse(np.random.default_rng(0), 30, 100))
    irregular = replace(program, synapses=(*program.synapses[:2], rough))
    bounds = {"compartments": 1024, "in_axons": 4096, "synapse_words": 16384}
    kept = [len(pruned(irregular, shapes_of(irregular, f"dense{k}", LIMITS), bounds)) for k in (1, 2, 3)]
    assert kept[0] > kept[1] == 24 > kept[2]
    nothing = replace(rough, transform=Dense(np.zeros((30, 100), np.int8)).csr())
    empty = replace(program, synapses=(*program.synapses[:2], nothing))
    pre, post = (shapes_of(empty, name, LIMITS)[np.arange(2)] for name in ("dense2", "dense3"))
    table = coupling(empty, 2, pre, post, LIMITS)
    assert not table.axons.any()
    assert not table.slots.any()
    assert not table.destinations.any()

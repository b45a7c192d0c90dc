"""What is said where a network does not fit: which limit, which shape, which layer and which number."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping import explain, map_to_cores
from loihi_deploy.mapping.explain import (
    cannot_avoid,
    no_combination,
    no_shape,
    no_such_number,
    too_many_cores,
)
from tests.mapping.networks import NOTHING, chain, compartments, weights
from tests.mapping.test_mapper import board_with, problems_of

BOARD = load_board("nahuku08")
CHAIN = chain((9,), [("dense", 40), ("dense", 30), ("dense", 20), ("dense", 10)])


class Tried:
    """Three shapes, of which the second one misses its limits by least."""

    def __init__(self):
        self.population = "p"
        self.box = np.array([[9, 9, 9], [1, 2, 3], [8, 8, 8]])
        self.usage = {"compartments": np.array([50, 11, 40]), "in_axons": np.array([20, 24, 19])}
        self.usage["accumulators"] = np.zeros(3)

    def __len__(self):
        return 3

    def rejected(self, bounds):
        return {name: used > bounds[name] for name, used in self.usage.items()}


BOUNDS = {"compartments": 10, "in_axons": 20, "accumulators": 5}


def test_the_nearest_miss_is_named_with_its_first_limit_and_how_many_shapes_each_rejected(monkeypatch):
    monkeypatch.setattr(explain, "_smaller_neuron", lambda program, name, limits, bounds: f"cut {name}")
    (problem,) = no_shape(CHAIN, BOARD, BOUNDS, Tried(), forced=False)
    assert problem.what == (
        "no slice fits on a core: of 3 shapes tried, limits rejected 3 by compartments, 1 by input axons; "
        "the nearest miss, 1x2x3, needs too many compartments"
    )
    assert (problem.where, problem.value, problem.limit) == ("population 'p'", 11, 10)
    assert problem.remedy == "cut p"


def test_of_a_shape_that_was_given_every_limit_is_named():
    problems = no_shape(CHAIN, BOARD, BOUNDS, Tried(), forced=True)
    assert [(p.what, p.value, p.limit) for p in problems] == [
        ("slices of 1x2x3 need too many compartments", 11, 10),
        ("slices of 1x2x3 need too many input axons", 24, 20),
    ]


@pytest.mark.parametrize(
    ("axons", "step"),
    [(64, 2), (63, 3), (36, 3), (35, 4), (16, 4), (15, 6), (9, 6), (8, 8), (4, 8), (3, None)],
)
def test_inputs_are_pooled_by_as_little_as_helps_up_to_eight(axons, step):
    board = board_with(max_in_axons=axons)
    (problem,) = problems_of(chain((16, 16, 1), [("dense", 10)]), board)
    if step is None:
        assert problem.remedy == "Give its neurons fewer inputs"
        map_to_cores(chain((axons,), [("dense", 10)]), board)
    else:
        assert problem.remedy == f"Pool its inputs {step}x{step} before it"
        size = -(-16 // step)
        map_to_cores(chain((size, size, 1), [("dense", 10)]), board)


def two_senders(first, second):
    """A neuron that hears of two layers of lines."""
    rng = np.random.default_rng(0)
    return Program(
        NOTHING,
        (SpikeSource("one", (first,)), SpikeSource("other", (second,))),
        (compartments(rng, "out", (3,)),),
        (
            Synapses("one", "out", Dense(weights(rng, 3, first)), 6),
            Synapses("other", "out", Dense(weights(rng, 3, second)), 6),
        ),
        NOTHING,
    )


@pytest.mark.parametrize(
    ("first", "second", "name", "kept"), [(60, 50, "one", 30), (50, 60, "other", 30), (85, 90, None, 0)]
)
def test_of_several_senders_the_one_with_most_neurons_is_cut(first, second, name, kept):
    board = board_with(max_in_axons=80, pop32_max_channels=1, pop16_max_channels=1)
    (problem,) = problems_of(two_senders(first, second), board)
    if name is None:
        assert problem.remedy == "Give its neurons fewer inputs"
        return
    assert problem.remedy == f"Give '{name}' {kept} instead of 60 neurons"
    smaller = (kept, second) if name == "one" else (first, kept)
    map_to_cores(two_senders(*smaller), board)


def options(**slices):
    return {name: SimpleNamespace(n_slices=np.array([n + 3, n])) for name, n in slices.items()}


SPENT = options(dense1=2, dense2=9, dense3=4, dense4=3)


def counted(need, asked=None):
    """Cores that a program needs by the sizes of its layers."""

    def count(program):
        sizes = {population.name: population.size for population in program.populations}
        if asked is not None:
            asked.append(sizes)
        return need(sizes)

    return count


def test_filters_of_the_three_layers_with_the_most_cores_are_cut_one_after_the_other():
    asked = []
    (problem,) = too_many_cores(CHAIN, BOARD, SPENT, 20, 10, counted(lambda sizes: 11, asked))
    assert problem.remedy == "Allow 20 cores"
    smaller = [name for sizes in asked for name in sizes if sizes[name] < CHAIN.nodes[name].size]
    assert list(dict.fromkeys(smaller)) == ["dense2", "dense3", "dense4"]
    none = counted(lambda sizes: None)
    assert too_many_cores(CHAIN, BOARD, SPENT, 20, 10, none)[0].remedy == "Allow 20 cores"
    enough = counted(lambda sizes: 10 if sizes["dense3"] <= 13 else 11)
    (problem,) = too_many_cores(CHAIN, BOARD, SPENT, 20, 10, enough)
    assert problem.remedy == "Allow 20 cores, or give 'dense3' 13 instead of 20 neurons"
    assert problem.what.endswith("before any core is shared: 'dense2' 9, 'dense3' 4, 'dense4' 3, 'dense1' 2")
    images = chain((8, 8, 2), [("conv", 3, 1, 16)])
    enough = counted(lambda sizes: 10 if sizes["conv1"] <= 36 * 15 else 11)
    (problem,) = too_many_cores(images, BOARD, options(conv1=11), 11, 10, enough)
    assert problem.remedy == "Allow 11 cores, or give 'conv1' 15 instead of 16 filters"


def test_the_smallest_board_that_is_large_enough_is_named():
    nobody = counted(lambda sizes: None)
    for needed, name in (
        (129, "kapoho_bay"),
        (256, "kapoho_bay"),
        (257, "wolf_mountain"),
        (1025, "nahuku32"),
    ):
        board = load_board("loihi")
        assert board.n_cores == 128
        (problem,) = too_many_cores(CHAIN, board, SPENT, needed, 128, nobody)
        assert problem.remedy == f"Use the board {name} instead of loihi"
    larger = load_board("nahuku32")
    most = larger.n_cores
    (problem,) = too_many_cores(CHAIN, larger, SPENT, 10**6, most, nobody)
    assert problem.remedy == "Use a smaller network"
    enough = counted(lambda sizes: 0)
    (problem,) = too_many_cores(CHAIN, larger, SPENT, 10**6, most, enough)
    assert problem.remedy == "Give 'dense2' 29 instead of 30 neurons"


def test_layers_whose_output_axons_run_out_are_named_with_the_largest_that_they_send_to():
    limit = BOARD.chip.core.max_out_axon_slots
    slots = {"dense1": limit, "dense2": limit + 1, "dense3": limit + 5}
    few = counted(lambda sizes: BOARD.n_cores if sizes["dense3"] <= 7 or sizes["dense4"] <= 4 else None)
    found = no_combination(CHAIN, BOARD, slots, [], few)
    assert [(p.where, p.value, p.limit, p.remedy) for p in found] == [
        ("population 'dense2'", limit + 1, limit, "Give 'dense3' 7 instead of 20 neurons"),
        ("population 'dense3'", limit + 5, limit, "Give 'dense4' 4 instead of 10 neurons"),
    ]
    assert found[0].what == "too many output axon slots, whatever the shapes of slices"
    nobody = counted(lambda sizes: None)
    fewer = "Use fewer neurons in the populations that it sends to"
    assert {p.remedy for p in no_combination(CHAIN, BOARD, slots, [], nobody)} == {fewer}
    fixed = no_combination(CHAIN, BOARD, slots, ["dense4", "dense1"], counted(lambda sizes: 10**6))
    assert {p.remedy for p in fixed} == {"Leave the shapes of 'dense1', 'dense4' to be found"}
    assert {p.what for p in fixed} == {"too many output axon slots, whatever the shapes of slices left free"}
    assert {p.remedy for p in no_combination(CHAIN, BOARD, slots, ["dense1"], nobody)} == {fewer}


def test_more_cores_than_a_board_has_are_no_way_out():
    slots = {"dense1": 10**6}
    for needed, cut in ((BOARD.n_cores, True), (BOARD.n_cores + 1, False)):
        (problem,) = no_combination(CHAIN, BOARD, slots, [], counted(lambda sizes, needed=needed: needed))
        assert problem.remedy.startswith("Give 'dense2' 29 instead of 30" if cut else "Use fewer neurons")


def test_what_cannot_be_avoided_and_numbers_of_cores_that_there_are():
    (problem,) = cannot_avoid({"destinations", "atoms"})
    assert problem.value == "destinations, atoms"
    assert problem.what.count(";") == 1
    fitting = SimpleNamespace(n_slices=np.array([1, 1, 2, 5, 9, 10, 20]))
    for wanted, near in ((4, "2, 5, 1"), (7, "5, 9, 10"), (30, "20, 10, 9")):
        said = ", ".join(map(str, sorted(map(int, near.split(", ")))))
        assert no_such_number("p", wanted, fitting).remedy == f"Near it are: {said}"


def test_a_population_alone_is_what_it_was():
    """Its senders are sources, its weights and shifts those that it had; the one that is changed has fewer channels."""
    program = two_senders(6, 4)
    again = Synapses("out", "out", Dense(np.arange(9, dtype=np.int8).reshape(3, 3)), 7)
    program = replace(program, synapses=(*program.synapses, again))
    alone = explain._alone(program, "out", program.synapses[1], 2)
    assert [source.shape for source in alone.sources] == [(1, 1, 6), (1, 1, 2), (1, 1, 3)]
    assert [each.shift for each in alone.synapses] == [6, 6, 7]
    assert alone.populations == program.populations
    kept = program.synapses[1].transform.weights[:, :2]
    np.testing.assert_array_equal(alone.synapses[1].transform.weights, kept)
    assert alone.synapses[0].transform == program.synapses[0].transform
    assert (alone.dt, alone.arithmetic) == (program.dt, program.arithmetic)
    assert len({each.pre for each in alone.synapses} | {"out"}) == 4
    twice = replace(program, synapses=(program.synapses[0], replace(program.synapses[0], shift=7)))
    assert explain._alone(twice, "out", twice.synapses[0], 3) is None  # another projection sees all of them
    assert explain._thinned(program, "out", 2) is None
    alone = replace(program, synapses=(again,))
    assert explain._thinned(alone, "out", 2) is None

"""However a program is mapped, rules are kept and nengo-loihi's emulator gives the spikes of the unsplit program."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from loihi_deploy.chip.boards import board_names, load_board
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.errors import MappingError
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.memory import synapse_bits
from loihi_deploy.mapping.usage import slice_bundles
from tests.mapping.networks import chain, check_rules, networks, weights

pytest.importorskip("nengo_loihi")
from loihi_deploy.backends import nengo_loihi

STEPS = 15


@st.composite
def boards(draw):
    """A board of the package, or one whose cores hold so little that small networks need many of them."""
    board = load_board(draw(st.sampled_from(board_names())))
    if draw(st.booleans()):
        return board
    core = replace(
        board.chip.core,
        max_compartments=draw(st.integers(20, 60)),
        synapse_memory_words=draw(st.integers(200, 800)),
        max_in_axons=draw(st.integers(100, 400)),
        max_out_axon_slots=draw(st.integers(60, 400)),
    )
    chip = replace(board.chip, core=core, mesh_columns=draw(st.integers(1, 3)), mesh_rows=2, cores_per_tile=2)
    return replace(board, chip=chip, n_chips=16)


def sending(model):
    """What the neurons of each block send by, read from the blocks."""
    for block in model.blocks:
        atoms, kinds = {}, set()
        for axon in block.axons:
            population = axon.target.pop_type != 0
            for compartment, spike in enumerate(axon.map_spikes(np.arange(block.n_neurons))):
                if spike is not None:
                    kinds.add(population)
                    if population:
                        atoms.setdefault(compartment, set()).add(spike.atom)
        yield {"atoms": sum(len(of_one) > 1 for of_one in atoms.values()), "axon_kinds": len(kinds)}


def check_against_blocks(program, mapping, model):
    """What was counted is what nengo-loihi counts in the blocks that it gets."""
    limits = mapping.board.chip.core
    apart = Counter()
    for core, used in zip(mapping.cores, sending(model), strict=True):
        assert {name: core.usage[name] for name in used} == used
    for pre, post, axons in mapping.flows[:, :3]:
        if pre >= 0 and mapping.cores[pre].chip != mapping.cores[post].chip:
            apart[int(pre)] += int(axons)
    for number, (core, block) in enumerate(zip(mapping.cores, model.blocks, strict=True)):
        used = block.utilization()
        assert used["compartments"][0] == core.usage["compartments"]
        assert used["in-axons"][0] == core.usage["in_axons"]
        assert used["out-axons"][0] == core.usage["out_axon_slots"] - apart[number]
        extra = 0
        for piece in core.slices:
            for bundle in slice_bundles(program, piece, limits):
                if bundle.compressed:  # what no index says is the place in the list
                    for indices, n in zip(bundle.make_sets()[1], bundle.targets, strict=True):
                        assert (indices == np.arange(n)).all()
                for n in bundle.targets * bundle.n_atoms:
                    last = ((n - 1) % 64 + 1) * synapse_bits(bundle, limits) + 10
                    extra += last % 64 == 0 or last % 64 >= 59
        assert used["synapses"][0] == 64 * (core.usage["synapse_words"] - extra)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.reuse, Phase.generate, Phase.shrink],  # explaining a failure would take minutes
)
@given(networks(), boards(), st.data())
def test_no_mapping_changes_a_spike(program, board, data):
    fix = {}
    for population in program.populations:
        if data.draw(st.integers(0, 3)) == 0:
            grid = grids(program)[population.name]
            fix[population.name] = tuple(data.draw(st.integers(1, n)) for n in grid)
    try:
        mapping = map_to_cores(program, board, fix=fix)
    except MappingError:
        return  # a board drawn too small: what is said about it is tested elsewhere
    check_rules(program, mapping)
    for name, box in fix.items():
        shapes = [p.shape for core in mapping.cores for p in core.slices if p.population == name]
        assert np.max(shapes, axis=0).tolist() == list(box)
    check_against_blocks(program, mapping, nengo_loihi.build_model(program, mapping).model)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    spikes = {s.name: rng.random((1, STEPS, s.size)) < 0.3 for s in program.sources}
    record = {p.name: ("spikes", "u", "v") for p in program.populations}
    expected = reference.simulate(program, spikes, STEPS, record)
    found = nengo_loihi.simulate(program, mapping, spikes, STEPS, record)
    for name, variables in record.items():
        for variable in variables:
            np.testing.assert_array_equal(found.recorded[name][variable], expected.recorded[name][variable])
    assert found.counts == expected.counts, (found.counts, expected.counts)


def check_spikes(program, mapping, steps, density):
    """Spikes, currents and voltages on nengo-loihi's emulator are those of the unsplit program."""
    rng = np.random.default_rng(1)
    spikes = {s.name: rng.random((1, steps, s.size)) < density for s in program.sources}
    record = {p.name: ("spikes", "u", "v") for p in program.populations}
    expected = reference.simulate(program, spikes, steps, record)
    found = nengo_loihi.simulate(program, mapping, spikes, steps, record)
    assert all(counts.spikes > 0 for counts in expected.counts.values())
    assert found.counts == expected.counts, (found.counts, expected.counts)
    for name, variables in record.items():
        for variable in variables:
            np.testing.assert_array_equal(found.recorded[name][variable], expected.recorded[name][variable])


def test_population_axons_without_indices():
    """Matrices between cores whose output axons suffice for population axons only."""
    program = chain((5, 5, 6), [("conv", 3, 1, 16), ("conv", 3, 1, 60), ("dense", 80)], threshold=64 * 300)
    loop = Synapses("dense3", "dense3", Dense(weights(np.random.default_rng(0), 80, 80)), 6)
    program = replace(program, synapses=(*program.synapses, loop))
    board = load_board("nahuku08")
    core = replace(board.chip.core, synapse_memory_words=200, max_out_axon_slots=60)
    mapping = map_to_cores(program, replace(board, chip=replace(board.chip, core=core)))
    wirings = {wiring for core in mapping.cores for piece in core.slices for wiring in piece.wirings}
    assert {w.projection for w in wirings if w.kind == "pixels" and w.compressed} >= {2, 3}
    check_rules(program, mapping)
    check_against_blocks(program, mapping, nengo_loihi.build_model(program, mapping).model)
    check_spikes(program, mapping, 30, 0.2)


def test_mapping_that_shares_cores_and_uses_margins():
    """A network that fits only because slices share cores, on cores small enough for margins to pay."""
    program = chain(
        (9, 9, 4),
        [("conv", 3, 1, 12, 1), ("conv", 3, 1, 10), ("conv", 3, 2, 16), ("dense", 20)],
        threshold=64 * 300,
    )
    board = load_board("nahuku08")
    core = replace(board.chip.core, max_compartments=400, synapse_memory_words=260)
    mapping = map_to_cores(program, replace(board, chip=replace(board.chip, core=core)))
    assert any(len(core.populations) > 1 for core in mapping.cores)
    assert any(any(piece.margin) for core in mapping.cores for piece in core.slices)
    check_rules(program, mapping)
    check_against_blocks(program, mapping, nengo_loihi.build_model(program, mapping).model)
    check_spikes(program, mapping, 30, 0.2)

"""The road to nengo-loihi: what it refuses, what it counts, and what it needs."""

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.backends import nengo_loihi
from loihi_deploy.backends.board import simulate_on_board
from loihi_deploy.backends.board_driver import mapped_allocator
from loihi_deploy.engines.chip import plain as reference
from loihi_deploy.errors import BackendError, MissingExtraError
from loihi_deploy.ir import Dense, Link
from loihi_deploy.ir.program import Noise, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from tests.mapping.networks import NOTHING, chain, compartments

pytest.importorskip("nengo_loihi")

PROGRAM = chain((6, 6, 2), [("conv", 3, 1, 4), ("dense", 10)], threshold=64 * 200)
MAPPING = map_to_cores(PROGRAM, "loihi")


def spikes_for(program, steps, n=1, rate=0.3):
    rng = np.random.default_rng(0)
    return {s.name: rng.random((n, steps, s.size)) < rate for s in program.sources}


def equal_simulations(program, spikes, steps, **changes):
    record = {p.name: ("spikes", "u", "v", "events") for p in program.populations}
    found = nengo_loihi.simulate(program, map_to_cores(program, "nahuku08"), spikes, steps, record)
    expected = reference.simulate(program, spikes, steps, record)
    assert found.counts == expected.counts
    for name, variables in record.items():
        for variable in variables:
            np.testing.assert_array_equal(found.recorded[name][variable], expected.recorded[name][variable])
    return expected


def test_samples_start_from_rest():
    spikes = spikes_for(PROGRAM, 20, n=3)
    simulation = equal_simulations(PROGRAM, spikes, 20)
    assert simulation.recorded["dense2"]["spikes"].shape == (3, 20, 10)
    alone = nengo_loihi.simulate(PROGRAM, MAPPING, {"in": spikes["in"][2:]}, 20, {"dense2": ["spikes"]})
    np.testing.assert_array_equal(
        alone.recorded["dense2"]["spikes"][0], simulation.recorded["dense2"]["spikes"][2]
    )


def test_overflows_are_counted_and_not_warned_of():
    rng = np.random.default_rng(0)
    heavy = Dense(np.full((4, 400), 127, np.int8))
    program = Program(
        NOTHING,
        (SpikeSource("in", (400,)),),
        (compartments(rng, "p", (4,), decay_u=100),),
        (Synapses("in", "p", heavy, 7),),
        NOTHING,
    )
    spikes = {"in": np.ones((2, 12, 400), bool)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = equal_simulations(program, spikes, 12).counts["p"]
    assert counts.overflows_q > 0
    assert counts.overflows_u > 0


def test_initial_voltages_and_links_that_take_several_steps():
    rng = np.random.default_rng(1)
    first, second = PROGRAM.populations
    voltages = rng.integers(0, 5000, first.size)
    program = replace(
        PROGRAM,
        populations=(replace(first, initial_voltage=voltages), second),
        links=(Link("in", "to_chip", 3),),
    )
    equal_simulations(program, spikes_for(program, 15), 15)


def test_noise_reaches_the_compartments():
    first, second = PROGRAM.populations
    noisy = replace(PROGRAM, populations=(replace(first, noise=Noise(12, 1, True)), second))
    mapping = map_to_cores(noisy, "loihi")
    assert mapping.n_cores == 2  # noise is a setting of the core
    silent = {"in": np.zeros((1, 10, 72), bool)}
    runs = [
        nengo_loihi.simulate(noisy, mapping, silent, 10, {"conv1": ["v"]}, seed=seed).recorded["conv1"]["v"]
        for seed in (1, 1, 2)
    ]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


def test_a_mapping_of_another_program_is_refused():
    other = chain((6, 6, 2), [("conv", 3, 1, 4), ("dense", 10)], seed=1)
    with pytest.raises(BackendError, match="another program"):
        nengo_loihi.simulate(other, MAPPING, spikes_for(other, 3), 3)


def test_without_nxsdk_the_hardware_says_what_is_missing():
    with pytest.raises(BackendError, match=r"NxSDK.*not installed.*backend='emulator'"):
        simulate_on_board(PROGRAM, MAPPING, spikes_for(PROGRAM, 3), 3)


def test_without_nengo_loihi_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nengo_loihi", None)
    with pytest.raises(MissingExtraError, match="convert"):
        nengo_loihi.build_model(PROGRAM, MAPPING)


def test_blocks_go_where_the_mapping_puts_them():
    """nengo-loihi's own allocation and hardware checks take the blocks as they are."""
    import nengo_loihi as nl
    from nengo_loihi.hardware.validate import validate_board

    program = chain((16, 16, 8), [("conv", 3, 1, 16, 1), ("conv", 3, 1, 16, 1), ("dense", 12)])
    from tests.mapping.test_mapper import board_with

    mapping = map_to_cores(program, board_with(mesh_columns=2, mesh_rows=1, cores_per_tile=2))
    made = nengo_loihi.build_model(program, mapping)
    board = mapped_allocator(nl, made.tree["chip_of"])(made.model, mapping.n_chips)
    validate_board(board)
    for block, core in zip(made.model.blocks, mapping.cores, strict=True):
        chip, number, *_ = board.find_block(block)
        assert (chip, number) == (core.chip, core.number)
    for chip in board.chips:
        for core in chip.cores:
            assert len(core.synapse_cfgs) - 1 <= mapping.board.chip.core.max_synapse_formats
            assert len(core.vth_cfgs) <= mapping.board.chip.core.max_threshold_profiles

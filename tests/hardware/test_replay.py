"""What nengo-loihi writes to a board, replayed from the registers alone, gives our emulator's spikes at every step."""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from loihi_deploy.backends import RunOptions, run
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.chip.boards import load_board
from loihi_deploy.engines.chip import plain
from loihi_deploy.errors import MappingError
from loihi_deploy.ir import Dense
from loihi_deploy.ir.program import Noise, Synapses
from loihi_deploy.ir.samples import samples_for
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.mapping.plan import POP16
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize
from tests.conformance import test_engines as contract
from tests.hardware import replay, standin
from tests.mapping.networks import chain, narrow, networks, weights

pytest.importorskip("nengo_loihi")
from loihi_deploy.backends import nengo_loihi
from loihi_deploy.backends.board import simulate_on_board

EVERYTHING = ("spikes", "u", "v")
NETWORK_NAMES = ["mnist-convnet"]
if os.environ.get("LOIHI_DEPLOY_REHEARSAL"):  # make rehearsal
    NETWORK_NAMES += ["nxtf-mnist", "recurrent-lif", "cifar10-convnet"]


@pytest.fixture
def bench(monkeypatch):
    return standin.patch(monkeypatch)


def spikes_for(program, steps, n=1, rate=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return {s.name: rng.random((n, steps, s.size)) < rate for s in program.sources}


def small_board(**limits):
    """A board of cores that hold little, two to a chip."""
    board = load_board("nahuku32")
    core = replace(board.chip.core, **limits)
    chip = replace(board.chip, core=core, mesh_columns=1, mesh_rows=1, cores_per_tile=2)
    return replace(board, chip=chip)


def check_recording(bench, mapping):
    """Words, slots, formats and profiles that were written are those that the mapper counted, core by core."""
    limits = mapping.board.chip.core
    for board in bench.boards:
        assert len(board.cores()) == mapping.n_cores
        assert len(board.n2Chips) == mapping.n_chips
        for written, core in zip(board.cores(), mapping.cores, strict=True):
            used = core.usage
            assert len(written.cxCfg.items()) == used["compartments"] <= limits.max_compartments
            assert replay.memory_words(written) == used["synapse_words"]
            assert len(written.synapseMap.items()) == used["in_axons"]
            assert written.slots() == used["out_axon_slots"] <= limits.max_out_axon_slots
            assert len(written.synapseFmt.items()) == used["synapse_formats"]
            assert len(written.cxProfileCfg.items()) == used["compartment_profiles"]
            assert len(written.vthProfileCfg.items()) == used["threshold_profiles"]
            places = {}
            for axon in written.axons:
                if axon.kind:
                    places.setdefault(axon.cx, set()).add(axon.atom)
            assert sum(len(atoms) > 1 for atoms in places.values()) == used["atoms"]
            kinds = {axon.kind != 0 for axon in written.axons}
            assert len(kinds) == used["axon_kinds"]


def check(bench, program, mapping, spikes, steps, biases=None):
    """Spikes, currents and voltages are equal at every step, and the recording holds what the mapper counted."""
    record = {p.name: EVERYTHING for p in program.populations}
    found = simulate_on_board(program, mapping, spikes, steps, record, biases=biases)
    expected = plain.simulate(program, spikes, steps, record, biases=biases)
    for name, variables in record.items():
        for variable in variables:
            np.testing.assert_array_equal(found.recorded[name][variable], expected.recorded[name][variable])
    check_recording(bench, mapping)
    return expected


PROGRAM = chain((6, 6, 2), [("conv", 3, 1, 4), ("dense", 10)], threshold=64 * 200)


@pytest.mark.parametrize("transform", contract.TRANSFORMS)
def test_every_projection_of_the_contract(bench, transform):
    rng = np.random.default_rng(6)
    program = contract.network(rng, contract.TRANSFORMS[transform](rng), 6)
    expected = check(bench, program, map_to_cores(program, "nahuku32"), spikes_for(program, 25, rate=0.1), 25)
    assert expected.counts["p"].spikes > 10


@pytest.mark.parametrize("neuron", contract.NEURONS)
def test_every_neuron_of_the_contract(bench, neuron):
    rng = np.random.default_rng(0)
    weights = contract.mantissas(rng, (40, 120))
    weights = np.abs(weights) if neuron == "wrapping" else weights
    program = contract.network(rng, Dense(weights), 7, **contract.NEURONS[neuron])
    expected = check(bench, program, map_to_cores(program, "nahuku32"), spikes_for(program, 40, rate=0.2), 40)
    assert (expected.counts["p"].overflows_u > 0) == (neuron == "wrapping")


def test_three_samples_each_from_rest_and_with_its_own_spikes(bench):
    spikes = spikes_for(PROGRAM, 20, n=3)
    expected = check(bench, PROGRAM, map_to_cores(PROGRAM, "kapoho_bay"), spikes, 20)
    assert all(counts.spikes > 0 for counts in expected.counts.values())
    assert len(bench.boards) == 3
    assert all(board.disconnected and board.steps_run == 20 for board in bench.boards)
    on_boards = [board.spikes for board in bench.boards]
    assert on_boards[0] != on_boards[1] != on_boards[2]


def test_three_samples_each_with_its_own_biases(bench):
    first, second = PROGRAM.populations
    program = replace(PROGRAM, populations=(replace(first, bias=0 * first.bias), second))
    rng = np.random.default_rng(3)
    biases = {"conv1": rng.integers(0, 4000, (3, 1, first.size)).astype(np.int32)}
    spikes = spikes_for(program, 15, n=3)
    expected = check(bench, program, map_to_cores(program, "loihi"), spikes, 15, biases)
    assert len({array.tobytes() for array in expected.recorded["conv1"]["u"]}) == 3


@pytest.mark.parametrize(("kind", "seed"), [("if", 0), ("lif", 1)])
def test_branches_groups_strides_and_loops_on_several_chips(bench, kind, seed):
    from tests.conformance.test_nengo_loihi import network

    program = network(seed, kind)
    program = replace(
        program, populations=tuple(replace(p, initial_voltage=None) for p in program.populations)
    )
    mapping = map_to_cores(program, small_board(max_compartments=150))
    assert mapping.n_chips > 1
    expected = check(bench, program, mapping, spikes_for(program, 25), 25)
    assert sum(counts.spikes > 0 for counts in expected.counts.values()) >= 4


def test_population_axons_of_both_kinds_and_without_indices(bench):
    program = chain((5, 5, 6), [("conv", 3, 1, 16), ("conv", 3, 1, 60), ("dense", 80)], threshold=64 * 300)
    loop = Synapses("dense3", "dense3", Dense(weights(np.random.default_rng(0), 80, 80)), 6)
    program = replace(program, synapses=(*program.synapses, loop))
    mapping = map_to_cores(program, small_board(synapse_memory_words=200, max_out_axon_slots=60))
    wirings = [w for core in mapping.cores for piece in core.slices for w in piece.wirings]
    assert any(w.kind == "pixels" and w.compressed for w in wirings)
    assert any(w.axon == POP16 for w in wirings)
    assert len({w.axon for w in wirings}) > 1
    expected = check(bench, program, mapping, spikes_for(program, 30, rate=0.2), 30)
    assert all(counts.spikes > 0 for counts in expected.counts.values())


def test_narrow_weights_and_a_source_that_reaches_nothing(bench):
    first, second = PROGRAM.synapses
    unheard = replace(PROGRAM.sources[0], name="unheard")
    program = replace(
        PROGRAM, sources=(*PROGRAM.sources, unheard), synapses=(narrow(first, 4), narrow(second, 6))
    )
    mapping = map_to_cores(program, "loihi")
    check(bench, program, mapping, spikes_for(program, 20), 20)
    formats = {fmt.wgtBits for core in bench.boards[0].cores() for _, fmt in core.synapseFmt.items()}
    assert {4, 6} <= formats


@pytest.mark.parametrize("at_membrane", [False, True])
@pytest.mark.parametrize("exponent", [5, 12])
def test_noise(monkeypatch, at_membrane, exponent):
    """With draws in the order of nengo-loihi's emulator, its noise; the chip draws its own."""
    first, second = PROGRAM.populations
    noisy = replace(first, noise=Noise(exponent, 1, at_membrane))
    program = replace(PROGRAM, populations=(noisy, second))
    bench = standin.patch(monkeypatch, noise_seed=7)
    mapping = map_to_cores(program, "loihi")
    spikes, record = spikes_for(program, 20), {p.name: EVERYTHING for p in program.populations}
    found = simulate_on_board(program, mapping, spikes, 20, record)
    expected = nengo_loihi.simulate(program, mapping, spikes, 20, record, seed=7)
    silent = nengo_loihi.simulate(program, mapping, spikes, 20, record, seed=8)
    for name in record:
        for variable in EVERYTHING:
            np.testing.assert_array_equal(found.recorded[name][variable], expected.recorded[name][variable])
    assert (found.recorded["conv1"]["v"] != silent.recorded["conv1"]["v"]).any()
    check_recording(bench, mapping)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
)
@given(networks(), st.integers(0, 99))
def test_drawn_networks(program, seed):
    """Narrow weights among them, and matrices of few weights."""
    board = small_board(max_compartments=60)
    try:
        mapping = map_to_cores(program, board)
    except MappingError:
        return
    with pytest.MonkeyPatch.context() as patched:
        check(standin.patch(patched), program, mapping, spikes_for(program, 12, seed=seed), 12)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_networks_of_examples(bench, name, capsys):
    """Encoder and readout included, 50 steps."""
    graph = benchmarks.NETWORKS[name]()
    program = quantize(partition(graph))
    mapping = map_to_cores(program, "nahuku32")
    brightness = 10 if name == "cifar10-convnet" else 1  # so that its last layers spike as well
    samples = samples_for(graph, brightness * benchmarks.inputs(name, 1))
    record = {p.name: ("spikes",) for p in program.populations}
    ours, theirs = (
        run(program, samples, RunOptions(50, backend, record=record), mapping)
        for backend in ("emulator", "hardware")
    )
    for p in program.populations:
        spikes = ours.recorded[p.name]["spikes"]
        assert spikes.any() or (name, p.name) == ("nxtf-mnist", "conv3")
        np.testing.assert_array_equal(theirs.recorded[p.name]["spikes"], spikes)
    np.testing.assert_array_equal(theirs.outputs, ours.outputs)
    check_recording(bench, mapping)
    if len(NETWORK_NAMES) > 1:
        spikes = sum(ours.counters.populations[p.name].spikes for p in program.populations)
        words = sum(replay.memory_words(core) for core in bench.boards[0].cores())
        compartments = sum(core.n_compartments for core in mapping.cores)
        with capsys.disabled():
            print(
                f"\n{name}: {compartments:,} compartments and {words:,} words of synapse memory on "
                f"{mapping.n_cores} cores, core by core as mapped; {spikes:,} spikes in 50 steps equal"
            )


def test_a_single_altered_register_changes_what_is_replayed(bench):
    """So that equal spikes say something: weights, pointers, bases, profiles and axons count."""
    spikes = spikes_for(PROGRAM, 20)
    mapping = map_to_cores(PROGRAM, "loihi")
    simulate_on_board(PROGRAM, mapping, spikes, 20)
    board = bench.boards[0]
    core = board.cores()[0]

    def states():
        machine = replay.Machine(board)
        return [np.array(machine.step()).tobytes() for _ in range(20)]

    def altered(register, name):
        kept = register.written[name]
        register.written[name] = kept ^ 1
        different = states() != expected
        register.written[name] = kept
        return different

    expected = states()
    assert altered(max((cfg for _, cfg in core.cxCfg.items()), key=lambda cfg: cfg.bias), "bias")
    assert altered(core.cxProfileCfg[0], "decayU")
    assert altered(core.vthProfileCfg[0].staticCfg, "vth")
    assert altered(core.dendriteSharedCfg, "negVmLimit")
    used = next(entry for _, entry in core.synapseMap.items() if entry.population32MapEntry.written)
    for one, name in ((used, "synapsePtr"), (core.synapseFmt[1], "wgtExp"), (core.cxMetaState[0], "phase0")):
        try:
            assert altered(one, name)
        except replay.UnreadableError:
            one.written[name] ^= 1
    core.synapses.rows[:, 1] += 2
    assert states() != expected
    core.synapses.rows[:, 1] -= 2
    assert states() == expected

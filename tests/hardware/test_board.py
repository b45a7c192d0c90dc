"""The hardware path whole, against the stand-in: samples, probes, streams, errors in the middle, and the preflight."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.backends import RunOptions, run
from loihi_deploy.backends.preflight import OnBoard, preflight
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import BackendError, InputError
from loihi_deploy.ir import Dense, Graph, Input, Link, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.program import Noise
from loihi_deploy.ir.samples import samples_for
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize
from tests.hardware import snips, standin
from tests.mapping.networks import chain

pytest.importorskip("nengo_loihi")

RNG = np.random.default_rng(0)
NEURON = NeuronModel("if", discretized=True)
GRAPH = Graph(
    (Input("x", (8,)),),
    (
        Population("front", (8,), NEURON, np.ones(()) * 200, np.zeros(8)),
        Population("hidden", (12,), NEURON, np.ones(()), np.full(12, 10.0)),
        Population("last", (5,), NEURON, np.ones(()), np.full(5, 20.0)),
    ),
    (
        Projection("x", "front", Dense(np.eye(8)), 0.0),
        Projection("front", "hidden", Dense(RNG.normal(0.3, 0.5, (12, 8))), 0.005),
        Projection("hidden", "last", Dense(RNG.normal(0.3, 0.5, (5, 12))), 0.005),
        Projection("last", "y", Dense(RNG.normal(0, 1, (3, 5))), 0.01),
    ),
    (Readout("y", (3,), np.zeros(3)),),
)
PROGRAM = quantize(partition(GRAPH))
MAPPING = map_to_cores(PROGRAM, "loihi")
X = RNG.random((3, 8))


@pytest.fixture
def bench(monkeypatch):
    for name in ("KAPOHOBAY", "PARTITION"):
        monkeypatch.delenv(name, raising=False)
    return standin.patch(monkeypatch)


def present(backend, x=X, program=PROGRAM, mapping=MAPPING, steps=40, **options):
    return run(program, samples_for(GRAPH, x), RunOptions(steps, backend, **options), mapping)


def test_only_the_readout_is_probed_and_what_nobody_counted_is_unknown(bench):
    ours, theirs = (present(backend) for backend in ("emulator", "hardware"))
    np.testing.assert_array_equal(theirs.outputs, ours.outputs)
    assert ours.counters.populations["last"].spikes > 0
    probed = {len(board.monitor.probes) for board in bench.boards}
    assert probed == {5}
    front, last = (theirs.counters.populations[name] for name in ("front", "last"))
    assert front.unknown == ("overflows_q", "overflows_u", "spikes")
    assert front.synaptic_events == ours.counters.populations["front"].synaptic_events
    assert last.unknown == ("overflows_q", "overflows_u", "synaptic_events")
    assert last.spikes == ours.counters.populations["last"].spikes
    assert np.isnan(theirs.counters.firing_rate("hidden", PROGRAM.dt))
    assert "?" in str(theirs.counters)


def test_what_is_asked_for_is_probed_as_well(bench):
    record = {"hidden": ("u", "v", "events")}
    ours, theirs = (present(backend, record=record) for backend in ("emulator", "hardware"))
    for variable, values in ours.recorded["hidden"].items():
        np.testing.assert_array_equal(theirs.recorded["hidden"][variable], values)
    assert {probe.key for probe in bench.boards[0].monitor.probes} == {"u", "v", "spike"}
    assert theirs.counters.populations["last"].synaptic_events > 0
    assert theirs.counters.populations["last"].unknown == ("overflows_q", "overflows_u")


def test_a_stream_loads_the_board_once(bench):
    ours, theirs = (present(backend, stream=True) for backend in ("emulator", "hardware"))
    np.testing.assert_array_equal(theirs.outputs, ours.outputs)
    assert (present("emulator").outputs != ours.outputs).any()
    assert [board.steps_run for board in bench.boards] == [120]


@pytest.mark.parametrize("call", ["run", "disconnect"])
def test_an_error_in_the_middle_gives_the_board_back(bench, call):
    present("hardware", X[:1])
    bench.failures[call] = [RuntimeError("lost the board")]
    with pytest.raises(BackendError, match=r"sample 0.*lost the board"):
        present("hardware")
    assert not any(board.executor.started for board in bench.boards)
    np.testing.assert_array_equal(present("hardware").outputs, present("emulator").outputs)


def test_an_interrupt_gives_the_board_back(bench):
    bench.failures["run"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        present("hardware")
    assert bench.boards[-1].disconnected


def test_starting_is_tried_three_times(bench):
    bench.failures["start"] = [RuntimeError("busy")] * 2
    present("hardware", X[:1])
    bench.failures["start"] = [RuntimeError("busy")] * 3
    with pytest.raises(BackendError, match="busy"):
        present("hardware")


def test_a_board_of_other_cores_is_refused(bench, monkeypatch):
    mapping = map_to_cores(PROGRAM, "loihi", fix={"hidden": 3})
    monkeypatch.setattr(standin.N2Board, "missing_cores", 1)
    with pytest.raises(BackendError, match="not that of the mapping"):
        present("hardware", mapping=mapping)
    assert bench.boards[0].disconnected


def test_everything_that_is_wrong_is_said_at_once(bench, monkeypatch):
    monkeypatch.setenv("PARTITION", "nahuku08")
    front, hidden, last = PROGRAM.populations
    source = PROGRAM.sources[0].name
    program = replace(
        PROGRAM,
        populations=(
            front,
            replace(hidden, initial_voltage=np.ones(12, np.int32)),
            replace(last, threshold=0),
        ),
        links=(*(link for link in PROGRAM.links if link.kind != "to_chip"), Link(source, "to_chip", 0)),
    )
    mapping = map_to_cores(program, "loihi")
    found = preflight(program, mapping)
    texts = "\n".join(map(str, found.program))
    assert len(found.program) == 3
    assert not found.ready
    for part in ("initial voltages", "thresholds", "a step at least"):
        assert part in texts
    with pytest.raises(BackendError) as error:
        present("hardware", program=program, mapping=mapping)
    assert error.value.problems == found.program
    assert not bench.boards


def test_limits_that_were_waived_are_refused(bench):
    board = replace(MAPPING.board, n_chips=1)
    chip = replace(board.chip, mesh_columns=1, mesh_rows=1, cores_per_tile=1)
    mapping = map_to_cores(PROGRAM, replace(board, chip=chip), downgrade=["chips"], fix={"hidden": 4})
    assert "chips" in str(preflight(PROGRAM, mapping).program[0])


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("KAPOHOBAY", "1", 2),
        ("PARTITION", "nahuku08", 8),
        ("PARTITION", "nahuku32", 32),
        ("PARTITION", "loihi_2h", 768),
    ],
)
def test_the_attached_board_is_large_enough(bench, monkeypatch, name, value, fits):
    monkeypatch.setenv(name, value)
    assert preflight(PROGRAM, MAPPING).ready
    monkeypatch.setattr(type(MAPPING), "n_chips", property(lambda self: fits + 1))
    assert ("more chips" in str(preflight(PROGRAM, MAPPING))) == (fits < 768)


def test_versions_of_the_driver(bench, monkeypatch):
    assert preflight(PROGRAM, MAPPING).ready
    for version, known in (("0.8.7", False), ("0.9.0", True), ("0.9.5.daily.2", True), ("1.1.0", False)):
        monkeypatch.setattr(standin.nxsdk(), "__version__", version)
        assert preflight(PROGRAM, MAPPING).ready == known, version


def test_doubts_are_no_refusals(bench):
    found = preflight(PROGRAM, MAPPING)
    assert found.ready
    assert "spike counter" in str(found.doubts[0])
    assert "Ready for the board" in str(found)
    slots = max(core.usage["out_axon_slots"] for core in MAPPING.cores)
    room = MAPPING.board.chip.core.max_out_axon_slots - slots
    assert f"room for {room:,} slots more" in str(found)
    streamed = "\n".join(map(str, preflight(PROGRAM, MAPPING, how=OnBoard(streamed=True)).doubts))
    assert "spike counter" not in streamed
    assert "128 times" in streamed


@pytest.mark.parametrize(
    "misuse",
    [
        lambda core: core.cxCfg[0].configure(bias=1, voltage=2),
        lambda core: core.cxCfg[0].configure(bias=5000),
        lambda core: core.cxCfg[0].configure(bias=core.cxCfg[0].bias + 1),
        lambda core: core.cxCfg[1024],
        lambda core: core.createPop16Axon(
            popId=0, srcCxId=0, srcRelCxId=32, dstChipId=3, dstCoreId=5, dstSynMapId=0
        ),
        lambda core: core.createDiscreteAxon(srcCxId=0, dstChipId=99, dstCoreId=5, dstSynMapId=0),
        lambda core: core.numUpdates.configure(numUpdates=1.0),
    ],
)
def test_the_stand_in_takes_nothing_wrong(bench, misuse):
    present("hardware", X[:1])
    with pytest.raises(standin.MisuseError):
        misuse(bench.boards[0].cores()[0])


with_compilers = pytest.mark.skipif(not snips.HAVE_COMPILERS, reason="snips are compiled with gcc and g++")


@with_compilers
@pytest.mark.parametrize("reversed_snips", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_snip_brings_every_sample_to_its_start_in_one_load(bench, streamed, reversed_snips):
    bench.reversed_snips = reversed_snips
    _, hidden, last = (
        PROGRAM.populations[-3:] if len(PROGRAM.populations) > 2 else (None, *PROGRAM.populations)
    )
    voltages = {p.name: RNG.integers(0, p.threshold, p.size).astype(np.int32) for p in (hidden, last)}
    program = replace(
        PROGRAM,
        populations=tuple(
            replace(p, initial_voltage=voltages[p.name]) if p.name in voltages else p
            for p in PROGRAM.populations
        ),
    )
    mapping = map_to_cores(program, "loihi", fix={"hidden": 2})
    ours = present("emulator", program=program, mapping=mapping)
    theirs = present("hardware", program=program, mapping=mapping, reset="snip", streamed=streamed)
    np.testing.assert_array_equal(theirs.outputs, ours.outputs)
    assert theirs.counters.populations["last"].spikes == ours.counters.populations["last"].spikes > 0
    assert [board.steps_run for board in bench.boards] == [3 * 42]
    plain = present("emulator")
    assert (plain.outputs != ours.outputs).any()


def test_gaps_between_samples(bench):
    results = {}
    for gap in (0, 3, 20):
        ours, theirs, slow = (
            present(backend, reset="gap", gap=gap) for backend in ("emulator", "hardware", "nengo_loihi")
        )
        np.testing.assert_array_equal(theirs.outputs, ours.outputs)
        np.testing.assert_array_equal(slow.outputs, ours.outputs)
        results[gap] = ours.outputs
    assert [board.steps_run for board in bench.boards] == [120, 129, 180]
    rest = present("emulator").outputs
    np.testing.assert_array_equal(results[3][0], rest[0])
    assert (results[0] != rest).any()
    assert (results[0] != results[3]).any()


def test_gaps_do_not_depend_on_chunks():
    whole, parts = (present("emulator", reset="gap", gap=2, chunk_size=n).outputs for n in (3, 1))
    np.testing.assert_array_equal(whole, parts)


@with_compilers
def test_streamed_spikes_are_those_that_are_loaded(bench):
    record = {"hidden": ("u", "spikes")}
    ours = present("emulator", record=record)
    theirs = present("hardware", record=record, streamed=True)
    np.testing.assert_array_equal(theirs.outputs, ours.outputs)
    for variable in ("u", "spikes"):
        np.testing.assert_array_equal(theirs.recorded["hidden"][variable], ours.recorded["hidden"][variable])
    assert not any(board.spikes for board in bench.boards)


@pytest.mark.follows(
    "Deploy with DeployOptions(max_host_spikes=…), or load spikes before the run: streamed=False",
)
def test_more_spikes_than_a_snip_carries_are_refused_before_anything_is_loaded(bench):
    chip = replace(MAPPING.board.chip, host_spikes_per_step=2)
    mapping = map_to_cores(PROGRAM, replace(MAPPING.board, chip=chip))
    with pytest.raises(BackendError, match=r"more spikes to a chip.*max_host_spikes=2.*streamed=False"):
        present("hardware", mapping=mapping, streamed=True)
    assert not bench.boards
    np.testing.assert_array_equal(
        present("hardware", mapping=mapping, streamed=False).outputs, present("emulator").outputs
    )


def test_accuracy_by_each_way_to_reset():
    program = replace(
        PROGRAM, populations=tuple(replace(p, bias=np.minimum(p.bias, 0)) for p in PROGRAM.populations)
    )
    deployment = Deployment.from_parts(GRAPH, program, map_to_cores(program, "loihi"))
    x = RNG.random((30, 8))
    y = deployment.run(x, 30).outputs.argmax(axis=1)
    found = deployment.compare_resets(x, y, 30, gaps=(0, 40))
    rest, none, long = found.ways
    assert rest.accuracy == 1
    for way, gap in ((none, 0), (long, 40)):
        outputs = deployment.run(x, 30, reset="gap", gap=gap).outputs
        assert way.n_correct == (outputs.argmax(axis=1) == y).sum()
        assert (outputs != deployment.run(x, 30).outputs).any() or gap
    assert "a gap of 40 steps" in str(found)
    with pytest.raises(InputError, match="gaps"):
        deployment.compare_resets(x, y, 30, gaps=(-1,))


def test_biases_of_samples_have_no_gaps():
    biased = quantize(partition(GRAPH, "bias"))
    with pytest.raises(InputError, match="stand in registers"):
        run(biased, samples_for(GRAPH, X), RunOptions(20, reset="gap", gap=3))
    for options in (
        {"reset": "gap", "gap": -1},
        {"reset": "sleep"},
        {"gap": 3},
        {"streamed": True},
        {"reset": "gap", "return_state": True},
        {"reset": "snip", "stream": True},
    ):
        with pytest.raises(InputError):
            present("emulator", **options)


def test_what_a_preflight_knows_of_machine_and_mapping(bench, monkeypatch):
    other = map_to_cores(chain((6, 6, 2), [("dense", 10)]), "loihi")
    assert "made for another program" in str(preflight(PROGRAM, other).program[0])
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "nengo_loihi" else found(name)
    )
    assert "nengo-loihi is not installed" in str(preflight(PROGRAM, MAPPING).machine[0])


def test_what_a_preflight_knows_of_ways_to_present():
    biased = quantize(partition(GRAPH, "bias"))
    mapping = map_to_cores(biased, "loihi")
    assert not preflight(biased, mapping).program
    assert "cannot change while the chip runs" in str(preflight(biased, mapping, n_frames=2).program[0])
    for reset in ("snip", "gap"):
        assert "Use reset=True" in str(preflight(biased, mapping, how=OnBoard(reset)).program[0])
    hidden, last = PROGRAM.populations[-2:]
    changed = {"hidden": replace(hidden, noise=Noise(5)), "last": replace(last, refractory=3)}
    program = replace(PROGRAM, populations=tuple(changed.get(p.name, p) for p in PROGRAM.populations))
    doubtful = preflight(program, map_to_cores(program, "loihi"), how=OnBoard("snip", streamed=True))
    texts = "\n".join(map(str, doubtful.doubts))
    for part in ("its own noise", "no board has run the snip", "128 times the refractory delay"):
        assert part in texts
    together = replace(
        PROGRAM, populations=tuple({**changed, "hidden": hidden}.get(p.name, p) for p in PROGRAM.populations)
    )
    [problem] = preflight(together, map_to_cores(together, "loihi"), how=OnBoard(streamed=True)).program
    assert "several refractory delays" in str(problem)
    assert "streamed=False" in problem.remedy
    assert not preflight(together, map_to_cores(together, "loihi")).program

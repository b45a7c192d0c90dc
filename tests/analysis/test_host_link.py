"""What the host sends to a chip in a step is held to a limit, at every step and on every chip."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis import host_link
from loihi_deploy.backends import board_driver
from loihi_deploy.backends.blocks import describe
from loihi_deploy.chip.boards import load_board
from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host.holding_back import Holding
from loihi_deploy.errors import BackendError, InputError, LoihiDeployWarning, MappingError
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.program import HostLimit
from loihi_deploy.ir.samples import samples_for
from loihi_deploy.mapping.host_messages import messages_of_spikes
from tests.hardware import snips, standin

RNG = np.random.default_rng(0)
STEPS = 60


def network(n_hidden=60):
    """24 inputs, a layer that needs several small cores, and 4 outputs."""
    neuron = NeuronModel()
    return Graph(
        (Input("x", (24,), signed=False),),
        (
            Population("hidden", (n_hidden,), neuron, np.ones(()), np.zeros(n_hidden)),
            Population("last", (20,), neuron, np.ones(()), np.zeros(20)),
        ),
        (
            Projection("x", "hidden", Dense(RNG.normal(0.1, 0.5, (n_hidden, 24)))),
            Projection("hidden", "last", Dense(RNG.normal(0.05, 0.3, (20, n_hidden))), 0.003),
            Projection("last", "out", Dense(RNG.normal(0, 1, (4, 20))), 0.003),
        ),
        (Readout("out", (4,), np.zeros(4)),),
    )


def small_board(compartments=20, cores=2):
    board = load_board("nahuku32")
    core = replace(board.chip.core, max_compartments=compartments)
    return replace(
        board, chip=replace(board.chip, core=core, mesh_columns=1, mesh_rows=1, cores_per_tile=cores)
    )


X = RNG.uniform(0, 1, (40, 24))
GRAPH = network()
FREE = ld.deploy(GRAPH, small_board(), X, ld.DeployOptions(bias_correction_steps=0))
LIMIT = 12
HELD = ld.deploy(GRAPH, small_board(), X, ld.DeployOptions(bias_correction_steps=0, max_host_spikes=LIMIT))


def sent(deployment, x=X, steps=STEPS):
    return host_link.messages(deployment.program, deployment.mapping, samples_for(deployment.graph, x), steps)


def test_messages_are_those_of_nengo_loihis_axons():
    tree = describe(FREE.program, FREE.mapping)
    costs = board_driver.message_costs(tree)
    together = np.concatenate([costs[source.name] for source in FREE.program.sources], axis=1)
    np.testing.assert_array_equal(messages_of_spikes(FREE.program, FREE.mapping), together)
    assert FREE.mapping.n_chips > 1
    assert together.max() > 1


def test_random_spikes_are_counted_as_a_run_sends_them():
    random = ld.deploy(GRAPH, "loihi", X, ld.DeployOptions(bias_correction_steps=0, encoder="poisson"))
    [name] = [source.name for source in random.program.sources]
    spikes = random.run(X[:3], STEPS, record=[name]).recorded[name]["spikes"]
    costs = messages_of_spikes(random.program, random.mapping)
    np.testing.assert_array_equal(sent(random, X[:3]), spikes.astype(np.int64) @ costs.T)


def test_the_limit_holds_at_every_step_and_on_every_chip():
    assert sent(FREE).max() > 2 * LIMIT
    found = sent(HELD)
    assert found.shape[2] == HELD.mapping.n_chips > 1
    assert found.max() <= LIMIT
    assert found.mean() > LIMIT / 8
    brighter = sent(HELD, np.minimum(3 * X, 1))
    assert brighter.max() == LIMIT


def test_spikes_are_late_and_not_lost_while_the_mean_is_below_the_limit():
    free = replace(HELD.program, host_limit=None)
    mapping = replace(HELD.mapping, program_digest=free.digest)
    [name] = [source.name for source in free.sources]
    record = {name: ("spikes",)}
    theirs = ld.Deployment.from_parts(HELD.graph, free, mapping).run(X, STEPS, record=record)
    ours = HELD.run(X, STEPS, record=record)
    emitted, went = (run.recorded[name]["spikes"] for run in (theirs, ours))
    lost = ours.counters.populations[name].lost_spikes
    assert emitted.sum() - went.sum() == lost < 0.02 * emitted.sum()
    behind = emitted.cumsum(axis=1) - went.cumsum(axis=1)
    assert behind.min() == 0
    assert behind.max() >= 1
    assert theirs.counters.populations[name].lost_spikes == 0


def test_too_bright_samples_lose_spikes_and_are_told_of():
    [name] = [source.name for source in HELD.program.sources]
    with pytest.warns(LoihiDeployWarning):
        counters = HELD.run(np.ones((3, 24)), STEPS).counters
    assert counters.populations[name].lost_spikes > 0


def test_in_every_order_of_chunks_threads_and_backends_the_same():
    whole = HELD.run(X, STEPS).outputs
    for other in (
        HELD.run(X, STEPS, chunk_size=1, threads=1),
        HELD.run(X, STEPS, chunk_size=7, threads=2),
        HELD.run(X, STEPS, backend="numpy"),
    ):
        np.testing.assert_array_equal(other.outputs, whole)
    assert (whole != FREE.run(X, STEPS).outputs).any()


@pytest.mark.skipif(not snips.HAVE_COMPILERS, reason="snips are compiled with gcc and g++")
@pytest.mark.follows("Deploy with DeployOptions(max_host_spikes=…)")
def test_it_can_be_streamed_to_several_chips(monkeypatch):
    pytest.importorskip("nengo_loihi")
    bench = standin.patch(monkeypatch)
    board = replace(small_board(), chip=replace(small_board().chip, host_spikes_per_step=LIMIT))
    held = ld.deploy(GRAPH, board, X, ld.DeployOptions(bias_correction_steps=0, max_host_spikes=LIMIT))
    theirs = held.run(X[:2], STEPS, backend="hardware", streamed=True, reset="snip").outputs
    np.testing.assert_array_equal(theirs, held.run(X[:2], STEPS).outputs)
    assert [len(made.n2Chips) for made in bench.boards] == [held.mapping.n_chips]
    free = ld.deploy(GRAPH, board, X, ld.DeployOptions(bias_correction_steps=0))
    too_many = f"max_host_spikes={LIMIT}"
    doubts = [[str(doubt) for doubt in each.preflight(streamed=True).doubts] for each in (free, held)]
    assert [any(too_many in doubt for doubt in each) for each in doubts] == [True, False]
    notes = ["too many input spikes per step" in " ".join(each.notes) for each in (free, held)]
    assert notes == [True, False]
    with pytest.raises(BackendError, match=f"max_host_spikes={LIMIT}"):
        free.run(X[:2], STEPS, backend="hardware", streamed=True)


def test_a_run_goes_on_with_what_waits():
    name = HELD.program.sources[0].name
    record = [name]
    whole = HELD.run(X[:3], STEPS, record=record).recorded[name]["spikes"]
    first = HELD.run(X[:3], STEPS // 2, record=record, return_state=True)
    second = HELD.run(X[:3], STEPS // 2, record=record, state=first.state)
    parts = [run.recorded[name]["spikes"] for run in (first, second)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_it_is_saved(tmp_path):
    HELD.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded.program.host_limit.spikes == LIMIT
    np.testing.assert_array_equal(loaded.run(X, STEPS).outputs, HELD.run(X, STEPS).outputs)


def test_check_agrees():
    for deployment, holds in ((FREE, False), (HELD, True)):
        found = deployment.check(X, criteria=ld.Criteria(max_host_spikes=LIMIT), steps=STEPS)
        assert found.passed == holds
        assert found.measured.figures["host_spikes"] == sent(deployment).max()


@pytest.mark.follows("Give more, or put the first layer on fewer cores with fix=")
def test_a_limit_below_a_single_spike_is_refused_and_its_remedy_works():
    options = ld.DeployOptions(bias_correction_steps=0, max_host_spikes=1)
    with pytest.raises(InputError, match=r"goes to more cores.*fewer cores with fix=") as refusal:
        ld.deploy(GRAPH, small_board(), X, options)
    more = int(refusal.value.problems[0].limit.partition(" ")[0])
    assert sent(ld.deploy(GRAPH, small_board(), X, replace(options, max_host_spikes=more))).max() <= more
    found = ld.deploy(GRAPH, "loihi", X, options, fix={"hidden": 1})
    assert sent(found).max() == 1
    more = ld.deploy(GRAPH, small_board(), X, replace(options, max_host_spikes=LIMIT))
    assert sent(more).max() <= LIMIT


def test_a_limit_that_is_never_reached_changes_nothing():
    options = ld.DeployOptions(bias_correction_steps=0, max_host_spikes=10_000)
    found = ld.deploy(GRAPH, small_board(), X, options)
    assert replace(found.program, host_limit=None).digest == FREE.program.digest
    np.testing.assert_array_equal(found.run(X, STEPS).outputs, FREE.run(X, STEPS).outputs)


def test_an_image_is_cut_into_rows_where_fewer_messages_come_of_it():
    kernel = Conv2D(RNG.normal(0.1, 0.3, (3, 3, 1, 8)), (1, 1), (0, 0), (8, 8, 1), (6, 6, 8))
    neuron = NeuronModel()
    source = Graph(
        (Input("x", (8, 8, 1), signed=False),),
        (Population("conv", (6, 6, 8), neuron, np.ones(()), np.zeros(288)),),
        (
            Projection("x", "conv", kernel),
            Projection("conv", "out", Dense(RNG.normal(0, 1, (3, 288))), 0.003),
        ),
        (Readout("out", (3,), np.zeros(3)),),
    )
    x = RNG.uniform(0, 1, (20, 8, 8, 1))
    board = small_board(compartments=100, cores=128)
    by_channels = {"conv": (6, 6, 2)}
    options = ld.DeployOptions(bias_correction_steps=0)
    free = ld.deploy(source, board, x, options, fix=by_channels)
    program, mapping = free.program, free.mapping

    def map_again(rows):
        return ld.map_to_cores(program, board, fix=rows)

    assert host_link.slices_of_rows(program, mapping) == {"conv": (2, 6, 8)}
    better = host_link.fewer_messages(program, mapping, map_again)
    before, after = (messages_of_spikes(program, one).sum() for one in (mapping, better))
    assert after < 0.6 * before
    assert better.n_cores <= mapping.n_cores

    def refuse(rows):
        raise MappingError.single("does not fit", "conv")

    assert host_link.fewer_messages(program, mapping, refuse) is mapping
    assert host_link.fewer_messages(program, better, lambda rows: mapping) is better
    kept = ld.deploy(source, board, x, replace(options, max_host_spikes=40), fix=by_channels)
    assert {p.slice_shape for p in kept.mapping.populations} == {(6, 6, 2)}  # what was asked for stays


@pytest.mark.parametrize("n_chips", [1, 3])
def test_the_compiled_loop_and_the_script_for_boards_hold_back_the_same(n_chips, monkeypatch):
    monkeypatch.setitem(sys.modules, "board_driver", board_driver)
    path = Path(ld.__file__).parent / "export" / "board_runner.py"
    spec = importlib.util.spec_from_file_location("board_runner", path)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    sizes = {"a": 30, "b": 11}
    costs = RNG.integers(0, 3, (n_chips, 41))
    emitted = {name: RNG.random((4, 50, size)) < 0.15 for name, size in sizes.items()}
    holding = Holding(HostLimit(6, costs))
    state = holding.start(4)
    parts = [
        holding.run(
            Events.from_dense({name: array[:, part] for name, array in emitted.items()}, 4, 25), *state
        )
        for part in (slice(0, 25), slice(25, 50))
    ]
    ours = {name: np.concatenate([part.to_dense()[name] for part in parts], axis=1) for name in sizes}
    for k in range(4):
        together = np.concatenate([array[k] for array in emitted.values()], axis=1)
        theirs, waiting = runner.hold_back(together, 6, costs)
        np.testing.assert_array_equal(np.concatenate([array[k] for array in ours.values()], axis=1), theirs)
        assert waiting == state[0][k].sum()
        assert (theirs @ costs.T).max() == 6


def test_what_no_limit_can_be():
    with pytest.raises(InputError, match="out of range"):
        ld.DeployOptions(max_host_spikes=0)
    with pytest.raises(InputError, match="single spike"):
        HostLimit(1, np.array([[2]]))
    with pytest.raises(InputError, match="not messages"):
        HostLimit(1, np.array([2]))
    with pytest.raises(InputError, match="other neurons"):
        replace(HELD.program, host_limit=HostLimit(3, np.ones((1, 3))))

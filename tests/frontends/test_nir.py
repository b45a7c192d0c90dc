"""NIR graphs: each node against a few lines of numpy, what is refused, and files that are damaged."""

import re
import warnings
from dataclasses import replace
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.errors import ConversionError, LoihiDeployError
from loihi_deploy.frontends import opened
from loihi_deploy.frontends.nir_file import NEEDED
from tests.nir_steps import Steps
from tests.remedies import follows

DT = 0.001
RNG = np.random.default_rng(0)
OPTIONS = ld.DeployOptions(normalization="none", encoder="on_off", dt=DT)


def lif(shape, tau=0.02, r=None, threshold=1.0, leak=0.0, reset=0.0):
    full = np.full(shape, 1.0)
    return nir.LIF(
        full * tau, full * (tau / DT if r is None else r), full * leak, full * threshold, full * reset
    )


def cuba(shape, tau_mem=0.02, tau_syn=0.005, threshold=1.0):
    full = np.full(shape, 1.0)
    return nir.CubaLIF(
        full * tau_syn,
        full * tau_mem,
        full * tau_mem / DT,
        full * 0.0,
        full * threshold,
        full * 0.0,
        w_in=tau_syn / DT,
    )


def integrate(shape, threshold=1.0):
    return nir.IF(np.ones(shape), np.full(shape, threshold))


def dense(n_out, n_in, mean=0.1, bias=0.0):
    weight = RNG.normal(mean, 0.3, (n_out, n_in))
    return nir.Affine(weight, np.full(n_out, bias)) if bias else nir.Linear(weight)


def chain(shape, *nodes):
    names = ["in", *(f"n{k}" for k in range(len(nodes))), "out"]
    last = nodes[-1].output_type["output"]
    every = [nir.Input(np.array(shape)), *nodes, nir.Output(np.array([1]) if last is None else last)]
    edges = list(pairwise(names))
    return nir.NIRGraph(dict(zip(names, every, strict=True)), edges, type_check=False)


def conv(n_out, n_in, size, **more):
    settings = {"input_shape": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, **more}
    weight = RNG.normal(0.1, 0.3, (n_out, n_in // settings["groups"], *size))
    kind = nir.Conv2d if len(size) == 2 else nir.Conv1d
    return kind(weight=weight, bias=RNG.normal(0, 0.1, n_out), **settings)


LINEAR = {
    "dense": ((6,), dense(4, 6, bias=0.2)),
    "scale": ((6,), nir.Scale(RNG.normal(0.5, 0.2, 6))),
    "scale of images": ((2, 3, 4), nir.Scale(RNG.normal(0.5, 0.2, (2, 3, 4)))),
    "convolution": ((2, 7, 6), conv(3, 2, (3, 2), stride=(2, 1), padding=(1, 0))),
    "same padding": ((2, 7, 6), conv(3, 2, (3, 3), padding="same")),
    "dilation and groups": ((4, 8, 7), conv(4, 4, (2, 2), dilation=2, groups=2, padding="valid")),
    "sum pool": ((2, 6, 7), nir.SumPool2d(np.array([2, 3]), np.array([2, 2]), np.array([0, 1]))),
    "average pool": ((2, 6, 6), nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
    "rows": ((3, 9), conv(2, 3, (3,), stride=2, padding=1)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_nodes_compute_what_they_mean(name):
    shape, node = LINEAR[name]
    x = RNG.random(shape)
    if isinstance(node, nir.Conv2d) and node.padding == "same":
        reference = conv(1, 1, (1, 1))
        reference.__dict__.update({**node.__dict__, "padding": (1, 1)})
    else:
        reference = node
    wanted = Steps(chain(shape, reference), [], DT).act("n0", reference, x)
    spiking = nir.IF(np.array(1.0), np.array(1.0))  # of any number of neurons
    graph = ld.convert(chain(shape, node, spiking), OPTIONS)
    given = x if x.ndim == 3 else x[:, None] if x.ndim == 2 else x
    samples = ld.ir.samples_for(graph, given[None])
    rates = rate_activity(graph, samples.first_frames())["n1"][0]
    shape = wanted.shape if wanted.ndim == 3 else (wanted.shape[0], 1, wanted.shape[-1])
    stored = np.moveaxis(wanted.reshape(shape), 0, -1).reshape(-1) if wanted.ndim > 1 else wanted
    np.testing.assert_allclose(rates * DT, np.maximum(stored, 0), rtol=1e-6, atol=1e-9)


def spike_counts(graph, order, x, population):
    """Of our emulator and of the simulator of the tests, for spikes (steps, *shape)."""
    deployment = ld.deploy(graph, "loihi", options=OPTIONS)
    data = x[:, :, None] if x.ndim == 3 else x
    result = deployment.run(data[None].astype(float), len(x), record=[population], progress=False)
    ours = result.recorded[population]["spikes"][0]
    steps = Steps(graph, order, DT)
    theirs = np.array([steps.step({"in": now.astype(float)})[population].reshape(-1) for now in x])
    return ours, theirs, deployment


@pytest.mark.parametrize(
    "neuron",
    [
        integrate(20),
        lif(20),
        lif(20, leak=0.4, r=15),
        lif(20, threshold=0.6, reset=-0.4),
        lif(20, tau=DT, threshold=0.8),
        cuba(20),
        nir.Threshold(np.full(20, 0.8)),
    ],
    ids=["IF", "LIF", "leak and gain", "reset below 0", "no memory", "CubaLIF", "Threshold"],
)
def test_neurons_fire_as_they_mean(neuron):
    x = RNG.random((200, 30)) < 0.1
    graph = chain((30,), dense(20, 30), neuron)
    ours, theirs, deployment = spike_counts(graph, ["in", "n0", "n1", "out"], x, "n1")
    assert theirs.sum() > 200
    assert abs(ours.sum() / theirs.sum() - 1) < 0.05
    # from the input a spike takes a step to the chip; where it is never at the edge of a threshold, all are equal
    assert (ours[1:] != theirs[:-1]).mean() < 0.25 * theirs.mean()
    assert deployment.program.populations[0].v_min < 0


def test_a_leaky_readout_and_outputs_of_neurons():
    full = np.ones(3)
    graph = chain(
        (30,), dense(20, 30), integrate(20), dense(3, 20), nir.LI(full * 0.02, full * 2, full * 0.5)
    )
    x = RNG.random((300, 30)) < 0.1
    deployment = ld.deploy(
        graph, "loihi", options=ld.DeployOptions(**{**OPTIONS.as_dict(), "readout_window": 0.01})
    )
    steps = Steps(graph, ["in", "n0", "n1", "n2", "n3", "out"], DT)
    theirs = [steps.step({"in": now.astype(float)})["out"] for now in x]
    ours = deployment.run(x[None].astype(float), 300, progress=False).outputs[0]
    mean = np.mean(theirs[-100:], axis=0)
    assert np.abs(ours - np.mean(theirs[-4:-1], axis=0)).max() < 0.3 * np.abs(mean).max()
    assert deployment.program.readout.projections[0].tau == pytest.approx(-DT / np.log(1 - DT / 0.02))


def test_an_integrator_is_read_as_a_mean():
    graph = chain((30,), dense(20, 30), integrate(20), dense(3, 20), nir.I(np.ones(3)))
    converted = ld.convert(graph, OPTIONS)
    assert any("mean" in note for note in converted.notes)


def recurrent(weight):
    inner = {
        "input": nir.Input(np.array([20])),
        "lif": lif(20),
        "w": nir.Linear(weight),
        "output": nir.Output(np.array([20])),
    }
    edges = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")]
    return nir.NIRGraph(inner, edges, type_check=False)


def test_a_recurrent_graph_in_a_graph():
    weight = RNG.normal(0, 0.1, (20, 20))
    graph = chain((30,), dense(20, 30, mean=0.2), recurrent(weight))
    converted = ld.convert(graph, OPTIONS)
    assert [p.name for p in converted.populations] == ["n1.lif"]
    assert {p.name for p in converted.projections} == {"in->n1.lif", "n1.lif->n1.lif", "n1.lif->out"}
    loop = next(p for p in converted.projections if p.pre == p.post)
    np.testing.assert_allclose(loop.transform.csr().toarray(), weight)
    assert ld.deploy(graph, "loihi", options=OPTIONS).run(RNG.random((1, 30)), 20).outputs.shape == (1, 20)


def test_neurons_without_a_number_take_it_from_what_leads_there():
    single = nir.LIF(np.array(0.02), np.array(20.0), np.array(0.0), np.array(1.0), np.array(0.0))
    graph = chain(
        (2, 6, 6), conv(3, 2, (3, 3)), single, nir.Flatten({"input": None}, 0, -1), dense(5, 48), lif(5)
    )
    converted = ld.convert(graph, OPTIONS)
    assert [p.shape for p in converted.populations] == [(4, 4, 3), (5,)]


TWOFOLD = (nir.Linear(2 * np.eye(4)), integrate(4))


def delayed_network(delays, before=(), behind=TWOFOLD):
    return chain((4,), *TWOFOLD, *before, nir.Delay(np.array(delays) * DT), *behind)


@pytest.mark.parametrize("delays", [[0, 1, 3, 3], [5] * 4, [0, 62, 63, 62], [125, 126, 1, 200], [126] * 4])
def test_delays_are_those_of_synapses_with_relays_where_these_are_too_long(delays):
    x = np.zeros((230, 4))
    x[5] = 1
    graph = delayed_network(delays)
    ours, theirs, _ = spike_counts(graph, ["in", "n0", "n1", "n2", "n3", "n4", "out"], x, "n4")
    assert theirs.sum() == 4
    assert np.array_equal(ours[2:], theirs[:-2])  # to the chip, and from one layer to the next
    populations = ld.convert(graph, OPTIONS).populations
    relays = {200: 3, 126: 2, 125: 1, 63: 1}  # 62 steps in a synapse, and a step to the relay
    assert len(populations) == 2 + sum(relays.get(delay, 0) for delay in set(delays))
    assert sum(p.size for p in populations) == 8 + sum(relays.get(delay, 0) for delay in delays)
    assert (populations[0].name, populations[-1].name) == ("n1", "n4")
    if max(delays) < 62:
        assert len([p for p in ld.convert(graph, OPTIONS).projections if p.pre == "n1"]) == 1


def test_delays_of_weighted_spikes_and_delays_in_a_row_add_up():
    rng = np.random.default_rng(0)
    weights = nir.Linear(np.array(rng.normal(0.4, 0.3, (4, 4))))
    graph = delayed_network([2, 0, 1, 2], (weights, nir.Delay(np.full(4, DT))))
    x = (rng.random((40, 4)) < 0.5).astype(float)
    names = ["in", *(f"n{k}" for k in range(7)), "out"]
    ours, theirs, _ = spike_counts(graph, names, x, "n6")
    assert theirs.any()
    assert np.array_equal(ours[2:], theirs[:-2])


def test_delays_in_front_of_an_output_are_the_hosts():
    graph = delayed_network([0, 1, 3, 3], behind=())
    converted = ld.convert(graph, OPTIONS)
    assert [p.name for p in converted.populations] == ["n1"]
    x = np.zeros((1, 12, 4))
    x[:, 2] = 1
    deployment = ld.deploy(
        graph, "loihi", options=ld.DeployOptions(normalization="none", dt=DT, readout="each")
    )
    found = deployment.predict(x, steps_per_frame=1)[0] > 0
    assert [np.flatnonzero(column).tolist() for column in found.T] == [[3], [4], [6], [6]]


AFFINE, WEIGHTS = nir.Affine(np.eye(4), np.ones(4)), nir.Linear(RNG.random((4, 4)))


@pytest.mark.parametrize("delays", [[-1, 0, 0, 0], [1001, 0, 0, 0]])
def test_delays_that_nobody_can_hold_are_refused(delays):
    with pytest.raises(ConversionError, match="0 to 1000 whole steps"):
        ld.convert(delayed_network(delays), OPTIONS)


@pytest.mark.parametrize(
    ("refused", "text", "advised", "options"),
    [
        follows(
            "Use DeployOptions(dt=...), the step that the network was trained in",
            *(delayed_network([1.5, 0, 0, 0]), "whole steps of 0.001 s"),
            *(delayed_network([1.5, 0, 0, 0]), replace(OPTIONS, dt=DT / 2)),
        ),
        follows(
            "Put it behind neurons, and what adds constants behind it",
            *(chain((4,), nir.Delay(np.full(4, DT)), *TWOFOLD), "no sum of the spikes"),
            *(chain((4,), *TWOFOLD, nir.Delay(np.full(4, DT)), *TWOFOLD), OPTIONS),
            id="behind neurons",
        ),
        follows(
            "Put it behind neurons, and what adds constants behind it",
            *(delayed_network([1] * 4, (AFFINE,)), "no sum of the spikes"),
            *(delayed_network([1] * 4, behind=(AFFINE, integrate(4))), OPTIONS),
            id="constants behind it",
        ),
        follows(
            "Put it right behind the neurons",
            *(delayed_network([63] * 4, (WEIGHTS,)), "not the spikes of neurons"),
            *(delayed_network([63] * 4, behind=(WEIGHTS, integrate(4))), OPTIONS),
        ),
        follows(
            "Make one of them",
            *(delayed_network([60] * 4, (nir.Delay(np.full(4, 60 * DT)),)), "delays in a row"),
            *(delayed_network([120] * 4), OPTIONS),
        ),
    ],
)
def test_delays_are_put_where_they_can_be_held(refused, text, advised, options):
    with pytest.raises(ConversionError, match=text):
        ld.convert(refused, OPTIONS)
    assert ld.convert(advised, options)


def test_two_ways_add_up():
    nodes = {
        "in": nir.Input(np.array([6])),
        "a": integrate(6),
        "w": nir.Linear(RNG.random((6, 6))),
        "s": nir.Scale(np.full(6, 0.5)),
        "b": integrate(6),
        "out": nir.Output(np.array([6])),
    }
    edges = [("in", "a"), ("a", "w"), ("a", "s"), ("w", "b"), ("s", "b"), ("b", "out")]
    converted = ld.convert(nir.NIRGraph(nodes, edges), OPTIONS)
    (projection,) = (p for p in converted.projections if p.post == "b")
    wanted = np.asarray(nodes["w"].weight) + 0.5 * np.eye(6)
    np.testing.assert_allclose(projection.transform.csr().toarray(), wanted)


def test_another_step_than_the_files_is_doubted():
    graph = chain((6,), dense(4, 6), lif(4, tau=2e-3, r=20))
    assert any("1e-04" in note or "0.0001" in note for note in ld.convert(graph, OPTIONS).notes)
    again = ld.convert(graph, ld.DeployOptions(dt=1e-4, normalization="none"))
    assert again.notes == ()
    assert again.dt == 1e-4
    with pytest.raises(ConversionError, match=r"DeployOptions\(dt=1e-4\)"):
        ld.convert(chain((6,), dense(4, 6), lif(4, tau=5e-4)), OPTIONS)


def subtractive():
    node = integrate(4)
    node.metadata = {"reset": "subtract"}
    return node


REFUSED = {
    "leaks that differ": lif(4, tau=np.array([0.01, 0.02, 0.03, 0.04])),
    "threshold below the reset": lif(4, threshold=-1.0),
    "reset by subtraction": subtractive(),
    "other number": integrate(5),
}


def test_what_is_refused_is_refused_at_once():
    names = [*REFUSED]
    nodes = {"in": nir.Input(np.array([6])), "w": dense(4, 6), "out": nir.Output(np.array([4])), **REFUSED}
    edges = [("in", "w"), *(("w", name) for name in names), *((name, "out") for name in names)]
    with pytest.raises(ConversionError) as caught:
        ld.convert(nir.NIRGraph(nodes, edges, type_check=False), OPTIONS)
    said = [problem.where for problem in caught.value.problems]
    assert all(any(repr(name) in where for where in said) for name in names)


def test_the_remedy_for_a_reset_by_subtraction_works():
    graph = chain((6,), dense(4, 6), subtractive())
    with pytest.raises(ConversionError, match="without that entry"):
        ld.convert(graph, OPTIONS)
    graph.nodes["n1"].metadata = {}
    assert len(ld.convert(graph, OPTIONS).populations) == 1


def test_a_circle_without_neurons_and_two_filters():
    nodes = {"in": nir.Input(np.array([4])), "a": nir.Linear(np.eye(4)), "b": nir.Linear(np.eye(4))}
    nodes |= {"n": integrate(4), "out": nir.Output(np.array([4]))}
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "n"), ("n", "out")]
    with pytest.raises(ConversionError, match="circle"):
        ld.convert(nir.NIRGraph(nodes, edges, type_check=False), OPTIONS)
    full = np.ones(4)
    with pytest.raises(ConversionError, match="filter"):
        ld.convert(chain((4,), nir.LI(full * 0.01, full, full * 0), cuba(4)), OPTIONS)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.nir"
    nir.write(
        path,
        chain(
            (2, 6, 6),
            conv(3, 2, (3, 3), input_shape=(6, 6)),
            integrate((3, 4, 4)),
            nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1),
            dense(5, 48),
            cuba(5),
        ),
    )
    return path


def test_a_file_gives_what_the_object_gives(good):
    assert ld.convert(good, OPTIONS) == ld.convert(nir.read(good), OPTIONS)
    assert ld.convert(str(good)).dt == 0.001


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1.0])
def test_an_input_of_1_is_a_spike_in_every_step_however_long(dt):
    neurons = nir.LIF(*(np.full(4, v) for v in (10 * dt, 10.0, 0.0, 1.0)))
    graph = chain((6,), dense(4, 6), neurons)
    x = RNG.random((1, 30, 6)) < 0.3
    deployment = ld.deploy(graph, "loihi", options=ld.DeployOptions(encoder="on_off", dt=dt))
    (source,) = (s.name for s in deployment.program.sources)
    spikes = deployment.run(x.astype(float), 30, record=[source], progress=False).recorded[source]["spikes"]
    np.testing.assert_array_equal(spikes[0].sum(1), x[0].sum(1))


def test_the_command(good, tmp_path):
    out = tmp_path / "net.loihi"
    result = CliRunner().invoke(commands, ["compile", str(good), "-o", str(out), "--encoder", "on_off"])
    assert result.exit_code == 0, result.output
    x = RNG.random((2, 2, 6, 6))
    assert ld.load(out).run(x, 10, progress=False).outputs.shape == (2, 5)


def written(path, *nodes, edges=(), left_out=()):
    """A small graph in a file, with nodes more and edges more, or without some of its own."""
    graph = chain((6,), dense(4, 6), integrate(4))
    kept = {name: node for name, node in graph.nodes.items() if name not in left_out}
    kept |= {f"more{k}": node for k, node in enumerate(nodes)}
    pairs = [pair for pair in (*graph.edges, *edges) if set(pair) <= set(kept)]
    nir.write(path / "net.nir", nir.NIRGraph(kept, pairs, type_check=False))
    return path / "net.nir"


def truncated(path):
    path.write_bytes(path.read_bytes()[:100])
    return path


def behind(node):
    return chain((6,), dense(4, 6), integrate(4), node)


@pytest.mark.parametrize(
    ("broken", "advised"),
    [
        follows(
            "Write the file again with nir.write",
            lambda p: ld.convert(truncated(written(p))),
            lambda p: ld.convert(written(p)),
        ),
        follows(
            "Build the network of these: …",
            lambda p: ld.convert(behind(nir.CubaLI(*(np.full(4, v) for v in (0.005, 0.02, 1.0, 0.0))))),
            lambda p: ld.convert(behind(nir.LI(*(np.full(4, v) for v in (0.02, 1.0, 0.0))))),
        ),
        follows(
            "Add a nir.… node",
            lambda p: ld.convert(written(p, left_out=["out"])),
            lambda p: ld.convert(written(p)),
        ),
        follows(
            "Remove it, or connect it",
            lambda p: ld.convert(written(p, dense(4, 6))),
            lambda p: ld.convert(written(p)),
            id="a node that is removed",
        ),
        follows(
            "Remove it, or connect it",
            lambda p: ld.convert(written(p, nir.Input(np.array([4])))),
            lambda p: ld.convert(written(p, nir.Input(np.array([4])), edges=[("more0", "n1")])),
            id="an input that is connected",
        ),
    ],
)
def test_what_is_advised_is_read(broken, advised, tmp_path):
    with pytest.raises(LoihiDeployError):
        broken(tmp_path)
    assert advised(tmp_path).populations


KINDS = {
    "Affine": (dense(4, 4, bias=0.1),),
    "AvgPool2d": (nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),),
    "Conv1d": (conv(2, 4, (3,)),),
    "Conv2d": (conv(2, 4, (1, 1)),),
    "CubaLIF": (cuba(4),),
    "Delay": (nir.Delay(np.full(4, DT)),),
    "Flatten": (nir.Flatten({"input": None}, 0, -1),),
    "I": (nir.I(np.ones(4)),),
    "IF": (integrate(4),),
    "LI": (nir.LI(*(np.full(4, v) for v in (0.02, 1.0, 0.0))),),
    "LIF": (lif(4),),
    "Linear": (dense(4, 4),),
    "Scale": (nir.Scale(np.full(4, 0.5)),),
    "SumPool2d": (nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),),
    "Threshold": (nir.Threshold(np.full(4, 0.8)),),
}


@pytest.mark.parametrize("kind", sorted(NEEDED))
def test_every_kind_of_node_that_is_named_is_read(kind):
    """What an error advises to build a network of; images where they are wanted."""
    if kind in ("Input", "Output"):
        pytest.skip("in every graph")
    front = {"Conv1d": (4, 6), "Conv2d": (4, 6, 6), "AvgPool2d": (4, 6, 6), "SumPool2d": (4, 6, 6)}.get(
        kind, (4,)
    )
    spiking = nir.IF(np.array(1.0), np.array(1.0))  # of any number of neurons
    assert ld.convert(chain(front, spiking, *KINDS[kind]), OPTIONS).populations


def altered(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replaced(place, value):
    def change(file):
        del file[place]
        file[place] = value

    return change


def claim(file):
    del file["node/nodes/n3/weight"]
    file.create_dataset("node/nodes/n3/weight", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(1024, 1024))


def link(file):
    file["node/nodes/other"] = h5py.ExternalLink("/etc/passwd", "/")


DAMAGE = {
    "no type": (lambda f: f["node/nodes/n3"].pop("type"), "kind"),
    "unknown node": (replaced("node/nodes/n3/type", "Softmax"), "Softmax"),
    "wrong shape": (replaced("node/nodes/n3/weight", np.ones((5, 7))), "flatten"),
    "weights of one axis": (replaced("node/nodes/n3/weight", np.ones(5)), "dimensions"),
    "NaN": (replaced("node/nodes/n3/weight", np.full((5, 48), np.nan)), "not finite"),
    "text for numbers": (replaced("node/nodes/n3/weight", "abc"), "no numbers"),
    "no weights": (lambda f: f["node/nodes/n3"].pop("weight"), "no weight"),
    "huge": (claim, "claimed"),
    "a link": (link, "link"),
    "no edges": (lambda f: f["node"].pop("edges"), "edges"),
    "edges to nowhere": (replaced("node/edges", np.array([[b"in", b"nowhere"]])), "not there"),
    "another version": (replaced("version", "7.0"), "version"),
    "no version": (lambda f: f.pop("version"), "version"),
    "no graph": (lambda f: f.pop("node"), "graph"),
    "a shape below 1": (replaced("node/nodes/in/shape", np.array([2, 0, 6])), "shape"),
    "strides of 0": (replaced("node/nodes/n0/stride", np.array([0, 0])), "stride"),
    "a padding of many": (replaced("node/nodes/n0/padding", np.array([1 << 30, 1])), "padding"),
    "no groups": (replaced("node/nodes/n0/groups", 0), "groups"),
    "a time constant of 0": (replaced("node/nodes/n4/tau_mem", np.zeros(5)), "time constant"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused_with_a_clear_error(name, good):
    change, said = DAMAGE[name]
    with pytest.raises(LoihiDeployError, match=re.compile(said)), warnings.catch_warnings():
        ld.convert(altered(good, change), OPTIONS)


def test_truncated_files(good, tmp_path):
    data = good.read_bytes()
    path = tmp_path / "short.nir"
    for length in (0, 3, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ConversionError, match="damaged"):
            ld.convert(path)
        assert CliRunner().invoke(commands, ["compile", str(path)]).exit_code == 2


def test_altered_bytes_give_a_network_or_a_clear_error(good, tmp_path):
    data = bytearray(good.read_bytes())
    path = tmp_path / "altered.nir"
    for _ in range(60):
        changed = data.copy()
        for place in RNG.integers(0, len(data), 3):
            changed[place] = RNG.integers(256)
        path.write_bytes(bytes(changed))
        try:
            opened(path)
            ld.convert(path, OPTIONS)
        except LoihiDeployError:
            continue

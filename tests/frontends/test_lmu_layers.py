"""Legendre memory units by themselves, against a cell in a few lines of numpy, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg

from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.lmu_layers import NEGLIGIBLE, legendre_memory, lmu
from loihi_deploy.frontends.tensors import Tensor, Time, UnsupportedLayerError
from tests.frontends.test_layers_over_time import frames_of, layer, sequence

ORDER, THETA = 3, 4.0
X = np.random.default_rng(0).uniform(0.1, 1, (1, 9, 3))


def cell(kind, n_in, units=2, activation="relu", bias=True, seed=1):
    rng = np.random.default_rng(seed)
    made = {"kernel": rng.normal(size=(n_in, units)) / 2, "use_bias": bias, "bias": rng.normal(size=units)}
    if kind == "SimpleRNNCell":
        made["recurrent_kernel"] = rng.normal(size=(units, units)) / 3
    return layer(kind, activation=activation, **made)


def unit(hidden="none", *, memory_d=2, to_hidden=False, to_memory=False, ways_back=False, **more):
    """A layer of keras_lmu, whose memory takes `memory_d` mixtures of 3 inputs."""
    rng = np.random.default_rng(7)
    n = memory_d * ORDER
    kinds = {"dense": "Dense", "rnn": "SimpleRNNCell", "linear": "SimpleRNNCell"}
    activation = "linear" if hidden == "linear" else "relu"
    hidden_cell = (
        None
        if hidden == "none"
        else cell(kinds[hidden], n + 3 * to_hidden, 2, activation, more.pop("bias", True))
    )
    inner = SimpleNamespace(
        kernel=rng.normal(size=(3 + 2 * to_memory, memory_d)),
        recurrent_kernel=rng.normal(size=(n, memory_d)) / 5 if ways_back else None,
        bias=more.pop("memory_bias", None),
        theta_inv=more.pop("theta_inv", None),
    )
    usual = {
        "order": ORDER,
        "memory_d": memory_d,
        "theta": THETA,
        "discretizer": "zoh",
        "return_sequences": True,
    }
    return layer(
        "LMU",
        layer=SimpleNamespace(cell=inner),
        hidden_cell=hidden_cell,
        input_to_hidden=to_hidden,
        hidden_to_memory=to_memory,
        memory_to_memory=ways_back,
        **{**usual, **more},
    )


def computed(made, x, theta=THETA):
    """What the cell gives for each frame (frames, n)."""
    inner, hidden, d = made.layer.cell, made.hidden_cell, made.memory_d
    a, b = legendre_memory(ORDER, theta, made.discretizer)
    memory, said, given = np.zeros((d, ORDER)), np.zeros(2), []
    for now in x:
        u = np.concatenate([now, said]) if made.hidden_to_memory else now
        u = u if inner.kernel is None else u @ inner.kernel
        u = u if inner.bias is None else u + inner.bias
        if made.memory_to_memory:
            u = u + memory.ravel() @ inner.recurrent_kernel
        memory = memory @ a.T + np.outer(u, b)
        seen = np.concatenate([memory.ravel(), now]) if made.input_to_hidden else memory.ravel()
        if hidden is None:
            given.append(seen)
            continue
        own = said @ hidden.recurrent_kernel if hasattr(hidden, "recurrent_kernel") else 0
        said = seen @ hidden.kernel + own + (hidden.bias if hidden.use_bias else 0)
        said = np.maximum(said, 0) if hidden.activation == "relu" else said
        given.append(said)
    return np.array(given)


UNITS = {
    "memory alone": {},
    "memory of one": {"memory_d": 1},
    "memory, and the frame": {"to_hidden": True},
    "memory that hears itself": {"ways_back": True},
    "memory with biases": {"memory_bias": np.array([0.5, -0.25])},
    "dense": {"hidden": "dense"},
    "dense, and the frame": {"hidden": "dense", "to_hidden": True},
    "dense without bias": {"hidden": "dense", "bias": False},
    "recurrent": {"hidden": "rnn", "to_hidden": True},
    "recurrent, heard by the memory": {"hidden": "rnn", "to_memory": True},
    "linear": {"hidden": "linear", "to_hidden": True},
    "all of it": {
        "hidden": "rnn",
        "to_hidden": True,
        "to_memory": True,
        "ways_back": True,
        "memory_bias": np.ones(2),
    },
    "steps of Euler": {"discretizer": "euler", "theta": 9.0},
    "a span that was trained": {"theta_inv": np.array([[0.2]])},
}


@pytest.mark.parametrize("name", UNITS)
def test_units_of_the_host(name):
    made = unit(**UNITS[name])
    given, builder = sequence()
    found = lmu(made, [given], builder)
    theta = 5.0 if "trained" in name else made.theta
    wanted = computed(made, X[0], theta)
    assert (found.shape, found.leading, found.activation) == (wanted.shape[1:], 2, None)
    np.testing.assert_allclose(frames_of(found, builder, X), wanted, rtol=1e-9, atol=1e-12)
    last = lmu(unit(**UNITS[name], return_sequences=False), [sequence()[0]], sequence()[1])
    assert (last.leading, last.over_time) == (1, "last")


def test_a_unit_without_a_kernel_takes_its_input():
    made = unit(memory_d=3)
    made.layer.cell.kernel = None
    given, builder = sequence()
    np.testing.assert_allclose(
        frames_of(lmu(made, [given], builder), builder, X), computed(made, X[0]), rtol=1e-9, atol=1e-12
    )
    feeds = unit("rnn", memory_d=5, to_memory=True)
    feeds.layer.cell.kernel = None
    given, builder = sequence()
    np.testing.assert_allclose(
        frames_of(lmu(feeds, [given], builder), builder, X), computed(feeds, X[0]), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", ["memory alone", "memory, and the frame", "dense", "dense, and the frame"])
@pytest.mark.parametrize("n_frames", [None, 9])
def test_units_behind_neurons(name, n_frames):
    """Delays of what neurons said, of as many frames as there are, or as leave a trace."""
    made = unit(**UNITS[name])
    given, builder = sequence(neurons=True, n_frames=n_frames)
    found = lmu(made, [given], builder)
    assert builder.n_frames == n_frames
    wanted = computed(made, X[0])
    relu = found.activation == "relu"
    assert relu is name.startswith("dense")
    values = frames_of(found, builder, X)
    np.testing.assert_allclose(np.maximum(values, 0) if relu else values, wanted, rtol=1e-4, atol=1e-5)
    latest = max(source.late for source in found.affine.terms)
    assert latest == 8 if n_frames else latest > 8
    assert found.coming_back is None


def test_hidden_units_behind_neurons_hear_themselves():
    made = unit("rnn", to_hidden=True)
    found = lmu(made, [sequence(neurons=True)[0]], sequence(neurons=True)[1])
    np.testing.assert_array_equal(found.coming_back, made.hidden_cell.recurrent_kernel.T)
    silent = unit("linear")
    silent.hidden_cell.recurrent_kernel = np.zeros((2, 2))
    given, builder = sequence(neurons=True)
    assert lmu(silent, [given], builder).coming_back is None
    quiet = unit("rnn", memory_bias=np.zeros(2))
    given, builder = sequence(neurons=True)
    assert lmu(quiet, [given], builder).activation == "relu"


def test_responses_end_where_they_leave_no_trace():
    given, builder = sequence(neurons=True)
    found = lmu(unit(), [given], builder)
    a, b = legendre_memory(ORDER, THETA, "zoh")
    left = 1 - np.abs(np.linalg.eigvals(a)).max()
    made = unit()
    takes = np.kron(np.eye(2), b[:, None]) @ made.layer.cell.kernel.T
    response, keeps = [takes], np.kron(np.eye(2), a)
    while np.abs(response[-1]).max() > 1e-6 * np.abs(takes).max() * left:
        response.append(keeps @ response[-1])
    assert NEGLIGIBLE == 1e-6
    assert len(found.affine.terms) == len(response)
    longer, builder = sequence(neurons=True, n_frames=len(response))
    lmu(unit(), [longer], builder)
    assert builder.n_frames is None  # the number of frames decides nothing


RNN = "a recurrent layer that is linear, behind neurons"


@pytest.mark.parametrize(
    ("made", "neurons", "what", "value"),
    [
        (unit("linear"), True, RNN, None),
        (unit(ways_back=True), True, "a memory of what neurons said", None),
        (unit("rnn", to_memory=True), True, "a memory of what neurons said", None),
        (unit(memory_bias=np.array([0.0, 1.0])), True, "a memory of what neurons said", None),
        (unit(discretizer="euler", theta=1.0), True, "a memory that grows without end", None),
    ],
)
def test_units_that_are_refused(made, neurons, what, value):
    given, builder = sequence(neurons)
    with pytest.raises(UnsupportedLayerError) as caught:
        lmu(made, [given], builder)
    assert (caught.value.what, caught.value.value) == (what, value)


@pytest.mark.parametrize("hidden", [cell("LSTMCell", 6), cell("SimpleRNNCell", 6, activation="tanh")])
def test_hidden_cells_that_are_refused(hidden):
    made = unit()
    made.hidden_cell = hidden
    with pytest.raises(UnsupportedLayerError) as caught:
        lmu(made, [sequence()[0]], sequence()[1])
    assert caught.value.what == "a hidden cell that is not rectified linear"
    assert caught.value.value == type(hidden).__name__


def test_units_take_vectors():
    builder = GraphBuilder("the test", 0.0, in_frames=True)
    image = Tensor(builder.input("x", (1, 3)), (1, 3), 2, time=Time())
    with pytest.raises(UnsupportedLayerError, match="frames that are no vectors"):
        lmu(unit(), [image], builder)


@pytest.mark.parametrize(("order", "theta"), [(1, 3.0), (3, 4.0), (6, 20.0), (4, 0.5), (5, 1000.0)])
def test_memories_are_those_of_the_differential_equation(order, theta):
    """Voelker, Kajic, Eliasmith 2019, equations 2 and 3, held for a step."""
    a = np.zeros((order, order))
    for i in range(order):
        for j in range(order):
            a[i, j] = (2 * i + 1) / theta * (-1 if i < j else (-1) ** (i - j + 1))
    b = np.array([(2 * i + 1) * (-1) ** i / theta for i in range(order)])
    both = np.zeros((order + 1, order + 1))
    both[:order, :order], both[:order, order] = a, b
    whole = scipy.linalg.expm(both)
    state, given = legendre_memory(order, theta, "zoh")
    np.testing.assert_allclose(state, whole[:order, :order], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(given, whole[:order, order], rtol=1e-9, atol=1e-12)
    state, given = legendre_memory(order, theta, "euler")
    np.testing.assert_allclose(state, np.eye(order) + a)
    np.testing.assert_allclose(given, b)

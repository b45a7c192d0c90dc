"""Keras layers that look at several steps of a sequence."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg

import loihi_deploy as ld
from loihi_deploy.analysis.frames import read_rates
from loihi_deploy.engines.rate_sequence import rates_over_time
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends import check_conversion, convert
from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.lmu_layers import legendre_memory, lmu
from loihi_deploy.frontends.tensors import Tensor, Time, UnsupportedLayerError
from loihi_deploy.ir import NeuronModel, samples_for
from loihi_deploy.ir.linear import as_matrix
from loihi_deploy.ir.samples import seen_by
from tests.frontends.keras_models import keras, layers

X = np.random.default_rng(0).uniform(-1, 1, (10, 9, 6)).astype(np.float32)


def model_of(*made, shape=(None, 6)):
    keras().utils.set_random_seed(1)
    return keras().Sequential([layers().Input(shape, name="frames"), *made])


def values_of(model, x=X):
    return np.asarray(model(x)).astype(np.float64)


def found_by(graph, x=X, window=1.0):
    return read_rates(graph, samples_for(graph, x), window, ld.DeployOptions())[graph.readouts[0].name]


CONVOLUTIONS = {
    "causal": {"filters": 8, "kernel_size": 3},
    "dilated": {"filters": 8, "kernel_size": 3, "dilation_rate": 2},
    "longer than the sequence": {"filters": 8, "kernel_size": 12},
    "grouped": {"filters": 6, "kernel_size": 4, "groups": 3},
    "no bias": {"filters": 8, "kernel_size": 2, "use_bias": False},
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_over_time_compute_what_keras_computes(kind):
    k = layers()
    model = model_of(
        k.Rescaling(0.5, 0.25),
        k.Conv1D(**CONVOLUTIONS[kind], padding="causal", activation="relu", bias_initializer="random_normal"),
        k.Dense(7, activation="relu"),
        k.GlobalAveragePooling1D(),
        k.Dense(3),
    )
    graph = convert(model)
    assert graph.readouts[0].over_frames == "mean"
    np.testing.assert_allclose(found_by(graph), values_of(model), rtol=1e-4, atol=1e-5)
    assert check_conversion(model, graph, X)


def test_a_changed_layer_is_found_in_a_later_frame():
    """The first frame alone does not tell: its kernel's oldest tap sees nothing there."""
    k = layers()
    conv = k.Conv1D(8, 3, padding="causal", activation="relu")
    model = model_of(conv, k.Dense(7, activation="relu"), k.Dense(3))
    graph = convert(model)
    assert graph.readouts[0].over_frames == "each"
    assert check_conversion(model, graph, X)
    kernel, bias = conv.get_weights()
    kernel[0] += 1  # the oldest tap
    conv.set_weights([kernel, bias])
    with pytest.raises(ConversionError, match="activities differ"):
        check_conversion(model, graph, X)


@pytest.mark.follows("Present them as the frames of one sample, or with deployment.stream()")
def test_a_frame_beside_its_memory():
    """The linear memory of an LMU is a convolution over time; the raw frame stands beside it."""
    k = layers()
    frames = k.Input((None, 6), name="frames")
    memory = k.Conv1D(12, 5, padding="causal", groups=6, use_bias=False)(frames)
    hidden = k.Dense(20, activation="relu")(k.Concatenate()([frames, memory]))
    model = keras().Model(frames, k.Dense(3)(k.Dense(8, activation="relu")(hidden)))
    graph = convert(model)
    assert check_conversion(model, graph, X)
    deployment = ld.deploy(model, calibration=X, options=ld.DeployOptions(steps_per_frame=3))
    whole = deployment.run(X[:1], by_frame=True).by_frame[graph.readouts[0].name][0]
    with deployment.stream() as stream:
        for _ in range(2):
            answers = [stream.step(frame) for frame in X[0]]
            known = [answer for answer in answers if answer.frame is not None]
            assert known
            assert all((answer.outputs == whole[answer.frame]).all() for answer in known)
            assert (stream.finish().outputs == whole[-1]).all()
            stream.reset()
    with pytest.raises(InputError, match="memory of frames begins anew"):
        deployment.run(X, reset=False)
    deployment.run(X.reshape(1, -1, 6), reset=False)


def test_memory_is_saved(tmp_path):
    k = layers()
    model = model_of(
        k.Conv1D(8, 3, padding="causal", activation="relu"), k.Dense(7, activation="relu"), k.Dense(3)
    )
    deployment = ld.deploy(model, calibration=X, options=ld.DeployOptions(steps_per_frame=2))
    deployment.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded == deployment
    assert (loaded.predict(X) == deployment.predict(X)).all()


@pytest.mark.parametrize("discretizer", ["zoh", "euler"])
@pytest.mark.parametrize(("order", "theta"), [(4, 7.0), (12, 28.0)])
def test_the_memory_of_an_lmu_is_that_of_its_differential_equation(order, theta, discretizer):
    """Held against scipy's matrix exponential, and by the window that it remembers."""
    state, given = legendre_memory(order, theta, discretizer)
    q = np.arange(order)
    a = np.array([[(2 * i + 1) / theta * (-1 if i < j else (-1.0) ** (i - j + 1)) for j in q] for i in q])
    b = (2 * q + 1) / theta * (-1.0) ** q
    if discretizer == "euler":
        expected = a + np.eye(order), b
    else:
        whole = scipy.linalg.expm(np.block([[a, b[:, None]], [np.zeros((1, order + 1))]]))
        expected = whole[:-1, :-1], whole[:-1, -1]
        m = np.zeros(order)
        for t in range(200):
            m = state @ m + given * np.sin(t / 6)
        oldest = m @ np.polynomial.legendre.legvander(np.array([1.0]), order - 1)[0]  # theta ago
        assert abs(oldest - np.sin((199 - theta) / 6)) < 0.2
    np.testing.assert_allclose(state, expected[0], atol=1e-9)
    np.testing.assert_allclose(given, expected[1], atol=1e-9)


class LMU:
    """Has the attributes of a `keras_lmu.LMU` that are read, and computes what it does, step by step."""

    name, return_sequences, discretizer = "lmu", True, "zoh"
    hidden_to_memory = memory_to_memory = input_to_hidden = False
    hidden_cell = None

    def __init__(self, order=4, theta=5.0, memory_d=6, kernel=None, **changed):
        self.order, self.theta, self.memory_d = order, theta, memory_d
        self.layer = SimpleNamespace(kernel=kernel)
        self.__dict__.update(changed)


def converted(layer):
    builder = GraphBuilder("a test", 0.003)
    frame = Tensor(builder.input("frames", (6,)), (6,), 2)
    return lmu(layer, [frame], builder), builder


def test_an_lmu_without_ways_back_is_a_memory_on_the_host():
    kernel = np.random.default_rng(1).normal(size=(6, 2))
    for layer, u in ((LMU(), X), (LMU(memory_d=2, kernel=kernel), X @ kernel)):
        tensor, builder = converted(layer)
        node = builder.input_of(tensor.affine)
        found = seen_by(node, {"frames": X.astype(np.float64)})
        state, given = legendre_memory(4, 5.0, "zoh")
        memory = np.zeros((len(X), layer.memory_d, 4))
        for t in range(X.shape[1]):
            memory = memory @ state.T + u[:, t, :, None] * given
            np.testing.assert_allclose(found[:, t], memory.reshape(len(X), -1), atol=1e-9)


class SimpleRNNCell(SimpleNamespace):
    """A hidden cell with parameters of its own, as Keras has them."""

    __module__ = "keras.layers"

    def __init__(self, kind, units, n_in, rng):
        kernels = {
            "kernel": rng.normal(size=(n_in, units)),
            "recurrent_kernel": 0.3 * rng.normal(size=(units, units)),
        }
        super().__init__(activation=kind, use_bias=True, bias=rng.normal(size=units), **kernels)


@pytest.mark.parametrize("back", ["hidden_to_memory", "memory_to_memory", "both", "none"])
@pytest.mark.parametrize("kind", ["relu", "linear", None])
def test_an_lmu_with_ways_back_is_computed_by_the_host(back, kind):
    """Held to the cell as keras-lmu has it, step by step: memory input, memory, hidden cell."""
    rng = np.random.default_rng(2)
    d, order, units = 2, 4, 3 if kind else 0
    to_hidden = kind is None or back == "both"
    hidden_back, memory_back = (
        back in ("hidden_to_memory", "both") and kind is not None,
        back in ("memory_to_memory", "both"),
    )
    inner = SimpleNamespace(
        kernel=0.3 * rng.normal(size=(6 + units * hidden_back, d)),
        recurrent_kernel=0.1 * rng.normal(size=(d * order, d)),
        bias=rng.normal(size=d),
    )
    cell = SimpleRNNCell(kind, units, d * order + 6 * to_hidden, rng) if kind else None
    layer = LMU(memory_d=d, layer=inner, hidden_cell=cell, input_to_hidden=to_hidden,
                hidden_to_memory=hidden_back, memory_to_memory=memory_back)  # fmt: skip
    tensor, builder = converted(layer)
    (node,) = [node for node in builder._inputs if node.before]
    seen = seen_by(node, {"frames": X.astype(np.float64)})
    ((_, taken),) = tensor.affine.terms.items()
    found = (
        seen if taken is None else taken.apply(seen.reshape(-1, seen.shape[2])).reshape(*seen.shape[:2], -1)
    )
    state, given = legendre_memory(order, 5.0, "zoh")
    m, h = np.zeros((len(X), d, order)), np.zeros((len(X), units))
    for t in range(X.shape[1]):
        x = X[:, t].astype(np.float64)
        u = (np.hstack([x, h]) if hidden_back else x) @ inner.kernel + inner.bias
        u = u + m.reshape(len(X), -1) @ inner.recurrent_kernel * memory_back
        m = m @ state.T + u[:, :, None] * given
        wanted = np.hstack([m.reshape(len(X), -1), x]) if to_hidden else m.reshape(len(X), -1)
        if cell is not None:
            h = wanted @ cell.kernel + h @ cell.recurrent_kernel + cell.bias
            wanted = h = np.maximum(h, 0) if kind == "relu" else h
        np.testing.assert_allclose(found[:, t], wanted, atol=1e-9)


@pytest.mark.follows(
    "The host keeps this memory: let this layer come first. SimpleRNN(activation='relu'), Conv1D(padding='causal') and "
    "LMU without hidden_to_memory, memory_to_memory and use_bias may stand behind neurons"
)
def test_a_memory_of_what_neurons_said_is_refused():
    """And SimpleRNN and Conv1D are not: tests/frontends/test_time_on_chip.py."""
    builder = GraphBuilder("a test", 0.003, in_frames=True)
    frame = builder.input("frames", (6,))
    said = builder.population("hidden", frame, NeuronModel())
    inner = SimpleNamespace(kernel=np.eye(6), recurrent_kernel=0.1 * np.ones((24, 6)))
    back = LMU(memory_to_memory=True, layer=inner)
    with pytest.raises(UnsupportedLayerError) as refusal:
        lmu(back, [Tensor(said, (6,), 2)], builder)
    assert "let this layer come first" in refusal.value.problem(LMU()).remedy
    lmu(back, [Tensor(frame, (6,), 2)], builder)
    lmu(LMU(), [Tensor(said, (6,), 2)], builder)
    assert builder.n_frames is None
    short = lmu(LMU(), [Tensor(said, (6,), 2, time=Time(9))], builder)
    assert (len(short.affine.terms), builder.n_frames) == (9, 9)


@pytest.mark.parametrize("discretizer", ["zoh", "euler"])
@pytest.mark.parametrize("kind", ["relu", "linear", None])
@pytest.mark.parametrize("to_hidden", [True, False])
def test_an_lmu_behind_neurons_is_kept_by_delays(kind, to_hidden, discretizer):
    """As long as its response to one frame lasts: held to the cell as keras-lmu has it, step by step."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 60, 6))
    builder = GraphBuilder("a test", 0.0, in_frames=True)
    said = builder.population("said", builder.input("frames", (6,)), NeuronModel())
    kernel, d, order = rng.normal(size=(6, 2)), 2, 4
    cell = SimpleRNNCell(kind, 3, d * order + 6 * to_hidden, rng) if kind else None
    if kind == "linear":
        cell.recurrent_kernel = np.zeros((3, 3))
    layer = LMU(theta=8.0, memory_d=d, kernel=kernel, hidden_cell=cell, input_to_hidden=to_hidden,
                discretizer=discretizer)  # fmt: skip
    y = lmu(layer, [Tensor(said, (6,), 2)], builder)
    affine, back = y.affine, y.coming_back
    if y.activation == "relu":
        affine = builder.population("units", affine, NeuronModel())
        builder.coming_back("units", as_matrix(back), 1)
    builder.readout("y", affine)
    found = rates_over_time(builder.graph(0.001), {"frames": x})["y"]
    state, given = legendre_memory(order, 8.0, discretizer)
    m, h, heard = np.zeros((3, d, order)), np.zeros((3, 3)), np.maximum(x, 0)
    for t in range(60):
        m = m @ state.T + (heard[:, t] @ kernel)[:, :, None] * given
        wanted = np.hstack([m.reshape(3, -1), heard[:, t]]) if to_hidden else m.reshape(3, -1)
        if cell is not None:
            h = wanted @ cell.kernel + h @ cell.recurrent_kernel + cell.bias
            wanted = h = np.maximum(h, 0) if kind == "relu" else h
        np.testing.assert_allclose(found[:, t], wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.follows("Use discretizer='zoh'")
def test_a_memory_behind_neurons_that_never_forgets_is_refused():
    builder = GraphBuilder("a test", 0.003, in_frames=True)
    said = Tensor(builder.population("hidden", builder.input("frames", (6,)), NeuronModel()), (6,), 2)
    with pytest.raises(UnsupportedLayerError) as refusal:
        lmu(LMU(theta=2.0, discretizer="euler"), [said], builder)
    assert refusal.value.problem(LMU()).remedy == "Use discretizer='zoh'"
    lmu(LMU(theta=2.0), [said], builder)


@pytest.mark.follows("Use hidden_cell=SimpleRNNCell(units, activation='relu'), Dense(units, 'relu'), or None")
def test_hidden_cells_that_no_chip_can_follow_are_refused():
    cell = SimpleRNNCell("tanh", 3, 24, np.random.default_rng(0))
    with pytest.raises(UnsupportedLayerError) as refusal:
        converted(LMU(hidden_cell=cell))
    assert "hidden_cell=SimpleRNNCell(units" in refusal.value.problem(LMU()).remedy
    cell.activation = "relu"
    assert converted(LMU(hidden_cell=cell))


RECURRENT = {
    "every step": ({"return_sequences": True}, "each"),
    "the last step": ({}, "last"),
    "no bias": ({"use_bias": False}, "last"),
    "linear": ({"activation": None}, "last"),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_layer_computes_on_the_host_what_keras_computes(kind):
    k = layers()
    options, read = RECURRENT[kind]
    options = {"activation": "relu", "bias_initializer": "random_normal", **options}
    model = model_of(k.Rescaling(0.5), k.SimpleRNN(8, **options), k.Dense(7, activation="relu"), k.Dense(3))
    graph = convert(model)
    assert graph.readouts[0].over_frames == read
    if read == "last":
        np.testing.assert_allclose(found_by(graph, window=None), values_of(model), rtol=1e-4, atol=1e-5)
    assert check_conversion(model, graph, X)
    layer = model.layers[1]
    layer.set_weights([layer.get_weights()[0], 1.1 * layer.get_weights()[1], *layer.get_weights()[2:]])
    with pytest.raises(ConversionError, match="activities differ"):
        check_conversion(model, graph, X)


def test_a_recurrent_layer_is_deployed_saved_and_streamed(tmp_path):
    k = layers()
    model = model_of(k.SimpleRNN(8, activation="relu"), k.Dense(20, activation="relu"), k.Dense(3))
    options = ld.DeployOptions(steps_per_frame=100, encoder="on_off")
    deployment = ld.deploy(model, calibration=X, options=options)
    found, wanted = deployment.run(X).outputs, values_of(model)
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    deployment.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded == deployment
    with loaded.stream() as stream:
        for frame in X[0]:
            stream.step(frame)
        assert (stream.finish().outputs == found[0]).all()


def test_all_frames_side_by_side_are_a_delay_line():
    k = layers()
    model = model_of(
        k.TimeDistributed(k.Rescaling(0.5, 0.1)),
        k.Flatten(),
        k.Dense(8, activation="relu"),
        k.Dense(7, activation="relu"),
        k.Dense(3),
        shape=(9, 6),
    )
    graph = convert(model)
    assert graph.readouts[0].over_frames == "last"
    np.testing.assert_allclose(found_by(graph, window=None), values_of(model), rtol=1e-4, atol=1e-5)
    assert check_conversion(model, graph, X)
    deployment = ld.deploy(model, calibration=X, options=ld.DeployOptions(steps_per_frame=5))
    assert deployment.rate_accuracy(X, values_of(model).argmax(axis=1)) == 1
    with pytest.raises(InputError, match="other number of frames"):
        deployment.run(X[:, :8])


@pytest.mark.parametrize("place", ["behind neurons", "in front"])
def test_alpha_filters_are_two_synapses(place):
    spiking = pytest.importorskip("keras_spiking")
    k = layers()
    alpha, relu = spiking.Alpha(0.004), spiking.SpikingActivation("relu", spiking_aware_training=False)
    hidden = [k.Dense(8, bias_initializer="random_normal"), relu, alpha]
    model = model_of(
        *(hidden if place == "behind neurons" else [alpha, *hidden[:2]]),
        k.TimeDistributed(k.Dense(7, activation="relu")),
        k.Dense(3),
        shape=(9, 6),
    )
    graph = convert(model, ld.DeployOptions(synapse=0.0))
    x = np.abs(X)
    assert check_conversion(model, graph, x)
    deployment = ld.deploy(model, calibration=x, options=ld.DeployOptions(steps_per_frame=1))
    assert deployment.predict(x).shape == (10, 9, 3)


def test_masked_frames_are_never_presented():
    k = layers()
    lengths = [3, 9, 5, 4, 9, 1, 2, 8, 7, 6]
    x = X.copy()
    for sequence, length in zip(x, lengths, strict=True):
        sequence[length:] = -9.0
    model = model_of(
        k.Masking(-9.0),
        k.TimeDistributed(k.Dense(8, activation="relu")),
        k.Dense(7, activation="relu"),
        k.GlobalAveragePooling1D(),
        k.Dense(3),
    )
    graph = convert(model)
    np.testing.assert_allclose(found_by(graph, x), values_of(model, x), rtol=1e-4, atol=1e-5)
    assert check_conversion(model, graph, x)
    listed = [sequence[:length] for sequence, length in zip(X, lengths, strict=True)]
    deployment = ld.deploy(model, calibration=x, options=ld.DeployOptions(steps_per_frame=2))
    assert (deployment.run(x).outputs == deployment.run(listed).outputs).all()
    assert deployment.run(x).counters == deployment.run(listed).counters
    holes = x.copy()
    holes[1, 4] = -9.0
    with pytest.raises(InputError, match="mask with holes"):
        deployment.run(holes)


def refused(*made, shape=(None, 6)):
    with pytest.raises(ConversionError) as refusal:
        convert(model_of(*made, shape=shape))
    return " ".join(map(str, refusal.value.problems))


def test_what_only_later_frames_or_neurons_would_tell_is_refused():
    k = layers()
    text = refused(k.Conv1D(8, 3, padding="same", activation="relu"), k.Dense(3))
    assert "beyond the last frame" in text
    assert "Use padding='causal' or 'valid'" in text
    for made, instead in ((k.LSTM(4), "keras_lmu.LMU"), (k.GRU(4), "Conv1D(padding='causal')")):
        assert instead in refused(made, k.Dense(3, activation="relu"))


def test_the_remedies_of_convolutions_over_time_work():
    k = layers()
    convert(
        model_of(
            k.Conv1D(8, 3, padding="causal", activation="relu"), k.Dense(8, activation="relu"), k.Dense(3)
        )
    )

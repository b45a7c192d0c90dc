"""Layers over time by themselves: what they compute of frames, at which, what they keep, and what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from loihi_deploy.engines.rate_sequence import rates_over_time
from loihi_deploy.frontends.affine import GraphBuilder
from loihi_deploy.frontends.delay_lines import ending, held_back, tapped
from loihi_deploy.frontends.keras_time import OVER_FRAMES, fewer_answers, in_time, other_frames, settled
from loihi_deploy.frontends.tensors import Tensor, Time, UnsupportedLayerError, elementwise
from loihi_deploy.ir import NeuronModel, samples_for

RNG = np.random.default_rng(0)
FRAMES = 9
X = RNG.uniform(0.1, 1, (1, FRAMES, 3))


def layer(kind, **settings):
    """A layer as Keras has it, without its variables."""
    made = type(kind, (SimpleNamespace,), {"__module__": "keras.layers"})
    return made(name="own", **settings)


def sequence(neurons=False, shape=(3,), offset=0.0, **time):
    """An input of frames, or neurons that say what it says where that is above 0."""
    builder = GraphBuilder("the test", 0.0, in_frames=True)
    x = builder.input("x", shape)
    said = builder.population("p", x, NeuronModel("if"))
    made = Tensor(said if neurons else x, shape, 2, time=Time(**time))
    return (elementwise(made, offset=offset) if np.any(offset) else made), builder


def frames_of(made, builder, x=X):
    """Values of a tensor at each frame, (frames, size)."""
    builder.readout("y", made.affine, over_frames="each")
    builder.n_frames = None
    graph = builder.graph(0.001)
    arrays = samples_for(graph, x).arrays
    found = rates_over_time(graph, {name: np.asarray(each, float) for name, each in arrays.items()})
    return found[graph.readouts[0].name][0]


def delayed(x, back):
    return np.concatenate([np.zeros((back, x.shape[1])), x])[: len(x)]


def refused(call, *arguments):
    with pytest.raises(UnsupportedLayerError) as caught:
        call(*arguments)
    return str(caught.value), caught.value.value, caught.value.remedy


# -- convolutions --------------------------------------------------------------------------------------

KERNEL = RNG.normal(size=(2, 3, 4))
BIAS = np.array([0.5, -1.0, 2.0, 0.25])
USUAL = {"padding": "causal", "strides": 1, "dilation_rate": 1, "use_bias": False, "activation": "relu"}
BEGINS = "a memory that begins with a later frame than the first one"
BEFORE = "In front of it use Conv1D(padding='causal'), and no cropping nor pooling in windows that overlap"
CONSTANTS = (
    "constants, of which there are none in front of the first frame",
    None,
    "Put the convolution right behind the activation, without biases or normalization between them",
)


def conv(kernel=KERNEL, **more):
    return layer("Conv1D", **{**USUAL, "kernel": kernel, **more})


def applied(made, given, builder):
    return OVER_FRAMES[type(made).__name__](made, [given], builder)


@pytest.mark.parametrize("neurons", [False, True])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("spread", [1, 3])
def test_convolutions(neurons, every, spread):
    given, builder = sequence(neurons, every=every)
    made = applied(conv(dilation_rate=spread, use_bias=True, bias=BIAS), given, builder)
    assert made.activation == "relu"
    assert made.time == Time(every=every)
    found = frames_of(made, builder)
    wanted = X[0] @ KERNEL[1] + delayed(X[0], every * spread) @ KERNEL[0] + BIAS
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_convolutions_of_groups_and_of_each_element():
    grouped = RNG.normal(size=(2, 1, 6))
    blocks = np.zeros((2, 3, 6))
    for group in range(3):
        blocks[:, group, 2 * group : 2 * group + 2] = grouped[:, 0, 2 * group : 2 * group + 2]
    depth = RNG.normal(size=(2, 3, 2))
    point = RNG.normal(size=(1, 6, 4))
    each = np.zeros((2, 3, 6))
    for element in range(3):
        each[:, element, 2 * element : 2 * element + 2] = depth[:, element]
    for made, kernel in (
        (conv(grouped), blocks),
        (layer("DepthwiseConv1D", **USUAL, depthwise_kernel=depth), each),
        (layer("SeparableConv1D", **USUAL, depthwise_kernel=depth, pointwise_kernel=point), each @ point[0]),
    ):
        given, builder = sequence(neurons=True)
        wanted = X[0] @ kernel[1] + delayed(X[0], 1) @ kernel[0]
        np.testing.assert_allclose(frames_of(applied(made, given, builder), builder), wanted, rtol=1e-9)


def test_the_frames_of_a_convolutions_steps():
    given, builder = sequence(neurons=True, n_frames=20, every=2, first=1)
    assert applied(conv(strides=3), given, builder).time == Time(20, 6, 1)
    assert applied(conv(strides=3, padding="valid"), given, builder).time == Time(20, 6, 3)
    assert applied(conv(dilation_rate=2, padding="valid"), given, builder).time == Time(20, 2, 5)


def test_convolutions_begin_with_the_first_step():
    for first, every, fine in ((0, 1, True), (1, 1, False), (1, 2, True), (2, 2, False)):
        given, builder = sequence(neurons=True, first=first, every=every)
        if fine:
            assert applied(conv(), given, builder).time.first == first
        else:
            assert refused(applied, conv(), given, builder) == (BEGINS, f"frame {first}", BEFORE)
        for made in (conv(KERNEL[:1]), conv(padding="valid"), conv(KERNEL[:1], padding="valid")):
            assert applied(made, *sequence(neurons=True, first=first, every=every)).time.every == every


def test_constants_behind_neurons_are_there_from_the_first_frame_on_alone():
    offset = np.array([1.0, 0, 2])
    assert refused(applied, conv(), *sequence(True, offset=offset)) == CONSTANTS
    for made, kernel in ((conv(KERNEL[1:]), KERNEL[1:]), (conv(padding="valid"), KERNEL)):
        given, builder = sequence(True, offset=offset)
        found = frames_of(applied(made, given, builder), builder)[1:]
        wanted = X[0] @ kernel[-1] + (delayed(X[0], 1) @ kernel[0] if len(kernel) > 1 else 0)
        np.testing.assert_allclose(found, wanted[1:] + offset @ kernel.sum(0), rtol=1e-9)
    given, builder = sequence(False, offset=offset)
    found = frames_of(applied(conv(), given, builder), builder)
    shifted = X[0] + offset
    np.testing.assert_allclose(found, shifted @ KERNEL[1] + delayed(shifted, 1) @ KERNEL[0], rtol=1e-9)


def test_convolutions_that_are_refused():
    assert refused(applied, conv(padding="same"), *sequence()) == (
        "a convolution over time that looks beyond the last frame",
        "padding='same'",
        "Use padding='causal' or 'valid', whose answer to a frame needs no later ones",
    )
    vectors = "Flatten them in TimeDistributed"
    for neurons in (False, True):
        for shape in ((2, 3), ()):
            given, builder = sequence(neurons, shape=(2, 3))
            given = replace(given, shape=shape)
            assert refused(applied, conv(), given, builder) == ("frames that are no vectors", shape, vectors)


# -- pooling -------------------------------------------------------------------------------------------


def pool(kind="AveragePooling1D", size=2, stride=2, padding="valid", **more):
    return layer(kind, pool_size=size, strides=stride, padding=padding, **more)


@pytest.mark.parametrize(
    ("settings", "time", "fine"),
    [
        ((2, 2, "same"), {"n_frames": 10}, True),
        ((2, 2, "same"), {"n_frames": 9}, False),
        ((2, 2, "same"), {}, False),
        ((2, 1, "same"), {"n_frames": 10}, False),
        ((3, 3, "same"), {"n_frames": 12}, True),
        ((3, 3, "same"), {"n_frames": 14, "pooled": 2}, False),
        ((3, 3, "same"), {"n_frames": 18, "pooled": 2}, True),
        ((2, 2, "valid"), {"n_frames": 9}, True),
        ((2, 2, "valid"), {}, True),
        ((2, 1, "valid"), {}, True),
    ],
)
def test_pooling_looks_at_no_later_frames(settings, time, fine):
    size, stride, padding = settings
    given, builder = sequence(neurons=True, **time)
    if fine:
        made = applied(pool("AveragePooling1D", *settings), given, builder)
        if size == stride:
            assert made.time == replace(given.time, pooled=given.time.pooled * size)
            assert made.affine is given.affine
        else:
            assert made.time == Time(given.time.n_frames, stride, size - 1)
    else:
        assert refused(applied, pool("AveragePooling1D", *settings), given, builder) == (
            "pooling over time that looks beyond the end",
            f"pool_size={size}, strides={stride}, padding={padding!r}",
            "Leave padding at its default, 'valid'",
        )


def mean_back(x, size, every=1):
    return sum(delayed(x, back * every) for back in range(size)) / size


@pytest.mark.parametrize("neurons", [False, True])
def test_averages_of_windows_that_overlap(neurons):
    given, builder = sequence(neurons, every=2, first=1)
    made = applied(pool(size=3, stride=2), given, builder)
    assert made.time == Time(None, 4, 5)
    np.testing.assert_allclose(frames_of(made, builder), mean_back(X[0], 3, 2), rtol=1e-9)


def test_averages_that_are_still_to_be_taken_are_taken_first():
    for size, stride in ((3, 1), (2, 1)):
        given, builder = sequence(True, pooled=2)
        made = applied(pool(size=size, stride=stride), given, builder)
        assert made.time == Time(None, 2 * stride, 1 + 2 * (size - 1))
        np.testing.assert_allclose(
            frames_of(made, builder), mean_back(mean_back(X[0], 2), size, 2), rtol=1e-9
        )
    given, builder = sequence(True, pooled=1)
    assert settled(layer("Dense"), given, builder) is given
    made = settled(layer("Dense"), replace(given, time=Time(None, 2, 1, 3)), builder)
    assert made.time == Time(None, 6, 5)


def test_the_largest_of_steps_is_the_hosts():
    given, builder = sequence(every=2, n_frames=20, first=1)
    made = applied(pool("MaxPooling1D", 3, 2), given, builder)
    assert made.time == Time(20, 4, 5)
    assert made.shape == (3,)
    assert made.affine.size == 5 * 3  # no more frames than are looked at
    line = frames_of(made, builder)
    wanted = np.max([delayed(X[0], back) for back in (0, 2, 4)], axis=0)
    np.testing.assert_allclose(line[:, made.windows].max(-1), wanted)
    what, value, _ = refused(applied, pool("MaxPooling1D"), *sequence(neurons=True))
    assert (what, value) == ("a maximum over neurons cannot be computed by synapses", "MaxPooling1D")
    first = {"data_format": "channels_first"}
    for kind in ("MaxPooling1D", "AveragePooling1D"):
        assert refused(applied, pool(kind, **first), *sequence()) == (
            "pooling over the elements of each step",
            "channels_first",
            "Use channels_last, which pools over the steps",
        )


def test_averages_over_all_steps():
    given, builder = sequence(neurons=True, n_frames=9)
    made = applied(layer("GlobalAveragePooling1D", keepdims=False), given, builder)
    assert (made.shape, made.over_time, builder.n_frames) == ((3,), "mean", None)
    assert applied(layer("GlobalAveragePooling1D"), given, builder).shape == (3,)
    kept = applied(layer("GlobalAveragePooling1D", keepdims=True), given, builder)
    assert kept.shape == (1, 3)
    first = layer("GlobalAveragePooling1D", data_format="channels_first")
    assert refused(applied, first, given, builder)[0] == "pooling over the elements of each step"


@pytest.mark.parametrize(
    ("n_frames", "pooled", "every", "beyond"), [(9, 2, 1, 1), (8, 2, 1, 0), (11, 4, 1, 3)]
)
def test_averages_of_averages_leave_out_what_fills_no_window(n_frames, pooled, every, beyond):
    given, builder = sequence(neurons=True, n_frames=n_frames, pooled=pooled, every=every)
    made = applied(layer("GlobalAveragePooling1D"), given, builder)
    assert builder.n_frames == n_frames
    assert made.time == Time(n_frames, every, beyond)
    assert [source.late for source in made.affine.terms] == [beyond]
    assert refused(applied, layer("GlobalAveragePooling1D"), *sequence(neurons=True, pooled=2)) == (
        "windows of the pooling that frames at the end may not fill",
        "any number of frames",
        "Give the model Input((n_frames, ...)), of as many frames as sequences have",
    )


# -- cutting and joining -------------------------------------------------------------------------------


@pytest.mark.parametrize("neurons", [False, True])
def test_steps_that_are_cut(neurons):
    given, builder = sequence(neurons, n_frames=9, every=2)
    made = applied(layer("Cropping1D", cropping=(1, 2)), given, builder)
    assert made.time == Time(9, 2, 6)
    np.testing.assert_allclose(frames_of(made, builder), delayed(X[0], 4), rtol=1e-9)
    given, builder = sequence(neurons)
    made = applied(layer("Cropping1D", cropping=(3, 0)), given, builder)
    assert (made.time, made.affine) == (Time(first=3), given.affine)


def test_what_is_held_back_is_the_same_later():
    for neurons in (False, True):
        given, builder = sequence(neurons, (2, 3), first=1)
        assert held_back(layer("Dense"), given, builder, 0) is given
        made = held_back(layer("Dense"), given, builder, 3)
        assert (made.shape, made.time.first) == ((2, 3), 4)
        x = RNG.uniform(0.1, 1, (1, FRAMES, 2, 3))
        found = frames_of(made, builder, x)
        np.testing.assert_allclose(found, delayed(x[0].reshape(FRAMES, 6), 3), rtol=1e-9)


@pytest.mark.parametrize(
    ("time", "beyond"), [({}, 0), ({"n_frames": 9}, 0), ({"n_frames": 10, "every": 3, "first": 1}, 2)]
)
def test_the_last_step_is_brought_to_the_last_frame(time, beyond):
    given, builder = sequence(neurons=True, **time)
    made = ending(layer("Dense"), given, builder)
    assert made.time.first == given.time.first + beyond
    assert {source.late for source in made.affine.terms} == {beyond}


def test_inputs_and_neurons_together_are_held_back_once():
    given, builder = sequence(neurons=True)
    both = replace(
        given, affine=replace(given.affine, terms={**given.affine.terms, **sequence()[0].affine.terms})
    )
    both = elementwise(both, offset=np.array([1.0, 2, 3]))
    made = tapped(layer("Dense"), both, builder, [(0, None), (2, None)], whole=True)
    found = frames_of(made, builder)[3:]
    wanted = 2 * (X[0] + delayed(X[0], 2)) + 2 * np.array([1.0, 2, 3])
    np.testing.assert_allclose(found, wanted[3:], rtol=1e-9)


# -- recurrence ----------------------------------------------------------------------------------------

WEIGHTS, OWN = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2)) / 2


def rnn(activation="relu", kind="SimpleRNN", cell="SimpleRNNCell", **more):
    bias = {"use_bias": True, "bias": np.array([0.5, -0.25])}
    inner = layer(cell, kernel=WEIGHTS, recurrent_kernel=OWN, units=2, activation=activation, **bias)
    usual = {"go_backwards": False, "return_state": False, "stateful": False, "return_sequences": True}
    return layer(kind, cell=inner, **{**usual, **more})


def recurred(x, relu, every=1):
    said = np.zeros((len(x), 2))
    for t, now in enumerate(x):
        back = said[t - every] if t >= every else np.zeros(2)
        said[t] = now @ WEIGHTS + back @ OWN + np.array([0.5, -0.25])
        if relu:
            said[t] = np.maximum(said[t], 0)
    return said


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_recurrent_layers_of_the_host(activation, every):
    given, builder = sequence(every=every)
    made = applied(rnn(activation), given, builder)
    assert (made.shape, made.leading, made.over_time, made.activation) == ((2,), 2, "", None)
    np.testing.assert_allclose(
        frames_of(made, builder), recurred(X[0], activation == "relu", every), rtol=1e-9
    )
    given, builder = sequence(n_frames=10, every=3, first=1)
    last = applied(rnn(activation, return_sequences=False), given, builder)
    assert (last.leading, last.over_time, last.time.first) == (1, "last", 3)


def test_recurrent_layers_behind_neurons():
    made = applied(rnn(kind="RNN"), *sequence(neurons=True))
    assert made.activation == "relu"
    np.testing.assert_array_equal(made.coming_back, OWN.T)
    assert applied(rnn(return_sequences=False), *sequence(neurons=True)).over_time == "last"
    assert refused(applied, rnn("linear"), *sequence(neurons=True)) == (
        "a recurrent layer that is linear, behind neurons",
        None,
        "Train it with activation='relu'",
    )


@pytest.mark.parametrize("name", ["go_backwards", "return_state", "stateful"])
def test_recurrent_layers_that_are_refused(name):
    assert refused(applied, rnn(**{name: True}), *sequence()) == (
        "a recurrent layer that goes backwards, or gives or keeps its state",
        None,
        "Leave go_backwards, return_state and stateful at False",
    )
    assert refused(applied, rnn("tanh"), *sequence())[:2] == (
        "a recurrent layer with another activation",
        "tanh",
    )
    assert refused(applied, rnn(cell="LSTMCell", kind="RNN"), *sequence())[1] == "RNN"
    assert refused(applied, rnn(), *sequence(shape=(1, 3)))[0] == "frames that are no vectors"


# -- all steps side by side ----------------------------------------------------------------------------


@pytest.mark.parametrize("neurons", [False, True])
@pytest.mark.parametrize("form", ["channels_last", "channels_first"])
def test_all_steps_side_by_side(form, neurons):
    given, builder = sequence(neurons, n_frames=FRAMES, every=3, first=1)
    made = applied(layer("Flatten", data_format=form), given, builder)
    assert builder.n_frames == FRAMES
    assert (made.shape, made.over_time) == ((9,), "last")
    found = frames_of(replace(made, over_time="", leading=2), builder)[-1]
    steps = X[0, 1::3]
    assert len(steps) == 3
    np.testing.assert_allclose(found, (steps.T if form == "channels_first" else steps).ravel(), rtol=1e-9)
    assert refused(applied, layer("Flatten"), *sequence(neurons)) == (
        "frames of sequences of any length side by side",
        None,
        "Give the model Input((n_frames, ...)), or GlobalAveragePooling1D in place of Flatten",
    )


# -- filters -------------------------------------------------------------------------------------------


def alpha(tau=0.1, dt=0.01, **more):
    tau = np.broadcast_to(tau, (1, 3))
    cell = SimpleNamespace(tau=tau, dt=dt, initial_level=np.zeros((1, 3)))
    usual = {"return_state": False, "time_major": False, "return_sequences": True}
    return layer("Alpha", layer=SimpleNamespace(cell=cell), **{**usual, **more})


def test_alpha_filters_of_the_host():
    """A zero-order hold of tau^2 y'' + 2 tau y' + y = x."""
    given, builder = sequence()
    made = applied(alpha(), given, builder)
    found = frames_of(made, builder)
    tau, dt, n = 0.1, 0.01, 2000
    y, v, wanted = np.zeros(3), np.zeros(3), []
    for now in X[0]:  # by small steps
        for _ in range(n):
            a = (now - y - 2 * tau * v) / tau**2
            y, v = y + dt / n * v, v + dt / n * a
        wanted.append(y)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-6)
    assert applied(alpha(return_sequences=False), *sequence()).over_time == "last"


def test_alpha_filters_behind_neurons_have_relays():
    given, builder = sequence(neurons=True)
    made = applied(alpha(), given, builder)
    a = np.exp(-0.1)
    b = (1 - 0.1 - a) / (1 - a)
    shares = {
        (source.name, source.tau): term.csr().toarray().diagonal()
        for source, term in made.affine.terms.items()
    }
    assert set(shares) == {("p", 0.1), ("own_relay", 0.1)}
    np.testing.assert_allclose(shares["p", 0.1], [b] * 3)
    np.testing.assert_allclose(shares["own_relay", 0.1], [1 - b] * 3)
    assert builder.populations == ("p", "own_relay")
    assert refused(applied, alpha(), *sequence(neurons=True, offset=1.0)) == (
        "a filter that constants pass through",
        None,
        "Put Alpha right behind SpikingActivation",
    )


def test_a_filter_behind_a_filter():
    """One of two neurons' ways has a synapse already."""
    given, builder = sequence(neurons=True)
    other = builder.population("q", sequence()[0].affine, NeuronModel("if")).filtered(0.05)
    both = replace(given, affine=replace(given.affine, terms={**given.affine.terms, **other.terms}))
    assert refused(applied, alpha(), both, builder)[0] == "two synapses in a row"


@pytest.mark.parametrize(
    ("settings", "what", "value"),
    [
        ({"tau": [0.1, 0.1, 0.2]}, "a time constant for each element", "0.1 to 0.2 s"),
        ({"return_state": True}, "return_state or time_major", None),
        ({"time_major": True}, "return_state or time_major", None),
    ],
)
def test_filters_that_are_refused(settings, what, value):
    assert refused(applied, alpha(**settings), *sequence())[:2] == (what, value)
    begun = alpha()
    begun.layer.cell.initial_level = np.array([[0, 0, 0.5]])
    assert refused(applied, begun, *sequence())[0] == "a synapse that does not start at 0"


def test_masks_come_first():
    given, builder = sequence()
    assert applied(layer("Masking", mask_value=-1), given, builder) is given
    for other in (elementwise(given, 2.0), elementwise(given, offset=1.0)):
        assert refused(applied, layer("Masking", mask_value=0), other, builder) == (
            "masks behind other layers",
            None,
            "Let Masking come first",
        )
    assert (
        refused(applied, layer("Masking", mask_value=0), *sequence(neurons=True))[0]
        == "masks behind other layers"
    )
    builder.readout("y", sequence(True)[0].affine)
    assert [node.mask_value for node in builder.graph(0.001).inputs] == [-1]


# -- at which frames -----------------------------------------------------------------------------------


def test_tensors_of_one_layer_are_brought_to_the_same_frames():
    early, builder = sequence(neurons=True, n_frames=9)
    late = replace(early, time=Time(9, first=3))
    first, second = in_time(layer("Add"), [early, replace(late, time=Time(9, first=0))], builder)
    assert (first.time, second.time, builder.n_frames) == (Time(9), Time(9), None)
    one = replace(early, time=Time(9, 2, 0))
    other = replace(early, time=Time(9, 2, 0, 1))
    assert in_time(layer("Add"), [one, other], builder)[0].time == Time(9, 2)
    with pytest.raises(UnsupportedLayerError) as caught:
        in_time(layer("Add"), [early, late], builder)
    assert caught.value.value == "every 1, from 0 and every 1, from 3"
    assert caught.value.remedy == (
        "Pool all of them over time, or none, and cut what begins earlier: Cropping1D((frames, 0))"
    )


def test_steps_that_stand_later_are_waited_for():
    early, builder = sequence(neurons=True, n_frames=10, every=3)
    with pytest.raises(UnsupportedLayerError):
        in_time(layer("Add"), [replace(early, time=Time(10, 3, 2)), early], builder)
    first, second = in_time(
        layer("Add"), [replace(early, time=Time(12, 3, 0)), replace(early, time=Time(12, 3, 2))], builder
    )
    assert (first.time.first, second.time.first, builder.n_frames) == (2, 2, 12)
    assert [source.late for source in first.affine.terms] == [2]
    assert [source.late for source in second.affine.terms] == [0]
    anyhow = [replace(early, time=Time(None, 3, first)) for first in (0, 2)]
    with pytest.raises(UnsupportedLayerError, match="different frames"):
        in_time(layer("Add"), anyhow, builder)


def test_averages_are_taken_before_what_needs_them():
    pooled, builder = sequence(neurons=True, n_frames=8, pooled=2)
    for kind, taken in (
        ("Dense", False),
        ("AveragePooling1D", False),
        ("GlobalAveragePooling1D", False),
        ("Conv1D", True),
        ("SpikingActivation", True),
        ("Flatten", True),
        ("Cropping1D", True),
    ):
        (found,) = in_time(layer(kind), [pooled], builder)
        assert found.time == (Time(8, 2, 1) if taken else pooled.time), kind
    both = in_time(layer("Add"), [pooled, replace(pooled, time=Time(8, 2, 1))], builder)
    assert [tensor.time for tensor in both] == [Time(8, 2, 1)] * 2


@pytest.mark.parametrize("kind", ["Alpha", "LMU", "Lowpass", "RNN", "SimpleRNN"])
def test_memories_begin_at_once_and_are_of_frames(kind):
    given, builder = sequence(neurons=True, first=1)
    assert refused(in_time, layer(kind), [given], builder) == (BEGINS, "frame 1", BEFORE)
    given, builder = sequence(neurons=True, first=1, every=2)
    if kind in ("RNN", "SimpleRNN"):
        assert in_time(layer(kind), [given], builder)[0].time == given.time
    else:
        assert refused(in_time, layer(kind), [given], builder) == (
            "a memory in steps of which there are fewer than frames",
            "a step every 2 frames",
            "Let it come before the pooling over time",
        )
    assert in_time(layer("Dense"), [given], builder) == [given]


def test_what_is_said_of_answers():
    given, _ = sequence(every=2, pooled=3, first=4)
    assert (fewer_answers(given).value, str(fewer_answers(given))) == (
        "a step every 6 frames",
        "answers to fewer steps than there are frames",
    )
    assert other_frames(given, 7).value == "from frame 4, the other from 7"

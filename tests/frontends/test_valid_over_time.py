"""Convolutions over time that are not padded, Keras' default: there is none before they have seen enough frames."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.frames import read_rates
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends import check_conversion, convert
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.frontends.saved_models import load_keras_model
from loihi_deploy.ir import samples_for
from tests.frontends.keras_models import randomized

K = import_keras(2)
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (10, 9, 6)).astype(np.float32)


def conv(filters=5, size=3, k=K, **options):
    return k.layers.Conv1D(filters, size, **{"activation": "relu", **options})


def model_of(*made, shape=(9, 6), k=K):
    """Layers behind one of the host and one of the chip."""
    first = (k.layers.TimeDistributed(k.layers.Dense(8, activation="relu")) for _ in "ab")
    return randomized(k.Sequential([k.layers.Input(shape, name="frames"), *first, *made]))


def in_front(*made, shape=(9, 6), k=K):
    """Layers that the host computes, in front of two with neurons."""
    scaled = k.layers.TimeDistributed(k.layers.Rescaling(0.5, 0.1))
    return randomized(k.Sequential([k.layers.Input(shape, name="frames"), scaled, *made]))


def mean():
    return K.layers.GlobalAveragePooling1D()


def dense(units=3, **options):
    return K.layers.Dense(units, **options)


def relu(units=4):
    return dense(units, activation="relu")


def rnn():
    return K.layers.SimpleRNN(4, activation="relu")


def computes_the_same(model, x=X):
    graph = convert(model)
    assert check_conversion(model, graph, x)
    wanted = np.asarray(model(x), np.float64)
    readout = graph.readouts[0]
    if readout.over_frames != "each":
        window = 1.0 if readout.over_frames == "mean" else None
        found = read_rates(graph, samples_for(graph, x), window, ld.DeployOptions())[readout.name]
        np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-4, atol=1e-5)
    return graph


BEHIND = {
    "read over all steps": lambda: (conv(), relu(), mean(), dense()),
    "every step": lambda: (conv(), conv(4, 2, dilation_rate=2), dense()),
    "all steps side by side": lambda: (conv(), K.layers.Flatten(), dense()),
    "grouped": lambda: (conv(6, 2, groups=2, dilation_rate=3), mean(), dense()),
    "of each channel": lambda: (K.layers.DepthwiseConv1D(3, depth_multiplier=2, activation="relu"), mean(), dense()),
    "separable": lambda: (K.layers.SeparableConv1D(5, 3, activation="relu"), mean(), dense()),
    "behind constants": lambda: (dense(4), conv(), mean(), dense()),
    "read by the host": lambda: (conv(activation=None), mean()),
    "pooled": lambda: (conv(), K.layers.AveragePooling1D(2), dense(), mean()),
    "pooled, windows left over": lambda: (conv(5, 2), K.layers.AveragePooling1D(3), dense(), mean()),
    "pooled between": lambda: (conv(), K.layers.AveragePooling1D(3), conv(4, 2), K.layers.Flatten(), dense()),
    "strides": lambda: (conv(strides=2), conv(4, 2), K.layers.Flatten(), dense()),
    "strides that leave frames over": lambda: (conv(4, 2, strides=3), K.layers.Flatten(), dense()),
    "windows that overlap": lambda: (K.layers.AveragePooling1D(3, strides=1), conv(4, 2), mean(), dense()),
    "windows that leave frames out": lambda: (K.layers.AveragePooling1D(2, strides=3), K.layers.Flatten(), dense()),
    "cropped": lambda: (K.layers.Cropping1D((2, 1)), conv(4, 2), mean(), dense()),
    "all frames in one step": lambda: (conv(4, 9), mean(), dense()),
    "a last step behind strides": lambda: (conv(4, 1, strides=4), rnn(), dense()),
}  # fmt: skip
FRONT = {
    "twice, linear": lambda: (conv(activation=None), conv(activation=None), relu(), mean(), dense()),
    "the largest of steps": lambda: (
        *(conv(activation=None), K.layers.MaxPooling1D(2), relu(), K.layers.Flatten(), dense()),
    ),
    "the largest of windows that overlap": lambda: (
        *(K.layers.MaxPooling1D(3, strides=2), conv(4, 2), K.layers.Flatten(), relu(), dense()),
    ),
    "a last step before the last frame": lambda: (*(K.layers.AveragePooling1D(4), rnn(), relu(), dense()),),
    "cropped": lambda: (K.layers.Cropping1D((1, 2)), conv(), relu(), mean(), dense()),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_behind_neurons_the_rate_network_computes_what_keras_computes(kind):
    computes_the_same(model_of(*BEHIND[kind]()))


@pytest.mark.parametrize("kind", FRONT)
def test_on_the_host_likewise(kind):
    computes_the_same(in_front(*FRONT[kind]()))


def branches(join):
    """A model of what is made of frames behind neurons, in several branches."""
    frames = K.layers.Input((9, 6), name="frames")
    hidden = K.layers.TimeDistributed(K.layers.Dense(8, activation="relu"))(frames)
    return randomized(K.Model(frames, join(hidden)))


def averages(hidden, *sizes, crop=0):
    made = [conv(4, size)(hidden) for size in sizes]
    made[0] = K.layers.Cropping1D((crop, 0))(made[0]) if crop else made[0]
    return K.layers.Concatenate()([mean()(branch) for branch in made])


JOINED = {
    "a residual of the middle": lambda h: dense()(mean()(K.layers.Add()([conv(8)(h), K.layers.Cropping1D((1, 1))(h)]))),
    "a residual of the newest": lambda h: dense()(mean()(K.layers.Add()([conv(8)(h), K.layers.Cropping1D((2, 0))(h)]))),
    "strides of two lengths": lambda h: dense()(
        K.layers.Flatten()(K.layers.Add()([conv(4, 3, strides=2)(h), conv(4, 2, strides=2)(h)]))
    ),
    "last steps": lambda h: dense()(K.layers.Concatenate()([conv(4, 2)(h)[:, -1], conv(4, 4)(h)[:, -1]])),
    "averages over the same frames": lambda h: dense()(averages(h, 2, 4, crop=2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", JOINED)
def test_branches_are_joined_where_they_have_as_many_steps(kind):
    computes_the_same(branches(JOINED[kind]))


@pytest.mark.parametrize("version", [2, 3])
def test_drawn_layers_over_time_compute_what_keras_predicts_or_are_refused(version, tmp_path):
    """Both Kerases, and of the new one files."""
    k, rng, n_converted = import_keras(version), np.random.default_rng(version), 0
    for case in range(20):
        made, n_steps = [], 9
        for _ in range(rng.integers(1, 4)):
            size, stride = (int(n) for n in rng.integers(1, 3, 2))
            kind = rng.integers(4)
            if kind < 2:
                padding = str(rng.choice(["valid", "causal"]))
                made.append(
                    conv(4, size + 1, k, padding=padding, use_bias=padding == "valid", strides=stride)
                )
                n_steps = (n_steps - 1 - size * (padding == "valid")) // stride + 1
            elif kind == 2:
                made.append(k.layers.AveragePooling1D(size, strides=stride))
                n_steps = (n_steps - size) // stride + 1
            else:
                made.append(k.layers.Cropping1D((size - 1, stride - 1)))
                n_steps -= size + stride - 2
            if n_steps < 3:
                break
        end = rng.integers(3)
        made += [[k.layers.GlobalAveragePooling1D()], [k.layers.Flatten()], []][end]
        model = model_of(*made, k.layers.Dense(3), k=k)
        if version == 3:
            model.save(tmp_path / f"{case}.keras")
            model = load_keras_model(tmp_path / f"{case}.keras")
        try:
            convert(model)
        except ConversionError:
            continue
        computes_the_same(model)
        n_converted += 1
    assert n_converted >= 8


OPTIONS = ld.DeployOptions(steps_per_frame=3, synapse=0.0005)


@pytest.mark.parametrize("kind", ["read over all steps", "every step", "pooled between", "twice, linear"])
def test_what_is_deployed_is_read_so_too_on_both_engines_from_a_file_and_as_a_stream(kind, tmp_path):
    model = model_of(*BEHIND[kind]()) if kind in BEHIND else in_front(*FRONT[kind]())
    wanted = np.asarray(model(X))
    options = OPTIONS if kind in BEHIND else ld.DeployOptions(steps_per_frame=40)
    deployment = ld.deploy(model, calibration=X, options=options)
    first = deployment.graph.first_frame
    fast, plain = (deployment.run(X, by_frame=True, backend=b) for b in ("emulator", "numpy"))
    (name,) = fast.by_frame
    assert (fast.by_frame[name] == plain.by_frame[name]).all()
    assert (fast.outputs == plain.outputs).all()
    assert fast.by_frame[name].shape == (10, 9 - first, 3)
    assert deployment.predict(X).shape == wanted.shape
    deployment.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded == deployment
    assert (loaded.predict(X) == deployment.predict(X)).all()
    with loaded.stream() as stream:
        answers = [*map(stream.step, X[0]), stream.finish()]
        known = {answer.frame: answer for answer in answers if answer.frame is not None}
        assert min(known) == first
        assert all((known[k].outputs == fast.by_frame[name][0, k - first]).all() for k in known)
    y = wanted.argmax(axis=-1)
    assert loaded.rate_accuracy(X, y) == 1
    found = loaded.evaluate(X, y, by_frame=True)
    decided = fast.by_frame[name].argmax(axis=-1)
    assert (found.n_correct_by_frame == (decided == y.reshape(10, -1)).sum(axis=0)).all()
    assert found.n_total == y.size
    values = loaded.evaluate(X, wanted, by_frame=True).errors
    of_frames = fast.by_frame[name] - (wanted if wanted.ndim == 3 else wanted[:, None])
    np.testing.assert_allclose(values.squared_by_frame, np.square(of_frames).sum(axis=(0, 2)), rtol=1e-5)


def test_many_steps_bring_the_average_of_keras_and_not_that_of_all_frames():
    x = RNG.uniform(0.5, 1, (10, 5, 6)).astype(np.float32)
    model = in_front(conv(20), relu(20), mean(), dense(2), shape=(5, 6))
    padded = in_front(conv(20, padding="causal"), relu(20), mean(), dense(2), shape=(5, 6))
    model.set_weights([np.abs(weights) for weights in model.get_weights()])
    padded.set_weights(model.get_weights())
    wanted, of_all = np.asarray(model(x)), np.asarray(padded(x))
    deployment = ld.deploy(model, calibration=x, options=ld.DeployOptions(steps_per_frame=100))
    found = deployment.run(x).outputs
    assert np.abs(found - wanted).max() < 0.25 * np.abs(of_all - wanted).max()


def test_sequences_of_different_length_each_to_its_own_end():
    model = model_of(*BEHIND["read over all steps"](), shape=(None, 6))
    lengths = [3, 9, 5, 4, 9, 3, 6, 8, 7, 6]
    listed = [sequence[:n] for sequence, n in zip(X, lengths, strict=True)]
    deployment = ld.deploy(model, calibration=listed, options=OPTIONS)
    found = deployment.run(listed).outputs
    for k, sequence in enumerate(listed):
        assert (found[k] == deployment.run(sequence[None]).outputs[0]).all()
    y = np.array([np.asarray(model(sequence[None]))[0].argmax() for sequence in listed])
    assert deployment.rate_accuracy(listed, y) == 1
    each = ld.deploy(model_of(conv(), relu(), dense(), shape=(None, 6)), calibration=listed, options=OPTIONS)
    of_frames = [each.predict(sequence[None])[0].argmax(axis=1) for sequence in listed]
    assert [len(row) for row in of_frames] == [n - 2 for n in lengths]
    found = each.evaluate(listed, of_frames)
    assert found.n_correct == found.n_total == sum(lengths) - 20
    in_a_row = each.evaluate(listed, of_frames, reset=False)
    assert in_a_row.n_total == found.n_total
    with pytest.raises(InputError, match="not a label for every frame that there is an answer to"):
        each.evaluate(listed, [np.zeros(n - 3, int) for n in lengths])


@pytest.mark.follows("Leave shorter sequences out, or pad them in front as the network was trained")
def test_sequences_that_are_too_short_are_refused():
    model = model_of(*BEHIND["read over all steps"](), shape=(None, 6))
    deployment = ld.deploy(model, calibration=X, options=OPTIONS)
    for short in (X[:, :2], [X[0], X[1, :2]], X[:, 0]):
        with pytest.raises(InputError, match="fewer frames than the network looks at"):
            deployment.run(short)
    deployment.run(X[:, :3])
    deployment.run([X[0], np.pad(X[1, :2], [(1, 0), (0, 0)])])


def refused(*made, shape=(9, 6)):
    with pytest.raises(ConversionError) as refusal:
        convert(model_of(*made, shape=shape))
    (problem,) = refusal.value.problems
    return problem.remedy


@pytest.mark.follows(
    "In front of it use Conv1D(padding='causal'), and no cropping nor pooling in windows that overlap"
)
@pytest.mark.follows("Use padding='causal' or 'valid', whose answer to a frame needs no later ones")
@pytest.mark.follows("Leave padding at its default, 'valid'")
@pytest.mark.follows(
    "Average over the same frames: Conv1D(padding='causal'), or Cropping1D((frames, 0)) behind …"
)
@pytest.mark.follows(
    "Pool all of them over time, or none, and cut what begins earlier: Cropping1D((frames, 0))"
)
def test_what_is_not_exact_is_refused_and_what_is_said_works():
    k = K.layers
    for memory in (rnn, lambda: conv(4, 2, padding="causal", use_bias=False)):
        for early in (conv(), k.Cropping1D((1, 0)), k.AveragePooling1D(3, strides=1)):
            assert "padding='causal'" in refused(early, memory(), dense())
        computes_the_same(model_of(conv(padding="causal"), memory(), dense()))
    assert "'causal' or 'valid'" in refused(conv(padding="same"), dense())
    computes_the_same(model_of(conv(), dense()))
    assert "default" in refused(k.AveragePooling1D(2, padding="same"), k.Flatten(), dense())
    computes_the_same(model_of(k.AveragePooling1D(2), k.Flatten(), dense()))
    for apart in (lambda h: dense()(averages(h, 2, 4)), lambda h: [mean()(conv(4, n)(h)) for n in (2, 4)]):
        with pytest.raises(ConversionError, match="Average over the same frames"):
            convert(branches(apart))
    computes_the_same(branches(lambda h: dense()(averages(h, 2, 4, crop=2))))
    with pytest.raises(ConversionError, match="cut what begins earlier"):
        convert(
            branches(lambda h: dense()(k.Concatenate()([conv(4, 2, strides=3)(h), conv(4, 4, strides=2)(h)])))
        )
    computes_the_same(branches(JOINED["a residual of the newest"]))

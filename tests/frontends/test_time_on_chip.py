"""Keras layers over time behind neurons: delays on chip, and fewer steps than frames."""

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.frames import read_rates
from loihi_deploy.errors import ConversionError, InputError, LoihiDeployWarning, MappingError, PartitionError
from loihi_deploy.frontends import check_conversion, convert, import_tensorflow
from loihi_deploy.ir import samples_for
from loihi_deploy.stages.partition import partition
from tests.frontends.keras_models import keras, layers

X = np.random.default_rng(0).uniform(-1, 1, (10, 9, 6)).astype(np.float32)


def model_of(*made, shape=(9, 6)):
    keras().utils.set_random_seed(0)
    return keras().Sequential([layers().Input(shape, name="frames"), *made])


def behind_neurons(*made, shape=(None, 6)):
    """Layers behind one of the host and one of the chip."""
    k = layers()
    first = (k.TimeDistributed(k.Dense(8, activation="relu", bias_initializer="random_normal")) for _ in "ab")
    return model_of(*first, *made, shape=shape)


def conv(filters=5, size=3, **options):
    options = {"padding": "causal", "activation": "relu", "bias_initializer": "random_normal", **options}
    return layers().Conv1D(filters, size, **options)


def rnn(units=5, **options):
    return layers().SimpleRNN(units, **{"activation": "relu", "bias_initializer": "random_normal", **options})


def mean():
    return layers().GlobalAveragePooling1D()


def dense(units=3, **options):
    return layers().Dense(units, **options)


def pooled(size=3):
    return layers().AveragePooling1D(size)


BEHIND = {
    "taps": lambda: (conv(), dense(7, activation="relu"), mean(), dense()),
    "dilated": lambda: (conv(dilation_rate=2, use_bias=False), conv(4, 2), dense()),
    "grouped": lambda: (conv(6, 2, groups=2), mean(), dense()),
    "read by the host": lambda: (conv(3, activation=None), mean()),
    "recurrent": lambda: (rnn(return_sequences=True), mean(), dense()),
    "recurrent, last": lambda: (rnn(), dense(4, activation="relu"), dense()),
    "recurrent, twice": lambda: (rnn(return_sequences=True), rnn(4, use_bias=False), dense()),
    "all of it": lambda: (conv(), rnn(return_sequences=True), conv(4, 2), dense()),
}
NESTED = {
    "a model of each frame": lambda k, y: k.TimeDistributed(
        keras().Sequential([k.Input((8,)), k.Dense(7, activation="relu"), k.Dense(6, activation="relu")])
    )(y),
    "a cell": lambda k, y: k.RNN(k.SimpleRNNCell(5, activation="relu"), return_sequences=True)(y),
    "a separable convolution": lambda k, y: k.SeparableConv1D(
        5, 3, padding="causal", depth_multiplier=2, activation="relu", bias_initializer="random_normal"
    )(y),
}
ENDS = {
    "the last step of a slice": ("last", lambda k, y: y[:, -1]),
    "a part of the last step": ("last", lambda k, y: y[:, -1, 1:4]),
    "a mean over steps": ("mean", lambda k, y: import_tensorflow().reduce_mean(y, axis=1)),
    "kept dimensions": ("mean", lambda k, y: k.GlobalAveragePooling1D(keepdims=True)(y)),
}
FEWER = {
    "pooled, mean": lambda: (conv(), pooled(), dense(4), mean(), dense()),
    "pooled twice, mean": lambda: (layers().AveragePooling1D(1), pooled(), pooled(), mean(), dense()),
    "pooled, taps, recurrent": lambda: (conv(), pooled(), dense(4), conv(4, 2), rnn(4), dense()),
    "pooled twice, recurrent": lambda: (pooled(), dense(5, activation="relu"), pooled(), rnn(4), dense()),
    "pooled, all steps": lambda: (pooled(), conv(4, 2), layers().Flatten(), dense()),
    "strides, recurrent": lambda: (conv(strides=2), rnn(4), dense()),
    "strides, all steps": lambda: (conv(strides=4), conv(4, 2), layers().Flatten(), dense()),
    "all steps, neurons": lambda: (layers().Flatten(), dense(4, activation="relu"), dense()),
    "all steps, channels first": lambda: (layers().Flatten(data_format="channels_first"), dense()),
}
IN_FRONT = {
    "largest of the input, recurrent": lambda: (layers().MaxPooling1D(3), rnn(4), dense(5, activation="relu"), dense()),
    "largest of strides": lambda: (
        *(conv(4, activation=None), layers().MaxPooling1D(3), dense(5, activation="relu"), conv(4, 2), rnn()),
        dense(),
    ),
    "mean of the input": lambda: (pooled(), rnn(4), dense(5, activation="relu"), dense()),
    "strides of the input": lambda: (conv(strides=2), layers().Flatten(), dense(5, activation="relu"), dense()),
}  # fmt: skip


def computes_the_same(model, x=X):
    graph = convert(model)
    assert check_conversion(model, graph, x)
    if graph.readouts[0].over_frames != "each":
        window = 1.0 if graph.readouts[0].over_frames == "mean" else None
        found = read_rates(graph, samples_for(graph, x), window, ld.DeployOptions())[graph.readouts[0].name]
        wanted = np.asarray(model(x), np.float64).reshape(found.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return graph


@pytest.mark.parametrize("kind", BEHIND)
def test_layers_over_time_behind_neurons_compute_what_keras_computes(kind):
    graph = computes_the_same(behind_neurons(*BEHIND[kind]()))
    assert graph.holds_frames
    assert graph.inputs[0].n_frames is None


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("end", ENDS)
def test_other_ways_to_say_the_same(nested, end):
    k, (read, finish) = layers(), ENDS[end]
    frames = k.Input((9, 6), name="frames")
    hidden = conv()(k.TimeDistributed(k.Dense(8, activation="relu"))(frames))
    hidden = NESTED[nested](k, k.TimeDistributed(k.Dense(8, activation="relu"))(hidden))
    model = keras().Model(frames, k.Dense(3)(finish(k, hidden)))
    assert computes_the_same(model).readouts[0].over_frames == read


@pytest.mark.parametrize("kind", FEWER)
def test_fewer_steps_than_frames_compute_what_keras_computes(kind):
    graph = computes_the_same(behind_neurons(*FEWER[kind](), shape=(9, 6)))
    assert graph.inputs[0].n_frames == 9
    with pytest.raises(InputError, match="other number of frames"):
        samples_for(graph, X[:, :8])


@pytest.mark.parametrize("kind", IN_FRONT)
def test_fewer_steps_than_frames_are_the_hosts_in_front_of_neurons(kind):
    computes_the_same(model_of(layers().TimeDistributed(layers().Rescaling(0.5, 0.1)), *IN_FRONT[kind]()))


def test_a_frame_beside_what_neurons_said():
    """Earlier frames by a delay line, constants included, and what neurons said of them by delays."""
    k = layers()
    frames = k.Input((9, 6), name="frames")
    shifted = k.TimeDistributed(k.Rescaling(0.5, 0.25))(frames)
    hidden = k.TimeDistributed(k.Dense(7, activation="relu"))(frames)
    y = conv()(k.Concatenate()([shifted, hidden]))
    computes_the_same(keras().Model(frames, k.Dense(3)(y)))


@pytest.mark.parametrize("kind", ["all of it", "recurrent, last", "read by the host", "strides, all steps"])
def test_what_is_deployed_is_the_same_on_both_engines_and_from_a_file(kind, tmp_path):
    made = BEHIND.get(kind, FEWER.get(kind))
    model = behind_neurons(*made(), shape=(9, 6))
    options = ld.DeployOptions(steps_per_frame=3, synapse=0.0005)
    deployment = ld.deploy(model, calibration=X, options=options)
    record = [p.name for p in deployment.program.populations]
    fast, plain = (deployment.run(X, record=record, backend=backend) for backend in ("emulator", "numpy"))
    for name in record:
        assert (fast.recorded[name]["spikes"] == plain.recorded[name]["spikes"]).all()
        assert fast.recorded[name]["spikes"].any()
    assert (fast.outputs == plain.outputs).all()
    deployment.save(tmp_path / "net.loihi")
    loaded = ld.load(tmp_path / "net.loihi")
    assert loaded == deployment
    assert (loaded.run(X).outputs == fast.outputs).all()
    y = np.asarray(model(X)).reshape(len(X), -1)[:, -3:].argmax(axis=1)
    assert loaded.rate_accuracy(X, y) == 1 if loaded.source.readouts[0].over_frames != "each" else True


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_delays_are_the_steps_of_frames_and_a_layers_own_spikes_are_on_their_way_for_some(steps):
    options = ld.DeployOptions(steps_per_frame=steps, synapse=0.0)
    deployment = ld.deploy(
        behind_neurons(conv(dilation_rate=2, name="taps"), rnn(name="own"), dense()), "loihi", X, options
    )
    by_target = {}
    for synapses in deployment.program.synapses:
        kind = "own" if synapses.pre == synapses.post else "other"
        by_target.setdefault((synapses.post, kind), []).append(synapses.most_delay)
    assert sorted(by_target["taps", "other"]) == [0, 2 * steps, 4 * steps]
    assert by_target["own", "own"] == [steps - 1]  # and a step on the way
    assert deployment.program.frame_steps == steps


@pytest.mark.follows("Show frames for … steps, or give the layer a shorter synapse: …")
def test_spikes_that_come_back_late_are_warned_of():
    """A synapse of 3 ms delays by 3 steps, and the way takes one."""
    model = behind_neurons(rnn(name="own"), dense())
    with pytest.warns(LoihiDeployWarning, match="come back to the layer later than a frame takes"):
        deployment = ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=2))
    (note,) = [note for note in deployment.notes if "come back" in note]
    assert "Show frames for 4 steps" in note
    assert "DeployOptions(layer_synapses={'own': 0.0})" in note
    for options in ({"steps_per_frame": 4}, {"steps_per_frame": 2, "layer_synapses": {"own": 0.0}}):
        notes = ld.deploy(model, "loihi", X, ld.DeployOptions(**options)).notes
        assert not any("come back" in note for note in notes)


@pytest.mark.follows("Say so: DeployOptions(steps_per_frame=...)")
@pytest.mark.follows("Say so: loihi_deploy.with_frame_delays(graph, steps_per_frame)")
@pytest.mark.follows("Use steps_per_frame=…, or deploy with DeployOptions(steps_per_frame=…)")
def test_steps_of_a_frame_are_said_and_kept():
    model = behind_neurons(conv(), dense(name="classes"))
    with pytest.raises(InputError, match="nobody says how many steps a frame takes"):
        ld.deploy(model, "loihi", X)
    with pytest.raises(PartitionError, match="nobody says how many steps a frame takes"):
        partition(convert(model))
    assert partition(ld.with_frame_delays(convert(model), 3)).chip.frame_steps == 3
    deployment = ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=3))
    for ask in (
        lambda: deployment.run(X, steps_per_frame=4),
        lambda: deployment.evaluate(X, np.zeros((10, 9), int), steps=36),
        lambda: deployment.stream(4),
    ):
        with pytest.raises(InputError, match="made for frames of other lengths") as refusal:
            ask()
        (problem,) = refusal.value.problems
        assert problem.remedy == "Use steps_per_frame=3, or deploy with DeployOptions(steps_per_frame=4)"
    whole = deployment.run(X, steps_per_frame=3).by_frame["classes"]
    with deployment.stream(3) as stream:
        for frame in X[0]:
            stream.step(frame)
        assert (stream.finish().outputs == whole[0, -1]).all()
    again = ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=4))
    assert again.run(X, steps_per_frame=4).outputs.shape == (10, 3)


@pytest.mark.follows(
    "Shorten the delays; where they are frames of a sequence, show these for fewer steps, or use fewer or less dilated "
    "taps"
)
def test_more_delay_than_the_chip_has_is_refused():
    model = behind_neurons(conv(size=5, dilation_rate=2), dense())
    with pytest.raises(MappingError, match="held back for longer than the chip can") as refusal:
        ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=16))
    (problem,) = refusal.value.problems  # of three taps that are too late, the last one
    assert (problem.value, problem.limit) == ("128 steps", 62)
    with pytest.raises(MappingError, match="80 steps"):
        ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=10))
    ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=7))
    ld.deploy(behind_neurons(conv(size=4, dilation_rate=2), dense()), "loihi", X,
              ld.DeployOptions(steps_per_frame=10))  # fmt: skip
    ld.deploy(behind_neurons(conv(size=5), dense()), "loihi", X, ld.DeployOptions(steps_per_frame=10))


def refused(*made, shape=(9, 6)):
    with pytest.raises(ConversionError) as refusal:
        convert(behind_neurons(*made, shape=shape))
    return [(problem.what, problem.remedy) for problem in refusal.value.problems]


@pytest.mark.follows("Give the model Input((n_frames, ...)), of as many frames as sequences have")
@pytest.mark.follows("Give the model Input((n_frames, ...)) with … frames and a multiple of … more")
@pytest.mark.follows(
    "Take the pooling over time away, or the strides: the average over all frames is the end of the network"
)
@pytest.mark.follows("Read the last step: SimpleRNN with return_sequences=False, or Flatten")
@pytest.mark.follows("Let it come before the pooling over time")
@pytest.mark.follows(
    "Put the convolution right behind the activation, without biases or normalization between them"
)
@pytest.mark.follows("Train it with activation='relu'")
def test_what_is_not_exact_is_refused_and_what_is_said_works():
    k = layers()
    ((what, remedy),) = refused(pooled(), mean(), dense(), shape=(None, 6))
    assert remedy == "Give the model Input((n_frames, ...)), of as many frames as sequences have"
    computes_the_same(behind_neurons(pooled(), mean(), dense(), shape=(8, 6)), X[:, :8])
    for shape in ((None, 6), (8, 6)):
        ((what, remedy),) = refused(pooled(), rnn(), dense(), shape=shape)
        assert remedy == "Give the model Input((n_frames, ...)) with 3 frames and a multiple of 3 more"
    computes_the_same(behind_neurons(pooled(), mean(), dense(), shape=(9, 6)))
    ((what, remedy),) = refused(pooled(), conv(), mean(), dense())
    assert "the end of the network" in remedy
    computes_the_same(behind_neurons(conv(), mean(), dense(), shape=(9, 6)))
    ((what, remedy),) = refused(conv(strides=2), dense())
    assert "Flatten" in remedy
    for end in (rnn(), k.Flatten()):
        computes_the_same(behind_neurons(conv(strides=2), end, dense(), shape=(9, 6)))
    ((what, remedy),) = refused(dense(4, bias_initializer="ones"), conv(), dense())
    assert "constants, of which there are none in front" in what
    computes_the_same(behind_neurons(k.Dense(4, use_bias=False), conv(), dense()))
    ((what, remedy),) = refused(rnn(activation=None), dense())
    assert remedy == "Train it with activation='relu'"
    frames = k.Input((9, 6), name="frames")
    hidden = k.TimeDistributed(k.Dense(8, activation="relu"))(frames)

    def both(one, other):
        return keras().Model(frames, dense()(rnn()(k.Concatenate()([one(hidden), other(hidden)]))))

    for other in (conv(strides=3), pooled()):
        computes_the_same(both(other, pooled()))
    spiking = pytest.importorskip("keras_spiking")
    ((what, remedy),) = refused(pooled(), spiking.Lowpass(0.02), rnn(), dense())
    assert remedy == "Let it come before the pooling over time"
    filtered = (spiking.Lowpass(0.02, trainable=False), pooled(), rnn(), dense())
    computes_the_same(behind_neurons(*filtered, shape=(9, 6)))


@pytest.mark.follows("Use GlobalAveragePooling1D, and train the network on")
@pytest.mark.follows("Use Conv1D(padding='causal') over time, and AveragePooling1D")
@pytest.mark.follows("Leave the batch (and time) axis alone")
def test_layers_that_mix_steps_in_other_ways_are_refused():
    k = layers()
    ((_, remedy),) = refused(k.GlobalMaxPooling1D(), dense())
    assert remedy == "Use GlobalAveragePooling1D, and train the network on"
    computes_the_same(behind_neurons(mean(), dense()))
    ((_, remedy),) = refused(k.UpSampling1D(2), mean(), dense())
    assert remedy == "Use Conv1D(padding='causal') over time, and AveragePooling1D"
    computes_the_same(behind_neurons(conv(), pooled(), mean(), dense(), shape=(9, 6)))
    for cut in (slice(None, -1), 4, 8, slice(None, None, 2)):
        frames = k.Input((9, 6), name="frames")
        hidden = k.TimeDistributed(k.Dense(8, activation="relu"))(frames)
        with pytest.raises(ConversionError, match="Leave the batch"):
            convert(keras().Model(frames, dense()(hidden[:, cut])))
    computes_the_same(keras().Model(frames, dense()(hidden)))


@pytest.mark.follows("Show frames for a step each: DeployOptions(steps_per_frame=1)")
def test_filters_of_a_source_that_count_frames_are_warned_of():
    spiking = pytest.importorskip("keras_spiking")
    k = layers()
    model = behind_neurons(
        spiking.Lowpass(0.004), k.TimeDistributed(k.Dense(7, activation="relu")), k.Dense(3), shape=(9, 6)
    )
    for options in ({}, {"steps_per_frame": 4}):
        with pytest.warns(LoihiDeployWarning, match="count a frame as a step"):
            deployment = ld.deploy(model, "loihi", np.abs(X), ld.DeployOptions(**options))
        assert any("count a frame as a step" in note for note in deployment.notes)
    notes = ld.deploy(model, "loihi", np.abs(X), ld.DeployOptions(steps_per_frame=1)).notes
    assert not any("count a frame as a step" in note for note in notes)


@pytest.mark.follows("Allow …")
def test_what_compares_and_tries_steps_keeps_to_those_that_delays_were_made_for():
    model = behind_neurons(conv(), mean(), dense())
    deployment = ld.deploy(model, "loihi", X, ld.DeployOptions(steps_per_frame=3))
    found = deployment.verify(X)
    assert [stage.name for stage in found.stages][-1] == "integer program"
    assert "nengo-loihi holds no spikes back: its emulator is left out" in found.remedies
    assert not any("left out" in text for text in deployment.verify(X, reference_samples=0).remedies)
    y = np.asarray(model(X)).argmax(axis=1)
    with pytest.raises(InputError, match="delays were made for more") as refusal:
        deployment.tune(X, y, max_steps=26, max_drop=1.0)
    assert refusal.value.problems[0].remedy == "Allow 27"
    for most in (27, 60):
        assert deployment.tune(X, y, max_steps=most, max_drop=1.0).steps == 27

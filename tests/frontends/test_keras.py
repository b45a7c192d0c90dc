import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loihi_deploy as ld
from loihi_deploy.analysis.frames import read_rates
from loihi_deploy.errors import ConversionError, InputError, LoihiDeployError
from loihi_deploy.frontends import check_conversion, convert, rescaling
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.frontends.keras_graph import all_layers
from loihi_deploy.frontends.keras_layers import AUGMENTATION, HANDLERS
from loihi_deploy.ir import Conv2D, Graph, Input, NeuronModel, Sparse, linear, samples_for
from loihi_deploy.options import DeployOptions
from tests.frontends import keras_models
from tests.frontends.keras_models import MODELS, chain, conv, dense, ending, keras, layer, layers, relu_conv


def assert_same_function(model, graph, seed=1):
    arrays = keras_models.samples(model, seed=seed)
    activity = keras_models.rates(graph, arrays)
    for readout, wanted in zip(graph.readouts, keras_models.outputs(model, arrays), strict=True):
        found = readout.activated(activity[readout.name]).reshape(wanted.shape)
        assert np.abs(found - wanted).max() <= 2e-5 * max(1, np.abs(wanted).max())
    return activity


@pytest.mark.parametrize("name", MODELS)
def test_rate_network_computes_what_keras_computes(name):
    model = MODELS[name]()
    graph = convert(model)
    activity = assert_same_function(model, graph)
    assert all(activity[population.name].any() for population in graph.populations), (
        "a silent layer tests nothing"
    )
    assert check_conversion(model, graph, keras_models.samples(model))


PADDING = st.sampled_from(["same", "valid"])
LINEAR = [
    lambda draw: layer(
        "Conv2D", 2 * draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3])), padding=draw(PADDING)
    ),
    lambda draw: layer("Conv2D", 4, 3, groups=2, padding="same"),
    lambda draw: layer("Conv2D", 4, 2, dilation_rate=2, padding="same"),
    lambda draw: layer("DepthwiseConv2D", draw(st.sampled_from([2, 3])), padding=draw(PADDING)),
    lambda draw: layer("SeparableConv2D", 4, 3, padding="same"),
    lambda draw: layer("BatchNormalization"),
    lambda draw: layer("AveragePooling2D", 2, draw(st.sampled_from([1, 2])), draw(PADDING)),
    lambda draw: layer("ZeroPadding2D", ((1, 0), (1, 2))),
    lambda draw: layer("Cropping2D", ((1, 0), (0, 1))),
    lambda draw: layer("UpSampling2D", (1, 2)),
    lambda draw: layer("Permute", (2, 1, 3)),
    lambda draw: layer("Rescaling", 0.5, 0.25),
    lambda draw: layer("Dropout", 0.5),
]


def random_model(draw):
    """Layers in random order, with an activation, a residual branch or a concatenation thrown in."""
    x = first = layers().Input((draw(st.integers(5, 8)), draw(st.integers(5, 8)), 2), name="image")
    x = conv(4, 1)(x)
    for _ in range(draw(st.integers(1, 5))):
        made = draw(st.sampled_from(LINEAR))(draw)()
        if min(x.shape[1:3]) < 4 and getattr(made, "padding", "same") != "same":
            continue
        y = made(x)
        if min(y.shape[1:3]) < 3:
            continue
        joint = draw(st.sampled_from(["none", "none", "relu", "add", "concatenate"]))
        if joint == "relu":
            y = layers().ReLU()(y)
        elif joint == "add" and y.shape == x.shape:
            y = layers().Add()([x, y])
        elif joint == "concatenate" and y.shape[1:3] == x.shape[1:3]:
            y = layers().Concatenate()([x, y])
        x = y
    x = layers().GlobalAveragePooling2D()(x) if draw(st.booleans()) else layers().Flatten()(x)
    if draw(st.booleans()):
        x = layers().Dense(4, activation="relu")(x)
    return keras_models.randomized(keras().Model(first, layers().Dense(3)(x)), draw(st.integers(0, 1000)))


@settings(max_examples=40)
@given(st.data())
def test_random_combinations_compute_what_keras_computes(data):
    model = random_model(data.draw)
    assert_same_function(model, convert(model))


def test_every_layer_that_is_converted_has_a_model():
    """In `MODELS`, among the models over time, or in the models of channels first, which are compared as well."""
    found = {type(layer).__name__ for make in MODELS.values() for layer in all_layers(make())}
    over_time = {"Lowpass", "SpikingActivation", "TimeDistributed"}
    other_names = {
        "BatchNormalizationV1",
        "SyncBatchNormalization",
    }  # of TensorFlow 1 and of experimental layers
    keras_3_only = set(AUGMENTATION) - set(dir(layers()))
    elsewhere = {"ChipActivation"}  # tests/frontends/test_chip_activations.py
    untried = set(HANDLERS) - found - over_time - other_names - keras_3_only - elsewhere
    assert untried <= set(AUGMENTATION), "give each handler a model"


@pytest.mark.parametrize("version", [2, 3])
def test_every_augmentation_layer_leaves_samples_as_they_are(version):
    k = import_keras(version)
    arguments = {"RandomTranslation": (0.2, 0.3), "RandomPosterization": (4,)}
    without = {"AugMix", "CutMix", "Equalization", "MixUp", "RandAugment", "RandomFlip", "Solarization"}
    without |= {"RandomColorJitter", "RandomErasing", "RandomGaussianBlur", "RandomGrayscale", "RandomInvert"}
    without |= {"RandomPerspective", "RandomShear"}
    # RandomHeight and RandomWidth leave the size open, which no network after them could have
    tried = sorted(set(AUGMENTATION) & set(dir(k.layers)) - {"RandomHeight", "RandomWidth"})
    for name in tried:
        made = getattr(k.layers, name)(*arguments.get(name, () if name in without else (0.3,)))
        first = k.layers.Input((6, 5, 3))
        ends = k.layers.Dense(2)(k.layers.Flatten()(k.layers.Conv2D(3, 1, activation="relu")(made(first))))
        model = keras_models.randomized(k.Model(first, ends))
        assert check_conversion(model, convert(model), keras_models.samples(model)), name
    assert len(tried) >= 6


@pytest.mark.parametrize(
    ("name", "population", "kernel"),
    [
        ("batch_normalization", "re_lu", (3, 3, 4, 5)),
        ("average_pooling", "conv2d_1", (4, 4, 4, 5)),
        ("pooling_population", "activation", (2, 2, 1, 4)),
        ("depthwise", "depthwise_conv2d", (3, 3, 1, 8)),
        ("separable", "separable_conv2d", (3, 3, 4, 6)),
        ("grouped", "conv2d_1", (3, 3, 2, 6)),
        ("dilated", "conv2d_1", (5, 5, 4, 5)),
        ("zero_padding", "conv2d_1", (3, 3, 4, 5)),
        ("cropping", "conv2d_1", (3, 3, 4, 5)),
        ("normalization_after_relu", None, None),
        ("linear_residual", "re_lu", (3, 3, 4, 4)),
        ("dense_on_images", "dense", (1, 1, 4, 5)),
        ("conv1d", "conv1d_1", (1, 3, 4, 5)),
    ],
)
def test_convolution_stays_convolution(name, population, kernel):
    keras().backend.clear_session()
    graph = convert(MODELS[name]())
    if (
        population is None
    ):  # the offset of a normalization is lost beyond the edge only where there is padding
        population, kernel = "conv2d_1", (3, 3, 4, 5)
    (projection,) = graph.into(population)
    assert isinstance(projection.transform, Conv2D)
    assert projection.transform.kernel.shape == kernel


def test_the_offset_of_a_normalization_stops_at_the_edge():
    """Padding puts zeros around the normalized image: its offset reaches the edge neurons through fewer taps."""
    model = ending(layer("BatchNormalization"), relu_conv(5, padding="same"))()
    graph = convert(model)
    assert_same_function(model, graph)
    bias = graph.populations[1].bias.reshape(8, 8, 5)
    assert not np.allclose(bias[0, 0], bias[4, 4])


def test_names_synapses_neurons_and_steps():
    keras().backend.clear_session()
    model = chain(relu_conv(4, 1), layer("Flatten"), dense(3, activation="softmax"))()
    graph = convert(model, DeployOptions(synapse=0.01, dt=0.002))
    assert [node.name for node in graph.inputs] == ["input_a"]
    assert [(p.name, p.shape, p.neuron) for p in graph.populations] == [
        ("conv2d", (8, 8, 4), NeuronModel("if"))
    ]
    assert [(p.name, p.tau) for p in graph.projections] == [("input_a->conv2d", 0.0), ("conv2d->dense", 0.01)]
    assert [(r.name, r.activation) for r in graph.readouts] == [("dense", "softmax")]
    assert graph.dt == 0.002
    assert convert(graph) is graph


def test_a_network_that_ends_in_neurons_is_read_out_as_it_is():
    graph = convert(MODELS["spiking_output"]())
    name = graph.populations[-1].name
    assert graph.readouts[0].name == f"{name}.readout"
    (projection,) = graph.into(f"{name}.readout")
    assert projection.pre == name
    assert isinstance(projection.transform, Sparse)


def test_layers_called_twice_make_populations_of_their_own():
    graph = convert(MODELS["shared_and_nested"]())
    assert [p.name for p in graph.populations] == [
        "shared",
        "inner",
        "outer",
        "shared.1",
        "inner.1",
        "outer.1",
    ]
    assert graph.populations[0].bias.tolist() == graph.populations[3].bias.tolist()


def _image_model(first):
    """The same network with channels first or last; both have the same variables in the same order."""
    k = layers()
    options = {"data_format": "channels_first" if first else "channels_last"}
    axis = 1 if first else 3
    image = k.Input((3, 9, 8) if first else (9, 8, 3), name="image")
    x = k.ZeroPadding2D(1, **options)(conv(4, 1, **options, name="encoder")(image))
    x = k.Conv2D(5, 3, strides=2, padding="same", **options)(x)
    x = k.ReLU(name="normalized")(k.BatchNormalization(axis=axis)(x))
    y = k.DepthwiseConv2D(3, padding="same", activation="relu", **options, name="depthwise")(x)
    x = k.Cropping2D(((0, 1), (1, 0)), **options)(k.Concatenate(axis=axis)([x, y]))
    x = k.UpSampling2D(2, **options)(conv(4, 2, **options, name="joined")(x))
    x = k.AveragePooling2D(2, 1, **options)(x)
    pooled = k.GlobalAveragePooling2D(**options)(x)
    ends = [k.Dense(3, name="flat")(k.Flatten(**options)(x)), k.Dense(2, name="pooled")(pooled)]
    return keras_models.randomized(keras().Model(image, ends))


def test_channels_first_makes_the_graph_of_channels_last():
    first, last = convert(_image_model(True)), convert(_image_model(False))
    assert first.populations == last.populations
    assert first.projections == last.projections
    assert first.readouts == last.readouts
    images = np.random.default_rng(0).random((3, 9, 8, 3)).astype(np.float32)
    ours = keras_models.rates(first, [np.moveaxis(images, -1, 1)])
    for name, wanted in keras_models.rates(last, [images]).items():
        assert (ours[name] == wanted).all()
    assert_same_function(_image_model(False), last)


def refused(model, options=None):
    with pytest.raises(ConversionError) as caught:
        convert(model, options)
    assert all(problem.remedy for problem in caught.value.problems)
    return caught.value.problems


def test_everything_unsupported_is_named_in_one_error():
    problems = refused(
        chain(
            relu_conv(4, 1),
            layer("MaxPooling2D"),
            layer("LeakyReLU"),
            layer("Conv2D", 3, 3, activation="tanh"),
            layer("Reshape", (2, 6)),
            layer("LSTM", 5),
            dense(3, activation="sigmoid", name="last"),  # at the end it is the host's
        )()
    )
    kinds = ["MaxPooling2D", "LeakyReLU", "Conv2D", "LSTM"]
    assert [problem.where.split("(")[1].rstrip(")") for problem in problems] == kinds
    assert problems[2].value == "tanh"


@pytest.mark.parametrize(
    "make",
    [
        layer("MaxPooling2D"),
        layer("GlobalMaxPooling2D"),
        layer("LayerNormalization"),
        layer("ReLU", 6.0),
        layer("ReLU", negative_slope=0.1),
        layer("LeakyReLU"),
        layer("PReLU"),
        layer("ELU"),
        layer("Activation", "swish"),
        layer("Activation", "softplus"),
        layer("Lambda", lambda x: x * x),
        layer("Dense", 3, activation=lambda x: x),
        layer("ConvLSTM1D", 3, 3),
    ],
)
def test_one_refused_layer(make):
    made = make()
    end = [layer("Flatten")] if "Global" not in type(made).__name__ else []
    model = chain(relu_conv(4, 1), lambda: made, *end, dense(3))()
    (problem,) = refused(model)
    assert repr(made.name) in problem.where


@pytest.mark.parametrize("version", [2, 3])
def test_layers_of_the_users_own_are_followed(version):
    k = import_keras(version)

    class Doubled(k.layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    class Block(k.layers.Layer):
        """Layers within a layer, as models from elsewhere have."""

        def __init__(self, **options):
            super().__init__(**options)
            self.convolution = k.layers.Conv2D(4, 3, padding="same", name="inner")
            self.normalization = k.layers.BatchNormalization(name="scaled")

        def build(self, shape):
            self.convolution.build(shape)
            self.normalization.build((*shape[:-1], 4))
            super().build(shape)

        def call(self, x, training=None):
            relu = k.activations.relu
            return relu(x + self.normalization(relu(self.convolution(x)), training=training))

    made = k.layers
    image = made.Input((6, 5, 3))
    x = made.Lambda(lambda x: x / 2 - 0.1, output_shape=(6, 5, 3))(image)
    x = Block(name="block")(made.Conv2D(4, 1, activation="relu")(x))
    x = made.Flatten()(x[:, ::2])
    model = keras_models.randomized(k.Model(image, Doubled(3, name="double")(made.Dense(4, "relu")(x))))
    graph = convert(model)
    assert graph.digest == convert(model).digest
    assert [p.name for p in graph.populations][1:3] == ["block", "block.1"]
    assert_same_function(model, graph)
    assert check_conversion(model, graph, keras_models.samples(model))


def test_code_that_cannot_be_followed_is_refused_by_its_layer():
    for make, value in (
        (lambda: layers().Lambda(lambda x: x * x, name="own"), "math.multiply"),
        (lambda: layers().Lambda(lambda x: abs(x), name="own"), "math.abs"),
    ):
        (problem,) = refused(ending(relu_conv(2), make)())
        assert problem.where == "layer 'own' (Lambda)"
        assert problem.value in (None, value)


@pytest.mark.parametrize("join", ["Multiply", "Dot", "Maximum", "Minimum", "*"])
def test_products_and_extremes_of_activities(join):
    def build(x, y):
        a, b = layers().Dense(4, activation="relu")(x), layers().Dense(4, activation="relu")(y)
        if join == "*":
            return layers().Dense(3)(a * b)
        made = layers().Dot(axes=1) if join == "Dot" else getattr(layers(), join)()
        return layers().Dense(3)(made([a, b]))

    assert len(refused(keras_models.model(build, (5,), (5,)))) == 1


def test_nothing_may_follow_softmax():
    problems = refused(chain(dense(4, activation="relu"), layer("Softmax"), dense(3), shape=(5,))())
    assert problems[0].value == "softmax"


def test_networks_without_neurons_shape_or_structure():
    (problem,) = refused(chain(dense(3), shape=(4,))())
    assert "no spiking layer" in problem.what
    (problem,) = refused(chain(relu_conv(4), shape=(None, None, 3))())
    assert problem.value == (None, None, 3)
    refused(keras().Sequential([layers().Dense(3)]))

    class Subclassed(keras().Model):
        def call(self, x):
            return x

    refused(Subclassed())


def test_matrices_beyond_all_measure_are_refused(monkeypatch):
    monkeypatch.setattr(linear, "MOST_ENTRIES", 1000)
    (problem,) = refused(MODELS["linear_stack"]())
    assert "conv2d" in problem.where
    assert problem.limit == 1000


def test_diverged_weights_are_refused():
    model = MODELS["convolution"]()
    model.weights[2].assign(np.full(model.weights[2].shape, np.nan))
    with pytest.raises(InputError, match="not finite"):
        convert(model)


@pytest.mark.parametrize("source", [3, None, [1, 2]])
def test_other_sources_are_refused(source):
    with pytest.raises(InputError, match="not a network"):
        convert(source)


def test_keras_3_gives_the_same_graphs():
    """In a process of its own: tf.keras is either one or the other."""
    script = """
        import sys
        import keras
        import numpy as np
        import tests.frontends.keras_models as keras_models
        from loihi_deploy.frontends import check_conversion, convert

        keras_models.keras = lambda: keras
        for name in ("batch_normalization", "inception", "operators", "shared_and_nested", "conv3d", "reshape"):
            model = keras_models.MODELS[name]()
            graph = convert(model)
            arrays = keras_models.samples(model)
            activity = keras_models.rates(graph, arrays)
            for readout, wanted in zip(graph.readouts, keras_models.outputs(model, arrays)):
                assert np.abs(activity[readout.name] - wanted).max() < 1e-5, name
            inputs = dict(zip((node.name for node in graph.inputs), arrays))
            assert check_conversion(model, graph, inputs), name
        print("equal", keras.__version__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("equal 3."), done.stderr


class TestSequences:
    """Models of frames without synapses: the rate network over the frames is what the model computes."""

    X = np.random.default_rng(0).uniform(0, 1, (12, 7, 6)).astype("f4")

    def build(self, *head):
        keras().utils.set_random_seed(0)
        over, dense = layers().TimeDistributed, layers().Dense
        made = [over(dense(20, "relu"), name="first"), over(dense(15, "relu"), name="second"), *head]
        return keras().Sequential([layers().Input((7, 6), name="frames"), *made])

    def test_the_mean_over_time_is_that_of_the_model(self):
        model = self.build(layers().GlobalAveragePooling1D(), layers().Dense(3, name="out"))
        model.layers[-1].bias.assign(
            -model.predict(self.X, verbose=0).mean(axis=0)
        )  # every class is decided for
        expected = model.predict(self.X, verbose=0)
        deployment = ld.deploy(model, calibration=self.X)
        assert deployment.graph.readouts[0].over_frames == "mean"
        found = read_rates(deployment.source, samples_for(deployment.graph, self.X), 1.0)["out"]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        y = expected.argmax(axis=1)
        assert len(set(y)) > 1
        assert deployment.rate_accuracy(self.X, y) == 1
        # and it is read over all steps of all frames, not over the last half of them
        outputs = deployment.run(self.X, steps_per_frame=20).outputs
        halves = deployment.with_readout_window(0.5).run(self.X, steps_per_frame=20).outputs
        assert np.square(outputs - expected).mean() < np.square(halves - expected).mean() / 2

    def test_an_answer_for_every_frame_is_not_taken_for_one(self):
        model = self.build(layers().TimeDistributed(layers().Dense(3)))
        deployment = ld.deploy(model, calibration=self.X)
        assert deployment.graph.readouts[0].over_frames == "each"
        every = model.predict(self.X, verbose=0).argmax(axis=2)
        assert deployment.rate_accuracy(self.X, every) == 1
        assert deployment.predict(self.X, steps_per_frame=2).shape == (12, self.X.shape[1], 3)
        with pytest.raises(InputError, match="labels do not fit"):
            deployment.rate_accuracy(self.X, np.zeros(11, int))
        y = model.predict(self.X, verbose=0)[:, -1].argmax(axis=1)
        last = ld.deploy(model, calibration=self.X, options=DeployOptions(readout="last"))
        assert last.rate_accuracy(self.X, y) == 1

    def test_one_thing_is_a_mean_and_a_last_step(self):
        ks = pytest.importorskip("keras_spiking")
        frames = layers().Input((7, 6), name="frames")
        h = layers().TimeDistributed(layers().Dense(20, "relu"))(frames)
        mean = layers().GlobalAveragePooling1D()(h)
        last = ks.Lowpass(0.1, return_sequences=False)(h)
        model = keras().Model(frames, layers().Dense(3)(layers().Add()([mean, last])))
        with pytest.raises(
            LoihiDeployError, match="an average over time, a last step or every step together"
        ):
            convert(model)

    def test_memory_in_synapses_is_kept_from_frame_to_frame(self):
        ks = pytest.importorskip("keras_spiking")
        model = self.build(ks.Lowpass(0.1), layers().GlobalAveragePooling1D(), layers().Dense(3))
        deployment = ld.deploy(model, calibration=self.X, options=DeployOptions(steps_per_frame=1))
        y = model.predict(self.X, verbose=0).argmax(axis=1)
        assert deployment.rate_accuracy(self.X, y) == 1
        found = read_rates(deployment.source, samples_for(deployment.graph, self.X), 1.0, deployment.options)
        expected = model.predict(self.X, verbose=0)
        np.testing.assert_allclose(found[deployment.graph.readouts[0].name], expected, atol=1e-5)


class TestModelsOverTime:
    """Models with keras_spiking layers see one frame after the other; the graph has no time axis."""

    @pytest.fixture(autouse=True)
    def spiking(self):
        keras()
        self.ks = pytest.importorskip("keras_spiking")

    def build(self, *made, shape=(10, 6)):
        return keras().Sequential([layers().Input(shape, name="frames"), *made])

    def test_lowpass_layers_are_synapses(self):
        model = keras().Sequential(
            [
                layers().Input((None, 12), name="frames"),
                layers().Dense(5, name="first"),
                self.ks.SpikingActivation("relu", name="spikes"),
                self.ks.Lowpass(0.1),
                layers().TimeDistributed(layers().Dense(4, activation="relu"), name="second"),
                layers().GlobalAveragePooling1D(),
                layers().Dense(2, name="out"),
            ]
        )
        graph = convert(model, DeployOptions(synapse=0.005))
        assert graph.inputs[0].shape == (12,)
        taus = {projection.name: round(projection.tau, 6) for projection in graph.projections}
        assert taus == {"frames->spikes": 0.0, "spikes->second": 0.1, "second->out": 0.005}
        frames = np.repeat(np.random.default_rng(0).random((3, 1, 12)), 1, axis=1)
        assert check_conversion(model, graph, frames)

    def test_frames_are_images_in_time_distributed_layers(self):
        k = layers()
        model = keras().Sequential(
            [
                k.Input((10, 8, 8, 2), name="frames"),
                k.TimeDistributed(conv(3), name="conv"),
                k.TimeDistributed(k.AveragePooling2D()),
                k.TimeDistributed(k.Flatten()),
                self.ks.SpikingActivation("relu", name="spikes"),
                self.ks.Lowpass(0.1, return_sequences=False),
                k.Dense(2),
            ]
        )
        graph = convert(model)
        assert [(p.name, p.shape) for p in graph.populations] == [("conv", (6, 6, 3)), ("spikes", (3, 3, 3))]
        assert check_conversion(model, graph, np.random.default_rng(0).random((3, 8, 8, 2)))

    def test_layers_that_mix_steps_are_refused(self):
        problems = refused(
            self.build(
                self.ks.SpikingActivation("relu"),
                self.ks.Lowpass(0.1),
                self.ks.Lowpass(0.1, name="again"),
                layers().GlobalMaxPooling1D(name="largest"),
            )
        )
        assert ["again" in problems[0].where, "largest" in problems[1].where] == [True, True]

    def test_neurons_behind_an_average_over_time_are_refused(self):
        (problem,) = refused(
            self.build(
                self.ks.SpikingActivation("relu"),
                layers().GlobalAveragePooling1D(),
                layers().Dense(3, activation="relu"),
            )
        )
        assert "average over time" in problem.what


def test_sources_keep_their_graph():
    graph = convert(MODELS["convolution"]())
    assert isinstance(graph, Graph)
    assert convert(graph, DeployOptions(synapse=0.5)) is graph


SHADES = np.random.default_rng(0).random((20, 8, 8, 3))


def adapted(values):
    """A layer `Normalization` that was fitted on values."""
    made = layers().Normalization(axis=None)
    made.adapt(values)
    return made


@pytest.mark.parametrize(
    ("first", "wanted"),
    [
        (lambda k: [k.Rescaling(1 / 255)], 1 / 255),
        (lambda k: [k.Resizing(6, 6), k.RandomFlip(), k.Rescaling(1 / 127.5, offset=-1)], 1 / 127.5),
        (lambda k: [keras().Sequential([k.Input((8, 8, 3)), k.Rescaling(1 / 255)]), k.Rescaling(3.0)], 1 / 255),
        (lambda k: [k.Rescaling([0.5, 1 / 50, 1 / 60])], 1 / 50),
        (lambda k: [adapted(255 * SHADES)], 1 / (255 * SHADES.std())),
        (lambda k: [adapted(SHADES)], 1 / SHADES.std()),
        (lambda k: [k.Normalization(mean=3.0, variance=16.0, invert=True)], 4),
        (lambda k: [k.Conv2D(3, 1, activation="relu"), k.Rescaling(1 / 255)], 1),
        (lambda k: [k.Flatten()], 1),
    ],
)  # fmt: skip
def test_what_a_model_multiplies_its_input_by(first, wanted):
    k = layers()
    made = keras().Sequential([k.Input((8, 8, 3)), *first(k), k.Flatten(), k.Dense(4, activation="relu")])
    assert rescaling(made) == pytest.approx(wanted, rel=1e-5)
    frames = keras().Sequential([k.Input((None, 8, 8, 3)), k.TimeDistributed(k.Rescaling(1 / 255))])
    assert rescaling(frames) == pytest.approx(1 / 255)


def test_a_factor_of_one_of_several_inputs_is_none_of_the_model():
    k = layers()
    one, other = k.Input((4,)), k.Input((4,))
    made = keras().Model([one, other], k.Dense(3)(k.Concatenate()([k.Rescaling(1 / 255)(one), other])))
    assert rescaling(made) == 1
    assert rescaling(Graph((Input("x", (4,)),), (), ())) == 1

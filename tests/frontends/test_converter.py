from dataclasses import fields

import nengo
import numpy as np
import pytest

from loihi_deploy.errors import ConversionError
from loihi_deploy.frontends import check_conversion, convert, import_nengo_dl, import_tensorflow
from loihi_deploy.ir import NeuronModel
from loihi_deploy.ir.content import Content
from loihi_deploy.options import DeployOptions
from loihi_deploy.pipeline import deploy
from tests.frontends import keras_models
from tests.frontends.keras_models import MODELS, chain, dense, ending, layer, layers, relu_conv

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*Falling back to TensorNode", "ignore:.*falling back to a TensorNode"
    ),
    pytest.mark.filterwarnings("ignore:swap_activations contained", "ignore:No GPU support detected"),
]
SYNAPSE = 0.005
# constructs that the Converter itself cannot convert
NOT_THE_CONVERTERS = {
    "conv1d",
    "shapes1d",
    "dense_on_images",
    "operators",
    "reshape",
    "shared_and_nested",
    "squeezed",
    "augmentation",
    "host_in_front",
    "interpolated",
    "maxima_in_front",
    "maxima_in_three_dimensions",
    "normalized_input",
    "other_ends",
    "synchronized_normalization",
    "tensor_functions",
    "three_dimensions",
    "training_only",
    "transposed_1d",
    "turned",
}
# the Converter folds batch normalization in float32
ROUNDED = {"batch_normalization", "normalization_after_relu", "residual"}


def converter(model, neuron=None, **options):
    tf = import_tensorflow()
    neuron = neuron or nengo.SpikingRectifiedLinear()
    options = {
        "inference_only": True,
        "synapse": SYNAPSE,
        "swap_activations": {tf.nn.relu: neuron, tf.keras.activations.relu: neuron},
        **options,
    }
    return import_nengo_dl().Converter(model, **options)


def assert_close(ours, theirs, where=""):
    """Equal but for the rounding of float32 parameters."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, Content):
        for field in fields(ours):
            if field.metadata.get("compare", True):
                name = f"{where}.{field.name}"
                assert_close(getattr(ours, field.name), getattr(theirs, field.name), name)
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs), where
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_close(*pair, f"{where}[{index}]")
    elif isinstance(ours, np.ndarray):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=where)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("name", sorted(set(MODELS) - NOT_THE_CONVERTERS))
def test_converter_gives_the_graph_of_the_keras_model(name):
    model = MODELS[name]()
    graph, ours = convert(model, DeployOptions(synapse=SYNAPSE)), convert(converter(model))
    if name in ROUNDED:
        assert_close(graph, ours)
    else:
        assert graph == ours


@pytest.mark.parametrize("scale", [2.0**7, 100.0])
def test_firing_rates_are_scaled_as_the_converter_does(scale):
    model = MODELS["strided"]()
    plain = convert(model, DeployOptions(synapse=SYNAPSE))
    scaled = convert(converter(model, scale_firing_rates=scale))
    for before, after in zip(plain.populations, scaled.populations, strict=True):
        assert after.gain == scale
        assert after.amplitude == 1 / scale
        np.testing.assert_allclose(after.bias, before.bias * scale, rtol=1e-6)
    if scale == 2.0**7:
        assert scaled.populations == tuple(population.rescaled(scale) for population in plain.populations)
    assert scaled.projections == plain.projections
    arrays = keras_models.samples(model)
    (wanted,) = keras_models.outputs(model, arrays)
    assert np.abs(keras_models.rates(scaled, arrays)[scaled.readouts[0].name] - wanted).max() < 1e-4


def test_a_scale_for_one_layer():
    model = MODELS["strided"]()
    graph = convert(converter(model, scale_firing_rates={model.layers[2]: 50}))
    assert [float(population.gain) for population in graph.populations] == [1, 50, 1]


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        (nengo.SpikingRectifiedLinear(), NeuronModel("if")),
        (nengo.LIF(tau_rc=0.03, tau_ref=0.001), NeuronModel("lif", 0.03, 0.001)),
        (nengo.RegularSpiking(nengo.RectifiedLinear()), NeuronModel("if")),
        (nengo.RegularSpiking(nengo.LIFRate()), NeuronModel("lif", 0.02, 0.002)),
    ],
)
def test_swapped_neurons(neuron, expected):
    graph = convert(converter(MODELS["convolution"](), neuron))
    assert {population.neuron for population in graph.populations} == {expected}
    assert graph.notes == ()


@pytest.mark.filterwarnings("ignore:This version of `nengo_loihi` has not been tested")
@pytest.mark.parametrize("kind", ["if", "lif"])
def test_loihi_neurons(kind):
    neurons = pytest.importorskip("nengo_loihi.neurons")
    neuron = neurons.LoihiSpikingRectifiedLinear() if kind == "if" else neurons.LoihiLIF(amplitude=0.5)
    graph = convert(converter(MODELS["convolution"](), neuron))
    assert {(p.neuron.kind, p.neuron.discretized, p.amplitude) for p in graph.populations} == {
        (kind, True, 1.0 if kind == "if" else 0.5)
    }


def test_rate_neurons_are_taken_as_spiking_and_counted():
    model = MODELS["convolution"]()
    graph = convert(converter(model, swap_activations={}))
    assert graph.notes == ("2 populations of rate neurons were taken as spiking ones",)
    assert graph.populations == convert(model).populations


def test_layers_left_to_tensorflow_get_the_neurons_of_the_others():
    model = MODELS["depthwise"]()
    graph = convert(converter(model, nengo.LIF(), scale_firing_rates=8.0))
    assert [p.neuron.kind for p in graph.populations] == ["lif", "lif"]
    assert [(float(p.gain), p.amplitude) for p in graph.populations] == [(8.0, 1 / 8)] * 2
    assert any("without a synapse" in note for note in graph.notes)


def test_softmax_at_the_end():
    graph = convert(converter(chain(relu_conv(4, 1), layer("Flatten"), dense(3, activation="softmax"))()))
    assert graph.readouts[0].activation == "softmax"
    graph = convert(converter(chain(relu_conv(4, 1), layer("Flatten"), dense(3), layer("Softmax"))()))
    assert graph.readouts[0].activation == "softmax"


def test_dropout_and_noise_are_left_out():
    model = MODELS["noise"]()
    assert convert(model, DeployOptions(synapse=SYNAPSE)).projections == convert(converter(model)).projections


def test_channels_first():
    k = layers()
    image = k.Input((2, 6, 5), name="image")
    options = {"data_format": "channels_first"}
    x = k.Conv2D(4, 1, activation="relu", **options)(image)
    x = k.Conv2D(3, 3, strides=2, activation="relu", padding="same", **options)(x)
    model = keras_models.randomized(keras_models.keras().Model(image, k.Dense(3)(k.Flatten(**options)(x))))
    # NengoDL's Flatten leaves channels first, Keras' own puts them last: a function of the same weights, not the same
    ours, theirs = convert(converter(model)), convert(model, DeployOptions(synapse=SYNAPSE))
    assert ours.inputs == theirs.inputs
    assert ours.populations == theirs.populations
    assert ours.projections[:2] == theirs.projections[:2]
    images = np.random.default_rng(0).random((3, 2, 6, 5))
    assert check_conversion(converter(model), ours, images)


def test_parameters_trained_in_nengo_dl_are_the_ones_converted():
    nengo_dl, tf = import_nengo_dl(), import_tensorflow()
    model = ending(relu_conv(5, 2), shape=(5, 5, 1))()
    made = converter(model, scale_firing_rates=10.0, inference_only=False, synapse=None)
    x = np.random.default_rng(0).random((8, 1, 25)).astype(np.float32)
    y = np.random.default_rng(1).random((8, 1, 3)).astype(np.float32)
    before = convert(made)
    with nengo_dl.Simulator(made.net, minibatch_size=8, progress_bar=False) as sim:
        sim.compile(tf.optimizers.SGD(0.01), loss="mse")
        sim.fit(dict.fromkeys(made.inputs.values(), x), dict.fromkeys(made.outputs.values(), y), verbose=0)
        sim.freeze_params(made.net)
    after = convert(made)
    assert after != before
    assert check_conversion(made, after, x[:, 0])
    with pytest.raises(ConversionError, match="activities differ"):
        check_conversion(made, before, x[:, 0])


def test_other_tensorflow_code_is_refused():
    model = chain(relu_conv(4, 1), layer("MaxPooling2D"), layer("Conv2D", 3, 2, activation="tanh"))()
    with pytest.raises(ConversionError) as caught:
        convert(converter(model))
    assert len(caught.value.problems) == 2
    assert "maximum" in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)


def test_max_pooling_may_become_average_pooling():
    model = chain(relu_conv(4, 1), layer("MaxPooling2D"), relu_conv(3), layer("Flatten"), dense(3))()
    pooled = chain(relu_conv(4, 1), layer("AveragePooling2D"), relu_conv(3), layer("Flatten"), dense(3))()
    ours, theirs = convert(converter(model, max_to_avg_pool=True)), convert(pooled)
    for one, other in zip(ours.projections, theirs.projections, strict=True):
        assert one.transform == other.transform


def test_keras_spiking_layers():
    ks = pytest.importorskip("keras_spiking")
    k = layers()
    frames = k.Input((None, 12), name="frames")
    x = ks.SpikingActivation("relu", name="spikes", spiking_aware_training=False)(
        k.Dense(5, name="first")(frames)
    )
    x = k.Dense(2, name="out")(ks.Lowpass(0.1, trainable=False)(x))
    model = keras_models.keras().Model(frames, x)
    graph = convert(model, DeployOptions(synapse=SYNAPSE))
    made = converter(model, temporal_model=True, synapse=None)
    assert graph.readouts[0].over_frames == "each"
    assert convert(made) == graph


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
def test_a_converters_own_firing_rates_are_kept_unless_others_are_asked_for():
    model = MODELS["strided"]()
    source = converter(model, scale_firing_rates=150.0)
    x = np.random.default_rng(0).uniform(0, 1, (20, *model.input_shape[1:]))
    kept = deploy(source, calibration=x)
    for ours, theirs in zip(kept.graph.populations, convert(source).populations, strict=True):
        assert (ours.amplitude, ours.gain) == (theirs.amplitude, theirs.gain)
    asked = deploy(source, calibration=x, options=DeployOptions(normalization="percentile"))
    assert asked.graph.populations != kept.graph.populations
    unscaled = deploy(converter(model), calibration=x)  # it has none of its own
    amplitudes = [[p.amplitude for p in deployment.graph.populations] for deployment in (asked, unscaled)]
    np.testing.assert_allclose(*amplitudes, rtol=1e-5)

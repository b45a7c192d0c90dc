"""The chip's neurons in NengoDL: trained there, deployed with the rates that they were trained for."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("nengo")

import nengo

import loihi_deploy as ld
from loihi_deploy.frontends.compat import import_nengo_dl
from loihi_deploy.training import RateRange
from tests.training.small import SHAPE, task

pytestmark = pytest.mark.filterwarnings("ignore:No GPU support detected")
X, Y = task(400)
HELD_OUT = task(200, seed=1)


def keras_model(tf):
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(0)
    first = layers.Input(SHAPE, name="image")
    x = layers.Conv2D(6, 3, strides=2, activation="relu", name="conv")(first)
    return tf.keras.Model(first, layers.Dense(3, name="classes")(layers.Flatten()(x)))


@pytest.mark.parametrize("kind", ["if", "lif"])
def test_a_network_trained_with_the_chip_s_neurons(kind):
    nengo_dl = import_nengo_dl()
    nengo_loihi = pytest.importorskip("nengo_loihi")
    tf = ld.frontends.import_tensorflow()
    neuron = nengo_loihi.LoihiLIF() if kind == "lif" else nengo_loihi.LoihiSpikingRectifiedLinear()
    if kind == "lif":
        from nengo_extras.loihi_training import AlphaRCNoise

        neuron = nengo_loihi.LoihiLIF(nengo_dl_noise=AlphaRCNoise(tau_s=0.001))
    model = keras_model(tf)
    converter = nengo_dl.Converter(
        model, swap_activations={tf.keras.activations.relu: neuron}, scale_firing_rates=100
    )
    with converter.net:
        probe = nengo.Probe(converter.layers[model.get_layer("conv")])
    # what a spike stands for there is 1 / 100, so an activity of 1 is 100 Hz
    fast = RateRange(150.0, 300.0, weight=1.0, hertz=100.0)
    with nengo_dl.Simulator(converter.net, minibatch_size=50, progress_bar=False, seed=0) as sim:
        inputs, outputs = converter.inputs[model.input], converter.outputs[model.output]
        losses = {
            outputs: tf.losses.SparseCategoricalCrossentropy(from_logits=True),
            probe: lambda y_true, y_pred: fast(y_pred) / 50,
        }
        sim.compile(optimizer=tf.optimizers.Adam(1e-2), loss=losses)
        targets = {outputs: Y.reshape(-1, 1, 1), probe: np.zeros((len(Y), 1, 54), np.float32)}
        sim.fit({inputs: X.reshape(len(X), 1, -1)}, targets, epochs=25, verbose=0)
        shown = np.repeat(HELD_OUT[0].reshape(200, 1, -1), 60, axis=1)
        found = sim.predict({inputs: shown})
        sim.freeze_params(converter.net)
    rates = 100 * found[probe][:, 10:].mean(axis=1)
    assert 100 < np.percentile(rates[rates > 0], 99.9) < 400
    decided = found[outputs][:, 30:].mean(axis=1).argmax(axis=1)
    assert (decided == HELD_OUT[1]).mean() > 0.6
    deployment = ld.deploy(converter.net, "loihi", X[:100], ld.DeployOptions(encoder="on_off", synapse=0.001))
    assert deployment.evaluate(*HELD_OUT, steps=100).accuracy > (decided == HELD_OUT[1]).mean() - 0.05
    (population,) = deployment.graph.populations
    assert population.neuron.kind == kind
    assert population.neuron.discretized
    if kind == "if":
        assert float(population.gain) == 100.0  # as trained: no rates are set anew

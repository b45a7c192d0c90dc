"""Sequences beside NengoDL: the rate network over time equals it, spikes are as near to the floats as its spikes."""

import nengo
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.frames import rates_by_frame
from loihi_deploy.frontends import convert, import_nengo_dl, import_tensorflow
from loihi_deploy.ir import samples_for

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:nengo_dl"
)  # of a missing GPU, of sequential models


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_synapses_as_memory_and_recurrence_say_what_nengo_dl_predicts():
    nengo_dl, rng = import_nengo_dl(), np.random.default_rng(0)
    with nengo.Network(seed=0) as network:
        network.config[nengo.Connection].synapse = None
        nengo_dl.configure_settings(stateful=False)
        values = nengo.Node(np.zeros(3), label="values")
        first, second = (
            nengo.Ensemble(
                n,
                1,
                neuron_type=nengo.SpikingRectifiedLinear(amplitude=0.01),
                gain=np.full(n, 40.0),
                bias=rng.uniform(0, 10, n),
                label=label,
            )
            for n, label in ((8, "first"), (6, "second"))
        )
        answer = nengo.Node(size_in=2, label="answer")
        nengo.Connection(values, first.neurons, transform=rng.normal(0, 1, (8, 3)))
        for pre, post, scale, tau in (
            (first.neurons, second.neurons, 0.6, 0.02),
            (second.neurons, second.neurons, 0.2, 0.01),
            (second.neurons, answer, 1.0, 0.005),
        ):
            weights = rng.normal(0, scale, (post.size_in, pre.size_out))
            nengo.Connection(pre, post, transform=weights, synapse=tau)
        probe = nengo.Probe(answer)
    options = ld.DeployOptions(steps_per_frame=1)
    graph = convert(network, options)
    for ensemble in network.all_ensembles:
        ensemble.neuron_type = nengo.RectifiedLinear(amplitude=0.01)
    x = rng.uniform(-1, 1, (4, 25, 3)).astype(np.float32)
    with nengo_dl.Simulator(network, minibatch_size=4, progress_bar=False) as simulator:
        predicted = simulator.predict({values: x}, verbose=0)[probe]
    ((_, found),) = rates_by_frame(graph, samples_for(graph, x), options, 1)
    assert np.abs(predicted).max() > 0.1
    np.testing.assert_allclose(found[graph.readouts[0].name], predicted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "kernel", "n_frames", "hold"),
    [((12, 1, 1), (3, 1), 28, 1), ((8, 8, 1), (3, 3), 30, 20)],
    ids=["columns, one in each step", "a video, each frame for 20 steps"],
)
def test_frames_that_are_shown_one_after_the_other(shape, kernel, n_frames, hold):
    nengo_dl, keras = import_nengo_dl(), import_tensorflow().keras
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = layers.Input(shape)
    hidden = [layers.Conv2D(8, kernel, activation="relu", use_bias=False)(image)]
    hidden.append(layers.Dense(32, activation="relu", use_bias=False)(layers.Flatten()(hidden[0])))
    model = keras.Model(image, layers.Dense(4)(hidden[1]))
    rng, n = np.random.default_rng(0), 3
    knots, time = rng.uniform(0, 1, (n, 6, *shape)), np.linspace(0, 5, n_frames)
    at = np.minimum(time.astype(int), 4)
    part = (time - at)[:, None, None, None]
    x = (knots[:, at] * (1 - part) + knots[:, at + 1] * part).astype(np.float32)  # moves slowly
    deployment = ld.deploy(model, calibration=x, options=ld.DeployOptions(steps_per_frame=hold))
    ours = deployment.run(x, by_frame=True)
    theirs = deployment.run(x, by_frame=True, backend="nengo_loihi")
    (name,) = ours.by_frame
    assert np.array_equal(ours.by_frame[name], theirs.by_frame[name])
    assert np.array_equal(ours.outputs, theirs.outputs)

    frames = x.reshape(-1, *shape)
    *activities, floats = keras.Model(image, [*hidden, model.output]).predict(frames, verbose=0)
    scale = deployment.options.target_rate / max(np.percentile(values, 99.9) for values in activities)
    swaps = {keras.activations.relu: nengo.SpikingRectifiedLinear()}
    synapse = deployment.options.synapse
    made = nengo_dl.Converter(model, swap_activations=swaps, scale_firing_rates=float(scale), synapse=synapse)
    shown = np.repeat(x.reshape(n, n_frames, -1), hold, axis=1)
    with nengo_dl.Simulator(made.net, minibatch_size=n, progress_bar=False) as simulator:
        spiking = simulator.predict({made.inputs[model.input]: shown}, verbose=0)[made.outputs[model.output]]
    last = round(deployment.options.readout_window * n_frames * hold)
    of_spikes = spiking[:, -last:].mean(axis=1)
    exact = np.repeat(floats.reshape(n, n_frames, 4), hold, axis=1)[:, -last:].mean(axis=1)
    noise = rms(of_spikes - exact)
    assert 0 < noise < 0.5 * rms(exact)
    assert rms(ours.outputs - exact) < 2 * noise
    assert rms(ours.outputs - of_spikes) < 2 * noise

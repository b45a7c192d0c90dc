"""The chip's neurons as a Keras layer: curves, derivatives, and what they become."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends import convert
from loihi_deploy.frontends.chip_activations import CURVES, chip_activation_class
from loihi_deploy.frontends.compat import import_keras

X = np.random.default_rng(0).uniform(0, 1, (60, 6)).astype(np.float32)


def layer(curve, version=2, **how):
    return chip_activation_class(import_keras(version))(curve=curve, **how)


def values(curve, j, training=False, version=2, **how):
    return np.asarray(layer(curve, version, **how)(np.asarray(j, np.float32), training=training))


def slopes(curve, j, **how):
    import tensorflow as tf

    j = tf.constant(j, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(j)
        y = layer(curve, **how)(j, training=True)
    return tape.gradient(y, j).numpy()


@pytest.mark.parametrize("version", [2, 3])
def test_rates_in_training_are_those_of_nengo_loihi(version):
    nengo_loihi = pytest.importorskip("nengo_loihi")
    j = np.setdiff1d(np.linspace(-0.2, 3, 400).astype(np.float32), [1.0])
    relu = nengo_loihi.LoihiSpikingRectifiedLinear().rates(j, 1000.0, 0.0)[:, 0] / 1000
    steps = 1 / np.maximum(j, 1e-9)
    apart = np.abs(steps - np.round(steps)) > 1e-4  # single precision decides otherwise at whole numbers
    np.testing.assert_allclose(values("loihi_if", j, True, version)[apart], relu[apart], rtol=1e-6)
    lif = nengo_loihi.LoihiLIF().rates(j, 1.0, 0.0)[:, 0] / 1000
    found = values("loihi_lif", j, True, version)
    assert (np.abs(found - lif) < 1e-6).mean() > 0.99  # as above


def test_the_mean_rate_is_that_of_a_reset_neuron_with_fluctuating_input():
    rng = np.random.default_rng(0)
    for j in (0.1, 0.3, 0.5):
        v, spikes = rng.uniform(0, 1, 2000), 0
        for drive in rng.poisson(10 * j, (300, 2000)) / 10:
            v += drive
            spikes += (v >= 1).sum()
            v[v >= 1] = 0
        assert values("mean", [j])[0] == pytest.approx(spikes / 600_000, rel=0.06)


def test_levels():
    found = values("mean", np.linspace(0, 4, 1000), True, levels=10)
    np.testing.assert_allclose(np.unique(found), np.arange(11) / 10, rtol=1e-6)
    np.testing.assert_array_equal(values("mean", [0.3], levels=10), values("mean", [0.3]))


@pytest.mark.parametrize("curve", CURVES)
def test_derivatives_are_finite_and_those_of_a_smooth_curve(curve):
    j = np.linspace(-1, 3, 2001).astype(np.float32)
    found = slopes(curve, j, levels=8)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 20
    inside = (j > 1.1) & (j < 1.9)
    steps = np.gradient(values(curve, j).astype(np.float64), j)[inside]
    assert found[inside].sum() == pytest.approx(steps.sum(), rel=1.0)
    assert (found[inside] > 0).all()


def test_the_steepest_derivative_of_a_leaky_neuron():
    j = np.linspace(0.9, 3, 500)
    assert slopes("lif", j, steepest=0.1).max() == pytest.approx(0.1)
    assert slopes("lif", j, steepest=0.5).max() <= 0.5
    far = slopes("lif", [2.5], steepest=1.0)
    wanted = (values("lif", [2.51]) - values("lif", [2.49])) / 0.02
    np.testing.assert_allclose(far, wanted, rtol=1e-2)


def test_noise_is_for_active_neurons_in_training():
    j = np.full(20_000, 0.5)
    noisy = values("mean", j, True, noise=0.05)
    assert noisy.std() == pytest.approx(0.05, rel=0.05)
    assert noisy.mean() == pytest.approx(values("mean", [0.5])[0], rel=0.01)
    assert np.ptp(values("mean", j, noise=0.05)) == 0
    assert (values("mean", -j, True, noise=0.05) == 0).all()


def model(curve, version, inside):
    k = import_keras(version)
    k.utils.set_random_seed(1)
    scale = 2.0 if "lif" in curve else 0.5
    neurons = [layer(curve, version, scale=scale, name=f"neurons{i}") for i in (1, 2)]
    parts = [k.layers.Input((6,), name="x")]
    for i in (0, 1):
        dense = {"bias_initializer": k.initializers.Constant(0.8 if "lif" in curve else 0.4)}
        if inside:
            parts.append(k.layers.Dense(12, activation=neurons[i], name=f"neurons{i + 1}", **dense))
        else:
            parts += [k.layers.Dense(12, **dense), neurons[i]]
    return k.Sequential([*parts, k.layers.Dense(3, name="y")])


@pytest.mark.parametrize(
    ("curve", "inside", "version"),
    [
        *(("mean", inside, version) for inside in (False, True) for version in (2, 3)),
        ("loihi_if", False, 3),
        ("loihi_lif", False, 2),
        ("soft_lif", True, 3),
        ("lif", False, 2),
    ],
)
def test_what_is_deployed_has_the_rates_of_the_model(curve, inside, version, tmp_path):
    made = model(curve, version, inside=inside)
    deployment = ld.deploy(made, "loihi", X, ld.DeployOptions(encoder="on_off"))  # compares layer by layer
    assert [p.name for p in deployment.program.populations] == ["neurons1", "neurons2"]
    kinds = {p.neuron.kind for p in deployment.graph.populations}
    assert kinds == {"lif" if "lif" in curve else "if"}
    gains = {float(p.gain) for p in deployment.graph.populations}
    assert gains == {2.0 if "lif" in curve else 500.0}  # nobody scaled them
    outputs = deployment.run(X, 300).outputs
    wanted = np.asarray(made(X))
    assert np.corrcoef(outputs.ravel(), wanted.ravel())[0, 1] > 0.95
    made.save(tmp_path / "net.keras")
    again = ld.deploy(tmp_path / "net.keras", "loihi", X, ld.DeployOptions(encoder="on_off"))
    assert again.program == deployment.program


@pytest.mark.follows("Use DeployOptions(dt=…)")
def test_other_steps_than_those_trained_for():
    made = model("mean", 2, False)
    with pytest.raises(ConversionError, match="another length") as caught:
        convert(made, ld.DeployOptions(dt=0.002))
    assert "dt=0.001" in caught.value.problems[0].remedy
    convert(made, ld.DeployOptions(dt=0.001))


def test_settings_out_of_range():
    with pytest.raises(InputError) as caught:
        layer("steep", scale=0, noise=-1)
    assert [problem.where for problem in caught.value.problems] == ["curve", "scale", "noise"]

"""The chip's neurons as a Keras layer: curves, derivatives, and what they become."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, InputError, Problem
from loihi_deploy.frontends import convert
from loihi_deploy.frontends.chip_activations import CURVES, chip_activation_class, chip_activations
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


# every setting another one than the default, and none like another
SETTINGS = {
    "scale": 1.5,
    "levels": 7,
    "tau_rc": 0.03,
    "tau_ref": 0.0041,
    "dt": 0.002,
    "sigma": 0.05,
    "steepest": 0.3,
}
DRIVES = np.linspace(-0.3, 2.5, 137)


def lif_rate(over, tau_rc=0.03, tau_ref=0.0041, lost=0.0):
    """Spikes per step of 2 ms of LIF neurons with inputs over the threshold."""
    driven = np.maximum(over, 1e-6)
    return np.where(over > 1e-6, 0.002 / (tau_ref + tau_rc * np.log1p(1 / driven) + lost * 0.002), 0)


def soft(j):
    return 0.05 * np.log1p(np.exp((j - 1) / 0.05))


DECAY = np.round(-np.expm1(-0.002 / 0.03) * 4095) / 4095
ROUNDED = {"tau_rc": -0.002 / np.log1p(-DECAY), "tau_ref": 0.004}
MEAN = {
    "mean": lambda j: np.minimum(np.maximum(j, 0) / (1 + np.maximum(j, 0) / 2), 1),
    "loihi_if": lambda j: np.maximum(j, 0),
    "loihi_lif": lambda j: lif_rate(j - 1),
    "soft_lif": lambda j: lif_rate(j - 1),
    "lif": lambda j: lif_rate(j - 1),
}
TRAINED = {
    "mean": lambda j: np.floor(MEAN["mean"](j) * 7 + 0.5) / 7,
    "loihi_if": lambda j: np.where(j > 0, 1 / np.ceil(1 / np.maximum(j, 1e-6)), 0),
    "loihi_lif": lambda j: np.where(
        lif_rate(j - 1, **ROUNDED) > 0, 1 / np.ceil(1 / np.maximum(lif_rate(j - 1, **ROUNDED), 1e-6)), 0
    ),
    "soft_lif": lambda j: lif_rate(soft(j)),
    "lif": lambda j: lif_rate(j - 1),
}
SMOOTH = {
    "mean": MEAN["mean"],
    "loihi_if": lambda j: np.maximum(j, 0) / (1 + np.maximum(j, 0) / 2),
    "loihi_lif": lambda j: lif_rate(soft(j), **ROUNDED, lost=0.5),
    "soft_lif": lambda j: lif_rate(soft(j)),
    "lif": lambda j: lif_rate(j - 1),
}


@pytest.mark.parametrize("curve", CURVES)
def test_curves_and_derivatives_are_those_that_are_described(curve):
    j = 1.5 * DRIVES
    np.testing.assert_allclose(values(curve, DRIVES, **SETTINGS), MEAN[curve](j) / 1.5, rtol=1e-5, atol=1e-7)
    found = values(curve, DRIVES, True, **SETTINGS)
    np.testing.assert_allclose(found, TRAINED[curve](j) / 1.5, rtol=1e-4, atol=1e-6)
    slope = (SMOOTH[curve](j + 1e-5) - SMOOTH[curve](j - 1e-5)) / 2e-5
    if curve == "lif":
        slope = np.minimum(slope, 0.3)
    edges = np.abs(np.array([0, 1, 2]) - j[:, None]).min(1) < 0.02
    np.testing.assert_allclose(slopes(curve, DRIVES, **SETTINGS)[~edges], slope[~edges], rtol=2e-3, atol=1e-5)


def test_rates_without_levels_are_those_of_the_curve():
    found = values("mean", DRIVES, True, **{**SETTINGS, "levels": 0})
    np.testing.assert_allclose(found, MEAN["mean"](1.5 * DRIVES) / 1.5, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("curve", "kind", "discretized", "step", "gain", "amplitude"),
    [
        ("mean", "if", True, 0.002, 750, 0.002 / 1.5),
        ("loihi_if", "if", True, 0, 750, 0.002 / 1.5),
        ("loihi_lif", "lif", True, 0, 1.5, 0.002 / 1.5),
        ("soft_lif", "lif", False, 0, 1.5, 0.002 / 1.5),
        ("lif", "lif", False, 0, 1.5, 0.002 / 1.5),
    ],
)
def test_neurons_on_chip(curve, kind, discretized, step, gain, amplitude):
    neuron, found_gain, found_amplitude = layer(curve, **SETTINGS).chip_neuron()
    assert (neuron.kind, neuron.discretized, neuron.step) == (kind, discretized, step)
    assert (found_gain, found_amplitude) == (pytest.approx(gain), pytest.approx(amplitude))
    if kind == "lif":
        assert (neuron.tau_rc, neuron.tau_ref) == (0.03, 0.0041)


def test_settings_that_nobody_gave():
    made = layer("mean", noise=0.5, name="n")
    usual = {
        "scale": 1.0,
        "levels": 0,
        "tau_rc": 0.02,
        "tau_ref": 0.002,
        "dt": 0.001,
        "sigma": 0.02,
        "steepest": 1.0,
    }
    assert made.settings == {"curve": "mean", **usual, "noise": 0.5}
    assert {name: made.get_config()[name] for name in ("name", *made.settings)} == {
        "name": "n",
        **made.settings,
    }
    assert type(made)().settings == {"curve": "mean", **usual, "noise": 0.0}
    assert made.compute_output_shape((None, 3)) == (None, 3)


@pytest.mark.parametrize("name", ["scale", "tau_rc", "dt", "sigma", "steepest", "levels", "noise", "tau_ref"])
def test_limits_of_settings(name):
    zero = name in ("levels", "noise", "tau_ref")
    assert layer("mean", **{name: 1e-9 if not zero else 0}).settings[name] >= 0
    for value in (-1, *(() if zero else (0,)), *(() if name == "levels" else (np.inf, np.nan))):
        with pytest.raises(InputError) as caught:
            layer("mean", **{name: value})
        (problem,) = caught.value.problems
        assert (problem.what, problem.where) == ("out of range", name)
        assert problem.limit == ("0 or more" if zero else "above 0")
    with pytest.raises(InputError) as caught:
        layer("steep")
    wanted = Problem("unknown curve", "curve", "steep", "mean or loihi_if or loihi_lif or soft_lif or lif")
    assert caught.value.problems == (wanted,)


def test_the_chips_neurons_in_a_model():
    k = import_keras(2)
    one, other = layer("mean", name="one"), layer("lif", name="other")
    inner = k.Sequential([k.layers.Input((4,)), k.layers.Dense(4, activation=other)])
    made = k.Sequential([k.layers.Input((6,)), k.layers.Dense(4, activation="relu"), one, inner])
    assert list(chip_activations(made)) == [one, other]

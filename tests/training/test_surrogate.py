"""Training through the chip's integers."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.chip.fixed_point import decay, wrap
from loihi_deploy.errors import InputError
from loihi_deploy.training import folded, retrain
from loihi_deploy.training.surrogate import SurrogateChip
from tests.training.small import task, trained

X, Y = task()
STEPS = 10


@pytest.fixture(scope="module", params=[8, 3])
def program(request):
    options = ld.DeployOptions(steps=STEPS, weight_bits=request.param)
    return ld.deploy(trained(epochs=3), "loihi", X[:100], options).program


def emulated(program, x):
    deployment = ld.deploy(program, "loihi", options=ld.DeployOptions(steps=STEPS))
    return deployment.run(x, STEPS, record=[p.name for p in program.populations])


def test_every_spike_is_that_of_the_emulator(program):
    chip = SurrogateChip(program, STEPS)
    result = emulated(program, X[:20])
    for name, found in chip.spikes(X[:20]).items():
        assert (found == result.recorded[name]["spikes"]).all()
        assert found.any()
    np.testing.assert_allclose(chip.logits(X[:20]), result.outputs, rtol=1e-5, atol=1e-6)
    assert chip.program == program


def test_what_was_learned_is_what_is_deployed(program):
    chip = SurrogateChip(program, STEPS)
    losses = chip.fit(X[:256], Y[:256], epochs=3)
    assert losses[-1] < losses[0]
    learned = chip.program
    changed = [
        (old.transform.values != new.transform.values).mean()
        for old, new in zip(program.synapses, learned.synapses, strict=True)
    ]
    assert all(part > 0 for part in changed)
    for name, found in chip.spikes(X[:20]).items():
        assert (found == emulated(learned, X[:20]).recorded[name]["spikes"]).all()


@pytest.mark.parametrize(("bits", "decay_bits"), [(23, 12), (23, 15), (29, 12), (29, 15)])
def test_decays_and_sums_are_those_of_the_integers_however_wide_they_are(program, bits, decay_bits):
    """Loihi's in float32, wider ones in float64."""
    numbers = replace(program.arithmetic, current_bits=bits, accumulator_bits=bits, decay_bits=decay_bits)
    chip = SurrogateChip(replace(program, arithmetic=numbers), STEPS)
    rng = np.random.default_rng(0)
    most = 1 << bits
    x = np.r_[rng.integers(-most, most, 100_000), -most, most - 1, 0, 1, -1, 1 << decay_bits]
    for factor in (0, 1, (1 << decay_bits) - 1, 1 << decay_bits, *rng.integers(0, 1 << decay_bits, 20)):
        found = chip._kept(x.astype(chip._dtype.as_numpy_dtype), int(factor))
        assert (np.asarray(found) == decay(x, int(factor), decay_bits)).all()
    added = x + rng.permutation(x)
    assert (
        np.asarray(chip._wrapped(added.astype(chip._dtype.as_numpy_dtype), bits)) == wrap(added, bits)
    ).all()


def test_derivatives_reach_every_layer(program):
    import tensorflow as tf

    chip = SurrogateChip(program, STEPS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(chip.logits(X[:20])))
    for gradient in tape.gradient(loss, chip.variables):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.follows("Train it with rates", "Use another encoder")
def test_what_it_cannot_compute_and_what_can_be_done_instead():
    model = folded(trained(epochs=1))

    def program(**options):
        return ld.deploy(model, "loihi", X[:100], ld.DeployOptions(steps=STEPS, **options)).program

    biased = program(encoder="bias")
    resting = replace(biased, populations=tuple(replace(p, refractory=2) for p in biased.populations))
    with pytest.raises(InputError, match="takes its biases from the input") as refusal:
        SurrogateChip(resting, STEPS)
    assert {problem.what for problem in refusal.value.problems} >= {"noise or a refractory period"}
    before = program()
    retrain(model, X, Y, epochs=1, progress=False)
    assert program() != before
    SurrogateChip(before, STEPS)

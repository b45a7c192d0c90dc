"""Fine-tuning: what it gives, what it refuses, what it does after a kill."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, InputError, LoihiDeployWarning, TrainingError
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.training import fine_tune, folded, retrain, with_chip_layers
from loihi_deploy.training.fine_tuning import largest_input
from loihi_deploy.training.rewriting import keras_of
from tests.training.small import network, task, trained

X, Y = task()
HELD_OUT = task(300, seed=1)


@pytest.fixture(scope="module", params=[2, 3])
def model(request):
    return trained(request.param, epochs=12)


def quiet(model, steps=12, x=X, y=Y, **how):
    return fine_tune(model, x, y, steps, board="loihi", **({"epochs": 1, "progress": False} | how))


def test_what_it_gives_is_deployed_as_it_was_trained(model, tmp_path):
    before = model.get_weights()
    result = quiet(model, epochs=2)
    assert result.differing == ()
    assert [row.name for row in result.compared] == ["as given", "trained on", "tuned"]
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))
    deployment = ld.deploy(result.model, "loihi", X[:200], result.options)
    assert deployment.options.steps == 12
    found = deployment.evaluate(*HELD_OUT).accuracy
    rate = deployment.rate_accuracy(*HELD_OUT)
    assert rate == pytest.approx(
        (np.asarray(result.model(HELD_OUT[0])).argmax(axis=1) == HELD_OUT[1]).mean(), abs=0.01
    )
    assert found >= rate - 0.05
    assert found > 0.9
    given = folded(model)
    values = np.asarray(keras_of(given).Model(given.inputs[0], given.get_layer("relu1").output)(X[:500]))
    fast = np.percentile(values[values > 0], 99.9) * result.tuned.get_layer("relu1").settings["scale"]
    assert fast == pytest.approx(15 / 12, rel=1e-3)
    text = str(result)
    assert "12 steps, on validation samples" in text
    assert f"{result.name} (given back)" in text
    path = tmp_path / "tuned.keras"
    result.model.save(path)
    assert ld.deploy(path, "loihi", X[:200], result.options).program == deployment.program


def test_few_bits_and_fewer_events():
    model = trained(epochs=3)
    free = quiet(model, epochs=2, compare=False, weight_bits=4)
    cheap = quiet(model, epochs=2, compare=False, weight_bits=4, penalty_weight=200.0, learning_rate=3e-3)
    assert free.differing == cheap.differing == ()
    assert free.options.weight_bits == 4
    assert cheap.compared[-1].events < free.compared[-1].events - 500
    assert free.plain is None
    assert "encoder_percentile" not in free.options.given
    assert cheap.options == ld.DeployOptions(
        steps=12, weight_bits=4, bias_correction_steps=0, encoder_percentile=99.9
    )
    joules = quiet(
        model, epochs=2, compare=False, penalty="energy", penalty_weight=2000.0, learning_rate=3e-3
    )
    assert joules.compared[-1].spikes < free.compared[-1].spikes


def test_what_is_better_on_chip_is_given_back():
    model = trained(epochs=6)
    spoilt = {"epochs": 2, "noise": 20.0, "learning_rate": 1e-2}
    plain = quiet(model, **spoilt)
    _, trained_on, tuned = plain.compared
    assert tuned.accuracy < trained_on.accuracy
    assert (plain.name, plain.model) == ("trained on", plain.plain)
    assert plain.options == ld.DeployOptions(steps=12, weight_bits=8, encoder="auto")
    assert "trained on (given back)" in str(plain)
    assert quiet(model, penalty_weight=1.0, **spoilt).name == "tuned"
    better = quiet(model, epochs=3, levels=1, learning_rate=1e-2)
    assert better.compared[2].accuracy > better.compared[1].accuracy
    assert (better.name, better.model) == ("tuned", better.tuned)
    assert better.options.bias_correction_steps == 0


def test_neurons_are_slower_the_longer_they_are_seen():
    assert [largest_input(steps) for steps in (2, 10, 20, 40, 400)] == [1.5, 1.5, 0.75, 0.375, 0.35]


def same(one, other):
    return all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_where_it_was(model, tmp_path):
    def moved(batch, rng):
        return batch + rng.uniform(0, 0.01, batch.shape)

    calls = []

    def killing(batch, rng):
        calls.append(1)
        if (
            len(calls) > 13
        ):  # five batches an epoch for the plain network, and some of the other's second epoch
            raise KilledError
        return moved(batch, rng)

    how = {"epochs": 2, "weight_bits": 4, "seed": 3}
    whole = quiet(model, augment=moved, **how)
    with pytest.raises(KilledError):
        quiet(model, augment=killing, checkpoint=tmp_path, **how)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.npz", "tuned for 12.npz"]
    resumed = quiet(model, augment=moved, checkpoint=tmp_path, **how)
    assert same(resumed.tuned, whole.tuned)
    assert same(resumed.plain, whole.plain)
    assert [e.loss for e in resumed.history["tuned"]] == [e.loss for e in whole.history["tuned"]]
    with pytest.raises(InputError, match="another run") as caught:
        quiet(model, augment=moved, checkpoint=tmp_path, **(how | {"seed": 4}))
    assert "seed 3" in str(caught.value)
    for other in ({"weight_bits": 6}, {"penalty_weight": 0.1}, {"levels": 8}):
        with pytest.raises(InputError, match="another run"):
            quiet(model, augment=moved, checkpoint=tmp_path, compare=False, **(how | other))


def test_seeds(model):
    one, same_one, other = (quiet(model, compare=False, seed=seed) for seed in (1, 1, 2))
    assert same(one.model, same_one.model)
    assert not same(one.model, other.model)


@pytest.mark.follows("Check the samples for such values, or take a lower learning_rate")
def test_it_stops_at_the_first_value_that_is_no_number(model):
    calls = []

    def broken(batch, rng):
        calls.append(1)
        return batch * np.nan if len(calls) == 3 else batch

    with pytest.raises(TrainingError, match="step 3, layer conv1"):
        quiet(model, compare=False, augment=broken)
    with pytest.raises(TrainingError, match=r"step \d+, layer \w+"):
        retrain(folded(model), X, Y, learning_rate=1e9, progress=False)
    assert len(retrain(folded(model), X, Y, epochs=1, learning_rate=1e-3, progress=False)) == 1


@pytest.mark.follows("Remove the file, or give the arguments that it was written with")
def test_a_checkpoint_of_another_run(tmp_path):
    kept = tmp_path / "kept.npz"

    def trained_on(seed):
        return retrain(folded(network()), X, Y, epochs=1, seed=seed, checkpoint=kept, progress=False)

    before = trained_on(0)
    with pytest.raises(InputError, match="another run"):
        trained_on(4)
    assert trained_on(0) == before
    kept.unlink()
    assert trained_on(4)[0].loss != before[0].loss


@pytest.mark.follows("Remove the file, or name one that is not there: the run begins anew then")
def test_a_file_that_is_no_checkpoint(tmp_path):
    model = folded(network())
    other = tmp_path / "other.npz"

    def train(checkpoint):
        return retrain(model, X, Y, epochs=1, checkpoint=checkpoint, progress=False)

    for text in (None, "", "[]", "{}", '{"run": 1, "history": []}', '{"run": {}, "history": [{"a": 1}]}'):
        np.savez(other, **({"x": X} if text is None else {"text": text}))
        with pytest.raises(InputError, match="not a checkpoint"):
            train(other)
    for content in (b"", b"text", b"PK\x03\x04", other.read_bytes()[:-20]):
        other.write_bytes(content)
        with pytest.raises(InputError, match="not a checkpoint"):
            train(other)
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(InputError, match="not a checkpoint"):
        train(tmp_path / "one.npy")
    assert len(train(tmp_path / "new.npz")) == 1
    other.unlink()
    assert len(train(other)) == 1


def test_the_best_epoch_is_kept_and_patience_ends_a_run():
    model = folded(trained(epochs=3))
    history = retrain(model, X, Y, epochs=8, patience=2, learning_rate=1e-2, progress=False)
    accuracies = [epoch.accuracy for epoch in history]
    held_x, held_y = X[-60:], Y[-60:]
    found = (np.asarray(model(held_x)).argmax(axis=1) == held_y).mean()
    assert found == pytest.approx(max(accuracies))
    assert len(history) == 8 or len(accuracies) - 1 - int(np.argmax(accuracies)) == 2


def test_swapped_layers_are_as_good_after_a_short_training():
    k = import_keras(2)
    k.utils.set_random_seed(0)
    layers = k.layers
    model = k.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(6, 3, activation="relu6", name="conv1"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="classes"),
        ]
    )
    model.compile("adam", k.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=20, verbose=0)
    swapped = with_chip_layers(model)

    def loss(network):
        return float(
            np.mean(k.losses.sparse_categorical_crossentropy(HELD_OUT[1], network(HELD_OUT[0]), True))
        )

    before = loss(swapped)
    retrain(swapped, X, Y, teacher=model, epochs=6, learning_rate=3e-3, progress=False)
    assert loss(swapped) < before
    assert loss(swapped) < loss(model) + 0.1
    deployment = ld.deploy(swapped, "loihi", X[:100])
    assert deployment.evaluate(*HELD_OUT).accuracy > 0.9


def bent():
    k = import_keras(2)
    layers = k.layers
    return k.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(5, "tanh", name="bent"), layers.Dense(3)]
    )


@pytest.mark.parametrize(
    ("build", "how", "error", "match"),
    [
        (network, {"y": Y + 1}, InputError, "labels out of range"),
        (network, {"y": Y[:-1]}, InputError, "labels do not fit"),
        (bent, {}, ConversionError, "bent"),
        (network, {"steps": 2}, InputError, "for 3 steps or more"),
        (network, {"validation": 1.5}, InputError, "validation"),
        (network, {"weight_bits": 7}, InputError, "weight_bits"),
        (network, {"epochs": "two"}, InputError, "epochs"),
    ],
)
def test_what_it_refuses(build, how, error, match):
    with pytest.raises(error, match=match):
        quiet(build(), **how)


def test_the_least_number_of_steps_works():
    with pytest.warns(LoihiDeployWarning, match="in 3 steps"):  # neurons that can spike three times at most
        assert quiet(trained(epochs=3), steps=3, compare=False).steps == 3


def test_a_softmax_at_the_end():
    result = quiet(trained(softmax=True, epochs=8), compare=False)
    assert result.compared[-1].accuracy > 0.8

"""Host neurons against the step functions of Nengo and nengo-loihi, and the compiled ones against both."""

import zlib
from typing import ClassVar

import numpy as np
import pytest

from loihi_deploy.engines.host import neurons
from loihi_deploy.engines.host import plain as reference
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.engines.spiking_network import spiking_rates
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection

DT = 0.001
STEPS = 300
MODELS = [
    NeuronModel("if"),
    NeuronModel("if", discretized=True),
    NeuronModel("lif", 0.02, 0.002),
    NeuronModel("lif", 0.013, 0.0),
    NeuronModel("lif", 0.02, 0.0027),
    NeuronModel("lif", 0.02, 0.002, discretized=True),
    NeuronModel("lif", 0.013, 0.0014, discretized=True),
]


ENCODERS = [*MODELS, NeuronModel("poisson"), NeuronModel("ttfs")]


def nengo_type(model):
    nengo = pytest.importorskip("nengo")
    if not model.discretized:
        return (
            nengo.SpikingRectifiedLinear() if model.kind == "if" else nengo.LIF(model.tau_rc, model.tau_ref)
        )
    loihi = pytest.importorskip("nengo_loihi.neurons")
    if model.kind == "if":
        return loihi.LoihiSpikingRectifiedLinear()
    return loihi.LoihiLIF(model.tau_rc, model.tau_ref)


def currents(model, size, changing):
    rng = np.random.default_rng(size)
    scale = 1500 if model.kind == "if" else 8
    j = rng.uniform(-0.2, 1, (STEPS if changing else 1, size)) * scale
    return np.broadcast_to(j, (STEPS, size))


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("changing", [False, True])
def test_steps_are_those_of_nengo(model, changing):
    nengo_neuron = nengo_type(model)
    j = currents(model, 200, changing)
    voltage = np.random.default_rng(1).random(200)
    state = {"voltage": voltage.copy()}
    if model.kind == "lif":
        state["refractory_time"] = np.zeros(200)
    refractory_time = np.zeros(200)
    output = np.zeros(200)
    total = 0
    for t in range(STEPS):
        nengo_neuron.step(DT, j[t], output, **state)
        spikes = neurons.step(model, DT, j[t], voltage, refractory_time)
        assert (spikes == output * DT).all()
        assert (voltage == state["voltage"]).all()
        total += spikes.sum()
    assert total > 1000


@pytest.mark.parametrize("model", ENCODERS, ids=str)
@pytest.mark.parametrize("tau", [0.0, 0.02])
@pytest.mark.parametrize("lowest", [0.0, -3.0])
def test_compiled_encoder_equals_numpy(model, tau, lowest):
    rng = np.random.default_rng(0)
    scale = 8 if model.kind == "lif" else 1500
    population = Population(
        "p",
        (50,),
        model,
        rng.uniform(0.5, 1, 50),
        rng.random(50) * scale / 2,
        1.0,
        rng.uniform(lowest, 1, 50),
    )
    weights = Dense(rng.uniform(-0.2, 1, (50, 3)) * scale)
    graph = Graph((Input("x", (3,)),), (population,), (Projection("x", "p", weights, tau),))
    x = {"x": rng.random((4, 5, 3))}
    spikes, lost, state = reference.encode(graph, x, STEPS)
    encoder = Encoder(graph)
    arrays, n_lost = encoder.start(4), np.zeros(1, np.int64)
    events = encoder.run(encoder.together(x), 0, STEPS, STEPS // 5, arrays, n_lost)
    assert (events.to_dense()["p"] == spikes["p"]).all()
    assert spikes["p"].any(axis=1).mean() > 0.8
    assert n_lost[0] == lost["p"]
    for name, array in encoder.save(arrays).arrays.items():
        if not name.endswith("refractory_time"):  # what is left of it does not matter once it has passed
            np.testing.assert_allclose(array, state.arrays[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("adds_only", [False, True])
def test_a_voltage_below_zero_rises_to_the_threshold_first(adds_only):
    """A quarter of the threshold in every step: where it begins at -1/2 the first spike comes in the sixth."""
    start = np.array([-0.5, 0.0, -2.0])
    population = Population("p", (3,), NeuronModel(), np.array(250.0), np.zeros(3), 1.0, start, adds_only)
    drive = Projection("x", "p", Dense(np.eye(3)))
    graph = Graph((Input("x", (3,)),), (population,), (drive,))
    x = {"x": np.ones((1, 1, 3))}
    spikes, lost, _ = reference.encode(graph, x, 12)
    encoder, n_lost = Encoder(graph), np.zeros(1, np.int64)
    events = encoder.run(encoder.together(x), 0, 12, 12, encoder.start(1), n_lost)
    counts = spiking_rates(graph, x, 12, 1.0)["p"] * 12 * DT
    for found in (spikes["p"], events.to_dense()["p"]):
        assert [np.flatnonzero(found[0, :, k]).tolist() for k in range(3)] == [[5, 9], [3, 7, 11], [11]]
    assert lost["p"] == n_lost[0] == 0
    np.testing.assert_allclose(counts, [[2, 3, 1]])


@pytest.mark.parametrize(("discretized", "adds_only"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("hold", [1, 7, 8, 30])
def test_neurons_that_a_drive_cannot_move_are_as_they_were(discretized, adds_only, hold):
    """Every second has no drive in some frames; some begin beyond their threshold."""
    rng = np.random.default_rng(1)
    weights = np.where(np.arange(60)[:, None] % 2, rng.choice([-1.0, 0.0, 1.0], (60, 2)), 0.0)
    start = rng.uniform(0, 2.5, 60) if not adds_only else rng.uniform(0, 1, 60)
    start[::4] = 0
    model = NeuronModel("if", discretized=discretized)
    population = Population("p", (60,), model, np.array(80.0), np.zeros(60), 1.0, start, adds_only)
    graph = Graph((Input("x", (2,)),), (population,), (Projection("x", "p", Dense(weights)),))
    x = {"x": rng.integers(0, 2, (3, 4, 2)) * rng.random((3, 4, 2))}
    plain, n_lost, state = reference.encode(graph, x, 4 * hold)
    encoder = Encoder(graph)
    arrays, lost = encoder.start(3), np.zeros(1, np.int64)
    frames, cut = encoder.together(x), 4 * hold // 3
    first = encoder.run(frames, 0, cut, hold, arrays, lost).to_dense()["p"]
    second = encoder.run(frames, cut, 4 * hold - cut, hold, arrays, lost).to_dense()["p"]
    assert (np.concatenate([first, second], axis=1) == plain["p"]).all()
    assert (encoder.save(arrays).arrays["p/voltage"] == state.arrays["p/voltage"]).all()
    assert lost[0] == n_lost["p"]
    assert plain["p"].any()
    assert not plain["p"][:, :, ::4].any()


def signed_encoder(gain, adds_only=True, size=40):
    """Neurons with weights of 1 and -1 on three channels, one gain, and voltages at the start."""
    rng = np.random.default_rng(5)
    signs = rng.choice([-1.0, 0.0, 1.0], (size, 3))
    start = np.arange(size) / size
    bias = gain * rng.uniform(-0.2, 0.4, size)
    population = Population("p", (size,), NeuronModel(), np.array(gain), bias, 1.0, start, adds_only)
    return Graph((Input("x", (3,)),), (population,), (Projection("x", "p", Dense(signs)),))


def only_adding(graph, x, steps):
    """Spikes (steps, size) and spikes beyond one of one sample; once it is set up it adds, subtracts and compares."""
    (population,), (projection,) = graph.populations, graph.projections
    threshold = float(1 / (population.gain * graph.dt))
    bias = (population.bias / population.gain).tolist()
    voltage = (population.initial_voltage * threshold).tolist()
    spikes, lost = np.zeros((steps, population.size), bool), 0
    for t in range(steps):
        frame = x[t // (steps // len(x))].tolist()
        for k, signs in enumerate(projection.transform.weights.tolist()):
            total = 0.0
            for sign, value in zip(signs, frame, strict=True):
                total = total + value if sign > 0 else total - value if sign < 0 else total
            total += bias[k]
            if total > 0:
                voltage[k] += total
            if voltage[k] >= threshold:
                voltage[k] -= threshold
                spikes[t, k] = True
            while voltage[k] >= threshold:
                voltage[k] -= threshold
                lost += 1
    return spikes, lost


@pytest.mark.parametrize("gain", [50.0, 300.0])
def test_with_its_gain_in_the_threshold_the_host_only_adds(gain):
    graph = signed_encoder(gain)
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 3)) / 256
    plain, n_lost, state = reference.encode(graph, {"x": x}, STEPS)
    expected = [only_adding(graph, frames, STEPS) for frames in x]
    assert (plain["p"] == [spikes for spikes, _ in expected]).all()
    assert n_lost["p"] == sum(lost for _, lost in expected) == 0
    encoder = Encoder(graph)
    arrays, lost = encoder.start(4), np.zeros(1, np.int64)
    events = encoder.run(encoder.together({"x": x}), 0, STEPS, STEPS // 5, arrays, lost)
    assert (events.to_dense()["p"] == plain["p"]).all()
    assert (encoder.save(arrays).arrays["p/voltage"] == state.arrays["p/voltage"]).all()
    # the same neurons with their gain outside: a spike may move by a step, none is lost or gained
    other, _, _ = reference.encode(signed_encoder(gain, adds_only=False), {"x": x}, STEPS)
    assert np.abs(plain["p"].cumsum(axis=1) - other["p"].cumsum(axis=1)).max() <= 1
    assert plain["p"].sum() > 100 * gain / 50


def test_what_neurons_that_only_add_cannot_send_is_counted():
    graph = signed_encoder(3000.0)
    x = np.random.default_rng(0).integers(0, 256, (3, 1, 3)) / 256
    plain, n_lost, _ = reference.encode(graph, {"x": x}, 50)
    expected = [only_adding(graph, frames, 50) for frames in x]
    assert n_lost["p"] > 1000
    assert abs(n_lost["p"] - sum(lost for _, lost in expected)) <= 3  # a division rounds, subtractions round
    encoder = Encoder(graph)
    lost = np.zeros(1, np.int64)
    events = encoder.run(encoder.together({"x": x}), 0, 50, 50, encoder.start(3), lost)
    assert (events.to_dense()["p"] == plain["p"]).all()
    assert lost[0] == n_lost["p"]
    _, n_lost, _ = reference.encode(graph, {"x": np.full((1, 1, 3), 1e300)}, 4)
    assert n_lost["p"] > 2**32


class Counted(np.ndarray):
    """An array that counts results of ufuncs by their name."""

    results: ClassVar[dict[str, int]] = {}

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [np.asarray(value) if isinstance(value, Counted) else value for value in inputs]
        if out is not None:
            options["out"] = tuple(
                np.asarray(value) if isinstance(value, Counted) else value for value in out
            )
        result = getattr(ufunc, method)(*plain, **options)
        self.results[ufunc.__name__] = self.results.get(ufunc.__name__, 0) + np.size(result)
        return out[0] if out is not None else np.asarray(result).view(Counted)


def test_the_plain_step_of_neurons_that_only_add_has_no_multiply(monkeypatch):
    monkeypatch.setattr(Counted, "results", {})
    voltage = np.linspace(0, 4.9, 50).view(Counted)
    total = np.linspace(-1, 4, 50).view(Counted)
    assert neurons.step_adding(total, voltage, 5.0).sum() > 10
    done = {name for name, n in Counted.results.items() if n}
    assert done == {"maximum", "add", "greater_equal", "subtract", "minimum"}
    neurons.step(NeuronModel(), DT, total, voltage, np.zeros(50))
    assert Counted.results["multiply"] == 50  # which this would have counted


@pytest.mark.parametrize(
    ("model", "gain"),
    [(NeuronModel("if", discretized=True), 1.0), (NeuronModel("poisson"), 1.0), (NeuronModel(), -1.0)],
)
def test_what_cannot_only_add(model, gain):
    with pytest.raises(InputError, match="cannot run on additions only"):
        Population("p", (2,), model, np.array(gain), np.zeros(2), adds_only=True)
    with pytest.raises(InputError, match="cannot run on additions only"):
        Population("p", (2,), NeuronModel(), np.array([1.0, 2.0]), np.zeros(2), adds_only=True)


def encoded(kind, values, steps, **arguments):
    """Spikes (n, steps, size) of neurons whose rates are `values`, (n, size), times the step rate."""
    size = values.shape[1]
    population = Population("p", (size,), NeuronModel(kind), np.array(1 / DT), np.zeros(size))
    graph = Graph((Input("x", (size,)),), (population,), (Projection("x", "p", Dense(np.eye(size))),))
    spikes, lost, _ = reference.encode(graph, {"x": values[:, None]}, steps, **arguments)
    return spikes["p"], lost["p"]


def test_poisson_rates_and_independence():
    values = np.tile([0.0, 0.02, 0.3, 0.9, 1.0], (4, 50))
    spikes, lost = encoded("poisson", values, 4000)
    expected = values * 4000
    sigma = np.sqrt(np.maximum(expected * (1 - values), 1))
    assert (np.abs(spikes.sum(axis=1) - expected) < 5 * sigma).all()
    assert lost == 0
    # neurons, samples and steps do not depend on each other: correlations are those of chance
    half = spikes[:, :, 2::5].astype(float) - 0.3
    flat = half.transpose(0, 2, 1).reshape(-1, 4000)
    correlation = np.corrcoef(flat) - np.eye(len(flat))
    assert np.abs(correlation).max() < 5.5 / np.sqrt(4000)
    lagged = (flat[:, :-1] * flat[:, 1:]).mean(axis=1) / flat.var(axis=1)
    assert np.abs(lagged).max() < 5 / np.sqrt(4000)


def test_poisson_spikes_depend_on_the_number_of_the_sample_and_the_seed():
    values = np.full((6, 20), 0.3)
    whole, _ = encoded("poisson", values, 50)
    part, _ = encoded("poisson", values[:2], 50, first_sample=3)
    assert (part == whole[3:5]).all()
    assert (encoded("poisson", values, 50, seed=1)[0] != whole).any()
    assert (whole[0] != whole[1]).any()


def test_poisson_counts_what_cannot_be_sent():
    assert encoded("poisson", np.array([[1.5, -3.0]]), 10)[1] == 10


def test_one_spike_whose_time_is_the_value():
    values = np.linspace(0, 1, 101)[None]
    spikes, lost = encoded("ttfs", values, 100)
    assert (spikes.sum(axis=1) == (values > 0)).all()
    assert (100 - spikes[0].argmax(axis=0)[1:] == np.arange(1, 101)).all()
    assert lost == 0
    assert encoded("ttfs", np.array([[1.5, -1.0]]), 10)[1] == 1


def test_an_encoder_is_one_layer():
    neuron = NeuronModel("if")
    two = tuple(Population(name, (1,), neuron, np.ones(()), np.zeros(1)) for name in "ab")
    weights = Dense(np.ones((1, 1)))
    graph = Graph((Input("x", (1,)),), two, (Projection("x", "a", weights), Projection("a", "b", weights)))
    with pytest.raises(ValueError, match="a->b"):
        Encoder(graph)


GOLDEN, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


def splitmix(x):
    """The finalizer of SplitMix64 as it is published, in integers without an end."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def test_the_finalizer_of_splitmix64_gives_its_published_values():
    """The first numbers of the generator that is seeded with 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = [(1234567 + k * GOLDEN) & MASK for k in range(1, 5)]
    assert [splitmix(state) for state in states] == published
    assert neurons._mixed(np.array(states, np.uint64)).tolist() == published


def test_random_spikes_are_those_that_the_formula_says():
    """By hand, in integers: a hash of seed, population, sample and neuron, then a Weyl sequence modulo 2^52."""
    values, seed, first = np.array([[0.2, 0.5, 0.7], [0.4, 0.1, 0.9]]), 5, 3
    spikes, _ = encoded("poisson", values, 20, first_sample=first, seed=seed)
    key = splitmix(seed << 32 | zlib.crc32(b"p"))
    for sample in range(2):
        number = splitmix((key + first + sample) & MASK)
        for neuron in range(3):
            state = splitmix((number + neuron) & MASK) >> 12
            for t in range(20):
                state = (state + 2783377641436327) % 2**52
                uniform = (splitmix(state) >> 11) / 2**53
                assert spikes[sample, t, neuron] == (uniform < values[sample, neuron])


@pytest.mark.parametrize("kinds", [("if", "if"), ("lif", "if"), ("poisson", "lif"), ("if", "poisson")])
@pytest.mark.parametrize("taus", [(0.0, 0.0, 0.0), (0.02, 0.0, 0.005)])
def test_an_encoder_of_several_inputs_and_populations(kinds, taus):
    """Sizes, weights, constants and filters all differ; frames are shown for 7 steps, cut within the third."""
    rng = np.random.default_rng(3)
    made = {"if": NeuronModel(), "lif": NeuronModel("lif", 0.03, 0.004), "poisson": NeuronModel("poisson")}
    sizes, scale = {"a": 13, "b": 21}, {"if": 700, "lif": 9, "poisson": 500}
    populations = tuple(
        Population(name, (size,), made[kind], rng.uniform(0.5, 1, size), rng.random(size) * scale[kind] / 4)
        for (name, size), kind in zip(sizes.items(), kinds, strict=True)
    )

    def joined(pre, n, k, tau):
        weights = rng.uniform(-0.3, 1, (sizes["ab"[k]], n)) * scale[kinds[k]]
        return Projection(pre, "ab"[k], Dense(weights), tau)

    projections = (joined("x", 3, 0, taus[0]), joined("y", 5, 1, taus[1]), joined("y", 5, 0, taus[2]))
    graph = Graph((Input("x", (3,)), Input("y", (5,))), populations, projections)
    x = {"x": rng.random((3, 5, 3)), "y": rng.random((3, 5, 5))}
    spikes, lost, state = reference.encode(graph, x, 35)
    encoder, n_lost = Encoder(graph), np.zeros(2, np.int64)
    arrays, frames = encoder.start(3), encoder.together(x)
    first = encoder.run(frames, 0, 17, 7, arrays, n_lost).to_dense()
    arrays = encoder.load(encoder.save(arrays), 3)
    second = encoder.run(frames, 17, 18, 7, arrays, n_lost).to_dense()
    for k, name in enumerate(sizes):
        assert (np.concatenate([first[name], second[name]], axis=1) == spikes[name]).all()
        assert spikes[name].any(axis=(1, 2)).all()
        assert n_lost[k] == lost[name]
    kept = encoder.save(arrays).arrays
    assert kept.keys() == state.arrays.keys()
    for name, array in kept.items():
        if not name.endswith("refractory_time"):
            np.testing.assert_allclose(array, state.arrays[name], rtol=1e-9, atol=1e-9)


def both_encoders(kind, x, gain=1.0, dt=DT):
    """Spikes (steps, size) of a sample whose frames (steps, size) each last a step, and what could not be sent."""
    size = x.shape[1]
    population = Population("p", (size,), NeuronModel(kind), np.array(gain), np.zeros(size))
    graph = Graph((Input("x", (size,)),), (population,), (Projection("x", "p", Dense(np.eye(size))),), dt=dt)
    spikes, lost, _ = reference.encode(graph, {"x": x[None]}, len(x))
    encoder, n_lost = Encoder(graph), np.zeros(1, np.int64)
    events = encoder.run(x[None], 0, len(x), 1, encoder.start(1), n_lost)
    assert (events.to_dense()["p"] == spikes["p"]).all()
    assert n_lost[0] == lost["p"]
    return spikes["p"][0], lost["p"]


def test_random_numbers_have_53_bits_and_spikes_are_below_them():
    """With steps of 2^-10 a probability is the input to the last bit: at the number itself nothing spikes."""
    key = splitmix(zlib.crc32(b"p"))
    states = [((splitmix((splitmix(key) + k) & MASK) >> 12) + 2783377641436327) % 2**52 for k in range(40)]
    numbers = np.array([splitmix(state) >> 11 for state in states]) / 2.0**53
    assert (numbers * 2**53 % 2 == 1).any()
    small = numbers < 0.5
    for added, spiking in ((0.0, False), (2.0**-54, True), (-(2.0**-54), False)):
        x = np.where(small, numbers + added, 0.0)[None]
        spikes, _ = both_encoders("poisson", x, 2.0**10, 2.0**-10)
        assert (spikes[0, small] == spiking).all()


@pytest.mark.parametrize("kind", ["poisson", "ttfs"])
def test_a_little_more_than_one_spike_is_one(kind):
    """Rates scaled to one spike in a step may come out a millionth above it."""
    for value, lost in ((1.0, 0), (1 + 0.9e-6, 0), (1 + 1.1e-6, 1), (2.0, 1), (2.1, 2)):
        spikes, found = both_encoders(kind, np.full((1, 3), value), 2.0**10, 2.0**-10)
        assert spikes.all()
        assert found == 3 * lost


@pytest.mark.parametrize("kind", ["if", "poisson", "ttfs"])
def test_no_more_than_so_many_spikes_are_counted(kind):
    """Each neuron cannot send 2^32 less one, in the first step, where its input has no end."""
    _, lost = both_encoders(kind, np.full((1, 3), 1e300), 1.0)
    assert lost == 3 * (2**32 - 1)
    adding = Population("p", (2,), NeuronModel(), np.array(1.0), np.zeros(2), adds_only=True)
    graph = Graph((Input("x", (2,)),), (adding,), (Projection("x", "p", Dense(np.eye(2))),))
    x, n_lost = np.full((1, 1, 2), 1e300), np.zeros(1, np.int64)
    assert reference.encode(graph, {"x": x}, 1)[1]["p"] == 2 * (2**32 - 1)
    encoder = Encoder(graph)
    encoder.run(x, 0, 1, 1, encoder.start(1), n_lost)
    assert n_lost[0] == 2 * (2**32 - 1)

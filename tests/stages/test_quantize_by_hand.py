"""Integers of drawn layers beside a quantizer in plain Python: of Loihi, and of a chip with other numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.chip.boards import load_board
from loihi_deploy.errors import QuantizationError
from loihi_deploy.ir import (
    Dense,
    Graph,
    Input,
    NeuronModel,
    PartitionedGraph,
    Population,
    Projection,
    Readout,
)
from loihi_deploy.stages.quantize import quantize

IF, LIF = NeuronModel(), NeuronModel("lif", 0.02, 0.002)
THRESHOLD_MAX, BIAS_MAX = 131071 << 6, 4095 << 7


def layer(weights, taus, bias, neuron=IF, gain=1.0, dt=0.001, start=None, notes=()):
    """What `partition` makes of a layer 'p' behind as many encoders as there are matrices."""
    names = [f"e{k}" for k in range(len(weights))]
    n_out = len(weights[0])
    population = Population("p", (n_out,), neuron, gain, bias, 1.0, start)
    projections = tuple(
        Projection(name, "p", Dense(w), tau) for name, w, tau in zip(names, weights, taus, strict=True)
    )
    encoders = tuple(
        Population(name, (w.shape[1],), IF, 1.0, 0.0) for name, w in zip(names, weights, strict=True)
    )
    sources = tuple(Input(name, (w.shape[1],)) for name, w in zip(names, weights, strict=True))
    chip = Graph(sources, (population,), projections, dt=dt, frame_steps=3)
    readout = Graph((), (), (), (), dt)
    return PartitionedGraph(Graph((), encoders, (), (), dt), chip, readout, (), notes)


def decayed_sum(factor, bits=12):
    """What a value of 1 adds up to while it decays in integers: nengo-loihi's ``decay_magnitude``."""
    if factor == 1 << bits:
        return 1.0
    r, q, x0 = factor / (1 << bits), 0.494, 2.0**21
    n = -math.log1p(x0 * (1 - r) / q) / math.log(r)
    principal = (1 - r ** (n + 1)) / (1 - r)
    return principal - q / ((1 - r) * x0) * (n + 1 - principal)


LOIHI = load_board("loihi")
OTHER_NUMBERS = {
    "weight_mantissa_max": 60,
    "weight_mantissa_step": 4,
    "weight_shift": 4,
    "min_weight_exponent": -3,
    "max_weight_exponent": 2,
    "threshold_mantissa_max": 40_000,
    "threshold_shift": 5,
    "bias_mantissa_max": 1023,
    "max_bias_exponent": 5,
    "decay_bits": 10,
    "current_decay_offset": 0,
    "voltage_decay_offset": 1,
    "max_refractory_delay": 20,
    "accumulator_bits": 20,
    "current_bits": 22,
    "max_v_min_exponent": 24,
    "max_v_max_exponent": 6,
}
OTHER = replace(LOIHI, chip=replace(LOIHI.chip, arithmetic=replace(LOIHI.chip.arithmetic, **OTHER_NUMBERS)))


def by_hand(a, weights, tau, bias, neuron=IF, gain=1.0, dt=0.001, percentile=100.0, start=None):
    """Settings, weights and shifts of one layer on a chip of the arithmetic `a`, and what the rounding cost."""
    leaky, decay_max, full = neuron.kind == "lif", 2**a.decay_bits - 1, 2**a.decay_bits
    exact_u = (1 - math.exp(-dt / tau) if tau else 1.0) * decay_max - a.current_decay_offset
    decay_u = round(min(max(exact_u, 0), decay_max))
    exact_v = (1 - math.exp(-dt / neuron.tau_rc)) * decay_max - a.voltage_decay_offset if leaky else 0
    decay_v = round(max(exact_v, 0))
    theta = 1.0 if leaky else 1 / dt
    current_sum = decayed_sum(full - a.current_decay_offset - decay_u, a.decay_bits)
    voltage_sum = decayed_sum(full - a.voltage_decay_offset - decay_v, a.decay_bits) if leaky else 1.0
    threshold_max, bias_max = (
        a.threshold_mantissa_max << a.threshold_shift,
        a.bias_mantissa_max << a.max_bias_exponent,
    )
    largest_level = a.weight_mantissa_max // a.weight_mantissa_step
    exact = [w * np.reshape(gain, (-1, 1)) / dt for w in weights]
    sizes = np.concatenate([np.abs(w).ravel() for w in exact])
    w_max = float(sizes.max()) if percentile == 100 else float(np.percentile(sizes[sizes > 0], percentile))
    for exponent in range(a.max_weight_exponent, a.min_weight_exponent - 1, -1):
        scale = (a.weight_mantissa_max + 1) / w_max * 2.0 ** (a.weight_shift + exponent)
        threshold = round(theta * scale * current_sum * voltage_sum)
        largest = round(float(np.abs(bias).max()) * scale * current_sum)
        if threshold <= threshold_max and largest <= bias_max:
            break
    else:
        return None
    mantissa = round(theta * scale * current_sum * voltage_sum / 2**a.threshold_shift)
    if mantissa < 1:
        return None
    biases = []
    for b in bias:
        b = round(float(b) * scale * current_sum)
        exponent = next(e for e in range(32) if abs(b) <= a.bias_mantissa_max << e)
        biases.append(round(b / 2**exponent) << exponent)
    finest = a.weight_shift + (2 if a.weight_mantissa_step == 4 else 1)  # of a unit of the step
    shifts_there_are = [
        s
        for s in range(a.weight_shift, finest + a.max_weight_exponent + 1)
        if s >= finest + a.min_weight_exponent
    ]
    made, shifts, lost, saturated, zeroed = [], [], 0.0, 0, 0
    for w in exact:
        largest = min(float(np.abs(w).max()) * scale, w_max * scale)
        fitting = [s for s in shifts_there_are if largest <= (largest_level + 0.5) * 2**s]
        shift = (fitting or shifts_there_are[-1:])[0]
        levels = np.array(
            [
                [max(-largest_level, min(largest_level, round(x * scale / 2**shift))) for x in row]
                for row in w.tolist()
            ]
        )
        made.append(levels.tolist())
        shifts.append(shift)
        wanted = w * scale
        lost += float(((levels * 2.0**shift - wanted) ** 2).sum())
        saturated += int((np.abs(wanted) / 2**shift > (largest_level + 0.5) * (1 + 1e-9)).sum())
        zeroed += int(((levels == 0) & (w != 0)).sum())
    power = sum(float(((w * scale) ** 2).sum()) for w in exact)
    bias_exact = np.asarray(bias) * scale * current_sum
    threshold = mantissa << a.threshold_shift
    return {
        "decays": (decay_u, decay_v),
        "threshold": threshold,
        "refractory": round(neuron.tau_ref / dt) + 1,
        "bias": biases,
        "weights": made,
        "shifts": shifts,
        "start": None if start is None else [round(v * threshold) for v in start.tolist()],
        "scales": (scale, scale * current_sum * voltage_sum, scale * current_sum),
        "cost": (math.sqrt(lost / power), saturated, zeroed, sum(w.size for w in exact)),
        "bias_cost": float(np.sqrt(np.mean((np.array(biases) - bias_exact) ** 2) / np.mean(bias_exact**2))),
    }


@pytest.mark.parametrize("board", [LOIHI, OTHER], ids=["loihi", "other"])
@pytest.mark.parametrize("seed", range(60))
def test_drawn_layers_have_the_integers_of_plain_python(seed, board):
    rng = np.random.default_rng(seed)
    neuron = [IF, LIF, NeuronModel("lif", 0.05, 0.0), NeuronModel(below_zero=True)][seed % 4]
    n_out, dt = int(rng.integers(1, 5)), [0.001, 0.001, 0.002][seed % 3]
    magnitude = 10 ** rng.uniform(-2.5, 2.5) * (0.003 if neuron.kind == "lif" else 1)
    weights = [
        rng.standard_t(3, (n_out, int(rng.integers(1, 9)))) * magnitude * f for f in (1, 0.4)[: 1 + seed % 2]
    ]
    for matrix in weights:
        matrix[:, 1:] *= rng.random(matrix[:, 1:].shape) < 0.8  # zeros are no weights of a percentile
    gain = rng.uniform(0.5, 2, n_out) if seed % 5 else 1.5
    bias = rng.normal(size=n_out) * 10 ** rng.uniform(-1, 3) * (0.01 if neuron.kind == "lif" else 1)
    tau = [0.0, 0.001, 0.005, 0.02, 0.1][seed % 5]
    percentile = 100.0 if seed % 3 else 80.0
    start = rng.uniform(-0.7, 1, n_out) if seed % 7 == 0 else None
    given = layer(weights, [tau] * len(weights), bias, neuron, gain, dt, start, ("before",))
    arithmetic = board.chip.arithmetic
    expected = by_hand(arithmetic, weights, tau, bias, neuron, gain, dt, percentile, start)
    if expected is None:
        with pytest.raises(QuantizationError):
            quantize(given, board, percentile)
        return
    program = quantize(given, board, percentile)
    (made,), (group,) = program.populations, program.scale_groups
    assert (made.decay_u, made.decay_v) == expected["decays"]
    assert (made.threshold, made.refractory) == (expected["threshold"], expected["refractory"])
    assert made.bias.tolist() == expected["bias"]
    assert [s.transform.weights.tolist() for s in program.synapses] == expected["weights"]
    assert [(s.pre, s.post, s.shift) for s in program.synapses] == [
        (f"e{k}", "p", shift) for k, shift in enumerate(expected["shifts"])
    ]
    start_of = None if made.initial_voltage is None else made.initial_voltage.tolist()
    assert start_of == expected["start"]
    assert (group.current_scale, group.voltage_scale, group.bias_scale) == pytest.approx(expected["scales"])
    error, saturated, zeroed, n_weights = expected["cost"]
    assert group.weight_rms_error == pytest.approx(error)
    assert (group.saturated_weights, group.zeroed_weights, group.n_weights) == (saturated, zeroed, n_weights)
    assert group.bias_rms_error == pytest.approx(expected["bias_cost"], rel=1e-6)
    notes = ["before"]
    if saturated:
        notes.append(f"p: {saturated} of {n_weights} weights saturated")
    if zeroed > n_weights // 2:
        notes.append(f"p: {zeroed} of {n_weights} weights rounded to zero")
    assert list(program.notes) == notes
    assert (program.dt, program.frame_steps, made.v_max) == (dt, 3, arithmetic.largest_v_max)
    lowest = min(arithmetic.current_bits, arithmetic.max_v_min_exponent)
    floor = -(2**lowest) + 1 if neuron.below_zero else 0
    if start is not None:
        deepest = max(made.threshold, -min(expected["start"]))
        floor = min(floor, 1 - 2 ** min(math.ceil(math.log2(deepest + 1)), lowest))
    assert made.v_min == floor


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("decides", ["threshold", "bias"])
def test_the_scale_is_halved_where_threshold_or_bias_are_one_beyond_the_last(decides, halved):
    """Of a memoryless current: 255 / w * 2^6 times the threshold of 1,000, or a bias, and a sum of decays."""
    current_sum = decayed_sum(1)
    if decides == "threshold":
        wanted = THRESHOLD_MAX + (0.75 if halved else 0.25)
        weight, bias = 255 * 64 / (wanted / (1000 * current_sum)) * 0.001, 0.0
    else:
        weight = 10.0
        scale = 255 * 64 / (weight / 0.001)
        bias = (BIAS_MAX + (0.75 if halved else 0.25)) / (scale * current_sum)
    program = quantize(layer([np.array([[weight]])], [0.0], [bias]))
    (made,), ((synapses,), (group,)) = program.populations, (program.synapses, program.scale_groups)
    scale = 255 * 64 / (weight / 0.001) / (2 if halved else 1)
    assert group.current_scale == pytest.approx(scale)
    assert (synapses.transform.weights[0, 0], synapses.shift) == ((127, 6) if halved else (127, 7))
    if decides == "threshold":
        assert abs(made.threshold - THRESHOLD_MAX / (2 if halved else 1)) <= 64
    else:
        assert abs(int(made.bias[0]) - BIAS_MAX / (2 if halved else 1)) <= 128


def problems_of(*arguments, **named):
    with pytest.raises(QuantizationError) as caught:
        quantize(layer(*arguments, **named))
    return [(p.what, p.where, p.value, p.limit, p.remedy) for p in caught.value.problems]


def test_problems_say_what_where_how_much_and_what_helps():
    one = np.ones((1, 2))
    assert problems_of([one, one], [0.005, 0.01], [0.0], NeuronModel("lif", 0.02, 0.1)) == [
        (
            "synapses of different time constants, but a compartment has one current",
            "p",
            "0.005 s, 0.01 s",
            None,
            "Give all projections into it the same synapse, as with DeployOptions(layer_synapses={'p': 0.01})",
        ),
        (
            "refractory delay out of range",
            "p",
            "101 steps",
            "1 to 63",
            "Choose a refractory period of 0.062 s or less",
        ),
    ]
    smallest = 255 * 64 / 2**7 * 1000 * decayed_sum(1) / THRESHOLD_MAX  # weight per step, times 1,000
    ((what, where, value, limit, remedy),) = problems_of([1e-3 * smallest / 2 * one], [0.0], [0.0])
    assert (what, where) == ("weights too small beside the threshold", "p")
    assert value == f"{smallest / 2 / 1000:.2g} of the threshold"
    assert limit == f"{smallest / 1000:.2g} or more"
    assert remedy == "Raise the firing rate of this layer 2-fold or more"
    weight = 255 * 64 / 2**7 * 1e6 * decayed_sum(1) / BIAS_MAX / 4
    ((what, where, value, limit, remedy),) = problems_of([1e-3 * weight * one], [0.0], [1e6])
    assert (what, where) == ("weights too small beside the biases", "p")
    assert value == f"{weight / 1e6:.2g} of the largest bias"
    assert limit == f"{4 * weight / 1e6:.2g} or more"
    assert (
        remedy
        == "Lower the firing rates of the layers before it 4-fold or more: their spikes then count for more"
    )
    for bias, cause in ((0.0, "weights"), (2.5e8, "biases")):
        heavy = 1e-3 * 255 * 64 * 1000 * decayed_sum(1) / 64 * (5 if bias == 0 else 0.6) * one
        ((what, where, value, limit, remedy),) = problems_of([heavy], [0.0], [bias])
        assert (what, where, limit) == (
            f"threshold out of range, too low beside the {cause}",
            "p",
            "1 to 131071",
        )
        assert 0 < float(value) < 0.5
        assert remedy == f"Lower the firing rate of this layer {ld.stages.quantize._times(1 / float(value))}"


@pytest.mark.parametrize(("steps", "fits"), [(0, True), (62, True), (63, False)])
def test_refractory_periods_up_to_the_chips_longest(steps, fits):
    leaky = NeuronModel("lif", 0.02, steps * 0.001)
    if fits:
        (made,) = quantize(layer([0.01 * np.ones((1, 2))], [0.005], [0.0], leaky)).populations
        assert made.refractory == steps + 1
    else:
        ((what, _, value, _, _),) = problems_of([0.01 * np.ones((1, 2))], [0.005], [0.0], leaky)
        assert (what, value) == ("refractory delay out of range", f"{steps + 1} steps")


def test_biases_from_the_input_have_room_for_twice_the_largest_and_the_scale_of_the_layer():
    """A weight of 3 and one of 2 on inputs up to 10 and 4, a gain of 5: currents up to 190, and 380 with room."""
    encoder = Graph(
        (Input("x", (2,), scale=10.0), Input("z", (1,), scale=4.0)),
        (),
        (
            Projection("x", "p", Dense(np.array([[2.0, -1.0], [0.5, 0.25]]))),
            Projection("z", "p", Dense(np.array([[-2.0], [1.0]]))),
        ),
        (Readout("p", (2,), np.zeros(2)),),
    )
    populations = (
        Population("q", (1,), IF, 3.0, np.array([600.0])),
        Population("p", (2,), IF, 5.0, np.array([7.0, 1.0])),
    )
    program = quantize(PartitionedGraph(encoder, Graph((), populations, ()), Graph((), (), ()), ()))
    (given,) = program.bias_inputs
    made, group = program.populations[1], program.scale_groups[1]
    assert (given.population, given.mantissa_max, given.exponent_max) == ("p", 4095, 7)
    assert given.scale == pytest.approx(5 * group.bias_scale)
    for largest, layer_made, scale in (
        (600, program.populations[0], program.scale_groups[0].bias_scale),
        (2 * (3 * 10 + 2 * 4) * 5, made, group.bias_scale),
    ):
        candidates = [BIAS_MAX / largest / 2**k for k in range(64)]
        fitting = [s for s in candidates if 1000 * s <= THRESHOLD_MAX]
        assert scale == pytest.approx(fitting[0])
        assert layer_made.threshold == round(1000 * fitting[0] / 64) * 64


def test_weights_and_biases_up_to_a_hundred_millionth_drive_nothing():
    """Per spike, in steps of a second: what they are beside is then their population's scale, or nothing is."""
    limit, more = 1e-8, np.nextafter(1e-8, 1)

    def made(weight, bias):
        program = quantize(layer([np.array([[weight]])], [0.0], [bias], dt=1.0))
        return program.populations[0].threshold, program.scale_groups[0].bias_scale * bias

    alone = made(0.0, 0.25)
    assert made(limit, 0.25) == alone
    assert alone[1] == pytest.approx(BIAS_MAX)
    assert [p[0] for p in problems_of([np.array([[more]])], [0.0], [0.25], dt=1.0)] == [
        "weights too small beside the threshold"
    ]
    threshold, bias = made(0.0, limit)
    assert THRESHOLD_MAX - 128 <= threshold <= THRESHOLD_MAX
    threshold, bias = made(0.0, more)
    assert bias == pytest.approx(BIAS_MAX / 2**23)  # the largest one that leaves a threshold in its range
    assert threshold == round(BIAS_MAX / limit / 2**23 / 64) * 64


@pytest.mark.parametrize("n_small", [0, 2, 3, 4])
def test_more_than_half_of_the_weights_lost_is_said(n_small):
    """Of five weights; a clipped one is said, too, in front."""
    weights = np.array([[1.0, *[1e-4] * n_small, *[0.5] * (4 - n_small)]])
    told = [f"p: {n_small} of 5 weights rounded to zero"] if n_small > 2 else []
    assert list(quantize(layer([weights], [0.005], [0.0])).notes) == told
    clipped = quantize(layer([weights], [0.005], [0.0]), "loihi", 75.0)
    assert clipped.notes[0] == "p: 1 of 5 weights saturated"
    assert list(clipped.notes[1:]) == (told if clipped.scale_groups[0].zeroed_weights > 2 else [])

"""Quantization: ranges, scales, and nengo-loihi's own integers where it has no fault."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loihi_deploy.chip.boards import load_board
from loihi_deploy.errors import QuantizationError
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.normalize import scale_firing_rates, with_synapses
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import _largest_row_sum, _times, level_step, quantize
from loihi_deploy.stages.rounding import Levels

LIF = NeuronModel("lif", 0.02, 0.002)
LIMITS = load_board("loihi").chip.arithmetic


IF = NeuronModel()


def network(weights, bias=0.0, neuron=IF, tau=0.005, gain=1.0, second=None):
    """Input -> encoder -> (weights) -> 'layer'; `second` adds a projection from a second encoder."""
    weights = np.atleast_2d(weights)
    n_out, n_in = weights.shape
    inputs, encoders, projections = [], [], []
    for name, w in (("a", weights), ("b", second)):
        if w is not None:
            inputs.append(Input(f"in_{name}", (n_in,)))
            encoders.append(Population(name, (n_in,), NeuronModel(), 1.0, 0.0))
            projections.append(Projection(f"in_{name}", name, Dense(np.eye(n_in))))
            projections.append(Projection(name, "layer", Dense(np.atleast_2d(w)), tau))
    layer = Population("layer", (n_out,), neuron, gain, bias)
    projections.append(Projection("layer", "out", Dense(np.ones((1, n_out))), tau))
    return Graph(tuple(inputs), (*encoders, layer), tuple(projections), (Readout("out", (1,), 0.0),))


def integers(graph):
    """The quantized layer, its synapses and its scale group."""
    program = quantize(partition(graph, "first_layer"))
    return program.populations[0], program.into("layer"), program.scale_groups[0]


def real_weights(synapses):
    return synapses.transform.values.astype(np.int64) << synapses.shift


finite = st.floats(-1e3, 1e3).map(lambda v: round(v, 6))


@given(
    st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4),
    st.floats(-500, 500),
    st.sampled_from([NeuronModel(), LIF]),
    st.sampled_from([0, 0.001, 0.005, 0.1]),
)
def test_everything_is_in_the_chips_ranges(weights, bias, neuron, tau):
    try:
        layer, synapses, group = integers(network(weights, bias, neuron, tau))
    except QuantizationError as error:
        refused = str(error)
        assert "threshold" in refused or "weights too small beside the biases" in refused
        return
    assert layer.threshold % 2**LIMITS.threshold_shift == 0
    assert 0 < layer.threshold >> LIMITS.threshold_shift <= LIMITS.threshold_mantissa_max
    assert (np.abs(layer.bias) <= LIMITS.bias_mantissa_max << LIMITS.max_bias_exponent).all()
    assert (np.abs(synapses[0].transform.values.astype(int)) <= 127).all()
    exact = np.array(weights) / 0.001 * group.current_scale
    assert (np.abs(real_weights(synapses[0]) - exact) <= 2 ** synapses[0].shift / 2 + 1e-6).all()


def nengo_loihi_block(weights, bias, neuron, tau):
    """The same layer as a nengo-loihi block with its own integers."""
    block_module = pytest.importorskip("nengo_loihi.block", reason="the extra 'convert' is not installed")
    from nengo_loihi.builder.discretize import discretize_block

    n_out, n_in = weights.shape
    block = block_module.LoihiBlock(n_out)
    if neuron.kind == "lif":
        block.compartment.configure_lif(tau_rc=neuron.tau_rc, tau_ref=neuron.tau_ref, dt=0.001)
    else:
        block.compartment.configure_relu(dt=0.001, vth=1000.0)
    block.compartment.bias[:] = bias
    block.compartment.configure_filter(tau, dt=0.001)
    synapse = block_module.Synapse(n_in)
    synapse.set_weights((weights / 0.001).T)
    block.add_synapse(synapse)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Lost .* extra bits in weight rounding"
        )  # compared only where none is lost
        discretize_block(block)
    return block


def test_a_leak_or_a_synapse_too_slow_for_the_chip_is_none():
    weights = 1e-3 * np.arange(1.0, 7.0).reshape(2, 3)
    layer, (synapses,), group = integers(network(weights, neuron=NeuronModel("lif", 100.0, 0.002)))
    plain, (same,), other = integers(network(weights))
    assert layer.decay_v == plain.decay_v == 0
    exact = weights / 0.001
    for made, scale in ((synapses, group.current_scale), (same, other.current_scale)):
        assert np.abs(real_weights(made) - exact * scale).max() <= 2**made.shift / 2


@pytest.mark.parametrize("magnitude", [2.5, 4.0, 30.0])
def test_a_level_is_what_a_unit_of_a_stored_weight_stands_for(magnitude):
    weights = magnitude * np.random.default_rng(0).uniform(-1, 1, (4, 6))
    _, (synapses,), group = integers(network(weights))
    level = level_step(np.abs(weights).max() / 0.001, LIMITS, Levels(LIMITS.weight_limit, 8))
    assert level == pytest.approx(2**synapses.shift / group.current_scale, rel=0.02)  # thresholds are rounded


@pytest.mark.parametrize("bits", [8, 4])
def test_with_rates_stored_weights_keep_the_mean_input_better(bits):
    rng = np.random.default_rng(2)
    weights = rng.uniform(-1, 1, (5, 40))
    parts = partition(network(weights), "first_layer")
    rates = {"a": rng.uniform(10, 100, 40)}
    errors = []
    for known in (None, rates):
        program = quantize(parts, "loihi", rates=known, weight_bits=bits)
        (synapses,), (group,) = program.into("layer"), program.scale_groups
        made = real_weights(synapses) / group.current_scale * 0.001
        errors.append(np.abs((made - weights) @ rates["a"]).sum())
        unit = 2 ** (8 - bits)
        assert (synapses.transform.values % unit == 0).all()
        assert np.abs(made - weights).max() <= 1.1 * unit * 2**synapses.shift / group.current_scale * 0.001
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("neuron", [IF, LIF], ids=["if", "lif"])
def test_what_nothing_drives_has_the_highest_threshold(neuron):
    layer, (synapses,), _ = integers(network(np.zeros((2, 3)), neuron=neuron))
    assert not synapses.transform.values.any()
    assert LIMITS.threshold_max - 128 <= layer.threshold <= LIMITS.threshold_max


def test_voltages_end_at_zero_or_where_the_register_does():
    for below_zero, lowest in ((False, 0), (True, -(2**23) + 1)):
        layer, _, _ = integers(network(np.eye(3), neuron=NeuronModel(below_zero=below_zero)))
        assert layer.v_min == lowest


def test_biases_that_are_not_there_are_rounded_without_an_error():
    weights = np.eye(3)
    assert integers(network(weights))[2].bias_rms_error == 0
    assert 0 < integers(network(weights, bias=1 / 3))[2].bias_rms_error < 0.01


def test_the_largest_row_counts_for_the_currents_of_inputs():
    assert _largest_row_sum(Dense(np.array([[0.5, 0.0, 0.0], [1.0, -2.0, 0.25]])).csr()) == 3.25
    assert _largest_row_sum(Dense(np.zeros((2, 3))).csr()) == 0


@pytest.mark.parametrize("neuron", [NeuronModel(), LIF], ids=["if", "lif"])
@pytest.mark.parametrize("tau", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("magnitude", [1.0, 0.1, 0.03, 0.008])
def test_one_projection_gives_nengo_loihis_integers(neuron, tau, magnitude):
    # float32 and float64 scales differ in the last digit: at rounding ties one step of 64, or one unit
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(20, 30)).astype(np.float32).astype(float)
    weights *= magnitude / np.abs(weights).max()
    if neuron.kind == "lif":
        weights *= 0.02  # so that the threshold of 1 is in range
    bias = rng.uniform(-1, 1, 20) * (0.5 if neuron.kind == "lif" else 100)
    layer, (synapses,), _ = integers(network(weights, bias, neuron, tau))
    block = nengo_loihi_block(weights, bias, neuron, tau)
    compartment = block.compartment
    assert layer.decay_u == compartment.decay_u[0]
    assert layer.decay_v == compartment.decay_v[0]
    assert layer.refractory == compartment.refract_delay[0]
    assert abs(layer.threshold - compartment.vth[0]) <= 64
    assert (np.abs(layer.bias - compartment.bias) <= np.maximum(1, np.abs(layer.bias) // 4095)).all()
    if block.synapses[0].synapse_cfg.weight_exp >= -1:  # below, nengo-loihi rounds twice
        found = np.array(block.synapses[0].weights)[:, 0].T
        difference = np.abs(real_weights(synapses) - found)
        assert (difference <= 2**synapses.shift).all()
        assert (difference > 0).mean() < 0.01


def test_projections_keep_their_proportions():
    # nengo-loihi makes the smaller of two projections 3 to 10 times too strong here (builder/discretize.py:411)
    for ratio in (2, 20, 64, 100, 200):
        weights = np.array([[1.0, -0.7, 0.4]])
        graph = network(0.012 * weights, second=0.012 * weights / ratio)
        _, (large, small), group = integers(graph)
        for synapses, factor in ((large, 0.012), (small, 0.012 / ratio)):
            exact = weights * factor / 0.001 * group.current_scale
            assert (np.abs(real_weights(synapses) - exact) <= 2**synapses.shift / 2 + 1e-6).all()


def test_gain_per_neuron_goes_into_the_weights():
    gain = np.array([1.0, 0.5, 0.25])
    _, (synapses,), group = integers(network(np.ones((3, 2)), gain=gain))
    exact = np.ones((3, 2)) * gain[:, None] / 0.001 * group.current_scale
    assert (np.abs(real_weights(synapses) - exact) <= 2**synapses.shift / 2).all()


def test_convolution_stays_shared():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    graph = Graph(
        (Input("x", (8, 8, 1)),),
        (
            Population("e", (8, 8, 2), NeuronModel(), 1.0, 0.0),
            Population("c", (3, 3, 4), NeuronModel(), 2.0, np.tile([0.0, 1.0, 2.0, 3.0], 9)),
        ),
        (
            Projection("x", "e", Conv2D(np.ones((1, 1, 1, 2)), (1, 1), (0, 0), (8, 8, 1), (8, 8, 2))),
            Projection("e", "c", Conv2D(kernel, (2, 2), (0, 0), (8, 8, 2), (3, 3, 4)), 0.005),
        ),
    )
    program = quantize(partition(graph))
    assert isinstance(program.synapses[0].transform, Conv2D)
    assert program.synapses[0].transform.values.dtype == np.int8


def test_every_problem_is_named_at_once():
    slow = replace(LIF, tau_ref=0.1)
    graph = network([[1.0, 2.0]], neuron=slow, second=[[1.0, 1.0]])
    projections = tuple(replace(p, tau=0.01) if p.name == "b->layer" else p for p in graph.projections)
    with pytest.raises(QuantizationError) as caught:
        integers(replace(graph, projections=projections))
    text = str(caught.value)
    assert "0.005 s, 0.01 s" in text
    assert "101 steps" in text
    assert len(caught.value.problems) == 2


def test_threshold_that_rounds_to_zero_is_named():
    with pytest.raises(QuantizationError, match="layer: threshold out of range"):
        integers(network([[1e4, 1.0]]))


def test_population_driven_by_its_bias_alone():
    layer, _, group = integers(network(np.zeros((2, 3)), bias=[100.0, 50.0]))
    assert layer.bias[0] == pytest.approx(2 * layer.bias[1], rel=1e-3)
    assert layer.threshold / layer.bias[0] == pytest.approx(10, rel=1e-3)  # 100 Hz at 1 ms: 10 steps
    assert group.weight_rms_error == 0


def test_rounding_error_is_reported():
    weights = np.random.default_rng(1).normal(size=(10, 10))
    _, (synapses,), group = integers(network(weights))
    exact = weights / 0.001 * group.current_scale
    error = real_weights(synapses) - exact
    assert group.weight_rms_error == pytest.approx(np.sqrt((error**2).sum() / (exact**2).sum()))
    assert group.n_weights == 100
    assert group.saturated_weights == 0


def problem_of(graph):
    with pytest.raises(QuantizationError) as caught:
        integers(graph)
    (problem,) = caught.value.problems
    return problem


def fold(remedy):
    return float(re.search(r"([\d.e+]+)-fold", remedy)[1])


@pytest.mark.follows(
    "Raise the firing rate of this layer …",
)
def test_weights_too_small_for_the_threshold_and_the_rate_that_cures_it():
    # the same layer at 1/20,000 of its rates: gain and bias shrink together
    graph = network([[1.0, -0.5]], gain=5e-5, bias=5e-3)
    problem = problem_of(graph)
    assert problem.what.startswith("weights too small beside the threshold")
    assert "Raise the firing rate of this layer" in problem.remedy
    factor = fold(problem.remedy)
    assert 1 < factor < 100
    integers(scale_firing_rates(graph, {"layer": factor}))
    problem_of(scale_firing_rates(graph, {"layer": 0.9 * factor / 1.1}))


@pytest.mark.follows(
    "Lower the firing rates of the layers before it …: their spikes then count for more",
)
def test_weights_too_small_for_the_biases_and_the_rates_that_cure_it():
    graph = network([[1e-3, -5e-4]], bias=1e5)
    problem = problem_of(graph)
    assert problem.what.startswith("weights too small beside the biases")
    assert "Lower the firing rates of the layers before it" in problem.remedy
    factor = fold(problem.remedy)
    integers(scale_firing_rates(graph, {"a": 1 / factor}))
    problem_of(scale_firing_rates(graph, {"a": 1.2 / factor}))
    problem_of(scale_firing_rates(graph, {"layer": 1 / factor}))  # its own rate changes nothing


@pytest.mark.parametrize(("weight", "bias", "cause"), [(1e4, 0.0, "weights"), (200.0, 1e8, "biases")])
@pytest.mark.follows(
    "Lower the firing rate of this layer …",
)
def test_threshold_too_low_and_the_rate_that_cures_it(weight, bias, cause):
    graph = network([[weight, 1.0]], bias=bias)
    problem = problem_of(graph)
    assert problem.what == f"threshold out of range, too low beside the {cause}"
    assert "Lower the firing rate of this layer" in problem.remedy
    integers(scale_firing_rates(graph, {"layer": 1 / fold(problem.remedy)}))


@pytest.mark.follows(
    "Give all projections into it the same synapse, as with DeployOptions(layer_synapses={…: …})",
    "Choose a refractory period of … s or less",
)
def test_remedies_for_synapses_and_refractory_periods_help():
    graph = network([[1.0, 2.0]], second=[[1.0, 1.0]])
    projections = tuple(replace(p, tau=0.01) if p.name == "b->layer" else p for p in graph.projections)
    mixed = replace(graph, projections=projections)
    assert "DeployOptions(layer_synapses={'layer': 0.01})" in problem_of(mixed).remedy
    integers(with_synapses(mixed, {"layer": 0.01}))

    problem = problem_of(network([[0.01, 0.02]], neuron=replace(LIF, tau_ref=0.1)))
    longest = float(re.search(r"([\d.]+) s or less", problem.remedy)[1])
    layer, _, _ = integers(network([[0.01, 0.02]], neuron=replace(LIF, tau_ref=longest)))
    assert layer.refractory == 63


@pytest.mark.parametrize(
    ("factor", "told"),
    [(1.01, "1.1"), (2.0, "2"), (9.91, "10"), (23.4, "24"), (0.0123, "0.013"), (101, "110")],
)
def test_a_factor_is_told_in_two_digits_that_are_enough(factor, told):
    assert _times(factor) == f"{told}-fold or more"


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_a_shift_is_the_finest_that_holds_the_largest_weight(bits):
    """Of a projection whose weights are smaller than those of another, around every half of a level."""
    first = np.random.default_rng(0).uniform(-1, 1, (4, 6))
    most, unit = 2 ** (bits - 1) - 1, 2 ** (8 - bits)
    used = set()
    for part in np.linspace(0.02, 0.6, 59):
        graph = network(first, second=part * np.eye(4, 6))
        program = quantize(partition(graph, "first_layer"), weight_bits=bits)
        made = next(s for s in program.into("layer") if s.pre == "b")
        exact = part / 0.001 * program.scale_groups[0].current_scale
        shifts = sorted(LIMITS.weight_shifts)
        fitting = [s for s in shifts if exact / 2**s < (most + 0.5) * unit]
        assert made.shift == (fitting or shifts[-1:])[0]
        used.add(made.shift)
    assert len(used) > 1


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_a_level_of_few_bits_is_what_quantization_makes_of_it(bits):
    weights = 4.0 * np.random.default_rng(1).choice([-1.0, 1.0], (4, 6))
    program = quantize(partition(network(weights), "first_layer"), weight_bits=bits)
    (made,), scale = program.into("layer"), program.scale_groups[0].current_scale
    level = level_step(4.0 / 0.001, LIMITS, Levels(LIMITS.weight_limit, bits))
    assert level == pytest.approx(2 ** (8 - bits) * 2**made.shift / scale, rel=0.02)
    assert round(4000 / level) == 2 ** (bits - 1) - (bits < 8)  # of 128 the last is clipped


@pytest.mark.parametrize("tau", [0.0, 0.005, 0.02])
def test_the_largest_bias_of_what_biases_alone_drive_is_the_chips_over_a_power_of_two(tau):
    layer, _, group = integers(network(np.zeros((3, 2)), bias=np.array([30.0, 7.0, -3.0]), tau=tau))
    assert layer.bias.max() in {LIMITS.bias_mantissa_max << k for k in range(LIMITS.max_bias_exponent + 1)}
    np.testing.assert_allclose(layer.bias / layer.bias[0], [1, 7 / 30, -0.1], rtol=1e-3)
    assert group.bias_scale * 30 == pytest.approx(layer.bias.max(), rel=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_weights_that_would_round_beyond_the_last_level_are_counted_as_saturated(bits):
    weights = np.random.default_rng(2).standard_t(2, (20, 30))
    program = quantize(partition(network(weights), "first_layer"), weight_bits=bits)
    (made,), group = program.into("layer"), program.scale_groups[0]
    levels = np.abs(weights / 0.001 * group.current_scale) / 2 ** (made.shift + 8 - bits)
    assert group.saturated_weights == (levels > 2 ** (bits - 1) - 0.5).sum()
    assert group.zeroed_weights == (np.round(levels) == 0).sum()
    assert (group.saturated_weights > 0) is (bits < 8)

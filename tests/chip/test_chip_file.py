"""Every number of the arithmetic, changed, changes what is computed as plain integers say, or is refused."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.hardware import Arithmetic, Board
from loihi_deploy.chip.nengo_loihi import nengo_loihi_problems
from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.errors import BackendError, BoardConfigError, InputError, MappingError, QuantizationError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.program import Compartments, Program, SpikeSource, Synapses
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize

BOARD = load_board("loihi")
LOIHI = BOARD.chip.arithmetic
NOTHING = Graph((), (), ())
N, STEPS = 6, 40


def board_with(**numbers):
    """Loihi with other numbers, as a file with these would give it."""
    data = asdict(BOARD)
    data["chip"]["arithmetic"].update(numbers)
    return Board.from_dict(data)


def arithmetic_with(**numbers):
    return board_with(**numbers).chip.arithmetic


def a_program(arithmetic, *, decay_u=300, decay_v=100, refractory=2):
    """Six neurons with strong weights of both shifts, a leak, biases."""
    rng = np.random.default_rng(5)
    lowest, highest = arithmetic.weight_shifts[0], arithmetic.weight_shifts[-1]
    neurons = Compartments(
        "p",
        (N,),
        decay_u,
        decay_v,
        20 << arithmetic.threshold_shift,
        np.arange(N) * 16,
        refractory,
        v_min=-(2**10) + 1,
    )
    weights = [rng.integers(-90, 128, (N, 5)).astype(np.int8) for _ in range(2)]
    synapses = (
        Synapses("s", "p", Dense(weights[0]), highest),
        Synapses("p", "p", Dense(weights[1][:, [0, 1, 2, 3, 4, 0]]), lowest),
    )
    return Program(NOTHING, (SpikeSource("s", (5,)),), (neurons,), synapses, NOTHING, arithmetic=arithmetic)


def by_hand(program, spikes, numbers):
    """The program in Python's integers, with the numbers of a chip file: (spikes, u, v), each (steps, N)."""

    def wrapped(x, bits):
        return (x + 2**bits) % 2 ** (bits + 1) - 2**bits

    def kept(x, offset, decay):
        size = abs(x) * (2 ** numbers["decay_bits"] - offset - decay) // 2 ** numbers["decay_bits"]
        return size if x >= 0 else -size

    p = program.populations[0]
    u, v, wait, last = [0] * N, [0] * N, [0] * N, [0] * N
    found = []
    for t in range(STEPS):
        arriving = {"s": spikes[t - 1].astype(int) if t else np.zeros(5, int), "p": np.array(last)}
        fired = []
        for i in range(N):
            q = sum(
                int(w) * int(n) * 2**s.shift
                for s in program.synapses
                for w, n in zip(s.transform.weights[i], arriving[s.pre], strict=True)
            )
            q = wrapped(q, numbers["accumulator_bits"])
            u[i] = wrapped(
                kept(u[i], numbers["current_decay_offset"], p.decay_u) + q, numbers["current_bits"]
            )
            u2 = wrapped(u[i] + int(p.bias[i]), numbers["current_bits"])
            v[i] = min(max(kept(v[i], numbers["voltage_decay_offset"], p.decay_v) + u2, p.v_min), p.v_max)
            if wait[i] > 0:
                v[i] = 0
            fires = v[i] > p.threshold
            if fires:
                v[i], wait[i] = 0, p.refractory
            wait[i] = max(wait[i] - 1, 0)
            fired.append(int(fires))
        last = fired
        found.append((list(fired), list(u), list(v)))
    return [np.array(part) for part in zip(*found, strict=True)]


SPIKES = np.random.default_rng(1).random((STEPS, 5)) < 0.4
CHANGED_STEPS = {
    "accumulator_bits": 14,
    "current_bits": 15,
    "decay_bits": 10,
    "current_decay_offset": 40,
    "voltage_decay_offset": 55,
    "weight_shift": 4,
    "weight_mantissa_step": 4,
    "threshold_shift": 9,
}


WIDTHS = {key: CHANGED_STEPS[key] for key in ("accumulator_bits", "current_bits", "decay_bits")}


@pytest.mark.parametrize(
    ("engine", "key"),
    [(plain, key) for key in (None, *CHANGED_STEPS, "widths")]
    + [(compiled, key) for key in (None, *CHANGED_STEPS, "widths") if key not in WIDTHS],
)
def test_a_step_computes_with_the_numbers_of_the_file(engine, key):
    """The compiled engine takes some seconds to compile for other widths: all are changed at once for it."""
    changed = dict(WIDTHS) if key == "widths" else {key: CHANGED_STEPS[key]} if key else {}
    if key == "weight_mantissa_step":
        changed["weight_mantissa_max"] = 4 * 127
    arithmetic = arithmetic_with(**changed)
    program = a_program(arithmetic)
    found = engine.simulate(program, {"s": SPIKES[None]}, STEPS, {"p": ["spikes", "u", "v"]}).recorded["p"]
    expected = by_hand(program, SPIKES, asdict(arithmetic))
    for variable, values in zip(("spikes", "u", "v"), expected, strict=True):
        assert (found[variable][0] == values).all(), variable
    assert expected[0].any()
    if key:
        usual = by_hand(a_program(LOIHI), SPIKES, asdict(LOIHI))
        assert any((a != b).any() for a, b in zip(usual, expected, strict=True)), (
            "the number has no effect here"
        )


@pytest.mark.parametrize("engine", [plain, compiled])
def test_a_current_that_keeps_everything_and_shifts_far_apart(engine):
    arithmetic = arithmetic_with(current_decay_offset=0, max_weight_exponent=3)
    assert list(arithmetic.weight_shifts) == [6, 7, 8, 9, 10]
    program = a_program(arithmetic, decay_u=0, refractory=1)
    found = engine.simulate(program, {"s": SPIKES[None]}, STEPS, {"p": ["spikes", "u", "v"]}).recorded["p"]
    for variable, values in zip(
        ("spikes", "u", "v"), by_hand(program, SPIKES, asdict(arithmetic)), strict=True
    ):
        assert (found[variable][0] == values).all(), variable


def a_network(neuron=NeuronModel(), bias=0.3, weight=0.02, tau=0.005):  # noqa: B008
    rng = np.random.default_rng(2)
    return Graph(
        (Input("x", (4,)),),
        (
            Population("e", (4,), NeuronModel(), 1.0, 0.0),
            Population("p", (3,), neuron, 1.0, bias * np.array([1, -0.5, 0.25])),
        ),
        (
            Projection("x", "e", Dense(np.eye(4))),
            Projection("e", "p", Dense(weight * rng.uniform(-1, 1, (3, 4))), tau),
            Projection("p", "out", Dense(np.ones((1, 3))), tau),
        ),
        (Readout("out", (1,), np.zeros(1)),),
    )


def quantized(board, **network):
    program = quantize(partition(a_network(**network), "first_layer"), board.chip)
    return program, program.populations[0], program.synapses[0]


LIF = NeuronModel("lif", 0.02, 0.002)


def test_ranges_of_weights_are_those_of_the_file():
    _, _, weights = quantized(BOARD)
    for limit, step in ((254, 2), (60, 2), (31, 1), (120, 8)):
        _, _, found = quantized(board_with(weight_mantissa_max=limit, weight_mantissa_step=step))
        assert np.abs(found.transform.values.astype(int)).max() <= limit // step
    assert np.abs(weights.transform.values.astype(int)).max() > 60
    program, _, found = quantized(board_with(weight_shift=8))
    assert found.shift >= 8
    assert program.weight_exponent(found) == found.shift - 9
    assert found.shift > weights.shift


def test_exponents_of_weights_are_those_of_the_file():
    """The search begins at the largest exponent and ends at the smallest."""
    with pytest.raises(QuantizationError):
        quantized(board_with(min_weight_exponent=-1), neuron=LIF, bias=1e4)
    _, few, _ = quantized(board_with(max_weight_exponent=-1), weight=0.5)
    _, many, _ = quantized(BOARD, weight=0.5)
    assert few.threshold == pytest.approx(many.threshold / 2, abs=64)
    _, _, coarse = quantized(board_with(min_weight_exponent=0), weight=0.5)
    assert coarse.shift == 7
    _, _, fine = quantized(board_with(max_weight_exponent=-1), weight=0.5)
    assert fine.shift == 6


def test_ranges_of_thresholds_are_those_of_the_file():
    _, usual, _ = quantized(BOARD)
    for mantissa, shift in ((131071, 6), (2000, 6), (131071, 2), (300, 10)):
        _, p, _ = quantized(board_with(threshold_mantissa_max=mantissa, threshold_shift=shift))
        assert p.threshold % 2**shift == 0
        assert 0 < p.threshold >> shift <= mantissa
    assert usual.threshold >> 6 > 2000


def test_ranges_of_biases_are_those_of_the_file():
    for mantissa, exponent in ((4095, 7), (15, 9), (4095, 0)):
        _, p, _ = quantized(
            board_with(bias_mantissa_max=mantissa, max_bias_exponent=exponent), bias=300.0, weight=0.5
        )
        for value in np.abs(p.bias).tolist():
            assert any(value % 2**e == 0 and value >> e <= mantissa for e in range(exponent + 1))
        assert p.bias.any()
    assert np.abs(quantized(BOARD, bias=300.0, weight=0.5)[1].bias).max() > 4095


def test_decays_are_those_of_the_file():
    for bits, offset_u, offset_v in ((12, 1, 0), (9, 1, 0), (12, 7, 0), (12, 1, 5)):
        numbers = {"decay_bits": bits, "current_decay_offset": offset_u, "voltage_decay_offset": offset_v}
        _, p, _ = quantized(board_with(**numbers), neuron=LIF, weight=2e-5)
        full = 2**bits - 1
        assert p.decay_u == round((1 - np.exp(-0.001 / 0.005)) * full - offset_u)
        assert p.decay_v == round((1 - np.exp(-0.001 / 0.02)) * full - offset_v)


def test_refractory_delays_are_those_of_the_file():
    for numbers in ({"min_refractory_delay": 4}, {"max_refractory_delay": 2}):
        with pytest.raises(QuantizationError, match="refractory delay out of range"):
            quantized(board_with(**numbers), neuron=LIF, weight=2e-5)
    assert quantized(BOARD, neuron=LIF, weight=2e-5)[1].refractory == 3


def test_bounds_of_the_voltage_are_those_of_the_file():
    _, p, _ = quantized(board_with(max_v_max_exponent=6))
    assert p.v_max == 2**21 - 1
    assert p.threshold < p.v_max
    _, p, _ = quantized(board_with(max_v_min_exponent=9), tau=np.inf)
    assert p.v_min == -(2**9) + 1
    assert quantized(BOARD, tau=np.inf)[1].v_min == -(2**23) + 1


QUANTIZED = {
    *(
        "weight_mantissa_max",
        "weight_mantissa_step",
        "weight_shift",
        "min_weight_exponent",
        "max_weight_exponent",
    ),
    *("threshold_mantissa_max", "threshold_shift", "bias_mantissa_max", "max_bias_exponent", "decay_bits"),
    *("current_decay_offset", "voltage_decay_offset", "min_refractory_delay", "max_refractory_delay"),
    *("max_v_min_exponent", "max_v_max_exponent"),
}


def test_no_number_is_left_out():
    assert {field.name for field in fields(Arithmetic)} == QUANTIZED | set(CHANGED_STEPS)


@pytest.mark.parametrize(
    ("numbers", "key"),
    [
        ({"decay_bits": 16}, "decay_bits"),
        ({"accumulator_bits": 30}, "accumulator_bits"),
        ({"current_bits": 31}, "current_bits"),
        ({"max_refractory_delay": 257}, "max_refractory_delay"),
        ({"weight_mantissa_max": 256}, "weight_mantissa_max"),
        ({"weight_mantissa_step": 3}, "weight_mantissa_step"),
        ({"max_weight_exponent": -2}, "max_weight_exponent"),
        ({"threshold_shift": 15}, "threshold_mantissa_max"),
        ({"max_bias_exponent": 28}, "bias_mantissa_max"),
        ({"max_v_max_exponent": 11}, "max_v_max_exponent"),
        ({"current_decay_offset": 4097}, "current_decay_offset"),
        ({"decay_bits": 12.0}, "decay_bits"),
        ({"decay_bits": True}, "decay_bits"),
    ],
)
def test_what_the_engines_cannot_compute_is_refused_with_its_key(numbers, key):
    with pytest.raises(BoardConfigError, match=key):
        arithmetic_with(**numbers)


@pytest.mark.parametrize("key", [field.name for field in fields(Arithmetic)])
def test_nengo_loihi_refuses_numbers_that_are_not_its_own(key):
    assert nengo_loihi_problems(LOIHI) == nengo_loihi_problems(LOIHI, builds=True) == []
    other = {"weight_mantissa_step": 1, "weight_mantissa_max": 100, "max_v_min_exponent": 30}.get(key)
    other = other if other is not None else getattr(LOIHI, key) + (-1 if key.startswith("min_w") else 1)
    numbers = {key: other}
    if key == "weight_mantissa_step":
        numbers["weight_mantissa_max"] = 120
    (problem,) = [
        p for p in nengo_loihi_problems(arithmetic_with(**numbers), builds=True) if f"'{key}'" in p.where
    ]
    assert problem.value == other
    assert problem.limit == str(getattr(LOIHI, key))


def test_the_backend_refuses_what_nengo_loihi_cannot_compute():
    nengo_loihi = pytest.importorskip("loihi_deploy.backends.nengo_loihi")
    pytest.importorskip("nengo_loihi", reason="needs the extra 'convert'")
    board = board_with(accumulator_bits=8)
    program = a_program(board.chip.arithmetic)
    with pytest.raises(BackendError, match=r"accumulator_bits.*found 8, allowed 21"):
        nengo_loihi.build_model(program, map_to_cores(program, board))


def test_the_simulator_refuses_what_nengo_loihi_cannot_build():
    nengo = pytest.importorskip("nengo", reason="needs the extra 'convert'")
    pytest.importorskip("nengo_loihi", reason="needs the extra 'convert'")
    from loihi_deploy.simulator import Simulator

    with nengo.Network(seed=0) as network:
        stimulus = nengo.Node(0.5)
        rest = {"voltage": nengo.dists.Choice([0])}
        pre = nengo.Ensemble(20, 1, neuron_type=nengo.LIF(initial_state=rest))
        nengo.Connection(stimulus, pre)
        out = nengo.Node(size_in=1)
        error = nengo.Node(size_in=1)
        learned = nengo.Connection(pre, out, function=lambda x: 0 * x, learning_rule_type=nengo.PES())
        nengo.Connection(error, learned.learning_rule)
    with pytest.raises(BackendError, match=r"current_bits.*found 20, allowed 23"):
        Simulator(network, board=board_with(current_bits=20), progress_bar=False)
    data = asdict(BOARD)
    data["chip"]["core"]["max_stdp_profiles"] = 0
    with pytest.raises(MappingError, match="learning rules"):
        Simulator(network, board=Board.from_dict(data), progress_bar=False)
    Simulator(network, board=BOARD, progress_bar=False).close()


def test_a_program_is_mapped_to_the_chip_that_it_was_made_for():
    program = a_program(LOIHI)
    with pytest.raises(MappingError, match=r"decay_bits.*found 10, allowed 12.*Quantize"):
        map_to_cores(program, board_with(decay_bits=10))
    assert map_to_cores(a_program(arithmetic_with(decay_bits=10)), board_with(decay_bits=10)).n_cores == 1


def test_a_new_key_breaks_no_old_file(tmp_path, monkeypatch):
    """A key with a default may be missing; one without may not."""
    from dataclasses import dataclass, field

    from loihi_deploy.chip import boards, hardware

    @dataclass(frozen=True, kw_only=True)
    class Newer(hardware.CoreLimits):
        max_new_things: "int" = field(default=7, metadata={"minimum": 1})

    monkeypatch.setattr(boards, "CoreLimits", Newer)
    assert load_board("loihi").chip.core.max_new_things == 7


def test_the_arithmetic_leaves_the_digest_as_it_was():
    """Programs of files without one keep the digest that their mapping names."""
    import hashlib

    from loihi_deploy.ir import content

    program = a_program(LOIHI)
    state = hashlib.sha256()
    state.update(b"Program(")
    for spec in fields(Program):
        if spec.name != "notes" and "since" not in spec.metadata:  # left out where they say nothing new
            state.update(f"{spec.name}=".encode())
            content._feed(state, getattr(program, spec.name))
    state.update(b")")
    assert program.digest == state.hexdigest()
    assert a_program(arithmetic_with(current_bits=20)).digest != program.digest
    with pytest.raises(InputError, match="not a weight shift"):
        replace(program, arithmetic=arithmetic_with(weight_shift=8))

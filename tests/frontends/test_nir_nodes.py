"""What each setting of a NIR node decides, on both sides of every limit, and all that is refused, as whole text."""

import math
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, InputError, Problem
from loihi_deploy.frontends.channels_first import UnsupportedError
from loihi_deploy.frontends.nir import nir_input_shapes
from loihi_deploy.frontends.nir_file import NEEDED, NirNetwork, Node, network_of
from loihi_deploy.frontends.nir_neurons import cell_of, continuous, single_value, step_notes
from loihi_deploy.frontends.nir_shapes import as_stored, layout_of, own_shape, says_its_shape, shape_after
from loihi_deploy.ir import NeuronModel

DT = 0.001
AGAIN = "Write the file again with nir.write"
OPTIONS = ld.DeployOptions(normalization="none", dt=DT)


def node(kind, name="n", **values):
    return Node(name, kind, values)


def dictionary(nodes, edges):
    """A graph as nir writes it, of nodes (kind, values)."""
    inner = {name: {"type": kind, **values} for name, (kind, values) in nodes.items()}
    return {"type": "NIRGraph", "nodes": inner, "edges": edges}


def row(shape, *nodes):
    """The float graph of nodes one behind the other, the last of them neurons."""
    named = {"in": ("Input", {"shape": np.array(shape)})}
    named |= {f"n{k}": each for k, each in enumerate(nodes)}
    named["out"] = ("Output", {})
    names = list(named)
    return ld.frontends.convert(network_of(dictionary(named, list(pairwise(names)))), OPTIONS)


def problems_of(shape, *nodes):
    with pytest.raises(ConversionError) as caught:
        row(shape, *nodes)
    return list(caught.value.problems)


IF = ("IF", {"r": 1.0, "v_threshold": 1.0})
IF4 = ("IF", {"r": np.ones(4), "v_threshold": np.ones(4)})
CONV = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
POOL = {"kernel_size": 2, "stride": 2, "padding": 0}
KERNEL = np.arange(24.0).reshape(2, 2, 3, 2) - 10


def conv(weight=KERNEL, **more):
    return "Conv2d", {"weight": weight, "bias": np.arange(2.0), **CONV, **more}


def pool(kind="SumPool2d", **more):
    return kind, {**POOL, **more}


# -- shapes --------------------------------------------------------------------------------------------

SHAPES = [
    (conv(), (2, 6, 7), (2, 4, 6)),
    (conv(stride=[2, 3]), (2, 6, 7), (2, 2, 2)),
    (conv(stride=3), (2, 6, 7), (2, 2, 2)),
    (conv(padding=[1, 2]), (2, 6, 7), (2, 6, 10)),
    (conv(padding="same"), (2, 6, 7), (2, 6, 7)),
    (conv(padding="valid", stride=2), (2, 6, 7), (2, 2, 3)),
    (conv(dilation=[2, 4]), (2, 6, 7), (2, 2, 3)),
    (conv(input_shape=np.array([6, 7])), (2, 6, 7), (2, 4, 6)),
    (("Conv1d", {"weight": KERNEL[:, :, :, 0], "bias": np.zeros(2), **CONV}), (2, 7), (2, 5)),
    (("Conv1d", {"weight": KERNEL[:, :, :, 0], **CONV, "stride": 2, "padding": 1}), (2, 7), (2, 4)),
    (("Conv1d", {"weight": KERNEL[:, :, :, 0], **CONV, "input_shape": 7}), (2, 7), (2, 5)),
    (pool(), (2, 6, 7), (2, 3, 3)),
    (pool("AvgPool2d", kernel_size=[3, 2], stride=[1, 2], padding=[0, 1]), (2, 6, 7), (2, 4, 4)),
    (pool(kernel_size=[6, 7]), (2, 6, 7), (2, 1, 1)),
    (("Flatten", {"start_dim": 0, "end_dim": -1}), (2, 6, 7), (84,)),
    (("Flatten", {"start_dim": -3, "end_dim": 2}), (2, 6, 7), (84,)),
    (("Flatten", {"start_dim": 1, "end_dim": 1}), (2, 6, 7), (2, 6, 7)),
    (("Flatten", {"start_dim": 0, "end_dim": 0}), (5,), (5,)),
    (("Linear", {"weight": np.ones((5, 3))}), (3,), (5,)),
    (("Scale", {"scale": 2.0}), (2, 6, 7), (2, 6, 7)),
    (("LIF", {"tau": np.ones((2, 3)), "r": 1.0}), None, (2, 3)),
    (("LIF", {"tau": 1.0, "r": np.ones(1)}), (4,), (4,)),
    (("LIF", {"tau": 1.0, "r": 1.0}), None, (1,)),
    (("Input", {"shape": np.array([2, 3])}), None, (2, 3)),
]


@pytest.mark.parametrize(("described", "given", "wanted"), SHAPES)
def test_shapes(described, given, wanted):
    kind, values = described
    assert shape_after(node(kind, **values), given) == wanted


WRONG = [
    (conv(KERNEL[0]), (2, 6, 7), "weights of shape (2, 3, 2)"),
    (conv(), (84,), "needs images, not values of shape (84,)"),
    (conv(), (1, 2, 6, 7), "needs images, not values of shape (1, 2, 6, 7)"),
    (conv(stride=0), (2, 6, 7), "stride [0.0]"),
    (conv(stride=4097), (2, 6, 7), "stride [4097.0]"),
    (conv(stride=[1, 1.5]), (2, 6, 7), "stride [1.0, 1.5]"),
    (conv(stride=[1, 1, 1]), (2, 6, 7), "stride [1.0, 1.0, 1.0]"),
    (conv(stride=[1, 2, 3, 4, 5]), (2, 6, 7), "stride [1.0, 2.0, 3.0, 4.0]"),
    (conv(padding=-1), (2, 6, 7), "padding [-1.0]"),
    (conv(padding=[0, 4097]), (2, 6, 7), "padding [0.0, 4097.0]"),
    (conv(dilation=0), (2, 6, 7), "dilation [0.0]"),
    (conv(dilation=[2048, 1], padding=4096), (2, 6, 7), "a kernel wider than 4,096 pixels"),
    (conv(padding="same", stride=2), (2, 6, 7), "padding 'same' with strides"),
    (conv(padding="x" * 30), (2, 6, 7), f"padding '{'x' * 20}'"),
    (conv(padding=0), (2, 2, 7), "windows of (3, 2) pixels on images of (2, 7)"),
    (conv(input_shape=[7, 6]), (2, 6, 7), "an input_shape of (7, 6) on images of (6, 7)"),
    (conv(np.ones((2, 2, 1, 2)), input_shape=[6]), (2, 6, 7), "an input_shape of (6,) on images of (6, 7)"),
    (pool(kernel_size=7), (2, 6, 7), "windows of (7, 7) pixels on images of (6, 7)"),
    (("Linear", {"weight": np.ones(3)}), (3,), "weights of 1 dimensions"),
    (("Flatten", {"start_dim": 1, "end_dim": 0}), (2, 6, 7), "axes 1 to 0 of values of shape (2, 6, 7)"),
    (("Flatten", {"start_dim": 0, "end_dim": 3}), (2, 6, 7), "axes 0 to 3 of values of shape (2, 6, 7)"),
    (("Flatten", {"start_dim": -4, "end_dim": 2}), (2, 6, 7), "axes -1 to 2 of values of shape (2, 6, 7)"),
    (
        ("Flatten", {"start_dim": 1, "end_dim": -1}),
        *((2, 6, 7), "flattening (2, 6, 7) to (2, 42): flatten all axes, start_dim 0 and end_dim -1"),
    ),
    (
        ("LIF", {"tau": np.ones(3), "r": np.ones((2, 3)), "v_leak": 0.0}),
        *(None, "values of different shapes: (2, 3), (3,)"),
    ),
]


@pytest.mark.parametrize(("described", "given", "text"), WRONG)
def test_shapes_that_are_refused(described, given, text):
    kind, values = described
    with pytest.raises(UnsupportedError) as caught:
        shape_after(node(kind, **values), given)
    assert str(caught.value) == text


def test_windows_up_to_4096_pixels():
    wide = conv(np.ones((2, 2, 2, 1)), dilation=[4095, 1], stride=4096, padding=4096)
    assert shape_after(node(*wide[:1], **wide[1]), (2, 6, 7)) == (2, 2, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (1,), (1 << 27,)])
def test_shapes_of_samples(shape):
    given = node("Input", "x", shape=np.array(shape))
    network = NirNetwork({"x": given, "y": node("Output", "y")}, (("x", "y"),))
    assert nir_input_shapes(network) == {"x": shape}


@pytest.mark.parametrize("shape", [(), (0,), (2, -1), (2, 3, 4, 5), ((1 << 27) + 1,), (1 << 14, 1 << 14)])
def test_shapes_of_samples_that_are_none(shape):
    with pytest.raises(InputError) as caught:
        shape_after(node("Input", "x", shape=np.array(shape)), None)
    what = "not a shape of a sample, (n,), (channels, length) or (channels, height, width)"
    assert caught.value.problems == (Problem(what, "x", shape),)


@pytest.mark.parametrize(
    ("described", "says", "own"),
    [
        (node("LIF", tau=1.0, r=np.ones(2)), True, (2,)),
        (node("LIF", tau=1.0, r=np.ones(1)), False, ()),
        (node("LIF", tau=1.0, weight=np.ones((2, 3)), shape=np.ones(2), metadata={"a": 1}), False, ()),
        (node("LIF", tau=np.ones((1, 2)), r=np.ones((1, 2))), True, (1, 2)),
    ],
)
def test_neurons_that_say_how_many_they_are(described, says, own):
    assert says_its_shape(described) is says
    assert own_shape(described) == own


def test_weights_say_nothing_of_what_leads_there():
    assert not says_its_shape(node("Linear", weight=np.ones((2, 3))))
    assert not says_its_shape(node("Scale", scale=np.ones(3)))
    assert says_its_shape(node("Input", shape=np.array([3])))


def test_neurons_of_any_number_take_theirs_from_what_stands_behind_them_in_the_file():
    nodes = {
        "out": ("Output", {}),
        "second": IF,
        "first": IF,
        "w": ("Linear", {"weight": np.ones((5, 4))}),
        "in": ("Input", {"shape": np.array([4])}),
    }
    edges = [("in", "w"), ("w", "first"), ("first", "second"), ("second", "out")]
    graph = ld.frontends.convert(network_of(dictionary(nodes, edges)), OPTIONS)
    assert {p.name: p.shape for p in graph.populations} == {"first": (5,), "second": (5,)}


def test_channels_are_stored_last():
    assert layout_of((5,)) == ((5,), None)
    assert layout_of(()) == ((1,), None)
    stored, order = layout_of((2, 3))
    assert (stored, order.tolist()) == ((1, 3, 2), [0, 2, 4, 1, 3, 5])
    stored, order = layout_of((2, 1, 3))
    assert (stored, order.tolist()) == ((1, 3, 2), [0, 2, 4, 1, 3, 5])
    values = np.array([10, 11, 12, 20, 21, 22])
    assert as_stored(values, (2, 3)).tolist() == [10, 20, 11, 21, 12, 22]
    assert as_stored(np.array(7), (2, 3)) == 7
    assert as_stored(values, (6,)) is values
    with pytest.raises(UnsupportedError, match="values of 4 dimensions"):
        layout_of((1, 2, 3, 4))


# -- neurons -------------------------------------------------------------------------------------------

TAU_RC = -DT / math.log(1 - 0.05)
TAU_SYN = -DT / math.log(1 - 0.2)
LEAKY = {"tau": 0.02, "r": np.array([1.0, 3.0]), "v_leak": np.array([0.25, -0.5]), "v_threshold": 2.0}
CUBA = {"tau_syn": 0.005, "tau_mem": 0.02, "r": 2.0, "v_leak": 0.5, "v_threshold": np.array([1.0, 4.0])}


def leaky(tau_rc):
    return NeuronModel("lif", tau_rc=tau_rc, discretized=True, below_zero=True)


@pytest.mark.parametrize(
    ("described", "model", "tau", "gain", "bias"),
    [
        (
            node("IF", r=np.array([1.0, 3.0]), v_threshold=2.0),
            *(NeuronModel("if", discretized=True, below_zero=True), 0, [500, 1500], 0),
        ),
        (
            node("IF", r=2.0, v_threshold=1.0, v_reset=np.array([-1.0, -3.0])),
            *(NeuronModel("if", discretized=True, below_zero=True), 0, [1000, 500], 0),
        ),
        (node("LIF", **LEAKY), leaky(TAU_RC), 0, [0.5, 1.5], [0.125, -0.25]),
        (node("LIF", **LEAKY, v_reset=-2.0), leaky(TAU_RC), 0, [0.25, 0.75], [0.5625, 0.375]),
        (node("LIF", **{**LEAKY, "tau": DT}), leaky(DT / 64), 0, [0.5, 1.5], [0.125, -0.25]),
        (node("CubaLIF", **CUBA), leaky(TAU_RC), TAU_SYN, [2, 0.5], [0.5, 0.125]),
        (node("CubaLIF", **CUBA, w_in=5.0), leaky(TAU_RC), TAU_SYN, [10, 2.5], [0.5, 0.125]),
        (node("CubaLIF", **{**CUBA, "tau_syn": DT}), leaky(TAU_RC), 0, [2, 0.5], [0.5, 0.125]),
        (node("Threshold", threshold=np.array([0.5, 4.0])), leaky(DT / 64), 0, [2, 0.25], 0),
    ],
)
def test_neurons_in_terms_of_a_threshold_of_1(described, model, tau, gain, bias):
    cell = cell_of(described, (2,), DT)
    assert cell.model.kind == model.kind
    assert cell.model.tau_rc == pytest.approx(model.tau_rc, rel=1e-12)
    assert (cell.model.discretized, cell.model.below_zero) == (True, True)
    assert cell.tau == pytest.approx(tau, rel=1e-12)
    np.testing.assert_allclose(cell.gain, gain, rtol=1e-12)
    np.testing.assert_allclose(cell.bias, bias, rtol=1e-12)


def test_one_value_for_all_is_one_and_others_stand_for_each():
    cell = cell_of(node("LIF", **LEAKY, v_reset=np.zeros(2)), (2,), DT)
    assert cell.gain.shape == (2,)
    alike = cell_of(node("LIF", **{**LEAKY, "r": np.full(2, 3.0), "v_leak": np.full((2,), 0.5)}), (2,), DT)
    assert (np.shape(alike.gain), np.shape(alike.bias)) == ((), ())
    assert (alike.gain, alike.bias) == (1.5, 0.25)


SHORT = (
    "a time constant of 0.0009 s, shorter than a step of 0.001 s: give the step that the file was made with, as with "
    "DeployOptions(dt=1e-4) for snnTorch"
)
SUBTRACT = (
    "a reset by subtraction, in the metadata, which NIR and the chip have not: without that entry it is read as a "
    "reset to v_reset, which loses what v is above the threshold, so that neurons fire less"
)


@pytest.mark.parametrize(
    ("described", "text"),
    [
        (node("LIF", **{**LEAKY, "tau": 0.0009}), SHORT),
        (
            node("LIF", **{**LEAKY, "v_threshold": 0.0}),
            "thresholds that are not above the voltage of the reset",
        ),
        (
            node("LIF", **LEAKY, v_reset=np.array([1.0, 2.0])),
            "thresholds that are not above the voltage of the reset",
        ),
        (
            node("LIF", **{**LEAKY, "tau": np.array([0.02, 0.021])}),
            "tau that differ between neurons (0.02 to 0.021), where a layer has one",
        ),
        (node("LIF", **LEAKY, metadata={"Reset_Mechanism": "Subtract"}), SUBTRACT),
        (node("LIF", **LEAKY, metadata={"softReset": True}), SUBTRACT),
        (node("LIF", **{**LEAKY, "r": np.ones(3)}), "r of shape (3,) on values of shape (2,)"),
        (node("LIF", **{**LEAKY, "r": np.ones((2, 1))}), "r of shape (2, 1) on values of shape (2,)"),
    ],
)
def test_neurons_that_are_refused(described, text):
    with pytest.raises(UnsupportedError) as caught:
        cell_of(described, (2,), DT)
    assert str(caught.value) == text


def test_metadata_that_says_nothing_of_resets():
    for said in ({"reset": "zero"}, "soft", {}):
        assert cell_of(node("LIF", **LEAKY, metadata=said), (2,), DT) is not None


def test_values_within_single_precision_are_one():
    assert single_value(node("LIF", tau=np.array([2.0, 2.00001])), "tau") == 2.0
    assert single_value(node("LIF", tau=np.array([-2.0, -2.00001])), "tau") == -2.0
    with pytest.raises(UnsupportedError):
        single_value(node("LIF", tau=np.array([2.0, 2.00003])), "tau")


def test_time_constants_of_a_step():
    assert continuous(0.02, DT) == pytest.approx(TAU_RC, rel=1e-12)
    assert continuous(DT, DT) == 0
    assert continuous(DT * (1 - 1e-7), DT) == 0  # as single precision has it
    assert continuous(DT * (1 + 1e-3), DT) > 0
    for wrong in (DT * (1 - 1e-5), 0.0, -1.0):
        with pytest.raises(UnsupportedError):
            continuous(wrong, DT)


STEPS = [
    ([node("LIF", tau=0.002, r=20.0)], DT, 1e-4),
    ([node("LIF", tau=0.002, r=np.array([20.0, 20.0])), node("CubaLIF", tau_mem=0.004, r=40.0)], DT, 1e-4),
    ([node("LIF", tau=0.002, r=20.0), node("LIF", tau=0.02, r=20.0)], DT, None),
    ([node("LIF", tau=0.002, r=20.0)], 1e-4, None),
    ([node("LIF", tau=0.002, r=20.0)], 1.0005e-4, None),
    ([node("LIF", tau=0.002, r=20.0)], 1.002e-4, 1e-4),
    ([node("LIF", tau=0.002, r=1.0)], DT, None),
    ([node("LIF", tau=0.002, r=np.array([20.0, 0.0]))], DT, None),
    ([node("LIF", tau=0.002, r=-20.0)], DT, None),
    ([node("LIF", tau=np.array([0.002, 0.001]), r=np.array([1.0, 10.0]))], DT, None),
    ([node("LI", tau=0.002, r=20.0), node("IF", r=20.0)], DT, None),
]


@pytest.mark.parametrize(("nodes", "dt", "step"), STEPS)
def test_steps_that_a_file_seems_to_be_made_with(nodes, dt, step):
    wanted = (
        f"the file's r = tau / {step:g} s look like steps of {step:g} s, where {dt:g} s were given: if they are, give "
        f"DeployOptions(dt={step:g})"
        if step
        else None
    )
    assert step_notes(nodes, dt) == ([wanted] if wanted else [])


# -- whole graphs --------------------------------------------------------------------------------------


def test_delays_of_whole_steps_from_0_to_1000():
    for steps in (0, 1.0009, 61.9991, 1000):
        graph = row((4,), IF4, ("Delay", {"delay": np.full(4, steps * DT)}), IF4)
        relays = {1000: 15}.get(steps, 0)  # each 62 steps of a synapse, and one more
        assert len(graph.populations) == 2 + relays
        late = [p.delays for p in graph.projections if p.post == "n2"]
        assert [int(0 if d is None else d) for d in late] == [{0: 0, 1.0009: 1, 61.9991: 62, 1000: 55}[steps]]
    said = "delays other than 0 to 1000 whole steps of 0.001 s"
    remedy = "Use DeployOptions(dt=...), the step that the network was trained in"
    for steps in (-1, 0.9985, 1.0015, 1001):
        found = problems_of((4,), IF4, ("Delay", {"delay": np.full(4, steps * DT)}), IF4)
        assert found == [Problem(said, "node 'n1' (Delay)", remedy=remedy)]


def test_relays_stand_between_what_they_repeat_and_what_hears_it():
    graph = row((4,), IF4, ("Delay", {"delay": np.array([0.0, 0.07, 0.07, 0.13])}), IF4)
    assert [p.name for p in graph.populations] == [
        *("n0", "n1 delay 70.0", "n1 delay 130.0", "n1 delay 130.1", "n2"),
    ]
    assert [p.size for p in graph.populations] == [4, 2, 1, 1, 4]
    relays = graph.populations[1:-1]
    assert {(p.neuron.kind, p.neuron.discretized, float(p.gain), p.amplitude) for p in relays} == {
        ("if", True, 2 / DT, DT)
    }
    late = {(p.pre, p.post): int(0 if p.delays is None else p.delays) for p in graph.projections}
    assert late == {
        ("in", "n0"): 0,
        ("n0", "n1 delay 70.0"): 62,
        ("n0", "n1 delay 130.0"): 62,
        ("n1 delay 130.0", "n1 delay 130.1"): 62,
        ("n0", "n2"): 0,
        ("n1 delay 70.0", "n2"): 7,
        ("n1 delay 130.1", "n2"): 4,
        ("n2", "out"): 0,
    }


REFUSED = [
    (
        [("Delay", {"delay": 0.07}), ("Scale", {"scale": 2.0})],
        [("Scale", {"scale": 2.0}), ("Delay", {"delay": 0.07})],
        ("n2", "Delay"),
        "a delay of more than 62 steps of what are not the spikes of neurons",
        "Put it right behind the neurons",
    ),
    (
        [("Delay", {"delay": 0.062})],
        [("Delay", {"delay": 0.061}), ("Delay", {"delay": 0.002})],
        ("n2", "Delay"),
        "delays in a row of more than 62 steps together",
        "Make one of them",
    ),
    (
        [("Delay", {"delay": 0.062}), ("Affine", {"weight": np.eye(4), "bias": np.ones(4)})],
        [("Affine", {"weight": np.eye(4), "bias": np.ones(4)}), ("Delay", {"delay": 0.001})],
        ("n2", "Delay"),
        "a delay of what is no sum of the spikes of neurons",
        "Put it behind neurons, and what adds constants behind it",
    ),
    (
        [("Flatten", {"start_dim": 0, "end_dim": 0})],
        [("Linear", {"weight": np.ones((4, 3))})],
        ("n1", "Linear"),
        "weights of shape (4, 3) on values of shape (4,): flatten these first",
        "",
    ),
    (
        [("LI", {"tau": 0.02, "r": 1.0, "v_leak": 0.0})],
        [("LI", {"tau": 0.02, "r": 1.0, "v_leak": 0.0}), ("LI", {"tau": 0.02, "r": 1.0, "v_leak": 0.0})],
        ("n2", "LI"),
        "a filter behind another",
        "",
    ),
    (
        [("LI", {"tau": 0.02, "r": 1.0, "v_leak": 0.0})],
        [("I", {"r": 1.0}), ("I", {"r": 1.0})],
        ("n2", "I"),
        "a filter behind another",
        "",
    ),
    (
        [("Scale", {"scale": np.ones(4)})],
        [("Scale", {"scale": np.ones((1, 4))})],
        ("n1", "Scale"),
        "scale of shape (1, 4) on values of shape (4,)",
        "",
    ),
]


@pytest.mark.parametrize(("read", "refused", "place", "what", "remedy"), REFUSED)
def test_nodes_behind_others_that_are_refused(read, refused, place, what, remedy):
    assert row((4,), IF4, *read, IF4).populations
    assert problems_of((4,), IF4, *refused, IF4) == [
        Problem(what, "node '{}' ({})".format(*place), remedy=remedy)
    ]


def test_neurons_that_filter_hear_no_filter():
    cuba = ("CubaLIF", {**CUBA, "v_threshold": 1.0})
    behind = [Problem("a filter in front of neurons that filter, too", "node 'n2' (CubaLIF)")]
    leaky = ("LI", {"tau": 0.02, "r": 1.0, "v_leak": 0.0})
    assert problems_of((4,), IF4, leaky, cuba) == behind
    assert row((4,), IF4, leaky, ("CubaLIF", {**CUBA, "v_threshold": 1.0, "tau_syn": DT})).populations


def test_sums_of_other_shapes_are_refused():
    nodes = {
        "in": ("Input", {"shape": np.array([4])}),
        "one": ("Linear", {"weight": np.ones((1, 4))}),
        "three": ("Linear", {"weight": np.ones((3, 4))}),
        "sum": ("IF", {"r": np.ones(4), "v_threshold": np.ones(4)}),
        "single": ("IF", {"r": np.ones((1, 1)), "v_threshold": 1.0}),
        "out": ("Output", {}),
    }
    edges = [("in", "one"), ("in", "three"), ("in", "sum"), ("three", "sum"), ("one", "single")]
    edges += [("sum", "out"), ("single", "out")]
    with pytest.raises(ConversionError) as caught:
        ld.frontends.convert(network_of(dictionary(nodes, edges)), OPTIONS)
    assert caught.value.problems == (
        Problem("values of shape (1,) where (4,) are wanted", "node 'out' (Output)"),
        Problem("values of shape (3,) where (4,) are wanted", "node 'sum' (IF)"),
    )
    edges = [edge for edge in edges if edge not in (("three", "sum"), ("in", "three"), ("single", "out"))]
    del nodes["three"]
    graph = ld.frontends.convert(network_of(dictionary(nodes, edges)), OPTIONS)
    assert {p.name: p.size for p in graph.populations} == {"single": 1, "sum": 4}  # one is one, in any shape


def test_settings_that_do_not_fit_say_what_numpy_says():
    (problem,) = problems_of((2, 6, 7), conv(groups=0), IF)
    assert (problem.what, problem.where) == ("settings and shapes do not fit", "node 'n0' (Conv2d)")
    assert problem.value
    assert problem.remedy == AGAIN
    (problem,) = problems_of(
        (2, 6, 7), conv(), ("Scale", {"scale": np.ones((2, 4, 6))}), conv(np.ones((2, 3, 1, 1))), IF
    )
    assert (problem.what, problem.where) == ("settings and shapes do not fit", "node 'n2' (Conv2d)")


def test_what_stands_behind_a_refused_node_is_not_told():
    found = problems_of(
        (2, 6, 7), conv(stride=0), pool(stride=0), ("Flatten", {"start_dim": 1, "end_dim": 0}), IF
    )
    assert found == [Problem("stride [0.0]", "node 'n0' (Conv2d)")]


def test_circles():
    """In front of neurons there is one without any; neurons may stand in one."""
    nodes = {
        "in": ("Input", {"shape": np.array([4])}),
        "a": ("Scale", {"scale": 2.0}),
        "b": ("Scale", {"scale": 3.0}),
        "n": IF4,
        "out": ("Output", {}),
    }
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "n"), ("n", "out")]
    with pytest.raises(ConversionError) as caught:
        ld.frontends.convert(network_of(dictionary(nodes, edges)), OPTIONS)
    assert caught.value.problems == (Problem("a circle without neurons", "node 'a' (Scale) and 1 more"),)
    edges = [("in", "n"), ("n", "a"), ("a", "b"), ("b", "n"), ("n", "out")]
    graph = ld.frontends.convert(network_of(dictionary(nodes, edges)), OPTIONS)
    loop = next(p for p in graph.projections if p.pre == p.post)
    np.testing.assert_array_equal(loop.transform.csr().toarray(), 6 * np.eye(4))


def test_populations_stand_behind_what_drives_them():
    """Whatever the order of the file; a circle is cut in front of the first of its neurons."""
    nodes = {
        "out": ("Output", {}),
        "last": IF4,
        "back": IF4,
        "first": IF4,
        "lonely": IF4,
        "in": ("Input", {"shape": np.array([4])}),
    }
    edges = [("back", "first"), ("last", "out"), ("first", "last"), ("first", "back"), ("in", "first")]
    edges += [("lonely", "last")]
    graph = ld.frontends.convert(network_of(dictionary(nodes, edges)), OPTIONS)
    names = [p.name for p in graph.populations]
    assert sorted(names) == ["back", "first", "last", "lonely"]
    assert names.index("first") < names.index("back")
    assert names.index("first") < names.index("last")
    assert names.index("lonely") < names.index("last")
    assert graph.nodes["lonely"].bias.tolist() == [0] * 4


def test_filters_at_the_end_and_what_is_said_of_integrators():
    weight = np.arange(12.0).reshape(3, 4)
    leaky = {"tau": 0.02, "r": np.array([1.0, 2.0, 3.0]), "v_leak": np.array([0.5, 0.0, -1.0])}
    graph = row((4,), IF4, ("Linear", {"weight": weight}), ("LI", leaky))
    (end,) = (p for p in graph.projections if p.post == "out")
    assert end.tau == pytest.approx(TAU_RC, rel=1e-12)
    np.testing.assert_allclose(end.transform.csr().toarray(), weight * [[1], [2], [3]])
    assert graph.readouts[0].bias.tolist() == [0.5, 0, -1]
    assert graph.notes == ()
    graph = row((4,), IF4, ("Linear", {"weight": weight}), ("I", {"r": 2.0}))
    (end,) = (p for p in graph.projections if p.post == "out")
    assert end.tau == 0
    np.testing.assert_allclose(end.transform.csr().toarray(), 2 * weight)
    assert graph.notes == ("out: an integrator is read as the mean of what it adds up, not the sum",)


def test_biases_in_front_of_neurons_that_filter_are_said_to_act_at_once():
    cuba = ("CubaLIF", {**CUBA, "r": 1.0, "v_threshold": 1.0})
    affine = ("Affine", {"weight": np.eye(4), "bias": np.array([0.5, 0, 0, 1.0])})
    graph = row((4,), affine, cuba)
    assert graph.notes == ("n1: biases act at once, where NIR filters them with tau_syn",)
    np.testing.assert_allclose(graph.populations[0].bias, [0.5 + 0.5, 0.5, 0.5, 0.5 + 1.0])
    assert graph.populations[0].amplitude == DT
    assert row((4,), ("Linear", {"weight": np.eye(4)}), cuba).notes == ()
    assert row((4,), affine, (cuba[0], {**cuba[1], "tau_syn": DT})).notes == ()


def test_values_of_images_stand_where_their_neurons_do():
    """Of two channels of 2 by 3, thresholds and biases that tell every neuron from the others."""
    height = np.arange(1.0, 13).reshape(2, 2, 3)
    bias = np.arange(12.0).reshape(2, 2, 3)[::-1]
    lif = (
        "LIF",
        {"tau": 0.02, "r": 1.0, "v_leak": bias, "v_threshold": height, "v_reset": np.zeros((2, 2, 3))},
    )
    graph = row((2, 2, 3), ("Scale", {"scale": height}), lif)
    (population,) = graph.populations
    assert population.shape == (2, 3, 2)
    np.testing.assert_allclose(population.gain.reshape(2, 3, 2), np.moveaxis(1 / height, 0, -1))
    np.testing.assert_allclose(population.bias.reshape(2, 3, 2), np.moveaxis(bias / height, 0, -1))
    assert graph.readouts[0].shape == (2, 2, 3)


# -- what a file must say ------------------------------------------------------------------------------


def graph_problems(graph):
    with pytest.raises(ConversionError) as caught:
        network_of(graph)
    return list(caught.value.problems)


GOOD = {"in": ("Input", {"shape": np.array([4])}), "n": IF4, "out": ("Output", {"shape": "unread"})}
EDGES = [("in", "n"), ("n", "out")]


@pytest.mark.parametrize(
    ("key", "value", "what", "found"),
    [
        ("r", None, "no r", "IF"),
        ("r", "a word" * 20, "r that are no numbers", ("a word" * 20)[:60]),
        ("r", np.zeros(0), "r that are not usable", "no values"),
        ("r", np.array([1, np.nan]), "r that are not usable", "too many, or NaN or infinite values"),
        ("more", np.array([np.inf]), "more that are not usable", "too many, or NaN or infinite values"),
        ("more", {"a": 1}, "more that are no numbers", "{'a': 1}"),
        (
            "r",
            np.broadcast_to(1.0, (1 << 27) + 1),
            "r that are not usable",
            "too many, or NaN or infinite values",
        ),
    ],
)
def test_values_that_a_node_may_not_have(key, value, what, found):
    nodes = {**GOOD, "n": ("IF", {**IF4[1], key: value})}
    assert graph_problems(dictionary(nodes, EDGES)) == [Problem(what, "n", found, remedy=AGAIN)]


def test_what_is_passed_over():
    nodes = {**GOOD, "n": ("IF", {**IF4[1], "metadata": {"a": "b"}, "input_type": "x", "v_reset": None})}
    network = network_of(dictionary(nodes, EDGES))
    assert network.edges == tuple(EDGES)
    assert network.nodes["n"].extra == {"a": "b"}
    assert network.nodes["n"].kind == "IF"
    assert "type" not in network.nodes["n"].values
    assert network.into("n") == ("in",)


def test_nodes_and_edges_that_are_refused():
    nodes = {**GOOD, "x": ("Softmax", {}), "y": ("IF", {"r": 1.0})}
    assert graph_problems(dictionary(nodes, [*EDGES, ("n", "z"), ("z", "n"), ("n", "x")])) == [
        Problem(
            "a node of a kind that is not read",
            "x",
            "Softmax",
            remedy=f"Build the network of these: {', '.join(NEEDED)}",
        ),
        Problem("no v_threshold", "y", "IF", remedy=AGAIN),
        Problem("an edge between nodes that are not there", "graph", "n to z"),
        Problem("an edge between nodes that are not there", "graph", "z to n"),
    ]
    for edges in (None, [], [("in", "n", "out")], np.zeros((2, 2)), ["in", "n"]):
        assert graph_problems(dictionary(GOOD, edges))[0] == Problem(
            "no list of edges", "graph", remedy=AGAIN
        )
    for wrong in ({"type": "NIRGraph", "nodes": {}, "edges": EDGES}, {"type": "IF", "nodes": {"a": {}}}):
        assert graph_problems(wrong) == [Problem("no graph with nodes", "graph", wrong["type"], remedy=AGAIN)]


def test_ends_and_nodes_that_lead_nowhere():
    def without(name, **more):
        nodes = {key: value for key, value in GOOD.items() if key != name} | more
        return dictionary(nodes, [edge for edge in EDGES if name not in edge])

    assert graph_problems(without("in")) == [Problem("no input", "graph", remedy="Add a nir.Input node")]
    assert graph_problems(without("out")) == [Problem("no output", "graph", remedy="Add a nir.Output node")]
    alone = dictionary({**GOOD, "s": ("Scale", {"scale": 1.0}), "m": IF4, "i": GOOD["in"]}, EDGES)
    assert graph_problems(alone) == [
        Problem("nothing leads to it", "s", "Scale", remedy="Remove it, or connect it"),
        Problem("leads nowhere", "i", "Input", remedy="Remove it, or connect it"),
    ]


def inner(depth):
    """A graph in a graph, so many deep, with neurons in the innermost."""
    graph = dictionary(GOOD, EDGES)
    for _ in range(depth):
        graph = {
            "type": "NIRGraph",
            "nodes": {"in": {"type": "Input", "shape": 4}, "g": graph, "out": {"type": "Output"}},
        }
        graph["edges"] = [("in", "g"), ("g", "out"), ("g", "out")]
    return graph


def test_graphs_in_graphs_are_resolved():
    network = network_of(inner(2))
    assert {name: node.kind for name, node in network.nodes.items()} == {
        "in": "Input",
        "g.in": "passed on",
        "g.g.in": "passed on",
        "g.g.n": "IF",
        "g.g.out": "passed on",
        "g.out": "passed on",
        "out": "Output",
    }
    chain = ["in", "g.in", "g.g.in", "g.g.n", "g.g.out", "g.out", "out"]
    assert set(network.edges) == set(pairwise(chain))
    assert len(network.edges) == 6
    assert ld.frontends.convert(network, OPTIONS).populations[0].name == "g.g.n"


def test_graphs_as_deep_and_as_large_as_they_may_be():
    assert len(network_of(inner(24)).nodes) == 2 * 25 + 1
    name = ".".join("g" * 25)
    said = "too many nodes, or too deep"
    assert graph_problems(inner(25))[0] == Problem(said, name, limit="10,000, 24")
    many = {**GOOD, **{f"n{k}": IF4 for k in range(9997)}}
    edges = [*EDGES, *((f"n{k}", "out") for k in range(1))]
    assert len(network_of(dictionary(many, edges)).nodes) == 10_000
    assert graph_problems(dictionary({**many, "more": IF4}, edges)) == [
        Problem(said, "graph", limit="10,000, 24")
    ]


def test_a_file_says_its_version(tmp_path):
    path = tmp_path / "a.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Linear(np.eye(4)), nir.IF(np.ones(4), np.ones(4))))
    for version, read in (("1.0.8", True), ("0.2", True), ("0.1", False), ("2.0", False), ("0.3", False)):
        with h5py.File(path, "a") as file:
            del file["version"]
            file["version"] = version
        if read:
            assert ld.convert(path, OPTIONS).populations
            continue
        with pytest.raises(ConversionError) as caught:
            ld.convert(path, OPTIONS)
        assert caught.value.problems == (
            Problem("a version of NIR that is not read", str(path), version, "0.2.x or 1.x", AGAIN),
        )
    with h5py.File(path, "a") as file:
        del file["node"]
        file["version"][...] = "1.0"
        file["node"] = 3.0
    with pytest.raises(ConversionError) as caught:
        ld.convert(path, OPTIONS)
    assert caught.value.problems == (Problem("no graph in the file", str(path), remedy=AGAIN),)

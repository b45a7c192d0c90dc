"""Expressions and the builder of graphs by themselves: every part of what is made, and problems as whole text."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends.affine import Affine, GraphBuilder, Source, add, stored_shape
from loihi_deploy.ir import Conv2D, Dense, FrameMemory, HostMap, NeuronModel

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(4, 6)), RNG.normal(size=(4, 6))
IF = NeuronModel("if")


def builder(**settings):
    return GraphBuilder("model 'm'", 0.005, **settings)


def matrices(affine):
    """Each term as a matrix."""
    return {
        source: np.eye(affine.size) if term is None else term.csr().toarray()
        for source, term in affine.terms.items()
    }


# -- expressions ---------------------------------------------------------------------------------------


def affine(size=6, order=None, shape=None, offset=0.0, names=("x",)):
    return Affine({Source(name): None for name in names}, np.full(size, offset), shape or (size,), order)


def test_shapes_as_they_are_stored():
    assert stored_shape(()) == (1,)
    assert stored_shape((5,)) == (5,)
    assert stored_shape((4, 5)) == (1, 4, 5)
    assert stored_shape((2, 4, 5)) == (2, 4, 5)


def test_maps_of_expressions():
    x = affine(offset=2.0, names=("x", "y"))
    once = x.mapped(Dense(A), (4,))
    assert {source.name: m.tolist() for source, m in matrices(once).items()} == {
        "x": A.tolist(),
        "y": A.tolist(),
    }
    np.testing.assert_allclose(once.offset, 2 * A.sum(1))
    assert (once.shape, once.order) == ((4,), None)
    twice = once.mapped(Dense(B.T), (6,))
    np.testing.assert_allclose(matrices(twice)[Source("x")], B.T @ A)
    assert affine().mapped(Dense(A), (4,)).offset.tolist() == [0] * 4


def test_other_orders_of_one_vector():
    """Of six elements that stand at 2, 0, 1, 5, 4, 3."""
    order = np.array([2, 0, 1, 5, 4, 3])
    stored = Affine({Source("x"): None}, np.arange(6.0), (6,), order)
    plain = stored.ordered(None, (6,))
    assert plain.offset.tolist() == [2, 0, 1, 5, 4, 3]
    assert plain.order is None
    assert matrices(plain)[Source("x")].tolist() == np.eye(6)[order].tolist()
    again = plain.ordered(order, (1, 2, 3))
    assert (again.offset.tolist(), again.shape) == (list(range(6)), (1, 2, 3))
    assert matrices(again)[Source("x")].tolist() == np.eye(6).tolist()
    assert stored.ordered(order.copy(), (1, 2, 3)).terms is stored.terms
    assert stored.ordered(order, (1, 2, 3)).shape == (1, 2, 3)
    same = plain.ordered(np.arange(6), (6,))
    assert same.terms is plain.terms
    assert same.order.tolist() == list(range(6))
    other = stored.ordered(np.array([1, 0, 2, 3, 4, 5]), (6,))
    assert other.offset[np.array([1, 0, 2, 3, 4, 5])].tolist() == [2, 0, 1, 5, 4, 3]


def test_some_elements():
    order = np.array([2, 0, 1, 5, 4, 3])
    for place, wanted in ((None, [5, 5, 1]), (order, [3, 3, 0])):
        taken = Affine({Source("x"): None}, np.arange(6.0), (6,), place).take(np.array([5, 5, 1]))
        assert taken.offset.tolist() == wanted
        assert (taken.shape, taken.order) == ((3,), None)


def test_synapses_and_frames_of_expressions():
    x = affine()
    assert x.filtered(0.0) is x
    once = x.filtered(0.1)
    assert list(once.terms) == [Source("x", 0.1)]
    with pytest.raises(ValueError, match=r"^$"):
        once.filtered(0.1)
    assert list(replace(x, terms={Source("x", 0.0): None}).filtered(0.1).terms) == [Source("x", 0.1)]
    mixed = replace(x, terms={Source("x"): None, Source("y", 0.2): None})
    with pytest.raises(ValueError, match=r"^$"):
        mixed.filtered(0.1)
    assert list(x.held_back(2).held_back(3).terms) == [Source("x", None, 5)]


def test_factors_and_offsets():
    x = affine(offset=2.0)
    assert x.scaled(1) is x
    half = x.scaled(0.5)
    assert half.offset.tolist() == [1] * 6
    assert matrices(half)[Source("x")].tolist() == (np.eye(6) / 2).tolist()
    mapped = x.mapped(Dense(A), (4,)).scaled(-3.0)
    np.testing.assert_allclose(matrices(mapped)[Source("x")], -3 * A)
    assert x.shifted(np.arange(6)).offset.tolist() == [2, 3, 4, 5, 6, 7]


def test_sums():
    order = np.array([2, 0, 1, 5, 4, 3])
    first = Affine({Source("x"): None, Source("y"): Dense(np.ones((6, 6)))}, np.arange(6.0), (6,), order)
    second = Affine({Source("x"): None, Source("z"): None}, np.arange(6.0), (6,))
    total = add([first, second, second])
    assert total.order is order
    placed = np.empty(6)
    placed[order] = np.arange(6)
    assert total.offset.tolist() == (np.arange(6) + 2 * placed).tolist()
    found = matrices(total)
    move = np.zeros((6, 6))
    move[order, np.arange(6)] = 1
    np.testing.assert_array_equal(found[Source("x")], np.eye(6) + 2 * move)
    np.testing.assert_array_equal(found[Source("y")], np.ones((6, 6)))
    np.testing.assert_array_equal(found[Source("z")], 2 * move)
    assert list(add([second]).terms) == list(second.terms)


# -- graphs --------------------------------------------------------------------------------------------


def test_names_are_counted_where_they_are_taken():
    made = builder()
    assert [made.unique(name) for name in ("a", "a", "a.1", "a", "b")] == ["a", "a.1", "a.1.1", "a.2", "b"]


def test_populations_have_what_they_are_given():
    made = builder()
    x = made.input("x", (6,))
    gain, bias = np.arange(1.0, 5), np.arange(4.0)
    currents = x.shifted(np.full(6, 0.5)).mapped(Dense(A), (4,))
    said = made.population("p", currents, IF, gain, bias, 0.25, np.array([0, 0.1, 0.2, 0.3]))
    made.readout("y", said)
    graph = made.graph(0.002)
    (p,) = graph.populations
    assert (p.name, p.shape, p.neuron, p.amplitude) == ("p", (4,), IF, 0.25)
    np.testing.assert_allclose(p.gain, gain)
    np.testing.assert_allclose(p.bias, gain * A.sum(1) / 2 + bias)
    assert p.initial_voltage.tolist() == [0, 0.1, 0.2, 0.3]
    assert made.populations == ("p",)
    assert graph.dt == 0.002
    assert [(q.pre, q.post, q.tau) for q in graph.projections] == [("x", "p", 0), ("p", "y", 0.005)]
    usual = builder()
    usual.readout("y", usual.population("p", usual.input("x", (6,)), IF))
    (p,) = usual.graph(0.001).populations
    assert (p.gain.tolist(), p.bias.tolist(), p.amplitude, p.initial_voltage) == (1, [0] * 6, 1, None)


def test_synapses_are_the_builders_unless_a_source_has_its_own():
    made = builder()
    p = made.population("p", made.input("x", (6,)), IF)
    made.population("q", p.filtered(0.1), IF)
    made.population("r", replace(p, terms={Source("p", 0.0): None}), IF)
    made.readout("y", p)
    taus = {(q.pre, q.post): q.tau for q in made.graph(0.001).projections}
    assert taus == {("x", "p"): 0, ("p", "q"): 0.1, ("p", "r"): 0, ("p", "y"): 0.005}


def test_relays_and_what_comes_back():
    made = builder(in_frames=True)
    made.population("p", made.input("x", (2, 3, 1)), IF)
    made.coming_back("p", Dense(np.ones((6, 6))), 3)
    assert made.relay("r", "p", 0.1) == "r"
    made.readout("y", affine(names=("r",)))
    graph = made.graph(0.001)
    assert [(q.pre, q.post, q.tau, q.frames_back) for q in graph.projections] == [
        ("x", "p", 0, 0),
        ("p", "p", 0.005, 3),
        ("p", "r", 0.1, 0),
        ("r", "y", 0.005, 0),
    ]
    assert graph.nodes["r"].shape == (2, 3, 1)
    assert graph.nodes["r"].neuron == IF


def held_back(in_frames, *terms):
    """The projections into neurons of terms (transform, late) of six others."""
    made = builder(in_frames=in_frames)
    made.population("p", made.input("x", (6,)), IF)
    parts = {Source("p", None, late): transform for transform, late in terms}
    made.population("q", Affine(parts, np.zeros(6), (6,)), IF)
    made.readout("y", affine(names=("q",)))
    return [q for q in made.graph(0.001).projections if q.post == "q"]


def some(*kept):
    return Dense(np.diag(np.isin(np.arange(6), kept).astype(float)))


def test_delays_of_neurons_that_have_one_each_are_one_projection():
    (whole,) = held_back(False, (some(0, 1), 0), (some(2, 5), 3), (some(3), 4))
    assert whole.delays.tolist() == [0, 0, 3, 4, 0, 3]
    assert whole.transform.csr().toarray().tolist() == np.diag([1.0, 1, 1, 1, 0, 1]).tolist()
    one, other = held_back(False, (some(0, 1), 0), (some(1, 2), 3))
    assert (one.delays, int(other.delays)) == (None, 3)
    (single,) = held_back(False, (None, 3))
    assert int(single.delays) == 3
    frames = held_back(True, (some(0, 1), 0), (some(2, 5), 3))
    assert [(q.delays, q.frames_back) for q in frames] == [(None, 0), (None, 3)]


def test_inputs_that_the_host_makes():
    made = builder()
    image = made.input("x", (2, 3, 1), np.arange(6))
    values = image.scaled(2.0).shifted(np.ones(6))
    windows = np.array([[0, 1, -1], [4, 5, 3]])
    pooled = made.derived_input("pooled", values, affine(2, names=()), windows, np.inf)
    held = made.derived_input("held", pooled, affine(2, names=()), None, 6.0)
    assert list(held.terms) == [Source("held", 0.0)]
    made.readout("y", made.population("p", held, IF))
    (node,) = made.graph(0.001).inputs
    first, second = node.before
    assert node.given.name == "x"
    assert node.given.channels_first
    assert first == HostMap(values.terms[Source("x", 0.0)], np.ones(6), windows, -np.inf, np.inf)
    assert second == HostMap(None, np.zeros(2), None, 0.0, 6.0)


def test_memories_of_the_host():
    memory = FrameMemory(Dense(np.eye(2)), Dense(np.ones((2, 6))))
    for changed, steps in (
        (lambda x: x, 1),
        (lambda x: x.shifted(np.arange(6.0)), 2),
        (lambda x: x.scaled(2.0), 2),
    ):
        made = builder()
        values = changed(made.input("x", (6,)))
        kept = made.remembered_input("m", values, memory)
        assert (kept.shape, list(kept.terms), kept.offset.tolist()) == ((2,), [Source("m", 0.0)], [0, 0])
        made.readout("y", made.population("p", kept, IF))
        (node,) = made.graph(0.001).inputs
        assert node.before[-1] == memory
        assert len(node.before) == steps
        assert node.given.name == "x"
        if steps == 2:
            assert node.before[0] == HostMap(values.terms[Source("x", 0.0)], values.offset)


def test_inputs_that_expressions_depend_on():
    made = builder()
    x, z = made.input("x", (6,)), made.input("z", (6,))
    p = made.population("p", x, IF)
    assert made.input_of(x).name == "x"
    assert made.input_of(x.mapped(Dense(A), (4,))).name == "x"
    assert made.input_of(p) is None
    assert made.input_of(add([x, z])) is None
    assert made.input_of(affine(names=())) is None
    assert (made.is_input("x"), made.is_input("p")) == (True, False)


def test_padding_is_told_of_inputs_alone():
    made = builder()
    x, z = made.input("x", (6,)), made.input("z", (6,))
    p = made.population("p", add([x, z]), IF)
    derived = made.derived_input("d", x, affine(6, names=()), None, 1.0)
    made.readout("y", add([p, derived]))
    for values in (p, derived, x.scaled(2.0), x.shifted(np.eye(6)[0]), add([x, z])):
        assert made.mask(values, -1.0) is False
    assert made.mask(z, -1.0) is True
    masks = {node.name: node.mask_value for node in made.graph(0.001).inputs}
    assert masks == {"x": None, "d": None, "z": -1.0}


def test_inputs_are_in_the_sources_order_and_those_that_nothing_hears_are_left_out():
    """Unless they are given, and nothing that is made of them is heard."""
    made = builder()
    x, z, lonely = (made.input(name, (6,)) for name in ("x", "z", "lonely"))
    first = made.derived_input("of z", z, affine(6, names=()), None, 1.0)
    second = made.derived_input("of x", x, affine(6, names=()), None, 1.0)
    made.derived_input("unheard", z, affine(6, names=()), None, 1.0)
    made.n_frames = 7
    made.readout("y", made.population("p", add([first, second, z]), IF))
    graph = made.graph(0.001)
    assert [node.name for node in graph.inputs] == ["of x", "z", "of z", "lonely"]
    assert {node.n_frames for node in graph.inputs} == {7}
    assert lonely.size == 6


def test_readouts():
    made = builder()
    order = np.array([2, 0, 1, 5, 4, 3])
    p = made.population(made.unique("p"), made.input("x", (6,)), IF)
    made.readout("p", replace(p, order=order, offset=np.arange(6.0)), (2, 3), "tanh", "float16")
    made.readout("image", replace(p, shape=(1, 2, 3)))
    made.readout("image", replace(p, order=order, shape=(1, 2, 3)))
    made.readout("p", p)
    first, second, third, fourth = made.graph(0.001).readouts
    assert (first.name, first.shape, first.bias.tolist()) == ("p.readout", (2, 3), [2, 0, 1, 5, 4, 3])
    assert (first.activation, first.dtype) == ("tanh", "float16")
    assert (second.name, second.shape) == ("image", (1, 2, 3))
    assert (third.name, third.shape) == ("image.readout", (6,))
    assert (second.activation, second.dtype, second.over_frames, second.first_frame) == (
        "linear",
        "float64",
        "",
        0,
    )
    assert fourth.name == "p.readout.1"


def test_readouts_of_frames():
    made = builder(in_frames=True)
    p = made.population("p", made.input("x", (6,)), IF)
    made.readout("y", p, over_frames="mean", first_frame=2)
    (readout,) = made.graph(0.001).readouts
    assert (readout.over_frames, readout.first_frame) == ("mean", 2)


def test_notes_are_kept():
    made = builder()
    made.readout("y", made.population("p", made.input("x", (6,)), IF))
    made.notes += ["one", "two"]
    assert made.graph(0.001).notes == ("one", "two")


# -- problems ------------------------------------------------------------------------------------------


def test_problems_of_one_cause_are_one():
    made = builder()
    same = [Problem("wrong", f"layer 'l{k}' (Dense)", 1, remedy="Mend it") for k in range(3)]
    others = [
        Problem("wrong", "layer 'm' (Conv2D)", 1, remedy="Mend it"),
        Problem("wrong", "layer 'n' (Dense)", 2, remedy="Mend it"),
        Problem("wrong", "a place"),
        Problem("wrong", "a place"),
        Problem("wrong", "another place"),
    ]
    made.problems += [same[0], *others, *same[1:]]
    with pytest.raises(ConversionError) as caught:
        made.graph(0.001)
    assert str(caught.value).startswith("Cannot convert model 'm'")
    assert caught.value.problems == (
        replace(same[0], where="layer 'l0' (Dense) and 2 more"),
        *others[:2],
        replace(others[2], where="a place and 1 more"),
        others[4],
    )


def test_networks_without_neurons():
    made = builder()
    made.readout("y", made.input("x", (6,)))
    with pytest.raises(ConversionError) as caught:
        made.graph(0.001)
    assert caught.value.problems == (
        Problem(
            "there is no spiking layer",
            remedy="Give at least one layer a ReLU activation; a linear network needs no chip",
        ),
    )
    made.problems.append(Problem("wrong"))
    with pytest.raises(ConversionError) as caught:
        made.graph(0.001)
    assert caught.value.problems[-1] == Problem("wrong")


def test_convolutions_stay_what_they_are():
    made = builder()
    conv = Conv2D(RNG.normal(size=(2, 2, 1, 3)), (1, 1), (0, 0), (2, 3, 1), (1, 2, 3))
    x = made.input("x", (2, 3, 1)).mapped(conv, (1, 2, 3))
    made.readout("y", made.population("p", x, IF))
    assert made.graph(0.001).projections[0].transform == conv

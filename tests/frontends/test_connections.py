"""The map of a connection against what Nengo's own simulator makes of unit vectors, however both ends are stored."""

import nengo
import numpy as np
import pytest
import scipy.sparse

from loihi_deploy.frontends.connections import UnsupportedConnectionError, connection_map, decoded_map
from loihi_deploy.frontends.layouts import Layout, convolution_layouts, image_layout
from loihi_deploy.frontends.nengo_network import _is_input, _time_constant, _with_radius
from loihi_deploy.frontends.parameters import Parameters
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(4, 6))
SPARSE = scipy.sparse.random(4, 6, 0.4, random_state=1)
EVERY, SOME, BACK = slice(None), slice(1, 5), slice(None, None, -1)


def conv(n_filters, shape, size=(2, 1), **more):
    first = not more.get("channels_last", True)
    channels = (shape[0] if first else shape[-1]) // more.get("groups", 1)
    more = {"strides": (1,) * len(size), **more}
    return nengo.Convolution(
        n_filters, shape, size, init=RNG.normal(size=(*size, channels, n_filters)), **more
    )


FIRST = {"channels_last": False, "padding": "same"}
# size of the one end and slice of it, size and slice of the other, transform
CONNECTIONS = {
    "nothing": (6, EVERY, 6, EVERY, None),
    "a number": (6, EVERY, 6, EVERY, 0.5),
    "numbers": (6, EVERY, 6, EVERY, np.arange(6.0)),
    "a matrix": (6, EVERY, 4, EVERY, MATRIX),
    "a sparse matrix": (6, EVERY, 4, EVERY, nengo.Sparse((4, 6), init=SPARSE)),
    "sparse entries": (6, EVERY, 4, EVERY, nengo.Sparse((4, 6), indices=[[0, 5], [3, 1]], init=[2.0, -1.0])),
    "one value for all entries": (
        6,
        EVERY,
        4,
        EVERY,
        nengo.Sparse((4, 6), indices=[[0, 5], [3, 1]], init=2.0),
    ),
    "a part": (8, SOME, 4, EVERY, None),
    "into a part": (4, EVERY, 8, SOME, None),
    "from a part into a part": (8, SOME, 9, slice(4, 8), 3.0),
    "turned round": (6, BACK, 6, EVERY, None),
    "turned round at the end": (6, EVERY, 6, BACK, 2.0),
    "chosen": (6, [5, 0, 2], 8, [1, 7, 3], np.array([1.0, 2, 3])),
    "a matrix of a part": (8, slice(2, 8), 4, EVERY, MATRIX),
    "a matrix into a part": (6, EVERY, 8, [1, 7, 3, 0], MATRIX),
    "a matrix of all, turned round": (6, BACK, 4, BACK, MATRIX),
    "a sparse matrix of a part": (8, slice(2, 8), 5, slice(1, 5), nengo.Sparse((4, 6), init=SPARSE)),
    "a convolution": (12, EVERY, 8, EVERY, conv(2, (3, 2, 2))),
    "a convolution of a row": (12, EVERY, 15, EVERY, conv(3, (6, 2), (2,))),
    "a convolution of a row, channels first": (
        12,
        EVERY,
        15,
        EVERY,
        conv(3, (2, 6), (2,), channels_last=False),
    ),
    "channels first": (12, EVERY, 18, EVERY, conv(3, (2, 3, 2), **FIRST)),
    "groups": (12, EVERY, 24, EVERY, conv(4, (3, 2, 2), groups=2, padding="same")),
    "every second pixel": (24, EVERY, 6, EVERY, conv(1, (4, 3, 2), (1, 1), strides=(2, 1))),
    "a convolution of a part": (14, slice(1, 13), 10, slice(2, 10), conv(2, (3, 2, 2))),
    "channels first, of a part": (14, slice(1, 13), 20, slice(2, 20), conv(3, (2, 3, 2), **FIRST)),
}


def connected(name):
    """The network of a connection, and the connection."""
    n_pre, before, n_post, behind, transform = CONNECTIONS[name]
    with nengo.Network(seed=1) as network:
        pre = nengo.Node(lambda t: np.eye(n_pre)[round(t / 0.001) - 1], size_out=n_pre)
        post = nengo.Node(size_in=n_post)
        transform = {} if transform is None else {"transform": transform}
        connection = nengo.Connection(pre[before], post[behind], synapse=None, **transform)
        network.probe = nengo.Probe(post)
    return network, connection


def simulated(network, connection):
    """The matrix (n_post, n_pre) of Nengo's simulator."""
    with nengo.Simulator(network, progress_bar=False) as sim:
        sim.run_steps(connection.pre_obj.size_out, progress_bar=False)
    return sim.data[network.probe].T


def layouts_of(size):
    """A vector as it is, and one whose elements are stored elsewhere."""
    return Layout((size,)), Layout((size,), RNG.permutation(size))


@pytest.mark.parametrize("name", CONNECTIONS)
def test_connections_are_nengos(name):
    network, connection = connected(name)
    wanted = simulated(network, connection)
    assert np.abs(wanted).max() > 0
    weights = Parameters(network).weights(connection)
    for source in layouts_of(connection.pre_obj.size_out):
        for target in layouts_of(connection.post_obj.size_in):
            made = connection_map(connection, weights, source, target)
            found = np.eye(wanted.shape[1]) if made is None else made.csr().toarray()
            stored = wanted
            if source.order is not None:
                stored = stored[:, np.argsort(source.order)]
            if target.order is not None:
                stored = stored[np.argsort(target.order)]
            np.testing.assert_allclose(found, stored, atol=1e-12)


def test_the_identity_is_none_and_images_stay_convolutions():
    network, connection = connected("nothing")
    same = Layout((6,), RNG.permutation(6))
    assert connection_map(connection, None, Layout((6,)), Layout((6,))) is None
    assert connection_map(connection, None, same, same) is None
    image = image_layout((1, 3, 2), True)
    network, connection = connected("a number")
    made = connection_map(connection, Parameters(network).weights(connection), image, image)
    assert type(made).__name__ == "Conv2D"
    network, connection = connected("a matrix")
    weights = Parameters(network).weights(connection)
    assert isinstance(connection_map(connection, weights, Layout((6,)), Layout((4,))), Dense)
    for name in ("a convolution", "channels first"):
        network, connection = connected(name)
        ends = connection.transform
        last = ends.channels_last
        shapes = (image_layout(s.shape, last) for s in (ends.input_shape, ends.output_shape))
        assert (
            type(connection_map(connection, Parameters(network).weights(connection), *shapes)).__name__
            == "Conv2D"
        )


def test_decoded_values_go_through_the_transform():
    decoders = RNG.normal(size=(6, 9))
    network, connection = connected("a matrix into a part")
    weights = Parameters(network).weights(connection)
    order = RNG.permutation(8)
    for target in (Layout((8,)), Layout((8,), order)):
        made = decoded_map(connection, weights, decoders, target).csr().toarray()
        wanted = simulated(network, connection) @ decoders
        np.testing.assert_allclose(made, wanted if target.order is None else wanted[np.argsort(order)])
    network, connection = connected("nothing")
    np.testing.assert_array_equal(
        decoded_map(connection, None, decoders, Layout((6,))).csr().toarray(), decoders
    )


@pytest.mark.parametrize(
    ("options", "what", "value"),
    [
        ({"function": np.square}, "a function is computed on the connection", "square"),
        (
            {"learning_rule_type": nengo.BCM(), "transform": np.eye(12)},
            "learning rules are not converted",
            "BCM()",
        ),
        (
            {"transform": nengo.transforms.ConvolutionTranspose(2, (3, 2, 2), kernel_size=(1, 1))},
            *("transposed convolutions are not converted", None),
        ),
        (
            {
                "transform": nengo.Convolution(
                    2, (2, 3, 2, 1), (1, 1, 1), strides=(1, 1, 1), channels_last=False
                )
            },
            *("channels before three dimensions, or more dimensions", (2, 3, 2, 1)),
        ),
    ],
)
def test_connections_that_are_refused(options, what, value):
    with nengo.Network(seed=1) as network:
        one = nengo.Ensemble(12, 1)
        pre = nengo.Node(lambda t: np.zeros(12), size_out=12) if "function" in options else one.neurons
        post = nengo.Ensemble(12, 1).neurons
        connection = nengo.Connection(pre, post, synapse=None, **options)
    weights = Parameters(network).weights(connection)
    with pytest.raises(UnsupportedConnectionError) as caught:
        connection_map(connection, weights, Layout((12,)), Layout((12,)))
    assert (caught.value.what, caught.value.value) == (what, value)


# -- layouts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "channels_last", "stored", "order"),
    [
        ((), True, (1,), None),
        ((5,), True, (5,), None),
        ((5,), False, (5,), None),
        ((2, 3), True, (1, 2, 3), None),
        ((2, 3), False, (1, 3, 2), [0, 2, 4, 1, 3, 5]),
        ((1, 3), False, (1, 3, 1), None),
        ((2, 1, 3), True, (2, 1, 3), None),
        ((2, 1, 3), False, (1, 3, 2), [0, 2, 4, 1, 3, 5]),
        ((1, 2, 3), False, (2, 3, 1), None),
        ((2, 3, 4, 5), True, (1, 24, 5), None),
        ((2, 3, 4, 5), False, (120,), None),
    ],
)
def test_images_are_stored_with_channels_last(shape, channels_last, stored, order):
    layout = image_layout(shape, channels_last)
    assert layout.shape == stored
    assert (None if layout.order is None else layout.order.tolist()) == order


def test_objects_connected_one_to_one_are_laid_out_alike():
    with nengo.Network() as network:
        image = nengo.Node(np.zeros(12))
        relay, scaled, behind = (nengo.Node(size_in=n, label=str(n)) for n in (12, 12, 18))
        matrix, part, after = nengo.Node(size_in=18), nengo.Node(size_in=18), nengo.Node(size_in=18)
        nengo.Connection(image, relay, synapse=None)
        nengo.Connection(relay, scaled, transform=np.arange(12.0), synapse=None)
        transform = nengo.Convolution(3, (2, 3, 2), (1, 1), channels_last=False)
        nengo.Connection(scaled, behind, transform=transform, synapse=None)
        nengo.Connection(behind, matrix, transform=np.eye(18), synapse=None)
        nengo.Connection(behind[:9], part[:9], synapse=None)
        nengo.Connection(behind, after, transform=2.0, synapse=None)
    found = convolution_layouts(network)
    assert {obj: found[obj].shape for obj in (image, relay, scaled)} == dict.fromkeys(
        (image, relay, scaled), (3, 2, 2)
    )
    assert found[behind].shape == found[after].shape == (3, 2, 3)
    assert set(found) == {image, relay, scaled, behind, after}
    known = {relay: Layout((12,))}
    assert convolution_layouts(network, known)[image].shape == (12,)
    assert known == {relay: Layout((12,))}
    assert convolution_layouts(network, known)[scaled].shape == (3, 2, 2)


# -- synapses, inputs and their sizes ------------------------------------------------------------------


def test_time_constants_of_synapses():
    assert [_time_constant(s) for s in (None, 0, 0.01, 3, nengo.Lowpass(0.02))] == [0, 0, 0.01, 3, 0.02]

    class Own(nengo.Lowpass):
        pass

    for synapse, name in ((nengo.Alpha(0.01), "Alpha"), (Own(0.01), "Own")):
        with pytest.raises(UnsupportedConnectionError) as caught:
            _time_constant(synapse)
        assert (caught.value.what, caught.value.value) == ("only lowpass synapses exist on the chip", name)


def test_nodes_that_are_given_values():
    with nengo.Network():
        nodes = [
            (nengo.Node(np.zeros(3)), True),
            (nengo.Node([0.0, 0.5]), False),
            (nengo.Node(lambda t: [t]), True),
            (nengo.Node(size_in=2), False),
            (nengo.Node(lambda t, x: x, size_in=2), False),
        ]
    for node, given in nodes:
        assert _is_input(node) is given


@pytest.mark.parametrize(
    ("weights", "encoded", "scale"),
    [
        ([[0.5, -0.25]], {"p"}, 2.0),
        ([[0.5, -0.25], [0.1, 0.0]], {"p", "q"}, 10.0),
        ([[2.0, -4.0]], {"p"}, 1.0),
        ([[0.0, 0.0]], {"p"}, 0.5),
        ([[0.0, 0.0], [0.25, 0.0]], {"p", "q"}, 4.0),
        ([[0.5, -0.25], [0.1, 0.0]], {"p"}, 0.5),
        ([[0.5, -0.25]], set(), 0.5),
        ([], {"p"}, 0.5),
    ],
)
def test_inputs_are_as_large_as_ensembles_have_room_for(weights, encoded, scale):
    """By the weights from the input; 0.5 is what stood there before, where it is no matter of ensembles alone."""
    node = Input("x", (2,), scale=0.5)
    made = [Population(n, (2,), NeuronModel("if"), np.ones(2), np.zeros(2)) for n in "pq"]
    into = [Projection("x", n, Dense(np.diag(w)), 0.0) for n, w in zip("pq", weights, strict=False)]
    fed = [] if len(into) == 2 else [Projection("z", "q", Dense(np.eye(2)), 0.0)]
    fed += [] if into else [Projection("z", "p", Dense(np.eye(2)), 0.0)]
    out = Projection("p", "y", Dense(np.eye(2)), 0.0)
    graph = Graph(
        (node, Input("z", (2,))), tuple(made), (*into, *fed, out), (Readout("y", (2,), np.zeros(2)),), 0.001
    )
    assert _with_radius(graph, node, encoded).scale == pytest.approx(scale)

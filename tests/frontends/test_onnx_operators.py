"""Every operator of ONNX with each of its settings, and everything that is refused, by its whole text."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import loihi_deploy as ld
from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends import check_conversion
from tests.frontends.onnx_nets import agrees, draw, model

IMAGE = (2, 7, 6)


def windows(**settings):
    return [("MaxPool", ["r"], "w", settings)]


# operators between r, what neurons make of an image of 2 x 7 x 6, and w, an image
IMAGES = {
    "valid": [("Conv", ["r", "k"], "w", {"auto_pad": "VALID", "strides": [2, 1]})],
    "zeros before": [("Conv", ["r", "k"], "w", {"pads": [1, 2, 0, 0]})],
    "zeros behind": [("Conv", ["r", "k", "b"], "w", {"pads": [0, 0, 2, 1], "strides": [1, 2]})],
    "same, odd zeros behind": [("Conv", ["r", "k"], "w", {"auto_pad": "SAME_UPPER", "strides": [1, 2]})],
    "same, odd zeros before": [("Conv", ["r", "k"], "w", {"auto_pad": "SAME_LOWER", "strides": [2, 1]})],
    "apart": [("Conv", ["r", "k"], "w", {"dilations": [1, 2]})],
    "by groups": [("Conv", ["r", "k2", "b"], "w", {"group": 2, "kernel_shape": [2, 1]})],
    "an average": [("AveragePool", ["r"], "w", {"kernel_shape": [3, 2], "strides": [2, 1]})],
    "an average with zeros": [
        *[
            (
                "AveragePool",
                ["r"],
                "w",
                {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1},
            )
        ],
    ],
    "no padding, said so": [("AveragePool", ["r"], "w", {"kernel_shape": [3, 2], "auto_pad": "NOTSET"})],
    "of a whole image": [("GlobalAveragePool", ["r"], "w", {})],
    "the largest of three": windows(kernel_shape=[3, 1], strides=[2, 3]),
    "the largest of six": windows(kernel_shape=[2, 3], strides=[1, 1]),
    "the largest, zeros behind": windows(kernel_shape=[2, 2], strides=[2, 1], pads=[0, 0, 1, 1]),
    "the largest, apart by 1": windows(kernel_shape=[2, 2], dilations=[1, 1]),
    "the largest of what may be negative": [
        ("Conv", ["r", "k"], "c", {}),
        ("MaxPool", ["c"], "w", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ],
    "the largest up to the edge": [
        ("Conv", ["r", "k1"], "c", {}),
        ("MaxPool", ["c"], "w", {"kernel_shape": [3, 2], "strides": [2, 2]}),
    ],
    "the largest of averages": [
        ("AveragePool", ["r"], "a", {"kernel_shape": [2, 2]}),
        ("MaxPool", ["a"], "w", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 1, 0, 0]}),
    ],
    "the largest of the largest": [
        ("MaxPool", ["r"], "a", {"kernel_shape": [2, 2]}),
        ("MaxPool", ["a"], "w", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 0]}),
    ],
    "the largest of both": [
        ("Concat", ["r", "r"], "a", {"axis": 1}),
        ("MaxPool", ["a"], "w", {"kernel_shape": [2, 1], "pads": [1, 0, 0, 0]}),
    ],
    "normalized": [("BatchNormalization", ["r", "g", "h", "m", "v"], "w", {"epsilon": 0.5})],
    "normalized as usual": [("BatchNormalization", ["r", "g", "h", "m", "tiny"], "w", {})],
    "a number for each channel": [("Mul", ["b1", "r"], "w", {})],
    "plus one for each": [("Add", ["r", "image"], "w", {})],
    "plus one for all": [("Add", ["one", "r"], "w", {})],
    "minus one for each channel": [("Sub", ["r", "b1"], "w", {})],
    "in shares": [("Div", ["r", "b1"], "w", {})],
    "the same shape": [("Reshape", ["r", "same"], "w", {})],
    "what acts in training": [("Dropout", ["r"], "d", {}), ("Identity", ["d"], "w", {})],
    "a difference": [("Conv", ["x", "k1"], "a", {}), ("Sub", ["r", "a"], "w", {})],
    "three together": [("Concat", ["r", "x", "r"], "w", {"axis": -3})],
}


def image_model(nodes):
    """The same, and another layer behind it."""
    same = np.array([1, 2, 7, 6])
    constants = {
        "first": draw(2, 2, 1, 1) + np.eye(2)[:, :, None, None],
        "k": draw(3, 2, 2, 3),
        "k1": draw(2, 2, 1, 1),
        "k2": draw(4, 1, 2, 1),
        "b": draw(3 + ("k2" in str(nodes))),
        "b1": 0.5 + np.abs(draw(2))[:, None, None],
        "one": np.array(0.25),
        "image": draw(1, 2, 7, 6),
        "g": 1 + draw(2),
        "h": draw(2),
        "m": draw(2),
        "v": np.array([0.3, 0.7]),
        "tiny": np.array([2e-5, 1e-5]),
        "same": same,
    }
    head = [("Conv", ["x", "first"], "c0", {}), ("Relu", ["c0"], "r", {})]
    return model(
        IMAGE, (1,), [*head, *nodes, ("Relu", ["w"], "r2", {}), ("Flatten", ["r2"], "y", {})], **constants
    )


@pytest.mark.parametrize("name", IMAGES)
def test_images(name):
    agrees(image_model(IMAGES[name]), IMAGE)


# operators between r, what neurons make of 6 values, and w, a vector
VECTORS = {
    "a matrix": [("Gemm", ["r", "w1"], "w", {})],
    "a matrix, turned, and scaled": [
        ("Gemm", ["r", "w2", "b"], "w", {"transB": 1, "alpha": 0.5, "beta": 3.0})
    ],
    "a bias as it is": [("Gemm", ["r", "w1", "b"], "w", {})],
    "a bias of a row": [("Gemm", ["r", "w1", "row"], "w", {"alpha": 2.0})],
    "a product": [("MatMul", ["r", "w1"], "w", {})],
    "together": [("Concat", ["r", "x"], "w", {"axis": -1})],
    "twice": [("Add", ["r", "r"], "w", {})],
    "values minus values": [("Sub", ["r", "x"], "w", {})],
    "one axis, said as -1": [("Reshape", ["r", "rest"], "w", {})],
    "one axis, said as it is": [("Reshape", ["r", "six"], "w", {})],
    "one axis, of an image": [
        ("Reshape", ["r", "six"], "a", {}),
        ("Flatten", ["a"], "w", {"axis": 1}),
    ],
    "a constant within": [
        ("Constant", [], "c", {"value": helper.make_tensor("c", TensorProto.FLOAT, (6,), np.arange(6.0))}),
        ("Mul", ["r", "c"], "w", {}),
    ],
    "constants that are made": [
        ("Transpose", ["w2"], "a", {}),
        ("Identity", ["a"], "b2", {}),
        ("Reshape", ["b2", "square"], "c", {}),
        ("MatMul", ["r", "c"], "w", {}),
    ],
}


def vector_model(nodes, *end):
    constants = {
        "first": draw(6, 6) + np.eye(6),
        "w1": draw(6, 4),
        "w2": draw(4, 6),
        "b": draw(4),
        "row": draw(1, 4),
        "rest": np.array([1, -1]),
        "six": np.array([1, 6]),
        "square": np.array([6, 4]),
    }
    head = [("MatMul", ["x", "first"], "c0", {}), ("Relu", ["c0"], "r", {})]
    return model((6,), (1,), [*head, *nodes, *(end or [("Relu", ["w"], "y", {})])], **constants)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    graph = agrees(vector_model(VECTORS[name]), (6,))
    assert graph.readouts[0].activation == "linear"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("Softmax", {}), ("Softmax", {"axis": 1}), ("Softmax", {"axis": -1}), ("Sigmoid", {}), ("Tanh", {})],
)
def test_what_the_host_does_at_the_end(kind, settings):
    graph = agrees(vector_model(VECTORS["a matrix"], (kind, ["w"], "y", settings)), (6,))
    assert graph.readouts[0].activation == kind.lower()


def test_inputs_and_outputs_have_their_names_and_weights_may_be_inputs_too():
    nodes = [
        ("MatMul", ["x", "w"], "a", {}),
        ("Relu", ["a"], "r", {}),
        ("Flatten", ["z"], "f", {}),
        ("Concat", ["f", "r"], "y", {"axis": 1}),
    ]
    net = model((3,), (1,), nodes, more_inputs={"z": (2, 3, 2)}, w=draw(3, 5))
    net.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, (1, 5)))
    graph = agrees(net, (3,), (2, 3, 2))
    assert [(i.name, i.shape, i.channels_first) for i in graph.inputs] == [
        ("x", (3,), False),
        ("z", (3, 2, 2), True),
    ]
    assert [(r.name, r.shape) for r in graph.readouts] == [("y", (17,)), ("r.readout", (5,))]
    assert [p.name for p in graph.populations] == ["r"]
    x = {"x": draw(2, 3), "z": draw(2, 2, 3, 2)}
    assert check_conversion(net, graph, x)
    net.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (3, 5)))
    assert ld.convert(net) == graph
    net.graph.node[1].op_type = "Identity"
    with pytest.raises(ConversionError, match="does not compute"):
        check_conversion(net, graph, x)


def test_operators_without_names_are_called_by_what_they_make():
    net = vector_model(VECTORS["a matrix"])
    for node in net.graph.node:
        node.name = ""
    assert [p.name for p in ld.convert(net).populations] == ["r", "y"]


@pytest.mark.parametrize(("version", "asked"), [(13, False), (14, True)])
def test_normalization_is_compared_from_version_14_on(version, asked):
    net = image_model(IMAGES["normalized"])
    other = image_model(IMAGES["valid"])
    for each in (net, other):
        del each.opset_import[:]
        each.opset_import.extend([helper.make_opsetid("other", 1), helper.make_opsetid("", version)])
    x = draw(2, *IMAGE).astype(np.float32)
    assert check_conversion(net, ld.convert(net), x) is asked
    assert check_conversion(other, ld.convert(other), x)


AGAIN = "Export the model again"
FIT = "settings and shapes do not fit"


def only(what, where="operator 'w' (…)", value=None, remedy=""):
    return [Problem(what, where, value, remedy=remedy)]


REFUSED = {
    "padding that is not counted": [
        ("AveragePool", {"kernel_shape": [2, 2], "pads": [0, 0, 0, 1]}),
        ("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
    ],
    "dilation": [("MaxPool", {"kernel_shape": [2, 2], "dilations": [1, 2]})],
    "ceil_mode": [
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}),
        ("AveragePool", {"kernel_shape": [2, 2], "ceil_mode": 1}),
    ],
    "windows of other than two dimensions": [
        ("MaxPool", {"kernel_shape": [2]}),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [1]}),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [1, 0]}),
        ("MaxPool", {"kernel_shape": [2, 2], "pads": [1, 1]}),
        ("MaxPool", {"kernel_shape": [2, 2], "pads": [0, 0, 0, -1]}),
    ],
    "flattening into the batch": [("Flatten", {"axis": 0}), ("Flatten", {"axis": 2})],
    "softmax along other than the last axis of vectors": [("Softmax", {}), ("Softmax", {"axis": 2})],
}
CASES = [(what, *case) for what, cases in REFUSED.items() for case in cases]


def problems_of(net):
    with pytest.raises(ConversionError) as caught:
        ld.convert(net)
    return list(caught.value.problems)


@pytest.mark.parametrize(("what", "kind", "settings"), CASES)
def test_settings_that_are_refused(what, kind, settings):
    found = problems_of(image_model([(kind, ["r"], "w", settings)]))
    assert found == [Problem(what, f"operator 'w' ({kind})")]


@pytest.mark.parametrize(
    ("nodes", "what"),
    [
        (
            [("MaxPool", ["c0"], "w", {"kernel_shape": [2, 2], "pads": [0, 0, 0, 1]})],
            "padding of values that can be below 0",
        ),
        (
            [("MaxPool", ["c0"], "w", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"})],
            "padding of values that can be below 0",
        ),
        (
            [("Gemm", ["r", "w1"], "w", {})],
            "a product of shapes (2, 7, 6) and (6, 4): flatten the values first",
        ),
        ([("Add", ["r", "f"], "w", {})], "a sum of different shapes"),
        ([("Mul", ["r", "r"], "w", {})], "a product of two values that both depend on the input"),
        ([("Mul", ["one", "one"], "w", {})], "a product of two values that both depend on the input"),
        ([("Div", ["r", "r"], "w", {})], "a division by values, or by 0"),
        ([("Div", ["r", "zeros"], "w", {})], "a division by values, or by 0"),
        ([("Div", ["one", "r"], "w", {})], "an operator on constants"),
        (
            [("MatMul", ["f", "f"], "w", {})],
            "a product of other than values with constant weights behind them",
        ),
        (
            [("MatMul", ["w1", "f"], "w", {})],
            "a product of other than values with constant weights behind them",
        ),
        ([("Gemm", ["f", "w84"], "w", {"transA": 1})], "transA"),
        ([("Reshape", ["r", "two"], "w", {})], "a new shape other than one axis: (14, 6)"),
        ([("Reshape", ["r", "wrong"], "w", {})], "a new shape other than one axis: (83,)"),
        ([("Concat", ["r", "r"], "w", {"axis": 2})], "joining along other than the channels"),
        ([("Concat", ["r", "a"], "w", {"axis": 1})], "joining along other than the channels"),
        ([("Conv", ["f", "k"], "w", {})], "needs images, not values of shape (84,)"),
        ([("Conv", ["r", "k"], "w", {"dilations": [4096, 1]})], "a kernel wider than 4,096 pixels"),
        (
            [("Tanh", ["f"], "t", {}), ("Relu", ["t"], "w", {})],
            "something behind tanh, which the host computes at the end",
        ),
    ],
)
def test_operators_that_are_refused(nodes, what):
    constants = {
        "k": draw(3, 2, 2, 3),
        "w1": draw(4, 6),
        "w84": draw(84, 3),
        "one": np.array(0.25),
        "zeros": np.array([1.0, 0.0])[:, None, None],
        "two": np.array([1, 14, 6]),
        "wrong": np.array([1, 83]),
    }
    head = [
        ("Conv", ["x", "first"], "c0", {}),
        ("Relu", ["c0"], "r", {}),
        ("AveragePool", ["r"], "a", {"kernel_shape": [2, 1]}),
        ("Flatten", ["r"], "f", {}),
    ]
    net = model(
        IMAGE, (1,), [*head, *nodes, ("Flatten", ["w"], "y", {})], first=draw(2, 2, 1, 1), **constants
    )
    assert problems_of(net) == [Problem(what, f"operator 'w' ({nodes[-1][0]})")]


def test_a_kernel_of_4096_pixels_is_read():
    net = image_model([("Conv", ["r", "k"], "w", {"dilations": [4095, 1], "pads": [4095, 1, 0, 1]})])
    assert ld.convert(net).populations[1].shape == (7, 6, 3)


def test_shapes_that_do_not_fit_are_told_with_what_numpy_says():
    (problem,) = problems_of(image_model([("Add", ["r", "g"], "w", {})]))
    assert (problem.what, problem.where, problem.remedy) == (FIT, "operator 'w' (Add)", AGAIN)
    assert re.search("broadcast", problem.value)


def test_what_is_not_read_names_what_is_and_what_stands_behind_it_is_not_told():
    net = image_model([("Erf", ["r"], "e", {}), ("Sub", ["e", "r"], "w", {})])
    (problem,) = problems_of(net)
    assert (problem.what, problem.where) == ("an operator that is not read", "operator 'e' (Erf)")
    read = problem.remedy.removeprefix("Export the network with operators of these: ").split(", ")
    assert read == sorted(read)
    assert {"Add", "Conv", "Gemm", "MaxPool", "Tanh"} < set(read)


def test_damaged_weights_and_outputs():
    net = image_model(IMAGES["valid"])
    net.graph.output[0].name = "nothing"
    assert problems_of(net) == [Problem("an output that nothing makes", "nothing", remedy=AGAIN)]
    net.graph.initializer[0].raw_data = np.array([1.0, 2.0, np.inf, 0.0], np.float32).tobytes()
    assert problems_of(net) == [Problem("weights are not finite", "first", remedy=AGAIN)]
    net.graph.initializer[1].dims[0] = 7
    first, second = problems_of(net)
    assert first == Problem("weights are not finite", "first", remedy=AGAIN)
    assert (second.what, second.where, second.remedy) == ("weights that do not fit their shape", "k", AGAIN)


@pytest.mark.parametrize("shape", [(), (3, 4), (2, 3, 4, 5), (2, 0, 4), (0,)])
def test_inputs_are_vectors_or_images(shape):
    net = model((6,), (1,), [("Relu", ["x"], "y", {})])
    del net.graph.input[0].type.tensor_type.shape.dim[1:]
    for n in shape:
        net.graph.input[0].type.tensor_type.shape.dim.add().dim_value = n
    assert problems_of(net) == [
        Problem(
            "an input whose samples are neither vectors nor images of a fixed size",
            "x",
            shape,
            remedy="Export the model with a fixed input shape: (batch, n) or (batch, channels, height, width)",
        )
    ]


@pytest.mark.parametrize("left_out", ["node", "output"])
def test_files_without_a_network(left_out, tmp_path):
    net = vector_model(VECTORS["a matrix"])
    path = tmp_path / "net.onnx"
    onnx.save(net, path)
    assert ld.convert(path) == ld.convert(net)
    del getattr(net.graph, left_out)[:]
    path.write_bytes(net.SerializeToString())
    with pytest.raises(ConversionError) as caught:
        ld.convert(path)
    assert caught.value.problems == (Problem("no network", str(path), remedy=AGAIN),)


def test_weights_elsewhere_are_told_by_their_names(tmp_path):
    net = vector_model(VECTORS["a matrix"])
    path = tmp_path / "net.onnx"
    onnx.save(net, path, save_as_external_data=True, size_threshold=64, location="weights")
    with pytest.raises(ConversionError) as caught:
        ld.convert(path)
    (problem,) = caught.value.problems
    assert (problem.what, problem.where) == ("weights that are kept in another file", "first, w1, w2")

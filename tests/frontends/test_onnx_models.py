"""ONNX models, compared with the evaluator that the package onnx brings."""

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx.reference import ReferenceEvaluator

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends import check_conversion
from tests.frontends.onnx_nets import agrees, draw, model

RNG = np.random.default_rng(0)


def image_net():
    return model(
        (2, 9, 8),
        (5,),
        [
            ("Conv", ["x", "k1", "b1"], "c1", {"pads": [1, 0, 2, 1], "strides": [1, 2], "dilations": [2, 1]}),
            ("BatchNormalization", ["c1", "g", "h", "m", "v"], "n1", {}),
            ("Relu", ["n1"], "r1", {}),
            ("MaxPool", ["r1"], "p1", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
            ("Conv", ["p1", "k2"], "c2", {"auto_pad": "SAME_UPPER", "group": 2}),
            ("Relu", ["c2"], "r2", {}),
            ("Concat", ["r2", "p1"], "both", {"axis": 1}),
            ("AveragePool", ["both"], "a", {"kernel_shape": [2, 2], "strides": [1, 1]}),
            ("Flatten", ["a"], "flat", {}),
            ("Gemm", ["flat", "w", "b"], "d", {"transB": 1, "alpha": 0.5, "beta": 2.0}),
            ("Softmax", ["d"], "y", {"axis": 1}),
        ],
        k1=draw(4, 2, 3, 3),
        b1=draw(4),
        g=1 + draw(4),
        h=draw(4),
        m=draw(4),
        v=np.full(4, 0.7),
        k2=draw(6, 2, 2, 3),
        w=draw(5, IMAGE_SIZE),
        b=draw(5),
    )


IMAGE_SIZE = 10 * 3 * 3


def test_images_are_computed_as_onnx_does():
    agrees(image_net(), (2, 9, 8))


def test_an_input_that_is_left_out_by_an_empty_name_is_none():
    net = model(
        (2, 5, 4),
        (3,),
        [
            ("Conv", ["x", "k", ""], "c", {}),
            ("Relu", ["c"], "r", {}),
            ("Flatten", ["r"], "f", {}),
            ("Gemm", ["f", "w", ""], "y", {}),
        ],
        k=draw(3, 2, 2, 2),
        w=draw(36, 3),
    )
    agrees(net, (2, 5, 4))


def test_vectors_and_branches_are_computed_as_onnx_does():
    net = model(
        (6,),
        (4,),
        [
            ("Sub", ["x", "mean"], "s", {}),
            ("Div", ["s", "spread"], "t", {}),
            ("Transpose", ["w1t"], "w1", {"perm": [1, 0]}),
            ("MatMul", ["t", "w1"], "m", {}),
            ("Relu", ["m"], "r", {}),
            ("MatMul", ["r", "w2"], "m2", {}),
            ("Add", ["m2", "r"], "sum", {}),
            ("Relu", ["sum"], "r2", {}),
            ("Reshape", ["r2", "form"], "flat", {}),
            ("Mul", ["flat", "spread2"], "u", {}),
            ("Gemm", ["u", "w3"], "y", {}),
        ],
        mean=draw(6),
        spread=np.array([2.0]),
        w1t=draw(8, 6),
        w2=draw(8, 8),
        w3=draw(8, 4),
        spread2=draw(1, 8),
        form=np.array([1, -1]),
    )
    graph = agrees(net, (6,))
    assert len(graph.populations) == 2


def test_the_largest_of_a_window_on_chip():
    """A step of the chip for every round of comparisons, and answers as the source's."""
    net = model(
        (1, 6, 6),
        (3,),
        [
            ("Conv", ["x", "k"], "c", {}),
            ("Relu", ["c"], "r", {}),
            ("MaxPool", ["r"], "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Flatten", ["p"], "f", {}),
            ("Gemm", ["f", "w"], "y", {}),
        ],
        k=draw(3, 1, 3, 3),
        w=draw(12, 3),
    )
    x = RNG.random((100, 1, 6, 6)).astype(np.float32)
    deployment = ld.deploy(net, calibration=x)
    wanted = np.concatenate([ReferenceEvaluator(net).run(None, {"x": sample[None]})[0] for sample in x])
    found = deployment.run(x, 200).outputs
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.85
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.95


def test_a_file_is_read_by_the_library_and_the_command_line(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(image_net(), path)
    x = RNG.normal(size=(30, 2, 9, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    result = ld.deploy(path, calibration=x).run(x[:2], 20)
    assert result.outputs.shape == (2, 5)
    arguments = [
        "compile",
        str(path),
        "--calibration",
        str(tmp_path / "x.npy"),
        "-o",
        str(tmp_path / "a.loihi"),
    ]
    made = CliRunner().invoke(commands, arguments)
    assert made.exit_code == 0, made.output
    assert (ld.load(tmp_path / "a.loihi").run(x[:2], 20).outputs == result.outputs).all()


def test_evaluators_that_normalize_otherwise_are_not_asked():
    nodes = [
        ("BatchNormalization", ["x", "g", "h", "m", "v"], "n", {}),
        ("Relu", ["n"], "r", {}),
        ("Gemm", ["r", "w"], "y", {}),
    ]
    norm = {"g": draw(6), "h": draw(6), "m": draw(6), "v": np.full(6, 0.5)}
    x = RNG.normal(size=(20, 6)).astype(np.float32)
    old, new = (ld.convert(model((6,), (4,), nodes, version, **norm, w=WEIGHTS)) for version in (13, 17))
    assert old == new
    assert not check_conversion(model((6,), (4,), nodes, 13, **norm, w=WEIGHTS), old, x)
    assert check_conversion(model((6,), (4,), nodes, 17, **norm, w=WEIGHTS), new, x)


WEIGHTS = draw(6, 4)


def refused(net):
    with pytest.raises(ConversionError) as caught:
        ld.convert(net)
    return caught.value.problems


def test_what_is_not_read_is_said_at_once():
    nodes = [
        ("Relu", ["x"], "r", {}),
        ("Erf", ["r"], "e", {}),
        ("LSTM", ["r", "w"], "l", {}),
        ("Gemm", ["r", "w"], "g", {"transA": 1}),
        ("Identity", ["e"], "y", {}),
    ]
    problems = refused(model((6,), (4,), nodes, w=draw(6, 4)))
    assert [problem.what for problem in problems] == ["an operator that is not read"] * 2 + ["transA"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]})], "padding of values"),
        ([("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "ceil_mode": 1})], "ceil_mode"),
        ([("AveragePool", ["x"], "y", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]})], "not counted"),
        ([("Gemm", ["x", "w"], "y", {})], "flatten the values first"),
        ([("Flatten", ["x"], "y", {"axis": 0})], "into the batch"),
        ([("Reshape", ["x", "form"], "y", {})], "a new shape"),
        ([("Softmax", ["x"], "y", {})], "softmax along"),
        ([("Tanh", ["x"], "t", {}), ("Relu", ["t"], "y", {})], "behind tanh"),
        ([("Conv", ["x", "bad"], "y", {})], "not finite"),
        ([("Conv", ["x", "k"], "y", {})], "do not fit"),
        ([("Mul", ["x", "x"], "y", {})], "both depend"),
    ],
)
def test_settings_that_are_not_read(nodes, message):
    constants = {"w": draw(6, 4), "form": np.array([1, 6, 6]), "k": draw(4, 3, 3, 3)}
    if message == "not finite":
        constants["bad"] = np.full((4, 1, 3, 3), np.nan)
    problems = refused(model((1, 6, 6), (4,), nodes, **constants))
    assert message in " ".join(map(str, problems))


def test_damaged_files_and_weights_elsewhere(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(image_net(), path)
    whole = path.read_bytes()
    for kept in (0, 1, 100, len(whole) - 5):
        path.write_bytes(whole[:kept])
        with pytest.raises((ConversionError, InputError)):
            ld.convert(path)
    net = image_net()
    net.graph.initializer[0].dims[0] = 1 << 40
    assert "do not fit their shape" in str(refused(net)[0])
    onnx.save(image_net(), path, save_as_external_data=True, size_threshold=0)
    with pytest.raises(ConversionError, match="another file"):
        ld.convert(path)


def test_inputs_of_no_fixed_size():
    net = image_net()
    net.graph.input[0].type.tensor_type.shape.dim[2].Clear()
    with pytest.raises(ConversionError, match="fixed size"):
        ld.convert(net)


def test_images_are_joined_by_channels_wherever_they_come_from():
    """The input itself, neurons, and neurons joined before: 2, 3, and 5 channels of 3 by 4."""
    net = model(
        (2, 3, 4),
        (7,),
        [
            ("Conv", ["x", "k1"], "c1", {"auto_pad": "SAME_UPPER"}),
            ("Relu", ["c1"], "r1", {}),
            ("Concat", ["x", "r1"], "two", {"axis": 1}),
            ("Concat", ["r1", "two", "x"], "three", {"axis": -3}),
            ("Conv", ["three", "k2"], "c2", {}),
            ("Relu", ["c2"], "r2", {}),
            ("Flatten", ["r2"], "f2", {}),
            ("Flatten", ["three"], "f3", {}),
            ("Concat", ["f3", "f2"], "all", {"axis": 1}),
            ("Gemm", ["all", "w"], "y", {}),
        ],
        k1=draw(3, 2, 3, 3),
        k2=draw(4, 10, 2, 1),
        w=draw(10 * 12 + 4 * 2 * 4, 7),
    )
    graph = agrees(net, (2, 3, 4))
    assert [population.shape for population in graph.populations][-1] == (2, 4, 4)


@pytest.mark.parametrize(
    ("nodes", "axis"),
    [
        ([("Concat", ["r", "r"], "y", {"axis": 2})], "joining"),
        ([("Reshape", ["r", "form"], "y", {})], "a new shape"),
        ([("Flatten", ["r"], "y", {"axis": 2})], "flattening"),
        ([("Softmax", ["r"], "y", {"axis": 1})], "softmax along"),
    ],
)
def test_other_axes_are_not_read(nodes, axis):
    shaped = [("Conv", ["x", "k"], "c", {}), ("Relu", ["c"], "r", {}), *nodes]
    net = model((2, 3, 4), (24,), shaped, k=draw(2, 2, 1, 1), form=np.array([1, 4, 6]))
    with pytest.raises(ConversionError, match=axis):
        ld.convert(net)

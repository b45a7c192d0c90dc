"""What configurations of saved models may name, and what would run code, as whole text."""

import pytest

from loihi_deploy.errors import Problem
from loihi_deploy.frontends.keras_config import code_in, mentions, unknown_layers
from loihi_deploy.frontends.keras_ops import operation_name

TRUST = (
    "If you know where the file comes from: trust=True, or --trust on the command line; otherwise save and deploy the "
    "part of the model that does without it"
)
OUTSIDE = "names code outside Keras' layers"
STORED = "a Python function stored in the file"
CALLS = "calls a function of TensorFlow that is not known to be harmless"


def layer(kind, name="own", **more):
    return {"class_name": kind, "config": {"name": name}, **more}


def model(*layers):
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def found(*layers, registered=()):
    problems = code_in(model(*layers), lambda name: name in registered)
    assert all(problem.remedy == TRUST and problem.limit is None for problem in problems)
    return [(problem.what, problem.where, problem.value) for problem in problems]


@pytest.mark.parametrize(
    "module",
    [
        *("keras", "keras.layers", "keras.src.layers.core", "keras.activations", "tf_keras.src.engine.x"),
        *("tf_keras", "keras_spiking", "keras_spiking.layers", "loihi_deploy", "loihi_deploy.frontends.x"),
        *("builtins", "keras.ops", "keras.losses", "keras.optimizers.legacy", "keras.src.random.seed", None),
    ],
)
def test_what_is_keras_own_may_be_named(module):
    assert found(layer("Dense", module=module)) == []


@pytest.mark.parametrize(
    "module",
    [
        *(
            "os",
            "keras.utils",
            "keras.saving",
            "keras.src.utils.x",
            "tf_keras.utils",
            "keras.models2",
            "keras_tuner",
        ),
        *("builtin", "tensorflow", "mykeras.layers", "keras.src.src.layers"),
    ],
)
def test_what_is_not_may_not(module):
    assert found(layer("get_file", module=module)) == [(OUTSIDE, "layer 'own'", f"{module}.get_file")]
    registered = layer("get_file", module=module, registered_name="mine")
    assert found(registered, registered=["mine"]) == []
    assert found(registered, registered=["other"]) != []


def test_functions_of_python():
    for name in ("eval", "exec", "__import__"):
        assert found(layer(name, module="builtins")) == [(OUTSIDE, "layer 'own'", f"builtins.{name}")]
        assert found(layer(name, module="keras")) == []
    assert found(layer("sum", module="builtins")) == []
    for name in ("Lambda", "__lambda__"):
        assert found(layer(name, "one"), layer(name, "two"), layer(name, "one")) == [
            (STORED, "layer 'one'", name),
            (STORED, "layer 'two'", name),
        ]
        assert found(layer(name, registered_name="mine"), registered=["mine"]) != []


@pytest.mark.parametrize(
    ("kind", "function", "fine"),
    [
        ("TFOpLambda", "math.add", True),
        ("TFOpLambda", "nn.relu", True),
        ("TFOpLambda", "reshape", True),
        ("TFOpLambda", "linalg.matmul", True),
        ("TFOpLambda", "compat.v1.transpose", True),
        ("TFOpLambda", "compat.v1.nn.relu", True),
        ("SlicingOpLambda", "__operators__.getitem", True),
        ("TFOpLambda", "io.write_file", False),
        ("TFOpLambda", "io.reshape", False),
        ("TFOpLambda", "py_function", False),
        ("SlicingOpLambda", "os.getitem", False),
        ("ClassMethod", "math.add", False),
        ("InstanceMethod", "reshape", False),
        ("InstanceProperty", "shape", False),
    ],
)
def test_functions_of_tensorflow(kind, function, fine):
    made = {"class_name": kind, "config": {"name": "own", "function": function}}
    assert found(made) == ([] if fine else [(CALLS, "layer 'own'", function)])
    for config in ({"name": "own"}, "text"):
        where = "layer 'own'" if isinstance(config, dict) else "layer 'm'"
        assert found({"class_name": kind, "config": config}) == [(CALLS, where, kind)]


def test_what_stands_deep_within():
    inner = layer("Lambda", "deep")
    for place in (
        {"a": [1, {"b": inner}]},
        [[inner]],
        {"class_name": "Dense", "config": {"name": "d", "x": inner}},
    ):
        assert found({"class_name": "Dense", "config": {"name": "outer", "x": place}}) == [
            (STORED, "layer 'deep'", "Lambda")
        ]
    unnamed = {"class_name": "__lambda__", "config": {}}
    assert found(layer("Dense", "outer", build_config=unnamed)) == [(STORED, "layer 'outer'", "__lambda__")]
    assert code_in(unnamed, lambda name: False) == [Problem(STORED, "", "__lambda__", remedy=TRUST)]
    assert code_in([1, "Lambda", None], lambda name: False) == []


def test_layers_of_keras_spiking():
    for mentioned in (
        layer("SpikingActivation"),
        layer("Lowpass"),
        layer("Alpha"),
        layer("Anything", module="keras_spiking.layers"),
    ):
        assert mentions(model(layer("Dense"), mentioned), "keras_spiking")
    assert not mentions(
        model(layer("Dense", module="keras.layers"), layer("ReLU", module=None)), "keras_spiking"
    )


def test_layers_that_nobody_defines():
    inner = model(layer("Own", "b", registered_name="x>Own", module="mine"), layer("Dense"))
    bidirectional = {"class_name": "Wrapped", "config": [layer("Own", "c", module="mine")]}
    whole = model(layer("Own", "a", module="mine"), inner, layer("Other", "d"), bidirectional)
    asked = []

    def known(name, registered, module):
        asked.append((name, registered, module))
        return name in ("Dense", "Sequential", "Wrapped")

    remedy = (
        "Load the model in Python, with custom_objects={{{0!r}: {0}}}, and give it to loihi_deploy.deploy"
    )
    what = "a layer that Keras does not define"
    assert unknown_layers(whole, known) == [
        Problem(what, "layer 'a' and 2 more", "Own", remedy=remedy.format("Own")),
        Problem(what, "layer 'd'", "Other", remedy=remedy.format("Other")),
    ]
    assert ("Own", "x>Own", "mine") in asked
    two = unknown_layers(model(layer("Own", "a"), layer("Own", "b")), lambda *names: False)
    assert two[0].where == "layer 'a' and 1 more"
    for nothing in (None, [], {}, {"config": None}, {"config": {"layers": None}}, {"config": ["x"]}):
        assert unknown_layers(nothing, lambda *names: False) == []


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("math.add", "add"),
        ("Add", "add"),
        ("math.reduce_sum", "sum"),
        ("__operators__.getitem", "getitem"),
        ("clip_by_value", "clip"),
        ("nn.avg_pool2d", "avgpool2d"),
        ("AveragePool", "avgpool"),
        ("math.scalar_mul", "multiply"),
        ("TrueDivide", "divide"),
        ("ExpandDims", "expanddims"),
    ],
)
def test_names_of_functions(called, name):
    assert operation_name(called) == name

"""What stands in the configuration of a saved Keras model, looked at before anything of it is built.

A configuration can name functions to call and hold compiled Python code, both of which building the model would run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loihi_deploy.errors import Problem
from loihi_deploy.frontends.keras_ops import operation_name
from loihi_deploy.frontends.tensor_functions import FUNCTIONS

PACKAGES = ("builtins", "keras", "keras_spiking", "loihi_deploy", "tf_keras")
"""Whose classes and functions a configuration may name."""
PARTS = (
    *(
        "",
        "activations",
        "constraints",
        "dtype_policies",
        "engine",
        "initializers",
        "layers",
        "mixed_precision",
    ),
    *("models", "ops", "quantizers", "random", "regularizers"),
    *("losses", "metrics", "optimizers"),  # of a compiled model within a model
)
"""The parts of Keras that may be named: others load files, or start programs."""
_OPERATION_LAYERS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
_OPERATION_MODULES = (
    "",
    "__operators__",
    "linalg",
    "math",
    "nn",
    "compat.v1",
    "compat.v1.nn",
    "compat.v1.math",
)
_TRUST = (
    "If you know where the file comes from: trust=True, or --trust on the command line;"
    " otherwise save and deploy the part of the model that does without it"
)


def code_in(config: Any, registered: Any) -> list[Problem]:
    """Everything in a configuration that would run code which is not Keras' own.

    Parameters
    ----------
    config : nested dict
    registered : callable
        Whether a name was registered with Keras in this process: what the user's own program defined is not
        the file's.
    """
    found = []
    for where, value in _objects(config, ""):
        reason = _reason(value, registered)
        if reason is not None:
            problem = Problem(reason[0], where, reason[1], remedy=_TRUST)
            if problem not in found:
                found.append(problem)
    return found


def _reason(value: dict[str, Any], registered: Any) -> tuple[str, str] | None:
    name, inner = str(value.get("class_name", "")), value.get("config")
    if name in ("Lambda", "__lambda__"):
        return "a Python function stored in the file", name
    package, _, rest = str(value.get("module") or "keras").partition(".")
    harmless = package in PACKAGES and not (package == "builtins" and name in ("eval", "exec", "__import__"))
    if package in ("keras", "tf_keras"):
        harmless = rest.removeprefix("src").removeprefix(".").partition(".")[0] in PARTS
    if not harmless and not registered(value.get("registered_name")):
        return "names code outside Keras' layers", f"{value['module']}.{name}"
    if name in _OPERATION_LAYERS:
        function = str(inner.get("function", name)) if isinstance(inner, dict) else name
        known = function.rpartition(".")[0] in _OPERATION_MODULES and operation_name(function) in FUNCTIONS
        if name not in _OPERATION_LAYERS[:2] or not known:
            return "calls a function of TensorFlow that is not known to be harmless", function
    return None


def _objects(value: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a configuration, with the layer that it belongs to."""
    if isinstance(value, dict):
        inner = value.get("config")
        if "class_name" in value and isinstance(inner, dict) and isinstance(inner.get("name"), str):
            layer = f"layer {inner['name']!r}"
        if "class_name" in value:
            yield layer, value
        for item in value.values():
            yield from _objects(item, layer)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item, layer)


def mentions(config: Any, package: str) -> bool:
    """Whether a class of a package is named anywhere."""
    spiking = {"SpikingActivation", "Lowpass", "Alpha"}
    return any(
        str(value.get("module") or "").startswith(package) or value["class_name"] in spiking
        for _, value in _objects(config, "")
    )


def unknown_layers(config: Any, known: Any) -> list[Problem]:
    """Layers whose class neither Keras nor the user's program defines, one problem for each class.

    Parameters
    ----------
    config : nested dict
    known : callable
        Whether Keras can build an object of this class name, registered name and module.
    """
    places: dict[str, list[str]] = {}
    for layer in _layers(config):
        name = str(layer.get("class_name", ""))
        if not known(name, layer.get("registered_name"), layer.get("module")):
            places.setdefault(name, []).append(str(layer["config"].get("name", "")))
    return [
        Problem(
            "a layer that Keras does not define",
            f"layer {names[0]!r}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""),
            name,
            remedy=f"Load the model in Python, with custom_objects={{{name!r}: {name}}}, and give it to"
            " loihi_deploy.deploy",
        )
        for name, names in places.items()
    ]


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and isinstance(layer.get("config"), (dict, list)):
            yield layer
            yield from _layers(layer)

"""The names that users see: one table of them, which everything else agrees with."""

import ast
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import loihi_deploy as ld


def names_for_type_checkers():
    """What each name stands for in the block under TYPE_CHECKING, written as in the table."""
    tree = ast.parse(Path(ld.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        if isinstance(node, ast.Assign):
            found[node.targets[0].id] = found[node.value.id]
            continue
        for alias in node.names:
            module = node.module.removeprefix("loihi_deploy").lstrip(".")
            whole = f"{module}.{alias.name}".lstrip(".")
            folder = Path(ld.__file__).parent.joinpath(*whole.split("."))
            is_module = folder.is_dir() or folder.with_suffix(".py").exists()
            found[alias.asname] = whole if is_module else f"{module}:{alias.name}"
    return {name: home for name, home in found.items() if not name.startswith("_")}


def test_type_checkers_see_the_table():
    assert names_for_type_checkers() == ld.PUBLIC_NAMES


def test_everyone_sees_the_table():
    assert set(dir(ld)) == {*ld.PUBLIC_NAMES, "__version__"}
    assert list(ld.__all__) == sorted(ld.PUBLIC_NAMES)
    visible = {}
    exec("from loihi_deploy import *", visible)
    assert visible.keys() - {"__builtins__"} == set(ld.PUBLIC_NAMES)


@pytest.mark.parametrize("name", ld.PUBLIC_NAMES)
def test_every_name_resolves_and_is_described(name):
    value = getattr(ld, name)
    module, _, attribute = ld.PUBLIC_NAMES[name].partition(":")
    home = import_module(f"loihi_deploy.{module}")
    assert value is (getattr(home, attribute) if attribute else home)
    assert value.__doc__


def test_every_folder_is_a_name():
    folders = {path.parent.name for path in Path(ld.__file__).parent.glob("*/__init__.py")}
    without = {
        "loihi_deploy",
        "cli",
        "deployment",
    }  # the command line is no name; `ld.Deployment` is the value
    assert folders - without <= set(ld.PUBLIC_NAMES)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="nothing"):
        _ = ld.nothing


GRAPH = ld.benchmarks.NETWORKS["nxtf-mnist"]()
DEPLOYMENT = ld.deploy(GRAPH, "nahuku32", options=ld.DeployOptions(normalization="none"))


def contents(value):
    """A value and everything of the package that it holds."""
    yield value
    for item in fields(value):
        held = getattr(value, item.name)
        for one in held if isinstance(held, tuple) else (held,):
            if hasattr(one, "digest"):
                yield from contents(one)


@pytest.mark.parametrize("value", list(contents(DEPLOYMENT)), ids=lambda value: type(value).__name__)
def test_a_representation_is_one_short_line(value):
    text = repr(value)
    assert text.startswith(f"{type(value).__name__}(")
    assert "\n" not in text
    assert len(text) < 700
    assert all(f"{item.name}=" in text for item in fields(value))


def test_a_representation_says_dtype_and_shape():
    transform = ld.ir.Dense(np.ones((2, 3)))
    assert repr(transform) == "Dense(weights=float64[2, 3])"
    population = ld.ir.Population("a", (2,), ld.ir.NeuronModel(), 1.0, np.zeros(2))
    assert "gain=float64[]" in repr(population)
    assert "bias=float64[2]" in repr(population)
    assert "populations=('conv0', 'conv1', 'conv2', 'conv3')" in repr(GRAPH)


def test_a_board_is_a_short_line():
    assert repr(ld.load_board("nahuku32")) == "Board('nahuku32', n_chips=32, chip=Chip('loihi1', 128 cores))"

"""The layers of the package, and what its import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import loihi_deploy

ROOT = Path(loihi_deploy.__file__).parent

# From the bottom to the top: a unit (a module or subpackage) imports units of lower layers, never of its own
# or of a higher one. A subpackage's own modules may import each other.
LAYERS = (
    {"errors"},
    {"checked"},
    {"chip", "file_kinds", "files", "tables"},
    {"ir", "data"},
    {"encoders"},
    {"options", "results", "artifact"},
    {"engines"},
    {"frontends", "mapping", "stages"},
    {"backends", "report"},
    {"analysis"},
    {"deployment"},
    {"pipeline", "export"},
    {"exploration", "training"},
    {"bench", "demo", "legendre", "simulator"},
    {"cli"},
)
# Who may import a framework, wherever in its code the import stands.
IMPORTERS = {
    "distributed": {"backends.cluster"},
    "h5py": {"frontends"},
    "jinja2": {"report"},
    "keras": {"frontends", "training"},
    "keras_spiking": {"training"},
    "llvmlite": {"engines"},
    "matplotlib": {"report"},
    "nengo": {"frontends", "legendre", "training", "simulator", "backends.nengo_loihi", "export.nengo"},
    "nengo_dl": {"frontends", "training"},
    "nengo_extras": {"training"},
    "nengo_loihi": {"backends.board_driver", "backends.preflight", "export.nengo", "simulator"},
    "numba": {"engines", "simulator"},
    "onnx": {"frontends"},
    "nir": {"export.nir"},
    "nxsdk": {"backends.nengo_loihi"},
    "optuna": {"exploration.study"},
    "sanafe": {"export.sanafe_runner"},  # copied to be run elsewhere, imported by nothing
    "tensorflow": {"frontends", "training"},
    "tf_keras": {"frontends", "training"},
}
# Module names that stand more than once: their folder gives the other half of the name.
REPEATED = {
    "chip",  # what the chip is; its engines
    "deployment",  # what is put together, used and loaded; the Deployment
    "encoders",  # of a deployment; in training
    "kernels",  # of the chip; of the host
    "nengo_loihi",  # a backend; an export
    "netx",  # read; written
    "nir",  # read; written
    "plain",  # engines of the chip; of the host
    "simulator",  # the Nengo backend; its Simulator
}
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(module):
    """Give the absolute dotted name of everything a module imports, with the line."""
    path = MODULES[module]
    package = ["loihi_deploy", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = [".".join(package[: len(package) - node.level + 1])] if node.level else []
            source = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                yield f"{source}.{alias.name}", node.lineno


def unit_of(module):
    return module.split(".")[0]


def is_in(module, allowed):
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def forbidden_imports(module):
    for imported, line in imports_of(module):
        head, *rest = imported.split(".")
        if head in IMPORTERS and not is_in(module, IMPORTERS[head]):
            yield f"line {line}: only {sorted(IMPORTERS[head])} may import {head}"
        if head != "loihi_deploy" or rest == ["__version__"]:
            continue
        here, there = unit_of(module), rest[0] if rest else ""
        if there not in RANK:
            yield f"line {line}: {imported} has no layer; import a name from the module it lives in"
        elif here != there and RANK[here] <= RANK[there]:
            yield f"line {line}: {here} may not import {there}"


STAGES_SHARED = "stages.rounding"
"""The one module that stages share; what one stage makes reaches the next as a value."""


# The package's own file loads names on first use, __main__ is the command line: both stand above all layers.
BELOW_THE_TOP = [module for module in MODULES if module not in ("", "__main__")]


def test_every_module_has_its_layer():
    assert {unit_of(module) for module in BELOW_THE_TOP} <= set(RANK)


@pytest.mark.parametrize("module", [module for module in BELOW_THE_TOP if unit_of(module) in RANK])
def test_imports_point_one_way(module):
    assert list(forbidden_imports(module)) == []


def modules_imported(module):
    """Modules of the package that a module imports, wherever in its code the import stands."""
    for imported, _ in imports_of(module):
        name = imported.removeprefix("loihi_deploy").lstrip(".")
        if imported.split(".")[0] == "loihi_deploy":
            found = name if name in MODULES else name.rpartition(".")[0]
            if found in MODULES and found not in ("", module):
                yield found


def stages_imported(module):
    return [name for name in modules_imported(module) if name.startswith("stages.") and name != STAGES_SHARED]


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("stages.")])
def test_stages_do_not_import_each_other(module):
    assert stages_imported(module) == []


@pytest.mark.parametrize(
    ("line", "n_violations"),
    [
        ("from loihi_deploy.stages.rounding import round_keeping_means", 0),
        ("from loihi_deploy.stages.partition import partition", 1),
        ("def f():\n    from . import normalize", 1),
    ],
)
def test_the_test_sees_a_stage_that_imports_another(line, n_violations, tmp_path, monkeypatch):
    path = tmp_path / "stages" / "quantize.py"
    path.parent.mkdir()
    path.write_text(line)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setitem(MODULES, "stages.quantize", path)
    assert len(stages_imported("stages.quantize")) == n_violations


def circles(imported):
    """Sets of modules that import each other, given what each imports: what stays when leaves are taken away."""
    left = {module: set(others) for module, others in imported.items()}
    while True:
        ends = {module for module, others in left.items() if not others & left.keys()}
        ends |= left.keys() - set().union(*left.values())
        if not ends:
            return sorted(left)
        left = {module: others for module, others in left.items() if module not in ends}


def test_no_modules_import_each_other():
    assert circles({module: modules_imported(module) for module in BELOW_THE_TOP}) == []


@pytest.mark.parametrize(
    ("imported", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, ["a", "b", "c"]),
    ],
)
def test_the_test_sees_circles(imported, found):
    assert circles(imported) == found


def test_no_module_name_stands_twice_unless_its_folder_gives_the_other_half():
    names = [module.split(".")[-1] for module in MODULES]
    assert {name for name in names if names.count(name) > 1} <= REPEATED


@pytest.mark.parametrize(
    ("module", "line", "n_violations"),
    [
        ("chip.hardware", "from loihi_deploy.errors import Problem", 0),
        ("mapping.core", "from loihi_deploy.mapping import placement", 0),
        ("mapping.core", "from . import placement", 0),
        ("mapping.core", "from ..ir import Program", 0),
        ("mapping.core", "from .. import stages", 1),
        ("mapping.core", "from loihi_deploy import quantize", 1),
        ("stages.quantize", "import loihi_deploy.mapping", 1),
        ("stages.quantize", "from loihi_deploy import partition", 1),
        ("stages.quantize", "import loihi_deploy as ld", 1),
        ("stages.quantize", "from loihi_deploy import __version__", 0),
        ("errors", "from loihi_deploy.chip.hardware import Board", 1),
        ("ir.program", "from loihi_deploy import deployment", 1),
        ("backends.line", "import nengo_loihi", 1),
        ("backends.board_driver", "from nengo_loihi.block import LoihiBlock", 0),
        ("frontends.keras", "def f():\n    import tensorflow as tf", 0),
        ("deployment.parts", "def f():\n    import tensorflow as tf", 1),
        ("stages.quantize", "import numba", 1),
    ],
)
def test_the_test_sees_violations(module, line, n_violations, tmp_path, monkeypatch):
    path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(line)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setitem(MODULES, module, path)
    assert len(list(forbidden_imports(module))) == n_violations


HEAVY = (
    "tensorflow",
    "tf_keras",
    "keras",
    "nengo",
    "nengo_dl",
    "nengo_loihi",
    "numba",
    "matplotlib",
    "scipy",
)
PROBE = """
import sys, time
start = time.perf_counter()
import loihi_deploy
print(time.perf_counter() - start, *(set(sys.modules) & set(sys.argv[1:])))
"""


def test_import_is_light_and_quick():
    seconds = []
    for _ in range(
        5
    ):  # the quickest of several: what the import itself costs, on a machine busy with other work
        output = subprocess.run(
            [sys.executable, "-c", PROBE, *HEAVY], cwd=ROOT.parent, capture_output=True, text=True, check=True
        ).stdout.split()
        seconds.append(float(output[0]))
        assert output[1:] == []
    assert min(seconds) < 0.3

"""Compiled code is never stale, and does without a place to be kept in."""

import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types
from numba.core import typed_passes, untyped_passes
from numba.core.compiler import Compiler
from numba.core.errors import TypingError

import loihi_deploy
from loihi_deploy.engines.kept_code import _NOTHING_TO_DO, _OPTIONS, _Code, _KernelCompiler, inlined, stamp

PACKAGE = Path(loihi_deploy.__file__).parent

INNER = """
from numba import njit
STEP = 3
@njit
def inner(x):
    return x + STEP
def unused(x):
    return x
"""
OUTER = """
import numpy as np
from inner_{number} import STEP, inner
TABLE = (1, np.uint64(2))
def outer(x):
    def helper(y):
        return inner(y) * 2
    return helper(x) + TABLE[0] + np.abs(x) + min(x, 3)
"""


@pytest.fixture
def stamp_of(tmp_path, monkeypatch):
    """The stamp of `outer` in files of these texts."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def load(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        module.__name__ = name.split("_")[0]  # the same module at another time
        return module

    def of(inner=INNER, outer=OUTER):
        number = len(made)
        made.append(load(f"inner_{number}", inner))
        module = load(f"outer_{number}", outer.replace("{number}", str(number)))
        for function in (module.outer, module.inner.py_func):
            function.__module__ = function.__module__.split("_")[0]
        return stamp(module.outer)

    return of


def test_the_stamp_covers_all_that_a_kernel_reads(stamp_of):
    expected = stamp_of()
    assert stamp_of() == expected
    assert (
        stamp_of(INNER.replace("def unused(x):\n    return x", "def unused(x):\n    return 2 * x"))
        == expected
    )
    for inner in (INNER.replace("STEP = 3", "STEP = 4"), INNER.replace("x + STEP", "x - STEP")):
        assert stamp_of(inner) != expected
    for old, new in (("uint64(2)", "uint64(3)"), ("* 2", "* 3"), ("min(x, 3)", "max(x, 3)")):
        assert stamp_of(outer=OUTER.replace(old, new)) != expected


def test_what_nobody_can_compare_is_refused(stamp_of):
    with pytest.raises(TypeError, match="reads TABLE"):
        stamp_of(outer=OUTER.replace("(1, np.uint64(2))", "[1]"))


SCRIPT = """
import numpy as np
from loihi_deploy.engines.host import plain
from loihi_deploy.engines.host.encoder import Encoder
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection
graph = Graph(
    (Input("x", (4,)),),
    (Population("p", (4,), NeuronModel("poisson"), np.array(300.0), np.zeros(4)),),
    (Projection("x", "p", Dense(np.eye(4))),),
)
x = np.linspace(0.5, 2, 4).reshape(1, 1, 4)
encoder = Encoder(graph)
events = encoder.run(x, 0, 40, 40, encoder.start(1, seed=7), np.zeros(1, np.int64))
spikes = events.to_dense()["p"]
assert (spikes == plain.encode(graph, {"x": x}, 40, seed=7)[0]["p"]).all()
print("".join(map(str, spikes.astype(int).ravel())))
"""


def run(code, folder, **environment):
    """What the code prints, and what it warns of; kernels of modules in the folder are kept there."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_an_edited_constant_of_another_file_gives_new_spikes(tmp_path):
    package = tmp_path / "loihi_deploy"
    ignored = shutil.ignore_patterns("__pycache__", "data", "hardware_configs")
    shutil.copytree(PACKAGE, package, ignore=ignored)
    before, told = run(SCRIPT, tmp_path, PYTHONPATH=str(tmp_path))
    assert told == ""
    assert list(package.rglob("*.nbc"))
    edited = package / "engines" / "host" / "neurons.py"
    text = edited.read_text()
    assert text.count("WEYL = 2783377641436327.0") == 1
    edited.write_text(text.replace("WEYL = 2783377641436327.0", "WEYL = 1783377641436327.0"))
    after, _ = run(SCRIPT, tmp_path, PYTHONPATH=str(tmp_path))  # it holds compiled and plain spikes equal
    assert after != before


KERNELS = """
from loihi_deploy.engines.kept_code import compiled

@compiled
def one(x):
    return x + 1

@compiled
def two(x):
    return x + 2
"""
CALL = "from kernels import one, two; print(one(3), two(3), len(one.stats.cache_hits))"


@pytest.fixture
def kernels(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    return tmp_path


def test_kernels_that_are_kept_nowhere_are_missing(kernels):
    missing = "from kernels import one; from loihi_deploy.engines.kept_code import is_missing; print(is_missing(one))"
    assert run(missing, kernels) == ("True\n", "")
    assert run(f"{CALL}; {missing}", kernels) == ("4 5 0\nFalse\n", "")
    assert run(missing, kernels) == ("False\n", "")
    blocked = kernels / "file"
    blocked.write_text("")
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(blocked))
    shutil.rmtree(kernels / "__pycache__")
    (kernels / "__pycache__").write_text("a file")
    assert run(f"import warnings; warnings.simplefilter('ignore'); {missing}", kernels, **nowhere) == (
        "False\n",
        "",
    )


def test_kernels_are_kept(kernels):
    assert run(CALL, kernels) == ("4 5 0\n", "")
    assert run(CALL, kernels) == ("4 5 1\n", "")


@pytest.mark.parametrize(("ending", "kept"), [("nbi", -20), ("nbc", -20), ("nbc", 0)])
def test_damaged_files_are_made_again(kernels, ending, kept):
    run(CALL, kernels)
    found = list(kernels.rglob(f"*.{ending}"))
    assert len(found) == 2
    for path in found:
        path.write_bytes(path.read_bytes()[:kept])
    printed, told = run(CALL, kernels)
    assert printed == "4 5 0\n"
    assert told.count("cannot be read, and is made again") == 2
    assert "Traceback" not in told
    assert run(CALL, kernels) == ("4 5 1\n", "")


def test_no_folder_that_can_be_written_to(kernels):
    """Nothing beside the source, nothing at home: the program runs, and says so once."""
    blocked = kernels / "__pycache__"
    blocked.write_text("a file")
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(blocked))
    printed, told = run(CALL, kernels, **nowhere)
    assert printed == "4 5 0\n"
    assert told.count("compiled code cannot be kept") == 1
    # the advice
    assert "Set the environment variable NUMBA_CACHE_DIR to a folder" in told
    somewhere = {**nowhere, "NUMBA_CACHE_DIR": str(kernels / "cache")}
    assert run(CALL, kernels, **somewhere) == ("4 5 0\n", "")
    assert run(CALL, kernels, **somewhere) == ("4 5 1\n", "")


def test_a_kept_kernel_is_read_without_all_that_numba_can_compile(kernels):
    call = CALL + "; import sys; print('numba.np.linalg' in sys.modules)"
    assert run(call, kernels) == ("4 5 0\nTrue\n", "")
    assert run(call, kernels) == ("4 5 1\nFalse\n", "")


@inlined
def _clipped(x, limit):
    return np.int32(limit) if x > limit else x


def _add_clipped(x, y, limit):
    total = np.int64(0)
    for k in range(x.size):
        y[k] += _clipped(x[k], limit) << 1
        if limit > 3:
            total += np.int64(y[k]) * 2 - k
    return total


class WholeCompiler(Compiler):
    """What numba does by itself, but for how the code is optimized."""

    def define_pipelines(self):
        self.state.flags.noalias = True
        self.state.library = _Code(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super().define_pipelines()


def test_the_code_is_that_of_all_of_numbas_passes():
    """A kernel is compiled without some of them, and with types of operations that were found before."""
    arrays = types.Array(types.int32, 1, "C")
    signature = (arrays, arrays, types.int32)
    written = []
    for compiler in (WholeCompiler, _KernelCompiler, _KernelCompiler):
        kernel = njit(pipeline_class=compiler, **_OPTIONS)(_add_clipped)
        kernel.compile(signature)
        x, y = np.arange(6, dtype=np.int32), np.ones(6, np.int32)
        assert kernel(x, y, np.int32(4)) == 2 * (1 + 3 + 5 + 7 + 9 + 9) - 15
        assert y.tolist() == [1, 3, 5, 7, 9, 9]
        written.append(re.sub(r"B\d+v\d+", "", kernel.inspect_asm(signature)))  # versions of functions
    assert written[1] == written[0]
    assert written[2] == written[0]
    passes = {name for module in (untyped_passes, typed_passes) for name in vars(module)}
    assert set(_NOTHING_TO_DO) <= passes


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_while_a_kernel_is_compiled(monkeypatch, collects):
    collected = []
    compile_extra = Compiler.compile_extra

    def watched(self, function):
        collected.append(gc.isenabled())
        return compile_extra(self, function)

    monkeypatch.setattr(Compiler, "compile_extra", watched)
    was = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        arrays = types.Array(types.int32, 1, "C")
        njit(pipeline_class=_KernelCompiler, **_OPTIONS)(_add_clipped).compile((arrays, arrays, types.int64))
        assert gc.isenabled() == collects
        with pytest.raises(TypingError):
            njit(pipeline_class=_KernelCompiler, **_OPTIONS)(_add_clipped).compile((arrays, arrays, arrays))
        assert gc.isenabled() == collects
    finally:
        (gc.enable if was else gc.disable)()
    assert set(collected) == {False}

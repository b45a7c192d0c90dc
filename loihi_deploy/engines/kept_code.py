"""Compiled code that is kept on disk, is never stale, and never stops a program.

numba looks at a kernel's own file to tell whether what it kept is still good. But a kernel contains the code of the
functions that it calls, and the constants that these read, wherever they come from; so all of that is part of the name
that it is kept under.
"""

from __future__ import annotations

import gc
import hashlib
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, ClassVar

import llvmlite.binding as llvm
import numpy as np
from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from loihi_deploy.errors import LoihiDeployWarning, Problem

# Without numba's runtime ("_nrt") nothing is allocated and no references are counted: for every array that a function
# takes, counting costs as much as a short run of weights. Working memory is therefore handed in.
_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a kernel, without the interpreter's lock, and keep it on disk."""
    function.__qualname__ += f"_{stamp(function)}"
    kernel = njit(pipeline_class=_KernelCompiler, **_OPTIONS)(function)
    try:
        kernel.enable_caching()
    except RuntimeError as error:  # neither beside the source nor in the user's folder
        _warn_of_no_cache(str(error))
    else:
        kernel._cache = _Cache(kernel._cache)
    return kernel


def is_missing(kernel: Any) -> bool:
    """Whether a kernel that can be kept is not: neither compiled in this process nor on disk."""
    cache = kernel._cache
    return isinstance(cache, _Cache) and not kernel.overloads and not Path(cache.index_path).exists()


_told: list[str] = []
"""Why nothing can be kept, once that has been said."""


class _Code(JITCodeLibrary):  # type: ignore[misc]  # numba has no types
    """What is optimized once, as a whole, and with loops that are not too long for what they run over."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        if not hasattr(llvm, "create_pass_builder"):  # llvmlite before 0.44
            super()._optimize_final_module()
            return
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization, options.loop_interleaving = True, False
        builder = llvm.create_pass_builder(self._codegen._tm, options)
        builder.getModulePassManager().run(self._final_module, builder)


class _NoEnvironment:
    """In the place of the code generator: a part runs in nothing but the kernels that it is inlined into."""

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing of a part's own is there to have one."""


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """Code that is inlined elsewhere: optimized there, and no machine code by itself."""

    codegen = _NoEnvironment()

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _Typing:
    """numba's typing of calls, where the type of an operation, once found, is known.

    numba goes through all that it knows under a name, for every `+`: half of what it takes to find types.

    Parameters
    ----------
    context : numba's typing context
    """

    _known: ClassVar[dict[tuple[Any, ...], Any]] = {}

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function: Any, arguments: Any, by_name: Any) -> Any:
        """The signature of a call; that of a part is made by compiling it, and known to the part."""
        if by_name or isinstance(function, types.Dispatcher):
            return self._context.resolve_function_type(function, arguments, by_name)
        call = function, tuple(arguments)
        if call not in self._known:
            self._known[call] = self._context.resolve_function_type(function, arguments, by_name)
        return self._known[call]


_NOTHING_TO_DO = (
    "WithLifting",
    "InlineClosureLikes",
    "RewriteDynamicRaises",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "FindLiterallyCalls",
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
    "InlineOverloads",
    "NopythonRewrites",
    "AnnotateTypes",
    "DumpParforDiagnostics",
)
"""Passes of numba that change nothing in kernels, which have no closures, contexts, array expressions or raises."""


class _KernelCompiler(Compiler):  # type: ignore[misc]  # numba has no types
    """Compiles kernels, no two arrays of which overlap: what adds one to another need not look whether they do."""

    library = _Code

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        """Compile without looking for garbage meanwhile, which takes longer the more there is in memory."""
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(function)
        finally:
            if collects:
                gc.enable()

    def define_pipelines(self) -> Any:
        """Compile as numba does, into another library, and leaving out what it need not do."""
        self.state.flags.noalias = True
        self.state.typingctx = _Typing(self.state.typingctx)
        self.state.library = self.library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [each for each in pipeline.passes if each[0].__name__ not in _NOTHING_TO_DO]
        return pipelines


class _PartCompiler(_KernelCompiler):
    """Compiles parts of kernels."""

    library = _Part


inlined = njit(
    forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_PartCompiler, **_OPTIONS
)
"""How the parts of a kernel are compiled: for other compiled code, not to be called from Python.

A wrapper for that would hold the part itself once more, and take as long to compile.
"""


def stamp(function: Callable[..., Any]) -> str:
    """A digest of a kernel: its code, the functions that it calls, the constants that they read, how it is compiled."""
    state = hashlib.sha256(repr(sorted(_OPTIONS.items())).encode())
    for each in (function, _Code._optimize_final_module, _KernelCompiler.define_pipelines):
        for name, content in sorted(_contents(each, set())):
            state.update(f"{name}:".encode())
            state.update(content)
    return state.hexdigest()[:16]


def _contents(function: Any, seen: set[int]) -> Iterator[tuple[str, bytes]]:
    """What makes up a function, by names: its code, and what it finds under global names, to any depth."""
    function = _defined(function)
    if id(function) in seen:
        return
    seen.add(id(function))
    place = f"{function.__module__}.{function.__qualname__}"
    for code in _codes(function.__code__):
        constants = [each for each in code.co_consts if not isinstance(each, CodeType)]
        yield place, code.co_code + repr((constants, code.co_names)).encode()
        for name in code.co_names:
            if name not in function.__globals__:
                continue  # a builtin, or an attribute
            value = function.__globals__[name]
            if isinstance(_defined(value), FunctionType):
                yield from _contents(value, seen)
            elif isinstance(value, (int, float, str, np.generic, tuple)):
                yield f"{place} {name}", repr(value).encode()
            elif not isinstance(value, (type, ModuleType, np.ufunc, BuiltinFunctionType)):
                raise TypeError(f"{place} reads {name}, of which nobody knows whether it has changed")


def _defined(value: Any) -> Any:
    """The function behind a kernel or an intrinsic."""
    return getattr(value, "py_func", getattr(value, "_defn", value))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Cache:
    """What numba keeps for a kernel: a file that cannot be read or written costs time, and nothing else.

    Parameters
    ----------
    kept : numba's cache of a function
    """

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    @property
    def index_path(self) -> str:
        """The file that says for what signatures there is code."""
        return str(self._kept._cache_file._index_path)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """What is kept for a signature; None where there is nothing, or nothing that can be read."""
        try:
            with self._kept._guard_against_spurious_io_errors():
                # not `load_overload`, which first reads all that numba can compile
                return self._kept._load_overload(signature, context)
        except Exception as error:  # a damaged pickle raises anything
            problem = Problem(
                "compiled code that was kept cannot be read, and is made again, which takes some seconds",
                str(self._kept.cache_path),
                f"{type(error).__name__}: {error}",
            )
            warnings.warn(LoihiDeployWarning(problem), stacklevel=2)
        self._write(self._kept.flush)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled for a signature."""
        self._write(lambda: self._kept.save_overload(signature, result))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            _warn_of_no_cache(f"{type(error).__name__}: {error}")


def _warn_of_no_cache(reason: str) -> None:
    """Say it once, not for every kernel."""
    if _told:
        return
    _told.append(reason)
    problem = Problem(
        "compiled code cannot be kept, so every process compiles it anew, which takes some seconds",
        "cache of numba",
        reason,
        remedy="Set the environment variable NUMBA_CACHE_DIR to a folder that can be written to",
    )
    warnings.warn(LoihiDeployWarning(problem), stacklevel=2)

"""Arguments are what their annotations say, or the call is refused before it begins: all of them at once."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from loihi_deploy.errors import InputError, Problem

P = ParamSpec("P")
R = TypeVar("R")
SHOWN = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Range:
    """The least and the largest value that an annotated number may have."""

    low: float
    high: float


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function raise `InputError` for arguments of another type than its annotations say.

    An int is no bool, a float may be given as an int, an iterable of str is no str, and numbers of numpy
    count as numbers. ``Annotated[float, Range(0, 1)]`` says what values are allowed; `Any` says nothing.
    """
    signature = inspect.signature(function)

    @cache
    def kinds() -> dict[str, Any]:
        return get_type_hints(function, include_extras=True)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(
            *args, **kwargs
        ).arguments  # a call with the wrong names is a TypeError, as always
        problems = misfits(given, kinds())
        if problems:
            name = function.__name__
            if name == "__init__":  # of a class, which is what was called
                name = function.__qualname__.split(".")[-2]
            raise InputError(f"{name} cannot use its arguments", problems)
        return function(*args, **kwargs)

    return call


def misfits(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> list[Problem]:
    """A problem for each of the values that is not what its annotation says, both by name."""
    return [
        Problem("not what is expected", where, _shown(entry), expected(entry_kind))
        for name, value in values.items()
        if name in kinds and not fits(value, kinds[name])
        for where, entry, entry_kind in _culprits(name, value, kinds[name])
    ]


def _culprits(name: str, value: Any, kind: Any) -> list[tuple[str, Any, Any]]:
    """What does not fit: the entries of a mapping, where one is asked for, or the value itself."""
    alternatives = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for each in alternatives:
        if isinstance(value, Mapping) and _is_mapping(each):
            key_kind, entry_kind = get_args(each)
            entries = [
                (f"{name}[{key!r}]", entry, entry_kind) for key, entry in value.items() if fits(key, key_kind)
            ]
            keys = [(f"a key of {name}", key, key_kind) for key in value if not fits(key, key_kind)]
            return [*keys, *(entry for entry in entries if not fits(*entry[1:]))]
    return [(name, value, kind)]


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Annotated:
        return fits(value, inner[0]) and inner[1].low <= value <= inner[1].high
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str)  # which ones is the function's own affair
    if kind in (None, NoneType):
        return value is None
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if kind is int:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if _is_mapping(kind):
        return isinstance(value, Mapping) and all(
            fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items()
        )
    if origin in (Iterable, Collection, Sequence):
        if isinstance(value, (str, bytes)) or not isinstance(value, origin):
            return False
        if isinstance(value, np.ndarray) and value.ndim == 0:
            return False
        return not isinstance(value, Collection) or all(fits(item, inner[0]) for item in value)
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    return isinstance(value, origin or kind)


def expected(kind: Any) -> str:
    """An annotation in words."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(expected(each) for each in get_args(kind)))
    if get_origin(kind) is Annotated:
        base, allowed = get_args(kind)
        return f"{expected(base)} {allowed.low:g} to {allowed.high:g}"
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if kind in (None, NoneType):
        return "None"
    if get_origin(kind) is os.PathLike:
        return "path"
    name = getattr(get_origin(kind) or kind, "__name__", str(kind))
    return {"int": "whole number", "float": "number", "str": "text"}.get(name, name)


def _shown(value: Any) -> str:
    text = (
        repr(value) if isinstance(value, (bool, int, float, str, bytes, NoneType)) else type(value).__name__
    )
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."

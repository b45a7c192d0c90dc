"""What a value's fields must be: their types as annotated, and shapes that can be kept in memory."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from math import prod
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from loihi_deploy.errors import InputError, Problem

MAX_SIZE = 2**31 - 1
"""Most neurons of a population, and values of an input: they are numbered in 32 bits."""


def check_fields(value: Any, problems: Callable[[], Iterable[Problem]] = tuple) -> None:
    """Check the fields of a dataclass: their types, and if these are right whatever else can be wrong with them.

    Parameters
    ----------
    value : dataclass
    problems : function
        Lists what is wrong where all fields have their types.

    Raises
    ------
    InputError
    """
    given = {name: getattr(value, name) for name in hints(type(value))}  # type: ignore[arg-type]
    found = list(type_problems(type(value), given)) or list(problems())
    if found:
        raise InputError(f"Not a {type(value).__name__} that can be used", found)


@lru_cache
def hints(kind: Any) -> Mapping[str, Any]:
    """The annotated types of a dataclass's fields."""
    names = getattr(kind, "__dataclass_fields__", {})
    return {name: hint for name, hint in get_type_hints(kind).items() if name in names}


def type_problems(kind: type, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Fields whose values are not of the type that is annotated."""
    name = values.get("name", values.get("population"))
    where = f"{kind.__name__} {name!r}" if isinstance(name, str) else kind.__name__
    for field, value in values.items():
        hint = hints(kind)[field]
        if not _fits(hint)(value):
            shown = f"array of {value.dtype}" if isinstance(value, np.ndarray) else _short(value)
            yield Problem("value of the wrong type", f"{where}, {field}", shown, _name(hint))


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(hint: Any) -> str:
    return (
        getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint).replace("typing.", "")
    )


@cache
def _fits(hint: Any) -> Callable[[object], bool]:
    """What tells whether a value is of an annotated type."""
    if hint is Any:
        return lambda value: True
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [_fits(arg) for arg in args]
        return lambda value: any(fits(value) for fits in kinds)
    if origin is Literal:
        return lambda value: any(type(value) is type(arg) and value == arg for arg in args)
    if origin is np.ndarray:
        return lambda value: isinstance(value, np.ndarray) and _has_dtype(value, args[1])
    if origin is tuple:
        return _fits_tuple(args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key_fits, item_fits = map(_fits, args)
        return lambda value: (
            isinstance(value, Mapping)
            and all(key_fits(key) and item_fits(item) for key, item in value.items())
        )
    if hint is int:
        return lambda value: isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if hint is float:
        numbers = (int, float, np.integer, np.floating)
        return lambda value: isinstance(value, numbers) and not isinstance(value, bool)
    return lambda value: isinstance(value, hint)


def _fits_tuple(args: tuple[Any, ...]) -> Callable[[object], bool]:
    if args[-1] is Ellipsis:
        each = _fits(args[0])
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    kinds = [_fits(arg) for arg in args]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(kinds)
        and all(fits(item) for fits, item in zip(kinds, value, strict=True))
    )


def _has_dtype(array: np.ndarray[Any, Any], dtype: Any) -> bool:
    (scalar,) = get_args(dtype) or (Any,)
    return array.dtype.kind in "biuf" if scalar is Any else array.dtype == np.dtype(scalar)


def as_shape(value: Any) -> Any:
    """A shape as a tuple of int, where it is one: else as it is, for the check that follows."""
    if isinstance(value, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in value):
        return tuple(int(n) for n in value)
    return value


def shape_problems(where: str, shape: tuple[int, ...]) -> Iterator[Problem]:
    """A shape that no population or input has."""
    if not shape or min(shape) < 1 or prod(shape) > MAX_SIZE:
        yield Problem("not a shape", where, shape, f"positive numbers, {MAX_SIZE} values in all")

"""Frozen values: read-only arrays, and equality by content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loihi_deploy.errors import InputError


def frozen_array(values: ArrayLike, dtype: Any) -> NDArray[Any]:
    """Return a C-contiguous, read-only array of `dtype`: `values` itself where it already is one, else a copy."""
    try:
        array = np.asarray(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.single("not numbers", "array", f"{type(values).__name__}: {error}") from error
    if array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, dtype=dtype, order="C", copy=True)
        array.flags.writeable = False
    return array


def one_for_each(values: ArrayLike, shape: Any, dtype: Any) -> NDArray[Any]:
    """Return a frozen array of one value for each neuron of a shape, where `values` is a single one; else `values`."""
    array = frozen_array(values, dtype)
    whole = isinstance(shape, tuple) and all(isinstance(n, int) and n > 0 for n in shape)
    if array.ndim > 1 or array.size != 1 or not whole or prod(shape) > 2**31 - 1:
        return array
    return frozen_array(np.broadcast_to(array.reshape(()), (prod(shape),)), dtype)


LONGEST_TEXT = 60
"""Characters of a text that a representation shows."""
MOST_SHOWN = 4
"""Items of a tuple or dictionary that a representation shows."""


def describe(value: object) -> str:
    """Describe a value in a few words: an array by dtype and shape, a dataclass by its name, a tuple by its start."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if is_dataclass(value):
        name = getattr(value, "name", None)
        return f"{type(value).__name__}({name!r})" if isinstance(name, str) else f"{type(value).__name__}(…)"
    if isinstance(value, (tuple, list)):
        names = [getattr(item, "name", item) if is_dataclass(item) else item for item in value[:MOST_SHOWN]]
        more = [f"… {len(value)} in all"] if len(value) > MOST_SHOWN else []
        return f"({', '.join([*map(describe, names), *more])}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        held = {key: value[key] for key in list(value)[:MOST_SHOWN]}
        items = [
            f"{key!r}: {'{…}' if isinstance(item, Mapping) else describe(item)}" for key, item in held.items()
        ]
        more = [f"… {len(value)} in all"] if len(value) > MOST_SHOWN else []
        return f"{{{', '.join([*items, *more])}}}"
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return repr(value[: LONGEST_TEXT - 1] + "…")
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


class OneLine:
    """Base of dataclasses whose representation is one line, however much they hold."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = OneLine.__repr__  # type: ignore[method-assign]  # before the dataclass writes its own

    def __repr__(self) -> str:
        shown = [f"{item.name}={describe(getattr(self, item.name))}" for item in fields(self) if item.repr]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


class Content(OneLine):
    """Base of the frozen dataclasses that flow through the pipeline; they compare by content digest.

    Fields may be strings, numbers, booleans, None, arrays, tuples and dictionaries of those, other `Content`, and other
    dataclasses of these. A field made with ``metadata={"compare": False}`` is carried along without being compared. One
    that came with a later version of the file format says which, ``metadata={"since": 2}``, and has a default: while it
    has that value the digest is what it was without the field, so that a digest in an older file stays true.
    """

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the type's name and every field, arrays with dtype and shape; hexadecimal."""
        state = hashlib.sha256()
        _feed(state, self)
        return state.hexdigest()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __getstate__(self) -> dict[str, Any]:
        # what is cached is derived: it is made again where it is needed
        names = {field.name for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in self.__dict__.items() if name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False  # pickling forgets it
        self.__dict__.update(state)


def _is_default(value: object, field: Field[Any]) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return value is default or (not isinstance(value, np.ndarray) and value == default)


def _feed(state: Any, value: object) -> None:
    """Feed `value` into a hash so that different values give different bytes."""
    if isinstance(value, np.ndarray):
        state.update(f"array {value.dtype.str} {value.shape};".encode())
        state.update(np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value):
        state.update(f"{type(value).__name__}(".encode())
        for field in fields(value):
            item = getattr(value, field.name)
            if field.metadata.get("compare", True) and not (
                "since" in field.metadata and _is_default(item, field)
            ):
                state.update(f"{field.name}=".encode())
                _feed(state, item)
        state.update(b")")
    elif isinstance(value, tuple):
        state.update(f"tuple {len(value)}(".encode())
        for item in value:
            _feed(state, item)
        state.update(b")")
    elif isinstance(value, dict):
        _feed(state, tuple(sorted(value.items())))
    else:
        state.update(f"{type(value).__name__} {value!r};".encode())

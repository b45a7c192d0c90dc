"""Samples for a network: checked once, where they come in, and carried as that from there on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.collecting import collected
from loihi_deploy.ir.graph import Graph, Input

LARGEST = 1e30
"""Largest magnitude of a sample: some powers of ten below float32's, so that sums stay finite."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of every input of a network, made by `samples_for`.

    Parameters
    ----------
    arrays : dict of (n, n_frames, size) arrays
        By input name, float32 or float64, read-only views of what was given where that fits; one frame for static
        samples. Images have their channels last.
    static : bool
        Whether they were given without an axis of frames.
    given : dict of (n, n_frames, size) arrays
        What they were made of, by the name that it was given under: `arrays`, where the host computes nothing before.
    """

    arrays: Mapping[str, NDArray[Any]]
    static: bool
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", _read_only(self.arrays))
        object.__setattr__(self, "given", _read_only(self.given or self.arrays))

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def n_frames(self) -> int:
        """Frames of a sample."""
        return int(next(iter(self.arrays.values())).shape[1])

    @property
    def digest(self) -> str:
        """SHA-256 over names, shapes and values; hexadecimal."""
        state = hashlib.sha256()
        for name, values in sorted(self.arrays.items()):
            state.update(f"{name} {values.dtype.str} {values.shape};".encode())
            state.update(np.ascontiguousarray(values).tobytes())
        return state.hexdigest()

    def take(self, which: slice | NDArray[np.integer[Any]]) -> Samples:
        """Some of the samples."""
        arrays, given = (
            {name: values[which] for name, values in part.items()} for part in (self.arrays, self.given)
        )
        return Samples(arrays, self.static, given)

    def take_frames(self, n_frames: int) -> Samples:
        """The first so many frames of every sample."""
        arrays, given = (
            {name: values[:, :n_frames] for name, values in part.items()}
            for part in (self.arrays, self.given)
        )
        return Samples(arrays, self.static, given)

    def first_frames(self) -> dict[str, NDArray[Any]]:
        """Arrays (n, size) of the first frames: all that static samples have."""
        return {name: values[:, 0] for name, values in self.arrays.items()}

    def all_frames(self) -> dict[str, NDArray[Any]]:
        """Arrays (n * n_frames, size) of the frames of all samples, one after the other."""
        return {name: values.reshape(-1, values.shape[2]) for name, values in self.arrays.items()}


def _read_only(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    views = {name: values.view() for name, values in arrays.items()}
    for values in views.values():
        values.flags.writeable = False
    return views


def samples_for(graph: Graph, x: Any) -> Samples:
    """Check samples against the inputs of a network.

    Parameters
    ----------
    graph : Graph
    x : array, mapping or sequence of arrays, data set, or Samples
        (n, *shape), or (n, n_frames, *shape), or with flat shapes; where there are several inputs a mapping by their
        names, or a list or tuple in their order. A `tf.data.Dataset` or `keras.utils.Sequence` of any of these is read
        to its end, without its labels. `Samples` that fit are returned as they are.

    Raises
    ------
    InputError
        Wrong names, shapes or numbers of samples, no sample at all, what is no real number, NaN or infinite values,
        masked values: all at once.
    """
    if isinstance(x, Samples):
        fits = {name: values.shape[2] for name, values in x.arrays.items()}
        return x if fits == {node.name: node.size for node in graph.inputs} else samples_for(graph, x.given)
    if not graph.inputs:
        raise InputError.single("the network has no input, so it takes no samples", "network")
    origins = {node.name: node for node in graph.origins}
    given = _by_name(origins, collected(x, graph.origins)[0])
    problems: list[Problem] = []
    arrays: dict[str, NDArray[Any]] = {}
    static = True
    for node in origins.values():
        values = _numbers(node.name, given[node.name], problems)
        if values is None:
            continue
        found = _flat(node, values)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            arrays[node.name], without_frames = found
            static = static and without_frames
    if len({values.shape[:2] for values in arrays.values()}) > 1:
        shapes = ", ".join(f"{name}: {values.shape[:2]}" for name, values in arrays.items())
        problems.append(Problem("inputs have different numbers of samples or frames", "x", shapes))
    if problems:
        raise InputError("The samples do not fit the network", problems)
    return Samples({node.name: _seen_by(node, arrays) for node in graph.inputs}, static, arrays)


def arrays_by_input(graph: Graph, x: Any) -> Mapping[str, Any]:
    """What was given for each input, by its name, as it is; see `samples_for`.

    Raises
    ------
    InputError
        If names do not match.
    """
    return _by_name({node.name: node for node in graph.origins}, x)


def _by_name(origins: Mapping[str, Input], x: Any) -> Mapping[str, Any]:
    """The arrays by input name: a mapping as it is, a list or tuple in the order of the inputs."""
    if isinstance(x, Mapping):
        given = x
    elif isinstance(x, (list, tuple)) and _is_one_for_each(list(origins.values()), x):
        given = dict(zip(origins, x, strict=True))
    else:
        given = {next(iter(origins)): x}
    if set(given) != set(origins):
        raise InputError(
            "The samples do not fit the network",
            Problem(
                "inputs do not match",
                "x",
                ", ".join(map(str, given)) if isinstance(x, Mapping) else type(x).__name__,
                ", ".join(origins),
                "Give one array for each input: a dict by these names, or a list in this order",
            ),
        )
    return given


def _is_one_for_each(inputs: list[Input], x: Sequence[Any]) -> bool:
    """Whether a list holds an array for each input, as Keras takes them, and not one sample after the other."""
    if len(x) != len(inputs):
        return False
    if len(inputs) > 1:
        return True
    return hasattr(x[0], "shape") and len(x[0].shape) > len(inputs[0].shape)


def _seen_by(node: Input, given: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What a node sees of the samples: (n, n_frames, size), behind what the host computes."""
    values = given[node.given.name]
    for step in node.before:
        n, n_frames, size = values.shape
        values = step.apply(values.reshape(-1, size)).reshape(n, n_frames, -1)
    return values


def _numbers(name: str, given: Any, problems: list[Problem]) -> NDArray[Any] | None:
    """Give the values as float32 or float64; adds what is wrong to `problems`."""
    masked = int(np.sum(given.mask)) if isinstance(given, np.ma.MaskedArray) else 0
    if masked:
        remedy = "Fill them in, or leave the samples out"
        problems.append(Problem("some samples are masked", name, f"{masked} masked values", remedy=remedy))
        return None
    try:
        values = np.asarray(given)
    except Exception as error:  # whatever an array-like of another package raises
        problems.append(Problem("samples are not an array", name, f"{type(given).__name__}: {error}"))
        return None
    if values.dtype.kind not in "biuf":
        kind = type(given).__name__ if values.dtype.kind == "O" else values.dtype
        problems.append(Problem("samples are not numbers", name, kind, "real numbers"))
        return None
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        problems.append(Problem("samples are not finite", name, f"{bad} NaN or infinite values"))
    elif values.size and max(-values.min(), values.max()) > LARGEST:
        problems.append(
            Problem(
                "samples are too large for sums in float32",
                name,
                f"{values.min():g} to {values.max():g}",
                f"-{LARGEST:g} to {LARGEST:g}",
                "Scale them as the network was trained on",
            )
        )
    return values


def _flat(node: Input, values: NDArray[Any]) -> tuple[NDArray[Any], bool] | Problem:
    """Values as (n, n_frames, size), and whether they were given without an axis of frames."""
    given_shape = (node.shape[-1], *node.shape[:-1]) if node.channels_first else node.shape
    shapes = [given_shape, (node.size,)]
    if node.shape and node.shape[-1] == 1:
        shapes.append(node.shape[:-1])  # images without their single channel
    if values.ndim >= 1 and len(values) == 0:
        return Problem("there is no sample", node.name, values.shape, remedy="Give at least one sample")
    static = values.ndim >= 1 and values.shape[1:] in shapes
    if not static and not (values.ndim >= 2 and values.shape[2:] in shapes and values.shape[1] > 0):
        wanted = f"(n, {', '.join(map(str, given_shape))})"
        return Problem("wrong shape", node.name, values.shape, wanted, "Reshape the samples")
    flat = values.reshape(len(values), 1 if static else values.shape[1], node.size)
    if node.channels_first:
        images = flat.reshape(*flat.shape[:2], *given_shape)
        flat = np.moveaxis(images, 2, -1).reshape(flat.shape)
    return flat, static

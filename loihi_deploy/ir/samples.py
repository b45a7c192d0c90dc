"""Samples for a network: checked once, where they come in, and carried as that from there on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.collecting import collected, masked_problem
from loihi_deploy.ir.graph import Graph, Input
from loihi_deploy.ir.prelude import FrameMemory
from loihi_deploy.ir.sequences import Sequences, as_sequences, padded

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
    lengths : (n,) int64 array or None
        Frames of each sample, where they differ: what stands behind them in the arrays is no part of it.
    numbers : (n,) int64 array or None
        Those of the samples among all, where these were taken by their length; None counts from 0.
    """

    arrays: Mapping[str, NDArray[Any]]
    static: bool
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    lengths: NDArray[np.int64] | None = None
    numbers: NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        arrays = _read_only(self.arrays)
        same = self.given.keys() == arrays.keys() and all(self.given[n] is x for n, x in self.arrays.items())
        object.__setattr__(self, "given", arrays if same or not self.given else _read_only(self.given))
        object.__setattr__(self, "arrays", arrays)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def n_frames(self) -> int:
        """Frames of a sample, of the longest where they differ."""
        return int(next(iter(self.arrays.values())).shape[1])

    @property
    def total_frames(self) -> int:
        """Frames of all samples."""
        return len(self) * self.n_frames if self.lengths is None else int(self.lengths.sum())

    @property
    def digest(self) -> str:
        """SHA-256 over names, shapes and values; hexadecimal."""
        state = hashlib.sha256()
        for name, values in sorted(self.arrays.items()):
            state.update(f"{name} {values.dtype.str} {values.shape};".encode())
            state.update(np.ascontiguousarray(values).tobytes())
        if self.lengths is not None:
            state.update(self.lengths.tobytes())
        return state.hexdigest()

    def take(self, which: slice | NDArray[np.integer[Any]]) -> Samples:
        """Some of the samples."""
        if isinstance(which, slice) and which == slice(0, len(self)):
            return self
        lengths = None if self.lengths is None else self.lengths[which]
        numbers = None if self.numbers is None else self.numbers[which]
        return Samples(*self._each(which), lengths, numbers)

    def of_equal_length(self) -> Iterator[tuple[NDArray[np.intp], Samples]]:
        """The samples by their number of frames, each with its indices, without anything behind them."""
        if self.lengths is None:
            yield np.arange(len(self)), self
            return
        for length in np.unique(self.lengths).tolist():
            which = np.flatnonzero(self.lengths == length)
            yield which, replace(self.take(which).take_frames(length), numbers=which)

    def take_frames(self, n_frames: int) -> Samples:
        """The first so many frames of every sample."""
        return Samples(*self._each((slice(None), slice(n_frames))), numbers=self.numbers)

    def _each(self, which: Any) -> tuple[dict[str, NDArray[Any]], bool, dict[str, NDArray[Any]]]:
        """A part of each array, whether samples stand still, and a part of what the arrays were made of."""
        arrays = {name: values[which] for name, values in self.arrays.items()}
        given = {} if self.given is self.arrays else {name: x[which] for name, x in self.given.items()}
        return arrays, self.static, given

    def first_frames(self) -> dict[str, NDArray[Any]]:
        """Arrays (n, size) of the first frames: all that static samples have."""
        return {name: values[:, 0] for name, values in self.arrays.items()}

    def all_frames(self) -> dict[str, NDArray[Any]]:
        """Arrays (number of frames, size) of the frames of all samples, one after the other."""
        if self.lengths is not None:
            there = np.arange(self.n_frames) < self.lengths[:, None]
            return {name: values[there] for name, values in self.arrays.items()}
        return {name: values.reshape(-1, values.shape[2]) for name, values in self.arrays.items()}


def held(
    frames: Mapping[str, NDArray[Any]], hold: int, flush: int, *, in_a_row: bool = False
) -> tuple[Mapping[str, NDArray[Any]], int]:
    """Frames whose last one is held longer, and how many steps each is shown.

    Parameters
    ----------
    frames : dict of (n, n_frames, size) arrays
    hold : int
        Steps of a frame.
    flush : int
        Steps that the last one is held longer.
    in_a_row : bool
        Whether samples follow each other without a gap, so that each must have whole frames: where `flush` is none,
        there is a frame for each step.

    Returns
    -------
    frames : dict of (n, n_frames, size) arrays
        The last one repeated. Of samples that do not follow each other it may be there for more steps than are run.
    hold : int
    """
    if not flush:
        return frames, hold
    if in_a_row and flush % hold:
        frames, hold = {name: np.repeat(x, hold, axis=1) for name, x in frames.items()}, 1
    more = -(-flush // hold)
    return {
        name: np.concatenate([x, np.repeat(x[:, -1:], more, axis=1)], axis=1) for name, x in frames.items()
    }, hold


def _read_only(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    views = {name: values.view() for name, values in arrays.items()}
    for values in views.values():
        values.flags.writeable = False
    return views


def samples_for(graph: Graph, x: Any, *, one_of_many: bool = False) -> Samples:
    """Check samples against the inputs of a network.

    Parameters
    ----------
    graph : Graph
    x : array, mapping or sequence of arrays, data set, Sequences, or Samples
        (n, *shape), or (n, n_frames, *shape), or with flat shapes; where there are several inputs a mapping by their
        names, or a list or tuple in their order. A `tf.data.Dataset` or `keras.utils.Sequence` of any of these is read
        to its end, without its labels. A list of arrays (n_frames, *shape) of different length is one of sequences, as
        are `Sequences`. `Samples` that fit are returned as they are.
    one_of_many : bool
        Whether they are frames of sequences that go on, so that one alone may be too short for an answer.

    Raises
    ------
    InputError
        Wrong names, shapes or numbers of samples, no sample at all, what is no real number, NaN or infinite values,
        masked values: all at once.
    """
    if isinstance(x, Samples):
        fits = {name: values.shape[2] for name, values in x.arrays.items()}
        if fits == {node.name: node.size for node in graph.inputs}:
            return x
        given_x = x.given if x.lengths is None else Sequences(dict(x.given), x.lengths)
        return samples_for(graph, given_x)
    if not graph.inputs:
        raise InputError.single("the network has no input, so it takes no samples", "network")
    origins = {node.name: node for node in graph.origins}
    x = as_sequences(x)
    sequences = x if isinstance(x, Sequences) else None
    lengths = None if sequences is None else sequences.lengths
    whole_x = collected(x, graph.origins)[0] if sequences is None else sequences.x
    given = _by_name(origins, whole_x, lengths)
    problems: list[Problem] = []
    arrays: dict[str, NDArray[Any]] = {}
    static = True
    for node in origins.values():
        whole = given[node.name]
        if sequences is not None:
            whole = padded(node.name, whole, sequences)
            if isinstance(whole, Problem):
                problems.append(whole)
                continue
        values = _numbers(node.name, whole, problems)
        if values is None:
            continue
        found = _flat(node, values)
        if lengths is not None and not isinstance(found, Problem) and found[1]:
            found = Problem("lengths of samples without frames", node.name, values.shape)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            arrays[node.name], without_frames = found
            static = static and without_frames
    if len({values.shape[:2] for values in arrays.values()}) > 1:
        shapes = ", ".join(f"{name}: {values.shape[:2]}" for name, values in arrays.items())
        problems.append(Problem("inputs have different numbers of samples or frames", "x", shapes))
    if arrays and not one_of_many:
        problems += _length_problems(graph, next(iter(arrays.values())).shape[1], lengths, static)
    if problems:
        raise InputError("The samples do not fit the network", problems)
    seen = {node.name: seen_by(node, arrays) for node in graph.inputs}
    if lengths is None and not static:
        lengths = _masked(origins, arrays)
        if lengths is not None:
            most = int(lengths.max())
            behind = (np.arange(most) >= lengths[:, None])[:, :, None]
            seen, arrays = (
                {name: np.where(behind, 0, x[:, :most]).astype(x.dtype) for name, x in part.items()}
                for part in (seen, arrays)
            )
    if lengths is not None and (lengths == lengths[0]).all():
        lengths = None
    return Samples(seen, static, arrays, lengths)


def _length_problems(
    graph: Graph, n_frames: int, lengths: NDArray[np.int64] | None, static: bool
) -> Iterator[Problem]:
    """Sequences of other lengths than an input takes, or too short for an answer."""
    found = {n_frames} if lengths is None else set(lengths.tolist())
    if min(found) <= graph.first_frame:
        yield Problem(
            "fewer frames than the network looks at",
            "x",
            min(found),
            f"{graph.first_frame + 1} or more",
            "Leave shorter sequences out, or pad them in front as the network was trained",
        )
    for wanted in set() if static else {node.n_frames for node in graph.inputs} - {None}:
        if found != {wanted}:
            text = " and ".join(f"{n} frames" for n in sorted(found - {wanted})[:3])
            yield Problem("other number of frames than the network was trained for", "x", text, wanted)


def arrays_by_input(graph: Graph, x: Any) -> Mapping[str, Any]:
    """What was given for each input, by its name, as it is; see `samples_for`.

    Raises
    ------
    InputError
        If names do not match.
    """
    return _by_name({node.name: node for node in graph.origins}, x)


def _by_name(
    origins: Mapping[str, Input], x: Any, lengths: NDArray[np.int64] | None = None
) -> Mapping[str, Any]:
    """The arrays by input name: a mapping as it is, a list or tuple in the order of the inputs."""
    if isinstance(x, Mapping):
        given = x
    elif lengths is None and isinstance(x, (list, tuple)) and _is_one_for_each(list(origins.values()), x):
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


def seen_by(
    node: Input, given: Mapping[str, NDArray[Any]], memories: list[NDArray[Any]] | None = None
) -> NDArray[Any]:
    """What a node sees of the samples: (n, n_frames, size), behind what the host computes.

    Parameters
    ----------
    node : Input
    given : dict of (n, n_frames, size) arrays
        By the inputs that samples are given for.
    memories : list of arrays, optional
        What the memories of frames hold, changed in place: empty at first.
    """
    values = given[node.given.name]
    starts = iter(memories or ())
    ends = []
    for step in node.before:
        n, n_frames, size = values.shape
        if isinstance(step, FrameMemory):
            values, end = step.over(values, next(starts, None))
            ends.append(end)
        else:
            values = step.apply(values.reshape(-1, size)).reshape(n, n_frames, -1)
    if memories is not None:
        memories[:] = ends
    return values


def _masked(origins: Mapping[str, Input], arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64] | None:
    """Frames of each sample, where an input says what padding looks like and there is some."""
    for name, values in arrays.items():
        value = origins[name].mask_value
        if value is not None:
            there = (values != value).any(axis=2)
            if not there.all():
                return Sequences(values, mask=there).lengths
    return None


def _numbers(name: str, given: Any, problems: list[Problem]) -> NDArray[Any] | None:
    """Give the values as float32 or float64; adds what is wrong to `problems`."""
    try:
        masked = masked_problem(name, given)
        values = np.asarray(given)
    except Exception as error:  # whatever an array-like of another package raises
        remedy = "Give an array, or a list of arrays (n_frames, ...), one for each sequence"
        found = f"{type(given).__name__}: {error}"
        problems.append(Problem("samples are not an array", name, found, remedy=remedy))
        return None
    if masked is not None:
        problems.append(masked)
        return None
    if values.dtype.kind not in "biuf":
        kind = type(given).__name__ if values.dtype.kind == "O" else values.dtype
        problems.append(Problem("samples are not numbers", name, kind, "real numbers"))
        return None
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~np.isfinite(values)).sum())
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        problems.append(
            Problem("samples are not finite", name, f"{bad} NaN or infinite values, the first at {place}")
        )
    elif max(-low, high) > LARGEST:
        problems.append(
            Problem(
                "samples are too large for sums in float32",
                name,
                f"{low:g} to {high:g}",
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
    frames = values.ndim >= 2 and values.shape[2:] in shapes
    if frames and values.shape[1] == 0 and not static:
        remedy = "Give every sequence at least one frame"
        return Problem("there is no frame", node.name, values.shape, remedy=remedy)
    if not static and not frames:
        of_one = ", ".join(map(str, given_shape))
        wanted = f"(n, {of_one}), or sequences (n, n_frames, {of_one})"
        single = values.shape in shapes
        remedy = "Make the one sample a batch: x[None]" if single else "Reshape the samples"
        return Problem("wrong shape", node.name, values.shape, wanted, remedy)
    flat = values.reshape(len(values), 1 if static else values.shape[1], node.size)
    if node.channels_first:
        images = flat.reshape(*flat.shape[:2], *given_shape)
        flat = np.moveaxis(images, 2, -1).reshape(flat.shape)
    return flat, static

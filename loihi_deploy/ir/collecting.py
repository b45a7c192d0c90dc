"""Samples and labels that a framework gives batch by batch, put together as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.ir.graph import Input

INFINITE = -1
"""`tf.data.Dataset.cardinality` of a data set without end."""


def collected(x: Any, inputs: Sequence[Input]) -> tuple[Any, Any]:
    """Samples, and labels where they come with them.

    Parameters
    ----------
    x : tf.data.Dataset, keras.utils.Sequence, keras.utils.PyDataset or anything else
        Of samples, (samples, labels) or (samples, labels, weights), in batches, or of a data set one by one; all of it
        is read, once.
    inputs : sequence of Input
        What samples are given for: a batch has an axis more than they.

    Returns
    -------
    (samples, labels)
        Arrays; what is no such data set as it is, with None.

    Raises
    ------
    InputError
        If there is no end to it, or nothing in it.
    """
    items = _items(x)
    if items is None:
        return x, None
    rows = [item if isinstance(item, tuple) else (item,) for item in items]
    if not rows:
        raise InputError.single(
            "there is no sample", "x", type(x).__name__, remedy="Give at least one sample"
        )
    masked = masked_problem("x", [part for row in rows for given in row for part in _parts(given).values()])
    if masked is not None:
        raise InputError("The samples do not fit the network", masked)
    first = next(iter(_parts(rows[0][0]).values()))
    join = np.concatenate if np.ndim(first) > len(inputs[0].shape) else np.stack
    samples = _joined([row[0] for row in rows], join)
    labelled = len(rows[0]) > 1
    return samples, _joined([row[1] for row in rows], join) if labelled else None


def masked_problem(name: str, values: Any) -> Problem | None:
    """What is wrong with values of which some are masked, in an array or in those of a list: arrays forget it."""
    masked = _n_masked(values)
    remedy = "Fill them in, or leave the samples out"
    return (
        Problem("some samples are masked", name, f"{masked} masked values", remedy=remedy) if masked else None
    )


def _n_masked(values: Any) -> int:
    if isinstance(values, np.ma.MaskedArray):
        return int(np.sum(values.mask))
    return sum(map(_n_masked, values)) if isinstance(values, (list, tuple)) else 0


def _items(x: Any) -> Iterable[Any] | None:
    if hasattr(x, "element_spec") and hasattr(x, "as_numpy_iterator"):
        if int(x.cardinality()) == INFINITE:
            raise InputError.single(
                "a data set without end", "x", type(x).__name__, remedy="Give dataset.take(n_batches)"
            )
        return list(x.as_numpy_iterator())
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(x).__mro__}
    if names & {"keras.PyDataset", "keras.Sequence", "tf_keras.Sequence", "tensorflow.Sequence"}:
        return [x[number] for number in range(len(x))]
    return None


def _parts(value: Any) -> Mapping[Any, Any]:
    """A batch of several inputs, or outputs, by name or by number; of one under None."""
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, (tuple, list)) else {None: value}


def _joined(batches: list[Any], join: Any) -> Any:
    by_part = [_parts(batch) for batch in batches]
    joined = {part: join([np.asarray(batch[part]) for batch in by_part]) for part in by_part[0]}
    if isinstance(batches[0], Mapping):
        return joined
    return tuple(joined.values()) if isinstance(batches[0], (tuple, list)) else joined[None]

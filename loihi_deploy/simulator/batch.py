"""Samples side by side: data for their nodes, and what was probed of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import nengo
import numpy as np
from nengo.simulator import SimulationData
from numpy.typing import NDArray

from loihi_deploy.errors import InputError, Problem
from loihi_deploy.simulator.converted import LayerProbe

Data = Mapping[nengo.Node, NDArray[Any]]


def rows_by_sample(
    data: Data,
    n_samples: int | None,
    steps: int,
    nodes: Collection[Any],
    orders: Mapping[nengo.Node, NDArray[np.intp]],
) -> list[dict[nengo.Node, NDArray[Any]]]:
    """Check data for nodes and split them by sample.

    Parameters
    ----------
    data : dict of (n_samples, steps, size) arrays
        What nodes put out.
    n_samples : int or None
        Samples side by side; None where that was not asked for, so that there may be no data.
    steps : int
    nodes : collection
        Whose signals the host has.
    orders : dict of int arrays
        Where each value of a node stands in the network.

    Raises
    ------
    InputError
        If the data do not fit.
    """
    n = n_samples or 1
    problems = []
    if data and n_samples is None:
        remedy = "Make Simulator(..., minibatch_size=n)"
        problems.append(Problem("data need a minibatch_size", "data", remedy=remedy))
    for node, values in data.items():
        if not (isinstance(node, nengo.Node) and node in nodes and node.size_in == 0):
            problems.append(Problem("not an input node of the network", "data", str(node)))
        elif np.shape(values) != (n, steps, node.size_out):
            problems.append(
                Problem("data do not fit", f"data of {node}", np.shape(values), (n, steps, node.size_out))
            )
    if problems:
        raise InputError("Cannot run with these data", problems)
    stored = {node: _stored(np.asarray(values), orders.get(node)) for node, values in data.items()}
    return [{node: values[k] for node, values in stored.items()} for k in range(n)]


def _stored(values: NDArray[Any], order: NDArray[np.intp] | None) -> NDArray[Any]:
    """Values (..., size) in the order that a network stores them in; `order` tells where each stands there."""
    if order is None:
        return values
    result = np.empty_like(values)
    result[..., order] = values
    return result


class Batch(Mapping[Any, Any]):
    """Data of several samples: probed data with the samples as first axis, parameters as Nengo gives them.

    Parameters
    ----------
    samples : list of SimulationData
        Of each sample.
    stands_for : dict
        Keys of the data by other keys that stand for them.
    layer_probes : dict of LayerProbe
        How to read what is probed of a Converter's layers.
    squeeze : bool
        There is one sample, and no axis for it.
    """

    def __init__(
        self,
        samples: list[SimulationData],
        stands_for: Mapping[Any, Any],
        layer_probes: Mapping[Any, LayerProbe],
        *,
        squeeze: bool,
    ) -> None:
        self._samples = samples
        self._stands_for = stands_for
        self._layer_probes = layer_probes
        self._squeeze = squeeze

    def __getitem__(self, key: Any) -> Any:
        own = self._stands_for.get(key, key)
        if isinstance(own, nengo.Probe) and not self._squeeze:
            values = np.stack([data[own] for data in self._samples])
        else:
            values = self._samples[0][own]
        return self._layer_probes[key].read(values) if key in self._layer_probes else values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._samples[0])

    def __len__(self) -> int:
        return len(self._samples[0])

    def reset(self) -> None:
        """Forget what was read."""
        for data in self._samples:
            data.reset()

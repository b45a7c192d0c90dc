"""Channels of one layer that use the weights' eight bits equally well."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.encoders import encoder_populations
from loihi_deploy.ir import Conv2D, Graph, Population, Projection, Transform
from loihi_deploy.ir.linear import compose, image_shape, scale_channels


@checked
def equalize(graph: Graph, encoder: str = "auto") -> Graph:
    """Scale each channel of rectified linear populations so that its largest weights in and out become equal.

    Channel c is multiplied by sqrt(r_out[c] / r_in[c]), its outgoing weights are divided by it, where r are the largest
    magnitudes of weights into and out of it (cross-layer equalisation: Nagel et al. 2019, arXiv 1906.04721, equation
    11). The rate network computes the same; firing rates of channels change.

    Parameters
    ----------
    graph : Graph
    encoder : str
        As for `partition`: populations on the host are left alone, their weights are not quantized.

    Returns
    -------
    Graph
    """
    host = encoder_populations(graph, encoder)
    for population in graph.populations:
        recurrent = any(p.pre == population.name for p in graph.into(population.name))
        if (
            population.name not in host
            and population.neuron.kind == "if"
            and not (recurrent or population.neuron.step)
        ):
            graph = _equalized(graph, population)
    return graph


def _equalized(graph: Graph, population: Population) -> Graph:
    channels = image_shape(population.shape)[2]
    largest_in, largest_out = np.zeros(channels), np.zeros(channels)
    for projection in graph.into(population.name):
        largest_in = np.maximum(largest_in, _largest_of_channels(projection.transform, channels, "out"))
    for projection in graph.out_of(population.name):
        largest_out = np.maximum(largest_out, _largest_of_channels(projection.transform, channels, "in"))
    used = (largest_in > 0) & (largest_out > 0)
    factors = np.ones(channels)
    factors[used] = np.sqrt(largest_out[used] / largest_in[used])
    factors /= np.exp(np.log(factors).mean())  # rates of the layer as a whole stay what they are
    each: NDArray[np.float64] = np.tile(factors, population.size // channels)

    def scaled(projection: Projection) -> Projection:
        transform = projection.transform
        if projection.post == population.name:
            transform = transform.scaled_rows(each)
        if projection.pre == population.name:
            transform = compose(transform, scale_channels(1 / factors, population.shape))
        return replace(projection, transform=transform)

    return replace(
        graph,
        populations=tuple(
            replace(p, bias=p.bias * each) if p.name == population.name else p for p in graph.populations
        ),
        projections=tuple(scaled(p) for p in graph.projections),
    )


def _largest_of_channels(
    transform: Transform, channels: int, end: Literal["in", "out"]
) -> NDArray[np.float64]:
    """The largest magnitude of weights that touch each channel at one end of a transform."""
    if isinstance(transform, Conv2D) and transform.groups == 1:
        return np.asarray(np.abs(transform.kernel).max(axis=(0, 1, 2) if end == "out" else (0, 1, 3)))
    matrix = transform.csr()
    largest = np.zeros(channels)
    np.maximum.at(largest, (matrix.rows if end == "out" else matrix.indices) % channels, np.abs(matrix.data))
    return largest

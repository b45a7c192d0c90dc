"""The networks that speed, memory and mapping are measured on, with seeded random weights and realistic activity.

Topologies: nengo-loihi's CIFAR-10 and MNIST examples (``cifar10-convnet``, ``mnist-convnet``), the network of the NxTF
tutorial (``nxtf-mnist``), 1,000 leaky neurons with all-to-all recurrent synapses (``recurrent-lif``), and MobileNet v1
(Howard et al. 2017, arXiv 1704.04861) at full width on images of 128 x 128 pixels (``mobilenet-128``). Biases are small
and weights normal (He et al. 2015); firing rates are then scaled so that the mean of each layer on the inputs of
`inputs` is a given rate: 9.5 Hz on chip gives the 450 spikes per step of nengo-loihi's trained CIFAR-10 example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Transform,
)

SYNAPSE = 0.005
ENCODER_RATE = 30.0
RATE = 18.0
CALIBRATION_SAMPLES = 8
LOIHI_RELU = NeuronModel("if", discretized=True)
LOIHI_LIF = NeuronModel("lif", tau_rc=0.02, tau_ref=0.002, discretized=True)

IMAGES = {
    "cifar10-convnet": (32, 32, 3),
    "mnist-convnet": (28, 28, 1),
    "nxtf-mnist": (28, 28, 1),
    "mobilenet-128": (128, 128, 3),
}
N_RECURRENT = 1000
N_RECURRENT_INPUTS = 16


def cifar10_convnet() -> Graph:
    """nengo-loihi's CIFAR-10 example: 51,510 neurons, 522,996 weights."""
    convolutions = [(1, 1, 4), (3, 2, 64), (3, 1, 72), (3, 2, 256), (1, 1, 256), (1, 1, 64)]
    return _convnet("cifar10-convnet", convolutions, n_dense=100)


def mnist_convnet() -> Graph:
    """nengo-loihi's keras-to-loihi example."""
    return _convnet("mnist-convnet", [(1, 1, 3), (3, 2, 32), (3, 2, 64)], n_dense=100)


def nxtf_mnist() -> Graph:
    """Network of the NxTF tutorial, 33,802 parameters; its last convolution gives the ten classes."""
    return _convnet("nxtf-mnist", [(5, 2, 16), (3, 1, 32), (3, 2, 64), (4, 1, 10)])


def recurrent_lif() -> Graph:
    """1,000 leaky neurons at about 40 Hz, each driven by all."""
    rng = np.random.default_rng(0)
    current = LOIHI_LIF.input_for_rate(48.0)  # some of it is lost to inhibition and to the start from rest
    recurrent = rng.normal(0, 0.3 / (40 * np.sqrt(N_RECURRENT)), (N_RECURRENT, N_RECURRENT))
    feedforward = rng.normal(0, 0.1 / np.sqrt(N_RECURRENT_INPUTS), (N_RECURRENT, N_RECURRENT_INPUTS))
    decoder = rng.normal(0, 1 / N_RECURRENT, (10, N_RECURRENT))
    bias = rng.uniform(current - 0.2, current + 0.2, N_RECURRENT)
    return Graph(
        (Input("input", (N_RECURRENT_INPUTS,)),),
        (Population("neurons", (N_RECURRENT,), LOIHI_LIF, np.ones(()), bias),),
        (
            Projection("input", "neurons", Dense(feedforward), SYNAPSE),
            Projection("neurons", "neurons", Dense(recurrent), SYNAPSE),
            Projection("neurons", "output", Dense(decoder), SYNAPSE),
        ),
        (Readout("output", (10,), np.zeros(10)),),
    )


def mobilenet_128() -> Graph:
    """MobileNet v1, 28 layers: 1.6 million neurons on chip, 4.2 million weights."""
    name = "mobilenet-128"
    separable = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]
    rng = np.random.default_rng(0)
    shape, pre = IMAGES[name], "input"
    populations, projections = [], []
    layers = [("conv0", 3, 2, 32)]
    for i, (channels, stride) in enumerate(separable, start=1):
        layers += [(f"depthwise{i}", 3, stride, 0), (f"pointwise{i}", 1, 1, channels)]
    for layer, size, stride, channels in layers:
        groups = 1 if channels else shape[2]
        out = (-(-shape[0] // stride), -(-shape[1] // stride), channels or shape[2])
        padding = (max((out[0] - 1) * stride + size - shape[0], 0) // 2,) * 2
        fan_in = size * size * shape[2] // groups
        kernel = rng.normal(0, np.sqrt(2 / fan_in), (size, size, shape[2] // groups, out[2]))
        transform = Conv2D(kernel, (stride, stride), padding, shape, out, groups)
        bias = np.tile(rng.normal(0, 0.05, out[2]), out[0] * out[1])
        populations.append(Population(layer, out, LOIHI_RELU, np.ones(()), bias))
        projections.append(Projection(pre, layer, transform, SYNAPSE if populations[1:] else 0.0))
        shape, pre = out, layer
    # the mean over all positions, then 1,000 classes
    classes = rng.normal(0, np.sqrt(1 / shape[2]), (1000, shape[2])) / (shape[0] * shape[1])
    projections.append(Projection(pre, "output", Dense(np.tile(classes, shape[0] * shape[1])), SYNAPSE))
    graph = Graph(
        (Input("input", IMAGES[name]),),
        tuple(populations),
        tuple(projections),
        (Readout("output", (1000,), np.zeros(1000)),),
    )
    return _at_rates(graph, inputs(name, 2, seed=1))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "cifar10-convnet": cifar10_convnet,
    "mnist-convnet": mnist_convnet,
    "nxtf-mnist": nxtf_mnist,
    "recurrent-lif": recurrent_lif,
    "mobilenet-128": mobilenet_128,
}
"""By name, functions that make the networks."""


def inputs(name: str, n: int, seed: int = 0) -> NDArray[np.float64]:
    """Samples for a network, of values 0..1: patches for CIFAR-10, bright shapes on black for MNIST, else noise.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    n : int
    seed : int

    Returns
    -------
    (n, *shape) float64 array
    """
    rng = np.random.default_rng(seed)
    if name not in IMAGES:
        return rng.random((n, N_RECURRENT_INPUTS))
    shape = IMAGES[name]
    coarse = rng.random((n, shape[0] // 4, shape[1] // 4, shape[2]))
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    if shape[2] == 1:
        images = np.where(images > 0.8, images, 0.0)
        images[:, :4] = images[:, -4:] = images[:, :, :4] = images[:, :, -4:] = 0
    return images


def _convnet(name: str, convolutions: list[tuple[int, int, int]], n_dense: int = 0) -> Graph:
    """Convolutions (kernel size, stride, channels) without padding, a dense layer if wanted, ten outputs."""
    rng = np.random.default_rng(0)
    shape = IMAGES[name]
    populations, projections, pre = [], [], "input"
    for i, (size, stride, channels) in enumerate(convolutions):
        out = ((shape[0] - size) // stride + 1, (shape[1] - size) // stride + 1, channels)
        kernel = rng.normal(0, np.sqrt(2 / (size * size * shape[2])), (size, size, shape[2], channels))
        transform: Transform = Conv2D(kernel, (stride, stride), (0, 0), shape, out)
        bias = np.tile(rng.normal(0, 0.05, channels), out[0] * out[1])
        populations.append(Population(f"conv{i}", out, LOIHI_RELU, np.ones(()), bias))
        projections.append(Projection(pre, f"conv{i}", transform, SYNAPSE if i else 0.0))
        shape, pre = out, f"conv{i}"
    if n_dense:
        transform = Dense(rng.normal(0, np.sqrt(2 / prod(shape)), (n_dense, prod(shape))))
        populations.append(
            Population("dense", (n_dense,), LOIHI_RELU, np.ones(()), rng.normal(0, 0.05, n_dense))
        )
        projections.append(Projection(pre, "dense", transform, SYNAPSE))
        pre, shape = "dense", (1, 1, n_dense)
    decoder = np.eye(10) if prod(shape) == 10 else rng.normal(0, np.sqrt(1 / prod(shape)), (10, prod(shape)))
    projections.append(Projection(pre, "output", Dense(decoder), SYNAPSE))
    graph = Graph(
        (Input("input", IMAGES[name]),),
        tuple(populations),
        tuple(projections),
        (Readout("output", (10,), np.zeros(10)),),
    )
    return _at_rates(graph, inputs(name, CALIBRATION_SAMPLES, seed=1))


def _at_rates(graph: Graph, samples: NDArray[np.float64]) -> Graph:
    """The same function, at the mean firing rates that are wanted of encoder and chip."""
    rates = rate_activity(graph, {graph.inputs[0].name: samples.reshape(len(samples), -1)})
    populations = []
    for population in graph.populations:
        encodes = graph.into(population.name)[0].pre == graph.inputs[0].name
        wanted = ENCODER_RATE if encodes else RATE
        # three digits: the last bit of a sum depends on the machine, the network shall not
        factor = float(f"{wanted / rates[population.name].mean():.3g}")
        populations.append(population.rescaled(factor))
    return replace(graph, populations=tuple(populations))

"""Write a deployment as lava-dl's network exchange (netx, HDF5), for Lava and Loihi 2.

A file is a chain of layers: an input of spikes, then dense, recurrent dense or convolutional layers of current-based
leaky neurons (read by lava-dl 0.6.0 in ``lava.lib.dl.netx.hdf5``). Integers stand there as Lava has them: weights in
units of 2^6, ``vThMant`` in units of 2^6, ``iDecay = decay_u + 1``, ``vDecay``, ``refDelay``, biases in units of 2^6.

What Lava's neuron has not, or the format has no word for, stands under names that Lava does not read and
`loihi_deploy.frontends.netx` does: ``biasExact``, ``vMin``, ``vMax``, ``vInit``. A warning says what Lava then does
otherwise.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.checked import checked
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import InputError, Problem
from loihi_deploy.export.exchange import matrix_problems, warn_of_losses
from loihi_deploy.export.padding import even
from loihi_deploy.files import check_writable, write_file
from loihi_deploy.frontends.channels_first import order_of
from loihi_deploy.frontends.hdf5 import import_h5py
from loihi_deploy.ir import Conv2D, Shape
from loihi_deploy.ir.program import Compartments, Program, Synapses

UNIT_SHIFT = 6
"""Weights, thresholds and biases of a file are in units of 2^6."""
Layer = dict[str, Any]


@checked
def to_netx(deployment: Deployment, path: str | os.PathLike[str]) -> Path:
    """Write the chip's part of a deployment as a netx file.

    Parameters
    ----------
    deployment : Deployment
        A chain of layers, each driven by the one before and, where it is dense, by itself.
    path : path
        The file to write, ``net.net``.

    Returns
    -------
    Path
        The file. ``loihi_deploy.deploy(path)`` gives the same integers, in populations called ``layer 1`` and so on; it
        takes the spikes of the host, channels first, and gives those of the last layer.

    Raises
    ------
    InputError
        If the network is no chain of layers, or has what no neuron of Lava has: noise, biases of input values.
    OutputError
        If the file cannot be written.
    MissingExtraError
        If h5py is not installed.

    Warns
    -----
    LoihiDeployWarning
        Of everything that Lava, and Loihi 2, will do otherwise.
    """
    h5py = import_h5py("Writing HDF5 files of lava-dl", "netx")
    program = deployment.program
    problems = list(_problems(program))
    if problems:
        raise InputError("The network cannot be written as a netx file", problems)
    check_writable(path)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for number, layer in enumerate(_layers(program)):
            _write(file.create_group(f"layer/{number}"), layer)
    write_file(path, stream.getvalue())
    warn_of_losses("Lava, and Loihi 2,", _losses(program))
    return Path(path)


def _write(group: Any, values: Layer) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        else:
            group[key] = value


def _forward(program: Program, name: str) -> list[Synapses]:
    return [synapses for synapses in program.into(name) if synapses.pre != name]


def _order(program: Program) -> list[Compartments]:
    """The populations from the source on, as far as they are a chain."""
    chain: list[Compartments] = []
    last = program.sources[0].name
    while following := [s.post for s in program.out_of(last) if s.post != last]:
        node = program.nodes[following[0]]
        if not isinstance(node, Compartments) or node in chain:
            break
        chain.append(node)
        last = node.name
    return chain


def _problems(program: Program) -> Iterator[Problem]:
    """What a file cannot say."""
    if len(program.sources) != 1:
        remedy = "Use an encoder on the host, which sends spikes: DeployOptions(encoder='on_off')"
        yield Problem(
            "a chain begins with one source of spikes", "sources", len(program.sources), "1", remedy
        )
        return
    yield from program.delay_problems("the file that we write", readout=True)
    names = {p.name for p in _order(program)}
    for p in program.populations:
        forward, loops = _forward(program, p.name), [s for s in program.into(p.name) if s.pre == p.name]
        if p.noise is not None:
            yield Problem("noise, which the format has not", p.name)
        if p.name not in names or len(forward) != 1 or len(loops) > 1:
            senders = ", ".join(s.pre for s in program.into(p.name)) or "nothing"
            what = "driven by other than the layer before, and itself, in a chain"
            yield Problem(what, p.name, senders, remedy="Deploy a sequential network, or write it as NIR")
            continue
        (synapses,) = forward
        if loops and _is_convolution(program, synapses):
            yield Problem("a convolution that drives itself, too, which the format has not", p.name)
        for each in (*forward, *loops):
            if each in loops or not _is_convolution(program, each):
                yield from matrix_problems(each.name, each.transform)


def _is_convolution(program: Program, synapses: Synapses) -> bool:
    """Whether it leads from an image to an image in the file, all along from the source."""
    t = synapses.transform
    if not isinstance(t, Conv2D) or even(t) is None:
        return False
    pre, post = program.nodes[synapses.pre], program.nodes[synapses.post]
    if (t.in_shape, t.out_shape) != (pre.shape, post.shape):
        return False
    return not isinstance(pre, Compartments) or all(
        _is_convolution(program, s) for s in _forward(program, pre.name)
    )


def _losses(program: Program) -> tuple[tuple[str, list[str]], ...]:
    """What Lava does otherwise, each kind once, with the populations concerned."""
    highest = program.arithmetic.largest_v_max
    rounded = {p.name: _rounding(p) for p in program.populations if _rounding(p)}
    return (
        (
            "its biases are multiples of 64, so they are rounded, by up to "
            f"{max(rounded.values(), default=0):.2g} of the threshold in a step",
            [*rounded],
        ),
        ("its voltages have no lower bound", [p.name for p in program.populations if p.v_min != -highest]),
        ("its voltages have no upper bound", [p.name for p in program.populations if p.v_max != highest]),
        ("its neurons have no refractory period", [p.name for p in program.populations if p.refractory > 1]),
        ("its voltages start at 0", [p.name for p in program.populations if p.initial_voltage is not None]),
        (
            "weights and recurrent weights of a layer share an exponent, of which they need two",
            [p.name for p in program.populations if len({s.shift for s in program.into(p.name)}) > 1],
        ),
        (
            "outputs are the spikes of the last layer: a file has no readout of the host",
            [r.name for r in program.readout.readouts],
        ),
    )


def _rounding(p: Compartments) -> float:
    """The largest change of a bias, relative to the threshold."""
    bias = p.bias.astype(np.int64)
    return float(np.abs((_rounded(bias) << UNIT_SHIFT) - bias).max(initial=0) / max(p.threshold, 1))


def _rounded(bias: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((bias + (1 << (UNIT_SHIFT - 1))) >> UNIT_SHIFT)


def _layers(program: Program) -> list[Layer]:
    chain = _order(program)
    source = program.sources[0]
    image = _is_convolution(program, *_forward(program, chain[0].name))
    layers: list[Layer] = [{"type": "input", "shape": _shape(source.shape, image)}]
    before: Shape | None = source.shape if image else None
    for p in chain:
        (synapses,) = _forward(program, p.name)
        layer: Layer = {"shape": _shape(p.shape, _is_convolution(program, synapses))}
        weights = _weights(synapses)
        if _is_convolution(program, synapses):
            t = synapses.transform
            assert isinstance(t, Conv2D)
            filled = even(t)
            assert filled is not None
            kernel, padding = filled
            layer |= {
                "type": "conv",
                "weight": (kernel.astype(np.int32) << (synapses.shift - UNIT_SHIFT)).transpose(3, 2, 0, 1),
                "stride": np.array(t.strides),
                "padding": np.array(padding),
                "dilation": np.array([1, 1]),
                "groups": t.groups,
            }
        else:
            if before is not None:
                layers.append({"type": "flatten"})
                weights = weights[:, order_of(before)]
            layer |= {"type": "dense", "weight": weights}
            loops = [s for s in program.into(p.name) if s.pre == p.name]
            if loops:
                layer |= {"type": "dense_rec", "weight_rec": _weights(loops[0])}
        image = layer["type"] == "conv"
        order = order_of(p.shape) if image else np.arange(p.size)
        layers.append({**layer, **_biases(p, order), "neuron": _neuron(program, p, order)})
        before = p.shape if image else None
    return layers


def _shape(shape: Shape, image: bool) -> NDArray[np.int64]:
    """(channels, height, width)."""
    return np.array([shape[2], shape[0], shape[1]] if image else [int(np.prod(shape)), 1, 1])


def _weights(synapses: Synapses) -> NDArray[np.int32]:
    """The matrix in units of 2^6."""
    return synapses.transform.csr().toarray().astype(np.int32) << (synapses.shift - UNIT_SHIFT)


def _biases(p: Compartments, order: NDArray[np.intp]) -> Layer:
    exact = np.broadcast_to(p.bias, p.size).astype(np.int64)[order]
    if not exact.any():
        return {}
    return {"bias": _rounded(exact)} | ({"biasExact": exact} if _rounding(p) else {})


def _neuron(program: Program, p: Compartments, order: NDArray[np.intp]) -> Layer:
    chip = program.arithmetic
    neuron: Layer = {
        "type": "CUBA",
        "iDecay": p.decay_u + chip.current_decay_offset,
        "vDecay": p.decay_v + chip.voltage_decay_offset,
        "vThMant": p.threshold >> UNIT_SHIFT,
        "refDelay": p.refractory,
        "gradedSpike": False,
    }
    if p.v_min != -chip.largest_v_max:
        neuron["vMin"] = p.v_min
    if p.v_max != chip.largest_v_max:
        neuron["vMax"] = p.v_max
    if p.initial_voltage is not None:
        neuron["vInit"] = p.initial_voltage.astype(np.int64)[order]
    return neuron

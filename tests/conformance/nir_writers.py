"""Networks that snnTorch and Norse write as NIR, and what they spike there: ``python nir_writers.py folder``.

A program of its own, in an environment of its own: nothing of this package is imported. Of every network it leaves the
graph, ``name.nir``, and ``name.npz``: the spikes that go in, (steps, ...), those of every layer of neurons, in order,
and what a step is, in seconds.
"""

import sys
from pathlib import Path

import nir
import norse.torch as norse
import numpy as np
import snntorch as snn
import torch
from norse.torch.utils.export_nir import to_nir
from snntorch.export_nir import export_to_nir

STEPS = 200
SNNTORCH_DT, NORSE_DT = 1e-4, 1e-3


def linear(n_in, n_out, gain):
    """Random weights, on the whole positive, so that there are spikes to compare."""
    made = torch.nn.Linear(n_in, n_out, bias=False)
    torch.nn.init.normal_(made.weight, gain / n_in, 2 * gain / n_in)
    return made


def leaky(shape, beta, alpha=None):
    """Leaky neurons, with a current that decays by alpha; each has numbers of its own, as a graph needs.

    They reset to 0 at once: for snnTorch's default, a step later or by subtraction, NIR has no word.
    """
    numbers = {
        "beta": torch.full(shape, beta),
        "threshold": torch.ones(shape),
        "init_hidden": True,
        "reset_mechanism": "zero",
        "reset_delay": False,
    }
    return snn.Leaky(**numbers) if alpha is None else snn.Synaptic(torch.full(shape, alpha), **numbers)


def convolution():
    """Kernels that are on the whole positive."""
    made = torch.nn.Conv2d(2, 4, 3, padding=1, stride=(2, 1))
    torch.nn.init.normal_(made.weight, 0.15, 0.2)
    torch.nn.init.normal_(made.bias, 0.05, 0.02)
    return made


def of_snntorch(name, module, shape):
    """Write a chain whose neurons keep their own state."""
    x = torch.as_tensor(np.random.default_rng(1).random((STEPS, 1, *shape)) < 0.2, dtype=torch.float32)
    neurons = [each for each in module if isinstance(each, snn.SpikingNeuron)]
    made = []
    for each in neurons:
        each.reset_hidden()
    with torch.no_grad():
        for now in x:
            spikes = []
            for part in module:
                now = part(now)
                if part in neurons:
                    spikes.append(now.numpy().reshape(-1) > 0)
            made.append(spikes)
    for each in neurons:
        each.reset_hidden()
    nir.write(folder / f"{name}.nir", export_to_nir(module, x[0], ignore_dims=[0]))
    keep(name, x, made, SNNTORCH_DT)


def of_norse(name, modules, shape):
    """Write a chain whose states are handed on."""
    x = torch.as_tensor(np.random.default_rng(1).random((STEPS, 1, *shape)) < 0.2, dtype=torch.float32)
    states, made = [None] * len(modules), []
    with torch.no_grad():
        for now in x:
            spikes = []
            for k, part in enumerate(modules):
                if isinstance(part, torch.nn.Linear):
                    now = part(now)
                else:
                    now, states[k] = part(now, states[k])
                    spikes.append(now.numpy().reshape(-1) > 0)
            made.append(spikes)
    nir.write(folder / f"{name}.nir", to_nir(norse.SequentialState(*modules), x[0, 0], dt=1.0))
    keep(name, x, made, NORSE_DT)


def keep(name, x, made, dt):
    """Spikes of every layer in arrays of their own."""
    layers = {f"layer{k}": np.array([spikes[k] for spikes in made]) for k in range(len(made[0]))}
    np.savez(folder / f"{name}.npz", x=x.numpy()[:, 0], dt=dt, **layers)


def box(n, tau_inv):
    """Leaky neurons without a filter, each with numbers of its own."""
    parameters = norse.LIFBoxParameters(
        tau_mem_inv=torch.full((n,), tau_inv),
        v_leak=torch.zeros(n),
        v_th=torch.ones(n),
        v_reset=torch.zeros(n),
    )
    return norse.LIFBoxCell(p=parameters, dt=NORSE_DT)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    parts = (linear(20, 30, 3.0), leaky((30,), 0.9), linear(30, 12, 3.0), leaky((12,), 0.8))
    of_snntorch("snntorch leaky", torch.nn.Sequential(*parts), (20,))
    parts = (linear(20, 30, 1.0), leaky((30,), 0.9, 0.7), linear(30, 12, 1.5), leaky((12,), 0.8, 0.5))
    of_snntorch("snntorch synaptic", torch.nn.Sequential(*parts), (20,))
    images = (convolution(), leaky((4, 4, 7), 0.8), torch.nn.AvgPool2d(2), torch.nn.Flatten())
    parts = (*images, linear(4 * 2 * 3, 10, 5.0), leaky((10,), 0.7))
    of_snntorch("snntorch images", torch.nn.Sequential(*parts), (2, 8, 7))
    of_norse("norse", (linear(20, 30, 30.0), box(30, 100.0), linear(30, 12, 40.0), box(12, 200.0)), (20,))

"""One Nengo network, four backends: nengo, nengo_dl, nengo_loihi, loihi_deploy; times and differences.

    python examples/backend_choice.py [--neurons 200] [--seconds 1]

The two backends for Loihi compute in the chip's integers and agree in every bit; the two others compute in floats.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import nengo
import numpy as np
from rich.console import Console
from rich.table import Table

import loihi_deploy as ld
from loihi_deploy.frontends.compat import import_nengo_dl

nengo_dl = import_nengo_dl()  # on the Keras that it knows
import nengo_loihi  # noqa: E402


def build(n_neurons: int) -> tuple[nengo.Network, nengo.Probe]:
    """A communication channel: a sine is represented by one ensemble and passed to another."""
    with nengo.Network(label="channel", seed=0) as network:
        stimulus = nengo.Node(lambda t: np.sin(2 * np.pi * t))
        a, b = nengo.Ensemble(n_neurons, 1), nengo.Ensemble(n_neurons, 1)
        nengo.Connection(stimulus, a)
        nengo.Connection(a, b)
        output = nengo.Probe(b, synapse=0.03)
    return network, output


BACKENDS: dict[str, Callable[[nengo.Network], Any]] = {
    "nengo": lambda network: nengo.Simulator(network, progress_bar=False),
    "nengo_dl": lambda network: nengo_dl.Simulator(network, progress_bar=False),
    "nengo_loihi": lambda network: nengo_loihi.Simulator(network, target="sim"),
    "loihi_deploy": lambda network: ld.Simulator(network, progress_bar=False),
}


def main() -> None:
    """Run the network on each, and compare with Nengo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()

    nengo_loihi.set_defaults()  # firing rates that suit the chip
    network, probe = build(args.neurons)
    table = Table("backend", "build (s)", "run (s)", "RMS difference to nengo", "equal to nengo_loihi")
    outputs: dict[str, np.ndarray] = {}
    rows = {}
    for name, simulator in BACKENDS.items():
        start = time.perf_counter()
        with simulator(network) as sim:
            built = time.perf_counter()
            sim.run(args.seconds)
            done = time.perf_counter()
            outputs[name] = np.asarray(sim.data[probe]).reshape(-1)
        rows[name] = (f"{built - start:.2f}", f"{done - built:.3f}")
    for name, times in rows.items():
        difference = np.sqrt(np.mean((outputs[name] - outputs["nengo"]) ** 2))
        equal = np.array_equal(outputs[name], outputs["nengo_loihi"])
        table.add_row(name, *times, f"{difference:.4f}", "yes" if equal else "no")
    Console().print(table)


if __name__ == "__main__":
    main()

"""A two-dimensional oscillator of the Neural Engineering Framework, in Nengo, on the emulated chip.

    python examples/nef_oscillator.py [--neurons 1000] [--seconds 3] [--board nahuku32]

The neurons, their decoders and the recurrent connection run on the chip, in integers; the host gives one kick at
the start. Any Nengo network runs like this: only the name of the simulator changes.
"""

import argparse
import time

import nengo
import nengo_loihi
import numpy as np

import loihi_deploy as ld

PERIODS_PER_SECOND = 1.0


def build(n_neurons: int, seed: int = 0) -> tuple[nengo.Network, nengo.Probe]:
    """An ensemble whose recurrent connection turns its state around the origin."""
    tau, turn = 0.1, 2 * np.pi * PERIODS_PER_SECOND
    with nengo.Network(label="oscillator", seed=seed) as network:
        kick = nengo.Node(lambda t: [1, 0] if t < 0.1 else [0, 0])
        oscillator = nengo.Ensemble(n_neurons, dimensions=2)
        nengo.Connection(kick, oscillator)
        nengo.Connection(oscillator, oscillator, transform=[[1, tau * turn], [-tau * turn, 1]], synapse=tau)
        state = nengo.Probe(oscillator, synapse=0.03)
    return network, state


def main() -> None:
    """Run it, and count how often it comes round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--board", default="nahuku32")
    args = parser.parse_args()

    nengo_loihi.set_defaults()  # firing rates that suit the chip
    network, state = build(args.neurons)
    with ld.Simulator(network, board=args.board, progress_bar=False) as sim:
        start = time.perf_counter()
        sim.run(args.seconds)
        seconds = time.perf_counter() - start
        x, y = sim.data[state][200:].T
        angle = np.unwrap(np.arctan2(x, y))
        rate = abs(angle[-1] - angle[0]) / (2 * np.pi) / (len(x) * sim.dt)
        mapping = sim.deployment.mapping
        print(f"{args.seconds:g} s of {args.neurons} neurons took {seconds:.2f} s")
        print(
            f"Turns per second: {rate:.2f} (wanted {PERIODS_PER_SECOND:.2f}); radius {np.hypot(x, y).mean():.2f}"
        )
        print(f"Cores in use:     {len(mapping.cores)}")


if __name__ == "__main__":
    main()

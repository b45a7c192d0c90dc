"""A Legendre memory on the chip: a recurrent population that remembers a window of its input, without any training.

    python examples/legendre_memory.py [--order 4] [--neurons 320] [--frames 10] [--steps 20] [--board nahuku32]

The linear memory of a Legendre memory unit (Voelker, Kajic, Eliasmith 2019), held by neurons of many kinds: an ensemble
of Nengo whose recurrent connection is the matrix of the memory, as its synapse has it in steps. `ld.deploy` solves
the decoders for the rates of the chip's neurons. The first layer of a Keras network keeps such a memory on the host,
exactly and of any order (`keras_lmu.LMU`); on the chip it is as good as its neurons are many and its order is small.
"""

import argparse

import nengo
import numpy as np

import loihi_deploy as ld
from loihi_deploy.frontends.keras_time import legendre_memory

TAU = 0.02
DT = 0.001


def build(state: np.ndarray, given: np.ndarray, n_neurons: int, seed: int = 0) -> nengo.Network:
    """An ensemble that does in each step what ``state @ m + given * x`` does."""
    kept = np.exp(-DT / TAU)  # of what the synapse holds
    order = len(state)
    with nengo.Network(seed=seed) as network:
        network.config[nengo.Ensemble].max_rates = nengo.dists.Uniform(150, 250)
        network.config[nengo.Ensemble].intercepts = nengo.dists.Uniform(-1, 0.5)
        value = nengo.Node([0.0], label="value")
        memory = nengo.Ensemble(n_neurons, order, neuron_type=nengo.LIF(tau_ref=DT), label="memory")
        nengo.Connection(value, memory, transform=given[:, None] / (1 - kept), synapse=TAU)
        nengo.Connection(memory, memory, transform=(state - kept * np.eye(order)) / (1 - kept), synapse=TAU)
        nengo.Probe(memory, synapse=None, label="state")
    return network


def smooth_signals(n: int, n_frames: int, seed: int = 1) -> np.ndarray:
    """Signals (n, n_frames, 1) within -1 and 1."""
    noise = np.random.default_rng(seed).normal(size=(n, n_frames + 7))
    signals = np.stack([np.convolve(row, np.exp(-np.arange(8) / 3), mode="valid") for row in noise])
    return (signals / np.abs(signals).max(axis=1, keepdims=True))[:, :, None]


def main() -> None:
    """Deploy the memory, and compare its state with the exact one, frame by frame."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--neurons", type=int, default=320)
    parser.add_argument("--frames", type=int, default=10, help="that are remembered")
    parser.add_argument("--steps", type=int, default=20, help="of a frame")
    parser.add_argument("--board", default="nahuku32")
    args = parser.parse_args()

    state, given = legendre_memory(args.order, float(args.frames * args.steps), "zoh")
    options = ld.DeployOptions(steps_per_frame=args.steps, readout="each", flush=2)
    deployment = ld.deploy(build(state, given, args.neurons), board=args.board, options=options)
    x = smooth_signals(6, 60)
    found = deployment.run(x).by_frame["state"]
    exact, m = np.zeros_like(found), np.zeros((len(x), args.order))
    for step in range(x.shape[1] * args.steps):
        m = m @ state.T + x[:, step // args.steps] * given
        exact[:, step // args.steps] += m / args.steps
    error = np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))
    print(f"Relative error of the state: {error:.2f}; cores in use: {deployment.mapping.n_cores}")


if __name__ == "__main__":
    main()

"""A network of the Neural Engineering Framework, without any training, as a deployment: saved, and run without Nengo.

    python examples/nef_deploy.py [--neurons 300] [--seconds 2] [--board nahuku32]

One ensemble integrates a speed to a place, in a recurrent connection; another one squares the place. `ld.deploy` solves
the decoders for the rates of the chip's neurons. A frame of the input is a step here, and each gets an answer.
"""

import argparse
import tempfile
from pathlib import Path

import nengo
import numpy as np

import loihi_deploy as ld


def build(n_neurons: int, seed: int = 0) -> nengo.Network:
    """An integrator, and the square of what it holds."""
    tau = 0.1
    with nengo.Network(label="integrator", seed=seed) as network:
        network.config[nengo.Ensemble].max_rates = nengo.dists.Uniform(100, 120)
        # no neurons of great gain, beside whose weights those of others round to zero; nengo_loihi.set_defaults() alike
        network.config[nengo.Ensemble].intercepts = nengo.dists.Uniform(-1, 0.5)
        speed = nengo.Node([0.0], label="speed")
        place = nengo.Ensemble(n_neurons, dimensions=1, label="place")
        square = nengo.Ensemble(n_neurons, dimensions=1, label="square")
        nengo.Connection(speed, place, transform=tau, synapse=tau)
        nengo.Connection(place, place, synapse=tau)
        nengo.Connection(place, square, function=np.square, synapse=0.005)
        nengo.Probe(place, synapse=0.03, label="is at")
        nengo.Probe(square, synapse=0.03, label="squared")
    return network


def main() -> None:
    """Deploy it, save it, load it, and compare with what it stands for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--board", default="nahuku32")
    args = parser.parse_args()

    options = ld.DeployOptions(steps_per_frame=1, readout="each")
    deployment = ld.deploy(build(args.neurons), board=args.board, options=options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "integrator.loihi"
        deployment.save(path)
        deployment = ld.load(path)  # from here on nothing needs Nengo

    dt = deployment.program.dt
    times = np.arange(0, args.seconds, dt)
    speed = np.where(times % 1 < 0.25, 2.0, np.where(times % 1 < 0.5, 0.0, -1.0))
    place = np.cumsum(speed) * dt
    result = deployment.run(speed[None, :, None], by_frame=True)
    for name, wanted in (("is at", place), ("squared", place**2)):
        found = result.by_frame[name][0, :, 0]
        print(f"{name:8}: root mean square error {np.sqrt(np.mean((found - wanted) ** 2)):.3f}")
    print(f"Cores in use: {len(deployment.mapping.cores)}")


if __name__ == "__main__":
    main()

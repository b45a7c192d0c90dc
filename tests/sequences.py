"""A network of frames, small enough to be recomputed by hand, and frames for it."""

import numpy as np

from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout

RNG = np.random.default_rng(0)
W1, W2, W3 = (RNG.normal(size=shape) / np.sqrt(shape[1]) for shape in ((30, 8), (20, 30), (3, 20)))


def network(over_frames="", recurrent=False, bias=0.0):
    """Input 8 -> dense 30 -> dense 20 -> three classes: a function of each frame, unless it is recurrent."""
    loop = (Projection("second", "second", Dense(0.02 * np.eye(20)), 0.003),) if recurrent else ()
    return Graph(
        (Input("frame", (8,)),),
        (
            Population("first", (30,), NeuronModel(), 1.0, np.zeros(30)),
            Population("second", (20,), NeuronModel(), 1.0, np.zeros(20)),
        ),
        (
            Projection("frame", "first", Dense(W1)),
            Projection("first", "second", Dense(W2), 0.003),
            Projection("second", "classes", Dense(W3), 0.003),
            *loop,
        ),
        (Readout("classes", (3,), np.zeros(3) + bias, over_frames=over_frames),),
    )


def frames(n, n_frames):
    """Values of 0..1, (n, n_frames, 8)."""
    return np.random.default_rng(n_frames).uniform(0, 1, (n, n_frames, 8))

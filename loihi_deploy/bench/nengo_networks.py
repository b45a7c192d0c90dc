"""NengoDL running a graph as a Nengo network: what a user would otherwise run on a CPU."""

from __future__ import annotations

import time
import warnings

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.export.nengo import nengo_network
from loihi_deploy.frontends import import_nengo_dl
from loihi_deploy.ir import Graph


def predict_seconds(graph: Graph, x: NDArray[np.float64], steps: int, repeats: int) -> float:
    """Seconds that ``nengo_dl.Simulator.predict`` takes for samples (n, size), the best of several calls.

    Raises
    ------
    MissingExtraError
        If NengoDL is not installed.
    """
    nengo_dl = import_nengo_dl("Comparing with NengoDL")
    network, nodes, _ = nengo_network(graph)
    with network:
        nengo_dl.configure_settings(trainable=False, stateful=False, keep_history=False)
    (node,) = nodes.values()
    data = {node: np.repeat(x[:, None], steps, axis=1).astype(np.float32)}
    seconds = []
    with np.errstate(all="ignore"), warnings.catch_warnings():  # of rates and intercepts that nobody uses
        warnings.simplefilter("ignore", UserWarning)
        made = nengo_dl.Simulator(network, minibatch_size=len(x), progress_bar=False)
    with made as simulator:
        simulator.predict(data, verbose=0)  # builds TensorFlow's graph
        for _ in range(repeats):
            start = time.perf_counter()
            simulator.predict(data, verbose=0)
            seconds.append(time.perf_counter() - start)
    return min(seconds)

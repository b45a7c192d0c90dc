"""Parameters of a Nengo network as its builder would draw them."""

from __future__ import annotations

from typing import Any

import nengo
import numpy as np
from nengo.builder import Model
from nengo.builder.network import seed_network
from nengo.dists import Choice, Distribution, get_samples
from numpy.typing import NDArray

from loihi_deploy.frontends.connections import UnsupportedConnectionError


class Parameters:
    """Weights, gains, biases and initial voltages as Nengo's builder draws them from a network's seeds."""

    def __init__(self, network: nengo.Network) -> None:
        self.model = Model(dt=0.001)
        seed_network(network, self.model.seeds, self.model.seeded, base_rng=np.random.RandomState(0))

    def weights(self, connection: Any) -> Any:
        """Sampled transform: an array, a sparse matrix, or None for the identity."""
        transform = connection.transform
        if isinstance(transform, nengo.transforms.NoTransform):
            return None
        init = getattr(transform, "init", None)
        drawn = isinstance(init, Distribution) or isinstance(getattr(init, "data", None), Distribution)
        if drawn and not self.model.seeded[connection]:
            raise UnsupportedConnectionError(
                "weights are drawn anew in every build",
                None,
                "Call sim.freeze_params(network) after training, or give the network a seed",
            )
        return transform.sample(rng=np.random.RandomState(self.model.seeds[connection]))

    def built(self, ensemble: Any) -> Any:
        """What Nengo's builder makes of an ensemble: gains, biases, encoders and evaluation points."""
        if ensemble not in self.model.params:
            with np.errstate(divide="ignore", invalid="ignore"):  # gains of 1 / 0 are refused behind it
                self.model.build(ensemble)
        return self.model.params[ensemble]

    def neurons(
        self, ensemble: Any, may_draw: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None] | None:
        """Gain, bias and initial voltage (None: zero) of every neuron; None without a seed, unless `may_draw`.

        Nengo draws initial voltages by default, the chip starts at zero: only those that were asked for are kept.
        """
        n = ensemble.n_neurons
        initial = (ensemble.neuron_type.initial_state or {}).get("voltage")
        if type(ensemble.neuron_type).__name__ == "RegularSpiking":
            initial = None
        settled = [ensemble.gain, ensemble.bias, np.zeros(n) if initial is None else initial]
        if all(_is_settled(value) for value in settled):
            gain, bias, voltage = (np.broadcast_to(get_samples(value, n), (n,)) for value in settled)
        elif self.model.seeded[ensemble] or may_draw:
            built = self.built(ensemble)
            gain, bias = built.gain, built.bias
            voltage = self.model.sig[ensemble.neurons]["voltage"].initial_value
        else:
            return None
        return gain, bias, (None if initial is None or not voltage.any() else voltage)


def _is_settled(value: Any) -> bool:
    """Whether a parameter is the same in every build."""
    if isinstance(value, Choice):
        return len(value.options) == 1
    return value is not None and not isinstance(value, Distribution)

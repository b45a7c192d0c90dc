"""As 'auto', with neurons that spike at random with the probability that their rate says."""

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import with_on_and_off_neurons
from loihi_deploy.ir import NeuronModel
from loihi_deploy.ir.edges import rectified_first_layer_suits_the_host

POISSON = Encoder(
    "poisson",
    lambda graph: not rectified_first_layer_suits_the_host(graph),
    with_on_and_off_neurons,
    NeuronModel("poisson"),
)

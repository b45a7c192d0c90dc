"""The first layer where it suits the host, else on and off neurons in front."""

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import with_on_and_off_neurons
from loihi_deploy.ir.edges import first_layer_suits_the_host

AUTO = Encoder("auto", lambda graph: not first_layer_suits_the_host(graph), with_on_and_off_neurons)

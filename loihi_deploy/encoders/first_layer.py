"""The populations that inputs drive, whatever they are."""

from loihi_deploy.encoders.kind import Encoder
from loihi_deploy.encoders.on_off import with_on_and_off_neurons

FIRST_LAYER = Encoder("first_layer", lambda graph: False, with_on_and_off_neurons)

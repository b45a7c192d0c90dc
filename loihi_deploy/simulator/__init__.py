"""A Nengo backend: networks on the emulated chip, with everything that cannot be there on the host."""

import importlib.util
import os

from loihi_deploy.errors import missing_extra
from loihi_deploy.frontends.compat import LEGACY_KERAS, refuse_numpy_2

if importlib.util.find_spec("nengo_loihi") is None:
    raise missing_extra("nengo-loihi", "The Nengo simulator")
else:
    refuse_numpy_2("The Nengo simulator")
# Importing nengo-loihi imports TensorFlow where it is installed; NengoDL can be used afterwards only with legacy Keras.
os.environ.setdefault(LEGACY_KERAS, "1")

from loihi_deploy.simulator.division import NotOnChipError
from loihi_deploy.simulator.simulator import Simulator

__all__ = ["NotOnChipError", "Simulator"]

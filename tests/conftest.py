"""Settings for all tests."""

import os

from hypothesis import settings

# One Keras for the whole run, whichever test is the first to load TensorFlow (importing nengo_loihi does).
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# The first example of a property can be slow (imports, compilation); the time limit per test is pytest's.
settings.register_profile("loihi-deploy", deadline=None)
settings.load_profile("loihi-deploy")

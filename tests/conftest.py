"""Settings for all tests."""

from hypothesis import settings

# The first example of a property can be slow (imports, compilation); the time limit per test is pytest's.
settings.register_profile("loihi-deploy", deadline=None)
settings.load_profile("loihi-deploy")

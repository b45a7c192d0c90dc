"""Settings for all tests."""

import os

import pytest
from hypothesis import settings

from loihi_deploy.errors import Problem
from tests.remedies import said

# One Keras for the whole run, whichever test is the first to load TensorFlow (importing nengo_loihi does).
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# The first example of a property can be slow (imports, compilation); the time limit per test is pytest's.
settings.register_profile("loihi-deploy", deadline=None)
settings.load_profile("loihi-deploy")


@pytest.fixture(autouse=True)
def remedies_that_are_followed(request, monkeypatch):
    """A test that follows a remedy gets it from a problem; see `tests.remedies`."""
    followed = [text for mark in request.node.iter_markers("follows") for text in mark.args]
    if not followed:
        yield
        return
    given = []
    make = Problem.__init__

    def kept(self, *args, **kwargs):
        make(self, *args, **kwargs)
        given.append(self.remedy)

    monkeypatch.setattr(Problem, "__init__", kept)
    yield
    missing = [text for text in followed if not any(said(text, remedy) for remedy in given)]
    assert not missing, f"no problem had the remedy that the test follows: {missing}"

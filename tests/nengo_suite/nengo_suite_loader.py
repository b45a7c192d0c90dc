"""Gives Nengo's own tests this project's simulator."""

from importlib.util import find_spec
from unittest.mock import MagicMock

import pytest
from matplotlib import pyplot

from loihi_deploy.frontends.compat import import_nengo_dl
from loihi_deploy.simulator import Simulator


def pytest_configure(config):
    pyplot.switch_backend("Agg")
    if find_spec("nengo_dl"):
        import_nengo_dl()  # one test loads every backend there is
    import nengo_loihi

    nengo_loihi.set_defaults()  # firing rates that suit the chip, as in nengo-loihi's own run of these tests


def load(request):
    return Simulator


@pytest.fixture
def plt():
    """Figures, which are closed and not looked at."""
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def logger():
    return MagicMock()

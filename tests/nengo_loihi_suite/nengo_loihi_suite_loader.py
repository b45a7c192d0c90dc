"""Gives nengo-loihi's own tests this project's simulator."""

import shlex
import sys
import types
from fnmatch import fnmatch

import nengo.builder.transforms
import pytest
from matplotlib import pyplot

from loihi_deploy.frontends.compat import import_nengo_dl
from loihi_deploy.simulator import Simulator  # before nengo-loihi: it settles which Keras there is

import nengo_loihi  # isort: skip
from nengo_loihi.builder.builder import Model, ValidationLevel  # isort: skip
from nengo_loihi.emulator import EmulatorInterface  # isort: skip

THEIRS = "--theirs"
BOTH = "with theirs, too"
"""How the reason opens where nengo-loihi's simulator fails as well."""


def pytest_configure(config):
    pyplot.switch_backend("Agg")
    import_nengo_dl()  # some tests train
    _bring_back_npconv2d()
    nengo_loihi.set_defaults()  # these three as in nengo-loihi's own run of its tests
    EmulatorInterface.strict = True
    Model.default_validation_level = ValidationLevel.FULL
    for marker in ("target_sim", "target_loihi", "hang", "requires_multichip_snips"):
        config.addinivalue_line("markers", f"{marker}: where nengo-loihi's test can run")


def _bring_back_npconv2d():
    """Let tests import from where Nengo 3 had it what Nengo 4 has in ``builder.transforms``."""
    package, module = (types.ModuleType(f"nengo._vendor.npconv2d{rest}") for rest in ("", ".conv2d"))
    module.conv2d = nengo.builder.transforms.conv2d
    module.conv2d_gradx = nengo.builder.transforms.conv2d_gradx
    package.conv2d = module
    nengo._vendor.npconv2d = package
    sys.modules[package.__name__], sys.modules[module.__name__] = package, module


def pytest_addoption(parser):
    parser.addoption("--target", default="sim", help="what nengo-loihi's tests ask pytest for")
    parser.addoption(THEIRS, action="store_true", help="use nengo-loihi's simulator, to compare")


def pytest_collection_modifyitems(config, items):
    """Skip what needs the chip, and expect what is listed to fail."""
    words = shlex.split(" ".join(config.getini("nengo_test_unsupported")))
    listed = list(zip(words[::2], words[1::2], strict=True))
    for item in items:
        if "target_loihi" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs the chip"))
            continue
        for pattern, reason in listed:
            fails = reason.startswith(BOTH) or not config.getoption(THEIRS)
            if fails and fnmatch(item.nodeid, "*" + pattern.replace("[", "[[]")):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def load(request):
    return nengo_loihi.Simulator if request.config.getoption(THEIRS) else Simulator


@pytest.fixture
def plt():
    """Figures, which are closed and not looked at."""
    yield pyplot
    pyplot.close("all")

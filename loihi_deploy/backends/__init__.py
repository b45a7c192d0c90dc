"""Running a program: encoder, chip and readout together, on one of several engines.

``"emulator"`` is this package's fast engine, ``"numpy"`` its plain one, ``"nengo_loihi"`` nengo-loihi's emulator, and
``"hardware"`` the chip through nengo-loihi and NxSDK.
"""

from loihi_deploy.backends.firing_rates import firing_rates
from loihi_deploy.backends.job import request_problems
from loihi_deploy.backends.readout_windows import values_by_window
from loihi_deploy.backends.request import RunOptions
from loihi_deploy.backends.running import check, evaluate, run
from loihi_deploy.backends.sharing import evaluate_parts

__all__ = [
    "RunOptions",
    "check",
    "evaluate",
    "evaluate_parts",
    "firing_rates",
    "request_problems",
    "run",
    "values_by_window",
]

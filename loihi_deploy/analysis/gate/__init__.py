"""Limits that a deployment has to hold, judged in one run: for CI. See ``docs/ci.md``."""

from loihi_deploy.analysis.gate.baseline import Baseline, read_baseline
from loihi_deploy.analysis.gate.criteria import Criteria
from loihi_deploy.analysis.gate.judging import Check, Verdict, judge
from loihi_deploy.analysis.gate.measuring import Measured, measure

__all__ = ["Baseline", "Check", "Criteria", "Measured", "Verdict", "judge", "measure", "read_baseline"]

"""What `map_to_cores` is asked for, checked before anything is planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping.layout import grids
from loihi_deploy.mapping.rules import AVOIDABLE, RULES

Fix = Mapping[str, int | Sequence[int]]

_FORMS = "a dict of (height, width, channels), (n,) or a number of cores, by population"


def fix_problems(program: Program, fix: Any) -> Iterable[Problem]:
    """What is wrong with the shapes of slices that are given."""
    if not isinstance(fix, Mapping):
        yield Problem("not shapes of slices", "fix", repr(fix), _FORMS)
        return
    names = [population.name for population in program.populations]
    for name, wanted in fix.items():
        where = f"fix {name!r}"
        if name not in names:
            yield Problem("no such population on chip", where, name, ", ".join(names))
            continue
        grid = grids(program)[name]
        if is_integer(wanted):
            if wanted < 1:
                yield Problem("sizes must be positive integers", where, wanted)
            continue
        numbers = list(wanted) if isinstance(wanted, (Sequence, np.ndarray)) else []
        if isinstance(wanted, str) or not numbers or not all(is_integer(n) and n > 0 for n in numbers):
            yield Problem("sizes must be positive integers", where, repr(wanted), _FORMS)
        elif len(numbers) not in ((3,) if grid[:2] != (1, 1) else (1, 3)):
            yield Problem("not a shape of slices", where, wanted, "(height, width, channels)")
        elif any(n > size for n, size in zip(numbers[::-1], grid[::-1], strict=False)):
            yield Problem("slices larger than the population", where, tuple(numbers), grid)


def limit_problems(max_cores: Any) -> Iterable[Problem]:
    """What is wrong with a limit on cores."""
    if max_cores is not None and not (is_integer(max_cores) and max_cores >= 1):
        yield Problem("must be an integer, at least 1, or None", "max_cores", repr(max_cores))


def rule_problems(downgrade: Any, avoid: Any) -> Iterable[Problem]:
    """What is wrong with the names of rules."""
    known = {"downgrade": tuple(rule.name for rule in RULES), "avoid": AVOIDABLE}
    for argument, given in (("downgrade", downgrade), ("avoid", avoid)):
        if isinstance(given, str) or not isinstance(given, Iterable):
            yield Problem("not a list of names of rules", argument, repr(given), ", ".join(known[argument]))
            continue
        for name in given:
            if name not in known[argument]:
                yield Problem("no such rule", argument, repr(name), ", ".join(known[argument]))


def rate_problems(program: Program, rates: Any) -> Iterable[Problem]:
    """What is wrong with firing rates."""
    if rates is None:
        return
    if not isinstance(rates, Mapping):
        yield Problem("not firing rates by population and spike source", "rates", type(rates).__name__)
        return
    missing = [name for name in program.nodes if name not in rates]
    if missing:
        yield Problem("firing rates are missing", "rates", ", ".join(missing))
    bad = [name for name in program.nodes if name in rates and not _is_rate(rates[name])]
    if bad:
        yield Problem("firing rates must be numbers, finite and not negative", "rates", ", ".join(bad))


def _is_rate(value: Any) -> bool:
    array = np.asarray(value)
    real = array.dtype.kind in "fiu" and array.size > 0
    return real and bool((array >= 0).all() and np.isfinite(array).all())


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a value is an integer, and not a boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)

"""What an exploration found: a table, a picture, and each deployment made again on request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loihi_deploy.analysis.gate.criteria import Criteria
from loihi_deploy.analysis.gate.judging import ROUNDING
from loihi_deploy.deployment import Deployment
from loihi_deploy.errors import InputError
from loihi_deploy.exploration.trial import FIGURES, Maker, Trial, beats, limits, over
from loihi_deploy.files import PathOrStream
from loihi_deploy.ir.content import OneLine
from loihi_deploy.options import DeployOptions
from loihi_deploy.report import fronts
from loihi_deploy.report.drawing import drawn
from loihi_deploy.tables import Page, Shown, Table

AUTO = "auto"
"""Name of the point that `DeployOptions(steps="auto")` gives."""
LOSSES = ("drop", "expected_drop", "rmse")
"""Figures that say how much worse a deployment is than its source."""


@dataclass(frozen=True)
class Point(OneLine):
    """A deployment that was tried.

    Parameters
    ----------
    name : str
        The number of its trial, or 'auto' for what ``DeployOptions(steps="auto")`` chose.
    options : DeployOptions
        Give them to `deploy`, with the same calibration samples, to make it again.
    figures : dict of float
        On the samples that choices were made on, by name: 'energy_mj', 'latency_ms' (high ends), 'cores', 'chips',
        'accuracy', 'drop', 'rmse', 'host_spikes', 'overflows', as far as they are known. 'expected_drop' is the drop by
        how sure the rate network is of its decisions, which depends less on which samples were there.
    stopped : str
        Why it was not judged on all of these samples; '' where it was.
    final : dict of float
        The same figures on samples that no choice was made on; of the front and of 'auto' alone.
    """

    name: str
    options: DeployOptions
    figures: Mapping[str, float]
    stopped: str = ""
    final: Mapping[str, float] = field(default_factory=dict)

    def toml(self) -> str:
        """The options as a file for ``loihi-deploy compile --options``; the others are the default ones.

        The normalization is always said: for benchmark networks `compile` has another default.
        """
        usual = DeployOptions().as_dict()
        chosen = {k: v for k, v in self.options.as_dict().items() if v != usual[k] or k == "normalization"}
        return "".join(f"{name} = {_toml(value)}\n" for name, value in chosen.items())

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "options": self.options.as_dict(),
            "figures": dict(self.figures),
            "stopped": self.stopped,
            "final": dict(self.final),
        }


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)


@dataclass(frozen=True)
class Exploration(Shown, OneLine):
    """The outcome of `loihi_deploy.explore`; print it for a table.

    Parameters
    ----------
    points : tuple of Point
        Every trial that could be deployed, and 'auto' where there is one, in the order in which they were tried.
    front : tuple of Point
        Those that hold every limit, and that none of these beats in everything that is minimized, by the first of it.
    minimize : tuple of str
        Names of figures.
    keep : Criteria
        The limits.
    failed : tuple of str
        Why trials could not be deployed.
    n_chosen_on, n_held_out : int
        Samples that choices were made on, and others.
    maker : Maker
        What makes a point again.
    """

    points: tuple[Point, ...]
    front: tuple[Point, ...]
    minimize: tuple[str, ...]
    keep: Criteria
    failed: tuple[str, ...]
    n_chosen_on: int
    n_held_out: int
    maker: Maker = field(repr=False)

    def point(self, name: str | int) -> Point:
        """The point of that name, or of that trial.

        Raises
        ------
        InputError
            If there is none.
        """
        for point in self.points:
            if point.name == str(name):
                return point
        known = ", ".join(point.name for point in self.front) or "none on the front"
        raise InputError.single("no such point", "name", name, remedy=f"Points on the front: {known}")

    def deployment(self, name: str | int) -> Deployment:
        """Make a point again; `point` says by what name."""
        return self.maker.deployed(self.point(name).options)

    def save(self, name: str | int, path: PathOrStream) -> None:
        """Make a point again, and write it to a ``.loihi`` file."""
        self.deployment(name).save(path)

    def plot(self) -> Any:
        """What is minimized, by what it costs in accuracy: a matplotlib figure of every point, and of the front.

        Upwards lies the first thing that is minimized and is no loss of accuracy, beside points of the front the last
        one. To the right lies the loss that is minimized; where none is, the drop, counted or expected, whichever is
        more, which `max_drop` limits, or the error of values.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        up, *others = [name for name in self.minimize if name not in LOSSES] or ["energy_mj"]
        known = set().union(*(point.figures for point in self.points))
        across = next((n for n in (*self.minimize, "drop", "rmse") if n in LOSSES and n in known), "drop")
        title = FIGURES[across].text
        # the drop that is limited, if it is not the counted one that is minimized
        more = "expected_drop" if "expected_drop" in known and across not in self.minimize else across
        if more != across:
            title += ", counted or expected"

        def place(point: Point) -> tuple[float, float]:
            return max(point.figures[across], point.figures[more]), point.figures[up]

        def text(point: Point) -> str:
            beside = f" ({FIGURES[others[-1]].shown(point.figures[others[-1]])})" if others else ""
            return point.name + beside

        there = [point for point in self.points if {across, more, up} <= point.figures.keys()]
        with drawn():
            return fronts.front(
                [(*place(point), not point.stopped) for point in there],
                [(text(p), *place(p), p in self.front) for p in self._front_and_auto() if p in there],
                (title, FIGURES[across].unit),
                (FIGURES[up].text, FIGURES[up].unit),
                self.keep.limits.get("drop" if across == "expected_drop" else across),
            )

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "minimize": list(self.minimize),
            "limits": self.keep.limits,
            "front": [point.values() for point in self.front],
            "points": [point.values() for point in self.points],
            "failed": list(self.failed),
            "chosen_on": self.n_chosen_on,
            "held_out": self.n_held_out,
        }

    def page(self) -> Page:
        """The front, with figures on held-out samples beside those that it was chosen by, and what was tried."""
        quality = [
            name
            for name in ("accuracy", "drop", "expected_drop", "rmse")
            if self.points and name in self.points[0].figures
        ]
        shown = dict.fromkeys((*self.minimize, *quality))
        columns = ("point", *map(_title, shown), *(f"{_title(name)}, held out" for name in quality))
        shown_points = self._front_and_auto()
        rows = tuple(
            (
                point.name,
                *(_cell(name, point.figures) for name in shown),
                *(_cell(name, point.final) for name in quality),
            )
            for point in shown_points
        )
        parts: list[Table | str] = []
        if rows:
            parts.append(Table("Deployments that none beats in everything", columns, rows))
        parts += [f"{p.name}: {', '.join(p.toml().splitlines()) or 'the defaults'}" for p in shown_points]
        parts += [f"{p.name}: {text}" for p in shown_points for text in self._missed(p)]
        parts += [text for text in self.failed if text.startswith(f"{AUTO}: ")]
        if not self.front:
            parts.append(self._nothing())
        return Page((*parts, self._tried()))

    def _front_and_auto(self) -> list[Point]:
        """What is named in the table and the picture."""
        return [*self.front, *(p for p in self.points if p.name == AUTO and p not in self.front)]

    def _missed(self, point: Point) -> Iterator[str]:
        """Limits that do not hold: none of a point of the front, but on held-out samples, where the best is lucky."""
        for figures, where in (
            (point.figures, ""),
            (point.final, f", on {self.n_held_out:,} samples held out"),
        ):
            for name, limit in limits(self.keep, figures).items():
                if name in figures and exceeds(name, figures[name], limit) > 0:
                    yield over(name, figures[name], limit, where)

    def _nothing(self) -> str:
        """That no limit holds, and which trial came nearest."""
        missed: dict[str, int] = {}
        for point in self.points:
            for name, limit in limits(self.keep, point.figures).items():
                if name in point.figures and exceeds(name, point.figures[name], limit) > 0:
                    missed[name] = missed.get(name, 0) + 1
        most = sorted(missed, key=lambda name: -missed[name])
        nearest = [
            f"{FIGURES[name].text} {FIGURES[name].shown(best)} at best"
            for name in most
            for best in [_best(name, [point.figures[name] for point in self.points if name in point.figures])]
        ]
        return f"No trial holds every limit: {'; '.join(nearest) or 'none could be deployed'}"

    def _tried(self) -> str:
        judged = sum(not point.stopped for point in self.points)
        text = (
            f"{len(self.points) + len(self.failed)} deployments tried: {judged} judged on all of {self.n_chosen_on:,} "
            f"samples, {len(self.points) - judged} ended earlier, {len(self.failed)} could not be deployed"
        )
        if self.n_held_out:
            text += f"; held out: {self.n_held_out:,} samples that no choice was made on"
        auto = next((point for point in self.points if point.name == AUTO), None)
        if auto is not None and "energy_mj" in auto.figures and self.front:
            least = min(point.figures["energy_mj"] for point in self.front)
            text += f"; least energy {least / auto.figures['energy_mj']:.2f} times that of steps='auto'"
        return text


def exceeds(name: str, value: float, limit: float) -> float:
    """How far a figure is on the wrong side of its limit; 0 or less where it holds, but for rounding."""
    return (limit - value if FIGURES[name].higher else value - limit) - ROUNDING


def holds(figures: Mapping[str, float], keep: Criteria) -> bool:
    """Whether every limit holds; one that was not measured does not."""
    return all(
        name in figures and exceeds(name, figures[name], limit) <= 0
        for name, limit in limits(keep, figures).items()
    )


def front_of(points: list[Point], minimize: tuple[str, ...], keep: Criteria) -> tuple[Point, ...]:
    """Points that were judged on all samples, hold every limit, and are beaten by none of these."""
    kept = [point for point in points if not point.stopped and holds(point.figures, keep)]
    costs = [[point.figures[name] for name in minimize] for point in kept]
    best = {
        tuple(cost): point
        for cost, point in reversed(list(zip(costs, kept, strict=True)))
        if not any(beats(other, cost) for other in costs)
    }
    return tuple(best[cost] for cost in sorted(best))


def as_point(name: str, trial: Trial, final: Mapping[str, float] | None = None) -> Point:
    """A trial by its name."""
    return Point(name, trial.options, trial.figures, trial.stopped, final or {})


def _best(name: str, values: list[float]) -> float:
    return max(values) if FIGURES[name].higher else min(values)


def _title(name: str) -> str:
    return FIGURES[name].text


def _cell(name: str, figures: Mapping[str, float]) -> str:
    return FIGURES[name].shown(figures[name]) if name in figures else ""

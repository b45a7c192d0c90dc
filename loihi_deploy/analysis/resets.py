"""What accuracy is left by each way to bring a chip from one sample to the next, on the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from loihi_deploy.results import Evaluation
from loihi_deploy.tables import Page, Shown, Table, percent


@dataclass(frozen=True)
class Way:
    """A way to bring the chip from one sample to the next.

    Parameters
    ----------
    name : str
    arguments : dict
        Of `Deployment.evaluate`, that ask for it.
    n_correct, n_total : int
        Decisions.
    """

    name: str
    arguments: dict[str, Any]
    n_correct: int
    n_total: int

    @property
    def accuracy(self) -> float:
        """Part of the decisions that are right."""
        return self.n_correct / self.n_total


@dataclass(frozen=True)
class Resets(Shown):
    """Accuracy by each way to bring the chip from one sample to the next.

    Parameters
    ----------
    ways : tuple of Way
        The first is from rest: with the network loaded anew for each sample, or with a snip that writes its state.
    """

    ways: tuple[Way, ...]

    def values(self) -> list[dict[str, Any]]:
        """As plain values, one dict for each way."""
        return [{**vars(way), "accuracy": way.accuracy} for way in self.ways]

    def page(self) -> Page:
        """A line for each way."""
        first = self.ways[0].accuracy
        rows = tuple(
            (way.name, percent(way.accuracy), f"{100 * (way.accuracy - first):+.2f}") for way in self.ways
        )
        n = self.ways[0].n_total
        return Page(
            (
                Table("Between samples", ("way", "accuracy", "difference"), rows),
                f"{n:,} decisions on the emulator.",
            )
        )


def resets(evaluate: Callable[..., Evaluation], gaps: Iterable[int]) -> Resets:
    """Evaluate with each way.

    Parameters
    ----------
    evaluate : function
        Takes the arguments `reset` and `gap` of `Deployment.evaluate`.
    gaps : iterable of int
        Steps between two samples to be tried.
    """
    asked: list[tuple[str, dict[str, Any]]] = [
        ("from rest: a load for each sample, or a snip", {"reset": True})
    ]
    asked += [(f"a gap of {gap} steps", {"reset": "gap", "gap": gap}) for gap in gaps]
    ways = []
    for name, arguments in asked:
        found = evaluate(**arguments)
        ways.append(Way(name, arguments, found.n_correct, found.n_total))
    return Resets(tuple(ways))

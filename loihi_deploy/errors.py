"""Every error that this package raises on purpose.

::

    LoihiDeployError(Exception)
    ├── InputError(ValueError)                     arrays, labels or options that a call cannot use
    ├── DataError(ValueError)                      a data file that is missing, damaged or at odds with others
    ├── OutputError(OSError)                       a path that cannot be written
    ├── MissingExtraError(ImportError)             an optional package that is needed and not there
    ├── UnknownBoardError(KeyError)                no board of that name, no file at that path
    ├── BoardConfigError(ValueError)               a board or chip file with bad entries
    ├── EnergyConfigError(ValueError)              a file of energy and time coefficients with bad entries
    ├── ConversionError(ValueError)                parts of a network that the chip has no counterpart for
    ├── NormalizationError(ValueError)             firing rates that calibration cannot settle
    ├── PartitionError(ValueError)                 a network that cannot be cut in encoder, chip, readout
    ├── QuantizationError(ValueError)              values that the chip's integers cannot hold
    ├── MappingError(RuntimeError)                 a program that does not fit the board
    ├── ArtifactError(ValueError)                  a saved deployment, damaged, altered or too new
    ├── BackendError(RuntimeError)                 a backend that is not available or refuses a program
    ├── AccumulatorOverflowError(ArithmeticError)  an accumulator that wrapped around
    └── TrainingError(ArithmeticError)             a training whose values are no numbers any more

An error carries *all* the problems found, not the first one: ``error.problems`` is a tuple of `Problem`.
``str(error)`` is the text for people, ready to be printed without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

_Error = TypeVar("_Error", bound="LoihiDeployError")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to try.

    Parameters
    ----------
    what : str
        What is wrong, without a full stop: ``"too many compartments"``.
    where : str
        The layer, file, key or argument concerned: ``"layer 'conv2'"``. Empty where the summary says it.
    value : object
        The value found; None where there is none to show.
    limit : object
        What is allowed; None where there is no limit to show.
    remedy : str
        One thing to try, as a sentence without a full stop; a question has its mark.
    """

    what: str
    where: str = ""
    value: object = None
    limit: object = None
    remedy: str = ""

    def __str__(self) -> str:
        facts = [
            f"{name} {fact}"
            for name, fact in (("found", self.value), ("allowed", self.limit))
            if fact is not None
        ]
        text = f"{self.where}: {self.what}" if self.where else self.what
        if facts:
            text += f" ({', '.join(facts)})"
        end = "" if self.remedy.endswith("?") else "."
        return f"{text}. {self.remedy}{end}" if self.remedy else f"{text}."


class LoihiDeployError(Exception):
    """Base of every error of this package.

    Parameters
    ----------
    summary : str
        What could not be done, without a full stop: ``"Cannot convert network 'net'"``.
    problems : Problem or iterable of Problem
        Why: every problem found.

    Examples
    --------
    >>> problem = Problem("unsupported layer type", "layer 'lstm'", value="LSTM", remedy="Use Dense layers")
    >>> print(ConversionError("Cannot convert network 'net'", problem))
    Cannot convert network 'net'. layer 'lstm': unsupported layer type (found LSTM). Use Dense layers.
    """

    summary: str
    problems: tuple[Problem, ...]

    def __init__(self, summary: str, problems: Problem | Iterable[Problem] = ()) -> None:
        super().__init__(summary)
        self.summary = summary
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)

    @classmethod
    def single(
        cls: type[_Error],
        what: str,
        where: str = "",
        value: object = None,
        limit: object = None,
        remedy: str = "",
    ) -> _Error:
        """Make an error that has one problem and no summary; the arguments are those of `Problem`."""
        return cls("", Problem(what, where, value, limit, remedy))

    def __str__(self) -> str:
        if len(self.problems) > 1:
            lines = [f"{self.summary or 'Several problems'} ({len(self.problems)} problems):"]
            return "\n".join(lines + [f"  - {problem}" for problem in self.problems])
        text = f"{self.summary}. " if self.summary and self.problems else self.summary
        return text + "".join(map(str, self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.summary, self.problems)


class InputError(LoihiDeployError, ValueError):
    """Arrays, labels, options or samples that a call cannot use."""


class DataError(LoihiDeployError, ValueError):
    """A data file that is missing, damaged or does not fit its companion."""


class OutputError(LoihiDeployError, OSError):
    """A path that cannot be written."""


class MissingExtraError(LoihiDeployError, ImportError):
    """An optional dependency is needed and not there."""


class UnknownBoardError(LoihiDeployError, KeyError):
    """No board of that name, no file at that path."""


class BoardConfigError(LoihiDeployError, ValueError):
    """A board or chip file with wrong, unknown or missing entries."""


class EnergyConfigError(LoihiDeployError, ValueError):
    """A file of energy and time coefficients with wrong, unknown or missing entries."""


class ConversionError(LoihiDeployError, ValueError):
    """A network with parts that have no counterpart on the chip."""


class NormalizationError(LoihiDeployError, ValueError):
    """Firing rates that calibration data cannot settle."""


class PartitionError(LoihiDeployError, ValueError):
    """A network that cannot be cut into host encoder, chip graph and host readout."""


class QuantizationError(LoihiDeployError, ValueError):
    """Values that the chip's integers cannot hold."""


class MappingError(LoihiDeployError, RuntimeError):
    """A program that does not fit the board."""


class ArtifactError(LoihiDeployError, ValueError):
    """A saved deployment that is damaged, altered or written by a newer version."""


class BackendError(LoihiDeployError, RuntimeError):
    """An execution backend that is not available or refuses the program."""


class AccumulatorOverflowError(LoihiDeployError, ArithmeticError):
    """An accumulator that wrapped around where that was forbidden."""


class TrainingError(LoihiDeployError, ArithmeticError):
    """A loss, an activity or a gradient in training that is not a number."""


class LoihiDeployWarning(UserWarning):
    """Something that a call did, or lost, and that its caller should know; the text is that of a `Problem`.

    Parameters
    ----------
    problem : Problem
        What, where, how much, and what to try.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem,)


@contextmanager
def gathered(problems: list[Problem]) -> Iterator[None]:
    """Add the problems of an `InputError` to a list, to be raised together with others."""
    try:
        yield
    except InputError as error:
        problems += error.problems


def missing_extra(package: str, feature: str, extra: str = "convert") -> MissingExtraError:
    """Make the error for an optional package that is not installed; raise it ``from`` the ImportError.

    Parameters
    ----------
    package : str
        The package that could not be imported: ``"tensorflow"``.
    feature : str
        What needs it: ``"Converting a Keras model"``.
    extra : str
        The extra of this project that brings it.
    """
    return MissingExtraError.single(
        what=f"{feature} needs the package '{package}', which is not installed",
        remedy=f"Install it with: pip install 'loihi-deploy[{extra}]'",
    )

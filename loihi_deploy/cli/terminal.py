"""What a command shows: figures as text or JSON, progress on a terminal, warnings once, errors in one paragraph."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import click

from loihi_deploy.errors import LoihiDeployError, LoihiDeployWarning

SCHEMA_VERSION = 1
"""Of everything that --json prints; raised when a reader of older output could misread the newer."""


class Terminal:
    """How one command talks to whoever called it.

    Parameters
    ----------
    command : str
        Its name, for JSON.
    as_json : bool
        Figures, warnings and errors as one JSON object on standard output, and nothing else there.
    verbose : bool
        Each step, and what other libraries log and warn of, on standard error.
    streams : bool
        Standard output is for what the command makes: figures go to standard error.
    """

    def __init__(
        self, command: str, as_json: bool = False, verbose: bool = False, streams: bool = False
    ) -> None:
        self.command = command
        self.as_json = as_json
        self.verbose = verbose
        self.streams = streams
        self._warnings: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While a command runs: collect warnings to show them in the end, and keep other libraries quiet."""
        if not self.verbose:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            for library in ("tensorflow", "absl"):
                logging.getLogger(library).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.simplefilter("always", LoihiDeployWarning)
            warnings.showwarning = self._take  # restored by catch_warnings
            try:
                yield
            finally:
                self._show_warnings()

    def _take(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, LoihiDeployWarning):
            self.warn(str(message))
        elif self.verbose:
            click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)

    def warn(self, *texts: str) -> None:
        """Show these warnings in the end, each once."""
        self._warnings += [text for text in dict.fromkeys(texts) if text not in self._warnings]

    def _show_warnings(self) -> None:
        if self._warnings:  # with --json those that no figures were printed with, since the command failed
            n = len(self._warnings)
            click.echo("Warning:" if n == 1 else f"{n} warnings:", err=True)
            for text in self._warnings:
                click.echo(f"  - {text}", err=True)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show on a terminal what happens now and for how long: `what`, then what the package logs; nothing in CI."""
        logger = logging.getLogger("loihi_deploy")
        level = logger.level
        with _display(what, self.verbose) as show:
            handler = _Steps(show)
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            try:
                yield
            finally:
                logger.removeHandler(handler)
                logger.setLevel(level)

    def say(self, text: str) -> None:
        """Print a line: on standard error where standard output is for something else."""
        click.echo(text, err=self.as_json or self.streams)

    def figures(self, values: Mapping[str, Any], text: Callable[[], None]) -> None:
        """Print `values` as JSON, with every warning so far, or call `text`; warnings in `values` are shown once."""
        self.warn(*values.get("warnings", ()))
        if self.as_json:
            print_json({"command": self.command, **values, "warnings": self._warnings})
            self._warnings = []
        else:
            with redirect_stdout(sys.stderr) if self.streams else nullcontext():
                text()


class _Steps(logging.Handler):
    """Shows what the package logs."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        self.show(record.getMessage())


@contextmanager
def _display(what: str, verbose: bool) -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, lines with --verbose, nothing in pipes and in CI."""
    if verbose:
        click.echo(f"{what} ...", err=True)
        yield lambda step: click.echo(f"{step} ...", err=True)
        return
    if not shows_progress():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(what))
        yield lambda step: progress.update(task, description=escape(f"{what}: {step}"))


def shows_progress() -> bool:
    """Whether someone is watching: standard error is a terminal, and not that of a CI service."""
    return sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("CI")


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object under a schema version."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=2, allow_nan=False))


def print_error(error: Exception, as_json: bool) -> None:
    """Print an error: one paragraph on standard error, or one JSON object on standard output."""
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    if not as_json:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Error: {text}", err=True)
        return
    values: dict[str, Any] = {"type": type(error).__name__, "message": text, "problems": []}
    if isinstance(error, LoihiDeployError):
        plain = (bool, int, float, str, type(None))
        values["problems"] = [
            {name: fact if isinstance(fact, plain) else str(fact) for name, fact in vars(problem).items()}
            for problem in error.problems
        ]
    print_json({"error": values})

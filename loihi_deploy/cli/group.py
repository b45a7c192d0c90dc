"""The group of commands: what all of them have in common, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from difflib import get_close_matches
from typing import Any, NoReturn

import click

from loihi_deploy import __version__
from loihi_deploy.cli.outputs import STANDARD_OUTPUT
from loihi_deploy.cli.process import leave, quiet_errors, without
from loihi_deploy.cli.terminal import Terminal, print_error
from loihi_deploy.errors import LoihiDeployError, OutputError

BAD_INPUT = 2
INTERRUPTED = 130
NOBODY_READS = 141
OWN_PROCESS = "own process"
"""The object of a context whose command may do to the process what it likes (see `loihi_deploy.cli.process`)."""


class Command(click.Command):
    """A command with --verbose, that gets a `Terminal` as the object of its context; it returns its exit status.

    Parameters
    ----------
    runs_saved : bool
        Whether it runs saved deployments, for which no framework is loaded.
    """

    def __init__(self, *args: Any, runs_saved: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs_saved = runs_saved
        text = "Show each step, and what other libraries log."
        self.params.append(click.Option(["-v", "--verbose"], is_flag=True, help=text))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it with warnings collected and other libraries quiet."""
        verbose, as_json = ctx.params.pop("verbose"), bool(ctx.params.pop("as_json", False))
        streams = ctx.params.get("output") == STANDARD_OUTPUT
        if streams and as_json:
            raise click.UsageError("--json and -o - both write to standard output.", ctx)
        is_ours = ctx.obj is OWN_PROCESS
        if is_ours and self.runs_saved:
            without("tensorflow", "nengo_dl")
        ctx.obj = Terminal(str(ctx.info_name), as_json, verbose, streams)
        with quiet_errors() if is_ours and not verbose else nullcontext(), ctx.obj():
            return super().invoke(ctx)


class Commands(click.Group):
    """A group of commands that end with one paragraph, never with a traceback."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}.{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its first sentence, however long."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(limit=1000)) for name, command in found if command]
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for; quietly ended where nobody reads what it prints."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_output()
            return NOBODY_READS

    def main(  # type: ignore[override]  # always exits
        self, args: Any = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command that `args` name, and exit with its status."""
        arguments = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in arguments
        try:
            status = self._status(arguments, prog_name, extra)
        except (LoihiDeployError, click.ClickException) as error:
            status = BAD_INPUT
            with suppress(OSError):
                print_error(error, as_json)
        except (KeyboardInterrupt, click.Abort):
            status = INTERRUPTED
            click.echo("Interrupted.", err=True)
        except MemoryError:
            status = BAD_INPUT
            print_error(click.ClickException("there is not enough memory for this"), as_json)
        sys.exit(status)

    def _status(self, arguments: list[str], prog_name: str | None, extra: dict[str, Any]) -> int:
        """Run the command; its exit status, also where standard output is closed or full."""
        try:
            status = super().main(arguments, prog_name, **{**extra, "standalone_mode": False})
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            return NOBODY_READS
        except OSError as error:
            if isinstance(error, LoihiDeployError) or error.filename is not None:
                raise
            _drop_output()
            raise OutputError.single(f"cannot be written: {error.strerror}", "standard output") from error
        return int(status or 0)


def _drop_output() -> None:
    """Let what is still buffered for standard output go nowhere, so that Python can end without complaint."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names what is nearest, or nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="loihi-deploy")
def commands() -> None:
    """Deploy trained networks on Intel's Loihi, on an emulator or on the chip."""


def main() -> None:
    """Entry point of ``loihi-deploy``."""
    try:
        commands(prog_name="loihi-deploy", obj=OWN_PROCESS)
    except SystemExit as end:
        leave(int(end.code or 0))

"""``loihi-deploy check``: a saved deployment against limits, and against what it was before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from loihi_deploy.cli.arguments import (
    NamedValue,
    json_option,
    steps_option,
)
from loihi_deploy.cli.given import Given, data_options, data_values
from loihi_deploy.cli.group import commands
from loihi_deploy.cli.outputs import checked_output
from loihi_deploy.cli.presenting import deployment_argument
from loihi_deploy.cli.terminal import Terminal, shows_progress
from loihi_deploy.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = "pyproject.toml"
TABLE = "[tool.loihi-deploy.check]"
LIMIT_OPTIONS = (
    ("--min-accuracy", float, "Least accuracy, as a fraction."),
    ("--max-drop", float, "Most that accuracy may be below the rate network's, as a fraction."),
    ("--max-rmse", float, "Largest root mean square error, for networks without classes."),
    ("--max-cores", int, "Most cores."),
    ("--max-chips", int, "Most chips."),
    ("--max-energy-mj", float, "Most energy per sample in mJ, by the high end of the estimate."),
    (
        "--max-latency-ms",
        float,
        "Longest time of a sample on the chip in ms, by the high end of the estimate.",
    ),
    (
        "--max-host-spikes",
        float,
        "Most messages that the host sends to a chip in any step: one for each core that a spike goes to.",
    ),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each limit."""
    for flag, kind, text in reversed(LIMIT_OPTIONS):
        command = click.option(flag, type=kind, help=text)(command)
    return command


@commands.command(runs_saved=True)
@deployment_argument
@data_options()
@steps_option
@limit_options
@click.option("--no-overflow", is_flag=True, help="No accumulator may wrap around.")
@click.option("--hardware", is_flag=True, help="Nothing may be known to fail on a Loihi board: as preflight.")
@click.option("--baseline", type=Path, help="Figures of an earlier check: none may be worse.")
@click.option(
    "--tolerance",
    multiple=True,
    type=NamedValue(float, "NAME=VALUE"),
    metavar="NAME=VALUE",
    help="How much worse than in the baseline a figure may be: accuracy=0.005.",
)
@click.option("--update-baseline", is_flag=True, help="Write --baseline, if every limit holds.")
@click.option(
    "--junit", type=Path, callback=checked_output, help="Also write the criteria as tests, as JUnit does."
)
@json_option
@click.pass_obj
def check(
    terminal: Terminal,
    /,
    deployment_file: Path,
    given: Given,
    steps: int | None,
    tolerance: tuple[tuple[str, float], ...],
    baseline: Path | None,
    update_baseline: bool,
    junit: Path | None,
    no_overflow: bool,
    hardware: bool,
    **limits: Any,
) -> int:
    """Check DEPLOYMENT_FILE (.loihi) against limits: exit status 0 where all hold, 1 where one fails.

    Limits can also stand in [tool.loihi-deploy.check] of pyproject.toml, here or in the nearest folder above; those of
    the command line count more.
    """
    from loihi_deploy.analysis.gate import Criteria
    from loihi_deploy.deployment import load

    kept = project_settings(Path.cwd())
    if baseline is None and "baseline" in kept:
        baseline = Path(kept["baseline"])
    kept.pop("baseline", None)
    told = {name: value for name, value in limits.items() if value is not None}
    if no_overflow:
        told["no_overflow"] = True
    if tolerance:
        told["tolerance"] = dict(tolerance)
    criteria = Criteria.from_names({**kept, **told}, TABLE if kept else "criteria")
    if update_baseline and baseline is None:
        raise click.UsageError("--update-baseline needs --baseline: where to write it.")
    if baseline is None and not criteria.limits and not hardware:
        raise InputError.single(
            "no limit to check", remedy="Give one, such as --max-chips 1, or --baseline FILE; see --help"
        )
    if update_baseline:
        checked_output(None, None, baseline)
    deployment = load(deployment_file)
    x = y = None
    about: dict[str, Any] = {}
    if given:
        given.check()
        found = given.read(deployment)
        x, y = found.x, found.y
        about = {"data": data_values(found)}
    if update_baseline and criteria.tolerance:  # which is for comparing, and nothing is compared
        criteria = Criteria.from_names({name: v for name, v in vars(criteria).items() if name != "tolerance"})
    compared = None if update_baseline else baseline
    result = deployment.check(
        *(x, y, criteria), baseline=compared, hardware=hardware, steps=steps, progress=shows_progress()
    )
    if junit is not None:
        result.write_junit(junit, str(deployment_file))
    written = update_baseline and result.passed
    if written and baseline is not None:
        result.write_baseline(baseline)
    figures = {
        **about,
        **result.values(),
        "baseline": baseline and str(baseline),
        "baseline_written": written,
    }

    def text() -> None:
        if about:
            click.echo(f"On {found}")
        result.page().show()
        if update_baseline:
            click.echo(f"Written to {baseline}" if written else f"{baseline} is as it was")

    terminal.figures(figures, text)
    return 0 if result.passed else 1


def project_settings(folder: Path) -> dict[str, Any]:
    """What the nearest pyproject.toml says of checks: criteria by name, and the path of a baseline from where we are.

    Raises
    ------
    InputError
        If there is such a file and it cannot be read, or names a criterion that there is none of.
    """
    from loihi_deploy.analysis.gate import Criteria

    path = next((each / PROJECT for each in (folder, *folder.parents) if (each / PROJECT).is_file()), None)
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError.single("cannot be read", str(path), str(error)) from error
    table = content.get("tool", {})
    for name in ("loihi-deploy", "check"):
        table = table.get(name, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise InputError.single("not a table of criteria", f"{path}: {TABLE}", table)
    settings = dict(table)
    baseline = settings.pop("baseline", None)
    if baseline is not None and not isinstance(baseline, str):
        raise InputError.single("not a path", f"{path}: {TABLE} baseline", baseline)
    criteria = Criteria.from_names(settings, f"{path}: {TABLE}")
    kept = {item.name: getattr(criteria, item.name) for item in fields(Criteria)}
    usual = vars(Criteria())
    found = {name: value for name, value in kept.items() if value != usual[name]}
    return found if baseline is None else {**found, "baseline": str(path.parent / baseline)}

"""An estimate of energy and time as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from loihi_deploy.tables import with_unit

COLUMNS = ("estimate", "low", "high")


def energy_tables(values: Mapping[str, Any]) -> Group:
    """Causes, populations, times, the host, and what others measured; to be printed with rich.

    Parameters
    ----------
    values : dict
        From ``Energy.values()``.
    """
    joules, seconds, counts = values["joules"], values["seconds"], values["counts"]
    causes = _table(
        f"Energy per sample of {values['steps']} steps, by '{values['coefficients']}', mean of "
        f"{values['samples']} sample(s)",
        ("cause", "count", *COLUMNS),
    )
    for cause, found in joules["by_cause"].items():
        if counts[cause]:
            causes.add_row(cause, f"{counts[cause]:,.1f}", *_three(found, "J"))
    causes.add_section()
    causes.add_row("dynamic", "", *_three(joules["dynamic"], "J"))
    causes.add_row(f"static, {values['chips']} chip(s)", "", *_three(joules["static"], "J"))
    causes.add_row("total", "", *_three(joules["total"], "J"), style="bold")

    parts = [causes, _listed("Dynamic energy by population", "population", joules["by_population"])]
    if values["chips"] > 1:
        parts.append(_listed("Energy by chip, static included", "chip", joules["by_chip"]))

    times = _table("Time", ("", *COLUMNS))
    for part, found in seconds["parts"].items():
        times.add_row(f"{part}, per sample", *_three(found, "s"))
    times.add_row("sample", *_three(seconds["sample"], "s"), style="bold")
    times.add_row("step, mean", *_three(seconds["step"], "s"))
    times.add_row("step, longest", *_three(seconds["longest_step"], "s"))

    host, speed = values["encoder"], values["samples_per_second"]
    return Group(
        *parts,
        times,
        Text(f"{values['description']}. A limit is compared with the high end."),
        Text(
            f"{speed['value']:,.0f} samples per second ({speed['low']:,.0f} to {speed['high']:,.0f}), one after the "
            "other"
        ),
        Text(
            f"Host, per sample (per pixel): {host['multiplies']:,.0f} multiplies ({host['multiplies_per_pixel']:.3g}), "
            f"{host['additions']:,.0f} additions ({host['additions_per_pixel']:.3g}), {host['spikes_sent']:,.1f} "
            f"spikes sent ({host['spikes_sent_per_pixel']:.3g}); {host['messages_per_step']:.1f} messages a step, of "
            f"{host['messages_per_step_limit']:.0f} that the link to a chip takes"
        ),
        Text(
            f"{counts['messages out']:,.1f} messages to cores, {counts['axon messages']:,.1f} if each output axon "
            "sends one"
        ),
        *(
            Text(
                f"Measured by others: {row['network']}: {row['mj']:g} mJ and {row['ms']:g} ms per inference"
                f"{' at {} steps'.format(row['steps']) if row['steps'] else ''} ({row['trust']})"
            )
            for row in values["measured"]
        ),
        *(Text(note) for note in values["notes"]),
    )


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _listed(title: str, what: str, rows: Mapping[str, Any]) -> Table:
    table = _table(title, (what, *COLUMNS))
    for name, found in rows.items():
        table.add_row(name, *_three(found, "J"))
    return table


def _three(found: Mapping[str, float], unit: str) -> list[str]:
    return [with_unit(found[end], unit) for end in ("value", "low", "high")]

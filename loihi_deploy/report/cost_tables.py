"""Energy and time as tables and sentences: those of `loihi-deploy energy`, of a printed estimate, and of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loihi_deploy.tables import Page, Table, with_unit

Values = Mapping[str, Any]
COLUMNS = ("estimate", "low", "high")


def energy_page(values: Values) -> Page:
    """Causes, populations, times, the host, and what others measured.

    Parameters
    ----------
    values : dict
        From ``Energy.values()``.
    """
    return Page((*energy_tables(values), *energy_sentences(values)))


def energy_tables(values: Values) -> list[Table]:
    """All that is a table."""
    joules = values["joules"]
    tables = [_causes(values), _listed("Dynamic energy by population", "population", joules["by_population"])]
    if values["chips"] > 1:
        tables.append(_listed("Energy by chip, static included", "chip", joules["by_chip"]))
    tables.append(_times(values["seconds"]))
    if values["measured"]:
        rows = tuple(
            (row["network"], row["trust"], str(row["steps"] or ""), f"{row['mj']:g} mJ", f"{row['ms']:g} ms")
            for row in values["measured"]
        )
        columns = ("network", "trust", "steps", "energy", "time")
        tables.append(Table("Measured by others, an inference", columns, rows, names=2))
    return tables


def energy_sentences(values: Values) -> list[str]:
    """All that is not."""
    host, speed, counts = values["encoder"], values["samples_per_second"], values["counts"]
    beyond = ": more than that" * (host["messages_per_step"] > host["messages_per_step_limit"])
    return [
        f"{values['description']}. A limit is compared with the high end.",
        f"{speed['value']:,.0f} samples per second ({speed['low']:,.0f} to {speed['high']:,.0f}), one after the other.",
        f"Host, per sample (per pixel): {host['multiplies']:,.0f} multiplies ({host['multiplies_per_pixel']:.3g}), "
        f"{host['additions']:,.0f} additions ({host['additions_per_pixel']:.3g}), {host['spikes_sent']:,.1f} "
        f"spikes sent ({host['spikes_sent_per_pixel']:.3g}).",
        f"Host link: {host['messages_per_step']:,.1f} messages a step to the chip that takes most, of "
        f"{host['messages_per_step_limit']:.0f} that a step has room for{beyond}.",
        f"{counts['messages out']:,.1f} messages to cores; {counts['axon messages']:,.1f} if each output axon sends "
        "one.",
        *(f"{note}." for note in values["notes"]),
    ]


def _causes(values: Values) -> Table:
    joules, counts = values["joules"], values["counts"]
    rows = [
        (cause, f"{counts[cause]:,.1f}", *_range(found, "J"))
        for cause, found in joules["by_cause"].items()
        if counts[cause]
    ]
    rows += [
        (name, "", *_range(joules[key], "J"))
        for key, name in (
            ("dynamic", "dynamic"),
            ("static", f"static, {values['chips']} chip(s)"),
            ("total", "total"),
        )
    ]
    title = (
        f"Energy of a sample, {values['steps']} steps, mean of {values['samples']}; coefficients "
        f"'{values['coefficients']}'"
    )
    return Table(title, ("cause", "count", *COLUMNS), tuple(rows))


def _times(seconds: Values) -> Table:
    rows = {**seconds["parts"], "sample": seconds["sample"], "step, mean": seconds["step"]}
    rows["step, longest"] = seconds["longest_step"]
    return Table(
        "Time of a sample", ("", *COLUMNS), tuple((k, *_range(found, "s")) for k, found in rows.items())
    )


def _listed(title: str, what: str, rows: Values) -> Table:
    return Table(title, (what, *COLUMNS), tuple((name, *_range(found, "J")) for name, found in rows.items()))


def _range(found: Mapping[str, float], unit: str) -> tuple[str, ...]:
    return tuple(with_unit(found[end], unit) for end in ("value", "low", "high"))

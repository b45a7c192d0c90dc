"""Tables of a report: the same in text and in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loihi_deploy.mapping.core_plan import limit_table
from loihi_deploy.report.cost_tables import energy_tables
from loihi_deploy.report.pages import layers_page
from loihi_deploy.tables import Page, Table, percent, warned, with_unit

Values = Mapping[str, Any]
OPTION = "option "
FRAMES = 12
"""Numbers of frames that a table of accuracy has, evenly spaced."""
LATENCY = (
    "A layer can first speak a step after the last one before it can, and hears the whole sample once the filters of "
    "synapses are over, too. DeployOptions(synapse=0.001), or layer_synapses, shortens these."
)
"""What the table of latency says, and what shortens it."""


def report_page(values: Values) -> Page:
    """A report as text: what the terminal shows, and a .txt file."""
    parts: list[Table | str] = []
    if "accuracy" in values:
        found, data = values["accuracy"], values["data"]
        text = f"Accuracy {percent(found['value'])} ({found['n_correct']:,} of {found['n_total']:,} {found['counted']})"
        if "rate_network" in found:
            text += f", rate network {percent(found['rate_network'])}"
        parts.append(f"{text}, at {data['steps']} steps")
    if "stages" in values:
        parts.append(stage_table(values["stages"]["stages"]))
    if "rates" in values:
        parts.append(rate_table(values))
    if "by_frame" in values.get("accuracy", {}):
        parts.append(frame_table(values))
    parts += [limit_table(values["mapping"]), latency_table(values), LATENCY]
    if "energy" in values:
        parts += energy_tables(values["energy"])
    parts += advice_of(values)
    parts.append(provenance_table(values))
    return layers_page({**values, "warnings": []}) + Page((*parts, *warned(values["warnings"])))


def reports_page(reports: Mapping[str, Values]) -> Page:
    """One report as text, or several: the table of differences first."""
    if len(reports) == 1:
        return report_page(next(iter(reports.values())))
    page = Page((comparison_table(reports),))
    for name, values in reports.items():
        page += Page((f"── {name}",)) + report_page(values)
    return page


def advice_of(values: Values) -> list[str]:
    """What to change: what comparing the stages found."""
    return list(values.get("stages", {}).get("advice", []))


def layer_table(values: Values) -> Table:
    """Layers: shapes, neurons, cores, weights, rounding errors."""
    table = layers_page({**values, "warnings": []}).parts[0]
    assert isinstance(table, Table)
    return table


def stage_table(stages: Iterable[Values]) -> Table:
    """Accuracy and agreement after each stage."""
    rows = tuple(
        (stage["name"], str(stage["n_samples"]), percent(stage["accuracy"]), percent(stage["agreement"]))
        for stage in stages
    )
    return Table("Stages", ("stage", "samples", "accuracy", "decides as the source"), rows)


def rate_table(values: Values) -> Table:
    """Firing rates by layer, silent and saturated neurons counted."""
    rows = tuple(
        (
            name,
            f"{layer['mean']:.1f} Hz",
            f"{layer['highest']:.0f} Hz",
            f"{layer['neurons']:,}",
            f"{layer['silent']:,}",
            percent(layer["saturated"]),
        )
        for name, layer in values["rates"]["layers"].items()
    )
    columns = ("layer", "mean", "highest", "neurons", "silent", "saturated")
    return Table(f"Firing rates on {values['rates']['samples']} samples", columns, rows)


def frame_table(values: Values) -> Table:
    """Accuracy, had sequences ended after some of their frames."""
    found = values["accuracy"]["by_frame"]
    n = len(found)
    shown = sorted({round(k * n / FRAMES) for k in range(1, FRAMES + 1)} - {0})
    rows = tuple((str(k), percent(found[k - 1])) for k in shown)
    return Table("Accuracy by frame", ("frames", "accuracy"), rows)


def latency_table(values: Values) -> Table:
    """When layers first speak, and when they have heard the whole sample."""

    def text(step: float | None) -> str:
        return "never" if step is None else f"{step:.0f}"

    rows = tuple(
        (row["layer"], text(row["first_step"]), text(row["heard_from"]), text(row["heard_from_short"]))
        for row in values["latency"]
    )
    columns = ("layer", "first speaks", "hears all from", "with synapses of 1 ms")
    return Table("Latency, in steps from the first on", columns, rows)


def provenance_table(values: Values) -> Table:
    """Versions, options and digests, and the command that makes the report again."""
    rows = {
        "command": values["command"],
        "program": values["digest"],
        **{name: str(number) for name, number in values["provenance"].items() if number},
        **{name: str(value) for name, value in values["options"].items()},
    }
    return Table("Provenance", ("what", "value"), tuple(rows.items()), names=2)


def comparison_table(reports: Mapping[str, Values]) -> Table:
    """Figures of several deployments side by side, and options that differ; the last column says where they do."""
    columns = {name: _compared(values) for name, values in reports.items()}
    rows = []
    for row in dict.fromkeys(row for figures in columns.values() for row in figures):
        cells = [figures.get(row, "") for figures in columns.values()]
        differs = len(set(cells)) > 1
        if differs or not row.startswith(OPTION):
            rows.append((row, *cells, "≠" if differs else ""))
    return Table("Side by side", ("", *columns, "differs"), tuple(rows))


def _compared(values: Values) -> dict[str, str]:
    figures = {
        "board": values["board"],
        "cores": f"{values['n_cores']:,}",
        "chips": f"{values['n_chips']:,}",
        "neurons": f"{values['n_neurons']:,}",
    }
    if "accuracy" in values:
        figures["accuracy"] = percent(values["accuracy"]["value"])
    if "energy" in values:
        figures["energy a sample"] = with_unit(values["energy"]["joules"]["total"]["value"], "J")
        figures["time a sample"] = with_unit(values["energy"]["seconds"]["sample"]["value"], "s")
    for layer in values["layers"]:
        name = layer["name"]
        figures[f"{name}: neurons"] = f"{layer['neurons']:,}"
        if layer["place"] == "chip":
            figures[f"{name}: cores"] = str(layer["cores"])
            figures[f"{name}: rounding error"] = percent(layer["weight_rms_error"])
        if "rates" in values:
            figures[f"{name}: firing rate"] = f"{values['rates']['layers'][name]['mean']:.1f} Hz"
    figures |= {f"{OPTION}{name}": str(value) for name, value in values["options"].items()}
    return {**figures, "program": values["digest"][:12], "warnings": str(len(values["warnings"]))}

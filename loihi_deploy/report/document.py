"""A report as one page of HTML that needs nothing else: from its values, with jinja2 and matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loihi_deploy.errors import missing_extra
from loihi_deploy.report import pictures
from loihi_deploy.report.cost_tables import energy_sentences, energy_tables
from loihi_deploy.report.drawing import INK, as_svg, colour, drawn
from loihi_deploy.report.network import network_drawing
from loihi_deploy.report.resources import resource_rows
from loihi_deploy.report.sheets import (
    LATENCY,
    advice_of,
    comparison_table,
    frame_table,
    latency_table,
    layer_table,
    limit_table,
    provenance_table,
    rate_table,
    stage_tables,
)
from loihi_deploy.tables import percent, with_unit

Values = Mapping[str, Any]


def document(title: str, reports: Mapping[str, Values]) -> str:
    """The page: of one deployment, or of several side by side.

    Parameters
    ----------
    title : str
    reports : dict
        Values of each report, by name.

    Raises
    ------
    MissingExtraError
        If jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise missing_extra("jinja2", "A report as HTML", "report") from error
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "template.html.j2").read_text(encoding="utf-8")
    )
    several = len(reports) > 1
    with drawn(INK):
        parts = [
            _part(name if several else "", values, k) for k, (name, values) in enumerate(reports.items())
        ]
    comparison = comparison_table(reports).as_html() if several else ""
    first = next(iter(reports.values()))
    page: str = template.render(title=title, subtitle=first["command"], comparison=comparison, parts=parts)
    return page


def _part(name: str, values: Values, number: int) -> dict[str, Any]:
    return {
        "name": name,
        "cards": list(_cards(values)),
        "advice": advice_of(values),
        "network": network_drawing(values),
        "sections": [section for section in _sections(values, str(number)) if section is not None],
    }


def _cards(values: Values) -> Iterator[dict[str, Any]]:
    mapping = values["mapping"]
    exceeded = any(row["exceeded"] for row in resource_rows(mapping))
    fits = f"{values['n_chips']} of {values['n_board_chips']} chips"
    yield _card("does it fit?", "no" if exceeded else "yes", f"{fits} of {values['board']}", exceeded)
    yield _card("cores", f"{values['n_cores']:,}", f"any plan needs {mapping['bound']:,}")
    if "accuracy" in values:
        found = values["accuracy"]
        against = f", rate network {percent(found['rate_network'])}" if "rate_network" in found else ""
        yield _card("accuracy", percent(found["value"]), f"{found['n_total']:,} samples{against}")
    if "energy" in values:
        joules, seconds = values["energy"]["joules"]["total"], values["energy"]["seconds"]["sample"]
        yield _card(
            "energy a sample",
            with_unit(joules["value"], "J"),
            f"{with_unit(joules['low'], 'J')} to {with_unit(joules['high'], 'J')}",
        )
        yield _card(
            "time a sample",
            with_unit(seconds["value"], "s"),
            f"{values['data']['steps']} steps, {with_unit(seconds['low'], 's')} to {with_unit(seconds['high'], 's')}",
        )
    n = len(values["warnings"])
    yield _card("warnings", str(n), "see the end of the page" if n else "none", n > 0)


def _card(name: str, value: str, note: str, bad: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note, "bad": bad}


def _sections(values: Values, salt: str) -> Iterator[dict[str, Any] | None]:
    """Sections, each with the data that it needs."""

    def picture(figure: Any, alt: str, caption: str = "", narrow: bool = False) -> dict[str, Any]:
        ours = as_svg(figure, f"{salt} {alt}")
        return {"svg": ours, "alt": alt, "caption": caption, "narrow": narrow}

    accuracy = values.get("accuracy")
    if accuracy:
        unit = "frame" if "by_frame" in accuracy else "step"
        alt = f"Accuracy against presentation time by {unit}; {percent(accuracy['value'])} at the end"
        caption = f"Accuracy, had every presentation ended after each {unit}"
        drawings = [picture(pictures.accuracy_by_step(accuracy), alt, caption)]
        if "confusion" in accuracy:
            right = sum(row[k] for k, row in enumerate(accuracy["confusion"]))
            alt = f"Confusion matrix: {right:,} of {accuracy['n_total']:,} samples on the diagonal"
            drawings.append(
                picture(pictures.confusion(accuracy["confusion"]), alt, "Samples by class and decision", True)
            )
        tables = [frame_table(values).as_html()] if "by_frame" in accuracy else []
        yield _section("Accuracy", pictures_=drawings, tables=tables)
    if "stages" in values:
        n = values["stages"]["samples"]
        text = (
            f"On {n} samples, evenly spaced: where decisions and firing rates change on the way to the chip."
        )
        yield _section("Stage by stage", [text], tables=[table.as_html() for table in stage_tables(values)])
    if "rates" in values:
        layers = values["rates"]["layers"]
        silent = sum(layer["silent"] for layer in layers.values())
        neurons = sum(layer["neurons"] for layer in layers.values())
        alt = f"Distributions of firing rates by layer; {silent:,} of {neurons:,} neurons are silent"
        yield _section(
            "Firing rates",
            pictures_=[picture(pictures.rates(layers), alt)],
            tables=[rate_table(values).as_html()],
        )
    if "sample" in values:
        yield _sample(values["sample"], picture)
    yield _map(values, picture)
    rows = resource_rows(values["mapping"])
    binding = next((row for row in rows if row["binding"]), None)
    text = (
        f"Binding: {binding['what']}. All layers together need {binding['needed']:.1f} cores for it, whatever the plan."
        if binding
        else ""
    )
    bound = f"{values['n_cores']:,} cores; any plan needs {values['mapping']['bound']:,} or more."
    fullest = f"The fullest core beside each limit. {text}"
    yield _section(
        "Resources",
        [text, bound],
        [picture(pictures.resources(rows), fullest)],
        [limit_table(values).as_html()],
    )
    yield _weights(values, picture)
    if "energy" in values:
        yield _energy(values["energy"], picture)
    yield _section("Latency", [LATENCY], tables=[latency_table(values).as_html()])
    yield _section("Layers", tables=[layer_table(values).as_html()])
    if values["warnings"]:
        yield _section("Warnings", texts=[str(warning) for warning in values["warnings"]])
    yield _section("Where it comes from", tables=[provenance_table(values).as_html()])


def _section(
    title: str, texts: Any = (), pictures_: Any = (), tables: Any = (), key: Any = ()
) -> dict[str, Any]:
    return {
        "title": title,
        "texts": list(filter(None, texts)),
        "pictures": pictures_,
        "tables": tables,
        "key": key,
    }


def _sample(sample: Values, picture: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    label = "" if sample["label"] is None else f", class {sample['label']}"
    decided = "" if sample.get("decision") is None else f"; decided: {sample['decision']}"
    drawings = [
        picture(
            pictures.inputs(found["shape"], found["frames"]),
            f"Input {name} of sample {sample['index']}{label}",
            name,
        )
        for name, found in sample["inputs"].items()
    ]
    if "outputs_by_step" in sample:
        alt = f"Outputs against presentation time{decided}"
        drawings.append(picture(pictures.outputs_by_step(sample), alt, "Decoded outputs, the largest eight"))
    total = sum(layer["spikes"] for layer in sample["raster"].values())
    alt = f"Raster of spikes, a band for each layer, host first; {total:,} spikes in {sample['steps']} steps"
    caption = "Spikes, a dot each; of large layers, neurons evenly spaced. Bands of the host come first."
    drawings.append(picture(pictures.raster(sample), alt, caption))
    return _section("A sample", [f"Sample {sample['index']}{label}{decided}."], drawings)


def _map(values: Values, picture: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    mapping, energy = values["mapping"], values.get("energy")
    names = [row["name"] for row in mapping["populations"]]
    where = f"{values['n_cores']:,} cores on {values['n_chips']} chip(s)"
    kinds = {"compartments": "compartments", "synapse_words": "synapse memory", "in_axons": "input axons"}
    drawings = [picture(pictures.cores(mapping), f"Map of {where}, coloured by population", "By population")]
    for kind, word in kinds.items():
        if kind in mapping["limits"]:
            figure = pictures.cores(mapping, kind=kind)
            drawings.append(
                picture(figure, f"Map of {where} by {word}", f"By {word}: dark is none, yellow the limit")
            )
    if energy is not None:
        figure = pictures.cores(mapping, energy, "energy")
        drawings.append(
            picture(figure, f"Map of {where} by energy", "By energy: yellow is the most of all cores")
        )
    n = mapping["mesh"]["cores_per_tile"]
    text = f"Cores where they lie on the mesh, {n} to a tile; what has no colour is free."
    return _section("Core map", [text], drawings, key=[(name, colour(k)) for k, name in enumerate(names)])


def _weights(values: Values, picture: Callable[..., dict[str, Any]]) -> dict[str, Any] | None:
    shown = [layer for layer in values["layers"] if layer.get("weight_rms_error") is not None]
    if not shown:
        return None
    worst = max(shown, key=lambda layer: layer["weight_rms_error"])
    alt = f"Rounding errors of weights by layer; the largest is {worst['name']}: {percent(worst['weight_rms_error'])}"
    drawings = [picture(pictures.rounding(shown), alt)]
    if values.get("weights"):
        names = ", ".join(values["weights"])
        alt = f"Distributions of weights before and after rounding in {names}"
        drawings.append(
            picture(pictures.weights(values["weights"]), alt, "What a spike adds, before and after")
        )
    return _section("Weights and rounding", pictures_=drawings)


def _energy(energy: Values, picture: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    joules = energy["joules"]
    largest = max(joules["by_cause"], key=lambda cause: joules["by_cause"][cause]["value"])
    drawings = [
        picture(
            pictures.energy_by(joules["by_cause"]), f"Dynamic energy by cause; most: {largest}", "By cause"
        ),
        picture(pictures.energy_by(joules["by_population"]), "Dynamic energy by layer", "By layer"),
    ]
    tables = [table.as_html() for table in energy_tables(energy)]
    return _section("Energy and time", energy_sentences(energy), drawings, tables)

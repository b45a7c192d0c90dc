"""The sections of a report as a page: texts, pictures and tables, each made from the values that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from loihi_deploy.mapping.core_plan import limit_rows, limit_table
from loihi_deploy.report import pictures
from loihi_deploy.report.cost_tables import energy_sentences, energy_tables
from loihi_deploy.report.drawing import as_svg, colour
from loihi_deploy.report.sheets import (
    LATENCY,
    frame_table,
    latency_table,
    layer_table,
    provenance_table,
    rate_table,
    stage_table,
)
from loihi_deploy.tables import Table, percent

Values = Mapping[str, Any]
Picture = Callable[..., dict[str, Any]]
TOGETHER = 8
"""Layers that are drawn in one picture: more would not fit a printed page."""


def sections(values: Values, salt: str) -> list[dict[str, Any]]:
    """The sections that the values have the data for; `salt` keeps the ids of their pictures apart.

    Returns
    -------
    list of dict
        'title', 'texts', 'pictures', 'tables', and 'key', names with colours.
    """
    made = {
        "accuracy": _accuracy,
        "stages": _stages,
        "rates": _rates,
        "sample": _sample,
        "mapping": _map,
        "n_cores": _resources,
        "weights": _weights,
        "energy": _energy,
        "latency": _latency,
        "layers": _layers,
        "warnings": _warnings,
        "provenance": _provenance,
    }
    return [make(values, partial(_picture, salt)) for name, make in made.items() if values.get(name)]


def _picture(salt: str, figure: Any, alt: str, caption: str = "", narrow: bool = False) -> dict[str, Any]:
    return {"svg": as_svg(figure, f"{salt} {alt}"), "alt": alt, "caption": caption, "narrow": narrow}


def _section(
    title: str, texts: Any = (), drawings: Any = (), tables: tuple[Table, ...] = (), key: Any = ()
) -> dict[str, Any]:
    return {
        "title": title,
        "texts": list(filter(None, texts)),
        "pictures": drawings,
        "tables": [table.as_html() for table in tables],
        "key": key,
    }


def _batches(layers: Values) -> list[dict[str, Any]]:
    """Layers by name, so many at a time as one picture takes."""
    rows = list(layers.items())
    return [dict(rows[k : k + TOGETHER]) for k in range(0, len(rows), TOGETHER)]


def _accuracy(values: Values, picture: Picture) -> dict[str, Any]:
    accuracy = values["accuracy"]
    unit = "frame" if "by_frame" in accuracy else "step"
    alt = f"Accuracy against presentation time by {unit}; {percent(accuracy['value'])} at the end"
    caption = f"Accuracy, had every presentation ended after each {unit}"
    drawings = [picture(pictures.accuracy_by_step(accuracy), alt, caption)]
    if "confusion" in accuracy:
        right = sum(row[k] for k, row in enumerate(accuracy["confusion"]))
        what = accuracy["counted"]
        alt = f"Confusion matrix: {right:,} of {accuracy['n_total']:,} {what} on the diagonal"
        figure = pictures.confusion(accuracy["confusion"])
        drawings.append(picture(figure, alt, f"{what.capitalize()} by class and decision", narrow=True))
    tables = (frame_table(values),) if "by_frame" in accuracy else ()
    return _section("Accuracy", drawings=drawings, tables=tables)


def _stages(values: Values, picture: Picture) -> dict[str, Any]:
    n = values["stages"]["samples"]
    text = f"On {n} samples, evenly spaced: where decisions and firing rates change on the way to the chip."
    return _section("Stage by stage", [text], tables=(stage_table(values["stages"]["stages"]),))


def _rates(values: Values, picture: Picture) -> dict[str, Any]:
    layers = values["rates"]["layers"]
    silent = sum(layer["silent"] for layer in layers.values())
    neurons = sum(layer["neurons"] for layer in layers.values())
    alt = f"Distributions of firing rates by layer; {silent:,} of {neurons:,} neurons are silent"
    drawings = [
        picture(pictures.rates(some, k * TOGETHER), alt if k == 0 else f"Firing rates of {', '.join(some)}")
        for k, some in enumerate(_batches(layers))
    ]
    return _section("Firing rates", (), drawings, (rate_table(values),))


def _sample(values: Values, picture: Picture) -> dict[str, Any]:
    sample = values["sample"]
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


def _map(values: Values, picture: Picture) -> dict[str, Any]:
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


def _resources(values: Values, picture: Picture) -> dict[str, Any]:
    rows = limit_rows(values["mapping"])
    binding = next(row for row in rows if row["binding"])
    needed = f"{binding['needed']:.1f} cores"
    text = f"Binding: {binding['what']}. All layers together need {needed} for it, whatever the plan."
    bound = f"{values['n_cores']:,} cores; any plan needs {values['mapping']['bound']:,} or more."
    caption = "Pale: sizes and numbers of kinds, which may be reached while the core has room"
    drawing = picture(pictures.resources(rows), f"The fullest core beside each limit. {text}", caption)
    return _section("Resources", [text, bound], [drawing], (limit_table(values["mapping"]),))


def _weights(values: Values, picture: Picture) -> dict[str, Any]:
    shown = [layer for layer in values["layers"] if layer.get("weight_rms_error") is not None]
    worst = max(shown, key=lambda layer: layer["weight_rms_error"])
    alt = f"Rounding errors of weights by layer; the largest is {worst['name']}: {percent(worst['weight_rms_error'])}"
    drawings = [picture(pictures.rounding(shown), alt)]
    alt = f"Distributions of weights before and after rounding in {', '.join(values['weights'])}"
    for k, some in enumerate(_batches(values["weights"])):
        text = alt if k == 0 else f"Distributions of weights in {', '.join(some)}"
        drawings.append(picture(pictures.weights(some), text, "What a spike adds, before and after"))
    return _section("Weights and rounding", drawings=drawings)


def _energy(values: Values, picture: Picture) -> dict[str, Any]:
    energy, joules = values["energy"], values["energy"]["joules"]
    largest = max(joules["by_cause"], key=lambda cause: joules["by_cause"][cause]["value"])
    drawings = [
        picture(
            pictures.energy_by(joules["by_cause"]), f"Dynamic energy by cause; most: {largest}", "By cause"
        ),
        picture(pictures.energy_by(joules["by_population"]), "Dynamic energy by layer", "By layer"),
    ]
    return _section("Energy and time", energy_sentences(energy), drawings, tuple(energy_tables(energy)))


def _latency(values: Values, picture: Picture) -> dict[str, Any]:
    return _section("Latency", [LATENCY], tables=(latency_table(values),))


def _layers(values: Values, picture: Picture) -> dict[str, Any]:
    return _section("Layers", tables=(layer_table(values),))


def _warnings(values: Values, picture: Picture) -> dict[str, Any]:
    return _section("Warnings", map(str, values["warnings"]))


def _provenance(values: Values, picture: Picture) -> dict[str, Any]:
    return _section("Where it comes from", tables=(provenance_table(values),))

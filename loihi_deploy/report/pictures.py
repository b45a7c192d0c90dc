"""Figures of a report, drawn from its values with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

import numpy as np

from loihi_deploy.report.drawing import BAD, GOOD, WIDTH, colour, new_figure, short

Values = Mapping[str, Any]


def accuracy_by_step(accuracy: Values) -> Any:
    """Accuracy against presentation time, of sequences by frame; the rate network as a line."""
    figure, axes = new_figure(2.6)
    if "by_frame" in accuracy:
        found = accuracy["by_frame"]
        times = np.arange(1, len(found) + 1)
        axes.plot(times, 100 * np.asarray(found), "o-", ms=4, color=GOOD, lw=1.8, label="this deployment")
        axes.set(xlabel="frames", ylabel="accuracy, %")
    else:
        found = accuracy["by_step"]
        times = np.arange(1, len(found) + 1)
        axes.plot(times, 100 * np.asarray(found), color=GOOD, lw=1.8, label="this deployment")
        axes.set(xlabel="presentation time, steps", ylabel="accuracy, %", xlim=(1, max(2, len(found))))
    if "rate_network" in accuracy:
        axes.axhline(100 * accuracy["rate_network"], color=colour(1), ls="--", lw=1.2, label="rate network")
    axes.set_ylim(0, max(1.0, 1.15 * axes.get_ylim()[1]) if axes.get_ylim()[1] < 85 else 101)
    axes.legend(loc="lower right")
    return figure


def confusion(matrix: Any) -> Any:
    """Samples by class and decision, each row in parts of its class."""
    counts = np.asarray(matrix, float)
    n = len(counts)
    figure, axes = new_figure(4.6)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if n <= 12:
        for row, column in np.ndindex(n, n):
            if counts[row, column]:
                ink = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=ink, size=8
                )
        axes.set_xticks(range(n))
        axes.set_yticks(range(n))
    axes.set(xlabel="decided", ylabel="class")
    return figure


def rates(layers: Values, first: int = 0) -> Any:
    """The distribution of firing rates of each layer; `first` is the place of the first among all."""
    columns = 2 if len(layers) > 1 else 1
    rows = -(-len(layers) // columns)
    figure, axes = new_figure(0.5 + 1.35 * rows, rows, columns, squeeze=False)
    for k, (name, layer) in enumerate(layers.items()):
        each = axes[k // columns, k % columns]
        edges, counts = np.asarray(layer["edges"]), np.asarray(layer["counts"])
        each.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colour(first + k))
        each.set_yscale("symlog", linthresh=1)
        each.set_title(f"{_short(name)}: mean {layer['mean']:.1f} Hz", loc="left")
        each.tick_params(labelsize=7)
        if k >= len(layers) - columns:
            each.set_xlabel("Hz")
    for k in range(len(layers), rows * columns):
        axes[k // columns, k % columns].set_visible(False)
    figure.supylabel("neurons", size=9)
    return figure


def rates_by_epoch(history: Mapping[str, Any], low: float, high: float) -> Any:
    """A line for each layer's rate by epoch of a training, and the range that it should be in."""
    figure, axes = new_figure(2.6)
    for k, (name, found) in enumerate(history.items()):
        axes.plot(np.arange(1, len(found) + 1), found, color=colour(k), marker=".", label=_short(name))
    for bound in (low, high):
        if 0 < bound < np.inf:
            axes.axhline(bound, color=BAD, ls=":", lw=1)
    axes.set(xlabel="epoch", ylabel="Hz", ylim=(0, None))
    axes.legend(fontsize=7)
    return figure


def raster(sample: Values) -> Any:
    """Spikes of one sample, a band for each layer; dense, so its dots are drawn as an image."""
    layers = {name: layer for name, layer in sample["raster"].items() if layer["shown"]}
    band = min(0.75, 8 / max(len(layers), 1))  # so that many fit a printed page
    figure, axes = new_figure(0.7 + band * len(layers), len(layers), 1, sharex=True, squeeze=False)
    for k, (name, layer) in enumerate(layers.items()):
        each = axes[k, 0]
        each.plot(
            np.asarray(layer["steps"]) + 1,
            layer["places"],
            ".",
            ms=3.2,
            mew=0,
            color=colour(k),
            rasterized=True,
        )
        each.set(ylim=(-1, layer["shown"]), xlim=(0.5, sample["steps"] + 0.5), yticks=[])
        each.set_ylabel(_short(name), rotation=0, ha="right", va="center")
    axes[-1, 0].set_xlabel("step")
    return figure


def outputs_by_step(sample: Values) -> Any:
    """Decoded outputs of one sample against presentation time."""
    values, times = np.asarray(sample["outputs_by_step"]), sample["output_steps"]
    figure, axes = new_figure(2.6)
    shown = np.sort(np.argsort(-values[-1], kind="stable")[:8])
    for k in shown:
        strong = k == sample.get("decision")
        axes.plot(times, values[:, k], color=colour(int(k)), lw=2.2 if strong else 1.0, label=f"{k}")
    axes.set(xlabel="presentation time, steps", ylabel="output")
    axes.legend(ncols=2, title="output", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def inputs(shape: Any, frames: Any) -> Any:
    """The input of one sample: an image, or a series over frames."""
    values = np.asarray(frames, float)
    figure, axes = new_figure(2.2)
    if len(shape) == 3 and shape[2] in (1, 3):
        image = values[0].reshape(shape)
        low, high = float(image.min()), float(image.max())
        scaled = (image - low) / (high - low or 1.0)
        axes.imshow(scaled if shape[2] == 3 else scaled[:, :, 0], cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    elif len(values) > 1:
        axes.plot(values[:, :8], lw=1.2)
        axes.set(xlabel="frame", ylabel="value")
    else:
        axes.plot(values[0], lw=1.2, color=GOOD)
        axes.set(xlabel="place", ylabel="value")
    return figure


def cores(mapping: Values, energy: Values | None = None, kind: str = "population") -> Any:
    """Cores of each chip on its mesh, coloured by population, by a usage in parts of its limit, or by energy."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    mesh, chips = mapping["mesh"], sorted({core["chip"] for core in mapping["cores"]})
    beside = min(len(chips), 3)
    rows = -(-len(chips) // beside)
    height = (WIDTH / beside) * mesh["rows"] / mesh["columns"] + 0.3
    figure, axes = new_figure(0.1 + rows * height, rows, beside, squeeze=False)
    panels = dict(zip(chips, axes.ravel(), strict=False))
    for unused in axes.ravel()[len(chips) :]:
        unused.set_visible(False)
    for chip, panel in panels.items():
        _tiles(panel, mesh)
        panel.set_title(f"chip {chip}", loc="left")
    names = [row["name"] for row in mapping["populations"]]
    joules = None if energy is None else [row["value"] for row in energy["joules"]["by_core"]]
    for core in mapping["cores"]:
        if kind == "population":
            shades = [colour(names.index(name)) for name in core["populations"]]
        else:
            shades = [to_hex(colormaps["viridis"](_share(mapping, core, kind, joules)))]
        _core(panels[core["chip"]], core["number"], mesh, shades)
    return figure


def _tiles(panel: Any, mesh: Values) -> None:
    """The outlines of all tiles of a chip."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    places = np.ndindex(mesh["rows"], mesh["columns"])
    outlines = [Rectangle((column + 0.03, row + 0.03), 0.94, 0.94) for row, column in places]
    ink = panel.xaxis.label.get_color()
    panel.add_collection(PatchCollection(outlines, facecolor="none", edgecolor=ink, lw=0.5, alpha=0.5))
    panel.set(xlim=(0, mesh["columns"]), ylim=(mesh["rows"], 0), aspect="equal")
    panel.set_axis_off()


def _core(panel: Any, number: int, mesh: Values, shades: list[str]) -> None:
    """A core at its place in its tile, in a stripe for each colour."""
    from matplotlib.patches import Rectangle

    tile, place = divmod(number, mesh["cores_per_tile"])
    row, column = divmod(tile, mesh["columns"])
    side = ceil(sqrt(mesh["cores_per_tile"]))
    size = 0.82 / side
    x, y = column + 0.09 + (place % side) * size, row + 0.09 + (place // side) * size
    width = 0.9 * size / len(shades)
    for k, shade in enumerate(shades):
        panel.add_patch(Rectangle((x + k * width, y), width, 0.9 * size, facecolor=shade, lw=0))


def _share(mapping: Values, core: Values, kind: str, joules: Any) -> float:
    """How much of the most that there is a core has of something."""
    if kind == "energy":
        return float(joules[core["core"]] / (max(joules) or 1.0))
    return float(core["usage"][kind] / max(mapping["limits"][kind], 1))


def resources(rows: Any) -> Any:
    """The fullest core beside each limit: the binding one and those exceeded marked, what does not add up pale."""
    shown = [row for row in rows if row["share"] > 0]
    figure, axes = new_figure(0.6 + 0.21 * max(len(shown), 1))
    places = np.arange(len(shown))[::-1]
    shades = [BAD if row["exceeded"] else colour(1) if row["binding"] else GOOD for row in shown]
    for place, row, shade in zip(places, shown, shades, strict=True):
        axes.barh(
            place, 100 * row["share"], color=shade, alpha=1.0 if row["adds_up"] or row["exceeded"] else 0.35
        )
    axes.set_yticks(places, [row["what"] for row in shown])
    axes.axvline(100, color=BAD, lw=1, ls=":")
    axes.set(xlabel="% of the limit, in the fullest core")
    return figure


def rounding(layers: Any) -> Any:
    """Rounding errors of weights by layer."""
    shown = [layer for layer in layers if layer.get("weight_rms_error") is not None]
    figure, axes = new_figure(0.6 + 0.24 * len(shown))
    places = np.arange(len(shown))[::-1]
    axes.barh(places, [100 * layer["weight_rms_error"] for layer in shown], color=GOOD)
    axes.set_yticks(places, [_short(layer["name"]) for layer in shown])
    axes.set(xlabel="rounding error of weights, % of their root mean square")
    return figure


def weights(distributions: Values) -> Any:
    """Distribution of integer weights of each layer."""
    columns = 2 if len(distributions) > 1 else 1
    rows = -(-len(distributions) // columns)
    figure, axes = new_figure(0.4 + 1.2 * rows, rows, columns, squeeze=False)
    for k, (name, found) in enumerate(distributions.items()):
        each = axes[k // columns, k % columns]
        edges = np.asarray(found["edges"])
        each.stairs(found["before"], edges, color=colour(1), lw=1.2, label="before")
        each.stairs(found["after"], edges, color=GOOD, fill=True, alpha=0.55, label="after")
        each.set_title(_short(name), loc="left")
        each.set_yscale("symlog", linthresh=1)
        each.tick_params(labelsize=7)
        if k == 0:
            each.legend(fontsize=7)
    for k in range(len(distributions), rows * columns):
        axes[k // columns, k % columns].set_visible(False)
    return figure


def energy_by(rows: Values, unit: float = 1e-6) -> Any:
    """Energy by cause or layer, in microjoules per sample, with its range."""
    shown = {name: row for name, row in rows.items() if row["value"] > 0}
    figure, axes = new_figure(0.6 + 0.24 * max(len(shown), 1))
    places = np.arange(len(shown))[::-1]
    values = np.array([row["value"] for row in shown.values()]) / unit
    ends = np.array([[row["low"], row["high"]] for row in shown.values()]).reshape(-1, 2).T / unit
    axes.barh(places, values, color=GOOD)
    axes.errorbar(values, places, xerr=np.abs(ends - values), fmt="none", ecolor=colour(1), lw=1.2)
    axes.set_yticks(places, [_short(name) for name in shown])
    axes.set(xlabel="µJ per sample")
    return figure


def _short(name: str) -> str:
    return short(name).replace("$", r"\$")

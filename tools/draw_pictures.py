"""The pictures of docs/, drawn from networks that run: ``python tools/draw_pictures.py`` or ``make pictures``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.ir import NeuronModel

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
NETWORK = "nxtf-mnist"
HOST, CHIP, INK = "#4c8a5b", "#3b6ea8", "#333333"

matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **named: Any) -> tuple[Any, Any]:
    """A figure on white, which dark pages can show too, and its axes."""
    from matplotlib.figure import Figure

    made = Figure((width, height), layout="constrained")
    return made, made.subplots(rows, columns, **named)


def rectified() -> ld.Graph:
    """The network that most pictures show, of rectified linear neurons as a Keras model has them."""
    graph = ld.benchmarks.NETWORKS[NETWORK]()
    return replace(graph, populations=tuple(replace(p, neuron=NeuronModel()) for p in graph.populations))


def deployed(**options: Any) -> ld.Deployment:
    """That network on a board."""
    calibration = ld.benchmarks.inputs(NETWORK, 20, seed=1)
    options.setdefault("target_rate", 200.0)
    return ld.deploy(
        rectified(), board="nahuku32", calibration=calibration, options=ld.DeployOptions(**options)
    )


def pipeline() -> Any:
    """What `deploy` does, and what of the result runs where."""
    made, axes = figure(8, 2.6)
    axes.set(xlim=(0, 100), ylim=(0, 33))
    axes.axis("off")
    stages = ["convert", "normalize", "partition", "correct_biases", "quantize", "map_to_cores"]
    for i, stage in enumerate(stages):
        x = 1 + 16.6 * i
        axes.text(x + 7.5, 28, stage, ha="center", va="center", color=INK, family="monospace", fontsize=8)
        axes.add_patch(_box(x, 25, 15, 6, "#eeeeee"))
        if i:
            _arrow(axes, x - 1.6, 28, x, 28)
    parts = [
        (1, 12, "values", None),
        (16, 16, "encoder\nneurons in floats", HOST),
        (38, 26, "layers of compartments\nintegers on neurocores", CHIP),
        (70, 16, "readout\nfilter and decode", HOST),
        (90, 9, "answer", None),
    ]
    for x, width, text, colour in parts:
        if colour:
            axes.add_patch(_box(x, 6, width, 10, colour))
        axes.text(x + width / 2, 11, text, ha="center", va="center", color="white" if colour else INK)
    for x, end, text in ((12, 16, ""), (32, 38, "spikes"), (64, 70, "spikes"), (86, 90, "")):
        _arrow(axes, x, 11, end, 11)
        axes.text((x + end) / 2, 12.5, text, ha="center", fontsize=7, color=INK)
    for x, width, text in ((16, 16, "host"), (38, 26, "chip"), (70, 16, "host")):
        axes.text(x + width / 2, 3, text, ha="center", color=INK)
    return made


def _box(x: float, y: float, width: float, height: float, colour: str) -> Any:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=1"
    return FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor="none", zorder=0)


def _arrow(axes: Any, x: float, y: float, end_x: float, end_y: float) -> None:
    axes.annotate("", (end_x, end_y), (x, y), arrowprops={"arrowstyle": "->", "color": INK})


def arithmetic() -> Any:
    """Current, voltage and spikes of one neuron."""
    deployment = deployed()
    layer, steps = "conv1", 60
    x = ld.benchmarks.inputs(NETWORK, 1)
    recorded = deployment.run(x, steps=steps, record={layer: ["spikes", "u", "v"]}).recorded[layer]
    spikes = recorded["spikes"][0]
    neuron = int(np.argmin(np.abs(spikes.sum(axis=0) - 7)))
    made, (upper, lower) = figure(7, 3.4, 2, sharex=True)
    upper.step(np.arange(1, steps + 1), recorded["u"][0, :, neuron], where="mid", color=CHIP)
    upper.axhline(0, color="#cccccc", linewidth=0.8)
    upper.set_ylabel("current u")
    lower.step(np.arange(1, steps + 1), recorded["v"][0, :, neuron], where="mid", color=CHIP)
    threshold = next(p.threshold for p in deployment.program.populations if p.name == layer)
    lower.axhline(threshold, color="#b5482a", linewidth=0.8, linestyle="--")
    lower.text(steps, threshold, "threshold", ha="right", va="bottom", color="#b5482a", fontsize=8)
    for step in np.flatnonzero(spikes[:, neuron]) + 1:
        lower.axvline(step, color="#b5482a", linewidth=0.6, alpha=0.5)
    lower.set(xlabel="step", ylabel="voltage v")
    return made


def quantization() -> Any:
    """Weights of a layer before and after rounding, with three numbers of bits."""
    graph = ld.benchmarks.NETWORKS[NETWORK]()
    made, panels = figure(8, 2.4, 1, 3, sharey=True)
    for panel, bits in zip(panels, (8, 5, 3), strict=True):
        program = ld.quantize(ld.partition(graph), "nahuku32", weight_bits=bits)
        synapses = program.into("conv2")[0]
        values = synapses.transform.values.astype(np.int64) << synapses.shift
        places, counts = np.unique(values, return_counts=True)
        panel.vlines(places, 0, counts / counts.max(), color=CHIP, linewidth=1.2)
        panel.set(title=f"{bits} bits: {len(places)} values", xlabel="weight on the chip")
    panels[0].set_ylabel("how many")
    return made


def bias_correction() -> Any:
    """Outputs of the deployment against those of the rate network."""
    x = ld.benchmarks.inputs(NETWORK, 60, seed=2)
    expected = rate_outputs(rectified(), {"input": x.reshape(len(x), -1)})["output"]
    made, panels = figure(7, 3.2, 1, 2, sharex=True, sharey=True)
    for panel, steps in zip(panels, (0, 100), strict=True):
        found = deployed(bias_correction_steps=steps, target_rate=700.0).run(x, steps=100).outputs
        ends = [expected.min(), expected.max()]
        panel.plot(ends, ends, color="#999999", linewidth=0.8)
        panel.plot(expected[::2].ravel(), found[::2].ravel(), ".", color=CHIP, markersize=3)
        panel.set(title="corrected" if steps else "not corrected", xlabel="output of the rate network")
    panels[0].set_ylabel("output of the deployment")
    return made


def mapping() -> Any:
    """The cores of a deployment."""
    options = ld.DeployOptions(normalization="none", bias_correction_steps=0)
    graph = ld.benchmarks.NETWORKS["cifar10-convnet"]()
    return ld.deploy(graph, board="nahuku32", options=options).plot.cores()


def energy() -> Any:
    """Energy by cause, of a long presentation and of a short one that the network is deployed for."""
    x = ld.benchmarks.inputs(NETWORK, 10, seed=2)
    made, axes = figure(7, 2.8)
    for place, (steps, colour) in enumerate(((100, CHIP), (20, HOST))):
        options: dict[str, Any] = {"steps": steps, "target_rate": 700.0} if steps < 50 else {}
        found = deployed(**options).energy(x, steps=steps)
        causes = [(cause, part) for cause, part in found.by_cause.items() if part.high]
        middle = np.array([part.value for _, part in causes]) * 1e6
        ends = np.abs(np.array([[part.low, part.high] for _, part in causes]).T * 1e6 - middle)
        rows = np.arange(len(causes)) + 0.4 * place
        axes.barh(
            rows, middle, 0.38, xerr=ends, color=colour, label=f"{steps} steps", error_kw={"elinewidth": 0.8}
        )
        axes.set_yticks(rows - 0.2, [cause for cause, _ in causes])
    axes.invert_yaxis()
    axes.set(xlabel="µJ for one image, with its range")
    axes.legend(frameon=False, loc="center right")
    return made


PICTURES: tuple[Callable[[], Any], ...] = (
    pipeline,
    arithmetic,
    quantization,
    bias_correction,
    mapping,
    energy,
)


def draw(folder: Path) -> None:
    """Write every picture into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        made = picture()
        path = folder / f"{picture.__name__}.svg"
        with matplotlib.rc_context({"svg.hashsalt": path.stem}):  # the same file whenever it is drawn
            made.savefig(path, facecolor="white", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)

"""The demonstration: a network from training to spikes, and what each step costs in accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from loihi_deploy.data import Dataset
from loihi_deploy.engines.spiking_network import spiking_outputs
from loihi_deploy.files import make_folder
from loihi_deploy.ir import samples_for
from loihi_deploy.pipeline import deploy
from loihi_deploy.report import check_report, counters_values, encoder_values, summary
from loihi_deploy.training import train_convnet

REFERENCE_SAMPLES = 20
CALIBRATION_SAMPLES = 500
REPORTED_SAMPLES = 500


def run_demo(
    data: Dataset,
    board: str,
    steps: int,
    epochs: int,
    n_test: int | None,
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train, deploy and compare; write the deployment and a report.

    Parameters
    ----------
    data : Dataset
    board : str
    steps : int
        Presentation time.
    epochs : int
        Of training.
    n_test : int or None
        Use only so many test images.
    folder : Path
        For ``demo.loihi`` and its ``report.html``; made if missing.
    say : callable
        Takes a line about what happens now.

    Returns
    -------
    dict
        Plain values: what `loihi_deploy.report.demo_page` shows.

    Raises
    ------
    LoihiDeployError
        As `deploy`; OutputError if the folder cannot be written, MissingExtraError without what a report needs.
    """
    make_folder(folder)
    report = folder / "report.html"
    check_report(report)
    x, y = data.x_test[:n_test], data.y_test[:n_test]
    comparison = []

    def compare(network: str, accuracy: float, images: int, start: float) -> None:
        seconds = time.perf_counter() - start
        comparison.append({"network": network, "accuracy": accuracy, "images": images, "seconds": seconds})

    say(f"Training on {len(data.x_train):,} images of {data.name}, {epochs} epochs ...")
    model = train_convnet(data, epochs)
    say(f"Compiling for {board} ...")
    deployment = deploy(model, board, data.x_train[:CALIBRATION_SAMPLES])
    deployment.save(folder / "demo.loihi")

    say("Comparing on the test images ...")
    start = time.perf_counter()
    compare("rate network, floats", deployment.rate_accuracy(x, y), len(x), start)
    start = time.perf_counter()
    window = deployment.options.readout_window
    outputs = spiking_outputs(deployment.graph, samples_for(deployment.graph, x).arrays, steps, window)
    labels = deployment.check_labels(y, len(x))
    compare("spiking network, floats", float((outputs.argmax(axis=1) == labels).mean()), len(x), start)
    start = time.perf_counter()
    emulated = deployment.evaluate(x, y, steps)
    compare("integers, our emulator", emulated.accuracy, len(x), start)

    n_reference = min(REFERENCE_SAMPLES, len(x))
    say(f"Running {n_reference} images on nengo-loihi's emulator ...")
    everywhere = [population.name for population in deployment.program.populations]
    start = time.perf_counter()
    theirs = deployment.run(x[:n_reference], steps, backend="nengo_loihi", record=everywhere)
    correct = theirs.outputs.argmax(axis=1) == labels[:n_reference]
    compare("integers, nengo-loihi's emulator", float(correct.mean()), n_reference, start)
    ours = deployment.run(x[:n_reference], steps, record=everywhere)
    equal = all(
        np.array_equal(ours.recorded[name]["spikes"], theirs.recorded[name]["spikes"]) for name in everywhere
    )

    figures = summary(deployment.program, deployment.mapping)
    activity = counters_values(emulated.counters, deployment.program.dt)
    figures["encoder"] = encoder_values(deployment.program, emulated.counters)
    for layer in figures["layers"]:
        layer["firing_rate"] = activity["populations"][layer["name"]]["firing_rate"]
    result = {
        "data": data.name,
        "steps": steps,
        "n_train": len(data.x_train),
        "n_test": len(x),
        "accuracy_rate": comparison[0]["accuracy"],
        "accuracy_spiking": comparison[1]["accuracy"],
        "accuracy_emulator": comparison[2]["accuracy"],
        "accuracy_reference": comparison[3]["accuracy"],
        "reference_samples": n_reference,
        "reference_spikes_equal": equal,
        "comparison": comparison,
        **figures,
        "activity": activity,
    }
    deployment.report(report, x[:REPORTED_SAMPLES], y[:REPORTED_SAMPLES], steps, command="loihi-deploy demo")
    say(f"Report: {report}; deployment: {folder / 'demo.loihi'}")
    return result

"""Deployments of every kind, saved for good: ``python tools/format_files.py tests/files/version_N``.

Run once for each version of the file format, by the code that first writes it; `tests/test_files_for_years.py` then
loads and runs them for ever. Each ``.loihi`` file has an ``.npz`` beside it: samples, and the spikes and outputs that
they gave.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import loihi_deploy as ld
from loihi_deploy.deployment import Deployment
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    Graph,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Sparse,
)
from loihi_deploy.ir.program import Noise

STEPS = 30
ONE = np.array(1.0)


def images(rng: np.random.Generator) -> Graph:
    """Two convolutions, one of them with groups, and a dense readout."""
    shapes = (8, 8, 1), (8, 8, 4), (4, 4, 6)
    kernel = rng.normal(0, 0.4, (3, 3, 2, 6))
    return Graph(
        (Input("image", shapes[0]),),
        (
            Population("first", shapes[1], NeuronModel(), ONE, rng.uniform(0, 0.3, 256)),
            Population("second", shapes[2], NeuronModel(), ONE, np.tile(rng.uniform(0, 0.2, 6), 16)),
            Population("third", (10,), NeuronModel(), ONE, 0.1 * ONE),
        ),
        (
            Projection(
                "image", "first", Conv2D(rng.uniform(-1, 1, (1, 1, 1, 4)), (1, 1), (0, 0), *shapes[:2])
            ),
            Projection("first", "second", Conv2D(kernel, (2, 2), (1, 1), *shapes[1:], 2), 0.003),
            Projection("second", "third", Dense(rng.normal(0, 0.2, (10, 96))), 0.003),
            Projection("third", "out", Dense(rng.normal(0, 1, (3, 10))), 0.003),
        ),
        (Readout("out", (3,), np.zeros(3), "softmax"),),
    )


def recurrent(rng: np.random.Generator) -> Graph:
    """Leaky neurons with a sparse loop, gains of their own and a skipped layer."""
    loop = _sparse(rng.normal(0, 0.004, (20, 20)) * (rng.random((20, 20)) < 0.2))
    lif = NeuronModel("lif", 0.02, 0.002)
    return Graph(
        (Input("x", (5,)),),
        (
            Population("a", (12,), NeuronModel(), 200.0 * ONE, 0.0 * ONE),
            Population("b", (20,), lif, rng.uniform(0.5, 1.5, 20), 0.8 * ONE),
            Population("c", (7,), lif, ONE, 0.9 * ONE),
        ),
        (
            Projection("x", "a", Dense(rng.uniform(0, 1, (12, 5)))),
            Projection("a", "b", Dense(rng.normal(0.002, 0.004, (20, 12))), 0.005),
            Projection("b", "b", loop, 0.005),
            Projection("b", "c", Dense(rng.normal(0, 0.004, (7, 20))), 0.005),
            Projection("a", "c", Dense(rng.normal(0.001, 0.002, (7, 12))), 0.005),
            Projection("c", "out", Dense(rng.normal(0, 1, (2, 7))), 0.01),
        ),
        (Readout("out", (2,), np.zeros(2)),),
    )


def _sparse(values: NDArray[np.float64]) -> Sparse:
    rows, columns = np.nonzero(values)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(values)))])
    return Sparse(values[rows, columns], columns, starts, values.shape[1])


def deployments(rng: np.random.Generator) -> dict[str, tuple[Deployment, Any]]:
    """Every kind of deployment, each with samples."""
    made: dict[str, tuple[Deployment, Any]] = {}
    x = rng.uniform(0, 1, (3, 64)).reshape(3, 8, 8, 1)
    for encoder in ("first_layer", "on_off", "bias", "poisson", "ttfs"):
        options = ld.DeployOptions(encoder=encoder, rounding="mean" if encoder == "bias" else "nearest")
        made[encoder] = ld.deploy(images(np.random.default_rng(1)), "kapoho_bay", x, options), x

    board = ld.load_board("loihi")
    arithmetic = replace(board.chip.arithmetic, threshold_mantissa_max=5000, accumulator_bits=18)
    own = replace(board, name="own", chip=replace(board.chip, name="own", arithmetic=arithmetic))
    made["own_chip"] = ld.deploy(images(np.random.default_rng(1)), own, x), x

    x = rng.uniform(0, 1, (3, 5))
    options = ld.DeployOptions(normalization="none", encoder="first_layer")
    plain = ld.deploy(recurrent(np.random.default_rng(2)), "loihi", x, options)
    made["lif"] = plain, x
    noisy = tuple(
        replace(
            p,
            noise=Noise(9, 1, at_membrane=p.name == "c") if p.name == "c" else None,
            initial_voltage=np.arange(p.size) * 100,
        )
        for p in plain.program.populations
    )
    links = tuple(
        Link(link.population, link.kind, 3 if link.kind == "to_chip" else link.delay)
        for link in plain.program.links
    )
    program = replace(plain.program, populations=noisy, links=links)
    made["noise_and_delays"] = replace(plain, program=program, mapping=ld.map_to_cores(program, "loihi")), x
    return made


def main(folder: Path) -> None:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (deployment, x) in deployments(np.random.default_rng(0)).items():
        names = [p.name for p in deployment.program.populations]
        result = deployment.run(x, steps=STEPS, record=names, seed=3)
        spikes = {f"spikes_{name}": np.packbits(result.recorded[name]["spikes"], axis=-1) for name in names}
        deployment.save(folder / f"{name}.loihi")
        np.savez_compressed(folder / f"{name}.npz", x=x, outputs=result.outputs, **spikes)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""From real values to bias currents: the encoder without spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.chip.fixed_point import bias_mantissa_exponent
from loihi_deploy.errors import Problem
from loihi_deploy.ir.program import Program


def biases(
    program: Program, inputs: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[np.int32]], dict[str, int]]:
    """Integer biases of the populations that take them from the input.

    Parameters
    ----------
    program : Program
    inputs : dict of (n, n_frames, size) arrays

    Returns
    -------
    biases : dict of (n, n_frames, size) int32 arrays
        By population: a mantissa of 12 bits (and sign) times 2^(0..7).
    clipped : dict of int
        Values beyond that range, by population.
    """
    found, clipped = {}, {}
    for bias_input in program.bias_inputs:
        name = bias_input.population
        n, n_frames = next(iter(inputs.values())).shape[:2]
        total = np.zeros((n * n_frames, program.nodes[name].size))
        for projection in program.encoder.into(name):
            frames = inputs[projection.pre].astype(np.float64).reshape(n * n_frames, -1)
            total += projection.transform.apply(frames)
        exact = np.round(total * bias_input.scale)
        clipped[name] = int((np.abs(exact) > bias_input.limit).sum())
        exact = np.clip(exact, -bias_input.limit, bias_input.limit)
        mantissa, exponent = bias_mantissa_exponent(exact, bias_input.mantissa_max)
        found[name] = (mantissa << exponent).reshape(n, n_frames, -1)
    return found, clipped


def sign_problems(program: Program, inputs: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    """Values below 0 where only on neurons stand for them."""
    names = {bias_input.population for bias_input in program.bias_inputs}
    driving = {p.pre for p in program.encoder.projections if p.post in names}
    for node in program.encoder.inputs:
        if node.name in driving and not node.signed and (inputs[node.name] < 0).any():
            yield Problem(
                "there were no values below 0 in the calibration data, so there are no neurons for them",
                f"input '{node.name}'",
                float(inputs[node.name].min()),
                "0 or more",
                "Deploy it again with calibration samples that have such values",
            )

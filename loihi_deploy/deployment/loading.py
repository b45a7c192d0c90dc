"""Reading a saved deployment."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from loihi_deploy.artifact import read_artifact
from loihi_deploy.checked import checked
from loihi_deploy.chip.hardware import Arithmetic
from loihi_deploy.deployment.deployment import Deployment
from loihi_deploy.errors import ArtifactError, InputError
from loihi_deploy.file_kinds import file_kind, wrong_kind
from loihi_deploy.ir import (
    Conv2D,
    Dense,
    FrameMemory,
    Graph,
    HostMap,
    Input,
    Link,
    NeuronModel,
    Population,
    Projection,
    Readout,
    Sparse,
)
from loihi_deploy.ir.program import (
    BiasInput,
    Compartments,
    HostLimit,
    Noise,
    Program,
    ScaleGroup,
    SpikeSource,
    Synapses,
)
from loihi_deploy.mapping import SAVED_TYPES as MAPPING_TYPES
from loihi_deploy.options import DeployOptions

SAVED_TYPES = (
    *(Conv2D, Dense, Sparse, FrameMemory, Graph, HostMap, Input),
    *(Population, NeuronModel, Projection, Readout, Link),
    *(BiasInput, Compartments, HostLimit, Noise, Program, ScaleGroup, SpikeSource, Synapses),
    *(Arithmetic, DeployOptions),
    *MAPPING_TYPES,
)


@checked
def load(path: str | os.PathLike[str]) -> Deployment:
    """Read a saved deployment; needs neither TensorFlow nor Nengo.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, truncated, altered, or written by a newer version.
    """
    if file_kind(path) not in ("loihi", "unknown", "missing"):
        raise ArtifactError("The file is not a deployment", wrong_kind(path))
    content = read_artifact(path, SAVED_TYPES)
    try:
        deployment = Deployment(**content)
    except TypeError as error:
        raise ArtifactError.single("does not hold a deployment", str(Path(path)), str(error)) from error
    except InputError as error:
        raise ArtifactError(f"The parts of {Path(path)} are not of one deployment", error.problems) from error
    if deployment.mapping.program_digest == deployment.program.digest:
        return deployment
    if deployment.mapping.program_digest:
        raise ArtifactError.single("the mapping was made for another program", str(Path(path)))
    mapping = replace(deployment.mapping, program_digest=deployment.program.digest)  # an upgraded program
    return replace(deployment, mapping=mapping)

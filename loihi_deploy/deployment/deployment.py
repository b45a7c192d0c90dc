"""A network made ready for a board, as one value: run it, evaluate it, save it and load it again."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from loihi_deploy.artifact import write_artifact
from loihi_deploy.checked import checked
from loihi_deploy.deployment.answers import Answering
from loihi_deploy.deployment.comparisons import Comparing
from loihi_deploy.deployment.views import Showing
from loihi_deploy.errors import InputError
from loihi_deploy.files import PathOrStream
from loihi_deploy.ir import Graph, Samples, samples_for
from loihi_deploy.ir.program import Program
from loihi_deploy.mapping import Mapping
from loihi_deploy.options import DeployOptions


@dataclass(frozen=True, eq=False)
class Deployment(Answering, Comparing, Showing):
    """Everything needed to run a network on a board, without the framework that made it.

    Parameters
    ----------
    graph : Graph
        The normalized float network, for comparisons.
    program : Program
        The integers: all that an emulator needs.
    mapping : Mapping
        Cores and chips of a board.
    options : DeployOptions
    provenance : dict
        Versions, and the digest of the calibration data.
    source : Graph or None
        The network as it was converted, before its firing rates were set: what verification starts from. None in files
        of older versions; not compared.
    """

    @classmethod
    @checked
    def from_parts(
        cls,
        graph: Graph,
        program: Program,
        mapping: Mapping,
        options: DeployOptions | None = None,
        calibration: Any = None,
        source: Graph | None = None,
    ) -> Deployment:
        """Put together what the stages gave: the same as `deploy` gives, where they were called as it does.

        Parameters
        ----------
        graph : Graph
            Normalized, before it was cut.
        program : Program
        mapping : Mapping
            Of that program.
        options : DeployOptions, optional
            The choices that the stages were called with; its readout window is what runs average over.
        calibration : array, mapping of arrays or Samples, optional
            What was calibrated with, of which the digest is kept.
        source : Graph, optional
            The network before its firing rates were set, for verification.

        Raises
        ------
        InputError
            If the mapping is that of another program.
        """
        if mapping.program_digest != program.digest:
            raise InputError.single(
                "the mapping is that of another program",
                "mapping",
                remedy="Map this program: map_to_cores(program, board)",
            )
        samples = None if calibration is None else samples_for(graph, calibration)
        return cls(graph, program, mapping, options or DeployOptions(), _provenance(samples), source)

    @checked
    def with_readout_window(self, window: float) -> Deployment:
        """The same deployment with outputs averaged over another last part of the presentation, 0..1.

        Sequences are read in that window, too, whatever the source does with their frames.
        """
        return replace(self, options=replace(self.options, readout_window=window, readout="window"))

    def save(self, path: PathOrStream) -> None:
        """Write the deployment to one ``.loihi`` file, or to an open binary stream.

        Raises
        ------
        OutputError
            If the path cannot be written.
        """
        names = ("graph", "program", "mapping", "options", "provenance", "source")
        write_artifact(path, {name: getattr(self, name) for name in names})


def _provenance(calibration: Samples | None) -> dict[str, str | None]:
    """Versions of what took part, and a digest of the calibration data."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("loihi-deploy", "numpy", "nengo", "nengo-dl", "tensorflow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {**versions, "calibration": None if calibration is None else calibration.digest}

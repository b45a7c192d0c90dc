"""What others measured on the chip, to be put beside estimates: ``hardware_configs/published/*.toml``."""

from __future__ import annotations

from dataclasses import dataclass, fields

from loihi_deploy.chip.boards import config_folder, read_toml
from loihi_deploy.errors import EnergyConfigError, Problem

DIFFERENCES = (
    "An estimate has the work of cores and mesh, and static power; a measurement has what else the board does: "
    "input and output, the processors on the chip that manage steps, and time that the host takes",
    "Networks are of about the same size, not the same, and fire at other rates",
)
"""What is known to differ between the two."""


@dataclass(frozen=True)
class Measured:
    """A measurement on hardware.

    Parameters
    ----------
    network : str
    steps : int
        Of a presentation; 0 where it is not given.
    mj, ms : float
        Millijoules and milliseconds per inference.
    source, trust : str
    """

    network: str
    steps: int
    mj: float
    ms: float
    source: str
    trust: str


def measured(chip: str) -> tuple[Measured, ...]:
    """Measurements on a chip, by the chip's name; none where none are known.

    Raises
    ------
    EnergyConfigError
        If the file has missing, unknown or wrong entries.
    """
    path = config_folder() / "published" / f"{chip}.toml"
    if not path.is_file():
        return ()
    wanted = {
        spec.name: {"int": int, "float": float, "str": str}[str(spec.type)] for spec in fields(Measured)
    }
    rows = read_toml(path, EnergyConfigError).get("measured", [])
    problems = [
        Problem("wrong entry", f"{path}, measurement {k + 1}", repr(row), ", ".join(wanted))
        for k, row in enumerate(rows)
        if set(row) != set(wanted) or any(type(row[name]) is not kind for name, kind in wanted.items())
    ]
    if problems:
        raise EnergyConfigError("Cannot use published measurements", problems)
    return tuple(Measured(**row) for row in rows)

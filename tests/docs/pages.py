"""The pages that users read, as what can be run in them.

A page is run from top to bottom in an empty folder: every block of ``python`` in one namespace, every line of a
``console`` block that begins with ``$ loihi-deploy``, every ``run: loihi-deploy`` of a workflow in ``yaml``. Comments
of HTML say what a reader need not see::

    <!-- skip: trains for minutes -->     the next block is not run, for this reason
    <!-- setup
    x = numpy.zeros(3)
    -->                                   Python that runs here
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PIECE = re.compile(
    r"^<!-- skip:(?P<skip>.*?)-->$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|^(?P<fence>```+)(?P<language>[\w{}-]*)[^\n]*\n(?P<code>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = "$ loihi-deploy "


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    Parameters
    ----------
    language : str
        'setup' for what readers do not see.
    code : str
    line : int
        Of its first line of code.
    skip : str or None
        Why it is not run.
    """

    language: str
    code: str
    line: int
    skip: str | None = None


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    skip = None
    for piece in PIECE.finditer(text):
        if piece["skip"] is not None:
            skip = piece["skip"].strip()
            continue
        language = "setup" if piece["setup"] is not None else piece["language"]
        part = "setup" if language == "setup" else "code"
        yield Block(language, piece[part], text.count("\n", 0, piece.start(part)) + 1, skip)
        skip = None


def run_page(page: Path, folder: Path) -> None:
    """Run a page in a folder, which is the current one; raises what a block raises."""
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language in ("python", "setup"):
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            if block.skip is None:
                exec(code, names)
        elif block.language == "console" and block.skip is None:
            for line in block.code.splitlines():
                if line.startswith(COMMAND):
                    run_command(line, f"{page.name}, block at line {block.line}")
        elif block.language == "yaml" and block.skip is None:
            for command in re.findall(r"^ +(?:- )?run: (loihi-deploy .*)$", block.code, re.MULTILINE):
                run_command(f"$ {command}", f"{page.name}, block at line {block.line}")


def run_command(line: str, where: str) -> None:
    """Run a line that begins with ``$ loihi-deploy``."""
    from loihi_deploy.cli import commands

    done = CliRunner().invoke(commands, shlex.split(line.removeprefix(COMMAND), comments=True))
    if done.exit_code:
        raise AssertionError(f"{where}: {line}\n{done.output}\n{done.exception!r}")

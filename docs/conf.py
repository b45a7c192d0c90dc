"""How the pages are built: ``make docs``."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numba  # noqa: F401 - before scipy is mocked: numba asks for its version
from myst_parser.parsers.sphinx_ import MystParser

from loihi_deploy import __version__

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools import notebooks

ROOT = Path(__file__).resolve().parents[1]
(REPOSITORY,) = re.findall(
    r'^Repository = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
)
project = "loihi-deploy"
release = __version__
copyright = "the loihi-deploy contributors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
html_theme = "furo"
html_title = "loihi-deploy"
myst_heading_anchors = 3
nitpicky = False
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"  # the docstrings say more than the hints
autodoc_member_order = "bysource"
autodoc_mock_imports = ["nengo", "nengo_dl", "nengo_loihi", "scipy", "tensorflow"]


class NotebookParser(MystParser):
    """A notebook as the page that it makes."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: Any) -> None:
        """See `notebooks.as_markdown`."""
        super().parse(notebooks.as_markdown(json.loads(inputstring)), document)


def lead_to_repository(app: Any, page: str, source: list[str]) -> None:
    """Let links to files beside docs/ lead to the repository."""
    folder = (ROOT / "docs" / page).parent

    def address(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        inside = target.is_relative_to(ROOT / "docs")
        return link[0] if inside else f"]({REPOSITORY}/blob/main/{target.relative_to(ROOT)}"

    source[0] = re.sub(r"\]\(((?:\.\./)+[^)#\s]+)", address, source[0])


def setup(app: Any) -> None:
    """Read notebooks, and let the star of ``(n, *input_shape)`` be a star."""

    def escape(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        lines[:] = [re.sub(r"(?<=, )\*(?=\w+\))", r"\\*", line) for line in lines]

    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    app.connect("source-read", lead_to_repository)
    app.connect("autodoc-process-docstring", escape, priority=0)

"""How the pages are built: ``make docs``."""

import re
from typing import Any

import numba  # noqa: F401 - before scipy is mocked: numba asks for its version

from loihi_deploy import __version__

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


def setup(app: Any) -> None:
    """Let the star of ``(n, *input_shape)`` be a star."""

    def escape(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        lines[:] = [re.sub(r"(?<=, )\*(?=\w+\))", r"\\*", line) for line in lines]

    app.connect("autodoc-process-docstring", escape, priority=0)

"""The notebooks of docs/: ``make notebooks`` runs them from top to bottom, and writes into them what comes out."""

from __future__ import annotations

import ast
import base64
import html
import io
import json
import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = tuple(sorted(FOLDER.glob("*.ipynb")))

Notebook = dict[str, Any]
"""As JSON holds it: https://nbformat.readthedocs.io/en/latest/format_description.html."""


def read(path: Path) -> Notebook:
    """A notebook from its file."""
    found: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return found


def run(notebook: Notebook) -> Notebook:
    """The same notebook with the outputs that its cells have here and now; raises what a cell raises."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = _outputs("".join(cell["source"]), names, count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell prints, and its last expression, as a notebook holds them."""
    name = f"cell {count}"
    statements = ast.parse(source, name).body
    last = statements.pop() if statements and isinstance(statements[-1], ast.Expr) else None
    value = None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(statements, []), name, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), names)
    found: list[dict[str, Any]] = []
    if text := printed.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if value is not None:
        shown = {"data": _shown(value), "execution_count": count, "metadata": {}}
        found.append({**shown, "output_type": "execute_result"})
    return found


def _shown(value: Any) -> dict[str, Any]:
    """A value in the forms in which Jupyter shows it."""
    forms: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if hasattr(value, "_repr_png_"):
        forms["image/png"] = base64.b64encode(value._repr_png_()).decode()
    elif hasattr(value, "_repr_html_"):
        forms["text/html"] = value._repr_html_().splitlines(keepends=True)
    return forms


def as_markdown(notebook: Notebook) -> str:
    """A notebook as a page of MyST: its texts, its code, and its outputs."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            forms = output.get("data", {"text/plain": output.get("text")})
            if "image/png" in forms:
                about = html.escape("".join(forms["text/plain"]))
                picture = f'<img alt="{about}" src="data:image/png;base64,{forms["image/png"]}">'
                parts.append(f"```{{raw}} html\n{picture}\n```")
            elif "text/html" in forms:
                table = "".join(forms["text/html"])
                parts.append(f'```{{raw}} html\n<div style="overflow-x: auto">{table}</div>\n```')
            else:
                parts.append("```text\n" + "".join(forms["text/plain"]).rstrip() + "\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp())
    for path in NOTEBOOKS:
        path.write_text(json.dumps(run(read(path)), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

"""The notebooks of docs/ run, and hold what comes out of them."""

import pytest

from tools import notebooks

pytest.importorskip("matplotlib")
pytest.importorskip("optuna")
pytest.importorskip("tensorflow")


def kinds(notebook):
    """What each cell puts out: how many outputs, in which forms."""
    return [
        [sorted(output.get("data", ["printed"])) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_holds_its_outputs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = notebooks.read(path)
    assert sum(map(len, kinds(kept))) >= 4
    assert kinds(notebooks.run(kept)) == kinds(kept)


class Shown:
    def __repr__(self):
        return "two <b>\nlines"


class AsTable(Shown):
    def _repr_html_(self):
        return "<table>\n</table>"


class AsPicture(Shown):
    def _repr_png_(self):
        return b"picture"


def notebook(*sources):
    cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
    return {"cells": [{"cell_type": "markdown", "source": ["# Title\n", "text"]}, *cells]}


def test_outputs_are_what_jupyter_shows(monkeypatch):
    monkeypatch.setattr("builtins.Shown", (Shown, AsTable, AsPicture), raising=False)
    found = notebooks.run(
        notebook("x = 1\nprint('a')\nprint('b')\nx", "Shown[1]()", "Shown[2]()", "y = x", "y")
    )
    printed, shown = found["cells"][1]["outputs"]
    assert printed["text"] == ["a\n", "b\n"]
    assert shown["data"] == {"text/plain": ["1"]}
    assert found["cells"][4]["outputs"] == []
    assert found["cells"][5]["execution_count"] == 5
    page = notebooks.as_markdown(found)
    assert page.startswith("# Title\ntext\n\n```python\nx = 1\n")
    assert "```text\na\nb\n```" in page
    assert '```{raw} html\n<div style="overflow-x: auto"><table>\n</table></div>\n```' in page
    assert '<img alt="two &lt;b&gt;\nlines" src="data:image/png;base64,cGljdHVyZQ==">' in page


def test_what_a_cell_raises_names_the_cell():
    with pytest.raises(ZeroDivisionError) as error:
        notebooks.run(notebook("x = 0", "1 / x"))
    assert "cell 2" in str(error.traceback[-1].path)

"""Tables as text and HTML: nothing is lost in any form or width."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loihi_deploy as ld
from loihi_deploy.analysis.latency import latencies
from loihi_deploy.tables import Page, Shown, Table, by, percent

ROWS = (("apple", "", "100 g", "1"), ("fig", "blue", "", "22"))
TABLE = Table("Fruit", ("name", "kind", "weight", "price"), ROWS, 2)
WIDE = """\
Fruit
name   kind  weight  price
─────  ────  ──────  ─────
apple         100 g      1
fig    blue             22"""
NARROW = """\
Fruit
apple
  weight  100 g
  price   1
fig · blue
  price   22"""

words = st.text('abcxyz<&>"×', min_size=1, max_size=12)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 6))
    cells = st.tuples(*[words] * n)
    rows = tuple(draw(st.lists(cells, max_size=4)))
    return Table(draw(words), draw(cells), rows, draw(st.integers(1, n)))


def test_as_text():
    assert TABLE.as_text(26) == WIDE
    assert TABLE.as_text(25) == NARROW


def test_on_a_terminal_paragraphs_are_cut_between_words(monkeypatch, capsys):
    page = Page((TABLE, "Some words, and --an-option-that-is-longer-than-a-line.", "Short."))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "26")
    page.show()
    cut = "Some words, and\n--an-option-that-is-longer-than-a-line.\nShort."
    assert capsys.readouterr().out == f"{WIDE}\n\n{cut}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    page.show()
    assert capsys.readouterr().out == f"{page.as_text(26)}\n"


def test_tables_stand_apart_and_sentences_together():
    text = Page((TABLE, "One.", "Two.", TABLE, TABLE)).as_text(80)
    assert text == f"{WIDE}\n\nOne.\nTwo.\n\n{WIDE}\n\n{WIDE}"


@given(tables(), st.integers(1, 60))
def test_nothing_is_cut_at_any_width(table, width):
    text = Page((table,)).as_text(width)
    for cell in (table.title, *(cell for row in table.rows for cell in row)):
        assert cell in text
    if "─" in text:
        assert max(map(len, text.splitlines()[1:])) <= width


class Cells(HTMLParser):
    """Collects the texts of a piece of HTML."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_data(self, data):
        if data.strip():
            self.found.append(data)


@given(tables())
def test_html_holds_every_cell_as_it_is(table):
    expected = [table.title, *table.columns, *(cell for row in table.rows for cell in row)]
    assert Cells(table.as_html()).found == expected


def test_warnings_stand_out_in_html():
    html = Page(("Fine.", "Warning: a < b")).as_html()
    assert html == '<p>Fine.</p>\n<p class="warning">Warning: a &lt; b</p>'


def test_numbers():
    assert percent(0.98765) == "98.77 %"
    assert percent(None) == ""
    assert by((2, 3)) == "2×3"


GRAPH = ld.benchmarks.NETWORKS["nxtf-mnist"]()
X = ld.benchmarks.inputs("nxtf-mnist", 4)


@pytest.fixture(scope="module")
def shown():
    """One of each that people print."""
    deployment = ld.deploy(GRAPH, "nahuku32", calibration=X)
    y = np.zeros(4, np.int64)
    result = deployment.run(X, 20, record=["conv1"])
    return {
        "Deployment": deployment,
        "Program": deployment.program,
        "Mapping": deployment.mapping,
        "RunResult": result,
        "Counters": result.counters,
        "Evaluation": deployment.evaluate(X, y, 20),
        "Verification": deployment.verify(X, y, 20, reference_samples=0),
        "Tuning": ld.Tuning(31, 0.5, 0.97, 0.98, {0.5: np.ones(100)}, latencies(deployment.program)),
    }


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Deployment", "6,538 neurons on 7 cores"),
        ("Program", "rounding error"),
        ("Mapping", "7 cores on 1 chip(s) of nahuku32"),
        ("RunResult", "Recorded of conv1: spikes bool[4, 20, 3200]"),
        ("Counters", "synaptic events"),
        ("Evaluation", "of 4)"),
        ("Verification", "decides as the source"),
        ("Tuning", "31 steps, outputs averaged over the last 50.00 %"),
    ],
)
def test_values_are_readable_when_printed_and_in_a_notebook(shown, name, says):
    value = shown[name]
    assert type(value).__name__ == name
    assert isinstance(value, Shown)
    assert says in str(value)
    assert says in " ".join(Cells(value._repr_html_()).found)
    assert "\n" not in repr(value)
    assert len(repr(value)) < 700
    assert all(population.name in str(value) for population in GRAPH.populations)


def test_in_a_pipe_and_on_a_narrow_terminal_nothing_is_cut(shown, tmp_path):
    shown["Deployment"].save(tmp_path / "net.loihi")
    figures = [f"{population.size:,}" for population in GRAPH.populations]

    def printed(**environment):
        command = [sys.executable, "-m", "loihi_deploy", "report", str(tmp_path / "net.loihi")]
        environment["PYTHONPATH"] = ":".join(filter(None, sys.path))
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    wide, narrow = printed(), printed(COLUMNS="40")
    for text in (wide, narrow):
        assert "…" not in text
        assert all(re.search(rf"\b{figure}\b", text) for figure in figures)
    assert "\nconv0         chip " in wide
    assert "\nconv0 · chip\n" in narrow

"""What `make mutants` draws from: changes of what decides, none of what is only read."""

import ast
from pathlib import Path

import pytest

from tools.wrong_changes import changes

ROOT = Path(__file__).parents[1]


def made(source):
    """Every changed source."""
    content = source.encode()
    return [
        (content[: c.start] + c.new.encode() + content[c.end :]).decode()
        for ways in changes(source)
        for c in ways
    ]


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a < b", ["(a <= b)"]),
        ("a + b * 2", ["(a - b * 2)", "a + (b + 2)", "a + b * 3", "a + b * 1"]),
        ("a // b", ["(-(-(a) // (b)))"]),
        ("not a and b", ["(not a or b)", "(a) and b"]),
        ("min(a, 0.5)", ["max(a, 0.5)", "min(a, 0.75)"]),
        ("x = a[order]", ["x = (a)"]),
        ("[a for a in b if a]", ["[a for a in b if True]"]),
        ("a if b else c", ["(c if b else a)"]),
        ("def f():\n    g()", ["def f():\n    pass"]),
        ("x += 1", ["pass", "x -= 1", "x += 2", "x += 0"]),
        ("if a:\n    b", ["if not (a):\n    b"]),
        ("x: int | None = None", []),
        ("raise ValueError(1 + 2)", []),
        ("p = Problem('too many', n + 1)", []),
        ("f'{n + 1}'", []),
        ("zip(a, b, strict=True)", []),
        ("tolerance = 1e-9", []),
        ("def f():\n    logger.info('done', n + 1)", []),
    ],
)
def test_neighbours(source, changed):
    assert made(source) == changed


def test_every_change_of_a_module_compiles():
    source = (ROOT / "loihi_deploy/stages/rounding.py").read_text(encoding="utf-8")
    sources = made(source)
    assert len(sources) > 50
    assert source not in sources
    for each in sources:
        ast.parse(each)

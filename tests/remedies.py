"""Every remedy that the package can name, found in its source, and the tests that follow them.

A test that follows a remedy is marked with it: ``@pytest.mark.follows("Use channels_last")``, or, as a row of a table,
``follows("Use channels_last", broken, mended)``. Text that is put in when the error is made is written ``…``, as may be
a long end. Such a test fails where no problem with that remedy was made in it (tests/conftest.py); that every
remedy has one is checked in tests/test_remedies.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import loihi_deploy

PACKAGE = Path(loihi_deploy.__file__).parent
GAP = "…"


def follows(remedy, *values, id=None):
    """A row of a table of tests, for a test that takes what is given and follows the remedy."""
    return pytest.param(*values, marks=pytest.mark.follows(remedy), id=id or remedy[:50])


def said(remedy: str, text: str) -> bool:
    """Whether a text is the remedy of a marker, with something in its gaps."""
    return re.fullmatch(".*".join(map(re.escape, remedy.split(GAP))), text, re.DOTALL) is not None


def markers() -> dict[str, str]:
    """Remedies that tests follow, each with one of their files."""
    found = {}
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) == "follows":
                row = isinstance(node.func, ast.Name)
                for argument in node.args[:1] if row else node.args:
                    assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}: write the remedy out"
                    found[argument.value] = str(path)
    return found


def remedies() -> dict[str, str]:
    """Every remedy of the package, with gaps, each with one of the places where it stands."""
    modules = {
        ".".join(("loihi_deploy", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): _Module(path)
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    places: dict[str, int] = {}
    for module in modules.values():
        places |= dict(module.places())
    found = {}
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AnnAssign) and _name(node.target) == "remedy" and node.value is not None:
                for text in filter(None, module.texts(node.value, (), modules)):
                    found.setdefault(text, f"{module.path.relative_to(PACKAGE)}:{node.lineno}")
        for call, functions in module.calls:
            name = _name(call.func)
            given = [keyword.value for keyword in call.keywords if keyword.arg == "remedy"]
            if not given and name in places:
                given = call.args[places[name] :][:1]
            for node in given:
                for text in module.texts(node, functions, modules):
                    if text.strip(GAP + " .,:;"):
                        found.setdefault(text, f"{module.path.relative_to(PACKAGE)}:{call.lineno}")
    return found


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class _Module:
    """The source of a module: its calls, each with the functions around it, and what names in it stand for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.calls: list[tuple[ast.Call, tuple[ast.AST, ...]]] = []
        self._walk(self.tree, ())
        self.functions = {n.name: n for n in ast.walk(self.tree) if isinstance(n, ast.FunctionDef)}
        self.imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def _walk(self, node: ast.AST, functions: tuple[ast.AST, ...]) -> None:
        if isinstance(node, ast.Call):
            self.calls.append((node, functions))
        inner = (node, *functions) if isinstance(node, (ast.FunctionDef, ast.Lambda)) else functions
        for child in ast.iter_child_nodes(node):
            self._walk(child, inner)

    def places(self) -> Iterator[tuple[str, int]]:
        """Functions and classes that take a remedy, and which of their positional arguments it is."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                names = [a.arg for a in node.args.args if a.arg not in ("self", "cls")]
                if "remedy" in names and node.name != "__init__":
                    yield node.name, names.index("remedy")
            elif isinstance(node, ast.ClassDef):
                fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]  # type: ignore[union-attr]
                made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
                if made:
                    fields = [a.arg for a in made[0].args.args[1:]]
                if "remedy" in fields:
                    yield node.name, fields.index("remedy")

    def texts(self, node: ast.AST, functions: tuple[ast.AST, ...], modules: dict[str, _Module]) -> list[str]:
        """What an expression can be: texts with gaps."""

        def of(part: ast.AST) -> list[str]:
            return self.texts(part, functions, modules)

        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            parts = [of(v.value) if _is_constant(v) else of(v) for v in node.values]
            return ["".join(chosen) for chosen in product(*(part or [GAP] for part in parts))]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [a + b for a in of(node.left) or [GAP] for b in of(node.right) or [GAP]]
        if isinstance(node, ast.IfExp):
            return of(node.body) + of(node.orelse)
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in of(value)]
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return [
                text
                for table in self._assigned(node.value.id, functions)
                if isinstance(table, ast.Dict)
                for value in table.values
                for text in of(value)
            ]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.functions:
            function = self.functions[node.func.id]
            returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value]
            return [t for value in returned for t in self.texts(value, (function, *functions), modules)]
        if isinstance(node, ast.Name):
            values = self._assigned(node.id, functions) + self._in_tables(node.id, functions)
            if not values and node.id in self.imported:
                module, name = self.imported[node.id]
                other = modules.get(module)
                return other.texts(ast.Name(name), (), modules) if other else []
            return [text for value in values for text in of(value)]
        return []

    def _assigned(self, name: str, functions: tuple[ast.AST, ...]) -> list[ast.AST]:
        """The values that a name is given, in the innermost function that gives it any, or in the module."""
        for scope in (*functions, self.tree):
            found = list(_assignments(scope, name))
            if found:
                return found
            if isinstance(scope, ast.FunctionDef) and name in {
                a.arg for a in ast.walk(scope.args) if isinstance(a, ast.arg)
            }:
                return []
        return []

    def _in_tables(self, name: str, functions: tuple[ast.AST, ...]) -> list[ast.AST]:
        """What a name can be that stands for a column of a table that is written out, in a loop or looked up."""
        looked_up = [
            row.elts[names.index(name)]
            for scope in functions
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
            if name in (names := [getattr(each, "id", "") for each in node.targets[0].elts])
            if isinstance(node.value, ast.Subscript) and isinstance(node.value.value, ast.Name)
            for table in self._assigned(node.value.value.id, ())
            for row in getattr(table, "values", ())
            if isinstance(row, ast.Tuple) and len(row.elts) == len(names)
        ]
        return looked_up + [
            row.elts[names.index(name)]
            for scope in functions
            for node in ast.walk(scope)
            if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Tuple)
            if name in (names := [getattr(each, "id", "") for each in node.target.elts])
            for table in (
                self._assigned(node.iter.id, ()) if isinstance(node.iter, ast.Name) else [node.iter]
            )
            for row in getattr(table, "elts", ())
            if isinstance(row, ast.Tuple) and len(row.elts) == len(names)
        ]


def _is_constant(part: ast.expr) -> bool:
    """Whether a part of a text that is put together is a constant of a module."""
    return (
        isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id.isupper()
    )


def _assignments(scope: ast.AST, name: str) -> Iterator[ast.AST]:
    body = scope.body if isinstance(scope, ast.Module) else list(ast.walk(scope))
    for node in body if isinstance(body, list) else [body]:
        if (
            isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
        ) or (isinstance(node, (ast.AnnAssign, ast.AugAssign)) and _name(node.target) == name and node.value):
            yield node.value

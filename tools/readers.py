"""Where what a line decides is read: the lines of the statement, or those that use a name that is defined there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from functools import cache

from mutants import TREE


def statement_at(tree: ast.Module, line: int) -> Set[int]:
    """The lines of the smallest statement at a line; of one that holds others those before the first of them."""
    found: tuple[int, int] = (line, line)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            first, last = _lines(node)
            if first <= line <= last and (found == (line, line) or last - first < found[1] - found[0]):
                found = (first, last)
    return frozenset(range(found[0], found[1] + 1))


def _lines(node: ast.stmt) -> tuple[int, int]:
    body = getattr(node, "body", None)
    last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
    return node.lineno, last


def readers_of(path: str, line: int) -> dict[str, Set[int]]:
    """Lines within functions, by module, that use what a line outside of them defines.

    A constant and a field of a class are read where their name stands, in whatever module; what is part of another
    constant, where that one is read. A function is what its defaults and decorators decide.
    """
    names, own = _defined(_tree(path), line)
    seen: set[str] = set()
    found: dict[str, set[int]] = {path: set(own)} if own else {}
    while names - seen:
        wanted = names - seen
        seen |= wanted
        for module in _modules():
            for name, number, inside, owner in _uses(module):
                if name in wanted:
                    if inside:
                        found.setdefault(module, set()).update(statement_at(_tree(module), number))
                    else:
                        names = names | owner
    return {module: frozenset(lines) for module, lines in found.items()}


def _defined(tree: ast.Module, line: int) -> tuple[set[str], range]:
    """The names that a line outside functions defines, and the lines of a function whose defaults it holds."""
    for node in _outside(tree):
        if node.lineno <= line <= (node.end_lineno or node.lineno):
            if isinstance(node, ast.FunctionDef):
                return set(), range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
            return _targets(node), range(0)
    return set(), range(0)


def _outside(node: ast.Module | ast.ClassDef) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported."""
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _outside(child)
        else:
            yield child


def _targets(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {
        each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)
    }


@cache
def _modules() -> list[str]:
    return [str(path.relative_to(TREE)) for path in sorted((TREE / "loihi_deploy").rglob("*.py"))]


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse((TREE / path).read_text(encoding="utf-8"))


@cache
def _uses(path: str) -> list[tuple[str, int, bool, frozenset[str]]]:
    """Names that a module reads: each with its line, whether a function does, and else what it becomes part of."""
    found = []
    for node in _outside(_tree(path)):
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        owner = frozenset[str]() if inside else frozenset(_targets(node))
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
                found.append((each.id, each.lineno, inside, owner))
            elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Load):
                found.append((each.attr, each.lineno, inside, owner))
    return found

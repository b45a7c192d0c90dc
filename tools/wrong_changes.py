"""Small wrong changes that can be made to a source: what `tools.mutate` draws from.

An operator, a number, a condition or a call becomes its neighbour; a statement is left out. What only a reader sees is
left alone: annotations, texts of errors and warnings, the limits that these name, and what is told to a logger.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

NEIGHBOURS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
CALLS = {
    "minimum": "maximum",
    "floor": "ceil",
    "min": "max",
    "any": "all",
    "repeat": "tile",
    "argmin": "argmax",
}
CALLS |= {new: old for old, new in CALLS.items()}
ORDERS = ("order", "inverse", "permutation")
"""Names of what brings elements into an order; leaving it out leaves them as they were."""
SAID = ("Problem", "single", "warn", "missing_extra", "isinstance", "TypeVar", "warn_of_losses")
"""Calls in which nothing is changed: what they take is read by people, or a class."""
UNSEEN = ("strict", "copy", "stacklevel", "maxsize", "exist_ok")
"""Arguments that change nothing in what is right: they guard, or make faster."""
TOLERANCE = 1e-5
"""Numbers below are room for rounding: another one is as good."""


@dataclass(frozen=True)
class Change:
    """A part of a source, and what is put in its place.

    Parameters
    ----------
    line : int
        Where it begins.
    start, end : int
        Its bytes.
    old, new : str
    inside : bool
        Whether it runs when a function is called, not when the module is imported.
    compiled : bool
        Whether it is part of a kernel, whose lines no trace shows.
    """

    line: int
    start: int
    end: int
    old: str
    new: str
    inside: bool
    compiled: bool


def changes(source: str, kernels: bool = False) -> list[tuple[Change, ...]]:
    """Every place of a source that can be changed, with the ways to change it.

    Parameters
    ----------
    source : str
    kernels : bool
        Whether all of its functions are kernels.
    """
    content = source.encode()
    begin = [0]
    for line in content.splitlines(keepends=True):
        begin.append(begin[-1] + len(line))
    found = []
    for node, texts, inside, compiled in _places(ast.parse(source), False, kernels):
        start = begin[node.lineno - 1] + node.col_offset
        end = begin[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        old = content[start:end].decode()
        ways = [Change(node.lineno, start, end, old, new, inside, compiled) for new in texts]
        if ways:
            found.append(tuple(ways))
    return found


def _places(
    node: ast.AST, inside: bool, compiled: bool
) -> Iterator[tuple[ast.expr | ast.stmt, list[str], bool, bool]]:
    """Expressions and statements, each with the texts that it can be replaced by."""
    if isinstance(node, ast.FunctionDef):
        names = {getattr(each, "id", "") for each in node.decorator_list}
        compiled = compiled or bool(names & {"compiled", "inlined"})
        if node.name in ("__repr__", "__str__"):
            return
        parts: list[tuple[ast.AST, bool]] = [
            *((default, inside) for default in (*node.args.defaults, *node.args.kw_defaults) if default),
            *((child, True) for child in node.body),
        ]
    elif _only_read(node):
        return
    elif isinstance(node, ast.AnnAssign):
        parts = [(node.value, inside)] if node.value else []
    elif isinstance(node, ast.ClassDef):
        parts = [(child, inside) for child in node.body]
    else:
        parts = [(child, inside) for child in ast.iter_child_nodes(node)]
    if isinstance(node, (ast.expr, ast.stmt)):
        yield node, list(_replacements(node, inside)), inside, compiled
    if isinstance(node, ast.If):
        yield node.test, [f"not ({ast.unparse(node.test)})"], inside, compiled
    if isinstance(node, ast.comprehension):
        for condition in node.ifs:
            yield condition, ["True"], inside, compiled
    for part, within in parts:
        yield from _places(part, within, compiled)


def _only_read(node: ast.AST) -> bool:
    """Whether a part of the source does nothing but tell people, or tools, something."""
    if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call) and _is_logged(node.value)
    if isinstance(node, ast.Call):
        return _name(node.func) in SAID
    if isinstance(node, ast.If):
        return _name(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.keyword) and node.arg in UNSEEN


def _is_logged(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and _name(call.func.value) == "logger"


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _replacements(node: ast.expr | ast.stmt, inside: bool) -> Iterator[str]:
    """Texts that a node itself can be replaced by, whatever is in it."""
    new = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and isinstance(new, ast.Compare):
        for k, operator in enumerate(node.ops):
            new.ops[k] = NEIGHBOURS[type(operator)]()  # type: ignore[call-overload]
            yield f"({ast.unparse(new)})"
            new.ops[k] = operator
    elif isinstance(new, (ast.BinOp, ast.BoolOp)) and type(new.op) in NEIGHBOURS:
        text = any(isinstance(each, (ast.JoinedStr, ast.Constant)) and _is_text(each) for each in _parts(new))
        union = isinstance(new.op, ast.BitOr) and not inside
        if not text and not union:
            new.op = NEIGHBOURS[type(new.op)]()  # type: ignore[assignment]
            yield f"({ast.unparse(new)})"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
        yield f"(-(-({ast.unparse(node.left)}) // ({ast.unparse(node.right)})))"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant):
        yield from _numbers(node.value)
    elif isinstance(node, ast.IfExp):
        yield f"({ast.unparse(node.orelse)} if {ast.unparse(node.test)} else {ast.unparse(node.body)})"
    elif isinstance(node, ast.Call) and _name(node.func) in CALLS and isinstance(new, ast.Call):
        if isinstance(new.func, ast.Attribute):
            new.func.attr = CALLS[new.func.attr]
        elif isinstance(new.func, ast.Name):
            new.func.id = CALLS[new.func.id]
        yield ast.unparse(new)
    elif isinstance(node, ast.Call) and _name(node.func) == "argsort" and node.args:
        yield f"({ast.unparse(node.args[0])})"
    elif isinstance(node, ast.Subscript) and _name(node.slice) in ORDERS:
        yield f"({ast.unparse(node.value)})"
    elif isinstance(node, ast.AugAssign) and isinstance(new, ast.AugAssign):
        yield "pass"
        if type(node.op) in NEIGHBOURS:
            new.op = NEIGHBOURS[type(node.op)]()  # type: ignore[assignment]
            yield ast.unparse(new)
    elif isinstance(node, ast.Continue) or (
        inside and isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.YieldFrom))
    ):
        yield "pass"


def _parts(node: ast.BinOp | ast.BoolOp) -> list[ast.expr]:
    return node.values if isinstance(node, ast.BoolOp) else [node.left, node.right]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def _numbers(value: object) -> Iterator[str]:
    """Neighbours of a number, or the other of two truths."""
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield str(value + 1)
        if value > 0:
            yield str(value - 1)
    elif isinstance(value, float) and not 0 < value < TOLERANCE:
        yield str(value * 1.5 or 1.0)

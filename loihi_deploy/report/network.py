"""The network of a report as a drawing: a box for each part, from input to readout, and a line for each projection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from loihi_deploy.report.drawing import short
from loihi_deploy.tables import by

Values = Mapping[str, Any]

WIDTH, HEIGHT = 300, 46
"""Of a box, in pixels."""
GAP, BELOW, LANE = 20, 28, 14
"""Between boxes of a row, below a row, and between lines that pass boxes by."""
ROWS, WIDEST = 12, 3
"""Rows from which on a network goes on in a column beside the first, and boxes that stand beside each other then."""

Edges = list[tuple[str, str]]


@dataclass(frozen=True)
class Box:
    """A part of the network.

    Parameters
    ----------
    name : str
    place : {'host', 'chip'}
    text : str
        Shape, neurons, cores and rate.
    x, y : float
        Its upper left corner.
    """

    name: str
    place: str
    text: str
    x: float
    y: float


def network_drawing(values: Values) -> dict[str, Any]:
    """The network as an SVG element, with its width in pixels and a text that says what it shows.

    Returns
    -------
    dict
        'svg', 'width', 'least_width' (at which it can still be read), 'alt'.
    """
    parts = list(_parts(values))
    order = {name: k for k, (name, _, _) in enumerate(parts)}
    edges = list(dict.fromkeys((pre, post) for pre, post in values["edges"] if {pre, post} <= set(order)))
    boxes, lanes = _placed(parts, edges, order)
    width = max([*lanes.values(), *(box.x + WIDTH for box in boxes.values())]) + LANE
    height = max(box.y for box in boxes.values()) + HEIGHT + 12
    drawn = [
        _way_round(boxes[pre], boxes[post], lanes[pre, post])
        if (pre, post) in lanes
        else _line(boxes[pre], boxes[post])
        for pre, post in edges
    ]
    drawn += [_drawn(box) for box in boxes.values()]
    on_chip = sum(box.place == "chip" for box in boxes.values())
    alt = f"Network of {len(boxes)} parts, {on_chip} of them on chip: " + ", ".join(
        f"{pre} to {post}" for pre, post in edges
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" aria-hidden="true" '
        f'focusable="false">{"".join(drawn)}</svg>'
    )
    return {"svg": svg, "width": round(width), "least_width": round(max(0.6 * width, WIDTH)), "alt": alt}


def _parts(values: Values) -> Iterator[tuple[str, str, str]]:
    """Name, place and text of inputs, layers and readouts."""
    rates = values.get("rates", {}).get("layers", {})
    for name, shape in values["inputs"].items():
        yield name, "host", f"input · {by(shape)}"
    for layer in values["layers"]:
        texts = [by(layer["shape"]), f"{layer['neurons']:,} neurons"]
        texts += [f"{layer['cores']} core{'s' * (layer['cores'] != 1)}"] if layer["cores"] else []
        texts += [f"{rates[layer['name']]['mean']:.1f} Hz"] if layer["name"] in rates else []
        yield layer["name"], layer["place"], " · ".join(texts)
    for name, shape in values["readouts"].items():
        yield name, "host", f"readout · {by(shape)}"


def _placed(
    parts: list[tuple[str, str, str]], edges: Edges, order: Mapping[str, int]
) -> tuple[dict[str, Box], dict[tuple[str, str], float]]:
    """Boxes in rows, and many rows in columns: each part below all that it hears, recurrent projections aside.

    Returns
    -------
    boxes : dict of Box
    lanes : dict of float
        Where projections go up or down that do not lead to the next row of a column: beside the sender's.
    """
    rows: dict[str, int] = {}
    for name, _, _ in parts:
        above = [rows[pre] for pre, post in edges if post == name and order[pre] < order[name]]
        rows[name] = max(above, default=-1) + 1
    members = [[name for name in rows if rows[name] == row] for row in range(max(rows.values()) + 1)]
    widest = max(map(len, members))
    columns = max(1, min(WIDEST // widest, -(-len(members) // ROWS)))
    of_column = -(-len(members) // columns)
    where = {name: divmod(row, of_column) for name, row in rows.items()}
    passing: list[Edges] = [[] for _ in range(columns)]
    for pre, post in edges:
        (column, row), to = where[pre], where[post]
        if to != (column, row + 1):
            passing[column].append((pre, post))
    left = 1.0
    boxes: dict[str, Box] = {}
    lanes: dict[tuple[str, str], float] = {}
    for column, around in enumerate(passing):
        right = left + widest * (WIDTH + GAP) - GAP
        lanes |= {edge: right + LANE * (k + 1) for k, edge in enumerate(around)}
        for name, place, text in (part for part in parts if where[part[0]][0] == column):
            mine = members[rows[name]]
            x = left + (mine.index(name) + (widest - len(mine)) / 2) * (WIDTH + GAP)
            y = where[name][1] * (HEIGHT + BELOW) + 15
            boxes[name] = Box(name, place, text, x, y)
        left = right + LANE * len(around) + GAP
    return boxes, lanes


def _drawn(box: Box) -> str:
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" class="box"/>'
        f'<rect x="{box.x:g}" y="{box.y:g}" width="5" height="{HEIGHT}" rx="2" class="{box.place}"/>'
        f'<text x="{box.x + 14:g}" y="{box.y + 19:g}" class="name">{escape(short(box.name, 34))}</text>'
        f'<text x="{box.x + 14:g}" y="{box.y + 36:g}" class="about">{escape(box.text)}</text>'
    )


def _line(pre: Box, post: Box) -> str:
    """From the bottom of a box to the top of one in the next row."""
    x, y, to, top = pre.x + WIDTH / 2, pre.y + HEIGHT, post.x + WIDTH / 2, post.y - 5
    middle = (y + top) / 2
    return _path(
        f"M{x:g} {y:g}C{x:g} {middle:g} {to:g} {middle:g} {to:g} {top:g}", f"M{to:g} {post.y:g}l-4-7h8z"
    )


def _way_round(pre: Box, post: Box, lane: float) -> str:
    """Between rows to a lane beside the boxes of a column, along there, and back to a box elsewhere."""
    x, y, to, top = pre.x + 0.75 * WIDTH, pre.y + HEIGHT, post.x + 0.75 * WIDTH, post.y
    return _path(
        f"M{x:g} {y:g}V{y + 9:g}H{lane:g}V{top - 13:g}H{to:g}V{top - 5:g}", f"M{to:g} {top:g}l-4-7h8z"
    )


def _path(line: str, head: str) -> str:
    return f'<path d="{line}" class="wire"/><path d="{head}" class="head"/>'

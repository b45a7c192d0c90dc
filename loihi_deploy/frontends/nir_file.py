"""What a NIR graph says, node by node, in numpy values: of a file (HDF5), or of an object of the package nir.

NIR is described in Pedersen et al. 2024 (doi:10.1038/s41467-024-52259-9) and by the package's classes; files are read
without the package. Graphs within a graph are resolved: their nodes stand in the outer one, by ``outer.inner``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import ConversionError, Problem
from loihi_deploy.frontends.hdf5 import MAX_VALUES, Reader, Values, import_h5py

DAMAGED = "Write the file again with nir.write"
FEATURE = "Reading NIR files"
VERSIONS = ("0.2", "1.")
"""What the versions that are read begin with."""
MAX_DEPTH = 24
"""How deep graphs, and the groups of a file, may lie in each other."""
MAX_NODES = 10_000
NEURONS = ("CubaLIF", "IF", "LIF", "Threshold")
NEEDED: dict[str, tuple[str, ...]] = {
    "Affine": ("weight", "bias"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Conv1d": ("weight", "stride", "padding", "dilation", "groups", "bias"),
    "Conv2d": ("weight", "stride", "padding", "dilation", "groups", "bias"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"),
    "Delay": ("delay",),
    "Flatten": ("start_dim", "end_dim"),
    "I": ("r",),
    "IF": ("r", "v_threshold"),
    "Input": ("shape",),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "Linear": ("weight",),
    "Output": (),
    "Scale": ("scale",),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "Threshold": ("threshold",),
}
"""Kinds of nodes that are read, and what each must say."""
PASSED_ON = "passed on"
"""Kind of the inputs and outputs of a graph within a graph."""
UNREAD = ("type", "metadata", "input_type", "output_type", "input_shape")
TEXTS = ("padding",)
"""What may be a word instead of numbers."""


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Parameters
    ----------
    name : str
    kind : str
        One of `NEEDED`.
    values : dict
        Arrays and texts.
    """

    name: str
    kind: str
    values: Values

    def array(self, key: str, usual: Any = None) -> NDArray[np.float64]:
        """Numbers of the node; `usual` where it does not say them."""
        return np.asarray(self.values.get(key, usual), np.float64)

    @property
    def extra(self) -> Values:
        """What its writer added: the metadata."""
        found = self.values.get("metadata", {})
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class NirNetwork:
    """Nodes and the edges between them, from and to, no graph within the graph.

    Parameters
    ----------
    nodes : dict of Node
        By name.
    edges : tuple of (str, str)
    """

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]

    def into(self, name: str) -> tuple[str, ...]:
        """Names of the nodes that a node takes values of."""
        return tuple(pre for pre, post in self.edges if post == name)


def is_nir(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file is, by name or content, a NIR graph."""
    if Path(path).suffix.lower() == ".nir":
        return True
    try:
        with import_h5py(FEATURE, "nir").File(path, "r") as file:
            return "node" in file and "layer" not in file and "model_config" not in file.attrs
    except OSError:
        return False


def read_nir(path: str | os.PathLike[str]) -> NirNetwork:
    """Read a NIR file.

    Parameters
    ----------
    path : path
        What ``nir.write`` wrote.

    Returns
    -------
    NirNetwork

    Raises
    ------
    ConversionError
        With everything that cannot be read.
    MissingExtraError
        If h5py is not installed.
    """
    reader = Reader(import_h5py(FEATURE, "nir"), DAMAGED, ("node", "version"), depth=2 * MAX_DEPTH)
    found = reader.read(path)
    problems, where = reader.problems, os.fspath(path)
    version = found.get("version")
    if not problems and (not isinstance(version, str) or not version.startswith(VERSIONS)):
        allowed = " or ".join(f"{start.rstrip('.')}.x" for start in VERSIONS)
        problems.append(Problem("a version of NIR that is not read", where, version, allowed, DAMAGED))
    graph = found.get("node")
    if not problems and not isinstance(graph, dict):
        problems.append(Problem("no graph in the file", where, remedy=DAMAGED))
    if problems:
        raise ConversionError("The file is no NIR graph that can be read", problems)
    assert isinstance(graph, dict)
    return network_of(graph)


def network_of_object(graph: Any) -> NirNetwork:
    """The network of a ``nir.NIRGraph``; ConversionError as for `read_nir`."""
    return network_of(graph.to_dict())


def network_of(graph: Values) -> NirNetwork:
    """Resolve graphs within a graph, and check what every node says.

    Raises
    ------
    ConversionError
        With every node of a kind that is not read, every value that is missing, and every edge that leads nowhere.
    """
    problems: list[Problem] = []
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    _resolve(graph, "", nodes, edges, problems, 0)
    if not problems:
        problems += _edge_problems(nodes, edges)
    if problems:
        raise ConversionError("The NIR graph cannot be read", problems)
    return NirNetwork(nodes, tuple(edges))


def _resolve(
    graph: Values,
    path: str,
    nodes: dict[str, Node],
    edges: list[tuple[str, str]],
    problems: list[Problem],
    depth: int,
) -> tuple[list[str], list[str]]:
    """Add the nodes and edges of a graph; gives the names of what stands for its inputs and outputs."""
    where = path or "graph"
    inner, pairs = graph.get("nodes"), graph.get("edges")
    if graph.get("type") != "NIRGraph" or not isinstance(inner, dict) or not inner:
        problems.append(Problem("no graph with nodes", where, graph.get("type"), remedy=DAMAGED))
        return [], []
    if depth > MAX_DEPTH or len(nodes) + len(inner) > MAX_NODES:
        problems.append(Problem("too many nodes, or too deep", where, limit=f"{MAX_NODES:,}, {MAX_DEPTH}"))
        return [], []
    ends: dict[str, tuple[list[str], list[str]]] = {}
    inputs, outputs = [], []
    for key, values in inner.items():
        name = f"{path}.{key}" if path else str(key)
        kind = values.get("type") if isinstance(values, dict) else None
        if kind == "NIRGraph":
            ends[key] = _resolve(values, name, nodes, edges, problems, depth + 1)
            continue
        found = list(_node_problems(name, kind, values))
        problems += found
        if found:
            continue
        if kind == "Input":
            inputs.append(name)
        elif kind == "Output":
            outputs.append(name)
        inside = depth and kind in ("Input", "Output")
        said = {k: v for k, v in values.items() if k != "type"}
        nodes[name] = Node(name, PASSED_ON if inside else str(kind), said)
        ends[key] = ([name], [name])
    for pre, post in _pairs(pairs, where, problems):
        if pre in inner and post in inner:
            _, sends = ends.get(pre, ([], []))
            takes, _ = ends.get(post, ([], []))
            edges += [(a, b) for a in sends for b in takes if (a, b) not in edges]
        else:
            problems.append(Problem("an edge between nodes that are not there", where, f"{pre} to {post}"))
    return inputs, outputs


def _pairs(edges: Any, where: str, problems: list[Problem]) -> list[tuple[str, str]]:
    array = np.asarray([] if edges is None else edges)
    if array.size == 0 or array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "US":
        problems.append(Problem("no list of edges", where, remedy=DAMAGED))
        return []
    return [(str(pre), str(post)) for pre, post in array.tolist()]


def _node_problems(name: str, kind: Any, values: Values) -> Iterator[Problem]:
    if kind not in NEEDED:
        remedy = f"Build the network of these: {', '.join(NEEDED)}"
        yield Problem("a node of a kind that is not read", name, kind, remedy=remedy)
        return
    for key in NEEDED[kind]:
        if values.get(key) is None:
            yield Problem(f"no {key}", name, kind, remedy=DAMAGED)
    for key, value in values.items():
        if key in UNREAD or value is None or (kind == "Output" and key == "shape"):
            continue
        if key in TEXTS and isinstance(value, str):
            continue
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            yield Problem(f"{key} that are no numbers", name, str(value)[:60], remedy=DAMAGED)
            continue
        if array.size == 0 or array.size > MAX_VALUES or not np.isfinite(array).all():
            bad = "no values" if array.size == 0 else "too many, or NaN or infinite values"
            yield Problem(f"{key} that are not usable", name, bad, remedy=DAMAGED)


def _edge_problems(nodes: Mapping[str, Node], edges: list[tuple[str, str]]) -> Iterator[Problem]:
    for kind in ("Input", "Output"):
        if not any(node.kind == kind for node in nodes.values()):
            yield Problem(f"no {kind.lower()}", "graph", remedy=f"Add a nir.{kind} node")
    targets = {post for _, post in edges}
    sources = {pre for pre, _ in edges}
    for name, node in nodes.items():
        needs_no_input = node.kind == "Input" or node.kind in NEURONS
        if name not in targets and not needs_no_input:
            yield Problem("nothing leads to it", name, node.kind, remedy="Remove it, or connect it")
        if name not in sources and node.kind == "Input":
            yield Problem("leads nowhere", name, node.kind, remedy="Remove it, or connect it")

"""The float network and its linear maps."""

from loihi_deploy.graph.partitioned import Link, PartitionedGraph
from loihi_deploy.graph.transforms import Conv2D, Dense, Shape, Sparse, Transform
from loihi_deploy.graph.types import Graph, Input, NeuronModel, Population, Projection, Readout

__all__ = [
    "Conv2D",
    "Dense",
    "Graph",
    "Input",
    "Link",
    "NeuronModel",
    "PartitionedGraph",
    "Population",
    "Projection",
    "Readout",
    "Shape",
    "Sparse",
    "Transform",
]

"""The float network and its linear maps."""

from loihi_deploy.graph.transforms import Conv2D, Dense, Shape, Sparse, Transform
from loihi_deploy.graph.types import Graph, Input, NeuronModel, Population, Projection, Readout

__all__ = [
    "Conv2D",
    "Dense",
    "Graph",
    "Input",
    "NeuronModel",
    "Population",
    "Projection",
    "Readout",
    "Shape",
    "Sparse",
    "Transform",
]

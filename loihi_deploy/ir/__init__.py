"""The float network and its linear maps."""

from loihi_deploy.ir.collecting import collected
from loihi_deploy.ir.graph import Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.partitioned import Link, PartitionedGraph
from loihi_deploy.ir.prelude import FrameMemory, HostMap
from loihi_deploy.ir.samples import Samples, samples_for
from loihi_deploy.ir.sequences import Sequences
from loihi_deploy.ir.transforms import Conv2D, Dense, Shape, Sparse, Transform

__all__ = [
    "Conv2D",
    "Dense",
    "FrameMemory",
    "Graph",
    "HostMap",
    "Input",
    "Link",
    "NeuronModel",
    "PartitionedGraph",
    "Population",
    "Projection",
    "Readout",
    "Samples",
    "Sequences",
    "Shape",
    "Sparse",
    "Transform",
    "collected",
    "samples_for",
]

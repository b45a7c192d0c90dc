"""Small ONNX models, and whether a graph computes what the evaluator of the package onnx does."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_outputs
from loihi_deploy.ir import samples_for

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)


def model(shape, out, nodes, version=17, more_inputs=None, **constants):
    """A model from (operator, inputs, output, attributes), of an input x and an output y."""
    made = [helper.make_node(kind, given, [made], name=made, **more) for kind, given, made, more in nodes]
    tensors = [
        numpy_helper.from_array(
            np.asarray(value, None if np.asarray(value).dtype == np.int64 else np.float32), name
        )
        for name, value in constants.items()
    ]
    ends = {"x": shape, **(more_inputs or {}), "y": out}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, *s)) for n, s in ends.items()]
    graph = helper.make_graph(made, "net", infos[:-1], infos[-1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])


def agrees(net, *shapes, n=3):
    """Check the graph of a model against the evaluator, sample by sample; the graph."""
    names = [value.name for value in net.graph.input]
    given = {
        k: RNG.normal(size=(n, *shape)).astype(np.float32) for k, shape in zip(names, shapes, strict=True)
    }
    evaluator = ReferenceEvaluator(net)
    each = [evaluator.run(None, {k: values[i : i + 1] for k, values in given.items()}) for i in range(n)]
    graph = ld.convert(net)
    samples = samples_for(graph, given if len(given) > 1 else next(iter(given.values())))
    found = rate_outputs(graph, samples.first_frames())
    for number, readout in enumerate(graph.readouts):
        wanted = np.concatenate([sample[number].reshape(1, -1) for sample in each])
        assert np.abs(wanted).max() > 0.01
        ours = readout.activated(found[readout.name]).reshape(n, -1)
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-4)
    return graph

"""Keras models drawn at random, of both Kerases: the graph computes, and the deployment is shaped, as Keras predicts.

``make model-fuzz`` draws 300 of them.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loihi_deploy as ld
from loihi_deploy.engines.rate_network import rate_activity
from loihi_deploy.frontends import check_conversion, convert
from loihi_deploy.frontends.compat import import_keras
from loihi_deploy.frontends.conversion_check import RTOL
from loihi_deploy.ir import samples_for
from tests.frontends.keras_models import randomized

N_MODELS = int(os.environ.get("LOIHI_DEPLOY_MODELS", "15"))
PADDING = st.sampled_from(["same", "valid"])
SMALL = st.integers(1, 3)

IMAGE_LAYERS = {
    "Conv2D": lambda draw, x: {
        "filters": 2 * draw(SMALL),
        "kernel_size": draw(SMALL),
        "padding": draw(PADDING),
        "strides": draw(st.integers(1, 2)),
        "activation": draw(st.sampled_from([None, "relu"])),
        "groups": 2 if x.shape[-1] % 2 == 0 and draw(st.booleans()) else 1,
    },
    "DepthwiseConv2D": lambda draw, x: {"kernel_size": draw(SMALL), "padding": draw(PADDING)},
    "SeparableConv2D": lambda draw, x: {"filters": 3, "kernel_size": draw(SMALL), "padding": draw(PADDING)},
    "Conv2DTranspose": lambda draw, x: {"filters": 2, "kernel_size": draw(SMALL), "padding": draw(PADDING)},
    "BatchNormalization": lambda draw, x: {"scale": draw(st.booleans()), "center": draw(st.booleans())},
    "AveragePooling2D": lambda draw, x: {"pool_size": draw(SMALL), "strides": 1, "padding": draw(PADDING)},
    "ZeroPadding2D": lambda draw, x: {"padding": ((draw(SMALL), 0), (1, draw(SMALL)))},
    "Cropping2D": lambda draw, x: {"cropping": ((1, 0), (0, draw(st.integers(0, 1))))},
    "UpSampling2D": lambda draw, x: {
        "size": (1, 2),
        "interpolation": draw(st.sampled_from(["nearest", "bilinear"])),
    },
    "Permute": lambda draw, x: {"dims": draw(st.permutations([1, 2, 3]))},
    "Dense": lambda draw, x: {"units": 3, "activation": draw(st.sampled_from([None, "relu"]))},
    "Rescaling": lambda draw, x: {"scale": 0.5, "offset": 0.25},
    "RandomFlip": lambda draw, x: {},
    "RandomContrast": lambda draw, x: {"factor": 0.4},
    "Dropout": lambda draw, x: {"rate": 0.5},
    "ReLU": lambda draw, x: {},
}
SEQUENCE_LAYERS = {
    "Conv1D": lambda draw, x: {
        "filters": 2 * draw(SMALL),
        "kernel_size": draw(SMALL),
        "padding": draw(st.sampled_from(["same", "valid", "causal"])),
        "dilation_rate": draw(st.integers(1, 2)),
        "activation": draw(st.sampled_from([None, "relu"])),
    },
    "SeparableConv1D": lambda draw, x: {"filters": 3, "kernel_size": 2, "padding": draw(PADDING)},
    "DepthwiseConv1D": lambda draw, x: {"kernel_size": 2, "padding": draw(PADDING)},
    "BatchNormalization": IMAGE_LAYERS["BatchNormalization"],
    "AveragePooling1D": lambda draw, x: {"pool_size": 2, "strides": draw(SMALL), "padding": draw(PADDING)},
    "ZeroPadding1D": lambda draw, x: {"padding": (draw(SMALL), 1)},
    "Cropping1D": lambda draw, x: {"cropping": (1, 0)},
    "UpSampling1D": lambda draw, x: {"size": 2},
    "Permute": lambda draw, x: {"dims": (2, 1)},
    "Dense": IMAGE_LAYERS["Dense"],
    "ReLU": lambda draw, x: {},
}
VECTOR_LAYERS = {
    "Dense": lambda draw, x: {
        "units": draw(st.integers(1, 8)),
        "activation": draw(st.sampled_from([None, "relu"])),
        "use_bias": draw(st.booleans()),
    },
    "BatchNormalization": IMAGE_LAYERS["BatchNormalization"],
    "GaussianNoise": lambda draw, x: {"stddev": 0.3},
    "ReLU": lambda draw, x: {},
}
LAYERS = {4: IMAGE_LAYERS, 3: SEQUENCE_LAYERS, 2: VECTOR_LAYERS}
SHAPES = {4: ((7, 6, 2), (5, 8, 1)), 3: ((9, 2), (8, 3)), 2: ((6,), (9,))}


def grown(draw, k, x, n):
    """`n` layers behind a tensor, with residual branches, concatenations and operators among them."""
    for _ in range(n):
        name = draw(st.sampled_from(sorted(LAYERS[len(x.shape)])))
        options = LAYERS[len(x.shape)][name](draw, x)
        if min(x.shape[1:-1], default=9) < 4 and (
            options.get("padding") == "valid" or name.startswith("Crop")
        ):
            continue
        y = getattr(k.layers, name)(**options)(x)
        if min(y.shape[1:-1], default=9) < 2 or np.prod(y.shape[1:]) > 600:
            continue
        joint = draw(st.sampled_from(["none", "none", "add", "join", "operator", "slice"]))
        if joint == "add" and tuple(y.shape) == tuple(x.shape):
            y = k.layers.Add()([x, y])
        elif joint == "join" and tuple(y.shape)[:-1] == tuple(x.shape)[:-1]:
            y = k.layers.Concatenate()([x, y])
        elif joint == "operator":
            y = 0.5 * y - np.linspace(-0.1, 0.2, y.shape[-1], dtype=np.float32)
        elif joint == "slice" and y.shape[-1] > 1:
            y = y[..., ::-1] if draw(st.booleans()) else y[..., 1:]
        x = y
    return x


def ended(draw, k, x):
    """What may stand at the end of a network."""
    end = draw(st.sampled_from(["dense", "flat", "pool", "as it is", "reshape", "permute"]))
    if end == "flat" or (end == "reshape" and len(x.shape) == 2):
        x = k.layers.Flatten()(x)
    elif end == "pool" and len(x.shape) > 2:
        x = getattr(k.layers, f"GlobalAveragePooling{len(x.shape) - 2}D")()(x)
    elif end == "reshape":
        x = k.layers.Reshape((x.shape[-1], -1))(x)
    elif end == "permute" and len(x.shape) == 4:
        x = k.layers.Permute((3, 1, 2))(x)
    if end == "dense" or draw(st.booleans()):
        x = k.layers.Dense(3, dtype=draw(st.sampled_from(["float32", "float32", "float64"])))(x)
    activation = draw(st.sampled_from(["linear", "softmax", "sigmoid", "tanh"]))
    # a Dense of 64 bits hands its type on only where the next layer has it too
    return k.layers.Activation(activation, dtype=str(getattr(x.dtype, "name", x.dtype)))(x)


def drawn_model(draw, k):
    inputs = []
    for name in "ab"[: draw(st.integers(1, 2))]:
        shape = draw(st.sampled_from(SHAPES[draw(st.sampled_from(sorted(SHAPES)))]))
        inputs.append(k.layers.Input(shape, name=f"input_{name}"))
    branches = []
    for x in inputs:
        if draw(st.booleans()) and len(x.shape) == 4:
            x = k.layers.MaxPooling2D(2, 1, padding=draw(PADDING))(x)
        branches.append(grown(draw, k, x, draw(st.integers(1, 4))))
    if len(branches) == 2:
        flat = [k.layers.Flatten()(branch) for branch in branches]
        branches = [k.layers.Concatenate()(flat)]
    x = k.layers.ReLU(name="neurons")(branches[0])
    x = grown(draw, k, x, draw(st.integers(0, 2)))
    outputs = [ended(draw, k, x) for _ in range(draw(st.integers(1, 2)))]
    given = inputs if len(inputs) > 1 else inputs[0]
    model = k.Model(given, outputs if len(outputs) > 1 else outputs[0])
    return randomized(model, draw(st.integers(0, 1000)))


@pytest.mark.filterwarnings("ignore")  # of what such networks lose on the chip, which is not looked at here
@settings(max_examples=N_MODELS, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_drawn_models_compute_and_are_shaped_as_keras_predicts(data):
    k = import_keras(data.draw(st.sampled_from([2, 3])))
    model = drawn_model(data.draw, k)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x = [rng.random((3, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    wanted = model.predict(x if len(x) > 1 else x[0], verbose=0)
    wanted = wanted if isinstance(wanted, list) else [wanted]
    graph = convert(model)
    assert check_conversion(model, graph, x)
    frames = samples_for(graph, x).first_frames()
    activity = rate_activity(graph, {name: values.astype(np.float64) for name, values in frames.items()})
    options = ld.DeployOptions(
        normalization="scale_firing_rates", scale_firing_rates=200.0, bias_correction_steps=0
    )
    outputs = ld.deploy(model, options=options).predict(x, 5)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    for ours, theirs, readout in zip(outputs, wanted, graph.readouts, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        computed = readout.activated(activity[readout.name])
        assert np.abs(computed - theirs).max() <= RTOL * np.abs(theirs).max() + 1e-6

"""Small parts by themselves: the structure of Keras models, versions, files, and Nengo's rates."""

import sys
from types import SimpleNamespace

import h5py
import nengo
import numpy as np
import pytest

from loihi_deploy.errors import InputError, MissingExtraError
from loihi_deploy.frontends import convert, opened, rescaling, takes_spikes
from loihi_deploy.frontends.compat import import_keras, import_tensorflow, is_instance, refuse_numpy_2
from loihi_deploy.frontends.keras import _may_follow, mixes_steps
from loihi_deploy.frontends.keras_graph import (
    all_layers,
    call_arguments,
    calls,
    is_model,
    key,
    listed,
    model_outputs,
    node_inputs,
    output_type,
)
from loihi_deploy.frontends.keras_ops import symbol
from loihi_deploy.frontends.nengo_rates import DT, _ChipRates, _rate_neuron, _Samples
from loihi_deploy.frontends.nir_file import NirNetwork
from loihi_deploy.frontends.resampling import after_training
from loihi_deploy.frontends.saved_models import _is_known, _plain, _read_hdf5
from loihi_deploy.frontends.tracing import is_code
from loihi_deploy.ir import NeuronModel
from tests.frontends.test_layers_over_time import layer

# -- the structure of Keras models ---------------------------------------------------------------------


class Layer(SimpleNamespace):
    """A layer whose calls are nodes, in the manner of legacy Keras or of Keras 3."""

    def __init__(self, name, legacy):
        super().__init__(name=name, legacy=legacy, _inbound_nodes=[])

    def __call__(self, *sources, n=1, **named):
        made = [SimpleNamespace(_keras_history=(self, len(self._inbound_nodes), i)) for i in range(n)]
        inputs = list(sources)
        node = SimpleNamespace(outputs=made if n > 1 else made[0])
        if self.legacy:
            node.keras_inputs, node.call_args, node.call_kwargs = inputs, sources, named
        else:
            node.input_tensors, node.arguments = inputs, SimpleNamespace(args=sources, kwargs=named)
        self._inbound_nodes.append(node)
        return made if n > 1 else made[0]


@pytest.mark.parametrize("legacy", [True, False])
def test_calls_stand_behind_those_that_they_depend_on(legacy):
    x, a, b, c, d = (Layer(name, legacy) for name in "xabcd")
    given = x()
    first = a(given)
    one, other = b(first, n=2)
    again = a(other)
    end = c(one, again, first, factor=2.0)
    side = d(first)
    order = [(made.name, made._inbound_nodes.index(node)) for made, node in calls([end, side], {key(given)})]
    assert order == [("a", 0), ("b", 0), ("a", 1), ("c", 0), ("d", 0)]
    assert [key(tensor)[1:] for tensor in (one, other, again)] == [(0, 0), (0, 1), (1, 0)]
    node = c._inbound_nodes[0]
    assert node_inputs(node) == [one, again, first]
    values = {key(one): 1, key(again): 2, key(first): 3}
    assert call_arguments(node, values) == ([1, 2, 3], {"factor": 2.0})
    nested = c([one, (again, 5)], flag=None)
    assert call_arguments(c._inbound_nodes[1], values) == ([[1, (2, 5)]], {"flag": None})
    assert key(nested)[1:] == (1, 0)


def test_models_in_models():
    inner = SimpleNamespace(layers=[1, 2], inputs=[])
    outer = SimpleNamespace(layers=[0, inner, 3], inputs=[])
    assert list(all_layers(outer)) == [0, inner, 1, 2, 3]
    assert is_model(inner)
    assert not is_model(SimpleNamespace(layers=[]))
    assert not is_model(SimpleNamespace(inputs=[]))
    assert model_outputs(SimpleNamespace(outputs="y")) == ["y"]
    assert (listed((1, 2)), listed([1]), listed(1)) == ([1, 2], [1], [1])


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("bfloat16", "float32"),
        (SimpleNamespace(name="float64"), "float64"),
    ],
)
def test_types_of_outputs(dtype, wanted):
    assert output_type(SimpleNamespace(dtype=dtype)) == wanted


def operation(name, kind="TFOpLambda"):
    return type(kind, (SimpleNamespace,), {"__module__": "tf_keras.layers"})(symbol=name)


def test_functions_and_code():
    assert symbol(operation("math.add")) == "math.add"
    assert symbol(operation("getitem", "SlicingOpLambda")) == "getitem"
    keras_3 = type("Add", (SimpleNamespace,), {"__module__": "keras.src.ops.numpy"})()
    assert symbol(keras_3) == "Add"
    assert symbol(layer("Add")) == ""
    for made, code in (
        (keras_3, False),
        (operation("math.add"), False),
        (layer("Dense"), False),
        (layer("Lambda"), True),
        (SimpleNamespace(), True),
    ):
        assert is_code(made) is code


@pytest.mark.parametrize(
    ("activation", "made", "may"),
    [
        ("softmax", layer("Dropout"), True),
        ("softmax", layer("Flatten"), False),
        ("softmax", operation("reshape"), False),
        ("tanh", layer("Flatten"), True),
        ("tanh", layer("GaussianNoise"), True),
        ("tanh", operation("reshape"), True),
        ("tanh", operation("nn.relu"), False),
        ("tanh", layer("Dense"), False),
    ],
)
def test_what_may_stand_behind_what_the_host_computes(activation, made, may):
    assert _may_follow(activation, made) is may


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("GlobalMaxPooling1D", "Use GlobalAveragePooling1D, and train the network on"),
        ("MaxPooling1D", "Use GlobalAveragePooling1D, and train the network on"),
        ("UpSampling1D", "Use Conv1D(padding='causal') over time, and AveragePooling1D"),
        ("Permute", "Wrap it in TimeDistributed"),
    ],
)
def test_layers_that_mix_steps(name, remedy):
    found = mixes_steps(name)
    assert (found.what, found.value, found.remedy) == (
        "the layer mixes the steps of a sequence",
        name,
        remedy,
    )


def test_layers_are_asked_as_after_training():
    for knows, wanted in ((True, {"training": False}), (False, {})):
        assert after_training(SimpleNamespace(_expects_training_arg=knows)) == wanted
        assert after_training(SimpleNamespace(_call_has_training_arg=knows)) == wanted
    assert after_training(SimpleNamespace()) == {}


# -- versions ------------------------------------------------------------------------------------------


def tensorflow(version, module="tf_keras.src.engine.training", path="/x/tf_keras/api"):
    model = type("Model", (), {"__module__": module})
    return SimpleNamespace(__version__=version, __path__=[path], keras=SimpleNamespace(Model=model))


@pytest.mark.parametrize(
    ("tf", "fine"),
    [
        (tensorflow("2.15.1", "keras.src.engine", "/x/keras"), True),
        (tensorflow("2.16.0"), True),
        (tensorflow("2.16.0", path="/x/keras"), False),
        (tensorflow("2.16.0", module="keras.src.models"), False),
        (tensorflow("3.0.0", module="keras.src.models"), False),
        (tensorflow("2.9.0", "keras.engine", "/x/keras"), True),
    ],
)
def test_legacy_keras_is_the_one_of_tensorflow(tf, fine, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    monkeypatch.setitem(sys.modules, "tf_keras", SimpleNamespace())
    if fine:
        assert import_tensorflow() is tf
        return
    with pytest.raises(MissingExtraError, match="legacy Keras, but TensorFlow was loaded with Keras 3"):
        import_tensorflow("It")


@pytest.mark.parametrize(("version", "own"), [("2.15.1", True), ("2.16.0", False)])
def test_the_keras_that_wrote_a_file(version, own, monkeypatch):
    tf, legacy = tensorflow(version), SimpleNamespace()
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    monkeypatch.setitem(sys.modules, "tf_keras", legacy)
    assert import_keras(2) is (tf.keras if own else legacy)
    for installed, fine in (("3.4.1", True), ("2.12.0", False)):
        monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(__version__=installed))
        if fine:
            assert import_keras(3).__version__ == installed
        else:
            with pytest.raises(MissingExtraError, match="needs Keras 3, which wrote it"):
                import_keras(3)


@pytest.mark.parametrize(("version", "fine"), [("1.26.4", True), ("2.0.0", False), ("2.1.3", False)])
def test_numpy_for_nengo_loihi(version, fine, monkeypatch):
    monkeypatch.setattr(np, "__version__", version)
    if fine:
        refuse_numpy_2("It")
    else:
        with pytest.raises(MissingExtraError, match="It needs nengo-loihi"):
            refuse_numpy_2("It")


def test_classes_of_frameworks_that_are_not_loaded():
    assert is_instance(1, "numbers", "Number")
    assert not is_instance(1, "no_such_package", "Number")
    assert not is_instance(1, "numbers", "NoSuchClass")


# -- sources and files ---------------------------------------------------------------------------------


def test_sources():
    assert opened(3.5) == 3.5
    assert rescaling(3.5) == 1.0
    assert takes_spikes(NirNetwork({}, ()))
    assert not takes_spikes(3.5)
    with pytest.raises(InputError, match="not a network that can be converted"):
        convert(3.5)


def test_metadata_of_saved_models():
    assert _plain({"class_name": "__tuple__", "items": [1, 2]}) == (1, 2)
    assert _plain({"class_name": "TensorShape", "items": [1, 2]}) == (1, 2)
    assert _plain({"class_name": "__ellipsis__"}) is ...
    for other in ({"class_name": "__tuple__"}, {"class_name": "Dense", "items": [1]}, {"a": 1}):
        assert _plain(other) is other


@pytest.mark.parametrize("as_bytes", [True, False])
def test_attributes_of_keras_files(as_bytes, tmp_path):
    path = tmp_path / "m.h5"

    def written(text):
        return np.bytes_(text.encode()) if as_bytes else text

    with h5py.File(path, "w") as file:
        file["weights"] = 1
    assert _read_hdf5(path) == (None, "2")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = written('{"a": [1]}')
    assert _read_hdf5(path) == ({"a": [1]}, "2")
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = written("3.4.1")
    assert _read_hdf5(path) == ({"a": [1]}, "3.4.1")


def test_layers_that_keras_knows():
    registered = {"mine>Own": object()}
    utilities = SimpleNamespace(get_registered_object=registered.get)
    keras = SimpleNamespace(layers=SimpleNamespace(Dense=1), utils=utilities)
    for names in (
        ("Dense", None, None),
        ("Lowpass", None, None),
        ("Functional", None, None),
        ("Model", None, None),
        ("Sequential", None, None),
        ("TFOpLambda", None, None),
        ("SlicingOpLambda", None, None),
        ("Add", None, "keras.src.ops.numpy"),
        ("Own", "mine>Own", "mine"),
        ("mine>Own", None, None),
    ):
        assert _is_known(keras, {"Lowpass": 1}, *names), names
    for names in (("Own", None, None), ("Own", "other>Own", "keras"), ("Own", 3, "mine.keras.src")):
        assert not _is_known(keras, {"Lowpass": 1}, *names), names


# -- rates of Nengo ------------------------------------------------------------------------------------


def test_samples_are_given_one_in_each_step():
    samples = _Samples(np.arange(12.0).reshape(3, 4), None)
    assert [samples(t)[0] for t in (0.0, DT, 2 * DT, 3 * DT, 4 * DT, 1.0)] == [0, 0, 4, 8, 8, 8]
    turned = _Samples(np.arange(12.0).reshape(3, 4), np.array([3, 0, 1, 2]))
    assert turned(DT).tolist() == [3, 0, 1, 2]
    assert DT == 0.001


@pytest.mark.parametrize(
    ("neuron", "wanted"),
    [
        (nengo.SpikingRectifiedLinear(amplitude=0.5), nengo.RectifiedLinear(amplitude=0.5)),
        (nengo.LIF(0.05, 0.003, amplitude=0.5), nengo.LIFRate(0.05, 0.003, amplitude=0.5)),
        (nengo.RegularSpiking(nengo.LIFRate(amplitude=0.5), amplitude=0.5), nengo.LIFRate(amplitude=0.25)),
        (nengo.RegularSpiking(nengo.RectifiedLinear()), nengo.RectifiedLinear()),
    ],
)
def test_rates_of_spiking_neurons(neuron, wanted):
    assert _rate_neuron(neuron) == wanted


def test_rates_of_the_chips_neurons():
    model = NeuronModel("lif", 0.02, 0.002, discretized=True, step=0.001)
    currents, output = np.array([0.5, 1.5, 4.0]), np.zeros(3)
    _ChipRates(model, 0.25).step(0.001, currents, output)
    np.testing.assert_array_equal(output, 0.25 * model.rates(currents))
    assert output[1] > 0

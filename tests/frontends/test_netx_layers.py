"""What each setting of a layer of lava-dl decides, on both sides of every limit, and what is refused, as whole text."""

import h5py
import numpy as np
import pytest

from loihi_deploy.chip.boards import loihi_arithmetic
from loihi_deploy.errors import ConversionError, LoihiDeployError, Problem
from loihi_deploy.frontends.netx import read_netx
from loihi_deploy.frontends.netx_file import Layer, is_netx, read_layers
from loihi_deploy.frontends.netx_settings import (
    as_compartments,
    as_mantissas,
    delays_of,
    laid_out,
    layer_shape,
    neuron_problems,
    never_spikes,
    pair_of,
    whole_numbers,
)
from loihi_deploy.ir import Conv2D, Link
from loihi_deploy.ir.program import Compartments
from tests.frontends.test_netx import CUBA, dense, spikes_in, write

CHIP = loihi_arithmetic()
AGAIN = "Write the file again with lava-dl's export_hdf5"
EXPORT = "Export the network with the quantization that it was trained with (pre_hook_fx)"
HIGHEST = 131071


def layer(kind="dense", **values):
    return Layer("layer 3", kind, values)


def refused(call, *arguments):
    with pytest.raises(LoihiDeployError) as caught:
        call(*arguments)
    return list(caught.value.problems)


# -- numbers and shapes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "shape"),
    [
        ("dense", 5, (5,)),
        ("dense", [5], (5,)),
        ("dense", [5, 1, 1], (5,)),
        ("dense", [1, 1, 5], (5,)),
        ("dense", [1, 1, 1], (1,)),
        ("dense", [3, 4, 5], (4, 5, 3)),
        ("dense", [2, 2, 1], (2, 1, 2)),
        ("conv", [5, 1, 1], (1, 1, 5)),
        ("pool", [1, 1, 5], (1, 5, 1)),
        ("input", [1, 1, 5], (5,)),
        ("dense", [1 << 27], (1 << 27,)),
    ],
)
def test_shapes(kind, given, shape):
    assert layer_shape(layer(kind, shape=np.array(given))) == shape


@pytest.mark.parametrize(
    "given", [[5, 1], [1, 2, 3, 4], [0], [3, 0, 1], [-1], [(1 << 27) + 1], [1 << 14] * 3]
)
def test_shapes_that_are_none(given):
    assert refused(layer_shape, layer(shape=np.array(given))) == [
        Problem("not a shape", "layer 3", tuple(given))
    ]


def test_whole_numbers():
    most = (1 << 31) - 1
    assert whole_numbers(layer(a=np.array([-most, most], float)), "a").tolist() == [-most, most]
    assert whole_numbers(layer(), "a", 7) == 7
    for value in (None, "text", {"type": "x"}):
        found = refused(whole_numbers, layer(a=value) if value else layer(), "a")
        assert found == [Problem("no a", "layer 3", remedy="Write the file again with export_hdf5")]
    what = "a of a layer that are no whole numbers"
    assert refused(whole_numbers, layer(a=np.array([1, 2.5, 3.5])), "a") == [
        Problem(what, "layer 3", [2.5], remedy=EXPORT)
    ]
    for beyond in (most + 1, -most - 1):
        assert refused(whole_numbers, layer(a=np.array([1.0, beyond])), "a") == [
            Problem(what, "layer 3", "beyond 31 bits", remedy=EXPORT)
        ]


@pytest.mark.parametrize(
    ("key", "given", "pair"),
    [
        ("padding", 0, (0, 0)),
        ("padding", [0, 3], (0, 3)),
        ("padding", [4096], (4096, 4096)),
        ("stride", [1, 2], (1, 2)),
        ("stride", 4096, (4096, 4096)),
        ("groups", None, (5, 5)),
        ("stride", 0, None),
        ("stride", [1, 0], None),
        ("dilation", 4097, None),
        ("padding", -1, None),
        ("padding", 4097, None),
        ("stride", [1, 1, 1, 2, 2], None),
    ],
)
def test_settings_of_both_axes(key, given, pair):
    described = layer() if given is None else layer(**{key: np.array(given)})
    if pair:
        assert pair_of(described, key, 5) == pair
    else:
        said = np.atleast_1d(given).tolist()[:4]
        assert refused(pair_of, described, key, 5) == [Problem(f"not a {key}", "layer 3", said)]


def test_images_are_laid_out_channels_last():
    values = np.arange(12)  # two channels of 2 x 3
    assert laid_out(values, (2, 3, 2)).tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert laid_out(values, (12,)) is values


@pytest.mark.parametrize(
    ("weights", "mantissas", "shift"),
    [
        ([254, -254, 2], [127, -127, 1], 7),
        ([0, 0], [0, 0], 7),
        ([127, -127, 2], [127, -127, 2], 6),
        ([1], [1], 6),
        ([128], [64], 7),
        ([256], None, None),
        ([-256], None, None),
        ([129, -3], None, None),
        ([128, 1], None, None),
    ],
)
def test_weights_as_mantissas_of_8_bits(weights, mantissas, shift):
    given = np.array(weights)
    if shift is None:
        limit = "even numbers from -254 to 254, any up to 127"
        value = f"{given.min()} to {given.max()}"
        assert refused(as_mantissas, layer(), "weight", given, CHIP) == [
            Problem("weight beyond 8 bits with their sign", "layer 3", value, limit)
        ]
    else:
        found, exponent = as_mantissas(layer(), "weight", given, CHIP)
        assert (found.tolist(), found.dtype, exponent) == (mantissas, np.int8, shift)


# -- neurons -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("described", "problems"),
    [
        (layer(neuron={"type": "CUBA"}), []),
        (layer(neuron={"type": "LOIHI", "gradedSpike": 0, "wgtExp": 0.0}), []),
        (layer(), []),
        (layer("average"), []),
        *(
            (layer(kind), [Problem("a layer without neurons", "layer 3")])
            for kind in ("conv", "pool", "dense_rec")
        ),
        *(
            (
                layer(neuron=neuron),
                [
                    Problem(
                        "neurons that the chip has not",
                        *("layer 3", found),
                        "the chip has current-based leaky neurons only: LOIHI or CUBA",
                    )
                ],
            )
            for neuron, found in (({"type": "SDNN"}, "SDNN"), ({}, "none"), ("CUBA", "none"))
        ),
        *(
            (layer(neuron={"type": "CUBA", key: value}), [Problem(what, "layer 3", str(value)[:40], "0")])
            for key, value, what in (
                ("gradedSpike", 1, "spikes that carry values"),
                ("messageBits", 8, "spikes that carry values"),
                ("wgtExp", -1, "a weight exponent other than 0"),
                ("weight_exp", 2, "a weight exponent of the normalization other than 0"),
                (
                    "wgtExp",
                    "a text that is longer than forty characters are",
                    "a weight exponent other than 0",
                ),
                ("wgtExp", {"a": 0}, "a weight exponent other than 0"),
            )
        ),
        (layer(neuron={"type": "CUBA"}, weight={"real": 1}), [Problem("complex weights", "layer 3")]),
    ],
)
def test_neurons_that_the_chip_has_and_has_not(described, problems):
    assert list(neuron_problems(described)) == problems


NEVER = {"vThMant": HIGHEST, "vDecay": 0, "iDecay": 4096}


@pytest.mark.parametrize(
    ("changed", "never"),
    [
        ({}, True),
        ({"vThMant": HIGHEST + 1}, True),
        ({"vThMant": HIGHEST - 1}, False),
        ({"vDecay": 1}, False),
        ({"iDecay": 4095}, False),
    ],
)
def test_layers_that_never_spike(changed, never):
    assert never_spikes(layer(neuron={**NEVER, **changed}), CHIP) is never
    assert never_spikes(layer(), CHIP) is True


def test_compartments_say_what_the_layer_says():
    neuron = {"iDecay": 1024, "vDecay": 128, "vThMant": 10}
    bias = np.array([1, -2, 3])
    made = as_compartments(layer(neuron=neuron), (3,), bias, CHIP)
    assert made == Compartments(
        "layer 3", (3,), 1023, 128, 640, bias, 1, v_min=-8388607, v_max=8388607, initial_voltage=None
    )
    more = {"refDelay": 5, "vMin": -1023, "vMax": 2047, "vInit": np.array([7, 8, 9])}
    made = as_compartments(layer(neuron={**neuron, **more}), (3,), bias, CHIP)
    assert (made.refractory, made.v_min, made.v_max) == (5, -1023, 2047)
    assert made.initial_voltage.tolist() == [7, 8, 9]
    image = {**neuron, "vInit": np.arange(12)}
    made = as_compartments(layer(neuron=image), (2, 3, 2), np.zeros(1), CHIP)
    assert made.initial_voltage.tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]


@pytest.mark.parametrize(
    ("key", "low", "high"), [("iDecay", 1, 4096), ("vDecay", 0, 4095), ("vThMant", 0, HIGHEST)]
)
def test_settings_within_what_the_chip_has(key, low, high):
    neuron = {"iDecay": 1024, "vDecay": 128, "vThMant": 10}
    for value in (low, high):
        assert as_compartments(layer(neuron={**neuron, key: value}), (3,), np.zeros(1), CHIP)
    for value in (low - 1, high + 1):
        assert refused(as_compartments, layer(neuron={**neuron, key: value}), (3,), np.zeros(1), CHIP) == [
            Problem(f"{key} that the chip has not", "layer 3", value, f"{low} to {high}")
        ]


def test_biases_within_what_the_chip_has_and_all_problems_at_once():
    neuron = {"iDecay": 1024, "vDecay": 128, "vThMant": 10}
    for bias in (524160, -524160):
        assert as_compartments(layer(neuron=neuron), (1,), np.array([bias]), CHIP).bias.tolist() == [bias]
    for bias in (524161, -524161):
        problems = refused(as_compartments, layer(neuron=neuron), (1,), np.array([bias]), CHIP)
        assert problems == [Problem("biases that the chip has not", "layer 3", 524161, 524160)]
    wrong = layer(neuron={"iDecay": 0, "vDecay": 4096, "vThMant": -1})
    found = refused(as_compartments, wrong, (1,), np.array([1 << 20]), CHIP)
    assert [problem.what.split()[0] for problem in found] == ["iDecay", "vDecay", "vThMant", "biases"]
    assert refused(as_compartments, layer(), (1,), np.zeros(1), CHIP) == [
        Problem("neither neurons nor the last layer", "layer 3")
    ]
    twice = layer(neuron={**neuron, "vDecay": np.array([1, 2])})
    assert refused(as_compartments, twice, (1,), np.zeros(1), CHIP) == [
        Problem("more than one vDecay", "layer 3, neuron", 2)
    ]
    short = layer(neuron={**neuron, "vInit": np.zeros(2)})
    assert refused(as_compartments, short, (3,), np.zeros(1), CHIP) == [
        Problem("voltages do not fit", "layer 3", (2,), (3,))
    ]


def test_delays_of_each_neuron():
    assert delays_of(layer(), (4,), 62).tolist() == [0] * 4
    assert delays_of(layer(delay=3), (4,), 62).tolist() == [3] * 4
    assert delays_of(layer(delay=np.array([1, 62])), (1, 3, 2), 62).tolist() == [1, 62] * 3
    image = delays_of(layer(delay=np.arange(12)), (2, 3, 2), 62)
    assert image.tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    for wrong in ([0, 63, 0, 0], [-1, 5, 0, 0]):
        found = refused(delays_of, layer(delay=np.array(wrong)), (4,), 62)
        assert found == [Problem("delays beyond the chip's", "layer 3", max(wrong), "0 to 62")]
    assert refused(delays_of, layer(delay=np.zeros(5)), (2, 3, 2), 62) == [
        Problem("delays are not those of the layer's neurons", "layer 3", 5, 12)
    ]


# -- whole files ---------------------------------------------------------------------------------------


def problems_of(tmp_path, *layers):
    return refused(read_netx, write(tmp_path / "a.net", *layers))


def conv(shape, weight, **more):
    return {"type": "conv", "shape": shape, "weight": np.asarray(weight, np.float32), **more}


IMAGE = spikes_in([2, 7, 6])
FLAT = {"type": "flatten", "neuron": {}}
AVERAGE = {"type": "average", "shape": [3], "neuron": {}}
END = {**dense(5, 20), "neuron": {}}
BIASED = {**dense(5, 20, bias=np.array([0, 1, 0, 0, 0.0])), "neuron": {}}


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([IMAGE, IMAGE], Problem("a second input", "layer 1")),
        ([dense(20, 12), IMAGE], Problem("a second input", "layer 1")),
        ([dense(20, 12), END, dense(5, 5)], Problem("neither neurons nor the last layer", "layer 1")),
        (
            [dense(20, 12), END, AVERAGE, dense(5, 5)],
            Problem("neither neurons nor the last layer", "layer 1"),
        ),
        ([dense(20, 12), END, AVERAGE], Problem("nothing to average", "layer 2")),
        (
            [dense(20, 12), {**AVERAGE, "shape": [5]}, dense(3, 5)],
            Problem("behind a layer that never spikes", "layer 2", "dense"),
        ),
        ([AVERAGE], Problem("nothing to average", "layer 0")),
        ([dense(20, 12), AVERAGE], Problem("not a number of groups", "layer 1", 3, "divisors of 20")),
        ([dense(20, 12), BIASED], Problem("a bias of a layer that never spikes", "layer 1")),
        (
            [dense(20, 12), {**dense(5, 20), "shape": [3]}],
            Problem("weights do not fit", "layer 1", (5, 20), "3 rows"),
        ),
        ([dense(20, 12), dense(5, 21)], Problem("weights do not fit", "layer 1", (5, 21), (5, 20))),
        (
            [dense(20, 12), conv([2, 5, 4], np.ones((2, 2, 3, 3)))],
            Problem(
                "a convolution of what is no image: the file says nothing of its height and width",
                *("layer 1",),
                remedy="Export the network with its input layer",
            ),
        ),
        (
            [conv([2, 5, 4], np.ones((2, 2, 3, 3)))],
            Problem(
                "a convolution of what is no image: the file says nothing of its height and width",
                *("layer 0",),
                remedy="Export the network with its input layer",
            ),
        ),
        ([IMAGE, conv([2, 5, 4], np.ones((2, 2, 3)))], Problem("weights do not fit", "layer 1", (2, 2, 3))),
        (
            [IMAGE, conv([2, 5, 4], np.ones((2, 1, 3, 3)), type="pool")],
            Problem("weights do not fit", "layer 1", (2, 1, 3, 3)),
        ),
        (
            [IMAGE, conv([2, 5, 5], np.ones((2, 2, 3, 3)))],
            Problem("not the shape that its convolution has", "layer 1", (5, 5, 2), (5, 4, 2)),
        ),
        (
            [IMAGE, conv([1, 5, 4], np.ones((1, 1, 4, 4)), dilation=4096)],
            Problem("a kernel too large", "layer 1", (12289, 12289, 1, 1)),
        ),
        (
            [IMAGE, conv([2, 5, 4], np.ones((2, 2, 3, 3)), bias=np.ones(3))],
            Problem("biases do not fit", "layer 1", (3,), (5, 4, 2)),
        ),
        ([dense(20, 12, bias=np.ones(3))], Problem("biases do not fit", "layer 0", (3,), (20,))),
        (
            [dense(6, 12, type="dense_rec", weight_rec=np.ones((6, 5)))],
            Problem("recurrent weights do not fit", "layer 0", (6, 5), (6, 6)),
        ),
        (
            [{"type": "input", "shape": [4], "neuron": {}}],
            Problem("no layer with neurons", "layer", remedy="Export the whole network"),
        ),
        ([IMAGE, FLAT], Problem("no layer with neurons", "layer", remedy="Export the whole network")),
        (
            [{"type": "unpool"}],
            Problem(
                "a layer of a kind that is not read",
                *("layer 0", "unpool", "input, flatten, dense, dense_rec, conv, pool, average"),
            ),
        ),
    ],
)
def test_files_that_are_refused(layers, problem, tmp_path):
    assert problems_of(tmp_path, *layers) == [problem]


@pytest.mark.parametrize("average", [[], [{**AVERAGE, "shape": [5]}]])
def test_a_program_of_spikes_in_and_spikes_or_means_out(average, tmp_path):
    program = read_netx(write(tmp_path / "a.net", dense(20, 12), *average))
    n = 5 if average else 20
    assert program.dt == 0.001
    (source,) = program.sources
    (given,) = program.encoder.inputs
    assert (source.name, source.shape, given.shape, given.signed) == ("input spikes", (12,), (12,), False)
    (neurons,) = program.encoder.populations
    assert (neurons.gain.tolist(), neurons.bias.tolist()) == (1000, [0] * 12)
    assert program.links == (Link("input spikes", "to_chip", 1), Link("layer 0", "from_chip", 0))
    assert program.bias_inputs == ()
    (readout,) = program.readout.readouts
    assert (readout.name, readout.shape, readout.bias.tolist()) == ("output", (n,), [0] * n)
    (decoder,) = program.readout.projections
    np.testing.assert_allclose(
        decoder.transform.csr().toarray(), 0.001 * np.kron(np.eye(n), np.full((1, 20 // n), n / 20))
    )
    assert (decoder.pre, decoder.post, decoder.tau) == ("layer 0", "output", 0)
    (synapses,) = program.synapses
    assert (synapses.pre, synapses.post, synapses.shift) == ("input spikes", "layer 0", 7)


@pytest.mark.parametrize("shape", [[4], [2, 3, 2]])
def test_a_program_of_values_in(shape, tmp_path):
    first = {"type": "input", "shape": shape, "weight": np.array([36.0]), "neuron": CUBA}
    program = read_netx(write(tmp_path / "a.net", first))
    (given,) = program.encoder.inputs
    size = int(np.prod(shape))
    assert given.given.channels_first is (len(shape) == 3)
    (step,) = given.before
    np.testing.assert_array_equal(step.transform.csr().toarray(), 36 * np.eye(size))
    assert step.offset.tolist() == [0] * size
    (bias,) = program.bias_inputs
    assert (bias.population, bias.scale, bias.mantissa_max, bias.exponent_max) == ("layer 0", 64.0, 4095, 7)
    assert program.sources == ()
    usual = {"type": "input", "shape": shape, "bias": np.array([5.0]), "neuron": CUBA}
    (step,) = read_netx(write(tmp_path / "b.net", usual)).encoder.inputs[0].before
    np.testing.assert_array_equal(step.transform.csr().toarray(), 64 * np.eye(size))
    assert step.offset.tolist() == [5] * size


def test_biases_of_every_form(tmp_path):
    """One for all, one for each channel, one for each neuron, and exact ones, which are not shifted."""

    def biases(first, **more):
        return read_netx(write(tmp_path / "a.net", IMAGE, {**first, **more})).populations[0].bias.tolist()

    image = conv([2, 1, 2], np.ones((2, 2, 7, 5)))
    assert biases(image, bias=3.0) == [192] * 4
    assert biases(image, bias=np.array([1.0, 2.0])) == [64, 128] * 2
    assert biases(image, bias=np.array([1.0, 2, 3, 4])) == [64, 192, 128, 256]
    assert biases(image, biasExact=np.array([10, 20, 30, 40])) == [10, 30, 20, 40]
    assert biases(image, biasExact=np.array([10, 20]), bias=7.0) == [10, 20] * 2
    assert biases(image) == [0] * 4
    flat = dense(3, 84)
    assert biases(flat, bias=2.0) == [128] * 3
    assert biases(flat, bias=np.array([1.0, 2, 3])) == [64, 128, 192]


def test_convolutions_with_amounts_that_differ(tmp_path):
    kernel = 2 * np.arange(1.0, 19).reshape(3, 1, 2, 3)
    first = conv([3, 4, 2], kernel, stride=[2, 3], padding=[1, 0], dilation=[2, 1], groups=1)
    one = spikes_in([1, 7, 8])
    (synapses,) = read_netx(write(tmp_path / "a.net", one, first)).synapses
    transform = synapses.transform
    assert isinstance(transform, Conv2D)
    assert (transform.strides, transform.padding, transform.out_shape) == ((2, 3), (1, 0), (4, 2, 3))
    x = np.random.default_rng(0).integers(0, 5, (7, 8))
    padded = np.pad(x, ((1, 1), (0, 0)))
    wanted = np.zeros((4, 2, 3))
    for i, j, f in np.ndindex(4, 2, 3):
        window = padded[2 * i : 2 * i + 3 : 2, 3 * j : 3 * j + 3]
        wanted[i, j, f] = (window * kernel[f, 0]).sum()
    found = transform.apply(x.reshape(1, -1).astype(float))[0].reshape(4, 2, 3) * 2 ** (synapses.shift - 6)
    np.testing.assert_array_equal(found, wanted)


def test_pooling_takes_each_channel_by_itself(tmp_path):
    pool = conv([2, 3, 2], np.arange(1.0, 7).reshape(1, 1, 2, 3), type="pool", stride=[2, 3])
    (synapses,) = read_netx(write(tmp_path / "a.net", IMAGE, pool)).synapses
    assert synapses.transform.groups == 2
    np.testing.assert_array_equal(
        np.asarray(synapses.transform.kernel)[..., 0, :],
        np.repeat(np.arange(1, 7).reshape(2, 3, 1), 2, axis=2),
    )


def test_delays_of_channels_stay_with_shared_weights_where_all_are_one(tmp_path):
    def second(delay):
        layers = (
            IMAGE,
            conv([2, 5, 4], np.ones((2, 2, 3, 3)), delay=delay),
            conv([1, 4, 3], np.ones((1, 2, 2, 2))),
        )
        return read_netx(write(tmp_path / "a.net", *layers)).synapses[1]

    assert isinstance(second(3.0).transform, Conv2D)
    assert second(3.0).delays == 3
    assert second(0.0).delays is None
    assert not isinstance(second(np.array([1.0, 2.0])).transform, Conv2D)
    assert second(np.array([1.0, 2.0])).delays.tolist() == [1, 2] * 20


def test_problems_of_all_neurons_but_of_the_first_layer_that_does_not_fit(tmp_path):
    sdnn = {"type": "SDNN"}
    found = problems_of(tmp_path, dense(20, 12, neuron=sdnn), {"type": "unpool"}, dense(3, 4, neuron=sdnn))
    assert [(p.where, p.what) for p in found] == [
        ("layer 1", "a layer of a kind that is not read"),
        ("layer 0", "neurons that the chip has not"),
        ("layer 2", "neurons that the chip has not"),
    ]
    found = problems_of(tmp_path, dense(20, 12), dense(3, 4), dense(2, 9))
    assert [p.where for p in found] == ["layer 1"]


def test_what_is_a_file_of_lava_dl(tmp_path):
    path = write(tmp_path / "a.net", dense(20, 12))
    assert is_netx(path)
    assert is_netx(tmp_path / "none.NET")  # by its name
    other = path.rename(tmp_path / "a.h5")
    assert is_netx(other)
    with h5py.File(other, "a") as file:
        file.attrs["model_config"] = "{}"
    assert not is_netx(other)
    (tmp_path / "text.h5").write_text("no HDF5")
    assert not is_netx(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["more"] = 1
    assert not is_netx(tmp_path / "empty.h5")


def test_layers_in_order(tmp_path):
    path = write(tmp_path / "a.net", *(dense(4, 4) for _ in range(11)), {"type": "flatten", "neuron": {}})
    layers = read_layers(path)
    assert [each.name for each in layers] == [f"layer {k}" for k in range(12)]
    assert [each.kind for each in layers[-2:]] == ["dense", "flatten"]
    assert "type" not in layers[0].values
    assert layers[0].values["neuron"]["vThMant"] == 10


@pytest.mark.parametrize(
    ("change", "what", "where", "value"),
    [
        (lambda f: f.pop("layer"), "no layers in the file", None, None),
        (lambda f: f.move("layer", "other"), "no layers in the file", None, None),
        (lambda f: f["layer"].move("1", "2"), "layers are not numbered from 0", "layer", "0, 2"),
        (lambda f: f["layer/1"].pop("type"), "a layer without a type", "layer 1", None),
    ],
)
def test_files_without_their_layers(change, what, where, value, tmp_path):
    path = write(tmp_path / "a.net", dense(20, 12), dense(5, 20))
    with h5py.File(path, "a") as file:
        change(file)
    assert refused(read_layers, path) == [Problem(what, where or str(path), value, remedy=AGAIN)]


def test_an_empty_list_of_layers(tmp_path):
    path = tmp_path / "a.net"
    with h5py.File(path, "w") as file:
        file.create_group("layer")
    with pytest.raises(ConversionError, match="no layers in the file"):
        read_layers(path)


def test_what_comes_back_is_a_dense_matrix_or_the_rows_of_one(tmp_path):
    """A layer of spikes of images is flattened as the file has it, channels first."""
    weight = 2.0 * np.arange(1, 13).reshape(1, 12)
    program = read_netx(write(tmp_path / "a.net", spikes_in([2, 2, 3]), {**dense(1, 12), "weight": weight}))
    (synapses,) = program.synapses
    stored = weight.reshape(2, 6).T.reshape(-1)  # pixels with their channels
    found = np.asarray(synapses.transform.csr().toarray(), float)[0] * 2 ** (synapses.shift - 6)
    assert found.tolist() == stored.tolist()

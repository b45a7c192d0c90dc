"""Networks of lava-dl: files that the tests write, and the neuron in a few lines of numpy."""

import re

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import loihi_deploy as ld
from loihi_deploy.cli import commands
from loihi_deploy.errors import ConversionError, InputError
from loihi_deploy.frontends.netx import read_netx

CUBA = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 10, "refDelay": 1}
RNG = np.random.default_rng(0)


def write(path, *layers):
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for key, value in {"neuron": CUBA, **layer}.items():
                place = f"layer/{number}/{key}"
                for name, item in value.items() if isinstance(value, dict) else [("", value)]:
                    file[f"{place}/{name}".rstrip("/")] = item
    return path


def spikes_in(shape, **more):
    return {"type": "input", "shape": shape, "neuron": {}, **more}


def dense(n_out, n_in, **more):
    weight = 2 * RNG.integers(-40, 60, (n_out, n_in))
    return {"type": "dense", "shape": [n_out, 1, 1], "weight": weight.astype(np.float32), **more}


def lava(currents, neuron=CUBA, bias=0):
    """Spikes (steps, n) of Lava's fixed-point process for sums of weights (steps, n)."""
    u, v = np.zeros(currents.shape[1], int), np.zeros(currents.shape[1], int)
    spikes = np.zeros(currents.shape, bool)
    for t, q in enumerate(currents):
        u = np.sign(u) * (np.abs(u) * (4096 - neuron["iDecay"]) >> 12) + (q << 6)
        v = np.sign(v) * (np.abs(v) * (4096 - neuron["vDecay"]) >> 12) + u + (bias << 6)
        spikes[t] = v > neuron["vThMant"] << 6
        v[spikes[t]] = 0
    return spikes


def later(x, steps=1):
    return np.concatenate([np.zeros((steps, *x.shape[1:]), x.dtype), x])[: len(x)]


def presented(path, x, name):
    """Spikes of a layer for input spikes (steps, *shape)."""
    deployment = ld.deploy(path)
    result = deployment.run(x[None].astype(np.float32), len(x), record=[name])
    return result.recorded[name]["spikes"][0], result, deployment


def test_dense_layers_with_biases_and_delays_are_lavas(tmp_path):
    x = RNG.random((60, 12)) < 0.3
    bias = RNG.integers(-5, 9, 20)
    first, second = dense(20, 12, bias=bias, delay=np.arange(20) % 5), dense(6, 20)
    path = write(tmp_path / "a.net", spikes_in([1, 1, 12]), {"type": "flatten", "neuron": {}}, first, second)
    spikes = lava(later(x) @ first["weight"].T.astype(int), bias=bias)
    delayed = np.stack([later(spikes[:, i], 1 + i % 5) for i in range(20)], axis=1)
    wanted = lava(delayed @ second["weight"].T.astype(int))
    found, result, deployment = presented(path, x, "layer 3")
    assert wanted.sum() > 50
    assert (found == wanted).all()
    np.testing.assert_allclose(result.outputs[0], wanted[30:].mean(0), atol=1e-12)  # spikes per step
    deployment.save(tmp_path / "a.loihi")
    again = ld.load(tmp_path / "a.loihi").run(x[None].astype(np.float32), len(x))
    assert (again.outputs == result.outputs).all()


@pytest.mark.parametrize("end", ["spikes", "average", "decoded"])
def test_delays_in_front_of_the_output_are_the_hosts(end, tmp_path):
    """Images, so that neurons stand in another order in the file than on chip."""
    late = RNG.integers(0, 7, 24)
    pool = {"type": "pool", "shape": [2, 4, 3], "weight": np.full((1, 1, 1, 1), 61.0), "delay": late}
    last = dense(5, 24, neuron={**CUBA, "vThMant": (1 << 17) - 1, "vDecay": 0, "iDecay": 4096})
    behind = {
        "spikes": [],
        "average": [{"type": "average", "shape": [3, 1, 1], "neuron": {}}],
        "decoded": [last],
    }
    path = write(tmp_path / "d.net", spikes_in([2, 4, 3]), pool, *behind[end])
    given = RNG.random((40, 2, 4, 3)) < 0.4
    spikes = lava(61 * later(given).reshape(40, 24).astype(int))
    delayed = np.stack([later(spikes[:, i], late[i]) for i in range(24)], axis=1).astype(float)
    weights = {
        "spikes": np.eye(24),
        "average": np.kron(np.eye(3), np.full((1, 8), 1 / 8)),
        "decoded": last["weight"],
    }
    _, result, deployment = presented(path, given, "layer 1")
    assert delayed.sum() > 50
    np.testing.assert_allclose(result.outputs[0], (delayed @ weights[end].T)[20:].mean(0), atol=1e-9)
    assert [p.name for p in deployment.program.populations] == ["layer 1"]


def test_convolutions_pooling_and_flattening_are_lavas(tmp_path):
    x = RNG.random((40, 2, 7, 6)) < 0.4
    kernel = 2 * RNG.integers(-20, 40, (4, 1, 3, 3))
    conv = {
        "type": "conv",
        "shape": [4, 4, 3],
        "weight": kernel.astype(np.float32),
        "stride": [2, 2],
        "padding": [1, 1],
        "dilation": [1, 1],
        "groups": 2,
        "bias": np.array([0.0, 3, -2, 5]),
    }
    pool = {
        "type": "pool",
        "shape": [4, 2, 1],
        "weight": np.full((1, 1, 2, 2, 1), 61.0),
        "stride": 2,
        "padding": 0,
    }
    last = dense(5, 8)
    flat = {"type": "flatten", "neuron": {}}
    path = write(tmp_path / "b.net", spikes_in([2, 7, 6]), conv, pool, flat, last)
    padded = np.pad(later(x), ((0, 0), (0, 0), (1, 1), (1, 1))).astype(int)
    q = np.zeros((40, 4, 4, 3), int)
    for i in range(4):
        for j in range(3):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            for f in range(4):
                q[:, f, i, j] = (window[:, f // 2] * kernel[f, 0]).sum(axis=(1, 2))
    bias = np.repeat([0, 3, -2, 5], 12)
    s1 = lava(q.reshape(40, -1), bias=bias).reshape(40, 4, 4, 3)
    pooled = later(s1)[:, :, :, :2].reshape(40, 4, 2, 2, 1, 2).sum(axis=(3, 5)) * 61
    s2 = lava(pooled.reshape(40, -1))
    wanted = lava(later(s2) @ last["weight"].T.astype(int))
    found, _, _ = presented(path, x, "layer 4")
    assert wanted.any()
    assert s2.any()
    assert (found == wanted).all()


def test_recurrence_and_averages_are_lavas(tmp_path):
    x = RNG.random((50, 8)) < 0.5
    layer = dense(6, 8, type="dense_rec", weight_rec=2.0 * RNG.integers(-30, 30, (6, 6)))
    path = write(tmp_path / "c.net", layer, {"type": "average", "shape": [2], "neuron": {}})
    arrived, wanted = later(x) @ layer["weight"].T.astype(int), np.zeros((50, 6), bool)
    for t in range(50):  # what comes back is a step late: the last row is wrong until its turn
        back = later(wanted).astype(int) @ layer["weight_rec"].T.astype(int)
        wanted[: t + 1] = lava((arrived + back)[: t + 1])
    found, result, _ = presented(path, x, "layer 0")
    assert wanted.any()
    assert (found == wanted).all()
    means = wanted[25:].reshape(25, 2, 3).mean(axis=(0, 2))
    np.testing.assert_allclose(result.outputs[0], means, atol=1e-12)


def test_an_input_layer_takes_its_bias_and_a_last_layer_is_decoded(tmp_path):
    first = {"type": "input", "shape": [4], "weight": 36.0, "bias": 34.0, "neuron": {**CUBA, "iDecay": 4096}}
    path = write(tmp_path / "d.net", first, {**dense(3, 4), "neuron": {}})
    x = np.array([[-1.0, 0.5, 0.25, 1.0]])
    neuron = first["neuron"]
    spikes = lava(np.zeros((30, 4), int), neuron, np.round(36 * x[0] + 34).astype(int))
    weight = dense_weight(path)
    result = ld.deploy(path, options=ld.DeployOptions(readout_window=1.0)).run(x, 30)
    np.testing.assert_allclose(result.outputs[0], spikes.mean(0) @ weight.T, atol=1e-9)


def dense_weight(path):
    with h5py.File(path) as file:
        return file["layer/1/weight"][()]


def altered(tmp_path, change):
    path = write(tmp_path / "e.net", spikes_in([1, 1, 12]), dense(20, 12), dense(6, 20))
    with h5py.File(path, "a") as file:
        change(file["layer"])
    return path


def put(place, value):
    def change(layers):
        if place in layers:
            del layers[place]
        layers[place] = value

    return change


def claim(layers):
    del layers["1/weight"]
    layers.create_dataset("1/weight", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def claim_little(layers):
    del layers["1/weight"]
    layers.create_dataset("1/weight", (1 << 10, 1 << 10), "f4", chunks=(64, 64))


def link(layers):
    del layers["1/weight"]
    layers["1/weight"] = h5py.ExternalLink("/etc/passwd", "/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("1/weight", np.full((20, 12), np.nan)), "not finite"),
        (put("1/weight", np.full((20, 12), 0.5)), "no whole numbers"),
        (put("1/weight", np.full((20, 12), 300.0)), "beyond 8 bits"),
        (put("1/weight", np.zeros((20, 13))), "weights do not fit"),
        (put("1/weight", np.zeros((20, 12, 2))), "weights do not fit"),
        (put("1/shape", np.array([-4, 1, 1])), "not a shape"),
        (put("1/shape", np.array([1 << 40, 1 << 40, 1])), "no whole numbers"),
        (put("1/bias", np.zeros(3)), "biases do not fit"),
        (put("1/bias", np.full(20, 1e6)), "biases that the chip has not"),
        (put("1/delay", np.full(20, 63)), "delays beyond"),
        (put("1/delay", np.zeros(7)), "delays are not those"),
        (put("1/neuron/iDecay", 0), "iDecay that the chip has not"),
        (put("1/neuron/vThMant", 1 << 17), "vThMant that the chip has not"),
        (put("1/neuron/type", "SDNN"), "neurons that the chip has not"),
        (put("1/neuron/gradedSpike", True), "spikes that carry values"),
        (put("1/type", "convT"), "a layer of a kind that is not read"),
        (put("7/type", "dense"), "not numbered"),
        (claim, "more numbers are claimed"),
        (claim_little, "more numbers are claimed"),
        (link, "a link, which is not followed"),
    ],
)
def test_files_that_cannot_be_read_say_so(tmp_path, change, message):
    with pytest.raises(ConversionError, match=message):
        ld.deploy(altered(tmp_path, change))


def test_problems_of_all_layers_come_at_once(tmp_path):
    path = write(
        tmp_path / "f.net", {"type": "convT"}, dense(3, 4, neuron={"type": "SDNN"}), {"type": "unpool"}
    )
    with pytest.raises(ConversionError) as caught:
        read_netx(path)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("kept", [0, 5, 100, 2000])
def test_truncated_files_say_so(tmp_path, kept):
    path = write(tmp_path / "g.net", spikes_in([1, 1, 12]), dense(20, 12))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConversionError, match="damaged"):
        ld.deploy(path)


def test_what_needs_floats_is_refused_and_options_that_decide_nothing_are(tmp_path):
    path = write(tmp_path / "h.net", spikes_in([1, 1, 12]), dense(20, 12), dense(6, 20))
    deployment, x = ld.deploy(path), np.zeros((2, 1, 1, 12))
    for call in (deployment.verify, lambda x: deployment.tune(x, [0, 1])):
        with pytest.raises(InputError, match="no floats to compare with"):
            call(x.reshape(2, 12))
    assert deployment.evaluate(x.reshape(2, 12), [0, 1], 10).n_total == 2
    values = deployment.report_values(x.reshape(2, 12), [0, 1], 10)
    assert values["accuracy"]["n_total"] == 2
    assert "rate_network" not in values["accuracy"]
    assert "stages" not in values
    deployment.report(tmp_path / "h.html", x.reshape(2, 12), steps=10)
    with pytest.raises(InputError) as caught:
        ld.deploy(path, calibration=x, options=ld.DeployOptions(encoder="bias", steps="auto"))
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match=re.escape("loihi_deploy.deploy(path)")):
        ld.convert(path)


def test_the_command_line_compiles_it(tmp_path):
    path = write(tmp_path / "i.net", spikes_in([1, 1, 12]), dense(20, 12), dense(6, 20))
    made = CliRunner().invoke(commands, ["compile", str(path), "-o", str(tmp_path / "i.loihi")])
    assert made.exit_code == 0, made.stderr
    assert ld.load(tmp_path / "i.loihi").program == read_netx(path)
    refused = CliRunner().invoke(commands, ["compile", str(path), "--calibration", "fashion-mnist"])
    assert refused.exit_code == 2
    assert "nothing is set from samples" in " ".join(refused.stderr.split())

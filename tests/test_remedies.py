"""Every remedy has a test that follows it; those without a better place are followed here."""

import gzip
import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.analysis.energy.wiring import wiring
from loihi_deploy.chip.boards import config_folder, load_board
from loihi_deploy.data import load_cifar10, load_idx
from loihi_deploy.data.arrays import read_arrays
from loihi_deploy.data.idx import read_idx_file
from loihi_deploy.data.image_folder import read_images
from loihi_deploy.data.named import Form, check_named, read_labelled, read_labels, read_samples
from loihi_deploy.errors import LoihiDeployError
from loihi_deploy.export import sanafe
from loihi_deploy.files import write_file
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.ir.program import Noise
from loihi_deploy.stages.normalize import scale_firing_rates
from tests import remedies
from tests.remedies import follows

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (12, 6))
Y = np.arange(12) % 3
FRAMES = RNG.uniform(0, 1, (12, 4, 6))
OF_LENGTHS = ld.Sequences(FRAMES, [4] * 11 + [3])
MANY = np.ones(200)


def network(outputs=3, names="ab", scale=1.0, out="linear", inputs=("x",)):
    populations = tuple(Population(name, (10,), NeuronModel(), 1.0, 0.1) for name in names)
    chain = [*names, "y"]
    return Graph(
        tuple(Input(name, (6,)) for name in inputs),
        populations,
        (
            *(Projection(name, names[0], Dense(scale * RNG.normal(size=(10, 6)))) for name in inputs),
            *(
                Projection(pre, post, Dense(RNG.normal(size=(outputs if post == "y" else 10, 10))), 0.003)
                for pre, post in pairwise(chain)
            ),
        ),
        (Readout("y", (outputs,), np.zeros(outputs), out),),
    )


GRAPH = network()
DEPLOYMENT = ld.deploy(GRAPH, "loihi", X)
TWO_INPUTS = ld.deploy(network(inputs=("x", "z")), "loihi", {"x": X, "z": X})
ONE_OUTPUT = network(outputs=1)
INTEGERS = ld.Deployment.from_parts(
    Graph(GRAPH.inputs, (), (), GRAPH.readouts), DEPLOYMENT.program, DEPLOYMENT.mapping
)
FORM = Form({"x": (6,)}, False, "0..1")


def deploy(graph=GRAPH, calibration=X, labels=None, **options):
    return ld.deploy(graph, "loihi", calibration, ld.DeployOptions(**options), labels=labels)


def idx(values):
    values = np.asarray(values, np.uint8)
    return (
        b"\x00\x00\x08"
        + bytes([values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.tobytes()
    )


def idx_folder(folder, left_out=""):
    """A folder of IDX files, without those whose name has some text."""
    for part in ("train", "t10k"):
        for name, values in (
            (f"{part}-images-idx3-ubyte", np.ones((3, 2, 2))),
            (f"{part}-labels-idx1-ubyte", [0, 1, 2]),
        ):
            if not left_out or left_out not in name:
                (folder / name).write_bytes(idx(values))
    return folder


def with_labels(folder):
    written(folder / "t10k-labels-idx1-ubyte.gz", gzip.compress(idx([0, 1, 2])))
    return folder


def cifar_folder(folder, content=None, names=None):
    records = np.zeros((2, 3073), np.uint8)
    for name in names or [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
        (folder / name).write_bytes(records.tobytes() if content is None else content)
    return folder


def written(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def saved(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def image(path):
    from PIL import Image

    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    return path


FILES = [
    follows(
        "Name the folder that holds the IDX files",
        lambda p: load_idx(p / "no"),
        lambda p: load_idx(idx_folder(p)),
    ),
    follows(
        "Name the folder that holds the files of CIFAR-10",
        lambda p: load_cifar10(p / "no"),
        lambda p: load_cifar10(cifar_folder(p)),
    ),
    follows(
        "Put … or ….gz there",
        lambda p: load_idx(idx_folder(p, "t10k-labels")),
        lambda p: (
            idx_folder(p, "t10k-labels"),
            written(p / "t10k-labels-idx1-ubyte.gz", gzip.compress(idx([0, 1, 2]))),
            load_idx(p),
        ),
    ),
    follows(
        "Fetch the file again",
        lambda p: read_idx_file(written(p / "x-idx1-ubyte", idx([1, 2, 3])[:-1])),
        lambda p: read_idx_file(written(p / "x-idx1-ubyte", idx([1, 2, 3]))),
        id="a truncated IDX file",
    ),
    follows(
        "Fetch the file again",
        lambda p: load_cifar10(cifar_folder(p, b"short")),
        lambda p: load_cifar10(cifar_folder(p)),
        id="a truncated batch of CIFAR-10",
    ),
    follows(
        "Unpack the binary version of CIFAR-10 there",
        lambda p: load_cifar10(cifar_folder(p, names=["test_batch.bin"])),
        lambda p: load_cifar10(cifar_folder(p)),
    ),
    follows(
        "Give a row of numbers for each sample",
        lambda p: read_arrays(str(written(p / "x.csv", "a,b\n"))),
        lambda p: read_arrays(str(written(p / "x.csv", "a,b\n1,2\n"))),
    ),
    follows(
        "Give one of: .npy, .npz with file.npz:key, .csv, an IDX file, an IDX folder or a folder of images by class",
        lambda p: read_arrays(str(written(p / "x.dat", "1"))),
        lambda p: read_arrays(str(written(p / "x.csv", "1,2\n"))),
    ),
    follows(
        "Give one of those",
        lambda p: read_arrays(saved(p / "a.npz", x=X) + ":z"),
        lambda p: read_arrays(saved(p / "a.npz", x=X) + ":x"),
    ),
    follows(
        "Write it with numpy.save or numpy.savez, without Python objects",
        lambda p: (np.save(p / "o.npy", np.array([object()])), read_arrays(str(p / "o.npy"))),
        lambda p: (np.save(p / "o.npy", X), read_arrays(str(p / "o.npy"))),
    ),
    follows(
        "Take it out",
        lambda p: read_images([image(p / "a.png"), written(p / "b.png", "no image")], (2, 2, 1)),
        lambda p: read_images([image(p / "a.png")], (2, 2, 1)),
    ),
    follows(
        "Give a folder of images by class, IDX files, a .npz file with x and y, or a .csv file with a column named …",
        lambda p: (np.save(p / "x.npy", X), read_labelled(str(p / "x.npy"), FORM)),
        lambda p: read_labelled(saved(p / "xy.npz", x=X, y=Y), FORM),
    ),
    follows(
        "Give one of: .npy, .npz with file.npz:key, .csv, an IDX file, an IDX folder or…; or …",
        lambda p: check_named(str(p / "nowhere")),
        lambda p: check_named(str(written(p / "x.csv", "1,2\n")), "fashion-mnist"),
    ),
    follows(
        "Write them with numpy.savez, each under the name of its input",
        lambda p: read_samples(saved(p / "a.npz", x=X), Form({"x": (6,), "z": (6,)}, False, "0..1")),
        lambda p: read_samples(saved(p / "a.npz", x=X, z=X), Form({"x": (6,), "z": (6,)}, False, "0..1")),
    ),
    follows(
        "Say which: …:…",
        lambda p: read_labels(saved(p / "a.npz", first=Y, second=Y)),
        lambda p: read_labels(saved(p / "a.npz", first=Y, second=Y) + ":first"),
    ),
    follows("Give the path of a file", lambda p: write_file("", b""), lambda p: write_file(p / "x", b"")),
    follows(
        "Give the path of a file in it", lambda p: write_file(p, b""), lambda p: write_file(p / "x", b"")
    ),
    follows(
        "Give the path of a file, or an open binary file",
        lambda p: DEPLOYMENT.save(3),
        lambda p: DEPLOYMENT.save(p / "net.loihi"),
    ),
    follows(
        "Choose a path in a folder that exists and is writable",
        lambda p: write_file(p / "no" / "x", b""),
        lambda p: write_file(p / "x", b""),
    ),
    follows(
        "Change the ending",
        lambda p: DEPLOYMENT.report(p / "report.doc"),
        lambda p: DEPLOYMENT.report(p / "report.txt"),
    ),
    follows(
        "Give a .loihi file",
        lambda p: ld.load(other_archive(p / "other.loihi")),
        lambda p: (DEPLOYMENT.save(p / "net.loihi"), ld.load(p / "net.loihi")),
    ),
    follows(
        "Save it again from its source",
        lambda p: (DEPLOYMENT.save(p / "net.loihi"), damage(p / "net.loihi"), ld.load(p / "net.loihi")),
        lambda p: (DEPLOYMENT.save(p / "net.loihi"), ld.load(p / "net.loihi")),
    ),
    follows(
        "Give one: x[:1]",
        lambda p: sanafe.to_sanafe(DEPLOYMENT, X, p / "a"),
        lambda p: sanafe.to_sanafe(DEPLOYMENT, X[:1], p / "a"),
    ),
    follows(
        "Name a file, or one of: …",
        lambda p: load_board("no/such.toml"),
        lambda p: load_board("loihi"),
    ),
    follows(
        "…A board file of your own is given by its path",
        lambda p: load_board("nowhere"),
        lambda p: load_board(config_folder() / "loihi.toml"),
    ),
]


def other_archive(path):
    import json
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"format": "something else"}))
    return path


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


ARGUMENTS = [
    follows(
        "Give samples, too",
        lambda p: DEPLOYMENT.report_values(y=Y),
        lambda p: DEPLOYMENT.report_values(X, Y, 4),
    ),
    follows(
        "Use evaluate, which counts decisions on labelled samples",
        lambda p: INTEGERS.verify(X, Y, 4),
        lambda p: INTEGERS.evaluate(X, Y, 4),
    ),
    follows(
        "Give one: Criteria(max_chips=1)",
        lambda p: DEPLOYMENT.check(),
        lambda p: DEPLOYMENT.check(criteria=ld.Criteria(max_chips=1)),
    ),
    follows(
        "Give samples",
        lambda p: DEPLOYMENT.check(criteria=ld.Criteria(max_host_spikes=1e9)),
        lambda p: DEPLOYMENT.check(X, criteria=ld.Criteria(max_host_spikes=1e9), steps=4),
    ),
    follows(
        "Give samples with a class label for each",
        lambda p: DEPLOYMENT.check(X, None, ld.Criteria(min_accuracy=0.1), steps=4),
        lambda p: DEPLOYMENT.check(X, Y, ld.Criteria(min_accuracy=0.0), steps=4),
    ),
    follows(
        "Give samples with a class label for each. The rate network has to be known: it is not for networks that…",
        lambda p: DEPLOYMENT.check(X, None, ld.Criteria(max_drop=1.0), steps=4),
        lambda p: DEPLOYMENT.check(X, Y, ld.Criteria(max_drop=1.0), steps=4),
    ),
    follows(
        "Map this program: map_to_cores(program, board)",
        lambda p: ld.Deployment.from_parts(GRAPH, DEPLOYMENT.program, TWO_INPUTS.mapping),
        lambda p: ld.Deployment.from_parts(
            DEPLOYMENT.graph, DEPLOYMENT.program, ld.map_to_cores(DEPLOYMENT.program, "loihi")
        ),
    ),
    follows(
        "Give some hundred samples as calibration=..., or keep the source's own gains…",
        lambda p: deploy(calibration=None),
        lambda p: deploy(calibration=None, normalization="none"),
        id="no calibration, the source's own gains",
    ),
    follows(
        "Give some hundred samples as calibration=..., or keep the source's own gains…",
        lambda p: deploy(calibration=None),
        lambda p: deploy(),
        id="no calibration, samples",
    ),
    follows(
        "Give some hundred samples as calibration=..., or leave steps out",
        lambda p: deploy(calibration=None, steps=20, normalization="none"),
        lambda p: (deploy(steps=20), deploy(calibration=None, normalization="none")),
    ),
    follows(
        "Leave steps out", lambda p: deploy(without_readout(), steps=20), lambda p: deploy(without_readout())
    ),
    follows(
        "Leave steps out, and present sequences with steps_per_frame",
        lambda p: deploy(calibration=FRAMES, steps=20),
        lambda p: deploy(calibration=FRAMES, steps_per_frame=10).run(FRAMES, steps_per_frame=5),
    ),
    follows(
        "Leave one of them out: steps are those of samples that stand still",
        lambda p: ld.DeployOptions(steps=20, steps_per_frame=5),
        lambda p: (ld.DeployOptions(steps=20), ld.DeployOptions(steps_per_frame=5)),
    ),
    follows(
        "Give one of them: steps are those of the whole presentation",
        lambda p: DEPLOYMENT.run(FRAMES, 20, steps_per_frame=5),
        lambda p: (DEPLOYMENT.run(FRAMES, 20), DEPLOYMENT.run(FRAMES, steps_per_frame=5)),
    ),
    follows(
        "Give record=[…]",
        lambda p: DEPLOYMENT.run(X, 4, record="b"),
        lambda p: DEPLOYMENT.run(X, 4, record=["b"]),
    ),
    follows(
        "Use backend='emulator', which gives the same spikes",
        lambda p: DEPLOYMENT.run(X, 4, backend="nengo_loihi", return_state=True),
        lambda p: DEPLOYMENT.run(X, 4, backend="emulator", return_state=True),
    ),
    follows(
        "Present fewer steps, or record less: fewer samples at a time, chosen neurons, or 'events' for 'spikes'",
        lambda p: DEPLOYMENT.run(X, 10**12),
        lambda p: DEPLOYMENT.run(X, 10),
    ),
    follows(
        "Deploy it with another encoder",
        lambda p: deploy(encoder="ttfs").run(FRAMES, 8),
        lambda p: deploy(encoder="on_off").run(FRAMES, 8),
    ),
    follows(
        "Deploy it again with calibration samples that have such values",
        lambda p: deploy(encoder="bias").run(-X, 8),
        lambda p: deploy(encoder="bias", calibration=np.concatenate([X, -X])).run(-X, 8),
    ),
    follows(
        "Give at least one sample", lambda p: DEPLOYMENT.run(X[:0], 4), lambda p: DEPLOYMENT.run(X[:1], 4)
    ),
    follows(
        "Give one array for each input: a dict by these names, or a list in this order",
        lambda p: TWO_INPUTS.run(X, 4),
        lambda p: (TWO_INPUTS.run({"x": X, "z": X}, 4), TWO_INPUTS.run([X, X], 4)),
    ),
    follows(
        "Fill them in, or leave the samples out",
        lambda p: DEPLOYMENT.run(np.ma.masked_less(X, 0.1), 4),
        lambda p: (
            DEPLOYMENT.run(np.ma.masked_less(X, 0.1).filled(0.0), 4),
            DEPLOYMENT.run(X[(X >= 0.1).all(axis=1)], 4),
        ),
    ),
    follows(
        "Scale them as the network was trained on",
        lambda p: DEPLOYMENT.run(1e35 * X, 4),
        lambda p: DEPLOYMENT.run(X, 4),
    ),
    follows(
        "Reshape the samples",
        lambda p: DEPLOYMENT.run(X.T, 4),
        lambda p: DEPLOYMENT.run(X.T.reshape(12, 6), 4),
    ),
    follows(
        "Give every sequence at least one frame",
        lambda p: DEPLOYMENT.run(FRAMES[:, :0], 4),
        lambda p: DEPLOYMENT.run(FRAMES[:, :1], 4),
    ),
    follows(
        "Give an array, or a list of arrays (n_frames, ...), one for each sequence",
        lambda p: DEPLOYMENT.run([FRAMES[0].tolist(), FRAMES[1, :2].tolist()], steps_per_frame=1),
        lambda p: DEPLOYMENT.run([FRAMES[0], FRAMES[1, :2]], steps_per_frame=1),
    ),
    follows(
        "Leave these samples out",
        lambda p: DEPLOYMENT.evaluate(X, np.ma.masked_less(Y, 1), 4),
        lambda p: DEPLOYMENT.evaluate(X[Y >= 1], Y[Y >= 1], 4),
    ),
    follows(
        "Give class indices, or one-hot vectors of 0 and 1",
        lambda p: DEPLOYMENT.evaluate(X, 0.5 + Y, 4),
        lambda p: (DEPLOYMENT.evaluate(X, Y, 4), DEPLOYMENT.evaluate(X, np.eye(3)[Y], 4)),
    ),
    follows(
        "End the network in a sigmoid, or in one output for each class; give values as floats",
        lambda p: deploy(ONE_OUTPUT).evaluate(X, Y % 2, 4),
        lambda p: (
            deploy(network(outputs=1, out="sigmoid")).evaluate(X, Y % 2, 4),
            DEPLOYMENT.evaluate(X, Y, 4),
        ),
    ),
    follows(
        "The populations are …",
        lambda p: scale_firing_rates(GRAPH, {"c": 50.0}),
        lambda p: scale_firing_rates(GRAPH, {"b": 50.0}),
    ),
    follows(
        "There are …",
        lambda p: deploy(layer_synapses={"c": 0.01}),
        lambda p: deploy(layer_synapses={"b": 0.01}),
    ),
    follows(
        "Quantize the network for this board's chip",
        lambda p: ld.map_to_cores(DEPLOYMENT.program, coarse_board()),
        lambda p: ld.map_to_cores(
            ld.quantize(ld.partition(DEPLOYMENT.graph), coarse_board()), coarse_board()
        ),
    ),
    follows(
        "Give every layer a name of its own", lambda p: network(names="aa"), lambda p: network(names="ab")
    ),
    follows(
        "Give firing rates by hand",
        lambda p: deploy(recurrent()),
        lambda p: deploy(recurrent(), normalization="scale_firing_rates", scale_firing_rates=100.0),
    ),
    follows(
        "Give the trained model itself, or the file that model.save() wrote, not its outputs",
        lambda p: ld.convert(np.zeros(3)),
        lambda p: ld.convert(GRAPH),
    ),
    follows(
        "Allow …",
        lambda p: framed().tune(FRAMES, Y, max_steps=3, max_drop=1.0),
        lambda p: framed().tune(FRAMES, Y, max_steps=4, max_drop=1.0),
    ),
    follows(
        "Leave one of them out",
        lambda p: DEPLOYMENT.run(X, 4, stream=True, reset="gap"),
        lambda p: (DEPLOYMENT.run(X, 4, stream=True), DEPLOYMENT.run(X, 4, reset="gap")),
    ),
    follows(
        "Say reset='gap', or leave it out",
        lambda p: DEPLOYMENT.run(X, 4, gap=3),
        lambda p: (DEPLOYMENT.run(X, 4, reset="gap", gap=3), DEPLOYMENT.run(X, 4)),
    ),
    follows(
        "Leave it out: spikes are the same",
        lambda p: DEPLOYMENT.run(X, 4, streamed=True),
        lambda p: DEPLOYMENT.run(X, 4),
    ),
    follows(
        "Use stream=True, which continues",
        lambda p: DEPLOYMENT.run(X, 4, reset="gap", return_state=True),
        lambda p: DEPLOYMENT.run(X, 4, stream=True, return_state=True),
    ),
    follows(
        "Start each sample from rest, or read the samples into memory and evaluate them in one process",
        lambda p: DEPLOYMENT.evaluate(mapped(p), Y, 4, stream=True),
        lambda p: (
            DEPLOYMENT.evaluate(mapped(p), Y, 4),
            DEPLOYMENT.evaluate(np.array(mapped(p)), Y, 4, stream=True),
        ),
    ),
    follows(
        "Leave client out: the board is attached to this process",
        lambda p: DEPLOYMENT.evaluate(X, Y, 4, client=object(), backend="hardware"),
        lambda p: DEPLOYMENT.evaluate(X, Y, 4),
    ),
    follows(
        "Use another encoder",
        lambda p: deploy(recurrent("a"), encoder="ttfs", **SCALED),
        lambda p: deploy(recurrent("a"), encoder="on_off", **SCALED),
    ),
    follows(
        "Map this program: loihi_deploy.map_to_cores(program, board)",
        lambda p: wiring(DEPLOYMENT.program, TWO_INPUTS.mapping),
        lambda p: wiring(DEPLOYMENT.program, ld.map_to_cores(DEPLOYMENT.program, "loihi")),
    ),
    follows(
        "The nearest is …",
        lambda p: ld.Criteria.from_names({"max_chip": 1}),
        lambda p: ld.Criteria.from_names({"max_chips": 1}),
    ),
    follows(
        "Give samples with the values that the outputs should have, for a network that decides between no classes",
        lambda p: DEPLOYMENT.check(X, Y, ld.Criteria(max_rmse=9.0), steps=4),
        lambda p: deploy(ONE_OUTPUT).check(X, 0.5 * Y, ld.Criteria(max_rmse=1e9), steps=4),
    ),
    follows(
        "Make a new one: --update-baseline, or Check.write_baseline in Python",
        lambda p: DEPLOYMENT.check(X, Y, ld.Criteria(), baseline=p / "no.json", steps=4),
        lambda p: DEPLOYMENT.check(X, Y, ld.Criteria(), baseline=kept_baseline(p / "kept.json"), steps=4),
    ),
    follows(
        "Give one frame",
        lambda p: sanafe.to_sanafe(deploy(encoder="bias"), FRAMES[:1], p / "a"),
        lambda p: sanafe.to_sanafe(deploy(encoder="bias"), FRAMES[:1, 0], p / "a"),
    ),
    follows(
        "Map a smaller network, or other layers",
        lambda p: sanafe.to_sanafe(on_two_chips(fix={"b": 2}), X[:1], p / "a"),
        lambda p: sanafe.to_sanafe(on_two_chips(fix=None), X[:1], p / "a"),
    ),
    follows(
        "Leave it out",
        lambda p: sanafe.to_sanafe(noisy(Noise(5)), X[:1], p / "a"),
        lambda p: sanafe.to_sanafe(noisy(None), X[:1], p / "a"),
    ),
    follows(
        "A file of your own is given by its path",
        lambda p: DEPLOYMENT.energy(X, 4, coefficients="mine"),
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p)),
    ),
    follows(
        "…Correct the key or remove it",
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p, "more = 3\n")),
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p)),
    ),
    follows(
        'Add … = { value = …, source = "…", trust = "…" }',
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p, left_out="spike_pj")),
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p)),
    ),
    follows(
        'Add description = "…"',
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p, left_out="description")),
        lambda p: DEPLOYMENT.energy(X, 4, coefficients=costs(p)),
    ),
    follows(
        "…Correct the name or the path",
        lambda p: load_board(board_file(p, ("loihi1", "loihi7"))),
        lambda p: load_board(board_file(p)),
    ),
    follows(
        'Add … = { value = …, source = "…" }',
        lambda p: load_board(board_file(p, ("n_chips =", "# n_chips ="))),
        lambda p: load_board(board_file(p)),
    ),
    follows(
        'Add … = "…"',
        lambda p: load_board(board_file(p, ("description =", "# description ="))),
        lambda p: load_board(board_file(p)),
    ),
    follows(
        "Head its entries with […]",
        lambda p: load_board(board_file(p, chip=("[core]", "[cores]"))),
        lambda p: load_board(board_file(p, chip=("[core]", "[core]"))),
    ),
    follows(
        "Give one of them",
        lambda p: ld.Sequences(FRAMES, [4] * 12, np.ones((12, 4), bool)),
        lambda p: ld.Sequences(FRAMES, [4] * 12),
    ),
    follows(
        "Give lengths, a mask, or a list with an array for each sequence",
        lambda p: ld.Sequences(FRAMES),
        lambda p: (ld.Sequences(FRAMES, [4] * 12), ld.Sequences([FRAMES[0], FRAMES[1, :2]])),
    ),
    follows(
        "Cut the masked frames out, and pad at the end",
        lambda p: ld.Sequences(FRAMES, mask=np.tile([True, False, True, True], (12, 1))),
        lambda p: ld.Sequences(FRAMES[:, [0, 2, 3, 3]], mask=np.tile([True, True, True, False], (12, 1))),
    ),
    follows(
        "Give every frame of every sequence the same values",
        lambda p: DEPLOYMENT.run(ld.Sequences([FRAMES[0], FRAMES[1, :2, :5]]), steps_per_frame=2),
        lambda p: DEPLOYMENT.run(ld.Sequences([FRAMES[0], FRAMES[1, :2]]), steps_per_frame=2),
    ),
    follows(
        "Leave client out: such samples are presented length by length, in one process",
        lambda p: DEPLOYMENT.evaluate(OF_LENGTHS, Y, steps_per_frame=2, client=object()),
        lambda p: DEPLOYMENT.evaluate(OF_LENGTHS, Y, steps_per_frame=2),
    ),
    follows(
        "Use reset=True, or deploy with another encoder",
        lambda p: deploy(encoder="bias").run(X, 4, reset="gap"),
        lambda p: (
            deploy(encoder="bias").run(X, 4, reset=True),
            deploy(encoder="on_off").run(X, 4, reset="gap"),
        ),
    ),
    follows(
        "Lower the firing rate of this layer, or count overflows with on_overflow='count'",
        lambda p: streamed(MANY, wrapping(700.0), "raise"),
        lambda p: (streamed(MANY, wrapping(700.0), "count"), streamed(MANY, wrapping(70.0), "raise")),
    ),
    follows(
        "Call step(frame) first",
        lambda p: DEPLOYMENT.stream(3).finish(),
        lambda p: streamed(X[0]).finish(),
    ),
    follows(
        "Call reset() before the next sequence",
        lambda p: finished(X[0]).step(X[1]),
        lambda p: anew(finished(X[0])).step(X[1]),
    ),
    follows(
        "Make the one sample a batch: x[None]",
        lambda p: DEPLOYMENT.run(X[0], 4),
        lambda p: DEPLOYMENT.run(X[0][None], 4),
    ),
    follows(
        "Leave them out, or let them choose: options=DeployOptions(steps='auto')",
        lambda p: deploy(labels=Y),
        lambda p: (deploy(), deploy(labels=Y, steps="auto", max_drop=1.0)),
    ),
    follows(
        "Did you mean …",
        lambda p: check_named("fashion_mnist"),
        lambda p: check_named("fashion-mnist"),
    ),
]


def streamed(frame, deployment=DEPLOYMENT, on_overflow="count"):
    stream = deployment.stream(3, on_overflow=on_overflow)
    stream.step(frame)
    return stream


def wrapping(rate):
    """A fast layer, whose accumulators wrap around where as many inputs as these spike at once."""
    graph = Graph(
        (Input("x", MANY.shape),),
        (Population("a", (2,), NeuronModel(), 1.0, 0.0),),
        (Projection("x", "a", Dense(np.ones((2, len(MANY))))), Projection("a", "y", Dense(np.ones((3, 2))))),
        (Readout("y", (3,), np.zeros(3)),),
    )
    return deploy(graph, MANY[None], encoder="on_off", target_rate=rate, bias_correction_steps=0)


def finished(frame):
    stream = streamed(frame)
    stream.finish()
    return stream


def anew(stream):
    stream.reset()
    return stream


SCALED = {"normalization": "scale_firing_rates", "scale_firing_rates": 100.0}


def mapped(folder):
    """The samples in a file that is read part by part."""
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


def kept_baseline(path):
    DEPLOYMENT.check(X, Y, ld.Criteria(), steps=4).write_baseline(path)
    return path


def on_two_chips(fix):
    """A deployment on a board whose chips have one core."""
    board = load_board("kapoho_bay")
    board = replace(board, chip=replace(board.chip, mesh_columns=1, mesh_rows=1, cores_per_tile=1))
    mapping = ld.map_to_cores(DEPLOYMENT.program, board, fix=fix)
    return ld.Deployment.from_parts(DEPLOYMENT.graph, DEPLOYMENT.program, mapping)


def noisy(noise):
    populations = tuple(replace(p, noise=noise) for p in DEPLOYMENT.program.populations)
    program = replace(DEPLOYMENT.program, populations=populations)
    return ld.Deployment.from_parts(DEPLOYMENT.graph, program, ld.map_to_cores(program, "loihi"))


def costs(folder, more="", left_out=None):
    """A file of coefficients, with more at its end, or without an entry."""
    text = (config_folder() / "energy" / "sanafe2025.toml").read_text(encoding="utf-8")
    if left_out is not None:
        text = text.replace(f"\n{left_out} =", f"\n# {left_out} =")
        text = text.replace(f"{left_out} =", f"# {left_out} =", int(text.startswith(left_out)))
    return written(folder / "costs.toml", text + more)


def board_file(folder, change=("", ""), chip=None):
    """A board of one's own, and its chip where that is changed."""
    text = (config_folder() / "loihi.toml").read_text(encoding="utf-8").replace(*change)
    if chip is not None:
        of_chip = (config_folder() / "loihi1.toml").read_text(encoding="utf-8").replace(*chip)
        written(folder / "own.toml", of_chip)
        text = text.replace('chip = "loihi1"', 'chip = "own.toml"')
    return written(folder / "board.toml", text)


def without_readout():
    return replace(GRAPH, readouts=(), projections=tuple(p for p in GRAPH.projections if p.post != "y"))


def framed():
    """A deployment of a source that reads the mean over all frames."""
    return deploy(replace(GRAPH, readouts=(replace(GRAPH.readouts[0], over_frames="mean"),)))


def recurrent(name="b"):
    loop = Projection(name, name, Dense(0.01 * np.eye(10)), 0.003)
    return replace(GRAPH, projections=(*GRAPH.projections, loop))


def coarse_board():
    board = load_board("loihi")
    arithmetic = replace(board.chip.arithmetic, decay_bits=10)
    return replace(board, chip=replace(board.chip, arithmetic=arithmetic))


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
@pytest.mark.parametrize(("broken", "advised"), [*FILES, *ARGUMENTS])
def test_what_is_advised_works(broken, advised, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "advised").mkdir()
    with pytest.raises(LoihiDeployError):
        broken(tmp_path / "broken")
    advised(tmp_path / "advised")


def test_nothing_is_advised_that_nobody_followed():
    given, known = remedies.remedies(), [*remedies.markers(), *NOT_FOLLOWED]
    alone = {
        text: place
        for text, place in given.items()
        if not any(remedies.said(marker, text) for marker in known)
    }
    assert not alone, "remedies without a test that follows them: see tests/remedies.py"
    gone = [marker for marker in known if not any(remedies.said(marker, text) for text in given)]
    assert not gone, "remedies that are not given any more"


A_BOARD = "needs a board"
ANOTHER = "needs another installation"
NOT_FOLLOWED = {
    "Install it with: pip install 'loihi-deploy[…]'": ANOTHER,
    "Install it with: pip install 'tensorflow>=2.16'": ANOTHER,
    "Install it with: pip install 'numpy<2'": ANOTHER,
    "Install loihi-deploy again": ANOTHER,
    "Install it: pip install 'loihi-deploy[convert]'": ANOTHER,
    "Upgrade with: pip install -U loihi-deploy": "needs a newer version",
    "Install NxSDK 1.0.0": A_BOARD,
    "Install NxSDK on a host with a Loihi board, or use backend='emulator', which gives the same spikes": A_BOARD,
    "Install NxSDK on a host with a Loihi board, or leave --backend out: the emulator gives the same spikes": A_BOARD,
    "Map the network for that board, or choose another board": A_BOARD,
    "Map the network for the attached board": A_BOARD,
    "Run loihi-deploy selftest --backend hardware first, which tries it": A_BOARD,
    "For the chip itself use nengo_loihi.Simulator(network, target='loihi')": A_BOARD,
    "Check the training: a diverged network cannot be deployed": "no call can follow it",
    "Set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, or call "
    "loihi_deploy.frontends.import_tensorflow() first": "needs a process of its own: tests/frontends/test_compat.py",
    "Set the environment variable NUMBA_CACHE_DIR to a folder that can be written to": (
        "needs a process of its own: tests/engines/test_kept_code.py"
    ),
    "Give the workers more memory, or look at what they logged": "no call can follow it",
    "Resize the samples beforehand": "no layer of Keras is known that leads there",
    "Use Reshape, Permute, Flatten, ZeroPadding2D or Cropping2D": "no function is known that leads there",
    "Ask for a plan without them: avoid=['axon_kinds']": "no network is known that has both plans",
    "Use layers of Keras": "no layer is known that leads there",
}
"""Why some are not followed in a test."""

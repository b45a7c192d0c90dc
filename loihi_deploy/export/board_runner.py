"""Run a network on a Loihi board: ``python run.py samples.npy -o outputs.npy``.

Written by ``loihi-deploy export``; needs numpy, nengo-loihi 1.1 and NxSDK, and runs on Python 3.6 to 3.8, which NxSDK
has. Beside it lie ``board_driver.py``, ``network.json`` and ``network.npz``.

Samples are (n, *shape), or (n, n_frames, *shape), as the network takes them; of several inputs an .npz file has one
array for each, by name. Outputs are those of the one readout as .npy, or of all by name as .npz. The host's neurons and
the readout's filters are computed here, in float64, in the operations and the order of loihi_deploy's compiled code.
"""

import argparse
import json
import math
import os
import sys
import zlib
from typing import Any

import board_driver
import numpy as np

WEYL = 2783377641436327.0
WEYL_MODULUS = 2.0**52
ONE = 1 + 1e-6
MOST_SPIKES = 2.0**32
AT_ONCE = 100
"""Samples that are presented in one load of the board, where a snip resets."""


def load_tree(folder: str) -> Any:
    """The network, with its arrays in place."""
    with open(os.path.join(folder, "network.json")) as stream:
        tree = json.load(stream)
    with np.load(os.path.join(folder, "network.npz"), allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"array"}:
                return kept[value["array"]]
            if set(value) == {"arrays"}:
                flat, shapes = kept[value["arrays"]], kept[value["arrays"] + "_shapes"]
                ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
                return [
                    flat[end - int(np.prod(shape)) : end].reshape(shape) for end, shape in zip(ends, shapes)
                ]
            return {name: filled(item) for name, item in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value

    return filled(tree)


class Matrix:
    """Weights by input: what input i adds to which outputs."""

    def __init__(self, content: Any) -> None:
        self.starts, self.rows, self.values = content["starts"], content["rows"], content["values"]
        self.size = content["size"]

    def entries(self, which: Any, scales: Any) -> Any:
        """Outputs, and what is added to them one after the other, for some inputs times their scales."""
        lengths = self.starts[which + 1] - self.starts[which]
        ends = np.cumsum(lengths)
        picked = np.repeat(self.starts[which] - (ends - lengths), lengths) + np.arange(
            ends[-1] if len(ends) else 0
        )
        return self.rows[picked], self.values[picked] * np.repeat(scales, lengths)

    def of(self, which: Any, scales: Any) -> Any:
        """The sums of some inputs times their scales, added in this order."""
        return summed([self.entries(which, scales)], self.size)


def summed(entries: Any, size: int) -> Any:
    """Sums of entries in their order."""
    if not entries:
        return np.zeros(size)
    rows, values = (np.concatenate(parts) for parts in zip(*entries))
    return np.bincount(rows, weights=values, minlength=size)


class Encoder:
    """The neurons of the host."""

    def __init__(self, tree: Any) -> None:
        self.dt = tree["dt"]
        self.populations = tree["encoder"]["populations"]
        self.projections = [dict(p, matrix=Matrix(p["matrix"])) for p in tree["encoder"]["projections"]]
        self.limit = tree["encoder"]["limit"]

    def _drives(self, frame: Any, name: str) -> Any:
        """What a frame adds to a population without a filter, and with each filter its factor and values."""
        entries, filtered = [], []
        for p in self.projections:
            if p["post"] != name:
                continue
            x = frame[p["pre"]]
            which = np.flatnonzero(x)
            if p["tau"] > 0:
                filtered.append((p["factor"], p["matrix"].of(which, x[which])))
            else:
                entries.append(p["matrix"].entries(which, x[which]))
        size = next(q["size"] for q in self.populations if q["name"] == name)
        return summed(entries, size), filtered

    def run(self, frames: Any, steps: int, sample: int, seed: int, flush: int = 0) -> Any:
        """Spikes (steps + flush, size) by population for one sample, and how many were lost.

        Parameters
        ----------
        frames : dict of (n_frames, size) float64 arrays
            By input.
        steps : int
            A multiple of the number of frames.
        sample, seed : int
            What random spikes depend on.
        flush : int
            Steps that the last frame is held longer.
        """
        n_frames = len(next(iter(frames.values())))
        hold = steps // n_frames
        steps += flush
        spikes, lost = {}, 0
        for population in self.populations:
            name, size = population["name"], population["size"]
            state = Neurons(population, self.dt, hold, sample, seed)
            y = []  # type: Any
            out = np.zeros((steps, size), bool)
            for t in range(steps):
                if t % hold == 0 and t // hold < n_frames:
                    frame = {key: values[t // hold] for key, values in frames.items()}
                    drive, filtered = self._drives(frame, name)
                    y = y or [np.zeros(size) for _ in filtered]
                total = drive.copy()
                for k, (factor, x) in enumerate(filtered):
                    total += y[k]
                    y[k] = factor * y[k] + (1 - factor) * x
                n_spikes = state.step(total)
                out[t] = n_spikes > 0
                lost += int(np.maximum(n_spikes - 1, 0).sum())
            spikes[name] = out
        if self.limit is not None:
            names = [population["name"] for population in self.populations]
            together = np.concatenate([spikes[name] for name in names], axis=1)
            sent, late = hold_back(together, self.limit["spikes"], self.limit["messages"])
            ends = np.cumsum([population["size"] for population in self.populations])
            spikes = dict(zip(names, np.split(sent, ends[:-1], axis=1)))
            lost += late
        return spikes, lost


def hold_back(emitted: Any, limit: int, messages: Any) -> Any:
    """The spikes that go out in each step, and how many never do; see loihi_deploy's engines/host/holding_back.py.

    Parameters
    ----------
    emitted : (steps, n) bool array
    limit : int
        Messages to a chip in a step.
    messages : (n_chips, n) int array
        What a spike of each neuron takes.
    """
    waiting, turn = np.zeros(emitted.shape[1], np.int64), 0
    sent = np.zeros_like(emitted)
    for t in range(len(emitted)):
        waiting += emitted[t]
        which = np.flatnonzero(waiting)
        used, blocked = np.zeros(len(messages), np.int64), -1
        for i in np.concatenate([which[which >= turn], which[which < turn]]):
            if (used + messages[:, i] <= limit).all():
                used += messages[:, i]
                sent[t, i] = True
                waiting[i] -= 1
            elif blocked < 0:
                blocked = i
        turn = turn if blocked < 0 else blocked
    return sent, int(waiting.sum())


class Neurons:
    """One population of the host, of one sample; what it computes is said in loihi_deploy's engines/host/neurons.py."""

    def __init__(self, content: Any, dt: float, hold: int, sample: int, seed: int) -> None:
        self.kind, self.dt, self.hold = content["kind"], dt, hold
        self.gain, self.bias = content["gain"], content["bias"]
        self.threshold = content["threshold"]
        self.tau_rc, self.tau_ref = content["tau_rc"], content["tau_ref"]
        self.voltage = np.array(content["voltage"], np.float64)
        self.refractory_time = np.zeros(content["size"])
        if self.kind == "poisson":
            number = (seed << 32 | zlib.crc32(content["name"].encode())) & (1 << 64) - 1
            key = mixed(mixed(np.uint64(number)) + np.uint64(sample))
            keys = mixed(key + np.arange(content["size"], dtype=np.uint64))
            self.voltage = (keys >> np.uint64(12)).astype(np.float64)

    def step(self, total: Any) -> Any:
        """Spikes of each neuron in a step."""
        if self.kind == "if_adding":
            return self._step_adding(np.maximum(total + self.bias, 0.0))
        j = total * self.gain + self.bias
        if self.kind == "if":
            self.voltage += np.maximum(j, 0.0) * self.dt
            n_spikes = np.maximum(np.floor(self.voltage), 0.0)
            self.voltage -= n_spikes
            return np.minimum(n_spikes, MOST_SPIKES)
        if self.kind == "if_discretized":
            v = self.voltage + j * self.dt
            spiked = v > 1
            self.voltage = np.where(spiked, 0.0, np.maximum(v, 0.0))
            return spiked.astype(np.float64)
        if self.kind == "poisson":
            self.voltage += WEYL
            self.voltage[self.voltage >= WEYL_MODULUS] -= WEYL_MODULUS
            uniform = (mixed(self.voltage.astype(np.uint64)) >> np.uint64(11)) * 2.0**-53
            drive = np.maximum(j, 0.0) * self.dt
            return np.where(drive > ONE, np.minimum(np.ceil(drive), MOST_SPIKES), uniform < drive)
        if self.kind == "ttfs":
            value = j * self.dt
            fires = (self.refractory_time == 0) & (value > 0)
            fires &= self.voltage >= np.rint((1 - value) * self.hold)
            self.voltage += 1
            self.refractory_time[fires] = 1
            return np.where(fires & (value > ONE), np.minimum(np.ceil(value), MOST_SPIKES), fires)
        return self._step_leaky(j)

    def _step_adding(self, drive: Any) -> Any:
        v = self.voltage + drive
        fires = v >= self.threshold
        v[fires] -= self.threshold
        n_spikes = fires.astype(np.float64)
        beyond = v >= self.threshold
        more = np.floor(v[beyond] / self.threshold)
        v[beyond] = np.maximum(v[beyond] - more * self.threshold, 0.0)
        n_spikes[beyond] += more
        self.voltage = v
        return np.minimum(n_spikes, MOST_SPIKES)

    def _step_leaky(self, j: Any) -> Any:
        left = self.refractory_time - self.dt
        delta = np.minimum(np.maximum(self.dt - left, 0.0), self.dt)
        factor = np.full(len(delta), math.expm1(-self.dt / self.tau_rc))
        for k in np.flatnonzero(delta != self.dt):
            factor[k] = math.expm1(-delta[k] / self.tau_rc)
        v = self.voltage - (j - self.voltage) * factor
        spiked = v > 1
        for k in np.flatnonzero(spiked):
            late = 0.0
            if self.kind == "lif":
                late = self.tau_rc * math.log1p(-(v[k] - 1) / (j[k] - 1))
            left[k] = self.tau_ref + (self.dt + late)
        self.refractory_time = left
        self.voltage = np.where(spiked, 0.0, np.maximum(v, 0.0))
        return spiked.astype(np.float64)


def mixed(x: Any) -> Any:
    """SplitMix64's finalizer."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def decode(tree: Any, spikes: Any, steps: int, width: int) -> Any:
    """Outputs by readout, for one sample.

    Parameters
    ----------
    spikes : dict of (steps, size) bool arrays
        Of every population that is decoded.
    width : int
        Last steps that outputs are averaged over.
    """
    readouts = tree["readout"]["readouts"]
    first = dict(zip([r["name"] for r in readouts], np.cumsum([0] + [r["size"] for r in readouts])))
    trace = np.zeros((1, steps, sum(r["size"] for r in readouts)))
    for p in tree["readout"]["projections"]:
        matrix, factor, delay = Matrix(p["matrix"]), p["factor"], p["delay"]
        part = slice(first[p["post"]], first[p["post"]] + matrix.size)
        line = [np.zeros(matrix.size) for _ in range(delay)]
        y = np.zeros(matrix.size)
        for t in range(steps):
            which = np.flatnonzero(spikes[p["pre"]][t])
            line.append(matrix.of(which, np.ones(len(which))) / tree["dt"])
            y = factor * y + (1 - factor) * line.pop(0)
            trace[0, t, part] += y
    means = trace[:, -width:].mean(axis=1)
    outputs = {}
    for readout in readouts:
        start = first[readout["name"]]
        x = means[:, start : start + readout["size"]] + readout["bias"]
        x = x.reshape([-1] + readout["shape"])
        if readout["activation"] == "softmax":
            x = np.exp(x - x.max(axis=-1, keepdims=True))
            x = x / x.sum(axis=-1, keepdims=True)
        elif readout["activation"] == "sigmoid":
            x = 0.5 * (1 + np.tanh(0.5 * x))
        elif readout["activation"] == "tanh":
            x = np.tanh(x)
        outputs[readout["name"]] = x[0].astype(readout["dtype"])
    return outputs


def read_samples(tree: Any, path: str) -> Any:
    """Samples as (n, n_frames, size) float64 arrays by input, and whether they are sequences."""
    given = np.load(path, allow_pickle=False)
    inputs = tree["encoder"]["inputs"]
    if not hasattr(given, "files"):
        given = {inputs[0]["name"]: given}
    wanted = sorted(node["name"] for node in inputs)
    if sorted(given) != wanted:
        sys.exit(f"{path}: holds {sorted(given)}, and the network takes {wanted}")
    found, sequences = {}, False
    for node in inputs:
        x = given[node["name"]]
        shape = node["shape"][-1:] + node["shape"][:-1] if node["channels_first"] else node["shape"]
        shapes = [tuple(shape), (node["size"],)] + ([tuple(shape[:-1])] if shape[-1] == 1 else [])
        static = x.shape[1:] in shapes
        if x.dtype.kind not in "biuf" or not (static or x.shape[2:] in shapes) or not len(x):
            sys.exit(
                "{}: {} is {} {}, and the network takes (n, {})".format(
                    path, node["name"], x.dtype, x.shape, ", ".join(map(str, shape))
                )
            )
        if not np.isfinite(x).all():
            sys.exit("{}: {} has values that are not finite".format(path, node["name"]))
        sequences = sequences or not static
        x = x.astype(np.float64).reshape(len(x), 1 if static else x.shape[1], node["size"])
        if node["channels_first"]:
            x = np.moveaxis(x.reshape(x.shape[:2] + tuple(shape)), 2, -1).reshape(x.shape)
        found[node["name"]] = x
    if len({x.shape[:2] for x in found.values()}) > 1:
        sys.exit(f"{path}: inputs have different numbers of samples or frames")
    if x.shape[1] <= tree["first_frame"]:
        sys.exit(
            "{}: {} frames, and the network looks at {}".format(path, x.shape[1], tree["first_frame"] + 1)
        )
    return found, sequences


def steps_and_reading(tree: Any, steps: Any, n_frames: int, sequences: bool) -> Any:
    """How long the frames of a sample are shown, the last one longer, and steps at the end that are averaged over."""
    if steps is None:
        each = tree["steps_per_frame"] if sequences else None
        if each is None and n_frames == 1:
            each = tree["steps"]
        steps = n_frames * (each or -(-100 // n_frames))
    if steps < 1 or steps % n_frames:
        sys.exit(f"--steps {steps}: give a multiple of the {n_frames} frames")
    known = sequences and tree["reading"] in ("mean", "last", "each")
    flush = tree["flush"] if known or n_frames > 1 else 0
    if known and tree["reading"] != "mean":
        return steps, flush, steps // n_frames
    window, first = 1.0 if known else tree["window"], tree["first_frame"] * (steps // n_frames)
    return steps, flush, max(1, min(int(round(window * steps)), steps - first))


def set_biases(tree: Any, frame: Any) -> Any:
    """The tree with the biases that a sample gives."""
    for content in tree["encoder"]["biases"]:
        total = np.zeros(content["size"])
        for p in content["projections"]:
            x = frame[p["pre"]][0]
            which = np.flatnonzero(x)
            total += Matrix(p["matrix"]).of(which, x[which])
        limit = content["mantissa_max"] * 2 ** content["exponent_max"]
        exact = np.clip(np.round(total * content["scale"]), -limit, limit)
        exponent = np.ceil(np.log2(np.maximum(np.abs(exact) / content["mantissa_max"], 1.0))).astype(np.int32)
        values = np.round(exact / np.exp2(exponent)).astype(np.int32) << exponent
        place = tree["places"][content["population"]]
        for number, where, which in zip(place["cores"], place["compartments"], place["neurons"]):
            tree["blocks"][number]["bias"][where] = values[which]


def run(tree: Any, samples: Any, sequences: bool, arguments: Any) -> Any:
    """Outputs (n, *shape) by readout, spikes (n, steps, size) by layer, and what is to be said."""
    nl = board_driver.load_nengo_loihi()
    n, n_frames = next(iter(samples.values())).shape[:2]
    shown, flush, width = steps_and_reading(tree, arguments.steps, n_frames, sequences)
    steps = shown + flush
    by_biases, starts = tree["encoder"]["biases"], any(b["initial_voltage"].any() for b in tree["blocks"])
    if by_biases and (arguments.reset or n_frames > 1):
        sys.exit("values are biases of neurons, which stand in registers: no --reset, and one frame only")
    reset = arguments.reset or ("snip" if starts else "load")
    if starts and reset != "snip":
        sys.exit("the network has voltages at the start, which only --reset snip writes")
    encoder, n_lost = Encoder(tree), 0
    found = {}  # type: Any
    at_once = 1 if reset == "load" else AT_ONCE
    decoded = [p["pre"] for p in tree["readout"]["projections"]]
    record = list(tree["places"]) if arguments.record == [] else arguments.record or []
    if not set(record) <= set(tree["places"]):
        sys.exit("--record: the layers on the chip are {}".format(", ".join(tree["places"])))
    probed = {name: ["spikes"] for name in tree["places"] if name in decoded or name in record}
    recorded = {name: [] for name in probed}  # type: Any
    for first in range(0, n, at_once):
        numbers = range(first, min(first + at_once, n))
        sent = []
        for k in numbers:
            frames = {name: x[k] for name, x in samples.items()}
            spikes, lost = encoder.run(frames, shown, k, arguments.seed, flush)
            sent.append(spikes)
            n_lost += lost
        if by_biases:
            set_biases(tree, {name: x[first] for name, x in samples.items()})
        made = board_driver.make_model(nl, tree, probed)
        arriving = {name: np.stack([spikes[name] for spikes in sent]) for name in tree["inputs"]}
        try:
            seen = board_driver.run_in_a_row(
                nl,
                made,
                arriving,
                steps,
                reset="snip" if reset == "snip" else "none",
                gap=arguments.gap,
                streamed=arguments.stream,
                max_spikes=tree["max_spikes"],
            )
        except (board_driver.TooManySpikesError, board_driver.WrongBoardError) as error:
            sys.exit(str(error))
        for (name, _), values in seen.items():
            recorded[name].append(values > 0)
        for k in range(len(numbers)):
            spikes = dict(sent[k])
            spikes.update({name: values[k] > 0 for (name, _), values in seen.items()})
            for name, values in decode(tree, spikes, steps, width).items():
                found.setdefault(name, []).append(values)
        print(f"{numbers[-1] + 1} of {n} samples", file=sys.stderr)
    text = f"{n} samples, {steps} steps each, reset: {reset}"
    if n_lost:
        text += f"; {n_lost} spikes of the host beyond one for a neuron and step were not sent"
    outputs = {name: np.stack(values) for name, values in found.items()}
    return outputs, {name: np.concatenate(parts) for name, parts in recorded.items()}, text


def main() -> None:
    """Read, run, write."""
    parser = argparse.ArgumentParser(description="Run a network on a Loihi board.")
    parser.add_argument("samples", help=".npy, or .npz with an array for each input")
    parser.add_argument(
        "-o", "--output", required=True, help=".npy for the one readout, or .npz for all by name"
    )
    parser.add_argument("--steps", type=int, help="steps of presentation of a sample")
    parser.add_argument(
        "--reset",
        choices=["load", "snip", "gap"],
        help="between samples: load the board anew, write its state, or let it run without input",
    )
    parser.add_argument("--gap", type=int, default=0, help="steps without input between samples")
    parser.add_argument("--stream", action="store_true", help="send spikes while the chip runs")
    parser.add_argument("--seed", type=int, default=0, help="of random spikes")
    parser.add_argument("--spikes", help=".npz, spikes of each layer that is probed: those of the readout")
    parser.add_argument(
        "--record", nargs="*", metavar="LAYER", help="probe these layers as well, all if none is named"
    )
    arguments = parser.parse_args()
    if bool(arguments.gap) and arguments.reset != "gap":
        sys.exit("--gap goes with --reset gap")
    tree = load_tree(os.path.dirname(os.path.abspath(__file__)))
    names = [readout["name"] for readout in tree["readout"]["readouts"]]
    if not arguments.output.endswith(".npz") and len(names) > 1:
        sys.exit("-o FILE.npz: the network has the readouts {}".format(", ".join(names)))
    samples, sequences = read_samples(tree, arguments.samples)
    if arguments.record is not None and arguments.spikes is None:
        sys.exit("--record goes with --spikes")
    outputs, recorded, text = run(tree, samples, sequences, arguments)
    with open(arguments.output, "wb") as stream:
        if arguments.output.endswith(".npz"):
            np.savez(stream, **outputs)
        else:
            np.save(stream, outputs[names[0]])
    if arguments.spikes is not None:
        with open(arguments.spikes, "wb") as stream:
            np.savez_compressed(stream, **recorded)
    print(f"{text}; outputs written to {arguments.output}")


if __name__ == "__main__":
    main()

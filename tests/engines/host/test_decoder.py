"""Decoded values: the plain decoder against loops over single spikes, the compiled one beside it, also in parts."""

import math

import numpy as np
import pytest

from loihi_deploy.engines.events import Events
from loihi_deploy.engines.host import plain
from loihi_deploy.engines.host.decoder import Decoder
from loihi_deploy.ir import Conv2D, Dense, Graph, Input, Link, Projection, Readout
from loihi_deploy.ir.program import Compartments, Program, SpikeSource
from loihi_deploy.results import HostState

SHAPES = {"a": (3, 3, 4), "b": (7,), "c": (2, 2, 3)}
STEPS = 23


def drawn(seed, dt=0.001):
    """Three populations and two readouts; kinds, filters and delays of seven projections are drawn."""
    rng = np.random.default_rng(seed)
    projections = []
    for number in range(7):
        pre, post = rng.choice(list(SHAPES)), ("y", "z")[number % 2]
        n_in, n_out = int(np.prod(SHAPES[pre])), {"y": 5, "z": 18}[post]
        transform = Dense(rng.normal(size=(n_out, n_in)))
        kind = rng.choice(["dense", "sparse", "conv"])
        if kind == "sparse":
            transform = Dense(transform.weights * (rng.random((n_out, n_in)) < 0.4)).csr()
        elif kind == "conv" and pre == "a" and post == "z":
            kernel = rng.normal(size=(2, 2, 4, 2))
            transform = Conv2D(kernel, (1, 1), (1, 1), (3, 3, 4), (3, 3, 2))
        tau = float(rng.choice([0.0, 0.001, 0.02]))
        projections.append(Projection(pre, post, transform, tau, delays=int(rng.integers(0, 4))))
    readout = Graph(
        tuple(Input(name, shape) for name, shape in SHAPES.items()),
        (),
        tuple(projections),
        (Readout("y", (5,), np.ones(5)), Readout("z", (3, 3, 2), np.zeros(18))),
        dt,
    )
    delays = {name: int(rng.integers(0, 3)) for name in ("a", "c")}
    links = [Link(name, "from_chip", delay) for name, delay in delays.items()]
    links.append(Link("b", "to_chip", 5))  # a way in, which says nothing of the way out
    nothing = Graph((), (), ())
    chip = tuple(Compartments(name, SHAPES[name], 4095, 0, 64, 0) for name in ("a", "c"))
    spikes = {name: rng.random((3, STEPS, int(np.prod(shape)))) < 0.3 for name, shape in SHAPES.items()}
    return Program(nothing, (SpikeSource("b", (7,)),), chip, (), readout, tuple(links), dt=dt), spikes


def by_hand(program, spikes):
    """Every spike goes its way by itself."""
    late = {link.population: link.delay for link in program.links if link.kind == "from_chip"}
    traces = {node.name: np.zeros((3, STEPS, node.size)) for node in program.readout.readouts}
    for projection in program.readout.projections:
        matrix = projection.transform.csr().toarray()
        delay = late.get(projection.pre, 0) + (0 if projection.delays is None else int(projection.delays))
        a = math.exp(-program.readout.dt / projection.tau) if projection.tau else 0.0
        for sample, step, neuron in np.argwhere(spikes[projection.pre]).tolist():
            for t in range(step + delay, STEPS):
                left = (1 - a) * a ** (t - step - delay) / program.readout.dt
                traces[projection.post][sample, t] += left * matrix[:, neuron]
    return traces


@pytest.mark.parametrize("seed", range(6))
def test_decoders_give_what_single_spikes_add_up_to(seed):
    program, spikes = drawn(seed, 0.001 if seed else 0.002)
    expected = by_hand(program, spikes)
    found, state = plain.decode(program, spikes)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-9)

    order = ["b", "c", "a"]
    decoder = Decoder(program, {name: spikes[name].shape[2] for name in order})
    trace = np.zeros((3, STEPS, 23))
    arrays = decoder.start(3)
    for part in (slice(0, 4), slice(4, 5), slice(5, STEPS)):
        now = {name: spikes[name][:, part] for name in order}
        events = Events.from_dense(now, 3, part.stop - part.start)
        arrays = decoder.load(HostState(decoder.save(arrays)), 3)  # from where the last part ended
        decoder.run(events, arrays, trace, part.start)
    np.testing.assert_allclose(trace[:, :, :5], expected["y"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(trace[:, :, 5:], expected["z"], rtol=1e-9, atol=1e-9)
    kept = decoder.save(arrays)
    assert kept.keys() == state.arrays.keys()
    for name, values in state.arrays.items():
        np.testing.assert_allclose(kept[name], values, rtol=1e-9, atol=1e-9)

    before, first = plain.decode(program, {name: array[:, :9] for name, array in spikes.items()})
    after, _ = plain.decode(program, {name: array[:, 9:] for name, array in spikes.items()}, first)
    for name, values in found.items():
        np.testing.assert_allclose(np.concatenate([before[name], after[name]], axis=1), values, rtol=1e-12)


def test_what_is_decoded_is_added_to_the_trace_and_others_are_left_out():
    program, spikes = drawn(1)
    of_one = Decoder(program, {"b": 7})
    trace = np.ones((3, STEPS, 23))
    of_one.run(Events.from_dense({"b": spikes["b"]}, 3, STEPS), of_one.start(3), trace)
    silent = {name: array & (name == "b") for name, array in spikes.items()}
    expected = by_hand(program, silent)
    np.testing.assert_allclose(trace[:, :, :5], 1 + expected["y"], rtol=1e-9)
    np.testing.assert_allclose(trace[:, :, 5:], 1 + expected["z"], rtol=1e-9)
    of_none = Decoder(program, {})
    of_none.run(Events.from_dense({}, 3, STEPS), of_none.start(3), trace)
    np.testing.assert_allclose(trace[:, :, :5], 1 + expected["y"], rtol=1e-9)

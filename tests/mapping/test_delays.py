"""What delays cost on a core: bits beside every weight, and accumulators of every compartment."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.backends import nengo_loihi
from loihi_deploy.engines.chip import compiled, plain
from loihi_deploy.errors import BackendError, InputError, MappingError, PartitionError
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.mapping import map_to_cores
from loihi_deploy.stages.partition import partition
from loihi_deploy.stages.quantize import quantize
from tests.mapping.networks import chain

DENSE = chain((30,), [("dense", 400), ("dense", 20)])


def delayed(delays, number=0, program=DENSE):
    synapses = list(program.synapses)
    synapses[number] = replace(synapses[number], delays=delays)
    return replace(program, synapses=tuple(synapses))


def used(program):
    """What the cores that hold some of the first layer use."""
    cores = map_to_cores(program, "loihi").cores
    return [core.usage for core in cores if "dense1" in core.populations]


@pytest.mark.parametrize(
    ("most", "bits", "places"), [(1, 1, 4), (2, 2, 4), (6, 3, 8), (7, 3, 16), (62, 6, 64)]
)
def test_bits_and_accumulators(most, bits, places):
    delays = np.append(np.arange(29) % (most + 1), most)
    cores = used(delayed(delays))
    without = sum(usage["synapse_words"] for usage in used(DENSE))
    assert sum(usage["synapse_words"] for usage in cores) > without
    for usage in cores:
        assert usage["accumulators"] == usage["compartments"] * places <= 8192
    assert (len(cores) > 1) == (400 * places > 8192)
    assert delayed(delays).synapses[0].delay_bits == bits


@pytest.mark.follows(
    "Shorten the delays; where they are frames of a sequence, show these for fewer steps, or use fewer or less dilated "
    "taps"
)
def test_a_chip_without_room_for_delays_holds_none():
    with pytest.raises(MappingError, match="held back for longer") as refusal:
        map_to_cores(delayed(63), "loihi")
    (problem,) = refusal.value.problems
    assert (problem.value, problem.limit) == ("63 steps", 62)
    assert map_to_cores(delayed(62), "loihi").cores


@pytest.mark.follows("Use backend='emulator' or 'numpy', or a network without delays")
def test_others_that_hold_nothing_back_refuse_them():
    program = delayed(3)
    mapping = map_to_cores(program, "loihi")
    spikes = {"in": np.zeros((1, 5, 30), bool)}
    with pytest.raises(BackendError, match="nengo-loihi holds no spikes back"):
        nengo_loihi.simulate(program, mapping, spikes, 5)
    for engine in (plain, compiled):
        assert engine.simulate(program, spikes, 5).counts["dense1"].spikes >= 0
    assert nengo_loihi.simulate(DENSE, map_to_cores(DENSE, "loihi"), spikes, 5).counts


def graph_with(first=None, second=None, third=None):
    rng = np.random.default_rng(0)
    return Graph(
        (Input("x", (5,)),),
        tuple(Population(name, (8,), NeuronModel(), np.array(100.0), np.zeros(8)) for name in ("a", "b")),
        (
            Projection("x", "a", Dense(rng.normal(size=(8, 5))), delays=first),
            Projection("a", "b", Dense(rng.normal(size=(8, 8))), 0.003, delays=second),
            Projection("b", "y", Dense(rng.normal(size=(2, 8))), 0.003, delays=third),
        ),
        (Readout("y", (2,), np.zeros(1)),),
    )


@pytest.mark.follows("Give it as a matrix: transform.csr()")
def test_neurons_of_a_convolution_have_one_delay_or_none_share_weights():
    program = chain((6, 6, 2), [("conv", 3, 1, 4)])
    late = np.arange(72) % 3
    with pytest.raises(InputError, match="share their weights"):
        delayed(late, program=program)
    assert map_to_cores(delayed(2, program=program), "loihi").cores
    (synapses,) = program.synapses
    matrix = replace(synapses, transform=synapses.transform.csr(), delays=late)
    assert map_to_cores(replace(program, synapses=(matrix,)), "loihi").cores


@pytest.mark.follows("Give the delays to a projection out of a population")
def test_delays_of_a_graph_reach_the_chip():
    program = quantize(partition(graph_with(second=np.arange(8)), "first_layer"))
    (synapses,) = program.synapses
    assert synapses.delays.tolist() == list(range(8))
    with pytest.raises(PartitionError, match="input values are not held back"):
        partition(graph_with(first=2), "first_layer")
    with pytest.raises(InputError, match="delays do not fit"):
        graph_with(second=[1, 2])


def test_the_host_holds_back_what_the_chip_says_by_projections_alone():
    program = quantize(partition(graph_with(third=np.arange(8)), "first_layer"))
    parts = program.readout.projections
    assert sorted(p.most_delay for p in parts) == list(range(8))
    mixed = replace(parts[0], delays=np.arange(8))
    with pytest.raises(InputError, match="holds back all spikes of a projection alike"):
        replace(program, readout=replace(program.readout, projections=(mixed, *parts[1:])))
    (values,) = program.encoder.projections
    with pytest.raises(InputError, match="the encoder holds nothing back"):
        replace(program, encoder=replace(program.encoder, projections=(replace(values, delays=np.array(2)),)))


def test_frames_and_their_steps_are_numbers():
    graph = graph_with()
    with pytest.raises(InputError, match="not a number of frames"):
        replace(graph.projections[1], frames_back=-1)
    for made in (graph, quantize(partition(graph, "first_layer"))):
        with pytest.raises(InputError, match="not a number of steps"):
            replace(made, frame_steps=0)

"""What the preflight advises is followed, and it says so no more."""

from dataclasses import replace

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.backends.blocks import describe
from loihi_deploy.backends.preflight import OnBoard, doubts, program_problems
from loihi_deploy.errors import BackendError
from tests.remedies import follows
from tests.test_remedies import DEPLOYMENT, TWO_INPUTS, X, deploy, network


def with_voltages(voltages):
    """The program with initial voltages, or without."""
    populations = tuple(
        replace(p, initial_voltage=np.zeros(p.size, np.int32) if voltages else None)
        for p in DEPLOYMENT.program.populations
    )
    program = replace(DEPLOYMENT.program, populations=populations)
    return program, ld.map_to_cores(program, "loihi")


def parts(deployment):
    return deployment.program, deployment.mapping


def of_several_delays():
    first, last = DEPLOYMENT.program.populations
    program = replace(DEPLOYMENT.program, populations=(first, replace(last, refractory=3)))
    return program, ld.map_to_cores(program, "loihi")


ADVICE = [
    follows(
        "Map this program with map_to_cores",
        lambda: program_problems(DEPLOYMENT.program, TWO_INPUTS.mapping),
        lambda: program_problems(*parts(DEPLOYMENT)),
    ),
    follows(
        "Let a snip write them, reset='snip', or deploy it without initial voltages",
        lambda: program_problems(*with_voltages(True)),
        lambda: program_problems(*with_voltages(True), how=OnBoard("snip")),
        id="a snip writes voltages",
    ),
    follows(
        "Let a snip write them, reset='snip', or deploy it without initial voltages",
        lambda: program_problems(*with_voltages(True)),
        lambda: program_problems(*with_voltages(False)),
        id="no initial voltages",
    ),
    follows(
        "Present one frame at a time, or use another encoder than 'bias'",
        lambda: program_problems(*parts(deploy(encoder="bias")), n_frames=4),
        lambda: program_problems(*parts(deploy(encoder="bias")), n_frames=1),
        id="one frame",
    ),
    follows(
        "Use reset=True",
        lambda: program_problems(*parts(deploy(encoder="bias")), how=OnBoard("gap")),
        lambda: program_problems(*parts(deploy(encoder="bias")), how=OnBoard("rest")),
    ),
    follows(
        "Load spikes before the run: streamed=False",
        lambda: program_problems(*of_several_delays(), how=OnBoard(streamed=True)),
        lambda: program_problems(*of_several_delays(), how=OnBoard(streamed=False)),
    ),
]


@pytest.mark.parametrize(("before", "after"), ADVICE)
def test_what_is_advised_is_ready(before, after):
    assert list(before())
    assert list(after()) == []


@pytest.mark.follows("Record nothing else, and make the last layer on the chip small")
def test_a_small_last_layer_takes_fewer_counters():
    def counters(graph):
        found = doubts(*parts(ld.deploy(graph, "loihi", X)))
        return next(problem.value for problem in found if "spike counter" in problem.what)

    small = network()
    last = replace(small.populations[-1], shape=(4,), bias=small.populations[-1].bias[:4])
    cut = tuple(
        replace(p, transform=type(p.transform)(p.transform.values[:4]))
        if p.post == "b"
        else replace(p, transform=type(p.transform)(p.transform.values[:, :4]))
        if p.pre == "b"
        else p
        for p in small.projections
    )
    smaller = replace(small, populations=(small.populations[0], last), projections=cut)
    assert counters(smaller) == 4 < counters(small) == 10


@pytest.mark.follows("Map this program with map_to_cores")
def test_blocks_of_another_mapping():
    with pytest.raises(BackendError):
        describe(DEPLOYMENT.program, TWO_INPUTS.mapping)
    assert describe(DEPLOYMENT.program, ld.map_to_cores(DEPLOYMENT.program, "loihi"))

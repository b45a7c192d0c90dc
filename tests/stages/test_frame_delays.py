"""Delays of frames: what each projection is held back, and what is said where that is too little."""

from dataclasses import replace

import numpy as np
import pytest

from loihi_deploy.errors import InputError, LoihiDeployWarning
from loihi_deploy.ir import Dense, Graph, Input, NeuronModel, Population, Projection, Readout
from loihi_deploy.stages.frame_delays import _filter_delay, with_frame_delays


@pytest.mark.parametrize(
    ("tau", "delay"), [(0.0, 0.0), (0.001, 1 / np.expm1(1)), (0.005, 1 / np.expm1(0.2)), (np.inf, 0.0)]
)
def test_a_synapse_holds_back_by_its_mean_delay_and_one_that_keeps_all_by_none(tau, delay):
    assert _filter_delay(Projection("a", "b", Dense(np.ones((1, 1))), tau), 0.001) == pytest.approx(delay)


def network(tau, *frames_back):
    """x -> a -> b -> y with ways from a to b, from b to b, and from b back to a, after so many frames."""
    to_b, own, back = frames_back
    one = Dense(np.ones((1, 1)))
    return Graph(
        (Input("x", (1,)),),
        tuple(Population(name, (1,), NeuronModel(), 1.0, 0.0) for name in "ab"),
        (
            Projection("x", "a", one),
            Projection("a", "b", one, tau, delays=5),
            Projection("a", "b", one, tau, frames_back=to_b),
            Projection("b", "b", one, tau, frames_back=own),
            Projection("b", "a", one, tau, frames_back=back),
            Projection("b", "y", one, 0.2, frames_back=1),
        ),
        (Readout("y", (1,), np.zeros(1)),),
        notes=("said before",),
    )


def delays_of(graph):
    return [None if p.delays is None else int(p.delays) for p in graph.projections]


@pytest.mark.parametrize(
    ("tau", "steps", "own", "back"),
    [
        (0.0, 1, 0, 1),  # a spike comes back one step later in any case
        (0.0, 10, 9, 19),
        (0.002, 3, 0, 3),  # 1.54 steps by the synapse, which is two
        (0.002, 10, 7, 17),
        (0.005, 10, 4, 14),  # 4.52: five
    ],
)
def test_so_many_frames_are_so_many_steps_less_what_it_takes_anyway(tau, steps, own, back):
    graph = network(tau, 3, 1, 2)
    found = with_frame_delays(graph, steps)
    assert delays_of(found) == [None, 5, 3 * steps, own or None, back or None, steps]
    assert found.frame_steps == steps
    assert found.notes == ("said before",)
    assert replace(found, projections=graph.projections, frame_steps=None) == graph


@pytest.mark.parametrize("frames", [0, 1])
def test_what_comes_back_later_than_a_frame_is_said_and_comes_at_once(frames):
    graph = network(0.002, 0, 1, frames)
    with pytest.warns(LoihiDeployWarning) as caught:
        found = with_frame_delays(graph, 2)
    assert delays_of(found) == [None, 5, None, None, None, 2]
    assert len(caught) == 1 + frames
    problem = caught[0].message.problem
    assert (problem.what, problem.where) == ("spikes come back to the layer later than a frame takes", "b->b")
    assert (problem.value, problem.limit) == ("3 steps", "2 steps")
    assert problem.remedy == (
        "Show frames for 3 steps, or give the layer a shorter synapse: "
        "DeployOptions(layer_synapses={'b': 0.0})"
    )
    assert found.notes == ("said before", *(str(warning.message.problem) for warning in caught))
    assert caught[0].filename == __file__
    assert delays_of(with_frame_delays(graph, 3))[3] is None  # which it has just the time for


def test_without_projections_of_frames_nothing_is_asked():
    graph = replace(network(0.002, 0, 0, 0), projections=network(0.002, 0, 0, 0).projections[:-1])
    assert with_frame_delays(graph, None) is graph
    with pytest.raises(InputError) as caught:
        with_frame_delays(network(0.002, 0, 0, 0), None)
    (problem,) = caught.value.problems
    assert problem.where == "steps_per_frame"
    assert problem.remedy == "Say so: DeployOptions(steps_per_frame=...)"

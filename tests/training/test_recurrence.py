"""Recurrent layers, trained through spikes on sequences."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import loihi_deploy as ld
from loihi_deploy.errors import InputError
from loihi_deploy.ir import Dense, Projection
from loihi_deploy.training import SurrogateChip, with_recurrence
from tests.sequences import frames, network

X = frames(12, 6)
LENGTHS = np.array([2, 3, 4, 5, 6, 6] * 2)
SEQUENCES = ld.Sequences(X, LENGTHS)
HOLD = 3


def program(strength=0.8, tau=0.003):
    graph = network("mean", bias=0.1)
    slower = tuple(replace(p, tau=tau) if p.post == "second" else p for p in graph.projections)
    how = ld.DeployOptions(encoder="first_layer", steps_per_frame=HOLD, bias_correction_steps=0)
    plain = ld.deploy(replace(graph, projections=slower), "loihi", X, how)
    looped = with_recurrence(plain.graph, "second", strength)
    return ld.deploy(looped, "loihi", options=replace(how, normalization="none")).program


def charged(program):
    """Below zero at the start, and free to go there, as far as a power of two."""
    (p,) = program.populations
    low = 1 - (1 << p.threshold.bit_length())
    return replace(program, populations=(replace(p, v_min=low, initial_voltage=np.full(p.size, low // 3)),))


def deployed(program, **options):
    return ld.deploy(program, "loihi", options=ld.DeployOptions(steps_per_frame=HOLD, **options))


@pytest.mark.filterwarnings(
    "ignore:second. synapses of the source count:loihi_deploy.errors.LoihiDeployWarning"
)
@pytest.mark.parametrize("tau", [0.0, 0.003, 0.05])
@pytest.mark.parametrize("how", [{"readout": "mean"}, {"readout": "last", "flush": 2}])
def test_every_spike_of_a_recurrent_network_is_that_of_the_emulator(tau, how):
    made = charged(program(tau=tau))
    assert made.synapses[-1].pre == made.synapses[-1].post == "second"
    assert np.abs(made.synapses[-1].transform.values).max() > 20
    chip = SurrogateChip(made, HOLD, 1.0 if how["readout"] == "mean" else None, flush=how.get("flush"))
    result = deployed(made, readout=how["readout"], flush=chip.flush).run(SEQUENCES, record=["second"])
    found = chip.spikes(SEQUENCES)["second"]
    for row, expected, length in zip(found, result.recorded["second"]["spikes"], LENGTHS, strict=True):
        until = length * HOLD + chip.flush
        assert (row[:until] == expected[:until]).all()
    assert found.any()
    np.testing.assert_allclose(chip.logits(SEQUENCES), result.outputs, rtol=1e-9, atol=1e-9)
    assert chip.program == made


def test_every_spike_is_that_of_nengo_loihis_emulator():
    pytest.importorskip("nengo_loihi")
    made = charged(program())
    chip = SurrogateChip(made, HOLD, 1.0)
    how = {"record": ["second"], "backend": "nengo_loihi"}
    result = deployed(made, readout="mean", flush=chip.flush).run(X[:4], **how)
    found = chip.spikes(X[:4])["second"]
    assert (found == result.recorded["second"]["spikes"]).all()
    assert found.any()


def test_recurrent_weights_biases_and_decoders_learn_and_are_deployed():
    """A task that needs memory: which of two inputs was the larger in the first frame."""
    made = program(0.2, 0.003)
    x = frames(200, 3)
    y = (x[:, 0, 0] > x[:, 0, 1]).astype(int)
    chip = SurrogateChip(made, HOLD, None)
    first = chip.fit(x, y, epochs=2)
    last = chip.fit(x, y, epochs=8, learning_rate=1.0)
    assert last[-1] < 0.9 * first[0]
    learned = chip.program
    for old, new in zip(made.synapses, learned.synapses, strict=True):
        assert (old.transform.values != new.transform.values).mean() > 0.2
    assert (learned.populations[0].bias != made.populations[0].bias).any()
    for old, new in zip(made.readout.projections, learned.readout.projections, strict=True):
        assert (old.transform.values != new.transform.values).mean() > 0.5
    assert (learned.readout.readouts[0].bias != made.readout.readouts[0].bias).all()
    result = deployed(learned, readout="last", flush=chip.flush).run(x, record=["second"])
    assert (chip.spikes(x)["second"] == result.recorded["second"]["spikes"]).all()


@pytest.mark.filterwarnings("ignore::loihi_deploy.errors.LoihiDeployWarning")
def test_currents_that_do_not_fit_wrap_as_on_chip():
    made, x = program(tau=5.0), 3 * frames(4, 40)
    weights = made.synapses[0].transform
    heavy = weights.with_values(np.full_like(weights.values, 127))
    made = replace(made, synapses=(replace(made.synapses[0], transform=heavy), *made.synapses[1:]))
    chip = SurrogateChip(made, HOLD, 1.0)
    result = deployed(made, readout="mean", flush=chip.flush).run(x, record=["second"])
    assert result.counters.populations["second"].overflows_u > 0
    assert (chip.spikes(x)["second"] == result.recorded["second"]["spikes"]).all()


@pytest.mark.parametrize(
    ("graph", "name", "what"),
    [
        (with_recurrence(network(), "second"), "second", "drives itself already"),
        (network(), "frame", "no population that anything drives"),
        (network(), "nobody", "no population that anything drives"),
    ],
)
def test_what_cannot_be_recurrent(graph, name, what):
    with pytest.raises(InputError, match=what):
        with_recurrence(graph, name)


@pytest.mark.follows("Train it with rates", "Train it without that limit")
def test_what_the_host_does_that_is_not_computed():
    how = ld.DeployOptions(encoder="first_layer", steps_per_frame=HOLD, bias_correction_steps=0)

    def made(**more):
        graph = network("mean")
        past = Projection("first", "classes", Dense(np.ones((3, 30))), 0.003)
        graph = replace(graph, projections=(*graph.projections, past)) if more.pop("past", False) else graph
        return ld.deploy(graph, "loihi", X, replace(how, **more)).program

    with pytest.raises(InputError) as refusal:
        SurrogateChip(made(past=True, max_host_spikes=10), HOLD)
    assert [problem.what for problem in refusal.value.problems] == [
        "the host holds spikes back",
        "decodes spikes of the host",
    ]
    SurrogateChip(made(), HOLD)

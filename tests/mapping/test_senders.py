"""Rules on what neurons send by: warned of, avoided where that is free, and at a price where it is asked for."""

import re

import numpy as np
import pytest

import loihi_deploy as ld
from loihi_deploy.backends.preflight import doubts
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.errors import InputError, MappingError
from loihi_deploy.ir import Conv2D
from loihi_deploy.ir.program import Program, SpikeSource, Synapses
from loihi_deploy.mapping import RULES, map_to_cores
from loihi_deploy.mapping.rules import AVOIDABLE, SENDER_RULES
from tests.mapping.networks import NOTHING, chain, check_rules, compartments, sparse, weights
from tests.mapping.test_mapper import board_with
from tests.remedies import follows


def two_ways(size, channels, out, second="pointwise"):
    """A layer that a depthwise and a pointwise convolution see, or a depthwise one behind a depthwise one."""
    rng = np.random.default_rng(0)
    shape = (size, size, channels)
    first = Conv2D(weights(rng, 3, 3, 3, channels), (1, 1), (1, 1), (size, size, 3), shape)
    depthwise = Conv2D(weights(rng, 3, 3, 1, channels), (1, 1), (1, 1), shape, shape, channels)
    populations = [compartments(rng, "first", shape), compartments(rng, "depthwise", shape)]
    synapses = [Synapses("in", "first", first, 7), Synapses("first", "depthwise", depthwise, 7)]
    if second == "pointwise":
        pointwise = Conv2D(weights(rng, 1, 1, channels, out), (1, 1), (0, 0), shape, (size, size, out))
        populations.append(compartments(rng, "pointwise", pointwise.out_shape))
        synapses.append(Synapses("first", "pointwise", pointwise, 7))
    else:
        populations.append(compartments(rng, "behind", shape))
        synapses.append(Synapses("depthwise", "behind", depthwise, 7))
    return Program(
        NOTHING, (SpikeSource("in", (size, size, 3)),), tuple(populations), tuple(synapses), NOTHING
    )


def benchmark(name):
    return ld.quantize(ld.partition(benchmarks.NETWORKS[name]()))


def conv_and_sparse():
    """A layer that sends to a convolution, by population axons only, and through a sparse matrix, by discrete ones."""
    rng = np.random.default_rng(0)
    first = Conv2D(weights(rng, 3, 3, 3, 8), (1, 1), (1, 1), (6, 6, 3), (6, 6, 8))
    second = Conv2D(weights(rng, 3, 3, 8, 4), (1, 1), (1, 1), (6, 6, 8), (6, 6, 4))
    return Program(
        NOTHING,
        (SpikeSource("in", (6, 6, 3)),),
        tuple(
            compartments(rng, name, shape)
            for name, shape in (("a", (6, 6, 8)), ("b", (6, 6, 4)), ("c", (30,)))
        ),
        (
            Synapses("in", "a", first, 7),
            Synapses("a", "b", second, 7),
            Synapses("a", "c", sparse(rng, 30, 288), 7),
        ),
        NOTHING,
    )


def promised(mapping, rule):
    """The number of cores that a warning promises for a plan without what it warns of."""
    (what,) = (r.what for r in RULES if r.name == rule)
    (warning,) = (text for text in mapping.warnings if what in text)
    found = re.search(
        rf"avoid=\['{rule}'\] gives a plan without them, on (\d+) cores instead of (\d+)", warning
    )
    assert int(found[2]) == mapping.n_cores
    return int(found[1])


CASES = {
    "atoms": lambda: (two_ways(5, 70, 8), board_with(max_compartments=128)),
    "probed_senders": lambda: (benchmark("recurrent-lif"), "nahuku32"),
}


@pytest.mark.parametrize("rule", CASES)
def test_what_is_warned_of_can_be_avoided_at_the_price_that_is_named(rule):
    program, board = CASES[rule]()
    mapping = map_to_cores(program, board)
    assert any(core.usage[rule] > 0 for core in mapping.cores)
    check_rules(program, mapping)
    avoiding = map_to_cores(program, board, avoid=[rule])
    assert all(core.usage[rule] == 0 for core in avoiding.cores)
    assert mapping.n_cores < avoiding.n_cores == promised(mapping, rule)
    check_rules(program, avoiding)


@pytest.mark.parametrize(
    "rule",
    [
        follows("Ask for a plan without them: avoid=['atoms']", "atoms"),
        follows("Ask for a plan without them: avoid=['probed_senders']", "probed_senders"),
    ],
)
def test_what_the_preflight_doubts_is_gone_in_the_plan_that_it_advises(rule):
    program, board = CASES[rule]()
    advice = f"Ask for a plan without them: avoid=['{rule}']"
    mapping = map_to_cores(program, board)
    assert advice in {problem.remedy for problem in doubts(program, mapping)}
    mapping = map_to_cores(program, board, avoid=[rule])
    assert advice not in {problem.remedy for problem in doubts(program, mapping)}


@pytest.mark.parametrize("name", ["cifar10-convnet", "mnist-convnet", "nxtf-mnist"])
def test_plans_without_them_are_preferred_where_they_take_no_more_cores(name):
    mapping = map_to_cores(benchmark(name), "nahuku32")
    assert not mapping.warnings
    for core in mapping.cores:
        assert (core.usage["atoms"], core.usage["probed_senders"]) == (0, 0)
        assert core.usage["axon_kinds"] <= 1


def test_depthwise_behind_depthwise():
    program = two_ways(6, 24, 0, "depthwise")
    board = board_with(max_compartments=100)
    mapping = map_to_cores(program, board, avoid=SENDER_RULES)
    assert all(core.usage["atoms"] == 0 for core in mapping.cores)


@pytest.mark.follows(
    "Leave it out of avoid, and be warned of it instead",
)
def test_what_no_plan_avoids_is_warned_of_or_refused_with_the_way_out():
    program = conv_and_sparse()
    mapping = map_to_cores(program, "loihi")
    assert any(
        "kinds of output axons" in warning and "No plan without them" in warning
        for warning in mapping.warnings
    )
    with pytest.raises(MappingError, match="Leave it out of avoid") as caught:
        map_to_cores(program, "loihi", avoid=["axon_kinds"])
    assert caught.value.problems[0].value == "axon_kinds"
    map_to_cores(program, "loihi", avoid=[rule for rule in AVOIDABLE if rule != "axon_kinds"])


def test_destinations_that_no_plan_avoids_are_refused_where_that_is_asked_for():
    program = chain((784,), [("dense", 1000), ("dense", 1500)])
    assert not map_to_cores(program, board_with(max_destination_groups=40), avoid=["destinations"]).warnings
    with pytest.raises(MappingError, match="cores that one core sends spikes to"):
        map_to_cores(program, board_with(max_destination_groups=8), avoid=["destinations"])


def test_only_what_is_warned_of_can_be_avoided():
    with pytest.raises(InputError, match="axon_kinds"):
        map_to_cores(conv_and_sparse(), "loihi", avoid=["compartments"])
    assert {rule.name for rule in RULES if rule.severity == "warning" and rule.scope == "core"} == set(
        AVOIDABLE
    )


def test_every_rule_on_senders_says_where_it_comes_from():
    assert all("nengo-loihi" in rule.source for rule in RULES if rule.name in SENDER_RULES)


def test_a_rule_that_is_downgraded_is_still_warned_of():
    program = benchmark("recurrent-lif")
    mapping = map_to_cores(program, "nahuku32", downgrade=["probed_senders"])
    assert mapping.n_cores == map_to_cores(program, "nahuku32").n_cores
    assert any("the host reads" in warning for warning in mapping.warnings)

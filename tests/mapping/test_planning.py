"""Which of several plans is taken, and what a plan is held to."""

from loihi_deploy.mapping import map_to_cores
from loihi_deploy.mapping.mapper import _options
from loihi_deploy.mapping.planning import Plan, Planner
from loihi_deploy.mapping.rules import CORE_RULES
from tests.mapping.networks import chain
from tests.mapping.test_mapper import board_with
from tests.mapping.test_senders import conv_and_sparse

PROGRAM = chain((9,), [("dense", 20), ("dense", 10)])


def plan(n_cores, messages=0, broken=()):
    return Plan([[]] * n_cores, frozenset(broken), messages)


def taken(plans, avoid=()):
    """The best plan of those by whether destinations are limited, axons leave chips, and ways are restricted."""
    planner, asked = Planner(PROGRAM, board_with(), {}, {}, ()), []

    def made(bound, interchip, restricted):
        asked.append((bound, interchip, restricted))
        return plans.get(asked[-1], [])

    planner._plans = made
    return planner.best(avoid), asked


FREE, APART = (True, False, False), (True, True, False)
UNLIMITED, UNLIMITED_APART = (False, False, False), (False, True, False)


def test_fewest_cores_then_fewest_rules_broken_then_fewest_messages():
    plans = [plan(3, 9), plan(2, 9, ["atoms"]), plan(2, 9), plan(2, 7), plan(4, 1)]
    assert taken({FREE: plans}) == (plans[3], [FREE])
    assert taken({FREE: plans[:2]})[0] is plans[1]
    assert [one.rank for one in plans] == [(3, 0, 9), (2, 1, 9), (2, 0, 9), (2, 0, 7), (4, 0, 1)]


def test_destinations_are_limited_and_one_chip_is_used_wherever_there_is_a_plan_for_that():
    one = plan(5)
    order = [FREE, APART, UNLIMITED, UNLIMITED_APART]
    for k, key in enumerate(order):
        assert taken({key: [one]}) == (one, order[: k + 1])
        limited = key in (FREE, APART)
        assert taken({key: [one]}, ["destinations"]) == (
            (one, order[: k + 1]) if limited else (None, order[:2])
        )
    assert taken({}) == (None, order)


def test_ways_are_restricted_only_where_every_plan_breaks_a_rule():
    breaks, keeps = plan(2, 0, ["atoms"]), plan(3)
    restricted = (True, False, True)
    assert taken({FREE: [breaks, keeps], restricted: [plan(1)]}) == (breaks, [FREE])
    assert taken({FREE: [breaks], restricted: [keeps]}) == (breaks, [FREE, restricted])
    assert taken({FREE: [breaks], restricted: [keeps]}, ["atoms"]) == (keeps, [FREE, restricted])
    same = plan(2, 5)
    assert taken({FREE: [breaks], restricted: [same]})[0] is same
    assert taken({FREE: [breaks], APART: [keeps]}, ["atoms"])[0] is keeps
    assert taken({FREE: [breaks], APART: [keeps]}, ["axon_kinds"])[0] is breaks


def planner_of(program, board, **bounds):
    limits = {rule.name: rule.limit(board) for rule in CORE_RULES} | bounds
    return Planner(program, board, limits, _options(program, board, limits, {}), ())


def test_a_plan_for_one_chip_has_no_more_cores_than_that():
    program = chain((4,), [("dense", 10)] * 3)
    for cores, there in ((3, True), (2, False)):
        board = board_with(max_compartments=10, mesh_columns=cores, mesh_rows=1, cores_per_tile=1)
        planner = planner_of(program, board)
        assert bool(planner._plans(True, False, False)) == there
        assert {len(made.cores) for made in planner._plans(True, True, False)} == {3}


def test_a_plan_counts_messages_and_the_rules_on_senders_that_it_breaks():
    program = conv_and_sparse()
    planner = planner_of(program, board_with())
    assert {made.broken for made in planner._plans(True, False, False)} == {frozenset({"axon_kinds"})}
    sent = [neurons for *_, neurons in map_to_cores(program, "nahuku08").flows.tolist()]
    assert planner.best().messages == sum(sent)
    allowed = planner_of(program, board_with(), axon_kinds=2)
    assert {made.broken for made in allowed._plans(True, False, False)} == {frozenset()}

"""Plans, their figures, the options, and what is said when something does not fit."""

from dataclasses import replace

import pytest

import loihi_deploy as ld
from loihi_deploy.artifact import read_artifact, write_artifact
from loihi_deploy.bench import networks as benchmarks
from loihi_deploy.chip.boards import load_board
from loihi_deploy.errors import InputError, LoihiDeployError, MappingError
from loihi_deploy.mapping import RULES, SAVED_TYPES, map_to_cores
from loihi_deploy.mapping.explain import with_channels
from loihi_deploy.mapping.layout import grids
from tests.mapping.networks import chain, check_rules

SMALL = chain((12, 12, 3), [("conv", 3, 1, 16), ("conv", 3, 2, 32), ("dense", 40)])


def board_with(name="nahuku08", **limits):
    board = load_board(name)
    chip = {key: limits.pop(key) for key in ("mesh_columns", "mesh_rows", "cores_per_tile") if key in limits}
    core = replace(board.chip.core, **limits)
    return replace(board, chip=replace(board.chip, core=core, **chip))


def benchmark_program(name):
    return ld.quantize(ld.partition(benchmarks.NETWORKS[name]()))


@pytest.mark.parametrize(
    ("name", "most"),
    [("cifar10-convnet", 50), ("mnist-convnet", 8), ("nxtf-mnist", 7), ("recurrent-lif", 10)],
)
def test_known_networks_need_few_cores(name, most):
    program = benchmark_program(name)
    mapping = map_to_cores(program, "nahuku32")
    assert mapping.bound <= mapping.n_cores <= most
    assert mapping.n_chips == 1
    # neurons of the loop are read by the host and send to each other: every plan with so few cores is warned of
    assert [w for w in mapping.warnings if "the host reads" not in w or name != "recurrent-lif"] == []
    check_rules(program, mapping)


@pytest.mark.parametrize(
    ("layers", "most"),
    [
        ([("conv", 3, 1, 8, 1)] * 20 + [("dense", 10)], 1.3),
        ([("conv", 1, 1, 64), ("conv", 1, 1, 128), ("conv", 1, 1, 32)], 1.3),
        ([("conv", 5, 1, 60)], 1.3),
        ([("dense", 1000), ("dense", 1000)], 1.3),
        ([("conv", 3, 2, 32, 1), ("depthwise", 3, 1, 1), ("conv", 1, 1, 64), ("depthwise", 3, 2, 1)], 1.3),
        ([("dense", 3)], 1.3),
    ],
)
def test_other_networks_come_near_the_bound(layers, most):
    program = chain((16, 16, 8), layers)
    mapping = map_to_cores(program, "nahuku32")
    assert mapping.n_cores <= most * mapping.bound
    check_rules(program, mapping)


def test_large_kernels_over_many_channels_need_margins():
    """Without compartments for outputs outside a slice, 512 channels onto 512 would take ten times as many cores."""
    program = chain((6, 6, 512), [("conv", 3, 1, 512)])
    mapping = map_to_cores(program, "nahuku32")
    assert mapping.n_cores <= 43
    assert all(any(piece.margin) for core in mapping.cores for piece in core.slices)


def test_mapping_is_the_same_every_time_and_survives_saving(tmp_path):
    mapping = map_to_cores(SMALL, "nahuku32")
    assert map_to_cores(SMALL, load_board("nahuku32")) == mapping
    write_artifact(tmp_path / "m.loihi", {"mapping": mapping})
    assert read_artifact(tmp_path / "m.loihi", SAVED_TYPES)["mapping"] == mapping


def test_a_shape_can_be_fixed():
    mapping = map_to_cores(SMALL, "nahuku32", fix={"conv1": (5, 4, 7)})
    shapes = [p.shape for core in mapping.cores for p in core.slices if p.population == "conv1"]
    assert len(shapes) == 2 * 3 * 3
    assert max(shapes) == (5, 4, 7)
    check_rules(SMALL, mapping)


def test_a_number_of_slices_can_be_fixed():
    mapping = map_to_cores(SMALL, "nahuku32", fix={"conv1": 5, "dense3": (20,)})
    pieces = [p.population for core in mapping.cores for p in core.slices]
    assert pieces.count("conv1") == 5
    assert pieces.count("dense3") == 2


def test_hand_made_shapes_are_counted_as_nengo_loihi_does():
    """The core shapes of nengo-loihi's CIFAR-10 example: 16 + 36 + 22 + 11 + 3 + 2 cores."""
    fix = {
        "conv1": (8, 8, 16),
        "conv2": (7, 7, 8),
        "conv3": (6, 6, 12),
        "conv4": (6, 6, 24),
        "conv5": (6, 6, 24),
        "dense": (50,),
    }
    mapping = map_to_cores(benchmark_program("cifar10-convnet"), "nahuku32", fix=fix)
    assert mapping.n_cores == 90
    assert [len(mapping.cores_of(name)) for name in fix] == [16, 36, 22, 11, 3, 2]


def test_several_chips_when_one_is_full():
    program = chain((16, 16, 8), [("conv", 3, 1, 16, 1), ("conv", 3, 1, 16, 1), ("conv", 3, 1, 8)])
    board = board_with(mesh_columns=2, mesh_rows=1, cores_per_tile=2)
    mapping = map_to_cores(program, board)
    assert mapping.n_chips > 1
    check_rules(program, mapping)
    crossing = [
        (pre, axons, slots)
        for pre, post, axons, slots, _ in mapping.flows
        if pre >= 0 and mapping.cores[pre].chip != mapping.cores[post].chip
    ]
    assert crossing
    for k, core in enumerate(mapping.cores):
        from_here = mapping.flows[mapping.flows[:, 0] == k]
        apart = sum(axons for pre, axons, _ in crossing if pre == k)
        assert core.usage["out_axon_slots"] == from_here[:, 3].sum() + apart


def test_populations_with_different_membranes_never_share_a_core():
    base = chain((40,), [("dense", 30), ("dense", 20)], v_min=0)
    apart = replace(base, populations=(base.populations[0], replace(base.populations[1], v_min=-(2**10) + 1)))
    assert map_to_cores(base, "loihi").n_cores == 1
    assert map_to_cores(apart, "loihi").n_cores == 2


def test_measured_rates_decide_what_lies_close_together():
    program = chain((16, 16, 8), [("conv", 3, 1, 16, 1), ("conv", 3, 1, 16, 1), ("conv", 3, 1, 8)])
    board = board_with(mesh_columns=2, mesh_rows=1, cores_per_tile=2)
    rates = {"in": 1.0, "conv1": 100.0, "conv2": 1.0, "conv3": 0.0}
    uniform, measured = (map_to_cores(program, board, rates=r) for r in (None, rates))

    def crossing(mapping):
        chips = [core.chip for core in mapping.cores]
        return sum(
            neurons * rates[sender]
            for (pre, post, _, _, neurons), sender in zip(mapping.flows, mapping.senders, strict=True)
            if pre >= 0 and chips[pre] != chips[post]
        )

    assert crossing(measured) <= crossing(uniform)


def test_more_input_spikes_than_the_host_can_send_are_warned_of():
    rates = {"in": 500.0, "conv1": 10.0, "conv2": 10.0, "dense3": 10.0}
    mapping = map_to_cores(SMALL, "nahuku32", rates=rates)
    assert any("input spikes" in warning and "chip 0" in warning for warning in mapping.warnings)
    quiet = map_to_cores(SMALL, "nahuku32", rates={**rates, "in": 0.1})
    assert not quiet.warnings


def test_destinations_beyond_the_limit_are_warned_of_only_where_no_plan_avoids_them():
    program = chain((784,), [("dense", 1000), ("dense", 1500)])
    assert not map_to_cores(SMALL, "nahuku32").warnings
    mapping = map_to_cores(program, board_with(max_destination_groups=8))
    assert any("sends spikes to" in warning for warning in mapping.warnings)


# What does not fit


def problems_of(program, board="nahuku32", error=MappingError, **options):
    with pytest.raises(error) as caught:
        map_to_cores(program, board, **options)
    return caught.value.problems


def test_every_bad_option_is_named():
    problems = problems_of(
        SMALL,
        error=InputError,
        fix={"conv9": 1, "conv1": (0, 1, 1), "conv2": (1, 2), "dense3": (41,)},
        max_cores=0,
        downgrade=["nonsense"],
        rates={"in": 1.0, "conv1": float("nan"), "conv2": -1.0},
    )
    text = " ".join(map(str, problems))
    assert len(problems) == 8
    for said in ("conv9", "(0, 1, 1)", "(1, 2)", "(41,)", "max_cores", "nonsense", "dense3", "conv1, conv2"):
        assert said in text


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(
            ("fix", value)
            for value in (3, "dense=²", [("conv1", 2)], {"conv1": None}, {"conv1": "2"}, {"conv1": True})
        ),
        *(
            ("fix", value)
            for value in ({"conv1": 2.5}, {"conv1": ()}, {"conv1": (1, 2.0, 3)}, {"conv1": -1}, {3: 1})
        ),
        *(("max_cores", value) for value in (-1, 0, "8", 2.5, True, [1])),
        *(("downgrade", value) for value in ("chips", None, 3, [None], [["chips"]])),
        *(("avoid", value) for value in ("atoms", None, 3, ["chips"], [0])),
        *(("rates", value) for value in (3, "fast", {"in": 1.0}, dict.fromkeys(SMALL.nodes, "x"))),
        *(("rates", value) for value in (dict.fromkeys(SMALL.nodes), {name: [] for name in SMALL.nodes})),
        *(("board", value) for value in (None, 3, "", "nowhere", b"loihi", ["loihi"])),
        *(("program", value) for value in (None, 3, "network")),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(argument, value):
    arguments = {"program": SMALL, "board": "nahuku32", argument: value}
    with pytest.raises(LoihiDeployError):
        map_to_cores(**arguments)


def test_a_fixed_shape_that_breaks_limits():
    problems = problems_of(SMALL, fix={"conv1": (10, 10, 16), "conv2": 797})
    assert [(p.where, p.value, p.limit) for p in problems][:1] == [("population 'conv1'", 1600, 1024)]
    assert "no shape of slices gives this number of cores" in problems[1].what


def test_a_neuron_that_no_core_can_hold_says_what_would_help():
    program = chain((30, 30, 20), [("conv", 30, 1, 2)])
    board = board_with(synapse_memory_words=1800)
    (problem,) = problems_of(program, board)
    assert problem.where == "population 'conv1'"
    assert "shapes tried" in problem.what
    assert problem.value > problem.limit == 1800
    channels = int(problem.remedy.split("'in' ")[1].split(" ")[0])
    # the remedy holds, and one step less of it does not
    map_to_cores(chain((30, 30, channels), [("conv", 30, 1, 2)]), board)
    assert problems_of(chain((30, 30, channels + 1), [("conv", 30, 1, 2)]), board)


def test_too_many_cores_names_a_board_and_fewer_filters_that_do():
    program = chain((16, 16, 3), [("conv", 3, 1, 64), ("conv", 3, 1, 8)])
    board = board_with("loihi", mesh_columns=2, mesh_rows=2, cores_per_tile=2)
    (problem,) = problems_of(program, board)
    assert problem.limit == 8 < problem.value
    kept = int(problem.remedy.split("give 'conv1' ")[1].split(" ")[0]) if "give" in problem.remedy else None
    kept = kept or int(problem.remedy.split("Give 'conv1' ")[1].split(" ")[0])
    assert map_to_cores(with_channels(program, "conv1", kept), board).n_cores <= 8
    (small,) = problems_of(chain((64, 64, 3), [("conv", 3, 1, 40, 1)]), "loihi")
    assert "Use the board kapoho_bay" in small.remedy
    assert map_to_cores(chain((64, 64, 3), [("conv", 3, 1, 40, 1)]), "kapoho_bay").n_chips == 2


def test_a_limit_on_cores():
    few = map_to_cores(SMALL, "nahuku32").n_cores
    assert map_to_cores(SMALL, "nahuku32", max_cores=few).n_cores == few
    (problem,) = problems_of(SMALL, max_cores=few - 1)
    assert (problem.value, problem.limit) == (few, few - 1)
    assert f"Allow {few} cores" in problem.remedy


def test_output_axons_that_no_shapes_can_save():
    program = chain((8, 8, 2), [("conv", 3, 1, 8), ("dense", 300)])
    board = board_with(max_out_axon_slots=1, synapse_memory_words=3000)
    problems = problems_of(program, board)
    assert {problem.where for problem in problems} == {"population 'conv1'"}
    assert "output axon slots" in problems[0].what


def test_rules_can_be_downgraded_to_warnings():
    program = chain((8, 8, 2), [("conv", 3, 1, 8), ("dense", 300)])
    board = board_with(max_out_axon_slots=1, synapse_memory_words=3000)
    mapping = map_to_cores(program, board, downgrade=["out_axon_slots"])
    assert any("output axon slots" in warning for warning in mapping.warnings)
    tight = board_with(max_compartments=10)
    assert map_to_cores(SMALL, tight, downgrade=["chips", "compartments"]).warnings


def test_every_rule_has_a_name_of_its_own_and_a_limit():
    board = load_board("nahuku32")
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.limit(board) >= 0 for rule in RULES)


def test_populations_of_any_number_of_axes():
    program = chain((4, 4, 2), [("dense", 24)])
    for shape, grid in (((24,), (1, 1, 24)), ((4, 6), (1, 4, 6)), ((2, 3, 2, 2), (6, 2, 2))):
        other = replace(program, populations=(replace(program.populations[0], shape=shape),))
        assert grids(other)["dense1"] == grid
        assert map_to_cores(other, "loihi").n_cores == 1

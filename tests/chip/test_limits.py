"""Every limit of the chip's file, changed, binds a mapping, and every other number is what it counts with."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from loihi_deploy.chip.boards import load_board
from loihi_deploy.chip.hardware import Board, Chip, CoreLimits
from loihi_deploy.errors import MappingError
from loihi_deploy.mapping import RULES, map_to_cores
from loihi_deploy.mapping.memory import index_bits, words
from loihi_deploy.mapping.plan import POP16
from loihi_deploy.mapping.rules import broken
from loihi_deploy.mapping.usage import slice_bundles
from tests.mapping.networks import chain

BOARD = load_board("loihi")


def board_with(n_chips=1, chip=(), **core):
    data = asdict(BOARD)
    data["n_chips"] = n_chips
    data["chip"].update(chip)
    data["chip"]["core"].update(core)
    return Board.from_dict(data)


LIMITS = {
    *("max_compartments", "max_in_axons", "max_out_axon_slots", "synapse_memory_words"),
    *("max_synapse_words_per_axon", "max_index_bits", "max_synapse_formats", "max_compartment_profiles"),
    *("max_threshold_profiles", "max_membrane_profiles", "max_compartment_base", "pop16_max_channels"),
    *("pop32_max_channels", "pop16_max_in_axons", "max_destination_groups", "max_accumulators"),
}
COUNTED_WITH = {
    *("slots_per_discrete_axon", "slots_per_pop16_axon", "slots_per_pop32_axon", "extra_slots_interchip"),
    *("synapse_word_bits", "extra_word_remainder", "max_synapses_per_entry", "entry_format_bits"),
    *("entry_length_bits", "synapse_weight_bits", "min_index_bits", "pop16_base_multiple"),
}
IN_OTHER_TESTS = {
    "max_stdp_profiles",
    "max_narrow_weight_bits",
    "max_delay",
}  # test_chip_file.py here, mapping/test_bounds.py, below


def test_no_number_is_left_out():
    assert {field.name for field in fields(CoreLimits)} == LIMITS | COUNTED_WITH | IN_OTHER_TESTS
    numbers = {field.name for field in fields(Chip) if field.type == "int"}
    assert numbers == {"mesh_columns", "mesh_rows", "cores_per_tile", "host_spikes_per_step"}


@pytest.mark.parametrize("key", sorted(LIMITS | {"host_spikes_per_step", "n_chips"}))
def test_a_mapping_is_held_to_a_changed_limit(key):
    board = board_with(chip={key: 13}) if key.startswith("host") else board_with(**{key: 13})
    (rule,) = (rule for rule in RULES if rule.limit(board) != rule.limit(BOARD))
    assert broken([{rule.name: 13}], ["here"], board, rule.scope) == []
    ((found, problem),) = broken([{rule.name: 14}], ["here"], board, rule.scope)
    assert (found, problem.value, problem.limit) == (rule, 14, 13)


def test_spikes_are_held_back_for_no_longer_than_a_changed_limit():
    program = chain((30,), [("dense", 40)])
    held_back = replace(program, synapses=tuple(replace(each, delays=14) for each in program.synapses))
    with pytest.raises(MappingError, match=r"held back.*found 14 steps, allowed 13"):
        map_to_cores(held_back, board_with(max_delay=13))
    assert map_to_cores(held_back, board_with(max_delay=14)).cores


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"synapse_word_bits": 40},
        {"extra_word_remainder": 20},
        {"max_synapses_per_entry": 10},
        {"entry_format_bits": 9},
        {"entry_length_bits": 17},
    ],
)
def test_words_of_synapse_memory_are_counted_with_the_numbers_of_the_file(numbers):
    limits = board_with(**numbers).chip.core
    for n in (1, 9, 10, 11, 63, 64, 65, 500):
        for bits in (8, 14, 20):
            left, expected = n, 0
            while left > 0:
                entry = min(left, limits.max_synapses_per_entry)
                size = entry * bits + limits.entry_format_bits + limits.entry_length_bits
                expected += -(-size // limits.synapse_word_bits)
                left -= entry
            rest = size % limits.synapse_word_bits
            expected += rest == 0 or rest >= limits.extra_word_remainder
            assert words(n, bits, limits) == expected
    if numbers:
        usual = [int(words(n, 14, BOARD.chip.core)) for n in range(1, 200)]
        assert usual != [int(words(n, 14, limits)) for n in range(1, 200)]


def usage_of(program, board, name):
    return sum(core.usage[name] for core in map_to_cores(program, board).cores)


DENSE = chain((30,), [("dense", 40), ("dense", 20)])


def test_bits_of_weights_and_indices():
    assert usage_of(DENSE, board_with(synapse_weight_bits=4), "synapse_words") < usage_of(
        DENSE, BOARD, "synapse_words"
    )
    assert index_bits(3, BOARD.chip.core) == 6
    assert index_bits(3, board_with(min_index_bits=9).chip.core) == 9


IMAGES = chain((10, 10, 8), [("conv", 3, 1, 8), ("conv", 3, 1, 8)])


def bundles_of(program, board):
    mapping = map_to_cores(program, board)
    return mapping, [
        bundle
        for core in mapping.cores
        for piece in core.slices
        for bundle in slice_bundles(program, piece, board.chip.core)
    ]


def test_slots_and_bases_of_pop16_axons():
    numbers = {"pop32_max_channels": 1, "max_destination_groups": 1000}
    mapping, bundles = bundles_of(IMAGES, board_with(**numbers))
    used = [bundle for bundle in bundles if bundle.axon == POP16]
    assert used
    for multiple in (4, 16):
        _, bundles = bundles_of(IMAGES, board_with(pop16_base_multiple=multiple, **numbers))
        assert all(not (bundle.base_of % multiple).any() for bundle in bundles if bundle.axon == POP16)
    most = max(core.usage["out_axon_slots"] for core in mapping.cores)
    assert most > 0
    dearer = map_to_cores(IMAGES, board_with(slots_per_pop16_axon=3, **numbers))
    assert dearer.cores != mapping.cores


def slots_per_axon(program, board):
    flows = map_to_cores(program, board).flows
    flows = flows[flows[:, 0] >= 0]
    return set((flows[:, 3] / flows[:, 2]).tolist())


def test_slots_of_discrete_axons():
    rows = {"pop16_max_channels": 1, "pop32_max_channels": 1}
    assert slots_per_axon(DENSE, board_with(**rows)) == {1}
    assert slots_per_axon(DENSE, board_with(slots_per_discrete_axon=5, **rows)) == {5}


def test_slots_of_pop32_axons():
    program = chain((6, 6, 40), [("conv", 3, 1, 40), ("conv", 3, 1, 40)])
    assert 2 in slots_per_axon(program, BOARD)
    assert slots_per_axon(program, board_with(slots_per_pop32_axon=1)) == {1}


def test_slots_of_axons_between_chips():
    one_core = {"mesh_columns": 1, "mesh_rows": 1, "cores_per_tile": 1}
    program = chain((30,), [("dense", 700), ("dense", 700)])
    for extra in (0, 1, 4):
        board = board_with(n_chips=50, chip=one_core, extra_slots_interchip=extra)
        mapping = map_to_cores(program, board)
        found = sum(core.usage["out_axon_slots"] for core in mapping.cores)
        flows = mapping.flows[mapping.flows[:, 0] >= 0]
        crossing = flows[flows[:, 0] != flows[:, 1]]  # each core is a chip
        assert found == flows[:, 3].sum() + extra * crossing[:, 2].sum()
        assert crossing.size


@pytest.mark.parametrize(
    ("chip", "cores"),
    [({"mesh_columns": 1, "mesh_rows": 1}, 4), ({"mesh_rows": 1}, 32), ({"cores_per_tile": 2}, 64)],
)
def test_cores_of_a_chip(chip, cores):
    board = board_with(chip=chip)
    assert board.chip.n_cores == cores
    mapping = map_to_cores(IMAGES, board, fix={"conv1": cores // 2, "conv2": 1} if cores > 4 else None)
    assert all(core.number < cores for core in mapping.cores)
    program = chain((30,), [("dense", 60_000)])
    with pytest.raises(MappingError):
        map_to_cores(program, board_with(chip={"mesh_columns": 1, "mesh_rows": 1}))


def test_hops_follow_the_mesh():
    from loihi_deploy.mapping.placement import tile_hops

    hops = tile_hops(board_with(chip={"mesh_columns": 2, "mesh_rows": 3}).chip)
    expected = [[abs(a // 2 - b // 2) + abs(a % 2 - b % 2) for b in range(6)] for a in range(6)]
    assert (hops == np.array(expected)).all()

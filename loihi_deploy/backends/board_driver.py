"""Runs a network, given as plain numbers and arrays, on a Loihi board, through nengo-loihi and NxSDK.

This is the package's one way to a board, and `loihi_deploy.export` copies the file beside the runner that it writes. So
it imports nothing of this package, and keeps to Python 3.6 and to what numpy had then. What the numbers mean stands in
`loihi_deploy.backends.blocks`.

Samples in a row, in one load: steps count from 1, and a sample takes ``period`` steps of which the last ``steps`` are
its own, or the first where a gap follows. A snip that resets does so in the two steps before a sample. At the end of
the first it clears currents and writes voltages so far below 0 that no compartment can spike in the second, in which
the last spikes arrive; at the end of that one it clears currents again and writes the voltages of the start. No
accumulator has to be written, and no snip has to run before another.
"""

import os
import tempfile
from typing import Any

import numpy as np

RESET_STEPS = 2
"""Steps before each sample that a snip takes to reset."""
PATIENCE = 30.0
"""Seconds that are waited for what the chip sends after a step; nengo-loihi's code on the host waits for ten."""
LOW_VOLTAGE = -(1 << 22)
"""No input of a step, of 21 bits and a bias, lifts a voltage from here above a threshold."""
VARIABLES = {"spikes": "spiked", "u": "current", "v": "voltage"}
"""What can be probed, by the names of nengo-loihi's probes."""

SNIP_HEADER = """#include "nxsdk.h"
int guard_reset(runState *s);
void reset_state(runState *s);
"""
SNIP = """#include <stdint.h>
#include "{header}"

#define N_CORES {n_cores}
static const int core_ids[N_CORES] = {{{core_ids}}};
static const int n_compartments[N_CORES] = {{{n_compartments}}};
static const int32_t start_voltages[] = {{{voltages}}};

int guard_reset(runState *s) {{
    int step = s->time_step % {period};
    return step == {first} || step == {second};
}}

// Write every compartment's current, voltage and phase; see the text of board_driver.py.
void reset_state(runState *s) {{
    int last = s->time_step % {period} == {second};
    int number = 0;
    for (int k = 0; k < N_CORES; k++) {{
        NeuronCore *core = NEURON_PTR((CoreId){{.id = core_ids[k]}});
        for (int i = 0; i < n_compartments[k]; i++, number++) {{
            CxState state = core->cx_state[i];
            state.U = 0;
            state.V = last ? start_voltages[{at}] : {low};
            core->cx_state[i] = state;
        }}
        for (int i = 0; i < (n_compartments[k] + 3) / 4; i++) {{
            MetaState phases = core->cx_meta_state[i];
            if (4 * i + 0 < n_compartments[k]) phases.Phase0 = 2;
            if (4 * i + 1 < n_compartments[k]) phases.Phase1 = 2;
            if (4 * i + 2 < n_compartments[k]) phases.Phase2 = 2;
            if (4 * i + 3 < n_compartments[k]) phases.Phase3 = 2;
            core->cx_meta_state[i] = phases;
        }}
    }}
}}
"""


class WrongBoardError(Exception):
    """The board that NxSDK attached has other chips and cores than the network was mapped to.

    Parameters
    ----------
    found, wanted : list of int
        Cores in use on each chip.
    """

    def __init__(self, found: Any, wanted: Any) -> None:
        super().__init__(f"cores in use on each chip of the attached board: {found}, mapped to: {wanted}")
        self.found, self.wanted = found, wanted


class TooManySpikesError(Exception):
    """The host is to send more spikes to a chip in one step than nengo-loihi's snips carry; they would drop the rest.

    Parameters
    ----------
    n_steps, n_over : int
        Steps with spikes, and those of them with too many.
    step, found : int
        The step with the most, and how many.
    limit : int
    """

    def __init__(self, n_steps: int, n_over: int, step: int, found: int, limit: int) -> None:
        text = "the host sends {} spikes to a chip in step {}, and nengo-loihi's snips carry {}"
        super().__init__(text.format(found, step, limit))
        self.n_steps, self.n_over, self.step, self.found, self.limit = n_steps, n_over, step, found, limit


class Made:
    """A network in nengo-loihi's terms.

    Parameters
    ----------
    model : nengo_loihi.builder.Model
        One block per core, in the order of the mapping's cores, with inputs and probes.
    inputs : dict
        nengo-loihi's SpikeInput by spike source.
    probes : dict
        nengo-loihi's probe by (population, variable).
    tree : dict
        What it was made of.
    """

    def __init__(self, model: Any, inputs: Any, probes: Any, tree: Any) -> None:
        self.model, self.inputs, self.probes, self.tree = model, inputs, probes, tree


def load_nengo_loihi() -> Any:
    """Import nengo-loihi with all of its modules that are used here."""
    import nengo_loihi
    import nengo_loihi.builder.discretize
    import nengo_loihi.builder.validate
    import nengo_loihi.emulator.interface
    import nengo_loihi.hardware.interface
    import nengo_loihi.inputs
    import nengo_loihi.probe

    return nengo_loihi


def make_model(nl: Any, tree: Any, probed: Any) -> Made:
    """Make nengo-loihi's blocks, inputs and probes.

    Parameters
    ----------
    nl : module
        nengo-loihi.
    tree : dict
        The network; see `loihi_deploy.backends.blocks.describe`.
    probed : dict of iterables of {'spikes', 'u', 'v'}
        Variables to be probed, by population.
    """
    model = nl.builder.Model(dt=tree["dt"])
    blocks = [_block(nl, block) for block in tree["blocks"]]
    for block in blocks:
        model.add_block(block)
    for block, content in zip(blocks, tree["blocks"]):
        for synapse in content["synapses"]:
            block.add_synapse(_synapse(nl, synapse))
    for block, content in zip(blocks, tree["blocks"]):
        _add_axons(nl, block, content["axons"], blocks)
    inputs = {}
    for name, content in tree["inputs"].items():
        inputs[name] = nl.inputs.SpikeInput(content["size"], label=name)
        _add_axons(nl, inputs[name], content["axons"], blocks)
        if inputs[name].axons:  # the hardware builder takes no input without axons
            model.add_input(inputs[name])
    probes = {}
    for name, variables in probed.items():
        place = tree["places"][name]
        for variable in variables:
            probes[name, variable] = nl.probe.LoihiProbe(
                target=[blocks[number] for number in place["cores"]],
                key=VARIABLES[variable],
                slice=list(place["compartments"]),
            )
            model.add_probe(probes[name, variable])
    nl.builder.validate.validate_model(model)
    return Made(model, inputs, probes, tree)


def _block(nl: Any, content: Any) -> Any:
    block = nl.block.LoihiBlock(content["n"], label=content["label"])
    compartment = block.compartment
    for name in ("decay_u", "decay_v", "vth", "bias", "refract_delay"):
        setattr(compartment, name, np.array(content[name], np.int32))
    compartment.scale_u = compartment.scale_v = False
    compartment.vmin, compartment.vmax = content["v_min"], content["v_max"]
    compartment.enable_noise[:] = content["noisy"]
    compartment.noise_exp, compartment.noise_offset, compartment.noise_at_membrane = content["noise"]
    return block


def _synapse(nl: Any, content: Any) -> Any:
    synapse = nl.block.Synapse(content["n_axons"], label=content["label"])
    synapse.pop_type = content["pop_type"]
    synapse.axon_compartment_bases = content["bases"]
    synapse.axon_to_weight_map = content["sets"]
    synapse._set_weights_indices(
        content["weights"],
        indices=content["indices"],
        weight_dtype=np.int32,
        compression=content["compression"],
    )
    synapse.format(weight_exp=content["weight_exp"])
    if content["weight_bits"] is not None:
        synapse.format(weight_bits=synapse.synapse_cfg.WEIGHT_BITS_MAP.index(content["weight_bits"]))
    synapse.format(idx_bits=synapse.synapse_cfg.INDEX_BITS_MAP.index(content["index_bits"]))
    return synapse


def _add_axons(nl: Any, sender: Any, axons: Any, blocks: Any) -> None:
    for content in axons:
        block, number = content["target"]
        synapse = blocks[block].synapses[number]
        axon = nl.block.Axon(content["n"], label=synapse.label)
        axon.target = synapse
        axon.set_compartment_axon_map(content["axon_of"], content["atom_of"] if synapse.pop_type else None)
        sender.add_axon(axon)


def in_order(place: Any, output: Any) -> Any:
    """What a probe gave, (steps, size), in the order of the population's neurons."""
    output = np.asarray(output)
    ordered = np.empty_like(output)
    ordered[:, np.concatenate(place["neurons"])] = output
    return ordered


def timetable(n: int, steps: int, reset: str, gap: int) -> Any:
    """The step before the first one of each of `n` samples, and how many steps there are in all."""
    before, after = (RESET_STEPS, 0) if reset == "snip" else (0, gap)
    period = before + steps + after
    return [k * period + before for k in range(n)], n * period


def stamped_spikes(tree: Any, spikes: Any, steps: int, reset: str, gap: int) -> Any:
    """Spikes of samples in a row by the step that they are stamped with: those stamped t arrive at step t + 1.

    Parameters
    ----------
    tree : dict
    spikes : dict of (n, steps, size) bool arrays
        What the host emits at each step, by source.
    steps, reset, gap
        As for `run_in_a_row`.

    Returns
    -------
    dict of lists of (str, int array)
        By stamp, sources and which of their neurons spike.
    """
    stamped = {}  # type: Any
    for name, arrays in sorted(spikes.items()):
        delay = tree["inputs"][name]["delay"]
        starts, total = timetable(len(arrays), steps, reset, gap)
        for start, array in zip(starts, arrays):
            for step in range(steps):
                stamp = start + step + delay
                end = start + steps if reset == "snip" else total
                which = np.flatnonzero(array[step])
                if which.size and stamp < end:
                    stamped.setdefault(stamp, []).append((name, which))
    return stamped


def run_in_a_row(
    nl: Any,
    made: Made,
    spikes: Any,
    steps: int,
    seed: int = 0,
    reset: str = "none",
    gap: int = 0,
    streamed: bool = False,
    max_spikes: int = 50,
) -> Any:
    """Load a board, present samples one after the other, and give the board back.

    Parameters
    ----------
    nl : module
        nengo-loihi.
    made : Made
    spikes : dict of (n, steps, size) bool arrays
        What the host emits at each step, by source.
    steps : int
        Of each sample.
    seed : int
        Of what NxSDK draws for learning rules, which there are none of.
    reset : {'none', 'snip'}
        What happens before each sample: nothing, or a snip that brings every compartment to its start.
    gap : int
        Steps without input behind each sample, where no snip resets.
    streamed : bool
        Send spikes while the chip runs, through nengo-loihi's snips; else they are loaded before.
    max_spikes : int
        Spikes that its snips take in a step for each chip, where they are streamed.

    Returns
    -------
    dict of (n, steps, size) arrays
        By (population, variable), what was probed.

    Raises
    ------
    TooManySpikesError
        If spikes are streamed and are too many in a step; nothing was loaded then.
    WrongBoardError
        If other cores than those of the network were given out.
    """
    tree = made.tree
    n = len(next(iter(spikes.values()))) if spikes else 1
    starts, total = timetable(n, steps, reset, gap)
    stamped = stamped_spikes(tree, spikes, steps, reset, gap)
    if streamed:
        _check_messages(tree, stamped, max_spikes)
    _queue(made, {} if streamed else stamped)
    interface = nl.hardware.interface.HardwareInterface(
        made.model,
        use_snips=streamed,
        seed=seed,
        snip_max_spikes_per_step=max_spikes,
        n_chips=tree["n_chips"],
        allocator=mapped_allocator(nl, tree["chip_of"]),
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            if reset == "snip":
                _add_snips(nl, interface.nxsdk_board, tree, folder, steps + RESET_STEPS)
            with interface:
                check_board(interface.nxsdk_board, tree)
                if streamed:
                    _stream(interface, made, stamped, total)
                else:
                    interface.run_steps(total)
                found = {key: interface.collect_probe_output(probe) for key, probe in made.probes.items()}
    finally:
        if not interface.closed:
            interface.close()
        if streamed:
            interface.snips.tmp_snip_dir.cleanup()
    return {
        key: np.stack([in_order(tree["places"][key[0]], output[start : start + steps]) for start in starts])
        for key, output in found.items()
    }


def _queue(made: Made, stamped: Any) -> None:
    """Have spikes loaded with the network."""
    for spike_input in made.inputs.values():
        spike_input.spikes.clear()
        spike_input.permanent.clear()
    for stamp, groups in stamped.items():
        for name, which in groups:
            made.inputs[name].add_spikes(stamp, which, permanent=True)


def _check_messages(tree: Any, stamped: Any, limit: int) -> None:
    found = {stamp: max(counts) for stamp, counts in messages(tree, stamped).items()}
    over = [stamp for stamp, count in found.items() if count > limit]
    if over:
        worst = max(over, key=lambda stamp: found[stamp])
        raise TooManySpikesError(len(found), len(over), worst, found[worst], limit)


def _stream(interface: Any, made: Made, stamped: Any, total: int) -> None:
    """Run the chip, and exchange spikes with it after each step."""
    host_snip = interface.snips.host_snip
    host_snip.recv_retries = int(PATIENCE / host_snip.recv_timeout)  # its own are over after 0.1 s
    interface.run_steps(total, blocking=False)
    for step in range(1, total + 1):
        sent = [(made.inputs[name], step, which) for name, which in stamped.get(step, [])]
        interface.host2chip([one for one in sent if one[0].axons], [])
        interface.chip2host({})
    interface.wait_for_completion()


def messages(tree: Any, stamped: Any) -> Any:
    """Messages that the host sends for stamped spikes: one for each chip and axon that a spike goes to.

    Returns
    -------
    dict of lists of int
        By stamp, for each chip.
    """
    costs = message_costs(tree)
    return {
        stamp: sum(costs[name][:, which].sum(axis=1) for name, which in groups).tolist()
        for stamp, groups in stamped.items()
    }


def message_costs(tree: Any) -> Any:
    """Messages that a spike of each neuron of the host takes: (n_chips, size) arrays by source."""
    costs = {}
    for name, content in tree["inputs"].items():
        costs[name] = np.zeros((tree["n_chips"], content["size"]), np.int64)
        for axon in content["axons"]:
            costs[name][tree["chip_of"][axon["target"][0]]] += np.asarray(axon["axon_of"]) >= 0
    return costs


def check_board(board: Any, tree: Any) -> None:
    """Refuse a board that has other chips and cores than the mapping."""
    wanted = [tree["chip_of"].count(chip) for chip in range(tree["n_chips"])]
    found = [len(chip.n2CoresAsList) for chip in board.n2Chips]
    if found != wanted:
        raise WrongBoardError(found, wanted)


def _add_snips(nl: Any, board: Any, tree: Any, folder: str, period: int) -> None:
    """Add, on each chip, the snip that resets."""
    for chip, board_chip in enumerate(board.n2Chips):
        own = os.path.join(folder, f"chip_{chip}")
        os.mkdir(own)
        name = f"reset_chip_{chip}"
        blocks = [block for block, place in zip(tree["blocks"], tree["chip_of"]) if place == chip]
        voltages = np.concatenate([block["initial_voltage"] for block in blocks])
        same = not np.any(voltages != voltages[0])
        text = SNIP.format(
            header=name + ".h",
            n_cores=len(blocks),
            core_ids=", ".join(str(core.id) for core in board_chip.n2CoresAsList),
            n_compartments=", ".join(str(block["n"]) for block in blocks),
            voltages=", ".join(str(value) for value in (voltages[:1] if same else voltages).tolist()),
            at="0" if same else "number",
            low=LOW_VOLTAGE,
            period=period,
            first=RESET_STEPS - 1,
            second=RESET_STEPS,
        )
        for ending, content in ((".h", SNIP_HEADER), (".c", text)):
            with open(os.path.join(own, name + ending), "w") as stream:
                stream.write(content)
        board.createSnip(
            name=name,
            cFilePath=os.path.join(own, name + ".c"),
            includeDir=own,
            funcName="reset_state",
            guardName="guard_reset",
            phase=nl.hardware.interface.SnipPhase.EMBEDDED_MGMT,
            chipId=board_chip.id,
        )


def mapped_allocator(nl: Any, chip_of: Any) -> Any:
    """An allocator of nengo-loihi that puts block i on the chip ``chip_of[i]``."""

    class MappedAllocator(nl.hardware.allocators.Allocator):  # type: ignore[misc]
        def __call__(self, model: Any, n_chips: int) -> Any:
            board = nl.hardware.nxsdk_objects.Board()
            for spike_input in model.inputs:
                self.input_to_board(spike_input, board)
            chips = [board.new_chip() for _ in range(n_chips)]
            for block, chip in zip(model.blocks, chip_of):
                self.block_to_new_core(block, chips[chip])
            board.probes.extend(model.probes)
            return board

    return MappedAllocator()

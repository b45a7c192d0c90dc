"""A stand-in for Intel's NxSDK: it records every register that nengo-loihi writes, strictly, and runs what it recorded.

Written from the calls in nengo-loihi 1.1.0 (``hardware/builder.py``, ``interface.py``, ``nxsdk_objects.py``). What the
real one would not take is a `MisuseError` here: unknown fields, values out of range, a field written twice with
different values, calls in the wrong order. Snips are compiled and run (see `tests.hardware.snips`); learning is not
there.

Identifiers of chips and cores differ from their places in lists, so that nobody takes one for the other.
"""

from __future__ import annotations

import sys
import threading
import types
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tests.hardware import replay, snips

VERSION = "1.0.0"
MAX_CORES = 128


class MisuseError(Exception):
    """Something that the chip or its driver does not take."""


def whole(where: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, np.ndarray) and value.shape == ():  # nengo-loihi gives such atoms
        value = value[()]
    if not isinstance(value, (int, np.integer, np.bool_)):
        raise MisuseError(f"{where}: {value!r} is not a whole number")
    if not low <= value <= high:
        raise MisuseError(f"{where}: {value} is not in {low}..{high}")
    return int(value)


BIT = (0, 1)
WORD = (0, 2**32 - 1)
FIELDS = {
    "cxCfg": {"bias": (-4096, 4095), "biasExp": (0, 7), "vthProfile": (0, 15), "cxProfile": (0, 31)},
    "cxProfileCfg": {
        "decayV": (0, 4095),
        "decayU": (0, 4095),
        "refractDelay": (1, 63),
        "enableNoise": BIT,
        "bapAction": BIT,
    },
    "staticCfg": {"vth": (0, 2**17 - 1)},
    "synapseFmt": {
        "wgtLimitMant": (0, 15),
        "wgtLimitExp": (0, 15),
        "wgtExp": (-8, 7),
        "discMaxWgt": BIT,
        "learningCfg": (0, 3),
        "tagBits": (0, 3),
        "dlyBits": (0, 7),
        "wgtBits": (1, 7),
        "reuseSynData": BIT,
        "numSynapses": (0, 63),
        "cIdxOffset": (0, 15),
        "cIdxMult": (0, 15),
        "skipBits": (0, 3),
        "idxBits": (0, 7),
        "synType": (0, 3),
        "fanoutType": (0, 3),
        "compression": (0, 3),
        "stdpProfile": (0, 15),
        "ignoreDly": BIT,
    },
    "synapseMap": {"synapsePtr": (0, 2**20 - 1), "synapseLen": (1, 1024), "popSize": (1, 1024)},
    "discreteMapEntry": {"cxBase": (0, 255)},
    "population16MapEntry": {"cxBase": (0, 63), "atomBits": (0, 0)},
    "population32MapEntry": {"cxBase": (0, 255)},
    "cxMetaState": {f"phase{k}": (0, 3) for k in range(4)},
    "dendriteSharedCfg": {
        "posVmLimit": (0, 7),
        "negVmLimit": (0, 31),
        "noiseExp0": (0, 31),
        "noiseMantOffset0": (-128, 127),
        "noiseAtDendOrVm": BIT,
    },
    "dendriteAccumCfg": {"delayBits": (0, 6)},
    "numUpdates": {"numUpdates": (1, 256), "numStdp": (0, 0)},
    "trace": {f"random{k}": WORD for k in range(3)},
    "word": {"word": WORD},
    "epoch": {"tepoch": (0, 63)},
}
ENTRIES = {
    "vthProfileCfg": ("staticCfg",),
    "synapseMap": ("discreteMapEntry", "population16MapEntry", "population32MapEntry"),
}


class Register:
    """Fields that are written once, each within its range."""

    def __init__(self, kind: str, where: str, frozen: Any) -> None:
        entries = {name: Register(name, f"{where}.{name}", frozen) for name in ENTRIES.get(kind, ())}
        self.__dict__.update(entries, _fields=FIELDS.get(kind, {}), _where=where, written={}, _frozen=frozen)

    def configure(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        where = f"{self._where}.{name}"
        if self._frozen():
            raise MisuseError(f"{where} is written while the board runs")
        if name not in self._fields:
            raise MisuseError(f"{where}: there is no such field")
        value = whole(where, value, *self._fields[name])
        if self.written.setdefault(name, value) != value:
            raise MisuseError(f"{where} is written twice: {self.written[name]}, then {value}")

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["written"][name]
        except KeyError:
            raise MisuseError(f"{self.__dict__['_where']}.{name} is read and was never written") from None


class Table:
    """Registers of a kind, made when they are first used."""

    def __init__(self, kind: str, size: int, where: str, frozen: Any) -> None:
        self._made: dict[int, Register] = {}
        self._kind, self._size, self._where, self._frozen = kind, size, where, frozen

    def __getitem__(self, number: int) -> Register:
        number = whole(self._where, number, 0, self._size - 1)
        if number not in self._made:
            self._made[number] = Register(self._kind, f"{self._where}[{number}]", self._frozen)
        return self._made[number]

    def items(self) -> list[tuple[int, Register]]:
        return sorted(self._made.items())


class Synapses:
    """Synapse memory, one row for each synapse: index, weight, format, learning."""

    def __init__(self, size: int, where: str, frozen: Any) -> None:
        self.rows = np.full((size, 4), -(2**15), np.int16)
        self._where, self._frozen, self._at = where, frozen, 0

    def __getitem__(self, number: int) -> Synapses:
        self._at = whole(self._where, number, 0, len(self.rows) - 1)
        return self

    def configure(self, *, CIdx: int, Wgt: int, synFmtId: int, LrnEn: int) -> None:
        if self._frozen():
            raise MisuseError(f"{self._where} is written while the board runs")
        row = self.rows[self._at]
        if row[3] >= 0:
            raise MisuseError(f"{self._where}[{self._at}] is written twice")
        row[0] = whole("CIdx", CIdx, 0, 1023)
        row[1] = whole("Wgt", Wgt, -256, 255)
        row[2] = whole("synFmtId", synFmtId, 1, 15)
        row[3] = whole("LrnEn", LrnEn, 0, 0)


class Axon(NamedTuple):
    """An output axon of a compartment; `pop` is None for discrete ones."""

    kind: int
    cx: int
    chip: int
    core: int
    entry: int
    atom: int = 0
    pop: int | None = None


class Core:
    """A core and everything that is written to it."""

    def __init__(self, chip: Chip, place: int, n_synapses: int) -> None:
        self.parent, self.id = chip, 5 + 2 * place
        frozen = chip.parent.executor.hasStarted
        where = f"chip {chip.id} core {self.id} "
        for name, kind, size in (
            ("cxCfg", "cxCfg", 1024),
            ("cxProfileCfg", "cxProfileCfg", 32),
            ("vthProfileCfg", "vthProfileCfg", 8),
            ("synapseFmt", "synapseFmt", 16),
            ("synapseMap", "synapseMap", 4096),
            ("cxMetaState", "cxMetaState", 256),
            ("dendriteTimeState", "epoch", 1),
            ("timeState", "epoch", 1),
        ):
            setattr(self, name, Table(kind, size, where + name, frozen))
        for name, kind in (
            ("dendriteSharedCfg", "dendriteSharedCfg"),
            ("dendriteAccumCfg", "dendriteAccumCfg"),
            ("numUpdates", "numUpdates"),
            ("stdpPreRandom", "trace"),
            ("stdpPostRandom", "trace"),
            ("somaRandom", "trace"),
            ("synapseRepackRandom", "word"),
        ):
            setattr(self, name, Register(kind, where + name, frozen))
        self.synapses = Synapses(n_synapses, where + "synapses", frozen)
        self.axons: list[Axon] = []
        self.cxState = self

    def createDiscreteAxon(self, *, srcCxId: int, dstChipId: int, dstCoreId: int, dstSynMapId: int) -> None:
        self._axon(Axon(0, srcCxId, dstChipId, dstCoreId, dstSynMapId))

    def createPop16Axon(self, **arguments: int) -> None:
        self._population_axon(16, **arguments)

    def createPop32Axon(self, **arguments: int) -> None:
        self._population_axon(32, **arguments)

    def _population_axon(
        self,
        kind: int,
        *,
        popId: int,
        srcCxId: int,
        srcRelCxId: int,
        dstChipId: int,
        dstCoreId: int,
        dstSynMapId: int,
    ) -> None:
        atom = whole("srcRelCxId", srcRelCxId, 0, 31 if kind == 16 else 1023)
        whole("dstSynMapId of pop16", dstSynMapId, 0, 1023 if kind == 16 else 4095)
        self._axon(
            Axon(kind, srcCxId, dstChipId, dstCoreId, dstSynMapId, atom, whole("popId", popId, 0, 4095))
        )

    def _axon(self, axon: Axon) -> None:
        whole("srcCxId", axon.cx, 0, 1023)
        whole("dstSynMapId", axon.entry, 0, 4095)
        self.parent.parent.core(axon.chip, axon.core)
        axon = Axon(*(None if value is None else int(value) for value in axon))
        if axon in self.axons_known():
            raise MisuseError(f"core {self.id}: axon made twice: {axon}")
        self._known.add(axon)
        self.axons.append(axon)

    def axons_known(self) -> set[Axon]:
        return self.__dict__.setdefault("_known", set())

    def slots(self) -> int:
        """Output slots: of a discrete axon and of pop16 one, of pop32 two; one more to another chip."""
        senders = Counter(
            {(a.kind, a.chip, a.core, a.entry, None if a.kind else a.cx): 1 for a in self.axons}
        )
        return sum((2 if kind == 32 else 1) + (chip != self.parent.id) for kind, chip, *_ in senders)


class Chip:
    """A chip and its cores."""

    def __init__(self, board: N2Board, place: int, n_synapses: list[int]) -> None:
        self.parent, self.id = board, 3 + 4 * place
        if not 1 <= len(n_synapses) <= MAX_CORES:
            raise MisuseError(f"chip {self.id}: {len(n_synapses)} cores")
        self.n2CoresAsList = [Core(self, number, n) for number, n in enumerate(n_synapses)]
        self.n2Cores = dict(enumerate(self.n2CoresAsList))


class Executor:
    """Whether the board runs."""

    def __init__(self) -> None:
        self.started = False
        self._host_coordinator = types.SimpleNamespace(hostAddr="127.0.0.1")

    def hasStarted(self) -> bool:
        return self.started


@dataclass
class TimeSeries:
    data: list[int] = field(default_factory=list)


class N2SpikeProbe:
    """A probe of one compartment."""

    probeDict: ClassVar[dict[Any, Any]] = {}

    def __init__(self, core: Core, compartment: int, key: str) -> None:
        self.core, self.compartment, self.key = core, compartment, key
        self.timeSeries = TimeSeries()


class Monitor:
    """Makes probes."""

    def __init__(self) -> None:
        self.probes: list[N2SpikeProbe] = []

    def probe(self, state: Core, compartments: Any, key: str) -> list[N2SpikeProbe]:
        if key not in ("u", "v", "spike"):
            raise MisuseError(f"nobody can probe {key!r}")
        made = []
        for number in compartments:
            if int(number) not in dict(state.cxCfg.items()):
                raise MisuseError(
                    f"core {state.id}: a probe of compartment {number}, which is not configured"
                )
            made.append(N2SpikeProbe(state, int(number), key))
        self.probes += made
        return made


@dataclass
class Bench:
    """Where boards stand: what was made, and what is to go wrong.

    Parameters
    ----------
    noise_seed : int or None
        Of the noise, which nengo-loihi does not seed on the chip.
    failures : dict of list of exception
        Raised one after the other by 'start', 'run' or 'disconnect'.
    reversed_snips : bool
        Whether the snip that was made last runs first: nobody says which does.
    """

    noise_seed: int | None = None
    reversed_snips: bool = False
    failures: dict[str, list[BaseException]] = field(default_factory=dict)
    boards: list[N2Board] = field(default_factory=list)

    def fail(self, call: str) -> None:
        if self.failures.get(call):
            raise self.failures[call].pop(0)


class N2Board:
    """A board, which runs what was written to it."""

    bench = Bench()
    missing_cores = 0

    def __init__(self, board_id: int, n_chips: int, n_cores: list[int], n_synapses: list[list[int]]) -> None:
        if n_chips != len(n_cores) or n_cores != [len(row) for row in n_synapses]:
            raise MisuseError("chips, cores and synapses do not go together")
        if any(board.executor.started for board in self.bench.boards):
            raise MisuseError("another board is still connected")
        self.executor, self.monitor = Executor(), Monitor()
        self.n2Chips = [Chip(self, number, row) for number, row in enumerate(n_synapses)]
        self.spikes: list[tuple[int, int, int, int, int, int]] = []
        self.steps_run, self.disconnected = 0, False
        self.machine: replay.Machine | None = None
        self.channels: dict[str, snips.Channel] = {}
        self.snips: list[Any] = []
        self._thread: threading.Thread | None = None
        self.bench.boards.append(self)

    def createChannel(self, name: bytes, numElements: int, messageSize: int, slack: int) -> snips.Channel:
        if messageSize != 4 * snips.PACKET or slack < 1 or numElements < 1:
            raise MisuseError(f"channel {name!r}: packets of {messageSize} bytes")
        return self.channels.setdefault(name.decode(), snips.Channel(name.decode()))

    def createSnip(
        self,
        phase: str,
        name: str = "",
        cFilePath: str = "",
        includeDir: str = "",
        funcName: str = "",
        guardName: str = "",
        chipId: int | None = None,
        cppFile: str = "",
    ) -> Any:
        if self.executor.started:
            raise MisuseError("a snip for a board that has started")
        if phase == Phase.HOST_CONCURRENT_EXECUTION:
            made: Any = Path(cppFile)
        else:
            [chip] = [chip for chip in self.n2Chips if chip.id == chipId]
            made = phase, Path(cFilePath), includeDir, funcName, guardName, chip
        self.snips.append(made)
        return made

    def _compile_snips(self) -> None:
        of_host = [made for made in self.snips if isinstance(made, Path)]
        self.host_snips = [snips.HostSnip(path, self) for path in of_host]
        order = [Phase.EMBEDDED_PRELEARN_MGMT, Phase.EMBEDDED_MGMT]
        of_chips = sorted(
            (made for made in self.snips if not isinstance(made, Path)), key=lambda m: order.index(m[0])
        )
        if self.bench.reversed_snips:
            of_chips.reverse()
        self.chip_snips = [snips.Snip(*made[1:]) for made in of_chips]

    def core(self, chip: int, core: int) -> Core:
        """The core with these identifiers."""
        for one in (c for c in self.n2Chips if c.id == chip):
            for found in one.n2CoresAsList:
                if found.id == core:
                    return found
        raise MisuseError(f"there is no core {core} on a chip {chip}")

    def cores(self) -> list[Core]:
        return [core for chip in self.n2Chips for core in chip.n2CoresAsList]

    def start(self) -> None:
        if self.disconnected or self.executor.started:
            raise MisuseError("started twice, or after it was given back")
        self.bench.fail("start")
        self._compile_snips()
        self.machine = replay.Machine(self, self.bench.noise_seed)
        for snip in self.host_snips:
            snip.start()
        self.executor.started = True
        if self.missing_cores:  # as on a board that gave out other cores than were asked for
            del self.n2Chips[-1].n2CoresAsList[-self.missing_cores :]

    def run(self, steps: int, aSync: bool = False) -> None:
        if not self.executor.started or self.machine is None:
            raise MisuseError("run before it was started")
        self.bench.fail("run")
        whole("steps", steps, 1, 2**32 - 1)
        self._thread = threading.Thread(target=self._run, args=(steps,), daemon=True)
        self._thread.start()
        if not aSync:
            self.finishRun()

    def _run(self, steps: int) -> None:
        assert self.machine is not None
        total = self.steps_run + steps
        for _ in range(steps):
            u, v, spiked = self.machine.step()
            for probe in self.monitor.probes:
                at = self.machine.place(probe.core, probe.compartment)
                probe.timeSeries.data.append(int({"u": u, "v": v, "spike": spiked}[probe.key][at]))
            for snip in self.chip_snips:
                snip.step(self.machine, total)
        self.steps_run += steps

    def finishRun(self) -> None:
        if not self.executor.started or self._thread is None:
            raise MisuseError("nothing runs")
        self._thread.join()

    def disconnect(self) -> None:
        self.bench.fail("disconnect")
        self.executor.started, self.disconnected = False, True


class BasicSpikeGenerator:
    """Spikes that are loaded before the run."""

    def __init__(self, board: N2Board) -> None:
        self._board = board

    def addSpike(self, *, time: int, chipId: int, coreId: int, axonId: int) -> None:
        self._add(0, time, chipId, coreId, axonId, 0)

    def addPop16Spike(
        self, *, time: int, chipId: int, coreId: int, axonId: int, srcAtom: int, atomBits: int
    ) -> None:
        whole("atomBits", atomBits, 0, 0)
        self._add(16, time, chipId, coreId, axonId, whole("srcAtom", srcAtom, 0, 31))

    def addPop32Spike(self, *, time: int, chipId: int, coreId: int, axonId: int, srcAtom: int) -> None:
        self._add(32, time, chipId, coreId, axonId, whole("srcAtom", srcAtom, 0, 1023))

    def _add(self, kind: int, time: int, chip: int, core: int, axon: int, atom: int) -> None:
        board = self._board
        if whole("time", time, 1, 2**32 - 1) <= board.steps_run:
            raise MisuseError(f"a spike for step {time}, which is over")
        board.core(chip, core)
        spike = (time, kind, chip, core, whole("axonId", axon, 0, 4095), atom)
        board.spikes.append(spike)


class Phase:
    """When a snip runs."""

    EMBEDDED_MGMT, EMBEDDED_PRELEARN_MGMT, HOST_CONCURRENT_EXECUTION = "management", "before learning", "host"


def patch(monkeypatch: Any, **settings: Any) -> Bench:
    """Put the stand-in where nengo-loihi, already imported, looks for NxSDK; gives the bench of its boards."""
    from nengo_loihi.hardware import builder, interface, nxsdk_shim

    bench = Bench(**settings)
    monkeypatch.setattr(N2Board, "bench", bench)
    monkeypatch.setattr(nxsdk_shim, "HAS_NXSDK", True)
    monkeypatch.setattr(builder, "NxsdkBoard", N2Board)
    monkeypatch.setattr(builder, "SpikeGen", BasicSpikeGenerator)
    monkeypatch.setattr(interface, "SpikeProbe", N2SpikeProbe)
    monkeypatch.setattr(interface, "SnipPhase", Phase)
    monkeypatch.setattr(interface, "assert_nxsdk", lambda: None)
    monkeypatch.setattr(interface, "nxsdk", types.SimpleNamespace(__version__=VERSION))
    monkeypatch.setattr(interface.time, "sleep", lambda seconds: None)
    return bench


def nxsdk() -> Any:
    """What nengo-loihi takes for the module ``nxsdk``."""
    from nengo_loihi.hardware import interface

    return interface.nxsdk


def install() -> None:
    """Let ``import nxsdk`` find the stand-in, before nengo-loihi is imported."""
    contents: dict[str, dict[str, Any]] = {
        "nxsdk": {"__version__": VERSION, "__file__": __file__},
        "nxsdk.compiler.microcodegen.interface": {},
        "nxsdk.graph.graph": {"Graph": object},
        "nxsdk.graph.nxinputgen.nxinputgen": {"BasicSpikeGenerator": BasicSpikeGenerator},
        "nxsdk.graph.nxprobes": {"N2SpikeProbe": N2SpikeProbe},
        "nxsdk.graph.processes.phase_enums": {"Phase": Phase},
        "nxsdk.arch.n2a.compiler.tracecfggen.tracecfggen": {"TraceCfgGen": None},
        "nxsdk.arch.n2a.n2board": {"N2Board": N2Board},
    }
    for path, values in contents.items():
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            module = sys.modules.setdefault(name, types.ModuleType(name))
            module.__path__ = []
            if end > 1:
                setattr(sys.modules[".".join(parts[: end - 1])], parts[end - 1], module)
        for name, value in values.items():
            setattr(sys.modules[path], name, value)

"""Runs a recording: it knows the registers that were written and nothing of what wrote them.

The arithmetic is that of the chip as nengo-loihi's emulator has it (``emulator/interface.py``): accumulators of 21 bits
and sign, currents of 23. A spike arrives one step after it was sent; a spike of a generator stamped t at step t + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Q_BITS, U_BITS, DECAY_BITS = 21, 23, 12
INDEX_BITS = (0, 6, 7, 8, 9, 10, 11, 12)
WEIGHT_BITS = (0, 1, 2, 3, 4, 5, 6, 8)
ACTIVE, MIXED, NO_INDICES = 2, 1, 3
HEADER_BITS, WORD_BITS = 4 + 6, 64
ENTRIES = {0: "discreteMapEntry", 16: "population16MapEntry", 32: "population32MapEntry"}
BASE_UNIT = {0: 1, 16: 4, 32: 1}


class UnreadableError(Exception):
    """Registers that make no sense together."""


def require(condition: Any, what: str) -> None:
    if not condition:
        raise UnreadableError(what)


def entry_of(core: Any, number: int) -> tuple[int, int, int, int, int]:
    """Kind, base, pointer, length and atoms of an input axon."""
    entry = core.synapseMap[number]
    kinds = [kind for kind, name in ENTRIES.items() if getattr(entry, name).written]
    require(len(kinds) == 1, f"core {core.id}: input axon {number} is of kinds {kinds}")
    kind = kinds[0]
    base = getattr(entry, ENTRIES[kind]).cxBase * BASE_UNIT[kind]
    atoms = entry.popSize if kind else 1
    return kind, base, entry.synapsePtr, entry.synapseLen, atoms


def weights_of(core: Any, pointer: int, length: int, base: int) -> tuple[Any, Any]:
    """Compartments of the core that a run of synapses reaches, and what each of them gets."""
    rows = core.synapses.rows[pointer : pointer + length].astype(np.int64)
    require(len(rows) == length and (rows[:, 3] == 0).all(), f"core {core.id}: synapses that nobody wrote")
    formats = set(rows[:, 2].tolist())
    require(len(formats) == 1, f"core {core.id}: a run of synapses of formats {formats}")
    fmt = core.synapseFmt[formats.pop()]
    places = rows[:, 0]
    if fmt.compression == NO_INDICES:
        require((places == np.arange(length)).all(), f"core {core.id}: indices that nothing stores")
    else:
        require(fmt.compression == 0, "a compression that nobody knows here")
        require(places.max() < 1 << INDEX_BITS[fmt.idxBits], f"core {core.id}: indices of too many bits")
    for name in ("tagBits", "dlyBits", "cIdxOffset", "cIdxMult", "skipBits"):
        require(getattr(fmt, name) == 0, name)
    require(fmt.fanoutType == MIXED, "weights of one sign")
    step = 1 << (8 - WEIGHT_BITS[fmt.wgtBits] + 1)  # a bit of them is the sign
    require((rows[:, 1] % step == 0).all(), f"core {core.id}: weights with bits that nothing stores")
    require(fmt.wgtExp >= -6, "weights of fractions")
    return base + places, rows[:, 1] << (6 + fmt.wgtExp)


def runs(core: Any) -> dict[int, int]:
    """Length of every run of synapses that input axons read, atoms included, by its pointer."""
    found: dict[int, int] = {}
    for number, _ in core.synapseMap.items():
        _, _, pointer, length, atoms = entry_of(core, number)
        require(found.setdefault(pointer, length * atoms) == length * atoms, "runs of different lengths")
    return found


def memory_words(core: Any) -> int:
    """Words of synapse memory: entries of up to 64 synapses, with the compiler's word more (NxTF, arXiv 2101.04261)."""
    total, covered = 0, 0
    for pointer, n in sorted(runs(core).items()):
        require(pointer == covered, f"core {core.id}: a gap in synapse memory, or a run in another")
        covered = pointer + n
        fmt = core.synapseFmt[int(core.synapses.rows[pointer, 2])]
        bits = WEIGHT_BITS[fmt.wgtBits] + (0 if fmt.compression == NO_INDICES else INDEX_BITS[fmt.idxBits])
        left = n
        while left > 0:
            used = min(left, fmt.numSynapses + 1) * bits + HEADER_BITS
            left -= fmt.numSynapses + 1
            total += -(-used // WORD_BITS)
        total += used % WORD_BITS == 0 or used % WORD_BITS >= 59
    require(covered == len(core.synapses.rows), f"core {core.id}: synapses that no axon reads")
    return total


def wrap(values: Any, bits: int) -> Any:
    half = 1 << bits
    return (values + half) % (2 * half) - half


def decayed(values: Any, kept: Any) -> Any:
    return np.sign(values) * ((np.abs(values) * kept) >> DECAY_BITS)


class Machine:
    """A board at rest that can be stepped.

    Parameters
    ----------
    board : N2Board
    noise_seed : int or None
        Of the noise, drawn as nengo-loihi's emulator draws it, core by core.
    """

    def __init__(self, board: Any, noise_seed: int | None = None) -> None:
        self._board = board
        self._first: dict[Any, int] = {}
        columns: list[list[int]] = []
        for core in board.cores():
            self._first[core] = len(columns)
            columns += self._compartments(core)
        table = np.array(columns, np.int64).reshape(-1, 10)
        self.bias, self.vth, kept_u, kept_v, self.delay, noisy, self.v_min, self.v_max = table.T[:8]
        self.kept_u, self.kept_v = kept_u, kept_v
        self.noise_exponent, offset_membrane = table.T[8], table.T[9]
        self.noise_offset, self.at_membrane = offset_membrane >> 1, offset_membrane & 1 == 1
        self.noisy = noisy == 1
        self.rng = np.random.RandomState(noise_seed) if self.noisy.any() else None
        require(self.rng is None or noise_seed is not None, "noise, and nothing to draw it from")
        self.u, self.v, self.waiting = (np.zeros(len(table), np.int64) for _ in range(3))
        self.spiked = np.zeros(len(table), bool)
        self.t = 0
        self._axons: dict[int, list[tuple[Any, int, int, int]]] = {}
        for core in board.cores():
            for axon in core.axons:
                target = board.core(axon.chip, axon.core)
                where = (target, axon.kind, axon.entry, axon.atom)
                self._axons.setdefault(self.place(core, axon.cx), []).append(where)
        self._spikes: dict[int, list[tuple[Any, int, int, int]]] = {}
        for spike in board.spikes:
            self.add_spike(*spike)
        self._read: dict[tuple[Any, int, int, int], tuple[Any, Any]] = {}

    def add_spike(self, time: int, kind: int, chip: int, core: int, axon: int, atom: int) -> None:
        """A spike of the host, stamped with a step that is not over, or just so."""
        self._spikes.setdefault(time, []).append((self._board.core(chip, core), kind, axon, atom))

    def place(self, core: Any, compartment: int) -> int:
        """Where a compartment stands in the arrays."""
        return self._first[core] + compartment

    def _compartments(self, core: Any) -> Iterator[list[int]]:
        shared = core.dendriteSharedCfg
        n_updated = 4 * core.numUpdates.numUpdates
        for name, value in (("dendriteTimeState", 2), ("timeState", 2)):
            require(getattr(core, name)[0].tepoch == value, f"core {core.id}: {name}")
        exponent = shared.noiseExp0 if shared.noiseExp0 >= 7 else shared.noiseExp0 + 1
        for number, (index, cfg) in enumerate(core.cxCfg.items()):
            require(index == number, f"core {core.id}: compartments with gaps")
            phase = getattr(core.cxMetaState[index // 4], f"phase{index % 4}")
            require(
                phase == ACTIVE and index < n_updated, f"core {core.id}: compartment {index} never updated"
            )
            profile = core.cxProfileCfg[cfg.cxProfile]
            yield [
                cfg.bias << cfg.biasExp,
                core.vthProfileCfg[cfg.vthProfile].staticCfg.vth << 6,
                (1 << DECAY_BITS) - 1 - profile.decayU,
                (1 << DECAY_BITS) - profile.decayV,
                profile.refractDelay,
                profile.enableNoise,
                -(1 << shared.negVmLimit) + 1,
                (1 << (9 + 2 * shared.posVmLimit)) - 1,
                exponent,
                2 * shared.noiseMantOffset0 + shared.noiseAtDendOrVm,
            ]

    def _deliver(self, q: Any, where: tuple[Any, int, int, int]) -> None:
        if where not in self._read:
            core, kind, number, atom = where
            found, base, pointer, length, atoms = entry_of(core, number)
            require(found == kind, f"a spike of kind {kind} for an input axon of kind {found}")
            require(atom < atoms, f"atom {atom} of {atoms}")
            places, weights = weights_of(core, pointer + atom * length, length, base)
            require(places.max() < len(core.cxCfg.items()), f"core {core.id}: weights of no compartment")
            self._read[where] = places + self._first[core], weights
        places, weights = self._read[where]
        np.add.at(q, places, weights)

    def step(self) -> tuple[Any, Any, Any]:
        """Currents, voltages and spikes after one more step."""
        q = np.zeros_like(self.u)
        for sender in np.flatnonzero(self.spiked).tolist():
            for where in self._axons.get(sender, ()):
                self._deliver(q, where)
        for where in self._spikes.get(self.t, ()):
            self._deliver(q, where)
        self.t += 1
        noise = self._noise()
        q = wrap(q + np.where(self.at_membrane, 0, noise), Q_BITS)
        self.u = wrap(decayed(self.u, self.kept_u) + q, U_BITS)
        u2 = wrap(self.u + self.bias + np.where(self.at_membrane, noise, 0), U_BITS)
        v = np.clip(decayed(self.v, self.kept_v) + u2, self.v_min, self.v_max)
        v[self.waiting > 0] = 0
        self.spiked = v > self.vth
        v[self.spiked] = 0
        self.waiting[self.spiked] = self.delay[self.spiked]
        self.waiting = np.maximum(self.waiting - 1, 0)
        self.v = v
        return self.u, self.v, self.spiked

    def _noise(self) -> Any:
        if self.rng is None:
            return np.zeros_like(self.u)
        draw = self.rng.randint(-127, 128, size=len(self.u), dtype=np.int32)
        scaled = (draw + 64 * self.noise_offset) * 2.0 ** (self.noise_exponent - 7)
        return np.where(self.noisy, np.trunc(scaled), 0).astype(np.int64)

"""Snips of the stand-in: C and C++ that is compiled against a stub of NxSDK's headers, and run with the recording.

A compartment's voltage register holds, after a spike, its refractory delay times 128, which is how nengo-loihi's snip
tells spikes. Channels carry packets of 64 words; a write and a read wait as NxSDK's do.
"""

from __future__ import annotations

import ctypes
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

PACKET = 64
SPIKE_UNIT = 128
WAIT_SECONDS = 30
COMPILERS = {".c": "gcc", ".cpp": "g++"}
HAVE_COMPILERS = all(shutil.which(name) for name in COMPILERS.values())

CHIP_HEADER = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct { int id; } CoreId;
typedef struct { int32_t U, V; } CxState;
typedef struct { unsigned Phase0 : 5, Phase1 : 5, Phase2 : 5, Phase3 : 5; } MetaState;
typedef struct {
    unsigned Yspike0, Yspike1, Yspike2, Yepoch0, Yepoch1, Yepoch2, Tspike, TraceProfile, StdpProfile;
} PostTraceEntry;
typedef struct {
    CxState cx_state[1024];
    MetaState cx_meta_state[256];
    PostTraceEntry stdp_post_state[1024];
} NeuronCore;
typedef struct { int time_step; int total_steps; int32_t userData[4096]; } runState;
extern NeuronCore *stub_cores[1024];
#define NEURON_PTR(core) (stub_cores[(core).id])
int getChannelID(const char *name);
void readChannel(int channel, void *data, int packets);
void writeChannel(int channel, void *data, int packets);
void nx_send_discrete_spike(int time, CoreId core, int axon);
void nx_send_pop16_spike(int time, CoreId core, int axon, int atom, int atom_bits);
void nx_send_pop32_spike(int time, CoreId core, int axon, int atom, int a, int b, int c);
"""
CHIP_STUB = """
#include "nxsdk.h"
NeuronCore *stub_cores[1024];
static int (*find)(const char *);
static void (*move)(int, void *, int, int);
static void (*send)(int, int, int, int);
void stub_connect(int (*f)(const char *), void (*m)(int, void *, int, int), void (*s)(int, int, int, int)) {
    find = f; move = m; send = s;
}
void stub_core(int id) { stub_cores[id] = calloc(1, sizeof(NeuronCore)); }
void *stub_states(int id) { return stub_cores[id]->cx_state; }
void *stub_phases(int id) { return stub_cores[id]->cx_meta_state; }
int getChannelID(const char *name) { return find(name); }
void readChannel(int channel, void *data, int packets) { move(channel, data, packets, 0); }
void writeChannel(int channel, void *data, int packets) { move(channel, data, packets, 1); }
void nx_send_discrete_spike(int time, CoreId core, int axon) { send(0, core.id, axon, 0); }
void nx_send_pop16_spike(int time, CoreId core, int axon, int atom, int atom_bits) {
    send(16 + atom_bits, core.id, axon, atom);
}
void nx_send_pop32_spike(int time, CoreId core, int axon, int atom, int a, int b, int c) {
    send(32, core.id, axon, atom);
}
int stub_step(int (*guard)(runState *), void (*function)(runState *), runState *state) {
    int runs = guard(state);
    if (runs) function(state);
    fflush(stdout);
    return runs;
}
runState *stub_state(void) { return calloc(1, sizeof(runState)); }
void stub_time(runState *state, int step, int total) { state->time_step = step; state->total_steps = total; }
"""
HOST_HEADER = """
#include <atomic>
#include <cstdint>
#include <new>
class ConcurrentHostSnip {
  public:
    virtual ~ConcurrentHostSnip() {}
    virtual void run(std::atomic_bool &end_of_execution) = 0;
};
void readChannel(const char *channel, void *data, int packets);
void writeChannel(const char *channel, void *data, int packets);
bool probeChannel(const char *channel);
struct sockaddr;
int stub_bind(int socket, const sockaddr *address, unsigned size);
int stub_listen(int socket, int n);
#define bind stub_bind
#define listen stub_listen
#define REGISTER_SNIP(type, base) \\
    extern "C" void stub_run() { \\
        alignas(type) static char room[sizeof(type)]; /* zeros, as a new process finds its memory */ \\
        type *process = new (room) type; \\
        std::atomic_bool end(false); \\
        process->run(end); \\
        process->~type(); \\
    }
"""
HOST_STUB = """
#include <errno.h>
#include <sys/socket.h>
#include "nxsdkhost.h"
#undef bind
#undef listen
static std::atomic_int heard(0); /* 1 when somebody listens, or less than 0 for what went wrong */
extern "C" int stub_heard() { return heard; }
int stub_bind(int socket, const sockaddr *address, unsigned size) {
    int yes = 1; /* a port that was in use a moment ago may be used */
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    int failed = bind(socket, address, size);
    if (failed) heard = -errno;
    return failed;
}
int stub_listen(int socket, int n) {
    int failed = listen(socket, n);
    if (!heard) heard = failed ? -errno : 1;
    return failed;
}
static void (*move)(const char *, void *, int, int);
static int (*probe)(const char *);
extern "C" void stub_connect(void (*m)(const char *, void *, int, int), int (*p)(const char *)) { move = m; probe = p; }
void readChannel(const char *channel, void *data, int packets) { move(channel, data, packets, 0); }
void writeChannel(const char *channel, void *data, int packets) { move(channel, data, packets, 1); }
bool probeChannel(const char *channel) { return probe(channel); }
"""
FIND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)
MOVE = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
SEND = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)
MOVE_NAMED = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)


class ChannelError(Exception):
    """Nobody wrote, or nobody read, for a long time."""


class Channel:
    """Packets from one end to the other."""

    def __init__(self, name: str) -> None:
        self.name, self.packets = name, queue.Queue()

    def connect(self, source: Any, target: Any) -> None:
        self.ends = source, target

    def move(self, data: int, packets: int, writes: int) -> None:
        for k in range(packets):
            at = data + 4 * PACKET * k
            if writes:
                self.packets.put(ctypes.string_at(at, 4 * PACKET))
            else:
                try:
                    ctypes.memmove(at, self.packets.get(timeout=WAIT_SECONDS), 4 * PACKET)
                except queue.Empty:  # so that whoever waits ends: nengo-loihi takes it for a shutdown
                    ctypes.memset(at, 255, 4 * PACKET)


def compiled(source: Path, stub: dict[str, str], include: str | None = None) -> Any:
    """Compile a file and a stub to a library and load it; every warning of the compiler is an error."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in stub.items():
            Path(folder, name).write_text(text)
        sources = [str(source), *(str(Path(folder, name)) for name in stub if not name.endswith(".h"))]
        library = str(Path(folder, source.stem + ".so"))
        command = [COMPILERS[source.suffix], "-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-I{folder}"]
        if source.suffix == ".c":  # what nengo-loihi's own give
            quiet = "unused-function", "unused-but-set-variable", "unused-variable"
            command += ["-std=gnu11", *(f"-Wno-{name}" for name in quiet)]
        if include is not None:
            command.append(f"-I{include}")
        run = subprocess.run([*command, "-o", library, *sources], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return ctypes.CDLL(library)


class Snip:
    """A function that runs on a chip at the end of each step at which its guard says so."""

    def __init__(self, source: Path, include: str, function: str, guard: str, chip: Any) -> None:
        self.text, self.chip = source.read_text(), chip
        self.library = compiled(source, {"nxsdk.h": CHIP_HEADER, "stub.c": CHIP_STUB}, include)
        for name in ("stub_states", "stub_phases", "stub_state"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.function, self.guard = (getattr(self.library, name) for name in (function, guard))
        self.state = ctypes.c_void_p(self.library.stub_state())
        self.cores = chip.n2CoresAsList[:]
        for core in self.cores:
            self.library.stub_core(core.id)
        board = chip.parent
        names = list(board.channels)
        self._kept = (
            FIND(lambda name: names.index(name.decode()) if name.decode() in names else -1),
            MOVE(lambda channel, *rest: board.channels[names[channel]].move(*rest)),
            SEND(self._send),
        )
        self.library.stub_connect(*self._kept)

    def _send(self, kind: int, core: int, axon: int, atom: int) -> None:
        assert kind in (0, 16, 32), kind
        board = self.chip.parent
        board.core(self.chip.id, core)
        board.machine.add_spike(board.machine.t, kind, self.chip.id, core, axon, atom)

    def step(self, machine: Any, total: int) -> None:
        """Run at the end of a step of the machine, of so many in all; what it writes is what comes next."""
        self.library.stub_time(self.state, machine.t, total)
        before = []
        for core in self.cores:
            n = len(core.cxCfg.items())
            part = slice(machine.place(core, 0), machine.place(core, 0) + n)
            states = np.ctypeslib.as_array(
                (ctypes.c_int32 * (2 * n)).from_address(self.library.stub_states(core.id))
            )
            states[::2] = machine.u[part]
            states[1::2] = np.where(machine.spiked[part], SPIKE_UNIT * machine.delay[part], machine.v[part])
            phases = np.ctypeslib.as_array(
                (ctypes.c_uint32 * (-(-n // 4))).from_address(self.library.stub_phases(core.id))
            )
            phases[:] = 0
            before.append((part, states, states.copy(), phases))
        if not self.library.stub_step(self.guard, self.function, self.state):
            return
        for part, states, old, phases in before:
            changed = (states != old).reshape(-1, 2)
            machine.u[part][changed[:, 0]] = states[::2][changed[:, 0]]
            machine.v[part][changed[:, 1]] = states[1::2][changed[:, 1]]
            fields = (phases[:, None] >> (5 * np.arange(4))) & 31
            written = fields.reshape(-1)[: part.stop - part.start]
            assert set(written.tolist()) <= {0, 2}
            machine.waiting[part][written == 2] = 0


class HostSnip:
    """A function that runs on the host beside the chip."""

    def __init__(self, source: Path, board: Any) -> None:
        self.library = compiled(source, {"nxsdkhost.h": HOST_HEADER, "stub.cpp": HOST_STUB})
        self._kept = (
            MOVE_NAMED(lambda name, *rest: board.channels[name.decode()].move(*rest)),
            FIND(lambda name: int(not board.channels[name.decode()].packets.empty())),
        )
        self.library.stub_connect(*self._kept)
        self._thread = threading.Thread(target=self.library.stub_run, daemon=True)

    def start(self) -> None:
        """Start it, and wait until it listens: nengo-loihi gives it a tenth of a second, little on a busy machine."""
        self._thread.start()
        for _ in range(1000 * WAIT_SECONDS):
            heard = self.library.stub_heard()
            if heard < 0:
                raise ChannelError(f"the host's snip cannot listen: {os.strerror(-heard)}")
            if heard:
                return
            time.sleep(0.001)
        raise ChannelError("the host's snip does not listen")

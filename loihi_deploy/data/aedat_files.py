"""The versions of AEDAT, the format of event cameras: https://docs.inivation.com (AEDAT file formats)."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loihi_deploy.errors import DataError, missing_extra

VERSIONS = "2.0, 3.1 or 4.0"
END_OF_HEADER = b"#!END-HEADER"
PACKET = np.dtype(
    [("type", "<i2"), ("source", "<i2")]
    + [(name, "<i4") for name in ("size", "time_at", "overflow", "capacity", "number", "valid")]
)
POLARITY = 1
"""The type of the packets that hold events of pixels."""
EVENT = np.dtype([("data", "<u4"), ("t", "<i4")])
WRAP = 31
"""Bits of a time in a packet; the packet counts how often they overflowed."""
CHILD = """
import sys
path, sys.path[:] = sys.argv[1], sys.argv[2:]
import aedat, numpy
kept = [packet["events"] for packet in aedat.Decoder(path) if "events" in packet]
columns = [numpy.concatenate([events[name] for events in kept] or [[]]).astype("i8") for name in ("t", "x", "y", "on")]
numpy.save(sys.stdout.buffer, numpy.stack(columns))
"""


def read_aedat(path: Path, content: bytes) -> tuple[Any, ...]:
    """Times, columns, rows and polarities of a file of any version that is read."""
    version = content[:14].partition(b"\n")[0].removeprefix(b"#!AER-DAT").strip().decode("ascii", "replace")
    readers = {"2.0": _read_2, "3.1": _read_3, "4.0": _read_4}
    if not content.startswith(b"#!AER-DAT") or version not in readers:
        remedy = "Convert it, or read it with its own library and give the arrays to camera_frames"
        found = version if content.startswith(b"#!AER-DAT") else "none"
        raise DataError.single("another version of AEDAT", str(path), found, VERSIONS, remedy)
    return readers[version](path, content)


def cut_off(path: Path, found: str, wanted: str) -> DataError:
    """The error for a file that ends in the middle of something."""
    remedy = "Copy the file again, or cut it to whole events"
    return DataError.single("a file that is cut off", str(path), found, wanted, remedy)


def words_of(path: Path, content: bytes, kind: str) -> NDArray[np.uint32]:
    """Events of two words of 32 bits each."""
    if len(content) % 8:
        raise cut_off(path, f"{len(content)} bytes of events", "8 for each event")
    return np.frombuffer(content, kind).reshape(-1, 2).astype(np.uint32)


def _read_2(path: Path, content: bytes) -> tuple[Any, ...]:
    """Address and time in turn, of a DAVIS camera."""
    while content[:1] == b"#":  # a line of text: an event may begin with that byte, too
        line, _, rest = content.partition(b"\n")
        if not (line.isascii() and line.decode().strip().isprintable()):
            break
        content = rest
    address, t = words_of(path, content, ">u4").T
    seen = (address >> 31 == 0) & (address >> 10 & 1 == 0)  # events, and not of the trigger input
    address, t = address[seen], t[seen]
    return t, address >> 12 & 0x3FF, address >> 22 & 0x1FF, address >> 11 & 1


def _read_3(path: Path, content: bytes) -> tuple[Any, ...]:
    """Packets of events of one type each; those of other types than polarity are passed over."""
    header, end, _ = content.partition(END_OF_HEADER)
    place = content.find(b"\n", len(header)) + 1
    if not end or not place:
        raise cut_off(path, "no end of the header", END_OF_HEADER.decode())
    formats = [line[8:].strip() for line in header.splitlines() if line.startswith(b"#Format:")]
    if formats != [b"RAW"]:
        found = " ".join(name.decode("ascii", "replace") for name in formats) or "none"
        remedy = (
            "Convert it to AEDAT 4.0, or read it with its own library and give the arrays to camera_frames"
        )
        raise DataError.single("another format of packets", str(path), found, "RAW", remedy)
    events, overflows = [np.zeros(0, EVENT)], [np.zeros(0, np.int64)]
    while place < len(content):
        if len(content) - place < PACKET.itemsize:
            raise cut_off(
                path, f"{len(content) - place} bytes of a packet", f"{PACKET.itemsize} of its header"
            )
        packet = np.frombuffer(content, PACKET, 1, place)[0]
        number, size = int(packet["number"]), int(packet["size"])
        place += PACKET.itemsize
        if number < 0 or size < 0 or (packet["type"] == POLARITY and size != EVENT.itemsize):
            remedy = "Copy the file again: a byte of it was lost, or is another one"
            found = f"{number} events of {size} bytes"
            raise DataError.single("a packet that no camera writes", str(path), found, remedy=remedy)
        if number * size > len(content) - place:
            raise cut_off(path, f"{len(content) - place} bytes of a packet", f"{number * size}")
        if packet["type"] == POLARITY:
            events.append(np.frombuffer(content, EVENT, number, place))
            overflows.append(np.full(number, packet["overflow"], np.int64))
        place += number * size
    every, overflow = np.concatenate(events), np.concatenate(overflows)
    valid = every["data"] & 1 == 1
    data, t = every["data"][valid], (overflow[valid] << WRAP) + every["t"][valid]
    return t, data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1


def _read_4(path: Path, content: bytes) -> tuple[Any, ...]:
    """Packets of all kinds, which may be compressed, by the library aedat.

    In a process of its own: the library ends the process that it is in where some bytes of a file are other ones.
    """
    if importlib.util.find_spec("aedat") is None:
        raise missing_extra("aedat", "Reading AEDAT 4.0", "events")
    import subprocess  # every command of ours loads this file, and hardly any runs another process

    ran = subprocess.run(
        [sys.executable, "-c", CHILD, os.fspath(path), *sys.path],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "RUST_BACKTRACE": "0"},
    )
    if ran.returncode:
        said = [line for line in ran.stderr.decode(errors="replace").splitlines() if line.strip()]
        reason = said[-1][:200] if said else f"it ended with {ran.returncode}"
        remedy = "Copy the file again, or give the arrays that another library reads to camera_frames"
        raise DataError.single("cannot be read by the library aedat", str(path), reason, remedy=remedy)
    return tuple(np.load(io.BytesIO(ran.stdout)))

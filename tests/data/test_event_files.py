"""Files of event cameras, held to nengo-loihi's own readers and to the descriptions of the formats."""

import struct

import numpy as np
import pytest

from loihi_deploy.data import camera_frames, read_events
from loihi_deploy.errors import DataError, InputError, MissingExtraError

RNG = np.random.default_rng(0)
N = 200
T = np.sort(RNG.integers(0, 20_000, N)).astype(np.uint32)
X, Y, P = RNG.integers(0, 240, N), RNG.integers(0, 180, N), RNG.integers(0, 2, N)


def write_aedat(path, version="2.0", cut=0, others=True):
    words = np.stack([Y << 22 | X << 12 | P << 11, T], axis=1)
    extra = np.array([[1 << 31 | 5 << 12, 7], [1 << 10, 9]])  # a sample of an image, and a trigger
    content = np.concatenate([words, extra] if others else [words]).astype(">u4").tobytes()
    path.write_bytes(
        b"#!AER-DAT" + version.encode() + b"\r\n# made by a test\r\n" + content[: len(content) - cut]
    )
    return path


PACKET = np.dtype([("type", "<i2"), ("source", "<i2"), ("rest", "<i4", 6)])


def packet_of(kind, size, overflow, content, number):
    """As libcaer lays it out: type, source; size of an event, place of its time, overflow, capacity, number, valid."""
    return np.array([(kind, 0, (size, 4, overflow, number, number, number))], PACKET).tobytes() + content


def write_aedat3(path, form="RAW", overflow=0):
    """Two packets of pixels, one event of which is not valid, and one of another kind between them."""
    data = X.astype("<u4") << 17 | Y.astype("<u4") << 2 | P.astype("<u4") << 1 | 1
    words = np.stack([data, T], axis=1).astype("<u4")
    invalid = np.array([[data[0] & ~1, 5]], "<u4")
    first, second = words[: N // 2], np.concatenate([words[N // 2 :], invalid])
    header = f"#!AER-DAT3.1\r\n#Format: {form}\r\n#Source 0: DAVIS240C\r\n#!END-HEADER\r\n".encode()
    frames = packet_of(2, 36, 0, bytes(72), 2)
    path.write_bytes(
        header
        + packet_of(1, 8, overflow, first.tobytes(), len(first))
        + frames
        + packet_of(1, 8, overflow, second.tobytes(), len(second))
    )
    return path


INFO = """<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">
<node name="0" path="/mainloop/Recorder/outInfo/0/"><attr key="compression" type="string">NONE</attr>
<attr key="typeIdentifier" type="string">EVTS</attr><node name="info" path="/mainloop/Recorder/outInfo/0/info/">
<attr key="sizeX" type="int">240</attr><attr key="sizeY" type="int">180</attr></node></node></node></dv>"""


def table_of(builder, mark, fields):
    """A flatbuffer of one table, with its size in front."""
    builder.StartObject(len(fields))
    for k, field in enumerate(fields):
        if field is not None:
            builder.PrependUOffsetTRelativeSlot(k, field, 0)
    builder.FinishSizePrefixed(builder.EndObject(), mark)
    return bytes(builder.Output())


def write_aedat4(path):
    """The header and two packets of events, nothing compressed and no table of packets at the end."""
    flatbuffers = pytest.importorskip("flatbuffers")
    header = flatbuffers.Builder(0)
    content = b"#!AER-DAT4.0\r\n" + table_of(header, b"IOHE", [None, None, header.CreateString(INFO)])
    event = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "?"), ("nothing", "V3")])
    for part in (slice(N // 2), slice(N // 2, N)):
        events = np.zeros(len(T[part]), event)
        events["t"], events["x"], events["y"], events["on"] = T[part], X[part], Y[part], P[part]
        builder = flatbuffers.Builder(0)
        builder.StartVector(event.itemsize, len(events), 8)
        for byte in reversed(events.tobytes()):
            builder.Place(byte, flatbuffers.number_types.Uint8Flags)
        packet = table_of(builder, b"EVTS", [builder.EndVector()])
        content += struct.pack("<ii", 0, len(packet)) + packet
    path.write_bytes(content)
    return path


def write_events(path):
    words = np.zeros(N, [("y", "<u2"), ("x", "<u2"), ("t", "<u4")])
    words["y"], words["x"], words["t"] = Y << 2 | P << 1, X << 1, T
    path.write_bytes(words.tobytes())
    return path


def write_npy(path, fields=("t", "x", "y", "p")):
    array = np.stack([T, X, Y, P], axis=1)
    if fields:
        array = np.rec.fromarrays(array.T, names=",".join(fields))
    np.save(path, array)
    return path


WRITERS = {
    "a.aedat": write_aedat,
    "b.aedat": write_aedat3,
    "c.aedat4": write_aedat4,
    "a.events": write_events,
    "a.npy": write_npy,
    "b.npy": lambda path: write_npy(path, ("timestamp", "x", "y", "polarity")),
    "c.npy": lambda path: write_npy(path, ()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_events_are_read(name, tmp_path):
    found = read_events(WRITERS[name](tmp_path / name))
    for values, wanted in zip(found, (T, X, Y, P), strict=True):
        assert (values == wanted).all()


@pytest.mark.filterwarnings("ignore:This version of:UserWarning", "ignore:The binary mode:DeprecationWarning")
@pytest.mark.parametrize("name", ["a.aedat", "a.events"])
def test_frames_are_those_of_nengo_loihi(name, tmp_path):
    dvs = pytest.importorskip("nengo_loihi.dvs")
    path = tmp_path / name
    if name == "a.aedat":
        found = read_events(write_aedat(path, others=False))
        theirs = dvs.DVSEvents.from_file(str(path), rel_time=False).events
        assert all((theirs[field] == values).all() for field, values in zip("txyp", found, strict=True))
    else:
        found = read_events(write_events(path))
    frames = camera_frames(*found, (180, 240), bin_width=1000, n_steps=20)[0]
    process = dvs.DVSFileChipProcess(str(path), rel_time=True)
    step = process.make_step((0,), (process.size,), 0.001, None, None)
    for k, frame in enumerate(frames):
        assert (frame.ravel() == (step((k + 1) * 0.001) > 0)).all()
    assert frames.any()


@pytest.mark.follows("Convert it, or read it with its own library and give the arrays to camera_frames")
@pytest.mark.follows(
    "Convert it to AEDAT 4.0, or read it with its own library and give the arrays to camera_frames"
)
def test_other_files_are_refused_and_converted(tmp_path):
    other = tmp_path / "a.dat"
    other.write_bytes(b"")
    with pytest.raises(DataError, match="not a kind of event file"):
        read_events(other)
    with pytest.raises(DataError, match="another version of AEDAT") as refusal:
        read_events(write_aedat(tmp_path / "a.aedat", "3.0"))
    assert refusal.value.problems[0].value == "3.0"
    (tmp_path / "none.aedat").write_bytes(b"no header")
    with pytest.raises(DataError, match=r"another version of AEDAT.*none"):
        read_events(tmp_path / "none.aedat")
    with pytest.raises(DataError, match="another format of packets"):
        read_events(write_aedat3(tmp_path / "c.aedat", form="SerializedTS"))
    found = read_events(write_aedat4(tmp_path / "b.aedat4"))  # converted
    given = camera_frames(T, X, Y, P, (180, 240), bin_width=1000)  # the arrays of another library
    assert (camera_frames(*found, (180, 240), bin_width=1000) == given).all()


@pytest.mark.follows("Copy the file again, or cut it to whole events")
@pytest.mark.parametrize("write", [write_aedat, write_events])
def test_a_file_that_is_cut_off_is_copied_again_or_cut_to_whole_events(write, tmp_path):
    path = tmp_path / ("a.aedat" if write is write_aedat else "a.events")
    whole = write(path).read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(DataError, match="cut off"):
        read_events(path)
    path.write_bytes(whole[:-8])
    assert len(read_events(path).t) in (N, N - 1)  # the last one of the first file is a trigger
    path.write_bytes(whole)
    assert len(read_events(path).t) == N


def test_times_of_long_recordings_go_on_where_a_packet_counts_overflows(tmp_path):
    assert (read_events(write_aedat3(tmp_path / "a.aedat", overflow=3)).t == T + 3 * 2**31).all()


@pytest.mark.follows("Copy the file again: a byte of it was lost, or is another one")
@pytest.mark.follows("Copy the file again, or cut it to whole events")
def test_packets_that_claim_more_than_there_is_are_refused(tmp_path):
    path = write_aedat3(tmp_path / "a.aedat")
    whole = path.read_bytes()
    start = whole.index(b"HEADER\r\n") + 8
    for length, text in (
        (20, "END-HEADER"),
        (start + 10, "28 of its header"),
        (len(whole) - 3, "of a packet"),
    ):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"cut off.*{text}"):
            read_events(path)
    for place, value, text in ((20, 2**31 - 1, "cut off"), (20, -1, "no camera"), (4, 9, "no camera")):
        changed = bytearray(whole)
        changed[start + place : start + place + 4] = struct.pack(
            "<i", value
        )  # the number of events, or their size
        path.write_bytes(changed)
        with pytest.raises(DataError, match=text):
            read_events(path)
    path.write_bytes(whole)
    assert len(read_events(path).t) == N
    path.write_bytes(whole[: start + 28 + 8 * (N // 2)])  # cut to a whole packet
    assert len(read_events(path).t) == N // 2


@pytest.mark.follows("Copy the file again, or give the arrays that another library reads to camera_frames")
@pytest.mark.parametrize("how", ["cut", "header", "size"])
def test_a_damaged_file_of_version_4_is_refused_and_ends_no_process(how, tmp_path):
    path = write_aedat4(tmp_path / "a.aedat4")
    whole = path.read_bytes()
    packet = whole.index(b"EVTS", whole.index(b"</dv>")) - 16
    changed = {
        "cut": whole[:-100],
        "header": whole.replace(b"outInfo", "outInf\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1")),
        "size": whole[: packet + 4] + struct.pack("<i", 2**31 - 1) + whole[packet + 8 :],
    }
    path.write_bytes(changed[how])
    with pytest.raises(DataError, match="cannot be read by the library aedat"):
        read_events(path)
    path.write_bytes(whole)
    assert len(read_events(path).t) == N
    found = camera_frames(T, X, Y, P, (180, 240), bin_width=1000)  # the arrays of another library
    assert (camera_frames(*read_events(path), (180, 240), bin_width=1000) == found).all()


def test_version_4_needs_a_library(tmp_path, monkeypatch):
    path = write_aedat4(tmp_path / "a.aedat4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="aedat"):
        read_events(path)


def test_an_archive_is_no_array_of_events(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, t=T)
    with pytest.raises(DataError, match="not an array of events"):
        read_events(tmp_path / "a.npy")


ONE = [("t", "i4"), ("x", "i4"), ("y", "i4"), ("p", "i4")]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 5)),
        np.array(3),
        np.zeros((), ONE),
        np.zeros((2, 2), ONE),
        np.zeros(2, ONE[:3]),
        np.zeros(2, [*ONE[:3], ("p", "U3")]),
        np.zeros(2, [("t", "M8[us]"), *ONE[1:]]),
        np.zeros(2, [ONE[0], ("x", "i4", 2), *ONE[2:]]),
        np.zeros((2, 4), complex),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_that_hold_no_events_are_refused(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="not an array of events"):
        read_events(tmp_path / "a.npy")


@pytest.mark.follows("Take these events out of the array")
@pytest.mark.parametrize(
    "event", [(np.nan, 2, 3, 1), (np.inf, 2, 3, 1), (1, np.nan, 3, 1), (1, 2.5, 3, 1), (1, 2, 1e30, 1)]
)
def test_events_that_no_camera_sees_are_taken_out(event, tmp_path):
    path = tmp_path / "a.npy"
    array = np.array([(0, 1, 1, 0), event])
    np.save(path, array)
    with pytest.raises(DataError, match="1 of 2 events"):
        read_events(path)
    np.save(path, array[:1])
    assert [values.tolist() for values in read_events(path)] == [[0], [1], [1], [0]]


@pytest.mark.follows("Write it with numpy.save or numpy.savez, without Python objects")
@pytest.mark.parametrize("how", ["text", "cut", "objects", "zip"])
def test_a_file_that_is_no_array_is_written_with_numpy(how, tmp_path):
    path = write_npy(tmp_path / "a.npy")
    whole = path.read_bytes()
    if how == "objects":
        np.save(path, np.array([[1, "a"]], object), allow_pickle=True)
    else:
        path.write_bytes({"text": b"no array", "cut": whole[:-5], "zip": b"PK\x03\x04"}[how])
    with pytest.raises(DataError, match=r"not a readable \.npy file"):
        read_events(path)
    write_npy(path)
    assert len(read_events(path).t) == N


def test_paths_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    for path in (tmp_path / "none.aedat", tmp_path / "folder.npy", "\0.npy"):
        with pytest.raises(DataError, match="cannot be read"):
            read_events(path)
    with pytest.raises(InputError, match="not what is expected"):
        read_events(3)

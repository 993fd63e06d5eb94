"""Captures become one stream of packets in time order, read in a thread or in the caller's own."""

from __future__ import annotations

import gzip
import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sensor import inputs
from sensor.errors import OperatorError
from sensor.inputs import Inputs
from sensor.reading import Options
from sensor.schema import Packets
from sensor.sources import files
from tests.builders import ACK, ethernet, ipv4, pcap, tcp
from tests.streams import MS, NOON, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Ways = pytest.mark.parametrize("threaded", [False, True], ids=["here", "in a thread"])


def frame(ident: int, *, port: int = 7680) -> bytes:
    """Return a frame whose sequence number tells it from all others."""
    return ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, port, b"x", seq=ident, flags=ACK)))


def given(path: Path, *packets: tuple[int, int]) -> str:
    """Write a capture of (ns since noon, identity)."""
    path.write_bytes(pcap([(NOON + at, frame(ident)) for at, ident in packets], nanos=True))
    return str(path)


def taken(reader: Inputs, *, threaded: bool = False) -> list[tuple[int, int, int]]:
    """Return (ns since noon, identity, input) of all packets, and hold each portion to its promise."""
    found: list[tuple[int, int, int]] = []
    passed = 0
    for portion in (reader.start() if threaded else reader).portions():
        for packet in portion.ordered.packets:
            assert packet["ts_ns"] >= passed, "a portion gave what the one before said had passed"
            found.append((int(packet["ts_ns"]) - NOON, int(packet["seq"]), int(packet["input"])))
        passed = portion.watermark_ns
    return found


@Ways
def test_several_files_are_merged_by_time(tmp_path: Path, *, threaded: bool) -> None:
    late = given(tmp_path / "a.pcap", (2 * SECOND, 20), (4 * SECOND, 21))
    early = given(tmp_path / "b.pcap", (1 * SECOND, 10), (3 * SECOND, 11), (5 * SECOND, 12))
    read = Inputs([late, early], Options())
    # Inputs are numbered by their first packets: so the case does not depend on how they were named.
    assert taken(read, threaded=threaded) == [
        (1 * SECOND, 10, 0),
        (2 * SECOND, 20, 1),
        (3 * SECOND, 11, 0),
        (4 * SECOND, 21, 1),
        (5 * SECOND, 12, 0),
    ]
    assert [(each.name, each.packets) for each in read.read()] == [(early, 3), (late, 2)]


def test_packets_at_one_instant_follow_inputs_and_frames(tmp_path: Path) -> None:
    one = given(tmp_path / "a.pcap", (0, 10), (SECOND, 11), (SECOND, 12))
    two = given(tmp_path / "b.pcap", (5, 20), (SECOND, 21))
    assert [ident for _, ident, _ in taken(Inputs([two, one], Options()))] == [10, 20, 11, 12, 21]


def test_what_stands_a_little_behind_is_put_in_its_place(tmp_path: Path) -> None:
    name = given(tmp_path / "a.pcap", (0, 1), (60 * MS, 3), (20 * MS, 2), (SECOND, 4))
    assert [ident for _, ident, _ in taken(Inputs([name], Options(reorder_ms=50)))] == [1, 2, 3, 4]


def test_many_batches_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BATCH_FRAMES", 3)
    names = [given(tmp_path / str(at), *((n * SECOND + at, 10 * n + at) for n in range(20))) for at in range(4)]
    whole = [10 * n + at for n in range(20) for at in range(4)]
    assert [ident for _, ident, _ in taken(Inputs(names, Options()), threaded=True)] == whole


@Ways
def test_an_unreadable_one_does_not_stop_the_others(tmp_path: Path, *, threaded: bool) -> None:
    good = given(tmp_path / "good.pcap", (0, 1))
    text, empty = tmp_path / "a.txt", tmp_path / "empty.pcap"
    text.write_bytes(b"no capture")
    empty.write_bytes(b"")
    read = Inputs([str(text), good, str(empty), str(tmp_path / "absent")], Options())
    assert len(taken(read, threaded=threaded)) == 1
    told = read.read()
    assert [each.name for each in told] == [good, str(text), str(empty), str(tmp_path / "absent")]
    assert [each.damage for each in told] == [
        "",
        "is not a capture (it begins with 6e 6f 20 63); nothing of it was used",
        "is empty (0 bytes); nothing of it was used",
        "cannot be read (No such file or directory); nothing of it was used",
    ]


@Ways
def test_if_none_can_be_read_all_is_said(tmp_path: Path, *, threaded: bool) -> None:
    names = [str(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(OperatorError) as error:
        taken(Inputs(names, Options()), threaded=threaded)
    assert [mistake.where for mistake in error.value.mistakes] == names


def test_damage_does_not_repeat_the_name(tmp_path: Path) -> None:
    path = Path(given(tmp_path / "cut.pcap", (0, 1), (SECOND, 2)))
    path.write_bytes(path.read_bytes()[:-1])
    read = Inputs([str(path)], Options())
    assert len(taken(read)) == 1
    (told,) = read.read()
    size = len(frame(1))
    assert told.damage == (
        f"a record that is cut off ({16 + size - 1} bytes are left) at byte {24 + 16 + size}, after frame 1; "
        "everything before it was used"
    )


@pytest.mark.parametrize(
    ("since", "until", "left"),
    [
        (None, None, [1, 2, 3]),
        (NOON + SECOND, None, [2, 3]),
        (NOON + SECOND + 1, None, [3]),
        (None, NOON + SECOND, [1]),
        (None, NOON + SECOND + 1, [1, 2]),
        (NOON + SECOND, NOON + 2 * SECOND, [2]),
        (NOON + 5 * SECOND, None, []),
    ],
)
def test_since_and_until(tmp_path: Path, since: int | None, until: int | None, left: list[int]) -> None:
    name = given(tmp_path / "a.pcap", (0, 1), (SECOND, 2), (2 * SECOND, 3))
    read = Inputs([name], Options(since_ns=since, until_ns=until))
    assert [ident for _, ident, _ in taken(read)] == left
    assert read.read()[0].packets == 3  # what was read, not what was chosen


def test_only_the_port_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([(NOON, frame(1)), (NOON + 1, frame(2, port=443))], nanos=True))
    assert [ident for _, ident, _ in taken(Inputs([str(path)], Options()))] == [1]
    assert [ident for _, ident, _ in taken(Inputs([str(path)], Options(port=0)))] == [1, 2]


def test_digests_are_of_those_that_were_read(tmp_path: Path) -> None:
    good = given(tmp_path / "good.pcap", (0, 1))
    read = Inputs([good, str(tmp_path / "absent")], Options(hashes=True))
    taken(read)
    assert [each.sha256 for each in read.read()] == [hashlib.sha256(Path(good).read_bytes()).hexdigest(), ""]


def test_progress_is_of_bytes(tmp_path: Path) -> None:
    names = [given(tmp_path / str(at), (at * SECOND, at)) for at in range(3)]
    sizes = [Path(name).stat().st_size for name in names]
    told: list[tuple[int, int]] = []
    taken(Inputs(names, Options(), lambda done, whole: told.append((done, whole))), threaded=True)
    assert told[-1] == (sum(sizes), sum(sizes))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- the thread ---
def full(read: Inputs) -> None:
    """Wait until the reading thread has to wait for its reader."""
    for _ in range(500):
        if read._waiting.is_full:
            return
        threading.Event().wait(0.01)
    pytest.fail("the queue never filled")


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Inputs]:
    """Return inputs of many more portions than may wait."""
    monkeypatch.setattr(files, "BATCH_FRAMES", 1)
    monkeypatch.setattr(inputs, "_WAITING_BYTES", 2 * Packets.dtype().itemsize)
    name = given(tmp_path / "long.pcap", *((at * SECOND, at) for at in range(50)))
    return lambda: Inputs([name], Options()).start()


def left_over() -> Sequence[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "inputs"]


def test_stop_while_the_queue_is_full(long: Callable[[], Inputs]) -> None:
    read = long()
    full(read)
    read.stop()
    assert not left_over()
    read.stop()  # again is no harm


def test_a_reader_that_goes_away_ends_the_thread(long: Callable[[], Inputs]) -> None:
    read = long()
    portions = read.portions()
    assert int(next(portions).ordered.packets["seq"][0]) == 0
    portions.close()  # type: ignore[attr-defined]
    assert not left_over()


def test_a_slow_reader_gets_all(long: Callable[[], Inputs]) -> None:
    read = long()
    full(read)
    found = [int(seq) for portion in read.portions() for seq in portion.ordered.packets["seq"]]
    assert found == list(range(50))
    assert not left_over()


def test_what_waits_is_counted_by_what_it_holds(tmp_path: Path) -> None:
    name = given(tmp_path / "a.pcap", (0, 1), (1, 2))
    rows = 2 * Packets.dtype().itemsize
    (mapped,) = Inputs([name], Options()).portions()
    assert mapped.held_bytes == rows  # a map's pages cost nothing
    packed = tmp_path / "a.pcap.gz"
    packed.write_bytes(gzip.compress(Path(name).read_bytes()))
    (streamed,) = Inputs([str(packed)], Options()).portions()
    assert streamed.held_bytes >= rows + files.STREAM_BYTES


def test_our_own_error_is_raised_where_portions_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Inputs([given(tmp_path / "a.pcap", (0, 1))], Options())
    monkeypatch.setattr(inputs, "FileReading", None)
    with pytest.raises(TypeError):
        taken(read, threaded=True)
    assert not left_over()


def test_stop_before_start() -> None:
    Inputs(["absent"], Options()).stop()

"""The walkers over capture records: where they stop and why, and what they leave in the cursor."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from sensor.kernels import records
from sensor.kernels.records import BAD_LENGTH, FULL, NEED_MORE, OTHER_BLOCK
from sensor.schema import Frames
from tests.builders import block, ethernet, ipv4, pcap, pcapng, tcp, vlan
from tests.streams import run_as_python

SECOND = 1_000_000_000
RECORDS = [(3 * SECOND + 5000, b"first", 9), (4 * SECOND, b""), (5 * SECOND, b"third")]
PCAP = pcap(RECORDS)[24:]  # 21, 16 and 21 bytes
LITTLE_ENDIAN = False
ETHERNET = (1, 9, 0, 0, 0)  # an interface: link type, 10**-9 s, no offset, decimal, no snaplen


def cursor(at: int = 0, number: int = 0, interfaces: int = 0) -> np.ndarray:
    return np.array([at, number, -1, interfaces, 0], dtype=np.int64)


def walk_pcap(  # noqa: PLR0913 - as the kernel
    data: bytes, at: int = 0, *, number: int = 0, base: int = 24, big: bool = False, header: int = 16, room: int = 9
) -> tuple[list[dict[str, int]], list[int]]:
    """Return the frames, and (position, number, stop)."""
    place, out = cursor(at, number), Frames.empty(room)
    view = np.frombuffer(data, dtype=np.uint8)
    count = records.walk_pcap(view, base, big, 1000, header, 113, 4, place, out)
    assert not out[count:].tobytes().strip(b"\0"), "nothing is written behind the last frame"
    return rows(out[:count]), place[:3].tolist()


def walk_pcapng(
    data: bytes, *interfaces: tuple[int, int, int, int, int], base: int = 0, big: bool = False, room: int = 9
) -> tuple[list[dict[str, int]], list[int]]:
    place, out = cursor(interfaces=len(interfaces)), Frames.empty(room)
    known = np.array([*interfaces, (99, 99, 99, 99, 99)], dtype=np.int64)  # the table has room that is not in use
    count = records.walk_pcapng(np.frombuffer(data, dtype=np.uint8), base, big, known, 4, place, out)
    return rows(out[:count]), place[:3].tolist()


def rows(frames: Any) -> list[dict[str, int]]:
    return [{name: int(frame[name]) for name in Frames.names()} for frame in frames]


def packet(
    data: bytes, ticks: int = 7, *, interface: int = 0, captured: int | None = None, wire: int = 0, big: bool = False
) -> bytes:
    """Return an enhanced packet block."""
    head = struct.pack(
        "><"[not big] + "IIIII",
        interface,
        ticks >> 32,
        ticks & 0xFFFFFFFF,
        len(data) if captured is None else captured,
        wire,
    )
    return block(6, head + data, big_endian=big)


# --- pcap ---
def test_every_column_of_pcap_records() -> None:
    frames, left = walk_pcap(PCAP)
    same = {"input": 4, "link_type": 113}
    assert frames == [
        {"ts_ns": 3_000_005_000, "at": 16, "offset": 24, "number": 1, "captured_bytes": 5, "wire_bytes": 9} | same,
        {"ts_ns": 4_000_000_000, "at": 37, "offset": 45, "number": 2, "captured_bytes": 0, "wire_bytes": 0} | same,
        {"ts_ns": 5_000_000_000, "at": 53, "offset": 61, "number": 3, "captured_bytes": 5, "wire_bytes": 5} | same,
    ]
    assert left == [58, 3, NEED_MORE]


def test_big_endian_and_longer_record_headers() -> None:
    frames, left = walk_pcap(pcap(RECORDS, big_endian=True)[24:], big=True)
    assert [frame["ts_ns"] for frame in frames] == [3_000_005_000, 4_000_000_000, 5_000_000_000]
    long = PCAP[:16] + b"8 bytes " + b"first"
    frames, left = walk_pcap(long, header=24)
    assert (frames[0]["at"], frames[0]["captured_bytes"], left) == (24, 5, [29, 1, NEED_MORE])


def test_a_walk_goes_on_where_the_last_one_stopped() -> None:
    frames, left = walk_pcap(PCAP, room=2)
    assert ([frame["number"] for frame in frames], left) == ([1, 2], [37, 2, FULL])
    frames, left = walk_pcap(PCAP, 37, number=2, room=2)
    assert ([frame["number"] for frame in frames], left) == ([3], [58, 3, NEED_MORE])
    assert walk_pcap(PCAP, room=0) == ([], [0, 0, FULL])
    assert walk_pcap(b"") == ([], [0, 0, NEED_MORE])


def test_a_record_that_is_not_whole_waits_for_more() -> None:
    for size in range(len(PCAP)):
        whole = sum(size >= end for end in (21, 37, 58))
        frames, left = walk_pcap(PCAP[:size])
        assert (len(frames), left) == (whole, [(0, 21, 37)[whole], whole, NEED_MORE]), size


def test_lengths_of_pcap_records() -> None:
    most = struct.pack("<IIII", 0, 0, records.MAX_CAPTURED, 0)
    assert walk_pcap(most + bytes(records.MAX_CAPTURED))[0][0]["wire_bytes"] == 262144  # never less than captured
    # One byte more cannot be: told at once, before the bytes have come.
    assert walk_pcap(struct.pack("<IIII", 0, 0, records.MAX_CAPTURED + 1, 0)) == ([], [0, 0, BAD_LENGTH])
    assert walk_pcap(PCAP + b"\xff" * 16)[1] == [58, 3, BAD_LENGTH]
    huge = struct.pack("<IIII", 2**32 - 1, 2**32 - 1, 0, 2**32 - 1)
    (frame,), _ = walk_pcap(huge)
    assert (frame["wire_bytes"], frame["ts_ns"]) == (2**31 - 1, (2**32 - 1) * 1_000_001_000)


# --- pcapng ---
def test_every_column_of_an_enhanced_packet() -> None:
    frames, left = walk_pcapng(packet(b"frame", 3_000_000_007, wire=60), ETHERNET, base=100)
    assert frames == [
        {
            "ts_ns": 3_000_000_007,
            "at": 28,
            "offset": 100,
            "number": 1,
            "captured_bytes": 5,
            "wire_bytes": 60,
            "input": 4,
            "link_type": 1,
        }
    ]
    assert left == [40, 1, NEED_MORE]


def test_the_interface_tells_the_link_type_and_what_time_means() -> None:
    interfaces = (ETHERNET, (113, 6, -SECOND, 0, 0), (101, 3, 0, 1, 0))
    data = packet(b"a", 5, interface=0) + packet(b"b", 5, interface=1) + packet(b"c", 5, interface=2)
    frames, left = walk_pcapng(data, *interfaces)
    # 5 ns; 5 µs less a second; 5/8 s.
    assert [frame["ts_ns"] for frame in frames] == [5, 5000 - SECOND, 625_000_000]
    assert [frame["link_type"] for frame in frames] == [1, 113, 101]
    assert left == [108, 3, NEED_MORE]


def test_the_blocks_of_packets() -> None:
    simple = block(3, struct.pack("<I", 9) + b"123456789")
    obsolete = block(2, struct.pack("<HHIIII", 1, 7, 0, 5, 2, 60) + b"ab")
    frames, _ = walk_pcapng(simple + obsolete, (1, 9, 0, 0, 4), ETHERNET)
    told = [(f["ts_ns"], f["at"], f["captured_bytes"], f["wire_bytes"]) for f in frames]
    # A simple block has no time, and no length but that of its interface's snaplen.
    assert told == [(0, 12, 4, 9), (5, 28 + 28, 2, 60)]
    # Where it is cut without a snaplen its block tells how much is there.
    frames, _ = walk_pcapng(block(3, struct.pack("<I", 100) + b"12345678"), ETHERNET)
    assert (frames[0]["captured_bytes"], frames[0]["wire_bytes"]) == (8, 100)


@pytest.mark.parametrize("kind", [4, 9, 10, 0xBAD, 0x80000BAD])
def test_other_blocks_are_passed_over(kind: int) -> None:
    frames, left = walk_pcapng(block(kind, bytes(20)) + packet(b"x"), ETHERNET)
    assert (len(frames), frames[0]["offset"], left) == (1, 32, [68, 1, NEED_MORE])


@pytest.mark.parametrize("kind", [0x0A0D0D0A, 1, 5])
def test_blocks_that_change_the_section_are_left_to_the_caller(kind: int) -> None:
    data = packet(b"x") + block(kind, bytes(20))
    for size in (12, 32):  # told as soon as its head is there
        frames, left = walk_pcapng(data[: 36 + size], ETHERNET)
        assert (len(frames), left) == (1, [36, 1, OTHER_BLOCK])


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("<III", 6, 11, 0),  # shorter than a block can be
        struct.pack("<III", 6, records.MAX_BLOCK + 1, 0),
        struct.pack("<III", 6, 12, 13),  # the lengths at both ends differ
        block(6, bytes(16)),  # too short for its own head
        packet(b"x", interface=1),  # an interface that nobody described
        packet(b"abcd", captured=5),
        packet(bytes(records.MAX_CAPTURED + 4)),
    ],
)
def test_a_broken_chain_of_blocks(bad: bytes) -> None:
    frames, left = walk_pcapng(packet(b"good") + bad + packet(b"lost"), ETHERNET)
    assert (len(frames), left) == (1, [36, 1, BAD_LENGTH])


def test_without_an_interface_no_packet_can_be() -> None:
    assert walk_pcapng(block(3, struct.pack("<I", 1) + b"x")) == ([], [0, 0, BAD_LENGTH])
    assert walk_pcapng(packet(b"x")) == ([], [0, 0, BAD_LENGTH])


def test_a_block_that_is_not_whole_waits_for_more() -> None:
    data = packet(b"one") + packet(b"two")
    for size in range(len(data)):
        frames, left = walk_pcapng(data[:size], ETHERNET)
        assert (len(frames), left) == (size // 36, [size // 36 * 36, size // 36, NEED_MORE]), size
    assert walk_pcapng(data, ETHERNET, room=1)[1] == [36, 1, FULL]


def test_big_endian_blocks() -> None:
    (frame,), _ = walk_pcapng(packet(b"x", 2**33 + 5, big=True), ETHERNET, big=True)
    assert frame["ts_ns"] == 2**33 + 5


# --- times ---
@pytest.mark.parametrize(
    ("ticks", "units", "offset_s", "binary", "ts_ns"),
    [
        (0, 9, 0, 0, 0),
        (1, 0, 0, 0, SECOND),
        (1_500, 3, 2, 0, 3_500_000_000),
        (12_345_678, 12, 0, 0, 12_345),  # finer than ns is cut off
        (2**64 - 1, 28, 0, 0, 1),
        (2**64 - 1, 0, 0, 0, 2**62),  # held, so that nothing runs over
        (2**64 - 1, 9, 0, 0, 2**62),
        (3, 1, 0, 1, 1_500_000_000),
        (2**40 + 2**39, 40, 0, 1, 1_500_000_000),
        (2**63, 63, -1, 1, 0),
        (2**64 - 1, 0, 0, 1, 2**62),
    ],
)
def test_times_of_any_resolution(ticks: int, units: int, offset_s: int, binary: int, ts_ns: int) -> None:
    (frame,), _ = walk_pcapng(packet(b"x", ticks), (1, units, offset_s * SECOND, binary, 0))
    assert frame["ts_ns"] == ts_ns


# --- several cursors ---
LARGE = pcap([(SECOND + at * 1_000_000, bytes([at & 255]) * 1484) for at in range(400)])[24:]  # 400 times 1500 bytes


def walk_wide(data: bytes, *, at: int = 0, span: int = 600_000, room: int = 800) -> tuple[np.ndarray, list[int]]:
    """Return the frames, and (position, number, stop), of a walk with eight cursors."""
    place, out = cursor(at, 5), Frames.empty(room)
    view, cursors = np.frombuffer(data, dtype=np.uint8), np.zeros(records.CURSOR_WORDS, dtype=np.int64)
    scratch = Frames.empty(room)
    facts = np.zeros(4, dtype=np.int64)
    count = records.walk_pcap_wide(
        view, 24, span, LITTLE_ENDIAN, 1000, 16, 1, 4, 0, place, out, scratch, cursors, facts
    )
    assert facts[records.PASSED] == count
    return out[:count], place[:3].tolist()


def test_several_cursors_find_what_one_finds() -> None:
    frames, left = walk_wide(LARGE)
    assert left == [600_000, 405, FULL]
    place, out = cursor(0, 5), Frames.empty(800)
    records.walk_pcap(np.frombuffer(LARGE, dtype=np.uint8), 24, LITTLE_ENDIAN, 1000, 16, 1, 4, place, out)
    assert np.array_equal(frames, out[:400])
    assert (frames["number"][0], frames["offset"][399], frames["at"][399]) == (6, 24 + 399 * 1500, 399 * 1500 + 16)


@pytest.mark.parametrize(("at", "span"), [(0, 65536 * 8 - 1), (600_000, 600_000), (599_990, 600_000)])
def test_too_little_is_left_to_one_cursor(at: int, span: int) -> None:
    frames, left = walk_wide(LARGE, at=at, span=span)
    assert (len(frames), left) == (0, [at, 5, FULL])


def test_a_broken_record_ends_what_counts() -> None:
    # Cursors beyond it have found frames too; only one that is reached from the record before it counts.
    for broken in (0, 1, 60, 399):
        data = bytearray(LARGE)
        data[broken * 1500 + 8 : broken * 1500 + 12] = b"\xff\xff\xff\x7f"
        frames, left = walk_wide(bytes(data))
        assert (len(frames), left) == (broken, [broken * 1500, 5 + broken, FULL]), broken


def test_a_frame_that_holds_a_capture_does_not_mislead() -> None:
    inner = pcap([(SECOND + at, bytes(84)) for at in range(1000)])[24:]  # 100,000 bytes of records
    data = pcap([(SECOND, inner)] * 7)[24:]
    frames, left = walk_wide(data)
    # The plausible starts inside are passed over by the cursor before: what is left is for the next walk.
    assert set(frames["captured_bytes"].tolist()) == {100_000}
    assert left == [len(frames) * 100_016, 5 + len(frames), FULL]


def test_what_is_of_another_port_is_passed_over_and_counted() -> None:
    def segment(at: int) -> bytes:
        return ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(50000, 443 if at % 10 else 7680, bytes(1430))))

    times = [SECOND + at * 1_000_000 for at in range(400)]
    data = pcap([(ts_ns, segment(at)) for at, ts_ns in enumerate(times)])[24:]
    view, place, facts = np.frombuffer(data, dtype=np.uint8), cursor(0, 5), np.zeros(4, dtype=np.int64)
    out, cursors = Frames.empty(800), np.zeros(records.CURSOR_WORDS, dtype=np.int64)
    count = records.walk_pcap_wide(
        view, 24, 600_000, LITTLE_ENDIAN, 1000, 16, 1, 4, 7680, place, out, Frames.empty(800), cursors, facts
    )
    kept = set(out["number"][:count].tolist())
    assert kept >= {6 + at for at in range(0, 400, 10)}
    assert (len(kept), 405 in kept) == (40 + records.CURSORS, True)  # the last of every cursor, too
    assert place.tolist()[:3] == [len(data), 405, FULL]
    assert facts.tolist() == [400, times[0], times[-1], len(data) - 400 * 16]


UDP = struct.pack(">HHHH", 50000, 443, 8, 0)
MDNS = struct.pack(">HHHH", 50000, 5353, 8, 0)
VXLAN = struct.pack(">HHHH", 50000, 4789, 8, 0)
OTHER = tcp(50000, 443, b"abc")
OURS = tcp(50000, 7680, b"abc")


@pytest.mark.parametrize(
    ("frame", "beside"),
    [
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OTHER)), True),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OTHER), vlans=[vlan(4)]), True),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OTHER), vlans=[vlan(4), vlan(5)]), False),  # seldom, and decoded
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OURS)), False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OURS), vlans=[vlan(4)]), False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OTHER, fragment=0x2000)), False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OTHER, total=30)), False),  # counted as odd, whatever its port
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", OTHER))[:36], False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", UDP, proto=17)), True),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", MDNS, proto=17)), False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", VXLAN, proto=17)), False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(40), proto=47)), False),
        (ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(40), proto=1)), True),
        (b"\xff" * 12 + b"\x08\x06" + bytes(28), True),
        (b"\xff" * 12 + b"\x88\x64" + bytes(28), False),
        (b"", False),
    ],
)
def test_which_frames_are_passed_over(frame: bytes, beside: bool) -> None:  # noqa: FBT001 - what is expected
    data = np.frombuffer(b"\x55" + frame + b"\x55" * 80, dtype=np.uint8)
    assert bool(records.is_beside(data, 1, 1 + len(frame), len(frame), 1, 7680)) == beside
    assert not records.is_beside(data, 1, 1 + len(frame), len(frame), 105, 7680)  # a link that the fast lane has not


TODAY = pcap([((1_781_000_000 * SECOND) + at, bytes([at & 255]) * 1484) for at in range(20)])[24:]


def test_where_records_begin() -> None:
    view, around_s = np.frombuffer(TODAY, dtype=np.uint8), 1_781_000_000
    starts = [int(records.find_start(view, at, LITTLE_ENDIAN, 16, around_s)) for at in (0, 1, 1500, 1501)]
    assert starts == [0, 1500, 1500, 3000]
    assert records.find_start(view, -1, LITTLE_ENDIAN, 16, around_s) == -1
    assert records.find_start(view, len(TODAY) - 1500, LITTLE_ENDIAN, 16, around_s) == -1  # too few follow each other
    assert records.find_start(view, 0, LITTLE_ENDIAN, 16, around_s + 100_000) == -1  # another day


# --- compiled and as Python ---
def both(kernel: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[Any]) -> None:
    results = []
    for python in (False, True):
        place, out = arguments[-1].copy(), Frames.empty(4)
        if python:
            with monkeypatch.context() as patch:
                count = run_as_python(kernel, records, patch, [*arguments[:-1], place, out])
        else:
            count = kernel(*arguments[:-1], place, out)
        results.append((int(count), place.tolist(), out.tolist()))
    assert results[0] == results[1]


def test_cut_anywhere_the_kernels_give_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    # The bytes end with the array, so a read behind them is one outside it: Python would raise.
    section = pcapng(RECORDS)
    known = np.array([ETHERNET], dtype=np.int64)
    for size in range(len(PCAP) + 1):
        view = np.frombuffer(PCAP[:size], dtype=np.uint8)
        both(records.walk_pcap, monkeypatch, [view, 24, False, 1000, 16, 1, 0, cursor()])
    start = section.index(b"\x06\0\0\0")
    for size in range(len(section) - start + 1):
        view = np.frombuffer(section[start : start + size], dtype=np.uint8)
        both(records.walk_pcapng, monkeypatch, [view, 0, False, known, 0, cursor(interfaces=1)])


def test_where_records_begin_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (10_500, 10_516, 12_000):
        arguments = [np.frombuffer(TODAY[:size], dtype=np.uint8), 1, False, 16, 1_781_000_000]
        with monkeypatch.context() as patch:
            found = run_as_python(records.find_start, records, patch, arguments)
        assert found == records.find_start(*arguments)


def test_several_cursors_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (LARGE, LARGE[:550_001]):
        results = []
        for python in (False, True):
            place, out, scratch = cursor(0, 5), Frames.empty(800), Frames.empty(800)
            view, cursors = np.frombuffer(data, dtype=np.uint8), np.zeros(records.CURSOR_WORDS, dtype=np.int64)
            facts = np.zeros(4, dtype=np.int64)
            arguments: list[Any] = [view, 24, 600_000, False, 1000, 16, 1, 4, 7680, place, out, scratch, cursors, facts]
            if python:
                with monkeypatch.context() as patch:
                    count = run_as_python(records.walk_pcap_wide, records, patch, arguments)
            else:
                count = records.walk_pcap_wide(*arguments)
            results.append((int(count), place.tolist(), out.tolist(), cursors.tolist(), facts.tolist()))
        assert results[0] == results[1]
        assert results[0][4][records.PASSED] == len(data) // 1500

"""The fast lane gives the rows of the slow lane, column by column, and counts the same frames for the same reasons."""

from __future__ import annotations

import contextlib
import itertools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.decode import Decoder, decode
from sensor.dissect import dissect, slow_lane
from sensor.errors import OperatorError
from sensor.schema import TUNNELS, WEIRD_BIT, WEIRDS, Batch, Frames
from sensor.sources.files import Reader
from tests.captures import ELSEWHERE, PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensor.schema import Rows

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "captures" / "real"

MACS = bytes(range(12))
LINKS = (0, 1, 9, 12, 101, 105, 108, 113, 228, 229, 276)


# --- odd frames, written from the RFCs -----------------------------------------------------------------------------
def seldom(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 15)) == 7  # not 0, which hypothesis likes


@st.composite
def odd_number(draw: st.DrawFn, usual: int, top: int) -> int:
    return draw(st.one_of(st.integers(0, top), st.sampled_from([0, usual + 6]))) if seldom(draw) else usual


@st.composite
def segments(draw: st.DrawFn) -> bytes:
    options = b"\x01" * (4 * draw(st.sampled_from([0, 0, 3, 5, 10])))
    words = draw(odd_number(5 + len(options) // 4, 15)) & 15
    ports = draw(st.sampled_from([(50000, 7680), (7680, 50000), (7680, 7680), (443, 50000)]))
    numbers = draw(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)))
    tail = draw(st.tuples(st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)))
    head = struct.pack(">HHIIBBHHH", *ports, *numbers, words << 4 | draw(st.integers(0, 15)), *tail, 0)
    return head + options + draw(st.binary(max_size=40))


@st.composite
def ipv4s(draw: st.DrawFn, body: bytes, proto: int | None = None) -> bytes:
    options = b"\x01" * (4 * draw(st.sampled_from([0, 0, 0, 1, 10])))
    words = draw(odd_number(5 + len(options) // 4, 15)) & 15
    version = draw(odd_number(4, 15)) & 15
    length = draw(odd_number(20 + len(options) + len(body), 120))
    fragment = draw(st.sampled_from([0x4000] * 20 + [0, 0, 0x2000, 0x2000, 0x2001, 0x0007, 0x8000]))
    proto = draw(st.sampled_from([6] * 20 + [1, 17, 4, 41, 47, 51, 137])) if proto is None else proto
    addresses = draw(st.binary(min_size=8, max_size=8))
    head = struct.pack(
        ">BBHHHBBH", version << 4 | words, 0, length, draw(st.integers(0, 0xFFFF)), fragment, 64, proto, 0
    )
    return head + addresses + options + body


@st.composite
def ipv6s(draw: st.DrawFn, body: bytes, last: int | None = None) -> bytes:
    kinds = draw(st.lists(st.sampled_from([0, 43, 44, 51, 60]), max_size=3)) if draw(st.booleans()) else []
    last = draw(st.sampled_from([6] * 20 + [58, 17, 41, 47, 59])) if last is None else last
    chain = b""
    for kind, following in itertools.pairwise([*kinds, last]):
        size = 0 if kind == 44 else draw(odd_number(1, 3))
        middle = draw(st.sampled_from([b"\x00\x00"] * 8 + [b"\x00\x01", b"\x00\x10"]))
        chain += bytes([following, size]) + middle + b"\x00" * {44: 4, 51: 8}.get(kind, 12)
    length = draw(odd_number(len(chain) + len(body), 120))
    head = struct.pack(">IHBB", (draw(odd_number(6, 15)) & 15) << 28, length, kinds[0] if kinds else last, 64)
    return head + draw(st.binary(min_size=32, max_size=32)) + chain + body


@st.composite
def packets(draw: st.DrawFn, depth: int = 0) -> tuple[int, bytes]:
    body, proto = draw(segments()), None
    if depth < 2 and draw(st.integers(0, 7)) == 5:
        kind, inner = draw(packets(depth + 1))
        gre = b"\x00\x00" + struct.pack(">H", kind) + inner
        bridged = b"\x00\x00\x65\x58" + MACS + struct.pack(">H", kind) + inner
        direct = 4 if kind == 0x0800 else 41
        proto, body = draw(st.sampled_from([(direct, inner), (47, gre), (47, bridged), (51, inner)]))
    if draw(st.booleans()):
        return 0x0800, draw(ipv4s(body, proto))
    return 0x86DD, draw(ipv6s(body, proto))


@st.composite
def linked(draw: st.DrawFn) -> tuple[int, bytes]:
    """Return a link type and a frame of it."""
    kind, packet = draw(packets())
    tag = st.tuples(st.sampled_from([0x8100, 0x88A8, 0x9100]), st.integers(0, 0xFFFF))
    tags = draw(st.lists(tag, max_size=4))
    shell = draw(st.sampled_from(["", "", "", "", "mpls", "pppoe", "snap"]))
    if shell:
        if shell == "mpls":
            kind, packet = 0x8847, struct.pack(">I", draw(odd_number(0x10140, 1 << 31))) + packet
        elif shell == "pppoe":
            number = {0x0800: 0x21, 0x86DD: 0x57}[kind]
            kind, packet = 0x8864, struct.pack(">BBHHH", 0x11, 0, 1, len(packet) + 2, number) + packet
        else:
            kind, packet = len(packet) % 1500, b"\xaa\xaa\x03\x00\x00\x00" + struct.pack(">H", kind) + packet
    stack = b"".join(struct.pack(">HH", *tag) for tag in tags) + struct.pack(">H", kind) + packet
    link = draw(st.sampled_from([1] * 20 + [113] * 5 + list(LINKS)))
    if link == 1:
        return link, MACS + stack
    if link == 113:
        return link, b"\x00" * 14 + stack
    if link == 276:
        return link, stack[:2] + b"\x00" * 18 + stack[2:]
    if link in (0, 108):
        return link, draw(st.sampled_from([b"\x02\x00\x00\x00", b"\x00\x00\x00\x1e", b"\x18\x00\x00\x00"])) + packet
    if link == 9:
        return link, draw(st.sampled_from([b"\xff\x03\x00\x21", b"\x00\x57", b"\x21"])) + packet
    return link, packet


@st.composite
def frames(draw: st.DrawFn) -> tuple[int, bytes, int]:
    """Return link type, captured bytes and length on the wire: padded, cut, or with bytes turned."""
    link, frame = draw(linked())
    frame += b"\x00" * draw(st.sampled_from([0, 0, 0, 2, 6, 30]))
    wire = len(frame) + draw(st.sampled_from([0, 0, 0, 0, 4, 100]))
    if draw(st.integers(0, 5)) == 3:
        frame = frame[: draw(st.integers(0, len(frame)))]
        if draw(st.booleans()):
            wire = len(frame)
    if frame and draw(st.integers(0, 5)) == 3:
        at = draw(st.integers(0, min(len(frame), 80) - 1))
        frame = frame[:at] + draw(st.binary(min_size=1, max_size=1)) + frame[at + 1 :]
    return link, frame, wire


# --- the comparison ------------------------------------------------------------------------------------------------
def batch_of(found: Iterable[tuple[int, bytes, int]]) -> Batch:
    listed = list(found)
    rows = Frames.empty(len(listed))
    data = b"\xcc" * 3
    for at, (link, frame, wire) in enumerate(listed):
        rows[at]["at"], rows[at]["link_type"] = len(data), link
        rows[at]["captured_bytes"], rows[at]["wire_bytes"] = len(frame), wire
        data += frame
    count = np.arange(len(listed))
    rows["number"], rows["ts_ns"], rows["offset"], rows["input"] = count + 1, count * 1000, count * 7, 2
    return Batch(rows, np.frombuffer(data, dtype=np.uint8))


def listed(rows: Rows) -> list[dict[str, Any]]:
    return [{name: int(row[name]) for name in row.dtype.names or ()} for row in rows]


def counted(counts: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(WEIRDS, counts, strict=True) if count}


def same(batch: Batch, port: int) -> Rows:
    found = dissect(batch.frames, batch.data, port)
    decoder = Decoder(port, slow_lane)
    assert listed(decoder.push(batch)) == listed(found.packets)
    assert counted(decoder.weird) == counted(found.passed_over())
    return found.packets


def captures() -> list[Any]:
    paths = sorted(REAL.glob("*.pcap")) + sorted((ROOT / "pcaps").glob("*.pcap"))
    return [pytest.param(path, id=path.name) for path in paths]


def odd_captures() -> list[Any]:
    return [pytest.param(path, id=path.name) for path in sorted((PUBLIC / "formats").glob("*")) if path.suffix != ".md"]


@pytest.mark.parametrize("path", odd_captures())
def test_odd_captures(path: Path) -> None:
    """Every link type and tunnel of public test suites, all TCP; what is no capture has no frames."""
    with contextlib.suppress(OperatorError), Reader(path, 0) as reader:
        for batch in reader.batches():
            same(batch, 0)


@pytest.mark.parametrize("port", [7680, 0])
@pytest.mark.parametrize("path", captures())
def test_captures(path: Path, port: int) -> None:
    with Reader(path, 0) as reader:
        found = sum(len(same(batch, port)) for batch in reader.batches())
    assert (found > 0) == (port == 0 or path.name not in ELSEWHERE)


@pytest.mark.parametrize("port", [7680, 0])
@settings(max_examples=400, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=3))
def test_odd_frames(port: int, found: list[tuple[int, bytes, int]]) -> None:
    same(batch_of(found), port)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINKS), st.binary(max_size=90), st.integers(0, 200)), min_size=1, max_size=3))
def test_any_bytes(found: list[tuple[int, bytes, int]]) -> None:
    same(batch_of((link, frame, max(wire, len(frame))) for link, frame, wire in found), 0)


def test_plain_frames_need_no_slow_lane() -> None:
    """Otherwise two lanes that are one would agree, too."""
    segment = struct.pack(">HHIIBBHHH", 50000, 7680, 1, 2, 0x50, 0x18, 100, 0, 0) + b"hello"
    four = struct.pack(">BBHHHBBH8s", 0x45, 0, 45, 1, 0x4000, 64, 6, 0, b"\x0a\x00\x00\x01\x0a\x00\x00\x02") + segment
    six = struct.pack(">IHBB", 6 << 28, 25, 6, 64) + bytes(31) + b"\x01" + segment
    plain = []
    for kind, packet in ((b"\x08\x00", four), (b"\x86\xdd", six)):
        for tags in (b"", b"\x81\x00\x00\x07", b"\x88\xa8\x00\x07\x81\x00\x00\x08"):
            plain += [(1, MACS + tags + kind + packet), (113, b"\x00" * 14 + tags + kind + packet)]
        plain += [(101, packet), (228 if packet is four else 229, packet)]
    batch = batch_of((link, frame, len(frame)) for link, frame in plain)
    assert len(plain) == 16
    assert listed(decode(batch)) == listed(same(batch, 7680))
    assert [row["payload_bytes"] for row in listed(decode(batch))] == [5] * 16


def test_plain_tunnels_of_a_mirror_need_no_slow_lane() -> None:
    segment = struct.pack(">HHIIBBHHH", 50000, 7680, 1, 2, 0x50, 0x18, 100, 0, 0) + b"hello"
    inner = struct.pack(">BBHHHBBH8s", 0x45, 0, 45, 1, 0x4000, 64, 6, 0, b"\x0a\x00\x00\x01\x0a\x00\x00\x02") + segment
    bridged = MACS + b"\x08\x00" + inner
    wrapped = {
        "vxlan": (17, struct.pack(">HHHHII", 40000, 4789, 0, 0, 8 << 24, 42 << 8) + bridged),
        "erspan": (47, struct.pack(">HHI", 0x1000, 0x88BE, 1) + bytes(8) + bridged),
        "gre": (47, struct.pack(">HHI", 0x2000, 0x6558, 7) + bridged),
    }
    frames = []
    for protocol, body in (*wrapped.values(), (47, struct.pack(">HH", 0, 0x0800) + inner)):
        head = struct.pack(
            ">BBHHHBBH8s", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0, b"\xc0\x00\x02\x01\xc0\x00\x02\x02"
        )
        frames.append((1, MACS + b"\x08\x00" + head + body, 34 + len(body)))
    rows = decode(batch_of(frames))
    assert listed(rows) == listed(same(batch_of(frames), 7680))
    assert [TUNNELS[row["tunnel"]] for row in rows] == [*wrapped, "gre"]
    assert rows["payload_bytes"].tolist() == [5] * 4


def test_a_cut_is_counted_wherever_it_falls() -> None:
    segment = struct.pack(">HHIIBBHHH", 50000, 7680, 1, 2, 0x80, 0x18, 100, 0, 0) + b"\x01" * 12
    four = struct.pack(">BBHHHBBH8s", 0x45, 0, 52, 1, 0x4000, 64, 6, 0, b"\x0a\x00\x00\x01\x0a\x00\x00\x02") + segment
    frame = MACS + b"\x81\x00\x00\x07\x08\x00" + four
    batch = batch_of((1, frame[:size], len(frame)) for size in range(len(frame)))
    rows = same(batch, 7680)
    assert len(rows) == 12  # the row stays while options alone are cut
    assert set(rows["weird"].tolist()) == {WEIRD_BIT["cut_headers"]}
    decoder = Decoder(7680, slow_lane)
    decoder.push(batch)
    assert counted(decoder.weird) == {"cut_headers": len(frame) - 12}

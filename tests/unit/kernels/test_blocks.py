"""Blocks written with struct from the kernel's header file, walked to frames."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sensor.kernels import blocks
from sensor.schema import Frames

KERNELS = {"compiled": blocks.walk_blocks, "as python": blocks.walk_blocks.py_func}
VALID, TPID_VALID = 0x10, 0x40


def packet(  # noqa: PLR0913 - every field can be said
    frame: bytes,
    *,
    seconds: int = 1_700_000_000,
    nanoseconds: int = 5,
    wire: int | None = None,
    status: int = 0,
    tci: int = 0,
    tpid: int = 0,
    kind: int = 3,
    last: bool = False,
) -> bytes:
    """struct tpacket3_hdr, struct sockaddr_ll, 14 bytes of room, the frame; aligned to 16."""
    mac = 82
    size = (mac + len(frame) + 15) // 16 * 16
    sizes = (len(frame), len(frame) if wire is None else wire)
    head = struct.pack(
        "<6I2H2I2H8x", 0 if last else size, seconds, nanoseconds, *sizes, status, mac, 96, 0, tci, tpid, 0
    )
    link = struct.pack("<HHiHBB8s", 17, 0x0008, 2, 1, kind, 6, b"\2\0\0\0\0\1\0\0")
    return (head + link).ljust(mac, b"\xee") + frame + bytes(size - mac - len(frame))


def block(*packets: bytes, count: int | None = None) -> bytes:
    """struct tpacket_block_desc, then its packets."""
    told = len(packets) if count is None else count
    body = b"".join(packets)
    return struct.pack("<IIIIIIQIIII", 1, 0, 1, told, 48, 48 + len(body), 9, 0, 0, 0, 0) + body


def walk(name: str, data: bytes, *, outgoing: int = 0, room: int = 8) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Any]:
    held = np.frombuffer(data, dtype=np.uint8).copy()
    frames, cursor = Frames.empty(room).view(np.recarray), np.zeros(4, dtype=np.int64)
    rows = frames if name == "as python" else np.asarray(frames).view(Frames.dtype())
    spans = np.array([0, len(held), 0], dtype=np.int64)
    count = KERNELS[name](held, spans, 5, outgoing, cursor, rows)
    assert spans.tolist() == [0, len(held), cursor[blocks.NUMBER]]
    return frames[:count], held, cursor


def bytes_of(frame: Any, data: npt.NDArray[Any]) -> bytes:
    return bytes(data[frame["at"] : frame["at"] + frame["captured_bytes"]])


MACS = bytes(range(12))


@pytest.mark.parametrize("name", KERNELS)
def test_packets_become_frames(name: str) -> None:
    first, second = MACS + b"\x08\x00" + b"a" * 40, MACS + b"\x08\x00" + b"b" * 7
    frames, data, cursor = walk(name, block(packet(first), packet(second, nanoseconds=7, wire=1500, last=True)))
    assert [bytes_of(frame, data) for frame in frames] == [first, second]
    assert frames["ts_ns"].tolist() == [1_700_000_000_000_000_005, 1_700_000_000_000_000_007]
    assert frames["wire_bytes"].tolist() == [54, 1500]
    assert frames["number"].tolist() == [1, 2]
    assert frames["link_type"].tolist() == [1, 1]
    assert frames["input"].tolist() == [5, 5]
    assert cursor.tolist() == [2, 1554, 1_700_000_000_000_000_007, 0]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    ("status", "tpid", "tag"), [(VALID, 0x88A8, "8100"), (VALID | TPID_VALID, 0x88A8, "88a8"), (VALID, 0, "8100")]
)
def test_a_tag_kept_apart_is_put_back(name: str, status: int, tpid: int, tag: str) -> None:
    frame = MACS + b"\x08\x00" + b"payload"
    held = packet(frame, status=status, tci=0xE00A, tpid=tpid, last=True)
    frames, data, cursor = walk(name, block(held))
    assert bytes_of(frames[0], data) == MACS + bytes.fromhex(tag) + b"\xe0\x0a" + b"\x08\x00" + b"payload"
    assert (frames[0]["wire_bytes"], cursor[blocks.BYTES_SEEN]) == (len(frame) + 4, len(frame) + 4)


@pytest.mark.parametrize("name", KERNELS)
def test_without_the_bit_there_is_no_tag(name: str) -> None:
    frame = MACS + b"\x08\x00" + b"payload"
    frames, data, _ = walk(name, block(packet(frame, tci=10, tpid=0x8100, last=True)))
    assert bytes_of(frames[0], data) == frame


@pytest.mark.parametrize("name", KERNELS)
def test_what_the_loopback_sent_is_left_out(name: str) -> None:
    sent, got = packet(MACS + b"\x08\x00sent", kind=4), packet(MACS + b"\x08\x00got!", kind=0, last=True)
    frames, data, cursor = walk(name, block(sent, got), outgoing=1)
    assert [bytes_of(frame, data)[-4:] for frame in frames] == [b"got!"]
    assert cursor.tolist()[blocks.SKIPPED] == 1
    assert len(walk(name, block(sent, got))[0]) == 2


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        block()[:47],
        block(count=3),
        block(packet(b"x" * 60, last=True))[:-40],
        block(packet(b"x" * 60, last=True), count=4_000_000_000),
    ],
)
def test_a_block_that_cannot_be_gives_no_more_than_it_holds(name: str, data: bytes) -> None:
    assert len(walk(name, data)[0]) <= 1


@pytest.mark.parametrize("name", KERNELS)
def test_writes_no_more_than_there_is_room_for(name: str) -> None:
    frames, _, _ = walk(name, block(*[packet(b"x" * 60)] * 5), room=3)
    assert len(frames) == 3


@pytest.mark.parametrize("name", KERNELS)
def test_blocks_follow_each_other_and_say_where_they_end(name: str) -> None:
    one, two = (block(*[packet(bytes([at]) * 60)] * at) for at in (2, 3))
    held = np.frombuffer(two + one, dtype=np.uint8).copy()
    frames, cursor = Frames.empty(8).view(np.recarray), np.zeros(4, dtype=np.int64)
    rows = frames if name == "as python" else np.asarray(frames).view(Frames.dtype())
    spans = np.array([len(two), len(held), 0, -5, 3, 0, 0, len(two), 0], dtype=np.int64)
    assert KERNELS[name](held, spans, 0, 0, cursor, rows) == 5
    assert [bytes_of(frame, held)[0] for frame in frames[:5]] == [2, 2, 3, 3, 3]
    assert spans[2::3].tolist() == [2, 2, 5]
    assert frames["number"][:5].tolist() == [1, 2, 3, 4, 5]
    assert not frames["offset"].any()


def test_random_bytes_stay_inside() -> None:
    chance = np.random.default_rng(7680)
    for _ in range(300):
        data = chance.integers(0, 256, size=int(chance.integers(0, 400)), dtype=np.uint8)
        data[20:24] = 0
        if len(data) > 20:
            data[16:20] = (48, 0, 0, 0)
            data[12:16] = (3, 0, 0, 0)
        frames, held, _ = walk("as python", data.tobytes())
        assert all(frame["at"] >= 0 and frame["at"] + frame["captured_bytes"] <= len(held) for frame in frames)

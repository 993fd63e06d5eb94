"""Large captures for benchmarks: a tile of packets, repeated with moving times and sequence numbers."""

from __future__ import annotations

import itertools
import os
import random
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


_MSS = 1448
_DO_FLOWS = 64
_RUN = 4  # segments that a sender puts on the wire at once
_ISN = 1000


@dataclass(frozen=True, slots=True)
class Tile:
    """Packets as pcap records, where in them time and sequence number stand, and how both move from tile to tile."""

    prelude: bytes
    data: np.ndarray[Any, np.dtype[np.uint8]]
    times: np.ndarray[Any, np.dtype[np.int64]]
    seqs: np.ndarray[Any, np.dtype[np.int64]]
    steps: np.ndarray[Any, np.dtype[np.int64]]
    span_us: int


def _record(at_us: int, frame: bytes, wire: int) -> bytes:
    return struct.pack("<IIII", at_us // 1_000_000, at_us % 1_000_000, len(frame), wire) + frame


def _tcp(src: tuple[int, int], dst: tuple[int, int], seq: int, payload: bytes, flags: int = 0x18) -> bytes:
    """Return a frame between two (address, port)."""
    total = 40 + len(payload)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, total, seq & 0xFFFF, 0x4000, 128, 6, 0, src[0], dst[0])
    tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], seq & 0xFFFFFFFF, _ISN + 76, 0x50, flags, 64240, 0, 0)
    return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + tcp + payload


def _ends(flow: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the seeder (port 7680) and the asker of a DO flow."""
    return (0x0A020000 + flow, 7680), (0x0A010000 + flow, 50000 + flow)


def _prelude(start_s: int) -> bytes:
    """Return the beginnings of all DO flows: SYNs and both handshakes."""
    hello = b"\x0eSwarm protocol" + bytes.fromhex("0100000000100000") + bytes(range(32)) + bytes(range(16)) + bytes(4)
    parts = []
    for flow in range(_DO_FLOWS):
        seeder, asker = _ends(flow)
        for frame in (
            _tcp(asker, seeder, _ISN, b"", 0x02),
            _tcp(seeder, asker, _ISN, b"", 0x12),
            _tcp(asker, seeder, _ISN + 1, hello),
            _tcp(seeder, asker, _ISN + 1, hello),
        ):
            parts.append(_record((start_s - 1) * 1_000_000 + 100 * len(parts), frame, len(frame)))
    return b"".join(parts)


def tile(share_do: float, packets: int, seed: int, start_s: int = 1_781_000_000) -> Tile:
    """Make a tile in which a share of the packets belongs to DO transfers, in the usual mix of frame sizes.

    In each tile every DO flow carries one whole piece message, so that tiles follow each other as one stream.
    """
    chance = random.Random(seed)  # noqa: S311 - the same traffic every time, no secret
    is_do = [chance.random() < share_do for _ in range(packets)]
    owners = [at // _RUN % _DO_FLOWS for at in range(sum(is_do))]
    share = [owners.count(flow) for flow in range(_DO_FLOWS)]
    sent = [0] * _DO_FLOWS
    parts, times, seqs, steps = [], [], [], []
    at, now, turn = 0, 0, iter(owners)
    for count in range(packets):
        now += chance.randint(1, 4)
        if is_do[count]:
            flow = next(turn)
            seeder, asker = _ends(flow)
            body = chance.randbytes(_MSS)  # as incompressible as updates are
            if sent[flow] == 0:
                body = (struct.pack(">IBII", share[flow] * _MSS - 4, 7, 1, 0) + body)[:_MSS]
            frame = _tcp(seeder, asker, _ISN + 76 + sent[flow] * _MSS, body)
            sent[flow] += 1
            steps.append(share[flow] * _MSS)
        else:
            host = chance.randrange(4096)
            size = chance.choices((0, 120, 512, _MSS), (30, 10, 15, 45))[0]
            src, dst = (0x0A030000 + host, 50000 + host % 1000), (0x0A040000 + host, chance.choice((443, 80, 445)))
            frame = _tcp(src, dst, _ISN + count * _MSS, chance.randbytes(size))
            steps.append(packets * _MSS)
        parts.append(_record(now, frame, len(frame)))
        times.append(at)
        seqs.append(at + 16 + 38)
        at += 16 + len(frame)
    data = np.frombuffer(b"".join(parts), dtype=np.uint8)
    return Tile(_prelude(start_s), data, np.array(times), np.array(seqs), np.array(steps), now + 4)


def turns(made: Tile, start_s: int = 1_781_000_000) -> Iterator[bytes]:
    """Yield the tile again and again, each later than the one before; without end."""
    base = made.data.copy()
    micros = np.zeros(len(made.times), dtype=np.int64)
    for byte in range(4):
        micros += made.data[made.times + 4 + byte].astype(np.int64) << (8 * byte)
        micros += (made.data[made.times + byte].astype(np.int64) << (8 * byte)) * 1_000_000
    seqs = sum(made.data[made.seqs + byte].astype(np.int64) << (8 * (3 - byte)) for byte in range(4))
    for turn in itertools.count():
        now = micros + turn * made.span_us
        moved = (seqs + turn * made.steps) & 0xFFFFFFFF
        seconds, rest = start_s + now // 1_000_000, now % 1_000_000
        for byte in range(4):
            base[made.times + byte] = (seconds >> (8 * byte)) & 0xFF
            base[made.times + 4 + byte] = (rest >> (8 * byte)) & 0xFF
            base[made.seqs + byte] = (moved >> (8 * (3 - byte))) & 0xFF
        yield base.tobytes()


def write(path: Path, made: Tile, size: int, start_s: int = 1_781_000_000) -> None:
    """Write at least `size` bytes of tiles."""
    tiles = max(-(-size // len(made.data)), 0)
    with path.open("wb") as file:
        file.write(FILE_HEADER + made.prelude)
        file.writelines(itertools.islice(turns(made, start_s), tiles))


def cut(path: Path, made: Tile, size: int) -> None:
    """Shorten a file of tiles to at least `size` bytes of them, whole."""
    head = len(FILE_HEADER) + len(made.prelude)
    whole = head + -(-size // len(made.data)) * len(made.data)
    if path.stat().st_size > whole:
        os.truncate(path, whole)


def write_flood(path: Path, packets: int, start_s: int = 1_781_000_000) -> None:
    """Write SYNs to one listener from as many random sources: a flow per packet."""
    chance = np.random.default_rng(7680)
    record = np.frombuffer(_record(0, _tcp((0, 0), (0x0A010105, 7680), 0, b"", 0x02), 54), dtype=np.uint8)
    with path.open("wb") as file:
        file.write(FILE_HEADER)
        for first in range(0, packets, 250_000):
            count = min(250_000, packets - first)
            rows = np.tile(record, (count, 1))
            now = (first + np.arange(count)) * 10
            source = chance.integers(0x0B000000, 0xDF000000, count)
            port = chance.integers(1024, 65536, count)
            seq = chance.integers(0, 1 << 32, count)
            for byte in range(4):
                rows[:, byte] = ((start_s + now // 1_000_000) >> (8 * byte)) & 0xFF
                rows[:, 4 + byte] = ((now % 1_000_000) >> (8 * byte)) & 0xFF
                rows[:, 16 + 26 + byte] = (source >> (8 * (3 - byte))) & 0xFF
                rows[:, 16 + 38 + byte] = (seq >> (8 * (3 - byte))) & 0xFF
            rows[:, 16 + 34] = port >> 8
            rows[:, 16 + 35] = port & 0xFF
            file.write(rows.tobytes())

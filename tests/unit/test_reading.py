"""One input as parts, and what puts inputs in order."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.expression import Expression
from sensor.reading import FileReading, Options, look
from tests.builders import ACK, ethernet, ipv4, pcap, pcapng, tcp
from tests.captures import SAMPLES
from tests.streams import MS, NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

WEEK = SAMPLES / "office-week.pcap"


def frame(ident: int, payload: bytes = b"x") -> bytes:
    return ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, 7680, payload, seq=ident, flags=ACK)))


def test_look_is_at_the_first_packet_and_what_stands_there(tmp_path: Path) -> None:
    raw = pcap([(NOON + 20 * MS, frame(1)), (NOON, frame(2)), (NOON + SECOND, frame(3))], nanos=True)
    (tmp_path / "b").write_bytes(raw)
    (tmp_path / "a.gz").write_bytes(gzip.compress(raw))
    plain, packed = look(str(tmp_path / "b")), look(str(tmp_path / "a.gz"))
    assert plain.first_ns == packed.first_ns == NOON
    assert plain.begins == packed.begins == hashlib.sha256(raw).hexdigest()
    assert (plain.size_bytes, packed.size_bytes) == (
        (tmp_path / "b").stat().st_size,
        (tmp_path / "a.gz").stat().st_size,
    )


def test_look_reads_on_where_no_packet_comes_soon(tmp_path: Path) -> None:
    comment = b"\x01\x00\xff\xff" + b"c" * 0xFFFF + b"\0"
    raw = pcapng([(NOON, frame(1))])
    # Blocks of another kind before the interface: 20 of 64 KiB.
    body = (0x0BAD).to_bytes(4, "little") + (12 + len(comment)).to_bytes(4, "little") + comment
    noise = (body + body[4:8]) * 20
    (length,) = (int.from_bytes(raw[4:8], "little"),)
    (tmp_path / "late").write_bytes(raw[:length] + noise + raw[length:])
    assert look(str(tmp_path / "late")).first_ns == NOON


def test_look_at_what_holds_no_packet(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(pcap([]))
    assert look(str(tmp_path / "none")).first_ns == 0
    assert look("-").first_ns == 0
    with pytest.raises(OperatorError):
        look(str(tmp_path / "absent"))


def test_frames_that_are_not_asked_for_are_not_decoded() -> None:
    every, some = (Options(frames=each) for each in (None, Expression("vlan and net 10.9.0.0/24")))
    counts = []
    for options in (every, some):
        with FileReading(str(WEEK), 0, options) as reading:
            parts = list(reading.parts())
            counts.append((sum(len(part.packets) for part in parts), reading.summary().packets))
            assert parts[-1].front_ns == reading.summary().last_packet_ns
    assert counts[0][0] > counts[1][0] > 0
    assert counts[0][1] == counts[1][1]  # read is read


def test_compact_keeps_payloads() -> None:
    with FileReading(str(WEEK), 0, Options()) as reading:
        part = next(reading.parts())
    small = part.compact()
    assert len(small.data) == int(part.packets["payload_captured"].sum())
    for one, other in list(zip(part.packets, small.packets, strict=True))[::100]:
        size = int(one["payload_captured"])
        mine = part.data[int(one["payload_at"]) : int(one["payload_at"]) + size]
        assert mine.tobytes() == small.data[int(other["payload_at"]) : int(other["payload_at"]) + size].tobytes()


def test_among_many_inputs_a_stream_is_read_in_small_steps(tmp_path: Path) -> None:
    frames = [(NOON + at, frame(at, b"x" * 1400)) for at in range(2000)]
    (tmp_path / "a.gz").write_bytes(gzip.compress(pcap(frames, nanos=True)))
    told = []
    for beside in (0, 1, 16):
        with FileReading(str(tmp_path / "a.gz"), 0, Options(), beside=beside) as reading:
            parts = list(reading.parts())
        told.append([(int(packet["ts_ns"]), int(packet["seq"])) for part in parts for packet in part.packets])
        held = max(len(part.data) for part in parts)
        assert held == {0: 2000 * (16 + 54 + 1400) + 24, 1: 2000 * 1400}.get(beside, held)
        assert held < 1_200_000 or beside < 16
    assert told[0] == told[1] == told[2]


def test_hash_is_that_of_the_file() -> None:
    with FileReading(str(WEEK), 0, Options(hashes=True)) as reading:
        for _ in reading.parts():
            pass
        assert reading.summary().sha256 == hashlib.sha256(WEEK.read_bytes()).hexdigest()
        assert reading.done_bytes == WEEK.stat().st_size

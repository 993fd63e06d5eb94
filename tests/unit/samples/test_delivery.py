"""What sample peers say: bytes against literals of public captures, streams against a reader of the test's own."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from sensor.samples.delivery import Content, Talk, Transfer, bitfield, handshake, message, peer_id
from sensor.samples.frames import FILL, ORIG, RESP, Host
from sensor.samples.stack import SECOND, Path, Tape
from tests import builders as build

NEW, OLD, OTHER = Host("10.1.0.5"), Host("10.1.0.6", syn_window=64240), Host("10.1.0.9")
START = 1_780_000_000 * SECOND
UPDATE = Content("update", 5, piece_bytes=50_000, last_bytes=20_001)


@dataclass(frozen=True)
class Heard:
    side: int
    kind: int
    body: bytes
    starts_a_segment: bool


def play(path: Path | None = None, **how: Any) -> tuple[Talk, list[Heard]]:
    tape = Tape("test")
    talk = Talk(tape, NEW, OTHER, START, path or Path())
    talk.run(Transfer(UPDATE, **how))
    return talk, [heard for side in (ORIG, RESP) for heard in read(tape, side)]


def read(tape: Tape, side: int) -> list[Heard]:
    stream, starts = b"", set()
    for segment in tape.segments:
        if segment.side == side and segment.payload_bytes:
            starts.add(len(stream))
            stream += segment.head + bytes([FILL]) * segment.fill
    assert stream[:15] == b"\x0eSwarm protocol"
    at, heard = 75, []
    while at < len(stream):
        (length,) = struct.unpack_from(">I", stream, at)
        assert at + 4 + length <= len(stream)
        heard.append(Heard(side, stream[at + 4], stream[at + 5 : at + 4 + length], at in starts))
        at += 4 + length
    return heard


def test_a_handshake_is_75_bytes_in_either_form() -> None:
    for host, field in ((NEW, "0100000000100000"), (OLD, "0000000000100000")):
        data = handshake(host, UPDATE)
        assert len(data) == 75
        assert data == build.do_handshake(UPDATE.swarm_hash, peer_id(host, UPDATE).bytes_le, field=bytes.fromhex(field))


def test_a_peer_id_is_a_random_guid_in_windows_order_and_differs_per_swarm() -> None:
    ids = {peer_id(host, Content(name, 1)) for host in (NEW, OLD) for name in ("a", "b")}
    assert len(ids) == 4
    assert {UUID(bytes_le=handshake(NEW, UPDATE)[55:71]).version, *(id_.version for id_ in ids)} == {4}


def test_bitfield_and_have_are_those_of_public_captures() -> None:
    assert bitfield(range(85), 85).hex() == "0000000c05" + "ff" * 10 + "f8"
    assert bitfield(range(10, 43), 43) == build.do_bitfield(range(10, 43), 43)
    assert message(4, (14).to_bytes(4)).hex() == "00000005040000000e"


def test_a_download_says_this_in_this_order() -> None:
    _, heard = play(pieces=range(2, 5), had=range(2))
    down = [(h.kind, h.body.hex()) for h in heard if h.side == ORIG]
    assert down == [
        (5, "c0"),
        (2, ""),
        (6, "00000002000000000000c350"),
        (4, "00000002"),
        (6, "00000003000000000000c350"),
        (4, "00000003"),
        (6, "000000040000000000004e21"),
        (4, "00000004"),
    ]
    up = [(h.kind, len(h.body), h.body[:8].hex()) for h in heard if h.side == RESP]
    assert up == [
        (5, 1, "f8"),
        (1, 0, ""),
        (7, 50_008, "0000000200000000"),
        (7, 50_008, "0000000300000000"),
        (7, 20_009, "0000000400000000"),
    ]


def test_a_flushing_sender_starts_every_piece_in_a_new_segment() -> None:
    _, heard = play(Path(merged=44), pieces=range(5), ahead=3)
    assert [h.starts_a_segment for h in heard if h.kind == 7] == [True] * 5


def test_a_joining_sender_does_not() -> None:
    _, heard = play(pieces=range(5), ahead=5, block_bytes=10_000, flush=False)
    starts = Counter(h.starts_a_segment for h in heard if h.kind == 7)
    assert starts[False] > starts[True] > 0


@pytest.mark.parametrize("block_bytes", [0, 7000])
@pytest.mark.parametrize("uploader", ["orig", "resp"])
def test_what_was_said_is_what_was_counted(uploader: str, block_bytes: int) -> None:
    talk, heard = play(pieces=range(5), uploader=uploader, block_bytes=block_bytes, ahead=2)
    giver = RESP if uploader == "resp" else ORIG
    for side in (ORIG, RESP):
        pieces = [h for h in heard if h.side == side and h.kind == 7]
        assert talk.said[side].pieces == len(pieces)
        assert talk.said[side].piece_bytes == sum(len(h.body) - 8 for h in pieces)
        assert talk.said[side].requests == sum(h.side == side and h.kind == 6 for h in heard)
    assert talk.said[giver].piece_bytes == 4 * 50_000 + 20_001
    assert talk.said[giver].requests == talk.said[1 - giver].pieces == 0
    asked = sorted(h.body for h in heard if h.kind == 6)
    given = sorted(h.body[:8] + (len(h.body) - 8).to_bytes(4) for h in heard if h.kind == 7)
    assert asked == given


def test_endings() -> None:
    states = {
        how: play(pieces=range(1), ending=how)[0].tcp.state
        for how in ("fin_orig", "fin_resp", "rst_orig", "rst_resp", "open")
    }
    assert states == {"fin_orig": "SF", "fin_resp": "SF", "rst_orig": "RSTO", "rst_resp": "RSTR", "open": "S1"}


def test_a_peer_without_the_content_says_nothing() -> None:
    tape = Tape("test")
    talk = Talk(tape, NEW, OTHER, START)
    talk.greet(UPDATE, answered=False)
    talk.tcp.close(RESP)
    assert sum(segment.payload_bytes for segment in tape.segments if segment.side == RESP) == 0
    assert [said.handshake for said in talk.said] == [True, False]


def test_keep_alives_come_each_minute_from_both_sides() -> None:
    tape = Tape("test")
    talk = Talk(tape, NEW, OTHER, START)
    talk.greet(UPDATE)
    talk.keep_alive(60 * SECOND, 3, resp_after_ns=20 * SECOND)
    sent = [(s.side, (s.ts_ns - START) / SECOND) for s in tape.segments if s.head == bytes(4)]
    assert [side for side, _ in sent] == [0, 1] * 3
    assert [at for _, at in sent] == pytest.approx([60, 80, 120, 140, 180, 200], abs=0.02)
    assert tape.segments[-1].payload_bytes == 0, "the last one is acknowledged too"


def test_bitfields_need_a_greeting() -> None:
    talk = Talk(Tape("test"), NEW, OTHER, START)
    with pytest.raises(AssertionError, match="greet comes first"):
        talk.show(range(1), range(1))

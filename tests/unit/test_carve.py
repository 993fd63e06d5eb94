"""A built transfer comes back byte by byte; loss is a gap; givers that differ are a conflict that checksums confirm."""

from __future__ import annotations

import hashlib
import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from sensor.carve import Content, carve
from sensor.errors import OperatorError
from tests import builders
from tests.streams import ORIG, RESP, Tape

if TYPE_CHECKING:
    from pathlib import Path

SWARM = bytes(range(32))
NAME = SWARM.hex()
SIZE = 3000
DATA = Random(5).randbytes(2 * SIZE + 700)  # noqa: S311 - bytes, not a secret
MSS = 400


def pieces(data: bytes = DATA) -> list[tuple[int, bytes]]:
    return [(at, data[at * SIZE : (at + 1) * SIZE]) for at in range(-(-len(data) // SIZE))]


def transfer(giver: str = "10.1.0.6", taker: str = "10.1.0.5", data: bytes = DATA, lost: tuple[int, ...] = ()) -> Tape:
    """Return a connection on which the responder gives pieces in segments of their own, some of which are lost."""
    tape = Tape(taker, giver)
    tape.open()
    shake = builders.do_handshake(SWARM)
    tape.send(ORIG, 0, shake)
    tape.send(RESP, 0, shake)
    stream = b"".join(builders.do_piece(index, 0, body) for index, body in pieces(data))
    for number, start in enumerate(range(0, len(stream), MSS)):
        part = stream[start : start + MSS]
        if number not in lost:
            tape.send(RESP, len(shake) + start, part, acked=len(shake))
    return tape


def write(path: Path, *tapes: Tape) -> str:
    frames = sorted(frame for tape in tapes for frame in tape.frames)
    path.write_bytes(builders.pcap(frames, nanos=True))
    return str(path)


def carved(tmp_path: Path, *tapes: Tape) -> tuple[Content, Path]:
    content = carve([write(tmp_path / "in.pcap", *tapes)], NAME[:12], tmp_path / "out")
    return content, tmp_path / "out" / NAME[:16]


def test_transfer_comes_back(tmp_path: Path) -> None:
    content, folder = carved(tmp_path, transfer())
    assert content.swarm_hash == NAME
    assert content.sha256 == hashlib.sha256(DATA).hexdigest()
    assert [each.sha256 for each in content.pieces] == [hashlib.sha256(body).hexdigest() for _, body in pieces()]
    assert b"".join((folder / each.file).read_bytes() for each in content.pieces) == DATA
    assert content.pieces[0].givers == ("10.1.0.6",)
    assert content.conflicts == ()
    told = json.loads((folder / "carved.json").read_text())
    assert [each["file"] for each in told["pieces"]] == ["piece_00000.bin", "piece_00001.bin", "piece_00002.bin"]


def test_order_and_repetition_do_not_matter(tmp_path: Path) -> None:
    tape = transfer()
    times = [at for at, _ in tape.frames]
    head, body = tape.frames[:8], tape.frames[8:]
    swapped = [frame for _, frame in head] + [
        frame for pair in zip(body[1::2], body[::2], strict=False) for _, frame in pair
    ]
    swapped += [frame for _, frame in body[3:5]]
    tape.frames = [(times[0] + at * 10_000_000, frame) for at, frame in enumerate(swapped)]
    if len(body) % 2:
        tape.frames.append((times[0] + 10**9, body[-1][1]))
    content, _ = carved(tmp_path, tape)
    assert content.sha256 == hashlib.sha256(DATA).hexdigest()
    assert content.conflicts == ()


def test_loss_is_a_gap_and_another_giver_fills_it(tmp_path: Path) -> None:
    content, folder = carved(tmp_path, transfer(lost=(3,)))
    # The fourth segment: stream bytes 1200 to 1600, less the 13 of the first piece's header.
    assert content.pieces[0].gaps == ((1187, 1587),)
    assert content.pieces[0].sha256 == content.sha256 == ""
    assert (folder / "piece_00000.bin").read_bytes() == DATA[:1187] + bytes(400) + DATA[1587:SIZE]
    assert content.conflicts == ()
    (tmp_path / "two").mkdir()
    content, _ = carved(tmp_path / "two", transfer(lost=(3,)), transfer("10.1.0.9", lost=(5,)))
    assert content.sha256 == hashlib.sha256(DATA).hexdigest()
    assert content.pieces[0].givers == ("10.1.0.6", "10.1.0.9")


def test_other_bytes_are_a_conflict(tmp_path: Path) -> None:
    other = DATA[:3500] + bytes(each ^ 0xFF for each in DATA[3500:3510]) + DATA[3510:]
    late = transfer("10.1.0.9", data=other)
    late.frames = [(at + 60 * 10**9, frame) for at, frame in late.frames]
    content, folder = carved(tmp_path, transfer(), late)
    [conflict] = content.conflicts
    assert (conflict.piece, conflict.begin, conflict.bytes) == (1, 500, 10)
    assert (conflict.first.giver, conflict.other.giver, conflict.other.taker) == ("10.1.0.6", "10.1.0.9", "10.1.0.5")
    assert conflict.is_confirmed
    assert (folder / "piece_00001.bin").read_bytes() == DATA[SIZE : 2 * SIZE]  # the first stay


def test_damaged_packet_confirms_nothing(tmp_path: Path) -> None:
    late = transfer("10.1.0.9")
    late.frames = [(at + 60 * 10**9, frame) for at, frame in late.frames]
    at, frame = late.frames[-3]
    late.frames[-3] = (at, frame[:-9] + bytes([frame[-9] ^ 1]) + frame[-8:])
    content, _ = carved(tmp_path, transfer(), late)
    assert [each.is_confirmed for each in content.conflicts] == [False]


def test_nothing_to_carve_leaves_nothing(tmp_path: Path) -> None:
    capture = write(tmp_path / "in.pcap", transfer())
    with pytest.raises(OperatorError, match=f'"feed" is in no handshake; name one of those that are: {NAME[:16]}'):
        carve([capture], "feed", tmp_path / "out")
    carve([capture], NAME, tmp_path / "out")
    with pytest.raises(OperatorError, match="is there already"):
        carve([capture], NAME, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [NAME[:16]]

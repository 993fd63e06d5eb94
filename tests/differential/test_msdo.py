"""Our messages against the dissector for DO that Wireshark has since 4.2: equal where it can read, and where it cannot.

`SWARMTAP_TSHARK` names such a tshark; `.ci/newer tshark trixie` unpacks a newer suite's, and prints where it is.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sensor import tshark
from sensor.schema import KIND_GAP, KIND_HANDSHAKE, KIND_VERDICT
from sensor.wire import BITFIELD, HAVE, PIECE, REQUEST
from tests.builders import do_bitfield, do_handshake, do_have, do_message, do_piece, do_request, pcap
from tests.captures import public
from tests.streams import RESP, Tape, play

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = os.environ.get("SWARMTAP_TSHARK") or "tshark"


def newer() -> bool:
    try:
        return tshark.find(PROGRAM).knows_do
    except tshark.OperatorError:
        return False


pytestmark = pytest.mark.skipif(
    not newer() and not os.environ.get("CI"), reason="no tshark with a dissector for DO (SWARMTAP_TSHARK)"
)
HELLO = do_handshake()
BODY = bytes(1000)


def counts(tape: Tape, folder: Path) -> tuple[Counter[int], Counter[int]]:
    """Return how many messages of each kind we count, and tshark."""
    path = folder / "a.pcap"
    path.write_bytes(pcap(tape.frames, nanos=True))
    told = play(tape)
    seen = tshark.dissect(tshark.find(PROGRAM), path, 10_000)
    return (
        Counter(int(m["kind"]) for m in told.messages if m["kind"] not in (KIND_VERDICT, KIND_GAP)),
        Counter(kind for packet in seen for kind in packet.messages),
    )


def transfer() -> Tape:
    tape = Tape().open().orig(0, HELLO).resp(0, HELLO)
    said = [do_bitfield([], 3), do_message(2), *(do_request(at, 0, 1000) for at in range(3)), do_have(0)]
    at = 75
    for message in said:
        tape.orig(at, message)
        at += len(message)
    given = [do_bitfield(range(3), 3), do_message(1), *(do_piece(at, 0, BODY) for at in range(3)), b"\0\0\0\0"]
    at = 75
    for message in given:
        tape.resp(at, message)
        at += len(message)
    return tape


def test_a_message_a_segment_is_read_alike(tmp_path: Path) -> None:
    ours, theirs = counts(transfer(), tmp_path)
    assert ours == theirs
    assert (ours[PIECE], ours[REQUEST], ours[KIND_HANDSHAKE], ours[BITFIELD], ours[HAVE]) == (3, 3, 2, 2, 1)


def test_pieces_over_several_segments_are_read_alike(tmp_path: Path) -> None:
    tape = Tape().open().orig(0, HELLO)
    stream = do_piece(0, 0, bytes(5000)) + do_piece(1, 0, bytes(5000))
    for at in range(0, len(stream), 1400):
        tape.orig(75 + at, stream[at : at + 1400])
    ours, theirs = counts(tape, tmp_path)
    assert ours == theirs
    assert ours[PIECE] == 2


@pytest.mark.parametrize("name", ["two-seeders", "two-pcs", "handshakes-only"])
def test_public_captures_are_read_alike(name: str) -> None:
    from sensor import inspecting

    path = public("real") / f"{name}.pcap"
    packets, data, _ = inspecting._read([str(path)], inspecting.Selection())
    parts, _ = inspecting._conversation(packets, data)
    ours = Counter(int(m["kind"]) for part in parts for m in part.messages if m["kind"] not in (KIND_VERDICT, KIND_GAP))
    seen = tshark.dissect(tshark.find(PROGRAM), path, 10_000)
    assert ours == Counter(kind for packet in seen for kind in packet.messages)


# --- where the two differ, ours is right ---
def test_a_handshake_and_a_bitfield_in_one_segment(tmp_path: Path) -> None:
    tape = Tape().open().orig(0, HELLO + do_bitfield([], 3))
    at = 81
    for piece in range(3):
        tape.orig(at, do_piece(piece, 0, BODY))
        at += 1013
    ours, theirs = counts(tape, tmp_path)
    assert (ours[KIND_HANDSHAKE], ours[BITFIELD], ours[PIECE]) == (1, 1, 3)
    assert theirs[PIECE] < 3


def test_a_capture_that_begins_inside_a_piece(tmp_path: Path) -> None:
    stream = b"".join(do_piece(piece, 0, bytes([170 + piece]) * 2000) for piece in range(4))
    tape = Tape()
    for at in range(1400, len(stream), 1400):
        tape.send(RESP, 5000 + at, stream[at : at + 1400])
    ours, theirs = counts(tape, tmp_path)
    assert ours[PIECE] == 3
    assert theirs[PIECE] < 3


def test_a_lost_segment(tmp_path: Path) -> None:
    stream = HELLO + b"".join(do_piece(piece, 0, bytes([170 + piece]) * 2000) for piece in range(4))
    tape = Tape().open().orig(0, stream[:75])
    for at in range(75, len(stream), 1400):
        if at != 75 + 1400:
            tape.orig(at, stream[at : at + 1400])
    ours, theirs = counts(tape, tmp_path)
    assert ours[PIECE] == 3  # the header of the second was in what was lost
    assert theirs[PIECE] < 3


def test_a_bitfield_of_61_bytes_is_no_handshake(tmp_path: Path) -> None:
    tape = Tape().open().orig(0, HELLO).resp(0, HELLO).orig(75, do_bitfield(range(441), 448))
    ours, theirs = counts(tape, tmp_path)
    assert (ours[KIND_HANDSHAKE], ours[BITFIELD]) == (2, 1)
    assert (theirs[KIND_HANDSHAKE], theirs[BITFIELD]) != (2, 1)

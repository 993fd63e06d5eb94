# ruff: noqa: T201 - the tables are for who reads the output (pytest -rP)
"""One transfer in every state a capture can have it in: what is told equals the truth wherever the headers are."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sensor.decode import Decoder
from sensor.flows import FlowTable
from sensor.messages import MessageReader
from sensor.schema import KIND_GAP, KIND_HANDSHAKE, WEIRDS
from sensor.wire import PIECE
from tests.builders import do_bitfield, do_handshake, do_have, do_keepalive, do_piece, do_piece_header, do_request
from tests.streams import ORIG, RESP, Tape, Told, batch_of, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHANCE = random.Random(7680)  # noqa: S311 - the same in every run
BODY = 5000
PIECES = 8
SEGMENT = 700  # pieces lie across segments, and headers too


def piece(index: int) -> tuple[bytes, bytes]:
    return do_piece_header(index, 0, BODY), CHANCE.randbytes(BODY)


def asked() -> list[bytes]:
    """What the originator says: it downloads."""
    said = [do_handshake(b"\xaa" * 32, b"\x01" * 16), do_bitfield([], PIECES), b"\0\0\0\1\2"]
    for index in range(PIECES):
        said += [do_request(index, 0, BODY), *([do_keepalive()] if index == 3 else [])]
    return [*said, *(do_have(index) for index in range(PIECES))]


def given() -> list[bytes]:
    """What the responder says: it uploads; each piece is its header and its body."""
    said = [do_handshake(b"\xaa" * 32, b"\x02" * 16), do_bitfield(range(PIECES), PIECES), b"\0\0\0\1\1"]
    for index in range(PIECES):
        said += piece(index)
    return said


SAID = {ORIG: asked(), RESP: given()}
STREAM = {side: b"".join(said) for side, said in SAID.items()}
PIECE_AT = [
    len(b"".join(SAID[RESP][:at])) for at, part in enumerate(SAID[RESP]) if part[4:5] == b"\7" and len(part) == 13
]

Segment = tuple[int, int, bytes]


def cut(side: int, size: int) -> list[Segment]:
    stream = STREAM[side]
    return [(side, at, stream[at : at + size]) for at in range(0, len(stream), size)]


def by_message(side: int) -> list[Segment]:
    at, out = 0, []
    for part in SAID[side]:
        out.append((side, at, part))
        at += len(part)
    return out


def interleaved(orig: list[Segment], resp: list[Segment]) -> list[Segment]:
    both = [((at + 1) / len(orig), s) for at, s in enumerate(orig)] + [
        ((at + 1) / len(resp), s) for at, s in enumerate(resp)
    ]
    return [segment for _, segment in sorted(both, key=lambda entry: entry[0])]


def tape_of(segments: Iterable[Segment], *, opened: bool = True) -> Tape:
    tape = Tape(step_ms=1)
    if opened:
        tape.open()
    for side, at, payload in segments:
        tape.send(side, at, payload)
    return tape


@dataclass(frozen=True)
class Truth:
    """Pieces whose headers lie whole in what was captured."""

    pieces: int
    declared: int


def truth(segments: Iterable[Segment], snaplen: int = 1 << 16) -> Truth:
    seen = bytearray(len(STREAM[RESP]))
    for side, at, payload in segments:
        if side == RESP:
            kept = min(len(payload), max(0, snaplen - 54))
            seen[at : at + kept] = b"\1" * kept
    whole = [at for at in PIECE_AT if all(seen[at : at + 13])]
    return Truth(len(whole), BODY * len(whole))


def told_of(told: Told) -> Truth:
    mine = told.messages[(told.messages["kind"] == PIECE) & (told.messages["from_resp"] == RESP)]
    return Truth(len(mine), int(mine["length"].sum()))


def told_gaps(told: Told) -> int:
    return int(told.messages["length"][told.messages["kind"] == KIND_GAP].sum())


def shuffled(segments: list[Segment], reach: int) -> list[Segment]:
    """Displace segments by up to `reach` places."""
    chance = random.Random(5)  # noqa: S311 - the same in every run
    order = sorted(range(len(segments)), key=lambda at: at + chance.uniform(0, reach))
    return [segments[at] for at in order]


def again(segments: list[Segment]) -> list[Segment]:
    """Retransmit every third segment, together with the one after it."""
    out: list[Segment] = []
    for at, (side, start, payload) in enumerate(segments):
        out.append((side, start, payload))
        if at % 3 == 2:
            out.append((side, start, STREAM[side][start : start + 2 * SEGMENT]))
    return out


CLEAN = interleaved(cut(ORIG, 60), cut(RESP, SEGMENT))
VARIANTS: dict[str, Callable[[], list[Segment]]] = {
    "clean": lambda: interleaved(by_message(ORIG), by_message(RESP)),
    "cut at 700": lambda: CLEAN,
    "coalesced": lambda: interleaved(cut(ORIG, 1 << 15), cut(RESP, 1 << 15)),
    "byte by byte": lambda: interleaved(cut(ORIG, 1), cut(RESP, 7)),
    "reordered a little": lambda: shuffled(CLEAN, 3),
    "reordered": lambda: shuffled(CLEAN, 30),
    "headers byte by byte, reordered": lambda: shuffled(interleaved(cut(ORIG, 1), cut(RESP, 40)), 20),
    "retransmitted": lambda: again(CLEAN),
    "reordered and retransmitted": lambda: shuffled(again(CLEAN), 12),
    "one-sided, requests": lambda: [s for s in CLEAN if s[0] == ORIG],
    "one-sided, pieces": lambda: [s for s in CLEAN if s[0] == RESP],
}


def show(name: str, told: Told, true: Truth) -> None:
    found = told_of(told)
    again = int(told.weird[WEIRDS.index("resynchronised")])
    pieces = f"{found.pieces:2} of {true.pieces:2} pieces {found.declared:6} bytes"
    print(f"{name:34} {pieces}  gaps {told_gaps(told):6}  resynchronised {again}")


@pytest.mark.parametrize("name", VARIANTS)
def test_whatever_the_segments_are_the_same_is_told(name: str) -> None:
    segments = VARIANTS[name]()
    told = play(tape_of(segments))
    show(name, told, truth(segments))
    assert told_of(told) == truth(segments)
    assert told.verdicts() == ["do"]
    assert told_gaps(told) == 0
    assert told.weird.sum() == 0
    if "one-sided" not in name:
        clean = play(tape_of(CLEAN))
        assert sorted(told.said()) == sorted(clean.said())
        assert sum(m[2] == KIND_HANDSHAKE for m in told.said()) == 2


def test_double_mirrored() -> None:
    tape = tape_of(CLEAN)
    told = play([frame for ts_ns, data in tape.frames for frame in ((ts_ns, data), (ts_ns + 1000, data))])
    show("double-mirrored", told, truth(CLEAN))
    assert told.said() == play(tape).said()


def test_snaplen_96() -> None:
    # Segments end where messages do, so each header lies within the first 42 bytes of payload.
    segments = interleaved(by_message(ORIG), by_message(RESP))
    told = play([(ts_ns, data[:96], len(data)) for ts_ns, data in tape_of(segments).frames])
    show("snaplen 96", told, truth(segments, 96))
    assert told_of(told) == truth(segments, 96) == Truth(PIECES, PIECES * BODY)
    assert told.weird.sum() == 0


def test_snaplen_96_with_headers_anywhere() -> None:
    told = play([(ts_ns, data[:96], len(data)) for ts_ns, data in tape_of(CLEAN).frames])
    show("snaplen 96, cut at 700", told, truth(CLEAN, 96))
    assert told_of(told) == truth(CLEAN, 96)
    assert told_of(told).pieces < PIECES


@pytest.mark.parametrize("size", [SEGMENT, 1460, 333])
def test_every_single_segment_lost_in_turn(size: int) -> None:
    segments = cut(RESP, size)
    print(f"segments of {size}: what is told with each of {len(segments)} lost in turn")
    for lost in range(len(segments)):
        left = segments[:lost] + segments[lost + 1 :]
        told = play(tape_of(left))
        true = truth(left)
        if true.pieces < PIECES or told_gaps(told):
            show(f"  {lost:2} lost", told, true)
        assert told_of(told) == true, lost
        # A gap is told where a header was lost, and nowhere else.
        whole = b"".join(SAID[RESP])
        first, last = lost * size, lost * size + size
        headers = [at for at in (75, 81, *PIECE_AT) if at < last and at + 5 > first]
        assert (told_gaps(told) > 0) is (bool(headers) and any(at >= last for at in PIECE_AT)) or first < 81, lost
        assert len(whole) == len(STREAM[RESP])


@pytest.mark.parametrize("size", [SEGMENT, 1460])
def test_started_at_every_segment(size: int) -> None:
    segments = cut(RESP, size)
    print(f"segments of {size}: what is told when the capture starts at each of {len(segments)}")
    for first in range(len(segments)):
        told = play(tape_of(segments[first:], opened=False))
        true = truth(segments[first:])
        show(f"  from {first:2}", told, true)
        assert told_of(told) == true, first
        assert told.verdicts() == (["do"] if true.pieces >= 3 or first == 0 else []), first


@pytest.mark.parametrize("late", [100, 180, 300])
def test_a_header_that_comes_after_it_was_given_up(late: int) -> None:
    # More than is kept of what is early (64 KiB) comes before the segment with the second piece's header.
    body = random.Random(3).randbytes(200_000)  # noqa: S311 - the same in every run
    stream = do_handshake() + b"".join(do_piece(index, 0, body) for index in range(3))
    segments = [(RESP, at, stream[at : at + 1460]) for at in range(0, len(stream), 1460)]
    missed = (75 + 13 + len(body)) // 1460
    told = play(
        tape_of(
            [*segments[:missed], *segments[missed + 1 : late + missed], segments[missed], *segments[late + missed :]]
        )
    )
    assert sorted(m[3] for m in told.said() if m[2] == PIECE) == [0, 1, 2]
    assert (told_gaps(told) > 0) is (late > 137)  # then the third piece was found before the second came


def test_how_much_is_understood() -> None:
    lost = [s for s in CLEAN if s[:2] != (RESP, PIECE_AT[3] // SEGMENT * SEGMENT)]
    for segments, gap in ((CLEAN, 0), (lost, 1)):
        made = batch_of(tape_of(segments).frames)
        packets = Decoder().push(made)
        table, reader = FlowTable(), MessageReader()
        tracks = table.push(packets)
        reader.push(packets, made.data, tracks)
        reader.settle(None)
        known = reader.understanding(int(tracks["slot"][0]))
        assert known.in_sync == (True, True)
        assert known.explained_bytes[ORIG] == len(STREAM[ORIG])
        assert known.explained_bytes[RESP] + known.unexplained_bytes[RESP] == len(STREAM[RESP])
        assert (known.unexplained_bytes[RESP] > 0) is bool(gap)

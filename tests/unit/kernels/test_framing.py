"""Message framing by stream position, handshakes, and verdicts from first bytes; truths written by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sensor.kernels import framing
from sensor.schema import KIND_HANDSHAKE, KIND_KEEPALIVE, KIND_UNKNOWN, WEIRDS, Handshakes, Messages
from sensor.wire import DO_MESSAGE_MAX
from tests.builders import (
    NEW_FIELD,
    OLD_FIELD,
    do_bitfield,
    do_cancel,
    do_handshake,
    do_have,
    do_keepalive,
    do_message,
    do_piece,
    do_piece_header,
    do_request,
)
from tests.streams import ORIG, RESP, Tape, following, play, run_as_python

HELLO = do_handshake(b"\xaa" * 32, bytes(range(16)))
SHAKE = (ORIG, 0, KIND_HANDSHAKE, 0, 0, 75)


def cut(stream: bytes, *places: int) -> list[tuple[int, bytes]]:
    """Cut a stream into segments with their positions."""
    edges = [0, *places, len(stream)]
    return [(a, stream[a:b]) for a, b in pairwise(edges)]


def tape_of(segments: list[tuple[int, bytes]], side: int = ORIG, *, opened: bool = True) -> Tape:
    """Return a connection in which one side sends these segments."""
    tape = Tape(step_ms=1)
    if opened:
        tape.open()
    for at, payload in segments:
        tape.send(side, at, payload)
    return tape


def said(stream: bytes, *places: int) -> list[tuple[int, int, int, int, int, int]]:
    return play(tape_of(cut(stream, *places))).said()


# --- handshake ---
@pytest.mark.parametrize("at", range(1, 75))
def test_a_handshake_cut_anywhere(at: int) -> None:
    told = play(tape_of(cut(HELLO, at)))
    assert told.said() == [SHAKE]
    assert told.verdicts() == ["do"]
    (shake,) = told.handshakes
    assert bytes(shake["swarm_hash"]) == b"\xaa" * 32
    assert bytes(shake["peer_id"]) == bytes(range(16))
    assert shake["ts_ns"] == told.packets["ts_ns"][4]  # of the segment that completed it


def test_a_handshake_byte_by_byte() -> None:
    assert said(HELLO + do_have(7), *range(1, 84)) == [SHAKE, (ORIG, 75, 4, 7, 0, 5)]


@pytest.mark.parametrize(("field", "number"), [(OLD_FIELD, 0x100000), (NEW_FIELD, 0x0100000000100000)])
def test_both_variants_of_the_contested_field(field: bytes, number: int) -> None:
    told = play(tape_of([(0, do_handshake(field=field, suffix=b"\1\2\3\4"))]))
    assert told.said() == [SHAKE]
    (shake,) = told.handshakes
    assert (int(shake["reserved"]), int(shake["suffix"])) == (number, 0x01020304)


def test_both_sides_shake_hands() -> None:
    tape = tape_of([(0, HELLO)]).resp(0, do_handshake(peer_id=b"\x07" * 16), acked=75)
    told = play(tape)
    assert told.said() == [SHAKE, (RESP, 0, KIND_HANDSHAKE, 0, 0, 75)]
    assert told.handshakes["from_resp"].tolist() == [0, 1]
    assert told.verdicts() == ["do"]


def test_a_retransmitted_handshake_is_one() -> None:
    tape = tape_of([(0, HELLO), (0, HELLO), (0, HELLO + do_have(1))])
    assert play(tape).said() == [SHAKE, (ORIG, 75, 4, 1, 0, 5)]


def test_a_handshake_is_found_though_the_syn_was_not_seen() -> None:
    told = play(tape_of([(4000, HELLO + do_have(2))], opened=False))
    assert [m[2] for m in told.said()] == [KIND_HANDSHAKE, 4]
    assert told.verdicts() == ["do"]


def test_another_name_is_not_the_protocol() -> None:
    told = play(tape_of([(0, b"\x0eSwarm protokol" + bytes(60))]))
    assert (told.said(), told.verdicts(), len(told.handshakes)) == ([], ["opaque"], 0)


@pytest.mark.parametrize("snaplen", [96, 69 + 54])
def test_a_capture_that_cuts_the_handshake_still_knows_the_protocol(snaplen: int) -> None:
    tape = tape_of([(0, HELLO), (75, do_have(14)), (84, do_piece(3, 0, b"d" * 600)), (697, do_have(15))])
    told = play([(ts_ns, frame[:snaplen], len(frame)) for ts_ns, frame in tape.frames])
    assert told.verdicts() == ["do"]
    assert len(told.handshakes) == 0
    expected = [(ORIG, 75, 4, 14, 0, 5), (ORIG, 84, 7, 3, 0, 600), (ORIG, 697, 4, 15, 0, 5)]
    assert told.said() == expected
    assert told.flow()["orig_payload_bytes"] == 706


def test_what_the_capture_cut_off_is_not_guessed() -> None:
    # Of the coalesced second segment 96 - 54 = 42 bytes are there: four of the five messages.
    many = b"".join(do_have(index) for index in range(5))
    tape = tape_of([(0, HELLO), (75, many), (120, do_have(9)), (129, do_have(10))])
    told = play([(ts_ns, frame[:96], len(frame)) for ts_ns, frame in tape.frames])
    assert [m[3] for m in told.said()] == [0, 1, 2, 3, 9, 10]
    assert told.weird[WEIRDS.index("resynchronised")] == 1


# --- messages ---
EVERY = [
    (do_keepalive(), (KIND_KEEPALIVE, 0, 0, 0)),
    (do_message(0), (0, 0, 0, 1)),
    (do_message(1), (1, 0, 0, 1)),
    (do_message(2), (2, 0, 0, 1)),
    (do_message(3), (3, 0, 0, 1)),
    (do_have(14), (4, 14, 0, 5)),
    (do_bitfield(range(42), 123), (5, 42, 128, 17)),
    (do_request(3, 16384, 65536), (6, 3, 16384, 65536)),
    (do_piece(3, 16384, b"\0\0\0\5" * 50), (7, 3, 16384, 200)),
    (do_cancel(3, 16384, 65536), (8, 3, 16384, 65536)),
    (do_message(20, b"ignored"), (20, 0, 0, 8)),
    (do_message(99, b"unknown"), (KIND_UNKNOWN, 99, 0, 8)),
]
TALK = HELLO + b"".join(message for message, _ in EVERY)


def expected() -> list[tuple[int, int, int, int, int, int]]:
    rows, at = [SHAKE], 75
    for message, told in EVERY:
        rows.append((ORIG, at, *told))
        at += len(message)
    return rows


@pytest.mark.parametrize("message", range(len(EVERY)))
def test_each_message(message: int) -> None:
    data, told = EVERY[message]
    assert said(HELLO + data) == [SHAKE, (ORIG, 75, *told)]


def test_all_messages_in_one_segment() -> None:
    told = play(tape_of([(0, TALK)]))
    assert told.said() == expected()
    assert told.weird[WEIRDS.index("unknown_message")] == 1
    assert told.weird[WEIRDS.index("bad_message_length")] == 0


def test_bitfield_and_keepalive_in_one_segment() -> None:
    # The bytes of two-seeders.pcap: a complete bitfield of 85 pieces, and a keep-alive after it.
    segment = bytes.fromhex("0000000c05fffffffffffffffffffff800000000")
    told = play(tape_of([(0, HELLO), (75, segment)]))
    assert told.said() == [SHAKE, (ORIG, 75, 5, 85, 88, 12), (ORIG, 91, KIND_KEEPALIVE, 0, 0, 0)]


@pytest.mark.parametrize("message", [do_piece(5, 7, b"data" * 5), do_request(5, 7, 9), do_cancel(5, 7, 9), do_have(3)])
def test_a_header_byte_by_byte(message: bytes) -> None:
    stream = HELLO + message + do_have(77)
    assert said(stream, *range(75, len(stream))) == said(stream)
    assert said(stream)[-1] == (ORIG, 75 + len(message), 4, 77, 0, 5)


@pytest.mark.parametrize("size", [7, 100, 1460])
def test_a_piece_is_skipped_by_position(size: int) -> None:
    # Its data looks like messages; none of them may be told.
    stream = HELLO + do_piece(1, 0, do_have(666) * 1000) + do_have(2)
    assert said(stream, *range(75, len(stream), size)) == [
        SHAKE,
        (ORIG, 75, 7, 1, 0, 9000),
        (ORIG, 75 + 13 + 9000, 4, 2, 0, 5),
    ]


def test_loss_inside_a_body_costs_nothing() -> None:
    stream = HELLO + do_piece(1, 0, b"x" * 9000) + do_have(2) + do_piece(3, 0, b"y" * 500)
    segments = [s for s in cut(stream, *range(75, 9088, 1000), 9088) if not 1000 < s[0] < 8000]
    told = play(tape_of(segments))
    assert [m[2:4] for m in told.said()[1:]] == [(7, 1), (4, 2), (7, 3)]
    assert told.weird[WEIRDS.index("resynchronised")] == 0


def test_loss_over_a_header_is_mended_at_the_next_plausible_segment() -> None:
    pieces = [do_piece(index, 0, bytes([index]) * 1000) for index in range(5)]
    stream = HELLO + b"".join(pieces)
    starts = [75 + 1013 * index for index in range(5)]
    segments = [s for s in cut(stream, *starts) if s[0] != starts[1]]
    told = play(tape_of(segments))
    assert [m[3] for m in told.said()[1:]] == [0, 2, 3, 4]
    assert told.weird[WEIRDS.index("resynchronised")] == 1


def test_loss_over_a_header_does_not_last() -> None:
    pieces = [do_piece(index, 0, bytes([index]) * 1000) for index in range(8)]
    stream = HELLO + b"".join(pieces)
    starts = [75 + 1013 * index for index in range(8)]
    segments = [s for s in cut(stream, *starts) if s[0] not in {starts[1], starts[4]}]
    indexes = [m[3] for m in play(tape_of(segments)).said()[1:]]
    assert set(indexes) >= {0, 3, 6, 7}
    assert indexes == sorted(set(indexes) - {1, 4})


def test_two_connections_do_not_mix() -> None:
    one, two = Tape(orig_port=1, step_ms=10).open(), Tape(orig_port=2, step_ms=10, start_ns=Tape().start_ns + 1).open()
    for at, payload in cut(TALK, *range(1, len(TALK), 50)):
        one.orig(at, payload)
        two.orig(at, payload)
    told = play(one.frames + two.frames)
    assert len(told.handshakes) == 2
    for flow in (0, 1):
        mine = told.messages[told.messages["flow"] == flow]
        assert [int(m["kind"]) for m in mine if m["kind"] != 253] == [row[2] for row in expected()]


def test_a_slot_used_again_starts_afresh() -> None:
    first = Tape().open().orig(0, HELLO + do_piece_header(0, 0, 1 << 20))  # a body is awaited
    again = Tape(isn=(5, 6), start_ns=Tape().start_ns + 10**10).open().orig(0, do_handshake(b"\xbb" * 32) + do_have(1))
    told = play(first.frames + again.frames)
    assert [int(m["kind"]) for m in told.messages if m["flow"] == 1] == [253, KIND_HANDSHAKE, 4]
    assert bytes(told.handshakes[1]["swarm_hash"]) == b"\xbb" * 32


def test_a_bitfield_over_two_segments_counts_all_its_bits() -> None:
    stream = HELLO + do_bitfield(range(4000), 5000)
    assert said(stream, 300) == [SHAKE, (ORIG, 75, 5, 4000, 5000, 626)]


# --- lengths ---
@pytest.mark.parametrize(
    ("kind", "length", "fine"),
    [
        *((kind, 1, True) for kind in range(4)),
        *((kind, 2, False) for kind in range(4)),
        (4, 5, True), (4, 4, False), (4, 6, False), (4, 1, False),
        (5, 1, True), (5, 100, True), (5, DO_MESSAGE_MAX, True), (5, DO_MESSAGE_MAX + 1, False),
        (6, 13, True), (6, 12, False), (6, 14, False),
        (7, 9, False), (7, 10, True), (7, DO_MESSAGE_MAX, True), (7, DO_MESSAGE_MAX + 1, False), (7, 0xFFFFFFFF, False),
        (8, 13, True), (8, 17, False),
        (20, 1, True), (20, DO_MESSAGE_MAX, True), (20, DO_MESSAGE_MAX + 1, False),
        (21, 1, True), (255, 0x80000000, False),
    ],
)  # fmt: skip
def test_which_lengths_an_id_allows(kind: int, length: int, *, fine: bool) -> None:
    told = play(tape_of([(0, HELLO), (75, do_message(kind, bytes(16), length=length))]))
    assert (len(told.said()) > 1) is fine
    assert told.weird[WEIRDS.index("bad_message_length")] == (0 if fine else 1)
    assert told.verdicts() == (["do"] if fine else ["do", "do_malformed"])


def test_a_late_impossible_length_is_counted_but_the_verdict_stays() -> None:
    stream = HELLO + do_have(1) + do_have(2) + do_have(3) + do_message(4, b"oops", length=77)
    told = play(tape_of([(0, stream)]))
    assert told.verdicts() == ["do"]
    assert told.weird[WEIRDS.index("bad_message_length")] == 1


# --- verdicts ---
SECRET = bytes((i * 73 + 41) % 251 for i in range(600))
VERDICTS: list[tuple[str, bytes]] = [
    ("http", b"GET /files/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("http", b"POST / HTTP/1.0\r\n"),
    ("http", b"HTTP/1.1 200 OK\r\n"),
    ("http", b"PROPFIND /x HTTP/1.1\r\n"),
    ("http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("tls", bytes.fromhex("160301020001") + bytes(40)),
    ("tls", bytes.fromhex("1603030040020000") + bytes(40)),
    ("tls", bytes.fromhex("170303001080") + bytes(16)),
    ("ssh", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("smb", bytes.fromhex("00000054ff534d4272000000") + bytes(30)),
    ("smb", bytes.fromhex("000000aefe534d4240000000") + bytes(60)),
    ("smb", bytes.fromhex("000000aefd534d42") + bytes(60)),
    ("rdp", bytes.fromhex("030000130ee000000000000100080003000000")),
    ("socks", bytes.fromhex("05020002")),
    ("socks", bytes.fromhex("0401005063ccb02600")),
    ("bittorrent", b"\x13BitTorrent protocol" + bytes(48)),
    ("dns", bytes.fromhex("001d1234010000010000000000000377777706676f6f676c6503636f6d0000010001")),
    ("opaque", SECRET),
    ("opaque", b"GETAWAY WITH MORE THAN SIXTEEN BYTES"),
    ("opaque", bytes(16) + SECRET),
    ("opaque", bytes.fromhex("16090102000100") + SECRET),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "first"), VERDICTS, ids=[f"{v}-{b[:6].hex()}" for v, b in VERDICTS])
@pytest.mark.parametrize("side", [ORIG, RESP])
def test_what_first_bytes_speak(verdict: str, first: bytes, side: int) -> None:
    told = play(tape_of([(0, first)], side))
    assert told.verdicts() == [verdict]
    assert told.said() == []


def test_the_shortest_socks_greeting() -> None:
    tape = tape_of([(0, bytes.fromhex("050100"))]).resp(0, bytes.fromhex("0500"))
    assert play(tape.orig(3, bytes.fromhex("05010001c0000201") + b"\x1e\0")).verdicts() == ["socks"]


@pytest.mark.parametrize(
    "first",
    [b"G", b"GET", b"\x16\x03\x01\x02", b"HTTP", b"\0\0\0\0", bytes(15), b"\x0eSwarm", b"Swarm protocol", SECRET[:15]],
)
def test_too_little_to_say(first: bytes) -> None:
    assert play(tape_of([(0, first)])).verdicts() == []


@pytest.mark.parametrize(
    "verdict",
    [
        "http", "tls", "ssh", "smb", "rdp", "dns",
        "bittorrent",
    ],
)  # fmt: skip
def test_first_bytes_may_come_in_pieces(verdict: str) -> None:
    first = next(data for name, data in VERDICTS if name == verdict)
    assert play(tape_of(cut(first, *range(1, len(first))))).verdicts() == [verdict]


def test_the_other_side_can_name_what_one_left_open() -> None:
    tape = tape_of([(0, SECRET)]).resp(0, b"SSH-2.0-x\r\n")
    assert play(tape).verdicts() == ["opaque", "ssh"]
    tape = tape_of([(0, b"SSH-2.0-x\r\n")]).resp(0, SECRET)
    assert play(tape).verdicts() == ["ssh"]


def test_a_name_once_given_stays() -> None:
    tape = tape_of([(0, b"GET / HTTP/1.1\r\n")]).resp(0, b"SSH-2.0-x\r\n")
    assert play(tape).verdicts() == ["http"]


def test_a_segment_that_wireshark_would_take_for_a_handshake() -> None:
    # 61 bytes whose first is 0: a bitfield of 56 bytes. The literal name is what makes a handshake.
    bitfield = do_bitfield(range(441), 448)
    assert len(bitfield) == 61
    told = play(tape_of([(0, HELLO), (75, bitfield)]))
    assert told.said() == [SHAKE, (ORIG, 75, 5, 441, 448, 57)]
    assert len(told.handshakes) == 1
    alone = play(tape_of([(0, bitfield)]))
    assert len(alone.handshakes) == 0


def test_four_zero_bytes_alone_are_nothing() -> None:
    # As in midstream-keepalive.pcap; other tools tag any stream that begins so.
    told = play(tape_of([(0, do_keepalive())], RESP, opened=False))
    assert told.verdicts() == []


def test_a_flow_met_in_its_middle_is_do_after_three_messages() -> None:
    segments, at = [], 5000
    for message in (do_have(1), do_request(2), do_have(3), do_have(4)):
        segments.append((at, message))
        at += len(message)
    told = play(tape_of(segments, opened=False))
    assert [m[3] for m in told.said()] == [1, 2, 3, 4]
    assert told.verdicts() == ["do"]
    assert told.messages["kind"].tolist() == [4, 6, 4, 253, 4]


def test_random_data_met_in_its_middle_stays_unnamed() -> None:
    rng = np.random.default_rng(7)
    segments = [(5000 + 1000 * n, rng.integers(0, 256, 1000, dtype=np.uint8).tobytes()) for n in range(300)]
    told = play(tape_of(segments, opened=False))
    assert told.verdicts() == []


@pytest.mark.parametrize("kind", ["retransmitted", "reset", "copy"])
def test_what_adds_nothing_to_the_stream_says_nothing(kind: str) -> None:
    tape = tape_of([(0, HELLO), (75, do_have(1))])
    if kind == "retransmitted":
        tape.orig(75, do_have(1))
    elif kind == "reset":
        tape.send(ORIG, 84, do_have(2), flags=4)
    frames = [*tape.frames, (tape.frames[-1][0] + 10, tape.frames[-1][1])] if kind == "copy" else tape.frames
    assert play(frames).said() == [SHAKE, (ORIG, 75, 4, 1, 0, 5)]


def test_a_retransmission_with_more_at_its_end() -> None:
    stream = HELLO + do_have(1) + do_have(2)
    tape = tape_of([(0, stream[:80]), (60, stream[60:])])
    assert play(tape).said() == said(stream)


# --- the kernel itself ---
def followed(run: Any, room: int) -> list[Any]:
    """Run the kernel until it is done, with room for so many messages, and return all that it wrote."""
    tape = tape_of(cut(TALK + SECRET, *range(3, len(TALK), 37)))
    for at, payload in cut(b"GET / HTTP/1.1\r\n\r\n", 2, 9):
        tape.resp(at, payload)
    told = play(tape)
    data = np.frombuffer(b"\xcc\xcc\xcc" + b"".join(frame for _, frame in tape.frames), dtype=np.uint8)
    streams = np.zeros(4, dtype=framing.STREAM)
    streams["flow"] = -1
    weird = np.zeros(len(WEIRDS), dtype=np.int64)
    at, rows = 0, []
    while at < len(told.packets):
        messages, shakes, done = Messages.empty(room), Handshakes.empty(20), np.zeros(2, dtype=np.int64)
        at = run(following(told, data, at, streams, [messages, shakes, done, weird]))
        rows.append((messages[: done[0]].tobytes(), shakes[: done[1]].tobytes()))
    return [b"".join(r[0] for r in rows), b"".join(r[1] for r in rows), streams.tobytes(), weird.tolist()]


def test_the_kernel_gives_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = followed(lambda arrays: framing.follow(*arrays), 4000)
    plain = followed(lambda arrays: run_as_python(framing.follow, framing, monkeypatch, arrays), 4000)
    assert plain == compiled


def test_little_room_for_messages_makes_no_difference() -> None:
    assert followed(lambda a: framing.follow(*a), 400) == followed(lambda a: framing.follow(*a), 4000)

"""The samples' TCP/IP: headers, checksums, and that two ends behave as two ends do."""

from __future__ import annotations

import pytest

from sensor.samples.frames import ORIG, RESP, Frame, Host, Segment, render
from sensor.samples.stack import MS, SECOND, Conversation, Path, Tape

A, B = Host("10.1.0.5"), Host("10.1.0.9")
A6, B6 = Host("2001:db8::5"), Host("2001:db8::9")
START = 1_780_000_000 * SECOND
UNCUT = 262144


def conversation(orig: Host = A, resp: Host = B, path: Path = Path()) -> tuple[Tape, Conversation]:  # noqa: B008
    tape = Tape("test")
    return tape, Conversation(tape, orig, resp, START, path)


def in_order(tape: Tape) -> list[Segment]:
    return sorted(tape.segments, key=lambda segment: segment.ts_ns)


def test_three_way_handshake() -> None:
    tape, tcp = conversation(path=Path(rtt_ns=10 * MS))
    tcp.connect()
    syn, answer, ack = tape.segments
    assert [segment.flags for segment in (syn, answer, ack)] == [0x02, 0x12, 0x10]
    assert (answer.ack, ack.seq, ack.ack) == (syn.seq + 1, syn.seq + 1, answer.seq + 1)
    assert 4.5 * MS <= answer.ts_ns - syn.ts_ns <= 5.5 * MS
    assert (syn.window, ack.window) == (65535, 255)
    assert tcp.state == "S1"


def test_every_second_segment_is_acknowledged_and_the_last_one_late() -> None:
    tape, tcp = conversation()
    tcp.connect()
    tcp.send(ORIG, b"", 5 * 1460)
    tcp.settle()
    first = tape.segments[3].seq
    answers = [segment for segment in in_order(tape)[3:] if segment.side == RESP]
    assert [segment.ack - first for segment in answers] == [2 * 1460, 4 * 1460, 5 * 1460]
    last_data = max(segment.ts_ns for segment in tape.segments if segment.fill)
    assert 41 * MS < answers[-1].ts_ns - last_data < 51 * MS


def test_an_answer_carries_the_acknowledgement() -> None:
    tape, tcp = conversation()
    tcp.connect()
    tcp.send(ORIG, b"question")
    tcp.send(RESP, b"answer")
    tcp.settle()
    question, answer, ack = tape.segments[3:]
    assert (answer.head, answer.ack) == (b"answer", question.seq + 8)
    assert (ack.side, ack.head, ack.ack) == (ORIG, b"", answer.seq + 6)


def test_push_is_on_the_last_segment_of_a_send() -> None:
    tape, tcp = conversation()
    tcp.connect()
    tcp.send(ORIG, b"x" * 13, 3000)
    data = [segment for segment in tape.segments if segment.payload_bytes]
    assert [(len(segment.head), segment.fill, bool(segment.flags & 0x08)) for segment in data] == [
        (13, 1447, False),
        (0, 1460, False),
        (0, 93, True),
    ]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("merged", [1, 44])
def test_the_receivers_window_is_respected(merged: int, old: bool) -> None:  # noqa: FBT001
    orig, resp = (Host(host.ip, syn_window=64240 if old else 65535) for host in (A, B))
    tape, tcp = conversation(orig, resp, Path(rtt_ns=100 * MS, bytes_per_s=50_000_000, merged=merged))
    tcp.connect()
    tcp.send(RESP, b"", 6_000_000)
    limit, stalls, previous = 0, 0, 0
    for segment in in_order(tape)[2:]:
        if segment.side == ORIG:
            limit = segment.ack + (segment.window << 8)
        else:
            assert segment.seq + segment.payload_bytes <= limit
            stalls += segment.ts_ns - previous > 40 * MS
            previous = segment.ts_ns
    assert stalls > 2, "a window of 64 KiB must hold 6 MB back on a path of 100 ms"


def test_one_sides_packets_are_in_order_without_holes() -> None:
    tape, tcp = conversation(path=Path(rtt_ns=30 * MS))
    tcp.connect()
    for turn in range(20):
        tcp.send(turn % 2, b"a message", 3000 * turn)
    tcp.close(ORIG)
    expected: dict[int, int] = {}
    for segment in in_order(tape):
        assert segment.seq == expected.get(segment.side, segment.seq)
        expected[segment.side] = segment.seq + segment.payload_bytes + bool(segment.flags & 0x03)
    heard = {side: max(s.ack for s in tape.segments if s.side != side) for side in (ORIG, RESP)}
    assert heard == expected


def test_sequence_numbers_wrap() -> None:
    tape, tcp = conversation()
    tcp._sides[ORIG].seq = 2**32 - 2
    tcp.connect()
    tcp.send(ORIG, b"four" * 10)
    tcp.settle()
    assert [segment.seq for segment in tape.segments if segment.side == ORIG] == [2**32 - 2, 2**32 - 1, 2**32 - 1]
    assert tape.segments[-1].ack == 39
    assert len(render(tape.segments, 160)) == 5


def test_a_lost_segment_is_sent_again_before_anyone_answers() -> None:
    tape, tcp = conversation()
    tcp.connect()
    tcp.send(ORIG, b"handshake", again_after_ns=300 * MS)
    tcp.send(RESP, b"answer")
    first, second, answer = tape.segments[3:]
    assert (first.seq, first.head) == (second.seq, second.head)
    assert second.ts_ns - first.ts_ns >= 300 * MS
    assert answer.ack == first.seq + 9


def test_a_silent_peer_gets_five_syns() -> None:
    tape, tcp = conversation()
    tcp.knock()
    offsets = [(segment.ts_ns - START) / SECOND for segment in tape.segments]
    assert offsets == pytest.approx([0, 1, 3, 7, 15], abs=0.013)
    assert len({segment.seq for segment in tape.segments}) == 1
    assert tcp.state == "S0"


def test_a_refused_peer_gets_five_syns_half_a_second_apart() -> None:
    tape, tcp = conversation()
    tcp.be_refused()
    syns, resets = tape.segments[::2], tape.segments[1::2]
    assert [(s.ts_ns - START) / SECOND for s in syns] == pytest.approx([0, 0.5, 1, 1.5, 2], abs=0.013)
    assert {(s.flags, s.seq, s.ack) for s in resets} == {(0x14, 0, syns[0].seq + 1)}
    assert tcp.state == "REJ"


@pytest.mark.parametrize("side", [ORIG, RESP])
def test_four_packets_close_and_one_resets(side: int) -> None:
    tape, tcp = conversation()
    tcp.connect()
    tcp.close(side)
    assert [(s.side, s.flags) for s in tape.segments[3:]] == [(side, 17), (1 - side, 16), (1 - side, 17), (side, 16)]
    tape, tcp = conversation()
    tcp.connect()
    tcp.reset(side)
    assert [(s.side, s.flags, s.window) for s in tape.segments[3:]] == [(side, 0x14, 0)]
    assert tcp.state == ("RSTO", "RSTR")[side]


def test_the_same_seed_gives_the_same_bytes() -> None:
    def play(seed: str) -> list[Frame]:
        tape = Tape(seed)
        tcp = Conversation(tape, A, B, START, Path())
        tcp.connect()
        tcp.send(ORIG, b"hello", 4000)
        tcp.close(RESP)
        return render(tape.segments, 160)

    assert play("one") == play("one")
    assert play("one") != play("two")


def test_times_have_the_clocks_resolution() -> None:
    for quantum in (1, 1000):
        tape = Tape("clock", quantum_ns=quantum)
        tcp = Conversation(tape, A, B, START, Path())
        tcp.connect()
        rests = {segment.ts_ns % 1000 for segment in tape.segments}
        assert (rests == {0}) == (quantum == 1000)

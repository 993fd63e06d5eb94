"""The samples' TCP/IP: headers, checksums, and that two ends behave as two ends do."""

from __future__ import annotations

import struct
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.samples.stack import (
    FILL,
    MS,
    ORIG,
    RESP,
    SECOND,
    Conversation,
    Frame,
    Host,
    Path,
    Segment,
    Tape,
    payload_sum,
    render,
)
from tests import builders as build

A, B = Host("10.1.0.5"), Host("10.1.0.9")
A6, B6 = Host("2001:db8::5"), Host("2001:db8::9")
START = 1_780_000_000 * SECOND
UNCUT = 262144


def conversation(orig: Host = A, resp: Host = B, path: Path = Path()) -> tuple[Tape, Conversation]:  # noqa: B008
    tape = Tape("test")
    return tape, Conversation(tape, orig, resp, START, path)


def in_order(tape: Tape) -> list[Segment]:
    return sorted(tape.segments, key=lambda segment: segment.ts_ns)


@given(head=st.binary(max_size=40), fill=st.integers(0, 4000))
def test_sum_of_head_and_fill_is_that_of_the_bytes(head: bytes, fill: int) -> None:
    expected = ~build.checksum(head + bytes([FILL]) * fill) & 0xFFFF
    assert payload_sum(head, fill) in {expected, expected % 0xFFFF}


@pytest.mark.parametrize(("orig", "resp"), [(A, B), (A6, B6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("vlans", [(), (10,), (100, 20)], ids=["untagged", "vlan", "qinq"])
def test_every_checksum_is_right(orig: Host, resp: Host, vlans: tuple[int, ...]) -> None:
    tape, tcp = conversation(orig, resp, Path(vlans=vlans, merged=3))
    tcp.connect()
    tcp.send(ORIG, b"odd head", 5000)
    tcp.send(RESP, b"even one", 5001)
    tcp.send(ORIG, b"alone")
    tcp.close(RESP)
    frames = render(tape.segments, UNCUT)
    assert len(frames) == len(tape.segments)
    for frame in frames:
        packet = frame.data[14 + 4 * len(vlans) :]
        if orig is A:
            assert build.checksum(packet[:20]) == 0
            size = struct.unpack(">H", packet[2:4])[0] - 20
            pseudo, segment = packet[12:20] + struct.pack(">HH", 6, size), packet[20 : 20 + size]
        else:
            size = struct.unpack(">H", packet[4:6])[0]
            pseudo, segment = packet[8:40] + struct.pack(">II", size, 6), packet[40 : 40 + size]
        assert build.checksum(pseudo + segment) == 0


def test_a_syn_is_this_frame() -> None:
    tape, tcp = conversation(path=Path(vlans=(100, 20)))
    tcp.knock((0,))
    (frame,) = render(tape.segments, UNCUT)
    seq, ident = tape.segments[0].seq, struct.unpack(">H", frame.data[26:28])[0]
    port = tape.segments[0].link.orig_port
    segment = build.tcp(port, 7680, seq=seq, flags=build.SYN, window=65535, options=build.syn_options())
    expected = build.ethernet(
        build.ipv4("10.1.0.5", "10.1.0.9", segment, ident=ident),
        vlans=(build.vlan(100, tpid=build.QINQ), build.vlan(20)),
        src=A.mac,
        dst=B.mac,
    )
    assert frame.data == expected
    assert 49152 <= port <= 65535


def test_an_ipv6_frame_is_this_one_but_for_its_flow_label() -> None:
    tape, tcp = conversation(A6, B6)
    tcp.knock((0,))
    (frame,) = render(tape.segments, UNCUT)
    syn = tape.segments[0]
    segment = build.tcp(
        syn.link.orig_port, 7680, seq=syn.seq, flags=build.SYN, window=65535, options=build.syn_options(mss=1440)
    )
    expected = build.ethernet(build.ipv6("2001:db8::5", "2001:db8::9", segment), src=A6.mac, dst=B6.mac)
    assert frame.data[:15] == expected[:15]
    assert frame.data[18:] == expected[18:]


def test_a_cut_frame_is_the_beginning_of_the_whole_one() -> None:
    tape, tcp = conversation(path=Path(merged=44))
    tcp.connect()
    tcp.send(RESP, b"h" * 13, 100_000)
    whole, cut = render(tape.segments, UNCUT), render(tape.segments, 160)
    assert [frame.data[:160] for frame in whole] == [frame.data for frame in cut]
    assert [frame.wire_bytes for frame in cut] == [len(frame.data) for frame in whole]
    assert max(frame.wire_bytes for frame in cut) == 14 + 20 + 20 + 44 * 1460


def test_short_frames_are_padded_to_60_bytes() -> None:
    tape, tcp = conversation()
    tcp.connect()
    tcp.send(ORIG, b"\0\0\0\0")
    *_, ack, keepalive = render(tape.segments, 160)
    assert (len(ack.data), ack.data[-6:], ack.wire_bytes) == (60, bytes(6), 60)
    assert (len(keepalive.data), keepalive.data[16:18]) == (60, b"\x00\x2c")  # the IP length says 44: 4 bytes payload


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


def test_ip_identifications_count_per_pair_of_hosts() -> None:
    tape, tcp = conversation()
    tcp.connect()
    other = Conversation(tape, A, Host("10.1.0.77"), START + 1000, Path())
    other.knock((0, 1, 2))
    ids: dict[bytes, list[int]] = {}
    for frame in render(tape.segments, 160):
        ids.setdefault(frame.data[26:34], []).append(struct.unpack(">H", frame.data[18:20])[0])
    assert {len(found) for found in ids.values()} == {1, 2, 3}
    for found in ids.values():
        assert found == [(found[0] + step) % 65536 for step in range(len(found))]


def test_a_host_behind_a_router_has_its_mac_and_fewer_hops_to_live() -> None:
    one, other = B.behind("router"), Host("10.3.0.1").behind("router", hops=3)
    assert one.mac == other.mac != B.mac
    assert (B.ttl, one.ttl, other.ttl) == (128, 127, 125)
    tape, tcp = conversation(A, other)
    tcp.connect()
    frames = render(tape.segments, 160)
    assert [frame.data[22] for frame in frames] == [128, 125, 128]
    assert Counter(frame.data[0] & 3 for frame in frames) == {2: 3}  # local, not multicast


def test_addresses_are_packed() -> None:
    assert A.packed == IPv4Address("10.1.0.5").packed
    assert A6.packed == IPv6Address("2001:db8::5").packed


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

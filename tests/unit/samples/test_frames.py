"""Frames of the samples: headers, lengths and checksums against builders that share no code with them."""

from __future__ import annotations

import struct
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.samples.frames import FILL, ORIG, RESP, Host, payload_sum, render
from sensor.samples.stack import SECOND, Conversation, Path, Tape
from tests import builders as build

A, B = Host("10.1.0.5"), Host("10.1.0.9")
A6, B6 = Host("2001:db8::5"), Host("2001:db8::9")
START = 1_780_000_000 * SECOND
UNCUT = 262144


def conversation(orig: Host = A, resp: Host = B, path: Path = Path()) -> tuple[Tape, Conversation]:  # noqa: B008
    tape = Tape("test")
    return tape, Conversation(tape, orig, resp, START, path)


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

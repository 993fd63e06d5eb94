"""The fast lane, frame by frame: what becomes a row, what is set aside for the slow lane, what is passed over."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensor.kernels import headers
from sensor.schema import WEIRD_BIT, WEIRDS, Frames, Packets
from tests.builders import ACK, PSH, RST, SYN, ethernet, ipv4, ipv6, sll, sll2, syn_options, tcp, vlan
from tests.streams import batch_of, run_as_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.schema import Rows

NONE_KNOWN = np.zeros(1, dtype=np.uint64)
ROW, ODD, PASSED = "row", "odd", "passed"
T0 = 1_773_144_000_123_456_789
V4 = ipv4("10.1.0.5", "10.2.0.6", tcp(50000, 7680, b"payload", seq=7, ack=9, flags=ACK | PSH, window=513), ident=77)
V6 = ipv6("2001:db8::1", "fe80::2", tcp(7680, 50000, b"xy", seq=2**32 - 1, flags=RST), hop_limit=64)


def decode(
    frame: bytes, link: int = 1, *, wire: int | None = None, port: int = 7680
) -> tuple[str, dict[str, int], dict[str, int]]:
    """Return which way one frame went, its row, and the weirds that were counted for it."""
    made = batch_of([(T0, frame, len(frame) if wire is None else wire)], link)
    out, odd = Packets.empty(1), np.full(1, -1, dtype=np.int64)
    counts = np.zeros(1 + len(WEIRDS), dtype=np.int64)
    found = headers.decode_frames(made.frames, made.data, port, NONE_KNOWN, out, odd, counts)
    assert found + counts[0] <= 1
    way = ROW if found else ODD if counts[0] else PASSED
    if way == ODD:
        assert odd.tolist() == [0]
        assert not counts[1:].any()
    row = {name: int(out[name][0]) for name in Packets.names()} if found else {}
    return way, row, {name: int(count) for name, count in zip(WEIRDS, counts[1:], strict=True) if count}


# --- a row ---
def test_every_column_of_an_ipv4_packet() -> None:
    frame = ethernet(V4)
    way, row, weird = decode(frame)
    assert (way, weird) == (ROW, {})
    assert (
        row
        == {
            "ts_ns": T0,
            "src_hi": 0,
            "src_lo": 0xFFFF_0A01_0005,
            "dst_hi": 0,
            "dst_lo": 0xFFFF_0A02_0006,
            "number": 1,
            "offset": 24,
            "payload_at": 3 + 14 + 20 + 20,  # the batch begins with three other bytes
            "input": 0,
            "wire_bytes": 61,
            "ip_bytes": 47,
            "payload_bytes": 7,
            "payload_captured": 7,
            "seq": 7,
            "ack": 9,
            "weird": 0,
            "src_port": 50000,
            "dst_port": 7680,
            "ip_id": 77,
            "tcp_checksum": int.from_bytes(frame[50:52], "big"),
            "tcp_window": 513,
            "vlan": 0,
            "vlan_inner": 0,
            "flags": 0x18,
            "ip_version": 4,
            "ttl": 128,
            "tunnel": 0,
        }
    )


def test_an_ipv6_packet() -> None:
    way, row, _ = decode(ethernet(V6))
    assert way == ROW
    assert (row["src_hi"], row["src_lo"]) == (0x2001_0DB8_0000_0000, 1)
    assert (row["dst_hi"], row["dst_lo"]) == (0xFE80_0000_0000_0000, 2)
    assert (row["ip_version"], row["ttl"], row["ip_id"]) == (6, 64, 0)
    assert (row["ip_bytes"], row["payload_bytes"], row["seq"]) == (62, 2, 2**32 - 1)


def test_without_the_flag_the_acknowledgement_is_nothing() -> None:
    assert decode(ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, ack=5, flags=SYN))))[1]["ack"] == 0


def test_options_of_both_headers() -> None:
    packet = ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, b"abc", options=syn_options()), options=b"\x94\x04\0\0")
    row = decode(ethernet(packet))[1]
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_at"]) == (24 + 32 + 3, 3, 3 + 14 + 24 + 32)


# --- link types ---
@pytest.mark.parametrize(
    ("link", "head"),
    [
        (1, ethernet),
        (113, sll),
        (276, sll2),
        (101, bytes),
        (228, bytes),
        (229, bytes),
    ],
)
@pytest.mark.parametrize("packet", [V4, V6])
def test_links_of_the_fast_lane(link: int, head: Callable[[bytes], bytes], packet: bytes) -> None:
    frame = head(packet)
    way, row, _ = decode(frame, link)
    assert way == ROW
    assert row["payload_at"] == 3 + len(frame) - row["payload_bytes"]
    assert row["ip_bytes"] == len(packet)


@pytest.mark.parametrize("link", [0, 9, 105, 108, 147, 2**31 - 1, -1])
def test_other_links_are_for_the_slow_lane(link: int) -> None:
    assert decode(ethernet(V4), link)[0] == ODD


@pytest.mark.parametrize(("link", "least"), [(1, 14), (113, 16), (276, 20), (101, 1)])
def test_runts_are_for_the_slow_lane(link: int, least: int) -> None:
    assert [decode(bytes(size), link)[0] for size in range(least)] == [ODD] * least


# --- VLAN tags ---
@pytest.mark.parametrize("tpid", [0x8100, 0x88A8, 0x9100])
@pytest.mark.parametrize(("link", "head"), [(1, ethernet), (113, sll)])
def test_one_tag(tpid: int, link: int, head: Any) -> None:
    tag = struct.pack(">HH", 0xE123, 0x0800)  # priority 7 is no part of the id
    row = decode(head(tag + V4, ethertype=tpid), link)[1]
    assert (row["vlan"], row["vlan_inner"], row["payload_bytes"]) == (0x123, 0, 7)


def test_two_tags() -> None:
    row = decode(ethernet(V4, vlans=(vlan(100, tpid=0x88A8), vlan(4095, priority=5))))[1]
    assert (row["vlan"], row["vlan_inner"], row["wire_bytes"], row["ip_bytes"]) == (100, 4095, 69, 47)


def test_three_tags_are_for_the_slow_lane() -> None:
    assert decode(ethernet(V4, vlans=[vlan(1), vlan(2), vlan(3)]))[0] == ODD


@pytest.mark.parametrize("size", [14, 16, 17, 18, 21])
def test_a_cut_tag_is_for_the_slow_lane(size: int) -> None:
    frame = ethernet(V4, vlans=(vlan(1), vlan(2)))
    assert decode(frame[:size], wire=len(frame))[0] == ODD


# --- what is not plain TCP ---
@pytest.mark.parametrize(
    ("ethertype", "way"),
    [
        (0x0806, PASSED),  # ARP
        (0x88CC, PASSED),  # LLDP
        (0x05DC, ODD),  # an LLC length
        (0x0600, PASSED),
        (0x8864, ODD),  # PPPoE
        (0x8847, ODD),  # MPLS
        (0x8848, ODD),
    ],
)
def test_ethertypes(ethertype: int, way: str) -> None:
    assert decode(ethernet(bytes(60), ethertype=ethertype))[0] == way


@pytest.mark.parametrize(
    ("proto", "way"), [(1, PASSED), (17, PASSED), (6, ROW), (4, ODD), (41, ODD), (47, ODD), (51, ODD), (137, ODD)]
)
def test_protocols_over_ipv4(proto: int, way: str) -> None:
    assert decode(ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680), proto=proto)))[0] == way


@pytest.mark.parametrize(
    ("following", "way"),
    [(58, PASSED), (17, PASSED), (59, PASSED), (6, ROW)]
    + [(number, ODD) for number in (0, 4, 41, 43, 44, 47, 51, 60, 135, 137, 139, 140)],
)
def test_what_follows_an_ipv6_header(following: int, way: str) -> None:
    assert decode(ethernet(ipv6("::1", "::2", tcp(1, 7680), next_header=following)))[0] == way


@pytest.mark.parametrize(
    ("field", "way"),
    [(0x4000, ROW), (0x8000, ROW), (0x0000, ROW), (0x2000, ODD), (0x0001, ODD), (0x1FFF, ODD)],
)
def test_fragments_are_for_the_slow_lane(field: int, way: str) -> None:
    assert decode(ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680), fragment=field)))[0] == way


def test_a_version_that_is_not_that_of_the_ethertype_is_for_the_slow_lane() -> None:
    assert decode(ethernet(V6, ethertype=0x0800))[0] == ODD
    assert decode(ethernet(V4, ethertype=0x86DD))[0] == ODD
    assert decode(b"\x75" + bytes(60), 101)[0] == ODD


# --- the port ---
@pytest.mark.parametrize(
    ("ports", "port", "way"),
    [
        ((50000, 7680), 7680, ROW),
        ((7680, 50000), 7680, ROW),
        ((50000, 443), 7680, PASSED),
        ((50000, 443), 443, ROW),
        ((50000, 443), 0, ROW),
    ],
)
@pytest.mark.parametrize("ends", [("10.0.0.1", "10.0.0.2", ipv4), ("::1", "::2", ipv6)])
def test_the_watched_port(ends: Any, ports: tuple[int, int], port: int, way: str) -> None:
    src, dst, head = ends
    assert decode(ethernet(head(src, dst, tcp(*ports))), port=port)[0] == way


def test_of_another_port_a_cut_header_is_not_counted() -> None:
    frame = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(50000, 443)))[:40]
    assert decode(frame, wire=54) == (PASSED, {}, {})


# --- lengths ---
def test_padding_is_no_payload() -> None:
    row = decode(ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, b"1234")), pad=True))[1]
    assert (row["wire_bytes"], row["ip_bytes"], row["payload_bytes"], row["payload_captured"]) == (60, 44, 4, 4)


def test_what_the_capture_cut_off_still_counts() -> None:
    frame = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, bytes(1000))))
    way, row, weird = decode(frame[:64], wire=len(frame))
    assert (way, weird, row["weird"]) == (ROW, {}, 0)
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_captured"]) == (1040, 1000, 10)


@pytest.mark.parametrize("head", [("10.0.0.1", "10.0.0.2", ipv4), ("::1", "::2", ipv6)])
def test_length_zero_means_that_of_the_frame(head: Any) -> None:
    src, dst, build = head
    frame = ethernet(build(src, dst, tcp(1, 7680, bytes(100)), total=0))
    row = decode(frame)[1]
    assert (row["ip_bytes"], row["payload_bytes"]) == (len(frame) - 14, 100)
    assert row["weird"] == WEIRD_BIT["tso_length"]


@pytest.mark.parametrize("head", [("10.0.0.1", "10.0.0.2", ipv4), ("::1", "::2", ipv6)])
def test_a_length_beyond_the_wire_is_cut_and_weird(head: Any) -> None:
    src, dst, build = head
    frame = ethernet(build(src, dst, tcp(1, 7680, bytes(100)), total=5000))
    row = decode(frame)[1]
    assert (row["ip_bytes"], row["payload_bytes"]) == (len(frame) - 14, 100)
    assert row["weird"] == WEIRD_BIT["bad_ip_length"]


@pytest.mark.parametrize(
    ("packet", "weird"),
    [
        (ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680), total=39), "bad_ip_length"),
        (ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680), total=20), "bad_ip_length"),
        (b"\x44" + ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680))[1:], "bad_ip_length"),  # a header of 16 bytes
        (ipv6("::1", "::2", tcp(1, 7680), total=19), "bad_ip_length"),
        (ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, bytes(8), offset=4)), "bad_tcp_offset"),
        (ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, bytes(8), offset=8)), "bad_tcp_offset"),  # 4 bytes behind its end
        (ipv6("::1", "::2", tcp(1, 7680, offset=0)), "bad_tcp_offset"),
    ],
)
def test_lengths_that_cannot_be_give_no_row_but_a_count(packet: bytes, weird: str) -> None:
    assert decode(ethernet(packet)) == (PASSED, {}, {weird: 1})


def test_a_data_offset_that_ends_with_the_segment() -> None:
    row = decode(ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, bytes(8), offset=7))))[1]
    assert (row["payload_bytes"], row["payload_captured"], row["weird"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("size", "way", "counted"),
    [
        (33, ODD, {}),  # in the IP header
        (34, PASSED, {"cut_headers": 1}),  # before the ports: it may have been ours
        (37, PASSED, {"cut_headers": 1}),
        (53, PASSED, {"cut_headers": 1}),  # in the TCP header
        (54, ROW, {}),
    ],
)
def test_a_capture_that_cuts_the_headers(size: int, way: str, counted: dict[str, int]) -> None:
    frame = ethernet(V4)
    found = decode(frame[:size], wire=len(frame))
    assert (found[0], found[2]) == (way, counted)


def test_a_cut_in_the_tcp_options_keeps_the_row_without_payload() -> None:
    frame = ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, b"abcd", options=bytes(12))))
    row = decode(frame[:60], wire=len(frame))[1]
    assert (row["payload_bytes"], row["payload_captured"]) == (4, 0)
    assert (row["payload_at"], row["weird"]) == (3 + 60, WEIRD_BIT["cut_headers"])


# --- several frames, and frames that point outside ---
def test_rows_odd_ones_and_counts_of_many_frames() -> None:
    frames = [
        ethernet(V4),
        ethernet(bytes(40), ethertype=0x8847),
        ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(8), proto=17)),
        ethernet(V6),
        b"\0" * 5,
        ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680), total=30)),
    ]
    made = batch_of((T0 + at, frame) for at, frame in enumerate(frames))
    out, odd = Packets.empty(6), np.full(6, -1, dtype=np.int64)
    counts = np.full(1 + len(WEIRDS), 10, dtype=np.int64)
    assert headers.decode_frames(made.frames, made.data, 7680, NONE_KNOWN, out, odd, counts) == 2
    assert out["number"].tolist() == [1, 4, 0, 0, 0, 0]
    assert odd[: counts[0]].tolist() == [1, 4]
    # The first count is set, the others are added to.
    assert counts[1:].tolist() == [11 if name == "bad_ip_length" else 10 for name in WEIRDS]


@pytest.mark.parametrize(("at", "captured"), [(-1, 61), (-(2**40), 61), (2**40, 61), (30, 61), (3, 2**31 - 1)])
def test_frames_that_point_outside_the_data(at: int, captured: int) -> None:
    made = batch_of([(T0, ethernet(V4))])
    made.frames["at"], made.frames["captured_bytes"] = at, captured
    out, odd = Packets.empty(1), np.zeros(1, dtype=np.int64)
    counts = np.zeros(1 + len(WEIRDS), dtype=np.int64)
    found = headers.decode_frames(made.frames, made.data, 7680, NONE_KNOWN, out, odd, counts)
    if at == 3:
        assert (found, out["payload_captured"][0]) == (1, 7)
    else:
        assert (found, odd[: counts[0]].tolist()) == (0, [0])


def each_cut() -> list[tuple[int, bytes, int]]:
    """Return (link, frame, true length) of frames of every kind, cut at every byte."""
    listed = [
        (1, ethernet(V4, vlans=(vlan(1), vlan(2)))),
        (1, ethernet(V6, vlans=(vlan(9),))),
        (113, sll(V4)),
        (276, sll2(V6)),
        (101, V4),
        (1, ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(1, 7680, b"abcd", options=bytes(12)), total=0))),
    ]
    return [(link, frame[:size], len(frame)) for link, frame in listed for size in range(len(frame) + 1)]


def test_cut_anywhere_the_kernel_gives_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    # The last frame ends with the data, so a read behind its end is one outside the array: Python would raise.
    for link, frame, wire in each_cut():
        made = batch_of([(T0, frame, wire)], link)
        results = []
        for python in (False, True):
            out, odd = Packets.empty(1), np.zeros(1, dtype=np.int64)
            counts = np.zeros(1 + len(WEIRDS), dtype=np.int64)
            arguments: list[Any] = [made.frames, made.data, 7680, NONE_KNOWN, out, odd, counts]
            if python:
                with monkeypatch.context() as patch:
                    count = run_as_python(headers.decode_frames, headers, patch, arguments)
            else:
                count = headers.decode_frames(*arguments)
            results.append((int(count), out.tolist(), odd.tolist(), counts.tolist()))
        assert results[0] == results[1], (link, len(frame))


def test_no_frames() -> None:
    none = np.zeros(0, dtype=np.uint8)
    counts = np.ones(1 + len(WEIRDS), dtype=np.int64)
    found = headers.decode_frames(
        Frames.empty(), none, 7680, NONE_KNOWN, Packets.empty(), np.zeros(0, dtype=np.int64), counts
    )
    assert (found, counts[0]) == (0, 0)


# --- payloads ---
def rows_at(*places: tuple[int, int]) -> Rows:
    packets = Packets.empty(len(places))
    for packet, (at, captured) in zip(packets, places, strict=True):
        packet["payload_at"], packet["payload_captured"] = at, captured
    return packets


def gathered(packets: Rows, data: bytes, room_at: int, room: int) -> tuple[int, bytes, list[tuple[int, int]]]:
    out = np.full(room, ord("."), dtype=np.uint8)
    end = headers.gather_payloads(packets, np.frombuffer(data, dtype=np.uint8), room_at, out)
    return end, out.tobytes(), packets[["payload_at", "payload_captured"]].tolist()


def test_payloads_are_laid_side_by_side() -> None:
    found = gathered(rows_at((6, 2), (0, 3), (4, 0)), b"abcdefgh", 2, 9)
    assert found == (7, b"..ghabc..", [(2, 2), (4, 3), (7, 0)])


def test_payloads_that_lie_outside_become_none() -> None:
    found = gathered(rows_at((6, 3), (-1, 3), (0, -5), (5, 3)), b"abcdefgh", 0, 8)
    assert found == (3, b"fgh.....", [(0, 0), (0, 0), (0, 0), (0, 3)])


def test_payloads_that_do_not_fit_are_shortened() -> None:
    assert gathered(rows_at((0, 4), (4, 4)), b"abcdefgh", 0, 6) == (6, b"abcdef", [(0, 4), (4, 2)])


def test_gathering_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    packets, out = rows_at((6, 2), (0, 3), (7, 9)), np.zeros(20, dtype=np.uint8)
    arguments = [packets, np.frombuffer(b"abcdefgh", dtype=np.uint8), 0, out]
    assert run_as_python(headers.gather_payloads, headers, monkeypatch, arguments) == 5
    assert out.tobytes() == b"ghabc".ljust(20, b"\0")

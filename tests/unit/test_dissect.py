"""The slow lane, on frames written by hand: every link type, every length rule, every reason for no row."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.dissect import Dissection, dissect, slow_lane
from sensor.schema import WEIRD_BIT, WEIRDS, Frames

SRC4, DST4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
SRC6, DST6 = bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("fe80000000000000aaaabbbbccccdddd")
MACS = bytes(range(12))
SYN, ACK, PSH_ACK = 0x02, 0x10, 0x18


def tcp(
    payload: bytes = b"", *, flags: int = PSH_ACK, options: bytes = b"", offset: int | None = None, port: int = 7680
) -> bytes:
    words = (20 + len(options)) // 4 if offset is None else offset
    fixed = struct.pack(">HHIIBBHHH", 50000, port, 0x01020304, 0xA0B0C0D0, words << 4, flags, 64240, 0xBEEF, 0)
    return fixed + options + payload


def ipv4(
    body: bytes,
    *,
    length: int | None = None,
    fragment: int = 0,
    options: bytes = b"",
    proto: int = 6,
    head: int | None = None,
) -> bytes:
    words = 5 + len(options) // 4 if head is None else head
    total = 20 + len(options) + len(body) if length is None else length
    return (
        struct.pack(">BBHHHBBH", 0x40 | words, 0, total, 0x1234, fragment, 128, proto, 0) + SRC4 + DST4 + options + body
    )


def ipv6(body: bytes, *, following: int = 6, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">IHBB", 6 << 28, size, following, 64) + SRC6 + DST6 + body


def ethernet(body: bytes, kind: int = 0x0800, tags: bytes = b"") -> bytes:
    return MACS + tags + struct.pack(">H", kind) + body


def tag(vlan: int, kind: int = 0x8100) -> bytes:
    return struct.pack(">HH", kind, vlan)


def run(*frames: bytes, link: int = 1, wire: int | None = None, cut: int | None = None, port: int = 7680) -> Dissection:
    rows = Frames.empty(len(frames))
    data = b"\xcc" * 7  # frames do not start where the data starts
    for row, frame in zip(rows, frames, strict=True):
        kept = frame[:cut]
        row["at"], row["captured_bytes"] = len(data), len(kept)
        row["wire_bytes"] = len(frame) if wire is None else wire
        row["link_type"] = link
        data += kept
    rows["ts_ns"] = 10 + np.arange(len(frames))
    rows["number"] = 1 + np.arange(len(frames))
    rows["offset"] = 1000 + np.arange(len(frames))
    rows["input"] = 3
    return dissect(rows, np.frombuffer(data, dtype=np.uint8), port)


def only(found: Dissection) -> Any:
    assert len(found.packets) == 1
    return found.packets[0]


def nothing(found: Dissection, *weird: str) -> None:
    assert len(found.packets) == 0
    assert len(found.frame) == 0
    assert [int(bits) for bits in found.weird] == [sum(WEIRD_BIT[name] for name in weird)]


def test_every_column_of_a_plain_packet() -> None:
    frame = ethernet(ipv4(tcp(b"hello", options=b"\x01" * 12)))
    row = only(run(frame))
    assert {name: int(row[name]) for name in row.dtype.names} == {
        "ts_ns": 10, "number": 1, "offset": 1000, "input": 3,
        "src_hi": 0, "src_lo": 0xFFFF0A000001, "dst_hi": 0, "dst_lo": 0xFFFF0A000002,
        "payload_at": 7 + 14 + 20 + 32, "wire_bytes": 14 + 20 + 32 + 5, "ip_bytes": 57,
        "payload_bytes": 5, "payload_captured": 5, "seq": 0x01020304, "ack": 0xA0B0C0D0, "weird": 0,
        "src_port": 50000, "dst_port": 7680, "ip_id": 0x1234, "tcp_checksum": 0xBEEF, "tcp_window": 64240,
        "vlan": 0, "vlan_inner": 0, "flags": 0x18, "ip_version": 4, "ttl": 128,
        "tunnel": 0,
    }  # fmt: skip


def test_every_column_of_an_ipv6_packet() -> None:
    row = only(run(ethernet(ipv6(tcp(b"abc")), 0x86DD)))
    assert (int(row["src_hi"]), int(row["src_lo"])) == (0x20010DB800000000, 1)
    assert (int(row["dst_hi"]), int(row["dst_lo"])) == (0xFE80000000000000, 0xAAAABBBBCCCCDDDD)
    assert (row["ip_version"], row["ip_id"], row["ttl"], row["ip_bytes"], row["payload_bytes"]) == (6, 0, 64, 63, 3)


def test_rows_keep_the_order_and_say_their_frame() -> None:
    good = ethernet(ipv4(tcp(b"x")))
    found = run(ethernet(b"", 0x0806), good, ethernet(ipv4(tcp()[:16], fragment=0x2000)), good)
    assert found.frame.tolist() == [1, 3]
    assert found.packets["number"].tolist() == [2, 4]
    assert found.weird.tolist() == [0, 0, WEIRD_BIT["ip_fragment"], 0]


def test_no_frames() -> None:
    found = run()
    assert (len(found.packets), len(found.frame), len(found.weird)) == (0, 0, 0)


def test_only_the_watched_port_on_either_side() -> None:
    other = ethernet(ipv4(tcp(port=443)))
    nothing(run(other))
    assert only(run(other, port=443))["dst_port"] == 443
    assert only(run(other, port=50000))["src_port"] == 50000
    assert only(run(other, port=0))["dst_port"] == 443


def test_ack_is_kept_only_with_the_flag() -> None:
    assert only(run(ethernet(ipv4(tcp(flags=SYN)))))["ack"] == 0
    assert only(run(ethernet(ipv4(tcp(flags=ACK)))))["ack"] == 0xA0B0C0D0


# --- links ---------------------------------------------------------------------------------------------------------
SLL = struct.pack(">HHH8sH", 0, 1, 6, MACS[:8], 0x0800)
SLL2 = struct.pack(">HHIHBB8s", 0x86DD, 0, 1, 1, 0, 6, MACS[:8])
PPPOE = struct.pack(">BBHH", 0x11, 0, 1, 42)
MPLS1 = struct.pack(">I", 16 << 12 | 1 << 8 | 64)
MPLS2 = struct.pack(">I", 17 << 12 | 64) + MPLS1


@pytest.mark.parametrize(
    ("link", "head", "version"),
    [
        (1, MACS + b"\x08\x00", 4),
        (1, MACS + b"\x86\xdd", 6),
        (1, MACS + b"\x00\x30\xaa\xaa\x03\x00\x00\x00\x08\x00", 4),
        (1, MACS + tag(7) + b"\x00\x30\xaa\xaa\x03\x00\x00\x00\x86\xdd", 6),
        (1, MACS + b"\x88\x64" + PPPOE + b"\x00\x21", 4),
        (1, MACS + b"\x88\x64" + PPPOE + b"\x57", 6),
        (1, MACS + tag(7, 0x88A8) + tag(8) + b"\x88\x64" + PPPOE + b"\x00\x57", 6),
        (1, MACS + b"\x88\x47" + MPLS1, 4),
        (1, MACS + tag(9) + b"\x88\x48" + MPLS2, 6),
        (1, MACS + b"\x89\x09\x01\x01\x00\x01\x00\x05\x08\x00", 4),
        (1, MACS + b"\x89\x26\x80\x00\x00\x00" + tag(5) + b"\x86\xdd", 6),
        (9, b"\xff\x03\x02\x81" + MPLS2, 4),
        (9, b"\x02\x83" + MPLS1, 6),
        (0, b"\x02\x00\x00\x00", 4),
        (0, b"\x00\x00\x00\x02", 4),
        (0, b"\x1e\x00\x00\x00", 6),
        (0, b"\x00\x00\x00\x18", 6),
        (108, b"\x00\x00\x00\x02", 4),
        (108, b"\x00\x00\x00\x1c", 6),
        (9, b"\xff\x03\x00\x21", 4),
        (9, b"\x00\x57", 6),
        (9, b"\x21", 4),
        (9, b"\xff\x03\x57", 6),
        (12, b"", 4),
        (14, b"", 6),
        (101, b"", 4),
        (101, b"", 6),
        (228, b"", 4),
        (229, b"", 6),
        (113, SLL, 4),
        (113, SLL[:14] + tag(5) + b"\x86\xdd", 6),
        (276, SLL2, 6),
        (276, b"\x81\x00" + SLL2[2:] + b"\x00\x05\x08\x00", 4),
    ],
)
def test_links(link: int, head: bytes, version: int) -> None:
    body = ipv4(tcp(b"hello")) if version == 4 else ipv6(tcp(b"hello"))
    row = only(run(head + body, link=link))
    assert row["ip_version"] == version
    assert row["payload_at"] == 7 + len(head) + len(body) - 5
    assert (row["payload_bytes"], row["payload_captured"], row["weird"]) == (5, 5, 0)
    assert row["ip_bytes"] == len(body)


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(b"\x00" * 28, 0x0806)),
        (1, ethernet(ipv6(tcp()), 0x0800)),
        (1, ethernet(ipv4(tcp()), 0x86DD)),
        (1, MACS + b"\x00\x30\x42\x42\x03" + b"\x00" * 45),
        (1, MACS + b"\x88\x64" + PPPOE + b"\xc0\x21" + ipv4(tcp())),
        (1, MACS + b"\x88\x47" + MPLS1 + b"\x00" * 60),
        (1, MACS + b"\x88\x47" + struct.pack(">I", 64) * 17 + ipv4(tcp())),
        (0, b"\x07\x00\x00\x00" + ipv4(tcp())),
        (228, b"\x05" + ipv4(tcp())[1:]),
        (101, b"\x55" + ipv4(tcp())[1:]),
        (105, ipv4(tcp())),
    ],
)
def test_what_is_not_ours_leaves_no_trace(link: int, frame: bytes) -> None:
    nothing(run(frame, link=link))


def test_icmp_errors_and_udp_are_not_ours() -> None:
    quoted = ipv4(tcp(flags=SYN))
    nothing(run(ethernet(ipv4(b"\x03\x01" + b"\x00" * 6 + quoted, proto=1))))
    nothing(run(ethernet(ipv6(b"\x01\x00" + b"\x00" * 6 + quoted, following=58), 0x86DD)))
    nothing(run(ethernet(ipv4(struct.pack(">HHHH", 50000, 7680, 8, 0), proto=17))))
    nothing(run(ethernet(ipv4(struct.pack(">HHHH", 50000, 4789, 8, 0), proto=17, head=4))))
    nothing(run(ethernet(ipv4(struct.pack(">HHHH", 50000, 4789, 8, 0), proto=17)), cut=14 + 20 + 6))
    nothing(run(ethernet(ipv4(struct.pack(">HHHH", 50000, 4789, 8, 0), proto=17)), wire=100), "cut_headers")


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ([7], (7, 0)),
        ([0xE007], (7, 0)),
        ([0, 5], (0, 5)),
        ([100, 200], (100, 200)),
        ([1, 2, 3], (1, 2)),
        ([1, 2, 3, 4, 5, 6, 7, 8], (1, 2)),
    ],
)
def test_vlans(tags: list[int], wanted: tuple[int, int]) -> None:
    row = only(
        run(
            ethernet(
                ipv4(tcp(b"x")), tags=b"".join(tag(vlan, 0x88A8 if not at else 0x8100) for at, vlan in enumerate(tags))
            )
        )
    )
    assert (row["vlan"], row["vlan_inner"]) == wanted


def test_nine_tags_are_too_many() -> None:
    nothing(run(ethernet(ipv4(tcp(b"x")), tags=tag(1, 0x9100) * 9)))


# --- lengths -------------------------------------------------------------------------------------------------------
def test_padding_is_no_payload() -> None:
    row = only(run(ethernet(ipv4(tcp(b"\x00\x00\x00\x00"))) + b"\x00" * 2))
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_captured"], row["wire_bytes"]) == (44, 4, 4, 60)
    row = only(run(ethernet(ipv4(tcp())) + b"\x00" * 6))
    assert (row["payload_bytes"], row["payload_captured"], row["payload_at"]) == (0, 0, 7 + 54)


def test_length_zero_is_segmentation_offload() -> None:
    row = only(run(ethernet(ipv4(tcp(b"x" * 3000), length=0))))
    assert (row["ip_bytes"], row["payload_bytes"], row["weird"]) == (3040, 3000, WEIRD_BIT["tso_length"])
    row = only(run(ethernet(ipv6(tcp(b"x" * 70000), length=0), 0x86DD), cut=100))
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_captured"]) == (70060, 70000, 100 - 74)
    assert row["weird"] == WEIRD_BIT["tso_length"]


def test_a_length_beyond_the_frame_is_weird_and_the_frame_counts() -> None:
    row = only(run(ethernet(ipv4(tcp(b"hello"), length=1500))))
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_captured"]) == (45, 5, 5)
    assert row["weird"] == WEIRD_BIT["bad_ip_length"]
    row = only(run(ethernet(ipv6(tcp(b"hello"), length=1500), 0x86DD)))
    assert (row["ip_bytes"], row["payload_bytes"], row["weird"]) == (65, 5, WEIRD_BIT["bad_ip_length"])


def test_a_cut_capture_is_not_a_bad_length() -> None:
    row = only(run(ethernet(ipv4(tcp(b"hello"))), cut=56))
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_captured"], row["weird"]) == (45, 5, 2, 0)
    assert row["payload_at"] == 7 + 54


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(ipv4(tcp(b"x"), length=19)),
        ethernet(ipv4(tcp(b"x"), length=39)),
        ethernet(ipv4(tcp(b"x"), head=4)),
        ethernet(ipv4(tcp(b"x"), head=15)),
        ethernet(ipv4(tcp()))[:33],
        ethernet(ipv4(tcp()))[:53],
        ethernet(ipv6(tcp(b"x"), length=19), 0x86DD),
        ethernet(ipv6(tcp()), 0x86DD)[:50],
        ethernet(ipv6(b"\x06\x01" + b"\x00" * 14 + tcp(), following=0, length=7), 0x86DD),
        ethernet(ipv6(b"\x06\xff" + b"\x00" * 6 + tcp(), following=60), 0x86DD),
    ],
)
def test_lengths_too_short_for_the_headers_give_no_row(frame: bytes) -> None:
    assert len(run(frame).packets) == 0
    assert int(run(frame).weird[0]) & WEIRD_BIT["bad_ip_length"]
    assert not int(run(frame).weird[0]) & WEIRD_BIT["cut_headers"]


def test_ip_options_are_skipped() -> None:
    row = only(run(ethernet(ipv4(tcp(b"hello"), options=b"\x01" * 8))))
    assert (row["ip_bytes"], row["payload_bytes"], row["payload_at"]) == (53, 5, 7 + 14 + 28 + 20)


@pytest.mark.parametrize("offset", [0, 4, 7])
def test_a_data_offset_outside_the_segment(offset: int) -> None:
    nothing(run(ethernet(ipv4(tcp(b"hello", offset=offset)))), "bad_tcp_offset")


def test_a_data_offset_at_the_end_is_fine() -> None:
    row = only(run(ethernet(ipv4(tcp(b"hell", offset=6)))))
    assert (row["payload_bytes"], row["weird"]) == (0, 0)


def test_another_port_is_not_judged() -> None:
    nothing(run(ethernet(ipv4(tcp(b"hello", offset=2, port=443)))))
    nothing(run(ethernet(ipv4(tcp(port=443), length=1500))))
    nothing(run(ethernet(ipv4(tcp(port=443))), cut=14 + 20 + 4))


# --- cut captures --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cut", [0, 13, 14, 33, 34, 37, 38, 53])
def test_a_cut_before_the_end_of_the_tcp_header(cut: int) -> None:
    nothing(run(ethernet(ipv4(tcp(b"hello"))), cut=cut), "cut_headers")


@pytest.mark.parametrize("cut", [54, 60, 65])
def test_a_cut_in_the_options_keeps_the_row(cut: int) -> None:
    row = only(run(ethernet(ipv4(tcp(b"hello", options=b"\x01" * 12))), cut=cut))
    assert (row["payload_bytes"], row["payload_captured"], row["payload_at"]) == (5, 0, 7 + cut)
    assert row["weird"] == WEIRD_BIT["cut_headers"]


def test_a_cut_right_after_the_options_is_no_cut_of_headers() -> None:
    row = only(run(ethernet(ipv4(tcp(b"hello", options=b"\x01" * 12))), cut=66))
    assert (row["payload_captured"], row["payload_at"], row["weird"]) == (0, 7 + 66, 0)


def test_a_cut_in_tags_labels_and_extension_headers() -> None:
    nothing(run(ethernet(ipv4(tcp()), tags=tag(5)), cut=17), "cut_headers")
    nothing(run(MACS + b"\x88\x47" + MPLS2 + ipv4(tcp()), cut=21), "cut_headers")
    nothing(run(ethernet(ipv6(b"\x06\x00" + b"\x00" * 6 + tcp(), following=60), 0x86DD), cut=60), "cut_headers")


def test_a_runt_is_nothing() -> None:
    nothing(run(MACS[:10]))
    nothing(run(ethernet(b"\x45", 0x8100)))


# --- fragments and extension headers -------------------------------------------------------------------------------
def test_a_first_fragment_keeps_its_share() -> None:
    row = only(run(ethernet(ipv4(tcp(b"x" * 100), fragment=0x2000))))
    assert (row["payload_bytes"], row["weird"]) == (100, WEIRD_BIT["ip_fragment"])


def test_a_first_fragment_without_its_tcp_header_gives_no_row() -> None:
    nothing(run(ethernet(ipv4(tcp()[:16], fragment=0x2000))), "ip_fragment")
    nothing(run(ethernet(ipv4(tcp(b"abcd", offset=8), fragment=0x2000))), "ip_fragment")


@pytest.mark.parametrize("field", [0x2001, 0x0010])
def test_a_later_fragment_has_its_offset_and_its_share_and_no_ports(field: int) -> None:
    row = only(run(ethernet(ipv4(b"x" * 100, fragment=field))))
    assert (row["seq"], row["payload_bytes"], row["payload_captured"]) == ((field & 0x1FFF) * 8, 100, 100)
    assert (row["src_port"], row["dst_port"], row["flags"], row["ip_bytes"]) == (0, 0, 0, 120)
    assert (row["weird"], row["ip_id"]) == (WEIRD_BIT["ip_fragment"], 0x1234)


def test_other_later_fragments_are_nothing() -> None:
    nothing(run(ethernet(ipv4(b"x" * 100, fragment=0x0010, proto=17))))
    nothing(run(ethernet(ipv4(b"", fragment=0x0010))), "ip_fragment")
    row = only(run(ethernet(ipv4(b"x" * 100, fragment=0x0010)), cut=44))
    assert (row["payload_bytes"], row["payload_captured"]) == (100, 10)


def test_extension_headers() -> None:
    hop = b"\x2b\x00" + b"\x00" * 6
    routing = b"\x3c\x01" + b"\x00" * 14
    destination = b"\x33\x00" + b"\x00" * 6
    authentication = b"\x2c\x04" + b"\x00" * 22
    atomic = b"\x06\x00\x00\x00\x00\x00\x00\x01"
    chain = hop + routing + destination + authentication + atomic
    row = only(run(ethernet(ipv6(chain + tcp(b"hello"), following=0), 0x86DD)))
    assert (row["payload_bytes"], row["ip_bytes"], row["weird"]) == (5, 40 + 64 + 25, 0)
    nothing(run(ethernet(ipv6(hop[:0] + b"\x11\x00" + b"\x00" * 6 + tcp(), following=0), 0x86DD)))


def test_ipv6_fragments() -> None:
    first, later, foreign = b"\x06\x00\x00\x01", b"\x06\x00\x00\x10", b"\x11\x00\x00\x10"
    body = b"\x00" * 4 + tcp(b"hello")
    row = only(run(ethernet(ipv6(first + body, following=44), 0x86DD)))
    assert (row["payload_bytes"], row["weird"]) == (5, WEIRD_BIT["ip_fragment"])
    row = only(run(ethernet(ipv6(later + b"\x00\x07\x12\x34" + b"x" * 9, following=44), 0x86DD)))
    assert (row["seq"], row["payload_bytes"], row["ip_id"]) == (16, 9, 0x1234)
    nothing(run(ethernet(ipv6(b"\x3c" + later[1:] + body, following=44), 0x86DD)), "ip_fragment")
    nothing(run(ethernet(ipv6(foreign + body, following=44), 0x86DD)))


# --- tunnels -------------------------------------------------------------------------------------------------------
INNER4, INNER6 = ipv4(tcp(b"hello")), ipv6(tcp(b"hello"))
ERSPAN3 = b"\x20" + b"\x00" * 10


@pytest.mark.parametrize(
    ("proto", "body", "version"),
    [
        (4, INNER4, 4),
        (41, INNER6, 6),
        (4, ipv4(ipv4(INNER6, proto=41), proto=4), 6),
        (137, MPLS2 + INNER4, 4),
        (51, b"\x06\x04" + b"\x00" * 22 + INNER4[20:], 4),
        (47, b"\x00\x00\x08\x00" + INNER4, 4),
        (47, b"\xb0\x00\x86\xdd" + b"\x00" * 12 + INNER6, 6),
        (47, b"\x20\x00\x65\x58" + b"\x00" * 4 + ethernet(INNER4, tags=tag(30)), 4),
        (47, b"\x00\x00\x88\xbe" + ethernet(INNER4), 4),
        (47, b"\x10\x00\x88\xbe" + b"\x00" * 12 + ethernet(INNER4), 4),
        (47, b"\x10\x00\x22\xeb" + b"\x00" * 4 + ERSPAN3 + b"\x00" + ethernet(INNER6, 0x86DD), 6),
        (47, b"\x10\x00\x22\xeb" + b"\x00" * 4 + ERSPAN3 + b"\x01" + b"\x00" * 8 + ethernet(INNER4), 4),
    ],
)
@pytest.mark.parametrize("outer", [4, 6])
def test_the_innermost_packet_of_a_tunnel_is_the_row(proto: int, body: bytes, version: int, outer: int) -> None:
    packet = ipv4(body, proto=proto) if outer == 4 else ipv6(body, following=proto)
    row = only(run(ethernet(packet, 0x0800 if outer == 4 else 0x86DD)))
    wanted = outer if proto == 51 else version
    assert (row["ip_version"], row["payload_bytes"], row["payload_captured"], row["weird"]) == (wanted, 5, 5, 0)
    if proto != 51:
        assert row["ip_bytes"] == {4: 45, 6: 65}[version]
    assert row["src_hi"] == (0 if wanted == 4 else 0x20010DB800000000)
    assert row["ip_id"] == (0x1234 if wanted == 4 else 0)


def test_a_tag_inside_a_tunnel_follows_one_outside() -> None:
    bridged = ipv4(b"\x00\x00\x65\x58" + ethernet(INNER4, tags=tag(30)), proto=47)
    row = only(run(ethernet(bridged, tags=tag(20))))
    assert (row["vlan"], row["vlan_inner"]) == (20, 30)


def test_a_tunnel_bounds_what_it_carries() -> None:
    row = only(run(ethernet(ipv4(ipv4(tcp(b"hello"), length=50), proto=4) + b"\x00" * 10)))
    assert (row["ip_bytes"], row["payload_bytes"], row["weird"]) == (45, 5, WEIRD_BIT["bad_ip_length"])


def test_tunnels_that_are_not_opened() -> None:
    nothing(run(ethernet(ipv4(b"\x40\x00\x08\x00" + b"\x00" * 4 + INNER4, proto=47))))  # a source route
    nothing(run(ethernet(ipv4(b"\x30\x01\x88\x0b" + b"\x00" * 8 + INNER4, proto=47))))  # PPTP
    nothing(run(ethernet(ipv4(ipv4(ipv4(ipv4(ipv4(INNER4, proto=4), proto=4), proto=4), proto=4), proto=4))))
    nothing(run(ethernet(ipv4(b"\x00" * 20, proto=50))))


def test_the_lane_counts_only_frames_without_a_row() -> None:
    frames = [ethernet(ipv4(tcp(b"hello"), length=1500)), ethernet(ipv4(tcp(b"hello", offset=2))), ethernet(INNER4)]
    frames += [ethernet(ipv4(tcp()[:16], fragment=0x2000))] * 2
    rows = Frames.empty(5)
    rows["at"] = np.cumsum([0, *map(len, frames[:-1])])
    rows["captured_bytes"] = rows["wire_bytes"] = [len(frame) for frame in frames]
    rows["link_type"] = 1
    packets, counts = slow_lane(rows, np.frombuffer(b"".join(frames), dtype=np.uint8), 7680)
    assert packets["weird"].tolist() == [WEIRD_BIT["bad_ip_length"], 0]
    assert dict(zip(WEIRDS, counts.tolist(), strict=True)) == dict.fromkeys(WEIRDS, 0) | {
        "bad_tcp_offset": 1,
        "ip_fragment": 2,
    }


# --- anything ------------------------------------------------------------------------------------------------------
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0, 1, 9, 12, 14, 101, 108, 113, 228, 229, 276]),
    st.one_of(
        st.binary(max_size=120),
        st.builds(
            lambda head, kind, body: head[:12] + kind + body,
            st.binary(min_size=12, max_size=12),
            st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\x47", b"\x88\x64", b"\x00\x30"]),
            st.binary(max_size=100),
        ),
    ),
    st.integers(0, 200),
)
def test_any_bytes_give_rows_that_lie_in_the_data(link: int, frame: bytes, more: int) -> None:
    found = run(frame, link=link, wire=len(frame) + more, port=0)
    for row in found.packets:
        assert 7 <= row["payload_at"] <= 7 + len(frame)
        assert row["payload_at"] + row["payload_captured"] <= 7 + len(frame)
        assert 0 <= row["payload_captured"] <= row["payload_bytes"] <= row["ip_bytes"] - 40
        assert row["ip_bytes"] <= row["wire_bytes"]

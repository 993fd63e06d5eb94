"""One capture in every encapsulation gives the same flows, in both lanes; copies of frames change nothing."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from sensor.decode import Decoder
from sensor.dissect import dissect, slow_lane
from sensor.pipeline import analyze
from sensor.rules.ruleset import RuleSet
from sensor.schema import TUNNELS, FlowFrame
from sensor.settings import load_policy
from sensor.sources.files import Reader
from tests.builders import (
    checksum,
    do_handshake,
    do_have,
    do_piece,
    ethernet,
    ipv4,
    ipv6,
    loopback,
    pcap,
    sll,
    sll2,
    vlan,
)
from tests.captures import ELSEWHERE, PUBLIC, SAMPLES, records_of
from tests.streams import Tape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

A4, B4, A6, B6 = "192.0.2.1", "192.0.2.2", "2001:db8:ffff::1", "2001:db8:ffff::2"
SNAP: Final = b"\xaa\xaa\x03\0\0\0"
MPLS: Final = struct.pack(">II", 17 << 12 | 64, 16 << 12 | 1 << 8 | 64)
MACS: Final = b"\x02\0\0\0\0\x0a\x02\0\0\0\0\x0b"

Packet = tuple[int, bytes, int]


# --- what is wrapped -------------------------------------------------------------------------------------------------
@cache
def sample(name: str) -> list[Packet]:
    """Return the bare IPv4 packets of a sample, and how many bytes of each the capture cut."""
    listed = records_of((SAMPLES / name).read_bytes())
    return [(ts, bare(frame), wire - len(frame)) for ts, frame, wire in listed]


def bare(frame: bytes) -> bytes:
    """Return the IPv4 packet of an Ethernet frame without tags and padding."""
    at = 12
    while frame[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
        at += 4
    return frame[at + 2 :][: struct.unpack_from(">H", frame, at + 4)[0]]


@cache
def six() -> list[Packet]:
    """Return a short conversation over IPv6."""
    tape = Tape("2001:db8::1", "2001:db8::2").open().orig(0, do_handshake() + do_have(1)).resp(0, do_handshake())
    tape.resp(75, do_piece(0, 0, b"d" * 400)).orig(84, b"", acked=488).close(84, 488)
    return [(ts, frame[14:], 0) for ts, frame in tape.frames]


SOURCES: Final = {
    "whole": lambda: sample("quinq.pcap"),
    "cut": lambda: sample("cross-site.pcap"),
    "IPv6": six,
}


# --- the wraps, from their RFCs and from https://www.tcpdump.org/linktypes.html --------------------------------------
def kind(packet: bytes) -> int:
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


def typed(packet: bytes) -> bytes:
    return struct.pack(">H", kind(packet)) + packet


def ppp(packet: bytes) -> bytes:
    return struct.pack(">H", 0x57 if packet[0] >> 4 == 6 else 0x21) + packet


def pppoe(packet: bytes) -> bytes:
    return ethernet(struct.pack(">BBHH", 0x11, 0, 7, len(packet) + 2) + ppp(packet), ethertype=0x8864)


def wlan(packet: bytes, head: bytes = b"\x08\x01", more: bytes = b"") -> bytes:
    return head + b"\0\0" + MACS + MACS[:6] + b"\x10\0" + more + SNAP + typed(packet)


def nflog(packet: bytes) -> bytes:
    family = 10 if packet[0] >> 4 == 6 else 2
    prefix = struct.pack("<HH", 7, 10) + b"abc\0"
    return struct.pack(">BBH", family, 0, 1) + prefix + struct.pack("<HH", len(packet) + 4, 9) + packet


def in4(proto: int, body: bytes) -> bytes:
    return ethernet(ipv4(A4, B4, body, proto=proto, fix=False))


def in6(proto: int, body: bytes) -> bytes:
    return ethernet(ipv6(A6, B6, body, next_header=proto, fix=False))


def udp(port: int, body: bytes, source: int = 40000) -> bytes:
    return struct.pack(">HHHH", source, port, 8 + len(body), 0) + body


def gre(packet: bytes, flags: int = 0, fields: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, kind(packet)) + fields + packet


def bridged(packet: bytes, flags: int = 0, fields: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, 0x6558) + fields + ethernet(packet, vlans=(vlan(7),))


def direct(packet: bytes) -> int:
    return 41 if packet[0] >> 4 == 6 else 4


def vxlan(packet: bytes) -> bytes:
    return struct.pack(">II", 8 << 24, 42 << 8) + ethernet(packet)


def geneve(packet: bytes, options: bytes = b"") -> bytes:
    return struct.pack(">BBHI", len(options) // 4, 0, 0x6558, 42 << 8) + options + ethernet(packet)


def gtp(packet: bytes, flags: int = 0x30, more: bytes = b"") -> bytes:
    return struct.pack(">BBHI", flags, 0xFF, len(packet) + len(more), 9) + more + packet


ERSPAN2: Final = struct.pack(">HHI", 0x1000, 0x88BE, 1) + b"\x10\x00\0\0\0\0\0\0"
ERSPAN3: Final = struct.pack(">HHI", 0x1000, 0x22EB, 1) + b"\x20" + b"\0" * 11
ERSPAN3_MORE: Final = ERSPAN3[:-1] + b"\1" + b"\0" * 8

Wrap = tuple[str, int, str, "Callable[[bytes], bytes]"]
WRAPS: Final[tuple[Wrap, ...]] = (
    ("ethernet", 1, "none", ethernet),
    ("padded", 1, "none", lambda p: ethernet(p, pad=True) + b"\0\0"),
    ("vlan", 1, "none", lambda p: ethernet(p, vlans=(vlan(10),))),
    ("qinq", 1, "none", lambda p: ethernet(p, vlans=(vlan(10, tpid=0x88A8), vlan(20)))),
    ("three_tags", 1, "none", lambda p: ethernet(p, vlans=(vlan(10, tpid=0x88A8), vlan(20), vlan(30)))),
    ("snap", 1, "none", lambda p: MACS + struct.pack(">H", min(8 + len(p), 1500)) + SNAP + typed(p)),
    ("pppoe", 1, "none", pppoe),
    ("mpls", 1, "none", lambda p: ethernet(MPLS + p, ethertype=0x8847)),
    ("sgt", 1, "none", lambda p: ethernet(b"\1\1\0\1\0\5" + typed(p), ethertype=0x8909)),
    ("sll", 113, "none", sll),
    ("sll2", 276, "none", sll2),
    ("raw", 101, "none", bytes),
    ("null", 0, "none", loopback),
    ("loop", 108, "none", lambda p: loopback(p, big_endian=True)),
    ("ppp", 9, "none", lambda p: b"\xff\x03" + ppp(p)),
    ("ppp_serial", 50, "none", lambda p: b"\xff\x03" + ppp(p)),
    ("ppp_direction", 166, "none", lambda p: b"\0\x03" + ppp(p)),
    ("pppoe_alone", 51, "none", lambda p: pppoe(p)[14:]),
    ("cisco_hdlc", 104, "none", lambda p: b"\x0f\0" + typed(p)),
    ("fddi", 10, "none", lambda p: b"\x50" + MACS + SNAP + typed(p)),
    ("wlan", 105, "none", wlan),
    ("wlan_qos", 105, "none", lambda p: wlan(p, b"\x88\x01", b"\0\0")),
    ("wlan_four_addresses", 105, "none", lambda p: wlan(p, b"\x08\x03", MACS[:6])),
    ("radiotap", 127, "none", lambda p: b"\0\0\x0c\0" + b"\0" * 8 + wlan(p) + b"\xaa\xbb\xcc\xdd"),
    ("ppi", 192, "none", lambda p: struct.pack("<HHI", 0, 8, 105) + wlan(p)),
    ("pktap", 258, "none", lambda p: struct.pack("<III", 108, 1, 1) + b"\0" * 96 + ethernet(p)),
    ("nflog", 239, "none", nflog),
    ("infiniband", 242, "none", lambda p: b"\0" * 40 + struct.pack(">HH", kind(p), 0) + p),
    ("firewire", 138, "none", lambda p: b"\0" * 16 + typed(p)),
    ("juniper", 178, "none", lambda p: b"MGC\x80\0\4\1\2\3\4" + ethernet(p)),
    ("broadcom", 281, "none", lambda p: MACS + b"\0\0\0\1" + typed(p)),
    ("dsa", 284, "none", lambda p: MACS + b"\x40\0\0\1" + typed(p)),
    ("edsa", 285, "none", lambda p: MACS + b"\xda\xda\0\0\x40\0\0\1" + typed(p)),
    ("ip_in_ip", 1, "ip_in_ip", lambda p: in4(direct(p), p)),
    ("ip_in_ipv6", 1, "ip_in_ip", lambda p: in6(direct(p), p)),
    ("mpls_in_ip", 1, "mpls", lambda p: in4(137, MPLS + p)),
    ("gre", 1, "gre", lambda p: in4(47, gre(p))),
    ("gre_all_fields", 1, "gre", lambda p: in4(47, gre(p, 0xB000, b"\0" * 12))),
    ("gre_bridged", 1, "gre", lambda p: in4(47, bridged(p, 0x2000, b"\0\0\0\7"))),
    ("gre_ipv6", 1, "gre", lambda p: in6(47, gre(p))),
    ("erspan_1", 1, "erspan", lambda p: in4(47, b"\0\0\x88\xbe" + ethernet(p))),
    ("erspan_2", 1, "erspan", lambda p: in4(47, ERSPAN2 + ethernet(p))),
    ("erspan_2_tagged", 1, "erspan", lambda p: in4(47, ERSPAN2 + ethernet(p, vlans=(vlan(5),)))),
    ("erspan_3", 1, "erspan", lambda p: in4(47, ERSPAN3 + ethernet(p))),
    ("erspan_3_more", 1, "erspan", lambda p: in4(47, ERSPAN3_MORE + ethernet(p))),
    ("vxlan", 1, "vxlan", lambda p: in4(17, udp(4789, vxlan(p)))),
    ("vxlan_linux", 1, "vxlan", lambda p: in4(17, udp(8472, vxlan(p)))),
    ("vxlan_ipv6", 1, "vxlan", lambda p: in6(17, udp(4789, vxlan(p)))),
    ("vxlan_tagged", 1, "vxlan", lambda p: ethernet(in4(17, udp(4789, vxlan(p)))[14:], vlans=(vlan(9),))),
    ("geneve", 1, "geneve", lambda p: in4(17, udp(6081, geneve(p)))),
    ("geneve_options", 1, "geneve", lambda p: in4(17, udp(6081, geneve(p, b"\0\1\2\1abcd")))),
    ("gtp_u", 1, "gtp_u", lambda p: in4(17, udp(2152, gtp(p), 2152))),
    ("gtp_u_extended", 1, "gtp_u", lambda p: in4(17, udp(2152, gtp(p, 0x34, b"\0\0\0\x85\1\0\0\0")))),
    ("teredo", 1, "teredo", lambda p: in4(17, udp(3544, p))),
    ("teredo_all", 1, "teredo", lambda p: in4(17, udp(3544, b"\0\1\0\0" + b"\0" * 9 + b"\0\0" + b"\1" * 6 + p))),
    ("ayiya", 1, "ayiya", lambda p: in4(17, udp(5072, b"\x41\x52\x11" + bytes([direct(p)]) + b"\0" * 40 + p))),
    ("mpls_in_udp", 1, "mpls_in_udp", lambda p: in4(17, udp(6635, MPLS + p))),
    ("gre_in_udp", 1, "gre_in_udp", lambda p: in4(17, udp(4754, gre(p)))),
    ("erspan_of_vxlan", 1, "erspan", lambda p: in4(47, ERSPAN2 + in4(17, udp(4789, vxlan(p))))),
    ("vxlan_of_gre", 1, "vxlan", lambda p: in4(17, udp(4789, vxlan(in4(47, gre(p))[14:])))),
)
# These write behind the packet, which a cut capture has lost.
TRAILED: Final = ("padded", "radiotap")
SAME: Final = [name for name in FlowFrame.names() if name != "vlan"]


def flows(path: Path, data: bytes) -> pd.DataFrame:
    path.write_bytes(data)
    return analyze([str(path)], load_policy(None), RuleSet(())).flows


def written(path: Path, source: str, link: int, wrap: Callable[[bytes], bytes]) -> list[dict[Any, Any]]:
    """Return the flows of a capture, each packet wrapped as it was before the capture cut it."""
    wrapped = [(ts, wrap(packet + b"\0" * cut), cut) for ts, packet, cut in SOURCES[source]()]
    found = flows(
        path, pcap([(ts, frame[: len(frame) - cut], len(frame)) for ts, frame, cut in wrapped], linktype=link)
    )
    assert found["orig_payload_bytes"].sum() > 0
    return found[SAME].to_dict("records")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[Any, Any]]]:
    """Return the flows of each source as bare IP packets."""
    path = tmp_path_factory.mktemp("plain") / "raw.pcap"
    return {source: written(path, source, 101, bytes) for source in SOURCES}


def cases() -> list[Any]:
    return [
        pytest.param(source, *row[1:], id=f"{row[0]}-{source}")
        for row in WRAPS
        for source in SOURCES
        if source != "cut" or row[0] not in TRAILED
    ]


@pytest.mark.parametrize(("source", "link", "tunnel", "wrap"), cases())
def test_wrapped(
    source: str,
    link: int,
    tunnel: str,
    wrap: Callable[[bytes], bytes],
    plain: dict[str, list[dict[Any, Any]]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "wrapped.pcap"
    assert written(path, source, link, wrap) == plain[source]
    with Reader(path, 0) as reader:
        for batch in reader.batches():
            rows = dissect(batch.frames, batch.data).packets
            assert Decoder(slow=slow_lane).push(batch).tolist() == rows.tolist()
            assert {TUNNELS[code] for code in rows["tunnel"]} == {tunnel}


def test_every_tunnel_is_wrapped() -> None:
    assert {row[2] for row in WRAPS} == set(TUNNELS)


def test_arcnet_carries_ipv4(plain: dict[str, list[dict[Any, Any]]], tmp_path: Path) -> None:
    for link, head in ((7, b"\1\2\xf0"), (7, b"\1\2\xd4\0\0\1"), (129, b"\1\2\0\0\xf0"), (129, b"\1\2\0\0\xd4\0\0\1")):
        found = written(tmp_path / "arcnet.pcap", "whole", link, lambda packet, head=head: head + packet)
        assert found == plain["whole"]


# --- copies ----------------------------------------------------------------------------------------------------------
def captures() -> list[Any]:
    paths = sorted(SAMPLES.glob("*.pcap")) + sorted((PUBLIC / "real").glob("*.pcap"))
    return [pytest.param(path, id=path.name) for path in paths]


def routed(frame: bytes, link: int) -> bytes:
    """Return a frame as a router sends it on: other MAC addresses, one hop less, the header's checksum written anew."""
    out = bytearray(frame)
    at = {1: 12, 113: 14}[link]
    if link == 1:
        out[:12] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\xff"
    while out[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
        at += 4
    here = at + 2
    if out[at : at + 2] == b"\x86\xdd":
        out[here + 7] -= 1
    else:
        assert out[at : at + 2] == b"\x08\0"
        out[here + 8] -= 1
        out[here + 10 : here + 12] = b"\0\0"
        size = (out[here] & 15) * 4
        out[here + 10 : here + 12] = struct.pack(">H", checksum(bytes(out[here : here + size])))
    return bytes(out)


@pytest.mark.parametrize("how", ["mirror", "router"])
@pytest.mark.parametrize("path", captures())
def test_copies_are_counted_and_change_nothing(path: Path, how: str, tmp_path: Path) -> None:
    data = path.read_bytes()
    link = struct.unpack_from("<I" if data[:1] in (b"\xd4", b"\x4d") else ">I", data, 20)[0]
    records = records_of(data)
    once = flows(tmp_path / "once.pcap", pcap(records, nanos=True, linktype=link))
    copies = [
        (ts + 30_000, routed(frame, link), wire) if how == "router" else (ts, frame, wire)
        for ts, frame, wire in records
    ]
    pairs = [each for pair in zip(records, copies, strict=True) for each in pair]
    pairs.sort(key=lambda record: record[0])
    twice = flows(tmp_path / "twice.pcap", pcap(pairs, nanos=True, linktype=link))
    counted = once[["orig_packets", "resp_packets", "duplicate_packets"]].sum(axis=1)
    same = [name for name in SAME if name not in ("duplicate_packets", "end_ns")]
    assert twice[same].to_dict("records") == once[same].to_dict("records")
    assert twice["duplicate_packets"].tolist() == (counted + once["duplicate_packets"]).tolist()
    assert (counted.sum() > 0) == (path.name not in ELSEWHERE)

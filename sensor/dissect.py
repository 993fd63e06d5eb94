"""Frames to packets, the slow lane: frame by frame, with dpkt's headers, for any frame the kernels set aside.

What a packet row *is* stands here; the fast lane gives the same rows, and the tests hold both against each other.

**Which frames.** TCP over IPv4 or IPv6 over the link types of `_LINKS`; below at most 8 VLAN tags (802.1Q, 802.1ad,
0x9100), MPLS labels, a PPPoE session, and Cisco's SGT and VN tags; IPv6 behind hop-by-hop, routing, destination,
authentication and fragment headers. The quoted packet in an ICMP error is not a packet. Everything else is silently
not ours. docs/links.md lists all that is read.

**Tunnels.** At most 4 are opened on the way: IP in IP, MPLS in IP, GRE, ERSPAN (what a switch mirrors to a far sensor),
and in UDP, by either port: VXLAN, GENEVE, GTP-U, Teredo, AYIYA, MPLS and GRE. The row is the innermost packet; `tunnel`
names the outermost tunnel. One frame gives one row: of aggregated 802.11 frames (A-MSDU) the first counts.

**Lengths** come from the IP header; what follows in the frame is padding. A total length of 0 (IPv6: payload length 0)
means segmentation offload: `tso_length`, and the frame's length on the wire is used. A length beyond the frame on the
wire (or beyond the packet that is its tunnel) is `bad_ip_length`, and what is there counts. A length too short for IP
and TCP header is `bad_ip_length` without a row, and so are an IPv4 header length below 20 and a frame that ends, on the
wire, inside its IP header. `ip_bytes` counts the IP header, IPv6's too.

**Cut captures.** Without the whole 20 bytes of fixed TCP header there is no row: `cut_headers`. With them, but with
options cut, the row stays, carries `cut_headers`, and has nothing captured. `payload_at` is where the payload starts,
or the end of the captured bytes where that comes first.

**TCP.** A data offset below 20 bytes or beyond the IP payload is `bad_tcp_offset` without a row. `ack` is 0 without
the ACK flag. `flags` is the low byte. Checksums are never judged.

**Fragments.** A first fragment with the whole TCP header gives a row with its own share of the payload, marked
`ip_fragment`. So does a later one of TCP, but without ports, flags and what else stands in a TCP header; `seq` is its
offset in the IP payload (`fragments.py` goes on from there). Other fragments are counted as `ip_fragment`. An IPv6
fragment header on a whole packet (offset 0, no more to come) is no fragment.

**VLAN.** `vlan` is the id of the outermost tag, `vlan_inner` that of the next; a priority tag (id 0) counts as a tag.

**Weird bits.** Each frame has one word of them: its row's, or without a row the one reason why, and that only while it
may still be TCP on the watched port; what is known to be another protocol or port is not ours to judge.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from dpkt.ethernet import MPLSlabel, VLANtag8021Q
from dpkt.ip import IP
from dpkt.sll import SLL
from dpkt.sll2 import SLL2
from dpkt.tcp import TCP

from sensor import wire
from sensor.schema import TUNNELS, WEIRD_BIT, Bytes, Packets, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

VLAN_TAGS_MAX: Final = 8
MPLS_LABELS_MAX: Final = 16
TUNNELS_MAX: Final = 4

_VLANS: Final = (wire.ETHERTYPE_VLAN, wire.ETHERTYPE_QINQ, wire.ETHERTYPE_QINQ_OLD)
_MPLS: Final = (0x8847, 0x8848)  # RFC 5332
_PPPOE_SESSION: Final = 0x8864  # RFC 2516
_BRIDGED: Final = 0x6558  # RFC 7637: an Ethernet frame inside GRE
# Headers of fixed size that end in the next EtherType: where that stands. Cisco's security group tag and VN tag.
_NEXT_AT: Final = {_BRIDGED: 12, 0x8909: 6, 0x8926: 4}
_ERSPAN_2: Final = 0x88BE  # draft-foschiano-erspan-03, types I and II
_ERSPAN_3: Final = 0x22EB
_LLC: Final = 0  # a length where an EtherType could be: an LLC header follows
_LENGTH_MAX: Final = 1500  # IEEE 802.3: up to here the type field is a length
_SNAP: Final = b"\xaa\xaa\x03\x00\x00\x00"  # RFC 1042
_PPP_TYPES: Final = {
    0x0021: wire.ETHERTYPE_IPV4,  # RFC 1332
    0x0057: wire.ETHERTYPE_IPV6,  # RFC 5072
    0x0281: 0x8847,  # RFC 3032
    0x0283: 0x8848,
}
_AF_INET: Final = 2
_AF_INET6: Final = (10, 23, 24, 28, 30)  # Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin
_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60  # RFC 8200, RFC 4302
_EXTENSIONS: Final = (_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION)
_GRE: Final = 47  # RFC 2784
_UDP: Final = 17
_INSIDE_IP: Final = {4: wire.ETHERTYPE_IPV4, 41: wire.ETHERTYPE_IPV6, 137: 0x8847}  # RFC 2003, RFC 4213, RFC 4023
_FOLLOWED: Final = (wire.IPPROTO_TCP, _UDP, _AUTHENTICATION, _GRE, *_INSIDE_IP)
_SHORT_TAG: Final = 12  # behind the two addresses of an Ethernet header
_ARCNET_IP: Final = {240: 0, 212: 3}  # RFC 1051; RFC 1201 has a split flag and a sequence number
_WLAN: Final = 105  # LINKTYPE_IEEE802_11
_NFLOG_PAYLOAD: Final = 9
_ATTRIBUTES_MAX: Final = 64
_WLAN_DATA: Final = 0x08  # IEEE 802.11, frame control: type and subtype
_ARUBA: Final = range(0x8200, 0x8300)  # GRE protocol types that Aruba uses for 802.11 frames
_GTP_DATA: Final = 0xFF  # 3GPP TS 29.281: G-PDU
_TUNNEL_CODE: Final = {"": 0} | {name: code for code, name in enumerate(TUNNELS)}
_MAPPED: Final = 0xFFFF << 32
_LOW: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Dissection:
    """What the slow lane made of some frames.

    `packets` are Packets rows in the order of the frames, `frame` is the index of each one's frame, `weird` has the
    bits of every frame, also of those without a row.
    """

    packets: Rows
    frame: npt.NDArray[np.int64]
    weird: npt.NDArray[np.uint32]

    def passed_over(self) -> npt.NDArray[np.int64]:
        """Return int64[len(WEIRDS)]: how many frames gave no row, by the reason."""
        bits = self.weird.copy()
        bits[self.frame] = 0
        return np.array([np.count_nonzero(bits & bit) for bit in WEIRD_BIT.values()], dtype=np.int64)


def slow_lane(frames: Rows, data: Bytes, port: int) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Return packets, and how many frames gave none by the reason: what the decoder asks of a lane."""
    found = dissect(frames, data, port)
    return found.packets, found.passed_over()


def dissect(frames: Rows, data: Bytes, port: int = wire.DO_PORT) -> Dissection:
    """Return the TCP packets on the watched port among some frames.

    Parameters
    ----------
    frames : Frames[F]
        The frames.
    data : uint8[:]
        The bytes they lie in.
    port : int
        The watched TCP port, on either side; 0 for all.

    Returns
    -------
    Dissection
        P packets, P <= F.

    Raises
    ------
    nothing

    References
    ----------
    RFC 791, RFC 8200, RFC 9293; https://www.tcpdump.org/linktypes.html.
    """
    packets = Packets.empty(frames.size)
    frame_of = np.empty(frames.size, dtype=np.int64)
    weird = np.zeros(frames.size, dtype=np.uint32)
    count = 0
    for at in range(frames.size):
        source, row = frames[at], packets[count]
        frame = _Frame.of(source, data)
        try:
            _fill(row, frame, port)
        except _NoPacketError as reason:
            weird[at] = reason.weird
            packets[count : count + 1] = np.zeros(1, dtype=packets.dtype)
            continue
        weird[at] = row["weird"]
        frame_of[count] = at
        for name in ("ts_ns", "number", "offset", "input"):
            row[name] = source[name]
        row["wire_bytes"] = frame.wire
        row["payload_at"] += source["at"]
        count += 1
    return Dissection(packets[:count], frame_of[:count], weird)


class _NoPacketError(Exception):
    """A frame gives no row; `weird` says what is odd about that."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.weird = WEIRD_BIT[reason] if reason else 0


@dataclass(frozen=True, slots=True)
class _Frame:
    """The captured bytes of one frame, its length on the wire, and its link type."""

    raw: bytes
    wire: int
    link_type: int

    @classmethod
    def of(cls, frame: np.void, data: Bytes) -> _Frame:
        start, size = int(frame["at"]), int(frame["captured_bytes"])
        return cls(data[start : start + size].tobytes(), max(int(frame["wire_bytes"]), size), int(frame["link_type"]))

    def take(self, at: int, size: int, short: str = "") -> bytes:
        """Return bytes of a header; without them all the frame is cut, or as `short` says if the wire had no more."""
        if at + size <= len(self.raw):
            return self.raw[at : at + size]
        raise _NoPacketError("cut_headers" if at + size <= self.wire else short)


@dataclass(slots=True)
class _Network:
    """An IP packet: where it lies, where what it lies in ends, and what its headers say."""

    at: int
    version: int
    limit: int
    weird: int = 0
    end: int = 0
    protocol: int = 0
    payload_at: int = 0
    offset: int = 0
    """Of a later fragment: where in the IP payload it begins."""


def _fill(row: np.void, frame: _Frame, port: int) -> None:
    start = _LINKS.get(frame.link_type)
    if start is None:
        raise _NoPacketError
    ethertype, at = start(frame)
    vlans: list[int] = []
    network = _Network(0, 0, frame.wire, end=frame.wire)
    outermost = ""
    for _ in range(1 + TUNNELS_MAX):
        at, version = _unwrap(frame, ethertype, at, vlans)
        network = _Network(at, version, network.end, network.weird)
        (_ipv4 if version == 4 else _ipv6)(row, frame, network)  # noqa: PLR2004 - the version field
        if network.protocol == wire.IPPROTO_TCP:
            break
        ethertype, at, tunnel = _open_tunnel(frame, network)
        outermost = outermost or tunnel
    else:
        raise _NoPacketError
    if network.offset:
        _later_fragment(row, frame, network)
    else:
        _tcp(row, frame, network, port)
    row["vlan"], row["vlan_inner"] = (*vlans, 0, 0)[:2]
    row["tunnel"] = _TUNNEL_CODE[outermost]
    row["ip_version"] = network.version
    row["ip_bytes"] = network.end - network.at


# --- the link layer: each returns the EtherType and where what it names begins ------------------------------------
def _ethernet(frame: _Frame) -> tuple[int, int]:
    return _u16(frame.take(0, 14), 12), 14


def _sll(frame: _Frame) -> tuple[int, int]:
    return SLL(frame.take(0, 16)).ethtype, 16


def _sll2(frame: _Frame) -> tuple[int, int]:
    return SLL2(frame.take(0, 20)).ethtype, 20


def _raw(frame: _Frame) -> tuple[int, int]:
    return _by_version(frame, 0), 0


def _null(frame: _Frame) -> tuple[int, int]:
    head = frame.take(0, 4)
    family = min(struct.unpack("<I", head)[0], struct.unpack(">I", head)[0])  # the writer's byte order is not told
    if family == _AF_INET:
        return wire.ETHERTYPE_IPV4, 4
    if family in _AF_INET6:
        return wire.ETHERTYPE_IPV6, 4
    raise _NoPacketError


def _ppp(frame: _Frame) -> tuple[int, int]:
    # RFC 1662: address and control may be compressed away
    head = frame.take(0, 2)
    if head in (b"\x0f\x00", b"\x8f\x00"):  # RFC 1547, section 4.3: Cisco's framing on the same line
        return _chdlc(frame)
    return _ppp_protocol(frame, 2 if head == b"\xff\x03" else 0)


def _ppp_with_direction(frame: _Frame) -> tuple[int, int]:
    frame.take(0, 2)
    return _ppp_protocol(frame, 2)


def _pppoe(_: _Frame) -> tuple[int, int]:
    return _PPPOE_SESSION, 0


def _chdlc(frame: _Frame) -> tuple[int, int]:
    return _u16(frame.take(0, 4), 2), 4


def _fddi(_: _Frame) -> tuple[int, int]:
    return _LLC, 13


def _arcnet(frame: _Frame) -> tuple[int, int]:
    return _arcnet_kind(frame, 2)


def _arcnet_linux(frame: _Frame) -> tuple[int, int]:
    return _arcnet_kind(frame, 4)


def _arcnet_kind(frame: _Frame, at: int) -> tuple[int, int]:
    kind = frame.take(at, 1)[0]
    if kind not in _ARCNET_IP:
        raise _NoPacketError
    return wire.ETHERTYPE_IPV4, at + 1 + _ARCNET_IP[kind]


def _infiniband(frame: _Frame) -> tuple[int, int]:
    return _u16(frame.take(0, 44), 40), 44


def _firewire(frame: _Frame) -> tuple[int, int]:
    return _u16(frame.take(0, 18), 16), 18


def _tag_of_4(frame: _Frame) -> tuple[int, int]:
    return _u16(frame.take(0, 18), _SHORT_TAG + 4), 18


def _tag_of_8(frame: _Frame) -> tuple[int, int]:
    return _u16(frame.take(0, 22), _SHORT_TAG + 8), 22


def _juniper_ethernet(frame: _Frame) -> tuple[int, int]:
    head = frame.take(0, 6)
    if not head.startswith(b"MGC") or not head[3] & 0x80 or head[3] & 2:  # no extensions, or no link layer
        raise _NoPacketError
    return _BRIDGED, 6 + _u16(head, 4)


def _radiotap(frame: _Frame) -> tuple[int, int]:
    return _wlan(frame, int.from_bytes(frame.take(0, 4)[2:], "little"))


def _wlan_alone(frame: _Frame) -> tuple[int, int]:
    return _wlan(frame, 0)


def _ppi(frame: _Frame) -> tuple[int, int]:
    _, size, link = struct.unpack("<HHI", frame.take(0, 8))
    return _link_inside(frame, size, link)


def _pktap(frame: _Frame) -> tuple[int, int]:
    size, _, link = struct.unpack("<III", frame.take(0, 12))
    return _link_inside(frame, size, link)


def _link_inside(frame: _Frame, at: int, link: int) -> tuple[int, int]:
    if link == _WLAN:
        return _wlan(frame, at)
    if link == wire.LINKTYPE_ETHERNET:
        return _BRIDGED, at
    raise _NoPacketError


def _wlan(frame: _Frame, at: int) -> tuple[int, int]:
    """Return where the LLC header of a clear data frame begins (IEEE 802.11-2020, section 9.2)."""
    first, second = frame.take(at, 2)
    if first & 0x4F != _WLAN_DATA or second & 0x40:  # without data, or protected
        raise _NoPacketError
    at += 30 if second & 3 == 3 else 24  # noqa: PLR2004 - between two access points: a fourth address
    if not first & 0x80:
        return _LLC, at
    aggregated = frame.take(at, 2)[0] & 0x80
    at += 6 if second & 0x80 else 2
    return _LLC, at + 14 if aggregated else at


def _nflog(frame: _Frame) -> tuple[int, int]:
    # The writer's byte order is not told; all machines that write it today are little-endian.
    at = 4
    for _ in range(_ATTRIBUTES_MAX):
        size, kind = struct.unpack("<HH", frame.take(at, 4))
        if kind == _NFLOG_PAYLOAD:
            return _by_version(frame, at + 4), at + 4
        if size < 4:  # noqa: PLR2004 - an attribute counts its own header
            break
        at += (size + 3) & ~3
    raise _NoPacketError


def _ppp_protocol(frame: _Frame, at: int) -> tuple[int, int]:
    first = frame.take(at, 1)[0]
    # RFC 1661, section 6.5: an odd first byte is a whole protocol number
    number, size = (first, 1) if first & 1 else (_u16(frame.take(at, 2), 0), 2)
    if number not in _PPP_TYPES:
        raise _NoPacketError
    return _PPP_TYPES[number], at + size


def _by_version(frame: _Frame, at: int) -> int:
    version = frame.take(at, 1)[0] >> 4
    found = {4: wire.ETHERTYPE_IPV4, 6: wire.ETHERTYPE_IPV6}.get(version)
    if found is None:
        raise _NoPacketError
    return found


_LINKS: Final[dict[int, Callable[[_Frame], tuple[int, int]]]] = {
    wire.LINKTYPE_NULL: _null,
    wire.LINKTYPE_ETHERNET: _ethernet,
    7: _arcnet,
    9: _ppp,
    10: _fddi,
    12: _raw,  # DLT_RAW of most systems, written by mistake for LINKTYPE_RAW
    14: _raw,  # the same on OpenBSD
    50: _ppp,
    51: _pppoe,
    wire.LINKTYPE_RAW: _raw,
    104: _chdlc,
    _WLAN: _wlan_alone,
    wire.LINKTYPE_LOOP: _null,
    wire.LINKTYPE_SLL: _sll,
    127: _radiotap,
    129: _arcnet_linux,
    138: _firewire,
    166: _ppp_with_direction,
    178: _juniper_ethernet,
    192: _ppi,
    239: _nflog,
    242: _infiniband,
    258: _pktap,
    281: _tag_of_4,  # Broadcom's tag behind the addresses
    282: _tag_of_4,  # ... and before them: the same length
    284: _tag_of_4,  # Marvell's DSA tag
    285: _tag_of_8,  # ... and the one with an EtherType of its own
    wire.LINKTYPE_IPV4: _raw,
    wire.LINKTYPE_IPV6: _raw,
    wire.LINKTYPE_SLL2: _sll2,
}


def _unwrap(frame: _Frame, ethertype: int, at: int, vlans: list[int]) -> tuple[int, int]:
    """Return where the IP header begins and the IP version; append the VLAN ids from the outermost on."""
    while ethertype not in (wire.ETHERTYPE_IPV4, wire.ETHERTYPE_IPV6):
        if ethertype in _VLANS:
            tag = VLANtag8021Q(frame.take(at, 4))
            vlans.append(tag.id)
            if len(vlans) > VLAN_TAGS_MAX:
                raise _NoPacketError
            ethertype, at = tag.type, at + 4
        else:
            ethertype, at = _unwrap_other(frame, ethertype, at)
    return at, 4 if ethertype == wire.ETHERTYPE_IPV4 else 6


def _unwrap_other(frame: _Frame, ethertype: int, at: int) -> tuple[int, int]:
    if ethertype in _MPLS:
        at = _labels(frame, at)
        return _by_version(frame, at), at
    if ethertype == _PPPOE_SESSION:
        frame.take(at, 6)
        return _ppp_protocol(frame, at + 6)
    if ethertype in _NEXT_AT:
        size = _NEXT_AT[ethertype] + 2
        return _u16(frame.take(at, size), size - 2), at + size
    if ethertype <= _LENGTH_MAX:
        head = frame.take(at, 8)
        if head.startswith(_SNAP) and _u16(head, 6) > _LENGTH_MAX:
            return _u16(head, 6), at + 8
    raise _NoPacketError


def _labels(frame: _Frame, at: int) -> int:
    for _ in range(MPLS_LABELS_MAX):
        label = MPLSlabel(frame.take(at, 4))
        at += 4
        if label.s:
            return at
    raise _NoPacketError


# --- IP -----------------------------------------------------------------------------------------------------------
def _ipv4(row: np.void, frame: _Frame, network: _Network) -> None:
    head = frame.take(network.at, 20, "bad_ip_length")
    header = (head[0] & 15) * 4
    if head[0] >> 4 != 4 or head[9] not in _FOLLOWED:  # noqa: PLR2004 - the version field
        raise _NoPacketError
    if header < 20:  # noqa: PLR2004 - RFC 791: five words
        raise _NoPacketError("" if head[9] == _UDP else "bad_ip_length")  # in UDP, only a tunnel would be ours
    ip = IP(head)
    network.offset = (_u16(head, 6) & 0x1FFF) * 8
    if network.offset and ip.p != wire.IPPROTO_TCP:
        raise _NoPacketError
    if network.offset or ip.mf:
        network.weird |= WEIRD_BIT["ip_fragment"]
    _set_length(network, ip.len)
    network.payload_at = network.at + header
    _skip_extensions(frame, network, ip.p, row)
    row["src_hi"] = row["dst_hi"] = 0
    row["src_lo"] = _MAPPED | int.from_bytes(ip.src, "big")
    row["dst_lo"] = _MAPPED | int.from_bytes(ip.dst, "big")
    row["ip_id"] = ip.id
    row["ttl"] = ip.ttl


def _ipv6(row: np.void, frame: _Frame, network: _Network) -> None:
    # By hand: dpkt's IP6 wants the whole chain of extension headers and cuts the payload by its own idea of a length.
    head = frame.take(network.at, 40, "bad_ip_length")
    word, length, following, hops, src, dst = struct.unpack(">IHBB16s16s", head)
    if word >> 28 != 6 or following not in (*_FOLLOWED, *_EXTENSIONS):  # noqa: PLR2004 - the version field
        raise _NoPacketError
    _set_length(network, length and length + 40)
    network.payload_at = network.at + 40
    row["ip_id"] = 0
    _skip_extensions(frame, network, following, row)
    for side, address in (("src", src), ("dst", dst)):
        value = int.from_bytes(address, "big")
        row[f"{side}_hi"] = value >> 64
        row[f"{side}_lo"] = value & _LOW
    row["ttl"] = hops


def _set_length(network: _Network, told: int) -> None:
    there = network.limit - network.at
    if told == 0:
        network.weird |= WEIRD_BIT["tso_length"]
    elif told > there:
        network.weird |= WEIRD_BIT["bad_ip_length"]
    network.end = network.at + min(told or there, there)


def _skip_extensions(frame: _Frame, network: _Network, following: int, row: np.void) -> None:
    at = network.payload_at
    allowed = _EXTENSIONS if network.version == 6 else (_AUTHENTICATION,)  # noqa: PLR2004 - the version field
    while following in allowed:
        if at + 8 > network.end:
            raise _NoPacketError("bad_ip_length")
        kind, (following, size) = following, frame.take(at, 8)[:2]
        if kind == _FRAGMENT:
            _note_fragment(network, _u16(frame.raw, at + 2), following)
            row["ip_id"] = _u16(frame.raw, at + 6)
            at += 8
        elif kind == _AUTHENTICATION:
            at += (size + 2) * 4
        else:
            at += (size + 1) * 8
    network.protocol, network.payload_at = following, at


def _note_fragment(network: _Network, field: int, following: int) -> None:
    network.offset, more = field & ~7, field & 1
    if network.offset and following != wire.IPPROTO_TCP:
        raise _NoPacketError("ip_fragment" if following in _EXTENSIONS else "")
    if network.offset or more:
        network.weird |= WEIRD_BIT["ip_fragment"]


# --- tunnels: each returns the EtherType, the start of what is carried, and what kind of tunnel it is ----------------
def _open_tunnel(frame: _Frame, network: _Network) -> tuple[int, int, str]:
    at = network.payload_at
    if network.protocol in _INSIDE_IP:
        inner = _INSIDE_IP[network.protocol]
        return inner, at, "mpls" if inner in _MPLS else "ip_in_ip"
    if network.protocol == _GRE:
        return _gre(frame, at)
    if network.protocol == _UDP and at + 8 <= len(frame.raw):
        source, target = struct.unpack_from(">HH", frame.raw, at)
        carried = _UDP_TUNNELS.get(target) or _UDP_TUNNELS.get(source)
        if carried is not None:
            return carried(frame, at + 8)
    raise _NoPacketError


def _gre(frame: _Frame, at: int) -> tuple[int, int, str]:
    """RFC 2784, RFC 2890."""
    flags, ethertype = struct.unpack(">HH", frame.take(at, 4))
    if flags & 0x4007:  # a source route, or a version that is not 0
        raise _NoPacketError
    numbered = flags & 0x1000
    at += 4 + 4 * ((flags >> 15) + (flags >> 13 & 1) + (flags >> 12 & 1))
    if ethertype == _ERSPAN_2:
        return _BRIDGED, at + 8 if numbered else at, "erspan"  # type I has no header of its own
    if ethertype == _ERSPAN_3:
        return _BRIDGED, at + 12 + 8 * (frame.take(at, 12)[11] & 1), "erspan"
    if ethertype in _ARUBA:
        return *_wlan(frame, at), "gre"
    return ethertype, at, "gre"


def _gre_in_udp(frame: _Frame, at: int) -> tuple[int, int, str]:
    return *_gre(frame, at)[:2], "gre_in_udp"


def _vxlan(frame: _Frame, at: int) -> tuple[int, int, str]:
    frame.take(at, 8)  # RFC 7348; what is reserved is not judged
    return _BRIDGED, at + 8, "vxlan"


def _geneve(frame: _Frame, at: int) -> tuple[int, int, str]:
    head = frame.take(at, 8)  # RFC 8926
    if head[0] >> 6:
        raise _NoPacketError
    return _u16(head, 2), at + 8 + 4 * (head[0] & 0x3F), "geneve"


def _gtp_u(frame: _Frame, at: int) -> tuple[int, int, str]:
    head = frame.take(at, 8)  # 3GPP TS 29.281, section 5
    if head[0] >> 4 != 3 or head[1] != _GTP_DATA:  # noqa: PLR2004 - version 1, and not GTP'
        raise _NoPacketError
    at += 8
    if head[0] & 7:
        following = frame.take(at, 4)[3] if head[0] & 4 else 0
        at += 4
        while following:
            size = 4 * frame.take(at, 1)[0]
            if not size:
                raise _NoPacketError
            following = frame.take(at + size - 1, 1)[0]
            at += size
    return _by_version(frame, at), at, "gtp_u"


def _teredo(frame: _Frame, at: int) -> tuple[int, int, str]:
    # RFC 4380, section 5.1.1: an authentication and an origin may stand before the packet
    head = frame.take(at, 4)
    if head.startswith(b"\x00\x01"):
        at += 13 + head[2] + head[3]
    if frame.take(at, 2) == b"\x00\x00":
        at += 8
    return _by_version(frame, at), at, "teredo"


def _ayiya(frame: _Frame, at: int) -> tuple[int, int, str]:
    head = frame.take(at, 8)  # draft-massar-v6ops-ayiya-02
    if head[3] not in _INSIDE_IP or head[2] & 15 != 1:  # only forwarded packets
        raise _NoPacketError
    return _INSIDE_IP[head[3]], at + 8 + (1 << (head[0] >> 4)) + 4 * (head[1] >> 4), "ayiya"


def _mpls_in_udp(_: _Frame, at: int) -> tuple[int, int, str]:
    return _MPLS[0], at, "mpls_in_udp"  # RFC 7510


_UDP_TUNNELS: Final[dict[int, Callable[[_Frame, int], tuple[int, int, str]]]] = {
    2152: _gtp_u,
    3544: _teredo,
    4754: _gre_in_udp,  # RFC 8086
    4789: _vxlan,
    5072: _ayiya,
    6081: _geneve,
    6635: _mpls_in_udp,
    8472: _vxlan,  # Linux before VXLAN had a port of its own, and still its default
}


# --- TCP ----------------------------------------------------------------------------------------------------------
def _tcp(row: np.void, frame: _Frame, network: _Network, port: int) -> None:
    at = network.payload_at
    part = network.weird & WEIRD_BIT["ip_fragment"]  # its header may lie in the next fragment
    if at + 20 > network.end:
        raise _NoPacketError("ip_fragment" if part else "bad_ip_length")
    if port and len(frame.raw) >= at + 4 and port not in struct.unpack_from(">HH", frame.raw, at):
        raise _NoPacketError
    header = (frame.take(at, 20)[12] >> 4) * 4
    if header < 20:  # noqa: PLR2004 - RFC 9293: five words
        raise _NoPacketError("bad_tcp_offset")
    if at + header > network.end:
        raise _NoPacketError("ip_fragment" if part else "bad_tcp_offset")
    cut = at + header > len(frame.raw)
    payload_bytes = network.end - at - header
    row["payload_at"] = min(at + header, len(frame.raw))
    row["payload_bytes"] = payload_bytes
    row["payload_captured"] = max(min(len(frame.raw) - at - header, payload_bytes), 0)
    row["weird"] = network.weird | (WEIRD_BIT["cut_headers"] if cut else 0)
    _tcp_fields(row, TCP(frame.raw[at : at + 20]))


def _later_fragment(row: np.void, frame: _Frame, network: _Network) -> None:
    at, size = network.payload_at, network.end - network.payload_at
    if size <= 0:
        raise _NoPacketError("ip_fragment")
    row["payload_at"] = min(at, len(frame.raw))
    row["payload_bytes"] = size
    row["payload_captured"] = max(min(len(frame.raw) - at, size), 0)
    row["weird"] = network.weird
    row["seq"] = network.offset


def _tcp_fields(row: np.void, tcp: Any) -> None:
    row["src_port"], row["dst_port"] = tcp.sport, tcp.dport
    row["seq"] = tcp.seq
    row["flags"] = tcp.flags & 0xFF
    row["ack"] = tcp.ack if tcp.flags & wire.ACK else 0
    row["tcp_window"] = tcp.win
    row["tcp_checksum"] = tcp.sum


def _u16(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "big")

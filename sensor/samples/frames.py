"""Frames of sample captures: TCP segments between two hosts, rendered to Ethernet bytes with every checksum right.

Payload is `head` bytes followed by `fill` copies of one constant byte, so that a gigabyte needs neither memory nor a
checksum pass.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address
from typing import Final, NamedTuple

from sensor import wire

FILL: Final = 0x44  # the constant byte of bulk data; not 0, so that cut framing cannot mistake it for keep-alives
NEW_SYN_WINDOW: Final = 65535  # hosts that send the newer handshake
OLD_SYN_WINDOW: Final = 64240  # hosts that send the older one
ORIG: Final = 0
RESP: Final = 1
FRAME_MIN_BYTES: Final = 60  # Ethernet pads shorter frames; capture files hold no frame check sequence
_FILL_BYTES: Final = bytes([FILL]) * 65536


@dataclass(frozen=True, slots=True)
class Host:
    """One address on the wire, as the sensor's segment sees it (its router's MAC and a lower TTL if it is far)."""

    ip: str
    ttl: int = 128
    syn_window: int = NEW_SYN_WINDOW
    via: str = ""

    @property
    def packed(self) -> bytes:
        """The address in network order."""
        return ip_address(self.ip).packed

    @property
    def mac(self) -> bytes:
        """A locally administered MAC that belongs to this address, or to the router in front of it."""
        return b"\x02" + sha256((self.via or self.ip).encode()).digest()[:5]

    def behind(self, router: str, hops: int = 1) -> Host:
        """Return this host as seen behind a router."""
        return replace(self, via=router, ttl=self.ttl - hops)


class Segment(NamedTuple):
    """One TCP segment on its way, not yet bytes."""

    ts_ns: int
    link: Link
    side: int
    flags: int
    seq: int
    ack: int
    window: int
    options: bytes
    head: bytes
    fill: int

    @property
    def payload_bytes(self) -> int:
        """TCP payload length."""
        return len(self.head) + self.fill


@dataclass(eq=False)
class Link:
    """The two ends of one flow, and the header bytes that never change."""

    orig: Host
    resp: Host
    orig_port: int
    resp_port: int
    vlans: tuple[int, ...]

    @property
    def ip_version(self) -> int:
        """4 or 6."""
        return ip_address(self.orig.ip).version

    @property
    def ip_header_bytes(self) -> int:
        """20 or 40."""
        return 20 if self.ip_version == 4 else 40  # noqa: PLR2004 - IP version

    @cached_property
    def ways(self) -> tuple[Way, Way]:
        """Originator to responder, and back."""
        return Way.of(self, ORIG), Way.of(self, RESP)


@dataclass(frozen=True, slots=True)
class Way:
    """The constant parts of one direction's frames."""

    ethernet: bytes
    addresses: bytes
    ports: bytes
    ttl: int
    pseudo_sum: int
    version: int

    @classmethod
    def of(cls, link: Link, side: int) -> Way:
        """Build the constants of one direction."""
        src, dst = (link.resp, link.orig) if side else (link.orig, link.resp)
        ports = (link.resp_port, link.orig_port) if side else (link.orig_port, link.resp_port)
        tags = b""
        for depth, vid in enumerate(link.vlans):
            outer = len(link.vlans) > 1 and depth == 0
            tags += struct.pack(">HH", wire.ETHERTYPE_QINQ if outer else wire.ETHERTYPE_VLAN, vid)
        version = link.ip_version
        ethertype = wire.ETHERTYPE_IPV4 if version == 4 else wire.ETHERTYPE_IPV6  # noqa: PLR2004 - IP version
        addresses = src.packed + dst.packed
        return cls(
            dst.mac + src.mac + tags + struct.pack(">H", ethertype),
            addresses,
            struct.pack(">HH", *ports),
            src.ttl,
            int.from_bytes(addresses) % 0xFFFF + wire.IPPROTO_TCP,
            version,
        )

    def frame(self, segment: Segment, ident: int) -> bytes:
        """Return the frame's bytes, all of them up to the end of `head`; the fill bytes are appended by the caller."""
        rest = (segment.seq, segment.ack, (20 + len(segment.options)) << 2, segment.flags, segment.window)
        tcp = self.ports + struct.pack(">IIBBHHH", *rest, 0, 0) + segment.options
        size = len(tcp) + segment.payload_bytes
        total = self.pseudo_sum + size + int.from_bytes(tcp) + payload_sum(segment.head, segment.fill)
        tcp = tcp[:16] + struct.pack(">H", -total % 0xFFFF) + tcp[18:]
        if self.version == 4:  # noqa: PLR2004 - IP version
            fixed = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, ident, 0x4000, self.ttl, wire.IPPROTO_TCP, 0)
            ip = fixed[:10] + struct.pack(">H", -int.from_bytes(fixed + self.addresses) % 0xFFFF) + self.addresses
        else:
            label = 6 << 28 | int.from_bytes(self.ports) % 0xFFFFF
            ip = struct.pack(">IHBB", label, size, wire.IPPROTO_TCP, self.ttl) + self.addresses
        return self.ethernet + ip + tcp + segment.head


def payload_sum(head: bytes, fill: int) -> int:
    """Sum the 16-bit words of `head` and `fill` constant bytes, modulo 65535 (ones' complement)."""
    if len(head) % 2:
        head, fill = head + (bytes([FILL]) if fill else b"\0"), max(fill - 1, 0)
    return (int.from_bytes(head) + fill // 2 * FILL * 0x101 + fill % 2 * (FILL << 8)) % 0xFFFF


class Frame(NamedTuple):
    """One frame as a capture file holds it: `data` may be cut, `wire_bytes` is its true length."""

    ts_ns: int
    data: bytes
    wire_bytes: int


def render(segments: list[Segment], snaplen: int) -> list[Frame]:
    """Turn segments into frames in order of time; IP identifications count per pair of hosts, as Windows does."""
    ids: dict[bytes, int] = {}
    frames = []
    for segment in sorted(segments, key=lambda s: s.ts_ns):
        way = segment.link.ways[segment.side]
        ident = ids.get(way.addresses, int.from_bytes(sha256(way.addresses).digest()[:2]))
        ids[way.addresses] = (ident + 1) & 0xFFFF
        data = way.frame(segment, ident)
        length = max(len(data) + segment.fill, FRAME_MIN_BYTES)
        room = snaplen - len(data)
        data = data + _FILL_BYTES[: min(segment.fill, room)] if room > 0 else data[:snaplen]
        frames.append(Frame(segment.ts_ns, data.ljust(min(length, snaplen), b"\0"), length))
    return frames

"""Frames and capture files for tests, written with struct from the RFCs; shares no code with the product.

Every function takes plain values and returns bytes, so a test reads as the frame it means:

    frame = ethernet(ipv4("10.1.0.5", "10.1.0.9", tcp(50000, 7680, flags=SYN)), vlans=(vlan(10),))
    data = pcap([(1_000_000_000, frame)])

Addresses are text. Checksums are right unless a test passes its own. Integers are masked to their field's width,
so a test can write `seq=-1` or run over 2**32.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
IPV4, IPV6, VLAN, QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
GREETING = b"\x0eSwarm protocol"
OLD_FIELD = bytes.fromhex("0000000000100000")  # the contested 8 bytes as Windows 10 sends them
NEW_FIELD = bytes.fromhex("0100000000100000")  # ... and as Windows 11 does

Frame = bytes | tuple[int, bytes] | tuple[int, bytes, int]
"""A frame alone, or with its time in ns, or with time and true length on the wire."""


def checksum(data: bytes) -> int:
    """RFC 1071: the ones' complement of the ones' complement sum of the 16-bit words."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- link layer --------------------------------------------------------------------------------------------------
def vlan(vid: int, *, priority: int = 0, tpid: int = VLAN) -> tuple[int, int]:
    """One tag for `ethernet(vlans=...)`: (TPID, TCI)."""
    return tpid, (priority & 7) << 13 | (vid & 0xFFF)


def ethernet(
    payload: bytes,
    *,
    ethertype: int | None = None,
    vlans: Sequence[tuple[int, int]] = (),
    src: bytes = b"\x02\0\0\0\0\x01",
    dst: bytes = b"\x02\0\0\0\0\x02",
    pad: bool = False,
) -> bytes:
    """Ethernet II with any stack of tags; the ethertype is read from the IP version. `pad` fills up to 60 bytes."""
    tags = b"".join(struct.pack(">HH", *tag) for tag in vlans)
    frame = dst + src + tags + struct.pack(">H", _ethertype(payload) if ethertype is None else ethertype) + payload
    return frame.ljust(60, b"\0") if pad else frame


def sll(payload: bytes, *, ethertype: int | None = None, packet_type: int = 0) -> bytes:
    """Linux cooked capture, LINKTYPE 113."""
    kind = _ethertype(payload) if ethertype is None else ethertype
    return struct.pack(">HHH8sH", packet_type, 1, 6, b"\x02\0\0\0\0\x01\0\0", kind) + payload


def sll2(payload: bytes, *, ethertype: int | None = None, packet_type: int = 0, interface: int = 2) -> bytes:
    """Linux cooked capture version 2, LINKTYPE 276."""
    kind = _ethertype(payload) if ethertype is None else ethertype
    return struct.pack(">HHIHBB8s", kind, 0, interface, 1, packet_type, 6, b"\x02\0\0\0\0\x01\0\0") + payload


def loopback(payload: bytes, *, big_endian: bool = False, family: int | None = None) -> bytes:
    """BSD loopback, LINKTYPE 0 (host byte order) or 108 (`big_endian`)."""
    kind = (2 if payload[0] >> 4 == 4 else 24) if family is None else family
    return struct.pack(">I" if big_endian else "<I", kind) + payload


def _ethertype(payload: bytes) -> int:
    return IPV6 if payload and payload[0] >> 4 == 6 else IPV4


# --- IP ------------------------------------------------------------------------------------------------------------
def ipv4(  # noqa: PLR0913 - every field of the header can be said
    src: str,
    dst: str,
    payload: bytes,
    *,
    proto: int = 6,
    ttl: int = 128,
    ident: int = 1,
    options: bytes = b"",
    fragment: int = 0x4000,
    total: int | None = None,
    fix: bool = True,
) -> bytes:
    """RFC 791. `fragment` is the 16-bit flags and offset field, `total` sets the length; `fix` writes the TCP sum."""
    options += b"\0" * (-len(options) % 4)
    size = 20 + len(options) + len(payload)
    source, target = IPv4Address(src).packed, IPv4Address(dst).packed
    if fix and proto == 6 and len(payload) >= 20:
        payload = _with_tcp_sum(payload, source + target + struct.pack(">HH", proto, len(payload)))
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | (20 + len(options)) // 4,
        0,
        (size if total is None else total) & 0xFFFF,
        ident & 0xFFFF,
        fragment,
        ttl,
        proto,
        0,
        source,
        target,
    )
    header += options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def fragments(frame: bytes, size: int) -> list[bytes]:
    """RFC 791: an untagged frame of IPv4 without options as fragments with `size` bytes each, a multiple of 8."""
    body, pieces = frame[34:], range(0, len(frame) - 34, size)
    src, dst = (str(IPv4Address(frame[at : at + 4])) for at in (26, 30))
    return [
        frame[:14]
        + ipv4(
            src, dst, body[at : at + size], proto=frame[23], ttl=frame[22], ident=int.from_bytes(frame[18:20], "big"),
            fragment=(0x2000 if at != pieces[-1] else 0) | at // 8, fix=False,
        )
        for at in pieces
    ]  # fmt: skip


def ipv6(  # noqa: PLR0913 - every field of the header can be said
    src: str,
    dst: str,
    payload: bytes,
    *,
    next_header: int = 6,
    hop_limit: int = 128,
    extensions: Sequence[tuple[int, bytes]] = (),
    total: int | None = None,
    fix: bool = True,
) -> bytes:
    """RFC 8200. `extensions` are (protocol number, whole header, byte 0 free); `total` sets the length field."""
    source, target = IPv6Address(src).packed, IPv6Address(dst).packed
    if fix and next_header == 6 and len(payload) >= 20:
        payload = _with_tcp_sum(payload, source + target + struct.pack(">II", len(payload), next_header))
    kinds = [kind for kind, _ in extensions] + [next_header]
    chain = b"".join(bytes([after]) + body[1:] for after, (_, body) in zip(kinds[1:], extensions, strict=True))
    size = len(chain) + len(payload)
    length = (size if total is None else total) & 0xFFFF
    return struct.pack(">IHBB16s16s", 6 << 28, length, kinds[0], hop_limit, source, target) + chain + payload


def ip(src: str, dst: str, payload: bytes) -> bytes:
    """IPv4 or IPv6 with defaults, by the form of the addresses."""
    return ipv6(src, dst, payload) if ip_address(src).version == 6 else ipv4(src, dst, payload)


def _with_tcp_sum(segment: bytes, pseudo: bytes) -> bytes:
    if segment[16:18] != b"\0\0":  # a test's own checksum stays
        return segment
    return segment[:16] + struct.pack(">H", checksum(pseudo + segment)) + segment[18:]


# --- TCP -----------------------------------------------------------------------------------------------------------
def tcp(  # noqa: PLR0913 - every field of the header can be said
    src_port: int,
    dst_port: int,
    payload: bytes = b"",
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = ACK,
    window: int = 1024,
    options: bytes = b"",
    offset: int | None = None,
    sum16: int = 0,
) -> bytes:
    """RFC 9293. `options` are padded to words; `offset` sets the data offset in words; the IP header writes the sum."""
    options += b"\0" * (-len(options) % 4)
    words = (20 + len(options)) // 4 if offset is None else offset
    numbers = (seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (words & 15) << 4, flags, window & 0xFFFF, sum16, 0)
    return struct.pack(">HHIIBBHHH", src_port, dst_port, *numbers) + options + payload


def syn_options(mss: int = 1460, scale: int = 8) -> bytes:
    """Return MSS, NOP, window scale, NOP, NOP, SACK permitted: the order that Windows sends."""
    return struct.pack(">BBHBBBBBBBB", 2, 4, mss, 1, 3, 3, scale, 1, 1, 4, 2)


# --- Delivery Optimization -------------------------------------------------------------------------------------------
def do_handshake(
    swarm_hash: bytes = b"\xaa" * 32,
    peer_id: bytes = bytes(range(16)),
    *,
    field: bytes = NEW_FIELD,
    suffix: bytes = b"\0\0\0\0",
) -> bytes:
    """75 bytes: name length, name, the contested 8 bytes, swarm hash, GUID in memory order, suffix."""
    return GREETING + field + swarm_hash + peer_id + suffix


def do_message(kind: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    """Any message: u32 length (of id and body; `length` overrides it), u8 id, body."""
    return struct.pack(">IB", 1 + len(body) if length is None else length, kind) + body


def do_keepalive() -> bytes:
    """Four zero bytes: length 0, no id."""
    return b"\0\0\0\0"


def do_have(index: int) -> bytes:
    """Id 4: the sender now has this piece."""
    return do_message(4, struct.pack(">I", index))


def do_bitfield(held: Iterable[int], pieces: int) -> bytes:
    """Id 5: bit 7 of byte 0 is piece 0; spare bits are 0."""
    bits = bytearray((pieces + 7) // 8)
    for index in held:
        bits[index // 8] |= 0x80 >> index % 8
    return do_message(5, bytes(bits))


def do_request(index: int, begin: int = 0, length: int = 1 << 20) -> bytes:
    """Id 6: three u32."""
    return do_message(6, struct.pack(">III", index, begin, length))


def do_cancel(index: int, begin: int = 0, length: int = 1 << 20) -> bytes:
    """Id 8: as a request."""
    return do_message(8, struct.pack(">III", index, begin, length))


def do_piece(index: int, begin: int = 0, data: bytes = b"D" * 64) -> bytes:
    """Id 7: u32 index, u32 begin, data."""
    return do_message(7, struct.pack(">II", index, begin) + data)


def do_piece_header(index: int, begin: int = 0, size: int = 1 << 20) -> bytes:
    """Return the 13 bytes in front of a piece's data, for tests that cut the data off."""
    return do_message(7, struct.pack(">II", index, begin), length=9 + size)


# --- capture files ---------------------------------------------------------------------------------------------------
def pcap(
    frames: Iterable[Frame],
    *,
    nanos: bool = False,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
) -> bytes:
    """Write a classic pcap. Frames without a time get 1 s, 2 s, …; beyond `snaplen` is cut, the true length kept."""
    order, unit = (">", "<")[not big_endian], 1 if nanos else 1000
    magic = 0xA1B23C4D if nanos else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype)]
    for ts_ns, data, wire in _timed(frames):
        seconds, rest = divmod(ts_ns, 1_000_000_000)
        kept = data[:snaplen]
        out += [struct.pack(order + "IIII", seconds & 0xFFFFFFFF, rest // unit, len(kept), wire), kept]
    return b"".join(out)


def pcapng(
    frames: Iterable[Frame],
    *,
    nanos: bool = True,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    drops: int | None = None,
) -> bytes:
    """Write a pcapng section: header, one interface, enhanced packets; `drops` adds an interface statistics block."""
    order, unit = (">", "<")[not big_endian], 1 if nanos else 1000
    resolution = struct.pack(order + "HHB3x", 9, 1, 9 if nanos else 6) + struct.pack(order + "HH", 0, 0)
    out = [
        block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), big_endian=big_endian),
        block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + resolution, big_endian=big_endian),
    ]
    for ts_ns, data, wire in _timed(frames):
        kept, ticks = data[:snaplen], ts_ns // unit
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(kept), wire)
        out.append(block(6, head + kept, big_endian=big_endian))
    if drops is not None:
        body = struct.pack(order + "III", 0, 0, 0) + struct.pack(order + "HHQHH", 5, 8, drops, 0, 0)
        out.append(block(5, body, big_endian=big_endian))
    return b"".join(out)


def block(kind: int, body: bytes, *, big_endian: bool = False) -> bytes:
    """Any pcapng block: type, total length, padded body, total length."""
    order = (">", "<")[not big_endian]
    body += b"\0" * (-len(body) % 4)
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def _timed(frames: Iterable[Frame]) -> Iterable[tuple[int, bytes, int]]:
    for at, frame in enumerate(frames, 1):
        match frame:
            case bytes():
                yield at * 1_000_000_000, frame, len(frame)
            case (int(ts_ns), bytes(data)):
                yield ts_ns, data, len(data)
            case (int(ts_ns), bytes(data), int(wire)):
                yield ts_ns, data, wire

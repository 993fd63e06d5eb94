"""Other protocols that a sample office speaks on port 7680, from HTTP to DNS, and random-looking bytes."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sensor.samples.frames import ORIG, RESP

if TYPE_CHECKING:
    from collections.abc import Callable

Dialogue = tuple[tuple[int, bytes], ...]


def noise(seed: str, size: int) -> bytes:
    """Return bytes that look random and are always the same."""
    return b"".join(sha256(f"{seed} {at}".encode()).digest() for at in range(0, size, 32))[:size]


def http() -> Dialogue:
    """Two requests and their answers."""
    page = b"<!doctype html>\n<title>build status</title>\n" + b"<p>all green</p>\n" * 40
    turns = []
    for path, body in ((b"/", page), (b"/status.json", b'{"builds": 12, "failed": 0}\n')):
        kind = b"text/html" if path == b"/" else b"application/json"
        asked = b"GET %s HTTP/1.1\r\nHost: 10.1.20.82:7680\r\nUser-Agent: curl/8.9.1\r\nAccept: */*\r\n\r\n" % path
        said = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)
        turns += [(ORIG, asked), (RESP, said)]
    return tuple(turns)


def tls() -> Dialogue:
    """Return a TLS 1.3 handshake (RFC 8446) as seen from outside, then application data."""
    share = struct.pack(">HH", 29, 32)  # x25519
    name = b"updates.example.org"
    offers = (
        _extension(0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name)
        + _extension(10, struct.pack(">HH", 2, 29))
        + _extension(13, struct.pack(">HHH", 4, 0x0403, 0x0804))
        + _extension(43, b"\x02\x03\x04")
        + _extension(51, struct.pack(">H", 36) + share + noise("client share", 32))
    )
    suites = struct.pack(">HHH", 4, 0x1301, 0x1302)
    hello = b"\x03\x03" + noise("client random", 32) + b"\x20" + noise("session", 32) + suites + b"\x01\x00"
    choice = _extension(43, b"\x03\x04") + _extension(51, share + noise("server share", 32))
    answer = b"\x03\x03" + noise("server random", 32) + b"\x20" + noise("session", 32) + b"\x13\x01\x00"
    change = _record(20, b"\x01")
    return (
        (ORIG, _record(22, _handshake(1, hello + struct.pack(">H", len(offers)) + offers), version=0x0301)),
        (
            RESP,
            _record(22, _handshake(2, answer + struct.pack(">H", len(choice)) + choice))
            + change
            + _record(23, noise("certificate", 2310)),
        ),
        (ORIG, change + _record(23, noise("finished", 53))),
        (ORIG, _record(23, noise("request", 412))),
        (RESP, _record(23, noise("response", 5120))),
    )


def ssh() -> Dialogue:
    """Return banners and key exchange (RFC 4253, RFC 8731), then encrypted packets."""
    key = _text(b"ssh-ed25519") + _text(noise("host key", 32))
    signature = _text(b"ssh-ed25519") + _text(noise("signature", 64))
    return (
        (ORIG, b"SSH-2.0-OpenSSH_for_Windows_9.5\r\n"),
        (RESP, b"SSH-2.0-OpenSSH_9.7\r\n"),
        (ORIG, _kexinit("client")),
        (RESP, _kexinit("server")),
        (ORIG, _ssh_packet(b"\x1e" + struct.pack(">I", 32) + noise("ssh client share", 32))),
        (RESP, _ssh_packet(b"\x1f" + _text(key) + _text(noise("ssh server share", 32)) + _text(signature))),
        (ORIG, _ssh_packet(b"\x15")),
        (RESP, _ssh_packet(b"\x15")),
        (ORIG, noise("ssh request", 1184)),
        (RESP, noise("ssh response", 3968)),
    )


def smb() -> Dialogue:
    """Return an SMB 2 negotiation ([MS-SMB2] 2.2.3) and its answer, each with its length before it."""
    header = b"\xfeSMB" + struct.pack("<HHIHH", 64, 0, 0, 0, 31) + bytes(48)
    asked = header + struct.pack("<HHHHI", 36, 2, 1, 0, 0x7F) + noise("smb client", 24) + b"\x02\x02\x10\x02"
    said = header + struct.pack("<HHHH", 65, 1, 0x0311, 0) + noise("smb server", 56)
    return (ORIG, struct.pack(">I", len(asked)) + asked), (RESP, struct.pack(">I", len(said)) + said)


def rdp() -> Dialogue:
    """Return an X.224 connection request and its confirmation ([MS-RDPBCGR] 2.2.1)."""
    asked = struct.pack(">BHHB", 0xE0, 0, 0, 0) + struct.pack("<BBHI", 1, 0, 8, 3)
    said = struct.pack(">BHHB", 0xD0, 0, 0x1234, 0) + struct.pack("<BBHI", 2, 0, 8, 2)
    return tuple(
        (side, struct.pack(">BBHB", 3, 0, len(body) + 5, len(body)) + body)
        for side, body in ((ORIG, asked), (RESP, said))
    )


def socks() -> Dialogue:
    """Return a SOCKS 5 greeting and what follows (RFC 1928)."""
    return (
        (ORIG, b"\x05\x01\x00"),
        (RESP, b"\x05\x00"),
        (ORIG, b"\x05\x01\x00\x01\xcb\x00\x71\x07\x01\xbb"),
        (RESP, b"\x05\x00\x00\x01\x0a\x01\x14\x52\x1e\x00"),
    )


def bittorrent() -> Dialogue:
    """Return handshakes of BitTorrent (BEP 3)."""
    start = b"\x13BitTorrent protocol" + bytes(8) + noise("info hash", 20)
    return (ORIG, start + b"-XX0001-" + noise("one", 12)), (RESP, start + b"-XX0001-" + noise("two", 12))


def dns() -> Dialogue:
    """Return a question over TCP and its answer (RFC 1035, section 4.2.2)."""
    question = b"\x07updates\x07example\x03org\x00" + struct.pack(">HH", 1, 1)
    asked = struct.pack(">HHHHHH", 0x1A2B, 0x0100, 1, 0, 0, 0) + question
    answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + bytes((192, 0, 2, 7))
    said = struct.pack(">HHHHHH", 0x1A2B, 0x8180, 1, 1, 0, 0) + question + answer
    return (ORIG, struct.pack(">H", len(asked)) + asked), (RESP, struct.pack(">H", len(said)) + said)


def opaque() -> Dialogue:
    """Return nothing that anyone knows, in both directions."""
    return tuple(
        (side, noise(f"opaque {side} {turn}", size))
        for turn in range(6)
        for side, size in ((ORIG, 1500 + 77 * turn), (RESP, 2100 + 41 * turn))
    )


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack(">HH", kind, len(body)) + body


def _handshake(kind: int, body: bytes) -> bytes:
    return struct.pack(">I", kind << 24 | len(body)) + body


def _record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    return struct.pack(">BHH", kind, version, len(body)) + body


def _text(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def _kexinit(side: str) -> bytes:
    lists = (
        b"curve25519-sha256,ecdh-sha2-nistp256",
        b"ssh-ed25519,rsa-sha2-512",
        *[b"chacha20-poly1305@openssh.com,aes256-gcm@openssh.com"] * 2,
        *[b"hmac-sha2-256-etm@openssh.com,hmac-sha2-256"] * 2,
        *[b"none"] * 2,
        *[b""] * 2,
    )
    return _ssh_packet(b"\x14" + noise(f"{side} cookie", 16) + b"".join(_text(names) for names in lists) + bytes(5))


def _ssh_packet(body: bytes) -> bytes:
    padding = 8 - (len(body) + 5) % 8
    padding += 8 if padding < 4 else 0  # noqa: PLR2004 - RFC 4253, section 6: at least four bytes
    return struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)


DIALOGUES: Final[dict[str, Callable[[], Dialogue]]] = {
    "http": http, "tls": tls, "ssh": ssh, "smb": smb, "rdp": rdp, "socks": socks, "bittorrent": bittorrent, "dns": dns,
    "opaque": opaque,
}  # fmt: skip

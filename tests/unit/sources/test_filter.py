"""The generated filter runs in the kernel; the decoder and the compiler of tcpdump are its oracles."""

from __future__ import annotations

import ctypes
import random
import re
import shutil
import socket
import struct
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.schema import Batch, Frames
from sensor.sources import filter as bpf
from tests.builders import ACK, QINQ, SYN, do_handshake, ethernet, ipv4, ipv6, tcp, vlan

if TYPE_CHECKING:
    from collections.abc import Iterator

SO_ATTACH_FILTER = 26
OURS = tcp(50000, 7680, flags=SYN)
ANSWER = tcp(7680, 50000, flags=SYN | ACK)
OTHER = tcp(50000, 7681, flags=SYN)
A, B = "10.1.0.5", "10.1.0.9"
A6, B6 = "2001:db8:1::5", "2001:db8:1::9"
MACS = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"


class Kernel:
    """A pair of sockets with a filter between them: what arrives was let through."""

    def __init__(self, code: bytes) -> None:
        self._from, self._to = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        held = ctypes.create_string_buffer(code)
        wish = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
        self._to.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, wish)
        self._to.setblocking(False)  # noqa: FBT003 - its only argument

    def lets(self, frame: bytes) -> bool:
        self._from.send(frame)
        try:
            return len(self._to.recv(1 << 18)) == len(frame)
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._from.close()
        self._to.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel(bpf.packed(bpf.program()))
    yield made
    made.close()


def udp(port: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload


def gre(ethertype: int, payload: bytes, *, options: int = 0) -> bytes:
    words = (options & 0xB000).bit_count()
    return struct.pack(">HH", options, ethertype) + b"\0\0\0\7" * words + payload


def extension(following: int, size: int = 0) -> bytes:
    return bytes((following, size)) + bytes(6 + 8 * size)


def over(protocol: int, payload: bytes) -> bytes:
    return ethernet(ipv4("192.0.2.1", "192.0.2.2", payload, proto=protocol, fix=False))


INNER = ethernet(ipv4(A, B, OURS))
INNER_PACKET = ipv4(A, B, OURS)
LET_THROUGH = {
    "to the port": ethernet(ipv4(A, B, OURS)),
    "from the port": ethernet(ipv4(B, A, ANSWER)),
    "IPv6": ethernet(ipv6(A6, B6, OURS)),
    "IP options": ethernet(ipv4(A, B, OURS, options=b"\x01" * 8)),
    "one tag": ethernet(ipv4(A, B, OURS), vlans=(vlan(7),)),
    "802.1ad": ethernet(ipv4(A, B, OURS), vlans=(vlan(7, tpid=QINQ), vlan(8))),
    "four tags": ethernet(ipv6(A6, B6, OURS), vlans=tuple(vlan(at) for at in range(1, 5))),
    "old QinQ": ethernet(ipv4(A, B, OURS), vlans=(vlan(7, tpid=0x9100), vlan(8))),
    "SGT": MACS + struct.pack(">HHIH", 0x8909, 0x0101, 0x00010004, 0x0800) + INNER_PACKET,
    "SNAP": MACS + struct.pack(">H", 8 + len(INNER_PACKET)) + b"\xaa\xaa\x03\0\0\0\x08\0" + INNER_PACKET,
    "PPPoE": MACS + struct.pack(">HBBHHH", 0x8864, 0x11, 0, 1, 2 + len(INNER_PACKET), 0x0021) + INNER_PACKET,
    "MPLS": MACS + struct.pack(">HII", 0x8847, 16 << 12, 17 << 12 | 0x100) + INNER_PACKET,
    "fragment, first": ethernet(ipv4(A, B, OURS, fragment=0x2000)),
    "fragment, later": ethernet(ipv4(A, B, b"\0" * 40, fragment=0x0005)),
    "hop-by-hop": ethernet(ipv6(A6, B6, extension(6) + OURS, next_header=0)),
    "routing and destination": ethernet(ipv6(A6, B6, extension(60, 2) + extension(6) + OURS, next_header=43)),
    "authentication": ethernet(ipv6(A6, B6, bytes((6, 4)) + bytes(22) + OURS, next_header=51)),
    "IPv6 fragment, first": ethernet(ipv6(A6, B6, struct.pack(">BBHI", 6, 0, 1, 1) + OURS, next_header=44)),
    "IPv6 fragment, later": ethernet(ipv6(A6, B6, struct.pack(">BBHI", 6, 0, 0x40, 1) + bytes(20), next_header=44)),
    "IP in IP": over(4, INNER_PACKET),
    "IPv6 in IP": over(41, ipv6(A6, B6, OURS)),
    "GRE": over(47, gre(0x0800, INNER_PACKET)),
    "GRE with checksum, key, number": over(47, gre(0x86DD, ipv6(A6, B6, OURS), options=0xB000)),
    "Ethernet in GRE": over(47, gre(0x6558, INNER, options=0x2000)),
    "ERSPAN I": over(47, gre(0x88BE, INNER)),
    "ERSPAN II": over(47, gre(0x88BE, bytes(8) + INNER, options=0x1000)),
    "ERSPAN III": over(47, gre(0x22EB, bytes(12) + INNER, options=0x1000)),
    "ERSPAN III with subheader": over(47, gre(0x22EB, bytes(11) + b"\x01" + bytes(8) + INNER, options=0x1000)),
    "VXLAN": over(17, udp(4789, b"\x08" + bytes(7) + INNER)),
    "tagged in VXLAN": over(17, udp(4789, b"\x08" + bytes(7) + ethernet(ipv4(A, B, OURS), vlans=(vlan(9),)))),
    "GENEVE with options": over(17, udp(6081, b"\x02\0\x65\x58" + bytes(4) + bytes(8) + INNER)),
    "GRE in VXLAN": over(17, udp(4789, b"\x08" + bytes(7) + over(47, gre(0x0800, INNER_PACKET)))),
}
HELD_BACK = {
    "another port": ethernet(ipv4(A, B, OTHER)),
    "another port, tagged": ethernet(ipv4(A, B, OTHER), vlans=(vlan(7680),)),
    "UDP on the port": ethernet(ipv4(A, B, udp(7680, b"x" * 20), proto=17, fix=False)),
    "ICMP that quotes us": ethernet(ipv4(A, B, b"\x03\x03" + bytes(6) + INNER_PACKET, proto=1, fix=False)),
    "another port in VXLAN": over(17, udp(4789, b"\x08" + bytes(7) + ethernet(ipv4(A, B, OTHER)))),
    "VXLAN on another port": over(17, udp(4790, b"\x08" + bytes(7) + INNER)),
    "GRE with a source route": over(47, gre(0x0800, INNER_PACKET, options=0x4000)),
    "ARP": ethernet(b"\0\1\x08\0\6\4\0\1" + bytes(20), ethertype=0x0806),
    "UDP fragment": ethernet(ipv4(A, B, b"\x1e\0" * 20, proto=17, fragment=0x0005, fix=False)),
    "nothing": b"\0" * 14,
    "cut": INNER[:35],
}


@pytest.mark.parametrize("name", LET_THROUGH)
def test_lets_through(kernel: Kernel, name: str) -> None:
    assert kernel.lets(LET_THROUGH[name])


@pytest.mark.parametrize("name", HELD_BACK)
def test_holds_back(kernel: Kernel, name: str) -> None:
    assert not kernel.lets(HELD_BACK[name])


def rows_of(frame: bytes) -> int:
    frames = Frames.empty(1)
    frames["captured_bytes"] = frames["wire_bytes"] = len(frame)
    frames["link_type"] = 1
    return len(Decoder(slow=slow_lane).push(Batch(frames, np.frombuffer(frame, dtype=np.uint8))))


def test_lets_through_whatever_the_decoder_makes_a_packet_of(kernel: Kernel) -> None:
    chance = random.Random(7680)  # noqa: S311 - the same frames each time
    packets = 0
    for _ in range(6000):
        frame = bytearray(chance.choice([*LET_THROUGH.values(), *HELD_BACK.values()]))
        for _ in range(chance.choice((0, 1, 1, 2))):
            at = chance.randrange(12, min(len(frame), 60))
            frame[at] = chance.choice((0, 4, 6, 0x08, 0x45, 0x60, 0x81, 0xFF, chance.randrange(256)))
        found = rows_of(bytes(frame))
        packets += found
        assert not found or kernel.lets(bytes(frame)), frame.hex()
    assert packets > 2000


@pytest.mark.needs("tcpdump")
def test_agrees_with_the_filter_that_tcpdump_compiles(kernel: Kernel) -> None:
    port = "tcp port 7680"
    expression = f"{port} or (vlan and ({port} or (vlan and {port})))"
    command = [str(shutil.which("tcpdump")), "-dd", "-y", "EN10MB", expression]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    rows = re.findall(r"\{ (0x[0-9a-f]+), (\d+), (\d+), (0x[0-9a-f]+) \}", told)
    code = b"".join(struct.pack("=HBBI", int(a, 16), int(t), int(f), int(k, 16)) for a, t, f, k in rows)
    oracle = Kernel(code)
    chance = random.Random(1)  # noqa: S311 - the same frames each time
    agreed = {True: 0, False: 0}
    for _ in range(4000):
        ports = chance.sample((7680, 7680, 7681, 80, 0x1E00, 443), 2)
        segment = tcp(*ports, flags=ACK, payload=bytes(chance.randrange(5)))
        tags = tuple(
            vlan(chance.randrange(4096), tpid=chance.choice((0x8100, QINQ))) for _ in range(chance.randrange(3))
        )
        packet = ipv4(A, B, segment, options=b"\x01" * chance.choice((0, 4, 12))) if chance.random() < 0.5 else None
        frame = ethernet(packet or ipv6(A6, B6, segment), vlans=tags)
        lets = kernel.lets(frame)
        assert lets == oracle.lets(frame), frame.hex()
        agreed[lets] += 1
    oracle.close()
    assert min(agreed.values()) > 500


def test_fits_into_what_a_socket_may_be_told() -> None:
    program = bpf.program()
    assert len(program) < 1100  # older kernels charge it, translated, to 20 kB
    assert all(jump < 256 and other < 256 for _, jump, other, _ in program)
    assert len(bpf.packed(program)) == 8 * len(program)


def test_watches_another_port(kernel: Kernel) -> None:
    other = Kernel(bpf.packed(bpf.program(7681)))
    assert other.lets(ethernet(ipv4(A, B, OTHER)))
    assert not other.lets(ethernet(ipv4(A, B, OURS)))
    assert not kernel.lets(ethernet(ipv4(A, B, OTHER)))
    other.close()


GREETING = tcp(50000, 8081, do_handshake())
MORE = {
    "mDNS": (ethernet(ipv4(A, "224.0.0.251", udp(5353, b"x" * 20), proto=17, fix=False)), True, False),
    "mDNS over IPv6": (ethernet(ipv6(A6, "ff02::fb", udp(5353, b"x" * 20), next_header=17)), True, False),
    "mDNS, tagged": (ethernet(ipv4(A, "224.0.0.251", udp(5353, b"x" * 20), proto=17), vlans=(vlan(7),)), True, False),
    "other UDP": (ethernet(ipv4(A, B, udp(5354, b"x" * 20), proto=17, fix=False)), False, False),
    "a handshake elsewhere": (ethernet(ipv4(A, B, GREETING)), False, True),
    "a handshake elsewhere, IPv6": (ethernet(ipv6(A6, B6, GREETING)), False, True),
    "a handshake elsewhere in GRE": (over(47, gre(0x0800, ipv4(A, B, GREETING))), False, True),
    "a handshake behind TCP options": (
        ethernet(ipv4(A, B, tcp(50000, 8081, do_handshake(), options=b"\x01" * 12))), False, True,
    ),
    "no payload elsewhere": (ethernet(ipv4(A, B, OTHER)), False, False),
    "another payload elsewhere": (ethernet(ipv4(A, B, tcp(50000, 8081, b"\x0eSwarm protest and more"))), False, False),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_what_more_is_wanted(name: str) -> None:
    frame, is_mdns, is_greeting = MORE[name]
    for mdns in (False, True):
        for any_port in (False, True):
            made = Kernel(bpf.packed(bpf.program(wanted=bpf.Wanted(mdns, any_port))))
            assert made.lets(frame) == ((is_mdns and mdns) or (is_greeting and any_port)), (mdns, any_port)
            assert made.lets(LET_THROUGH["GENEVE with options"])
            made.close()


def test_flows_that_were_found_elsewhere_are_let_through_both_ways() -> None:
    pairs = tuple((8081, 50000 + at) for at in range(64))
    program = bpf.program(wanted=bpf.Wanted(any_port=True, mdns=True, pairs=pairs))
    assert len(program) < 1500
    made = Kernel(bpf.packed(program))
    for src, dst, is_let in ((8081, 50063, True), (50000, 8081, True), (8081, 50064, False), (8082, 50001, False)):
        segment = tcp(src, dst, b"body")
        assert made.lets(ethernet(ipv4(A, B, segment))) == is_let
        assert made.lets(over(47, gre(0x0800, ipv4(A, B, segment)))) == is_let
    made.close()

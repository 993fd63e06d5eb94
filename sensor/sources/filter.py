"""The kernel's filter for a live port, as classic BPF: TCP on the watched port, also under tags and inside tunnels.

What more is wanted comes with it: mDNS outside of tunnels, and on any TCP port a payload that begins as DO's handshake
does, with the flows (by their two ports) in which such a one was seen.

The kernel takes the outermost VLAN tag off before a filter sees the frame, and a file has it in place; so tags are
counted, not assumed. What the filter lets through the decoder still judges: it may let through too much (fragments, of
which only the first knows its ports), never too little of what the decoder knows.

References
----------
McCanne and Jacobson, "The BSD Packet Filter" (1993); RFC 7348 (VXLAN); RFC 8926 (GENEVE); RFC 2784 and 2890 (GRE).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sensor import wire

ACCEPT_BYTES: Final = 262_144
"""How much of a frame is kept: all of it; DO's message headers may stand anywhere in a payload."""

TUNNELS_MAX: Final = 2
"""The decoder opens four; older kernels charge a filter to a socket's 20 kB of options, which two levels fit in."""

_TAGS_MAX: Final = 4
_LABELS_MAX: Final = 4
_EXTENSIONS_MAX: Final = 3

# Instructions: class, size and mode together, as in <linux/filter.h>.
_LDW_X, _LDH_X, _LDB_X, _LDX_IMM, _LD_MEM, _LD_IMM = 0x40, 0x48, 0x50, 0x01, 0x60, 0x00
_ST, _TAX, _TXA, _RET = 0x02, 0x07, 0x87, 0x06
_ADD, _ADD_X, _AND, _LSH, _RSH = 0x04, 0x0C, 0x54, 0x64, 0x74
_JA, _JEQ, _JSET = 0x05, 0x15, 0x45
_FAR: Final = 255  # a conditional jump reaches so many instructions

_TAG_BYTES: Final = {
    wire.ETHERTYPE_VLAN: 4,
    wire.ETHERTYPE_QINQ: 4,
    wire.ETHERTYPE_QINQ_OLD: 4,
    0x8909: 8,  # Cisco's security group tag
    0x8926: 6,  # Cisco's VN tag
}
_MPLS: Final = (0x8847, 0x8848)
_PPPOE: Final = 0x8864
_BRIDGED: Final = 0x6558
_ERSPAN_2, _ERSPAN_3 = 0x88BE, 0x22EB
_UDP, _GRE, _FRAGMENT, _AUTHENTICATION, _MPLS_IN_IP = 17, 47, 44, 51, 137
_IP_IN_IP: Final = (4, 41)
_IP_TYPES: Final = (wire.ETHERTYPE_IPV4, wire.ETHERTYPE_IPV6)
_PPP_IP: Final = (0x0021, 0x0057)
_LLC_SNAP: Final = 0xAAAA
_EXTENSIONS: Final = (0, 43, 60)
_VXLAN, _GENEVE = 4789, 6081
_GREETING: Final = struct.unpack(">III", wire.DO_GREETING[:12])

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Jump:
    """A conditional jump to a label; without a condition (`code` = JA) always."""

    code: int
    value: int
    to: str


class _Program:
    """Instructions with labels; every jump leads forward, as BPF demands."""

    def __init__(self) -> None:
        self._items: list[Instruction | _Jump | str] = []

    def put(self, code: int, value: int = 0) -> None:
        self._items.append((code, 0, 0, value))

    def label(self, name: str) -> None:
        self._items.append(name)

    def equal(self, value: int, to: str) -> None:
        self._items.append(_Jump(_JEQ, value, to))

    def any_bit(self, bits: int, to: str) -> None:
        self._items.append(_Jump(_JSET, bits, to))

    def go(self, to: str) -> None:
        self._items.append(_Jump(_JA, 0, to))

    def forward(self, count: int) -> None:
        """Move X forward."""
        self.put(_TXA)
        self.put(_ADD, count)
        self.put(_TAX)

    def forward_by_a(self) -> None:
        """Move X forward by what A holds."""
        self.put(_ADD_X)
        self.put(_TAX)

    def assembled(self) -> tuple[Instruction, ...]:
        """Return the instructions with their jumps resolved."""
        # Far jumps take two instructions; with all of them far, distances are upper bounds.
        bounds = self._places(set())
        near = {
            at
            for at, item in enumerate(self._items)
            if isinstance(item, _Jump) and item.code != _JA and bounds[item.to] - bounds[at] <= _FAR
        }
        places = self._places(near)
        made: list[Instruction] = []
        for at, item in enumerate(self._items):
            if isinstance(item, str):
                continue
            if not isinstance(item, _Jump):
                made.append(item)
            elif at in near:
                made.append((item.code, places[item.to] - len(made) - 1, 0, item.value))
            else:
                if item.code != _JA:
                    made.append((item.code, 0, 1, item.value))
                made.append((_JA, 0, 0, places[item.to] - len(made) - 1))
        return tuple(made)

    def _places(self, near: set[int]) -> dict[str | int, int]:
        """Return where each label and each item lies."""
        places: dict[str | int, int] = {}
        count = 0
        for at, item in enumerate(self._items):
            places[item if isinstance(item, str) else at] = count
            if isinstance(item, _Jump) and item.code != _JA:
                count += 1 if at in near else 2
            elif not isinstance(item, str):
                count += 1
        return places


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is let through beside the watched TCP port.

    `pairs` are the two ports of flows elsewhere, in either order.
    """

    mdns: bool = False
    any_port: bool = False
    pairs: tuple[tuple[int, int], ...] = ()


def program(port: int = wire.DO_PORT, wanted: Wanted = Wanted()) -> tuple[Instruction, ...]:
    """Return the filter for a TCP port on Ethernet: (code, jump if true, jump if false, value) each.

    Raises
    ------
    nothing
    """
    made = _Program()
    made.put(_LDX_IMM, 12)
    for level in range(1 + TUNNELS_MAX):
        _link(made, level)
        _ip(made, level)
        _transport(made, level, port, "elsewhere" if wanted.any_port else "reject")
        _tunnels(made, level, mdns=wanted.mdns and level == 0)
    _elsewhere(made, wanted.pairs)
    made.label("reject")
    made.put(_RET, 0)
    made.label("accept")
    made.put(_RET, ACCEPT_BYTES)
    return made.assembled()


def packed(instructions: tuple[Instruction, ...]) -> bytes:
    """Return the instructions as the kernel reads them: an array of struct sock_filter.

    Raises
    ------
    nothing
    """
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


def _link(made: _Program, level: int) -> None:
    """From an EtherType that X points at, through tags and labels, to the IP header."""
    made.label(f"link{level}")
    for tag in range(_TAGS_MAX):
        made.put(_LDH_X)
        for ethertype, size in _TAG_BYTES.items():
            made.equal(ethertype, f"tag{level}.{tag}.{size}")
        made.go(f"type{level}")
        for size in sorted(set(_TAG_BYTES.values())):
            made.label(f"tag{level}.{tag}.{size}")
            made.forward(size)
            made.go(f"next{level}.{tag}")
        made.label(f"next{level}.{tag}")
    made.put(_LDH_X)
    made.label(f"type{level}")
    for ethertype in _IP_TYPES:
        made.equal(ethertype, f"network{level}")
    made.equal(_PPPOE, f"pppoe{level}")
    for ethertype in _MPLS:
        made.equal(ethertype, f"mpls{level}")
    made.put(_LDH_X, 2)
    made.equal(_LLC_SNAP, f"snap{level}")
    made.go("reject")
    for name, size, types in (("snap", 8, _IP_TYPES), ("pppoe", 8, _PPP_IP)):
        made.label(f"{name}{level}")
        made.forward(size)
        made.put(_LDH_X)
        for each in types:
            made.equal(each, f"network{level}")
        made.go("reject")
    made.label(f"mpls{level}")
    made.forward(2)
    made.label(f"labels{level}")
    for _ in range(_LABELS_MAX):
        made.put(_LDB_X, 2)
        made.put(_ST)
        made.forward(4)
        made.put(_LD_MEM)
        made.any_bit(1, f"ip{level}")  # the bottom of the stack
    made.go("reject")
    made.label(f"network{level}")
    made.forward(2)


def _ip(made: _Program, level: int) -> None:
    """From the IP header that X points at to what it carries: its protocol in A and X at its start."""
    made.label(f"ip{level}")
    made.put(_LDB_X)
    made.put(_RSH, 4)
    made.equal(6, f"six{level}")
    made.equal(4, f"four{level}")
    made.go("reject")
    made.label(f"four{level}")
    made.put(_LDB_X, 9)
    made.put(_ST)
    made.put(_LDH_X, 6)
    made.any_bit(0x1FFF, f"fragment{level}")
    made.put(_LDB_X)
    made.put(_AND, 15)
    made.put(_LSH, 2)
    made.forward_by_a()
    made.go(f"following{level}.0")
    made.label(f"six{level}")
    made.put(_LDB_X, 6)
    made.put(_ST)
    made.forward(40)
    for step in range(_EXTENSIONS_MAX):
        made.label(f"following{level}.{step}")
        made.put(_LD_MEM)
        made.equal(wire.IPPROTO_TCP, f"tcp{level}")
        for kind in _EXTENSIONS:
            made.equal(kind, f"extension{level}.{step}")
        made.equal(_AUTHENTICATION, f"authentication{level}.{step}")
        made.equal(_FRAGMENT, f"part{level}.{step}")
        made.go(f"transport{level}")
        made.label(f"part{level}.{step}")
        made.put(_LDB_X)
        made.put(_ST)
        made.put(_LDH_X, 2)
        made.any_bit(0xFFF8, f"fragment{level}")
        made.forward(8)
        made.go(f"following{level}.{step + 1}")
        for name, add, shift in (("extension", 1, 3), ("authentication", 2, 2)):
            made.label(f"{name}{level}.{step}")
            made.put(_LDB_X)
            made.put(_ST)
            made.put(_LDB_X, 1)
            made.put(_ADD, add)
            made.put(_LSH, shift)
            made.forward_by_a()
            made.go(f"following{level}.{step + 1}")
    made.label(f"following{level}.{_EXTENSIONS_MAX}")
    made.put(_LD_MEM)
    made.go(f"transport{level}")
    made.label(f"fragment{level}")
    # Only a first fragment knows its ports; the others are let through, to be counted.
    made.put(_LD_MEM)
    for kind in (wire.IPPROTO_TCP, *_EXTENSIONS):
        made.equal(kind, "accept")
    made.go("reject")


def _transport(made: _Program, level: int, port: int, otherwise: str) -> None:
    """Decide by the ports of TCP, or open the tunnel that X points at."""
    made.label(f"transport{level}")
    made.equal(wire.IPPROTO_TCP, f"tcp{level}")
    if level < TUNNELS_MAX:
        made.equal(_UDP, f"udp{level}")
        made.equal(_GRE, f"gre{level}")
        for protocol in _IP_IN_IP:
            made.equal(protocol, f"ip{level + 1}")
        made.equal(_MPLS_IN_IP, f"labels{level + 1}")
    made.go("reject")
    made.label(f"tcp{level}")
    for at in (0, 2):
        made.put(_LDH_X, at)
        made.equal(port, "accept")
    made.go(otherwise)


def _elsewhere(made: _Program, pairs: tuple[tuple[int, int], ...]) -> None:
    """Let a TCP segment through, whose header X points at, that greets or belongs to a flow where one did."""
    made.label("elsewhere")
    if pairs:
        made.put(_LDW_X)
        for low, high in pairs:
            made.equal(low << 16 | high, "accept")
            made.equal(high << 16 | low, "accept")
    made.put(_LDB_X, 12)
    made.put(_AND, 0xF0)
    made.put(_RSH, 2)
    made.forward_by_a()
    for at, word in enumerate(_GREETING):
        made.put(_LDW_X, 4 * at)  # where there is no payload, a load behind the end rejects
        made.equal(word, f"greeting{at}")
        made.go("reject")
        made.label(f"greeting{at}")
    made.go("accept")


def _tunnels(made: _Program, level: int, *, mdns: bool) -> None:
    """From a UDP or GRE header that X points at to the frame or packet inside; or it is mDNS."""
    if level == TUNNELS_MAX:
        return
    inside = level + 1
    made.label(f"udp{level}")
    if mdns:
        made.put(_LDH_X)
        made.equal(wire.MDNS_PORT, "accept")
    made.put(_LDH_X, 2)
    if mdns:
        made.equal(wire.MDNS_PORT, "accept")
    made.equal(_VXLAN, f"vxlan{level}")
    made.equal(_GENEVE, f"geneve{level}")
    made.go("reject")
    made.label(f"vxlan{level}")
    made.forward(8 + 8 + 12)
    made.go(f"link{inside}")
    made.label(f"geneve{level}")
    made.put(_LDH_X, 8 + 2)
    made.put(_ST)
    made.put(_LDB_X, 8)
    made.put(_AND, 0x3F)
    made.put(_LSH, 2)
    made.forward_by_a()
    made.forward(8 + 8)
    made.go(f"carried{level}")
    made.label(f"gre{level}")
    _gre(made, level)
    made.label(f"carried{level}")
    # The EtherType of what is carried is in the scratch memory; X points at it.
    made.put(_LD_MEM)
    made.equal(_BRIDGED, f"bridged{level}")
    for ethertype in _IP_TYPES:
        made.equal(ethertype, f"ip{inside}")
    for ethertype in _MPLS:
        made.equal(ethertype, f"labels{inside}")
    made.go("reject")
    made.label(f"bridged{level}")
    made.forward(12)
    made.go(f"link{inside}")


def _gre(made: _Program, level: int) -> None:
    """Leave the EtherType of what GRE carries in the scratch memory, and X at its start."""
    made.put(_LDH_X)
    made.any_bit(0x4007, "reject")  # a source route, or a version that is not 0
    made.put(_LDH_X, 2)
    made.put(_ST)
    made.put(_LDH_X)
    made.put(_ST, 1)
    made.forward(4)
    for bit in (0x8000, 0x2000, 0x1000):  # checksum, key, sequence number: four bytes each
        made.put(_LD_MEM, 1)
        made.any_bit(bit, f"with{level}.{bit}")
        made.go(f"without{level}.{bit}")
        made.label(f"with{level}.{bit}")
        made.forward(4)
        made.label(f"without{level}.{bit}")
    made.put(_LD_MEM)
    made.equal(_ERSPAN_2, f"erspan2.{level}")
    made.equal(_ERSPAN_3, f"erspan3.{level}")
    made.go(f"carried{level}")
    made.label(f"erspan2.{level}")
    made.put(_LD_MEM, 1)
    made.any_bit(0x1000, f"type2.{level}")
    made.go(f"mirrored{level}")  # type I has no header of its own
    made.label(f"type2.{level}")
    made.forward(8)
    made.go(f"mirrored{level}")
    made.label(f"erspan3.{level}")
    made.put(_LDB_X, 11)
    made.put(_AND, 1)
    made.put(_LSH, 3)
    made.put(_ADD, 12)
    made.forward_by_a()
    made.label(f"mirrored{level}")
    made.put(_LD_IMM, _BRIDGED)
    made.put(_ST)

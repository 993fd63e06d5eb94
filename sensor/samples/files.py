"""Capture files as bytes: pcap in either resolution and byte order, and pcapng, written with struct.

References: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sensor import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensor.samples.frames import Frame

UNCUT: Final = 262144


@dataclass(frozen=True, slots=True)
class Shape:
    """How a capture file is written. `snaplen` must be what its frames were rendered with."""

    kind: Literal["pcap", "pcapng"] = "pcap"
    nanos: bool = False
    big_endian: bool = False
    snaplen: int = UNCUT

    @property
    def order(self) -> str:
        """The sign of the byte order in `struct`."""
        return ">" if self.big_endian else "<"

    @property
    def quantum_ns(self) -> int:
        """The clock's resolution."""
        return 1 if self.nanos else 1000


def write(frames: Iterable[Frame], shape: Shape) -> bytes:
    """Return the capture file's bytes."""
    return _pcapng(frames, shape) if shape.kind == "pcapng" else _pcap(frames, shape)


def _pcap(frames: Iterable[Frame], shape: Shape) -> bytes:
    magic = 0xA1B23C4D if shape.nanos else 0xA1B2C3D4
    header = struct.pack(shape.order + "IHHiIII", magic, 2, 4, 0, 0, shape.snaplen, wire.LINKTYPE_ETHERNET)
    record = struct.Struct(shape.order + "IIII")
    out = [header]
    for frame in frames:
        seconds, rest = divmod(frame.ts_ns, 1_000_000_000)
        out.append(record.pack(seconds, rest // shape.quantum_ns, len(frame.data), frame.wire_bytes))
        out.append(frame.data)
    return b"".join(out)


def _pcapng(frames: Iterable[Frame], shape: Shape) -> bytes:
    order = shape.order
    section = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    resolution = struct.pack(order + "HHB3xHH", 9, 1, 9 if shape.nanos else 6, 0, 0)  # if_tsresol, end of options
    interface = struct.pack(order + "HHI", wire.LINKTYPE_ETHERNET, 0, shape.snaplen) + resolution
    out = [_block(0x0A0D0D0A, section, order), _block(1, interface, order)]
    for frame in frames:
        ticks = frame.ts_ns // shape.quantum_ns
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame.data), frame.wire_bytes)
        out.append(_block(6, head + frame.data, order))
    return b"".join(out)


def _block(kind: int, body: bytes, order: str) -> bytes:
    body += b"\0" * (-len(body) % 4)
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

"""Capture formats as chains of records: pcap and pcapng, walked through successive windows of bytes.

A chain keeps what a walk needs to go on (byte order, interfaces, frame numbers) and says where and why it broke.

References
----------
draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import os
import struct
import threading
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sensor.kernels import records
from sensor.schema import Frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sensor.schema import Bytes, Rows

ALL_FRAMES: Final = int(records.ALL_FRAMES)
MAX_INTERFACES: Final = 1 << 20  # per section; each costs 40 bytes here

_MICROSECOND_NS: Final = 1000
_SECOND_NS: Final = 1_000_000_000
PCAP_MAGICS: Final = {
    # first four bytes: big-endian?, ns per unit, record header bytes
    b"\xd4\xc3\xb2\xa1": (False, _MICROSECOND_NS, 16),
    b"\xa1\xb2\xc3\xd4": (True, _MICROSECOND_NS, 16),
    b"\x4d\x3c\xb2\xa1": (False, 1, 16),
    b"\xa1\xb2\x3c\x4d": (True, 1, 16),
    b"\x34\xcd\xb2\xa1": (False, _MICROSECOND_NS, 24),  # the modified format of patched libpcaps of the 1990s
    b"\xa1\xb2\xcd\x34": (True, _MICROSECOND_NS, 24),
}
PCAP_HEADER_BYTES: Final = 24
_LINK_TYPE_AT: Final = 20
# What one wide walk covers at most: little enough to be given back soon, much more than it costs to begin one.
_SPAN_BYTES: Final = 256 * 1024 * 1024
_FIRST_KEPT_BYTES: Final = 128  # of a capture per frame that is kept, before that is known

PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"  # the same from both ends, so it can be read before the byte order is known
_BIG_ENDIAN: Final = {b"\x1a\x2b\x3c\x4d": True, b"\x4d\x3c\x2b\x1a": False}
_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE_DESCRIPTION: Final = 1
_BLOCK_BYTES: Final = 12  # of the shortest block: type, length, and the length again
_SECTION_BYTES: Final = 28
_INTERFACE_BYTES: Final = 20
_STATISTICS_BYTES: Final = 24
_INTERFACE_OPTIONS_AT: Final = 16
_STATISTICS_OPTIONS_AT: Final = 20
_OPTION_BYTES: Final = 4  # code and length, before its value
_LONG_BYTES: Final = 8  # of a 64-bit option
_VERSIONS: Final = ((1, 0), (1, 2))  # 1.2 is 1.0, written so by early editors
_IF_TSRESOL: Final = 9
_IF_TSOFFSET: Final = 14
_ISB_IFDROP: Final = 5
_ISB_OSDROP: Final = 7
# A time offset beyond a century is nonsense, and must not overflow what is added to it.
_OFFSET_MOST_NS: Final = 2**61


class Chain(Protocol):
    """The records of one capture format."""

    format: str
    drops: int
    passed: npt.NDArray[np.int64]
    """What the last walk tells of all frames it passed (`records.PASSED` and on); no frames where it kept them all."""

    def walk(self, data: Bytes, base: int) -> tuple[Rows, int, str]:
        """Return frames, bytes of `data` used up, and why no further walk can help ("" = more bytes may)."""
        ...


def chain(head: bytes, source: int, room: int, port: int = ALL_FRAMES) -> Chain:
    """Return the chain of a capture that begins with `head`; a walk gives at most `room` frames.

    With a port, frames that can say nothing of it may be left out.
    """
    if head[:4] == PCAPNG_MAGIC:
        return Pcapng(source, room)
    helped = len(os.sched_getaffinity(0)) > 1
    return Pcap(head, source, room, port, Pcap(head, source, room, port) if helped else None)


def link_type(head: bytes) -> int:
    """Return the link type of a pcap; its upper bits hold FCS facts and a class, the type is the lower 16."""
    big, _, _ = PCAP_MAGICS[head[:4]]
    found: int = struct.unpack_from(">I" if big else "<I", head, _LINK_TYPE_AT)[0] & 0xFFFF
    return found


class Pcap:
    """A classic pcap: one header, then records.

    Parameters
    ----------
    head, source, room, port
        As for `chain`.
    helper : Pcap, optional
        Another of the same, which walks on in a thread of its own from where records seem to begin; what it finds
        counts if this one arrives exactly there.
    """

    def __init__(self, head: bytes, source: int, room: int, port: int = ALL_FRAMES, helper: Pcap | None = None) -> None:
        self._big, self._tick_ns, self._header = PCAP_MAGICS[head[:4]]
        self._link = link_type(head)
        self._source = source
        self._cursor = np.zeros(5, dtype=np.int64)
        self._started = False
        self._out = Frames.empty(room)
        self._scratch = Frames.empty(0)
        self._cursors = np.zeros(records.CURSOR_WORDS, dtype=np.int64)
        self._kept_bytes = _FIRST_KEPT_BYTES
        self._port = port
        self._helper = helper
        self._ahead: _Ahead | None = None
        self.passed = np.zeros(4, dtype=np.int64)
        self.format = "pcap" if self._tick_ns == _MICROSECOND_NS else "pcap (ns)"
        self.drops = 0

    def walk(self, data: Bytes, base: int, start: int = 0) -> tuple[Rows, int, str]:
        """Walk the records that lie whole in `data` from `start` on; the first walk begins after the file header."""
        cursor, out = self._cursor, self._out
        cursor[records.POSITION] = start = start if self._started or start else PCAP_HEADER_BYTES
        self._started = True
        if self._ahead is not None and base + start >= self._ahead.offset and (taken := self._taken(base, start)):
            return taken
        span = min(_SPAN_BYTES, len(self._out) * self._kept_bytes // 2)
        if self._ahead is not None:
            span = min(span, self._ahead.offset - base - start)
        elif self._helper is not None:
            span = self._send_ahead(data, base, start, span)
        count = self._walk_wide(data, base, span)
        if not self.passed[records.PASSED]:
            count = records.walk_pcap(
                data, base, self._big, self._tick_ns, self._header, self._link, self._source, cursor, out
            )
        # The end of a window holds no whole record: that says nothing of how many are kept.
        if walked := int(cursor[records.POSITION]) - start:
            self._kept_bytes = walked // max(count, 1)
        broken = "a record that cannot be (its captured length is impossible)"
        return out[:count], int(cursor[records.POSITION]), broken if cursor[records.STOP] == records.BAD_LENGTH else ""

    def _send_ahead(self, data: Bytes, base: int, start: int, span: int) -> int:
        """Let the helper walk what follows this span, if there is enough of it; returns how far it is to its start."""
        helper = self._helper
        if helper is None or span < records.LEAST_WIDE or len(data) - start < 4 * span:
            return span
        (around_s,) = struct.unpack(">I" if self._big else "<I", data[start : start + 4].tobytes())
        place = int(records.find_start(data, start + span, self._big, self._header, around_s))
        if place < 0:
            return span
        helper._cursor[:2] = place, 0  # noqa: SLF001 - it is one of us
        self._ahead = _Ahead(helper, data, base, base + place, span)
        self._ahead.start()
        return place - start

    def _taken(self, base: int, start: int) -> tuple[Rows, int, str] | None:
        """Return what the helper found, if it began where this one is now; else it is forgotten."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        ahead.join()
        helper, moved = ahead.helper, ahead.base - base
        if ahead.offset != base + start or not helper.passed[records.PASSED]:
            return None
        frames = helper._out[: ahead.count]  # noqa: SLF001 - it is one of us
        frames["at"] += moved
        frames["number"] += self._cursor[records.NUMBER]
        self._cursor[records.NUMBER] += helper._cursor[records.NUMBER]  # noqa: SLF001
        self.passed[:] = helper.passed
        return frames, int(helper._cursor[records.POSITION]) + moved, ""  # noqa: SLF001

    def _walk_wide(self, data: Bytes, base: int, span: int) -> int:
        """Walk so many bytes with several cursors."""
        if len(self._scratch) != len(self._out):
            self._scratch = Frames.empty(len(self._out))
        count: int = records.walk_pcap_wide(
            data,
            base,
            span,
            self._big,
            self._tick_ns,
            self._header,
            self._link,
            self._source,
            self._port,
            self._cursor,
            self._out,
            self._scratch,
            self._cursors,
            self.passed,
        )
        return count


class _Ahead(threading.Thread):
    """A walk beside another one; kernels release the interpreter."""

    def __init__(self, helper: Pcap, data: Bytes, base: int, offset: int, span: int) -> None:
        super().__init__(name="walk ahead", daemon=True)
        self.helper, self.base, self.offset, self.count = helper, base, offset, 0
        self._data, self._span = data, span

    def run(self) -> None:
        """Walk."""
        self.count = self.helper._walk_wide(self._data, self.base, self._span)  # noqa: SLF001 - it is of this module


class Pcapng:
    """A pcapng: sections of blocks, each section with its byte order and its interfaces."""

    def __init__(self, source: int, room: int) -> None:
        self._source = source
        self._cursor = np.zeros(5, dtype=np.int64)
        self._interfaces = np.zeros((16, 5), dtype=np.int64)
        self._known = 0
        self.passed = np.zeros(4, dtype=np.int64)
        self._big = False
        self._in_section = False
        self._out = Frames.empty(room)
        self.format = "pcapng"
        self.drops = 0

    def walk(self, data: Bytes, base: int) -> tuple[Rows, int, str]:
        """Walk the blocks that lie whole in `data`."""
        cursor, out = self._cursor, self._out
        cursor[records.POSITION] = 0
        count = 0
        while True:
            if self._in_section:
                cursor[records.INTERFACES] = self._known
                count += records.walk_pcapng(data, base, self._big, self._interfaces, self._source, cursor, out[count:])
                if cursor[records.STOP] == records.BAD_LENGTH:
                    return out[:count], int(cursor[records.POSITION]), "a block that cannot be"
                if cursor[records.STOP] != records.OTHER_BLOCK:
                    return out[:count], int(cursor[records.POSITION]), ""
            at = int(cursor[records.POSITION])
            body, big, broken = self._whole(data, at)
            broken = self._take(body, big) if body else broken
            if broken or not body:
                return out[:count], at, broken
            cursor[records.POSITION] = at + len(body)

    def _whole(self, data: Bytes, at: int) -> tuple[bytes, bool, str]:
        """Return the block at a place, whether it is big-endian, and why it cannot be one; b"" if it is not whole."""
        head = data[at : at + _BLOCK_BYTES].tobytes()
        if len(head) < _BLOCK_BYTES:
            return b"", False, ""
        big, broken = self._order(head)
        if broken:
            return b"", big, broken
        mark = ">I" if big else "<I"
        (length,) = struct.unpack_from(mark, head, 4)
        if length < _BLOCK_BYTES or length > records.MAX_BLOCK:
            return b"", big, "a block of an impossible length"
        if at + length > len(data):
            return b"", big, ""
        body = data[at : at + length].tobytes()
        if struct.unpack_from(mark, body, length - 4)[0] != length:
            return b"", big, "a block whose two lengths differ"
        return body, big, ""

    def _order(self, head: bytes) -> tuple[bool, str]:
        """Return whether a block is big-endian, and why that cannot be known."""
        if head[:4] != PCAPNG_MAGIC:
            return self._big, "" if self._in_section else "a block before any section header"
        order = head[8:12]
        return _BIG_ENDIAN.get(order, False), "" if order in _BIG_ENDIAN else "a section header without a byte order"

    def _take(self, body: bytes, big: bool) -> str:  # noqa: FBT001 - the byte order goes with the block
        """Read a section header, an interface description or interface statistics; return why it cannot be one."""
        mark = ">" if big else "<"
        (kind,) = struct.unpack_from(mark + "I", body, 0)
        if kind == _SECTION_HEADER:
            return self._section(body, mark)
        if kind == _INTERFACE_DESCRIPTION:
            return self._interface(body, mark)
        self.drops += _dropped(body, mark)
        return ""

    def _section(self, body: bytes, mark: str) -> str:
        if len(body) < _SECTION_BYTES:
            return "a section header that is too short"
        major, minor = struct.unpack_from(mark + "HH", body, 12)
        if (major, minor) not in _VERSIONS:
            return f"a section of pcapng version {major}.{minor}, where 1.0 is known"
        self._big, self._in_section, self._known = mark == ">", True, 0
        return ""

    def _interface(self, body: bytes, mark: str) -> str:
        if len(body) < _INTERFACE_BYTES:
            return "an interface description that is too short"
        link, _, snaplen = struct.unpack_from(mark + "HHI", body, 8)
        units, binary, offset = 6, 0, 0
        for code, value in _options(body, _INTERFACE_OPTIONS_AT, mark):
            if code == _IF_TSRESOL and value:
                units, binary = value[0] & 0x7F, value[0] >> 7
            elif code == _IF_TSOFFSET and len(value) >= _LONG_BYTES:
                (offset,) = struct.unpack_from(mark + "q", value)
        offset_ns = max(-_OFFSET_MOST_NS, min(_OFFSET_MOST_NS, offset * _SECOND_NS))
        if self._known == len(self._interfaces):
            self._interfaces = np.concatenate([self._interfaces, np.zeros_like(self._interfaces)])
        self._interfaces[self._known] = (link, units, offset_ns, binary, snaplen)
        self._known += 1
        return "more interfaces than a section can have" if self._known > MAX_INTERFACES else ""


def _options(body: bytes, at: int, mark: str) -> Iterator[tuple[int, bytes]]:
    """Yield the options of a pcapng block, as far as they are whole."""
    end = len(body) - 4
    while at + _OPTION_BYTES <= end:
        code, length = struct.unpack_from(mark + "HH", body, at)
        value_at = at + _OPTION_BYTES
        if code == 0 or value_at + length > end:
            return
        yield code, body[value_at : value_at + length]
        at = value_at + (length + 3) // 4 * 4


def _dropped(body: bytes, mark: str) -> int:
    """Return how many packets an interface statistics block says were lost before the file."""
    lost = 0
    if len(body) >= _STATISTICS_BYTES:
        for code, value in _options(body, _STATISTICS_OPTIONS_AT, mark):
            if code in (_ISB_IFDROP, _ISB_OSDROP) and len(value) == _LONG_BYTES:
                lost += int(struct.unpack(mark + "Q", value)[0])
    return lost

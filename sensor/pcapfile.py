"""Captures as bytes, nanoseconds and link types kept: the head of a file and its records; pcapng if links are mixed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_NS: Final = 1_000_000_000
_SNAPLEN: Final = 262_144  # libpcap's largest; a frame that is longer raises it
# https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/ : magic of nanoseconds, version 2.4, snaplen, link type
_FILE: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_MAGIC_NS: Final = 0xA1B23C4D
# https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/ : for frames of several link types
_SECTION: Final = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
_INTERFACE: Final = struct.Struct("<IIHHIHHIHHI")
_PACKET: Final = struct.Struct("<IIIIIII")


class Format:
    """One capture file in the making: its suffix, its head, and a record for each frame.

    Parameters
    ----------
    links : sequence of int
        The LINKTYPE_ values of its frames; more than one makes it a pcapng.
    longest : int
        Captured bytes of its longest frame.
    """

    def __init__(self, links: Sequence[int], longest: int = 0) -> None:
        self._links = sorted(set(links)) or [1]
        self._is_mixed = len(self._links) > 1
        self._longest = longest

    @property
    def suffix(self) -> str:
        """`pcap` or `pcapng`."""
        return "pcapng" if self._is_mixed else "pcap"

    def head(self) -> bytes:
        """Return what stands before the first record."""
        if not self._is_mixed:
            return _FILE.pack(_MAGIC_NS, 2, 4, 0, 0, max(_SNAPLEN, self._longest), self._links[0])
        # if_tsresol = 9 (nanoseconds), then opt_endofopt
        return _SECTION + b"".join(_INTERFACE.pack(1, 32, link, 0, 0, 9, 1, 9, 0, 0, 32) for link in self._links)

    def record(self, data: bytes, wire_bytes: int, link: int, ts_ns: int) -> bytes:
        """Return a frame as it stands in the file: its bytes unchanged, cut or whole."""
        size = len(data)
        if not self._is_mixed:
            seconds, fraction = divmod(ts_ns, _NS)
            return _RECORD.pack(seconds & 0xFFFFFFFF, fraction, size, wire_bytes) + data
        padding = -size % 4
        total = _PACKET.size + size + padding + 4
        high, low = divmod(ts_ns & 0xFFFFFFFFFFFFFFFF, 1 << 32)
        head = _PACKET.pack(6, total, self._links.index(link), high, low, size, wire_bytes)
        return head + data + bytes(padding) + struct.pack("<I", total)

"""Later fragments of TCP packets to the flows of their first: they have no ports of their own.

The slow lane gives each a row without ports, with its offset in the IP payload as `seq`. How long the TCP header is,
which the offset counts too, the second fragment tells by where it begins. A fragment that overtook its first, or lost
its second, stays outside: its bytes are a gap of that flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor.rows import copy, pick
from sensor.schema import WEIRD_BIT
from sensor.wire import ACK, SYN

if TYPE_CHECKING:
    import numpy.typing as npt

    from sensor.schema import Rows

_BIT: Final = np.uint32(WEIRD_BIT["ip_fragment"])
_ADDRESSED: Final = ("src_hi", "src_lo", "dst_hi", "dst_lo", "ip_id", "ip_version")
_TOLD: Final = ("src_port", "dst_port", "ack", "tcp_window", "tcp_checksum")
_HEADERS: Final = range(20, 61, 4)  # RFC 9293: five to fifteen words
_PATIENCE_NS: Final = 30_000_000_000  # as long as Linux waits for the rest of a packet
_MOST: Final = 4096
_MASK: Final = (1 << 32) - 1


@dataclass(slots=True)
class _Begun:
    """A packet of which the first fragment was seen; `base` is the sequence number of offset 0, once it is known."""

    first: Any
    base: int | None = None


def later(packets: Rows) -> npt.NDArray[np.bool_]:
    """Return which Packets rows are fragments without ports: bool[P].

    Raises
    ------
    nothing
    """
    marked = np.asarray(packets["weird"] & _BIT != 0, dtype=np.bool_)
    if marked.any():
        marked &= (packets["src_port"] == 0) & (packets["dst_port"] == 0)
    return marked


class Fragments:
    """First fragments that were seen lately; the rest of their packets is put beside them."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, ...], _Begun] = {}

    def join(self, packets: Rows) -> tuple[Rows, int]:
        """Return packets, in time order, with later fragments in their flows; and how many had to be left out.

        Parameters
        ----------
        packets : Packets[P]

        Returns
        -------
        Packets[Q], int
            The same rows where there are no fragments.

        Raises
        ------
        nothing
        """
        parts = np.flatnonzero(packets["weird"] & _BIT)
        if not len(parts):
            return packets, 0
        bare = later(packets)
        packets = copy(packets)
        kept = np.ones(len(packets), dtype=np.bool_)
        for at in parts.tolist():
            row = packets[at]
            key = tuple(int(row[name]) for name in _ADDRESSED)
            if bare[at]:
                kept[at] = self._place(row, self._begun.get(key))
            else:
                self._begin(key, row)
        return pick(packets, kept), int(np.count_nonzero(~kept))

    def _begin(self, key: tuple[int, ...], row: Any) -> None:
        known = self._begun.pop(key, None)
        if known is None or known.first["seq"] != row["seq"]:  # a double mirror shows it twice
            known = _Begun(row.copy())
        self._begun[key] = known
        while len(self._begun) > _MOST:
            del self._begun[next(iter(self._begun))]

    def _place(self, row: Any, begun: _Begun | None) -> bool:
        if begun is None or row["ts_ns"] - begun.first["ts_ns"] > _PATIENCE_NS:
            return False
        first, offset = begun.first, int(row["seq"])
        if begun.base is None:
            if offset - int(first["payload_bytes"]) not in _HEADERS:
                return False
            is_syn = bool(first["flags"] & SYN)  # which takes a number of its own
            begun.base = int(first["seq"]) + is_syn + int(first["payload_bytes"]) - offset
        for name in _TOLD:
            row[name] = first[name]
        row["seq"] = (begun.base + offset) & _MASK
        row["flags"] = first["flags"] & ACK
        return True

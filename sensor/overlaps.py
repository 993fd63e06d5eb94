"""Packets that stand in two inputs: files that overlap in time, or a capture beside its copy in another format.

The same packet has the same time to the nanosecond, and the same header. It is kept from the input with the lower
number, and counted for the other; what one input holds twice is no business of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sensor.rows import copy, join, pick
from sensor.schema import Packets

if TYPE_CHECKING:
    from sensor.schema import Rows

# What makes a packet this one; not how much of it was captured.
_SAME: Final = (
    "ts_ns", "src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port", "seq", "ack", "flags", "ip_id", "ip_bytes",
    "payload_bytes", "tcp_checksum", "vlan", "vlan_inner",
)  # fmt: skip
_MOST_REMEMBERED: Final = 4096


class Overlaps:
    """Drops what an earlier input has given already; takes packets in order of time, input and number."""

    def __init__(self) -> None:
        self.repeated: dict[int, int] = {}
        """How many packets of each input stood in another one too."""
        self._last: Rows = Packets.empty()

    def push(self, packets: Rows) -> Rows:
        """Return packets without those that an input with a lower number has given."""
        times = packets["ts_ns"]
        if not len(times):
            return packets
        tied = np.flatnonzero(times[1:] == times[:-1])
        carried = self._remembered(packets)
        if not len(tied) and not len(carried):
            return packets
        at = np.unique(np.concatenate([tied, tied + 1, np.flatnonzero(times == times[0]) if len(carried) else tied]))
        rows = join([carried, pick(packets, at)])
        inputs = rows["input"]
        if bool((inputs == inputs[0]).all()):
            return packets
        again = _repeats(rows)[len(carried) :]
        if not again.any():
            return packets
        dropped = at[again]
        for source, count in zip(*np.unique(packets["input"][dropped], return_counts=True), strict=True):
            self.repeated[int(source)] = self.repeated.get(int(source), 0) + int(count)
        kept = np.ones(len(packets), dtype=np.bool_)
        kept[dropped] = False
        return pick(packets, kept)

    def _remembered(self, packets: Rows) -> Rows:
        """Return the last push's packets at the time with which this one begins; and remember this one's last."""
        first_ns, last_ns = packets["ts_ns"][0], packets["ts_ns"][-1]
        carried: Rows = pick(self._last, self._last["ts_ns"] == first_ns)
        start = int(np.searchsorted(packets["ts_ns"], last_ns))
        ends = packets[max(start, len(packets) - _MOST_REMEMBERED) :]
        # A copy: what is remembered must not hold a whole batch.
        self._last = copy(join([carried, ends])[-_MOST_REMEMBERED:]) if first_ns == last_ns else copy(ends)
        return carried


def _repeats(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which rows stand in an input with a lower number as well: the n-th there for the n-th here."""
    same = np.empty((len(rows), len(_SAME)), dtype=np.uint64)
    for column, name in enumerate(_SAME):
        same[:, column] = rows[name].astype(np.uint64)
    kinds = np.unique(same, axis=0, return_inverse=True)[1].reshape(-1)
    inputs = rows["input"]
    order = np.lexsort((np.arange(len(rows)), inputs, kinds))
    kind, source = kinds[order], inputs[order]
    # The how-manieth of its kind in its input each row is.
    fresh = np.concatenate([[True], (kind[1:] != kind[:-1]) | (source[1:] != source[:-1])])
    starts = np.flatnonzero(fresh)
    turn = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    # Among rows of one kind and turn, the lowest input keeps its own.
    again = np.zeros(len(rows), dtype=np.bool_)
    ranked = np.lexsort((source, turn, kind))
    later = (kind[ranked][1:] == kind[ranked][:-1]) & (turn[ranked][1:] == turn[ranked][:-1])
    again[order[ranked[1:][later]]] = True
    return again

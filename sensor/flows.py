"""Packets to flows: each packet gets its flow and stream position; windows and endings leave as they are done."""

from __future__ import annotations

import mmap
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from sensor.kernels import tracking
from sensor.rows import copy, roomier
from sensor.schema import Endings, Rows, Tracks, Windows
from sensor.wire import DO_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECOND_NS: Final = 1_000_000_000
_ROOM: Final = 16384
# Where many rows are finished at once they are handed out by so many: they just fit in room that was doubled twice.
_PORTION: Final = 4 * _ROOM - 4096
# So many records of open windows are kept for the next ones when a window is over.
_COUNTS: Final = 65536
_SHARE_BITS: Final = 40  # flows of one table are numbered from here on, so that several tables can be judged as one


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """How flows are cut. A DO connection may rest for an hour between keep-alives that the capture shows."""

    window_s: int = 10
    idle_s: int = 7200
    closed_s: int = 300
    active_s: int = 86400
    capacity: int = 4_194_304
    holes: int = 65536
    port: int = DO_PORT
    copy_ms: int = 50
    """Identical packets closer than this are copies of one packet, from a double mirror."""


class FlowTable:
    """All living flows, bounded by `FlowOptions.capacity`: the least recently used is evicted, and counted.

    Tables that work side by side have each their `share`, from 0.
    """

    def __init__(self, options: FlowOptions | None = None, share: int = 0) -> None:
        options = options or FlowOptions()
        self.window_ns = options.window_s * _SECOND_NS
        self._options = np.array(
            [
                self.window_ns,
                options.idle_s * _SECOND_NS,
                options.closed_s * _SECOND_NS,
                options.active_s * _SECOND_NS,
                options.capacity,
                options.port,
                options.copy_ms * 1_000_000,
            ],
            dtype=np.int64,
        )
        self._holes = np.zeros(options.holes, dtype=tracking.HOLE)
        self._recent = np.zeros(65536, dtype=tracking.RECENT)
        self._recent["ts_ns"] = -(2**62)
        self._table = np.zeros(19, dtype=np.int64)
        self._table[tracking.FREE_HOLE] = tracking.NONE
        self._capacity = options.capacity
        self._empty()
        self._table[tracking.NEXT_FLOW] = share << _SHARE_BITS
        self._table[tracking.SEED] = secrets.randbits(63)
        self._told = share << _SHARE_BITS  # the number of the first flow that began since rows were taken
        self._windows, self._endings = _Growing(Windows.empty), _Growing(Endings.empty)

    @property
    def living(self) -> int:
        """How many flows are in the table."""
        return int(self._table[tracking.LIVE])

    @property
    def evicted(self) -> int:
        """How many flows were ended for want of room."""
        return int(self._table[tracking.EVICTED])

    @property
    def late(self) -> int:
        """How many packets were older than one of their flow before them."""
        return int(self._table[tracking.LATE])

    @property
    def on_port(self) -> int:
        """How many packets were on the watched port."""
        return int(self._table[tracking.ON_PORT])

    @property
    def odd(self) -> int:
        """How many packets have a weird bit."""
        return int(self._table[tracking.ODD])

    def push(self, packets: Rows) -> Rows:
        """Put packets, in time order, into their flows.

        Returns
        -------
        Tracks[P]
            In the order of the packets. Slots are those of the moment: a flow that ends frees its slot for another.
        """
        tracks = np.empty(len(packets), dtype=Tracks.dtype())
        done = np.zeros(4, dtype=np.int64)
        while True:
            windows, endings = self._windows.room(), self._endings.room()
            tracking.track(
                packets,
                *self._kept,
                self._recent,
                self._table,
                self._options,
                tracks,
                windows,
                endings,
                done,
            )
            self._windows.filled += int(done[tracking.DONE_WINDOWS])
            self._endings.filled += int(done[tracking.DONE_ENDINGS])
            if done[tracking.WHY] == tracking.FINISHED:
                return tracks

    def sweep(self, until_ns: int, *, everything: bool = False) -> None:
        """Close the windows before the one that starts at `until_ns` and end expired flows; with `everything`, all."""
        for _ in self._sweeping(until_ns, everything=everything):
            pass  # all of it gathers

    def portions(self, until_ns: int, *, everything: bool = False) -> Iterator[tuple[Rows, Rows]]:
        """Sweep, and meanwhile hand out Windows and Endings whenever many have gathered; `take` then has the rest."""
        for _ in self._sweeping(until_ns, everything=everything):
            if max(self._windows.filled, self._endings.filled) >= _PORTION:
                yield self.take()

    def _sweeping(self, until_ns: int, *, everything: bool) -> Iterator[None]:
        """Sweep, and give way whenever the room for rows is full."""
        done = np.zeros(4, dtype=np.int64)
        at = 0
        while True:
            windows, endings = self._windows.room(), self._endings.room()
            at = tracking.sweep(
                *self._kept,
                self._table,
                self._options,
                at,
                until_ns,
                int(everything),
                windows,
                endings,
                done,
            )
            self._windows.filled += int(done[tracking.DONE_WINDOWS])
            self._endings.filled += int(done[tracking.DONE_ENDINGS])
            if done[tracking.WHY] == tracking.FINISHED:
                break
            yield
        if everything:
            self._empty()
        else:
            self._move_together()

    def _move_together(self) -> None:
        """Give back the memory of windows that were open once, if that was many more than are open now."""
        used = int(self._table[tracking.USED_COUNTS])
        if used <= _COUNTS:
            return
        slots, counts = self._kept[0][: int(self._table[tracking.USED_SLOTS])], self._kept[2]
        holders = np.flatnonzero(slots["count"])
        if len(holders) > used // 4:
            return
        counts[1 : len(holders) + 1] = counts[slots["count"][holders]]
        slots["count"][holders] = np.arange(1, len(holders) + 1)
        self._table[tracking.USED_COUNTS] = len(holders)
        self._table[tracking.FREE_COUNT] = 0
        _let_go(counts, max(len(holders), _COUNTS) + 1)

    def _empty(self) -> None:
        """Begin with no flows, and give back the memory of those that were."""
        # Room for all flows that may ever live is reserved at once and costs memory page by page, as it is used: one
        # that is copied to a larger one stands still for a second where it can least afford to.
        self._kept = (
            _reserved(self._capacity, tracking.SLOT),
            _reserved(self._capacity + 1, tracking.STREAM),
            _reserved(self._capacity + 1, tracking.COUNT),
            _reserved(self._capacity, np.dtype(np.int64)),
            _reserved(1 << (2 * self._capacity - 1).bit_length(), np.dtype(np.uint32)),
            self._holes,
        )
        self._kept[1][0]["holes"] = tracking.NONE
        self._table[[tracking.LIVE, tracking.USED_SLOTS]] = 0
        self._table[[tracking.FREE_SLOT, tracking.OLDEST, tracking.YOUNGEST]] = tracking.NONE
        self._table[[tracking.FREE_STREAM, tracking.USED_STREAMS, tracking.FREE_COUNT, tracking.USED_COUNTS]] = 0

    def take(self) -> tuple[Rows, Rows]:
        """Hand out the Windows and Endings finished since the last call."""
        self._told = int(self._table[tracking.NEXT_FLOW])
        return self._windows.take(), self._endings.take()

    @property
    def waiting(self) -> int:
        """How many rows wait at least: finished windows, and flows that have begun since the last were taken."""
        return self._windows.filled + int(self._table[tracking.NEXT_FLOW]) - self._told


class _Growing:
    """Rows that gather until they are taken; they are written where they stay."""

    def __init__(self, empty: Callable[[int], Rows]) -> None:
        self._empty = empty
        self._rows = empty(_ROOM)
        self.filled = 0

    def room(self) -> Rows:
        """Return rows to be filled from their first; `filled` is to be raised by as many."""
        if len(self._rows) - self.filled < _ROOM // 2:
            self._rows = roomier(self._rows, self.filled, 2 * len(self._rows))
        return self._rows[self.filled :]

    def take(self) -> Rows:
        """Hand out what has gathered; few rows are copied, so that they do not hold the room of many."""
        rows, filled = self._rows[: self.filled], self.filled
        self.filled = 0
        if filled < len(self._rows) // 2:
            return copy(rows)
        self._rows = self._empty(_ROOM)
        return rows


def _reserved(rows: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return zeroed rows that take memory only where they are written, in pages as small as there are."""
    return np.frombuffer(mmap.mmap(-1, rows * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype=dtype)


def _let_go(reserved: npt.NDArray[Any], first: int) -> None:
    """Give back the memory of reserved rows from one on; they are zero again."""
    start = -(-first * reserved.dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
    if start < reserved.nbytes:
        memory: mmap.mmap = cast("memoryview", reserved.base).obj  # type: ignore[assignment]
        memory.madvise(mmap.MADV_DONTNEED, start, reserved.nbytes - start)

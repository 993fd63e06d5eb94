"""Whether the clock of a capture was set back: frames are numbered as they came, so a later number cannot be earlier.

Sorting by time hides it; the numbers still tell. What is said of a frame is how long before it, by the clock, a frame
lies that came after it.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
_MS: Final = 1_000_000
_KEPT: Final = 4096  # records of each input that later frames are compared with
_INPUTS: Final = 1024


class Columns(Protocol):
    """Rows whose columns can be had by name."""

    def __len__(self) -> int: ...  # noqa: D105 - how many
    def __getitem__(self, name: str, /) -> npt.NDArray[Any]: ...  # noqa: D105 - one for each row


class Clocks:
    """The highest frame numbers of each input, and when they were seen."""

    def __init__(self) -> None:
        self._records: dict[int, tuple[Whole, Whole]] = {}

    def push(self, rows: Columns) -> Whole:
        """Return by how many ms the clock was set back after each row's first packet: int64[W] of Windows[W].

        Raises
        ------
        nothing
        """
        back = np.zeros(len(rows), dtype=np.int64)
        for source in np.flatnonzero(np.bincount(rows["first_input"])).tolist():
            mine = np.flatnonzero(rows["first_input"] == source)
            number, ts_ns = rows["first_number"][mine], rows["first_ts_ns"][mine]
            if not bool(((ts_ns[1:] > ts_ns[:-1]) | ((ts_ns[1:] == ts_ns[:-1]) & (number[1:] >= number[:-1]))).all()):
                order = np.lexsort((number, ts_ns))
                mine, number, ts_ns = mine[order], number[order], ts_ns[order]
            back[mine] = self._behind(source, number, ts_ns)
        while len(self._records) > _INPUTS:
            del self._records[next(iter(self._records))]
        return back

    def _behind(self, source: int, number: Whole, ts_ns: Whole) -> Whole:
        before, seen_ns = self._records.pop(source, (np.zeros(0, np.int64), np.zeros(0, np.int64)))
        numbers, times = np.concatenate((before, number)), np.concatenate((seen_ns, ts_ns))
        highest = np.maximum.accumulate(numbers)
        first = np.searchsorted(highest, number, side="right")  # the first row by time that came after each
        own = np.arange(len(before), len(numbers))
        late = np.where(first < own, ts_ns - times[np.minimum(first, len(times) - 1)], 0)
        record = np.flatnonzero(np.diff(highest, prepend=-1))[-_KEPT:]
        self._records[source] = numbers[record], times[record]
        return np.asarray(np.maximum(late, 0) // _MS, dtype=np.int64)

"""Rows to columns, and columns to frames, without memory where all rows say the same.

A flood makes millions of rows that differ in an address, a port and a time. What they have in common is kept once: as
an array that repeats one value (a stride of nothing), which NumPy and pandas read like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sensor.rows import roomier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sensor.schema import Rows

Values = npt.NDArray[Any]
_FEW: Final = 4096  # rows beside which an array is not worth looking at; also those that fit a processor's cache
_WHOLE: Final[tuple[type[np.signedinteger[Any]], ...]] = (np.int8, np.int16, np.int32, np.int64)


def spread(rows: Rows, names: Iterable[str]) -> dict[str, Values]:
    """Return columns of rows by name, each contiguous, or a repeated value.

    Raises
    ------
    nothing
    """
    many = len(rows)
    made = {name: np.empty(many, dtype=rows.dtype[name]) for name in names}
    for start in range(0, many, _FEW):  # a row is fetched from memory once, for all its columns
        piece = rows[start : start + _FEW]
        for name, column in made.items():
            column[start : start + _FEW] = piece[name]
    return {name: steady(column) for name, column in made.items()}


def steady(values: Values) -> Values:
    """Return an array as a repeated value if it is many times the same.

    Raises
    ------
    nothing
    """
    if len(values) <= _FEW or values[0] != values[-1] or not bool((values == values[0]).all()):
        return values
    return np.broadcast_to(values[0], values.shape)


def widened(values: Values, dtype: type[Any]) -> Values:
    """Return an array in another dtype; what is a repeated value stays one.

    Raises
    ------
    nothing
    """
    if _is_steady(values):
        return np.broadcast_to(values[0].astype(dtype), values.shape)
    return values.astype(dtype, copy=False)


def frame(columns: Mapping[str, Any], names: Iterable[str]) -> pd.DataFrame:
    """Return a frame of these columns in the order of `names`, without a copy.

    Raises
    ------
    nothing
    """
    return pd.DataFrame(
        {name: steady(each) if isinstance(each := columns[name], np.ndarray) else each for name in names}, copy=False
    )


def stack(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return frames of the same columns one below the other, numbered from 0; empty ones do not count.

    Raises
    ------
    nothing
    """
    return _stacked(frames, drain=False)


def drain(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return what `stack` does, and empty the list: of frames that nobody else has, nothing is held twice.

    Raises
    ------
    nothing
    """
    return _stacked(frames, drain=True)


def _stacked(frames: Sequence[pd.DataFrame], *, drain: bool) -> pd.DataFrame:
    filled = [each for each in frames if len(each)]
    if len(filled) <= 1:
        return filled[0] if filled else frames[-1]
    whole = {}
    if any(not each.dtypes.equals(filled[0].dtypes) for each in filled):
        return pd.concat(filled, ignore_index=True)  # judged by several policies
    names = [*filled[0]]
    held = [{name: each[name] for name in names} for each in filled]
    filled.clear()
    if isinstance(frames, list) and drain:
        frames.clear()
    for name in names:
        series = [each.pop(name) for each in held]
        whole[name] = joined(series)
    return pd.DataFrame(whole, copy=False)


def joined(parts: Sequence[pd.Series[Any]]) -> Any:
    """Return the values of series of one dtype one below the other; what all of them repeat stays a repeated value.

    Raises
    ------
    nothing
    """
    if not isinstance(parts[0].dtype, np.dtype):
        arrays = [each.array for each in parts]
        return type(arrays[0])._concat_same_type(arrays)  # noqa: SLF001 - pandas' own way for arrays of one dtype
    values = [each.to_numpy() for each in parts]
    if all(map(_is_steady, values)) and len({each[0] for each in values}) == 1:
        return np.broadcast_to(values[0][0], sum(map(len, values)))
    return np.concatenate(values)


def choose(frame: pd.DataFrame, which: npt.NDArray[np.bool_] | slice, names: Iterable[str] = ()) -> pd.DataFrame:
    """Return the rows that a mask or slice chooses, numbered from 0, with these columns (none: all).

    They are copied, unless a mask chooses all.

    Raises
    ------
    nothing
    """
    many = int(np.count_nonzero(which)) if isinstance(which, np.ndarray) else len(range(len(frame))[which])
    whole = {name: chosen(frame[name], which, many) for name in names or frame}
    return pd.DataFrame(whole, index=range(many), copy=False)


def chosen(values: pd.Series[Any], which: npt.NDArray[np.bool_] | slice, many: int) -> Any:
    """Return the values of a series that a mask or slice chooses, `many` of them; a repeated value stays one.

    Raises
    ------
    nothing
    """
    plain = values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array
    if isinstance(plain, np.ndarray) and many and _is_steady(plain):
        return np.broadcast_to(plain[0], many)
    if isinstance(which, np.ndarray):
        return plain if many == len(plain) else plain[which]
    return plain[which].copy()


def _is_steady(values: Values) -> bool:
    return len(values) > 0 and values.strides == (0,)


class Sums:
    """Whole numbers of flows, by ascending flow number: a column is no wider than its largest number needs.

    One that holds nothing but zeros takes no room: of most flows of a flood there is little to add up.
    """

    def __init__(self) -> None:
        self._count = 0
        self._flows = np.zeros(0, dtype=np.int64)
        self._columns: dict[str, Values] = {}

    @property
    def flows(self) -> npt.NDArray[np.int64]:
        """Return the numbers of these flows."""
        return self._flows[: self._count]

    def at(self, flows: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.intp]:
        """Return the rows of ascending flows that are here; a slice if they stand one after another."""
        if not len(flows):
            return slice(0, 0)
        first = int(np.searchsorted(self.flows, flows[0]))
        if self.flows[first + len(flows) - 1 : first + len(flows)].tolist() == [int(flows[-1])]:
            return slice(first, first + len(flows))
        return np.searchsorted(self.flows, flows)

    def meet(self, flows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Make room for those of ascending flows that are not here, with nothing summed; returns which these are."""
        at = np.searchsorted(self.flows, flows)
        new: npt.NDArray[np.bool_] = np.append(self.flows[-1:], -1)[0] < flows
        old = np.flatnonzero(~new)
        new[old] = self.flows[at[old]] != flows[old]
        fresh, end = flows[new], self._count + int(np.count_nonzero(new))
        if end > len(self._flows):
            room = max(end, len(self._flows) + len(self._flows) // 2)
            self._flows = roomier(self._flows, self._count, room)
            self._columns = {name: roomier(held, self._count, room) for name, held in self._columns.items()}
        self._flows[self._count : end] = fresh
        for held in self._columns.values():
            held[self._count : end] = 0
        if self._count and len(fresh) and fresh[0] < self._flows[self._count - 1]:
            order = np.argsort(self._flows[:end], kind="stable")  # packets that came late began it
            for held in (self._flows, *self._columns.values()):
                held[:end] = held[:end][order]
        self._count = end
        return new

    def add(self, name: str, at: slice | npt.NDArray[np.intp], amounts: Values) -> None:
        """Add to a column, at rows of which none is named twice."""
        if not len(amounts) or not (amounts[0] if _is_steady(amounts) else amounts.any()):
            return
        if name not in self._columns:
            self._columns[name] = np.zeros(len(self._flows), dtype=np.int8)
        self._put(name, at, self._columns[name][at].astype(np.int64) + amounts)

    def get(self, name: str, at: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """Return a column at these rows: int64."""
        if name not in self._columns:
            return np.broadcast_to(np.int64(0), self.flows[at].shape)
        return widened(steady(self._columns[name][at]), np.int64)

    def drop(self, at: slice | npt.NDArray[np.intp]) -> None:
        """Forget these rows."""
        keep = np.ones(self._count, dtype=np.bool_)
        keep[at] = False
        left = int(np.count_nonzero(keep))
        if left == self._count:
            return
        self._flows = self.flows[keep]
        if not left:
            self._columns.clear()
        for name, held in self._columns.items():
            self._columns[name] = held[: self._count][keep]
        self._count = left

    def _put(self, name: str, at: slice | npt.NDArray[np.intp], values: npt.NDArray[np.int64]) -> None:
        low, high = int(values.min()), int(values.max())
        fits = next(kind for kind in _WHOLE if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
        if np.dtype(fits).itemsize > self._columns[name].itemsize:
            self._columns[name] = self._columns[name].astype(fits)
        self._columns[name][at] = values

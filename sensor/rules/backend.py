"""Conditions and sliding measures on frames, without a Python step per row.

A condition on one text column is decided on that column's distinct values and then carried to the rows. A measure is
taken at *points*, one per group and window that has rows: sums are differences of running totals, distinct counts are
intervals added up (a value counts from each occurrence until its next one or until the timespan has passed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sensor.rules.columns import Kind
    from sensor.rules.ruleset import Clause

Mask = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]
Number = npt.NDArray[Any]
COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "lt": np.less,
    "lte": np.less_equal,
    "gt": np.greater,
    "gte": np.greater_equal,
    "eq": np.equal,
    "neq": np.not_equal,
}


# --- conditions ----------------------------------------------------------------------------------------------------
class Encoded:
    """A frame whose text columns are encoded once: distinct values, and for each row which of them it holds."""

    def __init__(self, frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> None:
        self.frame = frame
        self._kinds = kinds
        self._texts: dict[str, tuple[pa.Array, Whole]] = {}

    def is_text(self, column: str) -> bool:
        """Return whether a column holds text."""
        return self._kinds[column].holds == "text"

    def text(self, column: str) -> tuple[pa.Array, Whole]:
        """Return the distinct values of a column, a null after them, and the index of each row's value (-1 = null)."""
        if column not in self._texts:
            series = self.frame[column]
            if isinstance(series.dtype, pd.CategoricalDtype):
                codes, values = np.asarray(series.cat.codes), pd.Index(series.cat.categories)
            else:
                codes, values = pd.factorize(series)
            known = _with_null(values)
            self._texts[column] = (known, codes.astype(np.int64))
        return self._texts[column]


def _with_null(values: Any) -> pa.Array:
    known = pa.array(values.astype("str"), from_pandas=True)
    chunks = known.chunks if isinstance(known, pa.ChunkedArray) else [known]
    return pa.concat_arrays([*(chunk.cast(pa.large_string()) for chunk in chunks), pa.array([None], pa.large_string())])


def evaluate(clause: Clause, rows: Encoded) -> Mask:
    """Return which rows a condition holds for.

    Parameters
    ----------
    clause
        A condition that `load` has checked against the frame's columns.
    rows
        The frame, `N` rows.

    Returns
    -------
    bool[N]

    Raises
    ------
    nothing
    """
    columns = clause.columns()
    if len(columns) == 1 and clause.op != "same":
        (column,) = columns
        if rows.is_text(column):
            values, codes = rows.text(column)
            return np.asarray(_on_text(clause, values)[codes], dtype=np.bool_)
    if clause.parts:
        return _linked(clause.op, [evaluate(part, rows) for part in clause.parts])
    if clause.op == "same":
        return _same(clause, rows)
    return _on_numbers(clause, rows.frame[clause.column].to_numpy())


def _linked(op: str, parts: list[Mask]) -> Mask:
    if op == "not":
        return ~parts[0]
    link = np.logical_and if op == "and" else np.logical_or
    return np.asarray(link.reduce(parts), dtype=np.bool_)


def _same(clause: Clause, rows: Encoded) -> Mask:
    columns = (clause.column, str(clause.value))
    if not rows.is_text(clause.column):
        left, right = (rows.frame[column].to_numpy() for column in columns)
        return np.asarray(left == right, dtype=np.bool_)
    sides = [pc.utf8_lower(values).take(pa.array(codes % len(values))) for values, codes in map(rows.text, columns)]
    return _mask(pc.equal(*sides))


def _on_numbers(clause: Clause, values: npt.NDArray[Any]) -> Mask:
    if clause.op in {"null", "exists"}:
        return np.asarray(pd.isna(values) == (clause.op == "null" or not clause.value), dtype=np.bool_)
    compare = COMPARE["eq" if clause.op == "equal" else clause.op]
    return np.asarray(compare(values, clause.value), dtype=np.bool_)


def _on_text(clause: Clause, values: pa.Array) -> Mask:
    """Return which of the distinct values (null last) a condition on this one column holds for."""
    if clause.parts:
        return _linked(clause.op, [_on_text(part, values) for part in clause.parts])
    if clause.op in {"null", "exists"}:
        absent = _mask(pc.equal(pc.coalesce(values, ""), ""))
        return absent if clause.op == "null" or not clause.value else ~absent
    if clause.op == "cidr":
        return _inside(str(clause.value), values)
    if clause.op == "re":
        return _mask(pc.match_substring_regex(values, clause.value))
    folded = values if clause.op == "is_cased" else pc.utf8_lower(values)
    return _mask(pc.equal(folded, clause.value))


def _inside(network: str, values: pa.Array) -> Mask:
    from ipaddress import ip_network
    from socket import AF_INET, AF_INET6, inet_pton

    net = ip_network(network)
    family, form = (AF_INET, r"\A[0-9.]+\z") if net.version == 4 else (AF_INET6, ":")  # noqa: PLR2004
    held = _mask(pc.match_substring_regex(values, form))
    packed = b"".join(inet_pton(family, each) for each in values.filter(pa.array(held)).to_pylist())
    bits = np.frombuffer(packed, np.uint8).reshape(-1, net.max_prefixlen // 8)
    mask = np.frombuffer(net.netmask.packed, np.uint8)
    held[held] = ((bits & mask) == np.frombuffer(net.network_address.packed, np.uint8)).all(axis=1)
    return held


def _mask(found: pa.Array) -> Mask:
    return np.array(pc.fill_null(found, fill_value=False).to_numpy(zero_copy_only=False), dtype=np.bool_)


# --- measures ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Points:
    """The places where a measure is taken: one per group and window that has rows, by group, then by window.

    `group` is int64[P], `window` int64[P] ns; `row` is int64[N], the point of each row.
    """

    group: Whole
    window: Whole
    row: Whole
    _windows: Whole
    _keys: Whole

    def first_within(self, span_ns: int) -> Whole:
        """Return for each point the first point of its group whose window lies in `(window - span, window]`."""
        return self._find(np.searchsorted(self._windows, self.window - span_ns, side="right"))

    def first_beyond(self, span_ns: int) -> Whole:
        """Return for each point the first point of its group, or of the next, that no longer sees its rows."""
        return self._find(np.searchsorted(self._windows, self.window + span_ns, side="left"))

    def _find(self, rank: npt.NDArray[np.intp]) -> Whole:
        keys = self.group * (len(self._windows) + 1) + rank
        return np.searchsorted(self._keys, keys, side="left").astype(np.int64)


def points(group: Whole, window: Whole) -> Points:
    """Return the points of rows: int64[N] group numbers from 0, int64[N] ns window starts.

    Raises
    ------
    nothing
    """
    windows = np.sort(pd.unique(window))  # hashing first: there are few windows and many rows
    width = len(windows) + 1
    row, keys = _ranked(group * width + np.searchsorted(windows, window))
    return Points(keys // width, windows[keys % width], row, windows, keys)


def _ranked(key: Whole) -> tuple[Whole, Whole]:
    """Return the rank of each key among the distinct keys, and these, sorted; hashing beats sorting all rows."""
    codes, keys = pd.factorize(key)
    order = np.argsort(keys, kind="stable")
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    return rank[codes], keys[order]


def add_up(at: Points, amount: Whole, span_ns: int) -> Whole:
    """Return the sum of int64[N] `amount` over each point's timespan; exact, as it is int64 throughout.

    Raises
    ------
    nothing
    """
    total = np.zeros(len(at.group) + 1, np.int64)
    np.add.at(total, at.row + 1, amount)
    total = np.cumsum(total)
    return total[1:] - total[at.first_within(span_ns)]


def count_distinct(at: Points, value: Whole, span_ns: int) -> Whole:
    """Return how many distinct int64[N] `value` numbers (from 0) lie in each point's timespan.

    Raises
    ------
    nothing
    """
    if not len(value):
        return np.zeros(0, np.int64)
    many = len(at.group)
    occurrence = np.sort(value.astype(np.int64) * (many + 1) + at.row)  # by value, then by group, then in time
    occurrence = occurrence[np.diff(occurrence, prepend=-1) != 0]  # once per point
    which, begin = occurrence // (many + 1), occurrence % (many + 1)
    end = at.first_beyond(span_ns)[begin]
    again = (which[1:] == which[:-1]) & (at.group[begin[1:]] == at.group[begin[:-1]])
    end[:-1][again] = np.minimum(end[:-1][again], begin[1:][again])
    change = np.zeros(many + 1, np.int64)
    np.add.at(change, begin, 1)
    np.add.at(change, end, -1)
    return np.cumsum(change)[:-1]


def count_in_order(at: Points, part: Whole, moment: Whole, span_ns: int) -> Whole:
    """Return for each point how many parts its timespan holds one after another, from part 0 on.

    Parameters
    ----------
    at
        `N` rows in points.
    part, moment
        int64[N], numbers from 0, and int64[N] ns, when each row was seen.
    span_ns
        The chain that ends in a point must begin within its timespan.

    Raises
    ------
    nothing
    """
    found = np.zeros(len(at.group), np.int64)
    order = np.lexsort((part, moment, at.row))
    reach = at.first_within(span_ns)
    # The latest point at which a chain over parts 0 … p began, for each group; a later beginning is never worse.
    begun: dict[int, list[int]] = {}
    many = int(part.max()) + 1 if len(part) else 0
    for row in order.tolist():
        point, which = int(at.row[row]), int(part[row])
        chain = begun.setdefault(int(at.group[point]), [-1] * many)
        start = point if which == 0 else chain[which - 1]
        chain[which] = max(chain[which], start)
        found[point] = max(found[point], *(n + 1 for n, first in enumerate(chain) if first >= reach[point]), 0)
    return found


def percentile(at: Points, value: Number, percent: int, span_ns: int) -> Number:
    """Return a percentile (linear between ranks) of float64[N] `value` over each point's timespan.

    Raises
    ------
    nothing
    """
    order = np.argsort(at.row, kind="stable")
    value, row = value[order], at.row[order]
    ends = np.searchsorted(row, np.arange(len(at.group)), side="right")
    starts = np.searchsorted(row, at.first_within(span_ns), side="left")
    pieces = (value[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
    return np.array([np.percentile(piece, percent) for piece in pieces], dtype=np.float64)

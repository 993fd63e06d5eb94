"""Addresses, hashes, GUIDs and Community IDs as pandas `str` arrays, without a Python object per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sensor.kernels import community
from sensor.kernels import text as kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.schema import Bytes

Words = npt.NDArray[np.uint64]
Ports = npt.NDArray[np.uint16]
Flags = npt.NDArray[np.bool_]


def addresses(hi: Words, lo: Words) -> pd.arrays.ArrowStringArray:
    """Return addresses as text: dotted if IPv4-mapped, else RFC 5952.

    Parameters
    ----------
    hi, lo : uint64[N]
        Upper and lower 64 bits.

    Returns
    -------
    str[N]
        A pandas array of dtype `str`.

    Raises
    ------
    nothing
    """
    out_text = np.empty(hi.size * kernels.ADDRESS_TEXT_MAX, dtype=np.uint8)
    out_offsets = np.empty(hi.size + 1, dtype=np.int64)
    written = kernels.addresses(np.ascontiguousarray(hi), np.ascontiguousarray(lo), out_text, out_offsets)
    return _strings(out_text[:written], out_offsets)


def chosen(words: Sequence[str], which: npt.NDArray[np.integer[Any]]) -> pd.arrays.ArrowStringArray:
    """Return one of a few words for each row.

    Parameters
    ----------
    words
        At least one.
    which : int[N]
        Index in `words` for each row; -1 is the last.

    Returns
    -------
    str[N]
        A pandas array of dtype `str`.

    Raises
    ------
    nothing
    """
    places = pa.array(np.where(which < 0, which + len(words), which).astype(np.int64))
    return _as_text(pa.array(words, pa.large_string()).take(places))


def hexes(raw: Bytes, present: Flags | None = None) -> pd.arrays.ArrowStringArray:
    """Return fixed-size bytes as lower-case hex.

    Parameters
    ----------
    raw : uint8[N, W]
        For instance the swarm hashes of a Handshakes table.
    present : bool[N], optional
        Rows that have a value; the others become empty text.

    Returns
    -------
    str[N]
        A pandas array of dtype `str`.

    Raises
    ------
    nothing
    """
    rows, width = raw.shape
    out_text = np.empty(rows * width * 2, dtype=np.uint8)
    out_offsets = np.empty(rows + 1, dtype=np.int64)
    written = kernels.hexes(np.ascontiguousarray(raw), _flags(present, rows), out_text, out_offsets)
    return _strings(out_text[:written], out_offsets)


def guids(raw: Bytes, present: Flags | None = None) -> pd.arrays.ArrowStringArray:
    """Return peer ids as UUID text, as `uuid.UUID(bytes_le=…)` reads them.

    Parameters
    ----------
    raw : uint8[N, 16]
        GUIDs in Windows memory order.
    present : bool[N], optional
        Rows that have a value; the others become empty text.

    Returns
    -------
    str[N]
        A pandas array of dtype `str`.

    Raises
    ------
    nothing
    """
    rows = raw.shape[0]
    out_text = np.empty(rows * kernels.GUID_TEXT, dtype=np.uint8)
    out_offsets = np.empty(rows + 1, dtype=np.int64)
    written = kernels.guids(np.ascontiguousarray(raw), _flags(present, rows), out_text, out_offsets)
    return _strings(out_text[:written], out_offsets)


def community_ids(  # noqa: PLR0913 - a flow key has six columns
    orig_hi: Words,
    orig_lo: Words,
    orig_port: Ports,
    resp_hi: Words,
    resp_lo: Words,
    resp_port: Ports,
    *,
    seed: int = 0,
) -> pd.arrays.ArrowStringArray:
    """Return the Community ID v1 of TCP flows; the order of the two sides does not matter.

    Parameters
    ----------
    orig_hi, orig_lo, resp_hi, resp_lo : uint64[N]
        Addresses.
    orig_port, resp_port : uint16[N]
        TCP ports.
    seed : int
        0 .. 65535.

    Returns
    -------
    str[N]
        A pandas array of dtype `str`, "1:" and 28 characters.

    Raises
    ------
    nothing
    """
    rows = orig_hi.size
    out_text = np.empty(rows * community.COMMUNITY_TEXT, dtype=np.uint8)
    community.community_ids(
        np.ascontiguousarray(orig_hi),
        np.ascontiguousarray(orig_lo),
        np.ascontiguousarray(orig_port),
        np.ascontiguousarray(resp_hi),
        np.ascontiguousarray(resp_lo),
        np.ascontiguousarray(resp_port),
        seed,
        out_text,
        np.empty(community.SCRATCH, dtype=np.int64),
    )
    return _strings(out_text, np.arange(rows + 1, dtype=np.int64) * community.COMMUNITY_TEXT)


def _flags(present: Flags | None, rows: int) -> Flags:
    return np.ones(rows, dtype=np.bool_) if present is None else np.ascontiguousarray(present, dtype=np.bool_)


def _strings(text: Bytes, offsets: npt.NDArray[np.int64]) -> pd.arrays.ArrowStringArray:
    # Large strings: 64-bit offsets, which is also what pandas keeps, so nothing is copied.
    return _as_text(pa.LargeStringArray.from_buffers(offsets.size - 1, pa.py_buffer(offsets), pa.py_buffer(text)))


def _as_text(values: Any) -> pd.arrays.ArrowStringArray:
    strings: pd.arrays.ArrowStringArray = pd.array(values, dtype=pd.StringDtype(storage="pyarrow", na_value=np.nan))
    return strings

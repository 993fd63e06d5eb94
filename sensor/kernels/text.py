"""Addresses, hashes and GUIDs as text: kernels that write the bytes and offsets of an Arrow string column.

Each kernel fills `out_text` from its start and sets `out_offsets[i + 1]` to the end of row i (`out_offsets[0]` is 0),
so that no row becomes a Python object on its way into a frame or a file.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.kernels import BYTES, INT64S, WORDS, Array, kernel

ADDRESS_TEXT_MAX: Final = 39  # eight groups of four digits and seven colons (RFC 4291, section 2.2)
GUID_TEXT: Final = 36  # RFC 9562, section 4

_HEX: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_GUID_ORDER: Final = np.array([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15], dtype=np.int64)

Words = npt.NDArray[np.uint64]
Raw = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Text = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

_RAW = Array(np.dtype(np.uint8), 2, readonly=True)
_FLAGS = Array(np.dtype(np.bool_), readonly=True)


@kernel(WORDS, WORDS, BYTES, INT64S)
def addresses(hi: Words, lo: Words, out_text: Text, out_offsets: Offsets) -> int:
    """Write each address as people write it: dotted if IPv4-mapped, else canonical IPv6.

    Parameters
    ----------
    hi, lo : uint64[N]
        Upper and lower 64 bits of the address.
    out_text : uint8[>= N * ADDRESS_TEXT_MAX]
        The text, row after row.
    out_offsets : int64[N + 1]
        Ends of the rows in `out_text`.

    Returns
    -------
    int64
        Bytes of text written.

    Raises
    ------
    nothing

    References
    ----------
    RFC 5952, sections 4.1 to 4.3 (the longest, then first, run of two or more zero groups is `::`; lower case).
    """
    end = 0
    out_offsets[0] = 0
    for row in range(hi.size):
        upper = hi[row]
        lower = lo[row]
        if upper == np.uint64(0) and (lower >> np.uint64(32)) == np.uint64(0xFFFF):
            for part in range(4):
                byte = np.int64((lower >> np.uint64(24 - 8 * part)) & np.uint64(0xFF))
                if part > 0:
                    out_text[end] = 46
                    end += 1
                if byte >= 100:
                    out_text[end] = 48 + byte // 100
                    end += 1
                if byte >= 10:
                    out_text[end] = 48 + byte // 10 % 10
                    end += 1
                out_text[end] = 48 + byte % 10
                end += 1
            out_offsets[row + 1] = end
            continue
        best_at = 8
        best_length = 1  # one zero group alone is never shortened
        length = 0
        for at in range(8):
            word = upper if at < 4 else lower
            group = np.int64((word >> np.uint64(48 - 16 * (at & 3))) & np.uint64(0xFFFF))
            length = length + 1 if group == 0 else 0
            if length > best_length:
                best_length = length
                best_at = at + 1 - length
        at = 0
        while at < 8:
            if at == best_at:
                out_text[end] = 58
                out_text[end + 1] = 58
                end += 2
                at += best_length
                continue
            if at > 0 and at != best_at + best_length:
                out_text[end] = 58
                end += 1
            word = upper if at < 4 else lower
            group = np.int64((word >> np.uint64(48 - 16 * (at & 3))) & np.uint64(0xFFFF))
            if group >= 0x1000:
                out_text[end] = _HEX[group >> 12]
                end += 1
            if group >= 0x100:
                out_text[end] = _HEX[(group >> 8) & 15]
                end += 1
            if group >= 0x10:
                out_text[end] = _HEX[(group >> 4) & 15]
                end += 1
            out_text[end] = _HEX[group & 15]
            end += 1
            at += 1
        out_offsets[row + 1] = end
    return end


@kernel(_RAW, _FLAGS, BYTES, INT64S)
def hexes(raw: Raw, present: Flags, out_text: Text, out_offsets: Offsets) -> int:
    """Write each content name (or any fixed-size bytes) as lower-case hex, and nothing where there is none.

    Parameters
    ----------
    raw : uint8[N, W]
        The bytes.
    present : bool[N]
        Rows to write; the others become empty text.
    out_text : uint8[>= N * 2 * W]
        The text, row after row.
    out_offsets : int64[N + 1]
        Ends of the rows in `out_text`.

    Returns
    -------
    int64
        Bytes of text written.

    Raises
    ------
    nothing
    """
    end = 0
    out_offsets[0] = 0
    for row in range(raw.shape[0]):
        if present[row]:
            for at in range(raw.shape[1]):
                byte = np.int64(raw[row, at])
                out_text[end] = _HEX[byte >> 4]
                out_text[end + 1] = _HEX[byte & 15]
                end += 2
        out_offsets[row + 1] = end
    return end


@kernel(_RAW, _FLAGS, BYTES, INT64S)
def guids(raw: Raw, present: Flags, out_text: Text, out_offsets: Offsets) -> int:
    """Write each peer id as UUID text, reading the 16 bytes in Windows memory order, and nothing where there is none.

    Parameters
    ----------
    raw : uint8[N, 16]
        GUIDs; their first three fields are little-endian.
    present : bool[N]
        Rows to write; the others become empty text.
    out_text : uint8[>= N * GUID_TEXT]
        The text, row after row.
    out_offsets : int64[N + 1]
        Ends of the rows in `out_text`.

    Returns
    -------
    int64
        Bytes of text written; none if the rows are not 16 bytes wide.

    Raises
    ------
    nothing

    References
    ----------
    RFC 9562, section 4; all peer ids of the public captures are valid version 4 UUIDs only when read little-endian.
    """
    end = 0
    out_offsets[0] = 0
    wide = raw.shape[1] == 16
    for row in range(raw.shape[0]):
        if wide and present[row]:
            for at in range(16):
                if at in (4, 6, 8, 10):
                    out_text[end] = 45
                    end += 1
                byte = np.int64(raw[row, _GUID_ORDER[at]])
                out_text[end] = _HEX[byte >> 4]
                out_text[end + 1] = _HEX[byte & 15]
                end += 2
        out_offsets[row + 1] = end
    return end

"""Community ID v1 of flows: the name under which Zeek, Suricata and Wireshark know the same TCP conversation.

The hashed bytes always fit one SHA-1 block, so the words of that block are written straight from the columns.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.kernels import BYTES, INT64, INT64S, WORDS, Array, kernel
from sensor.wire import IPPROTO_TCP

COMMUNITY_TEXT: Final = 30  # "1:" and 28 characters of base64
SCRATCH: Final = 21  # sixteen words of a block, five of a digest

_BASE64: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", dtype=np.uint8)
_MASK: Final = 0xFFFFFFFF

Words = npt.NDArray[np.uint64]
Ports = npt.NDArray[np.uint16]
Text = npt.NDArray[np.uint8]
Scratch = npt.NDArray[np.int64]

_PORTS = Array(np.dtype(np.uint16), readonly=True)


@kernel(WORDS, WORDS, _PORTS, WORDS, WORDS, _PORTS, INT64, BYTES, INT64S)
def community_ids(
    orig_hi: Words,
    orig_lo: Words,
    orig_port: Ports,
    resp_hi: Words,
    resp_lo: Words,
    resp_port: Ports,
    seed: int,
    out_text: Text,
    out_scratch: Scratch,
) -> int:
    """Write the Community ID of each TCP flow; both directions of a flow have the same.

    Parameters
    ----------
    orig_hi, orig_lo, resp_hi, resp_lo : uint64[N]
        Addresses; a pair of IPv4-mapped ones is hashed as two times 4 bytes.
    orig_port, resp_port : uint16[N]
        TCP ports.
    seed : int64
        0 .. 65535; sites that want to keep their ids apart choose their own, the default elsewhere is 0.
    out_text : uint8[>= N * COMMUNITY_TEXT]
        The ids, COMMUNITY_TEXT bytes each.
    out_scratch : int64[>= SCRATCH]
        Room for the block being hashed: a kernel allocates nothing.

    Returns
    -------
    int64
        Bytes of text written: N * COMMUNITY_TEXT.

    Raises
    ------
    nothing

    References
    ----------
    Community ID flow hashing specification, version 1; SHA-1: RFC 3174, section 6.1; base64: RFC 4648, section 4.
    """
    block = out_scratch[:16]
    digest = out_scratch[16:SCRATCH]
    end = 0
    for row in range(orig_hi.size):
        low_hi = orig_hi[row]
        low_lo = orig_lo[row]
        low_port = np.int64(orig_port[row])
        high_hi = resp_hi[row]
        high_lo = resp_lo[row]
        high_port = np.int64(resp_port[row])
        swap = low_hi > high_hi
        if low_hi == high_hi:
            swap = low_lo > high_lo
            if low_lo == high_lo:
                swap = low_port > high_port
        if swap:
            low_hi, high_hi = high_hi, low_hi
            low_lo, high_lo = high_lo, low_lo
            low_port, high_port = high_port, low_port

        for at in range(16):
            block[at] = 0
        mapped = (
            low_hi == np.uint64(0)
            and high_hi == np.uint64(0)
            and (low_lo >> np.uint64(32)) == np.uint64(0xFFFF)
            and (high_lo >> np.uint64(32)) == np.uint64(0xFFFF)
        )
        head = (seed & 0xFFFF) << 16
        ports = (low_port << 16) | high_port
        low_tail = np.int64(low_lo & np.uint64(0xFFFFFFFF))
        high_tail = np.int64(high_lo & np.uint64(0xFFFFFFFF))
        # seed, lower address, higher address, protocol, padding, ports: the 2-byte seed shifts all by half a word
        if mapped:
            block[0] = head | (low_tail >> 16)
            block[1] = ((low_tail & 0xFFFF) << 16) | (high_tail >> 16)
            block[2] = ((high_tail & 0xFFFF) << 16) | (IPPROTO_TCP << 8)
            block[3] = ports
            block[4] = 0x80000000
            block[15] = 16 * 8
        else:
            block[0] = head | np.int64(low_hi >> np.uint64(48))
            block[1] = np.int64((low_hi >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
            block[2] = (np.int64(low_hi & np.uint64(0xFFFF)) << 16) | np.int64(low_lo >> np.uint64(48))
            block[3] = np.int64((low_lo >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
            block[4] = ((low_tail & 0xFFFF) << 16) | np.int64(high_hi >> np.uint64(48))
            block[5] = np.int64((high_hi >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
            block[6] = (np.int64(high_hi & np.uint64(0xFFFF)) << 16) | np.int64(high_lo >> np.uint64(48))
            block[7] = np.int64((high_lo >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
            block[8] = ((high_tail & 0xFFFF) << 16) | (IPPROTO_TCP << 8)
            block[9] = ports
            block[10] = 0x80000000
            block[15] = 40 * 8

        a = 0x67452301
        b = 0xEFCDAB89
        c = 0x98BADCFE
        d = 0x10325476
        e = 0xC3D2E1F0
        for step in range(80):
            slot = step & 15
            word = block[slot]
            if step >= 16:
                word ^= block[(step + 2) & 15] ^ block[(step + 8) & 15] ^ block[(step + 13) & 15]
                word = ((word << 1) | (word >> 31)) & _MASK
                block[slot] = word
            if step < 20:
                mixed = (d ^ (b & (c ^ d))) + 0x5A827999
            elif step < 40:
                mixed = (b ^ c ^ d) + 0x6ED9EBA1
            elif step < 60:
                mixed = ((b & c) | (d & (b | c))) + 0x8F1BBCDC
            else:
                mixed = (b ^ c ^ d) + 0xCA62C1D6
            rotated = ((a << 5) | (a >> 27)) & _MASK
            following = (rotated + mixed + e + word) & _MASK
            e = d
            d = c
            c = ((b << 30) | (b >> 2)) & _MASK
            b = a
            a = following
        digest[0] = (a + 0x67452301) & _MASK
        digest[1] = (b + 0xEFCDAB89) & _MASK
        digest[2] = (c + 0x98BADCFE) & _MASK
        digest[3] = (d + 0x10325476) & _MASK
        digest[4] = (e + 0xC3D2E1F0) & _MASK

        out_text[end] = 49
        out_text[end + 1] = 58
        end += 2
        for sextet in range(27):
            # 160 bits in groups of six; the last group holds four bits and two zeros
            bit = sextet * 6
            word = digest[bit >> 5] << 32
            if bit < 128:
                word |= digest[(bit >> 5) + 1]
            out_text[end] = _BASE64[(word >> (58 - (bit & 31))) & 63]
            end += 1
        out_text[end] = 61
        end += 1
    return end

"""Frames to mDNS datagrams: UDP on one port over Ethernet with up to two VLAN tags, Linux cooked, raw IP; IPv4, IPv6.

Fragments and extension headers are passed over: an announcement fits a frame.
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import INT64, READONLY_BYTES, inline, kernel, rows
from sensor.schema import Datagrams, Frames

_FRAMES = rows(Frames.dtype(), readonly=True)
_DATAGRAMS = rows(Datagrams.dtype())
V4_MAPPED = np.uint64(0x0000FFFF00000000)


@inline()
def u16(data, at):
    """Read two bytes, big-endian."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@inline()
def u64(data, at):
    """Read eight bytes, big-endian."""
    high = (u16(data, at) << 16) | u16(data, at + 2)
    low = (u16(data, at + 4) << 16) | u16(data, at + 6)
    return (np.uint64(high) << np.uint64(32)) | np.uint64(low)


@kernel(_FRAMES, READONLY_BYTES, INT64, INT64, _DATAGRAMS)
def select(frames, data, port, first, out_datagrams):
    """Find the datagrams to or from a UDP port among frames, from frame `first` on.

    Parameters
    ----------
    frames : Frames[F]; data : uint8[:]
    port, first : int
    out_datagrams : Datagrams[D]
        Row 0's `number` is set to the frame to go on from, when there was no room for more; size at least 2.

    Returns
    -------
    int
        How many datagrams were written, from row 1 on.
    """
    size = np.int64(data.shape[0])
    count = 0
    for at_frame in range(first, frames.shape[0]):
        frame = frames[at_frame]
        start = frame.at
        captured = np.int64(frame.captured_bytes)
        if start < 0 or captured < 28 or start + captured > size:
            continue
        end = start + captured
        link = frame.link_type
        if link == 1:
            ethertype = u16(data, start + 12)
            at = start + 14
        elif link == 113:
            ethertype = u16(data, start + 14)
            at = start + 16
        elif link == 276:
            ethertype = u16(data, start)
            at = start + 20
        elif link == 101 or link == 228 or link == 229:
            ethertype = 0x0800 if data[start] >> 4 == 4 else 0x86DD
            at = start
        else:
            continue
        for _ in range(2):
            if (ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100) and at + 4 <= end:
                ethertype = u16(data, at + 2)
                at += 4
        if ethertype == 0x0800:
            if at + 20 > end or data[at] >> 4 != 4 or data[at + 9] != 17 or u16(data, at + 6) & 0x3FFF:
                continue
            udp = at + (np.int64(data[at]) & 15) * 4
            if udp < at + 20:
                continue
        elif ethertype == 0x86DD:
            if at + 40 > end or data[at] >> 4 != 6 or data[at + 6] != 17:
                continue
            udp = at + 40
        else:
            continue
        if udp + 8 > end or (u16(data, udp) != port and u16(data, udp + 2) != port):
            continue
        length = u16(data, udp + 4) - 8
        if length < 0:
            continue
        if count + 1 >= out_datagrams.shape[0]:
            out_datagrams[0].number = at_frame
            return count
        count += 1
        row = out_datagrams[count]
        row.ts_ns = frame.ts_ns
        if ethertype == 0x0800:
            row.src_hi = np.uint64(0)
            row.src_lo = V4_MAPPED | np.uint64((u16(data, at + 12) << 16) | u16(data, at + 14))
        else:
            row.src_hi = u64(data, at + 8)
            row.src_lo = u64(data, at + 16)
        row.number = frame.number
        row.at = udp + 8
        row.length = min(length, end - udp - 8)
        row.input = frame.input
    out_datagrams[0].number = frames.shape[0]
    return count

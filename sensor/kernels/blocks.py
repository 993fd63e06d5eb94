"""Blocks of the kernel's packet ring (TPACKET_V3) to frames, with the VLAN tag that it keeps apart put back in.

References
----------
<linux/if_packet.h>: struct tpacket_block_desc, struct tpacket3_hdr, struct sockaddr_ll.
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import BYTES, INT64, INT64S, inline, kernel, rows
from sensor.schema import Frames

# Cursor: what a walk leaves behind, int64[4].
NUMBER, BYTES_SEEN, LAST_NS, SKIPPED = range(4)
BLOCK_HEADER = 48  # struct tpacket_block_desc with its one version of a header
HEADER = 48  # struct tpacket3_hdr; struct sockaddr_ll follows it
VLAN_VALID = 1 << 4
VLAN_TPID_VALID = 1 << 6
OUTGOING = 4
LATER = 4  # packets that are waited for together
HEADERS_END = 53  # the last byte of Ethernet, IPv4 and TCP without options

_FRAMES = rows(Frames.dtype())


@inline()
def le32(data, at):
    """Read four bytes of the machine's own order (little-endian, as on every machine this runs on) as int64."""
    return (
        (np.int64(data[at + 3]) << 24)
        | (np.int64(data[at + 2]) << 16)
        | (np.int64(data[at + 1]) << 8)
        | np.int64(data[at])
    )


@inline()
def le16(data, at):
    """Read two bytes of the machine's own order as int64."""
    return (np.int64(data[at + 1]) << 8) | np.int64(data[at])


@kernel(BYTES, INT64S, INT64, INT64, INT64S, _FRAMES)
def walk_blocks(data, spans, source, drop_outgoing, cursor, out_frames):
    """Walk the packets of blocks, one block after the other.

    `data` is ours: a tag that was kept apart is written in front of its frame.

    Parameters
    ----------
    data : uint8[:]
        What the blocks lie in.
    spans : int64[B * 3]
        Of each block: where it begins and ends; and, written here, the number of the last frame by its end.
    source : int
        Written to each frame as `input`.
    drop_outgoing : int
        1 leaves out what this machine sent: on the loopback it is seen again as received.
    cursor : int64[4]
        NUMBER of frames so far, BYTES_SEEN on the wire, LAST_NS, SKIPPED; all moved on.
    out_frames : Frames[:]

    Returns
    -------
    int
        How many frames were written; `out_frames` must have room for all that the blocks say they hold.
    """
    count = 0
    for block in range(spans.shape[0] // 3):
        base, end = spans[3 * block], spans[3 * block + 1]
        packets = np.int64(0)
        if base >= 0 and end <= data.shape[0] and base + BLOCK_HEADER <= end:
            packets = le32(data, base + 12)
        at = base + le32(data, base + 16) if packets > 0 else base
        first = count
        for _ in range(packets):
            if count >= out_frames.shape[0] or at + HEADER + 20 > end:
                break
            captured = le32(data, at + 12)
            wire = le32(data, at + 16)
            status = le32(data, at + 20)
            start = at + le16(data, at + 24)
            if start < at + HEADER + 20 or start + captured > end:
                break
            following = le32(data, at)
            if drop_outgoing != 0 and data[at + HEADER + 10] == OUTGOING:
                cursor[SKIPPED] += 1
            else:
                # The kernel leaves room in front of the frame: at least the 20 bytes of the address end 4 before it.
                if status & VLAN_VALID and captured >= 14 and start - 4 >= at + HEADER:
                    tci = le32(data, at + 32)
                    tpid = le16(data, at + 36) if status & VLAN_TPID_VALID else np.int64(0x8100)
                    for step in range(12):
                        data[start - 4 + step] = data[start + step]
                    data[start + 8] = tpid >> 8
                    data[start + 9] = tpid & 0xFF
                    data[start + 10] = (tci >> 8) & 0xFF
                    data[start + 11] = tci & 0xFF
                    start -= 4
                    captured += 4
                    wire += 4
                ts_ns = le32(data, at + 4) * 1000000000 + le32(data, at + 8)
                cursor[NUMBER] += 1
                cursor[BYTES_SEEN] += wire
                cursor[LAST_NS] = max(cursor[LAST_NS], ts_ns)
                frame = out_frames[count]
                frame.ts_ns = ts_ns
                frame.at = start
                frame.number = cursor[NUMBER]
                frame.captured_bytes = captured
                frame.wire_bytes = min(max(wire, captured), 2147483647)
                frame.input = source
                frame.link_type = 1
                # Packets of one size come in rows: what is read of a later one is under way while this one is looked
                # at. Something must come of it, or it would not be read; nothing does in the end.
                later = at + LATER * following
                frame.offset = np.int64(data[later]) if 0 <= later < end else np.int64(0)
                count += 1
            if following <= 0:
                break
            at += following
        # The headers too, many at once, before they are decoded one by one.
        for row in range(first, count):
            frame = out_frames[row]
            length = np.int64(frame.captured_bytes)
            if length > HEADERS_END:
                frame.offset = np.int64(data[frame.at + 14]) + np.int64(data[frame.at + HEADERS_END])
        for row in range(first, count):
            out_frames[row].offset = 0
        spans[3 * block + 2] = cursor[NUMBER]
    return count

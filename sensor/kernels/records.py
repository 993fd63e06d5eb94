"""Capture records to frames: walks pcap records and pcapng packet blocks that lie whole in a buffer.

The walkers never look inside a frame, so of a large capture only the record headers are touched. A walker stops at the
first record that is not whole (more bytes may come), not sane (the reason is left in the cursor), or not its business.
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import BOOLEAN, INT64, INT64S, READONLY_BYTES, Array, inline, kernel, rows
from sensor.schema import Frames

# Cursor: what a walk leaves behind, int64[5].
POSITION, NUMBER, STOP, INTERFACES, SNAPLEN = range(5)
# Why a walk stopped.
NEED_MORE, FULL, BAD_LENGTH, OTHER_BLOCK = range(4)

# libpcap and Wireshark refuse longer packets; nothing on a wire is longer.
MAX_CAPTURED = 262144
MAX_BLOCK = 16 * 1024 * 1024
MAX_TIME = np.int64(2**62)

_FRAMES = rows(Frames.dtype())
_INTERFACES = Array(np.dtype(np.int64), 2, readonly=True)
# Columns of an interface row.
LINK_TYPE, UNITS, OFFSET_NS, BINARY, IF_SNAPLEN = range(5)


@inline()
def u32(data, at, big):
    """Read four bytes as an unsigned number in int64."""
    b0, b1, b2, b3 = np.int64(data[at]), np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
    if big:
        return (b0 << 24) | (b1 << 16) | (b2 << 8) | b3
    return (b3 << 24) | (b2 << 16) | (b1 << 8) | b0


@inline()
def u16(data, at, big):
    """Read two bytes as an unsigned number in int64."""
    b0, b1 = np.int64(data[at]), np.int64(data[at + 1])
    return (b0 << 8) | b1 if big else (b1 << 8) | b0


@inline()
def nanoseconds(high, low, units, offset_ns, binary):
    """Turn a pcapng timestamp of any resolution into ns, held within ± 2**62 so that nothing later overflows.

    `units` is the exponent of if_tsresol: 10**-units s, or 2**-units s if `binary`.
    """
    if binary:
        ticks = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
        bits = np.uint64(units)
        seconds = np.int64(ticks >> bits) if units < 64 else np.int64(0)
        part = ticks & ((np.uint64(1) << bits) - np.uint64(1)) if units < 64 else ticks
        if units > 34:
            part = part >> np.uint64(units - 34) if units < 98 else np.uint64(0)
            bits = np.uint64(34)
        fraction = np.int64((part * np.uint64(1000000000)) >> bits)
        if seconds > 4000000000 or seconds < 0:
            return MAX_TIME
        return min(seconds * 1000000000 + fraction + offset_ns, MAX_TIME)
    ticks = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
    scale = np.uint64(1)
    if units <= 9:
        for _ in range(9 - units):
            scale *= np.uint64(10)
        if ticks > np.uint64(MAX_TIME) // scale:
            return MAX_TIME
        return min(np.int64(ticks * scale) + offset_ns, MAX_TIME)
    for _ in range(min(units - 9, 19)):
        scale *= np.uint64(10)
    return min(np.int64(ticks // scale) + offset_ns, MAX_TIME)


@kernel(READONLY_BYTES, INT64, BOOLEAN, INT64, INT64, INT64, INT64, INT64S, _FRAMES)
def walk_pcap(data, base, big, tick_ns, header, link_type, source, cursor, out_frames):
    """Walk pcap records from the cursor on.

    Parameters
    ----------
    data : uint8[:]
        The capture, or a window of it that starts at offset `base` of the input.
    base : int
        Offset of `data[0]` in the input.
    big, tick_ns, header : bool, int, int
        Byte order, ns per unit of the fraction (1000 or 1), record header length (16, or 24 for the modified format).
    link_type, source : int
        Written to each frame as `link_type` and `input`.
    cursor : int64[5]
        POSITION in `data` and NUMBER of frames so far; both are moved on, STOP is set.
    out_frames : Frames[:]

    Returns
    -------
    int
        How many frames were written.
    """
    size = np.int64(data.shape[0])
    room = out_frames.shape[0]
    at = cursor[POSITION]
    number = cursor[NUMBER]
    count = 0
    stop = FULL
    while count < room:
        if at + header > size:
            stop = NEED_MORE
            break
        captured = u32(data, at + 8, big)
        if captured > MAX_CAPTURED:
            stop = BAD_LENGTH
            break
        if at + header + captured > size:
            stop = NEED_MORE
            break
        number += 1
        frame = out_frames[count]
        frame.ts_ns = u32(data, at, big) * 1000000000 + u32(data, at + 4, big) * tick_ns
        frame.at = at + header
        frame.offset = base + at
        frame.number = number
        frame.captured_bytes = captured
        frame.wire_bytes = min(max(u32(data, at + 12, big), captured), 2147483647)
        frame.input = source
        frame.link_type = link_type
        count += 1
        at += header + captured
    cursor[POSITION] = at
    cursor[NUMBER] = number
    cursor[STOP] = stop
    return count


# A cursor of a wide walk: where it is, where the next one began, how many frames it keeps, whether it is done; then how
# many frames it passed, the times of the first and the last, and their bytes on the wire.
_AT, _LIMIT, _KEPT, _DONE, _PASSED, _FIRST, _LAST, _WIRE, _LENGTH, _TOUCHED = range(10)
_WORDS = 10
CURSORS = 8
CURSOR_WORDS = _WORDS * CURSORS
# Fewer bytes than this are walked plainly.
LEAST_WIDE = 65536 * CURSORS
# What a wide walk tells of all frames it passed, kept or not, int64[4].
PASSED, EARLIEST_NS, LATEST_NS, PASSED_BYTES = range(4)
# As port of a wide walk: every frame is kept.
ALL_FRAMES = np.int64(0)
# A place is taken for the start of a record when so many records follow each other from it on,
_CHAINED = 6
# none of them further than this from the time where the walk began (a capture that rests longer is walked plainly).
_SAME_TIME_S = 7200
# How far a start is looked for.
_SEARCHED = 131072


@inline()
def find_record(data, start, end, big, header, around_s):
    """Find the first place from `start` on where a chain of plausible records begins; -1 if there is none near."""
    for at in range(start, min(start + _SEARCHED, end)):
        place = np.int64(at)
        chained = 0
        while chained < _CHAINED and place + header <= end:
            seconds = u32(data, place, big)
            if seconds < around_s - _SAME_TIME_S or seconds > around_s + _SAME_TIME_S:
                break
            captured = u32(data, place + 8, big)
            wire = u32(data, place + 12, big)
            if captured > wire or wire > MAX_CAPTURED or u32(data, place + 4, big) >= 1000000000:
                break
            place += header + captured
            chained += 1
        if chained == _CHAINED:
            return np.int64(at)
    return np.int64(-1)


@kernel(READONLY_BYTES, INT64, BOOLEAN, INT64, INT64)
def find_start(data, start, big, header, around_s):
    """Find the first place from `start` on where records seem to begin, as `find_record` does for one near a time.

    Returns
    -------
    int
        The place in `data`, or -1.
    """
    if start < 0:
        return -1
    return find_record(data, start, np.int64(data.shape[0]), big, header, around_s)


@inline()
def be16(data, at):
    """Read two bytes, big-endian, as int64."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@inline()
def is_beside(data, start, end, wire_bytes, link, port):
    """Say whether a frame gives nothing to either lane: no packet on the port, no count, nothing odd, no mDNS.

    When in doubt it says no; then the frame is decoded. What decides otherwise is a part of what `headers` decides.
    """
    if link == 1:
        at = start + 14
        kind_at = start + 12
    elif link == 113:
        at = start + 16
        kind_at = start + 14
    elif link == 276:
        at = start + 20
        kind_at = start
    else:
        return False
    if at + 20 > end:
        return False
    ethertype = be16(data, kind_at)
    if ethertype == 0x8100:
        ethertype = be16(data, at + 2)
        at += 4
        if at + 20 > end:
            return False
    if ethertype == 0x0800:
        first = np.int64(data[at])
        header = (first & 15) * 4
        if first >> 4 != 4 or header < 20:
            return False
        protocol = data[at + 9]
        inner = at + header
        if protocol == 6:
            total = be16(data, at + 2)
            if be16(data, at + 6) & 0x3FFF or total < header + 20 or total > wire_bytes - (at - start):
                return False
            return inner + 4 <= end and be16(data, inner) != port and be16(data, inner + 2) != port
        if protocol == 17:
            return inner + 8 > end or (is_plain_udp(be16(data, inner)) and is_plain_udp(be16(data, inner + 2)))
        return protocol == 1 or protocol == 2
    if ethertype == 0x86DD:
        if at + 44 > end or data[at] >> 4 != 6:
            return False
        following = data[at + 6]
        inner = at + 40
        if following == 6:
            total = be16(data, at + 4)
            if total < 20 or total + 40 > wire_bytes - (at - start):
                return False
            return be16(data, inner) != port and be16(data, inner + 2) != port
        if following == 17:
            return inner + 8 <= end and is_plain_udp(be16(data, inner)) and is_plain_udp(be16(data, inner + 2))
        return following == 58
    return ethertype == 0x0806


@inline()
def is_plain_udp(port):
    """Say whether a UDP port is none of mDNS's or of a tunnel's: those all lie in one range."""
    return port < 2152 or port > 8472


@kernel(
    READONLY_BYTES, INT64, INT64, BOOLEAN, INT64, INT64, INT64, INT64, INT64, INT64S, _FRAMES, _FRAMES, INT64S, INT64S
)
def walk_pcap_wide(
    data,
    base,
    span,
    big,
    tick_ns,
    header,
    link_type,
    source,
    port,
    cursor,
    out_frames,
    out_scratch,
    out_cursors,
    out_facts,
):
    """Walk about `span` bytes of pcap records with several cursors in turn; the result is that of `walk_pcap`.

    A chain of records is a chain of cache misses: each header says where the next one is. Cursors that start at
    plausible places further on wait for memory together. What a cursor found counts only if the one before it arrives
    exactly at its start. Most frames of a mirror port are of other traffic: they are passed over where they lie.

    Parameters
    ----------
    data, base, big, tick_ns, header, link_type, source, cursor
        As for `walk_pcap`; the record at the cursor must lie whole in `data`.
    span : int
        How many bytes to cover.
    port : int
        Only frames that may say something of this TCP port are kept, and the last; ALL_FRAMES keeps all.
    out_frames, out_scratch : Frames[F]
        Equally long.
    out_cursors : int64[CURSOR_WORDS]
    out_facts : int64[4]
        PASSED frames in all, EARLIEST_NS and LATEST_NS of them, PASSED_BYTES on the wire.

    Returns
    -------
    int
        How many frames were kept. If none was passed that says nothing but that `walk_pcap` must look. cursor[STOP] is
        FULL.
    """
    size = np.int64(data.shape[0])
    begin = cursor[POSITION]
    share = out_frames.shape[0] // CURSORS
    end = min(size, begin + span)
    cursor[STOP] = FULL
    out_facts[PASSED] = 0
    if begin + header > size or end - begin < LEAST_WIDE:
        return 0
    around_s = u32(data, begin, big)
    used = 1
    out_cursors[_AT] = begin
    for each in range(1, CURSORS):
        place = find_record(data, begin + (end - begin) // CURSORS * each, end, big, header, around_s)
        if place < 0 or place <= out_cursors[_WORDS * (used - 1) + _AT]:
            break
        out_cursors[_WORDS * (used - 1) + _LIMIT] = place
        out_cursors[_WORDS * used + _AT] = place
        used += 1
    out_cursors[_WORDS * (used - 1) + _LIMIT] = end
    for each in range(used):
        word = _WORDS * each
        for name in (_KEPT, _DONE, _PASSED, _WIRE):
            out_cursors[word + name] = 0
        out_cursors[word + _FIRST] = MAX_TIME
        out_cursors[word + _LAST] = -MAX_TIME
    # --- in turn, one record each
    running = used
    while running > 0:
        # All are read from before any is looked at: so the memory is waited for once, not once for each.
        for each in range(used):
            word = _WORDS * each
            at = out_cursors[word + _AT]
            if at + header + 64 <= size:
                out_cursors[word + _LENGTH] = u32(data, at + 8, big)
                out_cursors[word + _TOUCHED] = data[at + header + 38]
            elif at + header <= size:
                out_cursors[word + _LENGTH] = u32(data, at + 8, big)
        for each in range(used):
            word = _WORDS * each
            if out_cursors[word + _DONE]:
                continue
            at = out_cursors[word + _AT]
            kept = out_cursors[word + _KEPT]
            captured = out_cursors[word + _LENGTH]
            if (
                at >= out_cursors[word + _LIMIT]
                or kept >= share
                or at + header > size
                or captured > MAX_CAPTURED
                or at + header + captured > size
            ):
                out_cursors[word + _DONE] = 1
                running -= 1
                continue
            ts_ns = u32(data, at, big) * 1000000000 + u32(data, at + 4, big) * tick_ns
            wire_bytes = min(max(u32(data, at + 12, big), captured), 2147483647)
            start = at + header
            passed = out_cursors[word + _PASSED] + 1
            out_cursors[word + _PASSED] = passed
            out_cursors[word + _FIRST] = min(out_cursors[word + _FIRST], ts_ns)
            out_cursors[word + _LAST] = max(out_cursors[word + _LAST], ts_ns)
            out_cursors[word + _WIRE] += wire_bytes
            out_cursors[word + _AT] = start + captured
            # The last one is kept whatever it is: it says how far this has come.
            if (
                port != 0
                and start + captured < out_cursors[word + _LIMIT]
                and is_beside(data, start, start + captured, wire_bytes, link_type, port)
            ):
                continue
            frame = out_scratch[each * share + kept]
            frame.ts_ns = ts_ns
            frame.at = start
            frame.offset = base + at
            frame.number = passed
            frame.captured_bytes = captured
            frame.wire_bytes = wire_bytes
            out_cursors[word + _KEPT] = kept + 1
    # --- one after the other, as far as each arrives where the next began
    count = 0
    number = cursor[NUMBER]
    out_facts[EARLIEST_NS] = MAX_TIME
    out_facts[LATEST_NS] = -MAX_TIME
    out_facts[PASSED_BYTES] = 0
    for each in range(used):
        word = _WORDS * each
        for step in range(out_cursors[word + _KEPT]):
            found_frame = out_scratch[each * share + step]
            frame = out_frames[count]
            frame.ts_ns = found_frame.ts_ns
            frame.at = found_frame.at
            frame.offset = found_frame.offset
            frame.number = number + found_frame.number
            frame.captured_bytes = found_frame.captured_bytes
            frame.wire_bytes = found_frame.wire_bytes
            frame.input = source
            frame.link_type = link_type
            count += 1
        number += out_cursors[word + _PASSED]
        out_facts[PASSED] += out_cursors[word + _PASSED]
        out_facts[EARLIEST_NS] = min(out_facts[EARLIEST_NS], out_cursors[word + _FIRST])
        out_facts[LATEST_NS] = max(out_facts[LATEST_NS], out_cursors[word + _LAST])
        out_facts[PASSED_BYTES] += out_cursors[word + _WIRE]
        cursor[POSITION] = out_cursors[word + _AT]
        if out_cursors[word + _AT] != out_cursors[word + _LIMIT]:
            break
    cursor[NUMBER] = number
    return count


@kernel(READONLY_BYTES, INT64, BOOLEAN, _INTERFACES, INT64, INT64S, _FRAMES)
def walk_pcapng(data, base, big, interfaces, source, cursor, out_frames):
    """Walk pcapng blocks from the cursor on, up to one that changes the section or its interfaces.

    Parameters
    ----------
    data, base, big, source, cursor, out_frames
        As for `walk_pcap`; cursor[INTERFACES] is how many rows of `interfaces` are in use.
    interfaces : int64[I, 5]
        LINK_TYPE, UNITS (if_tsresol exponent), OFFSET_NS, BINARY, IF_SNAPLEN of each interface of this section.

    Returns
    -------
    int
        How many frames were written. cursor[STOP] is OTHER_BLOCK at a section header, an interface description or
        interface statistics (the caller reads it and moves POSITION), BAD_LENGTH where the chain of blocks breaks.
    """
    size = np.int64(data.shape[0])
    room = out_frames.shape[0]
    known = cursor[INTERFACES]
    at = cursor[POSITION]
    number = cursor[NUMBER]
    count = 0
    stop = FULL
    while count < room:
        if at + 12 > size:
            stop = NEED_MORE
            break
        kind = u32(data, at, big)
        if kind == 0x0A0D0D0A or kind == 1 or kind == 5:
            stop = OTHER_BLOCK
            break
        length = u32(data, at + 4, big)
        if length < 12 or length > MAX_BLOCK:
            stop = BAD_LENGTH
            break
        # An unaligned length is against the format, but where the trailer stands at it the block is readable.
        if at + length > size:
            stop = NEED_MORE
            break
        if u32(data, at + length - 4, big) != length:
            stop = BAD_LENGTH
            break
        if kind == 6 or kind == 2 or kind == 3:
            head = 12 if kind == 3 else 28
            if length < head + 4:
                stop = BAD_LENGTH
                break
            if kind == 3:
                interface = 0
                wire = u32(data, at + 8, big)
                captured = min(wire, length - 16)
            else:
                interface = u32(data, at + 8, big) if kind == 6 else u16(data, at + 8, big)
                captured = u32(data, at + 20, big)
                wire = u32(data, at + 24, big)
            if interface >= known or captured > length - head - 4 or captured > MAX_CAPTURED:
                stop = BAD_LENGTH
                break
            if kind == 3:
                snaplen = interfaces[interface, IF_SNAPLEN]
                if snaplen > 0 and captured > snaplen:
                    captured = snaplen
                ts_ns = np.int64(0)
            else:
                ts_ns = nanoseconds(
                    u32(data, at + 12, big),
                    u32(data, at + 16, big),
                    interfaces[interface, UNITS],
                    interfaces[interface, OFFSET_NS],
                    interfaces[interface, BINARY] != 0,
                )
            number += 1
            frame = out_frames[count]
            frame.ts_ns = ts_ns
            frame.at = at + head
            frame.offset = base + at
            frame.number = number
            frame.captured_bytes = captured
            frame.wire_bytes = min(max(wire, captured), 2147483647)
            frame.input = source
            frame.link_type = interfaces[interface, LINK_TYPE]
            count += 1
        at += length
    cursor[POSITION] = at
    cursor[NUMBER] = number
    cursor[STOP] = stop
    return count


# What `sum_up` tells of frames, int64[5].
FIRST_NS, LAST_NS, WIRE_BYTES, LINK_TYPE_SEEN, ONE_LINK_TYPE = range(5)


@kernel(_FRAMES, INT64S)
def sum_up(frames, out_facts):
    """Sum up what a reader keeps of frames: FIRST_NS, LAST_NS, WIRE_BYTES, a link type, and whether it is the only one.

    Parameters
    ----------
    frames : Frames[F]
    out_facts : int64[5]
        Untouched without frames.

    Returns
    -------
    int
        How many frames there were.
    """
    if frames.shape[0] == 0:
        return 0
    first = frames[0].ts_ns
    last = first
    wire = np.int64(0)
    link = np.int64(frames[0].link_type)
    same = np.int64(1)
    for at in range(frames.shape[0]):
        frame = frames[at]
        first = min(first, frame.ts_ns)
        last = max(last, frame.ts_ns)
        wire += np.int64(frame.wire_bytes)
        if frame.link_type != link:
            same = np.int64(0)
    out_facts[FIRST_NS] = first
    out_facts[LAST_NS] = last
    out_facts[WIRE_BYTES] = wire
    out_facts[LINK_TYPE_SEEN] = link
    out_facts[ONE_LINK_TYPE] = same
    return frames.shape[0]

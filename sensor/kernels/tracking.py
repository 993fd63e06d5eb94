"""Packets to flows: an open-addressing table of five-tuples, sequence accounting with holes, windows, expiry.

All state lies in arrays that the caller owns and grows. Everything happens in the order of packets and by their time
alone, so the same packets give the same rows however they were batched. Per direction a flow keeps the seen range of
stream positions [low, top) and the holes in it; position 0 is the first byte after the SYN.
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import INT64, INT64S, Array, inline, kernel, rows
from sensor.schema import END_REASONS, WEIRD_BIT, Endings, Packets, Tracks, Windows

# --- what the table keeps: of every flow, of those whose streams have moved, of those whose window is open -----------
SLOT = np.dtype(
    [
        ("orig_hi", np.uint64),
        ("orig_lo", np.uint64),
        ("resp_hi", np.uint64),
        ("resp_lo", np.uint64),
        ("flow", np.int64),
        ("start_ns", np.int64),
        ("last_ns", np.int64),
        ("origin", np.uint32, (2,)),
        # list links: least recently used first
        ("older", np.int32),
        ("younger", np.int32),
        ("stream", np.uint32),
        ("count", np.uint32),
        ("home", np.uint32),  # lower half of the hash: where the index has it, or behind
        ("orig_port", np.uint16),
        ("resp_port", np.uint16),
        ("weird", np.uint16),
        ("seen", np.uint16),
        ("vlan", np.uint16),
        ("ip_version", np.uint8),
        ("guessed", np.uint8),
    ],
    align=True,
)
# Stream positions by direction (0 = by the originator). Record 0 is that of all flows that have none: never written.
STREAM = np.dtype(
    [
        ("low", np.int64, (2,)),
        ("top", np.int64, (2,)),
        ("acked", np.int64, (2,)),
        ("given_up", np.int64, (2,)),
        ("connection", np.int64),  # the number it began with; without a record it is that of the flow
        ("holes", np.int32, (2,)),
    ],
    align=True,
)
# The window being counted. Record 0 is none.
COUNT = np.dtype(
    [
        ("window_ns", np.int64),
        ("first_number", np.int64),
        ("first_offset", np.int64),
        ("first_ts_ns", np.int64),
        ("bytes", np.int64, (2,)),
        ("payload", np.int64, (2,)),
        ("retransmitted", np.int64),
        ("first_input", np.int32),
        ("packets", np.int32, (2,)),
        ("duplicates", np.int32),
        ("syns", np.int32),
        ("syn_acks", np.int32),
        ("resets", np.int32),
        ("fins", np.int32),
    ],
    align=True,
)
HOLE = np.dtype([("start", np.int64), ("end", np.int64), ("next", np.int32)], align=True)
# A packet seen lately, to know its copy from a second mirror port.
RECENT = np.dtype([("print", np.uint64), ("ts_ns", np.int64)], align=True)

# Bits of `seen`; those by direction are shifted left by the direction.
HAS_ORIGIN, FROM_START, SAW_FIN, SAW_RST, SAW_PACKET, ACKED_SYN = 1, 4, 16, 64, 256, 1024
SAW_SYN, SAW_SYN_ACK, UP = 1 << 12, 1 << 13, 1 << 14

# --- the table's own numbers, int64[19] -----------------------------------------------------------------------------
(
    LIVE,
    NEXT_FLOW,
    FREE_SLOT,
    USED_SLOTS,
    OLDEST,
    YOUNGEST,
    FREE_HOLE,
    USED_HOLES,
    EVICTED,
    HOLES_LOST,
    LATE,
    SEED,
    NOW,
    ON_PORT,
    ODD,
    FREE_STREAM,
    USED_STREAMS,
    FREE_COUNT,
    USED_COUNTS,
) = range(19)
NONE = -1

# --- options, int64[7] ----------------------------------------------------------------------------------------------
WINDOW_NS, IDLE_NS, CLOSED_NS, ACTIVE_NS, CAPACITY, PORT, COPY_NS = range(7)

# --- what a call leaves in out_done, int64[4] -------------------------------------------------------------------------
DONE_PACKETS, DONE_WINDOWS, DONE_ENDINGS, WHY = range(4)
FINISHED, ROWS_FULL = range(2)

# When nothing is due: a slot without a flow.
NEVER = np.int64(2**63 - 1)

CLOSED_, IDLE_, ACTIVE_, REUSED_, EVICTED_, FLUSHED_ = range(len(END_REASONS))
HOLES_MERGED = np.uint32(WEIRD_BIT["holes_merged"])
TIME_BACKWARDS = np.uint32(WEIRD_BIT["time_backwards"])
# Beyond this many holes in one direction the lowest is given up: bounded work per packet.
MAX_HOLES = 64
MASK32 = np.int64(0xFFFFFFFF)
# So many packets are looked at together before they are followed.
AHEAD = 32

# slots, streams, counts, due, index, holes
_TABLE = (rows(SLOT), rows(STREAM), rows(COUNT), INT64S, Array(np.dtype(np.uint32)), rows(HOLE))
_RECENT = rows(RECENT)
_PACKETS = rows(Packets.dtype(), readonly=True)
_TRACKS = rows(Tracks.dtype())
_WINDOWS = rows(Windows.dtype())
_ENDINGS = rows(Endings.dtype())


@inline()
def mix(value):
    """Spread the bits of a word (the finalizer of splitmix64)."""
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value


@inline()
def end_hash(hi, lo, port, seed):
    """Hash one end of a flow; the seed keeps strangers from choosing addresses that collide."""
    return mix(mix(mix(hi ^ seed) ^ lo) + np.uint64(port) * np.uint64(0x9E3779B97F4A7C15))


@inline()
def position_of(seq, origin, near):
    """Unwrap a sequence number to the stream position nearest to `near`."""
    delta = (np.int64(seq) - np.int64(origin) - near) & MASK32
    if delta >= 0x80000000:
        delta -= 0x100000000
    return near + delta


# --- streams and counts: two pools, each with room for all flows that may live ----------------------------------------
@inline()
def own_stream(table, streams, slot):
    """Return the number of a flow's stream record, to be written to; it takes one from the pool if it has none."""
    at = np.int64(slot.stream)
    if at == 0:
        at = table[FREE_STREAM]
        if at != 0:
            table[FREE_STREAM] = np.int64(streams[at].holes[0])
        else:
            table[USED_STREAMS] += 1
            at = table[USED_STREAMS]
        stream = streams[at]
        for way in range(2):
            stream.low[way] = 0
            stream.top[way] = 0
            stream.acked[way] = 0
            stream.given_up[way] = 0
            stream.holes[way] = NONE
        stream.connection = slot.flow
        slot.stream = np.uint32(at)
    return at


@inline()
def free_stream(table, streams, slot):
    """Give the stream record of a flow back to the pool."""
    at = np.int64(slot.stream)
    if at != 0:
        streams[at].holes[0] = np.int32(table[FREE_STREAM])
        table[FREE_STREAM] = at
        slot.stream = 0


@inline()
def new_count(table, counts, slot, start_ns, packet):
    """Begin a window, at its first packet, with nothing counted."""
    at = table[FREE_COUNT]
    if at != 0:
        table[FREE_COUNT] = np.int64(counts[at].first_input)
    else:
        table[USED_COUNTS] += 1
        at = table[USED_COUNTS]
    count = counts[at]
    count.window_ns = start_ns
    count.first_number = packet.number
    count.first_offset = packet.offset
    count.first_ts_ns = packet.ts_ns
    count.first_input = packet.input
    for way in range(2):
        count.bytes[way] = 0
        count.payload[way] = 0
        count.packets[way] = 0
    count.retransmitted = 0
    count.duplicates = 0
    count.syns = 0
    count.syn_acks = 0
    count.resets = 0
    count.fins = 0
    slot.count = np.uint32(at)


@inline()
def free_count(table, counts, slot):
    """Give the record of a window that is over back to the pool."""
    at = np.int64(slot.count)
    counts[at].first_input = np.int32(table[FREE_COUNT])
    table[FREE_COUNT] = at
    slot.count = 0


# --- holes: a list by position in a shared pool --------------------------------------------------------------------
@inline()
def free_hole(table, holes, hole):
    """Give a hole back to the pool."""
    holes[hole].next = np.int32(table[FREE_HOLE])
    table[FREE_HOLE] = hole


@inline()
def new_hole(table, holes, start, end, following):
    """Take a hole from the pool; NONE when the pool is exhausted."""
    if table[FREE_HOLE] != NONE:
        hole = table[FREE_HOLE]
        table[FREE_HOLE] = np.int64(holes[hole].next)
    elif table[USED_HOLES] < holes.shape[0]:
        hole = table[USED_HOLES]
        table[USED_HOLES] += 1
    else:
        return np.int64(NONE)
    holes[hole].start = start
    holes[hole].end = end
    holes[hole].next = np.int32(following)
    return hole


@inline()
def add_hole(table, holes, slot, stream, way, start, end):
    """Remember that [start, end) is missing; it lies above all other holes of this direction, or below."""
    head = np.int64(stream.holes[way])
    if head == NONE or holes[head].start >= end:
        hole = new_hole(table, holes, start, end, head)
        if hole == NONE:
            stream.given_up[way] += end - start
            slot.weird |= HOLES_MERGED
            table[HOLES_LOST] += 1
        else:
            stream.holes[way] = np.int32(hole)
        return
    count = 1
    last = head
    while holes[last].next != NONE:
        last = np.int64(holes[last].next)
        count += 1
    if count >= MAX_HOLES:
        following = np.int64(holes[head].next)
        stream.given_up[way] += holes[head].end - holes[head].start
        slot.weird |= HOLES_MERGED
        table[HOLES_LOST] += 1
        free_hole(table, holes, head)
        stream.holes[way] = np.int32(following)
    hole = new_hole(table, holes, start, end, NONE)
    if hole == NONE:
        stream.given_up[way] += end - start
        slot.weird |= HOLES_MERGED
        table[HOLES_LOST] += 1
    else:
        holes[last].next = np.int32(hole)


@inline()
def fill_holes(table, holes, slot, stream, way, start, end):
    """Fill what [start, end) covers of the holes; returns how many bytes of it were missing."""
    found = np.int64(0)
    before = np.int64(NONE)
    hole = np.int64(stream.holes[way])
    while hole != NONE and holes[hole].start < end:
        following = np.int64(holes[hole].next)
        if holes[hole].end <= start:
            before = hole
            hole = following
            continue
        low = max(holes[hole].start, start)
        high = min(holes[hole].end, end)
        left = low > holes[hole].start
        right = high < holes[hole].end
        if left and right:
            upper = new_hole(table, holes, high, holes[hole].end, following)
            if upper == NONE:
                # No room to split: the upper part is given up as missing for good.
                stream.given_up[way] += holes[hole].end - high
                slot.weird |= HOLES_MERGED
                table[HOLES_LOST] += 1
            else:
                holes[hole].next = np.int32(upper)
            holes[hole].end = low
            found += high - low
            return found
        found += high - low
        if left:
            holes[hole].end = low
            before = hole
        elif right:
            holes[hole].start = high
            before = hole
        else:
            if before == NONE:
                stream.holes[way] = np.int32(following)
            else:
                holes[before].next = np.int32(following)
            free_hole(table, holes, hole)
        hole = following
    return found


@inline()
def drop_holes(table, holes, stream, way):
    """Give all holes of a direction back; returns the bytes below `acked` that were missing."""
    missing = np.int64(0)
    hole = np.int64(stream.holes[way])
    acked = stream.acked[way]
    while hole != NONE:
        following = np.int64(holes[hole].next)
        if holes[hole].start < acked:
            missing += min(holes[hole].end, acked) - holes[hole].start
        free_hole(table, holes, hole)
        stream.holes[way] = np.int32(following)
        hole = following
    return missing


@inline()
def account(table, streams, holes, slot, way, start, length):
    """Account a payload at a stream position; returns how many of its bytes are new."""
    end = start + length
    fixed = slot.seen & np.uint32(FROM_START << way)
    new = np.int64(0)
    if fixed and start < 0:
        start = np.int64(0)
        if end <= 0:
            return new
    stream = streams[own_stream(table, streams, slot)]
    low = stream.low[way]
    top = stream.top[way]
    if low == top and not fixed:
        stream.low[way] = start
        stream.top[way] = end
        return length
    if start < low:
        if end < low:
            add_hole(table, holes, slot, stream, way, end, low)
            new += end - start
        else:
            new += low - start
        stream.low[way] = start
    inside = max(start, low)
    if inside < min(end, top):
        new += fill_holes(table, holes, slot, stream, way, inside, min(end, top))
    if end > top:
        if start > top:
            add_hole(table, holes, slot, stream, way, top, start)
            new += end - start
        else:
            new += end - top
        stream.top[way] = end
    return new


# --- the table -----------------------------------------------------------------------------------------------------
@inline()
def unlink(table, slots, at):
    """Take a slot out of the list of use."""
    older = np.int64(slots[at].older)
    younger = np.int64(slots[at].younger)
    if older == NONE:
        table[OLDEST] = younger
    else:
        slots[older].younger = np.int32(younger)
    if younger == NONE:
        table[YOUNGEST] = older
    else:
        slots[younger].older = np.int32(older)


@inline()
def link_last(table, slots, at):
    """Put a slot at the young end of the list of use."""
    youngest = table[YOUNGEST]
    slots[at].older = np.int32(youngest)
    slots[at].younger = NONE
    if youngest == NONE:
        table[OLDEST] = at
    else:
        slots[youngest].younger = np.int32(at)
    table[YOUNGEST] = at


@inline()
def index_put(index, where, at):
    """Enter slot `at` under a hash.

    An entry's lower bits, as many as a place in the index has, are slot + 1; those above are of the hash's upper half.
    """
    mask = np.uint64(index.shape[0] - 1)
    spot = where & mask
    while index[spot] != 0:
        spot = (spot + np.uint64(1)) & mask
    index[spot] = np.uint32(((where >> np.uint64(32)) & ~mask) | np.uint64(at + 1))


@inline()
def index_remove(index, slots, at):
    """Take slot `at` out, and move later entries of the run back so that no search ends early."""
    mask = np.uint64(index.shape[0] - 1)
    spot = np.uint64(slots[at].home) & mask
    while (np.uint64(index[spot]) & mask) != np.uint64(at + 1):
        spot = (spot + np.uint64(1)) & mask
    follow = spot
    while True:
        follow = (follow + np.uint64(1)) & mask
        entry = np.uint64(index[follow])
        if entry == 0:
            break
        home = np.uint64(slots[np.int64(entry & mask) - 1].home) & mask
        # Move it if its home does not lie cyclically in (spot, follow].
        if ((follow - home) & mask) >= ((follow - spot) & mask):
            index[spot] = np.uint32(entry)
            spot = follow
    index[spot] = 0


@inline()
def emit_window(table, counts, slot, out_windows, done):
    """Write the window being counted as a row, and count no more; `done` is moved on."""
    row = out_windows[done[DONE_WINDOWS]]
    done[DONE_WINDOWS] += 1
    count = counts[slot.count]
    row.flow = slot.flow
    row.flow_start_ns = slot.start_ns
    row.window_start_ns = count.window_ns
    row.orig_hi = slot.orig_hi
    row.orig_lo = slot.orig_lo
    row.resp_hi = slot.resp_hi
    row.resp_lo = slot.resp_lo
    row.orig_bytes = count.bytes[0]
    row.resp_bytes = count.bytes[1]
    row.orig_payload_bytes = count.payload[0]
    row.resp_payload_bytes = count.payload[1]
    row.retransmitted_bytes = count.retransmitted
    row.first_number = count.first_number
    row.first_offset = count.first_offset
    row.first_ts_ns = count.first_ts_ns
    row.last_ts_ns = slot.last_ns
    row.first_input = count.first_input
    row.orig_packets = count.packets[0]
    row.resp_packets = count.packets[1]
    row.duplicate_packets = count.duplicates
    row.syns = count.syns
    row.syn_acks = count.syn_acks
    row.resets = count.resets
    row.fins = count.fins
    row.orig_port = slot.orig_port
    row.resp_port = slot.resp_port
    row.vlan = slot.vlan
    row.ip_version = slot.ip_version
    row.role_guessed = slot.guessed
    row.established = np.uint8(1) if slot.seen & np.uint32(UP) else np.uint8(0)
    free_count(table, counts, slot)


@inline()
def conn_state(slot):
    """Say in Zeek's words how the connection went: an index in CONN_STATES."""
    seen = np.int64(slot.seen)
    syn = seen & SAW_SYN
    syn_ack = seen & SAW_SYN_ACK
    orig_fin = seen & SAW_FIN
    resp_fin = seen & (SAW_FIN << 1)
    orig_rst = seen & SAW_RST
    resp_rst = seen & (SAW_RST << 1)
    resp_seen = seen & (SAW_PACKET << 1)
    if not syn and not syn_ack:
        return 12  # OTH: it was up before we looked
    if syn and not syn_ack:
        if resp_rst:
            return 3 if not orig_fin and not (seen & UP) else 7  # REJ, else RSTR
        if orig_rst:
            return 8 if not resp_seen else 6  # RSTOS0, RSTO
        if orig_fin and resp_fin:
            return 2
        if orig_fin:
            return 10 if not resp_seen else 4  # SH, S2
        if resp_fin:
            return 5
        return 0 if not resp_seen else 12  # S0; else its answer was not seen whole
    if not syn:
        if resp_rst:
            return 9  # RSTRH
        if resp_fin and not orig_fin:
            return 11  # SHR
        if orig_rst:
            return 6
        if orig_fin and resp_fin:
            return 2
        return 12
    if resp_rst and not orig_rst:
        return 7
    if orig_rst:
        return 6
    if orig_fin and resp_fin:
        return 2  # SF
    if orig_fin:
        return 4  # S2
    if resp_fin:
        return 5  # S3
    return 1  # S1


@inline()
def gap_of(table, holes, slot, stream, way):
    """Return the bytes of a direction that were ACKed but never seen, and free its holes."""
    missing = drop_holes(table, holes, stream, way) + stream.given_up[way]
    tail = stream.acked[way] - stream.top[way]
    # A FIN takes one sequence number; an ACK one beyond the last byte may speak of a FIN that was not seen.
    if slot.seen & np.uint32(SAW_FIN << way) or tail == 1:
        tail -= 1
    if tail > 0:
        missing += tail
    return missing


@inline()
def emit_ending(table, streams, holes, slot, reason, out_endings, done):
    """Write a finished flow as a row, and free its holes; `done` is moved on."""
    row = out_endings[done[DONE_ENDINGS]]
    done[DONE_ENDINGS] += 1
    stream = streams[slot.stream]
    row.flow = slot.flow
    row.continued_as = 0
    row.start_ns = slot.start_ns
    row.end_ns = slot.last_ns
    row.orig_hi = slot.orig_hi
    row.orig_lo = slot.orig_lo
    row.resp_hi = slot.resp_hi
    row.resp_lo = slot.resp_lo
    row.orig_gap_bytes = gap_of(table, holes, slot, stream, 0)
    row.resp_gap_bytes = gap_of(table, holes, slot, stream, 1)
    row.weird = slot.weird
    row.orig_port = slot.orig_port
    row.resp_port = slot.resp_port
    row.vlan = slot.vlan
    row.ip_version = slot.ip_version
    row.conn_state = conn_state(slot)
    row.end_reason = reason
    row.role_guessed = slot.guessed


@inline()
def is_closed(slot):
    """Return whether the connection is over: a reset, or a FIN from both sides."""
    seen = np.int64(slot.seen)
    return (seen & (SAW_RST | SAW_RST << 1)) != 0 or (seen & SAW_FIN and seen & (SAW_FIN << 1))


@inline()
def is_over(slot, now_ns, options):
    """Return END_REASONS + 1 if by `now_ns` the flow has expired, else 0."""
    quiet = now_ns - slot.last_ns
    if is_closed(slot):
        return CLOSED_ + 1 if quiet > options[CLOSED_NS] else 0
    return IDLE_ + 1 if quiet > options[IDLE_NS] else 0


@inline()
def expiry(slot, options):
    """Return by when the flow is over if it stays quiet."""
    return slot.last_ns + (options[CLOSED_NS] if is_closed(slot) else options[IDLE_NS])


@inline()
def end_flow(table, slots, streams, counts, due, index, holes, at, reason, out_windows, out_endings, done):
    """Write the last window and the ending of a flow and free all it has; `done` is moved on."""
    slot = slots[at]
    if slot.count != 0:
        emit_window(table, counts, slot, out_windows, done)
    emit_ending(table, streams, holes, slot, reason, out_endings, done)
    free_stream(table, streams, slot)
    index_remove(index, slots, at)
    unlink(table, slots, at)
    slot.younger = np.int32(table[FREE_SLOT])
    slot.flow = NONE
    due[at] = NEVER
    table[FREE_SLOT] = at
    table[LIVE] -= 1


@inline()
def print_of(packet, hash_ends):
    """Hash what a packet and its copy from a second mirror port have in common.

    TTL, MAC addresses and the IP checksum may differ (a routed hop); everything TCP, and the IP id, must not.
    """
    value = mix(hash_ends ^ (np.uint64(packet.seq) << np.uint64(32)) ^ np.uint64(packet.ack))
    value = mix(
        value
        ^ (np.uint64(packet.ip_id) << np.uint64(48))
        ^ (np.uint64(packet.tcp_checksum) << np.uint64(32))
        ^ (np.uint64(packet.tcp_window) << np.uint64(16))
        ^ np.uint64(packet.flags)
    )
    # The ends' hash is the same both ways, so say which way.
    return mix(value ^ (np.uint64(packet.payload_bytes) << np.uint64(16)) ^ np.uint64(packet.src_port) ^ packet.src_lo)


@inline()
def is_copy(recent, value, ts_ns, copy_ns):
    """Return whether a packet of this print was seen within `copy_ns` (a double mirror), and remember this one."""
    pair = np.int64(value & np.uint64(recent.shape[0] - 2))
    oldest = pair
    for at in range(pair, pair + 2):
        if recent[at].print == value and abs(ts_ns - recent[at].ts_ns) <= copy_ns:
            return True
        if recent[at].ts_ns < recent[oldest].ts_ns:
            oldest = at
    recent[oldest].print = value
    recent[oldest].ts_ns = ts_ns
    return False


@inline()
def look_ahead(packets, slots, streams, counts, index, recent, seed, start, end, out_tracks):
    """Hash the packets from `start` to `end`, and touch what each will be compared with.

    Where the tables are large, most of a packet's cost is the wait for memory that was not looked at lately. Many
    waits at once take hardly longer than one. The hashes are left, in halves, in the tracks, which are written later.
    """
    mask = np.uint64(index.shape[0] - 1)
    pairs = np.uint64(recent.shape[0] - 2)
    for at in range(start, end):
        packet = packets[at]
        where = end_hash(packet.src_hi, packet.src_lo, packet.src_port, seed) + end_hash(
            packet.dst_hi, packet.dst_lo, packet.dst_port, seed
        )
        value = print_of(packet, where)
        track_row = out_tracks[at]
        track_row.flow = np.int64(where >> np.uint64(32))
        track_row.connection = np.int64(where & np.uint64(MASK32))
        track_row.slot = np.int64(value >> np.uint64(32))
        track_row.position = np.int64(value & np.uint64(MASK32))
    for at in range(start, end):
        track_row = out_tracks[at]
        entry = index[np.uint64(track_row.connection) & mask]
        print_there = recent[np.int64(np.uint64(track_row.position) & pairs)].print
        # Something must come of what was read, or it would not be.
        track_row.new_bytes = np.int32((np.uint64(entry) ^ print_there) & np.uint64(1))
        track_row.from_resp = np.uint8(entry != 0)
    for at in range(start, end):
        track_row = out_tracks[at]
        if track_row.from_resp != 0:
            entry = index[np.uint64(track_row.connection) & mask]
            slot = slots[np.int64(np.uint64(entry) & mask) - 1]
            track_row.new_bytes = np.int32((slot.orig_lo ^ np.uint64(slot.home)) & np.uint64(1))
    for at in range(start, end):
        track_row = out_tracks[at]
        if track_row.from_resp != 0:
            entry = index[np.uint64(track_row.connection) & mask]
            slot = slots[np.int64(np.uint64(entry) & mask) - 1]
            touched = streams[slot.stream].low[0] ^ counts[slot.count].packets[0]
            if slot.older != NONE:
                touched ^= slots[slot.older].flow
            if slot.younger != NONE:
                touched ^= slots[slot.younger].flow
            track_row.new_bytes = np.int32(touched & 1)


@inline()
def begin(table, slots, index, packet, where, options):
    """Give a new flow a slot and the roles that its first packet tells."""
    if table[FREE_SLOT] != NONE:
        at = table[FREE_SLOT]
        table[FREE_SLOT] = np.int64(slots[at].younger)
    else:
        at = table[USED_SLOTS]
        table[USED_SLOTS] += 1
    slot = slots[at]
    syn = packet.flags & 0x02 and not packet.flags & 0x04
    guessed = not syn
    if syn:
        from_orig = not packet.flags & 0x10
    elif packet.dst_port == options[PORT]:
        from_orig = True
    else:
        from_orig = packet.src_port != options[PORT]
    if from_orig:
        slot.orig_hi = packet.src_hi
        slot.orig_lo = packet.src_lo
        slot.orig_port = packet.src_port
        slot.resp_hi = packet.dst_hi
        slot.resp_lo = packet.dst_lo
        slot.resp_port = packet.dst_port
    else:
        slot.orig_hi = packet.dst_hi
        slot.orig_lo = packet.dst_lo
        slot.orig_port = packet.dst_port
        slot.resp_hi = packet.src_hi
        slot.resp_lo = packet.src_lo
        slot.resp_port = packet.src_port
    slot.flow = table[NEXT_FLOW]
    table[NEXT_FLOW] += 1
    slot.start_ns = packet.ts_ns
    slot.last_ns = packet.ts_ns
    slot.origin[0] = 0
    slot.origin[1] = 0
    slot.stream = 0
    slot.count = 0
    slot.home = np.uint32(where & np.uint64(MASK32))
    slot.weird = 0
    slot.seen = 0
    slot.vlan = packet.vlan
    slot.ip_version = packet.ip_version
    slot.guessed = np.uint8(1) if guessed else np.uint8(0)
    index_put(index, where, at)
    link_last(table, slots, at)
    table[LIVE] += 1
    return at


@inline()
def rebase(holes, stream, way, base):
    """Shift all positions of a direction so that `base` becomes 0."""
    stream.low[way] -= base
    stream.top[way] -= base
    stream.acked[way] -= base
    hole = np.int64(stream.holes[way])
    while hole != NONE:
        holes[hole].start -= base
        holes[hole].end -= base
        hole = np.int64(holes[hole].next)


@inline()
def set_start(table, streams, holes, slot, way, seq):
    """Take a SYN's sequence number as the start of a direction's stream."""
    origin = np.uint32((np.int64(seq) + 1) & MASK32)
    if slot.seen & np.uint32(FROM_START << way):
        return
    if slot.seen & np.uint32(HAS_ORIGIN << way):
        base = position_of(origin, slot.origin[way], streams[slot.stream].low[way])
        if base != 0 or slot.stream != 0:
            stream = streams[own_stream(table, streams, slot)]
            rebase(holes, stream, way, base)
            if stream.low[way] < stream.top[way] and stream.low[way] > 0:
                add_hole(table, holes, slot, stream, way, np.int64(0), stream.low[way])
            stream.low[way] = 0
            stream.top[way] = max(stream.top[way], np.int64(0))
    slot.origin[way] = origin
    slot.seen |= np.uint32((HAS_ORIGIN | FROM_START) << way)


@inline()
def starts_anew(streams, slot, packet, way):
    """Return whether a SYN without ACK on a known five-tuple begins another connection."""
    if way == 1:
        # The responder opens towards the originator: another connection, if the old one is over or was a guess.
        return is_closed(slot) or not slot.seen & np.uint32(SAW_SYN | SAW_SYN_ACK)
    origin = np.uint32((np.int64(packet.seq) + 1) & MASK32)
    if slot.seen & np.uint32(FROM_START):
        return origin != slot.origin[0]
    if slot.seen & np.uint32(HAS_ORIGIN):
        # Packets overtook their SYN, or an older connection was met in its middle.
        low = streams[slot.stream].low[0]
        return position_of(origin, slot.origin[0], low) != low
    return False


@kernel(_PACKETS, *_TABLE, _RECENT, INT64S, INT64S, _TRACKS, _WINDOWS, _ENDINGS, INT64S)
def track(
    packets,
    slots,
    streams,
    counts,
    due,
    index,
    holes,
    recent,
    table,
    options,
    out_tracks,
    out_windows,
    out_endings,
    out_done,
):
    """Put packets, in time order, into their flows.

    Parameters
    ----------
    packets : Packets[P]
        Starts at out_done[DONE_PACKETS].
    slots : SLOT[S]; streams : STREAM[S + 1]; counts : COUNT[S + 1]; due : int64[S] ns
        At least as many as flows may live. `due` says from when on `sweep` must look at a slot. Streams and counts are
        given to flows as they need them; the first of each is that of the flows without: zeros, without holes.
    index : uint32[power of two > S]; holes : HOLE[H]; recent : RECENT[power of two]
    table : int64[19]
    options : int64[7]
    out_tracks : Tracks[P]
    out_windows, out_endings : Windows[W], Endings[E]
        Rows of windows and flows that ended before a packet of these.
    out_done : int64[4]
        Packets done and rows written; WHY: FINISHED, or ROWS_FULL (take the rows, call again).

    Returns
    -------
    int
        out_done[DONE_PACKETS].
    """
    window_ns = options[WINDOW_NS]
    seed = np.uint64(table[SEED])
    mask = np.uint64(index.shape[0] - 1)
    at_packet = out_done[DONE_PACKETS]
    looked_at = at_packet
    out_done[DONE_WINDOWS] = 0
    out_done[DONE_ENDINGS] = 0
    out_done[WHY] = FINISHED
    while at_packet < packets.shape[0]:
        # One packet ends at most two flows and fills at most three windows.
        if out_done[DONE_WINDOWS] + 4 > out_windows.shape[0] or out_done[DONE_ENDINGS] + 3 > out_endings.shape[0]:
            out_done[WHY] = ROWS_FULL
            break
        if at_packet == looked_at:
            looked_at = min(at_packet + AHEAD, packets.shape[0])
            look_ahead(packets, slots, streams, counts, index, recent, seed, at_packet, looked_at, out_tracks)
        packet = packets[at_packet]
        track_row = out_tracks[at_packet]
        tag = np.uint64(track_row.flow)
        where = (tag << np.uint64(32)) | np.uint64(track_row.connection)
        value = (np.uint64(track_row.slot) << np.uint64(32)) | np.uint64(track_row.position)
        # --- find the flow
        at = np.int64(NONE)
        way = 0
        spot = where & mask
        while index[spot] != 0:
            entry = np.uint64(index[spot])
            if (entry ^ tag) & ~mask == 0:
                candidate = np.int64(entry & mask) - 1
                slot = slots[candidate]
                if (
                    slot.orig_hi == packet.src_hi
                    and slot.orig_lo == packet.src_lo
                    and slot.orig_port == packet.src_port
                    and slot.resp_hi == packet.dst_hi
                    and slot.resp_lo == packet.dst_lo
                    and slot.resp_port == packet.dst_port
                ):
                    at = candidate
                    way = 0
                    break
                if (
                    slot.orig_hi == packet.dst_hi
                    and slot.orig_lo == packet.dst_lo
                    and slot.orig_port == packet.dst_port
                    and slot.resp_hi == packet.src_hi
                    and slot.resp_lo == packet.src_lo
                    and slot.resp_port == packet.src_port
                ):
                    at = candidate
                    way = 1
                    break
            spot = (spot + np.uint64(1)) & mask
        # --- has it ended meanwhile?
        plain_syn = (packet.flags & 0x16) == 0x02
        if at != NONE:
            reason = is_over(slots[at], packet.ts_ns, options)
            if reason == 0 and plain_syn and starts_anew(streams, slots[at], packet, way):
                reason = REUSED_ + 1
            if reason != 0:
                end_flow(
                    table, slots, streams, counts, due, index, holes, at, reason - 1, out_windows, out_endings, out_done
                )
                at = np.int64(NONE)
        if at == NONE:
            if table[LIVE] >= options[CAPACITY]:
                oldest = table[OLDEST]
                over = is_over(slots[oldest], packet.ts_ns, options)
                if over == 0:
                    table[EVICTED] += 1
                    over = EVICTED_ + 1
                end_flow(
                    table,
                    slots,
                    streams,
                    counts,
                    due,
                    index,
                    holes,
                    oldest,
                    over - 1,
                    out_windows,
                    out_endings,
                    out_done,
                )
            at = begin(table, slots, index, packet, where, options)
            slot = slots[at]
            way = (
                0
                if slot.orig_hi == packet.src_hi and slot.orig_lo == packet.src_lo and slot.orig_port == packet.src_port
                else 1
            )
        else:
            slot = slots[at]
            if table[YOUNGEST] != at:
                unlink(table, slots, at)
                link_last(table, slots, at)
            if packet.ts_ns - slot.start_ns >= options[ACTIVE_NS] and packet.ts_ns >= slot.last_ns:
                # A very long flow is told in parts; what is known of its streams lives on.
                if slot.count != 0:
                    emit_window(table, counts, slot, out_windows, out_done)
                emit_ending(table, streams, holes, slot, ACTIVE_, out_endings, out_done)
                out_endings[out_done[DONE_ENDINGS] - 1].continued_as = table[NEXT_FLOW]
                stream = streams[own_stream(table, streams, slot)]  # which keeps the number that it began with
                slot.flow = table[NEXT_FLOW]
                table[NEXT_FLOW] += 1
                slot.start_ns = packet.ts_ns
                for side in range(2):
                    stream.given_up[side] = 0
                    stream.top[side] = max(stream.top[side], stream.acked[side])
                slot.weird = 0
        # --- the window
        if packet.ts_ns < slot.last_ns:
            table[LATE] += 1
            slot.weird |= TIME_BACKWARDS
        inside = packet.ts_ns - counts[slot.count].window_ns
        if slot.count == 0 or inside < 0 or inside >= window_ns:
            if slot.count != 0:
                emit_window(table, counts, slot, out_windows, out_done)
            start = packet.ts_ns // window_ns * window_ns
            new_count(table, counts, slot, start, packet)
            due[at] = start
        count = counts[slot.count]
        slot.start_ns = min(slot.start_ns, packet.ts_ns)
        slot.last_ns = max(slot.last_ns, packet.ts_ns)
        table[NOW] = max(table[NOW], packet.ts_ns)
        if packet.src_port == options[PORT] or packet.dst_port == options[PORT]:
            table[ON_PORT] += 1
        if packet.weird != 0:
            table[ODD] += 1
            slot.weird |= packet.weird
        track_row.flow = slot.flow
        track_row.connection = slot.flow if slot.stream == 0 else streams[slot.stream].connection
        track_row.slot = at
        track_row.from_resp = np.uint8(way)
        track_row.new_bytes = 0
        track_row.position = 0
        track_row.duplicate = 0
        track_row.from_start = np.uint8(1) if slot.seen & np.uint32(FROM_START << way) else np.uint8(0)
        at_packet += 1
        if is_copy(recent, value, packet.ts_ns, options[COPY_NS]):
            count.duplicates += 1
            track_row.duplicate = 1
            continue
        # --- what the flags say
        other = 1 - way
        flags = packet.flags
        slot.seen |= np.uint32(SAW_PACKET << way)
        if flags & 0x02 and not flags & 0x04:
            set_start(table, streams, holes, slot, way, packet.seq)
            if flags & 0x10:
                if way == 1:
                    count.syn_acks += 1
                    slot.seen |= np.uint32(SAW_SYN_ACK)
                else:
                    slot.seen |= np.uint32(UP)  # both sides opened at once
            elif way == 0:
                count.syns += 1
                slot.seen |= np.uint32(SAW_SYN)
        elif not flags & 0x04:
            # Anything after the SYNs that comes from the originator, or carries payload, shows that it is up.
            answered = slot.seen & np.uint32(SAW_SYN_ACK) or not slot.seen & np.uint32(SAW_SYN)
            if way == 1 or answered or packet.payload_bytes > 0:
                slot.seen |= np.uint32(UP)
        if flags & 0x01:
            count.fins += 1
            slot.seen |= np.uint32(SAW_FIN << way)
        if flags & 0x04:
            count.resets += 1
            slot.seen |= np.uint32(SAW_RST << way)
        # --- where the bytes lie in the stream
        payload = np.int64(packet.payload_bytes)
        if not slot.seen & np.uint32(HAS_ORIGIN << way) and (not flags & 0x04 or payload > 0):
            slot.origin[way] = packet.seq
            slot.seen |= np.uint32(HAS_ORIGIN << way)
        if flags & 0x10 and not flags & 0x04:
            if not slot.seen & np.uint32(HAS_ORIGIN << other):
                slot.origin[other] = packet.ack
                slot.seen |= np.uint32(HAS_ORIGIN << other)
            stream = streams[slot.stream]
            acked = position_of(packet.ack, slot.origin[other], max(stream.top[other], stream.acked[other]))
            if acked > stream.acked[other]:
                if slot.stream == 0:
                    stream = streams[own_stream(table, streams, slot)]
                stream.acked[other] = acked
        new = np.int64(0)
        if payload > 0:
            seq = packet.seq
            if flags & 0x02:
                seq = np.uint32((np.int64(seq) + 1) & MASK32)
            stream = streams[slot.stream]
            top = stream.top[way]
            position = position_of(seq, slot.origin[way], top)
            if flags & 0x04:
                new = np.int64(0)  # text in a reset is a reason, not a part of the stream
            elif position == top and slot.stream != 0:
                stream.top[way] = top + payload  # as nearly all do: it goes on where the last one ended
                new = payload
            else:
                new = account(table, streams, holes, slot, way, position, payload)
            track_row.position = position
        track_row.new_bytes = np.int32(new)
        track_row.from_start = np.uint8(1) if slot.seen & np.uint32(FROM_START << way) else np.uint8(0)
        count.packets[way] += 1
        count.bytes[way] += packet.ip_bytes
        count.payload[way] += new
        count.retransmitted += payload - new
    out_done[DONE_PACKETS] = at_packet
    return at_packet


@kernel(*_TABLE, INT64S, INT64S, INT64, INT64, INT64, _WINDOWS, _ENDINGS, INT64S)
def sweep(
    slots,
    streams,
    counts,
    due,
    index,
    holes,
    table,
    options,
    at,
    until_ns,
    everything,
    out_windows,
    out_endings,
    out_done,
):
    """Write the windows that ended by `until_ns`, and end the flows that have expired by then (or all).

    Only `due` is read of flows that rest: millions of them cost some milliseconds. When all are ended, the index still
    names them: table and index must be emptied before the next packet.

    Parameters
    ----------
    at : int
        Slot to go on from.
    until_ns : int
        Start of the first window that is still open.
    everything : int
        1 ends every flow.

    Returns
    -------
    int
        Slot to go on from when the rows were full (WHY = ROWS_FULL); else the end of the table.
    """
    out_done[DONE_WINDOWS] = 0
    out_done[DONE_ENDINGS] = 0
    out_done[WHY] = FINISHED
    while at < table[USED_SLOTS]:
        if out_done[DONE_WINDOWS] + 2 > out_windows.shape[0] or out_done[DONE_ENDINGS] + 2 > out_endings.shape[0]:
            out_done[WHY] = ROWS_FULL
            return at
        if due[at] < until_ns or (everything and due[at] != NEVER):
            slot = slots[at]
            reason = is_over(slot, until_ns, options)
            if reason == 0 and everything:
                reason = CLOSED_ + 1 if is_closed(slot) else FLUSHED_ + 1
            if reason != 0 and everything:
                if slot.count != 0:
                    emit_window(table, counts, slot, out_windows, out_done)
                emit_ending(table, streams, holes, slot, reason - 1, out_endings, out_done)
                due[at] = NEVER
            elif reason != 0:
                end_flow(
                    table, slots, streams, counts, due, index, holes, at, reason - 1, out_windows, out_endings, out_done
                )
            elif slot.count == 0:
                due[at] = expiry(slot, options)
            elif counts[slot.count].window_ns < until_ns:
                emit_window(table, counts, slot, out_windows, out_done)
                due[at] = expiry(slot, options)
            else:
                due[at] = counts[slot.count].window_ns
        at += 1
    return at

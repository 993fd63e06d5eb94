"""Payloads to DO messages: follows message boundaries by stream position, skips piece bodies without touching them.

Per direction it knows where the next message begins. A header may lie across segments (its bytes are carried); a body
is never read, so loss inside one costs nothing. What comes before the header that is awaited is kept in cells, of a
shared and bounded pool, until that header comes; if it has not come by the end of the window of event time, or there is
no room, it is lost: framing is taken up again at the next plausible chain of messages, and the gap is told. What the
stream speaks is told from first bytes of both sides, never from the port.
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import BYTES, INT32S, INT64, INT64S, READONLY_BYTES, inline, kernel, rows
from sensor.schema import (
    KIND_GAP,
    KIND_HANDSHAKE,
    KIND_KEEPALIVE,
    KIND_UNKNOWN,
    KIND_VERDICT,
    VERDICTS,
    WEIRDS,
    Handshakes,
    Messages,
    Packets,
    Tracks,
)
from sensor.wire import DO_GREETING, DO_HANDSHAKE_BYTES, DO_MESSAGE_MAX, DO_PIECE_SIZE

# One flow that carried payload. Its 248 bytes, and four to find them by its slot, are all that is kept of it, but for
# the cells while a header is awaited.
STREAM = np.dtype(
    [
        ("flow", np.int64),
        ("boundary", np.int64, (2,)),  # stream position of the message that is awaited; OUT: how far was looked
        ("missing", np.int64, (2,)),  # where framing was lost last, as long as its bytes may still come
        ("explained", np.int64, (2,)),  # stream bytes that messages cover
        ("unexplained", np.int64, (2,)),  # stream bytes passed while framing was lost
        ("cells", np.int32, (2,)),  # last cell of a ring in stream order, NONE if empty
        ("deadline_s", np.uint32),  # when awaited headers are given up; 0: none is awaited
        ("credit", np.uint16, (2,)),  # how much may still be searched for a message, in units of 256 bytes
        ("cell_count", np.uint8, (2,)),
        ("held", np.uint8, (2,)),  # carried bytes: from the boundary on; OUT: those before the boundary
        ("sync", np.uint8, (2,)),
        ("counted", np.uint8, (2,)),  # consistent messages, up to 255
        ("runs", np.uint8),  # those of them since framing was found last, up to 2: four bits a direction
        ("verdict", np.uint8),
        ("carry", np.uint8, (2, DO_HANDSHAKE_BYTES)),
    ],
    align=True,
)
# Bytes that came too early, and where they belong.
CELL = np.dtype(
    [("position", np.int64), ("ts_ns", np.int64), ("length", np.int32), ("next", np.int32)],
    align=True,
)
CELL_BYTES = 512
MAX_CELLS = 128  # of one direction: 64 KiB, some forty full segments
FREE_CELL, USED_CELLS, CELLS_IN_USE, USED_STREAMS = range(4)  # memory, int64[4]
NONE = -1
WAIT, GIVE_UP = range(2)
NOWHERE = np.int64(-(2**62))
SECOND_NS = 1_000_000_000
LAST_S = 0xFFFFFFFF

# sync: FRESH nothing seen; OPENING collecting first bytes; IN framing followed; COUNTING the bits of a bitfield;
# OUT framing lost; NOT_DO speaks otherwise
FRESH, OPENING, IN, COUNTING, OUT, NOT_DO = range(6)

TOO_LITTLE, DO, DO_MALFORMED, TLS, HTTP, SMB, SSH, RDP, SOCKS, BITTORRENT, DNS, OPAQUE = range(len(VERDICTS))
AT_BAD_LENGTH = WEIRDS.index("bad_message_length")
AT_RESYNCHRONISED = WEIRDS.index("resynchronised")
AT_UNKNOWN = WEIRDS.index("unknown_message")
ENOUGH = 16  # first bytes after which a stream that matches nothing known is opaque
CONSISTENT = 3  # messages that together make an unheralded stream DO
TAIL = 16  # bytes kept while framing is lost, for a header that lies across segments
CREDIT = (DO_PIECE_SIZE + (DO_PIECE_SIZE >> 4)) >> 8  # within a piece's length a header must show
FAR = 16 * 1024 * 1024  # a piece is about a MiB; what claims to lie far outside is somebody's data

_GREETING = np.frombuffer(DO_GREETING, dtype=np.uint8).copy()
_BITTORRENT = np.frombuffer(b"\x13BitTorrent protocol", dtype=np.uint8).copy()
_HTTP_WORDS = np.frombuffer(
    b"GET     POST    HEAD    PUT     OPTIONS CONNECT DELETE  PATCH   TRACE   PROPFINDHTTP/1. PRI * HT", dtype=np.uint8
).copy()

_PACKETS = rows(Packets.dtype(), readonly=True)
_TRACKS = rows(Tracks.dtype(), readonly=True)
_STREAMS = rows(STREAM)
_CELLS = rows(CELL)
_MESSAGES = rows(Messages.dtype())
_HANDSHAKES = rows(Handshakes.dtype())


@inline()
def u32(data, at):
    """Read four bytes, big-endian."""
    return (
        (np.int64(data[at]) << 24)
        | (np.int64(data[at + 1]) << 16)
        | (np.int64(data[at + 2]) << 8)
        | np.int64(data[at + 3])
    )


@inline()
def allowed_length(kind, length):
    """Return whether a message id may have this length."""
    if kind <= 3:
        return length == 1
    if kind == 4:
        return length == 5
    if kind == 6 or kind == 8:
        return length == 13
    if kind == 7:
        return 9 < length <= DO_MESSAGE_MAX
    return 1 <= length <= DO_MESSAGE_MAX


@inline()
def header_bytes(kind):
    """Return how many bytes of a message are its header: length, id and fixed fields."""
    if kind == 7:
        return 13
    if kind == 6 or kind == 8:
        return 17
    if kind == 4:
        return 9
    return 5


@inline()
def begins_with(stream, way, held, word, at, size):
    """Return whether the carried bytes begin with word[at:at + size], as far as they go."""
    carry = stream.carry[way]
    for step in range(min(held, size)):  # noqa: SIM110 - numba knows no generators
        if carry[step] != word[at + step]:
            return False
    return True


@inline()
def name_protocol(stream, way, held):
    """Name what first bytes speak; TOO_LITTLE while they could still become something, OPAQUE if nothing known fits."""
    carry = stream.carry[way]
    if held < 4:
        # The shortest greeting that says something: SOCKS 5, one method.
        if held == 3 and carry[0] == 5 and carry[1] == 1 and (carry[2] <= 9 or carry[2] >= 0x80):
            return SOCKS
        return TOO_LITTLE
    for word in range(_HTTP_WORDS.shape[0] // 8):
        size = 8
        while size > 0 and _HTTP_WORDS[word * 8 + size - 1] == 32 and size > 3:
            size -= 1
        # A method is followed by a blank; the two others are whole.
        if word < 10 and size < 8:
            size += 1
        if begins_with(stream, way, held, _HTTP_WORDS, word * 8, size):
            return HTTP if held >= size else TOO_LITTLE
    if 0x14 <= carry[0] <= 0x17 and carry[1] == 3 and carry[2] <= 4:
        if held < 6:
            return TOO_LITTLE
        length = (np.int64(carry[3]) << 8) | np.int64(carry[4])
        if 0 < length <= 0x4800 and (carry[0] != 0x16 or carry[5] == 1 or carry[5] == 2):
            return TLS
    if carry[0] == 83 and carry[1] == 83 and carry[2] == 72 and carry[3] == 45:
        return SSH
    if (
        held >= 8
        and carry[0] == 0
        and (carry[4] == 0xFF or carry[4] == 0xFE or carry[4] == 0xFD)
        and carry[5] == 83
        and carry[6] == 77
        and carry[7] == 66
    ):
        return SMB
    if carry[0] == 3 and carry[1] == 0 and held >= 6:
        length = (np.int64(carry[2]) << 8) | np.int64(carry[3])
        if length >= 7 and (carry[5] == 0xE0 or carry[5] == 0xD0 or carry[5] == 0xF0):
            return RDP
    if begins_with(stream, way, held, _BITTORRENT, 0, 20):
        if held >= 20:
            return BITTORRENT
        if held > 4:
            return TOO_LITTLE
    if carry[0] == 5 and 1 <= carry[1] <= 8 and held == 2 + np.int64(carry[1]):
        plain = True
        for step in range(np.int64(carry[1])):
            plain = plain and (carry[2 + step] <= 9 or carry[2 + step] >= 0x80)
        if plain:
            return SOCKS
    if carry[0] == 4 and carry[1] == 1 and held == 9 and carry[8] == 0:
        return SOCKS
    if held >= 14:
        # DNS over TCP: length, id, flags, one question, few answers.
        length = (np.int64(carry[0]) << 8) | np.int64(carry[1])
        if (
            17 <= length <= 4096
            and (carry[4] & 0x78) == 0
            and (carry[5] & 0x40) == 0
            and carry[6] == 0
            and carry[7] == 1
            and carry[8] == 0
            and carry[10] == 0
        ):
            return DNS
    if held >= ENOUGH:
        return OPAQUE
    return TOO_LITTLE


@inline()
def bits_set(data, at, end):
    """Count the set bits of data[at:end]."""
    found = np.int64(0)
    for step in range(at, end):
        byte = np.int64(data[step])
        while byte:
            found += byte & 1
            byte >>= 1
    return found


@inline()
def certain(data, at, end):
    """Return whether what begins at data[at] is hardly anything but a message: have, request, cancel or piece."""
    if at + 9 > end or data[at] != 0 or data[at + 5] != 0:
        return False
    kind = np.int64(data[at + 4])
    length = u32(data, at)
    if kind == 4:
        return length == 5
    if kind == 7:
        return at + 13 <= end and 9 < length <= DO_MESSAGE_MAX and u32(data, at + 9) + length <= FAR
    if kind == 6 or kind == 8:
        return length == 13 and at + 17 <= end and data[at + 9] == 0 and 0 < u32(data, at + 13) <= FAR
    return False


@inline()
def chained(data, at, end):
    """Return whether messages follow one another from data[at] to the end."""
    for _ in range(64):
        if at >= end:
            return True
        if data[at] != 0:
            return False
        if at + 5 > end:
            return True
        length = u32(data, at)
        if length != 0:
            kind = np.int64(data[at + 4])
            if (kind > 8 and kind != 20) or not allowed_length(kind, length):
                return False
        at += 4 + length
    return True


@inline()
def plausible(data, at, end):
    """Return whether a segment that begins at data[at] begins with a message."""
    if at + 5 > end:
        return False
    length = u32(data, at)
    kind = np.int64(data[at + 4])
    # A bitfield comes right after a handshake only.
    if length == 0 or kind > 8 or kind == 5 or not allowed_length(kind, length):
        return False
    if kind > 3 and not certain(data, at, end):
        return False
    return chained(data, at, end)


@inline()
def write_message(stream, way, ts_ns, position, kind, index, begin, length, out_messages, out_done):
    """Write a message."""
    row = out_messages[out_done[0]]
    row.flow = stream.flow
    row.ts_ns = ts_ns
    row.position = position
    row.index = index
    row.begin = begin
    row.length = length
    row.from_resp = np.uint8(way)
    row.kind = np.uint8(kind)
    out_done[0] += 1


@inline()
def write_verdict(stream, way, ts_ns, verdict, kind, length, out_messages, out_done):
    """Write a change of verdict; `kind` and `length` are those of the message that was malformed."""
    stream.verdict = np.uint8(verdict)
    write_message(stream, way, ts_ns, stream.boundary[way], KIND_VERDICT, verdict, kind, length, out_messages, out_done)


@inline()
def clear(stream, flow):
    """Begin a flow of which nothing is known."""
    stream.flow = flow
    stream.verdict = TOO_LITTLE
    stream.deadline_s = 0
    stream.runs = 0
    for side in range(2):
        stream.boundary[side] = 0
        stream.missing[side] = NOWHERE
        stream.explained[side] = 0
        stream.unexplained[side] = 0
        stream.cells[side] = NONE
        stream.cell_count[side] = 0
        stream.credit[side] = CREDIT
        stream.held[side] = 0
        stream.sync[side] = FRESH
        stream.counted[side] = 0


@inline()
def lose(stream, way, position, front):
    """Lose framing at a message that should begin at `position`; what lies before `front` is not looked at."""
    stream.sync[way] = OUT
    stream.missing[way] = position
    stream.unexplained[way] += front - position
    stream.boundary[way] = front
    stream.held[way] = 0
    stream.runs = np.uint8(np.int64(stream.runs) & (0xF0 >> 4 * way))
    if stream.verdict == TOO_LITTLE:
        stream.counted[way] = 0


@inline()
def find(stream, way, ts_ns, start, data, at, captured, payload, out_messages, out_done, out_weird):
    """Look in a segment for where messages begin again; returns whether framing was found."""
    front = stream.boundary[way]
    if start + payload <= front:
        return False
    end = at + captured
    held = np.int64(stream.held[way])
    skip = max(np.int64(0), front - start)
    if start > front:
        held = np.int64(0)
    found = NOWHERE
    carry = stream.carry[way]
    # --- a header that began in the segments before
    if held > 0:
        joined = held
        while joined < held + 24 and at + skip + joined - held < end:
            carry[joined] = data[at + skip + joined - held]
            joined += 1
        for step in range(held):
            if certain(carry, step, joined):
                found = front - held + step
                for byte in range(held - step):
                    carry[byte] = carry[step + byte]
                stream.held[way] = np.uint8(held - step)
                break
    if found == NOWHERE and skip == 0 and captured == 4 and payload == 4 and u32(data, at) == 0:
        # A segment of a keep-alive and nothing else: told, but no proof of where messages begin.
        write_message(stream, way, ts_ns, start, KIND_KEEPALIVE, 0, 0, 0, out_messages, out_done)
        if stream.missing[way] == start:
            stream.missing[way] = start + 4
        stream.unexplained[way] += start - front
        stream.explained[way] += 4
        stream.boundary[way] = start + 4
        stream.held[way] = 0
        return False
    if found == NOWHERE:
        # --- at the start of the segment, where messages mostly begin; else anywhere in it
        if skip == 0 and plausible(data, at, end):
            found = start
        elif stream.credit[way] > 0:
            spent = 1 + (captured >> 8)
            stream.credit[way] = np.uint16(max(np.int64(0), np.int64(stream.credit[way]) - spent))
            for place in range(at + skip, end - 8):
                kind = data[place + 4]
                if kind < 4 or kind > 8 or data[place] != 0:
                    continue
                if certain(data, place, end) and chained(data, place, end):
                    found = start + place - at
                    break
        if found != NOWHERE:
            stream.held[way] = 0
    if found == NOWHERE:
        stream.unexplained[way] += start + payload - front
        stream.boundary[way] = start + payload
        fresh = captured - skip
        if captured < payload or fresh <= 0 or stream.credit[way] == 0:
            held = np.int64(0)  # to touch a segment's end for nothing would cost more than all else
        elif fresh >= TAIL:
            held = np.int64(TAIL)
            for byte in range(TAIL):
                carry[byte] = data[end - TAIL + byte]
        else:
            if held == 0:
                for byte in range(fresh):
                    carry[byte] = data[end - fresh + byte]
            drop = max(np.int64(0), held + fresh - TAIL)
            held = held + fresh - drop
            for byte in range(held):
                carry[byte] = carry[byte + drop]
        stream.held[way] = np.uint8(held)
        return False
    stream.unexplained[way] += found - front
    stream.boundary[way] = found
    stream.sync[way] = IN
    if stream.missing[way] != NOWHERE and found > stream.missing[way]:
        lost = stream.missing[way]
        write_message(stream, way, ts_ns, lost, KIND_GAP, 0, 0, found - lost, out_messages, out_done)
    if stream.verdict == DO:
        out_weird[AT_RESYNCHRONISED] += 1
    return True


@inline()
def tell_bitfield(stream, way, ts_ns, out_messages, out_done):
    """Write the bitfield whose bits were counted, as far as they came, and go on behind it."""
    length = u32(stream.carry[way], 0)
    position = stream.boundary[way]
    bits = u32(stream.carry[way], 5)
    write_message(stream, way, ts_ns, position, 5, bits, (length - 1) * 8, length, out_messages, out_done)
    stream.boundary[way] = position + 4 + length
    stream.held[way] = 0
    stream.sync[way] = IN


@inline()
def put32(carry, at, value):
    """Write four bytes, big-endian."""
    carry[at] = np.uint8((value >> 24) & 255)
    carry[at + 1] = np.uint8((value >> 16) & 255)
    carry[at + 2] = np.uint8((value >> 8) & 255)
    carry[at + 3] = np.uint8(value & 255)


@inline()
def conclude(stream, way, out_messages, out_done):
    """Write the bitfield of a stream that ended inside it."""
    if stream.sync[way] == COUNTING:
        carry = stream.carry[way]
        tell_bitfield(stream, way, (u32(carry, 13) << 32) | u32(carry, 17), out_messages, out_done)


@inline()
def count_one(stream, way, ts_ns, out_messages, out_done):
    """Count a consistent message; enough of them show what an unheralded stream speaks."""
    if stream.counted[way] < 255:
        stream.counted[way] += 1
    run = (np.int64(stream.runs) >> 4 * way) & 15
    if run < 2:
        stream.runs = np.uint8(np.int64(stream.runs) + (1 << 4 * way))
    if run > 0:
        stream.credit[way] = CREDIT  # one message led to the next: a search would be worth its cost again
    if stream.counted[way] == CONSISTENT and stream.verdict == TOO_LITTLE:
        write_verdict(stream, way, ts_ns, DO, 0, 0, out_messages, out_done)


@inline()
def open_stream(stream, way, ts_ns, start, data, at, captured, payload, out_messages, out_handshakes, out_done):
    """Collect first bytes until they are a handshake or something else.

    Returns 0 when done with the segment, 1 when bytes before it are awaited, 2 to go on with messages.
    """
    held = np.int64(stream.held[way])
    need = stream.boundary[way] + held
    if start + payload <= need:
        return 0
    if start > need:
        return 1
    step = need - start
    while step < captured and held < DO_HANDSHAKE_BYTES:
        stream.carry[way, held] = data[at + step]
        held += 1
        step += 1
    stream.held[way] = np.uint8(held)
    if not begins_with(stream, way, held, _GREETING, 0, 15):
        guess = name_protocol(stream, way, held)
        if guess == TOO_LITTLE:
            return 0
        # A name beats "opaque", and what was named first stays.
        if stream.verdict == TOO_LITTLE or (stream.verdict == OPAQUE and guess != OPAQUE):
            write_verdict(stream, way, ts_ns, guess, 0, 0, out_messages, out_done)
        stream.sync[way] = NOT_DO
        return 0
    cut = captured < payload and step >= captured
    if held < DO_HANDSHAKE_BYTES:
        if not cut or held < 15:
            return 0
        # The capture cut the handshake: that it is DO is still certain from its name.
        if stream.verdict != DO:
            write_verdict(stream, way, ts_ns, DO, 0, 0, out_messages, out_done)
    else:
        if stream.verdict != DO:
            write_verdict(stream, way, ts_ns, DO, 0, 0, out_messages, out_done)
        carry = stream.carry[way]
        row = out_handshakes[out_done[1]]
        out_done[1] += 1
        row.flow = stream.flow
        row.ts_ns = ts_ns
        row.reserved = (np.uint64(u32(carry, 15)) << np.uint64(32)) | np.uint64(u32(carry, 19))
        for byte in range(32):
            row.swarm_hash[byte] = carry[23 + byte]
        for byte in range(16):
            row.peer_id[byte] = carry[55 + byte]
        row.suffix = u32(carry, 71)
        row.from_resp = np.uint8(way)
        write_message(
            stream, way, ts_ns, stream.boundary[way], KIND_HANDSHAKE, 0, 0, DO_HANDSHAKE_BYTES, out_messages, out_done
        )
    stream.sync[way] = IN
    stream.boundary[way] += DO_HANDSHAKE_BYTES
    stream.explained[way] += DO_HANDSHAKE_BYTES
    stream.held[way] = 0
    return 2


@inline()
def feed(stream, way, ts_ns, start, data, at, captured, payload, out_messages, out_handshakes, out_done, out_weird):
    """Read the messages of one segment; returns 1 when bytes before it are awaited, else 0."""
    if stream.sync[way] == OPENING:
        then = open_stream(
            stream, way, ts_ns, start, data, at, captured, payload, out_messages, out_handshakes, out_done
        )
        if then != 2:
            return then
    if stream.sync[way] == NOT_DO:
        return 0
    if stream.sync[way] == OUT and not find(
        stream, way, ts_ns, start, data, at, captured, payload, out_messages, out_done, out_weird
    ):
        return 0
    payload_end = start + payload
    carry = stream.carry[way]
    while True:
        if stream.sync[way] == COUNTING:
            length = u32(carry, 0)
            done = u32(carry, 9)
            step = stream.boundary[way] + 5 + done - start
            if step >= payload:
                return 0
            if step < 0:
                return 1
            here = min(length - 1 - done, max(np.int64(0), captured - step))
            put32(carry, 5, u32(carry, 5) + bits_set(data, at + step, at + step + here))
            put32(carry, 9, done + here)
            put32(carry, 13, ts_ns >> 32)
            put32(carry, 17, ts_ns & 0xFFFFFFFF)
            if done + here < length - 1 and captured == payload:
                return 0
            tell_bitfield(stream, way, ts_ns, out_messages, out_done)
            continue
        held = np.int64(stream.held[way])
        position = stream.boundary[way]
        step = position + held - start
        if step >= payload:
            return 0  # the next header lies beyond this segment
        if step < 0:
            return 1
        while step < captured and held < 5:
            carry[held] = data[at + step]
            held += 1
            step += 1
            if held == 4 and u32(carry, 0) == 0:
                break
        if held < 4 or (held == 4 and u32(carry, 0) != 0):
            stream.held[way] = np.uint8(held)
            if captured < payload:
                lose(stream, way, position, payload_end)  # the header lies in this segment but not in the capture
            return 0
        length = u32(carry, 0)
        if length == 0:
            write_message(stream, way, ts_ns, position, KIND_KEEPALIVE, 0, 0, 0, out_messages, out_done)
            stream.boundary[way] = position + 4
            stream.explained[way] += 4
            stream.held[way] = 0
            continue
        kind = np.int64(carry[4])
        if not allowed_length(kind, length):
            if stream.verdict == DO:
                out_weird[AT_BAD_LENGTH] += 1
                if stream.counted[way] < CONSISTENT:
                    write_verdict(stream, way, ts_ns, DO_MALFORMED, kind, length, out_messages, out_done)
            lose(stream, way, position, payload_end)
            return 0
        whole = min(np.int64(header_bytes(kind)), 4 + length)
        while step < captured and held < whole:
            carry[held] = data[at + step]
            held += 1
            step += 1
        if held < whole:
            stream.held[way] = np.uint8(held)
            if captured < payload:
                lose(stream, way, position, payload_end)
            return 0
        stream.explained[way] += 4 + length
        if kind == 5:
            put32(carry, 5, np.int64(0))
            put32(carry, 9, np.int64(0))
            put32(carry, 13, ts_ns >> 32)
            put32(carry, 17, ts_ns & 0xFFFFFFFF)
            stream.held[way] = 5
            stream.sync[way] = COUNTING
            count_one(stream, way, ts_ns, out_messages, out_done)
            if length == 1:
                tell_bitfield(stream, way, ts_ns, out_messages, out_done)
            continue
        index = np.int64(0)
        begin = np.int64(0)
        told = length
        row_kind = kind
        if kind == 7:
            index = u32(carry, 5)
            begin = u32(carry, 9)
            told = length - 9
        elif kind == 6 or kind == 8:
            index = u32(carry, 5)
            begin = u32(carry, 9)
            told = u32(carry, 13)
        elif kind == 4:
            index = u32(carry, 5)
        elif kind > 8 and kind != 20:
            row_kind = np.int64(KIND_UNKNOWN)
            index = kind
            out_weird[AT_UNKNOWN] += 1
        write_message(stream, way, ts_ns, position, row_kind, index, begin, told, out_messages, out_done)
        count_one(stream, way, ts_ns, out_messages, out_done)
        stream.boundary[way] = position + 4 + length
        stream.held[way] = 0


@inline()
def mend(stream, way, ts_ns, start, data, at, captured, payload, out_messages, out_done):
    """Read messages of a segment that came after framing was lost over it, if their headers lie whole in it."""
    end = at + captured
    while start <= stream.missing[way] < start + payload:
        position = stream.missing[way]
        here = at + position - start
        if not certain(data, here, end):
            return
        length = u32(data, here)
        kind = np.int64(data[here + 4])
        index = u32(data, here + 5)
        begin = u32(data, here + 9) if kind != 4 else np.int64(0)
        told = length
        if kind == 7:
            told = length - 9
        elif kind != 4:
            told = u32(data, here + 13)
        write_message(stream, way, ts_ns, position, kind, index, begin, told, out_messages, out_done)
        count_one(stream, way, ts_ns, out_messages, out_done)
        stream.explained[way] += 4 + length
        stream.missing[way] = position + 4 + length
        if stream.sync[way] == OUT and stream.missing[way] >= stream.boundary[way]:
            # Nothing was passed meanwhile but the body of this message: framing never really was lost.
            stream.unexplained[way] -= stream.boundary[way] - position
            stream.boundary[way] = stream.missing[way]
            stream.missing[way] = NOWHERE
            stream.held[way] = 0
            stream.sync[way] = IN
            return
        stream.unexplained[way] -= min(4 + length, stream.unexplained[way])


# --- cells: bytes that came before the header that is awaited ----------------------------------------------------
@inline()
def free_first(stream, way, cells, memory):
    """Give the first cell of a direction back."""
    last = np.int64(stream.cells[way])
    first = np.int64(cells[last].next)
    if first == last:
        stream.cells[way] = NONE
    else:
        cells[last].next = cells[first].next
    cells[first].next = np.int32(memory[FREE_CELL])
    memory[FREE_CELL] = first
    memory[CELLS_IN_USE] -= 1
    stream.cell_count[way] -= 1


@inline()
def keep(stream, way, ts_ns, start, data, at, captured, cells, cell_data, memory):
    """Keep a segment that came early, in stream order; returns whether there was room for all of it."""
    needed = (captured + CELL_BYTES - 1) // CELL_BYTES
    if np.int64(stream.cell_count[way]) + needed > MAX_CELLS:
        return False
    if memory[CELLS_IN_USE] + needed > cells.shape[0]:
        return False
    # Where it goes: behind the last cell that begins no later.
    last = np.int64(stream.cells[way])
    before = last
    if last != NONE and cells[last].position > start:
        before = np.int64(NONE)
        look = np.int64(cells[last].next)
        while cells[look].position <= start:
            before = look
            look = np.int64(cells[look].next)
    done = np.int64(0)
    if before != NONE:
        # Small segments share a cell.
        cell = cells[before]
        if cell.position + np.int64(cell.length) == start and np.int64(cell.length) + captured <= CELL_BYTES:
            for byte in range(captured):
                cell_data[before * CELL_BYTES + np.int64(cell.length) + byte] = data[at + byte]
            cell.length = np.int32(np.int64(cell.length) + captured)
            cell.ts_ns = max(cell.ts_ns, ts_ns)
            return True
    while done < captured:
        if memory[FREE_CELL] != NONE:
            fresh = memory[FREE_CELL]
            memory[FREE_CELL] = np.int64(cells[fresh].next)
        else:
            fresh = memory[USED_CELLS]
            memory[USED_CELLS] += 1
        memory[CELLS_IN_USE] += 1
        stream.cell_count[way] += 1
        length = min(np.int64(CELL_BYTES), captured - done)
        cells[fresh].position = start + done
        cells[fresh].ts_ns = ts_ns
        cells[fresh].length = np.int32(length)
        for byte in range(length):
            cell_data[fresh * CELL_BYTES + byte] = data[at + done + byte]
        last = np.int64(stream.cells[way])
        if last == NONE:
            cells[fresh].next = np.int32(fresh)
            stream.cells[way] = np.int32(fresh)
        elif before == NONE:
            # In front of all.
            cells[fresh].next = cells[last].next
            cells[last].next = np.int32(fresh)
        else:
            cells[fresh].next = cells[before].next
            cells[before].next = np.int32(fresh)
            if before == last:
                stream.cells[way] = np.int32(fresh)
        before = fresh
        done += length
    return True


@inline()
def drain(stream, way, patience, cells, cell_data, memory, out_messages, out_handshakes, out_done, out_weird):
    """Read kept cells as far as they follow; when giving up, all of them, framing lost over what is missing."""
    while stream.cells[way] != NONE:
        first = np.int64(cells[np.int64(stream.cells[way])].next)
        cell = cells[first]
        length = np.int64(cell.length)
        ts_ns = cell.ts_ns
        awaited = feed(
            stream,
            way,
            ts_ns,
            cell.position,
            cell_data,
            first * CELL_BYTES,
            length,
            length,
            out_messages,
            out_handshakes,
            out_done,
            out_weird,
        )
        if awaited:
            if patience == WAIT:
                break
            if stream.sync[way] == COUNTING:
                tell_bitfield(stream, way, ts_ns, out_messages, out_done)
            else:
                lose(stream, way, stream.boundary[way], stream.boundary[way])
            continue
        free_first(stream, way, cells, memory)
    if stream.cells[0] == NONE and stream.cells[1] == NONE:
        stream.deadline_s = 0


@kernel(
    _PACKETS,
    READONLY_BYTES,
    _TRACKS,
    INT64,
    INT64,
    INT32S,
    _STREAMS,
    _CELLS,
    BYTES,
    INT64S,
    _MESSAGES,
    _HANDSHAKES,
    INT64S,
    INT64S,
)
def follow(
    packets,
    data,
    tracks,
    first,
    window_ns,
    places,
    streams,
    cells,
    cell_data,
    memory,
    out_messages,
    out_handshakes,
    out_done,
    out_weird,
):
    """Follow the messages of packets from row `first` on.

    Parameters
    ----------
    packets : Packets[P]; data : uint8[:]; tracks : Tracks[P]
    window_ns : int
        A header that is missing is awaited to the end of the window in which it was missed.
    places : int32[slots of the flow table]
        Which of the streams a slot has, from 1 on; 0 until the first payload comes: most flows of a flood have none.
    streams : STREAM[S]
        A slot's next flow finds its stream stale by its number and clears it.
    cells, cell_data, memory : CELL[C], uint8[C * CELL_BYTES], int64[4]
        The pool of what came early, and what is in use.
    out_messages, out_handshakes : Messages[M], Handshakes[H]
        Must hold what one segment and all cells of a flow can say: see `room_for`.
    out_done : int64[2]
        How many of both were written.
    out_weird : int64[len(WEIRDS)]
        Added to.

    Returns
    -------
    int
        Row to go on from: the number of packets, or less when the output could not hold another packet's messages, or
        all streams are in use and another is needed.
    """
    out_done[0] = 0
    out_done[1] = 0
    size = np.int64(data.shape[0])
    for at_row in range(first, packets.shape[0]):
        track = tracks[at_row]
        packet = packets[at_row]
        if packet.payload_bytes == 0 or track.duplicate or packet.flags & 0x04:
            continue
        place = np.int64(places[track.slot]) - 1
        if place < 0:
            if memory[USED_STREAMS] >= streams.shape[0]:
                return at_row
            place = memory[USED_STREAMS]
            memory[USED_STREAMS] += 1
            places[track.slot] = np.int32(place + 1)
            clear(streams[place], np.int64(NONE))
        stream = streams[place]
        way = np.int64(track.from_resp)
        start = track.position
        payload = np.int64(packet.payload_bytes)
        payload_end = start + payload
        overdue = stream.deadline_s != 0 and (
            stream.flow != track.flow or packet.ts_ns >= np.int64(stream.deadline_s) * SECOND_NS
        )
        # Most packets of a transfer lie inside a piece's body.
        if (
            stream.sync[way] == IN
            and payload_end <= stream.boundary[way]
            and stream.held[way] == 0
            and stream.flow == track.flow
            and not overdue
            and not start <= stream.missing[way] < payload_end
        ):
            continue
        if not overdue and stream.flow == track.flow and (track.new_bytes == 0 or stream.sync[way] == NOT_DO):
            continue
        at = packet.payload_at
        captured = np.int64(packet.payload_captured)
        if at < 0 or at + captured > size:
            continue
        kept = np.int64(stream.cell_count[0]) + np.int64(stream.cell_count[1])
        if (
            out_done[0] + captured // 4 + 16 + kept * (CELL_BYTES // 4 + 4) > out_messages.shape[0]
            or out_done[1] + captured // 75 + kept * (CELL_BYTES // 75) + 4 > out_handshakes.shape[0]
        ):
            return at_row
        if overdue:
            for side in range(2):
                drain(
                    stream, side, GIVE_UP, cells, cell_data, memory, out_messages, out_handshakes, out_done, out_weird
                )
        if stream.flow >= track.connection:
            stream.flow = track.flow  # maybe the next part of a long connection, whose streams go on
        if stream.flow != track.flow:
            for side in range(2):
                conclude(stream, side, out_messages, out_done)
            clear(stream, track.flow)
        if track.new_bytes == 0 or stream.sync[way] == NOT_DO:
            continue
        # Where the greeting stands at the start of a segment a stream begins, whatever was missed before.
        greeted = captured >= 15 and data[at] == 0x0E
        if greeted:
            for step in range(15):
                if data[at + step] != _GREETING[step]:
                    greeted = False
                    break
        if stream.sync[way] == FRESH or (greeted and stream.sync[way] == OUT):
            stream.held[way] = 0
            if greeted:
                stream.sync[way] = OPENING
                stream.boundary[way] = start
            elif track.from_start:
                # If this is not the first byte, that was lost or comes later.
                stream.sync[way] = OPENING
                stream.boundary[way] = 0
            else:
                lose(stream, way, start, start)
        elif (
            start <= stream.missing[way] < payload_end
            and payload_end <= stream.boundary[way]
            and track.new_bytes == payload
            and (stream.sync[way] == IN or stream.sync[way] == OUT)
        ):
            mend(stream, way, packet.ts_ns, start, data, at, captured, payload, out_messages, out_done)
            continue
        awaited = feed(
            stream,
            way,
            packet.ts_ns,
            start,
            data,
            at,
            captured,
            payload,
            out_messages,
            out_handshakes,
            out_done,
            out_weird,
        )
        if awaited:
            if keep(stream, way, packet.ts_ns, start, data, at, captured, cells, cell_data, memory):
                if stream.deadline_s == 0:
                    deadline_s = (packet.ts_ns // window_ns * window_ns + window_ns) // SECOND_NS
                    stream.deadline_s = np.uint32(max(np.int64(1), min(deadline_s, np.int64(LAST_S))))
                continue
            drain(stream, way, GIVE_UP, cells, cell_data, memory, out_messages, out_handshakes, out_done, out_weird)
            while feed(
                stream,
                way,
                packet.ts_ns,
                start,
                data,
                at,
                captured,
                payload,
                out_messages,
                out_handshakes,
                out_done,
                out_weird,
            ):
                if stream.sync[way] == COUNTING:
                    tell_bitfield(stream, way, packet.ts_ns, out_messages, out_done)
                else:
                    lose(stream, way, stream.boundary[way], stream.boundary[way])
        elif stream.cells[way] != NONE:
            drain(stream, way, WAIT, cells, cell_data, memory, out_messages, out_handshakes, out_done, out_weird)
    return packets.shape[0]


@kernel(INT64, INT64, INT64, _STREAMS, _CELLS, BYTES, INT64S, _MESSAGES, _HANDSHAKES, INT64S, INT64S)
def settle(
    at, until_ns, everything, streams, cells, cell_data, memory, out_messages, out_handshakes, out_done, out_weird
):
    """Give up what is still awaited from windows that end by `until_ns`, or (`everything` = 1) at all.

    Parameters
    ----------
    at : int
        Stream to go on from.

    Returns
    -------
    int
        Stream to go on from when the output was full; else how many there are.
    """
    out_done[0] = 0
    out_done[1] = 0
    for which in range(at, memory[USED_STREAMS]):
        stream = streams[which]
        kept = np.int64(stream.cell_count[0]) + np.int64(stream.cell_count[1])
        if (
            out_done[0] + 16 + kept * (CELL_BYTES // 4 + 4) > out_messages.shape[0]
            or out_done[1] + kept * (CELL_BYTES // 75) + 4 > out_handshakes.shape[0]
        ):
            return which
        for side in range(2):
            if stream.deadline_s != 0 and (everything or np.int64(stream.deadline_s) * SECOND_NS <= until_ns):
                drain(
                    stream, side, GIVE_UP, cells, cell_data, memory, out_messages, out_handshakes, out_done, out_weird
                )
            if everything:
                conclude(stream, side, out_messages, out_done)
    return memory[USED_STREAMS]

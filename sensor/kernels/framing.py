"""Payloads to DO messages: follows message boundaries by stream position and skips piece bodies without touching them.

Per direction it knows where the next message begins. A header may lie across segments (its bytes are carried); a body is
never read, so loss inside one costs nothing. Where a gap swallows a header, framing is taken up again at the next segment
that begins with a plausible message. What the stream speaks is told from first bytes of both sides, never from the port.
"""

from __future__ import annotations

import numpy as np
from sensor.kernels import INT64, INT64S, READONLY_BYTES, inline, kernel, rows
from sensor.schema import (
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
from sensor.wire import DO_GREETING, DO_HANDSHAKE_BYTES, DO_MESSAGE_MAX

CARRY = 80  # holds a handshake (75) or a header (17)
STREAM = np.dtype(
    [
        ("flow", np.int64),
        ("boundary", np.int64, (2,)),  # stream position of the next message
        ("held_at", np.int64, (2,)),  # stream position of the first carried byte
        ("held", np.uint8, (2,)),
        ("sync", np.uint8, (2,)),
        ("counted", np.uint8, (2,)),  # consistent messages, up to 255
        ("verdict", np.uint8),
        ("guess", np.uint8, (2,)),
        ("carry", np.uint8, (2, CARRY)),
    ],
    align=True,
)

# sync: FRESH nothing seen; OPENING collecting first bytes; IN framing followed; OUT framing lost; NOT_DO speaks otherwise
FRESH, OPENING, IN, OUT, NOT_DO = range(5)

TOO_LITTLE, DO, DO_MALFORMED, TLS, HTTP, SMB, SSH, RDP, SOCKS, BITTORRENT, DNS, OPAQUE = range(len(VERDICTS))
AT_BAD_LENGTH = WEIRDS.index("bad_message_length")
AT_RESYNCHRONISED = WEIRDS.index("resynchronised")
AT_UNKNOWN = WEIRDS.index("unknown_message")
ENOUGH = 16  # first bytes after which a stream that matches nothing known is opaque
CONSISTENT = 3  # messages that together make an unheralded stream DO

_GREETING = np.frombuffer(DO_GREETING, dtype=np.uint8).copy()
_BITTORRENT = np.frombuffer(b"\x13BitTorrent protocol", dtype=np.uint8).copy()
_HTTP_WORDS = np.frombuffer(
    b"GET     POST    HEAD    PUT     OPTIONS CONNECT DELETE  PATCH   TRACE   PROPFINDHTTP/1. PRI * HT", dtype=np.uint8
).copy()

_PACKETS = rows(Packets.dtype(), readonly=True)
_TRACKS = rows(Tracks.dtype(), readonly=True)
_STREAMS = rows(STREAM)
_MESSAGES = rows(Messages.dtype())
_HANDSHAKES = rows(Handshakes.dtype())


@inline()
def carried32(stream, way, at):
    """Read four carried bytes, big-endian."""
    carry = stream.carry[way]
    return (
        (np.int64(carry[at]) << 24)
        | (np.int64(carry[at + 1]) << 16)
        | (np.int64(carry[at + 2]) << 8)
        | np.int64(carry[at + 3])
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
    for step in range(min(held, size)):
        if carry[step] != word[at + step]:
            return False
    return True


@inline()
def name_protocol(stream, way, held):
    """Name what first bytes speak; TOO_LITTLE while they could still become something, OPAQUE when nothing known fits."""
    carry = stream.carry[way]
    if held < 4:
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
    if carry[0] == 0 and held >= 8:
        if (
            (carry[4] == 0xFF or carry[4] == 0xFE or carry[4] == 0xFD)
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
        return BITTORRENT if held >= 20 else TOO_LITTLE
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
def plausible(data, at, end):
    """Return whether a DO message may begin at data[at]: 1 yes, 2 yes and it is a piece or a fixed message, 0 no."""
    if at + 5 > end:
        return 0
    length = (
        (np.int64(data[at]) << 24)
        | (np.int64(data[at + 1]) << 16)
        | (np.int64(data[at + 2]) << 8)
        | np.int64(data[at + 3])
    )
    kind = np.int64(data[at + 4])
    if length == 0 or kind > 8 or not allowed_length(kind, length):
        return 0
    if kind == 7:
        if at + 13 > end:
            return 0
        begin = (
            (np.int64(data[at + 9]) << 24)
            | (np.int64(data[at + 10]) << 16)
            | (np.int64(data[at + 11]) << 8)
            | np.int64(data[at + 12])
        )
        # A piece is about a MiB; what lies far outside is somebody's data.
        if data[at + 5] != 0 or begin + length > 16 * 1024 * 1024:
            return 0
    if kind == 5:
        return 0  # a bitfield comes right after a handshake only
    return 1


@inline()
def verdict_row(stream, packet, track, verdict, out_messages, count):
    """Write a change of verdict."""
    stream.verdict = np.uint8(verdict)
    row = out_messages[count]
    row.flow = track.flow
    row.ts_ns = packet.ts_ns
    row.position = track.position
    row.index = verdict
    row.begin = 0
    row.length = 0
    row.from_resp = track.from_resp
    row.kind = KIND_VERDICT


@inline()
def message_row(packet, track, position, kind, index, begin, length, out_messages, count):
    """Write a message."""
    row = out_messages[count]
    row.flow = track.flow
    row.ts_ns = packet.ts_ns
    row.position = position
    row.index = index
    row.begin = begin
    row.length = length
    row.from_resp = track.from_resp
    row.kind = kind


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


@kernel(_PACKETS, READONLY_BYTES, _TRACKS, INT64, _STREAMS, _MESSAGES, _HANDSHAKES, INT64S, INT64S)
def follow(packets, data, tracks, first, streams, out_messages, out_handshakes, out_done, out_weird):
    """Follow the messages of packets from row `first` on.

    Parameters
    ----------
    packets : Packets[P]; data : uint8[:]; tracks : Tracks[P]
    streams : STREAM[S]
        One per slot of the flow table; a slot's next flow finds it stale by its number and clears it.
    out_messages, out_handshakes : Messages[M], Handshakes[H]
    out_done : int64[2]
        How many of both were written.
    out_weird : int64[len(WEIRDS)]
        Added to.

    Returns
    -------
    int
        Row to go on from: the number of packets, or less when the output could not hold another packet's messages.
    """
    count = np.int64(0)
    shaken = np.int64(0)
    size = np.int64(data.shape[0])
    for at_row in range(first, packets.shape[0]):
        track = tracks[at_row]
        packet = packets[at_row]
        if packet.payload_bytes == 0 or track.duplicate or packet.flags & 0x04:
            continue
        stream = streams[track.slot]
        if stream.flow != track.flow:
            stream.flow = track.flow
            stream.verdict = TOO_LITTLE
            for side in range(2):
                stream.boundary[side] = 0
                stream.held_at[side] = 0
                stream.held[side] = 0
                stream.sync[side] = FRESH
                stream.counted[side] = 0
                stream.guess[side] = TOO_LITTLE
        way = np.int64(track.from_resp)
        start = track.position
        payload_end = start + np.int64(packet.payload_bytes)
        # Most packets of a transfer lie inside a piece's body.
        if stream.sync[way] == IN and payload_end <= stream.boundary[way] and stream.held[way] == 0:
            continue
        if track.new_bytes == 0 or stream.sync[way] == NOT_DO:
            continue
        at = packet.payload_at
        captured = np.int64(packet.payload_captured)
        if at < 0 or at + captured > size:
            continue
        if count + captured // 4 + 8 > out_messages.shape[0] or shaken + captured // 75 + 2 > out_handshakes.shape[0]:
            out_done[0] = count
            out_done[1] = shaken
            return at_row
        end = at + captured
        # Where the greeting stands at the start of a segment a stream begins, whatever was missed before.
        greeted = captured >= 15
        if greeted:
            for step in range(15):
                if data[at + step] != _GREETING[step]:
                    greeted = False
                    break
        if stream.sync[way] == FRESH or (greeted and stream.sync[way] != IN and stream.held[way] == 0):
            if greeted or (track.from_start and start == 0):
                stream.sync[way] = OPENING
                stream.boundary[way] = start
                stream.held_at[way] = start
                stream.held[way] = 0
            elif track.from_start:
                # Its first bytes were lost or come later; until then nothing can be said from them.
                if start > 0 and start <= ENOUGH:
                    continue
                stream.sync[way] = OUT
            else:
                stream.sync[way] = OUT
        # --- collect the first bytes, until they are a handshake or something else
        if stream.sync[way] == OPENING:
            held = np.int64(stream.held[way])
            skip = stream.held_at[way] + held - start
            if skip < 0:
                stream.sync[way] = OUT  # first bytes lost
                stream.held[way] = 0
            else:
                step = skip
                while step < captured and held < DO_HANDSHAKE_BYTES:
                    stream.carry[way, held] = data[at + step]
                    held += 1
                    step += 1
                stream.held[way] = np.uint8(held)
                if begins_with(stream, way, held, _GREETING, 0, 15):
                    if held < DO_HANDSHAKE_BYTES:
                        if skip + held >= np.int64(packet.payload_bytes) or step >= captured:
                            if captured < np.int64(packet.payload_bytes) and step >= captured:
                                # The capture cut the handshake: that it is DO is still certain from its name.
                                if held >= 15:
                                    if stream.verdict != DO:
                                        verdict_row(stream, packet, track, DO, out_messages, count)
                                        count += 1
                                    stream.sync[way] = IN
                                    stream.boundary[way] = stream.held_at[way] + DO_HANDSHAKE_BYTES
                                    stream.held[way] = 0
                            continue
                        continue
                    if stream.verdict != DO:
                        verdict_row(stream, packet, track, DO, out_messages, count)
                        count += 1
                    row = out_handshakes[shaken]
                    shaken += 1
                    row.flow = track.flow
                    row.ts_ns = packet.ts_ns
                    row.reserved = (np.uint64(carried32(stream, way, 15)) << np.uint64(32)) | np.uint64(
                        carried32(stream, way, 19)
                    )
                    for byte in range(32):
                        row.swarm_hash[byte] = stream.carry[way, 23 + byte]
                    for byte in range(16):
                        row.peer_id[byte] = stream.carry[way, 55 + byte]
                    row.suffix = carried32(stream, way, 71)
                    row.from_resp = track.from_resp
                    message_row(packet, track, stream.held_at[way], KIND_HANDSHAKE, 0, 0, 75, out_messages, count)
                    count += 1
                    stream.sync[way] = IN
                    stream.boundary[way] = stream.held_at[way] + DO_HANDSHAKE_BYTES
                    stream.held[way] = 0
                else:
                    guess = name_protocol(stream, way, held)
                    stream.guess[way] = np.uint8(guess)
                    if guess == TOO_LITTLE and held < ENOUGH:
                        continue
                    # A name beats "opaque", and what was named first stays.
                    if stream.verdict == TOO_LITTLE or (stream.verdict == OPAQUE and guess != OPAQUE):
                        if guess != stream.verdict:
                            verdict_row(stream, packet, track, guess, out_messages, count)
                            count += 1
                    stream.sync[way] = NOT_DO
                    continue
        # --- framing lost, or the capture began in the middle
        if stream.sync[way] == OUT:
            if not plausible(data, at, end):
                continue
            stream.sync[way] = IN
            stream.boundary[way] = start
            stream.held[way] = 0
            if stream.verdict == DO:
                out_weird[AT_RESYNCHRONISED] += 1
        # --- message by message
        while stream.sync[way] == IN:
            held = np.int64(stream.held[way])
            need_at = stream.boundary[way] + held
            if need_at >= payload_end:
                break  # the next header lies beyond this segment
            step = need_at - start
            if step < 0:
                # The bytes we wait for were before this segment: they are lost, or were seen out of order.
                stream.sync[way] = OUT
                stream.held[way] = 0
                break
            if step >= captured:
                # The header lies in this segment but not in the capture.
                stream.sync[way] = OUT
                stream.held[way] = 0
                break
            while step < captured and held < 5:
                stream.carry[way, held] = data[at + step]
                held += 1
                step += 1
                if held == 4 and carried32(stream, way, 0) == 0:
                    break
            if held < 4 or (held == 4 and carried32(stream, way, 0) != 0):
                stream.held[way] = np.uint8(held)
                if step >= captured and captured < np.int64(packet.payload_bytes):
                    stream.sync[way] = OUT
                    stream.held[way] = 0
                break
            length = carried32(stream, way, 0)
            position = stream.boundary[way]
            if length == 0:
                message_row(packet, track, position, KIND_KEEPALIVE, 0, 0, 0, out_messages, count)
                count += 1
                stream.boundary[way] = position + 4
                stream.held[way] = 0
                continue
            kind = np.int64(stream.carry[way, 4])
            if not allowed_length(kind, length):
                stream.sync[way] = OUT
                stream.held[way] = 0
                out_weird[AT_BAD_LENGTH] += 1
                if stream.verdict == DO and stream.counted[way] < CONSISTENT:
                    verdict_row(stream, packet, track, DO_MALFORMED, out_messages, count)
                    count += 1
                break
            whole = min(np.int64(header_bytes(kind)), 4 + length)
            while step < captured and held < whole:
                stream.carry[way, held] = data[at + step]
                held += 1
                step += 1
            if held < whole:
                stream.held[way] = np.uint8(held)
                if captured < np.int64(packet.payload_bytes):
                    stream.sync[way] = OUT
                    stream.held[way] = 0
                break
            index = np.int64(0)
            begin = np.int64(0)
            told = length
            row_kind = kind
            if kind == 7:
                index = carried32(stream, way, 5)
                begin = carried32(stream, way, 9)
                told = length - 9
            elif kind == 6 or kind == 8:
                index = carried32(stream, way, 5)
                begin = carried32(stream, way, 9)
                told = carried32(stream, way, 13)
            elif kind == 4:
                index = carried32(stream, way, 5)
            elif kind == 5:
                body = at + step
                index = bits_set(data, body, min(end, body + length - 1))
                begin = (length - 1) * 8
            elif kind > 8 and kind != 20:
                row_kind = KIND_UNKNOWN
                index = kind
                out_weird[AT_UNKNOWN] += 1
            message_row(packet, track, position, row_kind, index, begin, told, out_messages, count)
            count += 1
            if stream.counted[way] < 255:
                stream.counted[way] += 1
            if stream.counted[way] == CONSISTENT and stream.verdict == TOO_LITTLE:
                verdict_row(stream, packet, track, DO, out_messages, count)
                count += 1
            stream.boundary[way] = position + 4 + length
            stream.held[way] = 0
    out_done[0] = count
    out_done[1] = shaken
    return packets.shape[0]

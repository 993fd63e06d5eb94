"""Frames to TCP packets: Ethernet with up to two VLAN tags, Linux cooked, raw IP; IPv4, IPv6; TCP on the watched port.

Of tunnels, VXLAN, ERSPAN and GRE with IPv4 outside and inside are opened, where nothing about them is odd. Whatever is
not plainly that (other tunnels, extension headers, fragments, other link types) is put on the odd list for the
slow lane, whose docstring (`dissect.py`) defines what a row is; what cannot hold TCP is passed over.
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import BYTES, INT64, INT64S, READONLY_BYTES, Array, inline, kernel, rows
from sensor.schema import TUNNELS, WEIRD_BIT, WEIRDS, Frames, Packets
from sensor.wire import DO_GREETING

_FRAMES = rows(Frames.dtype(), readonly=True)
_PACKETS = rows(Packets.dtype())

BAD_IP_LENGTH = np.uint32(WEIRD_BIT["bad_ip_length"])
TSO_LENGTH = np.uint32(WEIRD_BIT["tso_length"])
CUT_HEADERS = np.uint32(WEIRD_BIT["cut_headers"])
AT_BAD_IP_LENGTH = WEIRDS.index("bad_ip_length")
AT_BAD_TCP_OFFSET = WEIRDS.index("bad_tcp_offset")
AT_CUT_HEADERS = WEIRDS.index("cut_headers")
AT_MDNS = 1 + len(WEIRDS)  # behind the kinds of weird, where there is room: frames that may be mDNS
GRE = TUNNELS.index("gre")
ERSPAN = TUNNELS.index("erspan")
VXLAN = TUNNELS.index("vxlan")
V4_MAPPED = np.uint64(0x0000FFFF00000000)

# Flows away from the watched port in which the handshake was seen: how many they are, how many were forgotten for want
# of room, a bit for each port that one of them had, so that a packet of other traffic costs a look, and buckets of
# hashes, newest first.
_KNOWN = Array(np.dtype(np.uint64))
KNOWN, FORGOTTEN, PORTS_AT, FLOWS_AT, WAYS = 0, 1, 2, 2 + 1024, 4
BUCKETS = 16384
KNOWN_WORDS = FLOWS_AT + BUCKETS * WAYS
_GREETING = np.frombuffer(DO_GREETING, dtype=np.uint8).copy()


@inline()
def be16(data, at):
    """Read two bytes, big-endian, as int64."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@inline()
def be32(data, at):
    """Read four bytes, big-endian, as int64."""
    return (
        (np.int64(data[at]) << 24)
        | (np.int64(data[at + 1]) << 16)
        | (np.int64(data[at + 2]) << 8)
        | np.int64(data[at + 3])
    )


@inline()
def be64(data, at):
    """Read eight bytes, big-endian, as uint64."""
    return (np.uint64(be32(data, at)) << np.uint64(32)) | np.uint64(be32(data, at + 4))


@inline()
def spread(value):
    """Spread the bits of a word (the finalizer of splitmix64)."""
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value


@inline()
def is_greeting(data, at, size):
    """Return whether a payload begins with the name of the protocol; the caller has seen that it lies in `data`."""
    if size < _GREETING.shape[0] or data[at] != _GREETING[0]:
        return False
    for step in range(1, _GREETING.shape[0]):  # noqa: SIM110 - numba knows no generators
        if data[at + step] != _GREETING[step]:
            return False
    return True


@inline()
def has_port(known, port):
    """Return whether a known flow had this port."""
    return (known[PORTS_AT + (port >> 6)] >> np.uint64(port & 63)) & np.uint64(1) != 0


@inline()
def is_known(known, packet, greets):
    """Return whether a packet away from the watched port is of a known flow; the one that greets makes it known."""
    src_port = np.int64(packet.src_port)
    dst_port = np.int64(packet.dst_port)
    if not greets and (known[KNOWN] == 0 or not has_port(known, src_port) or not has_port(known, dst_port)):
        return False
    # The hash must be the same both ways.
    src = spread(spread(packet.src_hi ^ np.uint64(src_port)) ^ packet.src_lo)
    dst = spread(spread(packet.dst_hi ^ np.uint64(dst_port)) ^ packet.dst_lo)
    mark = spread(src + dst) | np.uint64(1)
    bucket = FLOWS_AT + (np.int64(mark >> np.uint64(8)) & (BUCKETS - 1)) * WAYS
    found = -1
    for way in range(WAYS):
        if known[bucket + way] == mark:
            found = way
    if found < 0:
        if not greets:
            return False
        if known[bucket + WAYS - 1] != 0:
            known[FORGOTTEN] += np.uint64(1)
        else:
            known[KNOWN] += np.uint64(1)
        for way in range(WAYS - 1, 0, -1):
            known[bucket + way] = known[bucket + way - 1]
        known[bucket] = mark
        known[PORTS_AT + (src_port >> 6)] |= np.uint64(1) << np.uint64(src_port & 63)
        known[PORTS_AT + (dst_port >> 6)] |= np.uint64(1) << np.uint64(dst_port & 63)
    elif packet.flags & 0x12 == 0x02:
        # A SYN: another connection, which has yet to say what it speaks.
        for way in range(found, WAYS - 1):
            known[bucket + way] = known[bucket + way + 1]
        known[bucket + WAYS - 1] = np.uint64(0)
        known[KNOWN] -= np.uint64(1)
        return False
    return True


@inline()
def is_tunnel(port):
    """Return whether a UDP port is one of those in which the slow lane looks for tunnels."""
    # Most ports of UDP lie outside of these two, and are done with.
    if port < 2152 or port > 8472:
        return False
    return (
        port == 4789
        or port == 8472
        or port == 6081
        or port == 2152
        or port == 3544
        or port == 4754
        or port == 5072
        or port == 6635
    )


@inline()
def find_inside(data, at, end, on_wire):
    """Return where the packet in a plain VXLAN, ERSPAN or GRE packet begins if it is TCP over IPv4; else 0.

    The caller has seen that the header at `at` is captured, and that UDP's is.
    """
    outer = (np.int64(data[at]) & 15) * 4
    total = be16(data, at + 2)
    if outer < 20 or total > on_wire or be16(data, at + 6) & 0x3FFF:
        return np.int64(0)
    inner = at + outer
    if data[at + 9] == 17:
        target = be16(data, inner + 2)
        if target != 4789 and target != 8472:
            return np.int64(0)
        inner += 16
        is_bridged = True
    else:
        if inner + 4 > end:
            return np.int64(0)
        flags = be16(data, inner)
        carried = be16(data, inner + 2)
        if flags & 0x4007:
            return np.int64(0)
        inner += 4 + 4 * ((flags >> 15) + ((flags >> 13) & 1) + ((flags >> 12) & 1))
        if carried == 0x88BE and flags & 0x1000:
            inner += 8
        elif carried != 0x88BE and carried != 0x6558 and carried != 0x0800:
            return np.int64(0)
        is_bridged = carried != 0x0800
    if is_bridged:
        if inner + 14 > end or be16(data, inner + 12) != 0x0800:
            return np.int64(0)
        inner += 14
    if inner + 20 > end or inner + 40 > at + total or data[inner] >> 4 != 4 or data[inner + 9] != 6:
        return np.int64(0)
    return inner


@kernel(_FRAMES, READONLY_BYTES, INT64, _KNOWN, _PACKETS, INT64S, INT64S)
def decode_frames(frames, data, port, known, out_packets, out_odd, out_counts):
    """Decode frames whose bytes lie in `data`.

    Parameters
    ----------
    frames : Frames[F]
    data : uint8[:]
    port : int
        TCP port either side must have; 0 takes all TCP.
    known : uint64[KNOWN_WORDS]
        Flows on other ports whose handshake was seen, which are taken too; uint64[1]: none.
    out_packets : Packets[F]
    out_odd : int64[F]
        Indices of frames for the slow lane.
    out_counts : int64[1 + len(WEIRDS)]
        [0] how many odd frames; then frames that gave no row, by kind of weird (added to).

    Returns
    -------
    int
        How many packets were written.
    """
    size = np.int64(data.shape[0])
    count = 0
    odd = 0
    for at_frame in range(frames.shape[0]):
        frame = frames[at_frame]
        start = frame.at
        captured = np.int64(frame.captured_bytes)
        if start < 0 or start + captured > size:
            captured = max(np.int64(0), size - start) if start >= 0 else np.int64(0)
        end = start + captured
        link = frame.link_type
        vlan = np.int64(0)
        vlan_inner = np.int64(0)
        tunnel = 0
        # --- link layer: find the ethertype and where the network layer starts
        if link == 1:
            if captured < 14:
                out_odd[odd] = at_frame
                odd += 1
                continue
            ethertype = be16(data, start + 12)
            at = start + 14
        elif link == 113:
            if captured < 16:
                out_odd[odd] = at_frame
                odd += 1
                continue
            ethertype = be16(data, start + 14)
            at = start + 16
        elif link == 276:
            if captured < 20:
                out_odd[odd] = at_frame
                odd += 1
                continue
            ethertype = be16(data, start)
            at = start + 20
        elif link == 101 or link == 228 or link == 229:
            if captured < 1:
                out_odd[odd] = at_frame
                odd += 1
                continue
            ethertype = 0x0800 if data[start] >> 4 == 4 else 0x86DD
            at = start
        else:
            out_odd[odd] = at_frame
            odd += 1
            continue
        if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
            if at + 4 > end:
                out_odd[odd] = at_frame
                odd += 1
                continue
            vlan = be16(data, at) & 0xFFF
            ethertype = be16(data, at + 2)
            at += 4
            if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
                if at + 4 > end:
                    out_odd[odd] = at_frame
                    odd += 1
                    continue
                vlan_inner = be16(data, at) & 0xFFF
                ethertype = be16(data, at + 2)
                at += 4
        # --- network layer
        weird = np.uint32(0)
        # What lay on the wire from the network layer on: snaplen does not shorten it.
        on_wire = np.int64(frame.wire_bytes) - (at - start)
        if ethertype == 0x0800:
            if at + 20 > end:
                out_odd[odd] = at_frame
                odd += 1
                continue
            first = np.int64(data[at])
            if first >> 4 != 4:
                out_odd[odd] = at_frame
                odd += 1
                continue
            protocol = data[at + 9]
            if protocol != 6:
                # Protocols that may carry TCP inside: UDP on some ports, IPv4, IPv6, GRE, AH, MPLS.
                inner = np.int64(0)
                if protocol == 17:
                    udp = at + (first & 15) * 4
                    if udp + 8 > end:
                        continue
                    near = be16(data, udp)
                    far = be16(data, udp + 2)
                    if not (is_tunnel(far) or is_tunnel(near)):
                        if (far == 5353 or near == 5353) and out_counts.shape[0] > AT_MDNS:
                            out_counts[AT_MDNS] += 1
                        continue
                    inner = find_inside(data, at, end, on_wire)
                    tunnel = VXLAN
                elif protocol == 47:
                    inner = find_inside(data, at, end, on_wire)
                    # The type of a GRE header lies behind its flags.
                    tunnel = ERSPAN if inner != 0 and be16(data, at + (first & 15) * 4 + 2) == 0x88BE else GRE
                elif protocol != 4 and protocol != 41 and protocol != 51 and protocol != 137:
                    continue
                if inner == 0:
                    out_odd[odd] = at_frame
                    odd += 1
                    continue
                on_wire = at + be16(data, at + 2) - inner
                at = inner
                first = np.int64(data[at])
            if be16(data, at + 6) & 0x3FFF:
                out_odd[odd] = at_frame
                odd += 1
                continue
            header = (first & 15) * 4
            total = be16(data, at + 2)
            if total == 0:
                total = on_wire
                weird |= TSO_LENGTH
            elif total > on_wire:
                total = on_wire
                weird |= BAD_IP_LENGTH
            if header < 20 or total < header + 20:
                out_counts[1 + AT_BAD_IP_LENGTH] += 1
                continue
            tcp = at + header
            elsewhere = tcp + 4 <= end and port != 0 and be16(data, tcp) != port and be16(data, tcp + 2) != port
            if elsewhere and (known.shape[0] < KNOWN_WORDS or tcp + 20 > end):
                continue
            if tcp + 20 > end:
                out_counts[1 + AT_CUT_HEADERS] += 1
                continue
        elif ethertype == 0x86DD:
            if at + 40 > end:
                out_odd[odd] = at_frame
                odd += 1
                continue
            if data[at] >> 4 != 6:
                out_odd[odd] = at_frame
                odd += 1
                continue
            following = data[at + 6]
            if following != 6:
                # Extension headers and what may carry TCP inside.
                if following == 17:
                    if at + 48 <= end:
                        near = be16(data, at + 40)
                        far = be16(data, at + 42)
                        if is_tunnel(far) or is_tunnel(near):
                            out_odd[odd] = at_frame
                            odd += 1
                        elif (far == 5353 or near == 5353) and out_counts.shape[0] > AT_MDNS:
                            out_counts[AT_MDNS] += 1
                elif (
                    following == 0
                    or following == 4
                    or following == 41
                    or following == 43
                    or following == 44
                    or following == 47
                    or following == 51
                    or following == 60
                    or following == 135
                    or following == 137
                    or following == 139
                    or following == 140
                ):
                    out_odd[odd] = at_frame
                    odd += 1
                continue
            header = 40
            total = be16(data, at + 4)
            if total == 0:
                total = on_wire
                weird |= TSO_LENGTH
            else:
                total += 40
                if total > on_wire:
                    total = on_wire
                    weird |= BAD_IP_LENGTH
            if total < 60:
                out_counts[1 + AT_BAD_IP_LENGTH] += 1
                continue
            tcp = at + 40
            elsewhere = tcp + 4 <= end and port != 0 and be16(data, tcp) != port and be16(data, tcp + 2) != port
            if elsewhere and (known.shape[0] < KNOWN_WORDS or tcp + 20 > end):
                continue
            if tcp + 20 > end:
                out_counts[1 + AT_CUT_HEADERS] += 1
                continue
        else:
            # Three and more tags, PPPoE, MPLS, a frame in the frame, LLC lengths: the slow lane looks inside.
            if (
                ethertype == 0x8100
                or ethertype == 0x88A8
                or ethertype == 0x9100
                or ethertype == 0x8864
                or ethertype == 0x8847
                or ethertype == 0x8848
                or ethertype == 0x8909
                or ethertype == 0x8926
                or ethertype == 0x6558
                or ethertype < 0x0600
            ):
                out_odd[odd] = at_frame
                odd += 1
            continue
        # --- TCP
        offset = (np.int64(data[tcp + 12]) >> 4) * 4
        payload = total - header - offset
        payload_at = min(tcp + offset, end)
        greets = False
        if elsewhere:
            if offset < 20 or payload < 0:
                continue
            greets = is_greeting(data, payload_at, min(payload, end - payload_at))
            if not greets and (
                known[KNOWN] == 0 or not has_port(known, be16(data, tcp)) or not has_port(known, be16(data, tcp + 2))
            ):
                continue
        if offset < 20 or payload < 0:
            out_counts[1 + AT_BAD_TCP_OFFSET] += 1
            continue
        if tcp + offset > end:
            weird |= CUT_HEADERS
        packet = out_packets[count]
        packet.ts_ns = frame.ts_ns
        if ethertype == 0x0800:
            packet.src_hi = np.uint64(0)
            packet.src_lo = V4_MAPPED | np.uint64(be32(data, at + 12))
            packet.dst_hi = np.uint64(0)
            packet.dst_lo = V4_MAPPED | np.uint64(be32(data, at + 16))
            packet.ip_id = be16(data, at + 4)
            packet.ttl = data[at + 8]
            packet.ip_version = 4
        else:
            packet.src_hi = be64(data, at + 8)
            packet.src_lo = be64(data, at + 16)
            packet.dst_hi = be64(data, at + 24)
            packet.dst_lo = be64(data, at + 32)
            packet.ip_id = 0
            packet.ttl = data[at + 7]
            packet.ip_version = 6
        flags = data[tcp + 13]
        packet.number = frame.number
        packet.offset = frame.offset
        packet.payload_at = payload_at
        packet.input = frame.input
        packet.wire_bytes = frame.wire_bytes
        packet.ip_bytes = total
        packet.payload_bytes = payload
        packet.payload_captured = min(payload, end - payload_at)
        packet.seq = be32(data, tcp + 4)
        packet.ack = be32(data, tcp + 8) if flags & 0x10 else 0
        packet.weird = weird
        packet.src_port = be16(data, tcp)
        packet.dst_port = be16(data, tcp + 2)
        packet.tcp_checksum = be16(data, tcp + 16)
        packet.tcp_window = be16(data, tcp + 14)
        packet.vlan = vlan
        packet.vlan_inner = vlan_inner
        packet.flags = flags
        packet.tunnel = tunnel
        if elsewhere and not is_known(known, packet, greets):
            continue
        count += 1
    out_counts[0] = odd
    return count


@kernel(_PACKETS, READONLY_BYTES, INT64, _KNOWN, BYTES)
def choose_known(packets, data, port, known, out_chosen):
    """Say which packets are on the watched port, or of a known flow; those that greet make theirs known.

    Parameters
    ----------
    packets : Packets[P]; data : uint8[:]; port : int
    known : uint64[KNOWN_WORDS]
    out_chosen : uint8[P]

    Returns
    -------
    int
        How many are.
    """
    count = 0
    for row in range(packets.shape[0]):
        packet = packets[row]
        chosen = packet.src_port == port or packet.dst_port == port
        if not chosen:
            at = packet.payload_at
            size = np.int64(packet.payload_captured)
            greets = at >= 0 and at + size <= data.shape[0] and is_greeting(data, at, size)
            chosen = is_known(known, packet, greets)
        out_chosen[row] = 1 if chosen else 0
        count += 1 if chosen else 0
    return count


@kernel(_PACKETS, READONLY_BYTES, INT64, BYTES)
def gather_payloads(packets, data, room_at, out_data):
    """Copy the captured payloads of packets from `data` into `out_data` from `room_at` on, and point the packets there.

    Returns
    -------
    int
        Where the copied bytes end.
    """
    at = room_at
    for row in range(packets.shape[0]):
        packet = packets[row]
        length = min(np.int64(packet.payload_captured), np.int64(out_data.shape[0]) - at)
        start = packet.payload_at
        if length < 0 or start < 0 or start + length > data.shape[0]:
            length = np.int64(0)
        for step in range(length):
            out_data[at + step] = data[start + step]
        packet.payload_at = at
        packet.payload_captured = length
        at += length
    return at

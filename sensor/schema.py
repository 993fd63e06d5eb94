"""Every table and column: dtype, unit, meaning, caveat. Frames, files and the manual derive from this page.

Two kinds of table:

* *rows* (`Packets`, `Openings`, …): NumPy structured arrays that the kernels fill; one class here is one dtype.
* *frames* (`ActivityFrame`, `FlowFrame`, …): pandas frames, from `activity.py` to the right.

Time is int64 ns since 1970 UTC. Addresses are 128 bits as two uint64 (`_hi`, `_lo`, big-endian value); IPv4 is
`::ffff:a.b.c.d`. `orig` sent the first SYN, `resp` is the other side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from sensor.policy import Policy

Rows = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as people and programs need to know it."""

    name: str
    dtype: str
    unit: str
    meaning: str


class Table:
    """A table declared as annotated attributes: `name: Annotated[dtype, unit, meaning]`, in order."""

    @classmethod
    @cache
    def columns(cls) -> tuple[Column, ...]:
        """Return the declared columns in order."""
        hints = get_type_hints(cls, include_extras=True)
        found = []
        for name in cls.__annotations__:
            kind, unit, meaning = get_args(hints[name])
            found.append(Column(name, _dtype_name(kind), unit, meaning))
        return tuple(found)

    @classmethod
    def names(cls) -> list[str]:
        """Return the column names in order."""
        return list(cls.__annotations__)

    @classmethod
    @cache
    def dtype(cls) -> np.dtype[np.void]:
        """Return the structured dtype of a rows table (aligned, so that kernels read whole words)."""
        return np.dtype([(c.name, c.dtype) if "[" not in c.dtype else _array(c) for c in cls.columns()], align=True)

    @classmethod
    def empty(cls, rows: int = 0) -> Rows:
        """Return `rows` zeroed rows of this table."""
        return np.zeros(rows, dtype=cls.dtype())


def _dtype_name(kind: Any) -> str:
    literal = get_args(kind)
    return str(literal[0]) if literal else np.dtype(kind).name


def _array(column: Column) -> tuple[str, str, tuple[int, ...]]:
    kind, _, size = column.dtype.partition("[")
    return column.name, kind, (int(size.rstrip("]")),)


# --- enumerations: the code in a rows table is the index here ----------------------------------------------------
SCOPES: Final = ("same_subnet", "same_site", "cross_site", "internet", "unknown")
PEERINGS: Final = ("disabled", "scheduled", "allowed", "unknown")
SCHEDULES: Final = ("open", "closed", "disabled", "allowed", "exempt")
OUTCOMES: Final = ("attempt", "refused", "listener", "established", "transfer")
VERDICTS: Final = (
    "too_little", "do", "do_malformed", "tls", "http", "smb", "ssh", "rdp", "socks", "bittorrent", "dns", "opaque",
)  # fmt: skip
CONN_STATES: Final = (
    "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH",
)  # fmt: skip
END_REASONS: Final = ("closed", "idle", "active", "reused", "evicted", "flushed")
ROLES: Final = ("client", "server", "infrastructure", "unknown", "vpn", "unused")
LEVELS: Final = ("informational", "low", "medium", "high", "critical")
PLACES: Final = frozenset({"first_input", "first_number", "first_offset", "clock_back_ms"})  # differ as files are cut
SPANS: Final = ("hour", "slot", "sensor", "day")

TUNNELS: Final = (
    "none", "ip_in_ip", "mpls", "gre", "erspan", "vxlan", "geneve", "gtp_u", "teredo", "ayiya", "mpls_in_udp",
    "gre_in_udp",
)  # fmt: skip

# Kinds of a message: 0..8 and 20 are the protocol's own ids (wire.py), the rest is ours.
KIND_KEEPALIVE: Final = 250
KIND_UNKNOWN: Final = 251
KIND_HANDSHAKE: Final = 252
KIND_VERDICT: Final = 253
KIND_GAP: Final = 254  # framing was lost at `position` and found again `length` bytes later

# Weird bits of a packet, a flow or a message stream; the counter of each kind has the same name.
WEIRDS: Final = (
    "bad_ip_length",  # the IP total length is shorter than its headers, or longer than the frame on the wire
    "bad_tcp_offset",  # the TCP data offset points outside the segment
    "ip_fragment",  # an IP fragment
    "cut_headers",  # the capture cut the frame inside its headers
    "tso_length",  # the IP total length is 0 (segmentation offload); the frame's length was used
    "holes_merged",  # more holes in a stream than are kept: the oldest was given up
    "time_backwards",  # a packet older than the reorder horizon allows
    "bad_message_length",  # a DO message whose length its id does not allow
    "resynchronised",  # message framing was lost in a gap and found again
    "unknown_message",  # a DO message id that nobody has described
)
WEIRD_BIT: Final = {name: 1 << at for at, name in enumerate(WEIRDS)}


# --- rows: kernels fill these --------------------------------------------------------------------------------------
class Frames(Table):
    """One captured frame: where it lies in the batch's bytes, and when it was seen."""

    ts_ns: Annotated[np.int64, "ns", "capture time"]
    at: Annotated[np.int64, "byte", "start of the link-layer bytes in the batch's data"]
    offset: Annotated[np.int64, "byte", "start of the record in its input (after decompression)"]
    number: Annotated[np.int64, "", "frame number in its input, from 1"]
    captured_bytes: Annotated[np.int32, "byte", "bytes present; never more than lie in the data"]
    wire_bytes: Annotated[np.int32, "byte", "bytes the frame had on the wire"]
    input: Annotated[np.int32, "", "index of the input"]
    link_type: Annotated[np.int32, "", "LINKTYPE_ value"]


class Packets(Table):
    """One TCP packet on the watched port: addresses, accounting lengths, TCP header, where its payload lies."""

    ts_ns: Annotated[np.int64, "ns", "capture time"]
    src_hi: Annotated[np.uint64, "", "source address, upper 64 bits"]
    src_lo: Annotated[np.uint64, "", "source address, lower 64 bits"]
    dst_hi: Annotated[np.uint64, "", "destination address, upper 64 bits"]
    dst_lo: Annotated[np.uint64, "", "destination address, lower 64 bits"]
    number: Annotated[np.int64, "", "frame number in its input, from 1"]
    offset: Annotated[np.int64, "byte", "start of the record in its input"]
    payload_at: Annotated[np.int64, "byte", "start of the TCP payload in the batch's data"]
    input: Annotated[np.int32, "", "index of the input"]
    wire_bytes: Annotated[np.int32, "byte", "frame length on the wire"]
    ip_bytes: Annotated[np.int32, "byte", "IP length from the IP header, so snaplen and padding do not matter"]
    payload_bytes: Annotated[np.int32, "byte", "TCP payload length from the headers"]
    payload_captured: Annotated[np.int32, "byte", "payload bytes present in the data"]
    seq: Annotated[np.uint32, "", "TCP sequence number"]
    ack: Annotated[np.uint32, "", "TCP acknowledgement number (0 without ACK)"]
    weird: Annotated[np.uint32, "bits", "WEIRD_BIT of this packet"]
    src_port: Annotated[np.uint16, "", "TCP source port"]
    dst_port: Annotated[np.uint16, "", "TCP destination port"]
    ip_id: Annotated[np.uint16, "", "IPv4 identification; of an IPv6 fragment the lower half of its, else 0"]
    tcp_checksum: Annotated[np.uint16, "", "as on the wire; never judged, offload leaves it wrong"]
    tcp_window: Annotated[np.uint16, "", "as on the wire, unscaled"]
    vlan: Annotated[np.uint16, "", "outermost VLAN id (0 = untagged)"]
    vlan_inner: Annotated[np.uint16, "", "next VLAN id of a stack (0 = none)"]
    flags: Annotated[np.uint8, "bits", "TCP flags byte"]
    ip_version: Annotated[np.uint8, "", "4 or 6"]
    ttl: Annotated[np.uint8, "", "TTL or hop limit"]
    tunnel: Annotated[np.uint8, "", "outermost tunnel that carried it: index in TUNNELS; not part of the flow"]


class Tracks(Table):
    """What the flow table says of one packet; same order as the packets it was given."""

    flow: Annotated[np.int64, "", "flow number, in order of first packets"]
    connection: Annotated[np.int64, "", "number with which its connection began; a very long one is told in parts"]
    slot: Annotated[np.int64, "", "the flow's place in the table while it lives"]
    position: Annotated[np.int64, "byte", "stream offset of the payload's first byte (0 = first after the SYN)"]
    new_bytes: Annotated[np.int32, "byte", "payload not seen before"]
    from_resp: Annotated[np.uint8, "bool", "1 if the responder sent it"]
    duplicate: Annotated[np.uint8, "bool", "1 if a copy of a packet already seen (double mirror)"]
    from_start: Annotated[np.uint8, "bool", "1 if this direction's SYN was seen, so offset 0 is the true start"]


class Windows(Table):
    """One flow in one window of event time: what the kernels counted."""

    flow: Annotated[np.int64, "", "flow number"]
    flow_start_ns: Annotated[np.int64, "ns", "first packet of the flow"]
    window_start_ns: Annotated[np.int64, "ns", "start of the window"]
    orig_hi: Annotated[np.uint64, "", "originator, upper 64 bits"]
    orig_lo: Annotated[np.uint64, "", "originator, lower 64 bits"]
    resp_hi: Annotated[np.uint64, "", "responder, upper 64 bits"]
    resp_lo: Annotated[np.uint64, "", "responder, lower 64 bits"]
    orig_bytes: Annotated[np.int64, "byte", "IP bytes by the originator"]
    resp_bytes: Annotated[np.int64, "byte", "IP bytes by the responder"]
    orig_payload_bytes: Annotated[np.int64, "byte", "unique TCP payload by the originator"]
    resp_payload_bytes: Annotated[np.int64, "byte", "unique TCP payload by the responder"]
    retransmitted_bytes: Annotated[np.int64, "byte", "payload seen again, both ways"]
    first_number: Annotated[np.int64, "", "frame number of the flow's first packet in this window"]
    first_offset: Annotated[np.int64, "byte", "record offset of that packet"]
    first_ts_ns: Annotated[np.int64, "ns", "time of that packet"]
    last_ts_ns: Annotated[np.int64, "ns", "time of the flow's last packet in this window"]
    first_input: Annotated[np.int32, "", "input of that packet"]
    orig_packets: Annotated[np.int32, "packet", "packets by the originator, without duplicates"]
    resp_packets: Annotated[np.int32, "packet", "packets by the responder, without duplicates"]
    duplicate_packets: Annotated[np.int32, "packet", "copies from a double mirror; in no other counter"]
    syns: Annotated[np.int32, "packet", "SYN without ACK by the originator"]
    syn_acks: Annotated[np.int32, "packet", "SYN+ACK by the responder"]
    resets: Annotated[np.int32, "packet", "RST by either side"]
    fins: Annotated[np.int32, "packet", "FIN by either side"]
    orig_port: Annotated[np.uint16, "", "originator's TCP port"]
    resp_port: Annotated[np.uint16, "", "responder's TCP port"]
    vlan: Annotated[np.uint16, "", "outermost VLAN id of the flow's first packet (0 = untagged)"]
    ip_version: Annotated[np.uint8, "", "4 or 6"]
    role_guessed: Annotated[np.uint8, "bool", "1 if no SYN told who the originator is"]
    established: Annotated[np.uint8, "bool", "1 if by the window's end the connection had been established"]


class Endings(Table):
    """One finished flow: what only its end can tell. Its volumes are the sums of its windows."""

    flow: Annotated[np.int64, "", "flow number"]
    continued_as: Annotated[np.int64, "", "number of the flow that tells the rest of a very long connection; 0: none"]
    start_ns: Annotated[np.int64, "ns", "first packet"]
    end_ns: Annotated[np.int64, "ns", "last packet"]
    orig_hi: Annotated[np.uint64, "", "originator, upper 64 bits"]
    orig_lo: Annotated[np.uint64, "", "originator, lower 64 bits"]
    resp_hi: Annotated[np.uint64, "", "responder, upper 64 bits"]
    resp_lo: Annotated[np.uint64, "", "responder, lower 64 bits"]
    orig_gap_bytes: Annotated[np.int64, "byte", "originator's bytes that were ACKed but never seen"]
    resp_gap_bytes: Annotated[np.int64, "byte", "responder's bytes that were ACKed but never seen"]
    weird: Annotated[np.uint32, "bits", "WEIRD_BIT of the flow and its packets"]
    orig_port: Annotated[np.uint16, "", "originator's TCP port"]
    resp_port: Annotated[np.uint16, "", "responder's TCP port"]
    vlan: Annotated[np.uint16, "", "outermost VLAN id of the first packet"]
    ip_version: Annotated[np.uint8, "", "4 or 6"]
    conn_state: Annotated[np.uint8, "", "index in CONN_STATES"]
    end_reason: Annotated[np.uint8, "", "index in END_REASONS"]
    role_guessed: Annotated[np.uint8, "bool", "1 if no SYN told who the originator is"]


class Messages(Table):
    """One DO message, or a change of a flow's protocol verdict, or a gap in what is understood.

    KIND_VERDICT: `index` is the new verdict; of `do_malformed`, `begin` is the id and `length` the length of the
    message that broke the rules. KIND_GAP: framing was lost at `position` and found again `length` bytes later.
    """

    flow: Annotated[np.int64, "", "flow number"]
    ts_ns: Annotated[np.int64, "ns", "time of the segment that completed its header"]
    position: Annotated[np.int64, "byte", "stream offset of its first byte"]
    index: Annotated[np.int64, "", "piece index, or set bits of a bitfield, or the new verdict"]
    begin: Annotated[np.int64, "byte", "offset in the piece; total bits of a bitfield"]
    length: Annotated[np.int64, "byte", "declared body: piece data, requested length, or the message's length"]
    from_resp: Annotated[np.uint8, "bool", "1 if the responder sent it"]
    kind: Annotated[np.uint8, "", "message id, or KIND_"]


class Handshakes(Table):
    """One DO handshake: the content and the peer it names."""

    flow: Annotated[np.int64, "", "flow number"]
    ts_ns: Annotated[np.int64, "ns", "time of the segment that completed it"]
    reserved: Annotated[np.uint64, "", "the contested 8 bytes, big-endian"]
    swarm_hash: Annotated[Literal["uint8[32]"], "", "the content's name"]
    peer_id: Annotated[Literal["uint8[16]"], "", "GUID in Windows memory order (little-endian fields)"]
    suffix: Annotated[np.uint32, "", "last four bytes; 0 in every public capture"]
    from_resp: Annotated[np.uint8, "bool", "1 if the responder sent it"]


class Datagrams(Table):
    """One UDP datagram on a wanted port."""

    ts_ns: Annotated[np.int64, "ns", "capture time"]
    src_hi: Annotated[np.uint64, "", "source address, upper 64 bits"]
    src_lo: Annotated[np.uint64, "", "source address, lower 64 bits"]
    number: Annotated[np.int64, "", "frame number in its input, from 1"]
    at: Annotated[np.int64, "byte", "start of the UDP payload in the batch's data"]
    length: Annotated[np.int32, "byte", "payload bytes present in the data"]
    input: Annotated[np.int32, "", "index of the input"]


# --- frames: pandas from here on; "category" means one of the enumeration named in the meaning ---------------------
class ActivityFrame(Table):
    """`activity.parquet`: one row per flow per window, judged; by window, then as the flows began."""

    window_start_ns: Annotated[np.int64, "ns", "start of the window"]
    window_s: Annotated[np.int32, "s", "length of the window"]
    community_id: Annotated[Literal["str"], "", "Community ID v1, seed 0"]
    orig_site: Annotated[Literal["category"], "", "site of the originator, or unknown"]
    resp_site: Annotated[Literal["category"], "", "site of the responder, or unknown"]
    scope: Annotated[Literal["category"], "", "SCOPES: how far apart the two sides are"]
    peering: Annotated[Literal["category"], "", "PEERINGS: the stricter mode of the two sites"]
    schedule: Annotated[Literal["category"], "", "SCHEDULES: whether the two sides were open to each other"]
    orig_packets: Annotated[np.int64, "packet", "by the originator"]
    resp_packets: Annotated[np.int64, "packet", "by the responder"]
    orig_bytes: Annotated[np.int64, "byte", "IP bytes by the originator"]
    resp_bytes: Annotated[np.int64, "byte", "IP bytes by the responder"]
    orig_payload_bytes: Annotated[np.int64, "byte", "unique TCP payload by the originator"]
    resp_payload_bytes: Annotated[np.int64, "byte", "unique TCP payload by the responder"]
    retransmitted_bytes: Annotated[np.int64, "byte", "payload seen again"]
    duplicate_packets: Annotated[np.int64, "packet", "copies from a double mirror"]
    orig_pieces: Annotated[np.int64, "message", "piece messages by the originator"]
    resp_pieces: Annotated[np.int64, "message", "piece messages by the responder"]
    orig_piece_bytes: Annotated[np.int64, "byte", "declared by the originator's piece headers"]
    resp_piece_bytes: Annotated[np.int64, "byte", "declared by the responder's piece headers"]
    orig_requests: Annotated[np.int64, "message", "request messages by the originator"]
    resp_requests: Annotated[np.int64, "message", "request messages by the responder"]
    off_window_payload_bytes: Annotated[np.int64, "byte", "unique payload while the sides were not open, not exempt"]
    exempt_payload_bytes: Annotated[np.int64, "byte", "unique payload that an exception excused"]
    outcome: Annotated[Literal["category"], "", "OUTCOMES: the furthest the flow got within this window"]
    verdict: Annotated[
        Literal["category"], "", "VERDICTS: what the flow speaks, as far as was known at the window's end"
    ]
    flow_start_ns: Annotated[np.int64, "ns", "first packet of the flow; with community_id it names the flow"]


class JudgedFrame(Table):
    """What rules of category `activity` see beside the columns of `activity.parquet`; not written to the case."""

    flow: Annotated[np.int64, "", "flow number of this run"]
    orig_ip: Annotated[Literal["str"], "", "originator's address"]
    orig_port: Annotated[np.int64, "", "originator's TCP port"]
    resp_ip: Annotated[Literal["str"], "", "responder's address"]
    resp_port: Annotated[np.int64, "", "responder's TCP port"]
    ip_version: Annotated[np.int64, "", "4 or 6"]
    vlan: Annotated[np.int64, "", "outermost VLAN id (0 = untagged)"]
    site: Annotated[
        Literal["category"], "", "the site it is reported for: the originator's, else the responder's, else unknown"
    ]
    site_pair: Annotated[Literal["category"], "", "the two sites in alphabetical order, as a~b"]
    peers_allowed: Annotated[np.bool_, "", "whether the policy lets this pair peer at all (`peers`)"]
    orig_local: Annotated[np.bool_, "", "originator inside capture.local or a site"]
    resp_local: Annotated[np.bool_, "", "responder inside capture.local or a site"]
    orig_role: Annotated[Literal["category"], "", "ROLES, from the inventory"]
    resp_role: Annotated[Literal["category"], "", "ROLES, from the inventory"]
    orig_known: Annotated[np.bool_, "", "originator is in the inventory and approved (true without an inventory)"]
    resp_known: Annotated[np.bool_, "", "responder is in the inventory and approved (true without an inventory)"]
    payload_bytes: Annotated[np.int64, "byte", "unique payload, both ways"]
    syns: Annotated[np.int64, "packet", "SYN without ACK by the originator"]
    syn_acks: Annotated[np.int64, "packet", "SYN+ACK by the responder"]
    resets: Annotated[np.int64, "packet", "RST by either side"]
    fins: Annotated[np.int64, "packet", "FIN by either side"]
    role_guessed: Annotated[np.bool_, "", "no SYN told who the originator is"]
    exception: Annotated[Literal["str"], "", "id of the exception that matched, or empty"]
    schedule_since_ns: Annotated[np.int64, "ns", "when the schedule state of this pair began (int64 minimum: always)"]
    schedule_next_ns: Annotated[np.int64, "ns", "when it changes next (int64 maximum: never)"]
    first_input: Annotated[np.int64, "", "input of the flow's first packet in this window"]
    first_number: Annotated[np.int64, "", "its frame number"]
    first_offset: Annotated[np.int64, "byte", "its record offset"]
    first_ts_ns: Annotated[np.int64, "ns", "its time"]
    last_ts_ns: Annotated[np.int64, "ns", "time of the flow's last packet in this window"]
    overrun_s: Annotated[np.int64, "s", "since the slot ended in which the flow began; 0 if it began while closed"]
    clock_back_ms: Annotated[
        np.int64, "ms", "how long before it, by the capture's clock, a frame lies that came after it"
    ]
    address_step: Annotated[
        np.int64, "", "how far the responder is above the one that the originator asked before; 0 if far, or not new"
    ]


class FlowFrame(Table):
    """`flows.parquet`: one row per flow, sorted by start_ns, community_id."""

    community_id: Annotated[Literal["str"], "", "Community ID v1, seed 0"]
    start_ns: Annotated[np.int64, "ns", "first packet"]
    end_ns: Annotated[np.int64, "ns", "last packet"]
    ip_version: Annotated[np.int8, "", "4 or 6"]
    vlan: Annotated[np.int32, "", "outermost VLAN id of the first packet (0 = untagged)"]
    orig_ip: Annotated[Literal["str"], "", "sender of the first SYN"]
    orig_port: Annotated[np.int32, "", "its TCP port"]
    resp_ip: Annotated[Literal["str"], "", "the other side"]
    resp_port: Annotated[np.int32, "", "its TCP port"]
    orig_site: Annotated[Literal["category"], "", "site of the originator, or unknown"]
    resp_site: Annotated[Literal["category"], "", "site of the responder, or unknown"]
    scope: Annotated[Literal["category"], "", "SCOPES"]
    conn_state: Annotated[Literal["category"], "", "CONN_STATES, Zeek's words"]
    role_guessed: Annotated[np.bool_, "", "no SYN was seen: the 7680 side is taken as responder"]
    orig_packets: Annotated[np.int64, "packet", "by the originator, without duplicates"]
    resp_packets: Annotated[np.int64, "packet", "by the responder, without duplicates"]
    orig_bytes: Annotated[np.int64, "byte", "IP bytes by the originator"]
    resp_bytes: Annotated[np.int64, "byte", "IP bytes by the responder"]
    orig_payload_bytes: Annotated[np.int64, "byte", "unique TCP payload by the originator"]
    resp_payload_bytes: Annotated[np.int64, "byte", "unique TCP payload by the responder"]
    retransmitted_bytes: Annotated[np.int64, "byte", "payload seen again, both ways"]
    duplicate_packets: Annotated[np.int64, "packet", "copies from a double mirror"]
    orig_gap_bytes: Annotated[np.int64, "byte", "originator's bytes ACKed but never seen"]
    resp_gap_bytes: Annotated[np.int64, "byte", "responder's bytes ACKed but never seen"]
    verdict: Annotated[Literal["category"], "", "VERDICTS: what the flow speaks; never by port"]
    swarm_hash: Annotated[Literal["str"], "", "hex, empty without a handshake"]
    orig_peer_id: Annotated[Literal["str"], "", "UUID text of the originator's GUID, empty without its handshake"]
    resp_peer_id: Annotated[Literal["str"], "", "UUID text of the responder's GUID, empty without its handshake"]
    orig_pieces: Annotated[np.int64, "message", "piece messages by the originator"]
    resp_pieces: Annotated[np.int64, "message", "piece messages by the responder"]
    orig_piece_bytes: Annotated[np.int64, "byte", "declared by piece headers"]
    resp_piece_bytes: Annotated[np.int64, "byte", "declared by piece headers"]
    orig_requests: Annotated[np.int64, "message", "request messages by the originator"]
    resp_requests: Annotated[np.int64, "message", "request messages by the responder"]
    off_window_payload_bytes: Annotated[np.int64, "byte", "unique payload while the sides were not open, not exempt"]
    exempt_payload_bytes: Annotated[np.int64, "byte", "unique payload that an exception excused"]


class JudgedFlowFrame(Table):
    """What rules of category `flow` see beside the columns of `flows.parquet`: one row per flow, when it is over."""

    flow: Annotated[np.int64, "", "flow number of this run"]
    window_start_ns: Annotated[
        np.int64,
        "ns",
        "start of the window in which it could no longer go on: the last packet, and as long as it takes to be sure",
    ]
    window_s: Annotated[np.int32, "s", "length of the window"]
    site: Annotated[
        Literal["category"], "", "the site it is reported for: the originator's, else the responder's, else unknown"
    ]
    site_pair: Annotated[Literal["category"], "", "the two sites in alphabetical order, as a~b"]
    peering: Annotated[Literal["category"], "", "PEERINGS: the stricter mode of the two sites"]
    schedule: Annotated[Literal["category"], "", "SCHEDULES: whether the two sides were open when it began"]
    peers_allowed: Annotated[np.bool_, "", "whether the policy lets this pair peer at all (`peers`)"]
    orig_local: Annotated[np.bool_, "", "originator inside capture.local or a site"]
    resp_local: Annotated[np.bool_, "", "responder inside capture.local or a site"]
    orig_role: Annotated[Literal["category"], "", "ROLES, from the inventory"]
    resp_role: Annotated[Literal["category"], "", "ROLES, from the inventory"]
    orig_known: Annotated[np.bool_, "", "originator is in the inventory and approved (true without an inventory)"]
    resp_known: Annotated[np.bool_, "", "responder is in the inventory and approved (true without an inventory)"]
    exception: Annotated[Literal["str"], "", "id of the exception that matched, or empty"]
    payload_bytes: Annotated[np.int64, "byte", "unique payload, both ways"]
    gap_bytes: Annotated[np.int64, "byte", "ACKed but never seen, both ways"]
    lost_share: Annotated[np.float64, "", "gap_bytes of all payload that there was, 0 to 1"]
    duration_ms: Annotated[np.int64, "ms", "from first to last packet"]
    answered: Annotated[np.bool_, "", "the responder accepted the connection, or sent data"]
    one_sided: Annotated[np.bool_, "", "packets of one direction only, of a connection that was up"]
    evicted: Annotated[np.bool_, "", "ended for want of room in the flow table"]
    orig_handshakes: Annotated[np.int64, "message", "handshakes by the originator"]
    resp_handshakes: Annotated[np.int64, "message", "handshakes by the responder"]
    odd_handshakes: Annotated[
        np.int64, "message", "handshakes that repeat one, name another content than the first, or end in other than 0"
    ]
    unknown_messages: Annotated[np.int64, "message", "messages with an id that nobody has described"]
    continued_as: Annotated[np.int64, "", "number of the flow that tells the rest of a very long connection; 0: none"]
    first_input: Annotated[np.int64, "", "input of its first packet"]
    first_number: Annotated[np.int64, "", "its frame number"]
    first_offset: Annotated[np.int64, "byte", "its record offset"]
    first_ts_ns: Annotated[np.int64, "ns", "its time"]
    last_ts_ns: Annotated[np.int64, "ns", "time of the flow's last packet"]


class SpanFrame(Table):
    """What rules of category `span` see: a site in an hour, slot or day, beside what is usual; and the whole sensor."""

    window_start_ns: Annotated[np.int64, "ns", "start of the hour, slot or day (UTC)"]
    window_s: Annotated[np.int32, "s", "its length"]
    span: Annotated[Literal["category"], "", "SPANS: an hour, slot or day of a site, an hour of the whole sensor"]
    site: Annotated[Literal["category"], "", "the site; unknown for the sensor"]
    payload_bytes: Annotated[np.int64, "byte", "unique payload of update traffic; of all traffic for the sensor"]
    packets: Annotated[np.int64, "packet", "packets of the port"]
    usual_bytes: Annotated[np.int64, "byte", "median of the same hour of the week, or of the slots before"]
    usual_packets: Annotated[np.int64, "packet", "median of the same hour of the week, or of the slots before"]
    share_of_usual: Annotated[np.float64, "", "payload_bytes by usual_bytes; 1 if nothing is usual"]
    deviation: Annotated[
        np.float64, "", "payload_bytes beyond usual_bytes, in median absolute deviations, each a tenth of it at least"
    ]
    history: Annotated[np.int64, "", "how many weeks or slots are behind what is usual"]
    limit_share: Annotated[
        np.float64, "", "payload_bytes by the site's hourly or daily limit; 0 without one, and in a slot"
    ]
    host: Annotated[Literal["str"], "", "of a day: the host of the site that gave most, by piece headers; else empty"]
    host_bytes: Annotated[np.int64, "byte", "of a day: what that host gave"]
    host_share: Annotated[np.float64, "", "of a day: host_bytes by all that hosts of the site gave"]
    hosts: Annotated[np.int64, "", "of a day: hosts of the site that gave or got pieces"]
    sensor_packets: Annotated[np.int64, "packet", "packets of all sites in that time"]
    lost_share: Annotated[
        np.float64, "", "of the payload of flows that were over in that time: acknowledged, but never seen"
    ]
    flow: Annotated[np.int64, "", "always -1: it is about no flow"]
    community_id: Annotated[Literal["str"], "", "always empty"]
    first_input: Annotated[np.int64, "", "always -1"]
    first_number: Annotated[np.int64, "", "always 0"]
    first_offset: Annotated[np.int64, "byte", "always 0"]
    first_ts_ns: Annotated[np.int64, "ns", "start of the hour or slot"]
    last_ts_ns: Annotated[np.int64, "ns", "end of the hour or slot"]


class SwarmFrame(Table):
    """`swarms.parquet`: one row per swarm and peer, sorted by swarm_hash, first_seen_ns, ip, peer_id."""

    swarm_hash: Annotated[Literal["str"], "", "hex: the content's name"]
    ip: Annotated[Literal["str"], "", "the peer's address"]
    peer_id: Annotated[Literal["str"], "", "UUID text of its GUID in this swarm, empty if its handshake was not seen"]
    site: Annotated[Literal["category"], "", "its site, or unknown"]
    first_seen_ns: Annotated[np.int64, "ns", "its first message in this swarm, or to it"]
    last_seen_ns: Annotated[np.int64, "ns", "the last"]
    pieces_total: Annotated[np.int64, "piece", "of the content: an estimate, from bitfields or indexes; 0 unknown"]
    pieces_held_first: Annotated[np.int64, "piece", "in its first bitfield (0 without one)"]
    pieces_held_last: Annotated[np.int64, "piece", "by its bitfields, its haves and what was delivered to it whole"]
    uploaded_bytes: Annotated[np.int64, "byte", "piece data it sent, as declared by piece headers"]
    downloaded_bytes: Annotated[np.int64, "byte", "piece data sent to it"]
    uploaded_off_window_bytes: Annotated[np.int64, "byte", "of uploaded_bytes, what went while the sides were not open"]
    first_seeder: Annotated[np.bool_, "bool", "the first seen to give; if nobody gave, the first that had all"]
    completed_ns: Annotated[np.int64, "ns", "when it was first seen to have all of pieces_total; 0 if it was not"]


class SwarmEdgeFrame(Table):
    """`swarm_edges.parquet`: who gave to whom in a swarm, sorted by swarm_hash, first_ns, from_ip, to_ip."""

    swarm_hash: Annotated[Literal["str"], "", "hex: the content's name"]
    from_ip: Annotated[Literal["str"], "", "who sent the pieces"]
    to_ip: Annotated[Literal["str"], "", "who got them"]
    from_site: Annotated[Literal["category"], "", "site of the sender"]
    to_site: Annotated[Literal["category"], "", "site of the receiver"]
    first_ns: Annotated[np.int64, "ns", "first piece message"]
    last_ns: Annotated[np.int64, "ns", "last piece message"]
    pieces: Annotated[np.int64, "message", "piece messages"]
    piece_bytes: Annotated[np.int64, "byte", "declared by their headers"]
    duplicate_bytes: Annotated[np.int64, "byte", "of these, what the receiver had been sent before"]
    off_window_bytes: Annotated[np.int64, "byte", "of these, what went while the sides were not open"]
    crossed_again: Annotated[np.int64, "message", "piece messages that had crossed between these two sites before"]


class OfferFrame(Table):
    """`offers.parquet`: what hosts announced by mDNS, one row per host, content and time, sorted by since_ns, host."""

    host: Annotated[Literal["str"], "", "the host's name in `_dosvc._tcp.local`"]
    addresses: Annotated[Literal["str"], "", "its addresses, those it announced and those it sent from, by comma"]
    port: Annotated[np.int64, "", "TCP port it says it listens on (0: not said)"]
    content_prefix: Annotated[Literal["str"], "", "hex: the first 12 bytes of a swarm hash"]
    since_ns: Annotated[np.int64, "ns", "first announcement"]
    until_ns: Annotated[np.int64, "ns", "it was withdrawn, or the last announcement ran out"]
    swarm_hash: Annotated[Literal["str"], "", "hex: the swarm on the wire that it joins; empty if none was seen"]


class NameFrame(Table):
    """`names.parquet`: which name an address had, as hosts announced it by mDNS, sorted by ip, since_ns, host."""

    ip: Annotated[Literal["str"], "", "an address that the host announced, or sent from"]
    host: Annotated[Literal["str"], "", "the host's name in `_dosvc._tcp.local`"]
    since_ns: Annotated[np.int64, "ns", "first heard under this name"]
    until_ns: Annotated[np.int64, "ns", "last heard under this name"]


class FindingFrame(Table):
    """One rule's verdict on one subject in one window."""

    rule: Annotated[Literal["str"], "", "the rule's name"]
    title: Annotated[Literal["str"], "", "the rule's title"]
    level: Annotated[Literal["str"], "", "LEVELS"]
    site: Annotated[Literal["str"], "", "site it is reported for"]
    subject: Annotated[Literal["str"], "", "JSON object of the rule's group-by columns, keys sorted"]
    window_start_ns: Annotated[np.int64, "ns", "window whose rows completed it"]
    window_s: Annotated[np.int32, "s", "length of the window"]
    first_ts_ns: Annotated[np.int64, "ns", "first packet of the rows that count for it (within its timespan)"]
    last_ts_ns: Annotated[np.int64, "ns", "last packet of those rows"]
    value: Annotated[np.float64, "", "what the correlation measured (1 for a plain rule)"]
    flows: Annotated[
        Literal["object"], "", "tuple of flow numbers that count for it, ascending, at most 64, new in this window"
    ]
    flow_count: Annotated[np.int64, "flow", "flows that the rule counts for the first time"]
    payload_bytes: Annotated[np.int64, "byte", "unique payload of the rows that it is the first to tell"]
    lost_share: Annotated[np.float64, "", "of the payload of its flows, or of its hour or slot: never seen; 0 unknown"]
    reason: Annotated[Literal["str"], "", "the clauses that matched, in words"]
    evidence: Annotated[Literal["object"], "", "tuple of Evidence: where the flows it tells lie, earliest first"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where one packet of an incident lies: in the case's own pcap, and in the input it came from."""

    flow: int
    community_id: str
    input: int
    number: int
    offset: int
    ts_ns: int


@dataclass(frozen=True, slots=True)
class Incident:
    """Findings with one cause: one rule, one subject, no quiet time between them."""

    id: str
    rule: str
    title: str
    level: str
    state: str
    site: str
    subject: dict[str, str | int]
    first_seen_ns: int
    last_seen_ns: int
    flows: int
    payload_bytes: int
    reason: str
    confidence: float
    attack: tuple[str, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """One capture file as it was read.

    `copy_of` names the input that it is again, byte by byte (then it was not read); `repeated` is how many of its
    packets on the port stand in an earlier input too, and were counted there.
    """

    name: str
    size_bytes: int
    sha256: str
    format: str
    packets: int
    bytes: int
    first_packet_ns: int
    last_packet_ns: int
    link_types: tuple[int, ...]
    drops: int
    damage: str
    copy_of: str = ""
    repeated: int = 0


NOTHING: Final = Input("", 0, "", "", 0, 0, 0, 0, (), 0, "")
"""An input of which nothing was read."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that one analysis found: what every sink reads.

    `flows` has the columns of FlowFrame and `flow`; `activity` those of ActivityFrame and JudgedFrame. `findings`
    counts by rule name, with a 0 for each loaded rule; `weird` counts by kind; `peers` is how many addresses moved
    payload or answered; `policy` is the policy that judged, `rules` maps each rule's file to its SHA-256.
    `swarm_peers`, `swarm_edges`, `offers` and `names` have the columns of SwarmFrame, SwarmEdgeFrame, OfferFrame and
    NameFrame; None where no ledger was kept.
    """

    inputs: tuple[Input, ...]
    policy: Policy
    rules: dict[str, str]
    packets: int
    packets_7680: int
    bytes: int
    payload_bytes: int
    first_packet_ns: int
    last_packet_ns: int
    peers: int
    swarms: int
    flows: pd.DataFrame
    activity: pd.DataFrame
    findings: dict[str, int]
    incidents: tuple[Incident, ...]
    weird: dict[str, int]
    off_window_payload_bytes: dict[str, int]
    swarm_peers: pd.DataFrame | None = None
    swarm_edges: pd.DataFrame | None = None
    offers: pd.DataFrame | None = None
    names: pd.DataFrame | None = None
    chosen: str = ""
    """What was asked for of the packets, in words; empty if it was all of them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that a source hands over at once, and the bytes they lie in (`frames["at"]` counts from `data[0]`)."""

    frames: Rows
    data: Bytes

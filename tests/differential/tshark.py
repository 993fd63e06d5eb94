"""What tshark says of the TCP packets of a capture, row by row and summed by its streams: the second opinion.

tshark is told not to reassemble anything, so each row is one packet; of a tunnel the innermost packet counts. Packets
quoted in ICMP errors and packets inside UDP are left out, as the sensor does.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FIELDS: Final = (
    "frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.protocols", "vlan.id", "ieee8021ad.id",
    "ip.src", "ip.dst", "ip.len", "ip.id", "ip.ttl", "ipv6.src", "ipv6.dst", "ipv6.plen", "ipv6.hlim",
    "tcp.srcport", "tcp.dstport", "tcp.len", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value",
    "tcp.checksum", "tcp.stream",
)  # fmt: skip
PREFERENCES: Final = (
    "ip.defragment:false",
    "ipv6.defragment:false",
    "tcp.desegment_tcp_streams:false",
    "tcp.relative_sequence_numbers:false",
    "tcp.try_heuristic_first:false",
)
ACK: Final = 0x10


class Seen(NamedTuple):
    """One packet in tshark's eyes."""

    number: int
    ts_ns: int
    wire_bytes: int
    vlan: int
    ip_version: int
    src: str
    dst: str
    ip_bytes: int
    ip_id: int
    ttl: int
    src_port: int
    dst_port: int
    payload_bytes: int
    seq: int
    ack: int
    flags: int
    tcp_window: int
    tcp_checksum: int


class Side(NamedTuple):
    """What one side of a stream sent."""

    packets: int
    ip_bytes: int
    payload_bytes: int


Streams = dict[int, dict[tuple[str, int], Side]]


def read(path: Path, port: int = 0) -> tuple[list[Seen], list[int]]:
    """Return the TCP packets on a port (0 for all) and the number of each one's stream.

    Frames whose TCP header tshark could not read whole are left out.
    """
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]
    command += [part for preference in PREFERENCES for part in ("-o", preference)]
    command += [part for field in FIELDS for part in ("-e", field)]
    if port:
        command += ["-d", f"tcp.port=={port},data", "-Y", f"tcp.port == {port}"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    # tshark ends with 2 on a capture that is cut off, having printed what came before; an option it does not
    # know is an error of ours
    assert done.returncode in (0, 2) and "Unknown" not in done.stderr, done.stderr  # noqa: PT018 - one fact
    packets, streams = [], []
    for line in done.stdout.splitlines():
        fields = dict(zip(FIELDS, line.split("\t"), strict=True))
        if is_direct_tcp(fields["frame.protocols"]) and fields["tcp.checksum"] and fields["tcp.len"]:
            packets.append(_seen(fields))
            streams.append(int(_last(fields["tcp.stream"])))
    return packets, streams


def is_direct_tcp(protocols: str) -> bool:
    """Return whether the chain of protocols leads to TCP without ICMP, UDP or another transport in between."""
    above, found, _ = protocols.partition(":tcp")
    return bool(found) and not {"icmp", "icmpv6", "udp", "sctp"} & set(above.split(":"))


def sums(packets: Iterable[Seen], streams: Iterable[int]) -> Streams:
    """Return what each side of each stream sent, by (address, port)."""
    found: Streams = defaultdict(dict)
    for packet, stream in zip(packets, streams, strict=True):
        sides = found[stream]
        for end in ((packet.src, packet.src_port), (packet.dst, packet.dst_port)):
            sides.setdefault(end, Side(0, 0, 0))
        end = (packet.src, packet.src_port)
        was = sides[end]
        sides[end] = Side(was.packets + 1, was.ip_bytes + packet.ip_bytes, was.payload_bytes + packet.payload_bytes)
    return dict(found)


def nanoseconds(text: str) -> int:
    """Turn `1755062504.170808000` into ns, exactly."""
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])


def _seen(fields: dict[str, str]) -> Seen:
    chain = fields["frame.protocols"].partition(":tcp")[0].split(":")
    version = next(int(name == "ipv6") * 2 + 4 for name in reversed(chain) if name in ("ip", "ipv6"))
    family = "ip" if version == 4 else "ipv6"
    flags = int(_last(fields["tcp.flags"]), 16)
    return Seen(
        number=int(fields["frame.number"]),
        ts_ns=nanoseconds(fields["frame.time_epoch"]),
        wire_bytes=int(fields["frame.len"]),
        vlan=_outermost(chain, fields),
        ip_version=version,
        src=_last(fields[f"{family}.src"]),
        dst=_last(fields[f"{family}.dst"]),
        ip_bytes=int(_last(fields["ip.len"])) if version == 4 else 40 + int(_last(fields["ipv6.plen"])),
        ip_id=int(_last(fields["ip.id"]), 16) if version == 4 else 0,
        ttl=int(_last(fields["ip.ttl"] if version == 4 else fields["ipv6.hlim"])),
        src_port=int(_last(fields["tcp.srcport"])),
        dst_port=int(_last(fields["tcp.dstport"])),
        payload_bytes=int(_last(fields["tcp.len"])),
        seq=int(_last(fields["tcp.seq_raw"])),
        ack=int(_last(fields["tcp.ack_raw"])) if flags & ACK else 0,
        flags=flags & 0xFF,
        tcp_window=int(_last(fields["tcp.window_size_value"])),
        tcp_checksum=int(_last(fields["tcp.checksum"]), 16),
    )


def _outermost(chain: list[str], fields: dict[str, str]) -> int:
    tags = {"vlan": fields["vlan.id"], "ieee8021ad": fields["ieee8021ad.id"]}
    first = next((tags[name] for name in chain if name in tags), "")
    return int(first.split(",")[0]) if first else 0


def _last(text: str) -> str:
    return text.rpartition(",")[2]

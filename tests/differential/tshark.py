"""What tshark says of the TCP packets of a capture, row by row and summed by its streams: the second opinion.

tshark is told not to reassemble anything, so each row is one packet; of a tunnel the innermost packet counts. Packets
quoted in ICMP errors are left out, as the sensor does.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections import defaultdict
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FIELDS: Final = (
    "frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.protocols", "vlan.id", "ieee8021ad.id",
    "ip.src", "ip.dst", "ip.len", "ip.id", "ip.ttl", "ipv6.src", "ipv6.dst", "ipv6.plen", "ipv6.hlim",
    "tcp.srcport", "tcp.dstport", "tcp.len", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value",
    "tcp.checksum", "tcp.stream", "frame.encap_type", "ipv6.opt.jumbo", "tcp.payload",
)  # fmt: skip
PREFERENCES: Final = (
    "ip.defragment:false",
    "ipv6.defragment:false",
    "tcp.desegment_tcp_streams:false",
    "tcp.relative_sequence_numbers:false",
    "tcp.try_heuristic_first:false",
)
# VXLAN on the port that Linux used before there was an assigned one.
DECODE_AS: Final = ("udp.port==8472,vxlan",)
UNREADABLE: Final = "unknown or unsupported"
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


class Told(NamedTuple):
    """All that tshark says of a capture: how many frames, and the TCP packets with the number of each one's stream."""

    frames: int
    packets: list[Seen]
    streams: list[int]
    reads_link_type: bool


def read(path: Path, port: int = 0) -> tuple[list[Seen], list[int]]:
    """Return the TCP packets on a port (0 for all) and the number of each one's stream.

    Frames whose TCP header tshark could not read whole are left out.
    """
    narrow = ["-d", f"tcp.port=={port},data", "-Y", f"tcp.port == {port}"] if port else []
    told = _parsed(*_run(path, narrow))
    return told.packets, told.streams


def read_all(path: Path, kept: Path) -> Told:
    """Return all that tshark says of a capture; its answer is kept in a folder, to be asked once only."""
    key = hashlib.sha256(path.read_bytes() + repr((version(), FIELDS, PREFERENCES, DECODE_AS)).encode())
    out, error = (kept / f"{key.hexdigest()[:32]}.{kind}" for kind in ("out", "error"))
    if not (out.exists() and error.exists()):
        for file, text in zip((out, error), _run(path, []), strict=True):
            part = file.with_suffix(f"{file.suffix}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(file)
    return _parsed(out.read_text(encoding="utf-8"), error.read_text(encoding="utf-8"))


@cache
def version() -> str:
    """Return which tshark this is."""
    return subprocess.run(["tshark", "--version"], capture_output=True, check=True, text=True).stdout.splitlines()[0]


def tcpdump(path: Path) -> tuple[int, int]:
    """Return how many frames and TCP segments tcpdump sees: it knows link types that tshark does not."""
    done = subprocess.run(["tcpdump", "-nr", str(path)], capture_output=True, check=True, text=True)
    count = subprocess.run(["tcpdump", "--count", "-r", str(path)], capture_output=True, check=True, text=True)
    return int((count.stdout + count.stderr).split(" packet")[0].split()[-1]), done.stdout.count(": Flags [")


def _run(path: Path, narrow: list[str]) -> tuple[str, str]:
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]
    command += [part for preference in PREFERENCES for part in ("-o", preference)]
    command += [part for field in FIELDS for part in ("-e", field)]
    command += [part for rule in DECODE_AS for part in ("-d", rule)]
    done = subprocess.run([*command, *narrow], capture_output=True, check=False, text=True)
    # tshark ends with 2 on a capture that is cut off, having printed what came before; an option it does not
    # know is an error of ours
    assert done.returncode in (0, 2) and "Unknown" not in done.stderr, done.stderr  # noqa: PT018 - one fact
    return done.stdout, done.stderr


def _parsed(out: str, error: str) -> Told:
    frames, packets, streams = 0, [], []
    for line in out.splitlines():
        fields = dict(zip(FIELDS, line.split("\t"), strict=True))
        # What else lies in a pcapng (a vendor's block, an entry of a journal) has no encapsulation and is no frame.
        frames += bool(fields["frame.encap_type"])
        whole = fields["tcp.checksum"] and (fields["tcp.len"] or fields["tcp.payload"])
        if is_packet(fields["frame.protocols"]) and whole:
            packets.append(_seen(fields))
            streams.append(int(_last(fields["tcp.stream"])))
    return Told(frames, packets, streams, UNREADABLE not in error)


def is_packet(protocols: str) -> bool:
    """Return whether the chain of protocols leads to TCP, and not by way of a packet that ICMP quotes."""
    above, found, _ = protocols.rpartition(":tcp")
    return bool(found) and not {"icmp", "icmpv6", "sctp"} & set(above.split(":"))


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
    chain = fields["frame.protocols"].rpartition(":tcp")[0].split(":")
    version = next(int(name == "ipv6") * 2 + 4 for name in reversed(chain) if name in ("ip", "ipv6"))
    family = "ip" if version == 4 else "ipv6"
    flags = int(_last(fields["tcp.flags"]), 16)
    return Seen(
        number=int(fields["frame.number"]),
        ts_ns=nanoseconds(fields["frame.time_epoch"]),
        wire_bytes=int(fields["frame.len"]),
        vlan=_outermost(chain, fields),
        ip_version=version,
        src=str(ip_address(_last(fields[f"{family}.src"]))),
        dst=str(ip_address(_last(fields[f"{family}.dst"]))),
        ip_bytes=int(_last(fields["ip.len"])) if version == 4 else 40 + _ipv6_payload(fields),
        ip_id=int(_last(fields["ip.id"]), 16) if version == 4 else 0,
        ttl=int(_last(fields["ip.ttl"] if version == 4 else fields["ipv6.hlim"])),
        src_port=int(_last(fields["tcp.srcport"])),
        dst_port=int(_last(fields["tcp.dstport"])),
        # tshark tells no length of a first fragment, but what is there of its payload
        payload_bytes=int(_last(fields["tcp.len"]) or len(fields["tcp.payload"]) // 2),
        seq=int(_last(fields["tcp.seq_raw"])),
        ack=int(_last(fields["tcp.ack_raw"])) if flags & ACK else 0,
        flags=flags & 0xFF,
        tcp_window=int(_last(fields["tcp.window_size_value"])),
        tcp_checksum=int(_last(fields["tcp.checksum"]), 16),
    )


def _ipv6_payload(fields: dict[str, str]) -> int:
    told = int(_last(fields["ipv6.plen"]))
    return told or int(_last(fields["ipv6.opt.jumbo"]) or 0)  # RFC 2675


def _outermost(chain: list[str], fields: dict[str, str]) -> int:
    tags = {"vlan": fields["vlan.id"], "ieee8021ad": fields["ieee8021ad.id"]}
    first = next((tags[name] for name in chain if name in tags), "")
    return int(first.split(",")[0]) if first else 0


def _last(text: str) -> str:
    return text.rpartition(",")[2]

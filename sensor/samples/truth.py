"""What a sensor should say about a sample, counted from what the builder meant and not from the bytes it wrote."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensor.samples.delivery import Talk, peer_id
from sensor.samples.frames import ORIG, RESP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sensor.samples.frames import Link, Segment


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that should fire, and on whom: the columns that the rule groups by, with their values."""

    rule: str
    subject: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return the rule and its subject in words."""
        return f"{self.rule} ({', '.join(f'{key} {value}' for key, value in self.subject)})"


@dataclass(frozen=True, slots=True)
class FlowTruth:
    """One flow; the names are those of `flows.parquet`."""

    start_ns: int
    end_ns: int
    ip_version: int
    vlan: int
    orig_ip: str
    orig_port: int
    resp_ip: str
    resp_port: int
    orig_site: str
    resp_site: str
    conn_state: str
    orig_packets: int
    resp_packets: int
    orig_bytes: int
    resp_bytes: int
    orig_payload_bytes: int
    resp_payload_bytes: int
    retransmitted_bytes: int
    verdict: str
    swarm_hash: str
    orig_peer_id: str
    resp_peer_id: str
    orig_pieces: int
    resp_pieces: int
    orig_piece_bytes: int
    resp_piece_bytes: int
    orig_requests: int
    resp_requests: int
    off_window_payload_bytes: int
    exempt_payload_bytes: int


@dataclass(frozen=True, slots=True)
class Truth:
    """All that is true of one sample. `off_window_payload_bytes` is by the originator's site."""

    packets: int
    bytes: int
    payload_bytes: int
    flows: tuple[FlowTruth, ...]
    findings: tuple[Finding, ...]

    @property
    def off_window_payload_bytes(self) -> dict[str, int]:
        """Sum by site: the originator's, or the responder's if the originator is in none."""
        sums: Counter[str] = Counter()
        for flow in self.flows:
            site = flow.resp_site if flow.orig_site == "unknown" else flow.orig_site
            sums[site] += flow.off_window_payload_bytes
        return {site: count for site, count in sorted(sums.items()) if count}


@dataclass(frozen=True, slots=True)
class Judgement:
    """How the office judges: the site of an address; `open`, `closed` or `exempt` for two addresses at an instant."""

    site: Callable[[str], str]
    state: Callable[[str, str, int], str]


class _Tally:
    """Counters of one flow."""

    def __init__(self) -> None:
        self.packets, self.bytes, self.payload = [0, 0], [0, 0], [0, 0]
        self.again = self.start_ns = self.end_ns = 0
        self.by_state: Counter[str] = Counter()
        self._seen: set[tuple[int, int]] = set()

    def add(self, segment: Segment, state: Callable[[str, str, int], str]) -> None:
        side, size, link = segment.side, segment.payload_bytes, segment.link
        self.start_ns = min(self.start_ns or segment.ts_ns, segment.ts_ns)
        self.end_ns = max(self.end_ns, segment.ts_ns)
        self.packets[side] += 1
        self.bytes[side] += link.ip_header_bytes + 20 + len(segment.options) + size
        if size and (side, segment.seq) in self._seen:
            self.again += size
        elif size:
            self._seen.add((side, segment.seq))
            self.payload[side] += size
            self.by_state[state(link.orig.ip, link.resp.ip, segment.ts_ns)] += size


def count(talks: Iterable[Talk], segments: Iterable[Segment], judgement: Judgement) -> tuple[FlowTruth, ...]:
    """Count every talk's flow, sorted by start."""
    tallies: dict[Link, _Tally] = {}
    for segment in segments:
        tallies.setdefault(segment.link, _Tally()).add(segment, judgement.state)
    flows = [_flow(talk, tallies[talk.tcp.link], judgement) for talk in talks]
    return tuple(sorted(flows, key=lambda flow: (flow.start_ns, flow.orig_ip, flow.orig_port)))


def _flow(talk: Talk, tally: _Tally, judgement: Judgement) -> FlowTruth:
    link, said, content = talk.tcp.link, talk.said, talk.content
    ids = [
        str(peer_id(host, content)) if content and words.handshake else ""
        for host, words in zip((talk.orig, talk.resp), said, strict=True)
    ]
    return FlowTruth(
        start_ns=tally.start_ns,
        end_ns=tally.end_ns,
        ip_version=link.ip_version,
        vlan=link.vlans[0] if link.vlans else 0,
        orig_ip=talk.orig.ip,
        orig_port=link.orig_port,
        resp_ip=talk.resp.ip,
        resp_port=link.resp_port,
        orig_site=judgement.site(talk.orig.ip),
        resp_site=judgement.site(talk.resp.ip),
        conn_state=talk.tcp.state,
        orig_packets=tally.packets[ORIG],
        resp_packets=tally.packets[RESP],
        orig_bytes=tally.bytes[ORIG],
        resp_bytes=tally.bytes[RESP],
        orig_payload_bytes=tally.payload[ORIG],
        resp_payload_bytes=tally.payload[RESP],
        retransmitted_bytes=tally.again,
        verdict=talk.verdict,
        swarm_hash=content.swarm_hash.hex() if content else "",
        orig_peer_id=ids[ORIG],
        resp_peer_id=ids[RESP],
        orig_pieces=said[ORIG].pieces,
        resp_pieces=said[RESP].pieces,
        orig_piece_bytes=said[ORIG].piece_bytes,
        resp_piece_bytes=said[RESP].piece_bytes,
        orig_requests=said[ORIG].requests,
        resp_requests=said[RESP].requests,
        off_window_payload_bytes=tally.by_state["closed"],
        exempt_payload_bytes=tally.by_state["exempt"],
    )

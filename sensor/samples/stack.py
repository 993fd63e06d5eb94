"""An honest little TCP/IP for sample captures: hosts talk, a tape records what a sensor between them would see.

Each conversation is a real one: SYN options, sequence and acknowledgement numbers, an ACK for every second segment or
after the delayed-ACK time, receive windows that grow and are respected, four-packet closes. Time comes from a model
(round-trip time, sending rate) and a seeded generator, so the same story gives the same bytes. What was measured
on public captures of Windows hosts is said beside the number.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sensor import wire
from sensor.samples.frames import NEW_SYN_WINDOW, ORIG, RESP, Link, Segment

if TYPE_CHECKING:
    from sensor.samples.frames import Host

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
DELAYED_ACK_NS: Final = 46 * MS  # 44 to 60 ms between a keep-alive and its ACK in public captures of Windows hosts
SILENT_SYNS_NS: Final = tuple(s * SECOND for s in (0, 1, 3, 7, 15))  # five SYNs to a silent peer, then given up
REFUSED_SYNS_NS: Final = tuple(half * SECOND // 2 for half in range(5))  # five SYNs, each answered by RST
_WINDOW_SHIFT: Final = 8
_WINDOW_MAX: Final = 8192  # 2 MiB, in units of the window scale


@dataclass(frozen=True, slots=True)
class Path:
    """What lies between two hosts.

    `merged` is how many segments the sensor's network card joins into one frame before the capture sees it (generic
    receive offload): 44 times 1460 bytes is the most that an IPv4 length field can hold. 1 is a plain tap.
    """

    rtt_ns: int = 800_000
    bytes_per_s: int = 40_000_000
    vlans: tuple[int, ...] = ()
    merged: int = 1
    port: int = wire.DO_PORT


@dataclass(slots=True)
class Tape:
    """What the sensor sees: segments of all conversations, to be rendered in order of time.

    `quantum_ns` is the clock's resolution: 1000 for files in microseconds.
    """

    seed: str
    quantum_ns: int = 1000
    segments: list[Segment] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the generator from the tape's name."""
        self.rng = random.Random(self.seed)  # noqa: S311 - reproducible samples, no secrets

    def jitter(self, ns: int) -> int:
        """Return `ns` give or take a tenth."""
        return ns * (900 + int(self.rng.random() * 200)) // 1000

    def port(self, host: Host) -> int:
        """Return the host's next ephemeral port; Windows hands them out of 49152 to 65535 in small steps."""
        start = (
            self.ports.get(host.ip) or 49152 + int.from_bytes(sha256((self.seed + host.ip).encode()).digest()[:2]) // 6
        )
        self.ports[host.ip] = start + 1 + int(self.rng.random() * 4)
        return start

    def record(self, segment: Segment) -> None:
        """Keep a segment, at the clock's resolution."""
        self.segments.append(segment._replace(ts_ns=segment.ts_ns - segment.ts_ns % self.quantum_ns))


@dataclass(slots=True)
class _Side:
    """One end's TCP state, with sequence numbers unbounded (masked when sent)."""

    host: Host
    seq: int
    heard: int = 0
    got_bytes: int = 0
    owed: int = 0
    due_ns: int = 0
    spoke_ns: int = 0
    room: int = 0  # the highest sequence number that the peer's window allows
    acks: deque[tuple[int, int]] = field(default_factory=deque)  # (time at the sensor, new `room`) on their way

    def window(self) -> int:
        """Return the scaled receive window: 255 or 257 after the handshake (measured), growing with what arrives."""
        return min((255 if self.host.syn_window == NEW_SYN_WINDOW else 257) + (self.got_bytes >> 9), _WINDOW_MAX)


class Conversation:
    """One TCP connection on a tape. The two ends take turns; whoever speaks has heard all that was said before.

    `now_ns` is the sensor's clock: when the latest data packet passed it.
    """

    def __init__(self, tape: Tape, orig: Host, resp: Host, at_ns: int, path: Path) -> None:
        self.tape, self.path, self.now_ns = tape, path, at_ns
        self.link = Link(orig, resp, tape.port(orig), path.port, path.vlans)
        self._sides = tuple(_Side(host, tape.rng.getrandbits(32)) for host in (orig, resp))
        self._last = ORIG
        self.state = "S0"
        self.mss = 1480 - self.link.ip_header_bytes

    # --- opening and ending ------------------------------------------------------------------------------------------
    def connect(self) -> None:
        """SYN, SYN-ACK, ACK."""
        orig, resp = self._sides
        start = self.now_ns
        self._flag(ORIG, wire.SYN, start)
        self.now_ns = start + self.tape.jitter(self.path.rtt_ns // 2)
        self._flag(RESP, wire.SYN | wire.ACK, self.now_ns)
        self.now_ns += self.tape.jitter(self.path.rtt_ns // 2)
        orig.room, resp.room = orig.seq + resp.host.syn_window, resp.seq + orig.host.syn_window
        self._flag(ORIG, wire.ACK, self.now_ns)
        self.state = "S1"

    def knock(self, offsets_ns: tuple[int, ...] = SILENT_SYNS_NS) -> None:
        """SYNs that nobody answers."""
        self._repeat_syn(offsets_ns, refused=False)

    def be_refused(self, offsets_ns: tuple[int, ...] = REFUSED_SYNS_NS) -> None:
        """SYNs, each answered by RST at once."""
        self._repeat_syn(offsets_ns, refused=True)
        self.state = "REJ"

    def close(self, side: int) -> None:
        """FIN, ACK, FIN, ACK; the first FIN by the given side."""
        self._take_turn(side)
        self._flag(side, wire.FIN | wire.ACK, self.now_ns)
        answer = self.now_ns + self.tape.jitter(self.path.rtt_ns // 2)
        self._flag(1 - side, wire.ACK, answer)
        self._flag(1 - side, wire.FIN | wire.ACK, answer + self.tape.jitter(100_000))
        self.now_ns = answer + self.tape.jitter(self.path.rtt_ns // 2 + 140_000)
        self._flag(side, wire.ACK, self.now_ns)
        self.state = "SF"

    def reset(self, side: int) -> None:
        """RST by the given side."""
        self._take_turn(side)
        self._flag(side, wire.RST | wire.ACK, self.now_ns)
        self.state = "RSTR" if side else "RSTO"

    # --- data --------------------------------------------------------------------------------------------------------
    def idle(self, ns: int) -> None:
        """Let time pass."""
        self.now_ns += ns

    def settle(self) -> None:
        """Send the ACKs that are still owed, when they fall due."""
        for side in (ORIG, RESP):
            if self._sides[side].owed:
                self.now_ns = max(self.now_ns, self._sides[side].due_ns)
                self._acknowledge(side, self._sides[side].due_ns)

    def send(self, side: int, head: bytes, fill: int = 0, *, again_after_ns: int = 0) -> None:
        """Send bytes in segments; with `again_after_ns` the last segment is lost beyond the sensor and sent again."""
        self._take_turn(side)
        size = self.mss * self.path.merged
        total = len(head) + fill
        for at in range(0, total, size):
            part = head[at : at + size]
            length = min(size, total - at)
            last = at + length == total
            lost = bool(last and again_after_ns)
            self._data(side, part, length - len(part), push=last, lost=lost)
            if lost:
                self.now_ns += again_after_ns
                self._sides[side].seq -= length
                self._data(side, part, length - len(part), push=True, lost=False)

    def _data(self, side: int, head: bytes, fill: int, *, push: bool, lost: bool) -> None:
        sender, receiver = self._sides[side], self._sides[1 - side]
        length = len(head) + fill
        self._wait_for_room(side, sender.seq + length)
        self._emit(side, wire.ACK | (wire.PSH if push else 0), self.now_ns, head, fill)
        sender.seq += length
        if not lost:
            receiver.heard, receiver.got_bytes = sender.seq, receiver.got_bytes + length
            receiver.owed += -(-length // self.mss)
            receiver.due_ns = self.now_ns + self.tape.jitter(DELAYED_ACK_NS)
            if receiver.owed > 1:
                self._acknowledge(1 - side, self.now_ns + self.tape.jitter(self.path.rtt_ns // 2))
        self.now_ns += length * SECOND // self.path.bytes_per_s

    def _wait_for_room(self, side: int, end: int) -> None:
        """Hold a segment back until the receiver's window, as the sender knows it by now, has room for it."""
        sender = self._sides[side]
        half = self.path.rtt_ns // 2
        while sender.acks and (sender.acks[0][0] + half <= self.now_ns or sender.room < end):
            seen_ns, room = sender.acks.popleft()
            sender.room = max(sender.room, room)
            self.now_ns = max(self.now_ns, seen_ns + half)
        if sender.room < end:
            peer = self._sides[1 - side]
            self._acknowledge(1 - side, max(peer.due_ns, self.now_ns))
            self._wait_for_room(side, end)

    def _acknowledge(self, side: int, ts_ns: int) -> None:
        """Send a bare ACK."""
        self._emit(side, wire.ACK, ts_ns)

    def _take_turn(self, side: int) -> None:
        """Move the clock to when this side can speak, after any delayed ACK that falls due before."""
        if side != self._last:
            self.now_ns += self.tape.jitter(self.path.rtt_ns // 2 + 150_000)
        else:
            self.now_ns += self.tape.jitter(60_000)
        self._last = side
        self.now_ns = max(self.now_ns, self._sides[side].spoke_ns + 2000)
        for who in (ORIG, RESP):
            if self._sides[who].owed and self._sides[who].due_ns < self.now_ns:
                self._acknowledge(who, self._sides[who].due_ns)

    def _repeat_syn(self, offsets_ns: tuple[int, ...], *, refused: bool) -> None:
        start, first = self.now_ns, self._sides[0].seq
        for offset in offsets_ns:
            self.now_ns = start + offset + int(self.tape.rng.random() * 12 * MS) * bool(offset)
            self._sides[0].seq = first
            self._flag(ORIG, wire.SYN, self.now_ns)
            if refused:
                reset = self.now_ns + self.tape.jitter(self.path.rtt_ns // 2)
                answer = Segment(reset, self.link, RESP, wire.RST | wire.ACK, 0, first + 1 & 0xFFFFFFFF, 0, b"", b"", 0)
                self.tape.record(answer)

    def _flag(self, side: int, flags: int, ts_ns: int) -> None:
        self._emit(side, flags, ts_ns)
        if flags & (wire.SYN | wire.FIN):
            self._sides[side].seq += 1
            self._sides[1 - side].heard = self._sides[side].seq

    def _emit(self, side: int, flags: int, ts_ns: int, head: bytes = b"", fill: int = 0) -> None:
        speaker = self._sides[side]
        ts_ns = speaker.spoke_ns = max(ts_ns, speaker.spoke_ns + 1000)  # jitter never reorders one side's packets
        syn = bool(flags & wire.SYN)
        window = speaker.host.syn_window if syn else 0 if flags & wire.RST else speaker.window()
        ack = speaker.heard & 0xFFFFFFFF if flags & wire.ACK else 0
        # MSS, NOP, window scale 8, NOP, NOP, SACK permitted: every SYN of the public captures
        options = struct.pack(">BBHBBBBBBBB", 2, 4, self.mss, 1, 3, 3, _WINDOW_SHIFT, 1, 1, 4, 2) if syn else b""
        seq = speaker.seq & 0xFFFFFFFF
        self.tape.record(Segment(ts_ns, self.link, side, flags, seq, ack, window, options, head, fill))
        speaker.owed = 0
        if flags & wire.ACK and not syn:
            self._sides[1 - side].acks.append((ts_ns, speaker.heard + (window << _WINDOW_SHIFT)))

"""What two Delivery Optimization peers say to each other on a sample connection, as bytes and as counted truth.

The order is BitTorrent's, as public reverse-engineering notes have it: handshakes, bitfields, interested, unchoke,
request, piece, have. Requests and pieces were never seen in a public capture; that a request names a whole 1 MiB
piece, and that a sender flushes after every message (so that a piece starts a segment), are this file's assumptions.
`Transfer.block_bytes` and `Transfer.flush` turn either off.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from sensor import wire
from sensor.samples.frames import FILL, OLD_SYN_WINDOW, ORIG, RESP, Host
from sensor.samples.stack import MS, Conversation, Path, Tape

if TYPE_CHECKING:
    from collections.abc import Iterable

OLD_FIELD: Final = bytes.fromhex("0000000000100000")  # the contested 8 bytes, as hosts with SYN window 64240 send them
NEW_FIELD: Final = bytes.fromhex("0100000000100000")  # ... and as hosts with SYN window 65535 do


@dataclass(frozen=True, slots=True)
class Content:
    """Something that Windows downloads: its name (ours), and its pieces; the last one may be short."""

    name: str
    pieces: int
    piece_bytes: int = wire.DO_PIECE_SIZE
    last_bytes: int = wire.DO_PIECE_SIZE

    @property
    def swarm_hash(self) -> bytes:
        """32 bytes that name it on the wire."""
        return sha256(self.name.encode()).digest()

    def size(self, piece: int) -> int:
        """Return the length of a piece."""
        return self.last_bytes if piece == self.pieces - 1 else self.piece_bytes


def peer_id(host: Host, content: Content) -> UUID:
    """Return the random-looking GUID that a host uses in one swarm: it differs per swarm, as in public captures."""
    return UUID(bytes=sha256(host.ip.encode() + content.swarm_hash).digest()[:16], version=4)


def handshake(host: Host, content: Content) -> bytes:
    """Return the 75 bytes that open each direction; the GUID is in Windows memory order."""
    field_ = OLD_FIELD if host.syn_window == OLD_SYN_WINDOW else NEW_FIELD
    return wire.DO_GREETING + field_ + content.swarm_hash + peer_id(host, content).bytes_le + bytes(4)


def message(kind: int, body: bytes = b"", more: int = 0) -> bytes:
    """Return length, id and body; `more` bytes of the body follow later."""
    return struct.pack(">IB", 1 + len(body) + more, kind) + body


def bitfield(held: Iterable[int], pieces: int) -> bytes:
    """Return id 5: the highest bit of byte 0 is piece 0, spare bits are 0."""
    bits = bytearray((pieces + 7) // 8)
    for piece in held:
        bits[piece // 8] |= 0x80 >> piece % 8
    return message(wire.BITFIELD, bytes(bits))


KEEPALIVE: Final = bytes(4)


@dataclass(slots=True)
class Said:
    """What one direction said, as the sensor should count it."""

    handshake: bool = False
    pieces: int = 0
    piece_bytes: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One download: which pieces, who gives them, and how both sides talk.

    `had` are pieces that the downloader holds before. `ahead` requests are sent at a time. `block_bytes` cuts pieces
    into blocks; 0 asks for whole pieces. `flush` False lets the sender's TCP join messages. `ending`: who closes, how.
    """

    content: Content
    pieces: range
    uploader: Literal["orig", "resp"] = "resp"
    had: range = range(0)
    ahead: int = 1
    block_bytes: int = 0
    flush: bool = True
    ending: Literal["fin_orig", "fin_resp", "rst_orig", "rst_resp", "open"] = "fin_resp"
    again_after_ns: int = 0  # the handshake is lost once and sent again after this time


@dataclass(slots=True)
class Talk:
    """A connection between two peers, and the truth about it."""

    tape: Tape
    orig: Host
    resp: Host
    at_ns: int
    path: Path = field(default_factory=Path)
    verdict: str = "do"
    content: Content | None = None
    said: tuple[Said, Said] = field(default_factory=lambda: (Said(), Said()))
    tcp: Conversation = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the connection; nothing is sent yet."""
        self.tcp = Conversation(self.tape, self.orig, self.resp, self.at_ns, self.path)

    def greet(self, content: Content, *, answered: bool = True, again_after_ns: int = 0) -> None:
        """Connect and send the handshakes; `answered` False is a responder that has not this content."""
        self.content = content
        self.tcp.connect()
        self.tcp.send(ORIG, handshake(self.orig, content), again_after_ns=again_after_ns)
        self.said[0].handshake = True
        if answered:
            self.tcp.send(RESP, handshake(self.resp, content))
            self.said[1].handshake = True

    def show(self, orig_held: range, resp_held: range) -> None:
        """Exchange bitfields."""
        content = self._content()
        self.tcp.send(ORIG, bitfield(orig_held, content.pieces))
        self.tcp.send(RESP, bitfield(resp_held, content.pieces))

    def keep_alive(self, period_ns: int, times: int, *, resp_after_ns: int) -> None:
        """Each side sends its own keep-alive every period; the responder's comes later by `resp_after_ns`."""
        start = self.tcp.now_ns
        for turn in range(1, times + 1):
            for side in (ORIG, RESP):
                at = start + turn * period_ns + resp_after_ns * side + self.tape.jitter(5 * MS)
                self.tcp.idle(at - self.tcp.now_ns)
                self.tcp.send(side, KEEPALIVE)
        self.tcp.settle()

    def run(self, transfer: Transfer) -> None:
        """Play a whole download, from SYN to its ending."""
        content, up = transfer.content, RESP if transfer.uploader == "resp" else ORIG
        self.greet(content, again_after_ns=transfer.again_after_ns)
        whole = range(content.pieces)
        self.show(*((transfer.had, whole) if up else (whole, transfer.had)))
        self.tcp.send(1 - up, message(wire.INTERESTED))
        self.tcp.send(up, message(wire.UNCHOKE))
        self._download(transfer, up)
        self._end(transfer.ending)

    def _download(self, transfer: Transfer, up: int) -> None:
        blocks = list(_blocks(transfer))
        news = b""  # what the downloader has to tell before it asks again
        for at in range(0, len(blocks), transfer.ahead):
            batch = blocks[at : at + transfer.ahead]
            asked = b"".join(message(wire.REQUEST, struct.pack(">III", *block)) for block in batch)
            self.tcp.send(1 - up, news + asked)
            self.said[1 - up].requests += len(batch)
            self._give(batch, up, flush=transfer.flush)
            done = (piece for piece, begin, length in batch if begin + length == transfer.content.size(piece))
            news = b"".join(message(wire.HAVE, struct.pack(">I", piece)) for piece in done)
        if news:
            self.tcp.send(1 - up, news)

    def _give(self, batch: list[tuple[int, int, int]], up: int, *, flush: bool) -> None:
        joined = b""
        for piece, begin, length in batch:
            head = message(wire.PIECE, struct.pack(">II", piece, begin), more=length)
            if flush:
                self.tcp.send(up, head, length)
            else:
                joined += head + bytes([FILL]) * length
            self.said[up].pieces += 1
            self.said[up].piece_bytes += length
        if joined:
            self.tcp.send(up, joined)

    def _end(self, ending: str) -> None:
        how, _, who = ending.partition("_")
        if how == "fin":
            self.tcp.close(RESP if who == "resp" else ORIG)
        elif how == "rst":
            self.tcp.reset(RESP if who == "resp" else ORIG)
        else:
            self.tcp.settle()

    def _content(self) -> Content:
        if self.content is None:
            raise AssertionError("greet comes first")
        return self.content


def _blocks(transfer: Transfer) -> Iterable[tuple[int, int, int]]:
    for piece in transfer.pieces:
        size = transfer.content.size(piece)
        step = transfer.block_bytes or size
        for begin in range(0, size, step):
            yield piece, begin, min(step, size - begin)

"""The pieces of a content out of captures: what was given, byte by byte, with what is missing and what does not agree.

A piece is put together from everything that was seen of it, whoever gave it and however often. Bytes that were lost or
cut off are gaps. Where two packets gave different bytes for one place, the first stay, and the conflict is told; it is
confirmed if the TCP checksums of both packets are right, because damage on the way would have broken them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from sensor import text
from sensor.checksums import tcp_checksum_is_right
from sensor.errors import Mistake, OperatorError
from sensor.flows import FlowTable
from sensor.inputs import Inputs
from sensor.messages import Heard, MessageReader
from sensor.outfile import outfile
from sensor.reading import Options
from sensor.schema import Handshakes, Messages, Packets, Tracks
from sensor.sources.files import Found, frames_at
from sensor.wire import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sensor.schema import Bytes, Input, Rows

_HEADER: Final = 13  # length, id, index and offset of a piece message stand before its bytes
_OPEN_FILES: Final = 64
_MOST_CONFLICTS: Final = 1000
_MOST_PIECE: Final = 1 << 20  # pieces of a content
_MOST_BYTES: Final = 1 << 31  # of a piece
_NAMED: Final = 16  # digits of a hash that name a folder
_END: Final = 2**63


@dataclass(frozen=True, slots=True)
class Source:
    """A packet that gave bytes: who gave them to whom, and where it lies in the inputs."""

    giver: str
    taker: str
    input: str
    frame: int
    offset: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """One place of a piece that two packets gave different bytes for."""

    piece: int
    begin: int
    bytes: int
    first: Source
    other: Source
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Carved:
    """One piece as far as it was seen; `gaps` are [from, to) without bytes."""

    piece: int
    file: str
    size_bytes: int
    sha256: str
    gaps: tuple[tuple[int, int], ...]
    givers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """All that was seen of a content. `sha256` is that of its pieces in a row, if none has a gap or is missing."""

    swarm_hash: str
    folder: str
    sha256: str
    pieces: tuple[Carved, ...]
    conflicts: tuple[Conflict, ...]
    conflicts_left_out: int
    damage: tuple[str, ...]


@dataclass(slots=True)
class _Piece:
    """What is known of a piece: how long it is said to be, and which packet gave which part; parts do not overlap."""

    size: int = 0
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    givers: set[str] = field(default_factory=set)

    def within(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return the parts that touch [start, end)."""
        at = max(bisect_right(self.parts, (start, _END, 0)) - 1, 0)
        found = []
        while at < len(self.parts) and self.parts[at][0] < end:
            if self.parts[at][1] > start:
                found.append(self.parts[at])
            at += 1
        return found

    def add(self, start: int, end: int, packet: int) -> None:
        """Note who gave a part that nobody gave before."""
        self.parts.insert(bisect_right(self.parts, (start, _END, 0)), (start, end, packet))

    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Return what nobody gave."""
        missing, at = [], 0
        for start, end, _ in self.parts:
            if start > at:
                missing.append((at, start))
            at = max(at, end)
        return (*missing, (at, self.size)) if at < self.size else tuple(missing)


class _Files:
    """The pieces' files, few of them open at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()

    def of(self, piece: int) -> BinaryIO:
        if piece not in self._open:
            path = self.folder / _file(piece)
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[piece] = path.open("r+b" if path.exists() else "w+b")
        self._open.move_to_end(piece)
        return self._open[piece]

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()


@dataclass(frozen=True, slots=True)
class _Step:
    """Packets, their tracks, what was heard in them, and the bytes that their payloads lie in."""

    packets: Rows
    tracks: Rows
    heard: Heard
    data: Bytes


Bodies = dict[tuple[int, int], list[tuple[int, int, int, int]]]
"""By flow and direction, where the bytes of pieces lie in the stream: start, end, piece, offset in the piece."""


def carve(names: Sequence[str], swarm: str, out: Path, options: Options | None = None) -> Content:
    """Write the pieces of a content to `out/<hash>/`, and what is known of them to `carved.json` there.

    Parameters
    ----------
    swarm
        The content's hash, or its first digits.

    Raises
    ------
    OperatorError
        If no input can be read, none speaks of the content, or the folder cannot be written or is there already.
    """
    carving = _Carving(names, options or Options())
    name, bodies = carving.find(swarm.lower())
    target, partial = out / name[:_NAMED], out / f".{name[:_NAMED]}.partial"
    if target.exists():
        raise OperatorError(Mistake(str(target), "is there already", "choose another folder"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        carving.take(bodies, partial)
        content = carving.tell(name, partial)
        with outfile(partial / "carved.json") as file:
            file.write(json.dumps(asdict(content), indent=2, ensure_ascii=False).encode() + b"\n")
        partial.rename(target)
    except OSError as error:
        read = f"cannot be written ({error.strerror or error})"
        raise OperatorError(Mistake(str(out), read, "choose a folder with room that you may write to")) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return content


class _Carving:
    """Two readings of the same packets: the first finds where pieces lie, the second takes them out."""

    def __init__(self, names: Sequence[str], options: Options) -> None:
        self._names, self._options = names, options
        self._inputs: tuple[Input, ...] = ()
        self._pieces: defaultdict[int, _Piece] = defaultdict(_Piece)
        self._packets: list[tuple[int, int, int, str, str]] = []
        self._differing: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._left_out = 0

    def find(self, swarm: str) -> tuple[str, Bodies]:
        """Return the content's whole hash, and where its pieces lie."""
        said, shaken = [Messages.empty()], [Handshakes.empty()]
        for step in self._steps():
            said.append(step.heard.messages[step.heard.messages["kind"] == PIECE])
            shaken.append(step.heard.handshakes)
        handshakes = np.concatenate(shaken)
        hashes = np.array([str(each) for each in text.hexes(handshakes["swarm_hash"])], dtype="U64")
        named = sorted({str(each) for each in hashes if str(each).startswith(swarm)})
        if len(named) != 1:
            seen = ", ".join(sorted({str(each)[:_NAMED] for each in hashes})[:5]) or "none"
            read = f'"{swarm}" names {len(named)} contents' if named else f'"{swarm}" is in no handshake'
            raise OperatorError(Mistake("--swarm", read, f"name one of those that are: {seen}"))
        messages = np.concatenate(said)
        messages = messages[np.isin(messages["flow"], handshakes["flow"][hashes == named[0]])]
        bodies: defaultdict[tuple[int, int], list[tuple[int, int, int, int]]] = defaultdict(list)
        for message in messages[np.argsort(messages["position"], kind="stable")]:
            start, size = int(message["position"]) + _HEADER, int(message["length"])
            piece, begin = int(message["index"]), int(message["begin"])
            if 0 <= piece < _MOST_PIECE and begin >= 0 and size > 0 and begin + size <= _MOST_BYTES:
                bodies[int(message["flow"]), int(message["from_resp"])].append((start, start + size, piece, begin))
                self._pieces[piece].size = max(self._pieces[piece].size, begin + size)
        if not bodies:
            right = "nothing of it was given while the capture ran"
            raise OperatorError(Mistake("--swarm", f"no piece of {named[0][:_NAMED]} was seen", right))
        return named[0], dict(bodies)

    def take(self, bodies: Bodies, folder: Path) -> None:
        """Write every byte of a piece that a packet carries, and note where packets differ."""
        wanted = np.array(sorted({flow for flow, _ in bodies}), dtype=np.int64)
        files = _Files(folder)
        try:
            for step in self._steps():
                tracks = step.tracks
                for at in np.flatnonzero(np.isin(tracks["flow"], wanted) & (step.packets["payload_captured"] > 0)):
                    spans = bodies.get((int(tracks["flow"][at]), int(tracks["from_resp"][at])))
                    if spans:
                        self._one(step, int(at), spans, files)
        finally:
            files.close()

    def tell(self, name: str, folder: Path) -> Content:
        """Return what was carved, with hashes; conflicts are confirmed by reading their packets once more."""
        pieces, whole = [], hashlib.sha256()
        for piece, known in sorted(self._pieces.items()):
            path = folder / _file(piece)
            if known.parts:
                with path.open("r+b") as file:
                    file.truncate(known.size)
            data = path.read_bytes() if known.parts else b""
            gaps = known.gaps()
            digest = "" if gaps else hashlib.sha256(data).hexdigest()
            whole.update(data)
            file_name = path.name if known.parts else ""
            pieces.append(Carved(piece, file_name, known.size, digest, gaps, tuple(sorted(known.givers))))
        is_whole = [each.piece for each in pieces] == list(range(len(pieces))) and not any(each.gaps for each in pieces)
        conflicts = self._conflicts()
        damage = tuple(f"{each.name}: {each.damage}" for each in self._inputs if each.damage)
        digest = whole.hexdigest() if is_whole else ""
        return Content(name, name[:_NAMED], digest, tuple(pieces), conflicts, self._left_out, damage)

    def _steps(self) -> Iterator[_Step]:
        """Follow the inputs once; flows get the same numbers every time."""
        inputs = Inputs(self._names, self._options)
        flows, reader = FlowTable(self._options.flows), MessageReader()
        for portion in inputs.portions():
            packets, data = portion.ordered.packets, portion.ordered.data
            tracks = flows.push(packets)
            yield _Step(packets, tracks, reader.push(packets, data, tracks), data)
            flows.take()
        self._inputs = inputs.read()
        yield _Step(Packets.empty(), Tracks.empty(), reader.settle(None), np.empty(0, dtype=np.uint8))

    def _one(self, step: _Step, at: int, spans: list[tuple[int, int, int, int]], files: _Files) -> None:
        packet = step.packets[at]
        start, size = int(step.tracks["position"][at]), int(packet["payload_captured"])
        payload = step.data[int(packet["payload_at"]) : int(packet["payload_at"]) + size]
        number = -1
        first = max(bisect_right(spans, (start, _END, 0, 0)) - 1, 0)
        for low, high, piece, begin in spans[first:]:
            if low >= start + size:
                break
            if high > start:
                number = self._source(packet) if number < 0 else number
                here, there = max(low, start), min(high, start + size)
                data = payload[here - start : there - start].tobytes()
                self._put((piece, begin + here - low), data, number, files)

    def _put(self, where: tuple[int, int], data: bytes, packet: int, files: _Files) -> None:
        piece, begin = where
        known, file = self._pieces[piece], files.of(piece)
        known.givers.add(self._packets[packet][3])
        at, end = begin, begin + len(data)
        for start, stop, first in [*known.within(begin, end), (end, end, -1)]:
            if at < start:
                file.seek(at)
                file.write(data[at - begin : start - begin])
                known.add(at, start, packet)
            low, high = max(at, start), min(end, stop)
            if low < high:
                file.seek(low)
                self._compare((piece, low), (file.read(high - low), data[low - begin : high - begin]), (first, packet))
            at = max(at, stop)

    def _compare(self, where: tuple[int, int], both: tuple[bytes, bytes], packets: tuple[int, int]) -> None:
        if both[0] == both[1]:
            return
        ones, others = (np.frombuffer(each, dtype=np.uint8) for each in both)
        differing = np.flatnonzero(ones != others)
        span = where[1] + int(differing[0]), where[1] + int(differing[-1]) + 1
        key = where[0], *packets
        if key in self._differing:
            span = min(span[0], self._differing[key][0]), max(span[1], self._differing[key][1])
        elif len(self._differing) >= _MOST_CONFLICTS:
            self._left_out += 1
            return
        self._differing[key] = span

    def _source(self, packet: Rows) -> int:
        src, dst = (
            str(text.addresses(packet[f"{end}_hi"].reshape(1), packet[f"{end}_lo"].reshape(1))[0])
            for end in ("src", "dst")
        )
        self._packets.append((int(packet["input"]), int(packet["number"]), int(packet["offset"]), src, dst))
        return len(self._packets) - 1

    def _conflicts(self) -> tuple[Conflict, ...]:
        wanted: defaultdict[int, set[int]] = defaultdict(set)
        for _, *packets in self._differing:
            for at in packets:
                wanted[self._packets[at][0]].add(self._packets[at][2])
        found = {source: frames_at(self._inputs[source].name, offsets) for source, offsets in wanted.items()}
        told = []
        for (piece, *packets), (start, end) in sorted(self._differing.items()):
            frames = [found[self._packets[at][0]].get(self._packets[at][2]) for at in packets]
            first, other = (self._told(at) for at in packets)
            told.append(Conflict(piece, start, end - start, first, other, all(map(_is_right, frames))))
        return tuple(told)

    def _told(self, at: int) -> Source:
        source, number, offset, giver, taker = self._packets[at]
        return Source(giver, taker, self._inputs[source].name, number, offset)


def _is_right(frame: Found | None) -> bool:
    return frame is not None and tcp_checksum_is_right(frame)


def _file(piece: int) -> str:
    return f"piece_{piece:05}.bin"

"""Capture files to batches of frames: pcap and pcapng, plain (memory-mapped) or compressed (streamed), by magic.

Everything readable is used: a reader stops where the chain of records breaks and says where, and only what was never a
capture is the operator's mistake.
"""

from __future__ import annotations

import glob
import hashlib
import io
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, cast

import numpy as np

from sensor.errors import Damage, Mistake, OperatorError
from sensor.kernels import records
from sensor.schema import Batch, Input
from sensor.sources import chains
from sensor.sources.contents import COMPRESSIONS, Contents, contents

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sensor.schema import Bytes, Rows

BATCH_FRAMES: Final = 262144
STREAM_BYTES: Final = 16 * 1024 * 1024
_RAW_BYTES: Final = 128 * 1024  # of a file before it is decompressed: what stays in a processor's cache
_BEGINNING_BYTES: Final = 256 * 1024  # what orders inputs; some hold no packet in so little, and are read on

_PCAP_VERSION: Final = 2
_ZIP: Final = "a zip archive"
_ZIP_FLAGS_AT: Final = 6
_NAMED: Final = {
    b"snoop\0\0\0": "a Solaris snoop file",
    b"PK\x03\x04": _ZIP,
    b"\x1f\x9d": "a compress (.Z) file",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"RTSS": "a Microsoft Network Monitor 1 file",
    b"GMBU": "a Microsoft Network Monitor 2 file",
    b"XCP\0": "a NetXRay or Windows Sniffer file",
    b"TRSNIFF data": "a DOS Sniffer file",
}
_RIGHT: Final = "give a pcap or pcapng file, plain or compressed with gzip, zstd, lz4, bzip2 or xz"


@dataclass(slots=True)
class Facts:
    """What a reader learned of its input so far."""

    size_bytes: int = 0
    format: str = ""
    position: int = 0
    packets: int = 0
    bytes: int = 0
    first_packet_ns: int = 0
    last_packet_ns: int = 0
    link_types: set[int] = field(default_factory=set)
    drops: int = 0
    damage: Damage | None = None


class Reader:
    """One capture input: `with Reader(path, 0) as reader: for batch in reader.batches(): …`.

    With a TCP port, frames that can say nothing of it may be left out of the batches; the facts tell of all. What is
    compressed may be decompressed ahead, in a thread of its own.
    """

    def __init__(
        self,
        path: Path | str,
        source: int,
        port: int = chains.ALL_FRAMES,
        stream_bytes: int = 0,
        *,
        ahead: bool = False,
    ) -> None:
        self.path = Path(path)
        self._ahead = ahead
        self._stream_bytes = stream_bytes or STREAM_BYTES
        self.name = "stdin" if str(path) == "-" else str(path)
        self.source = source
        self._port = port
        self.facts = Facts()
        self._file: io.BufferedReader | None = None
        self._contents = Contents(regular=False, size_bytes=0)
        self._told = np.zeros(5, dtype=np.int64)

    def __enter__(self) -> Self:
        """Open the input and look at what it is.

        Raises
        ------
        OperatorError
            If it cannot be read, or is no capture.
        """
        try:
            self._file = (
                cast("io.BufferedReader", sys.stdin.buffer)
                if self.name == "stdin"
                else io.BufferedReader(io.FileIO(self.path), min(self._stream_bytes, _RAW_BYTES))
            )
            self._contents = contents(self._file, None if self.name == "stdin" else self.path)
            mistake = _refusal(self.name, self._contents)
        except OSError as error:
            self.__exit__()
            raise OperatorError(Mistake(self.name, f"cannot be read ({error.strerror or error})", _RIGHT)) from None
        if mistake:
            self.__exit__()
            raise OperatorError(mistake)
        self.facts.size_bytes = self._contents.size_bytes
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; the map closes itself when the last batch that lies in it is gone."""
        if self._file is not None and self.name != "stdin":
            self._file.close()
        self._file = self._contents.mapped = self._contents.stream = self._contents.raw = None

    def batches(self) -> Iterator[Batch]:
        """Yield the frames of the input in file order; damage is left in `facts`.

        The frames of a batch are valid until the next one is asked for; its data stays.
        """
        facts, held = self.facts, self._contents
        chain = chains.chain(held.head, self.source, BATCH_FRAMES, self._port)
        facts.format = chain.format + (f" ({held.compression})" if held.compression else "")
        pending, base = np.empty(0, dtype=np.uint8), 0
        held.follow(0)
        for window, room, _ in held.windows(self._stream_bytes, ahead=self._ahead):
            facts.size_bytes = held.size_bytes
            joined = _joined(pending, window, room)
            used = 0
            while True:
                data = joined[used:]
                frames, step, broken = chain.walk(data, base)
                facts.drops = chain.drops
                self._count(frames, chain.passed)
                if len(frames):
                    yield Batch(frames, data)
                used, base = used + step, base + step
                facts.position = base
                held.follow(base)
                if broken:
                    facts.damage = Damage(base, facts.packets, broken)
                    return
                if step == 0:
                    break
            pending = joined[used:]
            if len(pending) > records.MAX_BLOCK + self._stream_bytes:
                facts.damage = Damage(base, facts.packets, "a block of an impossible length")
                return
        if held.broken:
            facts.damage = Damage(facts.size_bytes, facts.packets, held.broken)
        elif len(pending):
            facts.damage = Damage(base, facts.packets, f"a record that is cut off ({len(pending)} bytes are left)")

    @property
    def is_mapped(self) -> bool:
        """Whether the input is a plain file, whose bytes cost no memory of their own."""
        return self._contents.mapped is not None

    @property
    def can_reread(self) -> bool:
        """Whether the input is still there once it has been read."""
        return self.name != "stdin" and self._contents.regular

    def consumed(self) -> int:
        """Return how much of the input was read so far, in bytes of the file as it lies on the disk."""
        if not self._contents.compression or self._file is None or not self._contents.regular:
            return self.facts.position
        return self._contents.consumed()

    def beginning(self) -> tuple[int, bytes]:
        """Return the time of the earliest of the first packets (0 if there is none), and the bytes they stand in."""
        size, begins = _BEGINNING_BYTES, b""
        while True:
            if self._contents.mapped is not None:
                begins = self._contents.mapped[:size]
            else:
                begins += self._contents.read(size - len(begins)).tobytes()
            walk = chains.chain(self._contents.head, self.source, BATCH_FRAMES).walk
            frames, _, broken = walk(np.frombuffer(begins, dtype=np.uint8), 0)
            if len(frames):
                return int(frames["ts_ns"].min()), begins
            if broken or len(begins) < size or size > records.MAX_BLOCK:
                return 0, begins
            size *= 4

    def at(self, offsets: list[int]) -> Iterator[Batch]:
        """Yield batches that hold the frames at some offsets: few and small ones where the format allows it."""
        held = self._contents
        if held.mapped is None or held.head[:4] == chains.PCAPNG_MAGIC:
            yield from self.batches()
            return
        data: Bytes = np.frombuffer(held.mapped, dtype=np.uint8)
        for offset in offsets:
            if offset >= len(data):
                return
            chain = chains.Pcap(held.head, self.source, 1)
            frames, _, _ = chain.walk(data[: offset + records.MAX_CAPTURED + 32], 0, offset)
            if len(frames):
                yield Batch(frames, data)

    def summary(self, sha256: str = "") -> Input:
        """Return what was read, as the case keeps it."""
        facts = self.facts
        return Input(
            name=self.name,
            size_bytes=facts.size_bytes,
            sha256=sha256,
            format=facts.format,
            packets=facts.packets,
            bytes=facts.bytes,
            first_packet_ns=facts.first_packet_ns,
            last_packet_ns=facts.last_packet_ns,
            link_types=tuple(sorted(facts.link_types)),
            drops=facts.drops,
            damage=str(facts.damage) if facts.damage else "",
        )

    def _count(self, frames: Rows, passed: npt.NDArray[np.int64]) -> None:
        """Keep what frames tell: one kernel, because each step in Python would wait for the interpreter anew."""
        facts, told = self.facts, self._told
        if passed[records.PASSED]:
            self._add(passed)
            return
        if not records.sum_up(frames, told):
            return
        low, high = int(told[records.FIRST_NS]), int(told[records.LAST_NS])
        facts.first_packet_ns = low if not facts.packets else min(low, facts.first_packet_ns)
        facts.last_packet_ns = max(high, facts.last_packet_ns)
        facts.packets += len(frames)
        facts.bytes += int(told[records.WIRE_BYTES])
        facts.link_types.add(int(told[records.LINK_TYPE_SEEN]))
        if not told[records.ONE_LINK_TYPE]:
            facts.link_types.update(int(link) for link in np.unique(frames["link_type"]))

    def _add(self, passed: npt.NDArray[np.int64]) -> None:
        """Keep what a walk tells of frames that it passed over; they have the one link type of their file."""
        facts = self.facts
        low, high = int(passed[records.EARLIEST_NS]), int(passed[records.LATEST_NS])
        facts.first_packet_ns = low if not facts.packets else min(low, facts.first_packet_ns)
        facts.last_packet_ns = max(high, facts.last_packet_ns)
        facts.packets += int(passed[records.PASSED])
        facts.bytes += int(passed[records.PASSED_BYTES])
        facts.link_types.add(chains.link_type(self._contents.head))


def _joined(pending: Bytes, window: Bytes, room: int) -> Bytes:
    """Put what is left of the window before in front of this one; it is copied only if there is no room for that."""
    start = room - len(pending)
    if start < 0:
        return np.concatenate([pending, window[room:]])
    if len(pending):
        window[start:room] = pending
    return window[start:]


def _refusal(name: str, held: Contents) -> Mistake | None:
    """Return why contents are no capture."""
    head = held.head
    if head[:4] == chains.PCAPNG_MAGIC:
        return None
    if head[:4] in chains.PCAP_MAGICS:
        if len(head) < chains.PCAP_HEADER_BYTES:
            return Mistake(name, f"is a pcap cut off in its header ({len(head)} bytes)", _RIGHT)
        major, minor = struct.unpack_from(">HH" if chains.PCAP_MAGICS[head[:4]][0] else "<HH", head, 4)
        known = major == _PCAP_VERSION
        return None if known else Mistake(name, f"is a pcap of version {major}.{minor}", "2.x is known")
    if not head:
        empty = held.regular and not held.size_bytes
        return Mistake(name, "is empty (0 bytes)" if empty else held.broken or "holds nothing", _RIGHT)
    named = next((what for magic, what in _NAMED.items() if head.startswith(magic)), "")
    if named == _ZIP and len(head) > _ZIP_FLAGS_AT and head[_ZIP_FLAGS_AT] & 1:
        named = f"{_ZIP} with a password"
    read = f"is {named}, which is not read here" if named else f"is not a capture (it begins with {head[:4].hex(' ')})"
    return Mistake(name, read, _RIGHT)


def looks_like_capture(path: Path) -> bool:
    """Return whether a file begins like a capture or like something compressed."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return False
    return head[:4] in chains.PCAP_MAGICS or head[:4] == chains.PCAPNG_MAGIC or head.startswith(tuple(COMPRESSIONS))


def find(arguments: list[str]) -> list[str]:
    """Turn arguments (files, directories, globs, `-`) into inputs, each once.

    Raises
    ------
    OperatorError
        For each argument that names nothing, or a directory without captures.
    """
    found: dict[str, None] = {}
    mistakes = []
    for argument in arguments:
        if argument == "-":
            found["-"] = None
            continue
        path = Path(argument)
        if path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.is_file() and looks_like_capture(p))
            if not inside:
                mistakes.append(Mistake(argument, "is a directory without captures", _RIGHT))
            found.update(dict.fromkeys(inside))
        elif path.exists() or path.is_symlink():
            found[argument] = None
        elif names := sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207 - an absolute pattern may be given
            found.update(dict.fromkeys(n for n in names if Path(n).is_file()))
        else:
            mistakes.append(Mistake(argument, "does not exist", _RIGHT))
    if mistakes:
        raise OperatorError(*mistakes)
    return list(found)


def sha256(path: str) -> str:
    """Return the SHA-256 of a file, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Found:
    """One frame as it lies in its input."""

    data: bytes
    wire_bytes: int
    link_type: int
    ts_ns: int


def frames_at(name: str, offsets: set[int]) -> dict[int, Found]:
    """Return the frames whose records start at these offsets of an input, as far as they can still be read.

    Standard input cannot be read twice: it gives none. A plain pcap is read where the frames lie; other formats are
    walked up to the last of them.
    """
    found: dict[int, Found] = {}
    if name == "stdin" or not offsets:
        return found
    last = max(offsets)
    try:
        with Reader(name, 0) as reader:
            for batch in reader.at(sorted(offsets)):
                for frame in batch.frames[np.isin(batch.frames["offset"], list(offsets))]:
                    start, size = int(frame["at"]), int(frame["captured_bytes"])
                    found[int(frame["offset"])] = Found(
                        data=batch.data[start : start + size].tobytes(),
                        wire_bytes=int(frame["wire_bytes"]),
                        link_type=int(frame["link_type"]),
                        ts_ns=int(frame["ts_ns"]),
                    )
                if len(batch.frames) and int(batch.frames["offset"][-1]) >= last:
                    break
    except OperatorError:
        return found  # it was readable a moment ago; what it gave until now is what there is
    return found

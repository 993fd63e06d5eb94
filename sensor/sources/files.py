"""Capture files to batches of frames: pcap and pcapng, plain (memory-mapped) or compressed (streamed), by magic.

Everything readable is used: a reader stops where the chain of records breaks and says where, and only what was never a
capture is the operator's mistake.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import lzma
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np

from sensor.errors import Damage, Mistake, OperatorError
from sensor.kernels import records
from sensor.schema import Batch, Bytes, Frames, Input, Rows

BATCH_FRAMES: Final = 32768
STREAM_BYTES: Final = 8 * 1024 * 1024
_BEHIND: Final = 64 * 1024 * 1024  # of a mapped file; older pages can be read again if a held packet needs them
MAX_INTERFACES: Final = 1 << 20  # per section; each costs 40 bytes here

_PCAP_MAGICS: Final = {
    # first four bytes: big-endian?, ns per unit, record header bytes
    b"\xd4\xc3\xb2\xa1": (False, 1000, 16),
    b"\xa1\xb2\xc3\xd4": (True, 1000, 16),
    b"\x4d\x3c\xb2\xa1": (False, 1, 16),
    b"\xa1\xb2\x3c\x4d": (True, 1, 16),
    b"\x34\xcd\xb2\xa1": (False, 1000, 24),  # the modified format of patched libpcaps of the 1990s
    b"\xa1\xb2\xcd\x34": (True, 1000, 24),
}
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_COMPRESSIONS: Final = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
}
_NAMED: Final = {
    b"snoop\0\0\0": "a Solaris snoop file",
    b"PK\x03\x04": "a zip archive",
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


class _Chain(Protocol):
    """The records of one capture format, walked through successive windows of bytes."""

    format: str
    drops: int

    def walk(self, data: Bytes, base: int) -> tuple[Rows, int, str]:
        """Return frames, bytes of `data` used up, and why no further walk can help ("" = more bytes may)."""
        ...


class _Pcap:
    """A classic pcap: one header, then records."""

    def __init__(self, head: bytes, source: int) -> None:
        self._big, self._tick_ns, self._header = _PCAP_MAGICS[head[:4]]
        # The upper bits of the link type hold FCS facts and a class; the type is the lower 16.
        self._link = struct.unpack_from(">I" if self._big else "<I", head, 20)[0] & 0xFFFF
        self._source = source
        self._cursor = np.zeros(5, dtype=np.int64)
        self._started = False
        self._out = Frames.empty(BATCH_FRAMES)
        self.format = "pcap" if self._tick_ns == 1000 else "pcap (ns)"
        self.drops = 0

    def walk(self, data: Bytes, base: int, start: int = 0, room: int = BATCH_FRAMES) -> tuple[Rows, int, str]:
        """Walk the records that lie whole in `data` from `start` on; the first walk begins after the file header."""
        cursor = self._cursor
        cursor[records.POSITION] = start if self._started or start else 24
        self._started = True
        out = self._out[:room]
        count = records.walk_pcap(
            data, base, self._big, self._tick_ns, self._header, self._link, self._source, cursor, out
        )
        broken = "a record that cannot be (its captured length is impossible)"
        return out[:count], int(cursor[records.POSITION]), broken if cursor[records.STOP] == records.BAD_LENGTH else ""


class _Pcapng:
    """A pcapng: sections of blocks, each section with its byte order and its interfaces."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._cursor = np.zeros(5, dtype=np.int64)
        self._interfaces = np.zeros((16, 5), dtype=np.int64)
        self._known = 0
        self._big = False
        self._in_section = False
        self._out = Frames.empty(BATCH_FRAMES)
        self.format = "pcapng"
        self.drops = 0

    def walk(self, data: Bytes, base: int) -> tuple[Rows, int, str]:
        """Walk the blocks that lie whole in `data`."""
        cursor = self._cursor
        cursor[records.POSITION] = 0
        out = self._out
        count = 0
        while True:
            if self._in_section:
                cursor[records.INTERFACES] = self._known
                count += records.walk_pcapng(data, base, self._big, self._interfaces, self._source, cursor, out[count:])
                if cursor[records.STOP] == records.BAD_LENGTH:
                    return out[:count], int(cursor[records.POSITION]), "a block that cannot be"
                if cursor[records.STOP] != records.OTHER_BLOCK:
                    return out[:count], int(cursor[records.POSITION]), ""
            at = int(cursor[records.POSITION])
            used, broken = self._block(data, at)
            if not used or broken:
                return out[:count], at, broken
            cursor[records.POSITION] = at + used

    def _block(self, data: Bytes, at: int) -> tuple[int, str]:
        """Read a section header, an interface description or interface statistics; 0 means it is not whole yet."""
        if len(data) - at < 28 and len(data) - at < 12:
            return 0, ""
        head = data[at : at + 12].tobytes()
        big = self._big
        if head[:4] == _PCAPNG_MAGIC:
            order = head[8:12]
            if order not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                return 0, "a section header without a byte order"
            big = order == b"\x1a\x2b\x3c\x4d"
        elif not self._in_section:
            return 0, "a block before any section header"
        mark = ">" if big else "<"
        length = struct.unpack_from(mark + "I", head, 4)[0]
        if length < 12 or length > records.MAX_BLOCK:
            return 0, "a block of an impossible length"
        if at + length > len(data):
            return 0, ""
        body = data[at : at + length].tobytes()
        if struct.unpack_from(mark + "I", body, length - 4)[0] != length:
            return 0, "a block whose two lengths differ"
        kind = struct.unpack_from(mark + "I", body, 0)[0]
        if kind == struct.unpack(mark + "I", _PCAPNG_MAGIC)[0]:
            if length < 28:
                return 0, "a section header that is too short"
            major, minor = struct.unpack_from(mark + "HH", body, 12)
            if major != 1 or minor not in (0, 2):
                return 0, f"a section of pcapng version {major}.{minor}, where 1.0 is known"
            self._big, self._in_section, self._known = big, True, 0
        elif kind == 1:
            if length < 20:
                return 0, "an interface description that is too short"
            self._interface(body, mark)
            if self._known > MAX_INTERFACES:
                return 0, "more interfaces than a section can have"
        else:
            self.drops += _dropped(body, mark)
        return length, ""

    def _interface(self, body: bytes, mark: str) -> None:
        link, _, snaplen = struct.unpack_from(mark + "HHI", body, 8)
        units, binary, offset = 6, 0, 0
        for code, value in _options(body, 16, mark):
            if code == 9 and value:
                units, binary = value[0] & 0x7F, value[0] >> 7
            elif code == 14 and len(value) >= 8:
                offset = struct.unpack(mark + "q", value[:8])[0]
        # An offset beyond a century is nonsense, and must not overflow what is added to it.
        offset_ns = max(-(2**61), min(2**61, offset * 1_000_000_000))
        if self._known == len(self._interfaces):
            self._interfaces = np.concatenate([self._interfaces, np.zeros_like(self._interfaces)])
        self._interfaces[self._known] = (link, units, offset_ns, binary, snaplen)
        self._known += 1


def _options(body: bytes, at: int, mark: str) -> Iterator[tuple[int, bytes]]:
    """Yield the options of a pcapng block, as far as they are whole."""
    end = len(body) - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(mark + "HH", body, at)
        if code == 0 or at + 4 + length > end:
            return
        yield code, body[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def _dropped(body: bytes, mark: str) -> int:
    """Return how many packets an interface statistics block says were lost before the file."""
    lost = 0
    if len(body) >= 24:
        for code, value in _options(body, 20, mark):
            if code in (5, 7) and len(value) == 8:  # isb_ifdrop, isb_osdrop
                lost += int(struct.unpack(mark + "Q", value)[0])
    return lost


class Reader:
    """One capture input: `with Reader(path, 0) as reader: for batch in reader.batches(): …`."""

    def __init__(self, path: Path | str, source: int) -> None:
        self.path = Path(path)
        self.name = "stdin" if str(path) == "-" else str(path)
        self.source = source
        self.facts = Facts()
        self._file: BufferedReader | None = None
        self._stream: Any = None
        self._map: mmap.mmap | None = None
        self._head = b""
        self._forgotten = 0

    def __enter__(self) -> Reader:
        try:
            self._file = _standard_input() if self.name == "stdin" else self.path.open("rb", buffering=STREAM_BYTES)
            status = os.fstat(self._file.fileno())
            if _is_directory(status.st_mode):
                raise OperatorError(Mistake(self.name, "is a directory", _RIGHT))
            self.facts.size_bytes = status.st_size if self.name != "stdin" else 0
            self._open(status)
        except OSError as error:
            self.__exit__()
            raise OperatorError(Mistake(self.name, f"cannot be read ({error.strerror or error})", _RIGHT)) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self.name != "stdin":
            self._file.close()
        # The map closes itself when the last batch that lies in it is gone.
        self._file, self._map, self._stream = None, None, None

    def batches(self) -> Iterator[Batch]:
        """Yield the frames of the input in file order; damage is left in `facts`.

        The frames of a batch are valid until the next one is asked for; its data stays.
        """
        chain: _Chain = _Pcapng(self.source) if self._head[:4] == _PCAPNG_MAGIC else _Pcap(self._head, self.source)
        self.facts.format = chain.format + (f" {self.facts.format}" if self.facts.format else "")
        windows = self._windows_of_map() if self._map is not None else self._windows_of_stream()
        pending, base = b"", 0
        for window, whole in windows:
            joined = window if not pending else np.frombuffer(pending + window.tobytes(), dtype=np.uint8)
            used = 0
            while True:
                data = joined[used:]
                frames, step, broken = chain.walk(data, base)
                self.facts.drops = chain.drops
                if len(frames):
                    self._count(frames)
                    yield Batch(frames, data)
                used, base = used + step, base + step
                self.facts.position = base
                self._forget(base)
                if broken:
                    self.facts.damage = Damage(self.name, base, self.facts.packets, broken)
                    return
                if len(frames) < BATCH_FRAMES:
                    break
            pending = joined[used:].tobytes() if not whole or used < len(joined) else b""
            if len(pending) > records.MAX_BLOCK + STREAM_BYTES:
                self.facts.damage = Damage(self.name, base, self.facts.packets, "a block of an impossible length")
                return
        if pending and self.facts.damage is None:
            what = f"a record that is cut off ({len(pending)} bytes are left)"
            self.facts.damage = Damage(self.name, base, self.facts.packets, what)

    def at(self, offsets: list[int]) -> Iterator[Batch]:
        """Yield batches that hold the frames at some offsets: few and small ones where the format allows it."""
        if self._map is None or self._head[:4] == _PCAPNG_MAGIC:
            yield from self.batches()
            return
        data = np.frombuffer(self._map, dtype=np.uint8)
        for offset in offsets:
            chain = _Pcap(self._head, self.source)
            if offset >= len(data):
                return
            frames, _, _ = chain.walk(data[: offset + records.MAX_CAPTURED + 32], 0, offset, room=1)
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

    def _open(self, status: os.stat_result) -> None:
        assert self._file is not None
        regular = (status.st_mode & 0o170000) == 0o100000
        if regular and status.st_size == 0:
            raise OperatorError(Mistake(self.name, "is empty (0 bytes)", _RIGHT))
        buffered = self._file
        head = buffered.peek(32)[:32]
        for magic, kind in _COMPRESSIONS.items():
            if head.startswith(magic):
                self.facts.format = f"({kind})"
                self._stream = _decompressed(buffered, kind)
                break
        else:
            if regular:
                self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
                head = self._map[:32]
            else:
                self._stream = buffered
        if self._stream is not None:
            head = self._first(32)
        self._check(head)
        self._head = head[:24]

    def _first(self, size: int) -> bytes:
        """Read the first bytes of a stream and put them back in front of it."""
        stream = self._stream
        head = b""
        while len(head) < size:
            part = self._read(stream, size - len(head))
            if not part:
                break
            head += part
        self._stream = _Rejoined(head, stream)
        return head

    def _read(self, stream: Any, size: int) -> bytes:
        """Read from a stream; a broken compression ends it, and is noted."""
        try:
            return bytes(stream.read(size))
        except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
            what = f"a compressed stream that is broken ({error})"
            self.facts.damage = Damage(self.name, self.facts.size_bytes, self.facts.packets, what)
            return b""

    def _check(self, head: bytes) -> None:
        if head[:4] in _PCAP_MAGICS:
            if len(head) < 24:
                raise OperatorError(Mistake(self.name, f"is a pcap cut off in its header ({len(head)} bytes)", _RIGHT))
            mark = ">" if _PCAP_MAGICS[head[:4]][0] else "<"
            major, minor = struct.unpack_from(mark + "HH", head, 4)
            if major != 2:
                raise OperatorError(Mistake(self.name, f"is a pcap of version {major}.{minor}", "2.x is known"))
            return
        if head[:4] == _PCAPNG_MAGIC:
            return
        if not head:
            damage = self.facts.damage
            raise OperatorError(Mistake(self.name, damage.what if damage else "holds nothing", _RIGHT))
        for magic, what in _NAMED.items():
            if head.startswith(magic):
                raise OperatorError(Mistake(self.name, f"is {what}, which is not read here", _RIGHT))
        raise OperatorError(Mistake(self.name, f"is not a capture (it begins with {head[:4].hex(' ')})", _RIGHT))

    def _windows_of_map(self) -> Iterator[tuple[Bytes, bool]]:
        assert self._map is not None
        yield np.frombuffer(self._map, dtype=np.uint8), True

    def _forget(self, position: int) -> None:
        """Give pages far behind the reader back: what is resident must not grow with the file."""
        if self._map is not None and position - self._forgotten > 2 * _BEHIND:
            until = (position - _BEHIND) // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._forgotten, until - self._forgotten)
            self._forgotten = until

    def _windows_of_stream(self) -> Iterator[tuple[Bytes, bool]]:
        while part := self._read(self._stream, STREAM_BYTES):
            if self.facts.size_bytes == 0 or self.name == "stdin":
                self.facts.size_bytes += len(part)
            yield np.frombuffer(part, dtype=np.uint8), False

    def _count(self, frames: Rows) -> None:
        facts, times = self.facts, frames["ts_ns"]
        low, high = int(times.min()), int(times.max())
        facts.first_packet_ns = low if not facts.packets else min(low, facts.first_packet_ns)
        facts.last_packet_ns = max(high, facts.last_packet_ns)
        facts.packets += len(frames)
        facts.bytes += int(frames["wire_bytes"].sum(dtype=np.int64))
        facts.link_types.update(int(link) for link in np.unique(frames["link_type"]))


class _Rejoined:
    """A stream with its first bytes put back."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; b"" is the end."""
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return bytes(self._rest.read(size))


def _decompressed(raw: Any, kind: str) -> Any:
    if kind == "gz":
        return gzip.GzipFile(fileobj=raw)
    if kind == "bz2":
        return bz2.BZ2File(raw)
    if kind == "xz":
        return lzma.LZMAFile(raw)
    import pyarrow as pa  # heavy, and only these two formats need it

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd" if kind == "zst" else "lz4")


def _standard_input() -> BufferedReader:
    return cast(BufferedReader, sys.stdin.buffer)


def _is_directory(mode: int) -> bool:
    return (mode & 0o170000) == 0o040000


def looks_like_capture(path: Path) -> bool:
    """Return whether a file begins like a capture or like something compressed."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return False
    return head[:4] in _PCAP_MAGICS or head[:4] == _PCAPNG_MAGIC or any(head.startswith(m) for m in _COMPRESSIONS)


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

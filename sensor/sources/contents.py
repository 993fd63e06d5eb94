"""The bytes of one input: a plain file is mapped, a pipe is streamed, and so is what is compressed (known by magic)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import os
import stat
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sensor.schema import Bytes

COMPRESSIONS: Final = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
}
_BY_ARROW: Final = {"zst": "zstd", "lz4": "lz4"}
_HEAD_BYTES: Final = 32  # enough for every magic and for a pcap's header
# Of a stream that breaks, no more than this is lost; what was decompressed before is used.
_PORTION_BYTES: Final = 64 * 1024
# Who reads in larger portions asks for the interpreter less often, which at the start is busy importing; where these
# break, what is whole is read again in small ones.
_LARGE_BYTES: Final = 8 * 1024 * 1024
# Free bytes before a window of a stream: there goes what was left of the one before, a record at most.
_ROOM_BYTES: Final = 512 * 1024
_PATIENCE_S: Final = 1.0
_BREAKS: Final = (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError, MemoryError)
_FAR_BEHIND: Final = 512 * 1024 * 1024
_BEHIND: Final = 32 * 1024 * 1024  # of a mapped file; older pages can be read again if a held packet needs them


@dataclass(slots=True)
class Contents:
    """What an input holds, after decompression: its first bytes, and the rest as windows."""

    regular: bool
    size_bytes: int
    compression: str = ""
    head: bytes = b""
    broken: str = ""
    """Why a stream ended before its end, or empty."""
    mapped: mmap.mmap | None = None
    stream: Any = None
    raw: Any = None
    """What a compressed file is read from."""
    portion_bytes: int = _PORTION_BYTES
    _given: int = 0
    _before: Any = None
    _forgotten: int = 0
    _gone: int = 0

    def windows(self, step: int, *, ahead: bool = False) -> Iterator[tuple[Bytes, int, bool]]:
        """Yield windows of the input: bytes, how many of them in front are free, and whether they are all there are.

        Parameters
        ----------
        step : int
            The size of a window, in bytes; a plain file is one window.
        ahead : bool
            Decompress the next windows in a thread of its own while this one is looked at.
        """
        if self.mapped is not None:
            yield np.frombuffer(self.mapped, dtype=np.uint8), 0, True
            return
        parts = _Ahead(self, step) if ahead and self.compression else None
        try:
            while len(part := parts.read() if parts is not None else self.read(step, _ROOM_BYTES)) > _ROOM_BYTES:
                if not self.regular:
                    self.size_bytes += len(part) - _ROOM_BYTES
                yield part, _ROOM_BYTES, False
        finally:
            if parts is not None:
                parts.stop()

    def read(self, size: int, room_bytes: int = 0) -> Bytes:
        """Read `size` bytes of the stream, or what is left, behind so many free ones.

        A broken compression ends the stream, and is noted.
        """
        if self.broken:
            # What is broken is not asked again: bz2 would raise another error.
            return np.empty(room_bytes, dtype=np.uint8)
        room = np.empty(room_bytes + size, dtype=np.uint8)
        view, filled = room.data, room_bytes
        while True:
            try:
                while count := self.stream.readinto(view[filled : filled + self.portion_bytes]):
                    filled += count
                    self._given += count
                return room[:filled]
            except _BREAKS as error:
                if self.portion_bytes == _PORTION_BYTES or not self._again():
                    self.broken = f"a compressed stream that is broken ({error})"
                    return room[:filled]

    def _again(self) -> bool:
        """Stand where the last whole portion ended, to go on in small ones; return whether that can be done."""
        self.portion_bytes = _PORTION_BYTES
        passed, room = 0, memoryview(bytearray(_PORTION_BYTES))
        try:
            self.raw.seek(0)
            self._before = self.stream  # when it goes, it closes the file
            self.stream = _Rejoined(b"", _decompressed(self.raw, self.compression))
            while passed < self._given:
                count = self.stream.readinto(room[: self._given - passed])
                if not count:
                    return False
                passed += count
        except _BREAKS:
            return False
        return True

    def consumed(self) -> int:
        """Return how far a file was read, in bytes as they lie on the disk."""
        return int(self.raw.tell()) if self.raw is not None else 0

    def follow(self, position: int) -> None:
        """Give pages far behind the reader back: what is resident must not grow with the file."""
        if self.mapped is None:
            return
        self._forgotten = self._forget(self._forgotten, position - _BEHIND)
        # Whoever follows the packets looks back at payloads, and so makes pages resident again; these go for good.
        self._gone = self._forget(self._gone, position - _FAR_BEHIND)

    def _forget(self, start: int, end: int) -> int:
        """Give the pages between two places back, once they are worth it; returns up to where."""
        if self.mapped is None or end - start <= _BEHIND:
            return start
        end = end // mmap.PAGESIZE * mmap.PAGESIZE
        self.mapped.madvise(mmap.MADV_DONTNEED, start, end - start)
        return end


class _Ahead(threading.Thread):
    """Windows of a stream that are read before they are asked for; decompressing releases the interpreter."""

    def __init__(self, held: Contents, step: int) -> None:
        super().__init__(name="decompress", daemon=True)
        self._held, self._step = held, step
        self._made: Waiting[Bytes] = Waiting(0)  # one is read ahead, beside the one that is looked at
        self.start()

    def run(self) -> None:
        """Read on until the stream ends or nobody wants it any more."""
        while len(part := self._held.read(self._step, _ROOM_BYTES)) > _ROOM_BYTES:
            if not self._made.put(part, len(part)):
                return
        self._made.put(None, 0)

    def read(self) -> Bytes:
        """Return the next window; one without bytes is the end."""
        part = self._made.get()
        return np.empty(0, dtype=np.uint8) if part is None else part

    def stop(self) -> None:
        """End the thread, but do not wait for ever: a disk may hang."""
        self._made.give_up()
        self.join(_PATIENCE_S)


def contents(file: io.BufferedReader, path: Path | None = None) -> Contents:
    """Return the contents of an open file, or of a pipe of which nothing was read yet.

    Parameters
    ----------
    file : io.BufferedReader
    path : Path, optional
        Where it lies; what is read from there without Python in between is read faster.

    Raises
    ------
    OSError
        If it is a directory, or cannot be read.
    """
    status = os.fstat(file.fileno())
    regular = stat.S_ISREG(status.st_mode)
    held = Contents(regular, status.st_size if regular else 0)
    if regular and not status.st_size:
        return held
    # A pipe may give its first bytes one by one: they are waited for, and put back.
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES] if regular else file.read(_HEAD_BYTES)
    raw = file if regular else _Rejoined(head, file)
    held.compression = next((kind for magic, kind in COMPRESSIONS.items() if head.startswith(magic)), "")
    if held.compression:
        held.raw = file if regular else None
        if regular and path is not None and held.compression in _BY_ARROW:
            held.raw = raw = _file(path)
        inside = _decompressed(raw, held.compression)
        held.stream = _Rejoined(b"", inside)
        head = held.read(_HEAD_BYTES).tobytes()
        held.stream, held._given = _Rejoined(head, inside), 0  # noqa: SLF001 - the head is given again
        if regular and held.compression in _BY_ARROW:
            held.portion_bytes = _LARGE_BYTES
    elif regular:
        held.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        head = held.mapped[:_HEAD_BYTES]
    else:
        held.stream = raw
    held.head = head
    return held


class _Rejoined(io.RawIOBase):
    """A stream with its first bytes put back; it gives what has come and does not wait for more."""

    def __init__(self, head: bytes, rest: Any) -> None:
        super().__init__()
        self._head = head
        self._rest = getattr(rest, "readinto1", rest.readinto)

    def readable(self) -> bool:
        """Return that it is one to read."""
        return True

    def readinto(self, room: Any) -> int:
        """Fill a buffer from its front, and return how far; 0 is the end."""
        if not self._head:
            return int(self._rest(room))
        part, self._head = self._head[: len(room)], self._head[len(room) :]
        room[: len(part)] = part
        return len(part)


def _decompressed(raw: Any, kind: str) -> Any:
    if kind == "gz":
        return gzip.GzipFile(fileobj=raw)
    if kind == "bz2":
        return bz2.BZ2File(raw)
    if kind == "xz":
        return lzma.LZMAFile(raw)
    import pyarrow as pa  # heavy, and only these two formats need it

    source = raw if isinstance(raw, pa.NativeFile) else pa.PythonFile(raw, mode="r")
    return pa.CompressedInputStream(source, _BY_ARROW[kind])


def _file(path: Path) -> Any:
    import pyarrow as pa

    return pa.OSFile(str(path), "r")

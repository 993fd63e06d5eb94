"""The bytes of one input: a plain file is mapped, a pipe is streamed, and so is what is compressed (known by magic)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import os
import stat
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor.schema import Bytes

COMPRESSIONS: Final = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
}
_HEAD_BYTES: Final = 32  # enough for every magic and for a pcap's header
# Of a stream that breaks, no more than this is lost; what was decompressed before is used.
_PORTION_BYTES: Final = 64 * 1024
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
    _forgotten: int = 0
    _gone: int = 0

    def windows(self, step: int) -> Iterator[tuple[Bytes, bool]]:
        """Yield bytes, of a stream at most `step` at once, and whether they are all there are."""
        if self.mapped is not None:
            yield np.frombuffer(self.mapped, dtype=np.uint8), True
            return
        while len(part := self.read(step)):
            if not self.regular:
                self.size_bytes += len(part)
            yield part, False

    def read(self, size: int) -> Bytes:
        """Read `size` bytes of the stream, or what is left; a broken compression ends it, and is noted."""
        if self.broken:
            return np.empty(0, dtype=np.uint8)  # what is broken is not asked again: bz2 would raise another error
        room = np.empty(size, dtype=np.uint8)
        view, filled = room.data, 0
        try:
            while count := self.stream.readinto(view[filled : filled + _PORTION_BYTES]):
                filled += count
        except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError, MemoryError) as error:
            self.broken = f"a compressed stream that is broken ({error})"
        return room[:filled]

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


def contents(file: io.BufferedReader) -> Contents:
    """Return the contents of an open file, or of a pipe of which nothing was read yet.

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
        inside = _decompressed(raw, held.compression)
        held.stream = _Rejoined(b"", inside)
        head = held.read(_HEAD_BYTES).tobytes()
        held.stream = _Rejoined(head, inside)
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

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd" if kind == "zst" else "lz4")

"""What was decoded of inputs, kept beside a case until it is whole, so that an interrupted run need not begin again.

An input is one file, there only once it is complete, and never larger than the input itself. It is believed only if
the input has not changed since, the run asks for the same, and every number in it can be.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np

from sensor import __version__
from sensor.announcements import Announced
from sensor.reading import Part
from sensor.schema import WEIRDS, Input, Packets

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sensor.reading import Options, Reading

FOLDER: Final = ".decoded"
_MAGIC: Final = b"swarmtap decoded 1\n"
_PART: Final = struct.Struct("<4sqqqq")  # mark, front, bytes of packets, of data, of announcements
_MOST_BYTES: Final = 1 << 31  # of one part
_FEW_BYTES: Final = 1 << 20  # that may be kept whatever the input's size


class _BadError(Exception):
    """A kept file that cannot be what was written."""


class Keeping:
    """The inputs that are kept in a folder.

    Parameters
    ----------
    folder : Path
    options : Options
        What is asked for; what was kept for another question is not used.
    """

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.kept = 0
        """How many inputs are complete there."""
        self._asked = (
            __version__, options.port, options.mdns, options.since_ns, options.until_ns, options.hashes, options.asked,
        )  # fmt: skip
        if not options.resume:
            shutil.rmtree(folder, ignore_errors=True)
        for left in folder.glob("*.partial"):
            left.unlink(missing_ok=True)

    def find(self, name: str, source: int) -> KeptReading | None:
        """Return the input if it is kept."""
        path = self._path(name)
        if path is None or not path.is_file():
            return None
        try:
            found = KeptReading(path, source)
        except (OSError, _BadError):
            path.unlink(missing_ok=True)
            return None
        self.kept += 1
        return found

    def keep(self, name: str, reading: Reading) -> Iterator[Part]:
        """Yield a reading's parts, and keep them once all have come; where there is no room, nothing is kept."""
        path = self._path(name)
        file = _open(path) if path is not None else None
        if path is None or file is None:
            yield from reading.parts()
            return
        most_bytes = Path(name).stat().st_size + _FEW_BYTES
        try:
            for part in reading.parts():
                if file is not None and not _put(file, part, most_bytes):
                    file.close()
                    file = None
                yield part
            if file is not None and _finish(file, reading):
                file.close()
                with suppress(OSError):
                    path.with_suffix(".partial").replace(path)
                    self.kept += 1
        finally:
            if file is not None:
                file.close()
            path.with_suffix(".partial").unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path | None:
        """Return where an input is kept: the name tells which input, in which state, and what was asked of it."""
        try:
            status = Path(name).stat()
            told = repr((str(Path(name).resolve()), status.st_size, status.st_mtime_ns, *self._asked))
        except OSError:
            return None
        return self.folder / f"{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.parts"


class KeptReading:
    """An input that was kept.

    Raises
    ------
    _BadError
        If the file is not what was written.
    """

    def __init__(self, path: Path, source: int) -> None:
        self._path = path
        self._source = source
        self.done_bytes = 0
        self.weird: npt.NDArray[np.int64] = np.zeros(len(WEIRDS), dtype=np.int64)
        # All of it is looked at before any of it is used.
        last: Any = {}
        for each in self._read():
            last = each
        try:
            told = last["input"]
            self._facts = Input(**(told | {"link_types": tuple(told["link_types"])}))
            self.weird += np.array(last["weird"], dtype=np.int64)
        except (TypeError, KeyError, ValueError) as error:
            raise _BadError from error

    def __enter__(self) -> Self:
        """Do nothing: each reading of it opens the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def parts(self) -> Iterator[Part]:
        """Yield what was kept."""
        for each in self._read():
            if isinstance(each, Part):
                yield each
        self.done_bytes = self._facts.size_bytes

    def summary(self) -> Input:
        """Return what was read of the input."""
        return self._facts

    def _read(self) -> Iterator[Part | dict[str, Any]]:
        with self._path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise _BadError
            while True:
                mark, front_ns, *sizes = _PART.unpack(_exactly(file, _PART.size))
                if mark == b"DONE":
                    yield _json(_exactly(file, sizes[0]))
                    return
                yield self._part(file, front_ns, sizes)

    def _part(self, file: BinaryIO, front_ns: int, sizes: list[int]) -> Part:
        raw, data, told = (_exactly(file, size) for size in sizes)
        if len(raw) % Packets.dtype().itemsize:
            raise _BadError
        packets = np.frombuffer(raw, dtype=Packets.dtype()).copy()
        packets["input"] = self._source
        start, size = packets["payload_at"], packets["payload_captured"].astype(np.int64)
        # Kernels read where these say.
        if bool(((start < 0) | (size < 0) | (start > len(data)) | (size > len(data) - start)).any()):
            raise _BadError
        try:
            announced = tuple(Announced(int(t), int(n), str(s), bytes.fromhex(m)) for t, n, s, m in _json(told))
        except (TypeError, ValueError) as error:
            raise _BadError from error
        return Part(packets, np.frombuffer(data, dtype=np.uint8), front_ns, announced)


def _exactly(file: BinaryIO, size: int) -> bytes:
    found = file.read(size) if 0 <= size <= _MOST_BYTES else b""
    if len(found) != size:
        raise _BadError
    return found


def _json(told: bytes) -> Any:
    try:
        return json.loads(told)
    except (ValueError, RecursionError) as error:
        raise _BadError from error


def _open(path: Path | None) -> BinaryIO | None:
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_suffix(".partial").open("wb")
        file.write(_MAGIC)
    except OSError:
        return None
    return file


def _put(file: BinaryIO, part: Part, most_bytes: int) -> bool:
    """Write a part; False if it would be too much, or there is no room."""
    small = part.compact()
    told = json.dumps([[a.ts_ns, a.number, a.source, a.message.hex()] for a in part.announced]).encode()
    sizes = small.packets.nbytes, small.data.nbytes, len(told)
    if file.tell() + sum(sizes) > most_bytes or max(sizes) > _MOST_BYTES:
        return False
    try:
        file.write(_PART.pack(b"PART", part.front_ns, *sizes))
        file.write(small.packets.tobytes())
        file.write(small.data.tobytes())
        file.write(told)
    except OSError:
        return False
    return True


def _finish(file: BinaryIO, reading: Reading) -> bool:
    told = json.dumps({"input": asdict(reading.summary()), "weird": reading.weird.tolist()}).encode()
    try:
        file.write(_PART.pack(b"DONE", 0, len(told), 0, 0) + told)
        file.flush()
    except OSError:
        return False
    return True

"""The EVE file of a running sensor: one line per record, appended; opened anew when it was rotated.

Alerts are on disk when they count as delivered. Flows and statistics are written as they come and may be lost when the
disk fails or the sensor is killed; what waits for the disk is bounded.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sensor.schema import Incident
    from sensor.store import Parcel

MOST_BYTES: Final = 64 << 20


class EveFile:
    """Lines appended to a file.

    Parameters
    ----------
    path
        The file; made if it is not there, never made shorter.
    owner
        User and group that a new file is given to, for the time after privileges are dropped.
    """

    name = "eve"

    def __init__(self, path: Path, owner: tuple[int, int] | None = None) -> None:
        self._path = path
        self._owner = owner
        self._file: BinaryIO | None = None
        self._rotated = threading.Event()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self.lost_bytes = 0

    def add(self, lines: bytes) -> None:
        """Take whole lines to be written when the disk is ready for them; returns at once.

        Raises
        ------
        nothing
        """
        with self._lock:
            if self._bytes + len(lines) > MOST_BYTES:
                self.lost_bytes += len(lines)
                return
            self._lines.append(lines)
            self._bytes += len(lines)

    def open(self) -> None:
        """Open the file, so that it is seen at once whether it can be.

        Raises
        ------
        OSError
            If it cannot be opened.
        """
        self._current()

    def deliver(self, parcel: Parcel) -> None:
        """Append an incident's record, and have it on disk.

        Raises
        ------
        OSError
            If it could not be written.
        """
        file = self._current()
        _append(file, json.dumps(parcel.alert, separators=(",", ":")).encode() + b"\n")
        os.fsync(file.fileno())

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Append what was added.

        Raises
        ------
        OSError
            If it could not be written; it is kept.
        """
        del living  # the file has been told once
        while self._lines:
            _append(self._current(), self._lines[0])
            with self._lock:
                self._bytes -= len(self._lines.popleft())

    def reopen(self) -> None:
        """Close the file before the next line, and begin the one that has its name then.

        Raises
        ------
        nothing
        """
        self._rotated.set()

    def close(self) -> None:
        """Close the file.

        Raises
        ------
        OSError
            If the last bytes could not be written.
        """
        if self._file is not None:
            self._file.close()
            self._file = None

    def _current(self) -> BinaryIO:
        if self._rotated.is_set():
            self._rotated.clear()
            self.close()
        if self._file is None:
            is_new = not self._path.exists()
            # Unbuffered: what a failed write left in a buffer would come twice.
            file = self._path.open("ab", buffering=0)
            if is_new and self._owner is not None:
                os.fchown(file.fileno(), *self._owner)
            if file.tell() > 0 and not _ends_with_newline(self._path):
                file.write(b"\n")  # whoever wrote before was killed within a line
            self._file = file
        return self._file


def _append(file: BinaryIO, lines: bytes) -> None:
    """Append all or nothing: a line cut short would spoil the next one."""
    start = file.tell()
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        if len(rest) < len(lines):
            file.truncate(start)
        raise


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

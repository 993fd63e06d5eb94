"""The frames of the port as they came, on a tape of bounded length: whole capture files; the oldest goes first.

Each frame is cut behind its headers and the first bytes of payload, which say what was spoken. A disk that is slow or
full costs what is on the tape, never a packet of the ring: the tape has a thread of its own, and drops what it cannot
take.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from sensor.pcapfile import Format

if TYPE_CHECKING:
    from sensor.schema import Bytes, Rows

_ETHERNET: Final = 1
_PIECES: Final = 16
_WAITING: Final = 256
_END_S: Final = 5.0
_SECOND_NS: Final = 1_000_000_000
_PREFIX: Final = "tape-"
# struct pcap_sf_pkthdr with nanoseconds, in the order of bytes that `Format.head` announces
_RECORD: Final = np.dtype([("s", "<u4"), ("ns", "<u4"), ("captured", "<u4"), ("wire", "<u4")])


@dataclass(frozen=True, slots=True)
class TapeOptions:
    """Where the tape is, how much it holds, and how much of each frame."""

    folder: str
    most_bytes: int = 256 << 20
    frame_bytes: int = 256


class Tape:
    """One writer of the tape: `with Tape(options, 0, 1) as tape: tape.write(frames, data)`.

    Parameters
    ----------
    options : TapeOptions
    share, shares : int
        Which of several writers this is; each has its part of the length, and removes its own files only.
    """

    def __init__(self, options: TapeOptions, share: int = 0, shares: int = 1) -> None:
        self.dropped = 0
        """Frames that were not taken."""
        self._failure = self._told_failure = ""
        self._told_dropped = 0
        self._folder = Path(options.folder)
        self._piece_bytes = max(options.most_bytes // shares // _PIECES, 1 << 16)
        self._most_pieces = _PIECES - 1  # and the one that is written
        self._frame_bytes = options.frame_bytes
        self._prefix = f"{_PREFIX}{share}-"
        self._queue: queue.Queue[tuple[int, list[npt.NDArray[np.uint8]]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="tape", daemon=True)
        self._file: BinaryIO | None = None
        self._written = 0

    def __enter__(self) -> Self:
        """Start to write."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, but not for long."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=_END_S)
            self._thread.join(_END_S)

    def write(self, frames: Rows, data: Bytes) -> None:
        """Take frames (of Ethernet) that lie in some bytes; returns at once.

        Raises
        ------
        nothing
        """
        made = (len(frames), records(frames, data, self._frame_bytes))
        try:
            self._queue.put_nowait(made)
        except queue.Full:
            self.dropped += made[0]

    def take_notices(self) -> list[str]:
        """Say what went wrong since the last call, and what is well again; ask it from the thread that writes.

        Raises
        ------
        nothing
        """
        notices, failure, lost = [], self._failure, self.dropped - self._told_dropped
        if failure != self._told_failure:
            well = "evidence is kept again"
            notices.append(f"evidence cannot be kept in {self._folder} ({failure})" if failure else well)
        elif lost and not failure:
            notices.append(f"{lost:,} frames were not kept as evidence: the disk is too slow")
        self._told_failure, self._told_dropped = failure, self.dropped
        return notices

    def _run(self) -> None:
        while (made := self._queue.get()) is not None:
            count, parts = made
            try:
                for part in parts:
                    self._put(part)
            except OSError as error:
                self.dropped += count
                self._failure = error.strerror or str(error)
                self._close()
            else:
                self._failure = ""
        self._close()

    def _put(self, part: npt.NDArray[np.uint8]) -> None:
        if self._file is None or self._written >= self._piece_bytes:
            self._close()
            self._forget()
            head = Format([_ETHERNET]).head()
            self._file = (self._folder / f"{self._prefix}{time.time_ns():020d}.pcap").open("xb", buffering=0)
            self._file.write(head)
            self._written = len(head)
        # A write that was cut short (the disk is full) leaves a record cut short at the end, as captures have.
        if self._file.write(part.data) != part.size:
            message = "No space left on device"
            raise OSError(28, message)
        self._written += part.size

    def _forget(self) -> None:
        """Remove the oldest files, so that there is room for a new one."""
        for path in pieces(self._folder, self._prefix)[: -self._most_pieces]:
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def pieces(folder: Path, prefix: str = _PREFIX) -> list[Path]:
    """Return the files of a tape, oldest first.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    return sorted(folder.glob(f"{prefix}*.pcap"), key=lambda path: path.stem.rpartition("-")[2])


def records(frames: Rows, data: Bytes, most: int) -> list[npt.NDArray[np.uint8]]:
    """Return frames as records of a capture, those of one length together.

    Parameters
    ----------
    frames : Frames[F]
    data : uint8[:]
        What `at` of the frames counts in.
    most : int
        Bytes after which a frame is cut.

    Returns
    -------
    list of uint8[K, 16 + length]
        Only lengths up to `most` occur, so there are few.

    Raises
    ------
    nothing
    """
    lengths = np.minimum(frames["captured_bytes"], most)
    made: list[npt.NDArray[np.uint8]] = []
    for length in np.unique(lengths).tolist():
        chosen = frames[lengths == length]
        rows = np.empty((len(chosen), _RECORD.itemsize + length), dtype=np.uint8)
        head: npt.NDArray[Any] = np.empty(len(chosen), dtype=_RECORD)
        head["s"], head["ns"] = chosen["ts_ns"] // _SECOND_NS, chosen["ts_ns"] % _SECOND_NS
        head["captured"], head["wire"] = length, chosen["wire_bytes"]
        rows[:, : _RECORD.itemsize] = head.view(np.uint8).reshape(len(chosen), -1)
        if length:
            rows[:, _RECORD.itemsize :] = np.lib.stride_tricks.sliding_window_view(data, length)[chosen["at"]]
        made.append(rows)
    return made

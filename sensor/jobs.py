"""Inputs that are read ahead, in threads: as many at work as there are jobs, and each only so far ahead of the rest.

Decompressing and decoding release the interpreter, so threads use as many processors as there are jobs. A thread waits
without its turn: so an input that is needed now is never kept waiting by those that are read ahead.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from sensor.reading import FileReading, Part
    from sensor.schema import Input

_ROOM_BYTES: Final = 16 * 1024 * 1024  # of parts that wait, for each input; one part more may be made meanwhile
_PATIENCE_S: Final = 1.0


class Jobs:
    """Turns to work for the threads of inputs.

    Parameters
    ----------
    count : int
        How many inputs are worked on at once.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._turns = threading.Semaphore(count)
        self._started: list[Ahead] = []

    def start(self, reading: FileReading) -> Ahead:
        """Begin to read an input."""
        ahead = Ahead(reading, self._turns)
        # What was read to its end holds tables of its own: they must not stay until the last of all inputs.
        self._started = [each for each in self._started if not each.is_over]
        self._started.append(ahead)
        return ahead

    def stop(self) -> None:
        """End all threads; what they have not handed over is dropped."""
        for ahead in self._started:
            ahead.give_up()
        for ahead in self._started:
            ahead.wait()
        self._started = []


class Ahead:
    """An input that a thread reads; it is asked like the reading itself.

    Parameters
    ----------
    reading : FileReading
    turns : threading.Semaphore
        What a thread must hold while it works.
    """

    def __init__(self, reading: FileReading, turns: threading.Semaphore) -> None:
        self._reading = reading
        self._turns = turns
        self._made: deque[Part] = deque()
        self._held_bytes = 0
        self._is_open = False
        self._ended = False
        self.is_over = False
        """Whether it was read, and closed."""
        self._given_up = False
        self._error: BaseException | None = None
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Wait until it is open.

        Raises
        ------
        OperatorError
            If it cannot be read, or is no capture.
        """
        with self._change:
            self._change.wait_for(lambda: self._is_open or self._ended)
            if self._error is not None and not self._is_open:
                raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self.give_up()
        self.wait()
        self.is_over = True

    @property
    def done_bytes(self) -> int:
        """How far it has come, in bytes of the file as it lies on the disk."""
        return self._reading.done_bytes

    @property
    def weird(self) -> npt.NDArray[np.int64]:
        """What was odd and gave no packet, by kind."""
        return self._reading.weird

    def parts(self) -> Iterator[Part]:
        """Yield the input's parts as they are made."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._made or self._ended)
                if not self._made:
                    if self._error is not None:
                        raise self._error
                    return
                part = self._made.popleft()
                self._held_bytes -= _cost(part)
                self._change.notify_all()
            yield part

    def summary(self) -> Input:
        """Return what was read of it."""
        return self._reading.summary()

    def give_up(self) -> None:
        """Tell the thread to end."""
        with self._change:
            self._given_up = True
            self._made.clear()
            self._change.notify_all()

    def wait(self) -> None:
        """Wait for the thread's end, but not for ever: a disk may hang."""
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._read()
        except BaseException as caught:  # noqa: BLE001 - it is raised where the parts are taken
            error = caught
        with self._change:
            self._error, self._ended = error, True
            self._change.notify_all()

    def _read(self) -> None:
        with self._turns:
            self._reading.__enter__()
        try:
            with self._change:
                self._is_open = True
                self._change.notify_all()
            parts = self._reading.parts()
            while self._has_room():
                with self._turns:
                    part = next(parts, None)
                if part is None:
                    return
                with self._change:
                    self._made.append(part)
                    self._held_bytes += _cost(part)
                    self._change.notify_all()
        finally:
            self._reading.__exit__()

    def _has_room(self) -> bool:
        """Wait until more may be made; says whether anybody still wants it."""
        with self._change:
            self._change.wait_for(lambda: self._given_up or self._held_bytes < _ROOM_BYTES)
            return not self._given_up


def _cost(part: Part) -> int:
    """Return what a part that waits holds, but for a map's pages: those can be had again."""
    owned = part.data.nbytes if part.data.base is None else 0
    return part.packets.nbytes + owned

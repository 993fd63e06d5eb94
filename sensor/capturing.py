"""Capture in processes of its own: each empties a share of the rings and follows its flows; one judges them all.

What holds up the judging process (a window of many flows, a sink, a reload) holds up no ring. The processes are begun
when every privilege is gone; they hand over rows, not packets, and end with whoever began them.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Self

from sensor.following import Followed, Part
from sensor.live import Live
from sensor.share import Told, be
from sensor.sources.ring import RingFacts, RingOptions, shared_rings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from sensor.reading import Options
    from sensor.tape import TapeOptions

_TICK_S, _PATIENCE_S = 0.25, 10.0
_WAITING, _PORTION, _NAMES = 64, 200_000, 4096


@dataclass(slots=True)
class _Share:
    """One process, as it is seen from outside."""

    pid: int
    pipe: Connection
    told: Told | None = None
    is_over: bool = False
    _status: int | None = None

    def end(self) -> str:
        """End the process if it has not, and say how it ended."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _, self._status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(self._status)
        return f"signal {-code}" if code < 0 else f"code {code}"


class Captures:
    """Interfaces captured by processes: `with Captures(names, ring, options) as captures: captures.start()`.

    Entering opens the rings, for which it takes privileges; `start` needs none, and must come before any thread.
    """

    def __init__(
        self, interfaces: tuple[str, ...], ring: RingOptions, options: Options, tape: TapeOptions | None = None
    ) -> None:
        self.interfaces = interfaces
        self.notices: list[str] = []
        horizon_ns = options.reorder_ms * 1_000_000
        self._options, self._tape = options, tape
        self._lives = [
            Live(rings, ring.port, horizon_ns, any_port=ring.any_port) for rings in shared_rings(interfaces, ring)
        ]
        self._rings = ExitStack()
        self._shares: list[_Share] = []
        self._came: queue.Queue[tuple[int, Told | None]] = queue.Queue(_WAITING)
        self._parts: list[Part] = []
        self._taken_ns = 0
        self.labels: dict[str, tuple[str, int, int]] = {}
        """Names of addresses as they were announced: the name, since when, and when it was heard last (ns)."""
        self._is_ending = False

    def __enter__(self) -> Self:
        """Open the rings.

        Raises
        ------
        OperatorError
            If an interface cannot be captured.
        """
        with ExitStack() as stack:
            for live in self._lives:
                stack.enter_context(live)
            self._rings = stack.pop_all()
        self.notices += dict.fromkeys(notice for live in self._lives for notice in live.notices)
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self._rings.close()
        for share in self._shares:
            share.pipe.close()
            share.end()

    def start(self) -> None:
        """Begin the processes.

        Raises
        ------
        OSError
            If there is no room for another process.
        """
        gc.freeze()  # what is here stays shared
        for number, live in enumerate(self._lives):
            ours, theirs = Pipe()
            pid = os.fork()
            if pid == 0:
                be(self._lives, number, (self._options, self._tape), theirs)
            theirs.close()
            self._shares.append(_Share(pid, ours))
            live.notices.clear()
        self._rings.close()  # each process has its own
        for number in range(len(self._shares)):
            threading.Thread(target=self._listen, args=(number,), name=f"capture-{number}", daemon=True).start()

    def look(self, wait_s: float) -> None:
        """Wait for something to be told, and take it up.

        Raises
        ------
        RuntimeError
            If a process has ended: what it saw is not seen any more.
        """
        with suppress(queue.Empty):
            self._take(*self._came.get(timeout=wait_s))
            while True:
                self._take(*self._came.get_nowait())

    def rest(self) -> None:
        """Let the processes end, and take up what they still hold.

        Raises
        ------
        nothing
        """
        self._is_ending = True
        for share in self._shares:
            with suppress(OSError):
                share.pipe.send(None)
        end = time.monotonic() + _PATIENCE_S
        while not all(share.is_over for share in self._shares) and time.monotonic() < end:
            self.look(_TICK_S)

    @property
    def is_started(self) -> bool:
        """Whether every process has told something."""
        return bool(self._shares) and all(share.told is not None for share in self._shares)

    @property
    def is_due(self) -> bool:
        """Whether enough rows wait to be judged, and time has passed that may let them."""
        rows = sum(len(part.windows) + sum(map(len, part.messages)) for part in self._parts)
        return rows >= _PORTION and self.until_ns > self._taken_ns

    @property
    def until_ns(self) -> int:
        """Event time that all rings have passed."""
        return min(told.until_ns for told in self._told())

    @property
    def now_ns(self) -> int:
        """Event time that it is."""
        at_ns = time.monotonic_ns()
        return max(told.now_ns + at_ns - told.at_ns for told in self._told())

    @property
    def followed(self) -> Followed:
        """How much was followed by all."""
        return sum((told.followed for told in self._told()), Followed())

    @property
    def clock_steps(self) -> int:
        """How often the clock was set since the start."""
        return max((told.clock_steps for told in self._told()), default=0)

    def take(self) -> list[Part]:
        """Hand out the parts that came since the last call.

        Raises
        ------
        nothing
        """
        parts, self._parts = self._parts, []
        self._taken_ns = self.until_ns
        return parts

    def facts(self) -> dict[str, RingFacts]:
        """Return what each interface has seen so far, all its rings together.

        Raises
        ------
        nothing
        """
        found = dict.fromkeys(self.interfaces, RingFacts(is_up=True))
        for told in self._told():
            for name, facts in told.facts.items():
                found[name] += facts
        return found

    def _told(self) -> list[Told]:
        return [share.told for share in self._shares if share.told is not None]

    def _take(self, number: int, told: Told | None) -> None:
        share = self._shares[number]
        if told is None:
            share.is_over = True
            if not self._is_ending:
                message = f"the process that captures has ended ({share.end()}): nothing would be seen any more"
                raise RuntimeError(message)
            return
        share.told = told
        share.is_over = told.is_last
        self._parts.append(told.part)
        for address, label in told.labels.items():
            if label[2] >= self.labels.get(address, label)[2]:
                self.labels.pop(address, None)
                self.labels[address] = label
        while len(self.labels) > _NAMES:
            del self.labels[next(iter(self.labels))]
        if number == 0:  # what is said of interfaces and clocks each process says
            self.notices += told.notices

    def _listen(self, number: int) -> None:
        pipe, told = self._shares[number].pipe, None
        with suppress(EOFError, OSError):
            while told is None or not told.is_last:
                self._came.put((number, told := pipe.recv()))
        if told is None or not told.is_last:
            self._came.put((number, None))

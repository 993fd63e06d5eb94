"""Capture files to packets in time order, read side by side in a thread of their own.

Reading and decoding release the interpreter, so they go on while the rest of the program is still being imported, and
while flows are followed. Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from sensor import numbering
from sensor.decode import Decoder
from sensor.errors import OperatorError
from sensor.jobs import Jobs
from sensor.keeping import Keeping, KeptReading
from sensor.mdns import Offers
from sensor.order import Order, Ordered
from sensor.overlaps import Overlaps
from sensor.reading import FileReading, Options, Part
from sensor.schema import NOTHING, WEIRDS
from sensor.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy.typing as npt

    from sensor.announcements import Announced
    from sensor.errors import Mistake
    from sensor.reading import Look, Reading
    from sensor.schema import Input

# What may wait between the reading thread and the rest. By bytes, not by portions: of other traffic hardly a packet is
# left, and reading should not stand still while the rest of the program is being imported.
_WAITING_BYTES: Final = 96 * 1024 * 1024
_SWITCH_S: Final = 0.0002
# How long the reading thread is waited for when it is told to end: who waits for a pipe cannot be called back.
_PATIENCE_S: Final = 1.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Portion:
    """Packets in time order, and the time that all inputs have passed."""

    ordered: Ordered
    watermark_ns: int

    @property
    def held_bytes(self) -> int:
        """What it holds while it waits, but for a map's pages: those can be had again."""
        owner = self.ordered.data
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return self.ordered.packets.nbytes + (owner.nbytes if owner.base is None else 0)


class Inputs:
    """Captures as one stream of packets.

    Parameters
    ----------
    names : sequence of str
        Capture files; `-` is stdin.
    options : Options
    progress : callable, optional
        Called with bytes read and bytes in all, from the reading thread.
    """

    def __init__(self, names: Sequence[str], options: Options, progress: Progress | None = None) -> None:
        self.options = options
        # What is on other ports is known by its handshake, which may lie in an earlier input.
        self._elsewhere = Decoder(options.port, any_port=True) if options.any_port else None
        self.offers = Offers()
        self.weird: npt.NDArray[np.int64] = np.zeros(len(WEIRDS), dtype=np.int64)
        """What was odd and gave no packet, by kind, of the inputs that were read to their end."""
        self.keeping: Keeping | None = None
        self._names = names
        self._progress = progress
        self._order: list[str] = []
        self._sizes: list[int] = []
        self._mistakes: dict[int, Mistake] = {}
        self._found: dict[int, Input] = {}
        self._begun: dict[int, Reading] = {}
        self._asked: set[int] = set()
        self._ended = 0
        self._overlaps = Overlaps()
        self._wanted = 1 if options.any_port else options.jobs or len(os.sched_getaffinity(0))
        self._jobs = Jobs(1)
        self._announced: list[tuple[int, int, Announced]] = []
        self._waiting: Waiting[Portion | BaseException] = Waiting(_WAITING_BYTES)
        self._thread: threading.Thread | None = None

    def start(self) -> Inputs:
        """Begin to read, in a thread; `portions` then takes from it."""
        # A kernel gives the interpreter up at once, but to get it back the reader waits for a switch; while the rest of
        # the program is being imported that is most of its time.
        sys.setswitchinterval(_SWITCH_S)
        self._thread = threading.Thread(target=self._read_ahead, name="inputs", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the reading thread, whatever it is doing; what it has not handed over is dropped."""
        self._waiting.give_up()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def portions(self) -> Iterator[Portion]:
        """Yield packets in time order.

        Raises
        ------
        OperatorError
            If nothing could be read at all.
        """
        if self._thread is None:
            yield from self._portions()
            return
        try:
            while (portion := self._waiting.get()) is not None:
                if isinstance(portion, BaseException):
                    raise portion
                yield portion
        finally:
            self.stop()

    def read(self) -> tuple[Input, ...]:
        """Return what was read of each input, in the order of their numbers."""
        repeated = self._overlaps.repeated
        found = {at: replace(each, repeated=repeated.get(at, 0)) for at, each in self._found.items()}
        found |= {at: _refused(mistake) for at, mistake in self._mistakes.items()}
        return tuple(found[at] for at in sorted(found))

    def _read_ahead(self) -> None:
        last: BaseException | None = None
        try:
            for portion in self._portions():
                if not self._waiting.put(portion, portion.held_bytes):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the portions are taken
            last = error
        self._waiting.put(last, 0)

    def _portions(self) -> Iterator[Portion]:
        order = Order(self.options.reorder_ms * 1_000_000)
        opened: dict[int, _Opened] = {}
        with contextlib.ExitStack() as stack:
            fronts = self._numbered()
            stack.callback(self._jobs.stop)
            stack.callback(_close, opened)
            while fronts:
                at = min(fronts, key=lambda index: (fronts[index], index))
                if at not in opened:
                    try:
                        opened[at] = self._open(at)
                    except OperatorError as error:
                        self._mistakes[at] = error.mistakes[0]
                        del fronts[at]
                        continue
                part = next(opened[at].parts, None)
                if part is None:
                    self._finish(at, opened.pop(at))
                    del fronts[at]
                    self._report(opened)
                else:
                    fronts[at] = max(fronts[at], part.front_ns)
                    order.push(part.packets, part.data)
                    for each in part.announced:
                        heapq.heappush(self._announced, (each.ts_ns, at, each))
                    self._report(opened)
                del part
                watermark = min(fronts.values()) if fronts else None
                self._hear(None if watermark is None else watermark - order.horizon_ns)
                if watermark is None or order.is_worth_it:
                    yield from self._released(order, watermark)
        if not self._found:
            raise OperatorError(*self._mistakes.values())

    def _released(self, order: Order, watermark: int | None) -> Iterator[Portion]:
        released = order.release(watermark)
        for count, ordered in enumerate(released, 1):
            fresh = ordered
            if len(self._order) > 1:
                fresh = Ordered(self._overlaps.push(ordered.packets), ordered.data)
            if not len(fresh.packets):
                continue
            # Only with the last of them has everything older than the watermark been handed over.
            if watermark is not None and count == len(released):
                yield Portion(fresh, watermark - order.horizon_ns)
            else:
                yield Portion(fresh, int(ordered.packets["ts_ns"][-1]))

    def _numbered(self) -> dict[int, int]:
        """Return the time of each input's first packet; numbers follow it, whatever inputs are called."""
        names = list(self._names)
        if len(names) == 1:
            self._order, self._sizes = names, [numbering.size_of(names[0])]
            return {0: 0}
        if self.options.keep is not None:
            self.keeping = Keeping(self.options.keep, self.options)
        found = numbering.number(names, self._looks, self._digests)
        self._order = list(found.order)
        self._sizes = [each.size_bytes for each in found.order.values()]
        count = len(self._order)
        self._found = dict(enumerate(found.copies, count))
        self._mistakes = dict(enumerate(found.mistakes, count + len(found.copies)))
        self._jobs = Jobs(min(self._wanted, count))
        return {at: each.first_ns for at, each in enumerate(found.order.values())}

    def _looks(self, names: list[str]) -> list[Look | Mistake]:
        from concurrent.futures import ThreadPoolExecutor  # one input needs none

        with ThreadPoolExecutor(self._wanted) as pool:  # what orders the inputs, or why one is none
            return list(pool.map(numbering.look_or_mistake, names))

    def _digests(self, names: list[str]) -> list[str]:
        return [numbering.digest(name) for name in names]

    def _open(self, at: int) -> _Opened:
        """Open an input, and begin to read those that come next."""
        for ahead in range(at, min(at + self._ahead(), len(self._order) - 1) + 1):
            self._begin(ahead)
        reading = self._begun.pop(at)
        name = self._order[at]
        manager = cast("contextlib.AbstractContextManager[Reading]", reading)
        manager.__enter__()
        if self.keeping is not None and not isinstance(reading, KeptReading):
            return _Opened(reading, self.keeping.keep(name, reading))
        return _Opened(reading, reading.parts())

    def _ahead(self) -> int:
        """Return how many of the next inputs are begun."""
        return self._jobs.count if self._jobs.count > 1 else 0

    def _begin(self, at: int) -> None:
        if at in self._asked:
            return
        self._asked.add(at)
        kept = self.keeping.find(self._order[at], at) if self.keeping is not None else None
        self._begun[at] = kept if kept is not None else self._reading(at)

    def _reading(self, at: int) -> Reading:
        """Return what reads an input that was not kept."""
        beside = max(len(self._asked) - self._ended - 1, 1) if len(self._order) > 1 else 0
        reading = FileReading(self._order[at], at, self.options, self._elsewhere, beside)
        return self._jobs.start(reading) if self._jobs.count > 1 else reading

    def _finish(self, at: int, opened: _Opened) -> None:
        self._ended += 1
        self._found[at] = opened.reading.summary()
        self.weird += opened.reading.weird
        opened.close()

    def _hear(self, until_ns: int | None) -> None:
        """Take up what was announced before a time (None: everything), in its order, however files were cut."""
        while self._announced and (until_ns is None or self._announced[0][0] < until_ns):
            _, _, each = heapq.heappop(self._announced)
            self.offers.hear(each.message, each.source, each.ts_ns)

    def _report(self, opened: dict[int, _Opened]) -> None:
        if self._progress is not None:
            done = sum(self._sizes[at] for at in self._found if at < len(self._sizes))
            done += sum(each.reading.done_bytes for each in opened.values())
            self._progress(done, max(done, sum(self._sizes)))


@dataclass(frozen=True, slots=True)
class _Opened:
    """An input that is being merged."""

    reading: Reading
    parts: Iterator[Part]

    def close(self) -> None:
        cast("Generator[Part]", self.parts).close()
        cast("contextlib.AbstractContextManager[Reading]", self.reading).__exit__(None, None, None)


def _close(opened: dict[int, _Opened]) -> None:
    for each in opened.values():
        each.close()


def _refused(mistake: Mistake) -> Input:
    """Return an input of which nothing could be read."""
    return replace(NOTHING, name=mistake.where, damage=f"{mistake.read}; nothing of it was used")

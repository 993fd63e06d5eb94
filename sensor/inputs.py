"""Capture files to packets in time order, read side by side in a thread of their own.

Reading and decoding release the interpreter, so they go on while the rest of the program is still being imported, and
while flows are followed. Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor.decode import Decoder
from sensor.errors import Mistake, OperatorError
from sensor.flows import FlowOptions
from sensor.mdns import Offers
from sensor.order import Order, Ordered
from sensor.schema import Batch, Bytes, Input, Rows
from sensor.sources.files import Reader
from sensor.wire import DO_PORT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Portions that may wait between the reading thread and the rest: enough to bridge an import, at most some 100 MB.
_WAITING: Final = 4
_SWITCH_S: Final = 0.0002
# How long the reading thread is waited for when it is told to end: who waits for a pipe cannot be called back.
_PATIENCE_S: Final = 1.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is done; nothing here is policy."""

    flows: FlowOptions = field(default_factory=FlowOptions)
    reorder_ms: int = 50
    port: int = DO_PORT
    hashes: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    mdns: bool = True
    """Take up what hosts announce by mDNS."""
    select: Callable[[Rows], Rows] | None = None
    """Gives back the packets that were asked for; None: all of them."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Packets in time order, and the time that all inputs have passed."""

    ordered: Ordered
    watermark_ns: int


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
        self.decoder = Decoder(options.port, _slow_lane)
        self.offers = Offers()
        self._names = names
        self._progress = progress
        self._readers: dict[int, Reader] = {}
        self._mistakes: dict[int, Mistake] = {}
        self._queue: queue.Queue[Portion | BaseException | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._given_up = threading.Event()

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
        self._given_up.set()
        if self._thread is not None:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
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
            while (portion := self._queue.get()) is not None:
                if isinstance(portion, BaseException):
                    raise portion
                yield portion
        finally:
            self.stop()

    def read(self, digest: Callable[[Reader], str] = lambda _: "") -> tuple[Input, ...]:
        """Return what was read of each input, in the order of their numbers."""
        found = {at: reader.summary(digest(reader)) for at, reader in self._readers.items()}
        found |= {at: _refused(mistake) for at, mistake in self._mistakes.items()}
        return tuple(found[at] for at in sorted(found))

    def _read_ahead(self) -> None:
        last: BaseException | None = None
        try:
            for portion in self._portions():
                while not self._given_up.is_set():
                    with contextlib.suppress(queue.Full):
                        self._queue.put(portion, timeout=0.1)
                        break
                if self._given_up.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the portions are taken
            last = error
        while not self._given_up.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(last, timeout=0.1)
                return

    def _portions(self) -> Iterator[Portion]:
        order = Order(self.options.reorder_ms * 1_000_000)
        names = self._numbered()
        fronts = {at: first_ns for at, (first_ns, _) in enumerate(names) if at not in self._mistakes}
        batches: dict[int, Iterator[Batch]] = {}
        with contextlib.ExitStack() as stack:
            while fronts:
                at = min(fronts, key=lambda index: (fronts[index], index))
                if at not in batches:
                    try:
                        self._readers[at] = stack.enter_context(self._opened(names[at][1], at))
                    except OperatorError as error:
                        self._mistakes[at] = error.mistakes[0]
                        del fronts[at]
                        continue
                    batches[at] = self._readers[at].batches()
                batch = next(batches[at], None)
                if batch is None:
                    self._readers[at].__exit__()
                    del fronts[at], batches[at]
                else:
                    packets, front_ns = self._decoded(batch)
                    fronts[at] = max(fronts[at], front_ns)
                    order.push(packets, batch.data)
                    self._report()
                watermark = min(fronts.values()) if fronts else None
                released = order.release(watermark)
                for count, ordered in enumerate(released, 1):
                    # Only with the last of them has everything older than the watermark been handed over.
                    if watermark is not None and count == len(released):
                        yield Portion(ordered, watermark - order.horizon_ns)
                    else:
                        yield Portion(ordered, int(ordered.packets["ts_ns"][-1]))
        if not self._readers:
            raise OperatorError(*self._mistakes.values())

    def _opened(self, name: str, at: int) -> Reader:
        return Reader(name, at)

    def _decoded(self, batch: Batch) -> tuple[Rows, int]:
        """Return the chosen packets of a batch, and the time that it reaches."""
        packets = self.decoder.push(batch)
        if self.options.mdns and self.decoder.saw_mdns:
            self.offers.push(batch)
        return self._chosen(packets), int(batch.frames["ts_ns"].max())

    def _numbered(self) -> list[tuple[int, str]]:
        """Return inputs with the time of their first packets, earliest first; their numbers follow this order."""
        if len(self._names) == 1:
            return [(0, self._names[0])]
        found: list[tuple[int, int, str]] = []
        wrong: list[tuple[str, Mistake]] = []
        for name in self._names:
            try:
                found.append((*first_and_last(name), name))
            except OperatorError as error:
                wrong.append((name, error.mistakes[0]))
        ordered = [(first_ns, name) for first_ns, _, name in sorted(found)]
        self._mistakes = {len(ordered) + at: mistake for at, (_, mistake) in enumerate(wrong)}
        return ordered + [(0, name) for name, _ in wrong]

    def _chosen(self, packets: Rows) -> Rows:
        """Keep what `since_ns`, `until_ns` and `select` choose."""
        since, until = self.options.since_ns, self.options.until_ns
        if since is not None:
            packets = packets[packets["ts_ns"] >= since]
        if until is not None:
            packets = packets[packets["ts_ns"] < until]
        return packets if self.options.select is None else self.options.select(packets)

    def _report(self) -> None:
        if self._progress is not None:
            facts = [reader.facts for reader in self._readers.values()]
            self._progress(sum(each.position for each in facts), sum(each.size_bytes for each in facts))


def _slow_lane(frames: Rows, data: Bytes, port: int) -> tuple[Rows, npt.NDArray[np.int64]]:
    from sensor.dissect import slow_lane  # dpkt, which most captures never need

    return slow_lane(frames, data, port)


def first_and_last(name: str) -> tuple[int, int]:
    """Return the times of the first packet and of the first batch's last: what orders captures.

    A pipe can be read only once: it counts as old, and is merged by what it gives.
    """
    if name == "-" or Path(name).is_fifo():
        return 0, 0
    with Reader(name, 0) as reader:
        batch = next(reader.batches(), None)
        if batch is None:
            return 0, 0
        times = batch.frames["ts_ns"]
        return int(times.min()), int(times[-1])


def _refused(mistake: Mistake) -> Input:
    """Return an input of which nothing could be read."""
    return Input(
        name=mistake.where,
        size_bytes=0,
        sha256="",
        format="",
        packets=0,
        bytes=0,
        first_packet_ns=0,
        last_packet_ns=0,
        link_types=(),
        drops=0,
        damage=f"{mistake.read}; nothing of it was used",
    )

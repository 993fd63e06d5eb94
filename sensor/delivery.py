"""Incidents from the pipeline to the sinks: kept on disk first, then told in order by a thread for each sink.

The pipeline hands over and goes on; nothing here can hold it up. A sink that fails is tried again after a pause that
doubles, while its parcels wait on disk. While the disk fails they wait in memory, and sinks are still told.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from sensor.posting import RefusedError
from sensor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensor.schema import Incident
    from sensor.store import Parcel

_BATCH: Final = 64
_IDLE_S: Final = 1.0


class Sink(Protocol):
    """A way out. `name` is its label in metrics; it opens what it needs when it is first used."""

    @property
    def name(self) -> str: ...  # noqa: D102 - see above
    def deliver(self, parcel: Parcel) -> None:
        """Tell one parcel; OSError: try again, RefusedError: never."""

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Do what is due beside parcels (what was added, what is to be said again); OSError: try again later."""

    def reopen(self) -> None:
        """Open files anew at the next use: they were rotated. Called from another thread."""

    def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How long to wait after a failure (it doubles up to the most), how long to go on at the end, how much to hold."""

    pause_s: float = 0.25
    most_pause_s: float = 30.0
    end_s: float = 5.0
    most_held: int = 100_000


@dataclass(slots=True)
class Count:
    """What one sink has done since the start."""

    deliveries: int = 0
    failures: int = 0
    drops: int = 0
    waiting: int = 0


class _Courier(threading.Thread):
    """The thread of one sink."""

    def __init__(
        self, sink: Sink, stores: tuple[Store, ...], options: DeliveryOptions, notice: Callable[[str], None]
    ) -> None:
        super().__init__(name=f"sink-{sink.name}", daemon=True)
        self.sink = sink
        self.count = Count()
        self.wake = threading.Event()
        self._stores = stores
        self._last = [0] * len(stores)
        self._options = options
        self._notice = notice
        self._end = float("inf")
        self._ending = False
        self._pause_s = 0.0
        self._failing_since = 0.0

    def finish(self, end: float) -> None:
        """Deliver what waits, but not beyond a moment."""
        self._end, self._ending = end, True
        self.wake.set()

    def run(self) -> None:
        while True:
            self.wake.clear()
            more = self._round()
            if self._ending and (not more or time.monotonic() >= self._end):
                break
            if not more or self._pause_s:
                wait_s = self._pause_s or _IDLE_S
                # A failing sink is not asked again before its pause is over, whatever else comes.
                (self._sleep if self._pause_s else self.wake.wait)(wait_s)
        self.sink.close()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := min(until, self._end) - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    def _round(self) -> bool:
        """Deliver a few parcels; return whether there are more."""
        more = False
        try:
            self.count.waiting = sum(store.waiting(self.sink.name) for store in self._stores)
            for at, store in enumerate(self._stores):
                parcels = store.due(self.sink.name, _BATCH, self._last[at])
                more = more or len(parcels) == _BATCH
                for parcel in parcels:
                    self._tell(parcel)
                    self._last[at] = parcel.sequence
                    with suppress(sqlite3.Error):  # it stays on disk, and is told again after a restart
                        store.done(self.sink.name, [parcel])
                    self.count.waiting -= 1
            self.sink.work(self._stores[0].living)
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return True
        if self._failing_since:
            away = time.monotonic() - self._failing_since
            self._notice(f"{self.sink.name}: works again after {away:,.0f} s")
        self._pause_s = self._failing_since = 0.0
        return more

    def _tell(self, parcel: Parcel) -> None:
        try:
            self.sink.deliver(parcel)
        except RefusedError as error:
            self.count.drops += 1
            self._notice(f"{self.sink.name}: incident {parcel.incident.id} was refused for good: {error}")
        else:
            self.count.deliveries += 1

    def _failed(self, error: Exception) -> None:
        self.count.failures += 1
        if not self._failing_since:
            self._failing_since = time.monotonic()
            self._notice(f"{self.sink.name}: {error}; trying again, and holding what is to be told")
        doubled = max(2 * self._pause_s, self._options.pause_s)
        self._pause_s = min(doubled, self._options.most_pause_s) * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


class Delivery:
    """All sinks and the store they are fed from: `with Delivery(store, sinks, options, notice) as delivery: …`.

    Parameters
    ----------
    store, sinks, options
        Where parcels wait, where they go, and how patiently.
    notice
        Called with a sentence when something fails and when it works again; from any thread.
    """

    def __init__(
        self, store: Store, sinks: Sequence[Sink], options: DeliveryOptions, notice: Callable[[str], None]
    ) -> None:
        self.sinks = tuple(sinks)
        self._store = store
        self._spare = Store(None)  # for the time in which the disk fails
        self._options = options
        self._notice = notice
        self._couriers = [_Courier(sink, (store, self._spare), options, notice) for sink in sinks]
        self._held: deque[tuple[tuple[Parcel, ...], tuple[Incident, ...]]] = deque()
        self._drops = 0
        self._came = threading.Event()
        self._ending = False
        self._keeper = threading.Thread(target=self._keep, name="store", daemon=True)

    def __enter__(self) -> Self:
        """Start the threads."""
        self._spare.__enter__()
        self._keeper.start()
        for courier in self._couriers:
            courier.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Keep all that was told, and go on delivering for a few seconds; the rest waits on disk."""
        end = time.monotonic() + self._options.end_s
        self._ending = True
        self._came.set()
        self._keeper.join(self._options.end_s)
        for courier in self._couriers:
            courier.finish(end)
        for courier in self._couriers:
            courier.join(self._options.end_s + _IDLE_S)  # one that hangs in a sink is left behind
        self._spare.__exit__()

    def tell(self, parcels: Sequence[Parcel], updates: Sequence[Incident]) -> None:
        """Hand over what sinks are to be told, and incidents as they are now; returns at once.

        Raises
        ------
        nothing
        """
        if len(self._held) >= self._options.most_held:
            self._drops += 1
            return
        self._held.append((tuple(parcels), tuple(updates)))
        self._came.set()

    def reopen(self) -> None:
        """Let sinks open their files anew.

        Raises
        ------
        nothing
        """
        for sink in self.sinks:
            sink.reopen()

    def counts(self) -> dict[str, Count]:
        """Return what each sink has done since the start.

        Raises
        ------
        nothing
        """
        return {
            courier.sink.name: Count(
                deliveries=courier.count.deliveries,
                failures=courier.count.failures,
                drops=courier.count.drops + self._drops + self._store.dropped.get(courier.sink.name, 0),
                waiting=courier.count.waiting + len(self._held),
            )
            for courier in self._couriers
        }

    def _keep(self) -> None:
        names = [sink.name for sink in self.sinks]
        unsaved: dict[str, Incident] = {}
        is_failing = False
        while not (self._ending and not self._held):
            self._came.wait(_IDLE_S)
            self._came.clear()
            while self._held:
                parcels, updates = self._held[0]
                unsaved |= {each.id: each for each in updates}
                try:
                    self._store.keep(parcels, list(unsaved.values()), names)
                except sqlite3.Error as error:
                    self._spare.keep(parcels, (), names)
                    if not is_failing:
                        self._notice(f"state: cannot be written ({error}); until it can, a restart forgets incidents")
                    is_failing = True
                else:
                    unsaved = {}
                    if is_failing:
                        self._notice("state: can be written again")
                    is_failing = False
                self._held.popleft()
                for courier in self._couriers:
                    courier.wake.set()

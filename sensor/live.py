"""Live interfaces to packets in time order: rings polled, decoded and merged; time moves on when the port is silent.

What the pipeline is told has happened is what every ring has shown: a ring that is drained has shown all up to a moment
ago, one that is not has shown what it gave last. Event time is the wall clock's, but it never goes back.
"""

from __future__ import annotations

import select
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.fragments import later
from sensor.mdns import InventoryOptions, Offers
from sensor.order import Order, Ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensor.schema import Bytes, Rows
    from sensor.sources.ring import Ring, RingFacts

    Keep = Callable[[Rows, Bytes], None]

_STEP_NS: Final = 1_000_000_000
"""The wall clock is slewed by less than this between two looks; more means that somebody set it."""

_DATAGRAMS: Final = 500  # of mDNS, in a second: a flood of them must not hold the rings up
_NAMES: Final = 1000
_LAST_ROUNDS: Final = 1000  # what comes while we end need not be waited for
# Between two looks: at least and at most; and how much of a ring may be ours behind one.
_LEAST_GATHER_S, _MOST_GATHER_S, _TAKEN = 0.005, 0.1, 1 / 3
_ROUNDS: Final = 8  # looks at each ring in turn, so that one busy ring does not keep the others waiting


class EventClock:
    """The wall clock as packets tell it, but for steps back: through those it runs on, and says so.

    Parameters
    ----------
    offset_ns
        How far the wall clock is ahead of the monotonic one at the start.
    """

    def __init__(self, offset_ns: int) -> None:
        self._offset_ns = offset_ns
        self.ahead_ns = 0
        self.steps = 0
        """How often the wall clock was set."""

    def now_ns(self) -> int:
        """Return the event time that it is.

        Raises
        ------
        nothing
        """
        return time.monotonic_ns() + self._offset_ns + self.ahead_ns

    def check(self, offset_ns: int) -> str:
        """Look whether the wall clock was set; return a notice if so.

        Raises
        ------
        nothing
        """
        step_ns = offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        if abs(step_ns) < _STEP_NS:
            return ""
        self.steps += 1
        before_ns = self.ahead_ns
        self.ahead_ns = max(0, before_ns - step_ns)
        told = f"the clock was set {'forward' if step_ns > 0 else 'back'} by {abs(step_ns) / 1e9:,.0f} s"
        # Steps are measured, so a clock that is set right again leaves a rest of some microseconds.
        if ahead_s := round(self.ahead_ns / 1e9):
            return f"{told}; times of events run on, {ahead_s:,} s ahead of it"
        return f"{told}; times of events follow it"

    def correct(self, frames: Rows) -> None:
        """Put capture times onto event time; those stamped before a step back stay as they are.

        Raises
        ------
        nothing
        """
        if self.ahead_ns:
            times = frames["ts_ns"]
            ahead = times + self.ahead_ns
            frames["ts_ns"] = np.where(ahead <= self.now_ns() + _STEP_NS, ahead, times)


class Live:
    """Rings as one source: `with Live(rings, port, horizon_ns) as live: parts, until = live.look(250)`.

    Parameters
    ----------
    rings
        One of each interface.
    port : int
        The watched port.
    horizon_ns : int
        How far packets may stand behind younger ones.
    any_port : bool
        Follow also flows that greet on other ports; the rings must let these greetings through.
    """

    def __init__(self, rings: Sequence[Ring], port: int, horizon_ns: int, *, any_port: bool = False) -> None:
        self.rings = tuple(rings)
        self.decoder = Decoder(port, slow_lane, any_port=any_port)
        self.offers = Offers(InventoryOptions(per_s=_DATAGRAMS))
        self._announced = 0
        self._admitted: frozenset[tuple[int, int]] = frozenset()
        self.clock = EventClock(_offset_ns())
        self.notices: list[str] = []
        self.keep: Keep | None = None
        """Is given the frames on the watched port, and the bytes they lie in."""
        self._order = Order(horizon_ns)
        self._horizon_ns = horizon_ns
        self._next_look_s = 0.0
        self._gather_s = _MOST_GATHER_S
        self._stack = ExitStack()
        self._poll = select.poll()
        self._fronts = [self.clock.now_ns()] * len(self.rings)
        self._was_up = {ring.interface: True for ring in self.rings}

    def __enter__(self) -> Self:
        """Open the rings.

        Raises
        ------
        OperatorError
            If an interface cannot be captured.
        """
        with ExitStack() as stack:
            for ring in self.rings:
                stack.enter_context(ring)
                self._poll.register(ring, select.POLLIN | select.POLLERR)
                self.notices += ring.notices
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the rings."""
        self._stack.close()

    def look(self, wait_ms: int) -> tuple[list[Ordered], int]:
        """Wait for packets, and return those whose turn has come, and the time that all rings have passed.

        What is returned may lie in a ring: it is good until the next call.

        Raises
        ------
        nothing
        """
        for ring in self.rings:
            ring.give_back(self._order.oldest_in(ring.data))
        for number, event in self._poll.poll(wait_ms):
            if event & ~select.POLLIN:
                self._mend(number)
        # Each look costs as much as some thousand packets do, so let some gather while there is room.
        if (rest_s := self._next_look_s - time.monotonic()) > 0 and not self._is_crowded:
            time.sleep(rest_s)
        self._next_look_s = time.monotonic() + self._gather_s
        for _ in range(_ROUNDS):
            if not self._take() or self._is_crowded:
                break
        until_ns = min(self._fronts)
        released = self._order.release(until_ns)
        taken = max(ring.taken for ring in self.rings)
        wished_s = max(self._gather_s, _LEAST_GATHER_S) * _TAKEN / max(taken, 1e-3)
        self._gather_s = min(_MOST_GATHER_S, wished_s)
        for ring in self.rings:
            if ring.is_crowded:
                self._order.move_out_of(ring.data)
        return released, until_ns - self._horizon_ns

    def labels(self) -> dict[str, tuple[str, int, int]]:
        """Return the names of addresses if something was announced since the last call, else nothing.

        Raises
        ------
        nothing
        """
        if self.offers.announcements == self._announced:
            return {}
        self._announced = self.offers.announcements
        return self.offers.labels(_NAMES)

    def rest(self) -> list[Ordered]:
        """Return what is still held back, at the end.

        Raises
        ------
        nothing
        """
        for _ in range(_LAST_ROUNDS):
            if not self._take():
                break
        return self._order.release(None)

    def facts(self) -> dict[str, RingFacts]:
        """Return what each interface has seen so far.

        Raises
        ------
        nothing
        """
        found = {ring.interface: ring.facts() for ring in self.rings}
        for interface, seen in found.items():
            if seen.is_up != self._was_up[interface]:
                self._was_up[interface] = seen.is_up
                self.notices.append(f"{interface}: the link is {'up' if seen.is_up else 'down'}")
                for ring in self.rings:
                    self._mend(ring.fileno())
        return found

    @property
    def _is_crowded(self) -> bool:
        return any(ring.is_crowded for ring in self.rings)

    def _take(self) -> bool:
        """Take what each ring has ready; return whether any had something."""
        some = False
        for at, ring in enumerate(self.rings):
            began_ns = self.clock.now_ns()
            batch = ring.batch()
            # After the look: whatever came before a step of the clock was stamped before it, too.
            if notice := self.clock.check(_offset_ns()):
                self.notices.append(notice)
                began_ns = self.clock.now_ns()
            if batch is None:
                self._fronts[at] = max(self._fronts[at], began_ns - ring.quiet_ns)
                continue
            some = True
            if len(batch.frames):
                self.clock.correct(batch.frames)
                self._fronts[at] = max(self._fronts[at], int(batch.frames["ts_ns"].max()))
                packets = self.decoder.push(batch)
                # Later fragments may be of any port's packets, which nobody asked us to keep.
                if self.keep is not None and len(ours := packets["number"][~later(packets)]):
                    self.keep(batch.frames[ours - int(batch.frames["number"][0])], batch.data)
                self._order.push(packets, batch.data)
                if self.decoder.saw_mdns:
                    self.offers.push(batch)
                if self.decoder.elsewhere.keys() != self._admitted:
                    self._admit()
        return some

    def _admit(self) -> None:
        """Let the flows through that were found on other ports: the filter knows nothing but what it is told."""
        self._admitted = frozenset(self.decoder.elsewhere)
        pairs = tuple(self.decoder.elsewhere)
        for ring in self.rings:
            if (taken := ring.admit(pairs)) < len(pairs):
                self.notices.append(f"{ring.interface}: of {len(pairs)} flows on other ports {taken} are followed")

    def _mend(self, number: int) -> None:
        for ring in self.rings:
            if ring.fileno() == number and ring.mend():
                self.notices.append(f"{ring.interface}: the interface was replaced; the new one is watched")


def _offset_ns() -> int:
    """Return how far the wall clock is ahead of the monotonic one."""
    before_ns = time.monotonic_ns()
    now_ns = time.time_ns()
    return now_ns - (before_ns + time.monotonic_ns()) // 2

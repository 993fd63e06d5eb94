"""Packets in time order to the rows that are judged: their flows and what was said in them, window by window.

The part of the string that costs as much as there are packets. It needs neither policy nor pandas, so that several
processes can do it side by side; what they hand over is judged in one place, as if one had seen everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from sensor.flows import FlowOptions, FlowTable
from sensor.fragments import Fragments
from sensor.messages import Heard, MessageReader
from sensor.schema import WEIRDS, Endings, Rows, Windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor.order import Ordered

# Rows are handed on in portions of about this many windows: few enough to stay small, enough to be worth it.
_PORTION: Final = 200_000


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are finished: Windows[W], Endings[E], and lists of Messages and Handshakes."""

    windows: Rows = field(default_factory=Windows.empty)
    endings: Rows = field(default_factory=Endings.empty)
    messages: tuple[Rows, ...] = ()
    handshakes: tuple[Rows, ...] = ()
    last_ns: int = 0
    """Time of the newest packet that was followed."""


@dataclass(frozen=True, slots=True)
class Followed:
    """How much was followed since the start, and how much is being followed now."""

    packets: int = 0
    living: int = 0
    evicted: int = 0
    weird: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(WEIRDS), dtype=np.int64))

    def __add__(self, other: Followed) -> Followed:
        """Return both together."""
        return Followed(
            self.packets + other.packets,
            self.living + other.living,
            self.evicted + other.evicted,
            self.weird + other.weird,
        )


class Following:
    """Follows flows and what they say.

    Parameters
    ----------
    options : FlowOptions
    share : int
        Which of several that work side by side this is: their flows must not have the same numbers.
    """

    def __init__(self, options: FlowOptions, share: int = 0) -> None:
        self.flows = FlowTable(options, share)
        self.messages = MessageReader(options.window_s)
        self._fragments = Fragments()
        self.weird = np.zeros(len(WEIRDS), dtype=np.int64)
        self.last_ns = 0
        self._messages: list[Rows] = []
        self._handshakes: list[Rows] = []

    def push(self, ordered: Ordered) -> None:
        """Take packets in time order.

        Raises
        ------
        nothing
        """
        packets, left_out = self._fragments.join(ordered.packets)
        self.weird[WEIRDS.index("ip_fragment")] += left_out
        if not len(packets):
            return
        odd_before = self.flows.odd
        tracks = self.flows.push(packets)
        self._hear(self.messages.push(packets, ordered.data, tracks))
        self.last_ns = max(self.last_ns, int(packets["ts_ns"][-1]))
        if self.flows.odd == odd_before:
            return
        odd = packets["weird"][packets["weird"] != 0]
        for at in range(len(WEIRDS)):
            self.weird[at] += int(np.count_nonzero(odd & (1 << at)))

    @property
    def packets(self) -> int:
        """How many packets were on the watched port."""
        return self.flows.on_port

    @property
    def is_due(self) -> bool:
        """Whether enough has gathered for a portion."""
        return self.flows.waiting >= _PORTION or sum(map(len, self._messages)) >= _PORTION

    def take(self, until_ns: int | None) -> Part:
        """Close the windows that start before `until_ns` (None: everything has come), and hand out what is finished.

        Raises
        ------
        nothing
        """
        self.flows.sweep(until_ns if until_ns is not None else self.last_ns, everything=until_ns is None)
        self._hear(self.messages.settle(until_ns))
        return self._part(*self.flows.take())

    def portions(self, until_ns: int | None) -> Iterator[Part]:
        """Hand out most of what `take` would where that is much, in parts that are not; `take` must follow.

        Raises
        ------
        nothing
        """
        # What was said comes first: whoever sees a flow end has heard it all.
        self._hear(self.messages.settle(until_ns))
        sweep_ns = until_ns if until_ns is not None else self.last_ns
        for windows, endings in self.flows.portions(sweep_ns, everything=until_ns is None):
            yield self._part(windows, endings)

    def _part(self, windows: Rows, endings: Rows) -> Part:
        messages, self._messages = self._messages, []
        handshakes, self._handshakes = self._handshakes, []
        return Part(windows, endings, tuple(messages), tuple(handshakes), self.last_ns)

    def facts(self) -> Followed:
        """Return how much was followed.

        Raises
        ------
        nothing
        """
        weird = self.weird + self.messages.weird
        weird[WEIRDS.index("time_backwards")] += self.flows.late
        return Followed(self.packets, self.flows.living, self.flows.evicted, weird)

    def _hear(self, heard: Heard) -> None:
        if len(heard.messages):
            self._messages.append(heard.messages)
        if len(heard.handshakes):
            self._handshakes.append(heard.handshakes)

"""Packets of any inputs to packets in time order.

Inputs arrive batch by batch, each nearly sorted; what is older than the watermark (all inputs have passed it by the
reorder horizon) leaves in order of time, input and frame. So a capture gives the same answers however it was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensor.kernels import headers
from sensor.rows import copy, join, pick

if TYPE_CHECKING:
    from sensor.schema import Bytes, Rows


@dataclass(frozen=True, slots=True)
class Ordered:
    """Packets in time order, and the bytes that their payload positions point into."""

    packets: Rows
    data: Bytes


class Order:
    """Holds packets back until nothing older can come.

    Parameters
    ----------
    horizon_ns : int
        How far a packet may stand behind a younger one of its own input and still be put in its place.
    """

    def __init__(self, horizon_ns: int = 50_000_000) -> None:
        self.horizon_ns = horizon_ns
        self._held: list[Ordered] = []
        self._fresh = 0

    def push(self, packets: Rows, data: Bytes) -> None:
        """Take the packets of one batch of one input."""
        if len(packets):
            self._held.append(Ordered(packets, data))
            self._fresh += len(packets)

    def oldest_in(self, data: Bytes) -> int | None:
        """Return the lowest frame number of what is held back and lies in these bytes; None if nothing does."""
        return min((int(held.packets["number"].min()) for held in self._held if held.data is data), default=None)

    def move_out_of(self, data: Bytes) -> None:
        """Copy the payloads of what is held back and lies in these bytes, so that nothing needs them any more."""
        self._held = [own(held.packets, held.data) if held.data is data else held for held in self._held]

    @property
    def is_worth_it(self) -> bool:
        """Whether so much is new that to put all that is held in order costs little for each packet."""
        return 2 * self._fresh >= sum(len(held.packets) for held in self._held)

    def release(self, watermark_ns: int | None) -> list[Ordered]:
        """Return what is older than the watermark less the horizon (None: everything), in order."""
        self._fresh = 0
        if not self._held:
            return []
        if not self._sorted():
            self._held = [self._merged()]
        if watermark_ns is None:
            ready, self._held = self._held, []
            return ready
        until = watermark_ns - self.horizon_ns
        ready = []
        for at, held in enumerate(self._held):
            cut = int(np.searchsorted(held.packets["ts_ns"], until, side="left"))
            if cut:
                ready.append(Ordered(held.packets[:cut], held.data))
            if cut < len(held.packets):
                self._held[at] = Ordered(held.packets[cut:], held.data)
                self._held = self._held[at:]
                return ready
        self._held = []
        return ready

    def _sorted(self) -> bool:
        last: tuple[int, int, int] | None = None
        for held in self._held:
            times = held.packets["ts_ns"]
            if (last is not None and _place(held.packets[0]) < last) or bool(np.any(times[1:] < times[:-1])):
                return False
            last = _place(held.packets[-1])
        return True

    def _merged(self) -> Ordered:
        """Sort all that is held; payloads of different buffers are gathered into one."""
        data = self._held[0].data
        if any(held.data is not data for held in self._held):
            data = np.empty(sum(int(h.packets["payload_captured"].sum()) for h in self._held), dtype=np.uint8)
            at, parts = 0, []
            for held in self._held:
                packets = copy(held.packets)
                at = headers.gather_payloads(packets, held.data, at, data)
                parts.append(packets)
            packets = join(parts)
        else:
            packets = join([held.packets for held in self._held])
        order = np.lexsort((packets["number"], packets["input"], packets["ts_ns"]))
        return Ordered(pick(packets, order), data)


def own(packets: Rows, data: Bytes) -> Ordered:
    """Return a copy of packets with no other bytes than their payloads.

    Raises
    ------
    nothing
    """
    packets = copy(packets)
    payloads = np.empty(int(packets["payload_captured"].sum(dtype=np.int64)), dtype=np.uint8)
    headers.gather_payloads(packets, data, 0, payloads)
    return Ordered(packets, payloads)


def _place(packet: np.void) -> tuple[int, int, int]:
    """Return what packets are ordered by."""
    return int(packet["ts_ns"]), int(packet["input"]), int(packet["number"])

"""Packets and bytes to DO messages, handshakes and protocol verdicts, by stream position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sensor.kernels import framing
from sensor.rows import copy, join
from sensor.schema import WEIRDS, Bytes, Handshakes, Messages, Rows

_ROOM: Final = 65536
_SHAKES: Final = 8192
_CELLS: Final = 16384
_FIRST_STREAMS: Final = 1024
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said: messages (with changes of verdict and gaps among them) and handshakes, in the order of packets."""

    messages: Rows
    handshakes: Rows


@dataclass(frozen=True, slots=True)
class Understanding:
    """How much of one flow's streams is understood; pairs are (originator, responder)."""

    in_sync: tuple[bool, bool]
    explained_bytes: tuple[int, int]
    """Stream bytes that messages cover, the rest of the last one included."""
    unexplained_bytes: tuple[int, int]
    """Stream bytes passed while framing was lost, those that were never seen included."""


class MessageReader:
    """Follows the messages of all living flows; one state per slot of the flow table that ever carried payload.

    Parameters
    ----------
    window_s : int
        A header that is missing is awaited to the end of the window of event time in which it was missed: then
        `settle` gives it up, before that window is told.
    """

    def __init__(self, window_s: int = 10) -> None:
        self._window_ns = window_s * _SECOND_NS
        self._places = np.zeros(0, dtype=np.int32)
        self._streams = np.zeros(_FIRST_STREAMS, dtype=framing.STREAM)
        self._cells = np.zeros(_CELLS, dtype=framing.CELL)
        self._cell_data = np.zeros(_CELLS * framing.CELL_BYTES, dtype=np.uint8)
        self._memory = np.array([framing.NONE, 0, 0, 0], dtype=np.int64)
        self._messages, self._handshakes = Messages.empty(_ROOM), Handshakes.empty(_SHAKES)
        self.weird = np.zeros(len(WEIRDS), dtype=np.int64)

    def push(self, packets: Rows, data: Bytes, tracks: Rows) -> Heard:
        """Read the payloads of packets, in time order, whose tracks the flow table gave."""
        if len(tracks):
            self._make_room(int(tracks["slot"].max()) + 1)
        heard = _Hearing(self._messages, self._handshakes)
        at = 0
        while at < len(packets):
            self._make_streams()
            at = framing.follow(
                packets,
                data,
                tracks,
                at,
                self._window_ns,
                self._places,
                self._streams,
                self._cells,
                self._cell_data,
                self._memory,
                heard.messages,
                heard.handshakes,
                heard.done,
                self.weird,
            )
            heard.take()
        return heard.all()

    def settle(self, until_ns: int | None) -> Heard:
        """Give up headers that are still awaited from windows that end by `until_ns` (None: from all).

        Call it before these windows are told, or what is found behind the gaps will be late.
        """
        heard = _Hearing(self._messages, self._handshakes)
        at = 0
        while at < self._memory[framing.USED_STREAMS] and (until_ns is None or self._memory[framing.CELLS_IN_USE]):
            at = framing.settle(
                at,
                until_ns if until_ns is not None else 0,
                int(until_ns is None),
                self._streams,
                self._cells,
                self._cell_data,
                self._memory,
                heard.messages,
                heard.handshakes,
                heard.done,
                self.weird,
            )
            heard.take()
        return heard.all()

    def understanding(self, slot: int) -> Understanding:
        """Say how much is understood of the flow in a slot of the flow table."""
        place = int(self._places[slot]) - 1 if slot < len(self._places) else -1
        if place < 0:
            return Understanding((False, False), (0, 0), (0, 0))
        stream = self._streams[place]
        sync, explained, unexplained = stream["sync"], stream["explained"], stream["unexplained"]
        return Understanding(
            (bool(sync[0] in (framing.IN, framing.COUNTING)), bool(sync[1] in (framing.IN, framing.COUNTING))),
            (int(explained[0]), int(explained[1])),
            (int(unexplained[0]), int(unexplained[1])),
        )

    def _make_room(self, slots: int) -> None:
        if slots > len(self._places):
            places = np.zeros(max(slots, 2 * len(self._places)), dtype=np.int32)
            places[: len(self._places)] = self._places
            self._places = places

    def _make_streams(self) -> None:
        if self._memory[framing.USED_STREAMS] == len(self._streams):
            streams = np.zeros(2 * len(self._streams), dtype=framing.STREAM)
            streams[: len(self._streams)] = self._streams
            self._streams = streams


class _Hearing:
    """Gathers what a kernel gives a portion at a time, in arrays that are used again."""

    def __init__(self, messages: Rows, handshakes: Rows) -> None:
        self.messages, self.handshakes = messages, handshakes
        self.done = np.zeros(2, dtype=np.int64)
        self._heard: list[Rows] = []
        self._shaken: list[Rows] = []

    def take(self) -> None:
        """Copy out what was given last."""
        if self.done[0]:
            self._heard.append(copy(self.messages[: self.done[0]]))
        if self.done[1]:
            self._shaken.append(copy(self.handshakes[: self.done[1]]))

    def all(self) -> Heard:
        """Return everything that was given."""
        return Heard(
            join(self._heard) if self._heard else Messages.empty(),
            join(self._shaken) if self._shaken else Handshakes.empty(),
        )

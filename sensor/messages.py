"""Packets and bytes to DO messages, handshakes and protocol verdicts, by stream position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sensor.kernels import framing
from sensor.schema import WEIRDS, Bytes, Handshakes, Messages, Rows

_ROOM: Final = 65536
_SHAKES: Final = 8192


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said: messages (with changes of verdict among them) and handshakes, in the order of packets."""

    messages: Rows
    handshakes: Rows


class MessageReader:
    """Follows the messages of all living flows; one state per slot of the flow table."""

    def __init__(self) -> None:
        self._streams = np.zeros(0, dtype=framing.STREAM)
        self.weird = np.zeros(len(WEIRDS), dtype=np.int64)

    def push(self, packets: Rows, data: Bytes, tracks: Rows) -> Heard:
        """Read the payloads of packets, in time order, whose tracks the flow table gave."""
        if len(tracks):
            self._make_room(int(tracks["slot"].max()) + 1)
        heard: list[Rows] = []
        shaken: list[Rows] = []
        done = np.zeros(2, dtype=np.int64)
        at = 0
        messages, handshakes = Messages.empty(_ROOM), Handshakes.empty(_SHAKES)
        while at < len(packets):
            at = framing.follow(packets, data, tracks, at, self._streams, messages, handshakes, done, self.weird)
            heard.append(messages[: done[0]].copy())
            shaken.append(handshakes[: done[1]].copy())
        if not heard:
            return Heard(Messages.empty(), Handshakes.empty())
        return Heard(np.concatenate(heard), np.concatenate(shaken))

    def _make_room(self, slots: int) -> None:
        if slots > len(self._streams):
            streams = np.zeros(max(slots, 2 * len(self._streams), 1024), dtype=framing.STREAM)
            streams["flow"] = -1
            streams[: len(self._streams)] = self._streams
            self._streams = streams

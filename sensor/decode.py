"""Batch to Packets: the fast lane of kernels, and the slow lane for the frames the kernels set aside.

The slow lane is injected as a function, so that this stage knows no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.kernels import headers
from sensor.schema import WEIRDS, Batch, Bytes, Packets, Rows
from sensor.wire import DO_PORT

SlowLane = Callable[[Rows, Bytes, int], tuple[Rows, npt.NDArray[np.int64]]]
_KINDS: Final = len(WEIRDS)


class Decoder:
    """Decodes batches, counting by kind the frames that look like TCP but give no packet.

    Parameters
    ----------
    port : int
        TCP port that one side must have; 0 decodes all TCP.
    slow : SlowLane or None
        Called as `slow(frames, data, port)` for odd frames; returns packets and counts by WEIRDS. None drops them.
    """

    def __init__(self, port: int = DO_PORT, slow: SlowLane | None = None) -> None:
        self._port = port
        self._slow = slow
        # Written anew for every batch; what is found is copied out, so that a batch of other traffic leaves nothing.
        self._found = Packets.empty()
        self._odd = np.empty(0, dtype=np.int64)
        self.weird = np.zeros(_KINDS, dtype=np.int64)
        self.saw_mdns = False
        """Whether the last batch held what may be mDNS: only then need anybody look for it."""

    def push(self, batch: Batch) -> Rows:
        """Return the packets of a batch in frame order.

        Returns
        -------
        Packets[P]
            Payload positions count from `batch.data[0]`.
        """
        count = len(batch.frames)
        if count > len(self._found):
            self._found, self._odd = Packets.empty(count), np.empty(count, dtype=np.int64)
        out, odd = self._found, self._odd
        counts = np.zeros(2 + _KINDS, dtype=np.int64)
        found = headers.decode_frames(batch.frames, batch.data, self._port, out, odd, counts)
        self.weird += counts[1 : 1 + _KINDS]
        self.saw_mdns = bool(counts[headers.AT_MDNS])
        packets = out[:found].copy()
        if counts[0] and self._slow is not None:
            slow, weird = self._slow(batch.frames[odd[: counts[0]]], batch.data, self._port)
            self.weird += weird
            if len(slow):
                packets = np.concatenate([packets, slow])
                packets = packets[np.argsort(packets["number"], kind="stable")]
        return packets


def decode(batch: Batch, port: int = DO_PORT) -> Rows:
    """Return the packets of one batch by the fast lane alone."""
    return Decoder(port).push(batch)

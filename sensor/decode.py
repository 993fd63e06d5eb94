"""Batch to Packets: the fast lane of kernels, and the slow lane for the frames the kernels set aside.

The slow lane is injected as a function, so that this stage knows no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.fragments import later
from sensor.kernels import headers
from sensor.rows import copy, join, pick
from sensor.schema import WEIRDS, Batch, Bytes, Packets, Rows
from sensor.wire import DO_PORT

SlowLane = Callable[[Rows, Bytes, int], tuple[Rows, npt.NDArray[np.int64]]]
_KINDS: Final = len(WEIRDS)
_ELSEWHERE_MAX: Final = 64


class Decoder:
    """Decodes batches, counting by kind the frames that look like TCP but give no packet.

    Parameters
    ----------
    port : int
        TCP port that one side must have; 0 decodes all TCP.
    slow : SlowLane or None
        Called as `slow(frames, data, port)` for odd frames; returns packets and counts by WEIRDS. None drops them.
    any_port : bool
        Take also flows on other ports, from the packet on that carries DO's handshake.
    like : Decoder, optional
        Another that does so: what either finds, both know.
    """

    def __init__(
        self, port: int = DO_PORT, slow: SlowLane | None = None, *, any_port: bool = False, like: Decoder | None = None
    ) -> None:
        self._port = port
        self._slow = slow
        self._any_port = any_port
        words = headers.KNOWN_WORDS if any_port else 1
        self.known: npt.NDArray[np.uint64] = np.zeros(words, dtype=np.uint64)
        if like is not None:
            self.known = like.known
        self.elsewhere: dict[tuple[int, int], None] = {}
        """Pairs of ports, the lower first, that the latest flows on other ports have; those heard last come last."""
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
        found = headers.decode_frames(batch.frames, batch.data, self._port, self.known, out, odd, counts)
        self.weird += counts[1 : 1 + _KINDS]
        self.saw_mdns = bool(counts[headers.AT_MDNS])
        packets = copy(out[:found])
        if counts[0] and self._slow is not None:
            wanted = 0 if self._any_port else self._port
            slow, weird = self._slow(batch.frames[odd[: counts[0]]], batch.data, wanted)
            self.weird += weird
            if self._any_port:
                chosen = np.zeros(len(slow), dtype=np.uint8)
                headers.choose_known(slow, batch.data, self._port, self.known, chosen)
                slow = pick(slow, (chosen > 0) | later(slow))
            if len(slow):
                packets = join([packets, slow])
                packets = pick(packets, np.argsort(packets["number"], kind="stable"))
        if self._any_port:
            self._note(packets)
        return packets

    @property
    def forgotten(self) -> int:
        """How many flows on other ports were forgotten for want of room."""
        return int(self.known[headers.FORGOTTEN]) if self._any_port else 0

    def _note(self, packets: Rows) -> None:
        """Note which pairs of ports the flows on other ports have."""
        src, dst = packets["src_port"], packets["dst_port"]
        away = (src != self._port) & (dst != self._port) & ~later(packets)
        if away.any():
            pairs = np.stack([np.minimum(src, dst)[away], np.maximum(src, dst)[away]], axis=1)
            latest = list(dict.fromkeys(map(tuple, pairs[::-1].tolist())))[:_ELSEWHERE_MAX]
            for pair in reversed(latest):
                self.elsewhere.pop(pair, None)
                self.elsewhere[pair] = None
            while len(self.elsewhere) > _ELSEWHERE_MAX:
                del self.elsewhere[next(iter(self.elsewhere))]


def decode(batch: Batch, port: int = DO_PORT) -> Rows:
    """Return the packets of one batch by the fast lane alone."""
    return Decoder(port).push(batch)

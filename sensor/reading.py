"""One input as parts: the packets of a batch that are on the port, what hosts announced in it, and the time it reaches.

A part depends on nothing but its input, so parts are made in any thread and on any machine, and can be kept for later.
Nothing heavy is imported here.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from sensor.announcements import announced
from sensor.decode import Decoder
from sensor.flows import FlowOptions
from sensor.order import own
from sensor.rows import pick
from sensor.schema import Batch
from sensor.sources.chains import ALL_FRAMES
from sensor.sources.files import Reader, sha256
from sensor.wire import DO_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    from sensor.announcements import Announced
    from sensor.schema import Bytes, Input, Rows

    Counts = npt.NDArray[np.int64]

_MANY: Final = 8  # inputs that may be open at once with a stream's usual step
_FEW_BYTES: Final = 512 * 1024
_LOOK_BYTES: Final = 64 * 1024  # a look costs what is read at once, and every input is looked at


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is done; nothing here is policy."""

    flows: FlowOptions = field(default_factory=FlowOptions)
    reorder_ms: int = 50
    port: int = DO_PORT
    any_port: bool = False
    """Find DO on other ports, too: flows from their handshake on. Inputs are then read one after the other."""
    hashes: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    mdns: bool = True
    """Take up what hosts announce by mDNS."""
    asked: str = ""
    """What `select` and `frames` choose, in words: equal words, equal choice."""
    chosen: str = ""
    """The same for people."""
    select: Callable[[Rows], Rows] | None = None
    """Gives back the packets that were asked for; None: all of them."""
    frames: Callable[[Batch], Rows] | None = None
    """Gives back the frames of a batch that are decoded at all; None: all of them."""
    jobs: int = 0
    """How many inputs are read at once; 0: as many as there are processors. It changes no answer."""
    keep: Path | None = None
    """Where what was decoded is kept until the run is whole, so that another can go on from it."""
    resume: bool = False
    """Whether what lies there already is used."""


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one batch: packets and the bytes they point into, mDNS messages, and the time that it reaches."""

    packets: Rows
    data: Bytes
    front_ns: int
    announced: tuple[Announced, ...] = ()

    def compact(self) -> Part:
        """Return the same with no other bytes than the packets' payloads."""
        kept = own(self.packets, self.data)
        return Part(kept.packets, kept.data, self.front_ns, self.announced)


class Reading(Protocol):
    """An input that gives parts, and then says what was read of it."""

    @property
    def done_bytes(self) -> int:
        """How far it has come, in bytes of the file as it lies on the disk."""
        ...

    @property
    def weird(self) -> Counts:
        """What was odd and gave no packet, by kind."""
        ...

    def parts(self) -> Iterator[Part]:
        """Yield what came of it, in its own order."""
        ...

    def summary(self) -> Input:
        """Return what was read."""
        ...


class FileReading:
    """An input that is read here: `with FileReading(name, 0, options) as reading: for part in reading.parts(): …`.

    Parameters
    ----------
    beside : int
        How many other inputs are open; among many, a stream is read in smaller steps, and its parts hold payloads only.
    """

    def __init__(
        self, name: str, source: int, options: Options, elsewhere: Decoder | None = None, beside: int = 0
    ) -> None:
        step = _FEW_BYTES if beside >= _MANY else 0
        port = ALL_FRAMES if options.any_port else options.port
        # Among many inputs, as many are read side by side as there are processors.
        alone = not beside and len(os.sched_getaffinity(0)) > 1
        self._reader = Reader(name, source, port, step, ahead=alone)
        any_port = options.any_port
        self._compacts = beside > 0
        self._decoder = Decoder(options.port, _slow_lane, any_port=any_port, like=elsewhere)
        self._options = options
        self._sha256 = ""
        self.done_bytes = 0

    def __enter__(self) -> Self:
        """Open the input.

        Raises
        ------
        OperatorError
            If it cannot be read, or is no capture.
        """
        self._reader.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._reader.__exit__()

    @property
    def weird(self) -> Counts:
        """What was odd and gave no packet, by kind."""
        return self._decoder.weird

    def parts(self) -> Iterator[Part]:
        """Yield the chosen packets of the input, batch by batch; when all is read, it is hashed if that was asked for.

        Raises
        ------
        nothing
        """
        options = self._options
        for batch in self._reader.batches():
            self.done_bytes = self._reader.consumed()
            front_ns = int(batch.frames["ts_ns"].max())
            wanted = batch if options.frames is None else Batch(options.frames(batch), batch.data)
            packets = self._decoder.push(wanted)
            heard = tuple(announced(wanted)) if options.mdns and self._decoder.saw_mdns else ()
            part = Part(_chosen(packets, options), batch.data, front_ns, heard)
            # What waits for other inputs must not hold all that was decompressed; a map's pages cost nothing.
            yield part.compact() if self._compacts and not self._reader.is_mapped else part
        self._sha256 = sha256(self._reader.name) if options.hashes and self._reader.can_reread else ""
        self.done_bytes = self._reader.facts.size_bytes

    def summary(self) -> Input:
        """Return what was read of it."""
        return self._reader.summary(self._sha256)


def _chosen(packets: Rows, options: Options) -> Rows:
    """Keep what `since_ns`, `until_ns` and `select` choose."""
    if options.since_ns is not None:
        packets = pick(packets, packets["ts_ns"] >= options.since_ns)
    if options.until_ns is not None:
        packets = pick(packets, packets["ts_ns"] < options.until_ns)
    return packets if options.select is None else options.select(packets)


def _slow_lane(frames: Rows, data: Bytes, port: int) -> tuple[Rows, Counts]:
    from sensor.dissect import slow_lane  # dpkt, which most captures never need

    return slow_lane(frames, data, port)


@dataclass(frozen=True, slots=True, order=True)
class Look:
    """What puts inputs in order whatever they are called: the first packet's time, and what the input begins with."""

    first_ns: int
    begins: str
    size_bytes: int


def look(name: str) -> Look:
    """Return what orders an input.

    A pipe can be read only once: it counts as old, and is merged by what it gives.

    Raises
    ------
    OperatorError
        If it cannot be read, or is no capture.
    """
    if name == "-" or Path(name).is_fifo():
        return Look(0, "", 0)
    with Reader(name, 0, stream_bytes=_LOOK_BYTES) as reader:
        first_ns, begins = reader.beginning()
        return Look(first_ns, hashlib.sha256(begins).hexdigest(), reader.facts.size_bytes)

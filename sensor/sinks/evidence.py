"""The packets of incidents, one small capture per incident, so that a case can be proved without its inputs.

Each holds what its incident names, and then the rest of those flows as far as there is room. Frame numbers and offsets
of a case are those inside these files: they do not depend on how the input was cut into files. Timestamps keep their
nanoseconds, frames their bytes, cut or whole, and their link type.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sensor.outfile import outfile
from sensor.pcapfile import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from sensor.schema import Incident

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")

Place = tuple[int, int]
"""Where a packet lies: its input, and the offset of its record there."""


class Frame(Protocol):
    """A frame as it lies in its input."""

    @property
    def data(self) -> bytes: ...  # noqa: D102 - the captured bytes
    @property
    def wire_bytes(self) -> int: ...  # noqa: D102 - the bytes it had on the wire
    @property
    def link_type(self) -> int: ...  # noqa: D102 - LINKTYPE_ value
    @property
    def ts_ns(self) -> int: ...  # noqa: D102 - capture time


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """One incident's capture: its name in the case, its hash, and where each of the incident's packets lies in it.

    `frames` has one (frame number, record offset) per locator of the incident, in their order; (0, 0) where the input
    could not be read again. `packets` is how many packets the file has.
    """

    file: str
    sha256: str
    frames: tuple[tuple[int, int], ...]
    packets: int = 0


def write(
    folder: Path,
    incidents: Iterable[Incident],
    fetch: Callable[[Incident], Mapping[Place, Frame]],
) -> dict[str, EvidenceFile]:
    """Write `evidence/<incident>.pcap` for each incident with packets; pcapng if they have several link types.

    Parameters
    ----------
    folder
        The case folder.
    incidents
        Their evidence names packets by input and offset.
    fetch
        Returns the packets of an incident by their places: those it names, as far as their inputs can be read again,
        and whatever else belongs to it.

    Returns
    -------
    dict
        By incident id; without incidents that have no readable packet.

    Raises
    ------
    OperatorError
        If a file cannot be written.
    """
    written = {}
    for incident in incidents:
        found = sorted(fetch(incident).items(), key=lambda pair: (pair[1].ts_ns, pair[0]))
        if not found:
            continue
        frames = [frame for _, frame in found]
        shape = Format([frame.link_type for frame in frames], max(len(frame.data) for frame in frames))
        blocks = [shape.head()]
        blocks += [shape.record(frame.data, frame.wire_bytes, frame.link_type, frame.ts_ns) for frame in frames]
        name = f"evidence/{_UNSAFE.sub('_', incident.id)}.{shape.suffix}"
        with outfile(folder / name) as file:
            file.writelines(blocks)
        places: dict[Place, tuple[int, int]] = {}
        offset = len(blocks[0])
        for number, ((place, _), record) in enumerate(zip(found, blocks[1:], strict=True), start=1):
            places[place] = (number, offset)
            offset += len(record)
        digest = hashlib.sha256(b"".join(blocks)).hexdigest()
        named = tuple(places.get((at.input, at.offset), (0, 0)) for at in incident.evidence)
        written[incident.id] = EvidenceFile(name, digest, named, len(frames))
    return written

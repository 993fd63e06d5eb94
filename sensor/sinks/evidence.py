"""The packets that incidents name, one small capture per incident, so that a case can be proved without its inputs.

Frame numbers and offsets of a case are those inside these files: they do not depend on how the input was cut into
files. Timestamps keep their nanoseconds, frames their bytes, cut or whole, and their link type.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sensor.outfile import outfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sensor.schema import Incident

_NS: Final = 1_000_000_000
_SNAPLEN: Final = 262_144  # libpcap's largest; a frame that is longer raises it
# https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/ : magic of nanoseconds, version 2.4, snaplen, link type
_FILE: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_MAGIC_NS: Final = 0xA1B23C4D
# https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/ : for frames of several link types
_SECTION: Final = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
_INTERFACE: Final = struct.Struct("<IIHHIHHIHHI")
_PACKET: Final = struct.Struct("<IIIIIII")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


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
    could not be read again.
    """

    file: str
    sha256: str
    frames: tuple[tuple[int, int], ...]


def write(
    folder: Path, incidents: Iterable[Incident], fetch: Callable[[int, int], Frame | None]
) -> dict[str, EvidenceFile]:
    """Write `evidence/<incident>.pcap` for each incident with packets; pcapng if they have several link types.

    Parameters
    ----------
    folder
        The case folder.
    incidents
        Their evidence names packets by input and offset.
    fetch
        Returns the frame at (input, offset), or None if the input cannot be read again.

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
        found = [(at, fetch(at.input, at.offset)) for at in dict.fromkeys(incident.evidence)]
        frames = sorted(((at, frame) for at, frame in found if frame is not None), key=lambda pair: pair[1].ts_ns)
        if not frames:
            continue
        mixed = len({frame.link_type for _, frame in frames}) > 1
        blocks = _pcapng([frame for _, frame in frames]) if mixed else _pcap([frame for _, frame in frames])
        head, records = blocks[0], blocks[1:]
        name = f"evidence/{_UNSAFE.sub('_', incident.id)}.{'pcapng' if mixed else 'pcap'}"
        with outfile(folder / name) as file:
            file.writelines(blocks)
        places, offset = {}, len(head)
        for number, ((at, _), record) in enumerate(zip(frames, records, strict=True), start=1):
            places[at] = (number, offset)
            offset += len(record)
        digest = hashlib.sha256(b"".join(blocks)).hexdigest()
        written[incident.id] = EvidenceFile(name, digest, tuple(places.get(at, (0, 0)) for at in incident.evidence))
    return written


def _pcap(frames: list[Frame]) -> list[bytes]:
    """Return the file header and one record per frame."""
    longest = max(len(frame.data) for frame in frames)
    blocks = [_FILE.pack(_MAGIC_NS, 2, 4, 0, 0, max(_SNAPLEN, longest), frames[0].link_type)]
    for frame in frames:
        seconds, fraction = divmod(frame.ts_ns, _NS)
        head = _RECORD.pack(seconds & 0xFFFFFFFF, fraction, len(frame.data), frame.wire_bytes)
        blocks.append(head + frame.data)
    return blocks


def _pcapng(frames: list[Frame]) -> list[bytes]:
    """Return the section with one interface per link type, and one enhanced packet block per frame."""
    links = sorted({frame.link_type for frame in frames})
    # if_tsresol = 9 (nanoseconds), then opt_endofopt
    interfaces = [_INTERFACE.pack(1, 32, link, 0, 0, 9, 1, 9, 0, 0, 32) for link in links]
    blocks = [_SECTION + b"".join(interfaces)]
    for frame in frames:
        size = len(frame.data)
        padding = -size % 4
        total = _PACKET.size + size + padding + 4
        high, low = divmod(frame.ts_ns & 0xFFFFFFFFFFFFFFFF, 1 << 32)
        head = _PACKET.pack(6, total, links.index(frame.link_type), high, low, size, frame.wire_bytes)
        blocks.append(head + frame.data + bytes(padding) + struct.pack("<I", total))
    return blocks

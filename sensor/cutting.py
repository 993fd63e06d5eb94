"""Each incident's packets, cut from the tape while it still has them: one small capture under the incident's name.

It is cut when the incident opens and again when it closes; what holds more is kept. Neither tape nor cuttings grow
without bound.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor.errors import OperatorError
from sensor.extract import extract
from sensor.posting import RefusedError
from sensor.selection import Selection
from sensor.tape import TapeOptions, pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.schema import Incident
    from sensor.store import Parcel

CUTTINGS: Final = "incidents"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_BEFORE_NS: Final = 600 * 1_000_000_000  # how far before the incident its flows are still looked for
_SECOND_NS: Final = 1_000_000_000
_EMPTY: Final = "would be empty"


class Cutter:
    """The sink that cuts evidence: `incidents/<incident>.pcap` beside the tape.

    Parameters
    ----------
    options : TapeOptions
        Cuttings together hold no more than the tape does; the oldest go first.
    """

    name = "evidence"

    def __init__(self, options: TapeOptions) -> None:
        self._tape = Path(options.folder)
        self._folder = self._tape / CUTTINGS
        self._most_bytes = options.most_bytes

    def deliver(self, parcel: Parcel) -> None:
        """Cut what the tape has of an incident.

        Raises
        ------
        OSError
            If it cannot be read or written now.
        RefusedError
            If the tape has nothing of it (any more).
        """
        incident = parcel.incident
        flows = frozenset(each.community_id for each in incident.evidence if each.community_id)
        if not flows:
            return  # an incident of silence, or of the sensor itself
        since_ns, until_ns = incident.first_seen_ns - _BEFORE_NS, incident.last_seen_ns + _SECOND_NS
        names = [str(path) for path in self._of(since_ns, until_ns)]
        path = self._folder / f"{_UNSAFE.sub('_', incident.id)}.pcap"
        fresh = path.with_suffix(".fresh.pcap")
        if not names:
            raise RefusedError("the tape has nothing of its time")
        try:
            extract(names, Selection(flows=flows), fresh, (since_ns, until_ns))
        except OperatorError as error:
            if _EMPTY not in str(error):
                raise OSError(str(error)) from error
            if not path.exists():
                raise RefusedError("the tape has none of its packets") from error
            return
        if path.exists() and path.stat().st_size > fresh.stat().st_size:
            fresh.unlink()  # the tape has forgotten some since
        else:
            fresh.replace(path)
        self._forget()

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Do nothing beside."""

    def reopen(self) -> None:
        """Do nothing: no file stays open."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _of(self, since_ns: int, until_ns: int) -> list[Path]:
        """Return the files of the tape that may hold packets of a time."""
        found = []
        for path in pieces(self._tape):
            began_ns = int(path.stem.rpartition("-")[2])
            try:
                ended_ns = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # it has just gone
            # A second for packets that were read late, and a clock that was slewed.
            if ended_ns >= since_ns - _SECOND_NS and began_ns <= until_ns + 60 * _SECOND_NS:
                found.append(path)
        return found

    def _forget(self) -> None:
        """Remove the oldest cuttings beyond what may be held."""
        held = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.glob("*.pcap"))
        beyond = sum(size for _, size, _ in held) - self._most_bytes
        for _, size, path in held[:-1]:
            if beyond <= 0:
                break
            path.unlink(missing_ok=True)
            beyond -= size

"""The packets that belong to incidents, read from the inputs once more: those they name, and the rest of their flows.

There is a limit to what is kept, shared out among incidents and then among their flows; a flow is kept from its start.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor.errors import OperatorError
from sensor.extract import Chosen, chosen, wide
from sensor.selection import Selection
from sensor.sources.files import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sensor.schema import Case, Incident

ALL_BYTES: Final = 128 * 1024 * 1024
INCIDENT_BYTES: Final = 4 * 1024 * 1024

_SLACK_NS: Final = 1_000_000_000  # packets may stand a little behind younger ones

Place = tuple[int, int]


@dataclass(slots=True)
class _Flow:
    """One flow that incidents name: when it was, the places that are named, and what has been kept of it."""

    start_ns: int
    end_ns: int
    room: int
    named: set[Place] = field(default_factory=set)
    kept: dict[Place, Found] = field(default_factory=dict)
    seen: set[tuple[int, bytes]] = field(default_factory=set)
    is_full: bool = False


class Proofs:
    """The packets of a case's incidents.

    Parameters
    ----------
    case : Case
    all_bytes, incident_bytes : int
        The most that is kept of all incidents, and of one.
    """

    def __init__(self, case: Case, all_bytes: int = ALL_BYTES, incident_bytes: int = INCIDENT_BYTES) -> None:
        self._flows: dict[int, _Flow] = {}
        self._by_id: dict[str, list[_Flow]] = defaultdict(list)
        self._overlaps = any(read.repeated for read in case.inputs)
        share = min(incident_bytes, all_bytes // max(len(case.incidents), 1))
        spans = _spans(case, {each.flow for incident in case.incidents for each in incident.evidence})
        for incident in case.incidents:
            flows = {each.flow for each in incident.evidence}
            for each in incident.evidence:
                self._add(each.flow, each.community_id, spans.get(each.flow), share // max(len(flows), 1))
                self._flows[each.flow].named.add((each.input, each.offset))
        self._read(case)

    def of(self, incident: Incident) -> Mapping[Place, Found]:
        """Return an incident's packets by input and offset."""
        kept: dict[Place, Found] = {}
        for flow in dict.fromkeys(each.flow for each in incident.evidence):
            kept |= self._flows[flow].kept
        return kept

    def _add(self, flow: int, community_id: str, span: tuple[int, int] | None, room: int) -> None:
        if flow not in self._flows:
            start_ns, end_ns = span or (-(2**63), 2**63 - 1)
            self._flows[flow] = _Flow(start_ns, end_ns, room)
            self._by_id[community_id].append(self._flows[flow])
        # A flow that several incidents name has the room of the most generous.
        self._flows[flow].room = max(self._flows[flow].room, room)

    def _read(self, case: Case) -> None:
        selection = Selection(flows=frozenset(self._by_id))
        if not self._by_id:
            return
        first_ns = min(flow.start_ns for flow in self._flows.values())
        last_ns = max(flow.end_ns for flow in self._flows.values())
        decoder = wide()
        for source, read in enumerate(case.inputs):
            if read.name == "stdin" or not read.packets:
                continue
            if read.last_packet_ns < first_ns or read.first_packet_ns > last_ns:
                continue
            if not self._wants(source, read.first_packet_ns):
                continue
            try:
                for part in chosen(read.name, source, selection, (first_ns, last_ns + 1), decoder):
                    if isinstance(part, Chosen):
                        self._keep(part, selection, source)
                        if not self._wants(source, int(part.packets["ts_ns"][0])):
                            break
            except OperatorError:
                continue  # it was readable a moment ago; what it gave until now is what there is

    def _wants(self, source: int, now_ns: int) -> bool:
        """Say whether an input may still hold what is wanted, from a time on."""
        return any(
            (not flow.is_full and flow.end_ns >= now_ns - _SLACK_NS)
            or any(place[0] == source and place not in flow.kept for place in flow.named)
            for flow in self._flows.values()
        )

    def _keep(self, part: Chosen, selection: Selection, source: int) -> None:
        ids = selection.ids(part.packets)
        for name, frame in zip(ids, part.frames, strict=True):
            ts_ns, place = int(frame["ts_ns"]), (source, int(frame["offset"]))
            flow = self._flow_of(name, ts_ns, place)
            size = int(frame["captured_bytes"])
            if flow is None or place in flow.kept:
                continue
            start = int(frame["at"])
            data = part.data[start : start + size].tobytes()
            # Where inputs overlap, the packet lies in an earlier one too.
            if self._overlaps and place not in flow.named and (ts_ns, data) in flow.seen:
                continue
            if place not in flow.named:
                flow.is_full = flow.is_full or size > flow.room
                if flow.is_full:
                    continue
                flow.room -= size
            if self._overlaps:
                flow.seen.add((ts_ns, data))
            flow.kept[place] = Found(
                data=data,
                wire_bytes=int(frame["wire_bytes"]),
                link_type=int(frame["link_type"]),
                ts_ns=ts_ns,
            )

    def _flow_of(self, community_id: str, ts_ns: int, place: Place) -> _Flow | None:
        """Return the flow of a packet: ports are used again, and then only the time tells."""
        found = None
        for flow in self._by_id[community_id]:
            if place in flow.named:
                return flow
            if flow.start_ns <= ts_ns <= flow.end_ns:
                found = flow
        return found


def _spans(case: Case, wanted: Iterable[int]) -> dict[int, tuple[int, int]]:
    flows = case.flows
    rows = flows[np.isin(flows["flow"].to_numpy(), np.fromiter(wanted, dtype=np.int64))]
    return dict(zip(rows["flow"].tolist(), zip(rows["start_ns"], rows["end_ns"], strict=True), strict=True))

"""An incident's packets are what it names and the rest of its flows, within a limit that is shared out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sensor.decode import Decoder
from sensor.proofs import Proofs
from sensor.selection import Selection
from sensor.sources.files import Reader
from tests import builders, cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Case


def frame(at: int, host: str = "10.1.0.5") -> tuple[int, bytes]:
    segment = builders.tcp(src_port=50000, dst_port=7680, payload=bytes(100), seq=at)
    return NOON + at * SECOND, builders.ethernet(builders.ip(host, "10.1.0.6", segment))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Return a case of ten packets of one flow, one of another in between, and the same ports used again later."""
    frames = [frame(at) for at in range(10)]
    frames.insert(5, frame(4, "10.1.0.7"))
    frames.append(frame(9000))
    (tmp_path / "in.pcap").write_bytes(builders.pcap(frames, nanos=True))
    with Reader(tmp_path / "in.pcap", 0) as reader:
        [batch] = list(reader.batches())
        packets = Decoder().push(batch)
        name = Selection().ids(packets)[0]
    flows = cases.flows(
        {"community_id": name, "end_ns": NOON + 9 * SECOND, "flow": 3},
        {"community_id": name, "start_ns": NOON + 9000 * SECOND, "end_ns": NOON + 9000 * SECOND, "flow": 4},
    )
    seventh = cases.evidence(flow=3, community_id=name, offset=int(packets["offset"][8]), ts_ns=NOON + 7 * SECOND)
    source = cases.source(name=str(tmp_path / "in.pcap"), last_packet_ns=NOON + 9000 * SECOND)
    return cases.case(inputs=(source,), flows=flows, incidents=(cases.incident(evidence=(seventh,)),))


def times(case: Case, **limits: int) -> list[int]:
    kept = Proofs(case, **limits).of(case.incidents[0])
    return sorted((each.ts_ns - NOON) // SECOND for each in kept.values())


def test_whole_flow_and_nothing_of_another(case: Case) -> None:
    assert times(case) == list(range(10))


def test_flow_is_kept_from_its_start_as_far_as_there_is_room_and_what_is_named_always(case: Case) -> None:
    size = len(frame(0)[1])
    assert times(case, incident_bytes=3 * size) == [0, 1, 2, 7]
    assert times(case, incident_bytes=0) == [7]
    two = replace(case, incidents=(*case.incidents, replace(case.incidents[0], id="other")))
    assert times(two, all_bytes=4 * size + 1) == [0, 1, 7]


def test_input_that_has_gone(case: Case) -> None:
    gone = replace(case, inputs=(cases.source(name="/nowhere/in.pcap", last_packet_ns=NOON + 9000 * SECOND),))
    assert times(gone) == []
    assert times(replace(case, inputs=(cases.source(name="stdin"),))) == []

"""A capture gives the same flows, activity and incidents however it is cut into files, named, packed and batched."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor import following, incidents, pipeline
from sensor.rules.load import load
from sensor.settings import load_policy
from sensor.sources import files
from tests.builders import pcap, pcapng
from tests.captures import COMPRESSIONS, ROOT, SAMPLES, compressed, records_of

if TYPE_CHECKING:
    import pandas as pd

    from sensor.schema import Case

Record = tuple[int, bytes, int]

RULES = load([ROOT / "rules"])
POLICY = load_policy(SAMPLES / "office.yaml")
# Few enough to stay quick, and something of everything: outcomes, verdicts, schedule states, tags, families.
STORIES = (
    "allowed-night", "cross-site", "disabled-attempt", "disabled-listener", "disabled-transfer", "excepted",
    "http-on-7680", "internet-peer", "keepalives", "off-window", "opaque-on-7680", "quinq", "refused", "slot-edge",
    "ssh-on-7680", "stale-peer-list", "sweep", "tls-on-7680",
)  # fmt: skip
LOCATORS = ["first_input", "first_number", "first_offset"]  # of the cut, not of the capture
DISORDER_NS = 40_000_000


def stories() -> list[Record]:
    """Return the stories in time order, each packet at an instant of its own."""
    read = ((SAMPLES / f"{name}.pcap").read_bytes() for name in STORIES)
    records = sorted((r for data in read for r in records_of(data)), key=lambda record: record[0])
    distinct: list[Record] = []
    for ts_ns, data, wire in records:
        distinct.append((max(ts_ns, distinct[-1][0] + 1) if distinct else ts_ns, data, wire))
    return distinct


WHOLE = stories()


def analyze(parts: list[tuple[str, bytes]]) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in parts:
            (Path(folder) / name).write_bytes(data)
        return pipeline.analyze(files.find([folder]), POLICY, RULES)


def told(case: Case) -> dict[str, Any]:
    """Return everything that must not depend on the cut."""
    flows: pd.DataFrame = case.flows
    numbers = dict(zip(flows["flow"], flows["community_id"], strict=True))
    listed = incidents.as_json(case.incidents, {})
    for incident in listed:
        incident["evidence"] = [place["community_id"] for place in incident["evidence"]]
    return {
        "flows": flows.drop(columns=[*LOCATORS, "flow"], errors="ignore").to_dict("list"),
        "activity": case.activity.drop(columns=[*LOCATORS, "flow"]).to_dict("list"),
        "owners": [numbers[flow] for flow in case.activity["flow"]],
        "incidents": listed,
        "findings": case.findings,
        "weird": case.weird,
        "counts": (case.packets, case.packets_7680, case.bytes, case.payload_bytes, case.peers, case.swarms),
        "off_window": case.off_window_payload_bytes,
        "span": (case.first_packet_ns, case.last_packet_ns),
    }


TRUTH = told(analyze([("whole.pcap", pcap(WHOLE, nanos=True))]))


def packed(records: list[Record], container: str, compression: str) -> bytes:
    data = (pcap if container == "pcap" else pcapng)(records, nanos=True)
    return compressed(data, compression) if compression else data


@st.composite
def cuts(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Return the capture as files: cut anywhere, named in any order, packed in any way, some of them empty."""
    edges = sorted(draw(st.lists(st.integers(0, len(WHOLE)), max_size=8)))
    parts = [WHOLE[start:end] for start, end in zip([0, *edges], [*edges, len(WHOLE)], strict=True)]
    names = draw(st.permutations([f"part-{at}" for at in range(len(parts))]))
    containers = st.tuples(st.sampled_from(["pcap", "pcapng"]), st.sampled_from(["", "", *COMPRESSIONS]))
    return [(name, packed(part, *draw(containers))) for name, part in zip(names, parts, strict=True)]


QUICK = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))


def test_the_capture_holds_something_of_everything() -> None:
    assert len({incident["rule"] for incident in TRUTH["incidents"]}) >= 8
    assert len(set(TRUTH["activity"]["verdict"])) >= 6
    assert len(set(TRUTH["flows"]["conn_state"])) >= 4
    assert set(TRUTH["activity"]["schedule"]) >= {"open", "closed", "disabled", "exempt"}


@settings(QUICK)
@given(parts=cuts())
def test_cut_into_files_anywhere(parts: list[tuple[str, bytes]]) -> None:
    assert told(analyze(parts)) == TRUTH


@settings(QUICK)
@given(parts=cuts(), seed=st.integers(0, 2**32))
def test_records_out_of_order_within_the_horizon(parts: list[tuple[str, bytes]], seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test's disorder
    shuffled = sorted(WHOLE, key=lambda record: record[0] + rng.randint(0, DISORDER_NS))
    count = len(parts)
    edges = [len(WHOLE) * at // count for at in range(count + 1)]
    cut = [(f"part-{at}", pcap(shuffled[edges[at] : edges[at + 1]], nanos=True)) for at in range(count)]
    assert told(analyze(cut)) == TRUTH


@settings(QUICK)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 5))
def test_files_that_overlap_in_time(seed: int, count: int) -> None:
    # As several sensors would write them: each packet in one of the files.
    rng = random.Random(seed)  # noqa: S311 - a test's choice
    parts: list[list[Record]] = [[] for _ in range(count)]
    for record in WHOLE:
        parts[rng.randrange(count)].append(record)
    assert told(analyze([(f"sensor-{at}", pcap(part, nanos=True)) for at, part in enumerate(parts)])) == TRUTH


@pytest.mark.parametrize(("batch", "portion"), [(500, 5), (64, 200_000)])
def test_small_batches_and_portions(monkeypatch: pytest.MonkeyPatch, batch: int, portion: int) -> None:
    monkeypatch.setattr(files, "BATCH_FRAMES", batch)
    monkeypatch.setattr(following, "_PORTION", portion)
    assert told(analyze([("whole.pcap", pcap(WHOLE, nanos=True))])) == TRUTH
    half = len(WHOLE) // 2
    parts = [("b.pcap", pcap(WHOLE[:half], nanos=True)), ("a.pcapng", pcapng(WHOLE[half:]))]
    assert told(analyze(parts)) == TRUTH


def test_the_same_file_given_twice_is_read_once() -> None:
    assert told(analyze([("a", pcap(WHOLE, nanos=True)), ("b", pcap(WHOLE, nanos=True))])) == TRUTH


def test_a_mirror_recorded_twice_gives_copies_not_bytes() -> None:
    # The second sensor's clock is a little behind: no packet of one file is a packet of the other.
    later = [(ts + 10_000, frame, wire) for ts, frame, wire in WHOLE]
    twice = told(analyze([("a", pcap(WHOLE, nanos=True)), ("b", pcap(later, nanos=True))]))
    assert twice["counts"][3] == TRUTH["counts"][3]
    assert sum(twice["flows"]["duplicate_packets"]) == len(WHOLE)
    assert [i["id"] for i in twice["incidents"]] == [i["id"] for i in TRUTH["incidents"]]

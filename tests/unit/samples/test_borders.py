"""Near misses: each is named by a case of some rule, and each has the flows that it says."""

from __future__ import annotations

from pathlib import Path

from sensor.rules.load import load
from sensor.samples import annex, borders

ROOT = Path(__file__).parents[3]


def test_each_is_in_a_case() -> None:
    named = {case.capture for rule in load([ROOT / "rules"]).rules for case in rule.cases}
    assert {story.name for _, story in borders.STORIES} <= named


def test_idle_connections_begin_before_the_capture() -> None:
    flows = [flow for flow in annex.truth("idle-connections").flows if flow.conn_state == "OTH"]
    assert len(flows) == 55
    assert all((flow.orig_packets, flow.orig_payload_bytes) == (1, 4) for flow in flows)

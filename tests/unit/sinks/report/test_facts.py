"""Tables and bars of facts: hand-counted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sensor.sinks.report import facts
from tests import cases
from tests.cases import NOON, SECOND


def cells(made: str) -> list[list[str]]:
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", made, re.DOTALL)]
    return [row for row in rows if row]


def test_off_by_site_is_longest_first() -> None:
    made = facts.off_by_site(cases.case(off_window_payload_bytes={"hq": 1000, "ber": 4000, "unknown": 0}))
    assert re.findall(r"<dt>(\w+)</dt>.*?width=\"([\d.]+)\".*?<span>(.*?)</span>", made) == [
        ("ber", "100.0", "4.0 kB"), ("hq", "25.0", "1.0 kB"),
    ]  # fmt: skip
    assert facts.off_by_site(cases.case()) == '<p class="calm">No payload off schedule.</p>'


def test_sites_by_state_of_the_schedule() -> None:
    made = facts.sites(cases.case(activity=cases.activity({"schedule": "closed", "payload_bytes": 7000})))
    assert cells(made) == [["hq", "scheduled", "Europe/Berlin", "1", "7.0 kB"]]
    assert '<td class="n bad" data-by="7000">7.0 kB</td>' in made


def test_scans_are_who_tried_and_moved_nothing() -> None:
    rows = [
        {"resp_ip": "10.1.0.7", "conn_state": "S0", "orig_packets": 1},
        {"resp_ip": "10.1.0.8", "conn_state": "REJ", "resp_packets": 1, "end_ns": NOON + 9 * SECOND},
        {"resp_ip": "10.1.0.8", "conn_state": "SF", "resp_packets": 3},
        {"orig_ip": "10.1.0.9", "conn_state": "S0"},
        {"orig_payload_bytes": 1},
    ]
    accused = cases.incident(rule="r01_horizontal_scan", subject={"orig_ip": "10.1.0.5"})
    made = facts.scans(cases.case(flows=cases.flows(*rows), incidents=(accused,)))
    first, last = "2026-03-10 12:00:00", "2026-03-10 12:00:09"
    assert cells(made) == [
        ["10.1.0.5", "hq", "2", "3", "1", "1", "1", first, last, "r01_horizontal_scan"],
        ["10.1.0.9", "hq", "1", "1", "1", "0", "0", first, "2026-03-10 12:00:01", "-"],
    ]
    assert facts.scans(cases.case(flows=cases.flows({"orig_payload_bytes": 1}))) == ""


@pytest.mark.parametrize("shown", [1, 4, 7, 60])
def test_the_widest_of_very_many_are_the_widest_of_all(monkeypatch: pytest.MonkeyPatch, shown: int) -> None:
    chance = np.random.default_rng(7)
    rows = [
        {"orig_ip": f"10.9.{host}.1", "resp_ip": f"10.1.0.{to}", "conn_state": "S0"}
        for host, to in zip(chance.integers(0, 40, 120), chance.integers(0, 9, 120), strict=True)
    ]
    case = cases.case(flows=cases.flows(*rows))
    monkeypatch.setattr(facts, "SHOWN_SCANS", shown)
    whole = facts.scans(case)
    monkeypatch.setattr(facts, "_MANY", 0)
    assert facts.scans(case) == whole


def test_protocols_mark_what_is_not_expected() -> None:
    flows = cases.flows({"verdict": "tls", "orig_payload_bytes": 7000}, {}, {})
    made = facts.protocols(cases.case(flows=flows))
    assert re.findall(r"<dt>(\w+)</dt>.*?class=\"(\w+)\".*?<span>(.*?)</span>", made) == [
        ("do", "in", "2 flows, 0 B"), ("tls", "off", "1 flow, 7.0 kB"),
    ]  # fmt: skip


def test_health_and_damage() -> None:
    flows = cases.flows({"orig_gap_bytes": 1000, "orig_packets": 9}, {"conn_state": "S0", "orig_packets": 5})
    case = cases.case(
        flows=flows, weird={"tso_length": 4, "time_backwards": 2}, inputs=(cases.source(drops=3, damage="cut off"),)
    )
    told = cells(facts.health(case))
    assert ["acknowledged but never seen (gaps)", "1.0 kB (12.50% of the payload)"] in told
    assert ["packets dropped before the capture", "3"] in told
    assert ["flows seen from one side only", "1"] in told
    assert ["packets older than their flow (clock, order)", "2"] in told
    assert ["tso length", "4"] in told
    assert told[-1] == ["office.pcap", "cut off"]


def test_flows_worth_a_row_are_those_of_incidents_then_the_largest() -> None:
    flows = cases.flows(*({"orig_payload_bytes": size, "start_ns": NOON - at} for at, size in enumerate((5, 9, 0, 7))))
    assert facts.top_flows(flows, {2}, 3)["flow"].tolist() == [3, 2, 1]

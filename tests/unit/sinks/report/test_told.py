"""Incidents in words, folded and counted when there are many."""

from __future__ import annotations

from sensor.sinks.report import told
from sensor.sinks.report.marks import Beside
from tests import cases


def test_incident_is_told_with_reason_time_file_and_flow() -> None:
    case = cases.case(incidents=(cases.incident(confidence=0.5, attack=("T1046",)),))
    made = told.incidents(case, Beside(files={"w01-0a1b2c": "evidence/w01-0a1b2c.pcap"}))
    assert "<p>3.0 MB of unique payload while hq was closed</p>" in made
    when = "Tue 2026-03-10 13:00-13:01 CET (12:00 UTC)"
    assert f"hq · within hq · {when} · 2 flows · 3.0 MB · confidence 50% · closed · ATT&amp;CK T1046" in made
    assert '<a href="evidence/w01-0a1b2c.pcap">' in made
    assert 'data-find="1:beV1u+LD013n0TD913ZJfaMWp+Y="' in made


def test_levels_are_counted_worst_first() -> None:
    several = tuple(cases.incident(id=str(at), level=level) for at, level in enumerate(("low", "high", "low")))
    made = told.levels(cases.case(incidents=several))
    assert made.index(">high<") < made.index(">low<")
    assert '<div class="level low"><b>2</b>' in made
    assert "Update data moved off schedule <b>2 times</b>" in made
    assert told.levels(cases.case()) == '<p class="calm">No incidents.</p>'


def test_many_alike_are_folded_and_more_are_counted() -> None:
    many = tuple(cases.incident(id=str(at)) for at in range(130))
    made = told.incidents(cases.case(incidents=many), Beside())
    assert made.count("<article") == 100
    assert "<summary>127 more</summary>" in made
    assert "and 30 more in <code>incidents.json</code>" in made
    assert told.incidents(cases.case(), Beside()) == "<p>None.</p>"

"""What people read, literally."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor import words
from tests import cases
from tests.cases import NOON, SECOND


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_048_576, "1.0 MB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (345_000_000, "345 MB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2**62, "4.6 EB"),
    ],
)
def test_volume(count: int, said: str) -> None:
    assert words.volume(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (40, "40 s"), (60, "1 min"), (3599, "59 min 59 s"), (3601, "1 h"), (86400 * 6 + 3600 * 7, "6 d 7 h")],
)
def test_duration(seconds: int, said: str) -> None:
    assert words.duration(seconds * SECOND) == said


def test_count_and_listed() -> None:
    assert words.count(1, "flow") == "1 flow"
    assert words.count(1234, "flow") == "1,234 flows"
    assert words.count(2, "address", "addresses") == "2 addresses"
    assert [words.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


@pytest.mark.parametrize(
    ("first_s", "last_s", "zone", "said"),
    [
        (0, 90, "Europe/Berlin", "Tue 2026-03-10 13:00-13:01 CET"),
        (0, 90, "UTC", "Tue 2026-03-10 12:00-12:01 UTC"),
        (0, 5, "UTC", "Tue 2026-03-10 12:00:00-12:00:05 UTC"),
        (0, 0, "UTC", "Tue 2026-03-10 12:00:00 UTC"),
        (0, 86400, "UTC", "Tue 2026-03-10 12:00 to Wed 2026-03-11 12:00 UTC"),
    ],
)
def test_span(first_s: int, last_s: int, zone: str, said: str) -> None:
    assert words.span(NOON + first_s * SECOND, NOON + last_s * SECOND, zone) == said


def test_hostile_text_is_shown_not_obeyed() -> None:
    assert words.visible("a\x1b[31mb\u202ec\nd") == "a\\x1b[31mb\\u202ec\\nd"
    assert words.visible("Köln → 7680") == "Köln → 7680"


@given(st.text())
def test_visible_text_is_printable(text: str) -> None:
    assert words.visible(text).isprintable()


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ({"orig_ip": "10.1.0.5", "resp_ip": "10.1.0.6"}, "10.1.0.5 → 10.1.0.6"),
        ({"orig_ip": "10.1.0.5", "site": "hq"}, "10.1.0.5"),
        ({"resp_ip": "10.1.0.6", "verdict": "tls"}, "10.1.0.6 (responder), verdict tls"),
        ({"site_pair": "ber~hq"}, "between ber and hq"),
        ({"site_pair": "hq~hq"}, "within hq"),
        ({"site": "hq"}, "hq"),
        ({"swarm_hash": "\x1b[2J"}, "swarm hash \\x1b[2J"),
    ],
)
def test_subject(subject: dict[str, str | int], said: str) -> None:
    assert words.subject(cases.incident(subject=subject)) == said


def test_worst_incident_comes_first() -> None:
    made = [cases.incident(id="a", level="low"), cases.incident(id="b", level="critical"), cases.incident(id="c")]
    assert [each.id for each in words.worst_first(made)] == ["b", "c", "a"]


def test_conclusion_of_incidents_counts_levels_and_says_how_much_moved_where() -> None:
    case = cases.case(
        incidents=(cases.incident(), cases.incident(level="high"), cases.incident()),
        off_window_payload_bytes={"hq": 3_000_000, "ber": 1_000_000, "unknown": 0},
    )
    assert (
        words.conclusion(case) == "Off policy: 1 high and 2 medium incidents. 4.0 MB moved off schedule, at ber and hq."
    )


def test_conclusion_names_few_sites() -> None:
    case = cases.case(
        incidents=(cases.incident(),), off_window_payload_bytes={"a": 1, "b": 1, "c": 1, "d": 1, "unknown": 0}
    )
    assert words.conclusion(case) == "Off policy: 1 medium incident. 4 B moved off schedule, at a, b and 2 more sites."


def test_conclusion_of_quiet_cases() -> None:
    assert words.conclusion(cases.case()) == (
        "Nothing off policy: 1 flow between 2 peers moved 7.0 kB, all of it while peering was allowed."
    )
    assert words.conclusion(cases.case(off_window_payload_bytes={"hq": 900})) == (
        "Nothing off policy: 1 flow between 2 peers moved 7.0 kB, 900 B of it off schedule, too little for any rule."
    )
    assert words.conclusion(cases.case(payload_bytes=0)) == (
        "Nothing off policy: 1 flow on TCP 7680, none of which carried payload."
    )
    assert words.conclusion(cases.case(packets_7680=0, flows=cases.flows())) == "No traffic on TCP 7680 in 100 packets."


def test_absence_in_a_lossy_capture_proves_nothing() -> None:
    lossy = cases.case(
        inputs=(cases.source(drops=7), cases.source(damage="cut short at byte 99")),
        flows=cases.flows({"orig_gap_bytes": 1460}),
    )
    assert words.conclusion(lossy).endswith(
        "But the capture is not complete (7 packets dropped before the capture, 1.5 kB acknowledged but not seen and "
        "1 damaged input), so absence proves nothing."
    )

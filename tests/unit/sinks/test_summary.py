"""What programs rely on in `summary.json`, and what a person reads on the terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sensor.policy import Policy
from sensor.sinks import summary
from tests import cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from sensor.schema import Case


def screen(case: Case, width: int = 100, encoding: str = "utf-8", *, terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    summary.render(
        case, Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else "auto")
    )
    file.flush()
    return raw.getvalue().decode(encoding)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_json_has_exactly_the_promised_keys() -> None:
    made = summary.as_json(cases.case())
    assert list(made) == [
        "inputs",
        "packets",
        "packets_7680",
        "bytes",
        "payload_bytes",
        "first_packet_ns",
        "last_packet_ns",
        "flows",
        "peers",
        "swarms",
        "off_window_payload_bytes",
        "findings",
        "incidents",
        "weird",
        "damaged",
    ]
    json.dumps(made)


def test_json_says_what_the_case_says() -> None:
    made = summary.as_json(
        cases.case(
            inputs=(cases.source(), cases.source(name="b.pcap", damage="cut short")),
            incidents=(cases.incident(level="high"), cases.incident(level="high"), cases.incident(level="low")),
            findings={"w02_x": 0, "t03_y": 4},
            weird={"tso_length": 2, "ip_fragment": 0},
            off_window_payload_bytes={"hq": 5, "ber": 0, "unknown": 0},
        )
    )
    assert made["inputs"] == 2
    assert made["flows"] == 1
    assert made["first_packet_ns"] == NOON
    assert made["findings"] == {"t03_y": 4, "w02_x": 0}
    assert made["incidents"] == {"informational": 0, "low": 1, "medium": 0, "high": 2, "critical": 0}
    assert made["weird"] == {"tso_length": 2}
    assert made["off_window_payload_bytes"] == {"hq": 5, "ber": 0, "unknown": 0}
    assert made["damaged"] == {"b.pcap": "cut short"}


def test_conclusion_comes_first() -> None:
    assert lines(screen(cases.case(incidents=(cases.incident(),))))[0] == "Off policy: 1 medium incident."
    assert lines(screen(cases.case()))[0].startswith("Nothing off policy: 1 flow between 2 peers moved 7.0 kB")


def test_facts_are_the_cases_numbers() -> None:
    said = lines(screen(cases.case(packets=1234567, swarms=3)))
    assert "Read       1 input, 1,234,567 packets, 9.0 kB" in said
    assert "Time       Tue 2026-03-10 12:00-13:00 UTC (1 h)" in said
    assert "TCP 7680   80 packets, 1 flow, 2 peers, 3 swarms, 7.0 kB of payload" in said
    assert "Judged by  policy.yaml (2 sites), 1 rule" in said


def test_incident_is_told_in_site_time_and_utc_with_its_reason() -> None:
    said = lines(screen(cases.case(incidents=(cases.incident(confidence=0.8),))))
    at = said.index("MEDIUM  Update data moved off schedule  w01_off_window_transfer")
    assert said[at + 1 : at + 4] == [
        "within hq, 2 flows, 3.0 MB, confidence 80%",
        "Tue 2026-03-10 13:00-13:01 CET (12:00 UTC)",
        "3.0 MB of unique payload while hq was closed",
    ]


def test_many_incidents_of_one_rule_do_not_hide_the_worst() -> None:
    low = [
        cases.incident(id=str(at), level="low", rule="w02_attempt", subject={"orig_ip": f"10.1.0.{at}"})
        for at in range(30)
    ]
    high = cases.incident(level="high", rule="w04_transfer", title="Moved while disabled", first_seen_ns=NOON + SECOND)
    said = lines(screen(cases.case(incidents=(*low, high))))
    heads = [line for line in said if line.startswith(("HIGH", "LOW"))]
    assert heads == ["HIGH  Moved while disabled  w04_transfer", "LOW   Update data moved off schedule  w02_attempt"]
    assert "and 27 more at hq, 81.0 MB" in said
    assert "Incidents (31)" in said


def test_sites_by_state_of_the_schedule() -> None:
    activity = cases.activity(
        {"site": "hq", "schedule": "open", "payload_bytes": 8_100_000_000, "flow": 1},
        {"site": "hq", "schedule": "open", "payload_bytes": 100, "flow": 1},
        {"site": "unknown", "schedule": "closed", "payload_bytes": 3000, "flow": 2},
    )
    said = lines(screen(cases.case(activity=activity)))
    at = said.index("Payload by site and state of the schedule")
    assert [line.split() for line in said[at + 1 : at + 5]] == [
        ["site", "peering", "flows", "open", "closed"],
        ["hq", "scheduled", "1", "8.1", "GB", "-"],
        ["unknown", "-", "1", "-", "3.0", "kB"],
        ["and", "1", "site", "without", "traffic"],
    ]


def test_protocols_and_health() -> None:
    case = cases.case(
        inputs=(cases.source(drops=12), cases.source(name="bad.pcap", damage="the file ends in a packet")),
        flows=cases.flows(
            {"verdict": "tls", "orig_payload_bytes": 3000, "role_guessed": True},
            {"orig_gap_bytes": 1460, "duplicate_packets": 2, "retransmitted_bytes": 700},
        ),
        weird={"tso_length": 3},
    )
    said = lines(screen(case))
    assert "do   1 flow     0 B" in said
    assert "tls  1 flow  3.0 kB" in said
    at = said.index("Capture health")
    assert said[at + 1 :] == [
        "12 packets dropped before the capture.",
        "1.5 kB acknowledged but not seen.",
        "1 damaged input.",
        "bad.pcap: the file ends in a packet",
        "2 duplicate packets of a double mirror, not counted.",
        "700 B of payload sent again, counted once.",
        "1 flow without a SYN: roles guessed.",
        "Oddities: tso_length 3.",
    ]


def test_built_in_policy_is_said_and_how_to_state_ones_own() -> None:
    assert "No policy was given" not in screen(cases.case())
    assert "No policy was given" in screen(cases.case(policy=Policy(sites=cases.POLICY.sites)))


def test_hostile_names_and_reasons_are_only_text() -> None:
    case = cases.case(
        inputs=(cases.source(name="[bold]\x1b[2J.pcap", damage="\x07\u202egnp"),),
        incidents=(cases.incident(reason="[link=http://x]a[/] :skull: \x1b]0;title\x07", subject={"x": "\r\n[red]"}),),
    )
    said = screen(case, width=200)
    assert not set(said) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "[bold]\\x1b[2J.pcap: \\x07\\u202egnp" in said
    assert "[link=http://x]a[/] :skull: \\x1b]0;title\\x07" in said
    assert "hq: x \\r\\n[red], 2 flows" in said


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    case = cases.case(incidents=(cases.incident(reason="why " * 60),), inputs=(cases.source(damage="x" * 300),))
    assert max(len(line) for line in screen(case, width).splitlines()) <= width


def test_plain_ascii_where_the_encoding_has_no_more() -> None:
    said = screen(
        cases.case(incidents=(cases.incident(subject={"orig_ip": "10.1.0.5", "resp_ip": "10.1.0.6"}, reason="Köln"),)),
        encoding="ascii",
    )
    assert "hq: 10.1.0.5 -> 10.1.0.6, 2 flows" in said
    assert "K\\xf6ln" in said


def test_colour_only_on_a_terminal() -> None:
    case = cases.case(incidents=(cases.incident(level="high"),))
    assert "\x1b[" not in screen(case)
    assert "\x1b[1;31mHIGH" in screen(case, terminal=True)


def test_case_without_a_packet() -> None:
    case = cases.case(
        inputs=(), packets=0, packets_7680=0, bytes=0, payload_bytes=0, first_packet_ns=0, last_packet_ns=0, peers=0,
        swarms=0, flows=cases.flows(), activity=cases.activity(),
    )  # fmt: skip
    said = lines(screen(case))
    assert said[0] == "No traffic on TCP 7680 in 0 packets."
    assert "Payload by site and state of the schedule" not in said


def test_manual_names_every_key() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "case.md").read_text(encoding="utf-8")
    assert [key for key in summary.as_json(cases.case()) if f"`{key}`" not in manual] == []

"""Every line keeps the closed schema that Suricata's readers know, and says what the case says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensor.schema import CONN_STATES, LEVELS, VERDICTS
from sensor.sinks import eve
from tests import cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Case

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000")
COMMUNITY = re.compile(r"1:[A-Za-z0-9+/]{27}=")
ADDRESS = re.compile(r"[0-9a-f.:]+")
COUNT = range(2**63)
SIDES = {"src_ip": ADDRESS, "src_port": range(65536), "dest_ip": ADDRESS, "dest_port": range(65536)}
APPS = re.compile(r"delivery-optimization|failed|tls|http|smb|ssh|rdp|socks|bittorrent|dns")
HEAD = {"timestamp": TIME, "flow_id": range(1, 2**53 + 1), "vlan?": [range(1, 4096)], **SIDES}
HEAD |= {"proto": re.compile("TCP"), "community_id": COMMUNITY, "app_proto": APPS}
VOLUMES = {"pkts_toserver": COUNT, "pkts_toclient": COUNT, "bytes_toserver": COUNT, "bytes_toclient": COUNT}
ALERT = {
    "action": re.compile("allowed"),
    "gid": range(1, 2),
    "signature_id": range(1_000_000, 2_000_000),
    "rev": range(1, 2),
    "signature": str,
    "category": str,
    "severity": range(1, 4),
    "metadata": {str: [str]},
}
SCHEMA: dict[str, Any] = {
    "flow": {
        **HEAD,
        "event_type": re.compile("flow"),
        "flow": {
            **VOLUMES,
            "start": TIME,
            "end": TIME,
            "age": COUNT,
            "state": re.compile("new|established|closed"),
            "alerted": bool,
        },
    },
    "alert": {
        **HEAD,
        "event_type": re.compile("alert"),
        "direction": re.compile("to_server|to_client"),
        "alert": ALERT,
        "flow": {**VOLUMES, "start": TIME, **SIDES},
    },
    "stats": {
        "timestamp": TIME,
        "event_type": re.compile("stats"),
        "stats": {
            "uptime": COUNT,
            "capture": {"kernel_packets": COUNT, "kernel_drops": COUNT},
            "decoder": {"pkts": COUNT, "bytes": COUNT, "tcp": COUNT},
            "flow": {"total": COUNT, "tcp": COUNT},
            "detect": {"alert": COUNT},
        },
    },
}


def check(value: Any, shape: Any, where: str = "") -> None:
    """Hold a value against a shape: nothing missing, nothing more."""
    if isinstance(shape, dict) and str in shape:
        for key, each in value.items():
            check(each, shape[str], f"{where}.{key}")
    elif isinstance(shape, dict):
        assert set(value) <= {key.rstrip("?") for key in shape}, where
        assert {key for key in shape if not key.endswith("?")} <= set(value), where
        for key, each in value.items():
            check(each, shape.get(key, shape.get(f"{key}?")), f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        assert value, where
        for each in value:
            check(each, shape[0], where)
    elif isinstance(shape, range):
        assert type(value) is int, where
        assert value in shape, where
    elif isinstance(shape, re.Pattern):
        assert shape.fullmatch(value), where
    else:
        assert isinstance(value, shape), where


def lines(folder: Path, case: Case) -> list[dict[str, Any]]:
    eve.write(folder / "eve.json", case)
    return [json.loads(line) for line in (folder / "eve.json").read_bytes().splitlines()]


def test_flow_says_what_the_flow_was(tmp_path: Path) -> None:
    flow = {
        "start_ns": NOON + 123_456_789, "end_ns": NOON + 62 * SECOND + 1, "orig_packets": 3, "resp_packets": 4,
        "orig_bytes": 500, "resp_bytes": 2**40, "vlan": 12,
    }  # fmt: skip
    made = lines(tmp_path, cases.case(flows=cases.flows(flow)))[0]
    number = made.pop("flow_id")
    assert made == {
        "timestamp": "2026-03-10T12:01:02.000000+0000",
        "event_type": "flow",
        "vlan": [12],
        "src_ip": "10.1.0.5",
        "src_port": 50000,
        "dest_ip": "10.1.0.6",
        "dest_port": 7680,
        "proto": "TCP",
        "flow": {
            "pkts_toserver": 3,
            "pkts_toclient": 4,
            "bytes_toserver": 500,
            "bytes_toclient": 1099511627776,
            "start": "2026-03-10T12:00:00.123456+0000",
            "end": "2026-03-10T12:01:02.000000+0000",
            "age": 61,
            "state": "closed",
            "alerted": False,
        },
        "community_id": "1:beV1u+LD013n0TD913ZJfaMWp+Y=",
        "app_proto": "delivery-optimization",
    }
    assert 0 < number < 2**53


def test_alert_names_rule_flow_and_what_is_ours_in_metadata(tmp_path: Path) -> None:
    case = cases.case(
        flows=cases.flows({}, {"flow": 7, "verdict": "tls", "orig_packets": 9}),
        activity=cases.activity({"flow": 7, "schedule": "closed"}, {"flow": 7, "schedule": "open"}),
        incidents=(
            cases.incident(
                rule="w04_transfer_while_disabled", level="high", evidence=(cases.evidence(flow=7),),
                subject={"resp_ip": "10.1.0.6", "orig_ip": "10.1.0.5"}, attack=("attack.t1046", "attack.discovery"),
                reason='say "why"\n',
            ),
        ),
    )  # fmt: skip
    first, second, alert, _ = lines(tmp_path, case)
    assert (first["flow"]["alerted"], second["flow"]["alerted"]) == (False, True)
    assert alert["flow_id"] == second["flow_id"]
    assert alert["timestamp"] == "2026-03-10T12:00:00.000000+0000"
    assert alert["app_proto"] == "tls"
    assert alert["flow"]["pkts_toserver"] == 9
    assert alert["alert"] == {
        "action": "allowed",
        "gid": 1,
        "signature_id": 1768004,
        "rev": 1,
        "signature": "Update data moved off schedule",
        "category": "Potential Corporate Privacy Violation",
        "severity": 1,
        "metadata": {
            "incident": ["w01-0a1b2c"],
            "rule": ["w04_transfer_while_disabled"],
            "level": ["high"],
            "site": ["hq"],
            "subject": ["orig_ip=10.1.0.5", "resp_ip=10.1.0.6"],
            "schedule": ["open", "closed"],
            "reason": ['say "why"\n'],
            "confidence": ["1.00"],
            "flows": ["2"],
            "payload_bytes": ["3000000"],
            "last_seen": ["2026-03-10T12:01:30.000000+0000"],
            "mitre_technique_id": ["T1046"],
        },
    }


def test_stats_come_last_and_count(tmp_path: Path) -> None:
    made = lines(tmp_path, cases.case(inputs=(cases.source(drops=3), cases.source(drops=4))))[-1]
    assert made["stats"]["uptime"] == 3600
    assert made["stats"]["capture"] == {"kernel_packets": 100, "kernel_drops": 7}
    assert made["stats"]["decoder"] == {"pkts": 100, "bytes": 9000, "tcp": 80}


def test_every_line_keeps_the_closed_schema(tmp_path: Path) -> None:
    rows = [{"verdict": verdict, "vlan": at} for at, verdict in enumerate(VERDICTS)]
    rows += [{"conn_state": state, "orig_ip": "2001:db8::1", "resp_ip": "fe80::1"} for state in CONN_STATES]
    incidents = [cases.incident(level=level, rule=f"{letter}01_x") for level in LEVELS for letter in "wtrpvsx"]
    made = lines(tmp_path, cases.case(flows=cases.flows(*rows), incidents=tuple(incidents)))
    assert len(made) == len(rows) + len(incidents) + 1
    for each in made:
        check(each, SCHEMA[each["event_type"]])


def test_incident_without_a_flow_at_hand(tmp_path: Path) -> None:
    blind = cases.incident(rule="s01_blind", evidence=(), subject={"site": "hq"})
    gone = cases.incident(evidence=(cases.evidence(flow=99),), subject={"orig_ip": "10.1.0.5", "resp_ip": "10.1.0.6"})
    _, one, two, _ = lines(tmp_path, cases.case(incidents=(blind, gone)))
    assert set(one) == {"timestamp", "event_type", "alert"}
    assert one["alert"]["category"] == "Misc activity"
    assert (two["src_ip"], two["dest_ip"]) == ("10.1.0.5", "10.1.0.6")


def test_lines_do_not_depend_on_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases.case(flows=cases.flows(*({"orig_port": port, "vlan": port % 2} for port in range(1000, 1007))))
    whole = lines(tmp_path, case)
    monkeypatch.setattr(eve, "ROWS", 3)
    assert lines(tmp_path, case) == whole
    assert [each["src_port"] for each in whole[:-1]] == list(range(1000, 1007))


def test_case_without_flows_is_stats(tmp_path: Path) -> None:
    case = cases.case(flows=cases.flows(), activity=cases.activity(), first_packet_ns=0, last_packet_ns=0)
    assert [each["event_type"] for each in lines(tmp_path, case)] == ["stats"]


def mix(community_id: str, start_ns: int) -> int:
    mixed = start_ns
    padded = community_id.encode().ljust(32, b"\0")
    for at in range(0, 32, 8):
        mixed = (mixed ^ int.from_bytes(padded[at : at + 8], "little")) * 0x9E3779B97F4A7C15 % 2**64
        mixed ^= mixed >> 32
    return mixed >> 11


def test_flow_ids_are_those_of_every_run() -> None:
    rows = cases.flows({}, {"start_ns": NOON + 1}, {"community_id": "1:" + "A" * 27 + "="}, {})
    numbers = eve.flow_ids(rows).tolist()
    assert numbers == [mix(cid, start) for cid, start in zip(rows["community_id"], rows["start_ns"], strict=True)]
    assert numbers[0] == 6013144653706680  # also on another machine, with another version
    assert numbers[3] == numbers[0]
    many = cases.flows(*({"start_ns": NOON + at} for at in range(2000)))
    assert np.unique(eve.flow_ids(many)).size == 2000
    assert eve.flow_ids(cases.flows()).size == 0


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        ("w01_off_window_transfer", 1768001),
        ("w04_transfer_while_disabled", 1768004),
        ("t05_internet_peering", 1768105),
        ("r01_horizontal_scan", 1768201),
        ("p02_opaque", 1768302),
        ("v01_volume", 1768401),
        ("s03_one_sided", 1768503),
        ("our_own_rule", 1770663),
    ],
)
def test_signature_ids_stay(rule: str, number: int) -> None:
    assert eve.signature_id(rule) == number

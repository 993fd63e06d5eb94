"""Small cases made by hand: frames with the dtypes of `sensor.schema`, and whatever a test says about their rows."""

from __future__ import annotations

from dataclasses import MISSING, fields
from ipaddress import ip_network
from typing import Any

import numpy as np
import pandas as pd

from sensor import schema
from sensor.policy import Policy, Site
from sensor.schema import ActivityFrame, Case, Evidence, FindingFrame, FlowFrame, Incident, Input, JudgedFrame

NOON = 1_773_144_000_000_000_000  # 2026-03-10T12:00:00Z, a Tuesday
SECOND = 1_000_000_000
SITES = ("hq", "ber", "unknown")
POLICY = Policy(
    sites=(
        Site("hq", (ip_network("10.1.0.0/16"),), timezone="Europe/Berlin", update_windows=("nights",)),
        Site("ber", (ip_network("10.2.0.0/16"),), timezone="UTC", peering="disabled"),
    ),
    source="policy.yaml",
    sha256="ab" * 32,
)
CATEGORIES = {
    "orig_site": SITES,
    "resp_site": SITES,
    "site": SITES,
    "site_pair": ("ber~ber", "ber~hq", "ber~unknown", "hq~hq", "hq~unknown", "unknown~unknown"),
    "scope": schema.SCOPES,
    "peering": schema.PEERINGS,
    "schedule": schema.SCHEDULES,
    "outcome": schema.OUTCOMES,
    "verdict": schema.VERDICTS,
    "conn_state": schema.CONN_STATES,
    "orig_role": schema.ROLES,
    "resp_role": schema.ROLES,
}
COMMON: dict[str, Any] = {
    "community_id": "1:beV1u+LD013n0TD913ZJfaMWp+Y=",
    "ip_version": 4,
    "orig_ip": "10.1.0.5",
    "orig_port": 50000,
    "resp_ip": "10.1.0.6",
    "resp_port": 7680,
    "orig_site": "hq",
    "resp_site": "hq",
    "site": "hq",
    "site_pair": "hq~hq",
    "scope": "same_site",
    "verdict": "do",
}
ACTIVITY: dict[str, Any] = COMMON | {
    "window_start_ns": NOON,
    "window_s": 10,
    "flow_start_ns": NOON,
    "first_ts_ns": NOON,
    "last_ts_ns": NOON,
    "peering": "scheduled",
    "schedule": "closed",
    "outcome": "transfer",
    "orig_role": "unknown",
    "resp_role": "unknown",
    "first_number": 1,
    "schedule_since_ns": np.iinfo(np.int64).min,
    "schedule_next_ns": np.iinfo(np.int64).max,
}
FLOW: dict[str, Any] = COMMON | {"start_ns": NOON, "end_ns": NOON + SECOND, "conn_state": "SF"}


def frame(tables: tuple[type[schema.Table], ...], rows: tuple[dict[str, Any], ...]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for table in tables:
        for column in table.columns():
            empty: Any = "" if column.dtype in {"str", "category"} else () if column.dtype == "object" else 0
            values = [row.get(column.name, empty) for row in rows]
            if column.dtype == "category":
                columns[column.name] = pd.Categorical(values, categories=CATEGORIES[column.name])
            else:
                columns[column.name] = pd.Series(values, dtype=column.dtype)
    return pd.DataFrame(columns)


def activity(*rows: dict[str, Any]) -> pd.DataFrame:
    return frame((ActivityFrame, JudgedFrame), tuple(ACTIVITY | row for row in rows))


def flows(*rows: dict[str, Any]) -> pd.DataFrame:
    made = frame((FlowFrame,), tuple(FLOW | row for row in rows))
    made["flow"] = np.array([row.get("flow", at) for at, row in enumerate(rows)], dtype=np.int64)
    made["site"] = made["orig_site"].where(made["orig_site"] != "unknown", made["resp_site"])
    return made


def findings(*rows: dict[str, Any]) -> pd.DataFrame:
    return frame((FindingFrame,), rows)


def evidence(**changes: Any) -> Evidence:
    base = {"flow": 0, "community_id": COMMON["community_id"], "input": 0, "number": 1, "offset": 24, "ts_ns": NOON}
    return Evidence(**(base | changes))


def incident(**changes: Any) -> Incident:
    base: dict[str, Any] = {
        "id": "w01-0a1b2c",
        "rule": "w01_off_window_transfer",
        "title": "Update data moved off schedule",
        "level": "medium",
        "state": "closed",
        "site": "hq",
        "subject": {"site_pair": "hq~hq"},
        "first_seen_ns": NOON,
        "last_seen_ns": NOON + 90 * SECOND,
        "flows": 2,
        "payload_bytes": 3_000_000,
        "reason": "3.0 MB of unique payload while hq was closed",
        "confidence": 1.0,
        "attack": (),
        "evidence": (evidence(),),
    }
    return Incident(**(base | changes))


def source(**changes: Any) -> Input:
    base: dict[str, Any] = {
        "name": "office.pcap",
        "size_bytes": 5000,
        "sha256": "cd" * 32,
        "format": "pcap",
        "packets": 100,
        "bytes": 9000,
        "first_packet_ns": NOON,
        "last_packet_ns": NOON + 3600 * SECOND,
        "link_types": (1,),
        "drops": 0,
        "damage": "",
    }
    return Input(**(base | changes))


def case(**changes: Any) -> Case:
    base: dict[str, Any] = {
        "inputs": (source(),),
        "policy": POLICY,
        "rules": {"rules/w01.yml": "ef" * 32},
        "packets": 100,
        "packets_7680": 80,
        "bytes": 9000,
        "payload_bytes": 7000,
        "first_packet_ns": NOON,
        "last_packet_ns": NOON + 3600 * SECOND,
        "peers": 2,
        "swarms": 1,
        "flows": flows({"orig_payload_bytes": 1000, "resp_payload_bytes": 6000}),
        "activity": activity({"orig_payload_bytes": 1000, "resp_payload_bytes": 6000, "payload_bytes": 7000}),
        "findings": {"w01_off_window_transfer": 0},
        "incidents": (),
        "weird": {},
        "off_window_payload_bytes": {"hq": 0, "ber": 0, "unknown": 0},
    }
    assert set(base) == {field.name for field in fields(Case) if field.default is MISSING}
    return Case(**(base | changes))


def large(count: int) -> Case:
    """Return a case of so many flows, all different, and of 3,000 incidents of 20 rules."""
    rows = (
        {"orig_ip": f"10.1.{at % 250}.{at % 199}", "resp_ip": f"10.2.{at % 97}.{at % 250}", "orig_port": 1024 + at,
         "community_id": f"1:{at:027}=", "resp_payload_bytes": at * 7919, "swarm_hash": f"{at % 400:064x}",
         "start_ns": NOON + at * SECOND, "end_ns": NOON + (at + 9) * SECOND, "orig_peer_id": "x", "resp_pieces": 1,
         "resp_piece_bytes": at * 7000}
        for at in range(count)
    )  # fmt: skip
    several = tuple(incident(id=f"w01-{at:016x}", rule=f"w{at % 20:02}_rule") for at in range(3000))
    return case(flows=flows(*rows), incidents=several)

"""What other programs read is what the case says: row by row, in their own words."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from sensor.errors import OperatorError
from sensor.sinks import exports, parquet
from tests import cases
from tests.cases import NOON, SECOND

if TYPE_CHECKING:
    from pathlib import Path

NS = {"g": "http://graphml.graphdrawing.org/xmlns"}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    flows = cases.flows(
        {"orig_payload_bytes": 500, "resp_payload_bytes": 9500, "off_window_payload_bytes": 5000, "swarm_hash": "ab",
         "resp_packets": 9, "orig_gap_bytes": 7, "vlan": 20, "start_ns": NOON + 1_234_567, "orig_port": 50000,
         "resp_port": 7680},
        {"orig_ip": '2001:db8::5"&<', "verdict": "too_little", "conn_state": "S0", "scope": "internet"},
        {"start_ns": NOON - SECOND, "resp_payload_bytes": 1, "swarm_hash": "cd"},
    )  # fmt: skip
    parquet.write_flows(tmp_path / "case" / "flows.parquet", flows)
    parquet.write_activity(tmp_path / "case" / "activity.parquet", cases.activity({"payload_bytes": 7}))
    return tmp_path / "case"


def test_csv_and_ndjson_hold_every_row_and_column(case: Path, tmp_path: Path) -> None:
    made = exports.export(case, tmp_path / "out", ("csv", "ndjson"))
    assert [path.name for path in made] == ["flows.csv", "activity.csv", "flows.ndjson", "activity.ndjson"]
    with made[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in made[2].read_text().splitlines()]
    assert len(rows) == len(lines) == 3
    assert list(rows[0]) == list(lines[0]) == list(exports.pq.read_schema(case / "flows.parquet").names)
    assert rows[1]["orig_ip"] == lines[1]["orig_ip"] == '2001:db8::5"&<'
    assert int(rows[0]["start_ns"]) == lines[0]["start_ns"] == NOON + 1_234_567
    assert lines[0]["role_guessed"] is False


def test_conn_log_is_zeeks(case: Path, tmp_path: Path) -> None:
    [path] = exports.export(case, tmp_path / "out", ("zeek",))
    lines = path.read_text().splitlines()
    names = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    kinds = next(line for line in lines if line.startswith("#types")).split("\t")[1:]
    assert len(names) == len(kinds) == 28
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]
    assert len(rows) == 3
    first, second, _ = rows
    assert first["ts"] == "1773144000.001234"
    assert first["duration"] == "0.998765"
    assert (first["id.orig_h"], first["id.orig_p"], first["id.resp_p"]) == ("10.1.0.5", "50000", "7680")
    assert (first["orig_bytes"], first["resp_bytes"], first["missed_bytes"]) == ("500", "9500", "7")
    assert (first["service"], first["conn_state"], first["vlan"], first["swarm_hash"]) == ("do", "SF", "20", "ab")
    assert (second["service"], second["conn_state"], second["local_orig"], second["vlan"]) == ("-", "S0", "-", "-")
    uids = {row["uid"] for row in rows}
    assert len(uids) == 3
    assert all(uid[0] == "C" and len(uid) == 18 for uid in uids)


def test_graph_has_givers_and_takers(case: Path, tmp_path: Path) -> None:
    [path] = exports.export(case, tmp_path / "out", ("graphml",))
    graph = ET.parse(path).getroot()  # noqa: S314 - we have just written it
    facts = {
        node.get("id"): {data.get("key"): data.text for data in node.findall("g:data", NS)}
        for node in graph.iterfind(".//g:node", NS)
    }
    assert facts == {
        "10.1.0.5": {"site": "hq", "gave_bytes": "500", "took_bytes": "9501"},
        "10.1.0.6": {"site": "hq", "gave_bytes": "9501", "took_bytes": "500"},
    }
    edges = {(edge.get("source"), edge.get("target")): edge for edge in graph.iterfind(".//g:edge", NS)}
    told = {data.get("key"): data.text for data in edges["10.1.0.6", "10.1.0.5"].findall("g:data", NS)}
    assert told == {
        "payload_bytes": "9501", "off_window_payload_bytes": "4750", "flows": "2", "swarms": "2",
        "first_ns": str(NOON - SECOND), "last_ns": str(NOON + SECOND),
    }  # fmt: skip
    keys = {key.get("id") for key in graph.iterfind("g:key", NS)}
    assert set(told) | {"site", "gave_bytes", "took_bytes"} == keys


def test_same_case_same_bytes(case: Path, tmp_path: Path) -> None:
    one, two = exports.export(case, tmp_path / "one"), exports.export(case, tmp_path / "two")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert len(one) == 6


def test_case_without_a_flow(tmp_path: Path) -> None:
    parquet.write_flows(tmp_path / "case" / "flows.parquet", cases.flows())
    made = {path.name: path.read_text() for path in exports.export(tmp_path / "case", tmp_path / "out")}
    assert made["flows.csv"].startswith("community_id,start_ns,")
    assert made["flows.ndjson"].strip() == ""
    assert "<node" not in made["peers.graphml"]
    assert made["conn.log"].splitlines()[-1].startswith("#types")


def test_what_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="is not a case"):
        exports.export(tmp_path, tmp_path / "out")
    (tmp_path / "flows.parquet").write_text("not parquet")
    with pytest.raises(OperatorError, match="cannot be read"):
        exports.export(tmp_path, tmp_path / "out", ("csv",))
    assert not (tmp_path / "out" / "flows.csv").exists()

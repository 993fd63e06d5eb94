"""Flows as data: columns of one length, words once, nothing that could end the script element."""

from __future__ import annotations

import json

from sensor.sinks.report import rows
from tests import cases
from tests.cases import NOON, SECOND


def test_columns_say_what_the_flows_say() -> None:
    flows = cases.flows(
        {"orig_payload_bytes": 5, "resp_port": 7680, "end_ns": NOON + 2 * SECOND},
        {"start_ns": NOON + SECOND, "end_ns": NOON + 2 * SECOND, "resp_site": "ber", "verdict": "tls"},
    )
    incident = cases.incident(evidence=(cases.evidence(flow=1), cases.evidence(flow=1, number=2)))
    data = json.loads(rows.rows(cases.case(flows=flows, incidents=(incident,))))
    columns = data["columns"]
    assert data["total"] == 2
    assert columns["start"] == [1_773_144_000_000, 1_773_144_001_000]
    assert columns["seconds"] == [2.0, 1.0]
    assert columns["incidents"] == [0, 1]
    assert columns["resp_site"] == {"words": ["ber", "hq"], "at": [1, 0]}
    assert columns["verdict"] == {"words": ["do", "tls"], "at": [0, 1]}
    lengths = {len(column["at"] if isinstance(column, dict) else column) for column in columns.values()}
    assert lengths == {2}


def test_nothing_ends_the_element() -> None:
    made = rows.rows(cases.case(flows=cases.flows({"community_id": "</script><!--&\u2028"})))
    assert not {"<", ">", "&", "\u2028"} & set(made)
    assert json.loads(made)["columns"]["id"] == ["</script><!--&\\u2028"]


def test_rows_are_bounded() -> None:
    flows = cases.flows(*({"orig_payload_bytes": at} for at in range(20)))
    many = type(flows)({name: flows[name].repeat(600) for name in flows.columns}).reset_index(drop=True)
    data = json.loads(rows.rows(cases.case(flows=many)))
    assert data["total"] == 12_000
    assert len(data["columns"]["id"]) == 10_000

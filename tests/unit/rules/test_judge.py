"""Findings against a judge that looks at every row for every window, and however the windows are cut."""

from __future__ import annotations

import json
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.rules.judge import Judge, Limits, empty
from sensor.rules.ruleset import Clause, Measure, Rule, RuleSet
from sensor.schema import FindingFrame, FlowFrame, JudgedFlowFrame
from tests import cases

NOON, SECOND = cases.NOON, cases.SECOND
STEP = 10 * SECOND
DO = Clause("is", "verdict", "do")


def rule(*measures: Measure, **changes: Any) -> Rule:
    base: dict[str, Any] = {
        "name": "r",
        "title": "R",
        "level": "low",
        "condition": DO,
        "subject": ("orig_ip",),
        "measures": measures,
        "reason": "{orig_ip} {value} {payload_bytes} {flow_count}",
        "quiet_ns": 30 * SECOND,
    }
    return Rule(**(base | changes))


def row(window: int, flow: int, **changes: Any) -> dict[str, Any]:
    start = NOON + window * STEP
    times = {"window_start_ns": start, "first_ts_ns": start + flow, "last_ts_ns": start + 1000 + flow}
    return times | {"flow": flow, "orig_ip": "10.0.0.1", "resp_ip": "10.0.0.2", "payload_bytes": 1} | changes


def judged(judge: Judge, *rows: dict[str, Any], until: int | None = None, numbers: bool = False) -> pd.DataFrame:
    frame = cases.activity(*rows).sort_values(["window_start_ns", "flow"], ignore_index=True)
    if numbers:
        for side in ("orig", "resp"):
            values = [0xFFFF << 32 | int(ip_address(each)) for each in frame[f"{side}_ip"]]
            frame[f"{side}_hi"] = np.array([value >> 64 for value in values], dtype=np.uint64)
            frame[f"{side}_lo"] = np.array([value & (1 << 64) - 1 for value in values], dtype=np.uint64)
    end = int(frame["window_start_ns"].max()) + STEP if until is None else NOON + until * STEP
    return judge.push(frame, end)


def test_findings_have_the_columns_and_dtypes_of_the_schema() -> None:
    found = judged(Judge(RuleSet((rule(),))), row(0, 1))
    for frame in (found, empty()):
        assert list(frame.columns) == FindingFrame.names()
        assert [str(frame[column.name].dtype) for column in FindingFrame.columns()] == [
            column.dtype for column in FindingFrame.columns()
        ]


def test_a_plain_rule_finds_each_subject_in_each_window() -> None:
    rows = [row(0, 1), row(0, 2), row(1, 1), row(1, 3, orig_ip="10.0.0.9"), row(2, 4, verdict="tls")]
    found = judged(Judge(RuleSet((rule(),))), *rows)
    assert found["subject"].tolist() == [
        '{"orig_ip": "10.0.0.1"}',
        '{"orig_ip": "10.0.0.1"}',
        '{"orig_ip": "10.0.0.9"}',
    ]
    assert found["flows"].tolist() == [(1, 2), (1,), (3,)]
    assert found["flow_count"].tolist() == [2, 0, 1]
    assert found["payload_bytes"].tolist() == [2, 1, 1]
    assert found["value"].tolist() == [1.0, 1.0, 1.0]
    assert found["reason"].tolist() == ["10.0.0.1 1 2 2", "10.0.0.1 1 1 0", "10.0.0.9 1 1 1"]
    assert found["first_ts_ns"].tolist() == [NOON + 1, NOON + STEP + 1, NOON + STEP + 3]
    assert found["last_ts_ns"].tolist() == [NOON + 1002, NOON + STEP + 1001, NOON + STEP + 1003]


def test_rows_before_the_threshold_are_told_by_the_first_finding_and_once() -> None:
    judge = Judge(RuleSet((rule(Measure("value_sum", "payload_bytes", "gte", 10, 3 * STEP)),)))
    assert judged(judge, row(0, 1, payload_bytes=9)).empty
    found = judged(judge, row(1, 2, payload_bytes=1), row(2, 3, payload_bytes=5))
    assert found["value"].tolist() == [10.0, 15.0]
    assert found["flows"].tolist() == [(1, 2), (3,)]
    assert found["payload_bytes"].tolist() == [10, 5]
    assert found["first_ts_ns"].tolist() == [NOON + 1, NOON + 1]
    found = judged(judge, row(3, 4, payload_bytes=4))  # window 0 has passed: 1 + 5 + 4
    assert (found["value"].tolist(), found["flows"].tolist()) == ([10.0], [(4,)])
    assert judged(judge, row(6, 4, payload_bytes=9)).empty


def test_a_sweep_is_told_and_a_list_of_stale_peers_is_not() -> None:
    sweep = rule(
        Measure("value_count", "resp_ip", "gte", 20, 60 * SECOND),
        Measure("value_count", "resp_ip", "gte", 100, 3600 * SECOND),
    )
    judge = Judge(RuleSet((sweep,)))
    stale = [row(at * 4 + late, at, resp_ip=f"10.0.{at}.1") for at in range(90) for late in (0, 1)]
    assert judged(judge, *stale).empty
    slow = [row(400 + at * 3, 100 + at, orig_ip="10.0.0.8", resp_ip=f"10.9.{at}.1") for at in range(101)]
    found = judged(judge, *slow)
    assert (found["value"].tolist(), [len(each) for each in found["flows"]]) == ([100.0, 101.0], [64, 1])
    assert found["flow_count"].tolist() == [100, 1]
    fast = [row(800 + at // 5, 300 + at, orig_ip="10.0.0.7", resp_ip=f"10.9.{at}.1") for at in range(20)]
    found = judged(judge, *fast)
    assert (found["value"].tolist(), found["flows"].tolist()) == ([20.0], [tuple(range(300, 320))])


def test_findings_are_in_the_order_of_windows_rules_and_subjects() -> None:
    rules = (rule(name="z"), rule(name="a", subject=("resp_ip",)))
    found = judged(Judge(RuleSet(rules)), row(1, 1), row(0, 2, orig_ip="10.0.0.9"), row(0, 3))
    assert list(zip(found["rule"], found["subject"], strict=True)) == [
        ("z", '{"orig_ip": "10.0.0.1"}'),
        ("z", '{"orig_ip": "10.0.0.9"}'),
        ("a", '{"resp_ip": "10.0.0.2"}'),
        ("z", '{"orig_ip": "10.0.0.1"}'),
        ("a", '{"resp_ip": "10.0.0.2"}'),
    ]


def test_subjects_keep_numbers_and_truths() -> None:
    found = judged(Judge(RuleSet((rule(subject=("resp_port", "peers_allowed", "site")),))), row(0, 1))
    assert found["subject"].tolist() == ['{"peers_allowed": false, "resp_port": 7680, "site": "hq"}']
    assert judged(Judge(RuleSet((rule(subject=()),))), row(0, 1))["subject"].tolist() == ["{}"]


def test_evidence_is_the_first_packet_of_each_flow_until_there_is_enough() -> None:
    rows = (
        [row(0, flow, first_number=flow * 10) for flow in range(10)]
        + [row(1, flow) for flow in range(40)]
        + [row(5, 3)]
    )
    found = judged(Judge(RuleSet((rule(),))), *rows)
    assert [[each.flow for each in finding] for finding in found["evidence"]] == [[*range(10)], [*range(10, 16)], [3]]
    assert found["evidence"][0][2].number == 20
    assert found["evidence"][2][0].ts_ns == NOON + 5 * STEP + 3


def test_what_is_carried_is_bounded_and_what_went_is_counted() -> None:
    judge = Judge(RuleSet((rule(Measure("value_count", "resp_ip", "gte", 5, 100 * STEP)),)), Limits(rows=3, flows=2))
    for at in range(6):
        judged(judge, row(at, at, resp_ip=f"10.0.0.{at}"))
    assert judge.counters["rows_dropped"] == 3
    judged(judge, *(row(7, 10 + at, resp_ip=f"10.0.1.{at}") for at in range(5)))
    assert judge.counters["flows_forgotten"] == 6
    assert judge.counters["findings_dropped"] == 0


def test_subjects_of_one_window_are_bounded_and_the_earliest_flows_stay() -> None:
    judge = Judge(RuleSet((rule(),)), Limits(subjects=2))
    rows = [row(at // 4, at, orig_ip=f"10.0.0.{9 - at}") for at in range(8)]
    found = judged(judge, *rows)
    assert [json.loads(each)["orig_ip"] for each in found["subject"]] == [
        "10.0.0.8",
        "10.0.0.9",
        "10.0.0.4",
        "10.0.0.5",
    ]
    assert judge.counters["findings_dropped"] == 4


def test_told_rows_are_merged_while_they_are_carried() -> None:
    judge = Judge(RuleSet((rule(Measure("value_sum", "payload_bytes", "gte", 1, 100 * STEP)),)))
    for at in range(5):
        judged(judge, *(row(at, at * 100 + flow) for flow in range(100)))
    carried = judge._rules[0]._carried
    assert carried is not None
    assert len(carried) == 5
    assert judged(judge, row(6, 1))["value"].tolist() == [501.0]


@pytest.mark.parametrize("until", [0, 2**63 - 1])
def test_any_instant_is_an_end(until: int) -> None:
    judge = Judge(RuleSet((rule(Measure("event_count", "", "gte", 1, STEP)),)))
    for _ in range(2):
        assert len(judge.push(cases.activity(row(0, 1)), until)) == 1


def test_a_late_row_counts_in_its_own_window() -> None:
    judge = Judge(RuleSet((rule(Measure("event_count", "", "gte", 2, 5 * STEP)),)))
    assert judged(judge, row(4, 1)).empty
    found = judged(judge, row(3, 2), row(3, 3))
    assert (found["window_start_ns"].tolist(), found["flows"].tolist()) == ([NOON + 3 * STEP], [(2, 3)])
    found = judged(judge, row(5, 4))
    assert (found["value"].tolist(), found["flows"].tolist()) == ([4.0], [(1, 4)])


# --- property
MEASURES = st.sampled_from(
    [
        (),
        (Measure("event_count", "", "gte", 3, 3 * STEP),),
        (Measure("event_count", "", "lt", 3, 2 * STEP),),
        (Measure("value_sum", "payload_bytes", "gt", 6, 4 * STEP),),
        (Measure("value_count", "resp_ip", "gte", 2, 2 * STEP),),
        (Measure("value_count", "resp_ip", "gte", 2, STEP), Measure("value_count", "resp_ip", "gte", 3, 5 * STEP)),
    ]
)
ROWS = st.lists(
    st.builds(
        lambda window, flow, who, whom, size, speaks: row(
            window, flow, orig_ip=f"10.0.0.{who}", resp_ip=f"10.0.1.{whom}", payload_bytes=size, verdict=speaks
        ),
        st.integers(0, 12),
        st.integers(0, 5),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, 5),
        st.sampled_from(["do", "do", "tls"]),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda each: (each["window_start_ns"], each["flow"]),
)


def oracle(measures: tuple[Measure, ...], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Look at every row for every window and subject."""
    rows = sorted(
        (each for each in rows if each["verdict"] == "do"), key=lambda each: (each["window_start_ns"], each["flow"])
    )
    tests = measures or (Measure("event_count", "", "gte", 1, 1),)
    told: set[tuple[int, int]] = set()
    known: set[int] = set()
    found = []
    for window, who in sorted({(each["window_start_ns"], each["orig_ip"]) for each in rows}):
        reached: list[dict[str, Any]] = []
        values = []
        for test in tests:
            mine = [
                each
                for each in rows
                if each["orig_ip"] == who and window - test.span_ns < each["window_start_ns"] <= window
            ]
            value = {
                "event_count": len(mine),
                "value_sum": sum(each["payload_bytes"] for each in mine),
                "value_count": len({each["resp_ip"] for each in mine}),
            }[test.kind]
            if {"gte": value >= test.threshold, "gt": value > test.threshold, "lt": value < test.threshold}[test.op]:
                values.append(value if measures else 1)
                reached += mine
        if not values:
            continue
        fresh = [each for each in reached if (each["window_start_ns"], each["flow"]) not in told]
        fresh = list({(each["window_start_ns"], each["flow"]): each for each in fresh}.values())
        told |= {(each["window_start_ns"], each["flow"]) for each in fresh}
        flows = {each["flow"] for each in fresh}
        found.append(
            {
                "window_start_ns": window,
                "subject": json.dumps({"orig_ip": who}),
                "value": float(values[0]),
                "flows": tuple(sorted(flows)),
                "flow_count": len(flows - known),
                "payload_bytes": sum(each["payload_bytes"] for each in fresh),
                "first_ts_ns": min(each["first_ts_ns"] for each in reached),
                "last_ts_ns": max(each["last_ts_ns"] for each in reached if each["window_start_ns"] == window),
            }
        )
        known |= flows
    return found


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    MEASURES,
    st.sets(st.integers(1, 12)),
    st.sampled_from(["text", "numbers"]),
    st.sampled_from([1, 3, 65_536]),
)
def test_findings_are_what_the_oracle_finds_however_windows_are_cut(
    rows: list[dict[str, Any]], measures: tuple[Measure, ...], cuts: set[int], compared: str, small: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensor.rules.carried._SMALL", small)
        compare(rows, measures, cuts, numbers=compared == "numbers")


def compare(rows: list[dict[str, Any]], measures: tuple[Measure, ...], cuts: set[int], *, numbers: bool) -> None:
    whole = judged(Judge(RuleSet((rule(*measures),))), *rows, numbers=numbers)
    judge = Judge(RuleSet((rule(*measures),)))
    edges = [0, *sorted(cuts), 13]
    pushes = []
    for start, end in pairwise(edges):
        part = [each for each in rows if start <= (each["window_start_ns"] - NOON) // STEP < end]
        pushes.append(
            judged(judge, *part, until=end, numbers=numbers)
            if part
            else judge.push(cases.activity().iloc[:0], NOON + end * STEP)
        )
    cut = pd.concat([each for each in pushes if len(each)] or [empty()], ignore_index=True)
    expected = oracle(measures, rows)
    assert whole[list(expected[0])].to_dict("records") == expected if expected else whole.empty
    pd.testing.assert_frame_equal(whole.drop(columns="evidence"), cut.drop(columns="evidence"))


# --- averages, ranks, order
def test_an_average_is_of_the_rows_in_the_timespan_and_of_enough_of_them() -> None:
    share = Measure("value_avg", "peers_allowed", "gte", 0.5, 3 * STEP, rows=3)
    judge = Judge(RuleSet((rule(share),)))
    assert judged(judge, row(0, 1, peers_allowed=True), row(1, 2, peers_allowed=True)).empty
    found = judged(judge, row(2, 3), row(2, 4))
    assert (found["value"].tolist(), found["flows"].tolist()) == ([0.5], [(1, 2, 3, 4)])
    found = judged(judge, row(3, 5, peers_allowed=True), row(3, 6, peers_allowed=True), row(3, 7, peers_allowed=True))
    assert found["value"].tolist() == [pytest.approx(4 / 6)]
    assert judged(judge, row(4, 8), row(4, 9), row(4, 10)).empty


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        (Measure("value_median", "payload_bytes", "gte", 1, 2 * STEP, 50), 25.0),
        (Measure("value_percentile", "payload_bytes", "gte", 1, 2 * STEP, 90), 37.0),
        (Measure("value_avg", "payload_bytes", "gte", 1, 2 * STEP), 25.0),
    ],
)
def test_ranks_and_averages_of_four_rows_in_two_windows(measure: Measure, value: float) -> None:
    judge = Judge(RuleSet((rule(measure),)))
    judged(judge, row(0, 1, payload_bytes=999), until=2)
    judged(judge, row(2, 2, payload_bytes=40), row(2, 3, payload_bytes=10))
    assert judged(judge, row(3, 4, payload_bytes=20), row(3, 5, payload_bytes=30))["value"].tolist() == [value]


ASKED = Clause("is", "outcome", "attempt")
GAVE = Clause("is", "verdict", "tls")
BOTH = Clause("or", parts=(ASKED, GAVE))


def temporal(kind: str, **changes: Any) -> Rule:
    return rule(Measure(kind, "", "gte", 2, 3 * STEP), condition=BOTH, parts=(ASKED, GAVE), **changes)


def asked(window: int, flow: int, **changes: Any) -> dict[str, Any]:
    return row(window, flow, **{"outcome": "attempt", "verdict": "too_little"} | changes)


def gave(window: int, flow: int, **changes: Any) -> dict[str, Any]:
    return row(window, flow, **{"verdict": "tls"} | changes)


def test_temporal_needs_all_of_its_rules_in_the_timespan_in_any_order() -> None:
    judge = Judge(RuleSet((temporal("temporal"),)))
    assert judged(judge, gave(0, 1), asked(3, 2), gave(3, 3, orig_ip="10.0.0.9")).empty
    found = judged(judge, gave(5, 4))
    assert (found["value"].tolist(), found["flows"].tolist()) == ([2.0], [(2, 4)])


def test_temporal_ordered_needs_them_one_after_another() -> None:
    rules = RuleSet((temporal("temporal_ordered"),))
    assert judged(Judge(rules), gave(0, 1), asked(1, 2)).empty
    assert judged(Judge(rules), asked(0, 1), gave(1, 2))["value"].tolist() == [2.0]
    assert judged(Judge(rules), asked(0, 1), gave(3, 2)).empty, "the first has left the timespan"
    judge = Judge(rules)
    assert judged(judge, asked(0, 1)).empty
    assert judged(judge, gave(2, 2))["flows"].tolist() == [(1, 2)]
    early, late = asked(0, 1, first_ts_ns=NOON + 9), gave(0, 2, first_ts_ns=NOON + 3)
    assert judged(Judge(rules), early, late).empty, "within a window the packets' times count"


def test_a_row_of_two_rules_counts_for_both_and_its_volume_once() -> None:
    found = judged(Judge(RuleSet((temporal("temporal"),))), asked(0, 1, verdict="tls", payload_bytes=7))
    assert (found["value"].tolist(), found["payload_bytes"].tolist()) == ([2.0], [7])


def test_an_alias_joins_columns_of_different_rules() -> None:
    aliases = (("host", ("orig_ip", "resp_ip")),)
    pivot = temporal("temporal", subject=("host",), aliases=aliases, reason="{host}")
    rows = (asked(0, 1, orig_ip="10.0.0.7"), gave(1, 2, orig_ip="10.0.0.8", resp_ip="10.0.0.7"))
    found = judged(Judge(RuleSet((pivot,))), *rows)
    assert (found["subject"].tolist(), found["reason"].tolist()) == (['{"host": "10.0.0.7"}'], ["10.0.0.7"])


# --- other categories
def flow_row(window: int, flow: int, **changes: Any) -> dict[str, Any]:
    start = NOON + window * STEP
    base = {"window_start_ns": start, "window_s": 10, "first_ts_ns": start, "last_ts_ns": start + 5, "flow": flow}
    return base | {"site": "hq", "verdict": "do", "payload_bytes": 3} | changes


def flow_frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return cases.frame((FlowFrame, JudgedFlowFrame), tuple(cases.ACTIVITY | cases.FLOW | each for each in rows))


def test_flows_wait_for_their_windows_and_are_judged_in_time() -> None:
    late = rule(Measure("event_count", "", "gte", 2, 2 * STEP), category="flow", subject=("site",), reason="{value}")
    judge = Judge(RuleSet((late, rule())))
    nothing = cases.activity().iloc[:0]
    early = judge.push(nothing, NOON + 2 * STEP, {"flow": flow_frame(flow_row(5, 1), flow_row(1, 2), flow_row(4, 3))})
    assert early.empty
    found = judge.push(nothing, NOON + 6 * STEP, {"flow": flow_frame(flow_row(2, 4), flow_row(7, 5))})
    assert found["flows"].tolist() == [(2, 4), (1, 3)]
    assert found["window_start_ns"].tolist() == [NOON + 2 * STEP, NOON + 5 * STEP]
    found = judge.push(nothing, NOON + 6 * STEP, {"flow": flow_frame()}, last=True)
    assert found.empty, "one row alone"

"""Conditions against what each row says; measures against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.rules import backend
from sensor.rules.columns import kinds
from sensor.rules.ruleset import Clause
from tests import cases

ROWS = (
    {"orig_ip": "10.1.0.5", "site": "hq", "verdict": "do", "payload_bytes": 0, "exception": ""},
    {
        "orig_ip": "10.255.0.1",
        "site": "ber",
        "verdict": "tls",
        "payload_bytes": 10,
        "exception": "CHG-1",
        "peers_allowed": True,
    },
    {"orig_ip": "2001:db8::1", "site": "unknown", "verdict": "http", "payload_bytes": 20, "exception": "chg-2"},
    {"orig_ip": "192.168.10.1", "site": "hq", "verdict": "do", "payload_bytes": 30, "resp_site": "ber"},
)


def holds(clause: Clause, *rows: dict[str, Any]) -> list[int]:
    made = backend.Encoded(cases.activity(*(rows or ROWS)), kinds("activity"))
    return [int(at) for at in np.flatnonzero(backend.evaluate(clause, made))]


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        (Clause("is", "verdict", "do"), [0, 3]),
        (Clause("is", "exception", "chg-1"), [1]),
        (Clause("is_cased", "exception", "chg-1"), []),
        (Clause("re", "exception", r"(?is)\Achg.*\z"), [1, 2]),
        (Clause("re", "exception", "^chg"), [2]),
        (Clause("null", "exception"), [0, 3]),
        (Clause("exists", "exception", value=True), [1, 2]),
        (Clause("exists", "exception", value=False), [0, 3]),
        (Clause("exists", "payload_bytes", value=True), [0, 1, 2, 3]),
        (Clause("null", "payload_bytes"), []),
        (Clause("cidr", "orig_ip", "10.0.0.0/9"), [0]),
        (Clause("cidr", "orig_ip", "10.0.0.0/8"), [0, 1]),
        (Clause("cidr", "orig_ip", "192.168.0.0/20"), [3]),
        (Clause("cidr", "orig_ip", "2001:db8::/33"), [2]),
        (Clause("cidr", "orig_ip", "0.0.0.0/0"), [0, 1, 3]),
        (Clause("gt", "payload_bytes", 10), [2, 3]),
        (Clause("gte", "payload_bytes", 10), [1, 2, 3]),
        (Clause("lt", "payload_bytes", 10), [0]),
        (Clause("lte", "payload_bytes", 9.5), [0]),
        (Clause("equal", "payload_bytes", 20), [2]),
        (Clause("equal", "peers_allowed", value=True), [1]),
        (Clause("same", "orig_site", "resp_site"), [0, 1, 2]),
        (Clause("same", "orig_packets", "resp_packets"), [0, 1, 2, 3]),
        (Clause("not", parts=(Clause("is", "site", "hq"),)), [1, 2]),
        (Clause("or", parts=(Clause("is", "site", "ber"), Clause("is", "site", "unknown"))), [1, 2]),
        (Clause("and", parts=(Clause("is", "site", "hq"), Clause("gt", "payload_bytes", 5))), [3]),
    ],
)
def test_a_condition_holds_for_its_rows(clause: Clause, expected: list[int]) -> None:
    assert holds(clause) == expected


def test_missing_text_is_null_and_equals_nothing() -> None:
    frame = cases.activity(*ROWS)
    frame["site"] = frame["site"].cat.set_categories(["hq"])
    frame.loc[0, "exception"] = None
    rows = backend.Encoded(frame, kinds("activity"))
    assert backend.evaluate(Clause("null", "site"), rows).tolist() == [False, True, True, False]
    assert backend.evaluate(Clause("not", parts=(Clause("is", "site", "hq"),)), rows).tolist() == [
        False,
        True,
        True,
        False,
    ]
    assert backend.evaluate(Clause("null", "exception"), rows).tolist() == [True, False, False, True]


def test_no_rows_are_no_trouble() -> None:
    rows = backend.Encoded(cases.activity(*ROWS).iloc[:0], kinds("activity"))
    for clause in (Clause("is", "verdict", "do"), Clause("cidr", "orig_ip", "::/0"), Clause("gt", "payload_bytes", 1)):
        assert backend.evaluate(clause, rows).tolist() == []


def test_more_categories_than_a_byte_counts() -> None:
    frame = cases.activity(*[{} for _ in range(127)])
    frame["site"] = pd.Categorical([f"s{at}" for at in range(127)])
    rows = backend.Encoded(frame, kinds("activity"))
    assert np.flatnonzero(backend.evaluate(Clause("is", "site", "s126"), rows)).tolist() == [126]


# --- measures
OBSERVED = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 4)), max_size=40)


@settings(deadline=None)
@given(OBSERVED, st.integers(1, 15))
def test_measures_are_what_counting_by_hand_gives(rows: list[tuple[int, int, int]], span: int) -> None:
    group, window, value = (np.array([row[at] for row in rows], dtype=np.int64) for at in range(3))
    at = backend.points(group, window * 10)
    sums, kinds_seen = backend.add_up(at, value, span * 10), backend.count_distinct(at, value, span * 10)
    where = sorted({(row[0], row[1]) for row in rows})
    assert list(zip(at.group.tolist(), (at.window // 10).tolist(), strict=True)) == where
    assert [where[each] for each in at.row] == [(row[0], row[1]) for row in rows]
    for point, (who, when) in enumerate(where):
        seen = [row[2] for row in rows if row[0] == who and when - span < row[1] <= when]
        assert sums[point] == sum(seen)
        assert kinds_seen[point] == len(set(seen))


def test_sums_are_exact_far_beyond_float() -> None:
    at = backend.points(np.array([0, 0, 1]), np.array([0, 10, 10]))
    amounts = np.array([2**60, 1, 3])
    assert backend.add_up(at, amounts, 11).tolist() == [2**60, 2**60 + 1, 3]
    assert backend.add_up(at, amounts, 10).tolist() == [2**60, 1, 3]

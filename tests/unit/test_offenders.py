"""Who took most off schedule in a day, exactly; never more of them than were asked for, and the sum is kept."""

from __future__ import annotations

import pytest

from sensor import offenders
from sensor.catalogue import MOST_OFFENDERS
from sensor.offenders import OTHER, Offenders
from tests import cases
from tests.cases import NOON, SECOND

DAY = 24 * 3600 * SECOND


def test_who_is_not_asked_keeps_nothing() -> None:
    made = Offenders(0)
    made.add(cases.activity({"orig_payload_bytes": 5}))
    assert made.told(NOON) == {}


def test_the_taker_is_named_whichever_side_it_is_on() -> None:
    made = Offenders(5)
    made.add(cases.activity({"orig_payload_bytes": 5, "resp_payload_bytes": 70, "resp_site": "ber"}))
    assert made.told(NOON + SECOND) == {("ber", "10.1.0.6"): 5, ("hq", "10.1.0.5"): 70, OTHER: 0}


@pytest.mark.parametrize(
    ("schedule", "counts"), [("closed", True), ("disabled", True), ("open", False), ("exempt", False)]
)
def test_only_what_is_off_schedule_counts(schedule: str, counts: bool) -> None:  # noqa: FBT001 - a table
    made = Offenders(5)
    made.add(cases.activity({"resp_payload_bytes": 70, "schedule": schedule}))
    assert made.told(NOON) == ({("hq", "10.1.0.5"): 70, OTHER: 0} if counts else {OTHER: 0})


def test_the_largest_are_named_and_the_sum_is_kept() -> None:
    made = Offenders(3)
    made.add(cases.activity(*({"orig_ip": f"10.1.0.{at}", "resp_payload_bytes": at} for at in range(1, 101))))
    told = made.told(NOON)
    assert list(told.items()) == [
        (("hq", "10.1.0.100"), 100), (("hq", "10.1.0.99"), 99), (("hq", "10.1.0.98"), 98), (OTHER, 5050 - 297),
    ]  # fmt: skip


def test_what_is_a_day_ago_is_forgotten() -> None:
    made = Offenders(3)
    made.add(cases.activity({"resp_payload_bytes": 70}))
    made.add(cases.activity({"resp_payload_bytes": 5, "window_start_ns": NOON + DAY // 2}))
    assert made.told(NOON + DAY - SECOND)["hq", "10.1.0.5"] == 75
    assert made.told(NOON + DAY)["hq", "10.1.0.5"] == 5
    assert made.told(NOON + 2 * DAY) == {OTHER: 0}


def test_neither_names_nor_memory_grow_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offenders, "_MOST_ADDRESSES", 100)
    made = Offenders(10_000)
    rows = cases.activity({"resp_payload_bytes": 1})
    many = rows.loc[rows.index.repeat(50_000)].reset_index(drop=True)
    many["orig_ip"] = [f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}" for at in range(50_000)]
    many.loc[49_999, "resp_payload_bytes"] = 1_000
    made.add(many)
    told = made.told(NOON)
    assert len(told) == MOST_OFFENDERS + 1
    assert told["hq", "10.0.195.79"] == 1_000  # the last to come, and the largest
    assert sum(told.values()) == 50_999
    assert sum(len(kept) for kept in made._slices.values()) <= 101

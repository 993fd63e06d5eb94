"""Calendar files by hand: what they mean, and what strangers put into them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor import calendars, schedule
from sensor.checking import write_schedule
from sensor.errors import OperatorError
from sensor.settings import load_policy

if TYPE_CHECKING:
    from pathlib import Path

NS = 1_000_000_000
POLICY = """\
version: 1
time_intervals:
  - {name: changes, ics: changes.ics, location: Europe/Berlin}
  - name: always
    time_intervals: [{}]
sites:
  - {name: hq, subnets: [10.1.0.0/16], timezone: Europe/Berlin, peering: scheduled, update_windows: [changes]}
  - {name: ber, subnets: [10.2.0.0/16], timezone: UTC, peering: scheduled, update_windows: [always], exclude: [changes]}
"""


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def event(*lines: str, uid: str = "1") -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"])


def file(folder: Path, *events: str) -> Path:
    path = folder / "changes.ics"
    path.write_bytes("\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *events, "END:VCALENDAR", ""]).encode())
    return path


def test_events_of_each_kind_are_when_they_are(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        event("DTSTART:20260609T180000Z", "DTEND:20260609T200000Z", uid="a"),
        event("DTSTART:20260609T200000Z", "DURATION:PT1H", uid="b"),  # adjacent: one slot
        event("DTSTART;VALUE=DATE:20260701", "DTEND;VALUE=DATE:20260702", uid="c"),  # a day in Berlin
        event("DTSTART:20260801T220000", "DTEND:20260801T230000", uid="d"),  # no zone: Berlin, too
        event("DTSTART:20260901T220000Z", "DTEND:20260901T230000Z", "STATUS:CANCELLED", uid="e"),
    )
    assert calendars.read(path, "Europe/Berlin") == (
        (utc("2026-06-09T18:00"), utc("2026-06-09T21:00")),
        (utc("2026-06-30T22:00"), utc("2026-07-01T22:00")),
        (utc("2026-08-01T20:00"), utc("2026-08-01T21:00")),
    )


def test_the_second_tuesday_recurs_on_the_wall_clock_but_where_it_is_excepted(tmp_path: Path) -> None:
    zone = "TZID=Europe/Berlin"
    rule = "RRULE:FREQ=MONTHLY;BYDAY=2TU;COUNT=5"
    start = (f"DTSTART;{zone}:20260210T200000", f"DTEND;{zone}:20260210T230000")
    path = file(tmp_path, event(*start, rule, f"EXDATE;{zone}:20260414T200000"))
    assert [first for first, _ in calendars.read(path, "UTC")] == [
        utc(f"2026-{at}") for at in ("02-10T19:00", "03-10T19:00", "05-12T18:00", "06-09T18:00")
    ]


def test_a_policy_opens_and_closes_by_a_calendar(tmp_path: Path) -> None:
    file(tmp_path, event("DTSTART:20260609T223000Z", "DTEND:20260610T013000Z"))
    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = load_policy(tmp_path / "policy.yaml")
    start, end = utc("2026-06-09T00:00"), utc("2026-06-11T00:00")
    schedules = schedule.Schedules(policy, start, end)
    slot = [utc("2026-06-09T22:30"), utc("2026-06-10T01:30")]
    assert schedules.slots("hq", start, end).tolist() == [slot]
    assert schedules.slots("ber", start, end).tolist() == [[start, slot[0]], [slot[1], end]]
    assert [state.next_ns for state in schedules.states(start)] == [slot[0], slot[0]]
    # What Alertmanager reads of it is the same, and so is the calendar that is written from it.
    explained = tmp_path / "explained.yaml"
    parts = POLICY.split("time_intervals:", maxsplit=1)[0], schedule.explain(policy), POLICY[POLICY.index("sites:") :]
    explained.write_text("".join(parts))
    again = schedule.Schedules(load_policy(explained), start, end)
    np.testing.assert_array_equal(again.slots("ber", start, end), schedules.slots("ber", start, end))
    (tmp_path / "changes.ics").write_text(write_schedule(tmp_path / "policy.yaml", start, 2, "ics").replace("ber", "x"))
    assert calendars.read(tmp_path / "changes.ics", "UTC") == ((start, end),), "both sites together are always open"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["DTSTART:20260101T000000Z", "DURATION:PT1M", "RRULE:FREQ=SECONDLY"], "an event secondly"),
        (["DTSTART:00010101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"], "an event of the year 1"),
        (["DTSTART:nonsense", "DURATION:PT1H"], ""),
        (["DTSTART:20260102T000000Z", "DTEND:20260101T000000Z"], ""),
        (["DTSTART:20260101T000000Z", "DURATION:PT1H", "RRULE:FREQ=YEARLY;INTERVAL=0"], "take too long"),
    ],
)
def test_strangers_get_one_sentence_or_nothing(tmp_path: Path, lines: list[str], said: str) -> None:
    path = file(tmp_path, event(*lines))
    try:
        assert len(calendars.read(path, "UTC")) <= 1
        assert not said
    except OperatorError as error:
        (mistake,) = error.mistakes
        assert mistake.where.startswith(str(path))
        assert said in str(mistake)


def test_what_is_no_calendar_or_too_large_is_told_with_the_policys_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.replace("peering: scheduled, update", "peering: sometimes, update", 1))
    (tmp_path / "changes.ics").write_bytes(b"\0\1nothing")
    with pytest.raises(OperatorError) as caught:
        load_policy(tmp_path / "policy.yaml")
    assert len(caught.value.mistakes) == 2
    (tmp_path / "changes.ics").write_bytes(b" " * (2 << 20))
    with pytest.raises(OperatorError, match="more than 1048576 bytes"):
        calendars.read(tmp_path / "changes.ics", "UTC")
    with pytest.raises(OperatorError, match="No such file"):
        calendars.read(tmp_path / "none.ics", "UTC")

"""How the page says things: escaped, sortable, at the right local midnight."""

from __future__ import annotations

from itertools import pairwise

from sensor.sinks.report import marks
from tests.cases import NOON, SECOND

DAY = 86_400 * SECOND


def test_table_sorts_numbers_by_value_and_keeps_text_left() -> None:
    made = marks.table("t", ["who", "bytes"], [["<b>", marks.volume(1500)], ["x", marks.volume(0)]])
    assert '<td>&lt;b&gt;</td><td class="n" data-by="1500">1.5 kB</td>' in made
    assert '<td class="n none" data-by="0">-</td>' in made
    assert '<th scope="col" class=n><button type="button">bytes</button></th>' in made


def test_days_are_local_and_of_their_own_length() -> None:
    found = marks.days(NOON + 17 * DAY, NOON + 20 * DAY, "Europe/Berlin")  # the clock changes on 2026-03-29
    assert [f"{day:%m-%d %H:%M %Z}" for day in found] == [
        "03-27 00:00 CET", "03-28 00:00 CET", "03-29 00:00 CET", "03-30 00:00 CEST",
    ]  # fmt: skip
    starts = [marks.at_ns(day) for day in found]
    assert [b - a for a, b in pairwise(starts)] == [DAY, DAY, DAY - 3600 * SECOND]


def test_steps_are_usual_and_few() -> None:
    assert marks.step_ns(240 * 10 * SECOND, 240) == 10 * SECOND
    assert marks.step_ns(240 * 10 * SECOND + 1, 240) == 30 * SECOND
    assert marks.step_ns(7 * DAY, 240) == 3600 * SECOND
    assert marks.step_ns(10**19, 1) == 365 * DAY


def test_moments_are_utc() -> None:
    assert marks.moment(NOON + 1) == marks.Cell("2026-03-10 12:00:00", NOON + 1)

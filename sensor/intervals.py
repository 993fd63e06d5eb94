"""Alertmanager's syntax for the fields of one time interval: text to ranges, and back to text.

Every range that Alertmanager accepts is accepted here with the same meaning, and what it refuses is refused, but for
months and years that do not exist, which only it accepts; so a policy's `time_intervals` can be moved between the two
(source: alertmanager, `timeinterval/timeinterval.go`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sensor.policy import TimeInterval
from sensor.values import UnreadableError, quote, suggest

if TYPE_CHECKING:
    from collections.abc import Callable

WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
DAY_MINUTES: Final = 24 * 60

_TIME: Final = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
_NUMBER: Final = re.compile(r"-?[0-9]{1,4}")
_MONTH_DAYS: Final = 31
_SHORTEST_MONTH: Final = 28
_LAST_YEAR: Final = 9999
_TUESDAY: Final = WEEKDAYS.index("tuesday")
_FIRST_SECOND_TUESDAY: Final = 8  # the second Tuesday is one of the days 8 to 14
_PATCH_DAYS: Final = 14  # later days can leave February
_PATCH_HOURS: Final = 24

Range = tuple[int, int]


def read_time(text: str) -> int:
    """Read a time of day, HH:MM with 24:00 for the end of the day, as minutes."""
    found = _TIME.fullmatch(text)
    if not found:
        raise UnreadableError(f"{quote(text)} is not a time of day", "write HH:MM, from 00:00 to 24:00")
    return int(found[1]) * 60 + int(found[2]) if found[1] else DAY_MINUTES


def check_times(start: int, end: int) -> None:
    """Refuse a time range that Alertmanager refuses: over midnight, or empty."""
    if start >= end:
        first, last = write_time(start), write_time(end)
        if end in (0, start):
            raise UnreadableError(
                f"times {first} to {last} are empty", "the end is exclusive; midnight at the end is 24:00"
            )
        right = f"write two items: {first} to 24:00, and on the next day 00:00 to {last}"
        raise UnreadableError(f"times {first} to {last} run over midnight", right)


def read_weekdays(text: str) -> Range:
    """Read a weekday or a range of them; the week starts on Sunday."""
    first, last = _read_range(text, "weekday", _weekday)
    if first > last:
        before, after = _write_range(WEEKDAYS[first], WEEKDAYS[-1]), _write_range(WEEKDAYS[0], WEEKDAYS[last])
        right = f"the week starts on sunday; write two: {before} and {after}"
        raise UnreadableError(f"weekdays {quote(text)} run over the end of the week", right)
    return first, last


def read_days(text: str) -> Range:
    """Read a day of the month or a range of them; negative days count from the month's end."""
    first, last = _read_range(text, "day of the month", _day)
    if first < 0 < last:
        raise UnreadableError(
            f"days {quote(text)} begin at the month's end", "a range from a negative day ends at a negative day"
        )
    # As Alertmanager: a range must be able to hold a day of the shortest month, except that 29 and later are clamped.
    if (first if first > 0 else _SHORTEST_MONTH + first) > (last if last > 0 else _SHORTEST_MONTH + last):
        right = f"write {first}:31, it stops at the month's end" if last == -1 else "write the earlier day first"
        raise UnreadableError(f"days {quote(text)} end before they begin", right)
    return first, last


def read_months(text: str) -> Range:
    """Read a month, by name or number, or a range of them."""
    first, last = _read_range(text, "month", _month)
    if first > last:
        before, after = _write_range(MONTHS[first - 1], MONTHS[-1]), _write_range(MONTHS[0], MONTHS[last - 1])
        right = f"write two: {before} and {after}"
        raise UnreadableError(f"months {quote(text)} run over the end of the year", right)
    return first, last


def read_years(text: str) -> Range:
    """Read a year or a range of them."""
    first, last = _read_range(text, "year", _year)
    if first > last:
        raise UnreadableError(f"years {quote(text)} end before they begin", "write the earlier year first")
    return first, last


def _read_range(text: str, what: str, read: Callable[[str], int]) -> Range:
    first, colon, last = text.lower().partition(":")
    if colon and (not first or not last or ":" in last):
        raise UnreadableError(f"{quote(text)} is not a range", f"write one {what}, or two as first:last")
    return read(first), read(last if colon else first)


def _weekday(text: str) -> int:
    if text not in WEEKDAYS:
        raise UnreadableError(f"{quote(text)} is not a weekday", suggest(text, WEEKDAYS))
    return WEEKDAYS.index(text)


def _day(text: str) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= abs(int(text)) <= _MONTH_DAYS:
        raise UnreadableError(f"{quote(text)} is not a day of the month", "write 1 to 31, or -1 to -31 from its end")
    return int(text)


def _month(text: str) -> int:
    if text in MONTHS:
        return MONTHS.index(text) + 1
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= len(MONTHS):
        raise UnreadableError(f"{quote(text)} is not a month", suggest(text, MONTHS) or "write its name or 1 to 12")
    return int(text)


def _year(text: str) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= _LAST_YEAR:
        raise UnreadableError(f"{quote(text)} is not a year", "write it with four digits")
    return int(text)


def read_patch_days(text: str) -> Range:
    """Read which days after the second Tuesday are meant: k or first:last, 0 to 14."""
    first, colon, last = text.partition(":")
    days = (first, last if colon else first)
    if not all(_NUMBER.fullmatch(day) and 0 <= int(day) <= _PATCH_DAYS for day in days):
        right = "write how many days after the second Tuesday, 0 to 14, or two as first:last"
        raise UnreadableError(f"{quote(text)} are not days after a patch Tuesday", right)
    if int(days[0]) > int(days[1]):
        raise UnreadableError(f"days {quote(text)} end before they begin", "write the earlier day first")
    return int(days[0]), int(days[1])


def read_hours(text: str) -> int:
    """Read how long a window lasts."""
    if not re.fullmatch(r"[1-9]|1[0-9]|2[0-4]", text):
        raise UnreadableError(f"{quote(text)} is not a number of hours", "write 1 to 24")
    return int(text)


def read_start(text: str) -> int:
    """Read a time of day at which a window can start."""
    minutes = read_time(text)
    if text == "24:00":
        raise UnreadableError('"24:00" is the end of a day, not a start', "write 00:00 and the next day")
    return minutes


def expand_patch_tuesday(days: Range, start: int, hours: int, location: str | None = None) -> tuple[TimeInterval, ...]:
    """Write "k days after the second Tuesday, from `start` for `hours`" as plain intervals, exactly.

    The day k after the second Tuesday is the only one of the days 8 + k to 14 + k with its weekday. What runs over
    midnight is a second interval on the next day.
    """
    end = start + hours * 60
    if not 1 <= hours <= _PATCH_HOURS or start >= DAY_MINUTES:
        raise UnreadableError(
            f"{hours} hours from {write_time(start)}", "a window starts before 24:00 and lasts 1 to 24 hours"
        )
    if end > DAY_MINUTES and days[1] == _PATCH_DAYS:
        read = f"day {_PATCH_DAYS} from {write_time(start)} for {hours} hours runs into day {_PATCH_DAYS + 1}"
        raise UnreadableError(read, "that can leave February; end by midnight, or stop at day 13")
    found = []
    for day in range(days[0], days[1] + 1):
        found.append(_patch_day(day, (start, min(end, DAY_MINUTES)), location))
        if end > DAY_MINUTES:
            found.append(_patch_day(day + 1, (0, end - DAY_MINUTES), location))
    return tuple(found)


def _patch_day(day: int, times: Range, location: str | None) -> TimeInterval:
    weekday = (_TUESDAY + day) % len(WEEKDAYS)
    first = _FIRST_SECOND_TUESDAY + day
    return TimeInterval(
        times=(times,), weekdays=((weekday, weekday),), days_of_month=((first, first + 6),), location=location
    )


def write_time(minutes: int) -> str:
    """Write minutes of the day as HH:MM."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def write_interval(interval: TimeInterval) -> str:
    """Write an interval as one YAML flow mapping that Alertmanager reads the same way."""
    times = [f"{{start_time: '{write_time(a)}', end_time: '{write_time(b)}'}}" for a, b in interval.times]
    fields = {
        "times": times,
        "weekdays": _write_ranges(interval.weekdays, lambda day: WEEKDAYS[day]),
        "days_of_month": _write_ranges(interval.days_of_month, str),
        "months": _write_ranges(interval.months, lambda month: MONTHS[month - 1]),
        "years": _write_ranges(interval.years, str),
    }
    parts = [f"{name}: [{', '.join(values)}]" for name, values in fields.items() if values]
    if interval.location is not None:
        parts.append(f"location: '{interval.location}'")
    return "{" + ", ".join(parts) + "}"


def _write_ranges(ranges: tuple[Range, ...], write: Callable[[int], str]) -> list[str]:
    return [f"'{_write_range(write(first), write(last))}'" for first, last in ranges]


def _write_range(first: str, last: str) -> str:
    return first if first == last else f"{first}:{last}"

"""Calendar files (iCalendar, RFC 5545) to slots: a change calendar from Exchange, Google or a ticket system.

What recurs is expanded by `recurring-ical-events` (extra `ical`), for as long as the file's own latest date and five
years, so that the same file always means the same. Files come from strangers, and a rule of recurrence can be one that
never ends: they are read by a process of their own, which has five seconds and a gibibyte.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from sensor.errors import Mistake, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Spans = tuple[tuple[int, int], ...]

_MOST_BYTES: Final = 1 << 20
_MOST_EVENTS: Final = 2000
_MOST_SLOTS: Final = 20_000
_MOST_SECONDS: Final = 5
_MOST_WAIT_S: Final = 60.0  # on a machine that is busy
_TOO_LONG: Final = "events that take too long to expand"
_MOST_MEMORY: Final = 1 << 30
_YEARS: Final = (1990, 2100)
_BEYOND: Final = timedelta(days=5 * 366)
_TOO_OFTEN: Final = re.compile(rb"^RRULE[^\r\n]*FREQ=(SECONDLY|MINUTELY|HOURLY)", re.IGNORECASE | re.MULTILINE)
_NS: Final = 1_000_000_000


def read(path: Path, location: str) -> Spans:
    """Return when events of a calendar file are, as sorted, disjoint [start, end) in UTC ns; cancelled ones are not.

    Parameters
    ----------
    path
        The file.
    location
        Time zone of events that name none: whole days, and times without a zone.

    Raises
    ------
    OperatorError
        If it cannot be read, is no calendar, or asks for too much.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _wrong(path, error.strerror or "cannot be read", "name a calendar file") from error
    if len(data) > _MOST_BYTES:
        raise _wrong(path, f"more than {_MOST_BYTES} bytes", "export a shorter time, or fewer calendars")
    if often := _TOO_OFTEN.search(data):
        line = data.count(b"\n", 0, often.start()) + 1
        raise _wrong(f"{path}:{line}", f"an event {often[1].decode().lower()}", "recur daily or more seldom")
    command = [sys.executable, "-m", "sensor.calendars", location]
    try:
        done = subprocess.run(  # noqa: S603 - this Python, this module, and a time zone that was checked
            command, input=data, capture_output=True, check=False, timeout=_MOST_WAIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise _wrong(path, _TOO_LONG, "simplify the rules of recurrence") from error
    if done.returncode or not done.stdout:
        raise _wrong(path, _TOO_LONG, "simplify the rules of recurrence")
    answer = json.loads(done.stdout)
    if isinstance(answer, dict):
        raise _wrong(path, answer["read"], answer["right"])
    return tuple((int(start), int(end)) for start, end in answer)


class _WrongError(Exception):
    """What is wrong with a calendar, and what would be right."""


def expand(data: bytes, location: str) -> Spans:
    """Return when the events of a calendar are; this is what the process of its own does.

    Raises
    ------
    Exception
        Whatever the libraries make of it.
    """
    import icalendar
    import recurring_ical_events

    calendar = icalendar.Calendar.from_ical(data)
    events = calendar.walk("VEVENT")
    if len(events) > _MOST_EVENTS:
        raise _WrongError(f"{len(events)} events", f"at most {_MOST_EVENTS}")
    first, last = _range(events)
    return _joined(_occurrences(recurring_ical_events.of(calendar), first, last), ZoneInfo(location))


def main(location: str) -> None:
    """Read a calendar from stdin and write its slots, or what is wrong with it, to stdout as JSON.

    Raises
    ------
    nothing
    """
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    answer: Any
    try:
        answer = expand(sys.stdin.buffer.read(), location)
    except ImportError:
        answer = {"read": "calendars need the extra `ical`", "right": "pip install 'swarmtap[ical]'"}
    except _WrongError as error:
        answer = dict(zip(("read", "right"), error.args, strict=True))
    except Exception as error:  # noqa: BLE001 - whatever the two libraries make of a stranger's file
        told = f"not a calendar that can be read ({type(error).__name__}: {str(error)[:80]})"
        answer = {"read": told, "right": "export it as iCalendar (RFC 5545)"}
    sys.stdout.write(json.dumps(answer))


def _range(events: Iterable[Any]) -> tuple[datetime, datetime]:
    """Return the first day of any event, and the last date that the file names, and five years."""
    found = [
        _day(value.dt)
        for event in events
        for name in ("DTSTART", "DTEND", "DTSTAMP", "LAST-MODIFIED", "RECURRENCE-ID")
        if (value := event.get(name)) is not None and hasattr(value, "dt")
    ]
    if not found:
        return datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC)
    strange = [day for day in found if not _YEARS[0] <= day.year < _YEARS[1]]
    if strange:
        raise _WrongError(f"an event of the year {strange[0].year}", f"{_YEARS[0]} to {_YEARS[1] - 1}")
    first = datetime(min(found).year, 1, 1, tzinfo=UTC)
    return first, datetime.combine(max(found), datetime.min.time(), tzinfo=UTC) + _BEYOND


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _occurrences(query: Any, first: datetime, last: datetime) -> list[tuple[date, date]]:
    """Expand what recurs, a year at a time, so that what is too much is noticed early."""
    found: dict[tuple[Any, ...], tuple[date, date]] = {}
    for year in range(first.year, last.year + 1):
        start, end = datetime(year, 1, 1, tzinfo=UTC), min(datetime(year + 1, 1, 1, tzinfo=UTC), last)
        for event in query.between(start, end) if start < end else ():
            if str(event.get("STATUS", "")).upper() != "CANCELLED":
                found[str(event.get("UID")), str(event.start), str(event.end)] = event.start, event.end
        if len(found) > _MOST_SLOTS:
            raise _WrongError(f"more than {_MOST_SLOTS} occurrences", "let events recur more seldom, or end")
    return list(found.values())


def _joined(found: Iterable[tuple[date, date]], zone: ZoneInfo) -> Spans:
    spans = sorted((_instant(start, zone), _instant(end, zone)) for start, end in found)
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if end < start:
            raise _WrongError("an event that ends before it begins", "let it end after its start")
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        elif end > start:
            joined.append((start, end))
    return tuple(joined)


def _instant(moment: date, zone: ZoneInfo) -> int:
    """Return a moment in UTC ns; whole days begin at midnight, and floating times are, in the zone."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, datetime.min.time())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return int(moment.timestamp()) * _NS


def _wrong(where: Path | str, read: str, right: str) -> OperatorError:
    return OperatorError(Mistake(str(where), read, right))


if __name__ == "__main__":
    main(sys.argv[1])

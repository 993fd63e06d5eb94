"""What the sensor says of itself and of the network now: open incidents and schedules, as `/status` has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from sensor import words
from sensor.schedule import ALWAYS_NS, NEVER_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sensor.schedule import SiteState
    from sensor.schema import Incident

_NS: Final = 1_000_000_000
_OPEN: Final = ("open", "ongoing")
_MOST: Final = 100
_MOST_NAMES: Final = 1000


def sites(states: Iterable[SiteState]) -> list[dict[str, Any]]:
    """Return each site's schedule: its state, since when, and when that changes; None where it has no such time.

    Raises
    ------
    nothing
    """
    return [
        {
            "site": state.site,
            "peering": state.peering,
            "timezone": state.timezone,
            "schedule": state.schedule,
            "since": _time(state.since_ns, state.timezone),
            "next_change": _time(state.next_ns, state.timezone),
        }
        for state in states
    ]


def incidents(found: Iterable[Incident], timezones: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the incidents that are open or ongoing, the worst first; at most a hundred of them.

    Parameters
    ----------
    timezones
        Time zone by site; a site that is not in it is told in UTC.

    Raises
    ------
    nothing
    """
    worst = words.worst_first(each for each in found if each.state in _OPEN)
    return [
        {
            "id": each.id,
            "level": each.level,
            "rule": each.rule,
            "title": each.title,
            "site": each.site,
            "subject": words.subject(each),
            "when": words.when(each, timezones.get(each.site, "UTC")),
            "flows": each.flows,
            "payload_bytes": each.payload_bytes,
            "reason": each.reason,
            "confidence": each.confidence,
        }
        for each in worst[:_MOST]
    ]


def names(labels: Mapping[str, tuple[str, int, int]]) -> list[dict[str, Any]]:
    """Return the names that hosts announced for their addresses, those heard last first; at most a thousand.

    Parameters
    ----------
    labels
        By address: the name, since when, and when it was heard last (ns).

    Raises
    ------
    nothing
    """
    latest = sorted(labels.items(), key=lambda each: (-each[1][2], each[0]))
    return [
        {"address": address, "name": name, "since": instant(since_ns), "heard": instant(heard_ns)}
        for address, (name, since_ns, heard_ns) in latest[:_MOST_NAMES]
    ]


def instant(ns: int | None) -> str | None:
    """Return an instant as ISO 8601 in UTC.

    Raises
    ------
    nothing
    """
    return None if ns is None else datetime.fromtimestamp(ns // _NS, UTC).isoformat()


def _time(ns: int, timezone: str) -> str | None:
    if ns in (ALWAYS_NS, NEVER_NS):
        return None
    return datetime.fromtimestamp(ns // _NS, ZoneInfo(timezone)).isoformat()

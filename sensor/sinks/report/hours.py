"""The window calendar: days down, hours across, in a site's own time; approved slots lie under and around the hours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pandas as pd

from sensor import words
from sensor.sinks.report.marks import NS, Beside, Slots, at_ns, days, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensor.schema import Case

SHOWN_DAYS: Final = 62
SHOWN_SITES: Final = 12
_HOURS: Final = 24
_HOUR_NS: Final = 3600 * NS
_WIDE: Final = 25  # an hour in the map, and its margins in px
_HEIGHTS: Final = ((8, 34), (16, 24), (SHOWN_DAYS, 18))  # up to so many days, a day is so high
_LEFT, _TOP = 96, 20


@dataclass(frozen=True, slots=True)
class _Hour:
    """What happened in an hour of local time."""

    payload: int
    off: int
    flows: int


def calendar(case: Case, beside: Beside) -> str:
    """Return one map per site, the site with most payload off schedule first; empty if nothing was seen.

    Raises
    ------
    nothing
    """
    sums = case.activity.groupby("site", observed=True)[["off_window_payload_bytes", "payload_bytes"]].sum()
    if sums.empty:
        return ""
    ranked = sorted(sums.itertuples(), key=lambda row: (-int(row[1]), -int(row[2]), str(row[0])))
    zones = {site.name: (site.timezone, site.peering) for site in case.policy.sites}
    names = [str(row[0]) for row in ranked][:SHOWN_SITES]
    tabs, maps = [], []
    for at, name in enumerate(names):
        zone, peering = zones.get(name, ("UTC", "in no site"))
        state = "true" if at == 0 else "false"
        tabs.append(
            f'<button type="button" role="tab" id="tab{at}" aria-controls="map{at}" aria-selected="{state}"'
            f"{'' if at == 0 else ' tabindex=-1'}>{text(name)}</button>"
        )
        drawn = _map(case, name, zone, beside.slots.get(name))
        said = f"{name}: {peering}; hours in {zone}"
        later = "" if at == 0 else ' class="later"'
        maps.append(
            f'<figure role="tabpanel" id="map{at}" aria-labelledby="tab{at}"{later}>'
            f"<figcaption>{text(said)}</figcaption>{drawn}</figure>"
        )
    key = (
        '<p class="note keys"><span><i class="key slot"></i> approved slot</span>'
        '<span><i class="key in"></i> payload, stronger is more</span>'
        '<span><i class="key off"></i> some of it off schedule</span>'
        '<span><i class="key try"></i> attempts only</span></p>'
    )
    hidden = len(ranked) - len(names)
    more = f'<p class="note">and {words.count(hidden, "site")} with less</p>' if hidden > 0 else ""
    return f'<div role="tablist" aria-label="Site" class="tabs">{"".join(tabs)}</div>{"".join(maps)}{key}{more}'


def _map(case: Case, site: str, zone: str, slots: Slots | None) -> str:
    cells = _cells(case, site, zone)
    most = max((hour.payload for hour in cells.values()), default=0)
    every = days(case.first_packet_ns, case.last_packet_ns, zone)
    if len(every) > SHOWN_DAYS:
        seen = {day for day, _ in cells}
        every = [day for day in every if f"{day:%Y-%m-%d}" in seen][-SHOWN_DAYS:]
    high = next(height for days_, height in _HEIGHTS if len(every) <= days_)
    drawn = [f'<text x="{_LEFT + hour * _WIDE}" y="13">{hour:02}</text>' for hour in range(0, _HOURS, 3)]
    drawn.append(f'<text class="end" x="{_LEFT + _HOURS * _WIDE}" y="13">24</text>')
    outlines = []
    for at, day in enumerate(every):
        y = _TOP + at * high
        drawn.append(f'<text x="0" y="{y + high / 2 + 3:g}">{day:%a %Y-%m-%d}</text>')
        drawn.append(f'<rect class="empty" x="{_LEFT}" y="{y}" width="{_HOURS * _WIDE}" height="{high - 2}"/>')
        spans = list(_spans(slots, day, zone)) if slots is not None else []
        open_ = [f'x="{_LEFT + x:g}" y="{y}" width="{width:g}" height="{high - 2}"/>' for x, width in spans]
        drawn += [f'<rect class="slot" {where}' for where in open_]
        outlines += [f'<rect class="outline" {where}' for where in open_]
        for hour in range(_HOURS):
            if (found := cells.get((f"{day:%Y-%m-%d}", hour))) is not None:
                drawn.append(_cell((_LEFT + hour * _WIDE, y, high), f"{day:%a %Y-%m-%d} {hour:02}:00", found, most))
    width, height = _LEFT + _HOURS * _WIDE + 2, _TOP + len(every) * high
    label = f"Payload by hour at {site}, with approved slots"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg class="hours" {size} role="img" aria-label="{text(label)}">{"".join(drawn + outlines)}</svg>'


def _cells(case: Case, site: str, zone: str) -> dict[tuple[str, int], _Hour]:
    """Sum what a site's flows moved by local day and hour."""
    rows = case.activity[case.activity["site"] == site]
    stamps = pd.DatetimeIndex(rows["window_start_ns"].to_numpy(), tz=UTC)
    # Hours of the clock on the wall, as a number: to write out the day of every row would cost more than all else.
    hours = stamps.tz_convert(zone).tz_localize(None).asi8 // _HOUR_NS
    grouped = rows[["payload_bytes", "off_window_payload_bytes", "flow"]].groupby(hours)
    sums = grouped.agg({"payload_bytes": "sum", "off_window_payload_bytes": "sum", "flow": "nunique"})
    return {
        (f"{datetime.fromtimestamp(int(row[0]) * 3600, UTC):%Y-%m-%d}", int(row[0]) % _HOURS): _Hour(
            int(row[1]), int(row[2]), int(row[3])
        )
        for row in sums.itertuples()
    }


def _cell(where: tuple[int, int, int], when: str, hour: _Hour, most: int) -> str:
    x, y, high = where
    flows = words.count(hour.flows, "flow")
    if not hour.payload:
        dot = f'<circle class="try" cx="{x + _WIDE / 2:g}" cy="{y + high / 2 - 1:g}" r="3.5"/>'
        return f"<g><title>{text(f'{when}: {flows} without payload')}</title>{dot}</g>"
    strength = 0.3 + 0.7 * math.log1p(hour.payload) / math.log1p(most)
    said = f"{when}: {words.volume(hour.payload)} in {flows}"
    said += f", {words.volume(hour.off)} of it off schedule" if hour.off else ""
    dot = f'<circle cx="{x + _WIDE / 2:g}" cy="{y + high / 2 - 1:g}" r="2.5"/>' if hour.off else ""
    return (
        f'<g class="{"off" if hour.off else "in"}"><title>{text(said)}</title><rect x="{x + 1}" y="{y + 1}" '
        f'width="{_WIDE - 2}" height="{high - 4}" rx="2" fill-opacity="{strength:.2f}"/>{dot}</g>'
    )


def _spans(slots: Slots, day: datetime, zone: str) -> Iterable[tuple[float, float]]:
    """Yield where the slots of a local day begin on its row, and how wide they are."""
    place = UTC if zone == "UTC" else ZoneInfo(zone)
    start_ns = at_ns(day)
    end_ns = at_ns(days(start_ns, start_ns + 26 * 3600 * NS, zone)[1])
    for opens, closes in slots.tolist():
        low, high = max(opens, start_ns), min(closes, end_ns)
        if low < high:
            first, last = _wall(low, place), _HOURS if high == end_ns else _wall(high, place)
            if last > first:
                yield first * _WIDE, (last - first) * _WIDE


def _wall(instant_ns: int, place: tzinfo) -> float:
    clock = datetime.fromtimestamp(instant_ns // NS, place)
    return clock.hour + clock.minute / 60 + clock.second / 3600

"""Activity to spans: what a site moved in each hour, day and slot, beside what is usual there.

What is usual is a median, so that one odd week does not change it; nothing is usual before there are weeks to compare.
Silence is a row too: an hour or a slot in which nothing came is as complete as any other. Hours and days are of UTC.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from sensor.givers import DAY_NS, Givers
from sensor.policy import UNKNOWN_SITE
from sensor.schema import SPANS, SpanFrame

if TYPE_CHECKING:
    from sensor.policy import Policy

_SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * _SECOND_NS
_WEEK_HOURS: Final = 168
_DAY_HOURS: Final = 24
_KEPT: Final = 8  # weeks, or slots, that tell what is usual
_FORGOTTEN: Final = 12 * _WEEK_HOURS  # hours of silence after which all starts anew
_REACH_NS: Final = 400 * 24 * HOUR_NS
_PAUSE_NS: Final = 60 * _SECOND_NS  # a restart that is shorter leaves no gap worth the name
_GAPS: Final = 64
_LEAST_SPREAD: Final = 10  # the spread is at least this part of the median: a quiet site is not odd for a little more


class Calendar(Protocol):
    """When a site is open; see `schedule.Schedules`."""

    def slots(self, site: str, start_ns: int, end_ns: int) -> npt.NDArray[np.int64]: ...  # noqa: D102 - its promise


class _Past:
    """The last few values of something, and what is usual among them."""

    def __init__(self) -> None:
        self.bytes: deque[int] = deque(maxlen=_KEPT)
        self.packets: deque[int] = deque(maxlen=_KEPT)

    def row(self, payload: int, packets: int) -> dict[str, Any]:
        """Say how a value stands beside those before it, and keep it."""
        many = len(self.bytes)
        usual = int(np.median(self.bytes)) if many else 0
        spread = float(np.median([abs(each - usual) for each in self.bytes])) if many else 0.0
        told = {
            "payload_bytes": payload,
            "packets": packets,
            "usual_bytes": usual,
            "usual_packets": int(np.median(self.packets)) if many else 0,
            "share_of_usual": payload / usual if usual else 1.0,
            "deviation": (payload - usual) / max(spread, usual / _LEAST_SPREAD, 1.0) if many else 0.0,
            "history": many,
        }
        self.bytes.append(payload)
        self.packets.append(packets)
        return told


class Spans:
    """Adds up windows to hours and slots, and gives each out when it is over."""

    def __init__(self, policy: Policy, calendar: Calendar) -> None:
        self.adopt(policy, calendar)
        self._begin()

    def adopt(self, policy: Policy, calendar: Calendar) -> None:
        """Go by another policy from now on; what is usual stays."""
        self._calendar = calendar
        self._names = [*(site.name for site in policy.sites), UNKNOWN_SITE]
        self._scheduled = [site.name for site in policy.sites if site.peering == "scheduled"]
        self._limits = {site.name: site.hourly_bytes for site in policy.sites}
        self._daily = {site.name: site.daily_bytes for site in policy.sites}
        self._kind = pd.CategoricalDtype(self._names)
        self._evaluated: dict[str, tuple[int, int, npt.NDArray[np.int64]]] = {}

    def _begin(self) -> None:
        self._next_hour = -1
        self._slots_from_ns = 0
        self._hours: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        self._today: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._givers = Givers()
        self._gaps: list[tuple[int, int]] = []  # when nobody looked
        self._lost: dict[int, tuple[int, int]] = {}  # by hour: bytes never seen, and bytes seen
        self._slots: dict[tuple[str, int], list[int]] = {}
        self._usual: dict[tuple[str, str, int], _Past] = defaultdict(_Past)

    def remember(self) -> dict[str, Any]:
        """Return what a later run needs to go on, as plain values.

        Raises
        ------
        nothing
        """
        return {
            "next_hour": self._next_hour,
            "slots_from_ns": self._slots_from_ns,
            "hours": [(hour, site, *mine) for hour, sites in self._hours.items() for site, mine in sites.items()],
            "today": [(site, *mine) for site, mine in self._today.items()],
            "slots": [(*key, *counted) for key, counted in self._slots.items()],
            "usual": [(*key, list(past.bytes), list(past.packets)) for key, past in self._usual.items()],
            "gaps": self._gaps,
            "lost": [(hour, *volumes) for hour, volumes in self._lost.items()],
            "givers": self._givers.remember(),
        }

    def recall(self, known: dict[str, Any], seen_ns: int, start_ns: int) -> None:
        """Go on from what `remember` gave. Nobody looked from `seen_ns` to `start_ns`: what lies there tells nothing.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not of that form.
        """
        self._next_hour, self._slots_from_ns = int(known["next_hour"]), int(known["slots_from_ns"])
        for hour, site, payload, packets in known["hours"]:
            self._hours[hour][site] = [payload, packets]
        for site, payload, packets in known["today"]:
            self._today[site] = [payload, packets]
        self._slots = {(site, start): counted for site, start, *counted in known["slots"]}
        for span, site, number, volumes, packets in known["usual"]:
            past = self._usual[span, site, number]
            past.bytes.extend(volumes)
            past.packets.extend(packets)
        self._gaps = [(first, last) for first, last in known["gaps"]][-_GAPS:]
        if start_ns - seen_ns > _PAUSE_NS:
            self._gaps.append((seen_ns, start_ns))
        self._lost = {hour: (gap, seen) for hour, gap, seen in known["lost"]}
        self._givers.recall(known["givers"])

    def _is_unseen(self, start_ns: int, end_ns: int) -> bool:
        """Return whether nobody looked for a part of that time."""
        return any(first < end_ns and last > start_ns for first, last in self._gaps)

    def push(self, activity: pd.DataFrame, until_ns: int, flows: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the spans that are over, as SpanFrame; `until_ns` is the end of the windows that have come.

        Of `flows` (JudgedFlowFrame), those that are over by then, only what they lost is taken.

        Raises
        ------
        nothing
        """
        rows: list[dict[str, Any]] = []
        self._givers.push(activity)
        self._lose(flows)
        for window_ns, site, payload, packets in _summed(activity):
            hour = window_ns // HOUR_NS
            if self._next_hour >= 0 and hour - self._next_hour > _FORGOTTEN:
                self._begin()
            if self._next_hour < 0:
                self._next_hour, self._slots_from_ns = hour, window_ns
            if hour < self._next_hour:
                continue  # late: its hour has been told
            rows += self._over(window_ns)
            for key in (site, ""):
                counted = self._hours[hour][key]
                counted[0] += payload[1] if key == "" else payload[0]
                counted[1] += packets
            self._add_to_slot(site, window_ns, payload[0], packets)
        if self._next_hour >= 0 and until_ns // HOUR_NS - self._next_hour <= _FORGOTTEN:
            rows += self._over(until_ns)
        return self._frame(rows)

    def _over(self, now_ns: int) -> list[dict[str, Any]]:
        """Return the hours and slots that ended by now."""
        rows = []
        while (self._next_hour + 1) * HOUR_NS <= now_ns:
            hour, self._next_hour = self._next_hour, self._next_hour + 1
            counted = self._hours.pop(hour, {})
            unseen = self._is_unseen(hour * HOUR_NS, (hour + 1) * HOUR_NS)
            everyone = counted.get("", [0, 0])
            for site in self._names:
                mine = counted.get(site, [0, 0])
                if unseen:
                    continue
                if mine[1]:
                    self._today[site][0] += mine[0]
                    self._today[site][1] += mine[1]
                told = self._usual["hour", site, hour % _WEEK_HOURS].row(*mine)
                limit = self._limits.get(site) or 0
                share = mine[0] / limit if limit else 0.0
                if mine[0] or mine[1] or told["usual_bytes"]:
                    rows.append(
                        _row("hour", site, hour * HOUR_NS, HOUR_NS, everyone[1]) | told | {"limit_share": share}
                    )
            if not unseen:
                told = self._usual["sensor", "", hour % _WEEK_HOURS].row(*everyone)
                if everyone[1] or told["usual_packets"]:
                    rows.append(_row("sensor", UNKNOWN_SITE, hour * HOUR_NS, HOUR_NS, everyone[1]) | told)
            rows += self._slots_over((hour + 1) * HOUR_NS)
            if self._next_hour % _DAY_HOURS == 0:
                rows += self._day_over(hour // _DAY_HOURS)
        return rows

    def _day_over(self, day: int) -> list[dict[str, Any]]:
        """Return a day of each site that moved something in it."""
        rows = []
        givers = self._givers.over(day)
        everyone = sum(packets for _, packets in self._today.values())
        for site in self._names:
            payload, packets = self._today.get(site, [0, 0])
            if packets or site in givers:
                told = {"payload_bytes": payload, "packets": packets, "share_of_usual": 1.0}
                limit = self._daily.get(site) or 0
                told |= {"limit_share": payload / limit if limit else 0.0}
                told |= givers[site]._asdict() if site in givers else {}
                rows.append(_row("day", site, day * DAY_NS, DAY_NS, everyone) | told)
        self._today.clear()
        return rows

    def _slots_over(self, now_ns: int) -> list[dict[str, Any]]:
        """Return the slots that ended by a full hour, whole ones only."""
        rows = []
        for site in self._scheduled:
            slots = self._slots_around(site, now_ns)
            first, last = np.searchsorted(slots[:, 1], (now_ns - HOUR_NS, now_ns), side="right")
            for start_ns, end_ns in slots[first:last].tolist():
                if start_ns >= self._slots_from_ns and not self._is_unseen(start_ns, end_ns):
                    payload, packets, everyone = self._slots.pop((site, start_ns), [0, 0, 0])
                    told = self._usual["slot", site, 0].row(payload, packets)
                    rows.append(_row("slot", site, start_ns, end_ns - start_ns, everyone) | told)
        return rows

    def _lose(self, flows: pd.DataFrame | None) -> None:
        """Add up what flows lost, by the hour in which it was sure that they were over."""
        if flows is None or not len(flows):
            return
        hours = flows["window_start_ns"].to_numpy() // HOUR_NS
        for hour in np.sort(pd.unique(hours)).tolist():  # hashing by pandas: NumPy's takes a second for a million
            gap, seen = self._lost.get(hour, (0, 0))
            mine = hours == hour
            gap += int(flows["gap_bytes"].to_numpy()[mine].sum())
            self._lost[hour] = gap, seen + int(flows["payload_bytes"].to_numpy()[mine].sum())
        for old in sorted(self._lost)[:-_WEEK_HOURS]:
            del self._lost[old]

    def _lost_share(self, start_ns: int, length_ns: int) -> float:
        hours = range(start_ns // HOUR_NS, -(-(start_ns + length_ns) // HOUR_NS))
        found = [self._lost[hour] for hour in hours if hour in self._lost]
        gap, seen = sum(gap for gap, _ in found), sum(seen for _, seen in found)
        return gap / max(gap + seen, 1)

    def _add_to_slot(self, site: str, window_ns: int, payload: int, packets: int) -> None:
        for name in self._scheduled:
            slots = self._slots_around(name, window_ns)
            at = int(np.searchsorted(slots[:, 0], window_ns, side="right")) - 1
            if at >= 0 and slots[at, 1] > window_ns:
                counted = self._slots.setdefault((name, int(slots[at, 0])), [0, 0, 0])
                counted[2] += packets
                if name == site:
                    counted[0] += payload
                    counted[1] += packets

    def _slots_around(self, site: str, at_ns: int) -> npt.NDArray[np.int64]:
        """Return a site's slots around an instant; they are evaluated for a year at a time."""
        start_ns, end_ns, slots = self._evaluated.get(site, (0, 0, np.zeros((0, 2), np.int64)))
        if not start_ns + _REACH_NS // 4 <= at_ns < end_ns - _REACH_NS // 4:
            start_ns, end_ns = at_ns - _REACH_NS // 2, at_ns + _REACH_NS
            slots = self._calendar.slots(site, start_ns, end_ns)
            self._evaluated[site] = (start_ns, end_ns, slots)
        return slots

    def _frame(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for column in SpanFrame.columns():
            values = [row.get(column.name, 0) for row in rows]
            if column.name == "lost_share":
                values = [self._lost_share(row["window_start_ns"], row["window_s"] * _SECOND_NS) for row in rows]
            if column.name == "span":
                columns["span"] = pd.Categorical(values, categories=list(SPANS))
            elif column.name == "site":
                columns["site"] = pd.Categorical(values, dtype=self._kind)
            else:
                columns[column.name] = pd.Series(values, dtype=column.dtype)
        return pd.DataFrame(columns)


def _summed(activity: pd.DataFrame) -> list[tuple[int, str, tuple[int, int], int]]:
    """Return window, site, (payload of updates, all payload) and packets, in the order of windows and sites."""
    if not len(activity):
        return []
    payload = activity["payload_bytes"].to_numpy()
    spoken = activity["verdict"].to_numpy() == "do"
    frame = pd.DataFrame(
        {
            "window": activity["window_start_ns"].to_numpy(),
            "site": activity["site"].cat.codes.to_numpy(),
            "update": np.where(spoken, payload, 0),
            "payload": payload,
            "packets": (activity["orig_packets"] + activity["resp_packets"]).to_numpy(),
        }
    )
    names = activity["site"].cat.categories
    sums = frame.groupby(["window", "site"], sort=True).sum()
    return [
        (int(window), str(names[site]), (int(update), int(whole)), int(packets))
        for (window, site), update, whole, packets in zip(
            sums.index, sums["update"], sums["payload"], sums["packets"], strict=True
        )
    ]


def _row(span: str, site: str, start_ns: int, length_ns: int, everyone: int) -> dict[str, Any]:
    return {
        "window_start_ns": start_ns,
        "window_s": length_ns // 1_000_000_000,
        "span": span,
        "site": site,
        "sensor_packets": everyone,
        "flow": -1,
        "community_id": "",
        "host": "",
        "first_input": -1,
        "first_ts_ns": start_ns,
        "last_ts_ns": start_ns + length_ns,
    }

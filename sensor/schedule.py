"""Time intervals to slots, and slots to answers: whether two sites are open to each other, since when, until when.

Slots are sorted, disjoint, non-adjacent int64[K, 2] of UTC ns, [start, end). Intervals mean what Alertmanager means:
an instant is in an interval if the local wall clock at that instant is. So a wall-clock hour that happens twice counts
twice, and one that is skipped does not exist. Grace widens the slots; what a site excludes is cut out afterwards, so
grace never reaches into an exclusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from sensor.intervals import DAY_MINUTES, write_interval
from sensor.policy import UNKNOWN_SITE, TimeInterval
from sensor.schema import SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.policy import Policy, Site

Slots = npt.NDArray[np.int64]
Instants = npt.NDArray[np.int64]
Indexes = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int8]

ALWAYS_NS: Final = -(2**63)
NEVER_NS: Final = 2**63 - 1

_S: Final = 1_000_000_000
_DAY_S: Final = 86_400
# What int64 ns can say, less room for grace and time zones: 1678-01-01 to 2262-01-01.
_FIRST_NS: Final = -9_214_560_000 * _S
_LAST_NS: Final = 9_214_646_400 * _S
# A horizon reaches so far beyond what it was asked for that yearly slots need no second evaluation.
_REACH_NS: Final = 400 * _DAY_S * _S
_CACHED: Final = 1024

_OPEN, _CLOSED, _DISABLED, _ALLOWED = (SCHEDULES.index(word) for word in ("open", "closed", "disabled", "allowed"))


# --- slots ---------------------------------------------------------------------------------------------------------
def no_slots() -> Slots:
    """Return no slots at all."""
    return np.empty((0, 2), dtype=np.int64)


def union(*parts: Slots) -> Slots:
    """Join slots of any order and overlap; adjacent ones become one, empty ones vanish."""
    slots = np.concatenate([no_slots(), *parts])
    slots = slots[slots[:, 0] < slots[:, 1]]
    if len(slots) == 0:
        return slots
    slots = slots[np.argsort(slots[:, 0], kind="stable")]
    ends = np.maximum.accumulate(slots[:, 1])
    apart = np.flatnonzero(slots[1:, 0] > ends[:-1])
    starts = slots[np.concatenate(([0], apart + 1)), 0]
    return np.column_stack((starts, ends[np.concatenate((apart, [len(ends) - 1]))]))


def intersect(one: Slots, other: Slots) -> Slots:
    """Keep what is in both."""
    starts = np.concatenate((_starts_within(one, other), _starts_within(other, one)))
    ends = np.concatenate((_ends_within(one, other), _ends_within(other, one)))
    return np.column_stack((_distinct(starts), _distinct(ends)))


def subtract(one: Slots, other: Slots) -> Slots:
    """Keep what is in the first and not in the other."""
    around = np.concatenate(([ALWAYS_NS], other.ravel(), [NEVER_NS])).reshape(-1, 2)
    return intersect(one, union(around))


def clip(slots: Slots, start_ns: int, end_ns: int) -> Slots:
    """Keep what lies in [start, end)."""
    kept = slots[(slots[:, 1] > start_ns) & (slots[:, 0] < end_ns)]
    return union(np.clip(kept, start_ns, end_ns))


def _distinct(instants: Instants) -> Instants:
    """Sort, and say once what both had; `np.unique` hashes, which is slower by far."""
    ordered = np.sort(instants)
    if len(ordered) == 0:
        return ordered
    return np.concatenate((ordered[:1], ordered[1:][ordered[1:] > ordered[:-1]]))


def _starts_within(one: Slots, other: Slots) -> Instants:
    starts = one[:, 0]
    at = np.searchsorted(other[:, 0], starts, side="right")
    return starts[starts < np.concatenate(([ALWAYS_NS], other[:, 1]))[at]]


def _ends_within(one: Slots, other: Slots) -> Instants:
    ends = one[:, 1]
    at = np.searchsorted(other[:, 0], ends, side="left")
    return ends[ends <= np.concatenate(([ALWAYS_NS], other[:, 1]))[at]]


# --- intervals to slots --------------------------------------------------------------------------------------------
def evaluate(intervals: Sequence[TimeInterval], timezone: str, start_ns: int, end_ns: int) -> Slots:
    """Return the slots within [start, end) at which any of the intervals holds.

    `timezone` is the location of the intervals that name none.
    """
    start_s, end_s = start_ns // _S, -(-end_ns // _S)
    if not intervals or start_ns >= end_ns:
        return no_slots()
    return clip(
        union(*(_evaluate_one(one, one.location or timezone, start_s, end_s) * _S for one in intervals)),
        start_ns,
        end_ns,
    )


def _evaluate_one(interval: TimeInterval, timezone: str, start_s: int, end_s: int) -> Slots:
    """Shift what holds on the wall clock to UTC, stretch by stretch of one offset: gaps and repeats come out right."""
    if interval.imported is not None:
        return np.array(interval.imported, dtype=np.int64).reshape(-1, 2) // _S
    wall = _wall_slots(interval, start_s // _DAY_S - 2, end_s // _DAY_S + 2)
    parts = []
    for first, beyond, offset in _stretches(timezone, start_s, end_s):
        low = np.searchsorted(wall[:, 1], first + offset, side="right")
        high = np.searchsorted(wall[:, 0], beyond + offset, side="left")
        parts.append(np.clip(wall[low:high] - offset, first, beyond))
    return union(*parts)


def _wall_slots(interval: TimeInterval, first_day: int, last_day: int) -> Slots:
    """Return the interval in seconds of the wall clock since 1970, whatever the time zone."""
    days = np.arange(first_day, last_day + 1, dtype=np.int64)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    first_of_month = months.astype("datetime64[D]")
    length = ((months + 1).astype("datetime64[D]") - first_of_month).astype(np.int64)
    month = months.astype(np.int64)
    matching = (
        _within((days + 4) % 7, interval.weekdays)  # 1970-01-01 was a Thursday
        & _within((dates - first_of_month).astype(np.int64) + 1, interval.days_of_month, length)
        & _within(month % 12 + 1, interval.months)
        & _within(month // 12 + 1970, interval.years)
    )
    times = union(np.array(interval.times or ((0, DAY_MINUTES),), dtype=np.int64)) * 60
    slots = (days[matching] * _DAY_S)[:, None, None] + times[None, :, :]
    return union(slots.reshape(-1, 2))


def _within(
    values: Instants, ranges: Sequence[tuple[int, int]], length: Instants | None = None
) -> npt.NDArray[np.bool_]:
    """Say which values lie in any of the ranges (in none given: all do); negative bounds count from `length`."""
    if not ranges:
        return np.ones(len(values), dtype=np.bool_)
    found = np.zeros(len(values), dtype=np.bool_)
    for first, last in ranges:
        low = first if length is None or first > 0 else length + first + 1
        high = last if length is None or last > 0 else length + last + 1
        found |= (values >= low) & (values <= high)
    return found


def _stretches(timezone: str, start_s: int, end_s: int) -> list[tuple[int, int, int]]:
    """Cut [start, end) where the zone's offset from UTC changes: (first second, second beyond, offset)."""
    changes = [change for year in range(_year(start_s), _year(end_s) + 1) for change in _changes(timezone, year)]
    ends = [at for at, _ in changes[1:]] + [NEVER_NS]
    cut = ((max(at, start_s), min(end, end_s), offset) for (at, offset), end in zip(changes, ends, strict=True))
    return [(first, beyond, offset) for first, beyond, offset in cut if first < beyond]


@lru_cache(maxsize=8192)
def _changes(timezone: str, year: int) -> tuple[tuple[int, int], ...]:
    """Return (second, offset from then on) for the start of a UTC year and for each change within it."""
    zone = ZoneInfo(timezone)
    first, beyond = _year_start(year), _year_start(year + 1)
    changes = [(first, _offset(zone, first))]
    # No zone has ever changed twice within a day.
    for day in range(first, beyond, _DAY_S):
        if _offset(zone, min(day + _DAY_S, beyond - 1)) != changes[-1][1]:
            low, high = day, min(day + _DAY_S, beyond - 1)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == changes[-1][1] else (low, middle)
            changes.append((high, _offset(zone, high)))
    return tuple(changes)


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1)


def _year(second: int) -> int:
    return datetime.fromtimestamp(second, UTC).year


def _year_start(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


# --- a policy's sites ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Plan:
    """What decides a scheduled site's slots; sites with equal plans share them."""

    timezone: str
    opening: tuple[TimeInterval, ...]
    closing: tuple[TimeInterval, ...]
    before_ns: int
    after_ns: int

    def slots(self, start_ns: int, end_ns: int) -> Slots:
        """Return the site's own slots within [start, end)."""
        margin = self.before_ns + self.after_ns
        slots = evaluate(self.opening, self.timezone, start_ns - margin, end_ns + margin)
        slots = union(slots + np.array((-self.before_ns, self.after_ns), dtype=np.int64))
        return clip(subtract(slots, evaluate(self.closing, self.timezone, start_ns, end_ns)), start_ns, end_ns)


@dataclass(frozen=True, slots=True)
class SiteState:
    """A site at an instant: its `schedule` (of SCHEDULES), since when (or ALWAYS_NS), and until when (or NEVER_NS)."""

    site: str
    peering: str
    timezone: str
    schedule: str
    since_ns: int
    next_ns: int


class Schedules:
    """When the policy's sites are open, alone and to each other. The horizon given is a hint, not a limit."""

    def __init__(self, policy: Policy, start_ns: int, end_ns: int) -> None:
        self._sites = policy.sites
        plans: dict[_Plan, int] = {}
        kinds = []
        for site in policy.sites:
            plan = _plan(site, policy.time_intervals)
            kinds.append(plans.setdefault(plan, len(plans)) if site.peering == "scheduled" else -1)
        self._plans = tuple(plans)
        # An allowed site is open always: the plan after the last.
        self._always = len(plans)
        self._plan_of = np.array([*kinds, -1], dtype=np.int64)
        peering = np.array([*(site.peering for site in policy.sites), UNKNOWN_SITE])
        self._disabled = peering == "disabled"
        self._allowed = peering == "allowed"
        self._unknown = peering == UNKNOWN_SITE
        self._plan_of[self._allowed] = self._always
        self._start_ns, self._end_ns = _hold(start_ns) - _REACH_NS, _hold(end_ns) + _REACH_NS
        self._start_ns, self._end_ns = max(self._start_ns, _FIRST_NS), min(self._end_ns, _LAST_NS)
        self._pairs: dict[tuple[int, int], tuple[Slots, int, int]] = {}
        self._slots: dict[tuple[int, int, int], Slots] = {}

    def judge(self, orig_site: Indexes, resp_site: Indexes, at_ns: Instants) -> tuple[Codes, Instants, Instants]:
        """Say whether two sites are open to each other at each instant.

        Parameters
        ----------
        orig_site, resp_site : int32[N]
            Index in `Sites.names`.
        at_ns : int64[N] ns
            When.

        Returns
        -------
        state : int8[N]
            Index in SCHEDULES; never "exempt".
        since_ns, next_ns : int64[N] ns
            When this state began (ALWAYS_NS: it always was) and when it changes next (NEVER_NS: it does not).
        """
        state = np.full(len(at_ns), _CLOSED, dtype=np.int8)
        since_ns = np.full(len(at_ns), ALWAYS_NS, dtype=np.int64)
        next_ns = np.full(len(at_ns), NEVER_NS, dtype=np.int64)
        if len(at_ns) == 0:
            return state, since_ns, next_ns
        disabled = self._disabled[orig_site] | self._disabled[resp_site]
        allowed = self._allowed[orig_site] & self._allowed[resp_site]
        state[disabled] = _DISABLED
        state[allowed] = _ALLOWED
        rows = np.flatnonzero(~(disabled | allowed | self._unknown[orig_site] | self._unknown[resp_site]))
        one, other = self._plan_of[orig_site[rows]], self._plan_of[resp_site[rows]]
        codes = np.minimum(one, other) * (self._always + 1) + np.maximum(one, other)
        order = np.argsort(codes, kind="stable")
        pairs, starts = np.unique(codes[order], return_index=True)
        for pair, part in zip(pairs.tolist(), np.split(rows[order], starts[1:]), strict=False):
            first, second = divmod(pair, self._always + 1)
            is_open, since_ns[part], next_ns[part] = self._look(first, second, at_ns[part])
            state[part] = np.where(is_open, _OPEN, _CLOSED)
        return state, since_ns, next_ns

    def states(self, at_ns: int) -> tuple[SiteState, ...]:
        """Return each site by itself at an instant, in the policy's order."""
        sites = np.arange(len(self._sites), dtype=np.int32)
        state, since_ns, next_ns = self.judge(sites, sites, np.full(len(sites), at_ns, dtype=np.int64))
        return tuple(
            SiteState(site.name, site.peering, site.timezone, SCHEDULES[code], since, until)
            for site, code, since, until in zip(
                self._sites, state.tolist(), since_ns.tolist(), next_ns.tolist(), strict=True
            )
        )

    def slots(self, site: str, start_ns: int, end_ns: int) -> Slots:
        """Return when a site is open within [start, end): all of it if allowed, nothing if disabled or unknown."""
        return self.overlap(site, site, start_ns, end_ns)

    def overlap(self, site: str, other: str, start_ns: int, end_ns: int) -> Slots:
        """Return when two sites are open to each other within [start, end)."""
        slots = np.array([(start_ns, end_ns)], dtype=np.int64)
        for index in {self._index(site), self._index(other)}:
            plan = int(self._plan_of[index])
            if plan < 0:
                return no_slots()
            if plan != self._always:
                slots = intersect(slots, self._plans[plan].slots(max(start_ns, _FIRST_NS), min(end_ns, _LAST_NS)))
        return slots

    def _index(self, name: str) -> int:
        return next((at for at, site in enumerate(self._sites) if site.name == name), len(self._sites))

    def _look(self, one: int, other: int, at_ns: Instants) -> tuple[npt.NDArray[np.bool_], Instants, Instants]:
        """Look instants up in the slots of two plans; further afield if the answer is not within the horizon."""
        at = np.clip(at_ns, _FIRST_NS, _LAST_NS - 1)
        first_ns, last_ns = int(at.min()), int(at.max())
        slots, start_ns, end_ns = self._pairs.get((one, other), (no_slots(), 0, 0))
        if first_ns < start_ns or last_ns >= end_ns:
            self._extend(first_ns, last_ns)
            start_ns, end_ns = self._start_ns, self._end_ns
            slots = self._pair_slots(one, other, start_ns, end_ns)
        for _ in range(2):
            _make_room(self._pairs)
            self._pairs[one, other] = slots, start_ns, end_ns
            is_open, since_ns, next_ns = _find(slots, at)
            since_ns[since_ns <= start_ns] = ALWAYS_NS
            next_ns[next_ns >= end_ns] = NEVER_NS
            bounded = since_ns.min() > ALWAYS_NS and next_ns.max() < NEVER_NS
            if bounded or (start_ns, end_ns) == (_FIRST_NS, _LAST_NS):
                break
            # Where the horizon ends, nothing is known of what lies beyond: look through all time, once.
            start_ns, end_ns = _FIRST_NS, _LAST_NS
            slots = self._pair_slots(one, other, start_ns, end_ns)
        return is_open, since_ns, next_ns

    def _extend(self, first_ns: int, last_ns: int) -> None:
        """Widen the horizon so that it reaches well beyond both instants."""
        if first_ns < self._start_ns:
            self._start_ns = max(_FIRST_NS, first_ns - _REACH_NS)
        if last_ns >= self._end_ns:
            self._end_ns = min(_LAST_NS, last_ns + _REACH_NS)

    def _pair_slots(self, one: int, other: int, start_ns: int, end_ns: int) -> Slots:
        slots = np.array([(start_ns, end_ns)], dtype=np.int64)
        for plan in {one, other} - {self._always}:
            key = plan, start_ns, end_ns
            if key not in self._slots:
                _make_room(self._slots)
                self._slots[key] = self._plans[plan].slots(start_ns, end_ns)
            slots = intersect(slots, self._slots[key])
        return slots


def _make_room(cache: dict[Any, Any]) -> None:
    """Keep a cache bounded; what is thrown away is evaluated again."""
    if len(cache) >= _CACHED:
        cache.clear()


def _hold(at_ns: int) -> int:
    return min(max(at_ns, _FIRST_NS), _LAST_NS)


def _plan(site: Site, intervals: dict[str, tuple[TimeInterval, ...]]) -> _Plan:
    opening = tuple(one for name in site.update_windows for one in intervals[name])
    closing = tuple(one for name in site.exclude for one in intervals[name])
    return _Plan(site.timezone, opening, closing, site.grace_before_s * _S, site.grace_after_s * _S)


def _find(slots: Slots, at_ns: Instants) -> tuple[npt.NDArray[np.bool_], Instants, Instants]:
    """Say whether each instant is in a slot, and the nearest edges around it."""
    edges = slots.ravel()
    beyond = np.searchsorted(edges, at_ns, side="right")
    bounds = np.concatenate(([ALWAYS_NS], edges, [NEVER_NS]))
    return beyond % 2 == 1, bounds[beyond], bounds[beyond + 1]


def _written(interval: TimeInterval) -> list[TimeInterval]:
    """Return an interval as Alertmanager can say it: slots of a calendar as days of UTC, to the minute."""
    if interval.imported is None:
        return [interval]
    found = []
    for start_ns, end_ns in interval.imported:
        at, end = start_ns // (60 * _S), -(-end_ns // (60 * _S))
        while at < end:
            day = datetime.fromtimestamp(at * 60, UTC)
            minute = at % DAY_MINUTES
            until = min(DAY_MINUTES, minute + end - at)
            only = ((day.year, day.year),), ((day.month, day.month),), ((day.day, day.day),)
            years, months, days = only
            found.append(
                TimeInterval(((minute, until),), months=months, years=years, days_of_month=days, location="UTC")
            )
            at += until - minute
    return found


def explain(policy: Policy) -> str:
    """Write the policy's time intervals without sugar, as YAML that Alertmanager reads too."""
    lines = ["time_intervals:"]
    for name, intervals in policy.time_intervals.items():
        quoted = name.replace("'", "''")
        lines += [f"  - name: '{quoted}'", "    time_intervals:"]
        lines += [f"      - {write_interval(one)}" for each in intervals for one in _written(each)]
    return "\n".join(lines) + "\n" if policy.time_intervals else "time_intervals: []\n"

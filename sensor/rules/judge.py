"""Rules over frames: one finding per rule, subject and window in which enough rows of that subject have been seen.

A finding tells each row once: the rows that are new to it are those within the timespan that no earlier finding of the
rule told. What later windows may still need is carried: rows that were not told yet as they are, told ones merged per
subject and window. So findings do not depend on how the windows were cut into pushes.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cache, reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sensor.columns import choose, stack
from sensor.rules import backend, reason
from sensor.rules.carried import NUMBERS, Carried, Chosen, alike, carried
from sensor.rules.columns import kinds
from sensor.rules.counted import Counted
from sensor.schema import Evidence, FindingFrame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sensor.rules.backend import Mask, Number, Points, Whole
    from sensor.rules.ruleset import Measure, Rule, RuleSet

_LOCATORS: Final = ("flow", "community_id", "first_input", "first_number", "first_offset", "first_ts_ns")
_BASE: Final = (*_LOCATORS, "window_start_ns", "window_s", "payload_bytes", "last_ts_ns", "site")
_LOST: Final = "lost_share"
_NO_FLOW: Final = -1  # of an hour, a slot or a day
_APART: Final = 2  # so that no flow becomes -1
_WEIGHT: Final = "rows"
_TOLD: Final = "told"
_PART: Final = "part"  # which of a correlation's rules a row is of, where that matters
_SCALED: Final = "scaled "  # before a column's name: its values as whole numbers, so that averages add up exactly
_SCALE: Final = 1 << 20
_FORM: Final = 3  # of what is carried; what was kept in another is not taken up
_MERGED: Final = frozenset({"event_count", "value_count", "value_sum", "value_avg", "temporal"})
_NEARLY: Final = 0.9
_MOST_FLOWS: Final = 64
_MOST_EVIDENCE: Final = 16
_LATEST: Final = np.iinfo(np.int64).max
_NONE: Final[Mapping[str, pd.DataFrame]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a rule may hold: rows and flows carried to later pushes, and subjects it tells of in one window."""

    rows: int = 1_000_000
    flows: int = 1_000_000
    subjects: int = 4096


class Judge:
    """All rules, with what they carry from push to push.

    `counters` says what the limits cost: `rows_dropped` of what was carried (the oldest), `findings_dropped` beyond the
    subjects of one window, `flows_forgotten` of those already counted (a long flow may then be counted twice).
    """

    def __init__(self, ruleset: RuleSet, limits: Limits = Limits()) -> None:
        self.counters = {"rows_dropped": 0, "findings_dropped": 0, "flows_forgotten": 0}
        self._limits = limits
        self._rules = [_RuleJudge(rule, limits, self.counters) for rule in ruleset.rules]
        self._waiting: dict[str, pd.DataFrame] = {}

    def adopt(self, ruleset: RuleSet) -> None:
        """Judge by other rules from now on; a rule that is as it was keeps what it carries.

        Raises
        ------
        nothing
        """
        before = {each.rule.name: each for each in self._rules}
        self._rules = [
            kept
            if (kept := before.get(rule.name)) is not None and kept.rule == rule
            else _RuleJudge(rule, self._limits, self.counters)
            for rule in ruleset.rules
        ]

    def push(
        self, activity: pd.DataFrame, until_ns: int, others: Mapping[str, pd.DataFrame] = _NONE, *, last: bool = False
    ) -> pd.DataFrame:
        """Return the findings of these windows: FindingFrame's columns, by window, rule and subject.

        Parameters
        ----------
        activity
            Whole windows: columns of ActivityFrame and JudgedFrame.
        until_ns
            All windows before this instant have been pushed now.
        others
            Frames of other categories by name. Their rows wait here until their windows are over, so that they are
            judged in the order of time whenever they come.
        last
            Nothing will follow: what waits is judged.

        Raises
        ------
        nothing
        """
        frames = {"activity": activity} | {
            category: self._due(category, frame, None if last else until_ns) for category, frame in others.items()
        }
        encoded = {category: backend.Encoded(frame, kinds(category)) for category, frame in frames.items()}
        found = []
        for at, each in enumerate(self._rules):
            rows = encoded.get(each.category)
            told = None if rows is None else each.push(rows, until_ns)
            if told is not None and len(told):
                found.append(told.assign(order=at))
        if not found:
            return empty()
        findings = pd.concat(found, ignore_index=True)
        findings = findings.sort_values(["window_start_ns", "order", "subject"], kind="stable", ignore_index=True)
        return findings.drop(columns="order")

    def remember(self) -> dict[str, Any]:
        """Return what a later run needs to go on: plain values and frames.

        Raises
        ------
        nothing
        """
        return {
            "waiting": {category: rows for category, rows in self._waiting.items() if len(rows)},
            "rules": {each.rule.name: each.remember() for each in self._rules},
        }

    def recall(self, known: dict[str, Any]) -> None:
        """Go on from what `remember` gave; of rules that are not as they were, nothing is taken.

        Flows have other numbers in each run: those of before become negative.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not of that form.
        """
        fits = {each.rule.name: each.digest() for each in self._rules}
        rules = {name: each for name, each in known["rules"].items() if each["rule"] == fits.get(name)}
        frames = [*known["waiting"].values()]
        for each in rules.values():
            frames += [each["carried"]] if each["carried"] is not None else []
        runs = [each["counted"] for each in rules.values()]
        ends = [*(frame["flow"] for frame in frames), *(each["behind"] for each in runs)]
        shift = max((int(end.max()) for end in ends if len(end)), default=0) + _APART
        for frame in frames:
            frame["flow"] = np.where(frame["flow"] == _NO_FLOW, _NO_FLOW, frame["flow"] - shift)
        self._waiting = dict(known["waiting"])
        for each in self._rules:
            if each.rule.name in rules:
                each.recall(rules[each.rule.name], shift)

    def _due(self, category: str, frame: pd.DataFrame, until_ns: int | None) -> pd.DataFrame:
        """Return the rows whose windows are over, sorted, and keep the others."""
        before = self._waiting.get(category)
        both = frame if before is None or not len(before) else stack(alike(before, frame))
        window = both["window_start_ns"].to_numpy()
        due = np.ones(len(both), np.bool_) if until_ns is None else window < until_ns
        self._waiting[category] = choose(both, ~due)
        due_now = choose(both, due)
        window, flow = due_now["window_start_ns"].to_numpy(), due_now["flow"].to_numpy()
        if bool(((window[1:] > window[:-1]) | ((window[1:] == window[:-1]) & (flow[1:] >= flow[:-1]))).all()):
            return due_now
        return due_now.sort_values(["window_start_ns", "flow"], kind="stable", ignore_index=True)


def empty() -> pd.DataFrame:
    """Return no findings, with every column and its dtype.

    Raises
    ------
    nothing
    """
    return _nothing().copy()


@cache
def _nothing() -> pd.DataFrame:
    return pd.DataFrame({column.name: pd.Series([], dtype=column.dtype) for column in FindingFrame.columns()})


@dataclass(frozen=True, slots=True)
class _Hits:
    """The points where a rule has enough, int64[K], ascending, and what was measured there."""

    point: Whole
    value: Number
    measure: Whole
    first: Whole  # the first point that counts for it


class _RuleJudge:
    def __init__(self, rule: Rule, limits: Limits, counters: dict[str, int]) -> None:
        self.category = rule.category
        self.rule = rule
        self._limits = limits
        self._counters = counters
        self._kinds = kinds(rule.category)
        self._measured_columns = sorted({measure.column for measure in rule.measures} - {""})
        self._told_by_name = [name for name, _ in reason.places(rule.reason) if name not in reason.MEASURED]
        aliases = {name for name, _ in rule.aliases}
        self._lost = [_LOST] if _LOST in self._kinds else []
        wanted = [*rule.subject, *self._measured_columns, *self._told_by_name, *_BASE, *self._lost]
        self._columns = [name for name in dict.fromkeys(wanted) if name not in aliases]
        self._averaged = [measure.column for measure in rule.measures if measure.kind == "value_avg"]
        self._measuring = {*rule.subject, *self._measured_columns, *(_SCALED + name for name in self._averaged)}
        self._measuring |= {_WEIGHT, _PART, _TOLD, "window_start_ns", "first_ts_ns", "last_ts_ns"}
        self._span_ns = max((measure.span_ns for measure in rule.measures), default=1)
        self._horizon_ns = -_LATEST
        self._carried = Carried()
        self._counted = Counted()

    def remember(self) -> dict[str, Any]:
        return {
            "rule": self.digest(),
            "horizon_ns": self._horizon_ns,
            "carried": None if (kept := self._carried.frame()) is None else _worded(kept),
            "counted": pd.DataFrame({"first": self._counted.first, "behind": self._counted.behind}),
        }

    def recall(self, known: dict[str, Any], shift: int) -> None:
        self._horizon_ns = int(known["horizon_ns"])
        kept = known["carried"]
        if kept is not None and {*carried(self._columns, kept)} <= {*kept}:
            self._carried = Carried([kept])
        first, behind = (known["counted"][name].to_numpy(dtype=np.int64) for name in ("first", "behind"))
        self._counted = Counted(first - shift, behind - shift)
        if Counted(first, behind).has(no_flow := np.array([_NO_FLOW])).any():
            self._counted.add(no_flow)

    def digest(self) -> str:
        """Return what tells this rule from another, or from itself when somebody has changed it."""
        told = repr((_FORM, replace(self.rule, where="", cases=())))
        return hashlib.sha256(told.encode()).hexdigest()

    def push(self, rows: backend.Encoded, until_ns: int) -> pd.DataFrame | None:
        held = backend.evaluate(self.rule.condition, rows)
        if not held.any():
            self._outlive(until_ns)
            return None
        new = self._new(rows, held)
        self._carried.add(new)
        both = self._carried.all()
        fresh = np.arange(len(both)) >= len(both) - len(new)
        latest_ns = max(until_ns, int(both["window_start_ns"].max()))
        before = both[_TOLD].to_numpy(dtype=np.bool_)
        told = before.copy()
        findings = None
        hopeful = self._hopeful(both)
        if hopeful.any():
            findings, told[hopeful] = self._judged(self._carried.choose(hopeful), fresh[hopeful])
        self._carry(told, told & ~before, latest_ns)
        return findings

    def _judged(self, both: Chosen, new: Mask) -> tuple[pd.DataFrame, Mask]:
        """Return the findings of rows, of which some are new, and which rows have been told now."""
        at = backend.points(grouped(both, self.rule.subject), both["window_start_ns"].to_numpy())
        fresh = np.zeros(len(at.group), np.bool_)
        fresh[at.row[new]] = True
        enough = self._measured(both, at)
        hits = _hits([found & fresh for _, found, _ in enough], enough, at)
        teller = _tellers([found & fresh for _, found, _ in enough], [span for _, _, span in enough], at)
        told = both[_TOLD].to_numpy(dtype=np.bool_)
        findings = self._findings(both, at, hits, np.where(told, len(at.group), teller))
        return findings, told | (teller < len(at.group))

    def _hopeful(self, both: Chosen) -> Mask:
        """Return which rows are of subjects that can have enough at all: in a flood nearly none is."""
        least = min((measure.threshold for measure in self.rule.measures if _is_a_count(measure)), default=0)
        key = NUMBERS.get(self.rule.subject[0], ("", ""))[1] if len(self.rule.subject) == 1 else ""
        few = math.ceil(least)
        if few < 2 or key not in both or not all(map(_is_a_count, self.rule.measures)):  # noqa: PLR2004 - one row is one value
            return np.ones(len(both), np.bool_)
        if len(both) < few:
            return np.zeros(len(both), np.bool_)
        # Half an address is enough to rule subjects out: those that share it are counted together.
        half = both[key].to_numpy()
        ranked = np.sort(half)
        often = ranked[few - 1 :][ranked[few - 1 :] == ranked[: len(ranked) - few + 1]]
        if not len(often):
            return np.zeros(len(both), np.bool_)
        often = often[np.append(np.True_, often[1:] != often[:-1])]
        place = np.minimum(np.searchsorted(often, half), len(often) - 1)
        return np.asarray(often[place] == half, dtype=np.bool_)

    def _new(self, rows: backend.Encoded, held: Mask) -> pd.DataFrame:
        """Return the rows that hold, with what measures need beside their columns."""
        if self.rule.parts:
            new = self._apart(rows, self._columns)
        else:
            new = choose(rows.frame, held, carried(self._columns, rows.frame))
            new = pd.DataFrame({**new, _WEIGHT: np.broadcast_to(np.int64(1), len(new))}, copy=False)
        for name in self._averaged:
            values = new[name].to_numpy()
            whole = np.rint(values * _SCALE) if values.dtype.kind == "f" else values.astype(np.int64) * _SCALE
            new[_SCALED + name] = whole.astype(np.int64)
        new[_TOLD] = False
        return new

    def _apart(self, rows: backend.Encoded, columns: list[str]) -> pd.DataFrame:
        """Return the rows of each part, one after another; a row's volume counts once for each subject."""
        found = []
        for part, clause in enumerate(self.rule.parts):
            at = np.flatnonzero(backend.evaluate(clause, rows))
            mine = rows.frame.iloc[at][columns].assign(at=at, **{_WEIGHT: 1, _PART: part})
            for name, meant in self.rule.aliases:
                mine[name] = rows.frame[meant[part]].iloc[at].to_numpy()
            found.append(_worded(mine))
        new = pd.concat(found, ignore_index=True)
        new = new.sort_values(["at", _PART], kind="stable", ignore_index=True)
        again = new.duplicated(["at", *self.rule.subject])
        volumes = [
            "payload_bytes",
            _WEIGHT,
            *(measure.column for measure in self.rule.measures if measure.kind == "value_sum"),
        ]
        new.loc[again, list(dict.fromkeys(volumes))] = 0
        return new.drop(columns="at")

    # --- measuring
    def _measured(self, both: Chosen, at: Points) -> list[tuple[Number, Mask, int]]:
        """Return for each measure its value at each point, whether that is enough, and its timespan."""
        if not self.rule.measures:
            one = np.ones(len(at.group), np.int64)
            return [(one, one > 0, 1)]
        found = []
        for measure in self.rule.measures:
            value = _measure(measure, both, at)
            enough = np.asarray(backend.COMPARE[measure.op](value, measure.threshold), dtype=np.bool_)
            if measure.rows:
                weight = both[_WEIGHT].to_numpy(dtype=np.int64)
                enough &= backend.add_up(at, weight, measure.span_ns) >= measure.rows
            found.append((value, enough, measure.span_ns))
        return found

    # --- telling
    def _findings(self, both: Chosen, at: Points, hits: _Hits, teller: Whole) -> pd.DataFrame:
        """Return a finding for each hit; `teller` is the point that tells each row, or the number of points."""
        hits = self._limited(hits, both, at)
        if not len(hits.point):
            return empty()
        position = np.searchsorted(hits.point, teller)
        inside = position < len(hits.point)
        inside[inside] = hits.point[position[inside]] == teller[inside]
        chosen = np.flatnonzero(inside)
        number = position[chosen].astype(np.int64)  # the finding of each chosen row
        window, flow = (both[name].to_numpy()[chosen] for name in ("window_start_ns", "flow"))
        order = np.lexsort((flow, window, number))
        chosen, number = chosen[order], number[order]
        begin = np.flatnonzero(np.diff(number, prepend=-1))
        first = both.take(chosen[begin], [*self.rule.subject, "site", "window_s"])
        payload = np.add.reduceat(both["payload_bytes"].to_numpy()[chosen], begin)
        flows, counted = self._flows(flow[order], number, at.window[hits.point], window[order])
        earliest = np.full(len(at.group), _LATEST)
        np.minimum.at(earliest, at.row, both["first_ts_ns"].to_numpy())
        latest = np.full(len(at.group), -_LATEST)
        np.maximum.at(latest, at.row, both["last_ts_ns"].to_numpy())
        return pd.DataFrame(
            {
                "rule": pd.Series([self.rule.name] * len(begin), dtype="str"),
                "title": pd.Series([self.rule.title] * len(begin), dtype="str"),
                "level": pd.Series([self.rule.level] * len(begin), dtype="str"),
                "site": first["site"].to_numpy(),
                "subject": pd.Series(self._subjects(first), dtype="str"),
                "window_start_ns": at.window[hits.point],
                "window_s": first["window_s"].to_numpy().astype(np.int32),
                "first_ts_ns": earliest[hits.first],
                "last_ts_ns": latest[hits.point],
                "value": hits.value.astype(np.float64),
                "flows": pd.Series(flows, dtype="object"),
                "flow_count": counted,
                "payload_bytes": payload,
                _LOST: self._shares(both, chosen, begin),
                "reason": pd.Series(self._reasons(both, hits, chosen, begin, counted), dtype="str"),
                "evidence": pd.Series(self._evidence(both, at, hits, chosen, number), dtype="object"),
            }
        )

    def _limited(self, hits: _Hits, both: Chosen, at: Points) -> _Hits:
        """Return the hits without those beyond the subjects of a window; the earliest flows stay."""
        windows, in_window = np.unique(at.window[hits.point], return_inverse=True)
        if not len(windows) or np.bincount(in_window).max() <= self._limits.subjects:
            return hits
        flow = np.full(len(at.group), _LATEST)
        np.minimum.at(flow, at.row, both["flow"].to_numpy())
        order = np.lexsort((flow[hits.point], in_window))
        starts = np.searchsorted(in_window[order], np.arange(len(windows)))
        rank = np.arange(len(order)) - starts[in_window[order]]
        kept = np.sort(order[rank < self._limits.subjects])
        self._counters["findings_dropped"] += len(hits.point) - len(kept)
        return _Hits(hits.point[kept], hits.value[kept], hits.measure[kept], hits.first[kept])

    def _flows(self, flow: Whole, number: Whole, told_ns: Whole, seen_ns: Whole) -> tuple[list[tuple[int, ...]], Whole]:
        """Return each finding's flows, ascending, and how many flows it is the first to tell of."""
        order = np.lexsort((flow, number))
        by, flows = number[order], flow[order]
        once = np.ones(len(by), np.bool_)
        once[1:] = (np.diff(by) != 0) | (np.diff(flows) != 0)
        by, flows = by[once], flows[once]
        begin = np.flatnonzero(np.diff(by, prepend=-1))
        end = np.append(begin[1:], len(by))
        listed = [
            tuple(flows[start : min(stop, start + _MOST_FLOWS)].tolist())
            for start, stop in zip(begin, end, strict=True)
        ]
        order = np.lexsort((seen_ns, told_ns[number], flow))
        begin = np.flatnonzero(np.diff(flow[order], prepend=-_LATEST))
        firsts = order[begin]
        unknown = firsts[~self._counted.has(flow[firsts])]
        counted = np.bincount(number[unknown], minlength=len(told_ns)).astype(np.int64)
        self._counted.add(flow[unknown])
        self._counters["flows_forgotten"] += self._counted.keep(self._limits.flows)
        return listed, counted

    def _shares(self, both: Chosen, chosen: npt.NDArray[np.intp], begin: npt.NDArray[np.intp]) -> Number:
        """Return what share of each finding's rows was lost, on average."""
        if not self._lost:
            return np.zeros(len(begin))
        many = np.diff(np.append(begin, len(chosen)))
        return np.asarray(np.add.reduceat(both[_LOST].to_numpy()[chosen], begin) / many, dtype=np.float64)

    def _subjects(self, first: pd.DataFrame) -> list[str]:
        columns = sorted(self.rule.subject)
        values = zip(*(first[name].tolist() for name in columns), strict=True) if columns else [()] * len(first)
        return [json.dumps(dict(zip(columns, each, strict=True)), ensure_ascii=False) for each in values]

    def _reasons(
        self, both: Chosen, hits: _Hits, chosen: npt.NDArray[np.intp], begin: npt.NDArray[np.intp], counted: Whole
    ) -> list[str]:
        measures = self.rule.measures
        limits: list[int | float] = [measure.threshold for measure in measures] or [1]
        spans = [measure.span_ns for measure in measures] or [0]
        columns: dict[str, list[Any]] = {
            "value": hits.value.tolist(),
            "threshold": [limits[each] for each in hits.measure.tolist()],
            "timespan_ns": [spans[each] for each in hits.measure.tolist()],
            "flow_count": counted.tolist(),
        }
        for name in self._told_by_name:
            if name in self._kinds and self._kinds[name].adds:
                columns[name] = np.add.reduceat(both[name].to_numpy()[chosen], begin).tolist()
            else:
                columns[name] = both.take(chosen[begin], [name])[name].tolist()
        return reason.compose(self.rule.reason, columns, len(begin))

    def _evidence(
        self, both: Chosen, at: Points, hits: _Hits, chosen: npt.NDArray[np.intp], number: Whole
    ) -> list[tuple[Evidence, ...]]:
        """Return where each finding's flows lie; of findings without quiet between them, only the first flows."""
        group, window = at.group[hits.point], at.window[hits.point]
        breaks = (np.diff(group) != 0) | (np.diff(window) >= self.rule.quiet_ns)
        chain = np.concatenate(([0], np.cumsum(breaks)))[number]
        flow = both["flow"].to_numpy()[chosen]
        start = both["first_ts_ns"].to_numpy()[chosen]
        order = np.lexsort((flow, start, number))
        if len(flow) and not _is_once(flow):
            once = pd.DataFrame({"chain": chain[order], "flow": flow[order]}).drop_duplicates()
            order = order[once.index]
        begin = np.flatnonzero(np.diff(chain[order], prepend=-1))
        rank = np.arange(len(order)) - begin[np.cumsum(np.diff(chain[order], prepend=-1) != 0) - 1]
        picked = order[rank < _MOST_EVIDENCE]
        found: list[list[Evidence]] = [[] for _ in hits.point]
        somewhere = both["first_input"].to_numpy()[chosen[picked]] >= 0  # a span lies in no packet
        picked = picked[somewhere]
        located = both.take(chosen[picked], _LOCATORS)
        for finding, *place in zip(
            number[picked].tolist(), *(located[name].tolist() for name in _LOCATORS), strict=True
        ):
            found[finding].append(Evidence(*place))
        return [tuple(each) for each in found]

    # --- carrying
    def _carry(self, told: Mask, told_now: Mask, until_ns: int) -> None:
        self._carried.set(_TOLD, told)
        alive = self._outlive(until_ns)
        if told_now.any():
            self._carried.replace(lambda part, mine: self._lean(self._merged(part, mine)), told_now[alive])
        if (over := len(self._carried) - self._limits.rows) > 0:
            self._counters["rows_dropped"] += over
            window = self._carried.all()["window_start_ns"].to_numpy()
            kept = np.ones(len(window), np.bool_)
            kept[np.argsort(window, kind="stable")[:over]] = False
            self._carried.keep(kept)

    def _outlive(self, until_ns: int) -> Mask:
        """Forget the rows that no later window can still see; return which of them that are not."""
        self._horizon_ns = max(self._horizon_ns, until_ns)
        if not len(self._carried):
            return np.zeros(0, np.bool_)
        window = self._carried.all()["window_start_ns"].to_numpy()
        seen_ns = self._horizon_ns - self._span_ns if self.rule.measures else _LATEST
        alive = np.asarray(window > seen_ns, dtype=np.bool_)
        self._carried.keep(alive)
        return alive

    def _merged(self, kept: pd.DataFrame, told: Mask) -> pd.DataFrame:
        """Merge rows that were told now: later windows need only what they measure, per subject and window."""
        if any(measure.kind not in _MERGED for measure in self.rule.measures) or not told.any():
            return kept
        old = choose(kept, told)
        distinct = [measure.column for measure in self.rule.measures if measure.kind == "value_count"]
        distinct += [_PART] if self.rule.parts else []
        if any(_are_distinct(old, name) for name in distinct):
            return kept
        summed = [_WEIGHT, *(measure.column for measure in self.rule.measures if measure.kind == "value_sum")]
        summed += [_SCALED + name for name in self._averaged]
        code = grouped(old, (*self.rule.subject, "window_start_ns", *distinct))
        many = int(code.max()) + 1 if len(code) else 0
        if many == len(old):
            return kept
        first = np.unique(code, return_index=True)[1]
        made = old.iloc[first].copy()
        for name in dict.fromkeys(summed):
            total = np.zeros(many, np.int64)
            np.add.at(total, code, old[name].to_numpy())
            made[name] = total
        for name, pick, start in (("first_ts_ns", np.minimum, _LATEST), ("last_ts_ns", np.maximum, -_LATEST)):
            edge = np.full(many, start)
            pick.at(edge, code, old[name].to_numpy())
            made[name] = edge
        return stack([choose(kept, ~told), made.reset_index(drop=True)])

    def _lean(self, part: pd.DataFrame) -> pd.DataFrame:
        """Forget where rows lie that were all told: nobody asks for it again, and a flood has very many."""
        if not part[_TOLD].to_numpy(dtype=np.bool_).all():
            return part
        needed = {*self._measuring, *(each for name in self._measuring for each in NUMBERS.get(name, ()))}
        idle = [name for name in part if name not in needed and isinstance(part[name].dtype, np.dtype)]
        once = {name: np.broadcast_to(part[name].to_numpy()[0], len(part)) for name in idle if len(part)}
        return pd.DataFrame({**part, **once}, copy=False)


def grouped(frame: pd.DataFrame | Chosen, columns: Iterable[str]) -> Whole:
    """Return the group number of each row, from 0: rows alike in all columns have the same.

    Raises
    ------
    nothing
    """
    return reduce(_paired, (_coded(frame, name) for name in columns), (np.zeros(len(frame), np.int64), 1))[0]


def _is_once(values: Whole) -> bool:
    ranked = np.sort(values)
    return not bool((ranked[1:] == ranked[:-1]).any())


def _coded(frame: pd.DataFrame | Chosen, name: str) -> tuple[Whole, int]:
    """Return the number of each row's value in a column, from 0 as they come, and how many there are."""
    found = [
        pd.factorize(frame[each], use_na_sentinel=False)
        for each in NUMBERS.get(name, (name,))
        if name not in NUMBERS or each in frame
    ] or [pd.factorize(frame[name], use_na_sentinel=False)]
    return reduce(_paired, [(codes.astype(np.int64), len(values)) for codes, values in reversed(found)])


def _paired(one: tuple[Whole, int], other: tuple[Whole, int]) -> tuple[Whole, int]:
    """Return the number of each row's pair of numbers, from 0 as they come, and how many there are."""
    if other[1] == 1:
        return one
    if one[1] == 1:
        return other
    code, distinct = pd.factorize(one[0] * (other[1] + 1) + other[0])
    return code.astype(np.int64), len(distinct)


def _are_distinct(frame: pd.DataFrame, name: str) -> bool:
    """Return whether nearly every row has a value of its own in a column, so that there is nothing to merge."""
    numbers = NUMBERS.get(name, ("", ""))[1]
    if numbers not in frame:
        return False
    ranked = np.sort(frame[numbers].to_numpy())
    return int(np.count_nonzero(ranked[1:] != ranked[:-1])) > _NEARLY * len(ranked)


def _worded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose categories have become text."""
    return frame.astype({name: "str" for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})


def _is_a_count(measure: Measure) -> bool:
    """Return whether it is a number of values that must be reached, which no fewer rows can have."""
    return measure.kind == "value_count" and measure.op in {"gte", "gt", "eq"}


def _measure(measure: Measure, both: Chosen, at: Points) -> Number:
    kind, span_ns = measure.kind, measure.span_ns
    if kind in {"value_count", "temporal"}:
        value = _coded(both, measure.column or _PART)[0]
        return backend.count_distinct(at, value, span_ns)
    if kind == "temporal_ordered":
        part, moment = both[_PART].to_numpy(dtype=np.int64), both["first_ts_ns"].to_numpy()
        return backend.count_in_order(at, part, moment, span_ns)
    if kind in {"value_percentile", "value_median"}:
        return backend.percentile(at, both[measure.column].to_numpy(dtype=np.float64), measure.percentile, span_ns)
    if kind == "value_avg":
        total = backend.add_up(at, both[_SCALED + measure.column].to_numpy(dtype=np.int64), span_ns)
        many = backend.add_up(at, both[_WEIGHT].to_numpy(dtype=np.int64), span_ns)
        return np.asarray(total / (many * _SCALE), dtype=np.float64)
    amount = _WEIGHT if kind == "event_count" else measure.column
    return backend.add_up(at, both[amount].to_numpy(dtype=np.int64), span_ns)


def _hits(found: list[Mask], measured: list[tuple[Number, Mask, int]], at: Points) -> _Hits:
    """Return the points where any measure has enough: the first such measure's value, the longest reach back."""
    where = np.flatnonzero(np.logical_or.reduce(found))
    stacked = np.stack(found)[:, where]
    which = np.argmax(stacked, axis=0)
    values = np.stack([value for value, _, _ in measured])[which, where]
    firsts = np.stack([at.first_within(span) for _, _, span in measured])[:, where]
    return _Hits(where, values, which.astype(np.int64), np.where(stacked, firsts, _LATEST).min(axis=0, initial=_LATEST))


def _tellers(found: list[Mask], spans: list[int], at: Points) -> Whole:
    """Return the first point from each row on that has enough and still sees the row, or the number of points."""
    none = len(at.group)
    teller = np.full(len(at.row), none, np.int64)
    for mask, span in zip(found, spans, strict=True):
        hits = np.append(np.flatnonzero(mask), none)
        reach = np.append(at.first_within(span), none)
        candidate = hits[np.searchsorted(hits, at.row)]
        sees = reach[candidate] <= at.row
        teller[sees] = np.minimum(teller[sees], candidate[sees])
    return teller

"""Findings into incidents: one rule, one subject, no quiet time between them; opened, ongoing, closed, told once.

An incident's id is made of what caused it (rule, subject, window of its first finding), so that the same packets give
the same id whatever their files were called or how they were cut. It closes when its subject has been quiet for as
long as the rule says; a later finding is a new incident with an id of its own.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from sensor import words
from sensor.schema import Evidence, Incident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

_ID_DIGITS: Final = 16
_MOST_EVIDENCE: Final = 16
_MOST_FLOWS: Final = 65_536
_TOTAL: Final = ". In total "
_INCONCLUSIVE: Final = ". Inconclusive: "
_REMEMBERED: Final = 1000  # of those that closed last
_CERTAIN: Final = 0.01  # with more lost than this, what was not seen may have been there
_NO_FLOW: Final = -1  # of an hour, a slot or a day
_EARLIER: Final = -1  # number of a flow of an earlier run
_HOUR_NS: Final = 3_600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Traits:
    """What a rule says of its incidents: how long until they close, which ATT&CK techniques they may be.

    `unless` are rules that tell the same thing better: what they tell of a subject is not told again. `wait_ns` is how
    long they are given to do so. `absence` is a rule about what did not come, which loss makes inconclusive.
    """

    quiet_ns: int = _HOUR_NS
    attack: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    wait_ns: int = 0
    absence: bool = False


class Proof(Protocol):
    """A capture in the case that holds an incident's packets; see `sinks.evidence.EvidenceFile`."""

    @property
    def file(self) -> str: ...  # noqa: D102 - its name in the case
    @property
    def sha256(self) -> str: ...  # noqa: D102 - its hash
    @property
    def frames(self) -> tuple[tuple[int, int], ...]: ...  # noqa: D102 - frame number and offset of each packet


@dataclass(slots=True)
class _Life:
    """An incident as it grows."""

    id: str
    rule: str
    title: str
    level: str
    site: str
    subject: str
    reason: str
    traits: Traits
    first_seen_ns: int
    last_seen_ns: int
    last_window_ns: int
    state: str = "open"
    payload_bytes: int = 0
    counted: int = 0
    loss: float = 0.0
    flows: set[int] = field(default_factory=set)
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def is_of_flows(self) -> bool:
        """Whether it is about flows at all; an hour, a slot or a day is about none."""
        return self.flows != {_NO_FLOW}

    def is_quiet(self, now_ns: int) -> bool:
        # A rule on whole flows speaks when they are over, which can be long after their last packets.
        return now_ns - max(self.last_seen_ns, self.last_window_ns) >= self.traits.quiet_ns

    def frozen(self) -> Incident:
        flows = max(self.counted, len(self.flows)) if self.is_of_flows else 0
        moved = f", {words.volume(self.payload_bytes)} of payload" if self.payload_bytes else " without payload"
        total = f"{_TOTAL}{words.count(flows, 'flow')}{moved}" if flows else ""
        if self.traits.absence and self.loss > _CERTAIN:
            total += f"{_INCONCLUSIVE}{words.percent(self.loss)} of the payload was lost on the way to the sensor"
        return Incident(
            id=self.id,
            rule=self.rule,
            title=self.title,
            level=self.level,
            state=self.state,
            site=self.site,
            subject=json.loads(self.subject),
            first_seen_ns=self.first_seen_ns,
            last_seen_ns=self.last_seen_ns,
            flows=flows,
            payload_bytes=self.payload_bytes,
            reason=f"{self.reason.rstrip('. ')}{total}.",
            confidence=round(1.0 - min(max(self.loss, 0.0), 1.0), 4),
            attack=self.traits.attack,
            evidence=tuple(self.evidence),
        )


class _Latest:
    """When the subjects of each rule were seen last, found by what they share with the subject of another rule."""

    def __init__(self, lives: Callable[[], Iterable[_Life]]) -> None:
        self._lives = lives
        # By rule, names that its subjects have, and those of them that were asked for: values, and when they were seen.
        self._found: dict[str, dict[frozenset[str], dict[tuple[str, ...], dict[tuple[Any, ...], int]]]] = {}

    def note(self, life: _Life) -> None:
        """Take in that an incident began or went on."""
        subject = json.loads(life.subject)
        for shared, seen in self._found.setdefault(life.rule, {}).setdefault(frozenset(subject), {}).items():
            _note(seen, subject, shared, life.last_seen_ns)

    def forget(self) -> None:
        """Incidents have gone: what was found by them is made anew when it is asked for."""
        for names in self._found.values():
            for found in names.values():
                found.clear()

    def is_seen(self, rule: str, subject: Mapping[str, Any], since_ns: int) -> bool:
        """Return whether an incident of a rule, with all that its subject shares with this one, was seen since then."""
        for names, found in self._found.get(rule, {}).items():
            shared = tuple(sorted(names & subject.keys()))
            if shared and shared not in found:
                seen = found[shared] = {}
                for life in self._lives():
                    if life.rule == rule and (theirs := json.loads(life.subject)).keys() == names:
                        _note(seen, theirs, shared, life.last_seen_ns)
            at_ns = found[shared].get(tuple(subject[name] for name in shared)) if shared else None
            if at_ns is not None and at_ns >= since_ns:
                return True
        return False


def _note(seen: dict[tuple[Any, ...], int], subject: Mapping[str, Any], shared: tuple[str, ...], at_ns: int) -> None:
    values = tuple(subject[name] for name in shared)
    seen[values] = max(seen.get(values, at_ns), at_ns)


class Incidents:
    """All incidents of a run; at most `capacity`, beyond which closed ones go first, then those unseen for longest.

    `evicted` counts the incidents that went.
    """

    def __init__(self, traits: Mapping[str, Traits], capacity: int = 10_000) -> None:
        self.evicted = 0
        self._traits = traits
        self._capacity = capacity
        self._living: dict[tuple[str, str], _Life] = {}
        self._closed: list[_Life] = []
        # A heap of findings that wait: until when, in which order they came, what they are, and what was lost.
        self._held: list[tuple[int, int, dict[Any, Any], float]] = []
        self._turns = itertools.count()
        self._latest = _Latest(lambda: (*self._living.values(), *self._closed))

    def push(self, findings: pd.DataFrame, *, loss: float = 0.0, until_ns: int | None = None) -> list[Incident]:
        """Return the incidents that these findings opened, went on with or, after a quiet time, closed.

        Parameters
        ----------
        findings
            What the judge found: columns of FindingFrame and `evidence`, in time.
        loss
            Share of the packets that were lost meanwhile, 0 to 1; it lowers the confidence.
        until_ns
            Start of the first window that can still bring findings; None when no more will come at all. Until then what
            waits for a better rule goes on waiting.

        Raises
        ------
        nothing
        """
        changed: dict[str, _Life] = {}
        for finding in findings.to_dict("records"):
            window_ns = int(finding["window_start_ns"])
            self._release(window_ns, changed)
            wait_ns = self._traits.get(str(finding["rule"]), Traits()).wait_ns
            if wait_ns:
                heapq.heappush(self._held, (window_ns + wait_ns, next(self._turns), finding, loss))
            else:
                self._take(finding, loss, changed)
        self._release(until_ns, changed)
        self._evict()
        return [life.frozen() for life in _in_time(changed.values())]

    def _release(self, until_ns: int | None, changed: dict[str, _Life]) -> None:
        """Take what has waited for long enough, in the order in which it fell due."""
        while self._held and (until_ns is None or self._held[0][0] <= until_ns):
            _, _, finding, loss = heapq.heappop(self._held)
            self._take(finding, loss, changed)

    def _take(self, finding: Mapping[Any, Any], loss: float, changed: dict[str, _Life]) -> None:
        """Open an incident, or go on with one."""
        if self._is_told_better(finding):
            return
        key = (str(finding["rule"]), str(finding["subject"]))
        life = self._living.get(key)
        if life is not None and life.is_quiet(int(finding["window_start_ns"])):
            changed[life.id] = self._close(key)
            life = None
        if life is None:
            life = self._living[key] = self._open(finding)
        self._go_on(life, finding, loss)
        changed[life.id] = life

    def resume(self, told: Iterable[Incident]) -> None:
        """Take up incidents that an earlier run left open, so that what goes on goes on under the same id.

        Raises
        ------
        nothing
        """
        for each in told:
            reason = each.reason.partition(_INCONCLUSIVE)[0]
            # The judge writes subjects in this form; flows have other numbers now, so they are only counted.
            subject = json.dumps(dict(sorted(each.subject.items())), ensure_ascii=False)
            self._living[each.rule, subject] = _Life(
                id=each.id,
                rule=each.rule,
                title=each.title,
                level=each.level,
                site=each.site,
                subject=subject,
                reason=reason.rpartition(_TOTAL)[0] or reason,
                traits=self._traits.get(each.rule, Traits()),
                first_seen_ns=each.first_seen_ns,
                last_seen_ns=each.last_seen_ns,
                last_window_ns=each.last_seen_ns,
                state=each.state,
                payload_bytes=each.payload_bytes,
                counted=each.flows,
                loss=1.0 - each.confidence,
                evidence=[replace(place, flow=_EARLIER) for place in each.evidence],
            )
            self._latest.note(self._living[each.rule, subject])

    def remember(self) -> dict[str, Any]:
        """Return what a later run needs beside the incidents that are open: findings that wait, and what closed last.

        Raises
        ------
        nothing
        """
        held = [
            (due_ns, finding | {"evidence": [asdict(place) for place in finding["evidence"]]}, loss)
            for due_ns, _, finding, loss in sorted(self._held)
        ]
        closed = sorted(self._closed, key=lambda life: (life.last_seen_ns, life.id))[-_REMEMBERED:]
        return {"held": held, "closed": [asdict(life.frozen()) for life in closed]}

    def recall(self, known: Mapping[str, Any]) -> None:
        """Go on from what `remember` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not of that form.
        """
        for due_ns, finding, loss in known["held"]:
            places = tuple(replace(Evidence(**each), flow=_EARLIER) for each in finding["evidence"])
            told = finding | {"evidence": places, "flows": ()}
            heapq.heappush(self._held, (int(due_ns), next(self._turns), told, float(loss)))
        living = self._living
        self._living = {}
        for each in known["closed"]:
            places = tuple(Evidence(**place) for place in each["evidence"])
            self.resume([Incident(**each | {"attack": tuple(each["attack"]), "evidence": places})])
            self._closed += self._living.values()
            self._living = {}
        self._living = living

    def adopt(self, traits: Mapping[str, Traits]) -> None:
        """Go by other rules from now on; what is open stays open, and closes as its new rule says.

        Raises
        ------
        nothing
        """
        self._traits = traits
        for life in self._living.values():
            life.traits = traits.get(life.rule, life.traits)

    def flush(self, now_ns: int) -> list[Incident]:
        """Return the incidents that are closed now because their subjects have been quiet for long enough.

        Raises
        ------
        nothing
        """
        quiet = [key for key, life in self._living.items() if life.is_quiet(now_ns)]
        return [life.frozen() for life in _in_time([self._close(key) for key in quiet])]

    def all(self) -> tuple[Incident, ...]:
        """Return every incident that is still held, by first packet and id.

        Raises
        ------
        nothing
        """
        return tuple(life.frozen() for life in _in_time([*self._living.values(), *self._closed]))

    def _is_told_better(self, finding: Mapping[Any, Any]) -> bool:
        """Return whether an incident of a better rule, about the same subject, covers the time of a finding."""
        better = self._traits.get(str(finding["rule"]), Traits()).unless
        if not better:
            return False
        mine, since_ns = json.loads(str(finding["subject"])), int(finding["first_ts_ns"])
        return any(self._latest.is_seen(rule, mine, since_ns) for rule in better)

    def _open(self, finding: Mapping[Any, Any]) -> _Life:
        rule, subject, window_ns = str(finding["rule"]), str(finding["subject"]), int(finding["window_start_ns"])
        # the timespan of a finding can reach back into an earlier incident; what it tells first does not
        told = finding["evidence"]
        first_ns = told[0].ts_ns if told else int(finding["first_ts_ns"])
        return _Life(
            id=hashlib.sha256(f"{rule}|{subject}|{window_ns}".encode()).hexdigest()[:_ID_DIGITS],
            rule=rule,
            title=str(finding["title"]),
            level=str(finding["level"]),
            site=str(finding["site"]),
            subject=subject,
            reason=str(finding["reason"]),
            traits=self._traits.get(rule, Traits()),
            first_seen_ns=first_ns,
            last_seen_ns=int(finding["last_ts_ns"]),
            last_window_ns=window_ns,
        )

    def _go_on(self, life: _Life, finding: Mapping[Any, Any], loss: float) -> None:
        if int(finding["window_start_ns"]) > life.last_window_ns:
            life.state = "ongoing"
            life.last_window_ns = int(finding["window_start_ns"])
        life.last_seen_ns = max(life.last_seen_ns, int(finding["last_ts_ns"]))
        life.payload_bytes += int(finding["payload_bytes"])
        life.counted += int(finding["flow_count"])
        self._latest.note(life)
        life.loss = max(life.loss, loss, float(finding.get("lost_share", 0.0)))
        if len(life.flows) < _MOST_FLOWS:
            life.flows.update(finding["flows"])
        located = {place.flow for place in life.evidence}
        for place in finding["evidence"]:
            if len(life.evidence) < _MOST_EVIDENCE and place.flow not in located:
                life.evidence.append(place)
                located.add(place.flow)

    def _close(self, key: tuple[str, str]) -> _Life:
        life = self._living.pop(key)
        life.state = "closed"
        if life.is_of_flows:
            life.counted, life.flows = max(life.counted, len(life.flows)), set()  # the numbers are not needed any more
        self._closed.append(life)
        return life

    def _evict(self) -> None:
        beyond = len(self._living) + len(self._closed) - self._capacity
        if beyond <= 0:
            return
        self.evicted += beyond
        self._latest.forget()
        self._closed.sort(key=lambda life: (life.last_seen_ns, life.id))
        gone = min(beyond, len(self._closed))
        self._closed = self._closed[gone:]
        oldest = sorted(self._living.items(), key=lambda item: (item[1].last_seen_ns, item[1].id))
        for key, _ in oldest[: beyond - gone]:
            del self._living[key]


def as_json(incidents: Sequence[Incident], proofs: Mapping[str, Proof]) -> list[dict[str, Any]]:
    """Return incidents as `incidents.json` has them.

    Parameters
    ----------
    incidents
        In the order in which they are to be written.
    proofs
        The capture that holds an incident's packets, by the incident's id. Evidence is told as places in it, so that
        it does not depend on how the input was cut into files.

    Raises
    ------
    nothing
    """
    return [
        {
            "id": each.id,
            "rule": each.rule,
            "title": each.title,
            "level": each.level,
            "state": each.state,
            "site": each.site,
            "subject": each.subject,
            "first_seen_ns": each.first_seen_ns,
            "last_seen_ns": each.last_seen_ns,
            "flows": each.flows,
            "payload_bytes": each.payload_bytes,
            "reason": each.reason,
            "confidence": each.confidence,
            "attack": list(each.attack),
            "evidence": _located(each, proofs.get(each.id)),
        }
        for each in incidents
    ]


def _located(incident: Incident, proof: Proof | None) -> list[dict[str, str | int]]:
    """Return the places of an incident's packets; without a capture (the input is gone) only what flows they are of."""
    file, sha256 = (proof.file, proof.sha256) if proof else ("", "")
    frames = proof.frames if proof else ((0, 0),) * len(incident.evidence)
    return [
        {"file": file, "sha256": sha256, "frame": frame, "offset": offset, "community_id": each.community_id}
        for each, (frame, offset) in zip(incident.evidence, frames, strict=True)
    ]


def _in_time(lives: Iterable[_Life]) -> list[_Life]:
    return sorted(lives, key=lambda life: (life.first_seen_ns, life.id))

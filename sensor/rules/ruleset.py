"""What rules say, as plain facts: conditions, measures, subjects, cases. No object of pySigma, so a set can be kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition on a row: `and`, `or`, `not` over `parts`, or one comparison of a column with a value.

    Comparisons: `is` and `is_cased` (text), `re` (a pattern for RE2: the rule's own, or made from wildcards), `cidr`,
    `equal`, `lt`, `lte`, `gt`, `gte` (numbers, truth), `null`, `exists`, `same` (two columns).
    """

    op: str
    column: str = ""
    value: Scalar = None
    parts: tuple[Clause, ...] = ()

    def columns(self) -> frozenset[str]:
        """Return the columns it reads."""
        own = {self.column, str(self.value)} if self.op == "same" else {self.column}
        return frozenset(own - {""}).union(*(part.columns() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Measure:
    """What a correlation measures over the rows of a subject within its timespan, and when that is enough.

    `percentile` is for `value_percentile`; `rows` is how many rows there must be before a measure means anything.
    """

    kind: str
    column: str
    op: str
    threshold: int | float
    span_ns: int
    percentile: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a rule must find in a sample capture: so many incidents, or exactly these subjects.

    `flow_table` is how many flows the sensor may hold meanwhile (0: as many as ever).
    """

    capture: str
    policy: str
    incidents: int
    subjects: tuple[tuple[tuple[str, str | int], ...], ...] | None = None
    flow_table: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that reports: which rows count, whom they are about, and how much of them is enough.

    `subject` are the columns that a finding is about. Without measures one row is enough; with several, any of them is.
    `parts` are the conditions that a temporal correlation must see, in order, or that `aliases` speak of: an alias
    is a column of the subject that stands for another column in each part. `unless` are rules that tell the same
    better: what an incident of theirs with the same subject covers is not told again, and `wait_ns` is how long they
    are given to tell it. `absence` is a rule about what did not come.
    """

    name: str
    title: str
    level: str
    condition: Clause
    subject: tuple[str, ...]
    measures: tuple[Measure, ...] = ()
    category: str = "activity"
    id: str = ""
    status: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    attack: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    evasion: str = ""
    reason: str = ""
    quiet_ns: int = 0
    cases: tuple[Expectation, ...] = ()
    where: str = ""
    parts: tuple[Clause, ...] = ()
    aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unless: tuple[str, ...] = ()
    wait_ns: int = 0
    absence: bool = False


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a run in their order, and the SHA-256 of each file they came from."""

    rules: tuple[Rule, ...]
    files: dict[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Return the rules' names in order."""
        return tuple(rule.name for rule in self.rules)

    def as_plain(self) -> dict[str, Any]:
        """Return the set as JSON has it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> RuleSet:
        """Return the set that `as_plain` wrote, also after JSON turned its tuples into lists."""
        return cls(tuple(_rule(each) for each in plain["rules"]), dict(plain["files"]))


def _rule(plain: dict[str, Any]) -> Rule:
    return Rule(
        **plain
        | {name: tuple(plain[name]) for name in ("subject", "tags", "attack", "falsepositives", "unless")}
        | {
            "condition": _clause(plain["condition"]),
            "measures": tuple(Measure(**each) for each in plain["measures"]),
            "cases": tuple(_expectation(each) for each in plain["cases"]),
            "parts": tuple(_clause(each) for each in plain["parts"]),
            "aliases": tuple((name, tuple(columns)) for name, columns in plain["aliases"]),
        }
    )


def _clause(plain: dict[str, Any]) -> Clause:
    return Clause(plain["op"], plain["column"], plain["value"], tuple(_clause(part) for part in plain["parts"]))


def _expectation(plain: dict[str, Any]) -> Expectation:
    subjects = plain["subjects"]
    named = None if subjects is None else tuple(tuple((key, value) for key, value in each) for each in subjects)
    return Expectation(plain["capture"], plain["policy"], plain["incidents"], named, plain["flow_table"])

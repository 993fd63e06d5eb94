"""Every clause, measure and yielding of every shipped rule matters: without it, a case of its rule fails."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sensor import pipeline, settings
from sensor.flows import FlowOptions
from sensor.incidents import Incidents
from sensor.pipeline import Options
from sensor.rules import cases
from sensor.rules.judge import Judge
from sensor.rules.load import load
from sensor.rules.ruleset import Clause, Rule, RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor.schema import Incident

ROOT = Path(__file__).parents[2]
RULES = load([ROOT / "rules"])
NAMES = {rule.name: rule for rule in RULES.rules}


@cache
def pushes(capture: Path, policy: Path, flow_table: int) -> tuple[tuple[Any, ...], ...]:
    """Return what the judge is given for a capture, push by push."""
    seen: list[tuple[Any, ...]] = []

    class Recorder(Judge):
        def push(self, activity: Any, until_ns: int, others: Any = None, *, last: bool = False) -> Any:
            seen.append((activity, until_ns, others, last))
            return super().push(activity, until_ns, others, last=last)

    flows = FlowOptions(capacity=flow_table) if flow_table else FlowOptions()
    options = Options(flows=flows, any_port=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Judge", Recorder)
        pipeline.analyze([str(capture)], settings.load_policy(policy), RuleSet((), {}), options)
    return tuple(seen)


def judged(rules: tuple[Rule, ...], capture: Path, policy: Path, flow_table: int) -> tuple[Incident, ...]:
    judge = Judge(RuleSet(rules, {}))
    incidents = Incidents(pipeline.traits(RuleSet(rules, {})))
    for activity, until_ns, others, last in pushes(capture, policy, flow_table):
        findings = judge.push(activity, until_ns, others, last=last)
        incidents.push(findings, until_ns=None if last else until_ns)
    return incidents.all()


def passes(rule: Rule) -> bool:
    """Say whether a rule does in all of its cases what it promises; those that it yields to are judged beside it."""
    rules = (*(replace(NAMES[name], cases=()) for name in rule.unless), rule)
    results = cases.run(RuleSet(rules, {}), ROOT / "pcaps", lambda *case: judged(rules, *case))
    return all(result.passed for result in results)


def dropped(clause: Clause) -> Iterator[tuple[str, Clause]]:
    """Return the condition without one of its parts, for each part at any depth."""
    for at, part in enumerate(clause.parts):
        rest = clause.parts[:at] + clause.parts[at + 1 :]
        if clause.op != "not" and rest:
            yield said(part), rest[0] if len(rest) == 1 else replace(clause, parts=rest)
        for name, mutant in dropped(part):
            yield name, replace(clause, parts=(*clause.parts[:at], mutant, *clause.parts[at + 1 :]))


def said(clause: Clause) -> str:
    if clause.parts:
        return f"{clause.op}({', '.join(map(said, clause.parts))})"
    return f"{clause.column} {clause.op} {clause.value}"


def mutants(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for name, condition in dropped(rule.condition):
        yield name, replace(rule, condition=condition)
    for at, measure in enumerate(rule.measures):
        yield f"measure {measure.kind}", replace(rule, measures=rule.measures[:at] + rule.measures[at + 1 :])
        if measure.rows:
            looser = replace(measure, rows=0)
            yield "rows", replace(rule, measures=(*rule.measures[:at], looser, *rule.measures[at + 1 :]))
    for at, name in enumerate(rule.unless):
        yield f"unless {name}", replace(rule, unless=rule.unless[:at] + rule.unless[at + 1 :])


@pytest.mark.parametrize("name", NAMES)
def test_dropping_a_clause_fails_a_case(name: str) -> None:
    rule = NAMES[name]
    assert passes(rule)
    assert [clause for clause, mutant in mutants(rule) if passes(mutant)] == []

"""Clauses of shipped rules matter: without one, a case of its rule fails; where none does yet, that is counted here.

A fourth of the rules by default; all of them with SWARMTAP_MUTANTS=1.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sensor import pipeline, settings
from sensor.flows import FlowOptions
from sensor.incidents import Incidents, Traits
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
# How many clauses of a rule no case misses yet; the numbers may only fall.
UNPROVEN = {
    "p01_other_protocol": 5,
    "p02_opaque": 3,
    "p04_impossible_length": 1,
    "p05_unknown_message": 1,
    "p13_unrequested_upload": 4,
    "r01_horizontal_scan": 10,
    "r02_dark_addresses": 1,
    "r03_slow_scan": 6,
    "r04_sequential_sweep": 9,
    "r05_connect_only": 9,
    "r06_content_probing": 7,
    "r07_failed_handshakes": 4,
    "r08_internet_scan": 6,
    "s01_blind": 2,
    "s02_loss": 2,
    "s03_one_sided": 2,
    "t01_forbidden_site_pair": 4,
    "t02_other_subnet": 4,
    "t03_cross_site": 3,
    "t04_vpn_peering": 8,
    "t05_internet_peering": 4,
    "t06_internet_inbound": 5,
    "t07_role_mismatch": 8,
    "t08_unknown_endpoint": 3,
    "v01_volume": 3,
    "w01_off_window_transfer": 10,
    "w02_attempt_while_disabled": 1,
    "w03_listener_while_disabled": 16,
    "w04_transfer_while_disabled": 5,
    "w05_window_overrun": 11,
    "w06_silent_slot": 4,
    "w07_over_limit": 1,
}
NAMES = {rule.name: rule for rule in RULES.rules}
CHOSEN = list(NAMES) if os.environ.get("SWARMTAP_MUTANTS") else list(NAMES)[::4]


@cache
def pushes(capture: Path, policy: Path, flow_table: int) -> tuple[tuple[Any, ...], ...]:
    """Return what the judge is given for a capture, push by push."""
    seen: list[tuple[Any, ...]] = []

    class Recorder(Judge):
        def push(self, activity: Any, until_ns: int, others: Any = None, *, last: bool = False) -> Any:
            seen.append((activity, until_ns, others, last))
            return super().push(activity, until_ns, others, last=last)

    options = Options(flows=FlowOptions(capacity=flow_table)) if flow_table else Options()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Judge", Recorder)
        pipeline.analyze([str(capture)], settings.load_policy(policy), RuleSet((), {}), options)
    return tuple(seen)


def judged(rules: tuple[Rule, ...], capture: Path, policy: Path, flow_table: int) -> tuple[Incident, ...]:
    judge = Judge(RuleSet(rules, {}))
    incidents = Incidents({rule.name: Traits(rule.quiet_ns, rule.attack, rule.unless) for rule in rules})
    for activity, until_ns, others, last in pushes(capture, policy, flow_table):
        incidents.push(judge.push(activity, until_ns, others, last=last))
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


@pytest.mark.parametrize("name", CHOSEN)
def test_dropping_a_clause_fails_a_case(name: str) -> None:
    rule = NAMES[name]
    assert passes(rule)
    unproven = [clause for clause, mutant in mutants(rule) if passes(mutant)]
    assert len(unproven) <= UNPROVEN.get(name, 0), unproven

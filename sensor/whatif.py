"""A case judged anew by another policy: which incidents would go, which would come, and which would change.

The packets are not needed: the case holds the activity, and beside it what else the rules saw of each row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from rich.console import Console
from rich.text import Text

from sensor import words
from sensor.activity import Activity
from sensor.enrich import Policing
from sensor.errors import Exit, Mistake, OperatorError
from sensor.exemptions import Exemptions
from sensor.incidents import Incidents
from sensor.pipeline import traits
from sensor.rules.judge import Judge
from sensor.rules.ruleset import RuleSet
from sensor.schedule import Schedules
from sensor.schema import PLACES, ActivityFrame, FlowFrame, JudgedFlowFrame, JudgedFrame, Table
from sensor.sites import Sites
from sensor.spans import Spans

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.policy import Policy
    from sensor.schema import Incident

_NS: Final = 1_000_000_000
_COMPARED: Final = ("level", "site", "first_seen_ns", "last_seen_ns", "flows", "payload_bytes")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a case folder holds for judging it anew."""

    activity: pd.DataFrame
    flows: pd.DataFrame
    incidents: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Incidents that another policy takes away, brings, and changes (before, after); `same` is how many stay.

    `unjudged` are rules that need more than a case holds; their incidents are left out on both sides.
    """

    gone: list[dict[str, Any]]
    new: list[dict[str, Any]]
    changed: list[tuple[dict[str, Any], dict[str, Any]]]
    same: int
    unjudged: tuple[str, ...]


def read(folder: Path) -> Stored:
    """Read a case folder.

    Raises
    ------
    OperatorError
        If it is none, or was written by a version that kept less.
    """
    try:
        activity = _joined(folder, "activity", "judged", (ActivityFrame, JudgedFrame))
        flows = _joined(folder, "flows", "judged_flows", (FlowFrame, JudgedFlowFrame))
        incidents = json.loads((folder / "incidents.json").read_bytes())
    except (OSError, ValueError, KeyError) as bad:
        reason = f"{type(bad).__name__}: {bad}".splitlines()[0][:200]
        right = "name a folder that `swarmtap analyze -o` wrote, with this version"
        raise OperatorError(Mistake(str(folder), f"no case that can be judged anew ({reason})", right)) from None
    return Stored(activity, flows, incidents)


def rejudge(stored: Stored, policy: Policy, ruleset: RuleSet) -> tuple[Incident, ...]:
    """Return the incidents that the rules find in a case under a policy.

    Raises
    ------
    nothing
    """
    activity = stored.activity
    start_ns = int(activity["window_start_ns"].min()) if len(activity) else 0
    window_s = int(activity["window_s"].iloc[0]) if len(activity) else 1
    schedules = Schedules(policy, start_ns, start_ns)
    judged = Activity(Policing(policy, Sites(policy), schedules, Exemptions(policy)), window_s).again(
        activity, stored.flows
    )
    rows = judged.activity.sort_values(["window_start_ns", "flow"], kind="stable", ignore_index=True)
    until_ns = int(rows["window_start_ns"].max()) + window_s * _NS if len(rows) else 0
    spans = Spans(policy, schedules).push(rows, until_ns, judged.flows)
    findings = Judge(ruleset).push(rows, until_ns, {"flow": judged.flows, "span": spans}, last=True)
    incidents = Incidents(traits(ruleset))
    incidents.push(findings)
    return incidents.all()


def compare(stored: Stored, policy: Policy, ruleset: RuleSet) -> Difference:
    """Compare what a case has found with what it would find under another policy.

    Two incidents are one that changed if rule and subject are the same and they touch in time.

    Raises
    ------
    nothing
    """
    unjudged = tuple(rule.name for rule in ruleset.rules if rule.condition.columns() & {*PLACES})
    judgeable = RuleSet(tuple(rule for rule in ruleset.rules if rule.name not in unjudged), ruleset.files)
    before = [each for each in stored.incidents if each["rule"] not in unjudged]
    after = [_told(each) for each in rejudge(stored, policy, judgeable)]
    gone, changed, same = [], [], 0
    for old in before:
        match = next((each for each in after if _alike(old, each)), None)
        if match is None:
            gone.append(old)
            continue
        after.remove(match)
        if all(old[key] == match[key] for key in _COMPARED):
            same += 1
        else:
            changed.append((old, match))
    return Difference(gone, after, changed, same, unjudged)


def tell(folder: Path, policy: Policy, ruleset: RuleSet, *, as_json: bool) -> int:
    """Print the difference that a policy would make to a case."""
    found = compare(read(folder), policy, ruleset)
    if as_json:
        plain = {
            "gone": [_shown(each) for each in found.gone],
            "new": [_shown(each) for each in found.new],
            "changed": [{"before": _shown(old), "after": _shown(new)} for old, new in found.changed],
            "same": found.same,
            "unjudged": list(found.unjudged),
        }
        Console(soft_wrap=True, highlight=False).print_json(json.dumps(plain, ensure_ascii=False))
        return Exit.DONE
    console = Console(highlight=False, soft_wrap=True)
    counts = f"{len(found.gone)} gone, {len(found.new)} new, {len(found.changed)} changed, {found.same} as before"
    console.print(Text(f"Under this policy: {counts}."))
    parts = [("gone", each, "") for each in found.gone] + [("new", each, "") for each in found.new]
    parts += [("changed", new, f" (was {words.volume(old['payload_bytes'])})") for old, new in found.changed]
    for site in sorted({each["site"] for _, each, _ in parts}):
        console.print(Text(f"\n{words.visible(site)}"))
        for word, each, was in parts:
            if each["site"] == site:
                subject = ", ".join(f"{key} {value}" for key, value in sorted(each["subject"].items()))
                line = (
                    f"  {word:8}{each['level']:9}{each['rule']}  {subject}  {words.volume(each['payload_bytes'])}{was}"
                )
                console.print(Text(words.visible(line)))
    if found.unjudged:
        console.print(Text(f"\nNot judged anew, as a case does not hold what they need: {', '.join(found.unjudged)}."))
    return Exit.DONE


def _alike(old: dict[str, Any], new: dict[str, Any]) -> bool:
    touch = old["first_seen_ns"] <= new["last_seen_ns"] and new["first_seen_ns"] <= old["last_seen_ns"]
    return bool(touch and old["rule"] == new["rule"] and old["subject"] == new["subject"])


def _told(incident: Incident) -> dict[str, Any]:
    names = ("id", "rule", "title", "subject", "reason", "state", *_COMPARED)
    return {name: getattr(incident, name) for name in names}


def _shown(incident: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "rule", "title", "subject", "reason", *_COMPARED)
    return {name: incident[name] for name in names}


def _joined(folder: Path, one: str, beside: str, tables: tuple[type[Table], ...]) -> pd.DataFrame:
    """Return two files of the same rows as one frame, with the columns that were not kept as nothing."""
    first, second = (pd.read_parquet(folder / f"{name}.parquet") for name in (one, beside))
    if len(first) != len(second):
        raise ValueError(f"{beside}.parquet has {len(second)} rows, {one}.parquet {len(first)}")
    whole = pd.concat([first, second[[name for name in second if name not in first]]], axis=1)
    whole = whole.assign(**(dict.fromkeys(PLACES, 0) | {"first_input": -1}))
    return whole[list(dict.fromkeys(name for table in tables for name in table.names()))]

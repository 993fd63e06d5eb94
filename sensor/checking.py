"""What `check` and `schedule` tell: mistakes and oddities of policy and rules, rules' cases, and who is open when."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from sensor import schedule, settings, words
from sensor.errors import Exit, Mistake, OperatorError
from sensor.flows import FlowOptions
from sensor.pipeline import analyze
from sensor.reading import Options
from sensor.rules import cases
from sensor.rules.load import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.policy import Policy
    from sensor.rules.ruleset import RuleSet
    from sensor.schema import Incident

_DAY_NS: Final = 86_400 * 1_000_000_000


def check(policy: Path | None, rules: Sequence[Path]) -> int:
    """Read policy and rules, warn of what is hardly meant, and run the rules' cases.

    Raises
    ------
    OperatorError
        With the mistakes of policy and rules together.
    """
    mistakes: list[Mistake] = []
    ruleset: RuleSet | None = None
    told: list[str] = []
    try:
        read = settings.load_policy(policy)
        told.append(
            f"policy: {words.count(len(read.sites), 'site')}, no mistake" if policy else "policy: the built-in one"
        )
    except OperatorError as error:
        mistakes += error.mistakes
    try:
        ruleset = load(list(rules))
    except OperatorError as error:
        mistakes += error.mistakes
    if mistakes or ruleset is None:
        raise OperatorError(*mistakes)
    console = Console(highlight=False, soft_wrap=True)
    for warning in settings.warnings(policy) if policy else []:
        console.print(Text(f"warning: {words.visible(str(warning))}", style="yellow"))
    results = cases.run(ruleset, _captures(), lambda capture, under, size: _incidents(capture, under, size, ruleset))
    failed = [result for result in results if not result.passed]
    for result in failed:
        console.print(Text(words.visible(str(result)), style="red"))
    told.append(f"rules: {words.count(len(ruleset.rules), 'rule')}, no mistake")
    told.append(f"cases: {len(results) - len(failed)} of {len(results)} as expected")
    for line in told:
        console.print(Text(line))
    return Exit.OPERATOR if failed else Exit.DONE


def show_schedule(policy: Path | None, at_ns: int, days: int, *, explain: bool) -> int:
    """Print each site's state at an instant and its slots of the days that follow, in local time and UTC."""
    read = settings.load_policy(policy)
    console = Console(highlight=False, soft_wrap=True)
    if explain:
        console.print(schedule.explain(read), end="", markup=False)
        return Exit.DONE
    schedules = schedule.Schedules(read, at_ns, at_ns + days * _DAY_NS)
    console.print(Text(f"Schedule at {_utc(at_ns)}", style="italic"))
    lines = [("site", "state", "since", "changes", "time zone")]
    for state in schedules.states(at_ns):
        since = "always" if state.since_ns <= schedule.ALWAYS_NS else _local(state.since_ns, state.timezone)
        changes = "never" if state.next_ns >= schedule.NEVER_NS else _local(state.next_ns, state.timezone)
        lines.append((words.visible(state.site), state.schedule, since, changes, state.timezone))
    # No table: a terminal that is too narrow should wrap a line, never shorten a time.
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for at, line in enumerate(lines):
        cells = "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(Text(cells.rstrip(), style="" if at else "bold"))
    for site in read.sites:
        slots = schedules.slots(site.name, at_ns, at_ns + days * _DAY_NS)
        if site.peering != "scheduled":
            continue
        console.print(
            Text(f"\n{words.visible(site.name)}: {words.count(len(slots), 'slot')} in {words.count(days, 'day')}")
        )
        for start_ns, end_ns in slots.tolist():
            local = f"{_local(start_ns, site.timezone)} - {_local(end_ns, site.timezone)} {site.timezone}"
            console.print(f"  {local}   ({_utc(start_ns)} - {_utc(end_ns)})", markup=False, soft_wrap=True)
    return Exit.DONE


def write_schedule(policy: Path | None, at_ns: int, days: int, form: str) -> str:
    """Return the slots of all scheduled sites as JSON, or as a calendar (RFC 5545)."""
    read = settings.load_policy(policy)
    schedules = schedule.Schedules(read, at_ns, at_ns + days * _DAY_NS)
    states = {state.site: state for state in schedules.states(at_ns)}
    slots = {site.name: schedules.slots(site.name, at_ns, at_ns + days * _DAY_NS).tolist() for site in read.sites}
    if form == "json":
        plain = [
            {
                "site": site.name,
                "timezone": site.timezone,
                "peering": site.peering,
                "schedule": states[site.name].schedule,
                "since_ns": _edge(states[site.name].since_ns),
                "changes_ns": _edge(states[site.name].next_ns),
                "slots": [{"start_ns": start, "end_ns": end} for start, end in slots[site.name]],
            }
            for site in read.sites
        ]
        return json.dumps({"at_ns": at_ns, "days": days, "sites": plain}, indent=2, ensure_ascii=False) + "\n"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//swarmtap//schedule//EN"]
    for site in read.sites:
        for start_ns, end_ns in slots[site.name] if site.peering == "scheduled" else ():
            uid = hashlib.sha256(f"{site.name}|{start_ns}|{end_ns}".encode()).hexdigest()[:32]
            summary = "".join(f"\\{each}" if each in ",;\\" else each for each in f"{site.name}: updates may be shared")
            lines += ["BEGIN:VEVENT", f"UID:{uid}@swarmtap", f"DTSTAMP:{_stamp(at_ns)}", f"DTSTART:{_stamp(start_ns)}"]
            lines += [f"DTEND:{_stamp(end_ns)}", f"SUMMARY:{summary}", "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


def _edge(at_ns: int) -> int | None:
    return None if at_ns in (schedule.ALWAYS_NS, schedule.NEVER_NS) else at_ns


def _stamp(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC):%Y%m%dT%H%M%SZ}"


def _incidents(capture: Path, policy: Path, flow_table: int, ruleset: RuleSet) -> tuple[Incident, ...]:
    options = Options(any_port=True, flows=FlowOptions(capacity=flow_table)) if flow_table else Options(any_port=True)
    return analyze([str(capture)], _policy(policy), ruleset, options).incidents


def _policy(path: Path) -> Policy:
    return settings.load_policy(path)


def _captures() -> Path:
    """Return the folder of the sample captures that rules name in their cases."""
    shipped = Path(__file__).parent / "shipped" / "pcaps"
    return shipped if shipped.is_dir() else Path(__file__).parent.parent / "pcaps"


def _utc(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC):%Y-%m-%d %H:%M} UTC"


def _local(at_ns: int, timezone: str) -> str:
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, tz=ZoneInfo(timezone)):%a %Y-%m-%d %H:%M}"

"""Incidents as people read them: by level and rule, each with its reason, its local time, and its capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor import words
from sensor.schema import LEVELS
from sensor.sinks.report.marks import Beside, text

if TYPE_CHECKING:
    from sensor.schema import Case, Incident

OPEN_ALIKE: Final = 3  # incidents of one rule before the fold
SHOWN_ALIKE: Final = 100  # a page that still opens quickly; incidents.json has all
SHOWN_FLOWS: Final = 8


def levels(case: Case) -> str:
    """Return how many incidents there are of each level, worst first, with what they are about.

    Raises
    ------
    nothing
    """
    if not case.incidents:
        return '<p class="calm">No incidents.</p>'
    rows = []
    for level in reversed(LEVELS):
        alike = [each for each in case.incidents if each.level == level]
        if not alike:
            continue
        titles: dict[str, int] = {}
        for each in words.worst_first(alike):
            titles[each.title] = titles.get(each.title, 0) + 1
        said = "".join(
            f"<li>{text(title)}{f' <b>{count} times</b>' if count > 1 else ''}</li>" for title, count in titles.items()
        )
        head = f'<b>{len(alike):,}</b><span class="badge">{level}</span>'
        rows.append(f'<div class="level {level}">{head}<ul>{said}</ul></div>')
    return f'<div class="levels">{"".join(rows)}</div>'


def incidents(case: Case, beside: Beside) -> str:
    """Return a card for each incident.

    Raises
    ------
    nothing
    """
    if not case.incidents:
        return "<p>None.</p>"
    zones = {site.name: site.timezone for site in case.policy.sites}
    groups: dict[tuple[str, str], list[Incident]] = {}
    for each in words.worst_first(case.incidents):
        groups.setdefault((each.level, each.rule), []).append(each)
    present = [level for level in reversed(LEVELS) if any(level == known for known, _ in groups)]
    boxes = "".join(
        f'<label class="{level}"><input type="checkbox" data-level="{level}" checked> '
        f'<span class="badge">{level}</span></label>'
        for level in present
    )
    tools = (
        f'<div class="tools" id="incident-tools">{boxes}<label>search <input type="search" id="incident-find"></label>'
        '<output id="incident-count" aria-live="polite"></output></div>'
    )
    return tools + "".join(_alike(level, rule, alike, zones, beside) for (level, rule), alike in groups.items())


def _alike(level: str, rule: str, alike: list[Incident], zones: dict[str, str], beside: Beside) -> str:
    made = [_incident(each, zones.get(each.site, "UTC"), beside.files.get(each.id, "")) for each in alike[:SHOWN_ALIKE]]
    folded = "".join(made[OPEN_ALIKE:])
    left = len(alike) - len(made)
    rest = f'<p class="note">and {left:,} more in <code>incidents.json</code></p>' if left else ""
    more = f"<details><summary>{len(alike) - OPEN_ALIKE:,} more</summary>\n{folded}{rest}</details>" if folded else ""
    head = f'<h3><span class="badge">{level}</span> {text(alike[0].title)} <code>{text(rule)}</code></h3>'
    return f'<div class="alike {level}" data-level="{level}">{head}\n{"".join(made[:OPEN_ALIKE])}{more}</div>\n'


def _incident(incident: Incident, zone: str, file: str) -> str:
    facts = [incident.site, words.subject(incident), words.when(incident, zone), words.count(incident.flows, "flow")]
    facts += [words.volume(incident.payload_bytes)] if incident.payload_bytes else []
    facts += [f"confidence {incident.confidence:.0%}"] if incident.confidence < 1 else []
    facts += [incident.state, *(f"ATT&CK {each}" for each in incident.attack)]
    flows = list(dict.fromkeys(each.community_id for each in incident.evidence))[:SHOWN_FLOWS]
    ids = "".join(
        f'<button type="button" class="flow" data-find="{text(each)}" title="show this flow">{text(each)}</button> '
        for each in flows
    )
    proof = f'<a href="{text(file)}">{text(file)}</a> ' if file else ""
    said = " · ".join(text(each) for each in dict.fromkeys(facts))
    return (
        f'<article id="{text(incident.id)}"><p>{text(incident.reason)}</p><p class="facts">{said}</p>'
        f'<p class="facts proof">{proof}{ids}</p></article>\n'
    )

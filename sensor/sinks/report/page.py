"""Puts the page together: one file, nothing fetched, nothing run but its own script, the same bytes for the same case.

Everything that came from the network or from a file is text; the page's Content-Security-Policy knows its one style and
its one script by their hashes, and forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

from sensor import __version__, words
from sensor.outfile import outfile
from sensor.schema import LEVELS
from sensor.sinks.report import facts, hours, peers, rows, spread, timeline, told
from sensor.sinks.report.marks import Beside, text

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Case

_FLOWS: Final = "Flow table: the script of this page makes it; without scripts, see <code>flows.parquet</code>."


def write(path: Path, case: Case, beside: Beside | None = None) -> None:
    """Write `report.html`.

    Raises
    ------
    OperatorError
        If the file cannot be written; nothing is then left under its name.
    """
    with outfile(path) as file:
        file.write(page(case, beside).encode())


def page(case: Case, beside: Beside | None = None) -> str:
    """Return the report.

    Raises
    ------
    nothing
    """
    beside = beside or Beside()
    worst = max((LEVELS.index(each.level) for each in case.incidents), default=-1)
    policy = case.policy.source or "the built-in policy: private addresses are one site that may peer at any time"
    judged = f"{policy} ({words.count(len(case.policy.sites), 'site')}), {words.count(len(case.findings), 'rule')}"
    sections = [(name, title, body) for name, title, body in _sections(case, beside) if body]
    style, script = _part("page.css"), _part("page.js")
    return Template(_part("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        level=LEVELS[worst] if worst >= 0 else "quiet",
        conclusion=text(words.conclusion(case)),
        time=text(facts.span(case)),
        judged=text(judged),
        numbers="".join(f"<div><b>{text(said)}</b><span>{name}</span></div>" for said, name in _numbers(case)),
        levels=told.levels(case),
        off=facts.off_by_site(case),
        calendar=hours.calendar(case, beside) or '<p class="calm">No traffic on TCP 7680.</p>',
        links="".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections),
        sections="".join(
            f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}</section>\n'
            for name, title, body in sections
        ),
        flows=rows.rows(case),
        version=text(__version__),
    )


def _sections(case: Case, beside: Beside) -> tuple[tuple[str, str, str], ...]:
    return (
        ("incidents", "Incidents", told.incidents(case, beside)),
        ("throughput", "Throughput and approved slots", timeline.timeline(case, beside)),
        ("matrix", "Who gave to whom", peers.matrix(case)),
        ("peers", "Peers", peers.graph(case)),
        ("spread", "How contents spread", spread.spread(case)),
        ("scans", "Attempts without a transfer", facts.scans(case)),
        ("protocols", "What the flows speak", facts.protocols(case)),
        ("sites", "Sites and schedules", facts.sites(case)),
        ("flows", "Flows", _flows(case)),
        ("health", "Capture health", facts.health(case)),
    )


def _flows(case: Case) -> str:
    if case.flows.empty:
        return ""
    return (
        '<div class="tools"><label>search '
        '<input type="search" id="flow-find" placeholder="address, site, verdict, id"></label>'
        '<label><input type="checkbox" id="flow-off"> off schedule only</label>'
        '<label><input type="checkbox" id="flow-named"> in an incident only</label>'
        '<output id="flow-count" aria-live="polite"></output></div>'
        '<div class="wide"><table id="flow-table" aria-label="flows"></table></div>'
        f"<noscript><p>{_FLOWS}</p></noscript>"
        '<div class="tools" id="flow-pages"><button type="button" id="flow-back">◀ back</button>'
        '<button type="button" id="flow-on">more ▶</button></div>'
    )


def _numbers(case: Case) -> tuple[tuple[str, str], ...]:
    return (
        (f"{len(case.incidents):,}", "incidents"),
        (words.volume(sum(case.off_window_payload_bytes.values())), "off schedule"),
        (words.volume(case.payload_bytes), "payload"),
        (f"{len(case.flows):,}", "flows"),
        (f"{case.peers:,}", "peers"),
        (f"{case.swarms:,}", "swarms"),
    )


def _part(name: str) -> str:
    return files("sensor.sinks.report").joinpath(name).read_text(encoding="utf-8")


def _hash(part: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()

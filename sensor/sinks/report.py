"""The case as one HTML page that opens anywhere: no script, no request, no font of others; reads, prints and archives.

Everything that came from the network or from a file is escaped; the page's own policy forbids scripts besides.
"""

from __future__ import annotations

import math
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

import pandas as pd

from sensor import __version__, words
from sensor.outfile import outfile
from sensor.policy import UNKNOWN_SITE
from sensor.schema import LEVELS, SCHEDULES, VERDICTS, WEIRDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sensor.schema import Case, Incident

OPEN_ALIKE: Final = 3  # incidents of one rule before the fold
SHOWN_ALIKE: Final = 100  # a page that still opens quickly; incidents.json has all
SHOWN_FLOWS: Final = 8
SHOWN_DAYS: Final = 62
SHOWN_SITES: Final = 20
_HOURS: Final = 24
_CELL: Final = (26, 18)  # width and height of an hour in the map, and its margins in px
_LEFT: Final = 108
_TOP: Final = 20
_OFF: Final = ("closed", "disabled")


def write(path: Path, case: Case) -> None:
    """Write `report.html`.

    Raises
    ------
    OperatorError
        If the file cannot be written; nothing is then left under its name.
    """
    with outfile(path) as file:
        file.write(page(case).encode())


def page(case: Case) -> str:
    """Return the report.

    Raises
    ------
    nothing
    """
    worst = max((LEVELS.index(each.level) for each in case.incidents), default=-1)
    sections = (
        ("Incidents", _incidents(case)),
        ("Payload by hour", _hours(case)),
        ("Who gave to whom", _matrix(case)),
        ("Sites and schedules", _sites(case)),
        ("What the flows speak", _protocols(case)),
        ("Capture health", _health(case)),
        ("Inputs", _inputs(case)),
    )
    policy = case.policy.source or "the built-in policy: private addresses are one site that may peer at any time"
    judged = f"{policy} ({words.count(len(case.policy.sites), 'site')}), {words.count(len(case.findings), 'rule')}"
    template = Template(files("sensor.sinks").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        level=LEVELS[worst] if worst >= 0 else "quiet",
        conclusion=_text(words.conclusion(case)),
        time=_text(words.span(case.first_packet_ns, case.last_packet_ns) if case.packets else "no packets"),
        numbers="".join(f"<div><b>{_text(number)}</b><span>{name}</span></div>" for number, name in _numbers(case)),
        judged=_text(judged),
        sections="".join(f"<section><h2>{title}</h2>{body}</section>\n" for title, body in sections if body),
        version=_text(__version__),
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


def _incidents(case: Case) -> str:
    if not case.incidents:
        return "<p>None.</p>"
    zones = {site.name: site.timezone for site in case.policy.sites}
    groups: dict[tuple[str, str], list[Incident]] = {}
    for each in words.worst_first(case.incidents):
        groups.setdefault((each.level, each.rule), []).append(each)
    return "".join(_alike(level, rule, alike, zones) for (level, rule), alike in groups.items())


def _alike(level: str, rule: str, alike: list[Incident], zones: dict[str, str]) -> str:
    made = [_incident(each, zones.get(each.site, "UTC")) for each in alike[:SHOWN_ALIKE]]
    folded = "".join(made[OPEN_ALIKE:])
    left = len(alike) - len(made)
    rest = f"<p class=note>and {left:,} more in <code>incidents.json</code></p>" if left else ""
    more = f"<details><summary>{len(alike) - OPEN_ALIKE:,} more</summary>\n{folded}{rest}</details>" if folded else ""
    head = f"<h3><span class=badge>{level}</span> {_text(alike[0].title)} <code>{_text(rule)}</code></h3>"
    return f'<div class="{level}">{head}\n{"".join(made[:OPEN_ALIKE])}{more}</div>\n'


def _incident(incident: Incident, zone: str) -> str:
    facts = [incident.site, words.subject(incident), words.when(incident, zone), words.count(incident.flows, "flow")]
    facts += [words.volume(incident.payload_bytes)] if incident.payload_bytes else []
    facts += [f"confidence {incident.confidence:.0%}"] if incident.confidence < 1 else []
    facts += [incident.state, *incident.attack]
    flows = list(dict.fromkeys(each.community_id for each in incident.evidence))[:SHOWN_FLOWS]
    ids = f"<p>{' '.join(f'<code>{_text(each)}</code>' for each in flows)}</p>" if flows else ""
    said = " · ".join(_text(each) for each in dict.fromkeys(facts))
    return f"<article><p>{_text(incident.reason)}</p><p class=facts>{said}</p>{ids}</article>\n"


def _hours(case: Case) -> str:
    """Draw days down and hours across; blue is payload, red is payload off schedule, darker is more."""
    zones = {site.timezone for site in case.policy.sites}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    sums = case.activity.groupby("window_start_ns")[["payload_bytes", "off_window_payload_bytes"]].sum()
    sums = sums[sums["payload_bytes"] > 0]
    if sums.empty:
        return ""
    local = pd.to_datetime(sums.index, unit="ns", utc=True).tz_convert(zone)
    cells = sums.groupby([local.strftime("%Y-%m-%d %a"), local.hour]).sum()
    days = sorted({str(day) for day, _ in cells.index})
    shown = days[-SHOWN_DAYS:]
    most = float(cells["payload_bytes"].max())
    wide, high = _CELL
    drawn = [f'<text x="{_LEFT + hour * wide}" y="13">{hour:02}</text>' for hour in range(0, _HOURS, 3)]
    drawn += [f'<text x="0" y="{_TOP + at * high + 13}">{day}</text>' for at, day in enumerate(shown)]
    drawn += [
        f'<rect class="empty" x="{_LEFT + hour * wide}" y="{_TOP + at * high}" width="{wide - 2}" height="{high - 2}"/>'
        for at in range(len(shown))
        for hour in range(_HOURS)
    ]
    for (day, hour), payload, off in zip(cells.index, *(cells[name] for name in cells.columns), strict=True):
        if day in shown:
            where = _LEFT + int(hour) * wide, _TOP + shown.index(day) * high
            drawn.append(_hour(where, f"{day} {hour:02}:00", (int(payload), int(off)), most))
    size = f"0 0 {_LEFT + _HOURS * wide} {_TOP + len(shown) * high}"
    key = '<span class="key in"></span> payload <span class="key off"></span> of it off schedule (with a dot)'
    hidden = f" The {len(days) - len(shown):,} days before are not shown." if len(days) > len(shown) else ""
    said = f"Hours in {_text(zone)}; days without payload are left out; darker is more, on a logarithmic scale.{hidden}"
    image = f'<svg viewBox="{size}" role="img" aria-label="Payload by hour">{"".join(drawn)}</svg>'
    return f"<div class=wide>{image}</div><p class=note>{key}. {said}</p>"


def _hour(where: tuple[int, int], when: str, moved: tuple[int, int], most: float) -> str:
    (x, y), (payload, off), (wide, high) = where, moved, _CELL
    strength = 0.25 + 0.75 * math.log1p(payload) / math.log1p(most)
    title = f"{when}: {words.volume(payload)}" + (f", {words.volume(off)} of it off schedule" if off else "")
    dot = f'<circle cx="{x + wide / 2 - 1:g}" cy="{y + high / 2 - 1:g}" r="2.5"/>' if off else ""
    return (
        f'<g class="{"off" if off else "in"}"><title>{_text(title)}</title><rect x="{x}" y="{y}" width="{wide - 2}" '
        f'height="{high - 2}" fill-opacity="{strength:.2f}"/>{dot}</g>'
    )


def _matrix(case: Case) -> str:
    there = case.activity.groupby(["orig_site", "resp_site"], observed=True)["orig_payload_bytes"].sum()
    back = case.activity.groupby(["resp_site", "orig_site"], observed=True)["resp_payload_bytes"].sum()
    moved: dict[tuple[str, str], int] = {}
    for volumes in (there, back):
        for (giver, taker), volume in zip(volumes.index, volumes, strict=True):
            moved[giver, taker] = moved.get((giver, taker), 0) + int(volume)
    moved = {pair: volume for pair, volume in moved.items() if volume}
    if not moved:
        return ""
    totals: dict[str, int] = {}
    for (giver, taker), volume in moved.items():
        for site in {giver, taker}:
            totals[site] = totals.get(site, 0) + volume
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown = names[:SHOWN_SITES]
    rows = [[giver, *(words.volume(moved.get((giver, taker), 0)) for taker in shown)] for giver in shown]
    more = f"<p class=note>and {len(names) - len(shown):,} more sites</p>" if len(names) > len(shown) else ""
    return _table(["from ↓ to →", *shown], rows) + more


def _sites(case: Case) -> str:
    moved = case.activity.groupby(["site", "schedule"], observed=True)["payload_bytes"].sum()
    peering = {site.name: (site.peering, site.timezone) for site in case.policy.sites}
    flows = case.activity.groupby("site", observed=True)["flow"].nunique()
    names = [name for name in (*peering, UNKNOWN_SITE) if name in flows.index]
    states = [state for state in SCHEDULES if state in moved.index.get_level_values("schedule")]
    rows = []
    for name in names:
        volumes = (words.volume(int(moved.get((name, state), 0))) for state in states)
        rows.append([name, *peering.get(name, ("-", "-")), f"{flows[name]:,}", *volumes])
    bad = {at for at, state in enumerate(states, start=4) if state in _OFF}
    return _table(["site", "peering", "time zone", "flows", *states], rows, words_to=3, bad=bad) if rows else ""


def _protocols(case: Case) -> str:
    payload = case.flows["orig_payload_bytes"] + case.flows["resp_payload_bytes"]
    moved = payload.groupby(case.flows["verdict"], observed=True).sum()
    numbers = case.flows["verdict"].value_counts()
    present = [verdict for verdict in VERDICTS if verdict in moved.index]
    rows = [[verdict, f"{numbers[verdict]:,}", words.volume(int(moved[verdict]))] for verdict in present]
    return _table(["verdict", "flows", "payload"], rows) if rows else ""


def _health(case: Case) -> str:
    flows = case.flows
    gaps = int(flows["orig_gap_bytes"].sum() + flows["resp_gap_bytes"].sum())
    rows = [
        ["packets dropped before the capture", f"{sum(each.drops for each in case.inputs):,}"],
        ["acknowledged but never seen", words.volume(gaps)],
        ["payload sent again", words.volume(int(flows["retransmitted_bytes"].sum()))],
        ["duplicate packets (double mirror)", f"{int(flows['duplicate_packets'].sum()):,}"],
        ["flows whose roles were guessed", f"{int(flows['role_guessed'].sum()):,}"],
        *([kind.replace("_", " "), f"{case.weird[kind]:,}"] for kind in WEIRDS if case.weird.get(kind)),
    ]
    return _table(["what", "how much"], rows)


def _inputs(case: Case) -> str:
    rows = []
    for each in case.inputs:
        time = words.span(each.first_packet_ns, each.last_packet_ns) if each.packets else "-"
        size = words.volume(each.size_bytes)
        rows.append([each.name, each.format, time, each.damage or "-", each.sha256, size, f"{each.packets:,}"])
    head = ["input", "format", "time", "damage", "SHA-256", "size", "packets"]
    return _table(head, rows, words_to=5, bad={3}) if rows else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], words_to: int = 1, bad: Iterable[int] = ()) -> str:
    def cell(at: int, value: str) -> str:
        kinds = ["n"] if at >= words_to else []
        kinds += ["none"] if value in {"0 B", "0", "-"} else ["bad"] if at in bad else []
        mark = f' class="{" ".join(kinds)}"' if kinds else ""
        return f"<td{mark}>{_text(value)}</td>"

    top = "".join(f"<th{' class=n' if at >= words_to else ''}>{_text(name)}</th>" for at, name in enumerate(head))
    body = "".join(f"<tr>{''.join(cell(at, value) for at, value in enumerate(row))}</tr>\n" for row in rows)
    return f"<div class=wide><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>"


def _text(text: str) -> str:
    return escape(words.visible(text))

"""The case in one screen: for programs as `summary.json`, for people on the terminal, conclusion first.

What the network chose (names, reasons, damage) is shown as text: no markup, control character or direction mark of
theirs reaches the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sensor import words
from sensor.policy import UNKNOWN_SITE
from sensor.schema import LEVELS, SCHEDULES, VERDICTS, WEIRDS

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from sensor.schema import Case, Incident

SHOWN_ALIKE: Final = 3  # incidents of one rule; the rest is counted, and is in the case folder
SHOWN_INPUTS: Final = 10
_LEVEL_STYLE: Final = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "bold yellow",
    "low": "cyan",
    "informational": "dim",
}
_EXPECTED: Final = ("do", "too_little")
_OFF: Final = ("closed", "disabled")
DEFAULT_POLICY: Final = (
    "No policy was given: all private addresses were taken as one site that may peer at any time. "
    "State your sites and update windows in a policy.yaml and pass it with -p; "
    "`swarmtap learn` proposes one from a case."
)


def as_json(case: Case) -> dict[str, Any]:
    """Return `summary.json`.

    Raises
    ------
    nothing
    """
    levels = [each.level for each in case.incidents]
    return {
        "inputs": len(case.inputs),
        "packets": case.packets,
        "packets_7680": case.packets_7680,
        "bytes": case.bytes,
        "payload_bytes": case.payload_bytes,
        "first_packet_ns": case.first_packet_ns,
        "last_packet_ns": case.last_packet_ns,
        "flows": len(case.flows),
        "peers": case.peers,
        "swarms": case.swarms,
        "off_window_payload_bytes": dict(case.off_window_payload_bytes),
        "findings": dict(sorted(case.findings.items())),
        "incidents": {level: levels.count(level) for level in LEVELS},
        "weird": {kind: case.weird[kind] for kind in WEIRDS if case.weird.get(kind)},
        "damaged": {each.name: each.damage for each in case.inputs if each.damage},
    }


def render(case: Case, console: Console) -> None:
    """Print the case for a network engineer.

    Raises
    ------
    nothing
    """
    screen = _Screen(console)
    screen.conclusion(case)
    screen.facts(case)
    screen.incidents(case)
    screen.sites(case)
    screen.protocols(case.flows)
    screen.health(case)
    if not case.policy.source:
        screen.section("Policy", screen.text(DEFAULT_POLICY, "yellow"))


class _Screen:
    """The sections, each printed only if it has something to say."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ascii = console.options.ascii_only

    def text(self, text: str, style: str = "") -> Text:
        seen = words.visible(text)
        if self._ascii:
            seen = seen.replace("→", "->").encode("ascii", "backslashreplace").decode()
        return Text(seen, style)

    def section(self, title: str, *bodies: Text | Table) -> None:
        self._console.print()
        self._console.print(Text(title, "bold"))
        for body in bodies:
            self._console.print(Padding(body, (0, 0, 0, 2), expand=False))

    def conclusion(self, case: Case) -> None:
        levels = {each.level for each in case.incidents}
        worst = next((level for level in reversed(LEVELS) if level in levels), "")
        quiet = "bold green" if not words.blindness(case) else "bold yellow"
        self._console.print(self.text(words.conclusion(case), _LEVEL_STYLE[worst] if worst else quiet))

    def facts(self, case: Case) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        read = (words.count(len(case.inputs), "input"), words.count(case.packets, "packet"), words.volume(case.bytes))
        table.add_row("Read", self.text(", ".join(read)))
        if case.packets:
            span = words.span(case.first_packet_ns, case.last_packet_ns)
            length = words.duration(case.last_packet_ns - case.first_packet_ns)
            table.add_row("Time", self.text(f"{span} ({length})"))
        on_port = (
            words.count(case.packets_7680, "packet"),
            words.count(len(case.flows), "flow"),
            words.count(case.peers, "peer"),
            words.count(case.swarms, "swarm"),
        )
        table.add_row("TCP 7680", self.text(f"{', '.join(on_port)}, {words.volume(case.payload_bytes)} of payload"))
        rules = words.count(len(case.findings), "rule")
        sites = words.count(len(case.policy.sites), "site")
        table.add_row("Judged by", self.text(f"{case.policy.source or 'the built-in policy'} ({sites}), {rules}"))
        self._console.print()
        self._console.print(table)

    def incidents(self, case: Case) -> None:
        if not case.incidents:
            return
        zones = {site.name: site.timezone for site in case.policy.sites}
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        # One heading per rule, the worst first: thirty attempts of one kind must not hide the one transfer.
        rules: dict[tuple[str, str], list[Incident]] = {}
        for each in words.worst_first(case.incidents):
            rules.setdefault((each.level, each.rule), []).append(each)
        for (level, _), alike in rules.items():
            body = [self._heading(alike)]
            body += [self._incident(each, zones.get(each.site, "UTC")) for each in alike[:SHOWN_ALIKE]]
            rest = alike[SHOWN_ALIKE:]
            body += [self.text(_rest(rest), "dim")] if rest else []
            table.add_row(Text(level.upper(), _LEVEL_STYLE[level]), Text("\n").join((*body, Text())))
        self.section(f"Incidents ({len(case.incidents):,})", table)

    def _heading(self, alike: list[Incident]) -> Text:
        return Text("  ").join((self.text(alike[0].title, "bold"), self.text(alike[0].rule, "dim")))

    def _incident(self, incident: Incident, zone: str) -> Text:
        subject = words.subject(incident)
        facts = [subject if incident.site in subject else f"{incident.site}: {subject}"]
        facts += [words.count(incident.flows, "flow")]
        facts += [words.volume(incident.payload_bytes)] if incident.payload_bytes else []
        facts += [f"confidence {incident.confidence:.0%}"] if incident.confidence < 1 else []
        lines = (
            self.text(", ".join(facts)),
            self.text(words.when(incident, zone)),
            self.text(incident.reason, "italic"),
        )
        return Text("\n").join(lines)

    def sites(self, case: Case) -> None:
        if case.activity.empty:
            return
        names = [site.name for site in case.policy.sites] + [UNKNOWN_SITE]
        peering = {site.name: site.peering for site in case.policy.sites}
        moved = case.activity.groupby(["site", "schedule"], observed=True)["payload_bytes"].sum()
        flows = case.activity.groupby("site", observed=True)["flow"].nunique()
        states = [state for state in SCHEDULES if state in moved.index.get_level_values("schedule")]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("site", overflow="fold")
        table.add_column("peering", no_wrap=True)
        table.add_column("flows", justify="right", no_wrap=True)
        for state in states:
            table.add_column(state, justify="right", no_wrap=True)
        for name in (name for name in names if name in flows.index):
            cells = [_cell(int(moved.get((name, state), 0)), bad=state in _OFF) for state in states]
            table.add_row(self.text(name), peering.get(name, "-"), f"{flows[name]:,}", *cells)
        silent = len(names) - 1 - sum(name in flows.index for name in names[:-1])
        note = [self.text(f"and {words.count(silent, 'site')} without traffic", "dim")] if silent else []
        self.section("Payload by site and state of the schedule", table, *note)

    def protocols(self, flows: pd.DataFrame) -> None:
        if flows.empty:
            return
        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(justify="right")
        table.add_column(justify="right")
        payload = flows["orig_payload_bytes"] + flows["resp_payload_bytes"]
        moved = payload.groupby(flows["verdict"], observed=True).sum()
        numbers = flows["verdict"].value_counts()
        for verdict in (verdict for verdict in VERDICTS if verdict in moved.index):
            style = "" if verdict in _EXPECTED else "yellow"
            volume = words.volume(int(moved[verdict]))
            table.add_row(Text(verdict, style), words.count(int(numbers[verdict]), "flow"), volume)
        self.section("What the flows speak", table)

    def health(self, case: Case) -> None:
        lines = [self.text(f"{each}.", "yellow") for each in words.blindness(case)]
        damaged = [each for each in case.inputs if each.damage]
        lines += [self.text(f"{each.name}: {each.damage}", "yellow") for each in damaged[:SHOWN_INPUTS]]
        lines += [self.text(f"and {len(damaged) - SHOWN_INPUTS:,} more", "dim")] if len(damaged) > SHOWN_INPUTS else []
        lines += [self.text(f"{each}.") for each in words.repetitions(case.inputs)]
        copies = int(case.flows["duplicate_packets"].sum())
        lines += (
            [self.text(f"{words.count(copies, 'duplicate packet')} of a double mirror, not counted.")] if copies else []
        )
        again = int(case.flows["retransmitted_bytes"].sum())
        lines += [self.text(f"{words.volume(again)} of payload sent again, counted once.")] if again else []
        guessed = int(case.flows["role_guessed"].sum())
        lines += [self.text(f"{words.count(guessed, 'flow')} without a SYN: roles guessed.")] if guessed else []
        weird = [f"{kind} {case.weird[kind]:,}" for kind in WEIRDS if case.weird.get(kind)]
        lines += [self.text(f"Oddities: {', '.join(weird)}.")] if weird else []
        self.section("Capture health", *(lines or [self.text("No drops reported, no gaps, no oddities.")]))


def _cell(volume: int, *, bad: bool) -> Text:
    if not volume:
        return Text("-", "dim")
    return Text(words.volume(volume), "bold red" if bad else "")


def _rest(alike: list[Incident]) -> str:
    sites = sorted({each.site for each in alike})
    moved = sum(each.payload_bytes for each in alike)
    volume = f", {words.volume(moved)}" if moved else ""
    return f"and {len(alike):,} more at {words.listed(sites)}{volume}"

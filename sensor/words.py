"""Numbers, times and conclusions in the words that people read: on the terminal, in the report, in a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from sensor.schema import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sensor.schema import Case, Incident, Input

_NS: Final = 1_000_000_000
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STEP: Final = 1000  # decimal, as link speeds and volumes are sold
_WHOLE_FROM: Final = 99.95  # from here on, a decimal place tells nobody anything
_STEPS_S: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_HIDDEN: Final = frozenset("\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")  # fmt: skip # noqa: E501
_PAIR: Final = "~"
_WHOLE_PERCENT: Final = 10  # from here on, tenths say nothing more


def volume(count: int) -> str:
    """Return bytes as people say them: `999 B`, `1.2 kB`, `345 MB`.

    Raises
    ------
    nothing
    """
    if count < _STEP:
        return f"{count} B"
    size, unit = count / _STEP, 1
    while size >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if size >= _WHOLE_FROM else f"{size:.1f} {_UNITS[unit]}"


def percent(share: float) -> str:
    """Return a share of one as `12 %`: whole percents, but for the small.

    Raises
    ------
    nothing
    """
    hundredths = share * 100
    return f"{hundredths:.0f} %" if hundredths >= _WHOLE_PERCENT or not share else f"{hundredths:.1g} %"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 flow`, `1,234 flows`.

    Raises
    ------
    nothing
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: Sequence[str]) -> str:
    """Return `a, b and c`.

    Raises
    ------
    nothing
    """
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def duration(ns: int) -> str:
    """Return a length of time in its two largest units: `6 d 7 h`, `40 s`, `0 s`.

    Raises
    ------
    nothing
    """
    left = max(ns, 0) // _NS
    parts: list[str] = []
    for seconds, unit in _STEPS_S:
        if left >= seconds or parts:
            parts.append(f"{left // seconds} {unit}")
            left %= seconds
    return " ".join(part for part in parts[:2] if part[0] != "0") or "0 s"


def span(first_ns: int, last_ns: int, timezone: str = "UTC") -> str:
    """Return an interval of local time: `Tue 2026-03-10 13:00-13:01 CET`; the day is said once if it is one.

    Raises
    ------
    nothing
    """
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    first, last = (datetime.fromtimestamp(ns // _NS, zone) for ns in (first_ns, last_ns))
    clock = "%H:%M" if last_ns - first_ns >= 60 * _NS else "%H:%M:%S"
    start, name = first.strftime(f"%a %Y-%m-%d {clock}"), last.strftime("%Z")
    if first.date() != last.date():
        return f"{start} to {last.strftime(f'%a %Y-%m-%d {clock}')} {name}"
    end = last.strftime(clock)
    return f"{start} {name}" if end == first.strftime(clock) else f"{start}-{end} {name}"


def when(incident: Incident, timezone: str) -> str:
    """Return an incident's time at its site, and its start in UTC: `Tue 2026-03-10 13:00-13:01 CET (12:00 UTC)`.

    Raises
    ------
    nothing
    """
    local = span(incident.first_seen_ns, incident.last_seen_ns, timezone)
    start = datetime.fromtimestamp(incident.first_seen_ns // _NS, UTC)
    return local if local.endswith(" UTC") else f"{local} ({start:%H:%M} UTC)"


def visible(text: str) -> str:
    r"""Return text that cannot move a cursor, change a colour or turn itself round: such characters become `\x1b`.

    Raises
    ------
    nothing
    """
    return "".join(each if each.isprintable() and each not in _HIDDEN else _escaped(each) for each in text)


def subject(incident: Incident) -> str:
    """Return whom an incident is about: `10.1.0.5 → 10.1.0.6`, `between ber and hq`.

    Raises
    ------
    nothing
    """
    left = {key: visible(str(value)) for key, value in incident.subject.items()}
    said = []
    orig, resp = left.pop("orig_ip", ""), left.pop("resp_ip", "")
    if orig and resp:
        said.append(f"{orig} → {resp}")
    elif orig or resp:
        said.append(orig or f"{resp} (responder)")
    sites = left.pop("site_pair", "").split(_PAIR)
    if len(sites) == len({"one", "other"}):
        said.append(f"within {sites[0]}" if sites[0] == sites[1] else f"between {sites[0]} and {sites[1]}")
    if left.get("site") == incident.site:
        left.pop("site")
    said += [f"{key.replace('_', ' ')} {value}" for key, value in left.items()]
    return ", ".join(said) or visible(incident.site)


def worst_first(incidents: Iterable[Incident]) -> list[Incident]:
    """Return incidents by level, then by time.

    Raises
    ------
    nothing
    """
    return sorted(incidents, key=lambda each: (-LEVELS.index(each.level), each.first_seen_ns, each.rule, each.id))


def conclusion(case: Case) -> str:
    """Return the case in a sentence: what was found, or that nothing was, and whether that proves anything.

    Raises
    ------
    nothing
    """
    blind = blindness(case)
    only = f" Only {visible(case.chosen)} was looked at." if case.chosen else ""
    but = f"{only} But the capture is not complete ({listed(blind)}), so absence proves nothing." if blind else only
    off = sum(case.off_window_payload_bytes.values())
    if case.incidents:
        levels = [each.level for each in case.incidents]
        found = [f"{levels.count(level):,} {level}" for level in reversed(LEVELS) if level in levels]
        noun = "incident" if len(levels) == 1 else "incidents"
        where = sorted((name for name, moved in case.off_window_payload_bytes.items() if moved), key=str)
        moved = f" {volume(off)} moved off schedule, {_at(where)}." if off else ""
        return f"Off policy: {listed(found)} {noun}.{moved}{only}"
    if not case.packets_7680:
        return f"No traffic on TCP 7680 in {count(case.packets, 'packet')}.{but}"
    flows = count(len(case.flows), "flow")
    if not case.payload_bytes:
        return f"Nothing off policy: {flows} on TCP 7680, none of which carried payload.{but}"
    moved = (
        f"{volume(off)} of it off schedule, too little for any rule" if off else "all of it while peering was allowed"
    )
    peers = count(case.peers, "peer")
    return f"Nothing off policy: {flows} between {peers} moved {volume(case.payload_bytes)}, {moved}.{but}"


def blindness(case: Case) -> list[str]:
    """Return why the capture does not show everything, in words; empty if nothing says so.

    Raises
    ------
    nothing
    """
    drops = sum(each.drops for each in case.inputs)
    gaps = int(case.flows["orig_gap_bytes"].sum() + case.flows["resp_gap_bytes"].sum())
    damaged = sum(bool(each.damage) for each in case.inputs)
    return [
        *([f"{count(drops, 'packet')} dropped before the capture"] if drops else []),
        *([f"{volume(gaps)} acknowledged but not seen"] if gaps else []),
        *([f"{count(damaged, 'damaged input')}"] if damaged else []),
    ]


def repetitions(inputs: Sequence[Input]) -> list[str]:
    """Return what stands in more than one input, in words: files that are another one again, and packets in two files.

    Raises
    ------
    nothing
    """
    copies = [each for each in inputs if each.copy_of]
    said = [f"{visible(each.name)} is {visible(each.copy_of)} again: read once" for each in copies[:3]]
    said += [f"{count(len(copies) - 3, 'more copy', 'more copies')} of other inputs: read once"] if copies[3:] else []
    overlapping = [each for each in inputs if each.repeated]
    if overlapping:
        packets = count(sum(each.repeated for each in overlapping), "packet")
        names = listed([visible(each.name) for each in overlapping[:3]])
        rest = f" and {len(overlapping) - 3:,} more" if overlapping[3:] else ""
        said.append(f"Inputs overlap: {packets} of {names}{rest} stand in another input too, counted once")
    return said


def _at(sites: list[str]) -> str:
    shown = [visible(name) for name in sites[:3]]
    return "at " + listed(shown if len(sites) <= len(shown) else [*shown[:2], f"{len(sites) - 2} more sites"])


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()

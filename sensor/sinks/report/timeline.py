"""Throughput over the time of the capture, and beneath it, by site, when updates were approved and when they moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sensor import words
from sensor.sinks.report.marks import DAY_NS, NS, Beside, Slots, at_ns, step_ns, text

if TYPE_CHECKING:
    from sensor.schema import Case

SHOWN_SITES: Final = 12
_BINS: Final = 240
_LEFT, _WIDE, _HIGH, _TOP = 96, 960, 150, 16
_LANE: Final = 22
_LABEL: Final = 60  # a label that begins further right would be cut
_KINDS: Final = ("in", "exempt", "off")


@dataclass(frozen=True, slots=True)
class _Axis:
    """Instants to places on the page."""

    start_ns: int
    end_ns: int
    step_ns: int

    def x(self, instant_ns: int) -> float:
        return round(_LEFT + (instant_ns - self.start_ns) / (self.end_ns - self.start_ns) * _WIDE, 1)


def timeline(case: Case, beside: Beside) -> str:
    """Return the drawing; empty without packets on the port.

    Raises
    ------
    nothing
    """
    if case.activity.empty:
        return ""
    first_ns, last_ns = int(case.activity["window_start_ns"].min()), int(case.activity["last_ts_ns"].max()) + 1
    step = step_ns(max(last_ns - first_ns, 1), _BINS)
    axis = _Axis(first_ns // step * step, -(-last_ns // step) * step, step)
    names = _sites(case)
    height = _TOP + _HIGH + 10 + len(names) * _LANE + 18
    drawn = [*_ticks(axis, height), *_bars(case, axis)]
    for at, name in enumerate(names):
        drawn += _lane(case, axis, name, beside.slots.get(name), _TOP + _HIGH + 10 + at * _LANE)
    image = (
        f'<svg viewBox="0 0 {_LEFT + _WIDE + 4} {height}" role="img" aria-label="Throughput over time, '
        f"with each site's approved slots\">{''.join(drawn)}</svg>"
    )
    key = (
        '<p class="note keys"><span><i class="key slot"></i> approved slot</span>'
        '<span><i class="key in"></i> payload while open</span>'
        '<span><i class="key exempt"></i> under an exception</span><span><i class="key off"></i> off schedule</span>'
        f"<span>{words.duration(step)} a bar, UTC; the lanes are sites</span></p>"
    )
    return f'<div class="wide">{image}</div>{key}'


def _sites(case: Case) -> list[str]:
    """Return the sites that moved or tried anything, in the policy's order."""
    seen = set(case.activity["site"].astype(str).unique())
    return [name for name in (*(site.name for site in case.policy.sites), "unknown") if name in seen][:SHOWN_SITES]


def _ticks(axis: _Axis, height: int) -> list[str]:
    """Draw a line per day, or per hour or ten minutes of a shorter time."""
    span = axis.end_ns - axis.start_ns
    every = next((e for e in (60, 600, 3600, 21_600, 86_400, 7 * 86_400) if span <= e * NS * 15), 30 * 86_400) * NS
    start = datetime.fromtimestamp(axis.start_ns // NS, UTC).replace(hour=0, minute=0, second=0)
    shape = "%a %m-%d" if every >= DAY_NS else "%a %H:%M"
    drawn, moment = [], start
    while (at := at_ns(moment)) <= axis.end_ns:
        if at >= axis.start_ns:
            x = axis.x(at)
            drawn.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{height - 16}"/>')
            if x < _LEFT + _WIDE - _LABEL:
                drawn.append(f'<text x="{x + 2}" y="{height - 4}">{moment.strftime(shape)}</text>')
        moment += timedelta(seconds=every // NS)
    return drawn


def _bars(case: Case, axis: _Axis) -> list[str]:
    rows = case.activity
    bins = (rows["window_start_ns"] - axis.start_ns) // axis.step_ns
    columns = ["payload_bytes", "off_window_payload_bytes", "exempt_payload_bytes"]
    sums = rows[columns].groupby(bins).sum()
    sums = sums[sums["payload_bytes"] > 0]
    most = int(sums["payload_bytes"].max()) if len(sums) else 0
    drawn = [f'<line class="axis" x1="{_LEFT}" y1="{_TOP + _HIGH}" x2="{_LEFT + _WIDE}" y2="{_TOP + _HIGH}"/>']
    if not most:
        return [*drawn, f'<text x="{_LEFT + 4}" y="{_TOP + 12}">no payload</text>']
    for share in (0.5, 1.0):
        y = _TOP + _HIGH * (1 - share)
        said = _rate(int(most * share), axis.step_ns)
        drawn.append(f'<text x="0" y="{y + 4:g}">{said}</text>')
        drawn.append(f'<line class="grid" x1="{_LEFT}" y1="{y:g}" x2="{_LEFT + _WIDE}" y2="{y:g}"/>')
    wide = max(1.5, _WIDE * axis.step_ns / (axis.end_ns - axis.start_ns) - 0.5)
    for at, payload, off, exempt in sums.itertuples():
        start = axis.start_ns + int(at) * axis.step_ns
        when = f"{datetime.fromtimestamp(start // NS, UTC):%a %Y-%m-%d %H:%M} UTC"
        said = f"{when}: {words.volume(int(payload))}, {_rate(int(payload), axis.step_ns)}"
        said += f"; {words.volume(int(off))} off schedule" if off else ""
        said += f"; {words.volume(int(exempt))} under an exception" if exempt else ""
        boxes, y = [], float(_TOP + _HIGH)
        parts = dict(zip(_KINDS, (int(payload - off - exempt), int(exempt), int(off)), strict=True))
        for kind in _KINDS:
            if parts[kind]:
                high = max(2.0, parts[kind] / most * _HIGH)  # what was off schedule is never too small to be seen
                y -= high
                boxes.append(
                    f'<rect class="{kind}" x="{axis.x(start)}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'
                )
        drawn.append(f"<g><title>{text(said)}</title>{''.join(boxes)}</g>")
    return drawn


def _lane(case: Case, axis: _Axis, name: str, slots: Slots | None, y: int) -> list[str]:
    drawn = [f'<text x="0" y="{y + 13}">{text(name[:14])}</text>']
    drawn.append(f'<rect class="empty" x="{_LEFT}" y="{y}" width="{_WIDE}" height="{_LANE - 5}"/>')
    for opens, closes in slots.tolist() if slots is not None else ():
        low, high = max(opens, axis.start_ns), min(closes, axis.end_ns)
        if low < high:
            place = f'x="{axis.x(low)}" y="{y}" width="{axis.x(high) - axis.x(low):.1f}" height="{_LANE - 5}"'
            said = text(f"{name}: open {words.span(low, high)}")
            drawn.append(f'<g><title>{said}</title><rect class="slot" {place}/></g>')
    rows = case.activity[case.activity["site"] == name]
    sums = rows.groupby((rows["window_start_ns"] - axis.start_ns) // axis.step_ns)[
        ["payload_bytes", "off_window_payload_bytes"]
    ].sum()
    wide = max(1.5, _WIDE * axis.step_ns / (axis.end_ns - axis.start_ns) - 0.5)
    shape = f'width="{wide:.1f}" height="{_LANE - 11}"'
    for found in sums.itertuples():
        at, payload, off = (int(value) for value in _ints(found))
        kind = "off" if off else "in" if payload else "try"
        drawn.append(f'<rect class="{kind}" x="{axis.x(axis.start_ns + at * axis.step_ns)}" y="{y + 3}" {shape}/>')
    return drawn


def _ints(row: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in row)


def _rate(volume: int, over_ns: int) -> str:
    bits = volume * 8 * NS // over_ns
    said = words.volume(bits)
    return said.removesuffix("B") + "bit/s"

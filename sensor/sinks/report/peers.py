"""Who gave to whom: a matrix of sites, and a graph of the hosts that moved most."""

from __future__ import annotations

import math
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import pandas as pd

from sensor import words
from sensor.sinks.report.marks import text

if TYPE_CHECKING:
    from sensor.schema import Case

SHOWN_SITES: Final = 20
SHOWN_HOSTS: Final = 60
_SHADES: Final = 5
_WIDE, _HIGH, _RADIUS = 820, 640, 205
_FAINT: Final = 0.01  # a taker's requests are no gift: what is less than this share of the way back is not drawn
_COLOURS: Final = 8

Moved = dict[tuple[str, str], tuple[int, int]]


def matrix(case: Case) -> str:
    """Return a table of bytes from site to site; empty if none moved.

    Raises
    ------
    nothing
    """
    moved = _between(case.activity, "orig_site", "resp_site")
    if not moved:
        return ""
    totals: dict[str, int] = {}
    for pair, (volume, _) in moved.items():
        for site in set(pair):
            totals[site] = totals.get(site, 0) + volume
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown = names[:SHOWN_SITES]
    most = max(volume for volume, _ in moved.values())
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in shown)
    body = "".join(
        f'<tr><th scope="row">{text(giver)}</th>'
        + "".join(_square(*moved.get((giver, taker), (0, 0)), most) for taker in shown)
        + "</tr>\n"
        for giver in shown
    )
    more = f'<p class="note">and {len(names) - len(shown):,} more sites</p>' if len(names) > len(shown) else ""
    return (
        '<div class="wide"><table class="matrix" aria-label="payload from site to site">'
        f"<thead><tr><th>gives ↓ takes →</th>{top}</tr></thead>"
        f"<tbody>\n{body}</tbody></table></div>{more}"
    )


def _square(volume: int, off: int, most: int) -> str:
    if not volume:
        return '<td class="none">-</td>'
    shade = max(1, math.ceil(_SHADES * math.log1p(volume) / math.log1p(most)))
    below = f"<small>{words.volume(off)} off schedule</small>" if off else ""
    return f'<td class="s{shade}">{words.volume(volume)}{below}</td>'


def graph(case: Case) -> str:
    """Return a drawing of the hosts that moved most; empty if none moved.

    Raises
    ------
    nothing
    """
    edges = _between(case.flows, "orig_ip", "resp_ip")
    if not edges:
        return ""
    totals: dict[str, int] = {}
    for pair, (volume, _) in edges.items():
        for host in set(pair):
            totals[host] = totals.get(host, 0) + volume
    edges = {pair: each for pair, each in edges.items() if each[0] >= _FAINT * edges.get(pair[::-1], (0, 0))[0]}
    site_of = _sites(case)
    chosen: dict[str, None] = {}
    for pair, _ in sorted(edges.items(), key=lambda edge: (not edge[1][1], -edge[1][0], edge[0])):
        if len(chosen.keys() | set(pair)) <= SHOWN_HOSTS:
            chosen.update(dict.fromkeys(pair))
    shown = sorted(chosen, key=lambda host: (site_of[host], _order(host)))
    sites = list(dict.fromkeys(site_of[host] for host in shown))
    place = {host: _place(at, len(shown)) for at, host in enumerate(shown)}
    most = max(volume for volume, _ in edges.values())
    drawn = [
        _edge((place[giver], place[taker]), f"{giver} gave {taker} {words.volume(volume)}", volume / most, bool(moved))
        for (giver, taker), (volume, moved) in sorted(edges.items())
        if giver in place and taker in place
    ]
    for at, host in enumerate(shown):
        colour = sites.index(site_of[host]) % _COLOURS
        drawn.append(_node(host, place[host], colour, (site_of[host], totals[host]), flip=at > len(shown) // 2))
    named = "".join(f'<span><i class="key c{at % _COLOURS}"></i> {text(site)}</span>' for at, site in enumerate(sites))
    hidden = len(totals) - len(shown)
    more = f" Shown are {words.count(len(shown), 'host')}, off schedule first; {hidden:,} are not." if hidden else ""
    note = f'<p class="note keys">{named}<span><i class="key off"></i> some of it off schedule</span></p>'
    said = f'<p class="note">A line leads from giver to taker, thicker for more. Choose a host for its flows.{more}</p>'
    label = "Hosts and what they gave each other"
    image = f'<svg class="graph" viewBox="0 0 {_WIDE} {_HIGH}" role="group" aria-label="{label}">'
    arrow = (
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="5" markerHeight="5" orient="auto">'
        '<path d="M0 0L6 3L0 6z"/></marker></defs>'
    )
    return f"{image}{arrow}{''.join(drawn)}</svg>{note}{said}"


def _between(frame: pd.DataFrame, orig: str, resp: str) -> Moved:
    """Sum payload, and what of it was off schedule, from each giver to each taker."""
    there, back = frame["orig_payload_bytes"], frame["resp_payload_bytes"]
    off = frame["off_window_payload_bytes"].astype("float64") / (there + back).clip(lower=1)
    moved: Moved = {}
    for giver, taker, volume in ((orig, resp, there), (resp, orig, back)):
        gave = volume > 0  # of a flood none did
        made = pd.DataFrame({"giver": frame[giver][gave], "taker": frame[taker][gave], "volume": volume[gave]})
        made["off"] = (made["volume"] * off[gave]).round().astype("int64")
        for row in made.groupby(["giver", "taker"], observed=True)[["volume", "off"]].sum().itertuples():
            pair = (str(row[0][0]), str(row[0][1]))
            before = moved.get(pair, (0, 0))
            moved[pair] = (before[0] + int(row[1]), before[1] + int(row[2]))
    return moved


def _sites(case: Case) -> dict[str, str]:
    flows = case.flows[case.flows["orig_payload_bytes"] + case.flows["resp_payload_bytes"] > 0]
    found = dict(zip(flows["resp_ip"], flows["resp_site"].astype(str), strict=True))
    found.update(zip(flows["orig_ip"], flows["orig_site"].astype(str), strict=True))
    return found


def _order(host: str) -> tuple[int, int]:
    address = ip_address(host)
    return address.version, int(address)


def _place(at: int, count: int) -> tuple[float, float]:
    turn = 2 * math.pi * at / count - math.pi / 2
    return _WIDE / 2 + _RADIUS * math.cos(turn), _HIGH / 2 + _RADIUS * math.sin(turn)


def _edge(ends: tuple[tuple[float, float], tuple[float, float]], said: str, share: float, off: bool) -> str:  # noqa: FBT001
    (x, y), (to_x, to_y) = ends
    mid_x, mid_y = (x + to_x) / 2, (y + to_y) / 2
    # A bow towards the middle, a little to the right of the straight line: there and back are two lines.
    bow_x = mid_x + (_WIDE / 2 - mid_x) * 0.45 - (to_y - y) * 0.08
    bow_y = mid_y + (_HIGH / 2 - mid_y) * 0.45 + (to_x - x) * 0.08
    wide = 0.8 + 4.2 * math.sqrt(share)
    return (
        f'<path class="edge {"off" if off else "in"}" '
        f'd="M{x:.1f} {y:.1f}Q{bow_x:.1f} {bow_y:.1f} {to_x:.1f} {to_y:.1f}" '
        f'stroke-width="{wide:.1f}" marker-end="url(#tip)"><title>{text(said)}</title></path>'
    )


def _node(host: str, place: tuple[float, float], colour: int, facts: tuple[str, int], *, flip: bool) -> str:
    x, y = place
    turn = math.degrees(math.atan2(y - _HIGH / 2, x - _WIDE / 2)) + (180 if flip else 0)
    said = f"{host} ({facts[0]}): {words.volume(facts[1])}"
    anchor = ' text-anchor="end"' if flip else ""
    return (
        f'<g class="node" tabindex="0" role="button" data-find="{text(host)}"><title>{text(said)}</title>'
        f'<circle class="c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text x="{x + (-9 if flip else 9):.1f}" y="{y + 3.5:.1f}" '
        f'transform="rotate({turn:.1f} {x:.1f} {y:.1f})"{anchor}>{text(host)}</text></g>'
    )

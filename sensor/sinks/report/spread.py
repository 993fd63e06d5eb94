"""How contents spread: per swarm a lane for each peer, and an arrow for each flow that carried pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd

from sensor import words
from sensor.sinks.report.marks import Cell, moment, number, table, text, utc, volume

if TYPE_CHECKING:
    from sensor.schema import Case

DRAWN_SWARMS: Final = 6
DRAWN_PEERS: Final = 24
LISTED_SWARMS: Final = 200
_LEFT, _WIDE, _LANE, _TOP = 130, 900, 20, 8
_SHORT: Final = 16


@dataclass(frozen=True, slots=True)
class _Gift:
    """Pieces that one peer gave another in one flow."""

    start_ns: int
    end_ns: int
    giver: str
    taker: str
    volume: int
    pieces: int
    off: int


def spread(case: Case) -> str:
    """Return a table of swarms and a drawing of the largest; empty without a handshake.

    Raises
    ------
    nothing
    """
    known = case.flows[case.flows["swarm_hash"] != ""]
    if known.empty:
        return ""
    gifts, peers = _gifts(known), _peers(known)
    ranked = sorted(gifts, key=lambda name: (-sum(each.volume for each in gifts[name]), name))
    ledger = _ledger(case)
    rows = [[*_row(name, gifts[name], peers[name]), *_counted(ledger.get(name))] for name in ranked[:LISTED_SWARMS]]
    head = ["swarm", "peers", "first seeder", "first piece (UTC)", "last piece (UTC)", "pieces"]
    head += ["piece bytes", "off schedule", "given again", "crossed sites again"]
    left = len(ranked) - len(rows)
    listed = table("swarms", head, rows, f"and {words.count(left, 'swarm')} with less" if left else "")
    drawn = "".join(_drawing(name, gifts[name]) for name in ranked[:DRAWN_SWARMS] if gifts[name])
    return f"{listed}{drawn}"


def _gifts(flows: pd.DataFrame) -> dict[str, list[_Gift]]:
    """Return by swarm what was given, in time; a swarm without a piece has none."""
    found: dict[str, list[_Gift]] = {str(name): [] for name in flows["swarm_hash"].unique()}
    payload = (flows["orig_payload_bytes"] + flows["resp_payload_bytes"]).clip(lower=1)
    share = flows["off_window_payload_bytes"] / payload
    for giver, taker in (("orig", "resp"), ("resp", "orig")):
        names = ["start_ns", "end_ns", f"{giver}_ip", f"{taker}_ip", f"{giver}_piece_bytes", f"{giver}_pieces"]
        part = flows[["swarm_hash", *names]].assign(off=(flows[f"{giver}_piece_bytes"] * share).round().astype("int64"))
        for name, *facts in part[part[f"{giver}_pieces"] > 0].itertuples(index=False, name=None):
            found[str(name)].append(_Gift(*facts))
    for gifts in found.values():
        gifts.sort(key=lambda each: (each.start_ns, each.giver, each.taker))
    return found


def _peers(flows: pd.DataFrame) -> dict[str, int]:
    """Return by swarm how many hosts shook hands in it."""
    sides = [
        flows.loc[flows[f"{side}_peer_id"] != "", ["swarm_hash", f"{side}_ip"]].set_axis(["swarm", "ip"], axis=1)
        for side in ("orig", "resp")
    ]
    counts = pd.concat(sides).groupby("swarm")["ip"].nunique()
    return {str(name): int(counts.get(name, 0)) for name in flows["swarm_hash"].unique()}


def _row(name: str, gifts: list[_Gift], peers: int) -> list[Cell | str]:
    facts: list[Cell | str] = [Cell(name[:_SHORT] + "…", name, "mono"), number(peers)]
    if not gifts:
        return [*facts, Cell("-", "", "none"), *(Cell("-", 0, "none") for _ in range(5))]
    return [
        *facts,
        gifts[0].giver,
        moment(gifts[0].start_ns),
        moment(max(each.end_ns for each in gifts)),
        number(sum(each.pieces for each in gifts)),
        volume(sum(each.volume for each in gifts)),
        volume(sum(each.off for each in gifts), bad=True),
    ]


def _ledger(case: Case) -> dict[str, tuple[int, int]]:
    """Return by swarm the bytes that a receiver had before, and the pieces that had crossed between sites before."""
    if case.swarm_edges is None or case.swarm_edges.empty:
        return {}
    sums = case.swarm_edges.groupby("swarm_hash", observed=True)[["duplicate_bytes", "crossed_again"]].sum()
    return {str(name): (int(again), int(crossed)) for name, again, crossed in sums.itertuples(name=None)}


def _counted(counts: tuple[int, int] | None) -> list[Cell | str]:
    if counts is None:
        return [Cell("-", 0, "none"), Cell("-", 0, "none")]
    return [volume(counts[0]), number(counts[1])]


def _drawing(name: str, gifts: list[_Gift]) -> str:
    lanes = list(dict.fromkeys(host for each in gifts for host in (each.giver, each.taker)))
    shown = lanes[:DRAWN_PEERS]
    first_ns, last_ns = gifts[0].start_ns, max(each.end_ns for each in gifts)
    span = max(last_ns - first_ns, 1)
    y_of = {host: _TOP + at * _LANE + _LANE / 2 for at, host in enumerate(shown)}
    height = _TOP + len(shown) * _LANE + 20
    drawn = []
    for at, host in enumerate(shown):
        seeder = " ★" if at == 0 else ""
        drawn.append(f'<text x="0" y="{y_of[host] + 4:g}">{text(host[:20])}{seeder}</text>')
        drawn.append(f'<line class="grid" x1="{_LEFT}" y1="{y_of[host]:g}" x2="{_LEFT + _WIDE}" y2="{y_of[host]:g}"/>')
    seen = [each for each in gifts if each.giver in y_of and each.taker in y_of]
    drawn += [_arrow(each, (y_of[each.giver], y_of[each.taker]), (first_ns, span)) for each in seen]
    drawn.append(f'<text x="{_LEFT}" y="{height - 3}">{utc(first_ns)}</text>')
    drawn.append(f'<text class="end" x="{_LEFT + _WIDE}" y="{height - 3}">{utc(last_ns)}</text>')
    hidden = len(lanes) - len(shown)
    said = f"swarm {name[:_SHORT]}…: {words.count(len(lanes), 'peer')}, first seeder {lanes[0]}"
    said += f"; {words.count(hidden, 'peer')} not drawn" if hidden else ""
    return (
        f'<figure><figcaption>{text(said)}</figcaption><div class="wide"><svg class="spread" viewBox="0 0 '
        f'{_LEFT + _WIDE + 4} {height}" role="img" aria-label="{text(said)}">{"".join(drawn)}</svg></div></figure>'
    )


def _arrow(gift: _Gift, lanes: tuple[float, float], time: tuple[int, int]) -> str:
    first_ns, span = time
    x, to_x = (_LEFT + 6 + (at - first_ns) / span * (_WIDE - 12) for at in (gift.start_ns, gift.end_ns))
    y, to_y = lanes
    said = f"{utc(gift.start_ns)}: {gift.giver} gave {gift.taker} {words.count(gift.pieces, 'piece')}, "
    said += words.volume(gift.volume) + (f", {words.volume(gift.off)} of it off schedule" if gift.off else "")
    # Short flows would be upright and thin: they lean a little, so that what is behind them can be told.
    end = max(to_x, x + 4)
    return (
        f'<g class="gift {"off" if gift.off else "in"}"><title>{text(said)}</title>'
        f'<line x1="{x:.1f}" y1="{y:g}" x2="{end:.1f}" y2="{to_y:g}" marker-end="url(#tip)"/>'
        f'<circle cx="{x:.1f}" cy="{y:g}" r="3"/></g>'
    )

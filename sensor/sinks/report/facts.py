"""What was tried, what was spoken, where it lay, and how well the capture saw it: tables and bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sensor import words
from sensor.policy import UNKNOWN_SITE
from sensor.schema import SCHEDULES, VERDICTS, WEIRDS
from sensor.sinks.report.marks import OFF, Cell, moment, number, table, text, volume

if TYPE_CHECKING:
    import numpy.typing as npt

    from sensor.schema import Case

SHOWN_SCANS: Final = 200
SHOWN_SITES: Final = 12
_MANY: Final = 10_000  # hosts
_EXPECTED: Final = ("do", "too_little")


def off_by_site(case: Case) -> str:
    """Return bars of payload off schedule, the most first.

    Raises
    ------
    nothing
    """
    moved = {site: volume for site, volume in case.off_window_payload_bytes.items() if volume}
    if not moved:
        return '<p class="calm">No payload off schedule.</p>'
    ranked = sorted(moved, key=lambda site: (-moved[site], site))
    most = moved[ranked[0]]
    rows = [_bar(site, moved[site], most, "off") for site in ranked[:SHOWN_SITES]]
    hidden = len(ranked) - len(rows)
    more = f'<p class="note">and {words.count(hidden, "site")} with less</p>' if hidden > 0 else ""
    return f'<dl class="bars">{"".join(rows)}</dl>{more}'


def _bar(name: str, amount: int, most: int, kind: str, said: str = "") -> str:
    wide = max(1.0, 100 * amount / most) if most else 0.0
    bar = f'<rect class="{kind}" width="{wide:.1f}" height="8"/>'
    drawn = f'<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{bar}</svg>'
    return f"<dt>{text(name)}</dt><dd>{drawn}<span>{text(said or words.volume(amount))}</span></dd>"


def sites(case: Case) -> str:
    """Return payload by site and state of the schedule."""
    moved = case.activity.groupby(["site", "schedule"], observed=True)["payload_bytes"].sum()
    peering = {site.name: (site.peering, site.timezone) for site in case.policy.sites}
    flows = case.activity.groupby("site", observed=True)["flow"].nunique()
    names = [name for name in (*peering, UNKNOWN_SITE) if name in flows.index]
    states = [state for state in SCHEDULES if state in moved.index.get_level_values("schedule")]
    rows: list[list[Cell | str]] = []
    for name in names:
        volumes = [volume(int(moved.get((name, state), 0)), bad=state in OFF) for state in states]
        rows.append([name, *peering.get(name, ("-", "-")), number(int(flows[name])), *volumes])
    return table("sites", ["site", "peering", "time zone", "flows", *states], rows) if rows else ""


def scans(case: Case) -> str:
    """Return who tried without moving anything, the widest first; empty if nobody did.

    Raises
    ------
    nothing
    """
    flows = case.flows
    tried = flows[(flows["orig_payload_bytes"] + flows["resp_payload_bytes"] == 0) & ~flows["role_guessed"]]
    if tried.empty:
        return ""
    refused = tried["conn_state"].isin(["REJ", "RSTOS0", "RSTRH"])
    silent = tried["resp_packets"] == 0
    made = tried.assign(silent=silent & ~refused, refused=refused, answered=~silent & ~refused)
    sums = made[_widest(made)].groupby("orig_ip", observed=True).agg(
        site=("orig_site", "first"), hosts=("resp_ip", "nunique"), tries=("flow", "size"), silent=("silent", "sum"),
        refused=("refused", "sum"), answered=("answered", "sum"), first=("start_ns", "min"), last=("end_ns", "max"),
    )  # fmt: skip
    accused: dict[str, list[str]] = {}
    for each in case.incidents:
        if (host := str(each.subject.get("orig_ip", ""))) and each.rule not in accused.setdefault(host, []):
            accused[host].append(each.rule)
    rows: list[list[Cell | str]] = []
    order = {"hosts": False, "tries": False, "orig_ip": True}
    ranked = sums.reset_index().sort_values(list(order), ascending=list(order.values()), kind="stable")
    top: list[tuple[Any, ...]] = list(ranked.head(SHOWN_SCANS).itertuples(index=False, name=None))
    for host, site, *counts, first, last in top:
        rules = ", ".join(accused.get(str(host), ()))
        said = Cell(rules or "-", rules, "bad" if rules else "none")
        rows.append([str(host), str(site), *map(number, counts), moment(first), moment(last), said])
    head = ["from", "site", "hosts tried", "flows", "silent", "refused", "answered"]
    head += ["first (UTC)", "last (UTC)", "incidents"]
    left = made["orig_ip"].nunique() - len(rows)
    return table("scans", head, rows, f"and {words.count(left, 'host')} with fewer" if left else "")


def _widest(tried: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which rows are of the hosts to be shown, and of few others: a flood has a million of them."""
    host, hosts = pd.factorize(tried["orig_ip"])
    if len(hosts) <= max(_MANY, SHOWN_SCANS):
        return np.ones(len(tried), np.bool_)
    asked, many = pd.factorize(tried["resp_ip"])
    pairs = np.sort(host * len(many) + asked)
    distinct = pairs[np.append(np.True_, pairs[1:] != pairs[:-1])] // len(many)
    reach = np.bincount(distinct, minlength=len(hosts)) * (len(tried) + 1) + np.bincount(host, minlength=len(hosts))
    least = np.partition(reach, -SHOWN_SCANS)[-SHOWN_SCANS]
    chosen = reach > least
    even = np.flatnonzero(reach == least)  # of those that did as much, the first by address are shown
    chosen[even[pc.bottom_k_unstable(pa.array(hosts[even]), SHOWN_SCANS).to_numpy()]] = True
    return np.asarray(chosen[host])


def protocols(case: Case) -> str:
    """Return what the flows speak; longer bars are more flows, on a logarithmic scale."""
    payload = case.flows["orig_payload_bytes"] + case.flows["resp_payload_bytes"]
    moved = payload.groupby(case.flows["verdict"], observed=True).sum()
    numbers = case.flows["verdict"].value_counts()
    present = [verdict for verdict in VERDICTS if verdict in moved.index and numbers[verdict]]
    most = round(100 * math.log1p(max((int(numbers[verdict]) for verdict in present), default=1)))
    bars = []
    for verdict in sorted(present, key=lambda verdict: (-int(numbers[verdict]), verdict)):
        said = f"{words.count(int(numbers[verdict]), 'flow')}, {words.volume(int(moved[verdict]))}"
        kind = "in" if verdict in _EXPECTED else "off"
        bars.append(_bar(verdict, round(100 * math.log1p(int(numbers[verdict]))), most, kind, said))
    return f'<dl class="bars wider">{"".join(bars)}</dl>' if bars else ""


def health(case: Case) -> str:
    """Return how well the capture saw what there was, and what of the inputs was damaged."""
    flows = case.flows
    gaps = int(flows["orig_gap_bytes"].sum() + flows["resp_gap_bytes"].sum())
    two_sided = flows[flows["orig_packets"] + flows["resp_packets"] > 1]
    one_sided = (two_sided["orig_packets"] == 0) | (two_sided["resp_packets"] == 0)
    half = int((one_sided & (two_sided["conn_state"] != "S0")).sum())
    backwards = case.weird.get("time_backwards", 0)
    payload = case.payload_bytes
    lost = f" ({gaps / (payload + gaps):.2%} of the payload)" if gaps else ""
    rows: list[list[Cell | str]] = [
        ["packets dropped before the capture", number(sum(each.drops for each in case.inputs), bad=True)],
        ["acknowledged but never seen (gaps)", Cell(words.volume(gaps) + lost, gaps, "bad" if gaps else "none")],
        ["flows seen from one side only", number(half, bad=True)],
        ["flows whose roles were guessed (no SYN)", number(int(flows["role_guessed"].sum()))],
        ["payload sent again", volume(int(flows["retransmitted_bytes"].sum()))],
        ["duplicate packets (double mirror)", number(int(flows["duplicate_packets"].sum()))],
        ["packets older than their flow (clock, order)", number(backwards, bad=True)],
    ]
    rows += [[kind.replace("_", " "), number(case.weird[kind])] for kind in WEIRDS if case.weird.get(kind)]
    damaged: list[list[Cell | str]] = [
        [each.name, Cell(each.damage, mark="bad")] for each in case.inputs if each.damage
    ]
    hurt = f"<h3>Damaged inputs</h3>{table('damaged', ['input', 'what'], damaged)}" if damaged else ""
    return table("health", ["what", "how much"], rows) + hurt


def span(case: Case) -> str:
    """Return when the capture was made."""
    return words.span(case.first_packet_ns, case.last_packet_ns) if case.packets else "no packets"


def top_flows(flows: pd.DataFrame, named: set[int], most: int) -> pd.DataFrame:
    """Return the flows worth a row: those that incidents name, then those with most payload, in time."""
    payload = flows["orig_payload_bytes"] + flows["resp_payload_bytes"]
    ranked = flows.assign(named=flows["flow"].isin(sorted(named)), moved=payload)
    order = {"named": False, "moved": False, "start_ns": True, "flow": True}
    ranked = ranked.sort_values(list(order), ascending=list(order.values()), kind="stable")
    return ranked.head(most).sort_values(["start_ns", "flow"], kind="stable")

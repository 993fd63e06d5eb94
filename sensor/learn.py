"""A policy proposed from a case: sites, windows and peers as they were seen, each with the traffic that speaks for it.

It describes what is, not what should be; whoever takes it over decides. Subnets that gave each other updates become one
site, and the hours in which they did become its windows. What a policy cannot excuse, such as a scan, stays a finding.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pandas as pd

from sensor import words
from sensor.intervals import WEEKDAYS, write_interval
from sensor.policy import TimeInterval
from sensor.settings import load_policy
from sensor.whatif import read, rejudge

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.rules.ruleset import RuleSet

_NS: Final = 1_000_000_000
_PREFIX: Final = {4: 24, 6: 64}  # a subnet, where nobody has said otherwise
_WEEK_HOURS: Final = 168
_GIVEN: Final = ("orig_ip", "resp_ip", "window_start_ns", "payload_bytes", "flow")


def propose(activity: pd.DataFrame, timezone: str) -> str:
    """Return a policy as YAML with the evidence for each line, from the activity of a case.

    Parameters
    ----------
    activity
        Columns of ActivityFrame and JudgedFrame.
    timezone
        Of all sites: the case does not know where they are.

    Raises
    ------
    nothing
    """
    inside = activity[activity["orig_local"] & activity["resp_local"]]
    updates = inside[(inside["verdict"] == "do") & (inside["payload_bytes"] > 0)][list(_GIVEN)]
    groups = _grouped(inside, updates)
    begin = pd.Timestamp(int(activity["window_start_ns"].min()), unit="ns") if len(activity) else "nothing"
    end = pd.Timestamp(int(activity["window_start_ns"].max()), unit="ns") if len(activity) else "nothing"
    lines = [
        f"# Proposed from what was seen from {begin} to {end} UTC. It says what is, not what",
        "# should be: read it, correct names and time zones, and delete what you do not want.",
        "version: 1",
        "",
    ]
    sites, windows = [], []
    for at, subnets in enumerate(groups, 1):
        mine = updates[_within(updates, subnets)]
        name = f"site-{at}"
        hosts = len({*mine["orig_ip"], *mine["resp_ip"]})
        told = f"{words.count(hosts, 'host')}, {words.count(mine['flow'].nunique(), 'flow')}"
        told += f", {words.volume(int(mine['payload_bytes'].sum()))} of update data"
        if not len(mine):
            sites += _site(name, subnets, timezone, f"no update data was seen here; {told}", ["peering: allowed"])
            continue
        hours = _hours(mine, timezone)
        if len(hours) == _WEEK_HOURS:
            sites += _site(name, subnets, timezone, f"{told}, at every hour of the week", ["peering: allowed"])
            continue
        windows += [f"  - name: {name}-hours    # {words.count(len(hours), 'hour')} of the week in which data moved"]
        windows += ["    time_intervals:", *(f"      - {write_interval(one)}" for one in _intervals(hours))]
        more = ["peering: scheduled", f"update_windows: [{name}-hours]", "grace: {before: 0m, after: 15m}"]
        sites += _site(name, subnets, timezone, told, more)
    lines += ["time_intervals:", *windows, ""] if windows else []
    lines += ["sites:", *sites, ""] if sites else ["sites:", "  - {name: nowhere, subnets: [192.0.2.0/24]}", ""]
    local = sorted({_subnet(ip) for ip in _local(activity)}, key=_order)
    lines += ["capture:", f"  local: [{', '.join(local) or '192.0.2.0/24'}]    # what the case took for its own"]
    return "\n".join(lines) + "\n"


def learn(folder: Path, out: Path, timezone: str, ruleset: RuleSet) -> list[str]:
    """Write the policy that a case proposes, and return what would still be found under it, a line each.

    Raises
    ------
    OperatorError
        If the folder is no case.
    """
    stored = read(folder)
    out.write_text(propose(stored.activity, timezone), encoding="utf-8")
    left = rejudge(stored, load_policy(out), ruleset)
    return [f"{incident.level} {incident.rule}: {incident.reason}" for incident in left]


def _site(name: str, subnets: list[str], timezone: str, told: str, more: list[str]) -> list[str]:
    head = [f"  - name: {name}    # {told}", f"    subnets: [{', '.join(subnets)}]", f"    timezone: {timezone}"]
    return [*head, *(f"    {line}" for line in more), "    peers: same_site"]


def _grouped(inside: pd.DataFrame, updates: pd.DataFrame) -> list[list[str]]:
    """Return the subnets in groups: those that gave each other updates are together."""
    head: dict[str, str] = {}

    def find(one: str) -> str:
        while head[one] != one:
            one = head[one]
        return one

    for ip in sorted({*inside["orig_ip"], *inside["resp_ip"]}):
        head.setdefault(_subnet(ip), _subnet(ip))
    for orig, resp in sorted({*zip(updates["orig_ip"], updates["resp_ip"], strict=True)}):
        one, other = sorted((find(_subnet(orig)), find(_subnet(resp))), key=_order)
        head[other] = one
    groups: dict[str, list[str]] = defaultdict(list)
    for subnet in sorted(head, key=_order):
        groups[find(subnet)].append(subnet)
    return [groups[first] for first in sorted(groups, key=_order)]


def _hours(rows: pd.DataFrame, timezone: str) -> list[int]:
    """Return the hours of the local week, from Sunday 0:00 on, in which rows lie."""
    zone = ZoneInfo(timezone)
    found = set()
    for hour in sorted({int(ns) // (3600 * _NS) for ns in rows["window_start_ns"].unique()}):
        for minute in (0, 59):  # a zone may be half an hour off
            local = datetime.fromtimestamp(hour * 3600 + minute * 60, tz=UTC).astimezone(zone)
            found.add((local.weekday() + 1) % 7 * 24 + local.hour)
    return sorted(found)


def _intervals(hours: list[int]) -> list[TimeInterval]:
    """Write hours of the week as intervals; weekdays with the same hours share one."""
    by_day: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for day in range(len(WEEKDAYS)):
        mine = tuple(hour % 24 for hour in hours if hour // 24 == day)
        if mine:
            by_day[mine].append(day)
    return [
        TimeInterval(
            times=tuple((60 * first, 60 * last + 60) for first, last in _runs(list(mine))), weekdays=tuple(_runs(days))
        )
        for mine, days in by_day.items()
    ]


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return runs of consecutive numbers as (first, last)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _subnet(ip: str) -> str:
    version = ip_address(ip).version
    return str(ip_network(f"{ip}/{_PREFIX[version]}", strict=False))


def _order(subnet: str) -> tuple[int, int]:
    network = ip_network(subnet)
    return network.version, int(network.network_address)


def _within(rows: pd.DataFrame, subnets: list[str]) -> pd.Series[bool]:
    known = {ip: _subnet(ip) in subnets for ip in {*rows["orig_ip"]}}
    return rows["orig_ip"].map(known).astype("bool")


def _local(activity: pd.DataFrame) -> set[str]:
    return {*activity["orig_ip"][activity["orig_local"]], *activity["resp_ip"][activity["resp_local"]]}

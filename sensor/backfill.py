"""A case as OpenMetrics with the times of its capture, so that Prometheus and Grafana show it as if they had watched.

The numbers are counted by the same tallies that the live sensor uses, fed window by window; so a panel says the same of
a capture that was watched and of one that was analyzed later. Only what a case holds is told: nothing about interfaces,
sinks and reloads, and no findings, of which a case has the sums alone.
"""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import pandas as pd

from sensor.catalogue import CATALOGUE, Metric
from sensor.errors import Exit, Mistake, OperatorError
from sensor.outfile import outfile
from sensor.policy import UNKNOWN_SITE, Policy, Site
from sensor.schedule import NEVER_NS, Schedules
from sensor.schema import FindingFrame
from sensor.settings import load_policy
from sensor.sinks.metrics import Tallies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NS: Final = 1_000_000_000
_LEAST_S: Final = 15
_MOST_S: Final = 240  # Prometheus takes a series as gone after five minutes without a sample
_STEPS: Final = 2000
_JOB: Final = "swarmtap-case"
_OF_SENSOR: Final = (
    "swarmtap_capture_",
    "swarmtap_sink_",
    "swarmtap_config_",
    "swarmtap_flow_table_",
    "swarmtap_weird_",
)
_OF_FINDINGS: Final = "swarmtap_findings_total"
_OPENNESS: Final = ("open", "allowed")

_LABELS: Final = {each.name: each.labels for each in CATALOGUE}

_Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """How a case is told: the instance it appears as, and seconds of capture time per sample (0: by its length)."""

    instance: str
    step_s: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """What a case holds over time."""

    activity: pd.DataFrame
    flows: pd.DataFrame
    incidents: tuple[dict[str, Any], ...]


def run(folder: Path, policy: Path | None, out: Path | None, options: BackfillOptions) -> int:
    """Read a case, find its policy, and write it as OpenMetrics; return the exit code.

    Raises
    ------
    OperatorError
        If the case cannot be read, the policy has a mistake, or the file cannot be written.
    """
    story = read(folder)
    judge = _policy(folder, policy)
    if out is None:
        write(story, judge, options, sys.stdout)
        return Exit.DONE
    with outfile(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        samples = write(story, judge, options, text)
        text.detach()
    sys.stderr.write(f"swarmtap: {samples:,} samples as job {_JOB}, instance {options.instance}\n")
    return Exit.DONE


def _policy(folder: Path, stated: Path | None) -> Policy | None:
    """Return the policy whose schedules are told: the one stated, else the one that judged, if it still is the same."""
    if stated is not None:
        return load_policy(stated)
    source, digest = policy_source(folder)
    if not source:
        return load_policy(None)
    try:
        found = load_policy(Path(source))
    except OperatorError:
        found = None
    if found is None or found.sha256 != digest:
        sys.stderr.write(f"swarmtap: {source} is not the policy of this case any more: no schedule; name it with -p\n")
        return None
    return found


def read(folder: Path) -> Story:
    """Return what a case folder holds.

    Raises
    ------
    OperatorError
        If it is no case, or cannot be read.
    """
    try:
        activity = pd.read_parquet(folder / "activity.parquet")
        flows = pd.read_parquet(folder / "flows.parquet")
        incidents = json.loads((folder / "incidents.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else "is not a case"
        raise OperatorError(Mistake(str(folder), told, "name a folder that `analyze -o` wrote")) from error
    return Story(_joined(activity, flows), flows.assign(site=_site(flows)), tuple(incidents))


def policy_source(folder: Path) -> tuple[str, str]:
    """Return the file of the policy that judged a case ("" for the built-in one), and its SHA-256.

    Raises
    ------
    OperatorError
        If the folder has no manifest.
    """
    try:
        stated = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["policy"]
    except (OSError, ValueError, KeyError) as error:
        raise OperatorError(Mistake(str(folder), "has no manifest", "name a folder that `analyze -o` wrote")) from error
    return "" if stated["source"] == "built-in" else str(stated["source"]), str(stated["sha256"])


def write(story: Story, policy: Policy | None, options: BackfillOptions, out: TextIO) -> int:
    """Write a case as OpenMetrics, and return how many samples that are.

    Parameters
    ----------
    policy
        The policy whose schedules are told; None if it is not at hand: then no schedule is.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    told = policy or Policy(sites=tuple(Site(name, ()) for name in _sites(story)))
    times, changes = _played(story, told, with_schedule=policy is not None, step_s=options.step_s)
    written = 0
    for metric in CATALOGUE:
        rows = {key: points for key, points in changes.items() if key[0] == metric.name and _matters(metric, points)}
        if not rows:
            continue
        out.write(f"# HELP {metric.name.removesuffix('_total')} {metric.help}\n")
        out.write(f"# TYPE {metric.name.removesuffix('_total')} {metric.kind}\n")
        for key, points in rows.items():
            head = _head(key, options.instance)
            for at, value in _expanded(points, len(times)):
                out.write(f"{head} {value} {times[at]}\n")
                written += 1
    out.write("# EOF\n")
    return written


def _played(
    story: Story, policy: Policy, *, with_schedule: bool, step_s: int
) -> tuple[list[int], dict[_Key, list[tuple[int, float | None]]]]:
    """Return the times of samples, and for each series the samples at which its value changed (None: it is gone)."""
    rows, flows = story.activity, story.flows
    if rows.empty:
        return [], {}
    ends = rows["window_start_ns"] + rows["window_s"].astype("int64") * _NS
    first, last = int(rows["window_start_ns"].min()), int(max(ends.max(), flows["end_ns"].max()))
    step_ns = (step_s or _step_s(last - first)) * _NS
    times = list(range(first // step_ns * step_ns, last + 2 * step_ns, step_ns))
    of_rows = ((ends - times[0] + step_ns - 1) // step_ns).to_numpy()
    of_flows = ((flows["end_ns"] - times[0] + step_ns - 1) // step_ns).to_numpy()
    groups = {int(str(at)): part for at, part in rows.groupby(of_rows)}
    ended = {int(str(at)): part for at, part in flows.groupby(of_flows)}
    busy = groups.keys() | ended.keys()
    tallies = Tallies(policy, {})
    schedules = Schedules(policy, times[0], times[-1])
    nothing = pd.DataFrame({name: [] for name in FindingFrame.names()})
    changes: dict[_Key, list[tuple[int, float | None]]] = {}
    before: dict[_Key, float] = {}
    for at, now_ns in enumerate(times):
        if at in busy or at - 1 in busy:  # after the last row, gauges of what is active go back to 0
            tallies.add(groups.get(at, rows.iloc[:0]), ended.get(at, flows.iloc[:0]), nothing)
        tallies.set_incidents(_open_at(story.incidents, now_ns - step_ns, now_ns))
        for state in schedules.states(now_ns) if with_schedule else ():
            until = None if state.next_ns == NEVER_NS else state.next_ns
            tallies.set_schedule(state.site, is_open=state.schedule in _OPENNESS, next_change_ns=until)
        now = _values(tallies, with_schedule=with_schedule)
        for key in before.keys() - now.keys():
            changes[key].append((at, None))
        for key, value in now.items():
            if before.get(key) != value:
                changes.setdefault(key, []).append((at, value))
        before = now
    return [now_ns // _NS for now_ns in times], changes


def _values(tallies: Tallies, *, with_schedule: bool) -> dict[_Key, float]:
    left_out = (*_OF_SENSOR, _OF_FINDINGS) if with_schedule else (*_OF_SENSOR, _OF_FINDINGS, "swarmtap_schedule_")
    return {key: value for key, value in tallies.numbers().items() if not key[0].startswith(left_out)}


def _matters(metric: Metric, points: Sequence[tuple[int, float | None]]) -> bool:
    """Say whether a series ever moves; those that say something by being 0 always do."""
    return metric.name.startswith("swarmtap_schedule_open") or any(value for _, value in points)


def _expanded(points: Sequence[tuple[int, float | None]], size: int) -> Iterator[tuple[int, str]]:
    for (start, value), (end, _) in zip(points, [*points[1:], (size, None)], strict=True):
        if value is not None:
            told = str(int(value)) if value == int(value) else repr(value)
            for at in range(start, end):
                yield at, told


def _head(key: _Key, instance: str) -> str:
    name, values = key
    told = (("job", _JOB), ("instance", instance), *zip(_LABELS[name], values, strict=True))
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in told)
    return f"{name}{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _open_at(incidents: Sequence[dict[str, Any]], since_ns: int, now_ns: int) -> Counter[tuple[str, str]]:
    """Return how many incidents had packets between two instants or around them, by site and level."""
    return Counter(
        (each["site"], each["level"])
        for each in incidents
        if each["first_seen_ns"] <= now_ns and each["last_seen_ns"] > since_ns
    )


def _step_s(length_ns: int) -> int:
    wanted = -(-length_ns // (_STEPS * _NS))
    return min(max(-(-wanted // _LEAST_S) * _LEAST_S, _LEAST_S), _MOST_S)


def _sites(story: Story) -> list[str]:
    named = [story.activity[f"{side}_site"].astype(str) for side in ("orig", "resp")]
    return [name for name in dict.fromkeys(pd.concat(named).sort_values()) if name != UNKNOWN_SITE]


def _joined(activity: pd.DataFrame, flows: pd.DataFrame) -> pd.DataFrame:
    """Return activity with the columns that the file leaves out: its site, and the addresses of its flow."""
    addresses = flows[["community_id", "start_ns", "orig_ip", "resp_ip"]].drop_duplicates(["community_id", "start_ns"])
    rows = activity.merge(
        addresses, how="left", left_on=["community_id", "flow_start_ns"], right_on=["community_id", "start_ns"]
    )
    return rows.assign(site=_site(rows), flow=range(len(rows)))


def _site(rows: pd.DataFrame) -> pd.Series[str]:
    """Return the site that rows are reported for: the originator's, else the responder's."""
    orig = rows["orig_site"].astype(str)
    return orig.where(orig != UNKNOWN_SITE, rows["resp_site"].astype(str))

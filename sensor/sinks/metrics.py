"""The sensor's numbers for Prometheus: tallies fed by the pipeline, and pages that only read them.

Every label set that policy and rules make known exists at 0 from the start: `increase()` does not see a counter that
first appears with a value. `catalogue.py` says what each metric is.
"""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from sensor import __version__
from sensor.catalogue import CATALOGUE, LABELS, MOST_PAIRS, Metric
from sensor.columns import choose
from sensor.exposition import Counted, Exemplar, page
from sensor.offenders import Offenders
from sensor.policy import UNKNOWN_SITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

    from sensor.policy import Policy

_NS: Final = 1_000_000_000
_PAIRS: Final = "swarmtap_site_pair_payload_bytes_total"
_OTHERS: Final = ("other", "other")
_FINDINGS: Final = "swarmtap_findings_total"
_HANDSHAKES: Final = ("none", "one", "both")  # by how many sides greeted
_OPENMETRICS: Final = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class Capture:
    """What one interface has seen since the start; counters only grow."""

    packets: int = 0
    bytes: int = 0
    kernel_drops: int = 0
    ring_freezes: int = 0
    ring_utilization_ratio: float = 0.0
    lag_s: float = 0.0
    last_packet_ns: int | None = None
    up: bool = False
    link_packets: int = 0
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one sink has done since the start; counters only grow."""

    deliveries: int = 0
    failures: int = 0
    drops: int = 0
    queue_length: int = 0


class Tallies:
    """Counts what the pipeline hands it, push by push; one thread may add while another reads.

    Parameters
    ----------
    policy
        Its sites are the label sets that exist from the start.
    rules
        Each loaded rule's name and level.
    interfaces, sinks
        Names of what is captured and of what is delivered to.
    """

    def __init__(
        self,
        policy: Policy,
        rules: Mapping[str, str],
        interfaces: Iterable[str] = (),
        sinks: Iterable[str] = (),
    ) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, ...], float]] = {each.name: {} for each in CATALOGUE}
        self._histograms: dict[str, dict[tuple[str, ...], npt.NDArray[np.float64]]] = {
            each.name: {} for each in CATALOGUE if each.buckets
        }
        self._scheduled: set[str] = set()  # sites whose schedule has been stated, so that the first is no transition
        self._exemplars: dict[tuple[str, ...], Exemplar] = {}
        self._offenders = Offenders(0)
        self._domains = {label: values for label, (values, _) in LABELS.items()}
        self._domains |= {"interface": tuple(interfaces), "sink": tuple(sinks)}
        self._values["swarmtap_build_info"] = {(__version__, platform.python_version()): 1}
        self.adopt(policy, rules)

    def name_offenders(self, most: int) -> None:
        """Name, from now on, the addresses that take most payload off schedule: so many of them, or none.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._offenders = Offenders(most)

    def adopt(self, policy: Policy, rules: Mapping[str, str]) -> None:
        """Make what a policy and its rules name exist at 0; what is already counted stays, as counters must.

        Raises
        ------
        nothing
        """
        with self._lock:
            sites = (*(site.name for site in policy.sites), UNKNOWN_SITE)
            self._domains |= {"site": sites, "rule": tuple(rules)}
            for metric in (each for each in CATALOGUE if each.starts):
                for labels in self._known(metric, rules):
                    if metric.buckets:
                        self._histograms[metric.name].setdefault(labels, np.zeros(len(metric.buckets) + 2))
                    else:
                        self._values[metric.name].setdefault(labels, 0)
            self._values["swarmtap_site_info"] = {
                (site.name, site.peering, site.timezone): 1 for site in policy.sites
            }  # gauges of sites that went away would claim that they still are
            for name in ("swarmtap_schedule_open", "swarmtap_schedule_next_change_timestamp_seconds"):
                self._values[name] = {key: value for key, value in self._values[name].items() if key[0] in sites}

    def add(self, activity: pd.DataFrame, flows: pd.DataFrame, findings: pd.DataFrame) -> None:
        """Count one push: judged activity, flows that ended, and findings; an empty push means a quiet window.

        Parameters
        ----------
        activity
            Columns of ActivityFrame and JudgedFrame.
        flows
            Columns of FlowFrame and JudgedFlowFrame.
        findings
            Columns of FindingFrame; their flows are among those of `activity`, for exemplars.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._add_activity(activity)
            self._set_active(activity)
            self._offenders.add(activity)
            if len(flows):
                self._add_flows(flows)
            self._add_findings(findings, activity)

    def set_schedule(self, site: str, *, is_open: bool, next_change_ns: int | None) -> None:
        """State whether a site may peer now, and when that changes (None: never).

        Raises
        ------
        nothing
        """
        with self._lock:
            key = (site,)
            before = self._values["swarmtap_schedule_open"].get(key)
            if site in self._scheduled and before != is_open:
                self._bump("swarmtap_schedule_transitions_total", (site, "open" if is_open else "closed"), 1)
            self._scheduled.add(site)
            self._values["swarmtap_schedule_open"][key] = int(is_open)
            self._set_time("swarmtap_schedule_next_change_timestamp_seconds", key, next_change_ns)

    def set_capture(self, interface: str, seen: Capture) -> None:
        """State what an interface has seen since the start.

        Raises
        ------
        nothing
        """
        with self._lock:
            for name in ("packets", "bytes", "kernel_drops", "ring_freezes", "link_packets"):
                self._values[f"swarmtap_capture_{name}_total"][interface,] = getattr(seen, name)
            self._values["swarmtap_capture_ring_utilization_ratio"][interface,] = seen.ring_utilization_ratio
            self._values["swarmtap_capture_lag_seconds"][interface,] = seen.lag_s
            self._values["swarmtap_capture_up"][interface,] = int(seen.up)
            self._values["swarmtap_capture_silent"][interface,] = int(seen.silent)
            self._set_time("swarmtap_capture_last_packet_timestamp_seconds", (interface,), seen.last_packet_ns)

    def set_sink(self, sink: str, done: Delivery) -> None:
        """State what a sink has done since the start.

        Raises
        ------
        nothing
        """
        with self._lock:
            for field in fields(done):
                suffix = "" if field.name == "queue_length" else "_total"
                self._values[f"swarmtap_sink_{field.name}{suffix}"][sink,] = getattr(done, field.name)

    def set_flow_table(self, *, entries: int, capacity: int, evictions: int) -> None:
        """State how full the flow table is, and how often it was too full since the start.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._values["swarmtap_flow_table_entries"][()] = entries
            self._values["swarmtap_flow_table_capacity"][()] = capacity
            self._values["swarmtap_flow_table_evictions_total"][()] = evictions

    def set_weird(self, seen: Mapping[str, int]) -> None:
        """State how many oddities of each kind were seen since the start.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._values["swarmtap_weird_total"].update({(kind,): number for kind, number in seen.items()})

    def set_incidents(self, active: Mapping[tuple[str, str], int]) -> None:
        """State how many incidents are open or ongoing, by (site, level); those not named are 0.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._clear("swarmtap_incidents_open")
            for key, number in active.items():
                self._bump("swarmtap_incidents_open", key, number)

    def set_health(self, gap_ratio: float, one_sided_ratio: float, clock_steps: int) -> None:
        """State what was missing of the flows of the last hour, and how often the clock was set since the start.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._values["swarmtap_capture_gap_ratio"][()] = gap_ratio
            self._values["swarmtap_capture_one_sided_ratio"][()] = one_sided_ratio
            self._values["swarmtap_capture_clock_steps_total"][()] = clock_steps

    def set_judged(self, until_ns: int) -> None:
        """State up to when the network has been judged.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._set_time("swarmtap_judged_until_timestamp_seconds", (), until_ns)
            self._values["swarmtap_offender_payload_bytes"] = self._offenders.told(until_ns)

    def reloaded(self, *, success: bool, at_ns: int) -> None:
        """Count a load of policy and rules.

        Raises
        ------
        nothing
        """
        with self._lock:
            self._bump("swarmtap_config_reloads_total", ("success" if success else "failure",), 1)
            self._values["swarmtap_config_last_reload_successful"][()] = int(success)
            if success:
                self._set_time("swarmtap_config_last_reload_success_timestamp_seconds", (), at_ns)

    def counted(self) -> Counted:
        """Return everything as it is now; who counts waits for a copy, not for a page.

        Raises
        ------
        nothing
        """
        with self._lock:
            return Counted(
                {name: values.copy() for name, values in self._values.items()},
                {
                    name: {labels: tuple(numbers.tolist()) for labels, numbers in rows.items()}
                    for name, rows in self._histograms.items()
                },
                {_FINDINGS: self._exemplars.copy()},
            )

    def numbers(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Return counters and gauges as they are now, by name and label values; for who asks often.

        Raises
        ------
        nothing
        """
        with self._lock:
            return {(name, labels): value for name, values in self._values.items() for labels, value in values.items()}

    def _known(self, metric: Metric, rules: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        if metric.name == _PAIRS:
            sites = self._domains["site"]
            # Beyond the bound pairs are made as they are seen, and so are not known; `other` is.
            yield from product(sites, sites) if len(sites) ** 2 <= MOST_PAIRS else [_OTHERS]
        elif metric.labels == ("site", "rule", "level"):
            yield from ((site, rule, rules[rule]) for site, rule in product(self._domains["site"], rules))
        else:
            yield from product(*(self._domains[label] for label in metric.labels))

    def _add_activity(self, rows: pd.DataFrame) -> None:
        # Of a flood there are hundreds of thousands of rows: only columns that are needed are cut.
        window_ns = rows["window_s"].astype("int64") * _NS
        is_first = (rows["flow_start_ns"] - rows["window_start_ns"]).between(0, window_ns - 1)
        first = choose(rows, is_first.to_numpy(), ["site", "scope", "schedule", "outcome"])
        self._bump_sizes("swarmtap_flows_total", first, ["site", "scope", "schedule"])
        self._bump_sizes("swarmtap_connection_attempts_total", first, ["site", "outcome"])
        judged = ["site", "scope", "schedule"]
        self._bump_both("swarmtap_flow_payload_bytes_total", rows, judged, "payload_bytes")
        self._bump_pairs(rows)
        self._bump_both("swarmtap_flow_bytes_total", rows, ["site"], "bytes")
        self._bump_both("swarmtap_flow_packets_total", rows, ["site"], "packets")
        self._bump_both("swarmtap_flow_pieces_total", rows, ["site"], "pieces")
        for column in ("retransmitted_bytes", "duplicate_packets"):
            self._bump_sums(f"swarmtap_flow_{column}_total", rows, ["site"], column, ())

    def _set_active(self, rows: pd.DataFrame) -> None:
        is_newest = rows["window_start_ns"] == rows["window_start_ns"].max()
        newest = choose(rows, is_newest.to_numpy(), ["site", "orig_site", "resp_site", "orig_ip", "resp_ip"])
        self._clear("swarmtap_flows_active")
        self._clear("swarmtap_peers_active")
        self._bump_sizes("swarmtap_flows_active", newest, ["site"])
        for short, side in (("orig", "originator"), ("resp", "responder")):
            peers = newest.groupby(f"{short}_site", observed=True)[f"{short}_ip"].nunique()
            for site, number in peers.items():
                self._bump("swarmtap_peers_active", (str(site), side), int(number))

    def _add_flows(self, flows: pd.DataFrame) -> None:
        payload = flows["orig_payload_bytes"] + flows["resp_payload_bytes"]
        self._bump_sizes("swarmtap_flows_ended_total", flows, ["site", "conn_state"])
        self._bump_sizes("swarmtap_flow_verdicts_total", flows, ["site", "verdict"])
        spoken = choose(flows, (payload > 0).to_numpy(), ["site", "orig_peer_id", "resp_peer_id"])
        sides = spoken["orig_peer_id"].ne("").astype(int) + spoken["resp_peer_id"].ne("")
        for many, word in enumerate(_HANDSHAKES):
            self._bump_sizes("swarmtap_flow_handshakes_total", spoken[sides == many], ["site"], (word,))
        self._bump_both("swarmtap_flow_gap_bytes_total", flows, ["site"], "gap_bytes")
        self._observe("swarmtap_flow_duration_seconds", flows["site"], (flows["end_ns"] - flows["start_ns"]) / _NS)
        self._observe("swarmtap_flow_size_bytes", flows["site"], payload.astype(float))

    def _add_findings(self, findings: pd.DataFrame, activity: pd.DataFrame) -> None:
        firsts = {flows[0] for flows in findings["flows"] if flows}
        named = activity.loc[activity["flow"].isin(firsts), ["flow", "community_id"]]
        ids = dict(zip(named["flow"], named["community_id"], strict=True))
        columns = (findings[name] for name in ("site", "rule", "level", "flows", "last_ts_ns"))
        for site, rule, level, flows, last_ns in zip(*columns, strict=True):
            key = self._bump(_FINDINGS, (site, rule, level), 1)
            community_id = ids.get(flows[0]) if flows else None
            if community_id:
                self._exemplars[key] = Exemplar(community_id, last_ns / _NS)

    def _bump(self, name: str, labels: tuple[str, ...], by: float) -> tuple[str, ...]:
        values = self._values[name]
        # Rows judged under an older policy may name a site that is gone: its counters stay. One never heard of is
        # folded, so that nothing but policy and rules can add a series.
        key = labels if labels in values or labels[0] in self._domains["site"] else (UNKNOWN_SITE, *labels[1:])
        values[key] = values.get(key, 0) + by
        return key

    def _bump_sizes(self, name: str, rows: pd.DataFrame, by: list[str], more: tuple[str, ...] = ()) -> None:
        for key, number in rows.groupby(by, observed=True).size().items():
            self._bump(name, _labels(key) + more, int(number))

    def _bump_sums(self, name: str, rows: pd.DataFrame, by: list[str], column: str, more: tuple[str, ...]) -> None:
        for key, total in rows.groupby(by, observed=True)[column].sum().items():
            self._bump(name, _labels(key) + more, int(total))

    def _bump_both(self, name: str, rows: pd.DataFrame, by: list[str], column: str) -> None:
        self._bump_sums(name, rows, by, f"orig_{column}", ("to_responder",))
        self._bump_sums(name, rows, by, f"resp_{column}", ("to_originator",))

    def _bump_pairs(self, rows: pd.DataFrame) -> None:
        values = self._values[_PAIRS]
        for giver, taker in (("orig", "resp"), ("resp", "orig")):
            payload = rows[f"{giver}_payload_bytes"]
            moved = choose(rows, (payload > 0).to_numpy(), ["orig_site", "resp_site", f"{giver}_payload_bytes"])
            sums = moved.groupby([f"{giver}_site", f"{taker}_site"], observed=True)[f"{giver}_payload_bytes"].sum()
            for pair, total in sums.items():
                key = self._pair(_labels(pair), values)
                values[key] = values.get(key, 0) + int(total)

    def _pair(self, pair: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> tuple[str, ...]:
        if pair in values:
            return pair
        sites = self._domains["site"]
        named = tuple(site if site in sites else UNKNOWN_SITE for site in pair)
        return named if named in values or len(values) <= MOST_PAIRS else _OTHERS

    def _observe(self, name: str, sites: pd.Series[str], values: pd.Series[float]) -> None:
        buckets = next(metric.buckets for metric in CATALOGUE if metric.name == name)
        for site, group in values.groupby(sites, observed=True):
            key = (str(site),) if (str(site),) in self._histograms[name] else (UNKNOWN_SITE,)
            counts = self._histograms[name][key]  # one per bucket, one above the last, and the sum
            at = np.searchsorted(buckets, group.to_numpy(), side="left")
            counts[:-1] += np.bincount(at, minlength=len(buckets) + 1)
            counts[-1] += group.sum()

    def _set_time(self, name: str, labels: tuple[str, ...], at_ns: int | None) -> None:
        if at_ns is None:
            self._values[name].pop(labels, None)
        else:
            self._values[name][labels] = at_ns / _NS

    def _clear(self, name: str) -> None:
        self._values[name] = dict.fromkeys(self._values[name], 0)


class Pages:
    """What a scrape is answered: the tallies, and the process's own memory, CPU and descriptors."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._process = CollectorRegistry(auto_describe=True)  # so that it knows its names
        ProcessCollector(registry=self._process)

    def __call__(self, accept: str, names: Sequence[str]) -> tuple[bytes, str]:
        """Return the page that an Accept header asks for, and its media type; only metrics that are named, if any are.

        Raises
        ------
        nothing
        """
        encode, media_type = choose_encoder(accept)
        told = page(self._tallies.counted(), names, openmetrics=media_type.startswith(_OPENMETRICS))
        rest = encode(self._process.restricted_registry(names) if names else self._process)  # it ends the page, too
        return told.encode() + rest, media_type


def _labels(key: object) -> tuple[str, ...]:
    return tuple(str(part) for part in key) if isinstance(key, tuple) else (str(key),)

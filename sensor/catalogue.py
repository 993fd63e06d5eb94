"""The sensor's metrics as data: name, type, labels, bound and meaning of each; `docs/metrics.md` is made of this page.

Label sets are bounded by policy and configuration, never by how many endpoints there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sensor.schema import CONN_STATES, LEVELS, OUTCOMES, SCHEDULES, SCOPES, VERDICTS, WEIRDS

_LE_DURATION_S: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 14400.0, 86400.0)
_LE_PAYLOAD_BYTES: Final = (1e3, 64e3, 1e6, 10e6, 100e6, 1e9, 10e9)


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: what Prometheus and the manual need to know of it. `bound` counts series; see LETTERS."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    bound: str
    help: str
    starts: bool = True
    buckets: tuple[float, ...] = ()


MOST_PAIRS: Final = 1024
"""Ordered pairs of sites that have series of their own, which is every pair of up to 32 sites."""

MOST_OFFENDERS: Final = 50
"""Addresses that metrics name at most, where they are asked to name any."""

LETTERS: Final = {
    "S": "sites and `unknown`",
    "R": "rules",
    "I": "interfaces",
    "K": "sinks",
    "P": f"ordered pairs of sites: S², at most {MOST_PAIRS + 1:,}",
    "T": f"what `--offenders` asks for and `other`: at most {MOST_OFFENDERS + 1}, by default none",
}
LABELS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "site": ((), "site of the policy the traffic is reported for (the originator's, else the responder's), or unknown"),
    "scope": (SCOPES, "how far apart the two sides are"),
    "schedule": (SCHEDULES, "whether the two sides were open to each other; closed and disabled are off schedule"),
    "from_site": ((), "site of the side that gave, or unknown; `other` beyond the bound"),
    "to_site": ((), "site of the side that took, or unknown; `other` beyond the bound"),
    "direction": (("to_responder", "to_originator"), "which way it went"),
    "side": (("originator", "responder"), "which of the two sides"),
    "outcome": (OUTCOMES, "the furthest the flow got"),
    "conn_state": (CONN_STATES, "how the flow went, in Zeek's words"),
    "verdict": (VERDICTS, "what the flow speaks"),
    "handshake": (("both", "one", "none"), "how many sides showed a DO handshake, of flows that carried payload"),
    "rule": ((), "name of the rule"),
    "level": (LEVELS, "level of the rule or incident"),
    "state": (("open", "closed"), "the state of the site's schedule that began"),
    "peering": ((), "peering mode of the policy"),
    "timezone": ((), "time zone of the policy"),
    "interface": ((), "interface, or `replay`"),
    "sink": ((), "name of the sink"),
    "taker": ((), "address that took payload, or `other`; the one label that names hosts, only if it is asked for"),
    "kind": (WEIRDS, "kind of oddity"),
    "result": (("success", "failure"), "how it ended"),
    "version": ((), "version of swarmtap"),
    "python_version": ((), "version of Python"),
}

CATALOGUE: Final = (
    Metric("swarmtap_flows_total", "counter", ("site", "scope", "schedule"), "25 S",
           "Flows that started, by the state of the schedule at their start."),
    Metric("swarmtap_flow_payload_bytes_total", "counter", ("site", "scope", "schedule", "direction"), "50 S",
           "Unique TCP payload, at the instant it was seen. Off schedule are closed and disabled."),
    Metric("swarmtap_site_pair_payload_bytes_total", "counter", ("from_site", "to_site"), "P",
           "Unique TCP payload by the site that gave it and the site that took it."),
    Metric("swarmtap_flow_bytes_total", "counter", ("site", "direction"), "2 S",
           "IP bytes as on the wire, retransmissions included: what it cost the links."),
    Metric("swarmtap_flow_packets_total", "counter", ("site", "direction"), "2 S",
           "Packets, without copies of a double mirror."),
    Metric("swarmtap_flow_pieces_total", "counter", ("site", "direction"), "2 S", "DO piece messages."),
    Metric("swarmtap_flow_retransmitted_bytes_total", "counter", ("site",), "S", "Payload seen again."),
    Metric("swarmtap_flow_duplicate_packets_total", "counter", ("site",), "S", "Copies from a double mirror."),
    Metric("swarmtap_flow_gap_bytes_total", "counter", ("site", "direction"), "2 S",
           "Bytes that were acknowledged but never seen, counted when the flow ends."),
    Metric("swarmtap_connection_attempts_total", "counter", ("site", "outcome"), "5 S",
           "Flows that started, by the furthest they got within their first window."),
    Metric("swarmtap_flows_ended_total", "counter", ("site", "conn_state"), "13 S", "Flows that ended."),
    Metric("swarmtap_flow_verdicts_total", "counter", ("site", "verdict"), "12 S", "Flows that ended, by protocol."),
    Metric("swarmtap_flow_handshakes_total", "counter", ("site", "handshake"), "3 S",
           "Flows with payload that ended, by how many sides showed a DO handshake."),
    Metric("swarmtap_flow_duration_seconds", "histogram", ("site",), "11 S",
           "First to last packet of flows that ended.", buckets=_LE_DURATION_S),
    Metric("swarmtap_flow_size_bytes", "histogram", ("site",), "10 S",
           "Unique payload, both ways, of flows that ended.", buckets=_LE_PAYLOAD_BYTES),
    Metric("swarmtap_flows_active", "gauge", ("site",), "S", "Flows with a packet in the newest judged window."),
    Metric("swarmtap_peers_active", "gauge", ("site", "side"), "2 S",
           "Addresses of the site with a packet in the newest judged window; one that is both counts on both sides."),
    Metric("swarmtap_findings_total", "counter", ("site", "rule", "level"), "R S",
           "Verdicts of a rule on a subject in a window."),
    Metric("swarmtap_offender_payload_bytes", "gauge", ("site", "taker"), "T",
           "Off-schedule payload of the last day by who took it, the largest; only with `--offenders`.", starts=False),
    Metric("swarmtap_incidents_open", "gauge", ("site", "level"), "5 S", "Incidents that are open or ongoing."),
    Metric("swarmtap_site_info", "gauge", ("site", "peering", "timezone"), "S",
           "Always 1; how the policy lets the site peer.", starts=False),
    Metric("swarmtap_schedule_open", "gauge", ("site",), "S", "1 while the site may peer, else 0."),
    Metric("swarmtap_schedule_next_change_timestamp_seconds", "gauge", ("site",), "S",
           "When that changes next; absent if it never does.", starts=False),
    Metric("swarmtap_schedule_transitions_total", "counter", ("site", "state"), "2 S", "Times its schedule changed."),
    Metric("swarmtap_capture_packets_total", "counter", ("interface",), "I", "Packets the kernel gave to the sensor."),
    Metric("swarmtap_capture_bytes_total", "counter", ("interface",), "I", "Bytes of those packets, as on the wire."),
    Metric("swarmtap_capture_kernel_drops_total", "counter", ("interface",), "I",
           "Packets the kernel dropped because the ring was full."),
    Metric("swarmtap_capture_ring_freezes_total", "counter", ("interface",), "I", "Times the ring was full."),
    Metric("swarmtap_capture_ring_utilization_ratio", "gauge", ("interface",), "I", "Share of the ring in use."),
    Metric("swarmtap_capture_lag_seconds", "gauge", ("interface",), "I", "Age of the newest packet when it was read."),
    Metric("swarmtap_capture_last_packet_timestamp_seconds", "gauge", ("interface",), "I",
           "Time of the newest packet; absent before the first.", starts=False),
    Metric("swarmtap_capture_up", "gauge", ("interface",), "I", "Whether the interface is being captured."),
    Metric("swarmtap_capture_link_packets_total", "counter", ("interface",), "I",
           "Frames the interface received, whatever they were; 0 if the system does not tell."),
    Metric("swarmtap_capture_silent", "gauge", ("interface",), "I",
           "1 while the link is up and has shown no frame at all for five minutes."),
    Metric("swarmtap_capture_gap_ratio", "gauge", (), "1",
           "Share of the payload of flows that ended within the hour that was acknowledged but never seen."),
    Metric("swarmtap_capture_one_sided_ratio", "gauge", (), "1",
           "Share of the flows that ended within the hour, attempts left out, that were seen in one direction only."),
    Metric("swarmtap_capture_clock_steps_total", "counter", (), "1", "Times somebody set the machine's clock."),
    Metric("swarmtap_weird_total", "counter", ("kind",), "10", "Oddities of packets, flows and messages."),
    Metric("swarmtap_flow_table_entries", "gauge", (), "1", "Flows in the flow table."),
    Metric("swarmtap_flow_table_capacity", "gauge", (), "1", "Flows the table can hold."),
    Metric("swarmtap_flow_table_evictions_total", "counter", (), "1", "Flows ended early because the table was full."),
    Metric("swarmtap_judged_until_timestamp_seconds", "gauge", (), "1",
           "End of the newest window that was judged; absent before the first.", starts=False),
    Metric("swarmtap_sink_deliveries_total", "counter", ("sink",), "K", "Records delivered."),
    Metric("swarmtap_sink_failures_total", "counter", ("sink",), "K", "Attempts to deliver that failed."),
    Metric("swarmtap_sink_drops_total", "counter", ("sink",), "K", "Records given up because the queue was full."),
    Metric("swarmtap_sink_queue_length", "gauge", ("sink",), "K", "Records that wait to be delivered."),
    Metric("swarmtap_config_reloads_total", "counter", ("result",), "2", "Loads of policy and rules, with the first."),
    Metric("swarmtap_config_last_reload_successful", "gauge", (), "1", "Whether the last load succeeded."),
    Metric("swarmtap_config_last_reload_success_timestamp_seconds", "gauge", (), "1",
           "When policy and rules were last loaded; absent before.", starts=False),
    Metric("swarmtap_build_info", "gauge", ("version", "python_version"), "1", "Always 1; what runs.", starts=False),
)  # fmt: skip


def manual() -> str:
    """Return `docs/metrics.md`.

    Raises
    ------
    nothing
    """
    letters = ", ".join(f"{letter} = {meaning}" for letter, meaning in LETTERS.items())
    lines = [
        "# Metrics",
        "",
        "Generated from `sensor/catalogue.py`; `GET /metrics` answers in the text format and in OpenMetrics.",
        "",
        "No address, port, host name or content is a label by itself: the number of series depends on policy and",
        "configuration alone. (`watch --offenders 10` names ten addresses, those that took most payload off schedule",
        "within a day; it is for dashboards without a SIEM beside them.) Every label set that these make known",
        "exists at 0 from the start, so `increase()` sees the first event. After a reload, counters",
        "of sites and rules that are gone stay until a restart.",
        "",
        f"Series: {letters}.",
        "",
        "| metric | type | labels | series | meaning |",
        "|---|---|---|---|---|",
    ]
    for each in CATALOGUE:
        labels = ", ".join(each.labels) or "-"
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.bound} | {each.help} |")
    lines += [
        "| `process_*` | | - | 6 | CPU seconds, resident and virtual memory, descriptors, start time. |",
        "",
        "`swarmtap_findings_total` carries the Community ID of a flow as exemplar in OpenMetrics: the bridge from a",
        "panel to `flows.parquet`, `eve.json` and the packets.",
        "",
        "## Labels",
        "",
        "| label | values | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{label}` | {', '.join(values) or '-'} | {meaning} |" for label, (values, meaning) in LABELS.items()]
    lines += [
        "",
        "## Limits to set in Prometheus",
        "",
        "`sample_limit` guards against surprises; 21 sites, 12 rules, 2 interfaces and 3 sinks give",
        f"{series(21, 12, 2, 3):,} series. Histogram buckets (upper bounds):",
        "",
    ]
    lines += [f"* `{each.name}`: {', '.join(f'{le:g}' for le in each.buckets)}" for each in CATALOGUE if each.buckets]
    return "\n".join(lines) + "\n"


def series(sites: int, rules: int, interfaces: int, sinks: int) -> int:
    """Return how many series the catalogue allows, without `process_*`; `sites` counts `unknown`.

    Raises
    ------
    nothing
    """
    pairs = sites**2 if sites**2 <= MOST_PAIRS else MOST_PAIRS + 1
    sizes = {"S": sites, "R": rules, "I": interfaces, "K": sinks, "P": pairs, "T": MOST_OFFENDERS + 1}
    total = 0
    for each in CATALOGUE:
        bound = 1
        for factor in each.bound.split():
            bound *= sizes[factor] if factor in sizes else int(factor)
        total += bound
    return total

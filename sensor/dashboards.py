"""The Grafana dashboards as data: what is drawn, what it asks Prometheus, and what it means.

`python -m sensor.dashboards` writes them to `grafana/dashboards`; the files there are made, not edited.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sensor.panels import (
    Json,
    Query,
    bars,
    dashboard,
    grown,
    heat,
    rate,
    row,
    selector,
    series,
    stat,
    table,
    timeline,
)

FOLDER: Final = Path(__file__).parent.parent / "grafana" / "dashboards"

_PAYLOAD: Final = "swarmtap_flow_payload_bytes_total"
_OFF: Final = "closed|disabled"
_OPENNESS: Final = (("0", "closed", "dark-blue"), ("1", "open", "green"))
_YES_NO: Final = (("0", "no", "red"), ("1", "yes", "green"))
_SCHEDULES: Final = {"open": "green", "allowed": "light-green", "exempt": "blue", "closed": "orange", "disabled": "red"}
_LEVELS: Final = {
    "critical": "dark-red", "high": "red", "medium": "orange", "low": "yellow", "informational": "blue",
}  # fmt: skip
_WORRY: Final = ((0.0, "green"), (1.0, "orange"))
_ALARM: Final = ((0.0, "green"), (1.0, "red"))


def overview() -> Json:
    """Return the dashboard that a network team keeps open.

    Raises
    ------
    nothing
    """
    found = "swarmtap_findings_total"
    offender = selector("swarmtap_offender_payload_bytes", within="$__range")
    return dashboard(
        "swarmtap-overview",
        "swarmtap / Overview",
        "Update bytes between peers on TCP 7680: how many, where, and whether their sites were open to each other.",
        [
            stat("Off-schedule payload", "Unique payload, in the time shown, between sites that were closed or disabled.",
                 "decbytes", Query(f"sum (increase({selector(_PAYLOAD, within='$__range', schedule=_OFF)}))", instant=True),
                 steps=_WORRY, colour="background"),
            stat("Open incidents", "Incidents that are open or ongoing now, of every level.", "short",
                 Query(f"sum ({selector('swarmtap_incidents_open')})", instant=True), steps=_ALARM, colour="background"),
            stat("Sites open now", "Sites whose hosts may peer at this moment.", "short",
                 Query(f"sum ({selector('swarmtap_schedule_open')})", instant=True)),
            stat("Active peers", "Addresses with a packet in the newest window; one that asked and answered counts twice.",
                 "short", Query(f"sum ({selector('swarmtap_peers_active')})")),
            row("Schedule and throughput"),
            timeline("Schedules", "When each site may peer. Payload outside the green is off schedule.",
                     Query(f"max by (site) ({selector('swarmtap_schedule_open')})", "{{site}}"),
                     names=_OPENNESS, width=24, height=6),
            series("Throughput by schedule", "Unique payload by what the schedule said of the two sides at that instant.",
                   "Bps", Query(rate(_PAYLOAD, "schedule"), "{{schedule}}"), stacked=True, colours=_SCHEDULES),
            series("Off-schedule throughput by site", "Unique payload while the two sides were closed or disabled.",
                   "Bps", Query(rate(_PAYLOAD, "site", schedule=_OFF), "{{site}}"), stacked=True),
            series("Throughput by scope", "How far payload went: within a subnet, a site, between sites, to the Internet.",
                   "Bps", Query(rate(_PAYLOAD, "scope"), "{{scope}}"), stacked=True),
            bars("Top sites", "Sites by unique payload in the time shown.", "decbytes",
                 Query(f"topk(10, {grown(_PAYLOAD, 'site')})", "{{site}}", instant=True)),
            bars("Largest offenders", "Who took most payload off schedule: the worst day of each, in the time shown.",
                 "decbytes", Query(f"topk(10, max by (site, taker) (max_over_time({offender})))",
                                   "{{taker}} ({{site}})", instant=True),
                 width=24, height=7, without="The sensor names hosts only if it is asked to: swarmtap watch --offenders 10"),
            row("Findings and incidents"),
            series("Open incidents by level", "Incidents that are open or ongoing.", "short",
                   Query(f"sum by (level) ({selector('swarmtap_incidents_open')})", "{{level}}"), stacked=True,
                   colours=_LEVELS),
            series("Findings by rule", "Verdicts of rules per second; hover an exemplar for the Community ID of a flow.",
                   "short", Query(f"{rate(found, 'rule')} and {grown(found, 'rule')} > 0", "{{rule}}")),
            table("Findings in the time shown", "What the rules found, by site: look up the runbook of the rule's alert.",
                  "short", Query(f"{grown('swarmtap_findings_total', 'site, rule, level')} > 0", instant=True),
                  value="findings", width=24, decimals=0),
        ],
    )  # fmt: skip


def site() -> Json:
    """Return the dashboard of one site, or several side by side.

    Raises
    ------
    nothing
    """
    sizes = "swarmtap_flow_size_bytes_bucket"
    durations = rate("swarmtap_flow_duration_seconds_bucket", "site, le")
    open_now = selector("swarmtap_incidents_open")
    open_ever = selector("swarmtap_incidents_open", within="$__range")
    next_change = selector("swarmtap_schedule_next_change_timestamp_seconds")
    return dashboard(
        "swarmtap-site",
        "swarmtap / Site",
        "One site: what its hosts give and take, with whom, how their attempts end, and when it opens next.",
        [
            table("Sites", "How the policy lets each site peer.", "short",
                  Query(selector("swarmtap_site_info"), instant=True), height=6),
            stat("Next change", "When the site's schedule changes next; a site that never does is not shown.",
                 "dateTimeFromNow", Query(f"max by (site) ({next_change}) * 1000", "{{site}}", instant=True),
                 height=6, width=6, text="value_and_name"),
            stat("Changes", "Times that schedules began to be open or closed, in the time shown.", "short",
                 Query(grown("swarmtap_schedule_transitions_total", "state"), "{{state}}", instant=True),
                 height=6, decimals=0, text="value_and_name"),
            row("Volume"),
            series("Payload by scope", "Unique payload: within a subnet, the site, between sites, to the Internet.", "Bps",
                   Query(rate(_PAYLOAD, "scope"), "{{scope}}"), stacked=True),
            series("Payload by direction", "To the responder is what originators gave; the other way is what they took.",
                   "Bps", Query(rate(_PAYLOAD, "direction"), "{{direction}}")),
            series("On the wire", "IP bytes with headers and retransmissions: what it cost the links.", "Bps",
                   Query(rate("swarmtap_flow_bytes_total", "site, direction"), "{{site}} {{direction}}")),
            series("Packets", "Packets per second, without copies of a double mirror.", "pps",
                   Query(rate("swarmtap_flow_packets_total", "site, direction"), "{{site}} {{direction}}")),
            row("Conversations"),
            series("Flows that started", "By what the schedule said at their start.", "short",
                   Query(rate("swarmtap_flows_total", "schedule"), "{{schedule}}"), stacked=True, colours=_SCHEDULES),
            series("Attempts by outcome", "The furthest that flows got within their first window.", "short",
                   Query(rate("swarmtap_connection_attempts_total", "outcome"), "{{outcome}}"), stacked=True),
            series("Flows and peers", "Flows and addresses with a packet in the newest window.", "short",
                   Query(f"sum by (site) ({selector('swarmtap_flows_active')})", "{{site}} flows"),
                   Query(f"sum by (site, side) ({selector('swarmtap_peers_active')})", "{{site}} {{side}}s")),
            series("How flows ended", "Zeek's words: SF ended well, S0 got no answer, REJ was refused.", "short",
                   Query(rate("swarmtap_flows_ended_total", "conn_state"), "{{conn_state}}"), stacked=True),
            series("Protocol of flows that ended", "By their first bytes, never by the port.", "short",
                   Query(rate("swarmtap_flow_verdicts_total", "verdict"), "{{verdict}}"), stacked=True),
            series("Handshakes", "How many sides of flows with payload showed a DO handshake.", "short",
                   Query(rate("swarmtap_flow_handshakes_total", "handshake"), "{{handshake}}"), stacked=True),
            heat("Size of flows", "Flows that ended, by unique payload both ways.", "decbytes",
                 Query(f"sum by (le) (increase({selector(sizes, within='$__rate_interval')}))", "{{le}}", heatmap=True)),
            series("Duration of flows", "Half of the flows that ended took less than p50, nine of ten less than p90.", "s",
                   Query(f"histogram_quantile(0.5, {durations})", "{{site}} p50"),
                   Query(f"histogram_quantile(0.9, {durations})", "{{site}} p90")),
            row("Findings"),
            series("Open incidents", "Incidents that are open or ongoing.", "short",
                   Query(f"sum by (site, level) ({open_now}) and max by (site, level) (max_over_time({open_ever})) > 0",
                         "{{site}} {{level}}")),
            table("Findings in the time shown", "What the rules found.", "short",
                  Query(f"{grown('swarmtap_findings_total', 'site, rule, level')} > 0", instant=True),
                  value="findings", decimals=0),
        ],
    )  # fmt: skip


def swarms() -> Json:
    """Return the dashboard of what swarms cost the links between sites.

    Raises
    ------
    nothing
    """
    pair = "swarmtap_site_pair_payload_bytes_total"
    crossing = selector(pair, within="$__rate_interval")
    wire = f"sum (increase({selector('swarmtap_flow_bytes_total', within='$__range')}))"
    payload = f"sum (increase({selector(_PAYLOAD, within='$__range')}))"
    wan = f"sum (increase({selector(_PAYLOAD, within='$__range', scope='cross_site|internet')}))"
    return dashboard(
        "swarmtap-swarms",
        "swarmtap / Swarms and WAN",
        "Who gives to whom, site by site; what crosses the WAN; and what was sent more than once.",
        [
            stat("Across the WAN", "Unique payload between sites or to the Internet, in the time shown.", "decbytes",
                 Query(wan, instant=True), steps=((1e9, "orange"),)),
            stat("Share across the WAN", "Of all unique payload in the time shown.", "percentunit",
                 Query(f"{wan} / {payload}", instant=True), steps=((0.05, "orange"), (0.25, "red"))),
            stat("Overhead", "Bytes on the wire over unique payload: headers, retransmissions, requests.", "percentunit",
                 Query(f"{wire} / {payload} - 1", instant=True), steps=((0.2, "orange"),)),
            stat("Pieces", "DO piece messages in the time shown.", "short",
                 Query(f"sum (increase({selector('swarmtap_flow_pieces_total', within='$__range')}))", instant=True)),
            row("Site by site"),
            table("From site to site", "Unique payload by the site that gave and the site that took.", "decbytes",
                  Query(f"{grown(pair, 'from_site, to_site')} > 0", instant=True), value="payload", height=10),
            bars("Largest pairs", "Pairs of sites by unique payload in the time shown.", "decbytes",
                 Query(f"topk(12, {grown(pair, 'from_site, to_site')} > 0)", "{{from_site}} → {{to_site}}", instant=True),
                 height=10),
            series("Payload from site to site", "Unique payload per second, for each pair that moves any.", "Bps",
                   Query(f"sum by (from_site, to_site) (rate({crossing})) > 0", "{{from_site}} → {{to_site}}"), width=24),
            row("What it cost"),
            series("Pieces by site", "DO piece messages by who sent them.", "short",
                   Query(rate("swarmtap_flow_pieces_total", "site, direction"), "{{site}} {{direction}}")),
            series("Sent again", "Payload that was retransmitted: loss or congestion on the way.", "Bps",
                   Query(rate("swarmtap_flow_retransmitted_bytes_total", "site"), "{{site}}"), stacked=True),
            series("Copies of a double mirror", "Packets that the mirror sent twice: they count nowhere else.", "pps",
                   Query(rate("swarmtap_flow_duplicate_packets_total", "site"), "{{site}}"), stacked=True),
            series("Gaps", "Payload acknowledged but never seen: the mirror loses packets, or shows one direction.", "Bps",
                   Query(rate("swarmtap_flow_gap_bytes_total", "site, direction"), "{{site}} {{direction}}")),
        ],
    )  # fmt: skip


def health() -> Json:
    """Return the dashboard of the sensor itself.

    Raises
    ------
    nothing
    """
    packets = rate("swarmtap_capture_packets_total", "instance, interface")
    drops = rate("swarmtap_capture_kernel_drops_total", "instance, interface")
    entries, capacity = selector("swarmtap_flow_table_entries"), selector("swarmtap_flow_table_capacity")
    reloaded = selector("swarmtap_config_last_reload_success_timestamp_seconds")
    return dashboard(
        "swarmtap-health",
        "swarmtap / Sensor health",
        "What the sensor captured, what it lost, and whether what it found was delivered.",
        [
            stat("Capturing", "Whether each interface is being captured.", "short",
                 Query(selector("swarmtap_capture_up"), "{{interface}}", instant=True), names=_YES_NO, text="value_and_name"),
            stat("Policy and rules", "Whether the last load succeeded; if not, the older ones still judge.", "short",
                 Query(selector("swarmtap_config_last_reload_successful"), "{{instance}}", instant=True),
                 names=(("0", "refused", "red"), ("1", "loaded", "green"))),
            stat("Loaded", "When policy and rules were last loaded.", "dateTimeFromNow",
                 Query(f"max by (instance) ({reloaded}) * 1000", "{{instance}}", instant=True)),
            table("Versions", "What runs.", "short", Query(selector("swarmtap_build_info"), instant=True),
                  width=6, height=4),
            row("Capture"),
            series("Packets", "Packets that the kernel gave to the sensor.", "pps", Query(packets, "{{interface}}")),
            series("Bytes", "Bytes of those packets, as on the wire.", "Bps",
                   Query(rate("swarmtap_capture_bytes_total", "interface"), "{{interface}}")),
            series("Dropped", "Share of the packets that the kernel dropped because the ring was full.", "percentunit",
                   Query(f"{drops} / ({drops} + {packets} > 0)", "{{interface}}"), steps=((0.01, "orange"), (0.1, "red")),
                   reach=0.02),
            series("Ring", "Share of the ring in use, and how often it was full.", "percentunit",
                   Query(f"max by (interface) ({selector('swarmtap_capture_ring_utilization_ratio')})", "{{interface}} used"),
                   Query(rate("swarmtap_capture_ring_freezes_total", "interface"), "{{interface}} freezes per second"), reach=1),
            series("Lag", "Age of the newest packet when it was read.", "s",
                   Query(f"max by (interface) ({selector('swarmtap_capture_lag_seconds')})", "{{interface}}")),
            series("Newest packet", "Seconds since the newest packet; a replay shows how long ago it was captured.", "s",
                   Query(f"time() - max by (interface) ({selector('swarmtap_capture_last_packet_timestamp_seconds')})",
                         "{{interface}} packet"),
                   Query(f"time() - max by (instance) ({selector('swarmtap_judged_until_timestamp_seconds')})",
                         "{{instance}} judged")),
            series("Missing", "Share of the last hour's flows that was never seen: payload acknowledged but not shown; flows "
                   "with one direction only.", "percentunit",
                   Query(f"max by (instance) ({selector('swarmtap_capture_gap_ratio')})", "{{instance}} payload"),
                   Query(f"max by (instance) ({selector('swarmtap_capture_one_sided_ratio')})", "{{instance}} one-sided"),
                   steps=((0.01, "orange"), (0.2, "red"))),
            series("Link", "Frames of any kind that the interfaces received, and how often the clock was set.", "pps",
                   Query(rate("swarmtap_capture_link_packets_total", "interface"), "{{interface}}"),
                   Query(rate("swarmtap_capture_clock_steps_total", "instance"), "{{instance}} clock set, per second")),
            timeline("Silence", "Whether a link that is up has shown no frame at all for five minutes.",
                     Query(f"max by (interface) ({selector('swarmtap_capture_silent')})", "{{interface}}"),
                     names=(("0", "no", "green"), ("1", "silent", "red")), width=24, height=5),
            series("Oddities", "Packets, flows and messages that broke a protocol's rules, by kind.", "short",
                   Query(rate("swarmtap_weird_total", "kind"), "{{kind}}"), stacked=True),
            series("Flow table", "Share of the flow table in use; at 1, flows are ended early.", "percentunit",
                   Query(f"{entries} / {capacity}", "{{instance}} used"),
                   Query(rate("swarmtap_flow_table_evictions_total", "instance"), "{{instance}} evictions per second"), reach=0.1),
            row("Delivery"),
            series("Delivered", "Records that each sink delivered.", "short",
                   Query(rate("swarmtap_sink_deliveries_total", "sink"), "{{sink}}")),
            series("Failed and dropped", "Attempts to deliver that failed; records given up because the queue was full.",
                   "short", Query(rate("swarmtap_sink_failures_total", "sink"), "{{sink}} failed"),
                   Query(rate("swarmtap_sink_drops_total", "sink"), "{{sink}} dropped")),
            series("Waiting", "Records that wait to be delivered.", "short",
                   Query(f"sum by (sink) ({selector('swarmtap_sink_queue_length')})", "{{sink}}")),
            series("Loads of policy and rules", "By how they ended; a refused one leaves the older in place.", "short",
                   Query(grown("swarmtap_config_reloads_total", "result"), "{{result}}"), decimals=0),
            row("Process"),
            series("Processor", "Share of one core.", "percentunit",
                   Query(f"rate({selector('process_cpu_seconds_total', within='$__rate_interval')})", "{{instance}}")),
            series("Memory", "Resident memory.", "decbytes",
                   Query(selector("process_resident_memory_bytes"), "{{instance}}")),
            series("Files", "Open descriptors, as a share of how many there may be.", "percentunit",
                   Query(f"{selector('process_open_fds')} / {selector('process_max_fds')}", "{{instance}}"), reach=0.1),
            series("Uptime", "Since the process started.", "s",
                   Query(f"time() - {selector('process_start_time_seconds')}", "{{instance}}")),
        ],
        site=False,
    )  # fmt: skip


def case() -> Json:
    """Return the dashboard of a case that was back-filled at the time of its capture.

    Raises
    ------
    nothing
    """
    changed = selector("swarmtap_schedule_open", within="$__interval")
    return dashboard(
        "swarmtap-case",
        "swarmtap / Case",
        "A case of `swarmtap analyze`, back-filled by `swarmtap metrics`: choose the time of its capture, and its instance.",
        [
            stat("Payload", "Unique payload in the time shown.", "decbytes",
                 Query(f"sum (increase({selector(_PAYLOAD, within='$__range')}))", instant=True)),
            stat("Off-schedule payload", "Between sites that were closed or disabled, in the time shown.", "decbytes",
                 Query(f"sum (increase({selector(_PAYLOAD, within='$__range', schedule=_OFF)}))", instant=True),
                 steps=_WORRY, colour="background"),
            stat("Flows", "Flows that started in the time shown.", "short",
                 Query(f"sum (increase({selector('swarmtap_flows_total', within='$__range')}))", instant=True), decimals=0),
            stat("Most incidents at once", "Of every level, in the time shown.", "short",
                 Query(f"max_over_time((sum ({selector('swarmtap_incidents_open')}))[$__range:1m])", instant=True),
                 steps=_ALARM),
            timeline("Schedules", "When each site could peer.",
                     Query(f"max by (site) ({selector('swarmtap_schedule_open')})", "{{site}}"),
                     names=_OPENNESS, width=24, height=6),
            series("Throughput by schedule", "Unique payload by what the schedule said at that instant.", "Bps",
                   Query(rate(_PAYLOAD, "schedule"), "{{schedule}}"), stacked=True, colours=_SCHEDULES),
            series("Off-schedule throughput by site", "Unique payload while the two sides were closed or disabled.", "Bps",
                   Query(rate(_PAYLOAD, "site", schedule=_OFF), "{{site}}"), stacked=True),
            # A step may be longer than an incident: of each step, the most that were open in it.
            series("Incidents", "Open or ongoing, by site and level.", "short",
                   Query(f"sum by (site, level) (max_over_time({selector('swarmtap_incidents_open', within='$__interval')}))"
                         f" and max by (site, level) (max_over_time({selector('swarmtap_incidents_open', within='$__range')})) > 0",
                         "{{site}} {{level}}"), stacked=True),
            series("Attempts by outcome", "The furthest that flows got within their first window.", "short",
                   Query(rate("swarmtap_connection_attempts_total", "outcome"), "{{outcome}}"), stacked=True),
            series("Flows and peers", "Flows and addresses active at the time.", "short",
                   Query(f"sum by (site) ({selector('swarmtap_flows_active')})", "{{site}} flows"),
                   Query(f"sum by (site, side) ({selector('swarmtap_peers_active')})", "{{site}} {{side}}s")),
            table("From site to site", "Unique payload by the site that gave and the site that took.", "decbytes",
                  Query(f"{grown('swarmtap_site_pair_payload_bytes_total', 'from_site, to_site')} > 0", instant=True),
                  value="payload"),
        ],
        span="now-7d",
        refresh="",
        annotations=[{
            "name": "Slots", "enable": True, "hide": False, "iconColor": "blue",
            "datasource": {"type": "prometheus", "uid": "${datasource}"}, "expr": f"changes({changed}) > 0", "step": "",
            "titleFormat": "{{site}}", "textFormat": "its schedule changed", "tagKeys": "site", "useValueForTime": False,
        }],
    )  # fmt: skip


BOARDS: Final = {"overview": overview, "site": site, "swarms": swarms, "health": health, "case": case}


def text(name: str) -> str:
    """Return a dashboard's file.

    Raises
    ------
    nothing
    """
    return json.dumps(BOARDS[name](), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in BOARDS:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()

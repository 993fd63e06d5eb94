"""From a packet to a panel and a page: the sensor replays a week, Prometheus scrapes it and alerts, Alertmanager tells.

Every panel of every dashboard must be answered, and by what the week held. All of it is one test, because the stage is
set once: two processes of pytest would set it twice.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from sensor.catalogue import CATALOGUE
from tests.house import tree
from tests.live import panels
from tests.live.panels import Expectation, View, both, flat, names, peaks, total
from tests.live.stage import SCRAPE_S, get, until

if TYPE_CHECKING:
    from tests.live.stage import Stage


BOARDS = {
    path.stem: json.loads(tree.text(path)) for path in tree.files() if path.parts[:2] == ("grafana", "dashboards")
}
# The week of pcaps/office-week.md: 567,142,681 bytes of unique payload in 144 flows, 42,019,084 of them off schedule.
# What increase() tells is a little more or less, because it reaches for the edges of the time shown.
WEEK = (0.9 * 567_142_681, 1.15 * 567_142_681)
OFF = (0.9 * 42_019_084, 1.15 * 42_019_084)
FLOWS = (120, 175)
SITES = ("hq", "servers", "branch", "cash-desks")
ALL_SITES = (*SITES, "unknown")
SOME: Expectation = peaks(1e-9)
NONE: Expectation = flat(0)  # the sample office is a healthy one: nothing of this kind happens in it

EXPECTED: dict[str, dict[str, Expectation]] = {
    "overview": {
        "Off-schedule payload": total(*OFF),
        "Open incidents": total(0, 12),
        "Sites open now": total(0, 4),
        "Active peers": SOME,
        "Schedules": both(names("site", *SITES, "unknown"), peaks(1, 1, site="hq"), peaks(0, 0, site="cash-desks")),
        "Throughput by schedule": both(peaks(1e3, schedule="open"), peaks(1e3, schedule="closed")),
        "Off-schedule throughput by site": both(peaks(1e3, site="hq"), peaks(1, site="cash-desks")),
        "Throughput by scope": both(peaks(1e3, scope="same_subnet"), peaks(1e3, scope="cross_site")),
        "Top sites": both(total(*WEEK), peaks(3e8, site="hq")),
        "Largest offenders": both(
            peaks(2.09e7, 2.1e7, site="hq", taker="10.1.20.35"),  # what the one that outlives its slot moves after it
            peaks(9e4, 1e5, site="cash-desks", taker="10.9.0.21"),
        ),
        "Open incidents by level": peaks(1, level="medium"),
        "Findings by rule": both(peaks(1e-3, rule="w01_off_window_transfer"), peaks(1e-3, rule="r01_horizontal_scan")),
        "Findings in the time shown": both(peaks(0.5, rule="w04_transfer_while_disabled", site="cash-desks")),
    },
    "site": {
        "Sites": both(names("site", *SITES), flat(1)),
        "Next change": names("site", "hq", "servers", "branch"),
        "Changes": both(names("state", "open", "closed"), total(10, 40)),
        "Payload by scope": peaks(1e3, scope="same_subnet"),
        "Payload by direction": both(
            peaks(1e3, direction="to_originator"), names("direction", "to_responder", "to_originator")
        ),
        "On the wire": peaks(1e3, site="hq"),
        "Packets": peaks(1, site="branch"),
        "Flows that started": both(peaks(1e-3, schedule="disabled"), peaks(1e-3, schedule="exempt")),
        "Attempts by outcome": both(peaks(1e-3, outcome="refused"), peaks(1e-3, outcome="attempt")),
        "Flows and peers": peaks(1, site="hq"),
        "How flows ended": both(peaks(1e-3, conn_state="SF"), peaks(1e-3, conn_state="S0")),
        "Protocol of flows that ended": both(peaks(1e-3, verdict="do"), peaks(1e-3, verdict="ssh")),
        "Handshakes": peaks(1e-3, handshake="both"),
        "Size of flows": both(peaks(1, le="+Inf"), peaks(1, le="100000000.0")),
        "Duration of flows": peaks(1, site="hq"),
        "Open incidents": peaks(1, site="hq", level="medium"),
        "Findings in the time shown": peaks(0.5, rule="p01_other_protocol", site="hq"),
    },
    "swarms": {
        "Across the WAN": total(1e6, 1e8),
        "Share across the WAN": total(0.001, 0.2),
        "Overhead": total(0.0005, 0.01),  # 567,958,448 on the wire, of 567,142,681
        "Pieces": total(100),
        "From site to site": both(total(*WEEK), peaks(1e6, from_site="hq", to_site="hq")),
        "Largest pairs": peaks(1e5, from_site="branch"),
        "Payload from site to site": peaks(1e3, from_site="hq", to_site="hq"),
        "Pieces by site": SOME,
        "Sent again": SOME,
        "Copies of a double mirror": NONE,
        "Gaps": NONE,
    },
    "health": {
        "Capturing": both(names("interface", "replay"), flat(1)),
        "Policy and rules": flat(1),
        "Loaded": SOME,
        "Versions": flat(1),
        "Packets": peaks(100, interface="replay"),
        "Bytes": peaks(1e4, interface="replay"),
        "Dropped": NONE,
        "Ring": NONE,
        "Lag": NONE,
        "Newest packet": peaks(1e6),
        "Missing": peaks(0, 0.05),
        "Link": NONE,  # a replay has none
        "Silence": both(names("interface", "replay"), NONE),
        "Oddities": NONE,
        "Flow table": peaks(0, 0.01),
        "Delivered": peaks(0.1, sink="terminal"),
        "Failed and dropped": NONE,
        "Waiting": NONE,
        "Loads of policy and rules": names("result", "success", "failure"),
        "Processor": peaks(0.01),
        "Memory": peaks(5e7, 2e9),
        "Files": peaks(1e-5, 0.5),
        "Uptime": peaks(5, 300),
    },
    "case": {
        "Payload": total(0.9 * 17_826_815, 1.2 * 17_826_815),
        "Off-schedule payload": total(0.9 * 17_826_815, 1.2 * 17_826_815),
        "Flows": total(1.8, 2.5),
        "Most incidents at once": total(1, 1),
        "Schedules": both(names("site", *ALL_SITES), NONE),
        "Throughput by schedule": both(names("schedule", "closed"), peaks(1e4)),
        "Off-schedule throughput by site": both(names("site", "hq"), peaks(1e4)),
        "Incidents": both(names("site", "hq"), peaks(1, 1)),
        "Attempts by outcome": peaks(1e-3, outcome="transfer"),
        "Flows and peers": peaks(1, 2, site="hq"),
        "From site to site": total(0.9 * 17_826_815, 1.2 * 17_826_815),
    },
}
ALERT = "SwarmtapOffScheduleTraffic"
CASE = (1_781_179_500.0, 1_781_180_280.0)  # 2026-06-11T12:05Z and 12:18Z, around pcaps/off-window.md


def view(stage: Stage, name: str) -> View:
    stage.wait_for_end()
    return View(*CASE, 15.0) if name == "case" else View(stage.began, stage.ended, SCRAPE_S)


def drawn(name: str) -> list[dict[str, Any]]:
    return [panel for panel in BOARDS[name]["panels"] if panel["type"] != "row"]


def check_panels(stage: Stage, name: str) -> None:
    shown = view(stage, name)
    assert panels.variables(stage, BOARDS[name]) == []
    titles = [panel["title"] for panel in drawn(name)]
    assert set(EXPECTED[name]) == set(titles)
    assert len(set(titles)) == len(titles)
    wrong = []
    for panel in drawn(name):
        looked = panels.look(stage, panel, shown)
        met = bool(looked.series) and EXPECTED[name][panel["title"]](looked)
        peak = max((each.peak for each in looked.series), default=float("nan"))
        told = "; ".join(looked.wrong) or ("as expected" if met else "NOT AS EXPECTED")
        print(f"{name:9} {panel['title']:34} {len(looked.series):3} series, peak {peak:.6g}: {told}")  # noqa: T201
        wrong += [f"{panel['title']}: {each}" for each in looked.wrong]
        if not met:
            wrong.append(f"{panel['title']}: not as expected: {looked.series}")
    assert not wrong, "\n".join(wrong)


def check_that_renaming_any_metric_breaks_a_panel(stage: Stage) -> None:
    unnoticed = []
    for metric in CATALOGUE:
        for name in BOARDS:
            panel = next((each for each in drawn(name) if metric.name in json.dumps(each["targets"])), None)
            if panel is not None:
                break
        assert panel is not None, metric.name
        mutant = json.loads(json.dumps(panel).replace(metric.name, f"{metric.name}_renamed"))
        shown = view(stage, name)
        looked = panels.look(stage, mutant, shown)
        if not looked.wrong:
            unnoticed.append(metric.name)
    assert not unnoticed


def check_that_a_dead_legend_is_noticed(stage: Stage) -> None:
    panel = next(copy.deepcopy(each) for each in drawn("overview") if each["title"] == "Throughput by schedule")
    panel["targets"][0]["legendFormat"] = "{{site}}"
    assert panels.look(stage, panel, view(stage, "overview")).wrong == [
        f"A: no label site: {panel['targets'][0]['expr']}",
    ]


def check_that_a_wrong_filter_is_noticed(stage: Stage) -> None:
    panel = next(copy.deepcopy(each) for each in drawn("overview") if each["title"] == "Off-schedule payload")
    panel["targets"][0]["expr"] = panel["targets"][0]["expr"].replace("closed|disabled", "open")
    looked = panels.look(stage, panel, view(stage, "overview"))
    assert not looked.wrong
    assert not EXPECTED["overview"]["Off-schedule payload"](looked)


def check_that_exemplars_lead_to_flows(stage: Stage) -> None:
    shown = view(stage, "overview")
    found = get(
        f"{stage.prometheus}/api/v1/query_exemplars",
        query="swarmtap_findings_total",
        start=shown.start - 1e9,
        end=shown.end,
    )
    ids = {exemplar["labels"]["community_id"] for each in found["data"] for exemplar in each["exemplars"]}
    assert ids
    assert all(re.fullmatch(r"1:[\w+/]{27}=", each) for each in ids)


def check_that_the_page_is_valid(stage: Stage) -> None:
    with urlopen(f"{stage.sensor}/metrics", timeout=10) as answer:  # noqa: S310
        page = answer.read()
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def check_that_off_schedule_traffic_is_told_and_told_over(stage: Stage) -> None:
    (fired,) = until("the webhook", lambda: stage.webhook.alerts(ALERT, "firing"))[:1]
    assert fired["labels"]["site"] == "hq"
    assert fired["labels"]["severity"] == "warning"
    assert fired["annotations"]["description"].startswith("Hosts of site hq moved ")
    # By now it may be over, so Alertmanager is asked what it got and not what it has.
    page = get(f"{stage.alertmanager}/metrics")
    received = re.search(
        r'^alertmanager_alerts_received_total\{status="firing",version="v2"\} (\d+)', page, re.MULTILINE
    )
    assert received
    assert int(received[1]) > 0
    post = next(post for post in stage.webhook.posts if post["commonLabels"].get("alertname") == ALERT)
    assert (post["version"], post["receiver"]) == ("4", "network")
    firing = f'ALERTS{{alertname="{ALERT}", alertstate="firing", site="hq"}}'
    assert until("Prometheus' own record", lambda: stage.query(f"max_over_time({firing}[1m])"))
    over = until("the end of it", lambda: stage.webhook.alerts(ALERT, "resolved"))
    assert over[0]["labels"] == fired["labels"]
    assert over[0]["endsAt"] > over[0]["startsAt"]


def check_that_a_sensor_that_runs_is_not_said_to_be_down(stage: Stage) -> None:
    assert stage.query('up{job="swarmtap"}')[0]["value"][1] == "1"
    told = {alert["labels"]["alertname"] for post in stage.webhook.posts for alert in post["alerts"]}
    health = {"SwarmtapCaptureDown", "SwarmtapCaptureStalled", "SwarmtapCaptureLag", "SwarmtapJudgingBehind",
              "SwarmtapFlowTableFull", "SwarmtapDeliveryFailing", "SwarmtapConfigReloadFailed"}  # fmt: skip
    assert not told & health
    assert {"SwarmtapInternetPeering", "SwarmtapScan", "SwarmtapDisabledSitePeering"} <= told


@pytest.mark.needs("prometheus", "promtool", "prometheus-alertmanager")
def test_from_packets_to_panels_and_pages(stage: Stage, subtests: pytest.Subtests) -> None:
    stage.wait_for_end()
    for name in BOARDS:
        with subtests.test(name):
            check_panels(stage, name)
    for check in (
        check_that_renaming_any_metric_breaks_a_panel,
        check_that_a_dead_legend_is_noticed,
        check_that_a_wrong_filter_is_noticed,
        check_that_exemplars_lead_to_flows,
        check_that_the_page_is_valid,
        check_that_off_schedule_traffic_is_told_and_told_over,
        check_that_a_sensor_that_runs_is_not_said_to_be_down,
    ):
        with subtests.test(check.__name__):
            check(stage)

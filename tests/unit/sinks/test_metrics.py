"""Each counter moves by exactly what happened, exists before it happens, and never grows a label set of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families_of_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from sensor import catalogue
from sensor.policy import Policy, Site
from sensor.schema import WEIRDS
from sensor.sinks.metrics import Capture, Delivery, Pages, Tallies
from tests import cases
from tests.cases import NOON, SECOND

RULES = {"w01_off_window_transfer": "medium", "r01_horizontal_scan": "high"}
NOTHING = (cases.activity(), cases.flows(), cases.findings())


@pytest.fixture
def tallies() -> Tallies:
    return Tallies(cases.POLICY, RULES, interfaces=("eth0",), sinks=("eve", "syslog"))


OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def text(tallies: Tallies, accept: str = "", *names: str) -> str:
    return Pages(tallies)(accept, names)[0].decode()


def values(tallies: Tallies) -> dict[str, float]:
    page = text(tallies)
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("swarmtap_"))
    return {name: float(value) for name, value in lines}


def moved(tallies: Tallies, before: dict[str, float]) -> dict[str, float]:
    after = values(tallies)
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


def test_every_known_series_exists_at_zero_and_the_bound_is_exact(tallies: Tallies) -> None:
    page = values(tallies)
    information = {name for name in page if "_info{" in name}
    assert {page[name] for name in set(page) - information} == {0.0}
    counted = Counter(name.split("{")[0] for name in page)
    for each in catalogue.CATALOGUE:
        if each.starts or each.name.endswith("_info"):
            families = (
                [each.name] if not each.buckets else [f"{each.name}{end}" for end in ("_bucket", "_sum", "_count")]
            )
            sizes = {"S": 3, "R": 2, "I": 1, "K": 2, "P": 9}
            bound = 1
            for factor in each.bound.split():
                bound *= sizes[factor] if factor in sizes else int(factor)
            unknown_has_no_info = 1 if each.name == "swarmtap_site_info" else 0
            assert sum(counted[name] for name in families) == bound - unknown_has_no_info, each.name
    assert len(page) <= catalogue.series(3, 2, 1, 2)


def test_activity_moves_its_counters_by_its_sums(tallies: Tallies) -> None:
    before = values(tallies)
    rows = (
        {
            "orig_payload_bytes": 5, "resp_payload_bytes": 70, "orig_bytes": 100, "resp_bytes": 200, "orig_packets": 3,
            "resp_packets": 4, "resp_pieces": 2, "retransmitted_bytes": 9, "duplicate_packets": 1,
        },
        {
            "flow": 1, "site": "ber", "orig_site": "ber", "scope": "cross_site", "schedule": "disabled",
            "orig_ip": "10.2.0.1", "outcome": "attempt", "window_start_ns": NOON + 10 * SECOND,
            "flow_start_ns": NOON + 19 * SECOND,
        },
        {"flow": 2, "window_start_ns": NOON + 10 * SECOND, "flow_start_ns": NOON - SECOND, "resp_payload_bytes": 30},
    )  # fmt: skip
    tallies.add(cases.activity(*rows), cases.flows(), cases.findings())
    payload = 'swarmtap_flow_payload_bytes_total{{direction="{}",schedule="closed",scope="same_site",site="hq"}}'
    assert moved(tallies, before) == {
        'swarmtap_flows_total{schedule="closed",scope="same_site",site="hq"}': 1,
        'swarmtap_flows_total{schedule="disabled",scope="cross_site",site="ber"}': 1,
        'swarmtap_connection_attempts_total{outcome="transfer",site="hq"}': 1,
        'swarmtap_connection_attempts_total{outcome="attempt",site="ber"}': 1,
        payload.format("to_responder"): 5,
        payload.format("to_originator"): 100,
        'swarmtap_site_pair_payload_bytes_total{from_site="hq",to_site="hq"}': 105,
        'swarmtap_flow_bytes_total{direction="to_responder",site="hq"}': 100,
        'swarmtap_flow_bytes_total{direction="to_originator",site="hq"}': 200,
        'swarmtap_flow_packets_total{direction="to_responder",site="hq"}': 3,
        'swarmtap_flow_packets_total{direction="to_originator",site="hq"}': 4,
        'swarmtap_flow_pieces_total{direction="to_originator",site="hq"}': 2,
        'swarmtap_flow_retransmitted_bytes_total{site="hq"}': 9,
        'swarmtap_flow_duplicate_packets_total{site="hq"}': 1,
        'swarmtap_flows_active{site="hq"}': 1,
        'swarmtap_flows_active{site="ber"}': 1,
        'swarmtap_peers_active{side="originator",site="hq"}': 1,
        'swarmtap_peers_active{side="originator",site="ber"}': 1,
        'swarmtap_peers_active{side="responder",site="hq"}': 1,
    }


def test_payload_from_site_to_site(tallies: Tallies) -> None:
    before = values(tallies)
    row = {"orig_site": "ber", "resp_site": "hq", "site": "ber", "orig_payload_bytes": 7, "resp_payload_bytes": 500}
    tallies.add(cases.activity(row, {"resp_site": "unknown"}), cases.flows(), cases.findings())
    pairs = {name: value for name, value in moved(tallies, before).items() if "site_pair" in name}
    assert pairs == {
        'swarmtap_site_pair_payload_bytes_total{from_site="ber",to_site="hq"}': 7,
        'swarmtap_site_pair_payload_bytes_total{from_site="hq",to_site="ber"}': 500,
    }


def test_pairs_of_many_sites_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.sinks.metrics.MOST_PAIRS", 2)  # three sites make nine pairs
    tallies = Tallies(cases.POLICY, RULES)
    row = {"orig_payload_bytes": 1, "resp_payload_bytes": 10}
    for giver, taker in (("hq", "ber"), ("ber", "unknown"), ("hq", "ber")):
        made = row | {"orig_site": giver, "resp_site": taker}
        tallies.add(cases.activity(made), cases.flows(), cases.findings())
    pairs = {name.partition("{")[2]: value for name, value in values(tallies).items() if "site_pair" in name}
    assert pairs == {
        'from_site="hq",to_site="ber"}': 2,
        'from_site="ber",to_site="hq"}': 20,
        'from_site="other",to_site="other"}': 11,
    }


def test_series_do_not_depend_on_how_many_peers_there_are(tallies: Tallies) -> None:
    size = len(values(tallies))
    rows = cases.activity({"orig_payload_bytes": 1, "orig_bytes": 60})
    many = rows.loc[rows.index.repeat(50_000)].reset_index(drop=True)
    many["flow"] = range(50_000)
    many["orig_ip"] = [f"10.1.{at >> 8}.{at & 255}" for at in range(50_000)]
    tallies.add(many, cases.flows(), cases.findings())
    page = values(tallies)
    assert page['swarmtap_peers_active{side="originator",site="hq"}'] == 50_000
    assert len(page) == size


def test_a_scrape_waits_for_a_copy_and_not_for_a_page(tallies: Tallies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who counts holds the same lock as who copies: while a page is written, it must be free."""
    free = []
    monkeypatch.setattr(
        "sensor.sinks.metrics.page", lambda *_, **__: str(free.append(tallies._lock.acquire(timeout=1)))
    )
    Pages(tallies)("", ())
    tallies._lock.release()
    assert free == [True]


def test_a_hundred_sites_have_as_many_series_as_the_manual_says() -> None:
    policy = Policy(sites=tuple(Site(f"site{at}", ()) for at in range(99)))
    rules = dict.fromkeys((f"rule{at}" for at in range(20)), "low")
    page = text(Tallies(policy, rules, ("a", "b"), ("c",)))
    assert 15_000 < page.count("\nswarmtap_") <= catalogue.series(100, 20, 2, 1)


def test_offenders_are_named_if_they_are_asked_for_and_never_more(tallies: Tallies) -> None:
    before = len(values(tallies))
    rows = [{"orig_ip": f"10.1.0.{at}", "resp_payload_bytes": at} for at in range(1, 9)]
    tallies.add(cases.activity(*rows), cases.flows(), cases.findings())
    tallies.set_judged(NOON + 10 * SECOND)
    assert "taker" not in text(tallies)
    tallies.name_offenders(2)
    tallies.add(cases.activity(*rows), cases.flows(), cases.findings())
    tallies.set_judged(NOON + 10 * SECOND)
    page = values(tallies)
    assert {name.partition("{")[2]: value for name, value in page.items() if "taker" in name} == {
        'site="hq",taker="10.1.0.8"}': 8,
        'site="hq",taker="10.1.0.7"}': 7,
        'site="other",taker="other"}': 21,
    }
    assert len(page) == before + 4  # with the clock's


def test_quiet_push_clears_what_is_active_and_nothing_else(tallies: Tallies) -> None:
    tallies.add(cases.activity({"orig_payload_bytes": 5}), cases.flows(), cases.findings())
    before = values(tallies)
    tallies.add(*NOTHING)
    assert moved(tallies, before) == {
        'swarmtap_flows_active{site="hq"}': -1,
        'swarmtap_peers_active{side="originator",site="hq"}': -1,
        'swarmtap_peers_active{side="responder",site="hq"}': -1,
    }


def test_flows_that_end_move_their_counters(tallies: Tallies) -> None:
    before = values(tallies)
    flows = cases.flows(
        {
            "end_ns": NOON + 5 * SECOND, "resp_payload_bytes": 2_000_000, "orig_peer_id": "a", "resp_peer_id": "b",
            "resp_gap_bytes": 7,
        },
        {"orig_site": "unknown", "resp_site": "ber", "verdict": "tls", "conn_state": "REJ", "end_ns": NOON},
    )  # fmt: skip
    tallies.add(cases.activity(), flows, cases.findings())
    now = moved(tallies, before)
    plain = {name: value for name, value in now.items() if "_bucket" not in name}
    assert plain == {
        'swarmtap_flow_gap_bytes_total{direction="to_originator",site="hq"}': 7,
        'swarmtap_flows_ended_total{conn_state="SF",site="hq"}': 1,
        'swarmtap_flows_ended_total{conn_state="REJ",site="ber"}': 1,
        'swarmtap_flow_verdicts_total{site="hq",verdict="do"}': 1,
        'swarmtap_flow_verdicts_total{site="ber",verdict="tls"}': 1,
        'swarmtap_flow_handshakes_total{handshake="both",site="hq"}': 1,
        'swarmtap_flow_duration_seconds_count{site="hq"}': 1,
        'swarmtap_flow_duration_seconds_sum{site="hq"}': 5,
        'swarmtap_flow_duration_seconds_count{site="ber"}': 1,
        'swarmtap_flow_size_bytes_count{site="hq"}': 1,
        'swarmtap_flow_size_bytes_sum{site="hq"}': 2_000_000,
        'swarmtap_flow_size_bytes_count{site="ber"}': 1,
    }
    buckets = [
        name.split('"')[1] for name in now if name.startswith("swarmtap_flow_size_bytes_bucket") and "hq" in name
    ]
    assert [float(edge) for edge in buckets] == [1e7, 1e8, 1e9, 1e10, float("inf")]


def test_bucket_edge_belongs_to_its_bucket(tallies: Tallies) -> None:
    tallies.add(cases.activity(), cases.flows({"end_ns": NOON + SECOND}), cases.findings())
    page = values(tallies)
    assert page['swarmtap_flow_duration_seconds_bucket{le="0.1",site="hq"}'] == 0
    assert page['swarmtap_flow_duration_seconds_bucket{le="1.0",site="hq"}'] == 1


def test_findings_count_by_rule_with_the_flow_as_exemplar(tallies: Tallies) -> None:
    finding = {"site": "hq", "rule": "r01_horizontal_scan", "level": "high", "flows": (7,), "last_ts_ns": NOON}
    tallies.add(cases.activity({"flow": 7}), cases.flows(), cases.findings(finding, finding))
    name = 'swarmtap_findings_total{level="high",rule="r01_horizontal_scan",site="hq"}'
    assert values(tallies)[name] == 2
    page = text(tallies, OPENMETRICS)
    assert f'{name} 2.0 # {{community_id="1:beV1u+LD013n0TD913ZJfaMWp+Y="}} 1.0 1773144000.0' in page


def test_names_that_no_policy_knows_fold_into_unknown() -> None:
    tallies = Tallies(Policy(sites=()), {})
    size = len(values(tallies))
    tallies.add(
        cases.activity({"orig_payload_bytes": 5}),
        cases.flows({}),
        cases.findings({"site": "hq", "rule": "x", "level": "low"}),
    )
    page = values(tallies)
    assert page['swarmtap_flows_active{site="unknown"}'] == 1
    assert len(page) == size + 1  # the rule, which is bounded by the rule files
    assert not any('site="hq"' in name for name in page)


def test_new_policy_adds_sites_at_zero_and_forgets_no_counter(tallies: Tallies) -> None:
    tallies.add(cases.activity({"orig_packets": 3}), cases.flows(), cases.findings())
    tallies.set_schedule("ber", is_open=False, next_change_ns=NOON)
    tallies.adopt(Policy(sites=(Site("new", (), peering="allowed"),)), {"p01": "high"})
    page = values(tallies)
    assert page['swarmtap_flow_packets_total{direction="to_responder",site="hq"}'] == 3
    assert page['swarmtap_flow_packets_total{direction="to_responder",site="new"}'] == 0
    assert page['swarmtap_findings_total{level="high",rule="p01",site="new"}'] == 0
    assert page['swarmtap_site_info{peering="allowed",site="new",timezone="UTC"}'] == 1
    assert not any(name.startswith(("swarmtap_schedule_open", "swarmtap_site_info")) and "ber" in name for name in page)
    assert not any(name.startswith("swarmtap_schedule_next") for name in page)


def test_schedule_is_stated_and_its_changes_counted(tallies: Tallies) -> None:
    tallies.set_schedule("hq", is_open=True, next_change_ns=NOON)
    page = values(tallies)
    assert page['swarmtap_schedule_open{site="hq"}'] == 1
    assert page['swarmtap_schedule_next_change_timestamp_seconds{site="hq"}'] == 1773144000
    assert page['swarmtap_schedule_transitions_total{site="hq",state="open"}'] == 0  # the first is no change
    tallies.set_schedule("hq", is_open=False, next_change_ns=None)
    tallies.set_schedule("hq", is_open=False, next_change_ns=None)
    page = values(tallies)
    assert page['swarmtap_schedule_transitions_total{site="hq",state="closed"}'] == 1
    assert page['swarmtap_schedule_open{site="hq"}'] == 0
    assert 'swarmtap_schedule_next_change_timestamp_seconds{site="hq"}' not in page


def test_each_setter_moves_its_own_series_only(tallies: Tallies) -> None:
    before = values(tallies)
    tallies.set_capture("eth0", Capture(1, 2, 3, 4, 0.5, 0.25, NOON, up=True, link_packets=5, silent=True))
    tallies.set_health(0.125, 0.75, 6)
    tallies.set_sink("eve", Delivery(5, 6, 7, 8))
    tallies.set_flow_table(entries=9, capacity=10, evictions=11)
    tallies.set_weird({WEIRDS[0]: 12})
    tallies.set_incidents({("hq", "high"): 13})
    tallies.set_judged(NOON)
    tallies.reloaded(success=True, at_ns=NOON)
    tallies.reloaded(success=False, at_ns=NOON + SECOND)
    assert moved(tallies, before) == {
        'swarmtap_capture_packets_total{interface="eth0"}': 1,
        'swarmtap_capture_bytes_total{interface="eth0"}': 2,
        'swarmtap_capture_kernel_drops_total{interface="eth0"}': 3,
        'swarmtap_capture_ring_freezes_total{interface="eth0"}': 4,
        'swarmtap_capture_ring_utilization_ratio{interface="eth0"}': 0.5,
        'swarmtap_capture_lag_seconds{interface="eth0"}': 0.25,
        'swarmtap_capture_last_packet_timestamp_seconds{interface="eth0"}': 1773144000,
        'swarmtap_capture_up{interface="eth0"}': 1,
        'swarmtap_capture_link_packets_total{interface="eth0"}': 5,
        'swarmtap_capture_silent{interface="eth0"}': 1,
        "swarmtap_capture_gap_ratio": 0.125,
        "swarmtap_capture_one_sided_ratio": 0.75,
        "swarmtap_capture_clock_steps_total": 6,
        'swarmtap_sink_deliveries_total{sink="eve"}': 5,
        'swarmtap_sink_failures_total{sink="eve"}': 6,
        'swarmtap_sink_drops_total{sink="eve"}': 7,
        'swarmtap_sink_queue_length{sink="eve"}': 8,
        "swarmtap_flow_table_entries": 9,
        "swarmtap_flow_table_capacity": 10,
        "swarmtap_flow_table_evictions_total": 11,
        f'swarmtap_weird_total{{kind="{WEIRDS[0]}"}}': 12,
        'swarmtap_incidents_open{level="high",site="hq"}': 13,
        "swarmtap_judged_until_timestamp_seconds": 1773144000,
        'swarmtap_config_reloads_total{result="success"}': 1,
        'swarmtap_config_reloads_total{result="failure"}': 1,
        "swarmtap_config_last_reload_success_timestamp_seconds": 1773144000,
    }
    tallies.set_incidents({})
    assert values(tallies)['swarmtap_incidents_open{level="high",site="hq"}'] == 0


def test_numbers_are_those_of_the_page(tallies: Tallies) -> None:
    tallies.add(cases.activity({"orig_payload_bytes": 5}), cases.flows({}), cases.findings())
    tallies.set_capture("eth0", Capture(packets=1))
    numbers = tallies.numbers()
    assert numbers["swarmtap_capture_packets_total", ("eth0",)] == 1
    plain = {
        name: value for name, value in values(tallies).items() if "_duration_" not in name and "_size_" not in name
    }
    assert sorted(numbers.values()) == sorted(plain.values())


def test_both_forms_of_the_page_are_read_alike(tallies: Tallies) -> None:
    finding = {"site": "hq", "rule": "r01_horizontal_scan", "level": "high", "flows": (7,), "last_ts_ns": NOON}
    tallies.add(cases.activity({"flow": 7, "orig_payload_bytes": 10**15 + 1}), cases.flows({}), cases.findings(finding))
    pages = Pages(tallies)
    plain, plain_type = pages("", ())
    open_, open_type = pages(OPENMETRICS, ())
    assert plain_type == "text/plain; version=0.0.4; charset=utf-8"
    assert open_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert open_.endswith(b"\n# EOF\n")
    read = [
        [
            (sample.name, sample.labels, sample.value)
            for family in parse(page.decode())
            for sample in family.samples
            if family.name.startswith("swarmtap_")
        ]
        for page, parse in ((plain, text_string_to_metric_families), (open_, families_of_openmetrics))
    ]
    assert read[0] == read[1]
    assert len(read[0]) > 400
    exemplars = [s.exemplar for f in families_of_openmetrics(open_.decode()) for s in f.samples if s.exemplar]
    assert [each.labels for each in exemplars] == [{"community_id": "1:beV1u+LD013n0TD913ZJfaMWp+Y="}]


def test_only_what_is_named_is_told(tallies: Tallies) -> None:
    names = ("swarmtap_capture_up", "swarmtap_flow_size_bytes_count", "process_open_fds")
    told = {line.partition("{")[0].split()[0] for line in text(tallies, "", *names).splitlines() if line[0] != "#"}
    assert told == set(names)


def test_scrapes_change_nothing(tallies: Tallies) -> None:
    tallies.add(cases.activity({"orig_payload_bytes": 5}), cases.flows({}), cases.findings())
    assert values(tallies) == values(tallies)


@pytest.mark.needs("promtool")
def test_promtool_has_nothing_to_say(tallies: Tallies) -> None:
    tallies.add(cases.activity({"orig_payload_bytes": 5}), cases.flows({}), cases.findings())
    promtool = shutil.which("promtool")
    assert promtool
    page = text(tallies).encode()
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

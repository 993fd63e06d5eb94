"""The stories: the committed captures are these, tshark reads them, and their truth is what tshark counts."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from sensor.samples import STORIES, build, truth
from sensor.samples.grounds import utc
from sensor.samples.office import WEEK

PCAPS = Path(__file__).parents[3] / "pcaps"
NAMES = sorted(STORIES)
ALONE = [name for name in NAMES if name != WEEK]
QUIET = {"allowed-night", "stale-peer-list", "refused", "quinq", "keepalives", "excepted"}
SECOND = 1_000_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_capture_is_a_fresh_build(name: str) -> None:
    assert build(name) == (PCAPS / f"{name}.pcap").read_bytes()


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in PCAPS.iterdir()) < 8_000_000


# --- what tshark says ---------------------------------------------------------------------------------------
@dataclass
class Seen:
    """One conversation as tshark counts it, both ways: index 0 is the sender of the first packet."""

    first_ns: int = 0
    last_ns: int = 0
    vlan: str = ""
    packets: list[int] = field(default_factory=lambda: [0, 0])
    ip_bytes: list[int] = field(default_factory=lambda: [0, 0])
    payload: list[int] = field(default_factory=lambda: [0, 0])
    late: Counter[int] = field(default_factory=Counter)  # payload by second
    again: int = 0


def tshark(*arguments: str, name: str) -> str:
    command = ["tshark", "-n", "-r", str(PCAPS / f"{name}.pcap"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


FIELDS = (
    "frame.time_epoch", "ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.srcport", "tcp.dstport", "ieee8021ad.id",
    "vlan.id", "ip.len", "ipv6.plen", "tcp.len", "tcp.analysis.retransmission",
)  # fmt: skip


@cache
def seen(name: str) -> dict[tuple[str, int, str, int], Seen]:
    """Count by conversation, keyed by the sender of its first packet."""
    wanted = [part for name_ in FIELDS for part in ("-e", name_)]
    found: dict[tuple[str, int, str, int], Seen] = {}
    for line in tshark("-T", "fields", *wanted, name=name).splitlines():
        when, src4, src6, dst4, dst6, sport, dport, outer, vlan, length, plen, size, again = line.split("\t")
        ends = ((src4 or src6), int(sport)), ((dst4 or dst6), int(dport))
        back = (*ends[1], *ends[0]) in found
        flow = found.setdefault((*ends[back], *ends[not back]), Seen())
        seconds, _, nanos = when.partition(".")
        flow.last_ns = int(seconds) * SECOND + int(nanos)
        flow.first_ns = flow.first_ns or flow.last_ns
        flow.vlan = flow.vlan or outer or vlan
        flow.packets[back] += 1
        flow.ip_bytes[back] += int(length) if length else int(plen) + 40
        if again and int(size):
            flow.again += int(size)
        else:
            flow.payload[back] += int(size)
            flow.late[int(seconds)] += int(size)
    return found


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_malformed_and_every_checksum_that_can_be_checked_is_right(name: str) -> None:
    check = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
    bad = "_ws.malformed or tcp.checksum.status == 0 or ip.checksum.status == 0 or !tcp"
    assert tshark(*check, "-Y", bad, name=name) == ""
    unchecked = tshark(*check, "-Y", "tcp.checksum.status != 1", name=name).count("\n")
    assert (unchecked > 0) == (STORIES[name].shape.snaplen == 160 or name == WEEK)


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("name", NAMES)
def test_wireshark_complains_of_nothing_but_what_was_meant(name: str) -> None:
    flagged = tshark("-Y", "tcp.analysis.flags and !tcp.flags.syn == 1", "-T", "fields", "-e", "tcp.len", name=name)
    meant = sum(flow.retransmitted_bytes > 0 for flow in truth(name).flows)
    assert flagged.split() == ["75"] * meant


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("name", NAMES)
def test_conversations_are_the_flows_of_the_truth(name: str) -> None:
    rows = [line.split() for line in tshark("-q", "-z", "conv,tcp", name=name).splitlines() if "<->" in line]
    conversations = sorted(tuple(sorted((row[0], row[2]))) for row in rows)
    flows = truth(name).flows
    assert len(flows) == STORIES[name].flows
    assert conversations == sorted(
        tuple(sorted((f"{flow.orig_ip}:{flow.orig_port}", f"{flow.resp_ip}:{flow.resp_port}"))) for flow in flows
    )


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("name", NAMES)
def test_volumes_are_those_of_the_truth(name: str) -> None:
    found = seen(name)
    assert len(found) == len(truth(name).flows)
    for flow in truth(name).flows:
        counted = found[flow.orig_ip, flow.orig_port, flow.resp_ip, flow.resp_port]
        assert counted.packets == [flow.orig_packets, flow.resp_packets]
        assert counted.ip_bytes == [flow.orig_bytes, flow.resp_bytes]
        assert counted.payload == [flow.orig_payload_bytes, flow.resp_payload_bytes]
        assert counted.again == flow.retransmitted_bytes
        assert (counted.first_ns, counted.last_ns) == (flow.start_ns, flow.end_ns)
        assert counted.vlan == str(flow.vlan)
    assert sum(sum(counted.packets) for counted in found.values()) == truth(name).packets
    assert sum(sum(counted.payload) for counted in found.values()) == truth(name).payload_bytes


@pytest.mark.needs("tshark")
def test_the_overrun_begins_five_minutes_after_the_slot() -> None:
    (counted,) = seen("slot-edge").values()
    edge = 1781064300  # 2026-06-10 04:05 UTC = 06:05 in Berlin
    late = sum(size for second, size in counted.late.items() if second >= edge)
    assert truth("slot-edge").off_window_payload_bytes == {"hq": late}
    assert 20_000_000 < late < sum(counted.payload) - 20_000_000


# --- what each story promises -------------------------------------------------------------------------------
def test_quiet_stories_are_these() -> None:
    assert {name for name in NAMES if not STORIES[name].findings} == QUIET


@pytest.mark.parametrize("name", sorted(QUIET))
def test_a_quiet_story_holds_nothing_that_a_rule_looks_for(name: str) -> None:
    flows = truth(name).flows
    assert sum(flow.off_window_payload_bytes for flow in flows) < 1 << 20
    assert {flow.verdict for flow in flows} <= {"do", "too_little"}
    assert "cash-desks" not in {site for flow in flows for site in (flow.orig_site, flow.resp_site)}
    assert all(flow.orig_site == flow.resp_site != "unknown" for flow in flows)
    targets = defaultdict(set)
    for flow in flows:
        if flow.verdict == "too_little":
            targets[flow.orig_ip].add(flow.resp_ip)
    assert all(len(found) < 20 for found in targets.values())


def test_off_window_payload_of_each_story() -> None:
    off = {name: truth(name).off_window_payload_bytes for name in NAMES}
    for name in ("allowed-night", "stale-peer-list", "refused", "quinq", "excepted", "cross-site", "sweep"):
        assert off[name] == {}
    assert off["off-window"]["hq"] > 17 << 20
    assert off["disabled-listener"] == {"cash-desks": 75}
    assert off["disabled-transfer"]["cash-desks"] > 64 << 10
    assert off["keepalives"] == {"hq": 2 * 75 + 2 * 11 + 60 * 4 + 9}
    assert truth("excepted").flows[0].exempt_payload_bytes > 5 << 20


def test_the_sweep_is_64_addresses_in_ten_seconds() -> None:
    flows = truth("sweep").flows
    assert {flow.resp_ip for flow in flows} == {f"10.1.30.{n}" for n in range(1, 65)}
    assert {flow.orig_ip for flow in flows} == {"10.1.20.99"}
    assert 9.5 < (flows[-1].end_ns - flows[0].start_ns) / SECOND < 10
    assert Counter(flow.conn_state for flow in flows) == {"S0": 43, "REJ": 21}


def test_the_stale_peer_list_is_nine_silent_peers_40_s_apart() -> None:
    starts = [flow.start_ns for flow in truth("stale-peer-list").flows]
    assert [(later - one) / SECOND for one, later in pairwise(starts)] == [40.0] * 8
    assert {(flow.orig_packets, flow.resp_packets) for flow in truth("stale-peer-list").flows} == {(5, 0)}


def test_stories_about_disabled_sites_do_not_straddle_a_window() -> None:
    for name in ("disabled-listener", "disabled-transfer"):
        (flow,) = truth(name).flows
        assert flow.start_ns // (10 * SECOND) == flow.end_ns // (10 * SECOND)


def test_the_second_connection_comes_while_the_first_lives() -> None:
    first, second, *_ = truth("allowed-night").flows
    assert first.swarm_hash == second.swarm_hash
    assert first.start_ns < second.start_ns < second.end_ns < first.end_ns


# --- the week -----------------------------------------------------------------------------------------------
def test_the_week_is_all_stories_and_ordinary_nights() -> None:
    week = truth(WEEK)
    assert {flow for name in ALONE for flow in truth(name).flows} < set(week.flows)
    assert set(week.findings) == {finding for name in ALONE for finding in STORIES[name].findings}
    assert week.packets > 20_000
    assert week.payload_bytes > 500_000_000
    off = Counter[str]()
    for name in ALONE:
        off.update(truth(name).off_window_payload_bytes)
    assert week.off_window_payload_bytes == off, "the ordinary nights are all inside the slots"


def test_no_two_flows_of_the_week_share_their_ends() -> None:
    ends = [(flow.orig_ip, flow.orig_port, flow.resp_ip, flow.resp_port) for flow in truth(WEEK).flows]
    assert len(set(ends)) == len(ends)


def test_the_week_is_in_the_week() -> None:
    flows = truth(WEEK).flows
    assert utc("2026-06-08T00:00") <= flows[0].start_ns
    assert max(flow.end_ns for flow in flows) < utc("2026-06-15T00:00")

"""Rows of the kernels to frames: what is joined to which window, what a flow's row sums up, and when each leaves."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from sensor.activity import Activity
from sensor.enrich import Policing
from sensor.exemptions import Exemptions
from sensor.policy import Exemption, Policy, Site, TimeInterval
from sensor.schedule import Schedules
from sensor.schema import (
    CONN_STATES,
    KIND_VERDICT,
    OUTCOMES,
    PEERINGS,
    ROLES,
    SCHEDULES,
    SCOPES,
    VERDICTS,
    ActivityFrame,
    Endings,
    FlowFrame,
    Handshakes,
    JudgedFlowFrame,
    JudgedFrame,
    Messages,
    Rows,
    Table,
    Windows,
)
from sensor.sites import Sites
from tests.streams import NOON, ORIG, RESP, SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.activity import Judged

HAVE, REQUEST, PIECE = 4, 6, 7
NIGHT = NOON + 10 * 3600 * SECOND  # 22:00
MIDNIGHT = NOON + 12 * 3600 * SECOND
HQ, OTHER_HQ, BENCH, BER, LAB, FAR = "10.1.0.5", "10.1.0.6", "10.1.40.7", "10.2.0.8", "10.3.0.9", "198.51.100.1"
POLICY = Policy(
    sites=(
        Site("hq", (ip_network("10.1.0.0/16"),), update_windows=("nights",)),
        Site("ber", (ip_network("10.2.0.0/16"),), peering="disabled"),
        Site("lab", (ip_network("10.3.0.0/16"),), peering="allowed", peers="any"),
    ),
    time_intervals={"nights": (TimeInterval(times=((22 * 60, 24 * 60),)),)},
    exemptions=(
        Exemption("CHG-1", "nora", "bench", NOON + 86_400 * SECOND, subnets=(ip_network("10.1.40.0/24"),)),
        Exemption("CHG-2", "nora", "test", NOON + 20 * SECOND, sites=("ber",), allow=("disabled",)),
    ),
    local=(ip_network("10.0.0.0/8"),),
)
CATEGORIES = {
    "orig_site": ["hq", "ber", "lab", "unknown"],
    "resp_site": ["hq", "ber", "lab", "unknown"],
    "site": ["hq", "ber", "lab", "unknown"],
    "site_pair": [
        "ber~ber", "ber~hq", "ber~lab", "ber~unknown", "hq~hq",
        "hq~lab", "hq~unknown", "lab~lab", "lab~unknown", "unknown~unknown",
    ],
    "scope": list(SCOPES),
    "peering": list(PEERINGS),
    "schedule": list(SCHEDULES),
    "outcome": list(OUTCOMES),
    "verdict": list(VERDICTS),
    "conn_state": list(CONN_STATES),
    "orig_role": list(ROLES),
    "resp_role": list(ROLES),
}  # fmt: skip


def policing(policy: Policy = POLICY) -> Policing:
    return Policing(policy, Sites(policy), Schedules(policy, NOON, NOON), Exemptions(policy))


def make(table: type[Table], rows: Sequence[dict[str, Any]], **base: Any) -> Rows:
    made = table.empty(len(rows))
    for at, given in enumerate(rows):
        row = base | given
        for side, default in (("orig", HQ), ("resp", OTHER_HQ)):
            if f"{side}_hi" in table.names():
                address = ip_address(row.pop(side, default))
                number = int(address) if address.version == 6 else 0xFFFF_0000_0000 | int(address)
                made[f"{side}_hi"][at], made[f"{side}_lo"][at] = number >> 64, number & 2**64 - 1
        for name, value in row.items():
            made[name][at] = value
    return made


def windows(*rows: dict[str, Any]) -> Rows:
    base = {"flow_start_ns": NOON, "orig_port": 50000, "resp_port": 7680, "ip_version": 4, "established": 1}
    listed = [{"window_start_ns": NOON} | row for row in rows]
    for row in listed:
        row.setdefault("first_ts_ns", row["window_start_ns"])
        row.setdefault("last_ts_ns", row["window_start_ns"])
    return make(Windows, listed, **base)


def endings(*rows: dict[str, Any]) -> Rows:
    return make(Endings, rows, start_ns=NOON, end_ns=NOON, orig_port=50000, resp_port=7680, ip_version=4)


def said(*rows: tuple[int, int, int, int, int]) -> list[Rows]:
    """Return messages of (flow, ms after noon, side, kind, length), each in a table of its own."""
    made = []
    for flow, ms, side, kind, length in rows:
        row = {"flow": flow, "ts_ns": NOON + ms * 1_000_000, "from_resp": side, "kind": kind, "length": length}
        made.append(make(Messages, [row]))
    return made


def verdict(flow: int, ms: int, name: str) -> Rows:
    row = {"flow": flow, "ts_ns": NOON + ms * 1_000_000, "kind": KIND_VERDICT, "index": VERDICTS.index(name)}
    return make(Messages, [row])


def shake(flow: int, ms: int, side: int, content: int, peer: int) -> Rows:
    row = {"flow": flow, "ts_ns": NOON + ms * 1_000_000, "from_resp": side}
    return make(Handshakes, [row | {"swarm_hash": [content] * 32, "peer_id": [peer] * 16}])


class Desk(Activity):
    """An `Activity` that is pushed by name."""

    def __init__(self, policy: Policy = POLICY) -> None:
        super().__init__(policing(policy), 10)

    def take(
        self,
        rows: Rows | None = None,
        over: Rows | None = None,
        heard: Sequence[Rows] = (),
        shaken: Sequence[Rows] = (),
        *,
        until_s: int | None = None,
    ) -> Judged:
        until_ns = None if until_s is None else NOON + until_s * SECOND
        return self.push(
            [windows() if rows is None else rows], [endings() if over is None else over], heard, shaken, until_ns
        )


# --- columns ---
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_columns_and_dtypes_are_those_of_the_schema(rows: int) -> None:
    judged = Desk().take(windows(*[{"flow": at} for at in range(rows)]), endings(*[{"flow": at} for at in range(rows)]))
    judged = judged.told()
    tables = ((judged.activity, (ActivityFrame, JudgedFrame)), (judged.flows, (FlowFrame, JudgedFlowFrame)))
    for frame, declaring in tables:
        declared = {column.name: column.dtype for table in declaring for column in table.columns()}
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {n: declared[n] for n in frame.columns}
        for name, dtype in frame.dtypes.items():
            if isinstance(dtype, pd.CategoricalDtype):
                assert dtype.categories.tolist() == CATEGORIES[str(name)], name
        assert len(frame) == rows
    assert judged.activity.columns.tolist() == [*ActivityFrame.names(), *JudgedFrame.names()]
    assert judged.flows.columns[: len(FlowFrame.names()) + 1].tolist() == [*FlowFrame.names(), "flow"]


def test_every_column_of_a_window() -> None:
    counted = {
        "orig_packets": 5, "resp_packets": 6, "orig_bytes": 700, "resp_bytes": 800, "orig_payload_bytes": 90,
        "resp_payload_bytes": 100, "retransmitted_bytes": 11, "duplicate_packets": 12, "syns": 1, "syn_acks": 2,
        "resets": 3, "fins": 4, "first_number": 13, "first_offset": 14, "first_input": 15, "flow": 16,
        "first_ts_ns": NOON + 1, "last_ts_ns": NOON + 2,
    }  # fmt: skip
    rows = windows(counted | {"vlan": 20, "role_guessed": 1, "flow_start_ns": NOON - 7})
    (row,) = Desk().take(rows, heard=[verdict(16, 0, "do")]).activity.to_dict("records")
    wanted = counted | {
        "window_start_ns": NOON,
        "window_s": 10,
        "community_id": "1:YE3XifdMGJQ7GJI2Sb8FNn+tfwQ=",
        "orig_ip": "10.1.0.5",
        "resp_ip": "10.1.0.6",
        "orig_port": 50000,
        "resp_port": 7680,
        "ip_version": 4,
        "vlan": 20,
        "orig_site": "hq",
        "resp_site": "hq",
        "site": "hq",
        "site_pair": "hq~hq",
        "scope": "same_subnet",
        "peering": "scheduled",
        "schedule": "closed",
        "orig_pieces": 0,
        "resp_pieces": 0,
        "orig_piece_bytes": 0,
        "resp_piece_bytes": 0,
        "orig_requests": 0,
        "resp_requests": 0,
        "off_window_payload_bytes": 190,
        "exempt_payload_bytes": 0,
        "payload_bytes": 190,
        "outcome": "transfer",
        "verdict": "do",
        "flow_start_ns": NOON - 7,
        "peers_allowed": True,
        "orig_local": True,
        "resp_local": True,
        "orig_role": "unknown",
        "resp_role": "unknown",
        "orig_known": True,
        "resp_known": True,
        "role_guessed": True,
        "exception": "",
        "schedule_since_ns": NOON - 12 * 3600 * SECOND,
        "schedule_next_ns": NIGHT,
        "overrun_s": 0,
        "address_step": 0,
    }
    assert {name: row[name] for name in wanted} == wanted


def test_every_column_of_a_flow() -> None:
    rows = windows({"flow": 3, "orig_packets": 2, "resp_payload_bytes": 40})
    over = endings(
        {
            "flow": 3,
            "end_ns": NOON + 9,
            "orig_gap_bytes": 5,
            "resp_gap_bytes": 6,
            "vlan": 20,
            "conn_state": CONN_STATES.index("RSTR"),
            "role_guessed": 1,
        }
    )
    (row,) = Desk().take(rows, over, [verdict(3, 0, "tls")]).flows.to_dict("records")
    told = {name: row[name] for name in [*FlowFrame.names(), "flow"] if row[name] not in {0, ""}}
    assert told == {
        "community_id": "1:YE3XifdMGJQ7GJI2Sb8FNn+tfwQ=",
        "start_ns": NOON,
        "end_ns": NOON + 9,
        "ip_version": 4,
        "vlan": 20,
        "orig_ip": "10.1.0.5",
        "orig_port": 50000,
        "resp_ip": "10.1.0.6",
        "resp_port": 7680,
        "orig_site": "hq",
        "resp_site": "hq",
        "scope": "same_subnet",
        "conn_state": "RSTR",
        "role_guessed": True,
        "orig_packets": 2,
        "resp_payload_bytes": 40,
        "orig_gap_bytes": 5,
        "resp_gap_bytes": 6,
        "verdict": "tls",
        "off_window_payload_bytes": 40,
        "flow": 3,
    }


# --- outcome ---
@pytest.mark.parametrize(
    ("counted", "outcome"),
    [
        ({"syns": 1}, "attempt"),
        ({}, "attempt"),
        ({"syns": 1, "resets": 1}, "refused"),
        ({"syns": 1, "syn_acks": 1}, "listener"),
        ({"syns": 1, "syn_acks": 1, "resets": 1}, "listener"),
        ({"syns": 1, "syn_acks": 1, "established": 1}, "established"),
        ({"established": 1}, "established"),
        ({"established": 1, "resets": 2}, "established"),
        ({"established": 1, "retransmitted_bytes": 75}, "established"),
        ({"orig_payload_bytes": 1}, "transfer"),
        ({"resp_payload_bytes": 1, "resets": 1, "established": 1}, "transfer"),
    ],
)
def test_the_outcome_is_the_furthest_it_got_in_the_window(counted: dict[str, int], outcome: str) -> None:
    assert Desk().take(windows({"established": 0} | counted)).activity["outcome"].tolist() == [outcome]


# --- verdict ---
def test_the_verdict_is_what_was_known_by_the_windows_end() -> None:
    rows = windows(*({"window_start_ns": NOON + at * SECOND} for at in (0, 10, 20, 30)))
    heard = [verdict(0, 10_000, "opaque"), verdict(0, 29_999, "do"), verdict(0, 30_000, "do_malformed")]
    judged = Desk().take(rows, endings({}), heard[::-1])
    # 12:00:10 is no longer in the window that ends then.
    assert judged.activity["verdict"].tolist() == ["too_little", "opaque", "do", "do_malformed"]
    assert judged.flows["verdict"].tolist() == ["do_malformed"]


def test_a_verdict_holds_for_later_pushes_until_the_flow_is_over() -> None:
    desk = Desk()
    assert desk.take(windows({}), heard=[verdict(0, 5, "do")], until_s=10).activity["verdict"].tolist() == ["do"]
    later = windows({"window_start_ns": NOON + 70 * SECOND}, {"window_start_ns": NOON + 70 * SECOND, "flow": 1})
    judged = desk.take(later, endings({}, {"flow": 1}), until_s=80)
    assert judged.activity["verdict"].tolist() == ["do", "too_little"]
    assert judged.flows["verdict"].tolist() == ["do", "too_little"]
    assert len(desk._verdicts) == 0


def test_verdicts_of_other_flows_are_not_taken() -> None:
    judged = Desk().take(
        windows(*({"flow": flow} for flow in range(5))),
        endings(*({"flow": flow} for flow in range(5))),
        [verdict(3, 1, "ssh"), verdict(1, 1, "do")],
    )
    wanted = ["too_little", "do", "too_little", "ssh", "too_little"]
    assert judged.activity["verdict"].tolist() == judged.flows["verdict"].tolist() == wanted


# --- messages ---
def test_messages_are_counted_in_their_window_and_by_their_side() -> None:
    rows = windows(
        {"flow": 2},
        {"flow": 2, "window_start_ns": NOON + 20 * SECOND},
        {"flow": 5},
        {"flow": 9, "window_start_ns": NOON + 20 * SECOND},
    )
    heard = said(
        (2, 0, ORIG, REQUEST, 1000), (2, 9_999, RESP, PIECE, 700), (2, 9_999, RESP, PIECE, 300), (2, 1, ORIG, HAVE, 5),
        (2, 20_000, ORIG, PIECE, 50), (5, 5, RESP, REQUEST, 9), (9, 29_000, ORIG, PIECE, 2**33),
    )  # fmt: skip
    judged = Desk().take(rows, endings({"flow": 2}, {"flow": 5}, {"flow": 9}), heard)
    names = ["orig_pieces", "resp_pieces", "orig_piece_bytes", "resp_piece_bytes", "orig_requests", "resp_requests"]
    assert judged.activity[["flow", *names]].to_numpy().tolist() == [
        [2, 0, 2, 0, 1000, 1, 0],
        [5, 0, 0, 0, 0, 0, 1],
        [2, 1, 0, 50, 0, 0, 0],
        [9, 1, 0, 2**33, 0, 0, 0],
    ]
    assert judged.flows[["flow", *names]].to_numpy().tolist() == [
        [2, 1, 2, 50, 1000, 1, 0],
        [5, 0, 0, 0, 0, 0, 1],
        [9, 1, 0, 2**33, 0, 0, 0],
    ]


# --- what waits ---
def test_rows_wait_for_the_end_of_their_window() -> None:
    desk = Desk()
    rows = windows({"orig_packets": 1}, {"window_start_ns": NOON + 10 * SECOND, "orig_packets": 2})
    heard = said((0, 1, ORIG, PIECE, 5), (0, 10_000, ORIG, PIECE, 6))
    first = desk.take(rows, endings({"end_ns": NOON + 10 * SECOND}), heard, until_s=10)
    assert first.activity[["orig_packets", "orig_piece_bytes"]].to_numpy().tolist() == [[1, 5]]
    assert len(first.flows) == 0, "a flow waits for its last window"
    second = desk.take(until_s=20)
    assert second.activity[["orig_packets", "orig_piece_bytes"]].to_numpy().tolist() == [[2, 6]]
    assert second.flows[["orig_packets", "orig_piece_bytes"]].to_numpy().tolist() == [[3, 11]]
    last = desk.take()
    assert (len(last.activity), len(last.flows)) == (0, 0), "each is given once"


def test_messages_may_come_before_their_window_does() -> None:
    desk = Desk()
    assert (
        len(desk.take(heard=[*said((0, 10_500, RESP, PIECE, 7)), verdict(0, 10_500, "do")], until_s=10).activity) == 0
    )
    judged = desk.take(windows({"window_start_ns": NOON + 10 * SECOND}), until_s=20)
    assert judged.activity[["resp_piece_bytes", "verdict"]].to_numpy().tolist() == [[7, "do"]]


def test_rows_leave_by_window_then_by_flow() -> None:
    places = [(5, 20), (1, 10), (9, 0), (3, 10), (1, 20)]
    rows = windows(*({"flow": flow, "window_start_ns": NOON + at * SECOND} for flow, at in places))
    judged = Desk().take(rows, endings({"flow": 9}, {"flow": 1}, {"flow": 5}, {"flow": 3}))
    assert judged.activity["flow"].tolist() == [9, 1, 3, 1, 5]
    assert judged.flows["flow"].tolist() == [1, 3, 5, 9]


def test_rows_of_one_flow_and_window_are_joined() -> None:
    # Packets that came late reopened the first window after it was closed.
    rows = windows(
        {"orig_packets": 3, "syns": 1, "first_ts_ns": NOON + 5, "last_ts_ns": NOON + 9, "first_number": 7},
        {"orig_packets": 1, "window_start_ns": NOON + 10 * SECOND},
        {"orig_packets": 2, "syns": 1, "first_ts_ns": NOON + 2, "last_ts_ns": NOON + 3, "first_number": 4, "flow": 0},
        {"orig_packets": 8, "flow": 1, "established": 0},
        {"orig_packets": 9, "flow": 1, "established": 1},
    )
    activity = Desk().take(rows).activity
    names = ["flow", "orig_packets", "syns", "first_number"]
    assert activity[names].to_numpy().tolist() == [[0, 5, 2, 4], [1, 17, 0, 0], [0, 1, 0, 0]]
    assert (activity["first_ts_ns"][0], activity["last_ts_ns"][0]) == (NOON + 2, NOON + 9)
    assert activity["outcome"].tolist() == ["established"] * 3


# --- schedule ---
@pytest.mark.parametrize(
    ("orig", "resp", "at_ns", "schedule", "volumes", "exception"),
    [
        (HQ, OTHER_HQ, NOON, "closed", (30, 0), ""),
        (HQ, OTHER_HQ, NIGHT, "open", (0, 0), ""),
        (HQ, OTHER_HQ, NIGHT - 10 * SECOND, "closed", (30, 0), ""),
        (LAB, LAB, NOON, "allowed", (0, 0), ""),
        (HQ, LAB, NOON, "closed", (30, 0), ""),
        (HQ, LAB, NIGHT, "open", (0, 0), ""),
        (HQ, BER, NIGHT, "disabled", (30, 0), ""),
        (BER, LAB, NOON, "exempt", (0, 30), "CHG-2"),
        (BER, LAB, NOON + 20 * SECOND, "disabled", (30, 0), ""),  # it has expired
        (BENCH, HQ, NOON, "exempt", (0, 30), "CHG-1"),
        (HQ, BENCH, NOON, "exempt", (0, 30), "CHG-1"),
        (BENCH, HQ, NIGHT, "open", (0, 0), ""),  # what is open needs no excuse
        (HQ, FAR, NIGHT, "closed", (30, 0), ""),
    ],
)
def test_volumes_by_the_state_of_the_schedule(
    orig: str, resp: str, at_ns: int, schedule: str, volumes: tuple[int, int], exception: str
) -> None:
    row = {"orig": orig, "resp": resp, "window_start_ns": at_ns, "orig_payload_bytes": 10, "resp_payload_bytes": 20}
    judged = Desk().take(windows(row), endings({"orig": orig, "resp": resp, "start_ns": at_ns, "end_ns": at_ns}))
    names = ["off_window_payload_bytes", "exempt_payload_bytes"]
    (told,) = judged.activity.to_dict("records")
    assert (told["schedule"], told["exception"]) == (schedule, exception)
    assert tuple(judged.activity[names].to_numpy()[0]) == volumes
    assert tuple(judged.flows[names].to_numpy()[0]) == volumes


def test_a_flow_over_the_opening_is_off_window_in_part() -> None:
    rows = windows(
        {"window_start_ns": NIGHT - 10 * SECOND, "orig_payload_bytes": 10},
        {"window_start_ns": NIGHT, "orig_payload_bytes": 100},
    )
    judged = Desk().take(rows, endings({"start_ns": NIGHT - SECOND, "end_ns": NIGHT + SECOND}))
    assert judged.activity["off_window_payload_bytes"].tolist() == [10, 0]
    assert judged.flows[["orig_payload_bytes", "off_window_payload_bytes"]].to_numpy().tolist() == [[110, 10]]


@pytest.mark.parametrize(
    ("began_ns", "at_ns", "overrun_s"),
    [
        (NIGHT, MIDNIGHT - 10 * SECOND, 0),  # still open
        (NIGHT, MIDNIGHT, 10),
        (NIGHT, MIDNIGHT + 600 * SECOND, 610),
        (MIDNIGHT, MIDNIGHT, 0),  # it began when all was closed already
        (MIDNIGHT + SECOND, MIDNIGHT + 600 * SECOND, 0),
        (NOON, NIGHT - 10 * SECOND, 0),
        (NIGHT - SECOND, MIDNIGHT + 600 * SECOND, 0),  # it began before the slot, and only passed through it
    ],
)
def test_how_long_a_flow_outlives_its_slot(began_ns: int, at_ns: int, overrun_s: int) -> None:
    row = {"flow_start_ns": began_ns, "window_start_ns": at_ns}
    assert Desk().take(windows(row)).activity["overrun_s"].tolist() == [overrun_s]


def test_what_is_always_open_or_never_has_no_slot_to_outlive() -> None:
    rows = windows({"orig": LAB, "resp": LAB}, {"flow": 1, "resp": BER}, {"flow": 2, "resp": FAR})
    rows["flow_start_ns"] = NOON - 86_400 * SECOND
    assert Desk().take(rows).activity["overrun_s"].tolist() == [0, 0, 0]


# --- sites ---
@pytest.mark.parametrize(
    ("orig", "resp", "told"),
    [
        (HQ, BER, ("hq", "ber", "hq", "ber~hq", "cross_site", "disabled", False)),
        (BER, HQ, ("ber", "hq", "ber", "ber~hq", "cross_site", "disabled", False)),
        (LAB, HQ, ("lab", "hq", "lab", "hq~lab", "cross_site", "scheduled", False)),
        (FAR, HQ, ("unknown", "hq", "hq", "hq~unknown", "internet", "scheduled", False)),
        (HQ, FAR, ("hq", "unknown", "hq", "hq~unknown", "internet", "scheduled", False)),
        ("10.7.0.1", "10.7.0.2", ("unknown", "unknown", "unknown", "unknown~unknown", "unknown", "unknown", True)),
        ("2001:db8::1", HQ, ("unknown", "hq", "hq", "hq~unknown", "internet", "scheduled", False)),
    ],
)
def test_sites_of_both_sides(orig: str, resp: str, told: tuple[Any, ...]) -> None:
    activity = Desk().take(windows({"orig": orig, "resp": resp})).activity
    names = ["orig_site", "resp_site", "site", "site_pair", "scope", "peering", "peers_allowed"]
    assert tuple(activity[names].to_numpy()[0]) == told
    assert (activity["orig_ip"][0], activity["resp_ip"][0]) == (orig, resp)
    assert activity["orig_local"][0] == orig.startswith("10.")


# --- who asks whom ---
def asks(*targets: str, first_flow: int = 0, orig: str = HQ, at_s: int = 0) -> Rows:
    """Return the first windows of flows by one originator, a second apart."""
    listed = []
    for at, resp in enumerate(targets):
        start_ns = NOON + (at_s + at) * SECOND
        listed.append({"flow": first_flow + at, "orig": orig, "resp": resp, "syns": 1, "flow_start_ns": start_ns})
        listed[-1] |= {"first_ts_ns": start_ns, "window_start_ns": start_ns // (10 * SECOND) * 10 * SECOND}
    return windows(*listed)


def test_steps_from_one_address_to_the_next() -> None:
    targets = ["10.1.2.1", "10.1.2.2", "10.1.2.4", "10.1.2.3", "10.1.3.3", "10.200.0.1", "::1", "2001:db8::1"]
    assert Desk().take(asks(*targets)).activity["address_step"].tolist() == [0, 1, 2, -1, 256, 0, 0, 0]


def test_each_originator_walks_alone_and_over_pushes() -> None:
    desk = Desk()
    rows = np.concatenate(
        [asks("10.1.2.1", "10.1.2.2"), asks("10.1.2.9", "10.1.2.7", first_flow=2, orig=OTHER_HQ, at_s=2)]
    )
    assert desk.take(rows, until_s=10).activity["address_step"].tolist() == [0, 1, 0, -2]
    later = asks("10.1.2.5", first_flow=4, at_s=10)
    assert desk.take(later).activity["address_step"].tolist() == [3]


def test_only_the_first_window_of_what_was_asked_is_a_step() -> None:
    desk = Desk()
    desk.take(asks("10.1.2.1"), until_s=10)
    going_on = {"flow": 0, "resp": "10.1.2.1", "syns": 1, "window_start_ns": NOON + 10 * SECOND}
    guessed = {
        "flow": 1,
        "resp": "10.1.2.2",
        "window_start_ns": NOON + 10 * SECOND,
        "flow_start_ns": NOON + 10 * SECOND,
    }
    assert desk.take(windows(going_on, guessed), until_s=20).activity["address_step"].tolist() == [0, 0]
    assert desk.take(asks("10.1.2.3", first_flow=2, at_s=20)).activity["address_step"].tolist() == [2]


# --- flows over several pushes ---
def test_a_flow_sums_up_all_its_windows() -> None:
    desk = Desk()
    names = ["orig_packets", "resp_bytes", "orig_payload_bytes", "duplicate_packets", "off_window_payload_bytes"]
    for at in range(5):
        rows = [
            {
                "flow": flow,
                "window_start_ns": NOON + 10 * at * SECOND,
                "orig_packets": 1,
                "resp_bytes": 100 * (flow + 1),
                "orig_payload_bytes": 10**at,
                "duplicate_packets": flow,
            }
            for flow in (0, 1)
        ]
        assert len(desk.take(windows(*rows), until_s=10 * at + 10).flows) == 0
    flows = desk.take(over=endings({"flow": 1}), until_s=60).flows
    assert flows[["flow", *names]].to_numpy().tolist() == [[1, 5, 1000, 11111, 5, 11111]]
    assert desk._sums.flows.tolist() == [0], "what is over is forgotten"
    flows = desk.take(over=endings({"flow": 0}), until_s=60).flows
    assert flows[["flow", *names]].to_numpy().tolist() == [[0, 5, 500, 11111, 0, 11111]]
    assert len(desk._sums.flows) == 0


def test_who_and_what_the_first_handshakes_name() -> None:
    desk = Desk()
    desk.take(windows({"flow": 1}, {"flow": 2}, {"flow": 3}), shaken=[shake(2, 50, RESP, 0xAB, 0x22)], until_s=10)
    judged = desk.take(
        over=endings({"flow": 1}, {"flow": 2}, {"flow": 3}),
        shaken=[
            shake(2, 60, ORIG, 0xCD, 0x33),
            shake(2, 70, RESP, 0xEE, 0x44),  # it says so again, and another thing
            shake(3, 10, ORIG, 0x01, 0x55),
        ],
    )
    assert judged.flows["swarm_hash"].tolist() == ["", "ab" * 32, "01" * 32]
    assert judged.flows["orig_peer_id"].tolist() == [
        "",
        "33333333-3333-3333-3333-333333333333",
        "55555555-5555-5555-5555-555555555555",
    ]
    assert judged.flows["resp_peer_id"].tolist() == ["", "22222222-2222-2222-2222-222222222222", ""]
    assert len(desk._handshakes) == 0


# --- another policy ---
def test_another_policy_holds_from_the_next_row_on() -> None:
    desk = Desk()
    desk.take(windows({"orig_payload_bytes": 1}), until_s=10)
    site = Site("home", (ip_network("10.0.0.0/8"),), peering="allowed")
    desk.adopt(policing(Policy((site,))))
    judged = desk.take(windows({"window_start_ns": NOON + 10 * SECOND, "orig_payload_bytes": 2}), endings({}))
    assert judged.activity[["site", "schedule"]].to_numpy().tolist() == [["home", "allowed"]]
    assert judged.flows[["orig_site", "orig_payload_bytes", "off_window_payload_bytes"]].to_numpy().tolist() == [
        ["home", 3, 1]
    ]


def test_what_was_given_is_not_touched_again() -> None:
    desk = Desk()
    rows, over = windows({"orig_payload_bytes": 5}), endings({})
    judged = desk.take(rows, over, said((0, 1, ORIG, PIECE, 5)), until_s=10)
    before = (judged.activity.copy(), judged.flows.copy())
    desk.take(windows({"flow": 1}, {"flow": 2}), endings({"flow": 1}))
    assert judged.activity.equals(before[0])
    assert judged.flows.equals(before[1])
    assert np.array_equal(rows, windows({"orig_payload_bytes": 5}))

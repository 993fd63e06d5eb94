"""Flow tracking against truths counted by hand: sequence accounting, roles, states, expiry, eviction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensor.decode import decode
from sensor.flows import FlowOptions, FlowTable
from sensor.kernels import tracking
from sensor.schema import WEIRD_BIT, WEIRDS, Endings, Tracks, Windows
from tests.builders import ACK, FIN, RST, SYN, ethernet, ipv4, ipv6, tcp
from tests.streams import NOON, ORIG, RESP, SECOND, Tape, batch_of, play, run_as_python

if TYPE_CHECKING:
    from collections.abc import Callable

TWO_32 = 1 << 32


def news(tape: Tape) -> list[int]:
    """Return the new bytes of each packet with payload."""
    told = play(tape)
    return [int(t["new_bytes"]) for t, p in zip(told.tracks, told.packets, strict=True) if p["payload_bytes"]]


# --- counting ---
def test_a_whole_connection_is_counted_by_direction() -> None:
    tape = Tape().open().orig(0, b"a" * 75).resp(0, b"b" * 75, acked=75).orig(75, b"c" * 10, acked=75).close(85, 75)
    flow = play(tape).flow()
    assert flow["orig_packets"] == 6  # SYN, ACK, two with payload, FIN, last ACK
    assert flow["resp_packets"] == 3  # SYN+ACK, one with payload, FIN
    assert flow["orig_bytes"] == 6 * 40 + 85
    assert flow["resp_bytes"] == 3 * 40 + 75
    assert (flow["orig_payload_bytes"], flow["resp_payload_bytes"]) == (85, 75)
    assert (flow["syns"], flow["syn_acks"], flow["fins"], flow["resets"]) == (1, 1, 2, 0)
    assert flow["retransmitted_bytes"] == flow["duplicate_packets"] == 0
    assert (flow["orig_gap_bytes"], flow["resp_gap_bytes"]) == (0, 0)
    assert (flow["start_ns"], flow["end_ns"]) == (NOON, NOON + 8 * SECOND // 10)
    assert (flow["orig_port"], flow["resp_port"], flow["ip_version"]) == (50000, 7680, 4)


def test_ipv6_and_its_bytes() -> None:
    flow = play(Tape("2001:db8:1::5", "2001:db8:1::6").open().orig(0, b"a" * 7)).flow()
    assert (flow["ip_version"], flow["orig_bytes"], flow["orig_payload_bytes"]) == (6, 3 * 60 + 7, 7)
    assert flow["orig_hi"] == 0x20010DB800010000
    assert (flow["orig_lo"], flow["resp_lo"]) == (5, 6)


def test_padding_of_a_short_frame_is_not_payload() -> None:
    short = ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, 7680, b"\0\0\0\0", seq=5)), pad=True)
    assert len(short) == 60
    assert play([(NOON, short)]).flow()["orig_payload_bytes"] == 4


# --- where bytes lie ---
@pytest.mark.parametrize("isn", [(1000, 900), (TWO_32 - 50, TWO_32 - 2), (TWO_32 - 1, TWO_32 - 1), (0, 0)])
def test_sequence_numbers_wrap(isn: tuple[int, int]) -> None:
    tape = Tape(isn=isn).open().orig(0, b"a" * 100).orig(100, b"b" * 100).resp(0, b"c" * 3, acked=200)
    told = play(tape)
    assert [int(p) for p in told.tracks["position"][3:]] == [0, 100, 0]
    flow = told.flow()
    assert (flow["orig_payload_bytes"], flow["resp_payload_bytes"]) == (200, 3)
    assert flow["retransmitted_bytes"] == flow["orig_gap_bytes"] == flow["resp_gap_bytes"] == 0


def test_positions_go_on_beyond_four_gib() -> None:
    jumps = [0, (1 << 31) - 200, TWO_32 - 300, TWO_32 + 500, 3 * (1 << 31)]
    tape = Tape(isn=(TWO_32 - 77, 5)).open()
    for at in jumps:
        tape.orig(at, b"x" * 100)
    told = play(tape)
    assert [int(p) for p in told.tracks["position"][3:]] == jumps
    assert told.flow()["orig_payload_bytes"] == 500


def test_retransmission_is_not_new() -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(0, b"a" * 100).orig(100, b"b")
    assert news(tape) == [100, 0, 1]
    flow = play(tape).flow()
    assert (flow["orig_payload_bytes"], flow["retransmitted_bytes"]) == (101, 100)


def test_overlap_counts_once() -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(50, b"b" * 100).orig(20, b"c" * 200)
    assert news(tape) == [100, 50, 70]
    assert play(tape).flow()["retransmitted_bytes"] == 50 + 130


def test_out_of_order_fills_its_hole() -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(200, b"c" * 100).orig(100, b"b" * 100).resp(0, acked=300)
    assert news(tape) == [100, 100, 100]
    assert play(tape).flow()["orig_gap_bytes"] == 0


def test_first_bytes_may_come_last() -> None:
    tape = Tape().open().orig(100, b"b" * 100).orig(0, b"a" * 100).resp(0, acked=200)
    assert news(tape) == [100, 100]
    assert play(tape).flow()["orig_gap_bytes"] == 0


def test_a_hole_can_be_split_and_filled_in_parts() -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(300, b"d" * 100)
    tape.orig(150, b"b" * 50)  # in the middle of the hole
    tape.orig(90, b"c" * 70)  # its lower end, and 10 bytes each side that were seen
    tape.orig(100, b"e" * 250)  # everything: 150…200 and 90…160 and 300…350 were seen
    assert news(tape) == [100, 100, 50, 50, 100]
    flow = play(tape.resp(0, acked=400)).flow()
    assert (flow["orig_payload_bytes"], flow["retransmitted_bytes"]) == (400, 20 + 150)
    assert flow["orig_gap_bytes"] == 0


def test_one_segment_over_several_holes() -> None:
    tape = Tape().open()
    for at in (0, 20, 40, 60):
        tape.orig(at, b"a" * 10)
    assert news(tape.orig(5, b"b" * 60)) == [10, 10, 10, 10, 30]


@pytest.mark.parametrize(("acked", "gap"), [(0, 0), (100, 0), (150, 50), (200, 100), (300, 100)])
def test_a_gap_is_what_was_acked_but_not_seen(acked: int, gap: int) -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(200, b"c" * 100).resp(0, acked=acked)
    assert play(tape).flow()["orig_gap_bytes"] == gap


def test_bytes_lost_at_the_end_are_a_gap() -> None:
    flow = play(Tape().open().orig(0, b"a" * 100).resp(0, acked=350)).flow()
    assert (flow["orig_gap_bytes"], flow["resp_gap_bytes"]) == (250, 0)


def test_the_byte_that_a_fin_takes_is_no_gap() -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(100, flags=FIN | ACK).resp(0, acked=101)
    assert play(tape).flow()["orig_gap_bytes"] == 0


def test_nor_if_the_fin_itself_was_not_seen() -> None:
    tape = Tape().open().orig(0, b"a" * 100).resp(0, acked=101)
    assert play(tape).flow()["orig_gap_bytes"] == 0


def test_more_holes_than_are_kept_are_counted_as_lost() -> None:
    tape = Tape().open()
    for at in range(100):
        tape.orig(20 * at, b"a" * 10)
    told = play(tape.resp(0, acked=1990))
    flow = told.flow()
    assert flow["orig_payload_bytes"] == 1000
    assert flow["orig_gap_bytes"] == 990
    assert flow["weird"] & WEIRD_BIT["holes_merged"]


def test_a_pool_without_holes_left_still_counts() -> None:
    tape = Tape().open()
    for at in range(10):
        tape.orig(20 * at, b"a" * 10)
    flow = play(tape.resp(0, acked=190), FlowOptions(holes=3)).flow()
    assert (flow["orig_payload_bytes"], flow["orig_gap_bytes"]) == (100, 90)
    assert flow["weird"] & WEIRD_BIT["holes_merged"]


def test_holes_of_ended_flows_are_given_back() -> None:
    frames = []
    for port in range(200):
        tape = Tape(orig_port=40000 + port, start_ns=NOON + port * SECOND)
        frames += tape.open().orig(0, b"a").orig(10, b"b").orig(20, b"c").reset(RESP).frames
    told = play(frames, FlowOptions(holes=8, capacity=2))
    assert not told.endings["weird"].any()


# --- mid-flow, one side ---
def test_a_capture_may_begin_in_the_middle() -> None:
    tape = Tape().orig(1000, b"a" * 100, acked=5000).resp(5000, b"b" * 50, acked=1100).orig(1100, acked=5050)
    told = play(tape)
    flow = told.flow()
    assert (flow["orig_payload_bytes"], flow["resp_payload_bytes"]) == (100, 50)
    assert (flow["orig_gap_bytes"], flow["resp_gap_bytes"], flow["role_guessed"]) == (0, 0, 1)
    assert told.states() == ["OTH"]
    assert not told.tracks["from_start"].any()


def test_older_bytes_than_the_first_seen_are_new_too() -> None:
    tape = Tape().orig(1000, b"a" * 100).orig(800, b"b" * 100).orig(850, b"c" * 200).orig(1100, b"d")
    assert news(tape) == [100, 100, 100, 1]


def test_loss_in_a_flow_met_in_its_middle_is_a_gap() -> None:
    tape = Tape().resp(10**6, b"a" * 100, acked=7).orig(7, acked=10**6 + 100).resp(10**6 + 300, b"b" * 100, acked=7)
    assert play(tape.orig(7, acked=10**6 + 400)).flow()["resp_gap_bytes"] == 200


@pytest.mark.parametrize("first", [ORIG, RESP])
def test_without_a_syn_the_port_tells_who_is_who(first: int) -> None:
    flow = play(Tape().send(first, 50, b"x").send(1 - first, 50, b"yy")).flow()
    assert (flow["orig_port"], flow["resp_port"], flow["role_guessed"]) == (50000, 7680, 1)
    assert (flow["orig_payload_bytes"], flow["resp_payload_bytes"]) == ((1, 2) if first == ORIG else (2, 1))


def test_a_capture_of_one_side_only() -> None:
    tape = Tape().syn().orig(0, acked=0).orig(0, b"a" * 10, acked=5000).orig(10, acked=8000)
    told = play(tape)
    flow = told.flow()
    assert (flow["orig_packets"], flow["resp_packets"]) == (4, 0)
    assert flow["resp_gap_bytes"] == 8000  # acknowledged, never seen
    assert flow["orig_gap_bytes"] == 0
    assert told.states() == ["S0"]  # no word from the responder


def test_only_the_responders_side() -> None:
    tape = Tape().syn_ack().resp(0, b"a" * 100, acked=75).resp(100, b"b" * 100, acked=75)
    told = play(tape)
    flow = told.flow()
    assert (flow["orig_port"], flow["resp_port"], flow["role_guessed"]) == (50000, 7680, 0)
    assert (flow["orig_packets"], flow["resp_packets"], flow["resp_payload_bytes"]) == (0, 3, 200)
    assert flow["orig_gap_bytes"] == 75


# --- probes and copies ---
def test_keepalive_probes_add_nothing() -> None:
    tape = Tape().open().orig(0, b"a" * 100).orig(99).orig(99, b"a").resp(0, acked=100)
    flow = play(tape).flow()
    assert (flow["orig_payload_bytes"], flow["retransmitted_bytes"], flow["orig_gap_bytes"]) == (100, 1, 0)


def test_a_probe_before_any_payload_adds_nothing() -> None:
    flow = play(Tape().open().orig(-1, b"\0").resp(0, acked=0)).flow()
    assert (flow["orig_payload_bytes"], flow["retransmitted_bytes"]) == (0, 1)


def mirrored(tape: Tape, delay_ms: float, *, hop: bool) -> list[tuple[int, bytes]]:
    """Return frames each followed by its copy; after a hop TTL, MACs and IP checksum are others."""
    copies = []
    for ts_ns, frame in tape.frames:
        copy = frame
        if hop:
            copy = b"\x02\0\0\0\0\x07\x02\0\0\0\0\x08" + frame[12:22] + bytes([frame[22] - 1]) + frame[23:24]
            copy += (int.from_bytes(frame[24:26], "big") + 0x0100 & 0xFFFF).to_bytes(2, "big") + frame[26:]
        copies += [(ts_ns, frame), (ts_ns + int(delay_ms * 1_000_000), copy)]
    return copies


@pytest.mark.parametrize("hop", [False, True])
@pytest.mark.parametrize("delay_ms", [0, 0.001, 50])
def test_copies_of_a_double_mirror_count_as_copies(delay_ms: float, *, hop: bool) -> None:
    tape = Tape().open().orig(0, b"a" * 75).resp(0, b"b" * 75, acked=75).close(75, 75)
    told = play(mirrored(tape, delay_ms, hop=hop))
    plain, flow = play(tape).flow(), told.flow()
    assert flow["duplicate_packets"] == 8
    ignored = {"duplicate_packets", "end_ns"}
    assert {k: v for k, v in flow.items() if k not in ignored} == {k: v for k, v in plain.items() if k not in ignored}
    assert [int(d) for d in np.bincount(told.tracks["duplicate"])] == [8, 8]


def test_a_later_repetition_is_a_retransmission() -> None:
    tape = Tape().open().orig(0, b"a" * 75)
    again = [*tape.frames, (tape.frames[-1][0] + 51_000_000, tape.frames[-1][1])]
    flow = play(again).flow()
    assert (flow["duplicate_packets"], flow["retransmitted_bytes"], flow["orig_packets"]) == (0, 75, 4)


def test_a_quick_retransmission_has_another_ip_id() -> None:
    tape = Tape(step_ms=1).open().orig(0, b"a" * 75).orig(0, b"a" * 75)
    flow = play(tape).flow()
    assert (flow["duplicate_packets"], flow["retransmitted_bytes"]) == (0, 75)


def test_a_copy_in_the_other_direction_is_no_copy() -> None:
    there = ethernet(ipv4("10.1.0.5", "10.1.0.6", tcp(50000, 7680, b"x", seq=5, ack=5), ident=9))
    back = ethernet(ipv4("10.1.0.6", "10.1.0.5", tcp(7680, 50000, b"x", seq=5, ack=5), ident=9))
    told = play([(NOON, there), (NOON + 1000, back)])
    assert told.flow()["duplicate_packets"] == 0


# --- whose connection ---
def test_repeated_syns_are_one_attempt() -> None:
    tape = Tape()
    for at_ms in (0, 1000, 3000, 7000, 15000):
        tape.syn(at_ms=at_ms)
    told = play(tape)
    assert len(told.endings) == 1
    assert (told.flow()["syns"], told.states()) == (5, ["S0"])


def test_refused_five_times_from_one_port_is_one_flow() -> None:
    tape = Tape()
    for at_ms in range(0, 2500, 500):
        tape.syn(at_ms=at_ms).reset(RESP)
    told = play(tape)
    flow = told.flow()
    assert (flow["syns"], flow["resets"], told.states()) == (5, 5, ["REJ"])


@pytest.mark.parametrize("over", ["open", "closed", "refused"])
def test_a_new_syn_on_known_ports_is_another_flow(over: str) -> None:
    first = Tape()
    if over == "refused":
        first.syn().reset(RESP)
    else:
        first.open().orig(0, b"a" * 10)
        if over == "closed":
            first.close(10)
    second = Tape(isn=(77_777, 88_888), start_ns=NOON + 60 * SECOND).open().orig(0, b"b" * 20)
    told = play(first.frames + second.frames)
    assert told.reasons() == ["reused", "flushed"]
    assert told.flow(1)["orig_payload_bytes"] == 20
    assert told.flow(1)["orig_packets"] == 3
    assert told.flow(0)["orig_payload_bytes"] == (0 if over == "refused" else 10)


def test_the_responder_may_open_a_connection_back_from_its_port() -> None:
    first = Tape(orig_port=7680).open().orig(0, b"a").close(1)
    back = Tape("10.1.0.6", "10.1.0.5", orig_port=7680, isn=(5, 6), start_ns=NOON + 60 * SECOND).open().orig(0, b"bb")
    told = play(first.frames + back.frames)
    assert told.reasons() == ["reused", "flushed"]
    assert told.flow(0)["orig_lo"] & 0xFF == 5
    assert told.flow(1)["orig_lo"] & 0xFF == 6


def test_a_syn_ack_captured_before_its_syn() -> None:
    tape = Tape().syn_ack(at_ms=0).syn(at_ms=0.1).orig(0).orig(0, b"a" * 5).resp(0, acked=5).close(5)
    told = play(tape)
    assert len(told.endings) == 1
    flow = told.flow()
    assert (flow["orig_port"], flow["role_guessed"], flow["syns"], flow["syn_acks"]) == (50000, 0, 1, 1)
    assert (flow["orig_payload_bytes"], flow["orig_gap_bytes"], told.states()) == (5, 0, ["SF"])


def test_payload_captured_before_its_syn_stays_in_the_flow() -> None:
    tape = Tape().orig(0, b"a" * 5, at_ms=0).syn(at_ms=0.1).syn_ack().orig(5, b"b" * 5)
    told = play(tape)
    assert len(told.endings) == 1
    assert told.flow()["orig_payload_bytes"] == 10


def test_two_flows_differ_by_port_alone() -> None:
    told = play(Tape().open().frames + Tape(orig_port=50001, start_ns=NOON + 1).open().frames)
    assert sorted(int(e["orig_port"]) for e in told.endings) == [50000, 50001]


def test_a_syn_with_payload_counts_from_position_zero() -> None:
    tape = Tape().send(ORIG, -1, b"a" * 20, flags=SYN).syn_ack().orig(20, b"b" * 5)
    told = play(tape)
    assert told.flow()["orig_payload_bytes"] == 25
    assert [int(told.tracks["position"][at]) for at in (0, 2)] == [0, 20]


def test_payload_in_a_reset_is_no_part_of_the_stream() -> None:
    flow = play(Tape().open().send(RESP, 0, b"go away", flags=RST | ACK)).flow()
    assert (flow["resp_payload_bytes"], flow["resets"]) == (0, 1)


# --- how it went: Zeek's words ---
O_SYN, R_SYN_ACK = (ORIG, -1, SYN), (RESP, -1, SYN | ACK)
O_ACK, R_ACK = (ORIG, 0, ACK), (RESP, 0, ACK)
O_FIN, R_FIN = (ORIG, 0, FIN | ACK), (RESP, 0, FIN | ACK)
O_RST, R_RST = (ORIG, 0, RST), (RESP, 0, RST | ACK)
STATES: list[tuple[str, list[tuple[int, int, int]]]] = [
    ("S0", [O_SYN]),
    ("S0", [O_SYN, O_SYN, O_SYN]),
    ("S1", [O_SYN, R_SYN_ACK]),
    ("S1", [O_SYN, R_SYN_ACK, O_ACK]),
    ("S1", [O_SYN, R_SYN_ACK, O_ACK, R_ACK]),
    ("SF", [O_SYN, R_SYN_ACK, O_ACK, O_FIN, R_FIN, O_ACK]),
    ("SF", [O_SYN, R_SYN_ACK, O_ACK, R_FIN, O_FIN]),
    ("REJ", [O_SYN, R_RST]),
    ("REJ", [O_SYN, R_RST, O_SYN, R_RST]),
    ("S2", [O_SYN, R_SYN_ACK, O_ACK, O_FIN]),
    ("S2", [O_SYN, R_SYN_ACK, O_ACK, O_FIN, R_ACK]),
    ("S3", [O_SYN, R_SYN_ACK, O_ACK, R_FIN]),
    ("RSTO", [O_SYN, R_SYN_ACK, O_ACK, O_RST]),
    ("RSTR", [O_SYN, R_SYN_ACK, O_ACK, R_RST]),
    ("RSTR", [O_SYN, R_SYN_ACK, O_ACK, O_FIN, R_RST]),
    ("RSTOS0", [O_SYN, O_RST]),
    ("RSTRH", [R_SYN_ACK, R_RST]),
    ("SH", [O_SYN, O_FIN]),
    ("SHR", [R_SYN_ACK, R_FIN]),
    ("OTH", [O_ACK]),
    ("OTH", [R_ACK, O_ACK]),
    ("OTH", [O_FIN, R_FIN]),
]


@pytest.mark.parametrize(("state", "packets"), STATES, ids=[f"{s}-{len(p)}" for s, p in STATES])
def test_conn_state(state: str, packets: list[tuple[int, int, int]]) -> None:
    tape = Tape(step_ms=1000)
    for side, at, flags in packets:
        tape.send(side, at, flags=flags)
    told = play(tape)
    assert told.states() == [state]


# --- the end ---
@pytest.mark.parametrize(("quiet_s", "flows"), [(60, 1), (60.001, 2)])
def test_an_idle_flow_expires(quiet_s: float, flows: int) -> None:
    tape = Tape().open().orig(0, b"a", at_ms=1000).orig(1, b"b", at_ms=1000 + quiet_s * 1000)
    told = play(tape, FlowOptions(idle_s=60, closed_s=5))
    assert len(told.endings) == flows
    if flows == 2:
        assert told.reasons() == ["idle", "flushed"]
        assert told.flow(1)["role_guessed"] == 1
        assert told.flow(0)["end_ns"] == NOON + SECOND


@pytest.mark.parametrize(("quiet_s", "flows"), [(5, 1), (5.001, 2)])
def test_a_closed_flow_expires_sooner(quiet_s: float, flows: int) -> None:
    tape = Tape().open().close()  # its last packet at 0.5 s
    tape.resp(1, acked=1, at_ms=500 + quiet_s * 1000)
    told = play(tape, FlowOptions(idle_s=60, closed_s=5))
    assert len(told.endings) == flows
    assert told.reasons()[0] == "closed"


def test_a_sweep_ends_what_a_packet_would_have_ended() -> None:
    made = batch_of(Tape().open().close().frames)
    from sensor.decode import decode
    from sensor.flows import FlowTable

    table = FlowTable(FlowOptions(closed_s=5))
    table.push(decode(made))
    last_ns = int(made.frames["ts_ns"][-1])
    table.sweep(last_ns + 5 * SECOND)
    assert (table.living, len(table.take()[1])) == (1, 0)
    table.sweep(last_ns + 5 * SECOND + 1)
    windows, endings = table.take()
    assert (table.living, len(endings), len(windows)) == (0, 1, 0)


def test_a_very_long_flow_is_told_in_parts() -> None:
    tape = Tape().open()
    for at in range(10):
        tape.orig(10 * at, b"x" * 10, at_ms=1000 + 30_000 * at)  # 1, 31, 61, 91, 121, …, 271 s
    tape.orig(0, b"x" * 100, acked=0)  # all of it again
    told = play(tape.resp(0, acked=100), FlowOptions(active_s=100))
    assert told.reasons() == ["active", "active", "flushed"]
    assert [told.flow(n)["orig_payload_bytes"] for n in range(3)] == [40, 40, 20]
    assert [told.flow(n)["retransmitted_bytes"] for n in range(3)] == [0, 0, 100]
    assert [told.flow(n)["start_ns"] for n in range(3)] == [NOON + s * SECOND for s in (0, 121, 241)]
    assert [told.flow(n)["orig_gap_bytes"] for n in range(3)] == [0, 0, 0]
    assert [told.flow(n)["role_guessed"] for n in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_all_parts_of_a_very_long_connection_say_how_it_began(payload: bytes) -> None:
    tape = Tape(orig_port=50001)
    for at_s in (0, 60, 120, 180, 240):
        tape.send(ORIG, -1, flags=SYN, at_ms=at_s * 1000)
    if payload:
        tape.frames[1:1] = [(NOON + SECOND, Tape(orig_port=50001).orig(0, payload).frames[0][1])]
    told = play([*Tape(start_ns=NOON - 1).syn().frames, *tape.frames], FlowOptions(active_s=100))
    tracks = told.tracks[told.tracks["flow"] != 0]
    assert tracks["flow"].tolist() == [1, 1, 2, 2, 3] if not payload else [1, 1, 1, 2, 2, 3]
    assert set(tracks["connection"].tolist()) == {1}
    assert [told.endings[told.endings["flow"] == flow]["continued_as"][0] for flow in range(4)] == [0, 2, 3, 0]
    assert sum(told.flow(flow)["orig_payload_bytes"] for flow in range(4)) == len(payload)


def test_a_gap_is_told_in_one_part_only() -> None:
    tape = Tape().open().orig(0, b"x" * 10).orig(20, b"x" * 10).resp(0, acked=30)
    tape.orig(30, b"x" * 10, at_ms=200_000).resp(0, acked=40)
    told = play(tape, FlowOptions(active_s=100))
    assert [told.flow(n)["orig_gap_bytes"] for n in range(2)] == [10, 0]


def test_the_least_recently_used_flow_makes_room() -> None:
    frames = []
    for number, at_s in ((0, 0), (1, 1), (0, 2), (2, 3), (1, 4)):
        frames += Tape(orig_port=50000 + number, start_ns=NOON + at_s * SECOND).orig(at_s * 10, b"x").frames
    told = play(frames, FlowOptions(capacity=2))
    # The third flow pushes out the second (used at 1 s), whose return pushes out the first (used at 2 s).
    assert told.table.evicted == 2
    ended = [(int(e["orig_port"]), int(e["end_reason"])) for e in np.sort(told.endings, order="flow")]
    assert ended == [(50000, 4), (50001, 4), (50002, 5), (50001, 5)]
    assert sum(told.flow(n)["orig_payload_bytes"] for n in range(4)) == 5


def test_an_expired_flow_that_makes_room_is_not_evicted() -> None:
    frames = Tape().open().close().frames + Tape(orig_port=50001, start_ns=NOON + 400 * SECOND).syn().frames
    told = play(frames, FlowOptions(capacity=1))
    assert told.table.evicted == 0
    assert told.reasons() == ["closed", "flushed"]


def test_the_table_grows_to_its_capacity() -> None:
    many = [
        (
            NOON + at,
            ethernet(ipv4(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}", "10.200.0.1", tcp(5000, 7680, b"x", seq=at))),
        )
        for at in range(20_000)
    ]
    told = play(many, batch=7000)
    assert len(told.endings) == 20_000
    assert np.array_equal(told.tracks["flow"], np.arange(20_000))
    assert told.windows["orig_payload_bytes"].sum() == 20_000


def test_many_flows_come_and_go_in_a_small_table() -> None:
    rng = np.random.default_rng(1)
    frames, port_of = [], rng.integers(0, 50, 3000)
    for at, port in enumerate(port_of):
        frames += Tape(orig_port=40000 + int(port), start_ns=NOON + at * SECOND).orig(at, b"x").frames
    told = play(frames, FlowOptions(capacity=16))
    assert told.windows["orig_packets"].sum() == 3000
    ports = {int(e["flow"]): int(e["orig_port"]) for e in told.endings}
    assert [ports[int(f)] - 40000 for f in told.tracks["flow"]] == [int(p) for p in port_of]
    # A model of "least recently used" with an ordered dict gives the same number of evictions.
    used: dict[int, None] = {}
    evicted = 0
    for port in port_of:
        if port in used:
            del used[port]
        elif len(used) == 16:
            evicted += 1
            del used[next(iter(used))]
        used[port] = None
    assert told.table.evicted == evicted


# --- what a flow costs ---
def test_what_every_flow_has_is_small() -> None:
    assert tracking.SLOT.itemsize == 96
    assert len(WEIRDS) <= 8 * tracking.SLOT["weird"].itemsize
    assert 1 << 8 * tracking.SLOT["seen"].itemsize > tracking.UP


def numbers(table: FlowTable) -> tuple[int, int, int, int]:
    """Return how many records of both pools were ever taken, and how many of each are free again."""
    _, streams, counts, *_ = table._kept
    free: list[int] = []
    for first, following in (
        (tracking.FREE_STREAM, streams["holes"][:, 0]),
        (tracking.FREE_COUNT, counts["first_input"]),
    ):
        met, at = set[int](), int(table._table[first])
        while at:
            assert at not in met, "no record is free twice"
            met.add(at)
            at = int(following[at])
        free.append(len(met))
    return int(table._table[tracking.USED_STREAMS]), int(table._table[tracking.USED_COUNTS]), free[0], free[1]


def test_a_flow_of_syns_has_no_streams_and_a_count_only_while_its_window_is_open() -> None:
    table = FlowTable()
    tapes = [Tape(orig_port=port, start_ns=NOON + port).syn().syn(at_ms=1) for port in range(50)]
    table.push(decode(batch_of(sorted(frame for tape in tapes for frame in tape.frames))))
    assert numbers(table) == (0, 50, 0, 0)
    table.sweep(NOON + 10 * SECOND)
    assert (table.living, numbers(table)) == (50, (0, 50, 0, 50))
    table.push(decode(batch_of(Tape(orig_port=7, start_ns=NOON + 11 * SECOND).orig(0, b"x").frames)))
    assert numbers(table) == (1, 50, 0, 49)


@pytest.mark.parametrize("end", ["reset", "idle", "swept", "evicted"])
def test_what_flows_had_is_given_back(end: str) -> None:
    table = FlowTable(FlowOptions(capacity=8, closed_s=5, idle_s=7200 if end == "evicted" else 20))
    for turn in range(300):
        start_ns = NOON + turn * 30 * SECOND
        tapes = [Tape(orig_port=turn * 8 + port, start_ns=start_ns + port) for port in range(8)]
        for tape in tapes:
            tape.open().orig(0, b"a").orig(9, b"b").resp(0, b"c", acked=5)
            if end == "reset":
                tape.reset(RESP)
        table.push(decode(batch_of(sorted(frame for tape in tapes for frame in tape.frames))))
        if end == "swept":
            table.sweep(start_ns + 25 * SECOND)
            assert numbers(table) == (8, 8, 8, 8)
    assert numbers(table)[:2] == (8, 8)
    windows, endings = table.take()
    assert len(windows) == len(endings) == 2400 - table.living
    assert table.evicted == (2392 if end == "evicted" else 0)
    table.sweep(NOON, everything=True)
    assert numbers(table) == (0, 0, 0, 0)


FIRSTS: dict[str, list[Tape]] = {
    "ack": [Tape().syn().resp(0, acked=350)],
    "payload": [Tape().syn().orig(0, b"x")],
    "payload behind a hole": [Tape().syn().orig(7, b"x")],
    "payload before the stream": [Tape().syn().orig(-1, b"x")],
    "payload of a flow met in its middle": [Tape().orig(7, b"x").orig(3, b"y")],
    "a SYN behind its ACK": [Tape().orig(0).send(RESP, -1, flags=SYN | ACK), Tape(orig_port=9).resp(9).syn_ack()],
    "another part": [Tape().syn().syn(at_ms=200_000).close(9, 9)],
    "the end": [Tape().syn().reset(RESP, 5, acked=9)],
}


@pytest.mark.parametrize("first", FIRSTS)
def test_what_all_flows_without_streams_share_is_never_written(first: str) -> None:
    table = FlowTable(FlowOptions(active_s=100))
    before = [kept[:1].tobytes() for kept in table._kept[1:3]]
    for tape in FIRSTS[first]:
        table.push(decode(batch_of(tape.frames)))
    table.sweep(NOON + 20 * SECOND)
    table.sweep(NOON + 20_000 * SECOND)
    assert table.living == 0
    assert [kept[:1].tobytes() for kept in table._kept[1:3]] == before


# --- windows ---
def test_windows_lie_on_the_clock() -> None:
    tape = Tape().syn(at_ms=9_999.999).syn_ack(at_ms=10_000).orig(0, at_ms=19_999.999).orig(0, b"a" * 9, at_ms=45_000)
    rows = np.sort(play(tape).windows, order="window_start_ns")
    assert [int(w) - NOON for w in rows["window_start_ns"]] == [0, 10 * SECOND, 40 * SECOND]
    assert rows["orig_packets"].tolist() == [1, 1, 1]
    assert rows["resp_packets"].tolist() == [0, 1, 0]
    assert rows["orig_payload_bytes"].tolist() == [0, 0, 9]
    assert rows["established"].tolist() == [0, 1, 1]
    assert rows["first_number"].tolist() == [1, 2, 4]
    assert [int(t) - NOON for t in rows["first_ts_ns"]] == [9_999_999_000, 10 * SECOND, 45 * SECOND]
    assert [int(t) - NOON for t in rows["last_ts_ns"]] == [9_999_999_000, 19_999_999_000, 45 * SECOND]
    assert set(rows["flow_start_ns"].tolist()) == {NOON + 9_999_999_000}


@pytest.mark.parametrize(
    ("packets", "up"),
    [
        ([O_SYN], 0),
        ([O_SYN, R_SYN_ACK], 0),
        ([O_SYN, R_RST], 0),
        ([O_SYN, R_SYN_ACK, R_SYN_ACK, R_RST], 0),
        ([O_SYN, R_SYN_ACK, O_RST], 0),
        ([O_SYN, R_SYN_ACK, O_ACK], 1),
        ([R_SYN_ACK, O_ACK], 1),
        ([R_ACK], 1),
        ([O_ACK], 1),
    ],
)
def test_when_a_connection_counts_as_established(packets: list[tuple[int, int, int]], up: int) -> None:
    tape = Tape()
    for side, at, flags in packets:
        tape.send(side, at, flags=flags)
    assert play(tape).windows["established"].tolist() == [up]


def test_time_that_runs_backwards_is_counted() -> None:
    made = batch_of([*Tape().open().frames, (NOON - SECOND, Tape().orig(0, b"late").frames[0][1])])
    from sensor.decode import decode
    from sensor.flows import FlowTable

    table = FlowTable()
    table.push(decode(made))
    table.sweep(2**62, everything=True)
    _, endings = table.take()
    assert table.late == 1
    assert endings["weird"][0] & WEIRD_BIT["time_backwards"]
    assert endings["start_ns"][0] == NOON - SECOND


# --- the same in Python, and however the packets are batched ---
def scenes() -> list[tuple[int, bytes]]:
    """Return a bit of everything above, in time order."""
    tapes = [
        Tape(isn=(TWO_32 - 60, 8), orig_port=1).open().orig(0, b"a" * 100).orig(200, b"b" * 9).resp(0, acked=300),
        Tape(orig_port=2).syn().reset(RESP).syn(at_ms=2000),
        Tape(orig_port=3).open().orig(5, b"x" * 5).orig(0, b"y" * 7).close(10),
        Tape(orig_port=3, isn=(9, 9), start_ns=NOON + 20 * SECOND).open().orig(0, b"new"),
        Tape(orig_port=4, start_ns=NOON + 30 * SECOND).resp(70, b"mid", acked=7).orig(7, acked=90).orig(-90, b"older"),
        Tape("2001:db8::1", "2001:db8::2", orig_port=5, start_ns=NOON + 40 * SECOND)
        .syn_ack()
        .syn(at_ms=1)
        .orig(0, b"q"),
    ]
    frames = [frame for tape in tapes for frame in tape.frames] + mirrored(Tape(orig_port=6).open(), 1, hop=True)
    return sorted(frames, key=lambda frame: frame[0])


def tracked(run: Callable[[list[Any]], Any]) -> list[np.ndarray]:
    """Run the kernel itself, without `FlowTable`, with a small table; returns that and what was written."""
    from sensor.decode import decode

    packets = decode(batch_of(scenes()))
    options = np.array([10 * SECOND, 60 * SECOND, 5 * SECOND, 100 * SECOND, 4, 7680, 50_000_000], dtype=np.int64)
    table = np.zeros(19, dtype=np.int64)
    table[[tracking.FREE_SLOT, tracking.OLDEST, tracking.YOUNGEST, tracking.FREE_HOLE]] = tracking.NONE
    table[tracking.SEED] = 12345
    recent = np.zeros(64, dtype=tracking.RECENT)
    recent["ts_ns"] = -(2**62)
    streams = np.zeros(5, dtype=tracking.STREAM)
    streams[0]["holes"] = tracking.NONE
    nothing = [streams[:1].tobytes(), bytes(tracking.COUNT.itemsize)]
    arrays: list[Any] = [
        packets,
        np.zeros(4, dtype=tracking.SLOT),
        streams,
        np.zeros(5, dtype=tracking.COUNT),
        np.zeros(4, dtype=np.int64),
        np.zeros(16, dtype=np.uint32),
        np.zeros(16, dtype=tracking.HOLE),
        recent,
        table,
        options,
        Tracks.empty(len(packets)),
        Windows.empty(100),
        Endings.empty(100),
        np.zeros(4, dtype=np.int64),
    ]
    run(arrays)
    assert arrays[-1][tracking.WHY] == tracking.FINISHED
    # What all flows without them have for streams and a count is as it was.
    assert [kept[:1].tobytes() for kept in arrays[2:4]] == nothing
    return arrays[1:]


def test_the_kernel_gives_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = tracked(lambda arrays: tracking.track(*arrays))
    plain = tracked(lambda arrays: run_as_python(tracking.track, tracking, monkeypatch, arrays))
    assert [array.tobytes() for array in plain] == [array.tobytes() for array in compiled]


def test_flows_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = tracked(lambda arrays: tracking.track(*arrays))
    monkeypatch.setattr(tracking, "end_hash", lambda *_: np.uint64(7))
    plain = tracked(lambda arrays: run_as_python(tracking.track, tracking, monkeypatch, arrays))
    index = plain[4]
    assert np.count_nonzero(index) == plain[7][tracking.LIVE] == 4
    assert set(np.flatnonzero(index).tolist()) == {14, 15, 0, 1}
    for left, right in zip(plain[-4:], compiled[-4:], strict=True):
        assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_make_no_difference(batch: int) -> None:
    whole, cut = play(scenes()), play(scenes(), batch=batch)
    for table in ("tracks", "windows", "endings"):
        left, right = getattr(whole, table), getattr(cut, table)
        names = [name for name in left.dtype.names if name != "slot"]
        assert left[names].tolist() == right[names].tolist()


def test_every_column_of_a_track_is_written() -> None:
    packets = decode(batch_of(mirrored(Tape().open(), 1, hop=False)))
    told = []
    for filling in (0, 255):
        tracks = np.frombuffer(
            bytearray([filling]) * (len(packets) * Tracks.dtype().itemsize), dtype=Tracks.dtype()
        ).copy()
        windows, endings, done = Windows.empty(100), Endings.empty(100), np.zeros(4, dtype=np.int64)
        table = FlowTable()
        state = (*table._kept, table._recent, table._table, table._options)
        tracking.track(packets, *state, tracks, windows, endings, done)
        told.append(tracks.tolist())
    assert told[0] == told[1]


def test_copies_over_ipv6_are_known_too() -> None:
    frame = ethernet(ipv6("2001:db8::1", "2001:db8::2", tcp(50000, 7680, b"x" * 40, seq=1)))
    assert play([(NOON, frame), (NOON + 1_000_000, frame)]).flow()["duplicate_packets"] == 1

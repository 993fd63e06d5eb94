"""The truth of a story small enough to count by hand."""

from __future__ import annotations

from sensor.samples.delivery import Content, Talk, Transfer
from sensor.samples.frames import Host
from sensor.samples.stack import SECOND, Path, Tape
from sensor.samples.truth import Finding, Judgement, Truth, count

START = 1_780_000_000 * SECOND
UPDATE = Content("update", 9, piece_bytes=2000, last_bytes=2000)


def one_flow(state: str = "open", **how: object) -> Truth:
    tape = Tape("test")
    talk = Talk(tape, Host("10.1.0.5"), Host("10.2.0.9"), START, Path(vlans=(7, 8)))
    talk.run(Transfer(UPDATE, range(1), **how))  # type: ignore[arg-type]
    sites = {"10.1.0.5": "here", "10.2.0.9": "there"}
    flows = count([talk], tape.segments, Judgement(sites.__getitem__, lambda *_: state))
    return Truth(len(tape.segments), 0, 0, flows, ())


def test_counters_of_one_download() -> None:
    truth = one_flow()
    (flow,) = truth.flows
    # handshake 75, bitfield 7, interested 5, request 17, have 9; handshake 75, bitfield 7, unchoke 5, piece 13 + 2000
    assert (flow.orig_payload_bytes, flow.resp_payload_bytes) == (113, 2100)
    assert flow.orig_packets + flow.resp_packets == truth.packets
    # originator: SYN, ACK, handshake, bitfield, interested, request, ACK, have, ACK of the FIN, FIN
    assert flow.orig_packets == 10
    assert flow.orig_bytes == 10 * 40 + 12 + 113
    # responder: SYN-ACK, handshake, bitfield, unchoke, two segments of the piece, FIN, last ACK
    assert flow.resp_packets == 8
    assert flow.resp_bytes == 8 * 40 + 12 + 2100
    assert (flow.orig_site, flow.resp_site, flow.vlan, flow.ip_version) == ("here", "there", 7, 4)
    assert (flow.orig_requests, flow.resp_pieces, flow.resp_piece_bytes) == (1, 1, 2000)
    assert (flow.conn_state, flow.verdict, flow.retransmitted_bytes) == ("SF", "do", 0)
    assert (flow.start_ns, flow.swarm_hash) == (START, UPDATE.swarm_hash.hex())
    assert len(flow.orig_peer_id) == len(flow.resp_peer_id) == 36


def test_bytes_go_where_the_state_says() -> None:
    for state, off, exempt in (("open", 0, 0), ("closed", 2213, 0), ("exempt", 0, 2213)):
        truth = one_flow(state)
        (flow,) = truth.flows
        assert (flow.off_window_payload_bytes, flow.exempt_payload_bytes) == (off, exempt)
        assert truth.off_window_payload_bytes == ({"here": off} if off else {})


def test_what_is_sent_again_counts_once() -> None:
    (flow,) = one_flow("closed", again_after_ns=SECOND).flows
    assert flow.retransmitted_bytes == 75
    assert flow.orig_payload_bytes == 113
    assert flow.off_window_payload_bytes == 2213
    assert flow.orig_packets == 11


def test_a_silent_responder_has_no_peer_id() -> None:
    tape = Tape("test")
    talk = Talk(tape, Host("10.1.0.5"), Host("10.2.0.9"), START)
    talk.greet(UPDATE, answered=False)
    (flow,) = count([talk], tape.segments, Judgement(lambda _: "unknown", lambda *_: "closed"))
    assert (flow.orig_peer_id != "", flow.resp_peer_id) == (True, "")
    assert Truth(0, 0, 0, (flow,), ()).off_window_payload_bytes == {"unknown": 75}


def test_a_finding_in_words() -> None:
    assert str(Finding("w02", (("orig_ip", "10.9.0.11"), ("site", "desks")))) == "w02 (orig_ip 10.9.0.11, site desks)"

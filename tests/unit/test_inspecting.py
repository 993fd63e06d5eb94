"""Conversations as an analyst sees them."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from sensor import inspecting, tshark
from sensor.errors import OperatorError
from sensor.schema import VERDICTS
from tests.builders import do_bitfield, do_handshake, do_have, do_keepalive, do_message, do_piece, do_request, pcap
from tests.captures import public
from tests.streams import Tape

if TYPE_CHECKING:
    from pathlib import Path

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
FLOW = "1:3ljmSw1mXZ4+sbE8g+dtB95p7cg="


def shown(*paths: str, flow: str | None = None, options: inspecting.InspectOptions | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=240)
    if flow is None:
        inspecting.show_flows(paths, console)
    else:
        inspecting.show_flow(paths, flow, console, options)
    return out.getvalue()


def flow_in(path: Path) -> str:
    return next(line for line in shown(str(path)).splitlines() if line.startswith("1:")).split()[0]


@pytest.fixture
def transfer(tmp_path: Path) -> Path:
    tape = Tape().open().orig(0, do_handshake()).resp(0, do_handshake(), acked=75)
    tape.orig(75, do_bitfield([], 4)).resp(75, do_bitfield(range(4), 4) + do_keepalive())
    tape.orig(81, do_request(2, 0, 3000))
    tape.resp(85, do_piece(2, 0, bytes(3000))[:1400]).resp(1485, do_piece(2, 0, bytes(3000))[1400:])
    tape.orig(98, do_have(2)).close(107, 85 + 3013)
    path = tmp_path / "transfer.pcap"
    path.write_bytes(pcap(tape.frames, nanos=True))
    return path


# --- one flow ---
@needs_tshark
def test_a_conversation_message_by_message(transfer: Path) -> None:
    told = shown(str(transfer), flow=flow_in(transfer))
    for line in (
        "10.1.0.5:50000 → 10.1.0.6:7680",
        "so this is do",
        "bitfield: holds 0 of at most 8 pieces",
        "bitfield: holds 4 of at most 8 pieces",
        "keep-alive",
        "request: 3,000 bytes of piece 2 from 0 on",
        "piece: 3,000 bytes of piece 2 from 0 on",
        "have: piece 2",
        "pieces: 0 →, 1 ←, 3,000 bytes of content",
        "tshark: eth / ip / tcp",
        "0 differences between the two",
    ):
        assert line in told, line
    assert told.count("handshake: swarm ") == 2


def test_without_tshark_our_own_is_shown(transfer: Path) -> None:
    told = shown(str(transfer), flow=flow_in(transfer), options=inspecting.InspectOptions(program="no-such-tshark"))
    assert "only our own decoder: no-such-tshark: is not there" in told.replace(
        "no-such-tshark is", "no-such-tshark: is"
    )
    assert "piece: 3,000 bytes of piece 2 from 0 on" in told


@needs_tshark
def test_every_packet_and_field(transfer: Path) -> None:
    flow = flow_in(transfer)
    brief, full = (shown(str(transfer), flow=flow, options=inspecting.InspectOptions(is_full=f)) for f in (False, True))
    assert "bodies and acknowledgements" in brief
    assert "bodies and acknowledgements" not in full
    assert "Destination Port: 7680" in full


@needs_tshark
def test_the_limit_is_said(transfer: Path) -> None:
    told = shown(str(transfer), flow=flow_in(transfer), options=inspecting.InspectOptions(packets=3))
    assert "of 14 packets it was given the first 3" in told


def test_a_difference_is_shown(transfer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another program would say that the handshake has 74 bytes and is HTTP.
    plain = tshark.Seen((tshark.Layer("eth", ()), tshark.Layer("tcp", ())), 0, 0, ())
    other = tshark.Seen((tshark.Layer("tcp", ()), tshark.Layer("http", ("GET /",))), 74, 1, ())
    monkeypatch.setattr(tshark, "find", lambda _: tshark.Program("tshark", (4, 4, 0)))
    monkeypatch.setattr(tshark, "dissect", lambda *_: [plain, plain, plain, other])
    told = shown(str(transfer), flow=flow_in(transfer))
    assert "differs: 75 bytes of payload, tshark says 74" in told
    assert "differs: do, tshark says http" in told
    assert "2 differences between the two" in told


def test_what_tshark_counts_more_or_fewer_is_shown(transfer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [0, 0, 0, 75, 75, 6, 10, 17, 1400, 1613, 9, 0, 0, 0]
    at = [0, 0, 1, 1, 1, 76, 76, 82, 86, 1486, 99, 108, 3099, 109]
    kinds = {3: (252,), 4: (252,), 5: (5,), 6: (5, 250), 7: (6,), 10: (4,)}
    layers = (tshark.Layer("tcp", ()), tshark.Layer("msdo", ()))
    seen = [
        tshark.Seen(layers if size else (), size, seq, (), kinds.get(n, ()))
        for n, (size, seq) in enumerate(zip(sizes, at, strict=True))
    ]
    monkeypatch.setattr(tshark, "find", lambda _: tshark.Program("tshark", (4, 4, 0)))
    monkeypatch.setattr(tshark, "dissect", lambda *_: seen)
    told = shown(str(transfer), flow=flow_in(transfer))
    assert "differs: 1 × piece, tshark says 0" in told
    assert "1 differences between the two" in told


def test_a_flow_that_is_not_there(transfer: Path) -> None:
    with pytest.raises(OperatorError, match="is in none of these captures"):
        shown(str(transfer), flow=FLOW)


def test_malformed_gap_and_others_in_words(tmp_path: Path) -> None:
    tape = Tape(step_ms=1).open().orig(0, do_handshake() + do_message(4, bytes(8), length=77))
    tape.resp(0, do_handshake() + do_have(1) + do_message(99) + do_message(20) + do_message(1))
    tape.resp(4000, do_have(2) + do_have(3))
    path = tmp_path / "odd.pcap"
    path.write_bytes(pcap(tape.frames, nanos=True))
    told = shown(str(path), flow=flow_in(path), options=inspecting.InspectOptions(program="no-such-tshark"))
    for line in (
        "so this is do_malformed: message 4 of 77 bytes",
        "message 99, which nobody has described, 1 bytes",
        "message 20, which receivers discard",
        "unchoke",
        "at the end: gap: 3,901 bytes from 99 on are not understood",
        "at the end: have: piece 3",
    ):
        assert line in told, (line, told)


# --- all flows ---
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("two-pcs", ["(bitfield of 43, bitfield of 42): normal", "have a connection for this content already: normal"]),
        ("two-seeders", ["(bitfield of 85, bitfield of 85, 1 keep-alives): normal", "(have 14, 1 keep-alives)"]),
        ("handshake-then-fin", ["the responder does not hold this content: normal"]),
        ("midstream-keepalive", ["1 keep-alives"]),
        ("stale-peers-40s", ["nobody answered: the peer is gone"]),
        ("refused-sll", ["the peer refused"]),
    ],
)
def test_public_captures_are_told_as_what_they_are(name: str, lines: list[str]) -> None:
    told = shown(str(public("real") / f"{name}.pcap"))
    for line in lines:
        assert line in told, told


def test_a_case_is_read_by_its_manifest(transfer: Path, tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "manifest.json").write_text(
        f'{{"inputs": [{{"file": "{transfer}", "sha256": "00"}}, {{"file": "/gone.pcap", "sha256": ""}}]}}'
    )
    assert inspecting.captures_of([str(tmp_path / "case")]) == [str(transfer)]


def test_one_side_alone_is_said() -> None:
    from sensor.schema import Handshakes, Messages

    shaken = Handshakes.empty(1)
    shaken["from_resp"] = 1
    assert inspecting.how_it_went(Messages.empty(), shaken) == "the handshake of one side"
    assert inspecting.how_it_went(Messages.empty(), Handshakes.empty()) == "no handshake was seen"
    assert np.isin(["do", "do_malformed"], VERDICTS).all()

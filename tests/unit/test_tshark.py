"""tshark by way of pyshark: what it sees of packets whose every field is known."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from sensor import tshark
from sensor.errors import OperatorError
from tests.builders import do_handshake, pcap
from tests.streams import Tape

if TYPE_CHECKING:
    from pathlib import Path

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@needs_tshark
def test_layers_lengths_and_positions(tmp_path: Path) -> None:
    tape = Tape().open().orig(0, do_handshake()).resp(0, b"abc", acked=75).resp(0, b"abc", acked=75)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(tape.frames, nanos=True))
    seen = tshark.dissect(tshark.find(), path, 100)
    assert [s.names[:3] for s in seen] == [("eth", "ip", "tcp")] * 6
    assert [s.payload_bytes for s in seen] == [0, 0, 0, 75, 3, 3]
    assert [s.seq for s in seen] == [0, 0, 1, 1, 1, 1]
    assert seen[4].remarks == ()
    assert any("retransmission" in remark for remark in seen[5].remarks)
    assert any("7680" in field for field in seen[3].layers[2].fields)


@needs_tshark
def test_it_is_given_no_more_than_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(Tape().open().frames, nanos=True))
    assert len(tshark.dissect(tshark.find(), path, 2)) == 2


@needs_tshark
def test_what_it_is_not_tcp(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x88\xb5" + bytes(46)]))
    (seen,) = tshark.dissect(tshark.find(), path, 10)
    assert (seen.payload_bytes, seen.seq, seen.remarks) == (None, None, ())


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(OperatorError, match="no-such-tshark: is not there; install tshark"):
        tshark.find("no-such-tshark")


@pytest.mark.parametrize(("body", "says"), [("exit 1", "does not run"), ("echo nothing", "does not say its version")])
def test_a_program_that_is_not_tshark(tmp_path: Path, body: str, says: str) -> None:
    fake = tmp_path / "tshark"
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    with pytest.raises(OperatorError, match=says):
        tshark.find(str(fake))


@pytest.mark.parametrize(("version", "knows"), [((4, 0, 17), False), ((4, 2, 0), True), ((4, 4, 7), True)])
def test_which_versions_know_the_protocol(version: tuple[int, int, int], *, knows: bool) -> None:
    assert tshark.Program("tshark", version).knows_do is knows

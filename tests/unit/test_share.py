"""One capturing process, run in place: what it tells while its rings are silent, and that it ends when told to."""

from __future__ import annotations

import os
import socket
import threading
from itertools import pairwise
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor import flows, share
from sensor.flows import FlowOptions
from sensor.live import Live
from sensor.reading import Options
from sensor.sources.ring import RingOptions, shared_rings
from sensor.tape import Tape, TapeOptions

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Rows

PORT = 7690  # other tests look at 7680 on this interface meanwhile
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share.signal, "signal", lambda *_: None)  # we are still the test's process
    monkeypatch.setattr(share.ctypes, "CDLL", lambda *_: type("Libc", (), {"prctl": lambda *_: 0})())


def test_what_one_process_tells(tmp_path: Path) -> None:
    ours, theirs = Pipe()
    (rings,) = shared_rings(("lo",), RingOptions(blocks=4))
    with Live(rings, 7680, 0) as live, Tape(TapeOptions(str(tmp_path / "gone"))) as tape:
        arguments = ([live], 0, (Options(), tape), theirs)
        running = threading.Thread(target=share._capture, args=arguments)
        running.start()
        told = [ours.recv(), ours.recv()]
        ours.send(None)
        running.join(10)
        while not told[-1].is_last:
            told.append(ours.recv())
    assert not running.is_alive()
    assert [each.is_last for each in told[:-1]] == [False] * (len(told) - 1)
    assert told[0].until_ns < told[1].until_ns <= told[1].now_ns
    assert told[-1].until_ns == pytest.approx(told[-1].now_ns, abs=10**9)
    assert told[0].facts["lo"].is_up
    assert told[-1].followed.living == 0


def ours_of(rows: Rows) -> Rows:
    """Return those of the flows to 127.0.1.0/24 and 127.0.2.0/24."""
    return rows[(rows["resp_lo"] >> 8 == 0xFFFF_7F0001) | (rows["resp_lo"] >> 8 == 0xFFFF_7F0002)]


def test_many_windows_are_told_in_portions_and_time_passes_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_ROOM", 16)
    monkeypatch.setattr(flows, "_PORTION", 60)
    ours, theirs = Pipe()
    (rings,) = shared_rings(("lo",), RingOptions(blocks=4, port=PORT))
    with Live(rings, PORT, 0) as live:
        arguments = ([live], 0, (Options(flows=FlowOptions(window_s=1, port=PORT)), None), theirs)
        running = threading.Thread(target=share._capture, args=arguments)
        running.start()
        told = [ours.recv()]
        for turn in range(2):
            for host in range(200):  # nobody listens there
                with socket.socket() as knocking:
                    assert knocking.connect_ex((f"127.0.{turn + 1}.{host + 1}", PORT))
            while sum(len(ours_of(each.part.windows)) for each in told) < 200 * (turn + 1):
                told.append(ours.recv())
        ours.send(None)
        while not told[-1].is_last:
            told.append(ours.recv())
        running.join(10)
    assert not running.is_alive()
    windows = ours_of(np.concatenate([each.part.windows for each in told]))
    assert (windows["syns"].sum(), windows["resets"].sum()) == (400, 400)
    assert sum(len(ours_of(each.part.endings)) for each in told) == 400
    assert max(len(rows) for each in told for rows in (each.part.windows, each.part.endings)) <= 64
    for before, after in pairwise(told):
        assert after.until_ns >= before.until_ns
        passed_ns = before.until_ns // 1_000_000_000 * 1_000_000_000
        assert (after.part.windows["window_start_ns"] >= passed_ns).all(), "it was told that all there is had come"

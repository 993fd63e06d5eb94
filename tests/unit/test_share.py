"""One capturing process, run in place: what it tells while its rings are silent, and that it ends when told to."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING

import pytest

from sensor import share
from sensor.live import Live
from sensor.reading import Options
from sensor.sources.ring import RingOptions, shared_rings
from sensor.tape import Tape, TapeOptions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_what_one_process_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share.signal, "signal", lambda *_: None)  # we are still the test's process
    monkeypatch.setattr(share.ctypes, "CDLL", lambda *_: type("Libc", (), {"prctl": lambda *_: 0})())
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

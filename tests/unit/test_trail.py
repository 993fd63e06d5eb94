"""A trail gives what following in one thread would: the same parts at the same times, and the same mistakes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensor import following, trail
from sensor.errors import OperatorError
from sensor.following import Following, Part
from sensor.inputs import Inputs
from sensor.reading import Options
from sensor.trail import Trail
from tests.builders import pcap
from tests.streams import NOON, SECOND, Tape

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def capture(tmp_path: Path) -> str:
    tape = Tape()
    for at in range(300):
        tape.orig(at, b"x", at_ms=at * 1000)
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap(tape.frames, nanos=True))
    return str(path)


def rows(parts: list[Part]) -> list[Any]:
    windows, endings = (
        [row for part in parts for row in getattr(part, name).tolist()] for name in ("windows", "endings")
    )
    return [windows, endings, [part.messages for part in parts if part.messages], parts[-1].last_ns]


def test_it_gives_what_following_gives(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PORTION", 1)
    options = Options(reorder_ms=0)
    plain, expected = Following(options.flows), list[tuple[list[Any], int | None]]()
    for portion in Inputs([capture], options).portions():
        plain.push(portion.ordered)
        if plain.is_due:
            edge_ns = portion.watermark_ns // (10 * SECOND) * 10 * SECOND
            expected.append((rows([plain.take(edge_ns)]), portion.watermark_ns))
    expected.append((rows([plain.take(None)]), None))
    found = Trail(Inputs([capture], options).start()).start()
    assert found.start_ns() == NOON
    assert [(rows(parts), until_ns) for parts, until_ns in found.parts()] == expected
    assert len(expected) > 1
    assert found.following.packets == plain.packets == 300


def test_nothing_to_read_is_said_where_parts_are_taken(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture, and long enough to be looked at as if it were one")
    found = Trail(Inputs([str(tmp_path / "text")], Options()).start()).start()
    assert found.start_ns() == 0
    with pytest.raises(OperatorError, match="is not a capture"):
        list(found.parts())


def test_what_breaks_in_the_thread_is_raised_outside(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Following):
        def push(self, ordered: Any) -> None:
            message = f"broken at {len(ordered.packets)}"
            raise ZeroDivisionError(message)

    monkeypatch.setattr(trail, "Following", Broken)
    with pytest.raises(ZeroDivisionError, match="broken at"):
        list(Trail(Inputs([capture], Options()).start()).start().parts())


def test_one_that_nobody_takes_from_can_be_stopped(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PORTION", 0)
    before = threading.active_count()
    found = Trail(Inputs([capture], Options()).start()).start()
    found.start_ns()
    found.stop()
    assert threading.active_count() == before
    assert list(found.parts()) == []


def test_no_more_than_one_portion_waits(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PORTION", 0)
    taken = list[str]()

    class Counting(Following):
        def take(self, until_ns: int | None) -> Part:
            taken.append(str(until_ns))
            return super().take(until_ns)

    monkeypatch.setattr(trail, "Following", Counting)
    packets = next(Inputs([capture], Options()).portions())
    endless = Inputs([capture], Options())
    monkeypatch.setattr(endless, "portions", lambda: iter([packets] * 1000))
    found = Trail(endless).start()
    found.start_ns()
    time.sleep(0.5)
    assert len(taken) == 2, "one waits, and the next is made"
    found.stop()
    assert len(taken) == 2, "nobody wants the rest"


def test_no_packets_are_one_part_without_rows(tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(pcap([]))
    found = Trail(Inputs([str(tmp_path / "empty.pcap")], Options()).start()).start()
    assert found.start_ns() == 0
    (((part,), until_ns),) = found.parts()
    assert (len(part.windows), len(part.endings), until_ns) == (0, 0, None)
    assert np.count_nonzero(found.following.facts().weird) == 0

"""Processes that capture: what they hand over, that they end with us, and what is said when one ends alone."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from sensor.capturing import Captures
from sensor.errors import OperatorError
from sensor.following import Part
from sensor.reading import Options
from sensor.schema import Windows
from sensor.sources.ring import RingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SMALL = RingOptions(blocks=4, rings=2)


@pytest.fixture
def captures() -> Iterator[Captures]:
    with Captures(("lo",), SMALL, Options()) as made:
        made.start()
        yield made


def await_start(captures: Captures) -> None:
    end = time.monotonic() + 20
    while not captures.is_started:
        assert time.monotonic() < end
        captures.look(0.1)


@ROOT
def test_time_goes_on_while_nothing_comes(captures: Captures) -> None:
    await_start(captures)
    before = captures.until_ns
    end = time.monotonic() + 20
    while captures.until_ns <= before:
        assert time.monotonic() < end
        captures.look(0.1)
    assert abs(captures.now_ns - time.time_ns()) < 5_000_000_000
    assert captures.now_ns > captures.until_ns
    assert captures.facts()["lo"].is_up
    assert (captures.followed.packets, captures.clock_steps, captures.is_due) == (0, 0, False)
    much = Part(windows=Windows.empty(200_000))
    for is_due in (True, False):
        captures._parts.append(much)
        assert captures.is_due == is_due, "nothing more can be judged before more time has passed"
        captures.take()
    captures.rest()
    assert all(not len(part.windows) for part in captures.take())
    assert captures.take() == []


@ROOT
def test_one_that_ends_alone_is_no_secret(captures: Captures) -> None:
    await_start(captures)
    os.kill(captures._shares[1].pid, signal.SIGKILL)
    time.sleep(0.5)
    with pytest.raises(RuntimeError, match=r"captures has ended \(signal 9\): nothing would be seen any more"):
        captures.look(1.0)


@ROOT
def test_they_end_with_whoever_began_them() -> None:
    with Captures(("lo",), SMALL, Options()) as made:
        made.start()
        pids = [share.pid for share in made._shares]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_interface_that_is_not_there_is_the_operators_mistake() -> None:
    with (
        pytest.raises(OperatorError, match="is not an interface of this machine"),
        Captures(("nosuch0",), SMALL, Options()),
    ):
        pass

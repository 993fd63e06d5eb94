"""Delivery with sinks made for it: order, patience, a disk that fails; real receivers stand in tests/live."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from sensor.delivery import Delivery, DeliveryOptions
from sensor.posting import RefusedError
from sensor.store import Parcel, Store
from tests import cases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from sensor.schema import Incident

QUICK = DeliveryOptions(pause_s=0.01, most_pause_s=0.05, end_s=1.0)


class Recorder:
    """A sink that fails as often as it is told to."""

    def __init__(self, name: str = "sink", *, failures: int = 0, refused: tuple[str, ...] = ()) -> None:
        self.name = name
        self.got: list[str] = []
        self.closed = self.reopened = False
        self._failures, self._refused = failures, refused

    def deliver(self, parcel: Parcel) -> None:
        if self._failures:
            self._failures -= 1
            raise ConnectionRefusedError(111, "Connection refused")
        if parcel.incident.id in self._refused:
            raise RefusedError("no")
        self.got.append(parcel.incident.id)

    def work(self, living: Callable[[], list[Incident]]) -> None:
        pass

    def reopen(self) -> None:
        self.reopened = True

    def close(self) -> None:
        self.closed = True


def tell(delivery: Delivery, *ids: str) -> None:
    for each in ids:
        incident = cases.incident(id=each, state="open")
        delivery.tell([Parcel(incident)], [incident])


def test_in_order_through_failures_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    sink = Recorder(failures=5)
    with Store(tmp_path) as store:
        with Delivery(store, [sink], QUICK, said.append) as delivery:
            tell(delivery, "a", "b", "c")
            until(lambda: sink.got == ["a", "b", "c"])
            until(lambda: delivery.counts()["sink"].waiting == 0)
            counts = delivery.counts()["sink"]
        assert (counts.deliveries, counts.failures, counts.drops) == (3, 5, 0)
        assert sink.closed
        assert [incident.id for incident in store.living()] == ["a", "b", "c"]
    assert "trying again" in said[0]
    assert "works again" in said[1]
    assert len(said) == 2


def test_one_that_fails_holds_up_nobody_else() -> None:
    bad, good = Recorder("bad", failures=10**9), Recorder("good")
    with Store(None) as store, Delivery(store, [bad, good], QUICK, lambda _: None) as delivery:
        tell(delivery, "a", "b")
        until(lambda: good.got == ["a", "b"])
        assert bad.got == []


def test_what_is_refused_is_dropped_and_counted() -> None:
    sink = Recorder(refused=("b",))
    with Store(None) as store, Delivery(store, [sink], QUICK, lambda _: None) as delivery:
        tell(delivery, "a", "b", "c")
        until(lambda: sink.got == ["a", "c"])
        assert delivery.counts()["sink"].drops == 1


def test_what_was_not_delivered_waits_on_disk(tmp_path: Path) -> None:
    with Store(tmp_path) as store, Delivery(store, [Recorder(failures=10**9)], QUICK, lambda _: None) as delivery:
        tell(delivery, "a", "b")
    sink = Recorder()
    with Store(tmp_path) as store, Delivery(store, [sink], QUICK, lambda _: None):
        until(lambda: sink.got == ["a", "b"])


def test_a_full_disk_stops_no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    sink = Recorder()
    with Store(None) as store, Delivery(store, [sink], QUICK, said.append) as delivery:
        true_keep = store.keep

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(store, "keep", full)
        tell(delivery, "a", "b")
        until(lambda: sink.got == ["a", "b"])
        monkeypatch.setattr(store, "keep", true_keep)
        tell(delivery, "c")
        until(lambda: sink.got == ["a", "b", "c"])
        until(lambda: [incident.id for incident in store.living()] == ["a", "b", "c"])  # nothing is forgotten
    assert said[0].startswith("state: cannot be written (database or disk is full)")
    assert said[1] == "state: can be written again"


def test_more_than_can_be_held_is_counted() -> None:
    options = DeliveryOptions(pause_s=0.01, most_held=1, end_s=0.5)
    with Store(None) as store:
        delivery = Delivery(store, [Recorder()], options, lambda _: None)  # nobody takes anything yet
        tell(delivery, "a", "b", "c")
        assert delivery.counts()["sink"].drops == 2


def test_files_are_opened_anew() -> None:
    sink = Recorder()
    with Store(None) as store, Delivery(store, [sink], QUICK, lambda _: None) as delivery:
        delivery.reopen()
    assert sink.reopened


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)

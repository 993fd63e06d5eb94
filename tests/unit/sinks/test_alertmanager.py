"""What is said again and when; a real Alertmanager stands in tests/live."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sensor import posting
from sensor.sinks import alertmanager
from sensor.store import Parcel
from tests import cases

WHERE = posting.address("--alertmanager", "http://127.0.0.1:9093/am/")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    posts: list[tuple[str, bytes]] = []
    monkeypatch.setattr(posting, "post", lambda where, body, _: posts.append((where.path, body)))
    return posts


def test_what_lives_is_said_again_and_what_is_over_for_a_while(said: list[Any]) -> None:
    sink = alertmanager.Alertmanager(WHERE, repeat_s=0.0)
    sink.deliver(Parcel(cases.incident(id="over", state="closed")))
    sink.work(lambda: [cases.incident(id="lives", state="ongoing")])
    assert [path for path, _ in said] == ["/am/api/v2/alerts"] * 2
    assert b'"incident":"lives"' in said[1][1]
    assert b'"incident":"over"' in said[1][1]


def test_nothing_is_said_before_it_is_time(said: list[Any]) -> None:
    sink = alertmanager.Alertmanager(WHERE, repeat_s=3600)
    sink.work(lambda: [cases.incident()])
    sink.work(lambda: [cases.incident()])
    assert len(said) == 1


def test_an_alert_ends_later_while_it_lives_and_now_when_it_is_over() -> None:
    sink = alertmanager.Alertmanager(WHERE, repeat_s=60)
    lives, over = (sink._alert(cases.incident(state=state)) for state in ("ongoing", "closed"))
    assert lives["startsAt"] == over["startsAt"] == "2026-03-10T12:00:00.000Z"
    assert lives["endsAt"] > over["endsAt"] > over["startsAt"]
    late = cases.incident(state="closed", first_seen_ns=time.time_ns() + 10**12)
    assert sink._alert(late)["endsAt"] > sink._alert(late)["startsAt"]  # Alertmanager refuses anything else


def test_a_refusal_of_what_is_said_again_is_no_reason_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise posting.RefusedError("it answered 400")

    monkeypatch.setattr(posting, "post", refuse)
    with pytest.raises(OSError, match="400"):
        alertmanager.Alertmanager(WHERE).work(lambda: [cases.incident()])

"""Sinks against real receivers that are down, hang, fail and come back: all is delivered, and in order."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sensor import posting
from sensor.delivery import Delivery, DeliveryOptions
from sensor.sinks.alertmanager import Alertmanager
from sensor.sinks.evefile import EveFile
from sensor.sinks.syslog import Syslog as SyslogSink
from sensor.sinks.syslog import server
from sensor.sinks.webhook import Webhook
from sensor.store import Parcel, Store
from tests import cases
from tests.live.network import await_true
from tests.live.receivers import Hook, Rsyslog, Syslog, alertmanager, alerts_of, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sensor.delivery import Sink

QUICK = DeliveryOptions(pause_s=0.05, most_pause_s=0.2, end_s=2.0)


def parcels(start: int, stop: int, state: str = "open") -> list[Parcel]:
    now_ns = time.time_ns()
    made = []
    for at in range(start, stop):
        incident = replace(
            cases.incident(id=f"{at:016x}", state=state, level="high"), first_seen_ns=now_ns, last_seen_ns=now_ns
        )
        made.append(Parcel(incident, {"event_type": "alert", "number": at}))
    return made


def ids(start: int, stop: int) -> list[str]:
    return [f"{at:016x}" for at in range(start, stop)]


@contextmanager
def delivering(folder: Path, *sinks: Sink) -> Iterator[tuple[Delivery, list[str]]]:
    said: list[str] = []
    with Store(folder / "state") as store, Delivery(store, sinks, QUICK, said.append) as delivery:
        yield delivery, said


def tell(delivery: Delivery, told: list[Parcel]) -> None:
    for parcel in told:
        began = time.monotonic()
        delivery.tell([parcel], [parcel.incident])
        assert time.monotonic() - began < 0.05  # the pipeline never waits


def test_a_webhook_that_is_down_then_fails_then_works(tmp_path: Path) -> None:
    port = free_port()
    sink = Webhook(posting.address("--webhook", f"http://127.0.0.1:{port}/hook"), b"secret")
    with delivering(tmp_path, sink) as (delivery, said):
        tell(delivery, parcels(0, 20))
        await_true(lambda: delivery.counts()["webhook"].failures > 2)
        with Hook(port) as hook:
            hook.status = 500
            await_true(lambda: hook.asked > 2)
            tell(delivery, parcels(20, 30))
            hook.status = 200
            await_true(lambda: len(hook.bodies) == 30)
            tell(delivery, parcels(0, 1, "closed"))
            await_true(lambda: len(hook.bodies) == 31)
        await_true(lambda: delivery.counts()["webhook"].waiting == 0)
    assert [alert["fingerprint"] for alert in hook.alerts] == [*ids(0, 30), *ids(0, 1)]
    assert [alert["status"] for alert in hook.alerts] == ["firing"] * 30 + ["resolved"]
    assert len({headers["Idempotency-Key"] for headers in hook.headers}) == 31
    for body, headers in zip(hook.bodies, hook.headers, strict=True):
        assert headers["X-Swarmtap-Signature"] == "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    assert len([line for line in said if "trying again" in line]) == 1  # said once, not thirty times
    assert len([line for line in said if "works again" in line]) == 1


def test_what_is_refused_for_good_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    with Hook() as hook, delivering(tmp_path, Webhook(posting.address("--webhook", hook.url))) as (delivery, said):
        hook.status = 400
        tell(delivery, parcels(0, 2))
        await_true(lambda: delivery.counts()["webhook"].drops == 2)
        hook.status = 200
        tell(delivery, parcels(2, 3))
        await_true(lambda: len(hook.bodies) == 1)
        assert hook.alerts[0]["fingerprint"] == ids(2, 3)[0]
        assert "webhook: incident 0000000000000000 was refused for good: it answered 400 Bad Request" in said


def test_a_webhook_that_hangs_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr("sensor.posting._WAIT_S", 0.3)
    monkeypatch.setattr("sensor.posting.post.__defaults__", (0.3,))
    with socket.create_server(("127.0.0.1", 0)) as silent, Hook() as hook:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        eve = EveFile(tmp_path / "eve.json")
        with delivering(tmp_path, Webhook(posting.address("--webhook", url)), eve) as (delivery, _):
            tell(delivery, parcels(0, 5))
            await_true(lambda: delivery.counts()["eve"].deliveries == 5)
            await_true(lambda: delivery.counts()["webhook"].failures > 0)
            assert delivery.counts()["webhook"].deliveries == 0
    assert hook.asked == 0
    with Hook() as again, delivering(tmp_path, Webhook(posting.address("--webhook", again.url))):
        await_true(lambda: len(again.bodies) == 5)  # they waited on disk
    assert [alert["fingerprint"] for alert in again.alerts] == ids(0, 5)


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_syslog(tmp_path: Path, kind: str) -> None:
    with Syslog(kind) as syslog:
        sink = SyslogSink(server(f"{kind}://127.0.0.1:{syslog.port}"))
        with delivering(tmp_path, sink) as (delivery, _):
            tell(delivery, parcels(0, 10))
            await_true(lambda: len(syslog.messages) == 10)
    assert syslog.ids == [(each, "open") for each in ids(0, 10)]


def test_a_syslog_server_that_restarts_gets_all_in_order(tmp_path: Path) -> None:
    port = free_port()
    got = []
    with delivering(tmp_path, SyslogSink(server(f"tcp://127.0.0.1:{port}"))) as (delivery, _):
        for start in range(0, 30, 10):
            with Syslog("tcp", port) as syslog:
                tell(delivery, parcels(start, start + 5))
                await_true(lambda syslog=syslog, start=start: len(syslog.messages) >= (5 if start == 0 else 10))
            got += [each for each, _ in syslog.ids]
            tell(delivery, parcels(start + 5, start + 10))  # while it is down
        with Syslog("tcp", port) as syslog:
            await_true(lambda: len(syslog.messages) >= 5)
        got += [each for each, _ in syslog.ids]
    assert got == ids(0, 30)


@pytest.mark.needs("rsyslogd", "openssl")
def test_syslog_over_tls_to_a_server_that_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    receiver = Rsyslog(tmp_path, port)
    with delivering(tmp_path, SyslogSink(server(f"tls://localhost:{port}"))) as (delivery, said):
        with receiver:
            tell(delivery, parcels(0, 10))
            await_true(lambda: any("certificate verify failed" in line for line in said))  # nobody vouches for it yet
            assert receiver.ids == []
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            await_true(lambda: len(receiver.ids) == 10)
        tell(delivery, parcels(10, 20))  # while it is down
        with receiver:
            await_true(lambda: len(receiver.ids) >= 20)
            tell(delivery, parcels(20, 30))
            await_true(lambda: len(receiver.ids) >= 30)
            assert delivery.counts()["syslog"].drops == 0
    assert receiver.ids == ids(0, 30)


@pytest.mark.needs("prometheus-alertmanager")
def test_alertmanager_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    sink = Alertmanager(posting.address("--alertmanager", f"http://127.0.0.1:{port}"), repeat_s=0.2)
    with delivering(tmp_path, sink) as (delivery, _), ExitStack() as stack:
        tell(delivery, parcels(0, 3))
        await_true(lambda: delivery.counts()["alertmanager"].failures > 1)
        first = stack.enter_context(ExitStack())
        url = first.enter_context(alertmanager(tmp_path, port))
        await_true(lambda: len(alerts_of(url)) == 3)
        assert {alert["labels"]["incident"] for alert in alerts_of(url)} == set(ids(0, 3))
        assert {alert["labels"]["severity"] for alert in alerts_of(url)} == {"critical"}
        before = {alert["labels"]["incident"]: alert["endsAt"] for alert in alerts_of(url)}
        await_true(lambda: all(alert["endsAt"] > before[alert["labels"]["incident"]] for alert in alerts_of(url)))
        tell(delivery, parcels(0, 1, "closed"))
        await_true(lambda: {alert["labels"]["incident"] for alert in alerts_of(url)} == set(ids(1, 3)))
        first.close()
        tell(delivery, parcels(3, 4))
        stack.enter_context(alertmanager(tmp_path, port))
        await_true(lambda: {alert["labels"]["incident"] for alert in alerts_of(url)} == set(ids(1, 4)))


def test_the_eve_file_is_opened_anew_when_it_was_rotated(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    with delivering(tmp_path, EveFile(path)) as (delivery, _):
        tell(delivery, parcels(0, 3))
        await_true(lambda: delivery.counts()["eve"].deliveries == 3)
        path.rename(tmp_path / "eve.json.1")
        delivery.reopen()
        tell(delivery, parcels(3, 5))
        await_true(lambda: delivery.counts()["eve"].deliveries == 5)
    numbers = [
        [json.loads(line)["number"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("eve.json.1", "eve.json")
    ]
    assert numbers == [[0, 1, 2], [3, 4]]

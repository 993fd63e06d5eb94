"""The body of a post, field by field; posts themselves stand in tests/live."""

from __future__ import annotations

from sensor.sinks import webhook
from tests import cases


def test_a_body_is_alertmanagers_version_4() -> None:
    told = webhook.document(cases.incident(state="open", attack=("attack.t1046",)))
    assert set(told) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
        "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    assert (told["version"], told["status"], told["truncatedAlerts"]) == ("4", "firing", 0)
    assert told["groupKey"] == '{}:{alertname="w01_off_window_transfer",site="hq"}'
    (alert,) = told["alerts"]
    assert alert["labels"] == {
        "alertname": "w01_off_window_transfer",
        "site": "hq",
        "severity": "warning",
        "level": "medium",
        "incident": "w01-0a1b2c",
    }
    assert (alert["startsAt"], alert["endsAt"]) == ("2026-03-10T12:00:00.000Z", "0001-01-01T00:00:00Z")
    assert alert["fingerprint"] == "w01-0a1b2c"
    assert alert["annotations"]["attack"] == "attack.t1046"
    assert alert["annotations"]["subject"] == "site_pair=hq~hq"
    assert all(isinstance(value, str) for value in (alert["labels"] | alert["annotations"]).values())


def test_a_closed_incident_is_resolved_when_it_was_last_seen() -> None:
    (alert,) = webhook.document(cases.incident(state="closed"))["alerts"]
    assert (alert["status"], alert["endsAt"]) == ("resolved", "2026-03-10T12:01:30.000Z")

"""Who is told what of a step: an incident when it opens and when it closes, once each, also through a restart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sensor.activity import Judged
from sensor.errors import OperatorError
from sensor.outlets import OutletOptions, Outlets
from sensor.pipeline import Step
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Incident


def step(*changed: Incident) -> Step:
    judged = Judged(activity=cases.activity({"schedule": "closed"}), flows=cases.flows({}))
    return Step(judged=judged, findings=cases.findings(), changed=changed, until_ns=cases.NOON)


def told(outlets: Outlets, *changed: Incident) -> list[tuple[str, str]]:
    return [(parcel.incident.id, parcel.incident.state) for parcel in outlets.tell(step(*changed))]


def opened(**changes: object) -> Incident:
    return cases.incident(**{"state": "open", "evidence": (cases.evidence(flow=0),), **changes})


def test_an_incident_is_told_when_it_opens_and_when_it_closes() -> None:
    with Outlets(OutletOptions(), lambda _: None) as outlets:
        assert told(outlets, opened()) == [("w01-0a1b2c", "open")]
        assert told(outlets, opened(state="ongoing")) == []
        assert list(outlets.living) == ["w01-0a1b2c"]
        assert told(outlets, opened(state="closed")) == [("w01-0a1b2c", "closed")]
        assert (list(outlets.living), list(outlets.closed)) == ([], ["w01-0a1b2c"])


def test_one_that_is_over_at_once_opens_before_it_closes() -> None:
    with Outlets(OutletOptions(), lambda _: None) as outlets:
        assert told(outlets, opened(state="closed")) == [("w01-0a1b2c", "open"), ("w01-0a1b2c", "closed")]


def test_after_a_restart_nobody_is_told_anew(tmp_path: Path) -> None:
    options = OutletOptions(state=str(tmp_path / "state"), eve=str(tmp_path / "eve.json"))
    with Outlets(options, lambda _: None) as outlets:
        told(outlets, opened())
    with Outlets(options, lambda _: None) as outlets:
        assert list(outlets.living) == ["w01-0a1b2c"]
        assert told(outlets, opened(state="ongoing")) == []
        assert told(outlets, opened(state="closed")) == [("w01-0a1b2c", "closed")]
    lines = [json.loads(line) for line in (tmp_path / "eve.json").read_text().splitlines()]
    alerts = [line["alert"]["metadata"] for line in lines if line["event_type"] == "alert"]
    assert [(alert["incident"], alert["state"]) for alert in alerts] == [
        (["w01-0a1b2c"], ["open"]),
        (["w01-0a1b2c"], ["closed"]),
    ]
    assert [line["event_type"] for line in lines].count("flow") == 3


def test_statistics_go_to_the_eve_file(tmp_path: Path) -> None:
    with Outlets(OutletOptions(eve=str(tmp_path / "eve.json")), lambda _: None) as outlets:
        outlets.tell_statistics(cases.NOON, {"flow": {"active": 3}})
        outlets.tell_statistics(cases.NOON + 60 * cases.SECOND, {"flow": {"active": 4}})
    lines = [json.loads(line) for line in (tmp_path / "eve.json").read_text().splitlines()]
    assert lines[1] == {
        "timestamp": "2026-03-10T12:01:00.000000+0000",
        "event_type": "stats",
        "stats": {"uptime": 60, "flow": {"active": 4}},
    }


def test_all_mistakes_come_at_once() -> None:
    options = OutletOptions(syslog="log", webhook="hook", alertmanager="am")
    with pytest.raises(OperatorError) as mistakes:
        Outlets(options, lambda _: None)
    assert [each.where for each in mistakes.value.mistakes] == ["--syslog", "--webhook", "--alertmanager"]


def test_a_secret_is_the_first_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hush\nnot this\n")
    outlets = Outlets(OutletOptions(webhook="http://x/", webhook_secret=str(path)), lambda _: None)
    assert outlets._sinks[0]._secret == b"hush"  # type: ignore[attr-defined]
    for wrong, read in ((tmp_path / "gone", "cannot be read"), (tmp_path / "empty", "is empty")):
        (tmp_path / "empty").touch()
        with pytest.raises(OperatorError, match=read):
            Outlets(OutletOptions(webhook="http://x/", webhook_secret=str(wrong)), lambda _: None)


def test_folders_are_made_and_a_file_that_cannot_be_is_said(tmp_path: Path) -> None:
    options = OutletOptions(state=str(tmp_path / "a" / "state"), spool=str(tmp_path / "spool"))
    Outlets(options, lambda _: None).prepare(None)
    assert (tmp_path / "a" / "state").is_dir()
    assert (tmp_path / "spool").is_dir()
    with pytest.raises(OperatorError, match=r"--eve: .*cannot be written"):
        Outlets(OutletOptions(eve=str(tmp_path / "nowhere" / "eve.json")), lambda _: None).prepare(None)

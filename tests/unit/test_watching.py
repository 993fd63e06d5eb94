"""The watch itself, fed from a sample: what it tells, serves and keeps; interfaces stand in tests/live."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from sensor.errors import Mistake, OperatorError
from sensor.notify import Notifier
from sensor.outlets import OutletOptions, Outlets
from sensor.rules.load import load
from sensor.screen import Screen
from sensor.settings import load_policy
from sensor.watching import Clock, Watch

ROOT = Path(__file__).parents[2]
PCAPS = ROOT / "pcaps"
RULES = [ROOT / "rules"]


class Run:
    """A watch over one capture at full speed."""

    def __init__(self, folder: Path, policy: Path = PCAPS / "office.yaml") -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.policy = policy
        options = OutletOptions(state=str(folder / "state"), eve=str(folder / "eve.json"))
        self._screen = Screen(self.out, self.err)
        self._outlets = Outlets(options, self._screen.notice)
        loaded = load(RULES)
        self.watch = Watch(
            lambda: (load_policy(self.policy), loaded), self._outlets, self._screen, Notifier(""), ("replay",)
        )

    def replay(self, name: str) -> list[str]:
        with self._screen, self._outlets:
            self.watch.replay([str(PCAPS / f"{name}.pcap")], 0)
        return self.out.getvalue().splitlines()


def test_what_opens_is_told_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    lines = [line for line in run.replay("disabled-transfer") if "(high)" in line or " high " in line]
    assert len([line for line in lines if line.startswith("opened high")]) == 1
    status = run.watch.status()
    assert status["packets"] == 118
    assert {site["site"] for site in status["sites"]} == {"hq", "servers", "branch", "cash-desks"}
    records = [json.loads(line) for line in (tmp_path / "eve.json").read_text().splitlines()]
    assert {record["event_type"] for record in records} == {"stats", "alert", "flow"}


def test_a_second_run_goes_on_with_what_is_open(tmp_path: Path) -> None:
    first = Run(tmp_path).replay("disabled-transfer")
    assert first
    assert not Run(tmp_path).replay("disabled-transfer")  # the same packets open nothing that is not open


@pytest.mark.parametrize("name", ["disabled-attempt", "over-limit"])
def test_a_reload_with_the_same_policy_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("sensor.watching._TICK_S", 0.0)  # after every window
    quiet, reloaded = Run(tmp_path / "a"), Run(tmp_path / "b")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ticked = reloaded.watch._tick

    numbers = count()

    def reload_at_some_ticks(now_ns: int) -> None:
        if next(numbers) % 4 == 0:
            reloaded.watch.reload()
        ticked(now_ns)

    reloaded.watch._tick = reload_at_some_ticks  # type: ignore[method-assign]
    assert quiet.replay(name) == reloaded.replay(name) != []
    assert reloaded.err.getvalue().count("reloaded: 4 sites") >= 2
    # Incidents with all their sums, what was told, and every flow: the same case.
    assert kept(tmp_path / "a") == kept(tmp_path / "b") != []
    alerts, flows = (told(tmp_path / run, "alert") for run in "ab"), (told(tmp_path / run, "flow") for run in "ab")
    assert len({json.dumps(each) for each in alerts}) == len({json.dumps(each) for each in flows}) == 1


def kept(folder: Path) -> list[object]:
    with closing(sqlite3.connect(folder / "state" / "incidents.sqlite")) as opened:
        return [json.loads(record) for (record,) in opened.execute("SELECT record FROM incident ORDER BY id")]


def told(folder: Path, kind: str) -> list[object]:
    records = [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]
    return [record for record in records if record["event_type"] == kind]


def test_a_policy_that_cannot_be_read_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    shutil.copy(PCAPS / "office.yaml", policy)
    run = Run(tmp_path, policy)
    policy.write_text("version: 1\nsites: 7\n")
    run.watch.reload()
    assert [line for line in run.replay("disabled-transfer") if line.startswith("opened high")]
    assert f"swarmtap: reload refused: {policy}:2:" in run.err.getvalue()


def test_a_stop_keeps_what_has_come(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.watch.stop()
    assert run.watch.is_stopping
    assert run.replay("disabled-transfer") == []


def test_mistakes_at_the_start_are_the_operators() -> None:
    def broken() -> None:
        raise OperatorError(Mistake("policy.yaml:1:1", "is wrong", ""))

    screen = Screen(io.StringIO(), io.StringIO())
    with pytest.raises(OperatorError, match="is wrong"):
        Watch(broken, Outlets(OutletOptions(), screen.notice), screen, Notifier(""), ("replay",))  # type: ignore[arg-type]


def test_the_clock_passes_at_its_speed() -> None:
    assert Clock(0, 0).wait_s(10**18) == 0
    assert 0.9 < Clock(0, 100).wait_s(100 * 10**9) <= 1
    assert Clock(10**9, 1).now_ns() >= 10**9

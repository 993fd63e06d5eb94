"""What `check` and `schedule` tell, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sensor import checking
from sensor.errors import OperatorError
from tests.captures import SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

OFFICE = SAMPLES / "office.yaml"
TUESDAY = 1_781_035_200_000_000_000  # 2026-06-09T20:00Z
POLICY = """\
version: 1
time_intervals:
  - name: nights
    time_intervals: [{weekdays: [monday], times: [{start_time: '22:00', end_time: '24:00'}]}]
sites:
  - {name: hq, subnets: [10.1.0.0/16], timezone: Europe/Berlin, peering: scheduled, update_windows: [nights]}
  - {name: till, subnets: [10.2.0.0/16], peering: disabled}
  - {name: lab, subnets: [10.3.0.0/16], peering: allowed}
"""
RULE = """\
title: T
name: t
level: low
logsource: {product: swarmtap, category: activity}
detection: {a: {verdict: do}, condition: a}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    path = tmp_path / "rule.yml"
    path.write_text(RULE)
    return path


# --- check ---
def test_all_is_well(policy: Path, rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checking.check(policy, [rule]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == ["policy: 3 sites, no mistake", "rules: 1 rule, no mistake", "cases: 0 of 0 as expected"]


def test_without_a_policy_the_built_in_one_is_named(rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checking.check(None, [rule]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "policy: the built-in one"


def test_cases_are_run(rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        "{capture: off-window, policy: office, expect: 9}",
        "{capture: refused, policy: office, expect: 0}",
    ]
    rule.write_text(f"{RULE}cases: [{', '.join(cases)}]\n")
    assert checking.check(None, [rule]) == 2
    said = capsys.readouterr().out
    assert "FAILED: t on off-window (office): expected 9" in said
    assert "on refused" not in said
    assert "cases: 1 of 2 as expected" in said


def test_what_is_hardly_meant_is_a_warning(policy: Path, rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(POLICY.replace("update_windows: [nights]", "update_windows: []"))
    assert checking.check(policy, [rule]) == 0
    assert f"warning: {policy}:" in capsys.readouterr().out


def test_mistakes_of_both_come_at_once(policy: Path, rule: Path) -> None:
    policy.write_text(POLICY.replace("10.1.0.0/16", "10.1.0.0/33"))
    rule.write_text(RULE.replace("level: low", "level: bad"))
    with pytest.raises(OperatorError) as error:
        checking.check(policy, [rule])
    assert {mistake.where.split(":")[0] for mistake in error.value.mistakes} == {str(policy), str(rule)}


# --- schedule ---
def told(capsys: pytest.CaptureFixture[str], policy: Path, days: int = 7, *, explain: bool = False) -> list[str]:
    assert checking.show_schedule(policy, TUESDAY, days, explain=explain) == 0
    return capsys.readouterr().out.splitlines()


def test_each_site_has_its_state_and_the_scheduled_their_slots(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, policy) == [
        "Schedule at 2026-06-09 20:00 UTC",
        "site   state      since                  changes                time zone",
        "hq     closed     Tue 2026-06-09 00:00   Mon 2026-06-15 22:00   Europe/Berlin",
        "till   disabled   always                 never                  UTC",
        "lab    allowed    always                 never                  UTC",
        "",
        "hq: 1 slot in 7 days",
        "  Mon 2026-06-15 22:00 - Tue 2026-06-16 00:00 Europe/Berlin   (2026-06-15 20:00 UTC - 2026-06-15 22:00 UTC)",
    ]


def test_days_are_those_that_follow(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hq: 0 slots in 5 days" in told(capsys, policy, 5)
    assert "hq: 2 slots in 14 days" in told(capsys, policy, 14)


def test_no_cell_is_shortened_where_the_terminal_is_narrow(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = told(capsys, policy)
    monkeypatch.setenv("COLUMNS", "20")
    assert told(capsys, policy) == wide


def test_shorthand_is_explained(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(
        POLICY.replace(
            "time_intervals: [{weekdays: [monday], times: [{start_time: '22:00', end_time: '24:00'}]}]",
            "patch_tuesday: {days: '0:2', start: '20:00', hours: 10}",
        )
    )
    said = "\n".join(told(capsys, policy, explain=True))
    assert "patch_tuesday" not in said
    assert "times:" in said


def test_the_sample_office_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert any(line.startswith("hq: ") for line in told(capsys, OFFICE))


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperatorError):
        checking.show_schedule(tmp_path / "absent.yaml", TUESDAY, 7, explain=False)

"""Cases against an analysis that is made up here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sensor.rules.cases import run
from sensor.rules.ruleset import Clause, Expectation, Rule, RuleSet
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.schema import Incident

FOUND: dict[str, list[dict[str, Any]]] = {
    "loud": [
        {"rule": "a", "subject": {"orig_ip": "10.0.0.2"}},
        {"rule": "a", "subject": {"orig_ip": "10.0.0.1"}},
        {"rule": "b"},
    ],
    "quiet": [],
}


def ruleset(*expected: Expectation) -> RuleSet:
    return RuleSet((Rule("a", "A", "low", Clause("is", "verdict", "do"), ("orig_ip",), cases=expected),))


def subjects(*addresses: str) -> tuple[tuple[tuple[str, str | int], ...], ...]:
    return tuple((("orig_ip", address),) for address in addresses)


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    for name in ("loud.pcap.gz", "quiet.pcapng", "office.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def results(captures: Path, *expected: Expectation) -> tuple[list[tuple[bool, str]], list[str]]:
    analysed = []

    def analyze(capture: Path, policy: Path, _: int) -> tuple[Incident, ...]:
        analysed.append(f"{capture.name} {policy.name}")
        return tuple(cases.incident(**each) for each in FOUND[capture.name.split(".")[0]])

    return [(each.passed, str(each)) for each in run(ruleset(*expected), captures, analyze)], analysed


def test_incidents_of_the_rule_are_counted_and_captures_analysed_once(captures: Path) -> None:
    said, analysed = results(
        captures, Expectation("loud", "office", 2), Expectation("loud", "office", 1), Expectation("quiet", "office", 0)
    )
    assert said == [
        (True, "ok: a on loud (office): expected 2, found 2 (orig_ip 10.0.0.2; orig_ip 10.0.0.1)"),
        (False, "FAILED: a on loud (office): expected 1, found 2 (orig_ip 10.0.0.2; orig_ip 10.0.0.1)"),
        (True, "ok: a on quiet (office): expected 0, found 0"),
    ]
    assert analysed == ["loud.pcap.gz office.yaml", "quiet.pcapng office.yaml"]


def test_subjects_are_compared_in_any_order(captures: Path) -> None:
    right = Expectation("loud", "office", 2, subjects("10.0.0.1", "10.0.0.2"))
    wrong = Expectation("loud", "office", 2, subjects("10.0.0.1", "10.0.0.3"))
    said, _ = results(captures, right, wrong)
    assert [passed for passed, _ in said] == [True, False]
    assert said[1][1].startswith(
        "FAILED: a on loud (office): expected 2 (orig_ip 10.0.0.1; orig_ip 10.0.0.3), found 2 ("
    )


def test_a_missing_file_fails_the_case_and_is_named(captures: Path) -> None:
    said, analysed = results(captures, Expectation("absent", "office", 0), Expectation("quiet", "home", 0))
    assert said == [
        (False, f"FAILED: a on absent (office): expected 0, found no absent.pcap in {captures}"),
        (False, f"FAILED: a on quiet (home): expected 0, found no home.yaml in {captures}"),
    ]
    assert analysed == []

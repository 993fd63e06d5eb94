"""Each rule's cases: analyse the sample captures that the rules name, and say what was expected and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sensor.rules.ruleset import Expectation, RuleSet
    from sensor.schema import Incident

_POLICY_SUFFIXES: Final = (".yaml", ".yml")


class Analyze(Protocol):
    """Capture, policy and size of the flow table (0: as ever) in, all incidents out; it judges by the rule set."""

    def __call__(self, capture: Path, policy: Path, flow_table: int, /) -> tuple[Incident, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Whether a rule did to a capture what it says it does."""

    rule: str
    capture: str
    policy: str
    expected: str
    found: str
    passed: bool

    def __str__(self) -> str:
        """Return the result in one line."""
        verdict = "ok" if self.passed else "FAILED"
        return f"{verdict}: {self.rule} on {self.capture} ({self.policy}): expected {self.expected}, found {self.found}"


def run(ruleset: RuleSet, captures: Path, analyze: Analyze) -> list[CaseResult]:
    """Return the result of every case of every rule, in their order; each capture is analysed once per policy.

    Parameters
    ----------
    ruleset
        The rules, whose cases name captures and policies without folder or suffix.
    captures
        The folder that holds `<capture>.pcap…` and `<policy>.yaml`.
    analyze
        It must judge by this rule set.

    Raises
    ------
    OperatorError
        As `analyze` raises it, of a policy that is wrong.
    """
    known: dict[tuple[Path, Path, int], tuple[Incident, ...]] = {}
    results = []
    for rule in ruleset.rules:
        for case in rule.cases:
            capture = _capture(captures, case.capture)
            policy = next((path for path in _policies(captures, case.policy) if path.is_file()), None)
            if capture is None or policy is None:
                missing = f"no {case.capture}.pcap" if capture is None else f"no {case.policy}.yaml"
                results.append(_result(rule.name, case, f"{missing} in {captures}", passed=False))
                continue
            key = (capture, policy, case.flow_table)
            if key not in known:
                known[key] = analyze(*key)
            results.append(_judged(rule.name, case, [each for each in known[key] if each.rule == rule.name]))
    return results


def _judged(rule: str, case: Expectation, incidents: Sequence[Incident]) -> CaseResult:
    passed = len(incidents) == case.incidents
    if case.subjects is not None:
        found = sorted(sorted(each.subject.items()) for each in incidents)
        passed = found == sorted(list(subject) for subject in case.subjects)
    said = "; ".join(_subject(sorted(each.subject.items())) for each in incidents)
    return _result(rule, case, f"{len(incidents)} ({said})" if incidents else "0", passed=passed)


def _result(rule: str, case: Expectation, found: str, *, passed: bool) -> CaseResult:
    expected = str(case.incidents)
    if case.subjects is not None:
        expected += f" ({'; '.join(_subject(each) for each in case.subjects)})"
    return CaseResult(rule, case.capture, case.policy, expected, found, passed)


def _subject(items: Sequence[tuple[str, str | int]]) -> str:
    return ", ".join(f"{key} {value}" for key, value in items)


def _capture(folder: Path, name: str) -> Path | None:
    """Return the capture of that name: `name.pcap` or `name.pcapng`, compressed or not."""
    return next(iter(sorted(path for path in folder.glob(f"{name}.pcap*") if path.is_file())), None)


def _policies(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{suffix}" for suffix in _POLICY_SUFFIXES]

"""Times of a command line: absolute, with zones, and relative ones."""

from __future__ import annotations

import pytest

from sensor import instants
from sensor.errors import OperatorError

FIRST = 1_781_000_000_000_000_123
EVENING = 1_781_028_000_000_000_000  # 2026-06-09T18:00Z


@pytest.mark.parametrize(
    ("told", "ns"),
    [
        ("2026-06-09", 1_780_963_200_000_000_000),
        ("2026-06-09T20:00", 1_781_035_200_000_000_000),
        ("2026-06-09T20:00Z", 1_781_035_200_000_000_000),
        ("2026-06-09 20:00 UTC", 1_781_035_200_000_000_000),
        ("2026-06-09T20:00:00+02:00", EVENING),
        ("2026-06-09T20:00 Europe/Berlin", EVENING),
        (" 2026-06-09 20:00 Europe/Berlin ", EVENING),
        ("2026-10-25 02:30 Europe/Berlin", 1_792_888_200_000_000_000),  # twice there: the first
        ("2026-06-09T20:00:00.000001", 1_781_035_200_000_001_000),
        ("1969-12-31T23:59:59.5", -500_000_000),
        ("+0s", FIRST),
        ("+1d6h", FIRST + 30 * 3600 * 10**9),
        ("+90m", FIRST + 5400 * 10**9),
    ],
)
def test_times(told: str, ns: int) -> None:
    assert instants.read("--since", told, lambda: FIRST) == ns


def test_before_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: FIRST)
    assert instants.read("--since", "-1d2h3m4s", lambda: 0) == FIRST - (86400 + 7200 + 180 + 4) * 10**9


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("", "is not a time"),
        ("now", "is not a time"),
        ("20:00", "is not a time"),
        ("2h", "is not a time"),
        ("-2", "is not a time"),
        ("+2w", "is not a time"),
        ("2026-13-01", "is not a time"),
        ("2026-06-09T25:00", "is not a time"),
        ("2026-06-09 20:00 Mars/Base", "unknown timezone"),
        ("2026-06-09 20:00 localtime", "differs from machine to machine"),
        ("2026-06-09T20:00+02:00 Europe/Berlin", "has two zones"),
        ("2026-03-29 02:30 Europe/Berlin", "was skipped by the clocks of Europe/Berlin"),
    ],
)
def test_what_is_no_time(told: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said) as error:
        instants.read("--until", told, lambda: FIRST)
    assert error.value.mistakes[0].where == "--until"

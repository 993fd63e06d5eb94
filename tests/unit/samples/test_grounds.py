"""The sample office: who is where, and when two addresses are open to each other."""

from __future__ import annotations

import pytest

from sensor.samples.grounds import branch, hq, site_of, state_of, utc


def test_instants_are_utc() -> None:
    assert utc("2026-06-09T18:00") == 1781028000 * 10**9


def test_hosts() -> None:
    assert (hq(7).ip, hq(7, 30).ip, branch(7).ip) == ("10.1.20.7", "10.1.30.7", "10.2.5.7")
    assert (hq(7).syn_window, hq(7, old=True).syn_window) == (65535, 64240)


@pytest.mark.parametrize(
    ("ip", "site"),
    [
        ("10.1.20.5", "hq"),
        ("10.1.250.5", "servers"),
        ("10.2.255.255", "branch"),
        ("10.9.0.255", "cash-desks"),
        ("10.9.1.0", "unknown"),
        ("2001:db8:1:ffff::1", "hq"),
        ("2001:db8:2::1", "unknown"),
        ("203.0.113.77", "unknown"),
    ],
)
def test_sites(ip: str, site: str) -> None:
    assert site_of(ip) == site


@pytest.mark.parametrize(
    ("orig", "resp", "at", "state"),
    [
        ("10.1.1.1", "10.1.1.2", "2026-06-09T17:59:59", "closed"),
        ("10.1.1.1", "10.1.1.2", "2026-06-09T18:00:00", "open"),
        ("10.1.1.1", "10.1.1.2", "2026-06-10T04:04:59", "open"),
        ("10.1.1.1", "10.1.1.2", "2026-06-10T04:05:00", "closed"),
        ("10.2.1.1", "10.2.1.2", "2026-06-08T03:00:00", "open"),
        ("10.2.1.1", "10.2.1.2", "2026-06-08T10:00:00", "closed"),
        ("10.1.1.1", "10.2.1.2", "2026-06-10T03:20:00", "open"),
        ("10.1.1.1", "10.2.1.2", "2026-06-10T04:30:00", "closed"),
        ("10.1.250.1", "10.1.250.2", "2026-06-12T23:00:00", "open"),
        ("10.9.0.1", "10.9.0.2", "2026-06-09T18:30:00", "closed"),
        ("10.1.1.1", "203.0.113.7", "2026-06-09T18:30:00", "closed"),
        ("10.1.40.1", "10.1.40.2", "2026-06-11T12:00:00", "exempt"),
        ("10.1.40.1", "10.1.41.2", "2026-06-11T12:00:00", "closed"),
        ("10.1.40.1", "10.1.40.2", "2026-06-09T18:30:00", "open"),
    ],
)
def test_states(orig: str, resp: str, at: str, state: str) -> None:
    assert state_of(orig, resp, utc(at)) == state_of(resp, orig, utc(at)) == state

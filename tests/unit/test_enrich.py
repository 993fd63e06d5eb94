"""How rows stand in the policy: codes of the three that know, the stricter mode, and which exception excuses what."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import numpy as np
import pytest

from sensor.enrich import Policing, Standing
from sensor.policy import Exemption, Policy, Site
from sensor.schema import PEERINGS, SCHEDULES, SCOPES, Rows, Windows

MODES = ("scheduled", "disabled", "allowed")
POLICY = Policy(
    sites=tuple(Site(name, (ip_network("10.0.0.0/8"),), peering=name) for name in MODES),
    exemptions=tuple(Exemption(f"CHG-{at}", "nora", "", 0) for at in range(2)),
)
WITHOUT = Policy(sites=POLICY.sites)
OFF_WINDOW, DISABLED, SITE_PAIR, INTERNET, OTHER = "off_window", "disabled", "site_pair", "internet", "other"


@dataclass(frozen=True)
class Known:
    """Where addresses are: the site is the lower half of the address."""

    site: Any
    local: Any
    role: Any
    known: Any


class Fake:
    """Sites, calendar and exceptions in one, which say what a test wants and remember what they were asked."""

    names = (*MODES, "unknown")

    def __init__(
        self,
        state: str = "closed",
        scope: str = "same_site",
        *,
        allowed: bool = True,
        excused: dict[str, int] | None = None,
    ) -> None:
        self.state, self.scoped, self.allowed, self.excused = state, scope, allowed, excused or {}
        self.asked: list[str] = []
        self.judged: list[tuple[list[int], list[int], list[int]]] = []

    def lookup(self, hi: Any, lo: Any) -> Known:
        assert hi.flags.c_contiguous
        assert lo.flags.c_contiguous
        return Known(lo.astype(np.int32), lo > 0, np.zeros(len(lo), dtype=np.int8), hi == 0)

    def scope(self, orig: Any, resp: Any) -> Any:
        assert len(orig.site) == len(resp.site)
        return np.full(len(orig.site), SCOPES.index(self.scoped), dtype=np.int8)

    def peers_allowed(self, orig: Any, resp: Any) -> Any:
        assert len(orig.site) == len(resp.site)
        return np.full(len(orig.site), self.allowed)

    def judge(self, orig_site: Any, resp_site: Any, at_ns: Any) -> tuple[Any, Any, Any]:
        self.judged.append((orig_site.tolist(), resp_site.tolist(), at_ns.tolist()))
        state = np.full(len(at_ns), SCHEDULES.index(self.state), dtype=np.int8)
        state.flags.writeable = False  # what the calendar gives is the calendar's
        return state, at_ns - 1, at_ns + 1

    def match(self, *arguments: Any) -> Any:
        self.asked.append(arguments[-1])
        return np.full(len(arguments[0]), self.excused.get(arguments[-1], -1), dtype=np.int32)


def rows(*pairs: tuple[int, int]) -> Rows:
    made = Windows.empty(len(pairs))
    for at, (orig, resp) in enumerate(pairs):
        made["orig_lo"][at], made["resp_lo"][at] = orig, resp
    return made


def stand(fake: Fake, *pairs: tuple[int, int], policy: Policy = POLICY) -> Standing:
    given = rows(*(pairs or [(0, 0)]))
    return Policing(policy, fake, fake, fake).stand(given, np.arange(len(given)) + 100)


def said(standing: Standing) -> tuple[str, bool, int]:
    """Return the schedule, whether peers are allowed, and the exception of the only row."""
    return SCHEDULES[standing.schedule[0]], bool(standing.peers_allowed[0]), int(standing.exception[0])


def test_each_of_the_three_is_asked_for_what_it_knows() -> None:
    fake = Fake("open", "cross_site", allowed=False)
    standing = stand(fake, (0, 1), (2, 3))
    assert fake.judged == [([0, 2], [1, 3], [100, 101])]
    assert (standing.orig.site.tolist(), standing.resp.site.tolist()) == ([0, 2], [1, 3])
    assert (standing.since_ns.tolist(), standing.next_ns.tolist()) == ([99, 100], [101, 102])
    assert [SCOPES[code] for code in standing.scope] == ["cross_site"] * 2
    assert standing.peers_allowed.tolist() == [False, False]
    assert (standing.orig.local.tolist(), standing.orig.known.tolist()) == ([False, True], [True, True])


@pytest.mark.parametrize(
    ("pair", "mode"),
    [
        ((0, 0), "scheduled"), ((0, 1), "disabled"), ((1, 2), "disabled"), ((2, 1), "disabled"), ((2, 0), "scheduled"),
        ((2, 2), "allowed"), ((2, 3), "allowed"), ((3, 0), "scheduled"), ((3, 1), "disabled"), ((3, 3), "unknown"),
    ],
)  # fmt: skip
def test_the_stricter_mode_of_two_sites_counts(pair: tuple[int, int], mode: str) -> None:
    assert PEERINGS[stand(Fake(), pair).peering[0]] == mode


@pytest.mark.parametrize(
    ("fake", "wanted"),
    [
        (Fake("closed"), ("closed", True, -1)),
        (Fake("closed", excused={OFF_WINDOW: 1}), ("exempt", True, 1)),
        (Fake("disabled", excused={DISABLED: 0}), ("exempt", True, 0)),
        # An exception excuses only what it speaks of.
        (Fake("closed", excused={DISABLED: 0}), ("closed", True, -1)),
        (Fake("disabled", excused={OFF_WINDOW: 0}), ("disabled", True, -1)),
        (Fake("open", excused={OFF_WINDOW: 0, DISABLED: 0}), ("open", True, -1)),
        (Fake("allowed", excused={OFF_WINDOW: 0}), ("allowed", True, -1)),
        # A pair of sites.
        (Fake("open", allowed=False, excused={SITE_PAIR: 1}), ("open", True, 1)),
        (Fake("open", allowed=False, excused={OFF_WINDOW: 1}), ("open", False, -1)),
        (Fake("open", allowed=True, excused={SITE_PAIR: 1}), ("open", True, -1)),
        # The internet stays the internet, but a rule can see that it is excused.
        (Fake("closed", "internet", excused={INTERNET: 0}), ("closed", True, 0)),
        (Fake("closed", "cross_site", excused={INTERNET: 0}), ("closed", True, -1)),
        (Fake("open", excused={OTHER: 1}), ("open", True, 1)),
        # Several: each does its own, the first by what it excuses is named.
        (Fake("closed", allowed=False, excused={OFF_WINDOW: 1, SITE_PAIR: 0, OTHER: 0}), ("exempt", True, 1)),
        (Fake("open", "internet", allowed=False, excused={SITE_PAIR: 0, INTERNET: 1}), ("open", True, 0)),
    ],
)
def test_what_exceptions_excuse(fake: Fake, wanted: tuple[str, bool, int]) -> None:
    assert said(stand(fake)) == wanted
    assert fake.asked == [OFF_WINDOW, DISABLED, SITE_PAIR, INTERNET, OTHER]


def test_a_policy_without_exceptions_asks_for_none() -> None:
    fake = Fake(excused={OFF_WINDOW: 0})
    assert said(stand(fake, policy=WITHOUT)) == ("closed", True, -1)
    assert fake.asked == []


def test_names_by_code() -> None:
    policing = Policing(POLICY, Fake(), Fake(), Fake())
    assert policing.site_names == ("scheduled", "disabled", "allowed", "unknown")
    assert policing.exception_ids[[1, 0, -1]].tolist() == ["CHG-1", "CHG-0", ""]


def test_no_rows() -> None:
    fake = Fake()
    standing = Policing(POLICY, fake, fake, fake).stand(rows(), np.zeros(0, dtype=np.int64))
    assert len(standing.schedule) == len(standing.peering) == len(standing.exception) == 0

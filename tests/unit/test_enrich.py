"""What the policy says of rows: who asks whom, whose word is stricter, and what an exception changes."""

from __future__ import annotations

from ipaddress import ip_network

import numpy as np
import pytest

from sensor.enrich import Policing, Standing
from sensor.exemptions import Exemptions
from sensor.policy import Exemption, Policy, Site
from sensor.schedule import Schedules
from sensor.schema import PEERINGS, SCHEDULES, SCOPES, Windows
from sensor.sites import Sites

NOON = 1_773_144_000_000_000_000  # 2026-03-10T12:00:00Z
YEAR_NS = 365 * 86_400 * 1_000_000_000
HQ, TILL, LAB = "10.1.0.", "10.2.0.", "10.3.0."
SITES = (
    Site("hq", (ip_network("10.1.0.0/24"),), peering="scheduled"),
    Site("till", (ip_network("10.2.0.0/24"),), peering="disabled"),
    Site("lab", (ip_network("10.3.0.0/24"),), peering="allowed", peers="any"),
)
ELSEWHERE = "192.0.2."


def lo(address: str) -> int:
    a, b, c, d = map(int, address.split("."))
    return 0xFFFF << 32 | a << 24 | b << 16 | c << 8 | d


def stand(*pairs: tuple[str, str], exemptions: tuple[Exemption, ...] = (), at_ns: int = NOON) -> Standing:
    policy = Policy(sites=SITES, exemptions=exemptions)
    policing = Policing(policy, Sites(policy), Schedules(policy, NOON, NOON), Exemptions(policy))
    rows = Windows.empty(len(pairs))
    rows["orig_lo"] = [lo(orig) for orig, _ in pairs]
    rows["resp_lo"] = [lo(resp) for _, resp in pairs]
    return policing.stand(rows, np.full(len(pairs), at_ns, dtype=np.int64))


def excuse(**changes: object) -> Exemption:
    base = {"id": "CHG-1", "owner": "nora", "reason": "imaging", "expires_ns": NOON + YEAR_NS, "sites": ("hq",)}
    return Exemption(**(base | changes))  # type: ignore[arg-type]


def test_sites_scope_and_schedule_of_each_row() -> None:
    made = stand((HQ + "5", HQ + "6"), (HQ + "5", LAB + "6"), (LAB + "5", LAB + "6"), (HQ + "5", ELSEWHERE + "6"))
    assert made.orig.site.tolist() == [0, 0, 2, 0]
    assert made.resp.site.tolist() == [0, 2, 2, 3]  # the last name is unknown
    assert [SCOPES[code] for code in made.scope] == ["same_subnet", "cross_site", "same_subnet", "internet"]
    assert [SCHEDULES[code] for code in made.schedule] == ["closed", "closed", "allowed", "closed"]
    assert made.exception.tolist() == [-1, -1, -1, -1]


def test_the_stricter_of_two_modes_holds() -> None:
    pairs = [(HQ, LAB), (LAB, HQ), (HQ, TILL), (TILL, LAB), (LAB, ELSEWHERE), (ELSEWHERE, TILL), (ELSEWHERE, ELSEWHERE)]
    made = stand(*((orig + "5", resp + "6") for orig, resp in pairs))
    assert [PEERINGS[code] for code in made.peering] == [
        "scheduled", "scheduled", "disabled", "disabled", "allowed", "disabled", "unknown",
    ]  # fmt: skip


def test_sites_have_their_names() -> None:
    policy = Policy(sites=SITES, exemptions=(excuse(), excuse(id="CHG-2")))
    made = Policing(policy, Sites(policy), Schedules(policy, NOON, NOON), Exemptions(policy))
    assert made.site_names == ("hq", "till", "lab", "unknown")
    assert [made.exception_ids[at] for at in (0, 1, -1)] == ["CHG-1", "CHG-2", ""]  # -1 is none


@pytest.mark.parametrize(
    ("allow", "schedule", "allowed", "exceptions"),
    [
        (("off_window",), ["exempt", "disabled", "exempt"], [True, False, False], [0, -1, 0]),
        (("disabled",), ["closed", "exempt", "closed"], [True, False, False], [-1, 0, -1]),
        (("site_pair",), ["closed", "disabled", "closed"], [True, True, True], [-1, 0, 0]),
        (("internet",), ["closed", "disabled", "closed"], [True, False, False], [-1, -1, -1]),
        (("other",), ["closed", "disabled", "closed"], [True, False, False], [0, 0, 0]),
        (("off_window", "site_pair"), ["exempt", "disabled", "exempt"], [True, True, True], [0, 0, 0]),
    ],
)
def test_an_exception_excuses_what_it_allows_and_no_more(
    allow: tuple[str, ...], schedule: list[str], allowed: list[bool], exceptions: list[int]
) -> None:
    pairs = ((HQ + "5", HQ + "6"), (TILL + "5", HQ + "6"), (HQ + "5", LAB + "6"))
    everyone = ("hq", "till", "lab")
    plain, made = stand(*pairs), stand(*pairs, exemptions=(excuse(allow=allow, sites=everyone),))
    assert [SCHEDULES[code] for code in plain.schedule] == ["closed", "disabled", "closed"]
    assert plain.peers_allowed.tolist() == [True, False, False]
    assert [SCHEDULES[code] for code in made.schedule] == schedule
    assert made.peers_allowed.tolist() == allowed
    assert made.exception.tolist() == exceptions


def test_an_exception_ends() -> None:
    pair = (HQ + "5", HQ + "6")
    states = [
        SCHEDULES[stand(pair, exemptions=(excuse(expires_ns=NOON),), at_ns=at_ns).schedule[0]]
        for at_ns in (NOON - 1, NOON)
    ]
    assert states == ["exempt", "closed"]


def test_the_internet_is_excused_by_its_own_word() -> None:
    pair = (HQ + "5", ELSEWHERE + "6")
    assert stand(pair, exemptions=(excuse(allow=("internet",)),)).exception.tolist() == [0]
    assert stand(pair, exemptions=(excuse(allow=("disabled",)),)).exception.tolist() == [-1]


def test_the_first_exception_that_matched_is_named() -> None:
    pair = (HQ + "5", HQ + "6")
    both = (excuse(id="A", allow=("other",)), excuse(id="B", allow=("off_window",)))
    # What concerns the schedule is asked before what concerns all else.
    assert stand(pair, exemptions=both).exception.tolist() == [1]


def test_no_rows() -> None:
    made = stand()
    assert len(made.scope) == len(made.schedule) == len(made.exception) == 0

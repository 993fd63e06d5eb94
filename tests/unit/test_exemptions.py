"""Exceptions: whom they speak of, what they allow, and until when."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import numpy as np

from sensor.exemptions import Exemptions
from sensor.policy import Exemption, Policy, Site

NOON = 1_800_000_000_000_000_000
HQ, BRANCH, UNKNOWN = 0, 1, 2
SITES = (Site("hq", (ip_network("10.1.0.0/16"),)), Site("branch", (ip_network("10.2.0.0/16"),)))


def exemption(**changes: object) -> Exemption:
    stated = {"id": "CHG-1", "owner": "nora", "reason": "imaging", "expires_ns": NOON, "sites": ("hq",)} | changes
    return Exemption(**stated)  # type: ignore[arg-type]


def match(
    exemptions: tuple[Exemption, ...],
    orig: tuple[int, str],
    resp: tuple[int, str],
    at_ns: int = NOON - 1,
    what: str = "off_window",
) -> int:
    def words(address: str) -> tuple[np.ndarray, np.ndarray]:
        parsed = ip_address(address)
        value = int(parsed) + ((0xFFFF << 32) if parsed.version == 4 else 0)
        return np.array([value >> 64], dtype=np.uint64), np.array([value & (2**64 - 1)], dtype=np.uint64)

    sites = (np.array([orig[0]], dtype=np.int32), np.array([resp[0]], dtype=np.int32))
    at = np.array([at_ns], dtype=np.int64)
    found = Exemptions(Policy(SITES, exemptions=exemptions)).match(*sites, *words(orig[1]), *words(resp[1]), at, what)
    assert found.dtype == np.int32
    assert found.shape == (1,)
    return int(found[0])


def test_either_side_in_the_site_is_enough() -> None:
    stated = (exemption(),)
    assert match(stated, (HQ, "10.1.0.1"), (BRANCH, "10.2.0.1")) == 0
    assert match(stated, (BRANCH, "10.2.0.1"), (HQ, "10.1.0.1")) == 0
    assert match(stated, (BRANCH, "10.2.0.1"), (BRANCH, "10.2.0.2")) == -1


def test_site_and_subnet_must_hold_for_the_same_side() -> None:
    stated = (exemption(subnets=(ip_network("10.1.5.0/24"), ip_network("10.2.0.0/24"))),)
    assert match(stated, (HQ, "10.1.5.9"), (BRANCH, "10.2.9.1")) == 0
    assert match(stated, (HQ, "10.1.6.9"), (BRANCH, "10.2.0.1")) == -1


def test_subnets_alone_with_their_exact_edges() -> None:
    stated = (exemption(sites=(), subnets=(ip_network("10.1.5.0/24"), ip_network("2001:db8::/65"))),)
    other = (UNKNOWN, "8.8.8.8")
    assert match(stated, (HQ, "10.1.5.0"), other) == 0
    assert match(stated, (HQ, "10.1.5.255"), other) == 0
    assert match(stated, (HQ, "10.1.4.255"), other) == -1
    assert match(stated, (HQ, "10.1.6.0"), other) == -1
    assert match(stated, (HQ, "2001:db8::7fff:ffff:ffff:ffff"), other) == 0
    assert match(stated, (HQ, "2001:db8::8000:0:0:0"), other) == -1
    assert match(stated, (HQ, "::10.1.5.0"), other) == -1


def test_whole_families() -> None:
    other = (UNKNOWN, "2001:db8::1")
    assert match((exemption(sites=(), subnets=(ip_network("0.0.0.0/0"),)),), (UNKNOWN, "1.2.3.4"), other) == 0
    assert match((exemption(sites=(), subnets=(ip_network("0.0.0.0/0"),)),), other, other) == -1
    assert match((exemption(sites=(), subnets=(ip_network("::/0"),)),), other, other) == 0


def test_it_expires_at_the_instant_and_not_before() -> None:
    stated = (exemption(),)
    assert match(stated, (HQ, "10.1.0.1"), (HQ, "10.1.0.2"), NOON - 1) == 0
    assert match(stated, (HQ, "10.1.0.1"), (HQ, "10.1.0.2"), NOON) == -1


def test_only_what_it_allows() -> None:
    stated = (exemption(allow=("internet", "other")),)
    sides = (HQ, "10.1.0.1"), (HQ, "10.1.0.2")
    assert match(stated, *sides) == -1
    assert match(stated, *sides, what="internet") == 0
    assert match(stated, *sides, what="other") == 0
    assert match(stated, *sides, what="disabled") == -1


def test_the_first_that_holds_is_named() -> None:
    stated = (exemption(expires_ns=NOON - 10), exemption(), exemption(sites=()))
    assert match(stated, (HQ, "10.1.0.1"), (HQ, "10.1.0.2")) == 1
    assert match(stated, (HQ, "10.1.0.1"), (HQ, "10.1.0.2"), NOON - 11) == 0
    assert match(stated, (BRANCH, "10.2.0.1"), (BRANCH, "10.2.0.2")) == 2


def test_an_exception_may_speak_of_what_is_in_no_site() -> None:
    stated = (exemption(sites=("unknown",)),)
    assert match(stated, (HQ, "10.1.0.1"), (UNKNOWN, "10.9.0.1")) == 0
    assert match(stated, (HQ, "10.1.0.1"), (BRANCH, "10.2.0.1")) == -1


def test_rows_are_judged_each_by_itself() -> None:
    stated = Policy(SITES, exemptions=(exemption(),))
    sites = np.array([HQ, BRANCH, HQ], dtype=np.int32)
    zeros = np.zeros(3, dtype=np.uint64)
    at = np.array([NOON - 1, NOON - 1, NOON], dtype=np.int64)
    found = Exemptions(stated).match(sites, sites, zeros, zeros, zeros, zeros, at, "off_window")
    assert found.tolist() == [0, -1, -1]

"""Addresses to what the policy knows of them: site, subnet, inside or outside, role; and how far apart two are.

The prefixes of sites, of `capture.local` and of the inventory are laid over one another once, which cuts the address
space into disjoint ranges with one row of facts each; placing an address is then one binary search.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from sensor.kernels.prefixes import find_ranges
from sensor.policy import UNKNOWN_SITE
from sensor.schema import ROLES, SCOPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.policy import Network, Policy, Site

_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291, section 2.5.5.2
_WORD: Final = (1 << 64) - 1
_SAME_SUBNET, _SAME_SITE, _CROSS_SITE, _INTERNET, _UNKNOWN = range(len(SCOPES))
_NO_ROLE: Final = ROLES.index("unknown")

Words = npt.NDArray[np.uint64]
Indexes = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Placement:
    """What the policy knows of N addresses.

    `site` int32[N] indexes `Sites.names`, `subnet` int32[N] indexes `Sites.subnets` (-1: in none), `local` bool[N] is
    inside `capture.local` or any site, `role` int8[N] indexes ROLES, `known` bool[N] is inventoried and approved (true
    without an inventory).
    """

    site: Indexes
    subnet: Indexes
    local: Flags
    role: Codes
    known: Flags


def span(network: Network) -> tuple[int, int]:
    """Return a prefix's first and last address as 128-bit numbers, IPv4 as ::ffff:0:0/96."""
    base = _MAPPED if network.version == 4 else 0  # noqa: PLR2004 - the IP version
    return base + int(network.network_address), base + int(network.broadcast_address)


def flatten(networks: Sequence[Network]) -> tuple[list[int], list[int]]:
    """Cut the address space where nested prefixes begin and end; the longest prefix owns a range.

    Returns
    -------
    starts, owners : list of int
        Ascending first addresses, the first is 0; and the index of each range's prefix (-1: none).
    """
    starts, owners = [0], [-1]
    around: list[tuple[int, int]] = []  # (last address, index) of the prefixes we are inside of

    def begin(address: int, owner: int) -> None:
        if starts[-1] == address:
            owners[-1] = owner
        elif owners[-1] != owner:
            starts.append(address)
            owners.append(owner)

    def leave(address: int) -> None:
        while around and around[-1][0] < address:
            last, _ = around.pop()
            begin(last + 1, around[-1][1] if around else -1)

    spans = [(*span(network), at) for at, network in enumerate(networks)]
    for first, last, at in sorted(spans, key=lambda one: (one[0], -one[1])):
        leave(first)
        around.append((last, at))
        begin(first, at)
    leave(1 << 128)
    if starts[-1] == 1 << 128:
        starts.pop()
        owners.pop()
    return starts, owners


def _owners_at(starts: list[int], networks: Sequence[Network]) -> npt.NDArray[np.int64]:
    """Return for each start the index of the longest prefix over it (-1: none)."""
    own, owners = flatten(networks)
    return np.array([owners[bisect_right(own, start) - 1] for start in starts], dtype=np.int64)


class Sites:
    """The policy's map of addresses. `names` is its sites in order, then "unknown"; `subnets` all their prefixes."""

    def __init__(self, policy: Policy) -> None:
        self.names = (*(site.name for site in policy.sites), UNKNOWN_SITE)
        self.subnets = tuple(subnet for site in policy.sites for subnet in site.subnets)
        inventory = tuple(endpoint.network for endpoint in policy.endpoints)
        inside = (*policy.local, *self.subnets)
        starts = sorted({start for part in (self.subnets, inside, inventory) for start in flatten(part)[0]})
        self._starts_hi = np.array([start >> 64 for start in starts], dtype=np.uint64)
        self._starts_lo = np.array([start & _WORD for start in starts], dtype=np.uint64)

        # One more entry at the end of each list of facts: what index -1 means.
        homes = [at for at, site in enumerate(policy.sites) for _ in site.subnets]
        roles = [ROLES.index(endpoint.role) for endpoint in policy.endpoints]
        approvals = [endpoint.approved for endpoint in policy.endpoints]
        subnet, endpoint = _owners_at(starts, self.subnets), _owners_at(starts, inventory)
        self._ranges = Placement(
            site=np.array([*homes, len(policy.sites)], dtype=np.int32)[subnet],
            subnet=subnet.astype(np.int32),
            local=_owners_at(starts, inside) >= 0,
            role=np.array([*roles, _NO_ROLE], dtype=np.int8)[endpoint],
            known=np.array([*approvals, not inventory], dtype=np.bool_)[endpoint],
        )
        self._permits = _permits(policy.sites)
        self._subnet_only = np.array([*(site.peers == "same_subnet" for site in policy.sites), False])

    def lookup(self, hi: Words, lo: Words) -> Placement:
        """Place addresses, given as uint64[N] halves."""
        at = np.zeros(len(hi), dtype=np.int32)
        find_ranges(self._starts_hi, self._starts_lo, np.ascontiguousarray(hi), np.ascontiguousarray(lo), at)
        facts = self._ranges
        return Placement(facts.site[at], facts.subnet[at], facts.local[at], facts.role[at], facts.known[at])

    def scope(self, orig: Placement, resp: Placement) -> Codes:
        """Say how far apart the two sides are: int8[N], index in SCOPES."""
        nowhere = len(self.names) - 1
        homeless = (orig.site == nowhere) | (resp.site == nowhere)
        found = np.where(orig.site == resp.site, _SAME_SITE, _CROSS_SITE)
        found = np.where((orig.subnet == resp.subnet) & (orig.subnet >= 0), _SAME_SUBNET, found)
        found = np.where(homeless, _UNKNOWN, found)
        return np.where(orig.local & resp.local, found, _INTERNET).astype(np.int8)

    def peers_allowed(self, orig: Placement, resp: Placement) -> Flags:
        """Say whether the policy lets each pair peer at all (`peers`), whatever the time: bool[N].

        Both sides must permit the other; an address outside every site has said nothing, so only the other side counts.
        """
        both = self._permits[orig.site, resp.site] & self._permits[resp.site, orig.site]
        strict = self._subnet_only[orig.site] | self._subnet_only[resp.site]
        return np.asarray(both & (~strict | (orig.subnet == resp.subnet)))


def _permits(sites: Sequence[Site]) -> Flags:
    """Return bool[S + 1, S + 1]: whether the row's site lets the column's be a peer; the last is "unknown"."""
    at = {site.name: index for index, site in enumerate(sites)}
    permits = np.zeros((len(sites) + 1, len(sites) + 1), dtype=np.bool_)
    permits[-1, :] = True
    for index, site in enumerate(sites):
        permits[index, index] = True
        if site.peers == "any":
            permits[index, :] = True
        elif isinstance(site.peers, tuple):
            permits[index, [at[name] for name in site.peers]] = True
    return permits

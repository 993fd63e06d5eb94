"""Which of the operator's exceptions, if any, excuses a pair of addresses at an instant.

An exception speaks of hosts: it holds for a pair if either side is in one of its `sites` (where it names any) and in
one of its `subnets` (where it names any). It is judged at the time of the event, so that an old capture is judged as
it would have been then. Where several hold, the first in the policy is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from sensor.policy import UNKNOWN_SITE

if TYPE_CHECKING:
    from sensor.policy import Exemption, Network, Policy

_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291, section 2.5.5.2
_WORD: Final = (1 << 64) - 1

Words = npt.NDArray[np.uint64]
Indexes = npt.NDArray[np.int32]
Instants = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Exemptions:
    """The policy's exceptions, ready to be matched."""

    def __init__(self, policy: Policy) -> None:
        names = [*(site.name for site in policy.sites), UNKNOWN_SITE]
        self._rules = tuple(
            (exemption, np.array([name in exemption.sites for name in names])) for exemption in policy.exemptions
        )

    def match(  # noqa: PLR0913, PLR0917 - two sides of an address each, when, and what
        self,
        orig_site: Indexes,
        resp_site: Indexes,
        orig_hi: Words,
        orig_lo: Words,
        resp_hi: Words,
        resp_lo: Words,
        at_ns: Instants,
        what: str,
    ) -> Indexes:
        """Find the first exception that allows `what` for each pair.

        Parameters
        ----------
        orig_site, resp_site : int32[N]
            Index in `Sites.names`.
        orig_hi, orig_lo, resp_hi, resp_lo : uint64[N]
            Addresses.
        at_ns : int64[N] ns
            When it happened; an exception holds before its `expires_ns`.
        what : str
            off_window, disabled, site_pair, internet or other.

        Returns
        -------
        int32[N]
            Index in `policy.exemptions`, or -1.
        """
        found = np.full(len(at_ns), -1, dtype=np.int32)
        for index, (exemption, at_site) in enumerate(self._rules):
            if what not in exemption.allow:
                continue
            rows = np.flatnonzero((found < 0) & (at_ns < exemption.expires_ns))
            if len(rows) == 0:
                continue
            held = _holds(exemption, at_site, orig_site[rows], orig_hi[rows], orig_lo[rows])
            held |= _holds(exemption, at_site, resp_site[rows], resp_hi[rows], resp_lo[rows])
            found[rows[held]] = index
        return found


def _holds(exemption: Exemption, at_site: Flags, site: Indexes, hi: Words, lo: Words) -> Flags:
    """Say which hosts the exception speaks of: bool[N]."""
    held = at_site[site] if exemption.sites else np.ones(len(site), dtype=np.bool_)
    if exemption.subnets:
        inside = np.zeros(len(site), dtype=np.bool_)
        for network in exemption.subnets:
            inside |= _within(network, hi, lo)
        held = held & inside
    return held


def _within(network: Network, hi: Words, lo: Words) -> Flags:
    """Say which addresses lie in a prefix: bool[N]."""
    base, extra = (_MAPPED, 96) if network.version == 4 else (0, 0)  # noqa: PLR2004 - the IP version
    first = base + int(network.network_address)
    mask = ((1 << 128) - 1) ^ ((1 << (128 - extra - network.prefixlen)) - 1)
    upper = (hi & np.uint64(mask >> 64)) == np.uint64(first >> 64)
    lower = (lo & np.uint64(mask & _WORD)) == np.uint64(first & _WORD)
    return np.asarray(upper & lower)

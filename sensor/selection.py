"""Which packets an analyst asks for: those of some flows, hosts or sites; an empty choice is every packet."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from sensor import text
from sensor.errors import Mistake, OperatorError
from sensor.rows import pick
from sensor.sites import Sites

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensor.policy import Policy
    from sensor.schema import Rows

Mask = npt.NDArray[np.bool_]
_KEY: Final = ("src_hi", "src_lo", "src_port", "dst_hi", "dst_lo", "dst_port")
_MAPPED: Final = 0xFFFF << 32
_MOST_KNOWN: Final = 1 << 20  # flows whose answer is remembered


@dataclass(frozen=True, slots=True)
class _Network:
    """A prefix as two masked words."""

    hi: int
    lo: int
    mask_hi: int
    mask_lo: int


@dataclass(slots=True)
class Selection:
    """A choice of packets: all that is named must hold, and of each kind one is enough.

    `flows` are Community IDs, `hosts` addresses or prefixes, `sites` names in `policy`.
    """

    flows: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    policy: Policy | None = None
    _networks: tuple[_Network, ...] = field(init=False, default=())
    _places: Sites | None = field(init=False, default=None)
    _codes: npt.NDArray[np.int32] = field(init=False, default_factory=lambda: np.empty(0, dtype=np.int32))
    _known: dict[bytes, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Read what was asked for.

        Raises
        ------
        OperatorError
            For everything that names nothing, at once.
        """
        mistakes = [*self._read_hosts(), *self._read_sites()]
        mistakes += [
            Mistake("--flow", f'"{each}" is not a Community ID', 'write it as in flows.parquet: "1:" and 28 characters')
            for each in sorted(self.flows)
            if not each.startswith("1:")
        ]
        if mistakes:
            raise OperatorError(*mistakes)

    def __call__(self, packets: Rows) -> Rows:
        """Return the chosen of some packets."""
        return packets if self.is_everything or not len(packets) else pick(packets, self.mask(packets))

    @property
    def is_everything(self) -> bool:
        """Whether nothing was asked for in particular."""
        return not (self.flows or self.hosts or self.sites)

    def mask(self, packets: Rows) -> Mask:
        """Return for each packet whether it is chosen."""
        chosen = np.ones(len(packets), dtype=np.bool_)
        if self.hosts:
            chosen &= self._within(packets["src_hi"], packets["src_lo"]) | self._within(
                packets["dst_hi"], packets["dst_lo"]
            )
        if self._places is not None:
            src = self._places.lookup(packets["src_hi"].copy(), packets["src_lo"].copy())
            dst = self._places.lookup(packets["dst_hi"].copy(), packets["dst_lo"].copy())
            chosen &= np.isin(src.site, self._codes) | np.isin(dst.site, self._codes)
        if self.flows:
            chosen[chosen] = self._in_flows(pick(packets, chosen))
        return chosen

    def _within(self, hi: npt.NDArray[np.uint64], lo: npt.NDArray[np.uint64]) -> Mask:
        found = np.zeros(len(hi), dtype=np.bool_)
        for net in self._networks:
            found |= ((hi & np.uint64(net.mask_hi)) == np.uint64(net.hi)) & (
                (lo & np.uint64(net.mask_lo)) == np.uint64(net.lo)
            )
        return found

    def ids(self, packets: Rows) -> list[str]:
        """Return the Community ID of each packet."""
        distinct, inverse = _distinct(packets)
        names = [str(name) for name in _community_ids(distinct)]
        return [names[at] for at in inverse.tolist()]

    def _in_flows(self, packets: Rows) -> Mask:
        distinct, inverse = _distinct(packets)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        told = [row.tobytes() for row in distinct]
        fresh = [at for at, key in enumerate(told) if key not in self._known]
        if fresh:
            made = _community_ids(distinct[fresh])
            self._known.update((told[at], str(name) in self.flows) for at, name in zip(fresh, made, strict=True))
        answers = np.array([self._known[key] for key in told], dtype=np.bool_)
        chosen: Mask = answers[inverse]
        return chosen

    def _read_hosts(self) -> Iterable[Mistake]:
        networks = []
        for host in self.hosts:
            try:
                network = ip_network(host, strict=False)
            except ValueError:
                yield Mistake("--host", f'"{host}" is not an address', "write 10.1.2.3, 10.1.0.0/16 or 2001:db8::/32")
                continue
            address, width = int(network.network_address), network.prefixlen
            if network.version == 4:  # noqa: PLR2004 - IPv4
                address, width = _MAPPED | address, width + 96
            mask = ((1 << 128) - 1) ^ ((1 << (128 - width)) - 1)
            word = (1 << 64) - 1
            networks.append(_Network((address & mask) >> 64, address & mask & word, mask >> 64, mask & word))
        self._networks = tuple(networks)

    def _read_sites(self) -> Iterable[Mistake]:
        if not self.sites:
            return
        if self.policy is None:
            yield Mistake("--site", "needs a policy that names sites", "give one with -p")
            return
        places = Sites(self.policy)
        for site in self.sites:
            if site not in places.names:
                yield Mistake("--site", f'"{site}" is no site of the policy', f"one of {', '.join(places.names)}")
        self._places = places
        known = [places.names.index(site) for site in self.sites if site in places.names]
        self._codes = np.array(known, dtype=np.int32)


def _distinct(packets: Rows) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """Return the distinct addresses and ports of packets, and which of them each packet has."""
    keys = np.empty((len(packets), len(_KEY)), dtype=np.uint64)
    for at, name in enumerate(_KEY):
        keys[:, at] = packets[name]
    distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
    return distinct, inverse.reshape(-1)


def _community_ids(keys: npt.NDArray[np.uint64]) -> Iterable[str]:
    src_port, dst_port = keys[:, 2].astype(np.uint16), keys[:, 5].astype(np.uint16)
    return text.community_ids(keys[:, 0], keys[:, 1], src_port, keys[:, 3], keys[:, 4], dst_port)

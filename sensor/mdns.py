"""mDNS announcements of `_dosvc._tcp.local` to an inventory: which host offers which content, without a byte moving.

A host's TXT record lists, as SH00, SH01, …, the first 12 bytes of the hash of each content it offers. So an offer
joins a swarm by prefix, and host names become labels for addresses, each with the time in which it held.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor.announcements import announced
from sensor.wire import DO_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sensor.schema import Batch

_A, _PTR, _TXT, _AAAA, _SRV = 1, 12, 16, 28, 33  # RFC 1035, 3596, 2782
_IN: Final = 1
_RESPONSE: Final = 0x8000
_MOST_RECORDS: Final = 512
_MOST_LABELS: Final = 128  # RFC 1035: a name has at most 255 bytes
_HEADER: Final = 12
_PREFIX_BYTES: Final = 12
_SECOND_NS: Final = 1_000_000_000
_LABEL: Final = b"\x06_dosvc"
_SWARM: Final = re.compile(rb"SH[0-9A-Fa-f]{2}=(.*)", re.DOTALL)


class _BadMessageError(Exception):
    """A DNS message that cannot be read; counted."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record: its owner, type, life, and where its data lies in the message."""

    name: str
    kind: int
    ttl_s: int
    at: int
    size: int


@dataclass(slots=True)
class _Offer:
    since_ns: int
    until_ns: int
    ended: bool = False


@dataclass(slots=True)
class _Host:
    port: int = 0
    addresses: dict[str, tuple[int, int]] = field(default_factory=dict)
    """From when to when each address was announced or used."""
    target: str = ""
    offers: dict[str, list[_Offer]] = field(default_factory=dict)
    kept: int = 0
    """How many offers these are."""


@dataclass(frozen=True, slots=True)
class InventoryOptions:
    """How much is kept; the hosts that were silent longest are forgotten first, and counted."""

    hosts: int = 65536
    offers_of_host: int = 4096
    addresses_of_host: int = 64
    per_s: int = 0
    """Datagrams that are read in a second of event time, so that a flood costs no more; 0: all of them."""


class Offers:
    """The inventory of what hosts announce.

    Parameters
    ----------
    options : InventoryOptions, optional
    """

    def __init__(self, options: InventoryOptions | None = None) -> None:
        self._options = options or InventoryOptions()
        self._hosts: dict[str, _Host] = {}
        self.announcements = 0
        self.damaged = 0
        """Datagrams on the port that are no DNS."""
        self.evicted = 0
        self.unread = 0
        """Datagrams over `per_s`."""
        self._second = (0, 0)

    def push(self, batch: Batch) -> None:
        """Take the frames of a batch, in order of time."""
        for each in announced(batch):
            self.hear(each.message, each.source, each.ts_ns)

    def _is_too_much(self, at_ns: int) -> bool:
        second, count = at_ns // _SECOND_NS, self._second[1] + 1
        self._second = (second, count if second == self._second[0] else 1)
        is_over = self._second[1] > self._options.per_s
        self.unread += is_over
        return is_over

    def hear(self, message: bytes, source: str, at_ns: int) -> None:
        """Take one DNS message.

        Raises
        ------
        nothing
        """
        if _LABEL not in message.lower() or (self._options.per_s and self._is_too_much(at_ns)):
            return
        try:
            records = list(_records(message))
            instances = self._announced(message, records, source, at_ns)
        except _BadMessageError:
            self.damaged += 1
            return
        self.announcements += bool(instances)
        while len(self._hosts) > self._options.hosts:
            del self._hosts[next(iter(self._hosts))]
            self.evicted += 1

    def _announced(self, message: bytes, records: list[Record], source: str, at_ns: int) -> set[str]:
        service = "." + DO_SERVICE.decode()
        heard: set[str] = set()
        for record in records:
            instance = record.name
            if record.kind == _PTR and "." + record.name == service:
                instance = _name(message, record.at)[0]
                if record.ttl_s:
                    continue  # the records of the instance say the rest
            if not instance.endswith(service):
                continue
            # Hosts stand in the order in which they were heard last.
            name = instance.removesuffix(service)
            host = self._hosts.pop(name) if name in self._hosts else _Host()
            self._hosts[name] = host
            heard.add(instance)
            if record.ttl_s == 0:
                _end(host, at_ns)
            elif record.kind == _SRV and record.size > 6:  # noqa: PLR2004 - priority, weight, port
                host.port = int.from_bytes(message[record.at + 4 : record.at + 6], "big")
                host.target = _name(message, record.at + 6)[0]
            elif record.kind == _TXT:
                self._offer(host, _contents(message[record.at : record.at + record.size]), at_ns, record.ttl_s)
        for instance in heard:
            host = self._hosts[instance.removesuffix(service)]
            told = [_told(message, r) for r in records if r.kind in (_A, _AAAA) and r.ttl_s and r.name == host.target]
            self._place(host, sorted({*told, source} - {""}), at_ns)
        return heard

    def _place(self, host: _Host, addresses: Iterable[str], at_ns: int) -> None:
        for address in addresses:
            host.addresses[address] = (host.addresses.pop(address, (at_ns, 0))[0], at_ns)
        while len(host.addresses) > self._options.addresses_of_host:
            del host.addresses[next(iter(host.addresses))]
            self.evicted += 1

    def _offer(self, host: _Host, contents: Iterable[str], at_ns: int, ttl_s: int) -> None:
        now = set(contents)
        until_ns = at_ns + ttl_s * _SECOND_NS
        for content, offers in host.offers.items():
            last = offers[-1]
            if content not in now and not last.ended and last.until_ns > at_ns:
                last.until_ns, last.ended = at_ns, True
        for content in sorted(now):
            offers = host.offers.setdefault(content, [])
            if offers and not offers[-1].ended and offers[-1].until_ns >= at_ns:
                offers[-1].until_ns = until_ns
            elif host.kept < self._options.offers_of_host:
                offers.append(_Offer(at_ns, until_ns))
                host.kept += 1
            else:
                self.evicted += 1
            if not offers:
                del host.offers[content]

    def rows(self) -> list[tuple[str, str, int, str, int, int]]:
        """Return (host, addresses, port, content prefix, since, until), sorted by since, host, content.

        Raises
        ------
        nothing
        """
        found = []
        for name, host in self._hosts.items():
            addresses = ",".join(sorted(host.addresses, key=lambda text: (ip_address(text).version, text)))
            for content, offers in host.offers.items():
                found += [(name, addresses, host.port, content, o.since_ns, o.until_ns) for o in offers]
        return sorted(found, key=lambda row: (row[4], row[0], row[3]))

    def names(self) -> list[tuple[str, str, int, int]]:
        """Return (address, host, since, until), sorted: an address that changed hands has a row for each.

        Raises
        ------
        nothing
        """
        rows = [(at, name, *heard) for name, host in self._hosts.items() for at, heard in host.addresses.items()]
        return sorted(rows, key=lambda row: (row[0], row[2], row[1]))

    def labels(self, most: int = 0) -> dict[str, tuple[str, int, int]]:
        """Return the name of each announced address, and from when to when it was heard.

        Parameters
        ----------
        most : int
            How many at most, those of the hosts that were heard last; 0: all.

        Raises
        ------
        nothing
        """
        found: dict[str, tuple[str, int, int]] = {}
        for name, host in reversed(self._hosts.items()):
            for address, (since_ns, until_ns) in host.addresses.items():
                if address not in found or found[address][2] < until_ns:
                    found[address] = (name, since_ns, until_ns)
            if most and len(found) >= most:
                break
        return found


def _end(host: _Host, at_ns: int) -> None:
    for offers in host.offers.values():
        if not offers[-1].ended:
            offers[-1].until_ns, offers[-1].ended = min(at_ns, offers[-1].until_ns), True


def _told(message: bytes, record: Record) -> str:
    data = message[record.at : record.at + record.size]
    sizes = {_A: 4, _AAAA: 16}
    return str(ip_address(data)) if len(data) == sizes[record.kind] else ""


def _contents(text: bytes) -> Iterator[str]:
    """Yield the content prefixes of a TXT record as hex."""
    at = 0
    while at < len(text):
        size = text[at]
        found = _SWARM.fullmatch(text[at + 1 : at + 1 + size])
        at += 1 + size
        if found is None:
            continue
        try:
            prefix = base64.b64decode(found[1], validate=True)
        except binascii.Error:
            continue
        if len(prefix) == _PREFIX_BYTES:
            yield prefix.hex()


def _records(message: bytes) -> Iterator[Record]:
    """Yield the records of a response; a query has none that say anything.

    References
    ----------
    RFC 1035, section 4.1; RFC 6762, section 18.
    """
    if len(message) < _HEADER:
        raise _BadMessageError
    flags, questions, *others = np.frombuffer(message[2:_HEADER], dtype=">u2").tolist()
    if not flags & _RESPONSE:
        return
    at = _HEADER
    for _ in range(min(questions, _MOST_RECORDS)):
        at = _name(message, at)[1] + 4
    for _ in range(min(sum(others), _MOST_RECORDS)):
        name, at = _name(message, at)
        if at + 10 > len(message):
            raise _BadMessageError
        kind, kin = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        ttl_s, size = int.from_bytes(message[at + 4 : at + 8], "big"), int.from_bytes(message[at + 8 : at + 10], "big")
        at += 10
        if at + size > len(message):
            raise _BadMessageError
        if kin & 0x7FFF == _IN:  # the upper bit asks to flush caches
            yield Record(name, kind, ttl_s, at, size)
        at += size


def _name(message: bytes, at: int) -> tuple[str, int]:
    """Read a name, compressed or not; returns it and where it ends. Case is kept but for the service's own labels."""
    labels: list[str] = []
    end = -1
    for _ in range(_MOST_LABELS):
        if at >= len(message):
            raise _BadMessageError
        size = message[at]
        if size >= 0xC0:  # noqa: PLR2004 - a pointer
            if at + 2 > len(message):
                raise _BadMessageError
            end = end if end >= 0 else at + 2
            at = (size & 0x3F) << 8 | message[at + 1]
        elif size == 0:
            return _folded(labels), end if end >= 0 else at + 1
        else:
            if at + 1 + size > len(message):
                raise _BadMessageError
            labels.append(message[at + 1 : at + 1 + size].decode("utf-8", "replace"))
            at += 1 + size
    raise _BadMessageError


def _folded(labels: list[str]) -> str:
    tail = [label.lower() for label in labels[-3:]]
    service = DO_SERVICE.decode().split(".")
    return ".".join([*labels[:-3], *service] if tail == service else labels)

"""Batches to the mDNS messages in them that may speak of the service, each with its time, its frame and its sender."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from sensor.kernels import mdns
from sensor.schema import Datagrams
from sensor.wire import MDNS_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor.schema import Batch

_ROOM: Final = 1025
_LABEL: Final = b"\x06_dosvc"


@dataclass(frozen=True, slots=True, order=True)
class Announced:
    """One mDNS message: when, in which frame of its input, from whom, and its bytes."""

    ts_ns: int
    number: int
    source: str
    message: bytes


def announced(batch: Batch) -> Iterator[Announced]:
    """Yield the mDNS messages of a batch that may speak of the service, in its order.

    Raises
    ------
    nothing
    """
    first = 0
    out = Datagrams.empty(_ROOM)
    while first < len(batch.frames):
        count = mdns.select(batch.frames, batch.data, MDNS_PORT, first, out)
        first = int(out["number"][0])
        for row in out[1 : count + 1]:
            start = int(row["at"])
            message = batch.data[start : start + int(row["length"])].tobytes()
            if _LABEL in message.lower():
                source = _address(int(row["src_hi"]), int(row["src_lo"]))
                yield Announced(int(row["ts_ns"]), int(row["number"]), source, message)


def _address(hi: int, lo: int) -> str:
    address = IPv6Address(hi << 64 | lo)
    return str(address.ipv4_mapped or address)

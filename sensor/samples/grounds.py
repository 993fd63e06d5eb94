"""The sample office itself: its sites, hosts and links, and when they are open to each other, worked out by hand.

Slots are literal UTC instants, derived on paper from the policy in `pages.py`, so that a test which compares the sensor
with them tests the sensor's calendar.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Final

from sensor.samples.frames import NEW_SYN_WINDOW, OLD_SYN_WINDOW, Host
from sensor.samples.stack import SECOND, Path

MINUTE: Final = 60 * SECOND


def utc(text: str) -> int:
    """Return an instant of the week, `2026-06-DDTHH:MM[:SS]` in UTC, in ns."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


# --- the office -------------------------------------------------------------------------------------------------
SITES: Final = (  # longest prefix first
    (ip_network("10.1.250.0/24"), "servers"),
    (ip_network("10.9.0.0/24"), "cash-desks"),
    (ip_network("10.1.0.0/16"), "hq"),
    (ip_network("10.2.0.0/16"), "branch"),
    (ip_network("2001:db8:1::/48"), "hq"),
)
IMAGING: Final = ip_network("10.1.40.0/24")  # excused by CHG-4711
HQ: Final = Path(rtt_ns=700_000, bytes_per_s=30_000_000, vlans=(10,), merged=44)
BRANCH: Final = Path(rtt_ns=900_000, bytes_per_s=12_000_000, vlans=(20,), merged=44)
CASH: Final = Path(rtt_ns=600_000, bytes_per_s=10_000_000, vlans=(90,))
SERVERS: Final = Path(rtt_ns=300_000, bytes_per_s=90_000_000, vlans=(250,), merged=44)


def _nights(first: str, nights: int, hours: float) -> tuple[tuple[int, int], ...]:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    starts = [int((start + timedelta(days=night)).timestamp()) * SECOND for night in range(nights)]
    return tuple((at, at + int(hours * 60) * MINUTE) for at in starts)


OPEN: Final = {  # UTC, the grace after a slot included
    "hq": _nights("2026-06-09T18:00", 3, 10 + 5 / 60),  # Tue, Wed, Thu 20:00 to 06:00 in Berlin (UTC+2), then 5 minutes
    "branch": _nights("2026-06-07T03:00", 9, 7),  # 22:00 to 05:00 in Chicago (UTC-5)
    "servers": _nights("2026-06-12T23:00", 2, 4),  # Sat, Sun 01:00 to 05:00 in Berlin
    "cash-desks": (),  # disabled
    "unknown": (),
}


def site_of(ip: str) -> str:
    """Return the site of an address, or unknown."""
    address = ip_address(ip)
    return next((name for network, name in SITES if address in network), "unknown")


def state_of(orig_ip: str, resp_ip: str, ts_ns: int) -> str:
    """Return whether two addresses are open to each other at an instant, closed, or exempt."""
    sites = {site_of(orig_ip), site_of(resp_ip)}
    if all(any(start <= ts_ns < end for start, end in OPEN[site]) for site in sites):
        return "open"
    return "exempt" if ip_address(orig_ip) in IMAGING and ip_address(resp_ip) in IMAGING else "closed"


def hq(number: int, subnet: int = 20, *, old: bool = False) -> Host:
    """Return a PC of the headquarters; `old` is one that sends the older handshake."""
    return Host(f"10.1.{subnet}.{number}", syn_window=OLD_SYN_WINDOW if old else NEW_SYN_WINDOW)


def branch(number: int) -> Host:
    """Return a PC of the branch."""
    return Host(f"10.2.5.{number}")

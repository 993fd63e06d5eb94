"""What an operator may state about their network, as plain facts: sites, schedules, exceptions, endpoints.

`settings.py` reads these from `policy.yaml`; everything else only reads them from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal

Peering = Literal["disabled", "scheduled", "allowed"]
Role = Literal["client", "server", "infrastructure", "vpn", "unused"]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """One item of an Alertmanager time interval: all fields must match, each field's ranges are alternatives.

    An empty tuple matches always. Ranges are inclusive at both ends, but for `times`, which is minutes of the local
    day as [start, end). Weekdays count from Sunday = 0; negative days of the month count from its end (-1 = last).
    `imported` are slots of a calendar file, sorted [start, end) in UTC ns; where they are given, nothing else counts.
    """

    times: tuple[tuple[int, int], ...] = ()
    weekdays: tuple[tuple[int, int], ...] = ()
    days_of_month: tuple[tuple[int, int], ...] = ()
    months: tuple[tuple[int, int], ...] = ()
    years: tuple[tuple[int, int], ...] = ()
    location: str | None = None
    imported: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A named set of subnets, and when its hosts may give update bytes to whom."""

    name: str
    subnets: tuple[Network, ...]
    timezone: str = "UTC"
    peering: Peering = "scheduled"
    update_windows: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    grace_before_s: int = 0
    grace_after_s: int = 0
    peers: Literal["same_subnet", "same_site", "any"] | tuple[str, ...] = "same_site"
    hourly_bytes: int | None = None
    daily_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Exemption:
    """An exception with an owner and an end: what it matches is exempt from what it allows until it expires."""

    id: str
    owner: str
    reason: str
    expires_ns: int
    sites: tuple[str, ...] = ()
    subnets: tuple[Network, ...] = ()
    allow: tuple[str, ...] = ("off_window",)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An inventoried address or prefix."""

    network: Network
    name: str
    role: Role = "client"
    approved: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """All that the operator stated. `source` is the file's path or "" for the built-in default, `sha256` its hash."""

    sites: tuple[Site, ...]
    time_intervals: dict[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    exemptions: tuple[Exemption, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    local: tuple[Network, ...] = ()
    source: str = ""
    sha256: str = ""


UNKNOWN_SITE: Final = "unknown"

PRIVATE: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "169.254.0.0/16",  # RFC 3927
        "fc00::/7",  # RFC 4193
        "fe80::/10",  # RFC 4291, section 2.5.6
    )
)  # fmt: skip

DEFAULT_POLICY: Final = Policy(
    sites=(Site(name="local", subnets=PRIVATE, peering="allowed", peers="any"),), local=PRIVATE
)
"""Without a policy, every private network is one site that may peer at any time."""

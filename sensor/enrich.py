"""What the policy says of rows: sites, scope, schedule, exceptions, as codes beside each window or flow.

The three that know (`Sites`, `Schedules`, `Exemptions`) are handed in, so that this room depends on their promises
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from sensor.policy import UNKNOWN_SITE
from sensor.schema import PEERINGS, SCHEDULES, SCOPES

if TYPE_CHECKING:
    from sensor.policy import Policy

Ints = npt.NDArray[Any]
_CLOSED: Final = SCHEDULES.index("closed")
_DISABLED: Final = SCHEDULES.index("disabled")
_EXEMPT: Final = SCHEDULES.index("exempt")
_INTERNET: Final = SCOPES.index("internet")


class Columns(Protocol):
    """Rows whose columns can be had by name."""

    def __len__(self) -> int: ...  # noqa: D105 - how many
    def __getitem__(self, name: str, /) -> Ints: ...  # noqa: D105 - one for each row


class Placed(Protocol):
    """What `Sites.lookup` tells of addresses; see `sites.Placement`."""

    @property
    def site(self) -> Ints:
        """The site's index in `Places.names`: int32[N]."""
        ...

    @property
    def local(self) -> Ints:
        """Whether the address is inside capture.local or a site: bool[N]."""
        ...

    @property
    def role(self) -> Ints:
        """Index in ROLES: int8[N]."""
        ...

    @property
    def known(self) -> Ints:
        """Whether the inventory approves of the address, true without an inventory: bool[N]."""
        ...


class Places(Protocol):
    """Addresses to sites."""

    names: tuple[str, ...]

    def lookup(self, hi: Ints, lo: Ints) -> Any:
        """Return where addresses (two uint64[N] each) are: `Placed`."""
        ...

    def scope(self, orig: Any, resp: Any) -> Ints:
        """Return how far apart the two sides are: index in SCOPES, int8[N]."""
        ...

    def peers_allowed(self, orig: Any, resp: Any) -> Ints:
        """Return whether the policy lets the two sides peer at all: bool[N]."""
        ...


class Calendar(Protocol):
    """Pairs of sites and instants to schedule states."""

    def judge(self, orig_site: Ints, resp_site: Ints, at_ns: Ints) -> tuple[Ints, Ints, Ints]:
        """Return each pair's state (index in SCHEDULES, int8[N]), since when, and until when (int64[N] ns)."""
        ...


class Excuses(Protocol):
    """Pairs of addresses and instants to exceptions."""

    def match(  # noqa: PLR0913, PLR0917 - two sides of an address each, when, and what
        self,
        orig_site: Ints,
        resp_site: Ints,
        orig_hi: Ints,
        orig_lo: Ints,
        resp_hi: Ints,
        resp_lo: Ints,
        at_ns: Ints,
        what: str,
    ) -> Ints:
        """Return the index in `policy.exemptions` of the first exception that allows `what`, or -1: int32[N]."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How N rows stand in the policy; codes index enumerations of `schema.py`, sites index `Policing.site_names`."""

    orig: Placed
    resp: Placed
    scope: Ints
    peering: Ints
    schedule: Ints
    since_ns: Ints
    next_ns: Ints
    peers_allowed: Ints
    exception: Ints
    """Index in `policy.exemptions` of the first exception that matched, -1 without."""


class Policing:
    """Everything that the policy can say of a row."""

    def __init__(self, policy: Policy, places: Places, calendar: Calendar, excuses: Excuses) -> None:
        self._places, self._calendar, self._excuses = places, calendar, excuses
        self._excused = bool(policy.exemptions)
        self.site_names = places.names
        self.exception_ids = [*(each.id for each in policy.exemptions), ""]
        # The stricter of two modes is the smaller code; a side without a site leaves the word to the other.
        modes = [PEERINGS.index(site.peering) for site in policy.sites]
        self._mode = np.array([*modes, PEERINGS.index(UNKNOWN_SITE)], dtype=np.int8)

    def slot_before(self, standing: Standing, rows: Ints) -> Ints:
        """Return when the slot began that ended before each of these closed rows: int64[K] ns."""
        orig, resp = standing.orig.site[rows], standing.resp.site[rows]
        return self._calendar.judge(orig, resp, standing.since_ns[rows] - 1)[1]

    def stand(self, rows: Columns, at_ns: Ints) -> Standing:
        """Say how rows with `orig_hi … resp_lo` stand at the given instants."""
        orig_hi, orig_lo = np.ascontiguousarray(rows["orig_hi"]), np.ascontiguousarray(rows["orig_lo"])
        resp_hi, resp_lo = np.ascontiguousarray(rows["resp_hi"]), np.ascontiguousarray(rows["resp_lo"])
        orig, resp = self._places.lookup(orig_hi, orig_lo), self._places.lookup(resp_hi, resp_lo)
        scope = self._places.scope(orig, resp)
        state, since_ns, next_ns = self._calendar.judge(orig.site, resp.site, at_ns)
        allowed = self._places.peers_allowed(orig, resp)
        exception = np.full(len(rows), -1, dtype=np.int32)
        if self._excused:
            state, allowed = state.copy(), allowed.copy()
            for what, concerned in (
                ("off_window", state == _CLOSED),
                ("disabled", state == _DISABLED),
                ("site_pair", ~allowed),
                ("internet", scope == _INTERNET),
                ("other", np.ones(len(rows), dtype=np.bool_)),
            ):
                match = self._excuses.match(orig.site, resp.site, orig_hi, orig_lo, resp_hi, resp_lo, at_ns, what)
                hit = concerned & (match >= 0)
                exception = np.where(hit & (exception < 0), match, exception)
                if what in ("off_window", "disabled"):
                    state[hit] = _EXEMPT
                elif what == "site_pair":
                    allowed[hit] = True
        return Standing(
            orig=orig,
            resp=resp,
            scope=scope,
            peering=np.minimum(self._mode[orig.site], self._mode[resp.site]),
            schedule=state,
            since_ns=since_ns,
            next_ns=next_ns,
            peers_allowed=allowed,
            exception=exception,
        )

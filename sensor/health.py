"""How blind the sensor is: what was dropped before it, acknowledged but not shown, shown from one side, or not at all.

Absence proves nothing while something is missing; so what is missing is a number, a notice when it becomes much and
when it is over, and lowers the confidence of what is found meanwhile.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from sensor.sources.ring import RingFacts

_HOUR_NS: Final = 3600 * 1_000_000_000
# As the rules s02 and s03 have it.
_MUCH_LOST, _LEAST_FLOWS = 0.01, 10
_MUCH_ONE_SIDED, _LEAST_SEEN = 0.2, 20
_ATTEMPTS: Final = ("S0", "REJ")
_BOTH_SIDES: Final = 2


@dataclass(slots=True)
class _Ended:
    """Flows that ended by an instant."""

    until_ns: int
    flows: int
    one_sided: int
    whole: int
    gap_bytes: int
    payload_bytes: int


@dataclass(slots=True)
class _Link:
    """One interface: its frames when they last grew, and when that was."""

    frames: int = -1
    grew_s: float = 0.0
    is_silent: bool = False


class Health:
    """Weighs what is missing.

    Parameters
    ----------
    silent_s
        For how long a link that is up may show no frame at all.
    """

    def __init__(self, silent_s: float = 300.0) -> None:
        self.notices: list[str] = []
        self.drops = 0.0
        """Share of the packets that the kernel dropped since the look before the last."""
        self._silent_s = silent_s
        self._links: dict[str, _Link] = {}
        self._lost = (0, 0)
        self._hour: deque[_Ended] = deque()
        self._told_gap = self._told_one_sided = False

    @property
    def gap_ratio(self) -> float:
        """Share of the payload of flows that ended within the hour that was acknowledged, but never shown."""
        gap = sum(each.gap_bytes for each in self._hour)
        return gap / max(gap + sum(each.payload_bytes for each in self._hour), 1)

    @property
    def one_sided_ratio(self) -> float:
        """Share of flows that ended within the hour that were shown in one direction only; attempts do not count."""
        return sum(each.one_sided for each in self._hour) / max(sum(each.flows for each in self._hour), 1)

    @property
    def loss(self) -> float:
        """Share of what there was that the sensor did not see lately; of a flow with one side it missed half."""
        enough = sum(each.flows for each in self._hour)
        one_sided = self.one_sided_ratio / _BOTH_SIDES if enough >= _LEAST_SEEN else 0.0
        whole = sum(each.whole for each in self._hour)
        gap = self.gap_ratio if whole >= _LEAST_FLOWS else 0.0
        return 1.0 - (1.0 - min(self.drops, 1.0)) * (1.0 - gap) * (1.0 - one_sided)

    def is_silent(self, interface: str) -> bool:
        """Return whether a link is up but has shown nothing at all for long."""
        return interface in self._links and self._links[interface].is_silent

    def take_notices(self) -> list[str]:
        """Hand out what is to be said.

        Raises
        ------
        nothing
        """
        notices, self.notices = self.notices, []
        return notices

    def look(self, found: Mapping[str, RingFacts], now_s: float) -> None:
        """Look at interfaces as they are at a (monotonic) time.

        Raises
        ------
        nothing
        """
        received = sum(facts.received for facts in found.values())
        drops = sum(facts.drops for facts in found.values())
        new, lost = received - self._lost[0], drops - self._lost[1]
        self.drops = lost / new if new > 0 else 0.0
        if lost > 0:
            self.notices.append(
                f"the kernel dropped {words.count(lost, 'packet')} of {new:,}: what was not seen cannot be told"
            )
        self._lost = (received, drops)
        for interface, facts in found.items():
            self._listen(interface, facts, now_s)

    def weigh(self, flows: pd.DataFrame, until_ns: int) -> None:
        """Weigh flows that ended (columns of JudgedFlowFrame), at an event time.

        Raises
        ------
        nothing
        """
        if len(flows):
            one_sided = flows["one_sided"].to_numpy()
            spoken = ~np.isin(flows["conn_state"].to_numpy().astype(str), _ATTEMPTS)
            whole = ~one_sided & (flows["payload_bytes"].to_numpy() > 0)
            self._hour.append(
                _Ended(
                    until_ns,
                    int(spoken.sum()),
                    int((spoken & one_sided).sum()),
                    int(whole.sum()),
                    int(flows["gap_bytes"].to_numpy()[whole].sum()),
                    int(flows["payload_bytes"].to_numpy()[whole].sum()),
                )
            )
        while self._hour and self._hour[0].until_ns <= until_ns - _HOUR_NS:
            self._hour.popleft()
        self._tell_gap()
        self._tell_one_sided()

    def _listen(self, interface: str, facts: RingFacts, now_s: float) -> None:
        link = self._links.setdefault(interface, _Link(grew_s=now_s))
        if facts.link_packets != link.frames or not facts.is_up:
            if link.is_silent:
                self.notices.append(f"{interface}: frames come again" if facts.is_up else f"{interface}: went down")
            link.frames, link.grew_s, link.is_silent = facts.link_packets, now_s, False
        elif not link.is_silent and now_s - link.grew_s >= self._silent_s:
            link.is_silent = True
            self.notices.append(
                f"{interface}: no frame at all for {self._silent_s / 60:,.0f} min while the link is up;"
                " is it still the mirror's port?"
            )

    def _tell_gap(self) -> None:
        flows = sum(each.whole for each in self._hour)
        is_much = flows >= _LEAST_FLOWS and self.gap_ratio > _MUCH_LOST
        if is_much and not self._told_gap:
            self.notices.append(
                f"{self.gap_ratio:.1%} of the payload of {words.count(flows, 'flow')} within the hour was acknowledged"
                " but never seen: the mirror loses packets"
            )
        elif self._told_gap and not is_much:
            self.notices.append("what is acknowledged is seen again")
        self._told_gap = is_much

    def _tell_one_sided(self) -> None:
        flows = sum(each.flows for each in self._hour)
        is_much = flows >= _LEAST_SEEN and self.one_sided_ratio > _MUCH_ONE_SIDED
        if is_much and not self._told_one_sided:
            self.notices.append(
                f"{self.one_sided_ratio:.0%} of {words.count(flows, 'flow')} within the hour showed one direction only;"
                " does the mirror show both?"
            )
        elif self._told_one_sided and not is_much:
            self.notices.append("both directions of flows are seen again")
        self._told_one_sided = is_much

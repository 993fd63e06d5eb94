"""Which addresses took most payload off schedule within the last day: the hosts that metrics name, if asked to.

Metrics name no host by themselves, because series would grow with the network. Who wants names on a dashboard gets
the few that matter most: never more series than were asked for, and one for all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from sensor.catalogue import MOST_OFFENDERS

if TYPE_CHECKING:
    import pandas as pd

OTHER: Final = ("other", "other")
_OFF: Final = ("closed", "disabled")
_SLICE_NS: Final = 3600 * 1_000_000_000
_SLICES: Final = 24  # a day of them
_MOST_ADDRESSES: Final = 5_000  # remembered a slice; what the others took is told as `other`

Taker = tuple[str, ...]
"""A site and an address of it, or `other` twice."""


class Offenders:
    """Adds up who took payload off schedule, in slices of an hour of event time.

    Parameters
    ----------
    most
        How many addresses are told at once; none, nothing is kept. At most `MOST_OFFENDERS`.
    """

    def __init__(self, most: int) -> None:
        self._most = min(most, MOST_OFFENDERS)
        self._slices: dict[int, dict[Taker, int]] = {}

    def add(self, activity: pd.DataFrame) -> None:
        """Count judged activity.

        Raises
        ------
        nothing
        """
        if not self._most or not len(activity):
            return
        off = activity[activity["schedule"].isin(_OFF)]
        for giver, taker in (("orig", "resp"), ("resp", "orig")):
            moved = off[off[f"{giver}_payload_bytes"] > 0]
            by = [moved["window_start_ns"] // _SLICE_NS, f"{taker}_site", f"{taker}_ip"]
            sums = moved.groupby(by, observed=True)[f"{giver}_payload_bytes"].sum()
            # The largest first: if there is no room for all of them, it is for these.
            for taken, took in sums.sort_values(ascending=False).items():
                at, site, address = cast("tuple[int, str, str]", taken)
                kept = self._slices.setdefault(int(at), {})
                key = (site, address)
                key = key if key in kept or len(kept) < _MOST_ADDRESSES else OTHER
                kept[key] = kept.get(key, 0) + int(took)

    def told(self, until_ns: int) -> dict[Taker, float]:
        """Return what was taken within the day before an instant, by site and address; empty if nothing was asked for.

        Raises
        ------
        nothing
        """
        if not self._most:
            return {}
        first = until_ns // _SLICE_NS - _SLICES + 1
        self._slices = {at: kept for at, kept in self._slices.items() if at >= first}
        total: dict[Taker, int] = {OTHER: 0}
        for kept in self._slices.values():
            for key, took in kept.items():
                total[key] = total.get(key, 0) + took
        rest = total.pop(OTHER)
        largest = sorted(total, key=lambda key: (-total[key], key))
        told: dict[Taker, float] = {key: total[key] for key in largest[: self._most]}
        told[OTHER] = rest + sum(total[key] for key in largest[self._most :])
        return told

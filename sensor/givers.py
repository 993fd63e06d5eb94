"""Who gives: what each host of a site gave to others in a day, so that one that gives most of it stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DAY_NS: Final = 86_400 * 1_000_000_000
_MOST_HOSTS: Final = 65_536  # of one day; those that come after are not counted


class Giver(NamedTuple):
    """The host of a site that gave most in a day, its share of all that was given, and how many hosts took part."""

    host: str
    host_bytes: int
    host_share: float
    hosts: int


class Givers:
    """Adds up piece data by day, site and host, as piece headers declare it."""

    def __init__(self) -> None:
        self._days: dict[int, dict[str, dict[str, int]]] = {}

    def push(self, activity: pd.DataFrame) -> None:
        """Add whole windows.

        Raises
        ------
        nothing
        """
        for orig, resp in (("orig", "resp"), ("resp", "orig")):
            rows = activity[activity[f"{orig}_piece_bytes"].to_numpy() > 0]
            if not len(rows):
                continue
            given = rows[f"{orig}_piece_bytes"].to_numpy()
            for side, volume in ((orig, given), (resp, np.zeros_like(given))):
                self._add(rows, side, volume)

    def _add(self, rows: pd.DataFrame, side: str, volume: npt.NDArray[np.int64]) -> None:
        frame = pd.DataFrame(
            {
                "day": rows["window_start_ns"].to_numpy() // DAY_NS,
                "site": rows[f"{side}_site"].astype("str").to_numpy(),
                "host": rows[f"{side}_ip"].to_numpy(),
                "volume": volume,
            }
        )
        summed = frame.groupby(["day", "site", "host"], as_index=False)["volume"].sum()
        for day, site, host, total in zip(*(summed[name].tolist() for name in summed), strict=True):
            sites = self._days.setdefault(day, {})
            hosts = sites.setdefault(site, {})
            if host in hosts or sum(len(each) for each in sites.values()) < _MOST_HOSTS:
                hosts[host] = hosts.get(host, 0) + total

    def over(self, day: int) -> Mapping[str, Giver]:
        """Return the first giver of each site on a day that is over (days since 1970, UTC), and forget that day.

        Raises
        ------
        nothing
        """
        found = {}
        for site, hosts in self._days.pop(day, {}).items():
            whole = sum(hosts.values())
            host = max(hosts, key=lambda each: (hosts[each], each))
            found[site] = Giver(host, hosts[host], hosts[host] / whole if whole else 0.0, len(hosts))
        for old in [each for each in self._days if each < day]:
            del self._days[old]
        return found

    def remember(self) -> list[tuple[int, str, str, int]]:
        """Return days that are not over: day, site, host, and what it gave.

        Raises
        ------
        nothing
        """
        return [
            (day, site, host, given)
            for day, sites in self._days.items()
            for site, hosts in sites.items()
            for host, given in hosts.items()
        ]

    def recall(self, known: Iterable[tuple[int, str, str, int]]) -> None:
        """Take up what `remember` gave.

        Raises
        ------
        nothing
        """
        for day, site, host, given in known:
            self._days.setdefault(day, {}).setdefault(site, {})[host] = given

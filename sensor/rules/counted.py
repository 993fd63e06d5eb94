"""The flows that a rule has counted, as runs of numbers: of a flood, one follows the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    Mask = npt.NDArray[np.bool_]
    Whole = npt.NDArray[np.int64]


class Counted:
    """Numbers, each once.

    Parameters
    ----------
    first, behind : int64[R]
        Runs of numbers, ascending and apart: the first of each, and the one behind its last.
    """

    def __init__(self, first: Whole | None = None, behind: Whole | None = None) -> None:
        self.first = np.zeros(0, np.int64) if first is None else first
        self.behind = np.zeros(0, np.int64) if behind is None else behind

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return int((self.behind - self.first).sum())

    def has(self, numbers: Whole) -> Mask:
        """Return which of some numbers are there: bool[N].

        Raises
        ------
        nothing
        """
        place = np.searchsorted(self.first, numbers, side="right")
        return np.asarray(numbers < np.concatenate(([np.iinfo(np.int64).min], self.behind))[place], dtype=np.bool_)

    def add(self, numbers: Whole) -> None:
        """Add numbers that are not there, each once.

        Raises
        ------
        nothing
        """
        numbers = np.sort(numbers)
        alone = _runs(numbers, numbers + 1)
        first, behind = (np.concatenate(each) for each in zip((self.first, self.behind), alone, strict=True))
        order = np.argsort(first, kind="stable")
        self.first, self.behind = _runs(first[order], behind[order])

    def keep(self, most: int) -> int:
        """Forget the lowest numbers beyond so many; return how many these were.

        Raises
        ------
        nothing
        """
        beyond = len(self) - most
        if beyond <= 0:
            return 0
        before = np.cumsum(self.behind - self.first)
        gone = int(np.searchsorted(before, beyond, side="right"))
        left = beyond - int(before[gone - 1]) if gone else beyond
        self.first, self.behind = self.first[gone:].copy(), self.behind[gone:].copy()
        self.first[:1] += left
        return beyond


def _runs(first: Whole, behind: Whole) -> tuple[Whole, Whole]:
    """Return runs, ascending and apart, with those that touch as one."""
    begins = np.ones(len(first), np.bool_)
    begins[1:] = first[1:] != behind[:-1]
    return first[begins], behind[np.roll(begins, -1)]

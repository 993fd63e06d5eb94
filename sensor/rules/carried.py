"""The rows that a rule has seen and may still need, in parts: what came with one push is not copied at the next.

A flood makes hundreds of thousands of rows in a window, and any of them may turn out to be the first of a scan. They
stay as they came, in arrays that all rules share; addresses stay numbers where a frame has them as numbers, and become
text for the few rows that are told.
"""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sensor import text
from sensor.columns import choose, chosen, joined, stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Mask = npt.NDArray[np.bool_]

# Where a frame has addresses as numbers, too, they are compared and carried instead of the text.
NUMBERS: Final = MappingProxyType({"orig_ip": ("orig_hi", "orig_lo"), "resp_ip": ("resp_hi", "resp_lo")})
_ENDS: Final = ("orig_hi", "orig_lo", "orig_port", "resp_hi", "resp_lo", "resp_port")
_SPELLED: Final = MappingProxyType({**NUMBERS, "community_id": _ENDS})
_SMALL: Final = 65_536  # rows up to which a part grows by what comes


class Carried:
    """Rows in the order in which they came.

    Parameters
    ----------
    parts : frames of the same columns
    """

    def __init__(self, parts: Iterable[pd.DataFrame] = ()) -> None:
        self._parts = [part for part in parts if len(part)]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return sum(map(len, self._parts))

    def add(self, rows: pd.DataFrame) -> None:
        """Put rows behind the others.

        Raises
        ------
        nothing
        """
        if self._parts and len(self._parts[-1]) < _SMALL:
            self._parts[-1] = stack(alike(self._parts[-1], rows))
        else:
            self._parts.append(rows)

    def all(self) -> Chosen:
        """Return all rows.

        Raises
        ------
        nothing
        """
        return Chosen(self._parts)

    def choose(self, which: Mask) -> Chosen:
        """Return the rows that a mask chooses: bool[N].

        Raises
        ------
        nothing
        """
        return Chosen(self._parts, None if which.all() else self._cut(which))

    def set(self, name: str, values: npt.NDArray[Any]) -> None:
        """Put other values into a column: any[N].

        Raises
        ------
        nothing
        """
        for part, mine in zip(self._parts, self._cut(values), strict=True):
            part[name] = mine

    def replace(self, change: Callable[[pd.DataFrame, Mask], pd.DataFrame], which: Mask) -> None:
        """Put what `change` makes of each part, and of its share of a mask, in its place.

        Raises
        ------
        nothing
        """
        changed = [change(part, mine) for part, mine in zip(self._parts, self._cut(which), strict=True)]
        self._parts = [part for part in changed if len(part)]

    def keep(self, which: Mask) -> None:
        """Forget the rows that a mask does not choose: bool[N].

        Raises
        ------
        nothing
        """
        if not which.all():
            self.replace(lambda part, mine: part if mine.all() else choose(part, mine), which)

    def frame(self) -> pd.DataFrame | None:
        """Return all rows as one frame, or nothing if there are none.

        Raises
        ------
        nothing
        """
        whole = self.all()
        return (
            pd.DataFrame({name: whole[name] for name in map(str, self._parts[0]) if name in whole})
            if self._parts
            else None
        )

    def _cut(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        ends = np.cumsum([0, *map(len, self._parts)]).tolist()
        return [values[start:end] for start, end in pairwise(ends)]


class Chosen:
    """Rows of several frames as one: a column is put together when it is asked for."""

    def __init__(self, parts: Sequence[pd.DataFrame], which: Sequence[Mask] | None = None) -> None:
        self._parts, self._which = parts, which

    def __len__(self) -> int:
        """Return how many rows there are."""
        if self._which is None:
            return sum(map(len, self._parts))
        return sum(int(np.count_nonzero(each)) for each in self._which)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a column of this name."""
        return all(name in part for part in self._parts)

    def __getitem__(self, name: str) -> pd.Series[Any]:
        """Return a column."""
        found = [part[name] for part in self._parts]
        if self._which is not None:
            cuts = [(each, mine, int(np.count_nonzero(mine))) for each, mine in zip(found, self._which, strict=True)]
            found = [pd.Series(chosen(*cut), copy=False) for cut in cuts if cut[2]]
        if len(found) > 1 and any(each.dtype != found[0].dtype for each in found):
            return pd.concat([each.astype("str") if _is_text(each) else each for each in found], ignore_index=True)
        return found[0] if len(found) == 1 else pd.Series(joined(found), copy=False)

    def take(self, rows: npt.NDArray[np.integer[Any]], names: Iterable[str]) -> pd.DataFrame:
        """Return these columns of some rows, by number; what was carried as numbers becomes text.

        Raises
        ------
        nothing
        """
        names = [*dict.fromkeys(names)]
        spelled = [name for name in names if name not in self]
        held = {name: self[name].array.take(rows) for name in names if name not in spelled}
        numbers = {each for name in spelled for each in _SPELLED[name]}
        ends = {each: self[each].to_numpy()[rows] for each in numbers}
        return pd.DataFrame({name: held[name] if name in held else _text(name, ends) for name in names})


def carried(names: Iterable[str], frame: pd.DataFrame) -> list[str]:
    """Return which columns of a frame to carry, so that these can be told.

    Raises
    ------
    nothing
    """
    names = [*names]
    if not all(name in frame for name in _ENDS):
        return names
    numbers = [each for name in names for each in _SPELLED.get(name, ())]
    return [*dict.fromkeys([*(name for name in names if name not in _SPELLED), *numbers])]


def alike(one: pd.DataFrame, other: pd.DataFrame) -> list[pd.DataFrame]:
    """Return two frames with the same columns, and in each of these what can stand in one.

    Raises
    ------
    nothing
    """
    names = [str(name) for name in other if name in one]
    one, other = one[names], other[names]
    apart = {
        name: "str"
        for name in names
        if one[name].dtype != other[name].dtype and (_is_text(one[name]) or _is_text(other[name]))
    }
    return [one.astype(apart), other.astype(apart)] if apart else [one, other]


def _is_text(values: pd.Series[Any]) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype | pd.StringDtype)


def _text(name: str, ends: dict[str, npt.NDArray[Any]]) -> pd.arrays.ArrowStringArray:
    if name in NUMBERS:
        hi, lo = (ends[each] for each in NUMBERS[name])
        return text.addresses(hi, lo)
    orig_hi, orig_lo, orig_port, resp_hi, resp_lo, resp_port = (ends[each] for each in _ENDS)
    ports = orig_port.astype(np.uint16), resp_port.astype(np.uint16)
    return text.community_ids(orig_hi, orig_lo, ports[0], resp_hi, resp_lo, ports[1])

"""How the page says and draws: escaped text, tables that can be sorted, instants, and the scale of a time axis."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from sensor import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Slots = npt.NDArray[np.int64]
NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * NS
OFF: Final = ("closed", "disabled")


@dataclass(frozen=True, slots=True)
class Beside:
    """What the page shows and the case itself does not hold.

    `slots` has the approved slots of each site over the time of the capture, int64[K, 2] of UTC ns; `files` the name of
    each incident's capture in the case folder.
    """

    slots: Mapping[str, Slots] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what it says, and by what it is sorted if that is not what it says."""

    said: str
    by: int | float | str | None = None
    mark: str = ""


def text(said: str) -> str:
    """Return text that is text wherever it stands in the page.

    Raises
    ------
    nothing
    """
    return escape(words.visible(said))


def volume(count: int, *, bad: bool = False) -> Cell:
    """Return a cell of bytes."""
    return Cell(words.volume(count) if count else "-", count, ("bad" if bad else "") if count else "none")


def number(count: int, *, bad: bool = False) -> Cell:
    """Return a cell that counts."""
    return Cell(f"{count:,}", count, ("bad" if bad else "") if count else "none")


def moment(at_ns: int) -> Cell:
    """Return a cell of an instant in UTC."""
    return Cell(utc(at_ns), at_ns)


def utc(at_ns: int) -> str:
    """Return an instant in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ns // NS, UTC):%Y-%m-%d %H:%M:%S}"


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[Cell | str]], note: str = "") -> str:
    """Return a table whose heads sort it; a column of numbers stands to the right.

    Raises
    ------
    nothing
    """
    made = [[each if isinstance(each, Cell) else Cell(each) for each in row] for row in rows]
    right = [all(isinstance(row[at].by, int | float) for row in made) for at in range(len(head))]

    def cell(at: int, each: Cell) -> str:
        kinds = " ".join(part for part in ("n" if right[at] else "", each.mark) if part)
        mark = f' class="{kinds}"' if kinds else ""
        by = f' data-by="{text(str(each.by))}"' if each.by is not None and str(each.by) != each.said else ""
        return f"<td{mark}{by}>{text(each.said)}</td>"

    top = "".join(
        f'<th scope="col"{" class=n" if right[at] else ""}><button type="button">{text(each)}</button></th>'
        for at, each in enumerate(head)
    )
    body = "".join(f"<tr>{''.join(cell(at, each) for at, each in enumerate(row))}</tr>\n" for row in made)
    below = f'<p class="note">{text(note)}</p>' if note else ""
    opened = f'<div class="wide"><table class="sorts" aria-label="{text(name)}">'
    return f"{opened}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}</tbody></table></div>{below}"


def days(first_ns: int, last_ns: int, zone: str) -> list[datetime]:
    """Return the local midnights of every day from one instant to another."""
    place = UTC if zone == "UTC" else ZoneInfo(zone)
    start = datetime.fromtimestamp(first_ns // NS, place).replace(hour=0, minute=0, second=0)
    end = datetime.fromtimestamp(last_ns // NS, place)
    found = []
    while start <= end:
        found.append(start)
        start = (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=place)
    return found


def at_ns(moment: datetime) -> int:
    """Return a whole second as ns."""
    return int(moment.timestamp()) * NS


def step_ns(span_ns: int, most: int) -> int:
    """Return the shortest usual step that cuts a span into at most so many."""
    usual = (10, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 86_400, 7 * 86_400, 28 * 86_400)
    return next((step * NS for step in usual if span_ns <= step * NS * most), 365 * DAY_NS)

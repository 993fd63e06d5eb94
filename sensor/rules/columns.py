"""What a rule may name: the columns of a category, what kind of value each holds, and which words it can hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from sensor import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

CATEGORIES: Final[dict[str, tuple[type[schema.Table], ...]]] = {
    "activity": (schema.ActivityFrame, schema.JudgedFrame),
    "flow": (schema.FlowFrame, schema.JudgedFlowFrame),
    "span": (schema.SpanFrame,),
}
PLANNED: Final = ("swarm",)  # categories that the product names but no rule can use yet
_COUNTED: Final = frozenset({"byte", "packet", "message"})
_PLACES: Final = frozenset({"first_offset"})  # in bytes, but a place: it does not add up


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds: text, a number or a truth; whether its rows add up; its words if they are few."""

    holds: Literal["text", "number", "truth"]
    adds: bool
    words: tuple[str, ...] = ()


@cache
def kinds(category: str) -> dict[str, Kind]:
    """Return the columns that rules of a category see.

    Raises
    ------
    nothing
    """
    return {column.name: _kind(column) for table in CATEGORIES[category] for column in table.columns()}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `did you mean …?` if a known word is close, else an empty text.

    Raises
    ------
    nothing
    """
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _kind(column: schema.Column) -> Kind:
    if column.dtype == "bool":
        return Kind("truth", adds=False)
    if column.dtype not in {"str", "category"}:
        return Kind("number", adds=column.unit in _COUNTED and column.name not in _PLACES)
    named = re.match(r"[A-Z_]+\b", column.meaning) if column.dtype == "category" else None
    return Kind("text", adds=False, words=tuple(getattr(schema, named[0], ())) if named else ())

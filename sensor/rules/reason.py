"""The sentence of a finding: a rule's template with `{column}` and `{column:format}` filled in, column by column."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PLACE: Final = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = np.iinfo(np.int64)
MEASURED: Final = ("value", "threshold", "timespan_ns", "flow_count")  # what a finding measures; the rest are columns


def places(template: str) -> list[tuple[str, str]]:
    """Return the `(column, format)` of each placeholder in a template.

    Raises
    ------
    nothing
    """
    return [(found[1].strip(), (found[2] or "").strip()) for found in _PLACE.finditer(template)]


def stray(template: str) -> bool:
    """Return whether a brace is left that belongs to no placeholder.

    Raises
    ------
    nothing
    """
    return bool(re.search(r"[{}]", _PLACE.sub("", template)))


def compose(template: str, columns: Mapping[str, Sequence[Any]], rows: int) -> list[str]:
    """Return the sentence of each of `rows` findings; a value is worded once, however often it appears.

    Raises
    ------
    KeyError
        If a placeholder names a column that is not given; `load` refuses such templates.
    """
    parts: list[list[str]] = []
    end = 0
    for found in _PLACE.finditer(template):
        parts.append([template[end : found.start()]] * rows)
        word = FORMATS[(found[2] or "").strip()]
        values = columns[found[1].strip()]
        worded = {value: word(value) for value in set(values)}
        parts.append([worded[value] for value in values])
        end = found.end()
    parts.append([template[end:]] * rows)
    return ["".join(pieces) for pieces in zip(*parts, strict=True)]


def instant(ns: int) -> str:
    """Return a time as `2026-11-23 08:00 UTC`; the ends of int64 mean `always` and `never`.

    Raises
    ------
    nothing
    """
    if ns <= _NEVER.min or ns >= _NEVER.max:
        return "ever" if ns <= _NEVER.min else "never"
    return (_EPOCH + timedelta(seconds=int(ns) // 1_000_000_000)).strftime("%Y-%m-%d %H:%M UTC")


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"{int(value)}"
    return str(value)


FORMATS: Final[Mapping[str, Callable[[Any], str]]] = {
    "": _plain,
    "bytes": lambda value: words.volume(int(value)),
    "time": lambda value: instant(int(value)),
    "share": lambda value: words.percent(float(value)),
    "duration": lambda value: words.duration(int(value)),
}

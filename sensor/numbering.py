"""Inputs in order: by their first packets and what they begin with, never by their names; and which is one again.

So a case does not depend on what files are called, and a file that was copied beside itself is read once.
"""

from __future__ import annotations

import itertools
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sensor.errors import Mistake, OperatorError
from sensor.reading import Look, look
from sensor.schema import NOTHING, Input
from sensor.sources.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Numbered:
    """The inputs to read, in order; those that are another one again; and why the others are none."""

    order: dict[str, Look]
    copies: tuple[Input, ...]
    mistakes: tuple[Mistake, ...]


def number(
    names: Sequence[str],
    looks: Callable[[list[str]], list[Look | Mistake]],
    digests: Callable[[list[str]], list[str]],
) -> Numbered:
    """Put inputs in order.

    Parameters
    ----------
    looks, digests
        Look at inputs, and hash them, here or elsewhere; the latter is asked only about those that look alike.

    Raises
    ------
    nothing
    """
    seen = dict(zip(names, looks(list(names)), strict=True))
    good = {name: each for name, each in seen.items() if isinstance(each, Look)}
    ranked = sorted(good, key=lambda name: (good[name], name))
    copies = {each.name: each for each in _copies(ranked, good, digests)}
    return Numbered(
        {name: good[name] for name in ranked if name not in copies},
        tuple(copies.values()),
        tuple(each for each in seen.values() if isinstance(each, Mistake)),
    )


def _copies(ranked: list[str], looks: dict[str, Look], digests: Callable[[list[str]], list[str]]) -> list[Input]:
    copies = []
    for seen, alike in itertools.groupby(ranked, key=lambda name: looks[name]):
        names = list(alike)
        if len(names) == 1 or not seen.size_bytes:
            continue
        firsts: dict[str, str] = {}
        for name, found in zip(names, digests(names), strict=True):
            if found and found in firsts:
                first = firsts[found]
                copies.append(replace(NOTHING, name=name, size_bytes=seen.size_bytes, sha256=found, copy_of=first))
            else:
                firsts[found] = name
    return copies


def look_or_mistake(name: str) -> Look | Mistake:
    """Return what orders an input, or why it is none.

    Raises
    ------
    nothing
    """
    try:
        return look(name)
    except OperatorError as error:
        return error.mistakes[0]


def digest(name: str) -> str:
    """Return the SHA-256 of an input; empty if it cannot be read to its end.

    Raises
    ------
    nothing
    """
    try:
        return sha256(name)
    except OSError:
        return ""


def size_of(name: str) -> int:
    """Return the size of an input; 0 if that cannot be known, as of a pipe.

    Raises
    ------
    nothing
    """
    try:
        status = Path(name).stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0

"""Rule sets kept between runs: reading Sigma costs more than analyzing a small capture, and rules seldom change.

What is kept is the plain set as JSON in the user's cache, under a name that holds a hash of every rule file and of the
code that read them. Whatever is wrong with it, the rules are simply read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor import __version__
from sensor.rules.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_BYTES: Final = 64 * 1024 * 1024  # of rules; more are read without being kept


def load(paths: Sequence[Path]) -> RuleSet:
    """Return the rules of files and folders, as `load.load` does, from the cache if they are there.

    Raises
    ------
    OperatorError
        All mistakes of all rule files.
    """
    place = _place(paths)
    if place is not None:
        try:
            return RuleSet.from_plain(json.loads(place.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not kept yet, or kept by something else
    from sensor.rules import load as reader  # pySigma comes with it

    ruleset = reader.load(list(paths))
    if place is not None:
        _keep(place, ruleset)
    return ruleset


def _keep(place: Path, ruleset: RuleSet) -> None:
    beside = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(ruleset.as_plain()))
        beside.replace(place)
    except OSError:
        return  # a home that cannot be written to: the rules are read again next time


def _place(paths: Sequence[Path]) -> Path | None:
    digest = hashlib.sha256(__version__.encode())
    size = 0
    try:
        for file in (
            *_files(paths),
            *sorted(Path(__file__).parent.glob("*.py")),
            Path(__file__).parents[1] / "schema.py",
        ):
            content = file.read_bytes()
            size += len(content)
            digest.update(f"{file}\0{len(content)}\0".encode())
            digest.update(content)
    except OSError:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "swarmtap" / f"rules-{digest.hexdigest()[:24]}.json" if size < _MOST_BYTES else None


def _files(paths: Sequence[Path]) -> Iterable[Path]:
    for path in paths:
        yield from sorted(each for each in path.rglob("*.y*ml") if each.is_file()) if path.is_dir() else (path,)

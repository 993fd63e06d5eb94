"""Writes `docs/columns.md` from `sensor/schema.py`: `python -m tests.house.columns`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE: Final = Path(__file__).parents[2] / "docs" / "columns.md"

# Files of a case first, then what rules see, then what passes between stages.
FRAMES: Final = (
    schema.FlowFrame,
    schema.ActivityFrame,
    schema.JudgedFrame,
    schema.JudgedFlowFrame,
    schema.SpanFrame,
    schema.FindingFrame,
    schema.SwarmFrame,
    schema.SwarmEdgeFrame,
    schema.OfferFrame,
    schema.NameFrame,
)
ROWS: Final = (
    schema.Frames, schema.Packets, schema.Tracks, schema.Windows, schema.Endings, schema.Messages, schema.Handshakes,
    schema.Datagrams,
)  # fmt: skip
WORDS: Final = (
    "SCOPES",
    "PEERINGS",
    "SCHEDULES",
    "OUTCOMES",
    "VERDICTS",
    "CONN_STATES",
    "END_REASONS",
    "ROLES",
    "LEVELS",
    "SPANS",
    "TUNNELS",
)

_HEAD: Final = """\
# Columns

Generated from `sensor/schema.py` by `python -m tests.house.columns`; a test holds the two equal.

Times are int64 ns since 1970-01-01 UTC. In files, addresses are text, hashes are hex and peer ids are UUID text;
between stages an address is two uint64 and IPv4 is `::ffff:a.b.c.d`. A column of type `category` holds one word of the
enumeration that its meaning names (sites: the policy's, and `unknown`). Volumes come from headers, so a short snap
length does not change them; payload is unique by sequence number: what was sent again or mirrored twice counts once.
"""


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD, "## Tables of a case, and what rules see\n", *map(_table, FRAMES), _enumerations(), _weird()]
    parts += ["## Rows between stages\n", "Not written to files; for those who read the code.\n", *map(_table, ROWS)]
    return "\n".join(parts)


def _table(table: type[schema.Table]) -> str:
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {_cell(c.meaning)} |" for c in table.columns()]
    return f"### {table.__name__}\n\n{_first_line(table.__doc__)}\n\n" + "\n".join(lines) + "\n"


def _enumerations() -> str:
    lines = ["## Enumerations\n", "| name | words, in the order of their codes |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {_code(getattr(schema, name))} |" for name in WORDS)]) + "\n"


def _weird() -> str:
    source = Path(schema.__file__).read_text(encoding="utf-8")
    lines = [
        "## Weird kinds\n",
        "Oddities of the network: a bit on the packet or flow, and a counter of the same name.\n",
    ]
    lines += ["| kind | meaning |", "|---|---|"]
    for kind in schema.WEIRDS:
        said = re.search(rf'^    "{kind}",  # (.+)$', source, re.MULTILINE)
        lines.append(f"| `{kind}` | {_cell(said[1]) if said else ''} |")
    return "\n".join(lines) + "\n"


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().splitlines()[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

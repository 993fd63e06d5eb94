"""What we raise, and where it points.

The network is never wrong enough to raise: oddities are `weird` bits and counters. The operator gets one line
per mistake (where, what was read, what would be right) and exit code 2. Everything else that raises is our own bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FOUND = 1
    OPERATOR = 2
    DAMAGED = 3
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing the operator can mend: its address, what was read there, and what would be right."""

    where: str
    read: str
    right: str

    def __str__(self) -> str:
        """Return the one line that the operator reads."""
        return f"{self.where}: {self.read}; {self.right}" if self.right else f"{self.where}: {self.read}"


class OperatorError(Exception):
    """The operator's mistakes, all at once; the command line prints one line each and exits with code 2."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Damage:
    """Where an input stopped being readable; everything before it was used. Whoever tells it names the input."""

    offset: int
    frame: int
    what: str

    def __str__(self) -> str:
        """Return what happened, where, and what it means."""
        return f"{self.what} at byte {self.offset}, after frame {self.frame}; everything before it was used"

"""Memory that is free goes back to the system: after a flood a process that runs for months is as small as before.

The C library keeps what was freed for whoever asks next, and in pieces: of a window of a flood, more than half of what
was used for judging it would stay. Arrow has a heap of its own, and keeps as much again.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others give back by themselves


def give_back() -> None:
    """Give back what is free; it takes some milliseconds.

    Raises
    ------
    nothing
    """
    if _TRIM is not None:
        _TRIM(0)
    if (arrow := sys.modules.get("pyarrow")) is not None:  # who has not imported it has nothing there
        arrow.default_memory_pool().release_unused()

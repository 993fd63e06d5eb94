"""Memory that is free goes back to the system: after a flood a process that runs for months is as small as before.

The C library keeps what was freed for whoever asks next, and in pieces: of a window of a flood, more than half of what
was used for judging it would stay. Arrow has a heap of its own, and keeps as much again.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has these, others give back by themselves
_OPTION = getattr(ctypes.CDLL(None), "mallopt", None)
# Options of mallopt(3), and what `keep` sets: one heap for all threads, which gives back no less than half a GB at its
# end, and in which arrays of up to 64 MB have their place; glibcs that refuse so much stay with 32.
_MB = 1024 * 1024
_KEPT = ((-8, 1), (-1, 512 * _MB), (-3, 32 * _MB), (-3, 64 * _MB))


def keep() -> None:
    """Keep what is freed for whoever asks next: for a process that works and ends.

    Arrays of some MB would be given back and asked for anew with each portion, and the system clears each page of them.

    Raises
    ------
    nothing
    """
    if _OPTION is not None:
        for option, value in _KEPT:
            _OPTION(option, value)


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

"""The sensor on a machine whose clock is set, without setting this one: `python -m tests.live.set_clock FILE watch …`.

FILE holds how far the clock is off, int64 ns. Python's clock is off by it, and so are the times that the kernel stamps.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Any

from sensor.cli import main
from sensor.kernels import blocks

_REAL_NS = time.time_ns


def set_clock(path: Path, ahead_s: int) -> None:
    """Set the clock of the sensor that was told of this file."""
    with path.open("r+b") as file:
        file.write(struct.pack("=q", ahead_s * 1_000_000_000))


def live_with(path: Path) -> None:
    """Let this process, and those that it begins, have the clock that the file tells."""
    with path.open("rb") as file:
        told = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)  # for good: it is read without any privilege
    walk = blocks.walk_blocks

    def off_ns() -> int:
        return int(struct.unpack("=q", told[:8])[0])

    def stamped(data: Any, spans: Any, source: int, outgoing: int, cursor: Any, frames: Any) -> int:
        count = int(walk(data, spans, source, outgoing, cursor, frames))
        frames["ts_ns"][:count] += off_ns()
        return count

    time.time_ns = lambda: _REAL_NS() + off_ns()
    time.time = lambda: time.time_ns() / 1e9
    blocks.walk_blocks = stamped


if __name__ == "__main__":
    live_with(Path(sys.argv.pop(1)))
    main()

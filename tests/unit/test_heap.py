"""What was freed, in pieces between what is still used, leaves the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import ctypes
from sensor import heap
from tests.memory import held_kb

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

pieces = [libc.malloc(100_000) for _ in range(1000)]
for each in pieces:
    ctypes.memset(each, 1, 100_000)
for at, each in enumerate(pieces):
    if at % 10:
        libc.free(each)
before = held_kb()
heap.give_back()
print(before - held_kb())
"""


def printed(script: str) -> str:
    """Run a script in a process of its own, and return what it printed."""
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True).stdout


def test_what_is_free_between_what_is_used_is_given_back() -> None:
    found = printed(SCRIPT)
    assert re.fullmatch(r"\d+\n", found)
    assert int(found) > 60_000  # of 90 MB, in kB


ARROW = """
import numpy as np
import pyarrow as pa
from sensor import heap
from tests.memory import held_kb

pieces = [pa.allocate_buffer(100_000) for _ in range(600)]
for each in pieces:
    np.frombuffer(each, np.uint8)[:] = 1
del each
pieces = pieces[:1]
before = held_kb()
heap.give_back()
print(before - held_kb())
"""


def test_what_arrow_keeps_for_later_is_given_back() -> None:
    found = printed(ARROW)
    assert int(found) > 20_000  # of 60 MB, in kB


KEPT = """
import resource
import numpy as np
from sensor import heap

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.empty(40_000_000, np.uint8)[:] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

np.empty(1, np.uint8)
heap.keep()
faults()
print(faults())
"""


def test_what_is_kept_is_not_cleared_again() -> None:
    found = printed(KEPT)
    assert int(found) < 10  # without it each of these arrays is faulted in again

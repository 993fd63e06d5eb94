"""What was freed, in pieces between what is still used, leaves the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import ctypes
import re
from pathlib import Path
from sensor import heap

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def held():
    return int(re.search(r"^Anonymous:\\s+(\\d+)", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])

pieces = [libc.malloc(100_000) for _ in range(1000)]
for each in pieces:
    ctypes.memset(each, 1, 100_000)
for at, each in enumerate(pieces):
    if at % 10:
        libc.free(each)
before = held()
heap.give_back()
print(before - held())
"""


def test_what_is_free_between_what_is_used_is_given_back() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\d+\n", found.stdout)
    assert int(found.stdout) > 60_000  # of 90 MB, in kB


ARROW = """
import re
from pathlib import Path
import numpy as np
import pyarrow as pa
from sensor import heap

def held():
    return int(re.search(r"^Anonymous:\\s+(\\d+)", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])

pieces = [pa.allocate_buffer(100_000) for _ in range(600)]
for each in pieces:
    np.frombuffer(each, np.uint8)[:] = 1
del each
pieces = pieces[:1]
before = held()
heap.give_back()
print(before - held())
"""


def test_what_arrow_keeps_for_later_is_given_back() -> None:
    found = subprocess.run(
        [sys.executable, "-c", ARROW], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) > 20_000  # of 60 MB, in kB


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
    found = subprocess.run(
        [sys.executable, "-c", KEPT], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) < 10  # without it each of these arrays is faulted in again

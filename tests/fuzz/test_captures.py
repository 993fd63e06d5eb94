"""A short run of mutated captures in every test run, with array bounds checked; SWARMTAP_FUZZ_SECONDS makes it long."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.captures import ROOT

SECONDS = float(os.environ.get("SWARMTAP_FUZZ_SECONDS", "10"))
SEED = os.environ.get("SWARMTAP_FUZZ_SEED", "7680")


def test_mutated_captures_never_crash() -> None:
    # Kernels with checked bounds have a cache of their own: numba does not tell the two kinds apart.
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(ROOT / ".pytest_cache" / "kernels-with-bounds"),
        "PYTHONWARNINGS": "error",
        "PYTHONFAULTHANDLER": "1",
    }
    command = [sys.executable, "-m", "tests.fuzz.mutate", SEED, str(SECONDS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) >= SECONDS  # rounds: slower than one a second would test nothing

"""Runs of mutated captures in every test run, with array bounds checked: a minute in CI, shorter elsewhere.

SWARMTAP_FUZZ_SECONDS makes the first longer, SWARMTAP_FUZZ_INPUTS the second. A million inputs, in pieces of which each
tells what it saw: `for seed in $(seq 20); do NUMBA_BOUNDSCHECK=1 python -m tests.fuzz.inputs $seed 50000; done`.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.captures import ROOT

SECONDS = float(os.environ.get("SWARMTAP_FUZZ_SECONDS") or (40 if os.environ.get("CI") else 8))
INPUTS = int(os.environ.get("SWARMTAP_FUZZ_INPUTS") or (4000 if os.environ.get("CI") else 500))
SEED = os.environ.get("SWARMTAP_FUZZ_SEED", "7680")


def run(module: str, much: float) -> str:
    # Kernels with checked bounds have a cache of their own: numba does not tell the two kinds apart.
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(ROOT / ".pytest_cache" / "kernels-with-bounds"),
        "PYTHONWARNINGS": "error",
        "PYTHONFAULTHANDLER": "1",
    }
    command = [sys.executable, "-m", module, SEED, str(much)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_mutated_captures_never_crash() -> None:
    assert int(run("tests.fuzz.mutate", SECONDS)) >= SECONDS  # rounds: slower than one a second would test nothing
    seen = run("tests.fuzz.inputs", INPUTS)
    assert all(f" {kind}" in seen for kind in ("refused", "damaged", "windows", "messages", "announced"))

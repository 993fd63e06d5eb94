"""The import contracts of `.importlinter` hold, and each of them would notice a breach."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    command = [str(program), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_contracts_hold() -> None:
    told = lint(ROOT)
    assert told.returncode == 0, told.stdout + told.stderr
    assert " 0 broken." in told.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("activity.py", "import sensor.flows", "String, beads, ground"),
        ("policy.py", "import sensor.errors", "String, beads, ground"),
        ("novelty.py", "", "String, beads, ground"),
        ("sinks/eve.py", "import sensor.sinks.parquet", "Sinks know nothing of each other"),
        ("kernels/framing.py", "import sensor.kernels.headers", "Kernels know nothing of each other"),
        ("rules/judge.py", "import sensor.rules.load", "Reading rules apart from judging"),
        ("samples/stack.py", "import sensor.schema", "Samples share only the wire with the sensor"),
        ("sites.py", "import numba", "numba lives in kernels"),
        ("sinks/evidence.py", "import dpkt.pcap", "dpkt lives in the slow lane"),
        ("order.py", "import pandas", "pandas begins at activity"),
    ],
)
def test_a_breach_is_noticed(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(ROOT / "sensor", tmp_path / "sensor", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    with (tmp_path / "sensor" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    told = lint(tmp_path)
    assert told.returncode == 1, told.stderr
    broken = [row.removesuffix(" BROKEN") for row in told.stdout.splitlines() if row.endswith(" BROKEN")]
    assert broken == [contract]

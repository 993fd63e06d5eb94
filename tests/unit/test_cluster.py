"""Files that workers read give the case that one process gives, also when a worker is killed meanwhile."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sensor.cluster import connect, decode
from sensor.errors import OperatorError
from sensor.inputs import Inputs
from sensor.reading import Options

pytest.importorskip("distributed")

ROOT: Final = Path(__file__).parents[2]
WEEK: Final = ROOT / "pcaps" / "office-week.pcap"

# A process of its own: Dask's threads and warnings are no business of other tests.
RUN: Final = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from sensor import casefolder, pipeline
from sensor.cluster import ClusterInputs, connect
from sensor.reading import Options
from sensor.rules.load import load
from sensor.settings import load_policy
from sensor.sources.files import find

class Killing(ClusterInputs):
    def portions(self):
        for at, portion in enumerate(super().portions()):
            if at == 0:
                workers = self._client.run(os.getpid)
                os.kill(sorted(workers.values())[0], signal.SIGKILL)
                print("killed one of", len(workers))
            yield portion

if __name__ == "__main__":
    source, out = sys.argv[1:]
    client = connect("local:2")
    inputs = Killing(find([source]), Options(hashes=True), client)
    rules = load([Path("rules/w01_off_window_transfer.yml"), Path("rules/t05_internet_peering.yml")])
    case = pipeline.judge_all(inputs, load_policy(Path("pcaps/office.yaml")), rules)
    inputs.stop()
    casefolder.write(case, Path(out), [], "now")
"""


def split(folder: Path, parts: int) -> None:
    raw = WEEK.read_bytes()
    edges = [24]
    while edges[-1] < len(raw):
        edges.append(edges[-1] + 16 + int(struct.unpack_from("<I", raw, edges[-1] + 8)[0]))
    for at in range(parts):
        first, last = (edges[part * (len(edges) - 1) // parts] for part in (at, at + 1))
        part = raw[:24] + raw[first:last]
        (folder / f"{parts - at:03}.pcap.gz").write_bytes(gzip.compress(part, mtime=0))


def digests(case: Path) -> dict[str, str]:
    files = sorted(path for path in case.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(case).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_case_is_the_same_when_a_worker_dies(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    split(tmp_path / "parts", 40)
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, tmp_path / "run.py", tmp_path / "parts", tmp_path / "cluster"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "killed one of 2" in done.stdout
    rules = ["-r", "rules/w01_off_window_transfer.yml", "-r", "rules/t05_internet_peering.yml"]
    plain = [sys.executable, "-m", "sensor", "analyze", tmp_path / "parts", "-p", "pcaps/office.yaml", *rules]
    subprocess.run([*plain, "-o", tmp_path / "plain"], cwd=ROOT, capture_output=True, check=True, timeout=240)
    assert digests(tmp_path / "cluster") == digests(tmp_path / "plain")
    told = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("cluster", "plain")]
    assert told[0]["inputs"] == told[1]["inputs"]
    assert len(told[0]["inputs"]) == 40


def test_worker_gives_what_is_read_here() -> None:
    inputs = Inputs([str(WEEK)], Options())
    count = sum(len(portion.ordered.packets) for portion in inputs.portions())
    made = decode(str(WEEK), 0, Options(hashes=True))
    assert sum(len(part.packets) for part in made.parts) == count > 0
    assert made.facts is not None
    assert made.facts.sha256 == hashlib.sha256(WEEK.read_bytes()).hexdigest()
    assert made.facts.packets == inputs.read()[0].packets
    for part in made.parts:
        ends = part.packets["payload_at"] + part.packets["payload_captured"]
        assert int(ends.max()) == len(part.data)


def test_file_that_is_no_capture_comes_back_as_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture, and long enough to be looked at as if it were one")
    made = decode(str(tmp_path / "text"), 0, Options())
    assert made.facts is None
    assert [mistake.where for mistake in made.mistakes] == [str(tmp_path / "text")]


def test_address_that_is_none() -> None:
    with pytest.raises(OperatorError, match="--cluster"):
        connect("nonsense://nowhere")

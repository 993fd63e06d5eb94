"""Files that workers read give the case of the one capture, also when a worker is killed meanwhile."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sensor.cluster import connect, decode
from sensor.errors import OperatorError
from sensor.inputs import Inputs
from sensor.reading import Options
from tests.captures import in_five_formats

pytest.importorskip("distributed")

ROOT: Final = Path(__file__).parents[2]
WEEK: Final = ROOT / "pcaps" / "office-week.pcap"

# A process of its own: Dask's threads and warnings are no business of other tests.
RUN: Final = """
import os, signal, sys
from pathlib import Path
from sensor import casefolder, pipeline
from sensor.cluster import ClusterInputs, connect
from sensor.reading import Options
from sensor.rules.load import load
from sensor.settings import load_policy
from sensor.sources.files import find

class Killing(ClusterInputs):
    def _finish(self, at, opened):
        super()._finish(at, opened)
        if len(self._found) == 50:
            workers = self._client.run(os.getpid)
            os.kill(sorted(workers.values())[0], signal.SIGKILL)
            print("killed one of", len(workers), "with", len(self._order) - 50, "files to come")

if __name__ == "__main__":
    source, out = sys.argv[1:]
    client = connect("local:2")
    inputs = Killing(find([source]), Options(hashes=True), client)
    case = pipeline.judge_all(inputs, load_policy(Path("pcaps/office.yaml")), load([Path("rules")]))
    inputs.stop()
    casefolder.write(case, Path(out), [], "now")
"""


def digests(case: Path) -> dict[str, str]:
    about_inputs = {"manifest.json", "summary.json"}
    files = sorted(path for path in case.rglob("*") if path.is_file() and path.name not in about_inputs)
    return {path.relative_to(case).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_case_is_that_of_the_one_capture_when_a_worker_dies(tmp_path: Path) -> None:
    in_five_formats(WEEK.read_bytes(), tmp_path / "parts", 200)
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, tmp_path / "run.py", tmp_path / "parts", tmp_path / "cluster"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "killed one of 2 with 150 files to come" in done.stdout
    plain = [sys.executable, "-m", "sensor", "analyze", WEEK, "-p", "pcaps/office.yaml", "-o", tmp_path / "plain"]
    subprocess.run(plain, cwd=ROOT, capture_output=True, check=True, timeout=240)
    found = digests(tmp_path / "cluster")
    assert len(found) > 20  # evidence, too
    assert found == digests(tmp_path / "plain")
    told = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("cluster", "plain")]
    assert told[0].pop("inputs") == 200
    assert told[1].pop("inputs") == 1
    assert told[0] == told[1]


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

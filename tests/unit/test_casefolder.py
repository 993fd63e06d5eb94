"""The same packets give the same case: in any time zone, on any day, in however many files of whatever format."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

from tests.captures import in_five_formats, like_anybody

ROOT: Final = Path(__file__).parents[2]
WEEK: Final = ROOT / "pcaps" / "office-week.pcap"


def analyze(*paths: Path, out: Path, zone: str = "UTC") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sensor", "analyze", *paths, "-p", ROOT / "pcaps" / "office.yaml", "-o", out]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=False, timeout=300
    )


def digests(case: Path) -> dict[str, str]:
    files = sorted(path for path in case.rglob("*") if path.is_file())
    return {path.relative_to(case).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def told(case: Path, name: str, *without: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads((case / name).read_text()).items() if key not in without}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = tmp_path_factory.mktemp("whole") / "case"
    done = analyze(WEEK, out=case)
    assert done.returncode == 0, done.stderr
    assert len(list(case.glob("evidence/*.pcap"))) > 10
    return case


def test_time_zone_and_day_do_not_show(whole: Path, tmp_path: Path) -> None:
    done = analyze(WEEK, out=tmp_path / "case", zone="Asia/Kolkata")
    assert done.returncode == 0, done.stderr
    one, other = digests(whole), digests(tmp_path / "case")
    assert one.pop("manifest.json") != other.pop("manifest.json")
    assert one == other
    # What was called and when is one key; nothing else may know.
    assert told(whole, "manifest.json", "run") == told(tmp_path / "case", "manifest.json", "run")


def test_two_hundred_files_of_five_formats_are_one_capture(whole: Path, tmp_path: Path) -> None:
    in_five_formats(WEEK.read_bytes(), tmp_path / "parts", 200)
    done = analyze(tmp_path / "parts", Path("--jobs=2"), out=tmp_path / "case", zone="America/Chicago")
    assert done.returncode == 0, done.stderr
    again = analyze(tmp_path / "parts", Path("--jobs=1"), out=tmp_path / "again")
    assert again.returncode == 0, again.stderr
    one, other, third = digests(whole), digests(tmp_path / "case"), digests(tmp_path / "again")
    assert {**third, "manifest.json": ""} == {**other, "manifest.json": ""}
    assert told(tmp_path / "again", "manifest.json", "run") == told(tmp_path / "case", "manifest.json", "run")
    for name in ("manifest.json", "summary.json"):
        assert one.pop(name) != other.pop(name)
    assert one == other
    # How many inputs there were is a fact about inputs, and the only one that the summary tells.
    assert told(whole, "summary.json", "inputs") == told(tmp_path / "case", "summary.json", "inputs")
    inputs = ("run", "inputs", "evidence", "outputs")
    assert told(whole, "manifest.json", *inputs) == told(tmp_path / "case", "manifest.json", *inputs)


def test_case_is_the_same_after_an_interrupt(whole: Path, tmp_path: Path) -> None:
    in_five_formats(WEEK.read_bytes(), tmp_path / "parts", 100)
    out = tmp_path / "case"
    # What a shell runs in the background ignores the signal, and so does all that it starts. The run has less of the
    # processor than who watches it, or on a busy machine it could be over before it is interrupted.
    command = ["env", "--default-signal=INT", "nice", "-n", "19", sys.executable, "-m", "sensor", "analyze"]
    command += [tmp_path / "parts", "--jobs", "1", "-p", "pcaps/office.yaml", "-o", out]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 60
        while len(list(out.glob(".decoded/*.parts"))) < 5 and time.monotonic() < until:
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    told_kept = re.search(r"swarmtap: interrupted; (\d+) of 100 inputs are kept in ", said)
    assert told_kept, said
    assert 5 <= int(told_kept[1]) < 100
    assert [path.name for path in out.iterdir()] == [".decoded"]  # it is no case yet
    done = analyze(tmp_path / "parts", Path("--resume"), out=out)
    assert done.returncode == 0, done.stderr
    one, other = digests(whole), digests(out)
    for name in ("manifest.json", "summary.json"):  # how many inputs there were
        del one[name], other[name]
    assert one == other


def test_evidence_is_bit_by_bit_what_was_captured(whole: Path) -> None:
    raw = WEEK.read_bytes()
    packets = set()
    at = 24
    ticks = 1 if raw[:4] == b"\x4d\x3c\xb2\xa1" else 1000
    while at < len(raw):
        seconds, fraction, size, wire = struct.unpack_from("<IIII", raw, at)
        packets.add((seconds, fraction * ticks, wire, raw[at + 16 : at + 16 + size]))
        at += 16 + size
    for incident in json.loads((whole / "incidents.json").read_text()):
        file = (whole / incident["evidence"][0]["file"]).read_bytes()
        assert hashlib.sha256(file).hexdigest() == incident["evidence"][0]["sha256"]
        starts, at = [], 24
        while at < len(file):
            seconds, fraction, size, wire = struct.unpack_from("<IIII", file, at)
            assert (seconds, fraction, wire, file[at + 16 : at + 16 + size]) in packets
            starts.append(at)
            at += 16 + size
        # A locator names a record by its number and by its offset: both must mean the same one.
        assert all(starts[each["frame"] - 1] == each["offset"] for each in incident["evidence"])
        assert len(starts) >= len({(each["frame"], each["offset"]) for each in incident["evidence"]})


@pytest.mark.needs("tshark")
def test_tshark_and_capinfos_agree_with_the_evidence(whole: Path) -> None:
    def bodies(*arguments: object) -> list[str]:
        command = ["tshark", "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.md5_hash"]
        command += ["-o", "frame.generate_md5_hash:TRUE", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    captured = set(bodies("-r", WEEK))
    named = {each["file"]: each["sha256"] for each in told(whole, "manifest.json")["outputs"]}
    proofs = sorted(whole.glob("evidence/*.pcap"))
    assert proofs
    for proof in proofs:
        found = bodies("-r", proof)
        assert found
        assert set(found) <= captured
        command = ["capinfos", "-T", "-m", "-r", "-H", "-c", proof]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(",")
        assert said[1] == str(len(found))
        assert named[proof.relative_to(whole).as_posix()] in said


def test_older_evidence_does_not_stay(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "case" / "evidence").mkdir(parents=True)
    (tmp_path / "case" / "evidence" / "old.pcap").write_bytes(b"old")
    done = analyze(ROOT / "pcaps" / "off-window.pcap", out=tmp_path / "case")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "case" / "evidence" / "old.pcap").exists()
    assert digests(whole) != digests(tmp_path / "case")


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "case").write_text("a file where the folder should be")
    done = analyze(ROOT / "pcaps" / "off-window.pcap", out=tmp_path / "case")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "case") in done.stderr
    assert done.stdout == ""  # before anything was read


def test_full_disk_leaves_no_half_written_file(whole: Path, tmp_path: Path) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-m", "sensor", "analyze", WEEK, "-p", ROOT / "pcaps" / "office.yaml"]
    command += ["-o", tmp_path / "case"]
    done = subprocess.run(command, preexec_fn=small, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "cannot be written (File too large); free some space there" in done.stderr
    one, other = digests(whole), digests(tmp_path / "case")
    assert set(other.items()) < set(one.items())
    assert "manifest.json" not in other


def test_what_cannot_be_read_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    raw = WEEK.read_bytes()
    (tmp_path / "a.pcap").write_bytes(raw)
    (tmp_path / "b.pcap.gz").write_bytes(gzip.compress(raw)[: len(raw) // 8])
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04\x14\0\x09\0\x08\0" + bytes(100))
    names = [tmp_path / name for name in ("a.pcap", "b.pcap.gz", "c.zip")]
    done = analyze(*names, out=tmp_path / "case")
    assert done.returncode == 3, done.stderr
    damaged = told(tmp_path / "case", "summary.json")["damaged"]
    assert set(damaged) == {str(names[1]), str(names[2])}
    assert "a zip archive with a password" in damaged[str(names[2])]
    assert len(told(tmp_path / "case", "manifest.json")["inputs"]) == 3
    only = analyze(names[2], out=tmp_path / "none")
    assert (only.returncode, "a zip archive" in only.stderr) == (2, True)
    assert not (tmp_path / "none" / "summary.json").exists()


def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    good, secret = tmp_path / "good.pcap", tmp_path / "secret.pcap"
    for path in (good, secret):
        path.write_bytes((ROOT / "pcaps" / "off-window.pcap").read_bytes())
    secret.chmod(0)

    def ran(*names: Path) -> subprocess.CompletedProcess[str]:
        command = [*like_anybody(), sys.executable, "-m", "sensor", "analyze", *names]
        wide = os.environ | {"COLUMNS": "500"}
        return subprocess.run(command, cwd=ROOT, env=wide, capture_output=True, text=True, check=False, timeout=120)

    done = ran(good, secret)
    assert done.returncode == 3, done.stderr
    said = " ".join(done.stdout.split())
    assert f"{secret}: cannot be read (Permission denied); nothing of it was used" in said
    alone = ran(secret)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert f"{secret}: cannot be read (Permission denied); give a pcap" in alone.stderr


def test_selection_is_what_the_whole_says_of_it(whole: Path, tmp_path: Path) -> None:
    flows = pd.read_parquet(whole / "flows.parquet")
    name = flows["community_id"][flows["orig_ip"] == "10.1.20.99"].iloc[0]
    for option, value, wanted in (
        ("--host", "10.1.20.99", (flows["orig_ip"] == "10.1.20.99") | (flows["resp_ip"] == "10.1.20.99")),
        ("--flow", name, flows["community_id"] == name),
        ("--site", "cash-desks", (flows["orig_site"] == "cash-desks") | (flows["resp_site"] == "cash-desks")),
    ):
        done = analyze(WEEK, Path(option), Path(value), out=tmp_path / option)
        assert done.returncode == 0, done.stderr
        found = pd.read_parquet(tmp_path / option / "flows.parquet")
        assert found["community_id"].tolist() == flows["community_id"][wanted].tolist()

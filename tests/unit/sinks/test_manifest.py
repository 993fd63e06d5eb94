"""Inputs and outputs with their hashes; one key, and only one, may differ between two runs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from sensor.policy import Policy
from sensor.sinks import manifest
from tests import cases
from tests.cases import NOON

if TYPE_CHECKING:
    from pathlib import Path


def make(folder: Path, run_at: str = "2026-03-11T08:00:00Z", **changes: Any) -> dict[str, Any]:
    (folder / "evidence").mkdir(exist_ok=True)
    (folder / "summary.json").write_bytes(b"{}")
    (folder / "evidence" / "a.pcap").write_bytes(b"")
    outputs = [folder / "summary.json", folder / "evidence" / "a.pcap"]
    return manifest.as_json(cases.case(**changes), folder, outputs, ["swarmtap", "analyze", "office.pcap"], run_at)


def test_outputs_are_named_inside_the_folder_with_their_hash(tmp_path: Path) -> None:
    assert make(tmp_path)["outputs"] == [
        {"file": "evidence/a.pcap", "size_bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        {"file": "summary.json", "size_bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
    ]


def test_inputs_are_told_as_they_were_read(tmp_path: Path) -> None:
    made = make(tmp_path, inputs=(cases.source(drops=3, damage="cut short", link_types=(1, 113)),))
    assert made["inputs"] == [
        {
            "file": "office.pcap",
            "sha256": "cd" * 32,
            "size_bytes": 5000,
            "format": "pcap",
            "packets": 100,
            "bytes": 9000,
            "first_packet_ns": NOON,
            "last_packet_ns": NOON + 3_600_000_000_000,
            "link_types": [1, 113],
            "drops": 3,
            "damage": "cut short",
            "copy_of": "",
            "repeated": 0,
        }
    ]


def test_what_judged_is_named_by_hash(tmp_path: Path) -> None:
    made = make(tmp_path, rules={"rules/b.yml": "22", "rules/a.yml": "11"})
    assert made["policy"] == {"source": "policy.yaml", "sha256": "ab" * 32}
    assert made["rules"] == [{"file": "rules/a.yml", "sha256": "11"}, {"file": "rules/b.yml", "sha256": "22"}]
    assert make(tmp_path, policy=Policy(sites=()))["policy"] == {"source": "built-in", "sha256": ""}
    assert made["versions"]["numpy"] == np.__version__
    assert set(made["versions"]) == {"swarmtap", "python", "numpy", "pandas", "pyarrow", "numba"}


def test_original_places_of_evidence_are_kept(tmp_path: Path) -> None:
    located = cases.evidence(input=1, number=7, offset=1234)
    made = make(
        tmp_path,
        inputs=(cases.source(), cases.source(name="b.pcap.gz")),
        incidents=(cases.incident(id="x", evidence=(located,)),),
    )
    assert made["evidence"] == {
        "x": [
            {
                "input": "b.pcap.gz",
                "frame": 7,
                "offset": 1234,
                "ts_ns": NOON,
                "community_id": "1:beV1u+LD013n0TD913ZJfaMWp+Y=",
            }
        ]
    }


def test_runs_differ_in_one_key_only(tmp_path: Path) -> None:
    one, two = make(tmp_path), make(tmp_path, run_at="2027-01-01T00:00:00Z")
    assert one["run"] == {"at": "2026-03-11T08:00:00Z", "command": ["swarmtap", "analyze", "office.pcap"]}
    assert one.pop("run") != two.pop("run")
    assert json.dumps(one) == json.dumps(two)

"""What is kept comes back as it was; what cannot be read is set aside with a sentence."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sensor import memory
from sensor.policy import Policy, Site
from sensor.rules.judge import Judge
from sensor.rules.load import load
from sensor.spans import HOUR_NS, Spans
from tests import cases

RULES = load([Path(__file__).parents[2] / "rules"])
FRAME = pd.DataFrame({"flow": pd.Series([3, -1], dtype="int64"), "orig_ip": pd.Series(["a", "b"], dtype="str")})


class Never:
    """A calendar without slots."""

    def slots(self, site: str, start_ns: int, end_ns: int) -> Any:
        del site, start_ns, end_ns
        return pd.DataFrame({"start": [], "end": []}, dtype="int64").to_numpy()


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    assert memory.read(tmp_path) == ({}, "")
    memory.write(tmp_path, {"n": 1, "rows": {"r": FRAME, "none": None}, "list": [(1, "x", [2.5])]})
    known, notice = memory.read(tmp_path)
    assert notice == ""
    pd.testing.assert_frame_equal(known["rows"].pop("r"), FRAME)
    assert known == {"n": 1, "rows": {"none": None}, "list": [[1, "x", [2.5]]]}
    assert [path.name for path in tmp_path.iterdir()] == [memory.FILE]


@pytest.mark.parametrize("damage", ["cut", "noise", "version", "shape", "stream"])
def test_what_cannot_be_read_is_set_aside(tmp_path: Path, damage: str) -> None:
    memory.write(tmp_path, {"r": FRAME})
    path = tmp_path / memory.FILE
    if damage in {"cut", "noise"}:
        path.write_bytes(path.read_bytes()[:-30] if damage == "cut" else b"\0" * 100)
    else:
        inside = {"version": {"version": 99, "known": {}}, "shape": {"version": 1, "known": 7}}
        with zipfile.ZipFile(path, "w") as pack:
            pack.writestr("memory.json", json.dumps(inside.get(damage, {"version": 1, "known": {"r": "arrow:0"}})))
            pack.writestr("0.arrow", b"no stream")
    known, notice = memory.read(tmp_path)
    assert known == {}
    assert notice.startswith(str(path))
    assert notice.endswith("what is usual is learnt anew")
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("memory.zip.damaged-")


def test_a_site_knows_what_is_usual_after_a_restart_and_nothing_of_when_nobody_looked(tmp_path: Path) -> None:
    policy = Policy((Site("hq", (), peering="allowed"),))
    week = 168 * HOUR_NS

    def one(at: int) -> pd.DataFrame:
        return cases.activity({"window_start_ns": at, "payload_bytes": 100, "orig_packets": 30})

    first = Spans(policy, Never())
    for number in range(5):
        first.push(one(cases.NOON + number * week), cases.NOON + number * week + HOUR_NS)
    memory.write(tmp_path, first.remember())
    known, _ = memory.read(tmp_path)
    seen_ns = cases.NOON + 4 * week + HOUR_NS
    for start_ns, silent in ((seen_ns, True), (cases.NOON + 6 * week, False)):
        second = Spans(policy, Never())
        second.recall(known, seen_ns, start_ns)
        told = second.push(one(cases.NOON).iloc[:0], cases.NOON + 6 * week)
        assert (told["history"].max() == 5 and (told["packets"] == 0).any()) == silent
        again = second.push(one(cases.NOON + 6 * week), cases.NOON + 6 * week + HOUR_NS)
        assert again["usual_bytes"].max() == 100


def test_a_scan_over_a_restart_is_found_and_its_flows_count_once(tmp_path: Path) -> None:
    def asked(first: int, many: int, at: int) -> pd.DataFrame:
        return cases.activity(
            *(
                {"flow": n, "window_start_ns": cases.NOON + at * cases.SECOND, "resp_ip": f"10.1.0.{first + n}",
                 "verdict": "too_little", "outcome": "attempt"}
                for n in range(many)
            )
        )  # fmt: skip

    before = Judge(RULES)
    assert not (before.push(asked(1, 12, 0), cases.NOON + 10 * cases.SECOND)["rule"] == "r01_horizontal_scan").any()
    memory.write(tmp_path, before.remember())
    known, _ = memory.read(tmp_path)
    after = Judge(RULES)
    after.recall(known)
    told = after.push(asked(40, 12, 20), cases.NOON + 30 * cases.SECOND)
    found = told[told["rule"] == "r01_horizontal_scan"]
    assert found[["value", "flow_count"]].to_numpy().tolist() == [[24, 24]]


@pytest.mark.parametrize("counted", [pd.DataFrame({"flow": [1, 2]}), None])
def test_rules_begin_anew_where_what_was_kept_has_another_form(counted: pd.DataFrame | None) -> None:
    known = Judge(RULES).remember()
    for each in known["rules"].values():
        each |= {"rule": "of another form", "counted": counted}
    after = Judge(RULES)
    after.recall(known)
    assert after.remember()["rules"].keys() == known["rules"].keys()

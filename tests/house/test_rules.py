"""Every shipped rule can be read about, and shows a capture that fires it and one that does not."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.house import tree

# What lies in rules/prometheus is Prometheus' own.
FILES = [path for path in tree.files() if path.parent.parts == ("rules",) and path.suffix == ".yml"]
DOCUMENTS = [
    (path, document) for path in FILES for document in yaml.safe_load_all(tree.text(path)) if isinstance(document, dict)
]
# A document without a level is rows that a correlation counts, or another threshold of a rule.
RULES = {document["name"]: (path, document) for path, document in DOCUMENTS if "level" in document}
PAGES = [path for path in tree.files() if path.parts[0] == "docs" and path.suffix == ".md"]
CAPTURES = {path.stem for path in tree.files() if path.parts[0] == "pcaps" and path.suffix == ".pcap"}


def fires(case: dict[str, object]) -> bool:
    return bool(case["expect"])


def test_there_are_rules() -> None:
    assert len(RULES) == len(FILES) > 0


@pytest.mark.parametrize("name", RULES)
def test_rule_has_the_name_of_its_file(name: str) -> None:
    path, _ = RULES[name]
    assert path.stem == name


@pytest.mark.parametrize("name", RULES)
def test_rule_is_complete(name: str) -> None:
    _, document = RULES[name]
    needed = ("title", "id", "description", "level", "falsepositives", "tags", "evasion", "reason", "quiet", "cases")
    assert not [key for key in needed if not document.get(key)]
    techniques = [tag for tag in document["tags"] if re.fullmatch(r"attack\.t\d{4}(\.\d{3})?", tag)]
    # A technique means little without the version of ATT&CK that it is from.
    versions = [tag for tag in document["tags"] if re.fullmatch(r"swarmtap\.attack-v\d+", tag)]
    assert bool(techniques) == bool(versions)
    assert techniques or {"swarmtap.policy", "swarmtap.sensor"} & {*document["tags"]}


@pytest.mark.parametrize("name", RULES)
def test_rule_has_cases_of_both_kinds(name: str) -> None:
    cases = RULES[name][1]["cases"]
    assert {case["capture"] for case in cases} <= CAPTURES
    assert any(fires(case) for case in cases)
    assert not all(fires(case) for case in cases)


@pytest.mark.parametrize("name", RULES)
def test_rule_is_described(name: str) -> None:
    rows = [line for page in PAGES for line in tree.text(page).splitlines() if line.startswith(f"| `{name}` |")]
    assert rows, f"no row in docs/*.md describes {name}"
    assert all(RULES[name][1]["level"] in row for row in rows)


def test_described_rules_exist() -> None:
    pattern = re.compile(r"^\| `([a-z]\d\d_\w+)` \|", re.MULTILINE)
    assert {name for page in PAGES for name in pattern.findall(tree.text(page))} == set(RULES)

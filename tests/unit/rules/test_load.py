"""Rule files as an operator writes them, right and wrong."""

from pathlib import Path
from textwrap import dedent

import pytest

from sensor.errors import OperatorError
from sensor.rules.load import load
from sensor.rules.ruleset import Clause, Measure
from tests.unit.rules.written import CORRELATED, HEAD, rule, written, wrong

SHIPPED = Path(__file__).parents[3] / "rules"


# --- right
def test_a_plain_rule_becomes_plain_facts(tmp_path: Path) -> None:
    more = "tags: [attack.t1036.005, attack.discovery]\nquiet: 90s\nreason: '{orig_ip}'\nfalsepositives: [x]\n"
    made = rule(tmp_path, "  a:\n    verdict: DO\n  condition: a\n", more)
    assert made.condition == Clause("is", "verdict", "do")
    assert (made.name, made.title, made.level, made.subject) == ("t", "T", "low", ("orig_ip", "resp_ip"))
    assert (made.attack, made.quiet_ns, made.falsepositives) == (("T1036.005",), 90_000_000_000, ("x",))
    assert made.measures == ()


def test_a_correlation_takes_the_place_of_its_rows(tmp_path: Path) -> None:
    (made,) = load([written(tmp_path, CORRELATED)]).rules
    assert (made.name, made.subject, made.condition) == ("much", ("orig_ip",), Clause("is", "verdict", "do"))
    assert made.measures == (Measure("value_sum", "payload_bytes", "gt", 10, 3_600_000_000_000),)


def test_a_row_rule_reports_too_if_it_is_to_be_generated(tmp_path: Path) -> None:
    text = CORRELATED.replace("timespan: 1h", "timespan: 1h\n      generate: true").replace(
        "name: rows", "name: rows\n    level: low", 1
    )
    assert load([written(tmp_path, text)]).names() == ("rows", "much")


def test_another_threshold_of_the_same_rule_is_part_of_it(tmp_path: Path) -> None:
    text = (
        dedent(CORRELATED)
        + "---"
        + dedent(CORRELATED).split("---")[1].replace("name: much", "name: more\npart_of: much").replace("1h", "1d")
    )
    (made,) = load([written(tmp_path, text)]).rules
    assert [measure.span_ns for measure in made.measures] == [3_600 * 10**9, 86_400 * 10**9]


def test_a_folder_is_read_in_the_order_of_its_names_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    body = "detection: {a: {verdict: do}, condition: a}\n"
    (tmp_path / "b.yml").write_text(HEAD.replace("name: t", "name: b") + body)
    (tmp_path / "a.yaml").write_text(HEAD.replace("name: t", "name: a") + body)
    (tmp_path / "sub" / "c.yml").write_text(HEAD.replace("name: t", "name: c") + body)
    (tmp_path / "no.txt").write_text("no rule")
    made = load([tmp_path])
    assert made.names() == ("a", "b", "c")
    assert list(made.files) == ["a.yaml", "b.yml", "sub/c.yml"]
    assert all(len(each) == 64 for each in made.files.values())


# --- wrong
def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = """\
    title: T
    name: t
    level: extreme
    logsource: {product: windows, category: activity}
    detection:
      a:
        verdct: do
        payload_bytes|contains: x
      condition: a and b
    quiet: soon
    reason: "{orig_iq}"
    """
    assert wrong(tmp_path, text) == [
        "r.yml:3:8: 'extreme' is not a valid Sigma rule level; see `level` in the Sigma specification",
        'r.yml:10:8: "soon" is no timespan; write 30s, 15m, 1h, 1d, 2w',
        'r.yml:11:9: unknown placeholder "orig_iq"; did you mean orig_ip?',
        'r.yml:4:22: product "windows"; write `logsource: {product: swarmtap, category: activity}`',
        'r.yml:7:5: unknown field "verdct"; did you mean verdict?',
        "r.yml:8:5: contains on payload_bytes, which holds a number; compare its value",
        'r.yml:9:14: unknown selection "b"; there are: a',
    ]


def test_categories_that_are_not_judged_yet_are_named(tmp_path: Path) -> None:
    text = HEAD.replace("activity", "swarm") + "detection: {a: {verdict: do}, condition: a}\n"
    assert wrong(tmp_path, text)[0].startswith('r.yml:4:42: category "swarm" is not judged yet')


def test_paths_that_hold_no_rules(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.yml").write_text("# nothing\n")
    with pytest.raises(OperatorError) as raised:
        load([tmp_path / "empty", tmp_path / "absent", tmp_path / "nothing.yml"])
    assert [each.read for each in raised.value.mistakes] == [
        "a folder without rules",
        "no such file or folder",
        "no rule in this file",
    ]


# --- shipped
def test_shipped_rules_are_complete() -> None:
    made = load([SHIPPED])
    assert len(made.rules) == len({rule.id for rule in made.rules}) >= 40
    assert {rule.category for rule in made.rules} == {"activity", "flow", "span"}
    for each in made.rules:
        assert all((each.id, each.description, each.tags, each.falsepositives, each.evasion, each.status)), each.name
        assert each.reason != each.title
        found = [case.incidents for case in each.cases]
        assert 0 in found, each.name
        assert max(found) > 0, each.name
        techniques = any(tag.startswith("attack.") for tag in each.tags)
        assert techniques == ("swarmtap.attack-v19" in each.tags) == bool(each.attack)
        assert techniques + ("swarmtap.policy" in each.tags) + ("swarmtap.sensor" in each.tags) == 1

"""What Sigma's detections mean here, and what is wrong with them."""

from pathlib import Path

import pytest

from sensor.rules.ruleset import Clause
from tests.unit.rules.written import HEAD, rule, wrong, wrong_item


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("verdict: [do, tls]", Clause("or", parts=(Clause("is", "verdict", "do"), Clause("is", "verdict", "tls")))),
        ("site|startswith: HQ", Clause("re", "site", r"(?is)\Ahq.*\z".replace("hq", "HQ"))),
        ("site|cased: HQ", Clause("is_cased", "site", "HQ")),
        ("site|contains: 'a.b'", Clause("re", "site", r"(?is)\A.*a\.b.*\z")),
        ("site|endswith: 'x'", Clause("re", "site", r"(?is)\A.*x\z")),
        ("site: 'a?b*'", Clause("re", "site", r"(?is)\Aa.b.*\z")),
        (r"site: 'a\*b'", Clause("is", "site", "a*b")),
        ("site|re: '^h.$'", Clause("re", "site", "^h.$")),
        ("site|re|i: '^h.$'", Clause("re", "site", "(?i)^h.$")),
        ("orig_ip|cidr: 10.0.0.0/8", Clause("cidr", "orig_ip", "10.0.0.0/8")),
        ("payload_bytes|gte: 10", Clause("gte", "payload_bytes", 10)),
        ("payload_bytes: 0", Clause("equal", "payload_bytes", 0)),
        ("peers_allowed: false", Clause("equal", "peers_allowed", value=False)),
        ("exception: null", Clause("null", "exception")),
        ("exception|exists: true", Clause("exists", "exception", value=True)),
        ("orig_site|fieldref: resp_site", Clause("same", "orig_site", "resp_site")),
        ("verdict|neq: do", Clause("not", parts=(Clause("is", "verdict", "do"),))),
        (
            "site|contains|all: [a, b]",
            Clause("and", parts=(Clause("re", "site", r"(?is)\A.*a.*\z"), Clause("re", "site", r"(?is)\A.*b.*\z"))),
        ),
    ],
)
def test_sigma_means_what_it_means(tmp_path: Path, item: str, expected: Clause) -> None:
    assert rule(tmp_path, f"  a:\n    {item}\n  condition: a\n").condition == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a1 and not b", "and(a1,not(b))"),
        ("1 of a*", "or(a1,a2)"),
        ("all of a*", "and(a1,a2)"),
        ("1 of them", "or(a1,a2,b)"),
        ("a1 or a2 and b", "or(a1,and(a2,b))"),
        ("(a1 or a2) and b", "and(or(a1,a2),b)"),
    ],
)
def test_conditions_link_selections(tmp_path: Path, condition: str, expected: str) -> None:
    def shown(clause: Clause) -> str:
        return f"{clause.op}({','.join(map(shown, clause.parts))})" if clause.parts else str(clause.value)

    selections = "".join(f"  {name}: {{site: {name}}}\n" for name in ("a1", "a2", "b"))
    assert shown(rule(tmp_path, f"{selections}  condition: {condition}\n").condition) == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("verdict|base64: do", '7:5: unsupported modifier "base64"'),
        ("verdict|contain: do", '7:5: unknown modifier "contain"; did you mean contains?'),
        ("verdict: htpp", '7:14: "htpp"; did you mean http?'),
        ("payload_bytes|gt: many", '7:23: "many"; payload_bytes holds a number'),
        ("peers_allowed: maybe", '7:20: "maybe"; peers_allowed is true or false'),
        ("site: 5", '7:11: "5"; site holds text; write "5" in quotes'),
        ("site|gt: 5", "7:5: gt on site, which holds text; only numbers have an order"),
        ("site|cidr: 10.0.0.0/8", "7:5: cidr on site; only orig_ip and resp_ip hold addresses"),
        ("orig_ip|cidr: 10.0.0.1/8", '7:19: "10.0.0.1/8"; write a network such as 10.0.0.0/8'),
        ("site|re: '(?=x)'", "7:14: Regular expression '(?=x)' is invalid"),
        ("site|re: 'x{1001}'", "7:14: Regular expression 'x{1001}' is invalid"),
        ("site|re|contains: x", "7:5: modifiers re, contains together; use one comparison per line"),
        ("site: [a, [b]]", "7:15: \"['b']\"; site holds text"),
        ("site: 2026-01-01", '7:11: "2026-01-01"; site holds text'),
        ("site: []", "7:11: 0 values; 1 to 1000 values"),
        ("orig_site|fieldref: payload_bytes", "7:25: payload_bytes holds number; compare columns that both hold text"),
        ("orig_site|fieldref: resp_sit", '7:25: unknown field "resp_sit"; did you mean resp_site?'),
        ("site|exists: 1", '7:18: "1"; exists is true or false'),
        ("payload_bytes|gt: null", '7:23: "None"; payload_bytes holds a number'),
        ("payload_bytes: .inf", '7:20: "inf"; payload_bytes holds a number'),
        ("'|contains': x", "7:5: keywords without a field; name the column"),
    ],
)
def test_what_is_wrong_with_a_field(tmp_path: Path, item: str, expected: str) -> None:
    assert wrong_item(tmp_path, item).startswith(expected)


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("detection:\n  a: [one, two]\n  condition: a", "r.yml:6:6: keywords without a field"),
        ("detection:\n  a: word\n  condition: a", "r.yml:6:6: keywords without a field"),
        ("detection:\n  a: {}\n  condition: a", "r.yml:6:6: an empty selection"),
        ("detection:\n  a: {verdict: do}", "r.yml:6:3: no condition"),
        ("detection:\n  condition: a", "r.yml:6:3: no selection"),
        ("detection: 5", "r.yml:5:12: no detection"),
        ("detection:\n  a: {verdict: do}\n  condition: a |", "r.yml:7:14: a pipe in a condition"),
        (
            "detection:\n  a: {verdict: do}\n  condition: a a",
            'r.yml:7:14: the condition "a a" cannot be read; use names, and',
        ),
        ("detection:\n  a: {verdict: do}\n  condition: 1 of b*", 'r.yml:7:14: no selection matches "b*"'),
        (
            "detection:\n  a: {verdict: do}\n  condition: " + "(" * 20 + "a" + ")" * 20,
            "r.yml:7:14: the condition is too long",
        ),
        (
            "detection:\n  a: {verdict: do}\n  timeframe: 5m\n  condition: a",
            "r.yml:7:3: timeframe; write a correlation",
        ),
    ],
)
def test_what_is_wrong_with_a_detection(tmp_path: Path, detection: str, expected: str) -> None:
    found = wrong(tmp_path, HEAD + detection + "\n")
    assert found[0].startswith(expected)

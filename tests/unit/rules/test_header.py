"""What is wrong with headers, and how long a timespan is."""

from pathlib import Path

import pytest

from sensor.rules import header
from tests.unit.rules.written import HEAD, wrong


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("id: five", "Sigma rule identifier must be an UUID"),
        ("id: 5", "id is not text"),
        ("tags: attack.t1046", "tags is not a list of text"),
        ("tags: [nodot]", "Sigma tag must start with namespace"),
        ("date: tomorrow", "use yyyy-mm-dd"),
        ("reson: x", 'unknown key "reson"; did you mean reason?'),
        ("reason: 'a { b'", "a brace without its partner"),
        ("reason: '{orig_ip:bytes}'", '"orig_ip" as "bytes"'),
        ("reason: '{orig_ip.__class__}'", 'unknown placeholder "orig_ip.__class__"'),
        ("subject: [orig_iq]", 'unknown field "orig_iq"; did you mean orig_ip?'),
        ("cases: [{capture: a, policy: b}]", "not a case"),
        ("cases: [{capture: ../a, policy: b, expect: 1}]", '"../a" is no name'),
        ("cases: [{capture: a, policy: b, expect: -1}]", "neither a number nor a list of subjects"),
        ("part_of: nobody", 'part of unknown rule "nobody"'),
    ],
)
def test_what_is_wrong_with_a_header(tmp_path: Path, more: str, expected: str) -> None:
    (only,) = wrong(tmp_path, HEAD + more + "\ndetection: {a: {verdict: do}, condition: a}\n")
    assert only.startswith("r.yml:5:")
    assert expected in only


def test_timespans_are_read_with_one_unit() -> None:
    second = 1_000_000_000
    said = {text: header.span_ns(text) for text in ("90s", "15m", "1h", "1d", "2w")}
    assert said == {
        "90s": 90 * second,
        "15m": 900 * second,
        "1h": 3600 * second,
        "1d": 86400 * second,
        "2w": 1209600 * second,
    }
    assert [header.span_ns(text) for text in ("0s", "32d", "1h30m", "h", "", None, 60, "1M")] == [None] * 8

import pytest

from sensor.rules import documents


def mistakes(text: str | bytes) -> list[str]:
    raw = text.encode() if isinstance(text, str) else text
    return [str(each) for each in documents.read("a.yml", raw)[1]]


def test_documents_know_where_their_parts_are_written() -> None:
    text = b"title: one\n---\ntitle: two\ndetection:\n  all:\n    verdict: [do,\n      tls]\n---\n"
    (first, second), wrong = documents.read("a.yml", text)
    assert wrong == []
    assert (first.plain, first.line) == ({"title": "one"}, 1)
    assert second.plain == {"title": "two", "detection": {"all": {"verdict": ["do", "tls"]}}}
    assert second.at("title") == "a.yml:3:8"
    assert second.at_key("detection", "all", "verdict") == "a.yml:6:5"
    assert second.at("detection", "all", "verdict", 1) == "a.yml:7:7"
    assert second.at("detection", "absent") == "a.yml:5:3"
    assert second.at("absent") == "a.yml:3:1"


def test_a_byte_order_mark_is_no_mistake() -> None:
    (only,), wrong = documents.read("a.yml", b"\xef\xbb\xbftitle: one\n")
    assert (only.plain, wrong) == ({"title": "one"}, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title: [", "a.yml:2:1: not YAML: did not find expected node content; mend the syntax"),
        ("title: one\ntitle: two\n", 'a.yml:2:1: key "title" twice; keep one of them'),
        ("a: &x 1\nb: *x\n", "a.yml:1:4: an anchor or alias; write the value out"),
        ("- one\n", "a.yml:1:1: not a mapping; a rule is `title: …` and so on"),
        ("[1, 2]: x\n", "a.yml:1:1: a key that is not text; write a word and a colon"),
        ("a: " + "[" * 40 + "]" * 40, "a.yml:1:35: nested too deeply; at most 32 levels"),
        (b"\xff\xfe", "a.yml: byte 0 is not UTF-8; save the file as UTF-8"),
        (b"a" * 262145, "a.yml: 262145 bytes; a rule file has at most 262144 bytes"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str | bytes, expected: str) -> None:
    assert mistakes(text) == [expected]


def test_nothing_but_plain_values_is_built() -> None:
    first, second = mistakes("a: !!python/object/apply:os.system ['true']\nb: !!python/name:os.system x\n")
    assert first.startswith('a.yml:1:4: the tag "tag:yaml.org,2002:python/object/apply:os.system"')
    assert second.startswith("a.yml:2:4: a value that cannot be read")


def test_a_billion_laughs_are_not_built() -> None:
    lines = ["a0: &a0 [lol, lol]", *(f"a{at}: &a{at} [*a{at - 1}, *a{at - 1}]" for at in range(1, 60))]
    assert mistakes("\n".join(lines)) == ["a.yml:1:5: an anchor or alias; write the value out"]


def test_too_many_values_are_refused_before_they_are_built() -> None:
    (said,) = mistakes("a: [" + "1, " * 30_000 + "1]")
    assert said.endswith("too large; at most 20000 values and 256 rules in a file")


def test_a_number_that_nobody_can_read_is_a_mistake() -> None:
    (said,) = mistakes("a: " + "9" * 5000)
    assert said.startswith("a.yml:1:4: a value that cannot be read")

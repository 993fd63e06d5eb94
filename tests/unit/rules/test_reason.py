from sensor.rules import reason


def test_a_sentence_is_filled_in_for_each_finding() -> None:
    columns = {
        "orig_ip": ["10.0.0.1", "10.0.0.2"],
        "value": [1_500_000.0, 20.0],
        "at": [0, 0],
        "long": [90 * 10**9] * 2,
    }
    said = reason.compose("{orig_ip} sent {value:bytes} since {at:time} for {long:duration}.", columns, 2)
    assert said == [
        "10.0.0.1 sent 1.5 MB since 1970-01-01 00:00 UTC for 1 min 30 s.",
        "10.0.0.2 sent 20 B since 1970-01-01 00:00 UTC for 1 min 30 s.",
    ]
    assert reason.compose("{value} of {orig_ip}", columns, 2) == ["1500000 of 10.0.0.1", "20 of 10.0.0.2"]


def test_the_ends_of_time_are_words() -> None:
    assert reason.instant(-(2**63)) == "ever"
    assert reason.instant(2**63 - 1) == "never"
    assert reason.instant(1_773_144_000_000_000_000) == "2026-03-10 12:00 UTC"


def test_placeholders_and_stray_braces_are_seen() -> None:
    assert reason.places("a {b} c {d:bytes}") == [("b", ""), ("d", "bytes")]
    assert not reason.stray("a {b} c")
    assert reason.stray("a {b c")
    assert reason.stray("a {{b}} c")


def test_braces_in_values_are_left_alone() -> None:
    assert reason.compose("{orig_ip}", {"orig_ip": ["{value}"]}, 1) == ["{value}"]

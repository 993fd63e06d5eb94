from sensor import schema
from sensor.rules.columns import kinds, nearest


def test_columns_are_those_of_the_schema_with_their_words() -> None:
    columns = kinds("activity")
    assert set(columns) == {*schema.ActivityFrame.names(), *schema.JudgedFrame.names()}
    assert columns["verdict"].words == schema.VERDICTS
    assert columns["orig_role"].words == schema.ROLES
    assert columns["orig_site"].words == ()
    assert (columns["orig_ip"].holds, columns["payload_bytes"].holds, columns["peers_allowed"].holds) == (
        "text",
        "number",
        "truth",
    )


def test_only_counters_add_up() -> None:
    columns = kinds("activity")
    assert [columns[name].adds for name in ("payload_bytes", "orig_pieces", "syns")] == [True, True, True]
    assert [columns[name].adds for name in ("first_offset", "resp_port", "window_start_ns", "flow")] == [False] * 4


def test_a_near_miss_is_answered() -> None:
    assert nearest("verdct", ["verdict", "scope"]) == "did you mean verdict?"
    assert nearest("zzz", ["verdict", "scope"]) == ""

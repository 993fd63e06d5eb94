import json
import pickle

from sensor.rules.ruleset import Clause, Expectation, Measure, Rule, RuleSet

SET = RuleSet(
    (
        Rule(
            name="a",
            title="A",
            level="low",
            condition=Clause("and", parts=(Clause("is", "verdict", "do"), Clause("same", "orig_site", "resp_site"))),
            subject=("orig_ip",),
            measures=(Measure("value_sum", "payload_bytes", "gt", 5, 60),),
            tags=("attack.t1046",),
            cases=(
                Expectation("quiet", "office", 0),
                Expectation("loud", "office", 1, ((("orig_ip", "10.0.0.1"), ("resp_port", 7680)),)),
            ),
        ),
    ),
    {"a.yml": "00"},
)


def test_a_set_survives_pickle_and_json() -> None:
    assert pickle.loads(pickle.dumps(SET)) == SET  # noqa: S301 - our own bytes
    assert RuleSet.from_plain(json.loads(json.dumps(SET.as_plain()))) == SET


def test_a_clause_knows_its_columns() -> None:
    assert SET.rules[0].condition.columns() == {"verdict", "orig_site", "resp_site"}
    assert SET.names() == ("a",)

"""The life of an incident, by findings made here."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from sensor.incidents import Incidents, Traits, as_json
from sensor.schema import Evidence
from sensor.sinks.evidence import EvidenceFile
from tests import cases

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON, SECOND = cases.NOON, cases.SECOND
MINUTE = 60 * SECOND
TRAITS = {"r": Traits(quiet_ns=10 * MINUTE, attack=("T1046",))}


def place(flow: int, at: int) -> Evidence:
    return Evidence(flow, f"1:{flow}", 0, flow + 1, 24, NOON + at)


def finding(minute: int, *flows: int, **changes: Any) -> dict[str, Any]:
    start = NOON + minute * MINUTE
    base = {
        "rule": "r",
        "title": "R",
        "level": "high",
        "site": "hq",
        "subject": '{"orig_ip": "10.0.0.1"}',
        "window_start_ns": start,
        "window_s": 10,
        "first_ts_ns": start + 1,
        "last_ts_ns": start + 5 * SECOND,
        "value": 1.0,
        "flows": flows,
        "flow_count": len(flows),
        "payload_bytes": 1000,
        "lost_share": 0.0,
        "reason": f"minute {minute}.",
        "evidence": tuple(place(flow, minute * MINUTE + 1) for flow in flows),
    }
    return base | changes


def pushed(
    incidents: Incidents, *findings: dict[str, Any], loss: float = 0.0, until_ns: int | None = None
) -> Sequence[Any]:
    frame = cases.findings(*findings).assign(
        evidence=pd.Series([each["evidence"] for each in findings], dtype="object")
    )
    return incidents.push(frame, loss=loss, until_ns=until_ns)


def test_an_incident_opens_goes_on_and_closes() -> None:
    incidents = Incidents(TRAITS)
    (opened,) = pushed(incidents, finding(0, 1, 2))
    (ongoing,) = pushed(incidents, finding(5, 2, 3, flow_count=1))
    assert incidents.flush(NOON + 15 * MINUTE) == []
    (closed,) = incidents.flush(NOON + 15 * MINUTE + 5 * SECOND)
    assert [each.state for each in (opened, ongoing, closed)] == ["open", "ongoing", "closed"]
    assert opened.id == ongoing.id == closed.id
    assert incidents.all() == (closed,)
    assert incidents.flush(NOON + 99 * MINUTE) == []
    assert (closed.first_seen_ns, closed.last_seen_ns) == (NOON + 1, NOON + 5 * MINUTE + 5 * SECOND)
    assert (closed.flows, closed.payload_bytes, closed.confidence) == (3, 2000, 1.0)
    assert closed.reason == "minute 0. In total 3 flows, 2.0 kB of payload."
    assert (closed.attack, closed.subject, closed.site) == (("T1046",), {"orig_ip": "10.0.0.1"}, "hq")
    assert [each.flow for each in closed.evidence] == [1, 2, 3]


def test_its_id_is_made_of_rule_subject_and_first_window_alone() -> None:
    expected = hashlib.sha256(f'r|{{"orig_ip": "10.0.0.1"}}|{NOON}'.encode()).hexdigest()[:16]
    (first,) = pushed(Incidents(TRAITS), finding(0, 1))
    (second,) = pushed(Incidents(TRAITS), finding(0, 77, reason="x", payload_bytes=3))
    assert first.id == second.id == expected


def test_after_quiet_a_finding_is_a_new_incident() -> None:
    incidents = Incidents(TRAITS)
    pushed(incidents, finding(0, 1))
    closed, opened = pushed(incidents, finding(11, 2, first_ts_ns=NOON + 1))
    assert (closed.state, opened.state) == ("closed", "open")
    assert opened.id != closed.id
    assert opened.first_seen_ns == NOON + 11 * MINUTE + 1, "not the first packet of the timespan, which was told before"


@pytest.mark.parametrize("flushed", [False, True])
def test_closing_does_not_depend_on_when_it_is_asked(*, flushed: bool) -> None:
    incidents = Incidents(TRAITS)
    for minute in (0, 4, 16, 20, 40):
        pushed(incidents, finding(minute, minute))
        if flushed:
            incidents.flush(NOON + minute * MINUTE + 10 * SECOND)
    incidents.flush(NOON + 41 * MINUTE)
    assert [(each.state, each.flows) for each in incidents.all()] == [("closed", 2), ("closed", 2), ("open", 1)]


def test_other_rules_and_subjects_are_other_incidents() -> None:
    incidents = Incidents(TRAITS)
    pushed(
        incidents,
        finding(0, 1),
        finding(0, 1, rule="s", payload_bytes=0),
        finding(0, 1, subject='{"orig_ip": "10.0.0.2"}'),
    )
    (other,) = (each for each in incidents.all() if each.rule == "s")
    assert (other.attack, other.reason) == ((), "minute 0. In total 1 flow without payload.")
    assert len({each.id for each in incidents.all()}) == 3


def test_all_are_in_the_order_of_their_first_packets() -> None:
    incidents = Incidents(TRAITS)
    pushed(incidents, finding(2, 1, rule="b"), finding(3, 2, rule="a"), finding(0, 3, rule="c"))
    assert [each.rule for each in incidents.all()] == ["c", "b", "a"]


def test_loss_lowers_confidence_and_the_worst_stays() -> None:
    incidents = Incidents(TRAITS)
    pushed(incidents, finding(0, 1), loss=0.25)
    assert [each.confidence for each in pushed(incidents, finding(1, 1), loss=0.1)] == [0.75]
    assert [each.confidence for each in pushed(incidents, finding(2, 1), loss=7.0)] == [0.0]


def test_flows_beyond_those_listed_are_counted() -> None:
    incidents = Incidents(TRAITS)
    pushed(incidents, finding(0, *range(64), flow_count=300), finding(1, *range(64), flow_count=0))
    assert [each.flows for each in incidents.all()] == [300]
    pushed(incidents, finding(90, 5, 6, flow_count=0))  # long flows, counted by the earlier incident
    assert [each.flows for each in incidents.all()] == [300, 2]


def test_evidence_is_at_most_sixteen_flows() -> None:
    incidents = Incidents(TRAITS)
    pushed(incidents, finding(0, *range(10)), finding(1, *range(5, 40)))
    (only,) = incidents.all()
    assert [each.flow for each in only.evidence] == list(range(16))


def test_beyond_the_capacity_the_closed_go_first_and_are_counted() -> None:
    incidents = Incidents(TRAITS, capacity=2)
    pushed(incidents, finding(0, 1, rule="a"), finding(1, 2, rule="b"))
    incidents.flush(NOON + 61 * MINUTE)
    assert [each.state for each in incidents.all()] == ["closed", "open"]
    pushed(incidents, finding(61, 3, rule="c"))
    assert ([each.rule for each in incidents.all()], incidents.evicted) == (["b", "c"], 1)
    pushed(incidents, finding(62, 3, rule="d"), finding(62, 3, rule="e"))
    assert ([each.rule for each in incidents.all()], incidents.evicted) == (["d", "e"], 3)


def test_json_has_the_keys_that_other_programs_rely_on() -> None:
    incidents = Incidents(TRAITS)
    pushed(incidents, finding(0, 4))
    (incident,) = incidents.all()
    proof = EvidenceFile("evidence/1.pcap", "cd" * 32, ((5, 24),) * len(incident.evidence))
    (written,) = json.loads(json.dumps(as_json([incident], {incident.id: proof})))
    assert list(written) == [
        *("id", "rule", "title", "level", "state", "site", "subject", "first_seen_ns", "last_seen_ns"),
        *("flows", "payload_bytes", "reason", "confidence", "attack", "evidence"),
    ]
    assert written["attack"] == ["T1046"]
    assert written["evidence"] == [
        {"file": "evidence/1.pcap", "sha256": "cd" * 32, "frame": 5, "offset": 24, "community_id": "1:4"}
    ]
    (unknown,) = as_json(incidents.all(), {})
    assert unknown["evidence"][0]["file"] == ""


def test_what_a_better_rule_tells_of_the_same_subject_is_not_told_again() -> None:
    traits = TRAITS | {"slow": Traits(quiet_ns=10 * MINUTE, unless=("r",))}
    incidents = Incidents(traits)
    pushed(incidents, finding(0, 1, subject='{"orig_ip": "10.0.0.1", "site": "hq"}'))
    slow = {"rule": "slow", "first_ts_ns": NOON}
    assert pushed(incidents, finding(1, 1, **slow)) == []
    (other,) = pushed(incidents, finding(1, 1, subject='{"orig_ip": "10.0.0.9"}', **slow))
    assert other.subject == {"orig_ip": "10.0.0.9"}
    (apart,) = pushed(incidents, finding(2, 1, subject='{"resp_ip": "10.0.0.1"}', **slow))
    assert apart.rule == "slow", "without a column in common nothing says that it is the same"
    (later,) = pushed(incidents, finding(30, 1, rule="slow"))
    assert later.subject == {"orig_ip": "10.0.0.1"}, "the better rule told of another time"


def told_better(known: list[Any], rules: tuple[str, ...], subject: dict[str, str], since_ns: int) -> bool:
    """Return what the rule says, looked up in each incident."""
    for each in known:
        shared = each.subject.keys() & subject.keys()
        same = shared and all(each.subject[name] == subject[name] for name in shared)
        if each.rule in rules and same and each.last_seen_ns >= since_ns:
            return True
    return False


@pytest.mark.parametrize("seed", range(20))
def test_better_rules_are_found_as_if_each_incident_were_looked_at(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same disorder every time
    traits = {
        "a": Traits(quiet_ns=3 * MINUTE),
        "b": Traits(quiet_ns=3 * MINUTE, unless=("a",)),
        "c": Traits(quiet_ns=MINUTE, unless=("a", "b")),
    }
    incidents = Incidents(traits, capacity=chance.choice([4, 8, 1000]))
    left_out = 0
    for minute in range(120):
        rule = chance.choice("abc")
        names = chance.sample(["orig_ip", "resp_ip", "site"], chance.randint(1, 3))
        subject = {name: str(chance.randrange(3)) for name in sorted(names)}
        since = NOON + (minute - chance.randrange(4)) * MINUTE
        one = finding(minute, 1, rule=rule, subject=json.dumps(subject), first_ts_ns=since)
        better = told_better(list(incidents.all()), traits[rule].unless, subject, since)
        assert (pushed(incidents, one) == []) is better
        left_out += better
        if chance.random() < 0.1:
            known = incidents.remember()
            going_on = [each for each in incidents.all() if each.state != "closed"]
            incidents = Incidents(traits, capacity=8)
            incidents.recall(known)
            incidents.resume(going_on)
    assert left_out


def test_a_rule_on_whole_flows_is_quiet_from_when_it_spoke() -> None:
    incidents = Incidents({"r": Traits(quiet_ns=60 * MINUTE)})
    two_hours = {"last_ts_ns": NOON}
    (first,) = pushed(incidents, finding(120, 1, **two_hours))
    (again,) = pushed(incidents, finding(150, 2, **two_hours))
    assert again.id == first.id
    assert incidents.flush(NOON + 200 * MINUTE) == []
    assert [each.state for each in incidents.flush(NOON + 210 * MINUTE)] == ["closed"]


def test_a_finding_waits_for_a_better_rule_and_is_told_if_none_speaks() -> None:
    traits = TRAITS | {"mild": Traits(quiet_ns=10 * MINUTE, unless=("r",), wait_ns=2 * MINUTE)}
    mild, other = {"rule": "mild", "first_ts_ns": NOON}, '{"orig_ip": "10.0.0.9"}'
    whole = Incidents(traits)
    all_at_once = [finding(0, 1, **mild), finding(0, 2, **mild, subject=other), finding(1, 3), finding(9, 4)]
    pushed(whole, *all_at_once)
    bit_by_bit = Incidents(traits)
    assert [pushed(bit_by_bit, each, until_ns=each["window_start_ns"]) for each in all_at_once[:2]] == [[], []]
    pushed(bit_by_bit, all_at_once[2], until_ns=NOON + 90 * SECOND)
    assert {each.rule for each in bit_by_bit.all()} == {"r"}
    (told,) = bit_by_bit.push(cases.findings().iloc[:0], until_ns=NOON + 2 * MINUTE)
    assert (told.rule, told.subject) == ("mild", {"orig_ip": "10.0.0.9"})
    pushed(bit_by_bit, all_at_once[3])
    assert whole.all() == bit_by_bit.all()
    assert Counter(each.rule for each in whole.all()) == {"r": 1, "mild": 1}


def test_with_loss_an_absence_proves_nothing_and_says_so() -> None:
    incidents = Incidents({"r": Traits(absence=True), "present": Traits()})
    for name in ("r", "present"):
        pushed(incidents, finding(0, -1, rule=name, lost_share=0.25, reason="nothing came."))
    pushed(incidents, finding(0, -1, subject="{}", lost_share=0.001, reason="nothing came."))
    told = {(each.rule, json.dumps(each.subject)): (each.reason, each.confidence) for each in incidents.all()}
    lost = "nothing came. Inconclusive: 25 % of the payload was lost on the way to the sensor."
    assert told == {
        ("r", '{"orig_ip": "10.0.0.1"}'): (lost, 0.75),
        ("present", '{"orig_ip": "10.0.0.1"}'): ("nothing came.", 0.75),
        ("r", "{}"): ("nothing came.", 0.999),
    }
    resumed = Incidents({"r": Traits(absence=True)})
    resumed.resume(each for each in incidents.all() if each.rule == "r")
    assert {each.reason for each in resumed.all()} == {lost, "nothing came."}

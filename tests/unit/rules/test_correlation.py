"""What is wrong with correlations; what is right with them is in test_load."""

from pathlib import Path

import pytest

from tests.unit.rules.written import CORRELATED, wrong


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rules: [rows]", "rules: [row]", 'unknown rule "row"; did you mean rows?'),
        ("rules: [rows]", "rules: []", "no rules; name the rules whose rows count"),
        ("type: value_sum", "type: temporal_extended", 'unsupported correlation type "temporal_extended"; there are:'),
        ("type: value_sum", "type: temporal", "field in temporal; it counts rows; leave it out"),
        ("field: payload_bytes", "field: payload_bytes, percentile: 9", "percentile belongs to value_percentile"),
        ("type: value_sum", "type: value_percentile", "percentile belongs to value_percentile"),
        ("gt: 10, field: payload_bytes", "gt: 10, field: payload_bytes, rows: some", '"some"; write 0 to'),
        ("type: value_sum", "type: sum", 'unknown correlation type "sum"'),
        ("timespan: 1h", "timespan: 1x", '"1x" is no timespan'),
        ("timespan: 1h", "timespan: 99w", '"99w" is no timespan'),
        ("[orig_ip]", "[orig_iq]", 'unknown field "orig_iq"; did you mean orig_ip?'),
        ("gt: 10,", "gt: ten,", '"ten"; write a number'),
        ("gt: 10,", "gt: 10, lt: 20,", "2 thresholds; write one of"),
        ("gt: 10, field: payload_bytes", "gt: 10", "no field, or several"),
        ("field: payload_bytes", "field: resp_port", "the sum of resp_port; sum a column of bytes"),
        ("timespan: 1h", "timespan: 1h\n      aliases: []", "aliases is not a mapping"),
        ("timespan: 1h", "timespan: 1h\n      aliases: {who: {rows: orig_ip}}", 'alias "who" is not used'),
        ("timespan: 1h", "timespan: 1h\n      aliases: {orig_ip: {rows: resp_ip}}", 'alias "orig_ip" is a column'),
        ("[orig_ip]", "[who]\n      aliases: {who: {raws: orig_ip}}", 'alias "who" does not name each rule once'),
        ("[orig_ip]", "[who]\n      aliases: {who: {rows: orig_iq}}", 'unknown field "orig_iq"; did you mean orig_ip?'),
        ("timespan: 1h", "timespan: 1h\n      timespn: 1h", 'unknown key "timespn"; did you mean timespan?'),
        ("rules: [rows]", "rules: [much]", '"much" is a correlation'),
        ("name: much", "name: rows", 'name "rows" twice; it is already at'),
        ("name: much", "subject: [site]\n    name: much", "subject in a correlation; its group-by is the subject"),
        ("    name: much\n", "", "no name; write `name: …`"),
        ("level: high", "status: new", "'new' is not a valid Sigma rule status"),
    ],
)
def test_what_is_wrong_with_a_correlation(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert CORRELATED.count(old) == 1
    found = wrong(tmp_path, CORRELATED.replace(old, new))
    assert any(expected in each for each in found), found

"""The case as Suricata EVE lines, so that what reads Suricata reads us: a flow per flow, an alert per incident, stats.

EVE is a closed schema; what is ours (site, rule, schedule, reason) stands in `alert.metadata`. `bytes_*` are IP bytes:
Suricata counts whole frames, which a capture cut short no longer shows. Lines are joined column by column, because a
case can have millions of flows.
"""

from __future__ import annotations

import json
import re
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensor.outfile import outfile
from sensor.schema import CONN_STATES, SCHEDULES, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from sensor.schema import Case, Incident

ROWS: Final = 1 << 16  # lines joined at once
_NS: Final = 1_000_000_000
_ID_BITS: Final = 53  # readers keep numbers as doubles
_ID_BYTES: Final = 32  # a Community ID is 30
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, with well-mixed bits: 2^64 over the golden ratio

# Suricata's words. Its state "established" is a connection that is up, "closed" one that ended, "new" all else.
_STATES: Final = {"S1": "established", "S2": "established", "S3": "established"} | dict.fromkeys(
    ("SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH"), "closed"
)
_APP_PROTO: Final = {"do": "delivery-optimization", "do_malformed": "delivery-optimization"} | dict.fromkeys(
    ("too_little", "opaque"), "failed"
)
_SEVERITY: Final = {"critical": 1, "high": 1, "medium": 2, "low": 3, "informational": 3}
# Signature ids of the catalogue: w01 is 1768001, t01 1768101 and so on; other rules are spread over 1770000 to 1869999.
_FAMILIES: Final = "wtrpvs"
_FIRST_ID: Final = 1_768_000
_OTHER_ID: Final = 1_770_000
_OTHER_IDS: Final = 100_000
_CATALOGUED: Final = re.compile(rf"([{_FAMILIES}])(\d\d)_")
_CATEGORY: Final = {
    "r": "Detection of a Network Scan",
    "p": "Generic Protocol Command Decode",
    "s": "Misc activity",
}
_POLICY: Final = "Potential Corporate Privacy Violation"
_TECHNIQUE: Final = re.compile(r"t\d{4}(\.\d{3})?$", re.IGNORECASE)


def write(path: Path, case: Case) -> None:
    """Write `eve.json`: flows in their order, then alerts, then stats.

    Raises
    ------
    OperatorError
        If the file cannot be written; nothing is then left under its name.
    """
    alerted = np.array(sorted({each.flow for incident in case.incidents for each in incident.evidence}), dtype=np.int64)
    with outfile(path) as file:
        for start in range(0, len(case.flows), ROWS):
            file.write(_flow_lines(case.flows.iloc[start : start + ROWS], alerted))
        for record in (*_alerts(case, alerted), _stats(case)):
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")


def signature_id(rule: str) -> int:
    """Return the id that a rule has for ever.

    Raises
    ------
    nothing
    """
    catalogued = _CATALOGUED.match(rule)
    if catalogued:
        return _FIRST_ID + 100 * _FAMILIES.index(catalogued[1]) + int(catalogued[2])
    return _OTHER_ID + zlib.crc32(rule.encode()) % _OTHER_IDS


def flow_ids(flows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return a number per flow, the same in every run: 1 .. 2^53, mixed from Community ID and start.

    Raises
    ------
    nothing
    """
    text = flows["community_id"].to_numpy(dtype=object).astype(f"S{_ID_BYTES}")
    words = np.frombuffer(text.tobytes(), dtype="<u8").reshape(len(flows), _ID_BYTES // 8)
    mixed = flows["start_ns"].to_numpy().astype(np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * _GOLDEN
        mixed ^= mixed >> np.uint64(32)
    return np.maximum((mixed >> np.uint64(64 - _ID_BITS)).astype(np.int64), 1)


def flow_lines(flows: pd.DataFrame, alerted: Iterable[int]) -> memoryview:
    """Return a line per flow; `alerted` are the numbers of flows that an incident is about.

    Raises
    ------
    nothing
    """
    return _flow_lines(flows, np.array(sorted(alerted), dtype=np.int64))


def alert_record(incident: Incident, activity: pd.DataFrame) -> dict[str, Any]:
    """Return an incident's record from the rows at hand, where the case is not known yet.

    Parameters
    ----------
    incident
        As it is now.
    activity
        Columns of ActivityFrame and JudgedFrame; a flow of the incident is described by its rows here, if it has any.

    Raises
    ------
    nothing
    """
    proofs = [each.flow for each in incident.evidence]
    rows = activity[activity["flow"].isin(proofs)]
    judged = set(rows["schedule"].astype(str))
    first = next((flow for flow in proofs if flow in set(rows["flow"])), None)
    described: tuple[dict[str, Any], int] | None = None
    if first is not None:
        mine = rows[rows["flow"] == first]
        flow = mine.iloc[[-1]].assign(start_ns=mine["flow_start_ns"])
        sums = mine[["orig_packets", "resp_packets", "orig_bytes", "resp_bytes"]].sum()
        told = {str(name): value for name, value in (flow.to_dict("records")[0] | sums.to_dict()).items()}
        described = (told, int(flow_ids(flow)[0]))
    record = _alert(incident, described, [state for state in SCHEDULES if state in judged])
    record["alert"]["metadata"]["state"] = [incident.state]
    return record


def statistics_line(at_ns: int, facts: dict[str, Any]) -> bytes:
    """Return a line of statistics.

    Raises
    ------
    nothing
    """
    record = {"timestamp": _time(at_ns), "event_type": "stats", "stats": facts}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _flow_lines(flows: pd.DataFrame, alerted: npt.NDArray[np.int64]) -> memoryview:
    """Return one line per flow, joined in C: constant pieces of JSON between columns of text."""
    start_ns, end_ns = flows["start_ns"].to_numpy(), flows["end_ns"].to_numpy()
    vlans = _text(flows["vlan"])
    tagged = pc.binary_join_element_wise('"vlan":[', vlans, "],", "")
    end = _times(end_ns)
    lines = pc.binary_join_element_wise(
        '{"timestamp":"', end,
        '","flow_id":', pc.cast(pa.array(flow_ids(flows)), pa.string()),
        ',"event_type":"flow",', pc.if_else(pc.equal(vlans, "0"), "", tagged),
        '"src_ip":"', _text(flows["orig_ip"]),
        '","src_port":', _text(flows["orig_port"]),
        ',"dest_ip":"', _text(flows["resp_ip"]),
        '","dest_port":', _text(flows["resp_port"]),
        ',"proto":"TCP","flow":{"pkts_toserver":', _text(flows["orig_packets"]),
        ',"pkts_toclient":', _text(flows["resp_packets"]),
        ',"bytes_toserver":', _text(flows["orig_bytes"]),
        ',"bytes_toclient":', _text(flows["resp_bytes"]),
        ',"start":"', _times(start_ns),
        '","end":"', end,
        '","age":', pc.cast(pa.array((end_ns - start_ns) // _NS), pa.string()),
        ',"state":"', _words(flows["conn_state"], {state: _STATES.get(state, "new") for state in CONN_STATES}),
        '","alerted":', pc.if_else(pa.array(np.isin(flows["flow"].to_numpy(), alerted)), "true", "false"),
        '},"community_id":"', _text(flows["community_id"]),
        '","app_proto":"', _words(flows["verdict"], {word: _APP_PROTO.get(word, word) for word in VERDICTS}),
        '"}\n',
        "",
    )  # fmt: skip
    # The lines of a string array lie one after the other in its data: they are the file.
    return memoryview(lines.buffers()[2])[: pc.sum(pc.binary_length(lines)).as_py()]


def _text(column: pd.Series[Any]) -> Any:
    made = pa.array(column, from_pandas=True).cast(pa.string())
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


def _times(at_ns: npt.NDArray[np.int64]) -> Any:
    microseconds = pa.array(at_ns // 1000, type=pa.timestamp("us"))
    text = pc.binary_replace_slice(pc.cast(microseconds, pa.string()), 10, 11, "T")
    return pc.binary_join_element_wise(text, "+0000", "")


def _words(column: pd.Series[Any], meaning: dict[str, str]) -> Any:
    words = pa.array([meaning[word] for word in column.cat.categories], type=pa.string())
    return words.take(pa.array(column.cat.codes.to_numpy()))


def _alerts(case: Case, flows: npt.NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    named = case.flows[case.flows["flow"].isin(flows)]
    rows = dict(zip(named["flow"], zip(named.to_dict("records"), flow_ids(named).tolist(), strict=True), strict=True))
    seen = case.activity.loc[case.activity["flow"].isin(flows), ["flow", "schedule"]]
    states: dict[int, set[str]] = {}
    for flow, state in zip(seen["flow"], seen["schedule"], strict=True):
        states.setdefault(flow, set()).add(state)
    for incident in sorted(case.incidents, key=lambda each: (each.first_seen_ns, each.id)):
        proofs = [each.flow for each in incident.evidence]
        judged = {state for flow in proofs for state in states.get(flow, ())}
        first = next((rows[flow] for flow in proofs if flow in rows), None)
        yield _alert(incident, first, [state for state in SCHEDULES if state in judged])


def _alert(incident: Incident, first: tuple[dict[str, Any], int] | None, judged: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {"timestamp": _time(incident.first_seen_ns), "event_type": "alert"}
    if first:
        flow, number = first
        record["flow_id"] = number
        record |= {"vlan": [flow["vlan"]]} if flow["vlan"] else {}
        record |= _sides(flow) | {"proto": "TCP", "community_id": flow["community_id"]}
        record["app_proto"] = _APP_PROTO.get(flow["verdict"], flow["verdict"])
        record["direction"] = "to_server"
        record["flow"] = {
            "pkts_toserver": flow["orig_packets"],
            "pkts_toclient": flow["resp_packets"],
            "bytes_toserver": flow["orig_bytes"],
            "bytes_toclient": flow["resp_bytes"],
            "start": _time(flow["start_ns"]),
            **_sides(flow),
        }
    elif "orig_ip" in incident.subject and "resp_ip" in incident.subject:
        record |= {"src_ip": str(incident.subject["orig_ip"]), "dest_ip": str(incident.subject["resp_ip"])}
    record["alert"] = {
        "action": "allowed",
        "gid": 1,
        "signature_id": signature_id(incident.rule),
        "rev": 1,
        "signature": incident.title,
        "category": _CATEGORY.get(incident.rule[0], _POLICY) if _CATALOGUED.match(incident.rule) else _POLICY,
        "severity": _SEVERITY[incident.level],
        "metadata": _metadata(incident, judged),
    }
    return record


def _metadata(incident: Incident, judged: list[str]) -> dict[str, list[str]]:
    techniques = [found[0].upper() for tag in incident.attack if (found := _TECHNIQUE.search(tag))]
    made = {
        "incident": [incident.id],
        "rule": [incident.rule],
        "level": [incident.level],
        "site": [incident.site],
        "subject": [f"{key}={value}" for key, value in sorted(incident.subject.items())],
        "schedule": judged,
        "reason": [incident.reason],
        "confidence": [f"{incident.confidence:.2f}"],
        "flows": [str(incident.flows)],
        "payload_bytes": [str(incident.payload_bytes)],
        "last_seen": [_time(incident.last_seen_ns)],
        "mitre_technique_id": techniques,
    }
    return {key: values for key, values in made.items() if values}


def _sides(flow: dict[str, Any]) -> dict[str, Any]:
    return {
        "src_ip": flow["orig_ip"],
        "src_port": flow["orig_port"],
        "dest_ip": flow["resp_ip"],
        "dest_port": flow["resp_port"],
    }


def _stats(case: Case) -> dict[str, Any]:
    return {
        "timestamp": _time(case.last_packet_ns),
        "event_type": "stats",
        "stats": {
            "uptime": (case.last_packet_ns - case.first_packet_ns) // _NS,
            "capture": {"kernel_packets": case.packets, "kernel_drops": sum(each.drops for each in case.inputs)},
            "decoder": {"pkts": case.packets, "bytes": case.bytes, "tcp": case.packets_7680},
            "flow": {"total": len(case.flows), "tcp": len(case.flows)},
            "detect": {"alert": len(case.incidents)},
        },
    }


def _time(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, _NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+0000"

"""A sample capture to the texts of its golden folder.

A line holds the columns that are neither 0 nor empty, in the order of the schema. A long table is its first lines, and
a last one that holds all the others by their hash: so a change anywhere is seen, and a flood stays a small file.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor import incidents, pipeline
from sensor.flows import FlowTable
from sensor.inputs import Inputs
from sensor.messages import MessageReader
from sensor.reading import Options
from sensor.rules.load import load
from sensor.schema import VERDICTS, ActivityFrame, FlowFrame, Rows
from sensor.settings import load_policy
from tests.captures import ROOT, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pandas as pd

    from sensor.policy import Policy
    from sensor.rules.ruleset import RuleSet

HERE: Final = ROOT / "tests" / "golden"
LONG: Final = 200
SHOWN: Final = 50
# The units of the protocol, by the kind that a message has in our table.
KINDS: Final = {
    252: "handshake",
    250: "keep-alive",
    0: "choke",
    1: "unchoke",
    2: "interested",
    3: "not interested",
    4: "have",
    5: "bitfield",
    6: "request",
    7: "piece",
    8: "cancel",
    20: "extended",
}
TOLD: Final = KINDS | {251: "unknown", 253: "verdict", 254: "gap"}


def captures() -> list[Path]:
    """Return the sample captures; the week of the demo is too long to be read by anybody."""
    return sorted(path for path in SAMPLES.glob("*.pcap") if path.stem != "office-week")


@cache
def _rules() -> RuleSet:
    return load([ROOT / "rules"])


@cache
def _policy(name: str) -> Policy:
    return load_policy(SAMPLES / f"{name}.yaml")


def policy_of(capture: Path) -> str:
    """Return the name of the policy that a sample is judged by: the README's table says it of those of the annex."""
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[{capture.stem}\]\(\S+\) \|[^|]*\| ([a-z]+) \|", readme, re.MULTILINE)
    return row[1] if row else "office"


def tell(capture: Path) -> dict[str, str]:
    """Return the texts of a capture's golden folder by file name."""
    policy = policy_of(capture)
    case = pipeline.analyze([str(capture)], _policy(policy), _rules(), Options(any_port=True))
    messages = list(_messages(capture))
    seen = {message["kind"] for message in messages}
    found = {rule: count for rule, count in case.findings.items() if count}
    weird = {kind: count for kind, count in case.weird.items() if count}
    summary = [
        f"judged by {policy}.yaml",
        f"{case.packets} packets, {case.packets_7680} of them on TCP 7680, {case.payload_bytes} bytes of payload",
        f"{len(case.flows)} flows, {len(case.activity)} windows, {case.peers} peers, {case.swarms} swarms",
        kinds_seen(seen),
        *(f"findings of {rule}: {count}" for rule, count in sorted(found.items())),
        *(f"weird {kind}: {count}" for kind, count in sorted(weird.items())),
    ]
    return {
        "activity.jsonl": _lines(_records(case.activity, ActivityFrame.names())),
        "flows.jsonl": _lines(_records(case.flows, FlowFrame.names())),
        "incidents.json": json.dumps(incidents.as_json(case.incidents, {}), indent=2, ensure_ascii=False) + "\n",
        "messages.jsonl": _lines(messages),
        "summary.txt": "\n".join(summary) + "\n",
    }


def kinds_seen(seen: Iterable[str]) -> str:
    """Say which units of the protocol there are."""
    known = [name for name in KINDS.values() if name in set(seen)]
    return f"{len(known)} of {len(KINDS)} message kinds seen" + (f": {', '.join(known)}" if known else "")


def _messages(capture: Path) -> Iterator[dict[str, Any]]:
    table, reader = FlowTable(), MessageReader()
    heard = []
    for portion in Inputs([str(capture)], Options(any_port=True)).portions():
        packets = portion.ordered.packets
        heard.append(reader.push(packets, portion.ordered.data, table.push(packets)))
    heard.append(reader.settle(None))
    shakes = iter(np.concatenate([part.handshakes for part in heard]))
    for message in np.concatenate([part.messages for part in heard]):
        yield _message(message, shakes)


def _message(message: Rows, shakes: Iterator[Rows]) -> dict[str, Any]:
    told = {name: int(message[name]) for name in ("flow", "ts_ns")}
    told |= {"from": ("orig", "resp")[message["from_resp"]], "position": int(message["position"])}
    kind = TOLD[int(message["kind"])]
    told["kind"] = kind
    if kind == "handshake":
        shake = next(shakes)
        assert shake["flow"] == message["flow"], "handshakes come in the order of their messages"
        told |= {name: bytes(shake[name]).hex() for name in ("swarm_hash", "peer_id")}
        told |= {"reserved": f"{int(shake['reserved']):016x}", "suffix": int(shake["suffix"])}
    elif kind == "verdict":
        told["index"] = VERDICTS[message["index"]]
    else:
        told["index"] = int(message["index"])
    return told | {name: int(message[name]) for name in ("begin", "length")}


def _records(frame: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame[names].to_dict("records")]


def _lines(records: list[dict[str, Any]]) -> str:
    lines = [
        json.dumps({name: value for name, value in record.items() if value or name == "position"}, ensure_ascii=False)
        for record in records
    ]
    if len(lines) > LONG:
        rest = "\n".join(lines[SHOWN:]).encode()
        lines = [*lines[:SHOWN], json.dumps({"more": len(lines) - SHOWN, "sha256": hashlib.sha256(rest).hexdigest()})]
    return "".join(f"{line}\n" for line in lines)

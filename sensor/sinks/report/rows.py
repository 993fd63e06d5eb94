"""The flows as data that the page's script makes rows of: columns of numbers, and words said once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sensor import words
from sensor.sinks.report.facts import top_flows

if TYPE_CHECKING:
    import pandas as pd

    from sensor.schema import Case

SHOWN_FLOWS: Final = 10_000
_WORDS: Final = ("orig_ip", "resp_ip", "orig_site", "resp_site", "scope", "conn_state", "verdict", "swarm_hash")
_SHORT: Final = 16


def rows(case: Case) -> str:
    """Return a JSON object that can stand inside a script element: no `<` in it, whatever the network said.

    Raises
    ------
    nothing
    """
    named: dict[int, int] = {}
    for incident in case.incidents:
        for flow in {each.flow for each in incident.evidence}:
            named[flow] = named.get(flow, 0) + 1
    flows = top_flows(case.flows, set(named), SHOWN_FLOWS)
    columns: dict[str, Any] = {
        "id": [words.visible(each) for each in flows["community_id"]],
        # Milliseconds: what a script can hold exactly, and finer than anybody reads.
        "start": (flows["start_ns"] // 1_000_000).tolist(),
        "seconds": ((flows["end_ns"] - flows["start_ns"]) / 1e9).round(1).tolist(),
        "orig_port": flows["orig_port"].tolist(),
        "resp_port": flows["resp_port"].tolist(),
        "orig": flows["orig_payload_bytes"].tolist(),
        "resp": flows["resp_payload_bytes"].tolist(),
        "off": flows["off_window_payload_bytes"].tolist(),
        "incidents": [named.get(int(flow), 0) for flow in flows["flow"]],
        **{name: _once(flows[name]) for name in _WORDS},
    }
    made = json.dumps({"total": len(case.flows), "columns": columns}, separators=(",", ":"), ensure_ascii=True)
    return made.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _once(column: pd.Series[Any]) -> dict[str, Any]:
    said = column.astype(str)
    codes, known = said.factorize(sort=True)
    return {"words": [words.visible(str(each))[:64] for each in known], "at": codes.tolist()}

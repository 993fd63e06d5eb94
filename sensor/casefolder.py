"""Writes a case folder: every file whole or not at all, the same bytes for the same case.

Evidence comes first, because incidents name it; the manifest comes last, because it names everything.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sensor import incidents
from sensor.outfile import outfile
from sensor.schedule import Schedules
from sensor.sinks import eve, evidence, manifest, parquet, summary
from sensor.sinks.report import page
from sensor.sinks.report.marks import Beside
from sensor.sources.files import Found, frames_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sensor.schedule import Slots
    from sensor.schema import Case

# The page shows whole local days; no place is further from UTC, or its days longer, than this.
_MARGIN_NS: Final = 50 * 3_600 * 1_000_000_000


def write(case: Case, folder: Path, command: Sequence[str], run_at: str) -> None:
    """Write all files of a case.

    Parameters
    ----------
    command, run_at : sequence of str, str
        What was called and when; they stand in the manifest's one key that two runs do not share.

    Raises
    ------
    OperatorError
        If the folder cannot be written to, or is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("evidence/*.pcap*"):
        old.unlink()
    found = _evidence(case)
    proofs = evidence.write(folder, case.incidents, lambda source, offset: found[source].get(offset))
    parquet.write_flows(folder / "flows.parquet", case.flows)
    parquet.write_activity(folder / "activity.parquet", case.activity)
    _json(folder / "incidents.json", incidents.as_json(case.incidents, proofs))
    _json(folder / "summary.json", summary.as_json(case))
    eve.write(folder / "eve.json", case)
    page.write(folder / "report.html", case, Beside(_slots(case), {key: proof.file for key, proof in proofs.items()}))
    outputs = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    _json(folder / "manifest.json", manifest.as_json(case, folder, outputs, command, run_at))


def _slots(case: Case) -> dict[str, Slots]:
    """Return when each site of the policy was open, on every day that the capture touches."""
    start_ns, end_ns = case.first_packet_ns - _MARGIN_NS, case.last_packet_ns + _MARGIN_NS
    schedules = Schedules(case.policy, start_ns, end_ns)
    return {site.name: schedules.slots(site.name, start_ns, end_ns) for site in case.policy.sites}


def _evidence(case: Case) -> dict[int, dict[int, Found]]:
    """Read the packets that incidents name, each input once."""
    wanted: dict[int, set[int]] = defaultdict(set)
    for incident in case.incidents:
        for proof in incident.evidence:
            wanted[proof.input].add(proof.offset)
    return {source: frames_at(case.inputs[source].name, offsets) for source, offsets in wanted.items()}


def _json(path: Path, content: Any) -> None:
    with outfile(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

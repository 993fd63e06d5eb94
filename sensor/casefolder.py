"""Writes a case folder: every file whole or not at all, the same bytes for the same case.

Evidence comes first, because incidents name it; the manifest comes last, because it names everything.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sensor import incidents, keeping
from sensor.outfile import outfile, outfolder
from sensor.proofs import Proofs
from sensor.schedule import Schedules
from sensor.schema import PLACES, JudgedFlowFrame, JudgedFrame, NameFrame, OfferFrame, SwarmEdgeFrame, SwarmFrame
from sensor.sinks import eve, evidence, manifest, parquet, summary
from sensor.sinks.report import page
from sensor.sinks.report.marks import Beside

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
    outfolder(folder)
    # A folder is a case by its manifest: while files are replaced it is none.
    (folder / manifest.FILE).unlink(missing_ok=True)
    for old in folder.glob("evidence/*.pcap*"):
        old.unlink()
    proofs = evidence.write(folder, case.incidents, Proofs(case).of)
    parquet.side_by_side(
        partial(parquet.write_flows, folder / "flows.parquet", case.flows),
        partial(parquet.write_activity, folder / "activity.parquet", case.activity),
        partial(parquet.write, folder / "judged_flows.parquet", case.flows, JudgedFlowFrame, PLACES),
        partial(parquet.write, folder / "judged.parquet", case.activity, JudgedFrame, PLACES),
    )
    if case.swarm_peers is not None and case.swarm_edges is not None:
        parquet.write(folder / "swarms.parquet", case.swarm_peers, SwarmFrame)
        parquet.write(folder / "swarm_edges.parquet", case.swarm_edges, SwarmEdgeFrame)
    if case.offers is not None:
        parquet.write(folder / "offers.parquet", case.offers, OfferFrame)
    if case.names is not None:
        parquet.write(folder / "names.parquet", case.names, NameFrame)
    _json(folder / "incidents.json", incidents.as_json(case.incidents, proofs))
    _json(folder / "summary.json", summary.as_json(case))
    eve.write(folder / "eve.json", case)
    page.write(folder / "report.html", case, Beside(_slots(case), {key: proof.file for key, proof in proofs.items()}))
    outputs = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] != keeping.FOLDER)
    _json(folder / manifest.FILE, manifest.as_json(case, folder, outputs, command, run_at))


def _slots(case: Case) -> dict[str, Slots]:
    """Return when each site of the policy was open, on every day that the capture touches."""
    start_ns, end_ns = case.first_packet_ns - _MARGIN_NS, case.last_packet_ns + _MARGIN_NS
    schedules = Schedules(case.policy, start_ns, end_ns)
    return {site.name: schedules.slots(site.name, start_ns, end_ns) for site in case.policy.sites}


def _json(path: Path, content: Any) -> None:
    with outfile(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

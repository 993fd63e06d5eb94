"""Sample captures as files: each with a page that says what it holds, and the office's policy beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from sensor.samples import annex, office
from sensor.samples.files import UNCUT
from sensor.samples.stack import SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from sensor.samples.office import Story
    from sensor.samples.truth import FlowTruth, Truth

COMMAND: Final = "python -m sensor.samples pcaps"
FLOWS_SHOWN: Final = 16

POLICY: Final = """\
# The sample office: the policy that the captures beside this file are judged by.
version: 1

time_intervals:
  - name: first-days             # the night of Patch Tuesday and the two after it: 20:00 to 06:00
    patch_tuesday: {days: '0:2', start: '20:00', hours: 10}
  - name: nightly                # a slot over midnight is two: Alertmanager's times do not wrap
    time_intervals:
      - times: [{start_time: '22:00', end_time: '24:00'}, {start_time: '00:00', end_time: '05:00'}]
  - name: weekend-early
    time_intervals:
      - weekdays: ['saturday', 'sunday']
        times: [{start_time: '01:00', end_time: '05:00'}]
  - name: half-year-accounts     # nothing moves while the books are closed
    time_intervals:
      - {months: ['june'], days_of_month: ['-2:-1']}

sites:
  - name: hq
    subnets: [10.1.0.0/16, '2001:db8:1::/48']
    timezone: Europe/Berlin
    peering: scheduled
    update_windows: [first-days]
    exclude: [half-year-accounts]
    grace: {before: 0m, after: 5m}
    peers: same_site
    limits: {hourly: 50GB, daily: 200GB}
  - name: servers
    subnets: [10.1.250.0/24]
    timezone: Europe/Berlin
    peering: scheduled
    update_windows: [weekend-early]
    peers: same_subnet
  - name: branch
    subnets: [10.2.0.0/16]
    timezone: America/Chicago
    peering: scheduled
    update_windows: [nightly]
    peers: same_site
    limits: {hourly: 5GB, daily: 20GB}
  - name: cash-desks
    subnets: [10.9.0.0/24]
    timezone: Europe/Berlin
    peering: disabled

exceptions:
  - id: CHG-4711
    owner: nora@example.org
    reason: imaging bench
    expires: 2026-12-01
    match: {subnets: [10.1.40.0/24]}
    allow: [off_window]

capture:
  local: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 'fc00::/7', 'fe80::/10', '2001:db8:1::/48']
"""

_ABOUT: Final = f"""\
# Sample captures

A small office in the week of Patch Tuesday, 8 to 14 June 2026, built by `sensor/samples/` and by nothing else: no real
host, no real traffic. `{COMMAND}` writes every file here again, byte for byte.
`office.yaml` is the policy that the expected findings are meant under.

| site | addresses | clock | peering |
|---|---|---|---|
| hq | 10.1.0.0/16, 2001:db8:1::/48 | Europe/Berlin | Patch Tuesday and two nights after, 20:00 to 06:00, 5 min grace |
| servers | 10.1.250.0/24 | Europe/Berlin | Saturday and Sunday 01:00 to 05:00, inside the subnet |
| branch | 10.2.0.0/16 | America/Chicago | every night 22:00 to 05:00 |
| cash-desks | 10.9.0.0/24 | Europe/Berlin | disabled |

## What is measured and what is assumed

Timing, TCP options, windows, IP identifications, delayed ACKs, the five SYNs to a silent peer, the refused peer, the
early closes, keep-alives and the bytes of handshake, bitfield, have and keep-alive imitate public captures of Windows
hosts. No public capture holds interested, unchoke, request or piece; here they are as reverse-engineering notes
describe them, and these are assumptions of ours:

* a request names a whole piece of 1 MiB (16 KiB blocks in the uncut samples), one to six requests at a time;
* the sender flushes after each message, so that a piece starts a segment. Only so do piece headers lie within the
  first {office.CUT} bytes of a frame, where the cut samples keep them. In the uncut samples messages share segments;
* in the cut samples the sensor's network card had joined segments (generic receive offload): frames of up to 64 KiB.

Piece data is one constant byte. Checksums are right, also where the capture is cut.

## The captures

| file | what | packets | flows | expected findings |
|---|---|---|---|---|
"""

_ANNEX: Final = """
## The annex

Rarer sins, one small capture each, in `annex.yaml` (sites that may peer at any time, with an inventory in `annex.csv`)
and `weekly.yaml` (laboratories with one slot a week); and near misses, on which a rule must be silent for one reason
each. They are not part of the office's week.

| file | what | policy | packets | flows | expected findings |
|---|---|---|---|---|---|
"""


def write_all(folder: Path) -> tuple[Path, ...]:
    """Write every capture, its page, the policy and the overview; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    rows = []
    for story in office.STORIES.values():
        data, truth = office.build(story.name), office.truth(story.name)
        written += [
            _put(folder / f"{story.name}.pcap", data),
            _put(folder / f"{story.name}.md", page(story, data, truth)),
        ]
        rules = ", ".join(dict.fromkeys(f"`{finding.rule}`" for finding in story.findings)) or "none"
        link = f"[{story.name}]({story.name}.md)"
        rows.append(f"| {link} | {story.title} | {truth.packets:,} | {len(truth.flows)} | {rules} |\n")
    rows.append(_ANNEX)
    for piece in annex.PIECES.values():
        story, data, truth = piece.story, annex.build(piece.story.name), annex.truth(piece.story.name)
        written += [
            _put(folder / f"{story.name}.pcap", data),
            _put(folder / f"{story.name}.md", page(story, data, truth)),
        ]
        rules = ", ".join(dict.fromkeys(f"`{finding.rule}`" for finding in story.findings)) or "none"
        link = f"[{story.name}]({story.name}.md)"
        rows.append(f"| {link} | {story.title} | {piece.policy} | {truth.packets:,} | {len(truth.flows)} | {rules} |\n")
    written += [
        _put(folder / "annex.yaml", annex.POLICY),
        _put(folder / "annex.csv", annex.INVENTORY),
        _put(folder / "weekly.yaml", annex.WEEKLY),
    ]
    written.append(_put(folder / "office.yaml", POLICY))
    written.append(_put(folder / "README.md", _ABOUT + "".join(rows)))
    return tuple(written)


def write_office(folder: Path) -> tuple[Path, Path]:
    """Write the whole week's capture and the office's policy; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    capture = _put(folder / f"{office.WEEK}.pcap", office.build(office.WEEK))
    return capture, _put(folder / "office.yaml", POLICY)


def page(story: Story, data: bytes, truth: Truth) -> str:
    """Return the Markdown page of one capture."""
    return "\n".join(
        (
            f"# {story.name}: {story.title}",
            "",
            story.holds,
            "",
            *_facts(story, data, truth),
            "",
            "## Expected findings",
            "",
            *([f"* {_finding(finding.rule, finding.subject)}" for finding in story.findings] or ["None."]),
            "",
            "## Addresses",
            "",
            *_addresses(truth),
            *(["", "## Flows", "", *_flows(truth)] if len(truth.flows) <= FLOWS_SHOWN else []),
            "",
        )
    )


def _put(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _facts(story: Story, data: bytes, truth: Truth) -> list[str]:
    shape = story.shape
    first, last = min(f.start_ns for f in truth.flows), max(f.end_ns for f in truth.flows)
    off = ", ".join(f"{site} {count:,}" for site, count in truth.off_window_payload_bytes.items()) or "0"
    facts = {
        "made by": f"`{COMMAND}`",
        "file": f"{shape.kind}, {'nano' if shape.nanos else 'micro'}seconds, "
        f"{'big' if shape.big_endian else 'little'}-endian, " + _cut(story),
        "SHA-256": f"`{sha256(data).hexdigest()}`",
        "packets": f"{truth.packets:,}",
        "flows": f"{len(truth.flows):,}",
        "from, to": f"{_instant(first)}, {_instant(last)} UTC",
        "IP bytes": f"{truth.bytes:,}",
        "unique TCP payload": f"{truth.payload_bytes:,} bytes",
        "payload off the schedule": f"{off} bytes",
    }
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]


def _cut(story: Story) -> str:
    if story.name == office.WEEK:
        return "frames cut as in each sample"
    return "uncut" if story.shape.snaplen == UNCUT else f"frames cut to {story.shape.snaplen} bytes"


def _finding(rule: str, subject: tuple[tuple[str, str], ...]) -> str:
    return f"`{rule}`: " + ", ".join(f"{key} `{value}`" for key, value in subject)


def _addresses(truth: Truth) -> list[str]:
    sites: dict[str, set[str]] = {}
    for flow in truth.flows:
        sites.setdefault(flow.orig_site, set()).add(flow.orig_ip)
        sites.setdefault(flow.resp_site, set()).add(flow.resp_ip)
    return [
        f"* {site}: " + (", ".join(sorted(ips, key=_order)) if len(ips) <= FLOWS_SHOWN else f"{len(ips)} addresses")
        for site, ips in sorted(sites.items())
    ]


def _order(ip: str) -> tuple[int, int]:
    address = ip_address(ip)
    return address.version, int(address)


def _flows(truth: Truth) -> list[str]:
    head = "| start (UTC) | originator | responder | state | verdict | payload | pieces | off the schedule |"
    return [head, "|---|---|---|---|---|---|---|---|", *map(_flow, truth.flows)]


def _flow(flow: FlowTruth) -> str:
    ends = f"{_end(flow.orig_ip, flow.orig_port)} | {_end(flow.resp_ip, flow.resp_port)}"
    payload = f"{flow.orig_payload_bytes:,} + {flow.resp_payload_bytes:,}"
    pieces, off = f"{flow.orig_pieces} + {flow.resp_pieces}", f"{flow.off_window_payload_bytes:,}"
    return f"| {_instant(flow.start_ns)} | {ends} | {flow.conn_state} | {flow.verdict} | {payload} | {pieces} | {off} |"


def _end(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _instant(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // SECOND, UTC):%Y-%m-%d %H:%M:%S}"

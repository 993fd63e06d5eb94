"""Threads the beads: sources → decode → order → flows → messages → activity → judge → incidents.

The only file that knows the order. What it gives depends on packets and their times alone, not on how they arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from sensor.activity import Activity, Judged
from sensor.decode import Decoder
from sensor.dissect import slow_lane
from sensor.enrich import Policing
from sensor.errors import Damage, Mistake, OperatorError
from sensor.exemptions import Exemptions
from sensor.flows import FlowOptions, FlowTable
from sensor.incidents import Incidents, Traits
from sensor.messages import MessageReader
from sensor.order import Order, Ordered
from sensor.rules.judge import Judge
from sensor.schedule import Schedules
from sensor.schema import WEIRDS, Batch, Case, Input, Rows
from sensor.sites import Sites
from sensor.sources.files import Reader, sha256
from sensor.wire import DO_PORT

if TYPE_CHECKING:
    from sensor.policy import Policy
    from sensor.rules.ruleset import RuleSet
    from sensor.schema import Incident

_SECOND_NS: Final = 1_000_000_000
# Rows are handed to pandas in portions of about this many windows: few enough to stay small, enough to be worth it.
_PORTION: Final = 200_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is done; nothing here is policy."""

    flows: FlowOptions = field(default_factory=FlowOptions)
    reorder_ms: int = 50
    port: int = DO_PORT
    hashes: bool = False
    since_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What came out of one portion: judged rows, findings, and the incidents that changed."""

    judged: Judged
    findings: pd.DataFrame
    changed: tuple[Incident, ...]
    until_ns: int


class Pipeline:
    """Packets in time order to frames, findings and incidents."""

    def __init__(self, policy: Policy, ruleset: RuleSet, options: Options, start_ns: int) -> None:
        self.policy, self.ruleset, self.options = policy, ruleset, options
        self.flows = FlowTable(options.flows)
        self.messages = MessageReader()
        self.sites = Sites(policy)
        self.schedules = Schedules(policy, start_ns, start_ns)
        policing = Policing(policy, self.sites, self.schedules, Exemptions(policy))
        self.activity = Activity(policing, options.flows.window_s)
        self.judge = Judge(ruleset)
        self.incidents = Incidents({rule.name: Traits(rule.quiet_ns, rule.attack) for rule in ruleset.rules})
        self.packets = 0
        self.weird = np.zeros(len(WEIRDS), dtype=np.int64)
        self.first_ns = 0
        self.last_ns = 0
        self._messages: list[Rows] = []
        self._handshakes: list[Rows] = []

    def push(self, ordered: Ordered) -> None:
        """Take packets in time order."""
        packets = ordered.packets
        if not len(packets):
            return
        tracks = self.flows.push(packets)
        heard = self.messages.push(packets, ordered.data, tracks)
        if len(heard.messages):
            self._messages.append(heard.messages)
        if len(heard.handshakes):
            self._handshakes.append(heard.handshakes)
        if not self.packets:
            self.first_ns = int(packets["ts_ns"][0])
        self.packets += len(packets)
        self.last_ns = max(self.last_ns, int(packets["ts_ns"][-1]))
        odd = packets["weird"][packets["weird"] != 0]
        for at in range(len(WEIRDS)):
            self.weird[at] += int(np.count_nonzero(odd & (1 << at)))

    @property
    def is_due(self) -> bool:
        """Whether enough has gathered for a portion."""
        return self.flows.waiting >= _PORTION or sum(map(len, self._messages)) >= _PORTION

    def advance(self, watermark_ns: int | None) -> Step:
        """Close the windows that ended by the watermark (None: everything has come) and judge them."""
        window_ns = self.flows.window_ns
        until_ns = None if watermark_ns is None else watermark_ns // window_ns * window_ns
        self.flows.sweep(until_ns if until_ns is not None else self.last_ns, everything=until_ns is None)
        windows, endings = self.flows.take()
        messages, self._messages = self._messages, []
        handshakes, self._handshakes = self._handshakes, []
        judged = self.activity.push(windows, endings, messages, handshakes, until_ns)
        closed_ns = until_ns if until_ns is not None else self.last_ns // window_ns * window_ns + window_ns
        findings = self.judge.push(judged.activity, closed_ns)
        changed = self.incidents.push(findings)
        changed += self.incidents.flush(self.last_ns if until_ns is None else until_ns)
        return Step(judged, findings, tuple(changed), closed_ns)


class Inputs:
    """Capture files, read side by side and merged by time."""

    def __init__(self, names: Sequence[str], options: Options, progress: Progress | None = None) -> None:
        self.decoder = Decoder(options.port, slow_lane)
        self.readers: list[Reader] = []
        self.unreadable: list[Mistake] = []
        self.packets = 0
        self._options = options
        self._progress = progress
        self._names = _in_time_order(names, self.unreadable) if len(names) > 1 else [(0, name) for name in names]

    def ordered(self) -> Iterator[tuple[Ordered, int]]:
        """Yield packets in time order, each with the time that all inputs have passed.

        Raises
        ------
        OperatorError
            If nothing could be read at all.
        """
        order = Order(self._options.reorder_ms * 1_000_000)
        with ExitStack() as stack:
            fronts: dict[int, int] = {at: first_ns for at, (first_ns, _) in enumerate(self._names)}
            batches: dict[int, Iterator[Batch]] = {}
            opened: dict[int, Reader] = {}
            while fronts:
                at = min(fronts, key=lambda index: (fronts[index], index))
                if at not in batches:
                    try:
                        reader = stack.enter_context(Reader(self._names[at][1], at))
                    except OperatorError as error:
                        self.unreadable.extend(error.mistakes)
                        del fronts[at]
                        continue
                    opened[at], batches[at] = reader, reader.batches()
                    self.readers.append(reader)
                batch = next(batches[at], None)
                if batch is None:
                    del fronts[at], batches[at]
                    opened.pop(at).__exit__()
                else:
                    fronts[at] = max(fronts[at], int(batch.frames["ts_ns"].max()))
                    order.push(self._chosen(self.decoder.push(batch)), batch.data)
                    self._report(batch)
                watermark = min(fronts.values()) if fronts else None
                for ordered in order.release(watermark):
                    yield ordered, ordered.packets["ts_ns"][-1] if watermark is None else watermark - order.horizon_ns
        if not self.readers:
            raise OperatorError(*self.unreadable)

    def _chosen(self, packets: Rows) -> Rows:
        """Keep what `since_ns` and `until_ns` select."""
        since, until = self._options.since_ns, self._options.until_ns
        if since is not None:
            packets = packets[packets["ts_ns"] >= since]
        if until is not None:
            packets = packets[packets["ts_ns"] < until]
        return packets

    def _report(self, batch: Batch) -> None:
        self.packets += len(batch.frames)
        if self._progress is not None:
            total = sum(reader.facts.size_bytes for reader in self.readers)
            done = sum(reader.facts.bytes + 16 * reader.facts.packets for reader in self.readers)
            self._progress(min(done, total), total)


def analyze(
    names: Sequence[str],
    policy: Policy,
    ruleset: RuleSet,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Case:
    """Analyze captures and return the case.

    Parameters
    ----------
    names : sequence of str
        Capture files; `-` is stdin. See `sources.files.find` for directories and globs.

    Raises
    ------
    OperatorError
        If none of them can be read. Where some can, those that cannot are inputs of the case with their damage.
    """
    options = options or Options()
    inputs = Inputs(names, options, progress)
    pipeline: Pipeline | None = None
    steps: list[Step] = []
    for ordered, watermark_ns in inputs.ordered():
        if pipeline is None:
            pipeline = Pipeline(policy, ruleset, options, int(ordered.packets["ts_ns"][0]))
        pipeline.push(ordered)
        if pipeline.is_due:
            steps.append(pipeline.advance(watermark_ns))
    if pipeline is None:
        pipeline = Pipeline(policy, ruleset, options, 0)
    steps.append(pipeline.advance(None))
    return _case(inputs, pipeline, steps)


def _case(inputs: Inputs, pipeline: Pipeline, steps: Sequence[Step]) -> Case:
    flows = _concat([step.judged.flows for step in steps])
    flows = flows.sort_values(["start_ns", "community_id", "flow"], kind="stable", ignore_index=True)
    activity = _concat([step.judged.activity for step in steps])
    activity = activity.sort_values(["window_start_ns", "community_id", "flow"], kind="stable", ignore_index=True)
    findings = dict.fromkeys(pipeline.ruleset.names(), 0)
    for step in steps:
        for rule, count in step.findings["rule"].value_counts().items():
            findings[str(rule)] += int(count)
    read = [reader.summary(_sha(reader) if pipeline.options.hashes else "") for reader in inputs.readers]
    refused = [_refused(mistake) for mistake in inputs.unreadable]
    weird = pipeline.weird + pipeline.messages.weird + inputs.decoder.weird
    weird[WEIRDS.index("time_backwards")] += pipeline.flows.late
    off = activity.groupby("site", observed=False)["off_window_payload_bytes"].sum()
    active = (flows["orig_payload_bytes"] > 0, flows["resp_packets"] > 0)
    peers = pd.concat([flows["orig_ip"][active[0]], flows["resp_ip"][active[1]]]).nunique()
    with_packets = [facts for facts in read if facts.packets]
    return Case(
        inputs=(*read, *refused),
        policy=pipeline.policy,
        rules=pipeline.ruleset.files,
        packets=sum(facts.packets for facts in read),
        packets_7680=pipeline.packets,
        bytes=sum(facts.bytes for facts in read),
        payload_bytes=int(activity["payload_bytes"].sum()),
        first_packet_ns=min((facts.first_packet_ns for facts in with_packets), default=0),
        last_packet_ns=max((facts.last_packet_ns for facts in with_packets), default=0),
        peers=int(peers),
        swarms=int(flows["swarm_hash"][flows["swarm_hash"] != ""].nunique()),
        flows=flows,
        activity=activity,
        findings=findings,
        incidents=pipeline.incidents.all(),
        weird={name: int(count) for name, count in zip(WEIRDS, weird, strict=True)},
        off_window_payload_bytes={str(site): int(volume) for site, volume in off.items()},
    )


def _concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[-1]


def _sha(reader: Reader) -> str:
    return "" if reader.name == "stdin" else sha256(reader.name)


def _refused(mistake: Mistake) -> Input:
    """Return an input of which nothing could be read."""
    return Input(
        name=mistake.where,
        size_bytes=0,
        sha256="",
        format="",
        packets=0,
        bytes=0,
        first_packet_ns=0,
        last_packet_ns=0,
        link_types=(),
        drops=0,
        damage=str(Damage(mistake.where, 0, 0, mistake.read)),
    )


def _in_time_order(names: Sequence[str], unreadable: list[Mistake]) -> list[tuple[int, str]]:
    """Return readable inputs with the time of their first packets, earliest first; their numbers follow this order."""
    found = []
    for name in names:
        if name == "-":
            found.append((0, name))
            continue
        try:
            with Reader(name, 0) as reader:
                batch = next(reader.batches(), None)
                times = batch.frames["ts_ns"] if batch is not None else np.zeros(1, dtype=np.int64)
                found.append((int(times.min()), int(times[-1]), name))
                del batch, times
        except OperatorError as error:
            unreadable.extend(error.mistakes)
    return [(entry[0], entry[-1]) for entry in sorted(found, key=lambda entry: (entry[0], entry[1:]))]  # type: ignore[misc]

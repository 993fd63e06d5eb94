"""Threads the beads: sources → decode → order → flows → messages → activity → judge → incidents.

The only file that knows the order. What it gives depends on packets and their times alone, not on how they arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from sensor.activity import Activity, Judged
from sensor.columns import drain
from sensor.enrich import Policing
from sensor.exemptions import Exemptions
from sensor.following import Following, Part
from sensor.incidents import Incidents, Traits
from sensor.inputs import Inputs, Progress
from sensor.reading import Options
from sensor.rules.judge import Judge
from sensor.schedule import Schedules
from sensor.schema import WEIRDS, Case, NameFrame
from sensor.sites import Sites
from sensor.spans import Spans
from sensor.swarms import Ledger
from sensor.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensor.order import Ordered
    from sensor.policy import Policy
    from sensor.rules.ruleset import RuleSet
    from sensor.schema import Incident, Table

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """What came out of one portion: judged rows, findings, and the incidents that changed."""

    judged: Judged
    findings: pd.DataFrame
    changed: tuple[Incident, ...]
    until_ns: int


class Pipeline:
    """Packets in time order to frames, findings and incidents."""

    def __init__(
        self, policy: Policy, ruleset: RuleSet, options: Options, start_ns: int, following: Following | None = None
    ) -> None:
        self.policy, self.ruleset, self.options = policy, ruleset, options
        self.following = following or Following(options.flows)
        self.loss = 0.0
        """Share of the packets that were lost lately, 0 to 1; it lowers the confidence of what is found."""
        policing = self._police(policy, start_ns)
        self.activity = Activity(policing, options.flows.window_s, options.flows.closed_s, options.flows.idle_s)
        self.ledger = Ledger(self.sites.names, options.flows.window_s)
        self.judge = Judge(ruleset)
        self.spans = Spans(policy, self.schedules)
        self.incidents = Incidents(traits(ruleset))
        self._window_ns = options.flows.window_s * _SECOND_NS
        self._last_ns = 0
        self._judged_ns = 0

    def adopt(self, policy: Policy, ruleset: RuleSet) -> None:
        """Judge by another policy and other rules from the next window on; flows, incidents and sums go on."""
        self.policy, self.ruleset = policy, ruleset
        self.activity.adopt(self._police(policy, self._last_ns))
        self.ledger.adopt(self.sites.names)
        self.judge.adopt(ruleset)
        self.spans.adopt(policy, self.schedules)
        self.incidents.adopt(traits(ruleset))

    def remember(self) -> dict[str, Any]:
        """Return what a later run needs to judge as if there had been none between; flows begin anew.

        Raises
        ------
        nothing
        """
        return {
            "seen_ns": self._judged_ns,
            "judge": self.judge.remember(),
            "spans": self.spans.remember(),
            "incidents": self.incidents.remember(),
        }

    def recall(self, known: dict[str, Any], start_ns: int) -> None:
        """Go on from what `remember` gave, before the first packet of `start_ns`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not of that form.
        """
        self.judge.recall(known["judge"])
        self.spans.recall(known["spans"], int(known["seen_ns"]), start_ns)
        self.incidents.recall(known["incidents"])

    def push(self, ordered: Ordered) -> None:
        """Take packets in time order."""
        self.following.push(ordered)

    @property
    def is_due(self) -> bool:
        """Whether enough has gathered for a portion."""
        return self.following.is_due

    def advance(self, watermark_ns: int | None) -> Step:
        """Close the windows that ended by the watermark (None: everything has come) and judge them."""
        return self.judged([self.following.take(self._edge(watermark_ns))], watermark_ns)

    def judged(self, parts: Sequence[Part], watermark_ns: int | None) -> Step:
        """Judge the windows that ended by the watermark, from parts that were followed anywhere.

        Parameters
        ----------
        parts
            All there is of windows that ended by the watermark; what they hold of later ones waits.
        watermark_ns : int or None
            The time that all of them have passed; None: everything has come.
        """
        until_ns = self._edge(watermark_ns)
        self._last_ns = max([self._last_ns, *(part.last_ns for part in parts)])
        windows, endings = [part.windows for part in parts], [part.endings for part in parts]
        messages = [rows for part in parts for rows in part.messages]
        handshakes = [rows for part in parts for rows in part.handshakes]
        del parts  # what is judged is not kept beside it: of a flood it is much
        judged = self.activity.push(windows, endings, messages, handshakes, until_ns)
        self.ledger.push(judged.activity, judged.flows, messages, handshakes, until_ns)
        window_ns = self._window_ns
        closed_ns = until_ns if until_ns is not None else self._last_ns // window_ns * window_ns + window_ns
        others = {"flow": judged.flows, "span": self.spans.push(judged.activity, closed_ns, judged.flows)}
        findings = self.judge.push(judged.activity, closed_ns, others, last=until_ns is None)
        changed = self.incidents.push(findings, loss=self.loss, until_ns=until_ns)
        changed += self.incidents.flush(self._last_ns if until_ns is None else until_ns)
        self._judged_ns = closed_ns
        return Step(judged.told(), findings, tuple(changed), closed_ns)

    def _edge(self, watermark_ns: int | None) -> int | None:
        return None if watermark_ns is None else watermark_ns // self._window_ns * self._window_ns

    def _police(self, policy: Policy, start_ns: int) -> Policing:
        self.sites = Sites(policy)
        self.schedules = Schedules(policy, start_ns, start_ns)
        return Policing(policy, self.sites, self.schedules, Exemptions(policy))


def traits(ruleset: RuleSet) -> dict[str, Traits]:
    """Return what each rule says of its incidents."""
    return {
        rule.name: Traits(rule.quiet_ns, rule.attack, rule.unless, rule.wait_ns, rule.absence) for rule in ruleset.rules
    }


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
    return judge_all(Inputs(names, options or Options(), progress).start(), policy, ruleset)


def judge_all(inputs: Inputs, policy: Policy, ruleset: RuleSet, trail: Trail | None = None) -> Case:
    """Take all packets of inputs, judge them, and return the case.

    Parameters
    ----------
    trail : Trail, optional
        Of these inputs, if it was begun before.

    Raises
    ------
    OperatorError
        If none of the inputs can be read.
    """
    trail = trail or Trail(inputs).start()
    try:
        pipeline = Pipeline(policy, ruleset, inputs.options, trail.start_ns(), trail.following)
        steps = [pipeline.judged(_emptied(parts), until_ns) for parts, until_ns in trail.parts()]
        return _case(inputs, pipeline, steps)
    finally:
        trail.stop()
        del trail.following  # the case is written next, and needs the room


def _emptied(parts: list[Part]) -> list[Part]:
    """Return what is in a list, which keeps nothing of it: whoever judges it can let it go."""
    taken = parts[:]
    parts.clear()
    return taken


def _case(inputs: Inputs, pipeline: Pipeline, steps: list[Step]) -> Case:
    findings = dict.fromkeys(pipeline.ruleset.names(), 0)
    for step in steps:
        for rule, count in step.findings["rule"].value_counts().items():
            findings[str(rule)] += int(count)
    windows, ended = [step.judged.activity for step in steps], [step.judged.flows for step in steps]
    steps.clear()  # each table is joined without the parts beside it
    flows = _by_start(drain(ended))
    activity = _in_order(drain(windows), "window_start_ns")
    read = inputs.read()
    weird = pipeline.following.facts().weird + inputs.weird
    off = activity.groupby("site", observed=False)["off_window_payload_bytes"].sum()
    active = (flows["orig_payload_bytes"] > 0, flows["resp_packets"] > 0)
    peers = pd.concat([flows["orig_ip"][active[0]], flows["resp_ip"][active[1]]]).nunique()
    with_packets = [facts for facts in read if facts.packets]
    return Case(
        inputs=read,
        policy=pipeline.policy,
        rules=pipeline.ruleset.files,
        packets=sum(facts.packets for facts in read),
        packets_7680=pipeline.following.packets,
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
        swarm_peers=pipeline.ledger.peers(),
        swarm_edges=pipeline.ledger.edges(),
        offers=pipeline.ledger.offers(inputs.offers.rows()),
        names=_table(NameFrame, inputs.offers.names()),
        chosen=inputs.options.chosen,
    )


def _table(table: type[Table], rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    columns = zip(*rows, strict=True) if rows else ([] for _ in table.columns())
    pairs = zip(table.columns(), columns, strict=True)
    return pd.DataFrame({column.name: pd.Series(list(values), dtype=column.dtype) for column, values in pairs})


def _by_start(flows: pd.DataFrame) -> pd.DataFrame:
    """Sort flows by start and Community ID; the text is looked at only where starts are equal."""
    flows = _in_order(flows, "start_ns")
    start_ns = flows["start_ns"].to_numpy()
    same = start_ns[1:] == start_ns[:-1]
    tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    if len(tied):
        ranked = flows.iloc[tied].sort_values(["start_ns", "community_id", "flow"], kind="stable").index.to_numpy()
        order = np.arange(len(flows))
        order[tied] = ranked
        flows = flows.iloc[order].reset_index(drop=True)
    return flows


def _in_order(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sort a frame by a column and flow; mostly it is, and then nothing is copied."""
    one, flow = frame[column].to_numpy(), frame["flow"].to_numpy()
    if bool(((one[1:] > one[:-1]) | ((one[1:] == one[:-1]) & (flow[1:] >= flow[:-1]))).all()):
        return frame
    return frame.iloc[np.lexsort((flow, one))].reset_index(drop=True)

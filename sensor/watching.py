"""Runs the string with a moving clock: packets in, windows closed as time passes, numbers and incidents out.

Fed from captures, packet time is the clock, and moves on through silence as fast as the replay is asked to.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np

from sensor import serve, status, words
from sensor.errors import Exit
from sensor.inputs import Inputs, Options
from sensor.order import Ordered
from sensor.pipeline import Pipeline, Step
from sensor.schedule import NEVER_NS
from sensor.schema import WEIRDS, Incident
from sensor.sinks.metrics import Capture, Delivery, Tallies, registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from sensor.policy import Policy
    from sensor.rules.ruleset import RuleSet
    from sensor.schedule import SiteState

_SOURCE: Final = "replay"
_TERMINAL: Final = "terminal"
_TICK_S: Final = 0.25
_OPEN_STATES: Final = ("open", "ongoing")


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Where to serve, how fast to replay (0: as fast as it goes), how long to serve on after the end."""

    listen: str = "127.0.0.1:9768"
    speed: float = 1.0
    linger_s: float = 0.0


class Clock:
    """Event time that follows the wall: `speed` seconds of it pass in one second; speed 0 never waits."""

    def __init__(self, start_ns: int, speed: float) -> None:
        self._start_ns, self._speed = start_ns, speed
        self._began_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the event time that it is."""
        return self._start_ns + int((time.monotonic_ns() - self._began_ns) * self._speed)

    def wait_s(self, until_ns: int) -> float:
        """Return how many seconds there are until an event time."""
        return 0.0 if self._speed <= 0 else max(0.0, (until_ns - self.now_ns()) / self._speed / 1e9)


class Watch:
    """One run of the sensor: the pipeline, its tallies, and what is told to whom."""

    def __init__(self, policy: Policy, ruleset: RuleSet, out: TextIO) -> None:
        self._policy, self._ruleset, self._out = policy, ruleset, out
        self._options = Options()
        self._pipeline: Pipeline | None = None
        self._told: dict[str, str] = {}
        self._stop = False
        self._seen = Capture(up=True)
        self._active: Counter[tuple[str, str]] = Counter()
        self._incidents: dict[str, Incident] = {}
        self._lines = 0
        self._judged_ns: int | None = None
        self._zones = {site.name: site.timezone for site in policy.sites}
        self._states: tuple[SiteState, ...] = ()
        levels = {rule.name: rule.level for rule in ruleset.rules}
        self.tallies = Tallies(policy, levels, interfaces=(_SOURCE,), sinks=(_TERMINAL,))
        self.tallies.reloaded(success=True, at_ns=time.time_ns())

    def stop(self, *_: object) -> None:
        """Ask the run to end; what has come is still judged."""
        self._stop = True

    @property
    def is_stopping(self) -> bool:
        """Whether it has been asked to end."""
        return self._stop

    @property
    def is_ready(self) -> bool:
        """Whether packets are being followed."""
        return self._pipeline is not None

    def status(self) -> dict[str, Any]:
        """Return the state for `/status`."""
        return {
            "packets": self._seen.packets,
            "flows": self._pipeline.flows.living if self._pipeline else 0,
            "incidents": {
                state: sum(1 for incident in self._incidents.values() if incident.state == state)
                for state in (*_OPEN_STATES, "closed")
            },
            "judged_until": status.instant(self._judged_ns),
            "open_incidents": status.incidents(tuple(self._incidents.values()), self._zones),
            "sites": status.sites(self._states),
        }

    def replay(self, names: Sequence[str], speed: float) -> None:
        """Follow captures at a speed, until their end or `stop`."""
        inputs = Inputs(names, self._options)
        clock: Clock | None = None
        last_tick = time.monotonic()
        for portion in inputs.portions():
            for part in self._slices(portion.ordered):
                first_ns = int(part.packets["ts_ns"][0])
                if self._pipeline is None:
                    self._pipeline = Pipeline(self._policy, self._ruleset, self._options, first_ns)
                    clock = Clock(first_ns, speed)
                    self._tick(first_ns)
                assert clock is not None
                while not self._stop and (wait := clock.wait_s(first_ns)) > 0:
                    time.sleep(min(wait, _TICK_S))
                    self._tick(min(clock.now_ns(), first_ns))
                    last_tick = time.monotonic()
                if self._stop:
                    break
                self._pipeline.push(part)
                self._count(part)
                if self._pipeline.is_due or time.monotonic() - last_tick > _TICK_S:
                    self._tick(int(part.packets["ts_ns"][-1]))
                    last_tick = time.monotonic()
            if self._stop:
                break
            if speed <= 0:
                self._tick(portion.watermark_ns)
        if self._pipeline is not None:
            self._judge(self._pipeline.advance(None))

    def _slices(self, ordered: Ordered) -> Iterator[Ordered]:
        """Cut packets at the edges of windows, so that time can pass between them."""
        window_ns = self._options.flows.window_s * 1_000_000_000
        windows = ordered.packets["ts_ns"] // window_ns
        edges = np.flatnonzero(windows[1:] != windows[:-1]) + 1
        for start, end in zip([0, *edges], [*edges, len(windows)], strict=True):
            yield Ordered(ordered.packets[start:end], ordered.data)

    def _tick(self, now_ns: int) -> None:
        """Let time pass up to `now_ns`: close windows, judge them, and move every gauge."""
        assert self._pipeline is not None
        # A packet of this very instant may still come.
        self._judge(self._pipeline.advance(now_ns))
        self._states = tuple(self._pipeline.schedules.states(now_ns))
        for state in self._states:
            changes = None if state.next_ns == NEVER_NS else state.next_ns
            is_open = state.schedule in ("open", "allowed")
            self.tallies.set_schedule(state.site, is_open=is_open, next_change_ns=changes)

    def _judge(self, step: Step) -> None:
        assert self._pipeline is not None
        flows = self._pipeline.flows
        self.tallies.add(step.judged.activity, step.judged.flows, step.findings)
        self.tallies.set_flow_table(
            entries=flows.living, capacity=self._options.flows.capacity, evictions=flows.evicted
        )
        weird = self._pipeline.weird + self._pipeline.messages.weird
        self.tallies.set_weird({name: int(count) for name, count in zip(WEIRDS, weird, strict=True)})
        self.tallies.set_judged(step.until_ns)
        self._judged_ns = step.until_ns
        self.tallies.set_capture(_SOURCE, self._seen)
        for incident in step.changed:
            self._incidents[incident.id] = incident
            self._tell(incident)
        if step.changed:
            open_now = (i for i in self._incidents.values() if i.state in _OPEN_STATES)
            self.tallies.set_incidents(Counter((incident.site, incident.level) for incident in open_now))

    def _tell(self, incident: Incident) -> None:
        """Print an incident when it opens and when it closes, not while it goes on."""
        before = self._told.get(incident.id)
        if before is None or (incident.state == "closed" and before != "closed"):
            word = "closed" if incident.state == "closed" and before is not None else "opened"
            zone = next((site.timezone for site in self._policy.sites if site.name == incident.site), "UTC")
            line = f"{word} {incident.level} {incident.id}: {incident.title}; {words.when(incident, zone)}; {incident.reason}"
            self._out.write(words.visible(line) + "\n")
            self._out.flush()
            self._lines += 1
            self.tallies.set_sink(_TERMINAL, Delivery(deliveries=self._lines))
        self._told[incident.id] = incident.state

    def _count(self, part: Ordered) -> None:
        self._seen = Capture(
            packets=self._seen.packets + len(part.packets),
            bytes=self._seen.bytes + int(part.packets["wire_bytes"].sum(dtype=np.int64)),
            last_packet_ns=int(part.packets["ts_ns"][-1]),
            up=True,
        )


def watch(names: Sequence[str], policy: Policy, ruleset: RuleSet, options: WatchOptions) -> int:
    """Serve and replay until the captures end, or a signal.

    Raises
    ------
    OperatorError
        If the address cannot be listened on, or no capture can be read.
    """
    run = Watch(policy, ruleset, sys.stdout)

    def on_signal(_: int, __: FrameType | None) -> None:
        run.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    answers = serve.Answers(registry(run.tallies), lambda: run.is_ready, run.status)
    with serve.Server(serve.listen(options.listen), answers) as server:
        sys.stderr.write(f"swarmtap: serving {server.url}/metrics\n")
        sys.stderr.flush()
        run.replay(names, options.speed)
        end = time.monotonic() + options.linger_s
        while not run.is_stopping and time.monotonic() < end:
            time.sleep(min(_TICK_S, max(0.0, end - time.monotonic())))
    return Exit.DONE

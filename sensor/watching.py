"""Runs the string with a moving clock: packets in, windows closed as time passes, numbers and incidents out.

Fed from interfaces, time is the wall clock's and goes on while the port is silent. Fed from captures, packet time is
the clock, and moves on through silence as fast as the replay is asked to. Everything else is the same.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor import heap, memory, privileges, serve, status, webconfig, words
from sensor.capturing import Captures
from sensor.errors import Exit, Mistake, OperatorError
from sensor.following import Followed
from sensor.health import Health
from sensor.inputs import Inputs
from sensor.notify import Notifier
from sensor.order import Ordered
from sensor.outlets import OutletOptions, Outlets
from sensor.pipeline import Pipeline, Step
from sensor.reading import Options
from sensor.schedule import NEVER_NS
from sensor.schema import WEIRDS
from sensor.screen import Screen, View
from sensor.sinks.metrics import Capture, Delivery, Pages, Tallies
from sensor.sources.ring import RingOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sensor.policy import Policy
    from sensor.rules.ruleset import RuleSet
    from sensor.schedule import SiteState
    from sensor.schema import Incident

    Load = Callable[[], tuple[Policy, RuleSet]]

_REPLAY: Final = "replay"
_TERMINAL: Final = "terminal"
_TICK_S: Final = 0.25
_LOOK_S: Final = 0.1
_REMEMBER_S: Final = 60.0  # a fast replay does not write for each of its hours
_STATISTICS_S: Final = 60.0
_SECOND_NS: Final = 1_000_000_000
_MANY: Final = 50_000  # rows of a portion after which much was freed
_HOUR_NS: Final = 3600 * _SECOND_NS
# What is imported late, by a reload, sinks, the server's first answer and what was learnt: by then the files of Python
# and of its libraries may be out of reach (they lie in root's home, say).
_LATE: Final = (
    "encodings.ascii", "encodings.cp437", "encodings.idna", "sensor.rules.load", "sensor.settings",
    "sigma.rule", "sigma.correlations", "sigma.collection", "sigma.modifiers", "sigma.types",
    "sigma.policy.regex_engine", "anyio._backends._asyncio", "anyio.streams.memory", "uvicorn.lifespan.off",
    "uvicorn.loops.asyncio", "uvicorn.loops.auto", "pandas.core.methods.to_dict", "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What to watch, where to serve, whom to tell, whom to become.

    Either interfaces or captures; captures are replayed at a speed (0: as fast as it goes), and served on for a while
    after their end.
    """

    interfaces: tuple[str, ...] = ()
    captures: tuple[str, ...] = ()
    listen: str = "127.0.0.1:9768"
    web_config: Path | None = None
    speed: float = 1.0
    linger_s: float = 0.0
    offenders: int = 0
    user: str = ""
    ring: RingOptions = field(default_factory=RingOptions)
    outlets: OutletOptions = field(default_factory=OutletOptions)


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
    """One run of the sensor: the pipeline, its tallies, and what is told to whom.

    Parameters
    ----------
    load
        Reads policy and rules; called again at a reload.
    outlets, screen, notifier
        Who is told.
    interfaces
        Names of what is captured.
    """

    def __init__(
        self,
        load: Load,
        outlets: Outlets,
        screen: Screen,
        notifier: Notifier,
        interfaces: tuple[str, ...],
        options: Options = Options(),  # noqa: B008 - it is frozen
    ) -> None:
        self._load = load
        self._policy, self._ruleset = load()
        self._outlets, self._screen, self._notifier = outlets, screen, notifier
        self.options = options
        self._window_ns = self.options.flows.window_s * _SECOND_NS
        self._capacity = self.options.flows.capacity
        self._pipeline: Pipeline | None = None
        self._captures: Captures | None = None
        self._stop = self._reload = False
        self._seen = dict.fromkeys(interfaces, Capture(up=True))
        self._lines = 0
        self._remembered = 0.0
        self._advanced_ns = 0
        self._judged_ns: int | None = None
        self._told_statistics = 0.0
        self._rate = (time.monotonic(), 0, 0.0)
        self._health = Health()
        self._states: tuple[SiteState, ...] = ()
        self._open: tuple[Incident, ...] = ()
        self._notices: list[str] = []
        self._names: list[dict[str, Any]] = []
        self.tallies = Tallies(self._policy, self._levels(), interfaces=interfaces, sinks=(_TERMINAL, *outlets.names))
        self.tallies.reloaded(success=True, at_ns=time.time_ns())

    def stop(self, *_: object) -> None:
        """Ask the run to end; what has come is still judged."""
        self._stop = True

    def reload(self, *_: object) -> None:
        """Ask for policy and rules to be read again, and for files to be opened anew."""
        self._reload = True

    @property
    def is_stopping(self) -> bool:
        """Whether it has been asked to end."""
        return self._stop

    @property
    def is_ready(self) -> bool:
        """Whether packets are being followed."""
        return self._pipeline is not None

    def status(self) -> dict[str, Any]:
        """Return the state for `/status`; called from another thread."""
        zones = {site.name: site.timezone for site in self._policy.sites}
        states = Counter(incident.state for incident in self._open)
        return {
            "packets": sum(seen.packets for seen in self._seen.values()),
            "flows": self._followed().living,
            "incidents": {state: states[state] for state in ("open", "ongoing")}
            | {"closed": len(self._outlets.closed)},
            "judged_until": status.instant(self._judged_ns),
            "open_incidents": status.incidents(self._open, zones),
            "sites": status.sites(self._states),
            "names": self._names,
            "notices": self._notices[-20:],
        }

    def notice(self, line: str) -> None:
        """Say something about the sensor itself; from any thread."""
        self._notices = [*self._notices[-99:], line]
        self._screen.notice(line)

    def follow(self, captures: Captures) -> None:
        """Follow interfaces until `stop`."""
        self._captures = captures
        pipeline: Pipeline | None = None
        ticked = 0.0
        while not self._stop:
            captures.look(_LOOK_S)
            if not captures.is_started:
                continue
            pipeline = pipeline or self._started(captures.now_ns)
            now = time.monotonic()
            if now - ticked >= _TICK_S:
                ticked = now
                self._look_at(captures)
                self._tick(captures.until_ns)
            elif captures.is_due:
                self._judge(pipeline.judged(captures.take(), captures.until_ns))
        captures.rest()
        if captures.is_started:
            self._look_at(captures)
            self._judge(self._started(captures.now_ns).judged(captures.take(), None))
            self._remember()
        self._tally()

    def replay(self, names: Sequence[str], speed: float) -> None:
        """Follow captures at a speed, until their end or `stop`."""
        inputs = Inputs(names, self.options)
        clock: Clock | None = None
        last_tick = time.monotonic()
        for portion in inputs.portions():
            for part in self._slices(portion.ordered):
                first_ns = int(part.packets["ts_ns"][0])
                pipeline = self._started(first_ns)
                if clock is None:
                    clock = Clock(first_ns, speed)
                    self._tick(first_ns)
                while not self._stop and (wait := clock.wait_s(first_ns)) > 0:
                    time.sleep(min(wait, _TICK_S))
                    self._tick(min(clock.now_ns(), first_ns))
                    last_tick = time.monotonic()
                if self._stop:
                    break
                pipeline.push(part)
                self._count(part)
                if pipeline.is_due or time.monotonic() - last_tick > _TICK_S:
                    self._tick(int(part.packets["ts_ns"][-1]))
                    last_tick = time.monotonic()
            if self._stop:
                break
            self._names_of(inputs.offers.labels())
            if speed <= 0:
                self._tick(portion.watermark_ns)
        self._names_of(inputs.offers.labels())
        if self._pipeline is not None:
            self._judge(self._pipeline.advance(None))
            self._remember()
            self._tally()

    def _started(self, start_ns: int) -> Pipeline:
        """Return the pipeline; at the first call make it, and take up what an earlier run left open."""
        if self._pipeline is None:
            self._pipeline = self._made(start_ns)
            if not self._recall(self._pipeline, start_ns):
                self._pipeline = self._made(start_ns)
            self._note_open()
        return self._pipeline

    def _made(self, start_ns: int) -> Pipeline:
        made = Pipeline(self._policy, self._ruleset, self.options, start_ns)
        made.incidents.resume(self._outlets.living.values())
        return made

    def _recall(self, pipeline: Pipeline, start_ns: int) -> bool:
        """Take up what an earlier run has learnt; return false where that makes no sense, and is half taken."""
        folder = self._outlets.folder
        if folder is None:
            return True
        try:
            known, notice = memory.read(folder)
            if known:
                pipeline.recall(known, start_ns)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            notice = memory.set_aside(folder, f"{type(error).__name__}: {error}")
        except OSError as error:
            notice = f"what was learnt cannot be read ({error.strerror})"
        if notice:
            self.notice(notice)
        return not notice

    def _remember(self) -> None:
        """Keep what has been learnt, for the next run."""
        folder = self._outlets.folder
        if folder is None or self._pipeline is None:
            return
        self._remembered = time.monotonic()
        try:
            memory.write(folder, self._pipeline.remember())
        except OSError as error:
            self.notice(f"what was learnt cannot be kept ({error.strerror})")

    def _slices(self, ordered: Ordered) -> Iterator[Ordered]:
        """Cut packets at the edges of windows, so that time can pass between them."""
        windows = ordered.packets["ts_ns"] // self._window_ns
        edges = np.flatnonzero(windows[1:] != windows[:-1]) + 1
        for start, end in zip([0, *edges], [*edges, len(windows)], strict=True):
            yield Ordered(ordered.packets[start:end], ordered.data)

    def _tick(self, now_ns: int) -> None:
        """Let time pass up to `now_ns`: close windows, judge them, and move every gauge."""
        pipeline = self._started(now_ns)
        if self._reload:
            self._reload = False
            self._read_again(pipeline)
        # A packet of this very instant may still come.
        if now_ns // self._window_ns != self._advanced_ns // self._window_ns or pipeline.is_due:
            captures = self._captures
            self._judge(pipeline.judged(captures.take(), now_ns) if captures else pipeline.advance(now_ns))
        self._advanced_ns = max(self._advanced_ns, now_ns)
        self._states = tuple(pipeline.schedules.states(now_ns))
        for state in self._states:
            changes = None if state.next_ns == NEVER_NS else state.next_ns
            is_open = state.schedule in ("open", "allowed")
            self.tallies.set_schedule(state.site, is_open=is_open, next_change_ns=changes)
        self._tally()
        now = time.monotonic()
        if now - self._told_statistics >= _STATISTICS_S:
            self._told_statistics = now
            self._outlets.tell_statistics(now_ns, self._statistics())
        headline = self._headline()
        self._screen.show(self._view(headline))
        self._notifier.alive(headline)

    def _tally(self) -> None:
        """State what was captured and delivered so far."""
        for interface, seen in self._seen.items():
            self.tallies.set_capture(interface, seen)
        self.tallies.set_sink(_TERMINAL, Delivery(deliveries=self._lines, drops=self._screen.lost))
        for sink, done in self._outlets.counts().items():
            self.tallies.set_sink(sink, done)

    def _judge(self, step: Step) -> None:
        followed = self._followed()
        self.tallies.add(step.judged.activity, step.judged.flows, step.findings)
        self.tallies.set_flow_table(entries=followed.living, capacity=self._capacity, evictions=followed.evicted)
        self.tallies.set_weird({name: int(count) for name, count in zip(WEIRDS, followed.weird, strict=True)})
        self._health.weigh(step.judged.flows, step.until_ns)
        steps = self._captures.clock_steps if self._captures is not None else 0
        self.tallies.set_health(self._health.gap_ratio, self._health.one_sided_ratio, steps)
        self.tallies.set_judged(step.until_ns)
        hour = step.until_ns // _HOUR_NS
        is_new = self._judged_ns is not None and hour != self._judged_ns // _HOUR_NS
        if is_new and time.monotonic() - self._remembered >= _REMEMBER_S:
            self._remember()
        self._judged_ns = step.until_ns
        for parcel in self._outlets.tell(step):
            self._tell(parcel.incident)
        if step.changed:
            self._note_open()
        were_many = len(step.judged.activity) >= _MANY
        del step  # nobody else has it
        if were_many:
            heap.give_back()

    def _note_open(self) -> None:
        self._open = tuple(self._outlets.living.values())
        self.tallies.set_incidents(Counter((incident.site, incident.level) for incident in self._open))

    def _tell(self, incident: Incident) -> None:
        """Print an incident when it opens and when it closes, not while it goes on."""
        word = "closed" if incident.state == "closed" else "opened"
        zone = next((site.timezone for site in self._policy.sites if site.name == incident.site), "UTC")
        when = words.when(incident, zone)
        self._screen.tell(f"{word} {incident.level} {incident.id}: {incident.title}; {when}; {incident.reason}")
        self._lines += 1

    def _count(self, part: Ordered) -> None:
        seen = self._seen[_REPLAY]
        self._seen[_REPLAY] = Capture(
            packets=seen.packets + len(part.packets),
            bytes=seen.bytes + int(part.packets["wire_bytes"].sum(dtype=np.int64)),
            last_packet_ns=int(part.packets["ts_ns"][-1]),
            up=True,
        )

    def _followed(self) -> Followed:
        """Return how much was followed, by whichever way."""
        if self._captures is not None:
            return self._captures.followed
        return self._pipeline.following.facts() if self._pipeline is not None else Followed()

    def _look_at(self, captures: Captures) -> None:
        """Take down what the interfaces have seen, lost and said."""
        found = captures.facts()
        now_ns, until_ns = captures.now_ns, captures.until_ns
        for interface, facts in found.items():
            self._seen[interface] = Capture(
                packets=facts.packets,
                bytes=facts.bytes,
                kernel_drops=facts.drops,
                ring_freezes=facts.freezes,
                ring_utilization_ratio=facts.utilization,
                lag_s=max(0, now_ns - until_ns) / 1e9,
                last_packet_ns=facts.last_packet_ns or None,
                up=facts.is_up,
                link_packets=facts.link_packets,
                silent=self._health.is_silent(interface),
            )
        self._health.look(found, time.monotonic())
        if self._pipeline is not None:
            self._pipeline.loss = self._health.loss
        self._names_of(captures.labels)
        notices, captures.notices = captures.notices, []
        for line in [*notices, *self._health.take_notices()]:
            self.notice(line)

    def _names_of(self, labels: dict[str, tuple[str, int, int]]) -> None:
        """Take down the names that hosts announce."""
        self._names = status.names(labels)

    def _read_again(self, pipeline: Pipeline) -> None:
        """Take up policy and rules as they are now; if they cannot be read, go on with what there is."""
        self._notifier.reloading()
        self._outlets.reopen()
        try:
            policy, ruleset = self._load()
        except OperatorError as error:
            for mistake in error.mistakes:
                self.notice(f"reload refused: {mistake}")
            self.tallies.reloaded(success=False, at_ns=time.time_ns())
        else:
            self._policy, self._ruleset = policy, ruleset
            pipeline.adopt(policy, ruleset)
            self.tallies.adopt(policy, self._levels())
            self.tallies.reloaded(success=True, at_ns=time.time_ns())
            self.notice(
                f"reloaded: {words.count(len(policy.sites), 'site')}, {words.count(len(ruleset.rules), 'rule')}"
            )
        self._notifier.ready(self._headline())

    def _levels(self) -> dict[str, str]:
        return {rule.name: rule.level for rule in self._ruleset.rules}

    def _statistics(self) -> dict[str, Any]:
        packets = sum(seen.packets for seen in self._seen.values())
        return {
            "capture": {
                "kernel_packets": packets + sum(seen.kernel_drops for seen in self._seen.values()),
                "kernel_drops": sum(seen.kernel_drops for seen in self._seen.values()),
            },
            "decoder": {
                "pkts": packets,
                "bytes": sum(seen.bytes for seen in self._seen.values()),
                "tcp": self._followed().packets,
            },
            "flow": {"active": self._followed().living},
            "detect": {"alert": self._lines},
        }

    def _headline(self) -> str:
        """Return what the sensor is doing, in one line."""
        packets = sum(seen.packets for seen in self._seen.values())
        drops = sum(seen.kernel_drops for seen in self._seen.values())
        at, before, rate = self._rate
        now = time.monotonic()
        if now - at >= 1.0:
            rate = (packets - before) / (now - at)
            self._rate = (now, packets, rate)
        down = [interface for interface, seen in self._seen.items() if not seen.up]
        parts = [
            ", ".join(self._seen),
            f"{rate:,.0f} packets/s on the port",
            words.count(self._followed().living, "flow"),
            words.count(len(self._open), "open incident"),
            f"{drops:,} dropped",
            *(f"{interface} is down" for interface in down),
        ]
        return " · ".join(parts)

    def _view(self, headline: str) -> View:
        zones = {site.name: site.timezone for site in self._policy.sites}
        worst = words.worst_first(self._open)
        return View(
            headline=headline,
            incidents=tuple(
                (each.level, f"{each.title}: {words.subject(each)}", words.when(each, zones.get(each.site, "UTC")))
                for each in worst[:10]
            ),
            sites=tuple(
                (
                    str(told["site"]),
                    str(told["schedule"]),
                    f"until {told['next_change']}" if told["next_change"] else "",
                )
                for told in status.sites(self._states)
            ),
        )


def watch(load: Load, options: WatchOptions) -> int:
    """Serve, and follow interfaces until a signal, or captures until their end.

    Raises
    ------
    OperatorError
        If the address cannot be listened on, an interface or capture cannot be read, or a sink makes no sense.
    """
    names = options.interfaces or (_REPLAY,)
    guard = webconfig.load(options.web_config)
    notifier = Notifier.of_service()
    with ExitStack() as stack:
        screen = Screen(sys.stdout, sys.stderr)
        said: list[Callable[[str], None]] = [screen.notice]
        outlets = Outlets(options.outlets, lambda line: said[-1](line))  # noqa: PLW0108 - the last one, when it is called
        run = Watch(
            load, outlets, screen, notifier, names, Options(any_port=options.ring.any_port, mdns=options.ring.mdns)
        )
        said.append(run.notice)
        run.tallies.name_offenders(options.offenders)
        captures = _opened(stack, options, outlets, run) if options.interfaces else None
        if captures is None:
            outlets.prepare(None)
        # From here on there are threads: they must not have what was given up.
        stack.enter_context(screen)
        stack.enter_context(outlets)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, run.stop)
        signal.signal(signal.SIGHUP, run.reload)
        answers = serve.Answers(Pages(run.tallies), lambda: run.is_ready, run.status)
        server = stack.enter_context(serve.Server(serve.listen(options.listen), answers, guard))
        run.notice(f"serving {server.url}/metrics")
        notifier.ready("watching " + ", ".join(names))
        if captures is not None:
            run.follow(captures)
        else:
            run.replay(options.captures, options.speed)
            end = time.monotonic() + options.linger_s
            while not run.is_stopping and time.monotonic() < end:
                time.sleep(min(_TICK_S, max(0.0, end - time.monotonic())))
        notifier.stopping()
    return Exit.DONE


def _opened(stack: ExitStack, options: WatchOptions, outlets: Outlets, run: Watch) -> Captures:
    """Open what needs privileges, and give them up before anything else begins."""
    for needed in _LATE:
        with suppress(ImportError):  # another version of a library has it elsewhere, and may not need it
            import_module(needed)
    who = privileges.person(options.user) if os.geteuid() == 0 else None
    privileges.lift()
    captures = stack.enter_context(Captures(options.interfaces, options.ring, run.options, options.outlets.tape))
    outlets.prepare(who)
    try:
        privileges.drop(who)
    except OSError as error:
        right = "start it as an ordinary user that has CAP_NET_RAW only"
        raise OperatorError(Mistake("privileges", f"cannot be given up ({error.strerror})", right)) from error
    captures.start()
    name = who.name if who is not None else "the user it was started by"
    run.notice(f"watching {', '.join(options.interfaces)} as {name}, without privileges")
    return captures

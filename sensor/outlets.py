"""What a running sensor tells, and to whom: the sinks that its options name, fed from each step of the pipeline.

An incident is told twice: when it opens and when it closes. What it was told as last is kept with it, so that after a
restart it goes on under the same id, and nobody is told anew.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from sensor import posting
from sensor.cutting import CUTTINGS, Cutter
from sensor.delivery import Delivery, DeliveryOptions, Sink
from sensor.errors import Mistake, OperatorError
from sensor.sinks import alertmanager, eve, evefile, spool, syslog, webhook
from sensor.sinks.metrics import Delivery as Delivered
from sensor.sinks.spool import EVERY_S
from sensor.store import Parcel, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.pipeline import Step
    from sensor.privileges import Person
    from sensor.schema import Incident
    from sensor.tape import TapeOptions

_MOST_CLOSED: Final = 1000
_FOLDER_MODE: Final = 0o750


@dataclass(frozen=True, slots=True)
class OutletOptions:
    """Where incidents go: files, folders and addresses as the operator wrote them; empty is nowhere."""

    state: str = ""
    eve: str = ""
    spool: str = ""
    spool_every_s: float = EVERY_S
    syslog: str = ""
    webhook: str = ""
    webhook_secret: str = ""
    alertmanager: str = ""
    tape: TapeOptions | None = None
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)


class Outlets:
    """All sinks of a run: `with Outlets(options, notice) as outlets: outlets.tell(step)`.

    Parameters
    ----------
    options
        Where to.
    notice
        Called with a sentence when something fails or works again; from any thread.
    """

    def __init__(self, options: OutletOptions, notice: Callable[[str], None]) -> None:
        self._options = options
        self._notice = notice
        self._store = Store(Path(options.state) if options.state else None)
        self._file: evefile.EveFile | None = None
        self._spool: spool.Spool | None = None
        self._sinks = self._made()
        self._delivery: Delivery | None = None
        self._stack = ExitStack()
        self._told: set[str] = set()
        self._opened: dict[str, dict[str, Any]] = {}
        self._uptime_from_ns: int | None = None
        self.living: dict[str, Incident] = {}
        self.closed: dict[str, Incident] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The sinks' names."""
        return tuple(sink.name for sink in self._sinks)

    @property
    def folder(self) -> Path | None:
        """The folder for what must outlive the process, if there is one."""
        return self._store.folder

    def prepare(self, who: Person | None) -> None:
        """Make folders and files, as long as we may, and give them to whom we are going to be.

        Raises
        ------
        OperatorError
            If one of them cannot be made.
        """
        evidence = self._options.tape.folder if self._options.tape is not None else ""
        below = f"{evidence}/{CUTTINGS}" if evidence else ""
        folders = (
            ("--state", self._options.state), ("--spool", self._options.spool), ("--evidence", evidence),
            ("--evidence", below),
        )  # fmt: skip
        for option, told in folders:
            if told:
                _made_folder(option, Path(told), who)
        if self._file is not None:
            path = Path(self._options.eve)
            try:
                if who is not None and not path.exists():
                    path.touch(0o640)
                    os.chown(path, who.uid, who.gid)
                self._file.open()
            except OSError as error:
                mistake = Mistake("--eve", f"{path} cannot be written ({error.strerror})", "name another file")
                raise OperatorError(mistake) from error

    def __enter__(self) -> Self:
        """Open the store and start to deliver what an earlier run left.

        Raises
        ------
        OperatorError
            If the state folder cannot be written to.
        """
        with ExitStack() as stack:
            stack.enter_context(self._store)
            for notice in self._store.notices:
                self._notice(notice)
            self.living = {each.id: each for each in self._store.living()}
            self._told = set(self.living)
            delivery = Delivery(self._store, self._sinks, self._options.delivery, self._notice)
            self._delivery = stack.enter_context(delivery)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Deliver what can be delivered in a few seconds; the rest stays in the store."""
        self._stack.close()

    def tell(self, step: Step) -> list[Parcel]:
        """Hand over what a step brought; return what was told: incidents that opened or closed.

        Raises
        ------
        nothing
        """
        parcels: list[Parcel] = []
        for incident in step.changed:
            is_over = incident.state == "closed"
            alert: dict[str, Any] = {}
            if is_over or incident.id not in self._told:
                # When it closes its flows are long over: what they were is known from its opening.
                alert = self._opened.pop(incident.id, {}) | eve.alert_record(incident, step.judged.activity)
            if incident.id not in self._told:
                opened = replace(incident, state="open") if is_over else incident
                parcels.append(Parcel(opened, alert))
                self._told.add(incident.id)
                self._opened[incident.id] = alert
            if is_over:
                parcels.append(Parcel(incident, alert))
                self._told.discard(incident.id)
                self._opened.pop(incident.id, None)
                self.living.pop(incident.id, None)
                self.closed[incident.id] = incident
            else:
                self.living[incident.id] = incident
        while len(self.closed) > _MOST_CLOSED:
            del self.closed[next(iter(self.closed))]
        if self._delivery is not None and step.changed:
            self._delivery.tell(parcels, step.changed)
        if self._file is not None and len(step.judged.flows):
            alerted = {each.flow for incident in self.living.values() for each in incident.evidence}
            self._file.add(bytes(eve.flow_lines(step.judged.flows, alerted)))
        if self._spool is not None:
            self._spool.add(step.judged.activity, step.judged.flows)
        return parcels

    def tell_statistics(self, at_ns: int, facts: dict[str, Any]) -> None:
        """Write a record of statistics to the EVE file, if there is one.

        Raises
        ------
        nothing
        """
        if self._file is not None:
            self._uptime_from_ns = at_ns if self._uptime_from_ns is None else self._uptime_from_ns
            uptime_s = (at_ns - self._uptime_from_ns) // 1_000_000_000
            self._file.add(eve.statistics_line(at_ns, {"uptime": uptime_s, **facts}))

    def reopen(self) -> None:
        """Let sinks open their files anew: they may have been rotated.

        Raises
        ------
        nothing
        """
        if self._delivery is not None:
            self._delivery.reopen()

    def counts(self) -> dict[str, Delivered]:
        """Return what each sink has done since the start.

        Raises
        ------
        nothing
        """
        counts = self._delivery.counts() if self._delivery is not None else {}
        return {
            name: Delivered(
                deliveries=count.deliveries,
                failures=count.failures,
                drops=count.drops,
                queue_length=count.waiting,
            )
            for name, count in counts.items()
        }

    def _made(self) -> list[Sink]:
        """Return the sinks that the options name, all mistakes at once."""
        options, made = self._options, list[Sink]()
        mistakes: list[Mistake] = []
        if options.eve:
            self._file = evefile.EveFile(Path(options.eve))
            made.append(self._file)
        if options.spool:
            self._spool = spool.Spool(Path(options.spool), options.spool_every_s)
            made.append(self._spool)
        if options.tape is not None:
            made.append(Cutter(options.tape))
        makers: list[Callable[[], Sink | None]] = [
            lambda: syslog.Syslog(syslog.server(options.syslog)) if options.syslog else None,
            lambda: (
                webhook.Webhook(posting.address("--webhook", options.webhook), _secret(options.webhook_secret))
                if options.webhook
                else None
            ),
            lambda: (
                alertmanager.Alertmanager(posting.address("--alertmanager", options.alertmanager))
                if options.alertmanager
                else None
            ),
        ]
        for make in makers:
            try:
                sink = make()
            except OperatorError as error:
                mistakes += error.mistakes
            else:
                made += [sink] if sink is not None else []
        if mistakes:
            raise OperatorError(*mistakes)
        return made


def _secret(name: str) -> bytes:
    """Read the webhook's secret: the first line of a file, so that no command line shows it."""
    if not name:
        return b""
    try:
        secret = Path(name).read_bytes().split(b"\n", 1)[0].strip()
    except OSError as error:
        read = f"{name} cannot be read ({error.strerror})"
        raise OperatorError(Mistake("--webhook-secret", read, "name a file that holds the secret")) from error
    if not secret:
        raise OperatorError(Mistake("--webhook-secret", f"{name} is empty", "write the secret into its first line"))
    return secret


def _made_folder(option: str, folder: Path, who: Person | None) -> None:
    try:
        if not folder.exists():
            folder.mkdir(_FOLDER_MODE, parents=True)
        if who is not None:
            for each in (folder, *folder.iterdir()):
                os.chown(each, who.uid, who.gid)
    except OSError as error:
        mistake = Mistake(option, f"{folder} cannot be made ready ({error.strerror})", "name another folder")
        raise OperatorError(mistake) from error

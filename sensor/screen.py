"""What a running sensor shows where it was started: a view that renews itself on a terminal, plain lines elsewhere.

It is written by a thread of its own: a terminal that was stopped, or a pipe that nobody reads, must not stop anything.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TextIO

from sensor import words

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_LINES: Final = 10_000
_RENEW_S: Final = 1.0
_END_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class View:
    """What the view shows: a headline of the capture, a row for each open incident, a row for each site."""

    headline: str = ""
    incidents: tuple[tuple[str, str, str], ...] = ()
    sites: tuple[tuple[str, str, str], ...] = ()


class Screen:
    """Lines, and on a terminal a view above the last of them: `with Screen(sys.stdout, sys.stderr) as screen: …`."""

    def __init__(self, out: TextIO, notices: TextIO) -> None:
        self._out, self._notices = out, notices
        self._is_terminal = out.isatty()
        self._queue: queue.Queue[tuple[TextIO, str] | None] = queue.Queue(_MOST_LINES)
        self._view = View()
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self.lines = 0
        self.lost = 0

    def __enter__(self) -> Self:
        """Start to write."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, but do not wait for a reader who does not read."""
        try:
            self._queue.put(None, timeout=_END_S)
        except queue.Full:
            return
        self._thread.join(_END_S)

    def tell(self, line: str) -> None:
        """Write a line about the network; returns at once.

        Raises
        ------
        nothing
        """
        self._put(self._out, line)

    def notice(self, line: str) -> None:
        """Write a line about the sensor itself; returns at once.

        Raises
        ------
        nothing
        """
        self._put(self._notices, f"swarmtap: {line}")

    def show(self, view: View) -> None:
        """Renew the view, if there is one.

        Raises
        ------
        nothing
        """
        self._view = view

    def _put(self, where: TextIO, line: str) -> None:
        try:
            self._queue.put_nowait((where, words.visible(line)))
            self.lines += 1
        except queue.Full:
            self.lost += 1

    def _run(self) -> None:
        try:
            if self._is_terminal:
                self._renew()
            else:
                while (item := self._queue.get()) is not None:
                    where, line = item
                    where.write(line + "\n")
                    where.flush()
        except OSError:
            return  # whoever read our output has gone; the sinks still tell

    def _renew(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(file=self._out)
        with Live(console=console, auto_refresh=False, transient=True) as drawn:
            while True:
                try:
                    item = self._queue.get(timeout=_RENEW_S)
                except queue.Empty:
                    drawn.update(drawing(self._view), refresh=True)
                    continue
                if item is None:
                    break
                drawn.console.print(Text(item[1]))
                drawn.update(drawing(self._view), refresh=True)


def drawing(view: View) -> RenderableType:
    """Return the view as rich draws it.

    Raises
    ------
    nothing
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    sites = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for site, schedule, until in view.sites:
        colour = {"open": "green", "allowed": "green", "disabled": "red"}.get(schedule, "yellow")
        sites.add_row(Text(site), Text(schedule, style=colour), Text(until, style="dim"))
    incidents = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for level, what, when in view.incidents:
        colour = {"critical": "bold red", "high": "red", "medium": "yellow"}.get(level, "")
        incidents.add_row(Text(level, style=colour), Text(what), Text(when, style="dim"))
    title = f"{words.count(len(view.incidents), 'open incident')}" if view.incidents else "no open incident"
    return Group(Text(view.headline, style="bold"), sites, Text(title), incidents)

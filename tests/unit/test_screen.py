"""Lines reach whoever reads them; nobody waits for one who does not."""

from __future__ import annotations

import io
import threading
import time

from rich.console import Console

from sensor.screen import Screen, View, drawing


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_go_where_they_belong() -> None:
    out, notices = io.StringIO(), io.StringIO()
    with Screen(out, notices) as screen:
        screen.tell("opened high a: \x1b[31mred")
        screen.notice("eth0: the link is down")
    assert out.getvalue() == "opened high a: \\x1b[31mred\n"
    assert notices.getvalue() == "swarmtap: eth0: the link is down\n"


class Stuck(io.StringIO):
    """A pipe that nobody reads, until somebody does."""

    def __init__(self) -> None:
        super().__init__()
        self.read = threading.Event()

    def write(self, text: str) -> int:
        self.read.wait(10)
        return super().write(text)


def test_a_reader_who_does_not_read_holds_up_nobody() -> None:
    stuck = Stuck()
    with Screen(stuck, stuck) as screen:
        began = time.monotonic()
        for _ in range(20_000):
            screen.tell("x")
        assert time.monotonic() - began < 5
        assert 0 < screen.lost < 20_000
        stuck.read.set()
    assert stuck.getvalue().count("x") == 20_000 - screen.lost


def test_a_terminal_shows_the_lines_and_the_view() -> None:
    terminal = Terminal()
    with Screen(terminal, terminal) as screen:
        screen.show(View(headline="eth0 · 7 packets/s"))
        screen.tell("opened high a: something")
    assert "opened high a: something" in terminal.getvalue()


def test_the_view() -> None:
    view = View(
        headline="eth0 · 7 packets/s on the port",
        incidents=(("high", "A scan: 10.1.0.5", "Tue 13:00"),),
        sites=(("hq", "open", "until 22:00"), ("ber", "disabled", "")),
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(drawing(view))
    shown = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert shown == [
        "eth0 · 7 packets/s on the port",
        "hq   open      until 22:00",
        "ber  disabled",
        "1 open incident",
        "high  A scan: 10.1.0.5  Tue 13:00",
    ]
    console = Console(file=io.StringIO(), width=80)
    console.print(drawing(View()))
    assert "no open incident" in console.file.getvalue()  # type: ignore[attr-defined]

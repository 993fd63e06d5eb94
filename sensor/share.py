"""One process that captures: it empties its rings, follows their flows, keeps their frames, and tells what it has.

It has no privilege and starts nothing. It ends when it is told to, or with whoever began it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from sensor import heap
from sensor.following import Followed, Following, Part
from sensor.tape import Tape, TapeOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from sensor.live import Live
    from sensor.reading import Options
    from sensor.sources.ring import RingFacts

_TICK_S: Final = 0.25
_LOOK_MS: Final = 100
_SECOND_NS: Final = 1_000_000_000
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Told:
    """What a capturing process hands over a few times a second."""

    part: Part
    until_ns: int
    """Event time that its rings have passed; the part and those told before have all windows that ended by then."""
    now_ns: int
    at_ns: int
    """Event time and monotonic time at which it was told."""
    facts: dict[str, RingFacts]
    followed: Followed
    notices: tuple[str, ...] = ()
    clock_steps: int = 0
    labels: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Names of addresses, if one was announced since the last time."""
    is_last: bool = False


def be(lives: Sequence[Live], number: int, options: tuple[Options, TapeOptions | None], pipe: Connection) -> NoReturn:
    """Be one of the processes, and nothing else: what is to be done at the end of the one we come of is not ours to do.

    Parameters
    ----------
    lives
        The rings of all shares, open.
    number
        Which of them is ours.
    options
        How flows are followed, and the tape to keep frames on.
    pipe
        Takes what is told, a few times a second; when something comes the other way, the last is told.
    """
    try:
        settings, told = options
        with ExitStack() as stack:
            tape = stack.enter_context(Tape(told, number, len(lives))) if told is not None else None
            _capture(lives, number, (settings, tape), pipe)
    except BrokenPipeError:
        os._exit(1)  # nobody is there to hear it
    except BaseException:  # noqa: BLE001 - the process ends here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _capture(lives: Sequence[Live], number: int, settings: tuple[Options, Tape | None], pipe: Connection) -> None:
    """Be one of the processes: capture and follow until told to end, or until whoever began us has ended."""
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    for other in (live for at, live in enumerate(lives) if at != number):
        other.__exit__()
    options, tape = settings
    live, following = lives[number], Following(options.flows, number)
    live.notices.clear()
    live.keep = tape.write if tape is not None else None
    ticked, edge_ns, told_ns = 0.0, 0, 0
    window_ns = options.flows.window_s * _SECOND_NS
    while not pipe.poll():
        parts, until_ns = live.look(_LOOK_MS)
        for part in parts:
            following.push(part)
        now = time.monotonic()
        if now - ticked >= _TICK_S or following.is_due:
            ticked = now
            until_edge_ns = until_ns // window_ns * window_ns
            taken = Part()
            if until_edge_ns > edge_ns or following.is_due:
                _tell_much(pipe, live, following, (told_ns, until_edge_ns))
                taken = following.take(until_edge_ns)
            edge_ns = max(edge_ns, until_edge_ns)
            live.notices += tape.take_notices() if tape is not None else []
            pipe.send(_telling(live, following, taken, until_ns))
            told_ns = until_ns
    for part in live.rest():
        following.push(part)
    _tell_much(pipe, live, following, (told_ns, None))
    pipe.send(_telling(live, following, following.take(None), live.clock.now_ns(), is_last=True))


def _tell_much(pipe: Connection, live: Live, following: Following, times: tuple[int, int | None]) -> None:
    """Tell most of what ended by the later of two times, if it is much; that time has passed when the rest is told."""
    told_ns, until_ns = times
    were_many = False
    for part in following.portions(until_ns) if told_ns > 0 else ():
        pipe.send(_telling(live, following, part, told_ns))
        were_many = True
    if were_many:
        heap.give_back()


def _telling(live: Live, following: Following, part: Part, until_ns: int, *, is_last: bool = False) -> Told:
    facts, notices = live.facts(), tuple(live.notices)
    live.notices.clear()
    return Told(
        part=part,
        until_ns=until_ns,
        now_ns=live.clock.now_ns(),
        at_ns=time.monotonic_ns(),
        facts=facts,
        followed=following.facts(),
        notices=notices,
        clock_steps=live.clock.steps,
        labels=live.labels(),
        is_last=is_last,
    )

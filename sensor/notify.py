"""What systemd is told of the service: that it is ready, reloads, stops, and that it is still alive.

References
----------
sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

_MICRO: Final = 1_000_000


class Notifier:
    """The service manager's socket; without one, everything is said to nobody.

    Parameters
    ----------
    path
        What `NOTIFY_SOCKET` says; a leading `@` names a socket without a file.
    watchdog_us
        What `WATCHDOG_USEC` says: how long the service may be silent.
    """

    def __init__(self, path: str, watchdog_us: int = 0) -> None:
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self._every_s = watchdog_us / 2 / _MICRO
        self._last_s = float("-inf")  # the monotonic clock may have begun a moment ago

    @classmethod
    def of_service(cls) -> Notifier:
        """Return the notifier that the environment names, and hide it from child processes."""
        told = os.environ.pop("WATCHDOG_USEC", "")
        is_ours = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        path = os.environ.pop("NOTIFY_SOCKET", "")
        return cls(path, int(told) if told.isdigit() and is_ours else 0)

    def ready(self, status: str) -> None:
        """Say that the service runs."""
        self._say(f"READY=1\nSTATUS={_line(status)}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Say that settings are read again; `ready` ends it."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._say("STOPPING=1")

    def alive(self, status: str = "") -> None:
        """Say that the service is alive, if it is time to."""
        now = time.monotonic()
        if self._every_s and now - self._last_s >= self._every_s:
            self._last_s = now
            self._say("WATCHDOG=1" + (f"\nSTATUS={_line(status)}" if status else ""))

    def _say(self, what: str) -> None:
        if not self._path:
            return
        # Whoever started us may be gone; that is no reason to stop watching.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.connect(self._path)
            made.send(what.encode())


def _line(text: str) -> str:
    return " ".join(text.split())

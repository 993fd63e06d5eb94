"""What systemd would hear."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sensor.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


def test_a_service_says_what_it_does(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname(), 1)
    notifier.ready("watching\neth0")
    assert manager.recv(999).decode().split("\n") == ["READY=1", "STATUS=watching eth0", f"MAINPID={os.getpid()}"]
    notifier.reloading()
    assert manager.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.alive("42 packets")
    assert manager.recv(999) == b"WATCHDOG=1\nSTATUS=42 packets"
    notifier.stopping()
    assert manager.recv(999) == b"STOPPING=1"


def test_the_watchdog_is_told_twice_as_often_as_it_asks(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname(), 3_600_000_000)
    notifier.alive()
    assert manager.recv(999) == b"WATCHDOG=1"
    notifier.alive()
    manager.setblocking(False)  # noqa: FBT003 - its only argument
    with pytest.raises(BlockingIOError):
        manager.recv(999)


def test_the_environment_is_read_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@swarmtap-test")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier.of_service()
    assert (notifier._path, notifier._every_s) == ("\0swarmtap-test", 0)  # the watchdog is another process's
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)


def test_without_a_manager_nobody_is_told(tmp_path: Path) -> None:
    Notifier("").ready("x")
    Notifier(str(tmp_path / "gone")).ready("x")

"""A message to the letter of RFC 5424; servers stand in tests/live."""

from __future__ import annotations

import os
import socket

import pytest

from sensor.errors import OperatorError
from sensor.sinks import syslog
from sensor.sinks.syslog import Server, message, server
from tests import cases


def test_a_message() -> None:
    told = message(cases.incident(state="open"), cases.NOON + 1_234_000).decode()
    assert told == (
        f"<132>1 2026-03-10T12:00:00.001234Z {socket.gethostname()} swarmtap {os.getpid()} w01_off_window_transfer "
        '[swarmtap@32473 incident="w01-0a1b2c" rule="w01_off_window_transfer" level="medium" state="open" site="hq" '
        'flows="2" payload_bytes="3000000" confidence="1.00" subject_site_pair="hq~hq" '
        f'community_id="{cases.incident().evidence[0].community_id}"] '
        "\ufeffUpdate data moved off schedule; 3.0 MB of unique payload while hq was closed"
    )


@pytest.mark.parametrize(
    ("level", "priority"), [("critical", 130), ("high", 130), ("low", 133), ("informational", 134)]
)
def test_severity(level: str, priority: int) -> None:
    assert message(cases.incident(level=level), 0).startswith(f"<{priority}>1 1970-01-01T00:00:00.000000Z".encode())


def test_what_would_end_a_value_or_a_line_is_escaped() -> None:
    told = message(cases.incident(site='a"b]c\\d\ne', reason="one\ntwo"), 0).decode()
    assert 'site="a\\"b\\]c\\\\d\\\\ne"' in told
    assert "\n" not in told


def test_a_datagram_is_cut_between_letters() -> None:
    assert syslog._cut("aäää".encode(), 4) == "aä".encode()
    assert syslog._cut(b"short", 2048) == b"short"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("udp://log", Server("udp", "log", 514)),
        ("tcp://log:601", Server("tcp", "log", 601)),
        ("tls://[::1]", Server("tls", "::1", 6514)),
    ],
)
def test_a_server_is_read(url: str, meant: Server) -> None:
    assert server(url) == meant


@pytest.mark.parametrize("url", ["log", "udp://", "http://log", "tcp://log:x", "tcp://log/path"])
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(OperatorError, match=r"--syslog: .* is not a syslog server"):
        server(url)

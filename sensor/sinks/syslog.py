"""Incidents as RFC 5424 messages to a syslog server, over UDP, TCP or TLS.

Syslog has no receipt. Over TCP and TLS a message counts as delivered when the receiving machine has acknowledged its
bytes; over UDP when it was sent.

References
----------
RFC 5424 (format), RFC 5426 (UDP), RFC 6587 (octet counting over TCP), RFC 5425 (TLS).
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fcntl import ioctl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sensor.errors import Mistake, OperatorError
from sensor.words import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.schema import Incident
    from sensor.store import Parcel

_PORTS: Final = {"udp": 514, "tcp": 514, "tls": 6514}
_LOCAL0: Final = 16
_SEVERITY: Final = {"critical": 2, "high": 2, "medium": 4, "low": 5, "informational": 6}
_ENTERPRISE: Final = 32473  # RFC 5612: for documentation
_UDP_BYTES: Final = 2048  # RFC 5424, section 6.1: what every receiver should take
_WAIT_S: Final = 10.0
_TIOCOUTQ: Final = 0x5411  # <asm-generic/ioctls.h>: bytes not acknowledged yet
_LOOK_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Server:
    """A syslog server: udp, tcp or tls, a host and a port."""

    kind: str
    host: str
    port: int


def server(url: str) -> Server:
    """Read `udp://host`, `tcp://host:port` or `tls://host:port`.

    Raises
    ------
    OperatorError
        If it is none of these.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1 or parts.path not in ("", "/"):
        right = "write it as udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT"
        raise OperatorError(Mistake("--syslog", f'"{url}" is not a syslog server', right))
    return Server(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])


class Syslog:
    """One server."""

    name = "syslog"

    def __init__(self, where: Server) -> None:
        self._where = where
        self._socket: socket.socket | None = None

    def deliver(self, parcel: Parcel) -> None:
        """Send a message.

        Raises
        ------
        OSError
            If it could not be sent, or its bytes were not acknowledged.
        """
        text = message(parcel.incident, time.time_ns())
        try:
            if self._where.kind == "udp":
                self._connected().send(_cut(text, _UDP_BYTES))
                return
            made = self._connected()
            self._refuse_a_closed(made)
            made.sendall(b"%d %s" % (len(text), text))
            self._await_receipt(made)
        except OSError:
            self.close()
            raise

    def work(self, living: Callable[[], list[Incident]]) -> None:
        """Do nothing: a server is told once."""

    def reopen(self) -> None:
        """Do nothing: there is no file."""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            where = (self._where.host, self._where.port)
            if self._where.kind == "udp":
                family, _, _, _, to = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
                made = socket.socket(family, socket.SOCK_DGRAM)
                made.connect(to)
            else:
                made = socket.create_connection(where, _WAIT_S)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._where.kind == "tls":
                    try:
                        made = ssl.create_default_context().wrap_socket(made, server_hostname=self._where.host)
                    except OSError:
                        made.close()
                        raise
            self._socket = made
        return self._socket

    def _refuse_a_closed(self, made: socket.socket) -> None:
        """Raise if the server has hung up: the first write after that would seem to go well."""
        made.settimeout(0)
        try:
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                while made.recv(4096):
                    pass
                raise ConnectionResetError("the server closed the connection")
        finally:
            made.settimeout(_WAIT_S)

    def _await_receipt(self, made: socket.socket) -> None:
        end = time.monotonic() + _WAIT_S
        while struct.unpack("=i", ioctl(made, _TIOCOUTQ, b"\0\0\0\0"))[0]:
            if time.monotonic() > end:
                raise TimeoutError(f"the server acknowledged nothing for {_WAIT_S:.0f} s")
            time.sleep(_LOOK_S)
        self._refuse_a_closed(made)


def message(incident: Incident, now_ns: int) -> bytes:
    """Return an incident as one RFC 5424 message.

    Raises
    ------
    nothing
    """
    priority = _LOCAL0 * 8 + _SEVERITY[incident.level]
    seconds, rest = divmod(now_ns, 1_000_000_000)
    when = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
    told = {
        "incident": incident.id,
        "rule": incident.rule,
        "level": incident.level,
        "state": incident.state,
        "site": incident.site,
        "flows": incident.flows,
        "payload_bytes": incident.payload_bytes,
        "confidence": f"{incident.confidence:.2f}",
        **{f"subject_{key}": value for key, value in sorted(incident.subject.items())},
    }
    if incident.evidence:
        told["community_id"] = incident.evidence[0].community_id
    data = " ".join(f'{key}="{_escaped(str(value))}"' for key, value in told.items())
    head = f"<{priority}>1 {when} {_host()} swarmtap {os.getpid()} {incident.rule[:32] or '-'}"
    word = "closed: " if incident.state == "closed" else ""
    text = visible(f"{word}{incident.title}; {incident.reason}")
    return f"{head} [swarmtap@{_ENTERPRISE} {data}] \ufeff{text}".encode()


def _host() -> str:
    name = socket.gethostname()
    return "".join(letter for letter in name if "!" <= letter <= "~")[:255] or "-"


def _escaped(value: str) -> str:
    return visible(value).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _cut(text: bytes, most: int) -> bytes:
    """Cut a message to what fits, between letters."""
    return text if len(text) <= most else text[:most].decode("utf-8", "ignore").encode()

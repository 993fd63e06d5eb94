"""Receivers for tests: a web server that can be down, hang or fail, and syslog servers; each keeps what it got."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

from tests.live.network import await_true

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Hook:
    """A web server on the loopback; `status` is what it answers."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.asked = 0
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.bodies.append(body)
                    hook.headers.append(dict(self.headers))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [alert for body in self.bodies for alert in json.loads(body)["alerts"]]


class Syslog:
    """A syslog server with octet counting over TCP, or datagrams over UDP."""

    def __init__(self, kind: str, port: int = 0) -> None:
        self.messages: list[str] = []
        self._kind = kind
        self._stop = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if self._kind == "tcp":
            self._socket.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join()
        self._socket.close()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def ids(self) -> list[tuple[str, str]]:
        pattern = re.compile(r'incident="(\w+)".* state="(\w+)"')
        return [(found[1], found[2]) for message in self.messages if (found := pattern.search(message))]

    def _run(self) -> None:
        while not self._stop:
            try:
                if self._kind == "udp":
                    self.messages.append(self._socket.recv(65535).decode())
                else:
                    self._serve(self._socket.accept()[0])
            except TimeoutError:
                continue

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(0.05)
        held = b""
        with peer:
            while not self._stop:
                try:
                    held += (got := peer.recv(65535))
                except TimeoutError:
                    continue
                if not got:
                    return
                while (found := re.match(rb"(\d+) ", held)) and len(held) >= found.end() + int(found[1]):
                    end = found.end() + int(found[1])
                    self.messages.append(held[found.end() : end].decode())
                    held = held[end:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def alertmanager(folder: Path, port: int, *prefix: str) -> Iterator[str]:
    """The distribution's Alertmanager; `prefix` runs it elsewhere."""
    (folder / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    command = [
        *prefix,
        str(shutil.which("prometheus-alertmanager")),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "am.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            url = f"http://127.0.0.1:{port}"
            ask = [*prefix, "curl", "--silent", "--fail", "--output", "/dev/null", f"{url}/-/ready"]
            await_true(lambda: subprocess.run(ask, check=False).returncode == 0)
            yield url
        finally:
            running.terminate()


def alerts_of(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/api/v2/alerts", timeout=10) as answer:  # noqa: S310 - ours
        return list(json.load(answer))


class Rsyslog:
    """The distribution's rsyslogd, listening with TLS; `ids` is what it wrote down."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._running: subprocess.Popen[bytes] | None = None
        self._file = folder / "rsyslog.txt"

    def __enter__(self) -> Self:
        folder = self._folder
        if not (folder / "server.pem").exists():
            self._certify()
        (folder / "rsyslog.conf").write_text(
            f'global(workDirectory="{folder}" DefaultNetstreamDriver="gtls"'
            f' DefaultNetstreamDriverCAFile="{folder}/ca.pem" DefaultNetstreamDriverCertFile="{folder}/server.pem"'
            f' DefaultNetstreamDriverKeyFile="{folder}/server.key")\n'
            'module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self._port}")\n'
            'template(name="data" type="string" string="%app-name% %structured-data%\\n")\n'
            f'action(type="omfile" file="{self._file}" template="data" asyncWriting="off" flushOnTXEnd="on")\n'
        )
        words = [str(shutil.which("rsyslogd")), "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
        with (folder / "rsyslog.log").open("ab") as log:
            self._running = subprocess.Popen(words, stdout=log, stderr=log)
        await_true(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.terminate()
            self._running.wait(20)

    @property
    def ids(self) -> list[str]:
        text = self._file.read_text() if self._file.exists() else ""
        return re.findall(r'^swarmtap \[swarmtap@32473 incident="(\w+)"', text, re.MULTILINE)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1.0).close()
        except OSError:
            return False
        return True

    def _certify(self) -> None:
        folder = self._folder
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        for name, more in (
            ("ca", ["-subj", "/CN=tests"]),
            ("server", ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key")]),
        ):  # fmt: skip
            out = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
            subprocess.run([*make, *more, *out], check=True, capture_output=True)

"""The pages over real sockets: what they say, what a bad address says, and that silence blocks nobody."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from sensor import __version__, serve
from sensor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Sensor:
    """What the pages ask."""

    def __init__(self) -> None:
        self.is_ready = False
        self.asked: list[tuple[str, Sequence[str]]] = []
        self.page = b"swarmtap_pushes_total 2.0\n"

    def metrics(self, accept: str, names: Sequence[str]) -> tuple[bytes, str]:
        self.asked.append((accept, names))
        return self.page, "text/plain; version=0.0.4; charset=utf-8"

    def ready(self) -> bool:
        return self.is_ready

    def status(self) -> dict[str, Any]:
        return {"flows": 3}


@pytest.fixture
def sensor() -> Sensor:
    return Sensor()


@pytest.fixture
def server(sensor: Sensor) -> Iterator[serve.Server]:
    answers = serve.Answers(sensor.metrics, sensor.ready, sensor.status)
    with serve.Server(serve.Listen(port=0), answers) as running:
        yield running


def get(server: serve.Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_metrics_as_they_are_asked_for(server: serve.Server, sensor: Sensor) -> None:
    status, headers, page = get(server, "/metrics?name[]=a&name[]=b", Accept="application/openmetrics-text")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert page == sensor.page
    assert sensor.asked == [("application/openmetrics-text", ["a", "b"])]


def test_long_page_is_compressed_for_who_asks(server: serve.Server, sensor: Sensor) -> None:
    _, headers, page = get(server, "/metrics", Accept_Encoding="gzip")
    assert ("content-encoding" in headers, page) == (False, sensor.page)
    sensor.page *= 200
    _, headers, page = get(server, "/metrics", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(page) == sensor.page
    assert get(server, "/metrics")[2] == sensor.page


def test_ready_only_when_it_is(server: serve.Server, sensor: Sensor) -> None:
    assert get(server, "/-/healthy")[::2] == (200, b"swarmtap is healthy.\n")
    assert get(server, "/-/ready")[::2] == (503, b"swarmtap is not ready yet.\n")
    sensor.is_ready = True
    assert get(server, "/-/ready")[::2] == (200, b"swarmtap is ready.\n")


def test_status_and_landing(server: serve.Server) -> None:
    _, headers, page = get(server, "/status")
    assert headers["content-type"] == "application/json"
    assert json.loads(page) == {"version": __version__, "ready": False, "flows": 3}
    _, headers, page = get(server, "/")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert b'<a href="/metrics">' in page


def test_nothing_can_be_changed_or_found_elsewhere(server: serve.Server) -> None:
    assert get(server, "/metrics", "POST")[0] == 405
    assert get(server, "/-/reload")[0] == 404
    assert get(server, "/../../etc/passwd")[0] == 404
    assert "server" not in get(server, "/")[1]


def test_silent_peers_neither_block_nor_stay(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_FIRST_REQUEST_S", 0.3)
    with serve.Server(serve.Listen(port=0), serve.Answers(sensor.metrics, sensor.ready, sensor.status)) as server:
        port = int(server.url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(20)]
        try:
            assert get(server, "/metrics")[0] == 200
            silent[1].sendall(b"GET /metr")  # half a request is silence too
            assert [each.recv(1) for each in silent] == [b""] * 20
        finally:
            for each in silent:
                each.close()


def healthy(peer: socket.socket) -> bool:
    peer.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    told = b""
    while not told.endswith(b"healthy.\n"):
        told += peer.recv(1 << 16)
    return told.startswith(b"HTTP/1.1 200")


def slowly(peer: socket.socket) -> int:
    """Read a byte, much later what has come by then, and return how much that was."""
    got = len(peer.recv(1))
    time.sleep(3)
    while more := len(peer.recv(1 << 20)):
        got += more
    return got


def test_who_reads_slowly_or_asks_by_halves_is_shown_out(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_EXCHANGE_S", 1.0)
    sensor.page *= 400_000  # more than both ends' buffers hold
    with serve.Server(serve.Listen(port=0), serve.Answers(sensor.metrics, sensor.ready, sensor.status)) as server:
        port = int(server.url.rpartition(":")[2])
        reader, asker, rester = (socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3))
        reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        for each in (asker, rester):
            assert healthy(each)
        asker.sendall(b"GET /")
        assert asker.recv(1) == b""
        assert slowly(reader) < len(sensor.page)
        assert healthy(rester)  # who only rests between scrapes stays
        for each in (reader, asker, rester):
            each.close()


def test_a_crowd_of_silent_peers_does_not_keep_a_scrape_out(server: serve.Server) -> None:
    port = int(server.url.rpartition(":")[2])
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(serve._CONNECTIONS + 30)]
    assert get(server, "/metrics")[0] == 200
    for each in crowd:
        each.close()


def test_stops_at_once_and_frees_its_port(sensor: Sensor) -> None:
    answers = serve.Answers(sensor.metrics, sensor.ready, sensor.status)
    with serve.Server(serve.Listen(port=0), answers) as server:
        where = serve.listen(server.url.removeprefix("http://"))
        assert get(server, "/-/healthy")[0] == 200
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert "serve" not in {thread.name for thread in threading.enumerate()}
    with serve.Server(where, answers) as again:
        assert get(again, "/-/healthy")[0] == 200


def test_taken_port_is_one_sentence(server: serve.Server, sensor: Sensor) -> None:
    where = serve.listen(server.url.removeprefix("http://"))
    second = serve.Server(where, serve.Answers(sensor.metrics, sensor.ready, sensor.status))
    with pytest.raises(OperatorError) as caught:
        second.__enter__()
    assert str(caught.value) == (
        f"listen: cannot listen on 127.0.0.1 port {where.port} (Address already in use); "
        "choose another address or port with --listen"
    )


def test_address_of_another_machine_is_one_sentence(sensor: Sensor) -> None:
    answers = serve.Answers(sensor.metrics, sensor.ready, sensor.status)
    with pytest.raises(OperatorError, match=r"^listen: cannot listen on 192\.0\.2\.1 port 9768 \(Cannot assign"):
        serve.Server(serve.Listen("192.0.2.1"), answers).__enter__()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:9768", ("127.0.0.1", 9768)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:1", ("127.0.0.1", 1)),
        (":9000", ("127.0.0.1", 9000)),
        ("9000", ("127.0.0.1", 9000)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),  # noqa: S104 - what an operator may write
    ],
)
def test_addresses_that_can_be_written(text: str, where: tuple[str, int]) -> None:
    assert serve.listen(text) == serve.Listen(*where)


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "a:b", "example.org:80", "::1:x", "²:²"]
)
def test_addresses_that_cannot(text: str) -> None:
    with pytest.raises(OperatorError, match=r'^listen: ".*" is not an (IP address|address and port); write "127'):
        serve.listen(text)


def test_url_of_version_6() -> None:
    answers = serve.Answers(Sensor().metrics, lambda: True, dict)
    assert serve.Server(serve.Listen("::1", 80), answers).url == "http://[::1]:80"

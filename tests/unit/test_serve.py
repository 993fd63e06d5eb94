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
from prometheus_client import CollectorRegistry, Counter

from sensor import __version__, serve
from sensor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sensor:
    """What the pages ask."""

    def __init__(self) -> None:
        self.is_ready = False
        self.registry = CollectorRegistry()
        self.counter = Counter("swarmtap_pushes", "Pushes.", registry=self.registry)
        Counter("swarmtap_other", "Others.", registry=self.registry)

    def ready(self) -> bool:
        return self.is_ready

    def status(self) -> dict[str, Any]:
        return {"flows": 3}


@pytest.fixture
def sensor() -> Sensor:
    return Sensor()


@pytest.fixture
def server(sensor: Sensor) -> Iterator[serve.Server]:
    answers = serve.Answers(sensor.registry, sensor.ready, sensor.status)
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


def test_metrics_in_text_and_openmetrics(server: serve.Server, sensor: Sensor) -> None:
    sensor.counter.inc(2)
    status, headers, page = get(server, "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"\nswarmtap_pushes_total 2.0\n" in page
    status, headers, page = get(server, "/metrics", Accept="application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert page.endswith(b"# EOF\n")


def test_metrics_by_name_and_compressed(server: serve.Server) -> None:
    _, _, page = get(server, "/metrics?name[]=swarmtap_other_total")
    assert b"swarmtap_other_total 0.0" in page
    assert b"swarmtap_pushes" not in page
    _, headers, small = get(server, "/metrics", Accept_Encoding="gzip")
    assert "content-encoding" not in headers
    assert b"swarmtap_pushes_total" in small


def test_long_page_is_compressed_for_who_asks(sensor: Sensor) -> None:
    many = Counter("swarmtap_many", "Many.", ["site"], registry=sensor.registry)
    for at in range(200):
        many.labels(f"site{at}").inc()
    with serve.Server(serve.Listen(port=0), serve.Answers(sensor.registry, sensor.ready, sensor.status)) as server:
        _, headers, page = get(server, "/metrics", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert b'swarmtap_many_total{site="site199"} 1.0' in gzip.decompress(page)


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
    with serve.Server(serve.Listen(port=0), serve.Answers(sensor.registry, sensor.ready, sensor.status)) as server:
        port = int(server.url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(20)]
        try:
            assert get(server, "/metrics")[0] == 200
            silent[1].sendall(b"GET /metr")  # half a request is silence too
            assert [each.recv(1) for each in silent] == [b""] * 20
        finally:
            for each in silent:
                each.close()


def test_stops_at_once_and_frees_its_port(sensor: Sensor) -> None:
    answers = serve.Answers(sensor.registry, sensor.ready, sensor.status)
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
    second = serve.Server(where, serve.Answers(sensor.registry, sensor.ready, sensor.status))
    with pytest.raises(OperatorError) as caught:
        second.__enter__()
    assert str(caught.value) == (
        f"listen: cannot listen on 127.0.0.1 port {where.port} (Address already in use); "
        "choose another address or port with --listen"
    )


def test_address_of_another_machine_is_one_sentence(sensor: Sensor) -> None:
    answers = serve.Answers(sensor.registry, sensor.ready, sensor.status)
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
    answers = serve.Answers(CollectorRegistry(), lambda: True, dict)
    assert serve.Server(serve.Listen("::1", 80), answers).url == "http://[::1]:80"

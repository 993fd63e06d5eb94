"""What an answer means: taken, never, or try again. Real servers stand in tests/live."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.posting import Address, RefusedError, address, post

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def answer() -> Iterator[list[bytes]]:
    """What a server on `answer[0]`'s port says; its first item is the port."""
    said: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    said.append(str(server.getsockname()[1]).encode())

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(said[1])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield said
    thread.join(5)
    server.close()


def where(said: list[bytes]) -> Address:
    return address("--webhook", f"http://127.0.0.1:{said[0].decode()}/a?b=c")


@pytest.mark.parametrize("status", [b"200 OK", b"202 Accepted", b"204 No Content"])
def test_a_success_is_silent(answer: list[bytes], status: bytes) -> None:
    answer.append(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    post(where(answer), b"{}", {})


@pytest.mark.parametrize("status", [b"400 Bad Request", b"404 Not Found", b"422 No"])
def test_a_fault_of_ours_is_for_good(answer: list[bytes], status: bytes) -> None:
    answer.append(b"HTTP/1.1 " + status + b"\r\nContent-Length: 3\r\n\r\nwhy")
    with pytest.raises(RefusedError, match=f"it answered {status.decode()}: why"):
        post(where(answer), b"{}", {})


@pytest.mark.parametrize("status", [b"500 Oh", b"503 Later", b"429 Slower", b"408 Late", b"302 Elsewhere"])
def test_everything_else_is_tried_again(answer: list[bytes], status: bytes) -> None:
    answer.append(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(OSError, match=f"it answered {status.decode()}"):
        post(where(answer), b"{}", {})


def test_nonsense_is_tried_again(answer: list[bytes]) -> None:
    answer.append(b"220 smtp.example.org\r\n")
    with pytest.raises(OSError, match="it answered no HTTP"):
        post(where(answer), b"{}", {})


def test_a_url_is_read() -> None:
    assert address("--webhook", "https://hooks.example.org/x?y=1") == Address(
        is_secure=True, host="hooks.example.org", port=443, path="/x?y=1", url="https://hooks.example.org/x?y=1"
    )
    assert (address("-", "http://[::1]:9093").host, address("-", "http://[::1]:9093").port) == ("::1", 9093)


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org", "http://", "http://x:99999/", "http://u:p@x/"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(OperatorError, match=r"--webhook: .* is not such a URL; write it as http://HOST:PORT/PATH"):
        address("--webhook", url)

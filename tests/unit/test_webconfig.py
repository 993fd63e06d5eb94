"""Guards of the pages: what a file may say, who is let in, and that those who stay silent hold up nobody."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import bcrypt
import pytest

from sensor import serve, webconfig
from sensor.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

PAGE = b"swarmtap_flows_active 0.0\n" * 80_000  # 2 MB: more than a hundred sites have
ANSWERS = serve.Answers(lambda *_: (PAGE, "text/plain"), lambda: True, dict)
HASH = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()


def openssl(*words: str, folder: Path) -> None:
    program = shutil.which("openssl")
    assert program
    subprocess.run([program, *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server and a client that it signed."""
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", folder=folder)
    for name in ("server", "client"):
        more = ("-addext", "subjectAltName=IP:127.0.0.1") if name == "server" else ()
        files = ("-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl("req", "-x509", *curve, *files, "-subj", f"/CN={name}", *more, folder=folder)
    return folder


def written(folder: Path, text: str) -> Path:
    path = folder / "web-config.yml"
    path.write_text(text)
    return path


def trusting(folder: Path, *, with_client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if with_client:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


def fetch(url: str, context: ssl.SSLContext | None = None, password: str = "") -> int:
    headers = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"} if password else {}
    try:
        with urlopen(Request(f"{url}/metrics", headers=headers), timeout=5, context=context) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_no_file_no_guard() -> None:
    guard = webconfig.load(None)
    assert guard.tls is None
    assert guard.admits("")


def test_passwords(tmp_path: Path) -> None:
    guard = webconfig.load(written(tmp_path, f"basic_auth_users: {{prometheus: '{HASH}'}}"))
    with serve.Server(serve.Listen(port=0), ANSWERS, guard) as server:
        assert server.url.startswith("http://")
        told = [
            fetch(server.url, password=pair)
            for pair in (
                "",
                "prometheus:open sesame",
                "prometheus:open sesame",
                "prometheus:wrong",
                "nobody:open sesame",
                "x",
            )
        ]
    assert told == [401, 200, 200, 401, 401, 401]


@pytest.mark.parametrize(
    "header", ["", "Bearer x", "Basic", "Basic %%%", "Basic " + base64.b64encode(b"no colon").decode()]
)
def test_headers_that_say_nothing(header: str) -> None:
    assert not webconfig.Guard(users={"a": HASH.encode()}).admits(header)


def test_a_password_is_hashed_once() -> None:
    guard = webconfig.Guard(users={"a": bcrypt.hashpw(b"b", bcrypt.gensalt(12))})
    header = "Basic " + base64.b64encode(b"a:b").decode()
    assert guard.admits(header)
    began = time.perf_counter()
    assert all(guard.admits(header) for _ in range(100))
    assert time.perf_counter() - began < 0.1


@pytest.mark.needs("openssl")
def test_tls(certificates: Path) -> None:
    path = written(certificates, "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS13}")
    with serve.Server(serve.Listen(port=0), ANSWERS, webconfig.load(path)) as server:
        assert server.url.startswith("https://")
        assert fetch(server.url, trusting(certificates)) == 200
        old = trusting(certificates)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(OSError, match=r"(?i)protocol|alert"):
            fetch(server.url, old)


@pytest.mark.needs("openssl")
def test_client_certificates(certificates: Path) -> None:
    text = """
    tls_server_config:
      cert_file: server.pem
      key_file: server.key
      client_auth_type: RequireAndVerifyClientCert
      client_ca_file: ca.pem
    """
    with serve.Server(serve.Listen(port=0), ANSWERS, webconfig.load(written(certificates, text))) as server:
        assert fetch(server.url, trusting(certificates, with_client=True)) == 200
        with pytest.raises(OSError, match=r"(?i)certificate required|closed|reset|eof"):
            fetch(server.url, trusting(certificates))


@pytest.mark.needs("openssl")
def test_silent_and_slow_peers_hold_up_nobody(certificates: Path) -> None:
    """20 idle connections, a TLS peer that never speaks, one that sends a byte now and then, one that hardly reads."""
    path = written(certificates, "tls_server_config: {cert_file: server.pem, key_file: server.key}")
    with serve.Server(serve.Listen(port=0), ANSWERS, webconfig.load(path)) as server:
        port = int(server.url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(21)]
        context = trusting(certificates)
        slow = [
            context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=5), server_hostname="127.0.0.1")
            for _ in range(2)
        ]
        slow[0].sendall(b"G")
        slow[1].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        took = []
        for byte in b"ET ":
            slow[0].sendall(bytes([byte]))
            slow[1].recv(1)
            began = time.perf_counter()
            assert fetch(server.url, context) == 200
            took.append(time.perf_counter() - began)
        for each in (*silent, *slow):
            each.close()
    assert max(took) < 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "is not a mapping; keys are tls_server_config, basic_auth_users"),
        ("a: [", "is not YAML"),
        ("http_server_config: {http2: true}", 'unknown key "http_server_config"'),
        ("basic_auth_users: {a: secret}", '"a" has no bcrypt hash; make one with `htpasswd -nBC 10 name`'),
        ("basic_auth_users: [a]", "write `name: bcrypt hash`"),
        ("tls_server_config: {cert_file: a.pem}", "no key_file; write `key_file: FILE`, relative to web-config.yml"),
        (
            "tls_server_config: {cert_file: a, key_file: b}",
            "certificate or key cannot be used (No such file or directory)",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}",
            'min_version "TLS10"; one of TLS12, TLS13',
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "no client_ca_file",
        ),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: Maybe}", 'client_auth_type "Maybe"'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(OperatorError) as caught:
        webconfig.load(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file"):
        webconfig.load(tmp_path / "web-config.yml")

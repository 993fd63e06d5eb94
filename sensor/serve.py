"""What the sensor answers over HTTP: `/metrics` for Prometheus, `/-/healthy` and `/-/ready`, `/status` for people.

It listens on the loopback by default, reads only, and keeps nothing: what it tells comes from the callables it is
given. A peer that connects and stays silent is shown out, so that it cannot take a scrape's place.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from sensor import __version__
from sensor.errors import Mistake, OperatorError
from sensor.landing import page
from sensor.webconfig import Guard

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

HOST: Final = "127.0.0.1"
PORT: Final = 9768  # free in Prometheus' list of default port allocations
_PORTS: Final = 65535
_KEEP_ALIVE_S: Final = 75  # longer than usual scrape intervals, so that scrapes share a connection
_FIRST_REQUEST_S: Final = 10.0
_EXCHANGE_S: Final = 30.0  # from the first byte of a request to the last one of its answer
_STOP_S: Final = 3
_CONNECTIONS: Final = 128
_COMPRESSION: Final = 3  # of a page for a hundred sites: 77 kB in 4 ms, where 9 makes 62 kB in 55 ms
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: an address of this machine and a TCP port (0: any free one)."""

    host: str = HOST
    port: int = PORT


@dataclass(frozen=True, slots=True)
class Answers:
    """What the pages tell: metrics and their media type, whether the sensor is ready, and its state.

    Metrics are asked for by an Accept header and by names (none: all); ready is who has a policy and an open capture.
    """

    metrics: Callable[[str, Sequence[str]], tuple[bytes, str]]
    ready: Callable[[], bool]
    status: Callable[[], dict[str, Any]]


def listen(text: str) -> Listen:
    """Read `host:port`, `[v6]:port`, `:port` or `port`.

    Raises
    ------
    OperatorError
        If it is none of these.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or HOST
    if not (port.isascii() and port.isdigit() and int(port) <= _PORTS):
        raise OperatorError(Mistake("listen", f'"{text}" is not an address and port', 'write "127.0.0.1:9768"'))
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        mistake = Mistake(
            "listen", f'"{host}" is not an IP address', 'write "127.0.0.1:9768", or "0.0.0.0:9768" for all'
        )
        raise OperatorError(mistake) from error
    return Listen(str(address), int(port))


def application(answers: Answers, guard: Guard | None = None) -> Starlette:
    """Return the pages as an ASGI application, for those whom the guard admits.

    Raises
    ------
    nothing
    """

    def metrics(request: Request) -> Response:
        # A def, not an async def: Starlette runs it in a thread, and a long page does not hold up the health checks.
        told, media_type = answers.metrics(request.headers.get("accept", ""), request.query_params.getlist("name[]"))
        return Response(told, headers={**_HEADERS, "Content-Type": media_type})

    def healthy(_: Request) -> Response:
        return PlainTextResponse("swarmtap is healthy.\n", headers=_HEADERS)

    def ready(_: Request) -> Response:
        if answers.ready():
            return PlainTextResponse("swarmtap is ready.\n", headers=_HEADERS)
        return PlainTextResponse("swarmtap is not ready yet.\n", status_code=503, headers=_HEADERS)

    def status(_: Request) -> Response:
        return JSONResponse({"version": __version__, "ready": answers.ready(), **answers.status()}, headers=_HEADERS)

    def landing(_: Request) -> Response:
        return HTMLResponse(page(answers.status(), ready=answers.ready()), headers=_HEADERS)

    pages = {"/": landing, "/metrics": metrics, "/-/healthy": healthy, "/-/ready": ready, "/status": status}
    routes = [Route(path, page, methods=["GET"]) for path, page in pages.items()]
    doors = [Middleware(_Door, guard=guard)] if guard and guard.users else []
    return Starlette(
        routes=routes, middleware=[*doors, Middleware(GZipMiddleware, minimum_size=1024, compresslevel=_COMPRESSION)]
    )


class _Door:
    """Asks for a password before anything is told."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = next((value for name, value in scope.get("headers", ()) if name == b"authorization"), b"")
        # In a thread: a wrong password costs a tenth of a second, and must cost nobody else anything.
        if await run_in_threadpool(self._guard.admits, header.decode("latin-1")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse("Unauthorized\n", 401, {**_HEADERS, "WWW-Authenticate": 'Basic realm="swarmtap"'})
        await refusal(scope, receive, send)


class Server:
    """The pages, served from a thread of their own while the `with` block runs.

    Parameters
    ----------
    where
        The address to listen on.
    answers
        What the pages tell.
    guard
        Who may read them; everyone who reaches the address by default.
    """

    def __init__(self, where: Listen, answers: Answers, guard: Guard | None = None) -> None:
        self._where = where
        self._guard = guard or Guard()
        self._answers = answers
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address that the pages are served at, with the port that the system chose for port 0."""
        host, port = self._socket.getsockname()[:2] if self._socket else (self._where.host, self._where.port)
        scheme = "https" if self._guard.tls else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def __enter__(self) -> Self:
        """Listen, and serve.

        Raises
        ------
        OperatorError
            If the address is not of this machine, or the port is taken or not allowed.
        """
        self._socket = _bound(self._where)
        config = uvicorn.Config(
            application(self._answers, self._guard),
            http=_Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        config.load()
        config.ssl = self._guard.tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="serve", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the answers under way, for a few seconds at most, and stop."""
        if self._server is not None and self._thread is not None and self._socket is not None:
            self._server.should_exit = True
            self._thread.join(2 * _STOP_S)
            self._socket.close()


class _Impatient(H11Protocol):
    """uvicorn waits for ever: for a first request, for the rest of a later one, for who reads an answer byte by byte.

    Each would hold a connection as long; and in a crowd, who has held on longest goes, not who comes to scrape.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._rested_s = self.loop.time()
        self._look()
        if len(self.connections) > _CONNECTIONS:
            crowd = [each for each in self.connections if isinstance(each, _Impatient)]
            min(crowd, key=lambda each: each._rested_s).transport.abort()  # noqa: SLF001 - its own kind

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._next.cancel()

    def _look(self) -> None:
        cycle = getattr(self, "cycle", None)  # uvicorn types it as if there always were a request
        is_read = not self.transport.is_closing() and self.transport.get_write_buffer_size() == 0
        limit_s = _FIRST_REQUEST_S if cycle is None else _EXCHANGE_S
        if cycle is not None and cycle.response_complete and is_read and not self.conn.trailing_data[0]:
            self._rested_s = self.loop.time()
        elif self.loop.time() - self._rested_s > limit_s:
            self.transport.abort()
        self._next = self.loop.call_later(limit_s / 4, self._look)


def _bound(where: Listen) -> socket.socket:
    family = socket.AF_INET6 if isinstance(ip_address(where.host), IPv6Address) else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((where.host, where.port))
        made.listen(_CONNECTIONS)
    except OSError as error:
        made.close()
        read = f"cannot listen on {where.host} port {where.port} ({error.strerror})"
        raise OperatorError(Mistake("listen", read, "choose another address or port with --listen")) from error
    return made

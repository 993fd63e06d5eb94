"""Real programs on one stage: a sensor that replays, Prometheus that scrapes it, Alertmanager, and a webhook."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.house import tree

if TYPE_CHECKING:
    from collections.abc import Callable

SPEED = 20_000  # the office's six days in 26 s
SCRAPE_S = 0.5
DEADLINE_S = 60.0
WEEK = "pcaps/office-week.pcap"
CASE = "pcaps/off-window.pcap"
POLICY = "pcaps/office.yaml"
# Ranges and waits of the shipped rules, made as short as the replay.
HURRY = ((r"\[\d+[mh]\]", "[8s]"), (r"(?m)^(\s+for:) \S+", r"\1 1s"), (r"(?m)^\s+keep_firing_for: \S+\n", ""))


def hurried(rules: str) -> str:
    for pattern, instead in HURRY:
        rules = re.sub(pattern, instead, rules)
    return rules


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, **parameters: str | float) -> Any:
    with urlopen(f"{url}?{urlencode(parameters)}" if parameters else url, timeout=10) as answer:  # noqa: S310
        body = answer.read()
    return json.loads(body) if body[:1] in b"[{" else body.decode()


def until(what: str, ask: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Ask until the answer is true, or fail with what was waited for."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            if answer := ask():
                return answer
        except OSError:  # not listening yet
            pass
        if time.monotonic() > end:
            message = f"waited {deadline_s:.0f} s in vain for {what}"
            raise AssertionError(message)
        time.sleep(0.1)


class Webhook:
    """Keeps what Alertmanager posts."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def alerts(self, name: str, status: str) -> list[dict[str, Any]]:
        told = [alert for post in self.posts for alert in post["alerts"]]
        return [alert for alert in told if alert["labels"]["alertname"] == name and alert["status"] == status]


@dataclass
class Stage:
    """Everything that runs, and when the replay began and ended."""

    folder: Path
    backfilled: str = CASE
    prometheus: str = ""
    alertmanager: str = ""
    sensor: str = ""
    webhook: Webhook = field(default_factory=Webhook)
    began: float = 0.0
    ended: float = 0.0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.webhook)
        ports = [free_port() for _ in range(3)]
        self.sensor, self.prometheus, self.alertmanager = (f"http://127.0.0.1:{port}" for port in ports)
        self._backfill()
        self._configure()
        self._start("alertmanager", "prometheus-alertmanager", f"--config.file={self.folder / 'alertmanager.yml'}",
                    f"--storage.path={self.folder / 'am'}", f"--web.listen-address={self._address(self.alertmanager)}",
                    "--cluster.listen-address=")  # fmt: skip
        self._start("prometheus", "prometheus", f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'tsdb'}",
                    f"--web.listen-address={self._address(self.prometheus)}",
                    "--storage.tsdb.retention.time=100y", "--enable-feature=exemplar-storage")  # fmt: skip
        for server in (self.alertmanager, self.prometheus):
            until(f"{server} ready", lambda server=server: get(f"{server}/-/ready"))
        # The first scrape comes some 6 s after the start; the sensor starts behind it, so that nothing is missed.
        until("the first scrape", lambda: self.query('up{job="swarmtap"} == 0'))
        self.began = time.time()
        self._start("sensor", sys.executable, "-m", "sensor", "watch", "--replay", WEEK, "-p", POLICY, "--speed",
                    str(SPEED), "--linger", "120", "--offenders", "10",
                    "--listen", self._address(self.sensor))  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_for_end(self) -> None:
        """Wait until the whole week has been replayed and scraped."""
        if self.ended:
            return
        last = 'swarmtap_capture_packets_total{job="swarmtap"} == 20231'
        until("the end of the replay", lambda: self.query(last))
        time.sleep(2 * SCRAPE_S)
        self.ended = time.time()

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        parameters: dict[str, str | float] = {"query": expression}
        if at is not None:
            parameters["time"] = at
        return list(get(f"{self.prometheus}/api/v1/query", **parameters)["data"]["result"])

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        found = get(f"{self.prometheus}/api/v1/query_range", query=expression, start=start, end=end, step=step)
        return list(found["data"]["result"])

    def _start(self, name: str, *command: str) -> None:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=tree.ROOT)
        self._stack.callback(self._end, running)

    @staticmethod
    def _end(running: subprocess.Popen[bytes]) -> None:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    @staticmethod
    def _address(url: str) -> str:
        return url.removeprefix("http://")

    def _configure(self) -> None:
        for name in ("alerts", "recording"):
            rules = tree.text(Path(f"rules/prometheus/{name}.yml"))
            (self.folder / f"{name}.yml").write_text(hurried(rules))
        prometheus = yaml.safe_load(tree.text(Path("packaging/prometheus.yml")))
        prometheus["global"] = {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms", "evaluation_interval": "500ms"}
        prometheus["rule_files"] = [str(self.folder / f"{name}.yml") for name in ("alerts", "recording")]
        prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [self._address(self.alertmanager)]
        prometheus["scrape_configs"][0]["static_configs"][0]["targets"] = [self._address(self.sensor)]
        (self.folder / "prometheus.yml").write_text(json.dumps(prometheus))  # JSON is YAML
        alertmanager = yaml.safe_load(tree.text(Path("packaging/alertmanager.yml")))
        alertmanager["route"] |= {"group_wait": "0s", "group_interval": "1s"}
        for receiver in alertmanager["receivers"]:
            for webhook in receiver.get("webhook_configs", ()):
                webhook["url"] = self.webhook.url
        (self.folder / "alertmanager.yml").write_text(json.dumps(alertmanager))

    def _backfill(self) -> None:
        case, told = self.folder / "off-window", self.folder / "case.om"
        swarmtap = [sys.executable, "-m", "sensor"]
        for command in (
            [*swarmtap, "analyze", self.backfilled, "-p", POLICY, "-o", str(case)],
            [*swarmtap, "metrics", str(case), "-o", str(told)],
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(told), str(self.folder / "tsdb")],
        ):
            done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr

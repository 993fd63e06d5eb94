"""The real Prometheus scrapes the real pages and answers queries about what the sensor saw."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from sensor import serve
from sensor.sinks import metrics
from tests import cases
from tests.cases import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 40.0  # the first sample comes some 6 s after the start, whatever the scrape interval is


@pytest.fixture
def tallies() -> metrics.Tallies:
    made = metrics.Tallies(cases.POLICY, {"w01_off_window_transfer": "medium"}, interfaces=("eth0",), sinks=("eve",))
    finding = {"site": "hq", "rule": "w01_off_window_transfer", "level": "medium", "flows": (0,), "last_ts_ns": NOON}
    made.add(
        cases.activity({"resp_payload_bytes": 5_000_000, "resp_packets": 9}), cases.flows({}), cases.findings(finding)
    )
    made.set_schedule("hq", is_open=False, next_change_ns=NOON)
    return made


@pytest.fixture
def server(tallies: metrics.Tallies) -> Iterator[serve.Server]:
    answers = serve.Answers(metrics.registry(tallies), lambda: True, dict)
    with serve.Server(serve.Listen(port=0), answers) as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def prometheus(server: serve.Server, tmp_path: Path) -> Iterator[str]:
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "swarmtap", "static_configs": [{"targets": [server.url.removeprefix("http://")]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(shutil.which("prometheus")),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            running.terminate()
            running.wait(20)


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    try:
        with urlopen(f"{prometheus}/api/v1/query?{urlencode({'query': expression})}", timeout=5) as answer:  # noqa: S310
            return list(json.load(answer)["data"]["result"])
    except OSError:  # not listening yet
        return []


def first(prometheus: str, expression: str) -> list[dict[str, Any]]:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := query(prometheus, expression):
            return found
        time.sleep(0.2)
    pytest.fail(f"no sample of {expression} within {DEADLINE_S} s")


@pytest.mark.needs("prometheus")
def test_prometheus_answers_what_the_sensor_saw(prometheus: str, tallies: metrics.Tallies) -> None:
    off = 'sum by (site) (swarmtap_flow_payload_bytes_total{schedule=~"closed|disabled"})'
    assert {each["metric"]["site"]: each["value"][1] for each in first(prometheus, off)} == {
        "hq": "5000000",
        "ber": "0",
        "unknown": "0",
    }
    assert query(prometheus, "swarmtap_schedule_next_change_timestamp_seconds")[0]["value"][1] == "1773144000"
    assert query(prometheus, 'up{job="swarmtap"}')[0]["value"][1] == "1"
    assert query(prometheus, "swarmtap_build_info")
    # A finding at a site that had none: seen by increase(), because its counter was there at 0 before.
    expression = 'increase(swarmtap_findings_total{site="ber"}[30s]) > 0'
    assert query(prometheus, expression) == []
    finding = {"site": "ber", "rule": "w01_off_window_transfer", "level": "medium", "last_ts_ns": NOON}
    tallies.add(cases.activity(), cases.flows(), cases.findings(finding))
    assert first(prometheus, expression)[0]["metric"]["rule"] == "w01_off_window_transfer"


@pytest.mark.needs("promtool")
def test_promtool_has_nothing_to_say_of_the_page(server: serve.Server) -> None:
    with urlopen(f"{server.url}/metrics", timeout=10) as answer:  # noqa: S310
        page = answer.read()
    promtool = str(shutil.which("promtool"))
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

"""Every sink dead for a while, with traffic all along: all is told when they are back, in order, none dropped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.builders import SYN, ethernet, ipv4, pcap, tcp
from tests.live.network import LIVE, PCAPS, Network, Sensor, await_true, prompt_rules
from tests.live.receivers import Hook, Syslog, alertmanager, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = LIVE
DEAD_S = float(os.environ.get("SWARMTAP_OUTAGE_S", "2"))
"""Short here; 60 by hand, as docs/live.md says."""
SINKS = ("webhook", "syslog", "alertmanager", "eve", "spool")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that whoever the sensor becomes can write to, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="swarmtap-live-"))
    made.chmod(0o777)
    shutil.copy(PCAPS / "office.yaml", made / "policy.yaml")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def network(worker_id: str) -> Iterator[Network]:
    with Network(f"swarmtap-outage-{worker_id}") as made:
        yield made


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A small disk of its own at a folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on the disk; return the file to remove to have room again."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    return path


def send(network: Network, folder: Path, host: int) -> None:
    """Send an attempt of another host of a site where peering is disabled: another incident."""
    path = folder / "attempt.pcap"
    path.write_bytes(pcap([ethernet(ipv4(f"10.9.0.{host}", "10.9.0.250", tcp(50000 + host, 7680, flags=SYN)))]))
    network.send(path)


@pytest.mark.needs("prometheus-alertmanager")
def test_all_sinks_are_dead_for_a_while(network: Network, folder: Path) -> None:
    with network.inside():
        ports = [free_port() for _ in range(3)]
    options = ["-p", str(folder / "policy.yaml"), "-r", str(prompt_rules(folder)), "--state", str(folder / "state")]
    options += ["--eve", str(folder / "eve" / "eve.json"), "--webhook", f"http://127.0.0.1:{ports[0]}/hook"]
    options += ["--spool", str(folder / "spool" / "rows"), "--spool-every", "1"]
    options += ["--syslog", f"tcp://127.0.0.1:{ports[1]}", "--alertmanager", f"http://127.0.0.1:{ports[2]}"]
    with disk(folder / "eve"), disk(folder / "spool"), Sensor(network, folder, *options) as sensor:
        fillers = [fill(folder / "eve"), fill(folder / "spool")]
        send(network, folder, 1)
        began, host = time.monotonic(), 1
        while time.monotonic() - began < DEAD_S or host < 4:
            host += 1
            send(network, folder, host)
            time.sleep(max(0.5, DEAD_S / 60))
        for sink in SINKS:
            sensor.await_metric(f'swarmtap_sink_failures_total{{sink="{sink}"}}', 1)
        for filler in fillers:
            filler.unlink()
        with network.inside():
            hook, syslog = Hook(ports[0]), Syslog("tcp", ports[1])
        with ExitStack() as stack:
            for receiver in (hook, syslog):
                stack.enter_context(receiver)
            stack.enter_context(alertmanager(folder, ports[2], *network.command()))
            await_true(lambda: len(syslog.ids) >= host, 90)
            await_true(lambda: len(hook.alerts) >= host, 90)
            found = sensor.await_metric('swarmtap_sink_deliveries_total{sink="alertmanager"}', host, 90)
            page = json.loads(network.run("curl", "-s", f"http://127.0.0.1:{ports[2]}/api/v2/alerts"))
            assert found['swarmtap_capture_kernel_drops_total{interface="vb"}'] == 0
            assert found['swarmtap_capture_packets_total{interface="vb"}'] == host
            sensor.await_metric('swarmtap_sink_deliveries_total{sink="eve"}', host, 90)
            assert [found[f'swarmtap_sink_drops_total{{sink="{sink}"}}'] for sink in SINKS] == [0] * len(SINKS)
            assert sensor.stop() == 0
        lines = [json.loads(line) for line in (folder / "eve" / "eve.json").read_text().splitlines()]
        rows = folder / "spool" / "rows"
        activity, flows = (
            pd.concat(pd.read_parquet(path, partitioning=None) for path in (rows / table).rglob("*.parquet"))
            for table in ("activity", "flows")
        )
    hosts = [f"10.9.0.{each}" for each in range(1, host + 1)]
    assert [line["src_ip"] for line in lines if line["event_type"] == "alert"] == hosts
    assert sorted(flows["orig_ip"]) == sorted(hosts)
    assert sorted(activity["community_id"]) == sorted(flows["community_id"])
    told = [line["alert"]["metadata"]["incident"][0] for line in lines if line["event_type"] == "alert"]
    assert len(set(told)) == host
    assert [each for each, _ in syslog.ids] == told
    assert [alert["fingerprint"] for alert in hook.alerts] == told
    assert {alert["labels"]["incident"] for alert in page} == set(told)

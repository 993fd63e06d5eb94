"""The life of a sensor on an interface: killed and started again, reloaded, without privileges, its link torn out."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from tests.builders import SYN, ethernet, ipv4, pcap, tcp
from tests.live.network import LIVE, PCAPS, ROOT, SWARMTAP, Network, Sensor, await_true, prompt_rules
from tests.live.receivers import Hook, alertmanager
from tests.live.set_clock import set_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = LIVE
# Each is short here; long by hand, as docs/live.md says.
KILLS = int(os.environ.get("SWARMTAP_KILLS", "1"))
RELOADS_MANY = int(os.environ.get("SWARMTAP_RELOADS", "5"))
FLAPS = int(os.environ.get("SWARMTAP_FLAPS", "5"))
HOUR_NS = 3600 * 1_000_000_000
PORTS = cycle(range(50_000, 60_000))  # each attempt a flow of its own
PACKETS = 'swarmtap_capture_packets_total{interface="vb"}'
RELOADS = 'swarmtap_config_reloads_total{result="%s"}'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that whoever the sensor becomes can read, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="swarmtap-live-"))
    made.chmod(0o755)
    shutil.copy(PCAPS / "office.yaml", made / "policy.yaml")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def network(worker_id: str) -> Iterator[Network]:
    with Network(f"swarmtap-life-{worker_id}") as made:
        yield made


@contextmanager
def ending(running: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        running.kill()


def attempts(folder: Path, *hosts: int) -> Path:
    """Connection attempts of hosts of a site where peering is disabled."""
    path = folder / f"attempts-{'-'.join(map(str, hosts))}.pcap"
    path.write_bytes(
        pcap(ethernet(ipv4(f"10.9.0.{host}", "10.9.0.250", tcp(next(PORTS), 7680, flags=SYN))) for host in hosts)
    )
    return path


def store(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "state" / "incidents.sqlite") as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [json.loads(record) for (record,) in opened.execute("SELECT record FROM incident")]


def eve_ids(folder: Path) -> list[str]:
    lines = [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]
    return [line["alert"]["metadata"]["incident"][0] for line in lines if line["event_type"] == "alert"]


def options(folder: Path) -> list[str]:
    return ["-p", str(folder / "policy.yaml"), "-r", str(prompt_rules(folder))]


@pytest.mark.needs("prometheus-alertmanager")
def test_killed_at_any_moment_no_incident_is_lost_or_gets_a_second_id(network: Network, folder: Path) -> None:
    chance = random.Random(os.environ.get("SWARMTAP_SEED", "7680"))  # noqa: S311 - moments
    (folder / "eve.json").touch()
    (folder / "eve.json").chmod(0o666)
    with network.inside():
        hook = Hook()
    with hook, alertmanager(folder, 9193, *network.command()) as _:
        told = ["--state", str(folder / "state"), "--eve", str(folder / "eve.json"), "--webhook", hook.url]
        told += ["--alertmanager", "http://127.0.0.1:9193"]
        with Sensor(network, folder, *options(folder), *told) as sensor:
            assert sensor.stop() == 0  # from now on there is something that was learnt
        assert (folder / "state" / "memory.zip").exists()
        for number in range(KILLS):
            with Sensor(network, folder, *options(folder), *told) as sensor:
                network.send(attempts(folder, 1, 2 + number % 100))
                end = time.monotonic() + chance.uniform(0.2, 11.0)
                while time.monotonic() < end:
                    network.send(attempts(folder, 1))
                    time.sleep(0.2)
                sensor.kill()
            if (folder / "state" / "incidents.sqlite").exists():
                store(folder)  # it is whole
        with Sensor(network, folder, *options(folder), *told) as sensor:
            network.send(attempts(folder, 1, 201))
            await_true(lambda: any(each["subject"]["orig_ip"] == "10.9.0.201" for each in store(folder)))
            await_true(lambda: {each["id"] for each in store(folder)} == {a["fingerprint"] for a in hook.alerts})
            sensor.await_metric('swarmtap_sink_deliveries_total{sink="alertmanager"}', 1)
            assert sensor.stop() == 0
            assert "memory.zip" not in sensor.err, "what was learnt could be read"
        incidents = store(folder)
        known = {each["id"] for each in incidents}
        ids = defaultdict(set)
        for each in incidents:
            ids[each["rule"], json.dumps(each["subject"])].add(each["id"])
        assert any('10.9.0.1"' in subject for _, subject in ids)
        assert all(len(each) == 1 for each in ids.values()), ids
        assert set(eve_ids(folder)) == known
        assert {alert["fingerprint"] for alert in hook.alerts} == known
        page = json.loads(network.run("curl", "-s", "http://127.0.0.1:9193/api/v2/alerts"))
        assert {alert["labels"]["incident"] for alert in page} == known
        print(f"{KILLS} kills, {len(known)} incidents, {len(hook.alerts)} posts, {len(eve_ids(folder))} EVE lines")  # noqa: T201


def test_an_incident_is_told_within_fifteen_seconds(network: Network, folder: Path) -> None:
    (folder / "eve.json").touch()
    (folder / "eve.json").chmod(0o666)
    with Sensor(network, folder, *options(folder), "--eve", str(folder / "eve.json")) as sensor:
        while time.time() % 10 > 1:  # a window has just begun: what comes now waits longest
            time.sleep(0.05)
        network.send(attempts(folder, 5))
        sent = time.monotonic()
        await_true(lambda: eve_ids(folder), 20)
        took = time.monotonic() - sent
        assert sensor.stop() == 0
    print(f"told {took:.1f} s after the packet")  # noqa: T201
    assert took < 15


def test_nothing_is_imported_once_privileges_are_given_up(network: Network, folder: Path) -> None:
    for name in ("eve.json", "imported"):
        (folder / name).touch()
        (folder / name).chmod(0o666)
    for name in ("spool", "evidence"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    places = {name: str(folder / name) for name in ("state", "spool", "evidence")}
    told = ["--eve", str(folder / "eve.json"), "--syslog", "tcp://localhost:5514", "--webhook", "http://localhost:9/"]
    told += [
        "--alertmanager",
        "http://localhost:9193",
        *(word for name in places for word in (f"--{name}", places[name])),
    ]
    program = [sys.executable, "-m", "tests.live.imports", str(folder / "imported")]
    for host in (5, 6):  # the second one finds what the first one has learnt
        with Sensor(network, folder, *options(folder), *told, program=program) as sensor:
            network.send(attempts(folder, host))
            sensor.metrics()
            network.run("curl", "-s", f"{sensor.url}/status")
            network.run("curl", "-s", f"{sensor.url}/")
            reloads = sensor.err.count("reloaded")
            sensor.signal(signal.SIGHUP)
            sensor.await_("reloaded", reloads + 1)
            await_true(lambda host=host: any(each["subject"]["orig_ip"] == f"10.9.0.{host}" for each in store(folder)))
            time.sleep(1)
            assert sensor.stop() == 0
        assert (folder / "imported").read_text().split() == []
    assert "memory.zip" not in sensor.err


def test_a_clock_that_is_set_an_hour_back_and_forward(network: Network, folder: Path) -> None:
    clock = folder / "clock"
    clock.write_bytes(bytes(8))
    program = [sys.executable, "-m", "tests.live.set_clock", str(clock)]
    told = ["--state", str(folder / "state"), "--spool", str(folder / "spool")]
    said = [
        "the clock was set back by 3,600 s; times of events run on, 3,600 s ahead of it",
        "the clock was set forward by 3,600 s; times of events follow it",
        "the clock was set forward by 3,600 s; times of events follow it",
    ]
    began_ns = time.time_ns()
    with Sensor(network, folder, *options(folder), *told, program=program) as sensor:
        network.send(attempts(folder, 1))
        sensor.await_metric(PACKETS, 1)
        for number, ahead_s in enumerate((-3600, 0, 3600), 1):
            set_clock(clock, ahead_s)
            sensor.await_metric("swarmtap_capture_clock_steps_total", number)
            network.send(attempts(folder, 1 + number))
            sensor.await_metric(PACKETS, 1 + number)
        found = sensor.metrics()
        assert found['swarmtap_capture_kernel_drops_total{interface="vb"}'] == 0
        assert sensor.stop() == 0
    ended_ns = time.time_ns()
    assert re.findall(r"the clock was set .*", sensor.err) == said
    incidents = {each["subject"]["orig_ip"]: each for each in store(folder)}
    assert sorted(incidents) == [f"10.9.0.{host}" for host in range(1, 5)]
    seen_ns = [incidents[host]["first_seen_ns"] for host in sorted(incidents)]
    assert seen_ns == sorted(seen_ns)
    assert began_ns < seen_ns[0] < seen_ns[2] < ended_ns  # as if it had not been set back
    assert began_ns < seen_ns[3] - HOUR_NS < ended_ns
    flows = [pd.read_parquet(path, partitioning=None) for path in (folder / "spool" / "flows").rglob("*.parquet")]
    assert len(pd.concat(flows)) == 4


def test_nothing_is_left_that_it_does_not_need(network: Network, folder: Path) -> None:
    with Sensor(network, folder, *options(folder), "--state", str(folder / "state")) as sensor:
        network.send(attempts(folder, 5))
        sensor.await_metric(PACKETS, 1)
        threads = list(Path(f"/proc/{sensor.pid}/task").iterdir())
        assert len(threads) > 1
        children = [pid for thread in threads for pid in (thread / "children").read_text().split()]
        assert len(children) == 1
        threads += Path(f"/proc/{children[0]}/task").iterdir()
        for thread in threads:
            facts = dict(re.findall(r"^(\w+):[ \t]*(.*)$", (thread / "status").read_text(), re.MULTILINE))
            assert facts["Uid"].split() == ["65534"] * 4, facts["Name"]
            assert facts["Gid"].split() == ["65534"] * 4
            assert facts["Groups"].strip() == ""
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(facts[kind], 16) == 0, (facts["Name"], kind)
            assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_a_capability_alone_is_enough_and_goes_too(network: Network, folder: Path) -> None:
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+net_raw"]
    prefix += ["--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"]
    command = network.command_of_others(*prefix, *SWARMTAP, "watch", "-i", "vb", "--listen", ":0", *options(folder))
    # Where kernels are compiled just in time, somebody without a home needs a place for them.
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "numba")}
    (folder / "numba").mkdir(mode=0o777)
    (folder / "numba").chmod(0o777)
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as running,
        ending(running),
    ):
        assert running.stderr is not None
        said = [running.stderr.readline()]
        while "serving" not in said[-1]:
            assert said[-1], said
            said.append(running.stderr.readline())
        for thread in Path(f"/proc/{running.pid}/task").iterdir():
            facts = dict(re.findall(r"^(\w+):[ \t]*(.*)$", (thread / "status").read_text(), re.MULTILINE))
            assert [int(facts[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4, facts["Name"]
            assert facts["NoNewPrivs"] == "1"
        running.terminate()
        assert running.wait(30) == 0
    assert "swarmtap: watching vb as the user it was started by, without privileges\n" in said


def test_reload_takes_a_good_policy_refuses_a_bad_one_and_keeps_all_state(network: Network, folder: Path) -> None:
    policy = folder / "policy.yaml"
    good = policy.read_text()
    with Sensor(network, folder, *options(folder), "--state", str(folder / "state")) as sensor:
        network.send(attempts(folder, 5))
        await_true(lambda: len(store(folder)) == 1)
        before = store(folder)[0]
        policy.write_text(good.replace("timezone: Europe/Berlin", "timezone: Europe/Bärlin", 1))
        sensor.signal(signal.SIGHUP)
        sensor.await_("reload refused")
        refused = re.search(r"reload refused: (.*)", sensor.err)
        assert refused
        assert refused[1].startswith(f"{policy}:")
        assert "Europe/Bärlin" in refused[1]
        assert sensor.await_metric(RELOADS % "failure", 1)["swarmtap_config_last_reload_successful"] == 0
        policy.write_text(good)
        for number in range(RELOADS_MANY):
            network.send(attempts(folder, 5))
            sensor.signal(signal.SIGHUP)
            sensor.await_("reloaded:", number + 1)
        assert sensor.await_metric(RELOADS % "success", 1 + RELOADS_MANY)["swarmtap_config_last_reload_successful"] == 1
        await_true(lambda: store(folder)[0]["flows"] == 1 + RELOADS_MANY)
        (after,) = store(folder)
        assert (after["id"], after["first_seen_ns"]) == (before["id"], before["first_seen_ns"])
        # Another policy: where peering is allowed an attempt is no news.
        policy.write_text(good.replace("peering: disabled", "peering: allowed"))
        sensor.signal(signal.SIGHUP)
        sensor.await_("reloaded:", 1 + RELOADS_MANY)
        network.send(attempts(folder, 77))
        sensor.await_metric(PACKETS, 2 + RELOADS_MANY)
        assert sensor.stop() == 0
    assert [each["id"] for each in store(folder)] == [before["id"]]


def test_a_link_that_flaps_and_an_interface_that_is_replaced(network: Network, folder: Path) -> None:
    with Sensor(network, folder, *options(folder)) as sensor:
        sent = 0
        for _ in range(FLAPS):
            sent += network.send(attempts(folder, 5))
            sensor.await_metric(PACKETS, sent)
            network.run("ip", "link", "set", "vb", "down")
            time.sleep(0.05)
            network.run("ip", "link", "set", "vb", "up")
        sensor.await_metric('swarmtap_capture_up{interface="vb"}', 1)
        downs, ups = (sensor.err.count(f"vb: the link is {word}") for word in ("down", "up"))
        network.run("ip", "link", "set", "vb", "down")
        sensor.await_("vb: the link is down", downs + 1)
        await_true(lambda: sensor.metrics()['swarmtap_capture_up{interface="vb"}'] == 0)
        assert sensor.metrics()['swarmtap_capture_up{interface="vb"}'] == 0
        network.run("ip", "link", "set", "vb", "up")
        sensor.await_("vb: the link is up", ups + 1)
        network.run("ip", "link", "del", "va")
        sensor.await_("vb: the link is down", downs + 2)
        network.run("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb")
        network.run("ip", "link", "set", "va", "up")
        network.run("ip", "link", "set", "vb", "up")
        sensor.await_("the new one is watched")
        sent += network.send(attempts(folder, 5, 6))
        sensor.await_metric(PACKETS, sent)
        assert sensor.stop() == 0


def test_two_rings_share_the_flows_of_an_interface(network: Network, folder: Path) -> None:
    with Sensor(network, folder, *options(folder), "--rings", "2", "--spool", str(folder / "spool")) as sensor:
        sent = sum(network.send(PCAPS / f"{name}.pcap") for name in ("sweep", "quinq", "disabled-transfer"))
        sensor.await_metric(PACKETS, sent)
        assert sensor.stop() == 0
    import pandas as pd

    flows = pd.concat(
        [pd.read_parquet(path, partitioning=None) for path in (folder / "spool/flows").rglob("*.parquet")]
    )
    assert len(flows) == 66
    assert int(flows["orig_packets"].sum() + flows["resp_packets"].sum()) == sent


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-i", "nosuch0"], "nosuch0: is not an interface of this machine; there are lo, "),
        (["-i", "vb", "--user", "root"], '--user: "root" is root; name a user without privileges'),
        (["-i", "vb", "--user", "no-such-user"], '--user: there is no user "no-such-user"; name one that exists'),
        (["-i", "vb", "--syslog", "ftp://x"], '--syslog: "ftp://x" is not a syslog server'),
        (["-i", "vb", "--eve", "/nowhere/eve.json"], "--eve: /nowhere/eve.json cannot be written"),
        (["-i", "vb", "--replay", "x.pcap"], "watch: cannot watch interfaces and captures at once"),
        ([], "watch: has nothing to watch"),
    ],
)
def test_the_operator_is_told_in_one_line(network: Network, words: list[str], says: str) -> None:
    command = network.command(*SWARMTAP, "watch", *words)
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
    assert told.stderr.startswith(f"swarmtap: {says}")

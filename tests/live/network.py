"""A network of its own for a test: a namespace with a veth pair, and programs that run in it."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
PCAPS = ROOT / "pcaps"
SWARMTAP = [sys.executable, "-m", "sensor"]
LIVE = [pytest.mark.needs("ip", "tcpreplay", "tcpdump"), pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


class Network:
    """`near` sends, `far` is what the sensor's mirror port would be."""

    near, far = "va", "vb"

    def __init__(self, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"  # another run of the tests may be going on beside this one

    def __enter__(self) -> Self:
        for left in Path("/run/netns").glob(f"{self.name.rpartition('-')[0]}-*"):
            if not Path(f"/proc/{left.name.rpartition('-')[2]}").exists():  # of a run that was killed
                subprocess.run(["ip", "netns", "del", left.name], capture_output=True, check=False)
        run("ip", "netns", "add", self.name)
        pair = ["type", "veth", "peer", "name", self.far, "mtu", "65535"]
        self.run("ip", "link", "add", self.near, "mtu", "65535", *pair)
        # Nothing but what the test sends: no neighbour discovery, no address.
        self.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        for link in ("lo", self.near, self.far):
            self.run("ip", "link", "set", link, "up")
        return self

    def __exit__(self, *_: object) -> None:
        run("ip", "netns", "del", self.name)

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def command_of_others(self, *words: str) -> list[str]:
        """Return a command in which everybody may reach this Python and these files, wherever they lie.

        Where a folder above them is somebody's own, an empty one stands in front of it, for this command alone, and
        what is needed is put back into its place.
        """
        needed = [Path(each).resolve() for each in (sys.base_prefix, sys.prefix, ROOT)]
        shut = {next((up for up in reversed(path.parents) if not up.stat().st_mode & 0o001), None) for path in needed}
        lines = ["set -e", "held=$(mktemp -d)"]
        behind = [path for path in needed if any(path.is_relative_to(up) for up in shut if up is not None)]
        lines += [f"mkdir $held/{at}; mount --bind {path} $held/{at}" for at, path in enumerate(behind)]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {up}" for up in shut if up is not None]
        lines += [f"mkdir -p {path}; mount --bind $held/{at} {path}" for at, path in enumerate(behind)]
        return self.command("bash", "-c", "; ".join([*lines, f"cd {ROOT}", 'exec "$@"']), "bash", *words)

    def run(self, *words: str) -> str:
        return run(*self.command(*words))

    def send(self, capture: Path, *options: str) -> int:
        """Replay a capture; return how many packets were sent."""
        told = self.run("tcpreplay", "-q", "-i", self.near, *(options or ("-t",)), str(capture))
        found = re.search(r"Successful packets:\s+(\d+)", told)
        assert found, told
        return int(found[1])

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets made in this block, by this thread, are of this network, also after it."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open("rb") as ours, Path(f"/run/netns/{self.name}").open("rb") as theirs:
            assert libc.setns(theirs.fileno(), 0) == 0
            try:
                yield
            finally:
                assert libc.setns(ours.fileno(), 0) == 0

    @contextmanager
    def recording(self, path: Path) -> Iterator[None]:
        """Record what arrives with tcpdump, with the times that the kernel stamps."""
        command = self.command(
            "tcpdump", "-i", self.far, "-w", str(path), "-U", "--nano", "-B", "65536", "-Z", "root", "-s", "0", "-n"
        )
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            while "listening on" not in (line := running.stderr.readline()):
                assert line, "tcpdump did not start"
            try:
                yield
                time.sleep(1.0)
            finally:
                running.send_signal(signal.SIGINT)
            told = running.stderr.read()
            assert "0 packets dropped by kernel" in told, told


class Sensor:
    """`swarmtap watch -i` in a network; `out` and `err` are what it printed."""

    def __init__(
        self, network: Network, folder: Path, *options: str, port: int = 9768, program: Sequence[str] = SWARMTAP
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._network = network
        self._files = (folder / "out", folder / "err")
        listen = ["-i", network.far, "--listen", f"127.0.0.1:{port}", "--user", "nobody"]
        self._command = network.command(*program, "watch", *listen, *options)
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._files[0].open("ab") as out, self._files[1].open("ab") as err:
            self._running = subprocess.Popen(self._command, stdout=out, stderr=err, cwd=ROOT)
        self.await_("serving", 1 + self.err.count("serving"), 90)
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None and self._running.poll() is None:
            self._running.terminate()
            self._running.wait(30)

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def out(self) -> str:
        return self._files[0].read_text()

    @property
    def err(self) -> str:
        return self._files[1].read_text() if self._files[1].exists() else ""

    def await_(self, text: str, times: int = 1, seconds: float = 30) -> None:
        """Wait until it has said something."""
        end = time.monotonic() + seconds
        while self.err.count(text) < times:
            assert self._running is not None
            assert self._running.poll() is None, self.err
            assert time.monotonic() < end, f"{text!r} was not said: {self.err}"
            time.sleep(0.02)

    def stop(self) -> int:
        assert self._running is not None
        self._running.terminate()
        return self._running.wait(30)

    def kill(self) -> None:
        assert self._running is not None
        self._running.kill()
        self._running.wait(30)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def metrics(self) -> dict[str, float]:
        """Return every sample of /metrics by its name and labels."""
        page = self._network.run("curl", "-s", f"{self.url}/metrics")
        lines = (line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def await_metric(self, name: str, value: float, seconds: float = 30) -> dict[str, float]:
        end = time.monotonic() + seconds
        while (found := self.metrics()).get(name, -1) < value:
            assert time.monotonic() < end, f"{name} is {found.get(name)}, not {value}: {self.err}"
            time.sleep(0.1)
        return found


def prompt_rules(folder: Path) -> Path:
    """Return a copy of the rules in which none waits for a better one: what they find is told at once."""
    made = folder / "rules"
    if not made.exists():
        made.mkdir()
        for path in (ROOT / "rules").glob("*.yml"):
            text = path.read_text(encoding="utf-8")
            (made / path.name).write_text(re.sub(r"^wait: .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    return made


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def await_true(what: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
        return bytes(answer.read())

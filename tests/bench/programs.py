"""The programs that swarmtap is compared with, as commands on one capture, and why one is missing.

Logs go to disk and checksums are not looked at, for all of them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILTER: Final = "tcp port 7680 or (vlan and (tcp port 7680 or (vlan and tcp port 7680)))"
SURICATA: Final = os.environ.get("SWARMTAP_SURICATA") or "suricata"
OWN: Final = str(Path(sys.executable).parent / "swarmtap")
# Suricata's configuration from nothing: flows to a log, no rules, no payload logs.
_SURICATA: Final = """%YAML 1.1
---
vars: {address-groups: {HOME_NET: "any", EXTERNAL_NET: "any"}}
default-log-dir: LOGS
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [flow]}
"""
# Flows of the filter's packets, counted; what else NFStream does by itself stays as it is.
_NFSTREAM: Final = (
    "import sys\nfrom nfstream import NFStreamer\nif __name__ == '__main__':\n"
    "    print(sum(1 for _ in NFStreamer(source=sys.argv[1], bpf_filter=sys.argv[2], n_dissections=0)))\n"
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is there, with its version; or why it is not."""

    name: str
    command: tuple[str, ...] = ()
    absent: str = ""


def tcpdump(path: Path) -> Program:
    """Return the filter alone: no flows."""
    if not shutil.which("tcpdump"):
        return Program("tcpdump", absent="not installed")
    return Program(
        f"tcpdump {_version('tcpdump', '--version')}", ("tcpdump", "-r", str(path), "-w", "/dev/null", FILTER)
    )


def suricata(path: Path, folder: Path) -> Program:
    """Return Suricata as it is installed, or as SWARMTAP_SURICATA names it; flow log only, with the same filter."""
    if not shutil.which(SURICATA):
        return Program("Suricata", absent="not installed: SWARMTAP_SURICATA=$(.ci/newer suricata trixie-backports)")
    logs = folder / "suricata"
    logs.mkdir(exist_ok=True)
    settings = logs / "suricata.yaml"
    settings.write_text(_SURICATA.replace("LOGS", str(logs)))
    command = (
        SURICATA,
        "-c",
        str(settings),
        "-r",
        str(path),
        "-l",
        str(logs),
        "-k",
        "none",
        "-S",
        "/dev/null",
        FILTER,
    )
    return Program(f"Suricata {_version(SURICATA, '-V')}", command)


def nfstream(path: Path, folder: Path) -> Program:
    """Return NFStream in an environment of its own, made here from PyPI."""
    python = folder / "nfstream" / "bin" / "python"
    if not (folder / "nfstream" / "ready").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", folder / "nfstream"], check=True, capture_output=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "nfstream"], check=True, capture_output=True, timeout=300
            )
        except (subprocess.SubprocessError, OSError) as error:
            return Program("NFStream", absent=f"could not be installed ({type(error).__name__})")
        (folder / "nfstream" / "flows.py").write_text(_NFSTREAM)
        (folder / "nfstream" / "ready").touch()
    told = subprocess.run([python, "-m", "pip", "show", "nfstream"], check=False, capture_output=True, text=True)
    version = next((line.split()[1] for line in told.stdout.splitlines() if line.startswith("Version:")), "")
    return Program(f"NFStream {version}", (str(python), str(folder / "nfstream" / "flows.py"), str(path), FILTER))


def own(path: Path, *more: str) -> Program:
    """Return the whole of ours on the terminal: flows, messages, windows, rules, summary."""
    return Program("swarmtap", (OWN, "analyze", str(path), *more))


def _version(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return found.group() if found else ""

"""What the case was made from and what it is made of: every input, rule, program version and output with its hash.

Two runs over the same bytes give the same manifest but for its key `run`.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from sensor import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sensor.schema import Case, Input

FILE: Final = "manifest.json"
_LIBRARIES: Final = ("numpy", "pandas", "pyarrow", "numba")


def as_json(case: Case, folder: Path, outputs: Iterable[Path], command: Sequence[str], run_at: str) -> dict[str, Any]:
    """Return `manifest.json`.

    Parameters
    ----------
    folder, outputs
        The case folder, and the files in it that the case is made of.
    command, run_at
        What was called and when: the one key that two runs do not share.

    Raises
    ------
    OSError
        If an output cannot be read.
    """
    return {
        "run": {"at": run_at, "command": list(command)},
        "versions": {
            "swarmtap": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "chosen": case.chosen or "everything",
        "policy": {"source": case.policy.source or "built-in", "sha256": case.policy.sha256},
        "rules": [{"file": file, "sha256": digest} for file, digest in sorted(case.rules.items())],
        "inputs": [_input(each) for each in case.inputs],
        "evidence": {
            incident.id: [
                {
                    "input": case.inputs[each.input].name,
                    "frame": each.number,
                    "offset": each.offset,
                    "ts_ns": each.ts_ns,
                    "community_id": each.community_id,
                }
                for each in incident.evidence
            ]
            for incident in case.incidents
        },
        "outputs": [
            {"file": path.relative_to(folder).as_posix(), "size_bytes": path.stat().st_size, "sha256": _digest(path)}
            for path in sorted(outputs)
        ],
    }


def _input(each: Input) -> dict[str, Any]:
    return {
        "file": each.name,
        "sha256": each.sha256,
        "size_bytes": each.size_bytes,
        "format": each.format,
        "packets": each.packets,
        "bytes": each.bytes,
        "first_packet_ns": each.first_packet_ns,
        "last_packet_ns": each.last_packet_ns,
        "link_types": list(each.link_types),
        "drops": each.drops,
        "damage": each.damage,
        "copy_of": each.copy_of,
        "repeated": each.repeated,
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

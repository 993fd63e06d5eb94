"""Says whether a case is still what was written: each file against its hash, and the inputs where they can be found."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sensor.errors import Mistake, OperatorError

_MANIFEST: Final = "manifest.json"
_RIGHT: Final = "give the folder that `swarmtap analyze -o` wrote"
_BAD: Final = ("changed", "missing", "added")


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one file: `kind` is output or input; `state` is same, changed, missing, added or away."""

    kind: str
    name: str
    state: str
    said: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether the case is not what was written. An input that is elsewhere today proves nothing."""
        return self.state in _BAD and not (self.kind == "input" and self.state == "missing")


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of a case, and the hash of the manifest that they were held against."""

    manifest_sha256: str
    checks: tuple[Check, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every file that can be held against the manifest is the same."""
        return not any(check.is_bad for check in self.checks)


def verify(folder: Path, inputs: Path | None = None) -> Verdict:
    """Hold a case against its manifest.

    Parameters
    ----------
    inputs
        Where the inputs are now, by their last names; where the manifest says if None.

    Raises
    ------
    OperatorError
        If there is no case, or its manifest cannot be read.
    """
    path = folder / _MANIFEST
    try:
        raw = path.read_bytes()
        manifest = json.loads(raw)
        outputs = [(str(each["file"]), str(each["sha256"]), int(each["size_bytes"])) for each in manifest["outputs"]]
        sources = [(str(each["file"]), str(each["sha256"]), int(each["size_bytes"])) for each in manifest["inputs"]]
    except OSError as error:
        raise OperatorError(Mistake(str(path), f"cannot be read ({error.strerror or error})", _RIGHT)) from None
    except (ValueError, KeyError, TypeError):
        raise OperatorError(Mistake(str(path), "is not the manifest of a case", _RIGHT)) from None
    checks = [_output(folder, *each) for each in outputs]
    named = {name for name, *_ in outputs} | {_MANIFEST}
    present = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())
    checks += [Check("output", name, "added", "is not in the manifest") for name in present if name not in named]
    checks += _proofs(folder, manifest)
    checks += [_input(inputs, *each) for each in sources]
    return Verdict(hashlib.sha256(raw).hexdigest(), tuple(checks))


def _output(folder: Path, name: str, sha256: str, size: int) -> Check:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return Check("output", name, "changed", "lies outside the case")
    return Check("output", name, *_held(path, sha256, size))


def _input(inputs: Path | None, name: str, sha256: str, size: int) -> Check:
    if not sha256:
        return Check("input", name, "away", "was not hashed: it came from standard input, or could not be read")
    path = Path(name) if inputs is None else inputs / Path(name).name
    return Check("input", name, *_held(path, sha256, size))


def _held(path: Path, sha256: str, size: int) -> tuple[str, str]:
    """Return state and words of a file held against its hash."""
    try:
        found = path.stat().st_size
        if found != size:
            return "changed", f"has {found:,} bytes; {size:,} were written"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return "missing", f"cannot be read ({error.strerror or error})"
    return ("same", "") if digest == sha256 else ("changed", f"has SHA-256 {digest}, where {sha256} was written")


def _proofs(folder: Path, manifest: dict[str, Any]) -> list[Check]:
    """Hold the hashes that incidents name against those of the manifest: two files must tell one story."""
    hashes = {str(each["file"]): str(each["sha256"]) for each in manifest["outputs"]}
    try:
        incidents = json.loads((folder / "incidents.json").read_bytes())
        told = {(str(at["file"]), str(at["sha256"])) for each in incidents for at in each["evidence"] if at["file"]}
    except (OSError, ValueError, KeyError, TypeError):
        return []  # it has been named already, by its own hash
    return [
        Check("output", name, "changed", "has another hash in incidents.json than in the manifest")
        for name, sha256 in sorted(told)
        if hashes.get(name) != sha256
    ]

"""Mutated policies, inventories and rules: whatever an operator writes, only an `OperatorError` comes out."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.rules.load import load
from sensor.settings import load_policy
from tests.captures import ROOT, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = int(60 * float(os.environ.get("SWARMTAP_FUZZ_SECONDS", "5")))
SEED = os.environ.get("SWARMTAP_FUZZ_SEED", "7680")
# What has surprised readers of YAML before.
SPLICES = [
    b"", b"0", b"-1", b"1e400", b"0x", b"null", b"~", b"true", b"yes", b"!!python/object:os.system x", b"!!binary QQ==",
    b"&a [*a]", b"*a", b"<<: {}", b"{", b"}", b"[", b"]", b"- ", b": ", b"#", b"\t", b"\r", b"\0", b"\xff\xfe", b"\xc3",
    b"'", b'"', b"|\n", b">\n", b"---\n", b"...\n", b"2026-02-30", b"25:00", b"9" * 400, b"1_000", b"1:2:3:4",
    b"\xe2\x80\xae", b"10.0.0.0/33", b"::/129", b"999h", b"%", b"sum(", b"1 of *", b"|re: '('", b"|contains",
    b"Europe/Nowhere", b"../../etc",
]  # fmt: skip


def mutated(rng: random.Random, text: bytes) -> bytes:
    out = text
    for _ in range(rng.choice([1, 1, 2, 4])):
        lines = out.split(b"\n")
        at, line = rng.randrange(len(out) + 1), rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                out = out[:at] + rng.choice(SPLICES) + out[at:]
            case 1:
                out = out[:at] + rng.choice(SPLICES) + out[at + rng.randrange(20) :]
            case 2:
                out = out[:at]
            case 3:
                out = b"\n".join(lines[:line] + lines[line + 1 :])
            case 4:
                out = b"\n".join([*lines[: line + 1], *lines[line:]])
            case 5:
                lines[line] = b" " * rng.randrange(4) + lines[line]
                out = b"\n".join(lines)
            case _:
                key, colon, _ = lines[line].partition(b":")
                lines[line] = key + colon + b" " + rng.choice(SPLICES)
                out = b"\n".join(lines)
    return out


def refused(read: Callable[[], object], round_: str) -> bool:
    """Return whether what was written was refused, as the operator should be told."""
    try:
        read()
    except OperatorError as error:
        told = error.mistakes
    except Exception as error:  # noqa: BLE001 - whatever else comes out is the failure that is looked for
        pytest.fail(f"{type(error).__name__}: {error}\n{round_}")
    else:
        return False
    assert told, round_
    assert all(mistake.read and mistake.where for mistake in told), round_
    return True


def test_mutated_policies(tmp_path: Path) -> None:
    rng = random.Random(SEED)  # noqa: S311 - the same disorder every time
    text, path, count = (SAMPLES / "office.yaml").read_bytes(), tmp_path / "policy.yaml", 0
    for number in range(ROUNDS):
        path.write_bytes(written := mutated(rng, text))
        count += refused(lambda: load_policy(path), f"round {number}: {written!r}")
    assert 0 < count < ROUNDS


def test_mutated_rules(tmp_path: Path) -> None:
    rng = random.Random(SEED)  # noqa: S311 - the same disorder every time
    texts, path, count = [p.read_bytes() for p in sorted((ROOT / "rules").glob("*.yml"))], tmp_path / "rule.yml", 0
    for number in range(ROUNDS):
        path.write_bytes(written := mutated(rng, rng.choice(texts)))
        count += refused(lambda: load([path]), f"round {number}: {written!r}")
    assert 0 < count < ROUNDS

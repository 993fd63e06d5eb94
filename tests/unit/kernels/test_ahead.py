"""Machine code made ahead of time: the same answers as numba's, and nothing but what fits is believed or taken."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensor.kernels import BOOLEAN, INT64, INT64S, READONLY_BYTES, Array, ahead
from tests.builders import pcap, pcapng
from tests.captures import ROOT, SAMPLES, records_of

if TYPE_CHECKING:
    from pathlib import Path

PLANE = Array(np.dtype(np.int64), 2, readonly=True)
ARGUMENTS = (READONLY_BYTES, INT64, BOOLEAN, PLANE, INT64S)


def weigh(data: Any, factor: Any, negative: Any, plane: Any, out: Any) -> Any:
    """Add bytes and a plane to `out`, weighed."""
    total = 0
    for at in range(min(data.shape[0], out.shape[0])):
        out[at] += np.int64(data[at]) * factor
        total += out[at]
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            total += plane[row, column] * (row + 1)
    for at in range(out.shape[0]):
        out[at] = 0 if negative and out[at] > 100 else out[at]
    return -total if negative else total


def greedy(data: Any) -> Any:
    """Allocate, as no kernel may."""
    return np.empty(data.shape[0], dtype=np.int64)[:1].sum()


def compiled(function: Any, arguments: Any) -> Any:
    """Compile as `compile_now` does, but not from a cache: what comes from there has no LLVM code."""
    import numba

    return numba.njit(ahead._signature(arguments), nogil=True, error_model="numpy")(function)


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, str], bytes]:
    return ahead._compile({ahead._name(weigh): compiled(weigh, ARGUMENTS)})


@pytest.fixture
def folder(tmp_path: Path, made: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a file of machine code, the only one where one is looked for."""
    monkeypatch.setattr(ahead, "_folders", lambda: [tmp_path / "absent", tmp_path])
    for name in ahead._JIT_ONLY:
        monkeypatch.delenv(name, raising=False)
    symbols, code = made
    ahead._put(tmp_path, ahead._content(symbols, code), code)
    return tmp_path


def loaded() -> Any:
    """Return the kernel as a new process would find it, or None."""
    ready = ahead._Ready()
    address = ready.address(ahead._name(weigh)) if ready.open() else 0
    kernel = ahead._Kernel(weigh, ARGUMENTS, address) if address else None
    if kernel is not None:
        kernel.ready = ready  # type: ignore[attr-defined] # its code lives as long as it does
    return kernel


def given(seed: int = 1) -> list[Any]:
    chance = np.random.default_rng(seed)
    data = chance.integers(0, 256, 40, dtype=np.uint8)
    return [data, -7, bool(seed % 2), chance.integers(-(2**40), 2**40, (3, 5)), chance.integers(-500, 500, 30)]


def answers(kernel: Any) -> list[Any]:
    told = []
    for seed in range(4):
        arguments = given(seed)
        told.append([int(kernel(*arguments)), arguments[-1].tolist()])
    return told


# --- made and found ---
@pytest.mark.parametrize("linked", [True, False])
def test_the_same_answers_as_numba_and_python(folder: Path, *, linked: bool) -> None:
    if not linked:
        for library in folder.glob("*.so"):
            library.unlink()
    kernel = loaded()
    assert answers(kernel) == answers(weigh) == answers(compiled(weigh, ARGUMENTS))
    assert (kernel.py_func, kernel.__name__, kernel.__doc__) == (weigh, "weigh", weigh.__doc__)


def test_without_a_linker_there_is_no_library(
    folder: Path, made: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setattr(ahead, "_LINKERS", ())
    symbols, code = made
    path = ahead._put(folder, ahead._content(symbols, code), code)
    assert list(folder.iterdir()) == [path]
    assert path.stat().st_mode & 0o444 == 0o444
    assert answers(loaded()) == answers(weigh)


def test_a_library_that_is_broken_is_not_needed(folder: Path) -> None:
    (library,) = folder.glob("*.so")
    library.write_bytes(b"\x7fELF, and then no more")
    assert answers(loaded()) == answers(weigh)


def test_a_file_that_does_not_fit_is_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded() is not None
    monkeypatch.setattr(ahead, "file_name", lambda: "kernels-of-another-source.bin")
    assert loaded() is None
    assert len(list(folder.iterdir())) == 2


def test_the_name_changes_with_a_source_and_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ahead.file_name()
    source = tmp_path / "kernel.py"
    source.write_text("one")
    monkeypatch.setattr(ahead, "_SOURCES", (*ahead._SOURCES, source))
    one = ahead.file_name()
    source.write_text("two")
    two = ahead.file_name()
    monkeypatch.setattr(np, "__version__", "0.0")
    assert len({name, one, two, ahead.file_name()}) == 4


@pytest.mark.parametrize("size", [0, 5, 19, 40, 300, -1])
def test_a_file_that_is_cut_off_is_ignored(folder: Path, size: int) -> None:
    path = folder / ahead.file_name()
    path.write_bytes(path.read_bytes()[:size])
    assert loaded() is None


@pytest.mark.parametrize("turned", [0, 25, -1, -1000])
def test_a_file_with_another_byte_is_ignored(folder: Path, turned: int) -> None:
    path = folder / ahead.file_name()
    data = bytearray(path.read_bytes())
    data[turned] ^= 0xFF
    path.write_bytes(bytes(data))
    assert loaded() is None


@pytest.mark.parametrize("variable", ["SWARMTAP_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT"])
def test_who_wants_numba_gets_it(folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    assert folder.is_dir()
    for value, found in (("1", False), ("0", True), ("", True)):
        monkeypatch.setenv(variable, value)
        assert (loaded() is not None) is found


def test_old_files_are_cleared_away(folder: Path, made: tuple[dict[str, str], bytes]) -> None:
    for suffix in ("bin", "so"):
        (folder / f"kernels-of-yesterday.{suffix}").write_bytes(b"old")
    symbols, code = made
    ahead._put(folder, ahead._content(symbols, code), code)
    assert {path.stem for path in folder.iterdir()} == {ahead.file_name().removesuffix(".bin")}


# --- what a kernel takes ---
def wrong(at: int, value: Any) -> list[Any]:
    arguments = given()
    arguments[at] = value
    return arguments


def readonly(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "arguments",
    [
        wrong(0, np.zeros(40, dtype=np.int8)),
        wrong(0, np.zeros(80, dtype=np.uint8)[::2]),
        wrong(0, np.zeros((4, 10), dtype=np.uint8)),
        wrong(0, bytes(40)),
        wrong(0, [1, 2, 3]),
        wrong(0, None),
        wrong(3, np.zeros((3, 5), dtype=np.int64, order="F")),
        wrong(3, np.zeros(15, dtype=np.int64)),
        wrong(4, np.zeros(30, dtype=np.uint64)),
        wrong(4, np.zeros(30, dtype=">i8")),
        wrong(4, readonly(np.zeros(30, dtype=np.int64))),
        wrong(4, np.zeros(8 * 30 + 1, dtype=np.uint8)[1:].view(np.int64)),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_would_be_misread_is_refused(arguments: list[Any]) -> None:
    with pytest.raises(TypeError, match="weigh takes"):
        loaded()(*arguments)


@pytest.mark.usefixtures("folder")
def test_what_fits_is_taken() -> None:
    kernel = loaded()
    assert kernel(*wrong(0, readonly(np.zeros(40, dtype=np.uint8)))) is not None
    assert kernel(*wrong(0, np.zeros(0, dtype=np.uint8))) is not None
    assert kernel(*wrong(1, np.int32(3))) == weigh(*wrong(1, np.int32(3)))


@pytest.mark.usefixtures("folder")
def test_the_number_of_arguments_is_held() -> None:
    for arguments in (given()[:-1], [*given(), 1]):
        with pytest.raises(TypeError, match=f"weigh takes 5 arguments, {len(arguments)} were given"):
            loaded()(*arguments)


def test_a_kernel_that_allocates_is_refused() -> None:
    with pytest.raises(RuntimeError, match="kernels must not allocate"):
        ahead._compile({"greedy": compiled(greedy, (READONLY_BYTES,))})


# --- every kernel of the sensor ---
# What is walked where no capture file is, or only with large captures and tables; their twins compare them with Python.
BESIDES = {"blocks.walk_blocks", "records.find_start", "records.walk_pcap_wide"}
PROGRAM = """
import hashlib, importlib, json, pkgutil, secrets, sys
import numpy as np
np.empty = np.zeros  # what nobody writes is the same for both
secrets.randbits = lambda bits: 7680  # and so is the seed of the flow table
from dataclasses import replace
from pathlib import Path
from sensor import kernels
from sensor.kernels import ahead
calls = {}

def recorded(name, kernel):
    def call(*values):
        result = kernel(*values)
        told = [str(int(result)).encode()]
        for value in values:
            if isinstance(value, np.ndarray):
                columns = value.dtype.names
                told += [value[c].tobytes() for c in columns] if columns else [value.tobytes()]
        seen = calls.setdefault(name, [0, ""])
        seen[0] += 1
        seen[1] = hashlib.sha256(seen[1].encode() + b"".join(told)).hexdigest()
        return result
    call.py_func = kernel.py_func
    return call

every = []
for found in pkgutil.iter_modules(kernels.__path__):
    if found.name in ("ahead", "warm"):
        continue
    module = importlib.import_module(f"sensor.kernels.{found.name}")
    for name, value in list(vars(module).items()):
        if isinstance(value, ahead._Kernel) or ahead._is_kernel(value):
            every.append(f"{found.name}.{name}")
            setattr(module, name, recorded(every[-1], value))

from sensor import pipeline
from sensor.expression import Expression
from sensor.flows import FlowOptions
from sensor.inputs import Inputs
from sensor.reading import Options
from sensor.rules.load import load
from sensor.settings import load_policy
rules, policy = load([Path("rules")]), load_policy(Path("pcaps/office.yaml"))
options = Options(flows=FlowOptions(capacity=64, holes=64), frames=Expression("tcp or udp or vlan"), jobs=1)
lean = "llvmlite" not in sys.modules
for names in json.loads(sys.argv[1]):
    pipeline.analyze(names, policy, rules, options)
pipeline.analyze(names, policy, rules, replace(options, any_port=True))
print(json.dumps({"ready": ahead.is_ready(), "every": sorted(every), "calls": calls, "lean": lean}))
"""


def run(inputs: list[list[str]], *, jit: bool) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(inputs)],
        cwd=ROOT,
        env=os.environ | {"SWARMTAP_JIT": "1" if jit else ""},
        capture_output=True,
        check=True,
        text=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_every_kernel_gives_the_same(tmp_path: Path) -> None:
    # A capture as two sensors would have written it, so that packets are merged; losses, refusals, many flows.
    records = records_of((SAMPLES / "off-window.pcap").read_bytes())
    # One frame of mDNS, or nobody would look for more; one for the slow lane.
    header = struct.pack(">BBHHHBBH8s", 0x45, 0, 40, 0, 0, 255, 17, 0, bytes((10, 1, 20, 5, 224, 0, 0, 251)))
    announced, tunnelled = (
        (records[-1][0], bytes(12) + b"\x08\x00" + header + struct.pack(">HHHH", port, port, 20, 0) + bytes(12))
        for port in (5353, 3544)
    )
    (tmp_path / "even.pcap").write_bytes(pcap([*records[::2], announced]))
    (tmp_path / "other.pcap").write_bytes(pcap([*records, tunnelled]))
    (tmp_path / "odd.pcapng").write_bytes(pcapng(records[1::2]))
    inputs = [[str(tmp_path / "even.pcap"), str(tmp_path / "odd.pcapng")]]
    inputs += [[str(SAMPLES / f"{name}.pcap")] for name in ("lossy-mirror", "one-sided-mirror", "refused", "flood")]
    inputs += [[str(tmp_path / "other.pcap")]]
    ready, jit = run(inputs, jit=False), run(inputs, jit=True)
    assert not jit["ready"]
    if not ready["ready"]:
        pytest.skip("no machine code was made for this source; `python -m sensor.kernels.warm` makes it")
    assert ready["lean"] or not any(map(shutil.which, ahead._LINKERS))
    assert ready["calls"] == jit["calls"]
    assert ready["every"] == jit["every"]
    assert set(ready["every"]) - set(ready["calls"]) <= BESIDES

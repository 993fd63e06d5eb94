"""Kernels compiled ahead of time: one file of machine code, loaded without numba, made by `sensor.kernels.warm`.

Importing numba and its caches costs more than analyzing a small capture. So the optimized LLVM code that numba makes of
each kernel is compiled once for this very machine into an object file. Where there is a linker it becomes a shared
library, elsewhere llvmlite loads it; ctypes calls it (which releases the GIL). The file's name holds a hash of
everything it depends on; another processor, library or source gives another name, and then numba compiles just in time
as ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import importlib.util
import json
import os
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensor.kernels import Array, Scalar

_HERE: Final = Path(__file__).parent
# What the machine code depends on: the kernels, the tables whose rows they read, the numbers they hold.
_SOURCES: Final = (*sorted(_HERE.glob("*.py")), _HERE.parent / "schema.py", _HERE.parent / "wire.py")
_JIT_ONLY: Final = ("NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT", "SWARMTAP_JIT")
# The compiler puts the first two for loops that fill or copy; the loader does not find the C library's, so they come
# along. The third is named where an array's owner could die; ours have none, so nobody calls it.
_COMING_ALONG: Final = """
define ptr @memset(ptr %to, i32 %value, i64 %size) noinline {
  %byte = trunc i32 %value to i8
  br label %test
test:
  %at = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp ult i64 %at, %size
  br i1 %more, label %body, label %done
body:
  %place = getelementptr i8, ptr %to, i64 %at
  store i8 %byte, ptr %place
  %next = add i64 %at, 1
  br label %test
done:
  ret ptr %to
}
define ptr @memcpy(ptr %to, ptr %from, i64 %size) noinline {
  br label %test
test:
  %at = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp ult i64 %at, %size
  br i1 %more, label %body, label %done
body:
  %source = getelementptr i8, ptr %from, i64 %at
  %byte = load i8, ptr %source
  %place = getelementptr i8, ptr %to, i64 %at
  store i8 %byte, ptr %place
  %next = add i64 %at, 1
  br label %test
done:
  ret ptr %to
}
define void @NRT_MemInfo_call_dtor(ptr %owner) noinline {
  ret void
}
"""
_MAGIC: Final = b"swarmtap kernels 2\n"
_PROCESSOR: Final = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
_LINKERS: Final = ("ld", "ld.lld", "ld.gold")


class _Ready:
    """The file of machine code, if there is a fitting one: opened at the first kernel, kept for the process."""

    def __init__(self) -> None:
        self._symbols: dict[str, str] = {}
        self._find: Callable[[str], int] | None = None
        self._kept: tuple[Any, ...] = ()
        self._tried = False

    def open(self) -> bool:
        if not self._tried:
            self._tried = True
            if not any(os.environ.get(name, "0") not in ("", "0") for name in _JIT_ONLY):
                self._load()
        return self._find is not None

    def address(self, name: str) -> int:
        return self._find(self._symbols[name]) if self._find and name in self._symbols else 0

    def _load(self) -> None:
        for folder in _folders():
            path = folder / file_name()
            try:
                content = path.read_bytes()
            except OSError:
                continue
            if not content.startswith(_MAGIC):
                continue
            head, _, code = content[len(_MAGIC) :].partition(b"\n")
            told = _told(head, code)
            if told is None:
                continue
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(str(path.with_suffix(".so")))
                self._symbols = told
                self._find = lambda symbol: _address_in(library, symbol)  # noqa: B023 - bound in the turn that returns
                return
            import llvmlite.binding as llvm

            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
            engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
            holder = llvm.ObjectFileRef.from_data(code)
            engine.add_object_file(holder)
            engine.finalize_object()
            self._symbols, self._find = told, engine.get_function_address
            # The engine reads from these for as long as it lives.
            self._kept = (code, holder, machine)
            return


_READY: Final = _Ready()


def _told(head: bytes, code: bytes) -> dict[str, str] | None:
    """Return the symbols that a file's first line names, or None if its code is not the one that was written."""
    try:
        told = json.loads(head)
        symbols: dict[str, str] = told["symbols"]
    except (ValueError, KeyError, TypeError):
        return None
    return symbols if told.get("sha256") == hashlib.sha256(code).hexdigest() else None


def is_ready() -> bool:
    """Return whether kernels are taken from the file of machine code."""
    return _READY.open()


def file_name() -> str:
    """Return the name that a fitting file has: a hash of sources, library versions and processor."""
    digest = hashlib.sha256(f"{_numba()} {np.__version__} {os.uname().machine}".encode())
    with contextlib.suppress(OSError):
        # What the first processor is and can do: code made for another might not run here.
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        digest.update("\n".join(line for line in first if line.startswith(_PROCESSOR)).encode())
    for source in _SOURCES:
        digest.update(source.read_bytes())
    return f"kernels-{digest.hexdigest()[:24]}.bin"


def _numba() -> str:
    """Return numba's version, without importing it or a reader of packages' metadata."""
    spec = importlib.util.find_spec("numba")
    folder = Path(spec.origin or "").parent if spec else _HERE
    return (folder / "_version.py").read_text() if (folder / "_version.py").is_file() else "none"


def find(function: Callable[..., Any], arguments: Sequence[Scalar | Array]) -> Any:
    """Return the ready-made kernel of a function, or None."""
    if not _READY.open():
        return None
    address = _READY.address(_name(function))
    return _Kernel(function, arguments, address) if address else None


def compile_now(function: Callable[..., Any], arguments: Sequence[Scalar | Array]) -> Any:
    """Return the function compiled by numba, from its own cache if it can be."""
    import numba

    return numba.njit(_signature(arguments), nogil=True, cache=True, error_model="numpy")(function)


def compile_inline(function: Callable[..., Any]) -> Any:
    """Return the function for numba to inline."""
    import numba

    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)


class _Kernel:
    """A kernel in machine code: called like its function, with arrays that are exactly of its types."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Scalar | Array], address: int) -> None:
        self.py_func = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self._arguments = arguments
        # numba passes an array as: owner, parent, items, item size, data, shape …, strides …
        flat: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
        for argument in arguments:
            if _is_array(argument):
                size = [ctypes.c_int64] * (2 + 2 * argument.dimensions)
                flat += [ctypes.c_void_p, ctypes.c_void_p, *size[:2], ctypes.c_void_p, *size[2:]]
            else:
                flat.append(ctypes.c_int8 if argument.dtype == np.bool_ else ctypes.c_int64)
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *flat)(address)

    def __call__(self, *values: Any) -> int:
        if len(values) != len(self._arguments):
            message = f"{self.__name__} takes {len(self._arguments)} arguments, {len(values)} were given"
            raise TypeError(message)
        result, raised = ctypes.c_int64(), ctypes.c_void_p()
        flat: list[Any] = [ctypes.addressof(result), ctypes.addressof(raised)]
        for value, argument in zip(values, self._arguments, strict=True):
            if _is_array(argument):
                self._check(value, argument)
                flat += [None, None, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides]
            else:
                flat.append(int(value))
        if self._call(*flat) != 0:
            message = f"{self.__name__} failed in machine code"
            raise RuntimeError(message)
        return result.value

    def _check(self, value: Any, argument: Array) -> None:
        """Refuse what the machine code would misread."""
        fits = (
            isinstance(value, np.ndarray)
            and value.dtype == argument.dtype
            and value.ndim == argument.dimensions
            and value.flags.c_contiguous
            and value.flags.aligned
            and (argument.readonly or value.flags.writeable)
        )
        if not fits:
            message = f"{self.__name__} takes {argument}, not {type(value).__name__} {getattr(value, 'dtype', '')}"
            raise TypeError(message)


def write() -> Path:
    """Compile every kernel with numba and write the file of machine code.

    Returns
    -------
    Path
        The file; in the package's folder, or where that cannot be written, in the user's cache.

    Raises
    ------
    OSError
        If neither can be written.
    """
    import tempfile

    os.environ["SWARMTAP_JIT"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        # From numba's own cache its kernels would come without their LLVM code.
        os.environ["NUMBA_CACHE_DIR"] = scratch
        found: dict[str, Any] = {}
        for module in pkgutil.iter_modules([str(_HERE)]):
            if module.name not in ("ahead", "warm"):
                loaded = importlib.import_module(f"sensor.kernels.{module.name}")
                found |= {_name(v.py_func): v for v in vars(loaded).values() if _is_kernel(v)}
        symbols, code = _compile(found)
    content = _content(symbols, code)
    problem: OSError | None = None
    for folder in _folders():
        try:
            return _put(folder, content, code)
        except OSError as error:
            problem = error
    raise problem or OSError("no folder to write to")


def _content(symbols: dict[str, str], code: bytes) -> bytes:
    told = {"symbols": symbols, "sha256": hashlib.sha256(code).hexdigest()}
    return _MAGIC + json.dumps(told).encode() + b"\n" + code


def _compile(found: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    import llvmlite.binding as llvm

    whole = llvm.parse_assembly(_COMING_ALONG)
    symbols = {}
    for name, kernel in sorted(found.items()):
        (compiled,) = kernel.overloads.values()
        symbols[name] = compiled.fndesc.llvm_func_name
        whole.link_in(llvm.parse_assembly(_without_wrappers(compiled.library.get_llvm_str())))
    _check_alone(whole)
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="small",
    )
    return symbols, machine.emit_object(whole)


def _without_wrappers(code: str) -> str:
    """Drop numba's wrappers for Python and C callers: they need parts of numba that will not be there.

    Shared functions become each kernel's own, or the loader would look for them elsewhere first and find nothing.
    """
    kept, skipping = [], False
    for line in code.splitlines():
        if line.startswith("define ") and ("@_ZN7cpython" in line or "@cfunc." in line or '@"cfunc.' in line):
            skipping = True
        if not skipping:
            kept.append(line)
        elif line == "}":
            skipping = False
    return "\n".join(kept).replace("define linkonce_odr ", "define internal ")


def _check_alone(whole: Any) -> None:
    """Refuse machine code that needs numba's runtime: a kernel that allocates would call into nothing."""
    runtime = r"NRT_\w*[aA]lloc\w*|numba_\w+|_?Py\w+|llvm\.memmove[\w.]*"
    needed = set(re.findall(rf"call [^\n]*@({runtime})\(", str(whole)))
    if needed:
        message = f"kernels must not allocate or touch Python objects, but the machine code calls {sorted(needed)}"
        raise RuntimeError(message)


def _is_kernel(value: Any) -> bool:
    return hasattr(value, "py_func") and bool(getattr(value, "nopython_signatures", None)) and not value._can_compile  # noqa: SLF001


def _link(code: bytes, path: Path) -> None:
    """Make a shared library of an object file, if there is a linker."""
    import shutil
    import subprocess
    import tempfile

    linker = next(filter(None, map(shutil.which, _LINKERS)), None)
    if linker is None:
        return
    with tempfile.NamedTemporaryFile(suffix=".o") as source:
        source.write(code)
        source.flush()
        beside = path.with_suffix(".so.new")
        command = [linker, "-shared", "--no-undefined", "-o", str(beside), source.name]
        done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own file, and a linker found on PATH
    if done.returncode == 0:
        beside.replace(path.with_suffix(".so"))


def _put(folder: Path, content: bytes, code: bytes) -> Path:
    import tempfile

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name()
    _link(code, path)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(content)
    beside = Path(file.name)
    beside.chmod(0o644)  # who installs is not always who runs
    beside.replace(path)
    for old in folder.glob("kernels-*.*"):
        if old.stem != path.stem:
            old.unlink(missing_ok=True)
    return path


def _folders() -> list[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [_HERE / "__pycache__", cache / "swarmtap"]


def _address_in(library: ctypes.CDLL, symbol: str) -> int:
    return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0


def _is_array(argument: Scalar | Array) -> TypeGuard[Array]:
    # By its shape: the classes live in the package, which imports this file first.
    return hasattr(argument, "dimensions")


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__name__}"


def _signature(arguments: Sequence[Scalar | Array]) -> Any:
    from numba import from_dtype, types

    kinds = []
    for argument in arguments:
        kind = from_dtype(argument.dtype)
        if _is_array(argument):
            kind = types.Array(kind, argument.dimensions, "C", readonly=argument.readonly, aligned=True)
        kinds.append(kind)
    return types.int64(*kinds)

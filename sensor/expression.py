"""A filter expression of tcpdump's, applied to frames before they are decoded.

libpcap compiles it, because its language and what it means on each link type are libpcap's alone; our kernel runs what
comes out. libpcap is called by ctypes: it is on every machine that captures, and its interface has not changed since
the 1990s.

References
----------
pcap-filter(7), pcap_compile(3PCAP).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sensor.errors import Mistake, OperatorError
from sensor.kernels import bpf

if TYPE_CHECKING:
    import numpy.typing as npt

    from sensor.schema import Batch, Rows

_OPTION: Final = "--filter"
_ETHERNET: Final = 1
_SNAPLEN: Final = 262_144
_ANY_NETMASK: Final = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN
# Numbers of link types in files that libpcap has another number for at run time.
_AT_RUN_TIME: Final = {101: 12, 104: 50, 107: 107, 139: 18, 106: 19}
_MOST_LETTERS: Final = 64 * 1024
# What may stand where an expression is cut off: if one of these makes it whole, the cut part was right so far.
_REST: Final = (
    "",
    "tcp",
    "1",
    "port 1",
    "1.2.3.4",
    "net 10",
    "= 1",
    "host 1.2.3.4",
    "1 = 1",
    "02:00:00:00:00:01",
    "-2",
)
_lock = threading.Lock()  # libpcap's parser was not always safe to enter twice


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


class Expression:
    """A filter expression; called with a batch it gives back the frames that pass.

    Parameters
    ----------
    text : str
        As for tcpdump.

    Raises
    ------
    OperatorError
        If libpcap does not take it, with the column where it goes wrong.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._programs: dict[int, npt.NDArray[np.int64]] = {}
        if len(text) > _MOST_LETTERS or not text.isprintable():
            said = (
                f"is longer than {_MOST_LETTERS:,} letters" if text.isprintable() else "has letters that do not print"
            )
            raise OperatorError(Mistake(_OPTION, said, "give an expression as for tcpdump, see pcap-filter(7)"))
        program, said = compiled(text, _ETHERNET)
        if program is None:
            raise OperatorError(_mistake(text, said))
        self._programs[_ETHERNET] = program

    def __call__(self, batch: Batch) -> Rows:
        """Return the frames of a batch that pass.

        Raises
        ------
        OperatorError
            If the expression has no meaning on a link type that is met.
        """
        frames = batch.frames
        links = np.unique(frames["link_type"]).tolist()
        if len(links) == 1:
            return frames[self._passing(frames, batch, links[0])]
        kept = np.zeros(len(frames), dtype=np.bool_)
        for link in links:
            of_it = np.flatnonzero(frames["link_type"] == link)
            kept[of_it[self._passing(frames[of_it], batch, link)]] = True
        return frames[kept]

    def __getstate__(self) -> str:
        """Return what a worker needs to know."""
        return self.text

    def __setstate__(self, text: str) -> None:
        """Compile it again, where it has come to."""
        self.__init__(text)  # type: ignore[misc] # its state is its text

    def _passing(self, frames: Rows, batch: Batch, link: int) -> npt.NDArray[np.int64]:
        if link not in self._programs:
            program, said = compiled(self.text, link)
            if program is None:
                read = f'"{self.text}" has no meaning for frames of link type {link} ({said})'
                raise OperatorError(Mistake(_OPTION, read, "ask for something that all inputs have"))
            self._programs[link] = program
        at = np.empty(len(frames), dtype=np.int64)
        memory = np.zeros(bpf.WORDS, dtype=np.int64)
        return at[: bpf.passing(frames, batch.data, self._programs[link], memory, at)]


def compiled(text: str, link: int) -> tuple[npt.NDArray[np.int64] | None, str]:
    """Return the program of an expression for a link type (int64[I, 4]: code, jt, jf, k), or None and why not.

    Raises
    ------
    OperatorError
        If there is no libpcap.
    """
    library = _libpcap()
    with _lock:
        handle = library.pcap_open_dead(_AT_RUN_TIME.get(link, link), _SNAPLEN)
        if not handle:
            return None, "no room"
        program = _Program()
        try:
            if library.pcap_compile(handle, ctypes.byref(program), text.encode(), 1, _ANY_NETMASK) != 0:
                said = library.pcap_geterr(handle).decode(errors="replace")
                return None, said.removeprefix("can't parse filter expression: ")
            rows = [
                (each.code, each.jt, each.jf, each.k)
                for each in (program.instructions[at] for at in range(program.length))
            ]
            library.pcap_freecode(ctypes.byref(program))
        finally:
            library.pcap_close(handle)
    return np.array(rows, dtype=np.int64).reshape(-1, 4), ""


@cache
def _libpcap() -> Any:
    """Return libpcap.

    Raises
    ------
    OperatorError
        If it is not installed.
    """
    for name in ("libpcap.so.0.8", "libpcap.so.1", ctypes.util.find_library("pcap")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is None:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
        )  # fmt: skip
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = (ctypes.c_void_p,)
        library.pcap_freecode.argtypes = (ctypes.POINTER(_Program),)
        library.pcap_close.argtypes = (ctypes.c_void_p,)
        return library
    right = "install libpcap (Debian: libpcap0.8), or leave the filter out"
    raise OperatorError(Mistake(_OPTION, "needs libpcap, which is not on this machine", right))


def _mistake(text: str, said: str) -> Mistake:
    """Say where an expression goes wrong: at the first word with which nothing can make it whole."""
    right = "see pcap-filter(7)"
    for start, end in _words(text):
        if not any(_is_whole(text[:end], rest) for rest in _REST):
            read = f'"{text[start:end]}" cannot stand there ({said})'
            return Mistake(f"{_OPTION}:{start + 1}", read, right)
    return Mistake(f"{_OPTION}:{len(text) + 1}", f"the expression ends too early ({said})", right)


def _is_whole(begun: str, rest: str) -> bool:
    open_ones = begun.count("(") - begun.count(")")
    return any(
        compiled(f"{begun} {rest}{closing}{')' * max(open_ones, 0)}", _ETHERNET)[0] is not None
        for closing in ("", "] = 1") if "[" in begun or not closing
    )  # fmt: skip


def _words(text: str) -> list[tuple[int, int]]:
    """Return where the words of an expression begin and end; signs are words of their own."""
    found, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        end = at + 1
        if text[at] not in "()[]!&|<>=":
            while end < len(text) and not text[end].isspace() and text[end] not in "()[]!&|<>=":
                end += 1
        elif text[at] not in "()[]":
            while end < len(text) and text[end] in "&|<>=":
                end += 1
        found.append((at, end))
        at = end
    return found

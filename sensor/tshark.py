"""One capture through tshark's dissectors by way of pyshark: layers and fields, packet by packet.

The microscope, never the hot path: some thousand packets a second. A second pair of eyes beside our own decoder.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sensor.errors import Mistake, OperatorError
from sensor.schema import KIND_HANDSHAKE, KIND_KEEPALIVE
from sensor.wire import (
    BITFIELD,
    CANCEL,
    CHOKE,
    DO_PORT,
    EXTENDED,
    HAVE,
    INTERESTED,
    NOT_INTERESTED,
    PIECE,
    REQUEST,
    UNCHOKE,
)

_KNOWS_DO: Final = (4, 2)  # Wireshark 4.2 was the first with a dissector for DO
_ANALYSIS: Final = (
    "retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "lost_segment",
    "ack_lost_segment", "keep_alive", "duplicate_ack", "zero_window",
)  # fmt: skip
# As the dissector of Wireshark 4.4 writes them.
_MESSAGES: Final = {
    "Handshake Message": KIND_HANDSHAKE, "KeepAlive Message": KIND_KEEPALIVE, "Choke Message": CHOKE,
    "UnChoke Message": UNCHOKE, "Interested Message": INTERESTED, "NotInterested Message": NOT_INTERESTED,
    "Have Message": HAVE, "BitField Message": BITFIELD, "Request Message": REQUEST, "Piece Message": PIECE,
    "Cancel Message": CANCEL, "HeapSpraying Message": EXTENDED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """The tshark that was found."""

    path: str
    version: tuple[int, int, int]

    @property
    def knows_do(self) -> bool:
        """Whether it has a dissector for DO."""
        return self.version[:2] >= _KNOWS_DO


@dataclass(frozen=True, slots=True)
class Layer:
    """One protocol of a packet, as tshark names it, and its fields as it shows them."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What tshark sees in one packet; lengths and positions are None where it saw no TCP."""

    layers: tuple[Layer, ...]
    payload_bytes: int | None
    seq: int | None
    """Sequence number of the first byte; after a SYN that was seen, 1 is the stream's first byte."""
    remarks: tuple[str, ...]
    messages: tuple[int, ...] = ()
    """Kinds of the DO messages that end in this packet, if it has a dissector for them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The layers' names, outermost first."""
        return tuple(layer.name for layer in self.layers)


def find(path: str | None = None) -> Program:
    """Return the tshark to use: the one at `path`, else the one on the PATH.

    Raises
    ------
    OperatorError
        If there is none, or it does not run.
    """
    name = path or "tshark"
    found = shutil.which(name)
    if found is None:
        raise OperatorError(Mistake(name, "is not there", "install tshark (Wireshark's command line)"))
    try:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603 - the operator's own
    except (OSError, subprocess.SubprocessError) as error:
        raise OperatorError(Mistake(found, f"does not run ({error})", "install tshark anew")) from error
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", told)
    if version is None:
        raise OperatorError(Mistake(found, "does not say its version", "install tshark anew"))
    major, minor, patch = map(int, version.groups())
    return Program(found, (major, minor, patch))


def dissect(program: Program, capture: Path, limit: int, port: int = DO_PORT) -> list[Seen]:
    """Return what tshark sees in the first packets of a capture, in their order.

    Parameters
    ----------
    limit : int
        Packets at most.
    port : int
        Where it shall look for DO; by itself it looks on the registered port alone.

    Raises
    ------
    OperatorError
        If tshark gave up before the end.
    """
    import pyshark
    from pyshark.capture.capture import TSharkCrashException

    seen: list[Seen] = []
    with tempfile.TemporaryDirectory() as folder:
        # pyshark looks for a program of this name beside the one it is told; otherwise it takes the system's.
        link = Path(folder) / "tshark"
        link.symlink_to(program.path)
        # No name resolution: it would ask the network about the capture's addresses.
        told = ["-n", "-c", str(limit)]
        if port != DO_PORT and program.knows_do:
            told += ["-d", f"tcp.port=={port},msdo"]
        source = pyshark.FileCapture(str(capture), keep_packets=False, tshark_path=str(link), custom_parameters=told)
        try:
            seen.extend(_seen(packet) for packet in source)
        except TSharkCrashException as error:
            reason = str(error).splitlines()[0]
            raise OperatorError(Mistake(program.path, f"gave up: {reason}", "use another version")) from error
        finally:
            source.close()
            # Its event loop would be told of every child process of ours that ends, and never listen.
            with contextlib.suppress(ValueError):  # another thread than the main one has no say
                signal.set_wakeup_fd(-1)
    return seen


def _seen(packet: Any) -> Seen:
    layers = tuple(Layer(layer.layer_name.lower(), tuple(_fields(layer))) for layer in packet.layers)
    tcp = packet.tcp if "TCP" in packet else None
    if tcp is None:
        return Seen(layers, None, None, ())
    named = set(tcp.field_names)
    remarks = tuple(word for word in _ANALYSIS if f"analysis_{word}" in named)
    messages = tuple(kind for layer in layers if layer.name == "msdo" for kind in _kinds(layer.fields))
    return Seen(layers, int(tcp.len), int(tcp.seq), remarks, messages)


def _kinds(fields: tuple[str, ...]) -> list[int]:
    """Read which messages the fields of its layer for DO show."""
    return [_MESSAGES[field] for field in fields if field in _MESSAGES]


def _fields(layer: Any) -> list[str]:
    shown = []
    for field in layer._all_fields.values() if hasattr(layer, "_all_fields") else ():  # noqa: SLF001 - pyshark has no other way
        for each in getattr(field, "all_fields", [field]):
            text = getattr(each, "showname", None) or getattr(each, "show", None)
            if text:
                shown.append(str(text))
    return shown

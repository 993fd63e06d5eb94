"""What the sensor has learnt, in one file of its state folder: usual volumes, and what rules still add up.

Written whole beside the old one and then put in its place, so that a sensor that is killed finds the one or the other.
It is a ZIP of JSON and Arrow streams: nothing in it is run when it is read. One that cannot be read is set aside. The
streams are compressed by Arrow, since a sensor judges nothing while it writes them, and after a flood they are large.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "memory.zip"
_VERSION: Final = 1
_MOST_BYTES: Final = 1 << 30
_FRAME: Final = "arrow:"  # before the name of a stream, where a frame stands in the JSON
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can tell; ours tell none


def write(folder: Path, known: dict[str, Any]) -> None:
    """Keep what beads remember: nested lists and mappings of plain values, and frames.

    Raises
    ------
    OSError
        If the disk is full or read-only; the old file stays.
    """
    path, new = folder / FILE, folder / f"{FILE}.new"
    with new.open("wb") as file:
        with zipfile.ZipFile(file, "w") as pack:
            frames: list[pd.DataFrame] = []
            text = json.dumps({"version": _VERSION, "known": _plain(known, frames)}, separators=(",", ":"))
            pack.writestr(zipfile.ZipInfo("memory.json", _EPOCH), text, zipfile.ZIP_DEFLATED)
            for number, frame in enumerate(frames):
                pack.writestr(zipfile.ZipInfo(f"{number}.arrow", _EPOCH), _streamed(frame))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read(folder: Path) -> tuple[dict[str, Any], str]:
    """Return what was kept, and a notice if it could not be read; both are empty if nothing was.

    Raises
    ------
    OSError
        If the folder cannot be read or written.
    """
    path = folder / FILE
    if not path.exists():
        return {}, ""
    try:
        with zipfile.ZipFile(path) as pack:
            return _opened(pack), ""
    except (zipfile.BadZipFile, pa.ArrowException, ValueError, KeyError, TypeError, RecursionError, EOFError) as error:
        return {}, set_aside(folder, str(error))


def _opened(pack: zipfile.ZipFile) -> dict[str, Any]:
    if sum(each.file_size for each in pack.infolist()) > _MOST_BYTES:
        raise ValueError("it is too large")
    whole = json.loads(pack.read("memory.json"))
    if whole["version"] != _VERSION:
        raise ValueError(f"it was written by another version of swarmtap ({whole['version']})")
    known = _filled(whole["known"], pack)
    if not isinstance(known, dict):
        raise TypeError("it holds no mapping")
    return known


def set_aside(folder: Path, why: str) -> str:
    """Put a file that makes no sense out of the way, and return a notice about it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    path = folder / FILE
    aside = path.with_name(f"{FILE}.damaged-{time.time_ns() // 1_000_000_000}")
    path.replace(aside)
    return f"{path} cannot be used ({why}); it is now {aside.name}, and what is usual is learnt anew"


def _plain(value: Any, frames: list[pd.DataFrame]) -> Any:
    if isinstance(value, pd.DataFrame):
        frames.append(value)
        return f"{_FRAME}{len(frames) - 1}"
    if isinstance(value, dict):
        return {key: _plain(each, frames) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, frames) for each in value]
    return value


def _filled(value: Any, pack: zipfile.ZipFile) -> Any:
    if isinstance(value, str) and value.startswith(_FRAME):
        with pa.ipc.open_stream(pack.read(f"{int(value.removeprefix(_FRAME))}.arrow")) as stream:
            return stream.read_all().to_pandas()
    if isinstance(value, dict):
        return {key: _filled(each, pack) for key, each in value.items()}
    return [_filled(each, pack) for each in value] if isinstance(value, list) else value


def _streamed(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    return out.getvalue()

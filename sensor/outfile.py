"""A file appears whole under its name, or not at all: written beside it under another name, then renamed."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from sensor.errors import Mistake, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def outfile(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; a reader never sees a part of it, and a failure leaves an older file as it was.

    Parameters
    ----------
    path
        The final name; missing parent folders are made. The body must only write: an OSError in it is taken for one
        of this file.

    Yields
    ------
    BinaryIO
        The file under its temporary name.

    Raises
    ------
    OperatorError
        If the folder cannot be written to, or is full.
    """
    temporary = path.with_name(f".{path.name}.partial")
    finished = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
        finished = True
    except OSError as error:
        raise OperatorError(_mistake(path, error)) from error
    finally:
        if not finished and path.parent.is_dir():
            temporary.unlink(missing_ok=True)


def outfolder(folder: Path) -> None:
    """Make a folder, and see that it can be written to: before long work, not after it.

    Raises
    ------
    OperatorError
        If it cannot.
    """
    probe = folder / ".probe"
    with outfile(probe):
        pass
    probe.unlink()


def _mistake(path: Path, error: OSError) -> Mistake:
    read = f"cannot be written ({error.strerror or error})"
    if error.errno in _FULL:
        return Mistake(str(path), read, "free some space there, or choose another folder")
    if error.errno in _FORBIDDEN:
        return Mistake(str(path), read, "choose a folder that you may write to")
    return Mistake(str(path), read, "choose another folder")

"""A reader sees the whole file, or the older one, or none."""

from __future__ import annotations

import resource
import signal
from typing import TYPE_CHECKING

import pytest

from sensor.errors import OperatorError
from sensor.outfile import outfile

if TYPE_CHECKING:
    from pathlib import Path


def test_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "flows.parquet"
    with outfile(path) as file:
        file.write(b"all of it")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    assert [each.name for each in path.parent.iterdir()] == ["flows.parquet"]


def test_failure_keeps_the_older_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(b"older")
    with pytest.raises(TypeError), outfile(path) as file:
        file.write("text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"older"
    assert [each.name for each in tmp_path.iterdir()] == ["summary.json"]


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "flows.parquet"
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, was[1]))
    try:
        with pytest.raises(OperatorError) as caught, outfile(path) as file:
            file.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, ignored)
    assert str(caught.value) == (
        f"{path}: cannot be written (File too large); free some space there, or choose another folder"
    )
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file_is_the_operators_mistake(tmp_path: Path) -> None:
    (tmp_path / "case").write_bytes(b"")
    with pytest.raises(OperatorError, match=r"choose another folder$"), outfile(tmp_path / "case" / "eve.json"):
        pass

"""What a start needs is ready after an install: the kernels' file has tests of its own, bytecode is looked at here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor.kernels.warm import compile_modules

if TYPE_CHECKING:
    from pathlib import Path


def test_modules_have_their_bytecode_afterwards(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("one.py", "inner/two.py"):
        (tmp_path / name).write_text("ANSWER = 42\n")
    (tmp_path / "broken.py").write_text("def\n")
    compile_modules(tmp_path)
    assert sorted(path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")) == ["one", "two"]


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("ANSWER = 42\n")
    (tmp_path / "__pycache__").write_text("in the way")
    compile_modules(tmp_path)
    assert not [*tmp_path.rglob("*.pyc")]

"""The worked examples run as they stand, and print what the page says they print."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import tree

PAGE = Path("docs/examples.md")
BLOCKS = re.findall(r"```(python|sql)\n(.*?)```\n\n```text\n(.*?)```", tree.text(PAGE), re.DOTALL)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    program = shutil.which("swarmtap") or str(Path(sys.executable).parent / "swarmtap")
    command = [program, "analyze", "pcaps/office-week.pcap", "-p", "pcaps/office.yaml", "-o", folder / "case"]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "case"


def run(language: str, code: str) -> str:
    if language == "sql":
        duckdb = pytest.importorskip("duckdb")
        rows = duckdb.sql(code).fetchall()
        names = [column[0] for column in duckdb.sql(code).description]
        return "\n".join(" | ".join(str(value) for value in row) for row in [names, *rows])
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - the page's own example
    return "\n".join(line.rstrip() for line in told.getvalue().splitlines())


def test_there_are_examples_of_both_kinds() -> None:
    assert [language for language, _, _ in BLOCKS] == ["python", "sql", "sql", "python"]


@pytest.mark.parametrize(("language", "code", "printed"), BLOCKS, ids=range(len(BLOCKS)))
def test_example_prints_what_the_page_says(language: str, code: str, printed: str, case: Path) -> None:
    assert run(language, code.replace("CASE/", f"{case}/")) == printed.rstrip("\n")

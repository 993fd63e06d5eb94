"""Every module has its test twin by name, and every unit test its module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house import tree

# Modules that a twin could only repeat.
WITHOUT_TWIN = {
    "__main__.py": "calls cli.main; the command line's tests start it",
    "errors.py": "plain facts; the tests of whoever raises hold the words",
    "policy.py": "plain facts; test_settings.py reads into them",
    "wire.py": "numbers; the samples and the kernels' tests state them again",
    "kernels/__init__.py": "how kernels are compiled; each kernel's twin runs through it",
    "samples/__main__.py": "calls pages.write_all; the samples on disk are its test",
}


def twin(module: Path) -> Path:
    return Path("tests/unit") / module.parent / f"test_{module.name}"


def is_bare(module: Path) -> bool:
    """Say whether a package's `__init__` only says what it is, and what its names are."""
    body = ast.parse(tree.text("sensor" / module)).body
    return all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign) for node in body)


@pytest.mark.parametrize("module", tree.modules(), ids=str)
def test_module_has_a_twin(module: Path) -> None:
    if str(module) in WITHOUT_TWIN:
        assert not (tree.ROOT / twin(module)).exists(), f"{module} has a twin: take it off the list"
    elif not (module.name == "__init__.py" and is_bare(module)):
        assert twin(module) in tree.files(), f"write {twin(module)}"


def test_list_names_modules() -> None:
    assert {Path(name) for name in WITHOUT_TWIN} <= set(tree.modules())


def test_every_unit_test_has_its_module() -> None:
    tests = {p for p in tree.files() if p.parts[:2] == ("tests", "unit") and p.name.startswith("test_")}
    assert not tests - {twin(module) for module in tree.modules()}

"""What documents promise exists: commands, options, files, and the summary that the README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from sensor.cli import app
from sensor.errors import Exit
from tests.house import tree

PROGRAM = Path(sys.executable).parent / "swarmtap"
COMMANDS = {name: command.params for name, command in typer.main.get_command(app).commands.items()}  # type: ignore[attr-defined]
PAGES = [path for path in tree.files() if path.suffix == ".md" and path.parts[0] in {"README.md", "docs"}]
SOURCES = [path for path in tree.files() if path.parts[0] == "sensor" and path.suffix in {".py", ".html"}]
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
OWN = "rules/local/"  # the user's, in examples


def code(path: Path) -> str:
    return "\n".join(CODE.findall(tree.text(path)))


def section(page: str, title: str) -> str:
    """Return what stands under a heading, up to the next of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {title}"
    return found[2]


def test_readme_opens_with_the_two_commands() -> None:
    block = re.search(r"```.*?\n(.*?)```", tree.text(Path("README.md")), re.DOTALL)
    assert block
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make run", "make test"]


def test_make_has_the_two_commands() -> None:
    targets = re.findall(r"^(\w+):", tree.text(Path("Makefile")), re.MULTILINE)
    assert {"run", "test"} <= set(targets)


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=str)
def test_named_commands_exist(path: Path) -> None:
    told = code(path) if path.suffix == ".md" else tree.text(path)
    named = re.findall(r"(?:`|^|\s\| |/bin/)swarmtap ([a-z]+)", told, re.MULTILINE)
    assert not set(named) - set(COMMANDS)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", tree.text(path)):
        if "://" not in target:
            assert (tree.ROOT / path.parent / target).exists(), f"{path}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_named_files_exist(path: Path) -> None:
    named = re.findall(r"(?<![\w/.-])((?:docs|rules|pcaps|sensor|tests|grafana)/[\w./-]*\w)", code(path))
    assert not [name for name in named if not (tree.ROOT / name).exists() and not name.startswith(OWN)]


@pytest.mark.parametrize("name", COMMANDS)
def test_manual_has_every_command_and_option(name: str) -> None:
    told = section(tree.text(Path("docs/manual.md")), f"swarmtap {name}")
    options = {option for param in COMMANDS[name] if param.param_type_name == "option" for option in param.opts}
    documented = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", "\n".join(CODE.findall(told))))
    assert options <= documented, f"undocumented: {options - documented}"
    secondary = {option for param in COMMANDS[name] for option in getattr(param, "secondary_opts", ())}
    assert documented <= options | secondary | {"-h", "--help"}, f"unknown: {documented - options}"


def test_manual_has_every_exit_code() -> None:
    told = section(tree.text(Path("docs/manual.md")), "Exit codes")
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", told, re.MULTILINE)] == [int(code) for code in Exit]


def test_help_lists_every_command() -> None:
    told = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    assert not [name for name in COMMANDS if not re.search(rf"\b{name}\b", told)]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_have_help(name: str) -> None:
    told = subprocess.run([PROGRAM, name, "--help"], capture_output=True, text=True, check=True).stdout
    assert f"swarmtap {name}" in told


def test_what_make_run_runs(tmp_path: Path) -> None:
    command = re.search(r"\$\(BIN\)/swarmtap (\w+) --out", tree.text(Path("Makefile")))
    assert command
    told = subprocess.run([PROGRAM, command[1], "--out", tmp_path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "case" / "report.html").is_file()


def test_readme_shows_what_is_printed() -> None:
    shown = re.search(r"```console\n\$ swarmtap (analyze [^\n]+)\n(.*?)```", tree.text(Path("README.md")), re.DOTALL)
    assert shown
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    told = subprocess.run(
        [PROGRAM, *shown[1].split()], cwd=tree.ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    printed = iter(line.rstrip() for line in told.splitlines())
    # Each line shown is printed, in this order; a line of dots stands for what the README leaves out.
    for line in shown[2].splitlines():
        if line.strip() and line.strip() != "…":
            assert line in printed, f"not printed (or not in this place): {line}"


def test_package_data_exists() -> None:
    project = tomllib.loads(tree.text(Path("pyproject.toml")))
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert forced
    for folder in forced:
        assert [path for path in tree.files() if path.parts[0] == folder and path.name != ".keep"], f"{folder} is empty"
    assert (tree.ROOT / project["project"]["readme"]).stat().st_size > 0


def test_command_line_finds_what_the_wheel_ships() -> None:
    project = tomllib.loads(tree.text(Path("pyproject.toml")))
    shipped = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].values())
    wanted = {
        f"sensor/shipped/{name}" for path in SOURCES for name in re.findall(r'"shipped" / "(\w+)"', tree.text(path))
    }
    assert wanted
    assert wanted <= shipped, f"missing from the wheel: {wanted - shipped}"


def test_declared_dependencies_are_imported() -> None:
    imports = {"prometheus-client": "prometheus_client", "pysigma": "sigma", "pyyaml": "yaml"}
    unseen = {"tzdata": "data for zoneinfo where the system has none"}
    project = tomllib.loads(tree.text(Path("pyproject.toml")))["project"]
    declared = {re.split(r"[<>=\[; ]", line)[0] for line in project["dependencies"]} - set(unseen)
    source = "\n".join(tree.text(path) for path in SOURCES if path.suffix == ".py")
    used = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))
    assert not {name for name in declared if imports.get(name, name) not in used}, "a dependency is a decision"

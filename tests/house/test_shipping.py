"""What the sensor is shipped with is valid by the tools of those who will read it, and agrees with itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from sensor import serve, webconfig
from sensor.cli import app
from sensor.errors import OperatorError
from tests.house import tree

BIN = Path(sys.executable).parent
UNIT = Path("packaging/systemd/swarmtap.service")
COMPOSE = yaml.safe_load(tree.text(Path("compose.yaml")))
MOST_EXPOSED = 2.5  # of 10, as systemd counts; what it calls OK ends at 4.9


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_hadolint_has_nothing_to_say() -> None:
    assert run(BIN / "hadolint", "Dockerfile") == ""


def test_image_holds_what_the_build_needs() -> None:
    text = tree.text(Path("Dockerfile"))
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    wanted = {name for line in copied for name in line.split()} - {"wheel[s]"}  # there only if they must be
    let_in = {line.removeprefix("!") for line in tree.text(Path(".dockerignore")).splitlines() if line.startswith("!")}
    assert wanted == let_in - {"wheels"}
    assert all((tree.ROOT / name).exists() for name in wanted)
    built = tomllib.loads(tree.text(Path("pyproject.toml")))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert not {*built["packages"], *built["force-include"]} - wanted
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["7680:7680"]
    assert f"EXPOSE {serve.PORT}" in text
    assert f"http://127.0.0.1:{serve.PORT}/-/healthy" in text


def test_image_script_is_a_script() -> None:
    assert run("bash", "-n", "packaging/image.sh") == ""
    assert run(BIN / "shellcheck", "packaging/image.sh", ".ci/run", ".ci/newer") == ""


def test_compose_is_valid() -> None:
    assert "ok" in run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_what_compose_mounts_exists() -> None:
    mounted = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./") and not volume.startswith("./policy.yaml")  # the operator's own
    ]
    assert mounted
    assert all((tree.ROOT / path).exists() for path in mounted)


def test_compose_finds_dashboards_and_rules() -> None:
    (provider,) = yaml.safe_load(tree.text(Path("grafana/provisioning/dashboards/swarmtap.yml")))["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in COMPOSE["services"]["grafana"]["volumes"]
    assert provider["allowUiUpdates"] is False
    prometheus = yaml.safe_load(tree.text(Path("packaging/prometheus.yml")))
    (folder,) = prometheus["rule_files"]
    assert f"./rules/prometheus:{Path(folder).parent}:ro" in COMPOSE["services"]["prometheus"]["volumes"]


@pytest.mark.parametrize("name", ["sensor", "demo"])
def test_sensors_of_compose_hold_nothing_they_do_not_need(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service.get("cap_add", []) == (["NET_RAW"] if name == "sensor" else [])
    # The kernel ignores a file's capabilities under no-new-privileges.
    assert not ("cap_add" in service and "security_opt" in service)


def test_commands_of_compose_and_unit_are_understood() -> None:
    known = {option for param in get_command(app).commands["watch"].params for option in param.opts}  # type: ignore[attr-defined]
    (started,) = re.findall(r"^ExecStart=(.+)$", tree.text(UNIT), re.MULTILINE)
    commands = [started.split()[1:], *(COMPOSE["services"][name]["command"] for name in ("sensor", "demo"))]
    for words in commands:
        assert words[0] == "watch"
        assert not {word for word in words if word.startswith("-")} - known


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = shutil.which("true")
    unit = tree.text(UNIT).replace("/opt/swarmtap/bin/swarmtap", str(program))
    (tmp_path / UNIT.name).write_text(unit)
    assert run("systemd-analyze", "verify", "--man=no", tmp_path / UNIT.name) == ""
    told = run("systemd-analyze", "security", "--offline=yes", "--no-pager", tmp_path / UNIT.name)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposure
    assert float(exposure[1]) <= MOST_EXPOSED


@pytest.mark.needs("logrotate")
def test_logrotate_takes_its_file(tmp_path: Path) -> None:
    copy = tmp_path / "swarmtap"
    copy.write_text(tree.text(Path("packaging/logrotate")))
    copy.chmod(0o644)  # logrotate reads no file that others may write
    program = shutil.which("logrotate") or "/usr/sbin/logrotate"
    told = run(program, "--debug", "--state", tmp_path / "state", copy)
    assert "error" not in told
    assert "/var/log/swarmtap/eve.json" in told
    # The sensor opens its file anew when it is told to; copytruncate would lose lines.
    assert "copytruncate" not in tree.text(copy)
    assert "systemctl kill --signal=HUP swarmtap.service" in tree.text(copy)


def test_unit_is_watched_and_unprivileged() -> None:
    lines = tree.text(UNIT).splitlines()
    wanted = (
        "Type=notify",
        "CapabilityBoundingSet=CAP_NET_RAW",
        "AmbientCapabilities=CAP_NET_RAW",
        "NoNewPrivileges=yes",
    )
    assert not set(wanted) - set(lines)
    assert any(line.startswith("WatchdogSec=") for line in lines)


def test_sample_of_the_web_configuration_is_read() -> None:
    # Its certificates are the operator's; everything else must be understood.
    with pytest.raises(OperatorError) as caught:
        webconfig.load(tree.ROOT / "packaging" / "web-config.yml")
    (mistake,) = caught.value.mistakes
    assert "certificate or key cannot be used" in str(mistake)


def test_deployment_page_names_every_file_that_is_shipped() -> None:
    page = tree.text(Path("docs/deploy.md"))
    shipped = [path for path in tree.files() if path.parts[0] == "packaging"] + [
        Path("Dockerfile"),
        Path("compose.yaml"),
    ]
    assert not [str(path) for path in shipped if path.name not in page]

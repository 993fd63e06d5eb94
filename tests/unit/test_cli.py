"""The command line: what each command exits with, and what it says to whom."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import typer

from sensor import __version__, cli, instants, pipeline
from sensor.errors import Exit
from sensor.trail import Trail
from tests.builders import pcap
from tests.captures import ROOT, SAMPLES, records_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.inputs import Inputs

    Swarmtap = Callable[..., "Ran"]

COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
SIN = SAMPLES / "off-window.pcap"  # one incident of level medium under OFFICE
QUIET = SAMPLES / "allowed-night.pcap"
OFFICE = SAMPLES / "office.yaml"


class Ran:
    """What a command exited with and said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def mistakes(self) -> list[str]:
        """The lines on standard error; each of them must be one."""
        assert self.code == 2
        assert self.out == ""
        lines = self.err.splitlines()
        assert lines
        assert all(line.startswith("swarmtap: ") for line in lines), self.err
        return [line.removeprefix("swarmtap: ") for line in lines]


@pytest.fixture
def swarmtap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Swarmtap:
    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["swarmtap", *map(str, arguments)])
        code = cli._run()
        return Ran(code, *capsys.readouterr())

    return run


def started(*arguments: object, **more: object) -> subprocess.Popen[bytes]:
    """Start the program itself."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "sensor", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, **more)  # type: ignore[call-overload, no-any-return]


def cut(path: Path, capture: Path = SIN) -> Path:
    path.write_bytes(capture.read_bytes()[:-7])
    return path


# --- help ---
@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("how", ["--help", "-h"])
def test_every_command_has_its_help(swarmtap: Swarmtap, command: str, how: str) -> None:
    ran = swarmtap(command, how)
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: swarmtap {command}" in ran.out


def test_help_names_every_command(swarmtap: Swarmtap) -> None:
    ran = swarmtap("--help")
    assert ran.code == 0
    assert all(f" {command} " in ran.out for command in COMMANDS)
    nothing = swarmtap()
    assert nothing.code == 2
    assert nothing.out.rstrip() == ran.out.rstrip()


def test_version(swarmtap: Swarmtap) -> None:
    ran = swarmtap("--version")
    assert (ran.code, ran.out) == (0, f"swarmtap {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyse"], "No such command 'analyse'"),
        (["analyze"], "Missing argument 'PATH…'"),
        (["analyze", "--polcy"], "No such option: --polcy"),
        (["schedule", "--days", "0"], "Invalid value for '--days'"),
        (["schedule", "--days", "x"], "Invalid value for '--days'"),
        (["analyze", "x", "--out"], "Option '--out' requires an argument"),
    ],
)
def test_a_misused_option_is_one_line_that_points_to_the_help(
    swarmtap: Swarmtap, arguments: list[str], said: str
) -> None:
    (line,) = swarmtap(*arguments).mistakes
    assert line.startswith(said)
    assert "; see swarmtap " in line
    assert line.endswith(" --help")


# --- analyze: what it exits with ---
def test_without_incidents_and_damage_it_is_done(swarmtap: Swarmtap) -> None:
    ran = swarmtap("analyze", QUIET, "-p", OFFICE, "--exit-code", "informational")
    assert (ran.code, ran.err) == (Exit.DONE, "")
    assert ran.out


@pytest.mark.parametrize(
    ("level", "code"),
    [(None, 0), ("informational", 1), ("low", 1), ("medium", 1), ("high", 0), ("critical", 0)],
)
def test_incidents_of_the_level_asked_for(swarmtap: Swarmtap, level: str | None, code: int) -> None:
    asked = [] if level is None else ["--exit-code", level]
    ran = swarmtap("analyze", SIN, "-p", OFFICE, *asked)
    assert ran.code == code
    assert ran.out.startswith("Off policy: 1 medium incident.")


def test_damage(swarmtap: Swarmtap, tmp_path: Path) -> None:
    path = cut(tmp_path / "cut.pcap")
    ran = swarmtap("analyze", path, "-p", OFFICE)
    assert ran.code == Exit.DAMAGED
    said = " ".join(ran.out.split())
    assert "cut off" in said
    assert "everything before it was used" in said
    assert "cut.pcap: a record" in said  # the name stands there once
    # Whoever asked for incidents is told of them first.
    assert swarmtap("analyze", path, "-p", OFFICE, "--exit-code", "medium").code == Exit.FOUND
    assert swarmtap("analyze", path, "-p", OFFICE, "--exit-code", "high").code == Exit.DAMAGED


def test_an_unreadable_input_among_others_is_damage(swarmtap: Swarmtap, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no capture")
    ran = swarmtap("analyze", SIN, text, "-p", OFFICE)
    assert ran.code == Exit.DAMAGED
    assert "is not a capture" in " ".join(ran.out.split())


def test_what_the_operator_can_mend_is_a_line_each(swarmtap: Swarmtap, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("absent.pcap", "gone.pcap")]
    right = "does not exist; give a pcap or pcapng file, plain or compressed with gzip, zstd, lz4, bzip2 or xz"
    assert swarmtap("analyze", *paths).mistakes == [f"{path}: {right}" for path in paths]
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(b"")
    assert swarmtap("analyze", empty).mistakes[0].startswith(f"{empty}: is empty (0 bytes); give")


def test_mistakes_of_policy_and_rules_come_together(swarmtap: Swarmtap, tmp_path: Path) -> None:
    policy, rule = tmp_path / "policy.yaml", tmp_path / "rule.yml"
    policy.write_text("version: 1\nsites:\n  - {name: hq, subnets: [10.1.0.0/33]}\n")
    rule.write_text("title: T\n")
    for command in (["analyze", SIN], ["check"]):
        mistakes = swarmtap(*command, "-p", policy, "-r", rule).mistakes
        assert any(line.startswith(f"{policy}:3:") for line in mistakes)
        assert any(line.startswith(f"{rule}:1:") for line in mistakes)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["analyze", str(SIN), "--exit-code", "bad"],
            '--exit-code: "bad" is not a level; one of informational, low, medium, high, critical',
        ),
        (
            ["analyze", str(SIN), "--since", "noon"],
            f'--since: "noon" is not a time; {instants._RIGHT}',
        ),
        (["watch"], "watch: has nothing to watch; name interfaces with -i, or captures with --replay"),
    ],
)
def test_options_that_cannot_be(swarmtap: Swarmtap, arguments: list[str], line: str) -> None:
    assert swarmtap(*arguments).mistakes == [line]


# --- analyze: what it reads ---
def test_standard_input() -> None:
    with started("analyze", "-", "-p", OFFICE, "--exit-code", "medium", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(SIN.read_bytes(), timeout=60)
    assert (process.returncode, err) == (1, b"")
    assert b"1 input, 621 packets" in out


def test_a_directory_and_a_glob(swarmtap: Swarmtap, tmp_path: Path) -> None:
    for name in ("a.pcap", "sub/b.pcap", "sub/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if name.endswith("txt") else QUIET.read_bytes())
    assert "2 inputs" in swarmtap("analyze", tmp_path, "-p", OFFICE).out
    assert "1 input," in swarmtap("analyze", tmp_path / "*.pcap", "-p", OFFICE).out
    assert "2 inputs" in swarmtap("analyze", tmp_path / "**" / "*.pcap", "-p", OFFICE).out


def test_since_and_until(swarmtap: Swarmtap) -> None:
    def flows(*more: str) -> str:
        (line,) = [x for x in swarmtap("analyze", SIN, "-p", OFFICE, *more).out.splitlines() if "TCP 7680" in x]
        return line.split(", ")[1]

    # Two transfers: at 12:05:13 and at 12:16:13 UTC.
    assert flows() == "2 flows"
    assert flows("--since", "2026-06-11T12:10") == "1 flow"
    assert flows("--until", "2026-06-11T14:10:00+02:00") == "1 flow"
    assert flows("--since", "2026-06-11T12:16:13.1") == "1 flow"
    assert "621 packets" in swarmtap("analyze", SIN, "--until", "2026-06-11").out  # read, and none of them chosen


def test_a_case_is_written_where_it_is_asked_for(swarmtap: Swarmtap, tmp_path: Path) -> None:
    ran = swarmtap("analyze", SIN, "-p", OFFICE, "-o", tmp_path / "case")
    assert ran.code == 0
    assert f"The case is in {tmp_path / 'case'}" in ran.out.replace("\n", " ")
    (incident,) = json.loads((tmp_path / "case" / "incidents.json").read_text())
    assert incident["rule"] == "w01_off_window_transfer"
    assert json.loads((tmp_path / "case" / "manifest.json").read_text())["inputs"][0]["sha256"]
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert swarmtap("analyze", SIN, "-p", OFFICE, "-o", blocked).code != 0


def test_no_file_name_steers_the_terminal(swarmtap: Swarmtap, tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\u202e\r[bold]x.pcap"
    absent, damaged = tmp_path / f"no {hostile}", cut(tmp_path / hostile)
    (line,) = swarmtap("analyze", absent).mistakes
    assert "\\x1b]0;owned\\x07\\x1b[2J" in line
    for ran in (swarmtap("analyze", absent), swarmtap("analyze", damaged), swarmtap("analyze", tmp_path)):
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(ran.out + ran.err)
    assert "[bold]x.pcap" in "".join(swarmtap("analyze", damaged).out.split())


# --- the other commands ---
def test_check(swarmtap: Swarmtap, tmp_path: Path) -> None:
    rule = tmp_path / "rule.yml"
    text = (ROOT / "rules" / "w01_off_window_transfer.yml").read_text()
    rule.write_text(text)
    ran = swarmtap("check", "-p", OFFICE, "-r", rule)
    assert ran.code == 0
    assert "no mistake" in ran.out
    assert "as expected" in ran.out
    # A case that expects what does not happen is a mistake of the rule.
    assert "expect: 0}" in text
    rule.write_text(text.replace("expect: 0}", "expect: 9}"))
    assert swarmtap("check", "-p", OFFICE, "-r", rule).code == 2


def test_schedule(swarmtap: Swarmtap) -> None:
    ran = swarmtap("schedule", "-p", OFFICE, "--at", "2026-06-09T20:00", "--days", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == "Schedule at 2026-06-09 20:00 UTC"
    assert swarmtap("schedule", "-p", OFFICE, "--at", "soon").code == 2


def test_demo(swarmtap: Swarmtap, tmp_path: Path) -> None:
    ran = swarmtap("demo", "-o", tmp_path / "demo")
    assert ran.code == 0
    assert (tmp_path / "demo" / "case" / "report.html").stat().st_size
    assert "Off policy" in ran.out


def test_watch_replays_and_ends(swarmtap: Swarmtap) -> None:
    assert swarmtap("watch", "--replay", SIN, "-p", OFFICE, "--speed", "0", "--listen", "127.0.0.1:0").code == 0


# --- ends that come from outside ---
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["analyze", SIN, "-p", OFFICE], ["schedule", "-p", OFFICE, "--days", "400"]],
)
def test_a_reader_that_goes_away_is_no_failure(arguments: list[object]) -> None:
    # As `swarmtap … | head -1` does, but surely before the first byte.
    with started(*arguments) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_an_interrupt(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with started("analyze", fifo) as process:
        with fifo.open("wb"):  # opens as soon as the other side does; then the command waits for bytes
            process.send_signal(signal.SIGINT)
            assert process.stderr
            assert process.stderr.read() == b"swarmtap: interrupted\n"
        assert process.wait(60) == 130


def test_what_was_interrupted_goes_on(swarmtap: Swarmtap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = records_of((SAMPLES / "office-week.pcap").read_bytes())
    for at in range(4):
        (tmp_path / f"{at}.pcap").write_bytes(pcap(records[at * 5000 : (at + 1) * 5000], nanos=True))
    files = [tmp_path / f"{at}.pcap" for at in range(4)]

    def command(out: str, *more: str) -> Ran:
        return swarmtap("analyze", *files, "-p", OFFICE, "-o", tmp_path / out, *more)

    assert command("whole").code == 0
    judge_all = pipeline.judge_all

    def interrupted(inputs: Inputs, *_: object) -> object:
        for _ in inputs.portions():
            if inputs.keeping is not None and inputs.keeping.kept >= 2:
                raise KeyboardInterrupt
        pytest.fail("all was read before two files were")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "judge_all", interrupted)
        patch.setattr(Trail, "start", lambda trail: trail)  # it would read on
        ran = command("case", "--jobs", "2")
    assert ran.code == 130
    kept = len(list((tmp_path / "case" / ".decoded").glob("*.parts")))
    assert 2 <= kept < 4
    assert ran.err == (
        f"swarmtap: interrupted; {kept} of 4 inputs are kept in {tmp_path / 'case'}, "
        "and the same command with --resume goes on from there\n"
    )
    assert [path.name for path in (tmp_path / "case").iterdir()] == [".decoded"]  # it is no case yet

    def resumed(inputs: Inputs, *more: Any) -> object:
        case = judge_all(inputs, *more)
        assert inputs.keeping is not None
        assert inputs.keeping.kept == 4
        return case

    monkeypatch.setattr(pipeline, "judge_all", resumed)
    assert command("case", "--resume").code == 0
    for name in ("summary.json", "incidents.json", "flows.parquet", "activity.parquet", "report.html", "eve.json"):
        assert (tmp_path / "case" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "case" / ".decoded").exists()
    assert swarmtap("verify", tmp_path / "case").code == 0


@pytest.mark.parametrize("other", [("--resume", "-o", "case"), ("--cluster", "tcp://127.0.0.1:9")])
def test_other_ports_are_not_looked_for_where_one_file_cannot_tell_the_next(
    swarmtap: Swarmtap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    right = "leave one of them out: a flow found in one file must be known in the next"
    assert swarmtap("analyze", SIN, "--any-port", *other).mistakes == [
        f"--any-port: cannot go with {other[0]}; {right}"
    ]


def test_resume_needs_a_folder(swarmtap: Swarmtap) -> None:
    assert swarmtap("analyze", SIN, "--resume").mistakes == [
        "--resume: needs a folder to go on in; name the one of the first run with -o"
    ]


def test_filter_and_swarm(swarmtap: Swarmtap, tmp_path: Path) -> None:
    week = SAMPLES / "office-week.pcap"
    assert swarmtap("analyze", week, "-p", OFFICE, "-o", tmp_path / "all").code == 0
    every = pd.read_parquet(tmp_path / "all" / "flows.parquet")
    swarm = every["swarm_hash"][every["swarm_hash"] != ""].iloc[0]
    for option, value, wanted in (
        (
            "--filter",
            "vlan and host 10.1.20.99",
            (every["orig_ip"] == "10.1.20.99") | (every["resp_ip"] == "10.1.20.99"),
        ),
        ("--swarm", swarm[:8], every["swarm_hash"] == swarm),
    ):
        assert swarmtap("analyze", week, "-p", OFFICE, "-o", tmp_path / option, option, value).code == 0
        found = pd.read_parquet(tmp_path / option / "flows.parquet")
        assert found["community_id"].tolist() == every["community_id"][wanted].tolist()
        assert len(found)
        manifest = json.loads((tmp_path / option / "manifest.json").read_text())
        assert value in manifest["chosen"]
        assert "was looked at." in (tmp_path / option / "report.html").read_text()
    assert json.loads((tmp_path / "all" / "manifest.json").read_text())["chosen"] == "everything"
    assert swarmtap("analyze", week, "--filter", "tcp prot 7680").mistakes == [
        '--filter:5: "prot" cannot stand there (syntax error); see pcap-filter(7)'
    ]
    (missing,) = swarmtap("analyze", week, "--swarm", "00").mistakes
    assert missing.startswith("--swarm: 00 is in no handshake")
    flow = every["community_id"][every["swarm_hash"] != swarm].iloc[0]
    (neither,) = swarmtap("analyze", week, "--swarm", swarm, "--flow", flow).mistakes
    assert neither.startswith("--flow: none of")


def test_times_count_from_the_first_packet(swarmtap: Swarmtap, tmp_path: Path) -> None:
    week = SAMPLES / "office-week.pcap"
    every = records_of(week.read_bytes())
    assert swarmtap("analyze", week, "-o", tmp_path / "case", "--since", "+1d", "--until", "+2d").code == 0
    told = json.loads((tmp_path / "case" / "summary.json").read_text())
    first, day = every[0][0], 86400 * 10**9
    flows = pd.read_parquet(tmp_path / "case" / "flows.parquet")
    assert first + day <= flows["start_ns"].min()
    assert flows["end_ns"].max() < first + 2 * day
    assert 0 < told["packets_7680"] < told["packets"] == len(every)
    assert swarmtap("analyze", "-", "--since", "+1d").mistakes[0].startswith("--since: ")


def test_copies_and_overlaps_are_told_and_counted_once(
    swarmtap: Swarmtap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")  # or a long name is folded
    records = records_of((SAMPLES / "off-window.pcap").read_bytes())
    half = len(records) // 2
    (tmp_path / "whole.pcap").write_bytes(pcap(records, nanos=True))
    (tmp_path / "a.pcap").write_bytes(pcap(records[: half + 50], nanos=True))
    (tmp_path / "b.pcap").write_bytes(pcap(records[half:], nanos=True))
    (tmp_path / "c.pcap").write_bytes((tmp_path / "a.pcap").read_bytes())
    (tmp_path / "d.pcap.gz").write_bytes(gzip.compress((tmp_path / "b.pcap").read_bytes()))
    assert swarmtap("analyze", tmp_path / "whole.pcap", "-p", OFFICE, "-o", tmp_path / "one").code == 0
    files = [tmp_path / name for name in ("d.pcap.gz", "c.pcap", "b.pcap", "a.pcap")]
    ran = swarmtap("analyze", *files, "-p", OFFICE, "-o", tmp_path / "case")
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert f"{tmp_path}/c.pcap is {tmp_path}/a.pcap again: read once." in said
    assert "stand in another input too, counted once." in said
    for name in ("flows.parquet", "activity.parquet", "incidents.json", "swarms.parquet"):
        assert (tmp_path / "case" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    inputs = {
        Path(each["file"]).name: each
        for each in json.loads((tmp_path / "case" / "manifest.json").read_text())["inputs"]
    }
    assert inputs["c.pcap"]["copy_of"] == str(tmp_path / "a.pcap")
    assert inputs["c.pcap"]["sha256"] == inputs["a.pcap"]["sha256"]
    # What overlaps is counted for the later input, and a copy in another format altogether.
    assert inputs["a.pcap"]["repeated"] == 0
    assert inputs["b.pcap"]["repeated"] + inputs["d.pcap.gz"]["repeated"] == 100 + (len(records) - half - 50)


# --- its parts ---
@pytest.mark.parametrize("terminal", [False, True])
def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, terminal: bool) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    progress = cli._Progress()
    now += 0.9
    progress(9_000_000, 100_000_000)
    assert capsys.readouterr().err == ""  # short work says nothing
    now += 9.1
    progress(50_000_000, 100_000_000)
    said = capsys.readouterr().err
    assert "50 of 100 MB, 5 MB/s, 10 s left" in said
    assert said.startswith("\r\x1b[K" if terminal else "swarmtap: ")
    progress.done()
    assert capsys.readouterr().err == ("\r\x1b[K" if terminal else "")

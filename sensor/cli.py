"""Commands: arguments in, exit code out. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from sensor import __version__
from sensor.errors import Exit, Mistake, OperatorError

# Options of `analyze` that do not change what is read.
_WITH_VALUE: Final = ("-p", "--policy", "-o", "--out", "-r", "--rules", "--exit-code")

if TYPE_CHECKING:
    from sensor.inputs import Inputs
    from sensor.rules.ruleset import RuleSet
    from sensor.schema import Case
    from sensor.trail import Trail

app = typer.Typer(
    name="swarmtap",
    help="Listen to TCP 7680: which machines gave Windows update bytes to which, when, how much, and was it allowed?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Whatever is wrong with the arguments; the class itself has had several homes.
_Misuse = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

_Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH…", help="Capture files, directories, globs, or - for standard input.", show_default=False
    ),
]
_Policy = Annotated[
    Path | None,
    typer.Option(
        "-p", "--policy", metavar="FILE", help="Policy. Without one, local addresses are one site that may peer."
    ),
]
_Rules = Annotated[
    list[Path] | None,
    typer.Option("-r", "--rules", metavar="PATH", help="Rule files or folders, instead of the shipped ones."),
]
_Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="FOLDER", help="Write the case there: report, tables, incidents, evidence."),
]
_Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only packets from then on: 2026-06-09T20:00, with +02:00 or a zone's name behind it, else UTC; "
        "-2h before now; +30m after the first packet.",
    ),
]
_Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only packets before then, written as for --since.")]
_Flow = Annotated[list[str] | None, typer.Option(metavar="ID", help="Only flows of this Community ID.")]
_Host = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Only this address or prefix.")]
_Swarm = Annotated[
    list[str] | None, typer.Option(metavar="HASH", help="Only flows of this content (or the first digits of its hash).")
]
_AnyPort = Annotated[
    bool, typer.Option("--any-port", help="Find update traffic on other TCP ports too, from its handshake on.")
]
_Level = Annotated[
    str | None,
    typer.Option("--exit-code", metavar="LEVEL", help="Exit with 1 if an incident of this level or worse was found."),
]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"swarmtap {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    del version  # its callback has done it


@app.command()
def analyze(
    paths: _Paths,
    policy: _Policy = None,
    out: _Out = None,
    rules: _Rules = None,
    exit_code: _Level = None,
    since: _Since = None,
    until: _Until = None,
    site: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only packets from or to this site.")] = None,
    host: _Host = None,
    flow: _Flow = None,
    swarm: _Swarm = None,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="EXPRESSION",
            help="Only frames that this filter of tcpdump's lets through (pcap-filter(7)).",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, max=256, metavar="N", help="Read so many files at once; 0: as many as processors.")
    ] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Let Dask workers read the files: tcp://host:8786, or local:N."),
    ] = None,
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what an interrupted run into the same folder has kept.")
    ] = False,
    any_port: _AnyPort = False,
) -> None:
    """Take captures apart: summary on the terminal, and with -o a case folder.

    Examples
    --------
        swarmtap analyze office.pcap -p policy.yaml -o case

        zcat old.pcap.gz | swarmtap analyze -

        swarmtap analyze /captures/2026-06 -p policy.yaml --since '2026-06-09 20:00 Europe/Berlin' --exit-code high
    """
    from sensor import keeping
    from sensor.inputs import Inputs
    from sensor.outfile import outfolder
    from sensor.reading import Options
    from sensor.sources.files import find
    from sensor.trail import Trail

    level = _level(exit_code)
    if out is not None:
        outfolder(out)
    elif resume:
        raise OperatorError(Mistake("--resume", "needs a folder to go on in", "name the one of the first run with -o"))
    if any_port and (cluster or resume):
        right = "leave one of them out: a flow found in one file must be known in the next"
        raise OperatorError(Mistake("--any-port", f"cannot go with {'--cluster' if cluster else '--resume'}", right))
    # Reading begins at once; what judges is imported meanwhile.
    names = find(paths)
    wanted = _Wanted(flow, host, site, swarm, filter_)
    since_ns, until_ns = _instant("--since", since, names), _instant("--until", until, names)
    options = Options(
        hashes=out is not None,
        since_ns=since_ns,
        until_ns=until_ns,
        select=_selection(policy, wanted, names),
        frames=_filter(filter_),
        asked=wanted.told(policy),
        chosen=wanted.words(since_ns, until_ns),
        jobs=jobs,
        keep=out / keeping.FOLDER if out is not None and len(names) > 1 and not any_port else None,
        resume=resume,
        any_port=any_port,
    )
    progress = _head.progress if _head else _Progress()
    if _head and not cluster and (names, options) == (_head.names, _head.inputs.options):
        inputs, trail = _head.inputs, _head.trail
    else:
        if _head:
            _head.trail.stop()
        inputs = (_cluster(cluster, names, options, progress) if cluster else Inputs(names, options, progress)).start()
        trail = Trail(inputs).start()
    try:
        loaded = _load(policy, rules)
        from sensor import pipeline

        gc.freeze()
        gc.enable()
        case = pipeline.judge_all(inputs, *loaded, trail)
        inputs.stop()
        progress.done()
        code = _tell(case, out, level)
    except KeyboardInterrupt:
        progress.done()
        raise typer.Exit(_interrupted(inputs, len(names), out)) from None
    except BaseException:
        trail.stop()
        _forget(inputs)
        raise
    finally:
        trail.stop()
        progress.done()
    _forget(inputs)
    raise typer.Exit(code)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the office and its case go.")
    ] = Path("demo"),
) -> None:
    """Make the sample office (a week of traffic with known sins) and analyze it."""
    from sensor import pipeline
    from sensor.reading import Options
    from sensor.samples import write_office

    typer.echo(f"Making a week of the sample office in {out} …", err=True)
    capture, policy = write_office(out)
    case = pipeline.analyze([str(capture)], *_load(policy, None), Options(hashes=True))
    code = _tell(case, out / "case", None)
    typer.echo(f"\nThe capture is {capture}, its policy {policy}.")
    raise typer.Exit(code)


@app.command()
def watch(
    policy: _Policy = None,
    rules: _Rules = None,
    interface: Annotated[
        list[str] | None,
        typer.Option("-i", "--interface", metavar="IFACE", help="Interface to capture; may be given more than once."),
    ] = None,
    replay: Annotated[
        list[str] | None,
        typer.Option("--replay", metavar="PATH", help="Feed from captures, with packet time as clock."),
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Replay so many times faster than it happened; 0 is as fast as it goes.")
    ] = 1.0,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where metrics and health are served.")
    ] = "127.0.0.1:9768",
    web_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TLS, client certificates and passwords, as Prometheus' web-config.yml."),
    ] = None,
    linger: Annotated[
        float, typer.Option(metavar="SECONDS", help="Serve on for so long after the replay's end.")
    ] = 0.0,
    offenders: Annotated[
        int,
        typer.Option(min=0, max=50, help="Name so many addresses in metrics: who took most off schedule in a day."),
    ] = 0,
    state: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where incidents survive a restart; without one they do not.")
    ] = "",
    eve: Annotated[str, typer.Option(metavar="FILE", help="Append EVE JSON lines there; opened anew on SIGHUP.")] = "",
    syslog: Annotated[
        str, typer.Option(metavar="URL", help="Tell incidents to udp://HOST, tcp://HOST:PORT or tls://HOST:PORT.")
    ] = "",
    webhook: Annotated[str, typer.Option(metavar="URL", help="Post incidents there, as Alertmanager would.")] = "",
    webhook_secret: Annotated[
        str, typer.Option(metavar="FILE", help="Sign posts with the secret in that file (HMAC-SHA256).")
    ] = "",
    alertmanager: Annotated[str, typer.Option(metavar="URL", help="Push incidents to that Alertmanager.")] = "",
    spool: Annotated[str, typer.Option(metavar="FOLDER", help="Spool activity and flows there as Parquet files.")] = "",
    spool_every: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long rows gather for a file.")] = 300,
    evidence: Annotated[
        str, typer.Option(metavar="FOLDER", help="Keep the newest frames there, and cut each incident's out of them.")
    ] = "",
    evidence_mib: Annotated[
        int, typer.Option(min=16, max=1 << 20, help="How much of the newest frames is kept, in MiB.")
    ] = 256,
    evidence_bytes: Annotated[
        int, typer.Option(min=64, max=262_144, help="After how many bytes each kept frame is cut.")
    ] = 256,
    user: Annotated[str, typer.Option(metavar="NAME", help="Whom root becomes once the interface is open.")] = "",
    ring_mib: Annotated[
        int | None,
        typer.Option(min=4, max=4096, help="Memory of each capture ring, in MiB; by default by the link's speed."),
    ] = None,
    rings: Annotated[int, typer.Option(min=1, max=64, help="Rings that share an interface's flows.")] = 1,
    *,
    any_port: _AnyPort = False,
    mdns: Annotated[bool, typer.Option(help="Hear by mDNS which host offers which content, and its name.")] = True,
) -> None:
    """Watch traffic as it happens, and serve /metrics, /-/healthy and /-/ready.

    Examples
    --------
        swarmtap watch -i eth1 -p policy.yaml --state /var/lib/swarmtap --eve /var/log/swarmtap/eve.json

        swarmtap watch --replay office-week.pcap --speed 3600 -p policy.yaml
    """
    # Threads that libraries start when they are imported would keep what the sensor gives up. Root needs what it has to
    # read their files; whom a program file permits a capability, these variables do not reach.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    if interface and os.geteuid() != 0:
        from sensor import privileges

        privileges.without(lambda: import_module("sensor.watching"))
    from sensor import watching
    from sensor.outlets import OutletOptions
    from sensor.sources.ring import RingOptions
    from sensor.tape import TapeOptions

    if bool(interface) == bool(replay):
        read = "has nothing to watch" if not interface else "cannot watch interfaces and captures at once"
        raise OperatorError(Mistake("watch", read, "name interfaces with -i, or captures with --replay"))
    tape = TapeOptions(evidence, evidence_mib << 20, evidence_bytes) if evidence and interface else None
    options = watching.WatchOptions(
        interfaces=tuple(dict.fromkeys(interface or ())),
        captures=tuple(replay or ()),
        listen=listen,
        web_config=web_config,
        speed=speed,
        linger_s=linger,
        offenders=offenders,
        user=user,
        ring=RingOptions(blocks=ring_mib or 0, rings=rings, any_port=any_port, mdns=mdns),
        outlets=OutletOptions(state, eve, spool, spool_every, syslog, webhook, webhook_secret, alertmanager, tape),
    )
    raise typer.Exit(watching.watch(lambda: _load(policy, rules), options))


@app.command()
def check(policy: _Policy = None, rules: _Rules = None) -> None:
    """Name every mistake in policy and rules at once, and run each rule's cases."""
    from sensor import checking

    raise typer.Exit(checking.check(policy, _rule_paths(rules)))


@app.command()
def schedule(
    policy: _Policy = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="The moment to look at (ISO 8601); now by default.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days of slots to list.")] = 7,
    *,
    explain: Annotated[bool, typer.Option(help="Show what shorthand in the policy expands to.")] = False,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json or ics (a calendar).")] = "text",
) -> None:
    """Say which sites are open, since when, and when that changes: in local time and UTC."""
    from sensor import checking

    _one_of("--format", form, ("text", "json", "ics"))
    moment = _instant("--at", at, [])
    at_ns = moment if moment is not None else time.time_ns()
    if form != "text" and not explain:
        typer.echo(checking.write_schedule(policy, at_ns, days, form), nl=False)
        raise typer.Exit
    raise typer.Exit(checking.show_schedule(policy, at_ns, days, explain=explain))


@app.command()
def verify(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="A case folder.", show_default=False)],
    inputs: Annotated[
        Path | None, typer.Option("--inputs", metavar="FOLDER", help="Where the inputs are now, by their last names.")
    ] = None,
) -> None:
    """Hold a case against its manifest: every file, and the inputs where they can be found. Exit code 3 if one differs.

    Example:

        swarmtap verify case --inputs /evidence/captures
    """
    from sensor import verify as verifying

    verdict = verifying.verify(case, inputs)
    for check in verdict.checks:
        if check.state != "same":
            typer.echo(_printable(f"{check.state:8} {check.kind:6} {check.name}: {check.said}"))
    same = sum(check.state == "same" for check in verdict.checks)
    ending = "as written" if verdict.is_whole else "NOT as written"
    typer.echo(f"{case} is {ending}: {same:,} of {len(verdict.checks):,} files are the same.")
    typer.echo(f"manifest.json has SHA-256 {verdict.manifest_sha256}")
    raise typer.Exit(Exit.DONE if verdict.is_whole else Exit.DAMAGED)


@app.command()
def extract(
    paths: _Paths,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The capture to write.", show_default=False)],
    flow: _Flow = None,
    host: _Host = None,
    swarm: _Swarm = None,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Cut packets on the watched port out of captures, bit by bit as they are, merged by time.

    Examples
    --------
        swarmtap extract /captures/2026-06 --host 10.1.20.99 -o sweep.pcap

        swarmtap extract week.pcap --flow 1:beV1u+LD013n0TD913ZJfaMWp+Y= -o flow.pcap
    """
    from sensor import extract as extracting
    from sensor.selection import Selection
    from sensor.sources.files import find

    names = find(paths)
    flows = _flows(names, flow, swarm)
    span = _instant("--since", since, names), _instant("--until", until, names)
    made = extracting.extract(names, Selection(flows, tuple(host or ())), out, span)
    for line in made.damage:
        sys.stderr.write(f"swarmtap: {_printable(line)}\n")
    typer.echo(f"{made.packets:,} packets in {made.path}, SHA-256 {made.sha256}")
    raise typer.Exit(Exit.DAMAGED if made.damage else Exit.DONE)


@app.command()
def metrics(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="A folder that `analyze -o` wrote.", show_default=False)],
    policy: _Policy = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write there, not to standard output.")
    ] = None,
    instance: Annotated[
        str | None, typer.Option(metavar="NAME", help="The instance that it appears as; the folder's name by default.")
    ] = None,
    step: Annotated[
        int, typer.Option(min=0, max=240, help="Seconds of capture time per sample; 0: by the length of the case.")
    ] = 0,
) -> None:
    """Tell a case as OpenMetrics at the time of its capture, for Prometheus to back-fill.

    Example:

        swarmtap metrics case -o case.om && promtool tsdb create-blocks-from openmetrics case.om data
    """
    from sensor import backfill

    raise typer.Exit(backfill.run(case, policy, out, backfill.BackfillOptions(instance or case.resolve().name, step)))


@app.command()
def inspect(
    paths: _Paths,
    flow: Annotated[
        str | None, typer.Option(metavar="COMMUNITY_ID", help="The conversation to show; without it, all are listed.")
    ] = None,
    tshark: Annotated[
        str | None, typer.Option(metavar="PROGRAM", help="The tshark to look with, instead of the one on the PATH.")
    ] = None,
    *,
    full: Annotated[bool, typer.Option(help="Show every packet, and every field that tshark shows.")] = False,
) -> None:
    """Show a conversation message by message, as we read it and as tshark does; differences are marked.

    Examples
    --------
        swarmtap inspect case

        swarmtap inspect two-pcs.pcap --flow 1:beV1u+LD013n0TD913ZJfaMWp+Y=
    """
    from rich.console import Console

    from sensor import inspecting

    if flow is None:
        raise typer.Exit(inspecting.show_flows(paths, Console()))
    options = inspecting.InspectOptions(is_full=full, program=tshark)
    raise typer.Exit(inspecting.show_flow(paths, flow, Console(), options))


@app.command()
def carve(
    paths: _Paths,
    swarm: Annotated[str, typer.Option(metavar="HASH", help="The content's hash, or its first digits.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the pieces go.", show_default=False)
    ],
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Put the pieces of a content together from captures: bytes, gaps, hashes, and givers that do not agree.

    Example:

        swarmtap carve week.pcap --swarm a91e1417 -o carved
    """
    from sensor import carve as carving
    from sensor import words
    from sensor.reading import Options
    from sensor.sources.files import find

    names = find(paths)
    options = Options(since_ns=_instant("--since", since, names), until_ns=_instant("--until", until, names))
    content = carving.carve(names, swarm, out, options)
    whole = sum(not piece.gaps for piece in content.pieces)
    seen = sum(piece.size_bytes - sum(end - start for start, end in piece.gaps) for piece in content.pieces)
    pieces = words.count(len(content.pieces), "piece")
    typer.echo(f"{words.volume(seen)} of {pieces} in {out / content.folder}, {whole:,} whole.")
    confirmed = sum(conflict.is_confirmed for conflict in content.conflicts)
    if content.conflicts:
        found = words.count(len(content.conflicts) + content.conflicts_left_out, "conflict")
        typer.echo(f"{found} between givers, {confirmed:,} confirmed by right checksums; see carved.json.")
    for line in content.damage:
        sys.stderr.write(f"swarmtap: {_printable(line)}\n")
    raise typer.Exit(Exit.DAMAGED if content.damage else Exit.DONE)


@app.command()
def export(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="A case folder.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the files go.", show_default=False)],
    form: Annotated[
        list[str] | None,
        typer.Option("--form", metavar="FORM", help="csv, ndjson, zeek or graphml; all of them by default."),
    ] = None,
) -> None:
    """Write a case's tables as CSV, NDJSON, Zeek's conn.log, and its peers as GraphML.

    Example:

        swarmtap export case -o case/exports --form zeek
    """
    from sensor.sinks import exports

    forms = tuple(dict.fromkeys(form or exports.FORMS))
    wrong = [each for each in forms if each not in exports.FORMS]
    if wrong:
        raise OperatorError(Mistake("--form", f'"{wrong[0]}" is not a form', f"one of {', '.join(exports.FORMS)}"))
    for path in exports.export(case, out, forms):
        typer.echo(str(path))


@app.command()
def whatif(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="A case folder.", show_default=False)],
    policy: Annotated[
        Path, typer.Option("-p", "--policy", metavar="FILE", help="The policy to try.", show_default=False)
    ],
    rules: _Rules = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text or json.")] = "text",
) -> None:
    """Judge a case by another policy, without its packets: incidents gone, new and changed, by site.

    Example:

        swarmtap whatif case -p wider.yaml --format json
    """
    from sensor import whatif as trying

    _one_of("--format", form, ("text", "json"))
    raise typer.Exit(trying.tell(case, *_load(policy, rules), as_json=form == "json"))


@app.command()
def learn(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="A case folder.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The policy to write.", show_default=False)],
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="The time zone of its sites.")] = "UTC",
    rules: _Rules = None,
) -> None:
    """Propose a policy from what a case saw, with the evidence for each line, and say what would be found under it.

    Example:

        swarmtap learn case -o policy.yaml --timezone Europe/Berlin
    """
    from sensor import learn as learning
    from sensor import words
    from sensor.values import UnreadableError, read_timezone

    try:
        read_timezone(timezone)
    except UnreadableError as bad:
        raise OperatorError(Mistake("--timezone", bad.read, bad.right)) from None
    left = learning.learn(case, out, timezone, _load(None, rules)[1])
    typer.echo(f"Proposed in {out}; under it this case has {words.count(len(left), 'incident')}.")
    for line in left:
        typer.echo(f"  {_printable(line)}")


def _one_of(option: str, told: str, known: tuple[str, ...]) -> None:
    if told not in known:
        raise OperatorError(Mistake(option, f'"{told}" is not a form', f"one of {', '.join(known)}"))


@dataclass(frozen=True, slots=True)
class _HeadStart:
    """Captures that are being read already, while the command line is still being understood."""

    names: list[str]
    inputs: Inputs
    trail: Trail
    progress: _Progress


_head: _HeadStart | None = None


def _start_early(words: list[str]) -> _HeadStart | None:
    """Begin to read where the arguments are plainly captures: to understand options takes as long as some 100 MB."""
    names: list[str] = []
    told = iter(words[1:] if words[:1] == ["analyze"] else ())
    for word in told:
        if word in _WITH_VALUE:
            next(told, None)
        elif word.startswith("-") or not os.path.isfile(word):  # noqa: PTH113 - pathlib is not needed for this
            return None
        else:
            names.append(word)
    writes = not {"-o", "--out"}.isdisjoint(words)
    if not names or (writes and len(names) > 1):  # the latter keeps what it reads, which it must be asked to
        return None
    from sensor.inputs import Inputs
    from sensor.reading import Options
    from sensor.trail import Trail

    progress = _Progress()
    inputs = Inputs(names, Options(hashes=writes), progress).start()
    return _HeadStart(names, inputs, Trail(inputs).start(), progress)


def main() -> None:
    """Run the command line; the operator's mistakes are one line each, and exit code 2."""
    global _head  # noqa: PLW0603 - one process, one command line
    # Nothing here multiplies matrices; threads for it would be a tenth of the start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:2] == ["analyze"]:
        # Imports leave no garbage, but looking for it takes a tenth of the start; `analyze` begins to look after them.
        gc.disable()
        from sensor import heap

        heap.keep()
    _head = _start_early(sys.argv[1:])
    code = _run()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass  # whoever read our output has gone
    # Everything is written and closed. Taking the interpreter and its libraries apart would cost as much as a small
    # job.
    os._exit(code)


def _command(asked: str) -> Any:
    """Build the command line; of its commands only the one that was asked for, if there is such a one.

    To build them all takes longer than to read a small capture.
    """
    known = app.registered_commands
    chosen = [each for each in known if each.callback is not None and each.callback.__name__ == asked]
    app.registered_commands = chosen or known
    # The list of commands has no Markdown in it, and who only wants that need not wait for what reads Markdown.
    app.rich_markup_mode = "markdown" if chosen else "rich"
    try:
        return typer.main.get_command(app)
    finally:
        app.registered_commands = known


def _run() -> int:
    command = _command(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        # Not `app()`: typer draws a box around a mistake, and calls it a failure when our reader goes away.
        with command.make_context("swarmtap", sys.argv[1:]) as context:
            command.invoke(context)
    except OperatorError as error:
        return _complain(*(str(mistake) for mistake in error.mistakes))
    except _Misuse as error:
        asked = error.ctx.command_path if error.ctx else "swarmtap"
        said = error.format_message().rstrip(".")
        # Without arguments the help is all there is to say, and it was.
        return _complain(f"{said}; see {asked} --help") if said else Exit.OPERATOR
    except typer.Exit as leave:
        return leave.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return Exit.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        return Exit.DONE  # as `| head` does (rich then leaves by SystemExit); there is nobody left to tell
    return Exit.DONE


def _complain(*lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"swarmtap: {_printable(line)}\n")
    return Exit.OPERATOR


def _printable(line: str) -> str:
    """Keep a file's name from steering the terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in line)


def _rule_paths(rules: list[Path] | None) -> list[Path]:
    if rules:
        return rules
    shipped = Path(__file__).parent / "shipped" / "rules"
    return [shipped if shipped.is_dir() else Path(__file__).parent.parent / "rules"]


def _load(policy: Path | None, rules: list[Path] | None) -> tuple[Any, RuleSet]:
    """Read policy and rules; the mistakes of both come together."""
    from sensor.policy import DEFAULT_POLICY
    from sensor.rules.kept import load

    def stated() -> Any:
        if policy is None:
            return DEFAULT_POLICY
        from sensor.settings import load_policy  # YAML comes with it

        return load_policy(policy)

    mistakes: list[Mistake] = []
    read: list[Any] = []
    for reader in (stated, lambda: load(_rule_paths(rules))):
        try:
            read.append(reader())
        except OperatorError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise OperatorError(*mistakes)
    return read[0], read[1]


def _tell(case: Case, out: Path | None, level: int | None) -> int:
    """Print the summary, write the case, and choose the exit code."""
    from rich.console import Console

    from sensor.schema import LEVELS
    from sensor.sinks import summary

    summary.render(case, Console())
    if out is not None:
        from sensor import casefolder

        casefolder.write(case, out, sys.argv[1:], datetime.now(tz=UTC).isoformat(timespec="seconds"))
        typer.echo(f"\nThe case is in {out}; open {out / 'report.html'} in a browser.")
    if level is not None and any(LEVELS.index(incident.level) >= level for incident in case.incidents):
        return Exit.FOUND
    return Exit.DAMAGED if any(read.damage for read in case.inputs) else Exit.DONE


def _cluster(address: str, names: list[str], options: Any, progress: Any) -> Any:
    from sensor.cluster import ClusterInputs, connect

    return ClusterInputs(names, options, connect(address), progress)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for of the packets."""

    flow: list[str] | None = None
    host: list[str] | None = None
    site: list[str] | None = None
    swarm: list[str] | None = None
    filter: str | None = None

    def told(self, policy: Path | None) -> str:
        """Return it in words; a site is what the policy says it is."""
        if not any((self.flow, self.host, self.site, self.swarm, self.filter)):
            return ""
        import hashlib

        known = hashlib.sha256(policy.read_bytes()).hexdigest() if self.site and policy and policy.is_file() else ""
        return repr((self.flow, self.host, self.site, self.swarm, self.filter, known))

    def words(self, since_ns: int | None, until_ns: int | None) -> str:
        """Return it for people, with the times that limit it; empty if all was asked for."""
        kinds = (("flow", self.flow), ("host", self.host), ("site", self.site), ("content", self.swarm))
        said = [f"{name} {' or '.join(asked)}" for name, asked in kinds if asked]
        said += [f"what passes {self.filter!r}"] if self.filter is not None else []
        for word, instant_ns in (("from", since_ns), ("before", until_ns)):
            if instant_ns is not None:
                moment = datetime.fromtimestamp(instant_ns // 1_000_000_000, UTC)
                said.append(f"what came {word} {moment:%Y-%m-%d %H:%M:%S} UTC{' on' if word == 'from' else ''}")
        return ", ".join(said)


def _selection(policy: Path | None, wanted: _Wanted, names: list[str]) -> Any:
    """Return what chooses packets, or None for all of them."""
    if not (wanted.flow or wanted.host or wanted.site or wanted.swarm):
        return None
    from sensor.selection import Selection
    from sensor.settings import load_policy

    flows = _flows(names, wanted.flow, wanted.swarm)
    places = load_policy(policy) if wanted.site else None
    return Selection(flows, tuple(wanted.host or ()), tuple(wanted.site or ()), places)


def _flows(names: list[str], flow: list[str] | None, swarm: list[str] | None) -> frozenset[str]:
    """Return the flows that were named, and of these only those of the contents that were named."""
    flows = frozenset(flow or ())
    if not swarm:
        return flows
    from sensor import extract

    found = extract.flows_of_swarms(names, swarm)
    if flows and not flows & found:
        said = f"none of {', '.join(sorted(flows))} is of content {', '.join(swarm)}"
        raise OperatorError(Mistake("--flow", said, "name one of them, or leave one out"))
    return flows & found if flows else found


def _filter(expression: str | None) -> Any:
    """Return what chooses frames, or None for all of them."""
    if expression is None:
        return None
    from sensor.expression import Expression

    return Expression(expression)


def _interrupted(inputs: Inputs, count: int, out: Path | None) -> int:
    """Say what is left of an interrupted run."""
    inputs.stop()
    kept = inputs.keeping.kept if inputs.keeping is not None else 0
    if kept:
        told = f"interrupted; {kept:,} of {count:,} inputs are kept in {out}"
        _complain(f"{told}, and the same command with --resume goes on from there")
    else:
        _complain("interrupted; nothing was kept" if out is not None else "interrupted")
    return Exit.INTERRUPTED


def _forget(inputs: Inputs) -> None:
    """Remove what was kept for another run."""
    if inputs.keeping is not None:
        inputs.keeping.forget()


def _level(name: str | None) -> int | None:
    from sensor.schema import LEVELS

    if name is None:
        return None
    if name not in LEVELS:
        raise OperatorError(Mistake("--exit-code", f'"{name}" is not a level', f"one of {', '.join(LEVELS)}"))
    return LEVELS.index(name)


def _instant(option: str, told: str | None, names: list[str]) -> int | None:
    """Read a time: absolute, before now, or after the first packet of the inputs."""
    if told is None:
        return None
    from sensor import instants

    return instants.read(option, told, lambda: _first_packet(option, told, names))


def _first_packet(option: str, told: str, names: list[str]) -> int:
    from sensor.reading import look

    if "-" in names:
        raise OperatorError(Mistake(option, f'"{told}" needs inputs that can be read twice', "give files, or a date"))
    found = []
    for name in names:
        try:
            found.append(look(name).first_ns)
        except OperatorError:
            continue  # the run names it
    return min((first_ns for first_ns in found if first_ns), default=0)


class _Progress:
    """A bar on a terminal; elsewhere a plain line every few seconds. Nothing at all for short work."""

    _QUIET_S = 1.0
    _EVERY_S = 5.0

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._drawn = False
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._began < self._QUIET_S or now - self._last < (0.1 if self._terminal else self._EVERY_S):
            return
        self._last = now
        rate = done / (now - self._began)
        left = f", {(total - done) / rate:.0f} s left" if rate and total > done else ""
        line = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate / 1e6:,.0f} MB/s{left}"
        if self._terminal:
            width = 30
            filled = int(width * min(1.0, done / total)) if total else 0
            sys.stderr.write(f"\r\x1b[K{'█' * filled}{'·' * (width - filled)} {line}")
            self._drawn = True
        else:
            sys.stderr.write(f"swarmtap: {line}\n")
        sys.stderr.flush()

    def done(self) -> None:
        """Leave the line clean."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

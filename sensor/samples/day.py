"""A day of the office with twenty causes in it, hours of ordinary update traffic around them: one incident each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor.samples import foreign
from sensor.samples.delivery import Content, Transfer
from sensor.samples.files import Shape, write
from sensor.samples.frames import ORIG, RESP, Host, render
from sensor.samples.grounds import BRANCH, CASH, HQ, MINUTE, SERVERS, branch, hq, utc
from sensor.samples.office import CUT, Scene, found
from sensor.samples.stack import MS, SECOND, Path, Tape

if TYPE_CHECKING:
    from sensor.samples.truth import Finding

HOUR: Final = 60 * MINUTE
START: Final = utc("2026-06-09T22:00:00")  # Wednesday 00:00 in Berlin: the headquarters' slot ends at 04:00 UTC
UPDATE: Final = Content("2026-06 cumulative update", 60)
WAN: Final = Path(rtt_ns=112 * MS, bytes_per_s=5_000_000, vlans=(10,), merged=44)

CAUSES: Final[tuple[Finding, ...]] = (
    *found("w01_off_window_transfer", site_pair="hq~hq"),
    *found("w01_off_window_transfer", site_pair="branch~branch"),
    *found("w01_off_window_transfer", site_pair="servers~servers"),
    *found("w05_window_overrun", site_pair="hq~hq"),
    *found("w02_attempt_while_disabled", orig_ip="10.9.0.11", site="cash-desks"),
    *found("w02_attempt_while_disabled", orig_ip="10.1.20.60", site="hq"),
    *found("w03_listener_while_disabled", resp_ip="10.9.0.16"),
    *found("w04_transfer_while_disabled", site_pair="cash-desks~cash-desks"),
    *found("t03_cross_site", site_pair="branch~hq"),
    *found("t03_cross_site", site_pair="hq~servers"),
    *found("t01_forbidden_site_pair", site_pair="branch~hq"),
    *found("t05_internet_peering", site="hq"),
    *found("t06_internet_inbound", site="branch"),
    *found("r01_horizontal_scan", orig_ip="10.1.20.99"),
    *found("r03_slow_scan", orig_ip="10.2.5.77"),
    *found("r05_connect_only", orig_ip="10.1.20.98"),
    *found("p01_other_protocol", resp_ip="10.1.20.82", verdict="http"),
    *found("p01_other_protocol", resp_ip="10.2.5.84", verdict="tls"),
    *found("p02_opaque", orig_ip="10.1.20.87", resp_ip="10.1.20.88"),
    *found("v05_fan_in_flood", resp_ip="10.1.20.50"),
)


def _say(scene: Scene, hosts: tuple[Host, Host], at_ns: int, verdict: str, path: Path = HQ) -> None:
    talk = scene.talk(*hosts, at_ns, path, verdict)
    talk.tcp.connect()
    for side, data in foreign.DIALOGUES[verdict]():
        talk.tcp.send(side, data)
    talk.tcp.close(ORIG)


def _ordinary(scene: Scene) -> None:
    for turn in range(8):  # the headquarters until 04:00 UTC, the branch from 03:00 to 10:00
        scene.talk(hq(101 + turn), hq(100 + turn), START + (11 + turn * 27) * MINUTE).run(Transfer(UPDATE, range(4)))
        at = START + 5 * HOUR + (13 + turn * 41) * MINUTE
        scene.talk(branch(101 + turn), branch(100 + turn), at, BRANCH).run(Transfer(UPDATE, range(3)))
    for turn in range(9):  # a stale list of peers, and PCs that refuse
        scene.knock(hq(70, old=True), hq(10 + turn, subnet=31).behind("router"), START + 9 * HOUR + turn * 40 * SECOND)
        scene.talk(hq(72), hq(73), START + (10 + turn) * HOUR, verdict="too_little").tcp.be_refused()


def _transfers(scene: Scene) -> None:
    for turn in range(5):  # one cause, whatever the number of its downloads
        at = START + 11 * HOUR + turn * 37 * MINUTE
        scene.talk(hq(31 + turn), hq(41), at).run(Transfer(UPDATE, range(2)))
    for turn in range(2):
        at = START + 15 * HOUR + turn * 50 * MINUTE
        scene.talk(branch(31 + turn), branch(41), at, BRANCH).run(Transfer(UPDATE, range(2)))
    server = [Host(f"10.1.250.{n}") for n in (10, 11)]
    scene.talk(server[1], server[0], START + 12 * HOUR, SERVERS).run(Transfer(UPDATE, range(2)))
    slow = Path(rtt_ns=700_000, bytes_per_s=30_000, vlans=(10,), merged=44)
    scene.talk(hq(35), hq(36), utc("2026-06-10T03:55:00"), slow).run(Transfer(UPDATE, range(30), ending="rst_orig"))
    for n in (41, 42):
        far = branch(n).behind("router", hops=3)
        scene.talk(hq(n + 3), far, utc("2026-06-10T03:20:21") + n * SECOND, WAN).run(Transfer(UPDATE, range(2)))
    scene.talk(hq(47), server[1], START + 13 * HOUR, SERVERS).run(Transfer(UPDATE, range(2)))
    game = Host("203.0.113.77").behind("router", hops=12)
    scene.talk(hq(48), game, START + 14 * HOUR, WAN).run(Transfer(Content("store game", 900), range(2)))


def _disabled(scene: Scene) -> None:
    desks = [Host(f"10.9.0.{n}") for n in range(11, 23)]
    for turn in range(3):
        scene.knock(desks[0], desks[1 + turn], START + 8 * HOUR + turn * 11 * MINUTE, CASH)
    scene.knock(hq(60), desks[3], START + 8 * HOUR + 50 * MINUTE)
    for turn in range(2):
        talk = scene.talk(desks[4], desks[5], START + 16 * HOUR + turn * 9 * SECOND + turn * MINUTE, CASH)
        talk.greet(UPDATE, answered=False)
        talk.tcp.close(RESP)
    # Greeting in one window, content in the next: one cause all the same.
    edge = (START + 17 * HOUR) // (10 * SECOND) * 10 * SECOND - 2 * MS
    image = Content("point of sale image", 4)
    scene.talk(desks[7], desks[8], edge, CASH).run(Transfer(image, range(2), ahead=2))


def _strangers(scene: Scene) -> None:
    for at, target in ((1, hq(21)), (2, hq(22))):
        talk = scene.talk(branch(60), target.behind("router"), START + 18 * HOUR + at * MINUTE, WAN, "too_little")
        talk.tcp.connect()
        talk.tcp.idle(20 * SECOND)
        talk.tcp.close(ORIG)
    talk = scene.talk(
        Host("198.51.100.9").behind("router", hops=9), branch(61), START + 19 * HOUR, BRANCH, "too_little"
    )
    talk.tcp.connect()
    talk.tcp.close(ORIG)
    for n in range(1, 65):
        target = hq(n, subnet=30).behind("router")
        scene.talk(hq(99), target, START + 11 * HOUR + n * 156 * MS, verdict="too_little").tcp.knock((0,))
    for n in range(60):
        target = Host(f"10.2.{6 + n % 9}.{(n * 37) % 200 + 20}").behind("router")
        at = START + 10 * HOUR + n * 7 * MINUTE
        scene.talk(branch(77), target, at, BRANCH, "too_little").tcp.knock((0,))
    for n in range(6):
        talk = scene.talk(hq(98), hq(120 + n * 7), START + 20 * HOUR + n * 3 * MINUTE, verdict="too_little")
        talk.tcp.connect()
        talk.tcp.idle(200 * MS)
        talk.tcp.close(ORIG)
    for turn in range(3):
        _say(scene, (hq(81), hq(82)), START + 13 * HOUR + turn * 17 * MINUTE, "http")
    _say(scene, (branch(83), branch(84)), START + 13 * HOUR + 30 * MINUTE, "tls", BRANCH)
    _say(scene, (hq(87), hq(88)), START + 21 * HOUR, "opaque")
    for n in range(2400):
        host = Host(f"10.1.{70 + n // 250}.{n % 250 + 2}").behind("router")
        scene.talk(host, hq(50), START + 22 * HOUR + n * 4 * MS, verdict="too_little").tcp.knock((0,))


def build() -> bytes:
    """Return the day's capture file."""
    scene = Scene(Tape("day"))
    for part in (_ordinary, _transfers, _disabled, _strangers):
        part(scene)
    return write(render(scene.tape.segments, CUT), Shape(snaplen=CUT))

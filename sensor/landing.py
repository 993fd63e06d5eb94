"""The page at `/`: open incidents and schedules for whoever opens the sensor in a browser; no script, no request."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from sensor import __version__, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bad: #c4314b; --odd: #b35c00; --good: #1a7f37 }
@media (prefers-color-scheme: dark) { :root { --bad: #ff7b90; --odd: #ffb057; --good: #57d57b } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h1 small { font-weight: 400; opacity: .7; font-size: 1rem }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem } p.verdict { font-size: 1.1rem }
table { border-collapse: collapse; width: 100% } .wide { overflow-x: auto }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; font-size: .85rem; opacity: .75; white-space: nowrap }
td.short { white-space: nowrap } td.who { min-width: 10rem }
td .reason { display: block; opacity: .8; font-size: .9rem }
.critical, .high, .disabled { color: var(--bad); font-weight: 600 }
.medium, .closed { color: var(--odd); font-weight: 600 }
.open, .allowed { color: var(--good); font-weight: 600 } .numbers { opacity: .75 }
nav { margin-top: 2rem; padding-top: .8rem; border-top: 1px solid var(--line) } nav a { margin-right: 1.2rem }
"""
_LINKS: Final = (
    ("/metrics", "Metrics"),
    ("/status", "Status as JSON"),
    ("/-/healthy", "Healthy"),
    ("/-/ready", "Ready"),
)


def page(status: Mapping[str, Any], *, ready: bool) -> str:
    """Return the page; every word from the network is escaped.

    Parameters
    ----------
    status
        As `/status` has it; a part that is missing is left out.

    Raises
    ------
    nothing
    """
    found = status.get("open_incidents", [])
    head = words.count(len(found), "incident") + " open" if found else "No incident is open"
    body = [
        f"<h1>swarmtap <small>{escape(__version__)}</small></h1>",
        "<p>Who gives Windows update bytes to whom on TCP 7680, and whether that is allowed.</p>",
        f'<p class="verdict"><strong>{head}</strong>{"." if ready else "; the sensor is not ready yet."}</p>',
        _numbers(status),
    ]
    if found:
        body += ["<h2>Open incidents</h2>", _incidents(found)]
    if status.get("sites"):
        body += ["<h2>Schedule</h2>", _schedule(status["sites"])]
    links = "".join(f'<a href="{path}">{text}</a>' for path, text in _LINKS)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(head)} · swarmtap</title>\n<style>{_STYLE}</style>\n"
        + "\n".join(part for part in body if part)
        + f"\n<nav>{links}</nav>\n</html>\n"
    )


def _numbers(status: Mapping[str, Any]) -> str:
    told = []
    if "packets" in status:
        told.append(words.count(int(status["packets"]), "packet"))
    if "flows" in status:
        told.append(f"{words.count(int(status['flows']), 'flow')} now")
    if status.get("judged_until"):
        told.append(f"judged until {_clock(status['judged_until'])} UTC")
    return f'<p class="numbers">{escape(" · ".join(told))}</p>' if told else ""


def _incidents(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            _short(each["level"], each["level"]),
            _short(each["site"]),
            f'<td>{escape(each["title"])}<span class="reason">{escape(each["reason"])}</span></td>',
            f'<td class="who">{escape(each["subject"])}</td>',
            _short(each["when"]),
            _short(words.volume(int(each["payload_bytes"]))),
        )
        for each in found
    ]
    return _table(("Level", "Site", "What", "Who", "When", "Payload"), rows)


def _schedule(sites: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            _short(each["site"]),
            _short(each["schedule"], each["schedule"]),
            _short(_clock(each["since"], "always")),
            _short(_clock(each["next_change"], "never")),
            _short(each["timezone"]),
        )
        for each in sites
    ]
    return _table(("Site", "Now", "Since", "Changes", "Time zone"), rows)


def _short(told: str, kind: str = "") -> str:
    """Return a cell that does not wrap; its kind gives it a colour."""
    return f'<td class="short {escape(kind)}">{escape(told)}</td>' if kind else f'<td class="short">{escape(told)}</td>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _clock(moment: str | None, without: str = "") -> str:
    """Return an ISO 8601 instant as people read it: its day, its minute."""
    return moment[:16].replace("T", " ") if moment else without

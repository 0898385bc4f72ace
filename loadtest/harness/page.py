"""The report as one HTML page, which loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from loadtest.harness.plots import Line, Text, bars, linear, logarithmic, nines, plot

_Series = tuple[str, str, str, float]
"""Which figure of an interval, its name, its color, and what it is multiplied by."""

_STYLE = """
:root { --ink: #1c2330; --soft: #5d6675; --rule: #e3e6ea; --ground: #f6f7f9; --card: #fff; --bad: #b42318;
  --closed: #98a2b3; --open: #175cd3; --tail: #c4320a; --ours: #175cd3; --theirs: #98a2b3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --rule: #2d3542; --ground: #12161d;
  --card: #1a202a; --bad: #f97066; --closed: #667085; --open: #53b1fd; --tail: #fd853a; --ours: #53b1fd;
  --theirs: #667085; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1020px; margin: auto; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 0; }
p { margin: .2rem 0 .6rem; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 1.1rem 1.3rem;
  margin-top: 1.1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: .82rem; } th:first-child, td:first-child,
th:nth-child(2), td:nth-child(2) { text-align: left; } tr:last-child td { border-bottom: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: .8rem 1.6rem;
  margin-top: .6rem; }
svg { width: 100%; height: auto; display: block; } .bars svg { min-width: 620px; }
.title { font-size: 12.5px; font-weight: 600; fill: var(--ink); } .tick { font-size: 11px; fill: var(--soft); }
.label { font-size: 11.5px; fill: var(--soft); } .grid { stroke: var(--rule); stroke-width: 1; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .dot { opacity: 0; } .dot:hover { opacity: 1; }
polyline.closed { stroke: var(--closed); } polyline.open { stroke: var(--open); } polyline.tail { stroke: var(--tail); }
.closed { fill: var(--closed); } .open { fill: var(--open); } .tail { fill: var(--tail); } .ours { fill: var(--ours); }
.theirs { fill: var(--theirs); } polyline { fill: none !important; }
.bad { color: var(--bad); font-weight: 600; } code { font-size: .9em; overflow-wrap: anywhere; }
"""


def page(report: dict[str, Any]) -> str:
    """The page of a report, as `loadtest.harness.report.report` makes it."""
    machine = report["machine"]
    verdict = "Every answer was right." if report["is_right"] else "Not every answer was right: see below."
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Load test, {escape(report['made_at'])}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>Load test</h1><p>{escape(report['made_at'])}, certstatus {escape(report['certstatus'])}, "
        f"{machine['cores']} cores of {escape(machine['processor'])}, {escape(machine['kernel'])}, "
        f"Python {escape(machine['python'])}, {escape(machine['openssl'])}<br>"
        f"<code>{escape(report['command'])}</code></p>",
        f'<p class="{"" if report["is_right"] else "bad"}">{verdict}</p>',
        _section("Summary", "The closed loop asks as fast as it is answered; the open loop at a constant rate, each "
                 "answer's time counted from when its request was due.", _summary(report["runs"])),
        _against(report["against"]),
        *(_scenario(run) for run in report["runs"]),
        "</main></body></html>\n",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _section(title: str, about: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{''.join(content)}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{each}</td>' for each in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _summary(runs: Sequence[dict[str, Any]]) -> str:
    head = [
        "scenario",
        "loop",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "longest ms",
        "CPU µs an answer",
        "verified",
        "wrong",
    ]
    rows = []
    for run in runs:
        if run["left_out"]:
            rows.append([escape(run["scenario"]), f"left out: it needs {escape(run['left_out'])}", *[""] * 8])
        for loop in run["loops"]:
            by = " by wrk" if loop["client"] == "wrk" else ""
            wrong = sum(loop["wrong"].values()) + sum(loop["failures"].values())
            rows.append(
                [
                    escape(run["scenario"]),
                    loop["loop"] + by,
                    f"{loop['answers_per_second']:,.0f}",
                    *(_milliseconds(loop["latency_microseconds"].get(each)) for each in ("50", "99", "99.9", "100")),
                    _number(loop["cpu_microseconds_an_answer"]),
                    f"{sum(loop['verified'].values()):,}",
                    f'<span class="bad">{wrong:,}</span>' if wrong else "0",
                ]
            )
    return _table(head, rows)


def _against(beside: Sequence[dict[str, Any]]) -> str:
    if not beside:
        return ""
    drawn = [
        (
            each["name"],
            each["cpu_microseconds_an_answer"],
            f"{each['cpu_microseconds_an_answer']:,.1f} µs"
            + ("" if each["cpu_by_certstatus"] is None else f", {each['cpu_by_certstatus']:g} ×"),
            "ours" if each["cpu_by_certstatus"] is None else "theirs",
        )
        for each in beside
        if each["cpu_microseconds_an_answer"] is not None
    ]
    rows = [
        [
            escape(each["name"]),
            "" if each["cpu_by_certstatus"] is None else f"{each['cpu_by_certstatus']:g} × certstatus's CPU",
            _number(each["cpu_microseconds_an_answer"]),
            f"{each['answers_per_second']:,}",
        ]
        for each in beside
    ]
    about = "The same questions on the same cores, one server after the other in each round; the medians of the rounds."
    table = _table(["server", "beside certstatus", "CPU µs an answer", "answers/s"], rows)
    return _section("Beside others", about, f'<div class="wide bars">{bars("CPU of an answer", drawn)}</div>', table)


def _scenario(run: dict[str, Any]) -> str:
    if not run["loops"]:
        return ""
    told = [_described(loop) for loop in run["loops"]]
    plots = [_percentiles(run["loops"])]
    opened = next((loop for loop in run["loops"] if loop["loop"] == "open" and loop["intervals"]), None)
    if opened is not None:
        plots += [
            _over_time("Throughput", opened, "answers/s", _thousands, [("answers_per_second", "answers", "open", 1.0)]),
            _over_time("Latency over time", opened, "ms", lambda value: f"{value:g}",
                       [("p50_microseconds", "p50", "open", 1e-3), ("p99_microseconds", "p99", "tail", 1e-3)]),
        ]  # fmt: skip
        if opened["cpu_microseconds_an_answer"] is not None:
            plots.append(
                _over_time("CPU of an answer", opened, "µs", lambda value: f"{value:g}",
                           [("cpu_microseconds_an_answer", "CPU", "open", 1.0)])
            )  # fmt: skip
    title = f"{run['scenario']}: {run['title']}"
    return _section(title, run["about"], *told, f'<div class="plots">{"".join(plots)}</div>')


def _described(loop: dict[str, Any]) -> str:
    words = [f"{loop['loop']} loop by {loop['client']}, {loop['connections']} connections"]
    if loop["rate_asked_per_second"]:
        words.append(f"{loop['rate_asked_per_second']:,} requests/s asked")
    words += [f"{count:,} × {escape(what)}" for what, count in loop["verified"].items()]
    if loop["stolen_seconds"] >= 0.05:
        words.append(f"{loop['stolen_seconds']:g} s of the cores were given to other machines")
    if revocations := loop.get("revocations"):
        words.append(f"{revocations['acknowledged']} revocations acknowledged")
        if revocations["acknowledged"]:
            words[-1] += (
                f" within {_milliseconds(revocations['median_microseconds'])} ms (median), "
                f"{_milliseconds(revocations['longest_microseconds'])} ms (longest)"
            )
    bad = [f"{count:,} × {escape(what)}" for each in ("wrong", "failures") for what, count in loop[each].items()]
    if revocations and revocations["failed"]:
        bad.append(escape(revocations["failed"]))
    if bad:
        words.append(f'<span class="bad">{"; ".join(bad)}</span>')
    return f"<p>{'; '.join(words)}</p>"


def _percentiles(loops: Sequence[dict[str, Any]]) -> str:
    lines = [
        Line(
            f"{loop['loop']}, {loop['client']}",
            "tail" if loop["client"] == "wrk" else loop["loop"],
            [(float(each), value / 1e3) for each, value in loop["latency_microseconds"].items() if float(each) < 100],
        )
        for loop in loops
        if loop["answered"]
    ]
    values = [value for line in lines for _, value in line.points if value > 0]
    y = logarithmic("ms", min(values, default=0.1), max(values, default=1.0), lambda value: f"{value:g}")
    return plot("Latency by percentile of the requests", lines, nines(99.99), y)


def _over_time(title: str, loop: dict[str, Any], unit: str, text: Text, series: Sequence[_Series]) -> str:
    lines = [
        Line(name, color, [(each["at_seconds"], each[key] * by) for each in loop["intervals"] if each[key] is not None])
        for key, name, color, by in series
    ]
    highest = max((value for line in lines for _, value in line.points), default=1.0)
    x = linear("seconds", loop["seconds"], lambda value: f"{value:g}")
    return plot(title, lines, x, linear(unit, highest, text))


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


def _milliseconds(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1e3:,.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"

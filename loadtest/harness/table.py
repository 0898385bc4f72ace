"""The report as tables for people, and what was wrong in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from responder.cli.output import print_table, say


def tell(document: dict[str, Any]) -> None:
    """On stdout."""
    rows = []
    for each in document["runs"]:
        if each["left_out"]:
            rows.append([each["scenario"], f"left out: it needs {each['left_out']}", *[None] * 7])
        for loop in each["loops"]:
            latency = loop["latency_microseconds"]
            wrong = sum(loop["wrong"].values()) + sum(loop["failures"].values())
            rows.append(
                [
                    each["scenario"],
                    loop["loop"] + (" by wrk" if loop["client"] == "wrk" else ""),
                    f"{loop['answers_per_second']:,.0f}",
                    *(f"{latency[percent] / 1e3:,.2f}" for percent in ("50", "99", "99.9")),
                    loop["cpu_microseconds_an_answer"],
                    f"{sum(loop['verified'].values()):,}",
                    f"{wrong:,}",
                ]
            )
    if rows:
        head = ["SCENARIO", "LOOP", "ANSWERS/S", "P50 MS", "P99 MS", "P99.9 MS", "CPU µs", "VERIFIED", "WRONG"]
        print_table(head, rows)
    if document["against"]:
        print_table(
            ["SERVER", "CPU µs", "× CERTSTATUS", "ANSWERS/S"],
            [
                [each["name"], each["cpu_microseconds_an_answer"], each["cpu_by_certstatus"],
                 f"{each['answers_per_second']:,}"]
                for each in document["against"]
            ],
        )  # fmt: skip
    for kind, name, loop in _faults(document):
        for what, count in loop[kind].items():
            say(f"{name}, {loop['loop']} loop: {count:,} × {what}")


def _faults(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    loops = [(each["scenario"], loop) for each in document["runs"] for loop in each["loops"]]
    loops += [(each["name"], loop) for each in document["against"] for loop in each["rounds"]]
    for name, loop in loops:
        for kind in ("wrong", "failures"):
            if loop[kind]:
                yield kind, name, loop

"""The report as JSON: everything that was measured, with its units in the names."""

from __future__ import annotations

import os
import platform
import re
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtest.harness.load import Options
from loadtest.harness.measured import Beside, Measured, Run, all_of
from responder import __version__


def report(
    runs: Sequence[Run], beside: Sequence[Beside], *, options: Options, command: str, made_at: datetime
) -> dict[str, Any]:
    """The document: times in RFC 3339, durations and CPU in microseconds."""
    return {
        "certstatus": __version__,
        "made_at": made_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": command,
        "machine": machine(),
        "options": {
            "seconds_a_loop": options.seconds,
            "verified_one_of": options.every,
            "client_threads": options.threads,
            "client_cores": list(options.cores),
        },
        "runs": [
            {
                "target": run.target,
                "scenario": run.scenario.name,
                "title": run.scenario.title,
                "about": run.scenario.about,
                "left_out": run.left_out,
                "loops": [_loop(each) for each in run.loops],
            }
            for run in runs
        ],
        "against": [
            {
                "name": each.name,
                "cpu_microseconds_an_answer": _microseconds(each.cpu_per_answer),
                "answers_per_second": round(each.answers_per_second),
                "cpu_by_certstatus": None if each.cpu_ratio is None else round(each.cpu_ratio, 2),
                "rounds": [_loop(one) for one in each.runs],
            }
            for each in beside
        ],
        "is_right": all(each.is_right for each in all_of(runs, beside)),
    }


def machine() -> dict[str, object]:
    """What a figure depends on."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": found[1] if found else platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
    }


def _loop(measured: Measured) -> dict[str, Any]:
    told: dict[str, Any] = {
        "loop": measured.loop,
        "client": measured.client,
        "rate_asked_per_second": None if measured.rate is None else round(measured.rate),
        "connections": measured.connections,
        "seconds": round(measured.seconds, 3),
        "answered": measured.answered,
        "answers_per_second": round(measured.answers_per_second, 1),
        "latency_microseconds": {f"{each:g}": _microseconds(value) for each, value in measured.percentiles.items()},
        "cpu_microseconds_an_answer": _microseconds(measured.cpu_per_answer),
        "http_statuses": {str(status): count for status, count in measured.statuses.items()},
        "verified": dict(measured.verified),
        "wrong": dict(measured.wrong),
        "failures": dict(measured.failures),
        "stolen_seconds": round(measured.stolen_seconds, 2),
        "is_right": measured.is_right,
        "intervals": [
            {
                "at_seconds": round(point.at, 2),
                "answers_per_second": round(point.answers_per_second, 1),
                "p50_microseconds": _microseconds(point.p50),
                "p99_microseconds": _microseconds(point.p99),
                "cpu_microseconds_an_answer": _microseconds(point.cpu_per_answer),
            }
            for point in measured.points
        ],
    }
    if measured.storm is not None:
        took = measured.storm.took()
        told["revocations"] = {
            "acknowledged": len(took),
            "median_microseconds": _microseconds(took[len(took) // 2]) if took else None,
            "longest_microseconds": _microseconds(took[-1]) if took else None,
            "failed": measured.storm.failed,
        }
    return told


def _microseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e6, 1)

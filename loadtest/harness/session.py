"""A load test from its options to its report: who is asked what, in which order."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.harness import peers, scenario, wrk
from loadtest.harness.compare import compare
from loadtest.harness.live import Live
from loadtest.harness.load import Load, Options
from loadtest.harness.measured import Beside, Run, all_of
from loadtest.harness.page import page
from loadtest.harness.report import report
from loadtest.harness.scenario import Scenario
from loadtest.harness.site import own_site
from loadtest.harness.table import tell
from loadtest.harness.target import Target, of_demo, of_url, where
from loadtest.harness.wanted import Wanted
from responder.cli.output import print_json, say
from responder.errors import ConfigError


def run_session(wanted: Wanted) -> bool:
    """Do all of it.

    Returns:
        Whether every answer was right.

    Raises:
        ConfigError: every fault of the options; nothing was asked then.
    """
    chosen = [scenario.load(each) for each in wanted.scenarios or ([] if wanted.against else scenario.names())]
    _check(wanted)
    cores = sorted(os.sched_getaffinity(0))
    is_pinned = wanted.url is None and wanted.demo is None and len(cores) > wanted.threads
    options = Options(
        seconds=wanted.seconds,
        rate=wanted.rate,
        connections=wanted.connections,
        every=wanted.every,
        threads=wanted.threads,
        cores=tuple(cores[-wanted.threads :]) if is_pinned else (),
        with_wrk=wanted.with_wrk,
        may_be_others=wanted.may_be_others,
    )
    server_cores = cores[: -wanted.threads] if is_pinned else []
    live = Live(quiet=wanted.json)
    beside: list[Beside] = []
    if wanted.against:  # first, since it may fail
        beside = compare(
            wanted.against, options, live, rounds=wanted.rounds, workers=wanted.workers, cores=server_cores
        )
    runs = []
    for group in _by_site(chosen):
        with _target(wanted, group[0], server_cores) as target:
            runs += [_run(each, target, options, live) for each in group]
    command = shlex.join(["certstatus", *sys.argv[1:]])
    document = report(runs, beside, options=options, command=command, made_at=datetime.now(UTC))
    if wanted.folder is not None:
        _write(wanted.folder, document)
    if wanted.json:
        print_json(document)
    else:
        tell(document)
        if wanted.folder is not None:
            say(f"the report is {wanted.folder / 'report.html'}")
    return all(each.is_right for each in all_of(runs, beside))


def _check(wanted: Wanted) -> None:
    faults = []
    if wanted.with_wrk and not wrk.is_there():
        faults.append("--wrk: wrk isn't here: apt-get install wrk")
    if wanted.url is not None and wanted.demo is not None:
        faults.append("give one of --url and --demo")
    if wanted.url is not None and wanted.issuer is None:
        faults.append("--url goes with --issuer FILE, the certificate of the CA that it answers for")
    of_url = (wanted.issuer, wanted.certificates, wanted.index, wanted.crl, wanted.pid, wanted.revoke_command)
    if wanted.url is None and any(of_url):
        faults.append("--issuer, --certificate, --index, --crl, --pid and --revoke-command go with --url")
    if wanted.against and (wanted.url is not None or wanted.demo is not None):
        faults.append("--against compares with a responder that is started here: leave --url and --demo out")
    if faults:
        raise ConfigError(*faults)
    peers.require(wanted.against)
    if wanted.url is not None:
        where(wanted.url, may_be_others=wanted.may_be_others)


@contextmanager
def _target(wanted: Wanted, chosen: Scenario, cores: Sequence[int]) -> Iterator[Target]:
    if wanted.url is not None:
        assert wanted.issuer is not None
        yield of_url(
            wanted.url,
            issuer=wanted.issuer,
            certificates=wanted.certificates,
            index=wanted.index,
            crl=wanted.crl,
            pid=wanted.pid,
            revoke_command=wanted.revoke_command,
        )
    elif wanted.demo is not None:
        yield of_demo(_announced(wanted.demo))
    else:
        with own_site(chosen.site, workers=wanted.workers, cores=cores) as target:
            yield target


def _run(chosen: Scenario, target: Target, options: Options, live: Live) -> Run:
    """One scenario; where the target lacks what it asks about, it is left out."""
    try:
        load = Load(chosen, target, options, live)
    except LookupError as error:
        live.end(f"{target.name} · {chosen.name}: left out: it needs {error.args[0]}")
        return Run(target.name, chosen, left_out=str(error.args[0]))
    return Run(target.name, chosen, load.loops())


def _by_site(chosen: Sequence[Scenario]) -> list[list[Scenario]]:
    """Those that are asked of the same responder; those that change what it has come last."""
    groups: list[list[Scenario]] = []
    for each in sorted(chosen, key=lambda one: one.revocations_per_second > 0):
        for group in groups:
            if group[0].site == each.site:
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _announced(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--demo {folder}: no demo is running with this folder ({error})") from error
    return found


def _write(folder: Path, document: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(document, indent=1) + "\n")
        (folder / "report.html").write_text(page(document))
    except OSError as error:
        raise ConfigError(f"--report {folder}: {error.strerror}") from error

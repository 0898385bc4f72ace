"""The options of `certstatus loadtest` and `python -m loadtest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loadtest.harness.wanted import Wanted
from responder.cli.output import JsonOption


def loadtest(
    scenarios: Annotated[list[str] | None, typer.Argument(help="Names, or files; none: all of ours.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Of a responder; none: one is started here.")] = None,
    demo: Annotated[Path | None, typer.Option("--demo", help="The folder of a running certstatus demo.")] = None,
    issuer: Annotated[Path | None, typer.Option("--issuer", help="With --url: the CA's certificate.")] = None,
    certificates: Annotated[
        list[Path] | None, typer.Option("--certificate", help="With --url: a good certificate; several are fine.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", help="With --url: the CA's certificates, as openssl ca lists them.")
    ] = None,
    crl: Annotated[str | None, typer.Option("--crl", help="With --url: where the CRL is.")] = None,
    pid: Annotated[int | None, typer.Option("--pid", help="With --url: the responder's process, for its CPU.")] = None,
    revoke_command: Annotated[
        str | None,
        typer.Option("--revoke-command", help="With --url: revokes {serial} (hex), and waits for it."),
    ] = None,
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=590, help="Of each loop.")] = 10,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Requests a second of the open loop; none: a part of the closed's.")
    ] = None,
    connections: Annotated[int | None, typer.Option("--connections", min=1, max=10_000)] = None,
    every: Annotated[int, typer.Option("--verify", min=1, help="One answer of so many is verified in full.")] = 100,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="That ask, each on a core.")] = 1,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Of the responder that is started.")] = 1,
    with_wrk: Annotated[bool, typer.Option("--wrk", help="Run the closed loop by wrk, too.")] = False,
    against: Annotated[str, typer.Option("--against", help="Compare with others, in turn: nginx,openssl,cfssl.")] = "",
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=20, help="Of --against.")] = 3,
    folder: Annotated[Path | None, typer.Option("--report", help="A folder for report.json and report.html.")] = None,
    may: Annotated[bool, typer.Option("--i-may", help="The address is somebody else's, who has agreed.")] = False,
    *,
    json: JsonOption = False,
) -> None:
    """Put a load on a responder, verify what it answers, and report how much it can.

    Without --url and --demo, a demo is started for it: on the first cores, the client on the last. Every loop ends by
    itself. Exit code 1 where an answer was wrong or missing."""
    # Imported here: what it needs takes half a second of every other command's time.
    from loadtest.harness.session import run_session

    wanted = Wanted(
        scenarios=scenarios or [],
        url=url,
        demo=demo,
        issuer=issuer,
        certificates=certificates or [],
        index=index,
        crl=crl,
        pid=pid,
        revoke_command=revoke_command,
        seconds=seconds,
        rate=rate,
        connections=connections,
        every=every,
        threads=threads,
        workers=workers,
        with_wrk=with_wrk,
        against=[each.strip() for each in against.split(",") if each.strip()],
        rounds=rounds,
        folder=folder,
        may_be_others=may,
        json=json,
    )
    if not run_session(wanted):
        raise SystemExit(1)

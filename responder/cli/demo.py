"""`certstatus demo`: the five-minute start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responder import log


def demo(
    state_dir: Annotated[Path, typer.Option(help="Folder for all data; the next start continues with it.")] = Path(
        ".certstatus-demo"
    ),
    http: Annotated[
        str, typer.Option(help="Address for OCSP and CRLs, HOST:PORT; port 0 picks a free one.")
    ] = "127.0.0.1:8080",
    admin: Annotated[
        str, typer.Option(help="Address for the admin API, health and metrics, HOST:PORT.")
    ] = "127.0.0.1:8081",
    certificates: Annotated[int, typer.Option(help="Certificates to issue at the first start, at least 40.")] = 1000,
    workers: Annotated[int, typer.Option(help="Number of serving processes; 0 means one per core.")] = 0,
    once: Annotated[bool, typer.Option("--once", help="Run a self-check with the openssl program, then exit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Everything on this host with throw-away CAs: Postgres and Valkey included. Not for production."""
    # Imported here: the servers' wheels are an extra.
    from responder.demo.run import DemoOptions, run_demo

    log.configure(level="warning", format="text")
    options = DemoOptions(state_dir, http, admin, certificates, workers, once, json)
    raise SystemExit(run_demo(options))

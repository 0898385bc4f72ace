"""`certstatus demo`: the five-minute start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responder import log


def demo(
    state_dir: Annotated[Path, typer.Option(help="Where everything is kept; a second start goes on with it.")] = Path(
        ".certstatus-demo"
    ),
    http: Annotated[str, typer.Option(help="Where to answer, HOST:PORT; port 0 is a free one.")] = "127.0.0.1:8080",
    admin: Annotated[str, typer.Option(help="Where the admin API, health and metrics are.")] = "127.0.0.1:8081",
    certificates: Annotated[int, typer.Option(help="How many certificates are issued at the first start.")] = 1000,
    workers: Annotated[int, typer.Option(help="Processes that answer; 0 is one a core.")] = 0,
    once: Annotated[bool, typer.Option("--once", help="Check itself with the openssl program, then end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")] = False,
) -> None:
    """Everything on this host with throw-away CAs: Postgres and Valkey included. Not for production."""
    # Imported here: the servers' wheels are an extra.
    from responder.demo.run import DemoOptions, run_demo

    log.configure(level="warning", format="text")
    options = DemoOptions(state_dir, http, admin, certificates, workers, once, json)
    raise SystemExit(run_demo(options))

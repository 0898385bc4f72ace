"""The life of `certstatus demo`: servers, data, processes, and an orderly end."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from responder import config
from responder.clock import SystemClock
from responder.config import Config
from responder.demo.checks import require_openssl, run_checks
from responder.demo.data import ISSUERS, MIN_CERTIFICATES, Layout, make_data, write_private
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.errors import ConfigError
from responder.host.child import Child, ChildContext
from responder.pki import Certificate, CertStatus, CRLReason
from responder.roles.crl import publish_crls
from responder.roles.host import ROLES, Sockets, create_segment, leave_host, supervise
from responder.roles.stores import Stores, open_stores
from responder.roles.work import sign_pending
from responder.storage.migrations import migrate


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asked for."""

    state_dir: Path
    http: str
    admin: str
    certificates: int
    workers: int
    once: bool
    as_json: bool


def run_demo(options: DemoOptions) -> int:
    """Start everything, tell where it is, serve until stopped; the exit code.

    Raises:
        ConfigError: the state directory is in use, an option can't be, a program is missing.
        StoreUnavailable: an embedded server doesn't start; the message has its last words.
    """
    if options.certificates < MIN_CERTIFICATES:
        raise ConfigError(
            f"--certificates {options.certificates}: at least {MIN_CERTIFICATES} are needed for some of each kind"
        )
    if options.once:
        require_openssl()
    layout = Layout(options.state_dir.absolute())
    console = Console(stderr=True)
    with _stopped_by_signals(), _locked(layout):
        postgres, valkey = EmbeddedPostgres(layout.root), EmbeddedValkey(layout.root)
        try:
            with console.status("starting Postgres and Valkey"):
                postgres.start()
                valkey.start()
            return _run(options, layout, postgres, valkey, console)
        finally:
            # From here on it ends by itself; another Ctrl-C would only leave things half done.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _announcement(layout).unlink(missing_ok=True)
            valkey.stop()
            postgres.stop()


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the demo with exit code 0 also before the supervisor listens to them."""

    def stop(number: int, frame: object) -> NoReturn:
        raise SystemExit(0)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(
    options: DemoOptions, layout: Layout, postgres: EmbeddedPostgres, valkey: EmbeddedValkey, console: Console
) -> int:
    loaded = _configure(options, layout, postgres.url, valkey.url)
    sockets = Sockets.open(loaded, ROLES)
    demo = asyncio.run(_prepare(loaded, options, layout, sockets, console))
    segment = create_segment(loaded, sockets)

    def announce() -> None:
        write_private(_announcement(layout), json.dumps(demo, indent=2).encode())
        if options.as_json and not options.once:
            print(json.dumps(demo), flush=True)
        elif not options.as_json:
            _print_banner(demo, layout, once=options.once)

    def dead_server() -> str | None:
        for name, server in (("Postgres", postgres), ("Valkey", valkey)):
            if not server.is_alive():
                return f"the embedded {name} has ended; its log is below {layout.root}"
        return None

    def check(context: ChildContext) -> int:
        return run_checks(demo, as_json=options.as_json)

    supervisor = supervise(loaded, ROLES, sockets, segment, watch=[dead_server])
    code = supervisor.run(
        until=Child(name="checks", run=check, heartbeat=False) if options.once else None, on_ready=announce
    )
    leave_host(loaded, sockets, segment)
    return code


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The lock goes with the last process that holds it, so a killed demo leaves none behind.
    with (layout.root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{layout.root} is in use by a running demo; stop that one, or give another --state-dir"
            ) from error
        _announcement(layout).unlink(missing_ok=True)
        yield


def _announcement(layout: Layout) -> Path:
    return layout.root / "demo.json"


def _configure(options: DemoOptions, layout: Layout, postgres_url: str, valkey_url: str) -> Config:
    """Write the configuration that the other commands can be tried with, and read it as they do."""
    layout.keys.mkdir(mode=0o700, exist_ok=True)
    token = layout.root / "admin-token"
    if not token.exists():
        write_private(token, secrets.token_urlsafe(32).encode())
    # A JSON string is a TOML basic string too.
    text = "\n".join(
        [
            "# Written by `certstatus demo` at each start.",
            "[postgres]",
            f"url = {json.dumps(postgres_url)}",
            "[redis]",
            f"url = {json.dumps(valkey_url)}",
            "[serve]",
            f"listen = {json.dumps(options.http)}",
            f"workers = {options.workers}",
            "[admin]",
            f"listen = {json.dumps(options.admin)}",
            f"token_file = {json.dumps(str(token))}",
            "[keys]",
            f"directory = {json.dumps(str(layout.keys))}",
            "[log]",
            'level = "warning"',
            'format = "text"',
            "",
        ]
    )
    path = layout.root / "certstatus.toml"
    write_private(path, text.encode())
    return config.load(path)


async def _prepare(
    loaded: Config, options: DemoOptions, layout: Layout, sockets: Sockets, console: Console
) -> dict[str, Any]:
    """Schema, data, records, CRLs; returns what demo.json says."""
    await migrate(loaded.postgres.url)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with open_stores(loaded, name="demo") as stores:
        with Progress(*columns, console=console, disable=options.as_json) as progress:
            if not layout.complete.exists():
                issuing = progress.add_task("issuing certificates", total=options.certificates)
                await make_data(
                    stores,
                    layout,
                    certificates=options.certificates,
                    base_url=sockets.public_url,
                    now=SystemClock().now().replace(microsecond=0),
                    progress=lambda count: progress.advance(issuing, count),
                )
            pending = await stores.statuses.pending_count()
            signing = progress.add_task("pre-signing answers", total=pending)
            await sign_pending(loaded, stores, lambda count: progress.advance(signing, count))
            await publish_crls(loaded, stores)
        return {
            "http": sockets.public_url,
            "admin": sockets.admin_url,
            "admin_token": next(iter(loaded.admin.tokens().values())),
            "pid": os.getpid(),
            "issuers": [await _describe(stores, layout, issuer_id, sockets.public_url) for issuer_id in ISSUERS],
        }


async def _describe(stores: Stores, layout: Layout, issuer_id: str, base_url: str) -> dict[str, Any]:
    folder = layout.issuer(issuer_id)
    issuer = stores.issuers.get(issuer_id)
    assert issuer is not None
    paths = sorted((folder / "certificates").glob("*.pem"))
    certificates = [Certificate.numbered(issuer, int(path.stem, 16)) for path in paths]
    kinds: dict[str, list[str]] = {"good": [], "revoked": [], "held": []}
    for path, status in zip(paths, await stores.statuses.status_of(certificates), strict=True):
        if status is None:
            continue
        info = status.revoked_info
        if status.cert_status is CertStatus.GOOD:
            kind = "good"
        else:
            kind = "held" if info and info.revocation_reason is CRLReason.certificateHold else "revoked"
        kinds[kind].append(str(path))
    return {
        "id": issuer_id,
        "certificate": str(folder / "ca.pem"),
        "ocsp": f"{base_url}/ocsp",
        "crl": f"{base_url}/crl/{issuer_id}.crl",
        **kinds,
        "unissued": [str(path) for path in sorted((folder / "unissued").glob("*.pem"))],
    }


def _print_banner(demo: dict[str, Any], layout: Layout, *, once: bool) -> None:
    issuer = demo["issuers"][0]
    lines = [
        "",
        "certstatus demo: not for production (throw-away CAs, keys in files, everything on one host)",
        f"  OCSP and CRLs   {demo['http']}",
        f"  admin, metrics  {demo['admin']}",
        f"  everything else {_announcement(layout)}",
        "",
        "Try:",
    ]
    for kind in ("good", "revoked", "unissued"):
        lines += [
            f"  # {'never issued' if kind == 'unissued' else kind}",
            f"  openssl ocsp -issuer {issuer['certificate']} -CAfile {issuer['certificate']} -url {issuer['ocsp']} "
            f"-cert {issuer[kind][0]}",
        ]
    lines += [
        "  # the CRL",
        f"  curl -s {issuer['crl']} | openssl crl -inform DER -noout -text",
    ]
    if not once:
        program = "certstatus" if sys.argv[0].endswith(".py") else sys.argv[0]
        lines += [
            "  # revoke the good one, and ask again",
            f"  {program} revoke -c {layout.root}/certstatus.toml --certificate {issuer['good'][0]}",
            "",
            "Press Ctrl-C to stop.",
        ]
    print("\n".join(lines), flush=True)

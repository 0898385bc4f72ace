"""`certstatus serve|work|crl|run`: roles as processes under the supervisor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from responder import __version__, log
from responder import config as configuration
from responder.cli.config import ConfigOption
from responder.cli.options import configure_log, load_config
from responder.cli.options import run as run_to_its_end
from responder.config import Config
from responder.roles.stores import open_stores

if TYPE_CHECKING:
    from responder.host.child import Child

_log = log.get("cli.roles")

NoLane = Annotated[
    bool, typer.Option("--no-lane", help="Answer everything through Hypercorn, as with serve.lane = false.")
]


def serve(config: ConfigOption = None, *, no_lane: NoLane = False) -> None:
    """Answer OCSP and CRL requests, and serve the admin API."""
    _run(config, ("serve",), no_lane=no_lane)


def work(config: ConfigOption = None) -> None:
    """Sign changes at once, and everything else again before it expires."""
    _run(config, ("work",))


def crl(config: ConfigOption = None) -> None:
    """Build CRLs and renew responder certificates, using the CA keys in keys.directory/ca."""
    _run(config, ("crl",))


def run(config: ConfigOption = None, *, no_lane: NoLane = False) -> None:
    """Run all roles on this host: serve, work and crl."""
    _run(config, (), no_lane=no_lane)


def _run(path: Path | None, roles: tuple[str, ...], *, no_lane: bool = False) -> None:
    """Run these roles, or all where none is named."""
    # Imported here: the web servers take a quarter of every other command's start.
    from responder.roles.host import ROLES, Sockets, children, create_segment, leave_host, supervise

    roles = roles or ROLES
    if no_lane:
        os.environ["CERTSTATUS_SERVE_LANE"] = "false"  # of a reload too
    loaded = load_config(path, needs_token=True, needs_keys=True)
    configure_log(loaded)
    run_to_its_end(_look_at_the_database(loaded))  # one sentence here, instead of one of each process
    sockets = Sockets.open(loaded, roles)
    segment = create_segment(loaded, sockets)

    def reload() -> list[Child]:
        changed = configuration.load(path)
        sockets.require_same(changed)
        configure_log(changed)  # a refused configuration changes nothing, not the log either
        return children(changed, roles, sockets, segment)

    supervisor = supervise(loaded, roles, sockets, segment, on_reload=reload)

    def tell() -> None:
        _log.info(
            "started",
            version=__version__,
            roles=list(roles),
            serve=sockets.public_url if sockets.public else None,
            tls=sockets.tls_url,
            admin=sockets.admin_url,
        )

    code = supervisor.run(on_ready=tell)
    leave_host(loaded, sockets, segment)
    raise SystemExit(code)


async def _look_at_the_database(config: Config) -> None:
    async with open_stores(config, name="run"):
        pass

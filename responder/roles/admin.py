"""The operator's listener: health and metrics of this host, and the API where it serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from responder.clock import SystemClock
from responder.config import Config
from responder.host.process import Process, host_identity
from responder.host.segment import Segment
from responder.roles.current import kept_current
from responder.roles.memory import HostMemory
from responder.roles.operating import looker, registrar, revoker
from responder.roles.snapshot import Directory
from responder.roles.stores import open_stores
from responder.tls_files import TLSFiles
from responder.web.entrance import Entrance
from responder.web.health import Health
from responder.web.listings import ListingAPI
from responder.web.manners import Manners
from responder.web.operator import operator_site
from responder.web.readiness import Readiness
from responder.web.registrations import RegistrationAPI
from responder.web.revocations import RevocationAPI
from responder.web.server import serve_http
from responder.web.tokens import Tokens

_CALL_SECONDS = 60.0
"""How long a call's body may take to come: thousands of certificates."""


async def administer(
    config: Config,
    process: Process,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    segment: Segment,
    memory: HostMemory,
    processes: Sequence[str],
    tls: TLSFiles | None = None,
) -> None:
    """The operator's listener: health and metrics of this host, and the API where it serves.

    Args:
        processes: those of this host, in the order of the segment's lanes.
    """
    serves = any(name.startswith("serve") for name in processes)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_stores(config, name="admin") as stores, AsyncExitStack() as stack:
            directory, clock = Directory(stores, keys=None), SystemClock()
            reloads = {"certstatus_issuers": directory.reload, "certstatus_store": stores.reload_trust}
            await stack.enter_async_context(kept_current(config, reloads))
            readiness = Readiness(
                stores,
                issuers=stores.issuers,
                segment=segment,
                processes=processes,
                clock=clock,
                host=host_identity(),
                memory=memory if serves else None,
            )
            health = Health(readiness.checks(), stores.reported_troubles, readiness.metrics_text)
            routes: list[BaseRoute] = health.routes()
            if serves:
                tokens = Tokens(config.admin.tokens())
                routes += RevocationAPI(revoker(config, stores), issuers=stores.issuers).routes(tokens)
                routes += RegistrationAPI(registrar(config, stores), issuers=stores.issuers).routes(tokens)
                routes += ListingAPI(looker(stores), issuers=stores.issuers, clock=clock).routes(tokens)
            app.router.routes[:] = routes
            process.ready()
            yield

    app = operator_site(lifespan, hosts=config.admin.hosts, has_tls=tls is not None)
    await serve_http(app, [Entrance(listener, tls)], stop, manners=Manners(request_seconds=_CALL_SECONDS))

"""`certstatus serve`: answers OCSP and CRL requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from starlette.applications import Starlette

from responder.clock import SystemClock
from responder.config import Config
from responder.host.process import Process, background, repeatedly
from responder.interfaces import ResponseSource
from responder.ocsp.cached import CachedSource
from responder.ocsp.filter import FilterSource
from responder.ocsp.live import Budget, LiveSource
from responder.ocsp.requestor import RequestorSource
from responder.roles.current import kept_current
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.signing.answers import NativeSigner
from responder.signing.verifiers import NativeRecordVerifier, verifies
from responder.storage.gathering import GatheringRecords
from responder.troubles import telling
from responder.web.crl import CRLEndpoint, PublishedCRLs
from responder.web.exchange import Exchange
from responder.web.ocsp import OCSPEndpoint
from responder.web.problems import unexpected
from responder.web.routing import PublicRoute
from responder.web.server import serve_http

Started = Callable[[], None]


async def serve(config: Config, process: Process, listener: socket.socket, stop: asyncio.Event) -> None:
    """One worker of the public listener."""
    await serve_http(public_app(lambda: config, process.ready), listener, stop)


def public_app(load: Callable[[], Config], started: Started = lambda: None) -> Starlette:
    """The whole public site as one ASGI application; its lifespan opens and closes everything it needs."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        config = load()
        async with open_stores(config, name="serve") as stores, AsyncExitStack() as stack:
            directory = Directory(stores, keys=config.keys.directory)
            published = PublishedCRLs()

            async def reload_crls() -> None:
                published.replace(await stores.crls.newer_than(published.numbers()))

            reloads = {
                "certstatus_issuers": directory.reload,
                "certstatus_crls": reload_crls,
                "certstatus_store": stores.reload_trust,
            }
            await stack.enter_async_context(kept_current(config, reloads))
            await stack.enter_async_context(background(repeatedly(telling(directory.troubles), idle_seconds=1)))
            source, cached = answering_chain(config, stores, directory)
            stack.push_async_callback(cached.close)
            clock = SystemClock()
            # The routes exist once what they need does; Starlette reads this list at each request.
            app.router.routes[:] = [
                PublicRoute(
                    Exchange(stores.issuers, ocsp_paths=config.serve.ocsp_paths),
                    OCSPEndpoint(source, clock=clock),
                    CRLEndpoint(published, issuers=stores.issuers, clock=clock),
                )
            ]
            started()
            yield

    return Starlette(lifespan=lifespan, exception_handlers={Exception: unexpected})


def answering_chain(config: Config, stores: Stores, directory: Directory) -> tuple[ResponseSource, CachedSource]:
    """filter → requestor → cached(redis) → live, and the cached source for its closing."""
    clock = SystemClock()
    signer = NativeSigner(directory.signers, clock, backdate=timedelta(seconds=config.revocation.backdate_seconds))
    live = LiveSource(
        stores.statuses,
        records=signer,
        responses=signer,
        profiles=directory.profiles,
        clock=clock,
        budget=Budget(max_in_flight=config.signing.max_in_flight, max_waiting=config.signing.max_waiting),
    )
    cached = CachedSource(
        GatheringRecords(stores.records),
        live,
        profiles=directory.profiles,
        clock=clock,
        name="redis",
        verifier=NativeRecordVerifier(),
    )
    requestor = RequestorSource(cached, statuses=stores.statuses, verifies=verifies, clock=clock)
    return FilterSource(requestor, stores.issuers, algorithms=directory.signers.algorithms, clock=clock), cached

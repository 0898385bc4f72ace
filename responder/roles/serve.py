"""`certstatus serve`: answers OCSP and CRL requests."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from starlette.applications import Starlette

from responder.clock import SystemClock
from responder.config import Config
from responder.errors import StatusUnavailable
from responder.host.process import Process, background, process_identity, repeatedly
from responder.interfaces import ResponseSource
from responder.ocsp.cached import CachedSource
from responder.ocsp.fetching import Fetcher
from responder.ocsp.filter import FilterSource
from responder.ocsp.live import WAIT_SECONDS, Budget, LiveSource
from responder.ocsp.making import Maker
from responder.ocsp.requestor import RequestorSource
from responder.ocsp.trusted import FlooredRecords, TrustedSource
from responder.ocsp.warming import SAMPLE, Sampled, Warmer
from responder.pki import Pages, Snapshot
from responder.roles.current import kept_current
from responder.roles.keep import kept, until_trusted
from responder.roles.memory import HostMemory, IssuerRows, create_memory, networks
from responder.roles.signing import answer_signer
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.signing.offline import OfflineSigner
from responder.signing.verifiers import NativeRecordVerifier, verifies
from responder.storage.circuit import Circuit, CircuitRecords
from responder.storage.gathering import GatheringRecords
from responder.storage.table import TableRecords
from responder.tls_files import TLSFiles
from responder.troubles import telling
from responder.web.crl import CRLEndpoint, CRLsByScope, PublishedCRLs, ShownCRLs
from responder.web.entrance import Entrance
from responder.web.exchange import Exchange
from responder.web.lane import Fetch, serve_lane
from responder.web.limits import ClientLimits
from responder.web.manners import Manners
from responder.web.ocsp import OCSPEndpoint
from responder.web.problems import unexpected
from responder.web.routing import PublicRoute
from responder.web.server import HTTPSide, serve_entrances, serve_http

Started = Callable[[], None]

_OCTETS_A_RECORD = 280
"""Of two P-256 signatures, in a table that is nearly full."""


async def serve(
    config: Config,
    process: Process,
    *listeners: socket.socket,
    stop: asyncio.Event,
    memory: HostMemory,
    tls: TLSFiles | None = None,
) -> None:
    """One worker of the public listener; the second one is for TLS."""
    listener, *for_tls = listeners
    gate = memory.gate(config)
    limits = ClientLimits(gate, config.limits.refusal)
    secured = [Entrance(each, tls, may_enter=limits.admits_handshake) for each in for_tls]
    if not config.serve.lane:
        app = public_app(lambda: config, process.ready, memory)
        await serve_http(app, [Entrance(listener), *secured], stop, manners=manners_of(config))
        return
    native = NativeWay(memory, cors=config.serve.cors)
    async with public_site(config, memory, native) as route:
        process.ready()
        app = Starlette(routes=[route], exception_handlers={Exception: unexpected})
        manners = manners_of(config)
        http = HTTPSide(app, manners=manners, requests_a_connection=1)
        limited = Starlette(routes=[route.limited_by(limits)], exception_handlers={Exception: unexpected})
        await asyncio.gather(
            serve_lane(
                listener,
                native.responder,
                native.pages,
                gate,
                respond=route.respond,
                fetch=native.fetch,
                http=http,
                clock=SystemClock(),
                stop=stop,
                manners=manners,
                signing_threads=signing_threads(config),
                signing_seconds=WAIT_SECONDS,
            ),
            serve_entrances(HTTPSide(limited, manners=manners), secured, stop, manners=manners),
        )


def signing_threads(config: Config) -> int:
    """Of a worker, for keys that sign slowly: as many on this host as it has cores, and one at least."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (config.serve.workers or cores))


def manners_of(config: Config) -> Manners:
    """What connections of the public listener may do."""
    settings = config.serve
    return Manners(
        connections=settings.connections,
        other_connections=settings.other_connections,
        connections_a_client=settings.connections_a_client,
        idle_seconds=settings.idle_seconds,
        request_seconds=settings.request_seconds,
        announced=networks(settings.proxy_protocol),
        spared=networks([*config.limits.exempt, *settings.trusted_proxies, *settings.proxy_protocol]),
    )


def public_app(
    load: Callable[[], Config], started: Started = lambda: None, shared: HostMemory | None = None
) -> Starlette:
    """The whole public site as one ASGI application; its lifespan opens and closes everything it needs.

    Args:
        shared: the memory of a host that has a keeper; without it this process is a host by itself.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        config = load()
        async with AsyncExitStack() as stack:
            memory = await stack.enter_async_context(own_memory(config)) if shared is None else shared
            route = await stack.enter_async_context(public_site(config, memory))
            # The route exists once what it needs does; Starlette reads this list at each request.
            app.router.routes[:] = [route]
            started()
            yield

    return Starlette(lifespan=lifespan, exception_handlers={Exception: unexpected})


class NativeWay:
    """The lane's way to what the table holds, and to CRLs."""

    def __init__(self, memory: HostMemory, *, cors: bool) -> None:
        self.responder = memory.responder(cors=cors)
        self.pages = Pages()
        self.fetch: Fetch | None = None
        self._rows = IssuerRows()
        self._shown = ShownCRLs(self.pages)

    def give(self, snapshot: Snapshot, crls: CRLsByScope) -> None:
        """Have it answer for these; nothing is done for what it was given before."""
        self._rows.give(snapshot, self.responder)
        self._shown.give(crls, snapshot.issuers)


@asynccontextmanager
async def public_site(
    config: Config, memory: HostMemory, native: NativeWay | None = None
) -> AsyncIterator[PublicRoute]:
    """Everything that answering needs, current while the block lasts; `native` is kept current, too."""
    async with open_stores(config, name="serve") as stores, AsyncExitStack() as stack:
        directory = Directory(stores, keys=config.keys.directory)
        published = PublishedCRLs()

        def tell() -> None:
            if native is not None:
                native.give(stores.current.snapshot, published.all)

        async def reload() -> None:
            await directory.reload()
            tell()

        async def reload_crls() -> None:
            published.replace(await stores.crls.newer_than(published.numbers()))
            tell()

        reloads = {
            "certstatus_issuers": reload,
            "certstatus_crls": reload_crls,
            "certstatus_store": stores.reload_trust,
        }
        await stack.enter_async_context(kept_current(config, reloads))
        await stack.enter_async_context(background(repeatedly(telling(directory.troubles), idle_seconds=1)))
        clock = SystemClock()
        signer = answer_signer(config, stores, directory, pause_seconds=1)
        budget = Budget(max_in_flight=config.signing.max_in_flight, max_waiting=config.signing.max_waiting)
        records = CircuitRecords(stores.records, Circuit("redis"))
        source = await stack.enter_async_context(answering_chain(stores, records, directory, memory, signer, budget))
        route = PublicRoute(
            Exchange(stores.issuers, ocsp_paths=config.serve.ocsp_paths),
            OCSPEndpoint(source, clock=clock),
            CRLEndpoint(published, issuers=stores.issuers, clock=clock),
            # Before the lane's way everyone has passed its gate.
            limits=ClientLimits(memory.gate(config), config.limits.refusal) if native is None else None,
            cors=config.serve.cors,
            body_seconds=config.serve.request_seconds,
        )
        await until_trusted(memory)
        sampled = Sampled(stores.issuers, directory.profiles, NativeRecordVerifier())
        if native is not None:
            maker = Maker(
                stores.statuses,
                issuers=stores.issuers,
                signer=signer,
                records=records,
                table=TableRecords(memory.table, clock=clock),
                clock=clock,
                budget=budget,
            )
            native.fetch = Fetcher(records, memory.table, sampled=sampled, maker=maker, clock=clock).fetch
        await stack.enter_async_context(background(warm_up(config, stores, sampled, memory)))
        yield route


async def warm_up(config: Config, stores: Stores, sampled: Sampled, memory: HostMemory) -> None:
    """Fill the table of the host from Redis, once after its start."""
    if not memory.is_to_be_warmed():
        return
    warmer = Warmer(stores.records, memory.table, sampled=sampled, clock=SystemClock())
    room = config.table.megabytes * 1_000_000 // _OCTETS_A_RECORD
    await warmer.fill(has_room=lambda filled: filled < room)
    memory.is_warm()


@asynccontextmanager
async def own_memory(config: Config) -> AsyncIterator[HostMemory]:
    """The memory of a process that is a host by itself, and its keeper in it."""
    memory = HostMemory.of(create_memory(config, 1), 0)
    async with kept(config, memory, owner=process_identity()) as keeper:
        yield memory
        with suppress(StatusUnavailable):
            await keeper.leave()


@asynccontextmanager
async def answering_chain(
    stores: Stores,
    records: CircuitRecords,
    directory: Directory,
    memory: HostMemory,
    signer: OfflineSigner,
    budget: Budget,
) -> AsyncIterator[ResponseSource]:
    """filter → requestor → trusted → cached(table) → cached(redis) → live."""
    clock = SystemClock()
    live = LiveSource(
        stores.statuses,
        records=signer,
        responses=signer,
        profiles=directory.profiles,
        clock=clock,
        budget=budget,
    )
    redis = CachedSource(
        FlooredRecords(GatheringRecords(records), memory.floors),
        live,
        profiles=directory.profiles,
        clock=clock,
        name="redis",
        verifier=NativeRecordVerifier(sample=SAMPLE),
    )
    table = CachedSource(
        FlooredRecords(TableRecords(memory.table, clock=clock), memory.floors),
        redis,
        profiles=directory.profiles,
        clock=clock,
        name="table",
    )
    trusted = TrustedSource(table, lease=memory.deadline, floors=memory.floors)
    requestor = RequestorSource(trusted, statuses=stores.statuses, verifies=verifies, clock=clock)
    try:
        yield FilterSource(requestor, stores.issuers, algorithms=directory.signers.algorithms, clock=clock)
    finally:
        await table.close()
        await redis.close()

"""The composition root: puts the classes together, a role at a time, on the stores that `stores` opens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from responder import config as configuration
from responder import log
from responder.clock import SystemClock
from responder.config import Config
from responder.crl.delegates import renew_responder_certificates
from responder.crl.issuer import CRLIssuer
from responder.crl.schedule import CRLSchedule
from responder.directory import Directory
from responder.errors import CertstatusError
from responder.host.process import Process, background, has_ended, host_identity, process_identity, repeatedly
from responder.host.segment import Segment
from responder.interfaces import ResponseSource
from responder.keyfiles import make_following_key
from responder.keyring import KeyRing
from responder.ocsp.cached import CachedSource
from responder.ocsp.filter import FilterSource
from responder.ocsp.live import Budget, LiveSource
from responder.ocsp.presign import Presigner, Relay
from responder.ocsp.revoke import Revoker
from responder.ocsp.signed import SignedSource
from responder.ocsp.storekeeper import StoreKeeper
from responder.pki import Issuer
from responder.signers import make_profile
from responder.signing import NativeCRLSigner, NativeRecordVerifier, NativeSigner, NativeVerifier, ca_signer_of
from responder.storage.postgres import Listener
from responder.stores import Stores, open_stores
from responder.troubles import Troubles
from responder.web.admin import AdminAPI
from responder.web.crl import CRLEndpoint, PublishedCRLs
from responder.web.health import Health
from responder.web.ocsp import OCSPEndpoint
from responder.web.operator import operator_site
from responder.web.problems import unexpected
from responder.web.readiness import Readiness
from responder.web.server import serve_http

_log = log.get("app")

CONFIGURATION_SECONDS = 30.0
"""How often issuers, signers and CRLs are read again although nobody announced a change."""

Started = Callable[[], None]


def ca_key_directory(config: Config) -> Path:
    """Where the `crl` role finds CA keys; `serve` and `work` never look there."""
    return config.keys.directory / "ca"


def answering_chain(config: Config, stores: Stores, directory: Directory) -> tuple[ResponseSource, CachedSource]:
    """signed → filter → cached(redis) → live, and the cached source for its closing."""
    clock = SystemClock()
    signer = NativeSigner(directory.signers, clock, backdate=timedelta(seconds=config.revocation.backdate_seconds))
    live = LiveSource(
        stores.statuses,
        records=signer,
        responses=signer,
        issuers=stores.issuers,
        profiles=directory.profiles,
        clock=clock,
        budget=Budget(max_in_flight=config.signing.max_in_flight, max_waiting=config.signing.max_waiting),
    )
    cached = CachedSource(
        stores.records,
        live,
        issuers=stores.issuers,
        profiles=directory.profiles,
        clock=clock,
        name="redis",
        verifier=NativeRecordVerifier(),
    )
    filtered = FilterSource(cached, stores.issuers, algorithms=directory.signers, clock=clock)
    verified = SignedSource(
        filtered, issuers=stores.issuers, statuses=stores.statuses, verifier=NativeVerifier(), clock=clock
    )
    return verified, cached


# --- serve ---------------------------------------------------------------------------------------------------------


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
            await stack.enter_async_context(background(repeatedly(_telling(directory.troubles), idle_seconds=1)))
            source, cached = answering_chain(config, stores, directory)
            stack.push_async_callback(cached.close)
            clock = SystemClock()
            # The routes exist once what they need does; Starlette reads this list at each request.
            app.router.routes[:] = [
                *CRLEndpoint(published, issuers=stores.issuers, clock=clock).routes(),
                *OCSPEndpoint(source, issuers=stores.issuers, clock=clock, paths=config.serve.ocsp_paths).routes(),
            ]
            started()
            yield

    return Starlette(lifespan=lifespan, exception_handlers={Exception: unexpected})


def _config_from_environment() -> Config:
    path = os.environ.get(configuration.CONFIG_VARIABLE)
    config = configuration.load(Path(path) if path else None)
    log.configure(level=config.log.level, format=config.log.format)
    return config


asgi = public_app(_config_from_environment)
"""For `hypercorn responder.app:asgi`, with the configuration that CERTSTATUS_CONFIG names."""


@asynccontextmanager
async def kept_current(config: Config, reloads: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each reload now, and again after an announcement on its channel and every CONFIGURATION_SECONDS.

    Raises:
        StatusUnavailable: the first reading failed.
    """
    changed = {channel: asyncio.Event() for channel in reloads}

    async def follow(channel: str, reload: Callable[[], Awaitable[None]]) -> None:
        pause = 1.0
        failures = log.News()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed[channel].wait(), CONFIGURATION_SECONDS)
            changed[channel].clear()
            try:
                await reload()
                pause = 1.0
                if failures.is_over():
                    _log.info("works_again", channel=channel)
            except (CertstatusError, OSError) as error:  # OSError: key files, when descriptors have run out
                if failures.is_news(str(error)):
                    _log.warning("reload_failed", channel=channel, error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, CONFIGURATION_SECONDS)
                changed[channel].set()

    for reload in reloads.values():
        await reload()
    listener = Listener(
        config.postgres.url,
        list(reloads),
        lambda channel: changed[channel].set(),
        password=config.postgres.password(),
    )
    async with listener, background(*(follow(channel, reload) for channel, reload in reloads.items())):
        yield


def _telling(*troubles: Troubles) -> Callable[[], Awaitable[bool]]:
    """What brings the troubles of this process's tasks to where others see them."""

    async def tell_once() -> bool:
        for each in troubles:
            await each.tell()
        return False

    return tell_once


# --- the processes of the roles ------------------------------------------------------------------------------------


async def serve(config: Config, process: Process, listener: socket.socket, stop: asyncio.Event) -> None:
    """One worker of the public listener."""
    await serve_http(public_app(lambda: config, process.ready), listener, stop)


async def administer(
    config: Config,
    process: Process,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    segment: Segment,
    processes: Sequence[str],
) -> None:
    """The operator's listener: health and metrics of this host, and the API where it serves.

    Args:
        processes: those of this host, in the order of the segment's lanes.
    """
    serves = any(name.startswith("serve") for name in processes)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_stores(config, name="admin") as stores, AsyncExitStack() as stack:
            directory = Directory(stores, keys=None)
            await stack.enter_async_context(kept_current(config, {"certstatus_issuers": directory.reload}))
            readiness = Readiness(
                stores,
                issuers=stores.issuers,
                segment=segment,
                processes=processes,
                clock=SystemClock(),
                host=host_identity(),
            )
            health = Health(readiness.checks(), stores.reported_troubles, readiness.metrics_text)
            routes: list[BaseRoute] = health.routes()
            if serves:
                api = AdminAPI(revoker(config, stores), issuers=stores.issuers, tokens=config.admin.tokens())
                routes += api.routes()
            app.router.routes[:] = routes
            process.ready()
            yield

    await serve_http(operator_site(lifespan, hosts=config.admin.hosts), listener, stop)


def revoker(config: Config, stores: Stores) -> Revoker:
    """What changes statuses, for the API and the command line."""
    return Revoker(stores.statuses, stores.records, wait_seconds=config.revocation.wait_seconds)


async def work(config: Config, process: Process, stop: asyncio.Event) -> None:
    """Signs changes at once, and everything else again before it expires."""
    async with open_stores(config, name="work") as stores, AsyncExitStack() as stack:
        directory = Directory(stores, keys=config.keys.directory)

        async def reload() -> None:
            await directory.reload()
            await directory.announce_profiles()

        await stack.enter_async_context(kept_current(config, {"certstatus_issuers": reload}))
        clock = SystemClock()
        signer = NativeSigner(directory.signers, clock, backdate=timedelta(seconds=config.revocation.backdate_seconds))
        relay_troubles, presign_troubles = Troubles("relay", stores.troubles), Troubles("presign", stores.troubles)
        relay = Relay(stores.statuses, signer=signer, records=stores.records, clock=clock, troubles=relay_troubles)
        await stores.partitions.end_leases(has_ended)
        presigner = Presigner(
            stores.partitions,
            issuers=stores.issuers,
            signer=signer,
            records=stores.records,
            clock=clock,
            owner=process_identity(),
            troubles=presign_troubles,
        )
        changed = asyncio.Event()
        listener = Listener(
            config.postgres.url,
            ["certstatus_status"],
            lambda channel: changed.set(),
            password=config.postgres.password(),
        )

        async def presign_once() -> bool:
            return await presigner.once()

        async def relay_once() -> bool:
            return await relay.once() > 0

        keeper = StoreKeeper(stores.records, stores.runs, owner=process_identity())

        async def keep_store_once() -> bool:
            await keeper.once()
            return False

        async def sweep_once() -> bool:
            await stores.statuses.sweep()
            await stores.imports.sweep()
            return False

        async with (
            listener,
            background(
                repeatedly(relay_once, idle_seconds=1, wake=changed),
                repeatedly(presign_once, idle_seconds=1),
                repeatedly(keep_store_once, idle_seconds=1, longest_pause=1),
                repeatedly(_telling(relay_troubles, presign_troubles, directory.troubles), idle_seconds=1),
                repeatedly(sweep_once, idle_seconds=3600),
            ),
        ):
            process.ready()
            await stop.wait()


async def build_crls(config: Config, process: Process, stop: asyncio.Event) -> None:
    """Publishes CRLs and renews responder certificates, for the issuers whose CA key is here."""
    async with open_stores(config, name="crl") as stores, AsyncExitStack() as stack:
        directory = Directory(stores, keys=None)
        keys = KeyRing(None)
        signer = NativeCRLSigner(keys)

        async def reload() -> None:
            nonlocal keys
            await directory.reload()
            keys = await asyncio.to_thread(KeyRing, ca_key_directory(config), before=keys)
            directory.report(*keys.faults)
            signer.use(keys)

        await stores.crls.end_leases(has_ended)
        await stack.enter_async_context(kept_current(config, {"certstatus_issuers": reload}))
        troubles = Troubles("crl", stores.troubles)
        schedule = _crl_schedule(stores, signer, troubles)
        stack.push_async_callback(schedule.close)

        async def publish_once() -> bool:
            await schedule.begin(_signed_here(stores, signer))
            return False

        delegate_troubles = Troubles("delegate", stores.troubles)

        def new_key(issuer: Issuer, public_key: bytes) -> bytes | None:
            return make_following_key(config.keys.directory, issuer.id, public_key)

        async def renew_once() -> bool:
            await renew_responder_certificates(
                stores.issuer_store,
                issuers=stores.issuers,
                ca_key=lambda public_key: ca_signer_of(keys, public_key),
                clock=SystemClock(),
                new_key=new_key,
                profile_of=make_profile,
                troubles=delegate_troubles,
            )
            return False

        async with background(
            repeatedly(publish_once, idle_seconds=1),
            repeatedly(renew_once, idle_seconds=60),
            repeatedly(_telling(troubles, delegate_troubles, directory.troubles), idle_seconds=1),
        ):
            process.ready()
            await stop.wait()


async def sign_pending(config: Config, stores: Stores, progress: Callable[[int], None]) -> None:
    """Sign every change that waits, and return when none is left; what `work` does all the time."""
    directory = Directory(stores, keys=config.keys.directory)
    await directory.reload()
    if directory.unknown_profiles:
        await directory.announce_profiles()
        await directory.reload()
    clock = SystemClock()
    signer = NativeSigner(directory.signers, clock, backdate=timedelta(seconds=config.revocation.backdate_seconds))
    relay = Relay(stores.statuses, signer=signer, records=stores.records, clock=clock)
    keeper = StoreKeeper(stores.records, stores.runs, owner=process_identity())
    await keeper.once()  # a store that was started again has changes opened again
    while count := await relay.once():
        progress(count)
    await keeper.once()


async def publish_crls(config: Config, stores: Stores) -> None:
    """Publish the CRLs that are due, once; what `crl` does all the time."""
    signer = NativeCRLSigner(KeyRing(ca_key_directory(config)))
    await _crl_schedule(stores, signer).once(_signed_here(stores, signer))


def _crl_schedule(stores: Stores, signer: NativeCRLSigner, troubles: Troubles | None = None) -> CRLSchedule:
    return CRLSchedule(
        CRLIssuer(revoked=stores.statuses, statuses=stores.statuses, signer=signer, store=stores.crls),
        store=stores.crls,
        leases=stores.crls,
        issuers=stores.issuers,
        clock=SystemClock(),
        owner=process_identity(),
        troubles=troubles,
    )


def _signed_here(stores: Stores, signer: NativeCRLSigner) -> frozenset[str]:
    return frozenset(issuer.id for issuer in stores.issuers if signer.can_sign(issuer))

"""`certstatus work`: signs changes at once, and everything else again before it expires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from responder.clock import SystemClock
from responder.config import Config
from responder.host.process import Process, background, has_ended, process_identity, repeatedly
from responder.ocsp.presign import Relay
from responder.ocsp.storekeeper import StoreKeeper
from responder.roles.current import kept_current, listening_for_changes
from responder.roles.presign import make_presigner, presigning
from responder.roles.signing import answer_signer
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.troubles import Troubles, telling


async def work(config: Config, process: Process, *, tasks: int, stop: asyncio.Event) -> None:
    """Signs changes at once, and everything else again before it expires."""
    async with open_stores(config, name="work", is_patient=True) as stores, AsyncExitStack() as stack:
        directory = Directory(stores, keys=config.keys.directory)

        async def reload() -> None:
            await directory.reload()
            await directory.announce_profiles()

        await stack.enter_async_context(kept_current(config, {"certstatus_issuers": reload}))
        clock = SystemClock()
        signer = answer_signer(config, stores, directory)
        relay_troubles, presign_troubles = Troubles("relay", stores.troubles), Troubles("presign", stores.troubles)
        relay = Relay(stores.statuses, signer=signer, records=stores.records, clock=clock, troubles=relay_troubles)
        await stores.partitions.end_leases(has_ended)
        changed = asyncio.Event()

        async def relay_once() -> bool:
            return await relay.once() > 0

        keeper = StoreKeeper(stores.records, stores.runs, owner=process_identity())

        async def keep_store_once() -> bool:
            await keeper.once()
            return False

        async def sweep_once() -> bool:
            await stores.statuses.sweep()
            await stores.imports.sweep()
            await stores.answers.sweep()
            return False

        async with (
            listening_for_changes(config, changed),
            background(
                repeatedly(relay_once, idle_seconds=1, wake=changed),
                *presigning(stores, signer, presign_troubles, tasks),
                repeatedly(keep_store_once, idle_seconds=1, longest_pause=1),
                repeatedly(telling(relay_troubles, presign_troubles, directory.troubles), idle_seconds=1),
                repeatedly(sweep_once, idle_seconds=3600),
            ),
        ):
            process.ready()
            await stop.wait()


async def sign_pending(config: Config, stores: Stores, progress: Callable[[int], None]) -> None:
    """Sign every change that waits and every slice that is due, and return when none is left; what `work` does all the
    time."""
    directory = Directory(stores, keys=config.keys.directory)
    await directory.reload()
    if directory.unknown_profiles:
        await directory.announce_profiles()
        await directory.reload()
    clock = SystemClock()
    signer = answer_signer(config, stores, directory)
    relay = Relay(stores.statuses, signer=signer, records=stores.records, clock=clock)
    keeper = StoreKeeper(stores.records, stores.runs, owner=process_identity())
    await keeper.once()  # a store that was started again has changes opened again
    while count := await relay.once():
        progress(count)
    presigner = make_presigner(stores, signer, troubles=Troubles("presign"))
    while await presigner.once(lambda _, signed: progress(signed)):
        pass
    await keeper.once()

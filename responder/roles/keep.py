"""The keeper of a host: one process that hears of every change before the host answers again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from responder import log
from responder.config import Config
from responder.errors import StatusUnavailable
from responder.host.process import Process, background, has_ended, repeatedly
from responder.ocsp.issued import IssuedSerials
from responder.ocsp.keeper import Keeper
from responder.roles.current import listening_for_changes
from responder.roles.memory import HostMemory
from responder.storage.hosts import PostgresHosts
from responder.storage.migrations import require_schema
from responder.storage.postgres import connect

_log = log.get("roles.keep")

_LEAVE_SECONDS = 2.0


async def keep(config: Config, process: Process, stop: asyncio.Event, *, memory: HostMemory, owner: str) -> None:
    """Keep the host's floors and lease until told to stop; the lease stays, for the next keeper.

    Args:
        owner: the process that holds the shared memory.
    """
    async with kept(config, memory, owner=owner):
        process.ready()
        await stop.wait()


@asynccontextmanager
async def kept(config: Config, memory: HostMemory, *, owner: str) -> AsyncIterator[Keeper]:
    """The host's floors and lease are kept while the block lasts; at its beginning every change is known.

    Raises:
        StatusUnavailable: the database can't be reached.
    """
    pool = await connect(
        config.postgres.url, password=config.postgres.password(), pool_size=3, application_name="certstatus keep"
    )
    try:
        await require_schema(pool)
        leases = PostgresHosts(pool)
        await leases.forget(has_ended)
        issued = None if memory.issued is None else IssuedSerials(memory.issued, memory.issued_until)
        keeper = Keeper(
            leases,
            floors=memory.floors,
            table=memory.table,
            deadline=memory.deadline,
            database_clock=memory.database_clock,
            host=memory.identity,
            owner=owner,
            lease_seconds=config.revocation.lease_seconds,
            issued=issued,
        )
        changed = asyncio.Event()

        async def keep_once() -> bool:
            return await keeper.once()

        async def complete() -> bool:
            return issued is not None and await issued.complete(leases)

        async with listening_for_changes(config, changed):
            await keeper.once()
            async with background(
                repeatedly(keep_once, idle_seconds=1, wake=changed, longest_pause=1),
                repeatedly(complete, idle_seconds=1),
            ):
                yield keeper
    finally:
        await pool.close()


async def leave(config: Config, memory: HostMemory) -> None:
    """Give the host's lease up, once none of its processes answers; without it a revocation would wait for the lease to
    end. A database that can't be reached is no obstacle."""
    memory.deadline.move_to(0)
    try:
        async with asyncio.timeout(_LEAVE_SECONDS):
            pool = await connect(
                config.postgres.url,
                password=config.postgres.password(),
                pool_size=1,
                application_name="certstatus leave",
            )
            try:
                await PostgresHosts(pool).leave(memory.identity)
            finally:
                await pool.close()
    except (StatusUnavailable, TimeoutError) as error:
        _log.warning("lease_not_given_up", error=str(error) or "no answer in time")


async def until_trusted(memory: HostMemory, *, seconds: float = 10.0) -> None:
    """Wait for the keeper's first word, but no longer than this: without it answers are tryLater."""
    for _ in range(int(seconds / 0.02)):
        if not memory.deadline.has_passed:
            return
        await asyncio.sleep(0.02)

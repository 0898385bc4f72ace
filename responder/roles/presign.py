"""Signing ahead of time: by `certstatus work`, by processes of its own on many cores, and at an operator's word."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from responder import log
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import IssuerUnavailable
from responder.host.process import Process, background, process_identity, repeatedly
from responder.interfaces import RecordSigner
from responder.ocsp.presign import TURN_SHARE, Presigner
from responder.pki import Issuer
from responder.roles.current import kept_current
from responder.roles.signing import answer_signer
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.troubles import Troubles, telling

_log = log.get("presign")

TASKS_A_PROCESS = 5
"""Signatures are made without the interpreter's lock; what remains of a certificate's way keeps one core busy with so
many."""

_POLL_SECONDS = 0.3


def presign_shares(config: Config) -> list[int]:
    """How many slices are signed at once, for each process that signs; the first is `work` itself."""
    tasks = config.signing.presign_tasks or len(os.sched_getaffinity(0)) + 1
    processes = -(-tasks // TASKS_A_PROCESS)
    return [tasks // processes + (index < tasks % processes) for index in range(processes)]


def make_presigner(
    stores: Stores, signer: RecordSigner, *, troubles: Troubles, only: Sequence[str] | None = None
) -> Presigner:
    """One that signs slices; of these issuers `only`, where they are given."""
    return Presigner(
        stores.partitions,
        issuers=stores.issuers,
        signer=signer,
        records=stores.records,
        clock=SystemClock(),
        owner=process_identity(),
        only=only,
        troubles=troubles,
    )


def presigning(stores: Stores, signer: RecordSigner, troubles: Troubles, tasks: int) -> list[Awaitable[object]]:
    """What signs slices for as long as it runs, so many at once, and tells whether that is enough."""
    presigner = make_presigner(stores, signer, troubles=troubles)
    alarm, offline = log.News(), defaultdict[str, log.News](log.News)

    async def presign_once() -> bool:
        return await presigner.once()

    async def forecast_once() -> bool:
        await stores.presigners.report(process_identity(), tasks)
        await stores.presigners.reckon(TURN_SHARE)
        text = (await stores.presigners.forecast()).alarm
        if text is None:
            alarm.is_over()
        elif alarm.is_news(text):
            _log.error("presigning_falls_behind", error=text)
        for outlook in await stores.answers.outlook():
            text, news = outlook.alarm, offline[outlook.issuer_id]
            if text is None:
                news.is_over()
            elif news.is_news(text):
                _log.error("imported_answers_end", error=text)
        return False

    # Where nothing is due it is the first that notices when something is; the others follow.
    signing = [repeatedly(presign_once, idle_seconds=1 if index == 0 else 3) for index in range(tasks)]
    return [*signing, repeatedly(forecast_once, idle_seconds=30)]


async def presign(config: Config, process: Process, *, tasks: int, stop: asyncio.Event) -> None:
    """Sign slices, beside `work`."""
    async with open_stores(config, name="presign", is_patient=True) as stores:
        directory = Directory(stores, keys=config.keys.directory)
        signer = answer_signer(config, stores, directory)
        troubles = Troubles("presign", stores.troubles)
        async with (
            kept_current(config, {"certstatus_issuers": directory.reload}),
            background(*presigning(stores, signer, troubles, tasks), repeatedly(telling(troubles), idle_seconds=1)),
        ):
            process.ready()
            await stop.wait()


async def presign_now(
    config: Config,
    stores: Stores,
    directory: Directory,
    sizes: Mapping[Issuer, Mapping[int, int]],
    *,
    partitions: Sequence[int] | None,
    progress: Callable[[int], None],
) -> None:
    """Sign all of these issuers, or these slices of them, again, beside whoever else signs; until nothing is left.

    Args:
        sizes: how many certificates are in which slice of each.
        progress: called with how many certificates more are signed.

    Raises:
        IssuerUnavailable: an issuer can't be signed for; the others are.
        StatusUnavailable, StoreUnavailable: what isn't signed yet is due.
    """
    size_of = {issuer.id: of_issuer for issuer, of_issuer in sizes.items()}
    since: dict[str, datetime] = {}
    left: dict[str, set[int]] = {}
    for issuer in sizes:
        since[issuer.id] = await stores.partitions.make_due(issuer.id, partitions)
        left[issuer.id] = await stores.partitions.unsigned(issuer.id, since[issuer.id])
    troubles = Troubles("presign")
    presigner = make_presigner(stores, answer_signer(config, stores, directory), troubles=troubles, only=list(since))

    async def sign() -> None:
        while any(left.values()):
            if not await presigner.once():
                await asyncio.sleep(_POLL_SECONDS)  # the rest is somebody else's, or in trouble

    async def watch() -> None:
        while any(left.values()):
            await asyncio.sleep(_POLL_SECONDS)
            for issuer_id, before in left.items():
                if not before:
                    continue
                now = await stores.partitions.unsigned(issuer_id, since[issuer_id])
                progress(sum(size_of[issuer_id].get(partition, 0) for partition in before - now))
                left[issuer_id] = set() if troubles.has(issuer_id) else now & before

    tasks = [asyncio.ensure_future(sign()) for _ in range(sum(presign_shares(config)))]
    try:
        await asyncio.gather(watch(), *tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # slices that were begun are given back
    if troubles.errors():
        raise IssuerUnavailable("; ".join(f"{issuer}: {error}" for issuer, error in troubles.errors().items()))

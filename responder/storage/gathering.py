"""Look-ups of one turn of the event loop, in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from responder.interfaces import RecordStore
from responder.pki import Certificate, Kept, Records


class ManyRecords(RecordStore, Protocol):
    """A record store that is asked for many at once."""

    async def get_many(self, certificates: Sequence[Certificate]) -> list[Records | None]:
        """`get` for each, in the same order; raises as `get`."""


class GatheringRecords:
    """A `RecordStore` whose `get`s of one turn of the loop become one `get_many` of the inner store: a round trip
    costs many times what a key more in it does."""

    def __init__(self, inner: ManyRecords) -> None:
        self._inner = inner
        self._waiting: dict[Certificate, asyncio.Future[Records | None]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""
        found = self._waiting.get(certificate)
        if found is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(self._ask)
            found = self._waiting[certificate] = loop.create_future()
        return await asyncio.shield(found)  # others may wait for the same

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore.put`."""
        return await self._inner.put(certificate, records)

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`."""
        return await self._inner.put_many(batch)

    def _ask(self) -> None:
        waiting, self._waiting = self._waiting, {}
        task = asyncio.ensure_future(self._fetch(waiting))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _fetch(self, waiting: dict[Certificate, asyncio.Future[Records | None]]) -> None:
        try:
            records = await self._inner.get_many(list(waiting))
        except asyncio.CancelledError:
            for found in waiting.values():
                found.cancel()
            raise
        except Exception as error:
            for found in waiting.values():
                found.set_exception(error)
                found.exception()  # those who asked may be gone, and nobody reads it then
        else:
            for found, held in zip(waiting.values(), records, strict=True):
                found.set_result(held)

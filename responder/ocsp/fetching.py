"""What a host's table doesn't have, read from the record store: many certificates in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from responder import log, metrics
from responder.errors import StoreUnavailable
from responder.interfaces import Clock
from responder.ocsp.making import Maker
from responder.ocsp.warming import Sampled
from responder.pki import Fetched, Table, epoch_microseconds

_log = log.get("ocsp.fetching")


class Values(Protocol):
    """A store that is asked by name for what it keeps."""

    async def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """What is kept under these names (issuer's tag and serial), in the same order.

        Raises:
            StoreUnavailable: no answer in time.
        """


class Fetcher:
    """Fills the table with what is asked for."""

    def __init__(self, store: Values, table: Table, *, sampled: Sampled, maker: Maker, clock: Clock) -> None:
        self._store = store
        self._table = table
        self._maker = maker
        self._sampled = sampled
        self._clock = clock
        self._may_log = log.OncePerSecond()

    async def fetch(self, names: Sequence[bytes]) -> Fetched:
        """Have in the table what the store has under these names, and records that are made where it has none. A store
        that fails has nothing, and what isn't as it was signed isn't taken: the chain is asked for it."""
        wanted = list(dict.fromkeys(names))
        values: list[bytes | None]
        try:
            values = await self._store.values_of(wanted)
        except StoreUnavailable:
            metrics.STORE_FAILURES.inc("redis", "get")
            values = [None] * len(wanted)
        if self._sampled.are_whole(wanted, values):
            self._table.fill(wanted, values, epoch_microseconds(self._clock.now()))
        elif self._may_log("damaged"):
            _log.error("record_does_not_verify", remedy="they are verified one by one, and made again")
        return await self._maker.make(name for name, value in zip(wanted, values, strict=True) if value is None)

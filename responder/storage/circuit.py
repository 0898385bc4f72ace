"""A store that can't be reached isn't waited for again and again: after some failures it is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from responder import log, metrics
from responder.errors import StoreUnavailable, StoreUnreachable
from responder.pki import Certificate, Kept, Records
from responder.storage.gathering import ManyRecords

_log = log.get("storage.circuit")

FAILURES = 3
"""In a row, until nobody is let through."""

REST_SECONDS = 1.0
"""Until one is let through to see."""


class Circuit:
    """Lets calls through to what can be reached. Closed, it does; open, nobody passes; after REST_SECONDS it is half
    open: one passes, and how that ends decides for the others."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0
        self._is_tried = False

    @property
    def is_open(self) -> bool:
        """Whether the next call is refused at once."""
        return self._failures >= FAILURES and (self._is_tried or self._clock() < self._rests_until)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Make one call within. What the store says, and be it a refusal, shows that it can be reached.

        Raises:
            StoreUnreachable: nobody is let through now; or the call wasn't answered.
        """
        if self.is_open:
            metrics.STORE_SKIPPED.inc(self._name)
            raise StoreUnreachable("the record store couldn't be reached lately, and isn't asked for a moment")
        is_trial = self._failures >= FAILURES
        self._is_tried = is_trial
        try:
            yield
        except StoreUnreachable:
            self._failed()
            raise
        except StoreUnavailable:
            self._answered()
            raise
        else:
            self._answered()
        finally:
            if is_trial:
                self._is_tried = False

    def _failed(self) -> None:
        self._failures += 1
        self._rests_until = self._clock() + REST_SECONDS
        if self._failures == FAILURES:
            _log.warning("store_left_alone", store=self._name, retry_seconds=REST_SECONDS)

    def _answered(self) -> None:
        if self._failures >= FAILURES:
            _log.info("store_answers_again", store=self._name)
        self._failures = 0


class NamedRecords(ManyRecords, Protocol):
    """A record store that is asked by certificate and by name."""

    async def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """See `responder.ocsp.fetching.Values`."""


class CircuitRecords:
    """A record store behind a circuit."""

    def __init__(self, inner: NamedRecords, circuit: Circuit) -> None:
        self._inner = inner
        self._circuit = circuit

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""
        with self._circuit.passing():
            return await self._inner.get(certificate)

    async def get_many(self, certificates: Sequence[Certificate]) -> list[Records | None]:
        """See `ManyRecords.get_many`."""
        with self._circuit.passing():
            return await self._inner.get_many(certificates)

    async def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """See `NamedRecords.values_of`."""
        with self._circuit.passing():
            return await self._inner.values_of(names)

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore.put`."""
        with self._circuit.passing():
            return await self._inner.put(certificate, records)

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`."""
        with self._circuit.passing():
            return await self._inner.put_many(batch)

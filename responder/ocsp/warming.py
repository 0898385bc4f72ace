"""Fills a host's table with what the record store has, so that a start asks nobody else for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from responder import log, metrics
from responder.errors import StoreUnavailable
from responder.interfaces import Clock, RecordVerifier, SigningProfiles
from responder.pki import Certificate, Issuers, Table, decode_records, epoch_microseconds

_log = log.get("ocsp.warming")

SAMPLE = 256
"""One record in so many has its signatures verified, and the first of each profile: all would take minutes of CPU."""

_TAG = 8
_PROFILE = slice(24, 40)


class Sampled:
    """Looks at records as they come in: the signatures of the first of each profile, and of one in SAMPLE."""

    def __init__(self, issuers: Issuers, profiles: SigningProfiles, verifier: RecordVerifier) -> None:
        self._issuers = issuers
        self._profiles = profiles
        self._verifier = verifier
        self._met: set[bytes] = set()
        self._count = 0

    def are_whole(self, names: Sequence[bytes], values: Sequence[bytes | None]) -> bool:
        """Whether they are as they were signed, as far as is looked; names as in `Everything`."""
        new = {value[_PROFILE] for value in values if value is not None} - self._met
        before, self._count = self._count, self._count + len(names)
        chosen = range(-before % SAMPLE, len(names), SAMPLE)
        if not new and not chosen:
            return True
        for index, (name, value) in enumerate(zip(names, values, strict=True)):
            issuer = self._issuers.tagged(name[:_TAG])
            if issuer is None or value is None or not (index in chosen or value[_PROFILE] in new):
                continue
            profile_id = value[_PROFILE]
            profile = self._profiles.get(profile_id)
            if profile is None or profile.issuer_tag != issuer.tag:
                continue
            try:
                records = decode_records(value)
            except ValueError:
                continue  # of another version: the table doesn't take it either
            certificate = Certificate(issuer, name[_TAG:])
            if not all(self._verifier.verifies(certificate, profile, records, each) for each in records.variants):
                metrics.RECORDS_REFUSED.inc()
                return False
            self._met.add(profile_id)
            new.discard(profile_id)
        return True


class Everything(Protocol):
    """A store that can be read through."""

    def everything(self) -> AsyncGenerator[tuple[list[bytes], list[bytes | None]], None]:
        """Names (issuer's tag and serial) and what is kept under them, some at a time."""


class Warmer:
    """Reads a store through, once."""

    def __init__(
        self,
        store: Everything,
        table: Table,
        *,
        sampled: Sampled,
        clock: Clock,
    ) -> None:
        self._store = store
        self._table = table
        self._sampled = sampled
        self._clock = clock

    async def fill(self, *, has_room: Callable[[int], bool] = lambda filled: True) -> int:
        """How many records came into the table. A store that fails, or whose records aren't as they were signed, is
        left as it is: what is missing is read when it is asked for.

        Args:
            has_room: whether so many records are no reason to stop.
        """
        started, filled = time.monotonic(), 0
        try:
            async with aclosing(self._store.everything()) as everything:
                async for names, values in everything:
                    if not self._sampled.are_whole(names, values):
                        _log.error("store_holds_damaged_records", remedy="they are verified one by one when asked for")
                        break
                    filled += self._table.fill(names, values, epoch_microseconds(self._clock.now()))
                    if not has_room(filled):
                        break
                    await asyncio.sleep(0)
        except StoreUnavailable as error:
            _log.warning("table_not_filled", error=str(error))
        seconds = time.monotonic() - started
        _log.info("table_filled", records=filled, records_per_second=round(filled / max(seconds, 1e-6)))
        return filled

"""Records for certificates that have none anywhere: what is asked for together is read, signed and put together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from responder import metrics
from responder.errors import NotAuthoritative, ResponderError, StoreUnavailable
from responder.interfaces import Clock, RecordSigner, RecordStore, StatusSource
from responder.ocsp.live import Budget, require_authority, require_sayable
from responder.pki import Certificate, CertificateStatus, Fetched, Issuer, Issuers, Records, StatusVersion

MOST = 32
"""Certificates in one place of the budget: a round trip costs many times what a certificate more in it does, and all of
them wait until the last is signed."""

_TAG = 8


class Maker:
    """Does for many what `LiveSource` and the stores in front of it do for one."""

    def __init__(
        self,
        statuses: StatusSource,
        *,
        issuers: Issuers,
        signer: RecordSigner,
        records: RecordStore,
        table: RecordStore,
        clock: Clock,
        budget: Budget,
    ) -> None:
        self._statuses = statuses
        self._issuers = issuers
        self._signer = signer
        self._records = records
        self._table = table
        self._clock = clock
        self._budget = budget
        self._flights: dict[bytes, asyncio.Task[Fetched]] = {}

    async def make(self, names: Iterable[bytes]) -> Fetched:
        """Have records of these certificates (issuer's tag and serial) in the store and in the table; one flight a
        certificate. What is neither made nor refused is for the chain: it may be answered without records."""
        flights, new = set[asyncio.Task[Fetched]](), defaultdict[Issuer, list[Certificate]](list)
        for name in dict.fromkeys(names):
            issuer = self._issuers.tagged(name[:_TAG])
            if name in self._flights:
                flights.add(self._flights[name])
            elif issuer is not None:
                certificate = Certificate(issuer, name[_TAG:])
                if await self._table.get(certificate) is None:  # else one landed while this was looked for
                    new[issuer].append(certificate)
        for issuer, certificates in new.items():
            for start in range(0, len(certificates), MOST):
                flights.add(self._begin(issuer, certificates[start : start + MOST]))
        if flights:
            await asyncio.wait(flights)
        return Fetched.of(flight.result() for flight in flights)

    def _begin(self, issuer: Issuer, certificates: Sequence[Certificate]) -> asyncio.Task[Fetched]:
        names = [_name_of(certificate) for certificate in certificates]
        flight = asyncio.ensure_future(self._make(issuer, certificates))
        self._flights.update(dict.fromkeys(names, flight))

        def land(_: object) -> None:
            for name in names:
                del self._flights[name]

        flight.add_done_callback(land)
        return flight

    async def _make(self, issuer: Issuer, certificates: Sequence[Certificate]) -> Fetched:
        refused: dict[bytes, ResponderError] = {}
        try:
            async with self._budget.spend():
                statuses = await self._statuses.status_of(certificates)
                known = self._with_something_to_say(issuer, certificates, statuses, refused)
                records = await self._signer.sign(known)
        except ResponderError as error:
            return Fetched(frozenset(), dict.fromkeys(map(_name_of, certificates), error))
        made = []
        for status, signed in zip(known, records, strict=True):
            try:
                require_sayable(signed, issuer)
            except ResponderError as error:
                refused[_name_of(status.certificate)] = error
            else:
                made.append((status.certificate, signed))
        return Fetched(frozenset(await self._keep(made)), refused)

    def _with_something_to_say(
        self,
        issuer: Issuer,
        certificates: Sequence[Certificate],
        statuses: Sequence[CertificateStatus | None],
        refused: dict[bytes, ResponderError],
    ) -> list[CertificateStatus]:
        """Those that records can be made of; `refused` takes those that nothing may be said of."""
        now, known = self._clock.now(), []
        for certificate, status in zip(certificates, statuses, strict=True):
            try:
                require_authority(issuer, [status], now)
            except NotAuthoritative as error:
                refused[_name_of(certificate)] = error
            else:
                if status is not None:
                    known.append(status)
        return known

    async def _keep(self, made: Sequence[tuple[Certificate, Records]]) -> list[bytes]:
        """The names of those that the table has now: not where the store keeps something newer."""
        if not made:
            return []
        try:
            kept = await self._records.put_many(made)
        except StoreUnavailable:
            metrics.STORE_FAILURES.inc("redis", "put")
            kept = [None] * len(made)
        current = [
            (certificate, records)
            for (certificate, records), held in zip(made, kept, strict=True)
            if held is None or held.version.change <= StatusVersion.of(records).change
        ]
        await self._table.put_many(current)
        return [_name_of(certificate) for certificate, _ in current]


def _name_of(certificate: Certificate) -> bytes:
    return certificate.issuer.tag + certificate.serial

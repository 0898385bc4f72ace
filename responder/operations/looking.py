"""Looking at certificates: what the database says, what the record store holds, and what would be answered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from responder.errors import StoreUnavailable
from responder.interfaces import StatusSource
from responder.operations.spelling import certificate_document, rfc3339
from responder.pki import CertIDVariant, Certificate, CertificateStatus, CertStatus, Issuer, Records, from_epoch_seconds
from responder.storage.listing import PostgresListing, Selection

MAX_PAGE = 1000


class Held(Protocol):
    """The part of a record store that is looked at."""

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""


def expiring(days: int, *, revoked: bool | None, now: datetime) -> Selection:
    """Those that end from now on and before so many days have passed."""
    return Selection(revoked, now, now + timedelta(days=days))


class Looker:
    """Reads what is kept of certificates, wherever that is."""

    def __init__(self, statuses: StatusSource, listing: PostgresListing, records: Held) -> None:
        self._statuses = statuses
        self._listing = listing
        self._records = records

    async def one(self, certificate: Certificate, *, now: datetime) -> dict[str, Any] | None:
        """All that is kept of one certificate, as the API and the command line say it; None where it isn't registered.

        Raises:
            StatusUnavailable: the database can't be reached.
        """
        (status,) = await self._statuses.status_of([certificate])
        if status is None:
            return None
        upkeep = await self._listing.upkeep(certificate)
        try:
            records, obstacle = await self._records.get(certificate), None
        except StoreUnavailable as error:
            records, obstacle = None, str(error)
        return {
            "issuer": certificate.issuer.id,
            **certificate_document(status),
            "open_changes": upkeep.open_changes,
            "signed_again_at": None if upkeep.signed_again_at is None else rfc3339(upkeep.signed_again_at),
            "record": None if records is None else _record_document(records, status),
            **({} if obstacle is None else {"record_store": obstacle}),
            "answer": _answer(status, records, now),
        }

    async def page(
        self, issuer: Issuer, selection: Selection, *, after: bytes = b"", limit: int
    ) -> tuple[list[dict[str, Any]], bytes | None]:
        """Some, and the serial after which the next page begins; None where there is none.

        Raises:
            StatusUnavailable: the database can't be reached.
        """
        found = await self._listing.page(issuer, selection, after=after, limit=limit + 1)
        shown = found[:limit]
        return list(map(certificate_document, shown)), shown[-1].certificate.serial if len(found) > limit else None


def _record_document(records: Records, status: CertificateStatus) -> dict[str, Any]:
    document = {
        "status": CertStatus(records.cert_status).name.lower(),
        "version": {"epoch": records.epoch, "number": records.number},
        "is_current": _is_current(records, status),
    }
    if records.is_tombstone:
        return document
    return document | {
        "this_update": rfc3339(from_epoch_seconds(records.this_update)),
        "next_update": rfc3339(from_epoch_seconds(records.next_update)),
        "hashes": [CertIDVariant(variant).hash_name for variant in records.variants],
        "profile": records.profile_id.hex(),
    }


def _is_current(records: Records, status: CertificateStatus) -> bool:
    return (records.epoch, records.number) >= status.version.change


def _answer(status: CertificateStatus, records: Records | None, now: datetime) -> str:
    """What would be answered, as a sentence."""
    if not status.may_be_answered(now):
        unknown = status.certificate.issuer.policy.unknown_serial.name
        return f"{unknown}: it isn't valid at this moment"
    name = status.cert_status.name.lower()
    if records is not None and not records.is_tombstone and _is_current(records, status):
        next_update = from_epoch_seconds(records.next_update)
        if next_update > now:
            return f"{name}, as it was signed before, until {rfc3339(next_update)}"
    return f"{name}, signed when it is asked for"

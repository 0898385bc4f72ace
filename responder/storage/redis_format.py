"""What a key in a Redis or Valkey is called, and what it holds."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from responder.errors import StoreUnavailable
from responder.pki import EPOCH, Certificate, CertStatus, Kept, Records, StatusVersion, decode_records

PREFIX = b"cs2:"

NEWEST_KEY = b"cs1:newest"
"""Where the highest version is that the database has given."""


def key_of(name: bytes) -> bytes:
    """Of a certificate (issuer's tag and serial). Short, since memory counts; one key, so one slot in a cluster."""
    return PREFIX + name


def records_in(value: object) -> Records | None:
    """What a key holds: nothing where it holds none, or none that this version reads: a miss, never a guess."""
    if not isinstance(value, bytes):  # None; never text, as nothing is decoded
        return None
    try:
        return decode_records(value)
    except ValueError:
        return None


def kept_of(result: bytes, records: Records, run: str) -> Kept | None:
    if result == b"=":
        return Kept(StatusVersion.of(records), CertStatus(records.cert_status), run)
    if not result:
        return None
    epoch, number, as_of, flags = struct.unpack(">IQqB", result[1:])
    try:
        return Kept(StatusVersion(epoch, number, EPOCH + timedelta(microseconds=as_of)), CertStatus(flags & 3), run)
    except (ValueError, OverflowError):  # what is there is damaged, and outranks what was offered
        return None


def refused() -> StoreUnavailable:
    """Why a script keeps nothing, not even what is there."""
    return StoreUnavailable("the record store refused an outdated record: it took too long, or has ended")


class ByCertificate(ABC):
    """The part of `RecordStore` that follows from what is read by name and put in batches."""

    @abstractmethod
    async def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """See `responder.ocsp.fetching.Values`."""

    @abstractmethod
    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`."""

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""
        (records,) = await self.get_many([certificate])
        return records

    async def get_many(self, certificates: Sequence[Certificate]) -> list[Records | None]:
        """`get` for each, in as few round trips as `values_of` takes.

        Raises:
            StoreUnavailable: no answer in time.
        """
        names = [certificate.issuer.tag + certificate.serial for certificate in certificates]
        return [records_in(value) for value in await self.values_of(names)]

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore.put`."""
        (kept,) = await self.put_many([(certificate, records)])
        if kept is None:
            raise refused()
        return kept

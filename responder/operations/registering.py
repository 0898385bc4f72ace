"""Registering certificates as they are issued: one, or many, each a line of JSON."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from responder import metrics
from responder.interfaces import HostLeases
from responder.operations.importing import until_known
from responder.operations.spelling import InvalidField, parse_serial, parse_time, read_object
from responder.pem import BEGIN
from responder.pki import MAX_SERIAL_OCTETS, IssuedCertificate, Issuer, Unaware, encode_serial
from responder.pki.certificates import ParsedCertificate, first_certificate
from responder.storage.certificates import PostgresCertificates

FIELDS = frozenset({"serial", "not_before", "not_after", "certificate_sha256", "certificate"})

LINE_OCTETS = 65_536
"""How long a line may be."""

BATCH_LINES = 5_000
"""How many lines are registered together."""

_AT_ONCE = 2
"""Batches, each on a connection to the database."""

_TURN_SECONDS = 0.005

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of one: `result` is `registered`, `known` (it was already, and stays as it is) or `refused`, for the
    reason in `detail`. `line` counts from 1."""

    line: int
    serial_number: int | None
    result: str
    detail: str = ""

    def json(self) -> str:
        """As the API says it: put together here, which takes a seventh of what the encoder takes for so many lines."""
        serial = "" if self.serial_number is None else f'"serial":"{self.serial_number:#x}",'
        detail = f',"detail":{json.dumps(self.detail)}' if self.detail else ""
        return f'{{"line":{self.line},{serial}"result":"{self.result}"{detail}}}\n'


class Registrar:
    """Registers certificates, and knows when every host answers for them. A repeat changes nothing."""

    def __init__(self, store: PostgresCertificates, hosts: HostLeases, *, wait_seconds: float) -> None:
        self._store = store
        self._hosts = hosts
        self._wait_seconds = wait_seconds

    async def register(self, issuer: Issuer, issued: Sequence[IssuedCertificate], *, actor: str) -> list[bool]:
        """Register them, all or none; whether each is new here.

        Raises:
            StatusUnavailable: the database can't be reached; asking again is safe.
        """
        added = await self._store.register(issuer, issued, actor=actor)
        metrics.REGISTERED.inc(amount=len(added))
        new = []
        for certificate in issued:
            serial = encode_serial(certificate.serial_number)
            new.append(serial in added)
            added.discard(serial)
        return new

    async def register_lines(
        self, issuer: Issuer, batches: AsyncIterable[Sequence[tuple[int, bytes]]], *, actor: str
    ) -> AsyncIterator[list[Registered]]:
        """Register what lines say, those that can't be read left out; what became of each, in their order. A batch is
        registered as a whole, while others are read.

        Args:
            batches: of (number, JSON object with some of FIELDS).

        Raises:
            StatusUnavailable: as `register`; earlier batches are registered.
        """
        registering = deque[asyncio.Task[list[Registered]]]()
        try:
            async for lines in batches:
                read, refused = await _read_lines(issuer, lines)
                if len(registering) == _AT_ONCE:
                    yield await registering.popleft()
                registering.append(asyncio.create_task(self._register_read(issuer, read, refused, actor)))
            while registering:
                yield await registering.popleft()
        finally:
            for task in registering:
                task.cancel()
            await asyncio.gather(*registering, return_exceptions=True)

    async def _register_read(
        self, issuer: Issuer, read: Sequence[tuple[int, IssuedCertificate]], refused: list[Registered], actor: str
    ) -> list[Registered]:
        new = await self.register(issuer, [certificate for _, certificate in read], actor=actor)
        done = [
            Registered(number, certificate.serial_number, "registered" if is_new else "known")
            for (number, certificate), is_new in zip(read, new, strict=True)
        ]
        return sorted(done + refused, key=lambda each: each.line) if refused else done

    async def until_known(self, issuer: Issuer) -> Unaware:
        """Wait until every host has heard, or for `wait_seconds`; see `importing.until_known`."""
        return await until_known(self._hosts, issuer, seconds=self._wait_seconds)


async def _read_lines(
    issuer: Issuer, lines: Sequence[tuple[int, bytes]]
) -> tuple[list[tuple[int, IssuedCertificate]], list[Registered]]:
    """Those that can be read, and the others; the event loop has its turn in between."""
    turn = time.perf_counter()
    read: list[tuple[int, IssuedCertificate]] = []
    refused: list[Registered] = []
    for number, text in lines:
        if time.perf_counter() - turn > _TURN_SECONDS:
            await asyncio.sleep(0)
            turn = time.perf_counter()
        try:
            if len(text) > LINE_OCTETS:
                raise InvalidField(f"it is longer than {LINE_OCTETS} octets")
            read.append((number, read_issued(issuer, read_object(text, FIELDS))))
        except InvalidField as error:
            refused.append(Registered(number, None, "refused", str(error)))
    return read, refused


def read_issued(issuer: Issuer, document: dict[str, Any]) -> IssuedCertificate:
    """A certificate by its fields: `certificate` alone (PEM, or DER in base64), or `serial` and what is known of it.

    Raises:
        InvalidField: which, and what to send instead.
    """
    if "certificate" in document:
        if len(document) > 1:
            raise InvalidField("certificate says everything; leave out the other fields")
        return issued_as(issuer, _certificate(document["certificate"]))
    number = parse_serial(document.get("serial"))
    if len(encode_serial(number)) > MAX_SERIAL_OCTETS:
        raise InvalidField(f"serial has more than {MAX_SERIAL_OCTETS} octets")
    not_before = parse_time("not_before", document.get("not_before"))
    not_after = parse_time("not_after", document.get("not_after"))
    if not_before is not None and not_after is not None and not_after < not_before:
        raise InvalidField(f"not_after is {document['not_after']!r}, before not_before")
    digest = document.get("certificate_sha256")
    if digest is not None and (not isinstance(digest, str) or not _SHA256.fullmatch(digest)):
        raise InvalidField(f"certificate_sha256 is {digest!r}; give 64 hexadecimal digits")
    return IssuedCertificate(
        number,
        not_before=not_before,
        not_after=not_after,
        certificate_sha256=None if digest is None else bytes.fromhex(digest),
    )


def issued_as(issuer: Issuer, certificate: ParsedCertificate) -> IssuedCertificate:
    """What is registered of a certificate.

    Raises:
        InvalidField: another CA has issued it, or what it says can't be kept.
    """
    if not certificate.was_issued_by(issuer.name, issuer.public_key):
        raise InvalidField(
            f"certificate was issued by {certificate.issuer}, and not with the key of {issuer.id}; register it with "
            "its own issuer"
        )
    if len(certificate.parts.serial) > MAX_SERIAL_OCTETS:
        raise InvalidField(f"certificate has a serial of more than {MAX_SERIAL_OCTETS} octets")
    try:
        return IssuedCertificate(
            certificate.serial_number,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            certificate_sha256=hashlib.sha256(certificate.der).digest(),
        )
    except ValueError as error:
        raise InvalidField(f"certificate can't be kept: {error}") from error


def _certificate(value: object) -> ParsedCertificate:
    if not isinstance(value, str):
        raise InvalidField("certificate isn't a string; give PEM, or DER in base64")
    try:
        content = value.encode("ascii")
        return first_certificate(content if BEGIN in content else base64.b64decode(content, validate=True))
    except ValueError as error:
        raise InvalidField(f"certificate can't be read ({error}); give PEM, or DER in base64") from error

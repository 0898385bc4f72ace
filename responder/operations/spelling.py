"""How serial numbers, times and outcomes are spelled, by every face."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

from responder.errors import ConfigError
from responder.ocsp.revoke import Outcome
from responder.pki import MAX_SERIAL_OCTETS, CertificateStatus

_PREFIXED = re.compile(r"-?0[xX][0-9a-fA-F]+")
_COLONS = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})+")
_BARE = re.compile(r"[0-9a-fA-F]+")
_JSON_SERIAL = re.compile(r"-?0x[0-9a-fA-F]{1,512}")


class InvalidField(ValueError):
    """One field of a request body that can't be used."""


def read_object(text: bytes, fields: AbstractSet[str]) -> dict[str, Any]:
    """One JSON object.

    Raises:
        InvalidField: it isn't one, or has a field that isn't one of these.
    """
    try:
        document = json.loads(text.removeprefix(BOM_UTF8).decode())
    except (ValueError, RecursionError) as error:
        raise InvalidField(f"it isn't JSON ({error}); send an object with {_listed(fields)}") from error
    if not isinstance(document, dict):
        raise InvalidField(f"it isn't a JSON object; send one with {_listed(fields)}")
    if not document.keys() <= fields:
        unknown = document.keys() - fields
        raise InvalidField(f"unknown field {min(unknown)!r}; the fields are {_listed(fields)}")
    return document


def read_serial(option: str, word: str) -> int:
    """A serial number as openssl prints it: 0x1a2b, 1A:2B, or without a prefix where it can't be decimal (010A, 0109).
    Some CAs have given negative ones (5280-13): -0x1a.

    Args:
        option: what the operator calls it.

    Raises:
        ConfigError: not one, or one that might be decimal.
    """
    digits = ""
    if _PREFIXED.fullmatch(word):
        digits = word.removeprefix("-")[2:]
    elif _COLONS.fullmatch(word):
        digits = word.replace(":", "")
    elif _BARE.fullmatch(word):
        if word.isdecimal() and not word.startswith("0"):
            raise ConfigError(f"{option} {word} may be decimal or hexadecimal; write 0x before a hexadecimal number")
        digits = word
    if not digits or len(digits) > 2 * MAX_SERIAL_OCTETS:
        raise ConfigError(f"{option} {word[:80]!r} isn't a hexadecimal number, as in 0x1a2b, 1A:2B or 010A")
    return -int(digits, 16) if word.startswith("-") else int(digits, 16)


def parse_serial(value: object) -> int:
    """A serial number spelled as hexadecimal with 0x, or -0x. Decimal and hexadecimal are never guessed between: 10 is
    both.

    Raises:
        InvalidField: not that.
    """
    if not isinstance(value, str) or not _JSON_SERIAL.fullmatch(value):
        raise InvalidField(f'serial is {value!r}; give the hexadecimal number as a string, as in "0x1a2b"')
    return int(value, 16)


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """What the API and the command line say of a changed status."""
    return {
        "issuer": outcome.status.certificate.issuer.id,
        **status_document(outcome.status),
        "certain": outcome.certain,
        **({} if outcome.certain_at is None else {"certain_at": rfc3339(outcome.certain_at)}),
    }


def status_document(status: CertificateStatus) -> dict[str, Any]:
    """What the API and the command line say of a status."""
    info = status.revoked_info
    return {
        "serial": hex(status.certificate.serial_number),
        "status": status.cert_status.name.lower(),
        "reason": None if info is None or info.revocation_reason is None else info.revocation_reason.name,
        "revoked_at": None if info is None else rfc3339(info.revocation_time),
        "invalidity_date": rfc3339(info.invalidity_date) if info and info.invalidity_date else None,
        "version": {"epoch": status.version.epoch, "number": status.version.number},
    }


def certificate_document(status: CertificateStatus) -> dict[str, Any]:
    """The same, and what is known of the certificate itself."""
    digest = status.certificate_sha256
    return {
        **status_document(status),
        "not_before": None if status.not_before is None else rfc3339(status.not_before),
        "not_after": None if status.not_after is None else rfc3339(status.not_after),
        "certificate_sha256": None if digest is None else digest.hex(),
    }


def parse_time(field: str, value: object) -> datetime | None:
    """An RFC 3339 time with an offset, in UTC; None stays None.

    Raises:
        InvalidField: not such a time.
    """
    if value is None:
        return None
    example = 'give an RFC 3339 time with an offset, as in "2026-01-31T12:00:00Z"'
    if not isinstance(value, str):
        raise InvalidField(f"{field} is {value!r}; {example}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise InvalidField(f"{field} is {value!r}; {example}") from error
    if moment.tzinfo is None:
        raise InvalidField(f"{field} is {value!r}, without an offset; {example}")
    try:
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidField(f"{field} is {value!r}, beyond the years that a calendar has in UTC; {example}") from error
    if moment.microsecond:
        moment = moment.replace(microsecond=0)
    if moment.year < 1970:
        raise InvalidField(f"{field} is {value!r}, before 1970 in UTC, which no record can hold")
    return moment


def rfc3339(moment: datetime) -> str:
    """A time as every face writes it: in UTC, with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _listed(fields: AbstractSet[str]) -> str:
    return ", ".join(sorted(fields))

"""What is read twice or thrice, by us, by pyca and by openssl: what two of them read says the same to both."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp

from responder._native import crl_excerpt
from responder.der import contents, values
from responder.ocsp.lints.reading import SUCCESSFUL, Response, read
from responder.pki import CRLReason

_STATUSES = {0x80: "GOOD", 0xA1: "REVOKED", 0x82: "UNKNOWN"}
_REASONS = {reason.value: reason.name for reason in CRLReason}
_BASIC = "1.3.6.1.5.5.7.48.1.1"

T = TypeVar("T")


class Disagreement(AssertionError):
    """Two found different things in the same octets."""


def response(octets: bytes) -> str:
    """Who reads an OCSPResponse: `both`, `neither`, or one of us and pyca, and what the other says.

    Raises:
        Disagreement: both read it, and find something else in it.
    """
    ours, refusal = _tried(partial(read, octets))
    theirs, their_refusal = _tried(partial(ocsp.load_der_ocsp_response, octets))
    if ours is None or theirs is None:
        return _alone(refusal, their_refusal)
    _same("status", ours.status, theirs.response_status.value)
    if ours.status != SUCCESSFUL:
        return "both"
    if ours.response_type != _BASIC:
        return "ours alone: another type of response"
    return _compared(partial(_compare_response, ours, theirs))


def crl(octets: bytes) -> str:
    """The same of a CRL, and of each of its entries."""
    ours, refusal = _tried(partial(crl_excerpt, octets, []))
    theirs, their_refusal = _tried(partial(x509.load_der_x509_crl, octets))
    if ours is None or theirs is None:
        return _alone(refusal, their_refusal)
    return _compared(partial(_compare_crl, octets, theirs))


def response_by_openssl(octets: bytes) -> str:
    """Who reads an OCSPResponse: `both`, `neither`, `ours alone` or `openssl alone`."""
    ours, _ = _tried(partial(read, octets))
    said = _openssl(octets, "ocsp", "-respin", "/dev/stdin", "-noverify", "-resp_text")
    is_read = "Responses:" in said or "Responder Error" in said
    if ours is None or not is_read:
        return _who(ours is not None, is_read)
    if ours.status == SUCCESSFUL and ours.response_type == _BASIC and "Responses:" in said:
        serials = [int.from_bytes(each.serial, "big", signed=True) for each in ours.singles]
        _same("serials", serials, [int(each, 16) for each in re.findall(r"Serial Number: (-?[0-9A-F]+)", said)])
    return "both"


def crl_by_openssl(octets: bytes) -> str:
    """The same of a CRL."""
    ours, _ = _tried(partial(crl_excerpt, octets, []))
    said = _openssl(octets, "crl", "-inform", "DER", "-noout", "-text")
    return _who(ours is not None, "Certificate Revocation List" in said)


def _compare_response(ours: Response, theirs: ocsp.OCSPResponse) -> None:
    tbs = values(contents(ours.basic))[0][2]
    _same("tbsResponseData", tbs, theirs.tbs_response_bytes)
    _same("signature", ours.signature[1:], theirs.signature)
    _same("producedAt", _moment(ours.produced_at), theirs.produced_at_utc)
    _same("certs", len(ours.certs or ()), len(theirs.certificates))
    singles = list(theirs.responses)
    _same("responses", len(ours.singles), len(singles))
    for our, their in zip(ours.singles, singles, strict=True):
        _same("serial", int.from_bytes(our.serial, "big", signed=True), their.serial_number)
        _same("hashes", (our.name_hash, our.key_hash), (their.issuer_name_hash, their.issuer_key_hash))
        _same("certStatus", _STATUSES[our.status], their.certificate_status.name)
        _same("thisUpdate", _moment(our.this_update), their.this_update_utc)
        _same("nextUpdate", our.next_update and _moment(our.next_update), their.next_update_utc)
        _same("revocationTime", our.revocation_time and _moment(our.revocation_time), their.revocation_time_utc)
        reason = their.revocation_reason
        _same(
            "reason", None if our.reason is None else _REASONS.get(our.reason, "unspecified"), reason and reason.value
        )


def _compare_crl(octets: bytes, theirs: x509.CertificateRevocationList) -> None:
    name, _ = crl_excerpt(octets, [])
    _same("issuer", name, theirs.issuer.public_bytes())
    entries = list(theirs)
    for place, entry in enumerate(entries):
        (alone,) = x509.load_der_x509_crl(_entry(octets, place))
        _same(
            "entry", (alone.serial_number, alone.revocation_date_utc), (entry.serial_number, entry.revocation_date_utc)
        )
    try:
        crl_excerpt(octets, [len(entries)])
    except IndexError:
        return
    raise Disagreement("we find more entries than pyca")


def _entry(octets: bytes, place: int) -> bytes:
    """The CRL with one of its entries, which pyca has read."""
    try:
        return crl_excerpt(octets, [place])[1]
    except ValueError as error:
        raise Disagreement(f"pyca alone reads entry {place}: {error}") from error


def _tried(function: Callable[[], T]) -> tuple[T | None, str]:
    """What it returns, or what it refuses for."""
    try:
        return function(), ""
    except (ValueError, x509.InvalidVersion) as error:
        return None, str(error)


def _compared(compare: Callable[[], None]) -> str:
    """pyca reads many parts when they are asked for; what it refuses then we alone read."""
    try:
        compare()
    except Disagreement:
        raise
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"ours alone: {error}"
    return "both"


def _alone(ours: str, theirs: str) -> str:
    if ours and theirs:
        return "neither"
    return f"ours alone: {theirs}" if theirs else f"pyca alone: {ours}"


def _who(ours: bool, openssl: bool) -> str:
    return {(1, 1): "both", (0, 0): "neither", (1, 0): "ours alone", (0, 1): "openssl alone"}[ours, openssl]


def _same(part: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise Disagreement(f"{part}: we find {ours!r}, the other {theirs!r}")


def _moment(time: tuple[int, bytes]) -> datetime | None:
    """None where it says none: then pyca has to refuse it, too."""
    try:
        return datetime.strptime(time[1].decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _openssl(octets: bytes, *arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], input=octets, capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")

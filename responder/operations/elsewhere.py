"""Answers that were made elsewhere: read, judged as ours are, and taken over for offline issuers."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from responder import der
from responder.errors import ConfigError, ImportRefused
from responder.ocsp.linted import rules_for
from responder.ocsp.lints import lint
from responder.ocsp.lints.reading import Response, Single, read
from responder.ocsp.lints.rules import HASHES as HASHES_BY_OID
from responder.operations import judging
from responder.operations.querying import HASHES, encode_request
from responder.pki import (
    CertID,
    CertIDVariant,
    Certificate,
    CRLReason,
    ImportedAnswer,
    Issuer,
    Issuers,
    RevokedInfo,
    SigningProfile,
    decode_serial,
)
from responder.signing.offline import imported_profile, verify_imported
from responder.storage.answers import PostgresAnswers, TakenAnswers

_NULL = b"\x05\x00"

_SUFFIXES = (".der", ".ors", ".ocsp")
"""`ors` is RFC 6960's (Appendix C.2)."""

MAX_OCTETS = 65_000
"""Of one answer."""


class NotTaken(Exception):
    """What keeps an answer from being given, in a sentence."""


@dataclass(frozen=True, slots=True)
class ReadAnswers:
    """What files hold: all of it can be given. `findings` are rules that an answer breaks and that keep nobody from
    reading it, a sentence each, with the file's name."""

    answers: Mapping[Issuer, Sequence[ImportedAnswer]]
    findings: tuple[str, ...]
    source: str
    sha256: bytes


def answer_files(given: Sequence[Path]) -> list[Path]:
    """These files; of a folder all that are called like an OCSPResponse.

    Raises:
        ConfigError: a folder has none.
    """
    return [file for path in given for file in _files(path)]


def read_answers(
    files: Sequence[Path],
    issuers: Issuers,
    *,
    now: datetime,
    source: str,
    progress: Callable[[int], None] = lambda count: None,
) -> ReadAnswers:
    """Read OCSPResponses (DER), each about one certificate of an issuer here, and judge them as a suspicious client
    does.

    Args:
        source: what they are called together, for the audit log.
        progress: called with how many files more are read.

    Raises:
        ConfigError: a file can't be read.
        ImportRefused: what is wrong with each that can't be given; then none is to be.
    """
    found: dict[Issuer, list[ImportedAnswer]] = defaultdict(list)
    places: dict[tuple[Certificate, CertIDVariant], Path] = {}
    findings: list[str] = []
    faults: list[str] = []
    digest = hashlib.sha256()
    for path in files:
        progress(1)
        octets = _content(path)
        digest.update(octets)
        try:
            answer = judged(octets, issuers, now)
            first = places.setdefault((answer.certificate, answer.variant), path)
            if first is not path:
                raise NotTaken(f"it answers the same CertID as {first}; give the newer one alone")
            found[answer.certificate.issuer].append(answer)
            findings += [f"{path}: {each}" for each in _lint(octets, answer.certificate.issuer)]
        except NotTaken as fault:
            faults.append(f"{path}: {fault}")
    faults += _contradictions(found)
    if faults:
        raise ImportRefused("\n".join(faults))
    return ReadAnswers(found, tuple(findings), source[:1000], digest.digest())


async def take_answers(store: PostgresAnswers, given: ReadAnswers, *, dry_run: bool, actor: str) -> list[TakenAnswers]:
    """Give these from now on; see `PostgresAnswers.take`."""
    return await store.take(
        given.answers, dry_run=dry_run, actor=actor, source=given.source, source_sha256=given.sha256
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix.lower() in _SUFFIXES and each.is_file())
    if not found:
        raise ConfigError(f"{path}: no file in it ends in {', '.join(_SUFFIXES)}")
    return found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise ConfigError(f"{path}: it can't be read: {error.strerror}") from error


def judged(octets: bytes, issuers: Issuers, now: datetime) -> ImportedAnswer:
    """One answer that can be given.

    Raises:
        NotTaken: it can't be.
    """
    if len(octets) > MAX_OCTETS:
        raise NotTaken(f"it has more than {MAX_OCTETS:,} octets")
    try:
        response = read(octets)
    except ValueError as error:
        raise NotTaken(f"it is no OCSPResponse in DER: {error}") from error
    if not response.singles:
        raise NotTaken("it is an error and no answer; look at what the responder was asked")
    if len(response.singles) > 1:
        raise NotTaken("it answers several CertIDs at once; have one response made for each (RFC 9919 §3.2.1)")
    (single,) = response.singles
    if single.hash_oid not in HASHES_BY_OID or single.hash_parameters not in (b"", _NULL):
        raise NotTaken("its CertID is by another hash algorithm than SHA-1, SHA-256, SHA-384 and SHA-512")
    hash_name = HASHES_BY_OID[single.hash_oid]
    variant = CertIDVariant[hash_name.upper()]
    issuer = issuers.find(CertID(variant, single.name_hash, single.key_hash, single.serial))
    if issuer is None:
        raise NotTaken("it is about a certificate of a CA that isn't here; add that first, as an offline issuer")
    answered = _answered(octets, single, HASHES[hash_name], issuer, now)
    for check in judging.CHECKS.values():
        try:
            check(answered)
        except judging.Wrong as wrong:
            raise NotTaken(str(wrong)) from wrong
    if judging.nonce_of(answered.response) is not None:
        raise NotTaken("it has a nonce, so it is for one client alone; ask without one (openssl ocsp -no_nonce)")
    next_update = answered.single.next_update_utc
    if next_update is None:
        raise NotTaken("it has no nextUpdate, so nobody knows until when it holds (openssl ocsp -ndays)")
    if answered.single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise NotTaken("it says unknown: whoever made it doesn't know the certificate")
    profile = _profile(issuer, response)
    answer = ImportedAnswer(
        Certificate(issuer, single.serial),
        variant,
        profile,
        _revoked_info(answered.single),
        answered.single.this_update_utc,
        min(next_update, answered.signer.not_valid_after_utc, issuer.not_after),
        octets,
    )
    try:
        verify_imported(answer)
    except ValueError as error:
        raise NotTaken(f"libcrypto doesn't verify it: {error}") from error
    return answer


def _answered(
    octets: bytes, single: Single, algorithm: hashes.HashAlgorithm, issuer: Issuer, now: datetime
) -> judging.Answered:
    """As if a client had asked for it."""
    try:
        asked = encode_request(single.name_hash, single.key_hash, decode_serial(single.serial), algorithm, nonce=False)
        ca = x509.load_der_x509_certificate(issuer.certificate)
        answered = judging.read_response(ocsp.load_der_ocsp_request(asked), octets, issuer=ca, at=now)
    except (ValueError, UnsupportedAlgorithm, judging.Wrong) as error:
        raise NotTaken(str(error)) from error
    assert isinstance(answered, judging.Answered)  # an error has no SingleResponse
    return answered


def _profile(issuer: Issuer, response: Response) -> SigningProfile:
    try:
        return imported_profile(
            issuer,
            signature_algorithm=response.algorithm,
            responder_id=der.der_value(*response.responder),
            certificates=response.certs or (),
        )
    except ValueError as error:
        raise NotTaken(f"it can't be kept: {error}") from error


def _lint(octets: bytes, issuer: Issuer) -> Iterable[str]:
    """The rules that it breaks; under the Baseline Requirements that keeps it from being given.

    Raises:
        NotTaken: it is.
    """
    said = [f"{each.id}: {each.says} ({each.source})" for each in lint(octets, profile=rules_for(issuer))]
    if said and issuer.policy.baseline:
        raise NotTaken("; ".join(said))
    return said


def _contradictions(found: Mapping[Issuer, Sequence[ImportedAnswer]]) -> list[str]:
    said: dict[Certificate, RevokedInfo | None] = {}
    return [
        f"the answers for serial {each.certificate.serial_number:#x} of issuer {each.certificate.issuer.id} don't say "
        "the same status; have them all made again"
        for answers in found.values()
        for each in answers
        if said.setdefault(each.certificate, each.revoked_info) != each.revoked_info
    ]


def _revoked_info(single: ocsp.OCSPSingleResponse) -> RevokedInfo | None:
    revocation_time = single.revocation_time_utc
    if revocation_time is None:
        return None
    reason = single.revocation_reason
    if reason is None or reason is x509.ReasonFlags.unspecified:
        return RevokedInfo(revocation_time)
    if reason is x509.ReasonFlags.remove_from_crl:
        raise NotTaken("it says revoked with the reason removeFromCRL, which is for delta CRLs (RFC 5280 §5.3.1)")
    return RevokedInfo(revocation_time, CRLReason[reason.value])

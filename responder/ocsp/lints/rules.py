"""The rules: each looks at one thing, and has its requirement (as in docs/standards.md), its source and its profile."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from responder import der
from responder.errors import ConfigError
from responder.ocsp.lints.reading import SUCCESSFUL, Extension, Response, not_der
from responder.pki import BASELINE_ALGORITHMS
from responder.pki.certificates import OCSP_SIGNING, ParsedCertificate, read_certificate

PROFILES = ("rfc", "br", "c2pa", "etsi")
"""`rfc` is in all others: RFC 6960, 9919, 9654 and 5280; `br` the CA/Browser Forum's TLS Baseline Requirements; `c2pa`
Content Credentials (C2PA 2.4); `etsi` ETSI EN 319 411-2."""

NONCE = "1.3.6.1.5.5.7.48.1.2"
ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6"
EXTENDED_REVOKE = "1.3.6.1.5.5.7.48.1.9"
REASON_CODE = "2.5.29.21"
_BASIC = "1.3.6.1.5.5.7.48.1.1"
HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
"""Those of a CertID, by their OBJECT IDENTIFIERs."""

_HASH_SIZES = {oid: hashlib.new(name, usedforsecurity=False).digest_size for oid, name in HASHES.items()}
_GENERALIZED_TIME = 0x18
_REVOKED = 0xA1
_NEVER_ISSUED = b"19700101000000Z"


_SHA1_SIGNATURES = (bytes.fromhex("06092a864886f70d010105"), bytes.fromhex("06072a8648ce3d0401"))
_BR_REASONS = {1, 3, 4, 5, 9}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: its requirement.
        source: document and section.
        profile: the widest that it is part of.
        look: what is wrong with a response, a sentence for each fault.
    """

    id: str
    source: str
    profile: str
    look: Callable[[Response], Iterator[str]]


RULES: list[Rule] = []


def rule(requirement: str, source: str, profile: str = "rfc") -> Callable[[Callable[[Response], Iterator[str]]], Rule]:
    """Make a function a rule; it is the one place where rules are listed."""

    def add(look: Callable[[Response], Iterator[str]]) -> Rule:
        RULES.append(Rule(requirement, source, profile, look))
        return RULES[-1]

    return add


@rule("DER", "X.690 §10.1, §11; RFC 6960 §4.2.1")
def octets_are_der(response: Response) -> Iterator[str]:
    for name, octets in (("OCSPResponse", response.octets), ("BasicOCSPResponse", response.basic)):
        if fault := not_der(octets):
            yield f"{name}, {fault}"


@rule("6960-02", "RFC 6960 §4.2.1")
def an_error_is_five_octets(response: Response) -> Iterator[str]:
    if response.status != SUCCESSFUL:
        if response.status not in (1, 2, 3, 5, 6):
            yield f"responseStatus {response.status} is none of the standard's"
        if len(response.octets) != 5:
            yield f"an error of {len(response.octets)} octets has more than its status"


@rule("6960-15", "RFC 6960 §4.2.1")
def it_is_a_basic_response_without_a_version(response: Response) -> Iterator[str]:
    if response.status == SUCCESSFUL:
        if response.response_type != _BASIC:
            yield f"responseType {response.response_type} isn't id-pkix-ocsp-basic"
        if response.has_version:
            yield "version v1 is the default, so DER leaves it out"


@rule("6960-16", "RFC 6960 §4.2.1")
def by_key_is_a_sha1(response: Response) -> Iterator[str]:
    tag, content = response.responder
    if tag == 0xA2 and (len(content) != 22 or content[:2] != b"\x04\x14"):
        yield f"responderID byKey has {max(0, len(content) - 2)} octets; a SHA-1 has 20"


@rule("6960-17", "RFC 6960 §4.2.1")
def certs_are_left_out_where_there_are_none(response: Response) -> Iterator[str]:
    if response.certs == ():
        yield "certs is there, and empty"


@rule("6960-18", "RFC 6960 §4.2.2.3")
def it_says_something(response: Response) -> Iterator[str]:
    if response.status == SUCCESSFUL and not response.singles:
        yield "no SingleResponse"


@rule("6960-11", "RFC 6960 §4.1.1")
def hashes_are_as_long_as_their_algorithm_says(response: Response) -> Iterator[str]:
    for single in response.singles:
        wanted = _HASH_SIZES.get(single.hash_oid)
        for name, octets in (("issuerNameHash", single.name_hash), ("issuerKeyHash", single.key_hash)):
            if wanted is not None and len(octets) != wanted:
                yield f"{name} has {len(octets)} octets; {single.hash_oid} makes {wanted}"
        if single.hash_parameters not in (b"", b"\x05\x00"):
            yield "the hash algorithm's parameters are neither NULL nor absent"


@rule("9919-06", "RFC 9919 §3.2.4; RFC 6960 §4.2.2.1")
def times_are_generalized_to_the_second(response: Response) -> Iterator[str]:
    for name, (tag, text) in _times(response):
        if tag != _GENERALIZED_TIME or _moment(text) is None:
            yield f"{name} is {text.decode('ascii', 'replace')!r}; a GeneralizedTime YYYYMMDDHHMMSSZ is wanted"


@rule("9919-06", "RFC 9919 §3.2.4")
def next_update_is_there(response: Response) -> Iterator[str]:
    for single in response.singles:
        if single.next_update is None:
            yield "nextUpdate is absent"


@rule("6960-06", "RFC 6960 §4.2.2.1, §2.4")
def times_follow_each_other(response: Response) -> Iterator[str]:
    produced = _moment(response.produced_at[1])
    for single in response.singles:
        this, until = _moment(single.this_update[1]), single.next_update and _moment(single.next_update[1])
        if this and produced and this > produced:
            yield "thisUpdate is after producedAt"
        if this and until and until <= this:
            yield "nextUpdate isn't after thisUpdate"
        revoked = single.revocation_time and _moment(single.revocation_time[1])
        if revoked and produced and revoked > produced:
            yield "revocationTime is after producedAt"


@rule("5280-09", "RFC 5280 §5.3.1")
def reasons_are_known_and_worth_saying(response: Response) -> Iterator[str]:
    for single in response.singles:
        if single.reason is not None and (not 0 <= single.reason <= 10 or single.reason == 7):
            yield f"revocationReason {single.reason} is no CRLReason"
        if single.reason == 0:
            yield "revocationReason unspecified (0) is left out instead"
        if single.reason == 8:
            yield "revocationReason removeFromCRL (8) is for delta CRLs alone"


@rule("9654-01", "RFC 9654 §2.1")
def a_nonce_is_of_the_response_and_not_long(response: Response) -> Iterator[str]:
    for single in response.singles:
        if any(each.oid == NONCE for each in single.extensions):
            yield "a nonce among singleExtensions"
    for each in response.extensions:
        if each.oid == NONCE and not 1 <= (size := _nonce_size(each.value)) <= 128:
            yield f"a nonce of {size} octets; 1 to 128 are allowed"


def _nonce_size(value: bytes) -> int:
    """Older ones stand in extnValue without an OCTET STRING of their own (RFC 2560)."""
    try:
        ((tag, content, _),) = der.values(value)
    except ValueError:
        return len(value)
    return len(content) if tag == der.OCTET_STRING else len(value)


@rule("6960-04", "RFC 6960 §2.2, §4.4.8")
def extended_revoke_is_of_the_response(response: Response) -> Iterator[str]:
    has_it = any(each.oid == EXTENDED_REVOKE for each in response.extensions)
    for each in response.extensions:
        if each.oid == EXTENDED_REVOKE and (each.value != b"\x05\x00" or each.is_critical):
            yield "extended-revoke is NULL and not critical"
    for single in response.singles:
        if any(each.oid == EXTENDED_REVOKE for each in single.extensions):
            yield "extended-revoke among singleExtensions; it belongs to responseExtensions"
        if single.status == _REVOKED and single.revocation_time and single.revocation_time[1] == _NEVER_ISSUED:
            if not has_it:
                yield "revoked since 1970-01-01, which is for what was never issued, without extended-revoke"
            elif single.reason != 6:
                yield "what was never issued has the reason certificateHold (6)"


@rule("6960-21", "RFC 6960 §4.4.4")
def archive_cutoff_is_a_single_extension_and_a_time(response: Response) -> Iterator[str]:
    if any(each.oid == ARCHIVE_CUTOFF for each in response.extensions):
        yield "archiveCutoff among responseExtensions; it belongs to singleExtensions"
    for each in _single_extensions(response):
        if each.oid == ARCHIVE_CUTOFF and (each.value[:2] != b"\x18\x0f" or _moment(each.value[2:]) is None):
            yield "archiveCutoff isn't a GeneralizedTime YYYYMMDDHHMMSSZ"


@rule("6960-13", "RFC 6960 §4.4; RFC 5280 §4.2")
def no_extension_comes_twice_or_is_critical(response: Response) -> Iterator[str]:
    for name, extensions in (
        ("responseExtensions", response.extensions),
        *(("singleExtensions", single.extensions) for single in response.singles),
    ):
        oids = [each.oid for each in extensions]
        if len(set(oids)) < len(oids):
            yield f"{name} have one extension twice"
        for each in extensions:
            if each.is_critical:
                yield f"{each.oid} among {name} is critical, which the standard advises against"


@rule("6960-25", "RFC 6960 §4.2.1; MRSP §5.1.3")
def it_is_signed_whole_and_not_by_sha1(response: Response) -> Iterator[str]:
    if response.status != SUCCESSFUL:
        return
    if response.signature[:1] != b"\x00" or len(response.signature) < 2:
        yield "the signature is no whole number of octets"
    if any(oid in response.algorithm for oid in _SHA1_SIGNATURES):
        yield "signed with SHA-1"


@rule("9919-04", "RFC 6960 §4.2.2.2, §4.2.2.2.1")
def a_delegate_may_sign_and_is_first(response: Response) -> Iterator[str]:
    if not response.certs:
        return
    try:
        first = read_certificate(response.certs[0])
        usages = first.extended_key_usages or ()
    except (ConfigError, ValueError) as error:
        yield f"the first certificate can't be read: {error}"
        return
    if OCSP_SIGNING not in usages and not _is_of_issuer(first, response):
        yield "the first certificate isn't for OCSP signing, so it is no delegate"


@rule("BR-02", "TLS BR §4.9.9", "br")
def an_interval_is_eight_hours_to_ten_days(response: Response) -> Iterator[str]:
    for single in response.singles:
        this, until = _moment(single.this_update[1]), single.next_update and _moment(single.next_update[1])
        if this and until:
            interval = until - this + timedelta(seconds=1)  # both ends count
            if not timedelta(hours=8) <= interval <= timedelta(days=10):
                yield f"an interval of {interval}; 8 hours to 10 days are allowed, both ends counted"


@rule("BR-05", "TLS BR §4.9.13, §7.2.2", "br")
def reasons_are_those_of_the_br(response: Response) -> Iterator[str]:
    for single in response.singles:
        if single.reason is not None and single.reason not in _BR_REASONS:
            yield f"revocationReason {single.reason}; 1, 3, 4, 5 and 9 are allowed"


@rule("BR-07", "TLS BR §7.3.2", "br")
def no_reason_code_among_extensions(response: Response) -> Iterator[str]:
    if any(each.oid == REASON_CODE for each in _single_extensions(response)):
        yield "reasonCode among singleExtensions"


@rule("6960-25", "TLS BR §7.1.3.2", "br")
def the_algorithm_is_spelled_as_the_br_spell_it(response: Response) -> Iterator[str]:
    if response.status == SUCCESSFUL and response.algorithm not in BASELINE_ALGORITHMS:
        yield f"signatureAlgorithm {response.algorithm.hex()} is none of the BR's, byte for byte"


@rule("9919-04", "RFC 9919 §3.2.2", "br")
def the_responder_is_named_by_its_key(response: Response) -> Iterator[str]:
    if response.responder[0] == 0xA1:
        yield "responderID is byName; byKey is wanted of new responders"


@rule("ETSI-01", "ETSI EN 319 411-2 CSS-6.3.10-08", "etsi")
def an_archive_is_told(response: Response) -> Iterator[str]:
    for single in response.singles:
        if single.status != 0x82 and not any(each.oid == ARCHIVE_CUTOFF for each in single.extensions):
            yield "no archiveCutoff, which should be the CA certificate's notBefore"


def _is_of_issuer(certificate: ParsedCertificate, response: Response) -> bool:
    """Whether it is the CA's that the answers are about, which signs for itself."""
    for single in response.singles:
        if single.hash_oid not in HASHES:
            return False
        parts, name = certificate.parts, HASHES[single.hash_oid]
        if hashlib.new(name, parts.subject, usedforsecurity=False).digest() != single.name_hash:
            return False
        if hashlib.new(name, parts.public_key_bits, usedforsecurity=False).digest() != single.key_hash:
            return False
    return bool(response.singles)


def _times(response: Response) -> Iterator[tuple[str, tuple[int, bytes]]]:
    if response.status == SUCCESSFUL:
        yield "producedAt", response.produced_at
    for single in response.singles:
        yield "thisUpdate", single.this_update
        if single.next_update is not None:
            yield "nextUpdate", single.next_update
        if single.revocation_time is not None:
            yield "revocationTime", single.revocation_time


def _single_extensions(response: Response) -> Iterator[Extension]:
    for single in response.singles:
        yield from single.extensions


def _moment(text: bytes) -> datetime | None:
    if not re.fullmatch(rb"\d{14}Z", text):
        return None
    try:
        return datetime.strptime(text.decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None

"""Responder certificates: issued by the CA's key for keys whose public half is known, and renewed in time."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from responder import der, log
from responder.errors import ConfigError
from responder.interfaces import CASigner, Clock, ResponderCertificateStore
from responder.pki import Issuer, IssuerPolicy, Issuers, ResponderCertificate, SigningProfile, encode_serial
from responder.pki.certificates import (
    BASIC_CONSTRAINTS,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    NOCHECK,
    OCSP_SIGNING,
    SUBJECT_KEY_IDENTIFIER,
)
from responder.troubles import Troubles

_log = log.get("delegates")

_COUNTRY, _ORGANIZATION = bytes.fromhex("0603550406"), bytes.fromhex("060355040a")
_COMMON_NAME = bytes.fromhex("0603550403")
_AUTHORITY_KEY_IDENTIFIER = bytes.fromhex("0603551d23")


def is_renewal_due(not_after: datetime, policy: IssuerPolicy, now: datetime) -> bool:
    """Less than `delegate_renewal` is left, by default validity + 2 days (design §7): answers made now would soon be
    cut short."""
    before = policy.delegate_renewal or policy.validity + timedelta(days=2)
    return not_after - now < before


def issue_responder_certificate(
    issuer: Issuer,
    ca_key: CASigner,
    public_key: bytes,
    *,
    now: datetime,
) -> bytes:
    """A DER delegated responder certificate for this key (DER SubjectPublicKeyInfo), whatever its algorithm.

    Names and keys are copied octet by octet; it lives for the issuer's `delegate_lifetime`.

    Raises:
        ConfigError: the key isn't a SubjectPublicKeyInfo.
        SigningFailed: libcrypto refused.

    Source: BR 7.1.2.8 (BR-08): EKU OCSPSigning only, nocheck, critical keyUsage digitalSignature, AKI, SKI, no SAN, no
    CDP, no AIA; critical basicConstraints with cA FALSE, which BR 7.1.2.8.4 allows and C2PA requires.
    """
    try:
        (_, _, _), (_, key_bits, _) = der.values(der.contents(public_key))
    except ValueError as error:
        raise ConfigError(f"a responder key that isn't a SubjectPublicKeyInfo can't be certified: {error}") from error
    algorithm = ca_key.algorithm_for(issuer)
    not_before = now - timedelta(minutes=5)
    not_after = min(now + issuer.policy.delegate_lifetime, issuer.not_after)
    key_identifier = hashlib.sha1(key_bits[1:], usedforsecurity=False).digest()  # RFC 5280 §4.2.1.2, method 1
    extensions = der.sequence(
        der.extension(_AUTHORITY_KEY_IDENTIFIER, der.sequence(der.der_value(0x80, issuer.key_identifier))),
        der.extension(SUBJECT_KEY_IDENTIFIER, der.der_value(der.OCTET_STRING, key_identifier)),
        der.extension(BASIC_CONSTRAINTS, der.sequence(), critical=True),
        der.extension(KEY_USAGE, b"\x03\x02\x07\x80", critical=True),  # digitalSignature
        der.extension(EXTENDED_KEY_USAGE, der.sequence(OCSP_SIGNING)),
        der.extension(NOCHECK, b"\x05\x00"),
    )
    tbs = der.sequence(
        b"\xa0\x03\x02\x01\x02",  # v3
        der.der_value(der.INTEGER, encode_serial(secrets.randbits(158) | 1 << 158)),
        algorithm,
        issuer.name,
        der.sequence(der.time(not_before), der.time(not_after)),
        _subject(issuer),
        public_key,
        der.der_value(0xA3, extensions),
    )
    signature = ca_key.sign(tbs, algorithm)
    return der.sequence(tbs, algorithm, der.der_value(der.BIT_STRING, b"\x00" + signature))


def _subject(issuer: Issuer) -> bytes:
    """The CA's country and organization as they stand in its name, and a common name of our own."""
    kept = [
        relative
        for _, attributes, relative in der.values(der.contents(issuer.name))
        if any(attribute.startswith((_COUNTRY, _ORGANIZATION)) for _, attribute, _ in der.values(attributes))
    ]
    name = der.der_value(der.UTF8_STRING, f"OCSP responder {issuer.id}"[:64].encode())
    return der.sequence(*kept, der.der_value(der.SET, der.sequence(_COMMON_NAME, name)))


CAKeys = Callable[[bytes], CASigner | None]
"""Finds a CA's key by its public half (DER SubjectPublicKeyInfo)."""

NewKeys = Callable[[Issuer, bytes], bytes | None]
"""Makes a key to follow one (DER SubjectPublicKeyInfo) where that one is kept; None where it is kept elsewhere."""

Profiles = Callable[[Issuer, bytes], SigningProfile]
"""The profile of a responder certificate (DER)."""


def _follow(
    issuer: Issuer, ca_key: CASigner, public_key: bytes, new_key: NewKeys, now: datetime
) -> tuple[bytes | None, bytes]:
    """A new key, where one can be made, and the next certificate. Takes seconds for a large key, or one on a token."""
    following = new_key(issuer, public_key)
    return following, issue_responder_certificate(issuer, ca_key, following or public_key, now=now)


async def renew_responder_certificates(
    store: ResponderCertificateStore,
    *,
    issuers: Issuers,
    ca_key: CAKeys,
    clock: Clock,
    new_key: NewKeys = lambda issuer, public_key: None,
    profile_of: Profiles | None = None,
    troubles: Troubles | None = None,
) -> int:
    """Issue a new certificate for each responder key whose newest ends soon, or for a new key where the old one is at
    hand; how many. What fails for one issuer is tried again later.

    Left alone: a CA that signs itself, a certificate that ends with its CA, and issuers whose CA key isn't here.
    """
    now = clock.now()
    troubles = troubles or Troubles("delegate")
    newest: dict[tuple[str, bytes], ResponderCertificate] = {}
    for row in await store.responder_certificates():
        held = newest.get((row.issuer_id, row.public_key))
        if not row.is_followed and (held is None or held.not_after < row.not_after):
            newest[row.issuer_id, row.public_key] = row
    renewed = 0
    for row in newest.values():
        issuer = issuers.get(row.issuer_id)
        if (
            issuer is None
            or row.certificate == issuer.certificate
            or row.not_after >= issuer.not_after
            or not is_renewal_due(row.not_after, issuer.policy, now)
            or not troubles.may_try(issuer.id)
        ):
            continue
        key = ca_key(issuer.public_key)
        if key is None:
            continue
        with troubles.guarding(issuer.id):
            following, certificate = await asyncio.to_thread(_follow, issuer, key, row.public_key, new_key, now)
            profile = None if profile_of is None else profile_of(issuer, certificate)
            follows = None if following is None else row.public_key
            await store.add_responder_certificate(issuer.id, certificate, profile=profile, follows=follows)
            _log.info("responder_certificate_renewed", issuer=issuer.id, new_key=following is not None)
            renewed += 1
    return renewed

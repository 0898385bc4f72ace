"""Who may sign for an issuer: responder certificates and their keys, checked, with the profiles they sign with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from responder import log
from responder._native import PrivateKey, encode_profile
from responder.der import der_value
from responder.errors import ConfigError, IssuerUnavailable
from responder.pki import BASELINE_ALGORITHMS, RSA_PSS, Current, Issuer, SigningProfile, load_profile, load_public_key
from responder.pki.certificates import (
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    KEY_CERT_SIGN,
    OCSP_SIGNING,
    ParsedCertificate,
    read_certificate,
)
from responder.signing.single_response import response_extensions

_log = log.get("signers")


@dataclass(frozen=True, slots=True)
class Signer:
    """One responder key with its certificate, allowed to sign for one issuer."""

    issuer: Issuer
    key: PrivateKey
    profile: SigningProfile
    not_before: datetime
    not_after: datetime


def make_signer(issuer: Issuer, certificate: bytes, key: PrivateKey) -> Signer:
    """Check that this certificate (DER) may sign for the issuer with this key, and make its profile.

    Raises:
        ConfigError: a sentence for everything that is wrong with it.
    """
    profile, parsed = _make_profile(issuer, certificate, key)
    return Signer(issuer, key, profile, parsed.not_before, parsed.not_after)


def make_profile(issuer: Issuer, certificate: bytes) -> SigningProfile:
    """The profile that whoever has the key of this certificate (DER) signs with for the issuer.

    Raises:
        ConfigError: a sentence for everything that keeps it from signing.
    """
    return _make_profile(issuer, certificate)[0]


def require_usable(certificate: bytes, issuer: Issuer, now: datetime) -> None:
    """Refuse a certificate (DER) that can't sign at this moment: its time hasn't come, or is over.

    Raises:
        ConfigError: it says when it is valid.
    """
    parsed = read_certificate(certificate)
    faults = _outside_its_time(_where(issuer, parsed), parsed, now)
    if faults:
        raise ConfigError(*faults)


def require_ca(issuer: Issuer, now: datetime) -> None:
    """The issuer's certificate is a CA's, and valid at this time.

    Raises:
        ConfigError: it isn't; with what says so.

    Source: RFC 5280 §4.2.1.9, §4.2.1.3.
    """
    faults = []
    where = f"certificate of issuer {issuer.id}"
    parsed = read_certificate(issuer.certificate)  # as make_issuer has done before
    try:
        usage = parsed.key_usage
        if parsed.is_ca is False:
            faults.append(
                f"{where}: its basicConstraints say that it isn't a CA's (cA FALSE); give the CA's certificate"
            )
        elif parsed.is_ca is None and parsed.parts.extensions:
            faults.append(f"{where}: it has no basicConstraints, so it isn't a CA's; give the CA's certificate")
        if usage is not None and not usage & (KEY_CERT_SIGN | CRL_SIGN):
            faults.append(f"{where}: its keyUsage has neither keyCertSign nor cRLSign, so it isn't a CA's")
    except ValueError as error:
        faults.append(f"{where}: {error}")
    faults += _outside_its_time(where, parsed, now)
    if faults:
        raise ConfigError(*faults)


def _outside_its_time(where: str, parsed: ParsedCertificate, now: datetime) -> list[str]:
    if parsed.not_before <= now <= parsed.not_after:
        return []
    return [
        f"{where}: it is valid from {parsed.not_before.isoformat()} to {parsed.not_after.isoformat()}, which isn't now "
        f"({now.isoformat(timespec='seconds')}); give one that is, and look at the clock"
    ]


def _where(issuer: Issuer, parsed: ParsedCertificate) -> str:
    return f"responder certificate of issuer {issuer.id} (serial 0x{parsed.serial_number:x})"


def _make_profile(
    issuer: Issuer, certificate: bytes, key: PrivateKey | None = None
) -> tuple[SigningProfile, ParsedCertificate]:
    """The certificate must be of `key`, where that is given.

    Source: RFC 6960 §4.2.2.2 (delegation), §4.2.1 (ResponderID); BR 7.1.2.8 (BR-08); incident I-8.
    """
    try:
        parsed = read_certificate(certificate)
        subject, spki, key_bits = parsed.parts.subject, parsed.parts.spki, parsed.parts.public_key_bits
        where = _where(issuer, parsed)
        algorithms = (key or load_public_key(spki)).signature_algorithms
        faults = _faults(issuer, parsed, where, is_issuer_itself=certificate == issuer.certificate)
    except ValueError as error:  # what a parser finds in it
        raise ConfigError(f"a responder certificate of issuer {issuer.id} can't be read: {error}") from error
    if key is not None and key.public_key != spki:
        faults.insert(0, f"{where}: it isn't of this key; give the certificate made for the key's CSR")
    if not algorithms:
        faults.append(f"{where}: its key is of a kind or size that nothing here signs with")
    elif issuer.policy.baseline and signature_algorithm_of(issuer, algorithms) not in BASELINE_ALGORITHMS:
        faults.append(f"{where}: the Baseline Requirements don't allow its algorithm (7.1.3.2); take RSA or ECDSA")
    if issuer.policy.baseline and issuer.policy.responder_id_by_name:
        faults.append(f"{where}: responderID is the name, and the Baseline Requirements want the key (RFC 9919 §3.2.2)")
    if faults:
        raise ConfigError(*faults)
    responder_id = (
        der_value(0xA1, subject)
        if issuer.policy.responder_id_by_name
        # byKey is SHA-1 whatever the CertID's hash (requirement 6960-16).
        else der_value(0xA2, der_value(0x04, hashlib.sha1(key_bits, usedforsecurity=False).digest()))
    )
    profile = load_profile(
        encode_profile(
            issuer_tag=issuer.tag,
            cert_id_hashes=issuer.cert_id_hashes,
            signature_algorithm=signature_algorithm_of(issuer, algorithms),
            responder_id=responder_id,
            certificates=[] if certificate == issuer.certificate else [certificate],
            response_extensions=response_extensions(issuer.policy),
            generation=issuer.policy.generation,
        )
    )
    return profile, parsed


def _faults(issuer: Issuer, parsed: ParsedCertificate, where: str, *, is_issuer_itself: bool) -> list[str]:
    """Everything that keeps a certificate from signing for the issuer."""
    faults: list[str] = []
    signs = parsed.key_usage is None or parsed.key_usage & DIGITAL_SIGNATURE
    if not signs and is_issuer_itself and not issuer.policy.baseline:
        _log.warning("ca_without_digital_signature_signs_answers", issuer=issuer.id)
    elif not signs:
        rule = "BR 7.1.2.10.7" if is_issuer_itself else "RFC 5280 §4.2.1.3, BR 7.1.2.8"
        faults.append(f"{where}: its keyUsage has no digitalSignature, so it may not sign answers ({rule})")
    if is_issuer_itself:
        return faults
    if not parsed.was_issued_by(issuer.name, issuer.public_key):
        faults.append(f"{where}: it wasn't issued directly by {issuer.id}; a delegate must be (RFC 6960 §4.2.2.2)")
    if parsed.extended_key_usages != (OCSP_SIGNING,):
        faults.append(f"{where}: its extendedKeyUsage must be OCSPSigning and nothing else")
    if parsed.is_ca:
        faults.append(f"{where}: its basicConstraints say that it is a CA; a CA must not be a delegated responder")
    if not parsed.has_nocheck:
        if issuer.policy.baseline:
            faults.append(f"{where}: it has no id-pkix-ocsp-nocheck, which the Baseline Requirements want (7.1.2.8)")
        else:
            _log.warning("responder_certificate_without_nocheck", issuer=issuer.id, serial=hex(parsed.serial_number))
    return faults


def signature_algorithm_of(issuer: Issuer, algorithms: Sequence[bytes]) -> bytes:
    """Which of a key's algorithms signs for this issuer: its own, or PSS where that was chosen and the key is RSA."""
    return RSA_PSS if issuer.policy.rsa_pss and RSA_PSS in algorithms else algorithms[0]


class Signers:
    """A view of the snapshot's signers: those of this process, at most one in use for each issuer."""

    def __init__(self, signers: Iterable[Signer] = (), *, current: Current | None = None) -> None:
        """Without `current`, a snapshot of its own."""
        self._current = current or Current()
        if signers:
            self.replace(signers)

    def replace(self, signers: Iterable[Signer]) -> None:
        """Take exactly these from now on; the rest of the snapshot stays."""
        self._current.snapshot = self._current.snapshot.with_signers(signers)

    def _of(self, issuer: Issuer) -> tuple[Signer, ...]:
        return self._current.snapshot.signers.get(issuer.id, ())

    def for_issuer(self, issuer: Issuer, now: datetime, signature_algorithm: bytes | None = None) -> Signer:
        """The signer to use at this moment, or the one for an algorithm that `algorithms` has.

        Raises:
            IssuerUnavailable: none here, or none valid now.
        """
        for signer in self._of(issuer):
            if signer.not_before <= now < signer.not_after and signature_algorithm in {
                None,
                signer.profile.signature_algorithm,
            }:
                return signer
        raise IssuerUnavailable(f"no valid responder key and certificate for issuer {issuer.id} on this host")

    def algorithms(self, issuer: Issuer, now: datetime) -> list[bytes]:
        """See `SignatureAlgorithms`."""
        return [
            signer.profile.signature_algorithm
            for signer in self._of(issuer)
            if signer.not_before <= now < signer.not_after
        ]

    def __iter__(self) -> Iterator[Signer]:
        return (signer for signers in self._current.snapshot.signers.values() for signer in signers)


class Profiles:
    """A view of the snapshot's signing profiles."""

    def __init__(self, profiles: Iterable[SigningProfile] = (), *, current: Current | None = None) -> None:
        """Without `current`, a snapshot of its own."""
        self._current = current or Current()
        if profiles:
            self.replace(profiles)

    def replace(self, profiles: Iterable[SigningProfile]) -> None:
        """Take exactly these from now on; the rest of the snapshot stays."""
        self._current.snapshot = self._current.snapshot.with_profiles({profile.id: profile for profile in profiles})

    def get(self, profile_id: bytes) -> SigningProfile | None:
        """The profile, or None: unknown here, or retired."""
        return self._current.snapshot.profiles.get(profile_id)

"""Responder certificates: issued by the CA's key for keys whose public half is known, and renewed in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from responder import log
from responder.errors import ConfigError
from responder.interfaces import Clock, ResponderCertificateStore
from responder.pki import Issuer, IssuerPolicy, Issuers, ResponderCertificate

_log = log.get("delegates")

LIFETIME = timedelta(days=30)
"""Delegates are short-lived, since nocheck means that they can't be revoked (6960-09)."""


def is_renewal_due(not_after: datetime, policy: IssuerPolicy, now: datetime) -> bool:
    """Less than validity + 2 days is left (design §7): answers made now would soon be cut short."""
    return not_after - now < policy.validity + timedelta(days=2)


def issue_responder_certificate(
    issuer: Issuer,
    ca_key: CertificateIssuerPrivateKeyTypes,
    public_key: bytes,
    *,
    now: datetime,
    lifetime: timedelta = LIFETIME,
) -> bytes:
    """A DER delegated responder certificate for this key (DER SubjectPublicKeyInfo).

    Source: BR 7.1.2.8 (BR-08): EKU OCSPSigning only, nocheck, critical keyUsage digitalSignature, AKI, SKI, no SAN,
    no CDP, no AIA, no basicConstraints.
    """
    ca = x509.load_der_x509_certificate(issuer.certificate)
    key = serialization.load_der_public_key(public_key)
    if not isinstance(key, _CERTIFIED):
        raise ConfigError(f"a responder key of type {type(key).__name__} can't be certified; use ECDSA, RSA or EdDSA")
    organization = [
        attribute for attribute in ca.subject if attribute.oid in {NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME}
    ]
    subject = x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, f"OCSP responder {issuer.id}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(min(now + lifetime, issuer.not_after))
        .add_extension(x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(ca_key, _hash_for(ca_key), rsa_padding=_padding_for(issuer, ca_key))
    )
    return certificate.public_bytes(serialization.Encoding.DER)


_CERTIFIED = (
    ec.EllipticCurvePublicKey,
    rsa.RSAPublicKey,
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
)


def _hash_for(ca_key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """What the CA's key signs certificates with, as BR 7.1.3.2 has it; None where the algorithm hashes for itself."""
    if isinstance(ca_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    if isinstance(ca_key, ec.EllipticCurvePrivateKey) and ca_key.curve.key_size > 256:
        return hashes.SHA384() if ca_key.curve.key_size == 384 else hashes.SHA512()
    return hashes.SHA256()


def _padding_for(issuer: Issuer, ca_key: CertificateIssuerPrivateKeyTypes) -> padding.PSS | None:
    if issuer.policy.rsa_pss and isinstance(ca_key, rsa.RSAPrivateKey):
        return padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    return None


CAKeys = Callable[[bytes], CertificateIssuerPrivateKeyTypes | None]
"""Finds a CA's key by its public half (DER SubjectPublicKeyInfo)."""


async def renew_responder_certificates(
    store: ResponderCertificateStore, *, issuers: Issuers, ca_key: CAKeys, clock: Clock
) -> int:
    """Issue a new certificate for each responder key whose newest one ends soon; how many.

    Left alone: a CA that signs itself, a certificate that ends with its CA, and issuers whose CA key isn't here.
    """
    now = clock.now()
    newest: dict[tuple[str, bytes], ResponderCertificate] = {}
    for row in await store.responder_certificates():
        held = newest.get((row.issuer_id, row.public_key))
        if held is None or held.not_after < row.not_after:
            newest[row.issuer_id, row.public_key] = row
    renewed = 0
    for row in newest.values():
        issuer = issuers.get(row.issuer_id)
        if (
            issuer is None
            or row.certificate == issuer.certificate
            or row.not_after >= issuer.not_after
            or not is_renewal_due(row.not_after, issuer.policy, now)
        ):
            continue
        key = ca_key(issuer.public_key)
        if key is None:
            continue
        certificate = issue_responder_certificate(issuer, key, row.public_key, now=now)
        try:
            await store.add_responder_certificate(issuer.id, certificate)
        except ConfigError as error:  # its key was retired since the list was read
            _log.warning("responder_certificate_not_renewed", issuer=issuer.id, error=str(error))
            continue
        _log.info("responder_certificate_renewed", issuer=issuer.id)
        renewed += 1
    return renewed

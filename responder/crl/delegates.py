"""Responder certificates: issued by the CA's key for keys whose public half is known, and renewed in time."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from responder.errors import ConfigError
from responder.pki import Issuer, IssuerPolicy

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
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ConfigError(f"a responder key of type {type(key).__name__} can't be certified; use P-256 or RSA")
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
        .sign(ca_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)

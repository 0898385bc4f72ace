"""Two throw-away CAs and their certificates, made once per state directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from responder.operations.issuers import NewIssuer, add_issuer
from responder.operations.signers import KeyFolders
from responder.pki import CRLReason, IssuedCertificate, Issuer, IssuerPolicy, RevokedInfo, make_issuer
from responder.roles.stores import Stores

Progress = Callable[[int], None]
CAKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ISSUERS = {"demo-ec": "ECDSA P-256", "demo-rsa": "RSA 2048"}
MIN_CERTIFICATES = 40
UNISSUED = 5
_REASONS = (
    CRLReason.keyCompromise,
    CRLReason.superseded,
    None,
    CRLReason.cessationOfOperation,
    CRLReason.affiliationChanged,
    CRLReason.privilegeWithdrawn,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies below the state directory."""

    root: Path

    @property
    def keys(self) -> Path:
        """Responder keys; CA keys in `ca` below it."""
        return self.root / "keys"

    @property
    def complete(self) -> Path:
        """Written last: with it, the data is whole and is used again."""
        return self.root / "made.json"

    def issuer(self, issuer_id: str) -> Path:
        """The folder of one CA: `ca.pem`, `certificates/`, `unissued/`."""
        return self.root / "issuers" / issuer_id


async def make_data(
    stores: Stores, layout: Layout, *, certificates: int, base_url: str, now: datetime, progress: Progress
) -> None:
    """Make CAs, responder certificates and `certificates` certificates, and register them. Starts over what a kill
    left half done."""
    for folder in (layout.root / "issuers", layout.keys):
        shutil.rmtree(folder, ignore_errors=True)
    for issuer_id in ISSUERS:
        await stores.issuer_store.remove(issuer_id)
    layout.keys.mkdir(mode=0o700)
    (layout.keys / "ca").mkdir(mode=0o700)
    share = certificates // len(ISSUERS)
    for index, issuer_id in enumerate(ISSUERS):
        count = share if index else certificates - share * (len(ISSUERS) - 1)
        await _make_issuer(stores, layout, issuer_id, count=count, base_url=base_url, now=now, progress=progress)
    write_private(layout.complete, json.dumps({"certificates": certificates, "made_at": now.isoformat()}).encode())


async def _make_issuer(
    stores: Stores, layout: Layout, issuer_id: str, *, count: int, base_url: str, now: datetime, progress: Progress
) -> None:
    folder = layout.issuer(issuer_id)
    (folder / "certificates").mkdir(parents=True)
    (folder / "unissued").mkdir()
    ca_key = _new_key(issuer_id)
    ca = _make_ca(issuer_id, ca_key, now)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    write_private(layout.keys / "ca" / f"{issuer_id}.pem", _pem(ca_key))
    policy = IssuerPolicy(crl_delay=timedelta(seconds=1))
    issuer = make_issuer(issuer_id, ca.public_bytes(serialization.Encoding.DER), policy)
    kind = "rsa-2048" if isinstance(ca_key, rsa.RSAPrivateKey) else "ecdsa-p256"
    await add_issuer(
        stores.issuer_store,
        NewIssuer(issuer, signer=None, ca_key=None, algorithm=kind, start_crls=True),
        folders=KeyFolders(layout.keys, layout.keys / "ca"),
        now=now,
        actor="demo",
    )

    # One subscriber key for all: what is asked about is the serial number.
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    issued = []
    for index in range(count + UNISSUED):
        certificate = _make_certificate(issuer, ca, ca_key, public_key, index, base_url=base_url, now=now)
        is_issued = index < count
        name = "certificates" if is_issued else "unissued"
        path = folder / name / f"{certificate.serial_number:x}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if is_issued:
            issued.append(
                IssuedCertificate(
                    serial_number=certificate.serial_number,
                    revoked_info=_revocation(index, count, now),
                    not_before=certificate.not_valid_before_utc,
                    not_after=certificate.not_valid_after_utc,
                    certificate_sha256=certificate.fingerprint(hashes.SHA256()),
                )
            )
            progress(1)
    await stores.certificates.register(issuer, issued, actor="demo")


def _revocation(index: int, count: int, now: datetime) -> RevokedInfo | None:
    """One in ten is revoked, one in twenty on hold; at least 5 of each."""
    revoked = max(5, count // 10)
    held = max(5, count // 20)
    revoked_at = now - timedelta(hours=1 + index % 500)
    if index < revoked:
        return RevokedInfo(revoked_at, _REASONS[index % len(_REASONS)])
    if index < revoked + held:
        return RevokedInfo(revoked_at, CRLReason.certificateHold)
    return None


def _new_key(issuer_id: str) -> CAKey:
    if ISSUERS[issuer_id].startswith("RSA"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _make_ca(issuer_id: str, key: CAKey, now: datetime) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "certstatus demo, not for production"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Demo CA {ISSUERS[issuer_id]}"),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_certificate(
    issuer: Issuer,
    ca: x509.Certificate,
    ca_key: CAKey,
    public_key: ec.EllipticCurvePublicKey,
    index: int,
    *,
    base_url: str,
    now: datetime,
) -> x509.Certificate:
    ocsp = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{base_url}/ocsp")
    )
    crl = x509.DistributionPoint([x509.UniformResourceIdentifier(f"{base_url}/crl/{issuer.id}.crl")], None, None, None)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"host-{index}.example")]))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=25))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), critical=False)
        .add_extension(x509.AuthorityInformationAccess([ocsp]), critical=False)
        .add_extension(x509.CRLDistributionPoints([crl]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _pem(key: CAKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; whole or not at all (by rename)."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.replace(path)

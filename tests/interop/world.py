"""CAs of several algorithms, certificates of every status, and a running site that answers for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.commandline import Site, open_migrated_site
from tests.makers import Key, digest_of, name, new_key, pem

GOOD, UNISSUED, STRANGER = "good", "never issued", "unknown issuer"
REVOKED = "revoked"
REASONS = {
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}
STATUSES = (GOOD, REVOKED, *REASONS, UNISSUED, STRANGER)
"""Of certificates: what was decided of each, a revoked one by its reason."""

LISTED = tuple(status for status in STATUSES if status != STRANGER)
"""Those of which a CRL says something, if only by not naming them."""

_IN_AN_INDEX = {"cACompromise": "CACompromise", "privilegeWithdrawn": None, "aACompromise": None}


@dataclass(frozen=True)
class Kind:
    """An issuer: its CA's key, what its answers are signed with, and how."""

    ca_key: str
    responder: str | None
    """None: the CA's own key."""
    policy: tuple[str, ...] = ()


KINDS = {
    "P-256": Kind("ec", "ecdsa-p256"),
    "P-256, the CA itself": Kind("ec", None),
    "P-384": Kind("p384", "ecdsa-p384"),
    "RSA-2048": Kind("rsa", "rsa-2048"),
    "RSASSA-PSS": Kind("rsa", "rsa-2048", ("rsa_pss=true",)),
    "Ed25519": Kind("ed25519", "ed25519"),
}


@dataclass(frozen=True)
class Issuer:
    """What judges need of it: files, and the same read."""

    kind: str
    id: str
    folder: Path
    certificate: x509.Certificate
    leaves: dict[str, x509.Certificate]

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def leaf(self, status: str) -> Path:
        return self.folder / f"{status}.pem"


@dataclass(frozen=True)
class World:
    """The running site."""

    site: Site
    issuers: dict[str, Issuer]

    @property
    def ocsp(self) -> str:
        return f"{self.site.url}/ocsp"


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """In an empty folder."""
    (folder / "site").mkdir()
    with open_migrated_site(folder / "site") as site:
        with (site.folder / "certstatus.toml").open("a") as configuration:
            configuration.write('[limits]\nexempt = ["127.0.0.0/8"]\n')  # judges ask a thousand times a minute
        stranger = _Maker(site, folder, "stranger", "ec")
        issuers = {}
        for number, (kind, wanted) in enumerate(KINDS.items()):
            maker = _Maker(site, folder, f"issuer-{number}", wanted.ca_key)
            issuers[kind] = maker.make(kind, stranger)
            _answer_for(site, issuers[kind], wanted)
        with site.running():
            for issuer in issuers.values():
                site.fetch_crl(issuer.id)
            yield World(site, issuers)


class _Maker:
    """A CA and its certificates."""

    def __init__(self, site: Site, folder: Path, issuer_id: str, ca_key: str) -> None:
        self.id, self.folder, self._site = issuer_id, folder / issuer_id, site
        self.folder.mkdir()
        self._key = new_key(ca_key)
        self._serials = count(0x1000)
        self.certificate = self._issue(f"CA {issuer_id}", self._key, is_ca=True)
        self._write("ca.pem", self.certificate)
        (self.folder / "ca.key").touch(mode=0o600)
        (self.folder / "ca.key").write_bytes(pem(self._key))

    def make(self, kind: str, stranger: _Maker) -> Issuer:
        key = new_key("ec")
        leaves = {status: self.leaf(status, key) for status in STATUSES if status != STRANGER}
        leaves[STRANGER] = stranger.leaf(STRANGER, key)
        for status, leaf in leaves.items():
            self._write(f"{status}.pem", leaf)
        (self.folder / "leaf.key").write_bytes(pem(key))  # of all of them
        self._write("stranger.pem", stranger.certificate)
        return Issuer(kind, self.id, self.folder, self.certificate, leaves)

    def leaf(self, status: str, key: Key) -> x509.Certificate:
        return self._issue(status, key, is_ca=False)

    def _issue(self, subject: str, key: Key, *, is_ca: bool) -> x509.Certificate:
        now = datetime.now(UTC).replace(microsecond=0)
        issuer = name(subject) if is_ca else self.certificate.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(next(self._serials))
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, is_ca, is_ca, False, False),
                critical=True,
            )
        )
        if is_ca:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        else:
            where = x509.UniformResourceIdentifier(f"{self._site.url}/ocsp")
            crl = x509.UniformResourceIdentifier(f"{self._site.url}/crl/{self.id}.crl")
            extensions: list[x509.ExtensionType] = [
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                x509.SubjectAlternativeName([x509.DNSName("localhost")]),
                x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)]),
                x509.CRLDistributionPoints([x509.DistributionPoint([crl], None, None, None)]),
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
            ]
            for extension in extensions:
                builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, digest_of(self._key))

    def _write(self, file: str, certificate: x509.Certificate) -> None:
        (self.folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _answer_for(site: Site, issuer: Issuer, wanted: Kind) -> None:
    key, certificate = str(issuer.folder / "ca.key"), str(issuer.file)
    signer = (
        ("--responder-key", key, "--responder-certificate", certificate)
        if wanted.responder is None
        else ("--algorithm", wanted.responder)
    )
    site.succeed("issuer", "add", "--id", issuer.id, "--certificate", certificate, "--ca-key", key, *signer)
    if wanted.policy:
        site.succeed("issuer", "set", issuer.id, *wanted.policy)
    index = issuer.folder / "index.txt"
    index.write_text("".join(_line(issuer, status) for status in STATUSES if status not in (UNISSUED, STRANGER)))
    site.succeed("import", "openssl-index", str(index), "--issuer", issuer.id)
    for status, in_an_index in _IN_AN_INDEX.items():
        if in_an_index is None:
            serial = hex(issuer.leaves[status].serial_number)
            site.succeed("revoke", "--issuer", issuer.id, serial, "--reason", status)


def _line(issuer: Issuer, status: str) -> str:
    leaf = issuer.leaves[status]
    ends = leaf.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
    revoked = (datetime.now(UTC) - timedelta(hours=1)).strftime("%y%m%d%H%M%SZ")
    in_an_index = _IN_AN_INDEX.get(status, status)
    if status == GOOD or in_an_index is None:
        state, when = "V", ""
    else:
        state, when = "R", revoked if status == REVOKED else f"{revoked},{in_an_index}"
    return f"{state}\t{ends}\t{when}\t{leaf.serial_number:X}\tunknown\t/CN={status}\n"


HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}

"""ML-DSA (FIPS 204; RFC 9881) from the key file to the answer, judged by pyca on a libcrypto of its own.

The servers run on the libcrypto 3.5 that the wheel of psycopg2-binary brings, since Debian 12's is older: the native
core takes whichever libcrypto 3.x is there.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.x509 import ocsp

from responder.errors import ConfigError
from responder.signing.key_files import KINDS, make_key_file
from responder.signing.keys import load_key
from tests.commandline import Site, open_migrated_site
from tests.makers import name

MAKERS: dict[str, Any] = {
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
SIGNATURE_OCTETS = {"ml-dsa-44": 2420, "ml-dsa-65": 3309, "ml-dsa-87": 4627}
IDENTIFIERS = {
    "ml-dsa-44": "2.16.840.1.101.3.4.3.17",
    "ml-dsa-65": "2.16.840.1.101.3.4.3.18",
    "ml-dsa-87": "2.16.840.1.101.3.4.3.19",
}
GOOD, REVOKED = 0x1001, 0x1002


@dataclass(frozen=True)
class CA:
    """A CA with an ML-DSA key, and certificates that it has issued."""

    folder: Path
    certificate: x509.Certificate
    leaves: dict[int, x509.Certificate]


def issue(key: Any, subject: str, issuer: str, serial_number: int, public_key: Any) -> x509.Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    is_ca = subject == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(public_key)
        .serial_number(serial_number)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=300))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if is_ca:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    return builder.sign(key, None)


def make_ca(folder: Path, kind: str) -> CA:
    key = MAKERS[kind]()
    certificate = issue(key, f"CA of {kind}", f"CA of {kind}", 1, key.public_key())
    leaves = {serial: issue(key, "leaf", f"CA of {kind}", serial, key.public_key()) for serial in (GOOD, REVOKED)}
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    for serial, leaf in leaves.items():
        (folder / f"{serial:x}.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "ca.key").touch(mode=0o600)
    (folder / "ca.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return CA(folder, certificate, leaves)


@pytest.fixture(scope="module")
def newer_libcrypto(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which programs take libcrypto 3.5."""
    folder = tmp_path_factory.mktemp("libcrypto")
    for library in ("libcrypto", "libssl"):
        (found,) = (each for each in files("psycopg2-binary") or () if each.name.startswith(f"{library}-"))
        (folder / f"{library}.so.3").symlink_to(Path(str(found.locate())).resolve())
    return {"LD_LIBRARY_PATH": str(folder)}


@pytest.fixture(scope="module")
def cas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CA]:
    return {kind: make_ca(tmp_path_factory.mktemp(kind), kind) for kind in MAKERS}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, newer_libcrypto: dict[str, str], cas: dict[str, CA]
) -> Iterator[Site]:
    """Answers for an issuer of each kind, each with a delegate of the same kind."""
    with open_migrated_site(tmp_path_factory.mktemp("site")) as opened:
        opened.environment = newer_libcrypto
        for kind, ca in cas.items():
            key, certificate = str(ca.folder / "ca.key"), str(ca.folder / "ca.pem")
            said = opened.succeed(
                "issuer",
                "add",
                "--id",
                kind,
                "--certificate",
                certificate,
                "--ca-key",
                key,
                "--algorithm",
                kind,
                "--no-crl",
            )
            assert "charging stations" in said
            assert ("Apache httpd" in said) == (kind == "ml-dsa-87")
        with opened.running():
            opened.succeed(
                "register", *(str(ca.folder / f"{serial:x}.pem") for ca in cas.values() for serial in ca.leaves)
            )
            for kind in cas:
                opened.succeed("revoke", "--issuer", kind, f"{REVOKED:#x}", "--reason", "keyCompromise")
            yield opened


def ask(site: Site, ca: CA, serial: int, digest: hashes.HashAlgorithm, *, nonce: bytes | None, get: bool) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(ca.leaves[serial], ca.certificate, digest)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    request = builder.build().public_bytes(serialization.Encoding.DER)
    if get:
        answer = httpx.get(f"{site.url}/ocsp/{base64.b64encode(request).decode()}", trust_env=False)
    else:
        answer = httpx.post(
            f"{site.url}/ocsp", content=request, headers={"Content-Type": "application/ocsp-request"}, trust_env=False
        )
    assert answer.status_code == 200
    return answer.content


@pytest.mark.parametrize("get", [True, False])
@pytest.mark.parametrize("nonce", [None, b"n" * 32])
@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])
@pytest.mark.parametrize("kind", MAKERS)
def test_answers_verify_at_pyca(
    site: Site, cas: dict[str, CA], kind: str, digest: hashes.HashAlgorithm, nonce: bytes | None, get: bool
) -> None:
    ca = cas[kind]
    for serial, expected in ((GOOD, ocsp.OCSPCertStatus.GOOD), (REVOKED, ocsp.OCSPCertStatus.REVOKED)):
        response = ocsp.load_der_ocsp_response(ask(site, ca, serial, digest, nonce=nonce, get=get))
        assert (response.serial_number, response.certificate_status) == (serial, expected)
        assert response.signature_algorithm_oid.dotted_string == IDENTIFIERS[kind]
        assert len(response.signature) == SIGNATURE_OCTETS[kind]
        (delegate,) = response.certificates
        delegate.verify_directly_issued_by(ca.certificate)
        public_key: Any = delegate.public_key()
        public_key.verify(response.signature, response.tbs_response_bytes)
        if nonce is not None:
            assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


@pytest.mark.parametrize("kind", MAKERS)
def test_the_crl_verifies_at_pyca(site: Site, cas: dict[str, CA], kind: str) -> None:
    crl = site.fetch_crl(kind)
    public_key: Any = cas[kind].certificate.public_key()
    assert crl.signature_algorithm_oid.dotted_string == IDENTIFIERS[kind]
    public_key.verify(crl.signature, crl.tbs_certlist_bytes)


def test_our_own_client_verifies_and_lints_them(site: Site, cas: dict[str, CA], tmp_path: Path) -> None:
    for (kind, ca), serial, code in zip(cas.items(), (GOOD, REVOKED, GOOD), (0, 4, 0), strict=True):
        leaf, issuer = str(ca.folder / f"{serial:x}.pem"), str(ca.folder / "ca.pem")
        kept = str(tmp_path / f"{kind}.der")
        done = site.command("query", leaf, "--issuer", issuer, "--url", f"{site.url}/ocsp", "--save", kept)
        assert done.returncode == code, done.stdout + done.stderr
        assert f"({kind})" in done.stdout.lower()
    site.succeed("lint", "--profile", "rfc", *(str(tmp_path / f"{kind}.der") for kind in cas))


def test_an_older_libcrypto_says_what_is_missing(cas: dict[str, CA], tmp_path: Path) -> None:
    """Debian 12's is; where the system's has ML-DSA, it is taken."""
    key_file = cas["ml-dsa-65"].folder / "ca.key"
    if "ml-dsa-65" in KINDS:
        assert load_key(key_file).name == "ml-dsa-65"
        return
    with pytest.raises(ConfigError, match=r"'ml-dsa-65' can't be made here; .*; ML-DSA needs OpenSSL 3\.5 or later"):
        make_key_file(tmp_path, "made.pem", "ml-dsa-65")
    with pytest.raises(ConfigError, match=r"ML-DSA where libcrypto has it \(3\.5 and later\)"):
        load_key(key_file)

"""Files as the world makes them, through the command line to answers that openssl takes; and any file at all, to a
sentence."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from responder.cli.files import certificate_in
from responder.errors import ConfigError, ImportRejected
from responder.formats.crl import read_crl
from responder.formats.openssl_index import parse
from responder.pki import make_issuer
from responder.signing.keys import load_key
from responder.signing.signers import make_signer, require_ca, require_usable
from tests import der
from tests.commandline import Site, open_site
from tests.formats.test_crl_file import write as write_crl
from tests.makers import make_ca, make_leaf, make_responder, make_test_issuer, native, new_key, pem
from tests.test_certificates import CA_NAME, COMMON_NAME, ECDSA_SHA256, PRINTABLE, TELETEX, UTF8, certificate, name

IS_CA = der.sequence(bytes.fromhex("0603551d13"), der.TRUE, der.octet_string(der.sequence(der.TRUE)))
SHA384 = der.sequence(bytes.fromhex("06082a8648ce3d040303"))


def years(first: bytes, last: bytes) -> bytes:
    return der.sequence(der.tlv(0x17, first + b"0101000000Z"), der.tlv(0x17, last + b"0101000000Z"))


@dataclass
class Odd:
    """A CA certificate that a strict parser refuses, or that is new to somebody, and how it is made."""

    subject: bytes
    kind: str = "ec"
    algorithm: bytes = der.sequence(ECDSA_SHA256)
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    extensions: bytes = IS_CA
    openssl_reads_it: bool = True

    def sign(self, key: Any, text: bytes) -> bytes:
        signature: bytes = key.sign(text, ec.ECDSA(self.digest))
        return signature


ODD = {
    "printable": Odd(name((COMMON_NAME, PRINTABLE, b"R & D @ Example * _"))),
    "teletex": Odd(name((COMMON_NAME, TELETEX, "Zürich".encode("latin-1")))),
    "latin-1": Odd(name((COMMON_NAME, UTF8, "Zürich".encode("latin-1"))), openssl_reads_it=False),
    "critical-false": Odd(
        name((COMMON_NAME, UTF8, b"critical FALSE")),
        extensions=IS_CA
        + der.sequence(bytes.fromhex("0603551d0e"), der.FALSE, der.octet_string(der.octet_string(b"identifier"))),
    ),
    "null-parameters": Odd(name((COMMON_NAME, UTF8, b"NULL")), algorithm=der.sequence(ECDSA_SHA256, der.NULL)),
    "brainpool256": Odd(name((COMMON_NAME, UTF8, b"Brainpool 256")), kind="bp256"),
    "brainpool384": Odd(
        name((COMMON_NAME, UTF8, b"Brainpool 384")), kind="bp384", algorithm=SHA384, digest=hashes.SHA384()
    ),
}


def to_pem(path: Path, octets: bytes) -> Path:
    text = base64.encodebytes(octets)
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n")
    return path


def write_key(path: Path, key: Any) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(pem(key))
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        opened.succeed("db", "migrate")
        yield opened


def test_certificates_as_the_world_makes_them_are_answered_for(site: Site, tmp_path: Path) -> None:
    (tmp_path / "index.txt").write_text(
        "V\t391231000000Z\t\t0A\tunknown\t/CN=a\nR\t391231000000Z\t260101000000Z\t0B\tunknown\t/CN=b\n"
    )
    for case, odd in ODD.items():
        key = new_key(odd.kind)
        made = certificate(
            odd.subject,
            key,
            algorithm=odd.algorithm,
            sign=odd.sign,
            extensions=odd.extensions,
            validity=years(b"25", b"45"),
        )
        path, key_path = to_pem(tmp_path / f"{case}.pem", made), write_key(tmp_path / f"{case}.key", key)
        site.succeed("issuer", "add", "--id", case, "--certificate", str(path), "--ca-key", str(key_path))
        site.succeed("import", "openssl-index", str(tmp_path / "index.txt"), "--issuer", case)
    with site.running():
        for case, odd in ODD.items():
            certificate_path = str(tmp_path / f"{case}.pem")
            for serial, status in (("0x0A", "good"), ("0x0B", "revoked")):
                if odd.openssl_reads_it:
                    assert ask(certificate_path, serial, f"{site.url}/ocsp") == status, case
                answer = httpx.get(f"{site.url}/.well-known/pki/ocsp/{case}/{serial[2:]}", trust_env=False)
                assert b"\x0a\x01\x00" in answer.content[:8], case  # successful
                assert odd.subject in answer.content, "in the responder's certificate"

            octets = site.fetch_crl_octets(case)
            assert odd.subject in octets, "byte for byte"
            if not odd.openssl_reads_it:
                continue
            (tmp_path / "it.crl").write_bytes(octets)
            done = subprocess.run(
                ["openssl", "crl", "-inform", "DER", "-in", str(tmp_path / "it.crl"), "-noout",
                 "-CAfile", certificate_path],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert "verify OK" in done.stdout + done.stderr, case


def ask(issuer: str, serial: str, url: str) -> str:
    done = subprocess.run(
        ["openssl", "ocsp", "-issuer", issuer, "-serial", serial, "-url", url, "-CAfile", issuer, "-timeout", "20"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Response verify OK" in done.stderr, done.stderr
    return done.stdout.partition(": ")[2].split()[0]


def refusal(site: Site, *arguments: str) -> str:
    before = sorted((site.folder / "keys").rglob("*"))
    done = site.command(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert sorted((site.folder / "keys").rglob("*")) == before, "nothing is copied"
    return done.stderr


CAS_THAT_ARE_NONE = {
    "an empty subject": (certificate(b"\x30\x00", new_key("ec")), "the subject of the certificate is empty"),
    "cA FALSE": (
        certificate(CA_NAME, new_key("ec"), extensions=der.extension(bytes.fromhex("0603551d13"), der.sequence())),
        "its basicConstraints say that it isn't a CA's",
    ),
    "no keyCertSign": (
        certificate(
            CA_NAME,
            new_key("ec"),
            extensions=IS_CA + der.extension(bytes.fromhex("0603551d0f"), der.tlv(der.BIT_STRING, b"\x07\x80")),
        ),
        "neither keyCertSign nor cRLSign",
    ),
    "damaged basicConstraints": (
        certificate(CA_NAME, new_key("ec"), extensions=der.extension(bytes.fromhex("0603551d13"), b"\x05\x00")),
        "basicConstraints isn't what it should be",
    ),
    "expired": (
        certificate(CA_NAME, new_key("ec"), validity=years(b"20", b"21")),
        "which isn't now",
    ),
    "not yet valid": (
        certificate(CA_NAME, new_key("ec"), validity=years(b"48", b"49")),
        "which isn't now",
    ),
    "no certificate": (b"\x30\x03\x02\x01\x01", "not a certificate"),
}  # fmt: skip


@pytest.mark.parametrize("case", CAS_THAT_ARE_NONE)
def test_what_is_no_ca_is_refused_by_the_field_that_says_so(site: Site, tmp_path: Path, case: str) -> None:
    octets, sentence = CAS_THAT_ARE_NONE[case]
    path, key = to_pem(tmp_path / "ca.pem", octets), write_key(tmp_path / "ca.key", new_key("ec"))
    assert sentence in refusal(site, "issuer", "add", "--id", "x", "--certificate", str(path), "--ca-key", str(key))


@pytest.mark.parametrize("issuer_id", ["", "../x", "../../esc", "RT_x", "bad id", "a" * 65, "ä"])
def test_an_id_is_checked_before_it_stands_in_a_path(site: Site, tmp_path: Path, issuer_id: str) -> None:
    path, key = to_pem(tmp_path / "ca.pem", make_ca("ec").der), write_key(tmp_path / "ca.key", new_key("ec"))
    said = refusal(site, "issuer", "add", "--id", issuer_id, "--certificate", str(path), "--ca-key", str(key))
    assert "an id has 1 to 64 lower-case letters, digits and hyphens" in said


def test_a_responder_that_does_not_belong_is_refused_and_nothing_is_copied(site: Site, tmp_path: Path) -> None:
    ca = make_ca("ec", "Responders' CA")
    ca_path = to_pem(tmp_path / "ca.pem", ca.der)
    key, other = new_key("ec"), new_key("ec")
    key_path, other_path = write_key(tmp_path / "r.key", key), write_key(tmp_path / "other.key", other)
    right = to_pem(tmp_path / "r.pem", make_responder(ca, key))
    add = ("issuer", "add", "--id", "resp", "--certificate", str(ca_path))
    assert "belong together" in refusal(site, *add, "--ca-key", str(other_path))

    no_signature = certificate(
        name((COMMON_NAME, UTF8, b"responder")), key, issuer=ca.certificate.subject.public_bytes(), signer=ca.key,
        extensions=der.extension(bytes.fromhex("0603551d0f"), der.tlv(der.BIT_STRING, b"\x01\x06"), der.TRUE)
        + der.extension(bytes.fromhex("0603551d25"), der.sequence(bytes.fromhex("06082b06010505070309"))),
    )  # fmt: skip
    given = {
        "no digitalSignature": to_pem(tmp_path / "a.pem", no_signature),
        "wasn't issued directly": to_pem(tmp_path / "b.pem", make_responder(make_ca("ec"), key)),
        "OCSPSigning and nothing else": to_pem(tmp_path / "c.pem", make_responder(ca, key, usages=[])),
        "say that it is a CA": to_pem(tmp_path / "d.pem", make_responder(ca, key, is_ca=True)),
    }
    for sentence, path in given.items():
        options = ("--responder-key", str(key_path), "--responder-certificate", str(path))
        assert sentence in refusal(site, *add, *options)
    # cA FALSE in so many octets is what it says; the same for a nocheck without its NULL.
    lenient = certificate(
        name((COMMON_NAME, UTF8, b"responder")), key, issuer=ca.certificate.subject.public_bytes(), signer=ca.key,
        extensions=der.extension(bytes.fromhex("0603551d13"), der.sequence(der.FALSE))
        + der.extension(bytes.fromhex("0603551d25"), der.sequence(bytes.fromhex("06082b06010505070309")))
        + der.extension(bytes.fromhex("06092b0601050507300105"), b""),
    )  # fmt: skip
    lenient_path = to_pem(tmp_path / "lenient.pem", lenient)
    site.succeed(*add, "--responder-key", str(key_path), "--responder-certificate", str(lenient_path))
    sign = ("signer", "add", "--issuer", "resp")
    # The right key is there by now; another one still isn't the certificate's.
    assert "belong together" in refusal(site, *sign, "--key", str(other_path), "--certificate", str(right))
    site.succeed(*sign, "--key", str(key_path), "--certificate", str(right))
    assert "already" in refusal(site, *sign, "--key", str(key_path), "--certificate", str(right))
    (tmp_path / "open.key").write_bytes(pem(ca.key))
    (tmp_path / "open.key").chmod(0o644)
    assert "chmod 600" in refusal(site, *sign, "--key", str(tmp_path / "open.key"), "--certificate", str(right))
    binary = write_key(tmp_path / "binary.key", ca.key)
    binary.write_bytes(base64.b64decode(b"".join(pem(ca.key).split(b"\n")[1:-2])))
    assert "belong together" in refusal(site, *sign, "--key", str(binary), "--certificate", str(right))

    shown = json.loads(site.succeed("issuer", "show", "resp", "--json"))
    assert shown["subject"] == "CN=Responders' CA"
    assert len(shown["signers"]) == 2
    assert shown["settings"]["nonce"] == "optional"
    assert "max_age_seconds" in site.succeed("issuer", "show", "resp")
    asked = site.command("issuer", "remove", "resp")
    assert asked.returncode == 1
    assert "is forgotten" in site.succeed("issuer", "remove", "resp", "--yes")
    assert "resp:" not in site.succeed("issuer", "list")


def test_a_certificate_is_revoked_at_the_ca_that_issued_it(site: Site, tmp_path: Path) -> None:
    """Both had a serial 0x11: an innocent certificate was revoked for good."""

    cas = {"one": make_ca("ec", "One"), "two": make_ca("rsa", "Two")}
    index = tmp_path / "index.txt"
    index.write_text("V\t391231000000Z\t\t11\tunknown\t/CN=a\n")
    for issuer_id, ca in cas.items():
        path, key = to_pem(tmp_path / f"{issuer_id}.pem", ca.der), write_key(tmp_path / f"{issuer_id}.key", ca.key)
        site.succeed("issuer", "add", "--id", issuer_id, "--certificate", str(path), "--ca-key", str(key))
        site.succeed("import", "openssl-index", str(index), "--issuer", issuer_id)

    leaf = to_pem(tmp_path / "leaf.pem", make_leaf(cas["two"], 0x11).public_bytes(Encoding.DER))
    said = refusal(site, "revoke", "--certificate", str(leaf), "--issuer", "one")
    assert "issued by CN=Two" in said
    document = json.loads(site.succeed("revoke", "--certificate", str(leaf), "--reason", "superseded", "--json"))
    assert document["issuer"] == "two"
    stranger = to_pem(tmp_path / "stranger.pem", make_leaf(make_ca("ec", "Two"), 0x11).public_bytes(Encoding.DER))
    assert "no issuer here has signed it" in refusal(site, "revoke", "--certificate", str(stranger))
    for spelling in ("0x11", "0X11", "011", "00:11"):
        assert "0x11 of one" in site.succeed("revoke", spelling, "--issuer", "one")
    assert "decimal or hexadecimal" in refusal(site, "revoke", "4711", "--issuer", "one")


NOW = datetime(2026, 6, 1, tzinfo=UTC)
CA = make_ca("ec")
KEY = new_key("ec")
FILES = {
    "ca": CA.der,
    "responder": make_responder(CA, KEY),
    "key": pem(KEY),
    "rsa key": pem(new_key("rsa")),
    "index": b"V\t391231000000Z\t\t0A\tunknown\t/CN=a\n"
    b"R\t391231000000Z\t260101000000Z,keyTime,20260101000000Z\t0B\tunknown\t/CN=b\n",
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from([*FILES, "crl"]))
def test_any_file_is_taken_or_refused_by_a_sentence(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    issuer = make_test_issuer("mutated", CA)
    path = tmp_path / "file"
    if "crl" not in FILES:
        FILES["crl"] = write_crl(path, issuer, der.crl_entry(7, NOW)).read_bytes()
    octets = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not octets:
            break
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(octets)
    with contextlib.suppress(ConfigError, ImportRejected):
        if kind == "ca":
            read = make_issuer("x", certificate_in(path).der)
            require_ca(read, NOW)
            assert read.certificate == bytes(octets)
        elif kind == "responder":
            delegate = certificate_in(path).der
            make_signer(issuer, delegate, native(KEY))
            require_usable(delegate, issuer, NOW)
        elif "key" in kind:
            load_key(path)
        elif kind == "index":
            parse(bytes(octets), now=NOW)
        else:
            read_crl(path, issuer, now=NOW)

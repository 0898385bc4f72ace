"""What `certstatus query` judges by, held against others' test data: that of OpenSSL (its ocsp-tests) and that of
pyhanko-certvalidator, whose source package has both."""

from __future__ import annotations

import base64
import json
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from responder.ocsp.lints import lint
from responder.operations import judging
from responder.operations.judging import CHECKS, Wrong
from responder.operations.querying import Subject, make_request

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number:Warning")  # CAcert's root has the number 0

PACKAGES = Path(sys.prefix) / "share" / "fixtures"
DIRECT, DELEGATED = ("ND1", "ND2", "ND3"), ("D1", "D2", "D3")
ISSUERS = {name: f"{name}_Issuer_{'ICA' if name.endswith('1') else 'Root'}.pem" for name in (*DIRECT, *DELEGATED)}
CERTIFICATES = {name: f"{name}_Cert_{'ICA' if name.endswith('2') else 'EE'}.pem" for name in ISSUERS}

WRONG = {
    "": None,
    "ISOP_": "signature",
    "WRID_": "responderID",
    "WINH_": "CertID",
    "WIKH_": "CertID",
    "WKDOSC_": "signer",  # the CA has signed another key
    "ISDOSC_": "signer",
}
"""Which of our checks finds what is wrong with a response, by the prefix of its name."""

WRONG_ISSUERS = {
    # It is trusted as it is given, whoever has signed it.
    "ISIC_": None,
    "WSNIC_": "CertID",
    "WKIC_": "CertID",
}


@cache
def data() -> dict[str, bytes]:
    """Files by folder and name."""
    (package,) = PACKAGES.glob("pyhanko_certvalidator-*.tar.gz")
    found = {}
    with tarfile.open(package) as archive:
        for member in archive:
            folder, _, name = member.name.partition("/tests/fixtures/")[2].partition("/")
            if name and folder in ("openssl-ocsp", "multitasking-ocsp") and (file := archive.extractfile(member)):
                found[f"{folder}/{name}"] = file.read()
    return found


def certificate(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data()[name])


def first_wrong(leaf: x509.Certificate, issuer: x509.Certificate, octets: bytes, at: datetime) -> str | None:
    """What `query` would say, as the name of the check."""
    read = ocsp.load_der_ocsp_response(octets)
    asked = make_request(Subject(leaf, issuer), hash_name=read.hash_algorithm.name, nonce=False)
    request = ocsp.load_der_ocsp_request(asked)
    answered = judging.read_response(request, octets, issuer=issuer, at=at)
    assert isinstance(answered, judging.Answered)
    for name, check in CHECKS.items():
        try:
            check(answered)
        except Wrong:
            return name
    return None


def openssl_response(name: str) -> bytes:
    return base64.b64decode(data()[f"openssl-ocsp/{name}.ors"])


def when_made(octets: bytes) -> datetime:
    return ocsp.load_der_ocsp_response(octets).produced_at_utc + timedelta(seconds=1)


def responses() -> Iterator[Any]:
    for prefix, wrong in WRONG.items():
        for name in DELEGATED if "DOSC" in prefix else (*DIRECT, *DELEGATED):
            yield pytest.param(name, f"{prefix}{name}", wrong, id=f"{prefix}{name}")


@pytest.mark.parametrize(("name", "file", "wrong"), list(responses()))
def test_openssl_s_responses(name: str, file: str, wrong: str | None) -> None:
    octets = openssl_response(file)
    leaf, issuer = (certificate(f"openssl-ocsp/{each[name]}") for each in (CERTIFICATES, ISSUERS))
    assert first_wrong(leaf, issuer, octets, when_made(octets)) == wrong


@pytest.mark.parametrize(("prefix", "wrong"), WRONG_ISSUERS.items())
@pytest.mark.parametrize("name", ISSUERS)
def test_openssl_s_issuers(name: str, prefix: str, wrong: str | None) -> None:
    octets = openssl_response(name)
    leaf, issuer = (
        certificate(f"openssl-ocsp/{CERTIFICATES[name]}"),
        certificate(f"openssl-ocsp/{prefix}{ISSUERS[name]}"),
    )
    assert first_wrong(leaf, issuer, octets, when_made(octets)) == wrong


@pytest.mark.parametrize("name", ISSUERS)
def test_a_stale_one_is_told(name: str) -> None:
    octets = openssl_response(name)
    leaf, issuer = (certificate(f"openssl-ocsp/{each[name]}") for each in (CERTIFICATES, ISSUERS))
    assert first_wrong(leaf, issuer, octets, datetime(2040, 1, 1, tzinfo=UTC)) in ("signer", "times")


def cases() -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(data()["openssl-ocsp/openssl-ocsp.json"])
    return read


def test_pyhanko_and_we_agree_on_each_of_its_paths() -> None:
    """A path is as good as the answers for its certificates, at its moment."""
    assert len(cases()) > 20
    for case in cases():
        at = datetime.fromisoformat(case["moment"])
        path = [
            certificate(f"openssl-ocsp/{name}") for name in (case["cert"], *case.get("other_certs", []), case["root"])
        ]
        answers = [openssl_response(name.removesuffix(".ors")) for name in case["ocsps"]]
        found = [
            first_wrong(leaf, issuer, octets, at)
            for leaf, issuer in pairwise(path)
            for octets in answers
            if ocsp.load_der_ocsp_response(octets).serial_number == leaf.serial_number
        ]
        assert len(found) == len(answers), case["name"]
        assert (found != [None] * len(found)) == ("error" in case), case["name"]


def test_times_with_fractions_are_refused_and_the_linter_says_why() -> None:
    folder, at = "multitasking-ocsp", datetime(2021, 8, 19, 12, 20, 44, tzinfo=UTC)
    for name, issuer in (("alice", "interm"), ("interm", "root")):
        octets = data()[f"{folder}/ocsp-resp-{name}.der"]
        subject = Subject(certificate(f"{folder}/{name}.cert.pem"), certificate(f"{folder}/{issuer}.cert.pem"))
        request = ocsp.load_der_ocsp_request(make_request(subject, hash_name="sha1", nonce=False))
        with pytest.raises(Wrong, match="no OCSPResponse"):
            judging.read_response(request, octets, issuer=subject.issuer, at=at)
        assert [each.id for each in lint(octets)] == ["9919-06"] * 3


def test_the_linter_reads_them_all() -> None:
    for name in (file for file in data() if file.endswith(".ors")):
        found = {each.id for each in lint(base64.b64decode(data()[name]))}
        assert "6960-15" not in found, name

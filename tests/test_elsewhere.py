"""What keeps an answer that was made elsewhere from being taken, each with its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags, ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from responder.errors import ConfigError, ImportRefused
from responder.operations.elsewhere import MAX_OCTETS, ReadAnswers, read_answers
from responder.operations.issuers import OFFLINE
from responder.pki import (
    CertIDVariant,
    CertStatus,
    CRLReason,
    Issuer,
    IssuerPolicy,
    Issuers,
    NoncePolicy,
    RevokedInfo,
    encode_serial,
    make_issuer,
)
from tests.answers import CA, DELEGATE, HOUR, NAMED, NOW, OCSP_SIGNING, OTHER, SERIAL, ids, party, response

WITHOUT_USE = party("Not a responder", CA, uses=[ExtendedKeyUsageOID.SERVER_AUTH])
ENDED = party("Ended", CA, uses=[OCSP_SIGNING], until=NOW - timedelta(minutes=5))
ENDS_SOON = party("Ends soon", CA, uses=[OCSP_SIGNING], until=NOW + timedelta(minutes=50))
OF_ANOTHER = party("Another's", OTHER, uses=[OCSP_SIGNING])
P384 = party("P-384", key=ec.generate_private_key(ec.SECP384R1()))


def issuer_of(ca: Any, policy: IssuerPolicy = OFFLINE) -> Issuer:
    return make_issuer("root", ca.certificate.public_bytes(Encoding.DER), policy)


def read(folder: Path, *octets: bytes, ca: Any = CA, policy: IssuerPolicy = OFFLINE) -> ReadAnswers:
    issuers = Issuers()
    issuers.replace([issuer_of(ca, policy)])
    paths = []
    for index, each in enumerate(octets):
        paths.append(folder / f"{index}.der")
        paths[-1].write_bytes(each)
    return read_answers(paths, issuers, now=datetime.now(UTC), source="files")


def test_a_good_one_and_a_revoked_one(tmp_path: Path) -> None:
    revoked = response(CA, status=ocsp.OCSPCertStatus.REVOKED, serial=0x99, algorithm=hashes.SHA512())
    given = read(tmp_path, response(), revoked)
    ((issuer, (first, second)),) = given.answers.items()
    assert issuer.id == "root"
    assert (first.certificate.serial, first.variant, first.cert_status) == (
        encode_serial(SERIAL), CertIDVariant.SHA1, CertStatus.GOOD,
    )  # fmt: skip
    assert (first.this_update, first.ends_at, first.response) == (NOW - HOUR, NOW + HOUR, response_of(tmp_path, 0))
    assert first.profile.certificates == (DELEGATE.certificate.public_bytes(Encoding.DER),)
    assert (second.variant, second.revoked_info) == (CertIDVariant.SHA512, RevokedInfo(NOW - HOUR))
    assert second.profile.certificates == ()
    assert len(given.sha256) == 32


def response_of(folder: Path, index: int) -> bytes:
    return (folder / f"{index}.der").read_bytes()


def test_an_answer_ends_with_its_signer(tmp_path: Path) -> None:
    ((answer,),) = read(tmp_path, response(ENDS_SOON)).answers.values()
    assert answer.ends_at == ENDS_SOON.certificate.not_valid_after_utc


def test_a_reason_is_taken_and_an_unspecified_one_left_out(tmp_path: Path) -> None:
    for reason, wanted in ((ReasonFlags.key_compromise, CRLReason.keyCompromise), (ReasonFlags.unspecified, None)):
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            *ids(CA, hashes.SHA1()), SERIAL, hashes.SHA1(), ocsp.OCSPCertStatus.REVOKED, NOW - HOUR, NOW + HOUR,
            NOW - HOUR, reason,
        )  # fmt: skip
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, CA.certificate)
        ((answer,),) = read(tmp_path, builder.sign(CA.key, hashes.SHA256()).public_bytes(Encoding.DER)).answers.values()
        assert answer.revoked_info == RevokedInfo(NOW - HOUR, wanted)


def without_next_update() -> bytes:
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        *ids(CA, hashes.SHA1()), SERIAL, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW - HOUR, None, None, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, CA.certificate)
    return builder.sign(CA.key, hashes.SHA256()).public_bytes(Encoding.DER)


def damaged() -> bytes:
    octets = bytearray(response(CA))
    octets[-3] ^= 1
    return bytes(octets)


REFUSED = [
    (b"junk", "it is no OCSPResponse in DER"),
    (b"", "it is no OCSPResponse in DER"),
    (b"\x30" * (MAX_OCTETS + 1), "more than 65,000 octets"),
    (bytes.fromhex("30030a0103"), "it is an error and no answer"),
    (response(nonce=b"n" * 16), "it has a nonce"),
    (without_next_update(), "it has no nextUpdate"),
    (response(status=ocsp.OCSPCertStatus.UNKNOWN), "it says unknown"),
    (response(ca=OTHER, signer=OTHER), "a certificate of a CA that isn't here"),
    (response(algorithm=hashes.SHA224()), "another hash algorithm than SHA-1"),
    (response(WITHOUT_USE), r"the delegate may not sign OCSP \(RFC 6960 §4.2.2.2\)"),
    (response(OF_ANOTHER), r"the delegate isn't of this CA"),
    (response(ENDED), r"the delegate isn't valid now"),
    (response(next_update=NOW - timedelta(seconds=1)), r"nextUpdate has passed"),
    (response(this_update=NOW + 2 * HOUR, next_update=NOW + 3 * HOUR), r"thisUpdate or producedAt is in the future"),
    (damaged(), "the signature is wrong"),
    (response() + b"\x00", "it is no OCSPResponse in DER"),
]


@pytest.mark.parametrize(("octets", "sentence"), REFUSED, ids=[sentence[:30] for _, sentence in REFUSED])
def test_what_is_refused_and_why(tmp_path: Path, octets: bytes, sentence: str) -> None:
    with pytest.raises(ImportRefused, match=rf"1\.der: .*{sentence}"):
        read(tmp_path, response(serial=0x77), octets)


def test_all_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused) as refused:
        read(tmp_path, b"junk", response(), damaged())
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0][-5:] for line in lines] == ["0.der", "2.der"]


def test_a_key_signs_with_its_own_digest(tmp_path: Path) -> None:
    """Nothing here verifies P-384 with SHA-256, nor would a table's records be believed."""
    with pytest.raises(ImportRefused, match="signature algorithm"):
        read(tmp_path, response(P384, ca=P384), ca=P384)


def test_one_cert_id_has_one_answer_and_a_certificate_one_status(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"1.der: it answers the same CertID as .*0.der"):
        read(tmp_path, response(), response(CA))
    other = response(CA, status=ocsp.OCSPCertStatus.REVOKED, algorithm=hashes.SHA256())
    with pytest.raises(ImportRefused, match="serial 0x1234 of issuer root don't say the same status"):
        read(tmp_path, response(), other)


def test_rules_are_told_and_under_the_baseline_requirements_kept(tmp_path: Path) -> None:
    by_name = response(by=NAMED)
    baseline = IssuerPolicy(offline=True, nonce=NoncePolicy.ignore, baseline=True)
    assert read(tmp_path, by_name).findings == ()
    with pytest.raises(ImportRefused, match="9919-04: responderID is byName"):
        read(tmp_path, by_name, policy=baseline)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.der: it can't be read: No such file"):
        read_answers([tmp_path / "none.der"], Issuers(), now=NOW, source="")

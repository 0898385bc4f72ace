"""The reader of a CA's last CRL: what it takes over, and what it refuses by a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from responder.errors import ConfigError
from responder.formats.crl import PublishedElsewhere, read_crl
from responder.pki import MAX_CRL_NUMBER, CRLReason, IssuedCertificate, Issuer, RevokedInfo
from tests import der
from tests.makers import ca_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
THEN = datetime(2026, 5, 1, tzinfo=UTC)
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
KEY_COMPROMISE = der.extension(der.REASON_CODE, bytes.fromhex("0a0101"))
SUPERSEDED = der.extension(der.REASON_CODE, bytes.fromhex("0a0104"))


def write(path: Path, issuer: Issuer, *entries: bytes, number: int | None = 5, extensions: bytes = b"") -> Path:
    """A CRL of a CA whose key is P-256."""
    ca = ca_of(issuer)
    key = ca.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbered = b"" if number is None else der.extension(der.CRL_NUMBER, der.integer(number))
    path.write_bytes(
        der.crl(
            ca.certificate.subject.public_bytes(),
            THEN,
            *entries,
            algorithm=ECDSA_SHA256,
            sign=lambda text: key.sign(text, ec.ECDSA(hashes.SHA256())),
            extensions=numbered + extensions,
        )
    )
    return path


def test_what_it_says_is_taken_over(issuer: Issuer, tmp_path: Path) -> None:
    invalid = der.extension(der.INVALIDITY_DATE, der.generalized_time(THEN - timedelta(days=3)))
    on_hold = der.extension(der.REASON_CODE, bytes.fromhex("0a0106"))
    unspecified = der.extension(der.REASON_CODE, bytes.fromhex("0a0100"))
    path = write(
        tmp_path / "last.crl",
        issuer,
        der.crl_entry(7, THEN, KEY_COMPROMISE, invalid),
        der.crl_entry(-8, THEN + timedelta(hours=1), on_hold),
        der.crl_entry(9, THEN, unspecified),
        der.crl_entry(10, NOW),
        der.crl_entry(10, NOW),
        number=MAX_CRL_NUMBER - 1,
    )
    assert read_crl(path, issuer, now=NOW) == PublishedElsewhere(
        MAX_CRL_NUMBER - 1,
        (
            IssuedCertificate(7, RevokedInfo(THEN, CRLReason.keyCompromise, THEN - timedelta(days=3))),
            IssuedCertificate(-8, RevokedInfo(THEN + timedelta(hours=1), CRLReason.certificateHold)),
            IssuedCertificate(9, RevokedInfo(THEN)),
            IssuedCertificate(10, RevokedInfo(NOW)),
        ),
    )


def test_an_empty_one_has_its_number(issuer: Issuer, tmp_path: Path) -> None:
    assert read_crl(write(tmp_path / "last.crl", issuer, number=0), issuer, now=NOW) == PublishedElsewhere()


@pytest.mark.parametrize(
    ("entries", "options", "sentence"),
    [
        ([], {"number": None}, "no CRLNumber"),
        ([], {"number": -1}, "not a CRL"),
        ([], {"number": MAX_CRL_NUMBER}, "at most 20 octets"),
        ([], {"extensions": der.extension(der.DELTA_CRL_INDICATOR, der.integer(1), der.TRUE)}, "isn't a full CRL"),
        ([], {"extensions": der.extension(der.FOREIGN, der.NULL, der.TRUE)}, r"1\.2\.3\.4"),
        ([der.crl_entry(1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC))], {}, "before 1970"),
        ([der.crl_entry(1, NOW + timedelta(seconds=1))], {}, "in the future"),
        ([der.crl_entry(1, THEN, der.extension(der.INVALIDITY_DATE, der.generalized_time(datetime(1960, 1, 1))))], {},
         "invalidityDate 1960"),
        ([der.crl_entry(2**2047, THEN)], {}, "more than 256 octets"),
        ([der.crl_entry(1, THEN, KEY_COMPROMISE), der.crl_entry(1, THEN, SUPERSEDED)], {}, "0x1 is on it twice"),
        ([der.crl_entry(1, THEN), der.crl_entry(1, NOW)], {}, "0x1 is on it twice"),
        ([der.crl_entry(1, THEN, der.extension(der.FOREIGN, der.NULL, der.TRUE))], {}, r"1\.2\.3\.4"),
        ([der.crl_entry(1, THEN, der.extension(der.REASON_CODE, bytes.fromhex("0a0107")))], {}, "not a CRL"),
        ([der.crl_entry(1, THEN, KEY_COMPROMISE, SUPERSEDED)], {}, "not a CRL"),
    ],
)  # fmt: skip
def test_what_cannot_be_gone_on_after_is_refused(
    issuer: Issuer, tmp_path: Path, entries: list[bytes], options: dict[str, object], sentence: str
) -> None:
    path = write(tmp_path / "last.crl", issuer, *entries, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=sentence) as refused:
        read_crl(path, issuer, now=NOW)
    assert str(path) in str(refused.value)


def test_junk_and_another_cas_are_refused(issuer: Issuer, rsa_issuer: Issuer, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk")
    with pytest.raises(ConfigError, match="not a CRL"):
        read_crl(junk, issuer, now=NOW)
    with pytest.raises(ConfigError, match="can't be read"):
        read_crl(tmp_path / "nowhere", issuer, now=NOW)
    with pytest.raises(ConfigError, match="isn't signed with the key of"):
        read_crl(write(tmp_path / "last.crl", issuer), rsa_issuer, now=NOW)

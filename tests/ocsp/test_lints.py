"""The linter: each rule sees the fault that it is for, in responses that are built with it, and ours have none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner

from responder.__main__ import app
from responder.errors import ConfigError
from responder.ocsp.lints import PROFILES, RULES, lint
from tests.answers import CA, DELEGATE, party, response
from tests.der import extension, generalized_time, octet_string, sequence, tlv

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BASIC = bytes.fromhex("06092b0601050507300101")
OCSP = "06092b06010505073001"
NONCE, CUTOFF, EXTENDED = (bytes.fromhex(OCSP + each) for each in ("02", "06", "09"))
SHA1 = sequence(bytes.fromhex("06052b0e03021a"), b"\x05\x00")
ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
GOOD, UNKNOWN = tlv(0x80), tlv(0x82)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WITHOUT_USE = party("Not a responder", CA, uses=[ExtendedKeyUsageOID.SERVER_AUTH])


def certificate(of: Any) -> bytes:
    der: bytes = of.certificate.public_bytes(Encoding.DER)
    return der


def delegate(
    key: Any = None,
    *,
    uses: tuple[Any, ...] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    is_ca: bool = False,
    has_usage: bool = True,
    has_authority: bool = True,
    digest: Any = None,
) -> bytes:
    """A delegate as Content Credentials want it, but for what is said."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Delegate", "CA"))
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), 7, NOW, NOW + HOUR)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if is_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if has_usage:
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    if has_authority:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(bytes(20), None, None), critical=False)
    return builder.sign(CA.key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


def with_key_of_no_kind(octets: bytes) -> bytes:
    """With another OID instead of id-ecPublicKey; as long."""
    return octets.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f"))


def revoked(at: bytes = generalized_time(NOW - HOUR), reason: bytes | None = b"\x0a\x01\x04") -> bytes:
    return tlv(0xA1, at, *([tlv(0xA0, reason)] if reason is not None else []))


def single(
    status: bytes = GOOD,
    *,
    algorithm: bytes = SHA1,
    name_hash: bytes = bytes(20),
    serial: bytes = b"\x02\x01\x05",
    this_update: bytes = generalized_time(NOW),
    next_update: bytes | None = generalized_time(NOW + 24 * HOUR),
    extensions: list[bytes] | None = None,
) -> bytes:
    return sequence(
        sequence(algorithm, octet_string(name_hash), octet_string(bytes(20)), serial),
        status,
        this_update,
        *([tlv(0xA0, next_update)] if next_update is not None else []),
        *([tlv(0xA1, sequence(*extensions))] if extensions is not None else []),
    )


def built(
    *singles: bytes,
    kind: bytes = BASIC,
    version: bytes = b"",
    responder: bytes = tlv(0xA2, octet_string(bytes(20))),
    produced_at: bytes = generalized_time(NOW),
    extensions: list[bytes] | None = None,
    algorithm: bytes = ECDSA,
    signature: bytes = b"\x00sig",
    certs: list[bytes] | None = None,
) -> bytes:
    data = sequence(
        version,
        responder,
        produced_at,
        sequence(*singles),
        *([tlv(0xA1, sequence(*extensions))] if extensions is not None else []),
    )
    rest = [tlv(0xA0, sequence(*certs))] if certs is not None else []
    basic = sequence(data, algorithm, tlv(0x03, signature), *rest)
    return sequence(b"\x0a\x01\x00", tlv(0xA0, sequence(kind, octet_string(basic))))


def found(octets: bytes, profile: str = "rfc") -> list[str]:
    return [f"{each.id}: {each.says}" for each in lint(octets, profile=profile)]


def test_what_is_right_has_no_fault() -> None:
    revoked_status = ocsp.OCSPCertStatus.REVOKED
    for octets in (
        response(),
        response(CA),
        response(status=revoked_status),
        response(nonce=b"n" * 32),
        built(single()),
    ):
        assert found(octets) == []
        assert found(octets, "br") == [] or octets != built(single())
    for error in (1, 2, 3, 5, 6):
        assert found(bytes([0x30, 3, 0x0A, 1, error])) == []


SHORT = generalized_time(NOW + 7 * HOUR)
WRONG: list[tuple[str, str, bytes]] = [
    (
        "rfc",
        "DER: OCSPResponse, offset 0: a length of 3 octets where 2 are enough",
        b"\x30\x82\x00" + built(single())[2:],
    ),
    ("rfc", "DER: BasicOCSPResponse, offset", built(single(serial=b"\x02\x02\x00\x05"))),
    ("rfc", "6960-02: an error of 7 octets", b"\x30\x05\x0a\x01\x01\x05\x00"),
    ("rfc", "6960-02: responseStatus 4 is none", b"\x30\x03\x0a\x01\x04"),
    ("rfc", "6960-15: responseType 2.5.29.1", built(single(), kind=bytes.fromhex("0603551d01"))),
    ("rfc", "6960-15: version v1 is the default", built(single(), version=tlv(0xA0, b"\x02\x01\x00"))),
    ("rfc", "6960-15: no OCSPResponse", b"junk"),
    ("rfc", "6960-15: no OCSPResponse", b""),
    ("rfc", "6960-15: no OCSPResponse: responseBytes: missing", b"\x30\x03\x0a\x01\x00"),
    ("rfc", "6960-15: no OCSPResponse: certStatus: tag 0x83", built(single(tlv(0x83)))),
    ("rfc", "6960-16: responderID byKey has 32", built(single(), responder=tlv(0xA2, octet_string(bytes(32))))),
    ("rfc", "6960-17: certs is there, and empty", built(single(), certs=[])),
    ("rfc", "6960-18: no SingleResponse", built()),
    ("rfc", "6960-11: issuerNameHash has 32", built(single(name_hash=bytes(32)))),
    ("rfc", "6960-11: the hash algorithm's parameters", built(single(algorithm=sequence(SHA1[2:9], b"\x04\x00")))),
    ("rfc", "9919-06: producedAt is '20261127120000.5Z'", built(single(), produced_at=tlv(0x18, b"20261127120000.5Z"))),
    ("rfc", "9919-06: thisUpdate is '261127120000Z'", built(single(this_update=tlv(0x17, b"261127120000Z")))),
    ("rfc", "9919-06: nextUpdate is '20261399120000Z'", built(single(next_update=tlv(0x18, b"20261399120000Z")))),
    ("rfc", "9919-06: nextUpdate is absent", built(single(next_update=None))),
    ("rfc", "6960-06: thisUpdate is after producedAt", built(single(this_update=generalized_time(NOW + HOUR)))),
    ("rfc", "6960-06: nextUpdate isn't after thisUpdate", built(single(next_update=generalized_time(NOW)))),
    ("rfc", "6960-06: revocationTime is after", built(single(revoked(generalized_time(NOW + HOUR))))),
    ("rfc", "5280-09: revocationReason 7", built(single(revoked(reason=b"\x0a\x01\x07")))),
    ("rfc", "5280-09: revocationReason unspecified", built(single(revoked(reason=b"\x0a\x01\x00")))),
    ("rfc", "5280-09: revocationReason removeFromCRL", built(single(revoked(reason=b"\x0a\x01\x08")))),
    ("rfc", "9654-01: a nonce among singleExtensions", built(single(extensions=[extension(NONCE, b"\x04\x01x")]))),
    ("rfc", "9654-01: a nonce of 129 octets", built(single(), extensions=[extension(NONCE, octet_string(b"x" * 129))])),
    ("rfc", "9654-01: a nonce of 0 octets", built(single(), extensions=[extension(NONCE, b"\x04\x00")])),
    ("rfc", "6960-04: extended-revoke is NULL", built(single(), extensions=[extension(EXTENDED, b"\x04\x00")])),
    ("rfc", "6960-04: extended-revoke among single", built(single(extensions=[extension(EXTENDED, b"\x05\x00")]))),
    ("rfc", "6960-04: revoked since 1970-01-01", built(single(revoked(generalized_time(EPOCH), b"\x0a\x01\x06")))),
    (
        "rfc",
        "6960-04: what was never issued has the reason",
        built(single(revoked(generalized_time(EPOCH))), extensions=[extension(EXTENDED, b"\x05\x00")]),
    ),
    (
        "rfc",
        "6960-21: archiveCutoff among response",
        built(single(), extensions=[extension(CUTOFF, generalized_time(NOW))]),
    ),
    ("rfc", "6960-21: archiveCutoff isn't", built(single(extensions=[extension(CUTOFF, tlv(0x17, b"261127120000Z"))]))),
    ("rfc", "6960-13: responseExtensions have one", built(single(), extensions=[extension(NONCE, b"\x04\x01x")] * 2)),
    (
        "rfc",
        "6960-13: 1.3.6.1.5.5.7.48.1.2 among responseExtensions is critical",
        built(single(), extensions=[extension(NONCE, b"\x04\x01x", b"\x01\x01\xff")]),
    ),
    ("rfc", "6960-25: the signature is no whole", built(single(), signature=b"\x03sig")),
    (
        "rfc",
        "6960-25: signed with SHA-1",
        built(single(), algorithm=bytes.fromhex("300d06092a864886f70d0101050500")),
    ),
    ("rfc", "9919-04: the first certificate isn't", built(single(), certs=[certificate(WITHOUT_USE)])),
    ("rfc", "9919-04: the first certificate can't be read", built(single(), certs=[b"\x30\x00"])),
    ("br", "BR-02: an interval of 7:00:01", built(single(next_update=SHORT))),
    ("br", "BR-02: an interval of 10 days, 0:00:01", built(single(next_update=generalized_time(NOW + 240 * HOUR)))),
    ("br", "BR-05: revocationReason 6", built(single(revoked(reason=b"\x0a\x01\x06")))),
    ("br", "BR-07: reasonCode", built(single(extensions=[extension(bytes.fromhex("0603551d15"), b"\x0a\x01\x01")]))),
    ("br", "6960-25: signatureAlgorithm", built(single(), algorithm=bytes.fromhex("300506032b6570"))),
    ("br", "9919-04: responderID is byName", built(single(), responder=tlv(0xA1, sequence()))),
    ("etsi", "ETSI-01: no archiveCutoff", built(single())),
    ("c2pa", "C2PA-01: certStatus unknown", built(single(UNKNOWN), certs=[delegate()])),
    ("c2pa", "C2PA-02: no certificate in certs", built(single())),
    (
        "c2pa",
        "C2PA-03: the delegate has other purposes",
        built(
            single(),
            certs=[delegate(uses=(ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.TIME_STAMPING))],
        ),
    ),
    ("c2pa", "C2PA-03: the delegate is a CA", built(single(), certs=[delegate(is_ca=True)])),
    ("c2pa", "C2PA-03: the delegate has no keyUsage", built(single(), certs=[delegate(has_usage=False)])),
    ("c2pa", "C2PA-03: the delegate has no authority", built(single(), certs=[delegate(has_authority=False)])),
    (
        "c2pa",
        "C2PA-04: the delegate's certificate is signed by 1.2.840.10045.4.3.1,",
        built(single(), certs=[delegate(digest=hashes.SHA224())]),
    ),
    (
        "c2pa",
        "C2PA-04: the delegate's key is on brainpoolP256r1",
        built(single(), certs=[delegate(ec.generate_private_key(ec.BrainpoolP256R1()))]),
    ),
    (
        "c2pa",
        "C2PA-04: the delegate's RSA key has 1024 bits",
        built(single(), certs=[delegate(rsa.generate_private_key(65537, 1024))]),
    ),
    ("c2pa", "C2PA-04: the delegate's key can't be read", built(single(), certs=[with_key_of_no_kind(delegate())])),
]


@pytest.mark.parametrize(("profile", "words", "octets"), WRONG, ids=[words[:60] for _, words, _ in WRONG])
def test_each_rule_sees_its_fault_and_nothing_else_is_found(profile: str, words: str, octets: bytes) -> None:
    (says,) = found(octets, profile)
    assert words in says


def test_every_rule_has_a_fault_here_and_a_source() -> None:
    seen = {(each.id, each.source) for profile, _, octets in WRONG for each in lint(octets, profile=profile)}
    assert {(rule.id, rule.source) for rule in RULES} <= seen
    assert {rule.profile for rule in RULES} == set(PROFILES)
    assert len(RULES) >= 26


def test_a_certificate_with_damage_inside_is_a_finding() -> None:
    """Found by the fuzzer: basicConstraints that are cut short ended the command."""
    damaged = delegate(is_ca=True).replace(
        bytes.fromhex("0603551d130101ff040530030101ff"), bytes.fromhex("0603551d130101ff040530090101ff")
    )
    (says,) = found(built(single(), certs=[damaged]), "c2pa")
    assert says.startswith("C2PA-03: what it is about can't be read: basicConstraints is damaged")


def test_a_delegate_for_content_credentials_has_no_fault() -> None:
    for key in (None, ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        assert found(built(single(), certs=[delegate(key)]), "c2pa") == []
    for error in (1, 2, 3, 5, 6):
        assert found(bytes([0x30, 3, 0x0A, 1, error]), "c2pa") == []


def test_the_boundaries_of_the_br_count_both_ends() -> None:
    for seconds, is_right in ((8 * 3600 - 2, False), (8 * 3600 - 1, True), (864_000 - 1, True), (864_000, False)):
        octets = built(single(next_update=generalized_time(NOW + timedelta(seconds=seconds))))
        assert (found(octets, "br") == []) is is_right


@pytest.mark.parametrize("salt", [32, 48, 64])
def test_pss_is_spelled_as_the_br_have_it_by_pycas_hand(salt: int) -> None:
    key = rsa.generate_private_key(65537, 2048)
    digest: Any = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}[salt]
    name = x509.Name([])
    csr = x509.CertificateSigningRequestBuilder(name).sign(
        key, digest, rsa_padding=padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
    )
    der = csr.public_bytes(Encoding.DER)
    oid = bytes.fromhex("06092a864886f70d01010a")
    begins = der.index(oid) - 2
    algorithm = der[begins : begins + 2 + der[begins + 1]]
    assert found(built(single(), algorithm=algorithm), "br") == []


def test_octets_cut_anywhere_are_a_finding_and_never_a_crash() -> None:
    whole = response(DELEGATE, nonce=b"n" * 32)
    for length in range(len(whole)):
        assert found(whole[:length]), length
    for index in range(0, len(whole), 3):
        found(whole[:index] + bytes([whole[index] ^ 0x55]) + whole[index + 1 :])


def test_the_command_names_file_rule_and_source(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.der", tmp_path / "wrong.der"
    right.write_bytes(response())
    wrong.write_bytes(built(single(next_update=None)))
    assert run("lint", str(right)) == (0, "1 without a fault\n")
    code, told = run("lint", str(right), str(wrong))
    assert (code, told) == (4, f"{wrong}: 9919-06: nextUpdate is absent (RFC 9919 §3.2.4)\n")
    code, told = run("lint", str(wrong), "--json", "--profile", "br")
    assert code == 4
    assert json.loads(told)[0] == {
        "file": str(wrong),
        "id": "9919-06",
        "source": "RFC 9919 §3.2.4",
        "says": "nextUpdate is absent",
    }
    with pytest.raises(ConfigError, match="--profile x: it is one of rfc, br, c2pa, etsi"):
        run("lint", str(right), "--profile", "x")
    with pytest.raises(ConfigError, match=r"none\.der: No such file"):
        run("lint", str(tmp_path / "none.der"))


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return done.exit_code, done.output

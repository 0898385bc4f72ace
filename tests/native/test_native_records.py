"""Responses: signed, kept as records, rendered again; judged by pyca/cryptography."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from responder._native import (
    Records,
    SigningProfile,
    decode_records,
    encode_profile,
    load_profile,
    load_public_key,
    tombstone,
    verify,
)
from responder.pki import CertIDVariant, Issuer, epoch_seconds
from responder.signing.signers import Signer, make_signer
from tests import der
from tests.der import extension, octet_string, sequence, tlv
from tests.makers import (
    NOW,
    RSA_PSS,
    ca_of,
    check_signature,
    make_ca,
    make_responder,
    make_test_issuer,
    make_test_signer,
    native,
    new_key,
)

GOOD, REVOKED, UNKNOWN = 0, 1, 2
THIS_UPDATE = epoch_seconds(NOW)
NEXT_UPDATE = THIS_UPDATE + 86400
SERIAL = bytes.fromhex("01aaf00d")
ALL_VARIANTS = [1, 2, 3, 4, 17, 18, 19, 20]
INVALIDITY = extension(bytes.fromhex("0603551d18"), tlv(0x18, b"20260501000000Z"))

Status = tuple[bytes, int, int, int, int, int, int, int, int, bytes]


def status(
    serial: bytes = SERIAL,
    cert_status: int = GOOD,
    revocation_time: int = -1,
    reason: int = -1,
    *,
    this_update: int = THIS_UPDATE,
    next_update: int = NEXT_UPDATE,
    epoch: int = 1,
    number: int = 7,
    as_of: int = THIS_UPDATE * 10**6,
    extensions: bytes = b"",
) -> Status:
    return serial, cert_status, revocation_time, reason, this_update, next_update, epoch, number, as_of, extensions


def sign_one(signer: Signer, what: Status, variants: Sequence[int] = (1, 2), produced_at: int = THIS_UPDATE) -> Records:
    (records,) = signer.profile.sign_records(signer.key, [what], variants, produced_at)
    return records


def judge(response: bytes, signer: Signer) -> ocsp.OCSPResponse:
    """pyca reads it, and the signature is the signer's."""
    read = ocsp.load_der_ocsp_response(response)
    assert read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    holder = read.certificates[0] if read.certificates else x509.load_der_x509_certificate(signer.issuer.certificate)
    check_signature(holder.public_key(), read.signature, read.tbs_response_bytes)
    return read


@pytest.fixture(params=["ec", "rsa"])
def any_signer(request: pytest.FixtureRequest, signer: Signer, rsa_signer: Signer) -> Signer:
    return signer if request.param == "ec" else rsa_signer


@pytest.mark.parametrize("kind", ["p384", "p521", "bp256", "bp384", "bp512", "ed25519", "ed448"])
def test_other_kinds_of_keys(issuer: Issuer, kind: str) -> None:
    key = new_key(kind)
    other = make_signer(issuer, make_responder(ca_of(issuer), key), native(key))
    records = sign_one(other, status(SERIAL, REVOKED, THIS_UPDATE, 1))
    again = decode_records(records.encoded)
    for variant in (1, 2):
        assert judge(other.profile.render(again, variant, SERIAL), other).serial_number == 0x01AAF00D
    judge(other.profile.sign_response(other.key, [single()], THIS_UPDATE, b"n" * 16), other)
    sizes = {"p384": 96, "p521": 132, "bp256": 64, "bp384": 96, "bp512": 132, "ed25519": 64, "ed448": 114}
    assert len(records.encoded) == 61 + 5 + 2 + 2 * (1 + sizes[kind])


def test_rsa_pss_of_an_ordinary_rsa_key(issuer: Issuer) -> None:
    key = native(new_key("rsa"))
    profile = load_profile(body(issuer_tag=issuer.tag, signature_algorithm=RSA_PSS))
    (records,) = profile.sign_records(key, [status()], [1], THIS_UPDATE)
    response = profile.render(records, 1, SERIAL)
    read = ocsp.load_der_ocsp_response(response)
    public = serialization.load_der_public_key(key.public_key)
    check_signature(public, read.signature, read.tbs_response_bytes, pss=True)
    assert RSA_PSS in response


def name_and_key_hash(issuer: Issuer, variant: int) -> tuple[bytes, bytes]:
    return issuer.cert_id_hashes[(variant - 1) % 16]


@pytest.mark.parametrize("variant", ALL_VARIANTS)
def test_every_variant_answers_with_the_cert_id_that_was_asked(any_signer: Signer, variant: int) -> None:
    records = sign_one(any_signer, status(), ALL_VARIANTS)
    response = any_signer.profile.render(records, variant, SERIAL)
    read = judge(response, any_signer)
    name_hash, key_hash = name_and_key_hash(any_signer.issuer, variant)
    assert (read.issuer_name_hash, read.issuer_key_hash) == (name_hash, key_hash)
    assert read.hash_algorithm.name == CertIDVariant(variant).hash_name
    assert read.serial_number == 0x01AAF00D
    asked = der.cert_id(
        CertIDVariant(variant).hash_name, der.NULL if variant <= 4 else b"", name_hash, key_hash, SERIAL
    )
    assert asked in read.tbs_response_bytes


def test_a_good_answer(any_signer: Signer) -> None:
    read = judge(
        any_signer.profile.render(sign_one(any_signer, status(), produced_at=THIS_UPDATE + 5), 1, SERIAL), any_signer
    )
    assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert read.this_update_utc == NOW
    assert read.next_update_utc == NOW + timedelta(days=1)
    assert read.produced_at_utc == NOW + timedelta(seconds=5)
    assert read.revocation_time_utc is None
    assert read.revocation_reason is None
    assert not list(read.extensions) and not list(read.single_extensions)
    assert len(list(read.responses)) == 1
    # 9919-06: no fractions, in UTC; 6960-15: version is left out.
    assert b"\x18\x0f20260601120000Z" in read.tbs_response_bytes
    assert read.tbs_response_bytes[4 if read.tbs_response_bytes[1] == 0x82 else 3] in (0xA1, 0xA2)


REASONS = [reason for reason in range(1, 11) if reason not in (7, 8)]


@pytest.mark.parametrize("reason", [-1, 0, *REASONS])
def test_a_revoked_answer(signer: Signer, reason: int) -> None:
    records = sign_one(signer, status(SERIAL, REVOKED, THIS_UPDATE - 3600, reason))
    read = judge(signer.profile.render(records, 2, SERIAL), signer)
    assert read.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert read.revocation_time_utc == NOW - timedelta(hours=1)
    # unspecified is left out
    assert (read.revocation_reason is None) == (reason <= 0)
    if reason > 0:
        assert bytes([0xA0, 3, 0x0A, 1, reason]) in read.tbs_response_bytes
    assert (records.cert_status, records.revocation_time) == (REVOKED, THIS_UPDATE - 3600)
    assert records.revocation_reason == (reason if reason > 0 else None)


def test_an_unknown_answer(signer: Signer) -> None:
    read = judge(signer.profile.render(sign_one(signer, status(SERIAL, UNKNOWN)), 1, SERIAL), signer)
    assert read.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_single_extensions_come_with_the_status(signer: Signer) -> None:
    records = sign_one(signer, status(SERIAL, REVOKED, THIS_UPDATE, 1, extensions=INVALIDITY))
    assert records.single_extensions == INVALIDITY
    read = judge(signer.profile.render(records, 1, SERIAL), signer)
    (found,) = read.single_extensions
    assert isinstance(found.value, x509.InvalidityDate)


SERIALS = ["00", "01", "7f", "80", "ff", "0080", "ff7f", "7f" + "ee" * 19, "00" + "ff" * 20, "11" * 200]


@pytest.mark.parametrize("serial", SERIALS)
def test_any_serial_stands_as_it_was_asked(signer: Signer, serial: str) -> None:
    octets = bytes.fromhex(serial)
    records = sign_one(signer, status(octets))
    response = signer.profile.render(records, 1, octets)
    assert tlv(der.INTEGER, octets) in response
    if len(octets) < 100:
        assert judge(response, signer).serial_number == int.from_bytes(octets, "big", signed=True)


@pytest.mark.parametrize(
    "moment",
    ["2049-12-31T23:59:59", "2050-01-01T00:00:00", "2028-02-29T00:00:00", "9999-12-30T00:00:00", "1970-01-01T00:00:00"],
)
def test_times_are_generalized_at_any_date(signer: Signer, moment: str) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    seconds = epoch_seconds(at)
    records = sign_one(signer, status(this_update=seconds, next_update=seconds + 3600), produced_at=seconds)
    read = judge(signer.profile.render(records, 1, SERIAL), signer)
    assert read.this_update_utc == read.produced_at_utc == at
    assert read.next_update_utc == at + timedelta(hours=1)


@settings(max_examples=200)
@given(st.integers(0, 253402300799))
def test_any_second_is_written_as_the_calendar_has_it(signer: Signer, seconds: int) -> None:
    records = sign_one(signer, status(this_update=seconds, next_update=seconds), (1,), seconds)
    written = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%SZ").rjust(15, "0").encode()
    assert signer.profile.render(records, 1, SERIAL).count(b"\x18\x0f" + written) == 3


def test_a_delegate_comes_first_in_certs_and_a_ca_leaves_the_field_out(signer: Signer, issuer: Issuer) -> None:
    """6960-17, 9919-04."""
    read = judge(signer.profile.render(sign_one(signer, status()), 1, SERIAL), signer)
    assert [x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING])] == [
        each.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value for each in read.certificates
    ]
    ca = ca_of(issuer)
    by_ca = make_signer(issuer, ca.der, native(ca.key))
    response = by_ca.profile.render(sign_one(by_ca, status()), 1, SERIAL)
    assert judge(response, by_ca).certificates == []
    # BasicOCSPResponse ends with the signature: no empty certs.
    assert not response.endswith(b"\xa0\x02\x30\x00")


@pytest.mark.parametrize("by_name", [False, True])
def test_the_responder_id_is_rendered(by_name: bool) -> None:
    ca = make_ca("ec")
    issuer = make_test_issuer("named", ca, responder_id_by_name=by_name)
    key = new_key("ec")
    signer = make_signer(issuer, make_responder(ca, key), native(key))
    read = judge(signer.profile.render(sign_one(signer, status()), 1, SERIAL), signer)
    assert (read.responder_name is not None) == by_name
    assert (read.responder_key_hash is not None) != by_name
    if by_name:
        assert read.responder_name == read.certificates[0].subject


# --- complete responses ---


def single(
    variant: int = 1,
    serial: bytes = SERIAL,
    cert_status: int = GOOD,
    revocation_time: int = -1,
    reason: int = -1,
    extensions: bytes = b"",
) -> tuple[int, bytes, int, int, int, int, int, bytes]:
    return variant, serial, cert_status, revocation_time, reason, THIS_UPDATE, NEXT_UPDATE, extensions


@pytest.mark.parametrize("nonce", [octet_string(b"n" * 32), b"n" * 16, b"\x00"])
def test_a_nonce_is_returned_byte_for_byte(any_signer: Signer, nonce: bytes) -> None:
    """9654-03: wrapped or raw, as it came, among the response's own extensions."""
    response = any_signer.profile.sign_response(any_signer.key, [single()], THIS_UPDATE, nonce)
    assert response.count(extension(der.NONCE, nonce)) == 1
    if nonce[0] == 4:
        read = judge(response, any_signer)
        (found,) = read.extensions
        assert isinstance(found.value, x509.OCSPNonce)
        assert found.value.nonce == nonce[2:]
        assert not found.critical
        assert not list(read.single_extensions)


def test_several_singles_in_their_order(signer: Signer) -> None:
    asked = [single(1, b"\x01"), single(2, b"\x02", REVOKED, THIS_UPDATE, 1), single(18, b"\x03", UNKNOWN)]
    response = signer.profile.sign_response(signer.key, asked, THIS_UPDATE, None)
    read = list(judge(response, signer).responses)
    assert [each.serial_number for each in read] == [1, 2, 3]
    assert [each.certificate_status.name for each in read] == ["GOOD", "REVOKED", "UNKNOWN"]
    many = [single(1, bytes([index])) for index in range(1, 65)]
    assert len(list(judge(signer.profile.sign_response(signer.key, many, THIS_UPDATE, None), signer).responses)) == 64
    for count in (0, 65):
        with pytest.raises(ValueError, match=f"{count} single responses"):
            signer.profile.sign_response(signer.key, [single()] * count, THIS_UPDATE, None)


def test_what_is_rendered_is_what_would_have_been_signed_at_once(rsa_signer: Signer) -> None:
    """RSA signatures are deterministic, so both ways must give the same octets."""
    records = sign_one(rsa_signer, status(SERIAL, REVOKED, THIS_UPDATE - 9, 4, extensions=INVALIDITY), ALL_VARIANTS)
    for variant in ALL_VARIANTS:
        at_once = rsa_signer.profile.sign_response(
            rsa_signer.key, [single(variant, SERIAL, REVOKED, THIS_UPDATE - 9, 4, INVALIDITY)], THIS_UPDATE, None
        )
        assert rsa_signer.profile.render(records, variant, SERIAL) == at_once


# --- records ---


def test_what_a_record_says(signer: Signer) -> None:
    records = sign_one(
        signer, status(epoch=3, number=2**40, as_of=THIS_UPDATE * 10**6 + 17), (2, 1, 1), THIS_UPDATE + 2
    )
    assert (records.epoch, records.number, records.as_of_microseconds) == (3, 2**40, THIS_UPDATE * 10**6 + 17)
    assert (records.this_update, records.next_update, records.produced_at) == (
        THIS_UPDATE,
        NEXT_UPDATE,
        THIS_UPDATE + 2,
    )
    assert records.variants == (1, 2)
    assert records.profile_id == signer.profile.id
    assert not records.is_tombstone
    # What a store compares by, without this library.
    encoded = records.encoded
    assert encoded[0] == 1
    assert int.from_bytes(encoded[1:5], "big") == 3
    assert int.from_bytes(encoded[5:13], "big") == 2**40
    assert int.from_bytes(encoded[13:21], "big") == THIS_UPDATE * 10**6 + 17
    assert encoded[21] & 3 == GOOD


def test_a_record_is_small(signer: Signer, rsa_signer: Signer) -> None:
    assert len(sign_one(signer, status()).encoded) == 61 + 2 + 2 * 65
    assert len(sign_one(rsa_signer, status(), (1,)).encoded) == 61 + 2 + 257


def test_records_survive_storing_and_pickling(any_signer: Signer) -> None:
    records = sign_one(any_signer, status(SERIAL, REVOKED, THIS_UPDATE, 1, extensions=INVALIDITY))
    for again in (decode_records(records.encoded), pickle.loads(pickle.dumps(records))):
        assert again == records
        assert hash(again) == hash(records)
        judge(any_signer.profile.render(again, 1, SERIAL), any_signer)
    profile = pickle.loads(pickle.dumps(any_signer.profile))
    assert profile == any_signer.profile
    assert profile.render(records, 1, SERIAL) == any_signer.profile.render(records, 1, SERIAL)


def test_nothing_is_rendered_that_was_not_signed(signer: Signer, rsa_signer: Signer) -> None:
    records = sign_one(signer, status())
    with pytest.raises(KeyError):
        signer.profile.render(records, 3, SERIAL)
    with pytest.raises(ValueError, match="another certificate"):
        signer.profile.render(records, 1, b"\x05")
    with pytest.raises(ValueError, match="another profile"):
        rsa_signer.profile.render(records, 1, SERIAL)
    buried = tombstone(signer.profile.issuer_tag, SERIAL, REVOKED, 1, 8, THIS_UPDATE * 10**6, NEXT_UPDATE)
    with pytest.raises(KeyError):
        signer.profile.render(buried, 1, SERIAL)


def test_a_tombstone_says_its_version_and_no_more(signer: Signer) -> None:
    buried = tombstone(signer.profile.issuer_tag, SERIAL, REVOKED, 2, 8, THIS_UPDATE * 10**6 + 5, NEXT_UPDATE)
    assert buried.is_tombstone
    assert (buried.epoch, buried.number, buried.as_of_microseconds) == (2, 8, THIS_UPDATE * 10**6 + 5)
    assert (buried.cert_status, buried.next_update, buried.variants) == (REVOKED, NEXT_UPDATE, ())
    assert decode_records(buried.encoded) == buried
    assert len(buried.encoded) < 70
    with pytest.raises(ValueError, match="issuer_tag has 7"):
        tombstone(bytes(7), SERIAL, REVOKED, 1, 1, 0, 0)
    with pytest.raises(ValueError, match="minimal INTEGER"):
        tombstone(bytes(8), b"\x00\x01", REVOKED, 1, 1, 0, 0)


def test_every_truncation_and_lengthening_of_a_record_is_refused(signer: Signer) -> None:
    for records in (
        sign_one(signer, status(SERIAL, REVOKED, THIS_UPDATE, 1, extensions=INVALIDITY)),
        tombstone(signer.profile.issuer_tag, SERIAL, GOOD, 1, 1, THIS_UPDATE * 10**6, NEXT_UPDATE),
    ):
        for size in range(len(records.encoded)):
            with pytest.raises(ValueError, match="can't be read"):
                decode_records(records.encoded[:size])
        with pytest.raises(ValueError, match="can't be read"):
            decode_records(records.encoded + b"\x00")


@given(st.data())
def test_a_damaged_record_is_refused_or_renders_something_whole(signer: Signer, data: st.DataObject) -> None:
    octets = bytearray(sign_one(signer, status(SERIAL, REVOKED, THIS_UPDATE, 1, extensions=INVALIDITY)).encoded)
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        response = signer.profile.render(decode_records(bytes(octets)), 1, SERIAL)
    except (ValueError, KeyError):
        return
    assert ocsp.load_der_ocsp_response(response).serial_number == 0x01AAF00D


@given(st.binary(max_size=300))
def test_any_octets_are_a_record_or_refused(octets: bytes) -> None:
    for candidate in (octets, b"\x01" + octets):
        try:
            assert decode_records(candidate).encoded == candidate
        except ValueError as error:
            assert "can't be read" in str(error)


BAD = {
    "a serial that isn't minimal": (status(b"\x00\x01"), "minimal INTEGER"),
    "no serial": (status(b""), "minimal INTEGER"),
    "a status of none": (status(cert_status=3), "none of good, revoked and unknown"),
    "a reason without revocation": (status(reason=1), "but not revoked"),
    "a time without revocation": (status(revocation_time=5), "but not revoked"),
    "reason 7": (status(SERIAL, REVOKED, 5, 7), "isn't a CRLReason"),
    "reason 8": (status(SERIAL, REVOKED, 5, 8), "isn't a CRLReason"),
    "reason 11": (status(SERIAL, REVOKED, 5, 11), "isn't a CRLReason"),
    "revoked at no time": (status(SERIAL, REVOKED), "revocation_time -1"),
    "next_update before this_update": (status(next_update=THIS_UPDATE - 1), "next_update is before"),
    "a year of five digits": (status(next_update=253402300800), "next_update 253402300800"),
    "this_update before 1970": (status(this_update=-1), "this_update -1"),
    "this_update after produced_at": (status(this_update=THIS_UPDATE + 1), "produced_at is before"),
    "extensions that aren't": (status(extensions=b"\x05\x00"), "aren't DER Extension"),
    "extensions with an explicit FALSE": (
        status(extensions=sequence(der.FOREIGN, der.FALSE, octet_string(b"x"))),
        "aren't DER Extension",
    ),
    "extensions too long": (status(extensions=extension(der.FOREIGN, bytes(5000))), "more than 4096"),
    "a version too high": (status(number=2**64), "64 bits"),
    "an epoch too high": (status(epoch=2**32), "32 bits"),
    "as_of before 1970": (status(as_of=-1), "before 1970"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_said_is_not_signed(signer: Signer, case: str) -> None:
    what, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence):
        sign_one(signer, what)


@pytest.mark.parametrize("field", [1, 2, 3, 4, 5, 6, 7, 8])
def test_numbers_are_whole(signer: Signer, field: int) -> None:
    """C would cut them."""
    row = list(status(SERIAL, REVOKED, THIS_UPDATE, 1))
    row[field] += 0.5  # type: ignore[operator]
    with pytest.raises(TypeError, match="isn't a whole number"):
        sign_one(signer, tuple(row))  # type: ignore[arg-type]


def test_an_extension_stands_once(signer: Signer) -> None:
    """RFC 5280 §4.2."""
    with pytest.raises(ValueError, match="aren't DER Extension"):
        sign_one(signer, status(extensions=INVALIDITY + INVALIDITY))


@pytest.mark.parametrize("kind", ["ec", "p384", "p521", "bp256", "bp384", "bp512", "rsa", "ed25519", "ed448"])
def test_a_record_is_verified_octet_by_octet(issuer: Issuer, kind: str) -> None:
    """Whatever is flipped in a record, it is refused, or what it says of the certificate is the same."""
    signer = make_test_signer(issuer, kind)
    public = load_public_key(signer.key.public_key)
    records = sign_one(signer, status(SERIAL, REVOKED, THIS_UPDATE, 1, extensions=INVALIDITY))
    for variant in (1, 2):
        signer.profile.verify(public, records, variant, SERIAL)
    answer = signer.profile.render(records, 1, SERIAL)
    for position in range(len(records.encoded)):
        for bit in (0x01, 0x80):
            flipped = bytearray(records.encoded)
            flipped[position] ^= bit
            try:
                read = decode_records(bytes(flipped))
                signer.profile.verify(public, read, 1, SERIAL)
            except (ValueError, KeyError):
                continue
            assert signer.profile.render(read, 1, SERIAL) == answer
    with pytest.raises(ValueError, match="another certificate"):
        signer.profile.verify(public, records, 1, b"\x05")
    with pytest.raises(KeyError):
        signer.profile.verify(public, records, 3, SERIAL)
    with pytest.raises(ValueError, match=r"doesn't verify|isn't of the"):
        signer.profile.verify(load_public_key(native(new_key("ec")).public_key), records, 1, SERIAL)


def test_variants_and_keys_are_checked(signer: Signer, rsa_signer: Signer) -> None:
    for variants in ([], [0], [5], [21]):
        with pytest.raises(ValueError, match="variant"):
            sign_one(signer, status(), variants)
    with pytest.raises(ValueError, match="doesn't sign with the algorithm"):
        signer.profile.sign_records(rsa_signer.key, [status()], [1], THIS_UPDATE)
    with pytest.raises(ValueError, match="doesn't sign with the algorithm"):
        signer.profile.sign_response(rsa_signer.key, [single()], THIS_UPDATE, None)
    assert signer.profile.sign_records(signer.key, [], [1], THIS_UPDATE) == []


@pytest.mark.parametrize("kind", ["ec", "p384", "p521", "bp256", "bp384", "bp512", "rsa", "ed25519", "ed448"])
@pytest.mark.parametrize("first", ["records", "key", "response"])
def test_a_key_of_any_kind_goes_on_signing(issuer: Issuer, kind: str, first: str) -> None:
    """An EdDSA key once signed the first record of a process, and never again."""
    signer = make_test_signer(issuer, kind)
    rows = [status(serial=b"\x01"), status(serial=b"\x02")]

    def use(how: str) -> None:
        if how == "records":
            made = signer.profile.sign_records(signer.key, rows, [1, 2], THIS_UPDATE)
            for row, records in zip(rows, made, strict=True):
                for variant in (1, 2):
                    judge(signer.profile.render(records, variant, row[0]), signer)
        elif how == "key":
            verify(signer.key.public_key, signer.key.signature_algorithm, b"text", signer.key.sign(b"text"))
        else:
            judge(signer.profile.sign_response(signer.key, [single()], THIS_UPDATE, b"nonce"), signer)

    for how in (first, "records", "response", "records", "key", "records", "records"):
        use(how)


def test_many_threads_sign_with_one_key(any_signer: Signer) -> None:
    made: list[list[Records]] = []
    statuses = [status(bytes([1 + index])) for index in range(10)]

    def sign() -> None:
        made.extend(any_signer.profile.sign_records(any_signer.key, statuses, [1, 2], THIS_UPDATE) for _ in range(5))

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    for batch in made:
        for index, records in enumerate(batch):
            judge(any_signer.profile.render(records, 2, bytes([1 + index])), any_signer)


# --- profiles ---


def body(**changes: object) -> bytes:
    parts: dict[str, object] = {
        "issuer_tag": b"issuer-8",
        "cert_id_hashes": [(bytes(size), bytes(size)) for size in (20, 32, 48, 64)],
        "signature_algorithm": bytes.fromhex("300a06082a8648ce3d040302"),
        "responder_id": tlv(0xA2, octet_string(bytes(20))),
        "certificates": [],
    }
    return encode_profile(**(parts | changes))  # type: ignore[arg-type]


def test_a_profile_is_named_by_its_body() -> None:
    one, other = load_profile(body()), load_profile(body(certificates=[sequence(b"")]))
    assert one.id != other.id
    later = load_profile(body(generation=2**31 - 1))
    assert (one.generation, later.generation) == (1, 2**31 - 1)
    assert later.id != one.id
    assert len(one.id) == 16
    assert one.body == body()
    assert other.certificates == (sequence(b""),)
    assert one == load_profile(one.body) != other


BAD_PROFILES: dict[str, tuple[dict[str, object], str]] = {
    "issuer tag": ({"issuer_tag": b"seven77"}, "8 octets"),
    "generation": ({"generation": 0}, "generation 0"),
    "three pairs": ({"cert_id_hashes": [(bytes(20), bytes(20))] * 3}, "6 hashes"),
    "a short hash": ({"cert_id_hashes": [(bytes(19), bytes(20)), *[(bytes(20),) * 2] * 3]}, "another length"),
    "an algorithm unknown": ({"signature_algorithm": sequence(der.FOREIGN)}, "doesn't know"),
    "no responder": ({"responder_id": octet_string(b"x")}, "neither byName nor byKey"),
    "two values as one certificate": ({"certificates": [sequence(b"") * 2]}, "isn't one DER value"),
    "not a certificate": ({"certificates": [b"\x05\x00"]}, "certs"),
    "extensions": ({"response_extensions": b"\x05\x00"}, "responseExtensions"),
}


@pytest.mark.parametrize("case", BAD_PROFILES)
def test_a_profile_that_makes_no_sense_is_refused(case: str) -> None:
    changes, sentence = BAD_PROFILES[case]
    with pytest.raises(ValueError, match=sentence):
        body(**changes)


def test_response_extensions_of_a_profile_stand_in_every_answer(issuer: Issuer) -> None:
    key = native(new_key("ec"))
    more = extension(der.FOREIGN, b"x")
    profile = load_profile(body(issuer_tag=issuer.tag, response_extensions=more))
    (records,) = profile.sign_records(key, [status()], [1], THIS_UPDATE)
    assert more in profile.render(records, 1, SERIAL)
    with_nonce = profile.sign_response(key, [single()], THIS_UPDATE, b"n" * 16)
    assert tlv(0xA1, sequence(more, extension(der.NONCE, b"n" * 16))) in with_nonce


def test_another_format_and_damage_are_refused_not_guessed() -> None:
    whole = body(certificates=[sequence(b"x" * 200)], response_extensions=extension(der.FOREIGN, b"x"))
    with pytest.raises(ValueError, match="format that this version doesn't know"):
        load_profile(b"\x02" + whole[1:])
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="profile"):
            load_profile(whole[:size])
    with pytest.raises(ValueError, match="profile"):
        load_profile(whole + b"\x00")


def test_nothing_but_its_makers_makes_a_profile_or_records() -> None:
    for kind in (SigningProfile, Records):
        with pytest.raises(TypeError, match="is made by"):
            kind()

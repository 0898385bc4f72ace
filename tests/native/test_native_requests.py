"""Parsing OCSPRequest: what real clients send is read, everything else is refused with a sentence and an offset."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from hypothesis import example, given
from hypothesis import strategies as st

from responder._native import MAX_CERT_IDS, MAX_REQUEST_BYTES, parse_ocsp_request
from responder.errors import MalformedRequest
from tests import der
from tests.der import cert_id, extension, octet_string, request, sequence, tlv
from tests.makers import CA, make_ca, make_leaf

# The request of RFC 9919's appendix (facts in docs/standards.md): SHA-256, serial 0x01AAF00D.
KNOWN_REQUEST = base64.b64decode(
    "MGEwXzBdMFswWTANBglghkgBZQMEAgEFAAQgOplGd1aAc6cHv95QGGNF5M1hNNsIXrqh0QQl8DtvCOoEIEdKbKMB8j3J9/cHhwThx/X8lucWdfbt"
    "iC56tlw/WEVDAgQBqvAN"
)


@pytest.fixture(scope="module")
def ca() -> CA:
    return make_ca("ec")


def refused(octets: bytes, sentence: str) -> None:
    with pytest.raises(MalformedRequest, match=sentence):
        parse_ocsp_request(octets)


def test_the_request_of_rfc_9919() -> None:
    ((variant, name_hash, key_hash, serial),), nonce, preferences, signature = parse_ocsp_request(KNOWN_REQUEST)
    assert variant == 2
    assert name_hash.hex().startswith("3a994677") and name_hash.hex().endswith("6f08ea")
    assert key_hash.hex().startswith("474a6ca3") and key_hash.hex().endswith("584543")
    assert serial == bytes.fromhex("01aaf00d")
    assert nonce is None
    assert preferences == ()
    assert signature is None


ALGORITHMS: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@pytest.mark.parametrize("hash_name", ALGORITHMS)
@pytest.mark.parametrize("nonce", [None, b"\x17" * 16])
def test_what_another_library_builds(ca: CA, hash_name: str, nonce: bytes | None) -> None:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        make_leaf(ca, 0xABCDEF), ca.certificate, ALGORITHMS[hash_name]()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    theirs = builder.build()
    ours, our_nonce, _, _ = parse_ocsp_request(theirs.public_bytes(serialization.Encoding.DER))
    ((variant, name_hash, key_hash, serial),) = ours
    assert variant % 16 == 1 + list(ALGORITHMS).index(hash_name)
    assert (name_hash, key_hash) == (theirs.issuer_name_hash, theirs.issuer_key_hash)
    assert int.from_bytes(serial, "big", signed=True) == theirs.serial_number
    assert our_nonce == (None if nonce is None else octet_string(nonce))


@pytest.mark.parametrize("hash_name", ALGORITHMS)
def test_parameters_null_and_absent_are_told_apart(hash_name: str) -> None:
    (with_null,), *_ = parse_ocsp_request(request(cert_id(hash_name, der.NULL)))
    (without,), *_ = parse_ocsp_request(request(cert_id(hash_name, b"")))
    assert with_null[0] == 1 + list(ALGORITHMS).index(hash_name)
    assert without[0] == with_null[0] + 16
    assert without[1:] == with_null[1:]


def test_parameters_that_are_neither_null_nor_absent_are_refused() -> None:
    refused(request(cert_id("sha1", b"\x05\x01\x00")), "neither NULL nor absent")
    refused(request(cert_id("sha1", der.TRUE)), "neither NULL nor absent")
    refused(request(cert_id("sha1", der.NULL + der.NULL)), "more than one parameter")


def test_a_hash_we_do_not_know_is_read_and_has_no_variant() -> None:
    md5 = sequence(bytes.fromhex("06082a864886f70d0205"), der.NULL)
    unknown = sequence(md5, octet_string(b"n" * 16), octet_string(b"k" * 16), b"\x02\x01\x05")
    assert parse_ocsp_request(request(unknown))[0] == [(0, b"n" * 16, b"k" * 16, b"\x05")]


@pytest.mark.parametrize("field", ["name_hash", "key_hash"])
def test_a_hash_of_another_length_is_refused(field: str) -> None:
    for size in (0, 31, 33):
        refused(request(cert_id("sha256", **{field: bytes(size)})), "hasn't the length of its hash")


SERIALS = {"zero": "00", "one": "01", "negative": "80", "minus one": "ff", "over 20 octets": "7f" + "11" * 63}


@pytest.mark.parametrize("shape", SERIALS)
def test_serials_of_any_shape(shape: str) -> None:
    serial = bytes.fromhex(SERIALS[shape])
    assert parse_ocsp_request(request(cert_id(serial=serial)))[0][0][3] == serial


@pytest.mark.parametrize("serial", ["", "0001", "007f", "ff80", "ffff"])
def test_serials_that_are_not_minimal_are_refused(serial: str) -> None:
    refused(request(cert_id(serial=bytes.fromhex(serial))), "isn't a minimal INTEGER")


def test_an_explicit_version_v1_is_read_and_another_is_not() -> None:
    assert parse_ocsp_request(request(version=tlv(0xA0, b"\x02\x01\x00")))
    refused(request(version=tlv(0xA0, b"\x02\x01\x01")), "isn't v1")
    refused(request(version=tlv(0xA0, b"\x02\x02\x00\x00")), "isn't v1")
    refused(request(version=tlv(0xA0, b"\x02\x01\x00\x02\x01\x00")), "isn't an INTEGER")


def test_a_requestor_name_is_read_over_and_a_signature_is_taken_out() -> None:
    """6960-14."""
    requestor = tlv(0xA1, tlv(0x82, b"client.example"))
    algorithm = sequence(der.FOREIGN)
    signed = sequence(algorithm, tlv(der.BIT_STRING, b"\x00sig"))
    whole = request(requestor=requestor, signature=tlv(0xA0, signed))
    ids, nonce, _, signature = parse_ocsp_request(whole)
    assert (len(ids), nonce) == (1, None)
    unsigned = request(requestor=requestor)
    assert signature == (unsigned[2:], algorithm, b"sig", ())
    certificates = tlv(0xA0, sequence(sequence(b"\x05\x00"), sequence(b"")))
    signed = sequence(algorithm, tlv(der.BIT_STRING, b"\x00sig"), certificates)
    signature = parse_ocsp_request(request(signature=tlv(0xA0, signed)))[3]
    assert signature is not None
    assert signature[3] == (sequence(b"\x05\x00"), sequence(b""))
    assert parse_ocsp_request(unsigned)[3] is None


def test_preferred_signature_algorithms_are_taken_out_in_their_order() -> None:
    """6960-24."""
    wanted = [sequence(bytes([6, 2, 0x2A, index])) for index in range(10)]
    with_certificate = [sequence(algorithm, sequence(der.FOREIGN)) for algorithm in wanted]
    content = sequence(*with_certificate)
    octets = request(extensions=extension(der.PREFERRED_ALGORITHMS, content))
    assert parse_ocsp_request(octets)[2] == tuple(wanted[:8])
    for bad in (b"", b"\x30\x01", der.NULL, sequence(der.NULL), sequence(sequence(der.NULL)), content + b"\x00"):
        refused(request(extensions=extension(der.PREFERRED_ALGORITHMS, bad)), "preferred signature algorithm")


MALFORMED_SIGNATURES = {
    "not a sequence": (tlv(0xA0, b"\x02\x01\x00"), "optionalSignature"),
    "no bits": (tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING))), "BIT STRING"),
    "nine unused bits": (tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING, b"\x09s"))), "BIT STRING"),
    "unused bits of none": (tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING, b"\x03"))), "BIT STRING"),
    "trailing": (
        tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING, b"\x00s")), der.NULL),
        "octets follow optionalSignature",
    ),
}


@pytest.mark.parametrize("case", MALFORMED_SIGNATURES)
def test_malformed_signatures_are_refused(case: str) -> None:
    signature, sentence = MALFORMED_SIGNATURES[case]
    refused(request(signature=signature), sentence)


@pytest.mark.parametrize("oid", [der.ACCEPTABLE_RESPONSES, der.SERVICE_LOCATOR, der.PREFERRED_ALGORITHMS])
@pytest.mark.parametrize("critical", [b"", der.FALSE, der.TRUE])
def test_extensions_we_know_are_read_over(oid: bytes, critical: bytes) -> None:
    """6960-20, -23, -24."""
    assert parse_ocsp_request(request(extensions=extension(oid, b"\x30\x00", critical)))
    assert parse_ocsp_request(request(single=extension(oid, b"\x30\x00", critical)))


def test_unknown_extensions_are_ignored_unless_they_are_critical() -> None:
    """6960-13."""
    for critical in (b"", der.FALSE):
        assert parse_ocsp_request(request(extensions=extension(der.FOREIGN, b"x", critical)))
        assert parse_ocsp_request(request(single=extension(der.FOREIGN, b"x", critical)))
    for place in ("extensions", "single"):
        refused(request(**{place: extension(der.FOREIGN, b"x", der.TRUE)}), "critical extension that isn't understood")


def test_extensions_twice_too_many_empty_or_of_another_shape_are_refused() -> None:
    once = extension(der.FOREIGN, b"x")
    refused(request(extensions=once + once), "appears twice")
    nonce = extension(der.NONCE, octet_string(b"n" * 16))
    refused(request(extensions=nonce + nonce), "appears twice")  # 9654-04
    many = b"".join(extension(bytes([6, 2, 0x2A, index]), b"x") for index in range(33))
    refused(request(extensions=many), "more than 32")
    ids = sequence(sequence(cert_id()))
    refused(sequence(sequence(ids, tlv(0xA2, sequence()))), "Extensions is empty")
    refused(request(extensions=extension(der.FOREIGN, b"x", b"\x01\x01\x01")), "neither TRUE nor FALSE")
    refused(request(extensions=extension(der.FOREIGN, b"x", b"\x01\x02\xff\xff")), "neither TRUE nor FALSE")
    refused(request(extensions=sequence(der.FOREIGN, octet_string(b"x"), der.NULL)), "isn't one OCTET STRING")
    refused(request(extensions=sequence(b"\x06\x00", octet_string(b"x"))), "invalid OBJECT IDENTIFIER")
    refused(request(extensions=sequence(b"\x06\x02\x2a\x80", octet_string(b"x"))), "invalid OBJECT IDENTIFIER")
    refused(request(extensions=sequence(b"\x06\x03\x2a\x80\x01", octet_string(b"x"))), "invalid OBJECT IDENTIFIER")


@pytest.mark.parametrize("size", [1, 16, 32, 33, 128])
def test_nonces_wrapped_and_raw_are_kept_byte_for_byte(size: int) -> None:
    """9654-02, -03."""
    wrapped = octet_string(b"\x99" * size)
    assert parse_ocsp_request(request(extensions=extension(der.NONCE, wrapped)))[1] == wrapped
    raw = b"\x99" * size
    assert parse_ocsp_request(request(extensions=extension(der.NONCE, raw)))[1] == raw


def test_nonces_of_no_octets_or_over_128_are_refused() -> None:
    for value in (b"", octet_string(b""), octet_string(bytes(129)), b"\x99" * 129):
        refused(request(extensions=extension(der.NONCE, value)), "1 to 128 octets")


def test_a_nonce_counts_among_the_request_extensions_only() -> None:
    """9654-01."""
    assert parse_ocsp_request(request(single=extension(der.NONCE, octet_string(b"n" * 16))))[1] is None


def test_several_cert_ids_in_their_order_and_not_too_many() -> None:
    ids = [cert_id(serial=bytes([1 + index])) for index in range(MAX_CERT_IDS)]
    assert [each[3][0] for each in parse_ocsp_request(request(*ids))[0]] == list(range(1, MAX_CERT_IDS + 1))
    refused(request(*ids, cert_id()), "more than 20 CertIDs")
    refused(sequence(sequence(sequence())), "requestList is empty")


def test_lengths_are_limited_before_anything_is_read() -> None:
    filler = octet_string(bytes(MAX_REQUEST_BYTES))
    refused(request(extensions=extension(der.FOREIGN, filler)), "longer than 16384 octets")
    padding = MAX_REQUEST_BYTES - len(request(extensions=extension(der.FOREIGN, bytes(16000))))
    whole = request(extensions=extension(der.FOREIGN, bytes(16000 + padding)))
    assert len(whole) == MAX_REQUEST_BYTES
    assert parse_ocsp_request(whole)


NOT_DER = {
    "empty": b"",
    "one octet": b"\x30",
    "another tag": b"\x31" + request()[1:],
    "octets follow": request() + b"\x00",
    "indefinite length": b"\x30\x80" + request()[2:] + b"\x00\x00",
    "a length that isn't minimal": b"\x30\x81" + request()[1:],
    "a length with a leading zero": b"\x30\x82\x00" + request()[1:],
    "a length of five octets": b"\x30\x85\x00\x00\x00\x00" + request()[1:],
    "longer than it is": b"\x30\x7f" + request()[2:],
    "a high tag number": sequence(sequence(b"\x3f\x01\x00")),
    "an HTML page": b"<html></html>",
}


@pytest.mark.parametrize("case", NOT_DER)
def test_what_is_not_der_is_refused(case: str) -> None:
    refused(NOT_DER[case], r"\(at offset \d+\)")


def test_the_offset_says_where() -> None:
    octets = request(cert_id(serial=b"\x00\x01"))
    with pytest.raises(MalformedRequest) as refusal:
        parse_ocsp_request(octets)
    assert f"at offset {octets.index(bytes.fromhex('02020001'))}" in str(refusal.value)


def test_every_truncation_is_refused() -> None:
    whole = request(
        cert_id(),
        cert_id("sha1"),
        version=tlv(0xA0, b"\x02\x01\x00"),
        requestor=tlv(0xA1, tlv(0x82, b"a")),
        extensions=extension(der.NONCE, octet_string(b"n" * 16)),
        signature=tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING, b"\x00s"))),
    )
    assert parse_ocsp_request(whole)
    for size in range(len(whole)):
        with pytest.raises(MalformedRequest):
            parse_ocsp_request(whole[:size])


def outcome(octets: bytes) -> object:
    try:
        return parse_ocsp_request(octets)
    except MalformedRequest as error:
        return type(error)


SEEDS = [
    KNOWN_REQUEST,
    request(cert_id("sha1"), extensions=extension(der.NONCE, octet_string(b"n" * 16), der.FALSE)),
    request(signature=tlv(0xA0, sequence(sequence(der.FOREIGN), tlv(der.BIT_STRING, b"\x00s")))),
]


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    outcome(octets)


@given(st.sampled_from(SEEDS), st.data())
def test_any_change_of_a_request_is_read_or_refused(seed: bytes, data: st.DataObject) -> None:
    octets = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    read = outcome(bytes(octets))
    # Whatever is read is a view of the input: nothing is made up, and nothing from beyond it.
    if isinstance(read, tuple):
        ids, nonce, preferences, signature = read
        parts = [*(part for one in ids for part in one[1:]), *preferences]
        parts += ([] if nonce is None else [nonce]) + ([] if signature is None else [*signature[:3], *signature[3]])
        assert all(part in bytes(octets) for part in parts)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(ALGORITHMS)), st.booleans(), st.integers(-(2**170), 2**170)),
        min_size=1,
        max_size=5,
    ),
    st.none() | st.binary(min_size=1, max_size=126),
)
@example([("sha1", True, 0)], b"\x04\x00")
def test_what_was_written_is_read(ids: list[tuple[str, bool, int]], nonce: bytes | None) -> None:
    written = []
    for name, has_null, number in ids:
        serial = number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)
        written.append(cert_id(name, der.NULL if has_null else b"", serial=serial))
    content = b"" if nonce is None else extension(der.NONCE, octet_string(nonce))
    read, read_nonce, *_ = parse_ocsp_request(request(*written, extensions=content))
    assert [(each[0] <= 4, int.from_bytes(each[3], "big", signed=True)) for each in read] == [
        (has_null, number) for _, has_null, number in ids
    ]
    assert read_nonce == (None if nonce is None else octet_string(nonce))

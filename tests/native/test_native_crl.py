"""CRLs from the encoder alone, judged by pyca/cryptography and `openssl crl`."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given
from hypothesis import strategies as st

from responder._native import CRLBuilder, PublicKey, crl_excerpt, load_public_key
from responder.pki import epoch_seconds
from tests import der
from tests.der import extension, octet_string, sequence, tlv
from tests.makers import CA, NOW, RSA_PSS, check_signature, make_ca, native

THIS_UPDATE = epoch_seconds(NOW)
NEXT_UPDATE = THIS_UPDATE + 7 * 86400
KEY_ID = b"k" * 20


@pytest.fixture(scope="module", params=["ec", "p384", "p521", "rsa", "ed25519"])
def ca(request: pytest.FixtureRequest) -> CA:
    return make_ca(request.param)


@pytest.fixture(scope="module")
def one_ca() -> CA:
    return make_ca("ec")


def sign(
    ca: CA,
    builder: CRLBuilder,
    number: int = 1,
    this_update: int = THIS_UPDATE,
    next_update: int = NEXT_UPDATE,
    extensions: bytes = b"",
) -> bytes:
    return builder.sign(
        native(ca.key), ca.certificate.subject.public_bytes(), KEY_ID, number, this_update, next_update, extensions
    )


def judge(ca: CA, crl: bytes) -> x509.CertificateRevocationList:
    read = x509.load_der_x509_crl(crl)
    assert read.is_signature_valid(ca.key.public_key())
    assert read.public_bytes(serialization.Encoding.DER) == crl
    return read


def test_an_empty_crl_leaves_the_field_out(ca: CA) -> None:
    """5280-04; 5280-01, -02, -05."""
    crl = sign(ca, CRLBuilder())
    read = judge(ca, crl)
    assert len(read) == 0
    assert read.issuer == ca.certificate.subject
    assert ca.certificate.subject.public_bytes() in read.tbs_certlist_bytes
    assert read.last_update_utc == NOW
    assert read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 1
    key_identifier = read.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert key_identifier.value.key_identifier == KEY_ID
    assert [each.critical for each in read.extensions] == [False, False]
    # v2, then the same AlgorithmIdentifier as outside
    algorithm = native(ca.key).signature_algorithm
    assert read.tbs_certlist_bytes.index(b"\x02\x01\x01" + algorithm) == 2
    assert crl.count(algorithm) == 2
    # nextUpdate is followed by the extensions
    assert b"Z\xa0" in read.tbs_certlist_bytes


def test_entries_with_and_without_reasons(ca: CA) -> None:
    """5280-09, -10."""
    builder = CRLBuilder()
    serials = {-1: b"\x01", 0: b"\x02", 1: b"\x00\xff", 6: b"\x7f" * 20, 10: b"\x05"}
    for reason, serial in serials.items():
        builder.add(serial, THIS_UPDATE - 60, reason)
    builder.add(b"\x06", THIS_UPDATE - 60, 1, THIS_UPDATE - 86400)
    builder.add(b"\x07", THIS_UPDATE - 60, -1, THIS_UPDATE - 86400)
    assert len(builder) == 7
    read = judge(ca, sign(ca, builder))
    assert [each.serial_number for each in read] == [1, 2, 255, int.from_bytes(b"\x7f" * 20, "big"), 5, 6, 7]
    found = []
    for entry in read:
        assert entry.revocation_date_utc == datetime.fromtimestamp(THIS_UPDATE - 60, UTC)
        assert not any(each.critical for each in entry.extensions)
        found.append([type(each.value).__name__ for each in entry.extensions])
    both, date_only = ["CRLReason", "InvalidityDate"], ["InvalidityDate"]
    assert found == [[], [], ["CRLReason"], ["CRLReason"], ["CRLReason"], both, date_only]
    assert b"\x18\x0f20260531120000Z" in read.tbs_certlist_bytes


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        ("2049-12-31T23:59:59", b"\x17\x0d491231235959Z"),
        ("2050-01-01T00:00:00", b"\x18\x0f20500101000000Z"),
        ("1999-12-31T23:59:59", b"\x17\x0d991231235959Z"),
        ("2100-03-01T00:00:00", b"\x18\x0f21000301000000Z"),
    ],
)
def test_times_are_utctime_through_2049(one_ca: CA, moment: str, written: bytes) -> None:
    """5280-03, for thisUpdate, nextUpdate and revocationDate alike."""
    at = epoch_seconds(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    builder = CRLBuilder()
    builder.add(b"\x01", at)
    read = judge(one_ca, sign(one_ca, builder, this_update=at, next_update=at))
    assert read.tbs_certlist_bytes.count(written) == 3
    assert epoch_seconds(read.last_update_utc) == at


@pytest.mark.parametrize("number", [1, 127, 128, 255, 256, 2**64, 2**159 - 1])
def test_numbers_up_to_20_octets(one_ca: CA, number: int) -> None:
    read = judge(one_ca, sign(one_ca, CRLBuilder(), number))
    assert read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number


def test_further_extensions_come_last(one_ca: CA) -> None:
    more = extension(bytes.fromhex("0603551d1c"), sequence(tlv(0x81, b"\xff")), der.TRUE)
    read = judge(one_ca, sign(one_ca, CRLBuilder(), extensions=more))
    assert isinstance(list(read.extensions)[-1].value, x509.IssuingDistributionPoint)


def test_rsa_pss_when_asked() -> None:
    ca = make_ca("rsa")
    name = ca.certificate.subject.public_bytes()
    crl = CRLBuilder().sign(native(ca.key), name, KEY_ID, 1, THIS_UPDATE, NEXT_UPDATE, b"", RSA_PSS)
    assert crl.count(RSA_PSS) == 2
    read = x509.load_der_x509_crl(crl)
    check_signature(ca.key.public_key(), read.signature, read.tbs_certlist_bytes, pss=True)
    with pytest.raises(ValueError, match="doesn't sign with this algorithm"):
        CRLBuilder().sign(native(make_ca("ec").key), name, KEY_ID, 1, THIS_UPDATE, NEXT_UPDATE, b"", RSA_PSS)


def test_a_builder_can_be_signed_again_with_more(one_ca: CA) -> None:
    builder = CRLBuilder()
    builder.add(b"\x01", THIS_UPDATE)
    assert len(judge(one_ca, sign(one_ca, builder))) == 1
    builder.add(b"\x02", THIS_UPDATE)
    assert len(judge(one_ca, sign(one_ca, builder, 2))) == 2


def test_openssl_verifies_ten_thousand_entries(ca: CA, tmp_path: Path) -> None:
    builder = CRLBuilder()
    for number in range(10_000):
        builder.add((2**150 + number).to_bytes(19, "big"), THIS_UPDATE - number, (1, 4, 5, -1)[number % 4])
    (tmp_path / "crl.der").write_bytes(sign(ca, builder))
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "crl", "-inform", "DER", "-noout", "-text", "-verify"]
    done = subprocess.run(
        [*command, "-in", tmp_path / "crl.der", "-CAfile", tmp_path / "ca.pem"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "verify OK" in done.stderr
    assert done.stdout.count("Serial Number:") == 10_000


@given(st.lists(st.tuples(st.integers(0, 2**159), st.integers(0, 2**33), st.sampled_from([-1, 1, 5, 9])), max_size=20))
def test_what_was_added_is_read(one_ca: CA, entries: list[tuple[int, int, int]]) -> None:
    builder = CRLBuilder()
    for number, revoked_at, reason in entries:
        builder.add(number.to_bytes(number.bit_length() // 8 + 1, "big"), revoked_at, reason)
    read = judge(one_ca, sign(one_ca, builder))
    assert [(each.serial_number, epoch_seconds(each.revocation_date_utc)) for each in read] == [
        (number, revoked_at) for number, revoked_at, _ in entries
    ]


def test_what_cannot_be_said_is_refused(one_ca: CA) -> None:
    builder = CRLBuilder()
    for serial in (b"", b"\x00\x01", b"\x01" * 513):
        with pytest.raises(ValueError, match="minimal INTEGER"):
            builder.add(serial, THIS_UPDATE)
    for reason in (-2, 7, 11):
        with pytest.raises(ValueError, match=f"reason {reason}"):
            builder.add(b"\x01", THIS_UPDATE, reason)
    for moment in (-1, 253402300800):
        with pytest.raises(ValueError, match="revocation_time"):
            builder.add(b"\x01", moment)
    assert len(builder) == 0
    for number in (0, -1, 2**159):
        with pytest.raises(ValueError, match="CRL number"):
            sign(one_ca, builder, number)
    with pytest.raises(ValueError, match=r"next_update .* is before"):
        sign(one_ca, builder, next_update=THIS_UPDATE - 1)
    with pytest.raises(ValueError, match="aren't DER Extension"):
        sign(one_ca, builder, extensions=octet_string(b"x"))
    for own in (b"\x14", b"\x23"):
        with pytest.raises(ValueError, match="are written here"):
            sign(one_ca, builder, extensions=extension(b"\x06\x03\x55\x1d" + own, b"\x02\x01\x07"))
    for fraction in ((b"\x01", THIS_UPDATE + 0.5), (b"\x01", THIS_UPDATE, 1.5), (b"\x01", THIS_UPDATE, 1, 0.5)):
        with pytest.raises(TypeError, match="isn't a whole number"):
            builder.add(*fraction)
    key = native(one_ca.key)
    for name in (b"", b"\x30\x00", b"\x30\x05", octet_string(b"x")):
        with pytest.raises(ValueError, match="isn't a DER Name"):
            builder.sign(key, name, KEY_ID, 1, THIS_UPDATE, NEXT_UPDATE)
    with pytest.raises(ValueError, match="key identifier is empty"):
        builder.sign(key, one_ca.certificate.subject.public_bytes(), b"", 1, THIS_UPDATE, NEXT_UPDATE)


def public(ca: CA) -> PublicKey:
    return load_public_key(native(ca.key).public_key)


def filled(count: int) -> CRLBuilder:
    """Entries of every form, in the order a database gives them."""
    builder = CRLBuilder()
    serials = sorted((2**40 + 977 * index).to_bytes(6, "big") for index in range(count))
    for index, serial in enumerate(serials):
        reason = (1, -1, 4, 6)[index % 4]
        builder.add(serial, THIS_UPDATE - index, reason, THIS_UPDATE - 9 if index % 3 else -1)
    return builder


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 5000])
def test_a_crl_is_read_back_as_it_was_asked_for(ca: CA, count: int) -> None:
    builder = filled(count)
    assert builder.check(sign(ca, builder), public(ca)) == []


def test_any_changed_octet_is_noticed(one_ca: CA) -> None:
    """By the signature; and entry by entry where the signature is right."""
    builder = filled(5)
    crl = sign(one_ca, builder)
    for position in range(len(crl)):
        damaged = crl[:position] + bytes([crl[position] ^ 1]) + crl[position + 1 :]
        with pytest.raises(ValueError, match=r"can't be read|doesn't verify|isn't one of ours|asked for"):
            builder.check(damaged, public(one_ca))
    for wrong in (filled(4), filled(6), CRLBuilder()):
        with pytest.raises(ValueError, match=r"asked for|were asked"):
            wrong.check(crl, public(one_ca))


@pytest.mark.parametrize(
    "row",
    [
        (b"\x02", THIS_UPDATE, -1, -1),
        (b"\x01", THIS_UPDATE + 1, -1, -1),
        (b"\x01", THIS_UPDATE, 1, -1),
        (b"\x01", THIS_UPDATE, -1, THIS_UPDATE),
        (b"\x01\x00", THIS_UPDATE, -1, -1),
    ],
)
def test_another_entry_is_noticed(one_ca: CA, row: tuple[bytes, int, int, int]) -> None:
    asked, made = CRLBuilder(), CRLBuilder()
    asked.extend([(b"\x01", THIS_UPDATE, -1, -1)])
    made.extend([row])
    with pytest.raises(ValueError, match="entry 0 isn't what was asked for"):
        asked.check(sign(one_ca, made), public(one_ca))


@given(
    st.sets(st.binary(min_size=1, max_size=3).filter(lambda octets: octets[0] not in {0, 255}), max_size=30),
    st.sets(st.binary(min_size=1, max_size=3).filter(lambda octets: octets[0] not in {0, 255}), max_size=30),
    st.randoms(),
)
def test_what_is_gone_since_the_last_crl(one_ca: CA, before: set[bytes], after: set[bytes], chance: Random) -> None:
    last, new = CRLBuilder(), CRLBuilder()
    shuffled = sorted(before)
    chance.shuffle(shuffled)  # another program's CRL has its own order
    last.extend((serial, THIS_UPDATE, -1, -1) for serial in shuffled)
    new.extend((serial, THIS_UPDATE, -1, -1) for serial in sorted(after))
    gone = new.check(sign(one_ca, new, 2), public(one_ca), sign(one_ca, last))
    assert gone == sorted(before - after)


def test_rows_and_excerpts_of_a_crl(ca: CA) -> None:
    builder = filled(300)
    crl = sign(ca, builder)
    for positions in ([], [0], [299], [0, 7, 150, 299]):
        name, nameless = crl_excerpt(crl, positions)
        excerpt = x509.load_der_x509_crl(nameless)
        rows = builder.rows(positions)
        assert [entry.serial_number for entry in excerpt] == [int.from_bytes(row[0], "big") for row in rows]
        assert [epoch_seconds(entry.revocation_date_utc) for entry in excerpt] == [row[1] for row in rows]
        assert name == ca.certificate.subject.public_bytes()
        assert len(excerpt.issuer.rdns) == 0
    for positions in ([300], [-1]):
        with pytest.raises((IndexError, ValueError)):
            crl_excerpt(crl, positions)
        with pytest.raises(IndexError):
            builder.rows(positions)
    with pytest.raises(ValueError, match="ascend"):
        crl_excerpt(crl, [1, 1])


@given(st.binary(max_size=300))
def test_any_octets_are_a_crl_or_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="the CRL can't be read"):
        crl_excerpt(octets, [])


@given(st.integers(-631152000, 253402300799))
def test_times_are_read_as_they_are_written(seconds: int) -> None:
    """1950 to 9999, through the reader that checks CRLs; the calendar is pyca's."""
    ca = make_crl_ca()
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(NOW)
        .next_update(NOW)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(1).revocation_date(moment.replace(tzinfo=None)).build()
        )
        .sign(ca.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    builder = CRLBuilder()
    if seconds >= 0:
        builder.add(b"\x01", seconds)
        assert builder.check(crl, public(ca)) == []
    else:
        builder.add(b"\x01", 0)
        with pytest.raises(ValueError, match="entry 0"):
            builder.check(crl, public(ca))


def make_crl_ca() -> CA:
    global _ca
    _ca = _ca or make_ca("ec")
    return _ca


_ca: CA | None = None

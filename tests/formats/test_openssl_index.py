"""The reader of openssl's index.txt: table cases, and files made and judged by `openssl ca` itself."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from responder.errors import ImportRejected
from responder.formats.openssl_index import MAX_FAULTS, line_of, parse
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    ImportedStatus,
    Issuer,
    RevokedInfo,
    StatusVersion,
)

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
KEPT = [each for each in CRLReason if each not in {CRLReason.unspecified, CRLReason.removeFromCRL}]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc] # year, month, day and as many more as given


def one(line: bytes) -> ImportedStatus:
    (status,) = parse(line + b"\n")
    return status


def revoked(revocation: bytes) -> RevokedInfo | None:
    return one(b"R\t270101000000Z\t" + revocation + b"\t1000\tunknown\t/CN=a").revoked_info


def faults_of(data: bytes | Iterable[bytes]) -> list[tuple[int, str]]:
    with pytest.raises(ImportRejected) as caught:
        parse(data)
    return caught.value.faults


# --- good lines -----------------------------------------------------------------------------------


def test_valid_line_is_good_with_its_expiry() -> None:
    expected = ImportedStatus(
        serial_number=0x1000, revoked_info=None, not_before=None, not_after=utc(2027, 1, 2, 3, 4, 5), line=1
    )
    assert one(b"V\t270102030405Z\t\t1000\tunknown\t/CN=host 1/O=Ex, Inc") == expected


def test_expired_line_is_good_with_its_past_expiry() -> None:
    status = one(b"E\t200102030405Z\t\t1000\tunknown\t/CN=a")
    assert status.revoked_info is None
    assert status.not_after == utc(2020, 1, 2, 3, 4, 5)


def test_revoked_line_has_the_revocation_and_the_expiry() -> None:
    status = one(b"R\t270101000000Z\t261122033956Z\t0A\tunknown\t/CN=a")
    assert status.revoked_info == RevokedInfo(utc(2026, 11, 22, 3, 39, 56))
    assert status.not_after == utc(2027, 1, 1)
    assert status.serial_number == 10


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        (b"490101000000Z", utc(2049, 1, 1)),
        (b"491231235959Z", utc(2049, 12, 31, 23, 59, 59)),
        (b"500101000000Z", utc(1950, 1, 1)),
        (b"990101000000Z", utc(1999, 1, 1)),
        (b"20491231235959Z", utc(2049, 12, 31, 23, 59, 59)),
        (b"20500101000000Z", utc(2050, 1, 1)),
        (b"99991231235959Z", utc(9999, 12, 31, 23, 59, 59)),
        (b"240229000000Z", utc(2024, 2, 29)),
        (b"2601020304Z", utc(2026, 1, 2, 3, 4)),
    ],
)
def test_s4_1_2_5_years_have_two_or_four_digits_with_the_pivot_at_50(expiry: bytes, expected: datetime) -> None:
    assert one(b"V\t" + expiry + b"\t\t01\tunknown\t/CN=a").not_after == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (b"unspecified", None),
        (b"keyCompromise", CRLReason.keyCompromise),
        (b"CACompromise", CRLReason.cACompromise),
        (b"affiliationChanged", CRLReason.affiliationChanged),
        (b"superseded", CRLReason.superseded),
        (b"cessationOfOperation", CRLReason.cessationOfOperation),
        (b"certificateHold", CRLReason.certificateHold),
        (b"removeFromCRL", None),
        (b"privilegeWithdrawn", CRLReason.privilegeWithdrawn),
        (b"AACompromise", CRLReason.aACompromise),
        (b"KEYCOMPROMISE", CRLReason.keyCompromise),
        (b"superseded,ignored as openssl does", CRLReason.superseded),
        (b"holdInstruction,holdInstructionCallIssuer", CRLReason.certificateHold),
        (b"holdInstruction,1.2.840.10040.2.3", CRLReason.certificateHold),
    ],
)
def test_reason_is_read_under_openssls_name(reason: bytes, expected: CRLReason | None) -> None:
    assert revoked(b"261122033956Z," + reason) == RevokedInfo(utc(2026, 11, 22, 3, 39, 56), expected)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"keyTime,20260101000000Z", utc(2026, 1, 1)),
        (b"keyTime,19990101000000Z", utc(1999, 1, 1)),
        (b"keyTime,20260101000000.5Z", utc(2026, 1, 1)),
        (b"keyTime,202601010000Z", utc(2026, 1, 1)),
        (b"keyTime,20260101013000+0130", utc(2026, 1, 1)),
        (b"keyTime,20260101000000-0130", utc(2026, 1, 1, 1, 30)),
        (b"KeyTime,20260101000000Z", utc(2026, 1, 1)),
    ],
)
def test_compromise_time_is_the_invalidity_date(argument: bytes, expected: datetime) -> None:
    at = utc(2026, 11, 22, 3, 39, 56)
    assert revoked(b"261122033956Z," + argument) == RevokedInfo(at, CRLReason.keyCompromise, expected)
    assert revoked(b"261122033956Z,CA" + argument) == RevokedInfo(at, CRLReason.cACompromise, expected)


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        (b"00", 0),
        (b"01", 1),
        (b"0000FF", 255),
        (b"-01", -1),
        (b"-80", -128),
        (b"abCD", 0xABCD),
        (b"F" * 40, 2**160 - 1),
        (b"1" * 512, int("1" * 512, 16)),
    ],
)
def test_serial_is_hexadecimal_of_any_sign_and_length(serial: bytes, expected: int) -> None:
    assert one(b"V\t270101000000Z\t\t" + serial + b"\tunknown\t/CN=a").serial_number == expected


@pytest.mark.parametrize(
    "subject",
    [b"", b"/CN=a\\\tb", b"/CN=a\tb\tc", b"/CN=\xe9\xff\x00", "/CN=Jürgen/O=Ex, Inc".encode(), b"/CN=\r"],
)
def test_subject_may_hold_anything(subject: bytes) -> None:
    assert one(b"V\t270101000000Z\t\t01\tunknown\t" + subject).serial_number == 1


def test_blank_lines_comments_and_carriage_returns_are_skipped() -> None:
    data = b"# kept by hand\r\n\r\nV\t270101000000Z\t\t01\tunknown\t/CN=a\r\n \n\nV\t270101000000Z\t\t02\tf.pem\t\r\n"
    assert [status.serial_number for status in parse(data)] == [1, 2]


def test_empty_file_is_no_certificates() -> None:
    assert parse(b"") == []
    assert parse(b"\n") == []


def test_order_is_kept_and_subjects_may_repeat() -> None:
    data = b"".join(b"V\t270101000000Z\t\t%02X\tunknown\t/CN=same\n" % serial for serial in (9, 3, 7))
    assert [status.serial_number for status in parse(data)] == [9, 3, 7]


def test_lines_of_an_open_file_are_read_as_the_whole_file_is() -> None:
    data = b"V\t270101000000Z\t\t01\tunknown\t/CN=a\nR\t270101000000Z\t261122033956Z\t02\tunknown\t/CN=b\n"
    assert parse(io.BytesIO(data)) == parse(data) == parse(iter(data.splitlines(keepends=True)))


# --- bad lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"V\t270101000000Z\t\t01\t/CN=a", "it has 4 TABs instead of 5"),
        (b"-----BEGIN CERTIFICATE-----", "it has 0 TABs instead of 5"),
        (b"\xef\xbb\xbfV\t270101000000Z\t\t01\tunknown\t/CN=a", "the status"),
        (b"X\t270101000000Z\t\t01\tunknown\t/CN=a", 'the status "X" isn\'t V, R or E'),
        (b"v\t270101000000Z\t\t01\tunknown\t/CN=a", "the status"),
        (b"\t270101000000Z\t\t01\tunknown\t/CN=a", 'the status ""'),
        (b"V\t\t\t01\tunknown\t/CN=a", 'the expiry ""'),
        (b"V\t270101000000\t\t01\tunknown\t/CN=a", "the expiry"),
        (b"V\t271301000000Z\t\t01\tunknown\t/CN=a", '"271301000000Z" isn\'t a time'),
        (b"V\t270229000000Z\t\t01\tunknown\t/CN=a", "isn't a time"),
        (b"V\t270101000060Z\t\t01\tunknown\t/CN=a", "isn't a time"),
        (b"V\t27010100000Z\t\t01\tunknown\t/CN=a", "isn't a time"),
        (b"V\t00000101000000Z\t\t01\tunknown\t/CN=a", "isn't a time"),
        (b"V\t270101000000Z\t261122033956Z\t01\tunknown\t/CN=a", 'the status is "V", yet'),
        (b"E\t270101000000Z\t261122033956Z\t01\tunknown\t/CN=a", 'the status is "E", yet'),
        (b"R\t270101000000Z\t\t01\tunknown\t/CN=a", "there is no revocation date"),
        (b"R\t270101000000Z\t,keyCompromise\t01\tunknown\t/CN=a", "doesn't begin with a time"),
        (b"R\t270101000000Z\t261322033956Z\t01\tunknown\t/CN=a", "isn't a time"),
        (b"R\t270101000000Z\t261122033956Z,\t01\tunknown\t/CN=a", 'the reason ""'),
        (b"R\t270101000000Z\t261122033956Z,stolen\t01\tunknown\t/CN=a", 'the reason "stolen"'),
        (b"R\t270101000000Z\t261122033956Z,holdInstruction\t01\tunknown\t/CN=a", "without its instruction"),
        (b"R\t270101000000Z\t261122033956Z,keyTime\t01\tunknown\t/CN=a", "without its time"),
        (b"R\t270101000000Z\t261122033956Z,CAkeyTime,\t01\tunknown\t/CN=a", "without its time"),
        (b"R\t270101000000Z\t261122033956Z,keyTime,260101000000Z\t01\tunknown\t/CN=a", "isn't a time"),
        (b"R\t270101000000Z\t261122033956Z,keyTime,2026W011120000Z\t01\tunknown\t/CN=a", "isn't a time"),
        (b"R\t270101000000Z\t261122033956Z,keyTime,00010101000000+0100\t01\tunknown\t/CN=a", "isn't a time"),
        (b"V\t270101000000Z\t\t\tunknown\t/CN=a", 'the serial "" isn\'t'),
        (b"V\t270101000000Z\t\t0x10\tunknown\t/CN=a", "the serial"),
        (b"V\t270101000000Z\t\t+1\tunknown\t/CN=a", "the serial"),
        (b"V\t270101000000Z\t\t1_0\tunknown\t/CN=a", "the serial"),
        (b"V\t270101000000Z\t\t 10\tunknown\t/CN=a", "the serial"),
        (b"V\t270101000000Z\t\t-\tunknown\t/CN=a", "the serial"),
        (b"V\t270101000000Z\t\t0A:0B\tunknown\t/CN=a", "the serial"),
        (b"V\t270101000000Z\t\t" + b"1" * 513 + b"\tunknown\t/CN=a", "at most 512"),
    ],
)
def test_bad_line_is_explained(line: bytes, words: str) -> None:
    ((number, sentence),) = faults_of(b"V\t270101000000Z\t\t7777\tunknown\t/CN=fine\n" + line + b"\n")
    assert number == 2
    assert words in sentence
    assert sentence.endswith((".", "?"))
    assert sentence.isascii()
    assert sentence.isprintable()


def test_last_line_without_its_ending_is_rejected_for_the_file_may_be_cut_short() -> None:
    ((number, sentence),) = faults_of(b"V\t270101000000Z\t\t01\tunknown\t/CN=a")
    assert number == 1
    assert "cut short" in sentence


@pytest.mark.parametrize("second", [b"01", b"1", b"0001"])
def test_serial_that_stands_twice_is_rejected(second: bytes) -> None:
    data = b"V\t270101000000Z\t\t01\tunknown\t/CN=a\n\nV\t270101000000Z\t\t%s\tunknown\t/CN=a\n" % second
    assert faults_of(data) == [(3, "serial 1 stands in line 1 already.")]


def test_all_bad_lines_are_counted_and_the_first_hundred_listed() -> None:
    with pytest.raises(ImportRejected, match=r"has 1,500 bad lines of 1,501; nothing") as caught:
        parse(b"V\t270101000000Z\t\t01\tunknown\t/CN=a\n" + b"nonsense\n" * 1500)
    assert len(caught.value.faults) == MAX_FAULTS
    assert caught.value.faults[0][0] == 2


def test_one_bad_line_takes_the_good_ones_with_it() -> None:
    with pytest.raises(ImportRejected, match="has 1 bad line of 3"):
        parse(b"V\t270101000000Z\t\t01\tunknown\t/CN=a\nR\nV\t270101000000Z\t\t02\tunknown\t/CN=a\n")


FRAGMENTS = st.sampled_from(
    [
        b"V",
        b"R",
        b"E",
        b"\t",
        b"\n",
        b"\r",
        b"270101000000Z",
        b"261122033956Z",
        b",keyTime,",
        b"-",
        b"0A",
        b"#",
        b"\xff",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=30).map(b"".join)))
def test_any_bytes_are_read_or_rejected(data: bytes) -> None:
    try:
        parse(data)
    except ImportRejected as rejected:
        assert rejected.faults


@given(
    serial_number=st.integers(-(2**160), 2**160),
    not_after=st.none() | MOMENTS,
    info=st.none() | st.builds(RevokedInfo, MOMENTS, st.none() | st.sampled_from(KEPT), st.none() | MOMENTS),
)
def test_what_is_written_is_read_as_the_same(
    issuer: Issuer, serial_number: int, not_after: datetime | None, info: RevokedInfo | None
) -> None:
    version = StatusVersion(1, 1, utc(2026, 6, 1))
    kind = CertStatus.GOOD if info is None else CertStatus.REVOKED
    status = CertificateStatus(Certificate.numbered(issuer, serial_number), kind, version, info, None, not_after)
    read = one(line_of(status).encode())
    assert read.serial_number == serial_number
    assert read.not_after == (not_after or utc(9999, 12, 31, 23, 59, 59))
    if info is not None and info.revocation_reason not in {CRLReason.keyCompromise, CRLReason.cACompromise}:
        info = RevokedInfo(info.revocation_time, info.revocation_reason)  # an index has no invalidity date for it
    assert read.revoked_info == info


# --- the real program -----------------------------------------------------------------------------

CONFIGURATION = """
[ca]
default_ca = here
[here]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = certificates
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = anything
unique_subject = no
string_mask = utf8only
[anything]
commonName = supplied
organizationName = optional
[req]
distinguished_name = empty
[empty]
"""

REVOCATIONS: dict[str, list[str]] = {
    "none": [],
    **{
        f"reason {name}": ["-crl_reason", name]
        for name in (
            "unspecified",
            "keyCompromise",
            "CACompromise",
            "affiliationChanged",
            "superseded",
            "cessationOfOperation",
            "certificateHold",
            "removeFromCRL",
        )
    },
    "hold call": ["-crl_hold", "holdInstructionCallIssuer"],
    "hold reject": ["-crl_hold", "holdInstructionReject"],
    "hold oid": ["-crl_hold", "1.2.840.10040.2.1"],
    "key compromised": ["-crl_compromise", "20260101000000Z"],
    "key compromised long ago": ["-crl_compromise", "19991231235959Z"],
    "CA compromised": ["-crl_CA_compromise", "20260102030405Z"],
}


class OpensslCA:
    """A certification authority run by `openssl ca`, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.serial = 0x7F
        (folder / "certificates").mkdir()
        (folder / "ca.cnf").write_text(CONFIGURATION)
        (folder / "index.txt").touch()
        (folder / "crlnumber").write_text("01\n")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "ca.cnf"]
        self.openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
        self.openssl("req", *key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf")

    def openssl(self, *arguments: str) -> None:
        ran = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr.decode()

    def ca(self, *arguments: str) -> None:
        self.openssl("ca", "-batch", "-config", "ca.cnf", *arguments)

    def issue(self, subject: str = "/CN=leaf", *, start: str = "20200101000000Z", end: str) -> int:
        self.serial += 1
        (self.folder / "serial").write_text(f"{self.serial:04X}\n")
        dates = ["-startdate", start, "-enddate", end]
        self.ca("-notext", "-in", "leaf.csr", "-subj", subject, "-utf8", *dates, "-out", f"{self.serial}.pem")
        return self.serial

    def revoke(self, serial: int, *how: str) -> None:
        self.ca("-revoke", f"{serial}.pem", *how)

    @property
    def index(self) -> bytes:
        return (self.folder / "index.txt").read_bytes()

    def crl(self) -> x509.CertificateRevocationList:
        self.ca("-gencrl", "-out", "crl.pem")
        return x509.load_pem_x509_crl((self.folder / "crl.pem").read_bytes())


# pyca's names of the reasons, and ours for the entry of a CRL: the two that the module drops are None.
PYCA_REASONS = {
    x509.ReasonFlags.unspecified: None,
    x509.ReasonFlags.key_compromise: CRLReason.keyCompromise,
    x509.ReasonFlags.ca_compromise: CRLReason.cACompromise,
    x509.ReasonFlags.affiliation_changed: CRLReason.affiliationChanged,
    x509.ReasonFlags.superseded: CRLReason.superseded,
    x509.ReasonFlags.cessation_of_operation: CRLReason.cessationOfOperation,
    x509.ReasonFlags.certificate_hold: CRLReason.certificateHold,
    x509.ReasonFlags.remove_from_crl: None,
}


def entry(revoked: x509.RevokedCertificate) -> RevokedInfo:
    extensions = {type(extension.value): extension.value for extension in revoked.extensions}
    reason = extensions.get(x509.CRLReason)
    invalidity = extensions.get(x509.InvalidityDate)
    return RevokedInfo(
        revoked.revocation_date_utc,
        PYCA_REASONS[reason.reason] if isinstance(reason, x509.CRLReason) else None,
        invalidity.invalidity_date_utc if isinstance(invalidity, x509.InvalidityDate) else None,
    )


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OpensslCA:
    ca = OpensslCA(tmp_path_factory.mktemp("ca"))
    for how in REVOCATIONS.values():
        ca.revoke(ca.issue(end="20270101000000Z"), *how)
    ca.revoke(ca.issue(end="20600101000000Z"), "-crl_reason", "superseded")
    ca.revoke(ca.issue(end="20210101000000Z"), "-crl_reason", "keyCompromise")
    ca.issue("/CN=good", end="20491231235959Z")
    ca.issue("/CN=far/O=Ex, Inc", end="20500101000000Z")
    ca.issue("/CN=Jürgen Ω", end="20600101000000Z")
    ca.issue("/CN=expired", end="20210203040506Z")
    ca.serial = 0x80FF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFE
    ca.issue("/CN=highest bit set", end="20270101000000Z")
    ca.ca("-updatedb")
    return ca


def test_revoked_ones_are_those_of_openssls_own_crl_entry_by_entry(ca: OpensslCA) -> None:
    revoked = {status.serial_number: status.revoked_info for status in parse(ca.index) if status.revoked_info}
    expected = {item.serial_number: entry(item) for item in ca.crl()}
    assert len(expected) == len(REVOCATIONS) + 2
    assert revoked == expected


def test_index_of_openssl_has_every_form_that_is_read(ca: OpensslCA) -> None:
    for form in (b",unspecified\t", b",removeFromCRL\t", b",holdInstruction,", b",keyTime,1999", b",CAkeyTime,"):
        assert form in ca.index
    assert b"\nE\t210203040506Z\t\t" in ca.index
    assert b"\nV\t20600101000000Z\t\t" in ca.index


def test_expiries_are_those_of_the_certificates(ca: OpensslCA) -> None:
    statuses = parse(ca.index)
    assert len(statuses) == len(REVOCATIONS) + 7
    for status in statuses:
        pem = (ca.folder / f"{status.serial_number}.pem").read_bytes()
        assert status.not_after == x509.load_pem_x509_certificate(pem).not_valid_after_utc


def test_expired_ones_are_good_and_revoked_ones_stay_revoked_after_their_expiry(ca: OpensslCA) -> None:
    past = [status for status in parse(ca.index) if status.not_after and status.not_after.year == 2021]
    assert [status.revoked_info is None for status in past] == [False, True]


def test_openssl_skips_a_last_line_without_its_ending_which_is_why_it_is_a_fault(tmp_path: Path) -> None:
    ca = OpensslCA(tmp_path)
    ca.revoke(ca.issue(end="20270101000000Z"))
    assert len(list(ca.crl())) == 1
    (tmp_path / "index.txt").write_bytes(ca.index.removesuffix(b"\n"))
    assert len(list(ca.crl())) == 0
    assert "cut short" in faults_of(ca.index)[0][1]

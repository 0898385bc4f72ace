"""What no answer can say: refused by the schema; and where it is there all the same, set aside alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from responder import metrics
from responder.embedded import EmbeddedValkey
from responder.errors import ConfigError, ImportRejected, NotAuthoritative, RevocationRefused, SigningFailed
from responder.formats.openssl_index import parse
from responder.ocsp.revoke import RevocationRequest
from responder.operations.spelling import InvalidField, parse_time
from responder.pki import Certificate, CertStatus, CRLReason, decode_serial, encode_serial
from responder.storage.checks import PostgresChecks
from responder.storage.policies import read_changes
from tests.storage.site import Site, open_site

OLD_SCHEMA = """
ALTER TABLE certificates DROP CONSTRAINT serial_is_minimal, DROP CONSTRAINT revoked_at_is_sayable,
    DROP CONSTRAINT invalidity_date_is_sayable, DROP CONSTRAINT validity_is_calendar_time
"""


@pytest.fixture
async def site(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, valkey.url, tmp_path) as opened:
        yield opened


BAD = {
    "a leading zero": r"('site-ec', '\x0001', false, NULL, NULL, NULL, NULL)",
    "a leading FF": r"('site-ec', '\xff80', false, NULL, NULL, NULL, NULL)",
    "revoked before 1970": r"('site-ec', '\x01', true, '1969-12-31 23:59:59.9Z', NULL, NULL, NULL)",
    "revoked for ever": r"('site-ec', '\x01', true, 'infinity', NULL, NULL, NULL)",
    "revoked since ever": r"('site-ec', '\x01', true, '-infinity', NULL, NULL, NULL)",
    "revoked after 9999": r"('site-ec', '\x01', true, '10000-01-01Z', NULL, NULL, NULL)",
    "invalid before 1970": r"('site-ec', '\x01', true, '2020-01-01Z', '1960-01-01Z', NULL, NULL)",
    "valid since ever": r"('site-ec', '\x01', false, NULL, NULL, '-infinity', NULL)",
    "valid for ever": r"('site-ec', '\x01', false, NULL, NULL, NULL, 'infinity')",
    "valid after 9999": r"('site-ec', '\x01', false, NULL, NULL, NULL, '10000-01-01Z')",
}
INSERT = (
    "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, invalidity_date, not_before, not_after) VALUES "
)


@pytest.mark.parametrize("case", BAD)
async def test_the_schema_refuses_what_cannot_be_said(site: Site, case: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await site.sql(INSERT + BAD[case])


async def test_the_bounds_themselves_are_taken(site: Site) -> None:
    for index, row in enumerate(
        (
            "true, '1970-01-01Z', '1970-01-01Z', '0001-01-01Z', '9999-12-31 23:59:59.999Z'",
            "true, '9999-12-31 23:59:59Z', NULL, NULL, NULL",
            "false, NULL, NULL, NULL, NULL",
        ),
        1,
    ):
        await site.sql(INSERT + rf"('site-ec', '\x0{index}', {row})")
    await site.relay_all()
    assert [await site.status_in_store(number) for number in (1, 2, 3)] == ["revoked", "revoked", "good"]
    assert await PostgresChecks(site.pool).unsayable() == []
    assert await PostgresChecks(site.pool).validate() == 5
    assert await PostgresChecks(site.pool).validate() == 0


async def with_bad_rows(site: Site) -> None:
    """As they were let in before, with two good ones of which one is revoked."""
    await site.sql(OLD_SCHEMA)
    for index, row in enumerate(BAD.values(), 0x20):
        await site.sql(INSERT + row.replace(r"'\x01'", rf"'\x{index:02x}'"))
    await site.sql(INSERT + r"('site-ec', '\x70', true, now(), NULL, NULL, NULL)")
    await site.sql(INSERT + r"('site-ec', '\x71', false, NULL, NULL, NULL, NULL)")


async def test_bad_rows_keep_no_other_from_being_signed_answered_and_listed(site: Site) -> None:
    await with_bad_rows(site)
    before = metrics.UNSAYABLE.value()
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    assert metrics.UNSAYABLE.value() > before
    await site.partitions.make_due("site-ec")
    while await site.presigner(slices=1024).once():
        pass
    assert await site.partitions.overdue("site-ec") <= 1  # its next turn may come at once
    assert await site.status_in_store(0x70) == "revoked"
    assert await site.status_in_store(0x71) == "good"
    # What can be said as nearly is said; what can't is never good.
    assert await site.status_in_store(0x22) == "tombstone of revoked"
    assert (await site.ask(0x23)).cert_statuses[0].name == "REVOKED"
    for serial_number in (0x22, 0x24, 0x26):
        for nonce in (None, b"n"):
            with pytest.raises(SigningFailed, match=r"db check|no answer can say"):
                await site.ask(serial_number, nonce=nonce)
    crl = x509.load_der_x509_crl((await site.builder.publish(site.issuer)).der)
    assert {entry.serial_number for entry in crl} == {0x22, 0x23, 0x24, 0x25, 0x26, 0x70}


async def test_bad_rows_are_listed_with_their_remedies_which_work(site: Site) -> None:
    await with_bad_rows(site)
    checks = PostgresChecks(site.pool)
    rows = await checks.unsayable()
    assert len(rows) == len(BAD) == await checks.count()
    for row in rows:
        await site.sql(row.remedy.partition("then: ")[2] or row.remedy)
    assert await checks.unsayable() == []
    await site.relay_all()
    assert {await site.status_in_store(number) for number in range(0x22, 0x27)} == {"revoked"}


async def test_another_spelling_of_a_revoked_serial_does_not_make_it_good(site: Site) -> None:
    await site.sql(OLD_SCHEMA)
    await site.sql(INSERT + r"('site-ec', '\x01', true, now(), NULL, NULL, NULL)")
    await site.relay_all()
    await site.sql(INSERT + r"('site-ec', '\x0001', false, NULL, NULL, NULL, NULL)")
    await site.relay_all()
    await site.partitions.make_due("site-ec")
    while await site.presigner(slices=1024).once():
        pass
    assert await site.status_in_store(1) == "revoked"


async def test_a_row_of_before_that_is_revoked_says_what_is_wrong_with_it(site: Site) -> None:
    await site.sql("ALTER TABLE certificates DROP CONSTRAINT validity_is_calendar_time")
    await site.sql(INSERT + r"('site-ec', '\x05', false, NULL, NULL, NULL, 'infinity')")
    await site.sql(
        "ALTER TABLE certificates ADD CONSTRAINT validity_is_calendar_time "
        "CHECK (is_calendar_time(not_before) AND is_calendar_time(not_after)) NOT VALID"
    )
    with pytest.raises(RevocationRefused, match="db check") as refused:
        await site.revoker().revoke(
            Certificate.numbered(site.issuer, 5), RevocationRequest(CRLReason.superseded), actor="test"
        )
    assert refused.value.http_status == 409


MOMENTS = st.one_of(
    st.none(),
    st.sampled_from(["infinity", "-infinity", "1969-12-31 23:59:59Z", "1970-01-01Z", "9999-12-31 23:59:59Z"]),
    st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(datetime.isoformat),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.binary(min_size=1, max_size=256), st.integers(-(2**64), 2**160).map(encode_serial)),
            st.none() | MOMENTS,
            st.sampled_from([None, 0, 1, 6, 10]),
            MOMENTS,
            MOMENTS,
            MOMENTS,
        ),
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
async def test_whatever_the_schema_takes_can_be_signed_answered_and_listed(site: Site, rows: list[tuple]) -> None:  # type: ignore[type-arg]
    await site.sql("DELETE FROM crls")
    await site.sql("DELETE FROM certificates")
    await site.relay_all()
    taken: dict[bytes, bool] = {}
    for serial, revoked_at, reason, invalidity_date, not_before, not_after in rows:
        revoked = revoked_at is not None
        values = (revoked, revoked_at, reason if revoked else None, invalidity_date if revoked else None)
        try:
            await site.sql(
                "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason, invalidity_date, "
                "not_before, not_after) VALUES ('site-ec', $1, $2, $3::text::timestamptz, $4, $5::text::timestamptz, "
                "$6::text::timestamptz, $7::text::timestamptz)",
                serial,
                *values,
                not_before,
                not_after,
            )
        except asyncpg.CheckViolationError:
            continue
        taken[serial] = revoked
    refused = metrics.UNSAYABLE.value()
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    for serial, revoked in taken.items():
        for nonce in (None, b"nonce"):
            try:
                answer = await site.ask(decode_serial(serial), nonce=nonce)
            except NotAuthoritative:
                continue  # outside its validity
            assert answer.render()
            assert (answer.cert_statuses[0] is CertStatus.REVOKED) == revoked
    crl = x509.load_der_x509_crl((await site.builder.publish(site.issuer)).der)
    assert {entry.serial_number for entry in crl} == {decode_serial(serial) for serial in taken if taken[serial]}
    assert metrics.UNSAYABLE.value() == refused


@pytest.mark.parametrize(
    "value",
    [
        "1970-01-01T00:30:00+01:00",
        "1970-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+01:00",
        "1969-12-31T23:59:59Z",
    ],
)
def test_times_are_judged_in_utc(value: str) -> None:
    with pytest.raises(InvalidField):
        parse_time("revoked_at", value)
    with pytest.raises(ConfigError):
        read_changes({"compromised_at": value})


@pytest.mark.parametrize(
    ("revocation", "sentence"),
    [
        (b"500101000000Z", "1950, before 1970"),
        (b"600101000000Z,keyCompromise", "1960, before 1970"),
        (b"19691231235959Z", "1969, before 1970"),
        (b"260101000000Z,keyTime,19600101000000Z", "time of compromise"),
        (b"320101000000Z", "in the future"),
    ],
)
def test_an_index_with_a_date_that_cannot_be_is_refused_by_line(revocation: bytes, sentence: str) -> None:
    good = b"V\t300101000000Z\t\t01\tunknown\t/CN=a\n"
    with pytest.raises(ImportRejected) as refused:
        parse(
            good + b"R\t300101000000Z\t" + revocation + b"\t02\tunknown\t/CN=b\n", now=datetime(2026, 11, 1, tzinfo=UTC)
        )
    ((line, text),) = refused.value.faults
    assert line == 2
    assert sentence in text

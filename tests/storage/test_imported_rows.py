"""Importing has the bounds of the schema: what a reader takes the database takes, and what the database holds can be
said in a list and read back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from responder.embedded import EmbeddedValkey
from responder.errors import ConfigError, ImportRejected
from responder.formats.crl import read_crl
from responder.formats.openssl_index import parse
from responder.pki import CRLReason, decode_serial
from responder.storage.imports import PostgresImports
from tests import der
from tests.formats.test_crl_file import write
from tests.makers import make_ca, make_test_issuer, make_test_signer
from tests.storage.site import Site, open_site

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EACH = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SERIALS = st.one_of(
    st.integers(-(2**64), 2**160),
    st.sampled_from([2**2047 - 1, 2**2047, -(2**2047), -(2**2047) - 1, 16**512 - 1, 16**512, 0, 127, 128, -128, -129]),
)
MOMENTS = st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC)),
    st.datetimes(datetime(1970, 1, 1), datetime(2026, 6, 1), timezones=st.just(UTC)),
    st.sampled_from([datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), NOW]),
).map(lambda moment: moment.replace(microsecond=0))
REASONS = {
    None: b"",
    CRLReason.keyCompromise: b",keyCompromise",
    CRLReason.cACompromise: b",CACompromise",
    CRLReason.affiliationChanged: b",affiliationChanged",
    CRLReason.superseded: b",superseded",
    CRLReason.cessationOfOperation: b",cessationOfOperation",
    CRLReason.certificateHold: b",certificateHold",
    CRLReason.privilegeWithdrawn: b",privilegeWithdrawn",
    CRLReason.aACompromise: b",AACompromise",
}


@pytest.fixture
async def site(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, valkey.url, tmp_path) as opened:
        yield opened


def written(moment: datetime) -> bytes:
    return f"{moment.year:04}{moment:%m%d%H%M%SZ}".encode()


def index_line(serial_number: int, not_after: datetime, revocation: bytes | None) -> bytes:
    sign, digits = ("-" if serial_number < 0 else ""), f"{abs(serial_number):02X}"
    status = b"V" if revocation is None else b"R"
    return b"\t".join(
        (status, written(not_after), revocation or b"", f"{sign}{digits}".encode(), b"unknown", b"/CN=a\n")
    )


REVOCATIONS = st.one_of(
    st.none(),
    st.tuples(MOMENTS, st.sampled_from(list(REASONS.values()))).map(lambda pair: written(pair[0]) + pair[1]),
    st.tuples(MOMENTS, MOMENTS).map(lambda pair: written(pair[0]) + b",keyTime," + written(pair[1])),
)


@EACH
@given(lines=st.lists(st.builds(index_line, SERIALS, MOMENTS, REVOCATIONS), max_size=10))
async def test_what_the_reader_of_an_index_takes_the_database_takes(site: Site, lines: list[bytes]) -> None:
    await site.sql("DELETE FROM certificates")
    try:
        rows = parse(b"".join(lines), now=NOW)
    except ImportRejected as rejected:
        bad = {number - 1 for number, _ in rejected.faults}
        rows = parse(b"".join(line for number, line in enumerate(lines) if number not in bad), now=NOW)
    report = await PostgresImports(site.pool).run(site.issuer, rows, dry_run=False, actor="test")
    assert report.report.added == len(rows)
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    crl = x509.load_der_x509_crl((await site.builder.publish(site.issuer)).der)
    # Its dates are those of the list, whatever they are; expired certificates were on no CRL of ours yet.
    listed = {row.serial_number: row.revoked_info.revocation_time for row in rows if row.revoked_info is not None}
    assert {entry.serial_number: entry.revocation_date_utc for entry in crl} == listed
    await site.sql("DELETE FROM crls")


@EACH
@given(
    entries=st.lists(
        st.tuples(SERIALS, MOMENTS, st.sampled_from([None, *range(12)]), st.none() | MOMENTS),
        max_size=6,
        unique_by=lambda entry: entry[0],
    ),
    number=st.integers(0, 2**170),
)
async def test_what_the_reader_of_a_crl_takes_the_database_takes(
    site: Site, entries: list[tuple[int, datetime, int | None, datetime | None]], number: int
) -> None:
    path = write(
        site.folder / "last.crl",
        site.issuer,
        *(
            der.crl_entry(
                serial,
                revoked_at,
                *([] if reason is None else [der.extension(der.REASON_CODE, bytes([10, 1, reason]))]),
                *([] if invalid is None else [der.extension(der.INVALIDITY_DATE, der.generalized_time(invalid))]),
            )
            for serial, revoked_at, reason, invalid in entries
        ),
        number=number,
    )
    try:
        before = read_crl(path, site.issuer, now=NOW)
    except ConfigError:
        return
    await site.issuer_store.remove(site.issuer.id)
    await site.issuer_store.add(site.issuer, issued=before.entries, last_crl_number=before.crl_number)
    crl = x509.load_der_x509_crl((await site.builder.publish(site.issuer)).der)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number + 1
    assert {entry.serial_number: entry.revocation_date_utc for entry in crl} == {
        serial: revoked_at for serial, revoked_at, *_ in entries
    }


@EACH
@given(
    rows=st.lists(
        st.tuples(
            SERIALS.filter(lambda serial: -(2**2047) <= serial < 2**2047),
            st.none() | MOMENTS.filter(lambda moment: moment.year >= 1970),
            st.sampled_from(list(REASONS)),
            MOMENTS,
        ),
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
async def test_whatever_the_schema_takes_can_be_listed_and_imported(
    site: Site, rows: list[tuple[int, datetime | None, CRLReason | None, datetime]]
) -> None:
    await site.sql("DELETE FROM certificates")
    for serial, revoked_at, reason, not_after in rows:
        await site.sql(
            "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason, not_after) "
            "VALUES ('site-ec', $1, $2, $3, $4, $5)",
            der.integer_content(serial),
            revoked_at is not None,
            revoked_at,
            None if revoked_at is None else reason,
            not_after,
        )
    other = make_test_issuer("other", make_ca("ec", "Other CA"))
    if site.issuers.get("other") is None:
        await site.add(other, make_test_signer(other, "ec"))
    held = await site.pool.fetch("SELECT * FROM certificates WHERE issuer_id = 'site-ec'")
    index = b"".join(
        index_line(
            decode_serial(row["serial"]),
            row["not_after"],
            None if row["revoked_at"] is None else written(row["revoked_at"]) + REASONS[_reason(row)],
        )
        for row in held
    )
    known = site.issuers.get("other")
    assert known is not None
    await PostgresImports(site.pool).run(known, parse(index), dry_run=False, force=True, actor="test")
    columns = "serial, revoked, revoked_at, reason, not_after"
    differing = await site.pool.fetchval(
        f"SELECT count(*) FROM ((SELECT {columns} FROM certificates WHERE issuer_id = 'site-ec') EXCEPT "
        f"(SELECT {columns} FROM certificates WHERE issuer_id = 'other')) AS missing"
    )
    assert (len(held), differing) == (len(rows), 0)


def _reason(row: asyncpg.Record) -> CRLReason | None:
    return None if row["reason"] is None else CRLReason(row["reason"])


async def test_a_serial_at_the_bound_is_taken_and_one_above_is_named_by_its_line(site: Site) -> None:
    expiry = NOW + timedelta(days=1)
    (row,) = parse(index_line(2**2047 - 1, expiry, None))
    assert row.serial_number == 2**2047 - 1
    for serial_number in (2**2047, 16**512 - 1, -(2**2047) - 1):
        with pytest.raises(ImportRejected) as refused:
            parse(index_line(1, expiry, None) + index_line(serial_number, expiry, None))
        ((line, sentence),) = refused.value.faults
        assert line == 2
        assert "256 octets" in sentence

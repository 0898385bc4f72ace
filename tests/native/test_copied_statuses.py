"""Statuses that COPY wrote, as PostgreSQL's documentation describes it and as PostgreSQL writes it, read and signed."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from responder._native import StatusRow
from responder.pki import EPOCH, CopiedStatuses, Issuer, epoch_microseconds, load_public_key
from responder.signing.signers import Signer
from responder.storage.rows import COPIED_COLUMNS
from tests.copied import END, HEADER, Row, copied, row_of
from tests.makers import make_test_signer

AS_OF = Row().as_of
SECOND = AS_OF // 1_000_000
times = st.none() | st.integers(-60_000_000_000_000_000, 250_000_000_000_000_000)
rows = st.builds(
    Row,
    partition=st.integers(0, 3),
    serial=st.binary(max_size=40),
    number=st.integers(-(2**63), 2**63 - 1),
    revoked_at=times,
    reason=st.none() | st.integers(-(2**15), 2**15 - 1),
    invalidity_date=times,
    not_before=times,
    not_after=times,
    certificate_sha256=st.none() | st.binary(max_size=40),
)


def every(statuses: CopiedStatuses) -> list[object]:
    return [statuses[place] for place in range(len(statuses))]


@given(st.lists(rows))
def test_what_was_written_is_read(written: list[Row]) -> None:
    read = CopiedStatuses(copied(*written))
    assert len(read) == len(written)
    assert every(read) == [
        (
            row.serial,
            row.number,
            row.revoked_at,
            row.reason,
            row.invalidity_date,
            row.not_before,
            row.not_after,
            row.certificate_sha256,
        )
        for row in written
    ]
    assert read.names(b"issuer's") == [b"issuer's" + row.serial for row in written]
    assert read.sizes() == {
        partition: sum(row.partition == partition for row in written)
        for partition in {row.partition for row in written}
    }
    if written:
        assert (read.epoch, read.as_of_microseconds) == (1, AS_OF)
        assert read.last == (written[-1].partition, written[-1].serial)
        assert read[-1] == read[len(written) - 1]
    else:
        assert (read.epoch, read.as_of_microseconds, read.last) == (0, 0, None)
    for outside in (len(written), -len(written) - 1):
        with pytest.raises(IndexError):
            read[outside]


def changed(column: int, octets: bytes | None) -> bytes:
    fields = Row().fields()
    fields[column] = octets
    return HEADER + row_of(fields) + END


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"PGCOPX" + HEADER[6:] + END,
        HEADER,
        HEADER + END + b"\x00",
        HEADER[:-4] + struct.pack(">i", 9) + END,
        HEADER[:-4] + struct.pack(">i", -2) + END,
        HEADER + row_of(Row().fields()[:-1]) + END,
        HEADER + row_of([*Row().fields(), None]) + END,
        HEADER + struct.pack(">hi", 11, -2) + END,
        HEADER + struct.pack(">hi", 11, 2**31 - 1) + END,
        *(changed(column, None) for column in range(5)),
        *(changed(column, b"\x00\x01\x02") for column in (0, 1, 2, 4, 5, 6, 7, 8, 9)),
        *(changed(column, b"\x00\x01\x02\x03") for column in (2, 5, 7, 8, 9)),
        changed(1, struct.pack(">q", -1)),
        changed(1, struct.pack(">q", 2**32)),
        *(changed(column, struct.pack(">q", 2**63 - 1)) for column in (2, 8, 9)),
        copied(Row(), Row(epoch=2)),
        copied(Row(), Row(as_of=AS_OF + 1)),
    ],
)
def test_anything_else_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        CopiedStatuses(octets)


def test_a_time_that_cannot_be_said_is_refused_when_it_is_looked_at() -> None:
    """Nobody signs by it before: a revoked certificate's times are looked at one by one."""
    read = CopiedStatuses(changed(5, struct.pack(">q", 2**63 - 1)))
    with pytest.raises(ValueError, match="more than can be said"):
        read[0]


def test_every_shortened_file_is_refused() -> None:
    whole = copied(Row(), Row(revoked_at=AS_OF, reason=1, certificate_sha256=b"abc"))
    assert len(CopiedStatuses(whole)) == 2
    for size in range(len(whole)):
        with pytest.raises(ValueError, match=r"\w"):
            CopiedStatuses(whole[:size])


async def test_what_postgres_writes_is_read(database: str) -> None:
    moment = datetime(2026, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)
    octets = bytearray()

    async def take(data: bytes) -> None:
        octets.extend(data)

    connection = await asyncpg.connect(database)
    try:
        await connection.copy_from_query(
            f"""
            WITH installation AS (SELECT 3 AS epoch), certificates AS (
                SELECT 7::smallint AS partition, '\\x00ff'::bytea AS serial, 9::bigint AS number,
                    $1::timestamptz AS revoked_at, 4::smallint AS reason, NULL::timestamptz AS invalidity_date,
                    '1969-12-31 23:59:59Z'::timestamptz AS not_before, 'infinity'::timestamptz AS not_after,
                    '\\xabcd'::bytea AS certificate_sha256
                FROM generate_series(1, 3)
            )
            SELECT {COPIED_COLUMNS} FROM certificates c
            """,
            moment,
            output=take,
            format="binary",
        )
        last = await connection.fetchval("SELECT '9999-12-31 23:59:59Z'::timestamptz")
    finally:
        await connection.close()
    read = CopiedStatuses(bytes(octets))
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    expected = (b"\x00\xff", 9, microseconds, 4, None, -1_000_000, epoch_microseconds(last), b"\xab\xcd")
    assert every(read) == [expected] * 3
    assert (read.epoch, read.last, read.sizes()) == (3, (7, b"\x00\xff"), {7: 3})
    assert abs(read.as_of_microseconds - epoch_microseconds(datetime.now(UTC))) < 60_000_000


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_what_is_good_is_signed_as_one_by_one_and_the_rest_is_left(issuer: Issuer, kind: str) -> None:
    signer = make_test_signer(issuer, kind)
    goods = [Row(serial=bytes([1 + place]), number=place) for place in range(20)]
    left = [
        Row(revoked_at=AS_OF),
        Row(not_before=AS_OF + 1),
        Row(not_after=AS_OF - 1),
        Row(number=-1),
        Row(serial=b""),
        Row(serial=b"\x00\x01"),
        Row(serial=b"\x01" * 16385),
    ]
    mixed = [*left[:3], *goods, *left[3:]]
    made = signer.profile.sign_goods(
        signer.key, CopiedStatuses(copied(*mixed)), [1, 2, 17], SECOND - 300, SECOND + 3600, AS_OF
    )
    assert [records is not None for records in made] == [row in goods for row in mixed]
    one_by_one = signer.profile.sign_records(
        signer.key,
        [StatusRow(row.serial, 0, -1, -1, SECOND - 300, SECOND + 3600, 1, row.number, AS_OF, b"") for row in goods],
        [1, 2, 17],
        SECOND,
    )
    for row, records, single in zip(goods, (each for each in made if each is not None), one_by_one, strict=True):
        for variant in (1, 2, 17):
            answer, expected = (
                ocsp.load_der_ocsp_response(signer.profile.render(each, variant, row.serial))
                for each in (records, single)
            )
            # A signature of ECDSA differs each time.
            assert answer.tbs_response_bytes == expected.tbs_response_bytes
            signer.profile.verify(load_public_key(signer.key.public_key), records, variant, row.serial)
        assert (records.epoch, records.number, records.as_of_microseconds) == (1, row.number, AS_OF)


@pytest.mark.parametrize(
    ("this_update", "next_update", "now"),
    [
        (SECOND, SECOND - 1, AS_OF),
        (SECOND, SECOND + 2**32, AS_OF),
        (SECOND + 1, SECOND + 2, AS_OF),
        (-1, SECOND, AS_OF),
        (SECOND, SECOND, -1),
        (SECOND, SECOND, 2**62),
    ],
)
def test_times_are_checked(signer: Signer, this_update: int, next_update: int, now: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        signer.profile.sign_goods(signer.key, CopiedStatuses(copied(Row())), [1], this_update, next_update, now)


def test_nothing_is_signed_of_nothing(signer: Signer) -> None:
    assert signer.profile.sign_goods(signer.key, CopiedStatuses(copied()), [1], SECOND, SECOND, AS_OF) == []

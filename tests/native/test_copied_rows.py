"""Rows of COPY in its binary format, as PostgreSQL's documentation describes it and as PostgreSQL writes it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.pki import EPOCH, copied_rows

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)


def row(*fields: bytes | None) -> bytes:
    octets = struct.pack(">h", len(fields))
    for field in fields:
        octets += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
    return octets


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**15), 2**15 - 1),
            st.none() | st.integers(-(2**31), 2**31 - 1),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.binary(max_size=40),
        )
    )
)
def test_integers_and_octets_are_read(rows: Sequence[tuple[int | None, int | None, int | None, bytes | None]]) -> None:
    written = HEADER
    for small, middle, large, octets in rows:
        packed = [
            None if number is None else struct.pack(kind, number)
            for kind, number in ((">h", small), (">i", middle), (">q", large))
        ]
        written += row(*packed, octets)
    assert copied_rows(written + END, "iiib") == list(rows)


@pytest.mark.parametrize(
    ("copied", "kinds"),
    [
        (b"", "i"),
        (b"PGCOPX" + HEADER[6:] + END, "i"),
        (HEADER, "i"),
        (HEADER + END + b"\x00", "i"),
        (HEADER[:-4] + struct.pack(">i", 9) + END, "i"),
        (HEADER[:-4] + struct.pack(">i", -2) + END, "i"),
        (HEADER + row(b"\x00\x01", b"\x00\x01") + END, "i"),
        (HEADER + row(b"\x00\x01\x02") + END, "i"),
        (HEADER + row(b"\x00\x01\x02\x03") + END, "t"),
        (HEADER + row(b"\x00\x01") + END, "x"),
        (HEADER + row(b"\x00\x01")[:-1], "i"),
        (HEADER + struct.pack(">hi", 1, -2) + END, "b"),
        (HEADER + struct.pack(">hi", 1, 2**31 - 1) + END, "b"),
        (HEADER + END, ""),
        (HEADER + END, "i" * 33),
    ],
)
def test_anything_else_is_refused(copied: bytes, kinds: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        copied_rows(copied, kinds)


def test_every_shortened_file_is_refused() -> None:
    whole = HEADER + row(b"\x00\x01", b"abc") + row(None, b"") + END
    assert copied_rows(whole, "ib") == [(1, b"abc"), (None, b"")]
    for size in range(len(whole)):
        with pytest.raises(ValueError, match=r"\w"):
            copied_rows(whole[:size], "ib")


async def test_what_postgres_writes_is_read(database: str) -> None:
    moment = datetime(2026, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)
    octets = bytearray()

    async def take(data: bytes) -> None:
        octets.extend(data)

    connection = await asyncpg.connect(database)
    try:
        await connection.copy_from_query(
            "SELECT 7::smallint, -8::integer, 9::bigint, '\\x00ff'::bytea, $1::timestamptz, "
            "'1969-12-31 23:59:59Z'::timestamptz, NULL::bytea FROM generate_series(1, 3)",
            moment,
            output=take,
            format="binary",
        )
    finally:
        await connection.close()
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    assert copied_rows(bytes(octets), "iiibttb") == [(7, -8, 9, b"\x00\xff", microseconds, -1_000_000, None)] * 3

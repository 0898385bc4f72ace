"""Rows as PostgreSQL's COPY … TO STDOUT (FORMAT binary) writes them, by its documentation."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)

_TO_2000 = 946_684_800_000_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """A certificate's row; times in microseconds since 1970."""

    partition: int = 0
    epoch: int = 1
    as_of: int = 1_780_000_000_000_000
    serial: bytes = b"\x01"
    number: int = 7
    revoked_at: int | None = None
    reason: int | None = None
    invalidity_date: int | None = None
    not_before: int | None = None
    not_after: int | None = None
    certificate_sha256: bytes | None = None

    def fields(self) -> list[bytes | None]:
        """Each column as COPY has it; None for NULL."""
        return [
            struct.pack(">h", self.partition),
            struct.pack(">q", self.epoch),
            _time(self.as_of),
            self.serial,
            struct.pack(">q", self.number),
            _time(self.revoked_at),
            None if self.reason is None else struct.pack(">h", self.reason),
            _time(self.invalidity_date),
            _time(self.not_before),
            _time(self.not_after),
            self.certificate_sha256,
        ]


def row_of(fields: Sequence[bytes | None]) -> bytes:
    """A row of these columns."""
    octets = struct.pack(">h", len(fields))
    for field in fields:
        octets += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
    return octets


def copied(*rows: Row) -> bytes:
    """All that COPY writes."""
    return HEADER + b"".join(row_of(row.fields()) for row in rows) + END


def _time(moment: int | None) -> bytes | None:
    return None if moment is None else struct.pack(">q", moment - _TO_2000)

"""A certificate's status, as the columns of its row say it."""

from __future__ import annotations

from datetime import datetime

from responder.pki import Certificate, CertificateStatus, CertStatus, CRLReason, RevokedInfo, StatusVersion
from responder.storage.postgres import Row


def _bounded(column: str) -> str:
    """A time that Python can hold, whatever an older schema let in: no infinity, no year 10000."""
    return (
        f"CASE WHEN c.{column} >= '10000-01-01Z' THEN '9999-12-31 23:59:59Z' "
        f"WHEN c.{column} < '0001-01-01Z' THEN '0001-01-01Z' ELSE c.{column} END AS {column}"
    )


# The epoch is the installation's: raising it raises the version of every row (`recover`).
COLUMNS = (
    f"c.revoked, {_bounded('revoked_at')}, c.reason, {_bounded('invalidity_date')}, {_bounded('not_before')}, "
    f"{_bounded('not_after')}, c.certificate_sha256, (SELECT epoch FROM installation) AS epoch, c.number"
)

# The same as `COLUMNS`, for COPY, as `CopiedStatuses` reads them.
COPIED_COLUMNS = (
    "c.partition, (SELECT epoch FROM installation) AS epoch, now() AS as_of, c.serial, c.number, "
    f"{_bounded('revoked_at')}, c.reason, {_bounded('invalidity_date')}, {_bounded('not_before')}, "
    f"{_bounded('not_after')}, c.certificate_sha256"
)


def status_from(certificate: Certificate, row: Row) -> CertificateStatus:
    """The status that a row with `COLUMNS` and `as_of` says."""
    info = _revoked_info(row) if row["revoked"] else None
    return CertificateStatus(
        certificate,
        CertStatus.GOOD if info is None else CertStatus.REVOKED,
        StatusVersion(row["epoch"], row["number"], row["as_of"]),
        info,
        row["not_before"],
        row["not_after"],
        row["certificate_sha256"],
    )


NUMBERED = "SET LOCAL certstatus.import = 'numbered'"
"""Said around a statement that gives the rows it inserts their versions itself; see 0015_numbered_imports.sql."""

NUMBERED_NO_MORE = "SET LOCAL certstatus.import = ''"


def revocation_columns(info: RevokedInfo | None) -> tuple[bool, datetime | None, int | None, datetime | None]:
    """`revoked`, `revoked_at`, `reason` and `invalidity_date`; None for a good certificate."""
    if info is None:
        return False, None, None, None
    reason = None if info.revocation_reason is None else int(info.revocation_reason)
    return True, info.revocation_time, reason, info.invalidity_date


def _revoked_info(row: Row) -> RevokedInfo:
    reason = None if row["reason"] is None else CRLReason(row["reason"])
    return RevokedInfo(row["revoked_at"], reason, row["invalidity_date"])

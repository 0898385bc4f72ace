"""What HTTP caches are told. Shared by OCSP answers and CRLs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

Headers = Sequence[tuple[bytes, bytes]]
"""Of a request: names in lower case, as parsers of HTTP/1.1 and ASGI have them; a name may stand several times."""


class Response(NamedTuple):
    """A whole HTTP response, but for what every one has (Date, Content-Length, Connection)."""

    status: int
    headers: dict[str, str]
    body: bytes


NO_STORE = {"Cache-Control": "no-store"}
"""For everything that isn't authoritative (9919-09), and for nonces (9654-05)."""


def cache_headers(
    etag: str,
    *,
    this_update: datetime,
    next_update: datetime,
    fresh_until: datetime,
    max_age: timedelta,
    now: datetime,
) -> dict[str, str]:
    """The headers of an authoritative answer that caches may keep.

    Args:
        etag: what goes between the quotes; equal on every host for equal bytes.
        fresh_until: when a newer answer is planned; max-age ends there at the latest.

    Source: RFC 9919 §5 (9919-08); requirement HTTP-03: an integer, never negative, never past nextUpdate.
    """
    seconds = max(0, min(max_age, fresh_until - now, next_update - now) // timedelta(seconds=1))
    return {
        "Cache-Control": f"max-age={seconds},public,no-transform,must-revalidate",
        "ETag": f'"{etag}"',
        "Expires": imf_fixdate(next_update),
        "Last-Modified": imf_fixdate(this_update),
    }


def imf_fixdate(moment: datetime) -> str:
    """RFC 9110 §5.6.7, always GMT."""
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY, _MONTH, _CLOCK = r"(?P<day>[0-9]{2})", r"(?P<month>[A-Z][a-z]{2})", r"(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
_HTTP_DATES = (
    re.compile(rf"[A-Z][a-z]{{2}}, {_DAY} {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"),
)


def parse_http_date(text: str, *, near: datetime) -> datetime | None:
    """The moment of an HTTP-date in any of the three forms of RFC 9110 §5.6.7; None for what isn't one. The day of the
    week isn't looked at.

    Args:
        near: of two centuries that a year of two digits may mean, the later that is at most 50 years after this.
    """
    for form in _HTTP_DATES:
        found = form.fullmatch(text.strip(" \t"))
        if found is not None and found["month"] in _MONTHS:
            break
    else:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += near.year // 100 * 100
        year += 100 * ((near.year + 50 - year) // 100)
    hour, minute, second = map(int, found["clock"].split(":"))
    try:
        # A leap second is the end of the second before it.
        day = datetime(
            year, _MONTHS.index(found["month"]) + 1, int(found["day"]), hour, minute, min(second, 59), tzinfo=UTC
        )
    except ValueError:
        return None
    return day if second <= 60 else None


def first(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first header of this name, which is in lower case."""
    return next((value for each, value in headers if each == name), None)


def is_not_modified(method: str, headers: Headers, etag: str, last_modified: datetime) -> bool:
    """Whether a GET or HEAD may be answered 304 (RFC 9110 §13.1.2, §13.1.3; HTTP-02).

    If-None-Match is a list, compared weakly; If-Modified-Since counts only without it.

    Args:
        headers: the request's.
        etag: with its quotes.
    """
    if method not in {"GET", "HEAD"}:
        return False
    if_none_match = [value for name, value in headers if name == b"if-none-match"]
    if if_none_match:
        candidates = [tag.strip().removeprefix(b"W/") for value in if_none_match for tag in value.split(b",")]
        return b"*" in candidates or etag.encode() in candidates
    since = first(headers, b"if-modified-since")
    if since is None:
        return False
    moment = parse_http_date(since.decode("latin-1"), near=last_modified)
    return moment is not None and last_modified.replace(microsecond=0) <= moment


def cached_response(
    method: str, headers: Headers, body: bytes, media_type: str, told: dict[str, str], last_modified: datetime
) -> Response:
    """200 with the body, or 304 with the same headers (RFC 9110 §15.4.5).

    Args:
        headers: the request's.
        told: see `cache_headers`.
    """
    if is_not_modified(method, headers, told["ETag"], last_modified):
        return Response(304, told, b"")
    return Response(200, {"Content-Type": media_type, **told}, body)

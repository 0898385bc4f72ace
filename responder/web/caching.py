"""What HTTP caches are told. Shared by OCSP answers and CRLs."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response

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


def is_not_modified(request: Request, headers: dict[str, str], last_modified: datetime) -> bool:
    """Whether a GET or HEAD may be answered 304 (RFC 9110 §13.1.2, §13.1.3; HTTP-02).

    If-None-Match is a list, compared weakly; If-Modified-Since counts only without it.
    """
    if request.method not in {"GET", "HEAD"}:
        return False
    if_none_match = request.headers.getlist("if-none-match")
    if if_none_match:
        candidates = [tag.strip().removeprefix("W/") for value in if_none_match for tag in value.split(",")]
        return "*" in candidates or headers["ETag"] in candidates
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return last_modified.replace(microsecond=0) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False


def cached_response(
    request: Request, body: bytes, media_type: str, headers: dict[str, str], last_modified: datetime
) -> Response:
    """200 with the body, or 304 with the same headers (RFC 9110 §15.4.5)."""
    if is_not_modified(request, headers, last_modified):
        return Response(status_code=304, headers=headers)
    return Response(body, headers={"Content-Type": media_type, **headers})

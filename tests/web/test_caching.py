"""What HTTP caches are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.web.caching import cache_headers, cached_response, imf_fixdate, is_not_modified

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def headers(**changes: object) -> dict[str, str]:
    options = {
        "this_update": NOW - HOUR,
        "next_update": NOW + 10 * HOUR,
        "fresh_until": NOW + 5 * HOUR,
        "max_age": HOUR,
        "now": NOW,
        **changes,
    }
    return cache_headers("abc", **options)  # type: ignore[arg-type]


def max_age(found: dict[str, str]) -> int:
    return int(found["Cache-Control"].partition("=")[2].partition(",")[0])


def test_an_answer_may_be_kept_as_long_as_the_policy_says() -> None:
    assert headers() == {
        "Cache-Control": "max-age=3600,public,no-transform,must-revalidate",
        "ETag": '"abc"',
        "Expires": "Mon, 01 Jun 2026 22:00:00 GMT",
        "Last-Modified": "Mon, 01 Jun 2026 11:00:00 GMT",
    }


@given(
    fresh=st.timedeltas(-HOUR, 9 * HOUR), left=st.timedeltas(-HOUR, 9 * HOUR), policy=st.timedeltas(0 * HOUR, 9 * HOUR)
)
def test_max_age_ends_with_the_refresh_and_the_answer_and_is_never_negative(
    fresh: timedelta, left: timedelta, policy: timedelta
) -> None:
    seconds = max_age(headers(fresh_until=NOW + fresh, next_update=NOW + left, max_age=policy))
    assert 0 <= seconds <= max(0, min(fresh, left, policy).total_seconds())


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"if-none-match": '"abc"'}, True),
        ({"if-none-match": 'W/"abc"'}, True),
        ({"if-none-match": '"x", "abc"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"abcd"'}, False),
        ({"if-none-match": '"x"', "if-modified-since": "Mon, 01 Jun 2026 11:00:00 GMT"}, False),
        ({"if-modified-since": "Mon, 01 Jun 2026 11:00:00 GMT"}, True),
        ({"if-modified-since": "Mon, 01 Jun 2026 10:59:59 GMT"}, False),
        ({"if-modified-since": "yesterday"}, False),
        ({}, False),
    ],
)
def test_conditions_of_get(sent: dict[str, str], expected: bool) -> None:
    found = headers()
    for method in ("GET", "HEAD", "POST"):
        asked = [(name.encode(), value.encode()) for name, value in sent.items()]
        is_expected = expected and method != "POST"
        assert is_not_modified(method, asked, found["ETag"], NOW - HOUR) == is_expected
        response = cached_response(method, asked, b"body", "application/x", found, NOW - HOUR)
        assert (response.status, response.body) == ((304, b"") if is_expected else (200, b"body"))
        assert response.headers["ETag"] == '"abc"'


def test_dates_say_gmt() -> None:
    assert imf_fixdate(datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC)) == "Fri, 02 Jan 2026 03:04:05 GMT"

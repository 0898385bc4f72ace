"""Whatever stands in a header, an answer comes: none makes a 500, or another answer than without it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from responder.ocsp.revoke import Revoker
from responder.pki import CRL, Certificate, Issuer, Issuers
from responder.signing.signers import Signer
from responder.web.caching import imf_fixdate, parse_http_date
from responder.web.crl import CRLEndpoint, PublishedCRLs
from responder.web.exchange import Exchange
from responder.web.ocsp import OCSPEndpoint
from responder.web.operator import ON_ERRORS
from responder.web.revocations import RevocationAPI
from responder.web.routing import PublicRoute
from responder.web.tokens import Tokens
from tests import der
from tests.doubles import FakeClock, MemoryLeases, MemoryStatuses
from tests.ocsp.chain import SERIAL, make_chain

NEAR = datetime(2026, 6, 1, 12, tzinfo=UTC)
EACH = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client(clock: FakeClock, issuer: Issuer, signer: Signer) -> httpx.AsyncClient:
    """OCSP, a CRL and the operator's API in one application."""
    chain = make_chain(clock, issuer, signer)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    now = clock.now()
    crl = CRL(issuer.id, "full", 1, b"\x30\x00", now, now + timedelta(days=7), bytes(32))
    statuses = MemoryStatuses(clock)
    statuses.add(Certificate.numbered(issuer, SERIAL))
    revoker = Revoker(statuses, MemoryLeases(), wait_seconds=0)
    routes = [
        *RevocationAPI(revoker, issuers=Issuers([issuer])).routes(Tokens({"x": "0123456789abcdef"})),
        PublicRoute(
            Exchange(chain.issuers),
            OCSPEndpoint(chain.source, clock=clock),
            CRLEndpoint(PublishedCRLs([crl]), issuers=chain.issuers, clock=clock),
        ),
    ]
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=routes, exception_handlers=ON_ERRORS)), base_url="http://test"
    )


def ocsp_request(issuer: Issuer) -> bytes:
    name_hash, key_hash = issuer.cert_id_hashes[1]
    return der.request(der.cert_id("sha256", name_hash=name_hash, key_hash=key_hash, serial=SERIAL.to_bytes(2, "big")))


DATES = st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(imf_fixdate),
    st.tuples(
        st.sampled_from(["Mon, ", "Monday, ", "Mon ", "", "Mon,"]),
        st.sampled_from(["01", "1", "99999999999999999999", "00", "32", " 6", "-1"]),
        st.sampled_from([" Jan ", "-Jan-", " jan ", " Foo ", "/1/", " Jan  6 "]),
        st.sampled_from(["2024", "24", "0000", "99999999999999999999", "-1", "08:49:37"]),
        st.sampled_from([" 00:00:00", " 99:99:99", " 23:59:60", " 0:0:0", " 2050", ""]),
        st.sampled_from([" GMT", " +99999999999999", " -0000", " EST", "", " GMT GMT"]),
    ).map("".join),
)
VALUES = st.one_of(DATES.map(str.encode), st.binary(max_size=60), st.binary(min_size=4000, max_size=5000))
NAMES = st.sampled_from(
    ["if-modified-since", "if-none-match", "if-match", "if-unmodified-since", "if-range", "range", "content-type",
     "content-length", "authorization", "host", "accept", "accept-encoding", "connection", "expect", "date", "cookie",
     "x-forwarded-for", "forwarded", "cache-control", "transfer-encoding", "user-agent"]
)  # fmt: skip


@EACH
@given(headers=st.lists(st.tuples(NAMES, VALUES), max_size=4))
async def test_no_header_makes_a_500_or_another_answer(
    client: httpx.AsyncClient, issuer: Issuer, headers: list[tuple[str, bytes]]
) -> None:
    asked = ocsp_request(issuer)
    sent = [(name.encode(), value) for name, value in headers]
    for method, path, body in (
        ("GET", f"/crl/{issuer.id}.crl", b""),
        ("GET", "/ocsp/" + base64.b64encode(asked).decode(), b""),
        ("GET", f"/.well-known/pki/ocsp/{issuer.id}/{SERIAL:x}", b""),
        ("POST", "/ocsp", asked),
    ):
        plain = await client.request(method, path, content=body)
        answer = await client.request(method, path, content=body, headers=sent)
        assert plain.status_code == 200
        assert answer.status_code in ({200, 304} if method == "GET" else {200})
        if answer.status_code == 200:
            assert answer.content == plain.content
    answer = await client.post(f"/api/v1/issuers/{issuer.id}/revocations", content=b"{}", headers=sent)
    assert answer.status_code in {401, 429}


@EACH
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.sampled_from([b"[" * 16_000, b'{"a":' * 3000, b'{"serial": ' + b"1" * 5000 + b"}", b'"\\ud800"', b"NaN",
                         b'{"\\ud800": 1}', b'{"serial": "\\ud800"}', b'{"serial": "0x1", "reason": "\\ud800"}']),
        st.dictionaries(
            st.sampled_from(["serial", "reason", "revoked_at", "invalidity_date", "other"]),
            st.one_of(DATES, st.text(max_size=20), st.integers(), st.none(), st.floats(allow_nan=False),
                      st.sampled_from(["0x1A2B", "superseded", "9999-12-31T23:59:59-23:59",
                                       "0001-01-01T00:00:00+01:00"])),
        ).map(lambda document: json.dumps(document).encode()),
    )
)  # fmt: skip
async def test_no_body_makes_a_500(client: httpx.AsyncClient, issuer: Issuer, body: bytes) -> None:
    answer = await client.post(
        f"/api/v1/issuers/{issuer.id}/revocations",
        content=body,
        headers={"Authorization": "Bearer 0123456789abcdef"},
    )
    assert answer.status_code in {200, 202, 404, 409, 422}
    assert answer.headers["content-type"] in {"application/problem+json", "application/json"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov  6 08:49:37 1994", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov 16 08:49:37 2050", datetime(2050, 11, 16, 8, 49, 37, tzinfo=UTC)),
        ("Monday, 06-Nov-76 08:49:37 GMT", datetime(2076, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Monday, 06-Nov-77 08:49:37 GMT", datetime(1977, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
        ("Mon, 99999999999999999999 Jan 2024 00:00:00 GMT", None),
        ("1 Jan 99999999999999999999 0:0:0 GMT", None),
        ("Mon, 32 Jan 2024 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:61 GMT", None),
        ("Mon, 01 Foo 2024 00:00:00 GMT", None),
        ("Mon, 01 Jan 0000 00:00:00 GMT", None),
        ("2024-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_the_three_forms_of_a_date_and_nothing_else(text: str, expected: datetime | None) -> None:
    assert parse_http_date(text, near=NEAR) == expected


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_our_own_dates_are_read_back(moment: datetime) -> None:
    assert parse_http_date(imf_fixdate(moment), near=NEAR) == moment.replace(microsecond=0)


async def test_all_three_forms_make_a_304(client: httpx.AsyncClient, issuer: Issuer) -> None:
    for text in ("Sun Nov  6 08:49:37 2050", "Sunday, 06-Nov-50 08:49:37 GMT", "Sun, 06 Nov 2050 08:49:37 GMT"):
        answer = await client.get(f"/crl/{issuer.id}.crl", headers={"If-Modified-Since": text})
        assert answer.status_code == 304, text

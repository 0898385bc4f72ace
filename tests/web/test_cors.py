"""Whether scripts of other sites' pages may read what is served: all, by the lane and by Hypercorn; or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from responder.config.model import Limits
from responder.pki import Issuer, encode_serial
from responder.signing.signers import Signer
from tests.doubles import FakeClock
from tests.web.test_fast_answer import nonce, request_for
from tests.web.test_lane import IN_TABLE, NOBODY, NOT_YET, STRANGER, Served, get, known_tag, one, post, served

ORIGIN = "Origin: https://page.example"
PREFLIGHT = (
    b"OPTIONS /ocsp HTTP/1.1\r\nHost: x\r\nOrigin: https://page.example\r\n"
    b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
)


def everything(site: Served) -> list[bytes]:
    """A request for each way in which something is said."""
    hit = site.der(IN_TABLE)
    return [
        post(hit, ORIGIN),
        get(hit, ORIGIN),
        get(hit, ORIGIN, f"If-None-Match: {known_tag(site, hit)}"),
        get(hit, ORIGIN, method="HEAD"),
        post(request_for(site.both.chain.issuer, encode_serial(IN_TABLE), 1, nonce(b"n" * 16)), ORIGIN),
        post(site.der(NOT_YET), ORIGIN),
        post(site.der(NOBODY), ORIGIN),
        post(STRANGER, ORIGIN),
        post(b"junk", ORIGIN),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /crl/nobody.crl HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFLIGHT,
        b"PUT /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ]


@pytest.mark.parametrize("cors", [True, False])
async def test_all_or_nothing_is_for_any_page(issuer: Issuer, signer: Signer, cors: bool) -> None:
    clock = FakeClock(datetime.now(UTC))
    async with served(clock, issuer, signer, Limits(per_minute=0), cors=cors) as site:
        for request in everything(site):
            for port in (site.lane_port, site.plain_port):
                _, headers, _ = await one(port, request)
                assert headers.get("access-control-allow-origin") == ("*" if cors else None), request
                preflight = request == PREFLIGHT and cors
                assert ("access-control-allow-methods" in headers) == preflight


async def test_who_has_asked_too_much_may_read_that_too(issuer: Issuer, signer: Signer) -> None:
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, Limits(per_minute=1), cors=True) as site:
        for port in (site.lane_port, site.plain_port):
            for request in (post(b"junk", ORIGIN), b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n"):
                for _ in range(3):
                    _, headers, _ = await one(port, request)
                assert "retry-after" in headers
                assert headers["access-control-allow-origin"] == "*"


async def test_a_browser_hears_what_it_wants_before_a_post(issuer: Issuer, signer: Signer) -> None:
    """WHATWG Fetch §4.9: the method and the header of the request, of those that aren't simple."""
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, cors=True) as site:
        status, headers, body = await one(site.lane_port, PREFLIGHT)
        assert (status, body) == (b"204", b"")
        assert "POST" in headers["access-control-allow-methods"].split(", ")
        assert headers["access-control-allow-headers"].lower() == "content-type"
        assert headers["access-control-max-age"] == "86400"
        assert headers["allow"] == "GET, HEAD, POST, OPTIONS"
        assert "content-length" not in headers

"""What is OCSP and what isn't, by its path."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette

from responder.pki import Issuer
from responder.signing.signers import Signer
from responder.web.ocsp import OCSPEndpoint
from tests.doubles import FakeClock
from tests.ocsp.chain import make_chain

MALFORMED = b"\x30\x03\x0a\x01\x01"


@pytest.mark.parametrize(
    ("method", "path", "is_ocsp"),
    [
        ("GET", "/legacy/status", True),
        ("GET", "/legacy/status/", True),
        ("GET", "/legacy/status/junk", True),
        ("POST", "/legacy/status/junk", True),
        ("POST", "/other", True),
        ("GET", "/ocsp/junk", False),
        ("GET", "/legacy/statusjunk", False),
        ("GET", "/legacy", False),
        ("POST", "/legacy", False),
        ("POST", "/", True),
        ("GET", "/.well-known/pki/ocsp/", True),
    ],
)
async def test_what_is_no_request_is_malformed_where_ocsp_is_meant_and_404_elsewhere(
    clock: FakeClock, issuer: Issuer, signer: Signer, method: str, path: str, is_ocsp: bool
) -> None:
    chain = make_chain(clock, issuer, signer)
    endpoint = OCSPEndpoint(chain.source, issuers=chain.issuers, clock=clock, paths=["/legacy/status", "/other"])
    transport = httpx.ASGITransport(Starlette(routes=endpoint.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.request(method, path, content=b"junk" if method == "POST" else None)
    assert (answer.status_code, answer.content == MALFORMED) == ((200, True) if is_ocsp else (404, False))

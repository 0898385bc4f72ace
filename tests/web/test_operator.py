"""What every route of the operator's site has in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from responder.web.operator import operator_site


@asynccontextmanager
async def nothing(app: Starlette) -> AsyncIterator[None]:
    yield


async def well(request: Request) -> PlainTextResponse:
    return PlainTextResponse("well")


async def failing(request: Request) -> PlainTextResponse:
    raise ZeroDivisionError("a bug")


@pytest.fixture
def client() -> httpx.AsyncClient:
    site = operator_site(nothing, hosts=["pki.example"])
    site.router.routes[:] = [Route("/well", well), Route("/failing", failing)]
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(site, raise_app_exceptions=False), base_url="http://127.0.0.1"
    )


async def test_where_it_speaks_tls_browsers_are_told_to_stay_with_it(client: httpx.AsyncClient) -> None:
    site = operator_site(nothing, hosts=["pki.example"], has_tls=True)
    site.router.routes[:] = [Route("/well", well), Route("/failing", failing)]
    secured = httpx.AsyncClient(
        transport=httpx.ASGITransport(site, raise_app_exceptions=False), base_url="https://127.0.0.1"
    )
    for path in ("/well", "/nowhere"):
        assert (await secured.get(path)).headers["strict-transport-security"] == "max-age=31536000"
        assert "strict-transport-security" not in (await client.get(path)).headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8081", 200),
        ("10.1.2.3:8081", 200),
        ("[::1]", 200),
        ("[::1]:8081", 200),
        ("localhost", 200),
        ("LocalHost:8081", 200),
        ("localhost.", 200),
        ("pki.example", 200),
        ("PKI.example:443", 200),
        ("evil.example", 421),
        ("evil.example:8081", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1@evil.example", 421),
        ("", 421),
        ("[evil]", 421),
    ],
)
async def test_only_a_host_that_no_web_page_can_have_rebound_is_answered(
    client: httpx.AsyncClient, host: str, status: int
) -> None:
    answer = await client.get("/well", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert "admin.hosts" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/well", 405), ("GET", "/failing", 500)]
)
async def test_every_error_is_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    if status == 405:
        assert "GET" in answer.headers["allow"]

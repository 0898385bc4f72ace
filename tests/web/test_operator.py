"""What every route of the operator's site has in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from responder.host.sockets import open_socket
from responder.web.entrance import Entrance
from responder.web.operator import operator_site
from responder.web.server import serve_http
from tests.web.test_lane import read_response


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


async def test_what_is_refused_early_costs_the_connection_nothing() -> None:
    """The body of a request may come after its head, and the next request on the same connection."""
    listener, stop = open_socket("127.0.0.1", 0, reuse_port=True), asyncio.Event()
    port: int = listener.getsockname()[1]
    site = operator_site(nothing, hosts=[])
    site.router.routes[:] = [Route("/well", well)]
    serving = asyncio.create_task(serve_http(site, [Entrance(listener)], stop))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for host, path, status in [("evil", "well", 421), ("x:1", "nowhere", 421), ("127.0.0.1", "nowhere", 404)] * 2:
        writer.write(f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\n".encode())
        await asyncio.sleep(0.05)
        writer.write(b"body")
        assert (await asyncio.wait_for(read_response(reader), 10))[0] == str(status).encode()
    writer.write(b"POST /well HTTP/1.1\r\nHost: evil\r\nContent-Length: 1000000\r\n\r\n" + bytes(20_000))
    assert b"\r\nconnection: close\r\n" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    with contextlib.suppress(ConnectionError):
        assert b"another host" in await asyncio.wait_for(reader.read(), 10)
    writer.close()
    stop.set()
    await serving


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

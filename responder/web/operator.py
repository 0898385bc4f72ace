"""The operator's site: what its routes have in common, whatever they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from responder import log
from responder.errors import StatusUnavailable
from responder.operations.spelling import InvalidField
from responder.web.calls import NoSuchIssuer
from responder.web.hosts import KnownHosts
from responder.web.manners import MAX_BODY_BYTES
from responder.web.problems import problem, unexpected

_log = log.get("web.operator")

_YEAR = 365 * 86_400


def operator_site(
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]], *, hosts: Sequence[str], has_tls: bool = False
) -> Starlette:
    """An application without routes yet, whose every error is a problem document.

    Args:
        hosts: the names by which it may be asked, beside addresses and `localhost`.
    """
    return Starlette(
        lifespan=lifespan,
        middleware=[
            Middleware(WholeRequests),
            Middleware(KnownHosts, names=hosts),
            *([Middleware(OnlyTLS)] if has_tls else []),
        ],
        exception_handlers=ON_ERRORS,
    )


class WholeRequests:
    """ASGI middleware: an answer waits for the end of its request's body, or for more of it than it may have, however
    soon it is known. Otherwise the connection would end with it, and a client's next request be lost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        begun: list[Message] = []
        if scope["type"] == "http":
            body, has_more = b"", True
            while has_more and len(body) <= MAX_BODY_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                has_more = message.get("more_body", False)
            begun.append({"type": "http.request", "body": body, "more_body": has_more})

        async def from_the_beginning() -> Message:
            return begun.pop() if begun else await receive()

        await self._app(scope, from_the_beginning, send)


class OnlyTLS:
    """ASGI middleware: browsers are told to come by TLS alone from now on (RFC 6797)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Strict-Transport-Security"] = f"max-age={_YEAR}"
            await send(message)

        await self._app(scope, receive, telling)


async def _no_such_issuer(request: Request, error: Exception) -> JSONResponse:
    return problem(404, "no such issuer", str(error))


async def _invalid_field(request: Request, error: Exception) -> JSONResponse:
    return problem(422, "invalid field", str(error))


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    _log.error("call_failed", path=request.url.path[:200], error=str(error))
    return problem(
        503, "the database can't be reached", "nothing is certain of this change; send the same request again"
    )


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = {
        404: f"nothing is at {request.url.path}; see /readyz, /metrics and /api/v1/issuers/ID/revocations",
        405: f"{request.method} isn't possible here",
    }
    return problem(
        error.status_code,
        error.detail.lower(),
        detail.get(error.status_code, error.detail),
        headers=dict(error.headers or {}),
    )


ON_ERRORS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _refusal,
    NoSuchIssuer: _no_such_issuer,
    InvalidField: _invalid_field,
    StatusUnavailable: _unavailable,
    ClientDisconnect: _gone,
    Exception: unexpected,
}
"""What is answered where a call fails."""

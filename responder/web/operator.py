"""The operator's site: what its routes have in common, whatever they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from responder.web.hosts import KnownHosts
from responder.web.problems import problem, unexpected

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
        middleware=[Middleware(KnownHosts, names=hosts), *([Middleware(OnlyTLS)] if has_tls else [])],
        exception_handlers={HTTPException: _refusal, Exception: unexpected},
    )


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

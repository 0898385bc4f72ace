"""The operator's site: what its routes have in common, whatever they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from responder.web.hosts import KnownHosts
from responder.web.problems import problem, unexpected


def operator_site(
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]], *, hosts: Sequence[str]
) -> Starlette:
    """An application without routes yet, whose every error is a problem document.

    Args:
        hosts: the names by which it may be asked, beside addresses and `localhost`.
    """
    return Starlette(
        lifespan=lifespan,
        middleware=[Middleware(KnownHosts, names=hosts)],
        exception_handlers={HTTPException: _refusal, Exception: unexpected},
    )


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

"""Errors that aren't OCSP's own: RFC 9457 problem documents with a sentence that says what to do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse

from responder import log

_log = log.get("web.problems")
_may_log = log.OncePerSecond()


def problem(status: int, title: str, detail: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """One problem document; `detail` names the field, the value and the remedy."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "title": title, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


async def unexpected(request: Request, error: Exception) -> JSONResponse:
    """Starlette's handler for what nobody expected: a 500 for the client, the traceback for the operator."""
    if _may_log("unexpected"):
        _log.exception("unexpected_error", path=request.url.path[:200], error=repr(error))
    return problem(500, "internal error", "this is a fault of certstatus; its log has the details")

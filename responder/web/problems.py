"""Errors of the admin API: RFC 9457 problem documents with a sentence that says what to do."""

from __future__ import annotations

from starlette.responses import JSONResponse


def problem(status: int, title: str, detail: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """One problem document; `detail` names the field, the value and the remedy."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "title": title, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )

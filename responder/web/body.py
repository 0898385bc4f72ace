"""The body of a request, as far as it may go."""

from __future__ import annotations

from starlette.requests import Request

from responder.web.manners import MAX_BODY_BYTES


async def read_body(request: Request) -> bytes:
    """All of it, or as much as shows that it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return body

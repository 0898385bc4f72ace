"""Routing by the raw path: what Starlette decodes is no longer what was asked (requirement HTTP-05)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request, re.Match[bytes]], Awaitable[Response]]

_ABSOLUTE_FORM = re.compile(rb"https?://[^/?]*", re.IGNORECASE)


def raw_path(scope: Scope) -> bytes:
    """The request target's path as sent: escapes and double slashes kept, no query, absolute-form cut (HTTP-04)."""
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    path = path.partition(b"?")[0]
    absolute = _ABSOLUTE_FORM.match(path)
    return path[absolute.end() :] or b"/" if absolute else path


class RawRoute(BaseRoute):
    """Sends the paths that a pattern matches as a whole to one endpoint; other methods get 405 with Allow."""

    def __init__(self, pattern: bytes, endpoint: Endpoint, *, methods: tuple[str, ...]) -> None:
        self._pattern = re.compile(pattern, re.DOTALL)
        self._endpoint = endpoint
        self._methods = methods

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette's `BaseRoute`."""
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self._pattern.fullmatch(raw_path(scope))
        return (Match.FULL, {"raw_match": found}) if found else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """None of these routes has a name."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette's `BaseRoute`."""
        request = Request(scope, receive, send)
        if request.method in self._methods:
            response = await self._endpoint(request, scope["raw_match"])
        else:
            response = PlainTextResponse(
                f"{request.method} isn't possible here; use {' or '.join(self._methods)}.\n",
                status_code=405,
                headers={"Allow": ", ".join(self._methods), "Cache-Control": "no-store"},
            )
        await response(scope, receive, send)

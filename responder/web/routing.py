"""Starlette's side of the public site: every path goes by the rules of `exchange`, and by the path as it was sent. What
Starlette decodes is no longer what was asked (requirement HTTP-05)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.datastructures import URLPath
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from responder import metrics
from responder.errors import MalformedRequest, ResponderError
from responder.web.body import read_body
from responder.web.caching import NO_STORE, Headers, Response
from responder.web.cors import shared
from responder.web.crl import CRLEndpoint
from responder.web.exchange import CRLName, Exchange, raw_path
from responder.web.limits import ClientLimits
from responder.web.manners import DEFAULT_MANNERS
from responder.web.ocsp import OCSPEndpoint

_CHUNK = 65_536


class PublicRoute(BaseRoute):
    """The whole public site. With `limits` where nobody else has looked at who asks."""

    def __init__(
        self,
        exchange: Exchange,
        ocsp: OCSPEndpoint,
        crls: CRLEndpoint,
        *,
        limits: ClientLimits | None = None,
        cors: bool = False,
        body_seconds: float = DEFAULT_MANNERS.request_seconds,
    ) -> None:
        self._exchange = exchange
        self._ocsp = ocsp
        self._crls = crls
        self._limits = limits
        self._cors = cors
        self._body_seconds = body_seconds

    def limited_by(self, limits: ClientLimits) -> PublicRoute:
        """The same, for where nobody else has looked at who asks."""
        return PublicRoute(
            self._exchange, self._ocsp, self._crls, limits=limits, cors=self._cors, body_seconds=self._body_seconds
        )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette's `BaseRoute`."""
        return (Match.FULL if scope["type"] == "http" else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """No path here has a name."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette's `BaseRoute`."""
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await read_body(Request(scope, receive))  # a connection goes on after a request's end alone
        except ClientDisconnect:
            return
        except TimeoutError:
            await StarletteResponse(b"", 408, NO_STORE)(scope, receive, send)
            return
        path = raw_path(scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape"))
        method, headers = scope["method"], scope["headers"]
        refusal = self._limits and self._limits.refuse(scope.get("client"), method, path, headers)
        response = self._for_all(refusal, method) if refusal else await self.respond(method, path, headers, body)
        if len(response.body) <= _CHUNK or method == "HEAD":
            await StarletteResponse(response.body, response.status, response.headers)(scope, receive, send)
            return
        headers = response.headers | {"Content-Length": str(len(response.body))}
        await StreamingResponse(_chunks(response.body), response.status, headers)(scope, receive, send)

    async def respond(
        self, method: str, path: bytes, headers: Headers, body: bytes, refusal: ResponderError | None = None
    ) -> Response:
        """The response to a request, whatever it is; `path` as `raw_path` gives it. With `refusal` it is known that its
        certificate can't be answered."""
        return self._for_all(await self._respond(method, path, headers, body, refusal), method)

    def _for_all(self, response: Response, method: str) -> Response:
        return shared(response, method) if self._cors else response

    async def _respond(
        self, method: str, path: bytes, headers: Headers, body: bytes, refusal: ResponderError | None
    ) -> Response:
        try:
            asked = self._exchange.read(method, path, headers, body)
        except MalformedRequest as error:
            return self._ocsp.refuse(error, method)
        if isinstance(asked, Response):
            if asked.status == 404:
                metrics.NOT_FOUND.inc()
            return asked
        if isinstance(asked, CRLName):
            return self._crls.answer(asked, method, headers)
        return await self._ocsp.answer(asked, method, headers, refusal)


async def _chunks(body: bytes) -> AsyncIterator[memoryview]:
    """A large body in parts, each of which is sent before the next is copied."""
    view = memoryview(body)
    for start in range(0, len(body), _CHUNK):
        yield view[start : start + _CHUNK]

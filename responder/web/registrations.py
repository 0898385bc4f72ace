"""The operator's API: certificates, registered as they are issued."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responder.operations.registering import BATCH_LINES, FIELDS, LINE_OCTETS, Registrar, read_issued
from responder.pki import Issuer, Issuers, Unaware
from responder.web.calls import actor_of, issuer_of, read_json
from responder.web.problems import problem
from responder.web.tokens import Tokens

NDJSON = "application/x-ndjson"

MAX_LINES = 100_000
"""Of a request; their results are sent when its body has come."""

_NO_STORE = {"Cache-Control": "no-store"}


class RegistrationAPI:
    """`POST /api/v1/issuers/{id}/certificates`: one as JSON, or many as lines of it."""

    def __init__(self, registrar: Registrar, *, issuers: Issuers) -> None:
        self._registrar = registrar
        self._issuers = issuers

    def routes(self, tokens: Tokens) -> list[BaseRoute]:
        """Starlette routes; all of them need one of `tokens`."""
        return [Route("/api/v1/issuers/{issuer}/certificates", tokens.needed_for(self._register), methods=["POST"])]

    async def _register(self, request: Request) -> Response:
        issuer = issuer_of(request, self._issuers)
        media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media_type == NDJSON:
            return await self._many(request, issuer)
        if media_type == "application/json":
            return await self._one(request, issuer)
        return problem(
            415,
            "another media type",
            f"Content-Type is {media_type[:80]!r}; send one object as application/json, or lines as {NDJSON}",
        )

    async def _one(self, request: Request, issuer: Issuer) -> Response:
        certificate = read_issued(issuer, await read_json(request, FIELDS))
        (is_new,) = await self._registrar.register(issuer, [certificate], actor=actor_of(request))
        unaware = await self._registrar.until_known(issuer)
        body = {
            "issuer": issuer.id,
            "serial": hex(certificate.serial_number),
            "result": "registered" if is_new else "known",
            **_heard(unaware),
        }
        status = 202 if unaware.owners else 201 if is_new else 200
        return JSONResponse(body, status_code=status, headers=_NO_STORE)

    async def _many(self, request: Request, issuer: Issuer) -> Response:
        answers: list[str] = []
        counts = Counter({"registered": 0, "known": 0, "refused": 0})
        body = _Body(request)
        async for done in self._registrar.register_lines(issuer, body.batches(), actor=actor_of(request)):
            for each in done:
                counts[each.result] += 1
                answers.append(each.json())
        if body.left_after is not None:
            counts["not_read_after_line"] = body.left_after
        unaware = await self._registrar.until_known(issuer)
        total = {"issuer": issuer.id, **counts, **_heard(unaware)}
        answers.append(json.dumps(total, separators=(",", ":")) + "\n")
        return Response("".join(answers), media_type=NDJSON, headers=_NO_STORE)


class _Body:
    """The lines of a request's body.

    Attributes:
        left_after: the last line that was read, where there are more than MAX_LINES.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.left_after: int | None = None

    async def batches(self) -> AsyncIterator[list[tuple[int, bytes]]]:
        """Those that aren't empty, with their numbers; of one that is too long, so much as shows it."""
        lines: list[tuple[int, bytes]] = []
        read = 0
        async for number, text in self._lines():
            if read == MAX_LINES:
                self.left_after = lines[-1][0] if lines else number - 1
                break
            lines.append((number, text))
            read += 1
            if len(lines) == BATCH_LINES:
                yield lines
                lines = []
        if lines:
            yield lines

    async def _lines(self) -> AsyncIterator[tuple[int, bytes]]:
        number, begun = 1, b""
        async for chunk in self._request.stream():
            *ended, begun = (begun + chunk).split(b"\n")
            for text in ended:
                if text.strip():
                    yield number, text
                number += 1
            begun = begun[: LINE_OCTETS + 1]
        if begun.strip():
            yield number, begun


def _heard(unaware: Unaware) -> dict[str, Any]:
    """Whether every host answers for what was registered; which don't yet."""
    return {"certain": not unaware.owners, **({"unaware": list(unaware.owners)} if unaware.owners else {})}

"""The operator's API: certificates, looked at one by one and page by page."""

from __future__ import annotations

import re
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responder.interfaces import Clock
from responder.operations.looking import MAX_PAGE, Looker, expiring
from responder.operations.spelling import InvalidField, parse_serial
from responder.pki import Certificate, Issuers, decode_serial, encode_serial
from responder.storage.listing import Selection
from responder.web.calls import issuer_of
from responder.web.problems import problem
from responder.web.tokens import Tokens

_NO_STORE = {"Cache-Control": "no-store"}
_OPTIONS = ("revoked", "expiring_days", "limit", "after")
_WORDS = {"true": True, "false": False}
_DIGITS = re.compile(r"[0-9]{1,6}")
_DEFAULT_PAGE = 100
_MAX_DAYS = 36_500


class ListingAPI:
    """`GET /api/v1/issuers/{id}/certificates` and `…/certificates/{serial}`."""

    def __init__(self, looker: Looker, *, issuers: Issuers, clock: Clock) -> None:
        self._looker = looker
        self._issuers = issuers
        self._clock = clock

    def routes(self, tokens: Tokens) -> list[BaseRoute]:
        """Starlette routes; all of them need one of `tokens`."""
        path = "/api/v1/issuers/{issuer}/certificates"
        return [
            Route(path, tokens.needed_for(self._list), methods=["GET"]),
            Route(path + "/{serial}", tokens.needed_for(self._show), methods=["GET"]),
        ]

    async def _show(self, request: Request) -> Response:
        issuer = issuer_of(request, self._issuers)
        certificate = Certificate.numbered(issuer, parse_serial(request.path_params["serial"]))
        found = await self._looker.one(certificate, now=self._clock.now())
        if found is None:
            return problem(
                404,
                "no such certificate",
                f"issuer {issuer.id} has no certificate with serial {hex(certificate.serial_number)} here; the answer "
                f"for it is {issuer.policy.unknown_serial.name}",
            )
        return JSONResponse(found, headers=_NO_STORE)

    async def _list(self, request: Request) -> Response:
        issuer = issuer_of(request, self._issuers)
        unknown = request.query_params.keys() - set(_OPTIONS)
        if unknown:
            raise InvalidField(f"unknown parameter {min(unknown)!r}; there are {', '.join(_OPTIONS)}")
        after = request.query_params.get("after")
        found, last = await self._looker.page(
            issuer,
            _selection(request, self._clock.now()),
            after=b"" if after is None else encode_serial(parse_serial(after)),
            limit=_number(request, "limit", _DEFAULT_PAGE, least=1, most=MAX_PAGE),
        )
        following = None if last is None else hex(decode_serial(last))
        return JSONResponse({"issuer": issuer.id, "certificates": found, "after": following}, headers=_NO_STORE)


def _selection(request: Request, now: datetime) -> Selection:
    word = request.query_params.get("revoked")
    if word is not None and word not in _WORDS:
        raise InvalidField(f"revoked is {word!r}; it is true or false")
    revoked = None if word is None else _WORDS[word]
    if "expiring_days" not in request.query_params:
        return Selection(revoked)
    return expiring(_number(request, "expiring_days", 0, least=0, most=_MAX_DAYS), revoked=revoked, now=now)


def _number(request: Request, name: str, default: int, *, least: int, most: int) -> int:
    word = request.query_params.get(name)
    if word is None:
        return default
    if not _DIGITS.fullmatch(word) or not least <= int(word) <= most:
        raise InvalidField(f"{name} is {word[:80]!r}; it is a number from {least} to {most}")
    return int(word)

"""OCSP over HTTP: bytes in, the chain asked, exactly one OCSP answer out, whatever comes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from responder import log, metrics
from responder.errors import MalformedRequest, ResponderError
from responder.interfaces import Clock, ResponseSource
from responder.pki import (
    Answer,
    CertID,
    CertIDVariant,
    Issuers,
    OCSPRequest,
    encode_serial,
    epoch_seconds,
    parse_ocsp_request,
)
from responder.web.caching import NO_STORE, cache_headers, cached_response
from responder.web.get_path import find_request, looks_like_a_request
from responder.web.routing import RawRoute

_log = log.get("web.ocsp")

MEDIA_TYPE = "application/ocsp-response"
"""Bare: several clients refuse parameters."""

MAX_BODY_BYTES = 16_384

REQUEST_TYPE = "application/ocsp-request"

_OCSP_METHODS = ("GET", "HEAD", "POST")
_WELL_KNOWN = "/.well-known/pki/ocsp"


class OCSPEndpoint:
    """Answers GET and POST. The HTTP status is always 200: clients drop the body otherwise (design §7)."""

    def __init__(
        self, source: ResponseSource, *, issuers: Issuers, clock: Clock, paths: Sequence[str] = ("/ocsp",)
    ) -> None:
        """Whatever comes below `paths` is OCSP, and malformed if it isn't; elsewhere only what is a request."""
        self._source = source
        self._issuers = issuers
        self._clock = clock
        self._may_log = log.OncePerSecond()
        below = b"|".join(re.escape(path).encode() for path in (*paths, _WELL_KNOWN))
        self._is_ocsp = re.compile(rb"(?:" + below + rb")(?:/.*)?", re.DOTALL)

    def routes(self) -> list[BaseRoute]:
        """The paths of design §7; the last one takes whatever no other route took: the URLs that are in certificates
        already have any path."""
        return [
            RawRoute(rb"/", self._root, methods=_OCSP_METHODS),
            RawRoute(
                re.escape(_WELL_KNOWN).encode() + rb"/(?P<issuer>[a-z0-9-]+)/(?P<serial>[0-9a-fA-F]+)",
                self._by_serial,
                methods=("GET", "HEAD"),
            ),
            RawRoute(rb".*", self._rfc, methods=_OCSP_METHODS),
        ]

    async def _root(self, request: Request, match: re.Match[bytes]) -> Response:
        if request.method == "POST":
            return await self._rfc(request, match)
        return PlainTextResponse("certstatus: OCSP by GET and POST, CRLs below /crl/.\n")

    async def _rfc(self, request: Request, match: re.Match[bytes]) -> Response:
        """RFC 6960 appendix A.1: the DER request as the body, or base64 in the path."""
        try:
            if request.method == "POST":
                der = await _read_body(request)
            else:
                found = find_request(match[0])
                if found is None:
                    raise MalformedRequest("no request in the path")
                der = found
            ocsp_request = parse_ocsp_request(der)
        except MalformedRequest as error:
            return self._error(request, error) if self._is_meant(request, match[0]) else self._not_found()
        except ClientDisconnect:
            return Response(status_code=400)
        return await self._answer(request, ocsp_request)

    def _is_meant(self, request: Request, path: bytes) -> bool:
        """Whether what isn't a request was meant to be one."""
        if self._is_ocsp.fullmatch(path):
            return True
        if request.method == "POST":
            return path == b"/" or request.headers.get("content-type", "").startswith(REQUEST_TYPE)
        return looks_like_a_request(path)

    def _not_found(self) -> Response:
        metrics.NOT_FOUND.inc()
        return PlainTextResponse("Nothing is here.\n", status_code=404, headers=NO_STORE)

    async def _by_serial(self, request: Request, match: re.Match[bytes]) -> Response:
        """`/{issuer}/{serial_hex}`, for people with curl; the RFC's form can't look like this (it begins with M)."""
        issuer = self._issuers.get(match["issuer"].decode())
        if issuer is None:
            return PlainTextResponse("No such issuer.\n", status_code=404, headers=NO_STORE)
        variant = issuer.policy.variants[0]
        name_hash, key_hash = issuer.cert_id_hashes[variant - 1]
        cert_id = CertID(CertIDVariant(variant), name_hash, key_hash, encode_serial(int(match["serial"], 16)))
        return await self._answer(request, OCSPRequest((cert_id,)))

    async def _answer(self, request: Request, ocsp_request: OCSPRequest) -> Response:
        for cert_id in ocsp_request.cert_ids:
            metrics.CERT_ID_HASHES.inc(cert_id.variant.hash_name)
        if ocsp_request.nonce is not None:
            metrics.NONCE_REQUESTS.inc()
        if ocsp_request.signature is not None:
            metrics.SIGNED_REQUESTS.inc()
        try:
            answer = await self._source.respond(ocsp_request)
            body = answer.render()
        except ResponderError as error:
            return self._error(request, error)
        except Exception as error:  # a bug: the client gets internalError, the operator the traceback
            if self._may_log("unexpected"):
                _log.exception("unexpected_error", error=repr(error))
            return self._error(request, ResponderError("internal error"))
        return self._success(request, answer, body)

    def _success(self, request: Request, answer: Answer, body: bytes) -> Response:
        now = self._clock.now()
        statuses = answer.cert_statuses
        result = statuses[0].name.lower() if len(statuses) == 1 else "several"
        metrics.REQUESTS.inc(_method(request), result)
        metrics.ANSWERS.inc(answer.source)
        metrics.RESPONSE_AGE.observe(max(0, epoch_seconds(now) - epoch_seconds(answer.this_update)))
        if not answer.cacheable:
            return Response(body, headers={"Content-Type": MEDIA_TYPE, **NO_STORE})
        headers = cache_headers(
            hashlib.sha256(body).hexdigest(),
            this_update=answer.this_update,
            next_update=answer.next_update,
            fresh_until=answer.refresh_at,
            max_age=answer.max_age,
            now=now,
        )
        return cached_response(request, body, MEDIA_TYPE, headers, answer.this_update)

    def _error(self, request: Request, error: ResponderError) -> Response:
        """Exactly five octets, unsigned, never cached (6960-02, 9919-09)."""
        metrics.REQUESTS.inc(_method(request), error.label)
        if error.ocsp_status in {2, 3} and self._may_log(error.label):
            _log.warning("ocsp_error", result=error.label, error=str(error))
        return Response(error_response(error.ocsp_status), headers={"Content-Type": MEDIA_TYPE, **NO_STORE})


def error_response(ocsp_status: int) -> bytes:
    """OCSPResponse with a responseStatus alone. Source: RFC 6960 §4.2.1."""
    return bytes([0x30, 0x03, 0x0A, 0x01, ocsp_status])


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise MalformedRequest(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return body


def _method(request: Request) -> str:
    return request.method.lower() if request.method in {"GET", "POST"} else "other"

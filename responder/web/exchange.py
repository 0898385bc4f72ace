"""The HTTP rules of OCSP and CRLs: what a request is for, and what its answer looks like. No framework and no I/O: from
(method, raw path, headers, body) to (status, headers, body)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from responder.errors import MalformedRequest, ResponderError
from responder.pki import CRL, Answer, Issuer, Issuers, OCSPRequest, Page, encode_serial, parse_ocsp_request
from responder.web.caching import NO_STORE, Headers, Response, cache_headers, cached_response, first
from responder.web.get_path import find_request, looks_like_a_request
from responder.web.manners import MAX_BODY_BYTES

OCSP_RESPONSE = "application/ocsp-response"
"""Bare: several clients refuse parameters."""

OCSP_REQUEST = b"application/ocsp-request"

PKIX_CRL = "application/pkix-crl"

_ROOT = "certstatus: OCSP by GET and POST, CRLs below /crl/.\n"

_TEXT = "text/plain; charset=utf-8"

_READING = ("GET", "HEAD")
_OCSP_METHODS = ("GET", "HEAD", "POST")

_WELL_KNOWN = "/.well-known/pki/ocsp"
# The RFC's form can't look like this: it begins with M.
_BY_SERIAL = re.compile(
    re.escape(_WELL_KNOWN).encode() + rb"/(?P<issuer>[a-z0-9-]+)/(?P<serial>[0-9a-fA-F]+)", re.DOTALL
)
_CRL = re.compile(
    rb"/crl/(?P<issuer>[a-z0-9-]+)\.crl|/\.well-known/pki/crl/(?P<known>[a-z0-9-]+)|/crl(?:/.*)?", re.DOTALL
)
_ABSOLUTE_FORM = re.compile(rb"https?://[^/?]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CRLName:
    """A CRL that is asked for; `issuer_id` may be nobody's."""

    issuer_id: str
    scope: str = "full"


def raw_path(target: bytes) -> bytes:
    """The path of a request target as sent: escapes and double slashes kept, no query, absolute-form cut (HTTP-04)."""
    path = target.partition(b"?")[0]
    absolute = _ABSOLUTE_FORM.match(path)
    return path[absolute.end() :] or b"/" if absolute else path


class Exchange:
    """Reads requests to the public site, by the paths of design §7. OCSP is found at any path, since the URLs that are
    in certificates already have any; below some paths it is OCSP even where it is no request."""

    def __init__(self, issuers: Issuers, *, ocsp_paths: Sequence[str] = ("/ocsp",)) -> None:
        """Whatever comes below `ocsp_paths` is OCSP, and malformed if it isn't; elsewhere only what is a request."""
        self._issuers = issuers
        below = b"|".join(re.escape(path).encode() for path in (*ocsp_paths, _WELL_KNOWN))
        self._is_ocsp = re.compile(rb"(?:" + below + rb")(?:/.*)?", re.DOTALL)

    def read(self, method: str, path: bytes, headers: Headers, body: bytes) -> OCSPRequest | CRLName | Response:
        """What is asked for, or the response where nothing needs to be looked up for it.

        Args:
            path: see `raw_path`.
            body: of a POST; one octet more than MAX_BODY_BYTES is enough of one that is too long.

        Raises:
            MalformedRequest: it was meant as OCSP and isn't: to be told in five octets.
        """
        found = _CRL.fullmatch(path)
        if found:
            return _allowed(method, _READING) or CRLName((found["issuer"] or found["known"] or b"").decode())
        found = _BY_SERIAL.fullmatch(path)
        if found:
            return _allowed(method, _READING) or self._by_serial(found["issuer"].decode(), int(found["serial"], 16))
        refused = _allowed(method, _OCSP_METHODS)
        if refused is not None:
            return refused
        if method != "POST" and path == b"/":
            return _text(200, _ROOT)
        try:
            return _read_ocsp(method, path, body)
        except MalformedRequest:
            if self._is_meant(method, path, headers):
                raise
            return _text(404, "Nothing is here.\n")

    def _by_serial(self, issuer_id: str, serial_number: int) -> OCSPRequest | Response:
        """`/{issuer}/{serial_hex}`, for people with curl."""
        issuer = self._issuers.get(issuer_id)
        if issuer is None:
            return _text(404, "No such issuer.\n")
        return OCSPRequest((issuer.cert_id(issuer.policy.variants[0], encode_serial(serial_number)),))

    def _is_meant(self, method: str, path: bytes, headers: Headers) -> bool:
        """Whether what isn't a request was meant to be one."""
        if self._is_ocsp.fullmatch(path):
            return True
        if method == "POST":
            return path == b"/" or (first(headers, b"content-type") or b"").startswith(OCSP_REQUEST)
        return looks_like_a_request(path)


def _read_ocsp(method: str, path: bytes, body: bytes) -> OCSPRequest:
    """RFC 6960 appendix A.1: the DER request as the body, or base64 in the path."""
    if method == "POST":
        if len(body) > MAX_BODY_BYTES:
            raise MalformedRequest(f"the body is longer than {MAX_BODY_BYTES} bytes")
        return parse_ocsp_request(body)
    found = find_request(path)
    if found is None:
        raise MalformedRequest("no request in the path")
    return parse_ocsp_request(found)


def answered(answer: Answer, body: bytes, *, method: str, headers: Headers, now: datetime) -> Response:
    """The response with an OCSP answer. The HTTP status is 200 or 304: clients drop the body otherwise (design §7)."""
    if not answer.cacheable:
        return Response(200, {"Content-Type": OCSP_RESPONSE, **NO_STORE}, body)
    told = cache_headers(
        answer.etag,
        this_update=answer.this_update,
        next_update=answer.next_update,
        fresh_until=answer.refresh_at,
        max_age=answer.max_age,
        now=now,
    )
    return cached_response(method, headers, body, OCSP_RESPONSE, told, answer.this_update)


def refused(error: ResponderError) -> Response:
    """The response with an OCSP error: exactly five octets, unsigned, never cached (6960-02, 9919-09); tryLater says
    when (RFC 9110 §10.2.3)."""
    headers = {"Content-Type": OCSP_RESPONSE, **NO_STORE}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(200, headers, error_response(error.ocsp_status))


def error_response(ocsp_status: int) -> bytes:
    """OCSPResponse with a responseStatus alone. Source: RFC 6960 §4.2.1."""
    return bytes([0x30, 0x03, 0x0A, 0x01, ocsp_status])


def crl_sent(crl: CRL, issuer: Issuer, *, method: str, headers: Headers, now: datetime) -> Response:
    """The response with a CRL, with a strong ETag and 304; 404 for one that has ended."""
    if crl.next_update <= now:
        return no_such_crl()
    told = cache_headers(
        crl.sha256.hex(),
        this_update=crl.this_update,
        next_update=crl.next_update,
        fresh_until=max(_next_planned(crl, issuer), now),
        max_age=issuer.policy.max_age,
        now=now,
    )
    return cached_response(method, headers, crl.der, PKIX_CRL, told, crl.this_update)


def _next_planned(crl: CRL, issuer: Issuer) -> datetime:
    """When a later CRL is planned; one after a revocation may come sooner, which max_age bounds."""
    return crl.this_update + issuer.policy.crl_interval


def crl_pages(crl: CRL, issuer: Issuer) -> tuple[Page, ...]:
    """What `crl_sent` says of a CRL, for the lane: a page for each of its paths (`_CRL`)."""
    paths = (f"/crl/{crl.issuer_id}.crl", f"/.well-known/pki/crl/{crl.issuer_id}") if crl.scope == "full" else ()
    return tuple(
        Page(
            path.encode(),
            crl.der,
            PKIX_CRL.encode(),
            etag=crl.sha256.hex().encode(),
            this_update=int(crl.this_update.timestamp()),
            next_update=int(crl.next_update.timestamp()),
            fresh_until=int(_next_planned(crl, issuer).timestamp()),
            max_age=int(issuer.policy.max_age.total_seconds()),
        )
        for path in paths
    )


def root_page() -> Page:
    """What is shown at `/`."""
    return Page(b"/", _ROOT.encode(), _TEXT.encode())


def no_such_crl() -> Response:
    """The response where there is no CRL of this name."""
    return _text(404, "No such CRL.\n")


def _allowed(method: str, methods: Sequence[str]) -> Response | None:
    """A refusal unless the method is one of these (RFC 9110 §15.5.6); to OPTIONS, which they are."""
    if method in methods:
        return None
    if method == "OPTIONS":
        return Response(204, {"Allow": ", ".join((*methods, method)), **NO_STORE}, b"")
    refusal = _text(405, f"{method} isn't possible here; use {' or '.join(methods)}.\n")
    refusal.headers["Allow"] = ", ".join(methods)
    return refusal


def _text(status: int, sentence: str) -> Response:
    headers = {"Content-Type": _TEXT}
    return Response(status, headers if status == 200 else headers | NO_STORE, sentence.encode())

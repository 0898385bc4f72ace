"""Asks a responder about a certificate, as a client does: anybody's responder, anybody's certificate."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ObjectIdentifier

from responder.errors import CertstatusError, ConfigError, StatusUnavailable
from responder.operations.judging import CHECKS, Answered, Wrong, issuer_hashes, nonce_of, read_response

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # what nearly every client asks with, and some responders alone know
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}

_MOST_OCTETS = 1_000_000
_TLS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A certificate and the CA that issued it."""

    certificate: x509.Certificate
    issuer: x509.Certificate


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        request, response: OCSPRequest and OCSPResponse, DER.
        state: good, revoked or unknown; the name of an OCSP error; or `unreadable`.
        checks: what was looked at, and what is wrong with it, None for what is right; none of an error.
        http: status, and the fields that say how long it may be kept.
    """

    url: str
    request: bytes
    response: bytes
    seconds: float
    http: dict[str, str]
    state: str
    checks: dict[str, str | None]
    answered: Answered | None

    @property
    def is_good(self) -> bool:
        """Whether the certificate is good, and nothing is wrong with who says so."""
        return self.state == "good" and not any(self.checks.values())


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All of a file, PEM or DER.

    Raises:
        ConfigError: it can't be read, or has none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except ValueError as error:
        raise ConfigError(f"{path}: no certificate, neither PEM nor DER ({error})") from error


def chain_of_server(name: str) -> list[x509.Certificate]:
    """What a TLS server shows, its own certificate first; nothing of it is verified.

    Args:
        name: HOST:PORT.

    Raises:
        ConfigError: it isn't that.
        StatusUnavailable: the server can't be reached, or doesn't speak TLS.
    """
    host, _, port = name.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{name}: neither a file nor HOST:PORT of a TLS server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host = host.strip("[]")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=_TLS_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            # Public since Python 3.13; before it the same is to be had of the object below.
            get = getattr(tls, "get_unverified_chain", None) or tls._sslobj.get_unverified_chain  # type: ignore[attr-defined]
            found = [each if isinstance(each, bytes) else each.public_bytes(ssl._ssl.ENCODING_DER) for each in get()]  # type: ignore[attr-defined]
    except OSError as error:
        raise StatusUnavailable(f"{name}: {error}") from error
    return [x509.load_der_x509_certificate(each) for each in found]


def issuer_of(certificate: x509.Certificate, candidates: Iterable[x509.Certificate]) -> x509.Certificate:
    """Who issued it: one of these, or else whom its authorityInfoAccess names.

    Raises:
        ConfigError: nobody is known who did.
    """
    for candidate in candidates:
        if candidate != certificate and _issued(candidate, certificate):
            return candidate
    if _issued(certificate, certificate):
        return certificate
    for url in locations(certificate, AuthorityInformationAccessOID.CA_ISSUERS):
        try:
            found = x509.load_der_x509_certificate(httpx.get(url, timeout=_TLS_SECONDS).content)
        except (httpx.HTTPError, ValueError):
            continue
        if _issued(found, certificate):
            return found
    raise ConfigError("the certificate's issuer isn't known: give it with --issuer FILE")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def locations(certificate: x509.Certificate, method: ObjectIdentifier) -> list[str]:
    """The URLs of one kind in a certificate's authorityInfoAccess (RFC 5280 §4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    uris = (each.access_location for each in access if each.access_method == method)
    return [
        uri.value for uri in uris if isinstance(uri, x509.UniformResourceIdentifier) and uri.value.startswith("http")
    ]


def make_request(subject: Subject, *, hash_name: str, nonce: bool) -> bytes:
    """An OCSPRequest (DER) for one certificate, with a nonce of 32 octets if wanted (RFC 9654 §2.1)."""
    name_hash, key_hash = issuer_hashes(subject.issuer, HASHES[hash_name])
    return encode_request(name_hash, key_hash, subject.certificate.serial_number, HASHES[hash_name], nonce=nonce)


def encode_request(
    name_hash: bytes, key_hash: bytes, serial_number: int, algorithm: hashes.HashAlgorithm, *, nonce: bool
) -> bytes:
    """The same, of a CA whose hashes are known."""
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name_hash, key_hash, serial_number, algorithm)
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(os.urandom(32)), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


def get_url(url: str, request: bytes) -> str:
    """The URL of a request by GET (RFC 6960 §A.1)."""
    return f"{url.rstrip('/')}/{urllib.parse.quote(base64.b64encode(request), safe='')}"


def ask(subject: Subject, request: bytes, url: str, *, by_get: bool, at: datetime, seconds: float) -> Reply:
    """Send a request, and look at what comes.

    Args:
        at: now; what is valid then is.
        seconds: how long to wait.

    Raises:
        StatusUnavailable: nobody answers, or what comes is too long.
        CertstatusError: an HTTP status other than 200, without an OCSPResponse.
    """
    began = time.monotonic()
    try:
        with httpx.Client(timeout=seconds, follow_redirects=False) as client:
            if by_get:
                sent = client.build_request("GET", get_url(url, request))
            else:
                sent = client.build_request("POST", url, content=request,
                                            headers={"Content-Type": "application/ocsp-request"})  # fmt: skip
            came = client.send(sent, stream=True)
            octets = b""
            for part in came.iter_bytes():
                octets += part
                if len(octets) > _MOST_OCTETS:
                    raise StatusUnavailable(f"{url}: an answer of more than {_MOST_OCTETS:,} octets")
            came.close()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StatusUnavailable(f"{url}: {error or type(error).__name__}") from error
    took = time.monotonic() - began
    kept = {name: came.headers[name] for name in ("cache-control", "expires", "etag", "age") if name in came.headers}
    http = {"status": str(came.status_code), "content-type": came.headers.get("content-type", ""), **kept}
    if came.status_code != 200 and not octets.startswith(b"\x30\x03\x0a\x01"):
        raise CertstatusError(f"{url}: HTTP status {came.status_code}, and no OCSPResponse")
    state, checks, answered = _judged(subject, request, octets, at)
    if http["content-type"].partition(";")[0].strip().lower() != "application/ocsp-response":
        checks["HTTP"] = "Content-Type isn't application/ocsp-response (RFC 6960 §A.2)"
    return Reply(url, request, octets, took, http, state, checks, answered)


def _judged(
    subject: Subject, request: bytes, octets: bytes, at: datetime
) -> tuple[str, dict[str, str | None], Answered | None]:
    try:
        answered = read_response(ocsp.load_der_ocsp_request(request), octets, issuer=subject.issuer, at=at)
    except Wrong as error:
        return "unreadable", {"form": str(error)}, None
    if isinstance(answered, str):
        return answered, {}, None
    checks: dict[str, str | None] = {}
    for name, check in CHECKS.items():
        if name == "nonce" and nonce_of(answered.request) is None:
            continue
        try:
            check(answered)
        except Wrong as error:
            checks[name] = str(error)
        else:
            checks[name] = None
    return answered.single.certificate_status.name.lower(), checks, answered

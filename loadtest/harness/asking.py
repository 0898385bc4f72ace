"""The requests of a scenario, as octets, and what is right to answer."""

from __future__ import annotations

import random
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from loadtest.harness.scenario import Certificates, Scenario, Share
from loadtest.harness.target import Subject, Target
from responder.errors import ConfigError
from responder.operations.judging import issuer_hashes
from responder.operations.querying import HASHES, encode_request, get_url


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        octets: of the HTTP request.
        request: the OCSPRequest (DER); None for a CRL.
        expects: what its certificate is; None for a CRL.
        has_it: it asks whether the CRL has changed.
    """

    octets: bytes
    subject: Subject
    serial: int | None = None
    request: bytes | None = None
    expects: Certificates | None = None
    has_it: bool = False


def questions_of(scenario: Scenario, target: Target) -> list[Question]:
    """As many different ones as the scenario wants and the target has certificates for, the kinds mixed by their
    shares, always the same.

    Raises:
        LookupError: the target lacks what is to be asked about; the message names it.
    """
    chosen = random.Random(1)
    total = sum(share.share for share in scenario.requests)
    found: list[Question] = []
    for share in scenario.requests:
        count = max(1, round(scenario.different * share.share / total))
        kinds = [
            _ocsp(target, subject, share, tls=scenario.tls, chosen=chosen)
            if share.asks == "ocsp"
            else _crl(target, subject, share, tls=scenario.tls)
            for subject in target.subjects
        ]
        found += [next(kinds[index % len(kinds)]) for index in range(count)]
    chosen.shuffle(found)
    return found


def _serials(subject: Subject, certificates: Certificates, chosen: random.Random) -> Iterator[int]:
    if certificates == "never issued":
        # As long as each other, and as unlikely as any to have been issued.
        while True:
            yield chosen.getrandbits(120) | 1 << 120
    known = subject.revoked if certificates == "revoked" else subject.good
    if not known:
        raise LookupError(f"{certificates} certificates of {subject.name}")
    # Those that are revoked meanwhile are the last ones, which the others are asked about last.
    half = len(known) // 2 + 1
    while True:
        yield from reversed(known[-half:]) if certificates == "revoked meanwhile" else known


def _ocsp(target: Target, subject: Subject, share: Share, *, tls: bool, chosen: random.Random) -> Iterator[Question]:
    name_hash, key_hash = issuer_hashes(subject.issuer, HASHES[share.hash])
    url = target.url(subject, tls=tls)
    for serial in _serials(subject, share.certificates, chosen):
        request = encode_request(name_hash, key_hash, serial, HASHES[share.hash], nonce=share.nonce)
        octets = http_post(url, request) if share.method == "POST" else http_get(get_url(url, request))
        yield Question(octets, subject, serial, request, share.certificates)


def _crl(target: Target, subject: Subject, share: Share, *, tls: bool) -> Iterator[Question]:
    url = target.url(subject, tls=tls, crl=True)
    fields = ""
    if share.if_none_match:
        try:
            answer = httpx.get(url, trust_env=False, timeout=30, verify=False)
        except httpx.HTTPError as error:
            raise ConfigError(f"{url}: {error}") from error
        if "etag" not in answer.headers:
            raise LookupError(f"an ETag of {url}")
        fields = f"If-None-Match: {answer.headers['etag']}\r\n"
    question = Question(http_get(url, fields), subject, has_it=share.if_none_match)
    while True:
        yield question


def http_get(url: str, fields: str = "") -> bytes:
    """The octets of a GET."""
    parts = urllib.parse.urlsplit(url)
    return f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}\r\n".encode()


def http_post(url: str, request: bytes) -> bytes:
    """The octets of a POST of an OCSPRequest."""
    parts = urllib.parse.urlsplit(url)
    head = f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/ocsp-request\r\n"
    return f"{head}Content-Length: {len(request)}\r\n\r\n".encode() + request

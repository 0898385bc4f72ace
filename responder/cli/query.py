"""`certstatus query`: an OCSP client for people."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from responder.cli.output import JsonOption, print_json, print_pairs, say
from responder.clock import SystemClock
from responder.errors import ConfigError
from responder.operations.explaining import REQUEST, RESPONSE, explain
from responder.operations.querying import (
    HASHES,
    Reply,
    Subject,
    ask,
    chain_of_server,
    issuer_of,
    locations,
    make_request,
    read_certificates,
)

NOT_GOOD = 4
"""The exit code of what isn't good, or isn't right."""


def query(
    certificate: Annotated[str, typer.Argument(help="A file (PEM or DER), or HOST:PORT of a TLS server.")],
    issuer: Annotated[
        Path | None, typer.Option("--issuer", help="The CA's certificate; else of the same file or server, or its AIA.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="The responder; else the certificate's own.")] = None,
    by_get: Annotated[bool, typer.Option("--get/--post", help="How to ask.")] = False,
    nonce: Annotated[bool, typer.Option("--nonce/--no-nonce", help="Ask for an answer made for this.")] = True,
    hash_name: Annotated[str, typer.Option("--hash", help=f"Of the CertID: {', '.join(HASHES)}.")] = "sha1",
    seconds: Annotated[float, typer.Option("--timeout", min=0.1, max=600, help="Seconds.")] = 10.0,
    save: Annotated[Path | None, typer.Option("--save", help="Where to put the response (DER).")] = None,
    explained: Annotated[bool, typer.Option("--explain", help="Walk through the octets of both.")] = False,
    *,
    json: JsonOption = False,
) -> None:
    """Ask a responder about a certificate, and look at its answer as a suspicious client does.

    Signature, delegate, CertID, times and nonce are verified. Exit codes: 0 good; 4 revoked, unknown, an error, or an
    answer that isn't right; 3 when nobody answers; 2 for a wrong option."""
    if hash_name not in HASHES:
        raise ConfigError(f"--hash {hash_name}: it is one of {', '.join(HASHES)}")
    path = Path(certificate)
    chain = read_certificates(path) if path.exists() or ":" not in certificate else chain_of_server(certificate)
    candidates = read_certificates(issuer) if issuer is not None else chain
    subject = Subject(chain[0], issuer_of(chain[0], candidates))
    urls = [url] if url else locations(chain[0], AuthorityInformationAccessOID.OCSP)
    if not urls:
        raise ConfigError("the certificate names no responder (authorityInfoAccess): give --url URL")
    now = SystemClock().now()
    request = make_request(subject, hash_name=hash_name, nonce=nonce)
    reply = ask(subject, request, urls[0], by_get=by_get, at=now, seconds=seconds)
    if save is not None:
        try:
            save.write_bytes(reply.response)
        except OSError as error:
            raise ConfigError(f"--save {save}: {error.strerror}") from error
    if json:
        print_json(_document(subject, reply))
    else:
        print_pairs(_told(subject, reply, now, method="GET" if by_get else "POST", hash_name=hash_name, nonce=nonce))
        if explained:
            for title, octets, field in (("request", reply.request, REQUEST), ("response", reply.response, RESPONSE)):
                say(f"\n{title}, {len(octets)} octets: offset, length, field")
                for line in explain(octets, field):
                    say(line)
    if not reply.is_good:
        raise SystemExit(NOT_GOOD)


def _told(
    subject: Subject, reply: Reply, now: datetime, *, method: str, hash_name: str, nonce: bool
) -> list[tuple[str, object]]:
    certificate = subject.certificate
    pairs: list[tuple[str, object]] = [
        (
            "certificate",
            f"0x{certificate.serial_number:x}, {_name(certificate)}, until {certificate.not_valid_after_utc}",
        ),
        ("issuer", _name(subject.issuer)),
        ("asked", f"{reply.url} by {method}, {hash_name}, {'with' if nonce else 'without'} a nonce"),
        ("answered", f"in {reply.seconds * 1000:,.0f} ms, {len(reply.response)} octets, HTTP {reply.http['status']}"),
    ]
    if "cache-control" in reply.http:
        pairs.append(("kept", reply.http["cache-control"]))
    pairs.append(("status", reply.state))
    if reply.answered is not None:
        single, response = reply.answered.single, reply.answered.response
        if single.revocation_time_utc is not None:
            reason = single.revocation_reason
            pairs.append(("revoked", f"{single.revocation_time_utc}, {reason.name if reason else 'no reason given'}"))
        pairs.append(("thisUpdate", f"{single.this_update_utc}, {_ago(now - single.this_update_utc)}"))
        if single.next_update_utc is not None:
            pairs.append(("nextUpdate", f"{single.next_update_utc}, {_ago(now - single.next_update_utc)}"))
        signer = reply.answered.signer
        who = "the CA itself" if signer == subject.issuer else f"{_name(signer)}, until {signer.not_valid_after_utc}"
        pairs.append(("signed by", f"{who} ({response.signature_algorithm_oid._name})"))
    for name, fault in reply.checks.items():
        pairs.append((name, fault or "right"))
    return pairs


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "no name"


def _ago(passed: timedelta) -> str:
    whole = timedelta(seconds=round(abs(passed.total_seconds())))
    return f"{whole} ago" if passed >= timedelta(0) else f"in {whole}"


def _document(subject: Subject, reply: Reply) -> dict[str, Any]:
    told: dict[str, Any] = {
        "serial": hex(subject.certificate.serial_number),
        "url": reply.url,
        "http": reply.http,
        "milliseconds": round(reply.seconds * 1000, 1),
        "status": reply.state,
        "checks": {name: fault or "right" for name, fault in reply.checks.items()},
        "request": reply.request,
        "response": reply.response,
    }
    if reply.answered is not None:
        single, response = reply.answered.single, reply.answered.response
        reason = single.revocation_reason
        told |= {
            "this_update": single.this_update_utc,
            "next_update": single.next_update_utc,
            "produced_at": response.produced_at_utc,
            "revoked_at": single.revocation_time_utc,
            "revocation_reason": reason.name if reason else None,
            "signature_algorithm": response.signature_algorithm_oid.dotted_string,
        }
    return told

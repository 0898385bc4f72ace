"""What is fuzzed: functions of octets, each with what must hold whatever they are. A failure is an exception that is no
refusal, a broken promise, or what a sanitizer of an instrumented build finds (`make fuzz`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.x509 import ocsp

from responder._native import (
    CRLBuilder,
    Framing,
    crl_excerpt,
    decode_records,
    find_request,
    load_profile,
    load_public_key,
    parse_certificate,
    parse_ocsp_request,
    proxy_header,
    read_request,
)
from responder.errors import MalformedRequest
from responder.ocsp.lints import lint
from responder.operations.elsewhere import NotTaken, judged
from responder.operations.explaining import RESPONSE, explain
from responder.operations.issuers import OFFLINE
from responder.pki import Issuers, make_issuer

Target = Callable[[bytes], None]
SEEDS = Path(__file__).parent / "seeds"
TARGETS: dict[str, Target] = {}

# What pyca says of a request that we read, and why it is right here to read it; anything else is news.
_PYCA_REFUSES = (
    "more than one request",  # it reads requests for one certificate only (6960-18)
    "ParseError",  # what neither of us needs: names, signatures and extensions that are read over here
    "not a valid OCSP request version",
)


def target(function: Target) -> Target:
    """List it under its name."""
    TARGETS[function.__name__] = function
    return function


def seeds(name: str) -> list[bytes]:
    """The octets to begin with."""
    return [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]


def _need(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


@target
def request(octets: bytes) -> None:
    """An OCSPRequest is read or refused, nothing of it is made up, and pyca finds the same in it."""
    try:
        row = parse_ocsp_request(octets)
    except MalformedRequest:
        return
    for _, name_hash, key_hash, serial in row.cert_ids:
        _need(all(part in octets for part in (name_hash, key_hash, serial)), "a CertID is a part of the request")
    _need(row.nonce is None or row.nonce in octets, "a nonce is a part of the request")
    try:
        theirs = ocsp.load_der_ocsp_request(octets)
        serial_number, name, key = theirs.serial_number, theirs.issuer_name_hash, theirs.issuer_key_hash
    except Exception as error:
        _need(any(each in repr(error) for each in _PYCA_REFUSES), f"pyca refuses it: {error!r}")
        return
    ((_, name_hash, key_hash, serial),) = row.cert_ids
    _need((name, key) == (name_hash, key_hash), "pyca reads other hashes")
    _need(serial_number == int.from_bytes(serial, "big", signed=True), "pyca reads another serial")


@target
def get_path(path: bytes) -> None:
    """A path carries a request or none; what it carries is as the base64 of it says."""
    found = find_request(path)
    if found is not None:
        _need(len(found) < len(path), "base64 is longer than what it says")


@target
def record(octets: bytes) -> None:
    """A record is read, and is what it was, or refused."""
    try:
        records = decode_records(octets)
    except ValueError:
        return
    _need(records.encoded == octets, "a record is kept as it is")
    _need(records.is_tombstone == (records.variants == ()), "a tombstone has no variants")
    for variant in records.variants:
        _need(0 < len(records.signature(variant)) <= len(octets), "a signature is in the record")


@target
def profile(octets: bytes) -> None:
    """A profile is read, and is what it was, or refused."""
    try:
        read = load_profile(octets)
    except ValueError:
        return
    _need(read.body == octets, "a profile is kept as it is")
    _need(all(each in octets for each in read.certificates), "a certificate is in the profile")


_PROFILE = load_profile((SEEDS / "profile" / "p256").read_bytes())
_SERIAL = (SEEDS / "serial").read_bytes()
_KEY = load_public_key((SEEDS / "key").read_bytes())


@target
def render(octets: bytes) -> None:
    """A record of a profile and a certificate is rendered as a whole response, or refused; damage in what is signed is
    rendered as it is, and found by whoever verifies."""
    try:
        records = decode_records(octets)
    except ValueError:
        return
    for variant in records.variants:
        try:
            response = _PROFILE.render(records, variant, _SERIAL)
        except (ValueError, KeyError):
            continue
        if records.is_verbatim:
            _need(response in octets, "an answer made elsewhere is given as it came")
        else:
            _need(not any(each.id == "DER" for each in lint(response)), "what is rendered is DER")
        with suppress(ValueError):
            _PROFILE.verify(_KEY, records, variant, _SERIAL)


@target
def response(octets: bytes) -> None:
    """Anybody's response is looked at and walked through, whatever it is."""
    lint(octets, profile="br")
    lint(octets, profile="c2pa")
    explain(octets, RESPONSE)


_ISSUERS = Issuers([make_issuer("fuzz", (SEEDS / "certificate" / "ca").read_bytes(), OFFLINE)])
_NOW = datetime(2026, 6, 1, 18, tzinfo=UTC)


@target
def imported(octets: bytes) -> None:
    """An answer that was made elsewhere can be given, as it is, or isn't taken with a sentence."""
    try:
        answer = judged(octets, _ISSUERS, _NOW)
    except NotTaken:
        return
    _need(answer.response == octets, "an answer is taken as it came")
    _need(answer.this_update <= _NOW + timedelta(seconds=10) and answer.ends_at > _NOW, "it can be given now")


@target
def certificate(octets: bytes) -> None:
    """A certificate is read or refused, and its key too."""
    try:
        parts = parse_certificate(octets)
    except ValueError:
        return
    _need(parts.serial in octets and parts.spki in octets, "its parts are parts of it")
    try:
        load_public_key(parts.spki)
    except ValueError:
        return


@target
def crl(octets: bytes) -> None:
    """A CRL is read or refused, entry by entry."""
    try:
        name, _ = crl_excerpt(octets, [])
        _need(name in octets, "the issuer's name is in it")
    except ValueError:
        return
    for positions in ([0], [0, 1]):
        try:
            crl_excerpt(octets, positions)
        except (IndexError, ValueError):
            break
    builder = CRLBuilder()
    builder.add(b"\x05", 1_700_000_000, 1, 1_600_000_000)
    try:
        builder.check(octets, load_public_key((SEEDS / "key").read_bytes()), octets)
    except ValueError:
        return


@target
def framing(octets: bytes) -> None:
    """Where requests end doesn't depend on how they come."""
    whole, cut, single = Framing(), Framing(), Framing()
    passed = whole.feed(octets)
    half = len(octets) // 2
    _need(cut.feed(octets[:half]) + cut.feed(octets[half:]) == passed, "in two pieces it is the same")
    _need(b"".join(single.feed(octets[i : i + 1]) for i in range(len(octets))) == passed, "octet by octet, too")
    _need(whole.refused == cut.refused == single.refused, "and so is what is refused")
    _need(whole.refused in (0, 400, 431), "with one of our statuses")
    kind, head = read_request(octets)
    _need((head is not None) == (kind == "whole"), "a head that is whole says what it is")


@target
def proxy(octets: bytes) -> None:
    """A PROXY header is read, refused, or waited for."""
    try:
        read = proxy_header(octets)
    except ValueError:
        return
    if read is not None:
        _need(0 < read[0] <= len(octets), "it is a part of what was said")
        _need(len(read[1]) in (0, 16), "an address, or none")

"""Does every operation of the native core again and again under a counting allocator; see test_native_leaks.py.

Prints a JSON object: how many blocks more there were after `ROUNDS` further rounds of each operation.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import gc
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from responder._native import (
    CopiedStatuses,
    CRLBuilder,
    PrivateKey,
    decode_records,
    encode_profile,
    generate_key,
    load_profile,
    open_key,
    parse_certificate,
    parse_ocsp_request,
    read_key,
    tombstone,
    verify,
    write_key,
)
from responder.errors import MalformedRequest

WARM_UP = 50
ROUNDS = 300
NOW = 1_780_000_000

live = ctypes.CDLL(None).live_allocations
live.restype = ctypes.c_long
leak = ctypes.CDLL(None).malloc

folder = Path(sys.argv[1])


def load_private_key(octets: bytes) -> PrivateKey:
    os.ftruncate(scratch, 0)
    os.pwrite(scratch, octets, 0)
    os.lseek(scratch, 0, os.SEEK_SET)
    return read_key(scratch)


def pem_of(label: str, octets: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(octets).decode()}-----END {label}-----\n".encode()


scratch = os.memfd_create("key")
spare = os.dup(scratch)
operations: dict[str, Callable[[], object]] = {}


def refused(action: Callable[[], object], error: type[Exception]) -> None:
    with contextlib.suppress(error):
        action()
        raise AssertionError("this was to be refused")


def add_for(kind: str) -> None:
    pkcs8 = (folder / f"{kind}.key").read_bytes()
    certificate = (folder / f"{kind}.crt").read_bytes()
    request = (folder / "request.der").read_bytes()
    key = load_private_key(pkcs8)
    in_pem = pem_of("PRIVATE KEY", pkcs8)
    after_another, no_key = pem_of("CERTIFICATE", b"x" * 100) + in_pem, pem_of("CERTIFICATE", b"x" * 100)
    key_file = folder / f"{kind}.pem"
    key_file.write_bytes(in_pem)
    name = parse_certificate(certificate).subject
    body = encode_profile(
        issuer_tag=bytes(8),
        cert_id_hashes=[(hashlib.new(each).digest(),) * 2 for each in ("sha1", "sha256", "sha384", "sha512")],
        signature_algorithm=key.signature_algorithm,
        responder_id=b"\xa2\x16\x04\x14" + bytes(20),
        certificates=[certificate],
    )
    profile = load_profile(body)
    status = (b"\x05", 1, NOW, 1, NOW, NOW + 60, 1, 1, NOW * 10**6, b"")
    bad_status = (b"\x05", 1, NOW, 7, NOW, NOW + 60, 1, 1, NOW * 10**6, b"")
    rows = (folder / "statuses").read_bytes()
    single = (2, b"\x05", 1, NOW, 1, NOW, NOW + 60, b"")
    (records,) = profile.sign_records(key, [status], [1, 2], NOW)
    signature = key.sign(b"text")
    other_key = load_private_key((folder / f"{'rsa' if kind == 'ec' else 'ec'}.key").read_bytes())

    def crl() -> bytes:
        builder = CRLBuilder()
        for number in range(200):  # grows more than once
            builder.add(b"\x01" + number.to_bytes(30, "big"), NOW, 1, NOW)
        return builder.sign(key, name, b"key", 1, NOW, NOW + 60)

    operations.update(
        {
            f"{kind}: load a key": lambda: load_private_key(pkcs8),
            f"{kind}: load a PEM key": lambda: load_private_key(in_pem),
            f"{kind}: load a PEM key after another block": lambda: load_private_key(after_another),
            f"{kind}: load what has no key in it": lambda: refused(lambda: load_private_key(no_key), ValueError),
            f"{kind}: open a key by URI": lambda: open_key(f"file:{key_file}"),
            f"{kind}: open no key by URI": lambda: refused(lambda: open_key("file:/nowhere"), ValueError),
            f"{kind}: write a key": lambda: write_key(key, os.dup2(scratch, spare)),
            f"{kind}: make a key": lambda: generate_key("ed25519"),
            f"{kind}: load a damaged key": lambda: refused(lambda: load_private_key(pkcs8[:-1]), ValueError),
            f"{kind}: load a key and more": lambda: refused(lambda: load_private_key(pkcs8 + b"\x00"), ValueError),
            f"{kind}: sign": lambda: key.sign(b"text"),
            f"{kind}: verify": lambda: verify(key.public_key, key.signature_algorithm, b"text", signature),
            f"{kind}: verify a forgery": lambda: refused(
                lambda: verify(key.public_key, key.signature_algorithm, b"other", signature), ValueError
            ),
            f"{kind}: verify with a key and more": lambda: refused(
                lambda: verify(key.public_key + b"\x00", key.signature_algorithm, b"text", signature), ValueError
            ),
            f"{kind}: sign records": lambda: profile.sign_records(key, [status] * 3, [1, 2, 17], NOW),
            f"{kind}: read statuses": lambda: CopiedStatuses(rows)[-1],
            f"{kind}: read damaged statuses": lambda: refused(lambda: CopiedStatuses(rows[:-1]), ValueError),
            f"{kind}: sign statuses": lambda: profile.sign_goods(
                key, CopiedStatuses(rows), [1, 2, 17], NOW, NOW + 60, NOW * 10**6
            ),
            f"{kind}: sign statuses at no time": lambda: refused(
                lambda: profile.sign_goods(key, CopiedStatuses(rows), [1], NOW, NOW - 60, NOW * 10**6), ValueError
            ),
            f"{kind}: sign records, one bad": lambda: refused(
                lambda: profile.sign_records(key, [status, bad_status], [1], NOW), ValueError
            ),
            f"{kind}: sign records with another key": lambda: refused(
                lambda: profile.sign_records(other_key, [status], [1], NOW), ValueError
            ),
            f"{kind}: sign a response": lambda: profile.sign_response(key, [single] * 2, NOW, b"n" * 32),
            f"{kind}: render": lambda: profile.render(records, 2, b"\x05"),
            f"{kind}: render another's": lambda: refused(lambda: profile.render(records, 2, b"\x06"), ValueError),
            f"{kind}: render a variant that isn't there": lambda: refused(
                lambda: profile.render(records, 3, b"\x05"), KeyError
            ),
            f"{kind}: decode records": lambda: decode_records(records.encoded),
            f"{kind}: decode damaged records": lambda: refused(lambda: decode_records(records.encoded[1:]), ValueError),
            f"{kind}: load a profile": lambda: load_profile(body),
            f"{kind}: load a damaged profile": lambda: refused(lambda: load_profile(body[:-1]), ValueError),
            f"{kind}: a CRL": crl,
            f"{kind}: a CRL for no one": lambda: refused(
                lambda: CRLBuilder().sign(key, b"", b"key", 1, NOW, NOW), ValueError
            ),
        }
    )
    if kind == "ec":
        operations.update(
            {
                "parse a request": lambda: parse_ocsp_request(request),
                "parse a malformed request": lambda: refused(lambda: parse_ocsp_request(request[1:]), MalformedRequest),
                "parse a certificate": lambda: parse_certificate(certificate),
                "parse a damaged certificate": lambda: refused(lambda: parse_certificate(certificate[:-1]), ValueError),
                "a tombstone": lambda: tombstone(bytes(8), b"\x05", 1, 1, 1, NOW * 10**6, NOW + 60),
            }
        )


def growth(operation: Callable[[], object]) -> int:
    for _ in range(WARM_UP):
        operation()
    gc.collect()
    before = live()
    for _ in range(ROUNDS):
        operation()
    gc.collect()
    return int(live() - before)


for kind in ("ec", "rsa"):
    add_for(kind)
operations["a leak, on purpose"] = lambda: leak(1) and None
gc.freeze()
print(json.dumps({name: growth(operation) for name, operation in operations.items()}))

"""Certificates registered by the API of a running demo, in bulk: how many a second, and when they are answered for.

    python -m loadtest.registering [--lines 100000] [--rounds 3]

Each round is one request of so many lines, serials and validity, whose reply comes when every host has heard. Then some
of them, spread over the request, are asked for, one after the other; what counts is how long after the reply each has
its first `good`. Everything runs on the same cores: the client, the database, the signing of what was registered.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.x509 import ocsp

from loadtest.common import request_for
from loadtest.first_figures import UNLIMITED, running_demo

_ASKED = 20


def lines_of(count: int) -> tuple[list[int], bytes]:
    """New serials, and the body that registers them."""
    serials = [int.from_bytes(b"\x40" + os.urandom(15), "big") for _ in range(count)]
    lines = (
        b'{"serial":"%#x","not_before":"2026-01-01T00:00:00Z","not_after":"2039-01-01T00:00:00Z"}\n' % serial
        for serial in serials
    )
    return serials, b"".join(lines)


def measure(demo: dict[str, Any], client: httpx.Client, count: int) -> dict[str, float]:
    """One round; seconds, and lines a second."""
    issuer = demo["issuers"][0]
    ca = x509.load_pem_x509_certificate(Path(issuer["certificate"]).read_bytes())
    serials, body = lines_of(count)
    headers = {"Authorization": f"Bearer {demo['admin_token']}", "Content-Type": "application/x-ndjson"}
    began = time.perf_counter()
    reply = client.post(f"{demo['admin']}/api/v1/issuers/{issuer['id']}/certificates", content=body, headers=headers)
    replied = time.perf_counter()
    total = json.loads(reply.text.splitlines()[-1])
    if (total["registered"], total["certain"]) != (count, True):
        raise RuntimeError(f"not all were registered: {total}")
    longest = 0.0
    for serial in serials[:: max(count // _ASKED, 1)]:
        while not is_good(client, demo, request_for(ca, serial)):
            if time.perf_counter() - replied > 60:
                raise RuntimeError(f"{serial:#x} isn't answered for")
        longest = max(longest, time.perf_counter() - replied)
    return {"lines_per_second": count / (replied - began), "all_asked_good_after": longest}


def is_good(client: httpx.Client, demo: dict[str, Any], request: bytes) -> bool:
    answer = ocsp.load_der_ocsp_response(client.post(f"{demo['http']}/ocsp", content=request).content)
    return (
        answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        and answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with (
        running_demo(certificates=400, environ=UNLIMITED) as demo,
        httpx.Client(trust_env=False, timeout=120) as client,
    ):
        rounds = []
        for _ in range(options.rounds):
            rounds.append(measure(demo, client, options.lines))
            while "outbox_open 0.0" not in client.get(f"{demo['admin']}/metrics").text:
                time.sleep(0.5)  # all are signed: the next round begins like the first
    figures = {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

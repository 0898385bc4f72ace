"""CPU per request of one worker, by a client in Python.

    python -m loadtest.first_figures [--rounds 5] [--requests 6000] [--json]

Each figure is the median of several rounds in one run. The server's worker is pinned to one core and the client to
another. CPU is user and system time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from loadtest.harness.target import cpu_seconds

_SECONDS = 2
_CONNECTIONS = 64

UNLIMITED = {"CERTSTATUS_LIMITS_PER_MINUTE": "0"}
"""What a client may cost isn't limited, where that is measured."""


def openssl_signatures_a_second(
    algorithm: str, *, core: int | None = None, seconds: int = _SECONDS, processes: int = 1
) -> float:
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    several = [] if processes == 1 else ["-multi", str(processes), "-elapsed"]
    done = subprocess.run(
        [*pinned, "openssl", "speed", "-mr", "-seconds", str(seconds), *several, algorithm],
        capture_output=True,
        text=True,
        check=True,
    )
    # a line for the algorithm: +F<kind>:<index>:<bits>[:<name>]:<signatures a second>:<verifications a second>[:…]
    (found,) = re.findall(r"^\+F\d+:\d+:\d+(?::[A-Za-z]\w*)?:([\d.]+):", done.stdout, re.MULTILINE)
    return float(found)


@contextmanager
def running_demo(
    *, workers: int = 1, certificates: int = 1000, environ: Mapping[str, str] = UNLIMITED
) -> Iterator[dict[str, Any]]:
    """A demo in a folder of its own, which is its `state_dir`."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "state"
        process = subprocess.Popen(
            [sys.executable, "-m", "responder", "demo", "--state-dir", str(directory), "--http", "127.0.0.1:0",
             "--admin", "127.0.0.1:0", "--workers", str(workers), "--certificates", str(certificates)],
            env={**os.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            announcement = directory / "demo.json"
            while not announcement.exists():
                if process.poll() is not None:
                    raise RuntimeError("the demo doesn't start; run certstatus demo to see why")
                time.sleep(0.1)
            yield json.loads(announcement.read_text()) | {"state_dir": str(directory)}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def worker_of(demo: dict[str, Any]) -> int:
    children = Path(f"/proc/{demo['pid']}/task/{demo['pid']}/children").read_text().split()
    (worker,) = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().startswith("serve-")]
    return worker


def requests_of(demo: dict[str, Any], kind: str) -> list[bytes]:
    """The bytes of one HTTP request for each good certificate of the P-256 issuer."""
    issuer = demo["issuers"][0]
    ca = x509.load_pem_x509_certificate(Path(issuer["certificate"]).read_bytes())
    host = urllib.parse.urlsplit(demo["http"]).netloc
    made = []
    for path in issuer["good"]:
        certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, ca, hashes.SHA1())
        if kind == "nonce":
            builder = builder.add_extension(x509.OCSPNonce(os.urandom(32)), critical=False)
        der = builder.build().public_bytes(serialization.Encoding.DER)
        if kind == "GET":
            target = urllib.parse.quote(base64.b64encode(der), safe="")
            made.append(f"GET /ocsp/{target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        else:
            head = f"POST /ocsp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/ocsp-request\r\n"
            made.append(f"{head}Content-Length: {len(der)}\r\n\r\n".encode() + der)
    return made


async def send_all(demo: dict[str, Any], requests: list[bytes], count: int) -> None:
    """Ask `count` times over keep-alive connections, one request at a time on each; every answer must be successful."""
    url = urllib.parse.urlsplit(demo["http"])

    async def connection(first: int) -> None:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        for index in range(first, count, _CONNECTIONS):
            writer.write(requests[index % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200") or body[4:9] != bytes([0x0A, 0x01, 0x00, 0xA0, 0x82]):
                raise RuntimeError(f"not a successful answer: {head!r} {body[:20]!r}")
        writer.close()

    await asyncio.gather(*(connection(first) for first in range(_CONNECTIONS)))


def measure_requests(rounds: int, count: int) -> list[dict[str, Any]]:
    cores = sorted(os.sched_getaffinity(0))
    figures = []
    with running_demo() as demo:
        worker = worker_of(demo)
        os.sched_setaffinity(worker, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        for kind in ("POST", "GET", "nonce"):
            requests = requests_of(demo, kind)
            asyncio.run(send_all(demo, requests, 1000))  # warm
            costs = []
            for _ in range(rounds):
                before = cpu_seconds(worker)
                asyncio.run(send_all(demo, requests, count))
                costs.append((cpu_seconds(worker) - before) / count * 1e6)
            what = "a nonce, signed live" if kind == "nonce" else f"{kind}, from memory"
            figures.append(
                {"what": f"{what}, {_CONNECTIONS} connections", "cpu_microseconds": round(statistics.median(costs))}
            )
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    requests = measure_requests(options.rounds, options.requests)
    if options.json:
        print(json.dumps({"requests": requests}, indent=2))
        return
    for figure in requests:
        print(f"{figure['what']}: {figure['cpu_microseconds']:,} µs CPU a request (the worker process)")


if __name__ == "__main__":
    main()

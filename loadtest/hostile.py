"""What a polite client notices of those that aren't.

    python -m loadtest.hostile [--seconds 10] [--rate 20000] [--addresses 256] [--part 1.0]
        [--niceness 19] [--only floods|crowds] [--json]

A flood comes from many addresses at a constant rate; beside it one client asks for an answer that is in the table, two
hundred times a second. Then crowds of connections hold on to what they have (`loadtest.crowds`), and the client asks
beside them; how many of a crowd are left is counted in the server, since whoever doesn't read sees no end. One worker
on one core, flood and client on another: the flooder is busy all the time, also where it floods with almost nothing,
which is what each is compared with. It has the lowest priority, or the client would wait for it rather than for the
server. "Stolen" is what a hypervisor took from the cores; it may have been any answer's time. What is read of the
server: signatures, refusals, memory. The limits are those of the defaults, so a flood is refused once its addresses
have had a minute's worth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import socket
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from loadtest.common import request_for, request_for_many
from loadtest.crowds import Crowd, crowds, hold, publish_large_crl
from loadtest.first_figures import running_demo, worker_of
from loadtest.harness.target import stolen_seconds
from loadtest.outcome import run

_POLITE_PAUSE = 0.005


@dataclass(frozen=True)
class Flood:
    """Requests, in turn, so many a second."""

    name: str
    requests: list[bytes]
    rate: float


def post(der: bytes) -> bytes:
    return b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(der) + der


def floods_of(demo: dict[str, Any], rate: float) -> list[Flood]:
    ec, rsa = (
        x509.load_pem_x509_certificate(Path(issuer["certificate"]).read_bytes()) for issuer in demo["issuers"][:2]
    )
    good, good_rsa = (int(Path(issuer["good"][0]).stem, 16) for issuer in demo["issuers"][:2])
    twenty = [int(Path(path).stem, 16) for path in demo["issuers"][0]["good"][:20]]
    stranger = post(request_for(ec, good)).replace(
        x509.SubjectKeyIdentifier.from_public_key(ec.public_key()).digest, os.urandom(20)
    )
    return [
        Flood("almost nothing", [post(request_for(ec, good))], 20),
        Flood("answers in the table", [post(request_for(ec, good))], rate),
        Flood("unknown issuers", [stranger], rate),
        Flood("nonces, P-256", [post(request_for(ec, good, nonce=True))], rate),
        Flood("nonces, RSA-2048", [post(request_for(rsa, good_rsa, nonce=True))], rate),
        Flood("serials never issued", [post(request_for(ec, serial)) for serial in never_issued()], rate),
        Flood("20 CertIDs a request", [post(request_for_many(ec, twenty))], rate),
        Flood("no OCSP", [post(b"junk")], rate),
    ]


def never_issued(count: int = 10_000) -> list[int]:
    """As long as each other."""
    chosen = random.Random(1)
    return [chosen.getrandbits(100) | 1 << 100 for _ in range(count)]


def addresses(count: int) -> list[str]:
    return [f"127.1.{index // 250}.{index % 250 + 1}" for index in range(count)]


def flood_with(flood: Flood, where: tuple[str, int], seconds: float, count: int) -> int:
    """How many were answered a second."""
    outcome = run(
        where,
        flood.requests,
        rate=flood.rate,
        seconds=seconds,
        spared=0.1,
        connections=count,
        sources=addresses(count),
    )
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"{outcome.statuses}, {outcome.counts}")
    return int(outcome.answered / outcome.seconds)


def ask_politely(request: bytes, where: tuple[str, int], until: float) -> list[float]:
    """Of each answer, the milliseconds that it took."""
    took = []
    with socket.create_connection(where) as client:
        while time.monotonic() < until:
            started = time.perf_counter()
            client.sendall(request)
            if not client.recv(65536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("no answer")
            took.append((time.perf_counter() - started) * 1000)
            time.sleep(_POLITE_PAUSE)
    return sorted(took)


def latencies(took: list[float]) -> dict[str, float]:
    return {
        "p50": statistics.median(took),
        "p99": took[int(len(took) * 0.99)],
        "longest": took[-1],
        "asked": len(took),
    }


def counted(demo: dict[str, Any]) -> dict[str, float]:
    text = httpx.get(f"{demo['admin']}/metrics", trust_env=False, timeout=30).text

    def total(name: str) -> float:
        return sum(float(number) for number in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))

    return {
        "signatures": total("ocsp_signatures_total"),
        "refused": total(r'ocsp_requests_total\{[^}]*result="(?:rate_limited|overloaded)"\}'),
    }


def resident(pid: int) -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def measure(
    demo: dict[str, Any], flood: Flood, polite: bytes, options: argparse.Namespace, core: int
) -> dict[str, Any]:
    host, _, port = demo["http"].removeprefix("http://").partition(":")
    where = (host, int(port))
    worker = worker_of(demo)
    before, memory, stolen = counted(demo), resident(worker), stolen_seconds()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, {core})
            os.nice(options.niceness)
            told = str(flood_with(flood, where, options.seconds, options.addresses))
        except Exception as error:
            told = f"0 {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    time.sleep(0.5)
    took = ask_politely(polite, where, time.monotonic() + options.seconds - 1)
    told = os.read(reading, 4096).decode()
    os.close(reading)
    os.waitpid(child, 0)
    after = counted(demo)
    return {
        "flood": flood.name,
        "answered": int(told.split()[0]),
        "error": told.partition(" ")[2],
        **latencies(took),
        "signatures": after["signatures"] - before["signatures"],
        "refused": after["refused"] - before["refused"],
        "memory_kB": resident(worker) - memory,
        "stolen_ms": 1000 * (stolen_seconds() - stolen),
    }


def descriptors_of(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def measure_crowd(
    demo: dict[str, Any], crowd: Crowd, polite: bytes, options: argparse.Namespace, core: int
) -> dict[str, Any]:
    host, _, port = demo["http"].removeprefix("http://").partition(":")
    where, worker = (host, int(port)), worker_of(demo)
    memory, descriptors, stolen = resident(worker), descriptors_of(worker), stolen_seconds()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, {core})
            hold(crowd, where, options.seconds, addresses(options.addresses), writing)
        except Exception as error:
            os.write(writing, f"error {error!r}\n".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        first = said.readline().strip()
        if first != "there":
            raise RuntimeError(first)
        held = resident(worker) - memory
        took = ask_politely(polite, where, time.monotonic() + options.seconds - 1)
        left = max(0, descriptors_of(worker) - descriptors)
        _, last = said.readline().split()
    os.waitpid(child, 0)
    return {
        "crowd": crowd.name,
        "count": crowd.count,
        **latencies(took),
        "left": left,
        "last_seen_closed_at": float(last),
        "kB_each": held / crowd.count,
        "stolen_ms": 1000 * (stolen_seconds() - stolen),
    }


def measure_crowds(demo: dict[str, Any], polite: bytes, options: argparse.Namespace, core: int) -> list[dict[str, Any]]:
    path = asyncio.run(publish_large_crl(demo))
    while httpx.get(f"{demo['http']}{path}", trust_env=False, timeout=60).headers["content-length"] != "40000000":
        time.sleep(0.2)
    return [measure_crowd(demo, crowd, polite, options, core) for crowd in crowds(polite, path, part=options.part)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--addresses", type=int, default=256)
    parser.add_argument("--niceness", type=int, default=19, help="of the flooder")
    parser.add_argument("--only", choices=("floods", "crowds"))
    parser.add_argument("--part", type=float, default=1.0, help="of the crowds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not 2 <= options.seconds <= 600 or not 1 <= options.addresses <= 2000:
        sys.exit("2 to 600 seconds, and 1 to 2,000 addresses")
    cores = sorted(os.sched_getaffinity(0))
    with running_demo(environ={}) as demo:
        os.sched_setaffinity(worker_of(demo), {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        floods = floods_of(demo, options.rate)
        polite = floods[0].requests[0]
        chosen = floods[:1] if options.only == "crowds" else floods
        figures = [measure(demo, flood, polite, options, cores[-1]) for flood in chosen]
        held = [] if options.only == "floods" else measure_crowds(demo, polite, options, cores[-1])
    if options.json:
        print(json.dumps({"floods": figures, "crowds": held}, indent=2))
        return
    quiet = figures[0]["p99"]
    print(
        f"{'flood':24}{'answered/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}{'p99 x':>7}"
        f"{'stolen':>8}{'signed':>9}{'refused':>10}{'kB':>8}"
    )
    for figure in figures:
        print(
            f"{figure['flood']:24}{figure['answered']:12,}{figure['p50']:9.2f}{figure['p99']:9.2f}"
            f"{figure['longest']:9.1f}{figure['p99'] / quiet:7.1f}{figure['stolen_ms']:8.0f}"
            f"{figure['signatures']:9,.0f}{figure['refused']:10,.0f}{figure['memory_kB']:8,} {figure['error']}"
        )
    if not held:
        return
    print(
        f"\n{'crowd':24}{'count':>12}{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}{'p99 x':>7}"
        f"{'stolen':>8}{'left':>9}{'by s':>7}{'kB each':>9}"
    )
    for each in held:
        print(
            f"{each['crowd']:24}{each['count']:12,}{each['p50']:9.2f}{each['p99']:9.2f}{each['longest']:9.1f}"
            f"{each['p99'] / quiet:7.1f}{each['stolen_ms']:8.0f}"
            f"{each['left']:9,}{each['last_seen_closed_at']:7.1f}{each['kB_each']:9.2f}"
        )


if __name__ == "__main__":
    main()

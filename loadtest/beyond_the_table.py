"""CPU of a request that the table alone can't answer: a nonce, and what is in Redis or nowhere yet.

    python -m loadtest.beyond_the_table [--rounds 5] [--requests 20000] [--json]

One worker on one core, the client (wrk, 64 connections) on another. What counts is user and system time of the worker;
a figure is the median of the rounds. A nonce is compared with a signature by `openssl speed` and a hit in the table, of
the same round. The table is kept so small that a certificate is out of it when its turn comes again. What is nowhere
is in Redis once it was asked for: those answers, at what one from Redis costs, aren't counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import redis
from cryptography import x509

from loadtest.common import request_for
from loadtest.first_figures import UNLIMITED, openssl_signatures_a_second, running_demo, worker_of
from loadtest.harness.target import cpu_seconds

_CERTIFICATES = 20_000
_PREFIX = "cs2:"

_asked: dict[Path, int] = defaultdict(int)
"""Of each file: the next run goes on with what follows."""

_SCRIPT = """
local bodies = {{}}
for line in io.lines("{file}") do
    bodies[#bodies + 1] = (line:gsub("..", function(hex) return string.char(tonumber(hex, 16)) end))
end
local at = {start}
wrk.method, wrk.headers["Content-Type"] = "POST", "application/ocsp-request"
request = function()
    at = at % #bodies + 1
    return wrk.format(nil, "/ocsp", nil, bodies[at])
end
response = function(status, headers, body)
    if status ~= 200 or #body < 100 then wrk.thread:stop() error("no answer: " .. #body) end
end
"""


def bodies_of(issuer: dict[str, Any], serials: list[int], *, nonce: bool = False) -> list[str]:
    """A request for each serial, in hexadecimal."""
    ca = x509.load_pem_x509_certificate(Path(issuer["certificate"]).read_bytes())
    return [request_for(ca, serial, nonce=nonce).hex() for serial in serials]


def asked_by_wrk(url: str, bodies: Path, count: int, core: int) -> int:
    """Ask for about this many answers; how many there were."""
    script = bodies.with_suffix(".lua")
    asked = 0
    while asked < count:
        script.write_text(_SCRIPT.format(file=bodies, start=_asked[bodies]))
        done = subprocess.run(
            ["taskset", "-c", str(core), "wrk", "-t1", "-c64", "-d1s", "-s", str(script), f"{url}/ocsp"],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"(\d+) requests in", done.stdout)
        if found is None or "Non-2xx" in done.stdout or "no answer" in done.stdout + done.stderr:
            raise RuntimeError(done.stdout + done.stderr)
        asked += int(found[1])
        _asked[bodies] += int(found[1])
    return asked


def batched(keys: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    keys = iter(keys)
    while batch := list(itertools.islice(keys, size)):
        yield batch


def metrics_of(demo: dict[str, Any]) -> dict[str, float]:
    text = httpx.get(f"{demo['admin']}/metrics", trust_env=False).text
    found = re.findall(r'^ocsp_answers_total\{source="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {source: float(count) for source, count in found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for program in ("wrk", "taskset", "openssl"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install wrk util-linux openssl")
    cores = sorted(os.sched_getaffinity(0))
    environ = UNLIMITED | {"CERTSTATUS_TABLE_MEGABYTES": "1"}
    figures: dict[str, list[float]] = {}
    with (
        running_demo(certificates=_CERTIFICATES, environ=environ) as demo,
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
    ):
        worker, (issuer, rsa) = worker_of(demo), demo["issuers"][:2]
        os.sched_setaffinity(worker, {cores[0]})
        serials, of_rsa = ([int(Path(path).stem, 16) for path in each["good"]] for each in (issuer, rsa))
        loaded = tomllib.loads((Path(demo["state_dir"]) / "certstatus.toml").read_text())
        store = redis.Redis.from_url(loaded["redis"]["url"])
        files = {}
        for kind, of, asked in (
            ("hit", issuer, serials[:100]),
            ("nonce", issuer, serials[:100]),
            ("nonce RSA", rsa, of_rsa[:100]),
            ("redis", issuer, serials),
            ("nowhere", issuer, serials),
        ):
            files[kind] = Path(folder) / kind.replace(" ", "-")
            files[kind].write_text("\n".join(bodies_of(of, asked, nonce="nonce" in kind)))
        redis_cost = 0.0
        for round_ in range(options.rounds + 1):
            while store.dbsize() < 0.9 * len(serials):  # what stays in the table isn't put again
                asked_by_wrk(demo["http"], files["nowhere"], 1, cores[-1])
            signatures = {
                kind: 1e6 / openssl_signatures_a_second(algorithm, core=cores[0])
                for kind, algorithm in (("nonce", "ecdsap256"), ("nonce RSA", "rsa2048"))
            }
            for kind, path in files.items():
                if kind == "nowhere":
                    for keys in batched(store.scan_iter(f"{_PREFIX}*", 1000), 1000):
                        store.delete(*keys)
                sources, cpu = metrics_of(demo), cpu_seconds(worker)
                count = asked_by_wrk(demo["http"], path, options.requests if kind != "nowhere" else 1, cores[-1])
                cost = (cpu_seconds(worker) - cpu) / count * 1e6
                told = {name: number - sources.get(name, 0) for name, number in metrics_of(demo).items()}
                share = told.get(_SOURCES[kind], 0) / count
                if kind == "redis":
                    redis_cost = cost
                elif kind == "nowhere":  # the second time a certificate is asked for it is in Redis
                    cost = (cost - (1 - share) * redis_cost) / share
                if round_:
                    figures.setdefault(kind, []).append(cost)
                    figures.setdefault(f"{kind} from its source", []).append(share)
            if round_:
                for kind, signature in signatures.items():
                    figures.setdefault(f"signature of {kind}", []).append(signature)
                    ratio = figures[kind][-1] / (signature + figures["hit"][-1])
                    figures.setdefault(f"{kind} x (signature + hit)", []).append(ratio)
    medians = {kind: statistics.median(costs) for kind, costs in figures.items()}
    if options.json:
        print(json.dumps(medians, indent=2))
        return
    for kind, median in medians.items():
        is_cost = kind in _SOURCES or kind.startswith("signature")
        print(f"{kind:32}{median:10.2f}{' us CPU' if is_cost else ''}")


_SOURCES = {"hit": "table", "nonce": "live", "nonce RSA": "live", "redis": "redis", "nowhere": "live"}


if __name__ == "__main__":
    main()

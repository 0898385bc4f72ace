"""CPU an answer of the fast path, beside nginx sending a file of the same size from memory, in one run.

    python -m loadtest.beside_nginx [--rounds 5] [--seconds 3] [--workers 1] [--connections 64] [--open-loop] [--json]

Both servers are pinned to the same core (or, with two workers, to the same two), the client (wrk) to the last one. What
counts is user and system time of the server's process tree divided by its answers; of certstatus that is the
supervisor, the workers, the keeper and all others. Each round measures all kinds one after the other; a figure is the
median of the rounds, a ratio the median of the rounds' ratios, each of two that were measured right after each other.
Everything is on: counters, freshness, lease, floors and all headers.

With --open-loop the latency is measured, too: requests at 60 % of the rate that the slower of the two reached in this
run, at constant intervals, each answer's time counted from when its request was due.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from loadtest.first_figures import running_demo
from loadtest.harness.target import processes_of_demo
from loadtest.outcome import run

_TICKS = os.sysconf("SC_CLK_TCK")

_NGINX = """
daemon off; worker_processes {workers}; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 3600;
    open_file_cache max=10000 inactive=1h; open_file_cache_valid 1h; default_type application/ocsp-response;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port} reuseport; root {folder}; expires 1h; }}
}}
"""


@dataclass(frozen=True)
class Cost:
    """Of one answer, in microseconds of CPU; and how many a second there were."""

    user: float
    system: float
    answers: float

    @property
    def all(self) -> float:
        return self.user + self.system


@dataclass(frozen=True)
class Target:
    """What wrk asks, the same as octets, and whose processes answer."""

    name: str
    url: str
    script: Path | None
    request: bytes
    processes: Callable[[], list[int]]


def times(pids: list[int]) -> tuple[float, float]:
    """User and system seconds of these processes together."""
    user = system = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11]) / _TICKS
        system += int(fields[12]) / _TICKS
    return user, system


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask(target: Target, *, seconds: int, connections: int, core: int) -> Cost:
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", target.url]
    if target.script is not None:
        command[-1:] = ["-s", str(target.script), target.url]
    pids = target.processes()
    before = times(pids)
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed = time.monotonic() - started
    user, system = (after - earlier for after, earlier in zip(times(pids), before, strict=True))
    found = re.search(r"(\d+) requests in", done.stdout)
    if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"{target.name}: {done.stdout}")
    count = int(found[1])
    return Cost(user / count * 1e6, system / count * 1e6, count / elapsed)


def latency(target: Target, rate: float, *, seconds: int, connections: int, core: int) -> list[int]:
    """The median and the 99th percentile at this rate, in microseconds."""
    host, _, port = target.url.removeprefix("http://").partition("/")[0].partition(":")
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        outcome = run(
            (host, int(port)), [target.request], rate=rate, seconds=seconds, spared=0.3, connections=connections
        )
    finally:
        os.sched_setaffinity(0, everywhere)
    if outcome.failed or set(outcome.statuses) != {200}:
        raise RuntimeError(f"{target.name}: {outcome.statuses}, {outcome.counts}")
    return [round(seconds * 1e6) for seconds in outcome.latencies.percentiles((0.5, 0.99))]


def http_request(method: str, path: str, body: bytes = b"") -> bytes:
    fields = f"Content-Type: application/ocsp-request\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode() + body


def request_der(issuer: dict[str, Any]) -> bytes:
    ca = x509.load_pem_x509_certificate(Path(issuer["certificate"]).read_bytes())
    certificate = x509.load_pem_x509_certificate(Path(issuer["good"][0]).read_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, ca, hashes.SHA1())
    return builder.build().public_bytes(serialization.Encoding.DER)


def lua_post(der: bytes, path: Path) -> Path:
    octets = "".join(f"\\{octet:03d}" for octet in der)
    path.write_text(
        f'wrk.method = "POST"\nwrk.body = "{octets}"\nwrk.headers["Content-Type"] = "application/ocsp-request"\n'
    )
    return path


@contextmanager
def nginx(folder: Path, bodies: dict[str, bytes], *, workers: int, cores: list[int], port: int) -> Iterator[list[int]]:
    """An nginx with these files; the processes that serve."""
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    (folder / "nginx.conf").write_text(_NGINX.format(workers=workers, folder=folder, port=port))
    for name in bodies:
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    pinned = ",".join(map(str, cores))
    process = subprocess.Popen(["taskset", "-c", pinned, program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        for _ in range(100):
            time.sleep(0.05)
            if len(found := children_of(process.pid)) == workers:
                break
        yield found
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--port", type=int, default=28701)
    parser.add_argument("--open-loop", action="store_true", help="measure latencies at a constant rate, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for program in ("wrk", "taskset", "nginx"):
        if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
            sys.exit(f"{program} is missing: apt-get install wrk util-linux nginx-light")
    cores = sorted(os.sched_getaffinity(0))
    server_cores, client_core = cores[: options.workers], cores[-1]
    with running_demo(workers=options.workers) as demo, tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        targets, bodies = [], {}
        for issuer in demo["issuers"][:2]:
            der = request_der(issuer)
            path = urllib.parse.quote(base64.b64encode(der), safe="")
            bodies[issuer["id"]] = httpx.post(f"{demo['http']}/ocsp", content=der, trust_env=False).content
            ours = lambda: processes_of_demo(demo)  # noqa: E731
            script = lua_post(der, folder / f"{issuer['id']}.lua")
            post, get = http_request("POST", "/ocsp", der), http_request("GET", f"/ocsp/{path}")
            targets.append(Target(f"{issuer['id']} POST", f"{demo['http']}/ocsp", script, post, ours))
            targets.append(Target(f"{issuer['id']} GET", f"{demo['http']}/ocsp/{path}", None, get, ours))
        for pid in processes_of_demo(demo):
            os.sched_setaffinity(pid, server_cores)
        with nginx(folder, bodies, workers=options.workers, cores=server_cores, port=options.port) as workers:
            figures = measure(targets, list(bodies), workers, options, client_core)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'':24}{'CPU us':>8}{'user us':>9}{'answers/s':>11}{'x nginx':>9}{'user x':>8}")
    for figure in figures:
        ratios = f"{figure['ratio']:9.2f}{figure['user_ratio']:8.2f}" if "ratio" in figure else ""
        print(f"{figure['what']:24}{figure['cpu']:8.1f}{figure['user']:9.1f}{figure['answers']:11,.0f}{ratios}")
    if options.open_loop:
        print(
            f"\n{'':24}{'at rate/s':>11}{'p50 us':>8}{'p99 us':>8}{'nginx p50':>11}{'nginx p99':>11}{'p99 x nginx':>13}"
        )
        for figure in figures:
            if "rate" in figure:
                print(
                    f"{figure['what']:24}{figure['rate']:11,.0f}{figure['p50']:8.0f}{figure['p99']:8.0f}"
                    f"{figure['nginx_p50']:11.0f}{figure['nginx_p99']:11.0f}{figure['p99_ratio']:13.2f}"
                )


def measure(
    targets: list[Target], files: list[str], workers: list[int], options: argparse.Namespace, core: int
) -> list[dict[str, Any]]:
    plain = [
        Target(
            f"nginx, {name}",
            f"http://127.0.0.1:{options.port}/{name}",
            None,
            http_request("GET", f"/{name}"),
            lambda: workers,
        )
        for name in files
    ]
    beside = {target.name: next(each for each in plain if target.name.split()[0] in each.name) for target in targets}
    pairs: dict[str, list[tuple[Cost, Cost]]] = {target.name: [] for target in targets}
    for warm in (True, *[False] * options.rounds):
        for target in targets:
            # Right after each other: a shared machine isn't the same for long.
            theirs, ours = (
                ask(each, seconds=1 if warm else options.seconds, connections=options.connections, core=core)
                for each in (beside[target.name], target)
            )
            if not warm:
                pairs[target.name].append((ours, theirs))
    figures = [
        described(other.name, [theirs for name in pairs if beside[name] is other for _, theirs in pairs[name]])
        for other in plain
    ]
    for target in targets:
        mine = pairs[target.name]
        figure = described(target.name, [ours for ours, _ in mine])
        figure["ratio"] = statistics.median(ours.all / theirs.all for ours, theirs in mine)
        figure["user_ratio"] = statistics.median(ours.user / theirs.user for ours, theirs in mine)
        if options.open_loop:
            rate = 0.6 * min(figure["answers"], statistics.median(theirs.answers for _, theirs in mine))
            figure |= beside_at_rate(target, beside[target.name], rate, options, core)
        figures.append(figure)
    return figures


def described(name: str, costs: list[Cost]) -> dict[str, Any]:
    return {
        "what": name,
        "cpu": statistics.median(cost.all for cost in costs),
        "user": statistics.median(cost.user for cost in costs),
        "answers": statistics.median(cost.answers for cost in costs),
    }


def beside_at_rate(
    target: Target, other: Target, rate: float, options: argparse.Namespace, core: int
) -> dict[str, float]:
    """Latencies of both, one after the other in each round."""
    pairs = [
        [
            latency(each, rate, seconds=options.seconds, connections=options.connections, core=core)
            for each in (target, other)
        ]
        for _ in range(options.rounds)
    ]
    return {
        "rate": rate,
        "p50": statistics.median(ours[0] for ours, _ in pairs),
        "p99": statistics.median(ours[1] for ours, _ in pairs),
        "nginx_p50": statistics.median(theirs[0] for _, theirs in pairs),
        "nginx_p99": statistics.median(theirs[1] for _, theirs in pairs),
        "p99_ratio": statistics.median(ours[1] / theirs[1] for ours, theirs in pairs),
    }


if __name__ == "__main__":
    main()

"""A CA with a million certificates, as its operator meets it: taken over, signed, killed while it signs, started warm.

    python -m loadtest.million [--certificates 1000000]

Postgres and Valkey are of the machine itself, and write to its disk as an installation's do. Every step is the
command that the operator would give; its memory is the highest that it ever used (`wait4`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from redis.asyncio import Redis

from loadtest.common import ca_certificate, new_ca_key
from loadtest.first_figures import openssl_signatures_a_second
from loadtest.presigning import used_memory
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.host.sockets import open_socket


@dataclass(frozen=True)
class Ended:
    """A command that has ended well: what it said, how long it took, and the most memory that it used, in MB."""

    out: str
    err: str
    seconds: float
    megabytes: float


class Site:
    """A folder with servers and a configuration, and the command in it."""

    def __init__(self, folder: Path, postgres_url: str, redis_url: str) -> None:
        with contextlib.ExitStack() as taken:
            sockets = [taken.enter_context(open_socket("127.0.0.1", 0, reuse_port=False)) for _ in range(2)]
            public, admin = (each.getsockname()[1] for each in sockets)
        (folder / "keys").mkdir(mode=0o700)
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text("a-token-of-enough-characters")
        self.configuration = folder / "certstatus.toml"
        self.configuration.write_text(
            f'[postgres]\nurl = "{postgres_url}"\n[redis]\nurl = "{redis_url}"\n'
            f'[serve]\nlisten = "127.0.0.1:{public}"\nworkers = 1\n'
            f'[admin]\nlisten = "127.0.0.1:{admin}"\ntoken_file = "token"\n[keys]\ndirectory = "keys"\n'
            "[table]\nmegabytes = 1024\n"
        )
        self.admin = f"http://127.0.0.1:{admin}"

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """A command under way."""
        return subprocess.Popen(
            [sys.executable, "-m", "responder", *arguments, "-c", str(self.configuration)], text=True, **options
        )

    def run(self, *arguments: str) -> Ended:
        """A command to its end, which must be a good one."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            began = time.perf_counter()
            process = self.start(*arguments, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            ended = Ended(out.read(), err.read(), seconds, usage.ru_maxrss / 1024)
        if process.returncode:
            raise SystemExit(f"certstatus {' '.join(arguments)}: {ended.err}")
        return ended

    @contextlib.contextmanager
    def running(self) -> Iterator[float]:
        """`certstatus run`, ready; after how many seconds it was."""
        began = time.perf_counter()
        process = self.start("run")
        try:
            while not self._is_ready():
                if process.poll() is not None or time.perf_counter() - began > 120:
                    raise SystemExit("certstatus run never became ready")
                time.sleep(0.05)
            yield time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.admin}/readyz", trust_env=False, timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def metric(self, name: str) -> float:
        """One of `/metrics`, without labels."""
        text = httpx.get(f"{self.admin}/metrics", trust_env=False, timeout=5).text
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))


def write_index(path: Path, count: int) -> None:
    """The index of an `openssl ca` with so many certificates, one in a hundred of them revoked."""
    numbers = random.Random(1)
    with path.open("w") as index:
        for each in range(count):
            serial = f"{0x40 << 120 | numbers.getrandbits(120):032X}"
            if each % 100:
                index.write(f"V\t301231235959Z\t\t{serial}\tunknown\t/O=Example/CN=host-{each}.example\n")
            else:
                revoked = "260102030405Z,superseded"
                index.write(f"R\t301231235959Z\t{revoked}\t{serial}\tunknown\t/O=Example/CN=host-{each}.example\n")


async def fetch(url: str, query: str) -> Sequence[asyncpg.Record]:
    """The rows of a query."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


def slices_now(url: str) -> dict[str, int]:
    """How many certificates are in slices that are signed, and in those that are due."""
    rows = asyncio.run(
        fetch(
            url,
            "SELECT due_at > now() AS signed, count(*) AS slices, coalesce(sum(size), 0)::bigint AS certificates "
            "FROM partitions JOIN (SELECT partition, count(*) AS size FROM certificates GROUP BY 1) AS sizes "
            "USING (partition) GROUP BY 1",
        )
    )
    found = {"signed": 0, "left": 0, "slices_left": 0}
    for row in rows:
        found["signed" if row["signed"] else "left"] = row["certificates"]
        if not row["signed"]:
            found["slices_left"] = row["slices"]
    return found


def measure(folder: Path, count: int) -> dict[str, Any]:
    """All steps, one after the other."""
    figures: dict[str, Any] = {"certificates": count}
    postgres, valkey = EmbeddedPostgres(folder, durable=True), EmbeddedValkey(folder, durable=True)
    postgres.start()
    valkey.start()
    try:
        site = Site(folder, postgres.url, valkey.url)
        index, ca = folder / "index.txt", folder / "ca.crt"
        write_index(index, count)
        ca.write_bytes(ca_certificate("Bench CA", new_ca_key(folder)))
        site.run("db", "migrate")
        site.run("issuer", "add", "--id", "bench", "--certificate", str(ca), "--ca-key", str(folder / "ca.pem"))

        done = site.run("import", "openssl-index", str(index), "--issuer", "bench")
        figures["import"] = {"seconds": round(done.seconds, 1), "megabytes": round(done.megabytes)}
        figures["import"]["last_line_of_progress"] = done.err.strip().splitlines()[-1]

        figures["dry_run"] = json.loads(site.run("presign", "--issuer", "bench", "--dry-run", "--json").out)
        cores = len(os.sched_getaffinity(0))
        before = openssl_signatures_a_second("ecdsap256", processes=cores)
        done = site.run("presign", "--issuer", "bench", "--json")
        possible = (before + openssl_signatures_a_second("ecdsap256", processes=cores)) / 2
        figures["presign"] = {
            **json.loads(done.out),
            "megabytes": round(done.megabytes),
            "openssl_signatures_a_second": round(possible),
            "times_of_openssl": round(done.seconds * possible / (2 * count), 2),
        }
        figures["store"] = asyncio.run(store_figures(valkey.url, count))
        figures["killed"] = kill_in_the_middle(site, postgres.url)
        with site.running() as seconds:
            figures["restart"] = {"ready_after_seconds": round(seconds, 1)}
            began = time.perf_counter()
            while site.metric("presign_lag_seconds"):
                if time.perf_counter() - began > 600:
                    raise SystemExit("what was left is never signed")
                time.sleep(0.5)
            figures["killed"]["signed_after_it"] = round(site.metric("presigned_total"))
        with site.running() as seconds:
            figures["restart"]["warm_ready_after_seconds"] = round(seconds, 1)
    finally:
        valkey.stop()
        postgres.stop()
    return figures


async def store_figures(url: str, count: int) -> dict[str, Any]:
    """What the record store says of itself."""
    async with Redis.from_url(url) as redis:
        server = await redis.info("server")
        return {
            "server": f"{server.get('server_name', 'redis')} {server.get('valkey_version') or server['redis_version']}",
            "keys": await redis.dbsize(),
            "octets_a_certificate": round(await used_memory(url) / count),
        }


def kill_in_the_middle(site: Site, postgres_url: str) -> dict[str, int]:
    """What a kill leaves: certificates in slices that are signed, in those that are left, and how many those are."""
    process = site.start("presign", "--issuer", "bench", "--json", stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    while slices_now(postgres_url)["left"] == 0:  # they are due again
        time.sleep(0.1)
    while True:
        found = slices_now(postgres_url)
        if found["signed"] > found["left"] or time.perf_counter() - began > 300:
            break
        time.sleep(0.2)
    process.kill()
    process.wait()
    return slices_now(postgres_url)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--certificates", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        figures = measure(folder, options.certificates)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Pre-signing as `work` does it, beside `openssl speed`: the signer alone, the Presigner from rows to records, and from
rows to the store; on one core and on all.

    python -m loadtest.presigning [--certificates 50000] [--rounds 5] [--kinds ecdsa-p256,rsa-2048]

Each certificate has two signatures. On one core: this process and `openssl speed` are pinned to it, the database and
the store to the others; what counts is this process's CPU time, user and system, against openssl's. On all cores:
nothing is pinned, the database and the store run on the same ones, and what counts is the time that passes, against
`openssl speed -multi`. openssl is asked before and after each of ours, and their mean taken: what the machine can
changes from one second to the next. Medians of the rounds; a ratio is the median of the rounds' ratios. What the store
uses for a certificate counts keys, expiries and seals, too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis

from loadtest.common import add_issuer, register, silence
from loadtest.first_figures import openssl_signatures_a_second
from responder.clock import SystemClock
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.ocsp.presign import Presigner, RecordSink
from responder.pki import Issuer, Issuers, Records
from responder.signing.answers import NativeSigner
from responder.signing.signers import Signers
from responder.storage.migrations import migrate
from responder.storage.partitions import PostgresPartitions
from responder.storage.postgres import connect
from responder.storage.redis import RedisRecords
from responder.storage.runs import PostgresRuns

_OPENSSL = {"ecdsa-p256": "ecdsap256", "ecdsa-p384": "ecdsap384", "rsa-2048": "rsa2048", "ed25519": "ed25519"}


class Nowhere:
    """Takes records, and keeps none: what is left is the cost of making them."""

    async def put_all(self, names: Sequence[bytes], records: Sequence[Records]) -> None:
        """See `RecordSink`."""


@dataclass
class Bench:
    """What is measured: the signer, and the presigner without and with its store."""

    native: NativeSigner
    partitions: PostgresPartitions
    records: RedisRecords
    count: int
    issuer: Issuer
    openssl: str

    async def sign_alone(self) -> float:
        """Signatures per CPU second of the signer, from statuses as the database gives them to records."""
        signed, cpu = 0, 0.0
        async for statuses, _ in self.partitions.statuses(self.issuer, list(range(1024)), chunk=1000):
            started = time.process_time()
            signed += 2 * len(await self.native.sign(statuses))
            cpu += time.process_time() - started
        return signed / cpu

    async def to_records(self) -> float:
        """Signatures per CPU second of this process, from rows to records."""
        return (await self._presign(Nowhere(), tasks=1))[0]

    async def to_store(self) -> float:
        """The same from rows to the store."""
        return (await self._presign(self.records, tasks=1))[0]

    async def to_records_on_all(self) -> float:
        """Signatures a second by all cores, from rows to records; by one task more than cores, as `work` has."""
        return (await self._presign(Nowhere(), tasks=len(os.sched_getaffinity(0)) + 1))[1]

    async def to_store_on_all(self) -> float:
        """The same from rows to the store."""
        return (await self._presign(self.records, tasks=len(os.sched_getaffinity(0)) + 1))[1]

    async def longest_silence(self) -> float:
        """For how many seconds the loop did nothing else while all cores signed: apart, since looking costs a hundredth
        of a core."""
        async with silence(every=0.005) as silent:
            await self.to_store_on_all()
        return silent.longest

    async def _presign(self, store: RecordSink, *, tasks: int) -> tuple[float, float]:
        """Signatures per second of CPU, and per second."""
        await self.partitions.make_due("bench")
        cpu, elapsed = time.process_time(), time.perf_counter()
        await asyncio.gather(*(self._sign_all(store) for _ in range(tasks)))
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - elapsed
        return 2 * self.count / cpu, 2 * self.count / elapsed

    async def _sign_all(self, store: RecordSink) -> None:
        presigner = Presigner(
            self.partitions,
            issuers=Issuers([self.issuer]),
            signer=self.native,
            records=store,
            clock=SystemClock(),
            owner="bench",
        )
        while await presigner.once():
            pass

    async def beside_openssl(self, ours: Callable[[], Awaitable[float]], *, processes: int = 1) -> tuple[float, float]:
        """What `ours` says, and openssl before and after it."""
        before = openssl_signatures_a_second(self.openssl, seconds=1, processes=processes)
        made = await ours()
        return made, (before + openssl_signatures_a_second(self.openssl, seconds=1, processes=processes)) / 2


async def used_memory(redis_url: str) -> int:
    """What the record store says that it uses, in octets."""
    async with Redis.from_url(redis_url) as redis:
        return int((await redis.info("memory"))["used_memory"])


async def measure(url: str, redis_url: str, folder: Path, kind: str, *, count: int, rounds: int) -> dict[str, Any]:
    clock = SystemClock()
    pool = await connect(url, pool_size=8, application_name="presigning")
    await pool.execute("DELETE FROM issuers")
    signer = await add_issuer(pool, folder, kind)
    issuer = signer.issuer
    await register(pool, count)
    native = NativeSigner(Signers([signer]), clock, backdate=timedelta(minutes=5))
    records = RedisRecords(redis_url, timeout_seconds=5, seal=await PostgresRuns(pool).seal())
    partitions = PostgresPartitions(pool)

    bench = Bench(native, partitions, records, count, issuer, _OPENSSL[kind])
    cores = sorted(os.sched_getaffinity(0))
    steps: dict[str, tuple[Callable[[], Awaitable[float]], int]] = {
        "signer": (bench.sign_alone, 1),
        "to_records": (bench.to_records, 1),
        "to_store": (bench.to_store, 1),
        "to_records_on_all": (bench.to_records_on_all, len(cores)),
        "to_store_on_all": (bench.to_store_on_all, len(cores)),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    gc.collect()
    gc.freeze()  # as a process does that is ready
    memory = await used_memory(redis_url)
    for _ in range(rounds):
        for name, (step, processes) in steps.items():
            os.sched_setaffinity(0, {cores[-1]} if processes == 1 else set(cores))
            # Threads inherit it when they begin: new ones.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
            measured[name].append(await bench.beside_openssl(step, processes=processes))
    os.sched_setaffinity(0, set(cores))
    silence_seconds = await bench.longest_silence()
    memory = await used_memory(redis_url) - memory
    await records.close()
    await pool.close()
    figures: dict[str, Any] = {"kind": kind, "store_octets_a_certificate": round(memory / count)}
    for name, pairs in measured.items():
        figures[name] = round(statistics.median(ours for ours, _ in pairs))
        figures[f"{name}_openssl"] = round(statistics.median(theirs for _, theirs in pairs))
        figures[f"{name}_ratio"] = round(statistics.median(ours / theirs for ours, theirs in pairs), 3)
    figures["loop_blocked_for_ms"] = round(1000 * silence_seconds)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--certificates", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default="ecdsa-p256,rsa-2048")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[:-1]) or set(cores))  # the servers inherit it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres, valkey = EmbeddedPostgres(folder, durable=False), EmbeddedValkey(folder, durable=False)
        postgres.start()
        valkey.start()
        os.sched_setaffinity(0, set(cores))
        try:
            asyncio.run(migrate(postgres.url))
            figures = []
            for kind in options.kinds.split(","):
                # These take 20 to 40 times as long.
                is_slow = kind in ("rsa-2048", "ecdsa-p384")
                count = max(200, options.certificates // 20) if is_slow else options.certificates
                figures.append(
                    uvloop.run(measure(postgres.url, valkey.url, folder, kind, count=count, rounds=options.rounds))
                )
        finally:
            valkey.stop()
            postgres.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Pre-signing as `work` does it, beside `openssl speed`: the signer alone, the Presigner from rows to records, and from
rows to the store.

    python -m loadtest.presigning [--certificates 10000] [--rounds 5] [--kinds ecdsa-p256,rsa-2048]

Each certificate has two signatures. This process and `openssl speed` are pinned to one core, the database and the
store to the others; what counts is this process's CPU time, user and system, against openssl's. Medians of the rounds;
a ratio is the median of the rounds' ratios. What the store uses for a certificate counts keys, expiries and seals, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from loadtest.common import add_issuer, register
from loadtest.first_figures import openssl_signatures_a_second
from responder.clock import SystemClock
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.interfaces import RecordStore
from responder.ocsp.presign import Presigner
from responder.pki import Certificate, CertStatus, Issuer, Issuers, Kept, Records, StatusVersion
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

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore`."""
        return None

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore`."""
        return _KEPT

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore`."""
        return [_KEPT] * len(batch)


_KEPT = Kept(StatusVersion(0, 0, datetime(2026, 1, 1, tzinfo=UTC)), CertStatus.GOOD)


@dataclass
class Bench:
    """What is measured: the signer, and the presigner without and with its store."""

    native: NativeSigner
    to_records: Presigner
    to_store: Presigner
    partitions: PostgresPartitions
    count: int
    issuer: Issuer

    async def sign_alone(self) -> float:
        """Signatures per CPU second of the signer, from statuses as the database gives them to records."""
        signed, cpu = 0, 0.0
        async for statuses, _ in self.partitions.statuses(self.issuer, list(range(1024)), chunk=1000):
            started = time.process_time()
            signed += 2 * len(await self.native.sign(statuses))
            cpu += time.process_time() - started
        return signed / cpu

    async def presign(self, presigner: Presigner) -> float:
        """Signatures per CPU second of this process, from rows on."""
        await self.partitions.make_due("bench")
        started = time.process_time()
        while await presigner.once():
            pass
        return 2 * self.count / (time.process_time() - started)


async def used_memory(redis_url: str) -> int:
    """What the record store says that it uses, in octets."""
    async with Redis.from_url(redis_url) as redis:
        return int((await redis.info("memory"))["used_memory"])


async def measure(url: str, redis_url: str, folder: Path, kind: str, *, count: int, rounds: int) -> dict[str, Any]:
    clock = SystemClock()
    pool = await connect(url, pool_size=2, application_name="presigning")
    await pool.execute("DELETE FROM issuers")
    signer = await add_issuer(pool, folder, kind)
    issuer = signer.issuer
    await register(pool, count)
    native = NativeSigner(Signers([signer]), clock, backdate=timedelta(minutes=5))
    records = RedisRecords(redis_url, timeout_seconds=5, seal=await PostgresRuns(pool).seal())
    partitions = PostgresPartitions(pool)

    def presigner(store: RecordStore) -> Presigner:
        return Presigner(
            partitions,
            issuers=Issuers([issuer]),
            signer=native,
            records=store,
            clock=clock,
            owner="bench",
            slices=1024,
        )

    bench = Bench(native, presigner(Nowhere()), presigner(records), partitions, count, issuer)
    alone, made, whole = [], [], []
    memory = await used_memory(redis_url)
    for _ in range(rounds):
        openssl = openssl_signatures_a_second(_OPENSSL[kind])
        alone.append((await bench.sign_alone(), openssl))
        made.append((await bench.presign(bench.to_records), openssl))
        whole.append((await bench.presign(bench.to_store), openssl))
    memory = await used_memory(redis_url) - memory
    await records.close()
    await pool.close()
    return {
        "kind": kind,
        "store_octets_a_certificate": round(memory / count),
        "openssl_speed": round(statistics.median(theirs for _, theirs in alone)),
        "signer": round(statistics.median(ours for ours, _ in alone)),
        "signer_ratio": round(statistics.median(ours / theirs for ours, theirs in alone), 3),
        "presigner_to_records": round(statistics.median(ours for ours, _ in made)),
        "presigner_to_records_ratio": round(statistics.median(ours / theirs for ours, theirs in made), 3),
        "presigner_to_store": round(statistics.median(ours for ours, _ in whole)),
        "presigner_to_store_ratio": round(statistics.median(ours / theirs for ours, theirs in whole), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--certificates", type=int, default=10_000)
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
        os.sched_setaffinity(0, {cores[-1]})
        try:
            asyncio.run(migrate(postgres.url))
            figures = []
            for kind in options.kinds.split(","):
                # RSA takes 50 times as long.
                count = options.certificates if "rsa" not in kind else max(200, options.certificates // 20)
                figures.append(
                    asyncio.run(measure(postgres.url, valkey.url, folder, kind, count=count, rounds=options.rounds))
                )
        finally:
            valkey.stop()
            postgres.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

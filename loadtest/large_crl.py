"""A large CRL, from rows in the database to published: how long, how much memory, and how long the loop is silent.

    python -m loadtest.large_crl [--entries 1000000] [--rounds 3]

The first CRL of a round has nothing before it; the second is built after one more revocation, and compared with the
first. CPU is user and system time of this process, without the database's. Memory is this process's peak above what it
had before the first round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import uvloop

from loadtest.common import ca_certificate, new_ca_key, silence
from responder import log
from responder.crl.issuer import CRLIssuer
from responder.embedded import EmbeddedPostgres
from responder.pki import Issuers, make_issuer
from responder.signing.crls import NativeCRLSigner
from responder.signing.keys import KeyRing
from responder.storage.crls import PostgresCRLs
from responder.storage.issuers import PostgresIssuers
from responder.storage.migrations import migrate
from responder.storage.postgres import connect
from responder.storage.revoked import PostgresRevoked
from responder.storage.statuses import PostgresStatuses

_FILL = """
INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason)
SELECT 'large', '\\x40'::bytea || substr(sha256(int4send(g)), 1, 15), true, now() - interval '1 day',
    (ARRAY[NULL, 1, 4, 5])[1 + g % 4]
FROM generate_series(1, $1) AS g
"""


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def measure(url: str, folder: Path, *, entries: int, rounds: int) -> dict[str, float]:
    await migrate(url)
    pool: asyncpg.Pool = await connect(url, pool_size=4, application_name="large crl")
    issuer = make_issuer("large", ca_certificate("Large CA", new_ca_key(folder)))
    await PostgresIssuers(pool).add(issuer)
    await pool.execute(_FILL, entries, timeout=600)
    await pool.execute("DELETE FROM outbox", timeout=600)
    await pool.execute("VACUUM ANALYZE certificates", timeout=600)
    statuses, crls = PostgresStatuses(pool, Issuers([issuer])), PostgresCRLs(pool)
    signer = NativeCRLSigner(KeyRing(folder))
    builder = CRLIssuer(revoked=PostgresRevoked(pool), statuses=statuses, signer=signer, store=crls)
    seconds: list[float] = []
    again: list[float] = []
    cpu: list[float] = []
    silent: list[float] = []
    before = peak_bytes()
    size = 0
    for number in range(rounds):
        await pool.execute("DELETE FROM crls")
        for times in (seconds, again):
            async with silence(every=0.005) as silences:
                started, started_cpu = time.perf_counter(), time.process_time()
                crl = await builder.publish(issuer)
                times.append(time.perf_counter() - started)
                cpu.append(time.process_time() - started_cpu)
            silent.append(silences.longest)
            size = len(crl.der)
            await pool.execute(
                "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at) VALUES ('large', $1, true, now())",
                b"\x50" + number.to_bytes(4, "big") + len(again).to_bytes(4, "big"),
            )
    await pool.close()
    return {
        "entries": entries,
        "crl_bytes": size,
        "first_seconds": statistics.median(seconds),
        "with_previous_seconds": statistics.median(again),
        "cpu_seconds": statistics.median(cpu),
        "longest_silence_ms": 1000 * max(silent),
        "peak_mb": peak_bytes() / 2**20,
        "peak_mb_above_start": (peak_bytes() - before) / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    log.configure(level="error", format="text")  # what is printed is the figures
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder, durable=False)
        server.start()
        try:
            figures = uvloop.run(measure(server.url, folder, entries=options.entries, rounds=options.rounds))
        finally:
            server.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

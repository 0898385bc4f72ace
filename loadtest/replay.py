"""The record store was started again: how fast every change is put into it, until readers may trust it (decision 0006).

    python -m loadtest.replay [--changes 100000] [--certificates 1000000] [--rounds 3]

`--changes` of the certificates were revoked within the longest validity of an answer; each has a record signed again,
two signatures. What counts is the time from the first sight of the new run to the moment that it is trusted, as
`record_store_replay_changes_per_second` has it, and this process's CPU for it. This process is pinned to one core, the
database and the store to the others. Medians of the rounds.
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
from datetime import timedelta
from pathlib import Path
from typing import Any

from loadtest.common import add_issuer, register
from loadtest.first_figures import openssl_signatures_a_second
from responder import log
from responder.clock import SystemClock
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.ocsp.presign import Relay
from responder.ocsp.storekeeper import StoreKeeper
from responder.pki import Issuers
from responder.signing.answers import NativeSigner
from responder.signing.signers import Signers
from responder.storage.migrations import migrate
from responder.storage.postgres import connect
from responder.storage.redis import RedisRecords
from responder.storage.runs import PostgresRuns
from responder.storage.statuses import PostgresStatuses

_REVOKE = """
UPDATE certificates SET revoked = true, revoked_at = now(), reason = 1
WHERE serial IN (SELECT serial FROM certificates ORDER BY serial LIMIT $1)
"""


async def measure(
    url: str, folder: Path, others: set[int], *, changes: int, certificates: int, rounds: int
) -> dict[str, Any]:
    await migrate(url)
    pool = await connect(url, pool_size=2, application_name="replay")
    signer = await add_issuer(pool, folder, "ecdsa-p256")
    await register(pool, certificates)
    await pool.execute(_REVOKE, changes, timeout=600)
    await pool.execute("VACUUM ANALYZE", timeout=600)
    clock, runs = SystemClock(), PostgresRuns(pool)
    native = NativeSigner(Signers([signer]), clock, backdate=timedelta(minutes=5))
    statuses = PostgresStatuses(pool, Issuers([signer.issuer]))
    rates, cpu = [], []
    for number in range(rounds + 1):
        valkey = EmbeddedValkey(folder, durable=False)
        valkey.start()
        os.sched_setaffinity(valkey.pid, others)  # it has inherited ours
        records = RedisRecords(valkey.url, timeout_seconds=5)
        relay = Relay(statuses, signer=native, records=records, clock=clock)
        keeper = StoreKeeper(records, runs, owner="bench")
        before = time.process_time()
        while not await keeper.once():
            while await relay.once():
                pass
        state = await runs.current()
        if number:  # the first one puts them for the first time
            assert state.replayed == changes
            assert state.changes_per_second is not None
            rates.append(state.changes_per_second)
            cpu.append((time.process_time() - before) / changes)
        await records.close()
        valkey.stop()
    await pool.close()
    return {
        "changes": changes,
        "certificates": certificates,
        "openssl_speed": round(openssl_signatures_a_second("ecdsap256")),
        "changes_per_second": round(statistics.median(rates)),
        "cpu_microseconds_a_change": round(1e6 * statistics.median(cpu), 1),
        "seconds_until_trusted": round(changes / statistics.median(rates), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--certificates", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    log.configure(level="error", format="text")  # what is printed is the figures
    cores = sorted(os.sched_getaffinity(0))
    others = set(cores[:-1]) or set(cores)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.sched_setaffinity(0, others)  # the servers inherit it
        postgres = EmbeddedPostgres(folder, durable=False)
        postgres.start()
        os.sched_setaffinity(0, {cores[-1]})
        try:
            figures = asyncio.run(
                measure(
                    postgres.url,
                    folder,
                    others,
                    changes=options.changes,
                    certificates=options.certificates,
                    rounds=options.rounds,
                )
            )
        finally:
            postgres.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""A large CRL, from rows in the database to published: how long, how much memory, and how long the loop is silent.

    python loadtest/large_crl.py [--entries 1000000] [--rounds 3]

The first CRL of a round has nothing before it; the second is built after one more revocation, and compared with the
first. CPU is user and system time of this process, without the database's. Memory is this process's peak above what it
had before the first round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from responder.crl.issuer import CRLIssuer
from responder.embedded import EmbeddedPostgres
from responder.pki import Issuer, Issuers, make_issuer
from responder.signing import KeyRing, NativeCRLSigner
from responder.storage.crls import PostgresCRLs
from responder.storage.issuers import PostgresIssuers
from responder.storage.migrations import migrate
from responder.storage.postgres import connect
from responder.storage.statuses import PostgresStatuses

_FILL = """
INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason)
SELECT 'large', '\\x40'::bytea || substr(sha256(int4send(g)), 1, 15), true, now() - interval '1 day',
    (ARRAY[NULL, 1, 4, 5])[1 + g % 4]
FROM generate_series(1, $1) AS g
"""


def make_ca(folder: Path) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Large CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return make_issuer("large", certificate.public_bytes(serialization.Encoding.DER))


class Silence:
    """How long a loop that should run every 5 ms didn't."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last - 0.005)
            last = now


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def measure(url: str, folder: Path, *, entries: int, rounds: int) -> dict[str, float]:
    await migrate(url)
    pool: asyncpg.Pool = await connect(url, pool_size=4, application_name="large crl")
    issuer = make_ca(folder)
    await PostgresIssuers(pool).add(issuer)
    await pool.execute(_FILL, entries, timeout=600)
    await pool.execute("DELETE FROM outbox", timeout=600)
    await pool.execute("VACUUM ANALYZE certificates", timeout=600)
    statuses, crls = PostgresStatuses(pool, Issuers([issuer])), PostgresCRLs(pool)
    signer = NativeCRLSigner(KeyRing(folder))
    builder = CRLIssuer(revoked=statuses, statuses=statuses, signer=signer, store=crls)
    seconds: list[float] = []
    again: list[float] = []
    cpu: list[float] = []
    silent: list[float] = []
    before = peak_bytes()
    size = 0
    for number in range(rounds):
        await pool.execute("DELETE FROM crls")
        for times in (seconds, again):
            silence = Silence()
            watcher = asyncio.create_task(silence.watch())
            started, started_cpu = time.perf_counter(), time.process_time()
            crl = await builder.publish(issuer)
            times.append(time.perf_counter() - started)
            cpu.append(time.process_time() - started_cpu)
            silent.append(silence.longest)
            watcher.cancel()
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

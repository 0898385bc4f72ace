"""A table filled from Valkey, as a host does at its start: records a second, and octets for a certificate.

    python -m loadtest.filling [--records 300000] [--rounds 3]

Each record has two P-256 signatures, made for it; the serials have 16 octets. What counts is this process's CPU time
and the time that passes; Valkey runs beside it. The table is made for as many records as there are, at 280 octets each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loadtest.common import ca_certificate, new_ca_key
from responder.clock import SystemClock
from responder.embedded import EmbeddedValkey
from responder.ocsp.warming import Sampled, Warmer
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    Floors,
    Issuers,
    Seal,
    StatusVersion,
    Table,
    make_issuer,
)
from responder.signing.answers import NativeSigner
from responder.signing.crls import ca_signer_of
from responder.signing.delegates import issue_responder_certificate
from responder.signing.key_files import make_key_file
from responder.signing.keys import KeyRing
from responder.signing.signers import Profiles, Signer, Signers, make_signer
from responder.signing.verifiers import NativeRecordVerifier
from responder.storage.redis import RedisRecords

_BATCH = 2000


def make_bench_signer(folder: Path) -> Signer:
    """A delegate of a new CA, both P-256."""
    issuer = make_issuer("bench", ca_certificate("Bench CA", new_ca_key(folder)))
    _, spki = make_key_file(folder, "responder.pem", "ecdsa-p256")
    ring = KeyRing(folder)
    ca_signer, key = ca_signer_of(ring, issuer.public_key), ring.get(spki)
    assert ca_signer is not None
    assert key is not None
    return make_signer(issuer, issue_responder_certificate(issuer, ca_signer, spki, now=datetime.now(UTC)), key)


async def put_records(store: RedisRecords, signer: Signer, count: int) -> None:
    native = NativeSigner(Signers([signer]), SystemClock(), backdate=timedelta(minutes=5))
    for start in range(0, count, _BATCH):
        version = StatusVersion(1, 1, datetime.now(UTC))
        statuses = [
            CertificateStatus(Certificate(signer.issuer, b"\x40" + os.urandom(15)), CertStatus.GOOD, version)
            for _ in range(min(_BATCH, count - start))
        ]
        records = await native.sign(statuses)
        await store.put_many([(status.certificate, made) for status, made in zip(statuses, records, strict=True)])


async def fill(store: RedisRecords, signer: Signer, count: int) -> tuple[float, float, float, int]:
    """Records a second, by time and by CPU; octets of memory for each record; and how many there are."""
    octets = count * 280
    memory, floors = memoryview(bytearray(octets)), memoryview(bytearray(1 << 20))
    Table.lay_out(memory, os.urandom(96))
    Floors.lay_out(floors, os.urandom(96))
    table = Table(memory, Floors(floors), owner=1)
    sampled = Sampled(Issuers([signer.issuer]), Profiles([signer.profile]), NativeRecordVerifier())
    warmer = Warmer(store, table, sampled=sampled, clock=SystemClock())
    started, cpu = time.perf_counter(), time.process_time()
    await warmer.fill()
    kept = table.usage()[0]
    return kept / (time.perf_counter() - started), kept / (time.process_time() - cpu), octets / kept, kept


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = EmbeddedValkey(folder, durable=False)
        valkey.start()
        try:
            store = RedisRecords(valkey.url, timeout_seconds=10, seal=Seal(os.urandom(32)))
            signer = make_bench_signer(folder)
            await put_records(store, signer, options.records)
            rounds = [await fill(store, signer, options.records) for _ in range(options.rounds)]
            await store.close()
        finally:
            valkey.stop()
    by_time, by_cpu, octets, kept = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{options.records:,} records in Valkey, {kept:,.0f} in the table: {octets:.0f} octets each")
    print(f"filled at {by_time:,.0f} records a second ({by_cpu:,.0f} a CPU second of this process)")


if __name__ == "__main__":
    asyncio.run(main())

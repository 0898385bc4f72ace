"""Many issuers: how long until a process knows them all, and what an unrelated change costs it then.

    python -m loadtest.many_issuers [--issuers 10000] [--rounds 9]

CPU is user and system time of this process. "Ready" is a Directory's first reload: every issuer, profile and signer,
with a key file each. A change is one issuer's max_age; what is measured is the reload after it with what the native way
is told then, as a serving process has it, and its longest silence of the event loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from loadtest.common import ca_certificate, new_ca_key, silence
from responder import config
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.pki import make_issuer
from responder.roles.memory import HostMemory, IssuerRows, create_memory
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.signing.crls import ca_signer_of
from responder.signing.delegates import issue_responder_certificate
from responder.signing.key_files import make_key_file
from responder.signing.keys import KeyRing
from responder.signing.signers import make_profile
from responder.storage.migrations import migrate


async def fill(stores: Stores, keys: Path, count: int) -> None:
    """Issuers of one CA key under different names, each with a delegate and a key file of its own."""
    (keys / "ca").mkdir(mode=0o700)
    ca = new_ca_key(keys / "ca")
    ring = KeyRing(keys / "ca")
    now = datetime.now(UTC)
    for number in range(count):
        issuer = make_issuer(f"ca-{number}", ca_certificate(f"CA {number}", ca))
        signer = ca_signer_of(ring, issuer.public_key)
        assert signer is not None
        _, public = make_key_file(keys, f"{issuer.id}.pem")
        delegate = issue_responder_certificate(issuer, signer, public, now=now)
        await stores.issuer_store.add(issuer, responder_certificate=delegate, profile=make_profile(issuer, delegate))


async def measure(url: str, redis_url: str, folder: Path, *, count: int, rounds: int) -> dict[str, Any]:
    await migrate(url)
    keys, token = folder / "keys", folder / "token"
    keys.mkdir(mode=0o700)
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef0123456789abcdef")
    loaded = config.load(
        None,
        environ={
            "CERTSTATUS_POSTGRES_URL": url,
            "CERTSTATUS_REDIS_URL": redis_url,
            "CERTSTATUS_KEYS_DIRECTORY": str(keys),
            "CERTSTATUS_ADMIN_TOKEN_FILE": str(token),
        },
    )
    async with open_stores(loaded, name="bench") as stores:
        await fill(stores, keys, count)
        directory = Directory(stores, keys=keys)
        responder, native = HostMemory.of(create_memory(loaded, 1), 0).responder(), IssuerRows()

        async def reload() -> None:
            await directory.reload()
            native.give(stores.current.snapshot, responder)

        started, started_cpu = time.perf_counter(), time.process_time()
        await reload()
        ready, ready_cpu = time.perf_counter() - started, time.process_time() - started_cpu
        assert len(list(directory.signers)) == count
        costs, idle, silences = [], [], []
        for number in range(rounds):
            async with silence(every=0.002) as silent:
                before = time.process_time()
                await reload()
                idle.append(time.process_time() - before)
                await stores.issuer_store.set_policy(f"ca-{number % count}", {"max_age_seconds": str(60 + number)})
                before = time.process_time()
                await reload()
                costs.append(time.process_time() - before)
            silences.append(silent.longest)
    return {
        "issuers": count,
        "ready_seconds": round(ready, 2),
        "ready_cpu_seconds": round(ready_cpu, 2),
        "change_cpu_ms": round(1000 * statistics.median(costs), 1),
        "nothing_changed_cpu_ms": round(1000 * statistics.median(idle), 1),
        "longest_silence_ms": round(1000 * statistics.median(silences), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--issuers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres, valkey = EmbeddedPostgres(folder, durable=False), EmbeddedValkey(folder, durable=False)
        postgres.start()
        valkey.start()
        try:
            figures = uvloop.run(
                measure(postgres.url, valkey.url, folder, count=options.issuers, rounds=options.rounds)
            )
        finally:
            valkey.stop()
            postgres.stop()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

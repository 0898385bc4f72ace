"""A small installation on real servers: one or more issuers, what signs, answers and relays for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from responder.clock import SystemClock
from responder.config.model import Config, Table
from responder.crl.issuer import CRLIssuer
from responder.host.process import background, repeatedly
from responder.ocsp.cached import CachedSource
from responder.ocsp.keeper import Keeper
from responder.ocsp.live import Budget, LiveSource
from responder.ocsp.presign import Presigner, Relay
from responder.ocsp.revoke import Revoker
from responder.ocsp.trusted import FlooredRecords, TrustedSource
from responder.pki import Answer, CertIDVariant, Certificate, Issuer, Issuers, Question
from responder.roles.memory import HostMemory, create_memory
from responder.signing.answers import NativeSigner
from responder.signing.crls import NativeCRLSigner
from responder.signing.keys import KeyRing
from responder.signing.signers import Profiles, Signer, Signers
from responder.storage.crls import PostgresCRLs
from responder.storage.hosts import PostgresHosts
from responder.storage.issuers import PostgresIssuers
from responder.storage.partitions import PostgresPartitions
from responder.storage.postgres import connect
from responder.storage.redis import RedisRecords
from responder.storage.revoked import PostgresRevoked
from responder.storage.signers import PostgresSigners
from responder.storage.statuses import PostgresStatuses
from responder.troubles import Troubles
from tests.makers import ca_of, make_ca, make_test_issuer, make_test_signer, pem


@dataclass
class Site:
    """Everything of it at hand. `issuer` and `signer` are the first ones."""

    url: str
    pool: asyncpg.Pool
    folder: Path
    issuers: Issuers
    signers: Signers
    profiles: Profiles
    issuer_store: PostgresIssuers
    signer_store: PostgresSigners
    statuses: PostgresStatuses
    partitions: PostgresPartitions
    crls: PostgresCRLs
    records: RedisRecords
    native: NativeSigner
    crl_signer: NativeCRLSigner
    relay_troubles: Troubles
    hosts: PostgresHosts
    memory: HostMemory
    clock: SystemClock = field(default_factory=SystemClock)

    @property
    def issuer(self) -> Issuer:
        return next(iter(self.issuers))

    @property
    def relay(self) -> Relay:
        return Relay(
            self.statuses, signer=self.native, records=self.records, clock=self.clock, troubles=self.relay_troubles
        )

    @property
    def builder(self) -> CRLIssuer:
        return CRLIssuer(
            revoked=PostgresRevoked(self.pool), statuses=self.statuses, signer=self.crl_signer, store=self.crls
        )

    def revoker(self, *, wait_seconds: float = 1) -> Revoker:
        return Revoker(self.statuses, self.hosts, wait_seconds=wait_seconds)

    def presigner(self, owner: str = "me", **options: Any) -> Presigner:
        return Presigner(
            self.partitions,
            issuers=self.issuers,
            signer=self.native,
            records=self.records,
            clock=self.clock,
            owner=owner,
            **options,
        )

    @property
    def live(self) -> LiveSource:
        return LiveSource(
            self.statuses,
            records=self.native,
            responses=self.native,
            profiles=self.profiles,
            clock=self.clock,
            budget=Budget(max_in_flight=4, max_waiting=100),
        )

    async def sql(self, statement: str, *arguments: object) -> str:
        return await self.pool.execute(statement, *arguments)

    async def add(self, issuer: Issuer, signer: Signer | None) -> None:
        """Answer for one more issuer."""
        await self.issuer_store.add(issuer)
        self.issuers.replace([*self.issuers, issuer])
        if signer is not None:
            self.signers.replace([*self.signers, signer])
            self.profiles.replace([each.profile for each in self.signers])

    async def relay_all(self, turns: int = 50) -> None:
        """Until the relay finds nothing to do; fails when it never does."""
        relay = self.relay
        for _ in range(turns):
            if not await relay.once():
                return
        raise AssertionError(f"the relay never ends: {await self.statuses.pending_count()} changes are open")

    async def ask(self, serial_number: int, issuer: Issuer | None = None, *, nonce: bytes | None = None) -> Answer:
        """Through a fresh cached source, as another worker of the host would answer that looks into the store."""
        issuer = issuer or self.issuer
        cached = CachedSource(
            FlooredRecords(self.records, self.memory.floors),
            self.live,
            profiles=self.profiles,
            clock=self.clock,
            name="redis",
        )
        trusted = TrustedSource(cached, lease=self.memory.deadline, floors=self.memory.floors)
        certificate = Certificate.numbered(issuer, serial_number)
        return await trusted.answer(Question(issuer, (certificate,), (CertIDVariant.SHA1,), nonce))

    async def status_in_store(self, serial_number: int, issuer: Issuer | None = None) -> str:
        held = await self.records.get(Certificate.numbered(issuer or self.issuer, serial_number))
        if held is None:
            return "nothing"
        return ("tombstone of " if held.is_tombstone else "") + ("good", "revoked", "unknown")[held.cert_status]


@asynccontextmanager
async def open_site(
    database: str, redis_url: str, folder: Path, kind: str = "ec", *, is_host: bool = True
) -> AsyncIterator[Site]:
    """A site with one issuer, `site-ec`, whose CA key is in `folder`. A host has a keeper, and answers."""
    pool = await connect(database, pool_size=5, application_name="test")
    issuer = make_test_issuer(f"site-{kind}", make_ca(kind if kind != "ed448" else "ec"))
    signer = make_test_signer(issuer, kind)
    issuers, signers, profiles = Issuers(), Signers(), Profiles()
    path = folder / "ca.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem(ca_of(issuer).key))
    clock = SystemClock()
    records = RedisRecords(redis_url, timeout_seconds=2)
    site = Site(
        url=database,
        pool=pool,
        folder=folder,
        issuers=issuers,
        signers=signers,
        profiles=profiles,
        issuer_store=PostgresIssuers(pool),
        signer_store=PostgresSigners(pool),
        statuses=PostgresStatuses(pool, issuers),
        partitions=PostgresPartitions(pool),
        crls=PostgresCRLs(pool),
        records=records,
        native=NativeSigner(signers, clock, backdate=timedelta(minutes=5)),
        crl_signer=NativeCRLSigner(KeyRing(folder)),
        relay_troubles=Troubles("relay"),
        hosts=PostgresHosts(pool),
        memory=HostMemory.of(create_memory(Config(table=Table(megabytes=1, floor_megabytes=1)), 1), 0),
    )
    await site.add(issuer, signer)
    keeper = Keeper(
        site.hosts,
        floors=site.memory.floors,
        table=site.memory.table,
        deadline=site.memory.deadline,
        database_clock=site.memory.database_clock,
        host=site.memory.identity,
        owner="site:1",
        lease_seconds=300,
    )
    try:
        if not is_host:
            yield site
            return
        await keeper.once()
        async with background(repeatedly(keeper.once, idle_seconds=0.02, longest_pause=0.1)):
            yield site
    finally:
        await records.close()
        await pool.close()

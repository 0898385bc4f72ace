"""The stores of one process: opened together, closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from responder.config import Config
from responder.host.process import host_identity
from responder.pki import (
    CRLHead,
    Current,
    Issuers,
    OfflineOutlook,
    ReportedTrouble,
    ResponderCertificate,
    SigningForecast,
    StoreRun,
)
from responder.storage.answers import PostgresAnswers
from responder.storage.certificates import PostgresCertificates
from responder.storage.checks import PostgresChecks
from responder.storage.configuration import PostgresConfiguration
from responder.storage.crls import PostgresCRLs
from responder.storage.hosts import PostgresHosts
from responder.storage.imports import PostgresImports
from responder.storage.issuers import PostgresIssuers
from responder.storage.listing import PostgresListing
from responder.storage.migrations import require_schema
from responder.storage.open_redis import RedisStore, open_records
from responder.storage.partitions import PostgresPartitions
from responder.storage.postgres import connect
from responder.storage.presigners import PostgresPresigners
from responder.storage.redis_connections import Access, Trust
from responder.storage.revoked import PostgresRevoked
from responder.storage.runs import PostgresRuns
from responder.storage.signers import PostgresSigners
from responder.storage.statuses import PostgresStatuses
from responder.storage.troubles import PostgresTroubles

_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one process, and what it knows of issuers."""

    current: Current
    issuers: Issuers
    issuer_store: PostgresIssuers
    signer_store: PostgresSigners
    configuration: PostgresConfiguration
    statuses: PostgresStatuses
    revoked: PostgresRevoked
    partitions: PostgresPartitions
    presigners: PostgresPresigners
    crls: PostgresCRLs
    certificates: PostgresCertificates
    listing: PostgresListing
    imports: PostgresImports
    answers: PostgresAnswers
    troubles: PostgresTroubles
    runs: PostgresRuns
    hosts: PostgresHosts
    trust: Trust
    checks: PostgresChecks
    records: RedisStore

    async def reload_trust(self) -> None:
        """Read again which run of the record store may be believed.

        Raises:
            StatusUnavailable: the database can't be read; it stays as it was.
        """
        state = await self.runs.current()
        self.trust.run = state.run if state.complete else None

    # What readiness looks at (`web.sources.Sources`).

    async def responder_certificates(self) -> list[ResponderCertificate]:
        """Those in use."""
        return await self.signer_store.responder_certificates()

    async def presign_lag(self) -> timedelta:
        """How late the latest slice is."""
        return await self.partitions.lag()

    async def signing_forecast(self) -> SigningForecast:
        """What signing ahead of time needs, and has."""
        return await self.presigners.forecast()

    async def pending_count(self) -> int:
        """How many changes are open."""
        return await self.statuses.pending_count()

    async def unsayable_count(self) -> int:
        """How many rows no answer can say."""
        return await self.checks.count()

    async def store_run_now(self) -> str:
        """The run of the record store that answers, and takes writes."""
        run = await self.records.ping()
        await self.records.require_writable()
        return run

    async def database_now(self) -> datetime:
        """The database's clock."""
        return await self.checks.now()

    async def store_run_in_use(self) -> StoreRun:
        """The run that readers may trust, or will."""
        return await self.runs.current()

    async def crl_heads(self) -> list[CRLHead]:
        """What is published."""
        return await self.crls.heads()

    async def offline_outlook(self) -> list[OfflineOutlook]:
        """What offline issuers can say, and for how long."""
        return await self.answers.outlook()

    async def reported_troubles(self) -> list[ReportedTrouble]:
        """What fails for single issuers."""
        return await self.troubles.all()


@asynccontextmanager
async def open_stores(config: Config, *, name: str, is_patient: bool = False) -> AsyncIterator[Stores]:
    """Connect to both stores for as long as the block lasts.

    Args:
        name: what the database shows of this process.
        is_patient: nobody waits for it: the record store may take its time where much is put at once.

    Raises:
        ConfigError: its schema is older than this version needs.
        StatusUnavailable: the database can't be reached.
    """
    async with AsyncExitStack() as stack:
        pool = await connect(
            config.postgres.url,
            password=config.postgres.password(),
            pool_size=config.postgres.pool_size,
            application_name=f"certstatus {name}",
        )
        stack.push_async_callback(pool.close)
        await require_schema(pool)
        trust, runs = Trust(), PostgresRuns(pool)
        records = open_records(
            config.redis.url,
            access=Access(
                password=config.redis.password(),
                ca_file=config.redis.ca_file,
                sentinel_user=config.redis.sentinel_user or None,
                sentinel_password=config.redis.sentinel_password(),
            ),
            timeout_seconds=max(config.redis.timeout_seconds, _PATIENCE_SECONDS if is_patient else 0),
            trust=trust,
            seal=await runs.seal(),
        )
        stack.push_async_callback(records.close)
        current = Current()
        issuers = Issuers(current=current)
        imports = PostgresImports(pool)
        yield Stores(
            current=current,
            issuers=issuers,
            issuer_store=PostgresIssuers(pool),
            signer_store=PostgresSigners(pool),
            configuration=PostgresConfiguration(pool),
            statuses=PostgresStatuses(pool, issuers),
            revoked=PostgresRevoked(pool),
            partitions=PostgresPartitions(pool),
            presigners=PostgresPresigners(pool),
            crls=PostgresCRLs(pool),
            certificates=PostgresCertificates(pool),
            listing=PostgresListing(pool),
            imports=imports,
            answers=PostgresAnswers(pool, imports),
            runs=runs,
            hosts=PostgresHosts(pool),
            trust=trust,
            checks=PostgresChecks(pool),
            troubles=PostgresTroubles(pool, host=host_identity()),
            records=records,
        )

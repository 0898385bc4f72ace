"""Nothing waits for a server that hangs longer than somebody waits for us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette

from responder.deadlines import within
from responder.errors import Overloaded, StatusUnavailable
from responder.host.segment import HEARTBEAT, RECENT_DEATHS, Segment
from responder.ocsp import live
from responder.ocsp.live import Budget
from responder.pki import (
    Certificate,
    CRLHead,
    Issuer,
    Issuers,
    OfflineOutlook,
    ReportedTrouble,
    ResponderCertificate,
    SigningForecast,
    StoreRun,
)
from responder.storage import statuses as storage_statuses
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import COMMAND_SECONDS, connect
from responder.storage.statuses import PostgresStatuses
from responder.web.health import CHECK_SECONDS, Health
from responder.web.readiness import Readiness
from tests.doubles import FakeClock
from tests.proxy import Proxy

MUCH_LATER = 20.0
"""Far beyond every deadline, and below what the drivers would wait by themselves."""


@pytest.fixture
async def hanging(database: str, issuer: Issuer) -> AsyncIterator[tuple[Proxy, asyncpg.Pool]]:
    """A pool of two connections through a proxy that can be told to hang."""
    assert MUCH_LATER < COMMAND_SECONDS
    direct = await connect(database, pool_size=1, application_name="test")
    await PostgresIssuers(direct).add(issuer)
    await direct.execute("INSERT INTO certificates (issuer_id, serial) VALUES ($1, $2)", issuer.id, b"\x01")
    await direct.close()
    async with Proxy.of_postgres(database) as proxy:
        pool = await connect(proxy.url, pool_size=2, application_name="test")
        yield proxy, pool
        pool.terminate()


@pytest.mark.parametrize("others", [0, 6], ids=["a free connection", "a pool that is used up"])
async def test_a_hung_database_costs_a_request_no_more_than_its_deadline(
    hanging: tuple[Proxy, asyncpg.Pool], issuer: Issuer, others: int
) -> None:
    proxy, pool = hanging
    statuses = PostgresStatuses(pool, Issuers([issuer]))
    certificate = Certificate.numbered(issuer, 1)
    assert (await statuses.status_of([certificate]))[0] is not None
    proxy.hang()
    waiting = [asyncio.create_task(statuses.status_of([certificate])) for _ in range(others + 1)]
    done, late = await asyncio.wait(waiting, timeout=MUCH_LATER)
    assert not late
    assert all(isinstance(task.exception(), StatusUnavailable) for task in done)
    # It comes back by itself.
    proxy.go_on()
    for _ in range(50):
        try:
            assert (await statuses.status_of([certificate]))[0] is not None
            return
        except StatusUnavailable:
            await asyncio.sleep(0.1)
    raise AssertionError("it never came back")


async def test_a_revocation_on_a_hung_database_ends_and_can_be_asked_again(
    hanging: tuple[Proxy, asyncpg.Pool], issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, pool = hanging
    monkeypatch.setattr(storage_statuses, "CHANGE_SECONDS", 0.5)
    statuses = PostgresStatuses(pool, Issuers([issuer]))
    proxy.hang()
    with pytest.raises(StatusUnavailable):
        await asyncio.wait_for(
            statuses.change(Certificate.numbered(issuer, 1), lambda status: None, actor="test"), MUCH_LATER
        )


async def test_a_turn_in_the_budget_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WAIT_SECONDS", 0.05)
    budget = Budget(max_in_flight=1, max_waiting=10)
    async with budget.spend():
        with pytest.raises(Overloaded):
            await asyncio.wait_for(budget.spend().__aenter__(), MUCH_LATER)
    async with budget.spend():
        pass


async def test_what_is_late_is_cancelled_and_what_is_cancelled_is_not_left_behind() -> None:
    seen: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0.05)
            seen.append("cleaned up")
            raise

    with pytest.raises(TimeoutError):
        await within(0.01, stubborn())
    assert seen == []
    await asyncio.sleep(0.2)
    assert seen == ["cancelled", "cleaned up"]
    outer = asyncio.create_task(within(60, stubborn()))
    await asyncio.sleep(0.01)
    outer.cancel()
    await asyncio.sleep(0.2)
    assert seen == ["cancelled", "cleaned up"] * 2
    assert outer.cancelled()
    assert await within(1, asyncio.sleep(0, "in time")) == "in time"


# --- readiness ---


class Sources:
    """What readiness looks at; each may hang."""

    def __init__(self) -> None:
        self.hangs = False
        self.certificates: list[ResponderCertificate] = []
        self.heads: list[CRLHead] = []
        self.troubles: list[ReportedTrouble] = []
        self.unsayable = 0
        self.forecast = SigningForecast(3, 0.5, 100.0, 0.0, None)
        self.run = "a"
        self.state = StoreRun("a", True, 0, datetime(2026, 6, 1, tzinfo=UTC), None)
        self.now = datetime(2026, 6, 1, 12, tzinfo=UTC)

    async def _value(self, value: Any) -> Any:
        await asyncio.sleep(3600 if self.hangs else 0)
        return value

    async def responder_certificates(self) -> list[ResponderCertificate]:
        return await self._value(self.certificates)  # type: ignore[no-any-return]

    async def presign_lag(self) -> timedelta:
        return await self._value(timedelta(seconds=3))  # type: ignore[no-any-return]

    async def signing_forecast(self) -> SigningForecast:
        return await self._value(self.forecast)  # type: ignore[no-any-return]

    async def pending_count(self) -> int:
        return await self._value(7)  # type: ignore[no-any-return]

    async def unsayable_count(self) -> int:
        return await self._value(self.unsayable)  # type: ignore[no-any-return]

    async def store_run_now(self) -> str:
        return await self._value(self.run)  # type: ignore[no-any-return]

    async def store_run_in_use(self) -> StoreRun:
        return await self._value(self.state)  # type: ignore[no-any-return]

    async def database_now(self) -> datetime:
        return await self._value(self.now)  # type: ignore[no-any-return]

    async def crl_heads(self) -> list[CRLHead]:
        return await self._value(self.heads)  # type: ignore[no-any-return]

    async def reported_troubles(self) -> list[ReportedTrouble]:
        return await self._value(self.troubles)  # type: ignore[no-any-return]

    async def offline_outlook(self) -> list[OfflineOutlook]:
        return await self._value([])  # type: ignore[no-any-return]


class Probe:
    """The operator's listener over two issuers, with two workers and `work`."""

    def __init__(self, clock: FakeClock, *issuers: Issuer) -> None:
        self.sources, self.clock, self.issuers = Sources(), clock, issuers
        self.segment = Segment.create(4)
        self.names = ["serve-0", "serve-1", "work", "admin"]
        for lane in range(4):
            self.segment.lane(lane)[HEARTBEAT] = time.monotonic_ns()
        for each in issuers:
            self.sources.certificates.append(ResponderCertificate(each.id, b"", b"", each.not_before, each.not_after))
            self.sources.heads.append(CRLHead(each.id, "full", 1, clock.now(), clock.now() + timedelta(days=1)))
        readiness = Readiness(
            self.sources,
            issuers=Issuers(issuers),
            segment=self.segment,
            processes=self.names,
            clock=clock,
            host="here",
        )
        health = Health(readiness.checks(), self.sources.reported_troubles, readiness.metrics_text)
        transport = httpx.ASGITransport(app=Starlette(routes=health.routes()))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://admin")

    async def ready(self, query: str = "") -> tuple[int, dict[str, Any]]:
        response = await asyncio.wait_for(self.client.get(f"/readyz{query}"), MUCH_LATER)
        return response.status_code, response.json()


@pytest.fixture
def probe(clock: FakeClock, issuer: Issuer, rsa_issuer: Issuer) -> Probe:
    return Probe(clock, issuer, rsa_issuer)


async def test_everything_is_fine(probe: Probe) -> None:
    status, body = await probe.ready()
    assert (status, body["ready"], body["degraded"]) == (200, True, False)
    assert "troubles" not in body
    assert (await probe.ready("?verbose"))[1]["troubles"] == []


@pytest.mark.parametrize(("seconds", "is_ready"), [(-61, False), (-59, True), (0, True), (59, True), (61, False)])
async def test_a_host_whose_clock_is_wrong_is_not_ready(probe: Probe, seconds: int, is_ready: bool) -> None:
    """It signs nothing; that was green."""
    probe.clock.advance(timedelta(seconds=seconds))
    status, body = await probe.ready()
    assert (status == 200) is is_ready
    if not is_ready:
        word = "ahead of" if seconds > 0 else "behind"
        assert f"61 s {word} the database's" in body["checks"]["clock"]["detail"]


async def test_a_host_without_any_key_is_not_ready(probe: Probe) -> None:
    """Each answer that wasn't cached was tryLater, and everything green."""

    def keyless(issuer: Issuer, host: str) -> ReportedTrouble:
        return ReportedTrouble(issuer.id, "signer", host, probe.clock.now(), "none of its responder keys is here")

    first, second = probe.issuers
    probe.sources.troubles = [keyless(first, "here"), keyless(second, "elsewhere")]
    status, body = await probe.ready()
    assert (status, body["degraded"]) == (200, True)
    probe.sources.troubles.append(keyless(second, "here"))
    status, body = await probe.ready()
    assert status == 503
    assert "keys.directory" in body["checks"]["signers"]["detail"]


async def test_probes_of_hung_stores_have_their_answer_within_a_second(probe: Probe) -> None:
    assert CHECK_SECONDS < 1
    probe.sources.hangs = True
    status, body = await probe.ready("?verbose")
    assert status == 503
    assert {name for name, check in body["checks"].items() if not check["ok"]} == {
        "postgres",
        "redis",
        "signers",
        "crls",
        "clock",
    }
    text = (await asyncio.wait_for(probe.client.get("/metrics"), MUCH_LATER)).text
    assert "stores_read 0.0" in text
    assert "process_restarts_total" in text


async def test_one_issuers_trouble_is_told_and_takes_nobody_out_of_service(probe: Probe) -> None:
    issuer, other = probe.issuers
    probe.sources.troubles = [ReportedTrouble(issuer.id, "presign", "here", probe.clock.now(), "no key")]
    status, body = await probe.ready("?verbose")
    assert (status, body["degraded"]) == (200, True)
    assert body["checks"]["signers"]["degraded"]
    assert issuer.id in body["checks"]["signers"]["detail"]
    assert body["troubles"][0]["error"] == "no key"
    assert (
        f'issuer_trouble{{host="here",issuer="{issuer.id}",task="presign"}}'
        in (await probe.client.get("/metrics")).text
    )
    probe.sources.certificates.pop()
    assert (await probe.ready())[0] == 200
    assert other.id in (await probe.ready())[1]["checks"]["signers"]["detail"]
    probe.sources.certificates.pop()
    assert (await probe.ready())[0] == 503, "nobody can be answered"


async def test_crls_rows_and_stores_that_need_somebody(probe: Probe) -> None:
    probe.sources.heads[0] = CRLHead("test-ec", "full", 1, probe.clock.now(), probe.clock.now())
    assert (await probe.ready())[1]["checks"]["crls"] == {
        "ok": True,
        "degraded": True,
        "detail": "2 published, past nextUpdate: test-ec",
    }
    probe.sources.heads[1] = CRLHead("test-rsa", "full", 1, probe.clock.now(), probe.clock.now())
    assert (await probe.ready())[0] == 503
    probe.sources.heads.clear()
    probe.sources.forecast = SigningForecast(2, 4.0, 100.0, 0.0, None)
    behind = (await probe.ready())[1]["checks"]["postgres"]
    assert (behind["ok"], behind["degraded"]) == (True, True)
    assert "pre-signing has 0.50 of the capacity that it needs" in behind["detail"]
    probe.sources.forecast = SigningForecast(2, 1.0, 100.0, 0.0, None)
    probe.sources.unsayable = 2
    assert "db check" in (await probe.ready())[1]["checks"]["postgres"]["detail"]
    for run, state, word in (
        ("b", probe.sources.state, "started again"),
        ("a", StoreRun("a", False, 12, probe.clock.now(), None), "12 changes"),
        ("a", StoreRun("a", True, 0, probe.clock.now(), None, ahead=(1, 99)), "db recover"),
    ):
        probe.sources.run, probe.sources.state = run, state
        status, body = await probe.ready()
        assert status == 503
        assert word in body["checks"]["redis"]["detail"]


async def test_processes_that_are_silent_or_keep_ending(probe: Probe) -> None:
    probe.segment.lane(1)[HEARTBEAT] = 0
    status, body = await probe.ready()
    assert (status, body["checks"]["workers"]["detail"]) == (200, "1 of 2 workers alive")
    assert body["degraded"]
    probe.segment.lane(2)[RECENT_DEATHS] = 2
    assert (await probe.ready())[0] == 200
    probe.segment.lane(2)[RECENT_DEATHS] = 3
    status, body = await probe.ready()
    assert (status, body["checks"]["workers"]["detail"]) == (503, "work ended 3 times within a minute")
    probe.segment.lane(2)[RECENT_DEATHS] = 0
    probe.segment.lane(2)[HEARTBEAT] = 0
    assert (await probe.ready())[0] == 503

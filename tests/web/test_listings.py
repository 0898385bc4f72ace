"""Looking at certificates by the operator's API, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from responder.operations.looking import Looker
from responder.pki import (
    CertIDVariant,
    Certificate,
    CRLReason,
    IssuedCertificate,
    Issuer,
    Issuers,
    RevokedInfo,
    encode_serial,
    tombstone_for,
)
from responder.signing.answers import NativeSigner
from responder.signing.signers import Signer, Signers
from responder.storage.certificates import PostgresCertificates
from responder.storage.issuers import PostgresIssuers
from responder.storage.listing import PostgresListing
from responder.storage.postgres import connect
from responder.storage.statuses import PostgresStatuses
from responder.web.listings import ListingAPI
from responder.web.operator import operator_site
from responder.web.tokens import Tokens
from tests.conftest import BACKDATE
from tests.doubles import FakeClock, MemoryRecords
from tests.web.test_operator import nothing

TOKEN = {"Authorization": "Bearer 0123456789abcdef"}
PATH = "/api/v1/issuers/test-ec/certificates"


@dataclass
class API:
    """The API, with what is behind it at hand."""

    pool: asyncpg.Pool
    statuses: PostgresStatuses
    certificates: PostgresCertificates
    records: MemoryRecords
    client: httpx.AsyncClient
    clock: FakeClock
    issuer: Issuer

    async def get(self, path: str = "", **options: object) -> httpx.Response:
        parameters = {name: str(value) for name, value in options.items()}
        return await self.client.get(PATH + path, params=parameters, headers=TOKEN)

    async def listed(self, **options: object) -> list[int]:
        answer = await self.get("", **options)
        assert answer.status_code == 200, answer.text
        return [int(each["serial"], 16) for each in answer.json()["certificates"]]

    async def register(self, *issued: IssuedCertificate) -> None:
        await self.certificates.register(self.issuer, issued, actor="test")


@pytest.fixture
async def api(database: str, issuer: Issuer) -> AsyncIterator[API]:
    clock = FakeClock(datetime.now(UTC).replace(microsecond=0))  # the database's is that of the host
    pool = await connect(database, pool_size=5, application_name="test")
    await PostgresIssuers(pool).add(issuer)
    issuers = Issuers([issuer])
    statuses, records = PostgresStatuses(pool, issuers), MemoryRecords()
    app = operator_site(nothing, hosts=["admin"])
    looker = Looker(statuses, PostgresListing(pool), records)
    tokens = Tokens({"x": "0123456789abcdef"})
    app.router.routes[:] = ListingAPI(looker, issuers=issuers, clock=clock).routes(tokens)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin")
    yield API(pool, statuses, PostgresCertificates(pool), records, client, clock, issuer)
    await pool.close()


async def test_pages_follow_each_other_and_have_everything_once(api: API) -> None:
    numbers = [*range(1, 8), 0x80, 0x7FFF, 2**127, -1, -0x80, -(2**64)]
    await api.register(*map(IssuedCertificate, numbers))
    seen: list[int] = []
    after: dict[str, str] = {}
    while True:
        page = (await api.get("", limit=3, **after)).json()
        seen += [int(each["serial"], 16) for each in page["certificates"]]
        if page["after"] is None:
            break
        assert len(page["certificates"]) == 3
        after = {"after": page["after"]}
    assert sorted(seen) == sorted(numbers)
    assert len(seen) == len(numbers)


async def test_only_the_revoked_and_only_those_that_end_soon(api: API) -> None:
    now = api.clock.now()
    info = RevokedInfo(now - timedelta(days=1), CRLReason.keyCompromise)
    await api.register(
        IssuedCertificate(1, not_after=now + timedelta(days=10)),
        IssuedCertificate(2, info, not_after=now + timedelta(days=10)),
        IssuedCertificate(3, not_after=now + timedelta(days=100)),
        IssuedCertificate(4, not_after=now - timedelta(days=1)),
        IssuedCertificate(5),
    )
    assert await api.listed() == [1, 2, 3, 4, 5]
    assert await api.listed(revoked="true") == [2]
    assert await api.listed(revoked="false") == [1, 3, 4, 5]
    assert await api.listed(expiring_days=30) == [1, 2]
    assert await api.listed(expiring_days=30, revoked="false") == [1]
    (only,) = (await api.get("", revoked="true")).json()["certificates"]
    assert (only["status"], only["reason"]) == ("revoked", "keyCompromise")
    assert datetime.fromisoformat(only["revoked_at"]) == info.revocation_time


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"limit": 0}, "limit is '0'"),
        ({"limit": 1001}, "from 1 to 1000"),
        ({"limit": "many"}, "limit is 'many'"),
        ({"revoked": "yes"}, "true or false"),
        ({"expiring_days": -1}, "expiring_days is '-1'"),
        ({"after": "7"}, "hexadecimal"),
        ({"colour": "red"}, "unknown parameter 'colour'"),
    ],
)
async def test_what_can_not_be_meant(api: API, options: dict[str, object], word: str) -> None:
    answer = await api.get("", **options)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


async def shown(api: API, serial: str = "0x1a") -> dict[str, Any]:
    answer = await api.get(f"/{serial}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


async def test_one_with_what_is_stored_and_what_would_be_answered(api: API, signer: Signer) -> None:
    now = api.clock.now()
    await api.register(IssuedCertificate(0x1A, not_after=now + timedelta(days=90), certificate_sha256=bytes(32)))
    before = await shown(api)
    assert (before["status"], before["record"], before["open_changes"]) == ("good", None, 1)
    assert before["certificate_sha256"] == "00" * 32
    assert before["answer"] == "good, signed when it is asked for"
    assert before["signed_again_at"] is not None
    certificate = Certificate(api.issuer, encode_serial(0x1A))
    (status,) = await api.statuses.status_of([certificate])
    assert status is not None
    (records,) = await NativeSigner(Signers([signer]), api.clock, backdate=BACKDATE).sign([status])
    await api.records.put(certificate, records)
    held = await shown(api)
    assert held["record"]["hashes"] == [CertIDVariant(each).hash_name for each in records.variants]
    assert (held["record"]["is_current"], held["record"]["version"]) == (True, held["version"])
    assert held["answer"] == f"good, as it was signed before, until {held['record']['next_update']}"
    # Revoked meanwhile: what is held is older.
    await api.pool.execute("UPDATE certificates SET revoked = true, revoked_at = now()")
    after = await shown(api)
    assert (after["status"], after["record"]["status"], after["record"]["is_current"]) == ("revoked", "good", False)
    assert after["answer"] == "revoked, signed when it is asked for"
    (status,) = await api.statuses.status_of([certificate])
    assert status is not None
    await api.records.put(certificate, tombstone_for(status))
    assert "next_update" not in (await shown(api))["record"]
    assert (await shown(api))["answer"] == "revoked, signed when it is asked for"


async def test_a_negative_serial_is_one_like_others(api: API) -> None:
    await api.register(IssuedCertificate(-0x1A))
    assert (await shown(api, "-0x1a"))["serial"] == "-0x1a"


async def test_one_that_has_ended_and_one_that_is_not_there(api: API) -> None:
    await api.register(IssuedCertificate(0x1A, not_after=api.clock.now() - timedelta(days=1)))
    assert (await shown(api))["answer"] == "unauthorized: it isn't valid at this moment"
    missing = await api.get("/0x1b")
    assert missing.status_code == 404
    assert "the answer for it is unauthorized" in missing.json()["detail"]
    assert (await api.get("/27")).status_code == 422


async def test_a_record_store_that_is_away_is_told(api: API) -> None:
    await api.register(IssuedCertificate(0x1A))
    api.records.fail = "before"
    document = await shown(api)
    assert (document["record"], document["status"]) == (None, "good")
    assert document["record_store"]


async def test_all_of_it_needs_a_token(api: API) -> None:
    assert [(await api.client.get(PATH + each)).status_code for each in ("", "/0x1a")] == [401, 401]

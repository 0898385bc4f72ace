"""The operator's API over in-memory stores: what it answers, and what it refuses in which words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from responder.ocsp.revoke import Revoker
from responder.pki import Certificate, CertificateStatus, CertStatus, Issuer, Issuers
from responder.web.guesses import AT_ONCE, SECONDS_EACH
from responder.web.operator import operator_site
from responder.web.revocations import RevocationAPI
from responder.web.tokens import Tokens
from tests.doubles import FakeClock, MemoryLeases, MemoryStatuses
from tests.web.test_operator import nothing

TOKEN = "0123456789abcdef"
SERIAL = 0x1A2B


@dataclass
class API:
    """The API with everything behind it at hand."""

    statuses: MemoryStatuses
    leases: MemoryLeases
    client: httpx.AsyncClient

    async def revoke(self, *, issuer: str = "test-ec", token: str = TOKEN, **body: Any) -> httpx.Response:
        return await self.client.post(
            f"/api/v1/issuers/{issuer}/revocations",
            json={"serial": hex(SERIAL), "reason": "superseded", **body},
            headers={"Authorization": f"Bearer {token}"},
        )


@pytest.fixture
def api(clock: FakeClock, issuer: Issuer) -> API:
    statuses, leases = MemoryStatuses(clock), MemoryLeases()
    statuses.add(Certificate.numbered(issuer, SERIAL))
    revoker = Revoker(statuses, leases, wait_seconds=0)
    app = operator_site(nothing, hosts=["admin"])
    tokens = Tokens({"alice": TOKEN, "bob": "fedcba9876543210"})
    app.router.routes[:] = RevocationAPI(revoker, issuers=Issuers([issuer])).routes(tokens)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://admin")
    return API(statuses, leases, client)


async def test_a_revocation_that_is_certain_is_200_and_a_repeat_is_the_same(api: API, issuer: Issuer) -> None:
    first, second = await api.revoke(), await api.revoke()
    for answer in (first, second):
        assert answer.status_code == 200
        assert answer.json()["certain"] is True
        assert answer.headers["cache-control"] == "no-store"
    assert first.json() == second.json()
    assert api.statuses.rows[Certificate.numbered(issuer, SERIAL)].cert_status is CertStatus.REVOKED


@pytest.mark.parametrize(("token", "name"), [(TOKEN, "alice"), ("fedcba9876543210", "bob"), ("0" * 16, None)])
async def test_the_actor_is_who_the_token_belongs_to(
    api: API, monkeypatch: pytest.MonkeyPatch, token: str, name: str | None
) -> None:
    actors: list[str] = []
    change = api.statuses.change

    async def recording(certificate: Certificate, decide: Any, *, actor: str) -> CertificateStatus:
        actors.append(actor)
        return await change(certificate, decide, actor=actor)

    monkeypatch.setattr(api.statuses, "change", recording)
    answer = await api.revoke(token=token)
    assert answer.status_code == (401 if name is None else 200)
    assert [actor.partition("@")[0] for actor in actors] == ([] if name is None else [f"api:{name}"])


async def test_one_that_a_host_has_not_confirmed_is_202_and_the_same_request_waits_again(
    api: API, issuer: Issuer
) -> None:
    api.leases.unaware_hosts = ("other-host/0-0:1",)
    api.leases.certain_at = datetime(2026, 6, 1, 12, 5, tzinfo=UTC)
    answer = await api.revoke()
    assert answer.status_code == 202
    body = answer.json()
    assert (body["status"], body["certain"]) == ("revoked", False)
    assert body["certain_at"] == "2026-06-01T12:05:00Z"
    assert "recorded" in body["detail"]
    assert "other-host" in body["detail"]
    assert api.statuses.rows[Certificate.numbered(issuer, SERIAL)].cert_status is CertStatus.REVOKED
    api.leases.unaware_hosts = ()
    certain = await api.revoke()
    assert certain.status_code == 200
    assert "certain_at" not in certain.json()


async def test_a_database_that_is_away_is_503_and_nothing_is_certain(api: API) -> None:
    api.statuses.down = True
    answer = await api.revoke()
    assert answer.status_code == 503
    assert "send the same request again" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"issuer": "nobody"}, 404, "the issuers are: test-ec"),
        ({"serial": "0x9999"}, 404, "never registered"),
        ({"token": "another"}, 401, "admin.token_file"),
        ({"serial": 6699}, 422, "hexadecimal"),
        ({"serial": "1a2b"}, 422, "hexadecimal"),
        ({"reason": "boredom"}, 422, "keyCompromise"),
        ({"reason": None}, 422, "keyCompromise"),
        ({"revoked_at": "yesterday"}, 422, "RFC 3339"),
        ({"revoked_at": "2026-01-31T12:00:00"}, 422, "without an offset"),
        ({"revoked_at": "1970-01-01T00:00:00+14:00"}, 422, "before 1970 in UTC"),
        ({"revoked_at": "9999-12-31T23:59:59-23:59"}, 422, "beyond the years"),
        ({"invalidity_date": "1969-12-31T23:59:59Z"}, 422, "before 1970"),
        ({"revoked_at": "2031-01-01T00:00:00Z"}, 422, "is later than now"),
        ({"colour": "red"}, 422, "unknown field 'colour'"),
        ({"reason": "removeFromCRL"}, 200, None),
    ],
)
async def test_what_is_refused_says_what_and_what_to_do(
    api: API, changes: dict[str, Any], status: int, word: str | None
) -> None:
    answer = await api.revoke(**changes)
    assert answer.status_code == status, answer.text
    if word is not None:
        assert answer.headers["content-type"] == "application/problem+json"
        assert word in answer.json()["detail"]


async def test_wrong_tokens_are_limited_and_never_logged(api: API, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(AT_ONCE):
        assert (await api.revoke(token="a-wrong-token-of-32-characters--", serial="0x7")).status_code == 401
    refused = await api.revoke(token="a-wrong-token-of-32-characters--", serial="0x7")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= SECONDS_EACH
    assert "too many wrong tokens" in refused.json()["title"]
    assert "a-wrong-token" not in caplog.text + refused.text

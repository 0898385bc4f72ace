"""Registering certificates by the operator's API, on a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from starlette.applications import Starlette

from responder.operations.registering import BATCH_LINES, LINE_OCTETS, Registrar
from responder.pki import Issuer, Issuers, encode_serial
from responder.storage.certificates import PostgresCertificates
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import connect
from responder.web import registrations
from responder.web.operator import operator_site
from responder.web.registrations import NDJSON, RegistrationAPI
from responder.web.tokens import Tokens
from tests.doubles import MemoryLeases
from tests.makers import ca_of, make_leaf
from tests.web.test_operator import nothing

TOKEN = {"Authorization": "Bearer 0123456789abcdef"}


@dataclass
class API:
    """The API, with the database behind it at hand."""

    pool: asyncpg.Pool
    leases: MemoryLeases
    client: httpx.AsyncClient
    app: Starlette
    path: str = "/api/v1/issuers/test-ec/certificates"

    async def one(self, **fields: Any) -> httpx.Response:
        return await self.client.post(self.path, json=fields, headers=TOKEN)

    async def many(self, *lines: object) -> list[dict[str, Any]]:
        """What is answered for lines: octets as they are, anything else as JSON."""
        body = b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines)
        answer = await self.client.post(self.path, content=body, headers=TOKEN | {"Content-Type": NDJSON})
        assert (answer.status_code, answer.headers["content-type"]) == (200, NDJSON)
        return [json.loads(line) for line in answer.text.splitlines()]

    async def row(self, serial_number: int) -> asyncpg.Record | None:
        return await self.pool.fetchrow("SELECT * FROM certificates WHERE serial = $1", encode_serial(serial_number))


@pytest.fixture
async def api(database: str, issuer: Issuer) -> AsyncIterator[API]:
    pool, leases = await connect(database, pool_size=5, application_name="test"), MemoryLeases()
    await PostgresIssuers(pool).add(issuer)
    app = operator_site(nothing, hosts=["admin"])
    registrar = Registrar(PostgresCertificates(pool), leases, wait_seconds=0)
    app.router.routes[:] = RegistrationAPI(registrar, issuers=Issuers([issuer])).routes(
        Tokens({"ca": "0123456789abcdef"})
    )
    yield API(pool, leases, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin"), app)
    await pool.close()


async def test_one_by_its_serial_and_a_repeat_changes_nothing(api: API) -> None:
    digest = "ab" * 32
    first = await api.one(
        serial="0x1a2b", not_before="2026-01-01T00:00:00Z", not_after="2027-01-01T01:00:00+01:00",
        certificate_sha256=digest,
    )  # fmt: skip
    assert first.status_code == 201
    assert first.json() == {"issuer": "test-ec", "serial": "0x1a2b", "result": "registered", "certain": True}
    assert first.headers["cache-control"] == "no-store"
    row = await api.row(0x1A2B)
    assert row is not None
    assert (row["not_before"].isoformat(), row["not_after"].isoformat()) == (
        "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00",
    )  # fmt: skip
    assert (row["certificate_sha256"].hex(), row["revoked"]) == (digest, False)
    await api.pool.execute("UPDATE certificates SET revoked = true, revoked_at = now()")
    revoked = await api.row(0x1A2B)
    again = await api.one(serial="0x1a2b")
    assert (again.status_code, again.json()["result"]) == (200, "known")
    assert await api.row(0x1A2B) == revoked
    log = await api.pool.fetch("SELECT * FROM audit_log WHERE action = 'register'")
    assert [(each["actor"], each["serial"]) for each in log] == [("api:ca@127.0.0.1", encode_serial(0x1A2B))]


async def test_a_certificate_says_all_that_is_kept(api: API, issuer: Issuer) -> None:
    leaf = make_leaf(ca_of(issuer), 0x77)
    pem = leaf.public_bytes(serialization.Encoding.PEM).decode()
    encoded = leaf.public_bytes(serialization.Encoding.DER)
    assert (await api.one(certificate=pem)).status_code == 201
    assert (await api.one(certificate=base64.b64encode(encoded).decode())).json()["result"] == "known"
    row = await api.row(0x77)
    assert row is not None
    assert row["not_after"] == leaf.not_valid_after_utc
    assert row["certificate_sha256"] == hashlib.sha256(encoded).digest()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "serial is None"),
        ({"serial": 7}, "hexadecimal"),
        ({"serial": "0x" + "ff" * 256}, "more than 256 octets"),
        ({"serial": "0x1", "colour": "red"}, "unknown field 'colour'"),
        ({"serial": "0x1", "not_after": "soon"}, "RFC 3339"),
        ({"serial": "0x1", "not_before": "2026-01-02T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"}, "before not_"),
        ({"serial": "0x1", "certificate_sha256": "ab"}, "64 hexadecimal digits"),
        ({"serial": "0x1", "certificate": "x"}, "leave out the other fields"),
        ({"certificate": "MAA="}, "certificate can't be read"),
        ({"certificate": "é"}, "certificate can't be read"),
        ({"certificate": None}, "isn't a string"),
    ],
)
async def test_what_is_refused_says_which_field_and_what_to_send(api: API, fields: dict[str, Any], word: str) -> None:
    answer = await api.one(**fields)
    assert answer.status_code == 422, answer.text
    assert word in answer.json()["detail"]
    (line, total) = await api.many(fields)
    assert (line["result"], total["refused"]) == ("refused", 1)
    assert word in line["detail"]
    assert await api.pool.fetchval("SELECT count(*) FROM certificates") == 0


async def test_another_issuers_certificate_is_refused(api: API, rsa_issuer: Issuer) -> None:
    leaf = make_leaf(ca_of(rsa_issuer), 5).public_bytes(serialization.Encoding.PEM).decode()
    answer = await api.one(certificate=leaf)
    assert answer.status_code == 422
    assert "not with the key of test-ec" in answer.json()["detail"]


async def test_each_line_has_its_answer_in_its_place(api: API, issuer: Issuer) -> None:
    leaf = base64.b64encode(make_leaf(ca_of(issuer), 0x10).public_bytes(serialization.Encoding.DER)).decode()
    await api.one(serial="0x1")
    *lines, total = await api.many(
        {"serial": "0x1"}, {"serial": "0x2"}, b"", b"junk", {"serial": "0x2"}, b'"' + b"x" * LINE_OCTETS + b'"',
        {"certificate": leaf}, b"[]", b"\r", {"serial": "0x3"},
    )  # fmt: skip
    assert [(line["line"], line.get("serial"), line["result"]) for line in lines] == [
        (1, "0x1", "known"), (2, "0x2", "registered"), (4, None, "refused"), (5, "0x2", "known"),
        (6, None, "refused"), (7, "0x10", "registered"), (8, None, "refused"), (10, "0x3", "registered"),
    ]  # fmt: skip
    assert total == {"issuer": "test-ec", "registered": 3, "known": 2, "refused": 3, "certain": True}
    assert "longer than 65536 octets" in lines[4]["detail"]
    assert await api.pool.fetchval("SELECT count(*) FROM certificates") == 4


async def test_many_thousands(api: API) -> None:
    *lines, total = await api.many(*({"serial": hex(0x10000 + number)} for number in range(12_345)))
    assert [line["line"] for line in lines] == list(range(1, 12_346))
    assert (total["registered"], total["known"], total["refused"]) == (12_345, 0, 0)
    assert await api.pool.fetchval("SELECT count(*) FROM certificates") == 12_345


async def test_the_same_many_twice_at_once_and_in_another_order(api: API) -> None:
    """Whoever comes second waits for the first, and nobody for each other."""
    lines = [{"serial": hex(0x10000 + number)} for number in range(12_000)]
    answers = await asyncio.gather(api.many(*lines), api.many(*reversed(lines)))
    assert sum(answer[-1]["registered"] for answer in answers) == 12_000
    assert sum(answer[-1]["known"] for answer in answers) == 12_000
    assert await api.pool.fetchval("SELECT count(*) FROM certificates") == 12_000


async def test_a_request_has_so_many_lines(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "MAX_LINES", 3)
    *lines, total = await api.many(*({"serial": hex(number)} for number in range(1, 6)))
    assert [line["line"] for line in lines] == [1, 2, 3]
    assert total["not_read_after_line"] == 3


async def test_a_host_that_has_not_heard_is_named(api: API) -> None:
    api.leases.unaware_hosts = ("other",)
    answer = await api.one(serial="0x5")
    assert (answer.status_code, answer.json()["certain"], answer.json()["unaware"]) == (202, False, ["other"])
    assert (await api.many({"serial": "0x6"}))[-1]["unaware"] == ["other"]


async def test_a_client_that_leaves_is_no_fault_and_what_came_before_is_registered(
    api: API, caplog: pytest.LogCaptureFixture
) -> None:
    lines = b"".join(b'{"serial":"%#x"}\n' % (0x10000 + number) for number in range(3 * BATCH_LINES))
    pieces = [lines[start : start + 10_000] for start in range(0, len(lines), 10_000)]
    answered = []

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": True}
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        answered.append(message)

    headers = [(b"content-type", NDJSON.encode()), (b"authorization", TOKEN["Authorization"].encode())]
    scope = {"type": "http", "method": "POST", "path": api.path, "query_string": b"", "headers": headers}
    await api.app(scope, receive, send)
    assert [message["status"] for message in answered if "status" in message] == [400]
    assert "Traceback" not in caplog.text
    count = await api.pool.fetchval("SELECT count(*) FROM certificates")
    assert count > 0
    assert count % BATCH_LINES == 0


async def test_who_may_not_and_what_is_not_there(api: API) -> None:
    assert (await api.client.post(api.path, json={"serial": "0x1"})).status_code == 401
    nobody = await api.client.post("/api/v1/issuers/nobody/certificates", json={"serial": "0x1"}, headers=TOKEN)
    assert nobody.status_code == 404
    assert "the issuers are: test-ec" in nobody.json()["detail"]
    text = await api.client.post(api.path, content=b"0x1", headers=TOKEN | {"Content-Type": "text/plain"})
    assert text.status_code == 415
    assert NDJSON in text.json()["detail"]


async def test_a_database_that_is_away_is_503_and_the_same_may_be_sent_again(api: API) -> None:
    await api.pool.close()
    answer = await api.one(serial="0x1")
    assert answer.status_code == 503
    assert "send the same request again" in answer.json()["detail"]

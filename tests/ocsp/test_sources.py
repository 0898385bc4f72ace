"""The chain filter → cached → live on in-memory stores: what is answered, stored, refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509 import ocsp

from responder.errors import NotAuthoritative, Overloaded, StatusUnavailable
from responder.ocsp.cached import CachedSource
from responder.pki import (
    Answer,
    CertID,
    CertIDVariant,
    Certificate,
    CertStatus,
    CRLReason,
    Issuer,
    IssuerPolicy,
    NoncePolicy,
    OCSPRequest,
    Question,
    RevokedInfo,
    StatusChange,
    UnknownSerial,
    encode_serial,
    parse_ocsp_request,
    tombstone_for,
)
from responder.signing.signers import Signer
from tests import der
from tests.doubles import FakeClock, MemoryRecords
from tests.ocsp.chain import SERIAL, Chain, make_chain, status_in


async def test_a_miss_is_signed_live_and_kept_and_the_next_is_a_hit(chain: Chain) -> None:
    first = await chain.ask(SERIAL)
    second = await chain.ask(SERIAL)
    assert (first.source, second.source) == ("live", "redis")
    assert first.render() == second.render()
    assert chain.statuses.reads == 1
    assert status_in(second) == "GOOD"


async def test_both_hashes_come_from_one_signing(chain: Chain) -> None:
    await chain.ask(SERIAL)
    answer = await chain.ask(SERIAL, variant=CertIDVariant.SHA256)
    assert answer.source == "redis"
    assert ocsp.load_der_ocsp_response(answer.render()).hash_algorithm.name == "sha256"


async def test_a_variant_that_is_not_pre_signed_is_signed_live_and_not_kept(chain: Chain) -> None:
    for _ in range(2):
        answer = await chain.ask(SERIAL, variant=CertIDVariant.SHA512_ABSENT)
        assert answer.source == "live"
        assert ocsp.load_der_ocsp_response(answer.render()).hash_algorithm.name == "sha512"
    assert not chain.records.kept


async def test_a_nonce_is_echoed_signed_live_and_never_kept(chain: Chain) -> None:
    nonce = b"\x04\x10" + bytes(range(16))
    answer = await chain.ask(SERIAL, nonce=nonce)
    assert not answer.cacheable
    assert nonce in answer.render()
    assert not chain.records.kept


async def test_an_ignored_nonce_is_answered_from_the_store(chain: Chain) -> None:
    policy = IssuerPolicy(nonce=NoncePolicy.ignore)
    chain.issuers.replace([replace(chain.issuer, policy=policy)])
    await chain.ask(SERIAL)
    answer = await chain.ask(SERIAL, nonce=b"\x04\x02ab")
    assert answer.source == "redis"


async def test_a_nonce_beyond_the_budget_gets_the_pre_signed_answer(
    clock: FakeClock, issuer: Issuer, signer: Signer
) -> None:
    chain = make_chain(clock, issuer, signer, max_in_flight=1, max_waiting=0)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    await chain.ask(SERIAL)
    hold = asyncio.Event()
    taken = asyncio.Event()

    async def keep_the_only_place() -> None:
        async with chain.live._budget.spend():
            taken.set()
            await hold.wait()

    task = asyncio.create_task(keep_the_only_place())
    await taken.wait()
    answer = await chain.ask(SERIAL, nonce=b"\x04\x02ab")
    assert answer.source == "redis"
    with pytest.raises(Overloaded):
        await chain.ask(SERIAL + 1)
    hold.set()
    await task


async def test_several_certificates_are_answered_in_order_and_never_kept(chain: Chain) -> None:
    other = Certificate.numbered(chain.issuer, 99)
    chain.statuses.add(other)
    chain.statuses.set(other, StatusChange(RevokedInfo(chain.clock.now(), CRLReason.superseded)))
    answer = await chain.ask(99, 12345, SERIAL)
    assert answer.cert_statuses == (CertStatus.REVOKED, CertStatus.UNKNOWN, CertStatus.GOOD)
    singles = list(ocsp.load_der_ocsp_response(answer.render()).responses)
    assert [single.serial_number for single in singles] == [99, 12345, SERIAL]
    assert not chain.records.kept


async def test_a_serial_never_seen_is_unauthorized_and_costs_no_signature(chain: Chain) -> None:
    chain.signers.replace([])  # signing would fail
    with pytest.raises(NotAuthoritative):
        await chain.ask(404)
    with pytest.raises(NotAuthoritative):
        await chain.ask(404, 405)


async def test_a_serial_never_seen_is_unknown_where_the_issuer_says_so(chain: Chain) -> None:
    policy = IssuerPolicy(unknown_serial=UnknownSerial.unknown)
    chain.issuers.replace([replace(chain.issuer, policy=policy)])
    answer = await chain.ask(404)
    assert status_in(answer) == "UNKNOWN"
    assert not answer.cacheable
    assert not chain.records.kept


async def test_an_issuer_that_is_not_ours_is_unauthorized(chain: Chain) -> None:
    foreign = CertID(CertIDVariant.SHA1, bytes(20), bytes(20), encode_serial(SERIAL))
    with pytest.raises(NotAuthoritative):
        await chain.source.respond(OCSPRequest((foreign,)))
    with pytest.raises(NotAuthoritative):
        await chain.source.respond(OCSPRequest((*chain.request(SERIAL).cert_ids, foreign)))
    with pytest.raises(NotAuthoritative):
        await chain.source.respond(OCSPRequest((replace(foreign, variant=CertIDVariant.UNKNOWN),)))


@pytest.mark.parametrize("fail", ["before", "after"])
async def test_a_store_that_is_down_is_a_miss(chain: Chain, fail: str) -> None:
    chain.records.fail = fail
    answer = await chain.ask(SERIAL)
    assert answer.source == "live"
    assert status_in(answer) == "GOOD"


async def test_a_database_that_is_down_leaves_cached_answers_and_makes_the_rest_try_later(chain: Chain) -> None:
    await chain.ask(SERIAL)
    chain.statuses.down = True
    assert (await chain.ask(SERIAL)).source == "redis"
    with pytest.raises(StatusUnavailable):
        await chain.ask(99)
    with pytest.raises(StatusUnavailable):
        await chain.ask(SERIAL, nonce=b"\x04\x02ab")


async def test_an_answer_past_its_next_update_is_never_sent(chain: Chain) -> None:
    first = await chain.ask(SERIAL)
    chain.clock.advance(first.next_update - chain.clock.now())
    assert (await chain.ask(SERIAL)).source == "live"
    chain.clock.advance(timedelta(days=10))
    chain.statuses.down = True
    with pytest.raises(StatusUnavailable):
        await chain.ask(SERIAL)


async def test_an_answer_that_is_due_is_sent_and_refreshed_behind(chain: Chain) -> None:
    first = await chain.ask(SERIAL)
    chain.clock.advance(first.refresh_at - chain.clock.now())
    stale = await chain.ask(SERIAL)
    assert stale.render() == first.render()
    for _ in range(20):
        await asyncio.sleep(0)
    fresh = await chain.ask(SERIAL)
    assert fresh.source == "redis"
    assert fresh.this_update > first.this_update


async def test_records_of_a_retired_profile_are_a_miss(chain: Chain) -> None:
    await chain.ask(SERIAL)
    chain.profiles.replace([])
    with pytest.raises(StatusUnavailable):
        await chain.ask(SERIAL)


async def test_many_requests_for_one_certificate_cost_one_read_and_one_put(chain: Chain) -> None:
    answers = await asyncio.gather(*(chain.ask(SERIAL) for _ in range(50)))
    assert chain.statuses.reads == 1
    assert chain.records.puts == 1
    assert len({answer.render() for answer in answers}) == 1


async def test_a_slow_signer_does_not_bring_good_back(chain: Chain) -> None:
    """Incident I-17: the status is read, then revoked and confirmed, then the old `good` is put."""
    certificate = Certificate.numbered(chain.issuer, SERIAL)

    def revoke_meanwhile() -> None:
        chain.statuses.before_read_returns = None
        changed = chain.statuses.set(certificate, StatusChange(RevokedInfo(chain.clock.now(), CRLReason.keyCompromise)))
        chain.records.kept[certificate] = tombstone_for(changed)

    chain.statuses.before_read_returns = revoke_meanwhile
    answer = await chain.ask(SERIAL)
    assert status_in(answer) == "REVOKED", "even the asker who started it gets the newer status"
    assert status_in(await chain.ask(SERIAL)) == "REVOKED"
    assert chain.records.kept[certificate].cert_status == CertStatus.REVOKED


async def test_a_request_after_the_confirmation_is_not_answered_by_an_older_flight(
    clock: FakeClock, issuer: Issuer, signer: Signer
) -> None:
    """The flight's put was confirmed before the revocation, but its reply is still on the way."""
    chain = make_chain(clock, issuer, signer)
    certificate = Certificate.numbered(issuer, SERIAL)
    chain.statuses.add(certificate)
    reply = asyncio.Event()

    class SlowReply(MemoryRecords):
        async def put(self, certificate, records):  # type: ignore[no-untyped-def]
            kept = await super().put(certificate, records)
            if not records.is_tombstone:
                await reply.wait()
            return kept

    records = SlowReply()
    cached = CachedSource(records, chain.live, profiles=chain.profiles, clock=clock, name="redis")
    early = asyncio.create_task(cached.answer(chain.question(SERIAL)))
    while not records.puts:  # noqa: ASYNC110
        await asyncio.sleep(0)
    clock.advance(timedelta(seconds=1))
    changed = chain.statuses.set(certificate, StatusChange(RevokedInfo(clock.now(), CRLReason.keyCompromise)))
    await records.put(certificate, tombstone_for(changed))  # type: ignore[no-untyped-call]
    late = asyncio.create_task(cached.answer(chain.question(SERIAL)))
    for _ in range(10):
        await asyncio.sleep(0)
    reply.set()
    assert status_in(await late) == "REVOKED"
    await early


async def test_a_certificate_outside_its_validity_is_unauthorized(chain: Chain) -> None:
    now = chain.clock.now()
    for serial, not_before, not_after in (
        (1, None, now - timedelta(seconds=1)),
        (2, now + timedelta(seconds=1), None),
    ):
        chain.statuses.add(Certificate.numbered(chain.issuer, serial), not_before=not_before, not_after=not_after)
        with pytest.raises(NotAuthoritative):
            await chain.ask(serial)


async def test_nothing_is_signed_when_the_clocks_differ_by_more_than_a_minute(chain: Chain) -> None:
    for difference in (timedelta(seconds=61), timedelta(seconds=-61)):
        chain.statuses.clock = FakeClock(chain.clock.now() + difference)
        with pytest.raises(StatusUnavailable, match="clock"):
            await chain.ask(SERIAL)
    chain.statuses.clock = FakeClock(chain.clock.now() - timedelta(seconds=60))
    assert status_in(await chain.ask(SERIAL)) == "GOOD"


async def test_next_update_never_outlives_the_signer(clock: FakeClock, issuer: Issuer, signer: Signer) -> None:
    ending = replace(signer, not_after=clock.now() + timedelta(hours=10))
    chain = make_chain(clock, issuer, ending)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    answer = await chain.ask(SERIAL)
    assert answer.next_update == ending.not_after


@pytest.mark.parametrize("oid", ["0609608648016503040208", "06032a0304", "0609608648016503040204"])
async def test_another_hash_with_values_of_ours_is_not_ours(chain: Chain, oid: str) -> None:
    """SHA3-256, SHA-224 or anything, with the values of SHA-256: unauthorized, without a look at the database."""
    name_hash, key_hash = chain.issuer.cert_id_hashes[1]
    algorithm = der.sequence(bytes.fromhex(oid), der.NULL)
    cert_id = der.sequence(
        algorithm, der.octet_string(name_hash), der.octet_string(key_hash), der.tlv(der.INTEGER, encode_serial(SERIAL))
    )
    with pytest.raises(NotAuthoritative):
        await chain.source.respond(parse_ocsp_request(der.request(cert_id)))
    assert chain.statuses.reads == 0


@pytest.mark.parametrize("asked", [1, 2, 3, 4])
@pytest.mark.parametrize("used", [1, 2, 3, 4])
async def test_values_count_under_their_own_algorithm_only(chain: Chain, asked: int, used: int) -> None:
    name_hash, key_hash = chain.issuer.cert_id_hashes[used - 1]
    found = chain.issuers.find(CertID(CertIDVariant(asked), name_hash, key_hash, b"\x01"))
    assert (found is not None) == (asked == used)


async def test_a_refresh_behind_an_answer_that_fails_is_told_once_a_second_and_answers_go_on(
    chain: Chain, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await chain.ask(SERIAL)
    clock.advance(chain.issuer.policy.refresh)

    class Broken:
        async def answer(self, question: Question) -> Answer:
            raise ZeroDivisionError("a bug behind the answer")

    cached = CachedSource(chain.records, Broken(), profiles=chain.profiles, clock=clock, name="redis")
    for _ in range(20):
        answer = await cached.answer(chain.question(SERIAL))
        assert status_in(answer) == "GOOD"
        await asyncio.sleep(0)
    await cached.close()
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("a bug behind the answer") == 1

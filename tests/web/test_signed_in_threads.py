"""Nonces of keys that sign slowly: from the table, by the lane's threads, while it answers others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp

from responder import metrics
from responder.pki import Issuer, encode_serial
from responder.signing.signers import Signer
from tests.doubles import FakeClock
from tests.makers import make_test_signer
from tests.web.test_fast_answer import nonce, request_for, request_for_several
from tests.web.test_lane import IN_TABLE, Served, one, post, read_response, served


@pytest.fixture(params=["rsa", "p384"])
def slow_signer(request: pytest.FixtureRequest, issuer: Issuer) -> Signer:
    return make_test_signer(issuer, request.param)


def asking(site: Served, sent: bytes) -> bytes:
    return post(request_for(site.both.chain.issuer, encode_serial(IN_TABLE), 1, nonce(sent)))


def verified(body: bytes) -> ocsp.OCSPResponse:
    response = ocsp.load_der_ocsp_response(body)
    key, digest = response.certificates[0].public_key(), response.signature_hash_algorithm
    assert digest is not None
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), digest)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(digest))
    return response


def nonce_in(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


async def all_answers(site: Served, requests: list[bytes]) -> list[bytes]:
    """Each on a connection of its own, all asked before the first is answered."""
    streams = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in requests]
    for (_, writer), request in zip(streams, requests, strict=True):
        writer.write(request)
    bodies = [(await asyncio.wait_for(read_response(reader), 20))[2] for reader, _ in streams]
    for _, writer in streams:
        writer.close()
    return bodies


def counted(site: Served, *names: str) -> list[int]:
    words = metrics.fast_words()
    return [site.both.lane[words[name]] for name in names]


async def test_each_has_its_own_nonce_and_nobody_is_asked(issuer: Issuer, slow_signer: Signer) -> None:
    async with served(FakeClock(datetime.now(UTC)), issuer, slow_signer) as site:
        reads = site.both.chain.statuses.reads
        sent = [os.urandom(size) for size in (1, 16, 32, 100, *[32] * 16)]
        bodies = await all_answers(site, [asking(site, each) for each in sent])
        assert [nonce_in(verified(body)) for body in bodies] == sent
        # On one connection, in their order, with what needs no signature between them; and several together.
        in_table = post(site.der(IN_TABLE))
        several = post(request_for_several(issuer, [(IN_TABLE, 1), (IN_TABLE, 2)], nonce(b"s" * 32)))
        reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
        writer.write(asking(site, b"a" * 32) + in_table + asking(site, b"b" * 32) + several + in_table)
        answers = [verified((await asyncio.wait_for(read_response(reader), 10))[2]) for _ in range(5)]
        writer.close()
        assert [nonce_in(answer) for answer in answers] == [b"a" * 32, None, b"b" * 32, b"s" * 32, None]
        assert [len(list(answer.responses)) for answer in answers] == [1, 1, 1, 2, 1]
        assert (site.asked_in_python, site.both.chain.statuses.reads) == ([], reads)
        count, seconds = metrics.signature_words(slow_signer.key.name)
        assert site.both.lane[count] == len(sent) + 3
        assert sum(site.both.lane[seconds + bucket] for bucket in range(11)) == len(sent) + 3
        assert counted(site, "live", "answers", "unmet") == [len(sent) + 3, 2, 0]


async def test_what_the_table_has_does_not_wait_for_signatures(rsa_issuer: Issuer, rsa_signer: Signer) -> None:
    async with served(FakeClock(datetime.now(UTC)), rsa_issuer, rsa_signer) as site:
        streams = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in range(20)]
        for _, writer in streams:
            writer.write(asking(site, os.urandom(32)))
        assert (await one(site.lane_port, post(site.der(IN_TABLE))))[0] == b"200"
        count, _ = metrics.signature_words("rsa-2048")
        assert site.both.lane[count] < 20
        for reader, writer in streams:
            verified((await asyncio.wait_for(read_response(reader), 10))[2])
            writer.close()


async def test_what_changes_before_it_is_signed_is_not_said(rsa_issuer: Issuer, rsa_signer: Signer) -> None:
    """What a thread has signed is compared with what would be signed now, and the floors are looked at again."""
    async with served(FakeClock(datetime.now(UTC)), rsa_issuer, rsa_signer) as site:
        streams = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in range(24)]
        for _, writer in streams:
            writer.write(asking(site, os.urandom(32)))
        for _ in range(100):
            await asyncio.sleep(0)
            if sum(counted(site, "live")):
                break
        count, _ = metrics.signature_words("rsa-2048")
        site.both.floors.raise_to(rsa_issuer.tag, encode_serial(IN_TABLE), 1, 10**6, 2**40, 0, 0)
        said_before = counted(site, "live")[0]
        for reader, writer in streams:
            verified((await asyncio.wait_for(read_response(reader), 10))[2])
            writer.close()
        assert counted(site, "live")[0] == said_before < 24
        assert len(site.asked_in_python) == 24 - said_before
        assert site.both.lane[count] == 24, "all were signed, and not all used"


async def test_beyond_the_budget_the_answer_is_the_one_without(rsa_issuer: Issuer, rsa_signer: Signer) -> None:
    async with served(FakeClock(datetime.now(UTC)), rsa_issuer, rsa_signer, waiting=4) as site:
        bodies = await all_answers(site, [asking(site, b"n" * 32) for _ in range(40)])
        nonces = [nonce_in(verified(body)) for body in bodies]
        assert set(nonces) == {b"n" * 32, None}
        assert counted(site, "live", "unmet") == [nonces.count(b"n" * 32), nonces.count(None)]
        assert site.asked_in_python == []


async def test_what_would_take_too_long_is_answered_without(issuer: Issuer) -> None:
    signer = make_test_signer(issuer, "rsa4096")
    count = 100  # of 1.3 ms at least
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, waiting=count, signing_seconds=0.05) as site:
        bodies = await all_answers(site, [asking(site, b"n" * 32) for _ in range(count)])
        nonces = [nonce_in(verified(body)) for body in bodies]
        assert nonces.count(None) > 0
        assert counted(site, "live", "unmet") == [nonces.count(b"n" * 32), nonces.count(None)]


@contextmanager
def busy_cores() -> Iterator[None]:
    """All cores that this process may use are kept busy; for 30 seconds at most."""
    code = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.monotonic() + 30
print(flush=True)
while time.monotonic() < end:
    pass
"""
    busy = [
        subprocess.Popen([sys.executable, "-c", code, str(core)], stdout=subprocess.PIPE)
        for core in sorted(os.sched_getaffinity(0))
    ]
    try:
        for process in busy:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in busy:
            process.kill()
            process.communicate()


async def test_where_others_keep_the_cores_busy_nonces_are_signed(issuer: Issuer) -> None:
    """The threads have the lowest priority, and would come to a few of these."""
    signer = make_test_signer(issuer, "rsa4096")
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, waiting=100, signing_seconds=2) as site:
        with busy_cores():
            bodies = await all_answers(site, [asking(site, b"n" * 32) for _ in range(60)])
        assert {nonce_in(verified(body)) for body in bodies} == {b"n" * 32}


async def test_a_stop_and_clients_that_leave_while_threads_sign(rsa_issuer: Issuer, rsa_signer: Signer) -> None:
    async with served(FakeClock(datetime.now(UTC)), rsa_issuer, rsa_signer) as site:
        streams = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in range(24)]
        for _, writer in streams:
            writer.write(asking(site, os.urandom(32)))
        await asyncio.sleep(0.002)
        while not signing_threads():  # noqa: ASYNC110 - it begins by itself
            await asyncio.sleep(0)
        for _, writer in streams[::2]:
            writer.transport.abort()
    # The site has ended; whoever stayed has been answered before.
    for reader, writer in streams[1::2]:
        verified((await asyncio.wait_for(read_response(reader), 10))[2])
        writer.close()
    assert signing_threads() == []


def signing_threads() -> list[Path]:
    return [task for task in Path("/proc/self/task").iterdir() if (task / "comm").read_text().strip() == "signing"]

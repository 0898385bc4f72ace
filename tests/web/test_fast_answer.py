"""The native way from a request to the HTTP response says the same as the chain and the rules in Python do."""

from __future__ import annotations

import base64
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from responder import metrics
from responder._native import Floors, LiveKeys, Responder, Table, find_request, pack_issuer
from responder.host.segment import DATABASE_CLOCK, ISSUED_UNTIL
from responder.pki import (
    Certificate,
    CRLReason,
    Issued,
    Issuer,
    NoncePolicy,
    RevokedInfo,
    StatusChange,
    UnknownSerial,
    encode_serial,
)
from responder.roles.memory import live_keys, row_of
from responder.signing.signers import Signer
from responder.web import get_path
from responder.web.caching import imf_fixdate
from responder.web.exchange import Exchange
from responder.web.ocsp import OCSPEndpoint
from tests import der
from tests.doubles import FakeClock
from tests.ocsp.chain import SERIAL, Chain, make_chain

HOURS = [timedelta(0), timedelta(minutes=50), timedelta(hours=30), timedelta(hours=37), timedelta(days=5)]


class Both:
    """The same issuers, records and clock behind the native way and behind the Python one."""

    def __init__(self, chain: Chain, *, headers: bytes = b"") -> None:
        self.chain = chain
        floors, table = memoryview(bytearray(1 << 16)), memoryview(bytearray(1 << 16))
        Floors.lay_out(floors, os.urandom(96))
        Table.lay_out(table, os.urandom(96))
        self.floors = Floors(floors)
        self.table = Table(table, self.floors, owner=1)
        self.host = memoryview(bytearray(64)).cast("Q")
        self.lane = memoryview(bytearray(8 * 1024)).cast("Q")
        self.host[0] = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12
        self.set_database_clock()
        issued = memoryview(bytearray(1 << 14))
        Issued.lay_out(issued, os.urandom(96))
        self.issued = Issued(issued)
        self.native = Responder(
            self.table, self.host, self.lane, words=metrics.fast_words(), issued=self.issued, headers=headers
        )
        self.exchange = Exchange(chain.issuers)
        self.python = OCSPEndpoint(chain.source, clock=chain.clock)
        self.reload()

    def reload(self) -> None:
        """As after a change of policies."""
        self.native.replace(
            [pack_issuer(row_of(issuer)) for issuer in self.chain.issuers],
            [signer.profile for signer in self.chain.signers],
            live_keys([list(self.chain.signers)]),
        )

    def set_database_clock(self) -> None:
        """As if the keeper had just read it: what the chain's clock says."""
        now = int(self.chain.clock.now().timestamp() * 10**9)
        self.host[DATABASE_CLOCK] = now - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def fill(self) -> None:
        """What the chain has made is in the table."""
        for certificate, records in self.chain.records.kept.items():
            if not records.is_tombstone:
                self.table.put(certificate.issuer.tag, certificate.serial, records, 0)

    def fast(self, request: bytes, *, is_post: bool = True, signs: bool = False) -> bytes | None:
        now = self.chain.clock.now()
        return self.native.respond(request, is_post, int(now.timestamp()) * 10**9 + now.microsecond * 1000, signs=signs)

    async def slow(self, request: bytes, method: str) -> tuple[int, dict[str, str], bytes]:
        path = b"/ocsp" if method == "POST" else b"/ocsp/" + quote(base64.b64encode(request), safe="").encode()
        asked = self.exchange.read(method, path, [], request if method == "POST" else b"")
        return await self.python.answer(asked, method, [])  # type: ignore[arg-type]

    async def answered_alike(
        self, serials: Sequence[int], variants: Sequence[int], method: str
    ) -> dict[tuple[int, int], bytes]:
        """The bodies that are given natively, by serial and variant; the chain gives the same, with the same head."""
        answered = {}
        for serial, variant in product(serials, variants):
            asked = request_for(self.chain.issuer, encode_serial(serial), variant)
            fast = self.fast(asked, is_post=method == "POST")
            if fast is not None:
                status, headers, body = taken_apart(fast)
                assert headers.pop("Date") == imf_fixdate(self.chain.clock.now())
                assert (status, headers, body) == await self.slow(asked, method)
                answered[serial, variant] = body
        return answered


def taken_apart(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    assert line == "HTTP/1.1 200 OK"
    headers = dict(field.split(": ", 1) for field in fields)
    assert headers.pop("Content-Length") == str(len(body))
    return 200, headers, body


def unauthorized(both: Both) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nCache-Control: no-store\r\nContent-Length: 5"
    return f"{head}\r\nDate: {imf_fixdate(both.chain.clock.now())}\r\n\r\n".encode() + b"\x30\x03\x0a\x01\x06"


def request_for(issuer: Issuer, serial: bytes, variant: int, *extensions: bytes) -> bytes:
    return der.request(cert_id(issuer, serial, variant), extensions=b"".join(extensions))


def cert_id(issuer: Issuer, serial: bytes, variant: int) -> bytes:
    oids = ("06052b0e03021a", "0609608648016503040201", "0609608648016503040202", "0609608648016503040203")
    number = (variant & 15) - 1
    name_hash, key_hash = issuer.cert_id_hashes[number]
    algorithm = der.sequence(bytes.fromhex(oids[number]), b"" if variant & 16 else der.NULL)
    hashes = der.octet_string(name_hash) + der.octet_string(key_hash)
    return der.sequence(algorithm, hashes, der.tlv(2, serial))


def request_for_several(issuer: Issuer, asked: Sequence[tuple[int, int]], *extensions: bytes) -> bytes:
    """Serials with the variants of their CertIDs."""
    cert_ids = (cert_id(issuer, encode_serial(serial), variant) for serial, variant in asked)
    return der.request(*cert_ids, extensions=b"".join(extensions))


def nonce(octets: bytes) -> bytes:
    return der.extension(bytes.fromhex("06092b0601050507300102"), der.octet_string(octets))


@pytest.fixture(params=["ec", "rsa"])
def both(request: pytest.FixtureRequest, clock: FakeClock) -> Both:
    name = {"ec": "", "rsa": "rsa_"}[request.param]
    issuer, signer = request.getfixturevalue(f"{name}issuer"), request.getfixturevalue(f"{name}signer")
    chain = make_chain(clock, issuer, signer)
    for serial in (SERIAL, 2**100 + 7):
        chain.statuses.add(Certificate.numbered(issuer, serial))
    revoked = chain.statuses.add(Certificate.numbered(issuer, 5)).certificate
    chain.statuses.set(revoked, StatusChange(RevokedInfo(clock.now(), CRLReason.superseded, clock.now())))
    return Both(chain)


@pytest.mark.parametrize("fraction", [0, 1, 500_000, 999_999])
@pytest.mark.parametrize("passed", HOURS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_answered_natively_is_what_the_chain_answers(
    both: Both, method: str, passed: timedelta, fraction: int
) -> None:
    chain = both.chain
    for serial in (SERIAL, 2**100 + 7, 5):
        await chain.ask(serial)
    both.fill()
    chain.clock.advance(passed + timedelta(microseconds=fraction))
    answered = await both.answered_alike((SERIAL, 2**100 + 7, 5), (1, 2, 3, 17, 18), method)
    # Two variants of three certificates are signed beforehand; what is due soon is for the chain.
    assert len(answered) == (6 if passed < timedelta(hours=36) else 0)


async def test_what_is_not_plain_is_for_the_chain(both: Both) -> None:
    chain, issuer = both.chain, both.chain.issuer
    await chain.ask(SERIAL)
    plain = request_for(issuer, encode_serial(SERIAL), 1)
    assert both.fast(plain) is None, "nothing is in the table"
    both.fill()
    assert both.fast(plain) is not None
    with_nonce = request_for(issuer, encode_serial(SERIAL), 1, nonce(b"n" * 16))
    assert both.fast(with_nonce) is None, "it needs a signature"
    for other in (b"", b"junk", plain[:-1], request_for(issuer, encode_serial(9), 1), b"\x30\x03\x0a\x01\x06"):
        assert both.fast(other) is None
    stranger = replace(issuer, cert_id_hashes=tuple((name, bytes(len(key))) for name, key in issuer.cert_id_hashes))
    assert both.fast(request_for(stranger, encode_serial(SERIAL), 1)) == unauthorized(both)
    # Another policy, and another profile.
    chain.set_policy(nonce=NoncePolicy.ignore)
    both.reload()
    answered = both.fast(with_nonce)
    assert answered is not None
    assert taken_apart(answered)[2] == taken_apart(both.fast(plain) or b"")[2]
    chain.set_policy(responder_id_by_name=True)
    both.reload()
    assert both.fast(plain) is None, "the record is of a profile that was retired"
    chain.set_policy(nonce=NoncePolicy.required)
    both.reload()
    assert both.fast(plain) is None, "known, and for the chain"
    both.native.replace([], [], LiveKeys())
    assert both.fast(plain) == unauthorized(both)


async def test_a_nonce_is_signed_natively_with_what_the_record_says(both: Both) -> None:
    """By keys that sign at once; others are for the chain. A variant that no record has, too."""
    chain, issuer = both.chain, both.chain.issuer
    stored = {serial: await chain.ask(serial) for serial in (SERIAL, 2**100 + 7, 5)}
    both.fill()
    chain.clock.advance(timedelta(minutes=50, microseconds=7))
    both.set_database_clock()
    signs_here = next(iter(chain.signers)).key.name == "ecdsa-p256"
    cases = [(1, 1), (2, 16), (1, 32), (2, 128), (17, 0), (3, 0), (20, 32)]
    for (serial, answer), (variant, size) in itertools.product(stored.items(), cases):
        sent = os.urandom(size)
        asked = request_for(issuer, encode_serial(serial), variant, *([nonce(sent)] if size else []))
        for method in ("GET", "POST"):
            fast = both.fast(asked, is_post=method == "POST", signs=True)
            assert (fast is not None) == signs_here
            if fast is None:
                continue
            _, headers, body = taken_apart(fast)
            _, slow_headers, slow_body = await both.slow(asked, method)
            assert headers == slow_headers | {"Date": imf_fixdate(chain.clock.now())}
            response, slow = ocsp.load_der_ocsp_response(body), ocsp.load_der_ocsp_response(slow_body)
            certificate = response.certificates[0]
            key = certificate.public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
            # All as the chain says it, but for when the status was read.
            assert response.this_update_utc == answer.this_update
            assert response.next_update_utc == answer.next_update
            assert response.produced_at_utc == slow.produced_at_utc
            ours, theirs = (
                (r.certificate_status, r.serial_number, r.revocation_time_utc, r.revocation_reason,
                 r.responder_key_hash, r.issuer_name_hash, r.issuer_key_hash, r.hash_algorithm.name, r.certificates,
                 [each.value.public_bytes() for each in r.extensions],
                 [each.value.public_bytes() for each in r.single_extensions])
                for r in (response, slow)
            )  # fmt: skip
            assert ours == theirs
            assert [each.value.public_bytes()[-size:] for each in response.extensions] == ([sent] if size else [])
    words = metrics.fast_words()
    key_words = metrics.signature_words("ecdsa-p256")
    made = 2 * len(stored) * len(cases) if signs_here else 0
    assert both.lane[words["live"]] == both.lane[key_words[0]] == made
    assert sum(both.lane[key_words[1] + bucket] for bucket in range(11)) == made


@pytest.mark.parametrize("size", [0, 32])
async def test_several_certificates_are_signed_for_together_as_the_chain_does(both: Both, size: int) -> None:
    chain, issuer = both.chain, both.chain.issuer
    for serial in (SERIAL, 2**100 + 7, 5):
        await chain.ask(serial)
    both.fill()
    both.host[ISSUED_UNTIL] = both.host[0]
    signs_here = next(iter(chain.signers)).key.name == "ecdsa-p256"
    extensions = [nonce(os.urandom(size))] if size else []
    answered = 0
    for asked in (
        [(SERIAL, 1), (5, 1)],
        [(5, 2), (SERIAL, 1), (2**100 + 7, 19), (5, 2), (5, 1)],
        [(SERIAL, 2)] * 20,
        [(SERIAL, 1), (0x5152, 2), (5, 1)],  # one that was never issued
        [(0x5152, 1), (SERIAL, 1)],
    ):
        octets = request_for_several(issuer, asked, *extensions)
        for method in ("GET", "POST"):
            fast = both.fast(octets, is_post=method == "POST", signs=True)
            assert (fast is not None) == signs_here
            if fast is None:
                continue
            answered += 1
            status, headers, body = taken_apart(fast)
            slow_status, slow_headers, slow_body = await both.slow(octets, method)
            assert (status, headers) == (slow_status, slow_headers | {"Date": imf_fixdate(chain.clock.now())})
            response, slow = ocsp.load_der_ocsp_response(body), ocsp.load_der_ocsp_response(slow_body)
            assert response.tbs_response_bytes == slow.tbs_response_bytes
            key = response.certificates[0].public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
    words = metrics.fast_words()
    assert [both.lane[word] for word in words["several"]] == [answered // 2] * 2
    assert both.lane[words["live"]] == answered
    assert [both.lane[word] for row in words["requests"] for word in row] == [0] * 6


async def test_several_certificates_of_which_one_is_not_at_hand_are_for_the_chain(
    clock: FakeClock, issuer: Issuer, signer: Signer, rsa_issuer: Issuer
) -> None:
    chain = make_chain(clock, issuer, signer)
    for serial in (SERIAL, 5):
        chain.statuses.add(Certificate.numbered(issuer, serial))
        await chain.ask(serial)
    both = Both(chain)
    both.fill()
    pair = [(SERIAL, 1), (5, 1)]
    fine = request_for_several(issuer, pair)
    assert both.fast(fine) is None, "it needs a signature"
    assert both.fast(fine, signs=True) is not None
    missing, never = [(SERIAL, 1), (0x5354, 1)], [(0x5152, 1), (0x5556, 2)]
    both.issued.add([issuer.tag + encode_serial(0x5354)])
    both.host[ISSUED_UNTIL] = both.host[0]
    assert both.fast(request_for_several(issuer, missing), signs=True) is None
    assert both.fast(request_for_several(issuer, never), signs=True) == unauthorized(both)
    both.host[ISSUED_UNTIL] = 0
    assert both.fast(request_for_several(issuer, [*pair, (0x5152, 1)]), signs=True) is None
    # Another issuer's beside ours, whether we answer for it or not.
    mixed = der.request(*(cert_id(each, encode_serial(SERIAL), 1) for each in (issuer, rsa_issuer)))
    assert both.fast(mixed, signs=True) is None
    rows = [pack_issuer(row_of(each)) for each in (issuer, rsa_issuer)]
    both.native.replace(rows, [signer.profile], live_keys([[signer]]))
    assert both.fast(mixed, signs=True) is None
    assert both.fast(fine, signs=True) is not None
    # A floor of any of them.
    both.floors.raise_to(issuer.tag, encode_serial(5), 1, 10**6, 2**40, 0, 0)
    assert both.fast(fine, signs=True) is None
    assert both.fast(request_for_several(issuer, [(SERIAL, 1), (SERIAL, 2)]), signs=True) is not None


async def test_nothing_is_signed_natively_by_a_wrong_clock_or_below_a_floor(
    clock: FakeClock, issuer: Issuer, signer: Signer
) -> None:
    chain = make_chain(clock, issuer, signer)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    await chain.ask(SERIAL)
    both = Both(chain)
    both.fill()
    asked = request_for(issuer, encode_serial(SERIAL), 1, nonce(b"n" * 16))
    assert both.fast(asked, signs=True) is not None
    known = both.host[DATABASE_CLOCK]
    for seconds, signs in ((59, True), (61, False), (-59, True), (-61, False), (86400 * 400, False)):
        both.host[DATABASE_CLOCK] = known + seconds * 10**9
        assert (both.fast(asked, signs=True) is not None) == signs
    both.host[DATABASE_CLOCK] = 0
    assert both.fast(asked, signs=True) is None, "nobody has asked the database yet"
    both.set_database_clock()
    assert both.fast(asked, signs=True) is not None
    both.floors.raise_to(issuer.tag, encode_serial(SERIAL), 1, 10**6, 2**40, 0, 0)
    assert both.fast(asked, signs=True) is None
    both.host[0] = 0
    assert both.fast(asked, signs=True) is None


@pytest.mark.parametrize("asked_nonce", [False, True])
async def test_what_was_never_issued_is_refused_natively_while_that_is_known(both: Both, asked_nonce: bool) -> None:
    """As the chain does; and only where the issuer wants no other answer for it."""
    issuer, words = both.chain.issuer, metrics.fast_words()
    extensions = (nonce(b"n" * 16),) if asked_nonce else ()
    never = request_for(issuer, b"\x51\x52", 1, *extensions)
    issued = request_for(issuer, b"\x53\x54", 1, *extensions)
    both.issued.add([issuer.tag + b"\x53\x54"])
    soon = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12
    for until, is_refused in ((0, False), (soon, True), (1, False), (soon, True)):
        both.host[ISSUED_UNTIL] = until
        for method in ("POST", "GET"):
            refused = both.fast(never, is_post=method == "POST")
            assert (refused is not None) == is_refused
            if refused is not None:
                status, headers, body = taken_apart(refused)
                del headers["Date"]
                assert (status, headers, body) == await both.slow(never, method)
            assert both.fast(issued, is_post=method == "POST") is None, "it is looked for"
    assert both.lane[words["never_issued"]] == 4
    both.host[0] = 0
    assert both.fast(never) is None, "a host without a lease says nothing"
    both.host[0] = soon
    for policy in (
        {"unknown_serial": UnknownSerial.unknown},
        {"compromised_at": both.chain.clock.now()},
        {"require_signature": True},
    ):
        row = row_of(replace(issuer, policy=replace(issuer.policy, **policy)))
        both.native.replace([pack_issuer(row)], [], LiveKeys())
        assert both.fast(never) is None


async def test_an_issuer_that_is_not_ours_is_refused_natively(both: Both) -> None:
    """As the chain does, whatever else is asked, and counted alike; also without a lease."""
    issuer = both.chain.issuer
    stranger = replace(issuer, cert_id_hashes=tuple((key[:0] + name[::-1], key) for name, key in issuer.cert_id_hashes))
    both.host[0] = 0
    for variant in (1, 2, 3, 4, 17):
        for extensions in ((), (nonce(b"n" * 32),)):
            for method in ("GET", "POST"):
                asked = request_for(stranger, encode_serial(SERIAL), variant, *extensions)
                fast = both.fast(asked, is_post=method == "POST")
                assert fast is not None
                status, headers, body = taken_apart(fast)
                assert headers.pop("Date") == imf_fixdate(both.chain.clock.now())
                assert (status, headers, body) == await both.slow(asked, method)
    words = metrics.fast_words()
    assert [both.lane[word] for word in words["unauthorized"]] == [10, 10]
    assert [both.lane[word] for word in words["hashes"]] == [0, 8, 4, 4, 4]
    assert both.lane[words["nonces"]] == 10


async def test_without_a_lease_or_below_a_floor_nothing_is_answered(both: Both) -> None:
    chain, issuer = both.chain, both.chain.issuer
    await chain.ask(SERIAL)
    both.fill()
    plain = request_for(issuer, encode_serial(SERIAL), 1)
    assert both.fast(plain) is not None
    until, both.host[0] = both.host[0], time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert both.fast(plain) is None
    both.host[0] = until
    assert both.fast(plain) is not None
    both.floors.raise_to(issuer.tag, encode_serial(SERIAL), 1, 10**6, 2**40, 0, 0)
    assert both.fast(plain) is None
    # A whole issuer's floor counts too.
    await chain.ask(5)
    both.fill()
    asked = request_for(issuer, encode_serial(5), 2)
    assert both.fast(asked) is not None
    both.floors.raise_issuer(issuer.tag, int(chain.clock.now().timestamp() * 1e6) + 1, 2**40, 0)
    assert both.fast(asked) is None


async def test_it_counts_what_the_chain_would_count(both: Both) -> None:
    chain = both.chain
    for serial in (SERIAL, 5):
        await chain.ask(serial)
    both.fill()
    words = metrics.fast_words()
    for serial, variant, is_post in ((SERIAL, 1, True), (SERIAL, 2, False), (5, 2, True)):
        assert both.fast(request_for(chain.issuer, encode_serial(serial), variant), is_post=is_post)
    assert [both.lane[word] for word in words["requests"][0]] == [1, 0, 0]
    assert [both.lane[word] for word in words["requests"][1]] == [1, 1, 0]
    assert [both.lane[word] for word in words["hashes"]] == [0, 1, 2, 0, 0]
    assert both.lane[words["answers"]] == 3
    ages = [both.lane[words["ages"] + index] for index in range(12)]
    assert ages[1] == 3, "five minutes of backdate"
    assert ages[11] == 3 * 300 * 10**9
    assert sum(ages[:11]) == 3


# --- the path of a GET


PATHS = st.one_of(
    st.binary(max_size=120),
    st.text("MAFkw/+_-=%2FBb0 ", max_size=80).map(str.encode),
    st.tuples(
        st.sampled_from([b"", b"/ocsp", b"/M/MA", b"/a%2fb"]),
        st.binary(max_size=90).map(lambda content: der.sequence(der.sequence(content))),
        st.sampled_from(["raw", "quoted", "url-safe", "stripped", "cut"]),
    ).map(lambda parts: spelled(*parts)),
)


def spelled(url: bytes, octets: bytes, how: str) -> bytes:
    text = base64.b64encode(octets)
    if how == "quoted":
        text = quote(text, safe="").encode()
    elif how == "url-safe":
        text = base64.urlsafe_b64encode(octets)
    elif how == "stripped":
        text = text.rstrip(b"=")
    elif how == "cut":
        text = text[:-2]
    return url + b"/" + text


@settings(max_examples=600, deadline=None)
@given(PATHS)
@example(b"/" * 70 + b"MAA")
@example(b"/ocsp/%4d%41%41=%")
@example(b"/x%3")
def test_the_request_in_a_path_is_found_as_in_python(path: bytes) -> None:
    assert find_request(path) == get_path.find_request(path)

"""Responses and CRLs with faults are read by others as by us, or one alone reads them, and it is known why."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from responder.ocsp.lints import lint
from responder.ocsp.lints.reading import not_der
from tests.fuzz import differential
from tests.fuzz.targets import seeds
from tests.fuzz.test_targets import changed

# What the rules don't look into: parts of names and of certificates are for those who show them, or verify by them; and
# whether an algorithm has parameters is for who verifies.
_UNREAD = (
    "AttributeTypeValue",
    "ResponderId::ByName",
    "Certificate::",
    "TbsCertificate::",
    "BasicOCSPResponse::certs",
    '"BasicOCSPResponse::signature_algorithm"]',
    '"BasicOCSPResponse::signature_algorithm", "AlgorithmIdentifier::params"]',
)


def substituted(chance: random.Random, octets: bytes) -> bytes:
    """With one to three other octets, which leaves lengths as they are more often than not."""
    made = bytearray(octets)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(made))
        made[at] = chance.choice((0, 1, 2, 0x7F, 0x80, 0xFF, made[at] ^ (1 << chance.randrange(8))))
    return bytes(made)


def faulty(name: str, count: int) -> list[bytes]:
    """The seeds, and that many changes of them, always the same."""
    chance, begin = random.Random(name), seeds(name)
    return begin + [
        changed(chance, chance.choice(begin), chance.choice(begin))
        if number % 8 == 0
        else substituted(chance, chance.choice(begin))
        for number in range(count)
    ]


def test_a_response_that_pyca_reads_we_read_alike_and_what_it_refuses_breaks_a_rule() -> None:
    seen: Counter[str] = Counter()
    for octets in faulty("response", 5000):
        said = differential.response(octets)
        who, _, why = said.partition(": ")
        seen[who] += 1
        if who == "ours alone" and not any(each in why for each in _UNREAD):
            assert lint(octets), f"{octets.hex()}: {why}"
    assert set(seen) == {"both", "neither", "ours alone"}, "pyca reads none that we don't"
    assert seen["both"] > 1000


def test_a_crl_that_pyca_reads_we_read_alike() -> None:
    """What we read alone is read by pyca before anything is made of it (`formats/crl.py`), or was made here. What pyca
    reads alone has a signature of unused bits, which no algorithm makes."""
    seen: Counter[str] = Counter()
    for octets in faulty("crl", 5000):
        who, _, why = differential.crl(octets).partition(": ")
        seen[who] += 1
        assert who != "pyca alone" or "isn't a BIT STRING of whole octets" in why
    assert seen["both"] > 1000


def test_a_response_that_openssl_reads_says_the_same_to_us() -> None:
    """It reads some alone: octets that follow, lengths that aren't the shortest."""
    said = {octets: differential.response_by_openssl(octets) for octets in faulty("response", 150)}
    assert all(lint(octets) for octets, who in said.items() if who == "openssl alone")
    assert Counter(said.values())["both"] > 30


def test_a_crl_that_openssl_reads_we_read_or_refuse_for_a_reason() -> None:
    """It doesn't hold the two algorithms of a CRL against each other before it verifies, nor asks for DER."""
    said = {octets: differential.crl_by_openssl(octets) for octets in faulty("crl", 150)}
    for octets, who in said.items():
        if who == "openssl alone":
            assert differential.crl(octets) == "neither"
    assert Counter(said.values())["both"] > 30


@pytest.mark.parametrize(
    ("octets", "is_der"),
    [
        ("0603550403", True),
        ("06022a03", True),
        ("0600", False),
        ("06022a80", False),
        ("06032a8001", False),
        ("06032a8101", True),
        ("060180", False),
    ],
)
def test_an_object_identifier_is_whole_and_shortest(octets: str, is_der: bool) -> None:
    """X.690 §8.19.2; the differential found that it wasn't looked at."""
    assert (not_der(bytes.fromhex(octets)) is None) == is_der

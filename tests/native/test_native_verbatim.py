"""Answers made elsewhere: kept in records as they came, told apart, and verified like ours."""

from __future__ import annotations

import hashlib
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder._native import Records, decode_records, load_public_key
from responder.signing.signers import Signer
from tests.native.test_native_records import (
    INVALIDITY,
    NEXT_UPDATE,
    REVOKED,
    SERIAL,
    THIS_UPDATE,
    UNKNOWN,
    Status,
    judge,
    sign_one,
    status,
)
from tests.native.test_native_table import NOW, table_of

LATER = THIS_UPDATE + 3600


def answers_of(signer: Signer, *variants: int, what: Status | None = None) -> list[tuple[int, bytes]]:
    """Whole responses, as any responder may have made them."""
    records = sign_one(signer, what or status(), variants)
    return [(variant, signer.profile.render(records, variant, SERIAL)) for variant in variants]


def taken(signer: Signer, answers: list[tuple[int, bytes]], what: Status | None = None) -> Records:
    return signer.profile.take_over(what or status(as_of=LATER * 10**6), LATER, answers)


def test_they_are_given_as_they_came(signer: Signer) -> None:
    answers = answers_of(signer, 1, 2, 4)
    records = decode_records(taken(signer, list(reversed(answers))).encoded)
    assert (records.is_verbatim, records.is_tombstone, records.variants) == (True, False, (1, 2, 4))
    assert (records.this_update, records.next_update, records.produced_at) == (THIS_UPDATE, NEXT_UPDATE, LATER)
    assert (records.epoch, records.number, records.as_of_microseconds) == (1, 7, LATER * 10**6)
    for variant, octets in answers:
        assert signer.profile.render(records, variant, SERIAL) == octets
        judge(octets, signer)
        assert records.signature(variant) == hashlib.sha256(octets).digest()[:16] + octets
    assert pickle.loads(pickle.dumps(records)) == records
    assert not sign_one(signer, status()).is_verbatim


def test_what_a_revocation_says_is_told(signer: Signer) -> None:
    what = status(cert_status=REVOKED, revocation_time=THIS_UPDATE - 5, reason=4, as_of=LATER * 10**6)
    records = taken(signer, answers_of(signer, 2, what=what), what)
    assert (records.cert_status, records.revocation_time, records.revocation_reason) == (REVOKED, THIS_UPDATE - 5, 4)


def test_they_are_of_one_certificate_one_profile_and_the_hashes_imported(signer: Signer, rsa_signer: Signer) -> None:
    records = taken(signer, answers_of(signer, 1))
    with pytest.raises(KeyError):
        signer.profile.render(records, 2, SERIAL)
    with pytest.raises(ValueError, match="another certificate"):
        signer.profile.render(records, 1, SERIAL + b"\x01")
    with pytest.raises(ValueError, match="another profile"):
        rsa_signer.profile.render(records, 1, SERIAL)


def test_a_signature_is_verified_over_what_came(signer: Signer, rsa_signer: Signer) -> None:
    key, other = load_public_key(signer.key.public_key), load_public_key(rsa_signer.key.public_key)
    ((variant, octets),) = answers_of(signer, 1)
    records = taken(signer, [(variant, octets)])
    signer.profile.verify(key, records, 1, SERIAL)
    with pytest.raises(ValueError):
        signer.profile.verify(other, records, 1, SERIAL)
    damaged = bytearray(octets)
    damaged[octets.index(b"\x18\x0f") + 4] ^= 1  # a digit of producedAt
    with pytest.raises(ValueError):
        signer.profile.verify(key, taken(signer, [(variant, bytes(damaged))]), 1, SERIAL)
    with pytest.raises(ValueError, match="no successful OCSPResponse"):
        signer.profile.verify(key, taken(signer, [(1, bytes.fromhex("30030a0106"))]), 1, SERIAL)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([], "no answers to keep"),
        ([(1, b"")], "an answer of 0 octets"),
        ([(1, b"\x30" * 70_000)], "an answer of 70000 octets"),
        ([(1, b"\x30\x01")], "isn't one DER SEQUENCE"),
        ([(1, b"\x04\x00")], "isn't one DER SEQUENCE"),
        ([(9, b"\x30\x00")], "variant 9 is none of ours"),
        ([(1, b"\x30\x00"), (1, b"\x30\x00")], "aren't ascending"),
    ],
)
def test_what_cannot_be_kept(signer: Signer, answers: list[tuple[int, bytes]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        taken(signer, answers)


def test_times_that_cannot_be(signer: Signer) -> None:
    answers = answers_of(signer, 1)
    with pytest.raises(ValueError, match="produced_at is before this_update"):
        signer.profile.take_over(status(), THIS_UPDATE - 1, answers)
    with pytest.raises(ValueError, match="next_update is before this_update"):
        signer.profile.take_over(status(next_update=THIS_UPDATE - 1), LATER, answers)
    with pytest.raises(ValueError, match="extensions of an answer made elsewhere"):
        signer.profile.take_over(status(extensions=INVALIDITY), LATER, answers)
    assert taken(signer, answers, status(cert_status=UNKNOWN)).cert_status == UNKNOWN


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 3))
def test_damaged_records_are_refused_or_mean_what_they_say(signer: Signer, place: int, value: int, cut: int) -> None:
    whole = bytearray(taken(signer, answers_of(signer, 1, 2)).encoded)
    whole[place % len(whole)] = value
    octets = bytes(whole[: len(whole) - cut])
    try:
        read = decode_records(octets)
    except ValueError:
        return
    assert read.encoded == octets
    for variant in read.variants:
        assert read.signature(variant)[16:] in octets if read.is_verbatim else read.signature(variant) in octets


def test_the_table_keeps_them_and_replaces_them_by_the_same_rule(signer: Signer) -> None:
    table, tag = table_of(), signer.issuer.tag
    ours, theirs = sign_one(signer, status(number=7)), taken(signer, answers_of(signer, 1), status(number=8))
    assert table.put(tag, SERIAL, ours, NOW) == ours
    assert table.put(tag, SERIAL, theirs, NOW) == theirs
    assert table.put(tag, SERIAL, ours, NOW) == theirs
    assert table.get(tag, SERIAL) == theirs

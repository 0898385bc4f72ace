"""Seals: HMAC-SHA-256 as Python's library has it, and nothing else opens."""

from __future__ import annotations

import copy
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder._native import Seal

KEY = bytes(range(32))


@given(name=st.binary(max_size=60), value=st.binary(max_size=300))
def test_a_seal_is_hmac_sha256_of_the_names_length_the_name_and_the_value(name: bytes, value: bytes) -> None:
    sealed = Seal(KEY).close(name, value)
    assert sealed == value + hmac.digest(KEY, len(name).to_bytes(2, "big") + name + value, "sha256")[:16]
    assert Seal(KEY).open(name, sealed) == value


@given(name=st.binary(min_size=1, max_size=30), value=st.binary(min_size=1, max_size=100), data=st.data())
def test_what_was_changed_or_stands_under_another_name_does_not_open(
    name: bytes, value: bytes, data: st.DataObject
) -> None:
    seal = Seal(KEY)
    sealed = seal.close(name, value)
    at, flip = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(1, 255))
    assert seal.open(name, sealed[:at] + bytes([sealed[at] ^ flip]) + sealed[at + 1 :]) is None
    assert seal.open(name, sealed[:at]) is None
    assert seal.open(name, sealed + b"x") is None
    assert seal.open(name[:-1], sealed) is None
    assert seal.open(name[:-1], name[-1:] + sealed) is None
    assert Seal(KEY + b"x").open(name, sealed) is None
    assert seal.open(name, sealed) == value, "and what failed is forgotten"


def test_a_key_is_long_enough_and_a_seal_stays_here() -> None:
    with pytest.raises(ValueError, match="32 are the least"):
        Seal(bytes(31))
    with pytest.raises(TypeError):
        copy.copy(Seal(KEY))

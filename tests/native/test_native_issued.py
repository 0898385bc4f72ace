"""What was added is always found, and of the rest no more than is stated."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder.pki import Issued

KEY = bytes(range(96))


def laid_out(octets: int, key: bytes = KEY) -> Issued:
    memory = memoryview(bytearray(octets))
    Issued.lay_out(memory, key)
    return Issued(memory)


def names(count: int, seed: int) -> list[bytes]:
    return [octets.randbytes(24) for octets in [random.Random(seed)] for _ in range(count)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=9, max_size=90), max_size=200))
def test_what_was_added_is_found_whatever_else_was(added: list[bytes]) -> None:
    issued = laid_out(4096 + 64)
    for name in added:
        issued.add([name])
    assert all(issued.has(name[:8], name[8:]) for name in added)


@pytest.mark.parametrize(("bits", "one_in"), [(10, 100), (20, 3200)])
def test_of_the_rest_one_in_so_many_is_found(bits: int, one_in: int) -> None:
    octets = 1 << 16
    issued = laid_out(4096 + octets)
    assert issued.false_positives == 0
    issued.add(names(octets * 8 // bits, 1))
    asked = names(400_000, 2)
    found = sum(issued.has(name[:8], name[8:]) for name in asked) / len(asked)
    assert 0.5 / one_in < found < 1.6 / one_in
    assert found == pytest.approx(issued.false_positives, rel=0.35)


def test_serials_that_differ_little_and_short_ones_are_told_apart() -> None:
    """Counted serials, as some CAs give them."""
    issued = laid_out(4096 + (1 << 14), os.urandom(96))
    tag = b"an issue"
    issued.add([tag + number.to_bytes(2, "big") for number in range(256, 2256)])
    assert all(issued.has(tag, number.to_bytes(2, "big")) for number in range(256, 2256))
    others = sum(issued.has(tag, number.to_bytes(2, "big")) for number in range(3000, 23_000))
    assert others < 20_000 / 20
    assert sum(issued.has(b"AN ISSUE", number.to_bytes(2, "big")) for number in range(256, 2256)) < 100


def test_what_is_wrong_is_refused() -> None:
    memory = memoryview(bytearray(8192))
    with pytest.raises(ValueError, match="holds no filter"):
        Issued(memory)
    for octets, key in ((memory[:4100], KEY), (memory, KEY[1:])):
        with pytest.raises(ValueError, match="can't hold"):
            Issued.lay_out(octets, key)
    issued = laid_out(8192)
    with pytest.raises(ValueError, match="tag and a serial"):
        issued.add([b"12345678"])
    with pytest.raises(ValueError, match="issuer's tag"):
        issued.has(b"1234567", b"1")

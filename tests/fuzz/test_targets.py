"""The targets of the fuzzer on their seeds, and on some thousand changes of them, always the same ones."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import TARGETS, seeds

CHANGES = 10_000


def changed(chance: random.Random, octets: bytes, other: bytes) -> bytes:
    """With one to four faults: octets changed, taken out, doubled, put in, cut off, or of another seed."""
    made = bytearray(octets)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(made):
            made[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, made[at] ^ (1 << chance.randrange(8))))
        elif kind == 1:
            del made[at : at + chance.randint(1, 8)]
        elif kind == 2:
            made[at:at] = made[at : at + chance.randint(1, 32)]
        elif kind == 3:
            made[at:at] = chance.randbytes(chance.randint(1, 4))
        elif kind == 4:
            del made[at:]
        else:
            begin = chance.randrange(len(other) + 1)
            made[at:at] = other[begin : begin + chance.randint(1, 64)]
    return bytes(made[:4096])


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks_a_promise(name: str) -> None:
    chance, begin = random.Random(name), seeds(name)
    assert begin, "there are octets to begin with"
    for octets in (b"", *begin):
        TARGETS[name](octets)
    for _ in range(CHANGES):
        TARGETS[name](changed(chance, chance.choice(begin), chance.choice(begin)))

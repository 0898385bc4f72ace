"""Floors: what is older than they say isn't answered, whatever happens to who writes them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder._native import Floors

TAG, OTHER_TAG = b"issuer-1", b"issuer-2"
KEY = bytes(range(96))
NOW, LATER = 1_780_000_000, 1_780_400_000
AS_OF = NOW * 10**6

HEADER, PLACE = 4096, 32
_SEQUENCE_IN_PLACE = 20


def memory_for(places: int) -> memoryview:
    memory = memoryview(bytearray(HEADER + places * PLACE))
    Floors.lay_out(memory, KEY)
    return memory


def floors_of(places: int = 1024) -> Floors:
    return Floors(memory_for(places))


def raise_to(floors: Floors, serial: bytes, number: int, *, epoch: int = 1, until: int = LATER, now: int = NOW) -> bool:
    return floors.raise_to(TAG, serial, epoch, number, until, now, AS_OF)


def lowest(floors: Floors, serial: bytes, *, tag: bytes = TAG, epoch: int = 1, as_of: int = AS_OF) -> int:
    """The lowest number below 100 that may be answered."""
    return next(number for number in range(100) if not floors.is_below(tag, serial, epoch, number, as_of))


def test_a_floor_is_of_its_certificate_and_only_rises() -> None:
    floors = floors_of()
    assert lowest(floors, b"\x01") == 0
    assert raise_to(floors, b"\x01", 7)
    assert lowest(floors, b"\x01") == 7
    assert lowest(floors, b"\x02") == 0
    assert lowest(floors, b"\x01\x01") == 0
    assert lowest(floors, b"\x01", tag=OTHER_TAG) == 0
    raise_to(floors, b"\x01", 5)
    assert lowest(floors, b"\x01") == 7
    # The epoch counts before the number.
    raise_to(floors, b"\x01", 3, epoch=2)
    assert lowest(floors, b"\x01", epoch=2) == 3
    assert floors.is_below(TAG, b"\x01", 1, 10**6, AS_OF)
    assert not floors.is_below(TAG, b"\x01", 3, 0, AS_OF)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=200),
    st.integers(64, 90),
)
def test_whatever_was_raised_nothing_below_it_is_answered(raised: list[tuple[int, int, int]], places: int) -> None:
    """In memory that is too small as well: then more is refused, never less."""
    floors = floors_of(places)
    highest: dict[bytes, tuple[int, int]] = {}
    for serial_number, epoch, number in raised:
        serial = bytes([serial_number])
        raise_to(floors, serial, number, epoch=epoch)
        highest[serial] = max(highest.get(serial, (0, 0)), (epoch, number))
    for serial, (epoch, number) in highest.items():
        before = (epoch, number - 1) if number else (epoch - 1, 2**64 - 1)
        if before >= (0, 0):
            assert floors.is_below(TAG, serial, *before, AS_OF - 1)
        assert not floors.is_below(TAG, serial, epoch, number, AS_OF)


def test_without_room_the_issuer_gets_a_floor_that_is_a_moment() -> None:
    floors = floors_of(70)
    assert all(raise_to(floors, bytes([serial_number]), 7) for serial_number in range(1, 30))
    outcomes = [raise_to(floors, b"\x01" + bytes([serial_number]), 7) for serial_number in range(200)]
    assert not all(outcomes)
    # Of this issuer, or, when there is no room for that either, of all.
    assert floors.is_below(TAG, b"never mentioned", 9, 9, AS_OF - 1)
    assert not floors.is_below(TAG, b"never mentioned", 9, 9, AS_OF)


def test_an_issuers_floor_is_its_own() -> None:
    floors = floors_of()
    floors.raise_issuer(TAG, AS_OF, LATER, NOW)
    assert floors.is_below(TAG, b"\x01", 9, 9, AS_OF - 1)
    assert not floors.is_below(TAG, b"\x01", 9, 9, AS_OF)
    assert not floors.is_below(OTHER_TAG, b"\x01", 9, 9, AS_OF - 1)
    floors.raise_all(AS_OF + 5)
    floors.raise_all(AS_OF)
    assert floors.is_below(OTHER_TAG, b"\x01", 9, 9, AS_OF + 4)
    assert not floors.is_below(OTHER_TAG, b"\x01", 9, 9, AS_OF + 5)


def test_places_of_floors_that_have_ended_are_used_again() -> None:
    floors = floors_of(128)
    for turn in range(50):
        now = NOW + turn * 1000
        for index in range(20):
            serial = turn.to_bytes(2, "big") + bytes([index])
            assert floors.raise_to(TAG, serial, 1, 7, now + 999, now, AS_OF)
            assert lowest(floors, serial) == 7
    assert floors.taken <= 128 == floors.places


def test_a_serial_of_any_length_has_a_floor() -> None:
    floors = floors_of()
    for size in (1, 7, 8, 15, 16, 17, 63, 64, 65, 200, 256):
        serial = b"\x11" * size
        raise_to(floors, serial, 7)
        assert lowest(floors, serial) == 7
        assert lowest(floors, serial[:-1] + b"\x12") == 0


def half_write(memory: memoryview) -> None:
    """Leave every place that is in use as a writer does that is killed in the middle."""
    for place in range(HEADER, len(memory), PLACE):
        (found,) = struct.unpack_from("<Q", memory, place)
        if found:
            (sequence,) = struct.unpack_from("<I", memory, place + _SEQUENCE_IN_PLACE)
            struct.pack_into("<I", memory, place + _SEQUENCE_IN_PLACE, sequence | 1)


def test_what_a_killed_writer_left_is_below_until_it_is_raised_again() -> None:
    memory = memory_for(64)
    floors = Floors(memory)
    raise_to(floors, b"\x01", 7)
    raise_to(floors, b"\x02", 8)
    half_write(memory)
    assert floors.is_below(TAG, b"\x01", 1, 10**6, AS_OF)
    successor = Floors(memory)
    raise_to(successor, b"\x01", 7)
    assert lowest(floors, b"\x01") == 7
    assert floors.is_below(TAG, b"\x02", 1, 10**6, AS_OF), "not before it has raised all again"
    assert successor.settle() == 1
    assert lowest(floors, b"\x01") == 7
    assert lowest(floors, b"\x02") == 0
    assert successor.settle() == 0


@pytest.mark.parametrize("octets", [0, HEADER, HEADER + 64 * PLACE - 1])
def test_memory_that_holds_no_floors_is_refused(octets: int) -> None:
    with pytest.raises(ValueError, match="floors"):
        Floors.lay_out(memoryview(bytearray(octets)), KEY)
    with pytest.raises(ValueError, match="floors"):
        Floors(memoryview(bytearray(octets)))
    with pytest.raises(ValueError, match="floors"):
        Floors(memoryview(bytearray(2 * HEADER)))
    with pytest.raises(ValueError, match="floors"):
        Floors.lay_out(memoryview(bytearray(2 * HEADER)), b"short")


def test_what_is_no_tag_or_serial_is_refused() -> None:
    floors = floors_of()
    with pytest.raises(ValueError, match="8 octets"):
        floors.is_below(b"short", b"\x01", 1, 1, AS_OF)
    with pytest.raises(ValueError, match="8 octets"):
        floors.raise_to(b"too long a tag", b"\x01", 1, 1, LATER, NOW, AS_OF)
    with pytest.raises(ValueError, match="at least one"):
        raise_to(floors, b"", 1)

"""The table: what is put is found, nothing older comes back, and what doesn't fit is given up."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder._native import Floors, Records, Table, tombstone
from responder.pki import Issuer
from responder.signing.signers import Signer
from tests.native.test_native_records import NEXT_UPDATE, REVOKED, SERIAL, THIS_UPDATE, sign_one, status

KEY = bytes(range(96))
NOW = THIS_UPDATE * 10**6
SET, HEADER = 4096, 4096


def floors_with_room() -> Floors:
    memory = memoryview(bytearray(HEADER + 4096 * 32))
    Floors.lay_out(memory, KEY)
    return Floors(memory)


def memory_for(sets: int) -> memoryview:
    memory = memoryview(bytearray(HEADER + sets * SET))
    Table.lay_out(memory, KEY)
    return memory


def table_of(sets: int = 64, floors: Floors | None = None) -> Table:
    return Table(memory_for(sets), floors or floors_with_room(), owner=1)


def serial(index: int, size: int = 16) -> bytes:
    return b"\x40" + index.to_bytes(size - 1, "big")


@pytest.fixture(scope="module")
def records(signer: Signer) -> Records:
    return sign_one(signer, status(number=7))


@pytest.fixture(scope="module")
def newer(signer: Signer) -> Records:
    return sign_one(signer, status(number=8, cert_status=REVOKED, revocation_time=THIS_UPDATE))


@pytest.fixture(scope="module")
def tag(issuer: Issuer) -> bytes:
    return issuer.tag


def test_what_is_put_is_found_under_its_whole_key(tag: bytes, records: Records) -> None:
    table = table_of()
    assert table.get(tag, SERIAL) is None
    assert table.put(tag, SERIAL, records, NOW) is records
    assert table.get(tag, SERIAL) == records
    for other in (SERIAL[:-1], SERIAL + b"\x00", b"\x00" + SERIAL, b""):
        assert table.get(tag, other) is None
    assert table.get(bytes(8), SERIAL) is None
    assert table.usage()[0] == 1


def test_later_records_replace_earlier_ones_and_never_the_other_way(
    tag: bytes, records: Records, newer: Records
) -> None:
    table = table_of()
    table.put(tag, SERIAL, records, NOW)
    assert table.put(tag, SERIAL, newer, NOW) is newer
    assert table.put(tag, SERIAL, records, NOW) == newer
    assert table.get(tag, SERIAL) == newer
    assert table.usage()[0] == 1


def test_a_tombstone_buries_what_is_older_and_yields_to_records_of_its_change(tag: bytes, records: Records) -> None:
    table = table_of()
    stone = tombstone(tag, SERIAL, 0, 1, 7, NOW + 10**6, NEXT_UPDATE)
    assert table.put(tag, SERIAL, stone, NOW) is stone
    assert table.put(tag, SERIAL, records, NOW) is records, "of one change, records are later, whatever the clocks say"
    assert table.put(tag, SERIAL, stone, NOW) == records
    above = tombstone(tag, SERIAL, 1, 1, 8, NOW, NEXT_UPDATE)
    assert table.put(tag, SERIAL, above, NOW) is above


def test_floors_keep_old_records_out_and_drop_takes_them_out(tag: bytes, records: Records, newer: Records) -> None:
    floors = floors_with_room()
    table = table_of(floors=floors)
    table.put(tag, SERIAL, records, NOW)
    assert table.drop(tag, SERIAL)
    assert table.get(tag, SERIAL) == records, "nothing is dropped that may be answered"
    floors.raise_to(tag, SERIAL, 1, 8, NEXT_UPDATE, THIS_UPDATE, NOW)
    assert table.drop(tag, SERIAL)
    assert table.get(tag, SERIAL) is None
    assert table.put(tag, SERIAL, records, NOW) is None
    assert table.get(tag, SERIAL) is None
    assert table.put(tag, SERIAL, newer, NOW) is newer
    assert table.usage()[0] == 1


def test_what_has_no_place_is_not_kept(tag: bytes, signer: Signer, rsa_signer: Signer) -> None:
    table = table_of()
    assert table.put(tag, bytes(range(1, 65)), sign_one(signer, status()), NOW) is not None
    assert table.put(tag, bytes(range(1, 66)), sign_one(signer, status()), NOW) is None
    assert table.get(tag, bytes(range(1, 66))) is None
    assert table.drop(tag, bytes(range(1, 66)))
    for index, variants in enumerate(([1, 2, 3, 4, 17, 18, 19, 20], [1, 2], [1])):
        kept = sign_one(rsa_signer, status(), variants)
        assert table.put(tag, serial(index), kept, NOW) is kept
        assert table.get(tag, serial(index)) == kept


def test_a_table_takes_nine_tenths_of_its_room_before_it_gives_anything_up(
    tag: bytes, records: Records, newer: Records
) -> None:
    """At least as dense as 288 octets for a certificate of two P-256 signatures."""
    sets = 512
    table = table_of(sets)
    count = HEADER * sets // 280
    for index in range(count):
        table.put(tag, serial(index), records, NOW)
    kept = sum(table.get(tag, serial(index)) is not None for index in range(count))
    assert kept > 0.999 * count
    assert (HEADER + sets * SET) / kept < 288


def test_how_full_it_is_shows_in_a_part_of_it(tag: bytes, records: Records) -> None:
    table = table_of(512)
    assert table.usage(64) == (0, 0, table.usage()[2] // 8)
    for index in range(2000):
        table.put(tag, serial(index), records, NOW)
    count, octets, room = table.usage()
    assert count == 2000
    sampled, octets_there, room_there = table.usage(64)
    assert room_there * 8 == room
    assert 0.7 * octets < octets_there * 8 < 1.4 * octets
    assert 0 < sampled < 2000


def test_what_has_ended_goes_first_and_what_is_used_goes_last(tag: bytes, signer: Signer) -> None:
    table = table_of(1)
    ended = sign_one(signer, status(next_update=THIS_UPDATE + 10))
    lives = sign_one(signer, status())
    table.put(tag, serial(0), lives, NOW)
    table.put(tag, serial(1), ended, NOW)
    later = NOW + 20 * 10**6
    count = 2
    while table.get(tag, serial(1)) is not None:
        table.put(tag, serial(count), lives, later)
        count += 1
    assert all(table.get(tag, serial(index)) for index in range(count) if index != 1)


def test_what_is_asked_for_stays_while_what_nobody_asks_for_goes(tag: bytes, records: Records) -> None:
    table = table_of(1)
    for index in range(300):
        assert table.put(tag, serial(index), records, NOW) is records
        assert table.get(tag, serial(0)) == records
    assert table.usage()[0] > 10


Operation = tuple[str, int, int, int, bool]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("pppfd"), st.integers(0, 40), st.integers(1, 4), st.integers(0, 3), st.booleans()),
        max_size=150,
    ),
    st.integers(1, 3),
)
def test_in_any_order_of_puts_floors_and_drops_nothing_old_is_found(operations: list[Operation], sets: int) -> None:
    """A small table, so that much is given up: a miss is always right, an old record never."""
    floors = floors_with_room()
    table = table_of(sets, floors)
    tag = b"an issue"
    best: dict[int, tuple[int, int]] = {}
    lowest: dict[int, int] = {}
    for what, index, number, seconds, _ in operations:
        if what == "p":
            stone = tombstone(tag, serial(index), number % 3, 1, number, NOW + seconds, NEXT_UPDATE + 90 * index)
            kept = table.put(tag, serial(index), stone, NOW)
            if number < lowest.get(index, 0):
                assert kept is None
                continue
            assert kept is not None
            best[index] = max(best.get(index, (0, 0)), (number, seconds))
        elif what == "f":
            lowest[index] = max(number, lowest.get(index, 0))
            floors.raise_to(tag, serial(index), 1, number, NEXT_UPDATE, THIS_UPDATE, NOW)
            assert table.drop(tag, serial(index))
        found = table.get(tag, serial(index))
        if found is not None:
            assert found.number >= lowest.get(index, 0)
            assert (found.number, found.as_of_microseconds - NOW) <= best[index]
            assert found.next_update == NEXT_UPDATE + 90 * index


def test_records_as_a_store_gives_them_fill_it(tag: bytes, signer: Signer, records: Records) -> None:
    table = table_of()
    other = sign_one(signer, status(b"\x05"))
    ended = sign_one(signer, status(b"\x06", next_update=THIS_UPDATE + 1))
    stone = tombstone(tag, b"\x07", 0, 1, 7, NOW, NEXT_UPDATE)
    keys = [tag + SERIAL, tag + b"\x05", tag + b"\x06", tag + b"\x07", tag + b"\x08", tag + b"\x09", tag, b"x", b""]
    values = [records.encoded, None, ended.encoded, stone.encoded, other.encoded, b"junk", other.encoded, b"", None]
    assert table.fill(keys, values, NOW + 10**6) == 1
    assert table.get(tag, SERIAL) == records
    assert table.get(tag, b"\x08") is None, "a record of another certificate"
    assert table.fill([tag + SERIAL, tag + b"\x05"], [records.encoded, other.encoded], NOW) == 1
    assert table.usage()[0] == 2


def test_what_a_killed_process_kept_is_given_back(tag: bytes, records: Records, newer: Records) -> None:
    memory = memory_for(1)
    table = Table(memory, floors_with_room(), owner=1)
    for index in range(3):
        table.put(tag, serial(index), records, NOW)
    # Process 9 owns the set, and has half-written it.
    sequence, owner = struct.unpack_from("<QI", memory, HEADER)
    assert (sequence % 2, owner) == (0, 0)
    struct.pack_into("<QI", memory, HEADER, sequence + 1, 9)
    assert table.get(tag, serial(0)) is None
    assert table.put(tag, serial(0), newer, NOW) is None, "others keep it busy"
    assert not table.drop(tag, serial(0))
    assert table.sweep(2) == 0
    assert table.sweep(9) == 1
    assert table.usage()[0] == 0
    assert table.put(tag, serial(0), newer, NOW) is newer
    # One that owned it and wrote nothing leaves it as it was.
    struct.pack_into("<I", memory, HEADER + 8, 9)
    assert table.get(tag, serial(0)) == newer
    assert table.sweep(9) == 1
    assert table.get(tag, serial(0)) == newer


def test_memory_that_holds_no_table_is_refused() -> None:
    floors = floors_with_room()
    for octets in (0, HEADER, HEADER + SET - 1):
        with pytest.raises(ValueError, match="table"):
            Table.lay_out(memoryview(bytearray(octets)), KEY)
        with pytest.raises(ValueError, match="table"):
            Table(memoryview(bytearray(octets)), floors, owner=1)
    with pytest.raises(ValueError, match="key of 5"):
        Table.lay_out(memoryview(bytearray(HEADER + SET)), b"short")
    for owner in (0, -1, 1 << 32):
        with pytest.raises(ValueError, match="owner"):
            Table(memory_for(1), floors, owner=owner)
    with pytest.raises(ValueError, match="nobody"):
        table_of().sweep(0)
    with pytest.raises(ValueError, match="8 octets"):
        table_of().get(b"short", SERIAL)

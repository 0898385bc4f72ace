"""Commands as redis-py's own encoder and parser have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import Connection

from responder.pki import packed_command


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_a_command_is_packed_as_redis_py_packs_it(arguments: list[bytes]) -> None:
    # Its first argument may hold several words.
    arguments = [b"EVALSHA", *arguments]
    assert packed_command(arguments) == b"".join(Connection().pack_command(*arguments))


def test_lengths_of_more_digits() -> None:
    for size in (9, 10, 99, 100, 99_999, 100_000, 1_000_000):
        assert packed_command([b"x" * size]) == b"*1\r\n$%d\r\n%s\r\n" % (size, b"x" * size)
    assert packed_command([b""] * 1000).startswith(b"*1000\r\n$0\r\n\r\n$0")


@pytest.mark.parametrize("argument", ["text", 7, None, bytearray(b"x")])
def test_what_is_no_octets_is_refused(argument: object) -> None:
    with pytest.raises(TypeError, match="an argument of a command is bytes, not "):
        packed_command([b"GET", argument])  # type: ignore[list-item]

"""The shared memory of a host: its header, its regions, and that nobody can change its size."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from responder.host.segment import LANE_WORDS, MAGIC, TRUSTED_UNTIL, VERSION, Region, Segment


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The descriptors that segments are made with, kept open."""
    kept: list[int] = []
    create = os.memfd_create

    def remembered(name: str, flags: int) -> int:
        fd = create(name, flags)
        kept.append(os.dup(fd))
        return fd

    monkeypatch.setattr(os, "memfd_create", remembered)
    yield kept
    for fd in kept:
        os.close(fd)


def test_the_header_says_where_everything_is(made: list[int]) -> None:
    segment = Segment.create(3, floors=100, table=70_000)
    assert segment.lanes == 4
    header = struct.unpack("<14Q", os.pread(made[0], 14 * 8, 0))
    assert header[:4] == (MAGIC, VERSION, os.fstat(made[0]).st_size, 4)
    places = list(zip(header[4::2], header[5::2], strict=True))
    assert [size for _, size in places] == [4 * LANE_WORDS * 8, 512, 100, 70_000, 0]
    end = 14 * 8
    for offset, size in places:
        assert offset % mmap.PAGESIZE == 0
        assert offset >= end
        end = offset + size
    assert end <= header[2]


def test_one_that_is_made_anew_is_empty_but_for_its_lanes_and_has_another_name(made: list[int]) -> None:
    segment = Segment.create(2, floors=64, table=70_000)
    identity = segment.identity
    segment.lane(1)[5] = 7
    segment.host[TRUSTED_UNTIL] = 1
    for region in (Region.FLOORS, Region.TABLE):
        segment.region(region)[:] = b"x" * len(segment.region(region))
    segment.renew()
    again = Segment(made[0])  # as another process has it mapped
    assert again.lane(1)[5] == 7
    assert again.host[TRUSTED_UNTIL] == 0
    assert not any(again.region(Region.FLOORS)) and not any(again.region(Region.TABLE))
    assert again.identity == segment.identity != identity


def test_regions_and_lanes_do_not_touch_each_other(made: list[int]) -> None:
    segment = Segment.create(2, floors=64, table=64, limiter=64)
    for lane in range(3):
        segment.lane(lane)[LANE_WORDS - 1] = segment.lane(lane)[0] = lane + 1
    segment.host[TRUSTED_UNTIL] = 2**64 - 1
    for region in (Region.FLOORS, Region.TABLE, Region.LIMITER):
        segment.region(region)[:] = bytes([region]) * 64
    again = Segment(made[0])
    assert [again.lane(lane)[0] for lane in range(3)] == [1, 2, 3]
    assert again.total(LANE_WORDS - 1) == 6
    assert again.total(1) == 0
    assert again.supervisor_lane[0] == 3
    assert again.host[TRUSTED_UNTIL] == 2**64 - 1
    assert bytes(again.region(Region.TABLE)) == bytes([Region.TABLE]) * 64
    assert bytes(again.region(Region.LIMITER)) == bytes([Region.LIMITER]) * 64


def test_its_size_can_not_be_changed(made: list[int]) -> None:
    Segment.create(1)
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(made[0], size)


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [(0, MAGIC + 1, "begins with something else"), (1, VERSION + 1, "of version 2"), (2, 4096, "its header says 4096")],
)
def test_another_layout_is_refused(made: list[int], word: int, value: int, said: str) -> None:
    Segment.create(1)
    os.pwrite(made[0], value.to_bytes(8, "little"), 8 * word)
    with pytest.raises(ValueError, match=said):
        Segment(made[0])


def test_what_is_too_short_is_refused() -> None:
    fd = os.memfd_create("short")
    try:
        os.ftruncate(fd, 16)
        with pytest.raises(ValueError, match="too few for a segment's header"):
            Segment(fd)
    finally:
        os.close(fd)

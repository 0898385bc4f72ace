"""The memory that the processes of a host share, in one declared layout: a header, then the regions, each on pages of
its own. Words have 64 bits and are read and written whole.

    header    magic, version of the layout, size, number of lanes; then offset and size of each region, in octets
    LANES     LANE_WORDS words for each process, and one lane more for the supervisor; a lane has one writer
    HOST      words that belong to no single process, such as TRUSTED_UNTIL
    FLOORS, TABLE, LIMITER, ISSUED    as large as `create` is told; nothing by default
"""

from __future__ import annotations

import fcntl
import mmap
import os
from enum import IntEnum

WORD = 8
LANE_WORDS = 1024

MAGIC = int.from_bytes(b"certstat", "little")
VERSION = 1


class Region(IntEnum):
    """The parts of a segment, in their order."""

    LANES = 0
    HOST = 1
    FLOORS = 2
    TABLE = 3
    LIMITER = 4
    ISSUED = 5


# Words of the header; two for each region follow.
_MAGIC, _VERSION, _SIZE, _LANES, _REGIONS = range(5)
_HEADER_WORDS = _REGIONS + 2 * len(Region)

HEARTBEAT = 0
"""The word of a lane in which its process says that it is alive: CLOCK_MONOTONIC in nanoseconds."""

RECENT_DEATHS = 1
"""The word of a lane in which the supervisor says how often its process ended within the last minute."""

FIRST_COUNTER = 2
"""From here on a lane's words are counters; who declares them gives them out."""

TRUSTED_UNTIL = 0
"""The word of the host until when what is served from the segment may be believed: CLOCK_BOOTTIME in nanoseconds."""

WARMED = 3
"""The word of the host that says whether the segment was filled since it was made: 0 or 1."""

DATABASE_CLOCK = 4
"""The word of the host for what the database's clock says: nanoseconds since 1970 less CLOCK_BOOTTIME; 0 while nobody
knows."""

ISSUED_UNTIL = 5
"""The word of the host until when the filter of issued serials decides: CLOCK_BOOTTIME in nanoseconds."""

_IDENTITY = 1
_IDENTITY_WORDS = 2

_HOST_WORDS = 64

SILENCE_SECONDS = 5.0
"""A process that hasn't said for so long that it is alive isn't ready, and is killed."""

Lane = memoryview


class Segment:
    """The shared memory of one host, in an anonymous file of a fixed size that forked processes share."""

    def __init__(self, fd: int) -> None:
        """Map what `create` has made.

        Raises:
            ValueError: it isn't a segment of this version, or its size isn't what its header says.
        """
        octets = os.fstat(fd).st_size
        if octets < _HEADER_WORDS * WORD:
            raise ValueError(f"{octets} octets are too few for a segment's header")
        self._map = mmap.mmap(fd, octets)
        self._octets = memoryview(self._map)
        header = self._octets[: _HEADER_WORDS * WORD].cast("Q")
        if header[_MAGIC] != MAGIC:
            raise ValueError("it isn't a segment: it begins with something else")
        if header[_VERSION] != VERSION:
            raise ValueError(f"the segment is of version {header[_VERSION]}, and this is for version {VERSION}")
        if header[_SIZE] != octets:
            raise ValueError(f"the segment has {octets} octets, and its header says {header[_SIZE]}")
        self._places = [(header[_REGIONS + 2 * region], header[_REGIONS + 2 * region + 1]) for region in Region]
        self.lanes: int = header[_LANES]
        self._lane_words = self.region(Region.LANES).cast("Q")
        self.host = self.region(Region.HOST).cast("Q")

    @classmethod
    def create(cls, processes: int, *, floors: int = 0, table: int = 0, limiter: int = 0, issued: int = 0) -> Segment:
        """Make one with all words at zero; processes forked afterwards share it.

        Args:
            processes: how many have a lane; the supervisor has one too.
            floors, table, limiter, issued: octets of these regions.
        """
        lanes = processes + 1
        sizes = (lanes * LANE_WORDS * WORD, _HOST_WORDS * WORD, floors, table, limiter, issued)
        header = [MAGIC, VERSION, 0, lanes]
        end = _in_pages(_HEADER_WORDS * WORD)
        for size in sizes:
            header += [end, size]
            end += _in_pages(size)
        header[_SIZE] = end
        fd = os.memfd_create("certstatus", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, end)
            os.pwrite(fd, b"".join(word.to_bytes(WORD, "little") for word in header), 0)
            # A process that could shrink it would end all others by SIGBUS.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            segment = cls(fd)
            segment._name()
            return segment
        finally:
            os.close(fd)  # the mapping keeps the memory

    def renew(self) -> None:
        """As if it had just been made, but for the lanes, whose counters go on. Nobody else may use it meanwhile."""
        for region in set(Region) - {Region.LANES}:
            offset, size = self._places[region]
            if size:
                self._map.madvise(mmap.MADV_REMOVE, offset, _in_pages(size))
        self._name()

    def _name(self) -> None:
        for word in range(_IDENTITY, _IDENTITY + _IDENTITY_WORDS):
            self.host[word] = int.from_bytes(os.urandom(WORD), "little")

    @property
    def identity(self) -> str:
        """A name that no other segment has."""
        return "".join(f"{word:016x}" for word in self.host[_IDENTITY : _IDENTITY + _IDENTITY_WORDS])

    def region(self, region: Region) -> memoryview:
        """The octets of one part."""
        offset, size = self._places[region]
        return self._octets[offset : offset + size]

    def lane(self, index: int) -> Lane:
        """The words of one process."""
        if not 0 <= index < self.lanes:
            raise IndexError(f"lane {index} of {self.lanes}")
        return self._lane_words[index * LANE_WORDS : (index + 1) * LANE_WORDS]

    @property
    def supervisor_lane(self) -> Lane:
        """The words of the supervisor."""
        return self.lane(self.lanes - 1)

    def total(self, word: int) -> int:
        """The sum of one word over all lanes."""
        return sum(self._lane_words[word::LANE_WORDS])


def _in_pages(octets: int) -> int:
    return -(-octets // mmap.PAGESIZE) * mmap.PAGESIZE

"""The shared memory of a host: its table of records, their floors, and until when they may be believed."""

from __future__ import annotations

import os
from dataclasses import dataclass

from responder.config import Config
from responder.host.deadline import Deadline
from responder.host.segment import Region, Segment
from responder.pki import Floors, Table

_KEY_OCTETS = 96


@dataclass(frozen=True, slots=True)
class HostMemory:
    """What one process sees of it."""

    table: Table
    floors: Floors
    deadline: Deadline
    identity: str

    @property
    def lease_seconds_left(self) -> float:
        """How long this host may answer without reaching the database."""
        return self.deadline.seconds_left

    @property
    def floors_taken(self) -> float:
        """How much of the room for floors was ever used: 0 to 1."""
        return self.floors.taken / self.floors.places

    @classmethod
    def of(cls, segment: Segment, place: int) -> HostMemory:
        """As the process in this place writes in it."""
        floors = Floors(segment.region(Region.FLOORS))
        table = Table(segment.region(Region.TABLE), floors, owner=place + 1)
        return cls(table, floors, Deadline(segment), segment.identity)


def create_memory(config: Config, processes: int) -> Segment:
    """Make it, for so many processes beside the one that makes it."""
    megabyte = 1 << 20
    segment = Segment.create(
        processes, floors=config.table.floor_megabytes * megabyte, table=config.table.megabytes * megabyte
    )
    Floors.lay_out(segment.region(Region.FLOORS), os.urandom(_KEY_OCTETS))
    Table.lay_out(segment.region(Region.TABLE), os.urandom(_KEY_OCTETS))
    return segment

"""Until when a host may believe what its shared memory says. A deadline needs no living writer."""

from __future__ import annotations

import time
from collections.abc import Callable

from responder.host.segment import DATABASE_CLOCK, TRUSTED_UNTIL, Segment


def boot_nanoseconds() -> int:
    """CLOCK_BOOTTIME: it goes on while the machine sleeps, and nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Deadline:
    """One word of a segment, which one process moves and all compare with the clock."""

    def __init__(
        self, segment: Segment, word: int = TRUSTED_UNTIL, *, clock: Callable[[], int] = boot_nanoseconds
    ) -> None:
        self._words = segment.host
        self._word = word
        self._clock = clock

    @property
    def has_passed(self) -> bool:
        """Whether it is over, or was never set."""
        return self._clock() >= self._words[self._word]

    @property
    def seconds_left(self) -> float:
        """How long it lasts yet; 0 when it is over."""
        return float(max(0, self._words[self._word] - self._clock())) / 1e9

    def now(self) -> int:
        """The clock that it is compared with, in nanoseconds."""
        return self._clock()

    def move_to(self, moment: int) -> None:
        """Let it last until then, which may be earlier than it did."""
        self._words[self._word] = moment


class DatabaseClock:
    """What the database's clock says, for all processes of a host: whatever is done to this host's own clock."""

    def __init__(self, segment: Segment, *, clock: Callable[[], int] = boot_nanoseconds) -> None:
        self._words = segment.host
        self._clock = clock

    def tell(self, nanoseconds: int) -> None:
        """It has just said this, since 1970."""
        self._words[DATABASE_CLOCK] = nanoseconds - self._clock()

"""Knows in a host's memory which certificates were issued, so that a serial which never was costs no look-up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from responder import log

_log = log.get("ocsp.issued")

CURRENT_SECONDS = 10.0
"""So long after the database was last asked the filter decides; the keeper asks every second, on a busy host later."""


class Filter(Protocol):
    """See `responder.pki.Issued`."""

    def add(self, names: Iterable[bytes], /) -> None:
        """From now on these may have been issued."""


class MovableDeadline(Protocol):
    """See `responder.host.deadline.Deadline`."""

    def move_to(self, moment: int) -> None:
        """Let it last until then."""


class Everything(Protocol):
    """All certificates that there are."""

    def everything_issued(self) -> AsyncGenerator[Sequence[bytes], None]:
        """The issuer's tag and the serial of each, from one snapshot, some at a time.

        Raises:
            StatusUnavailable: the authority can't be reached.
        """


class IssuedSerials:
    """The one writer of a host's filter. It decides while it is complete (all that there was when it began was read)
    and current (all that came since was learned, a moment ago)."""

    def __init__(self, issued: Filter, current: MovableDeadline) -> None:
        self._issued = issued
        self._current = current
        self._is_complete = False
        self._doubts = 0
        self.doubt()

    def learn(self, names: Iterable[bytes]) -> None:
        """These (issuer's tag and serial) are new."""
        self._issued.add(names)

    def doubt(self) -> None:
        """Something may have been missed: it decides nothing until all was read again."""
        self._doubts += 1
        self._is_complete = False
        self._current.move_to(0)

    def is_current(self, moment: int) -> None:
        """All was learned that there was at this moment, in nanoseconds of the deadline's clock."""
        if self._is_complete:
            self._current.move_to(moment + int(CURRENT_SECONDS * 1e9))

    async def complete(self, source: Everything) -> bool:
        """Read all that there is, unless that was done. To be called after the first changes were learned: what is
        issued after the snapshot of these is learned with the next ones.

        Raises:
            StatusUnavailable: the authority can't be reached.
        """
        if self._is_complete:
            return False
        doubts, count = self._doubts, 0
        async with aclosing(source.everything_issued()) as everything:
            async for names in everything:
                self._issued.add(names)
                count += len(names)
                await asyncio.sleep(0)
        if doubts != self._doubts:
            return True  # it began before
        self._is_complete = True
        _log.info("issued_serials_known", certificates=count)
        return False

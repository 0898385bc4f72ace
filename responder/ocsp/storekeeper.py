"""Decides which run of the record store readers may trust; what `work` does beside signing (decision 0006)."""

from __future__ import annotations

from typing import Protocol

from responder import log
from responder.pki import StoreRun

_log = log.get("ocsp.storekeeper")


class StoreRuns(Protocol):
    """Where it is kept which run is in use."""

    async def current(self) -> StoreRun:
        """As it is now."""

    async def see(self, run: str, *, owner: str) -> StoreRun:
        """Say which run answers now. One that is new is the one in use from here on, and not complete: all changes that
        a living answer may be older than are open again. Unless another process saw another run a moment ago: then
        that one stays, and it is returned."""

    async def complete(self, run: str) -> bool:
        """Let readers trust this run, if every change that had to be put again is closed."""

    async def newest_version(self) -> tuple[int, int]:
        """The highest (epoch, number) that the database has given."""

    async def set_ahead(self, version: tuple[int, int] | None) -> None:
        """Say that the store has seen a version that the database hasn't given; None: it hasn't."""


class RunningStore(Protocol):
    """A record store that has runs."""

    async def ping(self) -> str:
        """The name of the run that answers now; raises as `newest`."""

    async def newest(self, version: tuple[int, int]) -> tuple[int, int]:
        """Tell the highest (epoch, number) that the database has given; returns the highest that was ever told, as far
        as the store remembers.

        Raises:
            StoreUnavailable: no answer in time.
        """


class StoreKeeper:
    """Sees when the record store is another run than before, and when every change is in it again.

    The relay puts the changes; nothing here does.
    """

    def __init__(self, store: RunningStore, runs: StoreRuns, *, owner: str) -> None:
        self._store = store
        self._runs = runs
        self._owner = owner
        self._told: str | None = None
        self._is_ahead = False

    async def once(self) -> bool:
        """Look once; True when readers may trust the run that answers now.

        Raises:
            StatusUnavailable, StoreUnavailable: the next call looks again.
        """
        run = await self._store.ping()
        state = await self._runs.see(run, owner=self._owner)
        if state.run != run:
            self._tell(run, "store_is_another", in_use=state.run, remedy="let redis.url be the same on every host")
            return False
        await self._compare_versions(known=state.ahead)
        if not state.complete:
            self._tell(run, "store_incomplete", changes_to_put=state.replayed)
            if not await self._runs.complete(run):
                return False
            done = await self._runs.current()
            rate = done.changes_per_second
            _log.info(
                "store_complete",
                run=run,
                changes=done.replayed,
                changes_per_second=None if rate is None else round(rate),
            )
        return True

    async def _compare_versions(self, *, known: tuple[int, int] | None) -> None:
        """A store that has seen a version above all that the database has given has seen commits that are lost."""
        ours = await self._runs.newest_version()
        seen = await self._store.newest(ours)
        ahead = seen if seen > ours else None
        if ahead is not None and not self._is_ahead:
            _log.error("database_lost_commits", seen=seen, database=ours, remedy="certstatus db recover")
        self._is_ahead = ahead is not None
        if ahead != known:  # every process reads the run again when it is written
            await self._runs.set_ahead(ahead)

    def _tell(self, run: str, event: str, **details: object) -> None:
        """One line when it is news."""
        if self._told != f"{event} {run}":
            self._told = f"{event} {run}"
            _log.warning(event, run=run, **details)

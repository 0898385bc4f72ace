"""One issuer's trouble is its own: what fails for one is tried again later and later, and keeps no other waiting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from responder import log, metrics
from responder.errors import CertstatusError, IssuerUnavailable, StatusUnavailable, StoreUnavailable
from responder.interfaces import TroubleStore

_log = log.get("troubles")

FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 60.0

TOLD_AGAIN_SECONDS = 120.0
"""Others forget what they haven't heard of for longer."""


@dataclass(slots=True)
class _Trouble:
    pause: float
    retry_at: float
    error: str
    told_at: float | None = None


class Troubles:
    """The issuers for which one task of this process fails, and until when each is left alone."""

    def __init__(
        self, task: str, store: TroubleStore | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`task` is one of `metrics.TASKS`; `store` tells other processes and hosts (None: nobody)."""
        self._task = task
        self._store = store
        self._monotonic = monotonic
        self._by_issuer: dict[str, _Trouble] = {}
        self._mended: set[str] = set()

    def may_try(self, issuer_id: str) -> bool:
        """Whether nothing failed for this issuer, or long enough ago."""
        trouble = self._by_issuer.get(issuer_id)
        return trouble is None or self._monotonic() >= trouble.retry_at

    def has(self, issuer_id: str) -> bool:
        """Whether something failed for this issuer and hasn't been mended."""
        return issuer_id in self._by_issuer

    def waiting(self) -> list[str]:
        """The issuers that are left alone for now."""
        return [issuer_id for issuer_id in self._by_issuer if not self.may_try(issuer_id)]

    def errors(self) -> dict[str, str]:
        """What fails, by issuer."""
        return {issuer_id: trouble.error for issuer_id, trouble in self._by_issuer.items()}

    def failed(self, issuer_id: str, error: Exception) -> None:
        """Something failed for an issuer; a line in the log when that is news."""
        text = str(error) if isinstance(error, CertstatusError) else repr(error)
        metrics.TROUBLES.inc(self._task)
        before = self._by_issuer.get(issuer_id)
        pause = FIRST_PAUSE_SECONDS if before is None else min(2 * before.pause, LAST_PAUSE_SECONDS)
        self._by_issuer[issuer_id] = _Trouble(pause, self._monotonic() + pause, text)
        self._mended.discard(issuer_id)
        if before is None or before.error != text or pause == LAST_PAUSE_SECONDS:
            _log.error("issuer_in_trouble", task=self._task, issuer=issuer_id, error=text, again_in_seconds=pause)

    def mended(self, issuer_id: str) -> None:
        """It works for this issuer."""
        if self._by_issuer.pop(issuer_id, None) is not None:
            self._mended.add(issuer_id)
            _log.info("issuer_mended", task=self._task, issuer=issuer_id)

    @contextmanager
    def guarding(self, issuer_id: str) -> Iterator[None]:
        """Let what fails in the block be this issuer's trouble. A dependency that fails is everybody's, and rises."""
        try:
            yield
        except IssuerUnavailable as error:
            self.failed(issuer_id, error)
        except (StatusUnavailable, StoreUnavailable):
            raise
        except Exception as error:  # a fault in a row, in a key, or in us: the others go on whatever it is
            self.failed(issuer_id, error)
        else:
            self.mended(issuer_id)

    async def tell(self) -> None:
        """Bring what is news to the store; to be called now and then."""
        if self._store is None:
            return
        for issuer_id, trouble in list(self._by_issuer.items()):
            now = self._monotonic()
            if trouble.told_at is None or now - trouble.told_at > TOLD_AGAIN_SECONDS:
                await self._store.report(self._task, issuer_id, trouble.error)
                trouble.told_at = now
        while self._mended:
            issuer_id = next(iter(self._mended))
            await self._store.clear(self._task, issuer_id)
            self._mended.discard(issuer_id)


def telling(*troubles: Troubles) -> Callable[[], Awaitable[bool]]:
    """What brings the troubles of this process's tasks to where others see them."""

    async def tell_once() -> bool:
        for each in troubles:
            await each.tell()
        return False

    return tell_once

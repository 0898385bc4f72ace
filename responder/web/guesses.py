"""Wrong tokens: a client may send some, and then one every few seconds; what it sends before isn't looked at."""

from __future__ import annotations

import time
from collections.abc import Callable

AT_ONCE = 10
SECONDS_EACH = 3.0

_CLIENTS = 1000
"""That are remembered; those that have waited for longest are forgotten first."""


class WrongTokens:
    """Counts them by client."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent_until: dict[str, float] = {}

    def wait(self, client: str) -> float:
        """In how many seconds this client may try again; 0.0 is now."""
        spent = self._spent_until.get(client, 0.0) - self._clock()
        return max(0.0, spent - (AT_ONCE - 1) * SECONDS_EACH)

    def count(self, client: str) -> None:
        """It has sent a wrong one."""
        now = self._clock()
        self._spent_until[client] = max(self._spent_until.get(client, 0.0), now) + SECONDS_EACH
        if len(self._spent_until) > _CLIENTS:
            self._spent_until = {name: until for name, until in self._spent_until.items() if until > now}
        while len(self._spent_until) > _CLIENTS:
            del self._spent_until[min(self._spent_until, key=self._spent_until.__getitem__)]

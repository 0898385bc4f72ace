"""What readiness is made of: one method a check."""

from __future__ import annotations

import time
from collections.abc import Sequence

from responder import metrics
from responder.deadlines import within
from responder.errors import CertstatusError, StatusUnavailable
from responder.host.segment import HEARTBEAT, RECENT_DEATHS, SILENCE_SECONDS, Segment
from responder.interfaces import Clock
from responder.metrics import Gauge
from responder.pki import Issuers
from responder.signing.answers import MAX_CLOCK_DIFFERENCE
from responder.web.gauges import memory_gauges, outlook_in_time, store_gauges
from responder.web.health import Check, Finding
from responder.web.sources import HostState, Sources

DEATHS_A_MINUTE = 3
"""A process that ends so often within a minute isn't doing its work, though it is started again."""

METRICS_SECONDS = 0.9
"""How long gauges may take to be read; without them the counters are sent alone."""


class Readiness:
    """The checks of one host."""

    def __init__(
        self,
        sources: Sources,
        *,
        issuers: Issuers,
        segment: Segment,
        processes: Sequence[str],
        clock: Clock,
        host: str,
        memory: HostState | None = None,
    ) -> None:
        """`processes` are those of this host (`host`), in the order of the segment's lanes; `memory` of one that
        answers."""
        self._sources = sources
        self._issuers = issuers
        self._segment = segment
        self._processes = tuple(processes)
        self._clock = clock
        self._host = host
        self._memory = memory

    def checks(self) -> dict[str, Check]:
        """All of them, by name."""
        return {
            "postgres": self._postgres,
            "redis": self._redis,
            "signers": self._signers,
            "crls": self._crls,
            "offline": self._offline,
            "workers": self._workers,
            "clock": self._clocks,
            **({} if self._memory is None else {"lease": self._lease}),
        }

    async def _workers(self) -> Finding:
        """The processes of this host: one that keeps ending isn't working, though each time it is ready at first."""
        now = time.monotonic_ns()
        silent, ending = [], []
        for lane, name in enumerate(self._processes):
            words = self._segment.lane(lane)
            if now - words[HEARTBEAT] >= SILENCE_SECONDS * 1_000_000_000:
                silent.append(name)
            if words[RECENT_DEATHS] >= DEATHS_A_MINUTE:
                ending.append(f"{name} ended {words[RECENT_DEATHS]} times within a minute")
        if ending:
            raise StatusUnavailable("; ".join(ending))
        workers = [name for name in self._processes if name.startswith("serve")]
        others = [name for name in silent if not name.startswith("serve")]
        alive = len(workers) - (len(silent) - len(others))
        if others or (workers and not alive):
            raise StatusUnavailable(f"not alive: {', '.join(silent)}")
        if not workers:
            return Finding(f"{', '.join(self._processes)} alive")
        return Finding(f"{alive} of {len(workers)} workers alive", is_degraded=bool(silent))

    async def _lease(self) -> Finding:
        """Without a lease nothing is answered here."""
        assert self._memory is not None
        left = self._memory.lease_seconds_left
        if not left:
            raise StatusUnavailable(
                "it is over: the keeper of this host hasn't reached the database for too long, so nothing is answered"
            )
        return Finding(f"{left:.0f} s left")

    async def _signers(self) -> Finding:
        now = self._clock.now()
        rows = await self._sources.responder_certificates()
        valid = {row.issuer_id for row in rows if row.not_before <= now < row.not_after}
        signing = [issuer.id for issuer in self._issuers if not issuer.policy.offline]
        missing = [issuer_id for issuer_id in signing if issuer_id not in valid]
        if missing and len(missing) == len(signing):
            raise StatusUnavailable(f"no responder certificate is valid for any issuer ({_some(missing)})")
        reported = await self._sources.reported_troubles()
        keyless = {each.issuer_id for each in reported if each.task == "signer" and each.host == self._host}
        if signing and keyless >= set(signing):
            raise StatusUnavailable("no issuer has a key that signs on this host; put the keys into keys.directory")
        troubled = sorted({trouble.issuer_id for trouble in reported})
        detail = f"{len(signing) - len(missing)} of {len(signing)} issuers have a valid responder certificate"
        if missing:
            detail += f", not: {_some(missing)}"
        if troubled:
            detail += f"; in trouble (?verbose says why): {_some(troubled)}"
        return Finding(detail, is_degraded=bool(missing or troubled))

    async def _postgres(self) -> Finding:
        lag = await self._sources.presign_lag()
        alarm = (await self._sources.signing_forecast()).alarm
        pending = await self._sources.pending_count()
        unsayable = await self._sources.unsayable_count()
        detail = (
            f"{len(self._issuers)} issuers, {pending} changes to sign, pre-signing {lag.total_seconds():.0f} s late"
        )
        if unsayable:
            detail += f", {unsayable} rows that no answer can say (certstatus db check)"
        if alarm:
            detail += f"; {alarm}"
        return Finding(detail, is_degraded=bool(unsayable or alarm))

    async def _redis(self) -> Finding:
        run = await self._sources.store_run_now()
        state = await self._sources.store_run_in_use()
        if state.ahead is not None:
            raise StatusUnavailable(
                f"it has seen version {state.ahead[1]} of epoch {state.ahead[0]}, which the database hasn't given: "
                "commits were lost; see README, certstatus db recover"
            )
        if state.run != run:
            raise StatusUnavailable(
                "it was started again, or is another than the one in use; is certstatus work running, with the same "
                "redis.url?"
            )
        if not state.complete:
            raise StatusUnavailable(
                f"{state.replayed} changes are put into it again; until then answers are signed live"
            )
        return Finding("answers, and holds every change")

    async def _clocks(self) -> Finding:
        """Nothing is signed on a host whose clock isn't the database's (design §4.8)."""
        difference = (self._clock.now() - await self._sources.database_now()).total_seconds()
        if abs(difference) > MAX_CLOCK_DIFFERENCE.total_seconds():
            raise StatusUnavailable(
                f"this host's clock is {abs(difference):,.0f} s {'ahead of' if difference > 0 else 'behind'} the "
                "database's, so nothing is signed here; set the wrong one"
            )
        return Finding(f"{abs(difference):.0f} s apart from the database's")

    async def _crls(self) -> Finding:
        now = self._clock.now()
        heads = await self._sources.crl_heads()
        expired = sorted({head.issuer_id for head in heads if head.next_update <= now})
        if expired and len(expired) == len(heads):
            raise StatusUnavailable(f"every CRL is past its nextUpdate ({_some(expired)})")
        detail = f"{len(heads)} published"
        if expired:
            detail += f", past nextUpdate: {_some(expired)}"
        return Finding(detail, is_degraded=bool(expired))

    async def _offline(self) -> Finding:
        """What was made elsewhere ends unless more comes."""
        outlook = await outlook_in_time(self._sources)
        if outlook is None:
            return Finding("not read in time; certstatus work logs when answers end", is_degraded=True)
        alarms = [each.alarm for each in outlook if each.alarm is not None]
        said = sum(each.certificates - each.without for each in outlook)
        detail = "; ".join(alarms) or f"{said:,} certificates of {len(outlook)} issuers have imported answers"
        return Finding(detail, is_degraded=bool(alarms))

    async def metrics_text(self) -> bytes:
        """For Prometheus; without what would take too long, or can't be had."""
        gauges: list[Gauge] = []
        try:
            gauges = await within(METRICS_SECONDS, store_gauges(self._sources))
        except (TimeoutError, CertstatusError):
            gauges = [Gauge("stores_read", "Whether the gauges of the stores could be read.", {}, 0)]
        of_memory = [] if self._memory is None else memory_gauges(self._memory)
        return metrics.render(self._segment, [*gauges, *of_memory])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

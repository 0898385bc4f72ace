"""What readiness and metrics are made of: one method a check, and the gauges that are read when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from responder import metrics
from responder.deadlines import within
from responder.errors import CertstatusError, StatusUnavailable
from responder.host.segment import HEARTBEAT, RECENT_DEATHS, SILENCE_SECONDS, Segment
from responder.interfaces import Clock
from responder.metrics import Gauge
from responder.pki import CRLHead, Issuers, ReportedTrouble, ResponderCertificate, SigningForecast, StoreRun
from responder.signing.answers import MAX_CLOCK_DIFFERENCE
from responder.web.health import Check, Finding

DEATHS_A_MINUTE = 3
"""A process that ends so often within a minute isn't doing its work, though it is started again."""

METRICS_SECONDS = 0.9
"""How long gauges may take to be read; without them the counters are sent alone."""


class Sources(Protocol):
    """Where the checks look; the stores of the process, under one roof (`responder.roles.stores.Stores`)."""

    async def responder_certificates(self) -> list[ResponderCertificate]: ...
    async def presign_lag(self) -> timedelta: ...
    async def signing_forecast(self) -> SigningForecast: ...
    async def pending_count(self) -> int: ...
    async def unsayable_count(self) -> int: ...
    async def store_run_now(self) -> str: ...
    async def store_run_in_use(self) -> StoreRun: ...
    async def database_now(self) -> datetime: ...
    async def crl_heads(self) -> list[CRLHead]: ...
    async def reported_troubles(self) -> list[ReportedTrouble]: ...


class HostState(Protocol):
    """What the shared memory says of a host that answers."""

    @property
    def lease_seconds_left(self) -> float: ...
    @property
    def floors_taken(self) -> float: ...
    @property
    def table_taken(self) -> float: ...
    @property
    def issued_false_positives(self) -> float: ...


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
        missing = [issuer.id for issuer in self._issuers if issuer.id not in valid]
        if missing and len(missing) == len(self._issuers):
            raise StatusUnavailable(f"no responder certificate is valid for any issuer ({_some(missing)})")
        reported = await self._sources.reported_troubles()
        keyless = {each.issuer_id for each in reported if each.task == "signer" and each.host == self._host}
        if len(self._issuers) and keyless >= {issuer.id for issuer in self._issuers}:
            raise StatusUnavailable("no issuer has a key that signs on this host; put the keys into keys.directory")
        troubled = sorted({trouble.issuer_id for trouble in reported})
        detail = (
            f"{len(self._issuers) - len(missing)} of {len(self._issuers)} issuers have a valid responder certificate"
        )
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

    async def metrics_text(self) -> bytes:
        """For Prometheus; without what would take too long, or can't be had."""
        gauges: list[Gauge] = []
        try:
            gauges = await within(METRICS_SECONDS, self._gauges())
        except (TimeoutError, CertstatusError):
            gauges = [Gauge("stores_read", "Whether the gauges of the stores could be read.", {}, 0)]
        return metrics.render(self._segment, [*gauges, *self._memory_gauges()])

    def _memory_gauges(self) -> list[Gauge]:
        if self._memory is None:
            return []
        return [
            Gauge(
                "lease_seconds_left",
                "How long this host may answer without reaching the database.",
                {},
                self._memory.lease_seconds_left,
            ),
            Gauge(
                "floors_taken_ratio", "How much of the room for floors was ever used.", {}, self._memory.floors_taken
            ),
            Gauge(
                "table_taken_ratio",
                "How full the table of records is, by a sample of it.",
                {},
                self._memory.table_taken,
            ),
            Gauge(
                "issued_false_positives_ratio",
                "How many of the serials that were never issued are looked for all the same, by a sample.",
                {},
                self._memory.issued_false_positives,
            ),
        ]

    async def _gauges(self) -> list[Gauge]:
        state = await self._sources.store_run_in_use()
        lag = await self._sources.presign_lag()
        return [
            Gauge("stores_read", "Whether the gauges of the stores could be read.", {}, 1),
            Gauge("outbox_open", "Changes not signed yet.", {}, await self._sources.pending_count()),
            Gauge("presign_lag_seconds", "How late the latest slice is.", {}, lag.total_seconds()),
            *_forecast_gauges(await self._sources.signing_forecast()),
            Gauge(
                "statuses_unsayable",
                "Rows that no answer can say (certstatus db check).",
                {},
                await self._sources.unsayable_count(),
            ),
            Gauge("record_store_complete", "Whether readers may trust the record store.", {}, float(state.complete)),
            Gauge(
                "record_store_ahead",
                "Whether the record store has seen versions that the database lost.",
                {},
                float(state.ahead is not None),
            ),
            Gauge(
                "record_store_replay_changes_per_second",
                "How fast changes were put again when the record store had started again.",
                {},
                state.changes_per_second or 0.0,
            ),
            *(
                Gauge(
                    "crl_next_update_seconds",
                    "When the published CRL ends, in Unix time.",
                    {"issuer": head.issuer_id, "scope": head.scope},
                    head.next_update.timestamp(),
                )
                for head in await self._sources.crl_heads()
            ),
            *(
                Gauge(
                    "issuer_trouble",
                    "A task that fails for an issuer, in Unix time since when.",
                    {"issuer": trouble.issuer_id, "task": trouble.task, "host": trouble.host},
                    trouble.since.timestamp(),
                )
                for trouble in await self._sources.reported_troubles()
            ),
        ]


def _forecast_gauges(forecast: SigningForecast) -> list[Gauge]:
    ratio, catch_up = forecast.capacity_ratio, forecast.catch_up_seconds
    gauges = [
        Gauge("presign_tasks", "Slices that are signed at once, on all hosts.", {}, forecast.tasks),
        Gauge(
            "presign_signatures_per_second_needed",
            "That everything is signed in its turn.",
            {},
            forecast.signatures_per_second,
        ),
    ]
    if catch_up is not None:
        gauges.append(Gauge("presign_catch_up_seconds", "To sign all that is due now.", {}, catch_up))
    if ratio is not None:
        gauges += [
            Gauge("presign_capacity_ratio", "How many times what is needed can be signed; 1 is the least.", {}, ratio),
            Gauge(
                "presign_signatures_per_second_possible",
                "By how long each slice took the last time.",
                {},
                ratio * forecast.signatures_per_second,
            ),
        ]
    return gauges


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

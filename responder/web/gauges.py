"""Gauges: what is read when it is asked for, rather than counted."""

from __future__ import annotations

from collections.abc import Sequence

from responder.deadlines import within
from responder.metrics import Gauge
from responder.pki import OfflineOutlook, SigningForecast
from responder.web.sources import HostState, Sources

OUTLOOK_SECONDS = 0.4


async def outlook_in_time(sources: Sources) -> list[OfflineOutlook] | None:
    """Of very many certificates it isn't known in time, and then all the rest goes on: None."""
    try:
        return await within(OUTLOOK_SECONDS, sources.offline_outlook())
    except TimeoutError:
        return None


async def store_gauges(sources: Sources) -> list[Gauge]:
    """What the stores say."""
    state = await sources.store_run_in_use()
    lag = await sources.presign_lag()
    outlook = await outlook_in_time(sources) or []
    return [
        Gauge("stores_read", "Whether the gauges of the stores could be read.", {}, 1),
        Gauge("outbox_open", "Changes not signed yet.", {}, await sources.pending_count()),
        Gauge("presign_lag_seconds", "How late the latest slice is.", {}, lag.total_seconds()),
        *_forecast_gauges(await sources.signing_forecast()),
        Gauge(
            "statuses_unsayable",
            "Rows that no answer can say (certstatus db check).",
            {},
            await sources.unsayable_count(),
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
            for head in await sources.crl_heads()
        ),
        *_offline_gauges(outlook),
        *(
            Gauge(
                "issuer_trouble",
                "A task that fails for an issuer, in Unix time since when.",
                {"issuer": trouble.issuer_id, "task": trouble.task, "host": trouble.host},
                trouble.since.timestamp(),
            )
            for trouble in await sources.reported_troubles()
        ),
    ]


def memory_gauges(memory: HostState) -> list[Gauge]:
    """What the shared memory of a host says."""
    return [
        Gauge(
            "lease_seconds_left",
            "How long this host may answer without reaching the database.",
            {},
            memory.lease_seconds_left,
        ),
        Gauge("floors_taken_ratio", "How much of the room for floors was ever used.", {}, memory.floors_taken),
        Gauge(
            "table_taken_ratio",
            "How full the table of records is, by a sample of it.",
            {},
            memory.table_taken,
        ),
        Gauge(
            "issued_false_positives_ratio",
            "How many of the serials that were never issued are looked for all the same, by a sample.",
            {},
            memory.issued_false_positives,
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


def _offline_gauges(outlook: Sequence[OfflineOutlook]) -> list[Gauge]:
    return [
        *(
            Gauge(
                "imported_answers_missing",
                "Certificates of an offline issuer of which nothing can be said.",
                {"issuer": each.issuer_id},
                each.without,
            )
            for each in outlook
        ),
        *(
            Gauge(
                "imported_answers_end_seconds",
                "When the first imported answer in use ends, in Unix time.",
                {"issuer": each.issuer_id},
                each.first_end.timestamp(),
            )
            for each in outlook
            if each.first_end is not None
        ),
    ]

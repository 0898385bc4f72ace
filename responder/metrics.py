"""Counters, summed over the processes of a host.

Each process has a lane of words in the host's shared memory (`host.segment`), so counting is one addition without a
lock, a restarted process goes on where its lane stands, and `/metrics` is the sum over the lanes. Every metric is
declared on this page, with all the values that its labels may have.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from responder import __version__
from responder.host.segment import (
    DATABASE_CLOCK,
    FIRST_COUNTER,
    ISSUED_UNTIL,
    LANE_WORDS,
    TRUSTED_UNTIL,
    WORD,
    Lane,
    Segment,
)

_NANOSECONDS = 1_000_000_000

_lane: Lane = memoryview(bytearray(LANE_WORDS * WORD)).cast("Q")
_next_word = itertools.count(FIRST_COUNTER)


def attach(lane: Lane) -> None:
    """Count into this lane from now on; before that a private one is used."""
    global _lane
    _lane = lane


def _take_words(count: int) -> int:
    first = next(_next_word)
    for _ in range(count - 1):
        last = next(_next_word)
        assert last < LANE_WORDS, "more words than a lane has"
    return first


class Counter:
    """A counter with a word for each combination of its labels' values. Another value is a KeyError: a bug."""

    def __init__(self, name: str, help_text: str, **labels: Sequence[str]) -> None:
        self.name = name
        self._help = help_text
        self._labels = tuple(labels)
        combinations = list(itertools.product(*labels.values()))
        first = _take_words(len(combinations))
        self._words = {values: first + index for index, values in enumerate(combinations)}
        METRICS.append(self)

    def inc(self, *values: str, amount: int = 1) -> None:
        """Count in this process's lane."""
        _lane[self._words[values]] += amount

    def word(self, *values: str) -> int:
        """Which word of a lane it is."""
        return self._words[values]

    def value(self, *values: str) -> int:
        """What this process has counted."""
        return _lane[self._words[values]]

    def family(self, segment: Segment) -> Metric:
        """The sums, for Prometheus; combinations never seen are left out where there are labels."""
        family = CounterMetricFamily(self.name.removesuffix("_total"), self._help, labels=self._labels)
        for values, word in self._words.items():
            total = segment.total(word)
            if total or not self._labels:
                family.add_metric(values, total)
        return family


class Histogram:
    """Observations in buckets, with one optional label. Sums are kept in nanoseconds of the unit."""

    def __init__(self, name: str, help_text: str, bounds: Sequence[float], **labels: Sequence[str]) -> None:
        self.name = name
        self._help = help_text
        self.bounds = tuple(bounds)
        self._labels = tuple(labels)
        combinations = list(itertools.product(*labels.values()))
        width = len(bounds) + 2  # a bucket each, one beyond, the sum
        first = _take_words(width * len(combinations))
        self._words = {values: first + index * width for index, values in enumerate(combinations)}
        METRICS.append(self)

    def word(self, *values: str) -> int:
        """The word of a lane that has the first bucket."""
        return self._words[values]

    def observe(self, value: float, *values: str, count: int = 1) -> None:
        """Count `count` observations of this value."""
        first = self._words[values]
        bucket = next((index for index, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        _lane[first + bucket] += count
        _lane[first + len(self.bounds) + 1] += int(value * count * _NANOSECONDS)

    def family(self, segment: Segment) -> Metric:
        """The sums, for Prometheus."""
        family = HistogramMetricFamily(self.name, self._help, labels=self._labels)
        for values, first in self._words.items():
            counts = [segment.total(first + index) for index in range(len(self.bounds) + 1)]
            if self._labels and not any(counts):
                continue
            cumulative = list(itertools.accumulate(counts))
            bounds = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
            total = segment.total(first + len(self.bounds) + 1) / _NANOSECONDS
            family.add_metric(values, list(zip(bounds, cumulative, strict=True)), total)
        return family


METRICS: list[Counter | Histogram] = []

_RESULTS = (
    "good", "revoked", "unknown", "several", "malformed", "nonce_malformed", "sig_required", "unauthorized",
    "rate_limited", "overloaded", "status_unavailable", "internal_error", "signing_failed",
)  # fmt: skip
_KEYS = (
    "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ecdsa-brainpool256", "ecdsa-brainpool384", "ecdsa-brainpool512",
    "rsa-2048", "rsa-3072", "rsa-4096", "rsa-other", "ed25519", "ed448",
    "ml-dsa-44", "ml-dsa-65", "ml-dsa-87",
)  # fmt: skip
_DAY = 86400

REQUESTS = Counter("ocsp_requests_total", "OCSP requests answered.", method=("get", "post", "other"), result=_RESULTS)
ANSWERS = Counter("ocsp_answers_total", "Successful answers, by source.", source=("table", "redis", "live"))
CERT_ID_HASHES = Counter(
    "ocsp_cert_id_hash_total",
    "CertIDs requested, by hash algorithm (9919-01).",
    hash=("sha1", "sha256", "sha384", "sha512", "unknown"),
)
NOT_FOUND = Counter("http_not_found_total", "Requests for unknown paths.")
HTTP_REFUSED = Counter(
    "http_refused_total",
    "Requests refused as HTTP: malformed or ambiguous (400), head too long (431), over the limit and not OCSP (429).",
    reason=("malformed", "too_long", "limited"),
)
CONNECTIONS_CLOSED = Counter(
    "connections_closed_total",
    "Connections closed by us: a request took too long to come, its client had too many, or others wanted in.",
    reason=("slow", "too_many", "crowded", "unannounced", "flood"),
)
NONCE_REQUESTS = Counter("ocsp_nonce_requests_total", "Requests with a nonce.")
NONCES_UNMET = Counter(
    "ocsp_nonces_unmet_total",
    "Answers without the nonce that was asked for: to sign them would have been too much.",
)
NEVER_ISSUED = Counter(
    "ocsp_never_issued_total", "Requests for serials that were never issued, as far as memory alone could tell."
)
SIGNED_REQUESTS = Counter("ocsp_signed_requests_total", "Requests with a signature.")
RESPONSE_AGE = Histogram(
    "ocsp_response_age_seconds",
    "Age of answers: time since this_update (incident I-2).",
    (60, 300, 900, 3600, 6 * 3600, 12 * 3600, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY),
)
SIGNATURES = Counter("ocsp_signatures_total", "Signatures made.", key=_KEYS)
SIGN_SECONDS = Histogram(
    "ocsp_sign_seconds",
    "Time per signature, including the wait for a thread.",
    (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1),
    key=_KEYS,
)
STORE_FAILURES = Counter(
    "store_failures_total",
    "Store calls that failed or timed out.",
    store=("table", "redis"),
    operation=("get", "put"),
)
RECORDS_REFUSED = Counter(
    "records_refused_total", "Records from a store whose signature or dates were wrong; each is a miss."
)
STORE_SKIPPED = Counter(
    "store_skipped_total",
    "Store calls that weren't made, since the store couldn't be reached lately.",
    store=("redis",),
)
STORE_UNTRUSTED = Counter(
    "store_untrusted_total", "Reads from a run of the record store that isn't known to be complete; each is a miss."
)
CRL_REQUESTS = Counter("crl_requests_total", "CRL requests.", result=("ok", "not_modified", "not_found"))
CRL_PUBLISHED = Counter("crl_published_total", "CRLs published.")
CRL_FAILURES = Counter("crl_failures_total", "CRLs not published because a check or a dependency failed.")
ADMIN_REFUSED = Counter("admin_unauthorized_total", "Admin API calls without a valid token.")
REVOCATIONS = Counter("revocations_total", "Status changes requested.", outcome=("done", "pending", "refused"))
REGISTERED = Counter("certificates_registered_total", "Certificates registered by the API.")
OUTBOX_CLOSED = Counter("outbox_closed_total", "Changes written to the record store.")
PRESIGNED = Counter("presigned_total", "Certificates signed again on schedule.")
UNSAYABLE = Counter(
    "statuses_unsayable_total", "Statuses met that can't be encoded in an answer (see certstatus db check)."
)
LINTED = Counter("answers_breaking_rules_total", "Signed answers that break a rule; not given unless they say revoked.")
CHANGES_REFUSED = Counter("changes_refused_total", "Changes not kept by the record store; they stay open.")
TASKS = ("relay", "presign", "crl", "delegate", "signer")
TROUBLES = Counter("issuer_troubles_total", "Task failures confined to one issuer.", task=TASKS)
CHANGES_APPLIED = Counter("changes_applied_total", "Changes whose older answers this host gives no more.")
FLOORS_OVERFLOWN = Counter(
    "floors_overflown_total",
    "Changes without room of their own: all older answers of the issuer are made anew.",
)
BELOW_FLOOR = Counter("below_floor_total", "Answers not given because their status had changed; made again.")
PROCESS_RESTARTS = Counter("process_restarts_total", "Processes restarted by the supervisor.")
MEMORY_RENEWALS = Counter(
    "memory_renewals_total", "Times the memory of a host was made anew because processes crashed one after another."
)


def fast_words() -> dict[str, Any]:
    """Where the native way counts (`_native.Responder`): words of the lane and of the host."""
    statuses, algorithms = ("good", "revoked", "unknown"), ("unknown", "sha1", "sha256", "sha384", "sha512")
    return {
        "trusted_until": TRUSTED_UNTIL,
        "database_clock": DATABASE_CLOCK,
        "requests": [[REQUESTS.word(method, status) for status in statuses] for method in ("get", "post")],
        "several": _by_method("several"),
        "hashes": [CERT_ID_HASHES.word(algorithm) for algorithm in algorithms],
        "answers": ANSWERS.word("table"),
        "fetched": ANSWERS.word("redis"),
        "live": ANSWERS.word("live"),
        "unmet": NONCES_UNMET.word(),
        "unauthorized": _by_method("unauthorized"),
        "nonces": NONCE_REQUESTS.word(),
        "signed": SIGNED_REQUESTS.word(),
        "never_issued": NEVER_ISSUED.word(),
        "issued_until": ISSUED_UNTIL,
        "crls": [CRL_REQUESTS.word("ok"), CRL_REQUESTS.word("not_modified")],
        "ages": RESPONSE_AGE.word(),
        "bounds": RESPONSE_AGE.bounds,
    }


def gate_words() -> dict[str, Any]:
    """Where the gate counts what it refuses (`_native.Gate`): words of the lane."""
    return {
        "rate_limited": _by_method("rate_limited"),
        "overloaded": _by_method("overloaded"),
        **{reason: HTTP_REFUSED.word(reason) for reason in ("limited", "malformed", "too_long")},
        **{reason: CONNECTIONS_CLOSED.word(reason) for reason in ("slow", "too_many", "crowded", "unannounced")},
    }


def signature_words(key: str) -> tuple[int, int]:
    """Where signatures with keys of this name are counted, and their seconds."""
    return SIGNATURES.word(key), SIGN_SECONDS.word(key)


def _by_method(result: str) -> list[int]:
    return [REQUESTS.word(method, result) for method in ("get", "post")]


def observe_signatures(key: str, count: int, seconds: float) -> None:
    """`count` signatures with a key of this name took `seconds` together."""
    SIGNATURES.inc(key, amount=count)
    SIGN_SECONDS.observe(seconds / count, key, count=count)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value read when asked, rather than counted."""

    name: str
    help_text: str
    labels: dict[str, str]
    value: float


class SegmentCollector(Collector):
    """Everything declared here, summed over a segment's lanes, and some gauges."""

    def __init__(self, segment: Segment, gauges: Iterable[Gauge] = ()) -> None:
        self._segment = segment
        self._gauges = list(gauges)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client's `Collector`."""
        build = GaugeMetricFamily("certstatus_build_info", "What is running.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        for metric in METRICS:
            yield metric.family(self._segment)
        for name, group in itertools.groupby(self._gauges, key=lambda gauge: gauge.name):
            gauges = list(group)
            family = GaugeMetricFamily(name, gauges[0].help_text, labels=tuple(gauges[0].labels))
            for gauge in gauges:
                family.add_metric(tuple(gauge.labels.values()), gauge.value)
            yield family


def render(segment: Segment, gauges: Iterable[Gauge] = ()) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(SegmentCollector(segment, gauges))
    return generate_latest(registry)

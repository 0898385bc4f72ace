"""Counters move, are summed over processes, and are read by Prometheus' own parser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from responder import metrics
from responder.host.segment import Segment
from responder.metrics import Gauge


@pytest.fixture
def segment() -> Iterator[Segment]:
    before = metrics._lane
    segment = Segment.create(2)
    metrics.attach(segment.lane(0))
    yield segment
    metrics.attach(before)


def samples(segment: Segment, *gauges: Gauge) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.render(segment, gauges).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_are_summed_over_the_lanes(segment: Segment) -> None:
    metrics.REQUESTS.inc("post", "good")
    metrics.attach(segment.lane(2))
    metrics.REQUESTS.inc("post", "good", amount=4)
    metrics.REQUESTS.inc("get", "revoked")
    found = samples(segment)
    assert found["ocsp_requests_total", (("method", "post"), ("result", "good"))] == 5
    assert found["ocsp_requests_total", (("method", "get"), ("result", "revoked"))] == 1
    assert ("ocsp_requests_total", (("method", "get"), ("result", "good"))) not in found
    assert metrics.REQUESTS.value("post", "good") == 4, "of this process alone"


def test_counters_without_labels_are_there_from_the_start(segment: Segment) -> None:
    assert samples(segment)["crl_published_total", ()] == 0


def test_a_label_value_that_was_not_declared_is_a_bug(segment: Segment) -> None:
    with pytest.raises(KeyError):
        metrics.REQUESTS.inc("put", "good")


def test_histograms(segment: Segment) -> None:
    for age in (0, 60, 61, 10**9):
        metrics.RESPONSE_AGE.observe(age)
    metrics.RESPONSE_AGE.observe(30, count=10)
    found = samples(segment)
    bucket = {
        dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("age_seconds_bucket")
    }
    assert (bucket["60.0"], bucket["300.0"], bucket["604800.0"], bucket["+Inf"]) == (12, 13, 13, 14)
    assert found["ocsp_response_age_seconds_count", ()] == 14
    assert found["ocsp_response_age_seconds_sum", ()] == pytest.approx(10**9 + 121 + 300)


def test_gauges_are_read_when_asked(segment: Segment) -> None:
    gauges = [
        Gauge("signer_expiry_seconds", "Until then.", {"issuer": name}, value) for name, value in (("a", 1), ("b", 2))
    ]
    found = samples(segment, *gauges)
    assert found["signer_expiry_seconds", (("issuer", "a"),)] == 1
    assert found["signer_expiry_seconds", (("issuer", "b"),)] == 2


def test_forked_processes_share_the_segment(segment: Segment) -> None:
    pid = os.fork()
    if pid == 0:
        metrics.attach(segment.lane(1))
        metrics.CRL_PUBLISHED.inc(amount=2**40)
        os._exit(0)
    os.waitpid(pid, 0)
    metrics.CRL_PUBLISHED.inc()
    assert samples(segment)["crl_published_total", ()] == 2**40 + 1


def test_a_lane_that_is_not_there_is_refused(segment: Segment) -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"lane {index} of 3"):
            segment.lane(index)


def test_every_metric_has_a_good_name_and_a_sentence() -> None:
    names = [metric.name for metric in metrics.METRICS]
    assert len(set(names)) == len(names)
    for metric in metrics.METRICS:
        assert re.fullmatch(r"[a-z][a-z_]+_(total|seconds)", metric.name)
        assert metric._help.endswith(".")


def test_every_metric_is_counted_somewhere() -> None:
    sources = "\n".join(path.read_text() for path in Path(metrics.__file__).parent.rglob("*.py"))
    declared = re.findall(r"^([A-Z_]+) = (?:Counter|Histogram)\(", Path(metrics.__file__).read_text(), re.MULTILINE)
    assert len(declared) > 10
    assert [name for name in declared if not re.search(rf"\b{name}\.(inc|observe|word)\b", sources)] == []

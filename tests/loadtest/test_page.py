"""The page and its plots: whole, without anything from elsewhere, and safe with what servers call themselves."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime

import pytest

from loadtest.harness import scenario
from loadtest.harness.load import Options
from loadtest.harness.measured import Beside, Measured, Point, Run
from loadtest.harness.page import page
from loadtest.harness.plots import Axis, Line, bars, linear, logarithmic, nines, plot
from loadtest.harness.report import report
from loadtest.harness.storm import Storm

HOSTILE = '<script>alert("x")</script>'


def measured(**changes: object) -> Measured:
    percentiles = {0.0: 1e-5, 50.0: 5e-5, 90.0: 1e-4, 99.0: 1e-3, 99.9: 4e-3, 99.99: 9e-3, 100.0: 0.02}
    points = [Point(at / 2, 1000.0 + at, 5e-5, 1e-3, 8e-6 if at else None) for at in range(8)]
    told = {
        "loop": "open", "client": "certstatus", "rate": 1000.0, "connections": 64, "seconds": 4.0, "answered": 4000,
        "percentiles": percentiles, "failures": Counter[str](), "cpu_per_answer": 8e-6, "points": points,
        "statuses": Counter({200: 4000}), "verified": Counter({"good": 40}),
    }  # fmt: skip
    return Measured(**(told | changes))  # type: ignore[arg-type]


def document(*runs: Run, beside: tuple[Beside, ...] = ()) -> dict[str, object]:
    made_at = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)
    return report(runs, beside, options=Options(), command=f"certstatus loadtest {HOSTILE}", made_at=made_at)


def test_the_page_has_every_scenario_its_plots_and_what_was_wrong() -> None:
    storm = Storm({("ca", 1): 1.0}, {("ca", 1): 1.25}, None)
    hot = Run("x", scenario.load("hot"), [measured(loop="closed", rate=None, points=[]), measured()])
    stormy = Run("x", scenario.load("storm"), [measured(storm=storm, wrong=Counter({"good, and it is revoked": 3}))])
    left = Run("x", scenario.load("tls"), left_out="an https:// URL")
    beside = (
        Beside("certstatus", [measured()], 8e-6, 1000.0, None),
        Beside(HOSTILE, [measured(failures=Counter({"HTTP status 400": 7}))], 80e-6, 100.0, 10.0),
    )
    found = document(hot, stormy, left, beside=beside)
    text = page(found)
    assert found["is_right"] is False
    for words in (
        "hot: Answers in memory",
        "storm: A storm of revocations",
        "left out: it needs an https:// URL",
        "3 × good, and it is revoked",
        "1 revocations acknowledged within 250.00 ms (median), 250.00 ms (longest)",
        "10 × certstatus's CPU",
        "Not every answer was right",
    ):
        assert words in text
    assert text.count("Latency by percentile of the requests</text>") == 2
    assert text.count("CPU of an answer</text>") == 3
    assert "<script" not in text
    assert not re.search(r"(src|href)=|@import|url\(", text), "nothing is loaded"
    for each in re.findall(r"<svg.*?</svg>", text):
        ET.fromstring(each)


def test_a_run_without_answers_has_a_page_too() -> None:
    nothing = measured(answered=0, percentiles=dict.fromkeys((0.0, 50.0, 99.0, 99.9, 100.0), 0.0), points=[],
                       cpu_per_answer=None, verified=Counter())  # fmt: skip
    found = document(Run("x", scenario.load("hot"), [nothing]))
    assert found["is_right"] is False
    assert "<svg" in page(found)


def test_the_report_names_its_units() -> None:
    (loop,) = document(Run("x", scenario.load("hot"), [measured()]))["runs"][0]["loops"]  # type: ignore[index]
    assert loop["latency_microseconds"]["99"] == 1000
    assert loop["cpu_microseconds_an_answer"] == 8
    assert loop["intervals"][1] == {
        "at_seconds": 0.5,
        "answers_per_second": 1001.0,
        "p50_microseconds": 50.0,
        "p99_microseconds": 1000.0,
        "cpu_microseconds_an_answer": 8.0,
    }


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (7, [0, 2, 4, 6, 8]),
        (43_000, [0, 10_000, 20_000, 30_000, 40_000, 50_000]),
        (0.9, None),
    ],
)
def test_axes_are_round_and_reach_over_the_highest(highest: float, ticks: list[float] | None) -> None:
    axis = linear("x", highest, str)
    assert axis.ticks[-1] >= highest
    assert 3 <= len(axis.ticks) <= 7
    if ticks is not None:
        assert axis.ticks == pytest.approx(ticks)


def test_places_on_axes() -> None:
    decades = logarithmic("ms", 0.03, 4, str)
    assert decades.ticks == pytest.approx([0.01, 0.1, 1, 10])
    assert decades.part(0.1) == pytest.approx(1 / 3)
    assert nines(99.9).part(99) == pytest.approx(2 / 3)
    assert Axis("x", [0, 10], str).part(99) == 1


def test_a_plot_says_what_it_shows() -> None:
    root = ET.fromstring(
        plot("T & U", [Line("a", "open", [(0, 1), (1, 2)])], linear("s", 1, str), linear("ms", 2, str))
    )
    assert root.attrib["aria-label"] == "T & U"
    (drawn,) = root.iter("polyline")
    assert drawn.attrib["points"].count(",") == 2
    assert ET.fromstring(bars("none", [])).attrib["role"] == "img"

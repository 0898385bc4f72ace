"""certstatus beside others: the same questions on the same cores, in turn."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.harness import peers, scenario
from loadtest.harness.asking import questions_of
from loadtest.harness.live import Live
from loadtest.harness.load import Load, Options
from loadtest.harness.measured import Beside
from loadtest.harness.scenario import Share
from loadtest.harness.site import own_site
from loadtest.harness.target import Target

AGAINST = "hot"
"""The scenario by which servers are compared: of one CA with a P-256 key, few certificates, by POST alone (cfssl 1.2
refuses what browsers send by GET)."""

_DIFFERENT = 200


def compare(
    names: Sequence[str], options: Options, live: Live, *, rounds: int, workers: int, cores: Sequence[int]
) -> list[Beside]:
    """certstatus and the others in turn, a closed loop each, round after round: a shared machine isn't the same for
    long."""
    asked = scenario.load(AGAINST).model_copy(update={"different": _DIFFERENT, "requests": [Share()]})
    with own_site(asked.site, workers=workers, cores=cores) as site, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        ours = Target(site.name, site.subjects[:1], site.processes)
        others = peers.Others(questions_of(asked, ours), asked, folder=Path(folder), cores=cores)
        with _started(others, names) as started:
            loads = [Load(asked, ours, options, live)]
            loads += [Load(asked, target, options, live, questions=questions) for target, questions in started]
            found = [[load.closed() for load in loads] for _ in range(rounds)]
    beside = []
    for place, name in enumerate([ours.name, *(target.name for target, _ in started)]):
        mine = [each[place] for each in found]
        ratios = [
            each[place].cpu_per_answer / each[0].cpu_per_answer  # type: ignore[operator]  # all run here
            for each in found
            if each[place].cpu_per_answer and each[0].cpu_per_answer
        ]
        beside.append(
            Beside(
                name,
                mine,
                statistics.median(each.cpu_per_answer or 0.0 for each in mine),
                statistics.median(each.answers_per_second for each in mine),
                statistics.median(ratios) if place and ratios else None,
            )
        )
    return beside


@contextmanager
def _started(others: peers.Others, names: Sequence[str]) -> Iterator[list[peers.Peer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(peers.PEERS[name][0](others)) for name in names]

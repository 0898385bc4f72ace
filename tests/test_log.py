"""What the log is written like."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from responder import log


class Recorded(io.StringIO):
    """Each write apart, as the system would get it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_is_written_at_once(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """The processes of a host share stderr: what one writes in two goes has another's line in the middle."""
    stderr = Recorded()
    monkeypatch.setattr(sys, "stderr", stderr)  # here: pytest takes it back between a fixture and its test
    log.configure(format=form)
    for number in range(3):
        log.get("x").error("something_happened", number=number, text="two\nlines" if form == "json" else "one")
    assert len(stderr.writes) == 3
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in stderr.writes)
    if form == "json":
        assert json.loads(stderr.writes[1])["number"] == 1

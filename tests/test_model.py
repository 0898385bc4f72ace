"""The rule of revocations, in its small form: it holds, and each part of it is needed (`make model`)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.server  # not one, but as long


def test_every_interleaving_keeps_the_promise_and_none_without_any_of_the_rules() -> None:
    run = Path(__file__).parent.parent / "docs" / "model" / "run"
    done = subprocess.run([run], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = [line.split()[0] for line in done.stdout.splitlines()]
    assert outcomes == ["holds", *["violated"] * 8]

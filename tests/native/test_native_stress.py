"""The short form of `make stress`."""

from __future__ import annotations

import json
import subprocess
import sys


def test_processes_killed_while_they_write_leave_nothing_torn_foreign_or_old() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.native.stress", "5"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout)
    assert counted["faults"] == 0
    assert min(counted["killed"], counted["read"], counted["floors_raised"]) > 10, counted

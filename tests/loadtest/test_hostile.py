"""The short form of `make hostile`: each flood is answered, and so is the polite client beside it."""

from __future__ import annotations

import json
import subprocess
import sys


def test_every_flood_is_answered_and_nobody_is_forgotten() -> None:
    """From two addresses, so that each comes to its limit; nothing is compared on a machine that does other things."""
    command = ["--seconds", "2", "--rate", "300", "--addresses", "2", "--niceness", "0", "--part", "0.02", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.hostile", *command], capture_output=True, text=True, timeout=240, check=True
    )
    told = json.loads(done.stdout)
    figures = {figure["flood"]: figure for figure in told["floods"]}
    assert len(figures) == 8
    for figure in figures.values():
        assert figure["error"] == ""
        assert figure["answered"] > 0
        assert figure["asked"] > 20
    assert [crowd["count"] for crowd in told["crowds"]] == [100, 10, 10, 4, 2]
    assert all(crowd["asked"] > 20 for crowd in told["crowds"])
    signed = {name for name, figure in figures.items() if figure["signatures"]}
    assert {"nonces, P-256"} <= signed <= {"nonces, P-256", "nonces, RSA-2048", "20 CertIDs a request"}
    assert figures["no OCSP"]["refused"] > 0, "the limits are on"

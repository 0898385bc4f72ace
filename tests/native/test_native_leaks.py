"""No operation of the native core leaves memory behind, neither where it succeeds nor where it refuses.

Counted in a process of its own, whose every allocation (Python's, libcrypto's and ours) goes through a counter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import der
from tests.copied import Row, copied
from tests.makers import make_ca, pkcs8

HERE = Path(__file__).parent
ROUNDS = 300
TOLERANCE = ROUNDS // 10
"""What libcrypto or Python may keep once; a leak is a block a round."""


@pytest.fixture(scope="module")
def growth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Blocks that each operation left behind after `ROUNDS` rounds."""
    folder = tmp_path_factory.mktemp("leaks")
    counter = folder / "allocations.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", counter, HERE / "allocations.c"], check=True)
    for kind in ("ec", "rsa"):
        ca = make_ca(kind)
        (folder / f"{kind}.key").write_bytes(pkcs8(ca.key))
        (folder / f"{kind}.crt").write_bytes(ca.der)
    (folder / "request.der").write_bytes(der.request(der.cert_id(), der.cert_id("sha1")))
    (folder / "statuses").write_bytes(copied(*[Row(serial=b"\x05")] * 3, Row(revoked_at=1)))
    done = subprocess.run(
        [sys.executable, HERE / "leaks.py", folder],
        env=os.environ | {"LD_PRELOAD": str(counter), "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert isinstance(counted, dict)
    return counted


def test_the_count_can_fail(growth: dict[str, int]) -> None:
    assert growth.pop("a leak, on purpose") >= ROUNDS


def test_nothing_is_left_behind(growth: dict[str, int]) -> None:
    operations = {name: blocks for name, blocks in growth.items() if name != "a leak, on purpose"}
    assert len(operations) > 40
    assert {name: blocks for name, blocks in operations.items() if blocks > TOLERANCE} == {}

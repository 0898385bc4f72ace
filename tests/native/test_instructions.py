"""How many instructions an answer takes in the lane, without the kernel: a number that a busy machine doesn't change.
docs/performance.md says what they are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from responder.pki import Issuer
from responder.signing.signers import Signer
from tests.native.test_native_records import sign_one, status
from tests.web.test_fast_answer import request_for

SERIAL = b"\x40" + bytes(range(15))
FEW, MANY = 100, 1100

# A seventh above what was measured.
BOUNDS = {"post": 6000, "get": 10_500}


@pytest.fixture(scope="module")
def world(issuer: Issuer, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    now = int(time.time())
    what = status(SERIAL, this_update=now - 600, next_update=now + 4 * 86400, as_of=(now - 300) * 10**6)
    records = sign_one(signer, what, produced_at=now - 300)
    path = tmp_path_factory.mktemp("world") / "world.json"
    path.write_text(
        json.dumps(
            {
                "issuer": json.dumps(
                    {"tag": issuer.tag.hex(), "hashes": [(a.hex(), b.hex()) for a, b in issuer.cert_id_hashes]}
                ),
                "serial": SERIAL.hex(),
                "records": records.encoded.hex(),
                "profile": signer.profile.body.hex(),
                "request": request_for(issuer, SERIAL, 1).hex(),
            }
        )
    )
    return path


def instructions(world: Path, kind: str, count: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*Turns_turn"]
    command += [sys.executable, "-m", "tests.native.instructions", str(world), kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert done.returncode == 0 and found is not None, done.stderr
    return int(found[1])


@pytest.mark.parametrize("kind", BOUNDS)
def test_an_answer_takes_no_more_instructions_than_it_did(world: Path, kind: str) -> None:
    each = (instructions(world, kind, MANY) - instructions(world, kind, FEW)) / (MANY - FEW)
    print(f"{kind}: {each:,.0f} instructions an answer")
    assert 500 < each < BOUNDS[kind]

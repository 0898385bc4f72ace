"""The closed loop: wrk, a client that isn't ours, asks as fast as it is answered."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from responder.errors import CertstatusError

_SCRIPT = """
local requests, count, at = {{}}, 0, 0
local file = io.open("{path}", "rb")
while true do
   local head = file:read(4)
   if not head then break end
   local a, b, c, d = head:byte(1, 4)
   count = count + 1
   requests[count] = file:read(((a * 256 + b) * 256 + c) * 256 + d)
end
file:close()
function setup(thread)
   thread:set("first", at)
   at = at + math.floor(count / {threads})
end
function init(arguments) at = first end
function request()
   at = at % count + 1
   return requests[at]
end
function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\\nreport {{"answered": %d, "microseconds": %d, "refused": %d, "dropped": %d, "statuses": %d, "late": %d',
      summary.requests, summary.duration, errors.connect, errors.read + errors.write, errors.status, errors.timeout))
   for _, each in pairs({{25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99}}) do
      io.write(string.format(', "%s": %d', each, latency:percentile(each)))
   end
   io.write(string.format(', "100": %d}}\\n', latency.max))
end
"""


@dataclass(frozen=True)
class Fastest:
    """What wrk says.

    Attributes:
        percentiles: seconds from sending to answer, by percent; a server that stalls isn't seen in them, since wrk
            waits with it.
        failures: of requests, by what went wrong.
    """

    seconds: float
    answered: int
    percentiles: dict[float, float]
    failures: Counter[str]


def is_there() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def run(
    url: str, requests: Sequence[bytes], *, seconds: int, connections: int, threads: int, cores: Sequence[int]
) -> Fastest:
    """Ask in turn over kept connections, one request at a time on each.

    Args:
        url: scheme, address and port; path and host are in the requests.
        cores: to be run on; none: any.

    Raises:
        CertstatusError: wrk fails; the message has what it says.
    """
    threads = min(threads, connections)
    pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
    with tempfile.TemporaryDirectory() as folder:
        octets, script = Path(folder) / "requests", Path(folder) / "script.lua"
        octets.write_bytes(b"".join(struct.pack(">I", len(each)) + each for each in requests))
        script.write_text(_SCRIPT.format(path=octets, threads=threads))
        command = [*pinned, "wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    found = re.search(r"^report (\{.*\})$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise CertstatusError(f"wrk: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    told = json.loads(found[1])
    return Fastest(
        told["microseconds"] / 1e6,
        told["answered"],
        {float(each): told[each] / 1e6 for each in told if each[0].isdigit()},
        Counter({kind: told[kind] for kind in ("refused", "dropped", "statuses", "late") if told[kind]}),
    )

"""`certstatus plan`: what an installation of a given size needs."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from responder.cli.output import JsonOption, print_json, print_pairs, say
from responder.errors import ConfigError
from responder.operations.capacity import Plan, Size, Speed, measure
from responder.operations.capacity import plan as plan_for
from responder.signing.key_files import DEFAULT_KIND, KINDS

CORES_A_HOST = 16
"""What a host is taken to have where the plan counts hosts."""

_MEMORY_A_STORE = 64_000_000_000
_ROWS_A_TABLE = 300_000_000


def plan(
    certificates: Annotated[int, typer.Option("--certificates", metavar="N", help="Certificates that are valid.")],
    rps: Annotated[float, typer.Option("--rps", metavar="N", help="Requests a second at the busiest time.")] = 1000.0,
    refresh_hours: Annotated[
        float, typer.Option("--refresh", metavar="HOURS", help="After how long each answer is signed again.")
    ] = 36.0,
    algorithm: Annotated[str, typer.Option("--algorithm", help=f"Of the responder key: {', '.join(KINDS)}.")] = (
        DEFAULT_KIND
    ),
    hashes: Annotated[int, typer.Option("--hashes", min=1, max=4, help="Hashes of CertIDs that are signed for.")] = 2,
    revoked: Annotated[float, typer.Option("--revoked", metavar="PERCENT", help="Of the certificates.")] = 2.0,
    nonces: Annotated[float, typer.Option("--nonces", metavar="PERCENT", help="Of the requests.")] = 0.0,
    *,
    json: JsonOption = False,
) -> None:
    """Say what so many certificates and requests need, on machines as fast as this one.

    From the costs in docs/performance.md, and from how fast this machine signs now. docs/scaling.md says what the
    figures mean, and what comes in at which size."""
    faults = [
        f"{name} {value}: {says}"
        for name, value, is_right, says in (
            ("--certificates", certificates, 0 < certificates <= 10**12, "1 to 10^12"),
            ("--rps", rps, 0 <= rps <= 10**9, "0 to 10^9"),
            ("--refresh", refresh_hours, 0.01 <= refresh_hours <= 96, "0.01 to 96 hours"),
            ("--revoked", revoked, 0 <= revoked <= 100, "0 to 100 percent"),
            ("--nonces", nonces, 0 <= nonces <= 100, "0 to 100 percent"),
        )
        if not is_right
    ]
    if faults:
        raise ConfigError(*faults)
    speed = measure(algorithm)
    size = Size(certificates, rps, algorithm, hashes, timedelta(hours=refresh_hours), revoked / 100, nonces / 100)
    needed = plan_for(size, speed)
    if json:
        print_json({"signatures_per_second_a_core": round(speed.signatures), **asdict(needed)})
        return
    print_pairs(_described(needed, speed, algorithm))
    for line in remarks(size, needed):
        say(f"- {line}")


def _described(needed: Plan, speed: Speed, algorithm: str) -> list[tuple[str, object]]:
    here = len(os.sched_getaffinity(0))
    return [
        ("this machine", f"{here} cores, {speed.signatures:,.0f} signatures/s ({algorithm}) by each"),
        ("to sign", f"{needed.signatures_per_second:,.0f} signatures/s: {_cores(needed.signing_cores)}"),
        ("everything at once", f"{_time(needed.everything_core_seconds / here)} on this machine"),
        ("to answer", f"{_cores(needed.serving_cores)}, {_scaled(needed.network_bits_per_second, 'bit/s')} sent"),
        ("record store", f"{_scaled(needed.store_octets, 'B')} of memory"),
        ("each host's memory", f"{_scaled(needed.table_octets, 'B')} for every record, "
                               f"{_scaled(needed.issued_octets, 'B')} for the issued serials"),
        ("database", f"{_scaled(needed.database_octets, 'B')} of disk"),
        ("CRL", f"{_scaled(needed.crl_octets, 'B')} in one"),
    ]  # fmt: skip


def remarks(size: Size, needed: Plan) -> list[str]:
    """What comes in at this size, in the order in which it does."""
    found = []
    hosts = math.ceil((needed.signing_cores + needed.serving_cores) / CORES_A_HOST)
    if hosts > 1:
        found.append(
            f"about {hosts:,} hosts of {CORES_A_HOST} cores for work and serve together, and one more to spare"
        )
    if needed.crl_octets > 10_000_000:
        found.append("a CRL of more than 10 MB: let a CDN keep it, and CAs with fewer certificates issue (sharding)")
    if needed.store_octets > _MEMORY_A_STORE:
        nodes = math.ceil(needed.store_octets / _MEMORY_A_STORE)
        found.append(f"the record store has more than 64 GB: a cluster of {nodes:,} primaries (redis+cluster://)")
    if needed.table_octets > _MEMORY_A_STORE:
        found.append(
            "a host's table (table.megabytes) needn't hold every record: what it lacks costs five hits, by one look "
            "for all that are asked for together"
        )
    if size.certificates > _ROWS_A_TABLE:
        found.append(
            f"more than {_ROWS_A_TABLE:,} rows: an installation for each group of CAs keeps a database's indexes in "
            "memory"
        )
    if needed.network_bits_per_second > 1e9:
        found.append("more than 1 Gbit/s: answers are cacheable, GET through a CDN takes most of it away")
    return found or ["one host has room for all of it; a second one keeps answering when it fails"]


def _cores(cores: float) -> str:
    return f"{cores:,.2g} cores" if cores < 10 else f"{cores:,.0f} cores"


def _scaled(value: float, unit: str) -> str:
    for power, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:,.1f} {prefix}{unit}"
    return f"{value:,.0f} {unit}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"

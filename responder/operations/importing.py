"""Taking over the list of statuses that another CA keeps."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from responder.errors import ConfigError, ImportRefused, Remedy
from responder.formats import openssl_index
from responder.formats.sample import LOOKED_AT, find_stranger
from responder.interfaces import HostLeases
from responder.pki import ImportedStatus, Issuer, Unaware, names
from responder.storage.imports import Import, PostgresImports

_PAUSE_SECONDS = 0.02

_READ_TWICE = 8_000_000
"""Octets; reading so many takes half a second."""


@dataclass(frozen=True, slots=True)
class StatusList:
    """A file with the statuses of one CA's certificates.

    Attributes:
        rows: reads them, one after the other; raises ImportRejected at the end where a line was bad. Of a million
            nothing is kept but the file's octets.
        lines: how many it has.
        ends: serial numbers of its first and last lines, where those are good.
        sha256: of its octets, for the audit log.
        organizations: see `openssl_index.organizations`.
    """

    path: Path
    rows: Callable[[], Iterator[ImportedStatus]]
    lines: int
    ends: tuple[int, ...]
    sha256: bytes
    organizations: frozenset[str] = frozenset()


def read_openssl_index(path: Path, *, now: datetime) -> StatusList:
    """Read the `index.txt` of `openssl ca`. What is wrong with a large one is told when `rows` are read.

    Raises:
        ConfigError: the file can't be read.
        ImportRejected: see `openssl_index.each`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: it can't be read: {error.strerror}") from error
    if len(content) < _READ_TWICE:
        for _ in openssl_index.each(content, now=now):
            pass  # a bad one is told before a database is needed
    return StatusList(
        path,
        lambda: openssl_index.each(content, now=now),
        content.count(b"\n"),
        openssl_index.ends(content, LOOKED_AT),
        hashlib.sha256(content).digest(),
        frozenset(openssl_index.organizations(content)),
    )


async def import_list(
    store: PostgresImports,
    issuer: Issuer,
    statuses: StatusList,
    *,
    dry_run: bool,
    force: bool,
    actor: str,
    progress: Callable[[int], None] | None = None,
) -> Import:
    """Take over a list, by the rules of a revocation; see `PostgresImports.run`.

    Raises:
        ImportRejected: with every line that is bad; nothing was changed.
        ImportRefused: it looks like another CA's and `force` is false; nothing was changed.
    """
    if not force:
        _require_own_certificates(issuer, statuses)
    return await store.run(
        issuer,
        statuses.rows(),
        dry_run=dry_run,
        force=force,
        doubt=_doubt(issuer, statuses.organizations),
        actor=actor,
        source=str(statuses.path),
        source_sha256=statuses.sha256,
        progress=progress,
    )


async def until_known(hosts: HostLeases, issuer: Issuer, *, seconds: float) -> Unaware:
    """Wait until every host has heard of what was taken over, or for so long; the hosts that haven't.

    Raises:
        StatusUnavailable: the database can't be reached; what was taken over is.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while True:
        unaware = await hosts.unaware_of(issuer)
        if not unaware.owners or clock() >= until:
            return unaware
        await asyncio.sleep(_PAUSE_SECONDS)


def _require_own_certificates(issuer: Issuer, statuses: StatusList) -> None:
    """Those that lie beside the list and are in it."""
    stranger = find_stranger(statuses.path, statuses.ends, issuer)
    if stranger is not None:
        path, certificate = stranger
        raise ImportRefused(
            f"{path} is in the list and was issued by {certificate.issuer}, and not with the key of {issuer.id}"
        ).offering(Remedy.TAKE_ALL_THE_SAME)


def _doubt(issuer: Issuer, listed: frozenset[str]) -> str | None:
    """Why the organizations of a list don't look like the issuer's."""
    own = names.organizations(issuer.name)
    if not own or not listed or own & listed:
        return None
    return (
        f"none of the subjects in the list has the organization of {issuer.id} ({', '.join(sorted(own))}), but "
        f"{', '.join(sorted(listed)[:3])}{' and others' if len(listed) > 3 else ''}, so it may be another CA's"
    )

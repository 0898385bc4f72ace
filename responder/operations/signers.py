"""Responder keys and their certificates: added, listed, retired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from responder.errors import ConfigError
from responder.ocsp.linted import rules_for
from responder.ocsp.lints import lint
from responder.ocsp.presign import PARTITIONS
from responder.pki import Issuer, ResponderCertificate
from responder.pki.certificates import read_certificate
from responder.signing.crls import ca_signer_of
from responder.signing.delegates import issue_responder_certificate
from responder.signing.key_files import install_key, make_key_file, removed_on_failure, require_key
from responder.signing.keys import KeyRing
from responder.signing.signers import Signer, make_signer, require_usable
from responder.signing.sizes import longest_answer
from responder.storage.partitions import PostgresPartitions
from responder.storage.signers import PostgresSigners, RetiredSigner

PATIENCE_SECONDS = 30.0
"""How long nobody may be at it before `until_signed_again` says so and waits no longer."""


@dataclass(frozen=True, slots=True)
class KeyFolders:
    """Where keys are kept: those of responders, and those of CAs."""

    responders: Path
    cas: Path


@dataclass(frozen=True, slots=True)
class GivenSigner:
    """A responder key and its certificate (DER) that an operator brings; `name` is what the certificate is called."""

    key: Path
    certificate: bytes
    name: str


def check_signer(issuer: Issuer, given: GivenSigner, now: datetime) -> Signer:
    """The signer that a given key and certificate make.

    Raises:
        ConfigError: they don't belong together, or may not sign for the issuer, or not now.
    """
    signer = make_signer(issuer, given.certificate, require_key(given.key, given.certificate, given.name))
    require_usable(given.certificate, issuer, now)
    return signer


def certify_new_key(
    issuer: Issuer, name: str, *, algorithm: str, folders: KeyFolders, now: datetime
) -> tuple[Path, bytes, Signer]:
    """Make a responder key in its folder, and certify it with the CA's key.

    Returns:
        Its file, its certificate (DER), and the signer.

    Raises:
        ConfigError: what keeps it from that; no file is left behind.
    """
    issuing = ca_signer_of(KeyRing(folders.cas), issuer.public_key)
    if issuing is None:
        raise ConfigError(
            f"the key of issuer {issuer.id} isn't on this host, so no certificate can be issued here; give a key and "
            "its certificate"
        )
    path, spki = make_key_file(folders.responders, name, algorithm)
    with removed_on_failure(path):
        certificate = issue_responder_certificate(issuer, issuing, spki, now=now)
        return path, certificate, make_signer(issuer, certificate, require_key(path, certificate, str(path)))


def octets_of_right_answer(signer: Signer, now: datetime) -> int:
    """How long the longest answer of a signer is (see `longest_answer`), which keeps the rules.

    Raises:
        ConfigError: it breaks one.
    """
    answer = longest_answer(signer, now)
    found = lint(answer, profile=rules_for(signer.issuer))
    if found:
        raise ConfigError(*(f"answers of issuer {signer.issuer.id} break {each.id}: {each.says}" for each in found))
    return len(answer)


@dataclass(frozen=True, slots=True)
class AddedSigner:
    """The serial number of its certificate, and the octets of its longest answer (see `longest_answer`)."""

    serial_number: int
    answer_octets: int


async def add_signer(
    store: PostgresSigners,
    issuer: Issuer,
    given: GivenSigner | None,
    *,
    algorithm: str,
    folders: KeyFolders,
    now: datetime,
    actor: str,
) -> AddedSigner:
    """Let another key sign for an issuer.

    Args:
        given: None for a new key of this algorithm, certified by the CA's key.

    Raises:
        ConfigError: it can't; nothing is left behind.
    """
    name = f"{issuer.id}-{now:%Y%m%dT%H%M%S}.pem"
    if given is None:
        path, certificate, signer = certify_new_key(issuer, name, algorithm=algorithm, folders=folders, now=now)
    else:
        signer, certificate = check_signer(issuer, given, now), given.certificate
        if any(row.certificate == certificate for row in await store.responder_certificates()):
            raise ConfigError(f"{given.name}: it is a signer of issuer {issuer.id} already")
        path = install_key(given.key, folders.responders, name)
    with removed_on_failure(path):
        octets = octets_of_right_answer(signer, now)
        await store.add_responder_certificate(issuer.id, certificate, profile=signer.profile, actor=actor)
    return AddedSigner(read_certificate(certificate).serial_number, octets)


@dataclass(frozen=True, slots=True)
class SignerState:
    """A responder certificate, and what this host makes of it: `signs`, `in reserve`, `key elsewhere`, `not yet valid`,
    `ended` or `retired`."""

    row: ResponderCertificate
    state: str
    key_is_here: bool


def states(rows: Sequence[ResponderCertificate], keys: KeyRing, now: datetime) -> list[SignerState]:
    """As `Signers.for_issuer` chooses: of those valid now the one that lives longest. By issuer, longest first."""
    found = []
    signing: set[str] = set()
    for row in sorted(rows, key=lambda row: (row.issuer_id, -row.not_after.timestamp())):
        is_here = keys.get(row.public_key) is not None
        if row.retired_at is not None:
            state = "retired"
        elif row.not_after <= now:
            state = "ended"
        elif now < row.not_before:
            state = "not yet valid"
        elif not is_here:
            state = "key elsewhere"
        else:
            state = "in reserve" if row.issuer_id in signing else "signs"
            signing.add(row.issuer_id)
        found.append(SignerState(row, state, is_here))
    return found


@dataclass(frozen=True, slots=True)
class Retirement:
    """What a retirement came to, and for which other issuers the same key signs."""

    done: RetiredSigner
    elsewhere: list[str]


async def retire_signer(
    store: PostgresSigners, issuer: Issuer, serial_number: int, *, now: bool, even_if_last: bool, actor: str
) -> Retirement:
    """Let the key of the responder certificate of this serial number sign no more. See `PostgresSigners.retire_signer`.

    Raises:
        ConfigError: there is none, or more than one; or see there.
    """
    rows = await store.responder_certificates(retired=True)
    keys = {
        row.public_key
        for row in rows
        if row.issuer_id == issuer.id and read_certificate(row.certificate).serial_number == serial_number
    }
    if len(keys) != 1:
        raise ConfigError(
            f"issuer {issuer.id} has {'no' if not keys else 'more than one'} responder certificate of this "
            "serial; certstatus signer list shows them"
        )
    (public_key,) = keys
    done = await store.retire_signer(issuer, public_key, now=now, even_if_last=even_if_last, actor=actor)
    others = {row.issuer_id for row in rows if row.public_key == public_key and row.retired_at is None}
    return Retirement(done, sorted(others - {issuer.id}))


async def until_signed_again(
    partitions: PostgresPartitions, issuer_id: str, advance: Callable[[int], None]
) -> str | None:
    """Wait until `work` has signed every slice of an issuer again, or nobody does; then the sentence for it.

    Args:
        advance: called with how many slices more are done; of `PARTITIONS`.
    """
    loop = asyncio.get_running_loop()
    left, seen = PARTITIONS, loop.time()
    while left:
        still = await partitions.overdue(issuer_id)
        if still < left or await partitions.is_being_signed(issuer_id):
            seen = loop.time()
        elif loop.time() - seen > PATIENCE_SECONDS:
            return (
                f"issuer {issuer_id}: {still} of {PARTITIONS} slices aren't signed again, and nobody is at it; is "
                "certstatus work running? It goes on by itself, and until then these are signed as they are asked"
            )
        advance(max(0, left - still))
        left = min(left, still)
        if left:
            await asyncio.sleep(0.5)
    return None

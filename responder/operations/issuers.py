"""Issuers: added with their keys, and shown."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from responder.errors import ConfigError
from responder.formats.crl import PublishedElsewhere
from responder.operations.signers import (
    GivenSigner,
    KeyFolders,
    certify_new_key,
    check_signer,
    octets_of_right_answer,
)
from responder.pki import Issuer, IssuerPolicy, NoncePolicy, names
from responder.pki.certificates import read_certificate
from responder.signing.key_files import install_key, removed_on_failure, require_key
from responder.signing.signers import Signer, require_ca
from responder.storage.crls import PostgresCRLs
from responder.storage.issuers import PostgresIssuers
from responder.storage.policies import SETTINGS
from responder.storage.signers import PostgresSigners

OFFLINE = IssuerPolicy(offline=True, nonce=NoncePolicy.ignore)
"""What is decided for an issuer for which nothing is signed."""

_ID = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class NewIssuer:
    """A CA to answer for.

    Attributes:
        signer: a delegated responder of its; None: one is made, with a key of `algorithm`, which needs `ca_key`.
        ca_key: the file of its private key, for CRLs.
        before: what it has published itself; ours go on after that.
        start_crls: whether CRLs may be published before anything was imported.
    """

    issuer: Issuer
    signer: GivenSigner | None
    ca_key: Path | None
    algorithm: str
    before: PublishedElsewhere = field(default_factory=PublishedElsewhere)
    start_crls: bool = False


def require_id(issuer_id: str) -> None:
    """Refuse what can't be an issuer's name, before it stands in a path.

    Raises:
        ConfigError: it can't be.
    """
    if not _ID.fullmatch(issuer_id):
        raise ConfigError(f"the id {issuer_id!r}: an id has 1 to 64 lower-case letters, digits and hyphens")


async def add_offline_issuer(
    store: PostgresIssuers, issuer: Issuer, before: PublishedElsewhere, *, now: datetime, actor: str
) -> None:
    """Give what is imported for a CA whose keys aren't here; nothing is signed for it. The entries of a CRL that it has
    published are taken over.

    Raises:
        ConfigError: it can't be.
    """
    require_ca(issuer, now)
    await _refuse_duplicate(store, issuer)
    await store.add(issuer, issued=before.entries, last_crl_number=before.crl_number, start_crls=False, actor=actor)


async def add_issuer(store: PostgresIssuers, new: NewIssuer, *, folders: KeyFolders, now: datetime, actor: str) -> int:
    """Answer for a CA from now on. Everything is checked first; then keys go into their folders, then the rows are
    written, so that no row is without its key.

    Returns:
        The octets of its longest answer; see `longest_answer`.

    Raises:
        ConfigError: it can't be; nothing is left behind.
    """
    issuer = new.issuer
    signer = _check(new, now)
    await _refuse_duplicate(store, issuer)
    with removed_on_failure() as installed:
        if new.ca_key is not None:
            installed.append(install_key(new.ca_key, folders.cas, f"{issuer.id}-ca.pem"))
        name = f"{issuer.id}.pem"
        if new.signer is None or signer is None:
            path, certificate, signer = certify_new_key(issuer, name, algorithm=new.algorithm, folders=folders, now=now)
        else:
            path, certificate = install_key(new.signer.key, folders.responders, name), new.signer.certificate
        installed.append(path)
        octets = octets_of_right_answer(signer, now)
        await store.add(
            issuer,
            responder_certificate=certificate,
            profile=signer.profile,
            issued=new.before.entries,
            last_crl_number=new.before.crl_number,
            start_crls=new.start_crls,
            actor=actor,
        )
    return octets


def _check(new: NewIssuer, now: datetime) -> Signer | None:
    """What is given can be used; the signer that it makes, where one is given."""
    require_ca(new.issuer, now)
    if new.ca_key is not None:
        require_key(new.ca_key, new.issuer.certificate, "the CA's certificate that was given")
    return None if new.signer is None else check_signer(new.issuer, new.signer, now)


async def _refuse_duplicate(store: PostgresIssuers, issuer: Issuer) -> None:
    for known in await store.load():
        if known.id == issuer.id:
            raise ConfigError(f"the id {issuer.id}: there is an issuer of this name; choose another")
        if known == issuer:
            raise ConfigError(f"this CA (same name, same key) is known as {known.id} already")


@dataclass(frozen=True, slots=True)
class IssuerView:
    """What is known of an issuer, for people and machines. `settings` are those of `storage.policies`."""

    id: str
    subject: str
    not_before: datetime
    not_after: datetime
    certificate_sha256: bytes
    signers: list[str]
    crl_number: int | None
    settings: dict[str, object]


async def view_issuer(signers: PostgresSigners, crls: PostgresCRLs, issuer: Issuer) -> IssuerView:
    """One issuer: its certificate, signers, CRL and settings."""
    rows = [row for row in await signers.responder_certificates() if row.issuer_id == issuer.id]
    heads = await crls.heads(issuer)
    return IssuerView(
        id=issuer.id,
        subject=names.describe(issuer.name),
        not_before=issuer.not_before,
        not_after=issuer.not_after,
        certificate_sha256=hashlib.sha256(issuer.certificate).digest(),
        signers=[hex(read_certificate(row.certificate).serial_number) for row in rows],
        crl_number=max((head.crl_number for head in heads), default=None),
        settings={name: setting.of(issuer.policy) for name, setting in SETTINGS.items()},
    )

"""What an operator works with, by the API or the command line: which has no need of a web server for it."""

from __future__ import annotations

from responder.config import Config
from responder.ocsp.revoke import Revoker
from responder.operations.looking import Looker
from responder.operations.registering import Registrar
from responder.roles.stores import Stores


def revoker(config: Config, stores: Stores) -> Revoker:
    """What changes statuses, for the API and the command line."""
    return Revoker(stores.statuses, stores.hosts, wait_seconds=config.revocation.wait_seconds)


def registrar(config: Config, stores: Stores) -> Registrar:
    """What registers certificates, for the API and the command line."""
    return Registrar(stores.certificates, stores.hosts, wait_seconds=config.revocation.wait_seconds)


def looker(stores: Stores) -> Looker:
    """What reads statuses for people, for the API and the command line."""
    return Looker(stores.statuses, stores.listing, stores.records)

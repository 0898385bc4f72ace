"""What the commands that work with the stores share."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from responder import config, log
from responder.cli import output
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError
from responder.operations.signers import KeyFolders
from responder.pki import Issuer, Issuers
from responder.roles.stores import Stores

T = TypeVar("T")


def load_config(path: Path | None, *, needs_token: bool = False, needs_keys: bool = False) -> Config:
    """The configuration a command works with. A secret that the command doesn't need isn't looked at; the log is for
    warnings, since the command says itself what it did.

    Raises:
        ConfigError: every fault it has.
    """
    loaded = config.load(path, needs_token=needs_token, needs_keys=needs_keys)
    configure_log(loaded, at_least="warning")
    return loaded


def configure_log(loaded: Config, *, at_least: str | None = None) -> None:
    """Log as this configuration says; what is less than `at_least` only where it says debug."""
    level = at_least if at_least is not None and loaded.log.level == "info" else loaded.log.level
    log.configure(level=level, format=loaded.log.format)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end."""
    return asyncio.run(coroutine)


def print_result(document: object, text: str, *, json: bool) -> None:
    """The outcome of a command, for people or for machines."""
    if json:
        output.print_json(document)
    else:
        output.say(text)


def actor() -> str:
    """Who changes something from the command line, for the audit log: the user of the operating system."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        name = f"uid {os.getuid()}"
    asked_by = os.environ.get("SUDO_USER")
    return f"cli:{name}" + (f" (sudo of {asked_by})" if asked_by else "")


def latest_revocation() -> datetime:
    """No revocation of another CA's list may be later: now, with a minute's grace for the clock of that CA's host."""
    return SystemClock().now() + timedelta(minutes=1)


def key_folders(loaded: Config) -> KeyFolders:
    """Where this host keeps its keys."""
    return KeyFolders(loaded.keys.directory, loaded.keys.ca_directory)


async def load_issuer(stores: Stores, issuer_id: str) -> Issuer:
    """The issuer an option names; `stores.issuers` has all of them then.

    Raises:
        ConfigError: there is none of this id; the message lists those there are.
        StatusUnavailable: the database can't be read.
    """
    stores.issuers.replace(await stores.issuer_store.load())
    return known_issuer(stores.issuers, issuer_id)


def known_issuer(issuers: Issuers, issuer_id: str) -> Issuer:
    """The issuer an option names.

    Raises:
        ConfigError: there is none of this id; the message lists those there are.
    """
    issuer = issuers.get(issuer_id)
    if issuer is None:
        known = ", ".join(sorted(issuer.id for issuer in issuers)) or "none yet; add one: certstatus issuer add"
        raise ConfigError(f"--issuer {issuer_id}: there is no such issuer; the issuers are: {known}")
    return issuer

"""`certstatus revoke`: change one status from the command line, by the same path as the API."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from responder.app import revoker
from responder.cli.config import ConfigOption
from responder.cli.issuer import read_certificate
from responder.cli.options import actor, known_issuer, load_config, print_result, run
from responder.cli.output import JsonOption
from responder.config import Config
from responder.errors import ConfigError
from responder.ocsp.revoke import Outcome, RevocationRequest
from responder.pki import Certificate, CRLReason
from responder.stores import open_stores
from responder.web.admin import InvalidField, outcome_document, parse_serial, parse_time


def revoke(
    serial: Annotated[
        str | None, typer.Argument(help="The serial number, hexadecimal with 0x, as in 0x1a2b.", show_default=False)
    ] = None,
    issuer_id: Annotated[str, typer.Option("--issuer", help="The id of the CA.")] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="Take the serial number from this certificate, PEM or DER.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="keyCompromise, superseded, …; certificateHold holds, removeFromCRL releases.")
    ] = "unspecified",
    revoked_at: Annotated[str | None, typer.Option(help="Since when (RFC 3339); else now.")] = None,
    invalidity_date: Annotated[str | None, typer.Option(help="When the key is thought to have been lost.")] = None,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Revoke a certificate, put it on hold, or release it.

    Exits 0 when every worker answers the new status, 1 when the change is recorded but not certain everywhere yet
    (the same command waits again).
    """
    loaded = load_config(config)
    if reason not in CRLReason.__members__:
        raise ConfigError(f"--reason {reason}: it is one of {', '.join(CRLReason.__members__)}")
    if not issuer_id:
        raise ConfigError("--issuer ID is missing; certstatus issuer list shows the ids")
    try:
        number = _serial_number(serial, certificate)
        request = RevocationRequest(
            CRLReason[reason], _time("--revoked-at", revoked_at), _time("--invalidity-date", invalidity_date)
        )
    except InvalidField as error:
        raise ConfigError(str(error)) from error
    outcome = run(_revoke(loaded, issuer_id, number, request))
    document = outcome_document(outcome)
    text = f"{document['serial']} of {issuer_id} is {document['status']}"
    if not outcome.certain:
        text += "; recorded, but the record store hasn't confirmed it yet: run the same command again to wait for it"
    print_result(document, text, json=json)
    if not outcome.certain:
        raise typer.Exit(1)


def _serial_number(serial: str | None, certificate: Path | None) -> int:
    if (serial is None) == (certificate is None):
        raise ConfigError("give either the serial number or --certificate FILE")
    if certificate is not None:
        return x509.load_der_x509_certificate(read_certificate(certificate)).serial_number
    return parse_serial(serial)


def _time(option: str, value: str | None) -> datetime | None:
    return parse_time(option, value)


async def _revoke(config: Config, issuer_id: str, serial_number: int, request: RevocationRequest) -> Outcome:
    async with open_stores(config, name="cli") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        issuer = known_issuer(stores.issuers, issuer_id)
        return await revoker(config, stores).revoke(Certificate(issuer, serial_number), request, actor=actor())

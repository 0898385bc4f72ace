"""`certstatus revoke`: change one status from the command line, by the same path as the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.naming import Named, by_certificate, by_serial
from responder.cli.options import actor, load_config, print_result, run
from responder.cli.output import ExitCode, JsonOption
from responder.config import Config
from responder.errors import ConfigError
from responder.ocsp.revoke import Outcome, RevocationRequest
from responder.operations.spelling import InvalidField, outcome_document, parse_time
from responder.pki import CRLReason
from responder.roles.operating import revoker
from responder.roles.stores import open_stores


def revoke(
    serial: Annotated[
        str | None,
        typer.Argument(help="The serial number in hexadecimal: 0x1a2b, 1A:2B or 010A.", show_default=False),
    ] = None,
    issuer_id: Annotated[str, typer.Option("--issuer", help="The id of the CA; not needed with --certificate.")] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="The certificate to revoke, PEM or DER, instead of a serial number.")
    ] = None,
    reason: Annotated[
        str,
        typer.Option(help="keyCompromise, superseded, …; certificateHold puts on hold, removeFromCRL releases a hold."),
    ] = "unspecified",
    revoked_at: Annotated[str | None, typer.Option(help="Time of revocation (RFC 3339); default: now.")] = None,
    invalidity_date: Annotated[
        str | None, typer.Option(help="When the key is thought to have been compromised (RFC 3339).")
    ] = None,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Revoke a certificate, put it on hold, or release it.

    Exits 0 when every worker answers the new status, 5 when the change is recorded but not certain everywhere yet
    (the same command waits again), 1 when it is refused.
    """
    loaded = load_config(config)
    if reason not in CRLReason.__members__:
        raise ConfigError(f"--reason {reason}: it is one of {', '.join(CRLReason.__members__)}")
    if serial is not None and certificate is None:
        named = by_serial(issuer_id, serial)
    elif certificate is not None and serial is None:
        named = by_certificate(issuer_id, certificate, option="--certificate")
    else:
        raise ConfigError("give either the serial number or --certificate FILE")
    try:
        request = RevocationRequest(
            CRLReason[reason], parse_time("--revoked-at", revoked_at), parse_time("--invalidity-date", invalidity_date)
        )
    except InvalidField as error:
        raise ConfigError(str(error)) from error
    outcome = run(_revoke(loaded, named, request))
    document = outcome_document(outcome)
    text = f"{document['serial']} of {document['issuer']} is {document['status']}"
    if not outcome.certain:
        text += f"; recorded, and not certain yet ({outcome.obstacle}): the same command waits for it again"
    print_result(document, text, json=json)
    if not outcome.certain:
        raise typer.Exit(ExitCode.PENDING)


async def _revoke(config: Config, named: Named, request: RevocationRequest) -> Outcome:
    async with open_stores(config, name="cli") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        return await revoker(config, stores).revoke(named(stores.issuers), request, actor=actor())

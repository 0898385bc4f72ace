"""`certstatus revoke`: change one status from the command line, by the same path as the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responder import names
from responder.app import revoker
from responder.certificates import ParsedCertificate, read_certificate
from responder.cli.config import ConfigOption
from responder.cli.files import certificate_in
from responder.cli.options import actor, known_issuer, load_config, print_result, run
from responder.cli.output import ExitCode, JsonOption
from responder.cli.serials import read_serial
from responder.config import Config
from responder.errors import ConfigError
from responder.ocsp.revoke import Outcome, RevocationRequest
from responder.pki import Certificate, CRLReason, Issuer, Issuers
from responder.stores import open_stores
from responder.web.admin import InvalidField, outcome_document, parse_time


def revoke(
    serial: Annotated[
        str | None,
        typer.Argument(help="The serial number, hexadecimal, as in 0x1a2b, 1A:2B or 010A.", show_default=False),
    ] = None,
    issuer_id: Annotated[str, typer.Option("--issuer", help="The id of the CA; with --certificate it is found.")] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="The certificate itself, PEM or DER, instead of the serial number.")
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

    Exits 0 when every worker answers the new status, 5 when the change is recorded but not certain everywhere yet
    (the same command waits again), 1 when it is refused.
    """
    loaded = load_config(config)
    if reason not in CRLReason.__members__:
        raise ConfigError(f"--reason {reason}: it is one of {', '.join(CRLReason.__members__)}")
    if (serial is None) == (certificate is None):
        raise ConfigError("give either the serial number or --certificate FILE")
    if serial is not None and not issuer_id:
        raise ConfigError("--issuer ID is missing; certstatus issuer list shows the ids")
    number = None if serial is None else read_serial("the serial number", serial)
    given = None if certificate is None else certificate_in(certificate)
    try:
        request = RevocationRequest(
            CRLReason[reason], parse_time("--revoked-at", revoked_at), parse_time("--invalidity-date", invalidity_date)
        )
    except InvalidField as error:
        raise ConfigError(str(error)) from error
    outcome = run(_revoke(loaded, issuer_id, number, given, request))
    document = outcome_document(outcome)
    text = f"{document['serial']} of {document['issuer']} is {document['status']}"
    if not outcome.certain:
        text += f"; recorded, and not certain yet ({outcome.obstacle}): the same command waits for it again"
    print_result(document, text, json=json)
    if not outcome.certain:
        raise typer.Exit(ExitCode.PENDING)


async def _revoke(
    config: Config,
    issuer_id: str,
    serial_number: int | None,
    given: ParsedCertificate | None,
    request: RevocationRequest,
) -> Outcome:
    async with open_stores(config, name="cli") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        if given is not None:
            issuer = issuer_of(stores.issuers, given, issuer_id)
            serial_number = given.serial_number
        else:
            issuer = known_issuer(stores.issuers, issuer_id)
        assert serial_number is not None  # one of the two is given
        return await revoker(config, stores).revoke(Certificate(issuer, serial_number), request, actor=actor())


def issuer_of(issuers: Issuers, given: ParsedCertificate, issuer_id: str) -> Issuer:
    """The issuer that has signed a certificate; the one that an option names, where it names one.

    Raises:
        ConfigError: it was issued by another, or by nobody here.
    """
    if issuer_id:
        issuer = known_issuer(issuers, issuer_id)
        if not given.was_issued_by(read_certificate(issuer.certificate)):
            raise ConfigError(
                f"--certificate: it was issued by {given.issuer}, and not with the key of issuer {issuer_id} "
                f"({names.describe(issuer.name)})"
            )
        return issuer
    for issuer in issuers:
        if given.was_issued_by(read_certificate(issuer.certificate)):
            return issuer
    raise ConfigError(
        f"--certificate: it was issued by {given.issuer}, and no issuer here has signed it; certstatus issuer list "
        "shows them"
    )

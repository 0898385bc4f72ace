"""`certstatus issuer`: the CAs this installation answers for."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from responder.cli.config import ConfigOption
from responder.cli.files import certificate_in
from responder.cli.options import actor, latest_revocation, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, print_pairs
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError, StatusUnavailable
from responder.formats.crl import PublishedElsewhere, read_crl
from responder.pki import MAX_CRL_NUMBER, Issuer, make_issuer, names
from responder.pki.certificates import read_certificate
from responder.roles.stores import Stores, open_stores
from responder.signing.crls import ca_signer_of
from responder.signing.delegates import issue_responder_certificate
from responder.signing.key_files import DEFAULT_KIND, KINDS, install_key, make_key_file, require_key
from responder.signing.keys import KeyRing
from responder.signing.signers import make_profile, make_signer, require_ca, require_usable
from responder.storage.issuers import PolicyChange
from responder.storage.policies import SETTINGS

AlgorithmOption = Annotated[str, typer.Option(help=f"Type of the responder key to generate: {', '.join(KINDS)}.")]

app = typer.Typer(help="The CAs to answer for, and their settings.", no_args_is_help=True)


@app.command()
def add(
    issuer_id: Annotated[str, typer.Option("--id", help="A short name: lower-case letters, digits and hyphens.")],
    certificate: Annotated[Path, typer.Option(help="The CA's certificate, PEM or DER.")],
    responder_key: Annotated[
        Path | None, typer.Option(help="The private key of a delegated responder (PEM, mode 0600).")
    ] = None,
    responder_certificate: Annotated[
        Path | None, typer.Option(help="Its certificate, issued by the CA with extendedKeyUsage OCSPSigning.")
    ] = None,
    ca_key: Annotated[
        Path | None,
        typer.Option(help="The CA's private key (PEM, mode 0600): signs CRLs and issues the responder certificate."),
    ] = None,
    crl: Annotated[Path | None, typer.Option(help="The CA's last CRL; its number and entries are carried on.")] = None,
    crl_number: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_CRL_NUMBER - 1, help="The number of the CA's last CRL; numbering continues after it."
        ),
    ] = None,
    no_crl: Annotated[
        bool, typer.Option("--no-crl", help="The CA has never published a CRL: start now, with number 1.")
    ] = False,
    algorithm: AlgorithmOption = DEFAULT_KIND,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Add a CA to answer for, with a delegated responder key or with the CA's own key.

    The first CRL is published after the first import, so that it isn't empty by mistake;
    with --crl or --no-crl at once.
    """
    loaded = load_config(config, needs_keys=True)
    if (responder_key is None) != (responder_certificate is None):
        raise ConfigError("--responder-key and --responder-certificate go together; one of them is missing")
    if responder_key is None and ca_key is None:
        raise ConfigError("give --responder-key and --responder-certificate, or --ca-key, or all three")
    if (crl is not None) + (crl_number is not None) + no_crl > 1:
        raise ConfigError("--crl, --crl-number and --no-crl exclude each other; give one of them, or none")
    require_id(issuer_id)
    issuer = make_issuer(issuer_id, certificate_in(certificate).der)
    before = PublishedElsewhere(crl_number or 0) if crl is None else read_crl(crl, issuer, now=latest_revocation())
    result = run(
        _add(
            loaded,
            issuer,
            responder_key,
            responder_certificate,
            ca_key,
            algorithm=algorithm,
            before=before,
            start_crls=no_crl or crl is not None,
        )
    )
    text = f"issuer {issuer.id} added: {issuer_subject(issuer)}"
    if crl is not None:
        text += f"\nCRL {before.crl_number} taken over, {len(before.entries)} entries"
    if not result["crl"]:
        text += "\nwithout the CA's key no CRLs are built for it"
    elif not result["crl_started"]:
        text += "\nits first CRL is published after the first import (certstatus import)"
    print_result(result, text, json=json)


async def _add(
    config: Config,
    issuer: Issuer,
    responder_key: Path | None,
    responder_certificate: Path | None,
    ca_key: Path | None,
    *,
    algorithm: str,
    before: PublishedElsewhere,
    start_crls: bool,
) -> dict[str, object]:
    """Check everything first; then keys into their folders, then the rows, so that no row is without its key."""
    now = SystemClock().now()
    require_ca(issuer, now)
    if ca_key is not None:
        require_key(ca_key, issuer.certificate, "the certificate given with --certificate")
    if responder_key is not None and responder_certificate is not None:
        delegate = certificate_in(responder_certificate).der
        key = require_key(responder_key, delegate, str(responder_certificate))
        signer = make_signer(issuer, delegate, key)
        require_usable(delegate, issuer, now)
    async with open_stores(config, name="cli") as stores:
        await _refuse_duplicate(stores, issuer)
        installed: list[Path] = []
        try:
            if ca_key is not None:
                installed.append(install_key(ca_key, config.keys.ca_directory, f"{issuer.id}-ca.pem"))
            if responder_key is not None:
                installed.append(install_key(responder_key, config.keys.directory, f"{issuer.id}.pem"))
            else:
                path, spki = make_key_file(config.keys.directory, f"{issuer.id}.pem", algorithm)
                installed.append(path)
                issuing = ca_signer_of(KeyRing(config.keys.ca_directory), issuer.public_key)
                assert issuing is not None  # installed above
                delegate = issue_responder_certificate(issuer, issuing, spki, now=now)
                signer = make_signer(issuer, delegate, require_key(path, delegate, str(path)))
            await stores.issuer_store.add(
                issuer,
                responder_certificate=delegate,
                profile=signer.profile,
                issued=before.entries,
                last_crl_number=before.crl_number,
                start_crls=start_crls,
                actor=actor(),
            )
        except StatusUnavailable:
            raise  # the row may be there although its confirmation was lost: the keys stay
        except BaseException:
            for path in installed:
                path.unlink(missing_ok=True)
            raise
    return {
        "id": issuer.id,
        "subject": issuer_subject(issuer),
        "crl": ca_key is not None,
        "crl_started": start_crls,
        "last_crl_number": before.crl_number,
        "crl_entries": len(before.entries),
    }


async def _refuse_duplicate(stores: Stores, issuer: Issuer) -> None:
    for known in await stores.issuer_store.load():
        if known.id == issuer.id:
            raise ConfigError(f"--id {issuer.id}: there is an issuer of this name; choose another")
        if known == issuer:
            raise ConfigError(f"--certificate: this CA (same name, same key) is known as {known.id} already")


_ID = re.compile(r"[a-z0-9-]{1,64}")


def require_id(issuer_id: str) -> None:
    """Refuse what can't be an issuer's name, before it stands in a path."""
    if not _ID.fullmatch(issuer_id):
        raise ConfigError(f"--id {issuer_id!r}: an id has 1 to 64 lower-case letters, digits and hyphens")


@app.command("start-crls")
def start_crls(
    issuer_id: Annotated[str, typer.Argument(metavar="ID")], config: ConfigOption = None, *, json: JsonOption = False
) -> None:
    """Start publishing CRLs for a CA for which nothing has been imported."""
    loaded = load_config(config)

    async def start() -> None:
        async with open_stores(loaded, name="cli") as stores:
            await stores.crls.start((await load_issuer(stores, issuer_id)).id)

    run(start())
    print_result(
        {"id": issuer_id, "crl_started": True}, f"issuer {issuer_id}: CRLs are published from now on", json=json
    )


@app.command("list")
def list_issuers(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """List the CAs."""
    loaded = load_config(config)

    async def load() -> list[Issuer]:
        async with open_stores(loaded, name="cli") as stores:
            return await stores.issuer_store.load()

    issuers = run(load())
    rows = [{"id": issuer.id, "subject": issuer_subject(issuer)} for issuer in issuers]
    text = (
        "\n".join(f"{row['id']}: {row['subject']}" for row in rows) or "no issuers yet; add one: certstatus issuer add"
    )
    print_result(rows, text, json=json)


@app.command()
def show(
    issuer_id: Annotated[str, typer.Argument(metavar="ID")], config: ConfigOption = None, *, json: JsonOption = False
) -> None:
    """Show one CA: its certificate, signers, CRL and settings."""
    loaded = load_config(config)

    async def read() -> dict[str, Any]:
        async with open_stores(loaded, name="cli") as stores:
            issuer = await load_issuer(stores, issuer_id)
            signers = [row for row in await stores.issuer_store.responder_certificates() if row.issuer_id == issuer.id]
            crls = [head for head in await stores.crls.heads() if head.issuer_id == issuer.id]
            return {
                "id": issuer.id,
                "subject": issuer_subject(issuer),
                "not_before": issuer.not_before,
                "not_after": issuer.not_after,
                "certificate_sha256": hashlib.sha256(issuer.certificate).digest(),
                "signers": [hex(read_certificate(row.certificate).serial_number) for row in signers],
                "crl_number": max((head.crl_number for head in crls), default=None),
                "settings": {name: setting.of(issuer.policy) for name, setting in SETTINGS.items()},
            }

    shown = run(read())
    if json:
        print_json(shown)
        return
    settings = shown.pop("settings")
    print_pairs([*shown.items(), *settings.items()])


@app.command()
def remove(
    issuer_id: Annotated[str, typer.Argument(metavar="ID")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Stop answering for a CA and delete its certificates, signers and CRLs. Its key files stay where they are."""
    loaded = load_config(config)

    async def find_and_remove() -> str:
        async with open_stores(loaded, name="cli") as stores:
            issuer = await load_issuer(stores, issuer_id)
            if not yes:
                typer.confirm(
                    f"Forget {issuer.id} ({issuer_subject(issuer)}) with all its certificates and CRLs?", abort=True
                )
            await stores.issuer_store.remove(issuer.id, actor=actor())
            return issuer_subject(issuer)

    subject = run(find_and_remove())
    text = f"issuer {issuer_id} ({subject}) is forgotten; its key files in {loaded.keys.directory} are still there"
    print_result({"id": issuer_id, "subject": subject, "removed": True}, text, json=json)


_SETTINGS_HELP = "\n\n".join(
    ["What can be set (issuer show tells what is):", *(f"{name}: {each.may_be}." for name, each in SETTINGS.items())]
)


@app.command("set", epilog=_SETTINGS_HELP)
def set_policy(
    issuer_id: Annotated[str, typer.Argument(metavar="ID")],
    settings: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="For example nonce=ignore.")],
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Change settings of one CA. They take effect in every process at once.

    Settings that change the content of answers cause everything to be signed again; until then, earlier answers
    stay valid.
    """
    loaded = load_config(config)
    changes: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"{setting!r} isn't NAME=VALUE, as in nonce=ignore")
        changes[name] = value

    async def change() -> PolicyChange:
        async with open_stores(loaded, name="cli") as stores:
            return await stores.issuer_store.set_policy(issuer_id, changes, profile_of=make_profile, actor=actor())

    done = run(change())
    text = f"issuer {issuer_id}: {', '.join(settings)}"
    if done.signs_again:
        text += f"\neverything is signed again now, {done.signatures:,} signatures; until then older answers stay valid"
    document = {"id": issuer_id, **changes, "signs_again": done.signs_again, "signatures": done.signatures}
    print_result(document, text, json=json)


def issuer_subject(issuer: Issuer) -> str:
    """The CA's name for people."""
    return names.describe(issuer.name)

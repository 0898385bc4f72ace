"""`certstatus issuer`: the CAs this installation answers for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.files import certificate_in
from responder.cli.options import actor, key_folders, latest_revocation, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, print_pairs
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError
from responder.formats.crl import PublishedElsewhere, read_crl
from responder.operations.issuers import (
    OFFLINE,
    IssuerView,
    NewIssuer,
    add_issuer,
    add_offline_issuer,
    require_id,
    view_issuer,
)
from responder.operations.signers import GivenSigner
from responder.pki import MAX_CRL_NUMBER, Issuer, make_issuer, names
from responder.roles.stores import open_stores
from responder.signing.key_files import DEFAULT_KIND, KINDS
from responder.signing.signers import make_profile
from responder.signing.sizes import warnings
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
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="The CA's keys are kept elsewhere: give the answers that are imported (import ocsp-response).",
        ),
    ] = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Add a CA to answer for, with a delegated responder key or with the CA's own key; or, with --offline, one whose
    answers are made elsewhere.

    The first CRL is published after the first import, so that it isn't empty by mistake;
    with --crl or --no-crl at once.
    """
    loaded = load_config(config, needs_keys=not offline)
    if offline:
        if responder_key or responder_certificate or ca_key or crl_number or no_crl:
            raise ConfigError("--offline goes with --id, --certificate and --crl alone: nothing is signed here then")
        _add_offline(loaded, issuer_id, certificate, crl, json=json)
        return
    if (responder_key is None) != (responder_certificate is None):
        raise ConfigError("--responder-key and --responder-certificate go together; one of them is missing")
    if responder_key is None and ca_key is None:
        raise ConfigError(
            "give --responder-key and --responder-certificate, or --ca-key, or all three; or --offline alone, where "
            "answers are made elsewhere"
        )
    if (crl is not None) + (crl_number is not None) + no_crl > 1:
        raise ConfigError("--crl, --crl-number and --no-crl exclude each other; give one of them, or none")
    require_id(issuer_id)
    issuer = make_issuer(issuer_id, certificate_in(certificate).der)
    before = PublishedElsewhere(crl_number or 0) if crl is None else read_crl(crl, issuer, now=latest_revocation())
    signer = None
    if responder_key is not None and responder_certificate is not None:
        signer = GivenSigner(responder_key, certificate_in(responder_certificate).der, str(responder_certificate))
    starts = no_crl or crl is not None
    octets = run(_add(loaded, NewIssuer(issuer, signer, ca_key, algorithm, before, start_crls=starts)))
    text = f"issuer {issuer.id} added: {issuer_subject(issuer)}"
    if crl is not None:
        text += f"\nCRL {before.crl_number} taken over, {len(before.entries)} entries"
    if ca_key is None:
        text += "\nwithout the CA's key no CRLs are built for it"
    elif not starts:
        text += "\nits first CRL is published after the first import (certstatus import)"
    cautions = warnings(octets)
    text += "".join(f"\n{each}" for each in (f"its answers have up to {octets:,} octets", *cautions))
    result = {
        "id": issuer.id,
        "subject": issuer_subject(issuer),
        "crl": ca_key is not None,
        "crl_started": starts,
        "last_crl_number": before.crl_number,
        "crl_entries": len(before.entries),
        "longest_answer_octets": octets,
        "warnings": cautions,
    }
    print_result(result, text, json=json)


def _add_offline(config: Config, issuer_id: str, certificate: Path, crl: Path | None, *, json: bool) -> None:
    require_id(issuer_id)
    issuer = make_issuer(issuer_id, certificate_in(certificate).der, OFFLINE)
    before = PublishedElsewhere() if crl is None else read_crl(crl, issuer, now=latest_revocation())

    async def add() -> None:
        async with open_stores(config, name="cli") as stores:
            await add_offline_issuer(stores.issuer_store, issuer, before, now=SystemClock().now(), actor=actor())

    run(add())
    text = f"issuer {issuer.id} added: {issuer_subject(issuer)}, offline: nothing is signed for it here"
    if crl is not None:
        text += f"\nCRL {before.crl_number} taken over, {len(before.entries)} entries"
    text += "\nits answers come with certstatus import ocsp-response; certstatus root-day says how they are made"
    result = {
        "id": issuer.id,
        "subject": issuer_subject(issuer),
        "offline": True,
        "last_crl_number": before.crl_number,
        "crl_entries": len(before.entries),
    }
    print_result(result, text, json=json)


async def _add(config: Config, new: NewIssuer) -> int:
    async with open_stores(config, name="cli") as stores:
        return await add_issuer(
            stores.issuer_store, new, folders=key_folders(config), now=SystemClock().now(), actor=actor()
        )


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

    async def read() -> IssuerView:
        async with open_stores(loaded, name="cli") as stores:
            return await view_issuer(stores.signer_store, stores.crls, await load_issuer(stores, issuer_id))

    shown = asdict(run(read()))
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

"""The command `certstatus`."""

from __future__ import annotations

import typer

from responder import __version__
from responder.cli import (
    config,
    db,
    demo,
    imports,
    issuer,
    lint,
    loadtest,
    looking,
    offline,
    output,
    plan,
    presign,
    query,
    register,
    revoke,
    roles,
    signer,
)

app = typer.Typer(
    name="certstatus",
    help="A high-throughput OCSP and CRL responder.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(roles.run)
app.command()(roles.serve)
app.command()(roles.work)
app.command()(roles.crl)
app.command()(register.register)
app.command()(revoke.revoke)
app.command()(presign.presign)
app.command()(plan.plan)
app.command("root-day")(offline.print_root_day)
app.command()(loadtest.loadtest)
app.command()(query.query)
app.command("lint")(lint.lint_files)
app.command()(looking.show)
app.command("list")(looking.list_certificates)
app.command()(looking.export)
app.add_typer(issuer.app, name="issuer")
app.add_typer(signer.app, name="signer")
imports.app.command("ocsp-response")(offline.import_ocsp_response)
app.add_typer(imports.app, name="import")
app.add_typer(db.app, name="db")
app.add_typer(config.app, name="config")


def _print_version(value: bool) -> None:
    if value:
        output.say(f"certstatus {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_print_version, is_eager=True),
) -> None:
    pass


def main() -> None:
    """Run a command; what is ours to say comes as a sentence and an exit code, never as a traceback."""
    with output.exit_on_error():
        app()


if __name__ == "__main__":
    main()

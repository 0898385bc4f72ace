"""README's path for an existing `openssl ca`, command by command, judged by openssl."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from responder.demo.checks import ask_openssl
from tests.commandline import CA, CA_CONFIG, Site, make_ca, open_site, openssl


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CA:
    made = make_ca(tmp_path_factory.mktemp("ca"))
    for name in ("good", "revoked", "held", "later"):
        made.issue(name)
    made.revoke("revoked", "-crl_reason", "keyCompromise")
    made.revoke("held", "-crl_hold", "holdInstructionReject")
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


def test_the_path_of_the_readme(ca: CA, site: Site) -> None:
    index = str(ca.folder / "index.txt")
    assert "fine" in site.succeed("config", "check")
    assert "0001_initial" in site.succeed("db", "migrate")
    assert "up to date" in site.succeed("db", "migrate")

    unknown = site.command("import", "openssl-index", index, "--issuer", "example")
    assert unknown.returncode == 2
    assert "certstatus issuer add" in unknown.stderr

    added = site.succeed(
        "issuer", "add", "--id", "example", "--certificate", str(ca.folder / "ca.pem"), "--ca-key",
        str(ca.folder / "ca.key"),
    )  # fmt: skip
    assert "Example CA" in added
    keys = sorted(path.relative_to(site.folder / "keys") for path in (site.folder / "keys").rglob("*.pem"))
    assert [str(path) for path in keys] == ["ca/example-ca.pem", "example.pem"]
    again = site.command(
        "issuer", "add", "--id", "example", "--certificate", str(ca.folder / "ca.pem"), "--ca-key",
        str(ca.folder / "ca.key"),
    )  # fmt: skip
    assert again.returncode == 2
    assert sorted((site.folder / "keys").rglob("*.pem")) == [site.folder / "keys" / path for path in keys]

    dry = json.loads(site.succeed("import", "openssl-index", index, "--issuer", "example", "--dry-run", "--json"))
    assert (dry["dry_run"], dry["added"]) == (True, 4)
    report = json.loads(site.succeed("import", "openssl-index", index, "--issuer", "example", "--json"))
    assert (report["listed"], report["added"], report["kept_revoked"]) == (4, 4, 0)

    with site.running():
        ask_everything(ca, site)
        revoke_and_import_again(ca, site, index)
        replace_the_signer(ca, site)
        assert b"Content-Type" in spelling_of_headers(site), "the lane answers"
    with site.running("--no-lane"):
        assert b"content-type" in spelling_of_headers(site), "Hypercorn answers"


def spelling_of_headers(site: Site) -> list[bytes]:
    answer = httpx.post(f"{site.url}/ocsp", content=b"junk", trust_env=False)
    assert answer.content.hex() == "30030a0101"
    return [name for name, _ in answer.headers.raw]


def ask_everything(ca: CA, site: Site) -> None:
    certificate = str(ca.folder / "ca.pem")
    for name, status in (("good", "good"), ("revoked", "revoked"), ("held", "revoked"), ("later", "good")):
        for options in ((), ("-no_nonce",), ("-sha256",)):
            assert ask_openssl(str(ca.folder / f"{name}.pem"), certificate, f"{site.url}/ocsp", *options) == status
    never = ca.issue("unregistered")
    assert ask_openssl(str(never), certificate, f"{site.url}/ocsp") == "unauthorized"
    crl = site.fetch_crl("example")
    reasons = {entry.serial_number: reason_of(entry) for entry in crl}
    assert sorted(reasons.values()) == ["certificateHold", "keyCompromise"]
    (site.folder / "published.crl").write_bytes(site.fetch_crl_octets("example"))
    said = openssl(site.folder, "crl", "-inform", "DER", "-in", "published.crl", "-CAfile", certificate, "-noout")
    assert "verify OK" in said


def reason_of(entry: x509.RevokedCertificate) -> str:
    return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value


def revoke_and_import_again(ca: CA, site: Site, index: str) -> None:
    certificate = str(ca.folder / "ca.pem")
    ca.revoke("later", "-crl_reason", "superseded")
    report = json.loads(site.succeed("import", "openssl-index", index, "--issuer", "example", "--json"))
    assert (report["added"], report["newly_revoked"], report["unchanged"]) == (1, 1, 3)
    deadline = time.monotonic() + 30
    while ask_openssl(str(ca.folder / "later.pem"), certificate, f"{site.url}/ocsp", "-no_nonce") != "revoked":
        assert time.monotonic() < deadline, "the imported revocation never arrived"
        time.sleep(0.1)
    site.succeed(
        "revoke", "--issuer", "example", "--certificate", str(ca.folder / "good.pem"), "--reason", "superseded"
    )
    assert ask_openssl(str(ca.folder / "good.pem"), certificate, f"{site.url}/ocsp", "-no_nonce") == "revoked"
    site.succeed("issuer", "set", "example", "unknown_serial=unknown", "nonce=ignore")
    never = ca.issue("never-registered")
    while ask_openssl(str(never), certificate, f"{site.url}/ocsp") != "unknown":
        assert time.monotonic() < deadline, "the policy never arrived"
        time.sleep(0.1)
    kept = json.loads(site.succeed("import", "openssl-index", index, "--issuer", "example", "--json"))
    assert kept["kept_revoked"] == 1, "good in the index, revoked here: it stays revoked"


def signers(site: Site) -> list[int]:
    rows = json.loads(site.succeed("signer", "list", "--json"))
    return [int(row["serial"], 16) for row in rows if row["issuer"] == "example"]


def states(site: Site, *options: str) -> dict[int, str]:
    rows = json.loads(site.succeed("signer", "list", "--json", *options))
    return {int(row["serial"], 16): row["state"] for row in rows if row["issuer"] == "example"}


def signer_of_the_answer(ca: CA, site: Site) -> int | None:
    """Whose certificate is in the answer for `revoked`; None for an answer that says try later."""
    certificate = x509.load_pem_x509_certificate((ca.folder / "revoked.pem").read_bytes())
    issuer = x509.load_pem_x509_certificate((ca.folder / "ca.pem").read_bytes())
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()
    answer = httpx.post(f"{site.url}/ocsp", content=request.public_bytes(Encoding.DER), trust_env=False).content
    response = ocsp.load_der_ocsp_response(answer)
    if response.response_status is ocsp.OCSPResponseStatus.TRY_LATER:
        return None
    assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED
    return response.certificates[0].serial_number


def replace_the_signer(ca: CA, site: Site) -> None:
    (old,) = signers(site)
    assert signer_of_the_answer(ca, site) == old
    for arguments, word in (
        (["--serial", hex(old)], "--even-if-last"),
        (["--serial", "0xdead"], "no responder certificate of this serial"),
        (["--serial", "forty"], "hexadecimal"),
    ):
        refused = site.command("signer", "retire", "--issuer", "example", "--now", *arguments)
        assert refused.returncode == 2
        assert word in refused.stderr
    assert re.search(
        r"added; its answers have up to [\d,]+ octets\n$", site.succeed("signer", "add", "--issuer", "example")
    )
    (new,) = set(signers(site)) - {old}
    assert states(site) == {new: "signs", old: "in reserve"}
    retire = ("signer", "retire", "--issuer", "example", "--json", "--now")
    report = json.loads(site.succeed(*retire, "--serial", hex(old)))
    assert (report["certificates"], report["signed_again"]) == (1, True)
    assert signers(site) == [new]
    deadline = time.monotonic() + 30
    while (signer := signer_of_the_answer(ca, site)) != new:
        assert signer is None or signer == old
        assert time.monotonic() < deadline, "the new signer never came"
        time.sleep(0.1)

    # A key is lost and there is no other: nothing that it signed is answered, until there is.
    lost = site.command(*retire, "--serial", hex(new), "--even-if-last")
    assert lost.returncode == 3
    assert "certstatus signer add" in lost.stderr
    assert json.loads(lost.stdout)["signed_again"] is False
    while signer_of_the_answer(ca, site) is not None:
        assert time.monotonic() < deadline, "answers of the lost key"
        time.sleep(0.1)
    site.succeed("signer", "add", "--issuer", "example")
    (last,) = signers(site)
    while signer_of_the_answer(ca, site) != last:
        assert time.monotonic() < deadline, "the last signer never came"
        time.sleep(0.1)
    rows = json.loads(site.succeed("signer", "list", "--retired", "--json"))
    assert {int(row["serial"], 16) for row in rows if row["retired_at"]} == {old, new}
    assert states(site, "--retired") == {old: "retired", new: "retired", last: "signs"}


def test_a_delegate_given_by_hand(ca: CA, site: Site) -> None:
    site.succeed("db", "migrate")
    other = CA(ca.folder)
    openssl(ca.folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            "ca2.key", "-out", "ca2.pem", "-subj", "/CN=Second CA", "-days", "365")  # fmt: skip
    config = ca.folder / "ca2.cnf"
    config.write_text(CA_CONFIG.replace("ca.pem", "ca2.pem").replace("ca.key", "ca2.key"))
    openssl(ca.folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            "ocsp.key", "-out", "ocsp.csr", "-subj", "/CN=OCSP")  # fmt: skip
    openssl(ca.folder, "ca", "-batch", "-config", "ca2.cnf", "-in", "ocsp.csr", "-out", "ocsp.pem", "-notext",
            "-extensions", "responder")  # fmt: skip
    (ca.folder / "ocsp.key").chmod(0o600)
    plain = other.issue("plain", "-config", "ca2.cnf")
    options = [
        "--id",
        "second",
        "--certificate",
        str(ca.folder / "ca2.pem"),
        "--responder-key",
        str(ca.folder / "ocsp.key"),
    ]
    wrong = site.command("issuer", "add", *options, "--responder-certificate", str(plain))
    assert wrong.returncode == 2
    assert "belong together" in wrong.stderr
    assert not (site.folder / "keys" / "second.pem").exists(), "nothing half-applied"
    assert "no CRLs" in site.succeed("issuer", "add", *options, "--responder-certificate", str(ca.folder / "ocsp.pem"))
    assert "second" in site.succeed("issuer", "list")


BAD_COMMANDS = {
    "no certificate there": (
        ["issuer", "add", "--id", "x", "--certificate", "/nowhere.pem", "--ca-key", "/k"],
        "/nowhere.pem",
    ),
    "half a responder": (["issuer", "add", "--id", "x", "--certificate", "/x", "--responder-key", "/k"], "go together"),
    "no key at all": (["issuer", "add", "--id", "x", "--certificate", "/x"], "--ca-key"),
    "no issuer named": (["revoke", "0x1"], "--issuer"),
    "a decimal serial": (["revoke", "4711", "--issuer", "x"], "hexadecimal"),
    "an unknown reason": (["revoke", "0x1", "--issuer", "x", "--reason", "bored"], "keyCompromise"),
    "a list that is not there": (["import", "openssl-index", "/nowhere", "--issuer", "x"], "/nowhere"),
    "a setting without a value": (["issuer", "set", "x", "nonce"], "NAME=VALUE"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_a_bad_command_is_a_sentence_and_exit_code_2(site: Site, case: str) -> None:
    arguments, word = BAD_COMMANDS[case]
    done = site.command(*arguments)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_index_names_its_lines_and_imports_nothing(site: Site, tmp_path: Path) -> None:
    index = tmp_path / "index.txt"
    index.write_text("V\t300101000000Z\t\t01\tunknown\t/CN=a\nnonsense\nR\t300101000000Z\tbad\t02\tunknown\t/CN=b\n")
    done = site.command("import", "openssl-index", str(index), "--issuer", "example")
    assert done.returncode == 1
    assert re.search(r"line 2\b", done.stderr)
    assert re.search(r"line 3\b", done.stderr)


def test_run_without_a_schema_is_one_sentence(site: Site) -> None:
    """It was about 45 lines, of five processes that each tried five times."""
    found = re.search(r'url = "(postgresql[^"]*)"', (site.folder / "certstatus.toml").read_text())
    assert found is not None
    environment = {"CERTSTATUS_POSTGRES_URL": found[1].replace("/postgres?", "/template1?")}
    done = site.command("run", environment=environment)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "run: certstatus db migrate" in line
    environment = {"CERTSTATUS_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/x"}
    done = site.command("run", environment=environment)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


def test_a_command_reads_only_the_secrets_that_it_needs(site: Site) -> None:
    """The admin token is often readable by root alone, and the keys by the service."""
    environment = {"CERTSTATUS_ADMIN_TOKEN_FILE": "/nowhere", "CERTSTATUS_KEYS_DIRECTORY": "/nowhere"}
    site.succeed("db", "migrate")
    for command in (["issuer", "list"], ["signer", "list"], ["import", "list"], ["db", "check"]):
        done = site.command(*command, environment=environment)
        assert done.returncode == 0, done.stderr
    assert "admin.token_file" in site.command("run", environment=environment).stderr


def test_errors_are_json_where_that_is_asked(site: Site, tmp_path: Path) -> None:
    index = tmp_path / "index.txt"
    index.write_text("nonsense\n")
    done = site.command("import", "openssl-index", str(index), "--issuer", "example", "--json")
    document = json.loads(done.stderr)
    assert (done.returncode, document["exit_code"], document["lines"][0]["line"]) == (1, 1, 1)
    done = site.command("issuer", "show", "nobody", "--json")
    assert json.loads(done.stderr)["exit_code"] == done.returncode == 2


def test_an_unreachable_database_is_exit_code_3(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "responder", "db", "migrate"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "CERTSTATUS_CONFIG": str(site.folder / "certstatus.toml"),
            "CERTSTATUS_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/x",
        },
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_a_configuration_with_faults_does_not_start(site: Site, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[serve]\nlisten = "nowhere"\nworkers = -1\n[colours]\nred = 1\n')
    for command in (["config", "check", "-c", str(bad)], ["run", "-c", str(bad)]):
        done = site.command(*command)
        assert done.returncode == 2
        for key in ("serve.listen", "serve.workers", "colours"):
            assert key in done.stderr

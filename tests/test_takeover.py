"""A CA that published CRLs before goes on with ours: `issuer add --crl`, from the command line to what is served."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from responder.demo.checks import ask_openssl
from tests.commandline import CA, PSS_SIGNATURES, RSA, RSA_PSS, Site, make_ca, open_site, openssl

LAST_NUMBER = 0x2A
KEYS = {"rsa": (RSA, ()), "rsa-pss": (RSA_PSS, PSS_SIGNATURES)}


@dataclass(frozen=True)
class Entry:
    """What a CRL says of one certificate."""

    revoked_at: datetime
    reason: str | None
    invalidity_date: datetime | None


def entries_of(crl: x509.CertificateRevocationList) -> dict[int, Entry]:
    found = {}
    for entry in crl:
        values = {type(extension.value): extension.value for extension in entry.extensions}
        reason, invalid = values.get(x509.CRLReason), values.get(x509.InvalidityDate)
        found[entry.serial_number] = Entry(
            entry.revocation_date_utc,
            None if reason is None else reason.reason.value,
            None if invalid is None else invalid.invalidity_date_utc,
        )
    return found


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        opened.succeed("db", "migrate")
        yield opened


@pytest.fixture(scope="module", params=KEYS)
def ca(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CA:
    key, signature_options = KEYS[request.param]
    made = make_ca(tmp_path_factory.mktemp(request.param), key, signature_options)
    for name in ("good", "plain", "compromised", "held"):
        made.issue(name)
    made.revoke("plain")
    made.revoke("compromised", "-crl_compromise", "20260102030405Z")
    made.revoke("held", "-crl_hold", "holdInstructionReject")
    (made.folder / "crlnumber").write_text(f"{LAST_NUMBER:02X}\n")
    made.publish("last.pem")
    return made


def add(site: Site, ca: CA, name: str, *options: str) -> tuple[str, ...]:
    return (
        "issuer", "add", "--id", name, "--certificate", ca.certificate, "--ca-key", str(ca.folder / "ca.key"), *options,
    )  # fmt: skip


def test_numbers_and_entries_go_on(ca: CA, site: Site) -> None:
    name = ca.folder.name.rstrip("0123456789")
    last = x509.load_pem_x509_crl((ca.folder / "last.pem").read_bytes())
    assert (number_of(last), len(entries_of(last))) == (LAST_NUMBER, 3)

    refused = site.command(*add(site, ca, name, "--crl", str(ca.folder / "last.pem"), "--crl-number", "5"))
    assert refused.returncode == 2
    assert "exclude each other" in refused.stderr

    added = json.loads(site.succeed(*add(site, ca, name, "--crl", str(ca.folder / "last.pem"), "--json")))
    assert (added["last_crl_number"], added["crl_entries"], added["crl_started"]) == (LAST_NUMBER, 3, True)
    site.succeed("issuer", "set", name, "crl_delay_seconds=0")
    with site.running():
        crl = site.fetch_crl(name)
        assert number_of(crl) == LAST_NUMBER + 1
        assert entries_of(crl) == entries_of(last)
        assert crl.signature_algorithm_oid == last.signature_algorithm_oid
        (ca.folder / "ours.crl").write_bytes(site.fetch_crl_octets(name))
        said = openssl(ca.folder, "crl", "-inform", "DER", "-in", "ours.crl", "-CAfile", "ca.pem", "-noout")
        assert "verify OK" in said

        for certificate in ("plain", "compromised", "held"):
            path = str(ca.folder / f"{certificate}.pem")
            assert ask_openssl(path, ca.certificate, f"{site.url}/ocsp") == "revoked"
        # The list says nothing of the others: that they were issued comes with the index.
        assert ask_openssl(str(ca.folder / "good.pem"), ca.certificate, f"{site.url}/ocsp") == "unauthorized"
        report = json.loads(
            site.succeed("import", "openssl-index", str(ca.folder / "index.txt"), "--issuer", name, "--json")
        )
        assert (report["added"], report["newly_revoked"], report["kept_revoked"]) == (1, 0, 0)
        assert ask_openssl(str(ca.folder / "good.pem"), ca.certificate, f"{site.url}/ocsp") == "good"
        good = x509.load_pem_x509_certificate((ca.folder / "good.pem").read_bytes())
        site.succeed("revoke", "--issuer", name, "--certificate", str(ca.folder / "good.pem"), "--reason", "superseded")
        assert ask_openssl(str(ca.folder / "good.pem"), ca.certificate, f"{site.url}/ocsp") == "revoked"
        after = wait_for_entry(site, name, good.serial_number)
        assert after[good.serial_number].reason == "superseded"
        assert {serial: entry for serial, entry in after.items() if serial != good.serial_number} == entries_of(last)


def wait_for_entry(site: Site, name: str, serial_number: int) -> dict[int, Entry]:
    deadline = time.monotonic() + 30
    while serial_number not in (entries := entries_of(site.fetch_crl(name))):
        assert time.monotonic() < deadline, "the revocation is on no CRL"
        time.sleep(0.1)
    return entries


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ("another CA's", "isn't signed with the key"),
        ("cut short", "not a CRL"),
        ("without a number", "no CRLNumber"),
    ],
)
def test_a_list_that_is_not_the_last_one_of_this_ca_adds_nothing(
    site: Site, tmp_path: Path, made: str, sentence: str
) -> None:
    ca = make_ca(tmp_path)
    path = ca.publish("last.pem")
    if made == "another CA's":
        (tmp_path / "other").mkdir()
        path = make_ca(tmp_path / "other").publish("last.pem")
    elif made == "cut short":
        path.write_bytes(path.read_bytes()[:200])
    else:
        config = tmp_path / "ca.cnf"
        config.write_text(config.read_text().replace("crlnumber = crlnumber\n", ""))
        path = ca.publish("last.pem")
    before = sorted((site.folder / "keys").rglob("*"))
    refused = site.command(*add(site, ca, "refused", "--crl", str(path)))
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert str(path) in refused.stderr
    assert "refused" not in site.succeed("issuer", "list")
    assert sorted((site.folder / "keys").rglob("*")) == before

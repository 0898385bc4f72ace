"""`certstatus show`, `list` and `export`, as an operator uses them, judged by openssl."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from responder.formats import openssl_index
from tests.commandline import CA, Site, make_known_ca, open_migrated_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_migrated_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def ca(site: Site, tmp_path_factory: pytest.TempPathFactory) -> CA:
    """With six certificates, taken over from its index: good, revoked with and without a reason, on hold."""
    made = make_known_ca(site, tmp_path_factory.mktemp("ca"))
    for name in ("good", "plain", "superseded", "hold", "keytime", "other"):
        made.issue(name)
    made.revoke("plain")
    made.revoke("superseded", "-crl_reason", "superseded")
    made.revoke("hold", "-crl_reason", "certificateHold")
    made.revoke("keytime", "-crl_compromise", "20260101120000Z")
    site.succeed("import", "openssl-index", str(made.folder / "index.txt"), "--issuer", "example")
    return made


def test_one_by_its_serial_or_its_certificate(site: Site, ca: CA) -> None:
    told = json.loads(site.succeed("show", str(ca.folder / "superseded.pem"), "--json"))
    assert (told["issuer"], told["serial"], told["status"], told["reason"]) == (
        "example", "0x1002", "revoked", "superseded",
    )  # fmt: skip
    assert told["record"] is None, "nothing runs that signs"
    text = site.succeed("show", "0x1002", "--issuer", "example")
    assert "superseded" in text
    assert "revoked, signed when it is asked for" in text
    missing = site.command("show", "0x9999", "--issuer", "example")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "isn't registered; the answer is unauthorized" in missing.stderr
    assert site.command("show", "0x9999").returncode == 2
    negative = site.command("show", "--issuer", "example", "--", "-0x9999")
    assert "-0x9999 of example isn't registered" in negative.stderr


def test_what_is_listed(site: Site, ca: CA) -> None:
    told = json.loads(site.succeed("list", "--issuer", "example", "--revoked", "--json"))
    assert [each["serial"] for each in told["certificates"]] == ["0x1001", "0x1002", "0x1003", "0x1004"]
    told = json.loads(site.succeed("list", "--issuer", "example", "--good", "--json"))
    assert [each["serial"] for each in told["certificates"]] == ["0x1000", "0x1005"]
    first = site.succeed("list", "--issuer", "example", "--limit", "4")
    assert "and more: --after 0x1003" in first
    rest = site.succeed("list", "--issuer", "example", "--limit", "4", "--after", "0x1003")
    assert ("0x1004" in rest, "0x1005" in rest, "0x1003" in rest, "more" in rest) == (True, True, False, False)
    assert "no such certificates" in site.succeed("list", "--issuer", "example", "--expiring", "1")
    assert "0x1000" in site.succeed("list", "--issuer", "example", "--expiring", "31")


def test_an_index_that_is_exported_is_read_by_openssl_as_its_own(site: Site, ca: CA) -> None:
    own = ca.folder / "index.txt"
    before, theirs = own.read_bytes(), x509.load_pem_x509_crl(ca.publish("theirs.pem").read_bytes())
    try:
        site.succeed("export", "--issuer", "example", "--format", "openssl-index", "--output", str(own))
        assert openssl_index.parse(own.read_bytes()) == openssl_index.parse(before)
        ours = x509.load_pem_x509_crl(ca.publish("ours.pem").read_bytes())
    finally:
        own.write_bytes(before)
    assert [(each.serial_number, each.revocation_date_utc, list(each.extensions)) for each in ours] == [
        (each.serial_number, each.revocation_date_utc, list(each.extensions)) for each in theirs
    ]
    assert len(ours) == 4


def test_lines_and_a_file_that_is_whole_or_not_there(site: Site, ca: CA, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in site.succeed("export", "--issuer", "example").splitlines()]
    assert [each["serial"] for each in lines] == [hex(number) for number in range(0x1000, 0x1006)]
    assert {each["status"] for each in lines} == {"good", "revoked"}
    refused = site.command("export", "--issuer", "nobody", "--output", str(tmp_path / "out"))
    assert (refused.returncode, os.listdir(tmp_path)) == (2, [])
    nowhere = site.command("export", "--issuer", "example", "--output", str(tmp_path / "no" / "out"))
    assert nowhere.returncode == 2
    assert "it can't be written" in nowhere.stderr
    assert "one of ndjson, openssl-index" in site.command("export", "--issuer", "example", "--format", "csv").stderr

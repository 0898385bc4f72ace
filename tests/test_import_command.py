"""`certstatus import` as an operator uses it: again and again, of the wrong CA, and taken back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CA, Site, make_ca, make_known_ca, open_migrated_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_migrated_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def ca(site: Site, tmp_path_factory: pytest.TempPathFactory) -> CA:
    return make_known_ca(site, tmp_path_factory.mktemp("ca"))


def line(serial: str, revocation: str = "") -> str:
    return f"{'R' if revocation else 'V'}\t391231000000Z\t{revocation}\t{serial}\tunknown\t/CN=x\n"


def take(site: Site, tmp_path: Path, text: str, *options: str) -> dict[str, Any]:
    index = tmp_path / "index.txt"
    index.write_text(text)
    done = site.command("import", "openssl-index", str(index), "--issuer", "example", "--json", *options)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_weaker_list_changes_nothing_and_says_so(site: Site, ca: CA, tmp_path: Path) -> None:
    """A compromised key was superseded, on hold, and good again, by two imports and a release."""
    take(site, tmp_path, line("0111") + line("0112"))
    site.succeed("revoke", "0x111", "--issuer", "example", "--reason", "keyCompromise")
    index = tmp_path / "index.txt"
    for revocation in ("260101000000Z,superseded", "260101000000Z", "260101000000Z,certificateHold"):
        index.write_text("# a comment\n" + line("0112") + line("0111", revocation))
        said = site.succeed("import", "openssl-index", str(index), "--issuer", "example")
        assert "1 kept reason" in said
        assert "line 3, serial 0x111: the list says revoked" in said
        assert "kept revoked for keyCompromise" in said
    refused = site.command("revoke", "0x111", "--issuer", "example", "--reason", "removeFromCRL")
    assert refused.returncode == 1
    assert "revoked for good, for keyCompromise" in refused.stderr
    document = take(site, tmp_path, line("0111") + line("0112"))
    assert document["kept_revoked"] == 1
    (conflict,) = document["conflicts"]
    assert (conflict["line"], conflict["serial"], conflict["list_says"]) == (1, "0x111", "good")


def test_an_import_is_taken_back(site: Site, ca: CA, tmp_path: Path) -> None:
    take(site, tmp_path, line("0201") + line("0202"), "--force")
    wrong = take(site, tmp_path, line("0201", "260101000000Z,superseded") + line("0203"))
    job = str(wrong["import"])
    dry = json.loads(site.succeed("import", "undo", job, "--dry-run", "--json"))
    assert (dry["removed"], dry["restored"], dry["good_again"]) == (1, 1, 1)
    unasked = site.command("import", "undo", job)
    assert unasked.returncode == 1
    assert "good again" in unasked.stdout + unasked.stderr
    assert "taken back" in site.succeed("import", "undo", job, "--yes")
    again = site.command("import", "undo", job, "--yes")
    assert again.returncode == 1
    assert "already" in again.stderr
    assert "no import 4711" in site.command("import", "undo", "4711", "--yes").stderr
    listed = {row["id"]: row for row in json.loads(site.succeed("import", "list", "--json"))}
    assert listed[int(job)]["undone_at"]
    assert listed[int(job)]["actor"].startswith("cli:")
    assert "undone at" in site.succeed("import", "list")


def test_a_certificate_beside_the_index_tells_whose_list_it_is(
    site: Site, ca: CA, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first import of a CA has nothing else to go by."""
    other = make_ca(tmp_path_factory.mktemp("other"))
    other.issue("leaf")
    key = str(other.folder / "ca.key")
    site.succeed("issuer", "add", "--id", "other", "--certificate", other.certificate, "--ca-key", key)
    theirs = str(other.folder / "index.txt")
    refused = site.command("import", "openssl-index", theirs, "--issuer", "example")
    assert refused.returncode == 1
    assert "certs/1000.pem is in the list and was issued by CN=Example CA,O=Example" in refused.stderr
    assert "1 added" in site.succeed("import", "openssl-index", theirs, "--issuer", "other")


def test_a_first_list_of_another_organization_needs_force(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where no certificates lie beside it, the subjects are all that tells whose it is."""
    folder = tmp_path_factory.mktemp("organizations")
    made = make_ca(tmp_path_factory.mktemp("organized"))
    key = str(made.folder / "ca.key")
    site.succeed("issuer", "add", "--id", "organized", "--certificate", made.certificate, "--ca-key", key)
    index = folder / "index.txt"

    def subjects(*names: str) -> list[str]:
        index.write_text("".join(f"V\t391231000000Z\t\t{n:04X}\tunknown\t{name}\n" for n, name in enumerate(names, 1)))
        return ["import", "openssl-index", str(index), "--issuer", "organized"]

    refused = site.command(*subjects("/C=DE/O=Other AG/CN=a", "/O=Third/CN=b/emailAddress=x"))
    assert refused.returncode == 1
    assert "none of the subjects in the list has the organization of organized (example), but other ag, third" in (
        refused.stderr
    )
    assert "--force" in refused.stderr
    # A subject without an organization, or one that isn't plain, says nothing; the CA's own settles it.
    for names in (
        ("/O=Other AG/CN=a", "/CN=b"),
        ("/O=M\\xC3\\xBCller/CN=a", "/O=Other AG/CN=b"),
        ("/CN=a/O=EXAMPLE", "/O=Other AG/CN=b"),
    ):
        assert "2 added" in site.succeed(*subjects(*names), "--dry-run"), names
    assert "2 added" in site.succeed(*subjects("/O=Other AG/CN=a", "/O=Third/CN=b"), "--force")
    # From then on it is the serial numbers that count.
    assert "1 added" in site.succeed(*subjects("/O=Other AG/CN=a", "/O=Third/CN=b", "/O=Fourth/CN=c"))


def test_a_file_of_another_kind_is_told_in_a_line(site: Site, ca: CA, tmp_path: Path) -> None:
    index = tmp_path / "other.txt"
    index.write_text("these are words\n" * 150 + "V\tand\ttabs\n")
    refused = site.command("import", "openssl-index", str(index), "--issuer", "example")
    assert refused.returncode == 1
    said = refused.stderr.strip().splitlines()
    assert len(said) <= 3, said
    assert "lines 1, 2, 3, 4, 5 and 95 more: it has 0 TABs instead of 5" in said[1]


def test_another_cas_index_needs_force(site: Site, ca: CA, tmp_path: Path) -> None:
    take(site, tmp_path, line("0301"), "--force")
    index = tmp_path / "theirs.txt"
    index.write_text(line("7F00000000000000000000000000000001"))
    refused = site.command("import", "openssl-index", str(index), "--issuer", "example")
    assert refused.returncode == 1
    assert "looks like another CA's" in refused.stderr
    assert "--force" in refused.stderr
    index.write_text("")
    assert site.command("import", "openssl-index", str(index), "--issuer", "example").returncode == 1


def test_what_is_seldom_done_works_from_the_command_line(
    site: Site, ca: CA, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked = site.command("db", "recover")
    assert asked.returncode == 1
    recovered = json.loads(site.succeed("db", "recover", "--yes", "--json"))
    assert recovered["epoch"] == 2
    assert json.loads(site.succeed("db", "check", "--json")) == []
    empty = make_ca(tmp_path_factory.mktemp("empty"))
    key = str(empty.folder / "ca.key")
    site.succeed("issuer", "add", "--id", "empty", "--certificate", empty.certificate, "--ca-key", key)
    assert "CRLs are published from now on" in site.succeed("issuer", "start-crls", "empty")
    assert "there is no such issuer" in site.command("issuer", "start-crls", "nobody").stderr
    assert "empty" in site.succeed("signer", "list")
    assert site.command("issuer", "set", "empty", "nonce").returncode == 2
    shown = json.loads(site.succeed("issuer", "show", "empty", "--json"))
    assert (shown["crl_number"], len(shown["signers"])) == (None, 1)
    assert json.loads(site.succeed("issuer", "remove", "empty", "--yes", "--json"))["removed"] is True


def test_a_watched_index_is_taken_over_whenever_openssl_has_changed_it(site: Site, ca: CA, tmp_path: Path) -> None:
    """With `openssl ca` itself; what is revoked here stays revoked, and a broken file ends nothing."""
    index, log = ca.folder / "index.txt", tmp_path / "log"
    leaf = ca.issue("watched")
    with log.open("w") as output:
        watching = subprocess.Popen(
            [sys.executable, "-m", "responder", "import", "openssl-index", str(index), "--issuer", "example", "--watch",
             "--force", "-c", str(site.folder / "certstatus.toml")],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually(lambda: status_of(site, leaf) == "good", log)
        other = ca.issue("other")
        eventually(lambda: status_of(site, other) == "good", log)
        ca.revoke("watched", "-crl_reason", "keyCompromise")
        eventually(lambda: status_of(site, leaf) == "revoked", log)
        whole = index.read_text()
        index.write_text(whole[:-5])
        eventually(lambda: "bad line" in log.read_text(), log)
        serials = [each.split("\t")[3] for each in whole.splitlines()]
        index.write_text("".join(map(line, serials)))  # all are good
        eventually(lambda: "kept revoked" in log.read_text(), log)
        assert status_of(site, leaf) == "revoked"
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(20) == 0
        assert "Traceback" not in log.read_text()
    finally:
        watching.kill()
        watching.wait()


def status_of(site: Site, certificate: Path) -> str | None:
    shown: dict[str, Any] = json.loads(site.command("show", str(certificate), "--json").stdout)
    status: str | None = shown.get("status")
    return status


def eventually(check: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_watching_changes_something(site: Site, ca: CA) -> None:
    index = str(ca.folder / "index.txt")
    done = site.command("import", "openssl-index", index, "--issuer", "example", "--watch", "--dry-run")
    assert done.returncode == 2
    assert "leave one of them out" in done.stderr
    nobody = site.command("import", "openssl-index", index, "--issuer", "nobody", "--watch")
    assert nobody.returncode == 2

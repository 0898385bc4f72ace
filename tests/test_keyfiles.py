"""Whose key files are: what root makes for a service must be the service's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from responder._native import verify
from responder.errors import ConfigError
from responder.signing.key_files import KINDS, install_key, make_key_file
from responder.signing.keys import KeyRing, load_key
from tests.makers import make_ca, new_key, pem, pkcs8, spki


def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((Path(path).name.split(".pem")[0], uid, gid)))
    owner = tmp_path.stat()
    make_key_file(tmp_path, "made.pem")
    source = tmp_path / "source"
    source.touch(mode=0o600)
    source.write_bytes(pem(new_key("ec")))
    install_key(source, tmp_path / "ca", "copied.pem")
    expected = (owner.st_uid, owner.st_gid)
    assert given == [("made", *expected), ("ca", *expected), ("copied", *expected)]


def test_others_give_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "chown", lambda *_: pytest.fail("only root may"))
    make_key_file(tmp_path, "made.pem")


def test_a_key_that_may_not_be_read_says_who_must_own_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = make_key_file(tmp_path, "made.pem")

    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ConfigError, match=f"who must own it: chown .* {path}"):
        load_key(path)
    (fault,) = KeyRing(tmp_path).faults
    assert "chown" in fault


def test_a_folder_that_may_not_be_read_is_a_fault_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    ring = KeyRing(tmp_path)
    assert len(ring) == 0
    (fault,) = ring.faults
    assert "must belong to" in fault


def private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def test_a_key_is_found_in_any_form_it_is_written_in(tmp_path: Path) -> None:
    """PEM of PKCS#8 and of before it, after other blocks and text, and DER."""
    for kind in ("ec", "rsa", "ed25519", "bp256"):
        key = new_key(kind)
        forms = {"pkcs8": pem(key), "der": pkcs8(key)}
        if kind in {"ec", "rsa"}:
            forms["traditional"] = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        forms["after others"] = (
            b"some text\n" + pem_certificate() + forms.get("traditional", forms["pkcs8"]) + b"\nmore"
        )
        for name, content in forms.items():
            assert load_key(private(tmp_path / f"{kind}-{name}.key", content)).public_key == spki(key), name


def pem_certificate() -> bytes:
    return make_ca("ec").certificate.public_bytes(serialization.Encoding.PEM)


def test_what_can_not_be_used_is_told(tmp_path: Path) -> None:
    key = new_key("ec")
    secret = serialization.BestAvailableEncryption(b"secret")
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        path = private(tmp_path / f"{form}.pem", key.private_bytes(serialization.Encoding.PEM, form, secret))
        with pytest.raises(ConfigError, match="the key is encrypted; write it without a passphrase"):
            load_key(path)
    for name, content in (
        ("empty", b""),
        ("words", b"words\n"),
        ("certificate", pem_certificate()),
        ("long", b"0" * 70_000),
    ):
        with pytest.raises(ConfigError, match="not a private key"):
            load_key(private(tmp_path / f"{name}.pem", content))
    os.mkfifo(tmp_path / "pipe.pem", 0o600)
    with pytest.raises(ConfigError, match="isn't a regular file"):
        load_key(tmp_path / "pipe.pem")
    with pytest.raises(ConfigError, match="no such file"):
        load_key(tmp_path / "nothing.pem")


def test_a_uri_in_the_folder_names_a_key(tmp_path: Path) -> None:
    """By the loaders of libcrypto: `file:` is everywhere, others come with a provider."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    key = new_key("p384")
    target = private(elsewhere / "key.pem", pem(key))
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    private(keys / "a.uri", f"file://{target}\n".encode())
    ring = KeyRing(keys)
    assert ring.faults == []
    found = ring.get(spki(key))
    assert found is not None
    assert found.is_local
    verify(spki(key), found.signature_algorithm, b"text", found.sign(b"text"))
    target.chmod(0o644)
    (fault,) = KeyRing(keys).faults
    assert f"chmod 600 {target}" in fault
    for name, content, said in (
        ("nowhere", "file:/nowhere/at/all.pem", "no such file"),
        ("unknown", "nosuch:scheme", "no key can be read from there"),
        ("none", "nothing", "must hold one URI"),
        ("empty", "", "must hold one URI"),
        ("certificate", f"file:{private(elsewhere / 'ca.pem', pem_certificate())}", "there is no private key"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_key(private(keys / f"{name}.uri", content.encode()))


@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_are_made_here_are_what_they_are_called_and_others_read_them(tmp_path: Path, kind: str) -> None:
    path, public_key = make_key_file(tmp_path, "made.pem", kind)
    assert load_key(path).name == kind
    # openssl checks the numbers below; here it is what the file says.
    read = serialization.load_pem_private_key(path.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    assert public_key == read.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    openssl = subprocess.run(
        ["openssl", "pkey", "-in", path, "-check", "-noout"], capture_output=True, text=True, check=False
    )
    assert openssl.returncode == 0 or kind.startswith("ed"), openssl.stderr

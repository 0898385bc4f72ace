"""Whose key files are: what root makes for a service must be the service's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from responder.errors import ConfigError
from responder.signing.key_files import install_key, make_key_file
from responder.signing.keys import KeyRing, load_key
from tests.makers import new_key, pem


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

    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
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

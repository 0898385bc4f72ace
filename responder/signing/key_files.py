"""Files of private keys: made here, or copied into their folder; mode 0600, and nothing is overwritten."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from responder._native import GENERATED_KINDS, generate_key, write_key
from responder.errors import ConfigError, StatusUnavailable
from responder.pki.certificates import read_certificate
from responder.signing.keys import KeyRing, PrivateKey, load_key, opened_privately

KINDS = GENERATED_KINDS
"""The kinds of key that can be made here, under the names that `PrivateKey.name` has."""

DEFAULT_KIND = "ecdsa-p256"


def new_key(kind: str) -> PrivateKey:
    """A key of one of `KINDS`, in memory."""
    return generate_key(kind)


def make_key_file(directory: Path, name: str, kind: str = DEFAULT_KIND) -> tuple[Path, bytes]:
    """Make a key of one of `KINDS`; its file, and its DER SubjectPublicKeyInfo.

    Raises:
        ConfigError: a file of this name is there, it can't be written, or another kind.
    """
    if kind not in KINDS:
        remedy = "; ML-DSA needs OpenSSL 3.5 or later" if kind.startswith("ml-dsa-") else ""
        raise ConfigError(f"a key of kind {kind!r} can't be made here; it is one of {', '.join(KINDS)}{remedy}")
    key = generate_key(kind)
    return _place(directory, name, lambda target: write_key(key, target)), key.public_key


def make_following_key(directory: Path, issuer_id: str, public_key: bytes) -> bytes | None:
    """A key of the same kind to follow this one, both DER SubjectPublicKeyInfo; None where that one isn't in the
    folder, or is of a kind that can't be made here.

    A key is followed once, and its follower is named after it: what an attempt that failed has left is taken again.

    Raises:
        ConfigError: it can't be written, or what was left can't be used.
    """
    ring = KeyRing(directory)
    before = ring.get(public_key)
    if before is None or before.name not in KINDS:
        return None
    name = f"{issuer_id}-after-{hashlib.sha256(public_key).hexdigest()[:16]}.pem"
    left = ring.of_file(directory / name)
    return make_key_file(directory, name, before.name)[1] if left is None else left.public_key


def install_key(source: Path, directory: Path, name: str) -> Path:
    """Copy a private key into its folder.

    Raises:
        ConfigError: unreadable, readable by others, or a file of this name is there.
    """
    try:
        with opened_privately(source) as descriptor:
            return _place(directory, name, lambda target: _copy(descriptor, target))
    except OSError as error:
        raise ConfigError(f"{source}: the key can't be read: {error.strerror}") from error


def _copy(source: int, target: int) -> None:
    """By the kernel: the key doesn't pass through this process."""
    while os.sendfile(target, source, None, 1 << 16):
        pass


@contextmanager
def removed_on_failure(*paths: Path) -> Iterator[list[Path]]:
    """Remove key files, these and those added to the list, when what they were placed for fails. They stay where the
    database was lost on the way: the row may be there although its confirmation isn't."""
    installed = list(paths)
    try:
        yield installed
    except StatusUnavailable:
        raise
    except BaseException:
        for path in installed:
            path.unlink(missing_ok=True)
        raise


def require_key(path: Path, certificate: bytes, named: str) -> PrivateKey:
    """The key in a file, when it is one we can sign with, and the certificate's (DER).

    Args:
        named: what an operator calls the certificate.

    Raises:
        ConfigError: what is wrong with it.
    """
    key = load_key(path)
    if key.public_key != read_certificate(certificate).parts.spki:
        raise ConfigError(f"{path}: it isn't the key of {named}; give the key and the certificate that belong together")
    return key


def _place(directory: Path, name: str, write: Callable[[int], None]) -> Path:
    """Write a file of mode 0600 that is whole, or isn't there.

    Args:
        write: given the descriptor of the new file.
    """
    target, unfinished = directory / name, directory / f"{name}.{os.getpid()}"
    try:
        if not directory.is_dir():
            directory.mkdir(mode=0o700)
            _give(directory, directory.parent)
        unfinished.unlink(missing_ok=True)  # of a process of the same number that was killed
        unfinished.touch(mode=0o600, exist_ok=False)
        try:
            with unfinished.open("wb") as file:
                write(file.fileno())
                os.fsync(file.fileno())
            _give(unfinished, directory)
            target.hardlink_to(unfinished)
        finally:
            unfinished.unlink(missing_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"{target}: there is a key of this name already; move it away if it isn't in use") from error
    except OSError as error:
        raise ConfigError(f"{target}: the key can't be written: {error.strerror}") from error
    return target


def _give(path: Path, like: Path) -> None:
    """Let what root makes belong to whom the folder belongs to: the service couldn't read it otherwise."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)

"""The private keys in a folder, read when their files change."""

from __future__ import annotations

import os
import pwd
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from responder._native import PrivateKey, open_key, read_key
from responder.errors import ConfigError, KeyIsEncrypted

__all__ = ["KeyRing", "PrivateKey", "load_key", "opened_privately"]

_SUFFIXES = (".pem", ".key", ".uri")
_MAX_URI_OCTETS = 4096
_FILE_URI = re.compile(r"file:(?://(?:localhost)?)?(/.*)", re.IGNORECASE)

_Stamp = tuple[int, int, int, int, int]
"""What changes when a file is replaced, written to or opened to others: device, inode, mtime, ctime, mode."""


@dataclass(frozen=True, slots=True)
class _KeyFile:
    stamp: _Stamp
    key: PrivateKey | None
    faults: tuple[str, ...]


class KeyRing:
    """The private keys in one folder, found by their public half; files end in .pem or .key, and in .uri
    where a URI in them names the key.

    A file that can't be used doesn't keep the others from it: `faults` has a sentence for each.
    """

    def __init__(self, directory: Path | None, *, before: KeyRing | None = None) -> None:
        """Files that are as they were when `before` was made aren't read again."""
        self.faults: list[str] = []
        self.directory = directory
        self._looked_at = time.monotonic()
        self._folder = _stamp_of_folder(directory)
        self._files: dict[str, _KeyFile] = {}
        self._keys: dict[bytes, PrivateKey] = {}
        try:
            entries = _key_files(directory)
        except OSError as error:
            self.faults.append(
                f"{directory}: the keys in it can't be read: {(error.strerror or 'error').lower()}; it must belong to "
                f"{_user(os.geteuid())}"
            )
            entries = []
        for entry in entries:
            try:
                found = entry.stat()
            except FileNotFoundError:
                continue  # it has gone since the folder was read
            stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
            known = None if before is None else before._files.get(entry.path)
            if known is None or known.stamp != stamp:
                known = _read_key_file(Path(entry.path), stamp)
            self._files[entry.path] = known
        for path in sorted(self._files):
            read = self._files[path]
            self.faults.extend(read.faults)
            if read.key is not None:
                self._keys[read.key.public_key] = read.key

    def may_be_outdated(self, seconds: float) -> bool:
        """Whether files have come or gone since this was made; or it was made so long ago that one may have been
        written to, which a folder doesn't show."""
        return time.monotonic() - self._looked_at > seconds or _stamp_of_folder(self.directory) != self._folder

    def __len__(self) -> int:
        return len(self._keys)

    def of_file(self, path: Path) -> PrivateKey | None:
        """The key in this file of the folder, where it can be used."""
        read = self._files.get(str(path))
        return None if read is None else read.key

    def get(self, public_key: bytes) -> PrivateKey | None:
        """The key whose DER SubjectPublicKeyInfo this is."""
        return self._keys.get(public_key)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _key_files(directory: Path | None) -> list[os.DirEntry[str]]:
    """Raises OSError where the folder is there and can't be read."""
    if directory is None or not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        return [entry for entry in entries if entry.name.endswith(_SUFFIXES) and entry.is_file()]


def _stamp_of_folder(directory: Path | None) -> int | None:
    if directory is None:
        return None
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return None


def _read_key_file(path: Path, stamp: _Stamp) -> _KeyFile:
    try:
        return _KeyFile(stamp, load_key(path), ())
    except ConfigError as error:
        return _KeyFile(stamp, None, error.faults)


def load_key(path: Path) -> PrivateKey:
    """The key in a file, PEM or DER; or, where its name ends in .uri, the key that the URI in it names.

    The key itself never becomes a Python object.

    Raises:
        ConfigError: unreadable, readable by others, encrypted, not a key, or of a kind that nothing here signs with.
    """
    try:
        with opened_privately(path) as descriptor:
            if path.suffix != ".uri":
                return read_key(descriptor)
            uri = _uri_in(descriptor)
        if found := _FILE_URI.fullmatch(uri):
            with opened_privately(Path(found[1])):
                pass  # where the key is, it must be as private as here
        return open_key(uri)
    except PermissionError as error:
        user = _user(os.geteuid())
        raise ConfigError(f"{path}: the key can't be read by {user}, who must own it: chown {user} {path}") from error
    except OSError as error:
        raise ConfigError(f"{path}: the key can't be read: {(error.strerror or 'error').lower()}") from error
    except KeyIsEncrypted as error:
        raise ConfigError(
            f"{path}: the key is encrypted; write it without a passphrase into a file of mode 0600 "
            f"(openssl pkey -in {path} -out NEW)"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


@contextmanager
def opened_privately(path: Path) -> Iterator[int]:
    """A descriptor of a file that nobody but its owner may read.

    Raises:
        OSError: it can't be opened.
        ConfigError: others may read it, or it isn't a file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # not to wait for a writer of a pipe
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path}: it isn't a regular file")
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigError(f"{path}: the key can be read by others than its owner; chmod 600 {path}")
        yield descriptor
    finally:
        os.close(descriptor)


def _uri_in(descriptor: int) -> str:
    text = os.read(descriptor, _MAX_URI_OCTETS).decode().strip()
    if not text.isprintable() or ":" not in text:
        raise ValueError("it must hold one URI, such as file:/path/to/key.pem")
    return text

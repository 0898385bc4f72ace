"""A server's certificate and key in files: what handshakes are made with. Looked at before anyone meets them, and again
when they have changed."""

from __future__ import annotations

import asyncio
import ssl
import stat
from pathlib import Path

from responder import log
from responder.errors import ConfigError

_log = log.get("tls")

# TLS 1.2 (those of 1.3 are all good): forward secrecy and authenticated encryption, as Mozilla's "intermediate" but for
# finite fields.
_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"

_ENCRYPTED = "its key is encrypted, and nobody is here to be asked for the passphrase; write it without one, mode 0600"


def load_context(certificate: Path, key: Path, *, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """What a server's handshakes are made with: TLS 1.2 or later.

    Args:
        certificate: the server's own, then those between it and its root (PEM).
        protocols: for ALPN (RFC 7301), the one to choose first.

    Raises:
        ValueError: why they can't be used, a sentence that names the file.
    """
    for path in (certificate, key):
        _require_file(path, is_secret=path == key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_SUITES)
    context.set_alpn_protocols(list(protocols))
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key} isn't the key of the certificate in {certificate}") from None
        raise ValueError(f"{certificate} or {key} can't be read: {error.reason or 'not PEM'}") from None
    return context


def _no_passphrase() -> str:
    raise ValueError(_ENCRYPTED)


def _require_file(path: Path, *, is_secret: bool) -> None:
    try:
        with path.open("rb"):
            status = path.stat()
    except OSError as error:
        raise ValueError(f"{path} can't be opened: {(error.strerror or 'error').lower()}") from None
    if is_secret and status.st_mode & 0o027:
        mode = stat.S_IMODE(status.st_mode)
        raise ValueError(f"{path} has mode {mode:04o}, so others may read or change the key; chmod 600 it")


class TLSFiles:
    """The context of handshakes to come; `look` renews it."""

    def __init__(self, certificate: Path, key: Path, *, protocols: tuple[str, ...] = ("http/1.1",)) -> None:
        """
        Raises:
            ConfigError: they can't be used.
        """
        self._certificate = certificate
        self._key = key
        self._protocols = protocols
        self._seen = self._look_at_files()
        try:
            self.context = load_context(certificate, key, protocols=protocols)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @classmethod
    def of(
        cls, certificate: Path | None, key: Path | None, *, protocols: tuple[str, ...] = ("http/1.1",)
    ) -> TLSFiles | None:
        """Of settings: None where there are none."""
        return None if certificate is None or key is None else cls(certificate, key, protocols=protocols)

    def look(self) -> None:
        """Take what the files hold, if they have changed; what can't be used is logged, and nothing changes. To be
        called about once a second."""
        seen = self._look_at_files()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.context = load_context(self._certificate, self._key, protocols=self._protocols)
        except ValueError as error:
            _log.error(
                "tls_certificate_refused", error=str(error), remedy="the one before is used until that is mended"
            )
            return
        _log.info("tls_certificate_taken", certificate=str(self._certificate))

    async def follow(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(1)

    def _look_at_files(self) -> tuple[tuple[int, ...] | None, ...]:
        """Changes with whatever is done to the files, or to links that lead to them."""
        return tuple(map(_identity, (self._certificate, self._key)))


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode

"""What a configuration value may be: addresses, URLs, files and the secrets in them."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
)

from responder.errors import ConfigError
from responder.secret_files import read_secret, read_tokens
from responder.tls_files import load_context

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: an IP address and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    remedy = "write an IP address and a port, such as 127.0.0.1:8080 or [::]:8080"
    if not isinstance(value, str):
        raise ValueError(f"it must be a string; {remedy}")  # noqa: TRY004 - pydantic collects ValueError
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", value, re.ASCII)
    if match is None:
        raise ValueError(f"it isn't HOST:PORT; {remedy}")
    bracketed, plain, port = match.groups()
    try:
        host = ipaddress.IPv6Address(bracketed) if bracketed else ipaddress.IPv4Address(plain)
    except ValueError:
        raise ValueError(f"the host isn't an IP address (names aren't looked up); {remedy}") from None
    if int(port) > 65535:
        raise ValueError("the port must be at most 65535")
    return Address(str(host), int(port))


def require_loopback(value: Address, info: ValidationInfo) -> Address:
    if info.data.get("tls_certificate") is None and not ipaddress.ip_address(value.host).is_loopback:
        raise ValueError(
            "the admin interface speaks plain HTTP, with a token that may revoke, so it listens on loopback"
            " only; use 127.0.0.1 or [::1], or set admin.tls_certificate and admin.tls_key"
        )
    return value


def parse_optional_address(value: object) -> Address | None:
    return None if value in (None, "") else parse_address(value)


def check_tls_key(key: Path | None, info: ValidationInfo) -> Path | None:
    if "tls_certificate" not in info.data:
        return key  # a fault of its own
    certificate = info.data["tls_certificate"]
    if (key is None) != (certificate is None):
        raise ValueError("tls_certificate and tls_key are needed together")
    if key is not None and _files_are_checked(info):
        load_context(certificate, key)
    return key


def check_tls_listen(value: Address | None, info: ValidationInfo) -> Address | None:
    has_certificate = info.data.get("tls_certificate") is not None
    if value is not None and not has_certificate:
        raise ValueError("TLS needs serve.tls_certificate and serve.tls_key, too")
    if value is None and has_certificate:
        raise ValueError("serve.tls_certificate is set, so say where TLS is spoken, such as 0.0.0.0:8443")
    return value


def mask(url: str) -> str:
    """`url` for people's eyes: without its password, whatever its form."""
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*://)(.*)", url, re.DOTALL)
    if match is None:  # not a URL, maybe a keyword string with a password in it
        return "***"
    scheme, rest = match.groups()
    # To the last @: a password may hold unescaped `/`, `?` and `@`.
    rest = re.sub(r"^([^:@/?]*):.*@", r"\1:***@", rest, flags=re.DOTALL)
    head, separator, query = rest.partition("?")
    return scheme + head + separator + ("***" if "password" in unquote(query).lower() else query)


def url_of(*schemes: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            names = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"it must begin with {names}")
        # The same rule as `mask`, so that whatever is refused is also masked.
        if mask(value) != value:
            raise ValueError(
                "it holds a password; write that to a file of its own, mode 0600, and name the file in password_file"
            )
        if not value.isprintable() or " " in value:
            raise ValueError("it holds a space or a control character; write it as %20")
        return value

    return check


def check_redis_database(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "unix":
        return value
    if parts.scheme.endswith("+cluster"):
        if not re.fullmatch(r"([^@/]+@)?[^@/,]+(,[^@/,]+)*/?", value.partition("://")[2], re.ASCII):
            raise ValueError("it must be as redis+cluster://HOST:6379,HOST:6379, without a database")
        return value
    if parts.scheme.endswith("+sentinel"):
        if not re.fullmatch(r"([^@/]+@)?[^@/,]+(,[^@/,]+)*/[^/]+(/[0-9]{0,5})?", value.partition("://")[2], re.ASCII):
            raise ValueError("it must be as redis+sentinel://HOST:26379,HOST:26379/SERVICE/0")
        return value
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port isn't a number up to 65535") from None
    # The client would quietly take database 0 for anything it can't read.
    if not re.fullmatch(r"/?[0-9]{0,5}", parts.path, re.ASCII):
        raise ValueError("its path must be a database number, such as /0")
    return value


def _files_are_checked(info: ValidationInfo) -> bool:
    context = info.context or {}
    return bool(context.get("check_files", False)) and info.field_name not in context.get("unneeded", ())


def check_secret(path: Path | None, info: ValidationInfo) -> Path | None:
    if path is not None and _files_are_checked(info):
        read_secret(path)
    return path


def check_token(path: Path, info: ValidationInfo) -> Path:
    if _files_are_checked(info):
        read_tokens(path)
    return path


def check_key_directory(path: Path, info: ValidationInfo) -> Path:
    if not _files_are_checked(info):
        return path
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(
            f"it can't be used: {(error.strerror or 'error').lower()};"
            " make it with `install -d -m 700` for the user certstatus runs as"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise ValueError("it isn't a folder")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ValueError(f"its mode is {mode:04o}, so others may reach the keys; chmod 700 it")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ValueError("this user may not read it")
    return path


def to_path(value: object) -> object:
    if not isinstance(value, Path):
        raise ValueError("it must be a path, in quotation marks")  # noqa: TRY004 - pydantic collects ValueError
    return value


def to_path_or_none(value: object) -> object:
    return None if value is None or value == "" else to_path(value)


def secret_of(read: Callable[[Path], T], key: str, path: Path) -> T:
    try:
        return read(path)
    except ValueError as error:
        raise ConfigError(f"{key} is {path}: {error}.") from None


def password_of(key: str, path: Path | None) -> str | None:
    return None if path is None else secret_of(read_secret, key, path)


def check_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
            raise ValueError(
                f"{path!r} isn't a path as in /ocsp: letters, digits and -._~ after each slash, none at its end"
            )
        if path.split("/")[1] in {"crl", ".well-known"}:
            raise ValueError(f"{path!r} is taken by other things; choose another path")
    return paths


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(value: object) -> Network:
    """An address alone is a network of one."""
    if isinstance(value, Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            f"{value!r} isn't an IP network; write 192.0.2.0/24 or 2001:db8::/32, no bit set after those that count"
        ) from None


def check_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", name):
            raise ValueError(f"{name!r} isn't a host name, without scheme and port")
    return names


PostgresURL = Annotated[str, AfterValidator(url_of("postgresql", "postgres"))]
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
RedisURL = Annotated[
    str,
    AfterValidator(url_of(*_REDIS_SCHEMES)),
    AfterValidator(check_redis_database),
]
OptionalPath = Annotated[Path | None, BeforeValidator(to_path_or_none)]
TLSKey = Annotated[OptionalPath, AfterValidator(check_tls_key)]
TLSListen = Annotated[
    Address | None,
    BeforeValidator(parse_optional_address),
    PlainSerializer(lambda value: None if value is None else str(value)),
    AfterValidator(check_tls_listen),
]
SecretFile = Annotated[OptionalPath, AfterValidator(check_secret)]
ListenAddress = Annotated[Address, BeforeValidator(parse_address), PlainSerializer(str, return_type=str)]
NetworkList = Annotated[
    tuple[Annotated[Network, BeforeValidator(parse_network), PlainSerializer(str, return_type=str)], ...],
    Field(strict=False),
]


def as_toml(value: object) -> str:
    """A value as TOML spells it, cut at 200 characters."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (str, Path, Address)):
        text = '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(as_toml(item) for item in value)}]"
    else:
        text = '""' if value is None else str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."

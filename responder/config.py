"""The configuration: one TOML file, every key also an environment variable, every fault reported at once."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from responder.errors import ConfigError
from responder.secret_files import read_secret, read_tokens

__all__ = ["Address", "Config", "example", "load", "mask"]

PREFIX = "CERTSTATUS_"
CONFIG_VARIABLE = "CERTSTATUS_CONFIG"  # names the file; read by the command line
MAX_CONFIG_BYTES = 1 << 20

# Kubernetes gives every pod these for a Service that is called `certstatus`; they aren't meant for us.
_SERVICE_LINK = re.compile(r"CERTSTATUS_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")

T = TypeVar("T")


# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: an IP address and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parse_address(value: object) -> Address:
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


def _loopback(value: Address) -> Address:
    if not ipaddress.ip_address(value.host).is_loopback:
        raise ValueError(
            "the admin interface speaks plain HTTP, with a token that may revoke, so it listens on loopback"
            " only; use 127.0.0.1 or [::1], and reach it through SSH or a TLS proxy on this host"
        )
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


def _url(*schemes: str) -> Callable[[str], str]:
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


def _redis_database(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "unix":
        return value
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port isn't a number up to 65535") from None
    # The client would quietly take database 0 for anything it can't read.
    if not re.fullmatch(r"/?[0-9]{0,5}", parts.path, re.ASCII):
        raise ValueError("its path must be a database number, such as /0")
    return value


def _later(default: object) -> AfterValidator:
    """For a key that is agreed on but does nothing yet: it is refused rather than silently ignored."""

    def check(value: Any) -> Any:
        if value != default:
            raise ValueError("it is not supported by this version; remove it")
        return value

    return AfterValidator(check)


# --- files ----------------------------------------------------------------------------------------


def _files_are_checked(info: ValidationInfo) -> bool:
    context = info.context or {}
    return bool(context.get("check_files", False)) and info.field_name not in context.get("unneeded", ())


def _check_secret(path: Path | None, info: ValidationInfo) -> Path | None:
    if path is not None and _files_are_checked(info):
        read_secret(path)
    return path


def _check_token(path: Path, info: ValidationInfo) -> Path:
    if _files_are_checked(info):
        read_tokens(path)
    return path


def _check_key_directory(path: Path, info: ValidationInfo) -> Path:
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


def _path(value: object) -> object:
    if not isinstance(value, Path):
        raise ValueError("it must be a path, in quotation marks")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _path_or_none(value: object) -> object:
    return None if value is None or value == "" else _path(value)


def _secret(read: Callable[[Path], T], key: str, path: Path) -> T:
    try:
        return read(path)
    except ValueError as error:
        raise ConfigError(f"{key} is {path}: {error}.") from None


def _check_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
            raise ValueError(
                f"{path!r} isn't a path as in /ocsp: letters, digits and -._~ after each slash, none at its end"
            )
        if path.split("/")[1] in {"crl", ".well-known"}:
            raise ValueError(f"{path!r} is taken by other things; choose another path")
    return paths


def _check_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", name):
            raise ValueError(f"{name!r} isn't a host name, without scheme and port")
    return names


PostgresURL = Annotated[str, AfterValidator(_url("postgresql", "postgres"))]
RedisURL = Annotated[str, AfterValidator(_url("redis", "rediss", "unix")), AfterValidator(_redis_database)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none)]
SecretFile = Annotated[OptionalPath, AfterValidator(_check_secret)]
ListenAddress = Annotated[Address, BeforeValidator(_parse_address), PlainSerializer(str, return_type=str)]
NotYetList = Annotated[tuple[str, ...], Field(strict=False), _later(())]


# --- the model ------------------------------------------------------------------------------------


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class Postgres(Section):
    """The authority on status, PostgreSQL 15 or later; the primary, never a replica."""

    url: PostgresURL = Field(
        default="postgresql:///certstatus",
        description="Where it is, without a password. The default is the local socket, as this user.",
    )
    password_file: SecretFile = Field(default=None, description="A file that holds the password and nothing else.")
    pool_size: int = Field(default=10, ge=1, le=500, description="Connections a process, at most.")

    def password(self) -> str | None:
        """The password, read now; None when no file is named.

        Raises:
            ConfigError: the file can't be used.
        """
        if self.password_file is None:
            return None
        return _secret(read_secret, "postgres.password_file", self.password_file)


class Redis(Section):
    """The shared cache of signed answers, Redis or Valkey 7 or later. It may lose everything at any time."""

    url: RedisURL = Field(
        default="redis://127.0.0.1:6379/0",
        description="Where it is, without a password; rediss:// for TLS, unix:// for a socket.",
    )
    password_file: SecretFile = Field(default=None, description="A file that holds the password and nothing else.")
    timeout_seconds: float = Field(
        default=0.25,
        ge=0.01,
        le=10,
        allow_inf_nan=False,
        description="How long an answer may wait for the cache before it is made without it.",
    )

    def password(self) -> str | None:
        """The password, read now; None when no file is named.

        Raises:
            ConfigError: the file can't be used.
        """
        if self.password_file is None:
            return None
        return _secret(read_secret, "redis.password_file", self.password_file)


class Serve(Section):
    """The public listener: OCSP and CRLs over plain HTTP."""

    listen: ListenAddress = Field(
        default=Address("127.0.0.1", 8080),
        description="IP address and port; 0.0.0.0 or [::] for every interface.",
    )
    workers: int = Field(default=0, ge=0, le=1024, description="Processes that answer; 0 is one a core.")
    ocsp_paths: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_check_paths)] = Field(
        default=("/ocsp",),
        description="Paths that are for OCSP alone: what comes below them and isn't a request is malformedRequest. "
        "Requests themselves are answered at any path, whatever the URL in the certificates is.",
    )
    tls_certificate: Annotated[OptionalPath, _later(None)] = Field(
        default=None, description="The certificate chain (PEM) for TLS."
    )
    tls_key: Annotated[OptionalPath, _later(None)] = Field(default=None, description="Its key (PEM).")
    trusted_proxies: NotYetList = Field(default=(), description="Networks whose X-Forwarded-For is believed.")


class Admin(Section):
    """The private listener: revocations, health, metrics."""

    listen: Annotated[ListenAddress, AfterValidator(_loopback)] = Field(
        default=Address("127.0.0.1", 8081), description="IP address and port; loopback only."
    )
    hosts: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_check_hosts)] = Field(
        default=(),
        description="Host names by which a proxy may ask, beside addresses and localhost; any other is refused, "
        "since a web page might have sent it.",
    )
    token_file: Annotated[Path, BeforeValidator(_path), AfterValidator(_check_token)] = Field(
        default=Path("/etc/certstatus/admin-token"),
        description="A file that holds the bearer token of the admin interface, 16 characters or more, or a line "
        "NAME:TOKEN for each who may use it: the name is in the audit log. Not readable by others.",
    )

    def tokens(self) -> dict[str, str]:
        """The bearer tokens by their names, read now.

        Raises:
            ConfigError: the file can't be used.
        """
        return _secret(read_tokens, "admin.token_file", self.token_file)


class Keys(Section):
    """The private keys that this host signs with."""

    directory: Annotated[Path, BeforeValidator(_path), AfterValidator(_check_key_directory)] = Field(
        default=Path("/var/lib/certstatus/keys"),
        description="The folder of the keys, mode 0700; a key is found by its public half, not by its file's name.",
    )

    @property
    def ca_directory(self) -> Path:
        """Where the `crl` role finds CA keys; `serve` and `work` never look there."""
        return self.directory / "ca"


class Limits(Section):
    """What one client address may cost."""

    per_minute: Annotated[int, _later(1000)] = Field(
        default=1000,
        ge=0,
        description="Answers a minute that need more than the table in memory; 0 is no limit.",
    )
    exempt: NotYetList = Field(default=(), description="Networks without a limit, such as those of a CDN.")


class Signing(Section):
    """The budget for signing while a client waits; beyond it, clients are told to try later."""

    max_in_flight: int = Field(default=64, ge=1, le=10_000, description="Answers being signed at once, a process.")
    max_waiting: int = Field(default=1024, ge=0, le=100_000, description="Answers waiting for their turn, a process.")


class Revocation(Section):
    """How statuses change."""

    wait_seconds: float = Field(
        default=5,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="How long `revoke` waits for every host to know, before it says that it isn't certain.",
    )
    lease_seconds: Annotated[int, _later(300)] = Field(
        default=300, ge=1, description="How long a host may answer without reaching Postgres."
    )
    backdate_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="How far thisUpdate lies before the reading of the status, for slow clocks.",
    )


class Log(Section):
    """Events on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is told.")
    format: Literal["json", "text"] = Field(default="json", description="One JSON object a line, or text for people.")


class Config(BaseModel):
    """The whole configuration, checked. `load` makes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    postgres: Postgres = Field(default_factory=Postgres)
    redis: Redis = Field(default_factory=Redis)
    serve: Serve = Field(default_factory=Serve)
    admin: Admin = Field(default_factory=Admin)
    keys: Keys = Field(default_factory=Keys)
    limits: Limits = Field(default_factory=Limits)
    signing: Signing = Field(default_factory=Signing)
    revocation: Revocation = Field(default_factory=Revocation)
    log: Log = Field(default_factory=Log)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def effective(self) -> Iterator[tuple[str, Any, str]]:
        """Every key as `section.name`, its value as JSON knows it (a password masked), and where it is from.

        Where from is the file's path, the variable's name, or `default`.
        """
        for section, values in self.model_dump(mode="json").items():
            for name, value in values.items():
                key = f"{section}.{name}"
                shown = mask(value) if name == "url" else value
                yield key, shown, self._origins.get(key, "default")


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the model."""

    section: str
    name: str
    field: FieldInfo

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.section}_{self.name}".upper()

    def from_text(self, text: str) -> object:
        """What a variable's text means for this key; text that doesn't fit stays, for the model to refuse."""
        wanted = self.field.annotation
        try:
            if wanted is int and re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
                return int(text)
            if wanted is float:
                return float(text)
        except ValueError:
            return text
        if wanted == tuple[str, ...]:
            return [part.strip() for part in text.split(",") if part.strip()]
        return text

    def resolve(self, value: object, folder: Path) -> object:
        """A path counted from `folder` where the key is one."""
        is_path = Path in (self.field.annotation, *get_args(self.field.annotation))
        return folder / value if is_path and isinstance(value, str) and value else value


_SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
_KEYS: dict[str, _Key] = {
    key.dotted: key
    for section, model in _SECTIONS.items()
    for key in (_Key(section, name, field) for name, field in model.model_fields.items())
}
_VARIABLES: dict[str, _Key] = {key.variable: key for key in _KEYS.values()}


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str] = os.environ,
    check_files: bool = True,
    needs_token: bool = True,
    needs_keys: bool = True,
) -> Config:
    """Read the file (None: defaults only), then the environment over it, for whoever starts a process.

    Relative paths count from the folder of the file; those in variables from the working directory.

    Args:
        check_files: also look at what the paths name (keys, token, passwords); commands that only need an
            address say False.
        needs_token: whether that includes the admin token, which many who may use the database can't read.
        needs_keys: whether it includes the folder of keys.

    Raises:
        ConfigError: every fault there is, each naming the file or variable, the key, the value, the remedy.
    """
    unneeded = {name for name, needed in (("token_file", needs_token), ("directory", needs_keys)) if not needed}
    context = {"check_files": check_files, "unneeded": unneeded}
    faults: list[str] = []
    values: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    origins: dict[str, str] = {}
    if path is not None:
        folder = path.absolute().parent
        for key, value in _read_file(path, faults):
            values[key.section][key.name] = key.resolve(value, folder)
            origins[key.dotted] = str(path)
    for key, text in _read_environment(environ, faults):
        values[key.section][key.name] = key.resolve(key.from_text(text), Path.cwd())
        origins[key.dotted] = key.variable

    sections: dict[str, Section] = {}
    for section, model in _SECTIONS.items():
        try:
            sections[section] = model.model_validate(values[section], context=context)
        except ValidationError as error:
            faults += [_sentence(section, details, origins) for details in error.errors()]
    serve, admin = sections.get("serve"), sections.get("admin")
    if isinstance(serve, Serve) and isinstance(admin, Admin) and _overlap(serve.listen, admin.listen):
        faults.append(f"serve.listen is {serve.listen} and admin.listen is {admin.listen}: they need different ports.")
    if faults:
        raise ConfigError(*faults)
    config = Config.model_construct(None, **sections)
    config._origins.update(origins)
    return config


def _overlap(public: Address, private: Address) -> bool:
    wildcard = ipaddress.ip_address(public.host).is_unspecified
    return public.port == private.port != 0 and (wildcard or public.host == private.host)


def _read_file(path: Path, faults: list[str]) -> Iterator[tuple[_Key, object]]:
    """Raises ConfigError for a file that can't be read at all: what follows from that would hide it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the file can't be read: {(error.strerror or 'error').lower()}.") from None
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: the file is over {MAX_CONFIG_BYTES} bytes; is it the right one?")
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: the file isn't UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        line_of = re.search(r"line ([0-9]+)", str(error))
        line = int(line_of[1]) if line_of else content.count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not valid TOML: {error}. Text values need quotation marks.") from None
    for section, table in document.items():
        if section not in _SECTIONS:
            what = f"section [{section}]" if isinstance(table, dict) else f"key {section} outside of a section"
            known = [f"[{name}]" for name in _SECTIONS] if isinstance(table, dict) else list(_KEYS)
            wanted = f"[{section}]" if isinstance(table, dict) else section
            faults.append(f"{path}: unknown {what}; {_did_you_mean(wanted, known)}.")
        elif not isinstance(table, dict):
            faults.append(f"{path}: {section} must be a section; write [{section}] on a line of its own.")
        else:
            for name, value in table.items():
                if key := _KEYS.get(f"{section}.{name}"):
                    yield key, value
                else:
                    known = [key.dotted for key in _KEYS.values() if key.section == section]
                    remedy = _did_you_mean(f"{section}.{name}", known)
                    faults.append(f"{path}: unknown key {section}.{name}; {remedy}.")


def _read_environment(environ: Mapping[str, str], faults: list[str]) -> Iterator[tuple[_Key, str]]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or _SERVICE_LINK.fullmatch(variable):
            continue
        if key := _VARIABLES.get(variable):
            yield key, text
        elif not _SERVICE_LINK.fullmatch(variable):
            remedy = _did_you_mean(variable, [CONFIG_VARIABLE, *_VARIABLES])
            faults.append(f"environment: unknown variable {variable}; {remedy}.")


def _did_you_mean(name: str, known: list[str]) -> str:
    by_stem = {candidate.removeprefix(PREFIX).lower(): candidate for candidate in known}
    stem = name.removeprefix(PREFIX).lower()
    # `listen` outside of a section is no near match of `serve.listen`, but it is what was meant.
    close = [candidate for candidate in by_stem if candidate.rpartition(".")[2] == stem]
    close = close or difflib.get_close_matches(stem, by_stem, n=1, cutoff=0.6)
    if close:
        return f"write {' or '.join(by_stem[candidate] for candidate in close)} if that was meant"
    return f"known are {', '.join(known)}"


def _sentence(section: str, details: ErrorDetails, origins: Mapping[str, str]) -> str:
    """One fault as a sentence, from what pydantic says of it."""
    key = _KEYS[f"{section}.{details['loc'][0]}"]
    origin = origins.get(key.dotted)
    raised = details.get("ctx", {}).get("error")
    problem = str(raised) if raised else details["msg"].replace("Input should be", "it must be", 1)
    problem = problem.replace("a valid tuple", "a list")
    value = details["input"]
    shown = _show(mask(str(value)) if key.name == "url" else value)
    if origin is None:
        subject = f"{key.dotted} ({key.variable}) isn't set, and its default is {shown}"
    elif origin == key.variable:
        subject = f"environment: {key.variable} ({key.dotted}) is {shown}"
    else:
        subject = f"{origin}: {key.dotted} ({key.variable}) is {shown}"
    return f"{subject}: {problem}."


def _show(value: object) -> str:
    """A value as TOML spells it, cut at 200 characters."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (str, Path, Address)):
        text = '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(_show(item) for item in value)}]"
    else:
        text = '""' if value is None else str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


# --- the example ----------------------------------------------------------------------------------


def example() -> str:
    """A configuration file with every key, its meaning and its default, all commented out."""
    lines = [
        "# certstatus: every key, with its default. Take the # away from those you change.",
        "# Each is also a variable, which wins over this file: serve.listen is CERTSTATUS_SERVE_LISTEN.",
        "# `certstatus config check -c FILE` names every fault. Secrets are files that are named here.",
        "# Relative paths count from the folder of this file.",
    ]
    for section, model in _SECTIONS.items():
        lines += ["", f"# {model.__doc__}", f"[{section}]"]
        for name, field in model.model_fields.items():
            meaning = field.description or ""
            if any(_is_later(item) for item in field.metadata):
                meaning += " Not supported by this version yet: leave it out."
            lines += [f"# {line}" for line in textwrap.wrap(meaning, 108)]
            lines.append(f"#{name} = {_show(field.default)}")
    return "\n".join(lines) + "\n"


def _is_later(item: object) -> bool:
    return isinstance(item, AfterValidator) and getattr(item.func, "__qualname__", "").startswith("_later.")

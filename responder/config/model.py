"""Every key of the configuration, with its default and its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
)

from responder.config.values import (
    Address,
    ListenAddress,
    NetworkList,
    OptionalPath,
    PostgresURL,
    RedisURL,
    SecretFile,
    TLSKey,
    TLSListen,
    check_hosts,
    check_key_directory,
    check_paths,
    check_token,
    mask,
    password_of,
    require_loopback,
    secret_of,
    to_path,
)
from responder.secret_files import read_tokens


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
        return password_of("postgres.password_file", self.password_file)


class Redis(Section):
    """The shared cache of signed answers, Redis or Valkey 7 or later. It may lose everything at any time."""

    url: RedisURL = Field(
        default="redis://127.0.0.1:6379/0",
        description="Where it is, with its user where it has several and without a password: redis://USER@HOST:PORT/0; "
        "rediss:// for TLS, unix:// for a socket, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/0 for the primary that "
        "sentinels name, redis+cluster://HOST:PORT,HOST:PORT for a cluster.",
    )
    password_file: SecretFile = Field(default=None, description="A file that holds the password and nothing else.")
    sentinel_user: str = Field(default="", description="The sentinels' own user, where they have several.")
    sentinel_password_file: SecretFile = Field(default=None, description="A file that holds the sentinels' password.")
    ca_file: OptionalPath = Field(
        default=None, description="The CA certificates (PEM) of a server with TLS, where they aren't the system's."
    )
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
        return password_of("redis.password_file", self.password_file)

    def sentinel_password(self) -> str | None:
        """See `password`."""
        return password_of("redis.sentinel_password_file", self.sentinel_password_file)


class Serve(Section):
    """The public listener: OCSP and CRLs over plain HTTP, and over TLS."""

    listen: ListenAddress = Field(
        default=Address("127.0.0.1", 8080),
        description="IP address and port; 0.0.0.0 or [::] for every interface.",
    )
    workers: int = Field(default=0, ge=0, le=1024, description="Processes that answer; 0 is one a core.")
    ocsp_paths: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(check_paths)] = Field(
        default=("/ocsp",),
        description="Paths that are for OCSP alone: what comes below them and isn't a request is malformedRequest. "
        "Requests themselves are answered at any path, whatever the URL in the certificates is.",
    )
    lane: bool = Field(
        default=True,
        description="Answer plain requests from memory by the native core; false: everything through Hypercorn.",
    )
    connections: int = Field(
        default=16_384,
        ge=16,
        le=1_000_000,
        description="Connections a worker; where there is no room the one that is idle for longest makes it.",
    )
    other_connections: int = Field(
        default=1024,
        ge=16,
        le=100_000,
        description="Connections a worker that Hypercorn has: with requests of other methods, and chunked or large "
        "bodies; all of them without the lane.",
    )
    connections_a_client: int = Field(
        default=512,
        ge=1,
        le=30_000,
        description="Connections a worker from one IPv4 address or IPv6 /64; trusted proxies and exempt networks may "
        "have more.",
    )
    idle_seconds: float = Field(
        default=15,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="A connection is closed on which nothing comes for so long, or that takes less than 64 KiB of an "
        "answer.",
    )
    request_seconds: float = Field(
        default=5,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="How long the head of a request may take to come, and then its body.",
    )
    tls_certificate: OptionalPath = Field(
        default=None,
        description="The certificate chain (PEM) of this host for TLS, its own first; read again when it changes.",
    )
    tls_key: TLSKey = Field(default=None, description="Its key (PEM), not readable by others.")
    tls_listen: TLSListen = Field(
        default=None, description="IP address and port for the same over TLS, beside plain HTTP."
    )
    trusted_proxies: NetworkList = Field(
        default=(),
        description="Networks of proxies whose X-Forwarded-For is believed: the client is the last address in it that "
        "isn't in one of these networks.",
    )
    cors: bool = Field(default=False, description="Scripts of any web page may ask, and read what is answered (CORS).")
    proxy_protocol: NetworkList = Field(
        default=(),
        description="Networks of load balancers whose connections begin with whose they are, by the PROXY protocol (1 "
        "or 2); one that doesn't is closed.",
    )


class Admin(Section):
    """The private listener: revocations, health, metrics."""

    tls_certificate: OptionalPath = Field(
        default=None, description="The certificate chain (PEM) of this host: then this interface speaks TLS alone."
    )
    tls_key: TLSKey = Field(default=None, description="Its key (PEM), not readable by others.")
    listen: Annotated[ListenAddress, AfterValidator(require_loopback)] = Field(
        default=Address("127.0.0.1", 8081), description="IP address and port; loopback only, unless it speaks TLS."
    )
    hosts: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(check_hosts)] = Field(
        default=(),
        description="Host names by which a proxy may ask, beside addresses and localhost; any other is refused, "
        "since a web page might have sent it.",
    )
    token_file: Annotated[Path, BeforeValidator(to_path), AfterValidator(check_token)] = Field(
        default=Path("/etc/certstatus/admin-token"),
        description="A file that holds the bearer token of the admin interface, 16 characters or more, or a line "
        "NAME:TOKEN for each who may use it: the name is in the audit log. Not readable by others.",
    )

    def tokens(self) -> dict[str, str]:
        """The bearer tokens by their names, read now.

        Raises:
            ConfigError: the file can't be used.
        """
        return secret_of(read_tokens, "admin.token_file", self.token_file)


class Keys(Section):
    """The private keys that this host signs with."""

    directory: Annotated[Path, BeforeValidator(to_path), AfterValidator(check_key_directory)] = Field(
        default=Path("/var/lib/certstatus/keys"),
        description="The folder of the keys, mode 0700; a key is found by its public half, not by its file's name.",
    )

    @property
    def ca_directory(self) -> Path:
        """Where the `crl` role finds CA keys; `serve` and `work` never look there."""
        return self.directory / "ca"


class Table(Section):
    """What the processes of a host share in memory."""

    megabytes: int = Field(
        default=64,
        ge=1,
        le=1_000_000,
        description="Room for records: a certificate of two P-256 signatures takes 270 bytes, of two RSA-2048 "
        "signatures 660. What doesn't fit is read from Redis.",
    )
    floor_megabytes: int = Field(
        default=8,
        ge=1,
        le=100_000,
        description="Room for what changed within 8 days, 32 bytes a change. Without room the issuer's answers are all "
        "made anew.",
    )
    issued_megabytes: int = Field(
        default=16,
        ge=0,
        le=100_000,
        description="Room for which serials were issued at all. Of those that weren't, 1 in 100 is looked for all the "
        "same with 10 bits a certificate (13 million in 16 megabytes), all with 0.",
    )


class Limits(Section):
    """What one client may cost: an IPv4 address, an IPv6 /64; and an IPv6 /48, 16 times as much. What the table in
    memory answers is free; a nonce signed from it with P-256 or Ed25519 costs 1. All else costs 1 a CertID, and 1
    more where a signature is made for that request alone (a nonce, several CertIDs); what goes through Hypercorn
    costs 2."""

    per_minute: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="How much a minute, and at once after a minute's pause; 0 is no limit.",
    )
    exempt: NetworkList = Field(default=(), description="Networks without a limit, such as those of a CDN.")
    refusal: Literal["try_later", "unauthorized", "http_429"] = Field(
        default="try_later", description="What a client beyond its limit is told, with Retry-After."
    )
    count_hits: bool = Field(default=False, description="Answers from the table in memory cost 1, too.")


class Signing(Section):
    """The budget for signing while a client waits (beyond it, clients are told to try later), and ahead of time."""

    max_in_flight: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="Answers being made at once beyond the memory, a process.",
    )
    max_waiting: int = Field(
        default=1024,
        ge=0,
        le=100_000,
        description="Answers waiting for their turn, a process; and so many nonces to be signed from memory.",
    )
    presign_tasks: int = Field(
        default=0, ge=0, le=256, description="Slices presigned at once; 0 is one a core and one."
    )


class Revocation(Section):
    """How statuses change."""

    wait_seconds: float = Field(
        default=5,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="How long `revoke` waits for every host to know, before it says that it isn't certain.",
    )
    lease_seconds: int = Field(
        default=300,
        ge=10,
        le=86_400,
        description="How long a host may answer without reaching Postgres; and so, after how long a revocation is "
        "certain although a host can't be reached.",
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
    table: Table = Field(default_factory=Table)
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


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}

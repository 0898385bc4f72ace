"""The configuration: what is read, what is refused and in which words, and the example beside the model."""

from __future__ import annotations

import json
import os
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from responder.cli.config import app
from responder.config import Address, Config, example, load, mask
from responder.errors import ConfigError

TOKEN = "0123456789abcdef"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables that make the defaults usable: a key folder and a token."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(f"{TOKEN}\n")
    return {"CERTSTATUS_KEYS_DIRECTORY": str(keys), "CERTSTATUS_ADMIN_TOKEN_FILE": str(token)}


def faults_of(path: Path | None, environ: dict[str, str], **more: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ=environ, **more)
    return caught.value.faults


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "certstatus.toml"
    path.write_text(text)
    return path


# --- what is read ---------------------------------------------------------------------------------


def test_without_a_file_the_defaults_hold(environ: dict[str, str]) -> None:
    config = load(None, environ=environ)
    assert config.postgres.url == "postgresql:///certstatus"
    assert config.postgres.pool_size == 10
    assert config.postgres.password() is None
    assert config.redis.url == "redis://127.0.0.1:6379/0"
    assert config.redis.timeout_seconds == 0.25
    assert config.serve.listen == Address("127.0.0.1", 8080)
    assert config.serve.workers == 0
    assert config.admin.listen == Address("127.0.0.1", 8081)
    assert config.admin.tokens() == {"token": TOKEN}
    assert config.limits.per_minute == 1000
    assert config.revocation.wait_seconds == 5
    assert config.revocation.lease_seconds == 300
    assert config.revocation.backdate_seconds == 300
    assert (config.log.level, config.log.format) == ("info", "json")


def test_file_is_read_and_the_environment_wins_over_it(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(
        tmp_path,
        '[serve]\nlisten = "0.0.0.0:80"\nworkers = 3\n[redis]\ntimeout_seconds = 1\n[log]\nformat = "text"\n',
    )
    environ |= {
        "CERTSTATUS_SERVE_WORKERS": "5",
        "CERTSTATUS_SERVE_LANE": "False",
        "CERTSTATUS_REVOCATION_WAIT_SECONDS": "2.5",
        "CERTSTATUS_POSTGRES_POOL_SIZE": "20",
        "CERTSTATUS_SERVE_TLS_KEY": "",
        "CERTSTATUS_LIMITS_EXEMPT": " ",
        "CERTSTATUS_SERVE_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "CERTSTATUS_CONFIG": "elsewhere.toml",
        "HOME": "/root",
    }
    config = load(path, environ=environ)
    assert config.serve.listen == Address("0.0.0.0", 80)
    assert config.serve.workers == 5
    assert config.serve.lane is False
    assert config.serve.tls_key is None
    assert config.redis.timeout_seconds == 1.0
    assert config.revocation.wait_seconds == 2.5
    assert config.postgres.pool_size == 20
    assert config.limits.exempt == ()
    assert config.serve.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    origins = {key: origin for key, _, origin in config.effective()}
    assert origins["serve.workers"] == "CERTSTATUS_SERVE_WORKERS"
    assert origins["serve.listen"] == str(path)
    assert origins["log.level"] == "default"


def test_variables_that_kubernetes_gives_for_a_service_named_certstatus_are_not_ours(
    environ: dict[str, str],
) -> None:
    address = "tcp://10.0.0.1:80"
    environ |= {
        "CERTSTATUS_PORT": address,
        "CERTSTATUS_PORT_80_TCP": address,
        "CERTSTATUS_PORT_80_TCP_ADDR": "10.0.0.1",
        "CERTSTATUS_SERVICE_HOST": "10.0.0.1",
        "CERTSTATUS_SERVICE_PORT": "80",
        "CERTSTATUS_SERVICE_PORT_HTTP": "80",
    }
    assert load(None, environ=environ).serve.workers == 0


def test_paths_for_ocsp(tmp_path: Path, environ: dict[str, str]) -> None:
    assert load(None, environ=environ).serve.ocsp_paths == ("/ocsp",)
    environ["CERTSTATUS_SERVE_OCSP_PATHS"] = "/ocsp, /ejbca/publicweb/status/ocsp"
    assert load(None, environ=environ).serve.ocsp_paths == ("/ocsp", "/ejbca/publicweb/status/ocsp")
    for path in ("ocsp", "/", "/ocsp/", "//x", "/a%2Fb", "/crl", "/crl/x", "/.well-known/x", "/a?b"):
        environ["CERTSTATUS_SERVE_OCSP_PATHS"] = path
        with pytest.raises(ConfigError, match=r"serve\.ocsp_paths.*(isn't a path|is taken)"):
            load(None, environ=environ)


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path, '[keys]\ndirectory = "keys"\n[admin]\ntoken_file = "token"\n')
    config = load(path, environ={})
    assert config.keys.directory == tmp_path / "keys"
    assert config.admin.tokens() == {"token": TOKEN}


def test_relative_paths_in_variables_count_from_the_working_directory(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(None, environ=environ | {"CERTSTATUS_KEYS_DIRECTORY": "keys"})
    assert config.keys.directory == tmp_path / "keys"


def test_passwords_are_read_from_files_of_their_own(tmp_path: Path, environ: dict[str, str]) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o640)
    password.write_bytes("pass wörd\r\n".encode())
    environ |= {
        "CERTSTATUS_POSTGRES_PASSWORD_FILE": str(password),
        "CERTSTATUS_REDIS_PASSWORD_FILE": str(password),
    }
    config = load(None, environ=environ)
    assert config.postgres.password() == config.redis.password() == "pass wörd"
    password.unlink()
    with pytest.raises(ConfigError, match=r"postgres\.password_file is .* no such file or directory\."):
        config.postgres.password()


def test_files_are_not_looked_at_when_only_an_address_is_needed(tmp_path: Path) -> None:
    config = load(None, environ={"CERTSTATUS_KEYS_DIRECTORY": str(tmp_path / "none")}, check_files=False)
    assert config.keys.directory == tmp_path / "none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::]:443", Address("::", 443)),
        ("[2001:DB8:0::1]:65535", Address("2001:db8::1", 65535)),
    ],
)
def test_listen_takes_an_address_and_a_port(environ: dict[str, str], text: str, expected: Address) -> None:
    config = load(None, environ=environ | {"CERTSTATUS_SERVE_LISTEN": text})
    assert config.serve.listen == expected
    assert load(None, environ=environ | {"CERTSTATUS_SERVE_LISTEN": str(expected)}).serve.listen == expected


def test_admin_may_listen_on_any_loopback_address(environ: dict[str, str]) -> None:
    for text in ("127.9.9.9:1", "[::1]:8081"):
        assert str(load(None, environ=environ | {"CERTSTATUS_ADMIN_LISTEN": text}).admin.listen) == text


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8080", "it isn't HOST:PORT; write an IP address and a port, such as 127.0.0.1:8080"),
        (":8080", "it isn't HOST:PORT"),
        ("127.0.0.1", "it isn't HOST:PORT"),
        ("127.0.0.1:", "it isn't HOST:PORT"),
        ("127.0.0.1:http", "it isn't HOST:PORT"),
        ("::1:8080", "it isn't HOST:PORT"),
        ("http://127.0.0.1:80", "it isn't HOST:PORT"),
        ("localhost:8080", "the host isn't an IP address"),
        ("[127.0.0.1]:80", "the host isn't an IP address"),
        ("1.2.3.4.5:80", "the host isn't an IP address"),
        ("127.0.0.1:65536", "the port must be at most 65535"),
    ],
)
def test_bad_listen_value_is_explained(environ: dict[str, str], text: str, words: str) -> None:
    (fault,) = faults_of(None, environ | {"CERTSTATUS_SERVE_LISTEN": text})
    assert fault.startswith(f'environment: CERTSTATUS_SERVE_LISTEN (serve.listen) is "{text}": {words}')


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[serve]\nlisten = 8080", "serve.listen (CERTSTATUS_SERVE_LISTEN) is 8080: it must be a string"),
        ("[serve]\nworkers = '4'", 'serve.workers (CERTSTATUS_SERVE_WORKERS) is "4": it must be a valid integer'),
        ("[serve]\nworkers = true", "is true: it must be a valid integer"),
        ("[serve]\nworkers = 1.0", "is 1.0: it must be a valid integer"),
        ("[serve]\nworkers = -1", "is -1: it must be greater than or equal to 0"),
        ("[postgres]\npool_size = 0", "it must be greater than or equal to 1"),
        ("[redis]\ntimeout_seconds = nan", "it must be a finite number"),
        ("[redis]\ntimeout_seconds = 0", "it must be greater than or equal to 0.01"),
        ("[revocation]\nbackdate_seconds = 3601", "it must be less than or equal to 3600"),
        ("[revocation]\nwait_seconds = inf", "it must be a finite number"),
        ("[log]\nlevel = 'loud'", "is \"loud\": it must be 'debug', 'info', 'warning' or 'error'"),
        ("[log]\nformat = 1", "it must be 'json' or 'text'"),
        ("[keys]\ndirectory = 7", "is 7: it must be a path, in quotation marks"),
        ("[keys]\ndirectory = ''", 'is "": it must be a path'),
        ("[admin]\ntoken_file = ''", 'is "": it must be a path'),
        ("[admin]\nlisten = '0.0.0.0:8081'", "it listens on loopback only; use 127.0.0.1"),
        ("[admin]\nlisten = '[2001:db8::1]:8081'", "it listens on loopback only"),
        ("[serve]\nlisten = '127.0.0.1:8081'", "they need different ports"),
        ("[serve]\nlisten = '0.0.0.0:8081'", "they need different ports"),
        ("[serve]\ntls_key = 'a.key'", "tls_certificate and tls_key are needed together"),
        ("[serve]\ntls_listen = '0.0.0.0:8443'", "TLS needs serve.tls_certificate and serve.tls_key, too"),
        ("[serve]\ntls_listen = 'here'", "it isn't HOST:PORT"),
        ("[admin]\ntls_key = 'a.key'", "tls_certificate and tls_key are needed together"),
        ("[serve]\ntrusted_proxies = ['10.0.0.1/8']", "'10.0.0.1/8' isn't an IP network"),
        ("[serve]\ntrusted_proxies = ['proxy.example']", "'proxy.example' isn't an IP network"),
        ("[serve]\ntrusted_proxies = '10.0.0.0/8'", "it must be a list"),
        ("[limits]\nper_minute = -1", "greater than or equal to 0"),
        ("[limits]\nexempt = [10]", "10 isn't an IP network"),
        ("[limits]\nrefusal = 'no'", "'try_later', 'unauthorized' or 'http_429'"),
        ("[revocation]\nlease_seconds = 5", "greater than or equal to 10"),
        ("[serve]\nlisen = 'x'", "unknown key serve.lisen; write serve.listen if that was meant"),
        ("[postgres]\npassword = 'hunter2'", "unknown key postgres.password; write postgres.password_file if"),
        ("[signing]\nfrobnicate = 1", "known are signing.max_in_flight, signing.max_waiting"),
        ("[serv]\nlisten = 'x'", "unknown section [serv]; write [serve] if that was meant"),
        ("[xyzzy]\nx = 1", "unknown section [xyzzy]; known are [postgres], [redis], [serve]"),
        ("listen = 'x'", "unknown key listen outside of a section; write serve.listen or admin.listen if"),
        ("serve = 3", "serve must be a section; write [serve] on a line of its own"),
        ("[[serve]]\nworkers = 1", "serve must be a section"),
    ],
)
def test_bad_line_of_the_file_is_explained(tmp_path: Path, environ: dict[str, str], toml: str, words: str) -> None:
    path = write(tmp_path, toml)
    if "[keys]" in toml:
        del environ["CERTSTATUS_KEYS_DIRECTORY"]
    if "token_file" in toml:
        del environ["CERTSTATUS_ADMIN_TOKEN_FILE"]
    (fault,) = faults_of(path, environ)
    assert words in fault
    assert fault.endswith(".")
    assert "hunter2" not in fault
    assert "different ports" in fault or fault.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (
            "[serve]\ntls_certificate = 'a.pem'\ntls_listen = '0.0.0.0:8443'",
            'serve.tls_key (CERTSTATUS_SERVE_TLS_KEY) isn\'t set, and its default is "": tls_certificate and',
        ),
        (
            "[serve]\ntls_certificate = 'a.pem'\ntls_key = 'a.key'",
            'serve.tls_listen (CERTSTATUS_SERVE_TLS_LISTEN) isn\'t set, and its default is "": serve.tls_',
        ),
        (
            "[serve]\ntls_certificate = 'a.pem'\ntls_key = 'a.key'\ntls_listen = '127.0.0.1:8081'",
            "serve.tls_listen is 127.0.0.1:8081 and admin.listen is 127.0.0.1:8081: they need different ports.",
        ),
    ],
)
def test_what_tls_needs_is_told(tmp_path: Path, environ: dict[str, str], toml: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, toml), environ=environ, check_files=False)
    (fault,) = error.value.faults
    assert fault.startswith(words)


def test_with_tls_the_operators_listener_may_be_anywhere(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path, "[admin]\nlisten = '0.0.0.0:8443'\ntls_certificate = 'a.pem'\ntls_key = 'a.key'")
    assert str(load(path, environ=environ, check_files=False).admin.listen) == "0.0.0.0:8443"
    (fault,) = faults_of(path, environ)  # looked at, they aren't there
    assert f"{tmp_path}/a.pem can't be opened: no such file" in fault


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("CERTSTATUS_SERVE_WORKERS", "many", 'CERTSTATUS_SERVE_WORKERS (serve.workers) is "many": it must be'),
        ("CERTSTATUS_SERVE_LANE", "maybe", "it must be a valid boolean"),
        ("CERTSTATUS_SERVE_WORKERS", "1_0", "it must be a valid integer"),
        ("CERTSTATUS_SERVE_WORKERS", "", "it must be a valid integer"),
        ("CERTSTATUS_REDIS_TIMEOUT_SECONDS", "soon", "it must be a valid number"),
        ("CERTSTATUS_SERVE_TRUSTED_PROXIES", "10.0.0.0/8, ::1/0", "'::1/0' isn't an IP network"),
        ("CERTSTATUS_SERVE_LISEN", "x", "CERTSTATUS_SERVE_LISEN; write CERTSTATUS_SERVE_LISTEN if that was meant"),
        ("CERTSTATUS_SERVE", "{}", "unknown variable CERTSTATUS_SERVE; "),
        ("CERTSTATUS_POSTGRES_PASSWORD", "hunter2", "write CERTSTATUS_POSTGRES_PASSWORD_FILE if"),
        ("CERTSTATUS_XYZZY_PLUGH", "hunter2", "known are CERTSTATUS_CONFIG, CERTSTATUS_POSTGRES_URL, "),
    ],
)
def test_bad_variable_is_explained(environ: dict[str, str], variable: str, text: str, words: str) -> None:
    (fault,) = faults_of(None, environ | {variable: text})
    assert fault.startswith("environment: ")
    assert words in fault
    assert "hunter2" not in fault


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[serve]\nlisten = 'x'\nworkers = -1\nfoo = 1\n[keys]\ndirectory = 'none'\n"
        "[admin]\ntoken_file = 'none'\nlisten = '1.2.3.4:5'\n[bar]\n",
    )
    faults = faults_of(path, {"CERTSTATUS_BAZ": "1", "CERTSTATUS_LOG_LEVEL": "loud"})
    keys = ("serve.listen", "serve.workers", "serve.foo", "keys.directory", "admin.token_file", "admin.listen")
    for name in (*keys, "[bar]", "CERTSTATUS_BAZ", "CERTSTATUS_LOG_LEVEL"):
        assert sum(name in fault.split(": ")[1].split(";")[0] for fault in faults) == 1, name
    assert len(faults) == 9


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"[serve]\nlisten = 127.0.0.1:80\n", 2, "not valid TOML"),
        (b"[serve]\n\n\nworkers = \n", 4, "not valid TOML"),
        (b"[serve]\nworkers = 1\nworkers = 2\n", 3, "not valid TOML"),
        (b"[serve\n", 1, "not valid TOML"),
        (b"# fine\n# \xff\n", 2, "isn't UTF-8"),
    ],
)
def test_toml_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, environ: dict[str, str], content: bytes, line: int, words: str
) -> None:
    path = tmp_path / "certstatus.toml"
    path.write_bytes(content)
    (fault,) = faults_of(path, environ)
    assert fault.startswith(f"{path}:{line}: ")
    assert words in fault


def test_file_that_is_missing_or_too_large_is_a_fault(tmp_path: Path, environ: dict[str, str]) -> None:
    (fault,) = faults_of(tmp_path / "none.toml", environ)
    assert "the file can't be read: no such file or directory." in fault
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (1 << 20))
    assert load(path, environ=environ).serve.workers == 0
    path.write_bytes(b"#" * ((1 << 20) + 1))
    assert "the file is over 1048576 bytes" in faults_of(path, environ)[0]


# --- secrets --------------------------------------------------------------------------------------

URLS_WITH_A_PASSWORD = [
    ("postgres", "postgresql://user:hunter2@host/db", "postgresql://user:***@host/db"),
    ("postgres", "postgres://user:hun/ter2?@host/db", "postgres://user:***@host/db"),
    ("postgres", "postgresql://user:x@hunter2@host/db", "postgresql://user:***@host/db"),
    ("postgres", "postgresql://:hunter2@host:5432,other/db", "postgresql://:***@host:5432,other/db"),
    ("postgres", "postgresql://host/db?user=a&password=hunter2", "postgresql://host/db?***"),
    ("postgres", "postgresql://host/db?p%61ssword=hunter2", "postgresql://host/db?***"),
    ("postgres", "postgresql://host/db?sslpassword=hunter2&x=1", "postgresql://host/db?***"),
    ("redis", "redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
    ("redis", "rediss://user:hunter2@host:6379/0", "rediss://user:***@host:6379/0"),
    ("redis", "unix://user:hunter2@/run/redis.sock", "unix://user:***@/run/redis.sock"),
    ("redis", "redis://host/0?PASSWORD=hunter2", "redis://host/0?***"),
    ("redis", "redis+sentinel://user:hunter2@one:1,two:2/name/0", "redis+sentinel://user:***@one:1,two:2/name/0"),
]


@pytest.mark.parametrize(("section", "url", "masked"), URLS_WITH_A_PASSWORD)
def test_password_in_a_url_is_refused_and_never_shown(
    environ: dict[str, str], section: str, url: str, masked: str
) -> None:
    assert mask(url) == masked
    (fault,) = faults_of(None, environ | {f"CERTSTATUS_{section.upper()}_URL": url})
    assert f'is "{masked}": it holds a password; write that to a file of its own' in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    "url",
    ["host=db password=hunter2", "postgresql:user:hunter2@host", "mysql://user:hunter2@host", "hunter2", ""],
)
def test_what_is_no_url_at_all_is_refused_without_showing_a_password(environ: dict[str, str], url: str) -> None:
    for section in ("POSTGRES", "REDIS"):
        (fault,) = faults_of(None, environ | {f"CERTSTATUS_{section}_URL": url})
        assert "it must begin with" in fault
        assert "hunter2" not in fault


def test_a_url_of_another_type_is_refused_without_showing_it(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path, "[postgres]\nurl = ['postgresql://user:hunter2@host/db']")
    (fault,) = faults_of(path, environ)
    assert "it must be a valid string" in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user@host:5432/db?sslmode=verify-full",
        "postgresql://host1:5432,host2:5432/db",
        "postgresql:///db?host=/run/postgresql",
        "postgres://[::1]:5432/db",
    ],
)
def test_postgres_urls_without_a_password_are_taken(environ: dict[str, str], url: str) -> None:
    assert load(None, environ=environ | {"CERTSTATUS_POSTGRES_URL": url}).postgres.url == url == mask(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://user@host:6379/1",
        "rediss://[::1]:6380/0",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://user@one:26379,two/answers",
        "redis+cluster://one:1,two:2",
        "rediss+cluster://user@one/",
        "rediss+sentinel://one:26379/answers/3",
    ],
)
def test_redis_urls_without_a_password_are_taken(environ: dict[str, str], url: str) -> None:
    assert load(None, environ=environ | {"CERTSTATUS_REDIS_URL": url}).redis.url == url == mask(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://host:port/0", "its port isn't a number"),
        ("redis://host/zero", "its path must be a database number"),
        ("redis://ho st/0", "it holds a space"),
        ("redis://[::1/0", "Invalid IPv6 URL"),
        ("redis+sentinel://one:26379", "it must be as redis+sentinel://HOST:26379,HOST:26379/SERVICE/0"),
        ("redis+cluster://one,two/1", "it must be as redis+cluster://HOST:6379,HOST:6379, without a database"),
        ("redis+sentinel://one,/answers/0", "it must be as redis+sentinel://"),
        ("rediss+sentinel://one,two/answers/zero", "it must be as redis+sentinel://"),
    ],
)
def test_bad_redis_url_is_explained(environ: dict[str, str], url: str, words: str) -> None:
    (fault,) = faults_of(None, environ | {"CERTSTATUS_REDIS_URL": url})
    assert words in fault


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"0123456789abcde\n", "the token has 15 characters, at least 16 are needed"),
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"0123456789 abcdef\n", "a token is made of letters"),
        (b"0123456789abcdef\n0123456789abcdef\n", "line 1: of several tokens each has its name"),
        (b"a:0123456789abcdef\na:0123456789abcdeg\n", "line 2: this name or this token"),
        (b"a:0123456789abcdef\nb:0123456789abcdef\n", "line 2: this name or this token"),
        (b"a b:0123456789abcdef\n", "a token's name has"),
        (b":0123456789abcdef\n", "a token's name has"),
        (b"a:0123456789abcdef\nb:short\n", "line 2: the token has 5 characters"),
        (b"0123456789abcdef\xff", "isn't UTF-8"),
        ("0123456789abcdefä".encode(), "a token is made of letters"),
        (b"a" * 4097, "over 4096 bytes"),
    ],
)
def test_bad_token_is_refused_and_not_shown(environ: dict[str, str], content: bytes, words: str) -> None:
    Path(environ["CERTSTATUS_ADMIN_TOKEN_FILE"]).write_bytes(content)
    (fault,) = faults_of(None, environ)
    assert words in fault
    assert "0123456789" not in fault


def test_several_tokens_have_names(environ: dict[str, str]) -> None:
    path = Path(environ["CERTSTATUS_ADMIN_TOKEN_FILE"])
    path.write_text("alice:0123456789abcdef\n\nci@build:fedcba9876543210==\n")
    tokens = {"alice": "0123456789abcdef", "ci@build": "fedcba9876543210=="}
    assert load(None, environ=environ).admin.tokens() == tokens
    path.write_text("alice:0123456789abcdef")
    assert load(None, environ=environ).admin.tokens() == {"alice": "0123456789abcdef"}


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_token_that_others_may_read_or_change_is_refused(environ: dict[str, str], mode: int) -> None:
    Path(environ["CERTSTATUS_ADMIN_TOKEN_FILE"]).chmod(mode)
    (fault,) = faults_of(None, environ)
    assert f"its mode is {mode:04o}" in fault
    assert "chmod 600" in fault


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_token_that_the_group_may_read_is_taken(environ: dict[str, str], mode: int) -> None:
    Path(environ["CERTSTATUS_ADMIN_TOKEN_FILE"]).chmod(mode)
    assert load(None, environ=environ).admin.tokens() == {"token": TOKEN}


def test_token_file_must_be_a_regular_file(tmp_path: Path, environ: dict[str, str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, words in [(pipe, "regular file"), (tmp_path, "regular file"), (tmp_path / "none", "no such file")]:
        (fault,) = faults_of(None, environ | {"CERTSTATUS_ADMIN_TOKEN_FILE": str(path)})
        assert words in fault


def test_key_folder_must_exist_and_be_private(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = Path(environ["CERTSTATUS_KEYS_DIRECTORY"])
    for mode in (0o750, 0o701, 0o777, 0o720):
        folder.chmod(mode)
        (fault,) = faults_of(None, environ)
        assert f"its mode is {mode:04o}, so others may reach the keys; chmod 700 it." in fault
    folder.chmod(0o500)
    assert load(None, environ=environ).keys.directory == folder
    (fault,) = faults_of(None, environ | {"CERTSTATUS_KEYS_DIRECTORY": str(tmp_path / "none")})
    assert "no such file or directory; make it with `install -d -m 700`" in fault
    (fault,) = faults_of(None, environ | {"CERTSTATUS_KEYS_DIRECTORY": str(tmp_path / "token")})
    assert "it isn't a folder" in fault


def test_default_path_that_is_missing_says_that_it_is_the_default(tmp_path: Path) -> None:
    for fault in faults_of(None, {}):
        assert "isn't set, and its default is " in fault


# --- the example and the command ------------------------------------------------------------------


def test_example_file_is_the_model() -> None:
    shipped = Path(__file__).parent.parent / "deploy" / "certstatus.toml"
    assert shipped.read_text() == example(), "write the output of `certstatus config example` to the file"


def test_example_has_every_key_with_its_default_commented_out(tmp_path: Path) -> None:
    lines = example().splitlines()
    assert all(not table for table in tomllib.loads(example()).values())
    bare = "\n".join(line[1:] if line.startswith("#") and line[1:2] not in ("", " ") else line for line in lines)
    keys = {f"{section}.{key}" for section, table in tomllib.loads(bare).items() for key in table}
    assert keys == {key for key, _, _ in Config().effective()}
    assert load(write(tmp_path, bare), environ={}, check_files=False).model_dump() == Config().model_dump()
    assert max(map(len, lines)) <= 110


def run(*arguments: str, environ: dict[str, str]) -> tuple[int, str, str]:
    cleared = {name: None for name in os.environ if name.startswith("CERTSTATUS_")}
    result = CliRunner().invoke(app, list(arguments), env={**cleared, **environ})
    return result.exit_code, result.stdout, result.stderr


def test_check_prints_every_fault_and_exits_with_2(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(tmp_path, "[serve]\nworkers = -1\n[log]\nlevel = 'loud'\n")
    code, out, err = run("check", "-c", str(path), environ=environ)
    assert (code, out) == (2, "")
    assert [line.split(" ")[0] for line in err.splitlines()] == ["certstatus:"] * 3
    assert "serve.workers" in err
    assert "log.level" in err
    assert err.endswith("certstatus: 2 faults in the configuration.\n")


def test_check_is_content_with_a_good_configuration(tmp_path: Path, environ: dict[str, str]) -> None:
    environ["CERTSTATUS_CONFIG"] = str(write(tmp_path, example()))
    assert run("check", environ=environ) == (0, "The configuration is fine.\n", "")
    code, out, _ = run("check", "--json", environ=environ)
    assert (code, json.loads(out)) == (0, {"ok": True, "faults": []})


def test_check_speaks_json(environ: dict[str, str]) -> None:
    code, out, err = run("check", "--json", environ=environ | {"CERTSTATUS_SERVE_WORKERS": "x"})
    assert (code, err) == (2, "")
    document = json.loads(out)
    assert document["ok"] is False
    assert "CERTSTATUS_SERVE_WORKERS" in document["faults"][0]


def test_show_prints_what_is_in_effect_and_where_it_is_from(environ: dict[str, str]) -> None:
    environ["CERTSTATUS_SERVE_WORKERS"] = "3"
    code, out, err = run("show", environ=environ)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["serve.workers", "3", "CERTSTATUS_SERVE_WORKERS"] in rows
    assert ["serve.listen", "127.0.0.1:8080", "default"] in rows
    code, out, _ = run("show", "--json", environ=environ)
    document = json.loads(out)
    assert document["serve"]["workers"] == 3
    assert document["serve"]["listen"] == "127.0.0.1:8080"
    assert TOKEN not in out


def test_show_of_a_bad_configuration_names_the_faults_and_exits_with_2(environ: dict[str, str]) -> None:
    code, out, err = run("show", environ=environ | {"CERTSTATUS_SERVE_WORKERS": "x"})
    assert (code, out) == (2, "")
    assert err.startswith("certstatus: environment: CERTSTATUS_SERVE_WORKERS")


def test_example_command_prints_the_example(environ: dict[str, str]) -> None:
    assert run("example", environ=environ) == (0, example(), "")

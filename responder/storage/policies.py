"""An issuer's policy as columns, and as the words of `certstatus issuer set`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from responder.errors import ConfigError
from responder.pki import CertIDVariant, IssuerPolicy, NoncePolicy, UnknownSerial
from responder.storage.postgres import Row


@dataclass(frozen=True, slots=True)
class _Setting:
    """One column: what it may be, how it is read from a word (ValueError: it isn't one), and from a policy."""

    may_be: str
    read: Callable[[str], object]
    of: Callable[[IssuerPolicy], object]


def _one_of(*names: str) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in names:
            raise ValueError
        return word

    return read


def _boolean(word: str) -> bool:
    return {"true": True, "false": False}[_one_of("true", "false")(word)]


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 9):
        raise ValueError
    return int(word)


def _names(word: str) -> list[str]:
    return [part.strip() for part in word.split(",")]


def _moment(word: str) -> datetime:
    moment = datetime.fromisoformat(word)
    if moment.tzinfo is None:
        raise ValueError
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError from error
    if moment.year < 1970:
        raise ValueError
    return moment


def _url(word: str) -> str:
    parts = urlsplit(word)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not word.isascii() or not word.isprintable():
        raise ValueError
    return word


def _or_none(read: Callable[[str], object]) -> Callable[[str], object]:
    return lambda word: None if word == "none" else read(word)


def _seconds(span: timedelta) -> int:
    return span // timedelta(seconds=1)


SETTINGS: Mapping[str, _Setting] = {
    "offline": _Setting(
        "true or false; true only with nonce=ignore and unknown_serial=unauthorized, since nothing is signed then",
        _boolean,
        lambda policy: policy.offline,
    ),
    "nonce": _Setting(
        "optional, ignore or required", _one_of(*(each.name for each in NoncePolicy)), lambda policy: policy.nonce.name
    ),
    "unknown_serial": _Setting(
        "unauthorized, unknown, revoked or good (the last two not with baseline)",
        _one_of(*(each.name for each in UnknownSerial)),
        lambda policy: policy.unknown_serial.name,
    ),
    "require_signature": _Setting("true or false", _boolean, lambda policy: policy.require_signature),
    "honour_preferred": _Setting("true or false", _boolean, lambda policy: policy.honour_preferred),
    "responder_id_by_name": _Setting("true or false", _boolean, lambda policy: policy.responder_id_by_name),
    "rsa_pss": _Setting("true or false", _boolean, lambda policy: policy.rsa_pss),
    "baseline": _Setting("true or false", _boolean, lambda policy: policy.baseline),
    "archive": _Setting("true or false", _boolean, lambda policy: policy.archive),
    "archive_retention_seconds": _Setting(
        "1 to 999999999, or none: for ever, since the CA's notBefore",
        _or_none(_number),
        lambda policy: None if policy.archive_retention is None else _seconds(policy.archive_retention),
    ),
    "cert_hash": _Setting("true or false", _boolean, lambda policy: policy.cert_hash),
    "crl_url": _Setting("an http or https URL, or none", _or_none(_url), lambda policy: policy.crl_url),
    "compromised_at": _Setting(
        "a time in ISO 8601 with its zone, not before 1970, such as 2026-01-31T12:00:00Z, or none",
        _or_none(_moment),
        lambda policy: policy.compromised_at,
    ),
    "validity_seconds": _Setting(
        "28799 to 604799 (8 h to 7 d, both counted inclusively), at least twice refresh_seconds",
        _number,
        lambda policy: _seconds(policy.validity),
    ),
    "refresh_seconds": _Setting("60 to half of validity_seconds", _number, lambda policy: _seconds(policy.refresh)),
    "max_age_seconds": _Setting("0 to 86400", _number, lambda policy: _seconds(policy.max_age)),
    "hash_algorithms": _Setting(
        "some of sha1,sha256,sha384,sha512, separated by commas",
        _names,
        lambda policy: [variant.hash_name for variant in policy.variants],
    ),
    "crl_validity_seconds": _Setting(
        "3600 to 863999 (10 d, counted inclusively), more than crl_interval_seconds",
        _number,
        lambda policy: _seconds(policy.crl_validity),
    ),
    "crl_interval_seconds": _Setting(
        "60 to 604800, less than crl_validity_seconds", _number, lambda policy: _seconds(policy.crl_interval)
    ),
    "crl_delay_seconds": _Setting("0 to 86400", _number, lambda policy: _seconds(policy.crl_delay)),
    "delegate_lifetime_seconds": _Setting(
        "86400 to 315360000 (a day to ten years), more than delegate_renewal_seconds",
        _number,
        lambda policy: _seconds(policy.delegate_lifetime),
    ),
    "delegate_renewal_seconds": _Setting(
        "3600 to 315360000, less than delegate_lifetime_seconds, or none: validity_seconds and two days more",
        _or_none(_number),
        lambda policy: None if policy.delegate_renewal is None else _seconds(policy.delegate_renewal),
    ),
}


def read_changes(changes: Mapping[str, str]) -> dict[str, Any]:
    """The columns to set, of `name=value` words.

    Raises:
        ConfigError: every name or value that can't be, with what it may be.
    """
    values: dict[str, Any] = {}
    faults = []
    for name, word in changes.items():
        setting = SETTINGS.get(name)
        if setting is None:
            faults.append(f"{name}: there is nothing of this name to set; it is one of {', '.join(SETTINGS)}")
            continue
        try:
            values[name] = setting.read(word)
        except ValueError:
            faults.append(f"{name} is {word!r}, it may be {setting.may_be}")
    if faults:
        raise ConfigError(*faults)
    return values


def allowed_values(changes: Mapping[str, str]) -> str:
    """A sentence about values that don't go together, or with what is there."""
    return "; ".join(f"{name} is {changes[name]}, it may be {SETTINGS[name].may_be}" for name in changes)


def columns_of(policy: IssuerPolicy) -> dict[str, object]:
    """Every column that a policy is kept in, but its generation, which the database counts."""
    return {name: setting.of(policy) for name, setting in SETTINGS.items()}


def policy_from(row: Row) -> IssuerPolicy:
    """The policy in a row of `issuers`."""
    retention, renewal = row["archive_retention_seconds"], row["delegate_renewal_seconds"]
    return IssuerPolicy(
        offline=row["offline"],
        nonce=NoncePolicy[row["nonce"]],
        unknown_serial=UnknownSerial[row["unknown_serial"]],
        require_signature=row["require_signature"],
        honour_preferred=row["honour_preferred"],
        responder_id_by_name=row["responder_id_by_name"],
        rsa_pss=row["rsa_pss"],
        baseline=row["baseline"],
        archive=row["archive"],
        archive_retention=None if retention is None else timedelta(seconds=retention),
        cert_hash=row["cert_hash"],
        crl_url=row["crl_url"],
        compromised_at=row["compromised_at"],
        generation=row["generation"],
        validity=timedelta(seconds=row["validity_seconds"]),
        refresh=timedelta(seconds=row["refresh_seconds"]),
        max_age=timedelta(seconds=row["max_age_seconds"]),
        variants=tuple(sorted(CertIDVariant[name.upper()] for name in row["hash_algorithms"])),
        crl_validity=timedelta(seconds=row["crl_validity_seconds"]),
        crl_interval=timedelta(seconds=row["crl_interval_seconds"]),
        crl_delay=timedelta(seconds=row["crl_delay_seconds"]),
        delegate_lifetime=timedelta(seconds=row["delegate_lifetime_seconds"]),
        delegate_renewal=None if renewal is None else timedelta(seconds=renewal),
    )

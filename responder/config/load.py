"""Reads a TOML file and the environment; every fault is told at once, with its key and where it stands."""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_origin

from pydantic import (
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from responder.config.model import SECTIONS, Admin, Config, Section, Serve
from responder.config.values import Address, as_toml, mask
from responder.errors import ConfigError

PREFIX = "CERTSTATUS_"
CONFIG_VARIABLE = "CERTSTATUS_CONFIG"  # names the file; read by the command line
MAX_CONFIG_BYTES = 1 << 20

# Kubernetes gives every pod these for a Service that is called `certstatus`; they aren't meant for us.
_SERVICE_LINK = re.compile(r"CERTSTATUS_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


@dataclass(frozen=True, slots=True)
class Key:
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
            if wanted is bool:
                return {"true": True, "false": False}.get(text.lower(), text)
        except ValueError:
            return text
        if get_origin(wanted) is tuple:
            return [part.strip() for part in text.split(",") if part.strip()]
        return text

    def resolve(self, value: object, folder: Path) -> object:
        """A path counted from `folder` where the key is one."""
        is_path = Path in (self.field.annotation, *get_args(self.field.annotation))
        return folder / value if is_path and isinstance(value, str) and value else value


KEYS: dict[str, Key] = {
    key.dotted: key
    for section, model in SECTIONS.items()
    for key in (Key(section, name, field) for name, field in model.model_fields.items())
}
VARIABLES: dict[str, Key] = {key.variable: key for key in KEYS.values()}


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
    needed = {"token_file": needs_token, "tls_key": needs_token, "directory": needs_keys}
    unneeded = {name for name, is_needed in needed.items() if not is_needed}
    context = {"check_files": check_files, "unneeded": unneeded}
    faults: list[str] = []
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
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
    for section, model in SECTIONS.items():
        try:
            sections[section] = model.model_validate(values[section], context=context)
        except ValidationError as error:
            faults += [sentence(section, details, origins) for details in error.errors()]
    serve, admin = sections.get("serve"), sections.get("admin")
    if isinstance(serve, Serve) and isinstance(admin, Admin):
        listening = {"serve.listen": serve.listen, "serve.tls_listen": serve.tls_listen, "admin.listen": admin.listen}
        for (first, one), (second, other) in itertools.combinations(listening.items(), 2):
            if one is not None and other is not None and _overlap(one, other):
                faults.append(f"{first} is {one} and {second} is {other}: they need different ports.")
    if faults:
        raise ConfigError(*faults)
    config = Config.model_construct(None, **sections)
    config._origins.update(origins)
    return config


def _overlap(public: Address, private: Address) -> bool:
    wildcard = any(ipaddress.ip_address(each.host).is_unspecified for each in (public, private))
    return public.port == private.port != 0 and (wildcard or public.host == private.host)


def _read_file(path: Path, faults: list[str]) -> Iterator[tuple[Key, object]]:
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
        if section not in SECTIONS:
            what = f"section [{section}]" if isinstance(table, dict) else f"key {section} outside of a section"
            known = [f"[{name}]" for name in SECTIONS] if isinstance(table, dict) else list(KEYS)
            wanted = f"[{section}]" if isinstance(table, dict) else section
            faults.append(f"{path}: unknown {what}; {_did_you_mean(wanted, known)}.")
        elif not isinstance(table, dict):
            faults.append(f"{path}: {section} must be a section; write [{section}] on a line of its own.")
        else:
            for name, value in table.items():
                if key := KEYS.get(f"{section}.{name}"):
                    yield key, value
                else:
                    known = [key.dotted for key in KEYS.values() if key.section == section]
                    remedy = _did_you_mean(f"{section}.{name}", known)
                    faults.append(f"{path}: unknown key {section}.{name}; {remedy}.")


def _read_environment(environ: Mapping[str, str], faults: list[str]) -> Iterator[tuple[Key, str]]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or _SERVICE_LINK.fullmatch(variable):
            continue
        if key := VARIABLES.get(variable):
            yield key, text
        elif not _SERVICE_LINK.fullmatch(variable):
            remedy = _did_you_mean(variable, [CONFIG_VARIABLE, *VARIABLES])
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


def sentence(section: str, details: ErrorDetails, origins: Mapping[str, str]) -> str:
    """One fault as a sentence, from what pydantic says of it."""
    key = KEYS[f"{section}.{details['loc'][0]}"]
    origin = origins.get(key.dotted)
    raised = details.get("ctx", {}).get("error")
    problem = str(raised) if raised else details["msg"].replace("Input should be", "it must be", 1)
    problem = problem.replace("a valid tuple", "a list")
    value = details["input"]
    shown = as_toml(mask(str(value)) if key.name == "url" else value)
    if origin is None:
        subject = f"{key.dotted} ({key.variable}) isn't set, and its default is {shown}"
    elif origin == key.variable:
        subject = f"environment: {key.variable} ({key.dotted}) is {shown}"
    else:
        subject = f"{origin}: {key.dotted} ({key.variable}) is {shown}"
    return f"{subject}: {problem}."
